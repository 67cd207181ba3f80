/* redis_sweep.h - what a ban of this node's matched is removed from the server, in the background.
 *
 * Housekeeping: what is banned is not served, whether it stands there or not.  So a walk may be left off at any time (the cache is
 * closed, the process dies, there are too many): what stays has an end of its own.
 *
 * Page by page, with a pause between them; each page is a SCAN, whose keys are compared here, and a script, which removes those
 * that are provably older than the ban (redis_script.c).  One walk at a time, on a worker that is busy for one page. */
#ifndef STRATA_LAYER_REDIS_SWEEP_H
#define STRATA_LAYER_REDIS_SWEEP_H
#include <stdatomic.h>

#include "src/os/os_lock.h"
#include "strata/sys/layer.h"

struct redis_layer;
struct redis_walk;

enum { SWEEPS_MOST = 16, SWEEP_TAGS_MOST = 64 };

/* All zero is nothing to do. */
struct redis_sweep {
    struct os_lock lock;
    struct redis_walk *todo[SWEEPS_MOST]; /* oldest first; lock */
    uint32_t count;                       /* lock */
    int running;                          /* somebody is at it, or will be; lock */
    struct redis_walk *walk;              /* whoever runs has it */
    _Atomic(uint64_t) swept;              /* relaxed: a counter */
};

/* A ban was issued by this node, and has this position in the store's list (a Cluster has none: 0). */
void strata__redis_sweep_add(struct redis_layer *r, const strata_ban_op *ban, uint64_t position);
/* It begins, where there is something to do.  Not from the link's thread: on one that holds the cache open. */
void strata__redis_sweep_start(struct redis_layer *r);
void strata__redis_sweep_deinit(struct redis_layer *r);

#endif /* STRATA_LAYER_REDIS_SWEEP_H */
