/* disk_room.c - room, segment by segment, from the old end of the log.
 *
 * What was read since it was written is written again at the new end, with its birth; the rest leaves.  A segment's file is
 * unlinked before the slots of what leaves are forgotten: a put or a remove that comes between still knows that there is
 * something to supersede.  One thread at a time reclaims; who finds no room meanwhile passes its put through. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/disk/disk_impl.h"
#include "src/os/os_clock.h"

enum {
    USUAL_ENVELOPE = 48, /* bytes, padding included */
    TIDY_AT_ONCE = 16,   /* segments a task on a worker */
    AIM_BELOW = 7,       /* a seventh below the bound, for what is dead in the segment that is being filled */
    VERY_SPARSE = 8      /* percent above the bound: whoever writes tidies, too */
};

/* One segment that is being reclaimed. */
struct reclaim {
    struct disk *d;
    struct segment *s;
    struct segment_list list;
    int listed;
    int keep_all;
    int64_t now_s;
    uint64_t most_bytes, moved_bytes;
    uint32_t left; /* entries that had to leave: they stand at the front of the list from then on */
    char *bytes;   /* room for one record */
    size_t room;
};

uint64_t strata__disk_sweep(struct disk *d, uint64_t from, uint64_t to)
{
    uint64_t forgotten = 0;
    for (uint32_t i = 0; i < d->shard_count; i++) {
        struct disk_shard *shard = &d->shards[i];
        os_lock_take(&shard->lock);
        for (uint64_t k = 0; k < shard->room;) {
            uint64_t where = shard->slots[k].where;
            struct segment *s = where != 0 ? d->log.table[where_segment(where)] : NULL;
            uint64_t place = s != NULL ? strata__place(s->number, where_offset(where)) : 0;
            if (s == NULL || place < from || place >= to) {
                k++;
                continue;
            }
            strata__segment_lost(s, where_size(where));
            strata__disk_index_erase(shard, &shard->slots[k]); /* what follows has moved up */
            disk_uncount(&d->entries);
            forgotten++;
        }
        os_lock_give(&shard->lock);
    }
    return forgotten;
}

int strata__disk_drop_through(struct disk *d, uint64_t number)
{
    struct disk_log *log = &d->log;
    uint64_t last = 0;
    int failed = 0;
    for (;;) {
        os_mutex_lock(&log->lock);
        struct segment *s = log->oldest;
        while (s != NULL && s->number <= last)
            s = s->newer;
        if (s != NULL && s->number > number)
            s = NULL;
        if (s != NULL)
            segment_pin(s);
        os_mutex_unlock(&log->lock);
        if (s == NULL)
            break;
        failed = strata__segment_unlink(d, s);
        if (failed == 0)
            last = s->number;
        strata__segment_unpin(s);
        if (failed != 0)
            break; /* in order, or what is older comes back */
    }
    if (last != 0)
        (void)strata__disk_sweep(d, 0, strata__place(last + 1, 0));
    return failed;
}

/* The reclaimer's role ---------------------------------------------------------------------------------------- */

static int take_role(struct disk *d)
{
    struct disk_log *log = &d->log;
    os_mutex_lock(&log->lock);
    int mine = !log->reclaiming;
    log->reclaiming = 1;
    os_mutex_unlock(&log->lock);
    return mine;
}

static void give_role(struct disk *d)
{
    struct disk_log *log = &d->log;
    os_mutex_lock(&log->lock);
    log->reclaiming = 0;
    log->moving = NULL;
    strata__os_cond_broadcast(&log->changed);
    os_mutex_unlock(&log->lock);
}

int strata__disk_reclaim_await(struct disk *d)
{
    struct disk_log *log = &d->log;
    os_mutex_lock(&log->lock);
    int waits = log->reclaiming;
    while (log->reclaiming)
        strata__os_cond_wait(&log->changed, &log->lock, INT64_MAX);
    os_mutex_unlock(&log->lock);
    return waits;
}

/* Out of turn ------------------------------------------------------------------------------------------------- */

