/* memory_layer.c - the memory layer as a layer: options, start, operations, counters, end. */
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_limit.h"
#include "src/layer/memory/memory_put.h"
#include "src/os/os_map.h"
#include "src/os/os_random.h"
#include "src/policy/options.h"

/* Small shards order badly, w-tinylfu worst (a hundredth of 500 entries is no window): rather few large ones. */
enum { MOST_SHARDS = 16, SHARD_ENTRIES = 512, WTINYLFU_SHARD_ENTRIES = 2048 };
/* A chunk is what is given back at once, under one hold of a shard's lock. */
enum { MOST_CHUNK_UNDER_PRESSURE = 128 << 10 };
#define SHARD_BYTES ((uint64_t)2 << 20)
#define LEAST_SHARD_BYTES ((uint64_t)32 << 10)
#define HUGE_FROM ((uint64_t)32 << 20) /* smaller budgets would be off by a huge page */

static const struct eviction_ops *eviction_of(int32_t policy)
{
    switch (policy) {
    case STRATA_EVICT_WTINYLFU: return &strata__evict_wtinylfu;
    case STRATA_EVICT_LRU: return &strata__evict_lru;
    case STRATA_EVICT_LFU: return &strata__evict_lfu;
    case STRATA_EVICT_FIFO: return &strata__evict_fifo;
    case STRATA_EVICT_SIEVE: return &strata__evict_sieve;
    case STRATA_EVICT_COST: return &strata__evict_cost;
    default: return &strata__evict_s3fifo;
    }
}

/* Setting up -------------------------------------------------------------------------------------------------- */

static size_t choose_shards(const struct memory *m)
{
    const strata_memory_options *o = &m->options;
    uint64_t least = o->policy == STRATA_EVICT_WTINYLFU ? WTINYLFU_SHARD_ENTRIES : SHARD_ENTRIES;
    uint64_t want = o->shards;
    if (want == 0) {
        want = MOST_SHARDS;
        if (o->max_entries != 0 && o->max_entries / least < want)
            want = o->max_entries / least;
        if (m->max_bytes / SHARD_BYTES < want)
            want = m->max_bytes / SHARD_BYTES;
    }
    size_t n = 1;
    /* A shard without room for anything would refuse its keys for ever. */
    while (n * 2 <= want && m->max_bytes / (n * 2) >= LEAST_SHARD_BYTES &&
           (o->max_entries == 0 || o->max_entries >= n * 2))
        n *= 2;
    return n;
}

static size_t choose_chunk(uint64_t shard_bytes)
{
    size_t chunk = (size_t)1 << 20;
    while (chunk > 4096 && chunk > shard_bytes / 16)
        chunk /= 2;
    return chunk;
}

static int reserve_range(struct memory *m, strata_error *err)
{
    uint64_t bytes = m->max_bytes + m->chunk_bytes + 4096;
    bytes = (bytes + OS_MAP_ALIGN - 1) & ~((uint64_t)OS_MAP_ALIGN - 1);
    m->shift = 0;
    while (bytes / UNIT >> m->shift > UINT32_MAX)
        m->shift++;
    void *at = NULL;
    int code = strata__os_map_reserve(&at, (size_t)bytes);
    if (code != 0)
        return strata__fail_os(err, STRATA_ENOMEM, code, m->base.name,
                               "cannot reserve %llu bytes of addresses: lower max_bytes or raise the limit (ulimit -v)",
                               (unsigned long long)bytes);
    m->range = at;
    m->range_bytes = (size_t)bytes;
    m->range_committed = 0;
    m->range_used = (size_t)64 << m->shift; /* reference 0 is nobody */
    m->commit_step = m->max_bytes >= HUGE_FROM ? (size_t)OS_MAP_ALIGN : (size_t)64 << 10;
    m->huge = m->max_bytes >= HUGE_FROM;
    return STRATA_OK;
}

