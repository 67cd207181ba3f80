/* test_unleased.c - loads while no lease can be asked for: so many at once, the others in turn, and none for ever. */
#include "tests/unit/lease_calls.h"

enum { CALLERS = 5 };

/* Loads that are kept, of several keys. */
struct kept {
    struct fleet *fleet;
    strata_load *loads[CALLERS];
    size_t count;
    int calls; /* of the loader, or of the bulk loader */
    int nested;
};

static int keep(strata_load *load, strata_slice key, void *ctx);

static int keep_some(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    struct kept *k = ctx;
    (void)keys;
    k->calls++;
    for (size_t i = 0; i < count; i++)
        k->loads[k->count++] = strata_load_ref(loads[i]);
    return STRATA_PENDING;
}

static int keep(strata_load *load, strata_slice key, void *ctx) { return keep_some(&load, &key, 1, ctx); }

static void finish(struct kept *k, size_t i)
{
    strata_load_copy(k->loads[i], "v", 1);
    strata_load_unref(k->loads[i]);
}

static strata_slice key_of(int i) { return strata_bytes(&"abcde"[i], 1); }

static void ask_key(struct fleet *fleet, struct kept *k, int i, const strata_policy *policy, struct call *c)
{
    *c = (struct call){ 0 };
    assert_int_equal(strata_get_or_load_async(fleet->node[0], key_of(i), keep, k, policy, NULL, on_call, c, NULL),
                     STRATA_PENDING);
    fleet_run(fleet);
}

static void open_sick(struct fleet *fleet, uint32_t most, uint32_t kind)
{
    fleet_open(fleet, &(struct fleet_options){ .max_unleased = most });
    lease_store_fail(fleet->store, kind, STRATA_EIO);
}

static void in_turn(uint32_t kind)
{
    struct fleet fleet;
    struct kept k = { 0 };
    struct call c[CALLERS];
    open_sick(&fleet, 2, kind);
    for (int i = 0; i < CALLERS; i++)
        ask_key(&fleet, &k, i, NULL, &c[i]);
    assert_int_equal(k.calls, 2);
    for (int i = 0; i < CALLERS; i++) {
        finish(&k, (size_t)i);
        fleet_run(&fleet);
        assert_int_equal(k.calls, i + 3 < CALLERS ? i + 3 : CALLERS);
        assert_answer(&c[i], STRATA_OK, "v"); /* first come, first served */
    }
    assert_int_equal(node_stats(&fleet, 0).unleased_waits, 3);
    fleet_close(&fleet);
}

static void test_in_turn(void **state)
{
    (void)state;
    in_turn(STRATA_OP_LEASE);
}

static void test_in_turn_where_gets_fail(void **state)
{
    (void)state;
    in_turn(STRATA_OP_GET);
}

static void test_no_bound_with_leases(void **state)
{
    (void)state;
    struct fleet fleet;
    struct kept k = { 0 };
    struct call c[CALLERS];
    fleet_open(&fleet, &(struct fleet_options){ .max_unleased = 1 });
    for (int i = 0; i < CALLERS; i++)
        ask_key(&fleet, &k, i, NULL, &c[i]);
    assert_int_equal(k.calls, CALLERS);
    for (int i = 0; i < CALLERS; i++)
        finish(&k, (size_t)i);
    fleet_run(&fleet);
    fleet_close(&fleet);
}

static void test_timeouts_hold(void **state)
{
    (void)state;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .hard_timeout_ms = 20 };
    struct fleet fleet;
    struct kept k = { 0 };
    struct call c[3];
    open_sick(&fleet, 1, STRATA_OP_LEASE);
    ask_key(&fleet, &k, 0, NULL, &c[0]);
    ask_key(&fleet, &k, 1, &policy, &c[1]);
    ask_key(&fleet, &k, 2, NULL, &c[2]);
    fleet_pass(&fleet, 21);
    assert_answer(&c[1], STRATA_ETIMEDOUT, "");
    finish(&k, 0);
    fleet_run(&fleet);
    assert_int_equal(k.calls, 2); /* nobody wants the second one any more */
    finish(&k, 1);
    fleet_run(&fleet);
    assert_answer(&c[2], STRATA_OK, "v");
    fleet_close(&fleet);
}

