/* strata/cache.h - open a cache, look keys up, store, invalidate.  Part of the stable API. */
#ifndef STRATA_CACHE_H
#define STRATA_CACHE_H
#include "strata/base.h"
#include "strata/coherence.h"
#include "strata/error.h"
#include "strata/load.h"
#include "strata/log.h"
#include "strata/policy.h"
#include "strata/queue.h"
#include "strata/sys/allocator.h"
#include "strata/sys/codec.h"
#include "strata/sys/layer.h"
#include "strata/value.h"
STRATA_BEGIN_DECLS

/** A stack of layers, or a namespace of one.  Threads: every call on it is safe from any thread. */
typedef struct strata strata;

/** When a write has failed, of several layers: set, delete, expire and clear, alone, in bulk and asynchronous. */
enum {
    /** Where any layer fails: STRATA_ELAYER, though the others have carried it out.  What a layer forgets here, and its store is yet
     *  to hear of, is STRATA_PENDING. */
    STRATA_WRITE_DEFAULT = 0,
    /** Where a layer fails, and no other has carried it out.  Otherwise it is STRATA_OK, or STRATA_PENDING as above, and layers
     *  that failed are told of by their errors in stats and by STRATA_EVENT_ERROR alone: they may still serve what they had. */
    STRATA_WRITE_BEST_EFFORT = 1,
    /** Where any layer fails, or its store or a bus is yet to hear of it: STRATA_ELAYER instead of STRATA_PENDING.  A set that fails is
     *  taken back: it was readable until then, but when it returns, the key is out of every layer that can be reached, with
     *  its old value.  A layer that can't be reached holds what it held; this cache gets it no more where that layer says so (Redis
     *  does), and goes on telling it.  A delete or expire that fails is not undone. */
    STRATA_WRITE_STRICT = 2
};

/** How to open a cache.  Start from STRATA_OPTIONS_INIT, change what differs. */
typedef struct strata_options {
    size_t size;                       /**< sizeof this struct; the INIT macro sets it */
    strata_layer *const *layers;       /**< nearest first; open takes them over, also when it fails */
    size_t layer_count;                /**< 1 to 8 */
    const strata_policy *policy;       /**< the cache's own; borrowed for the call; NULL takes the defaults */
    const strata_codec *codec;         /**< borrowed, outlives the cache and its values; NULL: values are bytes */
    const strata_allocator *allocator; /**< borrowed, outlives the cache and its values; NULL is malloc */
    uint32_t workers;                  /**< threads for blocking loaders and background work; default 4, at most 256 */
    uint32_t max_queued;               /**< tasks that may wait for a worker, and loaded values that may be on their
                                            way to slower layers while their callers have them already; default
                                            10,000.  Of the latter no more than 16 MiB, or one */
    uint32_t max_flights;              /**< loads in progress that others can join; default 65,536; past it callers
                                            load for themselves */
    uint32_t max_key_bytes;            /**< default 1,024, at most 16,384 */
    uint64_t max_value_bytes;          /**< default 16 MiB */
    int32_t stats;                     /**< STRATA_OFF counts nothing; default on */
    uint32_t max_unleased_loads;       /**< where a layer gives leases: loads that may run at once while it can't be asked,
                                            so that an outage of it does not become one of the origin.  Default 64.
                                            Further ones wait their turn, as long as their callers' timeouts let them; where
                                            none ends for a second, one more begins.  A call of a bulk loader is one */
    int32_t write_policy;              /**< STRATA_WRITE_...: when a write has failed.  A layer that just has no room for a value has
                                            not, under any of them, nor carried it out */
    strata_bus *const *buses;          /**< what carries invalidations to and from other nodes; open takes them over, also when it
                                            fails.  Every message leaves by all of them.  Give two of a kind names of their own, by
                                            which events tell them apart */
    size_t bus_count;                  /**< 0 to 4.  0: a cache over Redis has a bus of Streams on that server by itself */
    const strata_coherence_options *coherence; /**< how it behaves with them; borrowed for the call; NULL takes the defaults */
    const char *generation;            /**< a name of 1 to 255 bytes that every entry carries: strata_generation_bump() invalidates all
                                            that do, in all namespaces and nodes that use the name.  Copied.  NULL none.  What was
                                            stored by who does not use it has none: give it to all nodes */
    strata_logger logger;              /**< what the cache has to say goes there, in words; NULL: to nobody, but for STRATA_LOG in the
                                            environment (strata/log.h) */
    void *logger_ctx;                  /**< handed to it */
    const char *log;                   /**< what the logger gets: "warn", the default; "info,bus=debug"; strata/log.h has the words.
                                            Borrowed for the call.  STRATA_EINVAL where a word is wrong, or there is no logger */
    uint32_t adaptive_profiles;        /**< keys whose hits are counted where a policy is adaptive, 8 bytes each, from the first such policy on;
                                            beyond that those that are read least go; default 100,000 */
    uint32_t write_behind_max_entries; /**< sets that may wait to be written behind (strata_policy.write_behind_ms): past it a set goes
                                            through at once.  Default 10,000 */
    uint64_t write_behind_max_bytes;   /**< and what they take, keys and values; default 64 MiB */
} strata_options;
#define STRATA_OPTIONS_INIT { sizeof(strata_options), NULL, 0, NULL, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, NULL, NULL, NULL, NULL, NULL, 0, 0, 0 }

