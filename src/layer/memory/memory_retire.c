/* memory_retire.c - entries that were unlinked and may still be read: freed in batches, once nobody does.
 *
 * A batch costs one membarrier and a look at all threads' pins (src/os/reclaim.h).  The membarrier interrupts every
 * processor that runs a thread of ours, while the shard is locked: so shards share it.  Half a batch is given a stamp and
 * ages; when the other half is full, some other shard has usually paid.  Entries that are pinned stay in the list: they
 * count against the shard's budget, as their room is not free. */
#include <stdlib.h>

#include "src/base/mem.h"
#include "src/layer/memory/memory_impl.h"

enum { PINS_AT_HAND = 256 };

struct pinned {
    uintptr_t low, high;
    size_t count, room;
    uintptr_t *address;
    uintptr_t at_hand[PINS_AT_HAND];
};

/* All that is retired is the older part from now on. */
static void age(struct shard *s)
{
    s->aged = s->retired;
    s->aged_stamp = strata__reclaim_stamp();
    s->kept_aged = (uint32_t)s->kept;
    s->young_last = 0;
    s->young_count = 0;
}

void strata__retire(struct shard *s, struct entry *e)
{
    uint32_t ref = ref_of(s, e), *trail = &s->trail[s->retired_count % RETIRE_AHEAD];
    e->next = s->retired;
    e->prev = *trail; /* so many further down the list, as a rule: see free_unpinned() */
    *trail = ref;
    s->retired = ref;
    if (s->likely == ref)
        s->likely = 0;
    s->retired_count++;
    s->retired_heap += (e->kind & KIND_HEAP) != 0;
    if (s->young_count++ == 0)
        s->young_last = ref;
    if (s->aged == 0 && s->young_count * 2 >= strata__memory_batch(s))
        age(s);
}

void strata__retire_table(struct shard *s, struct index_table *t)
{
    t->next = s->old_tables;
    s->old_tables = t;
}

static void note_pin(uintptr_t address, void *ctx)
{
    struct pinned *p = ctx;
    if (address < p->low || address >= p->high)
        return;
    if (p->count < p->room)
        p->address[p->count] = address;
    p->count++;
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return (x > y) - (x < y);
}

struct one {
    uintptr_t address;
    int found;
};

static void is_it(uintptr_t address, void *ctx)
{
    struct one *one = ctx;
    one->found |= address == one->address;
}

static int is_pinned(const struct pinned *p, const struct entry *e)
{
    uintptr_t address = (uintptr_t)e;
    if (p->count <= p->room)
        return p->count != 0 && bsearch(&address, p->address, p->count, sizeof address, by_address) != NULL;
    /* Very many pins, and no memory to sort them: ask for this one alone. */
    struct one one = { address, 0 };
    strata__reclaim_each_pin(is_it, &one);
    return one.found;
}

/* What is pinned in this layer's range, sorted.  Pins may come and go meanwhile, but none on what was retired before the
 * quiesce: one that is not listed then was given back. */
static void list_pins(const struct shard *s, struct pinned *p)
{
    p->low = (uintptr_t)s->base;
    p->high = p->low + s->layer->range_bytes;
    p->address = p->at_hand;
    p->room = PINS_AT_HAND;
    p->count = 0;
    strata__reclaim_each_pin(note_pin, p);
    if (p->count > PINS_AT_HAND) {
        size_t room = p->count + p->count / 4;
        uintptr_t *more = strata__alloc_array(s->layer->mem, room, sizeof *more);
        if (more != NULL) {
            p->address = more;
            p->room = room;
            p->count = 0;
            strata__reclaim_each_pin(note_pin, p);
        }
    }
    if (p->count > 1 && p->count <= p->room)
        qsort(p->address, p->count, sizeof p->address[0], by_address);
}

static void free_tables(struct shard *s)
{
    while (s->old_tables != NULL) {
        struct index_table *t = s->old_tables;
        s->old_tables = t->next;
        strata__index_free_table(s, t);
    }
}

/* A list that was cut off; what is pinned is retired again.  How many blocks came free. */
static size_t free_unpinned(struct shard *s, uint32_t ref)
{
    struct pinned pins;
    list_pins(s, &pins);
    size_t freed = 0;
    while (ref != 0) {
        struct entry *e = entry_at(s, ref);
        ref = e->next;
        /* Long untouched, all of them, and each says where the next one is: one wait after the other, but for this. */
        __builtin_prefetch(entry_at(s, e->prev), 1);
        s->retired_count--;
        s->retired_heap -= (e->kind & KIND_HEAP) != 0;
        if (is_pinned(&pins, e) || ((e->kind & KIND_HEAP) && s->dead_count == DEAD_VALUES)) {
            s->kept++;
            strata__retire(s, e);
            continue;
        }
        if (e->kind & KIND_HEAP) {
            s->bytes -= entry_heap(e)->cost;
            s->heap_bytes -= entry_heap(e)->cost;
            s->dead[s->dead_count++] = entry_heap(e)->value;
        }
        strata__slab_free(s, e);
        freed++;
    }
    if (pins.address != pins.at_hand)
        strata__free(s->layer->mem, pins.address);
    return freed;
}

size_t strata__retire_collect(struct shard *s, int insist)
{
    if (s->retired == 0 && s->old_tables == NULL)
        return 0;
    if (!strata__reclaim_quiesce(insist))
        return 0;
    free_tables(s);
    uint32_t all = s->retired;
    s->retired = s->aged = s->young_last = 0;
    s->young_count = s->kept_aged = 0;
    s->kept = 0;
    size_t freed = free_unpinned(s, all);
    s->kept_heap = s->retired_heap;
    return freed;
}

size_t strata__retire_relieve(struct shard *s)
{
    size_t freed = 0;
    if (s->aged != 0 && strata__reclaim_passed(s->aged_stamp)) {
        uint32_t aged = s->aged;
        s->aged = 0;
        s->kept -= s->kept_aged;
        s->kept_aged = 0;
        if (s->young_last != 0)
            entry_at(s, s->young_last)->next = 0;
        else
            s->retired = 0;
        freed = free_unpinned(s, aged);
    }
    return freed != 0 ? freed : strata__retire_collect(s, 0);
}

void strata__shard_unlock_and_tell(struct shard *s)
{
    strata__memory_tell_policy(s);
    struct strata_value *dead[DEAD_VALUES];
    unsigned count = s->dead_count;
    struct eviction_note *notes = s->notes;
    for (unsigned i = 0; i < count; i++)
        dead[i] = s->dead[i];
    s->dead_count = 0;
    s->notes = NULL;
    struct memory *m = s->layer;
    os_lock_give(&s->lock);
    for (unsigned i = 0; i < count; i++)
        value_unref_later(dead[i]);
    while (notes != NULL) {
        struct eviction_note *n = notes;
        notes = n->next;
        strata_host_evicted(m->host, &m->base, n->space, strata_bytes(n->key, n->key_size));
        strata__free(m->mem, n);
    }
}
