/* warm.c - warming up: many keys through get_or_load, a few at a time.
 *
 * There are as many jobs as are to run at once.  Each has a key, or a batch of them, and goes the way of strata_get_or_load_async(),
 * or of strata_get_or_load_many() on a worker.  Whoever brings a job back pumps: it tells what came of it, and hands out what is next.
 * One thread pumps at a time, and another one that comes leaves its job to that; so next() and progress() are never called by two
 * at once, and under no lock. */
#include "strata/warm.h"

#include <string.h>

#include "src/core/adaptive.h"
#include "src/core/async_impl.h"
#include "src/policy/options.h"

#define WHERE "warm"

enum { BUSY_PAUSE_MS = 5, REPORT_MOST = 4096 };

struct job {
    struct job *next;
    struct warm *warm;
    struct task task; /* of a batch */
    strata_item *items;
    unsigned char *hits; /* of a batch: which ones a layer had */
    size_t count;
    int hit;              /* the same of a single key */
    unsigned char *bytes; /* of keys that next() gave */
    size_t bytes_used, bytes_room;
    strata_error err;
};

struct warm {
    struct async *call;
    struct root *root;
    strata *cache;
    strata_warm_options options;
    strata_policy policy_copy;
    strata_warm_report *out_report;
    strata_warm_report report;
    size_t *order; /* of the list; NULL: as it is */
    size_t at;
    struct task task;
    struct timer timer;
    struct job *jobs;
    struct job *idle, *held; /* the pump's: the latter has keys, and there was no room for it */
    size_t running;          /* the pump's: jobs that are under way, and the timer */
    int batches;             /* a bulk loader is called: the options', or the namespace's own */
    int ended, stopped, timed, status;
    strata_error err;
    struct key_mutex lock; /* of the following */
    struct job *finished;
    int pumping, again;
};

static void come_back(struct warm *w, struct job *j);

/* What is next ---------------------------------------------------------------------------------------------------- */

static void stop(struct warm *w, int status, const strata_error *err)
{
    if (!w->stopped && status < 0) {
        w->status = status;
        if (err != NULL && err->status == status)
            w->err = *err;
        else
            strata__fail_plain(&w->err, status, WHERE);
    }
    w->stopped = 1;
}

/* A copy of what next() gave; its place is not known before all of the batch are there. */
static int keep_key(struct job *j, strata_slice key)
{
    const strata_allocator *mem = j->warm->root->mem;
    if (key.size > j->bytes_room - j->bytes_used) {
        size_t room = (j->bytes_used + key.size) * 2 + 64;
        unsigned char *bytes = strata__alloc(mem, room);
        if (bytes == NULL)
            return STRATA_ENOMEM;
        if (j->bytes_used != 0)
            memcpy(bytes, j->bytes, j->bytes_used);
        strata__free(mem, j->bytes);
        j->bytes = bytes;
        j->bytes_room = room;
    }
    if (key.size != 0 && key.data != NULL)
        memcpy(j->bytes + j->bytes_used, key.data, key.size);
    j->bytes_used += key.size;
    return STRATA_OK;
}

/* 1: *out is the next key; 0: there is none. */
static int next_key(struct warm *w, strata_slice *out)
{
    const strata_warm_options *o = &w->options;
    if (o->next == NULL) {
        if (w->at == o->count)
            return 0;
        *out = o->keys[w->order != NULL ? w->order[w->at] : w->at].key;
        w->at++;
        return 1;
    }
    *out = strata_bytes(NULL, 0);
    int rc = o->next(out, o->next_ctx);
    if (rc < 0) {
        strata_error err;
        strata__fail(&err, rc, "next", "next() of a warm-up failed: %s", strata_status_text(rc));
        stop(w, rc, &err);
    }
    return rc > 0;
}

static size_t batch_of(const struct warm *w) { return w->batches ? w->options.batch : 1; }

/* 1: it has something to do. */
static int fill(struct warm *w, struct job *j)
{
    strata_slice key;
    j->count = j->bytes_used = 0;
    while (j->count < batch_of(w) && !w->ended && !w->stopped) {
        if (!next_key(w, &key)) {
            w->ended = 1;
            break;
        }
        if (w->options.next != NULL && keep_key(j, key) != STRATA_OK) {
            stop(w, STRATA_ENOMEM, NULL);
            break;
        }
        memset(&j->items[j->count], 0, sizeof j->items[0]);
        j->items[j->count++].key = key;
    }
    size_t at = 0;
    for (size_t i = 0; i < j->count && w->options.next != NULL; i++) {
        j->items[i].key.data = j->bytes + at;
        at += j->items[i].key.size;
    }
    return j->count != 0 && !w->stopped;
}

