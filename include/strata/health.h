/* strata/health.h - how each part of a cache is, and why.  How the whole is with other nodes: strata_health_get() in
 * strata/coherence.h.  Part of the stable API. */
#ifndef STRATA_HEALTH_H
#define STRATA_HEALTH_H
#include "strata/base.h"
#include "strata/error.h"
STRATA_BEGIN_DECLS

struct strata;

/** strata_part_health.state.  The cache works on in each of them. */
enum {
    STRATA_HEALTH_WELL = 0, /**< as it should be */
    STRATA_HEALTH_LESS = 1, /**< it works, and not as it should: `words` say what is missing */
    STRATA_HEALTH_DOWN = 2  /**< nothing is to be had of it */
};

/** One layer or bus. */
typedef struct strata_part_health {
    size_t size;           /**< sizeof this struct, set by the caller */
    char name[32];         /**< its own, as in stats and events */
    char kind[32];         /**< "memory", "disk", "redis", "nats"... */
    int32_t state;         /**< STRATA_HEALTH_... */
    uint32_t breaker;      /**< STRATA_BREAKER_... of a layer on another machine */
    int64_t since_ms;      /**< for so long it has been in this state, as far as is known */
    int64_t retry_ms;      /**< a breaker that is open lets it be asked again in so long; 0 */
    uint64_t waiting;      /**< deletes, clears or messages that it is yet to be told */
    uint64_t bytes;        /**< of a layer: what it takes, */
    uint64_t max_bytes;    /**< what it may take at most, 0 no limit, */
    uint64_t budget_bytes; /**< and what it may take now: less while memory is short; 0 where that is not looked after */
    int32_t trusted;       /**< of a bus: 1, nothing that it carries is missing; of a layer 0 */
    int32_t reserved;      /**< 0 */
    int64_t failed_ms;     /**< its last failure was so long ago; -1: there was none that is remembered */
    strata_error last;     /**< what that was; status 0: none */
    char words[256];       /**< all of it in a sentence */
} strata_part_health;
#define STRATA_PART_HEALTH_INIT \
    { sizeof(strata_part_health), { 0 }, { 0 }, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, STRATA_ERROR_INIT, { 0 } }

/** One layer; 0 is the nearest (strata_layer_count()).  A failure of the last 10 seconds is what keeps one from being well that has no
 *  breaker.  Asks no server: strata_ping() does.  @param[in,out] out its size set.
 *  @return STRATA_OK, STRATA_EINVAL, STRATA_ECLOSED, STRATA_EFORKED.  Threads: any.  Blocks: never. */
STRATA_API int strata_health_layer(struct strata *cache, size_t layer, strata_part_health *out, strata_error *err);

/** One bus, in the order in which they were given (strata_health.buses says how many there are).  The same statuses. */
STRATA_API int strata_health_bus(struct strata *cache, size_t bus, strata_part_health *out, strata_error *err);

STRATA_END_DECLS
#endif /* STRATA_HEALTH_H */
