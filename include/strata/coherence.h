/* strata/coherence.h - how the nodes that share data hear of each other's invalidations, and what a node does that may have missed
 * some.  docs/coherence.md says what is guaranteed.  Part of the stable API. */
#ifndef STRATA_COHERENCE_H
#define STRATA_COHERENCE_H
#include "strata/base.h"
#include "strata/error.h"
#include "strata/sys/bus.h"
STRATA_BEGIN_DECLS

struct strata;

/** How a cache behaves that has a bus.  Start from STRATA_COHERENCE_OPTIONS_INIT, change what differs. */
typedef struct strata_coherence_options {
    size_t size;           /**< sizeof this struct; the INIT macro sets it */
    int64_t heartbeat_ms;  /**< so often this node shows that it hears and is heard; default 1,000 */
    int64_t trust_ms;      /**< what is held is trusted for so long after the last proof that nothing is missing; above heartbeat_ms;
                                default 3,000 */
    int64_t suspect_ms;    /**< for so long after that it is served all the same, as STRATA_STALE, and asked for anew; default
                                30,000; at most a day.  STRATA_OFF: what is not trusted is not served */
    const char *node_name; /**< the same after a restart, and of this node alone: of two that have one name at once, one hears nothing.
                                Needed by buses that keep messages for it (JetStream, a durable RabbitMQ); NULL: none.  Copied */
    const char *secret;    /**< shared by all nodes: messages are signed with it, and others not believed, which `rejected` counts and
                                STRATA_EVENT_ERROR tells: while such come, this node is not trusted.  NULL: none.  Copied */
    uint32_t max_queued;   /**< invalidations that may wait for a bus that is away; more become a clear of their namespace.  Default
                                10,000 */
    int32_t publish_only;  /**< STRATA_ON: tell others, and hear nothing: what is held here is trusted for trust_ms after it came */
    int32_t default_bus;   /**< STRATA_OFF: a cache over a server that can carry messages gets no bus by itself */
    int64_t open_wait_ms;  /**< opening waits so long for the buses to be up: what is loaded before is not trusted for long.  Default
                                1,000; STRATA_OFF: not at all */
    int32_t priming;       /**< STRATA_OFF: what is set here is told to others without its value.  Default on: nodes that hold an older
                                version of the key in memory take the new value from the message.  Values travel as they are: none
                                do where a shared layer seals its (protection) */
    uint32_t prime_max_bytes; /**< larger values are not sent along, nor taken; default 512; at most 64 KiB */
    int64_t spread_ms;     /**< what another node has replaced, and no value came for, is asked for anew once a process, after a random part
                                of this; until then, and for at most ten times as long, the old value is STRATA_STALE.  Default 100; at
                                most a minute.  STRATA_OFF, and where suspect_ms is: it is gone at once, and every process asks
                                with its next read */
} strata_coherence_options;
#define STRATA_COHERENCE_OPTIONS_INIT { sizeof(strata_coherence_options), 0, 0, 0, NULL, NULL, 0, 0, 0, 0, 0, 0, 0 }

/** What strata_health_get() tells. */
typedef struct strata_health {
    size_t size;           /**< sizeof this struct, set by the caller */
    int32_t coherent;      /**< 1: it has a bus.  0: it hears of no other node */
    int32_t trusted;       /**< 1: nothing is missing, as far as it knows.  0 in the first seconds after opening, too, until heartbeats
                                have come back */
    int64_t untrusted_ms;  /**< for so long it has not been trusted; 0 */
    int64_t bound_ms;      /**< what was superseded longer ago, by an invalidation that returned STRATA_OK, is not served unless a load
                                has failed; STRATA_FOREVER where there is no bus but something shared; 0: nothing is shared */
    uint32_t buses;
    uint32_t buses_up;     /**< of these, that are connected and subscribed */
    uint32_t peers;        /**< other nodes that it hears, once for each bus on which it does */
    uint32_t queued;       /**< invalidations that are yet to be published */
    uint64_t published;    /**< messages that a bus has taken */
    uint64_t applied;      /**< invalidations of others that were carried out here */
    uint64_t rejected;     /**< messages that were not understood, or not signed as they must be */
    uint64_t duplicates;   /**< messages that had come before */
    uint64_t lost;         /**< how often messages were, or may have been, lost; 0 after opening, where a bus could go on from where
                                it was or there was nothing to be lost */
    uint64_t overflows;    /**< invalidations that became the clear of a namespace, because too many were queued */
    strata_error last;     /**< why a bus is, or was last, down; stays when it is up again; status 0: none ever was */
    char words[256];       /**< all of it in a sentence, and before it which layers are left alone or owe a store something */
    uint64_t owed;         /**< deletes, clears and bans that layers keep for a store that is away; strata_health_layer() says which */
    uint64_t behind;       /**< sets that are written behind (strata_policy.write_behind_ms), and not yet in the layers below */
    int64_t behind_ms;     /**< the oldest of those that still wait was set so long ago; 0 */
} strata_health;
#define STRATA_HEALTH_INIT \
    { sizeof(strata_health), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, STRATA_ERROR_INIT, { 0 }, 0, 0, 0 }

/** How coherent the cache is with the nodes that share its data.  @param[in,out] out its size set.  @return STRATA_OK, STRATA_EINVAL,
 *  STRATA_ECLOSED, STRATA_EFORKED.  Threads: any.  Blocks: never. */
STRATA_API int strata_health_get(struct strata *cache, strata_health *out, strata_error *err);

STRATA_END_DECLS
#endif /* STRATA_COHERENCE_H */
