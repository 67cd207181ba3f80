/* load.c - calling the loader, and what it may do with its strata_load.
 *
 * Two things must have happened before a flight goes on: the loader function has returned, and somebody has completed the
 * load.  Both count down `parts`; the last one goes on: the loader's own thread at once, a foreign one by waking the
 * flight's strand.  Who completes is settled by one exchange of `claimed`, so that a completion can't happen twice, nor
 * after close, which claims what is open for itself. */
#include <stdio.h>
#include <string.h>

#include "src/core/adaptive.h"
#include "src/core/bans.h"
#include "src/core/flight.h"

/* Before the call --------------------------------------------------------------------------------------------- */

/* May the loader run on the thread that runs this strand?  Not on that of a plain get. */
static int thread_will_do(struct flight *f)
{
    key_mutex_lock(&f->strand.lock);
    int will = f->strand.driver == NULL || f->strand.driver->runs_loaders;
    key_mutex_unlock(&f->strand.lock);
    return will;
}

int strata__load_begin(struct flight *f)
{
    struct list_node gets;
    struct frame frame;
    list_init(&gets);
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    int wanted = !list_empty(&f->waiters) || f->background || f->keep;
    int open = root_usable(f->root) && !f->closed;
    strata__waiters_take_locked(f, &gets, 0);
    wanted = wanted && (!list_empty(&f->waiters) || f->background || f->keep);
    if (wanted && open)
        f->phase = FLIGHT_LOADING;
    else
        strata__flight_abandon_locked(f);
    stripe_unlock(s, &frame);
    struct answer miss = { .status = f->layer_failed ? STRATA_ELAYER : STRATA_MISS,
                           .err = &f->err,
                           .layer = LAYERS_MAX };
    strata__waiters_give(f, &gets, &miss);
    if (!wanted || !open) {
        f->status = open ? STRATA_ECANCELED : STRATA_ECLOSED;
        strata__fail(&f->err, f->status, "read", "%s",
                     open ? "nobody waited for the value any more"
                          : "the cache was closed before the loader was called");
        strata__flight_store(f);
        return 0;
    }
    if (!f->refresh)
        event_fire(f->handle, STRATA_EVENT_MISS, f->key.plain, NULL);
    f->step = STEP_LOAD;
    if (thread_will_do(f))
        return 1;
    strata__strand_pass(&f->strand);
    return 0;
}

static void refresh_expired(struct task *task)
{
    struct flight *f = (struct flight *)(void *)((char *)task - offsetof(struct flight, refresh_task));
    struct root *root = f->root;
    struct held held = { 0 };
    struct frame frame;
    struct stripe *s = stripe_lock(root, f->key.hash, &frame);
    int over = f->phase == FLIGHT_LOADING && f->background && list_empty(&f->waiters);
    f->timer_set = 0;
    f->background = 0; /* who waits now decides about the rest of its life */
    if (over) {
        strata__flight_abandon_locked(f);
        held = strata__held_copy(&f->previous);
    }
    stripe_unlock(s, &frame);
    if (over) {
        strata__breaker_hears(f, BREAKER_SICK);
        count_up(f->handle, COUNT_LOAD_TIMEOUTS);
        event_fire(f->handle, STRATA_EVENT_LOAD_TIMEOUT, f->key.plain, NULL);
        if (held.there)
            strata__throttle(f->handle, &f->key, &held, f->policy.retry_ms);
    }
    strata__held_drop(&held);
    strata__flight_unref(f);
    root_leave(root);
}

static void refresh_due(struct timer *timer)
{
    struct flight *f = (struct flight *)(void *)((char *)timer - offsetof(struct flight, refresh_timer));
    ex_post_always(f->root->ex, &f->refresh_task);
}

void strata__refresh_timer_locked(struct flight *f)
{
    if (f->timer_set || f->policy.refresh_timeout_ms <= 0 || f->policy.refresh_timeout_ms == STRATA_FOREVER)
        return;
    f->timer_set = 1;
    f->refresh_timer = (struct timer){ .fire = refresh_due };
    f->refresh_task.run = refresh_expired;
    flight_ref(f);
    root_hold(f->root);
    ex_at(f->root->ex, &f->refresh_timer, ex_now_ms(f->root->ex) + f->policy.refresh_timeout_ms);
}

