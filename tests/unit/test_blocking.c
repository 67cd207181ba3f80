/* test_blocking.c - the blocking adapter: what it hands to a user's store, and what it makes of the store's answers. */
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/layer_host.h"
#include "src/layer/value_impl.h"
#include "tests/support/clear_layer.h"
#include "tests/support/map_store.h"

static struct map_store *store;
static strata_layer *layer;
static strata_error err;
static int finished, closed;

static void count_done(strata_op *op)
{
    (void)op;
    finished++;
}

static int open_layer(void **state)
{
    (void)state;
    store = map_store_new();
    closed = 0;
    store->closed = &closed;
    layer = strata_blocking_layer("map", STRATA_LAYER_DURABLE, &map_store_ops, store);
    return layer->failed.status;
}

static int close_layer(void **state)
{
    (void)state;
    strata_layer_free(layer);
    return !closed;
}

static strata_op make_op(uint32_t kind, const char *key)
{
    finished = 0;
    err = (strata_error)STRATA_ERROR_INIT;
    return (strata_op){ .size = sizeof(strata_op),
                        .kind = kind,
                        .key = strata_str(key),
                        .now_ms = 1000,
                        .expires_ms = STRATA_FOREVER,
                        .err = &err,
                        .done = count_done };
}

static int submit(strata_layer *to, strata_op *op)
{
    strata_op *ops[] = { op };
    to->ops->submit(to, ops, 1);
    assert_int_equal(finished, 1);
    return op->status;
}

static int put(const char *key, const char *text, int64_t expires_ms)
{
    strata_value *v = strata__value_copy(NULL, text, strlen(text));
    strata_op op = make_op(STRATA_OP_PUT, key);
    op.value = v;
    op.expires_ms = expires_ms;
    op.meta.fresh_ms = 77;
    int status = submit(layer, &op);
    strata_value_unref(v);
    return status;
}

static void test_is_what_it_says(void **state)
{
    (void)state;
    assert_string_equal(layer->name, "map");
    assert_int_equal(layer->flags, STRATA_LAYER_DURABLE | STRATA_LAYER_BLOCKS);
    assert_non_null(layer->ops->clear);
}

static void test_put_get_remove(void **state)
{
    (void)state;
    strata_op op = make_op(STRATA_OP_GET, "k");
    assert_int_equal(submit(layer, &op), STRATA_MISS);
    assert_int_equal(put("k", "value", STRATA_FOREVER), STRATA_OK);
    op = make_op(STRATA_OP_GET, "k");
    assert_int_equal(submit(layer, &op), STRATA_OK);
    assert_memory_equal(strata_value_data(op.found), "value", 5);
    assert_int_equal(op.meta.fresh_ms, 77);
    strata_value_unref(op.found);
    op = make_op(STRATA_OP_REMOVE, "k");
    assert_int_equal(submit(layer, &op), STRATA_OK);
    assert_int_equal(store->count, 0);
    op = make_op(STRATA_OP_REMOVE, "k");
    assert_int_equal(submit(layer, &op), STRATA_OK); /* the store's MISS is no news to the cache */
}

static void test_time_to_live(void **state)
{
    (void)state;
    assert_int_equal(put("k", "v", STRATA_FOREVER), STRATA_OK);
    assert_true(store->last_ttl_ms == STRATA_FOREVER);
    assert_int_equal(put("k", "v", 1500), STRATA_OK);
    assert_int_equal(store->last_ttl_ms, 500);
    assert_int_equal(put("k", "v", 1000), STRATA_OK); /* over already: what was there goes */
    assert_int_equal(store->count, 0);
    strata_op op = make_op(STRATA_OP_PUT, "k");
    op.now_ms = INT64_MIN;
    op.expires_ms = 5;
    assert_int_equal(submit(layer, &op), STRATA_OK);
    assert_true(store->last_ttl_ms == STRATA_FOREVER);
    assert_int_equal(put("k", "v", INT64_MIN), STRATA_OK); /* over for longer than can be counted */
    assert_int_equal(store->count, 0);
}

static void test_the_store_fails(void **state)
{
    (void)state;
    store->fail_status = STRATA_EIO;
    for (uint32_t kind = STRATA_OP_GET; kind <= STRATA_OP_REMOVE; kind++) {
        strata_op op = make_op(kind, "k");
        assert_int_equal(submit(layer, &op), STRATA_EIO);
        assert_int_equal(err.status, STRATA_EIO);
        assert_string_equal(err.where, "map");
        assert_non_null(strstr(err.message, kind == STRATA_OP_GET   ? "get()"
                                            : kind == STRATA_OP_PUT ? "put()"
                                                                    : "remove()"));
    }
    err = (strata_error)STRATA_ERROR_INIT;
    assert_int_equal(clear_layer(layer, 0, strata_str(""), 1, &err), STRATA_EIO);
    assert_non_null(strstr(err.message, "clear()"));
    store->fail_status = STRATA_AGAIN; /* no room: passed through, and no error */
    strata_op op = make_op(STRATA_OP_PUT, "k");
    assert_int_equal(submit(layer, &op), STRATA_AGAIN);
}

