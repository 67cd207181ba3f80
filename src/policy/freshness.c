/* freshness.c - the freshness machine: two tables and some saturating sums.
 *
 * An entry passes the deadlines in the order of the first table, and is in the state beside the first one that still
 * lies ahead; windows overlap, because each counts from the end of freshness.  What a reader does then is a cell of the
 * second table, state x situation.  There is no other decision about freshness anywhere in the library. */
#include "src/policy/freshness.h"

#include <stddef.h>
#include <string.h>

#include "src/base/err.h"
#include "src/policy/options.h"
#include "src/policy/sliding.h"
#include "src/policy/ttl.h"

enum { STATE_COUNT = 6 };

static const struct {
    size_t deadline; /* offset in struct deadlines */
    int state;       /* before it */
} state_table[] = {
    { offsetof(struct deadlines, early_at), STRATA_STATE_FRESH },
    { offsetof(struct deadlines, fresh_until), STRATA_STATE_EARLY },
    { offsetof(struct deadlines, stale_until), STRATA_STATE_STALE },
    { offsetof(struct deadlines, error_until), STRATA_STATE_ERROR_ONLY },
    { offsetof(struct deadlines, keep_until), STRATA_STATE_KEEP },
};

/* clang-format off */
static const unsigned char action_table[STATE_COUNT][SITUATION_COUNT] = {
    [STRATA_STATE_FRESH] = {
        [SITUATION_READ] = ACTION_SERVE,             [SITUATION_LOAD] = ACTION_SERVE,
        [SITUATION_THROTTLED] = ACTION_SERVE,        [SITUATION_FAILED] = ACTION_SERVE,
        [SITUATION_SOFT_TIMEOUT] = ACTION_SERVE,     [SITUATION_HARD_TIMEOUT] = ACTION_SERVE },
    [STRATA_STATE_EARLY] = {
        [SITUATION_READ] = ACTION_SERVE,             [SITUATION_LOAD] = ACTION_SERVE_AND_REFRESH,
        [SITUATION_THROTTLED] = ACTION_SERVE,        [SITUATION_FAILED] = ACTION_SERVE,
        [SITUATION_SOFT_TIMEOUT] = ACTION_SERVE,     [SITUATION_HARD_TIMEOUT] = ACTION_SERVE },
    [STRATA_STATE_STALE] = {
        [SITUATION_READ] = ACTION_STALE,             [SITUATION_LOAD] = ACTION_STALE_AND_REFRESH,
        [SITUATION_THROTTLED] = ACTION_STALE,        [SITUATION_FAILED] = ACTION_STALE,
        [SITUATION_SOFT_TIMEOUT] = ACTION_STALE,     [SITUATION_HARD_TIMEOUT] = ACTION_STALE },
    [STRATA_STATE_ERROR_ONLY] = {
        [SITUATION_READ] = ACTION_MISS,              [SITUATION_LOAD] = ACTION_LOAD,
        [SITUATION_THROTTLED] = ACTION_STALE,        [SITUATION_FAILED] = ACTION_STALE,
        [SITUATION_SOFT_TIMEOUT] = ACTION_STALE,     [SITUATION_HARD_TIMEOUT] = ACTION_STALE },
    [STRATA_STATE_KEEP] = {
        [SITUATION_READ] = ACTION_MISS,              [SITUATION_LOAD] = ACTION_LOAD,
        [SITUATION_THROTTLED] = ACTION_LOAD,         [SITUATION_FAILED] = ACTION_FAIL,
        [SITUATION_SOFT_TIMEOUT] = ACTION_WAIT,      [SITUATION_HARD_TIMEOUT] = ACTION_FAIL },
    [STRATA_STATE_GONE] = {
        [SITUATION_READ] = ACTION_MISS,              [SITUATION_LOAD] = ACTION_LOAD,
        [SITUATION_THROTTLED] = ACTION_LOAD,         [SITUATION_FAILED] = ACTION_FAIL,
        [SITUATION_SOFT_TIMEOUT] = ACTION_WAIT,      [SITUATION_HARD_TIMEOUT] = ACTION_FAIL },
};
/* clang-format on */

/* A duration of a policy or of stored meta: below zero means none. */
static int64_t at_least_zero(int64_t ms) { return ms > 0 ? ms : 0; }

/* moment + ms; never stays never, and what does not fit is never. */
static int64_t after(int64_t moment, int64_t ms)
{
    int64_t sum;
    ms = at_least_zero(ms);
    if (moment == INT64_MAX || ms == STRATA_FOREVER || __builtin_add_overflow(moment, ms, &sum))
        return INT64_MAX;
    return sum;
}

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

static int64_t early_moment(int64_t born, int64_t fresh_until, int64_t early_ms)
{
    int64_t moment;
    if (early_ms <= 0 || fresh_until == INT64_MAX)
        return fresh_until;
    if (early_ms == STRATA_FOREVER || __builtin_sub_overflow(fresh_until, early_ms, &moment))
        return born;
    return larger(moment, born);
}

