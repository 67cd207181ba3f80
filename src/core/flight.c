/* flight.c - flights: entering one, and what its strand does.
 *
 * A caller joins the flight of its key, or begins one; either happens under the key lock, and so does the last look into the
 * nearest layer, so that no value that has just come is loaded again. */
#include "src/core/bans.h"
#include "src/core/behind.h"
#include "src/core/flight.h"
#include "src/core/key_marks.h"

#include <string.h>

#include "src/policy/ttl.h"

/* Entering ---------------------------------------------------------------------------------------------------- */

static void answer_held(struct waiter *w, const struct held *held, enum action action)
{
    int stale = action == ACTION_STALE || action == ACTION_STALE_AND_REFRESH;
    w->status = held->meta.negative ? STRATA_ABSENT : stale ? STRATA_STALE : STRATA_OK;
    w->value = held->value != NULL ? strata_value_ref(held->value) : NULL;
}

/* The nearest layer once more: what was missed a moment ago may have come.  1: it answers. */
static int recheck_locked(const struct want *want, struct flight *f, struct waiter *w)
{
    struct root *root = f->root;
    struct layer_slot *slot = &root->layers[0];
    if (!slot_instant(slot))
        return 0;
    op_init(&f->op, f->handle, slot, &f->key, STRATA_OP_GET, f->begun_ms, &f->op_err);
    int rc = strata__layer_peek(f->handle, slot, &f->op);
    if (rc == STRATA_MISS)
        return 0;
    if (rc == STRATA_OK) {
        w->status = STRATA_OK;
        w->value = f->op.found;
        return 1;
    }
    struct held held = { 0 };
    if (!strata__held_init(f->handle, slot, &f->op, &held))
        return 0;
    enum action a = strata__held_action(&held, want_loads(want) ? SITUATION_LOAD : SITUATION_READ, f->begun_ms);
    if (a == ACTION_LOAD || a == ACTION_MISS) {
        f->previous = held;
        return 0;
    }
    answer_held(w, &held, a);
    strata__held_drop(&held);
    return 1;
}

/* The same with what was set, and is yet to be written behind, put back first. */
static int recheck_behind_locked(const struct want *want, struct stripe *s, struct flight *f, struct waiter *w)
{
    return !f->previous.there && strata__behind_restore_locked(f->handle, s, &f->key) && recheck_locked(want, f, w);
}

int strata__flight_too_old(const struct flight *f, int64_t now)
{
    int64_t limit = f->policy.refresh_timeout_ms;
    if (f->phase == FLIGHT_LOADING && load_is_limited(&f->policy))
        return f->detached; /* a timer sees to that */
    if (f->policy.hard_timeout_ms > limit)
        limit = f->policy.hard_timeout_ms;
    return f->phase <= FLIGHT_LOADING && limit > 0 && now - f->begun_ms > limit;
}

/* It has its result, stores it in slow layers, and that takes longer than the result is good for. */
static int outdated(const struct flight *f, int64_t now)
{
    struct deadlines d;
    if (!f->delivered || f->plan.kind != STRATA_OP_PUT)
        return 0;
    strata__deadlines(&f->plan.meta, f->plan.meta.born_ms, &d);
    return now >= (f->status == STRATA_STALE ? d.gone_at : d.fresh_until);
}

static void bring_loader_locked(struct flight *f, const struct want *want)
{
    if (atomic_load(&f->wants_load) || f->phase > FLIGHT_READING)
        return;
    f->loader = want->loader;
    f->bulk = want->bulk;
    f->loader_ctx = want->loader_ctx;
    f->policy = *want->policy;
    atomic_store(&f->wants_load, 1);
}

/* Has anything been banned since it began that may concern what it brings, though it be softly?  Until it is delivered nobody knows its
 * tags: then any of them may be meant. */
static int banned_meanwhile(const struct flight *f, strata *handle, strata_slice key)
{
    const int known = f->delivered && f->plan.kind == STRATA_OP_PUT;
    const strata_meta born = { .life = f->root->life,
                               .position = f->position,
                               .tag_count = known ? f->plan.meta.tag_count : 1 };
    return cleared_since(handle, f->position) ||
           strata__bans_judge(handle, NULL, &born, key, known ? f->plan.tags : NULL) != BAN_NONE;
}

