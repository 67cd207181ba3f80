/* test_ttl.c - what is decided for each entry anew: jitter, and early refreshes that are drawn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/base/hash.h"
#include "src/policy/freshness.h"
#include "src/policy/ttl.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Every number from ttl - jitter to ttl + jitter comes, none beyond, and nothing below 1. */
static void test_jitter_bounds(void **state)
{
    (void)state;
    for (int64_t ttl = 1; ttl <= 12; ttl++)
        for (int64_t jitter = 1; jitter <= 15; jitter++) {
            unsigned seen[40] = { 0 };
            for (uint64_t r = 0; r < 2 * (uint64_t)jitter + 1; r++) {
                int64_t got = strata__ttl_jitter(ttl, jitter, r);
                assert_in_range(got, 1, ttl + jitter);
                seen[got]++;
            }
            int64_t cut = ttl - jitter < 1 ? 1 - (ttl - jitter) : 0; /* what would be below 1 is 1 */
            for (int64_t n = ttl - jitter > 1 ? ttl - jitter : 1; n <= ttl + jitter; n++)
                assert_int_equal(seen[n], n == 1 ? 1 + cut : 1);
        }
}

static void test_jitter_leaves_alone(void **state)
{
    (void)state;
    static const int64_t ttls[] = { 0, -1, STRATA_FOREVER, 5 };
    for (uint64_t r = 0; r < 100; r++) {
        for (size_t i = 0; i < 3; i++)
            assert_true(strata__ttl_jitter(ttls[i], 7, r) == ttls[i]);
        assert_int_equal(strata__ttl_jitter(5, 0, r), 5);
        assert_true(strata__ttl_jitter(STRATA_FOREVER - 1, 1000, r) > 0); /* no overflow */
        assert_true(strata__ttl_jitter(STRATA_FOREVER - 1, INT64_MAX, r) > 0);
    }
}

static void test_jitter_is_even(void **state)
{
    (void)state;
    unsigned seen[5] = { 0 };
    uint64_t r = 1;
    for (int i = 0; i < 50000; i++)
        seen[strata__ttl_jitter(10, 2, r = strata__mix64(r)) - 8]++;
    for (size_t i = 0; i < COUNT(seen); i++)
        assert_in_range(seen[i], 9500, 10500);
}

/* Policies and the entries they make. */
static void test_what_is_drawn(void **state)
{
    (void)state;
    strata_policy p;
    strata__policy_defaults(&p);
    strata_policy r;
    strata__policy_resolve(&r, NULL, NULL);
    assert_false(strata__ttl_is_drawn(&p));
    assert_false(strata__ttl_is_drawn(&r));
    p = (strata_policy){ .size = sizeof p, .jitter_ms = 500, .negative_ttl_ms = 100, .refresh_ahead_percent = 10 };
    strata__policy_resolve(&r, &p, NULL);
    assert_true(strata__ttl_is_drawn(&r));
    strata_meta m = { .born_ms = 77 };
    strata__policy_to_meta(&r, 1, &m);
    strata__ttl_draw(&r, strata_str("k"), 1, 0, &m); /* the shortest */
    assert_int_equal(m.fresh_ms, 1);
    assert_int_equal(m.early_ms, 0);
    assert_int_equal(m.retry_at_ms, 77); /* which is past, so that it is not throttled */
    strata__policy_to_meta(&r, 0, &m);
    strata__ttl_draw(&r, strata_str("k"), 0, 1000, &m); /* the longest; the share is one of it */
    assert_int_equal(m.fresh_ms, 3600500);
    assert_int_equal(m.early_ms, 360050);
    strata_policy off = { .size = sizeof off, .jitter_ms = STRATA_OFF, .refresh_ahead_percent = STRATA_OFF };
    strata__policy_resolve(&r, &off, &r);
    assert_false(strata__ttl_is_drawn(&r));
    strata__policy_to_meta(&r, 0, &m);
    assert_int_equal(m.early_ms, 0);
}

