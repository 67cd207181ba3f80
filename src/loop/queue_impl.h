/* queue_impl.h - the library's side of a completion queue: strata/queue.h is the user's.
 *
 * A call that will complete through a queue takes a reference when it starts, and gives it back after its push.
 * Completions are intrusive: they live in what the call allocated anyway, so that finishing allocates nothing. */
#ifndef STRATA_LOOP_QUEUE_IMPL_H
#define STRATA_LOOP_QUEUE_IMPL_H
#include "strata/queue.h"

/* One finished call.  Filled by the pusher; the queue's until its free() is called. */
struct completion {
    struct completion *next; /* the queue's */
    int status;
    strata_value *value; /* one reference, handed to done(); or NULL */
    strata_error err;    /* shown to done() where status < 0 */
    strata_done done;
    void *ctx;
    void (*free)(struct completion *completion); /* called after done(); NULL: nothing to free */
};

/* STRATA_OK: it will be run by the queue's thread.  STRATA_ECLOSED: the queue was closed, nothing was taken, and the
 * pusher runs it on a worker with strata__completion_run().  Threads: any.  Takes the queue's own lock and no
 * other. */
int strata__queue_push(strata_queue *queue, struct completion *completion);
/* Between the two, what this thread pushes wakes whoever waits for the queue at the latest when it lets go: for one that
 * completes many calls in a row, and does not wait meanwhile.  They nest. */
void strata__queue_hold(void);
void strata__queue_let_go(void);

/* Call done(), then free(). */
void strata__completion_run(struct completion *completion);

strata_queue *strata__queue_ref(strata_queue *queue);
/* NULL is a no-op. */
void strata__queue_unref(strata_queue *queue);

#endif /* STRATA_LOOP_QUEUE_IMPL_H */
