/* counter.h - counters that many threads raise at every step, without a shared line.
 *
 * A set of counters is an array of cells, one cache line each.  The first COUNTER_OWNED cells belong to one thread
 * each (a process-wide slot number, taken on first use and given back when the thread ends): its thread raises a word
 * with a plain load and store.  Threads that found no slot share the cells after those, with atomic additions.  Exact
 * either way.  Only the owner writes a word, so a reset is the reader's business: it remembers what to subtract. */
#ifndef STRATA_BASE_COUNTER_H
#define STRATA_BASE_COUNTER_H
#include <stdatomic.h>
#include <stdint.h>

enum { COUNTER_OWNED = 16, COUNTER_SHARED = 4, COUNTER_CELLS = COUNTER_OWNED + COUNTER_SHARED, COUNTER_WORDS = 8 };

struct counter_cell {
    _Alignas(64) _Atomic(uint64_t) words[COUNTER_WORDS];
};

/* 0: no number yet; else cell index + 1. */
extern _Thread_local uint32_t strata__counter_slot;

/* Find a number for this thread. */
uint32_t strata__counter_join(void);

/* Call fn on each thread that gives its number back, before it does: who keeps where it counts must forget that.  One fn in all. */
void strata__counter_when_left(void (*fn)(void));

static inline uint32_t counter_index(void)
{
    uint32_t slot = strata__counter_slot;
    return (__builtin_expect(slot != 0, 1) ? slot : strata__counter_join()) - 1;
}

/* The words of `cells` that this thread alone raises; NULL: it has no number yet, or shares a cell. */
static inline _Atomic(uint64_t) *counter_own(struct counter_cell *cells)
{
    uint32_t index = strata__counter_slot - 1;
    return __builtin_expect(index < COUNTER_OWNED, 1) ? cells[index].words : NULL;
}

/* Raise one of counter_own(); the value before. */
static inline uint64_t counter_raise_own(_Atomic(uint64_t) *words, unsigned word)
{
    uint64_t old = atomic_load_explicit(&words[word], memory_order_relaxed);
    /* Release: whoever sees the end of a call counted also sees what the call did. */
    atomic_store_explicit(&words[word], old + 1, memory_order_release);
    return old;
}

#if defined(__SANITIZE_THREAD__)
#define COUNTER_PLAIN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define COUNTER_PLAIN 1
#endif
#endif

/* Raise a word that this thread alone writes, and say nothing: a load, and a store that releases.  On x86-64 one instruction,
 * which compilers don't make of the two; all stores release there. */
static inline void counter_step(_Atomic(uint64_t) *word)
{
#if defined(__x86_64__) && defined(__GNUC__) && !defined(COUNTER_PLAIN)
    __asm__ volatile("addq $1, %0" : "+m"(*word) : : "memory", "cc");
#else
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) + 1, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* Raise a word of this thread's cell (index from counter_index()) by one; the value before. */
static inline uint64_t counter_raise(struct counter_cell *cells, uint32_t index, unsigned word)
{
    if (__builtin_expect(index < COUNTER_OWNED, 1))
        return counter_raise_own(cells[index].words, word);
    return atomic_fetch_add(&cells[index].words[word], 1);
}

/* The same by `n`. */
static inline uint64_t counter_add(struct counter_cell *cells, uint32_t index, unsigned word, uint64_t n)
{
    if (__builtin_expect(index >= COUNTER_OWNED, 0))
        return atomic_fetch_add(&cells[index].words[word], n);
    uint64_t old = atomic_load_explicit(&cells[index].words[word], memory_order_relaxed);
    atomic_store_explicit(&cells[index].words[word], old + n, memory_order_release);
    return old;
}

uint64_t strata__counter_sum(const struct counter_cell *cells, unsigned word);

#endif /* STRATA_BASE_COUNTER_H */
