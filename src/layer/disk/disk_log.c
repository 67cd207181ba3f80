/* disk_log.c - the end of the log: two write buffers, and their way to the file, in order.
 *
 * Records get their room in the current buffer under the log's lock, and are copied there under their shard's, so that the lock
 * that all share is held for a moment.  The buffer is written by whoever finds it full, or waits for what is in it (all who
 * wait share one write); meanwhile the other buffer fills.  Writing is the *writer's role*: one thread at a time has it.
 *
 * A write that fails takes with it everything that was not written yet: the segment ends before it, its records leave the
 * index, and who waits is told. */
#include <errno.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/format/disk_snapshot.h"
#include "src/layer/disk/disk_impl.h"
#include "src/os/os_file.h"

enum { LEAST_UNIT = 4096 };

int strata__log_init(struct disk *d, strata_error *err)
{
    struct disk_log *log = &d->log;
    int code = strata__os_mutex_init(&log->lock);
    if (code == 0) {
        code = strata__os_cond_init(&log->changed);
        if (code != 0)
            strata__os_mutex_deinit(&log->lock);
    }
    if (code != 0)
        return strata__fail_os(err, STRATA_ENOMEM, code, d->base.name, "no mutex to be had from the system");
    log->buffer_room = (size_t)d->options.write_buffer_bytes / RECORD_ALIGN * RECORD_ALIGN;
    log->buffer_bytes = log->buffer_room * 2 / 3 / RECORD_ALIGN * RECORD_ALIGN;
    for (uint64_t unit = LEAST_UNIT; unit <= log->buffer_bytes; unit *= 2)
        log->write_unit = unit;
    for (int i = 0; i < 2; i++)
        log->buffers[i].bytes = strata__alloc(d->mem, log->buffer_room);
    log->next_number = 1;
    if (log->buffers[0].bytes != NULL && log->buffers[1].bytes != NULL)
        return STRATA_OK;
    strata__log_deinit(d);
    return strata__fail(err, STRATA_ENOMEM, d->base.name, "no memory for two write buffers of %zu bytes",
                        log->buffer_room);
}

void strata__log_deinit(struct disk *d)
{
    for (int i = 0; i < 2; i++)
        strata__free(d->mem, d->log.buffers[i].bytes);
    strata__os_cond_deinit(&d->log.changed);
    strata__os_mutex_deinit(&d->log.lock);
}

/* Appending --------------------------------------------------------------------------------------------------- */

/* Begins there, with so much in it that is written in part already. */
static void begin_buffer(const struct disk_log *log, struct write_buffer *b, uint64_t offset, size_t tail)
{
    b->used = tail;
    b->last = 0;
    b->offset = offset;
    b->full_at = log->write_unit != 0 ? tail + (size_t)(log->write_unit - (offset + tail) % log->write_unit)
                                      : log->buffer_bytes;
}

static int is_full(const struct disk_log *log, const struct write_buffer *b, uint64_t need)
{
    return b->used >= b->full_at || b->used + need > log->buffer_room;
}

static int fits(const struct disk *d, const struct segment *s, uint64_t size)
{
    return s->end + size + strata__segment_footer_size(s->count + 1) <= s->size && s->count < d->segment_entries;
}

static int may_append_locked(struct disk *d, const struct append *a)
{
    const struct disk_log *log = &d->log;
    if (log->broken)
        return APPEND_BROKEN;
    if (log->active == NULL || !fits(d, log->active, a->entry.size))
        return APPEND_SEGMENT_FULL;
    if (a->moved ? a->generation != d->bans.generation
                 : a->entry.kind == RECORD_PUT && strata__bans_refuse_locked(d, a->key, a->life, a->position))
        return APPEND_REFUSED;
    return APPEND_OK;
}

/* The record is the next one of the active segment.  It is counted there before anybody can seal that, and find it empty: the
 * caller enters the index, or takes it back, before it gives its shard's lock. */
