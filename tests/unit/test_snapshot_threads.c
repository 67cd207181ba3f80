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

/* A larger one. */
static char *big_tape;
static size_t big_size, big_at, big_room;

static int take_big(const void *bytes, size_t size, void *ctx)
{
    (void)ctx;
    if (size > big_room - big_size)
        return STRATA_ENOMEM;
    memcpy(big_tape + big_size, bytes, size);
    big_size += size;
    return 0;
}

static int give_big(void *bytes, size_t room, size_t *out_size, void *ctx)
{
    (void)ctx;
    size_t size = big_size - big_at < room ? big_size - big_at : room;
    memcpy(bytes, big_tape + big_at, size);
    big_at += size;
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

/* So many that a worker helps: all of it comes in, once, whoever puts it, and who has a key already keeps it. */
static void another_thread_helps(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    static char bytes[4 << 20];
    strata *from, *to;
    char name[16], text[64];
    strata_value *v;
    assert_int_equal(strata_open_url(&from, "memory:?max_bytes=64mb", NULL, NULL), STRATA_OK);
    for (int i = 0; i < MANY; i++) {
        int size = snprintf(text, sizeof text, "%d of many, which all have some bytes", i);
        assert_int_equal(strata_set(from, key_of(i, name), strata_bytes(text, (size_t)size), NULL, NULL), STRATA_OK);
    }
    strata_snapshot_report out = STRATA_SNAPSHOT_REPORT_INIT;
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    o.compression = STRATA_OFF;
    big_tape = bytes;
    big_room = sizeof bytes;
    big_size = 0;
    assert_int_equal(strata_snapshot_export(from, &o, take_big, NULL, &out, NULL), STRATA_OK);
    assert_int_equal(out.entries, MANY);
    for (int round = 0; round < 10; round++) {
        strata_snapshot_report in = STRATA_SNAPSHOT_REPORT_INIT;
        assert_int_equal(strata_open_url(&to, "memory:?max_bytes=64mb", NULL, NULL), STRATA_OK);
        for (int i = 0; i < MANY; i += 1000)
            assert_int_equal(strata_set(to, key_of(i, name), strata_str("own"), NULL, NULL), STRATA_OK);
        big_at = 0;
        assert_int_equal(strata_snapshot_import(to, NULL, give_big, NULL, &in, NULL), STRATA_OK);
        assert_int_equal(in.entries, MANY - MANY / 1000);
        assert_int_equal(in.kept, MANY / 1000);
        for (int i = 0; i < MANY; i++) {
            assert_int_equal(strata_get(to, key_of(i, name), &v, NULL), STRATA_OK);
            if (i % 1000 == 0)
                assert_int_equal(strata_value_size(v), 3);
            else
                assert_int_equal(atoi(strata_value_data(v)), i);
            strata_value_unref(v);
        }
        strata_close(to);
    }
    strata_close(from);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(nothing_gets_older),
                                        cmocka_unit_test(what_was_taken_does_not_come_back),
                                        cmocka_unit_test(another_thread_helps) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
