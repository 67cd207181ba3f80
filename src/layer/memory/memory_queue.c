/* memory_queue.c - see memory_queue.h. */
#include "src/layer/memory/memory_queue.h"

#include "src/layer/memory/memory_aside.h"

uint64_t strata__entry_weight_in_bytes(const struct entry *e)
{
    uint64_t weight = entry_units(e);
    if (e->kind & KIND_HEAP)
        weight += (entry_heap(e)->cost + UNIT - 1) / UNIT;
    return weight;
}

static struct queue *queue_of(struct shard *s, unsigned queue, const struct entry *e)
{
    return __builtin_expect(queue == QUEUE_HELD, 0) ? strata__share_held(s, e) : queue_at(s, queue);
}

void strata__queue_push_head(struct shard *s, unsigned queue, struct entry *e)
{
    queue_push(s, queue_of(s, queue, e), queue, e);
}

void strata__queue_unlink(struct shard *s, unsigned queue, struct entry *e)
{
    queue_unlink(s, queue_of(s, queue, e), e);
}

void strata__queue_swap(struct shard *s, unsigned queue, struct entry *old, struct entry *fresh)
{
    struct queue *q = queue_of(s, queue, old);
    uint32_t ref = ref_of(s, fresh);
    fresh->prev = old->prev;
    fresh->next = old->next;
    if (old->prev != 0)
        entry_at(s, old->prev)->next = ref;
    else
        q->head = ref;
    if (old->next != 0)
        entry_at(s, old->next)->prev = ref;
    else
        q->tail = ref;
    q->weight += strata__entry_weight(s, fresh) - strata__entry_weight(s, old);
    queue_note(fresh, queue);
    queue_note(old, QUEUE_NONE);
}
