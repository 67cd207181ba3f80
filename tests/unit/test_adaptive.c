/* test_adaptive.c - how long a key is fresh by how often it is read, and counts of hits in bounded memory. */
#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/policy/adaptive.h"
#include "src/policy/freshness.h"
#include "tests/support/cmocka_all.h"

static strata_policy adaptive(int64_t ttl_ms, int32_t hits, int64_t step_ms, int64_t max_ms)
{
    strata_policy p, given = STRATA_POLICY_INIT;
    given.adaptive = STRATA_ON;
    given.ttl_ms = ttl_ms;
    given.adaptive_hits = hits;
    given.adaptive_step_ms = step_ms;
    given.adaptive_max_ms = max_ms;
    strata__policy_resolve(&p, &given, NULL);
    return p;
}

static void test_known(void **state)
{
    (void)state;
    strata_policy p = adaptive(1000, 0, 0, 0); /* 3 hits, half a ttl, up to three times the ttl */
    static const int64_t by_hits[] = { 1000, 1000, 1000, 1500, 1500, 1500, 2000,
                                       2000, 2000, 2500, 2500, 2500, 3000, 3000 };
    for (uint32_t hits = 0; hits < sizeof by_hits / sizeof by_hits[0]; hits++)
        assert_int_equal(strata__adaptive_ttl(&p, hits), by_hits[hits]);
    assert_int_equal(strata__adaptive_ttl(&p, UINT32_MAX), 3000);
    assert_int_equal(strata__adaptive_enough(&p), 12);
    p = adaptive(1, 1, 0, 0);
    assert_int_equal(strata__adaptive_ttl(&p, 1), 2);
    p = adaptive(1000, 10, 100, 1250);
    assert_int_equal(strata__adaptive_ttl(&p, 29), 1200);
    assert_int_equal(strata__adaptive_ttl(&p, 30), 1250);
    p = adaptive(1000, 1, 100, 500); /* a maximum below ttl_ms makes nothing shorter */
    assert_int_equal(strata__adaptive_ttl(&p, 50), 1000);
    p.adaptive = STRATA_OFF;
    assert_int_equal(strata__adaptive_ttl(&p, 50), 1000);
    assert_int_equal(strata__adaptive_enough(&p), 0);
}

/* More hits, never less time; between ttl_ms and the maximum; enough is enough; no overflow. */
static void test_laws(void **state)
{
    (void)state;
    static const int64_t times[] = { 0, 1, 2, 999, 60000, INT64_C(1) << 42, INT64_MAX / 2, INT64_MAX - 1, INT64_MAX };
    static const int32_t needs[] = { 0, 1, 3, 1000, 1000000 };
    enum { TIMES = sizeof times / sizeof times[0] };
    for (int t = 1; t < TIMES; t++)
        for (int s = 0; s < TIMES; s++)
            for (int m = 0; m < TIMES; m++)
                for (int n = 0; n < 5; n++) {
                    strata_policy p = adaptive(times[t], needs[n], times[s], times[m]);
                    int64_t before = strata__adaptive_ttl(&p, 0);
                    uint32_t enough = strata__adaptive_enough(&p);
                    assert_int_equal(before, p.ttl_ms);
                    for (uint32_t hits = 1; hits != 0 && hits < UINT32_MAX / 3; hits *= 3) {
                        int64_t now = strata__adaptive_ttl(&p, hits);
                        assert_true(now >= before);
                        assert_true(now == p.ttl_ms || p.adaptive_max_ms <= 0 || now <= p.adaptive_max_ms);
                        assert_true(now == p.ttl_ms || now < STRATA_FOREVER);
                        if (hits >= enough && enough < 1 << 24)
                            assert_int_equal(now, strata__adaptive_ttl(&p, enough));
                        before = now;
                    }
                }
}

static struct profiles *profiles_new(uint32_t count)
{
    struct profiles *p = aligned_alloc(64, (strata__profiles_size(count) + 63) / 64 * 64);
    assert_non_null(p);
    memset(p, 0, strata__profiles_size(count));
    strata__profiles_init(p, count);
    return p;
}

static void test_counts(void **state)
{
    (void)state;
    struct profiles *p = profiles_new(100);
    for (uint64_t key = 0; key < 3; key++)
        for (uint64_t i = 0; i <= key * 10; i++)
            strata__profile_hit(p, strata__mix64(key + 1), 15);
    assert_int_equal(strata__profile_take(p, strata__mix64(1)), 1);
    assert_int_equal(strata__profile_take(p, strata__mix64(1)), 0);
    assert_int_equal(strata__profile_take(p, strata__mix64(2)), 11);
    assert_int_equal(strata__profile_take(p, strata__mix64(2)), 5);
    assert_int_equal(strata__profile_take(p, strata__mix64(2)), 2);
    assert_int_equal(strata__profile_take(p, strata__mix64(3)), 15); /* the bound */
    assert_int_equal(strata__profile_take(p, strata__mix64(4)), 0);
    free(p);
}

/* Against true counts, with many more keys than there is room for: never above, and below by at most a 9th of the hits of all. */
static void test_bounds(void **state)
{
    (void)state;
    enum { KEYS = 400, HITS = 40000 };
    uint32_t *truth = calloc(KEYS, sizeof *truth);
    uint64_t x = 7;
    struct profiles *p = profiles_new(8); /* one set */
    assert_non_null(truth);
    for (int i = 0; i < HITS; i++) {
        x = strata__mix64(x + 0x9e3779b97f4a7c15u);
        uint32_t key = x % 3 ? (uint32_t)(x >> 32) % 4 : (uint32_t)(x >> 32) % KEYS; /* four are hot */
        truth[key]++;
        strata__profile_hit(p, strata__mix64(key + 100), UINT32_MAX);
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        uint32_t told = strata__profile_take(p, strata__mix64(key + 100));
        assert_true(told <= truth[key]);
        assert_true(told + HITS / 9 >= truth[key]);
        if (key < 4)
            assert_true(told > 0);
    }
    free(truth);
    free(p);
}

static void test_room(void **state)
{
    (void)state;
    assert_true(strata__profiles_size(100000) <= 800000 + 128);
    for (uint32_t count = 0; count < 40; count++) {
        struct profiles *p = profiles_new(count);
        for (uint64_t key = 0; key < 1000; key++) /* inside of its memory, whatever the hash */
            strata__profile_hit(p, key << 32 | (UINT32_MAX - key), 9), strata__profile_hit(p, key, 9);
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),  cmocka_unit_test(test_laws), cmocka_unit_test(test_counts),
        cmocka_unit_test(test_bounds), cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests_name("adaptive", tests, NULL, NULL);
}
