/* hash.h - one 64-bit hash of bytes, seeded (XXH3).  For tables of this process, whose seed is random and never stored, and
 * for the sums and hashes of src/format, whose seeds stand with what they are of. */
#ifndef STRATA_BASE_HASH_H
#define STRATA_BASE_HASH_H
#include <stddef.h>
#include <stdint.h>

uint64_t strata__hash(const void *data, size_t size, uint64_t seed);

/* The same of bytes that come in pieces: any cut of the same bytes gives strata__hash() of them all.  640 bytes: on the stack. */
struct hash_stream {
    _Alignas(64) unsigned char room[640];
};
void strata__hash_start(struct hash_stream *stream, uint64_t seed);
void strata__hash_add(struct hash_stream *stream, const void *data, size_t size);
uint64_t strata__hash_sum(const struct hash_stream *stream);

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
