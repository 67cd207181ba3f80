/* stopwatch.h - seconds of the monotonic clock, for durations. */
#ifndef STRATA_CLI_STOPWATCH_H
#define STRATA_CLI_STOPWATCH_H
#include <time.h>

static inline double stopwatch_now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#endif /* STRATA_CLI_STOPWATCH_H */
