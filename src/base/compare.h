/* compare.h - an atomic word compared where it stands: loads that acquire.
 *
 * Compilers load an atomic into a register and compare that: on x86-64 one instruction does both, and on the way of a hit each one
 * counts (docs/benchmarks.md). */
#ifndef STRATA_BASE_COMPARE_H
#define STRATA_BASE_COMPARE_H
#include <stdatomic.h>
#include <stdint.h>

/* Sanitizers don't see into an instruction. */
#if defined(__SANITIZE_THREAD__)
#define COMPARE_PLAIN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define COMPARE_PLAIN 1
#endif
#endif

#if defined(__x86_64__) && defined(__GNUC__) && defined(__GCC_ASM_FLAG_OUTPUTS__) && !defined(COMPARE_PLAIN)

/* All of them are asked so that 1 is the usual answer: a register that holds a 0 is kept by compilers for what wants a 0 later.
 * "memory": what comes after in the program is not read before.  `what` is a test of the flags: "e", "ne", "ae", "g". */
#define COMPARE_(instruction, what, is, word, with) \
    __asm__ volatile(instruction " %2, %1" : "=@cc" what(is) : "m"(*(word)), "re"(with) : "memory")

/* *w == x */
static inline int word32_is(const _Atomic(uint32_t) *w, uint32_t x)
{
    int is;
    COMPARE_("cmpl", "e", is, w, x);
    return is;
}

/* *w >= x */
static inline int word32_least(const _Atomic(uint32_t) *w, uint32_t x)
{
    int is;
    COMPARE_("cmpl", "ae", is, w, x);
    return is;
}

/* *w has some of these bits */
static inline int word64_has(const _Atomic(uint64_t) *w, uint32_t bits)
{
    int is;
    COMPARE_("testl", "ne", is, (const uint32_t *)(const void *)w, bits);
    return is;
}

/* *w == x */
static inline int word64_is(const _Atomic(int64_t) *w, int64_t x)
{
    int is;
    COMPARE_("cmpq", "e", is, w, x);
    return is;
}

/* *w > x */
static inline int word64_above(const _Atomic(int64_t) *w, int64_t x)
{
    int is;
    COMPARE_("cmpq", "g", is, w, x);
    return is;
}

/* *w == 0 */
static inline int address_is_none(const _Atomic(uintptr_t) *w)
{
    int is;
    COMPARE_("cmpq", "e", is, w, (int64_t)0);
    return is;
}

#else

#define COMPARE_(type, word) atomic_load_explicit((_Atomic(type) *)(uintptr_t)(word), memory_order_acquire)

static inline int word32_is(const _Atomic(uint32_t) *w, uint32_t x) { return COMPARE_(uint32_t, w) == x; }
static inline int word32_least(const _Atomic(uint32_t) *w, uint32_t x) { return COMPARE_(uint32_t, w) >= x; }
static inline int word64_has(const _Atomic(uint64_t) *w, uint32_t bits) { return (COMPARE_(uint64_t, w) & bits) != 0; }
static inline int word64_is(const _Atomic(int64_t) *w, int64_t x) { return COMPARE_(int64_t, w) == x; }
static inline int word64_above(const _Atomic(int64_t) *w, int64_t x) { return COMPARE_(int64_t, w) > x; }
static inline int address_is_none(const _Atomic(uintptr_t) *w) { return COMPARE_(uintptr_t, w) == 0; }

#endif

#endif /* STRATA_BASE_COMPARE_H */
