/* mem.h - memory through a cache's allocator.  Every allocation of the library goes through here. */
#ifndef STRATA_BASE_MEM_H
#define STRATA_BASE_MEM_H
#include <stddef.h>

#include "strata/sys/allocator.h"

/* malloc and friends: what NULL means in strata_options. */
extern const strata_allocator strata__malloc;

/* `mem` may be NULL: malloc. */
void *strata__alloc(const strata_allocator *mem, size_t bytes);
void *strata__alloc_zero(const strata_allocator *mem, size_t bytes);
/* count * bytes, NULL on overflow; zeroed. */
void *strata__alloc_array(const strata_allocator *mem, size_t count, size_t bytes);
void *strata__realloc_array(const strata_allocator *mem, void *old, size_t count, size_t bytes);
char *strata__strdup(const strata_allocator *mem, const char *text);
void strata__free(const strata_allocator *mem, void *old);

/* 1: blocks that come free may be kept for the next who wants one.  0: a sanitizer would believe those in use, and hide who writes to
 * them meanwhile. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define MEM_KEEPS 0
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEM_KEEPS 0
#endif
#ifndef MEM_KEEPS
#define MEM_KEEPS 1
#endif

#endif /* STRATA_BASE_MEM_H */
