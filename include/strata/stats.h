/* strata/stats.h - what a cache has done so far.  Part of the stable API. */
#ifndef STRATA_STATS_H
#define STRATA_STATS_H
#include "strata/base.h"
#include "strata/error.h"
STRATA_BEGIN_DECLS

struct strata;

/**
 * Time that something took.  Memory hits are sampled (about one in 1,024), and so are gets of a cache whose one layer is
 * asked on the caller's thread, as a disk is (one in 16); everything else is counted each time.
 */
typedef struct strata_latency {
    uint64_t count;  /**< measurements */
    double mean_us;  /**< 0 while count is 0 */
    double max_us;
    double p50_us;   /**< from a histogram, within 7 % */
    double p99_us;
} strata_latency;

/** strata_layer_stats.breaker. */
enum {
    STRATA_BREAKER_CLOSED = 0,   /**< the layer is asked */
    STRATA_BREAKER_OPEN = 1,     /**< it failed too often in a row, and is left alone for a while */
    STRATA_BREAKER_HALF_OPEN = 2 /**< it is looked at, whether it is back */
};

/** One layer.  hits + misses = requests that reached it. */
typedef struct strata_layer_stats {
    size_t size;         /**< sizeof this struct, set by the caller */
    char name[32];       /**< the layer's own name, "memory" or what its options say */
    uint64_t hits;       /**< exact */
    uint64_t misses;     /**< exact; entries that were not servable count as misses */
    uint64_t puts;
    uint64_t removes;
    uint64_t entries;    /**< now */
    uint64_t bytes;      /**< now, everything included: keys, values, index, overhead, pinned leftovers */
    uint64_t max_bytes;  /**< the budget; 0 none */
    uint64_t evictions;  /**< entries that had to leave for want of room */
    uint64_t expirations; /**< entries that left because their time was over */
    uint64_t rejections; /**< puts that were passed through: for want of room, or because too many were on their way */
    uint64_t errors;     /**< what failed: reads and writes, each once, puts on a full disk included; damaged records */
    strata_latency latency; /**< of gets */
    uint64_t demotions;     /**< of the puts: entries that had left the layer above for want of room (STRATA_LAYER_DEMOTED) */
    uint64_t demotions_dropped; /**< entries that left it and did not get here: too many at once, or their key was in use */
    uint64_t foreign; /**< of the misses: bytes under the key that are not ours, damaged, or of a newer strata (shared layers) */
    /* Layers of other machines alone. */
    uint32_t breaker;         /**< STRATA_BREAKER_..., now */
    uint32_t unleased;        /**< 1: the store gives this node neither leases nor versions, for want of rights */
    uint64_t breaker_opened;  /**< how often it opened */
    uint64_t breaker_refused; /**< operations that were answered without asking the layer, because it was open */
    uint64_t queued_deletes;  /**< now: keys, clears and bans that the layer will be told of when it is back */
    uint64_t leases;          /**< loads that this node was given the right to */
    uint64_t leases_awaited;  /**< loads of other nodes that were waited for */
    uint64_t leases_lost;     /**< loaded values that were not stored, because something had happened to the key */
    uint64_t lives;           /**< how often the store was found to have lost its memory: emptied, restarted, failed over;
                                 in a Cluster, how many masters were met after the first, and each once more
                                 when that happened to it */
    char server[40];          /**< what the server that was connected to last calls itself: "Redis 7.0.15", "Valkey 8.1.1";
                                 empty: none yet, or INFO is forbidden */
    uint64_t swept;           /**< entries of a shared store that this node's bans took, removed there in the background */
    uint64_t share_of_bytes;  /**< max_bytes is a share of so much memory: a control group's limit, or the machine's; 0: it was given
                                   in bytes */
    uint64_t budget_bytes;    /**< of max_bytes, what may be taken now: less, while memory is short and the layer's `pressure` is on */
    uint64_t given_back_bytes; /**< pages that went back to the system, ever; they may have been taken again since */
    uint64_t pressure_shrinks; /**< how often the budget shrank */
    uint64_t pressure_grows;   /**< and grew again */
    uint64_t unadmitted;      /**< of memory: values that were not put there, because their policy has admit off and the key was not there */
    uint64_t residents;       /**< of `entries`: now resident (strata_policy.resident), which eviction does not choose */
    uint64_t resident_bytes;  /**< now: what those take, without the index */
    uint64_t unkept;          /**< entries that were to be resident and are not, or no longer: they would have been more than
                                   resident_percent of the budget */
    uint64_t share_breaks;    /**< of the evictions: entries within their namespace's share of memory, where there was nobody else */
} strata_layer_stats;
#define STRATA_LAYER_STATS_INIT \
    { sizeof(strata_layer_stats), { 0 }, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0, 0, 0, 0, 0 }, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0 }, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** One bus. */
typedef struct strata_bus_stats {
    size_t size;          /**< sizeof this struct, set by the caller */
    char name[32];        /**< the bus' own name, "redis_stream" or what its options say */
    uint32_t up;          /**< 1: it is subscribed, now */
    uint64_t published;   /**< messages that its server has taken */
    uint64_t failed;      /**< messages that it has not: they are sent again */
    uint64_t received;    /**< messages, own ones that came back included */
    uint64_t bytes_out;
    uint64_t bytes_in;
    uint64_t reconnects;  /**< after the first time */
    uint64_t lost;        /**< how often messages were, or may have been, lost */
    char server[40];      /**< what the server calls itself; empty: not known */
} strata_bus_stats;
#define STRATA_BUS_STATS_INIT { sizeof(strata_bus_stats), { 0 }, 0, 0, 0, 0, 0, 0, 0, 0, { 0 } }

