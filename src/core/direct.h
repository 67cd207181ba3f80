/* direct.h - a plain get without a flight, where the stack is one layer that answers on the caller's thread or one of its own:
 * what the blocking one (get_direct.c) and the asynchronous one (async_direct.c) share. */
#ifndef STRATA_CORE_DIRECT_H
#define STRATA_CORE_DIRECT_H
#include "src/core/flight.h"

enum { DIRECT_SAMPLE_MASK = 15 };

/* Acquire: where a write has left the table, what it wrote is seen. */
static inline int direct_is_busy(const struct root *root, uint64_t hash)
{
    return atomic_load_explicit(&stripe_of(root, hash)->count, memory_order_acquire) != 0;
}

/* Reading the clock twice takes as long as a tenth of a get of a small value: one in sixteen of a thread is timed. */
static inline int direct_is_timed(const strata *cache)
{
    const _Atomic(uint64_t) *begun = &cache->cells[counter_index()].words[HOT_BEGUN];
    return (atomic_load_explicit(begun, memory_order_relaxed) & DIRECT_SAMPLE_MASK) == 1;
}

/* What came of it, for the layer: in the thread's cell, where a layer that is not instant counts nothing else. */
static inline void direct_count(strata *cache, struct layer_slot *slot, const strata_op *op)
{
    if (op->status < 0 || __builtin_expect(op->err->status < 0, 0))
        strata__op_counted(cache, slot, op);
    else
        counter_raise(cache->cells, counter_index(), strata__op_found(op) ? HOT_FOUND : HOT_MISSED);
}

/* Found, ours or placed in our time by its layer (life 0), not banned, whole bytes, fresh; and nobody listens. */
static inline int direct_is_plain(const strata *cache, const strata_op *op)
{
    const strata_meta *meta = &op->meta;
    return op->status == STRATA_OK && op->found != NULL && (meta->life == cache->root->life || meta->life == 0) &&
           meta->codec == 0 && !meta->negative && meta->tag_count == 0 && op->tags == NULL && meta->slide_ms == 0 &&
           meta->position >= __atomic_load_n(&cache->lines.plain, __ATOMIC_ACQUIRE) &&
           meta->position >= atomic_load_explicit(&cache->min_position, memory_order_acquire) &&
           strata__is_fresh(meta, meta->born_ms, op->now_ms) && !event_wanted(cache->root, STRATA_EVENT_HIT);
}

/* Any other answer.  May call a codec and listeners. */
int strata__direct_judge(strata *cache, strata_slice key, strata_op *op, strata_value **out, strata_error *err);

/* A get whose queue, done and ctx are the caller's, where that can be: STRATA_PENDING, or < 0.  NOT_DIRECT: nothing was done,
 * take the general way.  The arguments were checked. */
int strata__get_async_direct(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx,
                             strata_error *err);

/* As strata_get_many(), where cache->direct; or NOT_DIRECT. */
int strata__get_many_direct(strata *cache, strata_item *items, size_t count, strata_error *err);

#endif /* STRATA_CORE_DIRECT_H */
