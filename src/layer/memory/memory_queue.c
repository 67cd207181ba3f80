/* memory_queue.c - queues of entries: intrusive doubly linked lists of 32-bit references, newest at the head.
 * An entry knows the queue it stands in (bits of its first word). */
#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"

static void set_queue(struct entry *e, unsigned queue)
{
    uint32_t w = atomic_load_explicit(&e->block, memory_order_relaxed);
    w = (w & ~(uint32_t)BLOCK_QUEUE) | (uint32_t)queue << BLOCK_QUEUE_SHIFT;
    atomic_store_explicit(&e->block, w, memory_order_relaxed);
}

/* What it takes from the budget: itself where entries are counted, else its room. */
uint64_t strata__entry_weight(const struct shard *s, const struct entry *e)
{
    if (s->limit_entries != UINT64_MAX)
        return 1;
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
    struct queue *q = queue_of(s, queue, e);
    uint32_t ref = ref_of(s, e);
    e->prev = 0;
    e->next = q->head;
    if (q->head != 0)
        entry_at(s, q->head)->prev = ref;
    else
        q->tail = ref;
    q->head = ref;
    q->count++;
    q->weight += strata__entry_weight(s, e);
    set_queue(e, queue);
}

void strata__queue_unlink(struct shard *s, unsigned queue, struct entry *e)
{
    struct queue *q = queue_of(s, queue, e);
    if (e->prev != 0)
        entry_at(s, e->prev)->next = e->next;
    else
        q->head = e->next;
    if (e->next != 0) {
        entry_at(s, e->next)->prev = e->prev;
    } else {
        q->tail = e->prev;
        if (q->tail != 0) { /* the next victim's line is here; of the one after it head and key will be wanted */
            const char *after = (const char *)entry_at(s, entry_at(s, q->tail)->prev);
            __builtin_prefetch(after, 1);
            __builtin_prefetch(after + 64);
        }
    }
    q->count--;
    q->weight -= strata__entry_weight(s, e);
    set_queue(e, QUEUE_NONE);
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
    set_queue(fresh, queue);
    set_queue(old, QUEUE_NONE);
}
