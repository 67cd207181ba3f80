/* guard_owed.h - what a remote layer has yet to be told: keys to be removed, prefixes to be cleared.
 *
 * Bounded in keys and bytes; what is too much for it, or finds no memory, becomes one clear of everything, which needs none.
 * A key that nobody deleted, whose older value is just to be replaced by a loaded one, takes no more than half of the room: an
 * outage with many loads shall not clear what a whole fleet shares.
 *
 * What is owed is *fenced*: it must be neither served nor stored until the layer was told.
 *
 * Notes have stamps that grow.  Taking a note for the layer remembers its stamp, and a note that was renewed since stays
 * owed: what failed after it was sent may have undone it.  Not locked: the guard's lock protects it. */
#ifndef STRATA_LAYER_GUARD_OWED_H
#define STRATA_LAYER_GUARD_OWED_H
#include "src/base/list.h"
#include "strata/sys/layer.h"

struct owed_key {
    struct list_node link; /* owed.keys, oldest stamp first; in no list while it is with the layer */
    struct owed_key *next; /* of its bucket */
    uint64_t stamp;
    uint64_t sent;     /* its stamp when the layer got it; 0: it has not */
    uint64_t own;      /* hash of this table */
    uint64_t op_hash;  /* strata_op.hash */
    uint32_t op_space; /* strata_op.space */
    uint32_t space;    /* the same, where the layer tells spaces apart; else 0: the key's bytes say it */
    size_t size;
    unsigned char bytes[];
};

struct owed_clear {
    struct list_node link; /* owed.clears, oldest stamp first, also while it is with the layer */
    uint64_t stamp, sent;  /* stamp 0: nothing is owed (owed.all alone) */
    strata_clear_op what;  /* its prefix stands behind this struct */
};

struct owed {
    const strata_allocator *mem;
    size_t max_keys, max_bytes;
    int by_space; /* the layer tells spaces apart itself (STRATA_LAYER_SPACES) */
    struct list_node keys, clears;
    struct owed_key **buckets; /* made with the first key */
    size_t bucket_count;
    size_t key_count, clear_count;
    size_t bytes;
    uint64_t stamp; /* the last one given out */
    struct owed_clear all;
};

void strata__owed_init(struct owed *o, const strata_allocator *mem, size_t max_keys, size_t max_bytes, int by_space);
void strata__owed_deinit(struct owed *o);

/* Neither can fail.  0: the key is not noted: it is one that nobody deleted (STRATA_OP_LOADED), and there is little room. */
int strata__owed_key(struct owed *o, const strata_op *op);
void strata__owed_clear(struct owed *o, const strata_clear_op *what);
static inline int owed_empty(const struct owed *o)
{
    return o->key_count == 0 && o->clear_count == 0 && o->all.stamp == 0;
}
/* 1: it must be neither served nor stored. */
int strata__owed_fences(const struct owed *o, uint32_t space, strata_slice key);
/* A remove that was sent when `stamp` was the last one came through. */
void strata__owed_removed(struct owed *o, const strata_op *op, uint64_t stamp);

/* Telling the layer: the oldest note up to `limit` that it does not have yet; NULL: there is none.  The note stays where it
 * is until it is over, and fences.  One clear at a time; `out` is a copy, with the note's bytes as the prefix. */
struct owed_clear *strata__owed_take_clear(struct owed *o, uint64_t limit, strata_clear_op *out);
struct owed_key *strata__owed_take_key(struct owed *o, uint64_t limit);
/* The layer has carried it out, or has not: then it is owed again, as the newest. */
void strata__owed_clear_over(struct owed *o, struct owed_clear *note, int done);
void strata__owed_key_over(struct owed *o, struct owed_key *note, int done);

#endif /* STRATA_LAYER_GUARD_OWED_H */
