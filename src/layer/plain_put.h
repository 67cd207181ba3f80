/* plain_put.h - a put that takes nothing but bytes and a time to live, for a memory layer's own way of putting it
 * (memory_write.c): most sets are such, and a strata_op says many things that have to be written and read for nothing. */
#ifndef STRATA_LAYER_PLAIN_PUT_H
#define STRATA_LAYER_PLAIN_PUT_H
#include <stdint.h>

#include "strata/sys/layer.h"

/* As the members of strata_op and strata_meta of these names. */
struct plain_put {
    uint64_t hash;
    strata_slice key;
    strata_slice value; /* lent until the call returns */
    uint64_t life;
    int64_t born_ms;
    int64_t ttl_ms; /* STRATA_FOREVER, or so long after birth */
    uint32_t space;
    uint32_t position;
};

/* A time to live and nothing else, as far as an entry's own time goes: most are, so that is one branch. */
static inline int meta_is_plain(const strata_meta *meta)
{
    int64_t times = meta->stale_ms | meta->error_ms | meta->keep_ms | meta->early_ms | meta->retry_at_ms |
                    meta->slide_ms;
    uint64_t numbers = (uint64_t)meta->version | (uint64_t)meta->store_position | (uint64_t)meta->codec;
    return ((uint64_t)times | numbers) == 0;
}

#endif /* STRATA_LAYER_PLAIN_PUT_H */