static void test_early_margin(void **state)
{
    (void)state;
    static const struct {
        int64_t fresh_ms, ahead_ms, percent, margin;
    } cases[] = {
        { 1000, 0, 20, 200 },
        { 1000, 300, 20, 300 },
        { 1000, 100, 20, 200 },
        { 1, 0, 99, 0 },
        { STRATA_FOREVER - 1, 0, 1, (STRATA_FOREVER - 1) / 100 },
        { STRATA_FOREVER - 1, 0, 99, (STRATA_FOREVER - 1) / 100 * 99 + 5 },
        { STRATA_FOREVER, 5, 99, 5 },
        { 1000, 0, 0, 0 },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        strata_policy p = { .refresh_ahead_ms = cases[i].ahead_ms, .refresh_ahead_percent = (int32_t)cases[i].percent };
        strata_meta m = { .fresh_ms = cases[i].fresh_ms };
        assert_true(strata__ttl_early(&p, &m) == cases[i].margin);
    }
}

/* exp(-left / load), counted; with what the load took, and not the margin, as the measure. */
static void test_xfetch_chance(void **state)
{
    (void)state;
    static const struct {
        uint32_t load_ms;
        int64_t left_ms;
        int per_million;
    } cases[] = {
        { 100, 0, 1000000 }, { 100, -5, 1000000 }, { 100, 100, 367879 }, { 100, 200, 135335 },   { 100, 50, 606531 },
        { 100, 10, 904837 }, { 0, 1, 367879 },     { 7, 35, 6738 },      { 5000, 2500, 606531 },
    };
    uint64_t r = 5;
    for (size_t i = 0; i < COUNT(cases); i++) {
        int due = 0;
        for (int n = 0; n < 100000; n++)
            due += strata__xfetch_due(cases[i].load_ms, cases[i].left_ms, r = strata__mix64(r));
        int want = cases[i].per_million / 10;
        if (due < want - 700 || due > want + 700)
            fail_msg("case %zu: %d of 100,000, not about %d", i, due, want);
    }
    /* The ends of what can be drawn: u = 2^-53 is 36.74 load times away, u = 1 none. */
    assert_true(strata__xfetch_due(100, 3673, 0));
    assert_false(strata__xfetch_due(100, 3674, 0));
    assert_false(strata__xfetch_due(100, 1, UINT64_MAX));
    assert_true(strata__xfetch_due(UINT32_MAX, INT64_C(1) << 36, 0));
}

/* Of the same draw: never due later and not due earlier. */
static void test_xfetch_is_monotonic(void **state)
{
    (void)state;
    uint64_t r = 9;
    for (int n = 0; n < 2000; n++) {
        int before = 0;
        r = strata__mix64(r);
        for (int64_t left = 600; left >= 0; left -= 7) {
            int due = strata__xfetch_due(30, left, r);
            assert_true(due >= before);
            before = due;
        }
        assert_true(before || strata__xfetch_due(30, 0, r));
    }
}

static void test_xfetch_margin(void **state)
{
    (void)state;
    strata_policy given = { .size = sizeof given, .xfetch = STRATA_ON, .refresh_ahead_ms = 900 }, p;
    strata__policy_resolve(&p, &given, NULL);
    strata_meta m = { .load_ms = 100 };
    strata__policy_to_meta(&p, 0, &m);
    assert_int_equal(m.early_ms, 0);
    strata__ttl_draw(&p, strata_str("k"), 1, 3, &m);
    assert_int_equal(m.early_ms, 1800);
    assert_int_equal(m.retry_at_ms, 0);
    m.load_ms = 3600000; /* no longer than it is fresh */
    strata__ttl_draw(&p, strata_str("k"), 1, 3, &m);
    assert_int_equal(m.early_ms, m.fresh_ms);
    strata__ttl_draw(&p, strata_str("k"), 0, 3, &m); /* a set */
    assert_int_equal(m.early_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jitter_bounds),       cmocka_unit_test(test_jitter_leaves_alone),
        cmocka_unit_test(test_jitter_is_even),      cmocka_unit_test(test_what_is_drawn),
        cmocka_unit_test(test_early_margin),        cmocka_unit_test(test_xfetch_chance),
        cmocka_unit_test(test_xfetch_is_monotonic), cmocka_unit_test(test_xfetch_margin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
