/* redis_tracking.c - a bus that only listens: a server's CLIENT TRACKING, as calls of strata_bus_key_changed().
 *
 * The server keeps nothing for who is away, so the flag REPLAYS is missing, and up() after a reconnect fences what came before.  Every
 * heartbeat_ms a question travels on each connection that tells: its answer comes behind all that was told before it was asked, which is what
 * strata_bus_proven() says; where none comes the link gives the connection up. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/bus/redis_tracking/tracking_impl.h"
#include "src/os/os_socket.h"
#include "src/policy/options.h"

enum { FIRST_BEAT_MS = 10 };
#define DEFAULT_PREFIX "strata:"

static struct tracking *downcast(strata_bus *bus) { return (struct tracking *)(void *)bus; }

static void arm(struct tracking *t);

/* What the host is told -------------------------------------------------------------------------------------------- */

void strata__tracking_tell_up(struct tracking *t)
{
    os_lock_take(&t->lock);
    if (!t->stopping && !t->told_up) {
        atomic_fetch_add_explicit(&t->ups, 1, memory_order_relaxed); /* a count */
        t->told_up = 1;
        strata_bus_up(t->host);
    }
    os_lock_give(&t->lock);
}

void strata__tracking_tell_down(struct tracking *t, const strata_error *why)
{
    os_lock_take(&t->lock);
    if (!t->stopping) {
        t->told_up = 0;
        strata_bus_down(t->host, why);
    }
    os_lock_give(&t->lock);
}

void strata__tracking_came_up(struct tracker *tr)
{
    struct tracking *t = tr->t;
    if (tr->kind == TRACKER_KEYS)
        strata__tracking_keys_listen(tr);
    else if (t->cluster == NULL)
        strata__tracking_tell_up(t);
    arm(t);
    strata__tracking_soon(t);
}

void strata__tracking_went_down(struct tracker *tr, const strata_error *why)
{
    os_lock_take(&tr->t->lock);
    int matters = tracker_listens(tr) || !tr->t->told_up;
    os_lock_give(&tr->t->lock);
    if (matters)
        strata__tracking_tell_down(tr->t, why);
    arm(tr->t);
}

/* Heartbeats ------------------------------------------------------------------------------------------------------- */

/* One thread more that uses trackers, unless they are about to go. */
static int enter(struct tracking *t)
{
    os_lock_take(&t->lock);
    int may = !t->stopping;
    if (may)
        atomic_fetch_add(&t->inside, 1);
    os_lock_give(&t->lock);
    return may;
}

/* All have answered. */
static void judge(void *ctx)
{
    struct tracking *t = ctx;
    if (enter(t)) {
        if (t->cluster != NULL)
            strata__tracking_cluster_judge(t);
        else if (tracking_per_key(t))
            strata__tracking_keys_judge(t);
        else if (!atomic_load(&t->failed))
            strata_bus_proven(t->host, t->asked_ms);
        atomic_store(&t->is_out, 0);
        atomic_fetch_sub(&t->inside, 1);
    }
}

/* In a Cluster links are closed, which a link's own thread can't. */
void strata__tracking_leave(struct tracking *t)
{
    if (atomic_fetch_sub(&t->left, 1) != 1)
        return;
    os_lock_take(&t->lock);
    int later = t->cluster != NULL && !t->stopping && strata_bus_after(t->host, 0, judge, t) == STRATA_OK;
    os_lock_give(&t->lock);
    if (t->cluster == NULL)
        judge(t);
    else if (!later)
        atomic_store(&t->is_out, 0);
}

void strata__tracking_answered(struct tracker *tr)
{
    struct tracking *t = tr->t;
    int good = tr->question.status == STRATA_OK; /* an error reply comes in its order, too */
    if (!good || !atomic_load(&tr->up))
        atomic_store(&t->failed, 1);
    else if (t->cluster != NULL)
        strata__tracking_cluster_answer(tr);
    strata__tracking_leave(t);
}

static void beat_once(void *ctx)
{
    struct tracking *t = ctx;
    size_t count = 0;
    struct tracker *asked[TRACKERS_MOST];
    if (!enter(t))
        return;
    if (!atomic_exchange(&t->is_out, 1)) { /* trackers stay as they are until it is over */
        t->asked_ms = strata_bus_now_ms(t->host);
        os_lock_take(&t->lock);
        for (size_t i = 0; i < t->tracker_count; i++)
            if (atomic_load(&t->trackers[i]->up))
                asked[count++] = t->trackers[i];
        os_lock_give(&t->lock);
        atomic_store(&t->failed, 0);
        atomic_store(&t->left, (uint32_t)count + 1);
        if (t->cluster != NULL)
            strata__tracking_cluster_begin(t);
        for (size_t i = 0; i < count; i++)
            strata__tracker_ask(asked[i]);
        if (count == 0 && t->cluster == NULL) {
            atomic_store(&t->is_out, 0); /* there is nobody to be asked */
        } else if (count > 0 && tracking_per_key(t)) {
            strata__tracking_keys_ask(t); /* the one that stands for this part */
        } else {
            strata__tracking_leave(t);
        }
    }
    atomic_fetch_sub(&t->inside, 1);
}

