/* expire.c - an entry whose freshness is over from now on. */
#include "src/core/core_impl.h"

static int64_t window_from_birth(int64_t window_ms, int64_t until, const strata_meta *meta, int64_t fresh_until,
                                 int64_t now)
{
    if (window_ms <= 0)
        return 0;
    int64_t age = now > meta->born_ms ? now - meta->born_ms : 0;
    if (until == INT64_MAX) /* a window without begin begins now */
        return fresh_until != INT64_MAX || window_ms > STRATA_FOREVER - age ? STRATA_FOREVER : age + window_ms;
    return until > now ? until - meta->born_ms : 0;
}

/* Freshness has ended; the windows keep their ends.  They count from birth then: "fresh until now" would be told to another
 * node by its age, which each estimates by its own clock, and what was expired would be fresh there for some milliseconds yet.
 * What has no window left is removed. */
uint32_t strata__meta_expire(strata_meta *meta, int64_t now)
{
    struct deadlines d;
    strata__deadlines(meta, meta->born_ms, &d);
    if (meta->negative || d.gone_at <= now)
        return STRATA_OP_REMOVE;
    if (d.fresh_until > now) {
        meta->stale_ms = window_from_birth(meta->stale_ms, d.stale_until, meta, d.fresh_until, now);
        meta->error_ms = window_from_birth(meta->error_ms, d.error_until, meta, d.fresh_until, now);
        meta->keep_ms = window_from_birth(meta->keep_ms, d.keep_until, meta, d.fresh_until, now);
        meta->fresh_ms = 0;
        meta->early_ms = 0;
        meta->retry_at_ms = 0;
    }
    return meta->stale_ms > 0 || meta->error_ms > 0 || meta->keep_ms > 0 ? STRATA_OP_PUT : STRATA_OP_REMOVE;
}
