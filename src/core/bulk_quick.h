/* bulk_quick.h - the short way of a bulk read: keys in the nearest layer's memory, a group at a time.
 *
 * What strata_get() does for one key before it thinks (see hit.c), for as many as the layer looks for at once: one reading of the
 * clock, one look at the gate and one step of each counter for all of them. */
#ifndef STRATA_CORE_BULK_QUICK_H
#define STRATA_CORE_BULK_QUICK_H
#include "src/core/core_impl.h"

struct quick_group {
    size_t count, found; /* so many items were looked at, and those found are answered */
    int64_t now_ms;
    uint64_t hashes[STRATA_QUICK_MOST];
};

/* Look for the first of these items.  0: for none, ask for the first as ever.  1: items[0 .. g->count) were looked at, and are
 * counted as begun: those found have value and status, and their calls are over; any other has what quick() says as its value, and its
 * call ends with strata__read_said() or counter_add(HOT_SLOW). */
int strata__quick_group(strata *cache, strata_item *items, size_t count, struct quick_group *g);

static inline int quick_found(const strata_value *said) { return (uintptr_t)said > (uintptr_t)STRATA_NOT_HERE; }

#endif /* STRATA_CORE_BULK_QUICK_H */
