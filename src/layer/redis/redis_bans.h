/* redis_bans.h - the clears that this layer carried out, so that a put that began before one and comes after it is refused.
 *
 * Of this process' lives alone, and in memory alone.  At most 32: then they become one of everything, at the latest of their
 * positions, which refuses more than it must (those puts pass through), never less. */
#ifndef STRATA_LAYER_REDIS_BANS_H
#define STRATA_LAYER_REDIS_BANS_H
#include <stdatomic.h>
#include <stdint.h>

#include "src/os/os_lock.h"
#include "strata/sys/layer.h"

enum { REDIS_BANS_MOST = 32 };

struct redis_ban {
    uint64_t life;
    char *prefix; /* ours; size 0: everything */
    size_t prefix_size;
    uint32_t position;
};

/* All zero is empty. */
struct redis_bans {
    struct os_lock lock;
    _Atomic(uint32_t) newest; /* the highest position: what is not below it needs no lock */
    /* Clears up to this position are through.  What was asked before, while the keys were still being removed, may be answered with
     * what the clear is to take away: it counts as from before it. */
    _Atomic(uint32_t) swept;
    uint32_t sweeping, farthest; /* clears that are at work; how far those that ended came; lock */
    uint32_t count;              /* lock */
    struct redis_ban list[REDIS_BANS_MOST];
};

/* Without memory for the prefix it becomes one of everything. */
void strata__redis_ban(struct redis_bans *bans, const strata_allocator *mem, const strata_clear_op *what);
/* It has ended, well or not.  Called once for each strata__redis_ban(). */
void strata__redis_bans_swept(struct redis_bans *bans, uint32_t position);
/* A clear came that far, and was not carried out here. */
void strata__redis_bans_raise(struct redis_bans *bans, uint32_t position);
int strata__redis_banned(struct redis_bans *bans, strata_slice key, uint64_t life, uint32_t position);
void strata__redis_bans_deinit(struct redis_bans *bans, const strata_allocator *mem);

#endif /* STRATA_LAYER_REDIS_BANS_H */