/* What is noted before a loader is called, for one of its flights. */
void strata__load_note_start(struct flight *f)
{
    struct root *root = f->root;
    f->load_ms = ex_now_ms(root->ex);
    f->load_ns = ex_now_ns(root->ex);
    f->load_wall_ms = ex_wall_ms(root->ex);
    f->step = STEP_LOADED;
    flight_ref(f); /* the load's own */
    atomic_store_explicit(&f->load.refs, 1, memory_order_relaxed);
    atomic_store_explicit(&f->load.parts, 2, memory_order_relaxed);
    atomic_store(&f->loader_called, 1); /* who reads that sees them; sequentially consistent: see root_usable() below */
    count_up(f->handle, COUNT_LOADS);
    if (f->refresh)
        count_up(f->handle, COUNT_REFRESHES);
    if (f->background) {
        struct frame frame;
        struct stripe *s = stripe_lock(root, f->key.hash, &frame);
        if (f->background && !f->closed)
            strata__refresh_timer_locked(f);
        stripe_unlock(s, &frame);
    }
    if (load_is_limited(&f->policy))
        strata__load_limit_start(f);
    event_fire(f->handle, STRATA_EVENT_LOAD_START, f->key.plain, NULL);
    if (!root_usable(root)) /* close may have looked before the load could be claimed */
        strata__load_abort(f, STRATA_ECLOSED, "the cache was closed before the loader was called");
}

void strata__load_run(struct flight *f)
{
    struct frame frame;
    strata__load_note_start(f);
    frame_push(&frame, f->root, FRAME_LOADER);
    frame.flights = &f->self;
    frame.flight_count = 1;
    strata_load *load = &f->load;
    int rc = STRATA_OK;
    if (atomic_load(&load->claimed))
        rc = STRATA_OK;
    else if (f->loader != NULL)
        rc = f->loader(load, f->key.plain, f->loader_ctx);
    else
        rc = f->bulk(&load, &f->key.plain, 1, f->loader_ctx);
    frame_pop(&frame);
    if (strata__load_returned(f, rc))
        strata__flight_loaded(f);
}

static int is_status(int rc) { return strcmp(strata_status_name(rc), "UNKNOWN") != 0; }

/* The loader came back with `rc`, and has not completed its load. */
static void say_returned(int rc, char *words, size_t room)
{
    static const char how[] =
        "it must complete its load (for instance with strata_load_copy), or return STRATA_PENDING and "
        "complete it later";
    if (rc == STRATA_OK)
        snprintf(words, room, "the loader returned without a result: %s", how);
    else if (rc == STRATA_ABSENT)
        snprintf(words, room, "the loader returned ABSENT: call strata_load_absent(), and return STRATA_OK");
    else if (rc < 0 && is_status(rc))
        snprintf(words, room, "the loader returned %s: %s", strata_status_name(rc), strata_status_text(rc));
    else if (rc < 0)
        snprintf(words, room,
                 "the loader returned %d, which is no status of strata's: to say more, call "
                 "strata_load_fail()",
                 rc);
    else if (is_status(rc))
        snprintf(words, room, "the loader returned %s without a result: %s", strata_status_name(rc), how);
    else
        snprintf(words, room, "the loader returned %d without a result: %s", rc, how);
}

/* Why the last try to complete the load was refused; NULL where none was. */
static const char *note_of(struct strata_load *load)
{
    return atomic_load_explicit(&load->noted, memory_order_acquire) == 2 ? load->note : NULL;
}

int strata__load_returned(struct flight *f, int rc)
{
    char words[256];
    struct strata_load *load = &f->load;
    if (rc != STRATA_PENDING && !atomic_load(&load->claimed)) {
        const char *note = note_of(load);
        say_returned(rc, words, sizeof words);
        strata__load_abort(f, rc < 0 ? rc : STRATA_ELOADER, note != NULL ? note : words);
    }
    /* Nobody else has the load, as a rule: then its reference to the flight is ours to give back. */
    if (atomic_load_explicit(&load->refs, memory_order_acquire) == 1 && atomic_load(&load->claimed)) {
        atomic_store_explicit(&load->refs, 0, memory_order_relaxed);
    } else {
        flight_ref(f); /* for the step after the load's reference may be gone */
        strata_load_unref(load);
    }
    int last = atomic_fetch_sub(&load->parts, 1) == 1;
    strata__flight_unref(f); /* last: the strand's own reference keeps it */
    return last;
}

