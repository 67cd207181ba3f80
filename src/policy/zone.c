/* zone.c - see zone.h.  Days are counted from 1970-01-01 in the proleptic Gregorian calendar, as POSIX does. */
#include "src/policy/zone.h"

#include "strata/zone.h"

enum { DAY_S = 86400, HOUR_S = 3600 };

/* Arithmetic --------------------------------------------------------------------------------------------------- */

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
static int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }

static int is_leap(int64_t year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

/* Days from 1970-01-01 to January 1 of that year. */
static int64_t day_of_year(int64_t year)
{
    int64_t y = year - 1;
    return 365 * (year - 1970) + floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400) - 477;
}

static int64_t year_of(int64_t at_s)
{
    int64_t day = floor_div(at_s, DAY_S), year = 1970 + floor_div(day, day < 0 ? 365 : 366);
    while (day_of_year(year + 1) <= day) /* not many, for dates near ours */
        year++;
    return year;
}

static const int days_before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365 };

static int64_t first_of_month(int64_t year, int month) /* 1 to 13 */
{
    return day_of_year(year) + days_before[month - 1] + (month > 2 && is_leap(year));
}

/* Rules -------------------------------------------------------------------------------------------------------- */

/* As the clock shows it, in seconds. */
static int64_t moment_in(int64_t year, const struct zone_day *d)
{
    int64_t day = day_of_year(year) + d->day;
    if (d->kind == ZONE_DAY_JULIAN) {
        day += (is_leap(year) && d->day > 59) - 1;
    } else if (d->kind == ZONE_DAY_MONTH) {
        int64_t first = first_of_month(year, d->month), end = first_of_month(year, d->month + 1);
        int64_t weekday = floor_mod(first + 4, 7); /* 1970-01-01 was a Thursday */
        day = first + floor_mod(d->day - weekday, 7) + 7 * (d->week - 1);
        if (day >= end)
            day -= 7;
    }
    return day * DAY_S + d->time_s;
}

static int64_t rule_begins(const struct zone_rule *r, int64_t year)
{
    return moment_in(year, &r->begins) - r->standard_s;
}
static int64_t rule_ends(const struct zone_rule *r, int64_t year) { return moment_in(year, &r->ends) - r->summer_s; }

static int64_t rule_offset(const struct zone_rule *r, int64_t at_s)
{
    if (!r->has_summer)
        return r->standard_s;
    int64_t year = year_of(at_s + r->standard_s);
    int64_t begins = rule_begins(r, year), ends = rule_ends(r, year);
    int summer = begins < ends ? at_s >= begins && at_s < ends : at_s >= begins || at_s < ends;
    return summer ? r->summer_s : r->standard_s;
}

static int64_t rule_change_after(const struct zone_rule *r, int64_t at_s)
{
    int64_t best = INT64_MAX, year = year_of(at_s);
    for (int64_t y = year - 1; r->has_summer && y <= year + 1; y++) {
        int64_t moments[2] = { rule_begins(r, y), rule_ends(r, y) };
        for (int i = 0; i < 2; i++)
            if (moments[i] > at_s && moments[i] < best)
                best = moments[i];
    }
    return best;
}

/* Reading one -------------------------------------------------------------------------------------------------- */

struct text {
    const char *at, *end;
};

static int peek(const struct text *t) { return t->at < t->end ? (unsigned char)*t->at : 0; }

static int skip(struct text *t, char c)
{
    if (peek(t) != (unsigned char)c)
        return 0;
    t->at++;
    return 1;
}

