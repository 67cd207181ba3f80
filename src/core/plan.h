/* plan.h - a load has ended, well or not: what is stored, and served. */
#ifndef STRATA_CORE_PLAN_H
#define STRATA_CORE_PLAN_H
#include "src/core/flight.h"

void strata__plan_load(struct flight *f, int64_t elapsed_ns);
void strata__plan_failure(struct flight *f);

#endif /* STRATA_CORE_PLAN_H */
