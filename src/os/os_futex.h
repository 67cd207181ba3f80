/* os_futex.h - one thread sleeps on a word, others wake it.
 *
 * The word is 0 or 1 (signalled), starts at 0, and needs no init and no deinit.  An unpark that comes first is not lost;
 * several are one.  The sleeper may reuse or free the word as soon as park returned 0: unpark never reads or writes it
 * after the store that the sleeper saw. */
#ifndef STRATA_OS_FUTEX_H
#define STRATA_OS_FUTEX_H
#include <stdatomic.h>
#include <stdint.h>

/* Sleep until signalled, or until the exact monotonic clock passes deadline_us (INT64_MAX: none).
 * 0 signalled (and the word is 0 again), 1 deadline passed.  What was written before the unpark is visible. */
int strata__os_park(_Atomic(uint32_t) *word, int64_t deadline_us);
void strata__os_unpark(_Atomic(uint32_t) *word);

#endif /* STRATA_OS_FUTEX_H */
