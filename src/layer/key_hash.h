/* key_hash.h - the one hash of a key: what op->hash holds.  A layer that must find a key's hash again (the memory
 * layer, for its victims) computes it with the host's seed; so whoever fills op->hash uses this and nothing else. */
#ifndef STRATA_LAYER_KEY_HASH_H
#define STRATA_LAYER_KEY_HASH_H
#include "src/base/hash.h"
#include "strata/base.h"

/* `key` is the plain key, without any namespace prefix. */
static inline uint64_t strata__key_hash(uint64_t seed, uint32_t space, strata_slice key)
{
    return strata__hash(key.data, key.size, seed ^ ((uint64_t)space * 0x9e3779b97f4a7c15u));
}

#endif /* STRATA_LAYER_KEY_HASH_H */
