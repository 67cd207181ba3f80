/* tracking_server.c - one connection to one server: a link with one connection, which is asked to track before it counts as up, and what comes
 * on it. */
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/bus/redis_tracking/tracking_impl.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000, PENDING_MOST = 16 };

/* What the connection says first --------------------------------------------------------------------------------- */

static size_t say(struct tracker *tr, const strata_slice **out, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tr->words[i] = strata_str(words[i]);
    *out = tr->words;
    return count;
}

static size_t say_tracking(struct tracker *tr, const strata_slice **out)
{
    static const char *const plain[] = { "CLIENT", "TRACKING", "ON", "BCAST" };
    const struct tracking *t = tr->t;
    size_t count = say(tr, out, plain, 4);
    if (!tracking_is_resp3(t)) {
        tr->words[count++] = strata_str("REDIRECT");
        tr->words[count++] = strata_str(tr->id);
    }
    if (t->prefix.size > 0) {
        tr->words[count++] = strata_str("PREFIX");
        tr->words[count++] = t->prefix;
    }
    return count;
}

/* What is asked for, in order; TRACKING_END behind it.  In RESP2 CLIENT TRACKING waits for the answer to CLIENT ID. */
static enum tracking_step step_at(const struct tracker *tr, size_t nth)
{
    static const enum tracking_step seed[] = { TRACKING_HELLO, TRACKING_END },
                                    keys[] = { TRACKING_HELLO, TRACKING_ID, TRACKING_RUN, TRACKING_LISTEN,
                                               TRACKING_END },
                                    resp2[] = { TRACKING_HELLO, TRACKING_ID, TRACKING_ON, TRACKING_LISTEN,
                                                TRACKING_END },
                                    resp3[] = { TRACKING_HELLO, TRACKING_ON, TRACKING_LISTEN, TRACKING_END };
    const enum tracking_step *steps = !tracker_listens(tr)       ? seed
                                      : tr->kind == TRACKER_KEYS ? keys
                                      : tracking_is_resp3(tr->t) ? resp3
                                                                 : resp2;
    for (size_t i = 0; i < nth; i++)
        if (steps[i] == TRACKING_END)
            return TRACKING_END;
    return steps[nth];
}

static size_t hello(void *ctx, size_t nth, const strata_slice **out)
{
    static const char *const who[] = { "CLIENT", "ID" }, *const info[] = { "INFO", "server" };
    struct tracker *tr = ctx;
    if (nth == 0)
        tr->id[0] = tr->run_id[0] = '\0';
    switch (step_at(tr, nth)) {
    case TRACKING_END: return 0;
    case TRACKING_ON: return tracking_is_resp3(tr->t) || tr->id[0] != '\0' ? say_tracking(tr, out) : 0;
    case TRACKING_ID: return say(tr, out, who, 2);
    case TRACKING_RUN: return say(tr, out, info, 2);
    case TRACKING_HELLO:
        tr->words[0] = strata_str("HELLO");
        tr->words[1] = strata_str(tracking_is_resp3(tr->t) ? "3" : "2");
        break;
    case TRACKING_LISTEN:
        tr->words[0] = strata_str("SUBSCRIBE");
        tr->words[1] = tracking_is_resp3(tr->t) ? tr->t->prefix : strata_str("__redis__:invalidate");
        break;
    }
    *out = tr->words;
    return 2;
}

/* 0: hang up. */
static int take_hello(struct tracker *tr, const struct redisReply *reply, strata_error *err)
{
    struct tracking *t = tr->t;
    char server[sizeof t->server];
    int alone = tracking_hello(reply, server);
    os_lock_take(&t->lock);
    memcpy(t->server, server, sizeof server);
    os_lock_give(&t->lock);
    if (!alone && t->cluster == NULL)
        (void)strata__fail(
            err, STRATA_EIO, t->base.name,
            "it is a node of a Cluster, and tells of its own keys alone: write redis+cluster:// into url");
    return alone || t->cluster != NULL;
}

