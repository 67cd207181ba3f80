/* test_admit.c - strata_policy.admit off: what is set, loaded or found below updates memory, and does not come in. */
#include "tests/unit/core_fixture.h"

static const strata_policy no_admit = { STRATA_SIZED(strata_policy), .admit = STRATA_OFF };

static uint64_t unadmitted(struct stack *st)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(st->cache, 0, &s), STRATA_OK);
    return s.unadmitted;
}

static int set(struct stack *st, const char *key, const char *text, const strata_policy *policy)
{
    return strata_set(st->cache, strata_str(key), strata_str(text), policy, &st->err);
}

static void test_memory_alone(void **state)
{
    (void)state;
    struct stack st;
    open_stack(&st, &(struct stack_options){ .memory_entries = 8 });
    for (char key[] = "a"; key[0] <= 'h'; key[0]++)
        assert_int_equal(set(&st, key, "hot", NULL), STRATA_OK);
    for (int i = 0; i < 1000; i++) {
        char key[24];
        snprintf(key, sizeof key, "cold %d", i);
        assert_int_equal(set(&st, key, "x", &no_admit), STRATA_MISS);
        assert_get(&st, key, STRATA_MISS, NULL);
    }
    assert_int_equal(unadmitted(&st), 1000);
    for (char key[] = "a"; key[0] <= 'h'; key[0]++) {
        assert_get(&st, key, STRATA_OK, "hot");
        assert_int_equal(set(&st, key, "new", &no_admit), STRATA_OK);
        assert_get(&st, key, STRATA_OK, "new");
    }
    assert_int_equal(unadmitted(&st), 1000);
    close_stack(&st);
}

static void test_slower_layers_get_it(void **state)
{
    (void)state;
    struct stack st;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    assert_int_equal(set(&st, "k", "1", &no_admit), STRATA_OK);
    assert_int_equal(st.slow->puts, 1);
    assert_int_equal(unadmitted(&st), 1);
    struct origin o = { .st = &st, .value = "loaded" };
    assert_load(&st, "k", &o, &no_admit, STRATA_OK, "1"); /* found below, and left there */
    run(&st);
    assert_load(&st, "k", &o, &no_admit, STRATA_OK, "1");
    run(&st);
    assert_int_equal(o.calls, 0);
    assert_int_equal(unadmitted(&st), 3);
    assert_int_equal(stats_of(st.cache).backfills, 0);
    assert_get(&st, "k", STRATA_OK, "1"); /* who has it on takes it up */
    run(&st);
    assert_int_equal(stats_of(st.cache).backfills, 1);
    assert_int_equal(set(&st, "k", "2", &no_admit), STRATA_OK);
    int gets = st.slow->gets;
    assert_get(&st, "k", STRATA_OK, "2");
    assert_int_equal(st.slow->gets, gets); /* in memory it was updated */
    close_stack(&st);
}

static void test_loads(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "1" };
    open_stack(&st, &(struct stack_options){ 0 });
    assert_load(&st, "k", &o, &no_admit, STRATA_OK, "1");
    assert_get(&st, "k", STRATA_MISS, NULL);
    o.own = &no_admit; /* the loader's word */
    assert_load(&st, "k", &o, NULL, STRATA_OK, "1");
    assert_get(&st, "k", STRATA_MISS, NULL);
    o.own = NULL;
    strata_policy short_lived = STRATA_POLICY_INIT;
    short_lived.ttl_ms = 10;
    short_lived.stale_if_error_ms = 100000;
    assert_load(&st, "k", &o, &short_lived, STRATA_OK, "1");
    assert_int_equal(o.calls, 3);
    pass(&st, 20);
    o.value = "2";
    assert_load(&st, "k", &o, &no_admit, STRATA_OK, "2"); /* in place of what is held, fresh or not */
    assert_get(&st, "k", STRATA_OK, "2");
    strata_policy on = STRATA_POLICY_INIT;
    on.admit = STRATA_ON;
    assert_load(&st, "other", &o, &on, STRATA_OK, "2");
    assert_get(&st, "other", STRATA_OK, "2");
    close_stack(&st);
}

