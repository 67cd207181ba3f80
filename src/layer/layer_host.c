/* layer_host.c - the calls that layers make: finishing an operation, and asking their host. */
#include "src/layer/layer_host.h"

#include <string.h>

#include "src/base/err.h"
#include "src/layer/value_impl.h"

void strata_op_done(strata_op *op, int status)
{
    op->status = status;
    op->done(op);
}

int strata_op_found(strata_op *op, const void *data, size_t size, const strata_meta *meta)
{
    strata_value *value = NULL;
    if (meta == NULL || !meta->negative) {
        value = strata__value_copy(op->mem, data, size);
        if (value == NULL)
            return strata__fail(op->err, STRATA_ENOMEM, "found",
                                "no memory for a value of %zu bytes: free some, or "
                                "lower max_value_bytes",
                                size);
    }
    /* A store that answers twice keeps its last word, and leaks nothing. */
    strata_value_unref(op->found);
    op->found = value;
    if (meta != NULL)
        op->meta = *meta;
    else
        memset(&op->meta, 0, sizeof op->meta);
    return STRATA_OK;
}

void strata_op_tags(strata_op *op, const uint64_t *tags, uint32_t count)
{
    void *bytes;
    strata_value_unref(op->tags);
    op->tags = NULL;
    op->meta.tag_count = count;
    if (tags == NULL || count == 0 || count > STRATA_TAGS_MAX)
        return;
    op->tags = strata__value_new(op->mem, count * sizeof *tags, &bytes);
    if (op->tags != NULL)
        memcpy(bytes, tags, count * sizeof *tags);
}

void strata_op_notes(strata_op *op, const void *bytes, size_t size)
{
    strata_value_unref(op->tags);
    op->tags = size != 0 ? strata__value_copy(op->mem, bytes, size) : NULL;
}

static void close_nothing(strata_layer *layer) { (void)layer; }

static void submit_nothing(strata_layer *layer, strata_op *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        strata__fail(ops[i]->err, STRATA_ENOMEM, layer->name, "%s", layer->failed.message);
        strata_op_done(ops[i], STRATA_ENOMEM);
    }
}

strata_layer *strata__layer_out_of_memory(void)
{
    static const strata_layer_ops ops = {
        .size = sizeof ops, .kind = "none", .submit = submit_nothing, .close = close_nothing
    };
    /* Never written: every caller may share it. */
    static strata_layer layer = { .size = sizeof layer,
                                  .ops = &ops,
                                  .name = "none",
                                  .failed = { .status = STRATA_ENOMEM,
                                              .where = "layer",
                                              .message = "no memory for a layer: free some and open again" } };
    return &layer;
}

strata_bus *strata__layer_take_bus(strata_layer *layer)
{
    if (layer->size < offsetof(strata_layer, identity) || layer->bus == NULL)
        return NULL;
    strata_bus *bus = layer->bus;
    layer->bus = NULL;
    return bus;
}

void strata_layer_free(strata_layer *layer)
{
    if (layer == NULL)
        return;
    strata_bus_free(strata__layer_take_bus(layer));
    layer->ops->close(layer);
}

int64_t strata_host_now_ms(strata_layer_host *host) { return host->now_ms(host); }

int64_t strata_host_wall_ms(strata_layer_host *host) { return host->wall_ms(host); }

int strata_host_post(strata_layer_host *host, void (*fn)(void *ctx), void *ctx) { return host->post(host, fn, ctx); }

int strata_host_after(strata_layer_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx)
{
    return host->after(host, delay_ms, fn, ctx);
}

const strata_allocator *strata_host_allocator(strata_layer_host *host) { return host->mem; }

void strata_host_evicted(strata_layer_host *host, strata_layer *layer, uint32_t space, strata_slice key)
{
    if (host->evicted != NULL && atomic_load_explicit(&host->eviction_listeners, memory_order_relaxed) != 0)
        host->evicted(host, layer, space, key);
}
