/* os_memory.c - see os_memory.h. */
#include "src/os/os_memory.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "src/os/os_fault.h"
#include "src/os/os_file.h"

static _Atomic(const char *) text_root;

void strata__os_text_root_set(const char *dir) { atomic_store(&text_root, dir); }

int strata__os_memory_total(uint64_t *out)
{
    int failed = strata__os_fault("sysconf");
    if (failed != 0)
        return failed;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages <= 0 || page <= 0)
        return ENOTSUP;
    *out = (uint64_t)pages * (uint64_t)page;
    return 0;
}

int strata__os_text_read(const char *path, char *out, size_t room, size_t *out_size)
{
    char whole[2 * PATH_MAX];
    const char *root = atomic_load(&text_root);
    int n = snprintf(whole, sizeof whole, "%s%s", root != NULL ? root : "", path);
    if (n < 0 || (size_t)n >= sizeof whole)
        return ENAMETOOLONG;
    int fd, failed = strata__os_path_open(whole, &fd);
    if (failed != 0)
        return failed;
    failed = strata__os_file_read(fd, out, room, 0, out_size);
    char more;
    size_t beyond = 0;
    if (failed == 0 && *out_size == room)
        failed = strata__os_file_read(fd, &more, 1, room, &beyond);
    strata__os_file_close(fd);
    return failed != 0 ? failed : beyond != 0 ? EFBIG : 0;
}
