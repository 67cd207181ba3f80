/* snapshot_quick.c - the short way of an import.
 *
 * Where the stack is one memory layer of ours, and nobody else is at work on the key, an entry of a snapshot needs no flight: it is
 * judged as a flight would judge it, and put under the key lock where the layer holds nothing of the key, under the fences
 * that a flight's store has.  Where the layer holds anything, or a load or write of the key is under way, nothing is done here,
 * and the general way goes on. */
#include "src/core/bans.h"
#include "src/core/op_put.h"
#include "src/core/snapshot_impl.h"
#include "src/core/write.h"

int strata__import_may_be_quick(const strata *handle)
{
    const struct root *root = handle->root;
    const uint32_t flags = root->layers[0].flags;
    return root->layer_count == 1 && slot_instant(&root->layers[0]) && (flags & STRATA__LAYER_COPIES) != 0 &&
           (flags & STRATA_LAYER_SPACES) != 0 && root->coherence == NULL && handle->policy.admit != STRATA_OFF;
}

void strata__import_hint(const struct quick_import *q)
{
    if (q->handle->hint != NULL)
        (void)q->handle->hint(q->handle->layer, q->hash);
}

/* Has anything come since it was judged, at `position`? */
static int fenced_locked(const struct quick_import *q, const struct held *held, uint32_t position)
{
    struct root *root = q->handle->root;
    if (cleared_since(q->handle, position))
        return 1;
    return atomic_load(&root->position) != held->meta.position &&
           strata__banned_since(q->handle, q->key, held->meta.position, held->meta.tag_count, held->tags);
}

/* It is not put, for what the layer holds, or for `otherwise`: what is served is the reason before others. */
static enum imported_as look(const struct quick_import *q, strata_op *op, enum imported_as otherwise)
{
    strata *handle = q->handle;
    struct layer_slot *slot = &handle->root->layers[0];
    op->kind = STRATA_OP_GET;
    op->value = op->found = op->tags = NULL;
    op->flags = 0;
    op->meta.position = atomic_load_explicit(&handle->min_position, memory_order_acquire);
    strata__instant_submit(slot, op);
    if (!strata__op_found(op))
        return otherwise;
    op->status = STRATA_OK; /* whatever it thought of deadlines: they are looked at now */
    int kept = strata__held_is_plain(handle, slot, op, op->now_ms);
    op_drop(op);
    return kept ? IMPORTED_KEPT : IMPORTED_NOT_YET;
}

static enum imported_as put_locked(const struct quick_import *q, struct stripe *s, strata_op *op,
                                   const struct held *held, uint32_t position)
{
    struct layer_slot *slot = &q->handle->root->layers[0];
    if (atomic_load_explicit(&s->count, memory_order_relaxed) != 0 &&
        strata__key_busy_locked(s, q->hash, q->handle->space, q->key))
        return IMPORTED_NOT_YET;
    if (fenced_locked(q, held, position))
        return IMPORTED_KEPT;
    op->kind = STRATA_OP_PUT;
    op->flags = STRATA_OP_NONE;
    op->value = held->value;
    op_put(op, slot, q->handle->policy.layer_ttl_ms, &held->meta, held->tags);
    op_resides(op, slot, q->handle->policy.resident);
    strata__instant_submit(slot, op);
    if (op->status == STRATA_OK)
        return IMPORTED_STORED;
    return op->flags & STRATA_OP_LOST ? IMPORTED_NOT_YET : IMPORTED_JUDGED;
}

static enum imported_as put(const struct quick_import *q, strata_op *op, const struct held *held, uint32_t position)
{
    struct root *root = q->handle->root;
    struct frame frame;
    struct stripe *s = stripe_lock(root, q->hash, &frame);
    enum imported_as became = put_locked(q, s, op, held, position);
    stripe_unlock(s, &frame);
    return became == IMPORTED_NOT_YET && (op->flags & STRATA_OP_LOST) ? look(q, op, became) : became;
}

enum imported_as strata__import_quick(struct quick_import *q)
{
    strata *handle = q->handle;
    struct root *root = handle->root;
    const struct key_forms key = { .plain = q->key, .hash = q->hash };
    struct lent_value lent = { .base = { .data = q->payload.data,
                                         .size = q->payload.size,
                                         .kind = STRATA__VALUE_LENT,
                                         .release = strata__keep_nothing } };
    struct held held = { 0 };
    strata_error words;
    strata_op op;
    atomic_init(&lent.base.refs, 1);
    uint32_t position = atomic_load(&root->position);
    int64_t now = ex_now_ms(root->ex);
    op_init(&op, handle, &root->layers[0], &key, STRATA_OP_GET, now, &words);
    op.meta = q->meta;
    op.found = q->meta.negative ? NULL : &lent.base;
    op.tags = q->tags;
    q->tags = NULL;
    if (!strata__held_init(handle, &strata__below_all, &op, &held))
        return look(q, &op, IMPORTED_BANNED);
    int over = held.d.gone_at <= now;
    enum imported_as became = over ? look(q, &op, IMPORTED_EXPIRED) : put(q, &op, &held, position);
    strata_value_unref(held.tags);
    return became;
}