/* Completing -------------------------------------------------------------------------------------------------- */

static int claim(struct strata_load *load)
{
    uint32_t open = 0;
    return atomic_compare_exchange_strong(&load->claimed, &open, 1);
}

static void completed(struct strata_load *load)
{
    if (atomic_fetch_sub(&load->parts, 1) == 1)
        strata__strand_wake(&flight_of_load(load)->strand);
}

static void fill_failure(struct strata_load *load, int status, const char *message)
{
    load->status = status;
    strata__fail(&load->err, status, "loader", "%s",
                 message != NULL && message[0] != 0 ? message : strata_status_text(status));
}

void strata__load_abort(struct flight *f, int status, const char *message)
{
    if (!atomic_load(&f->loader_called) || !claim(&f->load) || f->life != f->root->life)
        return;
    fill_failure(&f->load, status, message);
    completed(&f->load);
}

/* STRATA_OK: the caller has claimed it, and calls completed(). */
static int begin_completion(struct strata_load *load)
{
    if (load == NULL)
        return STRATA_EINVAL;
    const struct flight *f = flight_of_load(load);
    if (!root_usable(f->root) || f->life != f->root->life)
        return STRATA_ECLOSED;
    return claim(load) ? STRATA_OK : STRATA_EALREADY;
}

/* A completion with arguments that can't be.  The load stays open: its loader may do better. */
static int refused(struct strata_load *load, const char *words)
{
    uint32_t none = 0;
    if (load != NULL && atomic_compare_exchange_strong(&load->noted, &none, 1)) {
        snprintf(load->note, sizeof load->note, "%s", words);
        atomic_store_explicit(&load->noted, 2, memory_order_release);
    }
    return STRATA_EINVAL;
}

static int too_large(struct strata_load *load, size_t size)
{
    char words[160];
    uint64_t limit = flight_of_load(load)->root->options.max_value_bytes;
    if (size <= limit)
        return 0;
    snprintf(words, sizeof words, "the loaded value has %zu bytes, the limit is %llu: raise max_value_bytes", size,
             (unsigned long long)limit);
    fill_failure(load, STRATA_EVALUESIZE, words);
    return 1;
}

/* The claimed load gets its value, or the failure that kept it from having one. */
static int give(struct strata_load *load, strata_value *value)
{
    int rc = STRATA_OK;
    if (value != NULL) {
        load->status = STRATA_OK;
        load->value = value;
    } else {
        if (load->status >= 0)
            fill_failure(load, STRATA_ENOMEM, "no memory for the loaded value");
        rc = load->status;
    }
    completed(load);
    return rc;
}

int strata_load_copy(strata_load *load, const void *data, size_t size)
{
    int rc = begin_completion(load);
    if (rc != STRATA_OK)
        return rc;
    return give(load, too_large(load, size) ? NULL : strata__value_copy(flight_of_load(load)->mem, data, size));
}

int strata_load_take(strata_load *load, void *data, size_t size, void (*release)(void *data, void *ctx), void *ctx)
{
    strata_value *value = NULL;
    int rc = begin_completion(load);
    if (rc == STRATA_OK && !too_large(load, size))
        value = strata__value_take(flight_of_load(load)->mem, data, size, release, ctx);
    if (value == NULL && release != NULL)
        release(data, ctx);
    return rc == STRATA_OK ? give(load, value) : rc;
}

int strata_load_object(strata_load *load, void *object)
{
    if (load == NULL)
        return STRATA_EINVAL;
    struct root *root = flight_of_load(load)->root;
    const strata_codec *codec = root->codec;
    if (codec == NULL)
        return STRATA_EINVAL; /* nobody here knows how to free it */
    strata_value *value = NULL;
    int rc = begin_completion(load);
    if (rc == STRATA_OK && !too_large(load, codec->cost(object, codec->ctx)))
        value = strata__value_object(root->mem, object, codec);
    if (value == NULL)
        codec->free(object, codec->ctx);
    return rc == STRATA_OK ? give(load, value) : rc;
}

