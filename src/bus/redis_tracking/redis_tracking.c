/* redis_tracking.c - a bus that only listens: a server's CLIENT TRACKING in broadcast mode, as calls of strata_bus_key_changed().
 *
 * A link with one connection, which is asked to track before it counts as up.  The server keeps nothing for who is away, so
 * the flag REPLAYS is missing, and up() after a reconnect fences what came before.  Every heartbeat_ms a PING travels on the same
 * connection: its answer comes behind all that was told before it was sent, which is what strata_bus_proven() says; where none comes the
 * link gives the connection up. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/bus/bus_host.h"
#include "src/bus/redis_tracking/tracking_words.h"
#include "src/link/redis_target.h"
#include "src/os/os_lock.h"
#include "src/policy/options.h"
#include "strata/bus_redis_tracking.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000, PENDING_MOST = 16, FIRST_BEAT_MS = 10 };
#define DEFAULT_PREFIX "strata:"

struct tracking {
    strata_bus base;                       /* first */
    strata_redis_tracking_options options; /* texts are in target and prefix */
    struct redis_target target;
    char *prefix_text;
    strata_slice prefix;
    strata_bus_host *host; /* NULL: not started */
    struct redis_link *link;
    struct os_lock lock; /* between heartbeats and stop() */
    int stopping;        /* under it */
    int armed;           /* under it: the next heartbeat is on its way, */
    int64_t due_ms;      /* and is due then */
    char server[40];     /* under it */

    /* Written by the link's thread alone. */
    _Atomic(int) up;
    _Atomic(uint64_t) received, bytes, ups, lost;

    /* The link's thread's. */
    enum tracking_step step[TRACKING_LISTEN + 1]; /* what hello() has asked */
    strata_slice words[TRACKING_WORDS];
    char id[24]; /* CLIENT ID, in digits; "" not known yet */

    /* One heartbeat at a time. */
    struct redis_request ping;
    strata_slice ping_word;
    int64_t asked_ms;
    _Atomic(int) is_out;
};

static struct tracking *downcast(strata_bus *bus) { return (struct tracking *)(void *)bus; }

static int is_resp3(const struct tracking *t) { return t->options.protocol == 3; }

static void arm(struct tracking *t);
static void arm_soon(struct tracking *t);

/* What the connection says first --------------------------------------------------------------------------------- */

static size_t say(struct tracking *t, const strata_slice **out, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        t->words[i] = strata_str(words[i]);
    *out = t->words;
    return count;
}

static size_t say_tracking(struct tracking *t, const strata_slice **out)
{
    static const char *const plain[] = { "CLIENT", "TRACKING", "ON", "BCAST" };
    size_t count = say(t, out, plain, 4);
    if (!is_resp3(t)) {
        t->words[count++] = strata_str("REDIRECT");
        t->words[count++] = strata_str(t->id);
    }
    if (t->prefix.size > 0) {
        t->words[count++] = strata_str("PREFIX");
        t->words[count++] = t->prefix;
    }
    return count;
}

/* In RESP2 CLIENT TRACKING waits for the answer to CLIENT ID. */
static size_t hello(void *ctx, size_t nth, const strata_slice **out)
{
    static const enum tracking_step resp2[] = { TRACKING_HELLO, TRACKING_ID, TRACKING_ON, TRACKING_LISTEN };
    static const enum tracking_step resp3[] = { TRACKING_HELLO, TRACKING_ON, TRACKING_LISTEN };
    static const char *const who[] = { "CLIENT", "ID" };
    struct tracking *t = ctx;
    if (nth == 0)
        t->id[0] = '\0';
    if (nth >= (is_resp3(t) ? sizeof resp3 / sizeof resp3[0] : sizeof resp2 / sizeof resp2[0]))
        return 0;
    enum tracking_step step = is_resp3(t) ? resp3[nth] : resp2[nth];
    if (step == TRACKING_ON && !is_resp3(t) && t->id[0] == '\0')
        return 0;
    t->step[nth] = step;
    if (step == TRACKING_ON)
        return say_tracking(t, out);
    if (step == TRACKING_ID)
        return say(t, out, who, 2);
    t->words[0] = strata_str(step == TRACKING_HELLO ? "HELLO" : "SUBSCRIBE");
    t->words[1] = step == TRACKING_HELLO ? strata_str(is_resp3(t) ? "3" : "2")
                  : is_resp3(t)          ? t->prefix
                                         : strata_str("__redis__:invalidate");
    *out = t->words;
    return 2;
}

