/* disk_inspect.c - what is in a directory, for people who look after it: see disk_inspect.h.
 *
 * The directory is locked as an opening locks it, but shared: so it needs the right to read alone, several may look at once, and
 * no cache can open the directory meanwhile.  One that has it open already is no hindrance if the caller says so: sealed segments
 * stand still, and the youngest one is not judged.
 *
 * The entries are those of a good snapshot.  Without one the index is made as an opening makes it, from the lists of the
 * segments in their order, and thrown away. */
#include "src/layer/disk/disk_inspect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/os/os_clock.h"
#include "src/os/os_file.h"

enum { SEGMENTS_MOST = SLOT_SEGMENTS - 16 };

void strata__inspect_damage(struct inspection *in, const char *file, uint64_t offset, const char *what,
                            const char *advice)
{
    const strata_disk_damage damage = { sizeof damage, file, offset, what, advice };
    in->report.damages++;
    if (in->options.on_damage != NULL)
        in->options.on_damage(&damage, in->options.ctx);
}

int strata__inspect_progress(struct inspection *in, uint64_t bytes)
{
    in->done_bytes += bytes;
    if (in->total_bytes < in->done_bytes)
        in->total_bytes = in->done_bytes;
    if (in->options.on_progress == NULL ||
        in->options.on_progress(in->done_bytes, in->total_bytes, in->options.ctx) == 0)
        return STRATA_OK;
    return strata__fail(in->err, STRATA_ECANCELED, "disk", "looking at \"%.120s\" was stopped by its caller",
                        in->d->options.path);
}

/* The index --------------------------------------------------------------------------------------------------- */

struct trial {
    struct inspection *in;
    struct disk_shard *shards;
    uint32_t oldest; /* trusted */
};

static int apply(struct trial *t, uint32_t which)
{
    const struct segment_list *list = &t->in->segments[which].list;
    for (uint32_t i = 0; i < list->trailer.count; i++) {
        struct segment_entry e;
        if (!segment_list_at(list, i, &e))
            continue;
        struct disk_shard *shard = &t->shards[hash_shard(e.hash, INDEX_SHARDS)];
        struct slot old, fresh = { hash_tag(e.hash), e.expires_s, slot_where(which - t->oldest, e.offset, e.size) };
        struct slot *slot = e.kind == RECORD_TOMBSTONE ? strata__disk_index_find(shard, fresh.tag) : NULL;
        if (slot != NULL)
            strata__disk_index_erase(shard, slot);
        else if (e.kind == RECORD_PUT && strata__disk_index_set(shard, NULL, fresh, &old) != STRATA_OK)
            return strata__fail(t->in->err, STRATA_ENOMEM, "disk", "no memory for an index: free some");
        t->in->report.bans += e.kind == RECORD_BAN;
    }
    return STRATA_OK;
}

static void count(struct trial *t)
{
    strata_disk_report *report = &t->in->report;
    uint32_t now_s = (uint32_t)(strata__os_wall_ms() / 1000);
    for (uint32_t i = 0; i < INDEX_SHARDS; i++)
        for (uint64_t k = 0; k < t->shards[i].room; k++) {
            const struct slot *slot = &t->shards[i].slots[k];
            if (slot->where == 0)
                continue;
            report->entries++;
            report->live_bytes += where_size(slot->where);
            report->expired += slot->expires_s != RECORD_NEVER && slot->expires_s <= now_s;
        }
}

/* Is the one right before it missed, as an opening would find? */
static int is_after_gap(struct trial *t, uint32_t which)
{
    const struct inspected *s = &t->in->segments[which];
    char name[24];
    if (t->in->report.in_use || s->reach == 0 || which == t->oldest || s[-1].number == s->number - 1 ||
        s->reach < t->in->segments[t->oldest].number)
        return 0;
    strata__segment_name(name, s->number - 1);
    strata__inspect_damage(t->in, name, 0, "it is missing", ADVICE_GAP);
    return 1;
}

/* Neither what cannot be trusted nor anything older counts. */
static int make_index(struct inspection *in)
{
    struct trial t = { .in = in };
    uint32_t made = 0;
    int rc = STRATA_OK;
    if (in->count > SEGMENTS_MOST)
        t.oldest = (uint32_t)(in->count - SEGMENTS_MOST);
    for (uint32_t i = t.oldest; i < in->count; i++)
        if (!in->segments[i].trusted && !in->segments[i].gone)
            t.oldest = i + 1;
        else if (is_after_gap(&t, i))
            t.oldest = i;
    void *block = strata__alloc_zero(NULL, INDEX_SHARDS * sizeof *t.shards + 64);
    t.shards = (struct disk_shard *)(((uintptr_t)block + 63) & ~(uintptr_t)63);
    while (block != NULL && made < INDEX_SHARDS && strata__disk_index_init(&t.shards[made], NULL, 0) == STRATA_OK)
        made++;
    if (made < INDEX_SHARDS)
        rc = strata__fail(in->err, STRATA_ENOMEM, "disk", "no memory for an index: free some");
    for (uint32_t i = t.oldest; rc == STRATA_OK && i < in->count; i++)
        rc = apply(&t, i);
    if (rc == STRATA_OK)
        count(&t);
    while (made > 0)
        strata__disk_index_deinit(&t.shards[--made], NULL);
    strata__free(NULL, block);
    return rc;
}

