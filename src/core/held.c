/* held.c - judging what a layer gave: is it ours, not banned, of our codec, and how does it stand by the clock?
 *
 * An entry of this life is judged by this cache's own clock and positions.  One of another life (stored by another
 * process, or before a restart) has only wall-clock time in common with us: its age is taken from that, and a clear of
 * ours bans it where it was born before.  In a layer that nobody else writes to it was, whatever a clock said. */
#include "src/core/bans.h"
#include "src/core/coherence.h"
#include "src/layer/entry_notes.h"

static uint32_t least_position(const strata *handle, const struct layer_slot *slot)
{
    return atomic_load_explicit(slot->flags & STRATA_LAYER_SHARED ? &handle->min_shared : &handle->min_position,
                                memory_order_acquire);
}

static int banned(strata *handle, const struct layer_slot *slot, const strata_meta *meta, uint32_t position)
{
    if (meta->life == handle->root->life || meta->life == 0)
        return meta->position < position;
    int64_t cleared = atomic_load_explicit(&handle->cleared_wall_ms, memory_order_acquire);
    return cleared != 0 && ((slot->flags & STRATA__LAYER_ALONE) != 0 || meta->born_wall_ms <= cleared);
}

/* Birth in terms of our own clock.  The numbers may be anybody's: what is older than can be said is as old as can be. */
int64_t strata__born_here(struct root *root, const strata_meta *meta)
{
    if (meta->life == root->life || meta->life == 0)
        return meta->born_ms;
    int64_t age;
    if (__builtin_sub_overflow(ex_wall_ms(root->ex), meta->born_wall_ms, &age))
        age = meta->born_wall_ms < 0 ? INT64_MAX : 0;
    return ex_now_ms(root->ex) - (age > 0 ? age : 0);
}

/* Make it ours: from here on it counts by this life's clock and positions. */
static void adopt_life(strata *handle, strata_meta *meta, int64_t born, uint32_t position)
{
    int64_t moved;
    if (meta->retry_at_ms != 0 && (__builtin_sub_overflow(born, meta->born_ms, &moved) ||
                                   __builtin_add_overflow(meta->retry_at_ms, moved, &meta->retry_at_ms)))
        meta->retry_at_ms = 0; /* nobody means that */
    meta->born_ms = born;
    meta->life = handle->root->life;
    meta->position = position;
}

static int decode(struct root *root, struct layer_slot *slot, strata_op *op, strata_value **value)
{
    const strata_codec *codec = root->codec;
    if (op->meta.codec == 0 || *value == NULL || (*value)->object != NULL)
        return 1;
    if (codec == NULL || op->meta.codec != codec->id)
        return 0;
    void *object = NULL;
    int rc = codec->decode(strata_value_data(*value), strata_value_size(*value), &object, codec->ctx);
    if (rc < 0) {
        atomic_fetch_add_explicit(&slot->errors, 1, memory_order_relaxed);
        return 0;
    }
    strata_value *decoded = strata__value_object(root->mem, object, codec);
    if (decoded == NULL) {
        codec->free(object, codec->ctx);
        return 0;
    }
    strata_value_unref(*value);
    *value = decoded;
    return 1;
}

/* As the cache's user knows it; a layer that tells namespaces apart knows it so, too. */
static strata_slice plain_key(const strata *handle, const struct layer_slot *slot, strata_slice key)
{
    if (slot->flags & STRATA_LAYER_SPACES)
        return key;
    size_t skip = handle->parent != NULL ? handle->prefix_size : *(const unsigned char *)key.data == 0 ? 2 : 0;
    return skip <= key.size ? strata_bytes((const char *)key.data + skip, key.size - skip) : key;
}

/* The layer need not ask again, as far as bans up to `position` go. */
static void tell_checked(struct layer_slot *slot, strata_value *found, uint32_t position)
{
    if (!slot_instant(slot) || found == NULL)
        return; /* an entry that was read from a file has no layer yet */
    const strata_layer_ops *ops = slot->layer->ops;
    if (ops->size >= offsetof(strata_layer_ops, checked) + sizeof ops->checked && ops->checked != NULL)
        ops->checked(slot->layer, found, position);
}

/* What bans make of it: 0: it is gone.  A soft one has ended its freshness. */
static int passes_bans(strata *handle, struct layer_slot *slot, strata_op *op, uint32_t position)
{
    strata_meta *meta = &op->meta;
    enum ban_verdict verdict = strata__bans_judge(handle, slot, meta, plain_key(handle, slot, op->key), op->tags);
    if (verdict == BAN_HARD)
        return 0;
    if (handle->root->coherence != NULL)
        position = strata__suspect_cap(handle->root, meta->position, position);
    if (verdict == BAN_NONE && meta->life == handle->root->life && meta->position < position)
        tell_checked(slot, op->found, position);
    return 1 + (verdict == BAN_SOFT);
}

