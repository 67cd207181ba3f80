/* guard.c - a layer that stands before a remote one: its operations.  See guard.h. */
#include "src/layer/guard.h"

#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/guard_impl.h"
#include "src/layer/layer_host.h"

static struct guard *downcast(strata_layer *layer) { return (struct guard *)(void *)layer; }

enum breaker_verdict strata__guard_judge(int status)
{
    switch (status) {
    case STRATA_EIO:
    case STRATA_ETIMEDOUT:
    case STRATA_ECLOSED: return BREAKER_SICK;
    case STRATA_ENOMEM:
    case STRATA_EBUSY:
    case STRATA_ECANCELED:
    case STRATA_EFORKED: return BREAKER_UNSURE;
    default: return BREAKER_WELL;
    }
}

void strata__guard_note_why_locked(struct guard *g, enum breaker_verdict verdict, int status, const strata_error *err)
{
    if (verdict != BREAKER_SICK)
        return;
    g->why = *err;
    g->why.status = status;
    if (g->why.message[0] == 0)
        strata__fail_plain(&g->why, status, g->base.name);
}

/* How it went --------------------------------------------------------------------------------------------------------- */

/* What the caller is told; the lock is held. */
static int finish_locked(struct guard *g, strata_op *op, int64_t now)
{
    enum breaker_verdict verdict = guard_judge(g, op->status);
    if (op->kind == STRATA_OP_LEASE && op->status == STRATA_PENDING)
        verdict = BREAKER_UNSURE; /* so it waited: that says nothing of the store */
    strata__breaker_tell(&g->breaker, op->guarded_ticket, verdict, now);
    strata__guard_note_why_locked(g, verdict, op->status, op->err);
    if (op->kind == STRATA_OP_REMOVE && op->status < 0) {
        strata__owed_key(&g->owed, op);
        /* Refused: it is tried again, as someone may change the server's mind, but by itself it will not succeed.  That is for
           the caller to know; "pending" would sound as if waiting helped. */
        if (verdict == BREAKER_WELL)
            return op->status;
        g->hidden++;
        op->err->status = STRATA_OK; /* or the cache would count it, too */
        return STRATA_PENDING;
    }
    if (op->kind == STRATA_OP_REMOVE && op->status != STRATA_AGAIN) /* it was to compare, and left what is there */
        strata__owed_removed(&g->owed, op, op->guarded_stamp);
    /* A put that was refused was not carried out; of any other that failed, nobody knows. */
    if (op->kind == STRATA_OP_PUT && op->status < 0 && verdict != BREAKER_WELL)
        strata__owed_key(&g->owed, op);
    return op->status;
}

static void guard_done(strata_op *op)
{
    struct guard *g = op->owner;
    int status = op->status;
    op->done = op->guarded_done;
    op->owner = op->guarded_owner;
    if (status < 0 || atomic_load_explicit(&g->quiet, memory_order_acquire) == 0) {
        int64_t now = strata_host_now_ms(g->host);
        os_lock_take(&g->lock);
        status = finish_locked(g, op, now);
        struct guard_todo todo = strata__guard_plan_locked(g, now);
        os_lock_give(&g->lock);
        strata__guard_do(g, todo);
    }
    strata_op_done(op, status); /* and nothing of the guard after that: it may be closed */
}

static void wrap(struct guard *g, strata_op *op, uint64_t ticket, uint64_t stamp)
{
    op->guarded_done = op->done;
    op->guarded_owner = op->owner;
    op->guarded_ticket = ticket;
    op->guarded_stamp = stamp;
    op->done = guard_done;
    op->owner = g;
}

/* While something is wrong -------------------------------------------------------------------------------------------- */

/* What a get is told while the layer is not asked.  One copy for a batch. */
struct refusal {
    int told;
    int64_t since_ms, until_ms, now_ms;
    uint32_t in_a_row;
    uint64_t owed;
    strata_error why;
};

