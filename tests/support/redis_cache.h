/* redis_cache.h - caches over a real server, for tests that look at one from outside: opened by URL, asked by the public API. */
#ifndef STRATA_TESTS_REDIS_CACHE_H
#define STRATA_TESTS_REDIS_CACHE_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/open_alone.h"

/* Timeouts that no busy machine passes. */
#define REDIS_PATIENT "soft_timeout_ms=60s&timeout_ms=60s&connect_timeout_ms=60s"

/* `format` has a %u for the port.  Fails the test where that does not work. */
static inline strata *redis_cache_open(const char *format, uint16_t port)
{
    char url[512];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    (void)snprintf(url, sizeof url, format, (unsigned)port);
    if (open_url_alone(&cache, url, NULL, &err) != STRATA_OK)
        fail_msg("%s: %s", url, err.message);
    return cache;
}

static inline void redis_cache_nap(long ms)
{
    (void)nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* The value's text into out, where there is one; the status. */
static inline int redis_cache_get(strata *cache, const char *key, char *out, size_t room, strata_error *err)
{
    strata_value *v = NULL;
    *err = (strata_error)STRATA_ERROR_INIT;
    int rc = strata_get(cache, strata_str(key), &v, err);
    if (out != NULL)
        out[0] = '\0';
    if (v != NULL && out != NULL && strata_value_size(v) < room) {
        memcpy(out, strata_value_data(v), strata_value_size(v));
        out[strata_value_size(v)] = '\0';
    }
    strata_value_unref(v);
    return rc;
}

static inline void redis_cache_expect(strata *cache, const char *key, int status, const char *text)
{
    char got[256];
    strata_error err;
    int rc = redis_cache_get(cache, key, got, sizeof got, &err);
    if (rc != status)
        fail_msg("get %s: %d, not %d (%s)", key, rc, status, rc < 0 ? err.message : got);
    if (text != NULL)
        assert_string_equal(got, text);
}

/* Asked again and again until it is this status: an outage is over when it is over. */
static inline void redis_cache_await(strata *cache, const char *key, int status)
{
    enum { LOOKS = 12000 };
    char got[256];
    strata_error err;
    int rc = 0;
    for (int i = 0; i < LOOKS; i++) {
        rc = redis_cache_get(cache, key, got, sizeof got, &err);
        if (rc == status)
            return;
        redis_cache_nap(5);
    }
    fail_msg("get %s: %d, never %d (%s)", key, rc, status, err.message);
}

static inline void redis_cache_set(strata *cache, const char *key, const char *text)
{
    strata_error err = STRATA_ERROR_INIT;
    if (strata_set(cache, strata_str(key), strata_str(text), NULL, &err) != STRATA_OK)
        fail_msg("set %s: %s", key, err.message);
}

/* Has this status, and these words in its error. */
static inline void redis_cache_said(int rc, int status, const strata_error *err, const char *words)
{
    if (rc != status || strstr(err->message, words) == NULL)
        fail_msg("%d, not %d: \"%s\" should say \"%s\"", rc, status, err->message, words);
}

static inline strata_layer_stats redis_cache_stats(strata *cache, size_t layer)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(cache, layer, &s), STRATA_OK);
    return s;
}

/* A loader: "loaded".  ctx: an int that counts, or NULL. */
static inline int redis_cache_load(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    if (ctx != NULL)
        ++*(int *)ctx;
    return strata_load_copy(load, "loaded", 6);
}

static inline void redis_cache_loads(strata *cache, const char *key, int *loads)
{
    strata_value *v = NULL;
    strata_error err = STRATA_ERROR_INIT;
    int rc = strata_get_or_load(cache, strata_str(key), redis_cache_load, loads, NULL, &v, &err);
    if (rc != STRATA_OK)
        fail_msg("get or load %s: %d (%s)", key, rc, err.message);
    strata_value_unref(v);
}

#endif /* STRATA_TESTS_REDIS_CACHE_H */