static int is_dead(const struct disk_log *log, const struct segment *s, int64_t now_s)
{
    if (!s->sealed)
        return 0;
    if (atomic_load(&s->unlinked))
        return 1;
    int over = s->max_expires_s != 0 && (int64_t)s->max_expires_s <= now_s && s->max_expires_s != RECORD_NEVER;
    return (segment_is_empty(s) || over) &&
           atomic_load_explicit(&s->superseded, memory_order_relaxed) < log->oldest->number;
}

size_t strata__disk_drop_dead(struct disk *d)
{
    struct disk_log *log = &d->log;
    size_t dropped = 0;
    if (!take_role(d))
        return 0;
    int64_t now_s = strata_host_wall_ms(d->host) / 1000;
    for (;;) {
        os_mutex_lock(&log->lock);
        struct segment *s = log->oldest;
        while (s != NULL && !is_dead(log, s, now_s))
            s = s->newer;
        os_mutex_unlock(&log->lock);
        if (s == NULL || strata__segment_unlink(d, s) != 0)
            break;
        if (!segment_is_empty(s)) {
            uint64_t over = strata__disk_sweep(d, strata__place(s->number, 0), strata__place(s->number + 1, 0));
            atomic_fetch_add_explicit(&d->expirations, over, memory_order_relaxed);
        }
        strata__segment_leave(d, s);
        dropped++;
    }
    give_role(d);
    if (dropped != 0)
        strata__bans_retire(d);
    return dropped;
}

/* In turn ----------------------------------------------------------------------------------------------------- */

static int need_bytes(struct reclaim *r, uint64_t size)
{
    if (size <= r->room)
        return 1;
    strata__free(r->d->mem, r->bytes);
    r->bytes = strata__alloc(r->d->mem, (size_t)size * 2);
    r->room = r->bytes != NULL ? (size_t)size * 2 : 0;
    return r->bytes != NULL;
}

/* Its slot, if that still names it; 0 otherwise. */
static uint64_t live_slot(struct reclaim *r, const struct segment_entry *e, uint32_t *out_expires)
{
    struct disk_shard *shard = disk_shard_of(r->d, e->hash);
    uint64_t where = slot_where(r->s->index, e->offset, e->size);
    os_lock_take(&shard->lock);
    const struct slot *slot = strata__disk_index_find(shard, hash_tag(e->hash));
    where = slot != NULL && where_same(slot->where, where) ? slot->where : 0;
    if (where != 0)
        *out_expires = slot->expires_s;
    os_lock_give(&shard->lock);
    return where;
}

/* One try to append what r->bytes holds in the place of `where`, under the shard's lock.  An append_answer; -1: it is no
 * longer there. */
static int try_move(struct reclaim *r, struct append *a, uint64_t where, int direct)
{
    struct disk *d = r->d;
    struct disk_shard *shard = disk_shard_of(d, a->entry.hash);
    int answer = -1;
    os_lock_take(&shard->lock);
    struct slot *slot = strata__disk_index_find(shard, hash_tag(a->entry.hash));
    if (slot != NULL && where_same(slot->where, where)) {
        answer = direct ? strata__log_append_direct(d, a) : strata__log_append(d, a);
        if (answer == APPEND_OK) {
            if (!direct) {
                memcpy(a->bytes, r->bytes, a->entry.size);
                strata__log_filled(d, a);
            }
            strata__segment_lost(r->s, a->entry.size);
            slot->where = slot_where(a->segment->index, a->entry.offset, a->entry.size);
        }
    }
    os_lock_give(&shard->lock);
    return answer;
}

static int append_moved(struct reclaim *r, struct append *a, uint64_t where)
{
    struct disk *d = r->d;
    int direct = a->entry.size > d->log.buffer_bytes / 2, os_errno = 0;
    for (;;) {
        if (direct)
            strata__log_take_role(d);
        int answer = try_move(r, a, where, direct);
        if (direct && answer == APPEND_OK && (os_errno = strata__log_write_direct(d, a, r->bytes)) != 0)
            answer = APPEND_BROKEN;
        if (direct)
            strata__log_give_role(d);
        if (answer == APPEND_BUFFER_FULL && (os_errno = strata__log_drain(d, a->entry.size)) == 0)
            continue;
        if (answer == APPEND_SEGMENT_FULL && strata__log_rotate(d, a->entry.size, &os_errno) == STRATA_OK)
            continue;
        if (os_errno != 0)
            disk_count(&d->errors); /* no operation answers with it */
        return answer;
    }
}

