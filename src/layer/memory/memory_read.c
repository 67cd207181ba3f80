/* memory_read.c - a look into the memory layer: no lock, no allocation, no line written that threads share (but an
 * entry's saturating hit counter, until it is saturated). */
#include <string.h>

#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_look.h"

/* memcmp's call costs as much as comparing a usual key of 8 to 32 bytes, which this does without a branch on its size. */
static inline int same_key(const char *a, const char *b, size_t n)
{
    if (__builtin_expect(n - 8 > 24, 0))
        return memcmp(a, b, n) == 0;
    size_t second = n >= 16 ? 8 : n - 8, third = n >= 16 ? n - 16 : 0, last = n - 8;
    return ((load64(a) ^ load64(b)) | (load64(a + second) ^ load64(b + second)) |
            (load64(a + third) ^ load64(b + third)) | (load64(a + last) ^ load64(b + last))) == 0;
}

static inline struct entry *search(struct shard *s, const strata_op *op)
{
    struct index_table *t = atomic_load_explicit(&s->table, memory_order_acquire);
    uint64_t tag = index_tag(op->hash), count = t->slot_count, at = index_home(tag, count);
    for (;;) {
        for (unsigned mask = bucket_tagged(&t->slots[at], tag); mask != 0; mask &= mask - 1) {
            uint64_t slot = atomic_load_explicit(&t->slots[at + (unsigned)__builtin_ctz(mask)], memory_order_acquire);
            if (slot >> 32 != tag || slot == 0)
                continue;
            struct entry *e = entry_at(s, (uint32_t)slot);
            __builtin_prefetch((const char *)e + 64); /* key and value begin on two lines, as often as not */
            if (e->key_size == op->key.size && e->space == op->space &&
                same_key(entry_key(e), op->key.data, op->key.size))
                return e;
        }
        if (bucket_empty(&t->slots[at]) != 0)
            return NULL;
        at += BUCKET_SLOTS;
        if (at == count)
            at = 0;
    }
}

/* A removal may have moved the slot past us: then `shifts` is odd or has changed.  Look again; and if a writer sleeps
 * in the middle of it, wait for its lock outside of the section (inside, it might be waiting for us). */
static __attribute__((noinline)) struct entry *search_again(struct reclaim_record *r, struct shard *s,
                                                            const strata_op *op, uint64_t shifts)
{
    for (int tries = 1;; tries++) {
        atomic_thread_fence(memory_order_acquire);
        uint64_t now = atomic_load_explicit(&s->shifts, memory_order_acquire);
        if (now == shifts && (now & 1) == 0)
            return NULL;
        if (tries % 64 == 0) {
            reclaim_leave(r);
            os_lock_take(&s->lock);
            os_lock_give(&s->lock);
            reclaim_enter(r);
            now = atomic_load_explicit(&s->shifts, memory_order_acquire);
        }
        shifts = now;
        struct entry *e = search(s, op);
        if (e != NULL)
            return e;
    }
}

static inline void bump(struct memory *m, struct reclaim_record *r, unsigned counter)
{
    if (__builtin_expect(m->cell >= 0, 1)) {
        _Atomic(uint64_t) *c = &r->cells[m->cell][counter];
        atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + 1, memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&m->shared_cell[counter], 1, memory_order_relaxed);
    }
}

static inline void count_use(struct memory *m, struct reclaim_record *r, struct entry *e, uint64_t hash)
{
    uint8_t hits = atomic_load_explicit(&e->hits, memory_order_relaxed);
    if (hits < m->max_hits)
        atomic_store_explicit(&e->hits, (uint8_t)(hits + 1), memory_order_relaxed);
    if (__builtin_expect(m->wants_touches, 0))
        strata__memory_touched(m, r, hash);
}

/* It has tags, and was born below the line of all that have: is it below that of one of its own? */
static __attribute__((noinline)) int below_tag_line(const struct entry *e, uint32_t position, const strata_lines *lines)
{
    const struct entry_tags *tags = entry_tags(e);
    if (tags->known == 0)
        return tags->count != 0;
    for (uint32_t i = 0; i < tags->known; i++)
        if (position < line(&lines->tag_lines[tags->ids[i] & lines->tag_mask]))
            return 1;
    return 0;
}

static inline int below_line(const struct entry *e, const strata_lines *lines)
{
    uint32_t position = position_of(e);
    if (__builtin_expect(position >= line(&lines->tagged), 1))
        return 0; /* it is the higher one */
    return position < line(&lines->plain) || ((e->kind & KIND_TAGGED) != 0 && below_tag_line(e, position, lines));
}

