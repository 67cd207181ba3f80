/* memory_bucket.h - one look at a bucket of the index: eight slots, one cache line, no branch a slot.
 *
 * Which of the eight holds a tag is chance, so a branch a slot would be guessed wrong for every third key, and a wrong
 * guess throws away what the core has begun of the lookups after this one.  The answer is a mask, for which slots are read
 * one by one or two at a time: each may change meanwhile, so whoever takes one from the mask reads it again. */
#ifndef STRATA_LAYER_MEMORY_BUCKET_H
#define STRATA_LAYER_MEMORY_BUCKET_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__SANITIZE_THREAD__)
#define BUCKET_PLAIN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BUCKET_PLAIN 1
#endif
#endif
#if defined(__SSE2__) && !defined(BUCKET_PLAIN)
#include <emmintrin.h>
#endif

enum { BUCKET_SLOTS = 8 };

#if defined(__SSE2__) && !defined(BUCKET_PLAIN)

/* Two slots.  Halves of 8 bytes are read whole, as x86 reads them anywhere. */
static inline __m128 bucket_pair(const _Atomic(uint64_t) *slots)
{
    return _mm_castsi128_ps(_mm_load_si128((const __m128i *)(const void *)slots));
}

static inline unsigned bucket_mask(__m128i low, __m128i high)
{
    return (unsigned)_mm_movemask_ps(_mm_castsi128_ps(low)) | (unsigned)_mm_movemask_ps(_mm_castsi128_ps(high)) << 4;
}

/* A bit for each slot whose upper half is `tag`; an empty one's is 0. */
static inline unsigned bucket_tagged(const _Atomic(uint64_t) *slots, uint64_t tag)
{
    __m128i wanted = _mm_set1_epi32((int)(uint32_t)tag);
    __m128 low = _mm_shuffle_ps(bucket_pair(slots), bucket_pair(slots + 2), _MM_SHUFFLE(3, 1, 3, 1));
    __m128 high = _mm_shuffle_ps(bucket_pair(slots + 4), bucket_pair(slots + 6), _MM_SHUFFLE(3, 1, 3, 1));
    return bucket_mask(_mm_cmpeq_epi32(_mm_castps_si128(low), wanted), _mm_cmpeq_epi32(_mm_castps_si128(high), wanted));
}

/* The first slot of bucket_tagged(), in fewer instructions; NULL: none has that tag, the upper half of `hash`. */
static inline const _Atomic(uint64_t) *bucket_first(const _Atomic(uint64_t) *slots, uint64_t hash)
{
    __m128i wanted = _mm_shuffle_epi32(_mm_cvtsi64_si128((long long)hash), _MM_SHUFFLE(1, 1, 1, 1));
    __m128 low = _mm_shuffle_ps(bucket_pair(slots), bucket_pair(slots + 2), _MM_SHUFFLE(3, 1, 3, 1));
    __m128 high = _mm_shuffle_ps(bucket_pair(slots + 4), bucket_pair(slots + 6), _MM_SHUFFLE(3, 1, 3, 1));
    __m128i same = _mm_packs_epi32(_mm_cmpeq_epi32(_mm_castps_si128(low), wanted),
                                   _mm_cmpeq_epi32(_mm_castps_si128(high), wanted));
    uint64_t bits = (unsigned)_mm_movemask_epi8(same); /* two a slot */
    uint64_t bit;
    int some; /* as __builtin_ctzll(), which says an int, and not whether there was a bit: two more instructions */
    __asm__("bsfq %2, %0" : "=r"(bit), "=@ccnz"(some) : "r"(bits));
    if (__builtin_expect(!some, 0))
        return NULL;
    return (const _Atomic(uint64_t) *)(const void *)((const char *)slots + bit * 4);
}

/* The reference in a slot: its lower half. */
static inline uint32_t bucket_ref(const _Atomic(uint64_t) *slot)
{
    return atomic_load_explicit((const _Atomic(uint32_t) *)(const void *)slot, memory_order_acquire);
}

/* A bit for each slot that is empty: its reference is nobody's. */
static inline unsigned bucket_empty(const _Atomic(uint64_t) *slots)
{
    __m128 low = _mm_shuffle_ps(bucket_pair(slots), bucket_pair(slots + 2), _MM_SHUFFLE(2, 0, 2, 0));
    __m128 high = _mm_shuffle_ps(bucket_pair(slots + 4), bucket_pair(slots + 6), _MM_SHUFFLE(2, 0, 2, 0));
    __m128i none = _mm_setzero_si128();
    return bucket_mask(_mm_cmpeq_epi32(_mm_castps_si128(low), none), _mm_cmpeq_epi32(_mm_castps_si128(high), none));
}

/* A bit for each slot whose lower half, less `first`, is `span` or more. */
static inline unsigned bucket_outside(const _Atomic(uint64_t) *slots, uint32_t first, uint32_t span)
{
    __m128i from = _mm_set1_epi32((int)first),
            sign = _mm_set1_epi32(INT32_MIN); /* SSE2 compares signed numbers alone */
    __m128i bound = _mm_set1_epi32((int)(span ^ 0x80000000u));
    __m128i low = _mm_castps_si128(_mm_shuffle_ps(bucket_pair(slots), bucket_pair(slots + 2), _MM_SHUFFLE(2, 0, 2, 0)));
    __m128i high = _mm_castps_si128(
        _mm_shuffle_ps(bucket_pair(slots + 4), bucket_pair(slots + 6), _MM_SHUFFLE(2, 0, 2, 0)));
    low = _mm_cmplt_epi32(_mm_xor_si128(_mm_sub_epi32(low, from), sign), bound);
    high = _mm_cmplt_epi32(_mm_xor_si128(_mm_sub_epi32(high, from), sign), bound);
    return bucket_mask(low, high) ^ 0xff;
}

#else

static inline unsigned bucket_tagged(const _Atomic(uint64_t) *slots, uint64_t tag)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        mask |= (unsigned)(atomic_load_explicit(&slots[i], memory_order_acquire) >> 32 == tag) << i;
    return mask;
}

static inline const _Atomic(uint64_t) *bucket_first(const _Atomic(uint64_t) *slots, uint64_t hash)
{
    unsigned mask = bucket_tagged(slots, hash >> 32);
    return mask != 0 ? slots + (unsigned)__builtin_ctz(mask) : NULL;
}

static inline uint32_t bucket_ref(const _Atomic(uint64_t) *slot)
{
    return (uint32_t)atomic_load_explicit(slot, memory_order_acquire);
}

static inline unsigned bucket_empty(const _Atomic(uint64_t) *slots)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        mask |= (unsigned)(atomic_load_explicit(&slots[i], memory_order_acquire) == 0) << i;
    return mask;
}

static inline unsigned bucket_outside(const _Atomic(uint64_t) *slots, uint32_t first, uint32_t span)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < BUCKET_SLOTS; i++)
        mask |= (unsigned)((uint32_t)atomic_load_explicit(&slots[i], memory_order_relaxed) - first >= span) << i;
    return mask;
}

#endif

#endif /* STRATA_LAYER_MEMORY_BUCKET_H */
