/* fork_cache.h - a cache with a bus, in a process that forks: the child that reopens it has a working one, hears and is heard; the child
 * that does not is told so by every call; and the parent keeps its own. */
#ifndef STRATA_TESTS_FORK_CACHE_H
#define STRATA_TESTS_FORK_CACHE_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/still_threads.h"

enum { FORK_LOOKS = 12000 };

static inline void fork_nap(void) { (void)nanosleep(&(struct timespec){ 0, 5000000 }, NULL); }

static inline strata *fork_open(const char *url)
{
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    strata_coherence_options coherence = STRATA_COHERENCE_OPTIONS_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    coherence.open_wait_ms = 60000;
    coherence.heartbeat_ms = 200;
    coherence.trust_ms = 60000; /* which no busy machine lets run out */
    coherence.node_name = "forks";
    options.coherence = &coherence;
    if (strata_open_url(&cache, url, &options, &err) != STRATA_OK)
        fail_msg("%s: %s", err.where, err.message);
    return cache;
}

static inline int fork_trusted(strata *cache)
{
    strata_health health = STRATA_HEALTH_INIT;
    for (int look = 0; look < FORK_LOOKS; look++) {
        if (strata_health_get(cache, &health, NULL) == STRATA_OK && health.trusted)
            return 1;
        fork_nap();
    }
    return 0;
}

static inline int fork_loads(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    (void)ctx;
    return strata_load_copy(load, "v", 1);
}

/* A load tells nobody: so each node has a copy of its own. */
static inline int fork_load(strata *cache, const char *key)
{
    strata_value *v = NULL;
    int rc = strata_get_or_load(cache, strata_str(key), fork_loads, NULL, NULL, &v, NULL);
    strata_value_unref(v);
    return rc;
}

static inline int fork_has(strata *cache, const char *key)
{
    strata_value *v = NULL;
    int rc = strata_get(cache, strata_str(key), &v, NULL);
    strata_value_unref(v);
    return rc;
}

static inline int fork_misses(strata *cache, const char *key)
{
    for (int look = 0; look < FORK_LOOKS; look++) {
        if (fork_has(cache, key) == STRATA_MISS)
            return 1;
        fork_nap();
    }
    return 0;
}

static inline void fork_ignores(int status, strata_value *value, const strata_error *err, void *ctx)
{
    (void)status;
    (void)err;
    (void)ctx;
    strata_value_unref(value);
}

/* Every call says what to do, and none hangs.  Closing leaves all of the parent's as it is. */
static inline int fork_refuses(strata *cache)
{
    strata_health health = STRATA_HEALTH_INIT;
    strata_error err = STRATA_ERROR_INIT;
    strata_slice key = strata_str("k");
    int good = fork_has(cache, "k") == STRATA_EFORKED && fork_load(cache, "k") == STRATA_EFORKED &&
               strata_set(cache, key, key, NULL, NULL) == STRATA_EFORKED &&
               strata_delete(cache, key, &err) == STRATA_EFORKED && strstr(err.message, "strata_reopen()") != NULL &&
               strata_expire(cache, key, NULL) == STRATA_EFORKED && strata_clear(cache, NULL) == STRATA_EFORKED &&
               strata_ban_tag(cache, "t", STRATA_BAN_HARD, NULL) == STRATA_EFORKED &&
               strata_get_async(cache, key, NULL, fork_ignores, NULL, NULL) == STRATA_EFORKED;
    (void)strata_health_get(cache, &health, NULL);
    return good;
}

static inline int fork_child_works(strata *cache)
{
    strata_error err = STRATA_ERROR_INIT;
    if (strata_reopen(cache, &err) != STRATA_OK) {
        (void)fprintf(stderr, "%s: %s\n", err.where, err.message);
        return 0;
    }
    return fork_trusted(cache) && fork_load(cache, "the child's") == STRATA_OK &&
           strata_delete(cache, strata_str("k"), NULL) == STRATA_OK && strata_close(cache) == STRATA_OK;
}

static inline int fork_child(strata *cache, int (*child)(strata *cache))
{
    int status = -1;
    wait_for_still_threads();
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(child(cache) ? 0 : 1);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static inline int fork_leaves_alone(strata *cache) { return fork_refuses(cache) && strata_close(cache) == STRATA_OK; }

/* Of both the parent has copies, and so has another node. */
static inline void fork_case(const char *url)
{
#if defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */
    (void)url;
    skip();
#else
    strata *cache = fork_open(url), *other = fork_open(url);
    assert_true(fork_trusted(cache) && fork_trusted(other));
    assert_true(fork_load(cache, "k") == STRATA_OK && fork_load(other, "k") == STRATA_OK);
    assert_true(fork_child(cache, fork_leaves_alone));
    assert_int_equal(fork_has(cache, "k"), STRATA_OK); /* the child has not touched it */
    assert_true(fork_child(cache, fork_child_works));
    assert_true(fork_misses(cache, "k") && fork_misses(other, "k")); /* the child was heard */
    assert_true(fork_trusted(cache));
    assert_true(fork_load(cache, "m") == STRATA_OK && fork_load(other, "m") == STRATA_OK);
    assert_int_equal(strata_delete(cache, strata_str("m"), NULL), STRATA_OK); /* and so is the parent, as before */
    assert_true(fork_misses(other, "m"));
    assert_true(fork_load(cache, "n") == STRATA_OK && fork_load(other, "n") == STRATA_OK);
    assert_int_equal(strata_delete(other, strata_str("n"), NULL), STRATA_OK);
    assert_true(fork_misses(cache, "n"));
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(strata_close(other), STRATA_OK);
#endif
}

/* A bus that no child can use: reopening says so, and what to do; nothing hangs, and the parent goes on. */
static inline int fork_child_is_told(strata *cache)
{
    strata_error err = STRATA_ERROR_INIT;
    for (int i = 0; i < 2; i++)
        if (strata_reopen(cache, &err) != STRATA_EUNSUPPORTED || strstr(err.message, "after the fork") == NULL)
            return 0;
    return fork_refuses(cache) && strata_close(cache) == STRATA_OK;
}

static inline void fork_case_refused(const char *url)
{
#if defined(__SANITIZE_THREAD__)
    (void)url;
    skip();
#else
    strata *cache = fork_open(url);
    assert_true(fork_trusted(cache));
    assert_int_equal(fork_load(cache, "k"), STRATA_OK);
    assert_true(fork_child(cache, fork_child_is_told));
    assert_int_equal(fork_has(cache, "k"), STRATA_OK);
    assert_int_equal(strata_delete(cache, strata_str("k"), NULL), STRATA_OK);
    assert_true(fork_trusted(cache));
    assert_int_equal(strata_close(cache), STRATA_OK);
#endif
}

#endif /* STRATA_TESTS_FORK_CACHE_H */