/* Its place among bans: those that came before are none to it. */
static void born_now(struct flight *f)
{
    f->store_position = atomic_load(&f->root->host.store_position);
    f->position = atomic_load(&f->root->position);
}

/* The flight of this key that a caller may join; what is outdated is sent out of the way. */
static struct flight *find_joinable_locked(struct stripe *s, const struct want *want, strata_slice key, uint64_t hash)
{
    struct root *root = want->handle->root;
    if (atomic_load_explicit(&s->count, memory_order_relaxed) == 0)
        return NULL;
    int64_t now = ex_now_ms(root->ex);
    if (want->policy->single_flight == STRATA_OFF || strata__uncacheable_locked(root, want->policy, hash, now))
        return NULL;
    strata__give_up_superseded_locked(s, hash, want->handle->space, key, now);
    struct flight *f = strata__flight_find_locked(s, hash, want->handle->space, key);
    if (f == NULL)
        return NULL;
    if (f->busy.waiting)
        born_now(f); /* it has asked nobody yet */
    int banned = banned_meanwhile(f, want->handle, key), old = strata__flight_too_old(f, now) || outdated(f, now);
    /* One that began so long ago that its value would come in suspect is no answer for who asks now. */
    if (!banned && !old && strata__suspect_level(f->root, f->position, now) == SUSPECT_NOT)
        return f;
    if (banned && !old && f->phase <= FLIGHT_LOADING) {
        if (!want_loads(want) && f->phase >= FLIGHT_LEASING)
            return f; /* the layers were asked, and a ban brings nothing */
        if (want_loads(want) && strata__another_loads_locked(s, f, now)) {
            strata__flight_supersede_locked(f);
            return NULL;
        }
    }
    strata__poison_one_locked(f);
    return NULL;
}

/* What keeps the flight from beginning, a caller may have to run. */
static void wait_behind_locked(const struct flight *f, struct waiter *w)
{
    struct root *root = f->root;
    if (!f->busy.waiting)
        return;
    key_mutex_lock(&root->graph_lock);
    w->behind = f->behind != NULL ? flight_ref(f->behind) : NULL;
    key_mutex_unlock(&root->graph_lock);
}

/* It waits for nobody any more. */
static void leave_behind(struct flight *f)
{
    key_mutex_lock(&f->root->graph_lock);
    struct flight *behind = f->behind;
    f->behind = NULL;
    key_mutex_unlock(&f->root->graph_lock);
    strata__flight_unref(behind);
}

/* 1: joined, or answered (*entered says which); 0: this flight is of no use to the caller. */
static int join_locked(struct flight *f, const struct want *want, struct waiter *w, enum entered *entered)
{
    if (f->delivered) { /* it is only still storing */
        w->status = f->status;
        w->value = f->value != NULL ? strata_value_ref(f->value) : NULL;
        *entered = ENTERED_ANSWERED;
        return 1;
    }
    if (!want_loads(want) && (f->phase >= FLIGHT_LEASING || (f->follows && f->phase == FLIGHT_WAITING))) {
        w->status = STRATA_MISS; /* the layers were asked */
        *entered = ENTERED_ANSWERED;
        return 1;
    }
    if (want_loads(want))
        bring_loader_locked(f, want);
    w->flight = flight_ref(f);
    w->joined = 1;
    w->lead = f->lead;
    if (w->lead != NULL)
        w->lead->ref(w->lead);
    wait_behind_locked(f, w);
    list_push_back(&f->waiters, &w->link);
    *entered = ENTERED_JOINED;
    return 1;
}

static int try_join(const struct want *want, strata_slice key, uint64_t hash, struct waiter *w, enum entered *entered,
                    strata_error *err)
{
    struct root *root = want->handle->root;
    struct frame frame;
    int settled = 1;
    struct stripe *s = stripe_lock(root, hash, &frame);
    if (!root_usable(root)) {
        w->status = strata__refuse(root, err);
        *entered = ENTERED_FAILED;
    } else {
        struct flight *f = find_joinable_locked(s, want, key, hash);
        settled = f != NULL && join_locked(f, want, w, entered);
    }
    stripe_unlock(s, &frame);
    return settled;
}

