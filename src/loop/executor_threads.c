/* executor_threads.c - the executor of production: a worker pool, a loop thread for timers, real clocks.
 *
 * Stopping has an order.  First new work is refused; then timers, so that nothing but running tasks can add work; then the
 * pool drains; then the loop is closed, when no task is left that could still set a timer. */
#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/loop/executor.h"
#include "src/loop/loop_pool.h"
#include "src/loop/loop_timers.h"
#include "src/os/os_bound.h"
#include "src/os/os_clock.h"
#include "src/os/os_env.h"
#include "src/os/os_fork.h"
#include "src/os/os_futex.h"
#include "src/os/os_random.h"

struct executor_threads {
    struct executor base;
    struct loop_pool pool;
    struct loop_timers timers;
    _Atomic(uint64_t) random; /* splitmix64's state: a counter, so that one add makes it safe for threads */
};

static _Thread_local const struct executor *worker_of; /* the executor that this thread works for */
static _Thread_local void *cell;

static struct executor_threads *own(struct executor *ex) { return (struct executor_threads *)(void *)ex; }

static void enter(void *owner) { worker_of = owner; }

static int post(struct executor *ex, struct task *task) { return strata__loop_pool_post(&own(ex)->pool, task); }

static void post_always(struct executor *ex, struct task *task) { strata__loop_pool_post_always(&own(ex)->pool, task); }

static void at(struct executor *ex, struct timer *timer, int64_t due_ms)
{
    strata__loop_timers_at(&own(ex)->timers, timer, due_ms);
}

static int cancel(struct executor *ex, struct timer *timer)
{
    return strata__loop_timers_cancel(&own(ex)->timers, timer);
}

/* Deadlines are compared with a clock that may be a tick behind the one that ends a sleep: who came back in between would find that
 * it is not time yet, sleep for nothing, and go round like that until the tick. */
static int sleep_past(struct parker *parker, int64_t deadline_ms)
{
    int passed = strata__os_park(&parker->word, deadline_ms > 0 ? deadline_ms * 1000 : 0);
    while (passed && strata__os_now_ms() < deadline_ms)
        passed = strata__os_park(&parker->word, strata__os_now_us() + 1000);
    return passed;
}

static int park(struct executor *ex, struct parker *parker, int64_t deadline_ms)
{
    if (deadline_ms >= INT64_MAX / 1000) /* too far to be counted in microseconds */
        deadline_ms = INT64_MAX;
    /* What a worker waits for may need a worker.  Relaxed: a signal that comes now is found by os_park. */
    int frees = worker_of == ex && atomic_load_explicit(&parker->word, memory_order_relaxed) == 0;
    if (frees)
        strata__loop_pool_sleep(&own(ex)->pool);
    int passed = deadline_ms == INT64_MAX ? strata__os_park(&parker->word, INT64_MAX) : sleep_past(parker, deadline_ms);
    if (frees)
        strata__loop_pool_awake(&own(ex)->pool);
    return passed;
}

static void unpark(struct executor *ex, struct parker *parker)
{
    (void)ex;
    strata__os_unpark(&parker->word);
}

static int64_t now_ms(struct executor *ex)
{
    (void)ex;
    return strata__os_now_ms();
}

static int64_t now_ns(struct executor *ex)
{
    (void)ex;
    return strata__os_now_ns();
}

static int64_t wall_ms(struct executor *ex)
{
    (void)ex;
    return strata__os_wall_ms();
}

static uint64_t next_random(struct executor *ex)
{
    /* Relaxed: each caller gets a number of its own, in whatever order. */
    return strata__mix64(atomic_fetch_add_explicit(&own(ex)->random, 0x9e3779b97f4a7c15u, memory_order_relaxed));
}

static int on_worker(struct executor *ex) { return worker_of == ex; }

static void **local(struct executor *ex)
{
    (void)ex;
    return &cell;
}

static void stop(struct executor *ex)
{
    struct executor_threads *threads = own(ex);
    if (worker_of == ex)
        STRATA_BUG("an executor was stopped by its own thread");
    strata__loop_pool_refuse(&threads->pool);
    strata__loop_timers_stop(&threads->timers);
    strata__loop_pool_stop(&threads->pool);
    strata__loop_timers_deinit(&threads->timers);
    strata__free(ex->mem, threads);
}

static void abandon(struct executor *ex)
{
    /* Locks may be held by threads that do not exist here, and descriptors are shared with the parent's loop: all that
     * can be given back is memory.  What libuv allocated for the loop is lost with it. */
    if (worker_of == ex)
        worker_of = NULL; /* a worker forked; the next executor may get the same address */
    strata__loop_pool_abandon(&own(ex)->pool);
    strata__free(ex->mem, ex);
}

static const _Atomic(uint32_t) *forks(struct executor *ex)
{
    (void)ex;
    return &strata__os_forks;
}

static const char *log_wish(struct executor *ex)
{
    (void)ex;
    return strata__os_env("STRATA_LOG");
}

static int bounds(struct executor *ex)
{
    (void)ex;
    return strata__os_bound_usable();
}

static void log_line(struct executor *ex, const char *text, size_t size)
{
    (void)ex;
    strata__os_stderr(text, size);
}

static const struct executor_ops ops = {
    .post = post,
    .post_always = post_always,
    .at = at,
    .cancel = cancel,
    .park = park,
    .unpark = unpark,
    .now_ms = now_ms,
    .now_ns = now_ns,
    .wall_ms = wall_ms,
    .random = next_random,
    .on_worker = on_worker,
    .local = local,
    .stop = stop,
    .abandon = abandon,
    .forks = forks,
    .bounds = bounds,
    .log_wish = log_wish,
    .log_line = log_line,
};

int strata__executor_threads_new(struct executor **out, const struct strata_allocator *mem, uint32_t workers,
                                 uint32_t max_queued, strata_error *err)
{
    *out = NULL;
    if (workers == 0 || max_queued == 0)
        return strata__fail(err, STRATA_EINVAL, workers == 0 ? "workers" : "max_queued",
                            "must be at least 1: leave it 0 in strata_options to take the default");
    int failed = strata__os_fork_watch();
    if (failed != 0)
        return strata__fail_os(err, STRATA_ENOMEM, failed, "open",
                               "no memory to watch for fork(): free some and try again");
    struct executor_threads *threads = strata__alloc_zero(mem, sizeof *threads);
    if (threads == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, "open");
    threads->base.ops = &ops;
    threads->base.mem = mem;
    atomic_init(&threads->random, strata__os_random());
    int status = strata__loop_timers_start(&threads->timers, enter, threads, err);
    if (status != STRATA_OK)
        goto no_timers;
    status = strata__loop_pool_start(&threads->pool, mem, workers, max_queued, enter, threads, err);
    if (status != STRATA_OK)
        goto no_pool;
    *out = &threads->base;
    return STRATA_OK;

no_pool:
    strata__loop_timers_stop(&threads->timers);
    strata__loop_timers_deinit(&threads->timers);
no_timers:
    strata__free(mem, threads);
    return status;
}
