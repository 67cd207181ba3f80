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
 *
 * Pauses.  Who moves a slot tells one node after the other, and gossip takes its time: meanwhile two may send a request to each
 * other.  One that was sent on too often pauses, and with it whatever is asked of that slot; other slots go on.  After the pause the
 * oldest asks again, of the owner that the map names by then, and once it is through, the others follow in their order.  Pauses grow,
 * up to DISPUTE_MS together: a cluster that contradicts itself for longer has to be mended, and nobody waits for it any more until
 * somebody serves the slot.
 *
 * Not covered: a slot that goes away and comes back, or whose migration is called off, while a command lies unread in a node's
 * socket; and a write that a primary had accepted and its replica, which took over, had not. */
#include "src/base/err.h"
#include "src/link/redis_cluster_impl.h"
#include "src/os/os_clock.h"
#include "src/os/os_futex.h"
#include "src/os/os_random.h"

enum { DISPUTE_MS = 2000, FORGOTTEN_MS = 60000, PAUSE_MS = 10, PAUSE_DOUBLINGS = 4 };

_Static_assert(REDIS_SLOTS <= 16 * REDIS_LANES, "a bit for each slot of a lane");

/* That of its slot; none where it has none. */
static uint16_t bit_of(const struct redis_hop *hop)
{
    return (uint16_t)(hop->has_slot ? 1u << hop->slot / REDIS_LANES : 0);
}

/* What comes from now on waits for all that is out. */
static void begin_generation_locked(struct redis_lane *lane)
{
    lane->generation++;
    lane->old += lane->now;
    lane->now = 0;
}

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
    begin_generation_locked(lane);
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

static void append_to(struct redis_hops *list, struct redis_hop *hop)
{
    hop->next = NULL;
    if (list->first == NULL)
        list->first = hop;
    else
        list->last->next = hop;
    list->last = hop;
}

static struct redis_hop *take_first(struct redis_hops *list)
{
    struct redis_hop *hop = list->first;
    list->first = hop->next;
    return hop;
}

/* The first one that waits wakes the thread, which looks at deadlines and at pauses. */
static void wait_in_locked(struct redis_cluster *cl, struct redis_hops *list, struct redis_hop *hop)
{
    append_to(list, hop);
    if (atomic_fetch_add(&cl->held, 1) == 0)
        strata__os_unpark(&cl->wake);
}

/* What pauses is older than what is held. */
static void hold_first_locked(struct redis_lane *lane, struct redis_hops list)
{
    if (list.first == NULL)
        return;
    list.last->next = lane->held.first;
    if (lane->held.first == NULL)
        lane->held.last = list.last;
    lane->held.first = list.first;
}

