/* memory_queue.h - queues of entries: intrusive doubly linked lists of 32-bit references, newest at the head.
 * An entry knows the queue it stands in (bits of its first word).  Under the shard's lock. */
#ifndef STRATA_LAYER_MEMORY_QUEUE_H
#define STRATA_LAYER_MEMORY_QUEUE_H
#include "src/layer/memory/memory_impl.h"

/* Where it stands, QUEUE_...: as its first word has it. */
static inline void queue_note(struct entry *e, unsigned queue)
{
    uint32_t w = atomic_load_explicit(&e->block, memory_order_relaxed);
    w = (w & ~(uint32_t)BLOCK_QUEUE) | (uint32_t)queue << BLOCK_QUEUE_SHIFT;
    atomic_store_explicit(&e->block, w, memory_order_relaxed);
}

/* By the budget of bytes. */
uint64_t strata__entry_weight_in_bytes(const struct entry *e);

/* What it takes from the budget: itself where entries are counted, else its room. */
static inline uint64_t strata__entry_weight(const struct shard *s, const struct entry *e)
{
    return s->limit_entries != UINT64_MAX ? 1 : strata__entry_weight_in_bytes(e);
}

/* The next victim's line is here; of the one after it head and key will be wanted. */
static inline void queue_fetch_past(const struct shard *s, const struct entry *next)
{
    const char *after = (const char *)entry_at(s, next->prev);
    __builtin_prefetch(after, 1);
    __builtin_prefetch(after + 64);
}

/* These three are in line for those who know the queue, which is not one of a share's: a put takes two or three such steps. */
static inline void queue_push(struct shard *s, struct queue *q, unsigned queue, struct entry *e)
{
    uint32_t ref = ref_of(s, e);
    e->prev = 0;
    e->next = q->head;
    if (__builtin_expect(q->head != 0, 1))
        entry_at(s, q->head)->prev = ref;
    else
        q->tail = ref;
    q->head = ref;
    q->count++;
    q->weight += strata__entry_weight(s, e);
    queue_note(e, queue);
}

static inline void queue_unlink(struct shard *s, struct queue *q, struct entry *e)
{
    if (e->prev != 0)
        entry_at(s, e->prev)->next = e->next;
    else
        q->head = e->next;
    if (e->next != 0) {
        entry_at(s, e->next)->prev = e->prev;
    } else {
        q->tail = e->prev;
        if (q->tail != 0)
            queue_fetch_past(s, entry_at(s, q->tail));
    }
    q->count--;
    q->weight -= strata__entry_weight(s, e);
    queue_note(e, QUEUE_NONE);
}

/* The oldest, which there is. */
static inline struct entry *queue_pop_tail(struct shard *s, struct queue *q)
{
    struct entry *e = entry_at(s, q->tail);
    q->tail = e->prev;
    if (__builtin_expect(q->tail != 0, 1)) {
        entry_at(s, q->tail)->next = 0;
        queue_fetch_past(s, entry_at(s, q->tail));
    } else {
        q->head = 0;
    }
    q->count--;
    q->weight -= strata__entry_weight(s, e);
    queue_note(e, QUEUE_NONE);
    return e;
}

/* memory_queue.c: of any number, that of QUEUE_HELD too. */
void strata__queue_push_head(struct shard *s, unsigned queue, struct entry *e);
void strata__queue_unlink(struct shard *s, unsigned queue, struct entry *e);
/* `fresh` takes the place of `old`. */
void strata__queue_swap(struct shard *s, unsigned queue, struct entry *old, struct entry *fresh);

#endif /* STRATA_LAYER_MEMORY_QUEUE_H */
