/* test_get_direct.c - gets of a stack whose one layer is asked on the caller's thread: answered at once or later, found, not
 * found, failed; and when the key is busy. */
#include <pthread.h>
#include <sched.h>

#include "tests/unit/core_fixture.h"

static void open_direct(struct stack *st, const strata_policy *policy, int64_t delay_ms)
{
    open_stack(st, &(struct stack_options){ .only_slow = 1, .slow_flags = STRATA_LAYER_BLOCKS, .policy = policy });
    st->slow->delay_ms = delay_ms;
}

static void test_answers(void **state)
{
    (void)state;
    for (int64_t delay = 0; delay < 10; delay += 5) {
        strata_policy p = {
            .size = sizeof p, .ttl_ms = 1000, .stale_while_revalidate_ms = 1000, .negative_ttl_ms = 1000
        };
        struct stack st;
        struct origin absent = { .st = &st };
        strata_layer_stats layer = { .size = sizeof layer };
        open_direct(&st, &p, delay);
        assert_get(&st, "k", STRATA_MISS, NULL);
        assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
        assert_get(&st, "k", STRATA_OK, "v");
        assert_load(&st, "none", &absent, NULL, STRATA_ABSENT, NULL);
        assert_get(&st, "none", STRATA_ABSENT, NULL);
        assert_int_equal(strata_stats_layer(st.cache, 0, &layer), STRATA_OK);
        assert_int_equal(layer.hits, 2);
        assert_int_equal(layer.misses, 2);
        strata_stats all = stats_of(st.cache);
        assert_int_equal(all.hits, 2);
        assert_int_equal(all.negative_hits, 1);
        pass(&st, 1500);
        assert_get(&st, "k", STRATA_STALE, "v");
        assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
        assert_get(&st, "k", STRATA_MISS, NULL);
        close_stack(&st);
    }
}

static void test_failure(void **state)
{
    (void)state;
    for (int64_t delay = 0; delay < 10; delay += 5) {
        struct stack st;
        open_direct(&st, NULL, delay);
        st.slow->fail_gets = 1;
        assert_get(&st, "k", STRATA_ELAYER, NULL);
        assert_string_equal(st.err.where, "script");
        assert_string_equal(st.err.message, "layer \"script\" failed: the script says so");
        strata_value *v;
        assert_int_equal(strata_get(st.cache, strata_str("k"), &v, NULL), STRATA_ELAYER);
        assert_int_equal(stats_of(st.cache).errors, 2);
        close_stack(&st);
    }
}

/* A write that began before is waited for, also one that nobody waits for. */
static void test_busy_key(void **state)
{
    (void)state;
    struct stack st;
    struct ended e = { 0 };
    open_direct(&st, NULL, 5);
    assert_int_equal(strata_set_async(st.cache, strata_str("k"), strata_str("v"), NULL, NULL, on_done, &e, NULL),
                     STRATA_PENDING);
    while (st.slow->puts == 0)
        pass(&st, 1);
    assert_get(&st, "k", STRATA_OK, "v");
    assert_int_equal(e.count, 1);
    close_stack(&st);
}

