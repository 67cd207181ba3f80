/* memory_slab.c - room for entries: a two-level segregated fit allocator over the chunks of a shard.
 *
 * Masmano et al., "TLSF: a new dynamic memory allocator for real-time systems", 2004, with three changes: the size word
 * is the entry's own first word; a free block is also sought among the first of its own class, so that a stream of
 * equal entries reuses each other's room exactly; and chunks are never merged with each other.  Neighbouring free blocks
 * are, so any later mix of sizes can use the room. */
#include <string.h>

#include "src/base/err.h"
#include "src/layer/memory/memory_impl.h"
#include "src/os/os_map.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { OWN_CLASS_TRIES = 4, LINE = 64 };

static inline uint32_t word(const struct entry *b) { return atomic_load_explicit(&b->block, memory_order_relaxed); }

static inline void set_word(struct entry *b, uint32_t w) { atomic_store_explicit(&b->block, w, memory_order_relaxed); }

static inline struct entry *after(const struct entry *b)
{
    return (struct entry *)(void *)((char *)(uintptr_t)b + (size_t)entry_units(b) * UNIT);
}

static inline uint32_t *footer(const struct entry *b)
{
    return (uint32_t *)(void *)((char *)(uintptr_t)after(b) - sizeof(uint32_t));
}

static inline struct entry *before(const struct entry *b)
{
    uint32_t units = *(const uint32_t *)(const void *)((const char *)b - sizeof(uint32_t));
    return (struct entry *)(void *)((char *)(uintptr_t)b - (size_t)units * UNIT);
}

/* The class that holds free blocks of `units`: below 32 one class a size, above 16 classes a power of two. */
static void class_of(uint32_t units, unsigned *first, unsigned *second)
{
    if (units < SLAB_SECOND) {
        *first = 0;
        *second = units;
        return;
    }
    unsigned log = 31u - (unsigned)__builtin_clz(units);
    *first = log - 3;
    *second = (units >> (log - 4)) & (SLAB_SECOND - 1);
}

static void insert_free(struct shard *s, struct entry *b)
{
    unsigned f, c;
    uint32_t units = entry_units(b);
    class_of(units, &f, &c);
    uint32_t head = s->free_lists[f][c], ref = ref_of(s, b);
    b->prev = 0;
    b->next = head;
    if (head != 0)
        entry_at(s, head)->prev = ref;
    s->free_lists[f][c] = ref;
    s->second_map[f] |= 1u << c;
    s->first_map |= 1u << f;
    s->free_units += units;
}

static void unlink_free(struct shard *s, struct entry *b)
{
    unsigned f, c;
    class_of(entry_units(b), &f, &c);
    if (b->prev != 0)
        entry_at(s, b->prev)->next = b->next;
    else
        s->free_lists[f][c] = b->next;
    if (b->next != 0)
        entry_at(s, b->next)->prev = b->prev;
    if (s->free_lists[f][c] == 0) {
        s->second_map[f] &= ~(1u << c);
        if (s->second_map[f] == 0)
            s->first_map &= ~(1u << f);
    }
    s->free_units -= entry_units(b);
}

/* Some of the blocks of the request's own class may be large enough: try the newest few. */
static struct entry *find_in_class(struct shard *s, uint32_t units, unsigned f, unsigned c)
{
    uint32_t ref = s->free_lists[f][c];
    for (int tries = 0; ref != 0 && tries < OWN_CLASS_TRIES; tries++) {
        struct entry *b = entry_at(s, ref);
        if (entry_units(b) >= units)
            return b;
        ref = b->next;
    }
    return NULL;
}

/* Any block of a larger class is large enough. */
static struct entry *find_above(struct shard *s, unsigned f, unsigned c)
{
    uint32_t map = c + 1 < SLAB_SECOND ? s->second_map[f] & (~0u << (c + 1)) : 0;
    if (map == 0) {
        uint32_t firsts = f + 1 < SLAB_FIRST ? s->first_map & (~0u << (f + 1)) : 0;
        if (firsts == 0)
            return NULL;
        f = (unsigned)__builtin_ctz(firsts);
        map = s->second_map[f];
    }
    return entry_at(s, s->free_lists[f][(unsigned)__builtin_ctz(map)]);
}

static uint32_t granularity(const struct memory *m) { return 1u << m->shift; }

static uint32_t min_units(const struct memory *m)
{
    return granularity(m) > BLOCK_MIN_UNITS ? granularity(m) : BLOCK_MIN_UNITS;
}

static void mark_free(struct shard *s, struct entry *b, uint32_t units, uint32_t prev_flag)
{
    set_word(b, units | BLOCK_FREE | prev_flag);
    *footer(b) = units;
    set_word(after(b), word(after(b)) | BLOCK_PREV_FREE);
    insert_free(s, b);
    POISON((char *)b + 24, (size_t)units * UNIT - 32);
}