/* Jobs ------------------------------------------------------------------------------------------------------------ */

static void job_over(struct job *j) { come_back(j->warm, j); }

static void single_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct job *j = ctx;
    strata_value_unref(value);
    j->items[0].status = status;
    if (status < 0 && err != NULL)
        j->err = *err;
    job_over(j);
}

static void run_batch(struct task *task)
{
    struct job *j = (struct job *)(void *)((char *)task - offsetof(struct job, task));
    struct warm *w = j->warm;
    for (size_t i = 0; i < j->count; i++)
        j->items[i].status = STRATA_PENDING;
    int rc = strata__load_many(w->cache, j->items, j->count, w->options.bulk, w->options.loader_ctx, w->options.policy,
                               j->hits, &j->err);
    for (size_t i = 0; i < j->count; i++) {
        if (j->items[i].status == STRATA_PENDING) /* it failed as a whole */
            j->items[i].status = rc;
        strata_value_unref(j->items[i].value);
        j->items[i].value = NULL;
    }
    job_over(j);
}

/* STRATA_PENDING: job_over() will be called; STRATA_EBUSY: not now; else that is its status. */
static int start(struct warm *w, struct job *j)
{
    j->err = (strata_error)STRATA_ERROR_INIT;
    if (!w->batches)
        return strata__load_reporting(w->cache, j->items[0].key, w->options.loader, w->options.loader_ctx,
                                      w->options.policy, &j->hit, single_done, j, &j->err);
    j->task.run = run_batch;
    memset(j->hits, 0, j->count);
    int rc = ex_post(w->root->ex, &j->task);
    return rc == STRATA_OK ? STRATA_PENDING : rc;
}

/* The pump -------------------------------------------------------------------------------------------------------- */

static void tell(struct warm *w, strata_slice key, int status, int hit, const strata_error *err)
{
    strata_warm_report *r = &w->report;
    r->done++;
    if (status < 0) {
        r->failed++;
        if (r->status == 0)
            r->status = status;
        if (w->options.keep_going != STRATA_ON || status == STRATA_ECLOSED || status == STRATA_EFORKED)
            stop(w, status, err);
    } else {
        *(status == STRATA_ABSENT  ? &r->absent
          : status == STRATA_STALE ? &r->stale
          : hit                    ? &r->fresh
                                   : &r->loaded) += 1;
    }
    if (w->options.progress != NULL && w->options.progress(r, key, status, w->options.progress_ctx) != 0)
        stop(w, STRATA_ECANCELED, NULL);
}

static void tell_job(struct warm *w, struct job *j)
{
    for (size_t i = 0; i < j->count; i++)
        tell(w, j->items[i].key, j->items[i].status, w->batches ? j->hits[i] : j->hit, &j->err);
    j->next = w->idle;
    w->idle = j;
}

static void timer_task(struct task *task)
{
    come_back((struct warm *)(void *)((char *)task - offsetof(struct warm, task)), NULL);
}

static void timer_due(struct timer *timer)
{
    struct warm *w = (struct warm *)(void *)((char *)timer - offsetof(struct warm, timer));
    w->task.run = timer_task;
    ex_post_always(w->root->ex, &w->task);
}

/* No worker is free.  Where a job is under way, its end is the time to try again. */
static void hold(struct warm *w, struct job *j)
{
    w->held = j;
    if (w->running != 0)
        return;
    w->running++;
    w->timer = (struct timer){ .fire = timer_due };
    ex_at(w->root->ex, &w->timer, ex_now_ms(w->root->ex) + BUSY_PAUSE_MS);
}

static void hand_out(struct warm *w)
{
    while (!w->stopped && (w->held != NULL || (w->idle != NULL && !w->ended))) {
        struct job *j = w->held;
        if (j == NULL) {
            j = w->idle;
            w->idle = j->next;
            if (!fill(w, j)) {
                j->next = w->idle;
                w->idle = j;
                continue;
            }
        }
        w->held = NULL;
        size_t count =
            j->count; /* it may be over before start() has returned, but nobody else looks at it before the pump does */
        int rc = start(w, j);
        if (rc == STRATA_EBUSY) {
            hold(w, j);
            return;
        }
        w->report.taken += count;
        if (rc == STRATA_PENDING) {
            w->running++;
            continue;
        }
        for (size_t i = 0; i < count; i++)
            j->items[i].status = rc;
        tell_job(w, j);
    }
}

