/* test_memory_layer.c - the memory layer through its contract: bounds, pins, negative entries, expiry, threads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/memory_fixture.h"

static void test_put_get_overwrite_remove(void **state)
{
    (void)state;
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, NULL, NULL), STRATA_OK);
    strata_value *v;
    assert_int_equal(fixture_get(&f, strata_str("a"), &v), STRATA_MISS);
    assert_null(v);
    /* Keys of every size class that reading and hashing treat differently. */
    const char *keys[] = { "a",
                           "seven77",
                           "eight888",
                           "fifteen15555555",
                           "sixteen166666666",
                           "a key of thirty-two bytes it is!",
                           "a key of thirty-three bytes it is",
                           "a much longer key, as long as a path or a URL could well be" };
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(fixture_put(&f, strata_str(keys[i]), keys[i], i, 1000), STRATA_OK);
        assert_int_equal(fixture_put(&f, strata_str(keys[i]), keys[i], strlen(keys[i]), 1000), STRATA_OK);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(fixture_get(&f, strata_str(keys[i]), &v), STRATA_OK);
        assert_int_equal(strata_value_size(v), strlen(keys[i]));
        assert_memory_equal(strata_value_data(v), keys[i], strlen(keys[i]));
        assert_int_equal((uintptr_t)strata_value_data(v) % 8, 0);
        strata_value_unref(v);
    }
    strata_op op = fixture_op(&f, STRATA_OP_REMOVE, 0, strata_str("a"));
    assert_int_equal(fixture_submit(&f, &op), STRATA_OK);
    assert_int_equal(fixture_get(&f, strata_str("a"), &v), STRATA_MISS);
    op = fixture_op(&f, STRATA_OP_REMOVE, 0, strata_str("a"));
    assert_int_equal(fixture_submit(&f, &op), STRATA_MISS);
    assert_int_equal(fixture_stats(&f).entries, 7);
    fixture_close(&f);
}

static void check_meta(struct memory_fixture *f, strata_meta meta)
{
    strata_value *value = strata__value_copy(&strata__malloc, "v", 1);
    assert_int_equal(fixture_put_meta(f, strata_str("meta"), value, meta), STRATA_OK);
    strata_value_unref(value);
    strata_op op = fixture_op(f, STRATA_OP_GET, 0, strata_str("meta"));
    assert_int_equal(fixture_submit(f, &op), STRATA_OK);
    assert_int_equal(op.meta.born_ms, meta.born_ms);
    assert_int_equal(op.meta.born_wall_ms, meta.born_wall_ms);
    assert_int_equal(op.meta.fresh_ms, meta.fresh_ms);
    assert_int_equal(op.meta.stale_ms, meta.stale_ms);
    assert_int_equal(op.meta.error_ms, meta.error_ms);
    assert_int_equal(op.meta.keep_ms, meta.keep_ms);
    assert_int_equal(op.meta.early_ms, meta.early_ms);
    assert_int_equal(op.meta.retry_at_ms, meta.retry_at_ms);
    assert_int_equal(op.meta.position, meta.position);
    assert_int_equal(op.meta.version, meta.version);
    assert_int_equal(op.meta.codec, meta.codec);
    assert_int_equal(op.meta.life, meta.life);
    strata_value_unref(op.found);
}

static void test_meta_comes_back(void **state)
{
    (void)state;
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, NULL, NULL), STRATA_OK);
    strata_meta meta = fixture_meta(&f, 60000);
    meta.position = 5;
    check_meta(&f, meta);
    for (int64_t ttl = 1; ttl < 40; ttl++) /* more distinct ones than there are classes */
        check_meta(&f, fixture_meta(&f, ttl * 1000));
    check_meta(&f, fixture_meta(&f, STRATA_FOREVER));
    meta.stale_ms = 1, meta.error_ms = 2, meta.keep_ms = 3, meta.early_ms = 4, meta.codec = 9;
    check_meta(&f, meta);
    meta.retry_at_ms = 12345;
    check_meta(&f, meta);
    meta.fresh_ms = STRATA_FOREVER;
    check_meta(&f, meta);
    meta.error_ms = STRATA_FOREVER; /* does not fit the brief form */
    check_meta(&f, meta);
    meta = fixture_meta(&f, 1000);
    meta.version = 3;
    check_meta(&f, meta);
    meta.version = 0, meta.life = 78;
    check_meta(&f, meta);
    fixture_close(&f);
}

