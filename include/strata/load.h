/* strata/load.h - the loader: the user's function that gets a value from the origin.  Part of the stable API. */
#ifndef STRATA_LOAD_H
#define STRATA_LOAD_H
#include "strata/base.h"
#include "strata/error.h"
#include "strata/policy.h"
#include "strata/value.h"
STRATA_BEGIN_DECLS

/** A load in progress, in the loader's hands.  Counted: nothing below touches freed memory, also after close. */
typedef struct strata_load strata_load;

/**
 * Get the value of `key` from the origin: call exactly one of the completing functions below (copy, take, object,
 * absent, not_modified, decline, fail) and return STRATA_OK; or keep a reference (strata_load_ref), return
 * STRATA_PENDING, and complete later from any thread.
 * @param load borrowed for the call.
 * @param key  borrowed; valid until the load is completed and its last reference is gone.
 * @return STRATA_OK or STRATA_PENDING; any negative status fails the load with that status.  STRATA_OK without a
 *         completion is STRATA_ELOADER, and so is any other number above 0.  Once the load is
 *         completed, the number does not matter.
 * Once among all nodes where a layer of the cache gives leases: see strata_get_or_load().
 * Time: a load may run longer than its callers wait; but past the longer one of hard_timeout_ms and refresh_timeout_ms the
 *         next caller gives it up, and the loader may be called again for the same key beside it.
 * Threads: runs on the caller's thread, or on a worker where a timeout or a stale window applies or the call was
 *         asynchronous.  Never under a lock of strata's: it may call the cache again, but not for its own key
 *         (STRATA_EDEADLOCK).
 */
typedef int (*strata_loader)(strata_load *load, strata_slice key, void *ctx);

/**
 * Get the values of `count` keys in one go.  loads[i] belongs to keys[i]; each must be completed, as above, in any
 * order.  Returns as strata_loader does.
 */
typedef int (*strata_bulk_loader)(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx);

/* Completing.  Each returns STRATA_OK, STRATA_EALREADY when this load was completed before (nothing happens),
 * STRATA_ECLOSED after the cache closed (nothing happens), STRATA_ENOMEM or STRATA_EVALUESIZE (the load fails with it).
 * Threads: any.  Blocks: never; a completion from a foreign thread goes on in a worker. */

/** The value is a copy of these bytes. */
STRATA_API int strata_load_copy(strata_load *load, const void *data, size_t size);

/** The value is these bytes themselves.  Ownership: taken, also on failure; `release(data, ctx)` gives them back. */
STRATA_API int strata_load_take(strata_load *load, void *data, size_t size, void (*release)(void *data, void *ctx),
                                void *ctx);

/** The value is a decoded object; the cache needs a codec.  Ownership: taken, also on failure (codec.free). */
STRATA_API int strata_load_object(strata_load *load, void *object);

/** The origin has no such thing: callers get STRATA_ABSENT, remembered for negative_ttl_ms. */
STRATA_API int strata_load_absent(strata_load *load);

/** What strata_load_previous() shows is still right: it becomes fresh again.  STRATA_EINVAL where there is none:
 *  the load stays open. */
STRATA_API int strata_load_not_modified(strata_load *load);

/** Give these bytes to the callers, and store nothing. */
STRATA_API int strata_load_decline(strata_load *load, const void *data, size_t size);

/** The load failed.  `status` < 0, else STRATA_EINVAL, and the load stays open; `message` (copied, may be NULL) reaches the
 *  callers' strata_error. */
STRATA_API int strata_load_fail(strata_load *load, int status, const char *message);

/** 1 when nobody wants the result any more: hard timeout, refresh timeout, cache closing.  Threads: any. */
STRATA_API int strata_load_canceled(const strata_load *load);

/** The value held so far (stale, error-only or kept), or NULL.  Borrowed from the load. */
STRATA_API const strata_value *strata_load_previous(const strata_load *load);

/**
 * Conditional loads: what the origin called the value that strata_load_previous() shows, so that it can be asked whether that is
 * still right (If-None-Match, If-Modified-Since, or a version of a row), and strata_load_not_modified() be called if so.
 * Kept with the entry in every layer, for as long as a policy keeps that: see keep_ms.
 * @param[out] out_validator     an ETag or whatever the loader has set; borrowed from the load, empty where there is none; may be NULL.
 * @param[out] out_last_modified the same of the time.
 * @return STRATA_OK; STRATA_MISS: neither is known, and the value is to be loaded.
 */
STRATA_API int strata_load_validator(const strata_load *load, strata_slice *out_validator, strata_slice *out_last_modified);

/** Keep these two with what is loaded, for the next load of the key.  Any bytes (copied), at most STRATA_VALIDATOR_MAX each; both
 *  empty: none.  Before completing, from one thread at a time; the last call counts.  What strata_load_not_modified() keeps has its own
 *  still, unless new ones are set.  "Absent" has none.  Not sealed where a layer seals its values: no secrets.
 *  @return STRATA_OK; STRATA_EINVAL: too long; STRATA_EALREADY; STRATA_ENOMEM: the next load is unconditional. */
STRATA_API int strata_load_set_validator(strata_load *load, strata_slice validator, strata_slice last_modified);

/** The loader knows best: these fields beat the call's.  Before completing.  @return STRATA_OK, STRATA_EINVAL, STRATA_EALREADY. */
STRATA_API int strata_load_set_policy(strata_load *load, const strata_policy *policy);

/** Tag what is loaded, so that strata_ban_tag() finds it.  `tag` ends with a NUL and is not empty.  Before completing, from one thread
 *  at a time; up to STRATA_TAGS_MAX, with those named before.  What strata_load_not_modified() keeps has its tags still, unless new
 *  ones are named.  @return STRATA_OK, STRATA_EINVAL, STRATA_EALREADY, STRATA_ENOMEM: what is loaded had better be declined. */
STRATA_API int strata_load_tag(strata_load *load, const char *tag);

/** The same for many tags, of any bytes: all or none. */
STRATA_API int strata_load_tags(strata_load *load, const strata_slice *tags, size_t count);

/** One more reference, for completing later.  Returns `load`. */
STRATA_API strata_load *strata_load_ref(strata_load *load);

/** Give it back; NULL is a no-op.  The last one without a completion fails the load with STRATA_ELOADER. */
STRATA_API void strata_load_unref(strata_load *load);

STRATA_END_DECLS
#endif /* STRATA_LOAD_H */
