/* test_zone.c - time zones: every change of some years against the C library, and the next multiple against a walk by the minute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "src/base/hash.h"
#include "src/policy/ttl.h"
#include "src/policy/freshness.h"
#include "src/policy/zone.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

enum { MINUTE = 60000, HOUR = 3600000, DAY = 86400000 };

/* North and south, halves of hours, a day number, no summer, summer that is behind, changes at midnight, before it and days off. */
static const char *const rules[] = {
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "EST5EDT,M3.2.0,M11.1.0",
    "AEST-10AEDT,M10.1.0,M4.1.0/3",
    "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
    "IST-5:30",
    "<+0545>-5:45",
    "IST-1GMT0,M10.5.0,M3.5.0/1",
    "CST5CDT,M3.2.0/0,M11.1.0/1",
    "<-03>3<-02>,M3.5.0/-1,M10.5.0/0",
    "AAA3BBB,J60,J300",
    "AAA3BBB,59/0,299/5",
    "AAA-3BBB,M3.4.4/50,M9.4.4/26",
    "XXX0YYY,M2.5.0/24,M8.5.6/24",
    "UTC0",
};

static struct strata_zone zone_of(const char *rule)
{
    struct strata_zone z = { .has_rule = 1 };
    if (!strata__zone_rule_read(rule, strlen(rule), &z.rule))
        fail_msg("%s is not read", rule);
    return z;
}

static int64_t libc_offset(int64_t at_s)
{
    time_t t = (time_t)at_s;
    struct tm tm;
    assert_non_null(localtime_r(&t, &tm));
    return tm.tm_gmtoff;
}

/* Around each change that we know, and at moments between, clocks show what libc says. */
static void test_offsets_are_libc_s(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rules); i++) {
        struct strata_zone z = zone_of(rules[i]);
        assert_int_equal(setenv("TZ", rules[i], 1), 0);
        tzset();
        for (int64_t at = 946684800; at < 2524608000; at += 5 * 3600 + 1234) /* 2000 to 2050 */
            if (strata__zone_offset(&z, at) != libc_offset(at))
                fail_msg("%s at %lld: %lld, not %lld", rules[i], (long long)at, (long long)strata__zone_offset(&z, at),
                         (long long)libc_offset(at));
        int changes = 0;
        for (int64_t at = 946684800; z.rule.has_summer && at < 2524608000; changes++) {
            at = strata__zone_change_after(&z, at);
            for (int64_t near = at - 1; near <= at + 1; near++)
                assert_int_equal(strata__zone_offset(&z, near), libc_offset(near));
        }
        assert_true(z.rule.has_summer ? changes >= 100 : strata__zone_change_after(&z, 0) == INT64_MAX);
    }
    unsetenv("TZ");
    tzset();
}

static int64_t shown(const struct strata_zone *z, int64_t ms) { return ms + strata__zone_offset(z, ms / 1000) * 1000; }

static int64_t bucket(int64_t shown_ms, int64_t span) { return (shown_ms - (shown_ms % span + span) % span) / span; }

/* As zone.h defines it, step by step: all changes of these rules come at full minutes, and so do all multiples. */
static int64_t walk(const struct strata_zone *z, int64_t ms, int64_t span)
{
    int64_t at = ms - ms % MINUTE + MINUTE;
    for (;; at += MINUTE) {
        int64_t now = shown(z, at), before = shown(z, at - MINUTE);
        if (now % span == 0 || (now > before + MINUTE && bucket(now, span) > bucket(before + MINUTE - 1, span)))
            return at;
    }
}

static void test_next_multiple(void **state)
{
    (void)state;
    static const int64_t spans[] = { 15 * MINUTE, HOUR, 6 * HOUR, DAY, INT64_C(7) * DAY };
    uint64_t r = 3;
    for (size_t i = 0; i < COUNT(rules); i++) {
        struct strata_zone z = zone_of(rules[i]);
        for (size_t k = 0; k < COUNT(spans); k++)
            for (int n = 0; n < 40; n++) {
                r = strata__mix64(r);
                int64_t ms = INT64_C(1735689600000) + (int64_t)(r % (730 * (uint64_t)DAY));
                if (n % 2) { /* around a change */
                    int64_t change = strata__zone_change_after(&z, ms / 1000);
                    if (change != INT64_MAX)
                        ms = change * 1000 + (int64_t)(r >> 32) % (3 * HOUR) - 3 * HOUR / 2;
                }
                if (n % 5 == 0)
                    ms -= ms % HOUR;
                int64_t next = strata__zone_next(&z, ms, spans[k]), want = walk(&z, ms, spans[k]);
                if (next != want)
                    fail_msg("%s, %lld ms after %lld: %lld, not %lld", rules[i], (long long)spans[k], (long long)ms,
                             (long long)next, (long long)want);
            }
    }
}

