/* lease_store.h - a store that several caches share, in memory, and the layers before it, which give leases: the contract of
 * STRATA_LAYER_LEASES carried out to the letter, slowly, and on demand wrongly.
 *
 * What is submitted to one layer is carried out in order, each operation at a moment of its own, and answered at another; with
 * delay 0 both happen before submit returns, unless it waits. */
#ifndef STRATA_TESTS_LEASE_STORE_H
#define STRATA_TESTS_LEASE_STORE_H
#include "strata/sys/layer.h"

struct lease_store;

/* `most_ms`: what carrying out and answering may take, each.  `wait_ms`: how long a LEASE waits. */
struct lease_store *lease_store_new(int64_t most_ms, int64_t wait_ms);
/* After its layers were closed.  Answers how many leases were got and never ended. */
size_t lease_store_free(struct lease_store *store);
strata_layer *lease_store_layer(struct lease_store *store);
/* The layer is closed with its store: for one that stands alone. */
void lease_store_own(strata_layer *layer);

/* From now on operations of this kind (STRATA_OP_...) fail with this status; STRATA_OK: no more. */
void lease_store_fail(struct lease_store *store, uint32_t kind, int status);
/* Once, right before the next operation of this kind is carried out. */
void lease_store_before(struct lease_store *store, uint32_t kind, void (*call)(void *ctx), void *ctx);
/* It can give no leases. */
void lease_store_no_leases(struct lease_store *store);
/* The holder of each lease is dead: the leases go, and what they PUT comes too late. */
void lease_store_kill_leases(struct lease_store *store);
/* A client that knows nothing of leases deletes everything. */
void lease_store_flush(struct lease_store *store);
/* From now on versions are microseconds of its clock, which it tells its layers' hosts: as a Redis does. */
void lease_store_keep_time(struct lease_store *store);
/* As after a failover: what is there stays, and versions are counted on from there in another life. */
void lease_store_new_life(struct lease_store *store, uint64_t versions);

struct lease_store_counts {
    size_t gets, puts, removes, leases; /* operations */
    size_t granted, ended, lost;        /* leases; `ended` by PUT or RELEASE */
    size_t released, backfills, refused_backfills;
    size_t refreshes; /* LEASE with STRATA_OP_REFRESH */
    size_t waiting;   /* now */
    size_t hurries;
    int64_t asked_ms, used_ms; /* of the last LEASE: strata_op.asked_ms, and how long before its submitting that was */
};
void lease_store_counts(struct lease_store *store, struct lease_store_counts *out);

/* A copy of what it holds of a storage key, readable: the size; SIZE_MAX where there is nothing. */
size_t lease_store_value(struct lease_store *store, strata_slice key, void *out, size_t room, strata_meta *meta);

#endif /* STRATA_TESTS_LEASE_STORE_H */