static void finish(struct warm *w)
{
    strata_warm_report *out = w->out_report;
    struct async *call = w->call;
    const strata_allocator *mem = w->root->mem;
    int more = w->held != NULL || (w->options.next != NULL ? !w->ended : w->at < w->options.count);
    w->report.stopped = (uint32_t)(w->stopped && more);
    if (out != NULL) {
        size_t size = out->size, common = size < sizeof w->report ? size : sizeof w->report;
        memset(out, 0, size);
        memcpy(out, &w->report, common);
        out->size = size;
    }
    int status = w->status;
    strata_error err = w->err;
    for (size_t i = 0; i < w->options.concurrency; i++)
        strata__free(mem, w->jobs[i].bytes);
    strata__free(mem, w);
    strata__async_complete(call, status, NULL, &err);
}

/* By who has set w->pumping, or begins. */
static void pump(struct warm *w)
{
    struct frame frame;
    frame_push(&frame, w->root, FRAME_CALLBACK); /* strata_close() in next() or progress() is noticed */
    int over = 0;
    key_mutex_lock(&w->lock);
    while (w->again) {
        struct job *j = w->finished;
        w->again = 0;
        w->finished = NULL;
        w->running -= (size_t)w->timed;
        w->timed = 0;
        key_mutex_unlock(&w->lock);
        while (j != NULL) {
            struct job *next = j->next;
            w->running--;
            tell_job(w, j);
            j = next;
        }
        hand_out(w);
        key_mutex_lock(&w->lock);
    }
    w->pumping = 0;
    over = w->running == 0;
    key_mutex_unlock(&w->lock);
    frame_pop(&frame);
    if (over)
        finish(w);
}

/* Of a job, or, where it is NULL, of the timer.  What came back is told, and who is to pump settled, under one hold of the lock: another
 * one who pumps may find that it was the last, and then there is no warm-up any more. */
static void come_back(struct warm *w, struct job *j)
{
    key_mutex_lock(&w->lock);
    if (j != NULL) {
        j->next = w->finished;
        w->finished = j;
    } else {
        w->timed = 1;
    }
    w->again = 1;
    int is_mine = !w->pumping;
    w->pumping = 1;
    key_mutex_unlock(&w->lock);
    if (is_mine)
        pump(w);
}

static void begin(struct task *task)
{
    struct warm *w = (struct warm *)(void *)((char *)task - offsetof(struct warm, task));
    w->again = w->pumping = 1;
    pump(w);
}

/* The call -------------------------------------------------------------------------------------------------------- */

static int check_options(const strata *cache, const strata_warm_options *given, strata_warm_options *out,
                         const strata_warm_report *report, strata_error *err)
{
    *out = (strata_warm_options)STRATA_WARM_OPTIONS_INIT;
    if (cache == NULL || given == NULL)
        return strata__no_argument(err, "strata_warm() needs a cache, and options that say which keys");
    int rc = strata__options_check(&strata__warm_rows, given, given->size, out, sizeof *out, err);
    if (rc == STRATA_OK)
        rc = strata__call_policy_check(cache, out->policy, err);
    if (rc != STRATA_OK)
        return rc;
    strata__options_fill(&strata__warm_rows, out);
    if (report != NULL && (report->size < sizeof report->size || report->size > REPORT_MOST))
        return strata__fail(err, STRATA_EINVAL, "report", "its size is %zu: start it from STRATA_WARM_REPORT_INIT",
                            report->size);
    if (out->keys == NULL && out->count != 0)
        return strata__fail(err, STRATA_EINVAL, "keys", "keys is NULL, and %zu are said to be there: give them, or 0",
                            out->count);
    if (out->keys != NULL && out->next != NULL)
        return strata__fail(err, STRATA_EINVAL, "keys",
                            "a warm-up has its keys from a list or from next(), not from both");
    if (out->loader != NULL && out->bulk != NULL)
        return strata__fail(err, STRATA_EINVAL, "bulk", "a warm-up has a loader or a bulk loader, not both");
    if (out->loader == NULL && out->bulk == NULL && !namespace_has_loader(cache))
        return strata__fail(err, STRATA_EINVAL, "loader",
                            "there is no loader: give the warm-up one, or the namespace (strata_namespace_options)");
    return STRATA_OK;
}

static int is_before(size_t a, size_t b, const strata_warm_key *keys)
{
    return keys[a].priority != keys[b].priority ? keys[a].priority > keys[b].priority : a < b;
}

/* A heap sort: in place, and stable, as equal ones differ by their place in the list. */
static void sift(size_t *order, size_t root, size_t count, const strata_warm_key *keys)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && is_before(order[child], order[child + 1], keys))
            child++;
        if (!is_before(order[root], order[child], keys))
            return;
        size_t other = order[root];
        order[root] = order[child];
        order[child] = other;
    }
}

static void sort_order(size_t *order, size_t count, const strata_warm_key *keys)
{
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count / 2; i-- > 0;)
        sift(order, i, count, keys);
    for (size_t left = count; left-- > 1;) {
        size_t last = order[0];
        order[0] = order[left];
        order[left] = last;
        sift(order, 0, left, keys);
    }
}

