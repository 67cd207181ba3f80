/* redis_queue.c - who waits for which reply: a ring for each connection, under its lock.
 *
 * A reply belongs to the first of the queue, always.  So a request that timed out leaves its place behind: what comes for it is
 * nobody's.  Only while its command is not written can it be taken back altogether, which is done when the next buffer is
 * loaded. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/redis_link_impl.h"

static struct redis_slot *slot_at(struct redis_queue *q, size_t i) { return &q->slots[(q->head + i) & (q->room - 1)]; }

static int make_room(const strata_allocator *mem, struct redis_queue *q)
{
    if (q->count < q->room)
        return 1;
    size_t room = q->room > 0 ? q->room * 2 : 16;
    struct redis_slot *slots = strata__alloc_array(mem, room, sizeof *slots);
    if (slots == NULL)
        return 0;
    for (size_t i = 0; i < q->count; i++)
        slots[i] = *slot_at(q, i);
    strata__free(mem, q->slots);
    q->slots = slots;
    q->room = room;
    q->head = 0;
    return 1;
}

/* ASKING is valid for the one command behind it: both are one thing here. */
static size_t put_command(struct redis_conn *c, const struct redis_request *request)
{
    const strata_slice word = strata_str("ASKING");
    const strata_allocator *mem = c->link->mem;
    size_t before = c->pending.size, first = 0;
    if (request->asking && (first = strata__redis_command(mem, &c->pending, &word, 1)) == 0)
        return 0;
    size_t bytes = strata__redis_command(mem, &c->pending, request->args, request->arg_count);
    if (bytes == 0)
        c->pending.size = before;
    return bytes != 0 ? first + bytes : 0;
}

int strata__redis_queue_push(struct redis_conn *c, struct redis_request *request, strata_error *why)
{
    struct redis_link *link = c->link;
    struct redis_queue *q = &c->queue;
    const char *name = link->options.name;
    /* Relaxed: a bound, not an order. */
    if (atomic_fetch_add_explicit(&link->out, 1, memory_order_relaxed) >= link->options.max_pending) {
        atomic_fetch_sub_explicit(&link->out, 1, memory_order_relaxed);
        return strata__fail(why, STRATA_EBUSY, name,
                            "%s: %zu requests are out, which is all that max_pending allows: raise it, or ask for less "
                            "at once",
                            link->address, link->options.max_pending);
    }
    size_t bytes = make_room(link->mem, q) ? put_command(c, request) : 0;
    if (bytes == 0) {
        atomic_fetch_sub_explicit(&link->out, 1, memory_order_relaxed);
        return strata__fail_plain(why, STRATA_ENOMEM, name);
    }
    q->count++;
    *slot_at(q, q->count - 1) = (struct redis_slot){ request, bytes, request->asking };
    if (request->deadline_ms < c->earliest_ms)
        c->earliest_ms = request->deadline_ms;
    if (request->timeout_ms > c->longest_ms)
        c->longest_ms = request->timeout_ms;
    c->requests++;
    return STRATA_OK;
}

/* The first one is gone. */
static void advance(struct redis_conn *c)
{
    struct redis_queue *q = &c->queue;
    q->head = (q->head + 1) & (q->room - 1);
    q->count--;
    if (q->count == 0) {
        c->earliest_ms = INT64_MAX;
        c->longest_ms = 0;
    }
    atomic_fetch_sub_explicit(&c->link->out, 1, memory_order_relaxed);
}

int strata__redis_queue_pop(struct redis_conn *c, struct redis_request **out)
{
    if (c->queue.sent == 0)
        return 0;
    if (slot_at(&c->queue, 0)->asking) {
        slot_at(&c->queue, 0)->asking = 0;
        *out = NULL;
        return 1;
    }
    *out = slot_at(&c->queue, 0)->request;
    c->queue.sent--;
    advance(c);
    return 1;
}

struct redis_request *strata__redis_queue_expire(struct redis_conn *c, int64_t now_ms)
{
    struct redis_request *list = NULL, **tail = &list;
    if (now_ms < c->earliest_ms)
        return NULL;
    int64_t earliest = INT64_MAX;
    for (size_t i = 0; i < c->queue.count; i++) {
        struct redis_slot *slot = slot_at(&c->queue, i);
        if (slot->request == NULL)
            continue;
        if (slot->request->deadline_ms > now_ms) {
            if (slot->request->deadline_ms < earliest)
                earliest = slot->request->deadline_ms;
            continue;
        }
        *tail = slot->request;
        tail = &slot->request->next;
        slot->request = NULL;
        c->timeouts++;
        if (i >= c->queue.sent)
            c->queue.dead++;
    }
    *tail = NULL;
    c->earliest_ms = earliest;
    return list;
}

struct redis_request *strata__redis_queue_drop(struct redis_conn *c, size_t count)
{
    struct redis_request *list = NULL, **tail = &list;
    struct redis_queue *q = &c->queue;
    if (count == q->count)
        strata__redis_buffer_reset(c->link->mem, &c->pending);
    else if (count != q->sent)
        STRATA_BUG("a queue was cut in the middle of what is pending");
    for (size_t i = 0; i < count; i++) {
        struct redis_request *request = slot_at(q, 0)->request;
        advance(c);
        if (request == NULL)
            continue;
        *tail = request;
        tail = &request->next;
    }
    *tail = NULL;
    q->sent = 0;
    if (q->count == 0)
        q->dead = 0;
    return list;
}

/* Take those that timed out, and their commands, out of what is pending. */
static void bury(struct redis_conn *c)
{
    struct redis_queue *q = &c->queue;
    size_t kept = q->sent, from = 0, to = 0;
    for (size_t i = q->sent; i < q->count; i++) {
        struct redis_slot slot = *slot_at(q, i);
        if (slot.request != NULL) {
            memmove(c->pending.data + to, c->pending.data + from, slot.bytes);
            to += slot.bytes;
            *slot_at(q, kept++) = slot;
        }
        from += slot.bytes;
    }
    atomic_fetch_sub_explicit(&c->link->out, q->count - kept, memory_order_relaxed);
    q->count = kept;
    q->dead = 0;
    c->pending.size = to;
    if (kept == 0)
        c->longest_ms = 0;
}

int strata__redis_queue_load(struct redis_conn *c, int64_t now_ms)
{
    struct redis_queue *q = &c->queue;
    if (q->dead > 0)
        bury(c);
    strata__redis_buffer_reset(c->link->mem, &c->out);
    c->out_at = 0;
    if (c->pending.size == 0)
        return 0;
    if (q->sent == 0)
        atomic_store_explicit(&c->heard_ms, now_ms, memory_order_relaxed);
    struct redis_buffer empty = c->out;
    c->out = c->pending;
    c->pending = empty;
    q->sent = q->count;
    return 1;
}
