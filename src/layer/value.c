/* value.c - values: counted handles on immutable bytes or on a decoded object.
 *
 * A heap value is one block: the handle, what its kind needs for giving back, and for copies the bytes themselves.
 * Pins of the memory layer share the handle and bring a release() of their own (see value_impl.h).  The kinds of heap
 * values are told apart by their release function: it is the one thing that differs. */
#include <string.h>

#include "src/base/mem.h"
#include "src/os/spare.h"
#include "src/layer/value_impl.h"
#include "src/os/reclaim.h"

_Thread_local struct value_hold *strata__value_hold;

/* The bytes behind a copied value start on a 16-byte boundary, as malloc's do. */
struct copied_value {
    struct strata_value base;
    const struct strata_allocator *mem;
    size_t room; /* of the whole block */
    _Alignas(16) unsigned char bytes[];
};

struct taken_value {
    struct strata_value base;
    const struct strata_allocator *mem;
    void (*release_bytes)(void *data, void *ctx);
    void *ctx;
};

struct object_value {
    struct strata_value base;
    const struct strata_allocator *mem;
    const struct strata_codec *codec;
    size_t cost; /* asked once, where no lock is held */
};

static void release_copied(struct strata_value *value)
{
    struct copied_value *v = (struct copied_value *)value;
    strata__spare_free(v->mem, v, v->room);
}

static void release_taken(struct strata_value *value)
{
    struct taken_value *taken = (struct taken_value *)value;
    if (taken->release_bytes != NULL)
        taken->release_bytes((void *)(uintptr_t)value->data, taken->ctx);
    strata__free(taken->mem, taken);
}

static void release_object(struct strata_value *value)
{
    struct object_value *o = (struct object_value *)value;
    if (o->codec->free != NULL)
        o->codec->free(value->object, o->codec->ctx);
    strata__free(o->mem, o);
}

static void init_heap(struct strata_value *value, const void *data, size_t size, void *object,
                      void (*release)(struct strata_value *))
{
    value->data = data;
    value->size = size;
    value->object = object;
    atomic_init(&value->refs, 1);
    value->kind = STRATA__VALUE_HEAP;
    value->release = release;
}

struct strata_value *strata__value_new(const struct strata_allocator *mem, size_t size, void **out_bytes)
{
    *out_bytes = NULL;
    if (size > SIZE_MAX - sizeof(struct copied_value))
        return NULL;
    size_t room;
    struct copied_value *v = strata__spare_alloc(mem, sizeof *v + size, &room);
    if (v == NULL)
        return NULL;
    v->mem = mem;
    v->room = room;
    init_heap(&v->base, v->bytes, size, NULL, release_copied);
    *out_bytes = v->bytes;
    return &v->base;
}

struct strata_value *strata__value_copy(const struct strata_allocator *mem, const void *data, size_t size)
{
    void *bytes;
    struct strata_value *value = strata__value_new(mem, size, &bytes);
    if (value != NULL && size != 0)
        memcpy(bytes, data, size);
    return value;
}

struct strata_value *strata__value_take(const struct strata_allocator *mem, void *data, size_t size,
                                        void (*release_bytes)(void *, void *), void *ctx)
{
    struct taken_value *v = strata__alloc(mem, sizeof *v);
    if (v == NULL)
        return NULL;
    v->mem = mem;
    v->release_bytes = release_bytes;
    v->ctx = ctx;
    init_heap(&v->base, data, size, NULL, release_taken);
    return &v->base;
}

struct strata_value *strata__value_object(const struct strata_allocator *mem, void *object,
                                          const struct strata_codec *codec)
{
    struct object_value *v = strata__alloc(mem, sizeof *v);
    if (v == NULL)
        return NULL;
    v->mem = mem;
    v->codec = codec;
    size_t cost = codec->cost != NULL ? codec->cost(object, codec->ctx) : 0;
    /* A codec's word is a user's word: it may not wrap the budget round. */
    v->cost = cost > SIZE_MAX / 2 ? SIZE_MAX / 2 : sizeof *v + cost;
    init_heap(&v->base, NULL, 0, object, release_object);
    return &v->base;
}

size_t strata__value_cost(const struct strata_value *value)
{
    if (value->release == release_copied)
        return ((const struct copied_value *)value)->room;
    if (value->release == release_taken)
        return sizeof(struct taken_value) + value->size;
    if (value->release == release_object)
        return ((const struct object_value *)value)->cost;
    return sizeof *value + value->size;
}

const void *strata_value_data(const strata_value *value) { return value != NULL ? value->data : NULL; }

size_t strata_value_size(const strata_value *value) { return value != NULL ? value->size : 0; }

void *strata_value_object(const strata_value *value) { return value != NULL ? value->object : NULL; }

strata_value *strata_value_ref(strata_value *value)
{
    /* Relaxed: whoever asks for one more holds one already, so nothing can be freed meanwhile. */
    if (value != NULL)
        atomic_fetch_add_explicit(&value->refs, 1, memory_order_relaxed);
    return value;
}

/* There are more holders, or it is no pin, or one of a value on the heap. */
static __attribute__((noinline)) void unref_other(strata_value *value)
{
    /* One holder: a count of 1 is ours alone, nobody is left who could change it, so the locked instruction is saved. */
    if ((atomic_load_explicit(&value->refs, memory_order_acquire) & ~VALUE_SLOT) != 1 &&
        (atomic_fetch_sub_explicit(&value->refs, 1, memory_order_acq_rel) & ~VALUE_SLOT) != 1)
        return;
    if (value->kind != STRATA__VALUE_PIN) {
        value->release(value);
        return;
    }
    value->object = NULL; /* as the next one who takes the slot needs it */
    atomic_store_explicit(&value->refs, RECLAIM_ALONE, memory_order_relaxed);
    reclaim_drop((struct reclaim_pin *)(void *)value);
}

void strata_value_unref(strata_value *value)
{
    if (__builtin_expect(value == NULL, 0))
        return;
    /* The common case, a pin with one holder: both told by one word, and kept as it is.  It acquires (a plain load on x86): what
     * others did before they gave theirs back comes first. */
    if (__builtin_expect(!word32_is(&value->refs, RECLAIM_ALONE), 0)) {
        unref_other(value);
        return;
    }
    reclaim_drop((struct reclaim_pin *)(void *)value);
}
