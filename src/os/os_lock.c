/* os_lock.c - see os_lock.h. */
#include "src/os/os_lock.h"

#include <sched.h>
#include <time.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { SPINS = 100 };

static void pause_a_moment(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static int spun(struct os_lock *lock)
{
    for (int i = 0; i < SPINS; i++) {
        pause_a_moment();
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == OS_LOCK_FREE && os_lock_try(lock))
            return 1;
    }
    return 0;
}

#if defined(__linux__)
void strata__os_lock_wait(struct os_lock *lock)
{
    if (spun(lock))
        return;
    /* Who slept takes it as wanted: others may sleep still, and a wake too many is cheaper than one too few. */
    while (atomic_exchange_explicit(&lock->word, OS_LOCK_WANTED, memory_order_acquire) != OS_LOCK_FREE)
        (void)syscall(SYS_futex, &lock->word, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, OS_LOCK_WANTED, NULL, NULL, 0);
}

/* The lock may be gone already: see os_futex_linux.c about waking a word that nobody has any more. */
void strata__os_lock_wake(struct os_lock *lock)
{
    (void)syscall(SYS_futex, &lock->word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}
#else
/* Without a futex: look again every now and then.  What is held for a moment is rarely waited for. */
void strata__os_lock_wait(struct os_lock *lock)
{
    const struct timespec moment = { 0, 50000 };
    for (int tries = 0; !spun(lock); tries++)
        if (tries < 16)
            sched_yield();
        else
            (void)nanosleep(&moment, NULL);
}

void strata__os_lock_wake(struct os_lock *lock) { (void)lock; }
#endif
