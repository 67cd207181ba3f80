/* test_bans_threads.c - bans and tagged sets from one thread, hits of others: what was banned before a read began is never
 * served to it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"

enum { READERS = 3, KEYS = 32, ROUNDS = 3000 };

static strata *cache;
static _Atomic(int) banned_to[KEYS]; /* values up to this one were banned, and the ban has returned */
static _Atomic(int) over, wrong;

static void *read_all(void *ctx)
{
    unsigned n = (unsigned)(uintptr_t)ctx;
    while (!atomic_load(&over)) {
        char key[16], text[16];
        strata_value *v;
        unsigned k = n++ % KEYS;
        int least = atomic_load(&banned_to[k]);
        int size = snprintf(key, sizeof key, "key:%08u", k);
        if (strata_get(cache, strata_bytes(key, (size_t)size), &v, NULL) == STRATA_OK) {
            snprintf(text, sizeof text, "%.*s", (int)strata_value_size(v), (const char *)strata_value_data(v));
            if (atoi(text) <= least)
                atomic_fetch_add(&wrong, 1);
        }
        strata_value_unref(v);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    pthread_t threads[READERS];
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=8mb", NULL, &err), STRATA_OK);
    for (uintptr_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, (void *)(i * 7)), 0);
    for (int round = 1; round <= ROUNDS; round++) {
        unsigned k = (unsigned)round % KEYS;
        char key[16], tag[16], value[16];
        int size = snprintf(key, sizeof key, "key:%08u", k), tag_size = snprintf(tag, sizeof tag, "tag:%u", k);
        int value_size = snprintf(value, sizeof value, "%d", round);
        strata_slice name = strata_bytes(key, (size_t)size), tags[1] = { strata_bytes(tag, (size_t)tag_size) };
        assert_int_equal(strata_set_tagged(cache, name, strata_bytes(value, (size_t)value_size), tags, 1, NULL, &err),
                         STRATA_OK);
        if (round % 3 == 0)
            assert_int_equal(strata_ban_tag(cache, tag, 0, &err), STRATA_OK);
        else if (round % 3 == 1)
            assert_int_equal(strata_ban_pattern(cache, name, 0, &err), STRATA_OK);
        else
            assert_int_equal(strata_ban_tag(cache, "other", 0, &err), STRATA_OK);
        if (round % 3 != 2)
            atomic_store(&banned_to[k], round);
    }
    atomic_store(&over, 1);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

/* A load that begins after a ban has returned: who asks then gets nothing that was read from the origin before it. */
static _Atomic(int) origin, banned_origin;

static int load_origin(strata_load *load, strata_slice key, void *ctx)
{
    char text[16];
    (void)key;
    (void)ctx;
    int size = snprintf(text, sizeof text, "%d", atomic_load(&origin));
    (void)strata_load_tag(load, "shared");
    return strata_load_copy(load, text, (size_t)size);
}

static void *load_all(void *ctx)
{
    unsigned n = (unsigned)(uintptr_t)ctx;
    while (!atomic_load(&over)) {
        char text[16];
        strata_value *v;
        const char *key = n++ % 2 != 0 ? "one" : "two";
        int least = atomic_load(&banned_origin);
        int rc = strata_get_or_load(cache, strata_str(key), load_origin, NULL, NULL, &v, NULL);
        snprintf(text, sizeof text, "%.*s", (int)strata_value_size(v), (const char *)strata_value_data(v));
        if (rc != STRATA_OK || atoi(text) < least)
            atomic_fetch_add(&wrong, 1);
        strata_value_unref(v);
    }
    return NULL;
}

static void test_loads(void **state)
{
    (void)state;
    pthread_t threads[READERS];
    strata_error err = STRATA_ERROR_INIT;
    atomic_store(&over, 0);
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=8mb", NULL, &err), STRATA_OK);
    for (uintptr_t i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, load_all, (void *)i), 0);
    for (int round = 1; round <= ROUNDS; round++) {
        atomic_store(&origin, round);
        assert_int_equal(strata_ban_tag(cache, round % 3 != 0 ? "shared" : "other", 0, &err), STRATA_OK);
        if (round % 3 != 0)
            atomic_store(&banned_origin, round);
    }
    atomic_store(&over, 1);
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_threads), cmocka_unit_test(test_loads) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
