/* memory_room.c - room for what comes in: who leaves, and what the shard's pages are used for.
 *
 * Entries leave in the policy's order.  That is enough where sizes are alike; where they are not, two things are not
 * in the policy's gift.  A large block needs room that is together, and those who leave in order stand anywhere: so once
 * a batch of them did not help, the neighbours leave with them.  And a value on the heap takes budget, not room in
 * chunks: so a chunk's worth of room is emptied as a whole and its pages go back to the system. */
#include <string.h>

#include "src/base/mem.h"
#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_put.h"
#include "src/layer/memory/memory_queue.h"

enum { MOST_JOINS = 2 }; /* for one block: more would not help it, for what is pinned is in the way */

/* "Absent" is soon found out again, and not worth a write. */
static void demote(const struct memory *m, const struct entry *e, uint64_t hash)
{
    struct demotion d = { .hash = hash, .space = e->space, .key = strata_bytes(entry_key(e), e->key_size) };
    if ((e->kind & (KIND_NEGATIVE | KIND_BACKED)) != 0)
        return;
    strata__meta_load(m, e, &d.meta);
    if (e->kind & KIND_HEAP)
        d.value = entry_heap(e)->value;
    else
        d.bytes = strata_bytes(entry_value(e), entry_value_size(e));
    if (e->kind & KIND_TAGGED)
        d.tags = entry_notes(e);
    m->host->demote(m->host, &d);
}

static void tell_of(struct shard *s, const struct entry *e, uint64_t hash)
{
    const struct memory *m = s->layer;
    if (m->demotes)
        demote(m, e, hash);
    if (atomic_load_explicit(&m->host->eviction_listeners, memory_order_relaxed) == 0)
        return;
    struct eviction_note *n = strata__alloc(m->mem, sizeof *n + e->key_size);
    if (n == NULL)
        return; /* an event less, not a put less */
    n->space = e->space;
    n->key_size = e->key_size;
    memcpy(n->key, entry_key(e), e->key_size);
    n->next = s->notes;
    s->notes = n;
}

static inline void note_eviction(struct shard *s, const struct entry *e, uint64_t hash)
{
    const struct memory *m = s->layer;
    if (m->demotes || atomic_load_explicit(&m->host->eviction_listeners, memory_order_relaxed) != 0)
        tell_of(s, e, hash);
}

/* This one leaves, whatever the policy thinks of it. */
static void evict(struct shard *s, struct entry *e)
{
    uint64_t hash = strata__entry_hash(s->layer, e);
    note_eviction(s, e, hash);
    strata__memory_drop_locked(s, e, hash);
    s->evictions++;
}

/* The lines that a victim's leaving touches are long out of the caches, each found by way of another: the wait for one of
 * them is as long as all the rest of a put.  So they are fetched while the victim before it leaves. */
static void fetch_likely(struct shard *s)
{
    if (s->eviction->likely == NULL)
        return;
    const struct entry *e = s->eviction->likely(s);
    s->likely = 0;
    if (e == NULL)
        return;
    uint64_t hash = strata__entry_hash(s->layer, e);
    s->likely = ref_of(s, e);
    s->likely_hash = hash;
    index_fetch(s, hash);
    ghost_fetch(s, hash);
}

static uint64_t victim_hash(struct shard *s, const struct entry *e)
{
    if (__builtin_expect(ref_of(s, e) == s->likely, 1))
        return s->likely_hash;
    uint64_t hash = strata__entry_hash(s->layer, e);
    index_fetch(s, hash);
    ghost_fetch(s, hash);
    return hash;
}

/* One entry leaves for want of room.  Negative ones go first when a negative one comes, last otherwise; of what is within a share
 * one goes where there is nobody else, if it may.  NULL: there is none. */
static struct entry *evict_one(struct shard *s, int negative_first, int may_break)
{
    struct entry *e = NULL;
    if (s->left_waits)
        strata__memory_tell_policy(s);
    const struct queue *negatives = &s->queues[QUEUE_NEGATIVE];
    if (!negative_first || negatives->tail == 0)
        e = __builtin_expect(s->shares == NULL, 1) ? s->eviction->victim(s) : strata__share_victim(s);
    int chosen = e != NULL;
    if (e == NULL && negatives->tail != 0) {
        e = entry_at(s, negatives->tail);
        strata__queue_unlink(s, QUEUE_NEGATIVE, e);
    }
    if (e == NULL && s->shares != NULL && may_break)
        e = strata__share_last(s);
    if (e == NULL)
        return NULL;
    uint64_t hash = victim_hash(s, e);
    note_eviction(s, e, hash);
    strata__index_remove(s, hash, ref_of(s, e));
    if (s->shares != NULL)
        strata__share_out(s, e);
    strata__retire(s, e);
    if (chosen && s->eviction->evicted != NULL) {
        s->left = hash;
        s->left_waits = 1;
        if (!s->eviction->told_late)
            strata__memory_tell_policy(s);
    }
    s->evictions++;
    fetch_likely(s);
    return e;
}