/* A reference is the strand's from here on, until it has ended: the caller sees to that. */
static void enter_table_locked(struct root *root, struct stripe *s, struct flight *f)
{
    if (strata__uncacheable_locked(root, &f->policy, f->key.hash, f->begun_ms))
        f->policy.single_flight = STRATA_OFF;
    strata__behind_hurry_locked(root, s, &f->busy); /* first: what ends by that wakes nobody */
    strata__busy_enter_locked(root, s, &f->busy);
    f->in_table = 1;
    f->phase = f->busy.waiting ? FLIGHT_WAITING : FLIGHT_READING;
    struct flight *ahead = f->busy.waiting ? strata__flight_ahead_locked(s, f) : NULL;
    f->follows = ahead != NULL;
    f->behind = ahead != NULL ? flight_ref(ahead) : NULL;
    root_hold(root);
    if (f->policy.single_flight == STRATA_OFF)
        return;
    if (atomic_fetch_add_explicit(&root->flights, 1, memory_order_relaxed) < root->options.max_flights) {
        f->counted = 1;
        f->joinable = 1;
    } else {
        atomic_fetch_sub_explicit(&root->flights, 1, memory_order_relaxed);
    }
}

/* A caller that sleeps for it brings its loader, no layer is left to be asked, and nothing protects the origin: then what
 * strata__flight_after_layers() and strata__load_begin() look at is settled while the key lock is held for its entry. */
static int loads_at_once(const struct want *want, const struct flight *f, const struct waiter *w)
{
    const struct root *root = f->root;
    return w->driver != NULL && w->driver->runs_loaders && want_loads(want) && !want_posts(want) && !f->busy.waiting &&
           root->layer_count == 1 && slot_instant(&root->layers[0]) && !root_leases(root) &&
           !policy_guards(&f->policy) && f->import == NULL && !f->from_batch;
}

enum entered strata__flight_enter(const struct want *want, strata_slice key, uint64_t hash, struct waiter *w,
                                  struct flight **out, strata_error *err)
{
    struct root *root = want->handle->root;
    enum entered entered;
    *out = NULL;
    /* Nobody there, as a rule: then the flight is made first, and one hold of the lock does. */
    int others = atomic_load_explicit(&stripe_of(root, hash)->count, memory_order_relaxed) != 0;
    if (others && try_join(want, key, hash, w, &entered, err))
        return entered;
    strata__trust_window(root);
    struct flight *f = strata__flight_new(want, key, hash, err);
    if (f == NULL) {
        w->status = STRATA_ENOMEM;
        return ENTERED_FAILED;
    }
    struct frame frame;
    struct stripe *s = stripe_lock(root, hash, &frame);
    struct flight *other = find_joinable_locked(s, want, key, hash);
    if (!root_usable(root)) {
        w->status = strata__refuse(root, err);
        entered = ENTERED_FAILED;
    } else if (other != NULL && join_locked(other, want, w, &entered)) {
        /* Somebody was faster. */
    } else if (recheck_locked(want, f, w) || recheck_behind_locked(want, s, f, w)) {
        entered = ENTERED_ANSWERED;
    } else {
        born_now(f);
        enter_table_locked(root, s, f);
        atomic_store_explicit(&f->refs, 2,
                              memory_order_relaxed); /* its strand's, and the waiter's; nobody else has seen it */
        w->flight = f;
        wait_behind_locked(f, w);
        list_push_back(&f->waiters, &w->link);
        entered = f->busy.waiting ? ENTERED_QUEUED : ENTERED_STARTED;
        if (f->busy.waiting) { /* a batch shall not wait with it */
            f->lead = NULL;
            f->from_batch = 0;
        }
        if (loads_at_once(want, f, w)) {
            f->phase = FLIGHT_LOADING;
            f->step = STEP_LOAD_FIRST;
            strand_drive(&f->strand, w->driver);
        }
        *out = f;
    }
    stripe_unlock(s, &frame);
    if (*out == NULL)
        strata__flight_unref(f);
    return entered;
}

int strata__flight_not_started(struct flight *f, int rc)
{
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    int wanted = !list_empty(&f->waiters);
    if (!wanted)
        strata__flight_abandon_locked(f);
    stripe_unlock(s, &frame);
    if (wanted) {
        strata__strand_wake(&f->strand);
        return 1;
    }
    f->status = rc;
    strata__flight_store(f);
    return 0;
}

