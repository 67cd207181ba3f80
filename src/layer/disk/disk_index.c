/* disk_index.c - where records are: 16 bytes a slot, sorted by tag.
 *
 * A tag's home is its share of the table's length, so that homes grow with tags, and the table is a sorted array with gaps:
 * a search begins at the home and ends at the first slot that is free or has a larger tag, a larger table is filled in one
 * pass, and its length need be no power of two.  It grows by a half when 17 of 20 slots are used, shard by shard: at most 29
 * bytes an entry, and the growing shard's twice for a moment. */
#include <string.h>

#include "src/base/mem.h"
#include "src/layer/disk/disk_impl.h"

enum { LEAST_ROOM = 32 };

/* Slots behind the last home, for the cluster that begins there. */
static uint64_t overflow(uint64_t room) { return room / 16 < 256 ? room / 16 : 256; }

static uint64_t homes(uint64_t room) { return room - overflow(room); }

static uint64_t home(uint32_t tag, uint64_t room) { return (uint64_t)tag * homes(room) >> 32; }

static uint64_t most_used(uint64_t room) { return room * 17 / 20; }

void strata__disk_index_table(struct disk_shard *shard, struct slot *slots, uint64_t room)
{
    shard->slots = slots;
    shard->room = room;
    /* Relaxed: two words that do not belong together name a wrong line to fetch, no more. */
    atomic_store_explicit(&shard->ahead, (uintptr_t)slots, memory_order_relaxed);
    atomic_store_explicit(&shard->ahead_homes, homes(room), memory_order_relaxed);
}

int strata__disk_index_init(struct disk_shard *shard, const strata_allocator *mem, uint64_t entries)
{
    uint64_t room = entries / 17 * 20 + INDEX_FIRST_ROOM;
    shard->used = 0;
    strata__disk_index_table(shard, strata__alloc_array(mem, room, sizeof *shard->slots), room);
    return shard->slots != NULL ? STRATA_OK : STRATA_ENOMEM;
}

void strata__disk_index_deinit(struct disk_shard *shard, const strata_allocator *mem)
{
    strata__free(mem, shard->slots);
    shard->slots = NULL;
}

/* The first slot from the tag's home on that is free, or has no smaller tag; `room` where there is none. */
static uint64_t lower_bound(const struct disk_shard *shard, uint32_t tag)
{
    uint64_t at = home(tag, shard->room);
    while (at < shard->room && shard->slots[at].where != 0 && shard->slots[at].tag < tag)
        at++;
    return at;
}

static uint64_t first_free(const struct disk_shard *shard, uint64_t at)
{
    while (at < shard->room && shard->slots[at].where != 0)
        at++;
    return at;
}

struct slot *strata__disk_index_find(const struct disk_shard *shard, uint32_t tag)
{
    uint64_t at = lower_bound(shard, tag);
    if (at == shard->room || shard->slots[at].where == 0 || shard->slots[at].tag != tag)
        return NULL;
    return &shard->slots[at];
}

/* Sorted slots into a larger table, in one pass.  0 where they run over its end. */
static int spread(struct slot *to, uint64_t room, const struct disk_shard *from)
{
    uint64_t next = 0;
    for (uint64_t i = 0; i < from->room; i++) {
        if (from->slots[i].where == 0)
            continue;
        uint64_t at = home(from->slots[i].tag, room);
        if (at < next)
            at = next;
        if (at >= room)
            return 0;
        to[at] = from->slots[i];
        next = at + 1;
    }
    return 1;
}

static int enlarge(struct disk_shard *shard, const strata_allocator *mem)
{
    uint64_t room = shard->room;
    while (room / 16 <= shard->used + LEAST_ROOM) {
        room += room / 2;
        struct slot *slots = strata__alloc_array(mem, room, sizeof *slots);
        if (slots == NULL)
            return STRATA_ENOMEM;
        if (spread(slots, room, shard)) {
            strata__free(mem, shard->slots);
            strata__disk_index_table(shard, slots, room);
            return STRATA_OK;
        }
        strata__free(mem, slots);
    }
    return STRATA_ENOMEM;
}

int strata__disk_index_reserve(struct disk_shard *shard, const strata_allocator *mem, uint32_t tag)
{
    if (shard->used >= most_used(shard->room) && enlarge(shard, mem) != STRATA_OK)
        return STRATA_ENOMEM;
    /* Tags that crowd at the end are no chance, with a seed that nobody knows; but they may not eat all memory. */
    while (first_free(shard, lower_bound(shard, tag)) == shard->room)
        if (shard->room / 8 > shard->used + LEAST_ROOM || enlarge(shard, mem) != STRATA_OK)
            return STRATA_ENOMEM;
    return STRATA_OK;
}

void strata__disk_index_insert(struct disk_shard *shard, struct slot slot)
{
    uint64_t at = lower_bound(shard, slot.tag), gap = first_free(shard, at);
    memmove(&shard->slots[at + 1], &shard->slots[at], (gap - at) * sizeof slot);
    shard->slots[at] = slot;
    shard->used++;
}

void strata__disk_index_erase(struct disk_shard *shard, struct slot *slot)
{
    uint64_t at = (uint64_t)(slot - shard->slots), next = at + 1;
    while (next < shard->room && shard->slots[next].where != 0 && home(shard->slots[next].tag, shard->room) < next)
        next++;
    memmove(&shard->slots[at], &shard->slots[at + 1], (next - at - 1) * sizeof *slot);
    memset(&shard->slots[next - 1], 0, sizeof *slot);
    shard->used--;
}

int strata__disk_index_set(struct disk_shard *shard, const strata_allocator *mem, struct slot slot, struct slot *old)
{
    struct slot *there = strata__disk_index_find(shard, slot.tag);
    memset(old, 0, sizeof *old);
    if (there != NULL) {
        *old = *there;
        *there = slot;
        return STRATA_OK;
    }
    if (strata__disk_index_reserve(shard, mem, slot.tag) != STRATA_OK)
        return STRATA_ENOMEM;
    strata__disk_index_insert(shard, slot);
    return STRATA_OK;
}
