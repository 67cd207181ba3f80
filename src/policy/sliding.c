/* sliding.c - see sliding.h.
 *
 * An entry's birth stays: bans and clears are compared with it.  What a hit moves is the end of freshness, to slide_ms from
 * now, and with it the windows that count from there.  It does so only where that moves it by slide_step_ms or more, so that how
 * often an entry is written does not depend on how often it is read. */
#include "src/policy/sliding.h"

void strata__slide_init(const strata_policy *resolved, strata_meta *meta)
{
    meta->slide_ms = meta->slide_step_ms = meta->slide_max_ms = 0;
    if (resolved->sliding != STRATA_ON || meta->negative || resolved->align_ms > 0 || resolved->align != NULL ||
        meta->fresh_ms <= 0 || meta->fresh_ms == STRATA_FOREVER)
        return;
    int64_t percent = resolved->sliding_percent > 0 ? resolved->sliding_percent : 10;
    int64_t step = meta->fresh_ms / 100 * percent + meta->fresh_ms % 100 * percent / 100;
    meta->slide_ms = meta->fresh_ms;
    meta->slide_step_ms = step > 0 ? step : 1;
    meta->slide_max_ms = resolved->sliding_max_ms > 0 ? resolved->sliding_max_ms : STRATA_FOREVER;
    if (meta->fresh_ms > meta->slide_max_ms)
        meta->fresh_ms = meta->slide_max_ms;
}

static int64_t plus(int64_t a, int64_t b)
{
    int64_t sum;
    return b == STRATA_FOREVER || __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

int64_t strata__slide_due(const strata_meta *meta, int64_t born)
{
    if (meta->slide_ms <= 0 || meta->slide_step_ms <= 0 || meta->negative || meta->fresh_ms <= 0 ||
        meta->fresh_ms >= meta->slide_max_ms)
        return INT64_MAX;
    int64_t end = plus(born, meta->fresh_ms), due;
    if (end == INT64_MAX)
        return INT64_MAX;
    int64_t step = meta->slide_step_ms < meta->slide_ms ? meta->slide_step_ms : meta->slide_ms;
    if (__builtin_sub_overflow(end, meta->slide_ms - step, &due)) /* a stranger's numbers */
        return INT64_MAX;
    return due;
}

int strata__slide(strata_meta *meta, int64_t born, int64_t now)
{
    int64_t end = plus(born, meta->fresh_ms), age, fresh_ms;
    if (now < strata__slide_due(meta, born) || now >= end || __builtin_sub_overflow(now, born, &age))
        return 0;
    if (meta->slide_ms == STRATA_FOREVER || __builtin_add_overflow(age, meta->slide_ms, &fresh_ms) ||
        fresh_ms > meta->slide_max_ms)
        fresh_ms = meta->slide_max_ms;
    if (fresh_ms <= meta->fresh_ms || plus(born, fresh_ms) == INT64_MAX)
        return 0;
    meta->fresh_ms = fresh_ms;
    return 1;
}

void strata__slide_cap(strata_meta *meta, int64_t most_ms)
{
    if (most_ms <= 0 || meta->slide_ms <= most_ms)
        return;
    double part = (double)meta->slide_step_ms / (double)meta->slide_ms;
    int64_t step = (int64_t)((double)most_ms * (part < 1 ? part : 1));
    meta->slide_ms = most_ms;
    meta->slide_step_ms = step < 1 ? 1 : step < most_ms ? step : most_ms;
}
