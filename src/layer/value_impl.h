/* value_impl.h - what a strata_value is inside.
 *
 * Two kinds share one head: a counted block on the heap (what loaders give, what other layers find), and a pin, which
 * is a slot of the reading thread's record in src/os/reclaim.h that protects one entry of a memory layer.  For both,
 * `refs` counts references to this handle; the last one calls release(). */
#ifndef STRATA_LAYER_VALUE_IMPL_H
#define STRATA_LAYER_VALUE_IMPL_H
#include <stdatomic.h>

#include "strata/sys/allocator.h"
#include "strata/sys/codec.h"
#include "strata/value.h"

struct strata_value {
    const void *data;
    size_t size;
    void *object;
    _Atomic(uint32_t) refs;                      /* and VALUE_SLOT */
    uint32_t kind;                               /* STRATA__VALUE_... */
    void (*release)(struct strata_value *value); /* the last reference is gone; heap values only */
};

/* In refs of a pin that is as its slot is while it is free, but for the bytes, and so comes free in one step.  With one holder that is
 * RECLAIM_ALONE. */
#define VALUE_SLOT (UINT32_C(1) << 31)

/* LENT: a caller's bytes for the length of one submit(); in a struct that is zero for 64 bytes after its head. */
enum { STRATA__VALUE_HEAP = 0, STRATA__VALUE_PIN = 1, STRATA__VALUE_LENT = 2 };

/* A flag of layers of our own: a put copies what it needs of a value that is no heap value, before submit() returns. */
#define STRATA__LAYER_COPIES 0x40000000u
/* Another: it tells host->demote() whom it evicts, where it is the one that demotes. */
#define STRATA__LAYER_DEMOTES 0x20000000u
/* And another: nobody else writes to it while it is open. */
#define STRATA__LAYER_ALONE 0x10000000u
/* It seals what it stores: who can read it elsewhere is not to read it there. */
#define STRATA__LAYER_SEALS 0x04000000u
/* The last: it has counters, and cannot tell how many entries it holds. */
#define STRATA__LAYER_UNCOUNTED 0x08000000u

/* A counted block with room for `size` bytes behind it; *out_bytes is where to write them.  NULL: out of memory.
 * `mem` outlives it. */
struct strata_value *strata__value_new(const struct strata_allocator *mem, size_t size, void **out_bytes);
/* A counted copy of `size` bytes. */
struct strata_value *strata__value_copy(const struct strata_allocator *mem, const void *data, size_t size);
/* A counted handle on foreign bytes; release_bytes(data, ctx) with the last reference.  NULL: out of memory, and the
 * bytes are not released. */
struct strata_value *strata__value_take(const struct strata_allocator *mem, void *data, size_t size,
                                        void (*release_bytes)(void *, void *), void *ctx);
/* A counted handle on a decoded object; codec->free with the last reference.  NULL: out of memory, object not freed. */
struct strata_value *strata__value_object(const struct strata_allocator *mem, void *object,
                                          const struct strata_codec *codec);
/* What the value takes in memory, for budgets: block head, bytes, codec->cost(object). */
size_t strata__value_cost(const struct strata_value *value);
/* 1 where the value is a heap block (its refs keep it alive anywhere); pins must not be stored. */
static inline int strata__value_is_heap(const struct strata_value *v) { return v->kind == STRATA__VALUE_HEAP; }

/* Giving a value up for good may call its owner's code (a codec's free, a loader's release): not under a lock.  Who holds
 * one hangs a list in here for that time; what a layer gives up meanwhile waits in it, and its owner unrefs it when the
 * lock is gone. */
enum { VALUES_HELD_BACK = 64 };
struct value_hold {
    uint32_t count;
    struct strata_value *values[VALUES_HELD_BACK];
};
extern _Thread_local struct value_hold *strata__value_hold;

static inline void value_unref_later(struct strata_value *value)
{
    struct value_hold *hold = strata__value_hold;
    if (hold != NULL && hold->count < VALUES_HELD_BACK)
        hold->values[hold->count++] = value;
    else
        strata_value_unref(value);
}

#endif /* STRATA_LAYER_VALUE_IMPL_H */
