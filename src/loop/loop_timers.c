/* loop_timers.c - see loop_timers.h.
 *
 * A timer leaves the heap under the lock before it fires without it.  So cancel has a plain answer: in the heap, it is
 * taken out and will not fire; not in the heap, it was not set, has fired, or is firing.
 *
 * Due means due by the coarse clock, which is the one that core reads: a timer that fired by the exact clock could find
 * that its own moment has not come yet. */
#include "src/loop/loop_timers.h"

#include <stddef.h>

#include "src/base/err.h"
#include "src/os/os_clock.h"
#include "src/os/os_fault.h"
#include "src/os/reclaim.h"

/* libuv counts in unsigned milliseconds from its own origin; a day is far enough to look again. */
enum { LONGEST_SLEEP_MS = 24 * 3600 * 1000 };

static struct timer *timer_of(const struct heap_node *node)
{
    return (struct timer *)(void *)((char *)(uintptr_t)node - offsetof(struct timer, node));
}

static int earlier(const struct heap_node *a, const struct heap_node *b)
{
    return timer_of(a)->due_ms < timer_of(b)->due_ms;
}

static void look(struct loop_timers *timers);

static void on_alarm(uv_timer_t *alarm) { look(alarm->data); }

static void on_wake(uv_async_t *wake) { look(wake->data); }

/* Sleep until the moment in armed_ms, or until bounds of the clock have to be aged. */
static void arm(struct loop_timers *timers, int64_t now, int64_t due)
{
    if (strata__reclaim_age_bounds(now) && due - OS_BOUND_BEAT_MS > now)
        due = now + OS_BOUND_BEAT_MS;
    if (due == INT64_MAX) {
        (void)uv_timer_stop(&timers->alarm);
        return;
    }
    int64_t left = due > now ? due - now : 1; /* overflow-free: now > 0 */
    uv_update_time(&timers->loop);            /* libuv adds to the time when it last looked, which may be long ago */
    (void)uv_timer_start(&timers->alarm, on_alarm, (uint64_t)(left < LONGEST_SLEEP_MS ? left : LONGEST_SLEEP_MS), 0);
}

/* On the loop thread: fire what is due, and arm for the next. */
static void look(struct loop_timers *timers)
{
    const int64_t now = strata__os_now_ms(); /* read once: what is set meanwhile for "now" waits for the next look */
    os_mutex_lock(&timers->lock);
    for (;;) {
        struct heap_node *first = heap_peek(&timers->heap);
        if (first == NULL || timer_of(first)->due_ms > now || timers->stopping)
            break;
        strata__heap_remove(&timers->heap, first);
        os_mutex_unlock(&timers->lock);
        struct timer *timer = timer_of(first);
        timer->fire(timer); /* may free it, or set it again */
        os_mutex_lock(&timers->lock);
    }
    struct heap_node *next = heap_peek(&timers->heap);
    int64_t due = next != NULL ? timer_of(next)->due_ms : INT64_MAX;
    timers->armed_ms = due;
    int stopping = timers->stopping;
    os_mutex_unlock(&timers->lock);
    if (stopping)
        uv_stop(&timers->loop);
    else
        arm(timers, now, due);
}

static void run_loop(void *ctx)
{
    struct loop_timers *timers = ctx;
    timers->enter(timers->owner);
    (void)uv_run(&timers->loop, UV_RUN_DEFAULT);
}

static int open_loop(struct loop_timers *timers)
{
    int failed = -strata__os_fault("uv_loop_init"); /* libuv's numbers are negative errnos */
    return failed != 0 ? failed : uv_loop_init(&timers->loop);
}

static int open_handles(struct loop_timers *timers)
{
    (void)uv_timer_init(&timers->loop, &timers->alarm); /* cannot fail */
    timers->alarm.data = timers;
    int failed = -strata__os_fault("uv_async_init");
    if (failed == 0)
        failed = uv_async_init(&timers->loop, &timers->wake, on_wake);
    timers->wake.data = timers;
    return failed;
}

static void close_loop(struct loop_timers *timers, int with_wake)
{
    uv_close((uv_handle_t *)&timers->alarm, NULL);
    if (with_wake)
        uv_close((uv_handle_t *)&timers->wake, NULL);
    (void)uv_run(&timers->loop, UV_RUN_DEFAULT); /* closing ends in the loop's next turn */
    if (uv_loop_close(&timers->loop) != 0)
        STRATA_BUG("the event loop still has handles");
}

static int refuse(strata_error *err, int uv_status, const char *what)
{
    int os_errno = -uv_status;
    return strata__fail_os(err, uv_status == UV_ENOMEM ? STRATA_ENOMEM : STRATA_EIO, os_errno, "open",
                           "%s could not be started (%s): close descriptors or raise the limits (ulimit -n, ulimit -u)",
                           what, uv_strerror(uv_status));
}

int strata__loop_timers_start(struct loop_timers *timers, void (*enter)(void *owner), void *owner, strata_error *err)
{
    int status = STRATA_OK;
    int with_wake = 0;
    timers->armed_ms = INT64_MAX;
    timers->stopping = 0;
    timers->enter = enter;
    timers->owner = owner;
    strata__heap_init(&timers->heap, earlier);
    int failed = -strata__os_mutex_init(&timers->lock);
    if (failed != 0)
        return refuse(err, failed, "the timers' lock");
    failed = open_loop(timers);
    if (failed != 0) {
        status = refuse(err, failed, "the event loop");
        goto no_loop;
    }
    failed = open_handles(timers);
    if (failed != 0) {
        status = refuse(err, failed, "the event loop's wakeup");
        goto no_thread;
    }
    with_wake = 1;
    (void)strata__reclaim_age_bounds(strata__os_now_ms()); /* while there was no loop nobody did */
    failed = -strata__os_thread_start(&timers->thread, "strata-loop", run_loop, timers);
    if (failed == 0)
        return STRATA_OK;
    status = refuse(err, failed, "the loop thread");
no_thread:
    close_loop(timers, with_wake);
no_loop:
    strata__os_mutex_deinit(&timers->lock);
    return status;
}

void strata__loop_timers_at(struct loop_timers *timers, struct timer *timer, int64_t due_ms)
{
    os_mutex_lock(&timers->lock);
    if (heap_holds(&timer->node))
        STRATA_BUG("a timer was set twice");
    timer->due_ms = due_ms;
    strata__heap_insert(&timers->heap, &timer->node);
    int wake = due_ms < timers->armed_ms && !timers->stopping;
    if (wake)
        timers->armed_ms = due_ms; /* the loop thread will look: the next later one need not wake it again */
    os_mutex_unlock(&timers->lock);
    /* Out of the lock: it writes to a descriptor.  The handle is open until deinit, which no setter outlives. */
    if (wake)
        (void)uv_async_send(&timers->wake);
}

int strata__loop_timers_cancel(struct loop_timers *timers, struct timer *timer)
{
    os_mutex_lock(&timers->lock);
    int was_set = heap_holds(&timer->node);
    if (was_set)
        strata__heap_remove(&timers->heap, &timer->node);
    os_mutex_unlock(&timers->lock);
    return was_set;
}

void strata__loop_timers_stop(struct loop_timers *timers)
{
    os_mutex_lock(&timers->lock);
    timers->stopping = 1;
    os_mutex_unlock(&timers->lock);
    (void)uv_async_send(&timers->wake);
    strata__os_thread_join(&timers->thread);
}

void strata__loop_timers_deinit(struct loop_timers *timers)
{
    close_loop(timers, 1);
    strata__os_mutex_deinit(&timers->lock);
}
