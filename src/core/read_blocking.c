/* read_blocking.c - a blocking read that the nearest layer did not answer: it enters a flight, drives what it may, and sleeps. */
#include "src/core/flight.h"

/* Begin the flight that this call entered: here, or on a worker. */
static void start(const struct want *want, struct flight *f, struct driver *d)
{
    if (want_posts(want) && strata__strand_start_awaited(&f->strand) == STRATA_OK)
        return;
    d->runs_loaders = want_loads(want);
    if (f->step != STEP_LOAD_FIRST) /* which is driven already */
        strata__strand_help(&f->strand, d);
    strata__flight_run_held(f); /* the waiter does */
}

void strata__queued_help(const struct want *want, struct waiter *w, struct driver *d)
{
    if (!want_posts(want))
        strata__strand_help(&w->flight->strand, d);
    if (w->behind != NULL)
        strata__waiter_help(w, d);
}

void strata__waiter_help(struct waiter *w, struct driver *d)
{
    if (!ex_on_worker(d->ex) || w->soft_at != INT64_MAX || w->hard_at != INT64_MAX)
        return; /* one with timeouts must not be caught in a loader */
    strata__strand_help(&w->flight->strand, d);
    if (w->lead != NULL)
        strata__strand_help(w->lead, d);
    if (w->behind != NULL)
        strata__strand_help(&w->behind->strand, d);
}

void strata__waiter_leave(struct waiter *w, struct driver *d)
{
    if (w->flight == NULL)
        return;
    strata__strand_leave(&w->flight->strand, d);
    if (w->lead != NULL) {
        strata__strand_leave(w->lead, d);
        w->lead->unref(w->lead);
    }
    if (w->behind != NULL)
        strata__strand_leave(&w->behind->strand, d);
    strata__flight_unref(w->behind);
    strata__flight_unref(w->flight);
}

void strata__waiter_hurry(const struct want *want, struct waiter *w)
{
    if (w->flight == NULL || !want_loads(want) || !strata__inside(want->handle->root))
        return;
    strata__limit_hurry(w->flight);
    if (w->behind != NULL)
        strata__limit_hurry(w->behind);
}

void strata__join_counted(strata *cache, strata_slice key)
{
    count_up(cache, COUNT_JOINS);
    event_fire(cache, STRATA_EVENT_JOIN, key, NULL);
}

static void wait_for(const struct want *want, strata_slice key, struct waiter *w, struct driver *d,
                     enum entered entered, struct flight *f)
{
    struct root *root = want->handle->root;
    if (w->joined)
        strata__join_counted(want->handle, key);
    strata_error words; /* of a circle, and only then written */
    struct wait_note note = { .waiters = w, .count = 1 };
    int rc = strata__wait_begin(root, &note, w, key, &words);
    if (rc != STRATA_OK && strata__waiter_withdraw(w)) {
        w->status = rc;
        if (w->err != NULL)
            *w->err = words;
        return;
    }
    strata__waiter_hurry(want, w);
    if (entered == ENTERED_STARTED)
        start(want, f, d);
    else if (entered == ENTERED_QUEUED)
        strata__queued_help(want, w, d);
    else
        strata__waiter_help(w, d);
    strata__waiter_sleep(w, d);
    if (rc == STRATA_OK)
        strata__wait_over(root, &note);
}

int strata__read_blocking(const struct want *want, strata_slice key, uint64_t hash, strata_value **out,
                          strata_error *err)
{
    struct root *root = want->handle->root;
    struct waiter w = { .handle = want->handle, .wants_load = (unsigned char)want_loads(want), .err = err };
    struct driver d;
    struct flight *f;
    strata__driver_init(&d, root->ex, want_loads(want));
    d.left = 1;
    d.alone = 1;
    w.driver = &d;
    w.soft_at = w.hard_at = INT64_MAX;
    w.keep = want_loads(want) && want->policy->background_completion == STRATA_ON;
    if (want_loads(want) && (want->policy->soft_timeout_ms > 0 || want->policy->hard_timeout_ms > 0))
        strata__waiter_times(&w, want->policy, ex_now_ms(root->ex));
    enum entered entered = strata__flight_enter(want, key, hash, &w, &f, err);
    if (entered == ENTERED_FAILED) {
        strata__driver_deinit(&d);
        return w.status;
    }
    if (entered == ENTERED_ANSWERED) {
        struct answer a = { .status = w.status, .is_hit = w.status != STRATA_MISS, .layer = 0 };
        strata__answer_counted(want->handle, key, &a);
    } else {
        wait_for(want, key, &w, &d, entered, f);
    }
    strata__waiter_leave(&w, &d);
    strata__driver_deinit(&d);
    *out = w.value;
    return w.status;
}
