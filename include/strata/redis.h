/* strata/redis.h - a Redis or Valkey server as a layer that many processes share.  Part of the stable API. */
#ifndef STRATA_REDIS_H
#define STRATA_REDIS_H
#include "strata/base.h"
#include "strata/disk.h" /* STRATA_COMPRESS_... */
#include "strata/sys/layer.h"
STRATA_BEGIN_DECLS

/**
 * A Redis layer.  Start from STRATA_REDIS_OPTIONS_INIT, change what differs.  Strings are copied.
 *
 * Keys stand in the server as they are, behind the prefix; values behind a head that says how fresh they are (docs/formats.md).
 * A string under a key of ours that is not ours is a miss; what is no string is an error (WRONGTYPE); both stay until this process
 * stores that key.
 *
 * One script does what must be compared in the server (docs/decisions/0007): a key is loaded by one node at a time, what another
 * node deleted or set meanwhile is not overwritten by a load that comes late, and a server that was emptied, restarted or failed over is noticed
 * before anything from before is served.  Ages are by the server's clock: those of the machines do not matter.  The user needs
 * EVAL, EVALSHA, INFO, TIME, PUBLISH and SUBSCRIBE besides GET, MGET, SET, GETRANGE, SETRANGE, PTTL, PEXPIRE, DEL, UNLINK and SCAN, for keys and channels
 * that begin with the prefix; PING for strata_ping(); SELECT where url has a database, ROLE behind Sentinels, CLUSTER and ASKING in a Cluster.  Without scripts there is none of that but the storing (strata_layer_stats.unleased); without SUBSCRIBE
 * those who wait ask in pauses; without INFO failovers go unnoticed.  Each is said once, as an error of the layer.
 * In a Cluster each master is noticed by itself: one that was restarted or promoted serves nothing from before, and so does one that is given
 * a slot of another's: what moves with it is a miss until it is loaded again.
 */
