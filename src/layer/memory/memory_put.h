/* memory_put.h - a put on its way: what it knows of itself, who makes room for it, who is told to do it. */
#ifndef STRATA_LAYER_MEMORY_PUT_H
#define STRATA_LAYER_MEMORY_PUT_H
#include "src/layer/memory/memory_impl.h"

/* All of it is known before the shard is locked. */
struct incoming {
    uint64_t hash;
    strata_slice key;
    strata_slice value;        /* to copy; empty where there is none, or it is on the heap */
    struct strata_value *heap; /* stored by reference, or NULL: copied */
    uint64_t heap_cost;
    int64_t deadline;
    int64_t gone_at; /* when nobody needs it any more */
    strata_op *op;   /* NULL: a time to live and nothing else, and nothing special is asked */
    size_t used;     /* by the whole entry: of its block of `bytes` */
    size_t bytes;
    uint32_t position;
    uint16_t space;
    uint16_t extra; /* as in the entry */
    uint8_t kind;
};

/* memory_room.c.  Under the shard's lock. */
enum { HEAP_ROOM_MADE, HEAP_ROOM_NONE, HEAP_ROOM_LATER };
/* Budget for a value on the heap.  LATER: unlock, so that dead values go back, and try again. */
int strata__memory_heap_room(struct shard *s, const struct incoming *in);
/* A block for the new entry, evicting as needed.  NULL: there is no room to be had. */
struct entry *strata__memory_room(struct shard *s, const struct incoming *in, int count_grows);

/* memory_write.c */
void strata__memory_put(struct memory *m, strata_op *op);
/* A struct plain_put, of a layer of ours.  STRATA_EUNSUPPORTED where it is not that plain here: nothing was done. */
int strata__memory_put_plain(strata_layer *layer, const void *put);

#endif /* STRATA_LAYER_MEMORY_PUT_H */