static uint32_t ban_generation(struct disk *d)
{
    os_mutex_lock(&d->log.lock);
    uint32_t generation = d->bans.generation;
    os_mutex_unlock(&d->log.lock);
    return generation;
}

/* Write it again at the new end.  1: done, or it need not be any more; 0: it leaves; -1: there is no room. */
static int move(struct reclaim *r, const struct segment_entry *e, uint64_t where, uint32_t expires_s)
{
    struct disk *d = r->d;
    struct disk_record record;
    strata_error err;
    int damaged;
    if (!need_bytes(r, e->size))
        return -1;
    int rc = strata__disk_read_record(d, r->s, where, r->bytes, &record, &damaged, &err);
    if (rc == STRATA_EIO)
        disk_count(&d->errors); /* nobody asked for it, so nobody else counts it */
    if (rc != STRATA_OK || record.kind != RECORD_PUT)
        return 0;
    if (record.birth == 0)
        record.birth = strata__place(r->s->number, e->offset);
    strata__record_seal(r->bytes, &record, d->dir.seed);
    for (;;) {
        struct append a = { .entry = { e->hash, 0, e->size, RECORD_PUT, expires_s },
                            .supersedes = r->s->number,
                            .moved = 1 };
        a.generation = ban_generation(d);
        if (strata__bans_cover(d, record.key, record.birth))
            return 0;
        switch (append_moved(r, &a, where)) {
        case APPEND_OK: r->moved_bytes += e->size; return 1;
        case APPEND_REFUSED: continue; /* a clear came: look again */
        case -1: return 1;
        default: return -1;
        }
    }
}

/* What was read at least so often.  STRATA_OK; STRATA_AGAIN: something that should stay could not be moved. */
static int move_used(struct reclaim *r, uint32_t least_use)
{
    for (uint32_t i = 0; i < r->list.trailer.count; i++) {
        struct segment_entry e;
        uint32_t expires_s = 0;
        if (!segment_list_at(&r->list, i, &e) || e.kind != RECORD_PUT)
            continue;
        uint64_t where = live_slot(r, &e, &expires_s);
        if (where == 0 || (expires_s != RECORD_NEVER && (int64_t)expires_s <= r->now_s))
            continue;
        if (!r->keep_all && (where_use(where) < least_use || r->moved_bytes + e.size > r->most_bytes))
            continue;
        if (move(r, &e, where, expires_s) < 0) {
            if (r->keep_all)
                return STRATA_AGAIN;
            r->most_bytes = 0; /* no room: the rest leaves */
        }
    }
    return STRATA_OK;
}

/* Who listens may call the cache again, and need room: so nothing is told before the role was given back. */
static void tell(struct reclaim *r)
{
    struct disk *d = r->d;
    struct disk_record record;
    strata_error err;
    int damaged;
    if (atomic_load_explicit(&d->host->eviction_listeners, memory_order_relaxed) == 0)
        return;
    for (uint32_t i = 0; i < r->left; i++) {
        struct segment_entry e;
        if (segment_list_at(&r->list, i, &e) && need_bytes(r, e.size) &&
            strata__disk_read_record(d, r->s, slot_where(r->s->index, e.offset, e.size), r->bytes, &record, &damaged,
                                     &err) == STRATA_OK)
            strata_host_evicted(d->host, &d->base, 0, record.key);
    }
}

