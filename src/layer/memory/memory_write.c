/* memory_write.c - putting entries in and taking them out.
 *
 * One put is one critical section of the shard: room, copy, publish.  What a reader can see is always whole: the index
 * slot is written last.  An overwritten entry gives its place in the policy's queue to the new one. */
#include <string.h>

#include "src/base/mem.h"
#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"

enum { MOST_KEY_BYTES = 16384 }; /* so that a value's place fits its 12 bits */

void strata__memory_leave(struct shard *s, struct entry *e)
{
    switch (queue_number(e)) {
    case QUEUE_NEGATIVE: strata__queue_unlink(s, QUEUE_NEGATIVE, e); break;
    case QUEUE_RESIDENT: strata__resident_out(s, e); break;
    case QUEUE_HELD: strata__share_unhold(s, e); break;
    default: s->eviction->removed(s, e);
    }
    if (s->shares != NULL)
        strata__share_out(s, e);
}

/* What the policy was told of the put is over with it. */
static void new_resident(struct shard *s, struct entry *e)
{
    strata__resident_in(s, e);
    s->ghost_hit = 0;
    if (s->weighing != NULL)
        s->weighing->cost_us = 0;
}

static void stand(struct shard *s, struct entry *e, uint64_t hash, int resident)
{
    if (e->kind & KIND_NEGATIVE)
        strata__queue_push_head(s, QUEUE_NEGATIVE, e);
    else if (resident)
        new_resident(s, e);
    else
        s->eviction->insert(s, e, hash);
    if (s->shares != NULL)
        strata__share_in(s, e);
}

/* Who is resident stays so in the value that replaces it, unless the put says otherwise. */
static int is_resident(struct shard *s, const struct incoming *in, const struct entry *e, const struct entry *old)
{
    uint32_t flags = in->op->flags & (STRATA_OP_RESIDENT | STRATA_OP_EVICTABLE);
    int was = old != NULL && queue_number(old) == QUEUE_RESIDENT;
    if (__builtin_expect(flags != STRATA_OP_RESIDENT && !(was && flags == 0), 1) || (in->kind & KIND_NEGATIVE) != 0)
        return 0;
    int fits = strata__resident_fits(s, e, was ? old : NULL);
    s->unkept += !fits;
    return fits;
}

void strata__memory_drop_locked(struct shard *s, struct entry *e, uint64_t hash)
{
    strata__index_remove(s, hash, ref_of(s, e));
    strata__memory_leave(s, e);
    strata__retire(s, e);
}

static void fill_tags(struct entry_tags *tags, const strata_op *op)
{
    size_t bytes = op->tags != NULL ? op->tags->size : 0;
    tags->count = op->meta.tag_count;
    tags->known = (uint16_t)(bytes != 0 ? tags->count : 0);
    tags->note_bytes = (uint16_t)entry_note_size(op->tags, tags->count);
    if (bytes != 0)
        memcpy(tags->ids, op->tags->data, bytes);
}

static void fill(struct entry *e, const struct incoming *in)
{
    const strata_op *op = in->op;
    uint32_t w = atomic_load_explicit(&e->block, memory_order_relaxed) & ~(uint32_t)(BLOCK_QUEUE | BLOCK_SLACK);
    size_t slack = (size_t)(w & BLOCK_UNITS) * UNIT - (in->bytes - in->slack);
    atomic_store_explicit(&e->block, w | (uint32_t)slack << BLOCK_SLACK_SHIFT, memory_order_relaxed);
    e->space = (uint16_t)op->space;
    e->key_size = (uint16_t)op->key.size;
    e->kind = in->kind;
    atomic_store_explicit(&e->hits, 0, memory_order_relaxed);
    memcpy(entry_key(e), op->key.data, op->key.size);
    strata__meta_store(e, &op->meta, in->ttl_class, in->tag_bytes);
    if (in->tag_bytes != 0)
        fill_tags((struct entry_tags *)(uintptr_t)entry_tags(e), op);
    if (in->heap != NULL) {
        struct heap_ref ref = { strata_value_ref(in->heap), in->heap_cost };
        memcpy(entry_value(e), &ref, sizeof ref);
    } else if (op->value != NULL && op->value->size != 0) {
        memcpy(entry_value(e), op->value->data, op->value->size);
    }
}

