/* detach.c - a load that has run for load_limit_ms: its callers are answered without it, and its key is free for another.
 *
 * What it brings after all is dropped, as that of any flight that was given up; or, with late_result, stored where nothing newer has
 * come to the key since: then the flight is not poisoned, only joined by nobody, until a write of the key, or what a
 * younger flight of it stores, poisons it.  It holds no lease, so that a layer that gives leases has nothing of it either way.
 *
 * So two flights of a key may come to store at once, and a slower layer may carry out the later of two puts first.  As long as any load is
 * detached, the flights of a key go there one after the other.  And what others have found before a late one is stored is put nowhere
 * after it. */
#include "src/core/flight.h"

/* Storing, among those that are detached ------------------------------------------------------------------------ */

void strata__late_store_locked(struct stripe *s, struct flight *f, int slow)
{
    if (f->load.status >= 0)
        strata__poison_detached_locked(s, f);
    if (f->late && f->load.status >= 0)
        strata__outdate_locked(s, f->key.hash, f->handle->space, f->key.plain);
    if (slow && f->phase != FLIGHT_STORING && strata__another_stores_locked(s, f))
        f->behind_late = BEHIND_LATE;
}

int strata__late_waits(struct flight *f)
{
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    int waits = strata__another_stores_locked(s, f);
    f->behind_late = waits ? BEHIND_PARKED : BEHIND_NONE;
    f->step = STEP_STORE;
    s->parked += (uint32_t)waits;
    stripe_unlock(s, &frame);
    return waits;
}

void strata__late_leave_locked(struct stripe *s, const struct flight *f)
{
    struct flight *next = strata__first_parked_locked(s, f);
    if (next == NULL || strata__another_stores_locked(s, next))
        return;
    next->behind_late = BEHIND_NONE;
    s->parked--;
    strata__strand_wake(&next->strand);
}

/* Being detached ------------------------------------------------------------------------------------------------ */

static void detach_locked(struct flight *f, struct list_node *waiters, struct held *held)
{
    f->detached = 1;
    if (f->policy.late_result == STRATA_ON && !f->poisoned && !f->superseded) {
        strata__flight_seal_locked(f);
        if (f->lease != NULL)
            strata__lease_drop_locked(f);
        f->late = 1;
        f->keep = 1;
        f->background = 0; /* the refresh timer has no say any more */
        atomic_fetch_add(&f->root->detached, 1);
    } else {
        strata__flight_abandon_locked(f);
    }
    strata__waiters_take_locked(f, waiters, 1);
    *held = strata__held_copy(&f->previous);
}

static void answer(struct flight *f, struct list_node *waiters, const struct held *held)
{
    int64_t now = ex_now_ms(f->root->ex);
    strata_error err = STRATA_ERROR_INIT;
    struct answer a = { .layer = LAYERS_MAX, .err = &err };
    enum action action = held->there && !held->meta.negative ? strata__held_action(held, SITUATION_HARD_TIMEOUT, now)
                                                             : ACTION_FAIL;
    if (action == ACTION_FAIL) {
        a.status = strata__fail(
            &err, STRATA_ETIMEDOUT, "load_limit_ms",
            "the load took longer than load_limit_ms=%lld, and is waited for no longer: the origin hangs, "
            "or the limit is too low; stale_if_error_ms would serve what was there before",
            (long long)f->policy.load_limit_ms);
    } else {
        a.status = action == ACTION_STALE ? STRATA_STALE : STRATA_OK;
        a.value = held->value;
        a.layer = held->layer;
        a.state = held_state(held, now);
    }
    strata__waiters_give(f, waiters, &a);
}

/* On a worker. */
static void limit_passed(struct task *task)
{
    struct flight *f = (struct flight *)(void *)((char *)task - offsetof(struct flight, limit_task));
    struct root *root = f->root;
    struct held held = { 0 };
    struct list_node waiters;
    struct frame frame;
    list_init(&waiters);
    struct stripe *s = stripe_lock(root, f->key.hash, &frame);
    f->limit_set = 0;
    int over = f->phase == FLIGHT_LOADING && !f->closed;
    if (over)
        detach_locked(f, &waiters, &held);
    stripe_unlock(s, &frame);
    if (over) {
        strata__admission_over(f, BREAKER_SICK);
        count_up(f->handle, COUNT_LOADS_DETACHED);
        event_fire(f->handle, STRATA_EVENT_LOAD_DETACHED, f->key.plain, NULL);
        if (held.there)
            strata__throttle(f->handle, &f->key, &held, f->policy.retry_ms);
        answer(f, &waiters, &held);
    }
    strata__held_drop(&held);
    strata__flight_unref(f);
    root_leave(root);
}

static void limit_due(struct timer *timer)
{
    struct flight *f = (struct flight *)(void *)((char *)timer - offsetof(struct flight, limit_timer));
    ex_post_always(f->root->ex, &f->limit_task);
}

void strata__load_limit_start(struct flight *f)
{
    struct root *root = f->root;
    struct frame frame;
    int64_t at;
    if (__builtin_add_overflow(f->load_ms, f->policy.load_limit_ms, &at))
        return;
    struct stripe *s = stripe_lock(root, f->key.hash, &frame);
    if (!f->closed) {
        f->limit_set = 1;
        f->limit_timer = (struct timer){ .fire = limit_due };
        f->limit_task.run = limit_passed;
        flight_ref(f);
        root_hold(root);
        ex_at(root->ex, &f->limit_timer, at);
    }
    stripe_unlock(s, &frame);
}

void strata__load_limit_stop(struct flight *f)
{
    if (!ex_cancel(f->root->ex, &f->limit_timer))
        return;
    strata__flight_unref(f);
    root_leave(f->root);
}
