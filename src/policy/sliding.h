/* sliding.h - entries that stay fresh for as long as they are read: when a hit extends one, and how far.  Pure. */
#ifndef STRATA_POLICY_SLIDING_H
#define STRATA_POLICY_SLIDING_H
#include <stdint.h>

#include "strata/policy.h"
#include "strata/sys/layer.h" /* strata_meta */

/* What a resolved policy makes of an entry that has all its other durations: for how long a hit makes it fresh, how much later than
 * before that has to be at least, and where it ends.  None for what is "absent", for ever fresh, or aligned. */
void strata__slide_init(const strata_policy *resolved, strata_meta *meta);
/* From when on a hit extends it; INT64_MAX: none does.  `born` is told on the clock of the result. */
int64_t strata__slide_due(const strata_meta *meta, int64_t born);
/* A hit at `now`: 1: it is fresh for longer from now on; 0: as it was. */
int strata__slide(strata_meta *meta, int64_t born, int64_t now);
/* A layer holds it for no longer than `most_ms` from a put: nor do its hits make it. */
void strata__slide_cap(strata_meta *meta, int64_t most_ms);

#endif /* STRATA_POLICY_SLIDING_H */
