/* os_futex_linux.c - os_futex.h on futex(2).
 *
 * Unpark may call FUTEX_WAKE on a word that is already gone: the kernel uses the address as a key and never touches
 * what is there.  At worst somebody else's futex at the same address wakes for no reason, which every user of futexes
 * allows for. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "src/base/err.h"
#include "src/os/os_clock.h"
#include "src/os/os_futex.h"

static int take(_Atomic(uint32_t) *word)
{
    /* Acquire: pairs with the release in unpark. */
    return atomic_exchange_explicit(word, 0, memory_order_acquire) != 0;
}

int strata__os_park(_Atomic(uint32_t) *word, int64_t deadline_us)
{
    struct timespec t, *until = NULL;
    if (deadline_us != INT64_MAX) {
        if (deadline_us < 0)
            deadline_us = 0;
        t.tv_sec = (time_t)(deadline_us / 1000000);
        t.tv_nsec = (long)(deadline_us % 1000000) * 1000;
        until = &t;
    }
    for (;;) {
        if (take(word))
            return 0;
        if (until != NULL && strata__os_now_us() >= deadline_us)
            return 1;
        /* BITSET is the one kind of wait that takes a moment instead of a duration. */
        long answer = syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 0, until, NULL,
                              FUTEX_BITSET_MATCH_ANY);
        if (answer != 0 && errno != EAGAIN && errno != EINTR && errno != ETIMEDOUT)
            STRATA_BUG("futex cannot wait here");
    }
}

void strata__os_unpark(_Atomic(uint32_t) *word)
{
    /* Release: what was done before is visible to the sleeper.  Was it signalled already, whoever did so wakes. */
    if (atomic_exchange_explicit(word, 1, memory_order_release) == 0)
        (void)syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}