int strata__memory_evict_one(struct shard *s, int negative_first) { return evict_one(s, negative_first, 1) != NULL; }

struct entry *strata__memory_evict(struct shard *s) { return evict_one(s, 0, 1); }

/* An entry that can be found, not a free block nor one that is retired. */
static int stands(const struct entry *b)
{
    uint32_t w = atomic_load_explicit(&b->block, memory_order_relaxed);
    return (w & BLOCK_FREE) == 0 && (w & BLOCK_QUEUE) != 0;
}

/* It stands there, and eviction may not choose it. */
static int stays(const struct shard *s, const struct entry *b)
{
    return stands(b) && (queue_number(b) == QUEUE_RESIDENT || (s->shares != NULL && strata__share_protects(s, b)));
}

/* Of a run of *units from `b` on, the first who stays (or stands there, if `all` do), with what the run is from there on; NULL: nobody. */
static struct entry *first_to_stay(const struct shard *s, struct entry *b, uint32_t *units, int all)
{
    while (b != NULL && !(all ? stands(b) : stays(s, b))) {
        if (entry_units(b) >= *units)
            return NULL;
        *units -= entry_units(b);
        b = strata__slab_next(s, b);
    }
    return b;
}

/* Those who stay find room in other chunks, first of all: where one does not, nobody leaves in vain.  0: one does not. */
static int move_run(struct shard *s, struct entry *b, uint32_t units, int all)
{
    struct entry *e = first_to_stay(s, b, &units, all), *chunk = strata__slab_chunk_of(s, b);
    if (e == NULL)
        return 1;
    strata__slab_hide(s, chunk);
    while (e != NULL && strata__memory_move(s, e))
        e = first_to_stay(s, e, &units, all);
    strata__slab_show(s, chunk);
    return e == NULL;
}

/* Those who stand from `b` on leave, until the room is `units` together or the chunk ends.  What was reached. */
static uint32_t evict_run(struct shard *s, struct entry *b, uint32_t units)
{
    uint32_t run = 0;
    if ((s->aside != 0 || s->shares != NULL) && !move_run(s, b, units, 0))
        return 0;
    for (; b != NULL && run < units; b = strata__slab_next(s, b)) {
        if (s->shares != NULL && stays(s, b)) /* since others of its namespace left */
            return 0;
        if (stands(b))
            evict(s, b);
        run += entry_units(b);
    }
    return run;
}

/* The neighbours of one who left. */
static void evict_around(struct shard *s, struct entry *e, uint32_t units)
{
    if (evict_run(s, e, units) < units)
        (void)evict_run(s, strata__slab_chunk_of(s, e), units);
}

/* Does one more chunk fit the budget, with what index and ghost will need for the entries it brings? */
static int may_grow(const struct shard *s)
{
    uint64_t chunk = s->layer->chunk_bytes;
    uint64_t other = s->heap_bytes;
    uint64_t chunks = s->slab_bytes / chunk;
    uint64_t tables = s->bytes - s->slab_bytes - other;
    uint64_t expected = chunks != 0 ? s->entries * 26 / chunks * (chunks + 1) : 0;
    if (expected < tables)
        expected = tables;
    return s->slab_bytes + chunk + other + expected <= s->limit_bytes;
}

/* Unlinked entries are freed in batches: the cost of looking at all threads is shared. */
uint64_t strata__memory_batch(const struct shard *s)
{
    uint64_t n = s->entries / 8;
    return n < 1 ? 1 : n > 256 ? 256 : n;
}

/* A chunk's worth of the slab is free, or will be, but scattered: all of one chunk leaves. */
void strata__memory_empty_chunk(struct shard *s, struct entry *e)
{
    (void)evict_run(s, strata__slab_chunk_of(s, e), UINT32_MAX);
    strata__retire_collect(s, 0);
}

