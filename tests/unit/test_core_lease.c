/* test_core_lease.c - one load in the fleet: what a flight does with each answer of a layer that gives leases. */
#include "src/layer/memory/memory_impl.h"
#include "tests/unit/lease_calls.h"

/* One load -------------------------------------------------------------------------------------------------------- */

static void test_one_load(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "v", .pending = 1 };
    struct call a[3], b[3];
    fleet_open(&fleet, &(struct fleet_options){ .most_ms = 5 });
    for (int i = 0; i < 3; i++) {
        ask(&fleet, 0, &o, NULL, &a[i]);
        ask(&fleet, 1, &o, NULL, &b[i]);
    }
    fleet_pass(&fleet, 40);
    assert_int_equal(store_counts(&fleet).waiting, 1); /* once a process */
    complete_kept(&o);
    fleet_pass(&fleet, 40);
    for (int i = 0; i < 3; i++) {
        assert_answer(&a[i], STRATA_OK, "v");
        assert_answer(&b[i], STRATA_OK, "v");
    }
    assert_int_equal(o.calls, 1);
    assert_int_equal(node_stats(&fleet, 0).leases + node_stats(&fleet, 1).leases, 1);
    assert_int_equal(node_stats(&fleet, 0).lease_waits + node_stats(&fleet, 1).lease_waits, 1);
    strata_meta meta;
    uint64_t version;
    char text[4];
    assert_int_equal(lease_store_value(fleet.store, strata_str("k"), text, sizeof text, &meta), 1);
    for (int i = 0; i < NODES; i++) { /* what is held is what is stored */
        assert_true(in_memory(&fleet, i, &version));
        assert_int_equal(version, meta.version);
    }
    fleet_close(&fleet);
}

/* To who waited for another node's load its value counts as costing that wait, where the store does not tell. */
static void test_the_wait_is_the_cost(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "v", .pending = 1 };
    struct call a, b;
    fleet_open(&fleet, &(struct fleet_options){ .most_ms = 1, .wait_ms = 5000, .memory_policy = STRATA_EVICT_COST });
    ask(&fleet, 0, &o, NULL, &a);
    fleet_pass(&fleet, 10);
    ask(&fleet, 1, &o, NULL, &b);
    fleet_pass(&fleet, 2000);
    complete_kept(&o);
    fleet_pass(&fleet, 40);
    assert_answer(&b, STRATA_OK, "v");
    assert_answer(&a, STRATA_OK, "v");
    assert_int_equal(o.calls, 1);
    for (int i = 0; i < NODES; i++) {
        struct shard *s = &((struct memory *)(void *)fleet.node[i]->root->layers[0].layer)->shards[0];
        unsigned class = strata__weigh_class(2000000, 64), some = 0;
        for (unsigned near = class - 1; near <= class + 1; near++)
            some += s->weighing->weigh.count[near];
        assert_int_equal(some, 1);
        assert_int_equal(s->weighing->weigh.all, 1);
    }
    fleet_close(&fleet);
}

static void test_blocking_caller(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "v", .pending = 1 };
    struct call a;
    strata_value *v = NULL;
    fleet_open(&fleet, &(struct fleet_options){ .most_ms = 3, .wait_ms = 20 });
    ask(&fleet, 0, &o, NULL, &a);
    fleet_pass(&fleet, 10);
    assert_non_null(o.kept);
    /* It sleeps for the other node's, which does not come to an end. */
    assert_int_equal(strata_get_or_load(fleet.node[1], strata_str("k"), load_from, &o, NULL, &v, &fleet.err), STRATA_OK);
    strata_value_unref(v);
    assert_int_equal(o.calls, 2);
    assert_int_equal(node_stats(&fleet, 1).lease_timeouts, 1);
    assert_string_equal(in_store(&fleet), "nothing"); /* it was not ours to store */
    assert_int_equal(store_counts(&fleet).removes, 0);
    assert_true(in_memory(&fleet, 1, NULL));
    o.value = "w";
    complete_kept(&o);
    fleet_pass(&fleet, 10);
    assert_answer(&a, STRATA_OK, "w");
    assert_string_equal(in_store(&fleet), "w");
    fleet_close(&fleet);
}

