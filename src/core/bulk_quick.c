/* bulk_quick.c - see bulk_quick.h. */
#include "src/core/bulk_quick.h"

/* How many of them go together: none that is to be timed by itself, and none whose key is wrong. */
static size_t group_size(const strata *cache, const strata_item *items, size_t count, uint64_t begun, uint64_t *hashes)
{
    size_t most = HIT_SAMPLE_MASK - (size_t)(begun & HIT_SAMPLE_MASK), n = 0;
    most = most < count ? most : count;
    most = most < STRATA_QUICK_MOST ? most : STRATA_QUICK_MOST;
    for (; n < most && key_fits(cache, items[n].key); n++)
        hashes[n] = handle_hash(cache, items[n].key);
    return n;
}

/* The gate was shut after these were counted as begun: they were no calls yet. */
static __attribute__((noinline)) void take_back(strata *cache, uint32_t cell, size_t count)
{
    counter_add(cache->cells, cell, HOT_SLOW, count);
    count_n(cache, COUNT_REQUESTS, UINT64_MAX - count + 1);
}

static inline __attribute__((always_inline)) void look(strata *cache, strata_item *items, size_t count,
                                                       struct quick_group *g)
{
    const uint32_t cell = counter_index();
    uint64_t begun = atomic_load_explicit(&cache->cells[cell].words[HOT_BEGUN], memory_order_relaxed);
    size_t n = group_size(cache, items, count, begun, g->hashes), found = 0;
    g->count = 0;
    if (__builtin_expect(n == 0, 0))
        return;
    counter_add(cache->cells, cell, HOT_BEGUN, n);
    if (__builtin_expect(!gate_open(cache), 0)) {
        take_back(cache, cell, n);
        return;
    }
    g->now_ms = cache->now_ms(cache->ex);
    /* Acquire: who sees the moment sees the lines that were drawn before it. */
    if (__builtin_expect(g->now_ms < atomic_load_explicit(&cache->trusted_until, memory_order_acquire), 1))
        found = cache->quick_many(cache->layer, items, g->hashes, n, &cache->lines, g->now_ms);
    else
        for (size_t i = 0; i < n; i++)
            items[i].value = NULL;
    g->count = n;
    g->found = found;
    counter_add(cache->cells, cell, HOT_FOUND, found);
    counter_add(cache->cells, cell, HOT_LOOKED, found);
}

size_t strata__quick_run(strata *cache, strata_item *items, size_t count, struct quick_group *g)
{
    size_t done = 0;
    g->count = 0;
    while (done < count && cache->quick_many != NULL && gate_open(cache)) {
        look(cache, items + done, count - done, g);
        if (g->count == 0 || g->found != g->count)
            break;
        done += g->count;
        g->count = 0;
    }
    return done;
}