/* Is what was seen still what is there?  A refresh that came after another one has nothing to do. */
static int still_seen_locked(struct flight *f)
{
    struct layer_slot *slot = &f->root->layers[0];
    if (!slot_instant(slot))
        return 1;
    op_init(&f->op, f->handle, slot, &f->key, STRATA_OP_GET, f->begun_ms, &f->op_err);
    int rc = strata__layer_peek(f->handle, slot, &f->op);
    if (rc == STRATA_MISS)
        return 1;
    struct held held = { 0 };
    int same = 0;
    if (rc == STRATA_STALE && strata__held_init(f->handle, slot, &f->op, &held))
        same = f->begun_ms >= held.d.retry_at;
    else
        op_drop(&f->op);
    if (same && f->previous.there && held.meta.born_ms > f->previous.meta.born_ms)
        same = 0;
    if (same && !f->previous.there && held.suspect != SUSPECT_NOT) { /* for read.c: it is not just old */
        f->previous = held;
        held = (struct held){ 0 };
    }
    strata__held_drop(&held);
    return same;
}

/* May this reader begin the refresh that the tables allow?  Where it is drawn, the draw says so. */
static int early_due(struct root *root, const strata_policy *policy, const struct early *e)
{
    if (policy->xfetch != STRATA_ON || e->fresh_until == 0)
        return 1;
    return strata__xfetch_due(e->load_ms, e->fresh_until - ex_now_ms(root->ex), ex_random(root->ex));
}

static struct early early_of(const struct held *held, int64_t now)
{
    if (!held->there || held_state(held, now) != STRATA_STATE_EARLY)
        return (struct early){ 0 };
    return (struct early){ .fresh_until = held->d.fresh_until, .load_ms = held->meta.load_ms };
}

/* Are as many values on their way to slow layers as there may be? */
static int late_is_full(struct root *root)
{
    return atomic_load_explicit(&root->late, memory_order_relaxed) >= root->options.max_queued ||
           atomic_load_explicit(&root->late_bytes, memory_order_relaxed) >= LATE_BYTES_MOST;
}

/* A worker stays with a layer that blocks until it has stored.  To others a refresh may not add without end, nor may it leave
 * there what it supersedes. */
static int refresh_would_pile_up(struct root *root)
{
    if (!late_is_full(root))
        return 0;
    for (size_t i = 0; i < root->layer_count; i++)
        if (!(root->layers[i].flags & (STRATA_LAYER_INSTANT | STRATA_LAYER_BLOCKS)))
            return 1;
    return 0;
}

void strata__refresh_start(const struct want *want, strata_slice key, uint64_t hash, const struct held *seen)
{
    struct root *root = want->handle->root;
    if (refresh_would_pile_up(root))
        return; /* the next hit tries again */
    struct early early = seen != NULL ? early_of(seen, ex_now_ms(root->ex)) : (struct early){ 0 };
    if (!early_due(root, want->policy, &early))
        return;
    strata__trust_window(root);
    strata_error err = STRATA_ERROR_INIT;
    struct flight *f = strata__flight_new(want, key, hash, &err);
    if (f == NULL)
        return; /* the next hit tries again */
    if (seen != NULL && seen->there) {
        f->previous = *seen;
        f->previous.value = seen->value != NULL ? strata_value_ref(seen->value) : NULL;
        f->previous.tags = seen->tags != NULL ? strata_value_ref(seen->tags) : NULL;
    }
    struct frame frame;
    struct stripe *s = stripe_lock(root, hash, &frame);
    struct flight *other = strata__key_loads_locked(s, hash, want->handle->space, key);
    if (other != NULL && other->refresh && want_loads(want))
        bring_loader_locked(other, want); /* a plain get's, which only asks the store */
    int begin = root_usable(root) && other == NULL && still_seen_locked(f);
    if (begin) {
        born_now(f);
        f->background = 1;
        f->refresh = 1;
        enter_table_locked(root, s, flight_ref(f));
        if (f->busy.waiting)
            begin = 0; /* the write will wake it */
    }
    stripe_unlock(s, &frame);
    int rc = begin ? strata__strand_start(&f->strand) : STRATA_OK;
    if (rc != STRATA_OK) {
        strata__event_error(f->handle, f->key.plain, NULL, rc,
                            "no worker was free for a refresh: raise workers or "
                            "max_queued");
        if (f->previous.there)
            strata__throttle(f->handle, &f->key, &f->previous, f->policy.retry_ms);
        strata__flight_not_started(f, rc);
    }
    strata__flight_unref(f);
}

