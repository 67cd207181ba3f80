/* hash.c - the one file that includes xxhash. */
#include "src/base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t strata__hash(const void *data, size_t size, uint64_t seed) { return XXH3_64bits_withSeed(data, size, seed); }
