/* memory_share.c - what is a namespace's of this layer, whatever others put here.
 *
 * Each shard keeps its part of each share, by what the namespace's entries cost there.  Whom the policy chooses leaves, unless its
 * namespace would then have less than its share: that one is held, in a queue of the share, and the policy is asked for another.
 * So nobody is looked at twice, and who is held is who would have gone: once its namespace has more than its share again, these go
 * first, unless they were read since, which makes them the policy's again.  A share that is not used up keeps nothing from anybody.
 *
 * Who comes in is never asked whose it is: a namespace below its share grows, as nothing of it leaves; one at its share takes
 * from those who have more than theirs.  "Absent" has a share of its own, and is of no namespace's. */
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"
#include "src/layer/memory/memory_queue.h"

enum { TABLE_BYTES = 32 }; /* what index and ghost take for an entry, about */
enum { RESIDENTS_A_HOLD = 1024, LEAST_ROOM = 64 };

static struct share *share_of(const struct shard *s, const struct entry *e)
{
    uint8_t number = e->space < s->share_room ? s->by_space[e->space] : 0;
    return number != 0 && (e->kind & KIND_NEGATIVE) == 0 ? &s->shares[number - 1] : NULL;
}

static uint64_t entry_cost(const struct entry *e) { return entry_bytes(e) + TABLE_BYTES; }

/* It has its share without this one: of the bytes, or where entries are counted of those, whichever it has reached. */
static int may_leave(const struct shard *s, const struct share *share, const struct entry *e)
{
    if (s->limit_entries != UINT64_MAX && (share->count - 1) * WHOLE_PPM >= s->limit_entries * share->ppm)
        return 1;
    return (share->used - entry_cost(e)) * WHOLE_PPM >= s->limit_bytes * share->ppm;
}

void strata__share_in(struct shard *s, const struct entry *e)
{
    struct share *share = share_of(s, e);
    if (share == NULL)
        return;
    share->count++;
    share->used += entry_cost(e);
    s->share_ready |= (uint64_t)1 << (share - s->shares);
}

void strata__share_out(struct shard *s, const struct entry *e)
{
    struct share *share = share_of(s, e);
    if (share == NULL)
        return;
    share->count--;
    share->used -= entry_cost(e);
}

int strata__share_protects(const struct shard *s, const struct entry *e)
{
    const struct share *share = share_of(s, e);
    return share != NULL && !may_leave(s, share, e);
}

uint64_t strata__share_kept(const struct shard *s)
{
    uint64_t sum = 0;
    for (uint32_t n = 0; n < s->share_count; n++) {
        uint64_t most = s->limit_bytes * s->shares[n].ppm / WHOLE_PPM;
        sum += s->shares[n].used < most ? s->shares[n].used : most;
    }
    return sum;
}

struct queue *strata__share_held(const struct shard *s, const struct entry *e) { return &share_of(s, e)->held; }

void strata__share_unhold(struct shard *s, struct entry *e)
{
    strata__queue_unlink(s, QUEUE_HELD, e);
    s->aside--;
}

void strata__share_return(struct shard *s, struct entry *e, uint64_t hash)
{
    strata__share_unhold(s, e);
    strata__policy_return(s, e, hash);
}

/* Of those who were held, one who need not be any more.  NULL: there is none. */
static struct entry *released(struct shard *s)
{
    while (s->share_ready != 0) {
        unsigned n = (unsigned)__builtin_ctzll(s->share_ready);
        const struct share *share = n < s->share_count ? &s->shares[n] : NULL;
        struct entry *e = share != NULL && share->held.tail != 0 ? entry_at(s, share->held.tail) : NULL;
        if (e == NULL || !may_leave(s, share, e)) {
            s->share_ready &= s->share_ready - 1;
        } else if (atomic_load_explicit(&e->hits, memory_order_relaxed) != 0) {
            strata__share_return(s, e, strata__entry_hash(s->layer, e));
        } else {
            strata__share_unhold(s, e);
            s->from_small = 0;
            return e;
        }
    }
    return NULL;
}

struct entry *strata__share_victim(struct shard *s)
{
    struct entry *e = released(s);
    if (e != NULL)
        return e;
    while ((e = s->eviction->victim(s)) != NULL && strata__share_protects(s, e)) {
        strata__queue_push_head(s, QUEUE_HELD, e);
        s->aside++;
    }
    return e;
}

struct entry *strata__share_last(struct shard *s)
{
    struct entry *last = NULL;
    uint64_t most = 0;
    for (uint32_t n = 0; n < s->share_count; n++) {
        const struct share *share = &s->shares[n];
        uint64_t part = share->used / (share->ppm + 1);
        if (share->held.tail == 0 || (last != NULL && part <= most))
            continue;
        last = entry_at(s, share->held.tail);
        most = part;
    }
    if (last == NULL)
        return NULL;
    strata__share_unhold(s, last);
    s->from_small = 0;
    s->share_breaks++;
    return last;
}

/* Setting up ---------------------------------------------------------------------------------------------------- */

/* Residents and shares together leave something to others. */
static uint64_t resident_ppm(const struct memory *m)
{
    uint64_t given = (uint64_t)m->options.resident_percent * (WHOLE_PPM / 100), left = PROMISED_PPM - m->shared_ppm;
    return given < left ? given : left;
}