int strata_load_absent(strata_load *load)
{
    int rc = begin_completion(load);
    if (rc != STRATA_OK)
        return rc;
    load->status = STRATA_ABSENT;
    completed(load);
    return STRATA_OK;
}

int strata_load_not_modified(strata_load *load)
{
    if (load != NULL && strata_load_previous(load) == NULL)
        return refused(load, "strata_load_not_modified() without a previous value: call it only where "
                             "strata_load_previous() shows one");
    int rc = begin_completion(load);
    if (rc != STRATA_OK)
        return rc;
    load->status = STRATA_OK;
    load->not_modified = 1;
    completed(load);
    return STRATA_OK;
}

int strata_load_decline(strata_load *load, const void *data, size_t size)
{
    int rc = begin_completion(load);
    if (rc != STRATA_OK)
        return rc;
    load->declined = 1;
    return give(load, too_large(load, size) ? NULL : strata__value_copy(flight_of_load(load)->mem, data, size));
}

int strata_load_fail(strata_load *load, int status, const char *message)
{
    if (status >= 0) {
        char words[240];
        snprintf(words, sizeof words, "strata_load_fail() was given %d (%s), and a failure is below 0; its message: %s",
                 status, strata_status_name(status), message != NULL && message[0] != 0 ? message : "none");
        return refused(load, words);
    }
    int rc = begin_completion(load);
    if (rc != STRATA_OK)
        return rc;
    fill_failure(load, status, message);
    completed(load);
    return STRATA_OK;
}

int strata_load_canceled(const strata_load *load)
{
    if (load == NULL)
        return 1;
    const struct flight *f = flight_of_load(load);
    return atomic_load(&load->canceled) != 0 || !root_usable(f->root) || f->life != f->root->life;
}

const strata_value *strata_load_previous(const strata_load *load)
{
    const struct held *previous = load != NULL ? &flight_of_load(load)->previous : NULL;
    return previous != NULL && previous->there ? previous->value : NULL;
}

int strata_load_set_policy(strata_load *load, const strata_policy *policy)
{
    if (load == NULL || policy == NULL ||
        strata__call_policy_check(flight_of_load(load)->handle, policy, NULL) != STRATA_OK)
        return STRATA_EINVAL;
    if (atomic_load(&load->claimed))
        return STRATA_EALREADY;
    strata_policy known = { 0 };
    memcpy(&known, policy, policy->size < sizeof known ? policy->size : sizeof known);
    known.size = sizeof known;
    load->policy = known;
    load->has_policy = 1;
    return STRATA_OK;
}

int strata_load_tag(strata_load *load, const char *tag)
{
    return strata_load_tags(load, &(strata_slice){ tag, tag != NULL ? strlen(tag) : 0 }, 1);
}

int strata_load_tags(strata_load *load, const strata_slice *tags, size_t count)
{
    if (load == NULL || (tags == NULL && count != 0) || count > STRATA_TAGS_MAX - (size_t)load->tag_count)
        return STRATA_EINVAL;
    for (size_t i = 0; i < count; i++)
        if (tags[i].size == 0 || tags[i].data == NULL)
            return STRATA_EINVAL;
    if (atomic_load(&load->claimed))
        return STRATA_EALREADY;
    const strata_allocator *mem = flight_of_load(load)->mem;
    uint32_t room = load->tag_room != 0 ? load->tag_room : 8;
    while (room < load->tag_count + count)
        room *= 2;
    uint64_t *more = room != load->tag_room ? strata__realloc_array(mem, load->tags, room, sizeof *more) : load->tags;
    if (more == NULL)
        return STRATA_ENOMEM;
    load->tags = more;
    load->tag_room = room;
    for (size_t i = 0; i < count; i++)
        more[load->tag_count++] = strata__tag_id(tags[i]);
    return STRATA_OK;
}

strata_load *strata_load_ref(strata_load *load)
{
    if (load != NULL)
        atomic_fetch_add_explicit(&load->refs, 1, memory_order_relaxed);
    return load;
}

void strata_load_unref(strata_load *load)
{
    if (load == NULL || atomic_fetch_sub_explicit(&load->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct flight *f = flight_of_load(load);
    const char *note = note_of(load);
    strata__load_abort(f, STRATA_ELOADER,
                       note != NULL ? note : "the last reference to the load was given back without a completion");
    strata__flight_unref(f);
}
