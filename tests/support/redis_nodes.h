/* redis_nodes.h - several real servers together: a Cluster, or a master with a replica and sentinels; on free ports, in folders
 * of their own, and gone when the test is. */
#ifndef STRATA_TESTS_REDIS_NODES_H
#define STRATA_TESTS_REDIS_NODES_H
#include <stddef.h>

#include "tests/support/redis_server.h"

struct redis_link;

enum { CLUSTER_MASTERS = 3, CLUSTER_NODES = 6, CLUSTER_EXTRA = 7 };

/* The first three are masters, node 3 + i is the replica of node i. */
struct redis_nodes {
    struct redis_server servers[CLUSTER_EXTRA];
    struct redis_link *links[CLUSTER_EXTRA]; /* to each, as another program has them */
    size_t count;
};

/* `replicas`: 0 or 1 for each master.  Returns once every node says that all is well, and they agree. */
void redis_nodes_cluster(struct redis_nodes *n, int replicas);
void redis_nodes_stop(struct redis_nodes *n);
/* One more, by itself; its index.  Let it in. */
size_t redis_nodes_add(struct redis_nodes *n);
void redis_nodes_meet(struct redis_nodes *n, size_t node);
/* kill -9, and the link to it is closed. */
void redis_nodes_kill(struct redis_nodes *n, size_t node);
/* Until all that run say "cluster_state:ok". */
void redis_nodes_wait(struct redis_nodes *n);
/* Until all that run say the same of each other: who has which slots, since which epoch.  A slot that moves before that may end as
 * nobody's, for good: its new owner has not heard of the last epoch, takes none that is younger, and is told by a third that it is wrong. */
void redis_nodes_agree(struct redis_nodes *n);
/* The last step of moving a slot: it is at `to` for all of them, and they agree. */
void redis_nodes_end_move(struct redis_nodes *n, const char *slot, size_t to);
/* Its id, 40 digits. */
void redis_nodes_id(struct redis_nodes *n, size_t node, char out[64]);
/* Does it run, as a master? */
int redis_nodes_is_master(struct redis_nodes *n, size_t node);
/* FLUSHALL on each of those. */
void redis_nodes_flush(struct redis_nodes *n);

#endif /* STRATA_TESTS_REDIS_NODES_H */
