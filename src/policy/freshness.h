/* freshness.h - the freshness machine: what an entry is at a moment, and what a reader should do about it.
 * Pure: time is an argument.  The states and the actions are tables in freshness.c. */
#ifndef STRATA_POLICY_FRESHNESS_H
#define STRATA_POLICY_FRESHNESS_H
#include <stdint.h>

#include "strata/events.h" /* STRATA_STATE_ */
#include "strata/policy.h"
#include "strata/sys/layer.h" /* strata_meta */

/* Absolute moments of one clock; INT64_MAX is never.  fresh <= stale, error, keep; early <= fresh. */
struct deadlines {
    int64_t early_at; /* refresh ahead from here */
    int64_t fresh_until;
    int64_t stale_until;
    int64_t error_until;
    int64_t keep_until;
    int64_t gone_at;  /* the latest of them: nobody needs the entry after it */
    int64_t retry_at; /* no new load before it */
};

/* A moment equal to a deadline is past it (predecessors agree, and so do we). */
enum situation {
    SITUATION_READ,         /* a plain get: no loader at hand */
    SITUATION_LOAD,         /* a get-or-load asks what to do first */
    SITUATION_THROTTLED,    /* the same, within retry_ms of a failed load */
    SITUATION_FAILED,       /* the load has failed */
    SITUATION_SOFT_TIMEOUT, /* the load takes longer than the soft timeout */
    SITUATION_HARD_TIMEOUT, /* ... than the hard timeout */
    SITUATION_COUNT
};

enum action {
    ACTION_SERVE,             /* STRATA_OK */
    ACTION_SERVE_AND_REFRESH, /* STRATA_OK, and one refresh in the background */
    ACTION_STALE,             /* STRATA_STALE */
    ACTION_STALE_AND_REFRESH, /* STRATA_STALE, and one refresh in the background */
    ACTION_LOAD,              /* load, and wait for it */
    ACTION_MISS,              /* nothing servable */
    ACTION_WAIT,              /* go on waiting for the load */
    ACTION_FAIL               /* the load's error, or STRATA_ETIMEDOUT */
};

/* Where an entry born at `born` (same clock as the result) stands by its durations. */
void strata__deadlines(const strata_meta *meta, int64_t born, struct deadlines *out);
/* Shorten the durations so that no deadline but retry_at is later than `until`.  An early refresh stays where it was, or goes. */
void strata__deadlines_cap(strata_meta *meta, int64_t born, int64_t until);
/* Is it fresh, early refresh or not?  Without the other deadlines. */
int strata__is_fresh(const strata_meta *meta, int64_t born, int64_t now);
/* STRATA_STATE_... */
int strata__freshness_state(const struct deadlines *d, int64_t now);
enum action strata__freshness_action(int state, enum situation situation);

/* Policies.  All fields of `out` resolved: for each the first non-zero of call, space and base; STRATA_OFF becomes 0
 * for durations and timeouts (ttl_ms: -1 stays, "do not store") and stays -1 for switches. */
void strata__policy_resolve(strata_policy *out, const strata_policy *call, const strata_policy *base);
/* The defaults, all fields resolved. */
void strata__policy_defaults(strata_policy *out);
/* STRATA_OK or STRATA_EINVAL with the field's name.  NULL policy is fine. */
int strata__policy_check(const strata_policy *policy, strata_error *err);
/* Write a resolved policy's durations into meta (fresh/stale/error/keep/early; negative: negative_ttl_ms, no windows).  What is
 * decided for each entry anew comes on top: strata__ttl_draw(). */
void strata__policy_to_meta(const strata_policy *resolved, int negative, strata_meta *meta);

#endif /* STRATA_POLICY_FRESHNESS_H */
