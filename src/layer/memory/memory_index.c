/* memory_index.c - the index of a shard: open addressing, bucket after bucket, read without a lock.
 *
 * A slot holds 32 bits of the hash and the entry's reference; its home, a bucket of eight slots in one cache line, follows
 * from these 32 bits alone, so that growing and removing touch no entry.  Where in a bucket a slot stands means nothing;
 * past its home it stands only if every bucket from there on is full.  So a search ends at a bucket with a hole, and a
 * removal from a full bucket fetches one back that is not at home behind it (no tombstones): while it does, `shifts` is
 * odd, and a reader that found nothing looks again if `shifts` changed meanwhile. */
#include <string.h>

#include "src/layer/memory/memory_impl.h"

static size_t table_bytes(uint64_t slots) { return sizeof(struct index_table) + (size_t)slots * sizeof(uint64_t); }

static struct index_table *new_table(struct memory *m, uint64_t slots)
{
    struct table_room room;
    if (strata__table_take(m, table_bytes(slots), &room) != 0)
        return NULL;
    struct index_table *t = room.at;
    t->room = room;
    t->slot_count = slots;
    return t;
}

void strata__index_free_table(struct shard *s, struct index_table *t)
{
    struct table_room room = t->room; /* which stands in it */
    strata__table_give(s->layer, &room);
}

static struct index_table *current(const struct shard *s)
{
    return atomic_load_explicit(&((struct shard *)(uintptr_t)s)->table, memory_order_relaxed);
}

int strata__index_init(struct shard *s, uint64_t slots)
{
    struct index_table *t = new_table(s->layer, slots);
    if (t == NULL)
        return -1;
    s->bytes += t->room.bytes;
    atomic_store_explicit(&s->table, t, memory_order_release);
    atomic_store_explicit(&s->hint_slots, t->slot_count, memory_order_relaxed);
    return 0;
}

void strata__index_deinit(struct shard *s)
{
    struct index_table *t = current(s);
    if (t != NULL)
        strata__index_free_table(s, t);
    atomic_store(&s->table, NULL);
}

static uint64_t next_bucket(const struct index_table *t, uint64_t at)
{
    at += BUCKET_SLOTS;
    return at == t->slot_count ? 0 : at;
}

static void place(struct index_table *t, uint64_t slot)
{
    uint64_t at = index_home(slot >> 32, t->slot_count);
    unsigned holes;
    while ((holes = bucket_empty(&t->slots[at])) == 0)
        at = next_bucket(t, at);
    atomic_store_explicit(&t->slots[at + (unsigned)__builtin_ctz(holes)], slot, memory_order_release);
}

/* At most 5/7 full; grows by half, so between 0.48 and 0.71 and at 0.58 on average.  Where neither memory nor budget allow
 * that, it may be 7/8 full: slower beats failing. */
/* All slots into a table of another size.  0, -1 out of memory. */
static int replace_table(struct shard *s, uint64_t slots)
{
    struct index_table *old = current(s), *t = new_table(s->layer, slots);
    if (t == NULL)
        return -1;
    for (uint64_t i = 0; i < old->slot_count; i++) {
        uint64_t slot = atomic_load_explicit(&old->slots[i], memory_order_relaxed);
        if (slot != 0)
            place(t, slot);
    }
    s->bytes += t->room.bytes;
    s->bytes -= old->room.bytes;
    atomic_store_explicit(&s->table, t, memory_order_release);
    atomic_store_explicit(&s->hint_slots, t->slot_count, memory_order_relaxed);
    if (s->sweep_at != 0) /* its place means nothing here: another pass follows the one that runs */
        s->next_expiry = INT64_MIN;
    strata__retire_table(s, old);
    strata__retire_collect(s, 0); /* at once if it can be: a table is large */
    return 0;
}

int strata__index_grow(struct shard *s)
{
    struct index_table *old = current(s);
    uint64_t slots = (old->slot_count + old->slot_count / 2 + BUCKET_SLOTS - 1) & ~(uint64_t)(BUCKET_SLOTS - 1);
    int fits = s->bytes + strata__table_counts(table_bytes(slots)) <= s->limit_bytes + old->room.bytes;
    if (!fits || replace_table(s, slots) != 0)
        return (s->entries + 1) * 8 <= old->slot_count * 7 ? 0 : -1;
    return 0;
}

void strata__index_fit(struct shard *s)
{
    struct index_table *old = current(s);
    if (old->slot_count > 32 && s->entries * 4 < old->slot_count)
        (void)replace_table(s, (s->entries * 2 + 32) & ~(uint64_t)(BUCKET_SLOTS - 1));
}

void strata__index_add(struct shard *s, uint64_t hash, uint32_t ref)
{
    place(current(s), index_tag(hash) << 32 | ref);
    s->entries++;
}

