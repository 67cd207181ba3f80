/* hash_avx512.h - the hash of long bytes with AVX-512: the same sum, in about half the time that AVX2 takes.  Only where the
 * processor has it. */
#ifndef STRATA_BASE_HASH_AVX512_H
#define STRATA_BASE_HASH_AVX512_H
#include <stddef.h>
#include <stdint.h>

uint64_t strata__hash_avx512(const void *data, size_t size, uint64_t seed);

#endif /* STRATA_BASE_HASH_AVX512_H */
