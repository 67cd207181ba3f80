/* amqp_ring.c - the messages of a link, from publish() to done().
 *
 * What is out is bounded in bytes: the socket's buffer was asked to hold more than that, so that sending never waits for a server
 * that does not read.  A message whose time has passed is done, and still takes its room until the server has confirmed it. */
#include <inttypes.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/amqp_link_impl.h"
#include "src/link/amqp_session.h"
#include "src/os/os_clock.h"

/* Frames and properties around a message; the least room; what may be out. */
enum { AROUND = 512, LEAST_ROOM = 64, WINDOW_BYTES = AMQP_MESSAGE_MAX + AROUND, WINDOW_MESSAGES = 1024 };

static struct amqp_slot *slot_at(const struct amqp_ring *ring, size_t i) { return &ring->slots[i & (ring->room - 1)]; }

static int grow(struct amqp_link *link)
{
    struct amqp_ring *ring = &link->ring;
    size_t room = ring->room == 0 ? LEAST_ROOM : ring->room * 2;
    struct amqp_slot *slots = strata__alloc_array(link->o.mem, room, sizeof *slots);
    if (slots == NULL)
        return 0;
    for (size_t i = ring->head; i != ring->tail; i++)
        slots[i & (room - 1)] = *slot_at(ring, i);
    strata__free(link->o.mem, ring->slots);
    ring->slots = slots;
    ring->room = room;
    return 1;
}

static int refuse_locked(struct amqp_link *link, strata_slice bytes, strata_error *err)
{
    struct amqp_ring *ring = &link->ring;
    if (link->stopping)
        return strata__fail_plain(err, STRATA_ECLOSED, link->o.name);
    if (link->away) {
        *err = link->reason;
        return err->status;
    }
    if (bytes.size > AMQP_MESSAGE_MAX)
        return strata__fail(err, STRATA_EVALUESIZE, link->o.name, "a message of %zu bytes: at most %d", bytes.size,
                            (int)AMQP_MESSAGE_MAX);
    if (ring->tail - ring->head >= link->o.max_pending)
        return strata__fail(err, STRATA_EBUSY, link->o.name,
                            "%" PRIu32 " messages are under way: raise max_pending, or publish less",
                            link->o.max_pending);
    if (ring->tail - ring->head == ring->room && !grow(link))
        return strata__fail_plain(err, STRATA_ENOMEM, link->o.name);
    return STRATA_OK;
}

int strata__amqp_ring_push(struct amqp_link *link, strata_slice bytes, void *owner, int *out_wake, strata_error *err)
{
    struct amqp_ring *ring = &link->ring;
    int64_t deadline_us = strata__os_now_us() + link->o.timeout_ms * 1000;
    os_lock_take(&link->lock);
    int rc = refuse_locked(link, bytes, err);
    *out_wake = rc == STRATA_OK && ring->sent == ring->tail;
    if (rc == STRATA_OK) {
        *slot_at(ring, ring->tail++) = (struct amqp_slot){ .bytes = bytes,
                                                           .owner = owner,
                                                           .deadline_us = deadline_us,
                                                           .size = (uint32_t)bytes.size + AROUND,
                                                           .waiting = 1 };
        ring->waiting++;
    }
    os_lock_give(&link->lock);
    return rc;
}

/* Call done(), without the lock, where that was not done yet. */
static void finish(struct amqp_link *link, size_t i, int status, const strata_error *why)
{
    os_lock_take(&link->lock);
    struct amqp_slot *slot = slot_at(&link->ring, i);
    void *owner = slot->owner;
    int waiting = slot->waiting;
    slot->waiting = 0;
    link->ring.waiting -= waiting != 0;
    os_lock_give(&link->lock);
    if (!waiting)
        return;
    atomic_fetch_add_explicit(status == STRATA_OK ? &link->published : &link->failed, 1, memory_order_relaxed);
    link->o.done(owner, status, why);
}

/* 1: there is one to send, copied to *out; its place is ring.sent. */
static int next_to_send(struct amqp_link *link, struct amqp_slot *out)
{
    struct amqp_ring *ring = &link->ring;
    int found = 0;
    os_lock_take(&link->lock);
    while (ring->sent != ring->tail && !slot_at(ring, ring->sent)->waiting)
        ring->sent++; /* its time has passed */
    if (ring->sent != ring->tail && ring->sent - ring->head < WINDOW_MESSAGES) {
        *out = *slot_at(ring, ring->sent);
        found = link->window == 0 || link->window + out->size <= WINDOW_BYTES;
    }
    os_lock_give(&link->lock);
    return found;
}

