/* test_core_ttl.c - how long entries are fresh, and who refreshes them early, through a cache. */
#include "tests/unit/core_fixture.h"

static int64_t ttl_of(struct stack *st, const char *key)
{
    int64_t ms = -1;
    assert_int_equal(strata_ttl(st->cache, strata_str(key), &ms, &st->err), STRATA_OK);
    return ms;
}

static void name_key(char *key, size_t room, int i) { (void)snprintf(key, room, "k%d", i); }

/* What is set, loaded and remembered as absent together does not go together, and layers agree on when it does. */
static void test_jitter_draws_once_an_entry(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = STRATA_POLICY_INIT;
    struct origin o = { .st = &st, .value = "v" };
    int differ[2] = { 0 };
    p.ttl_ms = 10000;
    p.jitter_ms = 1000;
    open_stack(&st, &(struct stack_options){ .policy = &p, .with_slow = 1 });
    for (int loads = 0; loads < 2; loads++)
        for (int i = 0; i < 40; i++) {
            char key[16];
            name_key(key, sizeof key, 100 * loads + i);
            if (loads)
                assert_load(&st, key, &o, NULL, STRATA_OK, "v");
            else
                assert_int_equal(strata_set(st.cache, strata_str(key), strata_str("v"), NULL, NULL), STRATA_OK);
            run(&st);
            assert_in_range(ttl_of(&st, key), 9000, 11000);
            assert_int_equal(ttl_of(&st, key), script_find(st.slow, strata_str(key), 0)->meta.fresh_ms);
            differ[loads] += ttl_of(&st, key) != 10000;
        }
    assert_in_range(differ[0], 30, 40);
    assert_in_range(differ[1], 30, 40);
    close_stack(&st);
}

/* Cache, namespace, call and loader: the nearest word counts, and off is off. */
static void test_jitter_at_every_level(void **state)
{
    (void)state;
    struct stack st;
    strata_policy wide = STRATA_POLICY_INIT, off = STRATA_POLICY_INIT;
    wide.ttl_ms = off.ttl_ms = 1000000;
    wide.jitter_ms = 900000;
    off.jitter_ms = STRATA_OFF;
    for (int level = 0; level < 4; level++) {
        struct origin o = { .st = &st, .value = "v", .own = level == 3 ? &wide : NULL };
        struct origin plain = { .st = &st, .value = "v", .own = &off };
        open_policy(&st, level == 0 ? &wide : &off);
        strata *root = st.cache;
        strata_namespace_options n = STRATA_NAMESPACE_OPTIONS_INIT;
        n.policy = level == 1 ? &wide : level == 0 ? NULL : &off;
        if (level == 1)
            assert_int_equal(strata_namespace(root, "n", &n, &st.cache, &st.err), STRATA_OK);
        assert_load(&st, "k", &o, level == 2 ? &wide : NULL, STRATA_OK, "v");
        assert_int_not_equal(ttl_of(&st, "k"), 1000000);
        assert_load(&st, "plain", &plain, &off, STRATA_OK, "v");
        assert_int_equal(ttl_of(&st, "plain"), 1000000);
        if (level == 1)
            strata_close(st.cache);
        st.cache = root;
        close_stack(&st);
    }
}

static void test_jitter_of_absent(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = STRATA_POLICY_INIT;
    struct origin o = { .st = &st };
    strata_inspection seen = STRATA_INSPECTION_INIT;
    p.negative_ttl_ms = 5000;
    p.jitter_ms = 4000;
    open_policy(&st, &p);
    assert_load(&st, "k", &o, NULL, STRATA_ABSENT, NULL);
    assert_int_equal(strata_inspect(st.cache, strata_str("k"), &seen, &st.err), STRATA_OK);
    assert_in_range(seen.fresh_ms, 1000, 9000);
    assert_int_not_equal(seen.fresh_ms, 5000);
    assert_load(&st, "k", &o, NULL, STRATA_ABSENT, NULL);
    assert_int_equal(o.calls, 1); /* it is not throttled, and holds */
    pass(&st, seen.fresh_ms);
    assert_load(&st, "k", &o, NULL, STRATA_ABSENT, NULL);
    assert_int_equal(o.calls, 2);
    close_stack(&st);
}