static void beat(void *ctx)
{
    struct tracking *t = ctx;
    os_lock_take(&t->lock);
    t->armed = 0;
    int is_cut = t->stopping || strata_bus_now_ms(t->host) < t->due_ms; /* the cache closes, and waits for nothing */
    os_lock_give(&t->lock);
    if (is_cut)
        return;
    beat_once(t);
    arm(t);
}

/* Something has changed: what follows need not wait for the next heartbeat. */
void strata__tracking_soon(struct tracking *t)
{
    os_lock_take(&t->lock);
    if (!t->stopping)
        (void)strata_bus_after(t->host, FIRST_BEAT_MS, beat_once, t);
    os_lock_give(&t->lock);
}

/* The lock lets stop() know that the host is not called any more.  Where memory is out, who comes next tries again. */
static void arm(struct tracking *t)
{
    os_lock_take(&t->lock);
    if (!t->armed && !t->stopping) {
        t->due_ms = strata_bus_now_ms(t->host) + t->options.heartbeat_ms;
        t->armed = strata_bus_after(t->host, t->options.heartbeat_ms, beat, t) == STRATA_OK;
    }
    os_lock_give(&t->lock);
}

/* A bus ---------------------------------------------------------------------------------------------------------- */

static void close_trackers(struct tracking *t)
{
    /* An answer that comes meanwhile is told beside all of them: none goes before all are quiet. */
    for (size_t i = 0; i < t->tracker_count; i++)
        strata__tracker_quiet(t->trackers[i]);
    for (size_t i = 0; i < t->tracker_count; i++)
        strata__tracker_close(t->trackers[i]);
    t->tracker_count = 0;
    strata__tracking_cluster_free(t);
}

static int open_trackers(struct tracking *t, strata_error *err)
{
    if (t->target.url.topology == REDIS_CLUSTER)
        return strata__tracking_cluster_start(t, err);
    enum tracker_kind kind = tracking_per_key(t) ? TRACKER_KEYS : TRACKER_PREFIX;
    struct tracker *tr = strata__tracker_open(t, kind, NULL, err);
    if (tr == NULL)
        return err != NULL && err->status < 0 ? err->status : STRATA_EIO;
    os_lock_take(&t->lock);
    t->trackers[t->tracker_count++] = tr;
    os_lock_give(&t->lock);
    return STRATA_OK;
}

static int tracking_start(strata_bus *bus, strata_bus_host *host, const strata_bus_start *how, strata_error *err)
{
    struct tracking *t = downcast(bus);
    (void)how; /* it has neither messages nor a past */
    int rc = strata__redis_target_open(&t->target, t->base.name, err);
    if (rc < 0)
        return rc;
    t->host = host;
    t->stopping = t->told_up = 0;
    rc = strata__tracking_keys_check(t, err);
    if (rc == STRATA_OK)
        rc = open_trackers(t, err);
    if (rc == STRATA_OK) {
        arm(t);
        return STRATA_OK;
    }
    close_trackers(t);
    strata__redis_target_close(&t->target);
    t->host = NULL;
    return rc;
}

static void tracking_stop(strata_bus *bus, int64_t flush_ms)
{
    struct tracking *t = downcast(bus);
    (void)flush_ms; /* nothing is published */
    if (t->host == NULL)
        return;
    os_lock_take(&t->lock);
    t->stopping = 1;
    os_lock_give(&t->lock);
    while (atomic_load(&t->inside) > 0)
        (void)strata__os_poll(NULL, 0, 1);
    close_trackers(t);
    t->told_up = 0;
}

static void tracking_stats(strata_bus *bus, strata_bus_stats *out)
{
    struct tracking *t = downcast(bus);
    uint64_t ups = atomic_load_explicit(&t->ups, memory_order_relaxed); /* counts */
    out->received = atomic_load_explicit(&t->received, memory_order_relaxed);
    out->bytes_in = atomic_load_explicit(&t->bytes, memory_order_relaxed);
    out->reconnects = ups > 0 ? ups - 1 : 0;
    out->lost = atomic_load_explicit(&t->lost, memory_order_relaxed);
    os_lock_take(&t->lock);
    out->up = t->told_up ? 1 : 0;
    memcpy(out->server, t->server, sizeof out->server);
    os_lock_give(&t->lock);
}