/* The next block is likely to be cut here, of memory that nobody has touched for long. */
static void fetch_ahead(const struct entry *rest)
{
    for (size_t at = LINE; at <= 4 * LINE; at += LINE)
        __builtin_prefetch((const char *)rest + at, 1);
}

/* Quick lists hold freed blocks as they are, unmerged, one size in each: in a steady stream of similar entries a block
 * comes back a moment later, and neither neighbour nor class list need be touched (cache misses, all of them). */
static struct quick_list *quick_of(struct shard *s, uint32_t units) { return &s->quick[units % QUICK_LISTS]; }

static int quick_push(struct shard *s, struct entry *b)
{
    uint32_t units = entry_units(b);
    struct quick_list *q = quick_of(s, units);
    if (q->head == 0)
        q->units = units;
    if (q->units != units)
        return 0;
    b->next = q->head;
    q->head = ref_of(s, b);
    POISON((char *)b + 24, (size_t)units * UNIT - 24);
    return 1;
}

/* Bytes of a block to fetch ahead: of a large one the processor sees by itself that line follows line. */
static size_t fetched(uint32_t units)
{
    size_t bytes = (size_t)units * UNIT;
    return bytes < 24 * LINE ? bytes : 24 * LINE;
}

static inline struct entry *quick_pop(struct shard *s, uint32_t units)
{
    struct quick_list *q = quick_of(s, units);
    if (q->head == 0 || q->units != units)
        return NULL;
    struct entry *b = entry_at(s, q->head);
    q->head = b->next;
    if (q->head != 0) { /* the next put writes there, and its lock is not free before all of that is done */
        const char *next = (const char *)entry_at(s, q->head), *end = next + fetched(units);
        for (; next < end; next += LINE)
            __builtin_prefetch(next, 1);
    }
    UNPOISON(b, (size_t)units * UNIT);
    return b;
}

static void merge_free(struct shard *s, struct entry *b);

/* Merge what waits in the quick lists.  1 where there was anything. */
static int quick_flush(struct shard *s)
{
    int any = 0;
    for (int i = 0; i < QUICK_LISTS; i++)
        while (s->quick[i].head != 0) {
            struct entry *b = quick_pop(s, s->quick[i].units);
            merge_free(s, b);
            any = 1;
        }
    return any;
}

/* Of the class lists: cut where it is larger. */
static __attribute__((noinline)) struct entry *alloc_of_class(struct shard *s, uint32_t units)
{
    struct entry *b;
    unsigned f, c;
    class_of(units, &f, &c);
    do {
        b = find_in_class(s, units, f, c);
        if (b == NULL)
            b = find_above(s, f, c);
    } while (b == NULL && quick_flush(s));
    if (b == NULL)
        return NULL;
    uint32_t have = entry_units(b), prev_flag = word(b) & BLOCK_PREV_FREE;
    unlink_free(s, b);
    UNPOISON(b, (size_t)have * UNIT);
    if (have - units >= min_units(s->layer)) {
        set_word(b, units | prev_flag);
        mark_free(s, after(b), have - units, 0);
        fetch_ahead(after(b));
    } else {
        set_word(b, have | prev_flag);
        set_word(after(b), word(after(b)) & ~(uint32_t)BLOCK_PREV_FREE);
    }
    return b;
}

struct entry *strata__slab_alloc(struct shard *s, size_t bytes)
{
    uint32_t grain = 1u << s->shift;
    uint32_t units = (uint32_t)((bytes + UNIT - 1) / UNIT);
    units = (units + grain - 1) & ~(grain - 1);
    if (units < BLOCK_MIN_UNITS)
        units = BLOCK_MIN_UNITS; /* which is a whole number of grains, or less than one */
    struct entry *b = quick_pop(s, units);
    return __builtin_expect(b != NULL, 1) ? b : alloc_of_class(s, units);
}

void strata__slab_free(struct shard *s, struct entry *b)
{
    if (!quick_push(s, b))
        merge_free(s, b);
}

static void merge_free(struct shard *s, struct entry *b)
{
    uint32_t units = entry_units(b);
    struct entry *next = after(b);
    if (word(next) & BLOCK_FREE) {
        unlink_free(s, next);
        units += entry_units(next);
    }
    if (word(b) & BLOCK_PREV_FREE) {
        struct entry *prev = before(b);
        unlink_free(s, prev);
        units += entry_units(prev);
        b = prev;
    }
    UNPOISON(b, (size_t)units * UNIT);
    mark_free(s, b, units, word(b) & BLOCK_PREV_FREE);
}

size_t strata__slab_max(const struct memory *m) { return m->chunk_bytes - (size_t)granularity(m) * UNIT; }

