/* async.c - the asynchronous twins of reads and writes.
 *
 * A read stands in its flight as a waiter without a thread; its answer goes into the completion queue, or is a task of its
 * own where no queue was given.  A write takes its place in the table before the call returns, so that writes of one key
 * happen in the order of the calls, and goes on on a worker; with instant layers alone it is done before that. */
#include "src/core/async_impl.h"
#include "src/core/behind.h"

#include <string.h>

#include "src/core/direct.h"

/* Life ---------------------------------------------------------------------------------------------------------- */

static void unref_async(struct async *a)
{
    if (atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct root *root = a->root;
    strata__queue_unref(a->queue);
    if (a->write != NULL) {
        strata_value_unref(a->write->value);
        strata_value_unref(a->write->tags);
        strata_value_unref(a->write->encoded);
        strata__free(root->mem, a->write->storage);
        strata__free(root->mem, a->write);
    }
    strata__flight_unref(a->waiter.flight);
    strata__handle_unref(a->cache);
    strata__free(root->mem, a);
    strata__root_unref(root);
}

static struct async *of_completion(struct completion *c)
{
    return (struct async *)(void *)((char *)c - offsetof(struct async, completion));
}

static void free_completion(struct completion *c) { unref_async(of_completion(c)); }

/* The user's callback, with a frame around it, so that strata_close() in it is noticed. */
static void call_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct async *a = ctx;
    struct frame frame;
    frame_push(&frame, a->root, FRAME_CALLBACK);
    a->done(status, value, err, a->ctx);
    frame_pop(&frame);
}

void strata__async_complete_here(struct task *task)
{
    struct async *a = async_of_task(task);
    struct root *root = a->root;
    strata__completion_run(&a->completion);
    root_leave(root);
}

static void fill_answer(struct async *a, int status, strata_value *value, const strata_error *err)
{
    a->completion.status = status;
    a->completion.value = value;
    if (status < 0 && err != NULL && err != &a->completion.err)
        a->completion.err = *err;
    if (status < 0)
        strata__fail_plain(&a->completion.err, status, "async");
}

void strata__async_complete(struct async *a, int status, strata_value *value, const strata_error *err)
{
    struct root *root = a->root;
    fill_answer(a, status, value, err);
    if (a->queue != NULL && strata__queue_push(a->queue, &a->completion) == STRATA_OK) {
        root_leave(root); /* nothing of it is ours any more */
        return;
    }
    a->task.run = strata__async_complete_here;
    ex_post_always(root->ex, &a->task);
}

struct async *strata__async_new(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx,
                                int *rc, strata_error *err)
{
    if (cache == NULL || done == NULL) {
        *rc = strata__no_argument(err, "an asynchronous call needs a cache and a function to call when it is done");
        return NULL;
    }
    struct root *root = cache->root;
    *rc = root_enter(root, err);
    if (*rc != STRATA_OK)
        return NULL;
    struct async *a = strata__alloc_zero(root->mem, sizeof *a + key.size);
    if (a == NULL) {
        *rc = strata__fail(err, STRATA_ENOMEM, "async", "no memory for an asynchronous call");
        root_leave(root);
        return NULL;
    }
    if (key.size != 0)
        memcpy(a + 1, key.data, key.size);
    a->key = strata_bytes(a + 1, key.size);
    strata__root_ref(root);
    atomic_fetch_add_explicit(&cache->refs, 1, memory_order_relaxed);
    atomic_init(&a->refs, 1);
    a->root = root;
    a->cache = cache;
    a->queue = queue != NULL ? strata__queue_ref(queue) : NULL;
    a->done = done;
    a->ctx = ctx;
    a->completion.done = call_done;
    a->completion.ctx = a;
    a->completion.free = free_completion;
    return a;
}

int strata__async_refuse(struct async *a, int rc)
{
    struct root *root = a->root;
    unref_async(a);
    root_leave(root);
    return rc;
}