/* One that asks for all that pause with it is answered, whatever the answer: they need not wait any longer. */
static void end_probe_locked(struct redis_lane *lane, struct redis_hop *hop)
{
    struct redis_hops all = lane->pausing, others = { NULL, NULL };
    const uint16_t bit = bit_of(hop);
    if (!hop->probes)
        return;
    hop->probes = 0;
    lane->pausing = others;
    while (all.first != NULL) {
        struct redis_hop *other = take_first(&all);
        append_to(bit_of(other) == bit ? &others : &lane->pausing, other);
    }
    hold_first_locked(lane, others);
    lane->paused &= (uint16_t)~bit;
    lane->probing &= (uint16_t)~bit;
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
                (state == REDIS_LOOKING || lane->old > 0 || lane->held.first != NULL || lane->releasing);
    int pauses = state != REDIS_ENDED && !waits && (lane->paused & bit_of(hop)) != 0;
    /* Relaxed: a bound, not an order. */
    if ((waits || pauses) && atomic_load_explicit(&cl->held, memory_order_relaxed) >= cl->options->max_pending) {
        (void)strata__fail(&why, STRATA_EBUSY, cl->options->name,
                           "%zu requests wait for the cluster, which is all that max_pending allows: raise it, or ask "
                           "for less at once",
                           cl->options->max_pending);
    } else if (waits || pauses) {
        wait_in_locked(cl, waits ? &lane->held : &lane->pausing, hop);
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
    return lane->held.first != NULL && lane->old == 0 && atomic_load(&cl->state) != REDIS_LOOKING &&
           !atomic_load(&cl->closing);
}

void strata__redis_lane_release(struct redis_cluster *cl, struct redis_lane *lane)
{
    os_lock_take(&lane->lock);
    int mine = !lane->releasing && may_release_locked(cl, lane);
    lane->releasing = lane->releasing || mine;
    while (mine && may_release_locked(cl, lane)) {
        strata_error why = STRATA_ERROR_INIT;
        struct redis_hop *hop = take_first(&lane->held);
        if ((lane->paused & bit_of(hop)) != 0 && !hop->probes) {
            append_to(&lane->pausing, hop);
            continue;
        }
        atomic_fetch_sub(&cl->held, 1);
        struct redis_node *node = pick_locked(hop, &why);
        if (node != NULL)
            send_to_locked(lane, hop, node);
        else
            end_probe_locked(lane, hop);
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

static void take_late(struct redis_hops *list, int64_t now_ms, struct redis_hops *late)
{
    struct redis_hops all = *list;
    *list = (struct redis_hops){ NULL, NULL };
    while (all.first != NULL) {
        struct redis_hop *hop = take_first(&all);
        append_to(hop->deadline_ms <= now_ms ? late : list, hop);
    }
}

void strata__redis_lane_expire(struct redis_cluster *cl, struct redis_lane *lane, int64_t now_ms,
                               const strata_error *given)
{
    struct redis_hops late = { NULL, NULL };
    os_lock_take(&lane->lock);
    take_late(&lane->held, now_ms, &late);
    take_late(&lane->pausing, now_ms, &late);
    for (struct redis_hop *hop = late.first; hop != NULL; hop = hop->next)
        end_probe_locked(lane, hop); /* what it lets go is looked at in a moment */
    os_lock_give(&lane->lock);
    strata_error why = STRATA_ERROR_INIT;
    strata__redis_hop_why_late(cl, &why);
    while (late.first != NULL) {
        struct redis_hop *hop = take_first(&late);
        atomic_fetch_sub(&cl->held, 1);
        strata__redis_hop_fail(hop, given != NULL ? given : &why);
    }
}

/* Pauses ------------------------------------------------------------------------------------------------------------- */

/* Random, so that those who wait for one cluster do not all come at once. */
static int64_t pause_ms(uint32_t times)
{
    int64_t pause = PAUSE_MS << (times < PAUSE_DOUBLINGS ? times : PAUSE_DOUBLINGS);
    return pause / 2 + (int64_t)(strata__os_random() % (uint64_t)(pause / 2 + 1));
}

/* 1: its nodes have only just begun to contradict each other; for a while that is how a cluster is rearranged. */
static int is_young_locked(struct redis_lane *lane, uint16_t bit, int64_t now)
{
    if (lane->disputed == 0 || now - lane->circled_ms >= FORGOTTEN_MS) {
        lane->disputed = 0;
        lane->disputed_ms = now;
        lane->pauses = 0;
    }
    lane->disputed |= bit;
    lane->circled_ms = now;
    return now - lane->disputed_ms < DISPUTE_MS;
}

/* Where what a node sends elsewhere goes.  At the end nobody pauses: see strata__redis_hop_place(). */
static enum redis_sent_on judge_locked(struct redis_lane *lane, const struct redis_hop *hop, int64_t now)
{
    const uint16_t bit = bit_of(hop);
    if (atomic_load(&hop->cluster->state) == REDIS_ENDED)
        return REDIS_GOES_ON;
    if ((lane->paused & bit) != 0 && !hop->probes) /* behind what came before it */
        return REDIS_PAUSES;
    if (hop->redirects <= REDIS_REDIRECTS_MOST)
        return REDIS_GOES_ON;
    return is_young_locked(lane, bit, now) ? REDIS_PAUSES : REDIS_GIVEN_UP;
}

static void pause_locked(struct redis_lane *lane, struct redis_hop *hop, int64_t now)
{
    const uint16_t bit = bit_of(hop);
    const int joins = (lane->paused & bit) != 0 && !hop->probes;
    struct redis_hops rest = lane->pausing;
    if (!joins && lane->paused == lane->probing) /* else somebody's pause has begun, which is as good */
        lane->resume_ms = now + pause_ms(lane->pauses++);
    /* What comes must not pause before what is still out, and may come to pause, too. */
    if (!joins && !hop->probes)
        begin_generation_locked(lane);
    if (hop->probes) { /* the oldest */
        lane->pausing = (struct redis_hops){ NULL, NULL };
        lane->probing &= (uint16_t)~bit;
    }
    wait_in_locked(hop->cluster, &lane->pausing, hop);
    while (hop->probes && rest.first != NULL)
        append_to(&lane->pausing, take_first(&rest));
    lane->paused |= bit;
    hop->probes = 0;
    hop->redirects = REDIS_REDIRECTS_MOST - REDIS_REDIRECTS_AGAIN;
}

enum redis_sent_on strata__redis_lane_sent_on(struct redis_hop *hop, struct redis_node *target, int owns)
{
    struct redis_cluster *cl = hop->cluster;
    struct redis_lane *lane = redis_lane_of(cl, hop->slot);
    int64_t now = strata__os_now_ms();
    os_lock_take(&lane->lock);
    enum redis_sent_on what = judge_locked(lane, hop, now);
    if (what != REDIS_GIVEN_UP) {
        int is_news = hop->generation ==
                      lane->generation; /* else there was a newer map than the node's when this was sent */
        count_out_locked(lane, hop);
        if (owns && is_news)
            strata__redis_lane_own_locked(cl, hop->slot, target);
    }
    if (what == REDIS_GOES_ON) {
        hop->node = target;
        hop->generation = lane->generation - 1; /* nothing may be sent there before it is: the lane holds what comes */
        lane->old++;
    } else if (what == REDIS_PAUSES) {
        hop->node = NULL;
        pause_locked(lane, hop, now);
    }
    os_lock_give(&lane->lock);
    return what;
}

void strata__redis_lane_leave(struct redis_hop *hop, int served)
{
    struct redis_cluster *cl = hop->cluster;
    struct redis_lane *lane = redis_lane_of(cl, hop->slot);
    os_lock_take(&lane->lock);
    count_out_locked(lane, hop);
    end_probe_locked(lane, hop);
    if (served && lane->disputed != 0)
        lane->disputed &= (uint16_t)~bit_of(hop);
    int release = may_release_locked(cl, lane) && !lane->releasing;
    os_lock_give(&lane->lock);
    if (release)
        strata__redis_lane_release(cl, lane);
}

void strata__redis_lane_resume(struct redis_cluster *cl, struct redis_lane *lane, int64_t now_ms)
{
    struct redis_hops all, go = { NULL, NULL };
    os_lock_take(&lane->lock);
    if (lane->paused != lane->probing && lane->resume_ms <= now_ms) {
        all = lane->pausing;
        lane->pausing = go;
        lane->paused = lane->probing; /* and those that somebody is left of */
        while (all.first != NULL) {
            struct redis_hop *hop = take_first(&all);
            hop->probes = (lane->probing & bit_of(hop)) == 0;
            lane->paused |= bit_of(hop);
            lane->probing |= bit_of(hop);
            append_to(hop->probes ? &go : &lane->pausing, hop);
        }
        hold_first_locked(lane, go);
    }
    int release = may_release_locked(cl, lane) && !lane->releasing;
    os_lock_give(&lane->lock);
    if (release)
        strata__redis_lane_release(cl, lane);
}
