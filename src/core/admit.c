/* admit.c - see admit.h. */
#include "src/core/admit.h"

#include "src/core/flight.h"
#include "src/core/plan.h"

/* Refused -------------------------------------------------------------------------------------------------------- */

/* From here on plain gets are not kept waiting: they are told what is there, as by a flight that loads. */
static void answer_gets(struct flight *f)
{
    struct list_node gets;
    struct frame frame;
    list_init(&gets);
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    strata__waiters_take_locked(f, &gets, 0);
    if (f->phase < FLIGHT_LEASING)
        f->phase = FLIGHT_LEASING;
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
    count_up(f->handle, load->status == STRATA_EBREAKER ? COUNT_BREAKER_REFUSED : COUNT_LIMIT_REFUSED);
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

static void end_past_limit(struct flight *f)
{
    strata__limit_refused(f);
    end_refused(f);
}

/* Admitted ------------------------------------------------------------------------------------------------------- */

static void go_on(struct flight *f)
{
    f->step = STEP_UNLEASED;
    if (f->lease_state != LEASE_FAILED || strata__unleased_enter(f->root, &f->place, &f->strand))
        strata__lease_load(f);
}

void strata__admit(struct flight *f)
{
    if (!policy_guards(&f->policy)) {
        go_on(f);
        return;
    }
    answer_gets(f);
    f->step = STEP_ADMIT;
    if (strata__breaker_refuses(f)) {
        end_refused(f);
        return;
    }
    switch (strata__limit_enter(f, &f->strand, 0)) {
    case LIMIT_GO: go_on(f); return;
    case LIMIT_WAITS: return;
    case LIMIT_REFUSES: end_past_limit(f); return;
    }
}

/* It waited until its time was over, and may not load without a place. */
static int is_late(const struct flight *f)
{
    return atomic_load(&f->way_in.state) == ADMIT_LATE && f->policy.limit_overflow != STRATA_OVERFLOW_BYPASS;
}

void strata__admit_go_on(struct flight *f)
{
    if (is_late(f)) {
        end_past_limit(f);
    } else if (atomic_load(&f->way_in.state) != ADMIT_GONE) {
        go_on(f);
    } else if (strata__load_begin(f)) {
        strata__load_run(f);
    }
}

int strata__admit_last(struct flight *f, const struct flight *first)
{
    if (!policy_guards(&f->policy) || !strata__breaker_stops(f, first))
        return 1;
    answer_gets(f);
    end_refused(f);
    return 0;
}

void strata__admission_over(struct flight *f, enum breaker_verdict verdict)
{
    strata__breaker_hears(f, verdict);
    strata__limit_leave(f);
}

/* Batches -------------------------------------------------------------------------------------------------------- */

/* Does it pass with the others of its bulk loader's call? */
static int passes_together(const struct flight *f)
{
    return f->bulk != NULL && (f->policy.limit_name != NULL || f->policy.limit_scope != STRATA_SCOPE_KEY);
}

/* By itself.  1: it stays with its batch, though. */
static int stays(struct flight *f)
{
    strata__flight_let_go(f);
    answer_gets(f);
    f->step = STEP_ADMIT;
    enum limit_answer a = strata__limit_enter(f, &f->strand, 0);
    if (a == LIMIT_REFUSES)
        end_past_limit(f);
    return a == LIMIT_GO;
}

/* Those that pass by themselves; how many of the flights are left. */
size_t strata__admit_singly(struct root *root, struct flight **flights, size_t count)
{
    struct frame frame;
    frame_push(&frame, root, FRAME_STRAND);
    frame.flights = flights;
    for (size_t i = count; i-- > 0;) {
        struct flight *f = flight_ref(flights[i]);
        frame.flight_count = count;
        if (policy_limits(&f->policy) && !passes_together(f) && !stays(f))
            flights[i] = flights[--count];
        strata__flight_unref(f);
    }
    frame_end(&frame);
    return count;
}

/* The one that stands for all that pass together; NULL: none does. */
static struct flight *leader(struct flight **flights, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (policy_limits(&flights[i]->policy) && passes_together(flights[i]))
            return flights[i];
    return NULL;
}

/* All that pass together are refused; how many are left. */
static size_t refuse_together(struct flight **flights, size_t count, int why)
{
    struct frame frame;
    frame_push(&frame, flights[0]->root, FRAME_STRAND);
    frame.flights = flights;
    for (size_t i = count; i-- > 0;) {
        struct flight *f = flight_ref(flights[i]);
        frame.flight_count = count;
        if (policy_limits(&f->policy) && passes_together(f)) {
            flights[i] = flights[--count];
            strata__flight_let_go(f);
            answer_gets(f);
            atomic_store(&f->way_in.state, (unsigned char)why);
            end_past_limit(f);
        }
        strata__flight_unref(f);
    }
    frame_end(&frame);
    return count;
}

/* One place for all of them, from now on. */
static void ride_together(struct flight **flights, size_t count, struct flight *lead)
{
    for (size_t i = 0; i < count; i++)
        if (policy_limits(&flights[i]->policy) && passes_together(flights[i]))
            strata__limit_ride(flights[i], lead);
}

/* One stands in the queue for all of them; NULL: none does. */
static void stand_together(struct flight **flights, size_t count, struct flight *lead)
{
    for (size_t i = 0; i < count; i++)
        if (policy_limits(&flights[i]->policy) && passes_together(flights[i]))
            strata__limit_with(flights[i], lead);
}

int strata__admit_together(struct flight **flights, size_t *count, struct strand *strand)
{
    struct flight *lead = leader(flights, *count);
    if (lead == NULL || strata__breaker_is_open(lead))
        return 1; /* they need no place: strata__admit_last() refuses each, unless one may try by then */
    stand_together(flights, *count, lead);
    enum limit_answer a = strata__limit_enter(lead, strand, 1);
    if (a == LIMIT_WAITS)
        return 0;
    stand_together(flights, *count, NULL);
    if (a == LIMIT_REFUSES)
        *count = refuse_together(flights, *count, atomic_load(&lead->way_in.state));
    else if (a == LIMIT_GO)
        ride_together(flights, *count, lead);
    return 1;
}

void strata__admitted_many(struct flight **flights, size_t *count)
{
    struct flight *lead = leader(flights, *count);
    if (lead == NULL)
        return;
    stand_together(flights, *count, NULL);
    if (is_late(lead))
        *count = refuse_together(flights, *count, ADMIT_LATE);
    else
        ride_together(flights, *count, lead);
}