static void test_plain_gets_take_none(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "v", .pending = 1 };
    struct call a, b;
    strata_value *v = NULL;
    fleet_open(&fleet, &(struct fleet_options){ 0 });
    assert_int_equal(strata_get(fleet.node[0], strata_str("k"), &v, &fleet.err), STRATA_MISS);
    assert_int_equal(store_counts(&fleet).leases, 0);
    ask(&fleet, 0, &o, NULL, &a);
    ask(&fleet, 1, &o, NULL, &b);
    fleet_run(&fleet);
    assert_int_equal(store_counts(&fleet).waiting, 1);
    for (int i = 0; i < NODES; i++) /* one loads, one waits for its lease: neither keeps a plain get */
        assert_int_equal(strata_get(fleet.node[i], strata_str("k"), &v, &fleet.err), STRATA_MISS);
    complete_kept(&o);
    fleet_run(&fleet);
    assert_answer(&a, STRATA_OK, "v");
    assert_answer(&b, STRATA_OK, "v");
    assert_int_equal(o.calls, 1);
    fleet_close(&fleet);
}

/* Every end gives the lease back ------------------------------------------------------------------------------------ */

/* A load of one node ends so; the other one waits for it, and loads at once. */
static void ends_without_a_value(struct origin *o, const strata_policy *policy, int status, const char *text)
{
    struct fleet fleet;
    struct origin second = { .value = "2" };
    struct call a, b;
    fleet_open(&fleet, &(struct fleet_options){ .policy = policy });
    o->pending = 1;
    ask(&fleet, 0, o, NULL, &a);
    fleet_run(&fleet);
    ask(&fleet, 1, &second, NULL, &b);
    fleet_run(&fleet);
    assert_int_equal(store_counts(&fleet).waiting, 1);
    complete_kept(o);
    fleet_run(&fleet); /* no time passes */
    assert_answer(&a, status, text);
    assert_int_equal(second.calls, 1);
    assert_int_equal(b.done, 1);
    fleet_close(&fleet);
}

static void test_failure_releases(void **state)
{
    (void)state;
    ends_without_a_value(&(struct origin){ .value = "v", .fail = STRATA_EIO }, NULL, STRATA_EIO, "");
}

static void test_decline_releases(void **state)
{
    (void)state;
    ends_without_a_value(&(struct origin){ .value = "v", .decline = 1 }, NULL, STRATA_OK, "v");
}

static void test_forgotten_absence_releases(void **state)
{
    (void)state;
    ends_without_a_value(&(struct origin){ .value = NULL }, NULL, STRATA_ABSENT, "");
}

static void test_uncachable_releases(void **state)
{
    (void)state;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = STRATA_OFF };
    ends_without_a_value(&(struct origin){ .value = "v" }, &policy, STRATA_OK, "v");
}

static void test_remembered_absence_is_stored(void **state)
{
    (void)state;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .negative_ttl_ms = 1000 };
    struct fleet fleet;
    struct origin o = { .value = NULL };
    fleet_open(&fleet, &(struct fleet_options){ .policy = &policy });
    assert_load(&fleet, 0, &o, STRATA_ABSENT, "");
    assert_load(&fleet, 1, &o, STRATA_ABSENT, "");
    assert_int_equal(o.calls, 1);
    fleet_close(&fleet);
}

static void test_hung_loader_gives_it_back(void **state)
{
    (void)state;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .hard_timeout_ms = 20 };
    struct fleet fleet;
    struct origin o = { .value = "1", .pending = 1 }, second = { .value = "2" };
    struct call a, b;
    fleet_open(&fleet, &(struct fleet_options){ 0 });
    ask(&fleet, 0, &o, &policy, &a);
    fleet_run(&fleet);
    ask(&fleet, 1, &second, NULL, &b);
    fleet_pass(&fleet, 21);
    assert_answer(&a, STRATA_ETIMEDOUT, ""); /* nobody wants it any more, though its loader goes on */
    assert_answer(&b, STRATA_OK, "2");
    complete_kept(&o);
    fleet_run(&fleet);
    assert_string_equal(in_store(&fleet), "2");
    fleet_close(&fleet);
}