/** How a namespace differs from its parent. */
typedef struct strata_namespace_options {
    size_t size;                 /**< sizeof this struct; the INIT macro sets it */
    const strata_policy *policy; /**< borrowed for the call; NULL inherits all */
    strata_loader loader;        /**< used by get_or_load calls that give none; NULL inherits, where bulk_loader is NULL, too */
    void *loader_ctx;            /**< handed to the loader, and to bulk_loader */
    const char *generation;      /**< as in strata_options, beside those of the namespaces above; NULL: those alone */
    strata_bulk_loader bulk_loader; /**< used by strata_get_or_load_many() calls that give none: one call for all keys that are missing.
                                      NULL: such calls have `loader` called for one key after the other.  It stands in for
                                      a `loader` that is NULL.  NULL inherits, where loader is NULL, too */
    int32_t get_loads;           /**< STRATA_ON: a wrapped loader.  strata_get(), strata_get_many() and their asynchronous twins, here and in the
                                      namespaces below, do what strata_get_or_load() and _many() without a loader do: what is
                                      missing is loaded, what is old is refreshed.  A loader is needed, here or above.
                                      strata_has(), _ttl(), _inspect() and strata_get_version() never load.  0 inherits; default off */
    int32_t memory_share_percent; /**< 1 to 90: a guaranteed share of each memory layer, in percent of its budget: what other namespaces put there
                                      evicts nothing of this one, nor of those below that have no share of their own, while these
                                      have no more than that.  What is not used is there for all, and comes back as this namespace
                                      grows.  All shares of a layer together are at most 90 %, and resident_percent gives way to
                                      them; at most 64.  Of the budget in force: it shrinks with that.  Kept by each shard for its part,
                                      so a namespace of few or very uneven entries has somewhat less; where max_entries is given, of the
                                      count.  "Absent" counts for none.  A hit costs nothing more.  Default: none */
    uint64_t memory_share_bytes; /**< the same in bytes, index and all; of both the more counts.  Default: none */
} strata_namespace_options;
#define STRATA_NAMESPACE_OPTIONS_INIT { sizeof(strata_namespace_options), NULL, NULL, NULL, NULL, NULL, 0, 0, 0 }

/** Which value a key has: no other one ever has the same, of this key.  To be compared, with both its fields. */
typedef struct strata_entry_version {
    uint64_t number; /**< 0: none */
    uint64_t life;   /**< whose number it is: of the store's life, or of this cache */
} strata_entry_version;

/** What strata_set_if() wants to be there. */
enum {
    STRATA_IF_ABSENT = 1,  /**< nothing that strata_get() would give: no value, or "absent".  No lock: see strata_set_if() */
    STRATA_IF_PRESENT = 2, /**< a value that strata_get() would give, whichever it is */
    STRATA_IF_VERSION = 3  /**< the value of strata_condition.version, fresh or not */
};