/* Publish in place of `old`.  Of the same sort it takes over the queue position and the hits; a set counts as a use. */
static void replace(struct shard *s, struct entry *old, struct entry *e, uint64_t hash, int resident)
{
    strata__index_replace(s, hash, ref_of(s, old), ref_of(s, e));
    if (((old->kind ^ e->kind) & KIND_NEGATIVE) == 0 && !resident && queue_number(old) != QUEUE_RESIDENT &&
        queue_number(old) != QUEUE_HELD) {
        uint8_t hits = atomic_load_explicit(&old->hits, memory_order_relaxed);
        if (hits < s->eviction->max_hits)
            hits++;
        atomic_store_explicit(&e->hits, hits, memory_order_relaxed);
        if (s->hand == ref_of(s, old))
            s->hand = ref_of(s, e);
        strata__queue_swap(s, queue_number(old), old, e);
        if (s->shares != NULL) {
            strata__share_out(s, old);
            strata__share_in(s, e);
        }
        if (s->eviction->wants_touches && (e->kind & KIND_NEGATIVE) == 0)
            s->eviction->touch(s, e, hash);
        if (s->eviction->replaced != NULL && (e->kind & KIND_NEGATIVE) == 0)
            s->eviction->replaced(s, e);
    } else {
        strata__memory_leave(s, old);
        stand(s, e, hash, resident);
    }
    strata__retire(s, old);
}

/* Count what a heap value takes before its room is made: what else grows meanwhile must leave that much. */
static void count_heap(struct shard *s, uint64_t cost)
{
    s->bytes += cost;
    s->heap_bytes += cost;
}

/* A block for it, a place in the index, and budget for what it has on the heap; NULL where there is none to be had.
 * *old: the entry that it replaces. */
static struct entry *find_room(struct shard *s, const struct incoming *in, struct entry **old)
{
    const strata_op *op = in->op;
    int negative = (in->kind & KIND_NEGATIVE) != 0;
    *old = strata__index_find(s, op->hash, op->space, op->key.data, op->key.size);
    if (*old == NULL && !negative && s->eviction->missed != NULL) {
        s->missing = op->hash;
        s->missing_waits = 1;
        if (!s->eviction->told_late)
            strata__memory_tell_policy(s);
    }
    if (negative)
        strata__memory_negative_room(s, s->limit_entries != UINT64_MAX ? 1 : in->bytes / UNIT);
    struct entry *e = strata__memory_room(s, in, *old == NULL);
    if (*old != NULL) /* making room may have pushed it out */
        *old = strata__index_find(s, op->hash, op->space, op->key.data, op->key.size);
    while (e != NULL && *old == NULL && strata__index_reserve(s) != 0)
        if (!strata__memory_evict_one(s, negative)) {
            strata__slab_free(s, e);
            e = NULL;
        }
    return e;
}

/* Something is there, and stays. */
static int lost(strata_op *op)
{
    op->flags |= STRATA_OP_LOST;
    return STRATA_AGAIN;
}

static int refuse_locked(struct shard *s, strata_op *op)
{
    struct entry *old = strata__index_find(s, op->hash, op->space, op->key.data, op->key.size);
    if (old != NULL && (op->flags & STRATA_OP_NONE) != 0)
        return lost(op);
    if (old != NULL)
        strata__memory_drop_locked(s, old, op->hash); /* what was here is not right any more */
    s->rejections++;
    return STRATA_AGAIN;
}

/* Room is made only for who comes in place of another, or of none, as it wants it. */
static int check_place_locked(struct shard *s, strata_op *op)
{
    int there = strata__index_find(s, op->hash, op->space, op->key.data, op->key.size) != NULL;
    if (op->flags & STRATA_OP_NONE)
        return there ? lost(op) : STRATA_OK;
    return there ? STRATA_OK : STRATA_MISS;
}

/* What the policy is to know of the put that is under way. */
static inline void weigh_put(struct shard *s, const strata_op *op)
{
    if (s->weighing == NULL)
        return;
    s->weighing->cost_us = op->meta.cost_us;
    s->weighing->now_ms = op->now_ms;
}

static int put_locked(struct shard *s, const struct incoming *in)
{
    strata_op *op = in->op;
    int room = HEAP_ROOM_MADE;
    index_fetch(s, op->hash);
    weigh_put(s, op);
    if (__builtin_expect((op->flags & (STRATA_OP_UPDATE | STRATA_OP_NONE)) != 0, 0)) {
        int status = check_place_locked(s, op);
        if (status != STRATA_OK)
            return status;
    }
    /* Values that came free go back without the lock, a few at a time. */
    while (in->heap != NULL && (room = strata__memory_heap_room(s, in)) == HEAP_ROOM_LATER) {
        strata__shard_unlock(s);
        os_lock_take(&s->lock);
        weigh_put(s, op); /* others were here */
    }
    if (room != HEAP_ROOM_MADE)
        return refuse_locked(s, op);
    struct entry *old;
    count_heap(s, in->heap_cost);
    struct entry *e = find_room(s, in, &old);
    if (e == NULL) {
        count_heap(s, -in->heap_cost);
        return refuse_locked(s, op);
    }
    fill(e, in);
    strata__memory_tell_policy(s); /* not before: what it asks in memory is on its way here meanwhile */
    int resident = is_resident(s, in, e, old);
    if (old != NULL) {
        replace(s, old, e, op->hash, resident);
    } else {
        strata__index_add(s, op->hash, ref_of(s, e));
        stand(s, e, op->hash, resident);
    }
    int64_t gone = strata__entry_gone_at(s->layer, e);
    if (gone < s->next_expiry)
        s->next_expiry = gone;
    s->puts++;
    /* Values on the heap take no room from the slab, so nothing else would ask for theirs. */
    if (s->retired_heap >= s->kept_heap + DEAD_VALUES / 2)
        strata__retire_collect(s, 0);
    return STRATA_OK;
}

