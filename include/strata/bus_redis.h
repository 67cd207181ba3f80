/* strata/bus_redis.h - buses over a Redis or Valkey server: Streams, Pub/Sub.  Part of the stable API. */
#ifndef STRATA_BUS_REDIS_H
#define STRATA_BUS_REDIS_H
#include "strata/base.h"
#include "strata/error.h"
#include "strata/sys/bus.h"
STRATA_BEGIN_DECLS

/**
 * A bus over Redis, or what speaks its protocol.  Start from STRATA_REDIS_BUS_OPTIONS_INIT, change what differs; 0 and NULL take the
 * defaults.
 *
 * Nodes are on one channel if their buses are of one kind, at one server, with one prefix and channel: give the bus what the layer has.
 * Everything is named under the prefix, so that a user who may use the layer's keys and channels may use these.
 */
typedef struct strata_redis_bus_options {
    size_t size;                   /**< sizeof this struct; the INIT macro sets it */
    const char *url;               /**< as in strata_redis_options: redis, rediss, unix, +cluster, +sentinel.  A "/database" does
                                        not tell Pub/Sub's channels apart.  Default "redis://127.0.0.1:6379" */
    const char *prefix;            /**< that of the layer whose keys are spoken of; default "strata:" */
    const char *channel;           /**< tells several channels under one prefix apart; default "bus"; at most 64 bytes */
    uint64_t max_length;           /**< Streams alone: the server keeps at least so many messages for nodes that are away or slow, some
                                        70 bytes each where they are small; who was away for longer has lost some, and is told.
                                        Default 100,000; 1,000 to 100,000,000 */
    int64_t timeout_ms;            /**< a message that the server has not taken after that has failed; default 1,000; at most an
                                        hour */
    int64_t connect_timeout_ms;    /**< to be connected and authenticated; default 1,000; at most an hour */
    uint32_t max_pending;          /**< messages that may be under way at once; more fail at once; default 100,000 */
    int32_t cluster;               /**< STRATA_ON: the server in url is a node of a Cluster; default off */
    int32_t tls_verify;            /**< these as in strata_redis_options */
    const char *sentinel_user;
    const char *sentinel_password;
    const char *tls_ca_file;
    const char *tls_ca_dir;
    const char *tls_cert_file;
    const char *tls_key_file;
    const char *tls_server_name;
    const char *name;              /**< shown in stats, health and events; default "redis_stream", "redis_pubsub" */
} strata_redis_bus_options;
#define STRATA_REDIS_BUS_OPTIONS_INIT \
    { \
        sizeof(strata_redis_bus_options), NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL \
    }

/**
 * Redis Streams (XADD, XREAD, XRANGE, XREVRANGE; Redis 5 and newer): ordered, and what came while a connection was away is replayed.
 * The stream is one key, the prefix, 0, ff and the channel.  What was trimmed, flushed, or lost by a failover before it was read is
 * noticed, and told as lost.
 * @param options borrowed; NULL takes every default.
 * @return a bus; never NULL: one that could not be built remembers why, and strata_open() reports it: STRATA_EINVAL;
 *         STRATA_EUNSUPPORTED, a strata built without hiredis or, for rediss://, without OpenSSL; STRATA_ENOMEM.
 * Ownership: strata_open() takes it over; otherwise strata_bus_free().
 */
STRATA_API strata_bus *strata_redis_stream_bus(const strata_redis_bus_options *options);

/**
 * Redis Pub/Sub (PUBLISH, SUBSCRIBE), and in a Cluster sharded Pub/Sub (SPUBLISH, SSUBSCRIBE; Redis 7 and newer): nothing is stored in the
 * server, and what is sent while a connection is away is lost, which the cache notices.
 * As strata_redis_stream_bus(); max_length is for Streams alone.
 */
STRATA_API strata_bus *strata_redis_pubsub_bus(const strata_redis_bus_options *options);

STRATA_END_DECLS
#endif /* STRATA_BUS_REDIS_H */
