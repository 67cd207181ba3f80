/* guard_replay.c - what a guard does by itself, on workers: telling the layer what it missed, and looking whether it is back.
 *
 * While something is noted, or the breaker is not closed and the layer can be pinged, one timer is out.  When it fires,
 * the notes are told in batches, clears first; the layer may answer a batch elsewhere, and the next is sent by a worker.  A
 * second timer that never fires keeps the cache open as long as a batch is out: the cache cuts it short to close, and then it
 * waits for the batch.  A cache that closes asks for it all to be tried once more (settle), while its buses can still tell others of it.
 * What is noted after that, the cut is for: it says that there is no later.  Both ask whatever the breaker says, and look first
 * whether the layer answers, on a connection that is made for it. */
#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/guard_impl.h"
#include "src/layer/layer_host.h"
#include "src/os/os_clock.h"
#include "src/os/os_futex.h"

/* A shorter delay could not be told from one that was cut short: the coarse clock lags by some milliseconds. */
enum { DELAY_LEAST_MS = 25, LATE_MS = 10, LINGER_MS = 10 };

static const int64_t linger_on_ms = (int64_t)10 * 365 * 86400 * 1000;

static void tick(void *ctx);

struct guard_todo strata__guard_plan_locked(struct guard *g, int64_t now_ms)
{
    struct guard_todo todo = { 0 };
    int closed = g->breaker.state == BREAKER_CLOSED, owes = !owed_empty(&g->owed);
    uint64_t quiet = closed && !owes && g->breaker.in_a_row == 0 ? g->breaker.ticket : 0;
    atomic_store_explicit(&g->quiet, quiet, memory_order_release);
    if (g->armed || g->cut || g->working || (closed && !owes) || (!owes && g->inner->ops->ping == NULL))
        return todo;
    int64_t delay = closed ? g->backoff_ms : g->breaker.until_ms - now_ms;
    if (delay > g->options.breaker_open_ms) /* a probe is out, which may fail long before its time is over */
        delay = g->options.breaker_open_ms;
    if (delay < DELAY_LEAST_MS)
        delay = DELAY_LEAST_MS;
    if (delay > linger_on_ms)
        delay = linger_on_ms;
    g->armed = 1;
    g->due_ms = now_ms + delay;
    g->delay_ms = delay;
    todo.arm_ms = delay;
    return todo;
}

void strata__guard_do(struct guard *g, struct guard_todo todo)
{
    if (todo.arm_ms == 0 || strata_host_after(g->host, todo.arm_ms, tick, g) == STRATA_OK)
        return;
    os_lock_take(&g->lock);
    g->armed = 0; /* the next operation tries again */
    os_lock_give(&g->lock);
}

/* Telling what is noted --------------------------------------------------------------------------------------------- */

static void begin_pass_locked(struct guard *g, uint64_t ticket, int first)
{
    struct replay *r = g->replay;
    r->ticket = ticket;
    r->limit = g->owed.stamp; /* what comes later is told in another pass, so that each one ends */
    r->first = first;
    r->refused = 0;
}

/* 1: it goes on with another pass; 0: it is over, and nothing of the guard may be touched. */
static int end_pass(struct guard *g, enum breaker_verdict verdict)
{
    struct replay *r = g->replay;
    int64_t now = strata_host_now_ms(g->host);
    os_lock_take(&g->lock);
    strata__breaker_tell(&g->breaker, r->ticket, verdict, now);
    int well = verdict == BREAKER_WELL && !r->refused, closed = g->breaker.state == BREAKER_CLOSED;
    int64_t most = g->options.breaker_open_ms > GUARD_BACKOFF_MS ? g->options.breaker_open_ms : GUARD_BACKOFF_MS;
    g->backoff_ms = well ? GUARD_BACKOFF_MS : g->backoff_ms < most / 2 ? g->backoff_ms * 2 : most;
    uint64_t ticket;
    int again = well && closed && !owed_empty(&g->owed) &&
                strata__breaker_ask(&g->breaker, now, &ticket) == BREAKER_PASS;
    if (again)
        begin_pass_locked(g, ticket, 0);
    g->working = again;
    struct guard_todo todo = strata__guard_plan_locked(g, now);
    os_lock_give(&g->lock);
    strata__guard_do(g, todo);
    if (again)
        return 1;
    os_lock_take(&g->lock);
    g->replaying = 0;
    strata__os_unpark(&g->replay_over);
    os_lock_give(&g->lock);
    return 0;
}

