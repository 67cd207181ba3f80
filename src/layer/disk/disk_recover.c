/* disk_recover.c - the index from the segment files: in order of their numbers, what is later wins, tombstones included.
 *
 * A segment that is damaged may have held a tombstone: neither it nor anything older is trusted, and all of that goes.
 * What stands under a segment's name and is none of this directory's counts as such damage, and goes, too: it would take room
 * for ever.  What the system cannot read at the moment is no damage: the opening fails, and another one may do better. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/disk/disk_impl.h"
#include "src/os/os_file.h"

struct numbers {
    struct disk *d;
    uint64_t *list;
    size_t count, room;
    int failed;
};

static int see_name(const char *name, void *ctx)
{
    struct numbers *n = ctx;
    uint64_t number;
    if (!strata__segment_number(name, &number))
        return 0; /* the directory's own, or a stranger: left alone */
    if (n->count == n->room) {
        size_t room = n->room != 0 ? n->room * 2 : 64;
        uint64_t *more = strata__realloc_array(n->d->mem, n->list, room, sizeof *more);
        if (more == NULL) {
            n->failed = ENOMEM;
            return 1;
        }
        n->list = more;
        n->room = room;
    }
    n->list[n->count++] = number;
    return 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int strata__segment_numbers(struct disk *d, uint64_t **out, size_t *out_count)
{
    struct numbers n = { .d = d };
    int failed = strata__os_dir_list(d->dir_fd, see_name, &n);
    if (failed == 0)
        failed = n.failed;
    if (failed != 0) {
        strata__free(d->mem, n.list);
        n.list = NULL;
        n.count = 0;
    }
    if (n.count != 0)
        qsort(n.list, n.count, sizeof *n.list, by_number);
    *out = n.list;
    *out_count = n.count;
    return failed;
}

void strata__disk_forget_all(struct disk *d)
{
    for (uint32_t i = 0; i < d->shard_count; i++) {
        memset(d->shards[i].slots, 0, d->shards[i].room * sizeof(struct slot));
        d->shards[i].used = 0;
    }
    atomic_store(&d->entries, 0);
    while (d->log.oldest != NULL)
        strata__segment_leave(d, d->log.oldest);
    d->log.table_used = 0;
}

/* Applying ---------------------------------------------------------------------------------------------------- */

static void supersede(struct disk *d, struct segment *s, const struct slot *old)
{
    struct segment *before = d->log.table[where_segment(old->where)];
    strata__segment_lost(before, where_size(old->where));
    strata__segment_outlives(s, before->number);
    disk_uncount(&d->entries);
}

static int apply_put(struct disk *d, struct segment *s, const struct segment_entry *e)
{
    struct disk_shard *shard = disk_shard_of(d, e->hash);
    struct slot old, fresh = { hash_tag(e->hash), e->expires_s, slot_where(s->index, e->offset, e->size) };
    uint64_t room = shard->room;
    if (strata__disk_index_set(shard, d->mem, fresh, &old) != STRATA_OK)
        return STRATA_ENOMEM;
    atomic_fetch_add_explicit(&d->index_bytes, (shard->room - room) * sizeof fresh, memory_order_relaxed);
    if (old.where != 0)
        supersede(d, s, &old);
    strata__segment_gained(s, e->size);
    disk_count(&d->entries);
    return STRATA_OK;
}

static void apply_tombstone(struct disk *d, struct segment *s, const struct segment_entry *e)
{
    struct disk_shard *shard = disk_shard_of(d, e->hash);
    struct slot *slot = strata__disk_index_find(shard, hash_tag(e->hash));
    if (slot == NULL)
        return;
    supersede(d, s, slot);
    strata__disk_index_erase(shard, slot);
}

/* STRATA_OK; STRATA_MISS: it cannot be read, so that nothing older can be trusted. */
static int apply_ban(struct disk *d, struct segment *s, const struct segment_entry *e)
{
    char *bytes = strata__alloc(d->mem, (size_t)e->size);
    struct disk_record record;
    struct disk_ban ban;
    size_t got = 0;
    if (bytes == NULL)
        return STRATA_ENOMEM;
    int rc = STRATA_MISS;
    if (strata__os_file_read(s->fd, bytes, (size_t)e->size, e->offset, &got) == 0 && got == e->size &&
        strata__record_read(&record, bytes, got, d->dir.seed) == FORMAT_OK &&
        strata__ban_read(&ban, &record, strata__place(s->number, e->offset)) == FORMAT_OK)
        rc = strata__bans_add(d, &ban);
    strata__free(d->mem, bytes);
    strata__segment_outlives(s, s->number - 1); /* what it bans may be in any older one */
    return rc;
}

