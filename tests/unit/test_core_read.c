/* test_core_read.c - the read path under virtual time: flights, freshness, time-outs, backfill. */
#include "tests/unit/core_fixture.h"

static const strata_policy windows = {
    .size = sizeof windows,
    .ttl_ms = 1000,
    .stale_while_revalidate_ms = 2000,
    .stale_if_error_ms = 10000,
    .retry_ms = 500,
};
static const strata_policy error_only = {
    .size = sizeof error_only, .ttl_ms = 1000, .stale_if_error_ms = 10000, .retry_ms = 500
};

static void test_hit_and_miss(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_policy(&st, NULL);
    assert_get(&st, "k", STRATA_MISS, NULL);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    assert_get(&st, "k", STRATA_OK, "one");
    assert_int_equal(o.calls, 1);
    strata_stats s = stats_of(st.cache);
    assert_int_equal(s.requests, 4);
    assert_int_equal(s.hits, 2);
    assert_int_equal(s.misses, 2);
    assert_int_equal(s.loads, 1);
    strata_layer_stats l = { .size = sizeof l };
    assert_int_equal(strata_stats_layer(st.cache, 0, &l), STRATA_OK);
    assert_int_equal(l.hits, 2);
    assert_int_equal(l.misses, 2);
    assert_string_equal(l.name, "memory");
    close_stack(&st);
}

static void test_bad_arguments(void **state)
{
    (void)state;
    struct stack st;
    strata_value *v;
    char big[2000];
    memset(big, 'x', sizeof big);
    open_policy(&st, NULL);
    assert_int_equal(strata_get(st.cache, strata_str(""), &v, &st.err), STRATA_EKEYSIZE);
    assert_int_equal(strata_get(st.cache, strata_bytes(big, 1025), &v, &st.err), STRATA_EKEYSIZE);
    assert_non_null(strstr(st.err.message, "max_key_bytes"));
    assert_int_equal(strata_get(st.cache, strata_bytes(big, 1024), &v, &st.err), STRATA_MISS);
    assert_int_equal(strata_get_or_load(st.cache, strata_str("k"), NULL, NULL, NULL, &v, &st.err), STRATA_EINVAL);
    strata_policy wrong = { .size = sizeof wrong, .ttl_ms = -7 };
    struct origin o = { .st = &st, .value = "x" };
    assert_int_equal(strata_get_or_load(st.cache, strata_str("k"), origin_loader, &o, &wrong, &v, &st.err),
                     STRATA_EINVAL);
    assert_int_equal(strata_get(NULL, strata_str("k"), &v, &st.err), STRATA_EINVAL);
    close_stack(&st);
}

static void test_stale_while_revalidate(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_policy(&st, &windows);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    o.value = "two";
    pass(&st, 1500);
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one"); /* one refresh runs already */
    run(&st);
    assert_int_equal(o.calls, 2);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "two");
    strata_stats s = stats_of(st.cache);
    assert_int_equal(s.refreshes, 1);
    assert_int_equal(s.stale_serves, 2);
    assert_int_equal(s.hits, 3);
    close_stack(&st);
}

static void test_plain_get_of_stale(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_policy(&st, &windows);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 1500);
    assert_get(&st, "k", STRATA_STALE, "one");
    pass(&st, 2000);
    assert_get(&st, "k", STRATA_MISS, NULL); /* error-only is not for a plain get */
    run(&st);
    assert_int_equal(o.calls, 1);
    close_stack(&st);
}

static void test_stale_if_error_and_throttle(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_policy(&st, &error_only);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 2000);
    o.fail = STRATA_EIO;
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    assert_int_equal(o.calls, 2);
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one"); /* throttled */
    assert_int_equal(o.calls, 2);
    pass(&st, 600);
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    assert_int_equal(o.calls, 3);
    pass(&st, 10000);
    assert_load(&st, "k", &o, NULL, STRATA_EIO, NULL);
    assert_string_equal(st.err.message, "the origin is down");
    assert_string_equal(st.err.where, "loader");
    o.fail = 0;
    o.value = "back";
    assert_load(&st, "k", &o, NULL, STRATA_OK, "back");
    assert_int_equal(stats_of(st.cache).load_errors, 3);
    close_stack(&st);
}

static void test_failure_leaves_nothing(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .fail = STRATA_ELOADER };
    open_policy(&st, NULL);
    assert_load(&st, "k", &o, NULL, STRATA_ELOADER, NULL);
    assert_load(&st, "k", &o, NULL, STRATA_ELOADER, NULL);
    assert_int_equal(o.calls, 2);
    for (int i = 0; i < STRIPES; i++)
        assert_int_equal(st.cache->root->stripes[i].count, 0);
    close_stack(&st);
}

