/* strata/warm.h - load many keys before anybody asks for them.  Part of the stable API. */
#ifndef STRATA_WARM_H
#define STRATA_WARM_H
#include "strata/cache.h"
STRATA_BEGIN_DECLS

/** One of a list. */
typedef struct strata_warm_key {
    strata_slice key;
    int32_t priority;  /**< higher ones are begun first; equal ones in the order of the list */
    uint32_t reserved; /**< 0 */
} strata_warm_key;

/** What came of it; and so far, for progress. */
typedef struct strata_warm_report {
    size_t size;       /**< sizeof this struct, set by the caller */
    uint64_t taken;    /**< keys that were begun */
    uint64_t done;     /**< of these: are through.  The sum of the following */
    uint64_t loaded;   /**< a loader was called for them: ours, or that of another caller who was faster */
    uint64_t fresh;    /**< a layer had it: it is in the nearer ones now, too */
    uint64_t stale;    /**< a layer had it, past its freshness: it is being refreshed in the background */
    uint64_t absent;   /**< the origin has no such thing, or is remembered to have none */
    uint64_t failed;
    uint32_t stopped;  /**< 1: it ended before all keys were begun */
    int32_t status;    /**< of the first that failed; 0 none */
} strata_warm_report;
#define STRATA_WARM_REPORT_INIT { sizeof(strata_warm_report), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/** How.  Start from STRATA_WARM_OPTIONS_INIT, change what differs. */
typedef struct strata_warm_options {
    size_t size;                 /**< sizeof this struct; the INIT macro sets it */
    const strata_warm_key *keys; /**< what to load; borrowed until the end; NULL: next() says */
    size_t count;                /**< how many */
    /** Gives the next key: 1, and *out, which is borrowed until next() is called again; 0: that was all; < 0 fails the call with that
     *  status.  Not with `keys`. */
    int (*next)(strata_slice *out, void *ctx);
    void *next_ctx;             /**< handed to it */
    strata_loader loader;       /**< as in strata_get_or_load(); NULL takes the namespace's own, a bulk loader if it has one, unless there is `bulk` */
    strata_bulk_loader bulk;    /**< as in strata_get_or_load_many(), called for up to `batch` keys.  Not with `loader` */
    void *loader_ctx;           /**< handed to the loader; of a key that is stale also after the end */
    const strata_policy *policy; /**< of the loads; borrowed for the call; NULL inherits all */
    uint32_t concurrency;       /**< so many loads, or batches, at once; default 4, at most 1,024 */
    uint32_t batch;             /**< default 64, at most 10,000; with `bulk` */
    int32_t keep_going;         /**< STRATA_ON: failed loads are counted, and the others go on.  Default off: after the first that fails
                                     none is begun */
    uint32_t reserved;          /**< 0 */
    /** Called for each key that is through, with its status as strata_get_or_load() returns it.  Non-zero: no more are begun, and the
     *  call ends with STRATA_ECANCELED.  May be NULL.  Like next() it is called on workers, one of the two at a time, and may call the
     *  cache; strata_close() in it marks closing. */
    int (*progress)(const strata_warm_report *so_far, strata_slice key, int status, void *ctx);
    void *progress_ctx; /**< handed to it */
} strata_warm_options;
#define STRATA_WARM_OPTIONS_INIT \
    { sizeof(strata_warm_options), NULL, 0, NULL, NULL, NULL, NULL, NULL, NULL, 0, 0, 0, 0, NULL, NULL }

/**
 * strata_get_or_load() for each key, a few at once.  What a layer has fresh is not loaded.  Where a layer gives leases, each key is
 * loaded once among all nodes that warm up.
 * @param options borrowed for the call, with what its pointers say.
 * @param[out] out_report its size set; also where the call fails.  NULL: not wanted.
 * @return STRATA_OK; what the first key that failed did, with its words, unless keep_going is on; STRATA_ECANCELED, STRATA_EINVAL,
 *         STRATA_ENOMEM, STRATA_ECLOSED, STRATA_EFORKED; STRATA_EDEADLOCK (in a loader or callback of this cache: use the
 *         asynchronous call); STRATA_EBUSY (max_queued tasks wait for a worker); what next() answered.
 * Blocks: until all that was begun is through.
 */
STRATA_API int strata_warm(strata *cache, const strata_warm_options *options, strata_warm_report *out_report,
                           strata_error *err);

/** The same later.  `keys`, `out_report` and all that the functions need must stay until `done`.  @return as the other asynchronous
 *  calls (strata/cache.h). */
STRATA_API int strata_warm_async(strata *cache, const strata_warm_options *options, strata_warm_report *out_report,
                                 strata_queue *queue, strata_done done, void *ctx, strata_error *err);

STRATA_END_DECLS
#endif /* STRATA_WARM_H */
