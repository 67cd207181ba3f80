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

/* What is set with one call neither. */
static void test_many_draw_each(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = STRATA_POLICY_INIT;
    strata_item items[40];
    char keys[40][16];
    p.ttl_ms = 10000;
    p.jitter_ms = 1000;
    for (int slow = 0; slow < 2; slow++) {
        int differ = 0;
        open_stack(&st, &(struct stack_options){ .policy = &p, .with_slow = slow });
        memset(items, 0, sizeof items);
        for (int i = 0; i < 40; i++) {
            name_key(keys[i], sizeof keys[i], i);
            items[i].key = strata_str(keys[i]);
            items[i].set = strata_str("v");
        }
        assert_int_equal(strata_set_many(st.cache, items, 40, NULL, &st.err), STRATA_OK);
        run(&st);
        for (int i = 0; i < 40; i++) {
            assert_in_range(ttl_of(&st, keys[i]), 9000, 11000);
            differ += ttl_of(&st, keys[i]) != ttl_of(&st, keys[0]);
        }
        assert_in_range(differ, 30, 39);
        close_stack(&st);
    }
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

static void expect_held(struct stack *st, const char *key, int64_t in_memory, int64_t below)
{
    assert_int_equal(ttl_of(st, key), in_memory);
    assert_int_equal(script_find(st->slow, strata_str(key), 0)->meta.fresh_ms, below);
}

/* A call's, a loader's and a namespace's word about one layer, on a set and on a load, and the nearest word counts. */
static void test_ttl_of_a_layer(void **state)
{
    (void)state;
    struct stack st;
    strata_policy all = STRATA_POLICY_INIT, call = STRATA_POLICY_INIT, own = STRATA_POLICY_INIT;
    struct origin o = { .st = &st, .value = "v" }, says = { .st = &st, .value = "v", .own = &own };
    all.ttl_ms = 60000;
    all.layer_ttl_ms[0] = 5000;
    call.layer_ttl_ms[0] = STRATA_OFF;
    call.layer_ttl_ms[1] = 20000;
    own.layer_ttl_ms[0] = 1000;
    open_stack(&st, &(struct stack_options){ .policy = &all, .with_slow = 1 });
    for (int loads = 0; loads < 2; loads++) {
        const char *plain = loads ? "l" : "s", *with = loads ? "lc" : "sc";
        for (int i = 0; i < 2; i++)
            if (loads)
                assert_load(&st, i ? with : plain, &o, i ? &call : NULL, STRATA_OK, "v");
            else
                assert_int_equal(
                    strata_set(st.cache, strata_str(i ? with : plain), strata_str("v"), i ? &call : NULL, NULL),
                    STRATA_OK);
        run(&st);
        expect_held(&st, plain, 5000, 60000);
        expect_held(&st, with, 60000, 20000);
    }
    assert_load(&st, "lo", &says, &call, STRATA_OK, "v");
    run(&st);
    expect_held(&st, "lo", 1000, 20000);
    /* Read up again, by who reads: for no longer than is left. */
    pass(&st, 5000);
    assert_get(&st, "s", STRATA_OK, "v");
    run(&st);
    assert_int_equal(ttl_of(&st, "s"), 5000);
    pass(&st, 53000);
    assert_get(&st, "s", STRATA_OK, "v");
    run(&st);
    assert_int_equal(ttl_of(&st, "s"), 2000);
    close_stack(&st);
}

/* The shorter one of the layer's word and the policy's, and the short way of a set. */
static void test_ttl_of_memory_alone(void **state)
{
    (void)state;
    static const struct {
        int64_t layer_ms, policy_ms, held_ms;
    } cases[] = { { 0, 0, 60000 },   { 0, 700, 700 },   { 900, 0, 900 },
                  { 900, 700, 700 }, { 700, 900, 700 }, { 0, 90000, 60000 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stack st = { 0 };
        strata_memory_options m = STRATA_MEMORY_OPTIONS_INIT;
        strata_options options = STRATA_OPTIONS_INIT;
        strata_policy p = STRATA_POLICY_INIT;
        m.max_ttl_ms = cases[i].layer_ms;
        p.ttl_ms = 60000;
        p.layer_ttl_ms[0] = cases[i].policy_ms;
        strata_layer *layer = strata_memory_layer(&m);
        options.layers = &layer;
        options.layer_count = 1;
        options.policy = &p;
        assert_int_equal(strata__executor_sim_new(&st.ex, NULL, 1, &st.err), STRATA_OK);
        assert_int_equal(strata__open_with(&st.cache, &options, st.ex, &st.err), STRATA_OK);
        assert_true(st.cache->quick_set);
        assert_int_equal(strata_set(st.cache, strata_str("q"), strata_str("v"), NULL, NULL), STRATA_OK);
        assert_int_equal(ttl_of(&st, "q"), cases[i].held_ms);
        assert_int_equal(strata_set(st.cache, strata_str("s"), strata_str("v"), &p, NULL), STRATA_OK);
        assert_int_equal(ttl_of(&st, "s"), cases[i].held_ms);
        close_stack(&st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jitter_draws_once_an_entry),
        cmocka_unit_test(test_jitter_at_every_level),
        cmocka_unit_test(test_many_draw_each),
        cmocka_unit_test(test_jitter_of_absent),
        cmocka_unit_test(test_a_share_of_freshness_refreshes),
        cmocka_unit_test(test_xfetch_draws_by_what_the_load_took),
        cmocka_unit_test(test_xfetch_below_memory),
        cmocka_unit_test(test_ttl_of_a_layer),
        cmocka_unit_test(test_ttl_of_memory_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
