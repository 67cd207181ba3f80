/* memory_history.h - what policies remember of keys, whether these are here or not. */
#ifndef STRATA_LAYER_MEMORY_HISTORY_H
#define STRATA_LAYER_MEMORY_HISTORY_H
#include <stdint.h>

/* Live fingerprints of what left the small queue (memory_ghost.c). */
struct ghost_slot {
    uint32_t fingerprint; /* 0 is a hole */
    uint32_t older;       /* number of the next in its chain */
};
struct ghost {
    struct ghost_slot *ring;
    uint32_t *heads; /* by fingerprint: the number of the youngest in the chain */
    uint32_t ring_size, head_mask;
    uint32_t first;        /* the number that stands, or stood, at the ring's start */
    uint32_t oldest, next; /* numbers of those in the ring: [oldest, next) */
    uint32_t live;
};

/* Approximate counts of keys (policy_wtinylfu.c). */
struct sketch {
    uint64_t *words; /* 16 counters of 4 bits each */
    uint64_t mask;
    uint64_t additions;
};

static inline uint32_t ghost_fingerprint(uint64_t hash)
{
    uint32_t f = (uint32_t)(hash >> 32);
    return f != 0 ? f : 1;
}
static inline uint32_t ghost_chain(uint32_t fingerprint, uint32_t head_mask)
{
    return (fingerprint * 0x9e3779b1u) >> 8 & head_mask;
}
static inline uint32_t *ghost_head(const struct ghost *g, uint32_t fingerprint)
{
    return &g->heads[ghost_chain(fingerprint, g->head_mask)];
}

/* memory_ghost.c, under the shard's lock: it was there, and is no more. */
struct shard;
int strata__ghost_take(struct ghost *g, uint32_t fingerprint);
/* Remember; forgets the oldest past `capacity`.  Without memory it just forgets. */
void strata__ghost_add(struct shard *s, uint32_t fingerprint, uint64_t capacity);
/* Far too large for this capacity, it becomes smaller, where there is memory for that. */
void strata__ghost_fit(struct shard *s, uint64_t capacity);
void strata__ghost_deinit(struct shard *s);
/* It will be looked for: where a head leads to, some moments after ghost_fetch_head(). */
void strata__ghost_fetch(const struct ghost *g, uint32_t fingerprint);

#endif /* STRATA_LAYER_MEMORY_HISTORY_H */
