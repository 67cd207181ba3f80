/* memory_scan.c - a walk over entries, for who wants all of them.
 *
 * An entry stands at its home, or in a bucket behind it, and removals and growth move it about.  But where its home is follows from 32
 * bits of its hash, in their order: so the walk goes by these, home after home, and what it has told of is what lies below a number, in
 * whatever table.  The homes of a piece are gathered under the shard's lock, which takes some hundred nanoseconds; the entries are read
 * without it, in a section, as a hit reads them, after they were fetched ahead. */
#include "src/base/err.h"
#include "src/layer/memory/memory_impl.h"

enum { ROOM = 128, LINE = 64, LINES_AHEAD = 3, SHARD_SHIFT = 33 };
#define TAGS_END ((uint64_t)1 << 32)

/* Entries of a piece. */
struct gathered {
    size_t count, room;
    const struct entry *entries[ROOM];
};

/* Those whose home this is.  1; 0: there is no room for all of them. */
static int gather_home(const struct shard *s, const struct index_table *t, uint64_t home, uint64_t from,
                       struct gathered *g)
{
    size_t count = g->count;
    for (uint64_t at = home;;) {
        int holes = 0;
        for (uint64_t i = at; i < at + BUCKET_SLOTS; i++) {
            uint64_t slot = atomic_load_explicit(&((struct index_table *)(uintptr_t)t)->slots[i], memory_order_relaxed);
            uint64_t tag = slot >> 32;
            holes += slot == 0;
            if (slot == 0 || tag < from || index_home(tag, t->slot_count) != home)
                continue;
            if (count == g->room)
                return 0;
            g->entries[count++] = entry_at(s, (uint32_t)slot);
        }
        at = at + BUCKET_SLOTS == t->slot_count ? 0 : at + BUCKET_SLOTS;
        if (holes != 0 || at == home)
            break;
    }
    g->count = count;
    return 1;
}

/* The least tag whose home is not before this slot. */
static uint64_t first_tag(uint64_t slot, uint64_t slot_count)
{
    return slot >= slot_count ? TAGS_END : ((slot << 32) + slot_count - 1) / slot_count;
}

/* From this tag on, as many homes as there is room for; the tag to go on with.  Shard's lock. */
static uint64_t gather_locked(const struct shard *s, uint64_t from, struct gathered *g)
{
    const struct index_table *t = atomic_load_explicit(&((struct shard *)(uintptr_t)s)->table, memory_order_relaxed);
    uint64_t home = index_home(from, t->slot_count);
    for (unsigned looked = 0; home < t->slot_count && looked < ROOM; home += BUCKET_SLOTS, looked++) {
        size_t before = g->count;
        if (!gather_home(s, t, home, from, g))
            break;
        for (; before < g->count; before++)
            for (size_t i = 0; i < LINES_AHEAD; i++)
                __builtin_prefetch((const char *)g->entries[before] + i * LINE);
    }
    uint64_t next = first_tag(home, t->slot_count);
    return next > from ? next : from;
}

static void lend(struct strata_value *v, const struct entry *e)
{
    v->data = entry_value(e);
    v->size = entry_value_size(e);
    v->object = NULL;
    atomic_store_explicit(&v->refs, 1, memory_order_relaxed);
}

static void nothing(struct strata_value *value) { (void)value; }

static void tell(const struct memory *m, strata_scan *scan, const struct entry *e, strata_op *op,
                 struct strata_value *lent)
{
    op->space = e->space;
    op->key = strata_bytes(entry_key(e), e->key_size);
    op->status = STRATA_OK;
    op->tags = NULL;
    op->found = NULL;
    op->flags = (e->kind & KIND_BACKED) != 0 ? STRATA_OP_BACKED : 0;
    strata__meta_load(m, e, &op->meta);
    if (e->kind & KIND_HEAP)
        op->found = strata_value_ref(entry_heap(e)->value); /* the entry's own stands while we read */
    else if ((e->kind & KIND_NEGATIVE) == 0)
        lend(lent, e), op->found = lent;
    if (__builtin_expect((e->kind & KIND_TAGGED) != 0, 0)) {
        strata_slice notes = entry_notes(e);
        op->meta.tag_count = entry_tags(e)->count;
        op->tags = notes.size != 0 ? strata__value_copy(m->mem, notes.data, notes.size) : NULL;
    }
    scan->each(scan, op);
}

int strata__memory_scan(strata_layer *layer, strata_scan *scan, strata_error *err)
{
    struct memory *m = (struct memory *)(void *)layer;
    struct reclaim_record *r = reclaim_self();
    uint64_t shard = scan->at >> SHARD_SHIFT, from = scan->at & ((TAGS_END << 1) - 1);
    struct gathered g = { .room = scan->most < ROOM ? scan->most : ROOM };
    if (r == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, layer->name);
    struct shard *s = &m->shards[shard];
    os_lock_take(&s->lock);
    reclaim_enter(r); /* not before: who holds the lock may wait for us to leave */
    uint64_t next = gather_locked(s, from, &g);
    os_lock_give(&s->lock);
    strata_error words = STRATA_ERROR_INIT;
    strata_op op = {
        .size = sizeof op, .kind = STRATA_OP_GET, .err = &words, .mem = m->mem, .expires_ms = STRATA_FOREVER
    };
    struct strata_value lent = { .kind = STRATA__VALUE_LENT, .release = nothing };
    for (size_t i = 0; i < g.count; i++)
        tell(m, scan, g.entries[i], &op, &lent);
    reclaim_leave(r);
    if (next == from) /* more of one home than a piece may have: no chance is that bad */
        return strata__fail_plain(err, STRATA_ENOMEM, layer->name);
    shard += next == TAGS_END;
    scan->at = shard << SHARD_SHIFT | (next == TAGS_END ? 0 : next);
    return shard == m->shard_count;
}