/* Refresh-ahead calls the loader, and what it gives takes the place of what is still fresh. */
static void test_a_share_of_freshness_refreshes(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = STRATA_POLICY_INIT;
    struct origin o = { .st = &st, .value = "old" };
    p.ttl_ms = 10000;
    p.refresh_ahead_percent = 20;
    for (int slow = 0; slow < 2; slow++) {
        o.calls = 0;
        o.value = "old";
        open_stack(&st, &(struct stack_options){ .policy = &p, .with_slow = slow });
        assert_load(&st, "k", &o, NULL, STRATA_OK, "old");
        run(&st);
        o.value = "new";
        pass(&st, 7999);
        assert_load(&st, "k", &o, NULL, STRATA_OK, "old");
        run(&st);
        assert_int_equal(o.calls, 1);
        pass(&st, 1);
        assert_get(&st, "k", STRATA_OK, "old"); /* who brings no loader starts none */
        run(&st);
        assert_int_equal(o.calls, 1);
        assert_load(&st, "k", &o, NULL, STRATA_OK, "old");
        run(&st);
        assert_int_equal(o.calls, 2);
        assert_load(&st, "k", &o, NULL, STRATA_OK, "new");
        assert_int_equal(ttl_of(&st, "k"), 10000);
        assert_int_equal(stats_of(st.cache).refreshes, 1);
        close_stack(&st);
    }
}

/* One load's time before the end about one read in e refreshes; long before none; and what was set has no load's time. */
static void test_xfetch_draws_by_what_the_load_took(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = STRATA_POLICY_INIT;
    struct origin o = { .st = &st, .value = "v", .takes_ms = 1000 };
    int refreshes = 0;
    p.ttl_ms = 60000;
    p.xfetch = STRATA_ON;
    open_stack(&st, &(struct stack_options){ .policy = &p });
    for (int i = 0; i < 100; i++) {
        char key[16];
        name_key(key, sizeof key, i);
        pass(&st, 60000); /* each alone */
        o.calls = 0;
        assert_load(&st, key, &o, NULL, STRATA_OK, "v");
        int64_t left = ttl_of(&st, key);
        assert_int_equal(left, 59000);
        pass(&st, left - 30000);
        for (int n = 0; n < 10; n++)
            assert_load(&st, key, &o, NULL, STRATA_OK, "v");
        run(&st);
        assert_int_equal(o.calls, 1);
        pass(&st, 29000); /* one load's time is left */
        assert_load(&st, key, &o, NULL, STRATA_OK, "v");
        run(&st);
        refreshes += o.calls - 1;
    }
    assert_in_range(refreshes, 20, 55); /* 37 are expected */
    assert_int_equal(strata_set(st.cache, strata_str("set"), strata_str("v"), NULL, NULL), STRATA_OK);
    pass(&st, 59999);
    o.calls = 0;
    for (int n = 0; n < 100; n++)
        assert_load(&st, "set", &o, NULL, STRATA_OK, "v");
    run(&st);
    assert_int_equal(o.calls, 0);
    close_stack(&st);
}

/* The same for what is read from a slower layer, of which the flight knows: its end is where the draw is. */
static void test_xfetch_below_memory(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = STRATA_POLICY_INIT;
    struct origin o = { .st = &st, .value = "v", .takes_ms = 1000 };
    int calls = 0;
    p.ttl_ms = 60000;
    p.xfetch = STRATA_ON;
    open_stack(&st, &(struct stack_options){ .policy = &p, .only_slow = 1 });
    for (int i = 0; i < 100; i++) {
        char key[16];
        name_key(key, sizeof key, i);
        o.calls = 0;
        assert_load(&st, key, &o, NULL, STRATA_OK, "v");
        run(&st);
        pass(&st, 58000);
        assert_load(&st, key, &o, NULL, STRATA_OK, "v");
        run(&st);
        calls += o.calls - 1;
    }
    assert_in_range(calls, 20, 55);
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jitter_draws_once_an_entry),
        cmocka_unit_test(test_jitter_at_every_level),
        cmocka_unit_test(test_jitter_of_absent),
        cmocka_unit_test(test_a_share_of_freshness_refreshes),
        cmocka_unit_test(test_xfetch_draws_by_what_the_load_took),
        cmocka_unit_test(test_xfetch_below_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
