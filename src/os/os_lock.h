/* os_lock.h - a lock of one word, for what is held for some hundred nanoseconds and taken millions of times a second.
 *
 * Taken and given in line with one locked instruction each; whoever finds it held spins about as long as it is usually held,
 * and then sleeps (Drepper, "Futexes are tricky", 2011: the word says whether anybody sleeps).  Not fair, not
 * recursive, no condition waits on it.  All zero is free; it needs no init and no deinit. */
#ifndef STRATA_OS_LOCK_H
#define STRATA_OS_LOCK_H
#include <stdatomic.h>
#include <stdint.h>

#include "src/base/err.h"

enum { OS_LOCK_FREE = 0, OS_LOCK_HELD = 1, OS_LOCK_WANTED = 2 };

struct os_lock {
    _Atomic(uint32_t) word;
};

void strata__os_lock_wait(struct os_lock *lock);
void strata__os_lock_wake(struct os_lock *lock);

/* 1 when it is now held. */
static inline int os_lock_try(struct os_lock *lock)
{
    uint32_t word = OS_LOCK_FREE;
    return atomic_compare_exchange_strong_explicit(&lock->word, &word, OS_LOCK_HELD, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void os_lock_take(struct os_lock *lock)
{
    if (__builtin_expect(!os_lock_try(lock), 0))
        strata__os_lock_wait(lock);
}

static inline void os_lock_give(struct os_lock *lock)
{
    uint32_t word = atomic_exchange_explicit(&lock->word, OS_LOCK_FREE, memory_order_release);
    if (__builtin_expect(word != OS_LOCK_HELD, 0)) {
        if (word == OS_LOCK_FREE)
            STRATA_BUG("a lock was given back that was not held");
        strata__os_lock_wake(lock);
    }
}

#endif /* STRATA_OS_LOCK_H */
