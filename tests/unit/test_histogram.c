/* test_histogram.c - the histogram keeps its promise of 7 %. */
#include "tests/support/cmocka_all.h"

#include "src/base/hash.h"
#include "src/base/histogram.h"

static struct histogram h, other;

static int setup(void **state)
{
    (void)state;
    strata__histogram_reset(&h);
    strata__histogram_reset(&other);
    return 0;
}

static void assert_near(uint64_t got, uint64_t exact)
{
    double off = got > exact ? (double)(got - exact) : (double)(exact - got);
    assert_true(off <= 0.07 * (double)exact);
}

static void empty_is_zero(void **state)
{
    (void)state;
    assert_int_equal(strata__histogram_count(&h), 0);
    assert_int_equal(strata__histogram_percentile(&h, 0.5), 0);
    assert_int_equal(strata__histogram_max(&h), 0);
    assert_int_equal(strata__histogram_sum(&h), 0);
}

/* One number alone below a larger one, so that max cannot correct it. */
static void each_number_within_7_percent(void **state)
{
    (void)state;
    for (uint64_t v = 0; v < ((uint64_t)1 << 39); v = v < 4096 ? v + 1 : v + v / 37) {
        strata__histogram_reset(&h);
        strata__histogram_add(&h, v);
        strata__histogram_add(&h, (uint64_t)1 << 41);
        uint64_t got = strata__histogram_percentile(&h, 0.5);
        assert_near(got, v);
        if (v < 16)
            assert_int_equal(got, v);
    }
}

static void percentiles_of_a_range(void **state)
{
    (void)state;
    for (uint64_t v = 1; v <= 10000; v++)
        strata__histogram_add(&h, v);
    assert_int_equal(strata__histogram_count(&h), 10000);
    assert_int_equal(strata__histogram_sum(&h), 10000u * 10001u / 2);
    assert_int_equal(strata__histogram_max(&h), 10000);
    assert_int_equal(strata__histogram_percentile(&h, 0), 1);
    assert_near(strata__histogram_percentile(&h, 0.5), 5000);
    assert_near(strata__histogram_percentile(&h, 0.99), 9900);
    assert_near(strata__histogram_percentile(&h, 1), 10000);
    assert_true(strata__histogram_percentile(&h, 1) <= 10000);
}

static void ranks_round_up(void **state)
{
    (void)state;
    strata__histogram_add(&h, 1);
    strata__histogram_add(&h, 2);
    strata__histogram_add(&h, 3);
    assert_int_equal(strata__histogram_percentile(&h, 0.5), 2);
    assert_int_equal(strata__histogram_percentile(&h, 0.34), 2);
    assert_int_equal(strata__histogram_percentile(&h, 0.33), 1);
    assert_int_equal(strata__histogram_percentile(&h, 0.99), 3);
}

static void huge_numbers_are_kept_by_max(void **state)
{
    (void)state;
    strata__histogram_add(&h, UINT64_MAX / 2);
    assert_int_equal(strata__histogram_percentile(&h, 0.5), UINT64_MAX / 2);
    assert_int_equal(strata__histogram_sum(&h), UINT64_MAX / 2);
}

static void merge_and_reset(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        strata__histogram_add(&h, strata__mix64(i) % 500);
        strata__histogram_add(&other, 1000 + strata__mix64(i) % 500);
    }
    uint64_t sum = strata__histogram_sum(&h) + strata__histogram_sum(&other);
    strata__histogram_merge(&h, &other);
    assert_int_equal(strata__histogram_count(&h), 2000);
    assert_int_equal(strata__histogram_sum(&h), sum);
    assert_int_equal(strata__histogram_max(&h), strata__histogram_max(&other));
    assert_true(strata__histogram_percentile(&h, 0.49) < 600);
    assert_true(strata__histogram_percentile(&h, 0.51) > 900);
    strata__histogram_reset(&h);
    empty_is_zero(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(empty_is_zero, setup),
        cmocka_unit_test_setup(each_number_within_7_percent, setup),
        cmocka_unit_test_setup(percentiles_of_a_range, setup),
        cmocka_unit_test_setup(ranks_round_up, setup),
        cmocka_unit_test_setup(huge_numbers_are_kept_by_max, setup),
        cmocka_unit_test_setup(merge_and_reset, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
