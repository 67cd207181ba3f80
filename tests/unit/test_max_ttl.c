/* test_max_ttl.c - an entry is held in a layer for no longer than that layer's max_ttl_ms, fresh and stale, and fills it again
 * from the layers below with what is left there, at most that long. */
#include "src/policy/freshness.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core_fixture.h"

#define NEVER STRATA_FOREVER

/* fresh, stale, error, keep and early of an entry born at 100, cut at `until`. */
static void test_durations_are_cut(void **state)
{
    static const struct {
        int64_t before[5], until, after[5];
    } cases[] = {
        { { 50, 0, 0, 0, 0 }, 150, { 50, 0, 0, 0, 0 } },
        { { 50, 0, 0, 0, 0 }, 149, { 49, 0, 0, 0, 0 } },
        { { NEVER, 0, 0, 0, 0 }, 150, { 50, 0, 0, 0, 0 } },
        { { NEVER, 0, 0, 0, 0 }, INT64_MAX, { NEVER, 0, 0, 0, 0 } },
        { { 50, 10, 20, 30, 0 }, 180, { 50, 10, 20, 30, 0 } },
        { { 50, 10, 20, 30, 0 }, 165, { 50, 10, 15, 15, 0 } },
        { { 50, 10, 20, 30, 0 }, 150, { 50, 0, 0, 0, 0 } },
        { { 50, NEVER, 0, 0, 0 }, 160, { 50, 10, 0, 0, 0 } },
        { { 50, 0, NEVER, NEVER, 0 }, 120, { 20, 0, 0, 0, 0 } },
        { { 50, 0, 0, 0, 20 }, 140, { 40, 0, 0, 0, 10 } }, /* the refresh begins when it did, */
        { { 50, 0, 0, 0, 20 }, 130, { 30, 0, 0, 0, 0 } },  /* or it is gone by then */
        { { 50, 0, 0, 0, 20 }, 110, { 10, 0, 0, 0, 0 } },
        { { 50, 100, 0, 0, 20 }, 160, { 50, 10, 0, 0, 20 } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const int64_t *b = cases[i].before, *a = cases[i].after;
        strata_meta m = { .fresh_ms = b[0], .stale_ms = b[1], .error_ms = b[2], .keep_ms = b[3], .early_ms = b[4] };
        strata__deadlines_cap(&m, 100, cases[i].until);
        if (m.fresh_ms != a[0] || m.stale_ms != a[1] || m.error_ms != a[2] || m.keep_ms != a[3] || m.early_ms != a[4])
            fail_msg("case %zu: %lld %lld %lld %lld %lld", i, (long long)m.fresh_ms, (long long)m.stale_ms,
                     (long long)m.error_ms, (long long)m.keep_ms, (long long)m.early_ms);
    }
}

/* Memory that holds for so long, above a scripted layer that does, too; 0: as long as it is told. */
static void open_capped(struct stack *st, int64_t memory_ms, int64_t slow_ms, const strata_policy *policy)
{
    strata_memory_options m = STRATA_MEMORY_OPTIONS_INIT;
    memset(st, 0, sizeof *st);
    assert_int_equal(strata__executor_sim_new(&st->ex, NULL, 1, &st->err), STRATA_OK);
    m.max_ttl_ms = memory_ms;
    strata_layer *layers[2] = { strata_memory_layer(&m) };
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 1;
    options.policy = policy;
    if (slow_ms >= 0) {
        st->slow = script_new();
        st->slow->base.max_ttl_ms = slow_ms;
        layers[options.layer_count++] = &st->slow->base;
    }
    assert_int_equal(strata__open_with(&st->cache, &options, st->ex, &st->err), STRATA_OK);
}

static void expect(struct stack *st, int status, const char *text, int gets_below)
{
    int before = st->slow != NULL ? st->slow->gets : 0;
    assert_get(st, "k", status, text);
    run(st);
    if (st->slow != NULL)
        assert_int_equal(st->slow->gets - before, gets_below);
}

static void test_memory_asks_below_again(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = STRATA_POLICY_INIT;
    struct origin o = { .value = "v" };
    p.ttl_ms = 12000;
    for (int loads = 0; loads < 2; loads++) {
        open_capped(&st, 5000, 0, &p);
        o.st = &st;
        if (loads)
            assert_load(&st, "k", &o, NULL, STRATA_OK, "v");
        else
            assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
        run(&st);
        assert_int_equal(script_find(st.slow, strata_str("k"), 0)->meta.fresh_ms, 12000);
        pass(&st, 4999);
        expect(&st, STRATA_OK, "v", 0);
        pass(&st, 1);
        expect(&st, STRATA_OK, "v", 1); /* and so it is in memory again, */
        pass(&st, 4999);
        expect(&st, STRATA_OK, "v", 0); /* not longer for being read */
        pass(&st, 1);
        expect(&st, STRATA_OK, "v", 1); /* the 2 s that are left */
        pass(&st, 1999);
        expect(&st, STRATA_OK, "v", 0);
        pass(&st, 1);
        expect(&st, STRATA_MISS, NULL, 1);
        close_stack(&st);
    }
    assert_int_equal(o.calls, 1);
}

static void test_stale_windows_end_there_too(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 2000;
    p.stale_while_revalidate_ms = 10000;
    open_capped(&st, 5000, -1, &p);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    pass(&st, 1999);
    expect(&st, STRATA_OK, "v", 0);
    pass(&st, 3000);
    expect(&st, STRATA_STALE, "v", 0);
    pass(&st, 1);
    expect(&st, STRATA_MISS, NULL, 0);
    close_stack(&st);
}

/* The short way of a set, what lives for ever, and an expire, which lengthens nothing. */
static void test_memory_alone(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = STRATA_POLICY_INIT, windows = STRATA_POLICY_INIT;
    p.ttl_ms = STRATA_FOREVER;
    windows.ttl_ms = 60000;
    windows.stale_while_revalidate_ms = STRATA_FOREVER;
    open_capped(&st, 5000, -1, &p);
    assert_true(st.cache->quick_set);
    for (int with_policy = 0; with_policy < 2; with_policy++) {
        assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), with_policy ? &p : NULL, NULL),
                         STRATA_OK);
        pass(&st, 4999);
        expect(&st, STRATA_OK, "v", 0);
        pass(&st, 1);
        expect(&st, STRATA_MISS, NULL, 0);
    }
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), &windows, NULL), STRATA_OK);
    pass(&st, 1000);
    assert_int_equal(strata_expire(st.cache, strata_str("k"), NULL) >= 0, 1);
    pass(&st, 4000);
    expect(&st, STRATA_MISS, NULL, 0);
    close_stack(&st);
}

