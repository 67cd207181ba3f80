/* os_wake.h - a descriptor that one side makes readable and the other makes quiet again.
 *
 * Signals coalesce: any number of them before a clear costs one write.  Clear first, then look for work: a signal that
 * comes between the two is either seen by the look or makes the descriptor readable again. */
#ifndef STRATA_OS_WAKE_H
#define STRATA_OS_WAKE_H
#include <stdatomic.h>
#include <stdint.h>

struct os_wake {
    int read_fd;              /* for poll; close-on-exec, non-blocking */
    int write_fd;             /* the same one where the system has eventfd */
    _Atomic(uint32_t) raised; /* 1: a write was made, or is just being made, since the last clear */
};

/* 0 or an errno. */
int strata__os_wake_init(struct os_wake *wake);
void strata__os_wake_deinit(struct os_wake *wake);
/* Make it readable.  Threads: any. */
void strata__os_wake_signal(struct os_wake *wake);
/* Make it quiet.  Threads: one at a time. */
void strata__os_wake_clear(struct os_wake *wake);
/* Sleep until it is readable or the exact monotonic clock passes deadline_us (INT64_MAX: none).  0 readable, 1 passed. */
int strata__os_wake_wait(struct os_wake *wake, int64_t deadline_us);

#endif /* STRATA_OS_WAKE_H */
