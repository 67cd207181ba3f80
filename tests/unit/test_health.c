/* test_health.c - how each layer and each bus is, since when, and why. */
#include "strata/strata.h"
#include "src/layer/guard.h"
#include "tests/support/sick_layer.h"
#include "tests/unit/coherence_fixture.h"
#include "tests/unit/core_fixture.h"

static strata_part_health layer_of(strata *cache, size_t i)
{
    strata_part_health h = STRATA_PART_HEALTH_INIT;
    assert_int_equal(strata_health_layer(cache, i, &h, NULL), STRATA_OK);
    return h;
}

static strata_part_health bus_of(strata *cache, size_t i)
{
    strata_part_health h = STRATA_PART_HEALTH_INIT;
    assert_int_equal(strata_health_bus(cache, i, &h, NULL), STRATA_OK);
    return h;
}

static int get_of(strata *cache, const char *key)
{
    strata_value *v = NULL;
    int rc = strata_get(cache, strata_str(key), &v, NULL);
    strata_value_unref(v);
    return rc;
}

/* A layer without a breaker: what failed in the last ten seconds. */
static void test_failures_are_remembered(void **state)
{
    (void)state;
    struct stack st;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    pass(&st, 500);
    strata_part_health h = layer_of(st.cache, 1);
    assert_string_equal(h.name, "script");
    assert_string_equal(h.kind, "script");
    assert_int_equal(h.state, STRATA_HEALTH_WELL);
    assert_int_equal(h.failed_ms, -1);
    assert_int_equal(h.since_ms, 500);
    assert_string_equal(h.words, "well");
    st.slow->fail_gets = 1;
    (void)get_of(st.cache, "a");
    pass(&st, 4000);
    (void)get_of(st.cache, "a");
    pass(&st, 3000);
    h = layer_of(st.cache, 1);
    assert_int_equal(h.state, STRATA_HEALTH_LESS);
    assert_int_equal(h.since_ms, 7000);
    assert_int_equal(h.failed_ms, 3000);
    assert_int_equal(h.last.status, STRATA_EIO);
    assert_string_equal(h.words, "not as it should be; the script says so");
    assert_int_equal(layer_of(st.cache, 0).state, STRATA_HEALTH_WELL);
    pass(&st, 7000);
    h = layer_of(st.cache, 1);
    assert_int_equal(h.state, STRATA_HEALTH_WELL);
    assert_int_equal(h.since_ms, 10000);
    assert_int_equal(h.last.status, STRATA_EIO); /* is remembered */
    st.slow->fail_gets = 0;
    close_stack(&st);
}

