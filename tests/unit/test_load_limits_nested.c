/* test_load_limits_nested.c - limits of loads, and loaders that load. */
#include "tests/unit/core_fixture.h"

struct outer {
    struct stack *st;
    struct ended end;
    strata_policy policy;
    int many;  /* it waits for many at once */
    int joins; /* 1: somebody else has asked for what it needs, and waits; 2: with a bulk loader */
    strata_item batch[2];
    int64_t took_ms;
    int calls, status;
};

static int load_plain(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    ((struct outer *)ctx)->calls++;
    return strata_load_copy(load, "v", 1);
}

static int load_plain_many(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    for (size_t i = 0; i < count; i++)
        (void)load_plain(loads[i], keys[i], ctx);
    return STRATA_OK;
}

static int load_outer(strata_load *load, strata_slice key, void *ctx)
{
    struct outer *o = ctx;
    strata *cache = o->st->cache;
    struct executor *ex = o->st->ex;
    struct parker parker = { 0 };
    strata_value *v = NULL;
    (void)key;
    if (o->joins) {
        if (o->joins == 1)
            assert_int_equal(strata_get_or_load_async(cache, strata_str("inner"), load_plain, o, &o->policy, NULL,
                                                      on_done, &o->end, NULL),
                             STRATA_PENDING);
        else
            assert_int_equal(strata_get_or_load_many_async(cache, o->batch, 2, load_plain_many, o, &o->policy, NULL,
                                                           on_done, &o->end, NULL),
                             STRATA_PENDING);
        ex_park(ex, &parker, ex_now_ms(ex) + 10);
        assert_int_equal(o->calls, 0);
    }
    int64_t before = ex_now_ms(ex);
    if (o->many) {
        strata_item items[] = { { .key = strata_str("inner") }, { .key = strata_str("more") } };
        o->status = strata_get_or_load_many(cache, items, 2, load_plain_many, o, &o->policy, NULL);
        strata_value_unref(items[0].value);
        strata_value_unref(items[1].value);
    } else {
        o->status = strata_get_or_load(cache, strata_str("inner"), load_plain, o, &o->policy, &v, NULL);
    }
    o->took_ms = ex_now_ms(ex) - before;
    strata_value_unref(v);
    return strata_load_copy(load, "v", 1);
}

/* What a loader waits for waits for no place, whoever has begun it, and on whichever thread: the loader holds one until then. */
static void test_nobody_waits_for_who_waits(void **state)
{
    (void)state;
    for (int joins = 0; joins < 3; joins++)
        for (int how = 0; how < 4; how++) {
            struct stack st;
            struct outer o = { .st = &st, .policy = STRATA_POLICY_INIT, .joins = joins, .many = how >= 2 };
            strata_value *v;
            o.policy.max_loads = 1;
            o.policy.queue_ms = STRATA_FOREVER;
            o.batch[0].key = strata_str("other");
            o.batch[1].key = strata_str("inner");
            if (how % 2 != 0) /* on a worker */
                o.policy.soft_timeout_ms = 1000;
            open_stack(&st, &(struct stack_options){ 0 });
            assert_int_equal(strata_get_or_load(st.cache, strata_str("outer"), load_outer, &o, &o.policy, &v, NULL),
                             STRATA_OK);
            strata_value_unref(v);
            run(&st);
            assert_int_equal(o.status, STRATA_OK);
            assert_int_equal(o.took_ms, 0);
            assert_int_equal(o.calls, 1 + (joins == 2) + o.many);
            strata_value_unref(o.batch[0].value);
            strata_value_unref(o.batch[1].value);
            close_stack(&st);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_waits_for_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
