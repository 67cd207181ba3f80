/* visit.h - the visitors of the shop: the recorded requests, or the first of them, by several threads through a cache. */
#ifndef STRATA_DEMO_VISIT_H
#define STRATA_DEMO_VISIT_H
#include <stdatomic.h>
#include <stdint.h>

#include "cli/trace.h"
#include "demo/demo.h"

enum { VISITORS = 8 };

/* All zero but demo, cache and limit. */
struct visit {
    const struct demo *demo;
    strata *cache;
    uint64_t limit; /* requests in all, rounded up to blocks of 16; 0: the whole trace */
    struct trace *trace;
    _Atomic(uint64_t) begun;
    _Atomic(uint64_t) served;
    _Atomic(uint64_t) failed;
    _Atomic(uint64_t) wrong; /* pages of another product */
    _Atomic(int) running;    /* threads */
};

/* From the first request of the trace on.  *out_seconds is what it took. */
int visit(struct visit *v, double *out_seconds, strata_error *err);

#endif /* STRATA_DEMO_VISIT_H */