/* Its file has no name any more: what did not move leaves the index. */
static void forget_rest(struct reclaim *r)
{
    struct disk *d = r->d;
    for (uint32_t i = 0; r->listed && i < r->list.trailer.count; i++) {
        struct segment_entry e;
        uint32_t expires_s = 0;
        uint64_t where;
        if (!segment_list_at(&r->list, i, &e) || e.kind != RECORD_PUT || (where = live_slot(r, &e, &expires_s)) == 0)
            continue;
        (void)strata__disk_forget(d, r->s, e.hash, where);
        int over = expires_s != RECORD_NEVER && (int64_t)expires_s <= r->now_s;
        disk_count(over ? &d->expirations : &d->evictions);
        if (!over)
            strata__segment_entry_write(r->list.bytes + (size_t)r->left++ * SEGMENT_ENTRY, &e);
    }
    /* What no list told of: the file could not be read, or is damaged. */
    if (!segment_is_empty(r->s)) {
        uint64_t rest = strata__disk_sweep(d, strata__place(r->s->number, 0), strata__place(r->s->number + 1, 0));
        atomic_fetch_add_explicit(&d->evictions, rest, memory_order_relaxed);
    }
}

/* Files are short, not bytes, and little is in this one: all of that moves, if it can. */
static int is_only_a_file(const struct reclaim *r)
{
    struct disk_log *log = &r->d->log;
    os_mutex_lock(&log->lock);
    int short_of_files = log->segment_count + 2 > r->d->most_segments;
    os_mutex_unlock(&log->lock);
    return short_of_files && atomic_load_explicit(&r->s->live_bytes, memory_order_relaxed) <= r->d->segment_bytes / 2;
}

static int reclaim_segment(struct reclaim *r)
{
    struct disk *d = r->d;
    struct segment *s = r->s;
    int rc = STRATA_OK;
    r->now_s = strata_host_wall_ms(d->host) / 1000;
    r->most_bytes = s->end / 2;
    if (!segment_is_empty(s) && !atomic_load(&s->unlinked))
        r->listed = strata__segment_list_read(d, s->fd, s->number, s->size, &r->list) == 0;
    if (r->keep_all && !r->listed && !segment_is_empty(s))
        return STRATA_AGAIN;
    uint32_t least_use = 1;
    if (r->listed && !r->keep_all && is_only_a_file(r)) {
        least_use = 0;
        r->most_bytes = UINT64_MAX;
    }
    if (r->listed && !r->keep_all)
        (void)move_used(r, 2); /* there may not be room for all that were read */
    if (r->listed)
        rc = move_used(r, least_use);
    if (r->moved_bytes != 0)
        (void)strata__log_flush(d); /* where it fails, the file has been unlinked, and what moved is forgotten */
    if (rc == STRATA_OK && strata__segment_unlink(d, s) != 0)
        rc = STRATA_EIO;
    if (rc == STRATA_OK) {
        forget_rest(r);
        strata__segment_leave(d, s);
    }
    return rc;
}

int strata__disk_reclaim(struct disk *d, int keep_all)
{
    struct disk_log *log = &d->log;
    struct reclaim r = { .d = d, .keep_all = keep_all };
    if (!take_role(d))
        return STRATA_AGAIN;
    os_mutex_lock(&log->lock);
    r.s = log->oldest;
    if (r.s != NULL && !r.s->sealed)
        r.s = NULL;
    if (r.s != NULL)
        segment_pin(r.s); /* until it is told who left with it */
    log->moving = r.s;
    os_mutex_unlock(&log->lock);
    int rc = r.s != NULL ? reclaim_segment(&r) : STRATA_AGAIN;
    give_role(d);
    if (rc == STRATA_OK)
        strata__bans_retire(d);
    tell(&r);
    strata__free(d->mem, r.list.bytes);
    strata__free(d->mem, r.bytes);
    if (r.s != NULL)
        strata__segment_unpin(r.s);
    return rc;
}

/* Ahead of the need ------------------------------------------------------------------------------------------- */

static int has_room(struct disk *d, uint64_t segments)
{
    os_mutex_lock(&d->log.lock);
    int room = strata__log_has_room_locked(d, 0, segments, 0);
    os_mutex_unlock(&d->log.lock);
    return room;
}

