/* blocking.c - a layer over a store with plain blocking calls, so that a user writes one in 40 lines.
 *
 * submit() runs the store's calls one after the other on the thread that brings them: the flag STRATA_LAYER_BLOCKS
 * tells the cache to bring them on workers and blocking callers' threads only.  What the store answers is checked here,
 * because it is a user's code: a wrong answer becomes an error with words, never a wrong value. */
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/layer_host.h"
#include "src/policy/options.h"

enum { FLAGS_ALLOWED = STRATA_LAYER_LOCAL | STRATA_LAYER_SHARED | STRATA_LAYER_DURABLE };

struct blocking {
    strata_layer base;
    strata_blocking_ops store; /* a copy: what a shorter table lacks is NULL */
    void *ctx;
};

static struct blocking *downcast(strata_layer *layer) { return (struct blocking *)(void *)layer; }

/* The store failed: it may have said why in op->err, otherwise its number has to do. */
static int fail_store(struct blocking *b, strata_op *op, const char *call, int status)
{
    if (op->err->status == status && op->err->message[0] != '\0')
        return status;
    return strata__fail(op->err, status, b->base.name, "%s() of the layer's store failed with %d (%s)", call, status,
                        strata_status_text(status));
}

static int fail_answer(struct blocking *b, strata_op *op, const char *what)
{
    return strata__fail(op->err, STRATA_ELAYER, b->base.name, "get() of the layer's store %s", what);
}

static int run_get(struct blocking *b, strata_op *op)
{
    memset(&op->meta, 0, sizeof op->meta);
    op->found = NULL;
    int rc = b->store.get(b->ctx, op->key, op);
    if (rc == STRATA_OK && (op->found != NULL || op->meta.negative))
        return STRATA_OK;
    strata_value_unref(op->found);
    strata_value_unref(op->tags);
    op->found = op->tags = NULL;
    if (rc == STRATA_OK)
        return fail_answer(b, op,
                           "returned STRATA_OK without strata_op_found(): call that first, or return STRATA_MISS");
    if (rc > 0 && rc != STRATA_MISS)
        return fail_answer(b, op, "returned a status that it may not: STRATA_OK, STRATA_MISS or one below 0");
    return rc == STRATA_MISS ? rc : fail_store(b, op, "get", rc);
}

static int run_remove(struct blocking *b, strata_op *op)
{
    int rc = b->store.remove(b->ctx, op->key);
    return rc >= 0 ? STRATA_OK : fail_store(b, op, "remove", rc);
}

static int run_put(struct blocking *b, strata_op *op)
{
    int64_t ttl_ms = STRATA_FOREVER;
    if (op->expires_ms != STRATA_FOREVER && __builtin_sub_overflow(op->expires_ms, op->now_ms, &ttl_ms))
        ttl_ms = op->expires_ms > op->now_ms ? STRATA_FOREVER : 0;
    /* Over already: nobody needs it, but what it replaces must go. */
    if (ttl_ms <= 0)
        return run_remove(b, op);
    strata_slice data = strata_bytes(strata_value_data(op->value), strata_value_size(op->value));
    int rc = b->store.put(b->ctx, op->key, data, &op->meta, ttl_ms);
    if (rc > 0)
        return STRATA_AGAIN;
    return rc == 0 ? STRATA_OK : fail_store(b, op, "put", rc);
}

static void blocking_submit(strata_layer *layer, strata_op *const *ops, size_t count)
{
    struct blocking *b = downcast(layer);
    for (size_t i = 0; i < count; i++) {
        strata_op *op = ops[i];
        switch (op->kind) {
        case STRATA_OP_GET: strata_op_done(op, run_get(b, op)); break;
        case STRATA_OP_PUT: strata_op_done(op, run_put(b, op)); break;
        case STRATA_OP_REMOVE: strata_op_done(op, run_remove(b, op)); break;
        default:
            strata_op_done(op, strata__fail(op->err, STRATA_EUNSUPPORTED, b->base.name,
                                            "a blocking layer knows get, put and remove alone"));
        }
    }
}

