/* test_core_async.c - asynchronous and bulk calls: joins, queues, time-outs, bounds. */
#include "tests/unit/core_fixture.h"

enum { MANY = 500 };

static int load_async(struct stack *st, const char *key, struct origin *o, const strata_policy *policy,
                      strata_queue *queue, struct ended *e)
{
    return strata_get_or_load_async(st->cache, strata_str(key), origin_loader, o, policy, queue, on_done, e, &st->err);
}

static void test_one_load_for_all(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 10; seed++) {
        struct stack st;
        struct origin o = { .st = &st, .value = "one", .takes_ms = 50 };
        static struct ended e[MANY];
        memset(e, 0, sizeof e);
        open_stack(&st, &(struct stack_options){ .seed = seed, .with_slow = (int)(seed % 2) });
        for (int i = 0; i < MANY; i++)
            assert_int_equal(load_async(&st, "k", &o, NULL, NULL, &e[i]), STRATA_PENDING);
        for (int i = 0; i < MANY; i++)
            assert_int_equal(e[i].count, 0); /* never before the call returns */
        pass(&st, 60);
        for (int i = 0; i < MANY; i++) {
            assert_int_equal(e[i].count, 1);
            assert_int_equal(e[i].status, STRATA_OK);
            assert_string_equal(e[i].text, "one");
        }
        assert_int_equal(o.calls, 1);
        strata_stats s = stats_of(st.cache);
        assert_int_equal(s.loads, 1);
        assert_int_equal(s.joins, MANY - 1);
        assert_int_equal(s.requests, MANY);
        close_stack(&st);
    }
}

static void test_failure_reaches_all(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .fail = STRATA_EIO, .takes_ms = 5 };
    struct ended e[20] = { { 0 } };
    open_policy(&st, NULL);
    for (int i = 0; i < 20; i++)
        assert_int_equal(load_async(&st, "k", &o, NULL, NULL, &e[i]), STRATA_PENDING);
    pass(&st, 20);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(e[i].status, STRATA_EIO);
        assert_string_equal(e[i].err.message, "the origin is down");
    }
    assert_int_equal(o.calls, 1);
    close_stack(&st);
}

static void test_queue(void **state)
{
    (void)state;
    struct stack st;
    strata_queue *q;
    struct origin o = { .st = &st, .value = "one" };
    struct ended e[4] = { { 0 } };
    open_policy(&st, NULL);
    assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
    assert_int_equal(load_async(&st, "k", &o, NULL, q, &e[0]), STRATA_PENDING);
    run(&st);
    assert_int_equal(e[0].count, 0);
    assert_int_equal(strata_queue_run(q, 0), 1);
    assert_string_equal(e[0].text, "one");
    /* A hit is there at once, and still waits for the queue to run. */
    assert_int_equal(load_async(&st, "k", &o, NULL, q, &e[1]), STRATA_PENDING);
    assert_int_equal(strata_has_async(st.cache, strata_str("k"), q, on_done, &e[2], NULL), STRATA_PENDING);
    assert_int_equal(strata_delete_async(st.cache, strata_str("k"), q, on_done, &e[3], NULL), STRATA_PENDING);
    run(&st);
    assert_int_equal(e[1].count, 0);
    assert_int_equal(strata_queue_run(q, 0), 3);
    assert_int_equal(e[1].count, 1);
    assert_int_equal(e[3].status, STRATA_OK);
    strata_queue_close(q);
    close_stack(&st);
}

/* Completions that nobody has run yet outlive the cache. */
static void test_queue_after_close(void **state)
{
    (void)state;
    struct stack st;
    strata_queue *q;
    struct origin o = { .st = &st, .value = "one" };
    struct ended e = { 0 };
    open_policy(&st, NULL);
    assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
    assert_int_equal(load_async(&st, "k", &o, NULL, q, &e), STRATA_PENDING);
    run(&st);
    close_stack(&st);
    assert_int_equal(strata_queue_run(q, 0), 1);
    assert_string_equal(e.text, "one");
    strata_queue_close(q);
}

static void test_timeouts(void **state)
{
    (void)state;
    struct stack st;
    strata_policy brief = { .size = sizeof brief, .hard_timeout_ms = 50 };
    struct origin o = { .st = &st, .value = "one", .takes_ms = 200 };
    struct ended e[2] = { { 0 } };
    open_policy(&st, NULL);
    assert_int_equal(load_async(&st, "k", &o, NULL, NULL, &e[0]), STRATA_PENDING);
    assert_int_equal(load_async(&st, "k", &o, &brief, NULL, &e[1]), STRATA_PENDING);
    pass(&st, 60);
    assert_int_equal(e[0].count, 0);
    assert_int_equal(e[1].count, 1);
    assert_int_equal(e[1].status, STRATA_ETIMEDOUT);
    pass(&st, 200);
    assert_int_equal(e[0].count, 1);
    assert_string_equal(e[0].text, "one");
    assert_int_equal(o.was_canceled, 0); /* somebody wanted it */
    assert_get(&st, "k", STRATA_OK, "one");
    close_stack(&st);
}