/** When a value is to be set. */
typedef struct strata_condition {
    size_t size;              /**< sizeof this struct; the INIT macro sets it */
    int32_t only;             /**< STRATA_IF_... */
    int32_t reserved;         /**< 0 */
    strata_entry_version version;   /**< STRATA_IF_VERSION: what strata_get_version(), or the set before, told */
    const strata_slice *tags; /**< of the value that is set, as in strata_set_tagged(); borrowed for the call; NULL none */
    size_t tag_count;
} strata_condition;
#define STRATA_CONDITION_INIT { sizeof(strata_condition), 0, 0, { 0, 0 }, NULL, 0 }

/** What strata_inspect() tells of a key. */
typedef struct strata_inspection {
    size_t size;          /**< sizeof this struct, set by the caller */
    int32_t state;        /**< STRATA_STATE_ in the nearest layer that holds it (strata/events.h) */
    int32_t negative;     /**< 1: the entry says "absent" */
    uint32_t layers;      /**< bit i: layer i holds it */
    int32_t loading;      /**< 1: a load is in progress */
    int64_t fresh_ms;     /**< still fresh for so long; 0 past it; STRATA_FOREVER */
    int64_t stale_ms;     /**< until the end of stale-while-revalidate */
    int64_t error_ms;     /**< until the end of stale-if-error */
    int64_t age_ms;       /**< since it was loaded or set */
    uint64_t value_bytes; /**< size of the value */
} strata_inspection;
#define STRATA_INSPECTION_INIT { sizeof(strata_inspection), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Opening and closing ---------------------------------------------------------------------------------------- */

/**
 * Open a cache.
 * @param[out] out the cache, owned by the caller: strata_close().  NULL on failure.
 * @param options  borrowed for this call.
 * @param[out] err what went wrong, in words; may be NULL (as in every call).
 * @return STRATA_OK; STRATA_EINVAL (an option or a layer's own options), STRATA_ENOMEM, STRATA_EIO (no thread or
 *         descriptor left), STRATA_EUNSUPPORTED.
 * Blocks: may open files and connect.  With buses (a cache over Redis has one by itself), until they are up, at most
 * strata_coherence_options.open_wait_ms, a second: a server that is away fails no open.
 */
STRATA_API int strata_open(strata **out, const strata_options *options, strata_error *err);

/**
 * Open a cache whose layers stand in one string, nearest first, separated by '|':
 * "memory:?max_bytes=64mb&policy=lru".  Parameters are the fields of the layer's options struct; sizes need a unit
 * (b, kb, mb, gb, tb: powers of 1,024), durations too (ms, s, m, h, d).  Buses stand among the layers: "memory: | bus:nats://host",
 * and are added to those in `options`; docs/formats.md has them all.
 * @param options the rest; its layers must be empty; NULL takes the defaults.
 * @return as strata_open(); STRATA_EINVAL names the part that is wrong.
 */
STRATA_API int strata_open_url(strata **out, const char *url, const strata_options *options, strata_error *err);

/**
 * Close a cache; of a namespace, give back this reference, and no more.  No more work is taken (STRATA_ECLOSED); loads are told that they
 * are cancelled, and their callers get STRATA_ECLOSED; threads are joined.  What is done first:
 *   - values that their callers have already, and that are on their way to slower layers, get there: as many as max_queued says, or 16 MiB;
 *   - sets that wait to be written behind are written;
 *   - what a memory layer holds is put into the disk below it, where that has admit_on=eviction;
 *   - deletes that are kept for a server that is away (queued_deletes in its layer's stats), and messages for a bus that is (queued in
 *     strata_health), are tried once more, the deletes on a connection that is made for it.  What still can't be told is lost.
 * Values that are held stay valid.  Namespaces that are held answer STRATA_ECLOSED, and must still be closed; until the last one is,
 * closing the cache again does nothing (STRATA_OK).  While another thread closes it, this waits for that one, goes on where its time is
 * over, and returns what came of it: the cache is closed then.
 * @return STRATA_OK (also for NULL, a no-op).
 *         STRATA_PENDING: closed, and such deletes or messages were lost: others may find in that server, or in their memory, what was
 *         deleted or replaced here, until its time is over.
 *         STRATA_AGAIN: called from a callback or loader of this cache.  It is marked closing; close it again from outside.
 * Blocks: until loaders and callbacks that run have returned, and layers have written what they have to; strata_close_within()
 * has a bound.
 */