int strata__async_busy(int rc, strata_error *err)
{
    return strata__fail(err, rc, "async",
                        rc == STRATA_EBUSY ? "no worker is free and max_queued tasks wait: try again "
                                             "later, or raise workers or max_queued"
                                           : "%s",
                        strata_status_text(rc));
}

/* An answer that is there before the call returns. */
static int answer_now(struct async *a, int status, strata_value *value, const strata_error *words, strata_error *err)
{
    if (a->queue != NULL) {
        strata__async_complete(a, status, value, words);
        return STRATA_PENDING;
    }
    a->completion.status = status;
    a->completion.value = value;
    if (status < 0)
        a->completion.err = *words;
    a->task.run = strata__async_complete_here;
    int rc = ex_post(a->root->ex, &a->task);
    if (rc == STRATA_OK)
        return STRATA_PENDING;
    strata_value_unref(value);
    return strata__async_refuse(a, strata__async_busy(rc, err));
}

/* Reads --------------------------------------------------------------------------------------------------------- */

static struct async *of_waiter(struct waiter *w)
{
    return (struct async *)(void *)((char *)w - offsetof(struct async, waiter));
}

static void finish_read(struct waiter *w)
{
    struct async *a = of_waiter(w);
    struct root *root = a->root;
    if (a->out_hit != NULL)
        *a->out_hit = w->was_hit;
    if (a->timer_set && ex_cancel(root->ex, &a->timer)) {
        unref_async(a);
        root_leave(root);
    }
    strata__async_complete(a, w->status, w->value, &a->completion.err);
}

static void timer_due(struct timer *timer)
{
    struct async *a = (struct async *)(void *)((char *)timer - offsetof(struct async, timer));
    ex_post_always(a->root->ex, &a->expire_task);
}

static int next_moment(const struct waiter *w, int64_t *out)
{
    *out = w->soft_at < w->hard_at ? w->soft_at : w->hard_at;
    return *out != INT64_MAX;
}

/* Wait for the next deadline, if the read has no answer yet. */
static void arm(struct async *a)
{
    struct flight *f = a->waiter.flight;
    struct frame frame;
    int64_t due;
    struct stripe *s = stripe_lock(a->root, f->key.hash, &frame);
    if (waiter_stands_locked(&a->waiter) && next_moment(&a->waiter, &due)) {
        a->timer_set = 1;
        atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
        root_hold(a->root);
        a->timer = (struct timer){ .fire = timer_due };
        ex_at(a->root->ex, &a->timer, due);
    }
    stripe_unlock(s, &frame);
}

static void expire_read(struct task *task)
{
    struct async *a = (struct async *)(void *)((char *)task - offsetof(struct async, expire_task));
    struct root *root = a->root;
    int status;
    strata_value *value = NULL;
    strata_error words = STRATA_ERROR_INIT;
    if (strata__waiter_expired(&a->waiter, ex_now_ms(root->ex), &status, &value, &words))
        strata__async_complete(a, status, value, &words);
    else
        arm(a);
    unref_async(a); /* the timer's */
    root_leave(root);
}

static int start_read(struct async *a, struct flight *f, strata_error *err)
{
    int rc = strata__strand_start(&f->strand);
    if (rc == STRATA_OK)
        return STRATA_PENDING;
    if (!strata__waiter_withdraw(&a->waiter)) {
        strata__flight_not_started(f, rc); /* answered meanwhile: by a deadline or close */
        return STRATA_PENDING;
    }
    strata__flight_not_started(f, rc);
    return strata__async_refuse(a, strata__async_busy(rc, err));
}

