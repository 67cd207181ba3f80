/* loop_pool.h - the worker pool: threads that run tasks.
 *
 * The queue is bounded for new work (post), not for the continuation of work that was accepted (post_always): refusing
 * that would lose a caller.  Continuations go first, each kind in the order in which it came.
 *
 * A task that sleeps for another task must not take the thread that is to run it.  So the pool has spare threads: while a
 * task sleeps (sleep, awake), another thread works instead of its own, and `workers` is how many tasks run that do not
 * sleep.  Spares are started when they are first missed, rest when there are too many, and are bounded; the last
 * ones run continuations alone, for which all others may be waiting. */
#ifndef STRATA_LOOP_POOL_H
#define STRATA_LOOP_POOL_H
#include "src/loop/executor.h"
#include "src/os/os_thread.h"

struct task_queue {
    struct task *head, **tail;
    uint32_t count;
};

struct loop_pool {
    const struct strata_allocator *mem;
    struct os_mutex lock;            /* guards all below but threads */
    struct os_cond work;             /* a task may begin, or the pool stops */
    struct task_queue always, fresh; /* continuations, and new work */
    uint32_t workers;
    uint32_t max_queued;
    uint32_t idle;     /* threads that wait for work */
    uint32_t busy;     /* tasks that were begun and have not ended: they may queue more */
    uint32_t sleeping; /* of these, those that sleep */
    int stopping;
    int meagre;                 /* the last spare could not be started */
    void (*enter)(void *owner); /* called first on each worker */
    void *owner;
    struct os_thread *threads; /* room for all spares, too */
    uint32_t started;
};

/* STRATA_OK, STRATA_ENOMEM, STRATA_EIO; nothing is left behind on failure. */
int strata__loop_pool_start(struct loop_pool *pool, const struct strata_allocator *mem, uint32_t workers,
                            uint32_t max_queued, void (*enter)(void *owner), void *owner, strata_error *err);
/* STRATA_OK, STRATA_EBUSY, STRATA_ECLOSED. */
int strata__loop_pool_post(struct loop_pool *pool, struct task *task);
void strata__loop_pool_post_always(struct loop_pool *pool, struct task *task);
/* A task of this pool is about to sleep, on this thread; and is awake again. */
void strata__loop_pool_sleep(struct loop_pool *pool);
void strata__loop_pool_awake(struct loop_pool *pool);
/* Refuse post() from now on. */
void strata__loop_pool_refuse(struct loop_pool *pool);
/* Finish what is queued, and what that queues; join; give everything back. */
void strata__loop_pool_stop(struct loop_pool *pool);
/* After fork: give back the memory alone. */
void strata__loop_pool_abandon(struct loop_pool *pool);

#endif /* STRATA_LOOP_POOL_H */
