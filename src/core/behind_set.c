/* behind_set.c - write-behind under the key lock: a set that is to wait, and whoever meets one that does.  See behind.h. */
#include <string.h>

#include "src/core/bans.h"
#include "src/core/behind.h"
#include "src/core/op_put.h"

/* What stands in the table of a key ------------------------------------------------------------------------------ */

static struct behind_note *delayed_locked(struct root *root, struct stripe *s, uint64_t hash, uint32_t space,
                                          strata_slice key)
{
    if (root->behind == NULL || atomic_load_explicit(&root->behind->count, memory_order_relaxed) == 0)
        return NULL;
    struct busy *b = strata__busy_write_locked(s, NULL, hash, space, key);
    while (b != NULL && !b->delayed)
        b = strata__busy_write_locked(s, b, hash, space, key);
    return b != NULL ? note_of(write_of_busy(b)) : NULL;
}

static struct busy *next_write_locked(struct stripe *s, struct busy *after, const struct write *w)
{
    return strata__busy_write_locked(s, after, w->key.hash, w->handle->space, w->key.plain);
}

/* A write that has something to say of memory yet, which must not come after what is put there now. */
static int meets_write_locked(struct stripe *s, const struct write *w)
{
    for (struct busy *b = next_write_locked(s, NULL, w); b != NULL; b = next_write_locked(s, b, w)) {
        const struct write *other = write_of_busy(b);
        if (!other->behind && !other->peer && !other->demotes)
            return 1;
    }
    return 0;
}

static void overlay_locked(struct stripe *s, const struct write *w)
{
    for (struct busy *b = next_write_locked(s, NULL, w); b != NULL; b = next_write_locked(s, b, w))
        if (write_of_busy(b)->behind)
            write_of_busy(b)->overlaid = 1;
}

/* What this node has told the store of the key itself: no news to those that wait. */
static void raise_locked(struct stripe *s, const struct write *w, uint64_t version, uint32_t life)
{
    for (struct busy *b = next_write_locked(s, NULL, w); b != NULL; b = next_write_locked(s, b, w)) {
        struct write *other = write_of_busy(b);
        if (!other->behind)
            continue;
        other->based = other->based < version ? version : other->based;
        other->based_life = life != 0 ? life : other->based_life;
    }
}

void strata__behind_told(strata *handle, const struct key_forms *key, uint64_t version, uint32_t life)
{
    struct root *root = handle->root;
    struct frame frame;
    const struct write of = { .root = root, .handle = handle, .key = *key };
    if (root->behind == NULL || version == 0 || atomic_load_explicit(&root->behind->count, memory_order_relaxed) == 0)
        return;
    struct stripe *s = stripe_lock(root, key->hash, &frame);
    raise_locked(s, &of, version, life);
    stripe_unlock(s, &frame);
}

/* Memory ------------------------------------------------------------------------------------------------------------ */

/* What memory holds of the key may be of a version that no clock has counted. */
static uint64_t held_version_locked(struct write *w)
{
    struct layer_slot *slot = &w->root->layers[0];
    strata__write_op(w, slot, STRATA_OP_GET);
    strata__instant_submit(slot, &w->op);
    int found = strata__op_found(&w->op);
    atomic_fetch_add_explicit(found ? &slot->own_hits : &slot->own_misses, 1, memory_order_relaxed);
    op_drop(&w->op);
    return found ? w->op.meta.version : 0;
}

static int is_memory(const struct layer_slot *slot)
{
    return slot_instant(slot) && !(slot->flags & STRATA_LAYER_SHARED);
}

static void put_one_locked(struct write *w, struct layer_slot *slot, uint32_t flags)
{
    strata__write_op(w, slot, STRATA_OP_PUT);
    w->op.value = w->value;
    op_put(&w->op, slot, w->layer_ttls, &w->meta, w->tags);
    op_update_only(&w->op, slot, w->admit);
    op_resides(&w->op, slot, w->resident);
    w->op.flags |= flags;
    strata__instant_submit(slot, &w->op);
    if (w->op.status < 0)
        atomic_fetch_add_explicit(&slot->errors, 1, memory_order_relaxed);
}

static void put_memory_locked(struct write *w)
{
    struct root *root = w->root;
    for (size_t i = 0; i < root->layer_count; i++)
        if (is_memory(&root->layers[i]))
            put_one_locked(w, &root->layers[i], 0);
}

