/* redis_list.h - the list of bans in the store: every node's, in the order in which the store took them.
 *
 * A ban's position is the store's time in microseconds, made to grow.  What a node stores carries the position up to which it
 * knew the list when it began to load.  The list comes with every look after the life: at each connect, before anything that was
 * queued is asked, and every LIST_CHECK_MS that the layer is in use, or a bus beats.  It has a bound; what was
 * forgotten is banned as a whole, by position.  A ban that could not be sent waits, and goes with the next look: one that
 * its node sees to every LIST_CHECK_MS, until it has arrived.
 *
 * A Cluster has no list, for there is no order among its nodes. */
#ifndef STRATA_LAYER_REDIS_LIST_H
#define STRATA_LAYER_REDIS_LIST_H
#include <stdatomic.h>

#include "src/os/os_lock.h"
#include "strata/error.h"
#include "strata/sys/layer.h"

struct redis_layer;
struct redis_told;

enum { LIST_BYTES = 128 * 1024, LIST_OWED = 32, LIST_OWN = 64, LIST_KNOWN = 16 };

struct redis_list_note {
    unsigned char *bytes;
    size_t size;
};

/* All zero is unknown. */
struct redis_list {
    struct os_lock lock;
    _Atomic(uint64_t) known;
    uint64_t own[LIST_OWN]; /* positions that ours were given: a ring; lock */
    uint32_t own_count;
    struct redis_list_note owed[LIST_OWED]; /* lock */
    uint32_t owed_count;
    int owes_all; /* there was no room: everything; lock */
    int owed_out; /* owed ones that are on their way; lock */
    int settled;  /* what was owed when the cache began to close was sent; of the thread that closes it */
    int ticking;  /* somebody looks until nothing is owed; lock */
};

void strata__redis_list_deinit(struct redis_layer *r);
/* The position up to which it is known, and the last one that was heard of from elsewhere: a peer, the disk, the answer to a ban. */
strata_slice strata__redis_list_known(struct redis_layer *r, unsigned char out[LIST_KNOWN]);
/* It came with an answer. */
void strata__redis_list_came(struct redis_layer *r, const struct redis_told *told);
/* The layer's ban(). */
int strata__redis_layer_ban(strata_layer *layer, strata_ban_op *what, strata_error *err);
/* How many bans are yet to be sent, or to arrive. */
uint64_t strata__redis_list_owed(struct redis_layer *r);
/* The layer's settle(). */
int strata__redis_list_settle(strata_layer *layer);
void strata__redis_layer_heard(strata_layer *layer, uint64_t store_position);

#endif /* STRATA_LAYER_REDIS_LIST_H */