/* Days that people know. */
static void test_known_days(void **state)
{
    (void)state;
    struct strata_zone berlin = zone_of("CET-1CEST,M3.5.0,M10.5.0/3"), cuba = zone_of("CST5CDT,M3.2.0/0,M11.1.0/1");
    static const struct {
        int berlin;
        int64_t from, span, next;
    } cases[] = {
        { 1, 1774652400000, DAY, 1774738800000 },  /* 2026-03-28 00:00 +1: a day of 24 hours, */
        { 1, 1774738800000, DAY, 1774821600000 },  /* the 29th has 23, */
        { 1, 1792879200000, DAY, 1792969200000 },  /* October 25th 25 */
        { 1, 1774745999999, HOUR, 1774746000000 }, /* 01:59:59.999: then it is 03:00 */
        { 1, 1792886399999, HOUR, 1792886400000 }, /* 01:59:59.999 summer: 02:00, */
        { 1, 1792886400000, HOUR, 1792890000000 }, /* 02:00 once more, */
        { 1, 1792890000000, HOUR, 1792893600000 }, /* 03:00 */
        { 0, 1772945999999, DAY, 1772946000000 },  /* 2026-03-07 23:59:59.999 -5: midnight is passed by */
        { 0, 1772946000000, DAY, 1773028800000 },  /* and that day has 23 hours */
        { 0, 1793505600000, DAY, 1793509200000 },  /* 2026-11-01 00:00 -4 comes twice */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t next = strata__zone_next(cases[i].berlin ? &berlin : &cuba, cases[i].from, cases[i].span);
        if (next != cases[i].next)
            fail_msg("case %zu: %lld", i, (long long)next);
    }
    assert_int_equal(strata__zone_next(NULL, 86399999, DAY), 86400000);
    assert_int_equal(strata__zone_next(NULL, 86400000, DAY), 172800000);
    assert_int_equal(strata__zone_next(NULL, -1, DAY), 0);
    assert_int_equal(strata__zone_next(NULL, -86400001, 7 * (int64_t)DAY), 0);
    assert_true(strata__zone_next(NULL, 5, 0) == INT64_MAX);
}

static void test_no_rules(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "C",
        "CE-1",
        "CET",
        "CET-",
        "CET-25",
        "CET-1:60",
        "CET-1CEST",
        "CET-1CEST,",
        "CET-1CEST,M3.5.0",
        "CET-1CEST,M13.5.0,M10.5.0",
        "CET-1CEST,M3.6.0,M10.5.0",
        "CET-1CEST,M3.5.7,M10.5.0",
        "CET-1CEST,J0,J3",
        "CET-1CEST,J366,J3",
        "CET-1CEST,366,3",
        "CET-1CEST,M3.5.0,M10.5.0/3x",
        "CET-1CEST,M3.5.0/168,M10.5.0",
        "<CET-1",
        "<+3>-3",
        "CET-1 ",
        "CET-1CEST,M3.5.0,M10.5.0,M1.1.1",
        "CET-99999",
    };
    struct zone_rule r;
    for (size_t i = 0; i < COUNT(wrong); i++)
        if (strata__zone_rule_read(wrong[i], strlen(wrong[i]), &r))
            fail_msg("\"%s\" was read", wrong[i]);
}

/* A table, then a rule, as files have them; and a table alone. */
static void test_a_table_before_the_rule(void **state)
{
    (void)state;
    struct zone_change changes[] = { { 1000, 3600 }, { 5000, -3600 }, { 1767225600, 7200 } };
    struct strata_zone z = zone_of("CET-1CEST,M3.5.0,M10.5.0/3");
    z.first_s = 60;
    z.changes = changes;
    z.count = 3;
    static const int64_t offsets[][2] = { { -9, 60 },           { 999, 60 },         { 1000, 3600 },
                                          { 4999, 3600 },       { 5000, -3600 },     { 1767225599, -3600 },
                                          { 1767225600, 3600 }, { 1774746000, 7200 } };
    for (size_t i = 0; i < COUNT(offsets); i++)
        assert_int_equal(strata__zone_offset(&z, offsets[i][0]), offsets[i][1]);
    assert_int_equal(strata__zone_change_after(&z, 999), 1000);
    assert_int_equal(strata__zone_change_after(&z, 1000), 5000);
    assert_int_equal(strata__zone_change_after(&z, 1767225600), 1774746000);
    z.has_rule = 0;
    assert_int_equal(strata__zone_offset(&z, 1774746000), 7200);
    assert_true(strata__zone_change_after(&z, 1767225600) == INT64_MAX);
}