/* The directory ----------------------------------------------------------------------------------------------- */

static int fail_reading(struct inspection *in, int failed, const char *what)
{
    return strata__fail_os(in->err, failed == ENOMEM ? STRATA_ENOMEM : STRATA_EIO, failed, "disk", "%s \"%.120s\": %s",
                           what, in->d->options.path,
                           failed == ENOENT    ? "there is no such thing: is the path right?"
                           : failed == ENOTDIR ? "it is no directory: name that of a disk layer"
                           : failed == ELOOP   ? "it is a symbolic link: name the directory itself"
                           : failed == EACCES  ? "no right to read it: ask as the user that the cache runs as"
                           : failed == ENOMEM  ? "no memory: free some"
                                               : "look at the disk");
}

static int lock(struct inspection *in)
{
    struct disk *d = in->d;
    int failed = strata__os_file_open(d->dir_fd, LOCK_NAME, 0, &d->lock_fd);
    if (failed == ENOENT)
        return STRATA_OK; /* nobody can have it open */
    if (failed == 0)
        failed = strata__os_file_lock_shared(d->lock_fd);
    if (failed == 0)
        return STRATA_OK;
    if (failed != EAGAIN)
        return fail_reading(in, failed, "the lock file of");
    in->report.in_use = 1;
    in->report.in_use_by = strata__disk_lock_holder(d->lock_fd);
    if (in->options.flags & STRATA_DISK_INSPECT_IN_USE)
        return STRATA_OK;
    char who[48] = "another process";
    if (in->report.in_use_by > 0)
        snprintf(who, sizeof who, "process %lld", (long long)in->report.in_use_by);
    return strata__fail(in->err, STRATA_EBUSY, "disk",
                        "\"%.120s\" is in use by %s: close that cache first, or ask to look all the same",
                        d->options.path, who);
}

static int see_other(const char *name, void *ctx)
{
    static const char *const ours[] = { LOCK_NAME, DIR_NAME, DIR_NEW,   DIR_BAD,  SNAPSHOT_NAME, SNAPSHOT_NEW,
                                        BANS_NAME, BANS_NEW, NOTE_NAME, NOTE_NEW, SEGMENT_NEW };
    struct inspection *in = ctx;
    uint64_t number;
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcmp(name, ours[i]) == 0)
            return 0;
    in->report.other_files += !strata__segment_number(name, &number);
    return 0;
}

/* Which segments there are, and how much there is to read. */
static int list(struct inspection *in)
{
    struct disk *d = in->d;
    uint64_t *numbers;
    int failed = strata__segment_numbers(d, &numbers, &in->count);
    if (failed == 0)
        failed = strata__os_dir_list(d->dir_fd, see_other, in);
    if (failed == 0) {
        in->segments = strata__alloc_array(NULL, in->count + 1, sizeof *in->segments);
        failed = in->segments != NULL ? 0 : ENOMEM;
    }
    for (size_t i = 0; failed == 0 && i < in->count; i++) {
        struct os_file_stat stat;
        char name[24];
        int fd;
        in->segments[i].number = numbers[i];
        strata__segment_name(name, numbers[i]);
        if (strata__os_file_open(d->dir_fd, name, 0, &fd) == 0 && strata__os_file_stat(fd, &stat) == 0)
            in->total_bytes += stat.size;
        strata__os_file_close(fd);
    }
    strata__free(NULL, numbers);
    return failed == 0 ? STRATA_OK : fail_reading(in, failed, "listing");
}

/* STRATA_OK, or STRATA_MISS: it is damaged, and nothing else can be read. */
static int identify(struct inspection *in)
{
    struct disk *d = in->d;
    int verdict, failed = strata__disk_read_identity(d, &verdict);
    if (failed == EACCES || failed == ENOMEM)
        return fail_reading(in, failed, "strata.dir of");
    if (failed != 0)
        verdict = FORMAT_CORRUPT;
    if (verdict == FORMAT_NEWER)
        return strata__fail(in->err, STRATA_EUNSUPPORTED, "disk",
                            "\"%.120s\" was written by a newer strata: use that one", d->options.path);
    if (in->count == 0 && (verdict == FORMAT_END || verdict == FORMAT_FOREIGN))
        return strata__fail(in->err, STRATA_EINVAL, "disk",
                            "\"%.120s\" is no directory of a disk layer, for it has no strata.dir: name the path that "
                            "stands behind disk: in the URL",
                            d->options.path);
    if (verdict != FORMAT_OK) {
        strata__inspect_damage(
            in, DIR_NAME, 0,
            verdict == FORMAT_END       ? "it is missing"
            : verdict == FORMAT_FOREIGN ? "it is none of strata's"
                                        : "it is damaged",
            verdict == FORMAT_END
                ? "nothing can be read without it: bring it back, or empty the directory"
                : "nothing can be read without it: bring it back, or open with recovery=quiet, which begins anew");
        return STRATA_MISS;
    }
    for (int i = 0; i < DISK_ID; i++)
        snprintf(in->report.id + 2 * i, 3, "%02x", d->dir.id[i]);
    in->report.format_version = DISK_VERSION;
    in->report.created_wall_ms = d->dir.created_wall_ms;
    in->report.bytes += strata__dir_size(&d->dir);
    in->report.checked_bytes += strata__dir_size(&d->dir);
    return STRATA_OK;
}

