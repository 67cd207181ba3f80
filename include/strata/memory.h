/* strata/memory.h - the memory layer.  Part of the stable API. */
#ifndef STRATA_MEMORY_H
#define STRATA_MEMORY_H
#include "strata/base.h"
#include "strata/sys/layer.h"
STRATA_BEGIN_DECLS

/** Who leaves when room is needed. */
enum {
    STRATA_EVICT_DEFAULT = 0,  /**< s3-fifo */
    STRATA_EVICT_S3FIFO = 1,   /**< Yang et al., "FIFO queues are all you need", SOSP 2023 */
    STRATA_EVICT_WTINYLFU = 2, /**< Einziger, Friedman, Manes, "TinyLFU", 2017; 1 % window, segmented LRU */
    STRATA_EVICT_LRU = 3,
    STRATA_EVICT_LFU = 4,      /**< with ageing */
    STRATA_EVICT_FIFO = 5,
    STRATA_EVICT_SIEVE = 6,    /**< Zhang et al., NSDI 2024; for web-like traffic only */
    STRATA_EVICT_COST = 7      /**< what takes long to load, or little room, stays longer: about as GreedyDual-Size-Frequency
                                    (Cherkasova 1998) has it.  See below */
};

/* STRATA_EVICT_COST is for loads that differ: where some take a hundred times as long as others, the time that is spent loading
 * falls by a fifth to a third against s3-fifo, for some more loads; docs/eviction.md has the numbers, and how to get your own.
 *
 * An entry stays for a time that grows with its hits x cost / size; who is not read leaves at last, whatever it has cost: 64 times
 * later than the others at most, and an entry that has expired before all others once it is the oldest of its sort.  The cost of an
 * entry is strata_policy.cost_us, where that says one; else what its loader took, from its call to its result, which a slower layer
 * keeps to the millisecond; what is found there without that: what it took to read it there.  A set that says none leaves the cost of
 * what it replaces as it was, and counts as 10 ms where nothing is.  Of a key that is loaded again and again, half of the (logarithmic)
 * weight is of the last load, so that one which took very long is soon forgotten.  Costs count between 1 us and an hour, to within a
 * factor of 2.4.  Size counts where max_bytes alone bounds the layer; with max_entries each entry takes the same room.  It costs a
 * hit nothing, an entry no byte but those that s3-fifo's memory of evicted keys takes, too, and a shard some 1,000 bytes. */


/** A memory layer.  Start from STRATA_MEMORY_OPTIONS_INIT, change what differs. */
typedef struct strata_memory_options {
    size_t size;           /**< sizeof this struct; the INIT macro sets it */
    uint64_t max_bytes;    /**< budget, all overhead included; default 64 MiB, or none beside max_percent; 64 KiB to 255 GiB */
    uint64_t max_entries;  /**< budget by count as well; 0 none */
    int32_t policy;        /**< STRATA_EVICT_...; default s3-fifo */
    uint32_t shards;       /**< 0: chosen from the budget, which also bounds it; 1 gives the exact order of the policy */
    uint32_t negative_percent; /**< share of the budget that negative entries may take; default 5, at most 50 */
    int64_t max_ttl_ms;    /**< what is stored here is held for at most so long, fresh and stale, however long it lives in
                                the layers below, which are then asked again; 0 no limit */
    const char *name;      /**< shown in stats and events; default "memory"; copied */
    int32_t max_percent;   /**< max_bytes as a share, 1 to 95: of the least memory limit of the control groups that this process
                                is in (version 1 and 2), or of the machine's memory where that is less or there is none.  Looked up
                                once, when the cache is opened or reopened; within the bounds of max_bytes; where that is given as
                                well, the less counts.  In a URL also "max_bytes=25%".  strata_layer_stats tells what came of
                                it.  0: max_bytes alone */
    int32_t pressure;      /**< STRATA_ON: take less while the machine, or the control group, is short of memory.  Looked after about
                                every 250 ms: where tasks waited for memory for a tenth of that time (all of them, for a fiftieth), or
                                the group has reached its memory.high, the budget shrinks by an eighth, at most once a second, down
                                to pressure_floor_percent; after 10 seconds without any of that it grows by a fortieth of max_bytes
                                every 2 seconds.  What is left out goes as evictions do, in steps of at most 128 KiB, and its pages
                                go back to the system; values above 16 KiB, and the index, go back to the allocator.
                                Costs a hit nothing.  STRATA_EVENT_PRESSURE tells of each step; budget_bytes in the stats.
                                Linux alone: strata_open() answers STRATA_EUNSUPPORTED where the kernel does not count.  Default off */
    int32_t pressure_floor_percent; /**< of max_bytes: not below that; 10 to 100; default 25 */
    int32_t resident_percent; /**< of the budget (of the entries, too, where max_entries is given): what strata_policy.resident keeps
                                may be no more; 1 to 90; default 50.  Each shard holds to its part */
    const char *pressure_file; /**< what to read instead, in the kernel's format of /proc/pressure/memory: of another control group, say;
                                memory.high is not looked at then.  At most 255 bytes; copied.  NULL: memory.pressure of the group that
                                the process is in, or the machine's */
} strata_memory_options;
#define STRATA_MEMORY_OPTIONS_INIT { sizeof(strata_memory_options), 0, 0, 0, 0, 0, 0, NULL, 0, 0, 0, 0, NULL }

/**
 * A memory layer: byte-bounded, sharded, read without a lock.
 * @param options borrowed; NULL takes the defaults.
 * @return a layer; never NULL: one that could not be built remembers why, and strata_open() reports it.
 * Ownership: strata_open() takes it over; otherwise strata_layer_free().
 */
STRATA_API strata_layer *strata_memory_layer(const strata_memory_options *options);

STRATA_END_DECLS
#endif /* STRATA_MEMORY_H */
