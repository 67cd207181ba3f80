/* memory_ghost.c - the ghost of S3-FIFO: fingerprints of what left the small queue, oldest forgotten first.
 *
 * A ring of fingerprints and a small table from them to their places.  Taking one out (a ghost hit) leaves a hole in
 * the ring: the capacity counts live fingerprints only.  Full of holes, the ring is packed and the table rebuilt, which
 * costs as much as the takes that made the holes. */
#include <string.h>

#include "src/base/mem.h"
#include "src/layer/memory/memory_impl.h"

static uint32_t start(const struct ghost *g, uint32_t fingerprint)
{
    return (fingerprint * 0x9e3779b1u) >> 8 & g->table_mask;
}

static uint64_t *find(const struct ghost *g, uint32_t fingerprint)
{
    for (uint32_t i = start(g, fingerprint);; i = (i + 1) & g->table_mask) {
        if (g->table[i] == 0)
            return NULL;
        if (g->table[i] >> 32 == fingerprint)
            return &g->table[i];
    }
}

static void table_add(struct ghost *g, uint32_t position)
{
    uint32_t fingerprint = g->ring[position], i = start(g, fingerprint);
    while (g->table[i] != 0)
        i = (i + 1) & g->table_mask;
    g->table[i] = (uint64_t)fingerprint << 32 | position;
}

/* Take a table slot out, moving later ones of the run back. */
static void table_remove(struct ghost *g, uint64_t *slot)
{
    uint32_t gap = (uint32_t)(slot - g->table), i = gap;
    for (;;) {
        i = (i + 1) & g->table_mask;
        if (g->table[i] == 0)
            break;
        uint32_t home = start(g, (uint32_t)(g->table[i] >> 32));
        if (((i - home) & g->table_mask) < ((i - gap) & g->table_mask))
            continue;
        g->table[gap] = g->table[i];
        gap = i;
    }
    g->table[gap] = 0;
}

static void forget(struct ghost *g, uint64_t *slot)
{
    uint32_t position = (uint32_t)*slot;
    table_remove(g, slot);
    g->ring[position] = 0;
    g->live--;
}

static void drop_holes_at_tail(struct ghost *g)
{
    while (g->used > 0 && g->ring[g->tail] == 0) {
        g->tail = g->tail + 1 == g->ring_size ? 0 : g->tail + 1;
        g->used--;
    }
}

int strata__ghost_take(struct ghost *g, uint32_t fingerprint)
{
    uint64_t *slot = g->live != 0 ? find(g, fingerprint) : NULL;
    if (slot == NULL)
        return 0;
    forget(g, slot);
    drop_holes_at_tail(g);
    return 1;
}

static size_t ghost_bytes(uint32_t ring_size, uint32_t table_size)
{
    return (size_t)ring_size * 4 + (size_t)table_size * 8;
}

/* Move the live ones into a ring of `ring_size` (which may be the same) without holes.  0, -1 no room for it. */
static int repack(struct shard *s, uint32_t ring_size)
{
    struct ghost *g = &s->ghost;
    uint32_t table_size = 16;
    while (table_size < ring_size + ring_size / 4)
        table_size *= 2;
    size_t before = g->ring != NULL ? ghost_bytes(g->ring_size, g->table_mask + 1) : 0;
    if (s->bytes + ghost_bytes(ring_size, table_size) > s->limit_bytes + before)
        return -1;
    uint32_t *ring = strata__alloc_array(s->layer->mem, ring_size, sizeof *ring);
    uint64_t *table = strata__alloc_array(s->layer->mem, table_size, sizeof *table);
    if (ring == NULL || table == NULL) {
        strata__free(s->layer->mem, ring);
        strata__free(s->layer->mem, table);
        return -1;
    }
    uint32_t n = 0;
    for (uint32_t k = 0; k < g->used; k++) {
        uint32_t f = g->ring[(g->tail + k) % g->ring_size];
        if (f != 0)
            ring[n++] = f;
    }
    s->bytes += ghost_bytes(ring_size, table_size) - before;
    strata__free(s->layer->mem, g->ring);
    strata__free(s->layer->mem, g->table);
    *g = (struct ghost){
        .ring = ring, .table = table, .ring_size = ring_size, .table_mask = table_size - 1, .used = n, .live = n
    };
    for (uint32_t i = 0; i < n; i++)
        table_add(g, i);
    return 0;
}

static void forget_oldest(struct ghost *g)
{
    drop_holes_at_tail(g);
    if (g->live == 0)
        return;
    uint64_t *slot = find(g, g->ring[g->tail]);
    if (slot != NULL)
        forget(g, slot);
    drop_holes_at_tail(g);
}

void strata__ghost_add(struct shard *s, uint32_t fingerprint, uint64_t capacity)
{
    struct ghost *g = &s->ghost;
    if (capacity == 0 || capacity > UINT32_MAX / 2)
        return;
    uint64_t *again = g->live != 0 ? find(g, fingerprint) : NULL;
    if (again != NULL)
        forget(g, again); /* two keys with one fingerprint: the newer place counts */
    while (g->live >= capacity)
        forget_oldest(g);
    if (g->used == g->ring_size) {
        /* A fifth of room for holes; more entries than before need a larger ring. */
        uint64_t want = capacity + capacity / 5 + 16;
        uint64_t step = (uint64_t)g->ring_size * 3 / 2 + 64;
        uint64_t size = g->live * 6 < g->ring_size * 5ull ? g->ring_size : want < step ? want : step;
        if (size <= g->live || repack(s, (uint32_t)size) != 0) {
            while (g->used == g->ring_size && g->used > 0)
                forget_oldest(g);
            if (g->ring_size == 0)
                return;
        }
    }
    uint32_t position = (uint32_t)(((uint64_t)g->tail + g->used) % g->ring_size);
    g->ring[position] = fingerprint;
    g->used++;
    g->live++;
    table_add(g, position);
    __builtin_prefetch(&g->table[start(g, g->ring[g->tail])], 1); /* the next to be forgotten */
}

void strata__ghost_deinit(struct shard *s)
{
    struct ghost *g = &s->ghost;
    if (g->ring != NULL)
        s->bytes -= ghost_bytes(g->ring_size, g->table_mask + 1);
    strata__free(s->layer->mem, g->ring);
    strata__free(s->layer->mem, g->table);
    *g = (struct ghost){ 0 };
}
