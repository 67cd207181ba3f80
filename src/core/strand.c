/* strand.c - see strand.h.
 *
 * Who wakes a strand holds its lock until it has let go of the driver or the executor; who runs it takes that lock
 * first.  So nobody frees a strand, a driver or an executor under the feet of its waker. */
#include "src/core/strand.h"

#include <string.h>

/* The calls that this thread is in. */
static _Thread_local struct driver *innermost;

static void run_in_pool(struct task *task)
{
    struct strand *s = (struct strand *)(void *)((char *)task - offsetof(struct strand, task));
    key_mutex_lock(&s->lock);
    int mine = s->queued;
    s->queued = 0;
    s->in_pool = 0;
    key_mutex_unlock(&s->lock);
    void (*unref)(struct strand *) = s->unref;
    if (mine)
        s->run(s);
    unref(s); /* the pool's reference kept it alive until here */
}

void strata__strand_init(struct strand *s, struct executor *ex, void (*run)(struct strand *),
                         void (*ref)(struct strand *), void (*unref)(struct strand *))
{
    memset(s, 0, sizeof *s);
    s->ex = ex;
    s->task.run = run_in_pool;
    s->run = run;
    s->ref = ref;
    s->unref = unref;
    key_mutex_init(&s->lock);
}

static int start(struct strand *s, int always)
{
    int rc = STRATA_OK;
    key_mutex_lock(&s->lock);
    s->ref(s);
    s->queued = 1;
    s->in_pool = 1;
    if (always)
        ex_post_always(s->ex, &s->task);
    else
        rc = ex_post(s->ex, &s->task);
    if (rc != STRATA_OK) {
        s->queued = 0;
        s->in_pool = 0;
    }
    key_mutex_unlock(&s->lock);
    if (rc != STRATA_OK)
        s->unref(s);
    return rc;
}

int strata__strand_start(struct strand *s) { return start(s, 0); }

int strata__strand_start_awaited(struct strand *s) { return start(s, ex_on_worker(s->ex)); }

static void post_locked(struct strand *s)
{
    s->queued = 1;
    if (s->in_pool)
        return; /* the task that waits there will find it queued */
    s->in_pool = 1;
    s->ref(s);
    ex_post_always(s->ex, &s->task);
}

/* A driver that is awake looks again by itself: most results come from its own thread, and cost no system call. */
static void poke_locked(struct driver *d)
{
    d->poked = 1;
    if (d->asleep)
        ex_unpark(d->ex, &d->parker);
}

static void hand_over_locked(struct strand *s, struct driver *d)
{
    key_mutex_lock(&d->lock);
    if (d->away) {
        key_mutex_unlock(&d->lock);
        post_locked(s);
        return;
    }
    s->handed = 1;
    s->next = d->ready;
    d->ready = s;
    poke_locked(d);
    key_mutex_unlock(&d->lock);
}

void strata__strand_wake(struct strand *s)
{
    key_mutex_lock(&s->lock);
    if (s->driver != NULL)
        hand_over_locked(s, s->driver);
    else
        post_locked(s);
    key_mutex_unlock(&s->lock);
}

void strata__strand_pass(struct strand *s)
{
    key_mutex_lock(&s->lock);
    strand_drive(s, NULL);
    post_locked(s);
    key_mutex_unlock(&s->lock);
}

void strata__strand_detach(struct strand *s)
{
    key_mutex_lock(&s->lock);
    strand_drive(s, NULL);
    key_mutex_unlock(&s->lock);
}

void strata__strand_help(struct strand *s, struct driver *d)
{
    key_mutex_lock(&s->lock);
    if (s->driver == NULL) {
        strand_drive(s, d);
        if (s->queued) {
            s->queued = 0;
            hand_over_locked(s, d);
        }
    }
    key_mutex_unlock(&s->lock);
}

int strata__strand_is_driven_here(struct strand *s)
{
    key_mutex_lock(&s->lock);
    int here = s->driver != NULL && s->driver == innermost;
    key_mutex_unlock(&s->lock);
    return here;
}

void strata__strand_leave(struct strand *s, struct driver *d)
{
    /* Only this thread would make it d's.  Acquire: who woke d, while it was, has let go of it. */
    if (__atomic_load_n(&s->driver, __ATOMIC_ACQUIRE) != d)
        return;
    key_mutex_lock(&s->lock);
    if (s->driver == d) {
        strand_drive(s, NULL);
        int handed = 0;
        key_mutex_lock(&d->lock);
        for (struct strand **at = &d->ready; *at != NULL; at = &(*at)->next) {
            if (*at == s) {
                *at = s->next;
                s->handed = 0;
                handed = 1;
                break;
            }
        }
        key_mutex_unlock(&d->lock);
        if (handed)
            post_locked(s);
    }
    key_mutex_unlock(&s->lock);
}

void strata__driver_init(struct driver *d, struct executor *ex, int runs_loaders)
{
    memset(d, 0, sizeof *d);
    d->ex = ex;
    d->runs_loaders = runs_loaders;
    key_mutex_init(&d->lock);
    d->up = innermost;
    innermost = d;
}

void strata__driver_deinit(struct driver *d)
{
    if (!d->served) { /* the last waker may still be letting go of the lock */
        key_mutex_lock(&d->lock);
        key_mutex_unlock(&d->lock);
    }
    innermost = d->up;
}

void strata__driver_done(struct driver *d, void (*write)(void *ctx), void *ctx)
{
    if (d->alone && d == innermost) { /* awake, and nobody else has anything to say to it */
        write(ctx);
        d->left--;
        d->served = 1;
        return;
    }
    key_mutex_lock(&d->lock);
    write(ctx);
    d->left--;
    poke_locked(d);
    key_mutex_unlock(&d->lock);
}

/* This thread is going to sleep in a call that a loader or callback of d's has made: what d would run must run elsewhere, or
 * the inner call might wait for it for ever. */
static void go_away(struct driver *d)
{
    struct strand *s;
    do {
        key_mutex_lock(&d->lock);
        d->away = 1;
        s = d->ready;
        if (s != NULL) {
            d->ready = s->next;
            s->handed = 0;
        }
        key_mutex_unlock(&d->lock);
        if (s != NULL) {
            key_mutex_lock(&s->lock);
            post_locked(s);
            key_mutex_unlock(&s->lock);
        }
    } while (s != NULL);
}

/* 1: the deadline has passed. */
static int sleep_until(struct driver *d, int64_t deadline_ms)
{
    for (struct driver *outer = d->up; outer != NULL; outer = outer->up)
        go_away(outer);
    int late = ex_park(d->ex, &d->parker, deadline_ms);
    key_mutex_lock(&d->lock);
    d->asleep = 0;
    late = late && !d->poked;
    key_mutex_unlock(&d->lock);
    return late;
}

int strata__driver_step(struct driver *d, int64_t deadline_ms)
{
    key_mutex_lock(&d->lock);
    struct strand *s = d->ready;
    int poked = d->poked;
    d->away = 0;
    if (s != NULL) {
        d->ready = s->next;
        s->handed = 0;
    } else {
        d->poked = 0;
        d->asleep = (unsigned char)!poked;
    }
    key_mutex_unlock(&d->lock);
    if (s == NULL)
        return poked ? 0 : sleep_until(d, deadline_ms);
    key_mutex_lock(&s->lock); /* its waker has let go */
    key_mutex_unlock(&s->lock);
    s->run(s);
    return 0;
}
