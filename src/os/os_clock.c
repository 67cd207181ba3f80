/* os_clock.c - see os_clock.h.  All three are answered by the vDSO, without entering the kernel. */
#include "src/os/os_clock.h"

#include <time.h>

#ifndef CLOCK_MONOTONIC_COARSE
#define CLOCK_MONOTONIC_COARSE CLOCK_MONOTONIC /* not Linux: exact is fine, only slower */
#endif
#ifndef CLOCK_REALTIME_COARSE
#define CLOCK_REALTIME_COARSE CLOCK_REALTIME
#endif

static inline struct timespec now(clockid_t clock)
{
    struct timespec t;
    (void)clock_gettime(clock, &t); /* cannot fail for these clocks */
    return t;
}

int64_t strata__os_now_ms(void)
{
    struct timespec t = now(CLOCK_MONOTONIC_COARSE);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t strata__os_now_ns(void)
{
    struct timespec t = now(CLOCK_MONOTONIC);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t strata__os_now_us(void)
{
    struct timespec t = now(CLOCK_MONOTONIC);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t strata__os_wall_ms(void)
{
    struct timespec t = now(CLOCK_REALTIME_COARSE);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}
