/* stats.c - reading the counters.
 *
 * Counters live with the handles and the layers' slots; a cache's are the sums over its namespaces.  Owners of counter
 * cells write without looking, so a reset can't put anything to zero there: it remembers what to take off. */
#include <string.h>

#include "src/core/behind.h"
#include "src/core/demote.h"

static void read_latency(const struct histogram *h, strata_latency *out)
{
    out->count = strata__histogram_count(h);
    if (out->count == 0)
        return;
    out->mean_us = (double)strata__histogram_sum(h) / (double)out->count / 1000;
    out->max_us = (double)strata__histogram_max(h) / 1000;
    out->p50_us = (double)strata__histogram_percentile(h, 0.5) / 1000;
    out->p99_us = (double)strata__histogram_percentile(h, 0.99) / 1000;
}

static uint64_t get_count(const strata *h, enum count what)
{
    return atomic_load_explicit(&h->counts[what], memory_order_relaxed);
}

static uint64_t hot_sum(const strata *h, enum hot_word word)
{
    return strata__counter_sum(h->cells, word) - h->hot_base[word];
}

static void add_handle(const strata *h, strata_stats *s, struct histogram *load_latency)
{
    static const struct {
        enum count count;
        size_t offset;
    } rows[] = {
        { COUNT_REQUESTS, offsetof(strata_stats, requests) },
        { COUNT_HITS, offsetof(strata_stats, hits) },
        { COUNT_STALE_SERVES, offsetof(strata_stats, stale_serves) },
        { COUNT_NEGATIVE_HITS, offsetof(strata_stats, negative_hits) },
        { COUNT_LOADS, offsetof(strata_stats, loads) },
        { COUNT_LOAD_ERRORS, offsetof(strata_stats, load_errors) },
        { COUNT_LOAD_TIMEOUTS, offsetof(strata_stats, load_timeouts) },
        { COUNT_JOINS, offsetof(strata_stats, joins) },
        { COUNT_REFRESHES, offsetof(strata_stats, refreshes) },
        { COUNT_BACKFILLS, offsetof(strata_stats, backfills) },
        { COUNT_SETS, offsetof(strata_stats, sets) },
        { COUNT_DELETES, offsetof(strata_stats, deletes) },
        { COUNT_EXPIRES, offsetof(strata_stats, expires) },
        { COUNT_CONFLICTS, offsetof(strata_stats, conflicts) },
        { COUNT_CLEARS, offsetof(strata_stats, clears) },
        { COUNT_FENCED, offsetof(strata_stats, fenced) },
        { COUNT_ERRORS, offsetof(strata_stats, errors) },
        { COUNT_LEASES, offsetof(strata_stats, leases) },
        { COUNT_LEASE_WAITS, offsetof(strata_stats, lease_waits) },
        { COUNT_LEASES_LOST, offsetof(strata_stats, leases_lost) },
        { COUNT_LEASE_TIMEOUTS, offsetof(strata_stats, lease_timeouts) },
        { COUNT_UNLEASED_WAITS, offsetof(strata_stats, unleased_waits) },
        { COUNT_BREAKER_OPENED, offsetof(strata_stats, breaker_opened) },
        { COUNT_BREAKER_REFUSED, offsetof(strata_stats, breaker_refused) },
        { COUNT_LIMIT_WAITS, offsetof(strata_stats, limit_waits) },
        { COUNT_LIMIT_REFUSED, offsetof(strata_stats, limit_refused) },
        { COUNT_LOADS_DETACHED, offsetof(strata_stats, loads_detached) },
        { COUNT_SETS_BEHIND, offsetof(strata_stats, sets_behind) },
        { COUNT_BEHIND_PASSED, offsetof(strata_stats, behind_passed) },
        { COUNT_BEHIND_MERGED, offsetof(strata_stats, behind_merged) },
        { COUNT_BEHIND_WRITTEN, offsetof(strata_stats, behind_written) },
        { COUNT_BEHIND_DROPPED, offsetof(strata_stats, behind_dropped) },
        { COUNT_BEHIND_REFUSED, offsetof(strata_stats, behind_refused) },
        { COUNT_BEHIND_FAILED, offsetof(strata_stats, behind_failed) },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        *(uint64_t *)(void *)((char *)s + rows[i].offset) += get_count(h, rows[i].count);
    uint64_t plain = hot_sum(h, HOT_HITS);
    s->hits += plain + hot_sum(h, HOT_LOOKED);
    s->requests += plain + hot_sum(h, HOT_BEGUN);
    s->sets += hot_sum(h, HOT_SETS);
    const struct histogram *own = atomic_load_explicit(&h->load_latency, memory_order_acquire);
    if (own != NULL)
        strata__histogram_merge(load_latency, own);
}

static void put_out(void *out, size_t out_size, const void *known, size_t known_size)
{
    if (out_size > known_size)
        memset((char *)out + known_size, 0, out_size - known_size);
    memcpy(out, known, out_size < known_size ? out_size : known_size);
}

int strata_stats_get(strata *cache, strata_stats *out)
{
    if (cache == NULL || out == NULL || out->size < sizeof(size_t))
        return STRATA_EINVAL;
    struct root *root = cache->root;
    int rc = root_enter(root, NULL);
    if (rc != STRATA_OK)
        return rc;
    strata_stats s = { .size = out->size };
    struct histogram *latency = strata__alloc_zero(root->mem, sizeof *latency);
    if (latency == NULL)
        rc = STRATA_ENOMEM;
    key_mutex_lock(&root->tree_lock);
    for (uint32_t i = 0; rc == STRATA_OK && root->stats && i < root->space_count; i++)
        if (handle_within(root->spaces[i], cache) && (cache->parent == NULL || root->spaces[i] == cache))
            add_handle(root->spaces[i], &s, latency);
    key_mutex_unlock(&root->tree_lock);
    if (rc == STRATA_OK && cache->parent == NULL && root->stats) {
        int64_t since_ms;
        strata__behind_look(root, &s.behind_queued, &s.behind_bytes, &since_ms);
    }
    if (rc == STRATA_OK) {
        read_latency(latency, &s.load_latency);
        s.misses = s.requests > s.hits ? s.requests - s.hits : 0;
        s.hit_rate = s.requests != 0 ? (double)s.hits / (double)s.requests : 0;
        put_out(out, out->size, &s, sizeof s);
    }
    strata__free(root->mem, latency);
    root_leave(root);
    return rc;
}

size_t strata_layer_count(const strata *cache) { return cache != NULL ? cache->root->layer_count : 0; }

int strata_layer_index(strata *cache, const char *name, size_t *out)
{
    if (cache == NULL || name == NULL || out == NULL)
        return STRATA_EINVAL;
    struct root *root = cache->root;
    int rc = root_enter(root, NULL);
    if (rc != STRATA_OK)
        return rc;
    rc = STRATA_MISS;
    for (size_t i = 0; i < root->layer_count && rc == STRATA_MISS; i++)
        if (strcmp(root->layers[i].layer->name, name) == 0) {
            *out = i;
            rc = STRATA_OK;
        }
    root_leave(root);
    return rc;
}

static uint64_t less(uint64_t n, uint64_t base) { return n > base ? n - base : 0; }

/* What the nearest layer answered to quick(), which does not count, or to a direct get.  Tree lock held. */
static void add_quick_locked(const struct root *root, strata_layer_stats *s)
{
    for (uint32_t i = 0; i < root->space_count; i++) {
        const struct counter_cell *cells = root->spaces[i]->cells;
        s->hits += strata__counter_sum(cells, HOT_HITS) + strata__counter_sum(cells, HOT_FOUND);
        s->misses += strata__counter_sum(cells, HOT_MISSED);
    }
}

/* What the layer counts itself: its own code, which may take locks of its own, so under none of ours. */
static void ask_layer(const struct layer_slot *slot, strata_layer_stats *s)
{
    strata_layer *layer = slot->layer;
    memcpy(s->name, layer->name, sizeof s->name);
    if (layer->ops->stats != NULL)
        layer->ops->stats(layer, s);
}

/* Everything since open: that, and what the cache counts for it.  Tree lock held. */
static void add_slot_locked(const struct root *root, struct layer_slot *slot, strata_layer_stats *s)
{
    if (slot_instant(slot)) {
        if (slot == &root->layers[0])
            add_quick_locked(root, s);
        /* It counted our own looks as well, and knows nothing of what could not be served. */
        uint64_t refused = atomic_load(&slot->refused);
        s->hits = less(s->hits, atomic_load(&slot->own_hits) + refused);
        s->misses = less(s->misses, atomic_load(&slot->own_misses)) + refused;
    } else {
        s->hits = atomic_load(&slot->hits);
        s->misses = atomic_load(&slot->misses);
        if (slot == &root->layers[0]) /* what get_direct.c counted */
            add_quick_locked(root, s);
        s->puts = atomic_load(&slot->puts);
        s->removes = atomic_load(&slot->removes);
        s->rejections += atomic_load(&slot->passed);
    }
    s->errors += atomic_load(&slot->errors);
    s->unadmitted = atomic_load(&slot->unadmitted);
    if (slot->flags & STRATA_LAYER_DEMOTED) {
        s->demotions = atomic_load(&root->demotions->done);
        s->demotions_dropped = atomic_load(&root->demotions->dropped);
    }
}

int strata_stats_layer(strata *cache, size_t layer, strata_layer_stats *out)
{
    if (cache == NULL || out == NULL || out->size < sizeof(size_t) || layer >= cache->root->layer_count)
        return STRATA_EINVAL;
    struct root *root = cache->root;
    int rc = root_enter(root, NULL);
    if (rc != STRATA_OK)
        return rc;
    struct layer_slot *slot = &root->layers[layer];
    strata_layer_stats s = { .size = out->size };
    ask_layer(slot, &s);
    s.size = out->size;
    key_mutex_lock(&root->tree_lock);
    add_slot_locked(root, slot, &s);
    const strata_layer_stats *b = &slot->base;
    s.hits = less(s.hits, b->hits);
    s.misses = less(s.misses, b->misses);
    s.puts = less(s.puts, b->puts);
    s.removes = less(s.removes, b->removes);
    s.evictions = less(s.evictions, b->evictions);
    s.expirations = less(s.expirations, b->expirations);
    s.rejections = less(s.rejections, b->rejections);
    s.errors = less(s.errors, b->errors);
    s.demotions = less(s.demotions, b->demotions);
    s.demotions_dropped = less(s.demotions_dropped, b->demotions_dropped);
    s.foreign = less(s.foreign, b->foreign);
    s.breaker_opened = less(s.breaker_opened, b->breaker_opened);
    s.breaker_refused = less(s.breaker_refused, b->breaker_refused);
    key_mutex_unlock(&root->tree_lock);
    read_latency(&slot->latency, &s.latency);
    if (!root->stats) {
        s.hits = s.misses = s.puts = s.removes = s.evictions = s.expirations = s.rejections = s.errors = 0;
        s.demotions = s.demotions_dropped = s.foreign = s.breaker_opened = s.breaker_refused = 0;
        s.latency = (strata_latency){ 0 };
    }
    put_out(out, out->size, &s, sizeof s);
    root_leave(root);
    return STRATA_OK;
}

int strata_ping(strata *cache, size_t layer, strata_error *err)
{
    if (cache == NULL || layer >= cache->root->layer_count)
        return strata__fail(err, STRATA_EINVAL, "argument",
                            cache == NULL ? "cache is NULL: give one that strata_open() opened"
                                          : "there is no such layer: strata_layer_count() tells how many there are");
    struct root *root = cache->root;
    int rc = root_enter(root, err);
    if (rc != STRATA_OK)
        return rc;
    strata_error why = STRATA_ERROR_INIT;
    strata_layer *asked = root->layers[layer].layer;
    rc = asked->ops->ping != NULL ? asked->ops->ping(asked, &why) : STRATA_OK;
    root_leave(root);
    if (rc < 0 && why.message[0] == '\0')
        strata__fail_plain(&why, rc, asked->name);
    if (rc < 0 && err != NULL) {
        *err = why;
        err->status = rc;
    }
    return rc;
}

int strata_stats_reset(strata *cache)
{
    if (cache == NULL)
        return STRATA_EINVAL;
    struct root *root = cache->root;
    int rc = root_enter(root, NULL);
    if (rc != STRATA_OK)
        return rc;
    strata_layer_stats told[LAYERS_MAX];
    for (size_t i = 0; i < root->layer_count; i++) {
        told[i] = (strata_layer_stats){ .size = sizeof told[i] };
        ask_layer(&root->layers[i], &told[i]);
    }
    key_mutex_lock(&root->tree_lock);
    for (uint32_t i = 0; i < root->space_count; i++) {
        strata *h = root->spaces[i];
        for (int c = 0; c < COUNT_END; c++)
            atomic_store_explicit(&h->counts[c], 0, memory_order_relaxed);
        for (enum hot_word w = HOT_BEGUN; w < HOT_END; w++)
            h->hot_base[w] = strata__counter_sum(h->cells, w);
        /* Calls that are inside will count as requests of the time after, as they will with their end. */
        h->hot_base[HOT_BEGUN] = h->hot_base[HOT_LOOKED] + h->hot_base[HOT_SLOW];
        struct histogram *own = atomic_load_explicit(&h->load_latency, memory_order_acquire);
        if (own != NULL)
            strata__histogram_reset(own);
    }
    for (size_t i = 0; i < root->layer_count; i++) {
        add_slot_locked(root, &root->layers[i], &told[i]);
        root->layers[i].base = told[i];
        strata__histogram_reset(&root->layers[i].latency);
    }
    key_mutex_unlock(&root->tree_lock);
    root_leave(root);
    return STRATA_OK;
}
