/* plan.h - a load has ended, well or not: what is stored, and served. */
#ifndef STRATA_CORE_PLAN_H
#define STRATA_CORE_PLAN_H
#include "src/core/flight.h"

void strata__plan_load(struct flight *f, int64_t elapsed_ns);
void strata__plan_failure(struct flight *f);

/* What was found in a slower layer, in so much time.  Where nobody knows what a load of it would take, it is that. */
static inline void plan_found_in(struct flight *f, int64_t us)
{
    if (f->plan.is_backfill && f->plan.meta.cost_us == 0)
        f->plan.meta.cost_us = us < 1 ? 1 : us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

#endif /* STRATA_CORE_PLAN_H */
