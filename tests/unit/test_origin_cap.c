/* test_origin_cap.c - so many loads of an origin at once, whatever a shared layer does; and how soon it is asked again when it has failed. */
#include "tests/support/fail_alloc.h"
#include "tests/unit/lease_calls.h"

enum { CALLERS = 6 };

struct crowd {
    struct fleet *fleet;
    int running, most, calls;
    struct call calls_of[NODES][CALLERS];
};

/* Takes 10 ms. */
static int load_slowly(strata_load *load, strata_slice key, void *ctx)
{
    struct crowd *c = ctx;
    struct parker parker = { 0 };
    (void)key;
    c->calls++;
    if (++c->running > c->most)
        c->most = c->running;
    ex_park(c->fleet->sim, &parker, ex_now_ms(c->fleet->sim) + 10);
    c->running--;
    return strata_load_copy(load, "v", 1);
}

/* All nodes ask for the same keys at once; how many loads ran at once. */
static int most_at_once(const strata_policy *p, uint32_t max_unleased, int sick, int *out_calls)
{
    struct fleet fleet;
    struct crowd c = { .fleet = &fleet };
    fleet_open(&fleet, &(struct fleet_options){ .policy = p, .max_unleased = max_unleased });
    if (sick) {
        lease_store_fail(fleet.store, STRATA_OP_GET, STRATA_EIO);
        lease_store_fail(fleet.store, STRATA_OP_LEASE, STRATA_EIO);
    }
    for (int n = 0; n < NODES; n++)
        for (int i = 0; i < CALLERS; i++)
            assert_int_equal(strata_get_or_load_async(fleet.node[n], strata_bytes(&"abcdef"[i], 1), load_slowly, &c,
                                                      NULL, NULL, on_call, &c.calls_of[n][i], NULL),
                             STRATA_PENDING);
    fleet_pass(&fleet, 1000);
    for (int n = 0; n < NODES; n++)
        for (int i = 0; i < CALLERS; i++)
            assert_answer(&c.calls_of[n][i], STRATA_OK, "v");
    fleet_close(&fleet);
    *out_calls = c.calls;
    return c.most;
}

static void test_the_cap_holds_with_the_store_and_without(void **state)
{
    (void)state;
    int calls;
    const strata_policy cap = { STRATA_SIZED(strata_policy), .max_loads = 1 };
    const strata_policy named = { STRATA_SIZED(strata_policy), .max_loads = 1, .limit_name = "db" };
    assert_true(most_at_once(NULL, 0, 0, &calls) > NODES);
    assert_int_equal(calls, CALLERS); /* each key once among the nodes */
    assert_in_range(most_at_once(&cap, 0, 0, &calls), 1, NODES);
    assert_int_equal(calls, CALLERS);
    assert_true(most_at_once(NULL, 0, 1, &calls) > NODES);
    assert_int_equal(calls, CALLERS * NODES);
    assert_int_equal(most_at_once(&cap, 0, 1, &calls), NODES); /* one in each process */
    assert_int_equal(most_at_once(&named, 0, 1, &calls), NODES);
    assert_int_equal(most_at_once(NULL, 1, 1, &calls), NODES); /* max_unleased_loads says so, too, then alone */
    assert_int_equal(calls, CALLERS * NODES);
}

/* Retries ---------------------------------------------------------------------------------------------------------- */

static strata_policy stale_for_long(void)
{
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 10;
    p.stale_if_error_ms = 1000000;
    p.retry_ms = 500;
    return p;
}

static int ask_now(struct fleet *fleet, struct origin *o, const strata_policy *p)
{
    strata_value *v = NULL;
    int rc = strata_get_or_load(fleet->node[0], strata_str("k"), load_from, o, p, &v, NULL);
    strata_value_unref(v);
    return rc;
}

/* Whatever keeps the origin from answering, it is asked once in retry_ms, and its callers wait for it no oftener. */
static void test_one_try_in_retry_ms(void **state)
{
    (void)state;
    enum { FAILS, HANGS, REFUSED_BY_BREAKER, KINDS };
    for (int kind = 0; kind < KINDS; kind++) {
        struct fleet fleet;
        struct origin o = { .value = "old" }, other = { .fail = STRATA_EIO };
        strata_policy p = stale_for_long();
        strata_value *v = NULL;
        if (kind == HANGS)
            p.hard_timeout_ms = 50;
        if (kind == REFUSED_BY_BREAKER) {
            p.breaker_failures = 1;
            p.breaker_open_ms = 500000;
        }
        fleet_open(&fleet, &(struct fleet_options){ 0 });
        assert_int_equal(ask_now(&fleet, &o, &p), STRATA_OK);
        fleet_pass(&fleet, 20);
        o.fail = kind == FAILS ? STRATA_EIO : 0;
        o.pending = kind == HANGS;
        if (kind == REFUSED_BY_BREAKER)
            assert_int_equal(strata_get_or_load(fleet.node[0], strata_str("x"), load_from, &other, &p, &v, NULL),
                             STRATA_EIO);
        assert_int_equal(ask_now(&fleet, &o, &p), STRATA_STALE);
        int calls = o.calls;
        int64_t at = ex_now_ms(fleet.sim);
        for (int i = 0; i < 20; i++)
            assert_int_equal(ask_now(&fleet, &o, &p), STRATA_STALE);
        assert_int_equal(o.calls, calls);
        assert_int_equal(ex_now_ms(fleet.sim), at); /* and none waited */
        if (o.kept != NULL)
            complete_kept(&o);
        fleet_pass(&fleet, 500);
        o.fail = 0;
        o.value = "new";
        assert_int_equal(ask_now(&fleet, &o, &p), kind == REFUSED_BY_BREAKER ? STRATA_STALE : STRATA_OK);
        fleet_close(&fleet);
    }
}