STRATA_API int strata_close(strata *cache);

/**
 * strata_close() that waits no longer than `timeout_ms` for loaders and callbacks that run, and for operations of layers: for a
 * shutdown that may not hang on one that does not look at strata_load_canceled().  What comes before (goodbyes to buses, at most their
 * timeouts) and after that (writing to the disk what it is to get, joining threads) takes what it takes.
 * @param timeout_ms 0 to a day.
 * @return as strata_close(); STRATA_ETIMEDOUT: some still run, and no memory or thread is given back: no more work is taken, and the caller
 *         closes again, as often as it likes; STRATA_EINVAL.
 * Threads: several may close; each waits as long as it says.  Who is told STRATA_ETIMEDOUT while another thread may have closed the cache
 *         since closes again only where a namespace is held, which keeps its memory.
 */
STRATA_API int strata_close_within(strata *cache, int64_t timeout_ms);

/**
 * In a child after fork(): make the cache usable again, empty, with threads of its own.  Until then every call
 * answers STRATA_EFORKED, and strata_close() leaves all of the parent's as it is.
 * @return STRATA_OK (also where there was no fork), STRATA_ENOMEM, STRATA_EIO, STRATA_AGAIN (inside a loader or callback
 *         of this cache, which forked: after it has returned), STRATA_EBUSY (the parent has a disk layer's directory),
 *         STRATA_EUNSUPPORTED (a bus or layer that no child can use: a bus on NATS.  Open such a cache after the fork, in each process).
 * Threads: the only one that uses the cache during the call.
 */
STRATA_API int strata_reopen(strata *cache, strata_error *err);

/**
 * A namespace: keys of its own (by identity, not by prefix), policy, loader and stats; nests.
 * The same parent and name give the same namespace: the first call's options hold, later ones must be NULL or
 * leave it as it is.
 * @param name 1 to 255 bytes.
 * @param[out] out one reference, owned by the caller: strata_close().
 * @return STRATA_OK, STRATA_EINVAL, STRATA_ENOMEM, STRATA_ECLOSED, STRATA_EBUSY (65,535 of them, or 64 with a share of memory),
 *         STRATA_EEXIST (it is there with other options), STRATA_EUNSUPPORTED (a share, and no memory layer).
 */
STRATA_API int strata_namespace(strata *parent, const char *name, const strata_namespace_options *options,
                                strata **out, strata_error *err);

/* Reading ---------------------------------------------------------------------------------------------------- */

/**
 * Ask each layer, nearest first, for the first servable value of `key`: fresh, or in its stale-while-revalidate window.
 * Never loads and starts no refresh; what only stale-if-error would serve is a miss.  In a namespace with get_loads it is
 * strata_get_or_load() with the namespace's loader instead, with all that call's statuses.
 * @param[out] out one reference, owned by the caller (strata_value_unref); NULL unless STRATA_OK or STRATA_STALE.
 * @return STRATA_OK, STRATA_STALE, STRATA_MISS, STRATA_ABSENT (remembered); STRATA_EKEYSIZE, STRATA_ECLOSED,
 *         STRATA_EFORKED, STRATA_ENOMEM, STRATA_ELAYER (the only layers left to ask failed; a disk's damaged record is a miss
 *         that is counted in its errors, a disk that can't be read fails).
 * Blocks: up to the layers' timeouts; never on a memory hit.
 */
STRATA_API int strata_get(strata *cache, strata_slice key, strata_value **out, strata_error *err);

