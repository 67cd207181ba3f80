/* policy_lfu.c - LFU with ageing, in O(1).
 *
 * Sixteen levels; an entry's level is about the logarithm of how often it was read: a read lifts it from level n to n + 1
 * with probability 2^-n (Morris, "Counting large numbers of events in small registers", 1978).  The victim is the least
 * recently lifted entry of the lowest level.  Ageing: each insert lowers the least recently lifted entry of one level,
 * taken in turn, so that what was popular once sinks unless it is read again. */
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_queue.h"

enum { LEVELS = QUEUE_OWN_END - QUEUE_FIRST };

static unsigned level_of(const struct entry *e)
{
    uint32_t w = atomic_load_explicit(&e->block, memory_order_relaxed);
    return ((w & BLOCK_QUEUE) >> BLOCK_QUEUE_SHIFT) - QUEUE_FIRST;
}

static void move(struct shard *s, struct entry *e, unsigned from, unsigned to)
{
    strata__queue_unlink(s, QUEUE_FIRST + from, e);
    strata__queue_push_head(s, QUEUE_FIRST + to, e);
}

static void age(struct shard *s)
{
    s->turn = s->turn + 1 < LEVELS ? s->turn + 1 : 1;
    uint32_t ref = s->queues[QUEUE_FIRST + s->turn].tail;
    if (ref != 0)
        move(s, entry_at(s, ref), s->turn, s->turn - 1);
}

static void insert(struct shard *s, struct entry *e, uint64_t hash)
{
    (void)hash;
    strata__queue_push_head(s, QUEUE_FIRST, e);
    age(s);
}

static void touch(struct shard *s, struct entry *e, uint64_t hash)
{
    (void)hash;
    unsigned level = level_of(e);
    s->random = strata__mix64(s->random + 0x9e3779b97f4a7c15u);
    int lift = level + 1 < LEVELS && (s->random & ((1u << level) - 1)) == 0;
    move(s, e, level, lift ? level + 1 : level);
}

static struct entry *victim(struct shard *s)
{
    for (unsigned level = 0; level < LEVELS; level++) {
        uint32_t ref = s->queues[QUEUE_FIRST + level].tail;
        if (ref == 0)
            continue;
        struct entry *e = entry_at(s, ref);
        strata__queue_unlink(s, QUEUE_FIRST + level, e);
        return e;
    }
    return NULL;
}

static void removed(struct shard *s, struct entry *e) { strata__queue_unlink(s, QUEUE_FIRST + level_of(e), e); }

const struct eviction_ops strata__evict_lfu = {
    .name = "lfu",
    .wants_touches = 1,
    .insert = insert,
    .touch = touch,
    .victim = victim,
    .removed = removed,
};
