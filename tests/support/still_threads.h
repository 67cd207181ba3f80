/* still_threads.h - before a test forks.
 *
 * A child has a copy of every lock as it was: one that another thread held is held for ever.  Ours are dealt with (and
 * tested); the address sanitizer's allocator is not, so a test that forks lets the threads it started come to rest. */
#ifndef STRATA_TESTS_STILL_THREADS_H
#define STRATA_TESTS_STILL_THREADS_H

/* Until all other threads of this process sleep.  Where /proc does not tell: returns at once. */
void wait_for_still_threads(void);

#endif /* STRATA_TESTS_STILL_THREADS_H */
