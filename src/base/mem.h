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

#endif /* STRATA_BASE_MEM_H */
