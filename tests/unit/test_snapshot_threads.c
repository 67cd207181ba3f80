/* test_snapshot_threads.c - an import beside writers: what they have written is never older again, and an export meanwhile is
 * whole. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"

enum { KEYS = 200, ROUNDS = 60, WRITERS = 2, ROOM = 1 << 20 };

struct tape {
    size_t size, at;
    char bytes[ROOM];
};

static struct tape old, now;
static strata *cache;
static _Atomic(int) over, wrong;

static int take(const void *bytes, size_t size, void *ctx)
{
    struct tape *t = ctx;
    if (size > ROOM - t->size)
        return STRATA_ENOMEM;
    memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
    return 0;
}

static int give(void *bytes, size_t room, size_t *out_size, void *ctx)
{
    struct tape *t = ctx;
    size_t size = t->size - t->at < room ? t->size - t->at : room;
    memcpy(bytes, t->bytes + t->at, size);
    t->at += size;
    *out_size = size;
    return 0;
}

static strata_slice key_of(int n, char room[16]) { return strata_bytes(room, (size_t)snprintf(room, 16, "key%d", n)); }

static void set(int key, int number)
{
    char name[16], text[16];
    int size = snprintf(text, sizeof text, "%d", number);
    if (strata_set(cache, key_of(key, name), strata_bytes(text, (size_t)size), NULL, NULL) != STRATA_OK)
        atomic_store(&wrong, 1);
}

/* What is there of a key that was set to `number`. */
static void expect(int key, int number)
{
    char name[16], text[16] = { 0 };
    strata_value *v = NULL;
    int rc = strata_get(cache, key_of(key, name), &v, NULL);
    if (rc == STRATA_OK)
        memcpy(text, strata_value_data(v), strata_value_size(v));
    if (rc != STRATA_OK || atoi(text) != number)
        atomic_store(&wrong, 2);
    strata_value_unref(v);
}

/* Each has keys of its own. */
static void *write_on(void *ctx)
{
    int first = (int)(intptr_t)ctx;
    for (int round = 1; !atomic_load(&over); round++)
        for (int i = first; i < KEYS; i += WRITERS) {
            char name[16];
            set(i, round);
            expect(i, round);
            if (round % 8 == 0) { /* now the import finds no one there, until it is set again */
                (void)strata_delete(cache, key_of(i, name), NULL);
                set(i, round);
                expect(i, round);
            }
        }
    return NULL;
}

static void nothing_gets_older(void **state)
{
    (void)state;
    pthread_t writers[WRITERS];
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=8mb&shards=2", NULL, NULL), STRATA_OK);
    for (int i = 0; i < KEYS; i++)
        set(i, 0);
    assert_int_equal(strata_snapshot_export(cache, NULL, take, &old, NULL, NULL), STRATA_OK);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, write_on, (void *)(intptr_t)i), 0);
    for (int round = 0; round < ROUNDS; round++) {
        strata_snapshot_report in = STRATA_SNAPSHOT_REPORT_INIT, out = STRATA_SNAPSHOT_REPORT_INIT;
        old.at = now.size = now.at = 0;
        assert_int_equal(strata_snapshot_import(cache, NULL, give, &old, &in, NULL), STRATA_OK);
        assert_int_equal(in.entries + in.kept, KEYS);
        assert_int_equal(strata_snapshot_export(cache, NULL, take, &now, &out, NULL), STRATA_OK);
        assert_true(out.entries + out.kept <= KEYS);
    }
    atomic_store(&over, 1);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_join(writers[i], NULL), 0);
    assert_int_equal(atomic_load(&wrong), 0);
    strata *other;
    strata_snapshot_report in = STRATA_SNAPSHOT_REPORT_INIT;
    assert_int_equal(strata_open_url(&other, "memory:?max_bytes=8mb", NULL, NULL), STRATA_OK);
    assert_int_equal(strata_snapshot_import(other, NULL, give, &now, &in, NULL), STRATA_OK);
    assert_true(in.entries > 0 && in.failed == 0);
    strata_close(other);
    strata_close(cache);
}

/* What a clear or ban has taken does not come back from a snapshot, whenever it comes; and what is loaded meanwhile stays. */
static void *import_once(void *ctx)
{
    strata_snapshot_report in = STRATA_SNAPSHOT_REPORT_INIT;
    (void)ctx;
    old.at = 0;
    if (strata_snapshot_import(cache, NULL, give, &old, &in, NULL) != STRATA_OK ||
        in.entries + in.kept + in.banned != KEYS)
        atomic_store(&wrong, 3);
    return NULL;
}

static int load_new(strata_load *load, strata_slice key, void *ctx)
{
    (void)key, (void)ctx;
    return strata_load_copy(load, "new", 3);
}

/* 1: it is what was loaded. */
static int is_new(int key, int loads)
{
    char name[16];
    strata_value *v = NULL;
    strata_slice k = key_of(key, name);
    int rc = loads ? strata_get_or_load(cache, k, load_new, NULL, NULL, &v, NULL) : strata_get(cache, k, &v, NULL);
    int fresh = rc == STRATA_OK && strata_value_size(v) == 3;
    strata_value_unref(v);
    return fresh;
}

static void what_was_taken_does_not_come_back(void **state)
{
    (void)state;
    enum { LOADED = KEYS / 2 };
    for (int round = 0; round < ROUNDS; round++) {
        pthread_t importer;
        char loaded[LOADED] = { 0 };
        strata_value *v;
        char name[16];
        assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=8mb&shards=2", NULL, NULL), STRATA_OK);
        assert_int_equal(pthread_create(&importer, NULL, import_once, NULL), 0);
        for (int i = 0; i < LOADED; i++)
            loaded[i] = (char)is_new(i, 1);
        for (int i = 0; i < LOADED; i++)
            assert_true(!loaded[i] || is_new(i, 0));
        if (round % 2 == 0)
            assert_int_equal(strata_clear(cache, NULL), STRATA_OK);
        else
            assert_int_equal(strata_ban_prefix(cache, strata_str("key"), 0, NULL), STRATA_OK);
        for (int again = 0; again < 2; again++) {
            for (int i = 0; i < KEYS; i++) {
                assert_int_equal(strata_get(cache, key_of(i, name), &v, NULL), STRATA_MISS);
                strata_value_unref(v);
            }
            if (again == 0)
                assert_int_equal(pthread_join(importer, NULL), 0);
        }
        strata_close(cache);
    }
    assert_int_equal(atomic_load(&wrong), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(nothing_gets_older),
                                        cmocka_unit_test(what_was_taken_does_not_come_back) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