static void test_clear(void **state)
{
    (void)state;
    assert_int_equal(put("a1", "v", STRATA_FOREVER), STRATA_OK);
    assert_int_equal(put("a2", "v", STRATA_FOREVER), STRATA_OK);
    assert_int_equal(put("b1", "v", STRATA_FOREVER), STRATA_OK);
    assert_int_equal(clear_layer(layer, 5, strata_str("a"), 0, &err), STRATA_OK);
    assert_int_equal(store->count, 1);
    assert_int_equal(clear_layer(layer, 0, strata_str(""), 1, &err), STRATA_OK);
    assert_int_equal(store->count, 0);
}

/* A store that answers what its ctx says. */
static int odd_get(void *ctx, strata_slice key, strata_op *op)
{
    (void)key;
    if (*(int *)ctx == STRATA_MISS) /* finds, and says that it did not */
        strata_op_found(op, "x", 1, &(strata_meta){ 0 });
    if (*(int *)ctx == STRATA_ELOADER)
        op->err->status = STRATA_ELOADER, memcpy(op->err->message, "my own words", 13);
    return *(int *)ctx;
}

static int odd_put(void *ctx, strata_slice key, strata_slice data, const strata_meta *meta, int64_t ttl_ms)
{
    (void)key;
    (void)data;
    (void)meta;
    (void)ttl_ms;
    return *(int *)ctx;
}

static int odd_remove(void *ctx, strata_slice key)
{
    (void)key;
    return *(int *)ctx;
}

static const strata_blocking_ops odd_ops = { STRATA_SIZED(strata_blocking_ops), .get = odd_get, .put = odd_put,
                                             .remove = odd_remove };

static void test_wrong_answers_become_errors(void **state)
{
    (void)state;
    int answer = STRATA_OK;
    strata_layer *odd = strata_blocking_layer("odd", 0, &odd_ops, &answer);
    assert_null(odd->ops->clear);
    strata_op op = make_op(STRATA_OP_GET, "k");
    assert_int_equal(submit(odd, &op), STRATA_ELAYER); /* OK, and nothing found */
    assert_non_null(strstr(err.message, "strata_op_found"));
    answer = STRATA_PENDING;
    op = make_op(STRATA_OP_GET, "k");
    assert_int_equal(submit(odd, &op), STRATA_ELAYER);
    answer = STRATA_MISS;
    op = make_op(STRATA_OP_GET, "k");
    assert_int_equal(submit(odd, &op), STRATA_MISS);
    assert_null(op.found);
    answer = STRATA_ELOADER;
    op = make_op(STRATA_OP_GET, "k");
    assert_int_equal(submit(odd, &op), STRATA_ELOADER);
    assert_string_equal(err.message, "my own words");
    op = make_op(99, "k");
    assert_int_equal(submit(odd, &op), STRATA_EUNSUPPORTED);
    strata_layer_free(odd);
}

static void expect_failed(strata_layer *made, const char *where, const char *words)
{
    assert_non_null(made);
    assert_int_equal(made->failed.status, STRATA_EINVAL);
    assert_string_equal(made->failed.where, where);
    if (strstr(made->failed.message, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", made->failed.message, words);
    strata_layer_free(made);
}

static void test_constructor_refuses(void **state)
{
    (void)state;
    int answer = 0;
    strata_blocking_ops wrong = odd_ops;
    expect_failed(strata_blocking_layer(NULL, 0, &odd_ops, &answer), "name", "1 to 31");
    expect_failed(strata_blocking_layer("", 0, &odd_ops, &answer), "name", "1 to 31");
    expect_failed(strata_blocking_layer("a name of thirty-two characters.", 0, &odd_ops, &answer), "name", "1 to 31");
    expect_failed(strata_blocking_layer("odd", STRATA_LAYER_INSTANT, &odd_ops, &answer), "flags", "0x20");
    expect_failed(strata_blocking_layer("odd", 0, NULL, &answer), "ops", "NULL");
    wrong.remove = NULL;
    expect_failed(strata_blocking_layer("odd", 0, &wrong, &answer), "ops", "remove may not be NULL");
    wrong = odd_ops;
    wrong.size = 0;
    expect_failed(strata_blocking_layer("odd", 0, &wrong, &answer), "ops", "STRATA_SIZED");
    struct {
        strata_blocking_ops known;
        void *added;
    } newer = { odd_ops, &answer };
    newer.known.size = sizeof newer;
    expect_failed(strata_blocking_layer("odd", 0, &newer.known, &answer), "ops", "newer strata");
    newer.added = NULL;
    strata_layer *good = strata_blocking_layer("odd", 0, &newer.known, &answer);
    assert_int_equal(good->failed.status, STRATA_OK);
    strata_layer_free(good);
    wrong = odd_ops;
    wrong.size = offsetof(strata_blocking_ops, clear); /* an older caller's table */
    wrong.clear = (int (*)(void *, strata_slice))odd_remove;
    good = strata_blocking_layer("exactly thirty-one characters..", 0, &wrong, &answer);
    assert_int_equal(good->failed.status, STRATA_OK);
    assert_string_equal(good->name, "exactly thirty-one characters..");
    assert_null(good->ops->clear);
    strata_layer_free(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_is_what_it_says, open_layer, close_layer),
        cmocka_unit_test_setup_teardown(test_put_get_remove, open_layer, close_layer),
        cmocka_unit_test_setup_teardown(test_time_to_live, open_layer, close_layer),
        cmocka_unit_test_setup_teardown(test_the_store_fails, open_layer, close_layer),
        cmocka_unit_test_setup_teardown(test_clear, open_layer, close_layer),
        cmocka_unit_test(test_wrong_answers_become_errors),
        cmocka_unit_test(test_constructor_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
