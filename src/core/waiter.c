/* waiter.c - callers that wait for a flight: their deadlines, their answers, and sleeping.
 *
 * A waiter stands in its flight's list until somebody takes it out under the key lock: the flight, with a result; its own
 * deadline; or close.  Who took it out answers it, so that it is answered exactly once. */
#include "src/core/adaptive.h"
#include "src/core/flight.h"

static int64_t moment(int64_t now, int64_t ms) { return ms > 0 && ms < INT64_MAX - now ? now + ms : INT64_MAX; }

void strata__waiter_times(struct waiter *w, const strata_policy *policy, int64_t now)
{
    w->soft_at = moment(now, policy->soft_timeout_ms);
    w->hard_at = moment(now, policy->hard_timeout_ms);
    w->hard_ms = policy->hard_timeout_ms;
    w->keep = policy->background_completion == STRATA_ON;
}

void strata__waiters_take_locked(struct flight *f, struct list_node *out, int all)
{
    if (all) {
        list_move_all(out, &f->waiters);
        return;
    }
    LIST_EACH(node, &f->waiters)
    {
        struct waiter *w = list_entry(node, struct waiter, link);
        if (w->wants_load)
            continue;
        w->taken = 1;
        list_remove(node);
        list_push_back(out, node);
    }
}

/* Counting and telling ---------------------------------------------------------------------------------------- */

static const char *layer_name(const struct root *root, uint32_t layer)
{
    return layer < root->layer_count ? root->layers[layer].layer->name : NULL;
}

void strata__answer_counted(strata *handle, strata_slice key, const struct answer *a)
{
    struct root *root = handle->root;
    if (a->is_hit) {
        count_up(handle, COUNT_HITS);
        if (handle->adaptive_most != 0)
            strata__adaptive_hit(handle, handle_hash(handle, key));
        if (a->status == STRATA_ABSENT)
            count_up(handle, COUNT_NEGATIVE_HITS);
        event_fire(handle, STRATA_EVENT_HIT, key, layer_name(root, a->layer));
    } else if (a->status == STRATA_MISS) {
        event_fire(handle, STRATA_EVENT_MISS, key, NULL);
    }
    if (a->status != STRATA_STALE)
        return;
    count_up(handle, COUNT_STALE_SERVES);
    if (event_wanted(root, STRATA_EVENT_STALE_SERVE)) {
        strata_event e = { .size = sizeof e,
                           .kind = STRATA_EVENT_STALE_SERVE,
                           .cache = handle,
                           .key = key,
                           .layer = layer_name(root, a->layer),
                           .state = a->state };
        strata__event_fire(handle, &e);
    }
}

/* Answering --------------------------------------------------------------------------------------------------- */

struct blocking_result {
    struct waiter *w;
    int status;
    strata_value *value;
    const strata_error *err;
};

static void write_result(void *ctx)
{
    struct blocking_result *r = ctx;
    r->w->status = r->status;
    r->w->value = r->value;
    if (r->status < 0 && r->w->err != NULL && r->err != NULL)
        *r->w->err = *r->err;
    r->w->done = 1;
}

void strata__waiter_finish(struct waiter *w, int status, strata_value *value, const strata_error *err)
{
    if (w->driver != NULL) {
        struct blocking_result r = { .w = w, .status = status, .value = value, .err = err };
        strata__driver_done(w->driver, write_result, &r);
        return;
    }
    w->status = status;
    w->value = value;
    if (status < 0 && w->err != NULL && err != NULL)
        *w->err = *err;
    w->finish(w);
}

void strata__waiters_give(struct flight *f, struct list_node *taken, const struct answer *a)
{
    struct list_node *node;
    while ((node = list_pop_front(taken)) != NULL) {
        struct waiter *w = list_entry(node, struct waiter, link);
        if (!w->quiet)
            strata__answer_counted(w->handle, f->key.plain, a);
        w->was_hit = a->is_hit != 0;
        strata_value *value = a->value;
        if (a->last != NULL && list_empty(taken))
            *a->last = NULL;
        else if (value != NULL)
            strata_value_ref(value);
        strata__waiter_finish(w, a->status, value, a->err);
    }
}

/* Deadlines --------------------------------------------------------------------------------------------------- */

/* The last one has gone: whether the flight goes on, and for how long. */
static void last_left_locked(struct flight *f)
{
    if (!list_empty(&f->waiters) || f->background || f->phase > FLIGHT_LOADING)
        return;
    if (f->keep) {
        f->background = 1;
        if (f->phase == FLIGHT_LOADING)
            strata__refresh_timer_locked(f);
    } else {
        strata__flight_abandon_locked(f);
    }
}

