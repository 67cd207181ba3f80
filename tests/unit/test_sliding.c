/* test_sliding.c - when a hit extends an entry, and how far: known cases, and laws over many entries and readers. */
#include <string.h>

#include "src/policy/freshness.h"
#include "src/policy/sliding.h"
#include "src/policy/ttl.h"
#include "tests/support/cmocka_all.h"

static strata_policy sliding(int64_t ttl_ms, int32_t percent, int64_t max_ms)
{
    strata_policy p, given = STRATA_POLICY_INIT;
    given.ttl_ms = ttl_ms;
    given.sliding = STRATA_ON;
    given.sliding_percent = percent;
    given.sliding_max_ms = max_ms;
    strata__policy_resolve(&p, &given, NULL);
    return p;
}

static strata_meta meta_of(const strata_policy *p, int negative)
{
    strata_meta m;
    memset(&m, 0, sizeof m);
    strata__policy_to_meta(p, negative, &m);
    return m;
}

static void test_known(void **state)
{
    (void)state;
    strata_policy p = sliding(1000, 0, 0);
    strata_meta m = meta_of(&p, 0);
    assert_int_equal(m.slide_ms, 1000);
    assert_int_equal(m.slide_step_ms, 100); /* a tenth by default */
    assert_int_equal(strata__slide_due(&m, 5000), 5100);
    assert_int_equal(strata__slide(&m, 5000, 5099), 0);
    assert_int_equal(strata__slide(&m, 5000, 5100), 1);
    assert_int_equal(m.fresh_ms, 1100);
    assert_int_equal(strata__slide(&m, 5000, 6100), 0); /* just over */
    assert_int_equal(strata__slide(&m, 5000, 6099), 1);
    assert_int_equal(m.fresh_ms, 2099);
}

static void test_none(void **state)
{
    (void)state;
    strata_policy off = STRATA_POLICY_INIT, p, forever = sliding(STRATA_FOREVER, 0, 0), aligned = sliding(1000, 0, 0);
    off.ttl_ms = 1000;
    strata__policy_resolve(&p, &off, NULL);
    strata_meta m = meta_of(&p, 0);
    assert_int_equal(strata__slide_due(&m, 0), INT64_MAX);
    m = meta_of(&forever, 0);
    assert_int_equal(m.slide_ms, 0);
    aligned.align_ms = 60000;
    m = meta_of(&aligned, 0);
    assert_int_equal(m.slide_ms, 0);
    p = sliding(1000, 0, 0);
    p.negative_ttl_ms = 1000;
    m = meta_of(&p, 1);
    assert_int_equal(m.slide_ms, 0);
    assert_int_equal(m.fresh_ms, 1000);
}

static void test_jitter_is_kept(void **state)
{
    (void)state;
    strata_policy p = sliding(1000, 50, 0);
    p.jitter_ms = 400;
    for (uint64_t random = 0; random < 801; random++) {
        strata_meta m = meta_of(&p, 0);
        strata__ttl_draw(&p, strata_str("k"), 1, random, &m);
        assert_int_equal(m.slide_ms, m.fresh_ms);
        assert_int_equal(m.slide_step_ms, m.fresh_ms * 50 / 100);
    }
}

/* Readers that come at any time: the end never moves back, never past the maximum, and is never written for less than a step, but for the
 * last one; who reads more often than slide - step keeps it to the maximum. */
static void test_laws(void **state)
{
    (void)state;
    static const int64_t ttls[] = { 1, 2, 3, 10, 99, 1000, 123457 };
    static const int64_t borns[] = { 0, 1, 1000000, -500, INT64_MAX / 2 };
    uint64_t x = 88172645463325252u;
    for (size_t t = 0; t < sizeof ttls / sizeof ttls[0]; t++)
        for (size_t b = 0; b < sizeof borns / sizeof borns[0]; b++)
            for (int32_t percent = 1; percent <= 100; percent += 11)
                for (int max = 0; max < 3; max++) {
                    int64_t ttl = ttls[t], most = max == 0 ? 0 : max == 1 ? ttl * 5 + 1 : ttl / 2 + 1;
                    strata_policy p = sliding(ttl, percent, most);
                    strata_meta m = meta_of(&p, 0);
                    int64_t born = borns[b], now = born, writes = 0;
                    assert_true(most == 0 || m.fresh_ms <= most);
                    for (int i = 0; i < 60; i++) {
                        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                        now += (int64_t)(x % (uint64_t)(ttl + 1));
                        strata_meta before = m;
                        int fresh = strata__is_fresh(&m, born, now);
                        int did = strata__slide(&m, born, now);
                        writes += did;
                        assert_true(fresh || !did);
                        assert_true(m.fresh_ms >= before.fresh_ms);
                        assert_true(most == 0 || m.fresh_ms <= most);
                        if (did)
                            assert_true(m.fresh_ms - before.fresh_ms >= m.slide_step_ms || m.fresh_ms == most);
                        if (did && m.fresh_ms != most)
                            assert_int_equal(m.fresh_ms, now - born + ttl);
                        assert_int_equal(strata__slide(&m, born, now), 0); /* at once again: never */
                        before.fresh_ms = m.fresh_ms;
                        assert_memory_equal(&before, &m, sizeof m); /* nothing else moves */
                        struct deadlines d;
                        strata__deadlines(&m, born, &d);
                        assert_true(d.fresh_until >= d.early_at && d.gone_at >= d.fresh_until);
                    }
                    assert_true(writes <= (now - born) / m.slide_step_ms + 1);
                }
}

/* Numbers of a stranger's envelope are no harm. */
static void test_any_numbers(void **state)
{
    (void)state;
    static const int64_t n[] = { INT64_MIN, INT64_MIN + 1, -1, 0, 1, 5, INT64_MAX / 2, INT64_MAX - 1, INT64_MAX };
    enum { N = sizeof n / sizeof n[0] };
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++)
            for (int c = 0; c < N; c++)
                for (int d = 0; d < N; d++)
                    for (int e = 0; e < N; e++) {
                        strata_meta m;
                        memset(&m, 0, sizeof m);
                        m.fresh_ms = n[a], m.slide_ms = n[b], m.slide_step_ms = n[c], m.slide_max_ms = n[d];
                        strata_meta capped = m;
                        if (strata__slide(&m, n[e], n[(a + e) % N]))
                            assert_true(m.fresh_ms > capped.fresh_ms && m.fresh_ms <= m.slide_max_ms);
                        strata__slide_cap(&capped, 7);
                        assert_true(capped.slide_ms <= 7);
                    }
}

static void test_caps(void **state)
{
    (void)state;
    strata_policy p = sliding(1000, 20, 0);
    strata_meta m = meta_of(&p, 0);
    strata__slide_cap(&m, 100);
    assert_int_equal(m.slide_ms, 100);
    assert_int_equal(m.slide_step_ms, 20);
    strata__slide_cap(&m, 1);
    assert_int_equal(m.slide_step_ms, 1);
    strata__slide_cap(&m, 0);
    assert_int_equal(m.slide_ms, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known), cmocka_unit_test(test_none),        cmocka_unit_test(test_jitter_is_kept),
        cmocka_unit_test(test_laws),  cmocka_unit_test(test_any_numbers), cmocka_unit_test(test_caps),
    };
    return cmocka_run_group_tests_name("sliding", tests, NULL, NULL);
}
