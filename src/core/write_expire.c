/* write_expire.c - what an expire does in a layer: it reads, and puts back what it read with its freshness over.
 *
 * In a store that others write to it does so only over what it read: or it would undo their deletes, and put an old value in place of
 * theirs.  What has no window left is taken out, there too only as long as it is that. */
#include "src/core/flight.h"
#include "src/core/op_put.h"
#include "src/core/write.h"

/* The entry that a GET has found, as what is to be put instead; 0: there is none.  Takes op.found. */
int strata__write_take(struct write *w, struct layer_slot *slot, struct held *held)
{
    held->there = 0;
    held->value = held->tags = NULL;
    if (!strata__op_found(&w->op) || !strata__held_init(w->handle, slot, &w->op, held))
        return 0;
    if (strata__freshness_state(&held->d, w->op.now_ms) == STRATA_STATE_GONE) {
        strata__held_drop(held);
        return 0;
    }
    return 1;
}

/* An expire's: a copy of what a store had before has the version that the store gave it now. */
static void reversion(const struct write *w, strata_meta *meta)
{
    if (w->version_before != 0 && meta->version == w->version_before)
        meta->version = w->version;
}

void strata__expire_now_locked(struct write *w, struct layer_slot *slot)
{
    struct held held;
    strata__write_op(w, slot, STRATA_OP_GET);
    strata__instant_submit(slot, &w->op);
    if (!strata__write_take(w, slot, &held)) {
        if (slot->demotions != NULL) { /* it may just have left, and be on its way down: that ends here */
            strata__write_op(w, slot, STRATA_OP_REMOVE);
            strata__instant_submit(slot, &w->op);
        }
        return;
    }
    w->found = 1;
    uint32_t kind = strata__meta_expire(&held.meta, w->op.now_ms);
    reversion(w, &held.meta);
    strata__write_op(w, slot, kind);
    if (kind == STRATA_OP_PUT) {
        w->op.value = held.value;
        op_put(&w->op, slot, NULL, &held.meta, held.tags);
    }
    strata__instant_submit(slot, &w->op);
    strata__held_drop(&held);
}

/* An expire's value is the layer's; what a set writes is its caller's. */
static void forget_found(struct write *w)
{
    strata_value_unref(w->value);
    strata_value_unref(w->tags);
    strata_value_unref(w->encoded);
    w->value = w->tags = w->encoded = NULL;
}

/* An expire was overtaken: it is another entry by now, or gone.  What that one is was perhaps loaded before this began, so it is looked
 * at anew; and where that goes on and on the key is emptied, as a delete would. */
int strata__expire_again(struct write *w, struct layer_slot *slot)
{
    enum { TRIES = 8 };
    w->got = 0;
    forget_found(w);
    strata__write_op(w, slot, ++w->overtaken < TRIES ? STRATA_OP_GET : STRATA_OP_REMOVE);
    w->got = w->op.kind == STRATA_OP_REMOVE;
    return strata__write_submit(w, slot) ? 2 : 0;
}

/* Nothing is there that could be expired, but another node may be loading it, and began before: a delete takes its lease. */
static int expire_absent(struct write *w, struct layer_slot *slot)
{
    if (w->op.status != STRATA_MISS || !(slot->flags & STRATA_LAYER_LEASES))
        return 1;
    w->got = 1;
    strata__write_op(w, slot, STRATA_OP_REMOVE);
    w->op.flags |= STRATA_OP_NONE; /* what came meanwhile is looked at anew */
    return strata__write_submit(w, slot) ? 2 : 0;
}

/* As slow_answered(), of an expire. */
int strata__expire_answered(struct write *w, struct layer_slot *slot)
{
    struct held held;
    if (w->got) {
        w->got = 0;
        forget_found(w);
        return 1;
    }
    if (!strata__write_take(w, slot, &held))
        return expire_absent(w, slot);
    w->found = 1;
    w->got = 1;
    uint32_t kind = strata__meta_expire(&held.meta, w->op.now_ms);
    if (!(slot->flags & STRATA_LAYER_LEASES)) /* there it is put back only over the version that was read */
        reversion(w, &held.meta);
    w->value = held.value;
    w->tags = held.tags;
    w->meta = held.meta;
    return strata__write_put(w, slot, kind) ? 2 : 0;
}
