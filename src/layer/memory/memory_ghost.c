/* memory_ghost.c - the ghost of S3-FIFO: fingerprints of what left the small queue, oldest forgotten first.
 *
 * A ring of fingerprints in order of arrival, each numbered for ever, and chains through it from a table of heads: the
 * youngest of a chain comes first and each knows the number of the next older one.  Whoever is older than the ring's oldest
 * is forgotten, so that forgetting is one addition and a chain ends where its numbers leave the ring.  Taking one out (a
 * ghost hit) leaves a hole: the capacity counts live fingerprints only.  Full of holes, the ring is packed, which costs
 * as much as the takes that made the holes. */
#include <string.h>

#include "src/base/mem.h"
#include "src/layer/memory/memory_impl.h"

static struct ghost_slot *slot_at(const struct ghost *g, uint32_t number)
{
    uint32_t i = number - g->first; /* below twice the ring's size */
    return &g->ring[i < g->ring_size ? i : i - g->ring_size];
}

static struct ghost_slot *find(const struct ghost *g, uint32_t fingerprint)
{
    if (g->live == 0)
        return NULL;
    /* Numbers wrap: what counts is the distance from the oldest, which must get smaller along a chain. */
    uint32_t bound = g->next - g->oldest, number = *ghost_head(g, fingerprint), age;
    while ((age = number - g->oldest) < bound) {
        struct ghost_slot *slot = slot_at(g, number);
        if (slot->fingerprint == fingerprint)
            return slot;
        bound = age;
        number = slot->older;
    }
    return NULL;
}

void strata__ghost_fetch(const struct ghost *g, uint32_t fingerprint)
{
    if (g->live == 0)
        return;
    uint32_t number = *ghost_head(g, fingerprint);
    if (number - g->oldest < g->next - g->oldest)
        __builtin_prefetch(slot_at(g, number));
}

static void drop_holes_at_tail(struct ghost *g)
{
    while (g->oldest != g->next && slot_at(g, g->oldest)->fingerprint == 0)
        g->oldest++;
}

static void take_out(struct ghost *g, struct ghost_slot *slot)
{
    slot->fingerprint = 0;
    g->live--;
    drop_holes_at_tail(g);
}

int strata__ghost_take(struct ghost *g, uint32_t fingerprint)
{
    struct ghost_slot *slot = find(g, fingerprint);
    if (slot == NULL)
        return 0;
    take_out(g, slot);
    return 1;
}

/* There is room. */
static void push(struct ghost *g, uint32_t fingerprint)
{
    if (g->next - g->first == 2 * g->ring_size)
        g->first += g->ring_size;
    uint32_t *head = ghost_head(g, fingerprint);
    *slot_at(g, g->next) = (struct ghost_slot){ .fingerprint = fingerprint, .older = *head };
    *head = g->next++;
    g->live++;
}

static size_t ghost_bytes(uint32_t ring_size, uint32_t heads)
{
    return (size_t)ring_size * sizeof(struct ghost_slot) + (size_t)heads * sizeof(uint32_t);
}

static size_t own_bytes(const struct ghost *g)
{
    return g->ring != NULL ? ghost_bytes(g->ring_size, g->head_mask + 1) : 0;
}

static void free_arrays(const struct shard *s, struct ghost_slot *ring, uint32_t *heads)
{
    strata__free(s->layer->mem, ring);
    strata__free(s->layer->mem, heads);
}

static void publish_hint(struct shard *s)
{
    atomic_store_explicit(&s->hint_heads, (uintptr_t)s->ghost.heads, memory_order_relaxed);
    atomic_store_explicit(&s->hint_head_mask, s->ghost.head_mask, memory_order_relaxed);
}

/* Move the live ones into a ring of `ring_size` (which may be the same) without holes.  0, -1 no room for it. */
static int repack(struct shard *s, uint32_t ring_size)
{
    struct ghost old = s->ghost, *g = &s->ghost;
    uint32_t heads = 16;
    while (heads < ring_size)
        heads *= 2;
    if (ghost_bytes(ring_size, heads) > own_bytes(&old) &&
        s->bytes + ghost_bytes(ring_size, heads) > s->limit_bytes + own_bytes(&old))
        return -1;
    struct ghost fresh = { .head_mask = heads - 1, .ring_size = ring_size, .first = 1, .oldest = 1, .next = 1 };
    fresh.ring = strata__alloc_array(s->layer->mem, ring_size, sizeof *fresh.ring);
    fresh.heads = strata__alloc_array(s->layer->mem, heads, sizeof *fresh.heads); /* 0: older than the oldest */
    if (fresh.ring == NULL || fresh.heads == NULL) {
        free_arrays(s, fresh.ring, fresh.heads);
        return -1;
    }
    for (uint32_t n = old.oldest; n != old.next; n++) {
        uint32_t f = slot_at(&old, n)->fingerprint;
        if (f != 0)
            push(&fresh, f);
    }
    s->bytes += ghost_bytes(ring_size, heads) - own_bytes(&old);
    free_arrays(s, old.ring, old.heads);
    *g = fresh;
    publish_hint(s);
    return 0;
}

/* Its oldest is no hole. */
static void forget_oldest(struct ghost *g)
{
    g->oldest++;
    g->live--;
    drop_holes_at_tail(g);
}

/* A full ring: a larger one, or one without holes, or else one that forgets.  1: there is room now. */
static int make_room(struct shard *s, uint64_t capacity)
{
    struct ghost *g = &s->ghost;
    /* A fifth of room for holes; more entries than before need a larger ring. */
    uint64_t want = capacity + capacity / 5 + 16;
    uint64_t step = (uint64_t)g->ring_size * 3 / 2 + 64;
    uint64_t size = g->live * 6 < g->ring_size * 5ull ? g->ring_size : want < step ? want : step;
    if (size > g->live && repack(s, (uint32_t)size) == 0)
        return 1;
    if (g->live != 0)
        forget_oldest(g);
    return g->ring_size != 0;
}

void strata__ghost_add(struct shard *s, uint32_t fingerprint, uint64_t capacity)
{
    struct ghost *g = &s->ghost;
    if (capacity == 0 || capacity > UINT32_MAX / 4)
        return;
    struct ghost_slot *again = find(g, fingerprint);
    if (again != NULL)
        take_out(g, again); /* two keys with one fingerprint: the newer place counts */
    while (g->live >= capacity)
        forget_oldest(g);
    if (g->next - g->oldest == g->ring_size && !make_room(s, capacity))
        return;
    push(g, fingerprint);
}

void strata__ghost_fit(struct shard *s, uint64_t capacity)
{
    struct ghost *g = &s->ghost;
    uint64_t want = capacity + capacity / 5 + 16;
    while (g->live > capacity)
        forget_oldest(g);
    if (g->ring_size / 3 > want)
        (void)repack(s, (uint32_t)want);
}

void strata__ghost_deinit(struct shard *s)
{
    struct ghost *g = &s->ghost;
    s->bytes -= own_bytes(g);
    free_arrays(s, g->ring, g->heads);
    *g = (struct ghost){ 0 };
    publish_hint(s);
}
