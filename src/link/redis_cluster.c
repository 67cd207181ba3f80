/* redis_cluster.c - see redis_cluster.h: the way in, and the end.
 *
 * A request's slot says which lane it goes through, the lane who serves it now; those of a batch that go to one node are handed
 * to its link together, and leave in one write. */
#include "src/link/redis_cluster.h"

#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/redis_cluster_impl.h"
#include "src/link/redis_link_impl.h"
#include "src/os/os_clock.h"
#include "src/os/os_futex.h"

/* Requests ---------------------------------------------------------------------------------------------------------- */

enum { AT_ONCE = 64 };

static struct redis_hop *begin(struct redis_cluster *cl, struct redis_request *outer)
{
    struct redis_hop *hop = strata__redis_hop_new(cl, outer);
    if (hop == NULL) {
        strata_error why = STRATA_ERROR_INIT;
        (void)strata__fail_plain(&why, STRATA_ENOMEM, cl->options->name);
        strata__redis_fail(outer, &why);
        return NULL;
    }
    return strata__redis_hop_place(hop) > 0 ? hop : NULL;
}

/* Each node's in one go, in their order. */
static void send_some(struct redis_hop **hops, size_t count)
{
    struct redis_request *list[AT_ONCE];
    for (size_t first = 0; first < count; first++) {
        if (hops[first] == NULL)
            continue;
        struct redis_node *node = hops[first]->node;
        size_t n = 0;
        for (size_t i = first; i < count; i++) {
            if (hops[i] == NULL || hops[i]->node != node)
                continue;
            hops[i]->request.timeout_ms = hops[i]->outer->timeout_ms;
            list[n++] = &hops[i]->request;
            hops[i] = NULL;
        }
        strata__redis_submit(node->link, list, n); /* the last one's answer may unpin the node: link sees to itself */
    }
}

static void leave(struct redis_cluster *cl) { atomic_fetch_sub(&cl->inside, 1); }

void strata__redis_cluster_submit(struct redis_cluster *cl, struct redis_request *const *requests, size_t count)
{
    struct redis_hop *hops[AT_ONCE];
    atomic_fetch_add(&cl->inside, 1);
    for (size_t i = 0; i < count;) {
        size_t n = 0;
        for (; i < count && n < AT_ONCE; i++) {
            struct redis_hop *hop = begin(cl, requests[i]);
            if (hop != NULL)
                hops[n++] = hop;
        }
        send_some(hops, n);
    }
    leave(cl);
}

struct caller {
    _Atomic(uint32_t) word;
    void (*done)(struct redis_request *request);
    void *owner;
};

static void called(struct redis_request *request)
{
    struct caller *caller = request->owner;
    request->done = caller->done;
    request->owner = caller->owner;
    request->done(request);
    strata__os_unpark(&caller->word);
}

void strata__redis_cluster_call(struct redis_cluster *cl, struct redis_request *request)
{
    struct caller caller = { .done = request->done, .owner = request->owner };
    atomic_init(&caller.word, 0);
    request->done = called;
    request->owner = &caller;
    atomic_fetch_add(&cl->inside, 1);
    struct redis_hop *hop = begin(cl, request);
    if (hop != NULL) {
        hop->request.timeout_ms = request->timeout_ms;
        strata__redis_call(hop->node->link, &hop->request); /* which may have been sent elsewhere by then */
    }
    leave(cl);
    (void)strata__os_park(&caller.word, INT64_MAX);
}

/* All nodes --------------------------------------------------------------------------------------------------------- */

/* Until what was submitted before is not on its way any more, or has timed out: that is up to the links then. */
static int wait_for_hops(struct redis_cluster *cl, int64_t timeout_ms)
{
    int64_t deadline = strata__redis_deadline(timeout_ms);
    uint32_t before = atomic_fetch_add(&cl->epoch, 1) & 1;
    while (atomic_load(&cl->out[before]) > 0) {
        if (strata__os_now_ms() >= deadline)
            return 0;
        (void)strata__os_poll(NULL, 0, 1);
    }
    return 1;
}