static int refused(strata_op *op, strata_value *value)
{
    strata_value_unref(value);
    strata_value_unref(op->tags);
    op->tags = NULL;
    return 0;
}

/* A layer that says two things of an entry's tags: then it has some, and nobody knows which. */
static void doubt_tags(strata_op *op)
{
    if (strata__entry_notes_valid(op->tags, op->meta.tag_count))
        return;
    strata_value_unref(op->tags);
    op->tags = NULL;
    op->meta.tag_count = op->meta.tag_count != 0 ? op->meta.tag_count : 1;
}

int strata__held_init(strata *handle, struct layer_slot *slot, strata_op *op, struct held *out)
{
    struct root *root = handle->root;
    strata_value *value = op->found;
    /* What it is compared with, before it is; then the clear, once: where one comes between, what is found keeps the position
     * of before it.  Acquire: see raise_locked(), and bans.h. */
    uint32_t now = atomic_load_explicit(&root->position, memory_order_acquire);
    uint32_t position = least_position(handle, slot);
    if (value == NULL && !op->meta.negative) /* a careless layer */
        return refused(op, value);
    doubt_tags(op);
    int passes = !banned(handle, slot, &op->meta, position) ? passes_bans(handle, slot, op, now) : 0;
    op->found = NULL;
    if (passes == 0 || (!slot_instant(slot) && !decode(root, slot, op, &value)))
        return refused(op, value);
    int64_t born = strata__born_here(root, &op->meta);
    int own = op->meta.life == root->life || op->meta.life == 0;
    uint32_t adopted = now;
    out->suspect = out->foreign = 0;
    if (root->coherence != NULL && !(slot->flags & STRATA_LAYER_SHARED)) {
        out->suspect = (unsigned char)(own ? strata__suspect_level(root, op->meta.position, op->now_ms)
                                           : strata__foreign_level(root, slot, &op->meta, op->now_ms, &adopted));
        out->foreign = (unsigned char)(!own && adopted == 0);
    }
    if (op->meta.life != root->life)
        adopt_life(handle, &op->meta, born, adopted);
    if (root->coherence != NULL && !(slot->flags & STRATA_LAYER_SHARED))
        now = strata__suspect_cap(root, op->meta.position, now);
    if (op->meta.position < now)
        op->meta.position = now;
    if (passes == 2 && strata__meta_expire(&op->meta, ex_now_ms(root->ex)) != STRATA_OP_PUT)
        return refused(op, value);
    out->there = 1;
    out->layer = slot->index;
    out->value = value;
    out->tags = op->tags;
    out->meta = op->meta;
    op->tags = NULL;
    strata__deadlines(&op->meta, born, &out->d);
    return 1;
}

int strata__held_is_plain(strata *handle, const struct layer_slot *slot, const strata_op *op, int64_t now)
{
    const strata_meta *meta = &op->meta;
    if (op->status != STRATA_OK || op->found == NULL || meta->codec != 0 || meta->negative)
        return 0;
    uint32_t position = least_position(handle, slot);
    if (meta->tag_count != 0 || op->tags != NULL || meta->slide_ms != 0 ||
        meta->position < __atomic_load_n(&handle->lines.plain, __ATOMIC_ACQUIRE) ||
        (meta->life != handle->root->life && atomic_load(&handle->root->bans->any) != 0) ||
        (handle->root->coherence != NULL && !(slot->flags & STRATA_LAYER_SHARED)))
        return 0;
    return !banned(handle, slot, meta, position) && strata__is_fresh(meta, strata__born_here(handle->root, meta), now);
}

int strata__suspect_state(int state, int suspect)
{
    int window = suspect == SUSPECT_STALE ? STRATA_STATE_STALE
                 : suspect == SUSPECT_OLD ? STRATA_STATE_ERROR_ONLY
                                          : STRATA_STATE_KEEP;
    /* The states stand in the order in which an entry passes them. */
    return state == STRATA_STATE_GONE || state > window ? state : window;
}

void strata__held_drop(struct held *held)
{
    strata_value_unref(held->value);
    strata_value_unref(held->tags);
    held->value = held->tags = NULL;
    held->there = 0;
}

struct held strata__held_copy(const struct held *held)
{
    if (held->value != NULL)
        strata_value_ref(held->value);
    if (held->tags != NULL)
        strata_value_ref(held->tags);
    return *held;
}

enum action strata__held_action(const struct held *held, enum situation situation, int64_t now)
{
    int state = held_state(held, now);
    if (held->there && held->meta.negative && state != STRATA_STATE_FRESH)
        state = STRATA_STATE_GONE; /* "absent" has no windows */
    if (situation == SITUATION_LOAD && held->there && now < held->d.retry_at)
        situation = SITUATION_THROTTLED;
    return strata__freshness_action(state, situation);
}
