/* test_layer_host.c - what layers call: finishing an operation, handing over what was found, asking the host. */
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/layer_host.h"
#include "tests/support/fail_alloc.h"

static int finished;

static void count_done(strata_op *op)
{
    (void)op;
    finished++;
}

static void test_done_hands_the_status_over(void **state)
{
    (void)state;
    strata_op op = { .done = count_done };
    finished = 0;
    strata_op_done(&op, STRATA_AGAIN);
    assert_int_equal(finished, 1);
    assert_int_equal(op.status, STRATA_AGAIN);
}

static void test_found_copies_bytes_and_meta(void **state)
{
    (void)state;
    struct fail_alloc a;
    strata_error err = STRATA_ERROR_INIT;
    char bytes[] = "value";
    const strata_meta meta = { .version = 9, .fresh_ms = 7 };
    fail_alloc_init(&a, 0);
    strata_op op = { .err = &err, .mem = &a.mem };
    assert_int_equal(strata_op_found(&op, bytes, 5, &meta), STRATA_OK);
    bytes[0] = 'V';
    assert_memory_equal(strata_value_data(op.found), "value", 5);
    assert_int_equal(op.meta.version, 9);
    assert_int_equal(strata_op_found(&op, "other", 5, NULL), STRATA_OK); /* the last word counts */
    assert_memory_equal(strata_value_data(op.found), "other", 5);
    assert_int_equal(op.meta.version, 0);
    assert_int_equal(a.live, 1);
    strata_value_unref(op.found);
    assert_int_equal(a.live, 0);
}

static void test_a_negative_entry_has_no_bytes(void **state)
{
    (void)state;
    strata_error err = STRATA_ERROR_INIT;
    const strata_meta meta = { .negative = 1, .fresh_ms = 7 };
    strata_op op = { .err = &err };
    assert_int_equal(strata_op_found(&op, "ignored", 7, &meta), STRATA_OK);
    assert_null(op.found);
    assert_int_equal(op.meta.negative, 1);
}

static void test_found_without_memory(void **state)
{
    (void)state;
    struct fail_alloc a;
    strata_error err = STRATA_ERROR_INIT;
    const strata_meta meta = { .fresh_ms = 7 };
    fail_alloc_init(&a, 1);
    strata_op op = { .err = &err, .mem = &a.mem };
    assert_int_equal(strata_op_found(&op, "value", 5, &meta), STRATA_ENOMEM);
    assert_null(op.found);
    assert_int_equal(err.status, STRATA_ENOMEM);
}

static void test_a_layer_for_which_there_was_no_memory(void **state)
{
    (void)state;
    strata_error err = STRATA_ERROR_INIT;
    strata_layer *layer = strata__layer_out_of_memory();
    strata_op op = { .kind = STRATA_OP_GET, .err = &err, .done = count_done }, *ops[] = { &op };
    assert_int_equal(layer->failed.status, STRATA_ENOMEM);
    finished = 0;
    layer->ops->submit(layer, ops, 1);
    assert_int_equal(finished, 1);
    assert_int_equal(op.status, STRATA_ENOMEM);
    strata_layer_free(layer);
    strata_layer_free(NULL);
}

struct watched_host {
    strata_layer_host host;
    int evictions;
    int posted;
    int64_t delay_ms;
};

static int64_t eight(strata_layer_host *host)
{
    (void)host;
    return 8;
}

static int see_post(strata_layer_host *host, void (*fn)(void *ctx), void *ctx)
{
    (void)fn;
    (void)ctx;
    ((struct watched_host *)(void *)host)->posted++;
    return STRATA_EBUSY;
}

static int see_after(strata_layer_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx)
{
    (void)fn;
    (void)ctx;
    ((struct watched_host *)(void *)host)->delay_ms = delay_ms;
    return STRATA_OK;
}

static void see_evicted(strata_layer_host *host, strata_layer *layer, uint32_t space, strata_slice key)
{
    (void)layer;
    assert_int_equal(space, 3);
    assert_int_equal(key.size, 1);
    ((struct watched_host *)(void *)host)->evictions++;
}

static void test_calls_reach_the_host(void **state)
{
    (void)state;
    struct fail_alloc a;
    fail_alloc_init(&a, 0);
    struct watched_host w = {
        .host = { .mem = &a.mem, .now_ms = eight, .post = see_post, .after = see_after, .evicted = see_evicted }
    };
    assert_int_equal(strata_host_now_ms(&w.host), 8);
    assert_ptr_equal(strata_host_allocator(&w.host), &a.mem);
    assert_int_equal(strata_host_post(&w.host, NULL, NULL), STRATA_EBUSY);
    assert_int_equal(w.posted, 1);
    assert_int_equal(strata_host_after(&w.host, 12, NULL, NULL), STRATA_OK);
    assert_int_equal(w.delay_ms, 12);
    strata_host_evicted(&w.host, NULL, 3, strata_str("k"));
    assert_int_equal(w.evictions, 0); /* nobody listens */
    atomic_store(&w.host.eviction_listeners, 1);
    strata_host_evicted(&w.host, NULL, 3, strata_str("k"));
    assert_int_equal(w.evictions, 1);
    w.host.evicted = NULL;
    strata_host_evicted(&w.host, NULL, 3, strata_str("k"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_done_hands_the_status_over),
        cmocka_unit_test(test_found_copies_bytes_and_meta),
        cmocka_unit_test(test_a_negative_entry_has_no_bytes),
        cmocka_unit_test(test_found_without_memory),
        cmocka_unit_test(test_a_layer_for_which_there_was_no_memory),
        cmocka_unit_test(test_calls_reach_the_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
