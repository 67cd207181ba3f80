/* disk_ban_list.c - the cache's bans, kept for who opens the directory next: the file "bans", one record after the other.
 *
 * A ban that was answered stands in the file: it is handed to the kernel, and synced where records are.  When the file has grown, it is
 * written anew without what later bans repeat; of what is still too much the older half becomes one ban of everything.  A record
 * that ends with the file was never answered; one that is damaged may be any ban, so everything is banned. */
#include <errno.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/format/ban_record.h"
#include "src/layer/disk/disk_impl.h"
#include "src/os/os_clock.h"
#include "src/os/os_file.h"

enum { REWRITE_ABOVE = 1 << 20, LIST_MOST = 4 << 20, FILE_MOST = 64 << 20, BAN_ALL_KIND = 5 };

/* What is known of a list: its records, where they begin. */
struct list {
    unsigned char *bytes;
    size_t size; /* of whole records */
    size_t count;
    size_t *starts; /* count of them, and the end */
    uint64_t tags[STRATA_TAGS_MAX];
    int damaged;
};

static void free_list(struct disk *d, struct list *l)
{
    if (l == NULL)
        return;
    strata__free(d->mem, l->bytes);
    strata__free(d->mem, l->starts);
    strata__free(d->mem, l);
}

static int index_list(struct disk *d, struct list *l, size_t size)
{
    strata_ban_op ban;
    size_t used, most = size / BAN_RECORD_HEAD + 1;
    int verdict = FORMAT_OK;
    l->starts = strata__alloc_array(d->mem, most, sizeof *l->starts);
    if (l->starts == NULL)
        return ENOMEM;
    l->starts[0] = 0;
    while (l->size < size &&
           (verdict = strata__ban_record_read(&ban, l->tags, l->bytes + l->size, size - l->size, &used)) == FORMAT_OK) {
        l->size += used;
        l->starts[++l->count] = l->size;
    }
    l->damaged = verdict == FORMAT_CORRUPT;
    return 0;
}

/* The file, as far as it is whole.  errno or 0. */
static int read_list(struct disk *d, struct list **out)
{
    struct os_file_stat stat;
    size_t got = 0;
    struct list *l = *out = strata__alloc_zero(d->mem, sizeof *l);
    if (l == NULL)
        return ENOMEM;
    int failed = strata__os_file_stat(d->ban_fd, &stat);
    if (failed == 0 && stat.size > FILE_MOST)
        l->damaged = 1;
    else if (failed == 0 && stat.size != 0) {
        l->bytes = strata__alloc(d->mem, (size_t)stat.size);
        failed = l->bytes != NULL ? strata__os_file_read(d->ban_fd, l->bytes, (size_t)stat.size, 0, &got) : ENOMEM;
        if (failed == 0)
            failed = index_list(d, l, got);
    }
    return failed;
}

/* Writing anew ------------------------------------------------------------------------------------------------- */

/* What it says, whenever: two that are equal in this say the same. */
static uint64_t said(struct list *l, size_t i)
{
    strata_ban_op ban;
    size_t used;
    (void)strata__ban_record_read(&ban, l->tags, l->bytes + l->starts[i], l->starts[i + 1] - l->starts[i], &used);
    uint64_t hash = strata__hash(ban.prefix.data, ban.prefix.size, (uint64_t)ban.kind << 1 | ban.soft);
    hash = strata__hash(ban.text.data, ban.text.size, hash);
    hash = strata__hash(l->tags, ban.tag_count * sizeof l->tags[0], hash);
    return hash != 0 ? hash : 1;
}

static int is_new(uint64_t *seen, size_t room, uint64_t hash)
{
    size_t at = (size_t)hash & (room - 1);
    while (seen[at] != 0 && seen[at] != hash)
        at = (at + 1) & (room - 1);
    int fresh = seen[at] == 0;
    seen[at] = hash;
    return fresh;
}