typedef struct strata_redis_options {
    size_t size;                   /**< sizeof this struct; the INIT macro sets it */
    const char *url;               /**< "redis://[[user]:password@]host[:port][/database]", or
                                        "unix://[[user]:password@]/path/to/socket"; host may be "[::1]".  %40 is "@" in any
                                        part.  "redis+cluster://[[user]:password@]host[:port],host[:port]..." is a Cluster:
                                        some of its nodes, the others are found.
                                        "redis+sentinel://[[user]:password@]host[:port],host[:port].../master[/database]" is
                                        the server that these Sentinels (port 26379) call the master of that name.
                                        With "rediss" instead of "redis" the same over TLS (1.2 or newer), also to the
                                        Sentinels: the server's certificate is checked, for its host too.
                                        Default "redis://127.0.0.1:6379" */
    const char *prefix;            /**< in front of every key; clear and keys touch nothing else.  Default "strata:"; "" none,
                                        for a database that is the cache's alone */
    uint64_t max_value_bytes;      /**< larger values pass through, and none is unpacked to more; default 16 MiB; at most
                                        128 MiB */
    int64_t soft_timeout_ms;       /**< a read goes on without the server after that, all questions that it asks together: its
                                        gets, and asking for the lease of what is to be loaded, but not the wait for another node
                                        (lease_wait_ms).  Where nothing is left it asks no more.  Default 250; at most an hour.  A
                                        value that takes longer to arrive is never got; where two round trips take longer, nothing
                                        is loaded with a lease, nor stored here */
    int64_t timeout_ms;            /**< everything else has failed after that, each round trip of a clear for itself; default
                                        1,000; at most an hour.  A set or delete waits so long for a server that is away, until the
                                        breaker opens; a load does where no memory layer has its value first */
    int64_t connect_timeout_ms;    /**< to be connected and authenticated; default 1,000; at most an hour */
    uint32_t connections;          /**< shared by all threads, who travel pipelined; default 2; at most 64.  To each primary of
                                        a Cluster */
    uint32_t max_pending;          /**< requests that may be under way at once; more fail at once; default 100,000.  To each
                                        primary of a Cluster */
    uint32_t scan_count;           /**< keys looked at in one step when keys are listed or cleared; default 500; at most
                                        100,000 */
    int32_t use_del;               /**< STRATA_ON: DEL, which frees memory at once, instead of UNLINK; default off */
    int32_t allow_clear_all;       /**< STRATA_ON: strata_clear() may empty the whole database where the prefix is empty;
                                        default off: it refuses.  A clear of all that has to be made up for when the server
                                        is back (max_queued_deletes) is refused as well, and the layer is then left alone
                                        until the cache is opened again */
    int32_t cluster;               /**< STRATA_ON: the server in url is a node of a Cluster, as with "redis+cluster://"; default
                                        off */
    int32_t compression;           /**< STRATA_COMPRESS_...; default zstd, or none in a build without it.  Where it saves
                                        less than 15 % a value is stored as it is */
    uint32_t compression_level;    /**< as in strata_disk_options: 0 is the algorithm's default */
    int32_t tls_verify;            /**< STRATA_OFF: rediss:// talks to whoever answers there, which protects from nobody who
                                        can put himself between; default on */
    uint32_t breaker_failures;     /**< so many failures in a row open the breaker: the server is left alone; default 5.  What was
                                        asked at the same time fails as one */
    uint64_t compress_above_bytes; /**< smaller values are stored as they are; default 1,024, with a dictionary 64 */
    const char *dictionary;        /**< as in strata_disk_options: a trained dictionary to pack with, for small values that are
                                        alike.  Give it to all nodes, as one of `dictionaries`, before the first packs with
                                        it */
    const char *dictionaries;      /**< a directory of those to read with; what needs another is a miss (foreign), and an error
                                        that names its id */
    const char *sentinel_user;     /**< of the Sentinels themselves, with: */
    const char *sentinel_password; /**< theirs, where they want one; those in url are the master's */
    int64_t breaker_open_ms;       /**< then it is asked again, once; default 2,000; at most an hour */
    uint64_t max_queued_deletes;   /**< keys to be deleted when the server is back; more of them make it a clear of the prefix;
                                        default 10,000.  What was loaded meanwhile and could not be stored is among them, up to
                                        half: nobody knows whether it was */
    const char *tls_ca_file;       /**< certificates in PEM, one of whom has signed the server's; default those that OpenSSL
                                        trusts on this machine.  This and the next ones with rediss:// alone */
    const char *tls_ca_dir;        /**< the same as a directory, made with "openssl rehash"; both may be set */
    const char *tls_cert_file;     /**< our certificate and its chain in PEM, for a server that wants one; with tls_key_file */
    const char *tls_key_file;      /**< its private key in PEM, without a password */
    const char *tls_server_name;   /**< the name or address that the server's certificate is for; default the host in url.  Of
                                        a Cluster: of every node */
    int64_t lease_ms;              /**< of nodes that miss a key at once one loads, and the others wait for it; one that dies while it
                                        loads is succeeded after so long, one that lives renews its lease; default 30,000; at
                                        most an hour.  Longer than lease_wait_ms, as by default: who waited for the dead one
                                        loads by itself before.  STRATA_OFF: they all load */
    int64_t lease_wait_ms;         /**< how long a load waits for another node's, and then loads by itself, and stores nothing here;
                                        default 5,000; at most an hour */
    int64_t tombstone_ms;          /**< a deleted key leaves 18 bytes there for so long: longer than a load takes; default
                                        120,000; at least a second, at most a day */
    int64_t max_ttl_ms;            /**< what this process stores there is held for at most so long, fresh and stale; 0 no limit */
    const char *name;              /**< shown in stats and events; default "redis" */
    int32_t sweep;                 /**< what a hard ban of a prefix or pattern took is removed there, too, by the node that issued it,
                                        in the background: strata_layer_stats.swept.  It is not served either way; what stays, for
                                        there were more than 16 bans to be swept at once or the process ended, has an end of its own.
                                        STRATA_OFF: all of it stays.  Default on.  Not in a Cluster with an empty prefix, where only
                                        allow_clear_all allows it */
    int32_t sweep_tags;            /**< STRATA_ON: that of tags, too, up to 64 in one ban: each walks over all keys of its namespace and
                                        those below; default off */
    uint32_t sweep_count;          /**< keys looked at in one step of that; default 250; at most 10,000 */
    uint32_t reserved;             /**< 0 */
    int64_t sweep_pause_ms;        /**< between two steps; default 10; at most an hour */
    int32_t protection;            /**< STRATA_PROTECT_..., as in strata_disk_options: the server, and who can write to it, can neither change
                                        nor swap values.  What can't be opened is a miss (foreign), and an error with words.  All nodes
                                        need the same key.  Versions and the server's times are the server's, and not sealed.  Default none */
    uint32_t reserved2;            /**< 0 */
    const char *key_file;          /**< as in strata_disk_options */
    const char *old_key_file;      /**< as in strata_disk_options */
} strata_redis_options;
#define STRATA_REDIS_OPTIONS_INIT \
    { \
        sizeof(strata_redis_options), NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, 0, 0, \
            NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, NULL, NULL \
    }

/**
 * A Redis layer.  strata_open() does not fail where the server is away, and waits for it, because of the bus, at most
 * strata_coherence_options.open_wait_ms: while it is away, gets go on without it and fail where nothing
 * else has the value, and loads answer as ever.
 * @param options borrowed; NULL takes every default.
 * @return a layer; never NULL: one that could not be built remembers why, and strata_open() reports it: STRATA_EINVAL;
 *         STRATA_EUNSUPPORTED, a strata built without hiredis or, for rediss://, without OpenSSL; STRATA_ENOMEM.
 * Ownership: strata_open() takes it over; otherwise strata_layer_free().
 */
STRATA_API strata_layer *strata_redis_layer(const strata_redis_options *options);

STRATA_END_DECLS
#endif /* STRATA_REDIS_H */