void strata__note_refresh(struct flight *f, const struct held *held, enum action action, int64_t now)
{
    f->refresh_after = (unsigned char)action_refreshes(action);
    f->early = early_of(held, now);
}

void strata__refresh_after(struct flight *f)
{
    struct root *root = f->root;
    if (!f->refresh_after || !atomic_load(&f->wants_load) || !early_due(root, &f->policy, &f->early))
        return;
    struct want want = {
        .handle = f->handle, .loader = f->loader, .bulk = f->bulk, .loader_ctx = f->loader_ctx, .policy = &f->policy
    };
    strata__refresh_start(&want, f->key.plain, f->key.hash, NULL);
}

/* One flight -------------------------------------------------------------------------------------------------- */

/* A write came first, or a flight that a ban overtook: what was held before it counts no more, and what it has left in the nearest layer does.
 * 1: that answers. */
static int answered_after_write(struct flight *f)
{
    struct root *root = f->root;
    struct layer_slot *slot = &root->layers[0];
    struct held before, now = { 0 };
    struct frame frame;
    int64_t at = ex_now_ms(root->ex);
    int rc = STRATA_MISS;
    leave_behind(f);
    struct stripe *s = stripe_lock(root, f->key.hash, &frame);
    before = f->previous;
    f->previous = (struct held){ 0 };
    f->phase = FLIGHT_READING;
    if (slot_instant(slot)) {
        op_init(&f->op, f->handle, slot, &f->key, STRATA_OP_GET, at, &f->op_err);
        rc = strata__layer_peek(f->handle, slot, &f->op);
    }
    stripe_unlock(s, &frame);
    strata__held_drop(&before);
    enum action a = ACTION_LOAD;
    if (rc == STRATA_OK) {
        a = ACTION_SERVE;
        now.value = f->op.found;
        f->op.found = NULL;
    } else if (rc == STRATA_STALE && strata__held_init(f->handle, slot, &f->op, &now) && !f->refresh) {
        a = strata__held_action(&now, atomic_load(&f->wants_load) ? SITUATION_LOAD : SITUATION_READ, at);
    }
    if (!action_serves(a)) {
        s = stripe_lock(root, f->key.hash, &frame);
        f->previous = now;
        stripe_unlock(s, &frame);
        return 0;
    }
    int stale = a == ACTION_STALE || a == ACTION_STALE_AND_REFRESH;
    f->status = now.meta.negative ? STRATA_ABSENT : stale ? STRATA_STALE : STRATA_OK;
    f->value = now.value;
    f->tags = now.tags;
    f->is_hit = 1;
    f->hit_layer = 0;
    f->hit_state = rc == STRATA_OK ? STRATA_STATE_FRESH : held_state(&now, at);
    strata__note_refresh(f, &now, a, at);
    strata__flight_store(f);
    return 1;
}

static void step(struct flight *f)
{
    switch ((enum flight_step)f->step) {
    case STEP_READ:
        if (f->phase != FLIGHT_WAITING || !answered_after_write(f))
            strata__read_run(&f->solo);
        return;
    case STEP_LEASE: strata__lease_answered(f); return;
    case STEP_ADMIT: strata__admit_go_on(f); return;
    case STEP_UNLEASED: strata__lease_load(f); return;
    case STEP_LOAD_FIRST:
        event_fire(f->handle, STRATA_EVENT_MISS, f->key.plain, NULL);
        strata__load_run(f);
        return;
    case STEP_LOAD: strata__load_run(f); return;
    case STEP_LOADED: strata__flight_loaded(f); return;
    case STEP_STORE:
    case STEP_STORED: strata__flight_store(f); return;
    }
}

void strata__flight_run_held(struct flight *f)
{
    struct frame frame;
    frame_push(&frame, f->root, FRAME_STRAND);
    frame.flights = &f->self;
    frame.flight_count = 1;
    step(f);
    frame_end(&frame);
}

void strata__flight_run(struct strand *strand)
{
    struct flight *f = flight_ref(flight_of_strand(strand)); /* while the frame tells of it */
    strata__flight_run_held(f);
    strata__flight_unref(f);
}
