/* snapshot_file.c - snapshots in files: strata_snapshot_save() and strata_snapshot_load().
 *
 * A file is written under a name of its own, `.NAME.<random>.part`, which nobody else opens (O_EXCL), brought to the disk, and
 * renamed: who reads finds the old one or the new one.  One that a killed process has left is removed by the next that saves:
 * its lock is gone, by which the file of a save that is under way is known.  Below a base directory each step of the path is
 * opened by itself, and none through a link. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/os/os_file.h"
#include "src/os/os_random.h"
#include "strata/snapshot.h"

enum { NAME_MOST = 200, PART_ROOM = NAME_MOST + 32, PATH_ROOM = 4096, RANDOM_DIGITS = 16, TRIES = 8 };

#define WHERE "snapshot"
#define PART ".part"

struct place {
    int dir;
    const char *name; /* the last part of the path */
    const char *path; /* for words */
};

struct file {
    int fd;
    uint64_t at;
    const char *path;
    strata_error *err;
    int failed; /* its own error, which stands in err */
};

static int fail_os(strata_error *err, int os_errno, const char *path, const char *what)
{
    return strata__fail_os(err, STRATA_EIO, os_errno, WHERE, "\"%.128s\" cannot be %s", path, what);
}

/* Paths ------------------------------------------------------------------------------------------------------------- */

static int bad_path(strata_error *err, const char *path, const char *why)
{
    return strata__fail(err, STRATA_EINVAL, "path", "\"%.128s\" %s", path, why);
}

static int is_step(const char *name, size_t size)
{
    return size != 0 && !(size == 1 && name[0] == '.') && !(size == 2 && name[0] == '.' && name[1] == '.');
}

/* From an open directory on, step by step; place->dir is replaced. */
static int walk(struct place *place, const char *path, strata_error *err)
{
    for (;;) {
        const char *end = strchr(path, '/');
        size_t size = end != NULL ? (size_t)(end - path) : strlen(path);
        char step[NAME_MOST + 1];
        int next;
        if (!is_step(path, size))
            return bad_path(err, place->path,
                            "leads out of base_dir, or names no file: give a path below it, without \"..\"");
        if (size > NAME_MOST)
            return bad_path(err, place->path, "has a part of more than 200 bytes");
        if (end == NULL) {
            place->name = path;
            return STRATA_OK;
        }
        memcpy(step, path, size);
        step[size] = 0;
        int failed = strata__os_dir_open_in(place->dir, step, &next);
        if (failed == ELOOP || failed == ENOTDIR)
            return bad_path(err, place->path, "leads through a link, or through what is no directory");
        if (failed != 0)
            return fail_os(err, failed, place->path, "reached");
        strata__os_file_close(place->dir);
        place->dir = next;
        path = end + 1;
    }
}

/* The directory as the application names it, through links too; the file in it. */
static int open_plain(struct place *place, const char *path, strata_error *err)
{
    const char *slash = strrchr(path, '/');
    char dir[PATH_ROOM] = ".";
    size_t size = slash != NULL ? (size_t)(slash - path) : 0;
    place->name = slash != NULL ? slash + 1 : path;
    if (!is_step(place->name, strlen(place->name)))
        return bad_path(err, path, "names no file");
    if (strlen(place->name) > NAME_MOST || size >= sizeof dir)
        return bad_path(err, path, "is too long: a name has at most 200 bytes, a path 4,095");
    if (slash != NULL) {
        memcpy(dir, path, size);
        memcpy(dir + size, "/", 2);
    }
    int failed = strata__os_path_open(dir, &place->dir);
    return failed != 0 ? fail_os(err, failed, path, "reached") : STRATA_OK;
}

static int open_place(struct place *place, const char *path, const char *base, strata_error *err)
{
    *place = (struct place){ .dir = -1, .path = path };
    if (path == NULL || path[0] == 0)
        return strata__fail(err, STRATA_EINVAL, "path", "a snapshot needs a path");
    if (base == NULL)
        return open_plain(place, path, err);
    if (path[0] == '/')
        return bad_path(err, path, "begins at the root: with base_dir a path is relative to it");
    int failed = strata__os_path_open(base, &place->dir);
    return failed != 0 ? fail_os(err, failed, base, "opened as base_dir") : walk(place, path, err);
}

/* A newer caller's struct may be longer, an older one's shorter: then it has no base_dir. */
static const char *base_of(const strata_snapshot_options *options)
{
    size_t known = offsetof(strata_snapshot_options, base_dir) + sizeof options->base_dir;
    return options != NULL && options->size >= known ? options->base_dir : NULL;
}

/* Saving ------------------------------------------------------------------------------------------------------------ */

static int part_prefix(const char *name, char *out, size_t room) { return snprintf(out, room, ".%s.", name); }

struct sweep {
    int dir;
    char prefix[PART_ROOM];
    size_t prefix_size;
};

/* A part of this snapshot's that nobody writes. */
static int sweep_one(const char *name, void *ctx)
{
    const struct sweep *s = ctx;
    int fd;
    if (strncmp(name, s->prefix, s->prefix_size) != 0 ||
        strlen(name) != s->prefix_size + RANDOM_DIGITS + sizeof PART - 1 ||
        strcmp(name + s->prefix_size + RANDOM_DIGITS, PART) != 0 ||
        strata__os_file_open(s->dir, name, OS_FILE_WRITE, &fd) != 0)
        return 0;
    if (strata__os_file_lock(fd) == 0)
        (void)strata__os_file_remove(s->dir, name);
    strata__os_file_close(fd);
    return 0;
}

