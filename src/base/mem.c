/* mem.c - see mem.h. */
#include "src/base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void *libc_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    return malloc(bytes);
}

static void *libc_realloc(void *old, size_t bytes, void *ctx)
{
    (void)ctx;
    return realloc(old, bytes);
}

static void libc_free(void *old, void *ctx)
{
    (void)ctx;
    free(old);
}

const strata_allocator strata__malloc = { sizeof(strata_allocator), libc_alloc, libc_realloc, libc_free, NULL };

static const strata_allocator *or_malloc(const strata_allocator *mem) { return mem != NULL ? mem : &strata__malloc; }

void *strata__alloc(const strata_allocator *mem, size_t bytes)
{
    mem = or_malloc(mem);
    return mem->alloc(bytes != 0 ? bytes : 1, mem->ctx);
}

void *strata__alloc_zero(const strata_allocator *mem, size_t bytes)
{
    void *p = strata__alloc(mem, bytes);
    if (p != NULL)
        memset(p, 0, bytes);
    return p;
}

void *strata__alloc_array(const strata_allocator *mem, size_t count, size_t bytes)
{
    if (bytes != 0 && count > SIZE_MAX / bytes)
        return NULL;
    return strata__alloc_zero(mem, count * bytes);
}

void *strata__realloc_array(const strata_allocator *mem, void *old, size_t count, size_t bytes)
{
    if (bytes != 0 && count > SIZE_MAX / bytes)
        return NULL;
    mem = or_malloc(mem);
    return mem->realloc(old, count * bytes != 0 ? count * bytes : 1, mem->ctx);
}

char *strata__strdup(const strata_allocator *mem, const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = strata__alloc(mem, n);
    if (copy != NULL)
        memcpy(copy, text, n);
    return copy;
}

void strata__free(const strata_allocator *mem, void *old)
{
    mem = or_malloc(mem);
    if (old != NULL)
        mem->free(old, mem->ctx);
}
