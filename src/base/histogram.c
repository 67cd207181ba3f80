/* histogram.c - see histogram.h.  Every atomic here is relaxed: the counters order nothing. */
#include "src/base/histogram.h"

enum { EXACT = 16, SUBS = 1 << HISTOGRAM_SUB_BITS };

static uint64_t load(const _Atomic(uint64_t) *counter) { return atomic_load_explicit(counter, memory_order_relaxed); }

static void add(_Atomic(uint64_t) *counter, uint64_t n) { atomic_fetch_add_explicit(counter, n, memory_order_relaxed); }

static size_t bucket_of(uint64_t value)
{
    const uint64_t top = ((uint64_t)1 << HISTOGRAM_TOP_BIT) - 1;
    if (value > top)
        value = top;
    if (value < EXACT)
        return (size_t)value;
    unsigned power = 63u - (unsigned)__builtin_clzll(value); /* at least 4 */
    unsigned sub = (unsigned)(value >> (power - HISTOGRAM_SUB_BITS)) & (SUBS - 1);
    return EXACT + (size_t)(power - 4) * SUBS + sub;
}

static uint64_t middle_of(size_t bucket)
{
    if (bucket < EXACT)
        return bucket;
    unsigned power = (unsigned)(bucket - EXACT) / SUBS + 4;
    uint64_t sub = (bucket - EXACT) % SUBS;
    uint64_t width = (uint64_t)1 << (power - HISTOGRAM_SUB_BITS);
    return (SUBS + sub) * width + (width - 1) / 2;
}

static void raise_max(struct histogram *h, uint64_t value)
{
    uint64_t max = load(&h->max);
    while (value > max &&
           !atomic_compare_exchange_weak_explicit(&h->max, &max, value, memory_order_relaxed, memory_order_relaxed))
        ;
}

void strata__histogram_add(struct histogram *h, uint64_t value)
{
    add(&h->buckets[bucket_of(value)], 1);
    add(&h->sum, value);
    raise_max(h, value);
}

void strata__histogram_merge(struct histogram *h, const struct histogram *from)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t n = load(&from->buckets[i]);
        if (n != 0)
            add(&h->buckets[i], n);
    }
    add(&h->sum, load(&from->sum));
    raise_max(h, load(&from->max));
}

void strata__histogram_reset(struct histogram *h)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        atomic_store_explicit(&h->buckets[i], 0, memory_order_relaxed);
    atomic_store_explicit(&h->sum, 0, memory_order_relaxed);
    atomic_store_explicit(&h->max, 0, memory_order_relaxed);
}

uint64_t strata__histogram_count(const struct histogram *h)
{
    uint64_t count = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += load(&h->buckets[i]);
    return count;
}

uint64_t strata__histogram_sum(const struct histogram *h) { return load(&h->sum); }

uint64_t strata__histogram_max(const struct histogram *h) { return load(&h->max); }

uint64_t strata__histogram_percentile(const struct histogram *h, double share)
{
    uint64_t count = strata__histogram_count(h);
    uint64_t max = strata__histogram_max(h);
    /* The rank of the wanted number, from 1: nearest rank, rounded up. */
    double exact = share * (double)count;
    uint64_t rank = exact <= 1 ? 1 : exact >= (double)count ? count : (uint64_t)exact;
    if ((double)rank < exact && rank < count)
        rank++;
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS && count != 0; i++) {
        seen += load(&h->buckets[i]);
        if (seen >= rank) {
            uint64_t middle = middle_of(i);
            /* The last bucket holds everything beyond its end, where max says more than its middle. */
            if (i == HISTOGRAM_BUCKETS - 1 && max >> HISTOGRAM_TOP_BIT != 0)
                return max;
            return middle < max ? middle : max;
        }
    }
    return max;
}
