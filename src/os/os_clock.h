/* os_clock.h - the clocks.  Milliseconds and microseconds below share one origin (CLOCK_MONOTONIC); the coarse one
 * lags the exact one by up to a tick (4 ms), and never leads it. */
#ifndef STRATA_OS_CLOCK_H
#define STRATA_OS_CLOCK_H
#include <stdint.h>

/* Monotonic, coarse, no system call: for deadlines of entries. */
int64_t strata__os_now_ms(void);
/* Monotonic, exact: for latencies and for sleeping. */
int64_t strata__os_now_us(void);
/* The same in nanoseconds. */
int64_t strata__os_now_ns(void);
/* Unix time, coarse too; may jump. */
int64_t strata__os_wall_ms(void);

#endif /* STRATA_OS_CLOCK_H */