/* May the pass go on?  One that was cut short has no ticket, and needs none. */
static int goes_on_locked(struct guard *g, int64_t now)
{
    struct replay *r = g->replay;
    r->first = 0;
    return r->ticket == 0 || strata__breaker_go_on(&g->breaker, r->ticket, now);
}

static enum breaker_verdict worse(enum breaker_verdict a, enum breaker_verdict b)
{
    if (a == BREAKER_SICK || b == BREAKER_SICK)
        return BREAKER_SICK;
    return a == BREAKER_UNSURE ? a : b;
}

/* Peers heard of it when it was asked for, and the store has it only now. */
static void say_caught_up(struct guard *g, strata_slice key, uint64_t version, const strata_clear_op *clear)
{
    if (g->host->caught_up != NULL && (g->base.flags & STRATA_LAYER_SHARED) && !(g->base.flags & STRATA_LAYER_SPACES))
        g->host->caught_up(g->host, key, version, clear);
}

static int tell_clear(struct guard *g, struct owed_clear *note, const strata_clear_op *what)
{
    strata_error err = STRATA_ERROR_INIT;
    int rc = g->inner->ops->clear(g->inner, what, &err);
    int64_t now = strata_host_now_ms(g->host);
    enum breaker_verdict verdict = guard_judge(g, rc);
    if (rc >= 0) /* while the note is there: what it points to goes with it */
        say_caught_up(g, strata_bytes("", 0), 0, what);
    os_lock_take(&g->lock);
    strata__guard_note_why_locked(g, verdict, rc, &err);
    strata__owed_clear_over(&g->owed, note, rc >= 0);
    g->replay->refused |= rc < 0;
    int on = verdict == BREAKER_WELL && goes_on_locked(g, now);
    os_lock_give(&g->lock);
    return on ? 1 : end_pass(g, verdict == BREAKER_WELL ? BREAKER_UNSURE : verdict);
}

/* Everything of a batch is answered.  As end_pass(). */
static int batch_over(struct guard *g)
{
    struct replay *r = g->replay;
    int64_t now = strata_host_now_ms(g->host);
    enum breaker_verdict verdict = BREAKER_WELL;
    for (size_t i = 0; i < r->count; i++)
        if (r->ops[i].op.status >= 0)
            say_caught_up(g, r->ops[i].op.key, r->ops[i].op.meta.version, NULL);
    os_lock_take(&g->lock);
    for (size_t i = 0; i < r->count; i++) {
        struct replay_op *o = &r->ops[i];
        enum breaker_verdict one = guard_judge(g, o->op.status);
        strata__guard_note_why_locked(g, one, o->op.status, &o->err);
        strata__owed_key_over(&g->owed, o->note, o->op.status >= 0);
        r->refused |= o->op.status < 0;
        verdict = worse(verdict, one);
    }
    int on = verdict == BREAKER_WELL && goes_on_locked(g, now);
    os_lock_give(&g->lock);
    return on ? 1 : end_pass(g, verdict == BREAKER_WELL ? BREAKER_UNSURE : verdict);
}

static void resume(void *ctx);

static void replay_done(strata_op *op)
{
    struct guard *g = ((struct replay_op *)op->owner)->guard;
    if (atomic_fetch_sub(&g->replay->left, 1) != 1 || !batch_over(g))
        return;
    /* This may be the layer's own thread, and a clear may block. */
    if (strata_host_post(g->host, resume, g) < 0)
        while (end_pass(g, BREAKER_UNSURE)) {}
}

