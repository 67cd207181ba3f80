/* ttl.c - see ttl.h.
 *
 * Optimal probabilistic early expiration ("XFetch"; Vattani, Chierichetti, Lowenstein, VLDB 2015): a read refreshes if
 * now + load time * -ln(u) is past the end of freshness, u uniform in (0, 1].  That is for each read to draw, so a margin is stored
 * in which reads stop to think; before it the chance is one in 100 million, and nobody looks. */
#include "src/policy/ttl.h"

#include "src/policy/sliding.h"
#include "src/policy/zone.h"

enum { XFETCH_SPAN = 18 }; /* load times; exp(-18) = 1.5e-8 */

int strata__ttl_is_drawn(const strata_policy *resolved)
{
    return resolved->jitter_ms > 0 || resolved->xfetch == STRATA_ON || resolved->align_ms > 0 ||
           resolved->align != NULL;
}

int64_t strata__ttl_jitter(int64_t ttl_ms, int64_t jitter_ms, uint64_t random)
{
    int64_t sum;
    if (ttl_ms <= 0 || ttl_ms == STRATA_FOREVER || jitter_ms <= 0 || jitter_ms > INT64_MAX / 4)
        return ttl_ms;
    /* The remainder's bias is below one in 2^20 for the longest jitter that policies take. */
    int64_t off = (int64_t)(random % (2 * (uint64_t)jitter_ms + 1)) - jitter_ms;
    if (__builtin_add_overflow(ttl_ms, off, &sum) || sum == STRATA_FOREVER)
        return ttl_ms;
    return sum > 0 ? sum : 1;
}

static int64_t load_time(uint32_t load_ms) { return load_ms > 0 ? load_ms : 1; }

/* One part in a hundred of a time that may be as long as any. */
static int64_t share(int64_t ms, int32_t percent) { return ms / 100 * percent + ms % 100 * percent / 100; }

int64_t strata__ttl_early(const strata_policy *resolved, const strata_meta *meta)
{
    if (meta->fresh_ms <= 0 || meta->fresh_ms == STRATA_FOREVER)
        return resolved->refresh_ahead_ms > 0 ? resolved->refresh_ahead_ms : 0;
    if (resolved->xfetch == STRATA_ON) /* the draw puts it in: before it nobody knows what the load took */
        return 0;
    int64_t fixed = resolved->refresh_ahead_ms > 0 ? resolved->refresh_ahead_ms : 0;
    int64_t part = resolved->refresh_ahead_percent > 0 ? share(meta->fresh_ms, resolved->refresh_ahead_percent) : 0;
    return fixed > part ? fixed : part;
}

static int64_t xfetch_margin(const strata_meta *meta)
{
    int64_t margin = load_time(meta->load_ms) * XFETCH_SPAN;
    return margin < meta->fresh_ms ? margin : meta->fresh_ms;
}

/* From `now_ms` to what the application says; 0: it does not. */
static int64_t span_to_its_word(const strata_policy *resolved, strata_slice key, int64_t now_ms)
{
    int64_t end, ms;
    if (resolved->align == NULL || resolved->ttl_ms == STRATA_OFF)
        return 0;
    end = resolved->align(now_ms, key, resolved->align_ctx);
    if (end == 0 || end == STRATA_FOREVER)
        return end;
    if (end <= now_ms)
        return 1;
    return __builtin_sub_overflow(end, now_ms, &ms) ? STRATA_FOREVER : ms;
}

/* How long until the application's moment, or the next multiple; with jitter, up to so much before it.  0: neither is asked for. */
static int64_t aligned(const strata_policy *resolved, strata_slice key, uint64_t random, const strata_meta *meta)
{
    int64_t ms = span_to_its_word(resolved, key, meta->born_wall_ms);
    if (ms == STRATA_FOREVER)
        return ms;
    if (ms == 0 && resolved->align_ms > 0)
        ms = strata__zone_next(resolved->align_zone, meta->born_wall_ms, resolved->align_ms) - meta->born_wall_ms;
    if (ms == 0)
        return 0;
    if (resolved->jitter_ms > 0)
        ms -= (int64_t)(random % ((uint64_t)resolved->jitter_ms + 1));
    return ms > 0 ? ms : 1;
}

void strata__ttl_draw(const strata_policy *resolved, strata_slice key, int loaded, uint64_t random, strata_meta *meta)
{
    int64_t given = meta->fresh_ms;
    int64_t until = meta->negative ? 0 : aligned(resolved, key, random, meta);
    meta->fresh_ms = until > 0 ? until : strata__ttl_jitter(given, resolved->jitter_ms, random);
    /* A memory layer keeps a short list of the times to live that many entries share, and entries without another moment of their
     * own are told by it.  Numbers that hardly two have would fill it, so these have one: it is past. */
    if (meta->fresh_ms != given)
        meta->retry_at_ms = meta->born_ms;
    if (meta->negative)
        return;
    strata__slide_init(resolved, meta);
    meta->early_ms = strata__ttl_early(resolved, meta);
    if (resolved->xfetch == STRATA_ON && loaded && meta->fresh_ms != STRATA_FOREVER)
        meta->early_ms = xfetch_margin(meta);
}

/* -ln(u) for u = (n + 1) / 2^53, n the upper bits: without libm, exact to 1e-8. */
static double minus_ln(uint64_t random)
{
    uint64_t n = (random >> 11) + 1;
    int exponent = 63 - __builtin_clzll(n);
    double m = (double)n / (double)((uint64_t)1 << exponent); /* 1 <= m < 2 */
    double z = (m - 1) / (m + 1), z2 = z * z, sum = 0;
    for (int k = 15; k >= 1; k -= 2) /* ln m = 2 artanh z, z <= 1/3 */
        sum = sum * z2 + 1.0 / k;
    return (53 - exponent) * 0.69314718055994530942 - 2 * z * sum;
}

int strata__xfetch_due(uint32_t load_ms, int64_t left_ms, uint64_t random)
{
    return left_ms <= 0 || minus_ln(random) * (double)load_time(load_ms) >= (double)left_ms;
}
