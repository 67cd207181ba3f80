/* limits.c - limits of loads: which bucket is a flight's, its queue, and who is woken when.
 *
 * One timer of a cache stands for the first of all that is due: the deadline of one that waits, or the moment at which a bucket may let
 * in its next.  Strands are woken under no lock of ours. */
#include <stdio.h>

#include "src/core/flight.h"
#include "src/policy/limiter.h"

struct bucket {
    struct ward ward;
    struct limiter limiter;
    struct list_node queue; /* of way_in; all zero where it is new */
    struct due due;         /* its next may be let in then */
};

static struct bucket *of_ward(struct ward *w) { return (struct bucket *)(void *)w; }
static struct way_in *of_link(struct list_node *node) { return list_entry(node, struct way_in, link); }
static struct due *of_node(struct heap_node *node)
{
    return (struct due *)(void *)((char *)node - offsetof(struct due, node));
}

static int sooner(const struct heap_node *a, const struct heap_node *b)
{
    return ((const struct due *)(const void *)((const char *)a - offsetof(struct due, node)))->at_ms <
           ((const struct due *)(const void *)((const char *)b - offsetof(struct due, node)))->at_ms;
}

/* Waking --------------------------------------------------------------------------------------------------------- */

static void undue_locked(struct warden *o, struct due *due)
{
    if (heap_holds(&due->node))
        strata__heap_remove(&o->dues, &due->node);
}

static void due_locked(struct warden *o, struct due *due, int64_t at_ms)
{
    undue_locked(o, due);
    due->at_ms = at_ms;
    if (at_ms != INT64_MAX)
        strata__heap_insert(&o->dues, &due->node);
}

/* Out of the queue, for this reason, onto a list of those to be woken.  A bucket that nobody waits in may be forgotten: it is due
 * nowhere. */
static void take_out_locked(struct warden *o, struct way_in *w, enum admitted state, struct list_node *woken)
{
    undue_locked(o, &w->due);
    list_remove(&w->link);
    list_push_back(woken, &w->link);
    atomic_store(&w->state, (unsigned char)state);
    if (state == ADMIT_IN)
        return;
    struct bucket *b = of_ward(w->bucket);
    if (list_empty(&b->queue))
        undue_locked(o, &b->due);
    b->ward.users--;
    w->bucket = NULL;
}

/* Let in who may be. */
static void pump_locked(struct warden *o, struct bucket *b, int64_t now, struct list_node *woken)
{
    int64_t at;
    while (strata__limiter_next(&b->limiter, now, &at))
        take_out_locked(o, of_link(b->queue.next), ADMIT_IN, woken);
    due_locked(o, &b->due, at);
}

/* Under no lock.  The strand may be gone once it is woken. */
static void wake_all(struct list_node *woken)
{
    struct list_node *node;
    while ((node = list_pop_front(woken)) != NULL)
        strata__strand_wake(of_link(node)->strand);
}

/* The timer ------------------------------------------------------------------------------------------------------ */

static struct root *root_of(struct warden *o)
{
    return (struct root *)(void *)((char *)o - offsetof(struct root, warden));
}

static void fire(struct timer *timer)
{
    struct warden *o = (struct warden *)(void *)((char *)timer - offsetof(struct warden, timer));
    ex_post_always(root_of(o)->ex, &o->task);
}

static void look(struct task *task);

/* One that is to fire just now looks for itself. */
static void arm_locked(struct root *root)
{
    struct warden *o = &root->warden;
    struct heap_node *first = heap_peek(&o->dues);
    if (first == NULL)
        return;
    int64_t at = of_node(first)->at_ms;
    if (o->armed && (o->timer.due_ms <= at || !ex_cancel(root->ex, &o->timer)))
        return;
    if (!o->armed)
        root_hold(root);
    o->armed = 1;
    o->timer = (struct timer){ .fire = fire };
    o->task.run = look;
    ex_at(root->ex, &o->timer, at);
}

