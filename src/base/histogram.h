/* histogram.h - how long things took: counts in buckets whose width grows with the number.
 *
 * Each power of two is cut into 8 equal buckets, so that a bucket's middle is within 6.25 % of everything in it; below
 * 16 every number has its own.  Any unit; numbers of 2^40 and more share one bucket, which stands for max (max and sum
 * are exact).
 * Threads: every call from any thread at any time.  A reader sees each counter whole, but not all at one moment. */
#ifndef STRATA_BASE_HISTOGRAM_H
#define STRATA_BASE_HISTOGRAM_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_SUB_BITS = 3, HISTOGRAM_TOP_BIT = 40 };
/* 16 for 0..15, then 8 for each of the powers 2^4 .. 2^39. */
enum { HISTOGRAM_BUCKETS = 16 + ((HISTOGRAM_TOP_BIT - 4) << HISTOGRAM_SUB_BITS) };

/* All zero is empty. */
struct histogram {
    _Atomic(uint64_t) buckets[HISTOGRAM_BUCKETS];
    _Atomic(uint64_t) sum;
    _Atomic(uint64_t) max;
};

void strata__histogram_add(struct histogram *h, uint64_t value);
/* Add everything of `from`. */
void strata__histogram_merge(struct histogram *h, const struct histogram *from);
void strata__histogram_reset(struct histogram *h);
uint64_t strata__histogram_count(const struct histogram *h);
uint64_t strata__histogram_sum(const struct histogram *h);
uint64_t strata__histogram_max(const struct histogram *h);
/* The number that `share` (0 to 1) of all are at or below, within 7 %; never above max; 0 when empty. */
uint64_t strata__histogram_percentile(const struct histogram *h, double share);

#endif /* STRATA_BASE_HISTOGRAM_H */
