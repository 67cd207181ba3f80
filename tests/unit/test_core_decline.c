/* test_core_decline.c - loads whose value is not stored: their callers have it, and nobody waits for another's. */
#include "tests/unit/core_fixture.h"

struct picky {
    struct stack *st;
    int calls, running, most;
    int64_t takes_ms;
    int store;  /* 1: it is, after all */
    int by_ttl; /* declined by the loader's own ttl */
    int others; /* so many callers come while the first load runs */
    struct ended ends[8];
};

static int declines(strata_load *load, strata_slice key, void *ctx);

static void others_come(struct picky *p, strata_slice key)
{
    int n = p->others;
    p->others = 0;
    for (int i = 0; i < n; i++)
        assert_int_equal(
            strata_get_or_load_async(p->st->cache, key, declines, p, NULL, NULL, on_done, &p->ends[i], NULL),
            STRATA_PENDING);
}

static int declines(strata_load *load, strata_slice key, void *ctx)
{
    struct picky *p = ctx;
    strata_policy off = STRATA_POLICY_INIT;
    off.ttl_ms = STRATA_OFF;
    char text[16];
    int length = snprintf(text, sizeof text, "v%d", ++p->calls);
    if (++p->running > p->most)
        p->most = p->running;
    others_come(p, key);
    struct parker parker = { 0 };
    ex_park(p->st->ex, &parker, ex_now_ms(p->st->ex) + p->takes_ms);
    p->running--;
    if (p->store)
        return strata_load_copy(load, text, (size_t)length);
    if (!p->by_ttl)
        return strata_load_decline(load, text, (size_t)length);
    assert_int_equal(strata_load_set_policy(load, &off), STRATA_OK);
    return strata_load_copy(load, text, (size_t)length);
}

static void ask(struct picky *p, const char *text)
{
    strata_value *v = NULL;
    assert_int_equal(strata_get_or_load(p->st->cache, strata_str("k"), declines, p, NULL, &v, &p->st->err), STRATA_OK);
    if (text != NULL)
        assert_value(v, text);
    else
        strata_value_unref(v);
    run(p->st);
}

/* Ask while others come: how many loads that is, for all of them. */
static int loads_with_others(struct picky *p)
{
    int before = p->calls;
    memset(p->ends, 0, sizeof p->ends);
    p->others = 3;
    ask(p, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(p->ends[i].count, 1);
        assert_int_equal(p->ends[i].status, STRATA_OK);
    }
    return p->calls - before;
}

static void test_declined_is_not_stored(void **state)
{
    (void)state;
    struct stack st;
    for (int by_ttl = 0; by_ttl < 2; by_ttl++) {
        struct picky p = { .st = &st, .takes_ms = 10, .by_ttl = by_ttl };
        open_stack(&st, &(struct stack_options){ .with_slow = 1 });
        ask(&p, "v1");
        assert_get(&st, "k", STRATA_MISS, NULL);
        assert_null(script_find(st.slow, strata_str("k"), 0));
        ask(&p, "v2");
        assert_int_equal(loads_with_others(&p), 1); /* the option is off: they share it */
        close_stack(&st);
    }
}

static void test_nobody_waits_for_what_is_not_stored(void **state)
{
    (void)state;
    struct stack st;
    strata_policy policy = STRATA_POLICY_INIT;
    policy.uncacheable_ms = 1000;
    for (int by_ttl = 0; by_ttl < 2; by_ttl++) {
        struct picky p = { .st = &st, .takes_ms = 10, .by_ttl = by_ttl };
        open_stack(&st, &(struct stack_options){ .policy = &policy, .with_slow = 1 });
        assert_int_equal(loads_with_others(&p), 1); /* nothing is known yet */
        assert_int_equal(loads_with_others(&p), 4);
        assert_true(p.most > 1); /* at once */
        pass(&st, 1000);
        assert_int_equal(loads_with_others(&p), 1); /* forgotten, and learned again */
        assert_int_equal(loads_with_others(&p), 4);
        p.store = 1;
        ask(&p, NULL);
        assert_int_equal(strata_delete(st.cache, strata_str("k"), NULL) >= 0, 1);
        assert_int_equal(loads_with_others(&p), 1); /* it was stored: that ends it early */
        close_stack(&st);
    }
}

/* Who has it off shares loads, whatever others have. */
static void test_who_has_it_off_shares(void **state)
{
    (void)state;
    struct stack st;
    strata_policy policy = STRATA_POLICY_INIT;
    strata_value *v = NULL;
    struct picky p = { .st = &st, .takes_ms = 10 };
    policy.uncacheable_ms = 1000;
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_get_or_load(st.cache, strata_str("k"), declines, &p, &policy, &v, NULL), STRATA_OK);
    strata_value_unref(v);
    assert_int_equal(loads_with_others(&p), 1);
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_declined_is_not_stored),
        cmocka_unit_test(test_nobody_waits_for_what_is_not_stored),
        cmocka_unit_test(test_who_has_it_off_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