static int init_shard(struct memory *m, struct shard *s, size_t i)
{
    s->layer = m;
    s->base = m->range;
    s->shift = (uint8_t)m->shift;
    s->ref_bytes = (uint64_t)UNIT << m->shift;
    s->eviction = m->eviction;
    s->limit_bytes = m->max_bytes / m->shard_count;
    s->limit_entries = UINT64_MAX;
    uint64_t capacity = s->limit_bytes / UNIT;
    if (m->options.max_entries != 0) {
        s->limit_entries = m->options.max_entries / m->shard_count + (i < m->options.max_entries % m->shard_count);
        capacity = s->limit_entries;
    }
    s->negative_limit = capacity * m->options.negative_percent / 100;
    if (s->negative_limit == 0)
        s->negative_limit = 1;
    s->no_quick = m->wants_touches;
    s->quick_hits = m->max_hits;
    s->next_expiry = INT64_MAX;
    s->random = strata__mix64(m->host->hash_seed + i);
    s->bytes = sizeof *s;
    if (m->eviction == &strata__evict_cost && strata__cost_init(s) != 0)
        return -1;
    if (strata__share_init(s) == 0 && strata__index_init(s, 32) == 0)
        return 0;
    strata__share_deinit(s);
    strata__free(m->mem, s->weighing);
    return -1;
}

static void free_value_of(const struct entry *e)
{
    if (e->kind & KIND_HEAP)
        strata_value_unref(entry_heap(e)->value);
}

static void deinit_shard(struct shard *s)
{
    struct index_table *t = atomic_load(&s->table);
    for (uint64_t i = 0; i < t->slot_count; i++) {
        uint64_t slot = atomic_load_explicit(&t->slots[i], memory_order_relaxed);
        if (slot != 0)
            free_value_of(entry_at(s, (uint32_t)slot));
    }
    for (uint32_t ref = s->retired; ref != 0; ref = entry_at(s, ref)->next)
        free_value_of(entry_at(s, ref));
    strata__index_deinit(s);
    while (s->old_tables != NULL) {
        struct index_table *old = s->old_tables;
        s->old_tables = old->next;
        strata__index_free_table(s, old);
    }
    strata__ghost_deinit(s);
    strata__share_deinit(s);
    strata__free(s->layer->mem, s->sketch.words);
    strata__free(s->layer->mem, s->weighing);
}

static void free_pages(struct memory *m)
{
    strata__slab_release(m);
    strata__tables_deinit(m);
    strata__free(m->mem, m->watch);
    m->watch = NULL;
    strata__free(m->mem, m->by_space);
    m->by_space = NULL;
    strata__free(m->mem, m->shards_block);
    m->shards = NULL;
    m->shards_block = NULL;
    strata__os_mutex_deinit(&m->range_mutex);
    strata__reclaim_cell_free(m->cell);
}

/* The budget in bytes: what was given, or the share of what this process may have now; of both, the less. */
static int find_budget(struct memory *m, strata_error *err)
{
    uint64_t given = m->options.max_bytes, most = STRATA__MEMORY_MOST, least = STRATA__MEMORY_LEAST, share;
    m->max_bytes = given;
    if (m->options.max_percent == 0)
        return STRATA_OK;
    int rc = strata__memory_limit(m->mem, &m->share_of, &m->share_of_group);
    if (rc == STRATA_EUNSUPPORTED)
        return strata__fail(err, rc, m->base.name,
                            "this system does not say how much memory there is, for max_percent to be a share of: give "
                            "max_bytes in bytes");
    if (rc < 0)
        return strata__fail_plain(err, rc, m->base.name);
    share = m->share_of / 100 * (uint64_t)m->options.max_percent;
    share = share < least ? least : share > most ? most : share;
    m->max_bytes = given != 0 && given < share ? given : share;
    return STRATA_OK;
}

static void take_down(struct memory *m)
{
    for (size_t i = 0; i < m->shard_count; i++)
        deinit_shard(&m->shards[i]);
    free_pages(m);
}

