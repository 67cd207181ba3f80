/* memory_limit.h - what a share of the memory is a share of, and where the kernel says how short memory is. */
#ifndef STRATA_LAYER_MEMORY_LIMIT_H
#define STRATA_LAYER_MEMORY_LIMIT_H
#include <stddef.h>
#include <stdint.h>

#include "strata/sys/allocator.h"

enum { GROUP_ROOM = 1024 };

/* The control group of this process, as directories. */
struct memory_group {
    int version;          /* 1, 2; 0: there is none that limits memory, or it can't be seen from here */
    size_t top;           /* so much of `dir` is the place where the hierarchy is mounted */
    char dir[GROUP_ROOM]; /* its own */
};

/* STRATA_OK, also where there is none; STRATA_ENOMEM. */
int strata__memory_group(struct memory_group *out, const strata_allocator *mem);
/* The parent's directory, in `dir`.  0: that was the topmost. */
int strata__memory_group_up(struct memory_group *group);
/* A number in a file of the group.  0, -1: there is no such file, or it says something else. */
int strata__memory_group_number(const struct memory_group *group, const char *file, uint64_t *out);

/* The least limit of the group and those above it, or the machine's memory where that is less.  *out_is_group: which of these.
 * STRATA_OK, STRATA_ENOMEM, STRATA_EUNSUPPORTED. */
int strata__memory_limit(const strata_allocator *mem, uint64_t *out, int *out_is_group);

#endif /* STRATA_LAYER_MEMORY_LIMIT_H */
