/* strata/sys/allocator.h - where a cache takes its memory from.  Extenders' API: may change in a minor version. */
#ifndef STRATA_SYS_ALLOCATOR_H
#define STRATA_SYS_ALLOCATOR_H
#include "strata/base.h"
STRATA_BEGIN_DECLS

/**
 * Memory for everything but the pages of the memory layer, which are mapped from the system.
 * Threads: all three are called from any thread.  NULL means out of memory, and is survived.
 */
typedef struct strata_allocator {
    size_t size; /**< sizeof this struct */
    void *(*alloc)(size_t bytes, void *ctx);
    void *(*realloc)(void *old, size_t bytes, void *ctx); /**< old may be NULL */
    void (*free)(void *old, void *ctx);                   /**< old may be NULL */
    void *ctx;
} strata_allocator;

STRATA_END_DECLS
#endif /* STRATA_SYS_ALLOCATOR_H */