static void test_lookup_says_what_needs_a_thought(void **state)
{
    (void)state;
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, NULL, NULL), STRATA_OK);
    strata_value *v;
    strata_meta meta = fixture_meta(&f, 1000);
    meta.stale_ms = 500;
    meta.early_ms = 100;
    strata_value *value = strata__value_copy(&strata__malloc, "v", 1);
    assert_int_equal(fixture_put_meta(&f, strata_str("k"), value, meta), STRATA_OK);
    strata_value_unref(value);
    assert_int_equal(fixture_get(&f, strata_str("k"), &v), STRATA_OK);
    strata_value_unref(v);
    f.now_ms += 900; /* exactly where refreshing ahead begins */
    assert_int_equal(fixture_get(&f, strata_str("k"), &v), STRATA_STALE);
    strata_value_unref(v);
    f.now_ms += 599;
    assert_int_equal(fixture_get(&f, strata_str("k"), &v), STRATA_STALE);
    strata_value_unref(v);
    f.now_ms += 1;
    assert_int_equal(fixture_get(&f, strata_str("k"), &v), STRATA_MISS);
    assert_null(v);
    /* Below the namespace's position it is not there. */
    meta = fixture_meta(&f, 1000);
    meta.position = 3;
    value = strata__value_copy(&strata__malloc, "v", 1);
    assert_int_equal(fixture_put_meta(&f, strata_str("a key of usual size"), value, meta), STRATA_OK);
    strata_value_unref(value);
    strata_op op = fixture_op(&f, STRATA_OP_GET, 0, strata_str("a key of usual size"));
    op.meta.position = 3;
    assert_int_equal(f.layer->ops->lookup(f.layer, &op), STRATA_OK);
    strata_value_unref(op.found);
    op = fixture_op(&f, STRATA_OP_GET, 0, strata_str("a key of usual size"));
    op.meta.position = 4;
    assert_int_equal(f.layer->ops->lookup(f.layer, &op), STRATA_MISS);
    fixture_close(&f);
}

static void test_bytes_are_bounded(void **state)
{
    (void)state;
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_COST; policy++) {
        strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 4 << 20, .policy = policy };
        struct memory_fixture f;
        assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
        uint64_t x = 1;
        for (uint64_t n = 0; n < 20000; n++) {
            x = strata__mix64(x + 1);
            /* Sizes change over time: what small ones leave behind must serve large ones. */
            size_t size = n < 10000 ? x % 300 : 8 + x % 12000;
            assert_int_equal(fixture_put_number(&f, n, size), STRATA_OK);
            assert_true(fixture_has_number(&f, n));
            if (n % 1000 == 0)
                assert_true(fixture_stats(&f).bytes <= 4 << 20);
        }
        strata_layer_stats st = fixture_stats(&f);
        assert_true(st.bytes <= 4 << 20);
        assert_true(st.bytes > 3 << 20);
        assert_true(st.entries > 300); /* 6 KB on average: not much is lost between them */
        assert_int_equal(st.evictions, 20000 - st.entries);
        fixture_close(&f);
    }
}

