/* fail_alloc.h - an allocator that counts what is out, and fails the n-th request. */
#ifndef STRATA_TESTS_FAIL_ALLOC_H
#define STRATA_TESTS_FAIL_ALLOC_H
#include <stdatomic.h>

#include "strata/sys/allocator.h"

struct fail_alloc {
    strata_allocator mem;
    _Atomic(long) live;     /* blocks that are out */
    _Atomic(long) requests; /* so far */
    _Atomic(long) fail_at;  /* this request fails; 0 none */
    _Atomic(int) failed;    /* it did */
};

/* The struct must stay where it is. */
void fail_alloc_init(struct fail_alloc *a, long fail_at);

#endif /* STRATA_TESTS_FAIL_ALLOC_H */
