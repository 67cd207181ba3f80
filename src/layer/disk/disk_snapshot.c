/* disk_snapshot.c - the index as it was at a clean close: slots go to the file and come back as they stand in memory.
 *
 * Written under another name and renamed when it is whole; unlinked as soon as it has been read, before anything else can be
 * written.  It counts only if the segment files are exactly those it knows, and if every byte of it is right. */
#include "src/format/disk_snapshot.h"

#include <errno.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/layer/disk/disk_impl.h"
#include "src/os/os_clock.h"
#include "src/os/os_file.h"

/* Reading or writing on, with the sum of all that went by.  Small shards are many: a call takes several of them. */
struct stream {
    int fd, failed;
    uint64_t offset; /* in the file, of the next call */
    size_t held, at; /* bytes in the buffer; reading: those that were taken */
    struct hash_stream sum;
    unsigned char buffer[16384];
};

static void flush(struct stream *f)
{
    if (f->failed == 0 && f->held != 0)
        f->failed = strata__os_file_write(f->fd, f->buffer, f->held, f->offset);
    f->offset += f->held;
    f->held = 0;
}

static void put(struct stream *f, const void *bytes, size_t size)
{
    strata__hash_add(&f->sum, bytes, size);
    if (size > sizeof f->buffer - f->held)
        flush(f);
    if (size <= sizeof f->buffer) {
        memcpy(f->buffer + f->held, bytes, size);
        f->held += size;
        return;
    }
    if (f->failed == 0)
        f->failed = strata__os_file_write(f->fd, bytes, size, f->offset);
    f->offset += size;
}

static void read_on(struct stream *f, void *bytes, size_t size, size_t *got)
{
    *got = 0;
    f->failed = strata__os_file_read(f->fd, bytes, size, f->offset, got);
    f->offset += *got;
}

static int take(struct stream *f, void *bytes, size_t size)
{
    unsigned char *to = bytes;
    for (size_t left = size, got; left != 0 && f->failed == 0; to += got, left -= got) {
        if (f->at == f->held && left >= sizeof f->buffer) {
            read_on(f, to, left, &got);
        } else {
            if (f->at == f->held) {
                f->at = 0;
                read_on(f, f->buffer, sizeof f->buffer, &f->held);
            }
            got = left < f->held - f->at ? left : f->held - f->at;
            if (got != 0)
                memcpy(to, f->buffer + f->at, got);
            f->at += got;
        }
        if (f->failed == 0 && got == 0)
            f->failed = -1; /* it ends too early */
    }
    if (f->failed != 0)
        return 0;
    strata__hash_add(&f->sum, bytes, size);
    return 1;
}

/* Saving ------------------------------------------------------------------------------------------------------ */

/* Segments get the indexes 0, 1, ... in the order of the table that is saved. */
static void renumber(struct disk *d)
{
    struct disk_log *log = &d->log;
    uint32_t next = 0;
    for (struct segment *s = log->oldest; s != NULL; s = s->newer)
        s->saved_index = next++;
    for (uint32_t i = 0; i < d->shard_count; i++)
        for (uint64_t k = 0; k < d->shards[i].room; k++) {
            uint64_t where = d->shards[i].slots[k].where;
            const struct segment *s = where != 0 ? log->table[where_segment(where)] : NULL;
            if (s != NULL)
                d->shards[i].slots[k].where = slot_where(s->saved_index, where_offset(where), where_size(where)) |
                                              where_use(where);
        }
}

static size_t front_size(struct disk *d, struct snapshot_head *head)
{
    memset(head, 0, sizeof *head);
    for (uint32_t i = 0; i < d->bans.count; i++)
        head->bans_size += strata__snapshot_ban_size(d->bans.list[i].prefix.size);
    head->ban_count = d->bans.count;
    head->segment_count = d->log.segment_count;
    head->next_segment = d->log.next_number;
    head->written_wall_ms = strata__os_wall_ms();
    head->shard_count = d->shard_count;
    head->bucket_slots = 1;
    head->slot_size = sizeof(struct slot);
    head->slot_layout = SLOT_LAYOUT;
    for (uint32_t i = 0; i < d->shard_count; i++) {
        head->entries += d->shards[i].used;
        head->buckets += d->shards[i].room;
    }
    head->file_size = strata__snapshot_file_size(head);
    return SNAPSHOT_HEAD + (size_t)strata__snapshot_front_size(head);
}

static void write_front(struct disk *d, unsigned char *at, const struct snapshot_head *head)
{
    strata__snapshot_head_write(at, head, &d->dir);
    at += SNAPSHOT_HEAD;
    for (const struct segment *s = d->log.oldest; s != NULL; s = s->newer, at += SNAPSHOT_SEGMENT) {
        const struct snapshot_segment fields = { s->number,
                                                 s->size,
                                                 atomic_load(&s->live_bytes),
                                                 atomic_load(&s->superseded),
                                                 atomic_load(&s->live_count),
                                                 s->max_expires_s };
        strata__snapshot_segment_write(at, &fields);
    }
    for (uint32_t i = 0; i < d->bans.count; i++)
        at += strata__snapshot_ban_write(at, &d->bans.list[i]);
}

