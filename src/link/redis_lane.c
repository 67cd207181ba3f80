/* redis_lane.c - which requests of a slot wait for which.
 *
 * Order.  Requests of one slot and one affinity are carried out in the order in which they were submitted, as on one link, also
 * while the slot changes its owner:
 * - A node answers in order, so what it sends elsewhere is sent there in order, on one connection.
 * - What is submitted after we know of the new owner must not overtake what is still out at the old one, and may yet be sent on.
 *   It is held in its lane until nothing of an earlier generation is out.  Those have timeouts, so that takes no longer than
 *   the longest of them; and what waits has its own.
 * - What timed out at the old owner is either carried out there before the slot has left, or refused there by a redirection
 *   that nobody follows any more.
 * Not covered: a slot that goes away and comes back, or whose migration is called off, while a command lies unread in a node's
 * socket; and a write that a primary had accepted and its replica, which took over, had not. */
#include "src/base/err.h"
#include "src/link/redis_cluster_impl.h"

void strata__redis_lane_own_locked(struct redis_cluster *cl, uint16_t slot, struct redis_node *node)
{
    struct redis_lane *lane = redis_lane_of(cl, slot);
    struct redis_node *before = cl->owner[slot];
    if (before == node)
        return;
    if (node != NULL)
        atomic_fetch_add(&node->slots, 1);
    cl->owner[slot] = node;
    if (before != NULL)
        atomic_fetch_sub(&before->slots, 1); /* last: see close_left() */
    lane->generation++;
    lane->old += lane->now;
    lane->now = 0;
}

static void count_out_locked(struct redis_lane *lane, const struct redis_hop *hop)
{
    if (hop->generation == lane->generation)
        lane->now--;
    else
        lane->old--;
}

static void send_to_locked(struct redis_lane *lane, struct redis_hop *hop, struct redis_node *node)
{
    hop->node = node;
    hop->generation = lane->generation;
    lane->now++;
}

/* Who serves it now, pinned; or why nobody does. */
static struct redis_node *pick_locked(struct redis_hop *hop, strata_error *why)
{
    struct redis_cluster *cl = hop->cluster;
    struct redis_node *node = NULL;
    int state = atomic_load(&cl->state);
    if (state == REDIS_ENDED) {
        (void)strata__fail_plain(why, STRATA_ECLOSED, cl->options->name);
        return NULL;
    }
    if (state == REDIS_LOST) {
        os_lock_take(&cl->lock);
        *why = cl->reason;
        os_lock_give(&cl->lock);
        return NULL;
    }
    if (!hop->has_slot) {
        node = strata__redis_node_any(cl, hop->outer->node, hop->outer->affinity);
    } else if (cl->owner[hop->slot] != NULL) {
        node = cl->owner[hop->slot];
        atomic_fetch_add(&node->hops, 1);
    }
    if (node == NULL && hop->has_slot)
        (void)strata__fail(why, STRATA_EIO, cl->options->name,
                           "nobody in the cluster serves slot %u: look at CLUSTER INFO and CLUSTER NODES",
                           (unsigned)hop->slot);
    else if (node == NULL)
        (void)strata__fail(why, STRATA_EIO, cl->options->name,
                           "the node has left the cluster, or no node serves anything: try again");
    return node;
}

static void hold_locked(struct redis_lane *lane, struct redis_hop *hop)
{
    hop->next = NULL;
    if (lane->held_first == NULL)
        lane->held_first = hop;
    else
        lane->held_last->next = hop;
    lane->held_last = hop;
}