void strata__behind_settle_locked(struct write *w, struct layer_slot *slot)
{
    int is_put = 0;
    if (w->overlaid && is_memory(slot)) {
        w->refused = 0; /* what stands there is another one's */
    } else if (w->kind == STRATA_OP_REMOVE || strata__write_superseded_locked(w, slot)) {
        strata__write_op(w, slot, STRATA_OP_REMOVE);
        strata__instant_submit(slot, &w->op);
    } else {
        /* What was evicted meanwhile is not put back; but the layer below, if that is where it would have gone, is to have it. */
        put_one_locked(w, slot, is_memory(slot) ? STRATA_OP_UPDATE : 0);
        is_put = 1;
    }
    if (slot->demotions != NULL)
        w->refused = is_put && w->op.status != STRATA_OK;
    strata__write_layer_over(w);
}

int strata__behind_restore_locked(strata *handle, struct stripe *s, const struct key_forms *key)
{
    struct root *root = handle->root;
    struct behind_note *n = delayed_locked(root, s, key->hash, handle->space, key->plain);
    if (n == NULL || strata__behind_banned(&n->write))
        return 0;
    put_memory_locked(&n->write);
    return n->write.op.status == STRATA_OK;
}

/* A set --------------------------------------------------------------------------------------------------------------- */

/* The new one goes in the old one's place, and the old one's value to the new note, to be freed. */
static void take_place_locked(struct behind_note *old, struct behind_note *n, int64_t delay_ms)
{
    struct write *to = &old->write, *from = &n->write;
    strata_value *value = to->value, *tags = to->tags;
    to->value = from->value;
    to->tags = from->tags;
    to->meta = from->meta;
    to->admit = from->admit;
    to->resident = from->resident;
    to->based = from->based > to->based ? from->based : to->based;
    to->based_life = from->based_life;
    memcpy(to->layer_ttls, from->layer_ttls, sizeof to->layer_ttls);
    from->value = value;
    from->tags = tags;
    strata__behind_replaced(to->root->behind, old, n->cost, delay_ms);
    count_up(to->handle, COUNT_BEHIND_MERGED);
    put_memory_locked(to);
}

static void enter_locked(struct behind_note *n, struct stripe *s, int64_t delay_ms)
{
    struct write *w = &n->write;
    struct root *root = w->root;
    overlay_locked(s, w);
    w->busy = (struct busy){
        .hash = w->key.hash, .space = w->handle->space, .is_write = 1, .delayed = 1, .key = w->key.plain
    };
    strata__busy_enter_locked(root, s, &w->busy);
    root_hold(root);
    put_memory_locked(w);
    strata__behind_enqueue(root->behind, n, delay_ms);
}

/* What becomes of the note: it stands in the table; its set stands in another one's place; nothing was done. */
enum entry { ENTRY_NEW, ENTRY_MERGED, ENTRY_NOT };

static enum entry enter(struct behind_note *n, int64_t delay_ms)
{
    struct write *w = &n->write;
    struct root *root = w->root;
    struct frame frame;
    enum entry entry = ENTRY_NOT;
    struct stripe *s = stripe_lock(root, w->key.hash, &frame);
    struct behind_note *old = delayed_locked(root, s, w->key.hash, w->handle->space, w->key.plain);
    if (root_usable(root) && !meets_write_locked(s, w)) {
        uint64_t held = held_version_locked(w);
        w->based = held > w->based ? held : w->based;
        strata__poison_locked(root, s, w->key.hash, w->handle->space, w->key.plain);
        entry = old != NULL ? ENTRY_MERGED : ENTRY_NEW;
        if (old != NULL)
            take_place_locked(old, n, delay_ms);
        else
            enter_locked(n, s, delay_ms);
    }
    stripe_unlock(s, &frame);
    return entry;
}

static void discard(struct behind_note *n)
{
    strata__behind_unreserve(n->write.root->behind, n);
    strata_value_unref(n->write.value);
    strata_value_unref(n->write.tags);
    strata__behind_note_unref(n);
}

/* 1: it waits, or another one for it. */
static int take(struct write *w, strata_slice key)
{
    struct root *root = w->root;
    uint32_t life;
    uint64_t based = strata__behind_base_now(root, &life);
    if (based == 0 && root_leases(root)) /* the store has said nothing yet: nobody could tell what is newer */
        return 0;
    struct behind_note *n = strata__behind_note_new(w, key);
    if (n == NULL)
        return 0;
    n->write.based = based;
    n->write.based_life = life;
    if (!strata__behind_reserve(root->behind, n)) {
        strata_value_unref(n->write.value);
        strata_value_unref(n->write.tags);
        strata__behind_note_unref(n);
        return 0;
    }
    enum entry entry = enter(n, w->behind_ms);
    if (entry != ENTRY_NEW)
        discard(n);
    return entry != ENTRY_NOT;
}

