/* os_bound.h - an upper bound of the coarse clock, for a fifth of what the clock takes.
 *
 * Whether something whose deadline is minutes away is fresh can be said without knowing the moment, by a moment that is later.  A thread
 * keeps a pair: the second of Unix time that time(2) said, and a bound of strata__os_now_ms(), read after that, and later by
 * OS_BOUND_SPAN_MS.  While time() says that same second, the bound holds; time() is one load of a word that the kernel
 * keeps, and both clocks are set forward by the same tick and slewed by the same rate, so that no more than a second passes.
 * Between two seconds that are the same lies a leap second (1 s more) or somebody who has set the clock back: to bear that,
 * pairs older than OS_BOUND_OLD_MS are forgotten by the loop (loop_timers.c), whatever time() says, every OS_BOUND_BEAT_MS at the
 * latest.  The span leaves that loop three quarters of a second to be late in.  What remains is in docs/threading.md.
 *
 * Where a thread can be watched (os_watch.h), time() need not be asked: the bound holds as long as the thread ran without a break, and the
 * loop, which makes bounds that are old say that nothing is known, answers for those that run on and on.
 *
 * Not for who needs the moment, nor for lower bounds.  A pair is its thread's; others may age it, and no more. */
#ifndef STRATA_OS_BOUND_H
#define STRATA_OS_BOUND_H
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

enum { OS_BOUND_SPAN_MS = 2500, OS_BOUND_OLD_MS = 1250, OS_BOUND_BEAT_MS = 500 };

/* What time() never says; and of a moment: nothing is known. */
#define OS_BOUND_NEVER INT64_MIN
#define OS_BOUND_UNKNOWN INT64_MAX

struct os_bound {
    _Atomic(int64_t) second;   /* of Unix time; OS_BOUND_NEVER: nothing is known */
    _Atomic(int64_t) until_ms; /* strata__os_now_ms() is below, while time() says that second */
};

/* 1: time() reads a word of the kernel's here, without a call into it; 0: keep no bounds, they cost more than the clock. */
int strata__os_bound_usable(void);

/* Nothing is known. */
static inline void os_bound_init(struct os_bound *b)
{
    atomic_init(&b->second, OS_BOUND_NEVER);
    atomic_init(&b->until_ms, OS_BOUND_UNKNOWN);
}

/* Any thread.  Where its own sets another one meanwhile, that one may be forgotten: which costs it a look at the clock. */
static inline void os_bound_forget(struct os_bound *b)
{
    atomic_store_explicit(&b->second, OS_BOUND_NEVER, memory_order_relaxed);
    atomic_store_explicit(&b->until_ms, OS_BOUND_UNKNOWN, memory_order_relaxed);
}

/* To be compared before anything is made of it; whether it holds is asked by os_bound_is_of(), in any order: it holds
 * now, if time() has just said that second.  By os_watch_unbroken() it is asked after this was read. */
static inline int64_t os_bound_until(const struct os_bound *b)
{
    return atomic_load_explicit(&((struct os_bound *)(uintptr_t)b)->until_ms, memory_order_relaxed);
}

static inline int os_bound_is_of(const struct os_bound *b, int64_t second)
{
    return atomic_load_explicit(&((struct os_bound *)(uintptr_t)b)->second, memory_order_relaxed) == second;
}

/* For os_bound_is_of(). */
static inline int64_t os_bound_second(void) { return (int64_t)time(NULL); }

/* `second` was read before `now_ms` was: what passed between the two makes the bound later than it need be, never earlier. */
static inline void os_bound_set(struct os_bound *b, int64_t second, int64_t now_ms)
{
    atomic_store_explicit(&b->until_ms, now_ms + OS_BOUND_SPAN_MS, memory_order_relaxed);
    atomic_store_explicit(&b->second, second, memory_order_relaxed);
}

/* Any thread: forget a pair that is old. */
static inline void os_bound_age(struct os_bound *b, int64_t now_ms)
{
    int64_t until = os_bound_until(b);
    if (until != OS_BOUND_UNKNOWN && now_ms - (until - OS_BOUND_SPAN_MS) > OS_BOUND_OLD_MS)
        os_bound_forget(b);
}

/* The exact moment, and a bound from there. */
int64_t strata__os_bound_renew(struct os_bound *b);

#endif /* STRATA_OS_BOUND_H */
