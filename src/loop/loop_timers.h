/* loop_timers.h - timers: a heap, and one libuv loop thread that wakes for its earliest entry.
 *
 * libuv has one timer, armed for the head of our heap: a timer is set and cancelled under one mutex from any thread, which
 * libuv's own timers do not allow, and most are cancelled before the loop thread ever hears of them.  Later kinds of
 * work that wait for descriptors have their loop here. */
#ifndef STRATA_LOOP_TIMERS_H
#define STRATA_LOOP_TIMERS_H
#include <uv.h>

#include "src/base/heap.h"
#include "src/loop/executor.h"
#include "src/os/os_thread.h"

struct loop_timers {
    struct os_mutex lock; /* guards heap, armed_ms and stopping */
    struct heap heap;     /* of struct timer, by due_ms */
    int64_t armed_ms;     /* when the loop thread looks next; INT64_MAX when it will not by itself */
    int stopping;
    uv_loop_t loop; /* these three are the loop thread's, but for uv_async_send */
    uv_async_t wake;
    uv_timer_t alarm;
    void (*enter)(void *owner); /* called first on the loop thread */
    void *owner;
    struct os_thread thread;
};

/* STRATA_OK, STRATA_EIO, STRATA_ENOMEM; nothing is left behind on failure. */
int strata__loop_timers_start(struct loop_timers *timers, void (*enter)(void *owner), void *owner, strata_error *err);
/* As executor_ops. */
void strata__loop_timers_at(struct loop_timers *timers, struct timer *timer, int64_t due_ms);
int strata__loop_timers_cancel(struct loop_timers *timers, struct timer *timer);
/* No timer fires after it; setting and cancelling still work.  Joins the loop thread. */
void strata__loop_timers_stop(struct loop_timers *timers);
/* After stop, when no thread can set a timer any more: give everything back. */
void strata__loop_timers_deinit(struct loop_timers *timers);

#endif /* STRATA_LOOP_TIMERS_H */