static void test_tiny_budget_passes_through(void **state)
{
    (void)state;
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 64 << 10 };
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    for (uint64_t n = 0; n < 3000; n++)
        assert_int_equal(fixture_put_number(&f, n, n % 200), STRATA_OK);
    assert_true(fixture_stats(&f).bytes <= 64 << 10);
    assert_true(fixture_stats(&f).entries > 50);
    /* What can't fit is refused, and what it would have replaced is gone. */
    char *large = calloc(1, 100 << 10);
    assert_int_equal(fixture_put(&f, strata_str("large"), "small", 5, 1000), STRATA_OK);
    assert_int_equal(fixture_put(&f, strata_str("large"), large, 100 << 10, 1000), STRATA_AGAIN);
    strata_value *v;
    assert_int_equal(fixture_get(&f, strata_str("large"), &v), STRATA_MISS);
    assert_int_equal(fixture_stats(&f).rejections, 1);
    free(large);
    fixture_close(&f);
}

static void test_entries_are_counted_exactly(void **state)
{
    (void)state;
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_entries = 100 };
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    for (uint64_t n = 0; n < 1000; n++) {
        assert_int_equal(fixture_put_number(&f, n, 16), STRATA_OK);
        assert_int_equal(fixture_stats(&f).entries, n < 100 ? n + 1 : 100);
    }
    fixture_close(&f);
}

/* More pins than a thread has slots at hand, held while everything else goes. */
static void test_pins_outlive_eviction_and_close(void **state)
{
    (void)state;
    enum { PINS = 100 };
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 1 << 20 };
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    strata_value *pins[PINS];
    char room[32];
    for (uint64_t n = 0; n < PINS; n++) {
        assert_int_equal(fixture_put_number(&f, n, 200), STRATA_OK);
        assert_int_equal(fixture_get(&f, fixture_key(room, n), &pins[n]), STRATA_OK);
    }
    for (uint64_t n = PINS; n < 20000; n++)
        assert_int_equal(fixture_put_number(&f, n, 200), STRATA_OK);
    for (uint64_t n = 0; n < PINS; n++)
        assert_false(fixture_has_number(&f, n));
    fixture_close(&f);
    for (uint64_t n = 0; n < PINS; n++) {
        uint64_t words[25];
        assert_int_equal(strata_value_size(pins[n]), 200);
        memcpy(words, strata_value_data(pins[n]), 200);
        for (int i = 0; i < 25; i++)
            assert_int_equal(words[i], n);
        strata_value_unref(pins[n]); /* the last one gives the pages back */
    }
}

static void *unref_it(void *value)
{
    strata_value_unref(value);
    return NULL;
}

static void test_pin_given_back_by_another_thread(void **state)
{
    (void)state;
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, NULL, NULL), STRATA_OK);
    assert_int_equal(fixture_put_number(&f, 1, 64), STRATA_OK);
    char room[32];
    strata_value *v;
    assert_int_equal(fixture_get(&f, fixture_key(room, 1), &v), STRATA_OK);
    assert_ptr_equal(strata_value_ref(v), v);
    strata_value_unref(v);
    fixture_close(&f);
    assert_memory_equal(strata_value_data(v), "\1\0\0\0\0\0\0\0", 8);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, unref_it, v), 0);
    pthread_join(t, NULL);
}

/* Absent keys asked for in masses must not push values out. */
static void test_negative_entries_have_their_own_share(void **state)
{
    (void)state;
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_entries = 1000, .shards = 1 };
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    for (uint64_t n = 0; n < 950; n++)
        assert_int_equal(fixture_put_number(&f, n, 16), STRATA_OK);
    char room[32];
    for (uint64_t n = 10000; n < 30000; n++) {
        strata_meta meta = fixture_meta(&f, 60000);
        meta.negative = 1;
        assert_int_equal(fixture_put_meta(&f, fixture_key(room, n), NULL, meta), STRATA_OK);
    }
    for (uint64_t n = 0; n < 950; n++)
        assert_true(fixture_has_number(&f, n));
    strata_op op = fixture_op(&f, STRATA_OP_GET, 0, fixture_key(room, 29999));
    assert_int_equal(f.layer->ops->lookup(f.layer, &op), STRATA_STALE);
    assert_null(op.found);
    assert_int_equal(op.meta.negative, 1);
    /* A value takes the place of its negative entry, and the other way round. */
    assert_int_equal(fixture_put_number(&f, 29999, 16), STRATA_OK);
    assert_true(fixture_has_number(&f, 29999));
    strata_meta meta = fixture_meta(&f, 60000);
    meta.negative = 1;
    assert_int_equal(fixture_put_meta(&f, fixture_key(room, 1), NULL, meta), STRATA_OK);
    assert_false(fixture_has_number(&f, 1));
    fixture_close(&f);
}