/* More is free than policies leave free, but residents stand scattered in it: the oldest of them, if that is so; else NULL. */
static struct entry *scattered_resident(const struct shard *s)
{
    uint32_t oldest = s->queues[QUEUE_RESIDENT].tail;
    return oldest != 0 && s->free_units * UNIT >= 2 * (uint64_t)s->layer->chunk_bytes ? entry_at(s, oldest) : NULL;
}

/* Residents make way for a block, and others between them leave.  0: there is nothing to be had by that. */
static int join_for(struct shard *s, uint32_t units)
{
    struct entry *e = scattered_resident(s);
    if (e == NULL)
        return 0;
    evict_around(s, e, units);
    return strata__retire_collect(s, 0) != 0;
}

/* All who stand in its chunk find room elsewhere. */
int strata__memory_join_chunk(struct shard *s)
{
    struct entry *e = scattered_resident(s);
    return e != NULL && move_run(s, strata__slab_chunk_of(s, e), UINT32_MAX, 1) && strata__retire_collect(s, 0) != 0 &&
           strata__slab_give(s);
}

int strata__memory_heap_room(struct shard *s, const struct incoming *in)
{
    uint64_t stuck = 0; /* retired with values on the heap when we last tried to free them: pinned */
    uint64_t left = 0;  /* units of the slab whose entries left */
    int joins = 1;      /* chunks can be had by moving residents */
    while (s->bytes + in->heap_cost > s->limit_bytes) {
        s->bytes_fit = s->entries;
        if (strata__slab_give(s))
            continue;
        if (s->dead_count == DEAD_VALUES)
            return HEAP_ROOM_LATER;
        if (s->retired_heap > stuck) {
            size_t freed = strata__retire_collect(s, 0);
            stuck = s->retired_heap;
            if (freed != 0)
                continue;
        }
        if (joins && (joins = strata__memory_join_chunk(s)) != 0)
            continue;
        struct entry *e = evict_one(s, (in->kind & KIND_NEGATIVE) != 0, 0);
        if (e == NULL) {
            if (strata__retire_collect(s, 1) == 0)
                return HEAP_ROOM_NONE;
            stuck = s->retired_heap;
            continue;
        }
        if (e->kind & KIND_HEAP)
            continue;
        left += entry_units(e);
        if ((left + s->free_units) * UNIT >= s->layer->chunk_bytes) {
            strata__memory_empty_chunk(s, e);
            stuck = s->retired_heap;
            left = 0;
        }
    }
    return HEAP_ROOM_MADE;
}

/* What has been tried for one block. */
struct search {
    int scattered; /* a batch came free, but nowhere enough of it together */
    int joins;     /* so many more may be tried */
};

/* No free block is large enough: a step on the way to one.  0: there is no room to be had. */
static int make_more_room(struct shard *s, const struct incoming *in, struct search *so_far)
{
    int negative = (in->kind & KIND_NEGATIVE) != 0;
    if ((so_far->scattered || s->retired_count >= s->kept + strata__memory_batch(s)) && strata__retire_relieve(s) != 0) {
        so_far->scattered = 1;
        return 1;
    }
    if (may_grow(s) && strata__slab_grow(s) == 0)
        return 1;
    s->bytes_fit = s->entries;
    if (so_far->joins > 0 && so_far->joins-- > 0 && join_for(s, (uint32_t)(in->bytes / UNIT)))
        return 1;
    struct entry *e = evict_one(s, negative, 0);
    if (e == NULL && strata__retire_collect(s, 1) != 0) {
        so_far->scattered |= s->shares != NULL;
        return 1;
    }
    if (e == NULL && (e = evict_one(s, negative, 1)) == NULL)
        return 0;
    if (so_far->scattered)
        evict_around(s, e, (uint32_t)(in->bytes / UNIT));
    return 1;
}

struct entry *strata__memory_room(struct shard *s, const struct incoming *in, int count_grows)
{
    while (count_grows && s->entries >= s->limit_entries) {
        s->bytes_fit = 0;
        if (evict_one(s, (in->kind & KIND_NEGATIVE) != 0, 1) == NULL)
            return NULL;
    }
    struct search so_far = { 0, MOST_JOINS };
    struct entry *e;
    while ((e = strata__slab_alloc(s, in->bytes)) == NULL)
        if (!make_more_room(s, in, &so_far))
            return NULL;
    return e;
}

void strata__memory_negative_room(struct shard *s, uint64_t weight)
{
    const struct queue *q = &s->queues[QUEUE_NEGATIVE];
    while (q->tail != 0 && q->weight + weight > s->negative_limit)
        evict(s, entry_at(s, q->tail));
}