int strata__memory_below_line(const struct entry *e, const strata_lines *lines) { return below_line(e, lines); }

void strata__memory_checked(strata_layer *layer, strata_value *found, uint32_t position)
{
    (void)layer;
    if (found->kind != STRATA__VALUE_PIN)
        return;
    struct reclaim_pin *p = (struct reclaim_pin *)(void *)found;
    strata__memory_move_up((struct entry *)(uintptr_t)atomic_load_explicit(&p->address, memory_order_relaxed), position);
}

/* Without memory the entry counts as having any tag. */
static __attribute__((noinline)) void copy_tags(const struct memory *m, const struct entry *e, strata_op *op)
{
    strata_slice notes = entry_notes(e);
    op->meta.tag_count = entry_tags(e)->count;
    op->tags = notes.size != 0 ? strata__value_copy(m->mem, notes.data, notes.size) : NULL;
}

static inline int lookup(struct memory *m, strata_op *op, int64_t gone_before)
{
    struct reclaim_record *r = reclaim_self();
    if (__builtin_expect(r == NULL, 0))
        return STRATA_MISS;
    struct shard *s = &m->shards[op->hash & m->shard_mask];
    strata_value *over = NULL;
    int status = STRATA_MISS;

    reclaim_enter(r);
    uint64_t shifts = atomic_load_explicit(&s->shifts, memory_order_acquire);
    struct entry *e = search(s, op);
    if (__builtin_expect(e == NULL, 0))
        e = search_again(r, s, op, shifts);
    op->tags = NULL;
    if (e == NULL || position_of(e) < op->meta.position) {
        reclaim_leave(r);
        bump(m, r, CELL_MISSES);
        return STRATA_MISS;
    }
    if (__builtin_expect((e->kind & KIND_NEGATIVE) == 0, 1)) {
        struct reclaim_pin *p = reclaim_slot(r);
        if (__builtin_expect(p == NULL, 0)) {
            reclaim_leave(r);
            return STRATA_MISS;
        }
        op->found = memory_pin(p, e);
        status = e->deadline > op->now_ms || ((e->kind & KIND_FOREVER) && op->now_ms != INT64_MAX) ? STRATA_OK
                                                                                                   : STRATA_STALE;
        if (op->lines != NULL && __builtin_expect(below_line(e, op->lines), 0))
            status = STRATA_STALE;
    } else {
        op->found = NULL;
        status = STRATA_STALE;
    }
    if (__builtin_expect(status != STRATA_OK, 0)) {
        strata__meta_load(m, e, &op->meta);
        op->flags = (e->kind & KIND_BACKED) != 0 ? STRATA_OP_BACKED : 0;
        if (strata__entry_gone_at(m, e) <= gone_before) {
            status = STRATA_MISS;
            over = op->found;
            op->found = NULL;
        } else if (e->kind & KIND_TAGGED) {
            copy_tags(m, e, op);
        }
    }
    if (status != STRATA_MISS)
        count_use(m, r, e, op->hash);
    reclaim_leave(r);
    /* Not before: who gives a pin back may be the one to close another layer, which runs a codec. */
    if (over != NULL)
        strata_value_unref(over);
    bump(m, r, status != STRATA_MISS ? CELL_HITS : CELL_MISSES);
    return status;
}

int strata__memory_lookup(strata_layer *layer, strata_op *op)
{
    return lookup((struct memory *)(void *)layer, op, op->now_ms);
}

/* Fetches the slot's line and returns the shard.  A hit waits for two lines of memory, the slot's and then the entry's;
 * what its caller does between this and quick() (the clock, its counters) overlaps with the first wait, and in a row of
 * hits the first wait of one overlaps with the second of the one before, which the length of a whole call would prevent.
 * Outside of a section the table may go at any time: its address is computed, never read, and a prefetch can't fault. */
const void *strata__memory_hint(strata_layer *layer, uint64_t hash)
{
    struct memory *m = (struct memory *)(void *)layer;
    struct shard *s = &m->shards[hash & m->shard_mask];
    uintptr_t table = (uintptr_t)atomic_load_explicit(&s->table, memory_order_relaxed);
    uint64_t slots = atomic_load_explicit(&s->hint_slots, memory_order_relaxed);
    uint64_t home = index_home(index_tag(hash), slots);
    __builtin_prefetch((const void *)(table + offsetof(struct index_table, slots) + home * sizeof(uint64_t)));
    return s;
}

static inline strata_value *section_over(struct reclaim_record *r, uint64_t section, strata_value *answer)
{
    atomic_store_explicit(&r->section, section + 2, memory_order_release);
    return answer;
}

