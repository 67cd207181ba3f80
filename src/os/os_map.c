/* os_map.c - see os_map.h.
 *
 * Reserving maps without access and without swap accounting, so that a budget of many gigabytes costs nothing until it
 * is used, also where the system does not overcommit.  mmap aligns to its own page alone: we ask for one alignment more
 * and cut off both ends. */
#include "src/os/os_map.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/base/err.h"
#include "src/os/os_fault.h"

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0
#endif

size_t strata__os_page_size(void)
{
    long size = sysconf(_SC_PAGESIZE);
    return size > 0 ? (size_t)size : 4096;
}

static size_t round_up(size_t bytes) { return (bytes + OS_MAP_ALIGN - 1) & ~(size_t)(OS_MAP_ALIGN - 1); }

int strata__os_map_reserve(void **out, size_t bytes)
{
    *out = NULL;
    if (bytes == 0 || bytes > SIZE_MAX - 2 * (size_t)OS_MAP_ALIGN)
        return EINVAL;
    int failed = strata__os_fault("mmap");
    if (failed != 0)
        return failed;
    size_t size = round_up(bytes);
    size_t asked = size + OS_MAP_ALIGN;
    char *got = mmap(NULL, asked, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (got == MAP_FAILED)
        return errno;
    size_t head = (OS_MAP_ALIGN - ((uintptr_t)got & (OS_MAP_ALIGN - 1))) & (OS_MAP_ALIGN - 1);
    size_t tail = asked - head - size;
    /* Cutting fails only where mappings run out; a piece that stays reserved then does no harm. */
    if (head != 0)
        (void)munmap(got, head);
    if (tail != 0)
        (void)munmap(got + head + size, tail);
    *out = got + head;
    return 0;
}

int strata__os_map_commit(void *at, size_t bytes, int huge)
{
    int failed = strata__os_fault("mprotect");
    if (failed != 0)
        return failed;
    if (mprotect(at, bytes, PROT_READ | PROT_WRITE) != 0)
        return errno;
#if defined(MADV_HUGEPAGE)
    /* A kernel without them says EINVAL, and small pages do as well. */
    if (huge && strata__os_fault("madvise") == 0)
        (void)madvise(at, bytes, MADV_HUGEPAGE);
#else
    (void)huge;
#endif
    return 0;
}

void strata__os_map_decommit(void *at, size_t bytes)
{
    /* Drop before protecting: what is protected but not dropped would still be charged, and would come back as it was. */
    (void)madvise(at, bytes, MADV_DONTNEED);
    (void)mprotect(at, bytes, PROT_NONE);
}

void strata__os_map_decommit_huge(void *at, size_t bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    if (strata__os_fault("mmap") != 0 || mmap(at, bytes, PROT_NONE, flags, -1, 0) == MAP_FAILED)
        strata__os_map_decommit(at, bytes);
}

void strata__os_map_release(void *base, size_t bytes)
{
    if (base != NULL && munmap(base, round_up(bytes)) != 0)
        STRATA_BUG("a range was released that was not reserved");
}
