/* memory_resident.c - entries that eviction does not choose.
 *
 * They stand in a queue of their own, where no policy looks, so that a policy orders the others as if there were no such thing,
 * and a hit knows nothing of it.  How much of the budget they may be is bounded: what is more is held as any entry is, and
 * counted.  Where the bound comes down, with a budget that shrinks for example, the oldest become the policy's again. */
#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_queue.h"

/* So many of them, and so many bytes, are not too much. */
static int within(const struct shard *s, uint64_t count, uint64_t bytes)
{
    if (s->limit_entries != UINT64_MAX && count > shard_fits_all(s) * s->resident_ppm / WHOLE_PPM)
        return 0;
    return bytes <= s->limit_bytes * s->resident_ppm / WHOLE_PPM;
}

int strata__resident_fits(const struct shard *s, const struct entry *e, const struct entry *old)
{
    uint64_t count = s->queues[QUEUE_RESIDENT].count + 1, bytes = s->resident_bytes + entry_bytes(e);
    return old != NULL ? within(s, count - 1, bytes - entry_bytes(old)) : within(s, count, bytes);
}

void strata__resident_in(struct shard *s, struct entry *e)
{
    strata__queue_push_head(s, QUEUE_RESIDENT, e);
    s->resident_bytes += entry_bytes(e);
    s->aside++;
}

void strata__resident_out(struct shard *s, struct entry *e)
{
    strata__queue_unlink(s, QUEUE_RESIDENT, e);
    s->resident_bytes -= entry_bytes(e);
    s->aside--;
}

void strata__policy_return(struct shard *s, struct entry *e, uint64_t hash)
{
    int ghost_hit = s->ghost_hit;
    uint32_t cost_us = s->weighing != NULL ? s->weighing->cost_us : 0;
    s->ghost_hit = 0;
    if (s->weighing != NULL)
        s->weighing->cost_us = 0; /* what it has cost is not known any more */
    s->eviction->insert(s, e, hash);
    s->ghost_hit = ghost_hit;
    if (s->weighing != NULL)
        s->weighing->cost_us = cost_us;
}

int strata__resident_fit(struct shard *s, uint32_t most)
{
    const struct queue *q = &s->queues[QUEUE_RESIDENT];
    for (; most > 0 && q->tail != 0 && !within(s, q->count, s->resident_bytes); most--) {
        struct entry *e = entry_at(s, q->tail);
        strata__resident_out(s, e);
        strata__policy_return(s, e, strata__entry_hash(s->layer, e));
        s->unkept++;
    }
    return q->tail != 0 && !within(s, q->count, s->resident_bytes);
}