static void place_locked(struct disk *d, struct append *a)
{
    struct disk_log *log = &d->log;
    struct segment *s = log->active;
    a->segment = s;
    a->entry.offset = s->end;
    s->end += a->entry.size;
    log->end += a->entry.size;
    a->end = log->end;
    strata__segment_note_locked(s, &a->entry);
    if (a->entry.kind == RECORD_PUT)
        strata__segment_gained(s, a->entry.size);
    if (a->supersedes != 0)
        strata__segment_outlives(s, a->supersedes);
    if (a->ban != NULL) {
        a->ban->place = strata__place(s->number, a->entry.offset);
        strata__bans_insert_locked(d, a->ban);
        strata__segment_outlives(s, s->number - 1); /* what it bans may be in any older one */
    }
    if (a->waiter != NULL) {
        a->waiter->next = log->waiters;
        a->waiter->end = a->end;
        a->waiter->done = 0;
        a->waiter->failed = 0;
        log->waiters = a->waiter;
    }
}

int strata__log_append(struct disk *d, struct append *a)
{
    struct disk_log *log = &d->log;
    os_mutex_lock(&log->lock);
    int answer = may_append_locked(d, a);
    struct write_buffer *b = &log->buffers[log->current];
    if (answer == APPEND_OK && is_full(log, b, a->entry.size))
        answer = APPEND_BUFFER_FULL;
    if (answer == APPEND_OK) {
        a->buffer = b;
        a->bytes = b->bytes + b->used;
        b->last = b->used;
        b->used += a->entry.size;
        atomic_fetch_add_explicit(&b->filling, 1, memory_order_relaxed);
        place_locked(d, a);
    }
    os_mutex_unlock(&log->lock);
    return answer;
}

void strata__log_filled(struct disk *d, struct append *a)
{
    /* Sequentially consistent, as `awaited`: either the writer sees that all are done, or we see that it waits. */
    if (atomic_fetch_sub(&a->buffer->filling, 1) == 1 && atomic_load(&d->log.awaited)) {
        os_mutex_lock(&d->log.lock);
        strata__os_cond_broadcast(&d->log.changed);
        os_mutex_unlock(&d->log.lock);
    }
}

static void wait_filled_locked(struct disk_log *log, struct write_buffer *b)
{
    atomic_store(&log->awaited, 1);
    while (atomic_load(&b->filling) != 0)
        strata__os_cond_wait(&log->changed, &log->lock, INT64_MAX);
    atomic_store(&log->awaited, 0);
}

int strata__log_append_direct(struct disk *d, struct append *a)
{
    struct disk_log *log = &d->log;
    os_mutex_lock(&log->lock);
    int answer = may_append_locked(d, a);
    if (answer == APPEND_OK) {
        place_locked(d, a);
        /* What is pending lies before it; what comes from now on, behind it. */
        log->current ^= 1;
        begin_buffer(log, &log->buffers[log->current], a->segment->end, 0);
    }
    os_mutex_unlock(&log->lock);
    return answer;
}

/* The writer's role ------------------------------------------------------------------------------------------- */

static void take_role_locked(struct disk_log *log)
{
    while (log->writer)
        strata__os_cond_wait(&log->changed, &log->lock, INT64_MAX);
    log->writer = 1;
}

void strata__log_take_role(struct disk *d)
{
    os_mutex_lock(&d->log.lock);
    take_role_locked(&d->log);
    os_mutex_unlock(&d->log.lock);
}

static void give_role_locked(struct disk_log *log)
{
    log->writer = 0;
    strata__os_cond_broadcast(&log->changed);
}

void strata__log_give_role(struct disk *d)
{
    os_mutex_lock(&d->log.lock);
    give_role_locked(&d->log);
    os_mutex_unlock(&d->log.lock);
}

/* Everything up to `end` was written, or has failed. */
static void settle_locked(struct disk_log *log, uint64_t end, int failed)
{
    log->written = end;
    for (struct log_waiter **at = &log->waiters; *at != NULL;) {
        struct log_waiter *w = *at;
        if (w->end > end) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->failed = failed;
        w->done = 1;
    }
    strata__os_cond_broadcast(&log->changed);
}

