/* locks.h - core's mutex, and the one list of the lock order.
 *
 * A thread that holds a lock may take only those below it, and two of one line never at once:
 *
 *   1. tree         root->tree_lock: names, spaces and handles; serialises clears
 *   2. key lock     stripe->lock: flights and writes of the keys that hash to it
 *   3. shard        a memory layer's own, taken in submit() under the key lock; a disk layer's, and below it its log's and
 *                   its bans', taken in submit() under none of ours
 *   4. demotions    demotions->lock: what a memory layer evicted, on its way to the layer below
 *      behind       behind->lock: what was set, and is yet to be written
 *   5. strand       strand->lock: who runs a piece of work next
 *   6. driver       driver->lock: what a sleeping caller is to run, and whether it is done
 *   7. listeners    events->lock;  graph  root->graph_lock;  loads  root->delay_lock;  unleased  unleased->lock;
 *      warden  warden->lock: breakers and limits of loads;
 *      trouble  slot->trouble.lock: what failed last;  log  log->lock: how many lines of a kind;
 *      coherence    coherence->lock: queues, peers, trust; buses are called under none of ours
 *      bans         bans->lock: what is banned; the lurker asks under a shard's
 *   8. the executor's and a queue's own
 *
 * No lock is held across I/O, a user's callback or a wait.  "Layer is instant" means that its submit() and lookup() do
 * none of these, which is why they alone are called under a key lock. */
#ifndef STRATA_CORE_LOCKS_H
#define STRATA_CORE_LOCKS_H
#include "src/os/os_lock.h"

/* Held for some hundred nanoseconds.  All zero is free. */
struct key_mutex {
    struct os_lock lock;
};

static inline void key_mutex_init(struct key_mutex *m) { *m = (struct key_mutex){ 0 }; }
static inline void key_mutex_lock(struct key_mutex *m) { os_lock_take(&m->lock); }
static inline void key_mutex_unlock(struct key_mutex *m) { os_lock_give(&m->lock); }

#endif /* STRATA_CORE_LOCKS_H */
