/* memory_read_many.c - a look for many keys at once.
 *
 * A hit waits for two lines of memory, its bucket's and then its entry's, and hits in a row can't wait for theirs at the same time: each
 * is more instructions than a core can hold back.  Here all buckets are fetched, then all entries, and then each is looked at:
 * a group of keys waits about twice, whatever its size.  All of it is one section, and of no more than STRATA_QUICK_MOST keys, for
 * whoever frees memory waits for that. */
#include "src/layer/memory/memory_look.h"
#include "strata/cache.h"

typedef const _Atomic(uint64_t) bucket;

/* Where a group of looks stands. */
struct looks {
    struct memory *m;
    struct reclaim_record *r;
    const strata_lines *lines;
    int64_t now_ms;
    bucket *buckets[STRATA_QUICK_MOST];
    struct entry *entries[STRATA_QUICK_MOST]; /* NULL: not in its home bucket */
};

static inline struct shard *shard_of(const struct memory *m, uint64_t hash) { return &m->shards[hash & m->shard_mask]; }

static inline void fetch_buckets(struct looks *l, const uint64_t *hashes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct index_table *t = atomic_load_explicit(&shard_of(l->m, hashes[i])->table, memory_order_acquire);
        l->buckets[i] = &t->slots[index_home(index_tag(hashes[i]), t->slot_count)];
        __builtin_prefetch((const void *)(uintptr_t)l->buckets[i]);
    }
}

static inline void fetch_entries(struct looks *l, const uint64_t *hashes, size_t count)
{
    const char *base = l->m->range;
    const unsigned shift = l->m->shift;
    for (size_t i = 0; i < count; i++) {
        unsigned mask = bucket_tagged(l->buckets[i], index_tag(hashes[i]));
        uint64_t slot = 0;
        if (__builtin_expect(mask != 0, 1))
            slot = atomic_load_explicit(l->buckets[i] + (unsigned)__builtin_ctz(mask), memory_order_acquire);
        const char *e = base + ((size_t)(uint32_t)slot << shift) * UNIT;
        __builtin_prefetch(e);
        __builtin_prefetch(e + 64); /* key and value begin on two lines, as often as not */
        l->entries[i] = slot != 0 ? (struct entry *)(uintptr_t)e : NULL;
    }
}

/* As look_past(). */
static __attribute__((noinline)) struct entry *look_further(const struct looks *l, const strata_item *item,
                                                            uint64_t hash, strata_value **said)
{
    return look_past(shard_of(l->m, hash), item->key.data, item->key.size, hash, l->lines->space, said);
}

static inline int may_go_out(const struct looks *l, const struct entry *e)
{
    return (e->kind & KIND_NEGATIVE) == 0 && is_fresh(e, l->now_ms) &&
           (__builtin_expect(position_of(e) >= line(&l->lines->tagged), 1) || !strata__memory_below_line(e, l->lines));
}

static inline void count_hit(const struct memory *m, struct entry *e)
{
    uint8_t hits = atomic_load_explicit(&e->hits, memory_order_relaxed);
    if (hits < m->max_hits)
        atomic_store_explicit(&e->hits, (uint8_t)(hits + 1), memory_order_relaxed);
}

static inline struct reclaim_pin *free_slot(struct reclaim_record *r, struct reclaim_pin *p)
{
    if (__builtin_expect(atomic_load_explicit(&p->address, memory_order_acquire) == 0, 1))
        return p;
    return strata__reclaim_more_pins(r);
}

/* Pins of all that may be handed out.  A value that is not, is NULL or STRATA_NOT_HERE. */
static inline size_t hand_out(struct looks *l, strata_item *items, const uint64_t *hashes, size_t count)
{
    struct reclaim_record *r = l->r;
    struct reclaim_pin *p = r->hint, *first = NULL;
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        strata_item *item = &items[i];
        struct entry *e = l->entries[i];
        const size_t n = item->key.size;
        if (__builtin_expect(n - 8 > 56, 0)) { /* is_wanted() is for usual keys */
            item->value = NULL;
            continue;
        }
        if (__builtin_expect(e == NULL || !is_wanted(e, l->lines->space, item->key.data, n), 0) &&
            (e = look_further(l, item, hashes[i], &item->value)) == NULL)
            continue;
        if (__builtin_expect(!may_go_out(l, e), 0) || (p = free_slot(r, p)) == NULL) {
            item->value = NULL;
            p = p != NULL ? p : r->hint;
            continue;
        }
        item->value = memory_pin(p, e);
        item->status = STRATA_OK;
        count_hit(l->m, e);
        first = first != NULL ? first : p;
        p = p->next;
        found++;
    }
    /* When they come back, the next group takes the same ones: their lines are near. */
    if (first != NULL) {
        r->hint = first;
        r->after = p;
    }
    return found;
}

size_t strata__memory_quick_many(strata_layer *layer, struct strata_item *items, const uint64_t *hashes, size_t count,
                                 const strata_lines *lines, int64_t now_ms)
{
    struct looks l;
    l.m = (struct memory *)(void *)layer;
    l.r = reclaim_self();
    l.lines = lines;
    l.now_ms = now_ms;
    if (__builtin_expect(l.r == NULL || l.m->wants_touches, 0)) {
        for (size_t i = 0; i < count; i++)
            items[i].value = NULL;
        return 0;
    }
    reclaim_enter(l.r);
    fetch_buckets(&l, hashes, count);
    fetch_entries(&l, hashes, count);
    size_t found = hand_out(&l, items, hashes, count);
    reclaim_leave(l.r);
    return found;
}
