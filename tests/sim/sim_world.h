/* sim_world.h - processes, a network and a clock, all of them simulated and driven by one seed.
 *
 * Each node has a simulated executor of its own (executor_sim.h), the network another.  A step runs one thing that is ready, of one
 * of them; where nothing is, the clock of all moves on to the next timer.  A node that is frozen runs nothing, while time goes on for
 * it: a stopped process, and, for good, one that has crashed.  The test's own thread may sleep in a cache's call (strata_close): the
 * world goes on meanwhile.
 *
 * One world at a time, driven by one thread. */
#ifndef STRATA_TESTS_SIM_WORLD_H
#define STRATA_TESTS_SIM_WORLD_H
#include <stddef.h>
#include <stdint.h>

#include "src/loop/executor.h"

enum { SIM_NODES_MOST = 8 };

void sim_world_open(uint64_t seed);
/* Every cache is closed.  Runs the network empty. */
void sim_world_close(void);

/* One of `below`; the same sequence with every run of a seed. */
uint64_t sim_draw(uint64_t below);
/* The true time: milliseconds since some moment. */
int64_t sim_now_ms(void);

/* For one strata__open_with(); the world goes on after it is stopped. */
struct executor *sim_node_executor(int node);
/* For timers of who is in no process: the network, the origin.  Nothing that they fire may park. */
struct executor *sim_net(void);
/* That node's simulator: its tasks and timers run only while it is not frozen. */
struct executor *sim_inside(int node);

/* Sleep as one of that node's threads, or as the test's own. */
void sim_park(int node, struct parker *parker);

void sim_freeze(int node);
void sim_thaw(int node);
int sim_frozen(int node);
/* What its wall clock shows, less what it should. */
void sim_set_wall_skew(int node, int64_t ms);

/* Is this a thread that the executor knows?  A link's own is not: while it calls done(), it says so. */
void sim_foreign_thread(int on);

/* Run one thing.  0: nothing is ready. */
int sim_step(void);
void sim_pass(int64_t ms);

/* Says what is wrong, and how to see it again, and aborts, unless a violation is what this run is for: then it is counted. */
void sim_violation(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void sim_broken(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* 1: violations are counted from here on, and said nowhere. */
void sim_expect_violations(int on);
uint64_t sim_violations(void);

/* A line of what happens, where STRATA_SIM_TRACE is set. */
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif /* STRATA_TESTS_SIM_WORLD_H */