static void test_refresh_ahead(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = { .size = sizeof p, .ttl_ms = 1000, .refresh_ahead_ms = 300 };
    struct origin o = { .st = &st, .value = "one" };
    open_policy(&st, &p);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 600);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    run(&st);
    assert_int_equal(o.calls, 1);
    pass(&st, 200);
    o.value = "two";
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one"); /* early: served, and refreshed */
    run(&st);
    assert_int_equal(o.calls, 2);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "two");
    pass(&st, 600);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "two"); /* fresh again since the refresh */
    assert_int_equal(o.calls, 2);
    close_stack(&st);
}

static void test_failed_refresh_waits(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_policy(&st, &windows);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 1100);
    o.fail = STRATA_EIO;
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    run(&st);
    for (int i = 0; i < 10; i++) {
        assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
        run(&st);
    }
    assert_int_equal(o.calls, 2);
    pass(&st, 600);
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    run(&st);
    assert_int_equal(o.calls, 3);
    close_stack(&st);
}

/* No worker is free for a refresh: the stale value is served, and the next try waits a while. */
static void test_refresh_without_worker(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_policy(&st, &windows);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 1100);
    strata__executor_sim_limit(st.ex, 0);
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    strata__executor_sim_limit(st.ex, 100);
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    run(&st);
    assert_int_equal(o.calls, 1);
    for (int i = 0; i < STRIPES; i++)
        assert_int_equal(st.cache->root->stripes[i].count, 0);
    pass(&st, 600);
    o.value = "two";
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    run(&st);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "two");
    close_stack(&st);
}

static void test_negative(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = { .size = sizeof p, .ttl_ms = 1000, .negative_ttl_ms = 200, .stale_if_error_ms = 5000 };
    struct origin o = { .st = &st };
    open_policy(&st, &p);
    assert_load(&st, "k", &o, NULL, STRATA_ABSENT, NULL);
    assert_load(&st, "k", &o, NULL, STRATA_ABSENT, NULL);
    assert_get(&st, "k", STRATA_ABSENT, NULL);
    assert_int_equal(strata_has(st.cache, strata_str("k"), NULL), 0);
    assert_int_equal(o.calls, 1);
    pass(&st, 300);
    assert_get(&st, "k", STRATA_MISS, NULL);
    o.value = "there";
    assert_load(&st, "k", &o, NULL, STRATA_OK, "there");
    assert_int_equal(stats_of(st.cache).negative_hits, 2);
    pass(&st, 2000);
    o.value = NULL;
    strata_policy off = { .size = sizeof off, .negative_ttl_ms = STRATA_OFF };
    assert_load(&st, "k", &o, &off, STRATA_ABSENT, NULL); /* not remembered, but the old value is gone */
    o.fail = STRATA_EIO;
    assert_load(&st, "k", &o, &off, STRATA_EIO, NULL);
    close_stack(&st);
}

static void test_not_modified(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = { .size = sizeof p, .ttl_ms = 1000, .keep_ms = 5000 };
    struct origin o = { .st = &st, .value = "one" };
    open_policy(&st, &p);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    assert_int_equal(o.had_previous, 0);
    pass(&st, 2000);
    o.not_modified = 1;
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    assert_int_equal(o.had_previous, 1);
    assert_get(&st, "k", STRATA_OK, "one");
    assert_int_equal(o.calls, 2);
    pass(&st, 900);
    assert_get(&st, "k", STRATA_OK, "one");
    close_stack(&st);
}

static int not_modified_cold(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    *(int *)ctx = strata_load_not_modified(load);
    return strata_load_copy(load, "x", 1);
}

static void test_not_modified_without_previous(void **state)
{
    (void)state;
    struct stack st;
    strata_value *v;
    int rc = 0;
    open_policy(&st, NULL);
    assert_int_equal(strata_get_or_load(st.cache, strata_str("k"), not_modified_cold, &rc, NULL, &v, &st.err),
                     STRATA_OK);
    assert_value(v, "x");
    assert_int_equal(rc, STRATA_EINVAL);
    close_stack(&st);
}

static void test_own_policy_and_off(void **state)
{
    (void)state;
    struct stack st;
    strata_policy off = { .size = sizeof off, .ttl_ms = STRATA_OFF }, brief = { .size = sizeof brief, .ttl_ms = 100 };
    struct origin o = { .st = &st, .value = "one", .own = &off };
    open_policy(&st, NULL);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    assert_get(&st, "k", STRATA_MISS, NULL);
    o.own = &brief;
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    int64_t ttl;
    assert_int_equal(strata_ttl(st.cache, strata_str("k"), &ttl, NULL), STRATA_OK);
    assert_true(ttl <= 100 && ttl > 90);
    pass(&st, 200);
    assert_get(&st, "k", STRATA_MISS, NULL);
    close_stack(&st);
}

