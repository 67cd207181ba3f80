/* test_get_direct.c - gets of a stack whose one layer is asked on the caller's thread: answered at once or later, found, not
 * found, failed; and when the key is busy. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_busy_key),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_latency_is_sampled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