static void test_a_slower_layer_holds_no_longer(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 60000;
    p.stale_if_error_ms = 60000;
    open_capped(&st, 0, 7000, &p);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    run(&st);
    const strata_meta *m = &script_find(st.slow, strata_str("k"), 0)->meta;
    assert_int_equal(m->fresh_ms, 7000);
    assert_int_equal(m->error_ms, 0);
    pass(&st, 59999);
    expect(&st, STRATA_OK, "v", 0); /* memory may */
    close_stack(&st);
}

/* A margin before the end of an hour is not one before the end of five seconds. */
static void test_no_refresh_comes_early(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = STRATA_POLICY_INIT;
    struct origin o = { .st = &st, .value = "v" };
    p.ttl_ms = 3600000;
    p.refresh_ahead_ms = 60000;
    open_capped(&st, 5000, 0, &p);
    for (int i = 0; i < 20; i++) {
        assert_load(&st, "k", &o, NULL, STRATA_OK, "v");
        run(&st);
        pass(&st, 1000);
    }
    assert_int_equal(o.calls, 1);
    assert_int_equal(stats_of(st.cache).refreshes, 0);
    close_stack(&st);
}

/* A real disk, and again after a restart, which knows of no option of before. */
static void test_a_disk_holds_no_longer(void **state)
{
    (void)state;
    char path[256], url[320];
    temp_dir_make(path, sizeof path);
    for (int again = 0; again < 2; again++) {
        strata *cache = NULL;
        strata_error err = STRATA_ERROR_INIT;
        int64_t ttl_ms = 0;
        (void)snprintf(url, sizeof url, "disk:%s?max_bytes=1mb%s", path, again ? "" : "&max_ttl_ms=1h");
        assert_int_equal(strata_open_url(&cache, url, NULL, &err), STRATA_OK);
        strata_policy p = STRATA_POLICY_INIT;
        p.ttl_ms = STRATA_FOREVER;
        if (!again)
            assert_int_equal(strata_set(cache, strata_str("k"), strata_str("v"), &p, &err), STRATA_OK);
        assert_int_equal(strata_ttl(cache, strata_str("k"), &ttl_ms, &err), STRATA_OK);
        assert_in_range(ttl_ms, 0, 3600000);
        strata_close(cache);
    }
    temp_dir_remove(path);
}

static void test_each_layer_takes_it(void **state)
{
    (void)state;
    const char *stack = "memory:?max_bytes=1mb&max_ttl_ms=5s";
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata_open_url(&cache, stack, NULL, &err), STRATA_OK);
    assert_int_equal(cache->root->layers[0].max_ttl_ms, 5000);
    strata_close(cache);
    strata_disk_options d = STRATA_DISK_OPTIONS_INIT;
    d.path = "/nowhere";
    d.max_ttl_ms = 7000;
    strata_layer *layer = strata_disk_layer(&d);
    assert_int_equal(layer->failed.status, STRATA_OK);
    assert_int_equal(layer->max_ttl_ms, 7000);
    strata_layer_free(layer);
    strata_redis_options r = STRATA_REDIS_OPTIONS_INIT;
    r.max_ttl_ms = 3600000;
    layer = strata_redis_layer(&r);
    if (layer->failed.status != STRATA_EUNSUPPORTED) /* a build without */
        assert_int_equal(layer->max_ttl_ms, 3600000);
    strata_layer_free(layer);
    assert_int_equal(strata_open_url(&cache, "memory:?max_ttl_ms=5", NULL, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "max_ttl_ms"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations_are_cut),
        cmocka_unit_test(test_memory_asks_below_again),
        cmocka_unit_test(test_stale_windows_end_there_too),
        cmocka_unit_test(test_memory_alone),
        cmocka_unit_test(test_a_slower_layer_holds_no_longer),
        cmocka_unit_test(test_no_refresh_comes_early),
        cmocka_unit_test(test_a_disk_holds_no_longer),
        cmocka_unit_test(test_each_layer_takes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