static size_t gather_locked(struct guard *g, int64_t now)
{
    struct replay *r = g->replay;
    size_t most = r->first ? 1 : GUARD_BATCH;
    struct owed_key *note;
    for (r->count = 0; r->count < most; r->count++) {
        note = strata__owed_take_key(&g->owed, r->limit);
        if (note == NULL)
            break;
        struct replay_op *o = &r->ops[r->count];
        *o = (struct replay_op){ .guard = g, .note = note };
        o->op = (strata_op){ .size = sizeof o->op,
                             .kind = STRATA_OP_REMOVE,
                             .space = note->op_space,
                             .hash = note->op_hash,
                             .key = strata_bytes(note->bytes, note->size),
                             .now_ms = now,
                             .expires_ms = STRATA_FOREVER,
                             .err = &o->err,
                             .mem = g->host->mem,
                             .done = replay_done,
                             .owner = o };
        r->list[r->count] = &o->op;
    }
    return r->count;
}

/* 1: the next one now, on this thread; 0: somebody else goes on, or it is over. */
static int step(struct guard *g)
{
    struct replay *r = g->replay;
    strata_clear_op what;
    int64_t now = strata_host_now_ms(g->host);
    os_lock_take(&g->lock);
    struct owed_clear *clear = strata__owed_take_clear(&g->owed, r->limit, &what);
    size_t count = clear == NULL ? gather_locked(g, now) : 0;
    os_lock_give(&g->lock);
    if (clear != NULL)
        return tell_clear(g, clear, &what);
    if (count == 0)
        return end_pass(g, BREAKER_WELL);
    atomic_store(&r->left, count + 1);
    g->inner->ops->submit(g->inner, r->list, count);
    return atomic_fetch_sub(&r->left, 1) == 1 && batch_over(g);
}

static void resume(void *ctx)
{
    while (step(ctx)) {}
}

/* Timers ------------------------------------------------------------------------------------------------------------ */

/* A worker, once the cache closes. */
static void linger(void *ctx)
{
    struct guard *g = ctx;
    for (;;) {
        os_lock_take(&g->lock);
        int over = !g->replaying;
        if (over)
            g->lingering = 0;
        os_lock_give(&g->lock);
        if (over)
            return;
        /* Not for long: the layer may need this very worker to answer. */
        strata__os_park(&g->replay_over, strata__os_now_us() + LINGER_MS * 1000);
        if (strata_host_after(g->host, LINGER_MS, linger, g) == STRATA_OK)
            return;
    }
}

/* Is it there, now? */
static int answers(struct guard *g)
{
    const strata_layer_ops *in = g->inner->ops;
    strata_error err = STRATA_ERROR_INIT;
    if (in->rouse != NULL)
        in->rouse(g->inner);
    int rc = in->ping != NULL ? in->ping(g->inner, &err) : STRATA_OK;
    enum breaker_verdict verdict = guard_judge(g, rc);
    os_lock_take(&g->lock);
    strata__guard_note_why_locked(g, verdict, rc, &err);
    os_lock_give(&g->lock);
    return verdict != BREAKER_SICK;
}

static void replay(struct guard *g)
{
    os_lock_take(&g->lock);
    int lingering = g->lingering, last = g->cut && !g->settled;
    g->lingering = 1;
    os_lock_give(&g->lock);
    if (!lingering && strata_host_after(g->host, linger_on_ms, linger, g) < 0) {
        os_lock_take(&g->lock);
        g->lingering = 0;
        g->replay->refused = 1; /* not now */
        os_lock_give(&g->lock);
        end_pass(g, BREAKER_UNSURE);
        return;
    }
    if (last && !answers(g))
        end_pass(g, BREAKER_SICK);
    else
        resume(g);
}

