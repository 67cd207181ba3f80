/* hash.h - one 64-bit hash of bytes, seeded (XXH3).  For tables of this process; never stored. */
#ifndef STRATA_BASE_HASH_H
#define STRATA_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>

uint64_t strata__hash(const void *data, size_t size, uint64_t seed);

/* Mix a 64-bit number (splitmix64's finaliser). */
static inline uint64_t strata__mix64(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

#endif /* STRATA_BASE_HASH_H */
