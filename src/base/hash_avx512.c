/* hash_avx512.c - see hash_avx512.h.  XXH3 a third time, in a file of its own that is compiled with -mavx512f, as hash_avx2.c
 * is with -mavx2 and for the same reasons. */
#include "src/base/hash_avx512.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t strata__hash_avx512(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}
