/* redis_hop.c - one request of a cluster on its way: to the node that owns its slot, and after it where that node sends it.  In which
 * order, says redis_lane.c.
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

void strata__redis_hop_why_late(const struct redis_cluster *cl, strata_error *why)
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
    strata__redis_hop_why_late(hop->cluster, &request->err);
    request->status = STRATA_ETIMEDOUT;
    request->reply = NULL;
    hop_done(request);
}

/* Answers ----------------------------------------------------------------------------------------------------------- */

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

/* Its nodes contradict each other, and will not stop. */
static void give_up(struct redis_hop *hop)
{
    enum { SHOWN = 90 };
    strata_slice text = strata__redis_text(hop->request.reply);
    (void)strata__fail(
        &hop->request.err, STRATA_EIO, hop->cluster->options->name,
        "slot %u is sent from node to node, at last with \"%.*s\": they contradict each other: compare their "
        "CLUSTER NODES, and run redis-cli --cluster fix",
        (unsigned)hop->slot, (int)(text.size < SHOWN ? text.size : SHOWN), (const char *)text.data);
    hop->request.status = STRATA_EIO;
    hop->request.reply = NULL;
}

/* Sent on: at once, before anything that is held, and behind what was sent on before it; or it pauses.  0: it is answered. */
static int send_on(struct redis_hop *hop, struct redis_node *target, enum redis_redirect kind, uint16_t slot)
{
    struct redis_cluster *cl = hop->cluster;
    struct redis_lane *lane = redis_lane_of(cl, hop->slot);
    struct redis_node *before = hop->node;
    hop->request.asking = 0;
    enum redis_sent_on what = strata__redis_lane_sent_on(hop, target, kind == REDIS_MOVED && slot == hop->slot);
    if (what == REDIS_GIVEN_UP) {
        strata__redis_node_unpin(target);
        give_up(hop);
        return 0;
    }
    strata__redis_node_unpin(before);
    if (what == REDIS_GOES_ON) {
        hop->request.asking = kind == REDIS_ASK;
        strata__redis_hop_send(hop);
    } else {
        strata__redis_node_unpin(target);
    }
    strata__redis_lane_release(cl, lane); /* it is not this hop's any more */
    return 1;
}

/* 1: it is on its way to another node, or will be. */
static int redirected(struct redis_hop *hop)
{
    struct redis_cluster *cl = hop->cluster;
    struct redis_place place;
    uint16_t slot;
    if (hop->request.status != STRATA_OK || !hop->has_slot || strata__redis_kind(hop->request.reply) != REDIS_IS_ERROR)
        return 0;
    enum redis_redirect kind = strata__redis_redirect(strata__redis_text(hop->request.reply), hop->node->place.host,
                                                      &slot, &place);
    if (kind == REDIS_STAYS || atomic_load(&cl->closing))
        return 0;
    struct redis_node *target = strata__redis_node_at(cl, &place, &hop->request.err);
    if (target == NULL) {
        hop->request.status = hop->request.err.status;
        hop->request.reply = NULL;
        return 0;
    }
    hop->redirects++;
    return send_on(hop, target, kind, slot);
}

static void hop_done(struct redis_request *request)
{
    struct redis_hop *hop = (struct redis_hop *)(void *)request;
    if (is_doubtful(request))
        strata__redis_cluster_want(hop->cluster);
    if (redirected(hop))
        return;
    strata__redis_lane_leave(hop, hop->request.status == STRATA_OK);
    finish(hop);
}