/* Everything but options and base. */
static int set_up(struct memory *m, strata_layer_host *host, strata_error *err)
{
    m->host = host;
    m->mem = host->mem;
    m->secret = strata__key_secret(host->hash_seed, 0);
    int rc = find_budget(m, err);
    if (rc < 0)
        return rc;
    m->demotes = host->demotes == &m->base;
    m->eviction = eviction_of(m->options.policy);
    m->max_hits = m->eviction->max_hits;
    m->wants_touches = m->eviction->wants_touches;
    m->shard_count = choose_shards(m);
    m->shard_mask = m->shard_count - 1;
    m->chunk_bytes = choose_chunk(m->max_bytes / m->shard_count);
    if (m->options.pressure == STRATA_ON && m->chunk_bytes > MOST_CHUNK_UNDER_PRESSURE)
        m->chunk_bytes = MOST_CHUNK_UNDER_PRESSURE;
    m->heap_threshold = m->chunk_bytes / 4 < 16384 ? m->chunk_bytes / 4 : 16384;
    int code = strata__os_mutex_init(&m->range_mutex);
    if (code != 0)
        return strata__fail_os(err, STRATA_ENOMEM, code, m->base.name, "no mutex to be had from the system");
    rc = reserve_range(m, err);
    if (rc < 0) {
        strata__os_mutex_deinit(&m->range_mutex);
        return rc;
    }
    strata__tables_init(m);
    for (int i = 0; i <= TTL_CLASSES; i++)
        atomic_store_explicit(&m->classes[i], -1, memory_order_relaxed);
    m->cell = strata__reclaim_cell_new();
    /* The allocator promises no more than malloc's alignment; shards want cache lines. */
    m->shards_block = strata__alloc_zero(m->mem, m->shard_count * sizeof *m->shards + 64);
    size_t done = 0;
    if (m->shards_block != NULL) {
        m->shards = (struct shard *)(((uintptr_t)m->shards_block + 63) & ~(uintptr_t)63);
        while (done < m->shard_count && init_shard(m, &m->shards[done], done) == 0)
            done++;
    }
    if (m->shards_block == NULL || done < m->shard_count) {
        while (done > 0)
            deinit_shard(&m->shards[--done]);
        free_pages(m);
        return strata__fail(err, STRATA_ENOMEM, m->base.name, "out of memory for the index of %zu shards",
                            m->shard_count);
    }
    rc = strata__memory_watch_start(m, err);
    if (rc < 0)
        take_down(m);
    return rc;
}

static int memory_start(strata_layer *layer, strata_layer_host *host, strata_error *err)
{
    return set_up((struct memory *)(void *)layer, host, err);
}

/* The end ----------------------------------------------------------------------------------------------------- */

/* Nothing in the range is pinned any more. */
static void tear_down(struct reclaim_waiter *waiter)
{
    struct memory *m = (struct memory *)(void *)((char *)waiter - offsetof(struct memory, waiter));
    take_down(m);
    strata__free(NULL, m->block);
}

static void wait_for_pins(struct memory *m)
{
    strata__reclaim_forget_touches(m);
    m->waiter.low = (uintptr_t)m->range;
    m->waiter.high = m->waiter.low + m->range_bytes;
    m->waiter.done = tear_down;
    strata__reclaim_when_unpinned(&m->waiter);
}

static void memory_close(strata_layer *layer)
{
    struct memory *m = (struct memory *)(void *)layer;
    if (m->shards == NULL)
        strata__free(NULL, m->block);
    else
        wait_for_pins(m);
}

static struct memory *new_memory(void)
{
    void *block = strata__alloc_zero(NULL, sizeof(struct memory) + 64);
    if (block == NULL)
        return NULL;
    struct memory *m = (struct memory *)(((uintptr_t)block + 63) & ~(uintptr_t)63);
    m->block = block;
    return m;
}

/* A mutex that a thread of the parent held at the fork is held for ever, and its shard half written: what that shard
 * holds on the heap is lost to the child.  Other shards are taken down as usual. */