/**
 * The same, and where no layer has it, call `loader`, once for all callers at once, and store what it gives: in the nearest
 * layer before the call returns, in slower ones after.  Where loaders are faster than a slower layer, and as much is on its
 * way there as may be (max_queued), that layer is passed by: it does not get the value (rejections in its stats), and forgets
 * what it held of the key.
 * Where a layer gives leases, the loader is called once among all nodes: the others wait for its value, as long as that layer's
 * wait timeout says, and then call theirs.  What is loaded is stored in that layer first, after the call returns; who asks
 * meanwhile is given it, too.  A value whose key another node wrote or deleted meanwhile goes to its callers and into no layer
 * (leases_lost in the stats).
 * A load that takes longer than the longer one of its hard_timeout_ms and refresh_timeout_ms is given up by the next caller:
 * it is not joined any more and stores nothing, its callers still get its value, and a second load starts beside it.
 * @param loader NULL takes the namespace's own.
 * @param policy this call's; NULL inherits all.  Borrowed for the call.
 * @return as strata_get(), but not STRATA_MISS; STRATA_ELOADER or what the loader failed with; STRATA_ETIMEDOUT;
 *         STRATA_EDEADLOCK; STRATA_EINVAL (no loader, or a wrong policy); STRATA_EBUSY (max_queued tasks
 *         wait for a worker).
 * Blocks: while the value is loaded, by this or another caller.
 */
STRATA_API int strata_get_or_load(strata *cache, strata_slice key, strata_loader loader, void *loader_ctx,
                                  const strata_policy *policy, strata_value **out, strata_error *err);

/** strata_get(), with the value's version for strata_set_if().  Without a shared store an entry gets its version by this call; it stays
 *  the same until the key is written, loaded or refreshed, and is gone with the entry.  Not counted as a request.
 *  @param[out] out     as in strata_get(); NULL: the version alone.
 *  @param[out] version number 0: there is nothing to compare with, for the store counts no versions (no right to run scripts), or had
 *                      no room.
 *  @return as strata_get(). */
STRATA_API int strata_get_version(strata *cache, strata_slice key, strata_value **out, strata_entry_version *version,
                                  strata_error *err);

/** 1: a servable value is held; 0: none (also where "absent" is remembered); < 0 as strata_get(). */
STRATA_API int strata_has(strata *cache, strata_slice key, strata_error *err);

/** How long the key is still fresh.  @param[out] out_ms STRATA_FOREVER, or > 0, or 0 when stale.
 *  @return STRATA_OK, STRATA_STALE, STRATA_MISS, STRATA_ABSENT; errors as strata_get(). */
STRATA_API int strata_ttl(strata *cache, strata_slice key, int64_t *out_ms, strata_error *err);

/** What is known of a key; changes nothing, counts nothing.  @return STRATA_OK, STRATA_MISS; errors as strata_get(). */
STRATA_API int strata_inspect(strata *cache, strata_slice key, strata_inspection *out, strata_error *err);

/** Entries in the nearest layer that keeps count, in the whole cache.  Where none does, as with a server alone, the keys of the
 *  nearest one that can list them are counted, which asks it for all of them; one that is written meanwhile may be counted twice.
 *  @return STRATA_OK, STRATA_EUNSUPPORTED, STRATA_ECLOSED; errors as strata_get(), where keys are listed. */
STRATA_API int strata_size(strata *cache, uint64_t *out, strata_error *err);

/* Writing ---------------------------------------------------------------------------------------------------- */

/**
 * Store a copy of `value` in every layer.  What a load of the key that is under way brings is not stored.
 * @return STRATA_OK: stored; a layer may have had no room for it (rejections in its stats).
 *         STRATA_MISS: stored nowhere, because strata_policy.admit is off and no layer holds the key.
 *         STRATA_PENDING: this cache serves nothing older, but a layer on another machine, or a bus, can't be reached.  Other nodes may
 *         serve what is older until it is back and has been told (docs/coherence.md: how long at most).
 *         STRATA_ELAYER: a layer failed; the others have it, unless write_policy says otherwise.
 *         STRATA_EKEYSIZE, STRATA_EVALUESIZE, STRATA_EINVAL, STRATA_ENOMEM, STRATA_ECLOSED, STRATA_EFORKED.
 * A layer that had no room, or failed, is told to remove the key, so that it does not go on serving what it held before; where that fails,
 * too, it may.  The first calls of an outage answer STRATA_ELAYER or STRATA_PENDING, by what is known of it by then: neither
 * says that nothing was stored.
 *
 * Write-behind (strata_policy.write_behind_ms).  The call returns STRATA_PENDING, and blocks on nothing: the value is in this node's
 * memory layers, and calls of this node see it, whatever memory evicts.  The layers below, and then other nodes, get it within that time:
 * many sets together, of a key the last one alone.  strata_close() writes what waits; a process that is killed loses it.
 *   - It is replaced by a later set or delete of the key, and ended by a clear or ban.
 *   - It is ended by what another node does to the key, of which a bus tells, or the store, which refuses what is older than what
 *     it holds (Redis; other shared layers can't tell).  This node holds it no more then, and listeners get
 *     STRATA_EVENT_BEHIND_LOST, as they do where a layer fails it.
 *   - STRATA_OK: it went through at once, because the queue was full (strata_options.write_behind_max_entries), the store had not
 *     told this node yet how to tell what is newer, or another write of the key was under way.
 *   - STRATA_EINVAL: write_policy is strict, or there is no memory layer in front.
 */
