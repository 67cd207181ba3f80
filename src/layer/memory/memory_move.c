/* memory_move.c - another place for an entry that shall stay, where the room that it stands in is wanted as a whole.
 *
 * Readers find entries by their slot and hold them by their address: so a copy is made, the slot is pointed at it, and what was
 * there is retired as any entry that was replaced.  What readers write into an entry without a lock, its hits and how far it was
 * compared with bans, is a hint that may be lost. */
#include <string.h>

#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_queue.h"

static void copy(struct entry *to, const struct entry *from, size_t used)
{
    uint32_t w = atomic_load_explicit(&to->block, memory_order_relaxed) & ~(uint32_t)(BLOCK_QUEUE | BLOCK_SLACK);
    size_t slack = (size_t)(w & BLOCK_UNITS) * UNIT - used;
    atomic_store_explicit(&to->block, w | (uint32_t)slack << BLOCK_SLACK_SHIFT, memory_order_relaxed);
    struct entry *old = (struct entry *)(uintptr_t)from;
    atomic_store_explicit(&to->position, atomic_load_explicit(&old->position, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(&to->hits, atomic_load_explicit(&old->hits, memory_order_relaxed), memory_order_relaxed);
    to->deadline = from->deadline;
    to->space = from->space;
    to->key_size = from->key_size;
    to->kind = from->kind;
    to->extra = from->extra;
    memcpy(to + 1, from + 1, used - sizeof *from);
    if (from->kind & KIND_HEAP)
        strata_value_ref(entry_heap(from)->value);
}

int strata__memory_move(struct shard *s, struct entry *e)
{
    size_t used = entry_used(e);
    struct entry *to = strata__slab_alloc(s, used);
    if (to == NULL)
        return 0;
    uint64_t hash = strata__entry_hash(s->layer, e);
    copy(to, e, used);
    strata__index_replace(s, hash, ref_of(s, e), ref_of(s, to));
    if (s->shares != NULL) {
        strata__share_out(s, e);
        strata__share_in(s, to);
    }
    if (queue_number(e) == QUEUE_RESIDENT) {
        strata__resident_out(s, e);
        strata__resident_in(s, to);
    } else {
        if (s->hand == ref_of(s, e))
            s->hand = ref_of(s, to);
        strata__queue_swap(s, queue_number(e), e, to);
    }
    if (e->kind & KIND_HEAP)
        entry_heap(e)->cost = 0; /* both hold the value, which counts once */
    strata__retire(s, e);
    return 1;
}