static int settle_node(struct redis_cluster *cl, size_t at, int64_t timeout_ms, strata_error *err)
{
    os_lock_take(&cl->lock);
    struct redis_node *node = cl->nodes[at];
    struct redis_link *link = node->link;
    if (link != NULL)
        atomic_fetch_add(&node->hops, 1);
    os_lock_give(&cl->lock);
    if (link == NULL)
        return STRATA_OK;
    int rc = strata__redis_settle(link, timeout_ms, err);
    int owns = atomic_load(&node->slots) > 0;
    strata__redis_node_unpin(node);
    return owns ? rc : STRATA_OK;
}

int strata__redis_cluster_settle(struct redis_cluster *cl, int64_t timeout_ms, strata_error *err)
{
    int rc = STRATA_OK;
    atomic_fetch_add(&cl->inside, 1);
    os_mutex_lock(&cl->settling); /* two flips at once would count new hops among the old ones */
    if (!wait_for_hops(cl, timeout_ms))
        rc = strata__fail(
            err, STRATA_ETIMEDOUT, cl->options->name,
            "what was asked of the cluster before is not answered yet: look at its load, or allow more time");
    os_mutex_unlock(&cl->settling);
    size_t count = atomic_load(&cl->node_count);
    for (size_t i = 0; rc == STRATA_OK && i < count; i++)
        rc = settle_node(cl, i, timeout_ms, err);
    leave(cl);
    return rc;
}

/* Until a question that is asked from now on is answered. */
static int renew_map(struct redis_cluster *cl, int64_t timeout_ms, strata_error *err)
{
    int64_t deadline = strata__redis_deadline(timeout_ms);
    uint32_t begun = atomic_load(&cl->begun);
    atomic_store(&cl->demanded, 1);
    strata__os_unpark(&cl->wake);
    while ((int32_t)(atomic_load(&cl->ended) - begun) <= 0) {
        if (atomic_load(&cl->closing))
            return strata__fail_plain(err, STRATA_ECLOSED, cl->options->name);
        if (strata__os_now_ms() >= deadline)
            return strata__fail(
                err, STRATA_ETIMEDOUT, cl->options->name,
                "no node of the cluster said in time who serves what: look at its load, or allow more time");
        (void)strata__os_poll(NULL, 0, 1);
    }
    if (atomic_load(&cl->map_good))
        return STRATA_OK;
    os_lock_take(&cl->lock);
    if (err != NULL)
        *err = cl->reason;
    os_lock_give(&cl->lock);
    return STRATA_EIO;
}

int strata__redis_cluster_nodes(struct redis_cluster *cl, int64_t timeout_ms, uint32_t *out, size_t room,
                                size_t *out_count, strata_error *err)
{
    atomic_fetch_add(&cl->inside, 1);
    int rc = renew_map(cl, timeout_ms, err);
    size_t found = 0, count = rc == STRATA_OK ? atomic_load(&cl->node_count) : 0;
    for (size_t i = 0; i < count; i++) {
        if (atomic_load(&cl->nodes[i]->slots) == 0)
            continue;
        if (found < room)
            out[found] = (uint32_t)i + 1;
        found++;
    }
    *out_count = found;
    leave(cl);
    return rc;
}

void strata__redis_cluster_counts(struct redis_cluster *cl, struct redis_link_counts *out)
{
    *out = (struct redis_link_counts){ 0 };
    os_lock_take(&cl->lock);
    size_t count = atomic_load(&cl->node_count);
    for (size_t i = 0; i < count; i++) {
        struct redis_link_counts one = { 0 };
        if (cl->nodes[i]->link != NULL)
            strata__redis_counts(cl->nodes[i]->link, &one);
        out->requests += one.requests;
        out->timeouts += one.timeouts;
        out->connects += one.connects;
        out->disconnects += one.disconnects;
        out->writes += one.writes;
        out->reads += one.reads;
        out->connected += one.connected;
    }
    os_lock_give(&cl->lock);
}

/* Opening and closing ----------------------------------------------------------------------------------------------- */