int strata__redis_hop_place(struct redis_hop *hop)
{
    struct redis_cluster *cl = hop->cluster;
    struct redis_lane *lane = redis_lane_of(cl, hop->slot);
    strata_error why = STRATA_ERROR_INIT;
    struct redis_node *node = NULL;
    os_lock_take(&lane->lock);
    int state = atomic_load(&cl->state);
    /* At the end nobody waits: what is held was answered under this lock, and nobody looks again. */
    int waits = state != REDIS_ENDED &&
                (state == REDIS_LOOKING || lane->old > 0 || lane->held_first != NULL || lane->releasing);
    /* Relaxed: a bound, not an order. */
    if (waits && atomic_load_explicit(&cl->held, memory_order_relaxed) >= cl->options->max_pending) {
        (void)strata__fail(&why, STRATA_EBUSY, cl->options->name,
                           "%zu requests wait for the cluster, which is all that max_pending allows: raise it, or ask "
                           "for less at once",
                           cl->options->max_pending);
    } else if (waits) {
        atomic_fetch_add(&cl->held, 1);
        hold_locked(lane, hop);
    } else {
        node = pick_locked(hop, &why);
        if (node != NULL)
            send_to_locked(lane, hop, node);
    }
    os_lock_give(&lane->lock);
    if (node != NULL)
        return 1;
    if (why.status == STRATA_OK)
        return 0;
    strata__redis_cluster_want(cl);
    strata__redis_hop_fail(hop, &why);
    return -1;
}

/* Once it is closing, what is held is answered, not sent: what it waited for may end only because of that. */
static int may_release_locked(const struct redis_cluster *cl, const struct redis_lane *lane)
{
    return lane->held_first != NULL && lane->old == 0 && atomic_load(&cl->state) != REDIS_LOOKING &&
           !atomic_load(&cl->closing);
}

void strata__redis_lane_release(struct redis_cluster *cl, struct redis_lane *lane)
{
    os_lock_take(&lane->lock);
    int mine = !lane->releasing && may_release_locked(cl, lane);
    lane->releasing = lane->releasing || mine;
    while (mine && may_release_locked(cl, lane)) {
        strata_error why = STRATA_ERROR_INIT;
        struct redis_hop *hop = lane->held_first;
        lane->held_first = hop->next;
        atomic_fetch_sub(&cl->held, 1);
        struct redis_node *node = pick_locked(hop, &why);
        if (node != NULL)
            send_to_locked(lane, hop, node);
        os_lock_give(&lane->lock);
        if (node != NULL)
            strata__redis_hop_send(hop);
        else
            strata__redis_hop_fail(hop, &why);
        os_lock_take(&lane->lock);
    }
    if (mine)
        lane->releasing = 0;
    os_lock_give(&lane->lock);
}

void strata__redis_lane_expire(struct redis_cluster *cl, struct redis_lane *lane, int64_t now_ms,
                               const strata_error *given)
{
    struct redis_hop *list = NULL, **tail = &list, *kept = NULL, **kept_tail = &kept, *last = NULL;
    os_lock_take(&lane->lock);
    for (struct redis_hop *hop = lane->held_first; hop != NULL; hop = hop->next) {
        if (hop->deadline_ms <= now_ms) {
            *tail = hop;
            tail = &hop->next;
        } else {
            *kept_tail = last = hop;
            kept_tail = &hop->next;
        }
    }
    *tail = *kept_tail = NULL;
    lane->held_first = kept;
    lane->held_last = last;
    os_lock_give(&lane->lock);
    strata_error why = STRATA_ERROR_INIT;
    strata__redis_hop_why_late(cl, &why);
    while (list != NULL) {
        struct redis_hop *hop = list;
        list = hop->next;
        atomic_fetch_sub(&cl->held, 1);
        strata__redis_hop_fail(hop, given != NULL ? given : &why);
    }
}

void strata__redis_lane_sent_on(struct redis_hop *hop, struct redis_node *target, int owns)
{
    struct redis_lane *lane = redis_lane_of(hop->cluster, hop->slot);
    os_lock_take(&lane->lock);
    int is_news = hop->generation ==
                  lane->generation; /* else there was a newer map than the node's when this was sent */
    count_out_locked(lane, hop);
    if (owns && is_news)
        strata__redis_lane_own_locked(hop->cluster, hop->slot, target);
    hop->node = target;
    hop->generation = lane->generation - 1; /* nothing may be sent there before it is: the lane holds what comes */
    lane->old++;
    os_lock_give(&lane->lock);
}

void strata__redis_lane_leave(struct redis_hop *hop)
{
    struct redis_cluster *cl = hop->cluster;
    struct redis_lane *lane = redis_lane_of(cl, hop->slot);
    os_lock_take(&lane->lock);
    count_out_locked(lane, hop);
    int release = may_release_locked(cl, lane) && !lane->releasing;
    os_lock_give(&lane->lock);
    if (release)
        strata__redis_lane_release(cl, lane);
}