static void test_busy(void **state)
{
    (void)state;
    struct stack st;
    strata_policy timed = { .size = sizeof timed, .hard_timeout_ms = 1000 };
    struct origin o = { .st = &st, .value = "one" };
    struct ended e = { 0 };
    open_policy(&st, NULL);
    strata__executor_sim_limit(st.ex, 0);
    assert_int_equal(load_async(&st, "k", &o, NULL, NULL, &e), STRATA_EBUSY);
    assert_int_equal(strata_has_async(st.cache, strata_str("k"), NULL, on_done, &e, NULL), STRATA_EBUSY);
    assert_int_equal(strata_set_async(st.cache, strata_str("k"), strata_str("v"), NULL, NULL, on_done, &e, NULL),
                     STRATA_EBUSY);
    /* Who blocks anyway runs its loader itself. */
    assert_load(&st, "k", &o, &timed, STRATA_OK, "one");
    assert_int_equal(load_async(&st, "k", &o, NULL, NULL, &e), STRATA_EBUSY);
    strata__executor_sim_limit(st.ex, 100);
    run(&st);
    assert_int_equal(e.count, 0);
    close_stack(&st);
}

static void test_single_flight_off(void **state)
{
    (void)state;
    struct stack st;
    strata_policy off = { .size = sizeof off, .single_flight = STRATA_OFF };
    struct origin o = { .st = &st, .value = "one", .takes_ms = 10 };
    struct ended e[5] = { { 0 } };
    open_policy(&st, &off);
    for (int i = 0; i < 5; i++)
        assert_int_equal(load_async(&st, "k", &o, NULL, NULL, &e[i]), STRATA_PENDING);
    pass(&st, 50);
    assert_int_equal(o.calls, 5);
    assert_get(&st, "k", STRATA_OK, "one");
    close_stack(&st);
    /* So it is where the table of flights is full. */
    open_stack(&st, &(struct stack_options){ .max_flights = 1 });
    o.calls = 0;
    for (int i = 0; i < 5; i++)
        assert_int_equal(load_async(&st, i == 0 ? "first" : "k", &o, NULL, NULL, &e[i]), STRATA_PENDING);
    pass(&st, 50);
    assert_int_equal(o.calls, 5);
    assert_int_equal(st.cache->root->flights, 0);
    close_stack(&st);
}

static void test_join_of_a_plain_get(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct stack st;
        struct origin o = { .st = &st, .value = "one", .takes_ms = 20 };
        struct ended g = { 0 }, l = { 0 };
        open_stack(&st, &(struct stack_options){ .with_slow = 1, .seed = seed });
        st.slow->delay_ms = 10;
        assert_int_equal(strata_get_async(st.cache, strata_str("k"), NULL, on_done, &g, NULL), STRATA_PENDING);
        assert_int_equal(load_async(&st, "k", &o, NULL, NULL, &l), STRATA_PENDING);
        pass(&st, 15);
        assert_int_equal(g.count, 1); /* it does not wait for the loader */
        assert_int_equal(g.status, STRATA_MISS);
        assert_int_equal(l.count, 0);
        pass(&st, 100);
        assert_int_equal(l.count, 1);
        assert_string_equal(l.text, "one");
        assert_int_equal(st.slow->gets, 1);
        close_stack(&st);
    }
}

/* Bulk ---------------------------------------------------------------------------------------------------------- */

struct bulk_origin {
    int calls;
    size_t asked;
    int fail;
    int skip; /* leave every second one without a completion */
};

static int bulk_loader(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    struct bulk_origin *o = ctx;
    o->calls++;
    o->asked += count;
    for (size_t i = 0; i < count; i++) {
        if (o->skip && i % 2 == 1)
            continue;
        if (o->fail < 0)
            strata_load_fail(loads[i], o->fail, NULL);
        else
            strata_load_copy(loads[i], keys[i].data, keys[i].size);
    }
    return STRATA_OK;
}