/* Large values and objects stay on the heap, shared with whoever holds them; the rest is copied. */
static int prepare(struct memory *m, strata_op *op, struct incoming *in)
{
    struct strata_value *v = op->value;
    size_t value_bytes = v != NULL ? v->size : 0;
    in->op = op;
    in->kind = strata__meta_kind(m, &op->meta, &in->ttl_class);
    if (m->demotes && (op->flags & STRATA_OP_BACKED) != 0)
        in->kind |= KIND_BACKED;
    if (op->meta.tag_count != 0 || op->tags != NULL) {
        in->kind |= KIND_TAGGED;
        in->tag_bytes = sizeof(struct entry_tags) + (op->tags != NULL ? round8(op->tags->size) : 0);
    }
    if (v != NULL && (v->object != NULL || value_bytes > m->heap_threshold || op->meta.tag_count > TAGS_INLINE)) {
        in->heap = strata__value_is_heap(v) ? v : strata__memory_pinned_heap(v);
        if (in->heap == NULL) { /* bytes that are somebody else's: keep a copy */
            in->heap = strata__value_copy(m->mem, v->data, v->size);
            if (in->heap == NULL)
                return STRATA_ENOMEM;
        } else {
            strata_value_ref(in->heap);
        }
        in->heap_cost = strata__value_cost(in->heap);
        in->kind |= KIND_HEAP;
        value_bytes = sizeof(struct heap_ref);
    }
    size_t used = sizeof(struct entry) + round8(op->key.size) + meta_bytes(in->kind) + in->tag_bytes + value_bytes;
    in->bytes = round8(used);
    in->slack = in->bytes - used;
    return STRATA_OK;
}

/* A value on the heap that could have its room, if need be, without what eviction may not choose. */
static int may_fit(const struct shard *s, uint64_t heap_cost)
{
    if (heap_cost > s->limit_bytes / 2)
        return 0;
    if (heap_cost == 0 || (s->aside == 0 && s->shares == NULL))
        return 1;
    uint64_t kept = s->resident_bytes + (s->shares != NULL ? strata__share_kept(s) : 0);
    return heap_cost + kept <= s->limit_bytes / 8 * 7; /* index and ghost take their part */
}

void strata__memory_put(struct memory *m, strata_op *op)
{
    struct shard *s = &m->shards[op->hash & m->shard_mask];
    struct incoming in = { 0 };
    if (m->eviction->wants_touches) {
        struct reclaim_record *r = reclaim_self();
        if (r != NULL)
            strata__memory_drain_touches(m, r); /* so that with one thread the order is exact */
    }
    ghost_fetch(s, op->hash);
    int status = prepare(m, op, &in);
    os_lock_take(&s->lock);
    if (status == STRATA_OK && in.bytes <= strata__slab_max(m) && op->key.size <= MOST_KEY_BYTES &&
        may_fit(s, in.heap_cost)) {
        status = put_locked(s, &in);
    } else {
        int refused = refuse_locked(s, op);
        status = status == STRATA_OK ? refused : status;
    }
    strata__shard_unlock(s);
    if (in.heap != NULL)
        strata_value_unref(in.heap);
    strata_op_done(op, status);
}

void strata__memory_remove(struct memory *m, strata_op *op)
{
    struct shard *s = &m->shards[op->hash & m->shard_mask];
    os_lock_take(&s->lock);
    struct entry *e = strata__index_find(s, op->hash, op->space, op->key.data, op->key.size);
    if (e != NULL) {
        strata__memory_drop_locked(s, e, op->hash);
        s->removes++;
    }
    if (s->retired_heap >= s->kept_heap + DEAD_VALUES / 2)
        strata__retire_collect(s, 0);
    else if (s->retired_count >= s->kept + strata__memory_batch(s) + 128)
        strata__retire_relieve(s);
    strata__shard_unlock(s);
    strata_op_done(op, e != NULL ? STRATA_OK : STRATA_MISS);
}
