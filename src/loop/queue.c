/* queue.c - the completion queue: a list under a lock, and a descriptor that is readable while it is not empty.
 *
 * Only the push onto an empty queue writes to the descriptor, and only the pop of the last one reads it, so that a burst
 * of completions costs two system calls.  The write is made after the lock is dropped and may therefore come late: the
 * descriptor may be readable for a moment when nothing waits, never the other way round.  A thread that pushes many in a row
 * may have it made once, behind them (strata__queue_hold()).
 *
 * The running thread takes the list as a whole (`ready`), and needs the lock again when that has run.
 * Completions are run one at a time, in the order of their push, so that a callback that runs the queue itself goes on
 * where the outer run is.  Such runs are bounded in depth: callbacks that each run the queue would otherwise use
 * the stack up. */
#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/loop/queue_impl.h"
#include "src/os/os_clock.h"
#include "src/os/os_thread.h"
#include "src/os/os_wake.h"

enum { DEEPEST_RUN = 16 };

struct strata_queue {
    _Atomic(uint32_t) refs;
    /* The running thread's. */
    unsigned depth;           /* runs on the stack */
    struct completion *ready; /* taken, and not run yet */
    uint64_t popped;          /* ever: the position of the last that was run */
    struct os_wake wake;
    struct os_mutex lock; /* guards all below */
    struct completion *head, **tail;
    uint64_t pushed; /* ever: the position of the newest */
    int closed;
};

int strata_queue_open(strata_queue **out, strata_error *err)
{
    if (out == NULL)
        return strata__fail(err, STRATA_EINVAL, "queue", "out is NULL: pass the address of a strata_queue pointer");
    *out = NULL;
    strata_queue *queue = strata__alloc_zero(NULL, sizeof *queue);
    if (queue == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, "queue");
    int failed = strata__os_wake_init(&queue->wake);
    if (failed != 0) {
        (void)strata__fail_os(err, STRATA_EIO, failed, "queue",
                              "no descriptor left for the queue: close some, or raise the limit (ulimit -n)");
        goto no_wake;
    }
    failed = strata__os_mutex_init(&queue->lock);
    if (failed != 0) {
        (void)strata__fail_os(err, STRATA_EIO, failed, "queue",
                              "no lock for the queue: the system is out of resources, close something and try again");
        goto no_lock;
    }
    atomic_init(&queue->refs, 1);
    queue->tail = &queue->head;
    *out = queue;
    return STRATA_OK;

no_lock:
    strata__os_wake_deinit(&queue->wake);
no_wake:
    strata__free(NULL, queue);
    return STRATA_EIO;
}

strata_queue *strata__queue_ref(strata_queue *queue)
{
    /* Relaxed: the caller's own reference keeps it alive. */
    if (queue != NULL)
        atomic_fetch_add_explicit(&queue->refs, 1, memory_order_relaxed);
    return queue;
}

void strata__queue_unref(strata_queue *queue)
{
    /* Release what this thread did with it; acquire what the others did, before it is freed. */
    if (queue == NULL || atomic_fetch_sub_explicit(&queue->refs, 1, memory_order_acq_rel) != 1)
        return;
    strata__os_mutex_deinit(&queue->lock);
    strata__os_wake_deinit(&queue->wake);
    strata__free(NULL, queue);
}

/* Signals that this thread owes. */
static _Thread_local struct {
    unsigned depth;
    strata_queue *queue; /* one reference; NULL: none */
} held;

static void signal_held(void)
{
    strata_queue *queue = held.queue;
    held.queue = NULL;
    if (queue == NULL)
        return;
    strata__os_wake_signal(&queue->wake);
    strata__queue_unref(queue);
}

void strata__queue_hold(void) { held.depth++; }

void strata__queue_let_go(void)
{
    if (--held.depth == 0)
        signal_held();
}