static void test_bulk_load(void **state)
{
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        struct stack st;
        struct bulk_origin o = { 0 };
        open_stack(&st, &(struct stack_options){ .with_slow = slow });
        if (slow)
            st.slow->delay_ms = 2;
        assert_int_equal(strata_set(st.cache, strata_str("b"), strata_str("held"), NULL, NULL), STRATA_OK);
        const char *names[] = { "a", "b", "c", "a", "", "d" };
        strata_item items[6] = { { .key = { 0 } } };
        for (int i = 0; i < 6; i++)
            items[i].key = strata_str(names[i]);
        int submits = slow ? st.slow->submits : 0;
        assert_int_equal(strata_get_or_load_many(st.cache, items, 6, bulk_loader, &o, NULL, &st.err), STRATA_EKEYSIZE);
        assert_int_equal(o.calls, 1);
        assert_int_equal(o.asked, 3); /* equal keys once */
        assert_int_equal(items[4].status, STRATA_EKEYSIZE);
        const char *want[] = { "a", "held", "c", "a", NULL, "d" };
        for (int i = 0; i < 6; i++) {
            if (want[i] == NULL)
                continue;
            assert_int_equal(items[i].status, STRATA_OK);
            assert_value(items[i].value, want[i]);
        }
        if (slow)
            assert_int_equal(st.slow->submits - submits, 1 + 3); /* one question, a put each */
        pass(&st, 20);
        assert_int_equal(strata_get_many(st.cache, items, 4, NULL), STRATA_OK);
        for (int i = 0; i < 4; i++)
            assert_value(items[i].value, want[i]);
        assert_int_equal(strata_delete_many(st.cache, items, 4, NULL), STRATA_OK);
        assert_int_equal(strata_get_many(st.cache, items, 4, NULL), STRATA_OK);
        for (int i = 0; i < 4; i++)
            assert_int_equal(items[i].status, STRATA_MISS);
        for (int i = 0; i < 4; i++)
            items[i].set = items[i].key;
        assert_int_equal(strata_set_many(st.cache, items, 4, NULL, NULL), STRATA_OK);
        assert_get(&st, "c", STRATA_OK, "c");
        close_stack(&st);
    }
}

static void test_bulk_failures(void **state)
{
    (void)state;
    struct stack st;
    struct bulk_origin o = { .fail = STRATA_EIO };
    strata_item items[3] = { { .key = strata_str("a") }, { .key = strata_str("b") }, { .key = strata_str("c") } };
    open_policy(&st, NULL);
    assert_int_equal(strata_get_or_load_many(st.cache, items, 3, bulk_loader, &o, NULL, &st.err), STRATA_EIO);
    for (int i = 0; i < 3; i++)
        assert_int_equal(items[i].status, STRATA_EIO);
    o = (struct bulk_origin){ .skip = 1 };
    assert_int_equal(strata_get_or_load_many(st.cache, items, 3, bulk_loader, &o, NULL, &st.err), STRATA_ELOADER);
    assert_int_equal(items[0].status, STRATA_OK);
    assert_int_equal(items[1].status, STRATA_ELOADER);
    assert_int_equal(items[2].status, STRATA_OK);
    strata_value_unref(items[0].value);
    strata_value_unref(items[2].value);
    close_stack(&st);
}

/* Keys that others load already are waited for, not loaded again. */
static void test_bulk_joins(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct stack st;
        struct origin one = { .st = &st, .value = "single", .takes_ms = 30 };
        struct bulk_origin o = { 0 };
        struct ended e = { 0 };
        strata_item items[3] = { { .key = strata_str("a") }, { .key = strata_str("b") }, { .key = strata_str("c") } };
        open_stack(&st, &(struct stack_options){ .seed = seed, .with_slow = (int)(seed % 2) });
        assert_int_equal(load_async(&st, "b", &one, NULL, NULL, &e), STRATA_PENDING);
        run(&st);
        assert_int_equal(strata_get_or_load_many(st.cache, items, 3, bulk_loader, &o, NULL, &st.err), STRATA_OK);
        assert_int_equal(o.asked, 2);
        assert_value(items[0].value, "a");
        assert_value(items[1].value, "single");
        assert_value(items[2].value, "c");
        run(&st);
        assert_int_equal(e.count, 1);
        close_stack(&st);
    }
}

static void test_bulk_timeout(void **state)
{
    (void)state;
    struct stack st;
    strata_policy timed = { .size = sizeof timed, .hard_timeout_ms = 20 };
    struct origin one = { .st = &st, .value = "single", .takes_ms = 300 };
    struct bulk_origin o = { 0 };
    struct ended e = { 0 };
    strata_item items[2] = { { .key = strata_str("a") }, { .key = strata_str("b") } };
    open_policy(&st, NULL);
    assert_int_equal(load_async(&st, "b", &one, NULL, NULL, &e), STRATA_PENDING);
    run(&st);
    assert_int_equal(strata_get_or_load_many(st.cache, items, 2, bulk_loader, &o, &timed, &st.err), STRATA_ETIMEDOUT);
    assert_int_equal(items[0].status, STRATA_OK);
    assert_value(items[0].value, "a");
    assert_int_equal(items[1].status, STRATA_ETIMEDOUT);
    pass(&st, 400);
    assert_int_equal(e.count, 1);
    close_stack(&st);
}

