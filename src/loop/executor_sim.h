/* executor_sim.h - the executor of tests: virtual time, one thread at a time, and a seeded choice among everything that could
 * run next.
 *
 * The same seed gives the same schedule.  A task that parks is set aside, and goes on, sooner or later, after it was
 * signalled or its deadline came.  When the test's own thread parks, it drives the others meanwhile, and where none can run
 * moves the clock to the next timer or deadline; when nothing can ever wake it, that is a deadlock: it aborts with a
 * message.  step, run and advance may be called from a task, too: a loader that takes 5 ms advances by 5. */
#ifndef STRATA_LOOP_EXECUTOR_SIM_H
#define STRATA_LOOP_EXECUTOR_SIM_H
#include "src/loop/executor.h"

int strata__executor_sim_new(struct executor **out, const struct strata_allocator *mem, uint64_t seed,
                             strata_error *err);
/* Run until nothing is ready, without moving the clock. */
void strata__executor_sim_run(struct executor *ex);
/* Run one ready task, chosen by the seed.  0 when none is ready. */
int strata__executor_sim_step(struct executor *ex);
/* Move the clock by `ms`, running timers and tasks as they come due. */
void strata__executor_sim_advance(struct executor *ex, int64_t ms);
/* For who drives several of them as one world: the moment of the next timer or deadline, INT64_MAX for never; and the clock moved
 * there, which runs nothing. */
int64_t strata__executor_sim_next(struct executor *ex);
void strata__executor_sim_clock(struct executor *ex, int64_t to_ms);
/* Make post() fail with STRATA_EBUSY while `max` tasks or more are queued. */
void strata__executor_sim_limit(struct executor *ex, size_t max);

#endif /* STRATA_LOOP_EXECUTOR_SIM_H */
