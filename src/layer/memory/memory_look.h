/* memory_look.h - what a look at an entry asks, shared by a look for one key (memory_read.c) and one for many (memory_read_many.c). */
#ifndef STRATA_LAYER_MEMORY_LOOK_H
#define STRATA_LAYER_MEMORY_LOOK_H
#include <string.h>

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
    pair x = (load_pair(a) ^ load_pair(b)) | (load_pair(a + n - 16) ^ load_pair(b + n - 16));
    return (x[0] | x[1]) == 0;
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

static inline int is_wanted(const struct entry *e, uint32_t space, const char *key, size_t key_size)
{
    if ((e->key_size ^ key_size) | (e->space ^ space))
        return 0;
    if (key_size < 16)
        return same_short_key(entry_key(e), key, key_size);
    return key_size <= 32 ? same_usual_key(entry_key(e), key, key_size) : same_long_key(entry_key(e), key, key_size);
}

static inline int is_fresh(const struct entry *e, int64_t now_ms)
{
    return e->deadline > now_ms || (e->kind & KIND_FOREVER) != 0;
}

static inline void point_at(struct strata_value *v, const struct entry *e)
{
    if (__builtin_expect((e->kind & KIND_HEAP) != 0, 0)) {
        const struct strata_value *heap = entry_heap(e)->value;
        v->data = heap->data;
        v->size = heap->size;
        v->object = heap->object;
    } else {
        v->data = entry_value(e);
        v->size = entry_value_size(e);
        v->object = NULL;
    }
}

static inline struct strata_value *memory_pin(struct reclaim_pin *p, const struct entry *e)
{
    struct strata_value *v = (struct strata_value *)(void *)p;
    static_assert(sizeof(struct strata_value) <= sizeof p->handle, "a handle fits its slot");
    point_at(v, e);
    atomic_store_explicit(&v->refs, 1, memory_order_relaxed);
    v->kind = STRATA__VALUE_PIN;
    reclaim_protect(p, e);
    return v;
}

static inline uint32_t position_of(const struct entry *e)
{
    return atomic_load_explicit(&((struct entry *)(uintptr_t)e)->position, memory_order_relaxed);
}

static inline uint32_t line(const uint32_t *line) { return __atomic_load_n(line, __ATOMIC_RELAXED); }

#endif /* STRATA_LAYER_MEMORY_LOOK_H */
