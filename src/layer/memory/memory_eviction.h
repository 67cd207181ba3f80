/* memory_eviction.h - what a policy of eviction is (policy_*.c). */
#ifndef STRATA_LAYER_MEMORY_EVICTION_H
#define STRATA_LAYER_MEMORY_EVICTION_H
#include <stdint.h>

struct entry;
struct shard;

/* How a policy orders entries.  All under the shard's lock. */
struct eviction_ops {
    const char *name;
    uint8_t max_hits;      /* readers count up to here in entry->hits; 0: not at all */
    uint8_t wants_touches; /* hits are told through touch(), in batches */
    uint8_t told_late; /* victim() does not ask what missed() has changed: that and evicted() may be told when the entry is written */
    /* A new entry; `hash` is its key's. */
    void (*insert)(struct shard *s, struct entry *e, uint64_t hash);
    /* It was read. */
    void (*touch)(struct shard *s, struct entry *e, uint64_t hash);
    /* It has taken the place of another one of its key, in that one's queue; NULL where touch() is all, if anything is. */
    void (*replaced)(struct shard *s, struct entry *e);
    /* Somebody asked for a key that is not here, just before an insert. */
    void (*missed)(struct shard *s, uint64_t hash);
    /* Choose one, unlink it from its queue and return it; NULL where there is none. */
    struct entry *(*victim)(struct shard *s);
    /* Whom the next victim() will choose, as far as that is told by what was just touched, for hints alone; NULL: not known.  The slot
     * may be NULL. */
    struct entry *(*likely)(struct shard *s);
    /* The victim leaves; its key's hash.  NULL: no matter. */
    void (*evicted)(struct shard *s, uint64_t hash);
    /* It leaves its queue for another reason. */
    void (*removed)(struct shard *s, struct entry *e);
};

extern const struct eviction_ops strata__evict_fifo, strata__evict_lru, strata__evict_lfu, strata__evict_sieve,
    strata__evict_s3fifo, strata__evict_wtinylfu, strata__evict_cost;

#endif /* STRATA_LAYER_MEMORY_EVICTION_H */
