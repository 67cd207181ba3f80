/* zone.h - a time zone: what its clocks show at a moment, and when they next show a multiple of a span.
 *
 * Up to its last listed change a zone follows a table, and after that a rule, as zoneinfo files have both.  A zone of a POSIX
 * rule has no table.  Pure: who reads the files is src/layer/zone_open.c. */
#ifndef STRATA_POLICY_ZONE_H
#define STRATA_POLICY_ZONE_H
#include <stddef.h>
#include <stdint.h>

struct strata_zone;

/* From this moment (Unix time, seconds) clocks are so many seconds ahead of UTC. */
struct zone_change {
    int64_t at_s;
    int64_t offset_s;
};

enum zone_day_kind { ZONE_DAY_MONTH, ZONE_DAY_JULIAN, ZONE_DAY_NUMBER };

/* When in a year clocks change: Mm.w.d, Jn (1 to 365, never February 29) or n (0 to 365). */
struct zone_day {
    enum zone_day_kind kind;
    int month, week, day;
    int64_t time_s; /* on the clock that counts until then; may lie outside the day */
};

struct zone_rule {
    int64_t standard_s; /* ahead of UTC */
    int64_t summer_s;
    int has_summer;
    struct zone_day begins, ends; /* summer time */
};

struct strata_zone {
    int64_t first_s; /* ahead of UTC before the first change */
    struct zone_change *changes;
    size_t count;
    int has_rule; /* after the last change; else that one's offset stays */
    struct zone_rule rule;
};

/* A POSIX rule: "CET-1CEST,M3.5.0,M10.5.0/3", "<+0330>-3:30".  `size` bytes.  0: it is none. */
int strata__zone_rule_read(const char *text, size_t size, struct zone_rule *out);
/* Seconds ahead of UTC at a moment. */
int64_t strata__zone_offset(const struct strata_zone *zone, int64_t at_s);
/* The first change after it; INT64_MAX: none.  What changes may be the name alone. */
int64_t strata__zone_change_after(const struct strata_zone *zone, int64_t at_s);
/* The first moment after `wall_ms` at which clocks show a multiple of `span_ms`, counted from the midnight that began
 * 1970-01-01, or are put forward past one.  zone NULL: UTC. */
int64_t strata__zone_next(const struct strata_zone *zone, int64_t wall_ms, int64_t span_ms);

#endif /* STRATA_POLICY_ZONE_H */
