/* test_os_bound.c - a bound of the clock is above it: whatever happens to the wall clock, and however long a thread asks nothing. */
#include "src/base/hash.h"
#include "src/os/os_bound.h"
#include "src/os/os_clock.h"
#include "src/os/reclaim.h"
#include "tests/support/cmocka_all.h"

/* Both clocks, in milliseconds. */
struct world {
    int64_t mono, wall;
    int64_t beat; /* when the loop ages bounds next */
    uint64_t random;
    struct os_bound bound;
};

static int64_t second_of(const struct world *w) { return w->wall / 1000; }

static uint64_t chance(struct world *w, uint64_t below)
{
    w->random = strata__mix64(w->random + 0x9e3779b97f4a7c15u);
    return w->random % below;
}

/* Time passes, in ticks; the loop looks when its moment has come, `late` after it at most. */
static void pass(struct world *w, int64_t ms, int64_t late)
{
    for (int64_t end = w->mono + ms; w->mono < end;) {
        int64_t tick = end - w->mono < 4 ? end - w->mono : 4;
        w->mono += tick;
        w->wall += tick;
        if (late < 0 || w->mono < w->beat)
            continue;
        os_bound_age(&w->bound, w->mono);
        w->beat = w->mono + OS_BOUND_BEAT_MS + (int64_t)chance(w, (uint64_t)late + 1);
    }
}

/* As a hit does: 1: by the bound alone. */
static int ask(struct world *w)
{
    if (os_bound_is_of(&w->bound, second_of(w))) {
        assert_true(os_bound_until(&w->bound) >= w->mono);
        return 1;
    }
    os_bound_set(&w->bound, second_of(w), w->mono);
    return 0;
}

static struct world begin(uint64_t seed)
{
    struct world w = { .mono = 1000000, .wall = 1800000000000, .random = seed };
    os_bound_init(&w.bound);
    return w;
}

static void a_thread_begins_by_reading(void **state)
{
    (void)state;
    struct world w = begin(1);
    assert_false(ask(&w));
    assert_true(ask(&w));
    assert_int_equal(os_bound_until(&w.bound), w.mono + OS_BOUND_SPAN_MS);
}

static void it_holds_for_its_second_and_no_longer(void **state)
{
    (void)state;
    struct world w = begin(1);
    assert_false(ask(&w));
    pass(&w, 996, -1);
    assert_true(ask(&w));
    pass(&w, 4, -1);
    assert_false(ask(&w));
    pass(&w, 5 * 3600 * 1000, -1);
    assert_false(ask(&w));
}

/* A leap second: the same second twice, and nobody ages anything. */
static void it_bears_a_leap_second(void **state)
{
    (void)state;
    for (int64_t before = 0; before < 1000; before += 7) {
        struct world w = begin(1);
        pass(&w, before, -1);
        (void)ask(&w);
        pass(&w, 1000 - before, -1);
        w.wall -= 1000;
        for (int i = 0; i < 250; i++) {
            (void)ask(&w);
            pass(&w, 4, -1);
        }
    }
}

static void the_clock_set_forward_is_another_second(void **state)
{
    (void)state;
    struct world w = begin(1);
    (void)ask(&w);
    w.wall += 3000;
    assert_false(ask(&w));
}

/* The worst: a thread slept for exactly as long as the clock is set back by. */
static void set_back_to_the_same_second_it_was_forgotten(void **state)
{
    (void)state;
    for (int64_t slept = 1000; slept < 20000; slept += 4) {
        struct world w = begin((uint64_t)slept);
        (void)ask(&w);
        pass(&w, slept, 700);
        w.wall -= slept;
        (void)ask(&w);
    }
}

static void whatever_happens_it_is_above(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct world w = begin(seed);
        int64_t left_wall = w.wall;
        int by_bound = 0;
        for (int i = 0; i < 400; i++) {
            pass(&w, (int64_t)chance(&w, chance(&w, 8) == 0 ? 6000 : 300), 700);
            uint64_t what = chance(&w, 12);
            if (what == 0) /* back to a moment where it was */
                w.wall = left_wall;
            else if (what == 1)
                w.wall += (int64_t)chance(&w, 10000) - 5000;
            if (what < 8)
                by_bound += ask(&w);
            if (chance(&w, 10) == 0)
                left_wall = w.wall;
        }
        assert_true(by_bound > 0);
    }
}

static void renewed_it_is_of_now(void **state)
{
    (void)state;
    struct os_bound b;
    os_bound_init(&b);
    assert_false(os_bound_is_of(&b, os_bound_second()));
    int64_t before = os_bound_second(), now = strata__os_bound_renew(&b);
    assert_int_equal(os_bound_until(&b), now + OS_BOUND_SPAN_MS);
    assert_true(os_bound_is_of(&b, before) || !os_bound_is_of(&b, before - 1));
    assert_true(strata__os_now_ms() >= now);
}

static void the_loop_ages_every_threads(void **state)
{
    (void)state;
    struct reclaim_record *r = reclaim_self();
    assert_non_null(r);
    os_bound_set(&r->bound, 7, 10000);
    assert_true(strata__reclaim_age_bounds(10000 + OS_BOUND_OLD_MS));
    assert_true(os_bound_is_of(&r->bound, 7));
    assert_true(strata__reclaim_age_bounds(10001 + OS_BOUND_OLD_MS));
    assert_false(os_bound_is_of(&r->bound, 7));
    assert_int_equal(strata__os_bound_usable() & ~1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_begins_by_reading),
        cmocka_unit_test(it_holds_for_its_second_and_no_longer),
        cmocka_unit_test(it_bears_a_leap_second),
        cmocka_unit_test(the_clock_set_forward_is_another_second),
        cmocka_unit_test(set_back_to_the_same_second_it_was_forgotten),
        cmocka_unit_test(whatever_happens_it_is_above),
        cmocka_unit_test(renewed_it_is_of_now),
        cmocka_unit_test(the_loop_ages_every_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