/* Time-outs ---------------------------------------------------------------------------------------------------- */

static void test_hard_timeout(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = { .size = sizeof p, .hard_timeout_ms = 100 };
    struct origin o = { .st = &st, .value = "late", .takes_ms = 500 };
    open_policy(&st, &p);
    int64_t before = ex_now_ms(st.ex);
    assert_load(&st, "k", &o, NULL, STRATA_ETIMEDOUT, NULL);
    assert_int_equal(ex_now_ms(st.ex) - before, 100);
    pass(&st, 1000);
    assert_int_equal(o.was_canceled, 1);
    assert_get(&st, "k", STRATA_MISS, NULL);
    assert_int_equal(stats_of(st.cache).load_timeouts, 1);
    close_stack(&st);
}

static void test_background_completion(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = { .size = sizeof p, .hard_timeout_ms = 100, .background_completion = STRATA_ON };
    struct origin o = { .st = &st, .value = "late", .takes_ms = 500 };
    open_policy(&st, &p);
    assert_load(&st, "k", &o, NULL, STRATA_ETIMEDOUT, NULL);
    pass(&st, 1000);
    assert_int_equal(o.was_canceled, 0);
    assert_get(&st, "k", STRATA_OK, "late");
    close_stack(&st);
}

static void test_soft_timeout(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = error_only;
    p.soft_timeout_ms = 50;
    struct origin o = { .st = &st, .value = "one" };
    open_policy(&st, &p);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 2000);
    o.value = "two";
    o.takes_ms = 300;
    int64_t before = ex_now_ms(st.ex);
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    assert_int_equal(ex_now_ms(st.ex) - before, 50);
    pass(&st, 600);
    assert_get(&st, "k", STRATA_OK, "two");
    close_stack(&st);
}

static void test_hard_timeout_serves_stale(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = error_only;
    p.hard_timeout_ms = 50;
    struct origin o = { .st = &st, .value = "one" };
    open_policy(&st, &p);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 2000);
    o.takes_ms = 300;
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    pass(&st, 1000);
    assert_int_equal(o.was_canceled, 1);
    close_stack(&st);
}

static void test_refresh_timeout(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = windows;
    p.refresh_timeout_ms = 200;
    p.stale_while_revalidate_ms = 20000;
    struct origin o = { .st = &st, .value = "one" };
    open_policy(&st, &p);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 1100);
    o.pending = 1;
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    pass(&st, 300);
    assert_int_equal(strata_load_canceled(o.kept), 1);
    assert_int_equal(stats_of(st.cache).load_timeouts, 1);
    o.pending = 0;
    o.value = "two";
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one"); /* throttled */
    run(&st);
    assert_int_equal(o.calls, 2);
    pass(&st, 500);
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    run(&st);
    assert_int_equal(o.calls, 3);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "two");
    assert_int_equal(strata_load_copy(o.kept, "ancient", 7), STRATA_OK);
    strata_load_unref(o.kept);
    run(&st);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "two");
    close_stack(&st);
}

/* A load that never ends does not block its key for ever. */
static void test_old_flight_is_left(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = { .size = sizeof p, .refresh_timeout_ms = 1000 };
    struct origin never = { .st = &st, .pending = 1 }, o = { .st = &st, .value = "one" };
    struct ended e = { 0 };
    open_policy(&st, &p);
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &never, NULL, NULL, on_done, &e, NULL),
        STRATA_PENDING);
    run(&st);
    pass(&st, 1500);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    assert_int_equal(e.count, 0);
    assert_int_equal(strata_load_copy(never.kept, "old", 3), STRATA_OK);
    strata_load_unref(never.kept);
    run(&st);
    assert_int_equal(e.count, 1);
    assert_string_equal(e.text, "old");
    assert_get(&st, "k", STRATA_OK, "one");
    close_stack(&st);
}

/* Below ---------------------------------------------------------------------------------------------------------- */

static void test_backfill(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    st.slow->delay_ms = 5;
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 100);
    assert_int_equal(st.slow->puts, 1);
    strata_stats s = stats_of(st.cache);
    assert_int_equal(s.backfills, 0);
    /* Out of memory, not out of the layer below. */
    strata_layer *memory = st.cache->root->layers[0].layer;
    assert_int_equal(clear_layer(memory, 0, strata_bytes("", 0), 1, &st.err), STRATA_OK);
    pass(&st, 60000);
    assert_get(&st, "k", STRATA_OK, "one");
    int gets = st.slow->gets;
    assert_get(&st, "k", STRATA_OK, "one");
    assert_int_equal(st.slow->gets, gets);
    int64_t ttl = 0;
    assert_int_equal(strata_ttl(st.cache, strata_str("k"), &ttl, NULL), STRATA_OK);
    assert_true(ttl < 3600000 - 60000);
    s = stats_of(st.cache);
    assert_int_equal(s.backfills, 1);
    assert_int_equal(s.loads, 1);
    assert_int_equal(o.calls, 1);
    close_stack(&st);
}