/* Drops what is repeated later; the size of the rest. */
static int mark_repeated(struct disk *d, struct list *l, unsigned char *drop, size_t *out_left)
{
    size_t room = 64;
    while (room < l->count * 2)
        room *= 2;
    uint64_t *seen = strata__alloc_zero(d->mem, room * sizeof *seen);
    if (seen == NULL)
        return ENOMEM;
    *out_left = 0;
    for (size_t i = l->count; i-- > 0;) {
        drop[i] = !is_new(seen, room, said(l, i));
        *out_left += drop[i] ? 0 : l->starts[i + 1] - l->starts[i];
    }
    strata__free(d->mem, seen);
    return 0;
}

/* The older ones, until half of the room is left: everything that is as old as the last of them is banned. */
static size_t widen(struct list *l, unsigned char *drop, size_t left, unsigned char *out)
{
    strata_ban_op ban;
    size_t i = 0, used;
    for (; i < l->count && left > LIST_MOST / 2; i++) {
        left -= drop[i] ? 0 : l->starts[i + 1] - l->starts[i];
        drop[i] = 1;
    }
    if (i == 0)
        return 0;
    (void)strata__ban_record_read(&ban, l->tags, l->bytes + l->starts[i - 1], l->starts[i] - l->starts[i - 1], &used);
    ban.kind = BAN_ALL_KIND;
    ban.soft = 0;
    ban.prefix = ban.text = strata_bytes("", 0);
    ban.tag_count = 0;
    strata__ban_record_write(out, &ban);
    return BAN_RECORD_HEAD;
}

static int replace_file(struct disk *d, const unsigned char *bytes, size_t size)
{
    int fd, failed = strata__os_file_open(d->dir_fd, BANS_NEW, OS_FILE_WRITE | OS_FILE_CREATE, &fd);
    if (failed != 0)
        return failed;
    failed = strata__os_file_truncate(fd, 0);
    if (failed == 0)
        failed = strata__os_file_write(fd, bytes, size, 0);
    if (failed == 0)
        failed = strata__os_file_sync(fd);
    if (failed == 0)
        failed = strata__os_file_rename(d->dir_fd, BANS_NEW, BANS_NAME);
    if (failed != 0) {
        strata__os_file_close(fd);
        return failed;
    }
    (void)strata__os_dir_sync(d->dir_fd);
    strata__os_file_close(d->ban_fd);
    d->ban_fd = fd;
    d->ban_bytes = d->ban_base = size;
    return 0;
}

/* errno or 0; where it fails the file is as it was. */
static int rewrite(struct disk *d, struct list *l)
{
    size_t left = 0, size = 0;
    unsigned char *drop = strata__alloc_zero(d->mem, l->count + 1);
    unsigned char *bytes = strata__alloc(d->mem, l->size + BAN_RECORD_HEAD);
    int failed = drop != NULL && bytes != NULL ? mark_repeated(d, l, drop, &left) : ENOMEM;
    if (failed == 0 && left > LIST_MOST)
        size = widen(l, drop, left, bytes);
    for (size_t i = 0; failed == 0 && i < l->count; i++) {
        size_t bytes_of = l->starts[i + 1] - l->starts[i];
        if (drop[i])
            continue;
        memcpy(bytes + size, l->bytes + l->starts[i], bytes_of);
        size += bytes_of;
    }
    if (failed == 0)
        failed = replace_file(d, bytes, size);
    strata__free(d->mem, drop);
    strata__free(d->mem, bytes);
    return failed;
}

static void rewrite_if_large(struct disk *d)
{
    struct list *l = NULL;
    if (d->ban_bytes - d->ban_base < REWRITE_ABOVE)
        return;
    if (read_list(d, &l) != 0 || l->damaged || rewrite(d, l) != 0)
        d->ban_base = d->ban_bytes; /* and not again at once */
    free_list(d, l);
}

/* The layer's calls ---------------------------------------------------------------------------------------------- */