/* 0: hang up. */
static int take_hello(struct tracking *t, const struct redisReply *reply, strata_error *err)
{
    char server[sizeof t->server];
    int alone = tracking_hello(reply, server);
    os_lock_take(&t->lock);
    memcpy(t->server, server, sizeof server);
    os_lock_give(&t->lock);
    if (!alone)
        (void)strata__fail(err, STRATA_EIO, t->base.name,
                           "it is a node of a Cluster, and tells of its own keys alone: use another bus there");
    return alone;
}

static void came_up(struct tracking *t)
{
    atomic_fetch_add_explicit(&t->ups, 1, memory_order_relaxed); /* a count */
    atomic_store(&t->up, 1);
    strata_bus_up(t->host);
    arm(t);
    arm_soon(t);
}

static int greeted(void *ctx, size_t nth, const struct redisReply *reply, int64_t elapsed_us, struct redis_mark *mark,
                   strata_error *err)
{
    struct tracking *t = ctx;
    enum redis_reply_kind kind = strata__redis_kind(reply);
    enum tracking_step step = t->step[nth];
    (void)elapsed_us;
    (void)mark;
    /* A channel in RESP3 only bounds what the server keeps: without rights to one it is done without. */
    if (kind == REDIS_IS_ERROR && !(is_resp3(t) && step == TRACKING_LISTEN)) {
        tracking_refused(t->base.name, step, strata__redis_text(reply), err);
        return 0;
    }
    if (step == TRACKING_HELLO)
        return take_hello(t, reply, err);
    if (step == TRACKING_ID && kind == REDIS_IS_INTEGER)
        (void)snprintf(t->id, sizeof t->id, "%lld", (long long)strata__redis_integer(reply));
    if (step == TRACKING_LISTEN)
        came_up(t);
    return 1;
}

static void went_down(void *ctx, const strata_error *why)
{
    struct tracking *t = ctx;
    if (atomic_exchange(&t->up, 0))
        atomic_fetch_add_explicit(&t->lost, 1, memory_order_relaxed); /* a count */
    strata_bus_down(t->host, why);
    arm(t);
}

/* What it is told ------------------------------------------------------------------------------------------------ */

static void tell_keys(struct tracking *t, const struct redisReply *keys)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < strata__redis_count(keys); i++) {
        strata_slice key = strata__redis_text(strata__redis_at(keys, i)), own;
        bytes += key.size;
        if (tracking_key(t->prefix, key, &own))
            strata_bus_key_changed(t->host, own);
    }
    atomic_fetch_add_explicit(&t->bytes, bytes, memory_order_relaxed); /* counts */
}

static int caught(void *ctx, const struct redisReply *reply)
{
    struct tracking *t = ctx;
    const struct redisReply *keys;
    enum tracking_news news = tracking_read(reply, &keys);
    if (news == TRACKING_ANSWER)
        return 0;
    atomic_fetch_add_explicit(&t->received, 1, memory_order_relaxed); /* a count */
    if (news == TRACKING_KEYS)
        tell_keys(t, keys);
    else if (news == TRACKING_ALL)
        strata_bus_key_changed(t->host, strata_bytes(NULL, 0));
    else if (news == TRACKING_GARBLED)
        strata_bus_lost(t->host, "the server told of keys in a way that can't be read");
    return 1;
}

/* Heartbeats ------------------------------------------------------------------------------------------------------- */

static void ponged(struct redis_request *request)
{
    struct tracking *t = request->owner;
    int good = request->status == STRATA_OK; /* an error reply comes in its order, too */
    int64_t asked_ms = t->asked_ms;
    atomic_store(&t->is_out, 0); /* it may be used again */
    if (good && atomic_load(&t->up))
        strata_bus_proven(t->host, asked_ms);
}

