/* loop_pool.c - see loop_pool.h. */
#include "src/loop/loop_pool.h"

#include <stdio.h>

#include "src/base/err.h"
#include "src/base/mem.h"

/* Threads of a pool: TIMES for each worker, which new work may fill, and MORE for continuations. */
enum { THREADS_TIMES = 4, THREADS_MORE = 16 };

static void queue_init(struct task_queue *queue)
{
    queue->head = NULL;
    queue->tail = &queue->head;
    queue->count = 0;
}

static void append(struct task_queue *queue, struct task *task)
{
    task->next = NULL;
    *queue->tail = task;
    queue->tail = &task->next;
    queue->count++;
}

static struct task *take(struct task_queue *queue)
{
    struct task *task = queue->head;
    if (task == NULL)
        return NULL;
    queue->head = task->next;
    if (queue->head == NULL)
        queue->tail = &queue->head;
    queue->count--;
    return task;
}

/* May new work begin?  Not on the threads that are left for continuations: should it sleep, too, nobody could ever wake
 * those that sleep already. */
static int fresh_may_begin_locked(const struct loop_pool *pool)
{
    if (pool->busy == 0)
        return 1;
    return pool->busy < THREADS_TIMES * pool->workers && !(pool->meagre && pool->busy + 1 >= pool->started);
}

static struct task *next_locked(struct loop_pool *pool)
{
    if (pool->busy - pool->sleeping >= pool->workers)
        return NULL;
    struct task *task = take(&pool->always);
    return task == NULL && fresh_may_begin_locked(pool) ? take(&pool->fresh) : task;
}

static int empty_locked(const struct loop_pool *pool) { return pool->always.head == NULL && pool->fresh.head == NULL; }

static void work(void *ctx)
{
    struct loop_pool *pool = ctx;
    pool->enter(pool->owner);
    os_mutex_lock(&pool->lock);
    for (;;) {
        struct task *task;
        /* While a task runs it may queue another one: only when none does is an empty queue the end. */
        while ((task = next_locked(pool)) == NULL && !(pool->stopping && pool->busy == 0 && empty_locked(pool))) {
            pool->idle++;
            (void)strata__os_cond_wait(&pool->work, &pool->lock, INT64_MAX);
            pool->idle--;
        }
        if (task == NULL)
            break;
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

/* One more thread.  0 or an errno.  It begins by waiting for the lock. */
static int spawn_locked(struct loop_pool *pool)
{
    char name[24];
    (void)snprintf(name, sizeof name, "strata-w%u", (unsigned)pool->started);
    int failed = strata__os_thread_start(&pool->threads[pool->started], name, work, pool);
    if (failed == 0)
        pool->started++;
    pool->meagre = failed != 0;
    return failed;
}

static int start_threads(struct loop_pool *pool, strata_error *err)
{
    for (uint32_t i = 0; i < pool->workers; i++) {
        os_mutex_lock(&pool->lock);
        int failed = spawn_locked(pool);
        os_mutex_unlock(&pool->lock);
        if (failed != 0) {
            strata__loop_pool_stop(pool);
            return strata__fail_os(err, STRATA_EIO, failed, "open",
                                   "worker thread %u of %u could not be started: ask for fewer workers, or raise the "
                                   "limit of threads (ulimit -u, or the container's pids limit)",
                                   (unsigned)i + 1, (unsigned)pool->workers);
        }
    }
    return STRATA_OK;
}

static uint32_t threads_most(const struct loop_pool *pool) { return THREADS_TIMES * pool->workers + THREADS_MORE; }

int strata__loop_pool_start(struct loop_pool *pool, const struct strata_allocator *mem, uint32_t workers,
                            uint32_t max_queued, void (*enter)(void *owner), void *owner, strata_error *err)
{
    *pool = (struct loop_pool){
        .mem = mem, .workers = workers, .max_queued = max_queued, .enter = enter, .owner = owner
    };
    queue_init(&pool->always);
    queue_init(&pool->fresh);
    pool->threads = strata__alloc_array(mem, threads_most(pool), sizeof *pool->threads);
    if (pool->threads == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, "open");
    int failed = strata__os_mutex_init(&pool->lock);
    if (failed != 0)
        goto no_mutex;
    failed = strata__os_cond_init(&pool->work);
    if (failed != 0)
        goto no_cond;
    return start_threads(pool, err);

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
    else if (pool->always.count + pool->fresh.count >= pool->max_queued)
        status = STRATA_EBUSY;
    else
        append(&pool->fresh, task);
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
    append(&pool->always, task);
    if (pool->idle != 0)
        strata__os_cond_signal(&pool->work);
    os_mutex_unlock(&pool->lock);
}

void strata__loop_pool_sleep(struct loop_pool *pool)
{
    os_mutex_lock(&pool->lock);
    pool->sleeping++;
    /* Without a thread more, what is queued waits until this one is awake: the next sleeper tries again. */
    if (pool->started - pool->sleeping < pool->workers && pool->started < threads_most(pool))
        (void)spawn_locked(pool);
    if (pool->idle != 0 && !empty_locked(pool))
        strata__os_cond_signal(&pool->work);
    os_mutex_unlock(&pool->lock);
}

void strata__loop_pool_awake(struct loop_pool *pool)
{
    os_mutex_lock(&pool->lock);
    pool->sleeping--;
    os_mutex_unlock(&pool->lock);
}

static uint32_t started(struct loop_pool *pool)
{
    os_mutex_lock(&pool->lock);
    uint32_t count = pool->started;
    os_mutex_unlock(&pool->lock);
    return count;
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
    for (uint32_t i = 0; i < started(pool); i++) /* spares may still come: no thread ends before the last task has */
        strata__os_thread_join(&pool->threads[i]);
    /* A foreign thread may have posted a continuation after the last worker went: it was promised to run. */
    for (;;) {
        os_mutex_lock(&pool->lock);
        struct task *task = take(&pool->always);
        if (task == NULL)
            task = take(&pool->fresh);
        os_mutex_unlock(&pool->lock);
        if (task == NULL)
            break;
        task->run(task);
    }
    release(pool);
}

void strata__loop_pool_abandon(struct loop_pool *pool) { strata__free(pool->mem, pool->threads); }