/* At the cache, and at a namespace; and on the ways in which many are set, or later. */
static void test_levels_and_ways(void **state)
{
    (void)state;
    struct stack st;
    struct ended e = { 0 };
    strata_error err;
    open_policy(&st, &no_admit);
    assert_int_equal(set(&st, "k", "1", NULL), STRATA_MISS);
    strata_policy on = STRATA_POLICY_INIT;
    on.admit = STRATA_ON;
    assert_int_equal(set(&st, "k", "1", &on), STRATA_OK);
    assert_int_equal(set(&st, "k", "2", NULL), STRATA_OK);
    assert_get(&st, "k", STRATA_OK, "2");
    strata_item items[2] = { { .key = strata_str("k"), .set = strata_str("3") },
                             { .key = strata_str("l"), .set = strata_str("3") } };
    assert_int_equal(strata_set_many(st.cache, items, 2, NULL, &err), STRATA_OK);
    assert_int_equal(items[0].status, STRATA_OK);
    assert_int_equal(items[1].status, STRATA_MISS);
    assert_int_equal(strata_set_async(st.cache, strata_str("l"), strata_str("4"), NULL, NULL, on_done, &e, &err),
                     STRATA_PENDING);
    run(&st);
    assert_int_equal(e.status, STRATA_MISS);
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    strata *space;
    options.policy = &on;
    assert_int_equal(strata_namespace(st.cache, "n", &options, &space, &err), STRATA_OK);
    assert_int_equal(strata_set(space, strata_str("l"), strata_str("5"), NULL, &err), STRATA_OK);
    strata_close(space);
    close_stack(&st);
}

/* A disk that gets what memory evicts gets this at once, for memory never had it. */
static void test_below_a_layer_that_demotes(void **state)
{
    (void)state;
    struct stack st;
    memset(&st, 0, sizeof st);
    assert_int_equal(strata__executor_sim_new(&st.ex, NULL, 1, &st.err), STRATA_OK);
    st.slow = script_new();
    st.slow->base.flags = STRATA_LAYER_LOCAL | STRATA_LAYER_DEMOTED;
    strata_layer *layers[] = { strata_memory_layer(NULL), &st.slow->base };
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 2;
    assert_int_equal(strata__open_with(&st.cache, &options, st.ex, &st.err), STRATA_OK);
    assert_int_equal(set(&st, "k", "1", NULL), STRATA_OK);
    assert_int_equal(st.slow->puts, 0);
    assert_int_equal(set(&st, "l", "1", &no_admit), STRATA_OK);
    assert_int_equal(st.slow->puts, 1);
    assert_int_equal(set(&st, "k", "2", &no_admit), STRATA_OK);
    assert_int_equal(st.slow->puts, 1);
    close_stack(&st);
}

static void test_large_values_and_tags(void **state)
{
    (void)state;
    struct stack st;
    static char large[20000];
    strata_slice tag = strata_str("t"), bytes = strata_bytes(large, sizeof large);
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_set_tagged(st.cache, strata_str("k"), bytes, &tag, 1, &no_admit, &st.err), STRATA_MISS);
    assert_int_equal(strata_set_tagged(st.cache, strata_str("k"), bytes, &tag, 1, NULL, &st.err), STRATA_OK);
    assert_int_equal(strata_set_tagged(st.cache, strata_str("k"), bytes, &tag, 1, &no_admit, &st.err), STRATA_OK);
    assert_int_equal(strata_ban_tag(st.cache, "t", 0, &st.err), STRATA_OK);
    assert_get(&st, "k", STRATA_MISS, NULL);
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_alone),
        cmocka_unit_test(test_slower_layers_get_it),
        cmocka_unit_test(test_loads),
        cmocka_unit_test(test_levels_and_ways),
        cmocka_unit_test(test_below_a_layer_that_demotes),
        cmocka_unit_test(test_large_values_and_tags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