static uint64_t slot_of(const struct index_table *t, uint64_t hash, uint32_t ref)
{
    uint64_t tag = index_tag(hash), slot = tag << 32 | ref;
    for (uint64_t at = index_home(tag, t->slot_count);; at = next_bucket(t, at))
        for (unsigned mask = bucket_tagged(&t->slots[at], tag); mask != 0; mask &= mask - 1) {
            uint64_t i = at + (unsigned)__builtin_ctz(mask);
            if (atomic_load_explicit(&t->slots[i], memory_order_relaxed) == slot)
                return i;
        }
}

void strata__index_replace(struct shard *s, uint64_t hash, uint32_t old_ref, uint32_t new_ref)
{
    struct index_table *t = current(s);
    uint64_t i = slot_of(t, hash, old_ref);
    atomic_store_explicit(&t->slots[i], index_tag(hash) << 32 | new_ref, memory_order_release);
}

/* Is `home` cyclically in (gap, i]?  Then the slot at i may not move back to the gap. */
static int stays(uint64_t gap, uint64_t home, uint64_t i)
{
    return gap <= i ? gap < home && home <= i : gap < home || home <= i;
}

/* It moves behind the sweep that runs, which will not meet it: as if it had just come. */
static void note_expiry(struct shard *s, const struct entry *e)
{
    int64_t gone = strata__entry_gone_at(s->layer, e);
    if (gone < s->next_expiry)
        s->next_expiry = gone;
}

/* The first in the bucket at `bucket` that would stand better at `gap`; slot_count: none. */
static uint64_t misplaced(const struct index_table *t, uint64_t gap, uint64_t bucket)
{
    for (uint64_t i = bucket; i < bucket + BUCKET_SLOTS; i++) {
        uint64_t slot = atomic_load_explicit(&t->slots[i], memory_order_relaxed);
        if (slot != 0 && !stays(gap, index_home(slot >> 32, t->slot_count), i))
            return i;
    }
    return t->slot_count;
}

void strata__index_remove(struct shard *s, uint64_t hash, uint32_t ref)
{
    struct index_table *t = current(s);
    uint64_t gap = slot_of(t, hash, ref), bucket = gap & ~(uint64_t)(BUCKET_SLOTS - 1);
    uint64_t shifts = atomic_load_explicit(&s->shifts, memory_order_relaxed);
    int moved = 0;
    while (bucket_empty(&t->slots[bucket]) == 0) {
        bucket = next_bucket(t, bucket);
        uint64_t i = misplaced(t, gap, bucket);
        if (i == t->slot_count)
            continue;
        uint64_t slot = atomic_load_explicit(&t->slots[i], memory_order_relaxed);
        if (!moved) {
            moved = 1;
            atomic_store_explicit(&s->shifts, shifts + 1, memory_order_relaxed);
            atomic_thread_fence(memory_order_release); /* odd before the first move is seen */
        }
        atomic_store_explicit(&t->slots[gap], slot, memory_order_release);
        if (gap < s->sweep_at && i >= s->sweep_at)
            note_expiry(s, entry_at(s, (uint32_t)slot));
        gap = i;
    }
    atomic_store_explicit(&t->slots[gap], 0, memory_order_release);
    if (moved)
        atomic_store_explicit(&s->shifts, shifts + 2, memory_order_release);
    s->entries--;
}

struct entry *strata__index_find(struct shard *s, uint64_t hash, uint32_t space, const void *key, size_t key_size)
{
    struct index_table *t = current(s);
    uint64_t tag = index_tag(hash), at = index_home(tag, t->slot_count);
    for (;; at = next_bucket(t, at)) {
        for (unsigned mask = bucket_tagged(&t->slots[at], tag); mask != 0; mask &= mask - 1) {
            uint64_t slot = atomic_load_explicit(&t->slots[at + (unsigned)__builtin_ctz(mask)], memory_order_relaxed);
            struct entry *e = entry_at(s, (uint32_t)slot);
            if (slot != 0 && e->space == space && e->key_size == key_size && memcmp(entry_key(e), key, key_size) == 0)
                return e;
        }
        if (bucket_empty(&t->slots[at]) != 0)
            return NULL;
    }
}

struct entry *strata__index_find_hash(struct shard *s, uint64_t hash)
{
    struct index_table *t = current(s);
    uint64_t tag = index_tag(hash), at = index_home(tag, t->slot_count);
    for (;; at = next_bucket(t, at)) {
        for (unsigned mask = bucket_tagged(&t->slots[at], tag); mask != 0; mask &= mask - 1) {
            uint64_t slot = atomic_load_explicit(&t->slots[at + (unsigned)__builtin_ctz(mask)], memory_order_relaxed);
            if (slot != 0)
                return entry_at(s, (uint32_t)slot);
        }
        if (bucket_empty(&t->slots[at]) != 0)
            return NULL;
    }
}
