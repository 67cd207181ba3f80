/* hash_avx2.h - the hash of long bytes with AVX2: the same sum, in about half the time.  Only where the processor has it. */
#ifndef STRATA_BASE_HASH_AVX2_H
#define STRATA_BASE_HASH_AVX2_H
#include <stddef.h>
#include <stdint.h>

uint64_t strata__hash_avx2(const void *data, size_t size, uint64_t seed);

#endif /* STRATA_BASE_HASH_AVX2_H */