STRATA_API int strata_set(strata *cache, strata_slice key, strata_slice value, const strata_policy *policy,
                          strata_error *err);

/** strata_set() of a value with tags, by which strata_ban_tag() finds it: up to STRATA_TAGS_MAX, of any bytes, none empty
 *  (else STRATA_EINVAL).  The tags of what was there before are gone with it.  A loader tags what it loads with
 *  strata_load_tag(). */
STRATA_API int strata_set_tagged(strata *cache, strata_slice key, strata_slice value, const strata_slice *tags,
                                 size_t tag_count, const strata_policy *policy, strata_error *err);

/**
 * strata_set(), only if the key has no value, has one, or has that one: compare and set.
 * With a shared store it is the store that compares, the furthest one, so that of all nodes one wins; without, this cache does, among
 * its own writes and loads alone.  Where something else is there nothing is written, and nobody is told; but a copy in this cache's
 * own layers that the store no longer has goes, so that the next strata_get_version() sees what there is.
 * @param only        borrowed for the call.
 * @param[out] version of what was stored, for the next such call; written with STRATA_OK and STRATA_PENDING.  May be NULL.
 * @return as strata_set(), and STRATA_ECONFLICT: something else is there, nothing was written.  STRATA_EUNSUPPORTED: the store can't
 *         compare.  STRATA_ELAYER, where its words don't say "nothing was changed": nobody knows whether the store has
 *         it, and the key is emptied, as after any set that fails: also of what another node set there since, for which version
 *         ours got is just what was not heard.
 * What is set so is a cached value, and STRATA_IF_ABSENT is no lock: a value is evicted when room is needed, expires, and is gone with a
 * clear, a ban, a delete by whoever knows the key, a failed set (above) and a store that restarts or fails over; then the next one who
 * asks is told that there is none, while the first still believes that it is its own.  Where two at once would do harm, use what
 * hands out locks with fencing numbers.
 */
STRATA_API int strata_set_if(strata *cache, strata_slice key, strata_slice value, const strata_condition *only,
                             const strata_policy *policy, strata_entry_version *version, strata_error *err);

/** Store a decoded object; the cache needs a codec.  Ownership: `object` is taken, also on failure, unless there is no codec to free
 *  it with. */
STRATA_API int strata_set_object(strata *cache, strata_slice key, void *object, const strata_policy *policy,
                                 strata_error *err);
/** The same with tags, as strata_set_tagged(). */
STRATA_API int strata_set_object_tagged(strata *cache, strata_slice key, void *object, const strata_slice *tags,
                                        size_t tag_count, const strata_policy *policy, strata_error *err);

/**
 * Take the key out of every layer.  What was loaded before is never stored after.
 * @return STRATA_OK, whether or not it was there.
 *         STRATA_PENDING: this cache serves it no more, but a layer on another machine, or a bus, can't be reached: other nodes may still
 *         get it there, or have it in their memory.  The delete is kept, and carried out when that layer is back; what strata_close()
 *         can't carry out is lost.
 *         STRATA_ELAYER: the layer that failed may still serve it, so delete again.  One on another machine that refused (the words
 *         say why: rights that are missing, a replica) is kept from serving it here, and told again from time to time; other nodes
 *         get it there until what the words ask for is done.
 *         Other errors as strata_set().
 */
STRATA_API int strata_delete(strata *cache, strata_slice key, strata_error *err);