/* Key lock held. */
static int timed_out(const struct waiter *w, strata_error *err)
{
    const char *slow = w->flight->phase == FLIGHT_LOADING ? "the origin is slow"
                       : atomic_load(&w->flight->way_in.state) == ADMIT_WAITS
                           ? "as many loads run, or have begun, as max_loads and rate_loads allow"
                       : atomic_load(&w->flight->place.state) == UNLEASED_WAITS
                           ? "as many loads run as max_unleased_loads allows while no lease can be asked for"
                       : w->flight->phase == FLIGHT_LEASING ? "another process loads it, and is slow"
                       : w->flight->phase == FLIGHT_WAITING
                           ? "a write of the key, or a load of before a ban, is not done yet"
                           : "a layer is slow";
    return strata__fail(err, STRATA_ETIMEDOUT, "hard_timeout_ms",
                        "no value within hard_timeout_ms=%lld: %s; raise it, or "
                        "allow stale values with stale_if_error_ms%s",
                        (long long)w->hard_ms, slow, w->keep ? " (the load goes on in the background)" : "");
}

/* `tried` is what is held where the load has taken too long for it to be tried again at once. */
static int expired_locked(struct waiter *w, int64_t now, struct answer *a, struct held *tried, strata_error *err)
{
    struct flight *f = w->flight;
    int hard = now >= w->hard_at;
    if (!hard && now < w->soft_at)
        return 0;
    enum action action = strata__held_action(&f->previous, hard ? SITUATION_HARD_TIMEOUT : SITUATION_SOFT_TIMEOUT, now);
    if (f->previous.there && f->previous.meta.negative)
        action = hard ? ACTION_FAIL : ACTION_WAIT;
    if (action == ACTION_WAIT || (action == ACTION_FAIL && !hard)) {
        w->soft_at = INT64_MAX;
        return 0;
    }
    *a = (struct answer){ .layer = LAYERS_MAX };
    if (action == ACTION_FAIL) {
        a->status = timed_out(w, err);
        a->err = err;
    } else {
        a->status = action == ACTION_STALE ? STRATA_STALE : STRATA_OK;
        a->value = strata_value_ref(f->previous.value);
        a->layer = f->previous.layer;
        a->state = held_state(&f->previous, now);
        if (hard && f->phase == FLIGHT_LOADING)
            *tried = strata__held_copy(&f->previous);
    }
    list_remove(&w->link);
    f->keep |= w->keep || !hard;
    last_left_locked(f);
    return hard ? 2 : 1;
}

int strata__waiter_expired(struct waiter *w, int64_t now, int *status, strata_value **value, strata_error *err)
{
    struct flight *f = w->flight;
    struct answer a;
    struct held tried = { 0 };
    struct frame frame;
    strata_error words = STRATA_ERROR_INIT;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    int over = 0, loading = f->phase == FLIGHT_LOADING;
    if (waiter_stands_locked(w))
        over = expired_locked(w, now, &a, &tried, &words);
    else
        w->soft_at = w->hard_at = INT64_MAX; /* its answer is on the way */
    stripe_unlock(s, &frame);
    if (!over)
        return 0;
    if (over == 2) {
        if (loading) /* an origin that hangs has failed, too */
            strata__breaker_hears(f, BREAKER_SICK);
        count_up(w->handle, COUNT_LOAD_TIMEOUTS);
        event_fire(w->handle, STRATA_EVENT_LOAD_TIMEOUT, f->key.plain, NULL);
    }
    if (tried.there) /* or each further caller would wait as long for the same origin */
        strata__throttle(f->handle, &f->key, &tried, f->policy.retry_ms);
    strata__held_drop(&tried);
    strata__answer_counted(w->handle, f->key.plain, &a);
    *status = a.status;
    *value = a.value;
    if (a.status < 0 && err != NULL)
        *err = words;
    return 1;
}

int strata__waiter_withdraw(struct waiter *w)
{
    struct flight *f = w->flight;
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    int in = waiter_stands_locked(w);
    if (in) {
        list_remove(&w->link);
        last_left_locked(f);
    }
    stripe_unlock(s, &frame);
    return in;
}

static int is_done(struct waiter *w, struct driver *d)
{
    if (d->served)
        return 1;
    key_mutex_lock(&d->lock);
    int done = w->done;
    key_mutex_unlock(&d->lock);
    return done;
}

void strata__waiter_sleep(struct waiter *w, struct driver *d)
{
    while (!is_done(w, d)) {
        int64_t deadline = w->soft_at < w->hard_at ? w->soft_at : w->hard_at;
        if (!strata__driver_step(d, deadline))
            continue;
        int status = 0;
        strata_value *value = NULL;
        if (strata__waiter_expired(w, ex_now_ms(d->ex), &status, &value, w->err)) {
            w->status = status;
            w->value = value;
            w->done = 1;
            return;
        }
    }
}
