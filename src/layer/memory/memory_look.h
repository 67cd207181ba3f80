/* memory_look.h - what a look at an entry asks, shared by a look for one key (memory_read.c) and one for many (memory_read_many.c). */
#ifndef STRATA_LAYER_MEMORY_LOOK_H
#define STRATA_LAYER_MEMORY_LOOK_H
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "src/layer/memory/memory_impl.h"

static inline uint64_t load64(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* Keys of 16 to 32 bytes: the first and the last 16. */
typedef uint64_t pair __attribute__((vector_size(16)));

static inline pair load_pair(const char *p)
{
    pair x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline int same_usual_key(const char *a, const char *b, size_t n)
{
#if defined(__SSE2__)
    __m128i first = _mm_cmpeq_epi8((__m128i)load_pair(a), (__m128i)load_pair(b));
    __m128i last = _mm_cmpeq_epi8((__m128i)load_pair(a + n - 16), (__m128i)load_pair(b + n - 16));
    return _mm_movemask_epi8(_mm_and_si128(first, last)) == 0xffff;
#else
    pair x = (load_pair(a) ^ load_pair(b)) | (load_pair(a + n - 16) ^ load_pair(b + n - 16));
    return (x[0] | x[1]) == 0;
#endif
}

/* Keys of 8 to 15 bytes: the first and the last 8. */
static inline int same_short_key(const char *a, const char *b, size_t n)
{
    return ((load64(a) ^ load64(b)) | (load64(a + n - 8) ^ load64(b + n - 8))) == 0;
}

/* Keys of 33 to 64 bytes: the first and the last 32. */
static inline int same_long_key(const char *a, const char *b, size_t n)
{
    pair x = (load_pair(a) ^ load_pair(b)) | (load_pair(a + 16) ^ load_pair(b + 16)) |
             (load_pair(a + n - 32) ^ load_pair(b + n - 32)) | (load_pair(a + n - 16) ^ load_pair(b + n - 16));
    return (x[0] | x[1]) == 0;
}

static inline int same_head(const struct entry *e, uint32_t space, size_t key_size)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint32_t both; /* they stand side by side */
    memcpy(&both, &e->space, sizeof both);
    return both == ((uint32_t)key_size << 16 | space);
#else
    return e->key_size == key_size && e->space == space;
#endif
}

static inline int is_wanted(const struct entry *e, uint32_t space, const char *key, size_t key_size)
{
    if (!same_head(e, space, key_size))
        return 0;
    if (key_size < 16)
        return same_short_key(entry_key(e), key, key_size);
    return key_size <= 32 ? same_usual_key(entry_key(e), key, key_size) : same_long_key(entry_key(e), key, key_size);
}

static inline int is_fresh(const struct entry *e, int64_t now_ms)
{
    return e->deadline > now_ms || (e->kind & KIND_FOREVER) != 0;
}

/* v: of a slot that is free, and stands as RECLAIM_HANDLE says. */
static inline void point_at(struct strata_value *v, const struct entry *e)
{
    if (__builtin_expect((e->kind & KIND_HEAP) != 0, 0)) {
        const struct strata_value *heap = entry_heap(e)->value;
        v->data = heap->data;
        v->size = heap->size;
        v->object = heap->object;
        atomic_store_explicit(&v->refs, 1, memory_order_relaxed); /* and no VALUE_SLOT: the object has to leave again */
    } else {
        v->data = entry_value(e);
        v->size = entry_value_size(e);
    }
}

static inline struct strata_value *memory_pin(struct reclaim_pin *p, const struct entry *e)
{
    struct strata_value *v = (struct strata_value *)(void *)p;
    static_assert(sizeof(struct strata_value) <= sizeof p->handle, "a handle fits its slot");
    point_at(v, e);
    reclaim_protect(p, e);
    return v;
}

/* In a section, where the first look did not find it: an entry; or NULL, and STRATA_NOT_HERE or, where that can't be said, NULL. */
static inline struct entry *look_past(struct shard *s, const char *key, size_t n, uint64_t hash, uint32_t space,
                                      strata_value **said)
{
    uint64_t shifts = atomic_load_explicit(&s->shifts, memory_order_acquire);
    struct index_table *t = atomic_load_explicit(&s->table, memory_order_acquire);
    uint64_t tag = index_tag(hash);
    const _Atomic(uint64_t) *at = &t->slots[index_home(tag, t->slot_count)];
    for (;;) {
        for (unsigned mask = bucket_tagged(at, tag); mask != 0; mask &= mask - 1) {
            uint64_t slot = atomic_load_explicit(at + (unsigned)__builtin_ctz(mask), memory_order_acquire);
            struct entry *e = entry_at(s, (uint32_t)slot);
            if (slot != 0 && is_wanted(e, space, key, n))
                return e;
        }
        if (bucket_empty(at) != 0)
            break;
        at += BUCKET_SLOTS;
        if (at == &t->slots[t->slot_count])
            at = t->slots;
    }
    atomic_thread_fence(memory_order_acquire);
    *said = NULL;
    if (atomic_load_explicit(&s->shifts, memory_order_relaxed) == shifts && (shifts & 1) == 0) {
        ghost_fetch(s, hash); /* who finds nothing usually puts it */
        *said = STRATA_NOT_HERE;
    } /* else a removal may have moved the slot past us */
    return NULL;
}

static inline uint32_t position_of(const struct entry *e)
{
    return atomic_load_explicit(&((struct entry *)(uintptr_t)e)->position, memory_order_relaxed);
}

static inline uint32_t line(const uint32_t *line) { return __atomic_load_n(line, __ATOMIC_RELAXED); }

#endif /* STRATA_LAYER_MEMORY_LOOK_H */
