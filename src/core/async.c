/* async.c - the asynchronous twins.
 *
 * A read stands in its flight as a waiter without a thread; its answer goes into the completion queue, or is a task of its
 * own where no queue was given.  A write takes its place in the table before the call returns, so that writes of one key
 * happen in the order of the calls, and goes on on a worker.  The rest (has, ttl, inspect, size, clear, the bulk calls)
 * is the blocking twin on a worker. */
#include <string.h>

#include "src/core/flight.h"

struct async {
    struct completion completion;
    struct task task;        /* the completion on a worker; before that: the call itself */
    struct task expire_task;
    struct timer timer;
    unsigned char timer_set; /* key lock */
    _Atomic(uint32_t) refs;
    struct root *root;       /* counted; also in `active` until the completion is out of our hands */
    strata *cache;           /* counted */
    strata_queue *queue;     /* counted; NULL: done on a worker */
    strata_done done;
    void *ctx;
    struct waiter waiter;
    struct write *write;
    unsigned char has_strand; /* the write's was made */
    _Atomic(unsigned char) parts; /* of a write that ends before its call returns: it, and a worker's readiness */
    int (*call)(struct async *a, strata_error *err); /* the blocking twin */
    strata_slice key;        /* a copy, behind this struct */
    void *out;
    strata_item *items;
    size_t count;
    strata_bulk_loader bulk;
    void *loader_ctx;
    strata_policy policy;
    const strata_policy *given_policy;
};

/* Life ---------------------------------------------------------------------------------------------------------- */