/* Nothing of the segment from here on may ever be read as a record. */
static int cut_off(struct disk *d, struct segment *s, uint64_t from)
{
    static const char zeros[RECORD_HEAD];
    if (strata__segment_cut(s, from) == 0)
        return 0;
    if (from + sizeof zeros <= s->size && strata__os_file_write(s->fd, zeros, sizeof zeros, from) == 0)
        return -1; /* it ends there, and keeps its size */
    /* The last way: nothing older may come back either, so all goes. */
    if (strata__disk_drop_through(d, s->number) != 0)
        atomic_store(&d->lost, 1);
    return -1;
}

/* A write failed: all that is pending is lost.  The writer's role, no lock.  Returns `failed`, to be counted by who asked for
 * the write, where no operation answers with it: what one answers with, the cache counts. */
static int give_up(struct disk *d, uint64_t from, int failed)
{
    struct disk_log *log = &d->log;
    os_mutex_lock(&log->lock);
    log->broken = 1;
    wait_filled_locked(log, &log->buffers[0]);
    wait_filled_locked(log, &log->buffers[1]);
    struct segment *s = log->active, *moving = log->moving;
    if (moving != NULL)
        segment_pin(moving); /* who reclaims it may be done with it meanwhile */
    os_mutex_unlock(&log->lock);
    strata__disk_sweep(d, strata__place(s->number, from), strata__place(s->number + 1, 0));
    /* What it was to supersede must not come back.  The list stands still: nothing is appended, nothing settled. */
    for (struct log_waiter *w = log->waiters; w != NULL; w = w->next)
        if (w->old != NULL && strata__disk_invalidate(d, w->old, w->old_where) != 0)
            atomic_store(&d->lost, 1);
    /* What was moved from there may have been overwritten since, both lost now: it must not come back. */
    if (moving != NULL) {
        if (strata__segment_unlink(d, moving) != 0)
            atomic_store(&d->lost, 1);
        strata__segment_unpin(moving);
    }
    int cut = cut_off(d, s, from);
    os_mutex_lock(&log->lock);
    if (cut == 0) {
        log->file_bytes = log->file_bytes - s->size + from + SEGMENT_TRAILER;
        s->size = from + SEGMENT_TRAILER;
    }
    s->end = from;
    strata__free(s->mem, s->entries);
    s->entries = NULL;
    s->sealed = 1;
    log->active = NULL;
    log->buffers[0].used = 0;
    log->buffers[1].used = 0;
    log->broken = 0;
    settle_locked(log, log->end, failed);
    os_mutex_unlock(&log->lock);
    return failed;
}

/* The other buffer is the current one from here on, and begins with the record that lies across the end of what is written now, if
 * that is not to be written whole: how many bytes. */
static size_t change_buffers_locked(struct disk_log *log, int whole)
{
    struct write_buffer *b = &log->buffers[log->current], *next = &log->buffers[log->current ^ 1];
    size_t tail = whole || log->write_unit == 0 || b->used <= b->full_at ? 0 : b->used - b->last;
    if (tail != 0) /* it is full: nothing is added while we wait */
        wait_filled_locked(log, b);
    begin_buffer(log, next, b->offset + b->used - tail, tail);
    if (tail != 0)
        memcpy(next->bytes, b->bytes + b->last, tail);
    log->current ^= 1;
    return tail;
}

/* Write the current buffer: the whole, or where it is full up to where the file is at a multiple of the unit.  The record that lies
 * across is written in part, and once more with the next ones.  The writer's role, no lock. */
