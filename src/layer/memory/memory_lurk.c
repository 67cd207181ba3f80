/* memory_lurk.c - the memory layer's part of the walk that core's lurker.c describes: entries that bans have taken are freed, though
 * nobody reads them, and the others get a later position, so that these bans need not be compared with them again.
 *
 * It goes over the index of one shard after the other, in pieces.  A piece is one hold of the shard's lock, so it is bounded twice: by the
 * slots that are looked at, and by the entries that are compared with bans, which takes longer.  Readers take no lock, and don't notice.
 *
 * Between two pieces the index changes.  A removal may move an entry to an earlier bucket (entries are fetched back over full ones), past the
 * place where the walk has got to: so a piece begins some buckets before the end of the last one.  A table that has grown is walked
 * from its beginning.  What is met twice costs a look, no more.
 *
 * At the end of a shard some of its chunks that have come free go back to the system. */
#include <string.h>

#include "src/layer/memory/memory_impl.h"

enum { SLOTS_A_HOLD = 256, JUDGED_A_HOLD = 16, BUCKETS_BACK = 8, CHUNKS_GIVEN = 4, SHARD_SHIFT = 40 };
#define SLOT_MASK (((uint64_t)1 << SHARD_SHIFT) - 1)

struct piece {
    struct shard *shard;
    strata_lurk *lurk;
    uint32_t judged;
};

/* 1: it goes. */
static int judged(struct piece *p, struct entry *e, uint32_t *position)
{
    strata_lurk *lurk = p->lurk;
    strata_meta meta;
    strata__meta_load(p->shard->layer, e, &meta);
    const uint64_t *tags = NULL;
    uint64_t none = 0;
    if ((e->kind & KIND_TAGGED) == 0 || entry_tags(e)->count == 0)
        tags = &none;
    else if (entry_tags(e)->known != 0)
        tags = entry_tags(e)->ids;
    p->judged++;
    return lurk->judge(lurk, e->space, strata_bytes(entry_key(e), e->key_size), &meta, tags, position);
}

/* 1: it is gone, and another may stand in its slot. */
static int look(struct piece *p, struct entry *e)
{
    strata_lurk *lurk = p->lurk;
    uint32_t born = atomic_load_explicit(&e->position, memory_order_relaxed), position = born;
    if (e->space >= lurk->space_count || born >= lurk->position)
        return 0;
    if (born >= lurk->asked && !strata__memory_below_line(e, lurk->lines[e->space])) {
        position = lurk->position;
    } else if (judged(p, e, &position)) {
        strata__memory_drop_locked(p->shard, e, strata__entry_hash(p->shard->layer, e));
        lurk->freed++;
        return 1;
    }
    strata__memory_move_up(e, position);
    if (position < lurk->oldest)
        lurk->oldest = position;
    return 0;
}

static uint64_t step_back(const struct index_table *t, uint64_t at)
{
    at &= ~(uint64_t)(BUCKET_SLOTS - 1);
    for (int i = 0; i < BUCKETS_BACK && at != 0 && bucket_empty(&t->slots[at - BUCKET_SLOTS]) == 0; i++)
        at -= BUCKET_SLOTS;
    return at;
}

/* Where the next piece of this shard begins; 0: it is through.  *out_looked: how many slots. */
static uint64_t one_hold(struct shard *s, uint64_t at, strata_lurk *lurk, uint32_t *out_looked)
{
    struct piece p = { s, lurk, 0 };
    uint64_t freed = lurk->freed;
    uint32_t n = 0;
    os_lock_take(&s->lock);
    struct index_table *t = atomic_load_explicit(&s->table, memory_order_relaxed);
    uint64_t from = at != 0 && t->slot_count == s->layer->lurk_slots ? at : 0;
    s->layer->lurk_slots = t->slot_count;
    at = from != 0 ? step_back(t, from) : 0;
    /* It ends beyond where it began, whatever is met again before that. */
    for (; at < t->slot_count && (at < from || (n < SLOTS_A_HOLD && p.judged < JUDGED_A_HOLD)); n++) {
        uint64_t slot = atomic_load_explicit(&t->slots[at], memory_order_relaxed);
        if (slot == 0 || !look(&p, entry_at(s, (uint32_t)slot)))
            at++;
    }
    uint64_t next = at < t->slot_count ? at : 0;
    if (lurk->freed != freed)
        strata__retire_collect(s, 0);
    for (int i = 0; next == 0 && lurk->freed != 0 && i < CHUNKS_GIVEN && strata__slab_give(s); i++)
        ;
    shard_unlock(s);
    *out_looked = n + 1;
    return next;
}

int strata__memory_lurk(strata_layer *layer, strata_lurk *lurk)
{
    struct memory *m = (struct memory *)(void *)layer;
    uint64_t shard = lurk->at >> SHARD_SHIFT, at = lurk->at & SLOT_MASK;
    uint32_t looked, left = lurk->most;
    while (shard < m->shard_count && left != 0) {
        at = one_hold(&m->shards[shard], at, lurk, &looked);
        left -= looked < left ? looked : left;
        shard += at == 0;
    }
    lurk->at = shard < m->shard_count ? shard << SHARD_SHIFT | at : 0;
    return shard == m->shard_count;
}
