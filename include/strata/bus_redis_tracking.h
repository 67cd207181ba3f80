/* strata/bus_redis_tracking.h - a bus that listens to what a Redis or Valkey server tells of its keys.  Part of the stable API. */
#ifndef STRATA_BUS_REDIS_TRACKING_H
#define STRATA_BUS_REDIS_TRACKING_H
#include "strata/base.h"
#include "strata/sys/bus.h"
STRATA_BEGIN_DECLS

/**
 * A bus that only listens: to what the server itself tells of the keys of a Redis layer (CLIENT TRACKING).  It sees what any client does
 * to them, "redis-cli SET" too: sets, deletes, expiry, eviction, FLUSHALL.  Start from STRATA_REDIS_TRACKING_OPTIONS_INIT, change what
 * differs.  Strings are copied.
 *
 * url and prefix are those of the layer.  The server tells of such keys in all of its databases, and keeps nothing for who is away:
 * after each reconnect everything that is held counts as missed.  It says nothing of SWAPDB.  Bans of other nodes need a bus that carries
 * messages, beside it.
 *
 * The server tells either of all keys with the prefix, whoever holds them (broadcast mode), or, with per_key, of those alone that this
 * cache has read: it then remembers each in a table (tracking-table-max-keys), and this node hears of nothing else.  What a cache
 * of this process writes or loads is told, too, and costs one GET more a key.  Broadcast suits where most keys are held by most
 * nodes, per_key where many keys change that hardly anybody holds.
 *
 * In a Cluster each master is listened to, in broadcast mode, with protocol 2 on two connections each.  While slots move between masters that have been there nothing is missed;
 * one that is added or promoted makes what is held count as missed, once.  A Redis layer in the same cache is asked the same questions, so
 * that a master that others have left behind is believed by both until it stops (cluster-node-timeout).
 *
 * Needs Redis 6.0 or newer, or Valkey; the user needs HELLO, CLIENT TRACKING and, with protocol 2, CLIENT ID, SUBSCRIBE and the channel
 * "__redis__:invalidate"; in a Cluster CLUSTER SLOTS; with per_key CLIENT ID and INFO, and the layer's user INFO and CLIENT TRACKING.
 */
typedef struct strata_redis_tracking_options {
    size_t size;                /**< sizeof this struct; the INIT macro sets it */
    const char *url;            /**< as in strata_redis_options.  Default "redis://127.0.0.1:6379" */
    const char *prefix;         /**< the layer's.  Default "strata:"; "" all keys of the server */
    int64_t connect_timeout_ms; /**< to be connected, authenticated and told of keys; default 1,000; at most an hour */
    int64_t timeout_ms;         /**< the server answers a heartbeat within that; default 1,000; at most an hour */
    int64_t heartbeat_ms; /**< the server is asked so often whether it is there: a connection that is dead without having
                                        been closed is noticed after heartbeat_ms and twice timeout_ms.  Default 1,000; at most an
                                        hour */
    uint32_t protocol; /**< 3: RESP3's pushes, which need no rights to a channel, and hiredis 1.0 or newer; 2: a channel.
                                        Default 3 where hiredis can, else 2 */
    int32_t tls_verify;            /**< these as in strata_redis_options */
    const char *sentinel_user;     /**< of the Sentinels */
    const char *sentinel_password; /**< of the Sentinels */
    const char *tls_ca_file;       /**< these with rediss:// alone */
    const char *tls_ca_dir;
    const char *tls_cert_file;
    const char *tls_key_file;
    const char *tls_server_name;
    const char *name; /**< shown in stats, health and events; default "redis_tracking" */
    int32_t per_key;  /**< STRATA_ON: only of keys that this cache has read there; default off.  strata_open() wants one
                                        shared layer then, a Redis layer (else STRATA_EUNSUPPORTED), and one such bus
                                        (STRATA_EINVAL); while the layer is at another server than the bus, nothing is trusted */
    int32_t cluster;  /**< STRATA_ON: the server in url is a node of a Cluster; default off */
} strata_redis_tracking_options;
#define STRATA_REDIS_TRACKING_OPTIONS_INIT \
    { \
        sizeof(strata_redis_tracking_options), NULL, NULL, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
            NULL, 0, 0 \
    }

/**
 * A bus over CLIENT TRACKING.
 * @param options borrowed; NULL takes every default.
 * @return a bus; never NULL: one that could not be built remembers why, and strata_open() reports it: STRATA_EINVAL; STRATA_EUNSUPPORTED:
 *         per_key in a Cluster, a strata built without hiredis, without OpenSSL for rediss://, or with one too old for protocol 3; STRATA_ENOMEM.
 * Ownership: strata_open() takes it over; otherwise strata_bus_free().
 */
STRATA_API strata_bus *strata_redis_tracking_bus(const strata_redis_tracking_options *options);

STRATA_END_DECLS
#endif /* STRATA_BUS_REDIS_TRACKING_H */
