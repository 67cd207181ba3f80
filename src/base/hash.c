/* hash.c - the hash, by xxhash, which this file and its twins for AVX2 and AVX-512 alone include. */
#include "src/base/hash.h"

#ifdef STRATA_HASH_AVX2
#include "src/base/hash_avx2.h"
#endif
#ifdef STRATA_HASH_AVX512
#include "src/base/hash_avx512.h"
#endif

#define XXH_INLINE_ALL
#include <xxhash.h>

/* XXH3 is settled since 0.8.0: before, the same bytes could hash to something else with the next release, and sums are stored. */
_Static_assert(XXH_VERSION_NUMBER >= 800, "xxhash 0.8.0 or newer is needed");
_Static_assert(sizeof(XXH3_state_t) <= sizeof(struct hash_stream), "hash.h has too little room for XXH3_state_t");
_Static_assert(_Alignof(XXH3_state_t) <= _Alignof(struct hash_stream), "hash.h aligns less than XXH3_state_t needs");

/* Below, AVX2 is as fast: the widest vectors wait longer for the first of the seed's secret. */
enum { WORTH_AVX512 = 4096 };

uint64_t strata__hash(const void *data, size_t size, uint64_t seed)
{
#ifdef STRATA_HASH_AVX512
    /* Processors that have AVX-512 without VBMI2 lower their clock for it, and for what runs beside us. */
    if (size >= WORTH_AVX512 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vbmi2"))
        return strata__hash_avx512(data, size, seed);
#endif
#ifdef STRATA_HASH_AVX2
    /* Shorter bytes go another way through XXH3, which has no vectors. */
    if (size > XXH3_MIDSIZE_MAX && __builtin_cpu_supports("avx2"))
        return strata__hash_avx2(data, size, seed);
#endif
    return XXH3_64bits_withSeed(data, size, seed);
}

static XXH3_state_t *state_of(struct hash_stream *stream) { return (XXH3_state_t *)(void *)stream->room; }

void strata__hash_start(struct hash_stream *stream, uint64_t seed)
{
    XXH3_INITSTATE(state_of(stream));
    XXH3_64bits_reset_withSeed(state_of(stream), seed);
}

void strata__hash_add(struct hash_stream *stream, const void *data, size_t size)
{
    if (size != 0) /* nothing may be at NULL, which xxhash calls an error */
        XXH3_64bits_update(state_of(stream), data, size);
}

uint64_t strata__hash_sum(const struct hash_stream *stream)
{
    return XXH3_64bits_digest((const XXH3_state_t *)(const void *)stream->room);
}
