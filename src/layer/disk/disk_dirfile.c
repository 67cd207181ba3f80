/* disk_dirfile.c - the directory itself: made, locked, and told from others by strata.dir.
 *
 * Without a strata.dir a directory is made ours, unless something stands in it that we would write over or delete: then it is
 * somebody else's, and refused before anything in it is touched. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/err.h"
#include "src/layer/disk/disk_impl.h"
#include "src/os/os_clock.h"
#include "src/os/os_file.h"
#include "src/os/os_random.h"

static int fail_path(struct disk *d, int code, const char *doing, strata_error *err)
{
    int rc = code == ENOMEM ? STRATA_ENOMEM : STRATA_EIO;
    return strata__fail_os(err, rc, code, d->base.name, "%s \"%.120s\" failed: %s", doing, d->options.path,
                           code == ELOOP || code == ENOTDIR
                               ? "it is no directory, or a symbolic link: name the directory"
                           : code == ENOENT ? "make the directory above it"
                           : code == EACCES ? "give this user the right to it, and to pass through those above it"
                           : code == ENOSPC || code == EDQUOT ? "free some space"
                                                              : "look at the disk");
}

int strata__disk_damage(struct disk *d, const char *name, const char *what, const char *advice, strata_error *err)
{
    disk_count(&d->errors);
    if (d->options.recovery != STRATA_RECOVERY_STRICT)
        return STRATA_OK;
    return strata__fail(err, STRATA_EIO, d->base.name, "%s in \"%.80s\" %s: %s", name, d->options.path, what, advice);
}

/* No right to make it says nothing about one that is there, and the other way round. */
static int make_path(struct disk *d, strata_error *err)
{
    int failed = strata__os_dir_open(d->options.path, 1, &d->dir_fd);
    if (failed == EACCES && strata__os_dir_open(d->options.path, 0, &d->dir_fd) == ENOENT)
        return strata__fail_os(
            err, STRATA_EIO, failed, d->base.name,
            "making the directory \"%.120s\" failed: give this user the right to write to the one above "
            "it, or make it for them with mode 0700",
            d->options.path);
    if (failed != 0 && d->dir_fd < 0)
        return fail_path(d, failed, failed == ENOENT ? "making the directory" : "opening the directory", err);
    return STRATA_OK;
}

static int open_path(struct disk *d, strata_error *err)
{
    struct os_file_stat stat;
    int failed, rc = make_path(d, err);
    if (rc != STRATA_OK)
        return rc;
    failed = strata__os_file_stat(d->dir_fd, &stat);
    if (failed != 0)
        return fail_path(d, failed, "looking at the directory", err);
    if (stat.foreign || stat.others_write)
        return strata__fail(err, STRATA_EINVAL, "path",
                            "\"%.120s\" belongs to another user, or others may write to it: cached values could be "
                            "planted; chmod 700 it, or name another one",
                            d->options.path);
    return STRATA_OK;
}

int64_t strata__disk_lock_holder(int fd)
{
    char text[32] = "";
    size_t got = 0;
    (void)strata__os_file_read(fd, text, sizeof text - 1, 0, &got);
    long long pid = strtoll(text, NULL, 10);
    return pid > 0 ? pid : 0;
}

static int fail_locked(struct disk *d, int fd, strata_error *err)
{
    long long pid = strata__disk_lock_holder(fd);
    char who[48];
    snprintf(who, sizeof who, pid > 0 ? "process %lld" : "another process", pid);
    return strata__fail(
        err, STRATA_EBUSY, d->base.name,
        "\"%.120s\" is in use by %s: one cache at a time has a directory; close that one, or name another",
        d->options.path, who);
}

static int lock(struct disk *d, strata_error *err)
{
    char text[32];
    int failed = strata__os_file_open(d->dir_fd, LOCK_NAME, OS_FILE_WRITE | OS_FILE_CREATE, &d->lock_fd);
    if (failed != 0)
        return fail_path(d, failed, "opening the lock file of", err);
    failed = strata__os_file_lock(d->lock_fd);
    if (failed == EAGAIN)
        return fail_locked(d, d->lock_fd, err);
    if (failed != 0)
        return fail_path(d, failed, "locking", err);
    int size = snprintf(text, sizeof text, "%lld\n", (long long)strata__os_pid());
    /* For people to read: without it the lock is as good. */
    if (strata__os_file_truncate(d->lock_fd, 0) == 0)
        (void)strata__os_file_write(d->lock_fd, text, (size_t)size, 0);
    return STRATA_OK;
}

static int write_identity(struct disk *d)
{
    unsigned char bytes[DIR_MAX];
    int fd;
    memset(&d->dir, 0, sizeof d->dir);
    for (size_t i = 0; i < DISK_ID; i += 8) {
        uint64_t random = strata__os_random();
        memcpy(d->dir.id + i, &random, 8);
    }
    d->dir.seed = strata__os_random();
    d->dir.created_wall_ms = strata__os_wall_ms();
    strata__dir_write(bytes, &d->dir);
    int failed = strata__os_file_open(d->dir_fd, DIR_NEW, OS_FILE_WRITE | OS_FILE_CREATE, &fd);
    if (failed != 0)
        return failed;
    failed = strata__os_file_truncate(fd, 0);
    if (failed == 0)
        failed = strata__os_file_write(fd, bytes, strata__dir_size(&d->dir), 0);
    if (failed == 0)
        failed = strata__os_file_sync(fd);
    strata__os_file_close(fd);
    if (failed == 0)
        failed = strata__os_file_rename(d->dir_fd, DIR_NEW, DIR_NAME);
    /* Segments that were to outlast it would be strangers.  Some file systems sync no directories, and are as good without. */
    if (failed == 0)
        (void)strata__os_dir_sync(d->dir_fd);
    return failed;
}

