/* strata/ban.h - invalidate many keys by rule: by tag, prefix or pattern.  Part of the stable API.
 *
 * A ban costs its caller the same whatever number of keys it matches: entries are compared with it when they are next read.  It
 * concerns what was loaded or set before it, in this cache or namespace and in those below; what is loaded while it is issued
 * is returned to who asked for it, and not served to anybody after.  Prefixes and patterns are of keys as they are in their namespaces.
 *
 * Hard bans: the entry is gone, whatever stale windows it has.  Soft ones (STRATA_BAN_SOFT) end its freshness, as
 * strata_expire() does: it is served stale as its policy says. */
#ifndef STRATA_BAN_H
#define STRATA_BAN_H
#include "strata/base.h"
#include "strata/cache.h"
#include "strata/error.h"
#include "strata/queue.h"
STRATA_BEGIN_DECLS

/** How a ban is meant. */
enum {
    STRATA_BAN_HARD = 0,
    STRATA_BAN_SOFT = 1,    /**< expired, not gone */
    STRATA_BAN_ALL_TAGS = 2 /**< strata_ban_tags(): entries that have all of them; else those that have any */
};

/**
 * Ban what has this tag.  Tags are told apart by 64 bits of hash: of two that collide both go.
 * @param tag ends with a NUL, and is not empty.
 * @return STRATA_OK; STRATA_PENDING as strata_clear(); STRATA_EINVAL, STRATA_ENOMEM (nothing was banned), STRATA_ECLOSED,
 *         STRATA_EFORKED, STRATA_ELAYER (it holds in this process; a layer could not note it, so there it holds until the cache
 *         is closed).
 * Blocks: as strata_clear().
 */
STRATA_API int strata_ban_tag(strata *cache, const char *tag, uint32_t how, strata_error *err);

/** Ban what has any of these tags, up to STRATA_TAGS_MAX; with STRATA_BAN_ALL_TAGS, what has all of them, up to 64. */
STRATA_API int strata_ban_tags(strata *cache, const strata_slice *tags, size_t count, uint32_t how, strata_error *err);

/** Ban the keys that begin with these bytes, at most max_key_bytes; an empty prefix bans all. */
STRATA_API int strata_ban_prefix(strata *cache, strata_slice prefix, uint32_t how, strata_error *err);

/** Ban the keys that match a pattern, at most max_key_bytes of it: `*` stands for any bytes, `?` for one, `\` takes the next byte as it
 *  is.  Comparing takes as many steps as pattern and key have bytes; where more than 64 bytes stand between two stars, so many more for
 *  each byte of the key as there are pieces of 64. */
STRATA_API int strata_ban_pattern(strata *cache, strata_slice pattern, uint32_t how, strata_error *err);

/**
 * Begin the next generation: ban all entries that carry the name in the `generation` option of this cache or namespace, its own or
 * else that of the nearest above, wherever they are: it is one ban, of a tag that no application's is.
 * @param[out] out the new generation's number, as by strata_generation_get(); may be NULL.
 * @return as strata_ban_tag(); STRATA_EINVAL: there is no such option here or above.
 * Blocks: as strata_clear().
 */
STRATA_API int strata_generation_bump(strata *cache, uint32_t how, uint64_t *out, strata_error *err);

/**
 * The number of the current generation, as this node knows it: when it began, in microseconds of Unix time; 0: it was never bumped.
 * Over a Redis (not a Cluster) it is the bump's place in the server's list of bans, and so the same on all nodes once they have heard
 * of it: as soon as of any ban, by a bus at once, else when they next look at the list.  It only grows, and may be greater than that of another node
 * where the list had forgotten the bump: then all up to there is invalid.  A bump that is yet to reach the store (STRATA_PENDING) holds
 * here, and gets its number then.  Without such a list it is this node's own, and says that something has changed, no more.
 * @return STRATA_OK; STRATA_EINVAL, STRATA_ECLOSED, STRATA_EFORKED.
 * Blocks: never.
 */
STRATA_API int strata_generation_get(strata *cache, uint64_t *out, strata_error *err);

/* Asynchronous twins, as in strata/cache.h. */
STRATA_API int strata_ban_tag_async(strata *cache, const char *tag, uint32_t how, strata_queue *queue, strata_done done,
                                    void *ctx, strata_error *err);
STRATA_API int strata_ban_tags_async(strata *cache, const strata_slice *tags, size_t count, uint32_t how,
                                     strata_queue *queue, strata_done done, void *ctx, strata_error *err);
STRATA_API int strata_ban_prefix_async(strata *cache, strata_slice prefix, uint32_t how, strata_queue *queue,
                                       strata_done done, void *ctx, strata_error *err);
STRATA_API int strata_ban_pattern_async(strata *cache, strata_slice pattern, uint32_t how, strata_queue *queue,
                                        strata_done done, void *ctx, strata_error *err);
STRATA_API int strata_generation_bump_async(strata *cache, uint32_t how, strata_queue *queue, strata_done done, void *ctx,
                                            strata_error *err);

STRATA_END_DECLS
#endif /* STRATA_BAN_H */