static void test_timeout_while_waiting(void **state)
{
    (void)state;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .hard_timeout_ms = 20 };
    struct fleet fleet;
    struct origin o = { .value = "1", .pending = 1 };
    struct call a, b;
    fleet_open(&fleet, &(struct fleet_options){ 0 });
    ask(&fleet, 0, &o, NULL, &a);
    fleet_run(&fleet);
    ask(&fleet, 1, &o, &policy, &b);
    fleet_pass(&fleet, 21);
    assert_answer(&b, STRATA_ETIMEDOUT, "");
    assert_int_equal(store_counts(&fleet).waiting, 1);
    o.fail = STRATA_EIO; /* it gets the lease now, and wants it no more */
    complete_kept(&o);
    fleet_run(&fleet);
    assert_int_equal(o.calls, 1);
    fleet_close(&fleet);
}

/* Written meanwhile ------------------------------------------------------------------------------------------------- */

static void delete_elsewhere(void *ctx)
{
    struct fleet *fleet = ctx;
    assert_int_equal(strata_delete(fleet->node[1], strata_str("k"), &fleet->err), STRATA_OK);
}

static void delete_here(void *ctx)
{
    struct fleet *fleet = ctx;
    assert_int_equal(strata_delete(fleet->node[0], strata_str("k"), &fleet->err), STRATA_OK);
}

static void flush_store(void *ctx) { lease_store_flush(((struct fleet *)ctx)->store); }

static void is_kept_nowhere(void (*meanwhile)(void *ctx), uint64_t lost)
{
    struct fleet fleet;
    struct origin o = { .value = "old", .meanwhile = meanwhile, .ctx = &fleet };
    fleet_open(&fleet, &(struct fleet_options){ 0 });
    assert_load(&fleet, 0, &o, STRATA_OK, "old");
    assert_string_equal(in_store(&fleet), "nothing");
    assert_false(in_memory(&fleet, 0, NULL));
    assert_int_equal(node_stats(&fleet, 0).leases_lost, lost);
    o.meanwhile = NULL;
    o.value = "new";
    assert_load(&fleet, 0, &o, STRATA_OK, "new");
    assert_string_equal(in_store(&fleet), "new");
    fleet_close(&fleet);
}

static void test_deleted_elsewhere(void **state)
{
    (void)state;
    is_kept_nowhere(delete_elsewhere, 1);
}

static void test_deleted_here(void **state)
{
    (void)state;
    is_kept_nowhere(delete_here, 0);
}

static void test_flushed(void **state)
{
    (void)state;
    is_kept_nowhere(flush_store, 1);
}

static void test_joins_before_the_store_has_answered(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "v" };
    struct call a, b;
    fleet_open(&fleet, &(struct fleet_options){ .most_ms = 20 });
    ask(&fleet, 0, &o, NULL, &a);
    for (int i = 0; i < 500 && !a.done; i++)
        fleet_pass(&fleet, 1);
    assert_answer(&a, STRATA_OK, "v");
    assert_int_equal(store_counts(&fleet).puts, 0); /* its caller did not wait for that */
    assert_false(in_memory(&fleet, 0, NULL));
    ask(&fleet, 0, &o, NULL, &b);
    fleet_run(&fleet);
    assert_answer(&b, STRATA_OK, "v");
    assert_int_equal(o.calls, 1);
    lease_store_kill_leases(fleet.store); /* the PUT comes too late */
    fleet_pass(&fleet, 60);
    assert_false(in_memory(&fleet, 0, NULL));
    assert_int_equal(node_stats(&fleet, 0).leases_lost, 1);
    fleet_close(&fleet);
}

static void test_callers_wait_past_the_bound(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "v" };
    struct call a, b = { 0 };
    fleet_open(&fleet, &(struct fleet_options){ .most_ms = 20, .max_queued = 1 });
    ask(&fleet, 0, &o, NULL, &a);
    for (int i = 0; i < 500 && !a.done; i++)
        fleet_pass(&fleet, 1);
    assert_answer(&a, STRATA_OK, "v");
    assert_int_equal(strata_get_or_load_async(fleet.node[0], strata_str("other"), load_from, &o, NULL, NULL, on_call,
                                              &b, &fleet.err),
                     STRATA_PENDING);
    fleet_pass(&fleet, 200);
    assert_answer(&b, STRATA_OK, "v");
    assert_int_equal(store_counts(&fleet).puts, 2); /* that one was not passed by */
    fleet_close(&fleet);
}