static void abandon_locked_shards(struct memory *old)
{
    for (size_t i = 0; i < old->shard_count; i++) {
        struct shard *s = &old->shards[i];
        s->layer = old;
        if (os_lock_try(&s->lock)) {
            os_lock_give(&s->lock);
            continue;
        }
        s->lock = (struct os_lock){ 0 };
        s->retired = 0;
        s->old_tables = NULL;
        s->ghost = (struct ghost){ 0 };
        s->shares = NULL;
        s->sketch = (struct sketch){ 0 };
        struct index_table *t = atomic_load(&s->table);
        for (uint64_t k = 0; k < t->slot_count; k++)
            atomic_store_explicit(&t->slots[k], 0, memory_order_relaxed);
    }
}

/* Namespaces, and what was promised to them, stay. */
static int keep_shares(struct memory *m, const struct memory *old, strata_error *err)
{
    if (old->share_count == 0)
        return STRATA_OK;
    m->by_space = strata__alloc_zero(old->mem, old->share_room);
    if (m->by_space == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, m->base.name);
    memcpy(m->by_space, old->by_space, old->share_room);
    memcpy(m->share_ppm, old->share_ppm, sizeof m->share_ppm);
    m->share_room = old->share_room;
    m->share_count = old->share_count;
    m->shared_ppm = old->shared_ppm;
    return STRATA_OK;
}

static int memory_reopen(strata_layer *layer, strata_layer_host *host, strata_error *err)
{
    struct memory *m = (struct memory *)(void *)layer;
    struct memory *old = new_memory();
    if (old == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, layer->name);
    void *block = old->block;
    memcpy(old, m, sizeof *old);
    old->block = block;
    block = m->block;
    strata_layer base = m->base;
    strata_memory_options options = m->options;
    memset(m, 0, sizeof *m);
    m->block = block;
    m->base = base;
    m->options = options;
    m->options.name = m->base.name;
    memcpy(m->pressure_file, old->pressure_file, sizeof m->pressure_file);
    int rc = keep_shares(m, old, err);
    if (rc == STRATA_OK)
        rc = set_up(m, host, err);
    if (rc < 0) { /* as it was: a later try may go better */
        strata__free(host->mem, m->by_space);
        memcpy(m, old, sizeof *m);
        m->block = block;
        strata__free(NULL, old->block);
        return rc;
    }
    strata__os_mutex_init(&old->range_mutex);
    old->tables.lock = (struct os_lock){ 0 };
    abandon_locked_shards(old);
    wait_for_pins(old);
    return STRATA_OK;
}

/* Operations -------------------------------------------------------------------------------------------------- */

static void memory_submit(strata_layer *layer, strata_op *const *ops, size_t count)
{
    struct memory *m = (struct memory *)(void *)layer;
    for (size_t i = 0; i < count; i++) {
        strata_op *op = ops[i];
        switch (op->kind) {
        case STRATA_OP_GET: {
            /* By submit a caller always wants the meta data. */
            int64_t now = op->now_ms;
            op->now_ms = INT64_MAX;
            int status = strata__memory_lookup_meta(m, op, now);
            op->now_ms = now;
            strata_op_done(op, status);
            break;
        }
        case STRATA_OP_PUT: strata__memory_put(m, op); break;
        case STRATA_OP_REMOVE: strata__memory_remove(m, op); break;
        default: strata_op_done(op, STRATA_EUNSUPPORTED);
        }
    }
}

static uint64_t counted(struct memory *m, unsigned word)
{
    uint64_t n = atomic_load_explicit(&m->shared_cell[word], memory_order_relaxed);
    return m->cell >= 0 ? n + strata__reclaim_cell_sum(m->cell, word) : n;
}