/* A pin of it; the section is over. */
static inline __attribute__((always_inline)) strata_value *hand_out(struct shard *s, struct reclaim_record *r,
                                                                    uint64_t section, struct reclaim_pin *p,
                                                                    struct entry *e)
{
    struct strata_value *v = memory_pin(p, e);
    uint8_t hits = atomic_load_explicit(&e->hits, memory_order_relaxed);
    if (hits < s->quick_hits)
        atomic_store_explicit(&e->hits, (uint8_t)(hits + 1), memory_order_relaxed);
    return section_over(r, section, v);
}

/* What was found is older than some ban, or can't be handed out at once: a pin, or NULL.  In the section that was entered. */
static __attribute__((noinline)) strata_value *quick_judge(struct shard *s, struct entry *e, const strata_lines *lines,
                                                           int64_t now_ms)
{
    struct reclaim_record *r = strata__reclaim_quick;
    uint64_t section = atomic_load_explicit(&r->section, memory_order_relaxed) - 1;
    struct reclaim_pin *p = r->hint;
    if ((e->kind & KIND_NEGATIVE) != 0 || below_line(e, lines) || !is_fresh(e, now_ms) ||
        atomic_load_explicit(&p->address, memory_order_acquire) != 0)
        return section_over(r, section, NULL);
    return hand_out(s, r, section, p, e);
}

/* The first look did not find it: not there, past its home, or beside another one of its tag.  In the section that was
 * entered. */
static __attribute__((noinline)) strata_value *quick_further(struct shard *s, const char *key, size_t n, uint64_t hash,
                                                             const strata_lines *lines, int64_t now_ms)
{
    struct reclaim_record *r = strata__reclaim_quick;
    uint64_t section = atomic_load_explicit(&r->section, memory_order_relaxed) - 1;
    strata_value *said;
    struct entry *e = look_past(s, key, n, hash, lines->space, &said);
    return e != NULL ? quick_judge(s, e, lines, now_ms) : section_over(r, section, said);
}

/* All its calls are its last words, so that it needs no stack and few instructions: the fewer there are, the more hits
 * overlap in the core while they wait for memory. */
strata_value *strata__memory_quick(const void *where, const void *key, size_t n, uint64_t hash,
                                   const strata_lines *lines, int64_t now_ms)
{
    struct shard *s = (struct shard *)(uintptr_t)where;
    struct reclaim_record *r = strata__reclaim_quick;
    if (__builtin_expect(r == NULL || n - 8 > 56 || s->no_quick, 0))
        return NULL;
    uint64_t section = atomic_load_explicit(&r->section, memory_order_relaxed);
    atomic_store_explicit(&r->section, section + 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    struct index_table *t = atomic_load_explicit(&s->table, memory_order_acquire);
    const _Atomic(uint64_t) *at = bucket_first(&t->slots[index_home(index_tag(hash), t->slot_count)], hash);
    if (__builtin_expect(at != NULL, 1)) {
        uint64_t slot = atomic_load_explicit(at, memory_order_acquire);
        struct entry *e = entry_at(s, (uint32_t)slot);
        __builtin_prefetch((const char *)e + 64); /* key and value begin on two lines, as often as not */
        if (__builtin_expect(slot != 0 && is_wanted(e, lines->space, key, n), 1)) {
            struct reclaim_pin *p = r->hint;
            if (__builtin_expect((e->kind & KIND_NEGATIVE) == 0 && position_of(e) >= line(&lines->tagged) &&
                                     is_fresh(e, now_ms) && atomic_load_explicit(&p->address, memory_order_acquire) == 0,
                                 1))
                return hand_out(s, r, section, p, e);
            return quick_judge(s, e, lines, now_ms);
        }
    }
    return quick_further(s, key, n, hash, lines, now_ms);
}

/* With a clock at its end every entry needs a thought, so its meta data are told; an entry that nobody needs is still
 * told from the real moment. */
int strata__memory_lookup_meta(struct memory *m, strata_op *op, int64_t now_ms)
{
    int status = lookup(m, op, now_ms);
    return status == STRATA_MISS ? STRATA_MISS : STRATA_OK;
}

struct strata_value *strata__memory_pinned_heap(const struct strata_value *value)
{
    if (value->kind != STRATA__VALUE_PIN)
        return NULL;
    struct reclaim_pin *p = (struct reclaim_pin *)(void *)(uintptr_t)value;
    const struct entry *e = (const struct entry *)atomic_load_explicit(&p->address, memory_order_relaxed);
    return (e->kind & KIND_HEAP) ? entry_heap(e)->value : NULL;
}
