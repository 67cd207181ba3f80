/* loop_pool.c - see loop_pool.h. */
#include "src/loop/loop_pool.h"

#include <stdio.h>

#include "src/base/err.h"
#include "src/base/mem.h"

static void append_locked(struct loop_pool *pool, struct task *task)
{
    task->next = NULL;
    *pool->tail = task;
    pool->tail = &task->next;
    pool->queued++;
}

static struct task *take_locked(struct loop_pool *pool)
{
    struct task *task = pool->head;
    pool->head = task->next;
    if (pool->head == NULL)
        pool->tail = &pool->head;
    pool->queued--;
    return task;
}

static void work(void *ctx)
{
    struct loop_pool *pool = ctx;
    pool->enter(pool->owner);
    os_mutex_lock(&pool->lock);
    for (;;) {
        /* While a task runs it may queue another one: only when none does is an empty queue the end. */
        while (pool->head == NULL && !(pool->stopping && pool->busy == 0)) {
            pool->idle++;
            (void)strata__os_cond_wait(&pool->work, &pool->lock, INT64_MAX);
            pool->idle--;
        }
        if (pool->head == NULL)
            break;
        struct task *task = take_locked(pool);
        pool->busy++;
        os_mutex_unlock(&pool->lock);
        task->run(task); /* may free the task */
        os_mutex_lock(&pool->lock);
        pool->busy--;
    }
    os_mutex_unlock(&pool->lock);
    strata__os_cond_broadcast(&pool->work); /* the others may end too */
}

static void release(struct loop_pool *pool)
{
    strata__os_cond_deinit(&pool->work);
    strata__os_mutex_deinit(&pool->lock);
    strata__free(pool->mem, pool->threads);
}

static int start_threads(struct loop_pool *pool, uint32_t workers, strata_error *err)
{
    for (uint32_t i = 0; i < workers; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "strata-w%u", (unsigned)i);
        int failed = strata__os_thread_start(&pool->threads[i], name, work, pool);
        if (failed != 0) {
            strata__loop_pool_stop(pool);
            return strata__fail_os(err, STRATA_EIO, failed, "open",
                                   "worker thread %u of %u could not be started: ask for fewer workers, or raise the "
                                   "limit of threads (ulimit -u, or the container's pids limit)",
                                   (unsigned)i + 1, (unsigned)workers);
        }
        pool->started++;
    }
    return STRATA_OK;
}

int strata__loop_pool_start(struct loop_pool *pool, const struct strata_allocator *mem, uint32_t workers,
                            uint32_t max_queued, void (*enter)(void *owner), void *owner, strata_error *err)
{
    *pool = (struct loop_pool){ .mem = mem, .max_queued = max_queued, .enter = enter, .owner = owner };
    pool->tail = &pool->head;
    pool->threads = strata__alloc_array(mem, workers, sizeof *pool->threads);
    if (pool->threads == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, "open");
    int failed = strata__os_mutex_init(&pool->lock);
    if (failed != 0)
        goto no_mutex;
    failed = strata__os_cond_init(&pool->work);
    if (failed != 0)
        goto no_cond;
    return start_threads(pool, workers, err);

no_cond:
    strata__os_mutex_deinit(&pool->lock);
no_mutex:
    strata__free(mem, pool->threads);
    return strata__fail_os(
        err, STRATA_EIO, failed, "open",
        "the worker pool has no lock: the system is out of resources, close something and try again");
}

int strata__loop_pool_post(struct loop_pool *pool, struct task *task)
{
    int status = STRATA_OK;
    os_mutex_lock(&pool->lock);
    if (pool->stopping)
        status = STRATA_ECLOSED;
    else if (pool->queued >= pool->max_queued)
        status = STRATA_EBUSY;
    else
        append_locked(pool, task);
    int wake = status == STRATA_OK && pool->idle != 0;
    /* Signalled under the lock: after it, the task may have run and stopped the program that owns the pool. */
    if (wake)
        strata__os_cond_signal(&pool->work);
    os_mutex_unlock(&pool->lock);
    return status;
}

void strata__loop_pool_post_always(struct loop_pool *pool, struct task *task)
{
    os_mutex_lock(&pool->lock);
    append_locked(pool, task);
    if (pool->idle != 0)
        strata__os_cond_signal(&pool->work);
    os_mutex_unlock(&pool->lock);
}

void strata__loop_pool_refuse(struct loop_pool *pool)
{
    os_mutex_lock(&pool->lock);
    pool->stopping = 1;
    strata__os_cond_broadcast(&pool->work);
    os_mutex_unlock(&pool->lock);
}

void strata__loop_pool_stop(struct loop_pool *pool)
{
    strata__loop_pool_refuse(pool);
    for (uint32_t i = 0; i < pool->started; i++)
        strata__os_thread_join(&pool->threads[i]);
    /* A foreign thread may have posted a continuation after the last worker went: it was promised to run. */
    for (;;) {
        os_mutex_lock(&pool->lock);
        struct task *task = pool->head != NULL ? take_locked(pool) : NULL;
        os_mutex_unlock(&pool->lock);
        if (task == NULL)
            break;
        task->run(task);
    }
    release(pool);
}

void strata__loop_pool_abandon(struct loop_pool *pool) { strata__free(pool->mem, pool->threads); }