static void test_expired_entries_leave_unasked(void **state)
{
    (void)state;
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, NULL, NULL), STRATA_OK);
    for (uint64_t n = 0; n < 5000; n++) {
        char room[32];
        assert_int_equal(fixture_put(&f, fixture_key(room, n), "v", 1, n % 2 != 0 ? 1000 : 500000), STRATA_OK);
    }
    f.layer->ops->maintain(f.layer, f.now_ms + 999, 1000000);
    assert_int_equal(fixture_stats(&f).entries, 5000);
    for (int i = 0; i < 4; i++)
        f.layer->ops->maintain(f.layer, f.now_ms + 1000, 1000000);
    assert_int_equal(fixture_stats(&f).entries, 2500);
    assert_int_equal(fixture_stats(&f).expirations, 2500);
    for (int i = 0; i < 4; i++)
        f.layer->ops->maintain(f.layer, f.now_ms + 500000, 1000000);
    assert_int_equal(fixture_stats(&f).entries, 0);
    fixture_close(&f);
}

struct released {
    int count;
};

static void count_release(void *data, void *ctx)
{
    free(data);
    ((struct released *)ctx)->count++;
}

static void test_large_values_are_shared_not_copied(void **state)
{
    (void)state;
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, NULL, NULL), STRATA_OK);
    struct released released = { 0 };
    char *bytes = calloc(1, 1 << 20);
    strata_value *value = strata__value_take(&strata__malloc, bytes, 1 << 20, count_release, &released);
    assert_int_equal(fixture_put_meta(&f, strata_str("large"), value, fixture_meta(&f, 1000)), STRATA_OK);
    strata_value_unref(value);
    assert_int_equal(released.count, 0);
    assert_true(fixture_stats(&f).bytes > 1 << 20);
    strata_value *v;
    assert_int_equal(fixture_get(&f, strata_str("large"), &v), STRATA_OK);
    assert_ptr_equal(strata_value_data(v), bytes);
    /* The same value again, through a pin, under another deadline. */
    assert_int_equal(fixture_put_meta(&f, strata_str("large"), v, fixture_meta(&f, 2000)), STRATA_OK);
    strata_op op = fixture_op(&f, STRATA_OP_REMOVE, 0, strata_str("large"));
    assert_int_equal(fixture_submit(&f, &op), STRATA_OK);
    assert_int_equal(released.count, 0);
    strata_value_unref(v);
    f.layer->ops->maintain(f.layer, f.now_ms, 1000);
    f.layer->ops->maintain(f.layer, f.now_ms, 1000);
    assert_int_equal(released.count, 1);
    fixture_close(&f);
}

/* Bounded by count with bytes to spare: values on the heap that were evicted must not wait for a full budget. */
static void test_evicted_large_values_are_given_back(void **state)
{
    (void)state;
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 1ull << 30, .max_entries = 10 };
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    for (uint64_t n = 0; n < 2000; n++)
        assert_int_equal(fixture_put_number(&f, n, 32000), STRATA_OK);
    assert_true(fixture_stats(&f).bytes < 3 << 20);
    fixture_close(&f);
}

