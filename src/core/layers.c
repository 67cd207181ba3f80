/* layers.c - the stack of layers as the cache sees it: opening and closing them, one operation, what is counted. */
#include <stdio.h>
#include <string.h>

#include "src/core/adaptive.h"
#include "src/core/bans.h"
#include "src/core/behind.h"
#include "src/core/demote.h"
#include "src/core/strand.h"

static int miss_lookup(strata_layer *layer, strata_op *op)
{
    (void)layer;
    (void)op;
    return STRATA_MISS;
}

static int check_layer(const strata_layer *layer, size_t index, strata_error *err)
{
    if (layer == NULL)
        return strata__fail(err, STRATA_EINVAL, "layers",
                            "layer %zu is NULL: constructors never return NULL, so this one "
                            "was not filled in",
                            index);
    if (layer->failed.status < 0) {
        if (err != NULL)
            *err = layer->failed;
        return layer->failed.status;
    }
    if (layer->ops == NULL || layer->ops->submit == NULL || layer->ops->close == NULL ||
        ((layer->flags & STRATA_LAYER_INSTANT) && layer->ops->lookup == NULL))
        return strata__fail(err, STRATA_EINVAL, layer->name,
                            "the layer lacks submit, close, or the lookup that "
                            "STRATA_LAYER_INSTANT promises: fill in its strata_layer_ops");
    return STRATA_OK;
}

static int check_leases(const strata_layer *layer, strata_error *err)
{
    const strata_layer_ops *ops = layer->ops;
    int hurries = ops->size >= offsetof(strata_layer_ops, hurry) + sizeof ops->hurry && ops->hurry != NULL;
    if (!(layer->flags & STRATA_LAYER_LEASES))
        return STRATA_OK;
    if ((layer->flags & STRATA_LAYER_SHARED) && !(layer->flags & (STRATA_LAYER_INSTANT | STRATA_LAYER_BLOCKS)) &&
        hurries)
        return STRATA_OK;
    return strata__fail(
        err, STRATA_EINVAL, layer->name,
        "layer \"%s\" gives leases, so it must be STRATA_LAYER_SHARED, neither _INSTANT nor _BLOCKS, and "
        "have hurry(): a lease that is waited for may block no thread, and closing ends the wait",
        layer->name);
}

/* Where it gets its entries from. */
static int check_demoted(const strata_options *options, size_t index, strata_error *err)
{
    const strata_layer *layer = options->layers[index];
    if (!(layer->flags & STRATA_LAYER_DEMOTED))
        return STRATA_OK;
    if (index == 0 || (layer->flags & STRATA_LAYER_INSTANT) ||
        !(options->layers[index - 1]->flags & STRATA__LAYER_DEMOTES))
        return strata__fail(err, STRATA_EINVAL, layer->name,
                            "layer \"%s\" takes what the layer above it evicts, so it must stand right below a memory "
                            "layer: \"memory:?max_bytes=64mb|disk:/var/cache/mine?admit_on=eviction\"",
                            layer->name);
    for (size_t i = 0; i < index; i++)
        if (options->layers[i]->flags & STRATA_LAYER_DEMOTED)
            return strata__fail(
                err, STRATA_EINVAL, layer->name,
                "layers \"%s\" and \"%s\" both take what memory evicts: only one of a stack can, so give the "
                "other admit_on=insertion",
                options->layers[i]->name, layer->name);
    return STRATA_OK;
}

static void order_sets(struct root *root)
{
    size_t count = 0;
    for (size_t i = root->layer_count; i-- > 0;)
        if (root->layers[i].flags & STRATA_LAYER_SHARED)
            root->set_order[count++] = (unsigned char)i;
    for (size_t i = 0; i < root->layer_count; i++)
        if (!(root->layers[i].flags & STRATA_LAYER_SHARED))
            root->set_order[count++] = (unsigned char)i;
}

