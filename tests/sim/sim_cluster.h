/* sim_cluster.h - the nodes of a simulation: caches over one store, an origin that they load from, and calls that are judged.
 *
 * Every call is asynchronous.  A loader answers at once, sleeps on its worker, or completes later; a node that is frozen goes on with
 * that when it runs again. */
#ifndef STRATA_TESTS_SIM_CLUSTER_H
#define STRATA_TESTS_SIM_CLUSTER_H
#include "strata/strata.h"
#include "tests/sim/sim_history.h"
#include "tests/support/sim_bus.h"

enum { CLUSTER_KEYS = 3, CLUSTER_CALLS = 2000, CLUSTER_BATCH = 5 };

/* Those that read come first. */
enum call_kind {
    CALL_GET,
    CALL_LOAD,
    CALL_GET_MANY,
    CALL_LOAD_MANY, /* one loader for all */
    CALL_LOAD_EACH, /* a loader for each */
    CALL_DELETE,
    CALL_SET,
    CALL_CLEAR,
    CALL_BAN_TAG,
    CALL_BAN_PREFIX,
    CALL_BAN_PATTERN
};

struct cluster_options {
    int64_t load_most_ms; /* loads take up to so long */
    int64_t tombstone_ms;
    strata_policy policy;
    uint32_t fail_loads_in; /* one load of so many fails; 0: none does */
    int short_keys;         /* 1: too short for the shortest way of a hit */
    /* Nodes with a memory hear of each other, and are held to the stated bound; NULL: they do not. */
    const struct sim_net_options *bus;
    strata_coherence_options coherence;
};

void cluster_open(const struct cluster_options *options);
/* One more node; its number.  `memory` 0: it reads the store alone, and is held against everybody's writes. */
int cluster_join(int memory);
/* Nodes that were not closed, and have not crashed: their number, in out[]. */
size_t cluster_alive(int *out);
const char *cluster_key(size_t key);
strata *cluster_cache(int node);
int cluster_has_memory(int node);

/* Starts a call; nothing where it may not be made now (one write of a key at a time).  CALL_BAN_TAG of the key CLUSTER_KEYS is of the tag that
 * all have. */
void cluster_call(int node, enum call_kind kind, size_t key, const strata_policy *policy);
/* The same for CALL_GET_MANY, CALL_LOAD_MANY and CALL_LOAD_EACH of up to CLUSTER_BATCH keys, which may be equal; each is judged by itself. */
void cluster_call_many(int node, enum call_kind kind, const size_t *keys, size_t count, const strata_policy *policy);
/* Its process ends at this moment. */
void cluster_crash(int node);
/* strata_close(). */
void cluster_leave(int node);
/* The bus of nodes that have one, and a node's place there; NULL: there is none. */
struct sim_net *cluster_bus(int node, int *out_member);
/* How many calls are not answered yet, those of crashed nodes aside. */
size_t cluster_calls_open(void);
/* Closes what is left. */
void cluster_close(void);

struct cluster_seen {
    uint64_t reads, values, stale, loads, writes, writes_ok, writes_failed, leases, lease_waits, leases_lost, fenced,
        behind, batches, batched; /* calls for many keys; reads that were in them */
};
extern struct cluster_seen cluster_seen;

#endif /* STRATA_TESTS_SIM_CLUSTER_H */
