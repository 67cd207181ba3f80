/* sim_thread.h - a stack of its own for each task of the simulator.
 *
 * Threads used as coroutines: exactly one of them runs, the others wait for the baton.  resume() hands it over and waits
 * until it comes back.  Nothing of it is concurrent, so a schedule depends on nothing but the seed. */
#ifndef STRATA_LOOP_SIM_THREAD_H
#define STRATA_LOOP_SIM_THREAD_H
#include "src/base/list.h"
#include "src/loop/executor.h"
#include "src/os/os_thread.h"

struct sim_thread {
    _Atomic(uint32_t) baton;    /* a word for os_futex.h: signalled, this one runs */
    struct sim_thread *resumer; /* who gets the baton back */
    struct sim_thread *next_idle;
    struct list_node link; /* the simulator's list of those that are parked */
    struct task *task;     /* what it runs; NULL when it has ended */
    struct parker *parker; /* where it is parked */
    int64_t deadline_ms;
    void *cell; /* executor_ops.local */
    struct os_thread thread;
};

/* NULL: no memory or no thread. */
struct sim_thread *strata__sim_thread_new(void);
/* It must have no task. */
void strata__sim_thread_free(struct sim_thread *thread);
/* Run its task, or go on with it, until it yields or ends; `self` is the caller's own. */
void strata__sim_thread_resume(struct sim_thread *thread, struct sim_thread *self);
/* Called by `self`'s task: give the baton back, go on when resumed. */
void strata__sim_thread_yield(struct sim_thread *self);

#endif /* STRATA_LOOP_SIM_THREAD_H */
