/* hash_avx2.c - see hash_avx2.h.  XXH3 once more, in a file of its own that is compiled with -mavx2: nothing else may be, as it
 * would run on processors that lack it.  Which instructions take part does not change an XXH3 sum. */
#include "src/base/hash_avx2.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t strata__hash_avx2(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}