static void write_all(struct disk *d, struct stream *f, const unsigned char *front, size_t size)
{
    unsigned char bytes[SNAPSHOT_SHARD];
    put(f, front, size);
    for (uint32_t i = 0; i < d->shard_count; i++) {
        const struct snapshot_shard fields = { d->shards[i].room, d->shards[i].used };
        strata__snapshot_shard_write(bytes, &fields);
        put(f, bytes, SNAPSHOT_SHARD);
        put(f, d->shards[i].slots, (size_t)d->shards[i].room * sizeof(struct slot));
    }
    strata__snapshot_sum_write(bytes, strata__hash_sum(&f->sum));
    put(f, bytes, SNAPSHOT_SUM);
    flush(f);
}

int strata__snapshot_save(struct disk *d)
{
    struct snapshot_head head;
    struct stream f = { .fd = -1 };
    size_t size = front_size(d, &head);
    if (d->log.file_bytes + head.file_size > d->options.max_bytes)
        return 0; /* no room: the footers will do */
    unsigned char *front = strata__alloc_zero(d->mem, size);
    if (front == NULL)
        return ENOMEM;
    renumber(d);
    write_front(d, front, &head);
    f.failed = strata__os_file_open(d->dir_fd, SNAPSHOT_NEW, OS_FILE_WRITE | OS_FILE_CREATE, &f.fd);
    if (f.failed == 0)
        f.failed = strata__os_file_truncate(f.fd, 0);
    strata__hash_start(&f.sum, d->dir.seed);
    if (f.failed == 0)
        write_all(d, &f, front, size);
    if (f.failed == 0 && d->options.sync >= STRATA_SYNC_CLOSE)
        f.failed = strata__os_file_sync(f.fd);
    strata__os_file_close(f.fd);
    if (f.failed == 0)
        f.failed = strata__os_file_rename(d->dir_fd, SNAPSHOT_NEW, SNAPSHOT_NAME);
    if (f.failed != 0)
        (void)strata__os_file_remove(d->dir_fd, SNAPSHOT_NEW);
    strata__free(d->mem, front);
    return f.failed;
}

/* Loading ----------------------------------------------------------------------------------------------------- */

/* 1: a segment file is as it was.  0: not; -1: no memory. */
static int load_segment(struct disk *d, const unsigned char *bytes, uint64_t number)
{
    struct snapshot_segment fields;
    struct os_file_stat stat;
    char name[24];
    strata__snapshot_segment_read(&fields, bytes);
    if (fields.number != number)
        return 0;
    struct segment *s = strata__segment_new(d, number);
    if (s == NULL)
        return -1;
    strata__segment_name(name, number);
    if (strata__os_file_open(d->dir_fd, name, OS_FILE_WRITE, &s->fd) != 0 || strata__os_file_stat(s->fd, &stat) != 0 ||
        !stat.regular || stat.size != fields.size) {
        strata__segment_unpin(s);
        return 0;
    }
    s->size = fields.size;
    s->end = fields.size;
    s->sealed = 1;
    s->max_expires_s = fields.max_expires_s;
    atomic_store(&s->written, fields.size);
    atomic_store(&s->live_bytes, fields.live_bytes);
    atomic_store(&s->live_count, fields.live_count);
    atomic_store(&s->superseded, fields.superseded);
    return strata__segment_enter_locked(d, s);
}

static int load_front(struct disk *d, struct stream *f, const struct snapshot_head *head, const uint64_t *numbers)
{
    size_t size = (size_t)strata__snapshot_front_size(head);
    unsigned char *front = strata__alloc(d->mem, size + 1);
    int good = front != NULL ? take(f, front, size) : -1;
    const unsigned char *at = front;
    for (uint32_t i = 0; good == 1 && i < head->segment_count; i++, at += SNAPSHOT_SEGMENT)
        good = load_segment(d, at, numbers[i]);
    const unsigned char *end = at != NULL ? at + head->bans_size : NULL;
    for (uint32_t i = 0; good == 1 && i < head->ban_count; i++) {
        struct disk_ban ban;
        if (strata__snapshot_ban_read(&ban, &at, end) != FORMAT_OK)
            good = 0;
        else if (strata__bans_add(d, &ban) != STRATA_OK)
            good = -1;
    }
    strata__free(d->mem, front);
    return good;
}

static int are_right(const struct disk *d, const struct disk_shard *shard)
{
    uint64_t used = 0;
    for (uint64_t i = 0; i < shard->room; i++) {
        uint64_t where = shard->slots[i].where;
        if (where == 0)
            continue;
        used++;
        if (where_segment(where) >= d->log.segment_count ||
            where_offset(where) + where_size(where) > d->log.table[where_segment(where)]->size)
            return 0;
    }
    return used == shard->used;
}