/* Is too much of the files dead?  With what is dead in them, and with the snapshot at closing, they may take so many percent more
 * than keys and values; where these are small, what stands around them is more than that, and then the dead may be a part of
 * what is needed.  What is dead in the segment that is being filled cannot be helped yet: others must have their share of it. */
static int is_sparse(struct disk *d, uint64_t above)
{
    struct disk_log *log = &d->log;
    uint64_t dead = 0, sealed = 0, records = 0, count = 0;
    uint64_t percent = d->options.dead_percent - d->options.dead_percent / AIM_BELOW + above;
    os_mutex_lock(&log->lock);
    for (const struct segment *s = log->oldest; s != NULL; s = s->newer) {
        uint64_t live = atomic_load_explicit(&s->live_bytes, memory_order_relaxed);
        uint64_t living = atomic_load_explicit(&s->live_count, memory_order_relaxed);
        uint64_t kept = SEGMENT_HEAD + live + strata__segment_footer_size((uint32_t)living);
        uint64_t used = s->sealed ? s->size : s->end + strata__segment_footer_size(s->count);
        dead += used > kept ? used - kept : 0;
        sealed = s->sealed ? dead : sealed; /* the one that is filled is the newest */
        records += live;
        count += living;
    }
    uint64_t around = count * (RECORD_HEAD + USUAL_ENVELOPE), needed = records + count * SEGMENT_ENTRY;
    uint64_t payload = records > around ? records - around : 0, bound = payload + payload / 100 * percent;
    uint64_t rest = needed + strata__log_other_bytes(d), least = needed / 240 * percent;
    os_mutex_unlock(&log->lock);
    uint64_t allowed = bound > rest + least ? bound - rest : least;
    return dead > allowed && sealed > allowed / 2;
}

/* One segment, if there is a reason.  STRATA_AGAIN: there is none, or another thread is at it. */
static int tidy(struct disk *d)
{
    if (!has_room(d, 2))
        return strata__disk_reclaim(d, 0);
    return is_sparse(d, 0) ? strata__disk_reclaim(d, 1) : STRATA_AGAIN;
}

static int is_closing(struct disk *d)
{
    os_mutex_lock(&d->log.lock);
    int closing = d->closing;
    os_mutex_unlock(&d->log.lock);
    return closing;
}

static void tidy_posted(void *ctx)
{
    struct disk *d = ctx;
    struct disk_log *log = &d->log;
    for (int i = 0; i < TIDY_AT_ONCE && !is_closing(d); i++)
        if (tidy(d) != STRATA_OK)
            break;
    os_mutex_lock(&log->lock);
    d->posted = 0;
    strata__os_cond_broadcast(&log->changed);
    os_mutex_unlock(&log->lock);
}

void strata__disk_room_ahead(struct disk *d)
{
    struct disk_log *log = &d->log;
    int room = has_room(d, 2);
    if (room && !is_sparse(d, 0))
        return;
    /* Whoever writes faster than a worker tidies does some of it. */
    if (!room && !has_room(d, 1)) {
        (void)strata__disk_reclaim(d, 0);
        return;
    }
    if (room && is_sparse(d, VERY_SPARSE) && !strata__disk_reclaim_await(d))
        (void)strata__disk_reclaim(d, 1);
    os_mutex_lock(&log->lock);
    int post = !d->posted && !d->closing;
    d->posted |= post;
    os_mutex_unlock(&log->lock);
    if (post && strata_host_post(d->host, tidy_posted, d) < 0) {
        os_mutex_lock(&log->lock);
        d->posted = 0; /* the next one, or maintain(), will do it */
        os_mutex_unlock(&log->lock);
    }
}

void strata__disk_maintain(struct disk *d, uint64_t budget_us)
{
    int64_t until = strata__os_now_us() + (int64_t)budget_us;
    (void)strata__log_flush(d); /* what waits in a buffer for others to come */
    (void)strata__disk_drop_dead(d);
    while (tidy(d) == STRATA_OK && strata__os_now_us() < until)
        continue;
}
