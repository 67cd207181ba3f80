/* os_random.c - see os_random.h. */
#include "src/os/os_random.h"

#include <errno.h>
#include <stddef.h>
#if defined(__linux__)
#include <sys/random.h>
#else
#include <unistd.h>
#endif

#include "src/base/hash.h"
#include "src/os/os_clock.h"
#include "src/os/os_fault.h"

static int from_system(uint64_t *out)
{
    if (strata__os_fault("getrandom") != 0)
        return 0;
#if defined(__linux__)
    ssize_t got;
    do
        /* Not blocking: in the first seconds of a machine's life a seed from the clock is better than a long wait. */
        got = getrandom(out, sizeof *out, GRND_NONBLOCK);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof *out;
#else
    return getentropy(out, sizeof *out) == 0;
#endif
}

uint64_t strata__os_random(void)
{
    uint64_t number;
    if (from_system(&number))
        return number;
    uint64_t here = (uint64_t)(uintptr_t)&number;
    return strata__mix64(strata__mix64((uint64_t)strata__os_now_us()) ^ here) ^
           strata__mix64((uint64_t)strata__os_wall_ms());
}