static int load_shards(struct disk *d, struct stream *f)
{
    unsigned char bytes[SNAPSHOT_SHARD];
    for (uint32_t i = 0; i < d->shard_count; i++) {
        struct disk_shard *shard = &d->shards[i];
        struct snapshot_shard fields;
        if (!take(f, bytes, sizeof bytes))
            return 0;
        strata__snapshot_shard_read(&fields, bytes);
        if (fields.buckets < INDEX_FIRST_ROOM || fields.buckets > UINT32_MAX || fields.used > fields.buckets)
            return 0;
        struct slot *slots = strata__alloc(d->mem, (size_t)fields.buckets * sizeof *slots);
        if (slots == NULL)
            return -1;
        strata__free(d->mem, shard->slots);
        strata__disk_index_table(shard, slots, fields.buckets);
        shard->used = 0; /* until it is known to be good */
        if (!take(f, slots, (size_t)fields.buckets * sizeof *slots))
            return 0;
        shard->used = fields.used;
        if (!are_right(d, shard))
            return 0;
        atomic_fetch_add(&d->entries, fields.used);
        atomic_fetch_add(&d->index_bytes, fields.buckets * sizeof *slots);
    }
    return 1;
}

/* 1: loaded; 0: there is none, or none that counts; -1: no memory; -2: it is damaged. */
static int load(struct disk *d, struct stream *f, const uint64_t *numbers, size_t count)
{
    unsigned char bytes[SNAPSHOT_HEAD];
    struct snapshot_head head;
    struct os_file_stat stat;
    if (strata__os_file_stat(f->fd, &stat) != 0 || !stat.regular || !take(f, bytes, sizeof bytes))
        return -2;
    int verdict = strata__snapshot_head_read(&head, bytes, sizeof bytes, stat.size, &d->dir);
    if (verdict == FORMAT_FOREIGN || verdict == FORMAT_NEWER)
        return 0;
    if (verdict != FORMAT_OK)
        return -2;
    if (head.shard_count != d->shard_count || head.slot_size != sizeof(struct slot) || head.bucket_slots != 1 ||
        head.slot_layout != SLOT_LAYOUT || head.segment_count != count || count > SLOT_SEGMENTS)
        return 0;
    atomic_store(&d->index_bytes, 0);
    int good = load_front(d, f, &head, numbers);
    if (good == 1)
        good = load_shards(d, f);
    if (good != 1)
        return good;
    uint64_t sum = strata__hash_sum(&f->sum);
    if (!take(f, bytes, SNAPSHOT_SUM) || strata__snapshot_sum_read(bytes) != sum)
        return -2;
    d->log.next_number = head.next_segment;
    return 1;
}

/* As before the try: tables of their first size. */
static int start_over(struct disk *d)
{
    strata__disk_forget_all(d);
    strata__bans_deinit(d);
    int code = strata__bans_init(d);
    atomic_store(&d->index_bytes, 0);
    for (uint32_t i = 0; i < d->shard_count; i++)
        atomic_fetch_add(&d->index_bytes, d->shards[i].room * sizeof(struct slot));
    return code == 0 ? STRATA_MISS : STRATA_ENOMEM;
}

int strata__snapshot_load(struct disk *d, const uint64_t *numbers, size_t count, strata_error *err)
{
    struct stream f = { .fd = -1 };
    int failed = strata__os_file_open(d->dir_fd, SNAPSHOT_NAME, 0, &f.fd), rc = STRATA_OK;
    if (failed == ENOENT)
        return STRATA_MISS;
    strata__hash_start(&f.sum, d->dir.seed);
    int good = failed == 0 ? load(d, &f, numbers, count) : -2;
    strata__os_file_close(f.fd);
    if (good == -2)
        rc = strata__disk_damage(d, SNAPSHOT_NAME, "is damaged",
                                 "delete this one file: opening reads the segments instead, and nothing is lost", err);
    if (rc == STRATA_OK) {
        /* From now on it is wrong. */
        failed = strata__os_file_remove(d->dir_fd, SNAPSHOT_NAME);
        if (failed != 0)
            rc = strata__fail_os(
                err, STRATA_EIO, failed, d->base.name,
                "index.snap in \"%.120s\" cannot be removed: look at the disk, or at what stands there",
                d->options.path);
    }
    if (rc == STRATA_OK && good == -1)
        rc = strata__fail(err, STRATA_ENOMEM, d->base.name, "no memory for the index of \"%s\": free some",
                          d->options.path);
    if (rc == STRATA_OK && good == 1)
        return STRATA_OK;
    int again = start_over(d);
    if (rc == STRATA_OK && again < 0)
        rc = strata__fail_plain(err, again, d->base.name);
    return rc < 0 ? rc : again;
}
