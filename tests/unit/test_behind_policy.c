/* test_behind_policy.c - what write-behind decides, of numbers alone. */
#include "src/policy/behind.h"
#include "tests/support/cmocka_all.h"

static void room_has_both_bounds(void **state)
{
    (void)state;
    const struct behind_load most = { 6, 100 };
    for (uint64_t count = 0; count <= 7; count++)
        for (uint64_t bytes = 0; bytes <= 110; bytes++)
            for (uint64_t more = 0; more <= 110; more++) {
                int fits = strata__behind_fits((struct behind_load){ count, bytes }, most, more);
                assert_int_equal(fits, count + 1 <= 6 && bytes + more <= 100);
                /* Whoever finds no room finds it pressed, unless he alone is too large. */
                if (!fits && more <= 50)
                    assert_true(strata__behind_presses((struct behind_load){ count, bytes }, most));
            }
    assert_false(strata__behind_fits((struct behind_load){ 0, 0 }, most, UINT64_MAX));
    assert_true(strata__behind_presses((struct behind_load){ 1, 0 }, (struct behind_load){ 1, 100 }));
    assert_false(strata__behind_presses((struct behind_load){ 0, 0 }, (struct behind_load){ 1, 1 }));
}

static void ripe_is_half_of_its_time_and_due_is_ripe(void **state)
{
    (void)state;
    for (int64_t delay = 1; delay < 50; delay++)
        for (int64_t now = 0; now < 60; now++) {
            int ripe = strata__behind_ripe(1000, 1000 + delay, 1000 + now);
            assert_int_equal(ripe, now >= delay || now >= delay / 2);
        }
}

static void the_base_is_never_later_than_now(void **state)
{
    (void)state;
    const int64_t told = INT64_C(1700000000000000);
    const struct behind_clock clock = { told, 5000 };
    assert_int_equal(strata__behind_base((struct behind_clock){ 0, 0 }, 99, 0), 0);
    assert_int_equal(strata__behind_base((struct behind_clock){ 0, 0 }, 99, 7), 7);
    assert_int_equal(strata__behind_base(clock, 4999, 7), told); /* it was told a moment ago, by a rounder clock */
    uint64_t before = 0;
    for (int64_t passed = 0; passed < INT64_C(4000000000000); passed = passed * 3 + 1) {
        uint64_t base = strata__behind_base(clock, 5000 + passed, 7);
        assert_true(base <= (uint64_t)(told + passed)); /* by a clock that is slower than ours by a thousandth, too: */
        assert_true(base <= (uint64_t)(told + passed - passed / 1000));
        assert_true(base + 1 >= before);
        before = base;
    }
    assert_int_equal(strata__behind_base(clock, 5000, (uint64_t)told + 9), told + 9);
    assert_int_equal(strata__behind_base(clock, 5000, (uint64_t)told * 2), told);
    assert_int_equal(strata__behind_base((struct behind_clock){ INT64_MAX, 0 }, INT64_MAX, 3), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(room_has_both_bounds),
        cmocka_unit_test(ripe_is_half_of_its_time_and_due_is_ripe),
        cmocka_unit_test(the_base_is_never_later_than_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