static int greeted(void *ctx, size_t nth, const struct redisReply *reply, int64_t elapsed_us, struct redis_mark *mark,
                   strata_error *err)
{
    struct tracker *tr = ctx;
    enum redis_reply_kind kind = strata__redis_kind(reply);
    enum tracking_step step = step_at(tr, nth);
    (void)elapsed_us;
    (void)mark;
    /* A channel in RESP3 only bounds what the server keeps: without rights to one it is done without. */
    if (kind == REDIS_IS_ERROR && !(tracking_is_resp3(tr->t) && step == TRACKING_LISTEN)) {
        tracking_refused(tr->t->base.name, step, strata__redis_text(reply), err);
        return 0;
    }
    if (step == TRACKING_HELLO && !take_hello(tr, reply, err))
        return 0;
    if (step == TRACKING_ID && kind == REDIS_IS_INTEGER)
        (void)snprintf(tr->id, sizeof tr->id, "%lld", (long long)strata__redis_integer(reply));
    if (step == TRACKING_RUN)
        tracking_run_id(reply, tr->run_id);
    if (step_at(tr, nth + 1) == TRACKING_END) {
        atomic_fetch_add(&tr->ups, 1);
        atomic_store(&tr->up, 1);
        strata__tracking_came_up(tr);
    }
    return 1;
}

static void went_down(void *ctx, const strata_error *why)
{
    struct tracker *tr = ctx;
    if (atomic_exchange(&tr->up, 0) && tracker_listens(tr))
        atomic_fetch_add_explicit(&tr->t->lost, 1, memory_order_relaxed); /* a count */
    strata__tracking_went_down(tr, why);
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
    struct tracking *t = ((struct tracker *)ctx)->t;
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

/* Questions -------------------------------------------------------------------------------------------------------- */

static void answered(struct redis_request *request) { strata__tracking_answered(request->owner); }

/* In RESP2 who has subscribed may PING, and nothing else. */
int strata__tracker_asks_map(const struct tracker *tr)
{
    return tr->t->cluster != NULL && (tracking_is_resp3(tr->t) || !tracker_listens(tr));
}

void strata__tracker_ask(struct tracker *tr)
{
    struct redis_request *const one = &tr->question;
    const strata_slice ping[] = { strata_str("PING") }, slots[] = { strata_str("CLUSTER"), strata_str("SLOTS") };
    int asks = strata__tracker_asks_map(tr);
    tr->question = (struct redis_request){ .args = asks ? slots : ping,
                                           .arg_count = asks ? 2 : 1,
                                           .timeout_ms = tr->t->options.timeout_ms,
                                           .done = answered,
                                           .owner = tr };
    strata__redis_submit(tr->link, &one, 1);
}

/* Life ------------------------------------------------------------------------------------------------------------- */

struct tracker *strata__tracker_open(struct tracking *t, enum tracker_kind kind, const struct redis_place *place,
                                     strata_error *err)
{
    struct tracker *tr = strata__alloc_zero(NULL, sizeof *tr);
    if (tr == NULL) {
        (void)strata__fail_plain(err, STRATA_ENOMEM, t->base.name);
        return NULL;
    }
    tr->t = t;
    tr->kind = kind;
    struct redis_link_options o = strata__redis_target_link(&t->target);
    if (place != NULL) {
        tr->place = *place;
        o.topology = REDIS_ALONE;
        o.host = tr->place.host;
        o.port = tr->place.port;
    }
    o.name = t->base.name;
    o.connections = 1;
    o.connect_timeout_ms = t->options.connect_timeout_ms;
    o.backoff_min_ms = BACKOFF_MIN_MS;
    o.backoff_max_ms = BACKOFF_MAX_MS;
    o.max_pending = PENDING_MOST;
    o.mem = strata_bus_allocator(t->host);
    o.hello = hello;
    o.greeted = greeted;
    o.caught = tracker_listens(tr) ? caught : NULL;
    o.lost = went_down;
    o.resp3 = tracking_is_resp3(t);
    o.ctx = tr;
    if (strata__redis_open(&tr->link, &o, err) == STRATA_OK)
        return tr;
    strata__free(NULL, tr);
    return NULL;
}

void strata__tracker_quiet(struct tracker *tr)
{
    strata__redis_close(tr->link);
    tr->link = NULL;
}

void strata__tracker_close(struct tracker *tr)
{
    strata__tracker_quiet(tr);
    strata__free(NULL, tr);
}

void strata__tracker_abandon(struct tracker *tr)
{
    strata__redis_abandon(tr->link);
    strata__free(NULL, tr);
}