/* Storage keys of namespaces; a key that is too long for the short way. */
static void test_keys(void **state)
{
    (void)state;
    static char text[600];
    struct stack st;
    strata *users;
    strata_value *v;
    open_direct(&st, NULL, 0);
    memset(text, 'k', sizeof text);
    assert_int_equal(strata_namespace(st.cache, "users", NULL, &users, NULL), STRATA_OK);
    assert_int_equal(strata_set(users, strata_str("k"), strata_str("in users"), NULL, NULL), STRATA_OK);
    assert_get(&st, "k", STRATA_MISS, NULL);
    assert_int_equal(strata_get(users, strata_str("k"), &v, NULL), STRATA_OK);
    assert_value(v, "in users");
    assert_int_equal(strata_get(st.cache, strata_bytes(text, sizeof text), &v, NULL), STRATA_MISS);
    assert_int_equal(strata_get(users, strata_bytes(text, sizeof text), &v, NULL), STRATA_MISS);
    assert_int_equal(strata_set(st.cache, strata_bytes("\0zero", 5), strata_str("root"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_get(st.cache, strata_bytes("\0zero", 5), &v, NULL), STRATA_OK);
    assert_value(v, "root");
    strata_close(users);
    close_stack(&st);
}

/* The first get of a thread is timed, and one in sixteen. */
static void test_latency_is_sampled(void **state)
{
    (void)state;
    struct stack st;
    strata_layer_stats layer = { .size = sizeof layer };
    open_direct(&st, NULL, 5);
    for (int i = 0; i < 33; i++)
        assert_get(&st, "k", STRATA_MISS, NULL);
    assert_int_equal(strata_stats_layer(st.cache, 0, &layer), STRATA_OK);
    assert_int_equal(layer.misses, 33);
    assert_int_equal(layer.latency.count, 3);
    assert_true(layer.latency.p50_us > 4600 && layer.latency.p50_us < 5400);
    close_stack(&st);
}

static void count_event(const strata_event *event, void *ctx)
{
    (void)event;
    ++*(int *)ctx;
}

/* Through an open gate or a shut one, each answer is counted once, and told to who listens. */
static void test_counts_once(void **state)
{
    (void)state;
    struct stack st;
    strata_layer_stats layer = { .size = sizeof layer };
    int heard = 0;
    uint64_t id = 0;
    open_direct(&st, NULL, 0);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    for (int listens = 0; listens < 2; listens++) {
        if (listens)
            assert_int_equal(strata_on(st.cache, STRATA_EVENT_HIT | STRATA_EVENT_MISS, count_event, &heard, &id),
                             STRATA_OK);
        for (int i = 0; i < 3000; i++) { /* as many as are looked at more closely now and then */
            assert_get(&st, "k", STRATA_OK, "v");
            assert_get(&st, "none", STRATA_MISS, NULL);
        }
        assert_int_equal(strata_stats_layer(st.cache, 0, &layer), STRATA_OK);
        assert_int_equal(layer.hits, 3000 * (listens + 1));
        assert_int_equal(layer.misses, 3000 * (listens + 1));
        strata_stats all = stats_of(st.cache);
        assert_int_equal(all.requests, 6000 * (listens + 1));
        assert_int_equal(all.hits, 3000 * (listens + 1));
        assert_int_equal(heard, 6000 * listens);
    }
    assert_int_equal(strata_stats_reset(st.cache), STRATA_OK);
    assert_get(&st, "k", STRATA_OK, "v");
    assert_int_equal(strata_stats_layer(st.cache, 0, &layer), STRATA_OK);
    assert_int_equal(layer.hits, 1);
    assert_int_equal(layer.misses, 0);
    assert_int_equal(stats_of(st.cache).hits, 1);
    close_stack(&st);
}

/* A store whose get ends only once the cache is being closed. */
struct late {
    _Atomic(strata *) cache;
    _Atomic(int) asked, answered, closed_early;
};

static int late_get(void *ctx, strata_slice key, strata_op *op)
{
    struct late *late = ctx;
    strata_stats all = { .size = sizeof all };
    (void)key, (void)op;
    atomic_store(&late->asked, 1);
    while (strata_stats_get(atomic_load(&late->cache), &all) != STRATA_ECLOSED)
        sched_yield();
    for (int i = 0; i < 1000; i++)
        sched_yield();
    atomic_store(&late->answered, 1);
    return STRATA_MISS;
}

static int late_put(void *ctx, strata_slice key, strata_slice data, const strata_meta *meta, int64_t ttl_ms)
{
    (void)ctx, (void)key, (void)data, (void)meta, (void)ttl_ms;
    return STRATA_AGAIN;
}

static int late_remove(void *ctx, strata_slice key)
{
    (void)ctx, (void)key;
    return STRATA_OK;
}

static void late_close(void *ctx)
{
    struct late *late = ctx;
    atomic_store(&late->closed_early, !atomic_load(&late->answered));
}

static void *get_late(void *ctx)
{
    struct late *late = ctx;
    strata_value *v;
    return (void *)(intptr_t)strata_get(atomic_load(&late->cache), strata_str("k"), &v, NULL);
}

/* Nothing but its count says that a direct get is under way. */
static void test_close_waits(void **state)
{
    (void)state;
    static const strata_blocking_ops ops = {
        .size = sizeof ops, .get = late_get, .put = late_put, .remove = late_remove, .close = late_close
    };
    struct late late;
    strata *cache;
    memset(&late, 0, sizeof late);
    strata_layer *layers[1] = { strata_blocking_layer("late", 0, &ops, &late) };
    strata_options options = STRATA_OPTIONS_INIT;
    pthread_t thread;
    void *rc;
    options.layers = layers;
    options.layer_count = 1;
    assert_int_equal(strata_open(&cache, &options, NULL), STRATA_OK);
    atomic_store(&late.cache, cache);
    assert_int_equal(pthread_create(&thread, NULL, get_late, &late), 0);
    while (!atomic_load(&late.asked))
        sched_yield();
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(pthread_join(thread, &rc), 0);
    assert_int_equal((intptr_t)rc, STRATA_MISS);
    assert_int_equal(late.answered, 1);
    assert_int_equal(late.closed_early, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_busy_key),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_latency_is_sampled),
        cmocka_unit_test(test_counts_once),
        cmocka_unit_test(test_close_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
