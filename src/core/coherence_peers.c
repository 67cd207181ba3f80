/* coherence_peers.c - the other nodes, as one bus tells of them: whose messages are missing, and, where the bus has no order, who has
 * heard us.
 *
 * Numbers come in order where nothing is lost, because a sender has one message out at a time.  A number that is passed over may be late:
 * it is taken as lost at once (an unordered bus may bring it yet, and then it is carried out; trust is gone by then). */
#include <string.h>

#include "src/core/coherence_impl.h"

enum { SEEN_BITS = 64, SILENT_TIMES = 10 };

static struct peer *find(struct bus_slot *b, const uint8_t *id)
{
    LIST_EACH(node, &b->peers)
    {
        struct peer *p = list_entry(node, struct peer, link);
        if (memcmp(p->id, id, BUS_NODE_ID) == 0)
            return p;
    }
    return NULL;
}

static void drop(struct bus_slot *b, struct peer *p)
{
    list_remove(&p->link);
    b->peer_count--;
    strata__free(b->c->root->mem, p);
}

void strata__peers_forget(struct bus_slot *b)
{
    while (!list_empty(&b->peers))
        drop(b, list_entry(b->peers.next, struct peer, link));
}

static int is_ordered(const struct bus_slot *b) { return (b->flags & STRATA_BUS_ORDERED) != 0; }

/* NULL: there is no room for it. */
static struct peer *meet(struct bus_slot *b, const struct bus_message *m, int64_t now)
{
    struct peer *p = b->peer_count < PEERS_MAX ? strata__alloc_zero(b->c->root->mem, sizeof *p) : NULL;
    if (p == NULL)
        return NULL;
    memcpy(p->id, m->sender, BUS_NODE_ID);
    p->highest = m->sequence;
    p->seen = 1;
    p->heard_ms = now;
    p->sent_ms = NEVER;
    /* It has said nothing before its first message: what was proven holds.  It has to hear us for more. */
    p->heard_us_ms = b->proven;
    key_mutex_lock(&b->c->lock);
    list_push_back(&b->peers, &p->link);
    b->peer_count++;
    b->heartbeat_due = 1; /* it shall know us, too */
    key_mutex_unlock(&b->c->lock);
    return p;
}

static enum heard heard_before(struct peer *p, uint64_t number)
{
    uint64_t back = p->highest - number;
    if (back >= SEEN_BITS)
        return HEARD_NEW; /* nobody can tell: to obey it twice harms nobody */
    if (p->seen >> back & 1)
        return HEARD_BEFORE;
    p->seen |= (uint64_t)1 << back;
    return HEARD_NEW;
}

/* A node that had spoken before.  Until something was proven here, nothing of what it said could be missing. */
static void meet_late(struct bus_slot *b)
{
    static const char why[] = "a node spoke that had not been heard before, and not for the first time";
    if (b->proved)
        strata__trust_lost(b->c, b, why);
    else
        strata__trust_restart(b->c, b, why);
}

enum heard strata__peer_heard(struct bus_slot *b, const struct bus_message *m)
{
    int64_t now = ex_now_ms(b->c->root->ex);
    struct peer *p = find(b, m->sender);
    b->mourns = 0;
    if (p == NULL && strata__note_heard(b, m->sender) == NOTE_SELF)
        return HEARD_BEFORE;
    if (p == NULL) {
        p = meet(b, m, now);
        if (p == NULL)
            strata__trust_lost(b->c, b, "more nodes speak here than can be told apart");
        else if (m->sequence > 1 && !is_ordered(b))
            meet_late(b);
        else if (strata__note_heard(b, m->sender) != 0 && m->sequence > strata__note_heard(b, m->sender) + 1)
            strata__trust_lost(b->c, b, "a message of another node is missing, of when this one was not running");
        return HEARD_NEW;
    }
    p->heard_ms = now;
    if (m->sequence <= p->highest)
        return heard_before(p, m->sequence);
    uint64_t step = m->sequence - p->highest;
    p->seen = step < SEEN_BITS ? p->seen << step | 1 : 1;
    p->highest = m->sequence;
    if (step > 1)
        strata__trust_lost(b->c, b, "a message of another node is missing");
    return HEARD_NEW;
}

void strata__peers_prove(struct bus_slot *b)
{
    /* Who hears nobody, and did, may be deaf: where its own messages don't come back, it can't tell. */
    if (is_ordered(b) || !b->publishes || (b->mourns && b->peer_count == 0 && !(b->flags & STRATA_BUS_ECHOES)))
        return;
    key_mutex_lock(&b->c->lock);
    int64_t least = b->self_ms;
    LIST_EACH(node, &b->peers)
    {
        const struct peer *p = list_entry(node, struct peer, link);
        least = p->heard_us_ms < least ? p->heard_us_ms : least;
    }
    key_mutex_unlock(&b->c->lock);
    if (least != NEVER)
        strata__trust_proven(b->c, b, least);
}

void strata__peer_self(struct bus_slot *b, int64_t sent_ms)
{
    key_mutex_lock(&b->c->lock);
    if (sent_ms > b->lost_ms && sent_ms > b->self_ms && sent_ms <= ex_now_ms(b->c->root->ex))
        b->self_ms = sent_ms;
    key_mutex_unlock(&b->c->lock);
}

void strata__peer_item(struct bus_slot *b, const struct bus_message *m, const struct bus_item *item)
{
    struct peer *p = find(b, m->sender);
    if (p == NULL)
        return;
    if (item->kind == BUS_ITEM_HELLO) {
        key_mutex_lock(&b->c->lock);
        b->heartbeat_due = 1;
        key_mutex_unlock(&b->c->lock);
    } else if (item->kind == BUS_ITEM_HEARTBEAT) {
        p->sent_ms = item->sent_ms > p->sent_ms ? item->sent_ms : p->sent_ms;
    } else if (item->kind == BUS_ITEM_GOODBYE) {
        key_mutex_lock(&b->c->lock);
        drop(b, p);
        key_mutex_unlock(&b->c->lock);
    } else if (item->kind == BUS_ITEM_ACK && memcmp(item->peer, b->c->id, BUS_NODE_ID) == 0) {
        /* Whatever it had sent when it heard us has a lower number than this, and is here. */
        key_mutex_lock(&b->c->lock);
        if (item->sent_ms > b->lost_ms && item->sent_ms <= ex_now_ms(b->c->root->ex) && item->sent_ms > p->heard_us_ms)
            p->heard_us_ms = item->sent_ms;
        key_mutex_unlock(&b->c->lock);
    }
}

void strata__peers_tick(struct bus_slot *b)
{
    int64_t now = ex_now_ms(b->c->root->ex), long_ago = now - SILENT_TIMES * b->c->trust_ms;
    for (struct list_node *node = b->peers.next, *next; node != &b->peers; node = next) {
        struct peer *p = list_entry(node, struct peer, link);
        next = node->next;
        if (p->heard_ms > long_ago)
            continue;
        key_mutex_lock(&b->c->lock);
        drop(b, p);
        key_mutex_unlock(&b->c->lock);
        b->mourns = 1;
        if (!is_ordered(b))
            strata__trust_lost(b->c, b, "a node has not been heard for long, and said no goodbye");
    }
}