static int apply_all(struct disk *d, struct segment *s, const struct segment_list *list)
{
    int rc = STRATA_OK;
    for (uint32_t i = 0; rc == STRATA_OK && i < list->trailer.count; i++) {
        struct segment_entry e;
        if (!segment_list_at(list, i, &e))
            return STRATA_MISS;
        switch (e.kind) {
        case RECORD_PUT: rc = apply_put(d, s, &e); break;
        case RECORD_TOMBSTONE: apply_tombstone(d, s, &e); break;
        case RECORD_BAN: rc = apply_ban(d, s, &e); break;
        default: return STRATA_MISS;
        }
    }
    return rc;
}

/* One file ---------------------------------------------------------------------------------------------------- */

/* The process ended before this one was full: it gets its footer now, so that the next opening need not walk it. */
static void seal(struct disk *d, struct segment *s, struct segment_list *list)
{
    unsigned char *room = strata__realloc_array(d->mem, list->bytes, strata__segment_footer_size(list->trailer.count),
                                                1);
    if (room == NULL)
        return;
    list->bytes = NULL;
    s->entries = room;
    if (strata__segment_seal(d, s) != 0)
        disk_count(&d->errors);
}

enum { NOT_OURS = -1, NO_FILE = -2 };

/* 0; errno; NOT_OURS; or NO_FILE: a link, a directory, a pipe. */
static int open_segment(struct disk *d, uint64_t number, struct segment **out, struct segment_head *out_head)
{
    unsigned char head[SEGMENT_HEAD];
    struct os_file_stat stat;
    char name[24];
    size_t got = 0;
    struct segment *s = strata__segment_new(d, number);
    *out = s;
    if (s == NULL)
        return ENOMEM;
    strata__segment_name(name, number);
    int failed = strata__os_file_open(d->dir_fd, name, OS_FILE_WRITE, &s->fd);
    if (failed == ELOOP || failed == EISDIR || failed == ENXIO)
        failed = NO_FILE;
    if (failed == 0)
        failed = strata__os_file_stat(s->fd, &stat);
    if (failed == 0 && !stat.regular)
        failed = NO_FILE;
    if (failed == 0)
        failed = strata__os_file_read(s->fd, head, sizeof head, 0, &got);
    if (failed == 0 &&
        (strata__segment_head_read(out_head, head, got, &d->dir) != FORMAT_OK || out_head->number != number))
        failed = NOT_OURS;
    if (failed == 0) {
        s->size = stat.size;
        s->sealed = 1;
        return 0;
    }
    strata__segment_unpin(s);
    *out = NULL;
    return failed;
}

static void take_over(struct segment *s, const struct segment_list *list)
{
    s->end = list->trailer.footer_offset;
    s->count = list->trailer.count;
    s->put_bytes = list->trailer.bytes;
    s->max_expires_s = list->trailer.max_expires_s;
    atomic_store(&s->superseded, list->trailer.superseded);
    atomic_store(&s->written, s->end);
}

/* What no other try will read either: what stands there is damaged, or gone. */
static int is_damage(int failed) { return failed <= 0 || failed == EIO || failed == ENOENT; }

static int fail_segment(struct disk *d, const char *name, int failed, strata_error *err)
{
    int no_files = failed == EMFILE || failed == ENFILE, no_right = failed == EACCES || failed == EPERM;
    return strata__fail_os(err, failed == ENOMEM ? STRATA_ENOMEM : STRATA_EIO, failed, d->base.name,
                           "%s in \"%.120s\" cannot be read now: %s, and open again", name, d->options.path,
                           no_files           ? "close some files, or allow more"
                           : no_right         ? "give this user the right to it"
                           : failed == ENOMEM ? "free some memory"
                                              : "look at the disk");
}

/* A segment that cannot be trusted goes, with all that are older: were one of them left, the next opening might trust it, and
 * would not know what was removed meanwhile.  Oldest first and this one last, so that those that are left stay untrusted
 * wherever this ends.  What is no file takes no room and holds no record: it stays. */
