/* redis_hop.c - one request of a cluster on its way: to the node that owns its slot, and after it where that node sends it.
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
 * socket; and a write that a primary had accepted and its replica, which took over, had not.
 *
 * A command with several keys may be told TRYAGAIN while its slot is being moved.  That is its answer: to send it again would
 * let it overtake what came after it. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/redis_cluster_impl.h"
#include "src/link/redis_link_impl.h"
#include "src/os/os_clock.h"

static void hop_done(struct redis_request *request);

/* In time with strata__redis_cluster_settle(), which flips the epoch and waits for the hops of the one before. */
static uint8_t count_in(struct redis_cluster *cl)
{
    for (;;) {
        uint32_t epoch = atomic_load(&cl->epoch);
        atomic_fetch_add(&cl->out[epoch & 1], 1);
        if (atomic_load(&cl->epoch) == epoch)
            return (uint8_t)(epoch & 1);
        atomic_fetch_sub(&cl->out[epoch & 1], 1);
    }
}

struct redis_hop *strata__redis_hop_new(struct redis_cluster *cl, struct redis_request *outer)
{
    size_t bytes = 0, most = (SIZE_MAX / 4 - sizeof(struct redis_hop)) / sizeof(strata_slice);
    if (outer->arg_count > most)
        return NULL;
    for (size_t i = 0; i < outer->arg_count; i++) {
        if (outer->args[i].size > SIZE_MAX / 4 - bytes)
            return NULL;
        bytes += outer->args[i].size;
    }
    struct redis_hop *hop = strata__alloc(cl->mem, sizeof *hop + outer->arg_count * sizeof hop->args[0] + bytes);
    if (hop == NULL)
        return NULL;
    memset(hop, 0, sizeof *hop);
    char *at = (char *)(hop->args + outer->arg_count);
    for (size_t i = 0; i < outer->arg_count; i++) {
        size_t size = outer->args[i].size;
        if (size != 0)
            memcpy(at, outer->args[i].data, size);
        hop->args[i] = strata_bytes(at, size);
        at += size;
    }
    hop->outer = outer;
    hop->cluster = cl;
    hop->deadline_ms = strata__redis_deadline(outer->timeout_ms);
    hop->has_slot = outer->key_at != 0 && outer->key_at < outer->arg_count;
    hop->slot = hop->has_slot ? strata__redis_slot(outer->args[outer->key_at]) : 0;
    hop->request.args = hop->args;
    hop->request.arg_count = outer->arg_count;
    hop->request.affinity = outer->affinity;
    hop->request.done = hop_done;
    hop->epoch = count_in(cl);
    return hop;
}

/* status, reply and err of hop->request are the answer. */
static void finish(struct redis_hop *hop)
{
    struct redis_cluster *cl = hop->cluster;
    struct redis_request *outer = hop->outer;
    if (hop->node != NULL)
        strata__redis_node_unpin(hop->node);
    outer->status = hop->request.status;
    outer->reply = hop->request.reply;
    outer->mark = hop->request.mark;
    outer->err = hop->request.err;
    uint8_t epoch = hop->epoch;
    strata__free(cl->mem, hop);
    atomic_fetch_sub(&cl->out[epoch], 1);
    outer->done(outer); /* may free it; and the cluster may be closed from here on, unless this is one of its threads */
}

void strata__redis_hop_fail(struct redis_hop *hop, const strata_error *why)
{
    hop->request.status = why->status;
    hop->request.reply = NULL;
    hop->request.err = *why;
    finish(hop);
}

static void why_late(const struct redis_cluster *cl, strata_error *why)
{
    (void)strata__fail(why, STRATA_ETIMEDOUT, cl->options->name,
                       "the cluster was being rearranged, or did not say in time who serves the key; it was not asked: "
                       "look at CLUSTER INFO, or allow more time");
}

