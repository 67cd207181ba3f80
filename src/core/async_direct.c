/* async_direct.c - the short way of strata_get_async() where the stack is one layer that answers on a thread of its own.
 *
 * With nothing above to fill and no loader to call, a read needs no flight (see get_direct.c), and the caller's thread asks the
 * layer itself.  The usual answers, a fresh value and a miss, go from the layer's thread straight into the queue; any other is
 * judged by a worker, because that may call users' code, and so are these where somebody listens.
 *
 * From the call until its completion is out of our hands it is counted as begun in the handle's cells, as a memory hit is, so
 * that close waits for it; and the handle, which holds the root, is counted until the completion has run.  That may be before
 * the layer lets the caller's thread go, which is counted by itself. */
#include <string.h>

#include "src/core/direct.h"
#include "src/loop/queue_impl.h"

struct direct_call {
    struct completion completion;
    struct task task;
    strata *cache;       /* counted */
    strata_queue *queue; /* counted; NULL: done on a worker */
    strata_done done;
    void *ctx;
    int64_t asked_ns;   /* 0: it is not timed */
    enum hot_word word; /* how it is counted when it is over */
    strata_op op;
    strata_error words;
    strata_slice key;
    unsigned char bytes[]; /* the storage key, of which the key is the end */
};

static struct direct_call *of_completion(struct completion *c)
{
    return (struct direct_call *)(void *)((char *)c - offsetof(struct direct_call, completion));
}

static struct direct_call *of_task(struct task *t)
{
    return (struct direct_call *)(void *)((char *)t - offsetof(struct direct_call, task));
}

static void free_call(struct completion *completion)
{
    struct direct_call *d = of_completion(completion);
    strata *cache = d->cache;
    strata__queue_unref(d->queue);
    strata__free(cache->root->mem, d);
    strata__handle_unref(cache);
}

/* The user's callback, with a frame around it, so that strata_close() in it is noticed. */
static void call_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct direct_call *d = ctx;
    struct frame frame;
    frame_push(&frame, d->cache->root, FRAME_CALLBACK);
    d->done(status, value, err, d->ctx);
    frame_pop(&frame);
}

/* The end of a call: the last touch of the handle that is not counted. */
static void over(strata *cache, enum hot_word word) { counter_raise(cache->cells, counter_index(), word); }

static void run_here(struct direct_call *d)
{
    strata *cache = d->cache; /* the tree's, too, until nobody is inside */
    enum hot_word word = d->word;
    strata__completion_run(&d->completion);
    over(cache, word);
}

/* A worker takes it over.  It can't be refused any more; but the next calls are, past the bound: is_full(). */
static void post(struct direct_call *d, void (*run)(struct task *task))
{
    struct root *root = d->cache->root;
    d->task.run = run;
    atomic_fetch_add_explicit(&root->posted, 1, memory_order_relaxed); /* a bound, and no more */
    ex_post_always(root->ex, &d->task);
}

static struct direct_call *posted(struct task *task)
{
    struct direct_call *d = of_task(task);
    atomic_fetch_sub_explicit(&d->cache->root->posted, 1, memory_order_relaxed);
    return d;
}

/* The general way may say that no worker is free. */
static int is_full(struct root *root)
{
    return atomic_load_explicit(&root->posted, memory_order_relaxed) >= root->options.max_queued;
}

static void run_on_worker(struct task *task) { run_here(posted(task)); }

/* Status and value stand in the completion.  1: the queue has it, and nothing of the call is ours any more. */
static int push(struct direct_call *d)
{
    strata *cache = d->cache;
    enum hot_word word = d->word;
    if (d->queue == NULL || strata__queue_push(d->queue, &d->completion) != STRATA_OK)
        return 0;
    over(cache, word);
    return 1;
}

static void judge_on_worker(struct task *task)
{
    struct direct_call *d = posted(task);
    struct completion *c = &d->completion;
    direct_count(d->cache, &d->cache->root->layers[0], &d->op);
    c->status = strata__direct_judge(d->cache, d->key, &d->op, &c->value, &c->err);
    d->word = HOT_SLOW;
    if (!push(d))
        run_here(d);
}