/* retry_at_ms is told on the clock of born_ms: move it by as much as `born` differs (an entry of another life). */
static int64_t retry_moment(const strata_meta *meta, int64_t born)
{
    int64_t moment;
    if (meta->retry_at_ms == 0)
        return INT64_MIN;
    if (born == meta->born_ms)
        return meta->retry_at_ms;
    if (__builtin_sub_overflow(meta->retry_at_ms, meta->born_ms, &moment))
        return INT64_MIN;
    return after(born, moment);
}

void strata__deadlines(const strata_meta *meta, int64_t born, struct deadlines *out)
{
    out->fresh_until = after(born, meta->fresh_ms);
    out->early_at = early_moment(born, out->fresh_until, meta->early_ms);
    out->stale_until = after(out->fresh_until, meta->stale_ms);
    out->error_until = after(out->fresh_until, meta->error_ms);
    out->keep_until = after(out->fresh_until, meta->keep_ms);
    out->gone_at = larger(out->stale_until, larger(out->error_until, out->keep_until));
    out->retry_at = retry_moment(meta, born);
}

static int64_t window_to(int64_t window_until, int64_t fresh_until, int64_t until)
{
    int64_t end = window_until < until ? window_until : until;
    return end > fresh_until ? end - fresh_until : 0;
}

void strata__deadlines_cap(strata_meta *meta, int64_t born, int64_t until)
{
    struct deadlines d;
    strata__deadlines(meta, born, &d);
    if (d.gone_at <= until)
        return;
    int64_t fresh_until = d.fresh_until < until ? d.fresh_until : until, fresh_ms;
    if (__builtin_sub_overflow(fresh_until, born, &fresh_ms) || fresh_ms < 0)
        fresh_ms = 0;
    meta->fresh_ms = fresh_ms;
    meta->stale_ms = window_to(d.stale_until, fresh_until, until);
    meta->error_ms = window_to(d.error_until, fresh_until, until);
    meta->keep_ms = window_to(d.keep_until, fresh_until, until);
    if (meta->early_ms > 0)
        meta->early_ms = d.early_at < fresh_until ? fresh_until - d.early_at : 0;
}

int strata__is_fresh(const strata_meta *meta, int64_t born, int64_t now)
{
    int64_t until = after(born, meta->fresh_ms);
    return now < until || until == INT64_MAX;
}

int strata__freshness_state(const struct deadlines *d, int64_t now)
{
    for (size_t i = 0; i < sizeof state_table / sizeof state_table[0]; i++) {
        int64_t deadline;
        memcpy(&deadline, (const char *)d + state_table[i].deadline, sizeof deadline);
        if (now < deadline || deadline == INT64_MAX)
            return state_table[i].state;
    }
    return STRATA_STATE_GONE;
}

enum action strata__freshness_action(int state, enum situation situation)
{
    if (state < 0 || state >= STATE_COUNT || (unsigned)situation >= SITUATION_COUNT)
        STRATA_BUG("no such state or situation");
    return (enum action)action_table[state][situation];
}

/* Policies ------------------------------------------------------------------------------------------------------ */

/* Fields a caller's shorter (older) struct does not have inherit. */
static void known_part(strata_policy *out, const strata_policy *given)
{
    memset(out, 0, sizeof *out);
    if (given != NULL)
        memcpy(out, given, given->size < sizeof *out ? given->size : sizeof *out);
}

static int64_t first_of(int64_t call, int64_t base) { return call != 0 ? call : base; }

/* The same, where switched off is no time at all. */
static int64_t duration(int64_t call, int64_t base) { return at_least_zero(first_of(call, base)); }

static int32_t switched(int32_t call, int32_t base) { return call != 0 ? call : base; }

