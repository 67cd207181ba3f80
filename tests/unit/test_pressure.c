/* test_pressure.c - what part of its budget a cache takes while memory is short: by hand, and whatever comes in whatever order. */
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/base/hash.h"
#include "src/policy/pressure.h"

/* A machine whose tasks stand still for some part of the time. */
struct machine {
    struct pressure p;
    struct pressure_sample s;
};

static void boot(struct machine *m, uint32_t floor)
{
    memset(m, 0, sizeof *m);
    strata__pressure_init(&m->p, floor);
    m->s.now_ms = 5000;
    m->s.high = UINT64_MAX;
    assert_int_equal(strata__pressure_tell(&m->p, &m->s), PRESSURE_HOLD); /* the first says nothing yet */
}

/* `ms` pass, in which some stood still for so many thousandths, and all for so many. */
static enum pressure_move pass(struct machine *m, int64_t ms, uint64_t some, uint64_t full)
{
    m->s.now_ms += ms;
    m->s.some_us += some * (uint64_t)ms;
    m->s.full_us += full * (uint64_t)ms;
    return strata__pressure_tell(&m->p, &m->s);
}

static void test_shrinks_to_the_floor(void **state)
{
    (void)state;
    struct machine m;
    boot(&m, 250);
    assert_int_equal(pass(&m, 250, 100, 0), PRESSURE_SHRINK);
    assert_int_equal(m.p.share, 875);
    /* Once a second, so that the next look shows what it did. */
    for (int i = 0; i < 3; i++)
        assert_int_equal(pass(&m, 250, 500, 0), PRESSURE_HOLD);
    assert_int_equal(pass(&m, 250, 500, 0), PRESSURE_SHRINK);
    assert_int_equal(m.p.share, 766);
    for (int i = 0; i < 30; i++)
        (void)pass(&m, 1000, 1000, 1000);
    assert_int_equal(m.p.share, 250);
    assert_int_equal(pass(&m, 1000, 1000, 1000), PRESSURE_HOLD);
}

static void test_what_is_short(void **state)
{
    (void)state;
    struct machine m;
    boot(&m, 250);
    assert_int_equal(pass(&m, 250, 99, 19), PRESSURE_HOLD);
    assert_int_equal(pass(&m, 250, 20, 20), PRESSURE_SHRINK);
    boot(&m, 250);
    m.s.high = 1000;
    m.s.current = 999;
    assert_int_equal(pass(&m, 250, 0, 0), PRESSURE_HOLD);
    m.s.current = 1000;
    assert_int_equal(pass(&m, 250, 0, 0), PRESSURE_SHRINK);
    assert_int_equal(m.p.over_high, 1);
}

static void test_comes_back_slowly(void **state)
{
    (void)state;
    struct machine m;
    boot(&m, 250);
    assert_int_equal(pass(&m, 250, 200, 0), PRESSURE_SHRINK); /* 875 */
    int64_t short_at = m.s.now_ms;
    int grown = 0;
    while (m.p.share < PRESSURE_WHOLE) {
        int64_t before = m.p.grew_ms;
        if (pass(&m, 250, 0, 0) != PRESSURE_GROW)
            continue;
        if (grown++ == 0)
            assert_true(m.s.now_ms - short_at >= PRESSURE_CALM_MS);
        else
            assert_true(m.s.now_ms - before >= PRESSURE_GROW_EVERY_MS);
    }
    assert_int_equal(grown, 5);
    assert_int_equal(pass(&m, 60000, 0, 0), PRESSURE_HOLD);
}

/* Not short enough to shrink, not calm enough to grow. */
static void test_between(void **state)
{
    (void)state;
    struct machine m;
    boot(&m, 250);
    assert_int_equal(pass(&m, 250, 200, 0), PRESSURE_SHRINK);
    for (int i = 0; i < 200; i++)
        assert_int_equal(pass(&m, 250, 50, 10), PRESSURE_HOLD);
    assert_int_equal(m.p.share, 875);
    m.s.high = 1600; /* near it, and it would be reached again */
    m.s.current = 1500;
    for (int i = 0; i < 200; i++)
        assert_int_equal(pass(&m, 250, 0, 0), PRESSURE_HOLD);
    m.s.current = 1499;
    int64_t from = m.s.now_ms;
    while (pass(&m, 250, 0, 0) != PRESSURE_GROW)
        ;
    assert_true(m.s.now_ms - from >= PRESSURE_CALM_MS - 250);
}

static void test_a_count_that_begins_again(void **state)
{
    (void)state;
    struct machine m;
    boot(&m, 250);
    (void)pass(&m, 1000, 50, 0);
    m.s.some_us = 3;
    assert_int_equal(pass(&m, 250, 1000, 0), PRESSURE_SHRINK); /* it has already passed where it was */
    m.s.some_us = 0;
    assert_int_equal(pass(&m, 2000, 0, 0), PRESSURE_HOLD);
    assert_int_equal(pass(&m, 250, 1000, 0), PRESSURE_SHRINK);
    /* Too soon after the last look: it counts with the next. */
    assert_int_equal(pass(&m, 100, 0, 0), PRESSURE_HOLD);
    assert_int_equal(pass(&m, 0, 0, 0), PRESSURE_HOLD);
    assert_int_equal(pass(&m, -50, 0, 0), PRESSURE_HOLD);
}

static void test_whatever_comes(void **state)
{
    (void)state;
    uint64_t random = 42;
    for (int run = 0; run < 200; run++) {
        struct machine m;
        random = strata__mix64(random + 1);
        boot(&m, 1 + (uint32_t)(random % PRESSURE_WHOLE));
        int64_t last_move = INT64_MIN;
        for (int i = 0; i < 500; i++) {
            random = strata__mix64(random + 1);
            uint32_t before = m.p.share;
            m.s.high = random >> 60 == 0 ? random >> 50 : UINT64_MAX;
            m.s.current = random % 20000;
            enum pressure_move move = pass(&m, (int64_t)(random >> 8) % 3000,
                                           (random >> 20) % 1200 * ((random >> 32) % 2), (random >> 40) % 30);
            assert_true(m.p.share >= m.p.floor && m.p.share <= PRESSURE_WHOLE);
            assert_true(move != PRESSURE_HOLD || m.p.share == before);
            assert_true(move != PRESSURE_SHRINK || m.p.share < before);
            assert_true(move != PRESSURE_GROW || m.p.share > before);
            if (move == PRESSURE_HOLD)
                continue;
            assert_true(last_move == INT64_MIN || m.s.now_ms - last_move >= PRESSURE_SHRINK_EVERY_MS);
            last_move = m.s.now_ms;
        }
    }
}

static void test_parts(void **state)
{
    (void)state;
    assert_int_equal(strata__pressure_part(1000, 875), 875);
    assert_int_equal(strata__pressure_part(999, 1000), 999);
    assert_int_equal(strata__pressure_part(999, 1), 0);
    assert_true(strata__pressure_part(UINT64_MAX, 1000) == UINT64_MAX);
    for (uint32_t share = 1; share <= PRESSURE_WHOLE; share++)
        assert_true(strata__pressure_part(UINT64_MAX, share) > strata__pressure_part(UINT64_MAX, share - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shrinks_to_the_floor),
        cmocka_unit_test(test_what_is_short),
        cmocka_unit_test(test_comes_back_slowly),
        cmocka_unit_test(test_between),
        cmocka_unit_test(test_a_count_that_begins_again),
        cmocka_unit_test(test_whatever_comes),
        cmocka_unit_test(test_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
