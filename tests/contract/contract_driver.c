/* contract_driver.c - a layer in the hands of a test: batches are submitted and waited for, and counted. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/layer/key_hash.h"
#include "src/layer/value_impl.h"
#include "tests/contract/contract.h"

struct contract_batch {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t left;
};

static void done(strata_op *op)
{
    struct contract_op *o = op->owner;
    struct contract_batch *b = o->batch;
    pthread_mutex_lock(&b->mutex);
    if (o->done_count++ != 0) {
        fprintf(stderr, "an operation was finished twice\n");
        abort();
    }
    if (--b->left == 0)
        pthread_cond_signal(&b->changed);
    pthread_mutex_unlock(&b->mutex);
}

int contract_open(struct contract *c, const struct contract_subject *subject, const strata_allocator *mem)
{
    strata_error err = STRATA_ERROR_INIT;
    c->subject = subject;
    test_host_start(&c->host, mem);
    c->layer = subject->make();
    int rc = c->layer->failed.status;
    if (rc == 0 && c->layer->ops->start != NULL)
        rc = c->layer->ops->start(c->layer, &c->host.host, &err);
    if (rc < 0)
        contract_close(c);
    return rc;
}

void contract_close_layer(struct contract *c)
{
    test_host_drain(&c->host);   /* as a cache does: what was posted has run */
    strata_layer_free(c->layer); /* with the bus that it may bring */
    c->layer = NULL;
}

void contract_close(struct contract *c)
{
    if (c->layer != NULL)
        contract_close_layer(c);
    test_host_stop(&c->host);
}

strata_slice contract_prefix(const struct contract *c, uint32_t space, unsigned char room[4])
{
    if (c->layer->flags & STRATA_LAYER_SPACES)
        return strata_bytes(room, 0);
    for (int i = 0; i < 4; i++)
        room[i] = (unsigned char)(space >> (24 - 8 * i));
    return strata_bytes(room, 4);
}

void contract_op_init(struct contract *c, struct contract_op *o, uint32_t kind, uint32_t space, strata_slice key)
{
    unsigned char room[4];
    strata_slice prefix = contract_prefix(c, space, room);
    memset(o, 0, sizeof *o);
    o->key_bytes = malloc(prefix.size + key.size);
    if (o->key_bytes == NULL)
        abort();
    memcpy(o->key_bytes, prefix.data, prefix.size);
    memcpy(o->key_bytes + prefix.size, key.data, key.size);
    o->op.size = sizeof o->op;
    o->op.kind = kind;
    o->op.space = space;
    o->op.hash = strata__key_hash(c->host.host.hash_seed, space, key);
    o->op.key = strata_bytes(o->key_bytes, prefix.size + key.size);
    o->op.now_ms = atomic_load(&c->host.now_ms);
    o->op.expires_ms = STRATA_FOREVER;
    o->op.err = &o->err;
    o->op.mem = c->host.host.mem;
    o->op.done = done;
    o->op.owner = o;
}

void contract_op_deinit(struct contract_op *o)
{
    strata_value_unref(o->op.found);
    if (o->op.kind != STRATA_OP_PUT) /* there they are the caller's */
        strata_value_unref(o->op.tags);
    free(o->key_bytes);
}

void contract_submit(struct contract *c, struct contract_op *ops, size_t count)
{
    struct contract_batch batch;
    strata_op **list = malloc((count != 0 ? count : 1) * sizeof *list);
    if (list == NULL)
        abort();
    pthread_mutex_init(&batch.mutex, NULL);
    pthread_cond_init(&batch.changed, NULL);
    batch.left = count;
    for (size_t i = 0; i < count; i++) {
        ops[i].batch = &batch;
        list[i] = &ops[i].op;
    }
    c->layer->ops->submit(c->layer, list, count);
    free(list); /* only the operations belong to the layer until they are done, the list does not */
    pthread_mutex_lock(&batch.mutex);
    while (batch.left != 0)
        pthread_cond_wait(&batch.changed, &batch.mutex);
    pthread_mutex_unlock(&batch.mutex);
    pthread_cond_destroy(&batch.changed);
    pthread_mutex_destroy(&batch.mutex);
}

int contract_put(struct contract *c, uint32_t space, strata_slice key, strata_slice data, const strata_meta *meta,
                 int64_t expires_ms)
{
    struct contract_op o;
    contract_op_init(c, &o, STRATA_OP_PUT, space, key);
    /* The value comes from elsewhere: an allocator that fails is meant for the layer. */
    strata_value *value = meta->negative ? NULL : strata__value_copy(NULL, data.data, data.size);
    o.op.value = value;
    o.op.meta = *meta;
    o.op.expires_ms = expires_ms;
    contract_submit(c, &o, 1);
    int status = o.op.status;
    strata_value_unref(value);
    contract_op_deinit(&o);
    return status;
}

int contract_get(struct contract *c, uint32_t space, strata_slice key, strata_value **out_value, strata_meta *out_meta)
{
    struct contract_op o;
    contract_op_init(c, &o, STRATA_OP_GET, space, key);
    contract_submit(c, &o, 1);
    int status = o.op.status;
    if (out_value != NULL) {
        *out_value = o.op.found;
        o.op.found = NULL;
    }
    if (out_meta != NULL)
        *out_meta = o.op.meta;
    contract_op_deinit(&o);
    /* A layer may tell by STRATA_STALE that the entry wants a look at its meta: found is found. */
    return status == STRATA_STALE ? STRATA_OK : status;
}

int contract_remove(struct contract *c, uint32_t space, strata_slice key)
{
    struct contract_op o;
    contract_op_init(c, &o, STRATA_OP_REMOVE, space, key);
    contract_submit(c, &o, 1);
    int status = o.op.status;
    contract_op_deinit(&o);
    /* A layer that can tell may say that nothing was there. */
    return status == STRATA_MISS ? STRATA_OK : status;
}

strata_meta contract_meta(struct contract *c, int64_t fresh_ms)
{
    int64_t now = atomic_load(&c->host.now_ms);
    return (strata_meta){ .life = 77, .born_ms = now, .born_wall_ms = now + 5000, .fresh_ms = fresh_ms };
}

void contract_fill(void *out, size_t size, uint64_t seed)
{
    unsigned char *to = out;
    for (size_t i = 0; i < size; i++)
        to[i] = (unsigned char)((seed + i) * 2654435761u >> 13);
}

int contract_is_filled(const void *data, size_t size, uint64_t seed)
{
    const unsigned char *from = data;
    for (size_t i = 0; i < size; i++)
        if (from[i] != (unsigned char)((seed + i) * 2654435761u >> 13))
            return 0;
    return 1;
}