/* A store that has trouble ------------------------------------------------------------------------------------------- */

static void test_lease_fails(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "v" };
    fleet_open(&fleet, &(struct fleet_options){ 0 });
    lease_store_fail(fleet.store, STRATA_OP_LEASE, STRATA_EIO);
    assert_load(&fleet, 0, &o, STRATA_OK, "v");
    assert_int_equal(store_counts(&fleet).puts, 0);
    assert_int_equal(store_counts(&fleet).removes, 0);
    assert_true(in_memory(&fleet, 0, NULL));
    fleet_close(&fleet);
}

static void test_get_fails(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "v" };
    fleet_open(&fleet, &(struct fleet_options){ 0 });
    lease_store_fail(fleet.store, STRATA_OP_GET, STRATA_ETIMEDOUT);
    assert_load(&fleet, 0, &o, STRATA_OK, "v");
    assert_int_equal(store_counts(&fleet).leases, 0); /* it costs its timeout once */
    assert_int_equal(store_counts(&fleet).puts, 0);
    fleet_close(&fleet);
}

static void test_put_fails(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "v" };
    fleet_open(&fleet, &(struct fleet_options){ 0 });
    lease_store_fail(fleet.store, STRATA_OP_PUT, STRATA_EIO);
    assert_load(&fleet, 0, &o, STRATA_OK, "v");
    assert_true(in_memory(&fleet, 0, NULL));
    assert_int_equal(store_counts(&fleet).removes, 1); /* nobody knows what it holds now */
    fleet_close(&fleet);
}

static void test_no_leases(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "v" };
    fleet_open(&fleet, &(struct fleet_options){ 0 });
    lease_store_no_leases(fleet.store);
    assert_load(&fleet, 0, &o, STRATA_OK, "v");
    assert_string_equal(in_store(&fleet), "v");
    assert_true(in_memory(&fleet, 0, NULL));
    assert_int_equal(node_stats(&fleet, 0).leases, 0);
    fleet_close(&fleet);
}

static void test_single_flight_off(void **state)
{
    (void)state;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .single_flight = STRATA_OFF };
    struct fleet fleet;
    struct origin first = { .value = "1", .pending = 1 }, second = { .value = "2" };
    struct call a, b;
    fleet_open(&fleet, &(struct fleet_options){ 0 });
    ask(&fleet, 0, &first, &policy, &a);
    fleet_run(&fleet);
    ask(&fleet, 0, &second, &policy, &b);
    fleet_run(&fleet);
    assert_answer(&b, STRATA_OK, "2");                /* waits for nobody, */
    assert_string_equal(in_store(&fleet), "nothing"); /* and leaves the store to who has the lease */
    complete_kept(&first);
    fleet_run(&fleet);
    assert_string_equal(in_store(&fleet), "1");
    fleet_close(&fleet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_wait_is_the_cost),
        cmocka_unit_test(test_one_load),
        cmocka_unit_test(test_blocking_caller),
        cmocka_unit_test(test_plain_gets_take_none),
        cmocka_unit_test(test_failure_releases),
        cmocka_unit_test(test_decline_releases),
        cmocka_unit_test(test_forgotten_absence_releases),
        cmocka_unit_test(test_uncachable_releases),
        cmocka_unit_test(test_remembered_absence_is_stored),
        cmocka_unit_test(test_hung_loader_gives_it_back),
        cmocka_unit_test(test_timeout_while_waiting),
        cmocka_unit_test(test_deleted_elsewhere),
        cmocka_unit_test(test_deleted_here),
        cmocka_unit_test(test_flushed),
        cmocka_unit_test(test_joins_before_the_store_has_answered),
        cmocka_unit_test(test_callers_wait_past_the_bound),
        cmocka_unit_test(test_lease_fails),
        cmocka_unit_test(test_get_fails),
        cmocka_unit_test(test_put_fails),
        cmocka_unit_test(test_no_leases),
        cmocka_unit_test(test_single_flight_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
