/* redis_cluster.h - a Redis Cluster behind the functions of a link: redis_link.c hands over what was opened as one.
 *
 * The same promises as a link's, with these differences.  Requests are copied, for a node may send them elsewhere.  Those of one
 * slot stay in order, also where the slot changes its node: see redis_lane.c.  A node that is away fails what is asked of it
 * alone. */
#ifndef STRATA_LINK_REDIS_CLUSTER_H
#define STRATA_LINK_REDIS_CLUSTER_H
#include "src/link/redis_link.h"

struct redis_cluster;

/* The strings of `options` are borrowed until it is closed. */
int strata__redis_cluster_open(struct redis_cluster **out, const struct redis_link_options *options, strata_error *err);
void strata__redis_cluster_close(struct redis_cluster *cl);
void strata__redis_cluster_abandon(struct redis_cluster *cl);
/* strata__redis_rouse() for each node, and the map is asked for anew. */
void strata__redis_cluster_rouse(struct redis_cluster *cl);
void strata__redis_cluster_submit(struct redis_cluster *cl, struct redis_request *const *requests, size_t count);
void strata__redis_cluster_call(struct redis_cluster *cl, struct redis_request *request);
int strata__redis_cluster_settle(struct redis_cluster *cl, int64_t timeout_ms, strata_error *err);
int strata__redis_cluster_nodes(struct redis_cluster *cl, int64_t timeout_ms, uint32_t *out, size_t room,
                                size_t *out_count, strata_error *err);
void strata__redis_cluster_counts(struct redis_cluster *cl, struct redis_link_counts *out);

#endif /* STRATA_LINK_REDIS_CLUSTER_H */