/* Entries: until the multiple, jitter before it alone, and a nearer ttl_ms wins. */
static void test_entries_end_there(void **state)
{
    (void)state;
    strata_policy given = { .size = sizeof given, .align_ms = HOUR, .refresh_ahead_percent = 50, .negative_ttl_ms = 7 };
    strata_policy own = { .size = sizeof own, .ttl_ms = 5 }, p, r;
    strata_meta m = { .born_wall_ms = 3 * (int64_t)HOUR + 1000 };
    strata__policy_resolve(&p, &given, NULL);
    assert_true(strata__ttl_is_drawn(&p));
    strata__policy_to_meta(&p, 0, &m);
    strata__ttl_draw(&p, strata_str("k"), 0, 1, &m);
    assert_int_equal(m.fresh_ms, HOUR - 1000);
    assert_int_equal(m.early_ms, (HOUR - 1000) / 2);
    p.jitter_ms = 3;
    for (uint64_t random = 0; random < 4; random++) {
        strata__ttl_draw(&p, strata_str("k"), 0, random, &m);
        assert_int_equal(m.fresh_ms, HOUR - 1000 - (int64_t)random);
    }
    m.born_wall_ms = 4 * (int64_t)HOUR - 1;
    strata__ttl_draw(&p, strata_str("k"), 0, 3, &m);
    assert_int_equal(m.fresh_ms, 1);
    p.jitter_ms = 0;
    strata__policy_to_meta(&p, 1, &m);
    strata__ttl_draw(&p, strata_str("k"), 1, 3, &m);
    assert_int_equal(m.fresh_ms, 7);
    strata__policy_resolve(&r, &own, &p);
    assert_int_equal(r.align_ms, 0);
    own.ttl_ms = STRATA_OFF;
    strata__policy_resolve(&r, &own, &p);
    assert_int_equal(r.ttl_ms, STRATA_OFF);
    own.ttl_ms = 5;
    own.align_ms = DAY;
    strata__policy_resolve(&r, &own, &p);
    assert_int_equal(r.align_ms, DAY);
}

/* What the application says, by its own function. */
struct word {
    int64_t end;
    int64_t asked_at;
    int asked;
    char key[8];
};

static int64_t say(int64_t now_ms, strata_slice key, void *ctx)
{
    struct word *w = ctx;
    w->asked_at = now_ms;
    w->asked++;
    assert_true(key.size < sizeof w->key);
    memcpy(w->key, key.data, key.size);
    w->key[key.size] = 0;
    return w->end;
}

static strata_meta said(const strata_policy *given, const strata_policy *base, int64_t now, uint64_t random,
                        int negative)
{
    strata_policy p, b;
    strata_meta m = { .born_wall_ms = now, .born_ms = 77 };
    strata__policy_resolve(&b, base, NULL);
    strata__policy_resolve(&p, given, &b);
    assert_int_equal(strata__ttl_is_drawn(&p), 1);
    strata__policy_to_meta(&p, negative, &m);
    strata__ttl_draw(&p, strata_str("key"), 1, random, &m);
    return m;
}