/* On a worker. */
static void look(struct task *task)
{
    struct warden *o = (struct warden *)(void *)((char *)task - offsetof(struct warden, task));
    struct root *root = root_of(o);
    struct list_node woken;
    struct heap_node *first;
    list_init(&woken);
    key_mutex_lock(&o->lock);
    o->armed = 0;
    int64_t now = ex_now_ms(root->ex);
    while ((first = heap_peek(&o->dues)) != NULL && of_node(first)->at_ms <= now) {
        struct due *due = of_node(first);
        strata__heap_remove(&o->dues, first);
        if (due->is_bucket) {
            pump_locked(o, list_entry(due, struct bucket, due), now, &woken);
            continue;
        }
        struct way_in *w = list_entry(due, struct way_in, due);
        strata__limiter_quit(&of_ward(w->bucket)->limiter);
        take_out_locked(o, w, ADMIT_LATE, &woken);
    }
    arm_locked(root);
    key_mutex_unlock(&o->lock);
    wake_all(&woken);
    root_leave(root);
}

/* Entering ------------------------------------------------------------------------------------------------------- */

static uint32_t at_least_zero(int32_t n) { return n > 0 ? (uint32_t)n : 0; }

static struct bucket *made_locked(struct flight *f, int64_t now)
{
    const strata_policy *p = &f->policy;
    const struct limit limit = { .most_running = at_least_zero(p->max_loads),
                                 .most_begun = at_least_zero(p->rate_loads),
                                 .interval_ms = p->rate_ms,
                                 .most_waiting = p->queue_ms > 0 ? at_least_zero(p->max_waiting) : 0 };
    uint64_t id = strata__scope_id(f, p->limit_scope, p->limit_name);
    struct ward *w = strata__ward_make(&f->root->warden.buckets, f->mem, id, sizeof(struct bucket));
    if (w == NULL)
        return NULL;
    struct bucket *b = of_ward(w);
    if (!list_linked(&b->queue)) {
        list_init(&b->queue);
        b->due.is_bucket = 1;
    }
    strata__limiter_set(&b->limiter, &limit, now);
    return b;
}

static void stand_in_line_locked(struct flight *f, struct bucket *b, int64_t now, struct list_node *woken)
{
    struct warden *o = &f->root->warden;
    struct way_in *w = &f->way_in;
    int64_t until;
    if (f->policy.queue_ms == STRATA_FOREVER || __builtin_add_overflow(now, f->policy.queue_ms, &until))
        until = INT64_MAX;
    atomic_store(&w->state, ADMIT_WAITS);
    list_push_back(&b->queue, &w->link);
    due_locked(o, &w->due, until);
    pump_locked(o, b, now, woken); /* bounds that have changed may let in others */
    arm_locked(f->root);
}

enum limit_answer strata__limit_enter(struct flight *f, struct strand *strand, int batched)
{
    struct root *root = f->root;
    struct warden *o = &root->warden;
    struct way_in *w = &f->way_in;
    struct list_node woken;
    enum limiter_answer answer = LIMITER_FULL;
    int passes = strata__inside(root) || !root_usable(root),
        bypass = f->policy.limit_overflow == STRATA_OVERFLOW_BYPASS;
    list_init(&woken);
    if (!policy_limits(&f->policy) || w->bucket != NULL)
        return LIMIT_GO;
    key_mutex_lock(&o->lock);
    int64_t now = ex_now_ms(root->ex);
    struct bucket *b = made_locked(f, now);
    if (b != NULL && (passes || w->hurries)) {
        strata__limiter_force(&b->limiter, now); /* a loader's own loads don't wait for it to end */
        answer = LIMITER_PASS;
    } else if (b != NULL) {
        answer = strata__limiter_ask(&b->limiter, now);
    }
    if (answer != LIMITER_FULL) {
        b->ward.users++;
        w->bucket = &b->ward;
        w->strand = strand;
        w->batched = (unsigned char)batched;
        atomic_store(&w->state, ADMIT_IN);
    }
    if (b == NULL)
        atomic_store(&w->state, ADMIT_BARE);
    if (answer == LIMITER_WAIT) {
        count_up(f->handle, COUNT_LIMIT_WAITS);
        stand_in_line_locked(f, b, now, &woken);
    }
    key_mutex_unlock(&o->lock);
    wake_all(&woken);
    return answer == LIMITER_WAIT ? LIMIT_WAITS : answer == LIMITER_PASS || bypass ? LIMIT_GO : LIMIT_REFUSES;
}