int strata__amqp_ring_send(struct amqp_link *link, strata_error *err)
{
    struct amqp_slot slot;
    while (next_to_send(link, &slot)) {
        int rc = strata__amqp_session_publish(link->session, slot.bytes, err);
        if (rc != STRATA_OK)
            return rc;
        os_lock_take(&link->lock);
        slot_at(&link->ring, link->ring.sent++)->tag = link->next_tag++;
        os_lock_give(&link->lock);
        link->window += slot.size;
        atomic_fetch_add_explicit(&link->bytes_out, slot.bytes.size, memory_order_relaxed);
    }
    return STRATA_OK;
}

/* The thread alone moves head and sent, and looks at tags: it reads those without the lock, but slots may move under it. */
static struct amqp_slot look(struct amqp_link *link, size_t i)
{
    os_lock_take(&link->lock);
    struct amqp_slot slot = *slot_at(&link->ring, i);
    os_lock_give(&link->lock);
    return slot;
}

static void settle(struct amqp_link *link, size_t i)
{
    os_lock_take(&link->lock);
    struct amqp_slot *slot = slot_at(&link->ring, i);
    link->window -= slot->tag != 0 ? slot->size : 0;
    slot->tag = 0;
    os_lock_give(&link->lock);
}

static void pop_settled(struct amqp_link *link)
{
    struct amqp_ring *ring = &link->ring;
    os_lock_take(&link->lock);
    while (ring->head != ring->sent && slot_at(ring, ring->head)->tag == 0 && !slot_at(ring, ring->head)->waiting)
        ring->head++;
    os_lock_give(&link->lock);
}

void strata__amqp_ring_confirm(struct amqp_link *link, uint64_t tag, int multiple, int taken)
{
    strata_error refused, returned;
    (void)strata__fail(&refused, STRATA_EIO, link->o.name,
                       "the server has refused a message: its log says why; it is sent again");
    (void)strata__fail(&returned, STRATA_EIO, link->o.name,
                       "no queue is bound to exchange \"%.60s\" with routing_key \"%.60s\", this node's neither: who "
                       "has taken its binding away?",
                       link->o.exchange, link->o.routing_key);
    for (size_t i = link->ring.head; i != link->ring.sent; i++) {
        struct amqp_slot slot = look(link, i);
        if (slot.tag > tag && tag != 0)
            break;
        if (slot.tag == 0 || (!multiple && slot.tag != tag))
            continue;
        settle(link, i);
        if (taken && !slot.returned)
            finish(link, i, STRATA_OK, NULL);
        else
            finish(link, i, STRATA_EIO, slot.returned ? &returned : &refused);
    }
    pop_settled(link);
}

void strata__amqp_ring_returned(struct amqp_link *link, uint64_t tag)
{
    os_lock_take(&link->lock);
    for (size_t i = link->ring.head; tag != 0 && i != link->ring.sent; i++)
        if (slot_at(&link->ring, i)->tag == tag)
            slot_at(&link->ring, i)->returned = 1;
    os_lock_give(&link->lock);
}

int64_t strata__amqp_ring_expire(struct amqp_link *link, int64_t now_us)
{
    os_lock_take(&link->lock);
    size_t tail = link->ring.tail;
    os_lock_give(&link->lock);
    strata_error why = STRATA_ERROR_INIT;
    int64_t next_us = INT64_MAX;
    for (size_t i = link->ring.head; i != tail && next_us == INT64_MAX; i++) {
        struct amqp_slot slot = look(link, i);
        if (!slot.waiting)
            continue;
        if (slot.deadline_us > now_us) {
            next_us = slot.deadline_us; /* those behind it came later */
            continue;
        }
        const char *blocked = link->session != NULL ? strata__amqp_session_blocked(link->session) : NULL;
        if (why.status == 0)
            (void)strata__fail(&why, STRATA_ETIMEDOUT, link->o.name,
                               "%.80s:%u has not confirmed a message within timeout_ms, %lld ms%s%.80s", link->o.host,
                               (unsigned)link->o.port, (long long)link->o.timeout_ms, blocked != NULL ? ": " : "",
                               blocked != NULL ? blocked : "");
        finish(link, i, STRATA_ETIMEDOUT, &why);
    }
    pop_settled(link);
    return next_us;
}

void strata__amqp_ring_fail(struct amqp_link *link, int all, int status, const strata_error *why)
{
    struct amqp_ring *ring = &link->ring;
    os_lock_take(&link->lock);
    size_t end = all ? ring->tail : ring->sent;
    os_lock_give(&link->lock);
    for (size_t i = ring->head; i != end; i++)
        finish(link, i, status, why);
    os_lock_take(&link->lock);
    ring->head = end;
    ring->sent = end;
    os_lock_give(&link->lock);
    link->window = 0;
    link->next_tag = 1;
}
