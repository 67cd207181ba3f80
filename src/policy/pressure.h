/* pressure.h - how much of its budget a cache in memory takes while the machine is short of memory.
 *
 * The kernel counts for how long tasks stood still for want of memory (PSI).  Where that was a tenth of the time since the last look
 * for some, or a fiftieth for all, or the control group has reached its memory.high, memory is short: an eighth of what is left
 * is given up, at most once a second, so that the next look shows what it did.  A floor is never passed.  After ten seconds without
 * any of it a fortieth of the whole comes back every two seconds: slowly, for what was given up is needed by others, and
 * growing into them again is how a cache swings.  Between the two nothing changes.
 *
 * Pure: time and samples are arguments. */
#ifndef STRATA_POLICY_PRESSURE_H
#define STRATA_POLICY_PRESSURE_H
#include <stdint.h>

enum {
    PRESSURE_WHOLE = 1000,  /* shares are in thousandths */
    PRESSURE_LOOK_MS = 200, /* what is told sooner after the last one is added to the next */
    PRESSURE_SHRINK_EVERY_MS = 1000,
    PRESSURE_CALM_MS = 10000, /* so long nothing is short before it grows */
    PRESSURE_GROW_EVERY_MS = 2000,
    PRESSURE_GROW_BY = PRESSURE_WHOLE / 40
};

struct pressure_sample {
    int64_t now_ms;
    uint64_t some_us, full_us; /* stood still, since some beginning */
    uint64_t current, high;    /* bytes of the control group; high UINT64_MAX: no such bound */
};

enum pressure_move { PRESSURE_HOLD, PRESSURE_SHRINK, PRESSURE_GROW };

struct pressure {
    uint32_t share;            /* of the budget, now */
    uint32_t floor;            /* at least 1 */
    int started;               /* there was a sample */
    uint64_t some_us, full_us; /* of the last */
    int64_t looked_ms;         /* when it was */
    int64_t shrunk_ms;         /* the last time; INT64_MIN: never */
    int64_t calm_ms;           /* nothing was short since */
    int64_t grew_ms;           /* the last time, or when it was calm long enough */
    uint32_t some, full;       /* what the last look found, in thousandths of the time */
    int over_high;             /* it found the group at its bound */
};

/* Starts with the whole budget.  `floor` in thousandths, 1 to PRESSURE_WHOLE. */
void strata__pressure_init(struct pressure *p, uint32_t floor);
/* What a look has found; p->share is what is to be had from now on. */
enum pressure_move strata__pressure_tell(struct pressure *p, const struct pressure_sample *s);
/* `share` thousandths of `bytes`. */
uint64_t strata__pressure_part(uint64_t bytes, uint32_t share);

#endif /* STRATA_POLICY_PRESSURE_H */