static void memory_stats(strata_layer *layer, strata_layer_stats *out)
{
    struct memory *m = (struct memory *)(void *)layer;
    out->max_bytes = m->max_bytes;
    out->share_of_bytes = m->share_of;
    out->hits = counted(m, CELL_HITS);
    out->misses = counted(m, CELL_MISSES);
    strata__memory_watch_stats(m, out);
    for (size_t i = 0; i < m->shard_count; i++) {
        struct shard *s = &m->shards[i];
        os_lock_take(&s->lock);
        out->entries += s->entries;
        out->bytes += s->bytes;
        out->evictions += s->evictions;
        out->expirations += s->expirations;
        out->rejections += s->rejections;
        out->puts += s->puts;
        out->removes += s->removes;
        out->budget_bytes += s->limit_bytes;
        out->given_back_bytes += s->given;
        out->residents += s->queues[QUEUE_RESIDENT].count;
        out->resident_bytes += s->resident_bytes;
        out->unkept += s->unkept;
        out->share_breaks += s->share_breaks;
        os_lock_give(&s->lock);
    }
}

/* Asked before start(). */
static const void *memory_hits(strata_layer *layer)
{
    const struct memory *m = (const struct memory *)(void *)layer;
    return strata__memory_ways(eviction_of(m->options.policy)->wants_touches);
}

static const strata_layer_ops memory_ops = {
    .size = sizeof(strata_layer_ops),
    .kind = "memory",
    .start = memory_start,
    .submit = memory_submit,
    .lookup = strata__memory_lookup,
    .clear = strata__memory_clear,
    .keys = strata__memory_keys,
    .stats = memory_stats,
    .maintain = strata__memory_maintain,
    .reopen = memory_reopen,
    .close = memory_close,
    .hint = strata__memory_hint,
    .quick = strata__memory_quick,
    .checked = strata__memory_checked,
    .lurk = strata__memory_lurk,
    .health = strata__memory_health,
    .scan = strata__memory_scan,
    .share = strata__memory_share,
    .quick_many = strata__memory_quick_many,
    .hits = memory_hits,
    .put_plain = strata__memory_put_plain,
};

/* The constructor --------------------------------------------------------------------------------------------- */

static void nothing_to_close(strata_layer *layer) { (void)layer; }

static const strata_layer_ops no_memory_ops = {
    .size = sizeof(strata_layer_ops),
    .kind = "memory",
    .close = nothing_to_close,
};

/* What a constructor answers when there is not even room for the layer itself.  Never written. */
static strata_layer no_memory = {
    .size = sizeof(strata_layer),
    .ops = &no_memory_ops,
    .name = "memory",
    .failed = { STRATA_ENOMEM, 0, "memory", "out of memory for the layer itself" },
};

strata_layer *strata_memory_layer(const strata_memory_options *options)
{
    struct memory *m = new_memory();
    if (m == NULL)
        return &no_memory;
    m->base.size = sizeof m->base;
    m->base.ops = &memory_ops;
    m->base.flags = STRATA_LAYER_LOCAL | STRATA_LAYER_SPACES | STRATA_LAYER_INSTANT | STRATA__LAYER_COPIES |
                    STRATA__LAYER_DEMOTES;
    snprintf(m->base.name, sizeof m->base.name, "memory");
    strata_memory_options defaults = { .size = sizeof defaults };
    if (options == NULL)
        options = &defaults;
    if (strata__options_check(&strata__memory_rows, options, options->size, &m->options, sizeof m->options,
                              &m->base.failed) < 0)
        return &m->base;
    uint64_t given = m->options.max_bytes;
    strata__options_fill(&strata__memory_rows, &m->options);
    if (m->options.max_percent != 0)
        m->options.max_bytes = given;
    m->max_bytes = m->options.max_bytes;
    if (m->options.name != NULL)
        snprintf(m->base.name, sizeof m->base.name, "%s", m->options.name);
    m->options.name = m->base.name;
    if (m->options.pressure_file != NULL) {
        snprintf(m->pressure_file, sizeof m->pressure_file, "%s", m->options.pressure_file);
        m->options.pressure_file = m->pressure_file;
    }
    m->base.max_ttl_ms = m->options.max_ttl_ms;
    return &m->base;
}