static void test_a_breaker(void **state)
{
    (void)state;
    struct sick_layer sick;
    strata *cache;
    struct executor *ex;
    const struct guard_options guarded = { .breaker_failures = 2,
                                           .breaker_open_ms = 5000,
                                           .probe_ms = 5000,
                                           .max_queued_deletes = 100,
                                           .max_queued_bytes = 1 << 20 };
    assert_int_equal(strata__executor_sim_new(&ex, NULL, 1, NULL), STRATA_OK);
    strata_layer *layers[] = { strata_memory_layer(NULL), strata__guard_layer(sick_layer_init(&sick), &guarded) };
    strata_options o = STRATA_OPTIONS_INIT;
    o.layers = layers;
    o.layer_count = 2;
    assert_int_equal(strata__open_with(&cache, &o, ex, NULL), STRATA_OK);
    assert_int_equal(layer_of(cache, 1).state, STRATA_HEALTH_WELL);
    sick_layer_fail(&sick, STRATA_EIO, 0);
    (void)get_of(cache, "a");
    strata_part_health h = layer_of(cache, 1);
    assert_int_equal(h.state, STRATA_HEALTH_LESS);
    (void)get_of(cache, "b");
    assert_int_equal(strata_delete(cache, strata_str("a"), NULL), STRATA_PENDING);
    strata__executor_sim_advance(ex, 2000);
    h = layer_of(cache, 1);
    assert_int_equal(h.state, STRATA_HEALTH_DOWN);
    assert_int_equal(h.breaker, STRATA_BREAKER_OPEN);
    assert_int_equal(h.since_ms, 2000);
    assert_int_equal(h.retry_ms, 3000);
    assert_int_equal(h.waiting, 1);
    assert_int_equal(h.last.status, STRATA_EIO);
    assert_non_null(strstr(h.words, "down for 2000 ms, and asked again in 3000 ms; it is yet to be told of 1 deletes"));
    sick_layer_fail(&sick, 0, 0);
    strata__executor_sim_advance(ex, 20000);
    (void)get_of(cache, "a");
    h = layer_of(cache, 1);
    assert_int_equal(h.state, STRATA_HEALTH_WELL);
    assert_int_equal(h.waiting, 0);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

static void test_a_bus(void **state)
{
    (void)state;
    struct nodes n;
    nodes_open(&n, &(struct nodes_options){ .net = { .flags = ORDERED, .seed = 3, .delay_ms = 10 } });
    nodes_pass(&n, 2000);
    strata_part_health h = bus_of(n.node[0], 0);
    assert_int_equal(h.state, STRATA_HEALTH_WELL);
    assert_int_equal(h.trusted, 1);
    assert_true(h.since_ms >= 2000);
    assert_int_equal(h.failed_ms, -1);
    assert_non_null(strstr(h.words, "and nothing is missing"));
    sim_net_away(n.net, 0, 1);
    nodes_pass(&n, 1000);
    assert_true(strata_delete(n.node[0], k("a"), NULL) >= 0);
    h = bus_of(n.node[0], 0);
    assert_int_equal(h.state, STRATA_HEALTH_DOWN);
    assert_true(h.since_ms >= 900 && h.since_ms <= 1000);
    assert_true(h.waiting > 0);
    assert_true(h.last.status < 0);
    assert_non_null(strstr(h.words, "down for "));
    nodes_pass(&n, 10000);
    assert_int_equal(bus_of(n.node[0], 0).trusted, 0);
    sim_net_back(n.net, 0);
    nodes_pass(&n, 10000);
    h = bus_of(n.node[0], 0);
    assert_int_equal(h.state, STRATA_HEALTH_WELL);
    assert_int_equal(h.waiting, 0);
    assert_true(h.failed_ms > 0); /* is remembered */
    sim_net_hold(n.net, 0, 1);    /* connected, and nothing comes */
    nodes_pass(&n, 10000);
    h = bus_of(n.node[0], 0);
    assert_int_equal(h.state, STRATA_HEALTH_LESS);
    assert_non_null(strstr(h.words, "it waits for proof that nothing is missing"));
    sim_net_heal(n.net);
    nodes_close(&n);
}

static void test_arguments(void **state)
{
    (void)state;
    struct stack st;
    strata_part_health h = STRATA_PART_HEALTH_INIT;
    strata_error err = STRATA_ERROR_INIT;
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_health_layer(NULL, 0, &h, NULL), STRATA_EINVAL);
    assert_int_equal(strata_health_layer(st.cache, 0, NULL, NULL), STRATA_EINVAL);
    assert_int_equal(strata_health_layer(st.cache, 1, &h, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "no such layer"));
    assert_int_equal(strata_health_bus(st.cache, 0, &h, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "no such bus"));
    /* An older caller's struct is shorter, a newer one's longer. */
    struct {
        strata_part_health h;
        char more[64];
    } longer;
    memset(&longer, 'x', sizeof longer);
    longer.h.size = sizeof longer;
    assert_int_equal(strata_health_layer(st.cache, 0, &longer.h, NULL), STRATA_OK);
    assert_int_equal(longer.more[63], 0);
    assert_int_equal(longer.h.size, sizeof longer);
    memset(&h, 'x', sizeof h);
    h.size = offsetof(strata_part_health, state);
    assert_int_equal(strata_health_layer(st.cache, 0, &h, NULL), STRATA_OK);
    assert_string_equal(h.name, "memory");
    assert_int_equal((unsigned char)h.words[0], 'x');
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failures_are_remembered),
        cmocka_unit_test(test_a_breaker),
        cmocka_unit_test(test_a_bus),
        cmocka_unit_test(test_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
