/* strata/queue.h - where an event-loop program collects finished asynchronous calls.  Part of the stable API. */
#ifndef STRATA_QUEUE_H
#define STRATA_QUEUE_H
#include "strata/base.h"
#include "strata/error.h"
#include "strata/value.h"
STRATA_BEGIN_DECLS

/** A completion queue.  Threads: completions are added from any thread; one thread runs it. */
typedef struct strata_queue strata_queue;

/**
 * An asynchronous call has finished.
 * @param status what the blocking twin returns.
 * @param value  what the blocking twin puts into *out, one reference, owned by the callee; NULL where there is none.
 * @param err    words where status < 0, borrowed for the call; else NULL.
 * Runs inside strata_queue_run(), or on a worker where the call was given no queue.  May call the cache again;
 * strata_close() in it marks closing and answers STRATA_AGAIN.
 */
typedef void (*strata_done)(int status, strata_value *value, const strata_error *err, void *ctx);

/** Open a queue.  @return STRATA_OK, STRATA_ENOMEM, STRATA_EIO (no descriptor left). */
STRATA_API int strata_queue_open(strata_queue **out, strata_error *err);

/** A descriptor that is readable while completions wait; for poll, epoll, libuv.  Borrowed: do not read or close it. */
STRATA_API int strata_queue_fd(const strata_queue *queue);

/**
 * Run the completions that wait now, at most `max` (0: all).
 * @return how many ran.  Threads: one at a time.  Blocks: as long as the callbacks do.
 */
STRATA_API size_t strata_queue_run(strata_queue *queue, size_t max);

/** Wait up to `timeout_ms` (-1: for ever) for a completion.  @return STRATA_OK, STRATA_ETIMEDOUT. */
STRATA_API int strata_queue_wait(strata_queue *queue, int64_t timeout_ms);

/**
 * Give the queue back.  NULL is a no-op.  Completions that wait are run first.  Calls that still run keep it alive;
 * their completions are then run on a worker.  To have all of them on this thread, close the caches first.
 * Threads: the one that runs it.
 */
STRATA_API void strata_queue_close(strata_queue *queue);

STRATA_END_DECLS
#endif /* STRATA_QUEUE_H */