static int write_pending(struct disk *d, int whole)
{
    struct disk_log *log = &d->log;
    os_mutex_lock(&log->lock);
    struct write_buffer *b = &log->buffers[log->current];
    struct segment *s = log->active;
    if (s == NULL || b->used == 0) {
        os_mutex_unlock(&log->lock);
        return 0;
    }
    size_t tail = change_buffers_locked(log, whole);
    uint64_t end = log->end - tail;
    wait_filled_locked(log, b);
    os_mutex_unlock(&log->lock);
    int failed = strata__os_file_write(s->fd, b->bytes, tail != 0 ? b->full_at : b->used, b->offset);
    if (failed == 0 && d->options.sync == STRATA_SYNC_WRITE)
        failed = strata__os_file_sync(s->fd);
    if (failed != 0)
        return give_up(d, b->offset, failed);
    os_mutex_lock(&log->lock);
    atomic_store_explicit(&s->written, b->offset + b->used - tail, memory_order_release);
    b->used = 0;
    settle_locked(log, end, 0);
    os_mutex_unlock(&log->lock);
    return 0;
}

int strata__log_write_direct(struct disk *d, struct append *a, const void *bytes)
{
    struct disk_log *log = &d->log;
    struct segment *s = a->segment;
    os_mutex_lock(&log->lock);
    struct write_buffer *before = &log->buffers[log->current ^ 1];
    wait_filled_locked(log, before);
    os_mutex_unlock(&log->lock);
    int failed = strata__os_file_write(s->fd, before->bytes, before->used, before->offset);
    if (failed == 0)
        failed = strata__os_file_write(s->fd, bytes, a->entry.size, a->entry.offset);
    if (failed == 0 && d->options.sync == STRATA_SYNC_WRITE)
        failed = strata__os_file_sync(s->fd);
    if (failed != 0)
        return give_up(d, a->entry.offset - before->used, failed);
    os_mutex_lock(&log->lock);
    atomic_store_explicit(&s->written, a->entry.offset + a->entry.size, memory_order_release);
    before->used = 0;
    settle_locked(log, a->end, 0);
    os_mutex_unlock(&log->lock);
    return 0;
}

int strata__log_flush(struct disk *d)
{
    strata__log_take_role(d);
    int failed = write_pending(d, 1);
    strata__log_give_role(d);
    if (failed != 0)
        disk_count(&d->errors);
    return failed;
}

int strata__log_drain(struct disk *d, uint64_t need)
{
    struct disk_log *log = &d->log;
    int failed = 0;
    os_mutex_lock(&log->lock);
    while (failed == 0 && log->active != NULL && is_full(log, &log->buffers[log->current], need)) {
        if (log->writer) {
            strata__os_cond_wait(&log->changed, &log->lock, INT64_MAX);
            continue;
        }
        log->writer = 1;
        os_mutex_unlock(&log->lock);
        failed = write_pending(d, 0);
        os_mutex_lock(&log->lock);
        give_role_locked(log);
    }
    os_mutex_unlock(&log->lock);
    return failed;
}

int strata__log_wait(struct disk *d, struct log_waiter *waiter)
{
    struct disk_log *log = &d->log;
    os_mutex_lock(&log->lock);
    while (!waiter->done) {
        if (log->writer) {
            strata__os_cond_wait(&log->changed, &log->lock, INT64_MAX);
            continue;
        }
        log->writer = 1;
        os_mutex_unlock(&log->lock);
        (void)write_pending(d, 1); /* what came of it stands in the waiter */
        os_mutex_lock(&log->lock);
        give_role_locked(log);
    }
    os_mutex_unlock(&log->lock);
    return waiter->failed;
}

int strata__log_copy(struct disk *d, struct segment *s, uint64_t offset, uint64_t size, void *out)
{
    struct disk_log *log = &d->log;
    int answer = 0;
    os_mutex_lock(&log->lock);
    while (atomic_load_explicit(&s->written, memory_order_relaxed) < offset + size) {
        const struct write_buffer *b = &log->buffers[0];
        if (s != log->active) {
            answer = -1;
            break;
        }
        if (b->used == 0 || offset < b->offset || offset >= b->offset + b->used)
            b = &log->buffers[1];
        if (b->used != 0 && offset >= b->offset && offset < b->offset + b->used) {
            memcpy(out, b->bytes + (offset - b->offset), size);
            answer = 1;
            break;
        }
        strata__os_cond_wait(&log->changed, &log->lock, INT64_MAX); /* too large for a buffer: on its way */
    }
    os_mutex_unlock(&log->lock);
    return answer;
}