/* All in one block: jobs, their items and hits, the order of the list. */
static struct warm *make(strata *cache, const strata_warm_options *o)
{
    int batches = o->bulk != NULL || (o->loader == NULL && cache->bulk_loader != NULL);
    size_t batch = batches ? o->batch : 1, jobs = o->concurrency, keys = o->count;
    size_t each = sizeof(struct job) + batch * (sizeof(strata_item) + 1);
    if (keys > SIZE_MAX / 4 / sizeof(size_t))
        return NULL;
    size_t room = sizeof(struct warm) + jobs * each + keys * sizeof(size_t) + 64;
    struct warm *w = strata__alloc_zero(cache->root->mem, room);
    if (w == NULL)
        return NULL;
    w->root = cache->root;
    w->cache = cache;
    w->options = *o;
    w->batches = batches;
    w->jobs = (struct job *)(void *)(w + 1);
    strata_item *items = (strata_item *)(void *)(w->jobs + jobs);
    w->order = keys != 0 ? (size_t *)(void *)(items + jobs * batch) : NULL;
    unsigned char *hits = (unsigned char *)(items + jobs * batch) + keys * sizeof(size_t);
    for (size_t i = 0; i < jobs; i++) {
        struct job *j = &w->jobs[i];
        j->warm = w;
        j->items = items + i * batch;
        j->hits = hits + i * batch;
        j->next = w->idle;
        w->idle = j;
    }
    if (keys != 0)
        sort_order(w->order, keys, o->keys);
    if (o->policy != NULL) {
        memcpy(&w->policy_copy, o->policy,
               o->policy->size < sizeof w->policy_copy ? o->policy->size : sizeof w->policy_copy);
        w->policy_copy.size = sizeof w->policy_copy;
        w->options.policy = &w->policy_copy;
    }
    key_mutex_init(&w->lock);
    return w;
}

int strata_warm_async(strata *cache, const strata_warm_options *options, strata_warm_report *out_report,
                      strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    strata_warm_options o;
    int rc = check_options(cache, options, &o, out_report, err);
    if (rc != STRATA_OK)
        return rc;
    struct async *a = strata__async_new(cache, strata_bytes(NULL, 0), queue, done, ctx, &rc, err);
    if (a == NULL)
        return rc;
    struct warm *w = make(cache, &o);
    if (w == NULL)
        return strata__async_refuse(a, strata__fail(err, STRATA_ENOMEM, WHERE, "no memory for a warm-up"));
    w->call = a;
    w->out_report = out_report;
    w->task.run = begin;
    rc = ex_post(w->root->ex, &w->task);
    if (rc == STRATA_OK)
        return STRATA_PENDING;
    strata__free(w->root->mem, w);
    return strata__async_refuse(a, strata__async_busy(rc, err));
}

/* Waiting for it -------------------------------------------------------------------------------------------------- */

struct waits {
    struct driver driver;
    int status, over; /* the driver's lock */
    strata_error err;
};

static void set_over(void *ctx) { ((struct waits *)ctx)->over = 1; }

static void warmed(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct waits *w = ctx;
    (void)value;
    w->status = status;
    if (err != NULL)
        w->err = *err;
    strata__driver_done(&w->driver, set_over, w);
}

static int warm_entered(strata *cache, const strata_warm_options *options, strata_warm_report *out_report,
                        strata_error *err)
{
    struct root *root = cache->root;
    struct waits w = { .err = STRATA_ERROR_INIT };
    strata__driver_init(&w.driver, root->ex, 0);
    w.driver.left = 1;
    int rc = strata_warm_async(cache, options, out_report, NULL, warmed, &w, err);
    while (rc == STRATA_PENDING) {
        key_mutex_lock(&w.driver.lock);
        int over = w.over;
        key_mutex_unlock(&w.driver.lock);
        if (over) {
            rc = w.status;
            break;
        }
        strata__driver_step(&w.driver, INT64_MAX);
    }
    if (rc < 0 && w.err.status == rc && err != NULL)
        *err = w.err;
    strata__driver_deinit(&w.driver);
    return rc;
}

int strata_warm(strata *cache, const strata_warm_options *options, strata_warm_report *out_report, strata_error *err)
{
    if (cache == NULL)
        return strata__no_argument(err, "strata_warm() needs a cache");
    if (strata__inside(cache->root))
        return strata__fail(err, STRATA_EDEADLOCK, WHERE,
                            "a loader or callback of the same cache can't wait for a warm-up: use strata_warm_async()");
    int rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    rc = warm_entered(cache, options, out_report, err);
    root_leave(cache->root);
    return rc;
}