static void ping(struct guard *g, uint64_t ticket)
{
    strata_error err = STRATA_ERROR_INIT;
    int rc = g->inner->ops->ping(g->inner, &err);
    int64_t now = strata_host_now_ms(g->host);
    enum breaker_verdict verdict = guard_judge(g, rc);
    os_lock_take(&g->lock);
    strata__breaker_tell(&g->breaker, ticket, verdict, now);
    strata__guard_note_why_locked(g, verdict, rc, &err);
    g->working = 0;
    struct guard_todo todo = strata__guard_plan_locked(g, now);
    os_lock_give(&g->lock);
    strata__guard_do(g, todo);
}

enum due { DUE_NOTHING, DUE_PING, DUE_REPLAY };

static enum due due_locked(struct guard *g, int64_t now, uint64_t *out_ticket)
{
    int closed = g->breaker.state == BREAKER_CLOSED, owes = !owed_empty(&g->owed);
    *out_ticket = 0;
    if (g->working || g->replaying || (g->cut && g->settled) || (closed && !owes) ||
        (!owes && (g->cut || g->inner->ops->ping == NULL)))
        return DUE_NOTHING;
    if (strata__breaker_ask(&g->breaker, now, out_ticket) == BREAKER_REFUSE && !g->cut)
        return DUE_NOTHING;
    g->working = 1;
    if (!owes)
        return DUE_PING;
    g->replaying = 1;
    begin_pass_locked(g, *out_ticket, !closed);
    return DUE_REPLAY;
}

static void tick(void *ctx)
{
    struct guard *g = ctx;
    int64_t now = strata_host_now_ms(g->host);
    uint64_t ticket;
    os_lock_take(&g->lock);
    int64_t early_ms = g->due_ms - now;
    g->armed = 0;
    g->cut = early_ms > LATE_MS && early_ms > g->delay_ms / 2;
    if (early_ms > 0 && !g->cut)
        now = g->due_ms;
    enum due due = due_locked(g, now, &ticket);
    struct guard_todo todo = strata__guard_plan_locked(g, now);
    os_lock_give(&g->lock);
    strata__guard_do(g, todo);
    if (due == DUE_REPLAY)
        replay(g);
    else if (due == DUE_PING)
        ping(g, ticket);
}

/* Closing ----------------------------------------------------------------------------------------------------------- */

static uint64_t owed_inside(struct guard *g)
{
    strata_layer_stats stats = STRATA_LAYER_STATS_INIT;
    if (g->inner->ops->settle == NULL || g->inner->ops->stats == NULL)
        return 0;
    g->inner->ops->stats(g->inner, &stats);
    return stats.queued_deletes;
}

static void settle_now(void *ctx)
{
    struct guard *g = ctx;
    int there = answers(g);
    os_lock_take(&g->lock);
    g->there = there;
    g->working = there && !owed_empty(&g->owed);
    g->replaying = g->working;
    if (g->working) {
        uint64_t ticket = 0;
        (void)strata__breaker_ask(&g->breaker, strata_host_now_ms(g->host), &ticket);
        begin_pass_locked(g, ticket, 0);
    }
    int replays = g->replaying;
    os_lock_give(&g->lock);
    if (replays)
        replay(g);
}

int strata__guard_settle(struct guard *g)
{
    uint64_t inside = owed_inside(g);
    os_lock_take(&g->lock);
    int busy = g->working || g->replaying, there = g->settled && g->there;
    int start = !busy && !g->settled && (inside != 0 || !owed_empty(&g->owed));
    if (start) {
        g->settled = g->cut = g->working = 1;
        g->there = 0;
    }
    os_lock_give(&g->lock);
    if (start && strata_host_post(g->host, settle_now, g) == STRATA_OK)
        return 1;
    if (start) {
        os_lock_take(&g->lock);
        g->working = 0;
        os_lock_give(&g->lock);
        return 0;
    }
    return busy || (there && g->inner->ops->settle != NULL && g->inner->ops->settle(g->inner));
}