static void unref_async(struct async *a)
{
    if (atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct root *root = a->root;
    strata__queue_unref(a->queue);
    if (a->write != NULL) {
        strata_value_unref(a->write->value);
        strata_value_unref(a->write->encoded);
        if (a->has_strand)
            strata__strand_deinit(&a->write->strand);
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

static struct async *of_task(struct task *t)
{
    return (struct async *)(void *)((char *)t - offsetof(struct async, task));
}

static void free_completion(struct completion *c)
{
    unref_async(of_completion(c));
}

/* The user's callback, with a frame around it, so that strata_close() in it is noticed. */
static void call_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct async *a = ctx;
    struct frame frame;
    frame_push(&frame, a->root, FRAME_CALLBACK);
    a->done(status, value, err, a->ctx);
    frame_pop(&frame);
}

static void complete_on_worker(struct task *task)
{
    struct async *a = of_task(task);
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

/* The answer: exactly once, and the last touch.  Takes over `value`. */
static void complete(struct async *a, int status, strata_value *value, const strata_error *err)
{
    struct root *root = a->root;
    fill_answer(a, status, value, err);
    if (a->queue != NULL && strata__queue_push(a->queue, &a->completion) == STRATA_OK) {
        root_leave(root); /* nothing of it is ours any more */
        return;
    }
    a->task.run = complete_on_worker;
    ex_post_always(root->ex, &a->task);
}

/* A call that is entered.  NULL: *rc says why not. */
static struct async *new_async(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx, int *rc,
                               strata_error *err)
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

/* The call is refused: `done` will not be called. */
static int refuse(struct async *a, int rc)
{
    struct root *root = a->root;
    unref_async(a);
    root_leave(root);
    return rc;
}

static int busy(int rc, strata_error *err)
{
    return strata__fail(err, rc, "async", rc == STRATA_EBUSY ? "no worker is free and max_queued tasks wait: try again "
                        "later, or raise workers or max_queued" : "%s", strata_status_text(rc));
}

/* An answer that is there before the call returns. */
static int answer_now(struct async *a, int status, strata_value *value, const strata_error *words, strata_error *err)
{
    if (a->queue != NULL) {
        complete(a, status, value, words);
        return STRATA_PENDING;
    }
    a->completion.status = status;
    a->completion.value = value;
    if (status < 0)
        a->completion.err = *words;
    a->task.run = complete_on_worker;
    int rc = ex_post(a->root->ex, &a->task);
    if (rc == STRATA_OK)
        return STRATA_PENDING;
    strata_value_unref(value);
    return refuse(a, busy(rc, err));
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
    if (a->timer_set && ex_cancel(root->ex, &a->timer)) {
        unref_async(a);
        root_leave(root);
    }
    complete(a, w->status, w->value, &a->completion.err);
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
    if (list_linked(&a->waiter.link) && next_moment(&a->waiter, &due)) {
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
        complete(a, status, value, &words);
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
    return refuse(a, busy(rc, err));
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
    *w = (struct waiter){ .handle = a->cache, .wants_load = (unsigned char)want_loads(want), .err = &a->completion.err,
                          .soft_at = INT64_MAX, .hard_at = INT64_MAX, .finish = finish_read };
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
        rc = refuse(a, w->status);
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
        arm(a);
        if (entered == ENTERED_STARTED)
            rc = start_read(a, f, err);
    }
    unref_async(a);
    return rc;
}

int strata_get_async(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    int rc = cache != NULL ? check_key(cache, key, err) : STRATA_OK;
    if (rc != STRATA_OK)
        return rc;
    struct async *a = new_async(cache, key, queue, done, ctx, &rc, err);
    if (a == NULL)
        return rc;
    struct want want = { .handle = cache, .policy = &cache->policy };
    return read_async(a, &want, err);
}

int strata_get_or_load_async(strata *cache, strata_slice key, strata_loader loader, void *loader_ctx,
                             const strata_policy *policy, strata_queue *queue, strata_done done, void *ctx,
                             strata_error *err)
{
    int rc = cache != NULL ? check_key(cache, key, err) : STRATA_OK;
    struct want want;
    strata_policy resolved;
    if (rc == STRATA_OK && cache != NULL)
        rc = strata__want_init(&want, cache, loader, loader_ctx, policy, &resolved, err);
    if (rc != STRATA_OK)
        return rc;
    struct async *a = new_async(cache, key, queue, done, ctx, &rc, err);
    return a != NULL ? read_async(a, &want, err) : rc;
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
    complete(a, strata__write_result(w), NULL, &w->err);
}

/* The call's memory: the write is freed with it.  `pattern` is copied. */
static int give_write(struct async *a, const struct write *pattern, strata_slice value, strata_error *err)
{
    struct root *root = a->root;
    struct async_write *w = strata__alloc_zero(root->mem, sizeof *w);
    if (w == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, "async");
    w->write = *pattern;
    w->owner = a;
    a->write = &w->write;
    int rc = strata__forms_make(a->cache, a->key, &w->write.key, &w->write.storage);
    if (rc == STRATA_OK && pattern->told_as == STRATA_OP_PUT) {
        w->write.value = strata__value_copy(root->mem, value.data, value.size);
        rc = w->write.value != NULL ? STRATA_OK : STRATA_ENOMEM;
    }
    return rc < 0 ? strata__fail_plain(err, rc, "async") : rc;
}

/* A worker is ready to tell that the write is done. */
static void worker_ready(struct task *task)
{
    if (atomic_fetch_sub(&of_task(task)->parts, 1) == 1)
        complete_on_worker(task); /* else it is posted again */
}

/* Instant layers: written before the call returns, so that no later write of the key is overtaken.  Without a queue a worker
 * will tell: it is asked for first, because a write that was done can't be refused. */
static int write_now(struct async *a, strata_error *err)
{
    struct executor *ex = a->root->ex;
    struct write *w = a->write;
    if (a->queue != NULL) {
        strata__write_instant(w);
        complete(a, strata__write_result(w), NULL, &w->err);
        return STRATA_PENDING;
    }
    atomic_init(&a->parts, 2);
    a->task.run = worker_ready;
    int rc = ex_post(ex, &a->task);
    if (rc != STRATA_OK)
        return refuse(a, busy(rc, err));
    strata__write_instant(w);
    fill_answer(a, strata__write_result(w), NULL, &w->err);
    if (atomic_fetch_sub(&a->parts, 1) == 1) { /* the worker was faster */
        a->task.run = complete_on_worker;
        ex_post_always(ex, &a->task);
    }
    return STRATA_PENDING;
}

static int run_write(struct async *a, strata_error *err)
{
    struct root *root = a->root;
    struct write *w = a->write;
    if (all_layers_instant(root))
        return write_now(a, err);
    if (strata__strand_init(&w->strand, root->ex, strata__write_run, ref_write, unref_write) != 0)
        return refuse(a, strata__fail_plain(err, STRATA_ENOMEM, "async"));
    a->has_strand = 1;
    w->over = write_over;
    if (!strata__write_enter(w))
        return STRATA_PENDING;
    int rc = strata__strand_start(&w->strand);
    if (rc == STRATA_OK)
        return STRATA_PENDING;
    strata__write_withdraw(w);
    return refuse(a, busy(rc, err));
}

static int write_async(strata *cache, strata_slice key, strata_slice value, const struct write *pattern,
                       strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    int rc = check_key(cache, key, err);
    if (rc != STRATA_OK)
        return rc;
    struct async *a = new_async(cache, key, queue, done, ctx, &rc, err);
    if (a == NULL)
        return rc;
    rc = give_write(a, pattern, value, err);
    return rc == STRATA_OK ? run_write(a, err) : refuse(a, rc);
}

int strata_set_async(strata *cache, strata_slice key, strata_slice value, const strata_policy *policy,
                     strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    struct write pattern = { .status = STRATA_OK };
    if (cache == NULL || (value.data == NULL && value.size != 0))
        return strata__no_argument(err, "strata_set_async() needs a cache and a value");
    struct root *root = cache->root;
    int rc = root_enter(root, err); /* a closed cache has no clock */
    if (rc != STRATA_OK)
        return rc;
    rc = strata__write_prepare_set(&pattern, cache, policy, err);
    if (rc == STRATA_OK)
        rc = strata__value_fits(root, value.size, err);
    if (rc == STRATA_OK)
        rc = write_async(cache, key, value, &pattern, queue, done, ctx, err);
    root_leave(root);
    return rc;
}

static int simple_async(strata *cache, strata_slice key, uint32_t kind, strata_queue *queue, strata_done done, void *ctx,
                        strata_error *err)
{
    struct write pattern = { .status = STRATA_OK };
    if (cache == NULL)
        return strata__no_argument(err, "no cache was given");
    strata__write_begin(&pattern, cache, kind);
    return write_async(cache, key, strata_bytes(NULL, 0), &pattern, queue, done, ctx, err);
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

/* The rest: the blocking twin on a worker ---------------------------------------------------------------------- */

static void run_call(struct task *task)
{
    struct async *a = of_task(task);
    int status = a->call(a, &a->completion.err);
    if (a->queue == NULL) {
        complete_on_worker((a->completion.status = status, task)); /* this is a worker */
        return;
    }
    complete(a, status, NULL, &a->completion.err);
}

static int start_call(struct async *a, int (*call)(struct async *, strata_error *), strata_error *err)
{
    a->call = call;
    a->task.run = run_call;
    int rc = ex_post(a->root->ex, &a->task);
    return rc == STRATA_OK ? STRATA_PENDING : refuse(a, busy(rc, err));
}

static int call_has(struct async *a, strata_error *err) { return strata_has(a->cache, a->key, err); }
static int call_ttl(struct async *a, strata_error *err) { return strata_ttl(a->cache, a->key, a->out, err); }
static int call_inspect(struct async *a, strata_error *err) { return strata_inspect(a->cache, a->key, a->out, err); }
static int call_size(struct async *a, strata_error *err) { return strata_size(a->cache, a->out, err); }
static int call_clear(struct async *a, strata_error *err) { return strata_clear(a->cache, err); }
static int call_get_many(struct async *a, strata_error *err)
{
    return strata_get_many(a->cache, a->items, a->count, err);
}
static int call_load_many(struct async *a, strata_error *err)
{
    return strata_get_or_load_many(a->cache, a->items, a->count, a->bulk, a->loader_ctx, a->given_policy, err);
}
static int call_set_many(struct async *a, strata_error *err)
{
    return strata_set_many(a->cache, a->items, a->count, a->given_policy, err);
}
static int call_delete_many(struct async *a, strata_error *err)
{
    return strata_delete_many(a->cache, a->items, a->count, err);
}

static int key_call(strata *cache, strata_slice key, void *out, int (*call)(struct async *, strata_error *),
                    strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    int rc = cache != NULL ? check_key(cache, key, err) : STRATA_OK;
    if (rc != STRATA_OK)
        return rc;
    struct async *a = new_async(cache, key, queue, done, ctx, &rc, err);
    if (a == NULL)
        return rc;
    a->out = out;
    return start_call(a, call, err);
}

int strata_has_async(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    return key_call(cache, key, NULL, call_has, queue, done, ctx, err);
}

int strata_ttl_async(strata *cache, strata_slice key, int64_t *out_ms, strata_queue *queue, strata_done done, void *ctx,
                     strata_error *err)
{
    return key_call(cache, key, out_ms, call_ttl, queue, done, ctx, err);
}

int strata_inspect_async(strata *cache, strata_slice key, strata_inspection *out, strata_queue *queue, strata_done done,
                         void *ctx, strata_error *err)
{
    return key_call(cache, key, out, call_inspect, queue, done, ctx, err);
}

static int plain_call(strata *cache, void *out, int (*call)(struct async *, strata_error *), strata_queue *queue,
                      strata_done done, void *ctx, strata_error *err)
{
    int rc;
    struct async *a = new_async(cache, strata_bytes(NULL, 0), queue, done, ctx, &rc, err);
    if (a == NULL)
        return rc;
    a->out = out;
    return start_call(a, call, err);
}

int strata_size_async(strata *cache, uint64_t *out, strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    return plain_call(cache, out, call_size, queue, done, ctx, err);
}

int strata_clear_async(strata *cache, strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    return plain_call(cache, NULL, call_clear, queue, done, ctx, err);
}

static int many_call(strata *cache, strata_item *items, size_t count, const strata_policy *policy,
                     strata_bulk_loader bulk, void *loader_ctx, int (*call)(struct async *, strata_error *),
                     strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    int rc = strata__policy_check(policy, err);
    if (rc == STRATA_OK && items == NULL && count != 0)
        rc = strata__no_argument(err, "a bulk call needs items");
    if (rc != STRATA_OK)
        return rc;
    struct async *a = new_async(cache, strata_bytes(NULL, 0), queue, done, ctx, &rc, err);
    if (a == NULL)
        return rc;
    a->items = items;
    a->count = count;
    a->bulk = bulk;
    a->loader_ctx = loader_ctx;
    if (policy != NULL) {
        memcpy(&a->policy, policy, policy->size < sizeof a->policy ? policy->size : sizeof a->policy);
        a->policy.size = sizeof a->policy;
        a->given_policy = &a->policy;
    }
    return start_call(a, call, err);
}

int strata_get_many_async(strata *cache, strata_item *items, size_t count, strata_queue *queue, strata_done done,
                          void *ctx, strata_error *err)
{
    return many_call(cache, items, count, NULL, NULL, NULL, call_get_many, queue, done, ctx, err);
}

int strata_get_or_load_many_async(strata *cache, strata_item *items, size_t count, strata_bulk_loader loader,
                                  void *loader_ctx, const strata_policy *policy, strata_queue *queue, strata_done done,
                                  void *ctx, strata_error *err)
{
    if (loader == NULL)
        return strata__no_argument(err, "strata_get_or_load_many_async() needs a bulk loader");
    return many_call(cache, items, count, policy, loader, loader_ctx, call_load_many, queue, done, ctx, err);
}

int strata_set_many_async(strata *cache, strata_item *items, size_t count, const strata_policy *policy,
                          strata_queue *queue, strata_done done, void *ctx, strata_error *err)
{
    return many_call(cache, items, count, policy, NULL, NULL, call_set_many, queue, done, ctx, err);
}

int strata_delete_many_async(strata *cache, strata_item *items, size_t count, strata_queue *queue, strata_done done,
                             void *ctx, strata_error *err)
{
    return many_call(cache, items, count, NULL, NULL, NULL, call_delete_many, queue, done, ctx, err);
}
