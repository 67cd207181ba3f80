/* memory_write.c - putting entries in and taking them out.
 *
 * One put is one critical section of the shard: room, copy, publish.  What a reader can see is always whole: the index
 * slot is written last.  An overwritten entry gives its place in the policy's queue to the new one. */
#include <string.h>

#include "src/base/mem.h"
#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_put.h"
#include "src/layer/memory/memory_queue.h"
#include "src/layer/plain_put.h"

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
    uint32_t flags = in->op != NULL ? in->op->flags & (STRATA_OP_RESIDENT | STRATA_OP_EVICTABLE) : 0;
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

/* What few have. */
static void fill_more(struct entry *e, const struct incoming *in)
{
    if (in->kind & (KIND_META | KIND_FULL))
        strata__meta_store(e, &in->op->meta);
    if (in->kind & KIND_TAGGED)
        fill_tags((struct entry_tags *)(uintptr_t)entry_tags(e), in->op);
    if (in->heap != NULL) {
        struct heap_ref ref = { strata_value_ref(in->heap), in->heap_cost };
        memcpy(entry_value(e), &ref, sizeof ref);
    }
}

static void fill(struct entry *e, const struct incoming *in)
{
    uint32_t w = atomic_load_explicit(&e->block, memory_order_relaxed) & ~(uint32_t)(BLOCK_QUEUE | BLOCK_SLACK);
    size_t slack = (size_t)(w & BLOCK_UNITS) * UNIT - in->used;
    atomic_store_explicit(&e->block, w | (uint32_t)slack << BLOCK_SLACK_SHIFT, memory_order_relaxed);
    atomic_store_explicit(&e->position, in->position, memory_order_relaxed);
    e->deadline = in->deadline;
    e->space = in->space;
    e->key_size = (uint16_t)in->key.size;
    e->kind = in->kind;
    atomic_store_explicit(&e->hits, 0, memory_order_relaxed);
    e->extra = in->extra;
    memcpy(entry_key(e), in->key.data, in->key.size);
    if (__builtin_expect((in->kind & (KIND_META | KIND_FULL | KIND_TAGGED | KIND_HEAP)) != 0, 0))
        fill_more(e, in);
    if (in->value.size != 0)
        memcpy(entry_value(e), in->value.data, in->value.size);
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
    int negative = (in->kind & KIND_NEGATIVE) != 0;
    *old = strata__index_find(s, in->hash, in->space, in->key.data, in->key.size);
    if (*old == NULL && !negative && s->eviction->missed != NULL) {
        s->missing = in->hash;
        s->missing_waits = 1;
        if (!s->eviction->told_late)
            strata__memory_tell_policy(s);
    }
    if (negative)
        strata__memory_negative_room(s, s->limit_entries != UINT64_MAX ? 1 : in->bytes / UNIT);
    struct entry *e = strata__memory_room(s, in, *old == NULL);
    if (*old != NULL) /* making room may have pushed it out */
        *old = strata__index_find(s, in->hash, in->space, in->key.data, in->key.size);
    while (e != NULL && *old == NULL && index_reserve(s) != 0)
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

static int refuse_locked(struct shard *s, const struct incoming *in)
{
    struct entry *old = strata__index_find(s, in->hash, in->space, in->key.data, in->key.size);
    if (old != NULL && in->op != NULL && (in->op->flags & STRATA_OP_NONE) != 0)
        return lost(in->op);
    if (old != NULL)
        strata__memory_drop_locked(s, old, in->hash); /* what was here is not right any more */
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
static inline void weigh_put(struct shard *s, const struct incoming *in)
{
    if (__builtin_expect(s->weighing == NULL, 1))
        return;
    s->weighing->cost_us = in->op->meta.cost_us;
    s->weighing->now_ms = in->op->now_ms;
}

static int put_locked(struct shard *s, const struct incoming *in)
{
    int room = HEAP_ROOM_MADE;
    weigh_put(s, in);
    if (__builtin_expect(in->op != NULL && (in->op->flags & (STRATA_OP_UPDATE | STRATA_OP_NONE)) != 0, 0)) {
        int status = check_place_locked(s, in->op);
        if (status != STRATA_OK)
            return status;
    }
    /* Values that came free go back without the lock, a few at a time. */
    while (in->heap != NULL && (room = strata__memory_heap_room(s, in)) == HEAP_ROOM_LATER) {
        shard_unlock(s);
        os_lock_take(&s->lock);
        weigh_put(s, in); /* others were here */
    }
    if (room != HEAP_ROOM_MADE)
        return refuse_locked(s, in);
    struct entry *old;
    count_heap(s, in->heap_cost);
    struct entry *e = find_room(s, in, &old);
    if (e == NULL) {
        count_heap(s, -in->heap_cost);
        return refuse_locked(s, in);
    }
    fill(e, in);
    strata__memory_tell_policy(s); /* not before: what it asks in memory is on its way here meanwhile */
    int resident = is_resident(s, in, e, old);
    if (old != NULL) {
        replace(s, old, e, in->hash, resident);
    } else {
        strata__index_add(s, in->hash, ref_of(s, e));
        stand(s, e, in->hash, resident);
    }
    if (in->gone_at < s->next_expiry)
        s->next_expiry = in->gone_at;
    s->puts++;
    /* Values on the heap take no room from the slab, so nothing else would ask for theirs. */
    if (s->retired_heap >= s->kept_heap + DEAD_VALUES / 2)
        strata__retire_collect(s, 0);
    return STRATA_OK;
}

/* Where the value stands, and how large it all is with so much between key and value, and so much instead of a value's bytes. */
static inline void lay_out(struct incoming *in, size_t between, size_t instead, uint16_t ttl_class)
{
    size_t offset = sizeof(struct entry) + round8(in->key.size) + between;
    in->extra = (uint16_t)(offset / UNIT | (unsigned)ttl_class << TTL_CLASS_SHIFT);
    in->used = offset + instead + in->value.size;
    in->bytes = round8(in->used);
}

/* It stays on the heap, shared with whoever holds it. */
static int keep_on_heap(struct memory *m, struct incoming *in, struct strata_value *v)
{
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
    return STRATA_OK;
}

/* Large values and objects stay on the heap; the rest is copied. */
static int prepare(struct memory *m, strata_op *op, struct incoming *in)
{
    struct strata_value *v = op->value;
    uint16_t ttl_class;
    size_t tag_bytes = 0;
    *in = (struct incoming){ .hash = op->hash, .key = op->key, .op = op, .position = op->meta.position };
    in->space = (uint16_t)op->space;
    in->kind = strata__meta_kind(m, &op->meta, &ttl_class);
    if (m->demotes && (op->flags & STRATA_OP_BACKED) != 0)
        in->kind |= KIND_BACKED;
    if (op->meta.tag_count != 0 || op->tags != NULL) {
        in->kind |= KIND_TAGGED;
        tag_bytes = sizeof(struct entry_tags) + (op->tags != NULL ? round8(op->tags->size) : 0);
    }
    strata__meta_deadlines(&op->meta, in->kind, &in->deadline, &in->gone_at);
    if (v != NULL && (v->object != NULL || v->size > m->heap_threshold || op->meta.tag_count > TAGS_INLINE)) {
        int status = keep_on_heap(m, in, v);
        lay_out(in, meta_bytes(in->kind), sizeof(struct heap_ref) + tag_bytes, ttl_class);
        return status;
    }
    if (v != NULL)
        in->value = strata_bytes(v->data, v->size);
    int none = (in->kind & KIND_NEGATIVE) != 0;
    lay_out(in, meta_bytes(in->kind) + (none ? 0 : tag_bytes), none ? tag_bytes : 0, ttl_class);
    return STRATA_OK;
}

/* A value on the heap that could have its room, if need be, without what eviction may not choose. */
static int may_fit(const struct shard *s, uint64_t heap_cost)
{
    if (heap_cost == 0)
        return 1;
    if (heap_cost > s->limit_bytes / 2)
        return 0;
    if (s->aside == 0 && s->shares == NULL)
        return 1;
    uint64_t kept = s->resident_bytes + (s->shares != NULL ? strata__share_kept(s) : 0);
    return heap_cost + kept <= s->limit_bytes / 8 * 7; /* index and ghost take their part */
}

static inline int put_in_shard(struct memory *m, struct shard *s, const struct incoming *in)
{
    os_lock_take(&s->lock);
    int fits = in->bytes <= strata__slab_max(m) && in->key.size <= MOST_KEY_BYTES && may_fit(s, in->heap_cost);
    int status = __builtin_expect(fits, 1) ? put_locked(s, in) : refuse_locked(s, in);
    shard_unlock(s);
    return status;
}

static struct shard *shard_of_put(struct memory *m, uint64_t hash)
{
    struct shard *s = &m->shards[hash & m->shard_mask];
    if (__builtin_expect(m->wants_touches, 0)) {
        struct reclaim_record *r = reclaim_self();
        if (r != NULL)
            strata__memory_drain_touches(m, r, 1); /* so that the order in which one thread used them is exact */
    }
    ghost_fetch(s, hash);
    return s;
}

void strata__memory_put(struct memory *m, strata_op *op)
{
    struct shard *s = shard_of_put(m, op->hash);
    struct incoming in;
    int status = prepare(m, op, &in);
    if (status == STRATA_OK) {
        status = put_in_shard(m, s, &in);
    } else {
        os_lock_take(&s->lock);
        (void)refuse_locked(s, &in);
        shard_unlock(s);
    }
    if (in.heap != NULL)
        strata_value_unref(in.heap);
    strata_op_done(op, status);
}

int strata__memory_put_plain(strata_layer *layer, const void *what)
{
    const struct plain_put *put = what;
    struct memory *m = (struct memory *)(void *)layer;
    struct incoming in;
    uint16_t ttl_class = 0;
    if (put->value.size > m->heap_threshold || m->eviction == &strata__evict_cost ||
        put->life != atomic_load_explicit(&m->life, memory_order_relaxed) ||
        (put->ttl_ms != STRATA_FOREVER && (ttl_class = strata__meta_class(m, put->ttl_ms)) == 0))
        return STRATA_EUNSUPPORTED;
    struct shard *s = shard_of_put(m, put->hash);
    in.hash = put->hash;
    in.key = put->key;
    in.value = put->value;
    in.heap = NULL;
    in.heap_cost = 0;
    in.deadline = put->born_ms;
    in.gone_at = INT64_MAX;
    if (ttl_class != 0)
        in.gone_at = in.deadline = put->born_ms + put->ttl_ms;
    in.op = NULL;
    in.position = put->position;
    in.space = (uint16_t)put->space;
    in.kind = ttl_class != 0 ? 0 : KIND_FOREVER;
    lay_out(&in, 0, 0, ttl_class);
    return put_in_shard(m, s, &in);
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
    shard_unlock(s);
    strata_op_done(op, e != NULL ? STRATA_OK : STRATA_MISS);
}
