/* memory_touch.c - policies that order by use hear of hits in batches: the thread remembers hashes, for entries may go meanwhile.
 *
 * They are told before the thread puts anything, so that what it used is in order when something has to leave, and when it can
 * remember no more.  That is within a hit, which waits for nobody: where a shard is locked just then, its hits are not told. */
#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"

void strata__memory_touched(struct memory *m, struct reclaim_record *r, uint64_t hash)
{
    struct reclaim_touches *t = reclaim_touches_of(r, m);
    if (t == NULL) {
        t = reclaim_touches_of(r, NULL);
        if (t == NULL) /* very many layers in turn: the one that waited longest loses its hints */
            t = &r->touches[r->touch_turn++ % RECLAIM_TOUCH_OWNERS];
        t->count = 0;
        atomic_store_explicit(&t->owner, m, memory_order_relaxed);
    }
    if (t->count == RECLAIM_TOUCHES)
        strata__memory_drain_touches(m, r, 0);
    t->hashes[t->count++] = hash;
}

void strata__memory_drain_touches(struct memory *m, struct reclaim_record *r, int waits)
{
    struct reclaim_touches *t = reclaim_touches_of(r, m);
    if (t == NULL)
        return;
    uint32_t n = t->count;
    t->count = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t hash = t->hashes[i];
        struct shard *s = &m->shards[hash & m->shard_mask];
        if (waits)
            os_lock_take(&s->lock);
        else if (!os_lock_try(&s->lock))
            continue;
        struct entry *e = strata__index_find_hash(s, hash);
        if (e != NULL && queue_number(e) == QUEUE_HELD)
            strata__share_return(s, e, hash);
        if (e != NULL && in_policy(e))
            s->eviction->touch(s, e, hash);
        os_lock_give(&s->lock);
    }
}
