/* What core once did wrong: each test is a defect that was found, in the smallest form that shows it. */
#include "tests/unit/core_fixture.h"

/* A namespace that outlives its cache: every way to write answers that it is closed. */
static void test_writes_after_close(void **state)
{
    (void)state;
    struct stack st;
    strata *ns;
    struct ended e = { 0 };
    strata_item item = { .key = strata_str("k"), .set = strata_str("v") };
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_namespace(st.cache, "a", NULL, &ns, NULL), STRATA_OK);
    close_stack(&st);
    assert_int_equal(strata_set_many(ns, &item, 1, NULL, NULL), STRATA_ECLOSED);
    assert_int_equal(strata_set_async(ns, strata_str("k"), strata_str("v"), NULL, NULL, on_done, &e, NULL), STRATA_ECLOSED);
    assert_int_equal(e.count, 0);
    assert_int_equal(strata_close(ns), STRATA_OK);
}

/* A read that waits behind a delete does not put back what it saw before. */
static void test_nothing_resurrected(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .ttl_ms = 100, .stale_if_error_ms = 100000 };
    struct stack st;
    struct origin o = { .st = &st, .fail = STRATA_EIO };
    struct ended deleted = { 0 }, loaded = { 0 };
    strata_inspection in = { .size = sizeof in };
    open_stack(&st, &(struct stack_options){ .with_slow = 1, .policy = &p });
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("old"), NULL, NULL), STRATA_OK);
    pass(&st, 200);
    st.slow->hold = 1;
    assert_int_equal(strata_delete_async(st.cache, strata_str("k"), NULL, on_done, &deleted, NULL), STRATA_PENDING);
    run(&st);
    assert_int_equal(strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL, NULL, on_done, &loaded,
                                              NULL), STRATA_PENDING);
    run(&st);
    script_release(st.slow);
    run(&st);
    assert_int_equal(deleted.status, STRATA_OK);
    assert_int_equal(loaded.status, STRATA_EIO);
    assert_int_equal(strata_inspect(st.cache, strata_str("k"), &in, NULL), STRATA_MISS);
    close_stack(&st);
}

/* A read that waits behind a set is answered by what was set, wherever that could be stored. */
static void test_read_after_waiting(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "loaded" };
    struct ended deleted = { 0 }, set = { 0 }, loaded = { 0 };
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    st.slow->hold = 1;
    assert_int_equal(strata_delete_async(st.cache, strata_str("k"), NULL, on_done, &deleted, NULL), STRATA_PENDING);
    assert_int_equal(strata_set_async(st.cache, strata_str("k"), strata_str("set"), NULL, NULL, on_done, &set, NULL),
                     STRATA_PENDING);
    run(&st);
    assert_int_equal(strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL, NULL, on_done, &loaded,
                                              NULL), STRATA_PENDING);
    st.slow->fail_puts = 1;
    script_release(st.slow);
    run(&st);
    assert_int_equal(set.status, STRATA_ELAYER);
    assert_int_equal(loaded.status, STRATA_OK);
    assert_string_equal(loaded.text, "set");
    assert_int_equal(o.calls, 0);
    close_stack(&st);
}

/* A result whose slow layer hangs is given to nobody once its time is over. */
static int load_and_hold(strata_load *load, strata_slice key, void *ctx)
{
    struct origin *o = ctx;
    (void)key;
    o->st->slow->hold = ++o->calls == 1;
    return strata_load_copy(load, o->value, strlen(o->value));
}

static void test_outdated_result(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .ttl_ms = 100 };
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    struct ended first = { 0 }, second = { 0 };
    open_stack(&st, &(struct stack_options){ .with_slow = 1, .policy = &p });
    assert_int_equal(strata_get_or_load_async(st.cache, strata_str("k"), load_and_hold, &o, NULL, NULL, on_done, &first,
                                              NULL), STRATA_PENDING);
    run(&st);
    assert_string_equal(first.text, "one");
    assert_int_equal(st.slow->held_count, 1);
    pass(&st, 10000);
    st.slow->hold = 0; /* but for the put that it has */
    o.value = "two";
    assert_int_equal(strata_get_or_load_async(st.cache, strata_str("k"), load_and_hold, &o, NULL, NULL, on_done, &second,
                                              NULL), STRATA_PENDING);
    run(&st);
    assert_string_equal(second.text, "two");
    script_release(st.slow);
    run(&st);
    close_stack(&st);
}

/* One refresh runs, also where nobody can join it. */
static void test_one_refresh(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        strata_policy p = { .size = sizeof p, .ttl_ms = 100, .stale_while_revalidate_ms = 100000,
                            .single_flight = full ? 0 : STRATA_OFF };
        struct stack st;
        struct origin o = { .st = &st, .value = "one", .takes_ms = 50 }, other = { .st = &st, .pending = 1 };
        struct ended e = { 0 };
        open_stack(&st, &(struct stack_options){ .policy = &p, .max_flights = full ? 1 : 0 });
        assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
        assert_int_equal(strata_get_or_load_async(st.cache, strata_str("other"), origin_loader, &other, NULL, NULL, on_done,
                                                  &e, NULL), STRATA_PENDING);
        pass(&st, 200);
        for (int i = 0; i < 20; i++)
            assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
        pass(&st, 60);
        assert_int_equal(o.calls, 2);
        assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
        assert_int_equal(strata_load_copy(other.kept, "x", 1), STRATA_OK);
        strata_load_unref(other.kept);
        run(&st);
        close_stack(&st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_after_close),
        cmocka_unit_test(test_nothing_resurrected),
        cmocka_unit_test(test_read_after_waiting),
        cmocka_unit_test(test_outdated_result),
        cmocka_unit_test(test_one_refresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