static void note_refusal_locked(const struct guard *g, int64_t now, struct refusal *r)
{
    if (r->told)
        return;
    *r = (struct refusal){ .told = 1,
                           .since_ms = g->breaker.since_ms,
                           .until_ms = g->breaker.until_ms,
                           .now_ms = now,
                           .in_a_row = g->breaker.in_a_row,
                           .owed = g->owed.key_count + g->owed.clear_count + (g->owed.all.stamp != 0),
                           .why = g->why };
}

static int refused_words(const struct guard *g, strata_error *err, const struct refusal *r)
{
    long long since = (long long)(r->now_ms - r->since_ms), until = (long long)(r->until_ms - r->now_ms);
    char owed[64] = "";
    if (r->owed != 0)
        snprintf(owed, sizeof owed, ", with %llu delete%s to be told first", (unsigned long long)r->owed,
                 r->owed == 1 ? "" : "s");
    int rc = strata__fail(err, STRATA_ELAYER, g->base.name,
                          "left alone for %lld ms, after %u failures in a row; the next try is in %lld ms%s; the last "
                          "failure: ",
                          since, r->in_a_row, until > 0 ? until : 0, owed);
    if (err == NULL)
        return rc;
    size_t n = strlen(err->message);
    strata__words_fit(err->message + n, sizeof err->message - n, r->why.message);
    err->os_errno = r->why.os_errno;
    return rc;
}

/* A put with a lease that does not get to the layer: the layer is to know that the lease is over. */
static void unleased(strata_op *op)
{
    int status = (int)op->guarded_ticket;
    op->done = op->guarded_done;
    op->owner = op->guarded_owner;
    op->kind = STRATA_OP_PUT;
    op->flags &= ~(uint32_t)STRATA_OP_NOWAIT;
    strata_op_done(op, status);
}

static void release_instead(strata_op *op)
{
    op->guarded_ticket = (uint64_t)op->status;
    op->guarded_done = op->done;
    op->guarded_owner = op->owner;
    op->done = unleased;
    op->kind = STRATA_OP_RELEASE;
    op->flags |= STRATA_OP_NOWAIT; /* it is sick */
}

/* Not let through: what it is answered. */
static int refuse_locked(struct guard *g, strata_op *op, int64_t now, struct refusal *r)
{
    g->refused++;
    if (op->kind == STRATA_OP_PUT)
        return STRATA_AGAIN;
    if (op->kind == STRATA_OP_REMOVE)
        return strata__owed_key(&g->owed, op) ? STRATA_PENDING : STRATA_OK;
    note_refusal_locked(g, now, r);
    return STRATA_ELAYER;
}

/* Let it through, or leave what it is answered in op->status and no done function of ours. */
static void decide_locked(struct guard *g, strata_op *op, int64_t now, struct refusal *r)
{
    uint64_t ticket = 0;
    op->guarded_done = NULL;
    if (op->kind < STRATA_OP_GET || op->kind > STRATA_OP_LEASE) {
        wrap(g, op, 0, 0); /* the layer knows what to say; and a lease is released whatever is wrong */
        return;
    }
    int closed = g->breaker.state == BREAKER_CLOSED;
    /* With notes, the replay is the probe.  A lease never is: it may wait long. */
    int waits = !closed && (!owed_empty(&g->owed) || op->kind == STRATA_OP_LEASE);
    if (closed && op->kind != STRATA_OP_REMOVE && strata__owed_fences(&g->owed, op->space, op->key)) {
        op->status = op->kind == STRATA_OP_GET   ? STRATA_MISS
                     : op->kind == STRATA_OP_PUT ? STRATA_AGAIN
                                                 : STRATA_PENDING;
    } else if (closed && (op->flags & STRATA_OP_UNDO) && strata__owed_fences(&g->owed, op->space, op->key)) {
        op->status = STRATA_PENDING; /* noted when the put failed; to ask once more would wait for as long again */
    } else if (waits || strata__breaker_ask(&g->breaker, now, &ticket) == BREAKER_REFUSE) {
        op->status = refuse_locked(g, op, now, r);
    } else {
        wrap(g, op, ticket, g->owed.stamp);
        return;
    }
    if (op->kind == STRATA_OP_PUT && op->lease != 0)
        release_instead(op);
}

