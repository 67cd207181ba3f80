/* test_core_lend.c - a layer that uses the thread of the blocking call that waits for it (STRATA_LAYER_LENDS).
 *
 * What is marked as waited for is carried out in submit, everything else by a worker. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "strata/strata.h"
#include "strata/sys/layer.h"

struct lent {
    strata_layer base;
    strata_layer_host *host;
    pthread_mutex_t mutex;
    char key[64], value[64];
    size_t key_size, value_size;
    strata_meta meta;
    int there;
    _Atomic(int) waited, posted; /* operations carried out on the caller's thread, and on a worker */
    pthread_t caller;
};

static void carry_out(struct lent *d, strata_op *op)
{
    int rc = STRATA_OK;
    pthread_mutex_lock(&d->mutex);
    int same = d->there && op->key.size == d->key_size && memcmp(op->key.data, d->key, d->key_size) == 0;
    if (op->kind == STRATA_OP_GET)
        rc = same ? strata_op_found(op, d->value, d->value_size, &d->meta) : STRATA_MISS;
    if (op->kind == STRATA_OP_REMOVE && same)
        d->there = 0;
    if (op->kind == STRATA_OP_PUT) {
        d->there = 1;
        d->meta = op->meta;
        d->key_size = op->key.size;
        d->value_size = strata_value_size(op->value);
        memcpy(d->key, op->key.data, d->key_size);
        memcpy(d->value, strata_value_data(op->value), d->value_size);
    }
    pthread_mutex_unlock(&d->mutex);
    strata_op_done(op, rc);
}

struct later {
    struct lent *layer;
    strata_op *op;
};

static void on_worker(void *ctx)
{
    struct later later = *(struct later *)ctx;
    free(ctx);
    atomic_fetch_add(&later.layer->posted, 1);
    carry_out(later.layer, later.op);
}

static int start(strata_layer *layer, strata_layer_host *host, strata_error *err)
{
    (void)err;
    ((struct lent *)(void *)layer)->host = host;
    return STRATA_OK;
}

static void submit(strata_layer *layer, strata_op *const *ops, size_t count)
{
    struct lent *d = (struct lent *)(void *)layer;
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->flags & STRATA_OP_WAITED) {
            d->caller = pthread_self();
            atomic_fetch_add(&d->waited, 1);
            carry_out(d, ops[i]);
            continue;
        }
        struct later *later = malloc(sizeof *later);
        assert_non_null(later);
        *later = (struct later){ d, ops[i] };
        assert_int_equal(strata_host_post(d->host, on_worker, later), STRATA_OK);
    }
}

static void close_it(strata_layer *layer)
{
    struct lent *d = (struct lent *)(void *)layer;
    pthread_mutex_destroy(&d->mutex);
    free(d);
}

static struct lent *lent_new(void)
{
    static const strata_layer_ops ops = {
        .size = sizeof ops, .kind = "lent", .start = start, .submit = submit, .close = close_it
    };
    struct lent *d = calloc(1, sizeof *d);
    assert_non_null(d);
    d->base.size = sizeof d->base;
    d->base.ops = &ops;
    d->base.flags = STRATA_LAYER_SHARED | STRATA_LAYER_LENDS;
    memcpy(d->base.name, "lent", 5);
    pthread_mutex_init(&d->mutex, NULL);
    return d;
}

static strata *open_over(struct lent *d, int with_memory)
{
    strata_options options = STRATA_OPTIONS_INIT;
    strata_layer *layers[2];
    strata *cache = NULL;
    size_t count = 0;
    if (with_memory)
        layers[count++] = strata_memory_layer(NULL);
    layers[count++] = &d->base;
    options.layers = layers;
    options.layer_count = count;
    assert_int_equal(strata_open(&cache, &options, NULL), STRATA_OK);
    return cache;
}

static int load(strata_load *l, strata_slice key, void *ctx)
{
    (void)key;
    *(int *)ctx += 1;
    return strata_load_copy(l, "loaded", 6);
}

/* Each kind of blocking call lends its thread, as often as it asks. */
static void blocking_calls(int with_memory)
{
    struct lent *d = lent_new();
    strata *cache = open_over(d, with_memory);
    strata_value *value = NULL;
    int loads = 0;
    assert_int_equal(strata_get(cache, strata_str("k"), &value, NULL), STRATA_MISS);
    assert_int_equal(atomic_load(&d->waited), 1);
    assert_int_equal(strata_get_or_load(cache, strata_str("k"), load, &loads, NULL, &value, NULL), STRATA_OK);
    strata_value_unref(value);
    assert_int_equal(loads, 1);
    assert_true(atomic_load(&d->waited) >= 2);
    assert_int_equal(strata_set(cache, strata_str("k"), strata_bytes("set", 3), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_get(cache, strata_str("k"), &value, NULL), STRATA_OK);
    assert_memory_equal(strata_value_data(value), "set", 3);
    strata_value_unref(value);
    assert_true(strata_delete(cache, strata_str("k"), NULL) >= 0);
    assert_int_equal(strata_get(cache, strata_str("k"), &value, NULL), STRATA_MISS);
    assert_true(pthread_equal(d->caller, pthread_self()));
    assert_int_equal(strata_close(cache), STRATA_OK);
}

static void test_blocking_calls_lend(void **state)
{
    (void)state;
    blocking_calls(0);
    blocking_calls(1);
}

static void got(int status, strata_value *value, const strata_error *err, void *ctx)
{
    (void)err;
    strata_value_unref(value);
    *(int *)ctx = status;
}

/* Nobody waits in an asynchronous call, so nobody lends. */
static void test_asynchronous_calls_do_not(void **state)
{
    (void)state;
    struct lent *d = lent_new();
    strata *cache = open_over(d, 1);
    strata_queue *queue = NULL;
    assert_int_equal(strata_queue_open(&queue, NULL), STRATA_OK);
    int status = -1000;
    assert_true(strata_get_async(cache, strata_str("k"), queue, got, &status, NULL) >= 0);
    while (status == -1000 && strata_queue_wait(queue, -1) == STRATA_OK)
        strata_queue_run(queue, 0);
    assert_int_equal(status, STRATA_MISS);
    assert_int_equal(atomic_load(&d->posted), 1);
    assert_int_equal(atomic_load(&d->waited), 0);
    strata_queue_close(queue);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocking_calls_lend),
        cmocka_unit_test(test_asynchronous_calls_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