static int inspect(struct inspection *in)
{
    struct disk *d = in->d;
    int failed = strata__os_dir_open(d->options.path, 0, &d->dir_fd);
    if (failed != 0)
        return fail_reading(in, failed, "opening");
    int good = 0, rc = lock(in);
    if (rc == STRATA_OK)
        rc = list(in);
    if (rc == STRATA_OK)
        rc = identify(in);
    for (size_t i = 0; rc == STRATA_OK && i < in->count; i++)
        rc = strata__verify_segment(in, i);
    /* A cache that runs has none, or is just about to write or to remove it. */
    if (rc == STRATA_OK && !in->report.in_use)
        rc = strata__verify_snapshot(in, &good);
    if (rc == STRATA_OK && !good)
        rc = make_index(in);
    uint64_t record_bytes = 0;
    for (size_t i = 0; rc == STRATA_OK && i < in->count; i++)
        if (in->segments[i].list.trailer.footer_offset > SEGMENT_HEAD)
            record_bytes += in->segments[i].list.trailer.footer_offset - SEGMENT_HEAD;
    if (record_bytes > in->report.live_bytes)
        in->report.dead_bytes = record_bytes - in->report.live_bytes;
    return rc == STRATA_MISS ? STRATA_OK : rc;
}

static int take_options(struct inspection *in, const strata_disk_inspect_options *options)
{
    static const strata_disk_inspect_options defaults = STRATA_DISK_INSPECT_OPTIONS_INIT;
    in->options = defaults;
    if (options == NULL)
        return STRATA_OK;
    const unsigned char *bytes = (const unsigned char *)options;
    for (size_t i = sizeof in->options; i < options->size; i++)
        if (bytes[i] != 0)
            return strata__fail(
                in->err, STRATA_EINVAL, "size",
                "strata_disk_inspect_options is of a newer header, and has fields that this library does "
                "not know: use that library");
    if (options->size < sizeof options->size)
        return strata__fail(in->err, STRATA_EINVAL, "size",
                            "start from STRATA_DISK_INSPECT_OPTIONS_INIT, which sets the size");
    memcpy(&in->options, options, options->size < sizeof in->options ? options->size : sizeof in->options);
    if (in->options.flags > (STRATA_DISK_INSPECT_RECORDS | STRATA_DISK_INSPECT_IN_USE) || in->options.reserved != 0)
        return strata__fail(in->err, STRATA_EINVAL, "flags",
                            "flags are STRATA_DISK_INSPECT_RECORDS and STRATA_DISK_INSPECT_IN_USE, reserved is 0");
    return STRATA_OK;
}

static void give_back(struct inspection *in)
{
    for (size_t i = 0; in->segments != NULL && i < in->count; i++)
        strata__free(NULL, in->segments[i].list.bytes);
    strata__free(NULL, in->segments);
    strata__free(NULL, in->window);
    if (in->d == NULL)
        return;
    strata__os_file_close(in->d->lock_fd);
    strata__os_file_close(in->d->dir_fd);
    strata__free(NULL, in->d);
}

int strata_disk_inspect(const char *path, const strata_disk_inspect_options *options, strata_disk_report *out,
                        strata_error *err)
{
    struct inspection in = { .err = err };
    if (path == NULL || path[0] == '\0')
        return strata__fail(err, STRATA_EINVAL, "path", "name the directory of a disk layer");
    if (out != NULL && out->size < sizeof out->size)
        return strata__fail(err, STRATA_EINVAL, "size", "start from STRATA_DISK_REPORT_INIT, which sets the size");
    int rc = take_options(&in, options);
    if (rc == STRATA_OK) {
        in.d = strata__alloc_zero(NULL, sizeof *in.d);
        if (in.d == NULL)
            rc = strata__fail(err, STRATA_ENOMEM, "disk", "no memory to look at \"%.120s\": free some", path);
    }
    if (rc == STRATA_OK) {
        in.d->options.path = path;
        in.d->dir_fd = -1;
        in.d->lock_fd = -1;
        rc = inspect(&in);
    }
    if (rc == STRATA_OK && out != NULL) {
        size_t size = out->size, known = size < sizeof *out ? size : sizeof *out;
        memset(out, 0, size);
        in.report.size = size;
        memcpy(out, &in.report, known);
    }
    give_back(&in);
    return rc;
}