/* A load that hangs gives up its lease: another node loads the key at once.  What it brings late is held by nobody. */
static void test_a_detached_load_gives_up_its_lease(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin hangs = { .pending = 1, .value = "late" }, o = { .value = "v" };
    struct call c[2];
    const strata_policy p = { STRATA_SIZED(strata_policy), .load_limit_ms = 50, .late_result = STRATA_ON };
    strata_value *v = NULL;
    fleet_open(&fleet, &(struct fleet_options){ .policy = &p, .wait_ms = 100000 });
    ask(&fleet, 0, &hangs, NULL, &c[0]);
    fleet_run(&fleet);
    ask(&fleet, 1, &o, NULL, &c[1]);
    fleet_pass(&fleet, 49);
    assert_int_equal(c[0].done + c[1].done, 0); /* it waits for the other node */
    fleet_pass(&fleet, 11);
    assert_answer(&c[0], STRATA_ETIMEDOUT, "");
    assert_answer(&c[1], STRATA_OK, "v");
    complete_kept(&hangs);
    fleet_run(&fleet);
    for (int n = 0; n < NODES; n++) {
        assert_int_equal(strata_get(fleet.node[n], strata_str("k"), &v, NULL), STRATA_OK);
        assert_memory_equal(strata_value_data(v), "v", 1);
        strata_value_unref(v);
    }
    fleet_close(&fleet);
}

/* Many keys at once, which wait behind a breaker for a place: by the time they have it, the breaker lets one try. ------- */

struct many {
    struct fail_alloc alloc;
    strata_item items[2];
    int calls, done;
};

/* There is no memory for the first value. */
static int load_all(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    struct many *m = ctx;
    (void)keys;
    m->calls++;
    atomic_store(&m->alloc.fail_at, atomic_load(&m->alloc.requests) + 1);
    for (size_t i = 0; i < count; i++)
        (void)strata_load_copy(loads[i], "v", 1);
    return STRATA_OK;
}

static void many_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    (void)status, (void)value, (void)err;
    ((struct many *)ctx)->done = 1;
}

static void test_a_breaker_that_was_open_leaves_no_words(void **state)
{
    (void)state;
    struct fleet fleet;
    struct many m = { .items = { { .key = strata_str("a") }, { .key = strata_str("b") } } };
    struct origin down = { .fail = STRATA_EIO }, slow = { .value = "w", .pending = 1 };
    struct call c;
    const strata_policy plain = STRATA_POLICY_INIT;
    const strata_policy p = { STRATA_SIZED(strata_policy), .breaker_failures = 1, .breaker_open_ms = 500,
                              .max_loads = 8 };
    fail_alloc_init(&m.alloc, 0);
    fleet_open(&fleet, &(struct fleet_options){ .allocator = &m.alloc.mem, .max_unleased = 1 });
    lease_store_fail(fleet.store, STRATA_OP_GET, STRATA_EIO);
    lease_store_fail(fleet.store, STRATA_OP_LEASE, STRATA_EIO);
    ask(&fleet, 0, &down, &p, &c);
    fleet_run(&fleet);
    assert_answer(&c, STRATA_EIO, "");
    ask(&fleet, 0, &slow, &plain, &c); /* it has the one place */
    fleet_run(&fleet);
    assert_non_null(slow.kept);
    assert_int_equal(
        strata_get_or_load_many_async(fleet.node[0], m.items, 2, load_all, &m, &p, NULL, many_done, &m, NULL),
        STRATA_PENDING);
    fleet_pass(
        &fleet,
        600); /* the breaker's time is over, and in less than a second nobody is let through for want of movement */
    assert_int_equal(m.calls, 0);
    complete_kept(&slow);
    fleet_pass(&fleet, 10);
    assert_int_equal(m.calls, 1);
    assert_int_equal(m.done, 1);
    assert_int_equal(atomic_load(&m.alloc.failed), 1);
    const int first = m.items[0].status < 0 ? 0 : 1;
    assert_int_equal(m.items[first].status, STRATA_ENOMEM);
    assert_int_equal(m.items[!first].status, STRATA_OK);
    for (int i = 0; i < 2; i++)
        strata_value_unref(m.items[i].value);
    fleet_close(&fleet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_cap_holds_with_the_store_and_without),
        cmocka_unit_test(test_one_try_in_retry_ms),
        cmocka_unit_test(test_a_detached_load_gives_up_its_lease),
        cmocka_unit_test(test_a_breaker_that_was_open_leaves_no_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
