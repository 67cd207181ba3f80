/* test_guard_lease.c - leases through a guard: none is asked for while the layer is sick or a delete is owed, one that waits says
 * nothing about it, and one that is held is released though its put never gets there.  And what undoes a put. */
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/guard.h"
#include "src/layer/value_impl.h"
#include "tests/support/sick_layer.h"
#include "tests/support/test_host.h"

enum { FAILURES = 2, OPEN_MS = 1000, PROBE_MS = 3000 };

static struct test_host host;
static struct sick_layer sick;
static strata_layer *guard;
static strata_error words;

static int set_up(void **state)
{
    (void)state;
    const struct guard_options options = { .breaker_failures = FAILURES,
                                           .breaker_open_ms = OPEN_MS,
                                           .probe_ms = PROBE_MS,
                                           .max_queued_deletes = 100,
                                           .max_queued_bytes = 1 << 20 };
    test_host_start(&host, NULL);
    test_host_keep_delays(&host);
    guard = strata__guard_layer(sick_layer_init(&sick), &options);
    return guard->ops->start(guard, &host.host, &words);
}

static int tear_down(void **state)
{
    (void)state;
    sick_layer_fail(&sick, 0, 0);
    test_host_cut(&host);
    guard->ops->close(guard);
    test_host_stop(&host);
    return sick.closed != 1;
}

static void done(strata_op *op) { (void)op; }

static strata_op run_as(uint32_t kind, uint32_t flags, const char *key, uint64_t lease)
{
    strata_op op = { .size = sizeof op,
                     .kind = kind,
                     .key = strata_str(key),
                     .now_ms = atomic_load(&host.now_ms),
                     .expires_ms = STRATA_FOREVER,
                     .lease = lease,
                     .flags = flags,
                     .err = &words,
                     .done = done };
    strata_op *ops[] = { &op };
    words = (strata_error)STRATA_ERROR_INIT;
    if (kind == STRATA_OP_PUT)
        op.value = strata__value_copy(NULL, "v", 1);
    guard->ops->submit(guard, ops, 1);
    assert_true(op.done == done);
    assert_int_equal(op.kind, kind);
    strata_value_unref(op.value);
    return op;
}

static strata_op run(uint32_t kind, const char *key, uint64_t lease) { return run_as(kind, 0, key, lease); }

static uint32_t breaker(void)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    guard->ops->stats(guard, &s);
    return s.breaker;
}

static void break_it(void)
{
    sick_layer_fail(&sick, STRATA_ETIMEDOUT, 0);
    for (int i = 0; i < FAILURES; i++)
        assert_int_equal(run(STRATA_OP_GET, "?", 0).status, STRATA_ETIMEDOUT);
    assert_int_equal(breaker(), STRATA_BREAKER_OPEN);
    sick.log[0] = 0;
}

static void passes_what_is_well(void **state)
{
    (void)state;
    strata_op op = run(STRATA_OP_LEASE, "a", 0);
    assert_int_equal(op.status, STRATA_MISS);
    assert_int_equal(op.lease, 9);
    assert_int_equal(run(STRATA_OP_RELEASE, "a", 9).status, STRATA_OK);
    assert_int_equal(run(STRATA_OP_PUT, "a", 9).status, STRATA_OK);
    for (int i = 0; i < 3 * FAILURES; i++)
        assert_int_equal(run(STRATA_OP_LEASE, "a", 0).status, STRATA_PENDING);
    assert_int_equal(breaker(), STRATA_BREAKER_CLOSED);
}

static void asks_for_none_of_a_sick_layer(void **state)
{
    (void)state;
    break_it();
    strata_op op = run(STRATA_OP_LEASE, "a", 0);
    assert_int_equal(op.status, STRATA_ELAYER);
    assert_int_equal(op.lease, 0);
    assert_non_null(strstr(words.message, "next try"));
    assert_true(sick_layer_did(&sick, ""));
    /* Nor is it the one that looks whether the layer is back. */
    atomic_fetch_add(&host.now_ms, OPEN_MS + 1);
    sick_layer_fail(&sick, 0, 0);
    assert_int_equal(run(STRATA_OP_LEASE, "a", 0).status, STRATA_ELAYER);
    assert_true(sick_layer_did(&sick, ""));
    assert_int_equal(run(STRATA_OP_GET, "a", 0).status, STRATA_MISS);
    assert_int_equal(run(STRATA_OP_LEASE, "a", 0).status, STRATA_MISS);
}

static void a_put_that_is_not_let_through_releases(void **state)
{
    (void)state;
    assert_int_equal(run(STRATA_OP_LEASE, "a", 0).lease, 9);
    break_it();
    sick_layer_fail(&sick, 0, 0);
    assert_int_equal(run(STRATA_OP_PUT, "a", 9).status, STRATA_AGAIN);
    assert_true(sick_layer_did(&sick, "release a, "));
    assert_int_equal(run(STRATA_OP_PUT, "a", 0).status, STRATA_AGAIN);
    assert_true(sick_layer_did(&sick, ""));
    assert_int_equal(run(STRATA_OP_RELEASE, "a", 9).status, STRATA_OK);
    assert_true(sick_layer_did(&sick, "release a, "));
}

static void a_delete_that_is_owed_keeps_leases_away(void **state)
{
    (void)state;
    sick_layer_fail(&sick, STRATA_EBUSY, 0); /* which says nothing of the server */
    assert_int_equal(run(STRATA_OP_REMOVE, "a", 0).status, STRATA_PENDING);
    sick_layer_fail(&sick, 0, 0);
    sick.log[0] = 0;
    assert_int_equal(run(STRATA_OP_LEASE, "a", 0).status, STRATA_PENDING);
    assert_int_equal(run(STRATA_OP_PUT, "a", 9).status, STRATA_AGAIN);
    assert_true(sick_layer_did(&sick, "release a, "));
    assert_int_equal(run(STRATA_OP_LEASE, "b", 0).status, STRATA_MISS);
}

/* The put was noted when it failed: its undoing waits for the layer no second time, where the note is there. */
static void undoing_a_put_asks_no_second_time(void **state)
{
    (void)state;
    sick_layer_fail(&sick, STRATA_ETIMEDOUT, 0);
    assert_int_equal(run(STRATA_OP_PUT, "a", 0).status, STRATA_ETIMEDOUT);
    assert_int_equal(run_as(STRATA_OP_REMOVE, STRATA_OP_UNDO, "a", 0).status, STRATA_PENDING);
    assert_true(sick_layer_did(&sick, "put a, "));
    assert_int_equal(breaker(), STRATA_BREAKER_CLOSED);
    sick_layer_fail(&sick, 0, 0);
    assert_int_equal(run_as(STRATA_OP_REMOVE, STRATA_OP_UNDO, "b", 0).status, STRATA_OK);
    assert_true(sick_layer_did(&sick, "remove b, "));
    test_host_advance(&host, OPEN_MS);
    assert_true(sick_layer_did(&sick, "remove a, "));
    assert_int_equal(run_as(STRATA_OP_REMOVE, STRATA_OP_UNDO, "a", 0).status, STRATA_OK);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(passes_what_is_well),
        CASE(asks_for_none_of_a_sick_layer),
        CASE(a_put_that_is_not_let_through_releases),
        CASE(a_delete_that_is_owed_keeps_leases_away),
        CASE(undoing_a_put_asks_no_second_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
