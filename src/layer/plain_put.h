/* plain_put.h - a put that takes nothing but bytes and a time to live, for a memory layer's own way of putting it
 * (memory_write.c): most sets are such, and a strata_op says many things that have to be written and read for nothing. */
#ifndef STRATA_LAYER_PLAIN_PUT_H
#define STRATA_LAYER_PLAIN_PUT_H
#include <stdint.h>

#include "strata/base.h"

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

#endif /* STRATA_LAYER_PLAIN_PUT_H */