/** End the key's freshness now.  Its stale windows end when they would have ended without this: an hour left of freshness
 *  lengthens them by an hour.  @return STRATA_OK, STRATA_MISS, STRATA_PENDING as strata_delete(); errors as
 *  strata_set(): after STRATA_ELAYER the layer that failed holds it as it was, and may serve it, so expire it again. */
STRATA_API int strata_expire(strata *cache, strata_slice key, strata_error *err);

/** Forget everything in this cache or namespace, and in those below it.  O(1) for the caller.
 *  @return STRATA_OK, STRATA_PENDING as strata_delete(), STRATA_ECLOSED, STRATA_EFORKED, STRATA_ELAYER. */
STRATA_API int strata_clear(strata *cache, strata_error *err);

/* Many at once ----------------------------------------------------------------------------------------------- */

/** One key of a bulk call. */
typedef struct strata_item {
    strata_slice key;      /**< in; borrowed for the call */
    strata_slice set;      /**< in, for set_many: the value */
    strata_value *value;   /**< out, for gets: one reference, owned by the caller */
    int32_t status;        /**< out: what the call for this key alone would return */
    int32_t reserved;      /**< 0 */
    const strata_slice *tags; /**< in, for set_many: the value's tags; borrowed for the call */
    size_t tag_count;         /**< 0 none */
    void *object; /**< in, for set_many: a decoded object instead of `set`, as strata_set_object() takes it; NULL none, and NULL again
                       once it is taken */
} strata_item;

/** strata_get() for each, one question a layer.  Keys that are known together are fastest asked together: those in memory wait for their
 *  cache lines together, so that 16 of them take a third to a half of the time of 16 single gets, and 1,000 no longer each.
 *  @return STRATA_OK, or the first error; every item has its own. */
STRATA_API int strata_get_many(strata *cache, strata_item *items, size_t count, strata_error *err);

/** strata_get_or_load() for each: one call of `loader` for all the keys that are missing and that nobody loads yet.
 *  Equal keys are loaded once.  @param loader NULL takes the namespace's own: its bulk_loader, or its loader, key by key. */
STRATA_API int strata_get_or_load_many(strata *cache, strata_item *items, size_t count, strata_bulk_loader loader,
                                       void *loader_ctx, const strata_policy *policy, strata_error *err);

/** Of one item of strata_get_or_load_each(). */
typedef struct strata_item_loader {
    strata_loader loader; /**< NULL takes the namespace's own, as strata_get_or_load() does */
    void *ctx;            /**< its context */
} strata_item_loader;

/**
 * strata_get_or_load() for each, with a loader for each: loaders[i] loads items[i].  One question a layer for all keys; of those that are
 * missing, and that nobody loads yet, each by its own loader, under the leases, breakers, limits and timeouts that it has alone.  Equal
 * keys are loaded once, by the first one's loader, and with single_flight off each by its own.
 * Where a single call's loader would run on a worker (timeouts, stale windows), the loaders run on workers, side by side as far as these
 * are free.  Else one after the other, in no order, on the caller's thread, or on one worker for the asynchronous twin; side by side is
 * then what loaders begin that return STRATA_PENDING and complete later.  One that fails keeps no other from being called.  None may
 * wait for another key of its call (STRATA_EDEADLOCK, where that one is yet to be loaded).
 * @param loaders as many as items; borrowed for the call.  A ctx is needed for as long as strata_get_or_load() needs one.
 * @return STRATA_OK, or the first error; every item has its own.  STRATA_EINVAL, and nothing was done: an item has no loader, nor has
 *         the namespace.
 */
STRATA_API int strata_get_or_load_each(strata *cache, strata_item *items, const strata_item_loader *loaders,
                                       size_t count, const strata_policy *policy, strata_error *err);

/** strata_set() for each. */
STRATA_API int strata_set_many(strata *cache, strata_item *items, size_t count, const strata_policy *policy,
                               strata_error *err);

/** strata_delete() for each. */
STRATA_API int strata_delete_many(strata *cache, strata_item *items, size_t count, strata_error *err);

/* Asynchronous twins ----------------------------------------------------------------------------------------- *
 * Each returns STRATA_PENDING when `done` will be called exactly once (inside strata_queue_run() of `queue`, or on a
 * worker where queue is NULL; never before the call returns), or a negative status, and then `done` is not called.
 * Keys and values are copied.  A loader runs on a worker. */