static void test_async_rest(void **state)
{
    (void)state;
    struct stack st;
    struct bulk_origin o = { 0 };
    struct ended e[9] = { { 0 } };
    strata_item items[2] = { { .key = strata_str("a") }, { .key = strata_str("b") } };
    int64_t ttl = -1;
    uint64_t size = 99;
    strata_inspection in = { .size = sizeof in };
    strata_slice a = strata_str("a");
    open_policy(&st, NULL);
    strata *c = st.cache;
    assert_int_equal(strata_get_or_load_many_async(c, items, 2, bulk_loader, &o, NULL, NULL, on_done, &e[0], NULL),
                     STRATA_PENDING);
    run(&st);
    assert_int_equal(e[0].status, STRATA_OK);
    assert_value(items[0].value, "a");
    assert_value(items[1].value, "b");
    assert_int_equal(strata_has_async(c, a, NULL, on_done, &e[1], NULL), STRATA_PENDING);
    assert_int_equal(strata_ttl_async(c, a, &ttl, NULL, on_done, &e[2], NULL), STRATA_PENDING);
    assert_int_equal(strata_size_async(c, &size, NULL, on_done, &e[3], NULL), STRATA_PENDING);
    assert_int_equal(strata_inspect_async(c, a, &in, NULL, on_done, &e[4], NULL), STRATA_PENDING);
    run(&st);
    assert_int_equal(e[1].status, 1);
    assert_int_equal(e[2].status, STRATA_OK);
    assert_int_equal(ttl, 3600000);
    assert_int_equal(size, 2);
    assert_int_equal(in.value_bytes, 1);
    assert_int_equal(strata_expire_async(c, a, NULL, on_done, &e[5], NULL), STRATA_PENDING);
    run(&st);
    assert_int_equal(e[5].status, STRATA_OK);
    assert_int_equal(strata_has(c, a, NULL), 0);
    assert_int_equal(strata_clear_async(c, NULL, on_done, &e[6], NULL), STRATA_PENDING);
    run(&st);
    assert_int_equal(strata_get_many_async(c, items, 2, NULL, on_done, &e[7], NULL), STRATA_PENDING);
    run(&st);
    assert_int_equal(items[1].status, STRATA_MISS);
    for (int i = 0; i < 8; i++)
        assert_int_equal(e[i].count, 1);
    close_stack(&st);
}

/* A caller on a worker never waits for a pool whose workers all wait. */
static int nested(strata_load *load, strata_slice key, void *ctx)
{
    struct stack *st = ctx;
    struct origin o = { .st = st, .value = "shared", .takes_ms = 5 };
    strata_value *v;
    (void)key;
    int rc = strata_get_or_load(st->cache, strata_str("shared"), origin_loader, &o, NULL, &v, NULL);
    if (rc < 0)
        return rc;
    rc = strata_load_copy(load, strata_value_data(v), strata_value_size(v));
    strata_value_unref(v);
    return rc;
}

static void test_nested_on_real_workers(void **state)
{
    (void)state;
    strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 20 };
    for (int round = 0; round < 20; round++) {
        strata_layer *layers[1] = { strata_memory_layer(&m) };
        strata_options options = STRATA_OPTIONS_INIT;
        struct stack st = { .ex = NULL };
        strata_queue *q;
        struct ended e[8];
        memset(e, 0, sizeof e);
        options.layers = layers;
        options.layer_count = 1;
        options.workers = 1;
        assert_int_equal(strata_open(&st.cache, &options, &st.err), STRATA_OK);
        st.ex = st.cache->root->ex;
        assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
        struct origin direct = { .st = &st, .value = "shared" };
        for (int i = 0; i < 4; i++) {
            char name[16];
            snprintf(name, sizeof name, "k%d", i);
            assert_int_equal(
                strata_get_or_load_async(st.cache, strata_str(name), nested, &st, NULL, q, on_done, &e[i], NULL),
                STRATA_PENDING);
            /* ... whose own read stands behind them in the queue of the one worker */
            assert_int_equal(load_async(&st, "shared", &direct, NULL, q, &e[4 + i]), STRATA_PENDING);
        }
        size_t n = 0;
        while (n < 8) {
            assert_int_equal(strata_queue_wait(q, 10000), STRATA_OK);
            n += strata_queue_run(q, 0);
        }
        for (int i = 0; i < 8; i++)
            assert_string_equal(e[i].text, "shared");
        strata_queue_close(q);
        close_stack(&st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_load_for_all),
        cmocka_unit_test(test_failure_reaches_all),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_queue_after_close),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_single_flight_off),
        cmocka_unit_test(test_join_of_a_plain_get),
        cmocka_unit_test(test_bulk_load),
        cmocka_unit_test(test_bulk_failures),
        cmocka_unit_test(test_bulk_joins),
        cmocka_unit_test(test_bulk_timeout),
        cmocka_unit_test(test_async_rest),
        cmocka_unit_test(test_nested_on_real_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
