/* disk_note.c - the note that the cache keeps here of its buses (format/bus_note.h), for who opens the directory next: the file
 * "bus.note", replaced as a whole.
 *
 *   | magic 8 | size 4 | 0 4 | id of the directory 16 | boot 16 | the note | sum 8 |
 *
 * It says that deletes up to a place were carried out, so it may never be ahead of them.  What ends the process leaves both, for both
 * were handed to the kernel, one after the other.  What ends the machine may take the deletes and leave the note: so it counts only while
 * the machine runs on (`boot`), but where deletes are synced one by one, or all was at closing: then `boot` is zeros.  Whatever is wrong
 * with the file, there is none: what is here is suspect then. */
#include <errno.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/format/bus_note.h"
#include "src/layer/disk/disk_impl.h"
#include "src/os/os_file.h"

enum { SIZE_AT = 8, ID_AT = 16, BOOT_AT = 32, NOTE_AT = 48, SUM = 8, FILE_MOST = NOTE_AT + NOTE_MOST + SUM };

static const uint8_t magic[8] = { 'S', 't', 'r', 'a', 't', 'B', 'u', 's' };
static const uint8_t no_boot[OS_BOOT_ID];

/* `safe`: what stands before it in the log outlasts the machine.  errno or 0.  Ban lock. */
static int write_file(struct disk *d, strata_slice note, int safe)
{
    uint8_t *bytes = strata__alloc_zero(d->mem, FILE_MOST);
    size_t end = NOTE_AT + note.size;
    int fd, failed = bytes != NULL ? 0 : ENOMEM;
    if (failed == 0 && !safe)
        failed = strata__os_boot_id(bytes + BOOT_AT);
    if (failed == 0)
        failed = strata__os_file_open(d->dir_fd, NOTE_NEW, OS_FILE_WRITE | OS_FILE_CREATE, &fd);
    if (failed == 0) {
        memcpy(bytes, magic, sizeof magic);
        strata__le32_put(bytes + SIZE_AT, (uint32_t)note.size);
        memcpy(bytes + ID_AT, d->dir.id, DISK_ID);
        memcpy(bytes + NOTE_AT, note.data, note.size);
        strata__le64_put(bytes + end, strata__hash(bytes, end, 0));
        failed = strata__os_file_truncate(fd, 0);
        if (failed == 0)
            failed = strata__os_file_write(fd, bytes, end + SUM, 0);
        if (failed == 0 && safe)
            failed = strata__os_file_sync(fd);
        strata__os_file_close(fd);
    }
    if (failed == 0)
        failed = strata__os_file_rename(d->dir_fd, NOTE_NEW, NOTE_NAME);
    if (failed == 0 && safe)
        (void)strata__os_dir_sync(d->dir_fd);
    strata__free(d->mem, bytes);
    return failed;
}

int strata__disk_keep(struct disk *d, strata_slice note, strata_error *err)
{
    if (note.size > NOTE_MOST)
        return strata__fail(err, STRATA_EINVAL, d->base.name, "a note of %zu bytes: %d are kept at most", note.size,
                            (int)NOTE_MOST);
    char *copy = strata__alloc(d->mem, note.size + 1);
    if (copy == NULL)
        return strata__fail(err, STRATA_ENOMEM, d->base.name, "no memory to keep the place of the buses: free some");
    memcpy(copy, note.data, note.size);
    os_mutex_lock(&d->ban_lock);
    int failed = write_file(d, note, d->options.sync == STRATA_SYNC_WRITE);
    if (failed == 0) { /* for closing */
        strata__free(d->mem, d->note);
        d->note = copy;
        d->note_size = note.size;
        copy = NULL;
    }
    os_mutex_unlock(&d->ban_lock);
    strata__free(d->mem, copy);
    if (failed == 0)
        return STRATA_OK;
    disk_count(&d->errors);
    return strata__fail_os(
        err, STRATA_EIO, failed, d->base.name,
        "the place of the buses could not be written to \"%.120s\": after a restart what is there is "
        "not trusted; look at the disk",
        d->options.path);
}

void strata__disk_note_synced(struct disk *d)
{
    if (d->note != NULL && write_file(d, strata_bytes(d->note, d->note_size), 1) != 0)
        disk_count(&d->errors);
}

/* 1: it is of this directory, whole, and not ahead of what stands here. */
static int is_good(const struct disk *d, const uint8_t *bytes, size_t size)
{
    uint8_t boot[OS_BOOT_ID];
    if (size < NOTE_AT + SUM || memcmp(bytes, magic, sizeof magic) != 0 ||
        strata__le32(bytes + SIZE_AT) != size - NOTE_AT - SUM ||
        strata__le64(bytes + size - SUM) != strata__hash(bytes, size - SUM, 0) ||
        memcmp(bytes + ID_AT, d->dir.id, DISK_ID) != 0)
        return 0;
    return memcmp(bytes + BOOT_AT, no_boot, sizeof no_boot) == 0 ||
           (strata__os_boot_id(boot) == 0 && memcmp(bytes + BOOT_AT, boot, sizeof boot) == 0);
}

int strata__disk_kept(struct disk *d, void (*is)(strata_slice note, void *ctx), void *ctx)
{
    size_t got = 0;
    int fd, failed = strata__os_file_open(d->dir_fd, NOTE_NAME, 0, &fd);
    if (failed != 0)
        return STRATA_MISS;
    uint8_t *bytes = strata__alloc(d->mem, FILE_MOST + 1);
    failed = bytes != NULL ? strata__os_file_read(fd, bytes, FILE_MOST + 1, 0, &got) : ENOMEM;
    strata__os_file_close(fd);
    int good = failed == 0 && got <= FILE_MOST && is_good(d, bytes, got);
    if (good)
        is(strata_bytes(bytes + NOTE_AT, got - NOTE_AT - SUM), ctx);
    strata__free(d->mem, bytes);
    return good ? STRATA_OK : STRATA_MISS;
}
