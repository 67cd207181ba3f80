/* memory_shrink.c - another budget while the layer is in use.
 *
 * More is a number.  Less takes steps, one chunk of one shard under one hold of its lock: those whom the policy would evict next leave
 * until a chunk's worth of room is free, then everybody who still stands in the chunk of the last of them, and the chunk's pages
 * go back to the system.  The limit follows the bytes down, a chunk at a time, so that no put finds itself far above it and has
 * to make all that room alone.  Hits go on meanwhile: nothing of this is in their way.
 *
 * What goes back: the whole pages of each chunk, which is all of it but a page that neighbours share; where that is a part of a huge
 * page, the kernel frees it when it splits that page, which it does once memory is short.  Values on the heap go back to the
 * allocator, and so do the index and the ghost when they are more than some three times as large as they need be. */
#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"
#include "src/os/os_clock.h"

enum { STEP_EVICTIONS = 256, SHRINK_US = 50000, MOST_STUCK = 4 };

enum outcome { MADE, GO_ON, STUCK };

/* Room for one chunk less.  The shard's lock is held. */
static enum outcome free_chunk(struct shard *s)
{
    uint64_t chunk = s->layer->chunk_bytes, left = 0, leaving = 0; /* units; bytes on the heap */
    if (strata__slab_give(s))
        return MADE;
    size_t freed = strata__retire_collect(s, 0);
    if (freed != 0 && strata__slab_give(s))
        return MADE;
    if (s->dead_count == DEAD_VALUES)
        return GO_ON; /* they go back without the lock */
    if (strata__memory_join_chunk(s))
        return MADE;
    for (int n = 0; n < STEP_EVICTIONS && s->bytes > s->limit_bytes + leaving; n++) {
        struct entry *e = strata__memory_evict(s);
        if (e == NULL)
            return freed != 0 || strata__retire_collect(s, 0) != 0 ? GO_ON : STUCK;
        left += entry_units(e);
        leaving += (e->kind & KIND_HEAP) != 0 ? entry_heap(e)->cost : 0;
        if ((left + s->free_units) * UNIT < chunk)
            continue;
        strata__memory_empty_chunk(s, e);
        return strata__slab_give(s) ? MADE : STUCK; /* what is pinned there stays */
    }
    return strata__retire_collect(s, 0) != 0 || s->bytes <= s->limit_bytes ? GO_ON : STUCK;
}

/* 1: the shard has its new limit, and keeps it. */
static int step(struct shard *s, uint64_t target, int *stuck)
{
    uint64_t chunk = s->layer->chunk_bytes;
    os_lock_take(&s->lock);
    uint64_t next = s->bytes > chunk ? s->bytes - chunk : 0;
    if (target > s->limit_bytes || next < target)
        next = target;
    if (target > s->limit_bytes || next < s->limit_bytes)
        s->limit_bytes = next;
    s->share_ready = UINT64_MAX;
    int more = strata__resident_fit(s, STEP_EVICTIONS);
    if (s->bytes > s->limit_bytes) {
        s->bytes_fit = s->entries;
        strata__index_fit(s);
        strata__ghost_fit(s, s->entries);
        if (s->bytes > s->limit_bytes)
            *stuck += free_chunk(s) == STUCK;
    }
    int over = s->limit_bytes == target && s->bytes <= target && !more;
    shard_unlock(s);
    return over;
}

void strata__memory_shrink(struct memory *m, uint64_t bytes)
{
    int64_t end_us = 0;
    for (size_t i = 0; i < m->shard_count; i++) {
        struct shard *s = &m->shards[(m->shrink_shard + i) % m->shard_count];
        int stuck = 0;
        while (!step(s, bytes / m->shard_count, &stuck) && stuck < MOST_STUCK) {
            int64_t now_us = strata__os_now_us();
            if (end_us == 0)
                end_us = now_us + SHRINK_US;
            if (now_us < end_us)
                continue;
            m->shrink_shard = (m->shrink_shard + i) % m->shard_count; /* goes on there */
            return;
        }
    }
}