static void ask(struct tracking *t)
{
    struct redis_request *const one = &t->ping;
    t->asked_ms = strata_bus_now_ms(t->host);
    t->ping_word = strata_str("PING");
    t->ping = (struct redis_request){
        .args = &t->ping_word, .arg_count = 1, .timeout_ms = t->options.timeout_ms, .done = ponged, .owner = t
    };
    strata__redis_submit(t->link, &one, 1);
}

static void beat_once(void *ctx)
{
    struct tracking *t = ctx;
    os_lock_take(&t->lock);
    if (!t->stopping && atomic_load(&t->up) && !atomic_exchange(&t->is_out, 1))
        ask(t);
    os_lock_give(&t->lock);
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

/* It is up: trust need not wait for the next heartbeat. */
static void arm_soon(struct tracking *t)
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

static int tracking_start(strata_bus *bus, strata_bus_host *host, const strata_bus_start *how, strata_error *err)
{
    struct tracking *t = downcast(bus);
    (void)how; /* it has neither messages nor a past */
    int rc = strata__redis_target_open(&t->target, t->base.name, err);
    if (rc < 0)
        return rc;
    struct redis_link_options o = strata__redis_target_link(&t->target);
    o.name = t->base.name;
    o.connections = 1;
    o.connect_timeout_ms = t->options.connect_timeout_ms;
    o.backoff_min_ms = BACKOFF_MIN_MS;
    o.backoff_max_ms = BACKOFF_MAX_MS;
    o.max_pending = PENDING_MOST;
    o.mem = strata_bus_allocator(host);
    o.hello = hello;
    o.greeted = greeted;
    o.caught = caught;
    o.lost = went_down;
    o.resp3 = is_resp3(t);
    o.ctx = t;
    t->host = host;
    t->stopping = 0;
    rc = strata__redis_open(&t->link, &o, err);
    if (rc == STRATA_OK) {
        arm(t);
        return STRATA_OK;
    }
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
    strata__redis_close(t->link);
    t->link = NULL;
    atomic_store(&t->up, 0);
}

static void tracking_stats(strata_bus *bus, strata_bus_stats *out)
{
    struct tracking *t = downcast(bus);
    uint64_t ups = atomic_load_explicit(&t->ups, memory_order_relaxed); /* counts */
    out->up = atomic_load(&t->up) != 0;
    out->received = atomic_load_explicit(&t->received, memory_order_relaxed);
    out->bytes_in = atomic_load_explicit(&t->bytes, memory_order_relaxed);
    out->reconnects = ups > 0 ? ups - 1 : 0;
    out->lost = atomic_load_explicit(&t->lost, memory_order_relaxed);
    os_lock_take(&t->lock);
    memcpy(out->server, t->server, sizeof out->server);
    os_lock_give(&t->lock);
}

static int tracking_reopen(strata_bus *bus, strata_error *err)
{
    struct tracking *t = downcast(bus);
    (void)err;
    strata__redis_abandon(t->link);
    t->link = NULL;
    t->target.tls = NULL; /* left as it is: a thread of the parent may have held a lock of OpenSSL's */
    t->host = NULL;
    atomic_store(&t->up, 0);
    atomic_store(&t->is_out, 0);
    t->lock = (struct os_lock){ 0 };
    t->armed = 0;
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
    if (rc == STRATA_OK && t->target.url.topology == REDIS_CLUSTER)
        rc = strata__fail(
            err, STRATA_EUNSUPPORTED, "url",
            "redis_tracking listens to one server, and in a Cluster each tells of its own keys alone: use a bus "
            "that carries messages there, or a server or Sentinels");
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
    t->base.flags = STRATA_BUS_RECEIVES_ONLY;
    t->base.max_message_bytes = 4096;
    (void)snprintf(t->base.name, sizeof t->base.name, "redis_tracking");
    (void)check(t, options, &t->base.failed);
    return &t->base;
}