STRATA_API int strata_get_async(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx,
                                strata_error *err);
STRATA_API int strata_get_or_load_async(strata *cache, strata_slice key, strata_loader loader, void *loader_ctx,
                                        const strata_policy *policy, strata_queue *queue, strata_done done, void *ctx,
                                        strata_error *err);
STRATA_API int strata_set_async(strata *cache, strata_slice key, strata_slice value, const strata_policy *policy,
                                strata_queue *queue, strata_done done, void *ctx, strata_error *err);
/** `version` must stay until `done`. */
STRATA_API int strata_set_if_async(strata *cache, strata_slice key, strata_slice value, const strata_condition *only,
                                   const strata_policy *policy, strata_entry_version *version, strata_queue *queue,
                                   strata_done done, void *ctx, strata_error *err);
STRATA_API int strata_set_tagged_async(strata *cache, strata_slice key, strata_slice value, const strata_slice *tags,
                                       size_t tag_count, const strata_policy *policy, strata_queue *queue,
                                       strata_done done, void *ctx, strata_error *err);
STRATA_API int strata_set_object_async(strata *cache, strata_slice key, void *object, const strata_policy *policy,
                                       strata_queue *queue, strata_done done, void *ctx, strata_error *err);
STRATA_API int strata_set_object_tagged_async(strata *cache, strata_slice key, void *object, const strata_slice *tags,
                                              size_t tag_count, const strata_policy *policy, strata_queue *queue,
                                              strata_done done, void *ctx, strata_error *err);
STRATA_API int strata_delete_async(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx,
                                   strata_error *err);
STRATA_API int strata_expire_async(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx,
                                   strata_error *err);
/** `version` must stay until `done`. */
STRATA_API int strata_get_version_async(strata *cache, strata_slice key, strata_entry_version *version, strata_queue *queue,
                                        strata_done done, void *ctx, strata_error *err);
/** status is 1, 0 or negative, as strata_has() returns. */
STRATA_API int strata_has_async(strata *cache, strata_slice key, strata_queue *queue, strata_done done, void *ctx,
                                strata_error *err);
STRATA_API int strata_clear_async(strata *cache, strata_queue *queue, strata_done done, void *ctx, strata_error *err);

/* In the bulk twins, and in ttl, inspect and size, the results are written to where the pointers lead, which must
 * stay until `done`; the keys and values that items point to must, too. */
STRATA_API int strata_ttl_async(strata *cache, strata_slice key, int64_t *out_ms, strata_queue *queue, strata_done done,
                                void *ctx, strata_error *err);
STRATA_API int strata_inspect_async(strata *cache, strata_slice key, strata_inspection *out, strata_queue *queue,
                                    strata_done done, void *ctx, strata_error *err);
STRATA_API int strata_size_async(strata *cache, uint64_t *out, strata_queue *queue, strata_done done, void *ctx,
                                 strata_error *err);
STRATA_API int strata_get_many_async(strata *cache, strata_item *items, size_t count, strata_queue *queue,
                                     strata_done done, void *ctx, strata_error *err);
STRATA_API int strata_get_or_load_many_async(strata *cache, strata_item *items, size_t count, strata_bulk_loader loader,
                                             void *loader_ctx, const strata_policy *policy, strata_queue *queue,
                                             strata_done done, void *ctx, strata_error *err);
/** `loaders` must stay until `done`, too. */
STRATA_API int strata_get_or_load_each_async(strata *cache, strata_item *items, const strata_item_loader *loaders,
                                             size_t count, const strata_policy *policy, strata_queue *queue,
                                             strata_done done, void *ctx, strata_error *err);
STRATA_API int strata_set_many_async(strata *cache, strata_item *items, size_t count, const strata_policy *policy,
                                     strata_queue *queue, strata_done done, void *ctx, strata_error *err);
STRATA_API int strata_delete_many_async(strata *cache, strata_item *items, size_t count, strata_queue *queue,
                                        strata_done done, void *ctx, strata_error *err);

STRATA_END_DECLS
#endif /* STRATA_CACHE_H */