void strata__redis_hop_send(struct redis_hop *hop)
{
    struct redis_request *request = &hop->request;
    int64_t left = hop->deadline_ms == INT64_MAX ? INT64_MAX : hop->deadline_ms - strata__os_now_ms();
    if (left > 0) {
        request->timeout_ms = left;
        strata__redis_submit(hop->node->link, &request, 1);
        return;
    }
    why_late(hop->cluster, &request->err);
    request->status = STRATA_ETIMEDOUT;
    request->reply = NULL;
    hop_done(request);
}

/* Lanes ------------------------------------------------------------------------------------------------------------- */

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
    why_late(cl, &why);
    while (list != NULL) {
        struct redis_hop *hop = list;
        list = hop->next;
        atomic_fetch_sub(&cl->held, 1);
        strata__redis_hop_fail(hop, given != NULL ? given : &why);
    }
}

/* Answers ----------------------------------------------------------------------------------------------------------- */

/* Sent on: at once, before anything that is held, and behind what was sent on before it. */
static void send_on(struct redis_hop *hop, struct redis_node *target, enum redis_redirect kind, uint16_t slot)
{
    struct redis_cluster *cl = hop->cluster;
    struct redis_lane *lane = redis_lane_of(cl, hop->slot);
    struct redis_node *before = hop->node;
    os_lock_take(&lane->lock);
    int is_news = hop->generation ==
                  lane->generation; /* else there was a newer map than the node's when this was sent */
    count_out_locked(lane, hop);
    if (kind == REDIS_MOVED && is_news && slot == hop->slot)
        strata__redis_lane_own_locked(cl, slot, target);
    hop->node = target;
    hop->generation = lane->generation - 1; /* nothing may be sent there before it is: the lane holds what comes */
    lane->old++;
    os_lock_give(&lane->lock);
    strata__redis_node_unpin(before);
    hop->request.asking = kind == REDIS_ASK;
    strata__redis_hop_send(hop);
    strata__redis_lane_release(cl, lane); /* it is not this hop's any more */
}

static int starts_with(strata_slice text, const char *word)
{
    return text.size >= strlen(word) && memcmp(text.data, word, strlen(word)) == 0;
}

/* Does the answer say that the map may be wrong? */
static int is_doubtful(const struct redis_request *request)
{
    static const char *const words[] = { "MOVED ", "CLUSTERDOWN", "READONLY", "MASTERDOWN", "LOADING" };
    if (request->status != STRATA_OK)
        return request->status == STRATA_EIO || request->status == STRATA_ETIMEDOUT;
    if (strata__redis_kind(request->reply) != REDIS_IS_ERROR)
        return 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (starts_with(strata__redis_text(request->reply), words[i]))
            return 1;
    return 0;
}

/* 1: it is on its way to another node. */
static int redirected(struct redis_hop *hop)
{
    struct redis_cluster *cl = hop->cluster;
    struct redis_place place;
    uint16_t slot;
    if (hop->request.status != STRATA_OK || !hop->has_slot || strata__redis_kind(hop->request.reply) != REDIS_IS_ERROR)
        return 0;
    enum redis_redirect kind = strata__redis_redirect(strata__redis_text(hop->request.reply), hop->node->place.host,
                                                      &slot, &place);
    if (kind == REDIS_STAYS || hop->redirects >= REDIS_REDIRECTS_MOST || atomic_load(&cl->closing))
        return 0;
    struct redis_node *target = strata__redis_node_at(cl, &place, &hop->request.err);
    if (target == NULL) {
        hop->request.status = hop->request.err.status;
        hop->request.reply = NULL;
        return 0;
    }
    hop->redirects++;
    send_on(hop, target, kind, slot);
    return 1;
}

static void hop_done(struct redis_request *request)
{
    struct redis_hop *hop = (struct redis_hop *)(void *)request;
    struct redis_cluster *cl = hop->cluster;
    struct redis_lane *lane = redis_lane_of(cl, hop->slot);
    if (is_doubtful(request))
        strata__redis_cluster_want(cl);
    if (redirected(hop))
        return;
    os_lock_take(&lane->lock);
    count_out_locked(lane, hop);
    int release = may_release_locked(cl, lane) && !lane->releasing;
    os_lock_give(&lane->lock);
    if (release)
        strata__redis_lane_release(cl, lane);
    finish(hop);
}