int strata__behind_set(struct write *w, strata_slice key)
{
    if (w->root->behind == NULL || w->behind_ms <= 0 || w->kind != STRATA_OP_PUT || w->when != 0)
        return 0;
    w->queued = (unsigned char)take(w, key);
    count_up(w->handle, w->queued ? COUNT_SETS_BEHIND : COUNT_BEHIND_PASSED);
    return w->queued;
}

/* Who meets one that waits ------------------------------------------------------------------------------------------- */

static void hurry_locked(struct behind_note *n, struct stripe *s)
{
    if (strata__behind_begin_locked(n, s))
        strata__strand_wake(&n->write.strand);
}

void strata__behind_hurry_locked(struct root *root, struct stripe *s, const struct busy *item)
{
    struct behind_note *n = delayed_locked(root, s, item->hash, item->space, item->key);
    if (n != NULL)
        hurry_locked(n, s);
}

void strata__behind_meet_locked(struct write *w, struct stripe *s)
{
    struct behind_note *n = delayed_locked(w->root, s, w->key.hash, w->handle->space, w->key.plain);
    if (n == NULL)
        return;
    int replaces = (w->kind == STRATA_OP_PUT || w->kind == STRATA_OP_REMOVE) && w->when == 0 && !w->peer;
    if (replaces) {
        strata__behind_end_locked(n, s, STRATA_OK, NULL);
        w->replaced = 1;
    } else {
        hurry_locked(n, s);
    }
}

int strata__behind_peer_locked(strata *handle, struct stripe *s, const struct key_forms *key,
                               const struct change *change)
{
    struct behind_note *n = delayed_locked(handle->root, s, key->hash, handle->space, key->plain);
    if (n == NULL)
        return 0;
    if (change->version != 0 && change->version <= n->write.based)
        return 1;
    strata__behind_end_locked(n, s, STRATA_ECONFLICT,
                              "another node wrote or deleted the key before the set of this one was in the store");
    return 0;
}

/* The write of a note -------------------------------------------------------------------------------------------------- */

void strata__behind_mark(struct write *w, const struct layer_slot *slot)
{
    if (!w->behind || !(slot->flags & STRATA_LAYER_LEASES))
        return;
    w->op.flags |= STRATA_OP_UNLESS_NEWER;
    w->op.meta.version = w->based;
    w->op.meta.store_life = w->based_life;
}

int strata__behind_refused(struct write *w, const struct layer_slot *slot)
{
    if (!w->behind)
        return 0;
    if (w->op.status == STRATA_OK && w->op.kind == STRATA_OP_PUT && (slot->flags & STRATA_LAYER_SHARED))
        strata__behind_told(w->handle, &w->key, w->op.meta.version, w->op.meta.store_life);
    if (w->op.kind != w->kind || !(w->op.flags & STRATA_OP_LOST))
        return 0;
    w->unchanged = 1;
    w->stops = STOP_FORGETS;
    return 1;
}

/* Who asks layers without a flight ----------------------------------------------------------------------------------- */

static int is_on_its_way(strata *handle, const struct key_forms *key)
{
    struct root *root = handle->root;
    struct frame frame;
    int is = 0;
    if (root->behind == NULL || atomic_load_explicit(&root->behind->count, memory_order_relaxed) == 0)
        return 0;
    struct stripe *s = stripe_lock(root, key->hash, &frame);
    struct busy *b = NULL;
    while (!is && (b = strata__busy_write_locked(s, b, key->hash, handle->space, key->plain)) != NULL)
        is = write_of_busy(b)->behind;
    stripe_unlock(s, &frame);
    return is;
}

void strata__behind_wait(strata *handle, const struct key_forms *key)
{
    struct write w; /* it stands behind the note, which that hurries, and does nothing */
    if (!is_on_its_way(handle, key))
        return;
    strata__write_begin(&w, handle, WRITE_EXPIRE);
    w.stops = STOP_HERE;
    w.unchanged = 1;
    w.key = *key;
    strata__writes_drive(handle->root, &w, 1);
}