/* With a reference, which is taken over: the completion that was pushed may have run by now, and the queue be closed. */
static void signal_now_or_later(strata_queue *queue)
{
    if (held.queue == queue) {
        strata__queue_unref(queue);
        return;
    }
    signal_held();
    held.queue = queue;
    if (held.depth == 0)
        signal_held();
}

int strata__queue_push(strata_queue *queue, struct completion *completion)
{
    os_mutex_lock(&queue->lock);
    int closed = queue->closed;
    int first = queue->head == NULL;
    if (!closed) {
        if (first)
            strata__queue_ref(queue);
        completion->next = NULL;
        *queue->tail = completion;
        queue->tail = &completion->next;
        queue->pushed++;
    }
    os_mutex_unlock(&queue->lock);
    if (closed)
        return STRATA_ECLOSED;
    if (first)
        signal_now_or_later(queue);
    return STRATA_OK;
}

void strata__completion_run(struct completion *completion)
{
    const strata_error *err = completion->status < 0 ? &completion->err : NULL;
    completion->done(completion->status, completion->value, err, completion->ctx);
    if (completion->free != NULL)
        completion->free(completion);
}

/* Takes what was pushed, where nothing is left; the descriptor is read where there is nothing either. */
static void refill(strata_queue *queue)
{
    if (queue->ready != NULL)
        return;
    os_mutex_lock(&queue->lock);
    queue->ready = queue->head;
    queue->head = NULL;
    queue->tail = &queue->head;
    if (queue->ready == NULL)
        strata__os_wake_clear(&queue->wake); /* under the lock, so that no push can come between; it never blocks */
    os_mutex_unlock(&queue->lock);
}

/* The oldest one that was pushed no later than `limit`; NULL when there is none. */
static struct completion *pop(strata_queue *queue, uint64_t limit)
{
    refill(queue);
    struct completion *completion = queue->popped < limit ? queue->ready : NULL;
    if (completion == NULL)
        return NULL;
    queue->popped++;
    queue->ready = completion->next;
    if (queue->ready == NULL)
        refill(queue); /* the last one that there is: the descriptor tells so before it runs */
    return completion;
}

static uint64_t newest(strata_queue *queue)
{
    os_mutex_lock(&queue->lock);
    uint64_t pushed = queue->pushed;
    os_mutex_unlock(&queue->lock);
    return pushed;
}

int strata_queue_fd(const strata_queue *queue) { return queue != NULL ? queue->wake.read_fd : -1; }

size_t strata_queue_run(strata_queue *queue, size_t max)
{
    if (queue == NULL || queue->depth == DEEPEST_RUN)
        return 0;
    strata__queue_ref(queue); /* a callback may close it */
    queue->depth++;
    const uint64_t limit = newest(queue); /* what callbacks add is for the next run: this one ends */
    size_t ran = 0;
    struct completion *completion;
    while ((max == 0 || ran < max) && (completion = pop(queue, limit)) != NULL) {
        strata__completion_run(completion);
        ran++;
    }
    queue->depth--;
    strata__queue_unref(queue);
    return ran;
}

int strata_queue_wait(strata_queue *queue, int64_t timeout_ms)
{
    if (queue == NULL)
        return STRATA_EINVAL;
    int64_t deadline_us = INT64_MAX;
    if (timeout_ms >= 0 && timeout_ms < INT64_MAX / 2000)
        deadline_us = strata__os_now_us() + timeout_ms * 1000;
    for (;;) {
        refill(queue);
        if (queue->ready != NULL)
            return STRATA_OK;
        if (strata__os_wake_wait(&queue->wake, deadline_us) != 0)
            return STRATA_ETIMEDOUT;
    }
}

void strata_queue_close(strata_queue *queue)
{
    if (queue == NULL)
        return;
    os_mutex_lock(&queue->lock);
    queue->closed = 1;
    os_mutex_unlock(&queue->lock);
    /* Those that wait were promised a call, and this is the thread that makes such calls. */
    struct completion *completion;
    while ((completion = pop(queue, UINT64_MAX)) != NULL)
        strata__completion_run(completion);
    strata__queue_unref(queue);
}
