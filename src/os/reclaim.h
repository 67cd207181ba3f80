/* reclaim.h - safe memory reclamation for readers that take no lock.
 *
 * Each thread has one record.  A reader brackets its search with reclaim_enter/leave (two plain stores to its own
 * line), and protects what it found by writing its address into one of its pin slots before it leaves.  A writer that
 * unlinked something may free it once (1) every record that was inside a section when it looked has left it, and (2) no
 * pin slot holds the address.  The readers' stores need no fence: the writer makes them visible with membarrier(2)
 * (asymmetric fences, as in folly's hazptr and liburcu's "membarrier" flavour); where that is missing, and under TSan,
 * readers pay for a full fence.
 *
 * The idea is Michael's hazard pointers (2004) plus an epoch-like section that also protects tables.
 * Records are process-wide and type-stable: a record is never freed while the process lives, only passed on, so that
 * giving back a pin from another thread, or after its cache closed, touches valid memory. */
#ifndef STRATA_OS_RECLAIM_H
#define STRATA_OS_RECLAIM_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { RECLAIM_PINS = 32, RECLAIM_CELLS = 32, RECLAIM_CELL_WORDS = 8 };

struct reclaim_record;

#endif /* STRATA_OS_RECLAIM_H */