/* A piece of the layer's range, committed.  Huge pages want it committed in 2 MiB steps. */
static char *take_chunk(struct memory *m)
{
    char *chunk = NULL;
    os_mutex_lock(&m->range_mutex);
    size_t end = m->range_used + m->chunk_bytes;
    if (end <= m->range_bytes) {
        if (end > m->range_committed) {
            size_t step = end - m->range_committed + m->commit_step - 1;
            step -= step % m->commit_step;
            if (step > m->range_bytes - m->range_committed)
                step = m->range_bytes - m->range_committed;
            if (strata__os_map_commit(m->range + m->range_committed, step, m->huge) == 0)
                m->range_committed += step;
        }
        if (end <= m->range_committed) {
            chunk = m->range + m->range_used;
            m->range_used = end;
        }
    }
    os_mutex_unlock(&m->range_mutex);
    return chunk;
}

static size_t first_chunk(const struct memory *m) { return (size_t)64 << m->shift; }

struct entry *strata__slab_chunk_of(const struct shard *s, const struct entry *e)
{
    size_t first = first_chunk(s->layer), at = (size_t)((const char *)e - s->base) - first;
    return (struct entry *)(void *)(s->base + first + at - at % s->layer->chunk_bytes);
}

struct entry *strata__slab_next(const struct shard *s, const struct entry *b)
{
    struct entry *next = after(b);
    char *end = (char *)strata__slab_chunk_of(s, b) + strata__slab_max(s->layer);
    return (char *)next < end ? next : NULL;
}

void strata__slab_hide(struct shard *s, struct entry *chunk)
{
    quick_flush(s);
    for (struct entry *b = chunk; b != NULL; b = strata__slab_next(s, b))
        if (word(b) & BLOCK_FREE)
            unlink_free(s, b);
}

void strata__slab_show(struct shard *s, struct entry *chunk)
{
    for (struct entry *b = chunk; b != NULL; b = strata__slab_next(s, b))
        if (word(b) & BLOCK_FREE)
            insert_free(s, b);
}

/* The pages that are a chunk's alone. */
static size_t own_pages(const struct memory *m, char *chunk, char **out)
{
    size_t page = strata__os_page_size();
    uintptr_t low = ((uintptr_t)chunk + page - 1) / page * page;
    uintptr_t high = ((uintptr_t)chunk + m->chunk_bytes) / page * page;
    *out = (char *)low;
    return high > low ? high - low : 0;
}

int strata__slab_give(struct shard *s)
{
    struct memory *m = s->layer;
    uint32_t units = (uint32_t)(strata__slab_max(m) / UNIT), ref = 0;
    unsigned f, c;
    class_of(units, &f, &c);
    /* What waits in the quick lists may be all that is missing. */
    do
        for (ref = s->free_lists[f][c]; ref != 0 && entry_units(entry_at(s, ref)) != units;)
            ref = entry_at(s, ref)->next;
    while (ref == 0 && quick_flush(s));
    if (ref == 0)
        return 0;
    struct entry *b = entry_at(s, ref);
    unlink_free(s, b);
    char *pages;
    size_t bytes = own_pages(m, (char *)b, &pages);
    if (bytes != 0)
        strata__os_map_decommit(pages, bytes);
    s->given += bytes;
    b->next = s->spare_chunks;
    s->spare_chunks = ref;
    s->bytes -= m->chunk_bytes;
    s->slab_bytes -= m->chunk_bytes;
    return 1;
}

static char *take_spare(struct shard *s)
{
    struct entry *b = entry_at(s, s->spare_chunks);
    char *pages;
    size_t bytes = own_pages(s->layer, (char *)b, &pages);
    if (bytes != 0 && strata__os_map_commit(pages, bytes, s->layer->huge) != 0)
        return NULL;
    s->spare_chunks = b->next;
    UNPOISON(b, s->layer->chunk_bytes);
    return (char *)b;
}

int strata__slab_grow(struct shard *s)
{
    char *chunk = s->spare_chunks != 0 ? take_spare(s) : take_chunk(s->layer);
    if (chunk == NULL)
        return -1;
    uint32_t grain = granularity(s->layer);
    uint32_t units = (uint32_t)(s->layer->chunk_bytes / UNIT);
    /* The end mark looks like an entry in use: nothing is merged across it. */
    struct entry *end = (struct entry *)(void *)(chunk + (size_t)(units - grain) * UNIT);
    set_word(end, grain);
    mark_free(s, (struct entry *)(void *)chunk, units - grain, 0);
    s->bytes += s->layer->chunk_bytes;
    s->slab_bytes += s->layer->chunk_bytes;
    return 0;
}

void strata__slab_release(struct memory *m)
{
    UNPOISON(m->range, m->range_used);
    strata__os_map_release(m->range, m->range_bytes);
    m->range = NULL;
}
