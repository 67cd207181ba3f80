/* bulk_quick.h - the short way of a bulk read: keys in the nearest layer's memory, a group at a time.
 *
 * What strata_get() does for one key before it thinks (see hit.c), for as many as the layer looks for at once: one reading of the
 * clock, one look at the gate and one step of each counter for all of them. */
#ifndef STRATA_CORE_BULK_QUICK_H
#define STRATA_CORE_BULK_QUICK_H
#include "src/core/core_impl.h"

struct quick_group {
    size_t count, found; /* so many items were looked at, and those found are answered; 0: none was */
    int64_t now_ms;
    uint64_t hashes[STRATA_QUICK_MOST];
};

/* Look for these items, as far as all are found: how many are answered, and their calls are over.  Where that is not all of them, the
 * next ones are those of `g`: the first alone where g->count is 0, of which is to be asked as ever; else so many, which are counted as
 * begun.  Those found are answered, and over; any other has what quick() said as its value, and ends with strata__read_said() or
 * counter_add(HOT_SLOW). */
size_t strata__quick_run(strata *cache, strata_item *items, size_t count, struct quick_group *g);

static inline int quick_found(const strata_value *said) { return (uintptr_t)said > (uintptr_t)STRATA_NOT_HERE; }

#endif /* STRATA_CORE_BULK_QUICK_H */