/* The space is not told apart here: it is part of the storage key, and so of the prefix.  A put that comes late is
 * removed again by the cache. */
static int blocking_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    struct blocking *b = downcast(layer);
    int rc = b->store.clear(b->ctx, what->all ? strata_bytes("", 0) : what->prefix);
    if (rc >= 0)
        return STRATA_OK;
    return strata__fail(err, rc, b->base.name, "clear() of the layer's store failed with %d (%s)", rc,
                        strata_status_text(rc));
}

static void blocking_close(strata_layer *layer)
{
    struct blocking *b = downcast(layer);
    if (b->store.close != NULL)
        b->store.close(b->ctx);
    strata__free(NULL, b);
}

/* Two tables, because an optional slot is NULL, never a stub. */
#define BLOCKING_OPS(clear_slot) \
    { \
        .size = sizeof(strata_layer_ops), .kind = "blocking", .submit = blocking_submit, .clear = (clear_slot), \
        .close = blocking_close \
    }
static const strata_layer_ops ops_with_clear = BLOCKING_OPS(blocking_clear);
static const strata_layer_ops ops_without_clear = BLOCKING_OPS(NULL);

static int check(const char *name, uint32_t flags, const strata_blocking_ops *ops, strata_error *err)
{
    size_t length = name != NULL ? strnlen(name, sizeof((strata_layer *)0)->name) : 0;
    if (length == 0 || length == sizeof((strata_layer *)0)->name)
        return strata__fail(err, STRATA_EINVAL, "name",
                            "a layer's name has 1 to 31 bytes: give one, it is shown in stats");
    if (flags & ~(uint32_t)FLAGS_ALLOWED)
        return strata__fail(err, STRATA_EINVAL, "flags",
                            "0x%x: a blocking layer takes STRATA_LAYER_LOCAL, _SHARED and "
                            "_DURABLE",
                            flags);
    if (ops == NULL)
        return strata__fail(err, STRATA_EINVAL, "ops", "NULL: give a table with get, put and remove");
    if (ops->size < offsetof(strata_blocking_ops, clear) || ops->size > 4096)
        return strata__fail(err, STRATA_EINVAL, "ops",
                            "its size is %zu, which it cannot be: set it with "
                            "STRATA_SIZED(strata_blocking_ops)",
                            ops->size);
    if (ops->size > sizeof *ops && !strata__tail_is_zero(ops, sizeof *ops, ops->size))
        return strata__fail(err, STRATA_EINVAL, "ops",
                            "it has functions that this strata does not know: the program was "
                            "built against a newer strata; install that one, or build again");
    if (ops->get == NULL || ops->put == NULL || ops->remove == NULL)
        return strata__fail(err, STRATA_EINVAL, "ops", "get, put and remove may not be NULL: write them");
    return STRATA_OK;
}

strata_layer *strata_blocking_layer(const char *name, uint32_t flags, const strata_blocking_ops *ops, void *ctx)
{
    struct blocking *b = strata__alloc_zero(NULL, sizeof *b);
    strata_error err = STRATA_ERROR_INIT;
    int rc = check(name, flags, ops, &err);
    if (b == NULL) {
        /* The layer takes ctx over, also where there is none. */
        if (rc == STRATA_OK && ops->size >= sizeof *ops && ops->close != NULL)
            ops->close(ctx);
        return strata__layer_out_of_memory();
    }
    b->base.size = sizeof b->base;
    b->base.ops = &ops_without_clear;
    b->base.flags = flags | STRATA_LAYER_BLOCKS;
    b->base.failed = err;
    b->ctx = ctx;
    snprintf(b->base.name, sizeof b->base.name, "%s", name != NULL && name[0] != '\0' ? name : "blocking");
    if (ops != NULL && ops->size <= 4096)
        memcpy(&b->store, ops, ops->size < sizeof b->store ? ops->size : sizeof b->store);
    if (b->store.clear != NULL)
        b->base.ops = &ops_with_clear;
    return &b->base;
}
