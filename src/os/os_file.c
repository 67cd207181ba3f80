/* os_file.c - see os_file.h. */
#include "src/os/os_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "src/os/os_fault.h"

/* Linux moves no more than this at once, and other systems refuse more than INT_MAX. */
enum { MOST_AT_ONCE = 1 << 30 };

int strata__os_dir_open(const char *path, int create, int *out_fd)
{
    *out_fd = -1;
    if (create) {
        int failed = strata__os_fault("mkdir");
        if (failed == 0 && mkdir(path, 0700) != 0)
            failed = errno;
        if (failed != 0 && failed != EEXIST)
            return failed;
    }
    int failed = strata__os_fault("open");
    if (failed != 0)
        return failed;
    int fd;
    do
        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    *out_fd = fd;
    return fd < 0 ? errno : 0;
}

int strata__os_dir_open_in(int dir, const char *name, int *out_fd)
{
    *out_fd = -1;
    int failed = strata__os_fault("openat");
    if (failed != 0)
        return failed;
    int fd;
    do
        fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    *out_fd = fd;
    return fd < 0 ? errno : 0;
}

int strata__os_dir_list(int dir, int (*each)(const char *name, void *ctx), void *ctx)
{
    int failed = strata__os_fault("readdir");
    if (failed != 0)
        return failed;
    /* A descriptor of its own: closedir() closes it, and the position in the directory is not shared. */
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    DIR *list = fdopendir(fd);
    if (list == NULL) {
        failed = errno;
        (void)close(fd);
        return failed;
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(list);
        if (entry == NULL) {
            failed = errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (each(entry->d_name, ctx) != 0)
            break;
    }
    (void)closedir(list);
    return failed;
}

int strata__os_dir_sync(int dir)
{
    int failed = strata__os_fault("fsync");
    if (failed != 0)
        return failed;
    return fsync(dir) == 0 ? 0 : errno;
}

int strata__os_path_open(const char *path, int *out_fd)
{
    *out_fd = -1;
    int failed = strata__os_fault("open");
    if (failed != 0)
        return failed;
    int fd;
    do
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* it could be a pipe */
    while (fd < 0 && errno == EINTR);
    *out_fd = fd;
    return fd < 0 ? errno : 0;
}

/* Reading leaves no time of access behind: to keep that is a twentieth of what a small read costs. */
#if defined(O_NOATIME)
#define UNNOTICED O_NOATIME
#else
#define UNNOTICED 0
#endif

int strata__os_file_open(int dir, const char *name, int how, int *out_fd)
{
    *out_fd = -1;
    int failed = strata__os_fault("openat");
    if (failed != 0)
        return failed;
    /* Not blocking: what lies there under our name could be a pipe. */
    int flags = O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (how & OS_FILE_WRITE ? O_RDWR : O_RDONLY);
    if (how & OS_FILE_CREATE)
        flags |= O_CREAT | (how & OS_FILE_EXCLUSIVE ? O_EXCL : 0);
    int fd;
    do {
        fd = openat(dir, name, flags | UNNOTICED, 0600);
        if (fd < 0 && errno == EPERM && UNNOTICED != 0) /* another user's file */
            fd = openat(dir, name, flags, 0600);
    } while (fd < 0 && errno == EINTR);
    *out_fd = fd;
    return fd < 0 ? errno : 0;
}

void strata__os_file_close(int fd)
{
    if (fd >= 0)
        (void)close(fd); /* interrupted or not, the descriptor is gone */
}

/* pread(2).  The C library's is a point where a thread can be cancelled: it says so before and after the call, which takes a
 * twentieth of a get of a small value, and a thread that ended there would keep a segment pinned for ever. */
static ssize_t read_at(int fd, void *out, size_t size, uint64_t offset)
{
#if defined(__linux__) && defined(__LP64__) && defined(SYS_pread64)
    return (ssize_t)syscall(SYS_pread64, fd, out, size, (off_t)offset);
#else
    return pread(fd, out, size, (off_t)offset);
#endif
}

int strata__os_file_read(int fd, void *out, size_t size, uint64_t offset, size_t *out_read)
{
    char *to = out;
    size_t done = 0;
    *out_read = 0;
    while (done < size) {
        int failed = strata__os_fault("pread");
        if (failed == EINTR)
            continue;
        if (failed != 0)
            return failed;
        size_t ask = size - done < MOST_AT_ONCE ? size - done : MOST_AT_ONCE;
        ssize_t got = read_at(fd, to + done, strata__os_fault_cut("pread", ask), offset + done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    *out_read = done;
    return 0;
}

int strata__os_file_write(int fd, const void *bytes, size_t size, uint64_t offset)
{
    const char *from = bytes;
    size_t done = 0;
    while (done < size) {
        int failed = strata__os_fault("pwrite");
        if (failed == EINTR)
            continue;
        if (failed != 0)
            return failed;
        size_t ask = size - done < MOST_AT_ONCE ? size - done : MOST_AT_ONCE;
        ssize_t put = pwrite(fd, from + done, strata__os_fault_cut("pwrite", ask), (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return errno;
        if (put == 0)
            return ENOSPC; /* a regular file that takes nothing and says nothing */
        done += (size_t)put;
    }
    return 0;
}

int strata__os_file_sync(int fd)
{
    int failed = strata__os_fault("fdatasync");
    if (failed != 0)
        return failed;
#if defined(__APPLE__)
    return fsync(fd) == 0 ? 0 : errno;
#else
    return fdatasync(fd) == 0 ? 0 : errno;
#endif
}

int strata__os_file_truncate(int fd, uint64_t size)
{
    int failed = strata__os_fault("ftruncate");
    if (failed != 0)
        return failed;
    int answer;
    do
        answer = ftruncate(fd, (off_t)size);
    while (answer != 0 && errno == EINTR);
    return answer == 0 ? 0 : errno;
}

int strata__os_file_reserve(int fd, uint64_t size)
{
    int failed = strata__os_fault("posix_fallocate");
    if (failed != 0)
        return failed;
#if defined(__linux__)
    /* Not posix_fallocate(): where the file system cannot, glibc would write every block. */
    int answer;
    do
        answer = fallocate(fd, 0, 0, (off_t)size);
    while (answer != 0 && errno == EINTR);
    failed = answer == 0 ? 0 : errno;
    if (failed == EOPNOTSUPP || failed == ENOSYS || failed == EINVAL)
        failed = 0;
#else
    (void)fd;
    (void)size;
#endif
    return failed;
}

static void take_stat(struct os_file_stat *out, const struct stat *s)
{
    out->size = s->st_size > 0 ? (uint64_t)s->st_size : 0;
    out->regular = S_ISREG(s->st_mode);
    out->foreign = s->st_uid != geteuid();
    out->others_write = (s->st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

int strata__os_file_stat(int fd, struct os_file_stat *out)
{
    int failed = strata__os_fault("fstat");
    if (failed != 0)
        return failed;
    struct stat s;
    if (fstat(fd, &s) != 0)
        return errno;
    take_stat(out, &s);
    return 0;
}

int strata__os_file_stat_in(int dir, const char *name, struct os_file_stat *out)
{
    int failed = strata__os_fault("fstatat");
    if (failed != 0)
        return failed;
    struct stat s;
    if (fstatat(dir, name, &s, 0) != 0)
        return errno;
    take_stat(out, &s);
    return 0;
}

int strata__os_file_rename(int dir, const char *from, const char *to)
{
    int failed = strata__os_fault("renameat");
    if (failed != 0)
        return failed;
    return renameat(dir, from, dir, to) == 0 ? 0 : errno;
}

int strata__os_file_remove(int dir, const char *name)
{
    int failed = strata__os_fault("unlinkat");
    if (failed != 0)
        return failed;
    return unlinkat(dir, name, 0) == 0 ? 0 : errno;
}

static int lock_as(int fd, short type)
{
    int failed = strata__os_fault("fcntl");
    if (failed != 0)
        return failed;
    struct flock how;
    memset(&how, 0, sizeof how);
    how.l_type = type;
    how.l_whence = SEEK_SET;
#if defined(F_OFD_SETLK)
    /* Of the open file, not of the process: two caches in one process are two openers, and an unrelated close of the
     * same file does not give it up. */
    int answer = fcntl(fd, F_OFD_SETLK, &how);
#else
    int answer = fcntl(fd, F_SETLK, &how);
#endif
    if (answer == 0)
        return 0;
    return errno == EACCES ? EAGAIN : errno;
}

int strata__os_file_lock(int fd) { return lock_as(fd, F_WRLCK); }

int strata__os_file_lock_shared(int fd) { return lock_as(fd, F_RDLCK); }

uint64_t strata__os_file_most(void)
{
    struct rlimit limit;
    if (strata__os_fault("getrlimit") != 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 256;
    return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : (uint64_t)limit.rlim_cur;
}

int64_t strata__os_pid(void) { return (int64_t)getpid(); }

/* 36 characters: hexadecimal digits, and '-' between some. */
static int parse_boot_id(const char *text, size_t size, unsigned char out[OS_BOOT_ID])
{
    size_t digits = 0;
    memset(out, 0, OS_BOOT_ID);
    for (size_t i = 0; i < size && digits < (size_t)OS_BOOT_ID * 2; i++) {
        char c = text[i];
        unsigned value = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (value == 16 && c != '-')
            break;
        if (value == 16)
            continue;
        out[digits / 2] = (unsigned char)((unsigned)out[digits / 2] << 4 | value);
        digits++;
    }
    return digits == (size_t)OS_BOOT_ID * 2 ? 0 : ENOSYS;
}

int strata__os_boot_id(unsigned char out[OS_BOOT_ID])
{
    char text[64];
    size_t got = 0;
    int fd, failed = strata__os_path_open("/proc/sys/kernel/random/boot_id", &fd);
    if (failed != 0)
        return failed;
    failed = strata__os_file_read(fd, text, sizeof text, 0, &got);
    strata__os_file_close(fd);
    return failed == 0 ? parse_boot_id(text, got, out) : failed;
}