static int tracking_reopen(strata_bus *bus, strata_error *err)
{
    struct tracking *t = downcast(bus);
    (void)err;
    for (size_t i = 0; i < t->tracker_count; i++)
        strata__tracker_abandon(t->trackers[i]);
    t->tracker_count = 0;
    strata__tracking_cluster_free(t);
    t->target.tls = NULL; /* left as it is: a thread of the parent may have held a lock of OpenSSL's */
    t->host = NULL;
    atomic_store(&t->inside, 0);
    atomic_store(&t->is_out, 0);
    t->lock = (struct os_lock){ 0 };
    t->armed = t->told_up = 0;
    return STRATA_OK;
}

static void tracking_close(strata_bus *bus)
{
    struct tracking *t = downcast(bus);
    strata__redis_target_close(&t->target);
    strata__redis_target_deinit(&t->target);
    strata__free(NULL, t->prefix_text);
    strata__free(NULL, t);
}

static const strata_bus_ops tracking_ops = {
    .size = sizeof(strata_bus_ops),
    .kind = "redis_tracking",
    .start = tracking_start,
    .stop = tracking_stop,
    .stats = tracking_stats,
    .reopen = tracking_reopen,
    .close = tracking_close,
};

/* The constructor ------------------------------------------------------------------------------------------------ */

static int take_target(struct tracking *t, strata_error *err)
{
    const strata_redis_tracking_options *o = &t->options;
    const struct redis_target_options target = { o->url,          o->sentinel_user,   o->sentinel_password,
                                                 o->tls_ca_file,  o->tls_ca_dir,      o->tls_cert_file,
                                                 o->tls_key_file, o->tls_server_name, o->tls_verify };
    int rc = strata__redis_target_init(&t->target, &target, err);
    if (rc == STRATA_OK && o->cluster == STRATA_ON)
        rc = strata__redis_url_cluster(&t->target.url, err);
    if (rc == STRATA_OK && t->target.url.topology == REDIS_CLUSTER && tracking_per_key(t))
        rc = strata__fail(err, STRATA_EUNSUPPORTED, "per_key",
                          "of a Cluster all keys with the prefix are told: leave per_key out there");
    return rc;
}

static int check_protocol(struct tracking *t, strata_error *err)
{
    if (t->options.protocol == 0)
        t->options.protocol = strata__redis_pushes() ? 3 : 2;
    if (t->options.protocol != 3 || strata__redis_pushes() || !strata__redis_built_in())
        return STRATA_OK;
    return strata__fail(
        err, STRATA_EUNSUPPORTED, "protocol",
        "this build of strata has a hiredis older than 1.0, which can't read RESP3: set protocol to 2, or 0");
}

static int check(struct tracking *t, const strata_redis_tracking_options *given, strata_error *err)
{
    static const strata_redis_tracking_options defaults = STRATA_REDIS_TRACKING_OPTIONS_INIT;
    strata_redis_tracking_options *o = &t->options;
    if (given == NULL)
        given = &defaults;
    int rc = strata__options_check(&strata__redis_tracking_rows, given, given->size, o, sizeof *o, err);
    if (rc < 0)
        return rc;
    strata__options_fill(&strata__redis_tracking_rows, o);
    if (o->name != NULL)
        (void)snprintf(t->base.name, sizeof t->base.name, "%s", o->name);
    t->prefix_text = strata__strdup(NULL, o->prefix != NULL ? o->prefix : DEFAULT_PREFIX);
    if (t->prefix_text == NULL)
        return strata__fail(err, STRATA_ENOMEM, "prefix", "no memory for the prefix: free some");
    t->prefix = strata_str(t->prefix_text);
    rc = take_target(t, err);
    return rc == STRATA_OK ? check_protocol(t, err) : rc;
}

strata_bus *strata_redis_tracking_bus(const strata_redis_tracking_options *options)
{
    struct tracking *t = strata__alloc_zero(NULL, sizeof *t);
    if (t == NULL)
        return strata__bus_out_of_memory();
    t->base.size = sizeof t->base;
    t->base.ops = &tracking_ops;
    t->base.max_message_bytes = 4096;
    (void)snprintf(t->base.name, sizeof t->base.name, "redis_tracking");
    (void)check(t, options, &t->base.failed);
    t->base.flags = STRATA_BUS_RECEIVES_ONLY | (tracking_per_key(t) ? STRATA_BUS_FOLLOWS : 0u);
    return &t->base;
}