/** A cache or a namespace.  Of a cache: all its namespaces together. */
typedef struct strata_stats {
    size_t size;            /**< sizeof this struct, set by the caller */
    uint64_t requests;      /**< gets and get_or_loads, one a key */
    uint64_t hits;          /**< served by a layer, fresh or stale; negative hits too */
    uint64_t misses;        /**< requests - hits */
    double hit_rate;        /**< hits / requests; 0 while there are none */
    uint64_t stale_serves;  /**< of the hits, STRATA_STALE; and after a failed or slow load */
    uint64_t negative_hits; /**< of the hits, STRATA_ABSENT */
    uint64_t loads;         /**< loader calls, one a key */
    uint64_t load_errors;
    uint64_t load_timeouts; /**< callers that passed a hard timeout, and refreshes that passed theirs */
    uint64_t joins;         /**< callers that shared another one's load */
    uint64_t refreshes;     /**< of the loads, in the background */
    uint64_t backfills;     /**< values copied up from a lower layer */
    uint64_t sets;
    uint64_t deletes;
    uint64_t expires;
    uint64_t clears;
    uint64_t fenced;        /**< loaded values not stored, because their key was invalidated meanwhile */
    uint64_t errors;        /**< failures of layers, buses and codecs */
    strata_latency load_latency;
    /* Of loads among nodes, where a layer gives leases (STRATA_LAYER_LEASES). */
    uint64_t leases;         /**< keys that this cache got the right to load */
    uint64_t lease_waits;    /**< of the hits and refreshes: another node had loaded the key, or did so meanwhile */
    uint64_t leases_lost;    /**< loaded values not stored anywhere, because another node wrote or deleted their key meanwhile */
    uint64_t lease_timeouts; /**< keys that another node did not come to an end with; callers here loaded them, too */
    uint64_t unleased_waits; /**< loads that waited for others of this cache, while no lease could be asked for
                                  (max_unleased_loads); in the cache's own stats, not in a namespace's */
    uint64_t breaker_opened;  /**< how often a breaker of loads (strata_policy.breaker_failures) opened */
    uint64_t breaker_refused; /**< loads that an open one refused */
    uint64_t conflicts; /**< strata_set_if() calls that found something else, and wrote nothing */
    uint64_t limit_waits;     /**< loads that waited for their turn (strata_policy.max_loads, rate_loads) */
    uint64_t limit_refused;   /**< loads that such a limit refused */
    uint64_t loads_detached;  /**< loads that ran for longer than load_limit_ms */
    /* Of sets with strata_policy.write_behind_ms.  sets_behind is the sum of what waits and the five after behind_passed. */
    uint64_t sets_behind;     /**< those that returned before the layers below memory had them */
    uint64_t behind_passed;   /**< those that went through at once: the queue was full, the store had said nothing yet, or another
                                   write of the key was at work */
    uint64_t behind_merged;   /**< a later set of the key came before they were written */
    uint64_t behind_written;  /**< they were written */
    uint64_t behind_dropped;  /**< the key was deleted, set otherwise, cleared or banned before, here or by another node */
    uint64_t behind_refused;  /**< the store held something newer than was known here when they were made */
    uint64_t behind_failed;   /**< a layer failed */
    uint64_t behind_queued;   /**< now on their way; in the cache's own stats, not in a namespace's */
    uint64_t behind_bytes;    /**< what these take; the same */
} strata_stats;
#define STRATA_STATS_INIT \
    { sizeof(strata_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0, 0, 0, 0, 0 }, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** Read the counters.  @param[in,out] out its size set; what the library does not know is zero.
 *  @return STRATA_OK, STRATA_EINVAL, STRATA_ECLOSED.  Threads: any.  Blocks: never. */
STRATA_API int strata_stats_get(struct strata *cache, strata_stats *out);

/** How many layers there are. */
STRATA_API size_t strata_layer_count(const struct strata *cache);

/** Which layer has this name (strata_layer_stats.name), the nearest if several do: for strata_policy.layer_ttl_ms, and the calls that
 *  take a layer's number.  @param[out] out its number, 0 is the nearest.
 *  @return STRATA_OK, STRATA_MISS (none has it), STRATA_EINVAL, STRATA_ECLOSED.  Threads: any.  Blocks: never. */
STRATA_API int strata_layer_index(struct strata *cache, const char *name, size_t *out);

/** Read one layer's counters; layer 0 is the nearest.  @return STRATA_OK, STRATA_EINVAL, STRATA_ECLOSED. */
STRATA_API int strata_stats_layer(struct strata *cache, size_t layer, strata_layer_stats *out);

/** Ask one layer, whether it is there and well: a server is really asked, on a new connection if need be, even while its breaker keeps others
 *  from it; what is in this process is always well.  For probes: a cache works on without a layer: what this answers is no reason to stop it.
 *  @return STRATA_OK; STRATA_EINVAL, STRATA_ECLOSED, STRATA_EFORKED; the layer's own: STRATA_ETIMEDOUT, STRATA_EIO,
 *          STRATA_ELAYER, with words.
 *  Threads: any.  Blocks: up to the layer's timeouts. */
STRATA_API int strata_ping(struct strata *cache, size_t layer, strata_error *err);

/** Set all counters and histograms back to zero.  @return STRATA_OK, STRATA_ECLOSED. */
STRATA_API int strata_stats_reset(struct strata *cache);

STRATA_END_DECLS
#endif /* STRATA_STATS_H */
