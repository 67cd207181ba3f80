/* policy_simple.c - FIFO, LRU and SIEVE: one queue each.
 *
 * SIEVE: Zhang et al., "SIEVE is simpler than LRU", NSDI 2024.  A hand walks from the oldest entry towards the newest; one
 * that was read since is spared and unmarked where it stands, the first other one leaves. */
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_queue.h"

enum { ONLY = QUEUE_FIRST };

static void insert(struct shard *s, struct entry *e, uint64_t hash)
{
    (void)hash;
    strata__queue_push_head(s, ONLY, e);
}

static void removed(struct shard *s, struct entry *e) { strata__queue_unlink(s, ONLY, e); }

static struct entry *oldest(struct shard *s)
{
    uint32_t ref = s->queues[ONLY].tail;
    if (ref == 0)
        return NULL;
    struct entry *e = entry_at(s, ref);
    strata__queue_unlink(s, ONLY, e);
    return e;
}

static void to_front(struct shard *s, struct entry *e, uint64_t hash)
{
    (void)hash;
    strata__queue_unlink(s, ONLY, e);
    strata__queue_push_head(s, ONLY, e);
}

static void sieve_removed(struct shard *s, struct entry *e)
{
    if (s->hand == ref_of(s, e))
        s->hand = e->prev;
    strata__queue_unlink(s, ONLY, e);
}

static struct entry *sieve_victim(struct shard *s)
{
    uint32_t ref = s->hand != 0 ? s->hand : s->queues[ONLY].tail;
    if (ref == 0)
        return NULL;
    /* Readers mark on while we unmark: two rounds are enough, then whoever is under the hand leaves. */
    uint64_t most = s->queues[ONLY].count * 2;
    struct entry *e = entry_at(s, ref);
    while (atomic_load_explicit(&e->hits, memory_order_relaxed) != 0 && most-- > 0) {
        atomic_store_explicit(&e->hits, 0, memory_order_relaxed);
        ref = e->prev != 0 ? e->prev : s->queues[ONLY].tail;
        e = entry_at(s, ref);
    }
    s->hand = e->prev;
    strata__queue_unlink(s, ONLY, e);
    return e;
}

const struct eviction_ops strata__evict_fifo = {
    .name = "fifo",
    .insert = insert,
    .victim = oldest,
    .removed = removed,
};

const struct eviction_ops strata__evict_lru = {
    .name = "lru",
    .wants_touches = 1,
    .insert = insert,
    .touch = to_front,
    .victim = oldest,
    .removed = removed,
};

const struct eviction_ops strata__evict_sieve = {
    .name = "sieve",
    .max_hits = 1,
    .insert = insert,
    .victim = sieve_victim,
    .removed = sieve_removed,
};