static int read_async(struct async *a, const struct want *want, strata_error *err)
{
    struct waiter *w = &a->waiter;
    strata_value *value = NULL;
    strata_error words = STRATA_ERROR_INIT;
    uint64_t hash;
    int status;
    if (strata__read_first(want, a->key, &hash, &value, &status, &words))
        return answer_now(a, status, value, &words, err);
    *w = (struct waiter){ .handle = a->cache,
                          .wants_load = (unsigned char)want_loads(want),
                          .err = &a->completion.err,
                          .soft_at = INT64_MAX,
                          .hard_at = INT64_MAX,
                          .finish = finish_read };
    a->expire_task.run = expire_read;
    if (want_loads(want))
        strata__waiter_times(w, want->policy, ex_now_ms(a->root->ex));
    struct flight *f;
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed); /* ours, while the answer may come at any time */
    enum entered entered = strata__flight_enter(want, a->key, hash, w, &f, &words);
    strata *cache = a->cache;
    int rc = STRATA_PENDING;
    if (entered == ENTERED_FAILED) {
        if (err != NULL)
            *err = words;
        rc = strata__async_refuse(a, w->status);
    } else if (entered == ENTERED_ANSWERED) {
        struct answer answer = { .status = w->status, .is_hit = w->status != STRATA_MISS, .layer = 0 };
        strata__answer_counted(cache, a->key, &answer);
        rc = answer_now(a, w->status, w->value, &words, err);
    } else {
        if (w->joined)
            strata__join_counted(cache, a->key);
        struct strand *lead = w->lead;
        w->lead = NULL;
        if (lead != NULL)
            lead->unref(lead);
        strata__flight_unref(w->behind);
        w->behind = NULL;
        arm(a);
        if (entered == ENTERED_STARTED)
            rc = start_read(a, f, err);
    }
    unref_async(a);
    return rc;
}

int strata_get_async(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx,
                     strata_error *err)
{
    int rc = cache != NULL ? check_key(cache, key, err) : STRATA_OK;
    if (rc != STRATA_OK)
        return rc;
    if (cache != NULL && cache->get_loads)
        return strata_get_or_load_async(cache, key, NULL, NULL, NULL, queue, done, ctx, err);
    if (cache != NULL && cache->direct_async && done != NULL &&
        (rc = strata__get_async_direct(cache, key, queue, done, ctx, err)) != NOT_DIRECT)
        return rc;
    struct async *a = strata__async_new(cache, key, queue, done, ctx, &rc, err);
    if (a == NULL)
        return rc;
    struct want want = { .handle = cache, .policy = &cache->policy };
    return read_async(a, &want, err);
}

static int load_async(strata *cache, strata_slice key, strata_loader loader, void *loader_ctx,
                      const strata_policy *policy, int *out_hit, const struct async_end *end, strata_error *err)
{
    int rc = cache != NULL ? check_key(cache, key, err) : STRATA_OK;
    struct want want;
    strata_policy resolved;
    if (rc == STRATA_OK && cache != NULL)
        rc = strata__want_init(&want, cache, loader, loader_ctx, policy, &resolved, err);
    if (rc != STRATA_OK)
        return rc;
    struct async *a = strata__async_new(cache, key, end->queue, end->done, end->ctx, &rc, err);
    if (a == NULL)
        return rc;
    a->out_hit = out_hit;
    return read_async(a, &want, err);
}

int strata_get_or_load_async(strata *cache, strata_slice key, strata_loader loader, void *loader_ctx,
                             const strata_policy *policy, strata_queue *queue, strata_done done, void *ctx,
                             strata_error *err)
{
    const struct async_end end = { queue, done, ctx };
    return load_async(cache, key, loader, loader_ctx, policy, NULL, &end, err);
}

int strata__load_reporting(strata *cache, strata_slice key, strata_loader loader, void *loader_ctx,
                           const strata_policy *policy, int *out_hit, strata_done done, void *ctx, strata_error *err)
{
    const struct async_end end = { NULL, done, ctx };
    *out_hit = 1; /* what is answered at once */
    return load_async(cache, key, loader, loader_ctx, policy, out_hit, &end, err);
}

/* Writes -------------------------------------------------------------------------------------------------------- */

struct async_write {
    struct write write;
    struct async *owner;
};

static void ref_write(struct strand *s)
{
    struct async_write *w = (struct async_write *)(void *)((char *)s - offsetof(struct write, strand));
    atomic_fetch_add_explicit(&w->owner->refs, 1, memory_order_relaxed);
}

