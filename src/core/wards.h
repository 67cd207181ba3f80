/* wards.h - a table of what watches over loads: breakers, and limits.  Each is known by the hash of what it is for, and two of
 * the same hash share one.
 *
 * Bounded: where there is room for no more, the one that was asked for longest ago and that nobody holds is forgotten.  Who uses it
 * holds its lock. */
#ifndef STRATA_CORE_WARDS_H
#define STRATA_CORE_WARDS_H
#include <stdint.h>

#include "src/base/list.h"
#include "strata/sys/allocator.h"

enum { WARDS_MOST = 10000, WARD_CHAINS = 512 };

struct ward {
    struct list_node chain, age; /* the table's */
    uint64_t id;
    uint32_t users; /* who holds it */
};

struct wards {
    struct list_node *chains; /* NULL: there was none yet */
    struct list_node age;     /* those asked for longest ago first */
    uint32_t count;
};

/* NULL: it is not there. */
struct ward *strata__ward_find(struct wards *wards, uint64_t id);
/* The same, or a new one of so many bytes, zero behind its ward.  NULL: no memory, or all are held.  */
struct ward *strata__ward_make(struct wards *wards, const strata_allocator *mem, uint64_t id, size_t size);
/* Forget it: nobody holds it. */
void strata__ward_drop(struct wards *wards, const strata_allocator *mem, struct ward *ward);
void strata__wards_free(struct wards *wards, const strata_allocator *mem);

#endif /* STRATA_CORE_WARDS_H */