static void test_the_application_s_word(void **state)
{
    (void)state;
    const int64_t now = INT64_C(1780000000000);
    struct word w = { .end = now + 5000 };
    strata_policy p = { .size = sizeof p,
                        .ttl_ms = HOUR,
                        .align = say,
                        .align_ctx = &w,
                        .sliding = STRATA_ON,
                        .refresh_ahead_percent = 10,
                        .stale_while_revalidate_ms = 9,
                        .negative_ttl_ms = 7 };
    strata_meta m = said(&p, NULL, now, 1, 0);
    assert_int_equal(m.fresh_ms, 5000);
    assert_int_equal(m.early_ms, 500);
    assert_int_equal(m.stale_ms, 9);
    assert_int_equal(m.slide_ms, 0);
    assert_int_equal(w.asked_at, now);
    assert_string_equal(w.key, "key");
    static const struct {
        int64_t end, fresh;
    } cases[] = { { INT64_C(1780000000001), 1 },
                  { INT64_C(1780000000000), 1 },
                  { 1, 1 },
                  { INT64_MIN, 1 },
                  { -1, 1 },
                  { 0, HOUR },
                  { INT64_MAX, INT64_MAX },
                  { INT64_MAX - 1, INT64_MAX - 1 - INT64_C(1780000000000) } };
    for (size_t i = 0; i < COUNT(cases); i++) {
        w.end = cases[i].end;
        assert_true(said(&p, NULL, now, 1, 0).fresh_ms == cases[i].fresh);
    }
    w.asked = 0;
    assert_int_equal(said(&p, NULL, now, 1, 1).fresh_ms, 7); /* "absent" */
    assert_int_equal(w.asked, 0);
    w.end = 0; /* no answer: what stands beside it */
    p.align_ms = HOUR;
    assert_int_equal(said(&p, NULL, now, 1, 0).fresh_ms, HOUR - now % HOUR);
    p.ttl_ms = STRATA_OFF;
    w.asked = 0;
    (void)said(&p, NULL, now, 1, 0);
    assert_int_equal(w.asked, 0); /* nothing is stored */
    w.end = 1;
    p.ttl_ms = HOUR;
    assert_int_equal(said(&p, NULL, -5000, 1, 0).fresh_ms, 5001); /* before 1970 */
    w.end = INT64_MAX - 1;
    assert_true(said(&p, NULL, -5000, 1, 0).fresh_ms == STRATA_FOREVER);
}

/* The nearest level that says anything of it has it. */
static void test_whose_word_counts(void **state)
{
    (void)state;
    struct word outer = { .end = 1 }, inner = { .end = 2 };
    const strata_policy base = { .size = sizeof base, .align = say, .align_ctx = &outer, .jitter_ms = 1 };
    const strata_policy calls[] = { { .size = sizeof base, .stale_if_error_ms = 5 },
                                    { .size = sizeof base, .ttl_ms = 5 },
                                    { .size = sizeof base, .align_ms = HOUR },
                                    { .size = sizeof base, .align_ms = STRATA_OFF },
                                    { .size = sizeof base, .align = say, .align_ctx = &inner },
                                    { .size = sizeof base, .ttl_ms = 5, .align = say, .align_ctx = &inner } };
    static const int asked[][2] = { { 1, 0 }, { 0, 0 }, { 0, 0 }, { 0, 0 }, { 0, 1 }, { 0, 1 } };
    for (size_t i = 0; i < COUNT(calls); i++) {
        outer.asked = inner.asked = 0;
        (void)said(&calls[i], &base, 1000, 0, 0);
        assert_int_equal(outer.asked, asked[i][0]);
        assert_int_equal(inner.asked, asked[i][1]);
    }
    strata_policy old = { .size = offsetof(strata_policy, align), .ttl_ms = 0 },
                  r; /* of a program that does not know it */
    old.align = say;
    strata__policy_resolve(&r, &old, &base);
    assert_ptr_equal(r.align_ctx, &outer);
}

/* Whatever it answers, whenever: at least 1 ms, never past its moment, and with jitter no more than so much before it. */
static void test_any_word(void **state)
{
    (void)state;
    uint64_t r = 7;
    for (int i = 0; i < 200000; i++) {
        r = strata__mix64(r);
        int64_t now = (int64_t)(r >> (r % 40 + 1)), jitter = (int64_t)(r % 5000);
        r = strata__mix64(r);
        struct word w = { .end = (int64_t)(r >> (1 + r % 63)) };
        if (r & 64)
            w.end = -w.end;
        if (r & 128)
            w.end = now + (int64_t)(strata__mix64(r) % 10000) - 100;
        strata_policy p = { .size = sizeof p, .ttl_ms = 123, .align = say, .align_ctx = &w, .jitter_ms = jitter };
        strata_meta m = said(&p, NULL, now, r, 0), at_once = said(&p, NULL, now, 0, 0);
        assert_true(m.fresh_ms >= 1);
        if (w.end == 0 || w.end == STRATA_FOREVER)
            continue;
        int64_t left = w.end > now ? w.end - now : 1;
        assert_true(m.fresh_ms <= left && at_once.fresh_ms == left);
        assert_true(m.fresh_ms == 1 || m.fresh_ms >= left - jitter);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_application_s_word),
        cmocka_unit_test(test_whose_word_counts),
        cmocka_unit_test(test_any_word),
        cmocka_unit_test(test_offsets_are_libc_s),
        cmocka_unit_test(test_next_multiple),
        cmocka_unit_test(test_known_days),
        cmocka_unit_test(test_no_rules),
        cmocka_unit_test(test_a_table_before_the_rule),
        cmocka_unit_test(test_entries_end_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
