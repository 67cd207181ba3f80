/* loop_pool.h - the worker pool: threads that run tasks, first come first served.
 *
 * The queue is bounded for new work (post), not for the continuation of work that was accepted (post_always): refusing
 * that would lose a caller. */
#ifndef STRATA_LOOP_POOL_H
#define STRATA_LOOP_POOL_H
#include "src/loop/executor.h"
#include "src/os/os_thread.h"

struct loop_pool {
    const struct strata_allocator *mem;
    struct os_mutex lock; /* guards all below but threads */
    struct os_cond work;  /* a task was queued, or the pool stops */
    struct task *head, **tail;
    uint32_t queued;
    uint32_t max_queued;
    uint32_t idle; /* workers that wait for work */
    uint32_t busy; /* tasks that run: they may queue more */
    int stopping;
    void (*enter)(void *owner); /* called first on each worker */
    void *owner;
    struct os_thread *threads;
    uint32_t started;
};

/* STRATA_OK, STRATA_ENOMEM, STRATA_EIO; nothing is left behind on failure. */
int strata__loop_pool_start(struct loop_pool *pool, const struct strata_allocator *mem, uint32_t workers,
                            uint32_t max_queued, void (*enter)(void *owner), void *owner, strata_error *err);
/* STRATA_OK, STRATA_EBUSY, STRATA_ECLOSED. */
int strata__loop_pool_post(struct loop_pool *pool, struct task *task);
void strata__loop_pool_post_always(struct loop_pool *pool, struct task *task);
/* Refuse post() from now on. */
void strata__loop_pool_refuse(struct loop_pool *pool);
/* Finish what is queued, and what that queues; join; give everything back. */
void strata__loop_pool_stop(struct loop_pool *pool);
/* After fork: give back the memory alone. */
void strata__loop_pool_abandon(struct loop_pool *pool);

#endif /* STRATA_LOOP_POOL_H */