int strata__layers_take(struct root *root, const strata_options *options, strata_error *err)
{
    int instant = 1;
    root->plain_keys = 1;
    root->lease_layer = LAYERS_MAX;
    for (size_t i = 0; i < options->layer_count; i++) {
        strata_layer *layer = options->layers[i];
        int rc = check_layer(layer, i, err);
        for (size_t j = 0; rc == STRATA_OK && j < i; j++)
            if (options->layers[j] == layer)
                rc = strata__fail(err, STRATA_EINVAL, "layers",
                                  "layers %zu and %zu are the same one: make a layer for "
                                  "each place in the stack",
                                  j, i);
        if (rc == STRATA_OK)
            rc = check_leases(layer, err);
        if (rc == STRATA_OK)
            rc = check_demoted(options, i, err);
        if (rc == STRATA_OK && (layer->flags & STRATA_LAYER_DEMOTED))
            rc = strata__demotions_new(root, (uint32_t)i, err);
        if (rc != STRATA_OK)
            return rc;
        struct layer_slot *slot = &root->layers[i];
        slot->layer = layer;
        slot->index = (uint32_t)i;
        slot->flags = layer->flags;
        if (layer->size >= offsetof(strata_layer, max_ttl_ms) + sizeof layer->max_ttl_ms)
            slot->max_ttl_ms = layer->max_ttl_ms;
        if (!(layer->flags & STRATA_LAYER_SPACES) || root->coherence != NULL) /* what is published is a storage key */
            root->plain_keys = 0;
        if (layer->flags & STRATA_LAYER_LEASES)
            root->lease_layer = (uint32_t)i; /* the farthest */
        instant = instant && slot_instant(slot);
        if (instant)
            root->instant_count = i + 1;
        if (layer->ops->maintain != NULL)
            root->has_maintain = 1;
    }
    root->layer_count = options->layer_count;
    order_sets(root);
    return STRATA_OK;
}

int strata__layers_start(struct root *root, strata_error *err)
{
    for (size_t i = 0; i < root->layer_count; i++) {
        strata_layer *layer = root->layers[i].layer;
        int rc = layer->ops->start != NULL ? layer->ops->start(layer, &root->host, err) : STRATA_OK;
        if (rc < 0)
            return strata__fail_plain(err, rc, layer->name);
    }
    return strata__bans_restore(root, err);
}

int strata__layers_reopen(struct root *root, strata_error *err)
{
    for (size_t i = 0; i < root->layer_count; i++) {
        strata_layer *layer = root->layers[i].layer;
        if (layer->ops->reopen == NULL)
            return strata__fail(err, STRATA_EUNSUPPORTED, layer->name,
                                "layer \"%s\" can't be reopened after fork(): open "
                                "a new cache in the child",
                                layer->name);
    }
    for (size_t i = 0; i < root->layer_count; i++) {
        strata_layer *layer = root->layers[i].layer;
        int rc = layer->ops->reopen(layer, &root->host, err);
        if (rc < 0)
            return strata__fail_plain(err, rc, layer->name);
        struct layer_slot *slot = &root->layers[i];
        slot->trouble = (struct trouble){ 0 };
        atomic_store(&slot->own_hits, 0);
        atomic_store(&slot->own_misses, 0);
        atomic_store(&slot->refused, 0);
    }
    return strata__bans_restore(root, err);
}

void strata__layers_heard(struct root *root, uint64_t store_position)
{
    for (size_t i = 0; i < root->layer_count; i++) {
        strata_layer *layer = root->layers[i].layer;
        if (layer->ops->size >= offsetof(strata_layer_ops, heard) + sizeof layer->ops->heard &&
            layer->ops->heard != NULL)
            layer->ops->heard(layer, store_position);
    }
}

int strata__layers_settle(struct root *root)
{
    int busy = 0;
    for (size_t i = 0; i < root->layer_count; i++) {
        const strata_layer_ops *ops = root->layers[i].layer->ops;
        if (ops->size >= offsetof(strata_layer_ops, settle) + sizeof ops->settle && ops->settle != NULL)
            busy |= ops->settle(root->layers[i].layer);
    }
    return busy;
}

void strata__layers_hurry(struct root *root)
{
    for (size_t i = 0; i < root->layer_count; i++)
        if (root->layers[i].flags & STRATA_LAYER_LEASES)
            root->layers[i].layer->ops->hurry(root->layers[i].layer);
}

/* Is there anything that a store was to be told, and that goes with the layer? */
static int owes(const strata_layer *layer)
{
    strata_layer_stats stats = STRATA_LAYER_STATS_INIT;
    if (layer->ops->stats == NULL)
        return 0;
    layer->ops->stats((strata_layer *)(uintptr_t)layer, &stats);
    return stats.queued_deletes != 0;
}

