/* unleased.h - how many loads run at once that no lease holds back.
 *
 * While the layer that gives leases can't be asked, every node loads for itself, and all that was held there misses: so the
 * origin is protected by a bound of each process (max_unleased_loads).  Who comes past it waits its turn, first come, first
 * served; the flight waits, no thread, and its callers' timeouts hold.
 *
 * That could hang: a loader that is in may wait for a load that stands in this queue, and so never leave.  Where it asks for that one on
 * its own thread, that is seen (frames.c), and the load passes the queue.  Where it waits in some other way (for a thread of its own, say)
 * it can't be seen: so where nobody has come in or left for a second, one more is let in, over the bound. */
#ifndef STRATA_CORE_UNLEASED_H
#define STRATA_CORE_UNLEASED_H
#include "src/base/list.h"
#include "src/core/locks.h"
#include "src/loop/executor.h"

struct root;
struct strand;

enum unleased_state { UNLEASED_OUT, UNLEASED_WAITS, UNLEASED_IN };

/* A load, or one call of a bulk loader: a part of a flight's. */
struct unleased_place {
    struct list_node link;        /* in the queue; its lock */
    struct strand *strand;        /* who goes on when it is let in */
    _Atomic(unsigned char) state; /* enum unleased_state; its lock to write */
};

struct unleased {
    struct key_mutex lock;
    struct list_node queue;
    uint32_t inside;
    int armed;
    int64_t moved_ms; /* when somebody was last let in, or left */
    struct timer timer;
    struct task task;
};

void strata__unleased_init(struct root *root);
/* 1: it is in, and leaves when it has loaded; 0: it waits, and its strand is woken when it is in. */
int strata__unleased_enter(struct root *root, struct unleased_place *place, struct strand *strand);
/* Nothing where it is not in. */
void strata__unleased_leave(struct root *root, struct unleased_place *place);
/* The cache closes: nobody waits any more. */
void strata__unleased_flush(struct root *root);

#endif /* STRATA_CORE_UNLEASED_H */
