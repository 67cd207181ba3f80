/* key_hash.h - the one hash of a key: what op->hash holds.  A layer that must find a key's hash again (the memory
 * layer, for its victims) computes it with the host's seed; so whoever fills op->hash uses this and nothing else.
 *
 * Keys of 8 to 32 bytes, the usual ones, are hashed in line without a loop: two multiplications of 64 x 64 to 128 bits over
 * overlapping words (the scheme of Wang Yi's wyhash), seeded at random in each process.  Others go to XXH3. */
#ifndef STRATA_LAYER_KEY_HASH_H
#define STRATA_LAYER_KEY_HASH_H
#include <string.h>

#include "src/base/hash.h"
#include "strata/base.h"

static inline uint64_t strata__hash_word(const char *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint64_t strata__hash_fold(uint64_t a, uint64_t b)
{
#if defined(__x86_64__) && defined(__GNUC__)
    /* Compilers move the halves of a 128-bit product about before they fold them. */
    uint64_t high;
    __asm__("mulq %2" : "+a"(a), "=d"(high) : "rm"(b) : "cc");
    return a ^ high;
#elif defined(__SIZEOF_INT128__)
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
    uint64_t low = (a & 0xffffffffu) * (b & 0xffffffffu), high = (a >> 32) * (b >> 32);
    uint64_t cross = (a >> 32) * (b & 0xffffffffu), other = (a & 0xffffffffu) * (b >> 32);
    return strata__mix64(low ^ high) ^ (cross + (other << 32 | other >> 32));
#endif
}

/* What the words of a key are mixed with: of the seed, made once for all keys of a namespace. */
struct key_secret {
    uint64_t seed;
    uint64_t words[4];
};

static inline struct key_secret strata__key_secret(uint64_t seed, uint32_t space)
{
    seed ^= (uint64_t)space * 0x9e3779b97f4a7c15u;
    uint64_t other = seed << 32 | seed >> 32;
    return (struct key_secret){ seed,
                                { 0xa0761d6478bd642fu ^ seed, 0xe7037ed1a0b428dbu ^ other, 0x8ebc6af09c88c6e3u ^ other,
                                  0x589965cc75374cc3u ^ seed } };
}

/* Of n bytes, 8 to 32.  Words that overlap: below 16 both pairs are the first and the last word.  Each factor carries seed: one that
 * was known could be made zero by a chosen key, and its whole product with it. */
static inline uint64_t strata__key_hash_usual(const struct key_secret *secret, const char *p, size_t n)
{
    uint64_t a = strata__hash_word(p), b, c, d = strata__hash_word(p + n - 8);
    if (__builtin_expect(n >= 16, 1)) {
        b = strata__hash_word(p + 8);
        c = strata__hash_word(p + n - 16);
    } else {
        b = d;
        c = a;
    }
    uint64_t x = strata__hash_fold(a ^ secret->words[0], b ^ n ^ secret->words[1]);
    uint64_t y = strata__hash_fold(c ^ secret->words[2], d ^ secret->words[3]);
    return strata__hash_fold(x ^ secret->words[2], y ^ secret->seed);
}

static inline uint64_t strata__key_hash_with(const struct key_secret *secret, strata_slice key)
{
    if (__builtin_expect(key.size - 8 > 24, 0))
        return strata__hash(key.data, key.size, secret->seed);
    return strata__key_hash_usual(secret, key.data, key.size);
}

/* The hash of a key in this space, by the seed of its cache. */
static inline uint64_t strata__key_hash(uint64_t seed, uint32_t space, strata_slice key)
{
    struct key_secret secret = strata__key_secret(seed, space);
    return strata__key_hash_with(&secret, key);
}

#endif /* STRATA_LAYER_KEY_HASH_H */