int strata__layers_close(struct root *root)
{
    int rc = STRATA_OK;
    for (size_t i = root->layer_count; i-- > 0;) {
        strata_layer *layer = root->layers[i].layer;
        if (owes(layer))
            rc = STRATA_PENDING;
        strata_layer_free(layer);
        root->layers[i].layer = NULL;
    }
    return rc;
}

static const void *no_hint(strata_layer *layer, uint64_t hash)
{
    (void)hash;
    return layer;
}

static strata_value *no_quick(const void *where, const void *key, size_t key_size, uint64_t hash,
                              const strata_lines *lines, int64_t now_ms)
{
    (void)where, (void)key, (void)key_size, (void)hash, (void)lines, (void)now_ms;
    return NULL;
}

void strata__handle_rewire_locked(strata *h)
{
    struct root *root = h->root;
    h->layer = root->layers[0].layer;
    h->lookup = slot_instant(&root->layers[0]) ? h->layer->ops->lookup : miss_lookup;
    const strata_layer_ops *ops = h->layer->ops;
    int quick = slot_instant(&root->layers[0]) && ops->size >= offsetof(strata_layer_ops, quick) + sizeof ops->quick &&
                ops->hint != NULL && ops->quick != NULL;
    h->hint = quick ? ops->hint : no_hint;
    h->quick = quick ? ops->quick : no_quick;
    int many = quick && ops->size >= offsetof(strata_layer_ops, quick_many) + sizeof ops->quick_many;
    h->quick_many = many ? ops->quick_many : NULL;
    h->general = &strata__hit_general;
    h->rest = strata__hit_rest;
    const struct hit_ways *ways = NULL;
    if (quick && ops->size >= offsetof(strata_layer_ops, hits) + sizeof ops->hits && ops->hits != NULL &&
        h->max_key >= HIT_KEY_MOST)
        ways = ops->hits(h->layer);
    ways = ways != NULL ? ways : h->general;
    h->get = ways->get;
    h->load = ways->load;
    h->direct = root->layer_count == 1 && !slot_instant(&root->layers[0]) &&
                (root->layers[0].flags & (STRATA_LAYER_BLOCKS | STRATA_LAYER_LENDS)) &&
                (root->coherence == NULL || (root->layers[0].flags & STRATA_LAYER_SHARED));
    h->direct_async = h->direct && !(root->layers[0].flags & STRATA_LAYER_BLOCKS);
    strata__set_quick_init(h);
    strata__adaptive_wire(h);
    h->ex = root->ex;
    h->now_ms = root->ex->ops->now_ms;
    h->forks = root->forks;
}

int strata__op_found(const strata_op *op) { return op->status == STRATA_OK || op->status == STRATA_STALE; }

/* Where a layer can't be asked or written to, every key would be told of: the first is, and then one a second. */
static int may_tell(struct layer_slot *slot, const strata_op *op, int64_t now)
{
    int reads = op->kind == STRATA_OP_GET || op->kind == STRATA_OP_LEASE;
    _Atomic(int64_t) *told = &slot->told_ms[reads ? 2 : op->kind == STRATA_OP_REMOVE];
    int64_t last = atomic_load_explicit(told, memory_order_relaxed);
    return (last == 0 || now + 1 - last >= 1000) && atomic_compare_exchange_strong(told, &last, now + 1);
}

static void count_failure(strata *handle, struct layer_slot *slot, const strata_op *op, int status)
{
    struct root *root = handle->root;
    atomic_fetch_add_explicit(&slot->errors, 1, memory_order_relaxed);
    count_up(handle, COUNT_ERRORS);
    strata__trouble_note(&slot->trouble, ex_now_ms(root->ex), status, op->err);
    if (event_wanted(root, STRATA_EVENT_ERROR) && may_tell(slot, op, ex_now_ms(root->ex)))
        strata__event_error(handle, op->key, slot->layer->name, status,
                            op->err->message[0] != 0 ? op->err->message : strata_status_text(status));
}

void strata__op_counted(strata *handle, struct layer_slot *slot, const strata_op *op)
{
    if (op->status < 0 || op->err->status < 0)
        count_failure(handle, slot, op, op->status < 0 ? op->status : op->err->status);
    if (op->status < 0)
        return;
    behind_saw(handle->root, slot, op);
    if (op->kind == STRATA_OP_PUT)
        atomic_fetch_add_explicit(&slot->puts, 1, memory_order_relaxed);
    else if (op->kind == STRATA_OP_REMOVE)
        atomic_fetch_add_explicit(&slot->removes, 1, memory_order_relaxed);
    else if (op->kind == STRATA_OP_GET || strata__op_found(op)) /* what is leased was counted as a miss */
        atomic_fetch_add_explicit(strata__op_found(op) ? &slot->hits : &slot->misses, 1, memory_order_relaxed);
}