static void test_spaces_clear_and_keys(void **state)
{
    (void)state;
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, NULL, NULL), STRATA_OK);
    strata_value *value = strata__value_copy(&strata__malloc, "v", 1);
    for (uint32_t space = 0; space < 3; space++)
        for (uint64_t n = 0; n < 1000; n++) {
            char room[32];
            strata_op op = fixture_op(&f, STRATA_OP_PUT, space, fixture_key(room, n));
            op.value = value;
            op.meta = fixture_meta(&f, 1000);
            assert_int_equal(fixture_submit(&f, &op), STRATA_OK);
        }
    strata_value_unref(value);
    strata_error err;
    assert_int_equal(clear_layer(f.layer, 1, strata_str("x"), 0, &err), STRATA_OK);
    assert_int_equal(fixture_stats(&f).entries, 2000);
    char room[32];
    strata_op op = fixture_op(&f, STRATA_OP_GET, 1, fixture_key(room, 5));
    assert_int_equal(fixture_submit(&f, &op), STRATA_MISS);
    op = fixture_op(&f, STRATA_OP_GET, 2, fixture_key(room, 5));
    assert_int_equal(fixture_submit(&f, &op), STRATA_OK);
    strata_value_unref(op.found);
    assert_int_equal(clear_layer(f.layer, 0, strata_str(""), 1, &err), STRATA_OK);
    assert_int_equal(fixture_stats(&f).entries, 0);
    fixture_close(&f);
}

struct worker {
    struct memory_fixture *f;
    uint64_t seed;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    uint64_t x = w->seed;
    strata_value *held = NULL;
    for (int i = 0; i < 60000; i++) {
        x = strata__mix64(x + 0x9e3779b97f4a7c15u);
        uint64_t n = x % 700;
        char room[32];
        switch (x >> 32 & 7) {
        case 0:
        case 1: fixture_put_number(w->f, n, 8 + (x >> 40) % 900); break;
        case 2: {
            strata_op op = fixture_op(w->f, STRATA_OP_REMOVE, 0, fixture_key(room, n));
            fixture_submit(w->f, &op);
            break;
        }
        case 3: /* keep one for a while, whatever happens to it meanwhile */
            strata_value_unref(held);
            fixture_get(w->f, fixture_key(room, n), &held);
            break;
        default: fixture_has_number(w->f, n);
        }
    }
    strata_value_unref(held);
    return NULL;
}

static void test_threads_see_whole_values(void **state)
{
    (void)state;
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_COST; policy++) {
        strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 128 << 10, .policy = policy };
        struct memory_fixture f;
        assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
        pthread_t threads[4];
        struct worker workers[4];
        for (int i = 0; i < 4; i++) {
            workers[i] = (struct worker){ &f, (uint64_t)i + 1 };
            assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
        }
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        assert_true(fixture_stats(&f).bytes <= 128 << 10);
        fixture_close(&f);
    }
}

static void test_hits_and_misses_are_exact(void **state)
{
    (void)state;
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, NULL, NULL), STRATA_OK);
    fixture_put_number(&f, 1, 8);
    for (int i = 0; i < 1000; i++) {
        fixture_has_number(&f, 1);
        if (i % 4 == 0)
            fixture_has_number(&f, 2);
    }
    assert_int_equal(fixture_stats(&f).hits, 1000);
    assert_int_equal(fixture_stats(&f).misses, 250);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_get_overwrite_remove),
        cmocka_unit_test(test_meta_comes_back),
        cmocka_unit_test(test_lookup_says_what_needs_a_thought),
        cmocka_unit_test(test_bytes_are_bounded),
        cmocka_unit_test(test_tiny_budget_passes_through),
        cmocka_unit_test(test_entries_are_counted_exactly),
        cmocka_unit_test(test_pins_outlive_eviction_and_close),
        cmocka_unit_test(test_pin_given_back_by_another_thread),
        cmocka_unit_test(test_negative_entries_have_their_own_share),
        cmocka_unit_test(test_expired_entries_leave_unasked),
        cmocka_unit_test(test_large_values_are_shared_not_copied),
        cmocka_unit_test(test_evicted_large_values_are_given_back),
        cmocka_unit_test(test_spaces_clear_and_keys),
        cmocka_unit_test(test_threads_see_whole_values),
        cmocka_unit_test(test_hits_and_misses_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