void strata__limit_refused(struct flight *f)
{
    const strata_policy *p = &f->policy;
    char whose[160], bound[96];
    int state = atomic_load(&f->way_in.state);
    if (p->max_loads > 0 && p->rate_loads > 0)
        snprintf(bound, sizeof bound, "max_loads=%d, rate_loads=%d in %lld ms", p->max_loads, p->rate_loads,
                 (long long)p->rate_ms);
    else if (p->max_loads > 0)
        snprintf(bound, sizeof bound, "max_loads=%d", p->max_loads);
    else
        snprintf(bound, sizeof bound, "rate_loads=%d in %lld ms", p->rate_loads, (long long)p->rate_ms);
    strata__scope_words(f, p->limit_scope, p->limit_name, whose, sizeof whose);
    f->load.status = state == ADMIT_BARE ? STRATA_ENOMEM : STRATA_ELIMIT;
    if (state == ADMIT_BARE)
        strata__fail(
            &f->load.err, STRATA_ENOMEM, "limit_scope",
            "no memory to count the loads of the limit %s in, or %d such limits are in use: free some, or take a "
            "wider limit_scope",
            whose, WARDS_MOST);
    else if (state == ADMIT_LATE)
        strata__fail(&f->load.err, STRATA_ELIMIT, "queue_ms",
                     "the limit %s (%s) did not let this load begin within queue_ms=%lld: raise one of them", whose,
                     bound, (long long)p->queue_ms);
    else
        strata__fail(
            &f->load.err, STRATA_ELIMIT, "max_waiting",
            "the limit %s (%s) is reached, and so is max_waiting, or queue_ms is off: raise one of them, or let "
            "such loads pass with limit_overflow",
            whose, bound);
}

/* Leaving -------------------------------------------------------------------------------------------------------- */

static void leave_locked(struct flight *f, struct list_node *woken)
{
    struct root *root = f->root;
    struct warden *o = &root->warden;
    struct ward *ward = f->way_in.bucket;
    if (ward == NULL)
        return;
    int64_t now = ex_now_ms(root->ex);
    struct bucket *b = of_ward(ward);
    f->way_in.bucket = NULL;
    atomic_store(&f->way_in.state, ADMIT_OUT);
    strata__limiter_leave(&b->limiter);
    pump_locked(o, b, now, woken);
    arm_locked(root);
    if (--ward->users == 0 && strata__limiter_idle(&b->limiter, now))
        strata__ward_drop(&o->buckets, f->mem, ward);
}

void strata__limit_leave(struct flight *f)
{
    struct warden *o = &f->root->warden;
    struct list_node woken;
    if (!policy_limits(&f->policy))
        return;
    list_init(&woken);
    key_mutex_lock(&o->lock);
    struct flight *lead = f->way_in.lead;
    f->way_in.lead = NULL;
    if (lead == NULL && f->way_in.riders == 0)
        leave_locked(f, &woken);
    else if (lead != NULL && --lead->way_in.riders == 0)
        leave_locked(lead, &woken);
    key_mutex_unlock(&o->lock);
    wake_all(&woken);
    strata__flight_unref(lead);
}