int strata__share_init(struct shard *s)
{
    const struct memory *m = s->layer;
    s->resident_ppm = resident_ppm(m);
    if (m->share_count == 0)
        return 0;
    s->shares = strata__alloc_zero(m->mem, m->share_count * sizeof *s->shares);
    if (s->shares == NULL)
        return -1;
    s->share_count = m->share_count;
    s->bytes += m->share_count * sizeof *s->shares;
    for (uint32_t n = 0; n < m->share_count; n++)
        s->shares[n].ppm = m->share_ppm[n];
    s->by_space = m->by_space;
    s->share_room = m->share_room;
    return 0;
}

void strata__share_deinit(struct shard *s)
{
    strata__free(s->layer->mem, s->shares);
    s->shares = NULL;
}

/* The table knows this namespace.  Nobody looks at an old table, once all shards have the new one. */
static int make_room(struct memory *m, uint32_t space)
{
    uint32_t room = m->share_room != 0 ? m->share_room : LEAST_ROOM;
    while (room <= space)
        room *= 2;
    if (room == m->share_room)
        return 0;
    uint8_t *table = strata__alloc_zero(m->mem, room), *old = m->by_space;
    if (table == NULL)
        return -1;
    if (old != NULL)
        memcpy(table, old, m->share_room);
    m->by_space = table;
    m->share_room = room;
    for (size_t i = 0; i < m->shard_count; i++) {
        struct shard *s = &m->shards[i];
        os_lock_take(&s->lock);
        s->by_space = table;
        s->share_room = room;
        os_lock_give(&s->lock);
    }
    strata__free(m->mem, old);
    return 0;
}

/* A place in each shard for one share more, that nobody uses yet. */
static int add_places(struct memory *m)
{
    uint32_t count = m->share_count + 1;
    for (size_t i = 0; i < m->shard_count; i++) {
        struct shard *s = &m->shards[i];
        os_lock_take(&s->lock);
        struct share *more = s->shares;
        if (s->share_count < count) {
            more = strata__realloc_array(m->mem, s->shares, count, sizeof *more);
            if (more != NULL) {
                memset(&more[s->share_count], 0, (count - s->share_count) * sizeof *more);
                s->bytes += (count - s->share_count) * sizeof *more;
                s->shares = more;
                s->share_count = count;
            }
        }
        shard_unlock(s);
        if (more == NULL)
            return -1;
    }
    return 0;
}

/* Shares as they are now, in all shards. */
static void set_parts(struct memory *m)
{
    for (size_t i = 0; i < m->shard_count; i++) {
        struct shard *s = &m->shards[i];
        int more;
        do {
            os_lock_take(&s->lock);
            s->resident_ppm = resident_ppm(m);
            for (uint32_t n = 0; n < s->share_count; n++)
                s->shares[n].ppm = n < m->share_count ? m->share_ppm[n] : 0;
            s->share_ready = UINT64_MAX;
            more = strata__resident_fit(s, RESIDENTS_A_HOLD);
            shard_unlock(s);
        } while (more);
    }
}

/* 0: more than there is. */
static uint64_t part_of(const struct memory *m, const strata_share *what)
{
    uint64_t ppm = (uint64_t)what->percent * (WHOLE_PPM / 100), by_bytes;
    if (what->bytes > m->max_bytes)
        return 0;
    by_bytes = (what->bytes * WHOLE_PPM + m->max_bytes - 1) / m->max_bytes;
    return ppm > by_bytes ? ppm : by_bytes;
}

static int add_share(struct memory *m, const strata_share *what, strata_error *err)
{
    uint64_t ppm = part_of(m, what);
    if (ppm == 0 || m->shared_ppm + ppm > PROMISED_PPM)
        return strata__fail(
            err, STRATA_EINVAL, m->base.name,
            "the shares of memory that namespaces have would be more than 90 %% of its %llu bytes: "
            "%u.%u %% are given away already; lower memory_share_percent or memory_share_bytes, or raise "
            "max_bytes",
            (unsigned long long)m->max_bytes, m->shared_ppm / 10000, m->shared_ppm / 1000 % 10);
    if (m->share_count == SHARES_MOST)
        return strata__fail(err, STRATA_EBUSY, m->base.name,
                            "%d namespaces have a share of memory already, the most a layer can keep: give one to a "
                            "namespace above several of them",
                            (int)SHARES_MOST);
    if (make_room(m, what->space) != 0 || add_places(m) != 0)
        return strata__fail_plain(err, STRATA_ENOMEM, m->base.name);
    m->share_ppm[m->share_count++] = (uint32_t)ppm;
    m->shared_ppm += (uint32_t)ppm;
    set_parts(m);
    m->by_space[what->space] = (uint8_t)m->share_count;
    return STRATA_OK;
}

/* The last one that was given: its namespace was not opened after all, and nothing is in it. */
static void withdraw(struct memory *m, uint32_t space)
{
    if (space >= m->share_room || m->by_space[space] == 0)
        return;
    if (m->by_space[space] == m->share_count && memchr(m->by_space, (int)m->share_count, space) == NULL) {
        m->shared_ppm -= m->share_ppm[--m->share_count];
        set_parts(m);
    }
    m->by_space[space] = 0;
}

int strata__memory_share(strata_layer *layer, const strata_share *what, strata_error *err)
{
    struct memory *m = (struct memory *)(void *)layer;
    if (what->of == what->space)
        return add_share(m, what, err);
    if (what->of == 0) {
        withdraw(m, what->space);
        return STRATA_OK;
    }
    if (make_room(m, what->space) != 0)
        return strata__fail_plain(err, STRATA_ENOMEM, m->base.name);
    m->by_space[what->space] = m->by_space[what->of];
    return STRATA_OK;
}