static int is_letter(int c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static int is_digit(int c) { return c >= '0' && c <= '9'; }

/* "CET", or "<+03>". */
static int read_name(struct text *t)
{
    int quoted = skip(t, '<');
    const char *from = t->at;
    while (is_letter(peek(t)) || (quoted && (is_digit(peek(t)) || peek(t) == '+' || peek(t) == '-')))
        t->at++;
    return t->at - from >= 3 && (!quoted || skip(t, '>'));
}

static int read_number(struct text *t, int least, int most, int *out)
{
    int n = 0, digits = 0;
    for (; is_digit(peek(t)) && digits < 4; digits++)
        n = n * 10 + (*t->at++ - '0');
    *out = n;
    return digits > 0 && n >= least && n <= most;
}

/* [+-]hh[:mm[:ss]] */
static int read_time(struct text *t, int most_hours, int64_t *out)
{
    int minus = skip(t, '-'), hours, minutes = 0, seconds = 0;
    if (!minus)
        (void)skip(t, '+');
    int good = read_number(t, 0, most_hours, &hours);
    if (good && skip(t, ':')) {
        good = read_number(t, 0, 59, &minutes);
        if (good && skip(t, ':'))
            good = read_number(t, 0, 59, &seconds);
    }
    *out = ((int64_t)hours * HOUR_S + minutes * 60 + seconds) * (minus ? -1 : 1);
    return good;
}

static int read_day(struct text *t, struct zone_day *out)
{
    int good;
    *out = (struct zone_day){ .time_s = 2 * HOUR_S };
    if (skip(t, 'M')) {
        out->kind = ZONE_DAY_MONTH;
        good = read_number(t, 1, 12, &out->month) && skip(t, '.') && read_number(t, 1, 5, &out->week) && skip(t, '.') &&
               read_number(t, 0, 6, &out->day);
    } else if (skip(t, 'J')) {
        out->kind = ZONE_DAY_JULIAN;
        good = read_number(t, 1, 365, &out->day);
    } else {
        out->kind = ZONE_DAY_NUMBER;
        good = read_number(t, 0, 365, &out->day);
    }
    if (good && skip(t, '/'))
        good = read_time(t, 167, &out->time_s);
    return good;
}

int strata__zone_rule_read(const char *text, size_t size, struct zone_rule *out)
{
    struct text t = { text, text + size };
    int64_t west;
    *out = (struct zone_rule){ 0 };
    if (!read_name(&t) || !read_time(&t, 24, &west))
        return 0;
    out->standard_s = -west;
    if (t.at == t.end)
        return 1;
    out->has_summer = 1;
    out->summer_s = out->standard_s + HOUR_S;
    if (!read_name(&t))
        return 0;
    if (peek(&t) != ',') {
        if (!read_time(&t, 24, &west))
            return 0;
        out->summer_s = -west;
    }
    /* Without dates each system has some of its own: they are to be said. */
    return skip(&t, ',') && read_day(&t, &out->begins) && skip(&t, ',') && read_day(&t, &out->ends) && t.at == t.end;
}

/* Zones -------------------------------------------------------------------------------------------------------- */

/* How many changes have come by then. */
static size_t changes_until(const struct strata_zone *zone, int64_t at_s)
{
    size_t low = 0, high = zone->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->changes[middle].at_s <= at_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t strata__zone_offset(const struct strata_zone *zone, int64_t at_s)
{
    size_t n = changes_until(zone, at_s);
    if (n == zone->count && zone->has_rule)
        return rule_offset(&zone->rule, at_s);
    return n > 0 ? zone->changes[n - 1].offset_s : zone->first_s;
}

int64_t strata__zone_change_after(const struct strata_zone *zone, int64_t at_s)
{
    size_t n = changes_until(zone, at_s);
    if (n < zone->count)
        return zone->changes[n].at_s;
    return zone->has_rule ? rule_change_after(&zone->rule, at_s) : INT64_MAX;
}

/* Clocks stand at `before` when they are put to `after`.  Do they then show a multiple, or pass one? */
static int meets_multiple(int64_t before, int64_t after, int64_t span)
{
    if (after >= before)
        return floor_div(after, span) > floor_div(before - 1, span);
    return floor_mod(after, span) == 0;
}

int64_t strata__zone_next(const struct strata_zone *zone, int64_t wall_ms, int64_t span_ms)
{
    /* Nobody's clock is there; sums of ours would not hold. */
    const int64_t most = INT64_C(1) << 50;
    int64_t now = wall_ms < -most ? -most : wall_ms > most ? most : wall_ms;
    if (span_ms <= 0 || span_ms > most)
        return INT64_MAX;
    if (zone == NULL)
        return now + span_ms - floor_mod(now, span_ms);
    for (;;) {
        int64_t second = floor_div(now, 1000), offset_ms = strata__zone_offset(zone, second) * 1000;
        int64_t change_s = strata__zone_change_after(zone, second);
        int64_t next = now + span_ms - floor_mod(now + offset_ms, span_ms);
        if (change_s > next / 1000 + 1 || change_s * 1000 > next)
            return next;
        now = change_s * 1000;
        if (meets_multiple(now + offset_ms, now + strata__zone_offset(zone, change_s) * 1000, span_ms))
            return now;
    }
}
