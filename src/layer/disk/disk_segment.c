/* disk_segment.c - one file of the log: made, sealed with a footer, and gone when nobody reads it any more.
 *
 * The table has one pin, each reader another: a file that was unlinked is read to the end by who began before. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/layer/disk/disk_impl.h"
#include "src/os/os_clock.h"
#include "src/os/os_file.h"

void strata__segment_name(char room[24], uint64_t number)
{
    snprintf(room, 24, "%016llx.seg", (unsigned long long)number);
}

int strata__segment_number(const char *name, uint64_t *out_number)
{
    uint64_t number = 0;
    for (int i = 0; i < 16; i++) {
        char c = name[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return 0;
        number = number << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *out_number = number;
    return strcmp(name + 16, ".seg") == 0 && number != 0 && number <= PLACE_SEGMENT_MAX;
}

struct segment *strata__segment_new(struct disk *d, uint64_t number)
{
    struct segment *s = strata__alloc_zero(d->mem, sizeof *s);
    if (s == NULL)
        return NULL;
    s->mem = d->mem;
    s->number = number;
    s->fd = -1;
    s->end = SEGMENT_HEAD;
    atomic_init(&s->pins, 1);
    return s;
}

void strata__segment_unpin(struct segment *s)
{
    /* Release: what a reader did with the descriptor comes before its close; acquire by the last one. */
    if (atomic_fetch_sub_explicit(&s->pins, 1, memory_order_acq_rel) != 1)
        return;
    strata__os_file_close(s->fd);
    strata__free(s->mem, s->entries);
    strata__free(s->mem, s);
}

static int write_head(struct disk *d, struct segment *s, uint64_t reach)
{
    unsigned char head[SEGMENT_HEAD];
    const struct segment_head fields = { s->number, strata__os_wall_ms(), reach };
    strata__segment_head_write(head, &fields, &d->dir);
    int failed = strata__os_file_write(s->fd, head, sizeof head, 0);
    if (failed == 0)
        atomic_store_explicit(&s->written, SEGMENT_HEAD, memory_order_release);
    return failed;
}

int strata__segment_create(struct disk *d, uint64_t number, uint64_t reach, uint64_t need, struct segment **out)
{
    char name[24];
    struct segment *s = strata__segment_new(d, number);
    *out = NULL;
    if (s == NULL)
        return ENOMEM;
    /* A record that is larger than a segment gets one of its own. */
    s->size = SEGMENT_HEAD + need + strata__segment_footer_size(1);
    if (s->size < d->segment_bytes)
        s->size = d->segment_bytes;
    s->entry_room = 64;
    s->entries = strata__alloc(d->mem, (size_t)s->entry_room * SEGMENT_ENTRY + SEGMENT_TRAILER);
    /* It gets its name with its head: a segment file without one is damaged. */
    int failed = strata__os_file_open(d->dir_fd, SEGMENT_NEW, OS_FILE_WRITE | OS_FILE_CREATE, &s->fd);
    if (failed == 0)
        failed = strata__os_file_truncate(s->fd, 0);
    if (failed == 0)
        failed = strata__os_file_reserve(s->fd, s->size);
    if (failed == 0)
        failed = strata__os_file_truncate(s->fd, s->size); /* where there was no reserving: zeros stand behind the end */
    if (failed == 0)
        failed = write_head(d, s, reach);
    strata__segment_name(name, number);
    if (failed == 0)
        failed = strata__os_file_rename(d->dir_fd, SEGMENT_NEW, name);
    if (failed != 0) {
        (void)strata__os_file_remove(d->dir_fd, SEGMENT_NEW);
        strata__segment_unpin(s);
        return failed;
    }
    *out = s;
    return 0;
}

int strata__segment_enter_locked(struct disk *d, struct segment *s)
{
    struct disk_log *log = &d->log;
    uint32_t i = 0;
    while (i < log->table_used && log->table[i] != NULL)
        i++;
    if (i == SLOT_SEGMENTS)
        return 0;
    log->table[i] = s;
    if (i == log->table_used)
        log->table_used++;
    s->index = i;
    s->older = log->newest;
    if (log->newest != NULL)
        log->newest->newer = s;
    else
        log->oldest = s;
    log->newest = s;
    log->segment_count++;
    log->file_bytes += s->size;
    if (log->next_number <= s->number)
        log->next_number = s->number + 1;
    return 1;
}

void strata__segment_leave(struct disk *d, struct segment *s)
{
    struct disk_log *log = &d->log;
    os_mutex_lock(&log->lock);
    log->table[s->index] = NULL;
    if (s->older != NULL)
        s->older->newer = s->newer;
    else
        log->oldest = s->newer;
    if (s->newer != NULL)
        s->newer->older = s->older;
    else
        log->newest = s->older;
    log->segment_count--;
    log->file_bytes -= s->size;
    if (log->moving == s)
        log->moving = NULL;
    os_mutex_unlock(&log->lock);
    strata__segment_unpin(s);
}

