/* executor.h - the seam: everything that core knows of threads, timers, waiting, clocks and chance.
 *
 * Production puts a worker pool and a libuv loop thread behind it (executor_threads.c); tests a seeded scheduler under
 * virtual time (executor_sim.c), which drives the same core.  Tasks, timers and parkers are intrusive: they live in
 * the caller's structs, so that nothing here allocates after start.
 *
 * May include base and os only. */
#ifndef STRATA_LOOP_EXECUTOR_H
#define STRATA_LOOP_EXECUTOR_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/heap.h"
#include "strata/error.h"
#include "strata/sys/allocator.h"

struct executor;

/* Something to run once, on a worker.  The struct may be freed or posted again from run(). */
struct task {
    struct task *next;
    void (*run)(struct task *task);
};

/* Something to run at a moment.  fire() runs on the loop thread and must be short: it posts, wakes or flips a state. */
struct timer {
    int64_t due_ms;
    void (*fire)(struct timer *timer);
    struct heap_node node; /* the executor's; all zero is "not set" */
};

/* A place where one thread sleeps.  Storage is the sleeper's; init with parker_init semantics: zero it. */
struct parker {
    _Atomic(uint32_t) word; /* 0 not signalled, 1 signalled; the executor's */
};

struct executor_ops {
    /* Run on a worker.  0; STRATA_EBUSY where the bounded queue is full; STRATA_ECLOSED after stop began. */
    int (*post)(struct executor *ex, struct task *task);
    /* The same past the bound and also while stopping, and before what was posted: for continuations of work that was
     * accepted.  Cannot fail. */
    void (*post_always)(struct executor *ex, struct task *task);
    /* Fire once at due_ms.  The timer must not be set. */
    void (*at)(struct executor *ex, struct timer *timer, int64_t due_ms);
    /* 1: it was set and will not fire; 0: it was not set, has fired, or fires just now on another thread. */
    int (*cancel)(struct executor *ex, struct timer *timer);
    /* Sleep until unpark() or deadline_ms (INT64_MAX: none).  0 woken (the signal is consumed), 1 deadline passed.
     * An unpark() that came first is not lost.  On a worker: another one works meanwhile. */
    int (*park)(struct executor *ex, struct parker *parker, int64_t deadline_ms);
    void (*unpark)(struct executor *ex, struct parker *parker);
    /* Monotonic milliseconds, coarse (4 ms): for deadlines.  No system call. */
    int64_t (*now_ms)(struct executor *ex);
    /* Monotonic nanoseconds, exact: for latencies. */
    int64_t (*now_ns)(struct executor *ex);
    /* Unix time in milliseconds: where no better clock is. */
    int64_t (*wall_ms)(struct executor *ex);
    uint64_t (*random)(struct executor *ex);
    /* 1 on a worker (or the loop thread) of this executor. */
    int (*on_worker)(struct executor *ex);
    /* A cell of this thread, for core's stack of running loads and callbacks.  Never NULL. */
    void **(*local)(struct executor *ex);
    /* Accept no new post(); let the workers finish what is queued; join all threads.  Set timers do not fire any
     * more.  Not from a worker.  Frees the executor. */
    void (*stop)(struct executor *ex);
    /* In a child after fork: free the parent's executor without touching its threads, locks or descriptors. */
    void (*abandon)(struct executor *ex);
    /* The process-wide number that every fork() raises in the child (os_fork.h), for a compare on each hit.  NULL: none. */
    const _Atomic(uint32_t) *(*forks)(struct executor *ex);
    /* 1: now_ms() is strata__os_now_ms(), and threads may keep bounds of it, which the loop ages (os_bound.h).  NULL: it is not. */
    int (*bounds)(struct executor *ex);
    /* What the environment asks to be logged (STRATA_LOG), or NULL; and a line of that.  Both NULL: nothing ever. */
    const char *(*log_wish)(struct executor *ex);
    void (*log_line)(struct executor *ex, const char *text, size_t size);
};

struct executor {
    const struct executor_ops *ops;
    const struct strata_allocator *mem;
};

/* Production.  Starts one loop thread and `workers` threads; all signals blocked in them. */
int strata__executor_threads_new(struct executor **out, const struct strata_allocator *mem, uint32_t workers,
                                 uint32_t max_queued, strata_error *err);

static inline int ex_post(struct executor *ex, struct task *t) { return ex->ops->post(ex, t); }
static inline void ex_post_always(struct executor *ex, struct task *t) { ex->ops->post_always(ex, t); }
static inline void ex_at(struct executor *ex, struct timer *t, int64_t due_ms) { ex->ops->at(ex, t, due_ms); }
static inline int ex_cancel(struct executor *ex, struct timer *t) { return ex->ops->cancel(ex, t); }
static inline int ex_park(struct executor *ex, struct parker *p, int64_t d) { return ex->ops->park(ex, p, d); }
static inline void ex_unpark(struct executor *ex, struct parker *p) { ex->ops->unpark(ex, p); }
static inline int64_t ex_now_ms(struct executor *ex) { return ex->ops->now_ms(ex); }
static inline int64_t ex_now_ns(struct executor *ex) { return ex->ops->now_ns(ex); }
static inline int64_t ex_wall_ms(struct executor *ex) { return ex->ops->wall_ms(ex); }
static inline uint64_t ex_random(struct executor *ex) { return ex->ops->random(ex); }
static inline int ex_on_worker(struct executor *ex) { return ex->ops->on_worker(ex); }
static inline void **ex_local(struct executor *ex) { return ex->ops->local(ex); }

#endif /* STRATA_LOOP_EXECUTOR_H */
