/* strata/policy.h - how long a value is fresh, stale, negative, and how long a caller waits.
 * Part of the stable API. */
#ifndef STRATA_POLICY_H
#define STRATA_POLICY_H
#include "strata/base.h"
#include "strata/zone.h"
STRATA_BEGIN_DECLS

/** Which loads belong together, for what protects the origin. */
enum {
    STRATA_SCOPE_CACHE = 1,     /**< all of the cache */
    STRATA_SCOPE_NAMESPACE = 2, /**< of the namespace that the call is made on */
    STRATA_SCOPE_LOADER = 3,    /**< of the same loader function and context.  For contexts that stay: not where each call has its own,
                                     as a lambda of C++ has */
    STRATA_SCOPE_KEY = 4        /**< of one key */
};

/** What becomes of a load past its limit. */
enum {
    STRATA_OVERFLOW_REJECT = 1, /**< its callers get what stale_if_error_ms allows, or STRATA_ELIMIT */
    STRATA_OVERFLOW_BYPASS = 2  /**< it runs all the same, and does not count */
};

/**
 * When what is loaded or set ends to be fresh, where that is for the application to say (strata_policy.align): called once for each
 * value that is stored, and not for "absent".
 * @param now_ms when its load began, or it was set: Unix time in milliseconds
 * @param key    as callers name it; borrowed for the call
 * @return Unix time in milliseconds; what is past already is fresh for 1 ms; STRATA_FOREVER: never.  0: no answer for this key,
 *         align_ms or ttl_ms counts.
 * Threads: any, several at once: the one that loads or sets.  No lock is held.  It must return at once, and not call the cache; of C++,
 * not throw.
 */
typedef int64_t (*strata_align)(int64_t now_ms, strata_slice key, void *ctx);

/**
 * One struct, used at four levels: cache, namespace, call, and the loader's own word (strata_load_set_policy).
 * In each field 0 inherits from the level before, STRATA_OFF switches off what was inherited.
 * An entry runs through the states
 *   fresh -> early (refresh ahead) -> stale -> error-only -> keep -> gone.
 * Both stale windows, and the keep window, count from the end of freshness.
 */