static int distrust(struct disk *d, uint64_t number, int no_file, strata_error *err)
{
    char name[24];
    strata__segment_name(name, number);
    int failed = strata__disk_drop_through(d, number);
    if (failed == 0 && !no_file)
        failed = strata__os_file_remove(d->dir_fd, name);
    if (failed != 0 && failed != ENOENT)
        return strata__fail_os(err, STRATA_EIO, failed, d->base.name,
                               "files of \"%s\" that cannot be trusted cannot be removed: look at the disk",
                               d->options.path);
    strata__disk_forget_all(d);
    return STRATA_OK;
}

/* Was there a segment right before this one that is needed, and gone?  It was if it superseded something that is still here: a
 * segment leaves out of turn only when that is not so.  Its file was deleted by hand, or not restored, and what it took away
 * would be back: so all that is older goes. */
static int mind_gap(struct disk *d, const struct segment_head *head, strata_error *err)
{
    struct segment *before = d->log.newest;
    char name[24];
    if (head->reach == 0 || before == NULL)
        return STRATA_OK;
    if (before->number == head->number - 1) {
        strata__segment_outlives(before, head->reach); /* may be more than is found now, where writing failed */
        return STRATA_OK;
    }
    if (head->reach < d->log.oldest->number)
        return STRATA_OK;
    strata__segment_name(name, head->number - 1);
    int rc = strata__disk_damage(d, name, "is missing",
                                 "bring it back, or open with recovery=quiet, which deletes all that is older: what "
                                 "this one took away would be back",
                                 err);
    return rc == STRATA_OK ? distrust(d, head->number - 1, 1, err) : rc;
}

/* STRATA_OK; STRATA_MISS: nothing up to this one can be trusted; < 0.  *out_no_file: what has the name is no plain file. */
static int recover_one(struct disk *d, uint64_t number, int *out_no_file, strata_error *err)
{
    struct segment *s;
    struct segment_head head;
    struct segment_list list = { 0 };
    char name[24];
    strata__segment_name(name, number);
    int rc = STRATA_OK, failed = open_segment(d, number, &s, &head);
    if (failed == 0)
        rc = mind_gap(d, &head, err);
    if (rc < 0) {
        strata__segment_unpin(s);
        return rc;
    }
    if (failed == 0)
        failed = strata__segment_list_read(d, s->fd, number, s->size, &list);
    if (failed == 0 && !list.damaged) {
        take_over(s, &list);
        if (!strata__segment_enter_locked(d, s))
            STRATA_BUG("more segments than the table holds");
        rc = apply_all(d, s, &list);
        if (rc == STRATA_OK && !list.from_footer)
            seal(d, s, &list);
        if (rc == STRATA_ENOMEM)
            rc = fail_segment(d, name, ENOMEM, err);
    } else {
        rc = is_damage(failed) ? STRATA_MISS : fail_segment(d, name, failed, err);
        if (s != NULL)
            strata__segment_unpin(s);
    }
    strata__free(d->mem, list.bytes);
    *out_no_file = failed == NO_FILE;
    if (rc == STRATA_MISS) {
        int strict = strata__disk_damage(
            d, name, failed < 0 ? "is damaged, or not ours" : "is damaged",
            "open with recovery=quiet, which deletes it and all that is older, for it may have held deletes; what is "
            "younger stays",
            err);
        rc = strict < 0 ? strict : STRATA_MISS;
    }
    return rc;
}

static int recover_all(struct disk *d, const uint64_t *numbers, size_t count, strata_error *err)
{
    enum { TABLE_MOST = SLOT_SEGMENTS - 16 };
    int rc = STRATA_OK;
    for (size_t i = 0; rc == STRATA_OK && i < count; i++) {
        int no_file = 0;
        rc = STRATA_MISS; /* more than there can be: the oldest go */
        if (count - i <= TABLE_MOST)
            rc = recover_one(d, numbers[i], &no_file, err);
        if (rc == STRATA_MISS)
            rc = distrust(d, numbers[i], no_file, err);
    }
    return rc;
}

int strata__disk_recover(struct disk *d, strata_error *err)
{
    uint64_t *numbers;
    size_t count;
    int failed = strata__segment_numbers(d, &numbers, &count);
    if (failed != 0)
        return strata__fail_os(err, failed == ENOMEM ? STRATA_ENOMEM : STRATA_EIO, failed, d->base.name,
                               "listing \"%s\" failed: look at the disk", d->options.path);
    int rc = strata__snapshot_load(d, numbers, count, err);
    if (rc == STRATA_MISS)
        rc = recover_all(d, numbers, count, err);
    if (count != 0 && d->log.next_number <= numbers[count - 1])
        d->log.next_number = numbers[count - 1] + 1;
    strata__free(d->mem, numbers);
    return rc;
}