/* There is no file before the first ban.  errno or 0. */
static int open_file(struct disk *d)
{
    struct os_file_stat stat;
    if (d->ban_fd >= 0)
        return 0;
    int failed = strata__os_file_open(d->dir_fd, BANS_NAME, OS_FILE_WRITE | OS_FILE_CREATE, &d->ban_fd);
    if (failed == 0)
        failed = strata__os_file_stat(d->ban_fd, &stat);
    if (failed == 0)
        d->ban_bytes = d->ban_base = stat.size;
    return failed;
}

int strata__disk_ban(struct disk *d, strata_ban_op *what, strata_error *err)
{
    size_t size = strata__ban_record_size(what);
    unsigned char *bytes = size <= BAN_RECORD_MOST ? strata__alloc(d->mem, size) : NULL;
    if (bytes == NULL)
        return strata__fail(err, STRATA_ENOMEM, d->base.name, "no memory to note the ban: free some, and ban again");
    strata__ban_record_write(bytes, what);
    os_mutex_lock(&d->ban_lock);
    int failed = open_file(d);
    if (failed == 0)
        failed = strata__os_file_write(d->ban_fd, bytes, size, d->ban_bytes);
    if (failed == 0 && d->options.sync == STRATA_SYNC_WRITE)
        failed = strata__os_file_sync(d->ban_fd);
    if (failed == 0) {
        d->ban_bytes += size;
        rewrite_if_large(d);
    } else if (d->ban_fd >= 0) {
        (void)strata__os_file_truncate(d->ban_fd, d->ban_bytes);
    }
    os_mutex_unlock(&d->ban_lock);
    strata__free(d->mem, bytes);
    if (failed == 0)
        return STRATA_OK;
    disk_count(&d->errors);
    return strata__fail_os(
        err, STRATA_EIO, failed, d->base.name,
        "the ban could not be written to \"%.120s\": it holds until the cache is closed; look at the "
        "disk, and ban again",
        d->options.path);
}

int strata__disk_bans(struct disk *d, void (*each)(const strata_ban_op *ban, void *ctx), void *ctx, strata_error *err)
{
    struct list *l = NULL;
    strata_ban_op ban;
    size_t used;
    int rc = STRATA_OK, failed = strata__os_file_open(d->dir_fd, BANS_NAME, OS_FILE_WRITE, &d->ban_fd);
    if (failed == ENOENT)
        return STRATA_OK;
    if (failed == 0)
        failed = read_list(d, &l);
    if (failed == 0 && l->damaged)
        rc = strata__disk_damage(d, BANS_NAME, "is damaged",
                                 "delete the directory, or open with recovery=quiet, which forgets what it held", err);
    for (size_t i = 0; failed == 0 && rc == STRATA_OK && i < l->count; i++) {
        (void)strata__ban_record_read(&ban, l->tags, l->bytes + l->starts[i], l->starts[i + 1] - l->starts[i], &used);
        each(&ban, ctx);
    }
    if (failed == 0 && rc == STRATA_OK && l->damaged) {
        ban = (strata_ban_op){
            .size = sizeof ban, .kind = BAN_ALL_KIND, .life = 1, .wall_ms = strata_host_wall_ms(d->host)
        };
        each(&ban, ctx);
    }
    if (failed == 0 && rc == STRATA_OK) {
        d->ban_bytes = l->size;
        if (l->damaged) { /* it would be read again */
            unsigned char all[BAN_RECORD_HEAD];
            strata__ban_record_write(all, &ban);
            failed = replace_file(d, all, sizeof all);
        } else {
            failed = strata__os_file_truncate(d->ban_fd, l->size);
        }
        rewrite_if_large(d);
    }
    free_list(d, l);
    if (failed != 0)
        rc = strata__fail_os(err, failed == ENOMEM ? STRATA_ENOMEM : STRATA_EIO, failed, d->base.name,
                             "the list of bans in \"%.120s\" cannot be read: look at the disk", d->options.path);
    return rc;
}