void strata__limit_ride(struct flight *f, struct flight *lead)
{
    struct warden *o = &f->root->warden;
    key_mutex_lock(&o->lock);
    if (lead->way_in.bucket != NULL && f->way_in.lead == NULL) {
        f->way_in.lead = flight_ref(lead);
        lead->way_in.riders++;
    }
    key_mutex_unlock(&o->lock);
}

void strata__limit_with(struct flight *f, struct flight *lead)
{
    struct warden *o = &f->root->warden;
    key_mutex_lock(&o->lock);
    f->way_in.with = lead;
    if (lead != NULL)
        lead->way_in.hurries |= f->way_in.hurries;
    key_mutex_unlock(&o->lock);
}

void strata__limit_hurry(struct flight *f)
{
    struct warden *o = &f->root->warden;
    struct list_node woken;
    list_init(&woken);
    key_mutex_lock(&o->lock);
    struct way_in *w = f->way_in.with != NULL ? &f->way_in.with->way_in : &f->way_in;
    f->way_in.hurries = w->hurries = 1;
    if (atomic_load(&w->state) == ADMIT_WAITS) {
        struct bucket *b = of_ward(w->bucket);
        strata__limiter_quit(&b->limiter);
        strata__limiter_force(&b->limiter, ex_now_ms(f->root->ex));
        take_out_locked(o, w, ADMIT_IN, &woken);
    }
    key_mutex_unlock(&o->lock);
    wake_all(&woken);
}

static void wake_gone(struct task *task)
{
    struct warden *o = (struct warden *)(void *)((char *)task - offsetof(struct warden, gone_task));
    struct root *root = root_of(o);
    struct list_node woken;
    list_init(&woken);
    key_mutex_lock(&o->lock);
    o->gone_posted = 0;
    list_move_all(&woken, &o->gone);
    key_mutex_unlock(&o->lock);
    wake_all(&woken);
    root_leave(root);
}

void strata__limit_quit_locked(struct flight *f)
{
    struct root *root = f->root;
    struct warden *o = &root->warden;
    struct way_in *w = &f->way_in;
    if (atomic_load(&w->state) != ADMIT_WAITS)
        return;
    key_mutex_lock(&o->lock);
    if (atomic_load(&w->state) == ADMIT_WAITS && !w->batched) {
        strata__limiter_quit(&of_ward(w->bucket)->limiter);
        take_out_locked(o, w, ADMIT_GONE, &o->gone);
        if (!o->gone_posted) {
            o->gone_posted = 1;
            o->gone_task.run = wake_gone;
            root_hold(root);
            ex_post_always(root->ex, &o->gone_task);
        }
    }
    key_mutex_unlock(&o->lock);
}

static void empty_locked(struct warden *o, struct bucket *b, struct list_node *woken)
{
    while (!list_empty(&b->queue)) {
        strata__limiter_quit(&b->limiter);
        take_out_locked(o, of_link(b->queue.next), ADMIT_GONE, woken);
    }
    undue_locked(o, &b->due);
}

void strata__warden_flush(struct root *root)
{
    struct warden *o = &root->warden;
    struct list_node woken;
    list_init(&woken);
    key_mutex_lock(&o->lock);
    if (o->buckets.chains != NULL) {
        LIST_EACH(node, &o->buckets.age) { empty_locked(o, of_ward(list_entry(node, struct ward, age)), &woken); }
    }
    int stopped = o->armed && ex_cancel(root->ex, &o->timer);
    if (stopped)
        o->armed = 0;
    key_mutex_unlock(&o->lock);
    if (stopped)
        root_leave(root);
    wake_all(&woken);
}

void strata__warden_init(struct root *root)
{
    struct warden *o = &root->warden;
    *o = (struct warden){ 0 };
    key_mutex_init(&o->lock);
    strata__heap_init(&o->dues, sooner);
    list_init(&o->gone);
}

void strata__warden_free(struct root *root)
{
    struct warden *o = &root->warden;
    strata__wards_free(&o->breakers, root->mem);
    strata__wards_free(&o->buckets, root->mem);
}