static int load_nested(strata_load *load, strata_slice key, void *ctx)
{
    struct kept *k = ctx;
    strata_value *v = NULL;
    (void)key;
    if (k->nested++ == 0) {
        assert_int_equal(strata_get_or_load(k->fleet->node[0], strata_str("z"), load_nested, k, NULL, &v, NULL),
                         STRATA_OK);
        strata_value_unref(v);
    }
    return strata_load_copy(load, "v", 1);
}

static void test_a_loader_may_load(void **state)
{
    (void)state;
    struct fleet fleet;
    struct kept k = { .fleet = &fleet };
    strata_value *v = NULL;
    open_sick(&fleet, 1, STRATA_OP_LEASE);
    int64_t before = ex_now_ms(fleet.sim);
    assert_int_equal(strata_get_or_load(fleet.node[0], strata_str("k"), load_nested, &k, NULL, &v, NULL), STRATA_OK);
    strata_value_unref(v);
    assert_int_equal(k.nested, 2);
    assert_int_equal(ex_now_ms(fleet.sim), before);
    fleet_close(&fleet);
}

static void test_none_waits_for_ever(void **state)
{
    (void)state;
    struct fleet fleet;
    struct kept k = { 0 };
    struct call c[CALLERS];
    open_sick(&fleet, 1, STRATA_OP_LEASE);
    for (int i = 0; i < CALLERS; i++)
        ask_key(&fleet, &k, i, NULL, &c[i]);
    assert_int_equal(k.calls, 1);
    fleet_pass(&fleet, 999);
    assert_int_equal(k.calls, 1);
    fleet_pass(&fleet, 2);
    assert_int_equal(k.calls, 2); /* for all that is known they wait for each other */
    fleet_pass(&fleet, 3000);
    assert_int_equal(k.calls, CALLERS);
    for (int i = 0; i < CALLERS; i++)
        finish(&k, (size_t)i);
    fleet_run(&fleet);
    for (int i = 0; i < CALLERS; i++)
        assert_answer(&c[i], STRATA_OK, "v");
    fleet_close(&fleet);
}

static void test_a_bulk_call_is_one(void **state)
{
    (void)state;
    struct fleet fleet;
    struct kept k = { 0 };
    struct call single, bulk = { 0 };
    strata_item items[3] = { { .key = key_of(1) }, { .key = key_of(2) }, { .key = key_of(3) } };
    open_sick(&fleet, 1, STRATA_OP_LEASE);
    ask_key(&fleet, &k, 0, NULL, &single);
    assert_int_equal(
        strata_get_or_load_many_async(fleet.node[0], items, 3, keep_some, &k, NULL, NULL, on_call, &bulk, NULL),
        STRATA_PENDING);
    fleet_run(&fleet);
    assert_int_equal(k.calls, 1);
    finish(&k, 0);
    fleet_run(&fleet);
    assert_int_equal(k.calls, 2);
    assert_int_equal(k.count, 4);
    for (size_t i = 1; i < 4; i++)
        finish(&k, i);
    fleet_run(&fleet);
    assert_int_equal(bulk.done, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(items[i].status, STRATA_OK);
        strata_value_unref(items[i].value);
    }
    fleet_close(&fleet);
}

static void test_close_lets_all_go(void **state)
{
    (void)state;
    struct fleet fleet;
    struct kept k = { 0 };
    struct call c[CALLERS];
    open_sick(&fleet, 1, STRATA_OP_LEASE);
    for (int i = 0; i < CALLERS; i++)
        ask_key(&fleet, &k, i, NULL, &c[i]);
    fleet_close(&fleet);
    assert_int_equal(k.calls, 1);
    for (int i = 0; i < CALLERS; i++)
        assert_answer(&c[i], STRATA_ECLOSED, "");
    strata_load_unref(k.loads[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_turn),
        cmocka_unit_test(test_in_turn_where_gets_fail),
        cmocka_unit_test(test_no_bound_with_leases),
        cmocka_unit_test(test_timeouts_hold),
        cmocka_unit_test(test_a_loader_may_load),
        cmocka_unit_test(test_none_waits_for_ever),
        cmocka_unit_test(test_a_bulk_call_is_one),
        cmocka_unit_test(test_close_lets_all_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