static void whole_done(strata_op *op) { (void)op; }

int strata__look_whole(strata *handle, struct layer_slot *slot, strata_op *op)
{
    struct root *root = handle->root;
    strata_error words;
    struct deadlines d;
    words.status = STRATA_OK;
    words.message[0] = 0;
    op->size = sizeof *op;
    op->kind = STRATA_OP_GET;
    op->value = op->found = NULL;
    op->status = STRATA_OK;
    op->err = &words;
    op->tags = NULL;
    op->mem = root->mem;
    op->done = whole_done;
    op->owner = op->layer_data = NULL;
    op->flags = op->reserved = 0;
    op->asked_ms = 0;
    slot->layer->ops->submit(slot->layer, &op, 1);
    op->err = NULL;
    if (!strata__op_found(op))
        return STRATA_MISS;
    strata__deadlines(&op->meta, op->meta.born_ms, &d);
    int plain = op->found != NULL && !op->meta.negative &&
                strata__freshness_state(&d, op->now_ms) == STRATA_STATE_FRESH &&
                op->meta.position >= __atomic_load_n(&handle->lines.tagged, __ATOMIC_ACQUIRE) &&
                strata__suspect_level(root, op->meta.position, op->now_ms) == SUSPECT_NOT;
    if (plain) {
        strata_value_unref(op->tags);
        op->tags = NULL;
    }
    return plain ? STRATA_OK : STRATA_STALE;
}

int strata__layer_peek(strata *handle, struct layer_slot *slot, strata_op *op)
{
    if (op->now_ms >= atomic_load_explicit(&handle->trusted_until, memory_order_acquire)) {
        strata_error *err = op->err;
        int whole = strata__look_whole(handle, slot, op);
        op->err = err;
        atomic_fetch_add_explicit(whole == STRATA_MISS ? &slot->own_misses : &slot->own_hits, 1, memory_order_relaxed);
        return whole;
    }
    op->lines = &handle->lines;
    int rc = slot->layer->ops->lookup(slot->layer, op);
    atomic_fetch_add_explicit(rc == STRATA_MISS ? &slot->own_misses : &slot->own_hits, 1, memory_order_relaxed);
    return rc;
}

int strata__strand_submit(struct strand *strand, const struct layer_slot *slot, strata_op *const *ops, uint32_t count)
{
    if ((slot->flags & STRATA_LAYER_LENDS) && strata__strand_is_driven_here(strand))
        for (uint32_t i = 0; i < count; i++)
            ops[i]->flags |= STRATA_OP_WAITED;
    strand_expect(strand, count);
    slot->layer->ops->submit(slot->layer, ops, count);
    return strand_asked(strand);
}

static void nothing_done(strata_op *op) { (void)op; }

void strata__instant_submit(struct layer_slot *slot, strata_op *op)
{
    op->done = nothing_done;
    slot->layer->ops->submit(slot->layer, &op, 1);
    if (op->kind == STRATA_OP_GET)
        atomic_fetch_add_explicit(op->status == STRATA_MISS ? &slot->own_misses : &slot->own_hits, 1,
                                  memory_order_relaxed);
    else
        demotion_cancel(slot, op);
}

int strata__encode(struct root *root, strata_value *value, strata_value **out)
{
    const strata_codec *codec = root->codec;
    size_t size = 0;
    char small[256];
    int rc = codec->encode(value->object, small, sizeof small, &size, codec->ctx);
    if (rc < 0)
        return rc;
    if (rc == STRATA_OK) {
        *out = strata__value_copy(root->mem, small, size);
        return *out != NULL ? STRATA_OK : STRATA_ENOMEM;
    }
    void *bytes;
    strata_value *v = strata__value_new(root->mem, size, &bytes);
    if (v == NULL)
        return STRATA_ENOMEM;
    size_t again = 0;
    rc = codec->encode(value->object, bytes, size, &again, codec->ctx);
    if (rc != STRATA_OK || again > size) {
        strata_value_unref(v);
        return rc < 0 ? rc : STRATA_ECODEC;
    }
    v->size = again;
    *out = v;
    return STRATA_OK;
}