static void answer(struct guard *g, strata_op *op, const struct refusal *r)
{
    int status = op->status;
    if (op->kind == STRATA_OP_GET || op->kind == STRATA_OP_LEASE) {
        op->found = NULL;
        op->lease = 0;
        if (status < 0)
            refused_words(g, op->err, r);
    }
    strata_op_done(op, status);
}

static void submit_carefully(struct guard *g, strata_op *const *ops, size_t count)
{
    struct refusal r;
    int64_t now = strata_host_now_ms(g->host);
    r.told = 0;
    os_lock_take(&g->lock);
    g->cut = g->settled = 0;
    for (size_t i = 0; i < count; i++)
        decide_locked(g, ops[i], now, &r);
    struct guard_todo todo = strata__guard_plan_locked(g, now);
    os_lock_give(&g->lock);
    strata__guard_do(g, todo);
    /* The list lives until its last operation is answered: nothing behind that one is looked at. */
    for (size_t i = 0, n; i < count; i += n) {
        n = 1;
        if (ops[i]->guarded_done == NULL) {
            answer(g, ops[i], &r);
            continue;
        }
        while (i + n < count && ops[i + n]->guarded_done != NULL)
            n++;
        g->inner->ops->submit(g->inner, ops + i, n);
    }
}

static void guard_submit(strata_layer *layer, strata_op *const *ops, size_t count)
{
    struct guard *g = downcast(layer);
    uint64_t ticket = atomic_load_explicit(&g->quiet, memory_order_acquire);
    if (count == 0)
        return;
    if (ticket == 0) {
        submit_carefully(g, ops, count);
        return;
    }
    /* Nothing is noted: a remove settles nothing, and stamp 0 says so. */
    for (size_t i = 0; i < count; i++)
        wrap(g, ops[i], ticket, 0);
    g->inner->ops->submit(g->inner, ops, count);
}

static int guard_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    struct guard *g = downcast(layer);
    int64_t now = strata_host_now_ms(g->host);
    uint64_t ticket = 0;
    os_lock_take(&g->lock);
    int closed = g->breaker.state == BREAKER_CLOSED;
    int asks = (closed || owed_empty(&g->owed)) && strata__breaker_ask(&g->breaker, now, &ticket) != BREAKER_REFUSE;
    g->refused += !asks;
    os_lock_give(&g->lock);
    int rc = asks ? g->inner->ops->clear(g->inner, what, err) : STRATA_PENDING, refused = 0;
    if (asks && rc >= 0 && atomic_load_explicit(&g->quiet, memory_order_acquire) != 0)
        return rc;
    now = strata_host_now_ms(g->host);
    os_lock_take(&g->lock);
    if (asks) {
        enum breaker_verdict verdict = guard_judge(g, rc);
        strata__breaker_tell(&g->breaker, ticket, verdict, now);
        if (err != NULL)
            strata__guard_note_why_locked(g, verdict, rc, err);
        refused = rc < 0 && verdict == BREAKER_WELL;
        g->hidden += rc < 0 && !refused;
    }
    /* One that the layer will never carry out is its caller's business, who has its words. */
    if (!asks || (rc < 0 && rc != STRATA_EUNSUPPORTED)) {
        strata__owed_clear(&g->owed, what);
        rc = refused ? rc : STRATA_PENDING; /* as of a delete */
    }
    struct guard_todo todo = strata__guard_plan_locked(g, now);
    os_lock_give(&g->lock);
    strata__guard_do(g, todo);
    return rc;
}

static void guard_heard(strata_layer *layer, uint64_t store_position)
{
    struct guard *g = downcast(layer);
    if (g->inner->ops->heard != NULL)
        g->inner->ops->heard(g->inner, store_position);
}

/* Connections are looked after whatever the breaker thinks. */
static int guard_follow(strata_layer *layer, strata_follow *how, strata_error *err)
{
    struct guard *g = downcast(layer);
    return g->inner->ops->follow(g->inner, how, err);
}

/* While the breaker does not trust the layer it keeps the ban for later. */
static int guard_ban(strata_layer *layer, strata_ban_op *what, strata_error *err)
{
    struct guard *g = downcast(layer);
    if (g->inner->ops->ban == NULL)
        return STRATA_OK;
    os_lock_take(&g->lock);
    what->later = g->breaker.state != BREAKER_CLOSED;
    os_lock_give(&g->lock);
    return g->inner->ops->ban(g->inner, what, err);
}

