/* memory_tables.c - memory for the tables of all shards: large ones side by side in huge pages.
 *
 * A table is read at random, so that with small pages nearly every look at it would also be a look at the page tables, and what
 * fetches ahead would wait for that.  One shard's table alone is no huge page, or is none to a third.  So all shards' tables share a
 * range of addresses and stand in it one behind the other, by size: shards grow at about the same time, and the tables that they
 * leave then fill huge pages of their own, which go back whole.  A table given back goes back to the system at once, and to others
 * when its huge page is nobody's; that divides the huge page, which therefore must not be that of tables that stay.
 * Where the range is full or missing, a table has a mapping of its own; small ones are the allocator's. */
#include "src/layer/memory/memory_tables.h"

#include "src/base/mem.h"
#include "src/layer/memory/memory_impl.h"
#include "src/os/os_map.h"

enum { SHARED_FROM = 16 << 10, MAPPED_FROM = 256 << 10, LINES = 128 };

#define TABLES_FROM ((uint64_t)64 << 20) /* budgets: the last huge page of a size is full by chance */

static size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

void strata__tables_init(struct memory *m)
{
    struct tables *t = &m->tables;
    size_t bytes = round_up((size_t)(m->max_bytes / 2), OS_MAP_ALIGN); /* more than tables take, also while they grow */
    void *at = NULL;
    if (m->max_bytes < TABLES_FROM)
        return;
    uint32_t *out = strata__alloc_array(m->mem, bytes / OS_MAP_ALIGN, sizeof *out);
    if (out == NULL || strata__os_map_reserve(&at, bytes) != 0) {
        strata__free(m->mem, out);
        return;
    }
    *t = (struct tables){ .range = at, .range_bytes = bytes, .out = out };
}

void strata__tables_deinit(struct memory *m)
{
    strata__os_map_release(m->tables.range, m->tables.range_bytes);
    strata__free(m->mem, m->tables.out);
    m->tables = (struct tables){ 0 };
}

size_t strata__table_counts(size_t bytes)
{
    return bytes >= SHARED_FROM ? round_up(bytes, strata__os_page_size()) : bytes + LINES;
}

/* Of SHARED_FROM bytes and more. */
static unsigned class_of(size_t bytes)
{
    unsigned log = 63u - (unsigned)__builtin_clzll((unsigned long long)bytes);
    unsigned class = (log - 14) * 4 + (unsigned)(bytes >> (log - 2) & 3);
    return class < TABLE_CLASSES ? class : TABLE_CLASSES - 1;
}

/* The part of a table that stands in its first huge page. */
static size_t first_part(size_t at, size_t bytes)
{
    size_t left = OS_MAP_ALIGN - at % OS_MAP_ALIGN;
    return bytes < left ? bytes : left;
}

static void count_out(struct tables *t, size_t at, size_t bytes)
{
    for (size_t part; bytes != 0; at += part, bytes -= part) {
        part = first_part(at, bytes);
        t->out[at / OS_MAP_ALIGN] += (uint32_t)part;
    }
}

/* What is nobody's any more goes back whole, with the rest that no table ever had. */
static void count_back(struct tables *t, struct table_run *run, size_t at, size_t bytes)
{
    for (size_t part; bytes != 0; at += part, bytes -= part) {
        size_t page = at / OS_MAP_ALIGN;
        part = first_part(at, bytes);
        t->out[page] -= (uint32_t)part;
        if (t->out[page] != 0)
            continue;
        strata__os_map_decommit_huge(t->range + page * OS_MAP_ALIGN, OS_MAP_ALIGN);
        if (run->end == (page + 1) * OS_MAP_ALIGN)
            *run = (struct table_run){ 0 };
    }
}

/* Is the huge page nobody's, nor the next table's of a class? */
static int is_free(const struct tables *t, size_t page)
{
    if (t->out[page] != 0)
        return 0;
    for (unsigned i = 0; i < TABLE_CLASSES; i++)
        if (page * OS_MAP_ALIGN < t->runs[i].end && (page + 1) * OS_MAP_ALIGN > t->runs[i].at)
            return 0;
    return 1;
}

/* Where `pages` free ones begin, from `first` on or only there; SIZE_MAX: nowhere. */
static size_t find_free(const struct tables *t, size_t first, size_t pages, int only_there)
{
    size_t run = 0;
    for (size_t page = first; page < t->range_bytes / OS_MAP_ALIGN; page++) {
        run = is_free(t, page) ? run + 1 : 0;
        if (run == pages)
            return page + 1 - pages;
        if (only_there && run == 0)
            break;
    }
    return SIZE_MAX;
}

/* Room for `bytes` at the run's `at`: behind what it has, or elsewhere.  0: there is none. */
static int extend(struct tables *t, struct table_run *run, size_t bytes)
{
    size_t missing = round_up(run->at + bytes - run->end, OS_MAP_ALIGN), first = run->end / OS_MAP_ALIGN;
    if (run->end == 0 || find_free(t, first, missing / OS_MAP_ALIGN, 1) == SIZE_MAX) {
        missing = round_up(bytes, OS_MAP_ALIGN);
        *run = (struct table_run){ 0 };
        first = find_free(t, 0, missing / OS_MAP_ALIGN, 0);
        if (first == SIZE_MAX)
            return 0;
    }
    if (strata__os_map_commit(t->range + first * OS_MAP_ALIGN, missing, 1) != 0)
        return 0;
    if (run->end == 0)
        run->at = first * OS_MAP_ALIGN;
    run->end = first * OS_MAP_ALIGN + missing;
    return 1;
}

static void *take_shared(struct tables *t, size_t bytes)
{
    void *at = NULL;
    os_lock_take(&t->lock);
    struct table_run *run = &t->runs[class_of(bytes)];
    if (run->at + bytes <= run->end || extend(t, run, bytes)) {
        at = t->range + run->at;
        count_out(t, run->at, bytes);
        run->at += bytes;
    }
    os_lock_give(&t->lock);
    return at;
}

static void *map_alone(size_t bytes)
{
    void *at = NULL;
    if (strata__os_map_reserve(&at, bytes) != 0)
        return NULL;
    if (strata__os_map_commit(at, bytes, 1) != 0) {
        strata__os_map_release(at, bytes);
        return NULL;
    }
    return at;
}

int strata__table_take(struct memory *m, size_t bytes, struct table_room *out)
{
    *out = (struct table_room){ .bytes = strata__table_counts(bytes) };
    if (m->tables.range != NULL && bytes >= SHARED_FROM) {
        out->at = take_shared(&m->tables, out->bytes);
        out->shared = out->at != NULL;
    }
    if (out->at == NULL && bytes >= MAPPED_FROM)
        out->at = map_alone(out->bytes);
    if (out->at != NULL || bytes >= MAPPED_FROM)
        return out->at != NULL ? 0 : -1;
    out->block = strata__alloc_zero(m->mem, bytes + LINES);
    if (out->block == NULL)
        return -1;
    out->at = (void *)round_up((uintptr_t)out->block, LINES);
    return 0;
}

static void give_shared(struct tables *t, char *at, size_t bytes)
{
    strata__os_map_decommit(at, bytes);
    os_lock_take(&t->lock);
    count_back(t, &t->runs[class_of(bytes)], (size_t)(at - t->range), bytes);
    os_lock_give(&t->lock);
}

void strata__table_give(struct memory *m, const struct table_room *room)
{
    if (room->block != NULL)
        strata__free(m->mem, room->block);
    else if (room->shared)
        give_shared(&m->tables, room->at, room->bytes);
    else if (room->at != NULL)
        strata__os_map_release(room->at, room->bytes);
}
