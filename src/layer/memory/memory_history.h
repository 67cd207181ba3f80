/* memory_history.h - what policies remember of keys, whether these are here or not. */
#ifndef STRATA_LAYER_MEMORY_HISTORY_H
#define STRATA_LAYER_MEMORY_HISTORY_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "src/layer/memory/memory_tables.h"

/* Live fingerprints of what left the small queue (memory_ghost.c). */
enum { GHOST_WAYS = 16, GHOST_SET_BYTES = GHOST_WAYS * 8 };
struct ghost {
    _Atomic(uint64_t) *slots; /* sets of GHOST_WAYS, each two cache lines: fingerprint << 32 | number, in no order */
    uint64_t *alive;          /* a bit for each number, at its remainder by the window's size */
    uint32_t *before;         /* room to count in */
    struct table_room room;   /* of all these */
    uint32_t sets, window;    /* window: a power of two */
    uint32_t fits;            /* made for so many fingerprints */
    uint32_t oldest, next;    /* the numbers that may be alive: [oldest, next) */
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
/* The place of its set, counted from the first slot, in bytes. */
static inline size_t ghost_place(uint32_t fingerprint, uint32_t sets)
{
    return (size_t)((uint64_t)fingerprint * sets >> 32) * GHOST_SET_BYTES;
}

/* memory_ghost.c, under the shard's lock: it was there, and is no more. */
struct shard;
int strata__ghost_take(struct ghost *g, uint32_t fingerprint);
/* Remember; forgets the oldest past `capacity`.  Without memory it just forgets. */
void strata__ghost_add(struct shard *s, uint32_t fingerprint, uint64_t capacity);
/* Far too large for this capacity, it becomes smaller, where there is memory for that. */
void strata__ghost_fit(struct shard *s, uint64_t capacity);
void strata__ghost_deinit(struct shard *s);

#endif /* STRATA_LAYER_MEMORY_HISTORY_H */
