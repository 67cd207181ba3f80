/* os_file.h - files, but for strata__os_path_open() named relative to an open directory, and never through a link.
 *
 * Every call answers 0 or an errno.  Reads and writes go on after a signal and after a short result, so that what comes
 * back is all that was asked for, the end of the file, or an error. */
#ifndef STRATA_OS_FILE_H
#define STRATA_OS_FILE_H
#include <stddef.h>
#include <stdint.h>

enum {
    OS_FILE_WRITE = 1,    /* and read; without it: read alone */
    OS_FILE_CREATE = 2,   /* where it is missing, with mode 0600 */
    OS_FILE_EXCLUSIVE = 4 /* with CREATE: EEXIST where it is there */
};

struct os_file_stat {
    uint64_t size;
    int regular;      /* a plain file: no link, directory or device */
    int foreign;      /* another user's */
    int others_write; /* group or others may write to it */
};

/* Open a directory; `create` makes it, with mode 0700, where it is missing (its parent has to be there).  The last part of
 * the path may be no symbolic link: ELOOP or ENOTDIR. */
int strata__os_dir_open(const char *path, int create, int *out_fd);
/* One that is in another one. */
int strata__os_dir_open_in(int dir, const char *name, int *out_fd);
/* Call each(name, ctx) for everything in it but "." and ".."; stops when it answers non-zero, which is no error. */
int strata__os_dir_list(int dir, int (*each)(const char *name, void *ctx), void *ctx);
/* After a rename, removal or creation: make it last. */
int strata__os_dir_sync(int dir);

/* To read, a file or directory, also through links: for what is not the library's own. */
int strata__os_path_open(const char *path, int *out_fd);
int strata__os_file_open(int dir, const char *name, int how, int *out_fd);
/* -1 is a no-op. */
void strata__os_file_close(int fd);
/* *out_read < size only where the file ends. */
int strata__os_file_read(int fd, void *out, size_t size, uint64_t offset, size_t *out_read);
int strata__os_file_write(int fd, const void *bytes, size_t size, uint64_t offset);
int strata__os_file_sync(int fd);
int strata__os_file_truncate(int fd, uint64_t size);
/* Take the room for `size` bytes now, so that writing them later does not run out of it.  Where the file system cannot, that
 * is no error. */
int strata__os_file_reserve(int fd, uint64_t size);
int strata__os_file_stat(int fd, struct os_file_stat *out);
/* What has that name, or what a link leads to that has it, without opening it. */
int strata__os_file_stat_in(int dir, const char *name, struct os_file_stat *out);
int strata__os_file_rename(int dir, const char *from, const char *to);
int strata__os_file_remove(int dir, const char *name);
/* An exclusive lock that lasts until the file is closed by all who have it from this call (a child after fork, too).
 * EAGAIN: another one holds it. */
int strata__os_file_lock(int fd);
/* The same, shared with others who share: who wants it alone has to wait.  Needs no right to write.  EAGAIN. */
int strata__os_file_lock_shared(int fd);
/* How many descriptors this process may have open at once; UINT64_MAX: no limit.  Where it cannot be told, few. */
uint64_t strata__os_file_most(void);
enum { OS_BOOT_ID = 16 };
/* What is different after each start of the machine, and never zeros.  0 or an errno: it cannot be told. */
int strata__os_boot_id(unsigned char out[OS_BOOT_ID]);
/* The number of this process, for people to read. */
int64_t strata__os_pid(void);

#endif /* STRATA_OS_FILE_H */