static void sweep(const struct place *place)
{
    struct sweep s = { .dir = place->dir };
    s.prefix_size = (size_t)part_prefix(place->name, s.prefix, sizeof s.prefix);
    (void)strata__os_dir_list(place->dir, sweep_one, &s); /* what is left takes room, and no more */
}

/* A rename takes the name of anything: root's /dev/null would be a file from then on, and so would its /dev/stdout, which is a link. */
static int check_name(const struct place *place, strata_error *err)
{
    struct os_file_stat stat;
    int failed = strata__os_file_stat_in(place->dir, place->name, &stat);
    if (failed != 0 && failed != ENOENT)
        return fail_os(err, failed, place->path, "written");
    if (failed == 0 && !stat.regular)
        return bad_path(err, place->path, "is no plain file: choose another name");
    return STRATA_OK;
}

/* A new file, locked. */
static int open_part(const struct place *place, char part[PART_ROOM], int *out_fd, strata_error *err)
{
    int failed = EEXIST;
    for (int i = 0; i < TRIES && (failed == EEXIST || failed == EAGAIN); i++) {
        int size = part_prefix(place->name, part, PART_ROOM);
        snprintf(part + size, PART_ROOM - (size_t)size, "%016llx" PART, (unsigned long long)strata__os_random());
        failed = strata__os_file_open(place->dir, part, OS_FILE_WRITE | OS_FILE_CREATE | OS_FILE_EXCLUSIVE, out_fd);
        if (failed != 0)
            continue;
        failed = strata__os_file_lock(*out_fd);
        if (failed == 0)
            return STRATA_OK;
        strata__os_file_close(*out_fd); /* one that sweeps was faster, or locks are not to be had */
        (void)strata__os_file_remove(place->dir, part);
    }
    *out_fd = -1;
    return fail_os(err, failed, place->path, "written");
}

static int write_file(const void *bytes, size_t size, void *ctx)
{
    struct file *f = ctx;
    int failed = strata__os_file_write(f->fd, bytes, size, f->at);
    f->at += size;
    if (failed == 0)
        return 0;
    f->failed = 1;
    return fail_os(f->err, failed, f->path, "written");
}

/* On the disk, and under its name. */
static int publish(const struct place *place, const char *part, int fd, strata_error *err)
{
    int failed = strata__os_file_sync(fd);
    if (failed == 0)
        failed = strata__os_file_rename(place->dir, part, place->name);
    if (failed != 0)
        return fail_os(err, failed, place->path, "written");
    failed = strata__os_dir_sync(place->dir);
    return failed != 0 ? fail_os(err, failed, place->path, "made to last, though it is there") : STRATA_OK;
}

int strata_snapshot_save(strata *cache, const char *path, const strata_snapshot_options *options,
                         strata_snapshot_report *out_report, strata_error *err)
{
    struct place place;
    char part[PART_ROOM];
    strata_error words = STRATA_ERROR_INIT;
    struct file file = { .fd = -1, .path = path, .err = &words };
    int rc = open_place(&place, path, base_of(options), err);
    if (rc == STRATA_OK)
        rc = check_name(&place, err);
    if (rc == STRATA_OK) {
        sweep(&place);
        rc = open_part(&place, part, &file.fd, err);
    }
    if (rc == STRATA_OK) {
        rc = strata_snapshot_export(cache, options, write_file, &file, out_report, err);
        if (rc < 0 && file.failed && err != NULL)
            *err = words;
        if (rc == STRATA_OK)
            rc = publish(&place, part, file.fd, err);
        if (rc < 0)
            (void)strata__os_file_remove(place.dir, part); /* where it was renamed, there is none */
    }
    strata__os_file_close(file.fd);
    strata__os_file_close(place.dir);
    return rc;
}

/* Loading ----------------------------------------------------------------------------------------------------------- */

static int read_file(void *bytes, size_t room, size_t *out_size, void *ctx)
{
    struct file *f = ctx;
    int failed = strata__os_file_read(f->fd, bytes, room, f->at, out_size);
    f->at += *out_size;
    if (failed == 0)
        return 0;
    f->failed = 1;
    return fail_os(f->err, failed, f->path, "read");
}

static int check_file(int fd, const char *path, strata_error *err)
{
    struct os_file_stat stat;
    int failed = strata__os_file_stat(fd, &stat);
    if (failed != 0)
        return fail_os(err, failed, path, "read");
    if (!stat.regular)
        return bad_path(err, path, "is no plain file");
    if (stat.others_write)
        return bad_path(err, path,
                        "may be written to by other users, who could put anything into the cache: chmod go-w it");
    return STRATA_OK;
}

int strata_snapshot_load(strata *cache, const char *path, const strata_snapshot_options *options,
                         strata_snapshot_report *out_report, strata_error *err)
{
    struct place place;
    strata_error words = STRATA_ERROR_INIT;
    struct file file = { .fd = -1, .path = path, .err = &words };
    int rc = open_place(&place, path, base_of(options), err);
    if (rc == STRATA_OK) {
        int failed = strata__os_file_open(place.dir, place.name, 0, &file.fd);
        if (failed == ELOOP)
            rc = bad_path(err, path, "is a link: give the file's own name");
        else
            rc = failed != 0 ? fail_os(err, failed, path, "read") : check_file(file.fd, path, err);
    }
    if (rc == STRATA_OK)
        rc = strata_snapshot_import(cache, options, read_file, &file, out_report, err);
    if (rc < 0 && file.failed && err != NULL)
        *err = words;
    strata__os_file_close(file.fd);
    strata__os_file_close(place.dir);
    return rc;
}