/* The other slots ------------------------------------------------------------------------------------------------------ */

struct key_filter {
    struct guard *guard;
    int (*each)(uint32_t space, strata_slice key, void *ctx);
    void *ctx;
};

static int each_served(uint32_t space, strata_slice key, void *ctx)
{
    struct key_filter *f = ctx;
    struct guard *g = f->guard;
    os_lock_take(&g->lock);
    /* The layer may not tell which space it is; notes are told apart by their bytes then. */
    int fenced = !owed_empty(&g->owed) && strata__owed_fences(&g->owed, space, key);
    os_lock_give(&g->lock);
    return fenced ? 0 : f->each(space, key, f->ctx);
}

static int guard_keys(strata_layer *layer, int (*each)(uint32_t, strata_slice, void *), void *ctx, strata_error *err)
{
    struct guard *g = downcast(layer);
    struct key_filter filter = { .guard = g, .each = each, .ctx = ctx };
    struct refusal r;
    r.told = 0;
    os_lock_take(&g->lock);
    if (g->breaker.state != BREAKER_CLOSED) {
        note_refusal_locked(g, strata_host_now_ms(g->host), &r);
        g->refused++;
    }
    os_lock_give(&g->lock);
    return r.told ? refused_words(g, err, &r) : g->inner->ops->keys(g->inner, each_served, &filter, err);
}

static int guard_ping(strata_layer *layer, strata_error *err)
{
    struct guard *g = downcast(layer);
    if (g->inner->ops->rouse != NULL)
        g->inner->ops->rouse(g->inner);
    return g->inner->ops->ping(g->inner, err);
}

static void guard_stats(strata_layer *layer, strata_layer_stats *out)
{
    struct guard *g = downcast(layer);
    if (g->inner->ops->stats != NULL)
        g->inner->ops->stats(g->inner, out);
    os_lock_take(&g->lock);
    out->errors += g->hidden;
    out->breaker = g->breaker.state == BREAKER_CLOSED ? STRATA_BREAKER_CLOSED
                   : g->breaker.state == BREAKER_OPEN ? STRATA_BREAKER_OPEN
                                                      : STRATA_BREAKER_HALF_OPEN;
    out->breaker_opened = g->breaker.opened;
    out->breaker_refused = g->refused;
    out->queued_deletes += g->owed.key_count + g->owed.clear_count + (g->owed.all.stamp != 0);
    os_lock_give(&g->lock);
}

static void guard_health(strata_layer *layer, strata_part_health *out)
{
    struct guard *g = downcast(layer);
    const strata_layer_ops *in = g->inner->ops;
    if (in->size >= offsetof(strata_layer_ops, health) + sizeof in->health && in->health != NULL)
        in->health(g->inner, out);
    int64_t now = strata_host_now_ms(g->host);
    os_lock_take(&g->lock);
    if (g->breaker.state != BREAKER_CLOSED) {
        out->state = STRATA_HEALTH_DOWN;
        out->since_ms = now > g->breaker.since_ms ? now - g->breaker.since_ms : 0;
        out->retry_ms = g->breaker.until_ms > now ? g->breaker.until_ms - now : 0;
        out->last = g->why;
        out->words[0] = '\0';
    }
    os_lock_give(&g->lock);
}

static void guard_hurry(strata_layer *layer)
{
    struct guard *g = downcast(layer);
    g->inner->ops->hurry(g->inner);
}

static int guard_settle(strata_layer *layer) { return strata__guard_settle(downcast(layer)); }

static void guard_maintain(strata_layer *layer, int64_t now_ms, uint64_t budget_us)
{
    struct guard *g = downcast(layer);
    g->inner->ops->maintain(g->inner, now_ms, budget_us);
}

/* Its life ------------------------------------------------------------------------------------------------------------- */