int strata__segment_unlink(struct disk *d, struct segment *s)
{
    char name[24];
    strata__segment_name(name, s->number);
    int failed = atomic_load(&s->unlinked) ? 0 : strata__os_file_remove(d->dir_fd, name);
    if (failed != 0 && failed != ENOENT) {
        disk_count(&d->errors);
        return failed;
    }
    atomic_store(&s->unlinked, 1);
    return 0;
}

void strata__segment_note_locked(struct segment *s, const struct segment_entry *entry)
{
    if (s->entries != NULL && s->count == s->entry_room) {
        uint32_t room = s->entry_room * 2;
        unsigned char *more = strata__realloc_array(s->mem, s->entries, (size_t)room * SEGMENT_ENTRY + SEGMENT_TRAILER,
                                                    1);
        if (more == NULL) /* no footer then: opening again scans it */
            strata__free(s->mem, s->entries);
        s->entries = more;
        s->entry_room = room;
    }
    if (s->entries != NULL)
        strata__segment_entry_write(s->entries + (size_t)s->count * SEGMENT_ENTRY, entry);
    s->count++;
    if (entry->kind != RECORD_PUT)
        return;
    s->put_bytes += entry->size;
    if (entry->expires_s > s->max_expires_s)
        s->max_expires_s = entry->expires_s;
}

static int is_zero(const char *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* Zeros from `end` to the end of the file, page by page from its last one: after each of them the file is one whose process
 * died while the kernel took its first pages. */
static int wipe(const struct segment *s, uint64_t end)
{
    enum { PAGE = 4096 };
    static const char zeros[PAGE];
    int failed = 0;
    for (uint64_t at = s->size; failed == 0 && at > end;) {
        char page[PAGE];
        uint64_t begin = (at - 1) / PAGE * PAGE;
        size_t got;
        if (begin < end)
            begin = end;
        failed = strata__os_file_read(s->fd, page, (size_t)(at - begin), begin, &got);
        if (failed == 0 && !is_zero(page, got))
            failed = strata__os_file_write(s->fd, zeros, got, begin);
        at = begin;
    }
    return failed;
}

int strata__segment_cut(struct segment *s, uint64_t end)
{
    int failed = wipe(s, end);
    if (failed != 0) /* were it to stop behind this one, it would look damaged: nothing wrong comes of that */
        failed = strata__os_file_truncate(s->fd, end);
    return failed != 0 ? failed : strata__os_file_truncate(s->fd, end + SEGMENT_TRAILER);
}

int strata__segment_seal(struct disk *d, struct segment *s)
{
    struct disk_log *log = &d->log;
    uint64_t size = s->end + SEGMENT_TRAILER;
    int failed = 0, footed = 0;
    if (s->entries != NULL) {
        const struct segment_trailer trailer = {
            s->number, s->end,          s->put_bytes, atomic_load_explicit(&s->superseded, memory_order_relaxed),
            s->count,  s->max_expires_s
        };
        strata__segment_footer_seal(s->entries, &trailer, d->dir.seed);
        failed = strata__os_file_write(s->fd, s->entries, strata__segment_footer_size(s->count), s->end);
        footed = failed == 0;
    }
    /* Without a footer zeros stand behind the end, as in one that was never sealed: the scan finds what it would have said. */
    if (footed)
        size = s->end + strata__segment_footer_size(s->count);
    int cut = footed ? strata__os_file_truncate(s->fd, size) : strata__segment_cut(s, s->end);
    if (d->options.sync >= STRATA_SYNC_SEGMENT && failed == 0)
        failed = strata__os_file_sync(s->fd);
    os_mutex_lock(&log->lock);
    if (cut == 0) {
        log->file_bytes = log->file_bytes - s->size + size;
        s->size = size;
    }
    s->sealed = 1;
    strata__free(s->mem, s->entries);
    s->entries = NULL;
    os_mutex_unlock(&log->lock);
    return failed != 0 ? failed : cut;
}

void strata__segment_outlives(struct segment *s, uint64_t number)
{
    uint64_t known = atomic_load_explicit(&s->superseded, memory_order_relaxed);
    while (number < s->number && known < number &&
           !atomic_compare_exchange_weak_explicit(&s->superseded, &known, number, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
}

void strata__segment_lost(struct segment *s, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&s->live_bytes, bytes, memory_order_relaxed);
    /* Release: who finds none left, and drops the segment, comes after all that we did with it. */
    atomic_fetch_sub_explicit(&s->live_count, 1, memory_order_release);
}

void strata__segment_gained(struct segment *s, uint64_t bytes)
{
    atomic_fetch_add_explicit(&s->live_bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->live_count, 1, memory_order_relaxed);
}