int strata__disk_read_identity(struct disk *d, int *out_verdict)
{
    unsigned char bytes[DIR_MAX + 1];
    size_t got = 0;
    int fd, failed = strata__os_file_open(d->dir_fd, DIR_NAME, 0, &fd);
    *out_verdict = FORMAT_END;
    if (failed != 0)
        return failed == ENOENT ? 0 : failed;
    failed = strata__os_file_read(fd, bytes, sizeof bytes, 0, &got);
    strata__os_file_close(fd);
    if (failed != 0)
        return failed;
    *out_verdict = strata__dir_read(&d->dir, bytes, got);
    d->dir.cursor = strata_bytes(NULL, 0);
    return 0;
}

/* Strangers --------------------------------------------------------------------------------------------------- */

struct strangers {
    struct disk *d;
    char name[24]; /* of one that we would touch; "" none */
    int was_ours;  /* somebody's strata.dir was put aside, and the new one did not come to be */
    int failed;
};

/* Empty, or a process's number.  A process that ended before it had made strata.dir left one.  1, 0 or -errno. */
static int is_lock_of_ours(struct disk *d)
{
    enum { LONGEST = 20 }; /* digits and the line's end */
    struct os_file_stat stat;
    char text[32] = "";
    size_t got = 0;
    int fd, failed = strata__os_file_open(d->dir_fd, LOCK_NAME, 0, &fd);
    if (failed == ENOENT)
        return 1;
    if (failed == ELOOP || failed == ENXIO)
        return 0;
    if (failed == 0)
        failed = strata__os_file_stat(fd, &stat);
    if (failed == 0 && stat.regular)
        failed = strata__os_file_read(fd, text, sizeof text - 1, 0, &got);
    strata__os_file_close(fd);
    if (failed != 0)
        return -failed;
    size_t digits = strspn(text, "0123456789");
    return stat.regular && got <= LONGEST && digits + (text[digits] == '\n') == got;
}

static int see_entry(const char *name, void *ctx)
{
    struct strangers *s = ctx;
    uint64_t number;
    int ours = 1;
    if (strcmp(name, DIR_BAD) == 0)
        s->was_ours = 1;
    else if (strcmp(name, LOCK_NAME) == 0)
        ours = is_lock_of_ours(s->d);
    else if (strcmp(name, SNAPSHOT_NAME) == 0 || strcmp(name, SNAPSHOT_NEW) == 0 || strcmp(name, SEGMENT_NEW) == 0 ||
             strcmp(name, BANS_NAME) == 0 || strcmp(name, BANS_NEW) == 0 || strcmp(name, NOTE_NAME) == 0 ||
             strcmp(name, NOTE_NEW) == 0 || strata__segment_number(name, &number))
        ours = 0; /* we make none of them before there is a strata.dir */
    if (ours < 0)
        s->failed = -ours;
    if (ours == 0)
        snprintf(s->name, sizeof s->name, "%s", name);
    return s->failed;
}

/* Before anything in it is written: is it ours, or may it become ours?  Without the lock: another cache may be making it its
 * own just now, and its strata.dir comes before all that would be a stranger. */
static int refuse_strangers(struct disk *d, strata_error *err)
{
    struct strangers s = { .d = d };
    int verdict, failed = strata__disk_read_identity(d, &verdict);
    if (failed == 0 && verdict != FORMAT_END)
        return STRATA_OK;
    if (failed == 0)
        failed = strata__os_dir_list(d->dir_fd, see_entry, &s);
    if (failed == 0)
        failed = s.failed;
    if (failed == 0 && s.name[0] != '\0' && !s.was_ours)
        failed = strata__disk_read_identity(d, &verdict);
    if (failed != 0)
        return fail_path(d, failed, "looking for strata.dir in", err);
    if (s.name[0] == '\0' || s.was_ours || verdict != FORMAT_END)
        return STRATA_OK;
    return strata__fail(
        err, STRATA_EINVAL, "path",
        "\"%.100s\" has no strata.dir, so its \"%s\" is not of a disk layer, which would write over it: "
        "name another directory, or empty this one",
        d->options.path, s.name);
}

int strata__disk_open_dir(struct disk *d, strata_error *err)
{
    int verdict, rc = open_path(d, err);
    if (rc == STRATA_OK)
        rc = refuse_strangers(d, err);
    if (rc == STRATA_OK)
        rc = lock(d, err);
    if (rc != STRATA_OK)
        return rc;
    int failed = strata__disk_read_identity(d, &verdict);
    if (failed != 0)
        return fail_path(d, failed, "reading strata.dir of", err);
    if (verdict == FORMAT_OK)
        return STRATA_OK;
    if (verdict == FORMAT_NEWER)
        return strata__fail(err, STRATA_EUNSUPPORTED, d->base.name,
                            "\"%.120s\" was written by a newer strata: use that one, or name another directory",
                            d->options.path);
    if (verdict != FORMAT_END) {
        /* Without the seed nothing in here can be read.  It is kept, under another name, for who wants to look. */
        rc = strata__disk_damage(
            d, DIR_NAME, "is damaged, or not ours",
            "bring it back, or open with recovery=quiet, which begins anew, for nothing can be read without it", err);
        failed = rc == STRATA_OK ? strata__os_file_rename(d->dir_fd, DIR_NAME, DIR_BAD) : 0;
    }
    if (rc == STRATA_OK && failed == 0)
        failed = write_identity(d);
    return failed != 0 ? fail_path(d, failed, "writing strata.dir of", err) : rc;
}