void strata__policy_resolve(strata_policy *out, const strata_policy *call, const strata_policy *base)
{
    strata_policy c, b;
    known_part(&c, call);
    if (base != NULL)
        known_part(&b, base);
    else
        strata__policy_defaults(&b);
    out->size = sizeof *out;
    out->ttl_ms = first_of(c.ttl_ms, b.ttl_ms);
    out->stale_while_revalidate_ms = duration(c.stale_while_revalidate_ms, b.stale_while_revalidate_ms);
    out->stale_if_error_ms = duration(c.stale_if_error_ms, b.stale_if_error_ms);
    out->keep_ms = duration(c.keep_ms, b.keep_ms);
    out->negative_ttl_ms = duration(c.negative_ttl_ms, b.negative_ttl_ms);
    out->refresh_ahead_ms = duration(c.refresh_ahead_ms, b.refresh_ahead_ms);
    out->soft_timeout_ms = duration(c.soft_timeout_ms, b.soft_timeout_ms);
    out->hard_timeout_ms = duration(c.hard_timeout_ms, b.hard_timeout_ms);
    out->refresh_timeout_ms = duration(c.refresh_timeout_ms, b.refresh_timeout_ms);
    out->retry_ms = duration(c.retry_ms, b.retry_ms);
    out->background_completion = switched(c.background_completion, b.background_completion);
    out->single_flight = switched(c.single_flight, b.single_flight);
    out->jitter_ms = duration(c.jitter_ms, b.jitter_ms);
    out->refresh_ahead_percent = (int32_t)duration(c.refresh_ahead_percent, b.refresh_ahead_percent);
    out->xfetch = switched(c.xfetch, b.xfetch);
    out->align_ms = c.align_ms == 0 && c.ttl_ms > 0 ? 0 : duration(c.align_ms, b.align_ms);
    out->uncacheable_ms = duration(c.uncacheable_ms, b.uncacheable_ms);
    for (size_t i = 0; i < sizeof out->layer_ttl_ms / sizeof out->layer_ttl_ms[0]; i++)
        out->layer_ttl_ms[i] = duration(c.layer_ttl_ms[i], b.layer_ttl_ms[i]);
    out->breaker_failures = (int32_t)duration(c.breaker_failures, b.breaker_failures);
    out->breaker_scope = switched(c.breaker_scope, b.breaker_scope);
    out->breaker_open_ms = first_of(c.breaker_open_ms, b.breaker_open_ms);
    out->breaker_name = c.breaker_name != NULL ? c.breaker_name : b.breaker_name;
    out->admit = switched(c.admit, b.admit);
    out->resident = switched(c.resident, b.resident);
    out->max_loads = (int32_t)duration(c.max_loads, b.max_loads);
    out->rate_loads = (int32_t)duration(c.rate_loads, b.rate_loads);
    out->rate_ms = first_of(c.rate_ms, b.rate_ms);
    out->limit_scope = switched(c.limit_scope, b.limit_scope);
    out->limit_overflow = switched(c.limit_overflow, b.limit_overflow);
    out->queue_ms = duration(c.queue_ms, b.queue_ms);
    out->max_waiting = (int32_t)duration(c.max_waiting, b.max_waiting);
    out->limit_name = c.limit_name != NULL ? c.limit_name : b.limit_name;
    out->sliding = switched(c.sliding, b.sliding);
    out->sliding_percent = switched(c.sliding_percent, b.sliding_percent);
    out->adaptive = switched(c.adaptive, b.adaptive);
    out->adaptive_hits = switched(c.adaptive_hits, b.adaptive_hits);
    out->adaptive_step_ms = duration(c.adaptive_step_ms, b.adaptive_step_ms);
    out->adaptive_max_ms = duration(c.adaptive_max_ms, b.adaptive_max_ms);
    out->write_behind_ms = duration(c.write_behind_ms, b.write_behind_ms);
    out->sliding_max_ms = duration(c.sliding_max_ms, b.sliding_max_ms);
    out->load_limit_ms = duration(c.load_limit_ms, b.load_limit_ms);
    out->late_result = switched(c.late_result, b.late_result);
    out->cost_us = (int32_t)duration(c.cost_us, b.cost_us);
    out->reserved = 0;
    out->align_zone = c.align_zone != NULL ? c.align_zone : b.align_zone;
    const strata_policy *aligns = c.align != NULL || c.align_ms != 0 || c.ttl_ms > 0 ? &c : &b;
    out->align = aligns->align;
    out->align_ctx = aligns->align_ctx;
}

void strata__policy_defaults(strata_policy *out)
{
    memset(out, 0, sizeof *out);
    strata__options_fill(&strata__policy_rows, out);
    out->size = sizeof *out;
}

int strata__policy_check(const strata_policy *policy, strata_error *err)
{
    strata_policy known;
    if (policy == NULL)
        return STRATA_OK;
    int rc = strata__options_check(&strata__policy_rows, policy, policy->size, &known, sizeof known, err);
    if (rc < 0 || known.hard_timeout_ms <= 0 || known.soft_timeout_ms == STRATA_FOREVER ||
        known.soft_timeout_ms <= known.hard_timeout_ms)
        return rc;
    return strata__fail(err, STRATA_EINVAL, "soft_timeout_ms",
                        "soft_timeout_ms=%lld is above hard_timeout_ms=%lld, and would "
                        "never pass: give less, or raise hard_timeout_ms",
                        (long long)known.soft_timeout_ms, (long long)known.hard_timeout_ms);
}

void strata__policy_to_meta(const strata_policy *resolved, int negative, strata_meta *meta)
{
    meta->negative = negative != 0;
    meta->fresh_ms = at_least_zero(negative ? resolved->negative_ttl_ms : resolved->ttl_ms);
    meta->stale_ms = negative ? 0 : at_least_zero(resolved->stale_while_revalidate_ms);
    meta->error_ms = negative ? 0 : at_least_zero(resolved->stale_if_error_ms);
    meta->keep_ms = negative ? 0 : at_least_zero(resolved->keep_ms);
    strata__slide_init(resolved, meta);
    if (resolved->cost_us > 0)
        meta->cost_us = (uint32_t)resolved->cost_us;
    meta->early_ms = negative ? 0 : strata__ttl_early(resolved, meta);
}
