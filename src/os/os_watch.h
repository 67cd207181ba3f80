/* os_watch.h - has a thread run without a break since it marked a moment?
 *
 * A thread that knows an upper bound of the clock can go by it for as long as it runs: where it was put to sleep, stopped or kept
 * waiting, the kernel has taken the processor from it first.  That is what restartable sequences are told of (rseq(2), Linux 4.18;
 * glibc 2.35 registers each thread): a thread sets a word of its own to the address of a struct rseq_cs, and the kernel sets it to 0
 * when it goes on after another thread had the processor, or delivers a signal, and is not inside of the range of code which that struct
 * names.  Ours names a range that holds no code.  So the word still stands exactly where there was no break, for one comparison and
 * no call.
 *
 * Kernels from 6.19 on may leave the word alone where the break was inside of a system call: always, or for threads that were registered
 * with a larger area.  So it is tried out, once, whether a sleep ends a mark; where it does not, nothing is watched.
 *
 * Other libraries may use the word for sequences of their own, which ends our mark, as a break does.  The struct is in memory that is
 * never given back, and the whole of it data: the kernel may look at it after this library was unloaded. */
#ifndef STRATA_OS_WATCH_H
#define STRATA_OS_WATCH_H
#include <stdatomic.h>
#include <stdint.h>

#include "src/base/compare.h"

struct os_watch {
    /* As struct rseq_cs. */
    _Alignas(32) uint32_t version;
    uint32_t flags;
    uint64_t start, length, abort;
    uint32_t signature;     /* stands right before where `abort` points to: the kernel asks for it */
    unsigned char code[20]; /* that is none */
    _Atomic(int64_t) none;  /* the word of a thread that has none: always 0 */
};

/* 1: threads can be watched here.  Sleeps for about half a millisecond the first time. */
int strata__os_watch_works(void);

/* The calling thread's word, which it need not ask for again, with no mark in it; &w->none where there is none.  `w` is the thread's
 * own from here on. */
_Atomic(int64_t) *strata__os_watch_word(struct os_watch *w);

/* A mark: of the calling thread, whose word that is. */
static inline void os_watch_mark(_Atomic(int64_t) *word, struct os_watch *w)
{
    if (word != &w->none)
        atomic_store_explicit(word, (int64_t)(uintptr_t)w, memory_order_relaxed);
    /* What is read after it is read after it: it is this thread alone that must see so. */
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void os_watch_unmark(_Atomic(int64_t) *word) { atomic_store_explicit(word, 0, memory_order_relaxed); }

/* 1: there was no break since the last mark. */
static inline int os_watch_unbroken(const _Atomic(int64_t) *word, const struct os_watch *w)
{
    return word64_is(word, (int64_t)(uintptr_t)w);
}

#endif /* STRATA_OS_WATCH_H */