static void unref_write(struct strand *s)
{
    struct async_write *w = (struct async_write *)(void *)((char *)s - offsetof(struct write, strand));
    unref_async(w->owner);
}

static void write_over(struct write *w)
{
    struct async *a = ((struct async_write *)(void *)w)->owner;
    strata__async_complete(a, strata__write_result(w), NULL, &w->err);
}

/* The call's memory: the write is freed with it.  `pattern` is copied.  Takes over what `value` points to, unless it fails before
 * there is a write: it says so by leaving it there. */
static int give_write(struct async *a, const struct write *pattern, strata_value **value, strata_error *err)
{
    struct root *root = a->root;
    struct async_write *w = strata__alloc_zero(root->mem, sizeof *w);
    if (w == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, "async");
    w->write = *pattern;
    w->owner = a;
    a->write = &w->write;
    w->write.value = *value;
    *value = NULL;
    int rc = strata__forms_make(a->cache, a->key, &w->write.key, &w->write.storage);
    return rc < 0 ? strata__fail_plain(err, rc, "async") : rc;
}

/* A worker is ready to tell that the write is done. */
static void worker_ready(struct task *task)
{
    if (atomic_fetch_sub(&async_of_task(task)->parts, 1) == 1)
        strata__async_complete_here(task); /* else it is posted again */
}

/* Instant layers: written before the call returns, so that no later write of the key is overtaken.  Without a queue a worker
 * will tell: it is asked for first, because a write that was done can't be refused. */
static int write_now(struct async *a, strata_error *err)
{
    struct executor *ex = a->root->ex;
    struct write *w = a->write;
    if (a->queue != NULL) {
        strata__write_instant(w);
        strata__async_complete(a, strata__write_result(w), NULL, &w->err);
        return STRATA_PENDING;
    }
    atomic_init(&a->parts, 2);
    a->task.run = worker_ready;
    int rc = ex_post(ex, &a->task);
    if (rc != STRATA_OK)
        return strata__async_refuse(a, strata__async_busy(rc, err));
    strata__write_instant(w);
    fill_answer(a, strata__write_result(w), NULL, &w->err);
    if (atomic_fetch_sub(&a->parts, 1) == 1) { /* the worker was faster */
        a->task.run = strata__async_complete_here;
        ex_post_always(ex, &a->task);
    }
    return STRATA_PENDING;
}

/* A worker was asked for already. */
static void posted_over(struct write *w)
{
    struct async *a = ((struct async_write *)(void *)w)->owner;
    struct executor *ex = a->root->ex;
    fill_answer(a, strata__write_result(w), NULL, &w->err);
    if (atomic_fetch_sub(&a->parts, 1) == 1) {
        a->task.run = strata__async_complete_here;
        ex_post_always(ex, &a->task);
    }
}

/* Behind, if it may be.  Without a queue a worker is asked for first, as in write_now(): *posted.  STRATA_OK: it is yet to be run. */
static int set_behind(struct async *a, int *posted, strata_error *err)
{
    struct write *w = a->write;
    if (a->queue == NULL) {
        atomic_init(&a->parts, 2);
        a->task.run = worker_ready;
        int rc = ex_post(a->root->ex, &a->task);
        if (rc != STRATA_OK)
            return strata__async_refuse(a, strata__async_busy(rc, err));
        *posted = 1;
    }
    if (!strata__behind_set(w, a->key))
        return STRATA_OK;
    if (*posted)
        posted_over(w);
    else
        write_over(w);
    return STRATA_PENDING;
}