/* Segments, one after the other ------------------------------------------------------------------------------- */

uint64_t strata__log_other_bytes(const struct disk *d)
{
    return disk_counted(&d->index_bytes) + (uint64_t)d->shard_count * SNAPSHOT_SHARD +
           (uint64_t)d->log.table_used * 40 + 4096;
}

int strata__log_has_room_locked(const struct disk *d, uint64_t need, uint64_t segments, int sealing)
{
    const struct disk_log *log = &d->log;
    const struct segment *s = log->active;
    uint64_t next = SEGMENT_HEAD + need + strata__segment_footer_size(1);
    uint64_t bytes = log->file_bytes + strata__log_other_bytes(d);
    if (next < d->segment_bytes)
        next = d->segment_bytes;
    if (s != NULL && sealing) /* it shrinks */
        bytes -= s->size - s->end - strata__segment_footer_size(s->count);
    if (log->segment_count + segments > d->most_segments)
        return 0;
    if (bytes + next + (segments - 1) * d->segment_bytes > d->options.max_bytes)
        return 0;
    return d->options.max_entries == 0 ||
           disk_counted(&d->entries) + segments * d->segment_entries <= d->options.max_entries;
}

/* Write what is pending and close the active segment.  The writer's role.  0, or the errno of a write that failed. */
static int seal_active(struct disk *d)
{
    struct disk_log *log = &d->log;
    struct segment *s = NULL;
    for (int more = 1; more;) {
        int failed = write_pending(d, 1);
        if (failed != 0)
            return failed;
        os_mutex_lock(&log->lock);
        more = log->active != NULL && log->buffers[log->current].used != 0; /* came meanwhile */
        if (!more) {
            s = log->active;
            log->active = NULL;
        }
        os_mutex_unlock(&log->lock);
    }
    if (s != NULL && strata__segment_seal(d, s) != 0)
        disk_count(&d->errors); /* an unsealed one is scanned, that is all */
    return 0;
}

/* The writer's role. */
static int open_next(struct disk *d, uint64_t need, int *os_errno)
{
    struct disk_log *log = &d->log;
    struct segment *s = NULL;
    os_mutex_lock(&log->lock);
    uint64_t number = log->next_number, reach = 0;
    if (log->newest != NULL && log->newest->number == number - 1)
        reach = atomic_load_explicit(&log->newest->superseded, memory_order_relaxed);
    os_mutex_unlock(&log->lock);
    *os_errno = strata__segment_create(d, number, reach, need, &s);
    if (*os_errno != 0)
        return *os_errno == EMFILE || *os_errno == ENFILE ? STRATA_AGAIN : STRATA_EIO;
    os_mutex_lock(&log->lock);
    if (!strata__segment_enter_locked(d, s))
        STRATA_BUG("the segment table was full, and room had been found in it");
    log->active = s;
    for (int i = 0; i < 2; i++)
        begin_buffer(log, &log->buffers[i], SEGMENT_HEAD, 0);
    os_mutex_unlock(&log->lock);
    return STRATA_OK;
}

int strata__log_rotate(struct disk *d, uint64_t need, int *os_errno)
{
    struct disk_log *log = &d->log;
    int rc = STRATA_OK;
    *os_errno = 0;
    strata__log_take_role(d);
    os_mutex_lock(&log->lock);
    int done = log->active != NULL && fits(d, log->active, need);
    if (!done && !strata__log_has_room_locked(d, need, 1, 1))
        rc = STRATA_AGAIN; /* the active one stays: a tombstone may fit yet */
    os_mutex_unlock(&log->lock);
    if (!done && rc == STRATA_OK) {
        *os_errno = seal_active(d);
        rc = *os_errno == 0 ? open_next(d, need, os_errno) : STRATA_EIO;
    }
    strata__log_give_role(d);
    return rc;
}

int strata__log_seal(struct disk *d)
{
    strata__log_take_role(d);
    int failed = seal_active(d);
    strata__log_give_role(d);
    if (failed != 0)
        disk_count(&d->errors);
    return failed;
}
