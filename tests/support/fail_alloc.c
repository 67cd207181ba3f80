/* fail_alloc.c - see fail_alloc.h. */
#include "tests/support/fail_alloc.h"

#include <stdlib.h>
#include <string.h>

static int fails(struct fail_alloc *a)
{
    if (atomic_fetch_add(&a->requests, 1) + 1 != atomic_load(&a->fail_at))
        return 0;
    atomic_store(&a->failed, 1);
    return 1;
}

static void *take(size_t bytes, void *ctx)
{
    struct fail_alloc *a = ctx;
    void *p = fails(a) ? NULL : malloc(bytes);
    if (p != NULL)
        atomic_fetch_add(&a->live, 1);
    return p;
}

static void *resize(void *old, size_t bytes, void *ctx)
{
    struct fail_alloc *a = ctx;
    void *p = fails(a) ? NULL : realloc(old, bytes);
    if (p != NULL && old == NULL)
        atomic_fetch_add(&a->live, 1);
    return p;
}

static void give_back(void *old, void *ctx)
{
    struct fail_alloc *a = ctx;
    if (old != NULL)
        atomic_fetch_sub(&a->live, 1);
    free(old);
}

void fail_alloc_init(struct fail_alloc *a, long fail_at)
{
    memset(a, 0, sizeof *a);
    a->mem = (strata_allocator){ STRATA_SIZED(strata_allocator), .alloc = take, .realloc = resize, .free = give_back,
                                 .ctx = a };
    atomic_store(&a->fail_at, fail_at);
}
