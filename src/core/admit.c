/* admit.c - see admit.h. */
#include "src/core/admit.h"

#include "src/core/flight.h"
#include "src/core/plan.h"

void strata__warden_init(struct root *root)
{
    struct warden *o = &root->warden;
    *o = (struct warden){ 0 };
    key_mutex_init(&o->lock);
}

void strata__warden_free(struct root *root)
{
    struct warden *o = &root->warden;
    strata__wards_free(&o->breakers, root->mem);
}

/* Refused -------------------------------------------------------------------------------------------------------- */

/* Who only asks for what is there is told so, as by a flight that loads. */
static void answer_gets(struct flight *f)
{
    struct list_node gets;
    struct frame frame;
    list_init(&gets);
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    strata__waiters_take_locked(f, &gets, 0);
    stripe_unlock(s, &frame);
    struct answer miss = { .status = f->layer_failed ? STRATA_ELAYER : STRATA_MISS,
                           .err = &f->err,
                           .layer = LAYERS_MAX };
    strata__waiters_give(f, &gets, &miss);
}

/* It ends as if its loader had failed, without having called it: why stands in f->load. */
static void end_refused(struct flight *f)
{
    const struct strata_load *load = &f->load;
    answer_gets(f);
    count_up(f->handle, COUNT_BREAKER_REFUSED);
    if (!f->refresh)
        event_fire(f->handle, STRATA_EVENT_MISS, f->key.plain, NULL);
    if (event_wanted(f->root, STRATA_EVENT_LOAD_REFUSED)) {
        strata_event e = { .size = sizeof e,
                           .kind = STRATA_EVENT_LOAD_REFUSED,
                           .status = load->status,
                           .cache = f->handle,
                           .key = f->key.plain,
                           .message = load->err.message };
        strata__event_fire(f->handle, &e);
    }
    strata__admission_over(f, BREAKER_UNSURE);
    strata__plan_failure(f);
    if (f->lease_state != LEASE_UNASKED)
        strata__lease_plan(f);
    strata__flight_store(f);
}

/* Admitted ------------------------------------------------------------------------------------------------------- */

void strata__admit(struct flight *f)
{
    if (policy_guards(&f->policy) && strata__breaker_refuses(f)) {
        end_refused(f);
        return;
    }
    f->step = STEP_UNLEASED;
    if (f->lease_state != LEASE_FAILED || strata__unleased_enter(f->root, &f->place, &f->strand))
        strata__lease_load(f);
}

int strata__admit_last(struct flight *f, const struct flight *first)
{
    if (!policy_guards(&f->policy) || !strata__breaker_stops(f, first))
        return 1;
    end_refused(f);
    return 0;
}

void strata__admission_over(struct flight *f, enum breaker_verdict verdict)
{
    if (policy_guards(&f->policy))
        strata__breaker_hears(f, verdict);
}
