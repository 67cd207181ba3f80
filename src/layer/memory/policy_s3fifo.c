/* policy_s3fifo.c - S3-FIFO: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.
 *
 * New entries stand in the small queue (a tenth).  Leaving it, those read twice or more go to the main queue with their
 * counter at zero; the others leave, and the ghost remembers their fingerprints.  Who comes back while the ghost knows
 * it goes to the main queue at once.  The main queue is a CLOCK: an entry with hits goes round once more for each. */
#include "src/layer/memory/memory_queue.h"

enum { SMALL = QUEUE_FIRST, MAIN = QUEUE_FIRST + 1 };
enum { PROMOTE_AT = 2, MOST_HITS = 3 };

static void missed(struct shard *s, uint64_t hash)
{
    s->ghost_hit = strata__ghost_take(&s->ghost, ghost_fingerprint(hash));
}

static void insert(struct shard *s, struct entry *e, uint64_t hash)
{
    (void)hash;
    unsigned queue = s->ghost_hit ? MAIN : SMALL;
    queue_push(s, &s->queues[queue], queue, e);
    s->ghost_hit = 0;
}

static void removed(struct shard *s, struct entry *e) { queue_unlink(s, &s->queues[queue_number(e)], e); }

/* By count the main queue's share is exact; by bytes it is nine tenths of what is in. */
static int main_is_over(const struct shard *s)
{
    uint64_t small = s->queues[SMALL].weight, main = s->queues[MAIN].weight;
    if (s->limit_entries != UINT64_MAX)
        return main > shard_fits(s) - shard_fits(s) / 10;
    return main > (small + main) / 10 * 9;
}

/* The ghost knows as many keys as nine tenths of what fits.  The victim, which has just left, did. */
static uint64_t ghost_capacity(const struct shard *s)
{
    uint64_t entries = s->limit_entries != UINT64_MAX ? shard_fits(s) : s->entries + 1;
    return entries * 9 / 10;
}

static struct entry *from_small(struct shard *s)
{
    while (s->queues[SMALL].tail != 0) {
        struct entry *e = queue_pop_tail(s, &s->queues[SMALL]);
        if (atomic_load_explicit(&e->hits, memory_order_relaxed) < PROMOTE_AT) {
            s->from_small = 1;
            return e;
        }
        atomic_store_explicit(&e->hits, 0, memory_order_relaxed);
        queue_push(s, &s->queues[MAIN], MAIN, e);
    }
    return NULL;
}

static struct entry *from_main(struct shard *s)
{
    /* Readers count on while we count down: bounded all the same. */
    uint64_t most = s->queues[MAIN].count * (MOST_HITS + 1);
    while (s->queues[MAIN].tail != 0) {
        struct entry *e = queue_pop_tail(s, &s->queues[MAIN]);
        uint8_t hits = atomic_load_explicit(&e->hits, memory_order_relaxed);
        if (hits == 0 || most-- == 0)
            return e;
        atomic_store_explicit(&e->hits, (uint8_t)(hits - 1), memory_order_relaxed);
        queue_push(s, &s->queues[MAIN], MAIN, e);
    }
    return NULL;
}

static struct entry *victim(struct shard *s)
{
    struct entry *e = NULL;
    s->from_small = 0;
    if (!main_is_over(s))
        e = from_small(s);
    return e != NULL ? e : from_main(s);
}

static struct entry *likely(struct shard *s)
{
    int main = main_is_over(s);
    uint32_t ref = s->queues[main ? MAIN : SMALL].tail;
    if (ref == 0)
        return NULL;
    struct entry *e = entry_at(s, ref);
    int goes_on = atomic_load_explicit(&e->hits, memory_order_relaxed) >= (main ? 1 : PROMOTE_AT);
    return goes_on && e->prev != 0 ? entry_at(s, e->prev) : e;
}

static void evicted(struct shard *s, uint64_t hash)
{
    if (s->from_small)
        strata__ghost_add(s, ghost_fingerprint(hash), ghost_capacity(s));
}

const struct eviction_ops strata__evict_s3fifo = {
    .name = "s3-fifo",
    .max_hits = MOST_HITS,
    .told_late = 1,

    .insert = insert,
    .missed = missed,
    .victim = victim,
    .likely = likely,
    .evicted = evicted,
    .removed = removed,
};
