/* demote.h - entries on their way from the memory layer that evicted them to the layer below (STRATA_LAYER_DEMOTED).
 *
 * An evicted entry becomes a note in a bounded queue; a worker puts one after the other into the layer below.  What keeps
 * superseded ones away (docs/decisions/0005-demotion.md):
 *
 *   it is noted under the shard's lock, so who writes its key after the eviction finds it in the queue, and cancels it there,
 *   under the key lock (demotion_cancel);
 *   the worker takes the key lock before it takes the note out of the queue for good, drops it if the key is busy, and else
 *   makes the key busy as a write does: what comes meanwhile waits until the put is done. */
#ifndef STRATA_CORE_DEMOTE_H
#define STRATA_CORE_DEMOTE_H
#include "src/core/flight.h"

/* Past either of these what is evicted is gone.  A value of any size is taken where nothing else waits. */
enum { DEMOTIONS_MOST = 4096, DEMOTION_BUCKETS = 1024 };
#define DEMOTION_BYTES_MOST ((size_t)8 << 20)

struct demotion_note;

struct demotion_bucket {
    struct demotion_note *first; /* lock */
    _Atomic(uint32_t) count;     /* lock to write */
};

struct demotions {
    struct key_mutex lock;
    struct root *root;
    uint32_t layer;         /* where they go */
    uint32_t count;         /* that wait; lock */
    size_t bytes;           /* of these, keys, values and what they cost; lock */
    struct list_node queue; /* oldest first; lock */
    int running;            /* the task is posted, runs, or waits for a put; lock */
    struct task task;
    _Atomic(uint64_t) done, dropped;
    struct demotion_bucket buckets[DEMOTION_BUCKETS]; /* by hash: those in the queue, and the one that the worker has */
};

/* Layer `layer` takes what the one above evicts.  STRATA_OK, STRATA_ENOMEM. */
int strata__demotions_new(struct root *root, uint32_t layer, strata_error *err);
/* The cache is closed, nobody is in it, and nothing is on its way any more: what memory holds and the layer below does not is
 * put there, on this thread.  1: the layer below had work, and may have posted more.  demote_close.c */
int strata__demotions_close(struct root *root);
/* In a child after fork: what is on its way stays behind. */
void strata__demotions_forget(struct root *root);
/* host->demote(). */
void strata__host_demote(strata_layer_host *host, const struct demotion *entry);
void strata__demotion_cancel(struct demotions *d, const strata_op *op);

/* The key of `op` has just been put into the layer of `slot`, or removed there: whatever that layer evicted of the key
 * before is superseded.  Under the key lock. */
static inline void demotion_cancel(const struct layer_slot *slot, const strata_op *op)
{
    struct demotions *d = slot->demotions;
    /* Relaxed: who evicted it held the shard's lock, which the operation has taken since. */
    if (d != NULL && atomic_load_explicit(&d->buckets[op->hash % DEMOTION_BUCKETS].count, memory_order_relaxed) != 0)
        strata__demotion_cancel(d, op);
}

#endif /* STRATA_CORE_DEMOTE_H */