/* As new, with nothing noted. */
static int begin(struct guard *g, strata_layer_host *host, strata_error *err)
{
    const struct guard_options *o = &g->options;
    g->replay = strata__alloc_zero(host->mem, sizeof *g->replay);
    if (g->replay == NULL)
        return strata__fail(err, STRATA_ENOMEM, g->base.name,
                            "no memory for the %zu bytes that replaying deletes takes: free some and open again",
                            sizeof *g->replay);
    g->host = host;
    g->lock = (struct os_lock){ 0 };
    g->armed = g->lingering = g->working = g->replaying = g->cut = g->settled = 0;
    g->backoff_ms = GUARD_BACKOFF_MS;
    strata__breaker_init(&g->breaker, o->breaker_failures, o->breaker_open_ms, o->probe_ms);
    strata__owed_init(&g->owed, host->mem, (size_t)o->max_queued_deletes, (size_t)o->max_queued_bytes,
                      (g->base.flags & STRATA_LAYER_SPACES) != 0);
    atomic_store(&g->quiet, g->breaker.ticket);
    return STRATA_OK;
}

static int guard_start(strata_layer *layer, strata_layer_host *host, strata_error *err)
{
    struct guard *g = downcast(layer);
    int rc = begin(g, host, err);
    if (rc == STRATA_OK && g->inner->ops->start != NULL)
        rc = g->inner->ops->start(g->inner, host, err);
    return rc;
}

/* In the child: what is noted is the parent's to tell.  Its memory is given back, unless another thread was just changing
 * it. */
static int guard_reopen(strata_layer *layer, strata_layer_host *host, strata_error *err)
{
    struct guard *g = downcast(layer);
    if (g->replay != NULL && atomic_load(&g->lock.word) == OS_LOCK_FREE)
        strata__owed_deinit(&g->owed);
    strata__free(host->mem, g->replay);
    int rc = begin(g, host, err);
    return rc == STRATA_OK ? g->inner->ops->reopen(g->inner, host, err) : rc;
}

static void guard_close(strata_layer *layer)
{
    struct guard *g = downcast(layer);
    if (g->replaying)
        STRATA_BUG("a guard is closed while it replays");
    g->inner->ops->close(g->inner);
    if (g->replay != NULL) {
        strata__owed_deinit(&g->owed);
        strata__free(g->host->mem, g->replay);
    }
    strata__free(NULL, g);
}

static void fill_ops(struct guard *g)
{
    const strata_layer_ops *in = g->inner->ops;
    g->ops = (strata_layer_ops){ .size = sizeof g->ops,
                                 .kind = in->kind,
                                 .start = guard_start,
                                 .submit = guard_submit,
                                 .clear = guard_clear,
                                 .ban = guard_ban,
                                 .heard = guard_heard,
                                 .follow = in->follow != NULL ? guard_follow : NULL,
                                 .keys = in->keys != NULL ? guard_keys : NULL,
                                 .ping = in->ping != NULL ? guard_ping : NULL,
                                 .stats = guard_stats,
                                 .health = guard_health,
                                 .maintain = in->maintain != NULL ? guard_maintain : NULL,
                                 .settle = guard_settle,
                                 .reopen = in->reopen != NULL ? guard_reopen : NULL,
                                 .close = guard_close,
                                 .hurry = in->hurry != NULL ? guard_hurry : NULL };
    g->base.ops = &g->ops;
}

strata_layer *strata__guard_layer(strata_layer *inner, const struct guard_options *options)
{
    if (inner->failed.status < 0)
        return inner;
    if (inner->ops->clear == NULL || (inner->flags & STRATA_LAYER_INSTANT))
        STRATA_BUG("a guarded layer can be cleared, and is not instant");
    struct guard *g = strata__alloc_zero(NULL, sizeof *g);
    if (g == NULL) {
        strata_layer_free(inner);
        return strata__layer_out_of_memory();
    }
    g->inner = inner;
    g->options = *options;
    if (g->options.judge == NULL)
        g->options.judge = strata__guard_judge;
    g->base.size = sizeof g->base;
    g->base.flags = inner->flags;
    g->base.max_ttl_ms = inner->max_ttl_ms;
    memcpy(g->base.name, inner->name, sizeof g->base.name);
    fill_ops(g);
    return &g->base;
}
