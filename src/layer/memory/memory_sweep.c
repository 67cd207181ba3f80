/* memory_sweep.c - work that nobody asked for: expired entries leave, unlinked ones are freed; and the walks that clear
 * and list. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/memory/memory_impl.h"

enum { SLICE = 256 }; /* index slots looked at under one hold of the lock */

struct walk {
    struct shard *shard;
    int64_t now_ms;
    int all;
    uint32_t space;
};

/* Calls each(entry) for a slice of the index from `at` on; returns where the next one starts, 0 at the end.  `each` may
 * drop the entry: a removal moves later slots back into place, so the same slot is looked at again. */
static uint64_t walk_slice(struct shard *s, uint64_t at, int (*each)(struct walk *, struct entry *), struct walk *w)
{
    struct index_table *t = atomic_load_explicit(&s->table, memory_order_relaxed);
    for (int n = 0; n < SLICE && at < t->slot_count; n++) {
        uint64_t slot = atomic_load_explicit(&t->slots[at], memory_order_relaxed);
        if (slot == 0 || !each(w, entry_at(s, (uint32_t)slot)))
            at++;
    }
    return at < t->slot_count ? at : 0;
}

static int drop_expired(struct walk *w, struct entry *e)
{
    struct shard *s = w->shard;
    int64_t gone = strata__entry_gone_at(s->layer, e);
    if (gone > w->now_ms) {
        if (gone < s->seen_expiry)
            s->seen_expiry = gone;
        return 0;
    }
    strata__memory_drop_locked(s, e, strata__entry_hash(s->layer, e));
    s->expirations++;
    return 1;
}

/* One slice.  A full pass learns when the next entry will expire, and nothing is looked at before. */
static int sweep_slice(struct shard *s, int64_t now_ms)
{
    os_lock_take(&s->lock);
    int due = s->sweep_at != 0 || s->next_expiry <= now_ms;
    if (due) {
        struct walk w = { s, now_ms, 0, 0 };
        if (s->sweep_at == 0) {
            s->seen_expiry = INT64_MAX;
            s->next_expiry = INT64_MAX; /* puts during the pass lower it */
        }
        s->sweep_at = walk_slice(s, s->sweep_at, drop_expired, &w);
        if (s->sweep_at == 0 && s->seen_expiry < s->next_expiry)
            s->next_expiry = s->seen_expiry;
    }
    if (!due || s->sweep_at == 0)
        strata__retire_collect(s, 0);
    shard_unlock(s);
    return due;
}

/* The budget is kept in slices: a slice takes some 20 us where entries are cold. */
void strata__memory_maintain(strata_layer *layer, int64_t now_ms, uint64_t budget_us)
{
    struct memory *m = (struct memory *)(void *)layer;
    uint64_t slices = budget_us / 20 + 1;
    if (m->watch != NULL)
        strata__memory_watch(m, now_ms);
    size_t idle = 0;
    while (slices > 0 && idle < m->shard_count) {
        uint32_t n = atomic_fetch_add(&m->sweep_shard, 1);
        struct shard *s = &m->shards[n % m->shard_count];
        int worked = 0;
        for (int k = 0; k < 16 && slices > 0; k++, slices--) {
            if (!sweep_slice(s, now_ms))
                break;
            worked = 1;
        }
        idle = worked ? 0 : idle + 1;
    }
}

static int drop_space(struct walk *w, struct entry *e)
{
    if (!w->all && e->space != w->space)
        return 0;
    strata__memory_drop_locked(w->shard, e, strata__entry_hash(w->shard->layer, e));
    return 1;
}

int strata__memory_clear(strata_layer *layer, const strata_clear_op *what, strata_error *err)
{
    (void)err;
    struct memory *m = (struct memory *)(void *)layer;
    for (size_t i = 0; i < m->shard_count; i++) {
        struct shard *s = &m->shards[i];
        uint64_t at = 0;
        do {
            os_lock_take(&s->lock);
            struct walk w = { s, 0, what->all != 0, what->space };
            at = walk_slice(s, at, drop_space, &w);
            strata__retire_collect(s, 0);
            shard_unlock(s);
        } while (at != 0);
    }
    return STRATA_OK;
}

/* The keys of one slice, copied, so that `each` runs without the lock. */
struct copied_key {
    struct copied_key *next;
    uint32_t space;
    size_t size;
    char bytes[];
};

struct key_walk {
    struct walk walk;
    struct copied_key *list;
    int failed;
};

static int copy_key(struct walk *w, struct entry *e)
{
    struct key_walk *kw = (struct key_walk *)(void *)w;
    struct copied_key *k = strata__alloc(w->shard->layer->mem, sizeof *k + e->key_size);
    if (k == NULL) {
        kw->failed = 1;
        return 0;
    }
    k->space = e->space;
    k->size = e->key_size;
    memcpy(k->bytes, entry_key(e), e->key_size);
    k->next = kw->list;
    kw->list = k;
    return 0;
}

static int tell_keys(struct memory *m, struct copied_key *list, int (*each)(uint32_t, strata_slice, void *), void *ctx)
{
    int stop = 0;
    while (list != NULL) {
        struct copied_key *k = list;
        list = k->next;
        if (!stop)
            stop = each(k->space, strata_bytes(k->bytes, k->size), ctx);
        strata__free(m->mem, k);
    }
    return stop;
}

int strata__memory_keys(strata_layer *layer, int (*each)(uint32_t, strata_slice, void *), void *ctx, strata_error *err)
{
    struct memory *m = (struct memory *)(void *)layer;
    for (size_t i = 0; i < m->shard_count; i++) {
        struct shard *s = &m->shards[i];
        uint64_t at = 0;
        do {
            struct key_walk kw = { { s, 0, 0, 0 }, NULL, 0 };
            os_lock_take(&s->lock);
            at = walk_slice(s, at, copy_key, &kw.walk);
            shard_unlock(s);
            int stop = tell_keys(m, kw.list, each, ctx);
            if (kw.failed)
                return strata__fail_plain(err, STRATA_ENOMEM, layer->name);
            if (stop)
                return STRATA_OK;
        } while (at != 0);
    }
    return STRATA_OK;
}