static int run_write(struct async *a, strata_error *err)
{
    struct root *root = a->root;
    struct write *w = a->write;
    if (all_layers_instant(root))
        return write_now(a, err);
    int posted = 0, rc = w->behind_ms > 0 ? set_behind(a, &posted, err) : STRATA_OK;
    if (rc != STRATA_OK)
        return rc;
    strata__strand_init(&w->strand, root->ex, strata__write_run, ref_write, unref_write);
    w->over = posted ? posted_over : write_over;
    if (!strata__write_enter(w))
        return STRATA_PENDING;
    rc = strata__strand_start(&w->strand);
    if (rc != STRATA_OK &&
        (w->replaced || posted)) { /* what it has ended does not come back: it is begun all the same */
        strata__strand_wake(&w->strand);
        rc = STRATA_OK;
    }
    if (rc == STRATA_OK)
        return STRATA_PENDING;
    strata__write_withdraw(w);
    return strata__async_refuse(a, strata__async_busy(rc, err));
}

int strata__write_async(strata *cache, strata_slice key, strata_value *value, const struct strata_tags *tags,
                        const struct write *pattern, const struct async_end *end, strata_error *err)
{
    int rc = check_key(cache, key, err);
    struct async *a = NULL;
    if (rc == STRATA_OK)
        a = strata__async_new(cache, key, end->queue, end->done, end->ctx, &rc, err);
    if (a != NULL)
        rc = give_write(a, pattern, &value, err);
    strata_value_unref(value);
    if (a == NULL)
        return rc;
    if (rc == STRATA_OK)
        rc = strata__write_tag(a->write, tags, err);
    return rc == STRATA_OK ? run_write(a, err) : strata__async_refuse(a, rc);
}

int strata__set_later(strata *cache, strata_slice key, strata_slice value, const struct strata_tags *tags,
                      const struct set_only *only, const strata_policy *policy, const struct async_end *end,
                      strata_error *err)
{
    strata_value *copy = NULL;
    struct write pattern = { .status = STRATA_OK };
    if (cache == NULL || (value.data == NULL && value.size != 0))
        return strata__no_argument(err, "strata_set_async() needs a cache and a value");
    struct root *root = cache->root;
    int rc = root_enter(root, err); /* a closed cache has no clock */
    if (rc != STRATA_OK)
        return rc;
    rc = strata__write_prepare_set(&pattern, cache, key, policy, err);
    if (rc == STRATA_OK)
        rc = strata__value_fits(root, value.size, err);
    if (rc == STRATA_OK && only != NULL)
        rc = strata__write_when(&pattern, only->condition, only->out_version, err);
    if (rc == STRATA_OK && (copy = strata__value_copy(root->mem, value.data, value.size)) == NULL)
        rc = strata__fail(err, STRATA_ENOMEM, "value", "no memory for a value of %zu bytes", value.size);
    if (rc == STRATA_OK)
        rc = strata__write_async(cache, key, copy, tags, &pattern, end, err);
    root_leave(root);
    return rc;
}

int strata_set_async(strata *cache, strata_slice key, strata_slice value, const strata_policy *policy,
                     strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    struct async_end end = { queue, done, ctx };
    return strata__set_later(cache, key, value, NULL, NULL, policy, &end, err);
}

int strata_set_tagged_async(strata *cache, strata_slice key, strata_slice value, const strata_slice *tags,
                            size_t tag_count, const strata_policy *policy, strata_queue *queue, strata_done done,
                            void *ctx, strata_error *err)
{
    struct strata_tags given = { tags, tag_count };
    struct async_end end = { queue, done, ctx };
    return strata__set_later(cache, key, value, &given, NULL, policy, &end, err);
}

static int simple_async(strata *cache, strata_slice key, uint32_t kind, strata_queue *queue, strata_done done,
                        void *ctx, strata_error *err)
{
    struct write pattern = { .status = STRATA_OK };
    struct async_end end = { queue, done, ctx };
    if (cache == NULL)
        return strata__no_argument(err, "no cache was given");
    strata__write_begin(&pattern, cache, kind);
    return strata__write_async(cache, key, NULL, NULL, &pattern, &end, err);
}

int strata_delete_async(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx,
                        strata_error *err)
{
    return simple_async(cache, key, STRATA_OP_REMOVE, queue, done, ctx, err);
}

int strata_expire_async(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx,
                        strata_error *err)
{
    return simple_async(cache, key, WRITE_EXPIRE, queue, done, ctx, err);
}