static void test_failing_layer_is_passed(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    st.slow->fail_gets = st.slow->fail_puts = 1;
    assert_get(&st, "k", STRATA_ELAYER, NULL);
    assert_string_equal(st.err.where, "script");
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    run(&st);
    assert_get(&st, "k", STRATA_OK, "one");
    assert_true(stats_of(st.cache).errors >= 3);
    close_stack(&st);
}

static void test_other_life(void **state)
{
    (void)state;
    struct stack st;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    struct script_entry *e = script_find(st.slow, strata_str("k"), 1);
    memcpy(e->bytes, "old", 3);
    e->size = 3;
    e->meta = (strata_meta){
        .life = 77, .born_ms = 5, .born_wall_ms = ex_wall_ms(st.ex) - 400, .fresh_ms = 1000, .position = 12345
    };
    assert_get(&st, "k", STRATA_OK, "old");
    int64_t ttl = 0;
    assert_int_equal(strata_ttl(st.cache, strata_str("k"), &ttl, NULL), STRATA_OK);
    assert_int_equal(ttl, 600);
    assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
    e = script_find(st.slow, strata_str("k"), 1); /* as if the clear had not reached the store */
    e->size = 3;
    assert_get(&st, "k", STRATA_MISS, NULL);
    close_stack(&st);
}

/* What stands in a store that others write to may say anything. */
static void test_other_life_with_absurd_times(void **state)
{
    static const struct {
        int64_t born_wall_ms, born_ms, retry_at_ms;
        int status;
    } cases[] = {
        { INT64_MIN, 5, 0, STRATA_MISS }, /* as old as can be, not new */
        { INT64_MAX, 5, 0, STRATA_OK },
        { INT64_MAX, INT64_MIN, INT64_MAX, STRATA_OK },
        { INT64_MAX, INT64_MAX, INT64_MIN, STRATA_OK },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stack st;
        open_stack(&st, &(struct stack_options){ .with_slow = 1 });
        struct script_entry *e = script_find(st.slow, strata_str("k"), 1);
        memcpy(e->bytes, "old", 3);
        e->size = 3;
        e->meta = (strata_meta){ .life = 77,
                                 .born_ms = cases[i].born_ms,
                                 .born_wall_ms = cases[i].born_wall_ms,
                                 .retry_at_ms = cases[i].retry_at_ms,
                                 .fresh_ms = 1000 };
        assert_get(&st, "k", cases[i].status, cases[i].status == STRATA_OK ? "old" : NULL);
        close_stack(&st);
    }
}

static void test_no_instant_layer(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_stack(&st, &(struct stack_options){ .only_slow = 1, .policy = &windows });
    st.slow->delay_ms = 3;
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 1200);
    o.value = "two";
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    pass(&st, 20);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "two");
    assert_int_equal(o.calls, 2);
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hit_and_miss),
        cmocka_unit_test(test_bad_arguments),
        cmocka_unit_test(test_stale_while_revalidate),
        cmocka_unit_test(test_plain_get_of_stale),
        cmocka_unit_test(test_stale_if_error_and_throttle),
        cmocka_unit_test(test_failure_leaves_nothing),
        cmocka_unit_test(test_refresh_ahead),
        cmocka_unit_test(test_failed_refresh_waits),
        cmocka_unit_test(test_refresh_without_worker),
        cmocka_unit_test(test_negative),
        cmocka_unit_test(test_not_modified),
        cmocka_unit_test(test_not_modified_without_previous),
        cmocka_unit_test(test_own_policy_and_off),
        cmocka_unit_test(test_hard_timeout),
        cmocka_unit_test(test_background_completion),
        cmocka_unit_test(test_soft_timeout),
        cmocka_unit_test(test_hard_timeout_serves_stale),
        cmocka_unit_test(test_refresh_timeout),
        cmocka_unit_test(test_old_flight_is_left),
        cmocka_unit_test(test_backfill),
        cmocka_unit_test(test_failing_layer_is_passed),
        cmocka_unit_test(test_other_life),
        cmocka_unit_test(test_other_life_with_absurd_times),
        cmocka_unit_test(test_no_instant_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