/* 1: it is judged, without a call of anybody's. */
static int judge_quietly(struct direct_call *d)
{
    struct root *root = d->cache->root;
    struct layer_slot *slot = &root->layers[0];
    strata_op *op = &d->op;
    if (op->err->status < 0 || event_wanted(root, STRATA_EVENT_HIT | STRATA_EVENT_MISS))
        return 0;
    int plain = strata__held_is_plain(d->cache, slot, op, op->now_ms);
    if (!plain && op->status != STRATA_MISS)
        return 0;
    direct_count(d->cache, slot, op);
    d->completion.status = op->status;
    d->completion.value = plain ? op->found : NULL;
    d->word = plain ? HOT_LOOKED : HOT_SLOW;
    return 1;
}

static void answered(strata_op *op)
{
    struct direct_call *d = op->owner;
    strata *cache = d->cache;
    struct root *root = cache->root;
    if (d->asked_ns != 0)
        strata__histogram_add(&root->layers[0].latency, (uint64_t)(ex_now_ns(root->ex) - d->asked_ns));
    op->now_ms = ex_now_ms(root->ex); /* that took a while */
    /* What went wrong is told to listeners, which may wait for this layer: not on its thread. */
    if (!judge_quietly(d))
        post(d, judge_on_worker);
    else if (!push(d))
        post(d, run_on_worker);
}

static struct direct_call *new_call(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx)
{
    struct root *root = cache->root;
    size_t storage = root->plain_keys ? key.size : strata__storage_size(cache, key);
    struct direct_call *d = strata__alloc(root->mem, sizeof *d + storage); /* each field is set by who needs it */
    if (d == NULL)
        return NULL;
    if (storage == key.size)
        memcpy(d->bytes, key.data, key.size);
    else
        strata__storage_write(cache, key, d->bytes);
    d->key = strata_bytes(d->bytes + storage - key.size, key.size);
    atomic_fetch_add_explicit(&cache->refs, 1, memory_order_relaxed);
    d->cache = cache;
    d->queue = queue != NULL ? strata__queue_ref(queue) : NULL;
    d->done = done;
    d->ctx = ctx;
    d->completion.value = NULL;
    d->completion.err.status = STRATA_OK;
    d->completion.err.os_errno = 0;
    d->completion.err.where[0] = d->completion.err.message[0] = 0;
    d->completion.done = call_done;
    d->completion.ctx = d;
    d->completion.free = free_call;
    return d;
}

int strata__get_async_direct(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx,
                             strata_error *err)
{
    struct root *root = cache->root;
    struct layer_slot *slot = &root->layers[0];
    struct key_forms forms = { .hash = handle_hash(cache, key) };
    if (!gate_open(cache) || direct_is_busy(root, forms.hash) || is_full(root))
        return NOT_DIRECT;
    counter_raise(cache->cells, counter_index(), HOT_BEGUN);
    if (!gate_open(cache)) { /* it was shut between the two: this was no call yet */
        count_n(cache, COUNT_REQUESTS, UINT64_MAX);
        over(cache, HOT_SLOW);
        return NOT_DIRECT;
    }
    struct direct_call *d = new_call(cache, key, queue, done, ctx);
    if (d == NULL) {
        over(cache, HOT_SLOW);
        return strata__fail(err, STRATA_ENOMEM, "async", "no memory for an asynchronous call");
    }
    forms.plain = d->key;
    forms.storage = strata_bytes(d->bytes, (size_t)((const unsigned char *)d->key.data - d->bytes) + key.size);
    op_init(&d->op, cache, slot, &forms, STRATA_OP_GET, cache->now_ms(cache->ex), &d->words);
    d->op.done = answered;
    d->op.owner = d;
    d->asked_ns = direct_is_timed(cache) ? ex_now_ns(root->ex) : 0;
    strata_op *op = &d->op;
    root_hold(root); /* before it can be over */
    slot->layer->ops->submit(slot->layer, &op, 1);
    root_leave(root);
    return STRATA_PENDING;
}
