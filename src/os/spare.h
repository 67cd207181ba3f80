/* spare.h - one large block that a thread keeps when it gives it back, for its next request of about that size.
 *
 * malloc is quick for blocks of up to a kilobyte, which it keeps for each thread itself; above that a block that comes and goes is
 * cut from a free one and joined to it again each time, which is a twentieth of reading a small value from the page cache.
 * Threads: a block may be given back by any thread, which then keeps it.  What a thread keeps it frees when it ends. */
#ifndef STRATA_OS_SPARE_H
#define STRATA_OS_SPARE_H
#include <stddef.h>

#include "strata/sys/allocator.h"

enum { SPARE_LEAST = 1024, SPARE_MOST = 64 << 10 };

/* At least `bytes` bytes, as strata__alloc(); *out_room, at least `bytes`, is what spare_free() must be told.  NULL: out of
 * memory. */
void *strata__spare_alloc(const strata_allocator *mem, size_t bytes, size_t *out_room);
/* NULL is a no-op. */
void strata__spare_free(const strata_allocator *mem, void *block, size_t room);

#endif /* STRATA_OS_SPARE_H */
