/* strata/events.h - be told what happens.  Free while nobody listens.  Part of the stable API. */
#ifndef STRATA_EVENTS_H
#define STRATA_EVENTS_H
#include "strata/base.h"
#include "strata/error.h"
STRATA_BEGIN_DECLS

struct strata;

/* X(NAME, bit).  More kinds come with later versions. */
#define STRATA_EVENT_MAP(X)                                                                           \
    X(HIT, 0)           /* layer */                                                                    \
    X(MISS, 1)                                                                                         \
    X(SET, 2)                                                                                          \
    X(DELETE, 3)                                                                                       \
    X(EXPIRE, 4)                                                                                       \
    X(CLEAR, 5)         /* no key */                                                                   \
    X(LOAD_START, 6)                                                                                   \
    X(LOAD_SUCCESS, 7)  /* elapsed_us */                                                               \
    X(LOAD_ERROR, 8)    /* status, elapsed_us, message */                                              \
    X(LOAD_TIMEOUT, 9)                                                                                 \
    X(JOIN, 10)                                                                                        \
    X(STALE_SERVE, 11)  /* state, layer */                                                             \
    X(NEGATIVE_SET, 12)                                                                                \
    X(BACKFILL, 13)     /* from_layer, layer */                                                        \
    X(EVICT, 14)        /* layer */                                                                    \
    X(ERROR, 15)        /* status, layer, message; of a layer's gets, puts, removes that fail: the first, then one a second */ \
    X(SUSPECT, 16)      /* message: what is held is not trusted any more */                            \
    X(TRUSTED, 17)      /* what comes from now on is again */                                          \
    X(BUS_DOWN, 18)     /* layer: the bus' name; status, message; the first */                  \
    X(BUS_UP, 19)       /* layer: the bus' name */                                                     \
    X(LOAD_REFUSED, 20) /* status, message: a loader was not called, to protect the origin */          \
    X(BREAKER_OPEN, 21) /* message: a breaker of loads opened; key of the load that failed */          \
    X(BREAKER_CLOSED, 22) /* message: it closed; key of the load that succeeded */           \
    X(PRESSURE, 23)     /* layer, message: memory is short, or not any more, and its budget follows */    \
    X(LOAD_DETACHED, 24) /* a load took longer than load_limit_ms: its callers are answered without it */ \
    X(BEHIND_LOST, 25)  /* status, message: what was set and written behind is not in the layers below: STRATA_ECONFLICT: another node \
                           wrote the key; else why it failed */

#define STRATA_EVENT_CONSTANT_(name, bit) STRATA_EVENT_##name = 1 << (bit),
/** Kinds of events; or them together to choose. */
enum {
    STRATA_EVENT_MAP(STRATA_EVENT_CONSTANT_)
    STRATA_EVENT_ALL = 0x7fffffff /**< those of later versions, too */
};
#undef STRATA_EVENT_CONSTANT_

/** States of an entry, as STALE_SERVE and strata_inspect() tell them. */
enum {
    STRATA_STATE_GONE = 0,
    STRATA_STATE_FRESH = 1,
    STRATA_STATE_EARLY = 2,
    STRATA_STATE_STALE = 3,
    STRATA_STATE_ERROR_ONLY = 4,
    STRATA_STATE_KEEP = 5
};

/** What happened.  Everything in it is borrowed for the call. */
typedef struct strata_event {
    size_t size;            /**< sizeof this struct */
    uint32_t kind;          /**< one STRATA_EVENT_ bit */
    int32_t status;         /**< for errors */
    struct strata *cache;   /**< the namespace it happened in; NULL for evictions */
    strata_slice key;       /**< empty where there is none */
    const char *layer;      /**< the layer's name, or NULL */
    const char *from_layer; /**< where a backfill came from, or NULL */
    int32_t state;          /**< STRATA_STATE_ of the entry */
    int64_t elapsed_us;     /**< what a load took */
    const char *message;    /**< words, or NULL */
} strata_event;

/** A listener.  Runs on the thread where it happened, under no lock; it may call the cache again. */
typedef void (*strata_listener)(const strata_event *event, void *ctx);

/**
 * Listen to the kinds in `mask`, in this cache or namespace and below it.  Several listeners are called in the
 * order in which they came.
 * @param mask one STRATA_EVENT_ or several; STRATA_EVENT_ALL; or all but some: STRATA_EVENT_ALL & ~STRATA_EVENT_HIT, ~STRATA_EVENT_HIT.
 *     A bit that names no event is refused otherwise: strata_event_name() of it is "unknown", and the log, where there is one
 *     (strata/log.h), says which ones are known.
 * @param[out] out_id for strata_off(); NULL: it listens until the cache is closed.
 * @return STRATA_OK, STRATA_EINVAL (no cache, no listener, no event), STRATA_ENOMEM, STRATA_ECLOSED, STRATA_EBUSY (64 listeners).
 */
STRATA_API int strata_on(struct strata *cache, uint32_t mask, strata_listener listener, void *ctx, uint64_t *out_id);

/** Stop listening.  On return the listener runs no more, except in a call of its own further up this thread's stack.
 *  @return STRATA_OK, STRATA_MISS (no such listener). */
STRATA_API int strata_off(struct strata *cache, uint64_t id);

/** "hit", "load_start"...: the name of one event bit.  Static text. */
STRATA_API const char *strata_event_name(uint32_t kind);

STRATA_END_DECLS
#endif /* STRATA_EVENTS_H */