static void give_back(struct redis_cluster *cl)
{
    const strata_allocator *mem = cl->mem;
    size_t count = atomic_load(&cl->node_count);
    for (size_t i = 0; i < count; i++)
        strata__free(mem, cl->nodes[i]);
    strata__free(mem, cl->map);
    strata__free(mem, cl->next_map);
    strata__free(mem, cl);
}

int strata__redis_cluster_open(struct redis_cluster **out, const struct redis_link_options *options, strata_error *err)
{
    *out = NULL;
    struct redis_cluster *cl = strata__alloc_zero(options->mem, sizeof *cl);
    if (cl == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, options->name);
    cl->mem = options->mem;
    cl->options = options;
    cl->node_options = *options;
    cl->node_options.topology = REDIS_ALONE;
    cl->map = strata__alloc_zero(cl->mem, sizeof *cl->map);
    cl->next_map = strata__alloc_zero(cl->mem, sizeof *cl->next_map);
    if (cl->map == NULL || cl->next_map == NULL) {
        give_back(cl);
        return strata__fail_plain(err, STRATA_ENOMEM, options->name);
    }
    atomic_init(&cl->state, REDIS_LOOKING);
    int failed = strata__os_mutex_init(&cl->settling);
    if (failed == 0) {
        failed = strata__os_thread_start(&cl->thread, "strata-cluster", strata__redis_cluster_run, cl);
        if (failed != 0)
            strata__os_mutex_deinit(&cl->settling);
    }
    if (failed != 0) {
        give_back(cl);
        return strata__fail_os(err, STRATA_EIO, failed, options->name,
                               "the thread for a cluster could not be started: raise the limits (ulimit -u)");
    }
    *out = cl;
    return STRATA_OK;
}

void strata__redis_cluster_rouse(struct redis_cluster *cl)
{
    os_lock_take(&cl->lock);
    size_t count = atomic_load(&cl->node_count);
    for (size_t i = 0; i < count; i++)
        if (cl->nodes[i]->link != NULL)
            strata__redis_rouse(cl->nodes[i]->link);
    os_lock_give(&cl->lock);
    strata__redis_cluster_want(cl);
}

/* From now on nothing is sent on; what the thread waits for is answered. */
static void hurry(struct redis_cluster *cl)
{
    os_lock_take(&cl->lock);
    atomic_store(&cl->closing, 1);
    strata__redis_hurry(cl->asking);
    size_t count = atomic_load(&cl->node_count);
    for (size_t i = 0; i < count; i++)
        strata__redis_hurry(cl->nodes[i]->link);
    os_lock_give(&cl->lock);
    strata__os_unpark(&cl->wake);
    strata__os_thread_join(&cl->thread);
}

/* All links end, which answers what is out, before any of them goes: until the last one has ended, its thread may be about to
 * hand something to another. */
void strata__redis_cluster_close(struct redis_cluster *cl)
{
    strata_error why = STRATA_ERROR_INIT;
    hurry(cl);
    atomic_store(&cl->state, REDIS_ENDED);
    (void)strata__fail_plain(&why, STRATA_ECLOSED, cl->options->name);
    for (size_t i = 0; i < REDIS_LANES; i++)
        strata__redis_lane_expire(cl, &cl->lanes[i], INT64_MAX, &why);
    size_t count = atomic_load(&cl->node_count);
    for (size_t i = 0; i < count; i++)
        strata__redis_stop(cl->nodes[i]->link);
    while (atomic_load(&cl->inside) > 0)
        (void)strata__os_poll(NULL, 0, 1);
    for (size_t i = 0; i < count; i++)
        strata__redis_free(cl->nodes[i]->link);
    strata__os_mutex_deinit(&cl->settling);
    give_back(cl);
}

/* What is out, and what the thread was just doing, is lost with the parent's threads. */
void strata__redis_cluster_abandon(struct redis_cluster *cl)
{
    size_t count = atomic_load(&cl->node_count);
    strata__redis_abandon(cl->asking);
    for (size_t i = 0; i < count; i++)
        strata__redis_abandon(cl->nodes[i]->link);
    give_back(cl);
}