typedef struct strata_policy {
    size_t size;                       /**< sizeof this struct; the INIT macro sets it */
    int64_t ttl_ms;                    /**< fresh for so long; default 3,600,000 (1 h); STRATA_FOREVER never expires;
                                            STRATA_OFF: do not store */
    int64_t stale_while_revalidate_ms; /**< after that served at once as STRATA_STALE while one refresh runs; default off */
    int64_t stale_if_error_ms;         /**< served as STRATA_STALE when the load fails or times out; default off */
    int64_t keep_ms;                   /**< not served, but kept for strata_load_not_modified(); default off */
    int64_t negative_ttl_ms;           /**< how long "absent" is remembered; default off */
    int64_t refresh_ahead_ms;          /**< so long before the end of freshness a hit starts a refresh; default off */
    int64_t soft_timeout_ms;           /**< after that a stale value is served if there is one, and the load goes on; at most
                                            this policy's hard_timeout_ms; default off */
    int64_t hard_timeout_ms;           /**< after that the caller gets STRATA_ETIMEDOUT, or a stale value; default off */
    int64_t refresh_timeout_ms;        /**< after that a background refresh is cancelled and forgotten; default 30,000 */
    int64_t retry_ms;                  /**< after a failed load, or a hard timeout, serve stale for so long before the next try;
                                            default 1,000 */
    int32_t background_completion;     /**< STRATA_ON: a load that passed its hard timeout may still store its value; default off */
    int32_t single_flight;             /**< STRATA_OFF: every caller loads for itself; default on */
    int64_t jitter_ms;                 /**< what is loaded or set is fresh for up to so much longer or shorter, at least 1 ms, so that what
                                            came together does not go together; drawn once for each entry, "absent" too, and
                                            the same in all layers and nodes.  STRATA_FOREVER stays.  Default off */
    int32_t refresh_ahead_percent;     /**< 1 to 99: refresh_ahead_ms as a share of the time for which it is fresh; the longer
                                            of the two counts; default off */
    int32_t xfetch;                    /**< STRATA_ON: the early refresh is drawn: each read with a loader starts one with a chance that
                                            grows towards the end of freshness, and with what the last load took (as in
                                            "Optimal Probabilistic Cache Stampede Prevention"): keys that are read more, or
                                            load longer, are refreshed earlier, and not all at once.  refresh_ahead_ms and _percent
                                            count for nothing then.  What was set, not loaded, has no early refresh.  For
                                            a cache or namespace, or in all calls: who reads draws.  Default off */
    int64_t align_ms;                  /**< fresh, instead of for ttl_ms, until the next time at which clocks show a multiple of this,
                                            or are put forward past one: 86,400,000 is until midnight, 3,600,000 until the hour.
                                            Counted from midnight; longer than a day, from that of 1970-01-01, a Thursday.
                                            A level that says ttl_ms, and not this, has its ttl_ms.  jitter_ms only makes it
                                            earlier.  "Absent" is not aligned.  Default off */
    const strata_zone *align_zone;     /**< whose clocks; borrowed, outlives the cache; NULL inherits, and is UTC at last */
    int64_t uncacheable_ms;            /**< after a load whose value is not stored (strata_load_decline(), or a loader that says
                                            ttl_ms STRATA_OFF), each caller loads the key for itself for so long, and waits for no
                                            other: what is not stored would be loaded for one after the other.  Ends early
                                            once something is stored.  Remembered by this process, for 16,384 keys.  Default off */
    int64_t layer_ttl_ms[8];           /**< by layer, the nearest first: what is put there is held for no longer from then on, stale windows
                                            and all, as with the layer's own max_ttl_ms, of which the shorter counts.  Who reads
                                            an entry up from a slower layer puts it into the nearer ones by his own policy:
                                            what shall hold for all is said at the cache or namespace.  Default off */
    int32_t breaker_failures;          /**< a breaker: after so many failed loads in a row no loader is called for breaker_open_ms; then
                                            one is, as a probe, while the others are still refused; its success lets all
                                            go on, its failure refuses them for as long again.  Loads that ran side by side
                                            and failed are one failure.  Who is refused gets what stale_if_error_ms allows,
                                            or STRATA_EBREAKER.  "Absent" is a success; what only has no memory, or ends with
                                            the cache, is neither.  Invalidations leave it as it is.  Default off */
    int32_t breaker_scope;             /**< which loads share a breaker: STRATA_SCOPE_...; default STRATA_SCOPE_NAMESPACE */
    int64_t breaker_open_ms;           /**< default 30,000 */
    const char *breaker_name;          /**< all loads of the cache that name it share it, whatever breaker_scope says: 1 to 63 bytes,
                                            borrowed, outlives the cache; default none.  The failures and the time are those of
                                            who asks last.  Kept by this process: 10,000 breakers that have failed loads to
                                            remember; more, and those that were asked longest ago are forgotten */
    int32_t admit;                     /**< STRATA_OFF: what is set or loaded, or found in a slower layer, takes the place of what a memory
                                            layer holds of the key, and is not put there where it holds none: a pass over
                                            many keys does not push out those that are read.  Slower layers get it as ever.
                                            A set that so ends up nowhere is STRATA_MISS.  Default on */
    int32_t max_waiting;               /**< loads that may wait in one queue; default 10,000 */
    int32_t max_loads;                 /**< loads that run at once; further ones wait their turn.  Default off */
    int32_t rate_loads;                /**< loads that begin in rate_ms, in any stretch of that length; further ones wait until so many
                                            have not, and up to two sixteenths of rate_ms more.  Default off */
    int64_t rate_ms;                   /**< default 1,000 */
    int32_t limit_scope;               /**< which loads count together: STRATA_SCOPE_...; default STRATA_SCOPE_CACHE */
    int32_t limit_overflow;            /**< STRATA_OVERFLOW_...: what becomes of a load that may not wait, or has waited too long;
                                            default STRATA_OVERFLOW_REJECT */
    int64_t queue_ms;                  /**< how long a load waits for its turn, the callers' timeouts aside; default 5,000; STRATA_OFF: not at
                                            all; STRATA_FOREVER.  No thread waits but that of a caller */
    const char *limit_name;            /**< a bucket: all loads of the cache that name it count together, whatever limit_scope says: 1 to
                                            63 bytes, borrowed, outlives the cache; default none.  The bounds are those of who
                                            asks last.  A call of a bulk loader is one load, but by key, where a key that must
                                            wait is loaded by a call of its own.  What a loader loads itself counts, and never waits */
    int32_t sliding;                   /**< STRATA_ON: a hit makes what is loaded or set fresh for its ttl_ms (as it was drawn) once
                                            more, from then on, in every layer that holds it: near ones at once, slower ones
                                            in the background, and a server only where the very entry that was read still
                                            stands (one that cannot tell is left as it is).  What was deleted, banned or
                                            replaced stays so.  Only what is fresh is extended, and not "absent", nor what
                                            align_ms has aligned.  Stored with the entry: whose hit it is does not matter.
                                            Default off */
    int32_t sliding_percent;           /**< 1 to 100: a hit does so once this share of the time has passed since the last did, so
                                            that hits don't write all the time; default 10 */
    int64_t sliding_max_ms;            /**< fresh for no longer than so since it was loaded or set, whatever is read; default off */
    int64_t load_limit_ms;             /**< after that a load is detached: its callers get a stale value, if any window holds one, or
                                            STRATA_ETIMEDOUT; the key is free for another load, and its place in max_loads for another;
                                            a breaker counts a failure.  Loaders run on workers then: one that blocks keeps its worker,
                                            and where all are kept nothing else goes on, so one that may hang had better return
                                            STRATA_PENDING.  Default off */
    int32_t late_result;               /**< what a detached load brings after all: STRATA_ON: stored, unless the key was written, invalidated
                                            or loaded meanwhile; where a layer gives leases it is dropped in any case, since another node
                                            may have the lease.  STRATA_OFF: dropped, and its loader is told that it is cancelled.
                                            Default off */
    int32_t resident;                  /**< STRATA_ON: what is set or loaded, or found in a slower layer, stays in a memory layer: eviction does
                                            not choose it (others call such an entry pinned, or of priority "never remove").  It
                                            expires, and is deleted, banned and cleared, as any other; counts against the budget;
                                            and is at most resident_percent of that (strata_memory_options).  What is more is held
                                            as any entry is, and is no error: `unkept` in strata_layer_stats.  Who is resident stays
                                            so in what replaces it by a policy that says nothing; STRATA_OFF ends it.  "Absent" is
                                            never resident.  A hit costs nothing more.  Default: neither, which is off for what is
                                            new */
    int32_t adaptive;                  /**< STRATA_ON: what is loaded is fresh for longer the more its key is read: for adaptive_step_ms
                                            more for each adaptive_hits hits, up to adaptive_max_ms.  Hits of this process count, of any
                                            layer; half of them are forgotten with each load, so that a key that cools is fresh for
                                            ttl_ms again.  They are the key's, not its value's: no delete, clear, ban or expire, here or
                                            on another node, takes any.  jitter_ms comes on top; align_ms replaces it; a set has its
                                            ttl_ms.  For a cache or namespace: a call, or a loader, may switch it off, and say
                                            by how much.  strata_options.adaptive_profiles bounds for how many keys.  Default off */
    int32_t adaptive_hits;             /**< default 3 */
    int64_t adaptive_step_ms;          /**< default: half of ttl_ms */
    int64_t adaptive_max_ms;           /**< default: ttl_ms and four steps */
    strata_align align;                /**< says, instead of ttl_ms and before align_ms, when a value ends to be fresh.  jitter_ms only makes
                                            it earlier; stale windows count from there; sliding counts for nothing.  A level that says
                                            ttl_ms or align_ms (STRATA_OFF, too), and not this, has those.  Only code can give it, no
                                            URL.  NULL inherits; default none */
    void *align_ctx;                   /**< handed to it; borrowed, outlives the cache */
    int32_t cost_us;                   /**< what a load counts as taking, in microseconds, for a memory layer with STRATA_EVICT_COST; a
                                            loader says so of its key by strata_load_set_policy(), a set of what it sets; up to
                                            2,000,000,000.  Need not be a time: what counts is how many times another one's.
                                            Stored with the entry in every layer; but what a memory layer tells of an entry (a snapshot,
                                            what it evicts into the layer below) is without it.  Default STRATA_OFF: what the loader took */
    uint32_t reserved;                 /**< 0 */
    int64_t write_behind_ms;           /**< a set is in the memory layers of this node when it returns, as STRATA_PENDING, and in the layers
                                            below within so long: see "Write-behind" in strata/cache.h.  For strata_set(), _tagged,
                                            _object, _many and their asynchronous twins.  Default off */
} strata_policy;

/** A policy that inherits everything. */
#define STRATA_POLICY_INIT { sizeof(strata_policy), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, { 0 }, 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, 0, 0, 0 }

STRATA_END_DECLS
#endif /* STRATA_POLICY_H */
