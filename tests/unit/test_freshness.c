/* test_freshness.c - the freshness machine, exhaustively: every state in every situation, every deadline from both sides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/policy/freshness.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* What should be, written out by hand and in another shape than freshness.c has it: a row a state, a column a
 * situation.  S serve, R serve and refresh, t stale, T stale and refresh, L load, M miss, W wait, F fail. */
static const struct {
    int state;
    const char *actions; /* read, load, throttled, failed, soft timeout, hard timeout */
} expected[] = {
    { STRATA_STATE_FRESH, "SSSSSS" },      { STRATA_STATE_EARLY, "SRSSSS" }, { STRATA_STATE_STALE, "tTtttt" },
    { STRATA_STATE_ERROR_ONLY, "MLtttt" }, { STRATA_STATE_KEEP, "MLLFWF" },  { STRATA_STATE_GONE, "MLLFWF" },
};

static const char letters[] = { [ACTION_SERVE] = 'S', [ACTION_SERVE_AND_REFRESH] = 'R',
                                [ACTION_STALE] = 't', [ACTION_STALE_AND_REFRESH] = 'T',
                                [ACTION_LOAD] = 'L',  [ACTION_MISS] = 'M',
                                [ACTION_WAIT] = 'W',  [ACTION_FAIL] = 'F' };

static void test_every_state_in_every_situation(void **state)
{
    (void)state;
    int cells = 0;
    for (size_t i = 0; i < COUNT(expected); i++)
        for (int situation = 0; situation < SITUATION_COUNT; situation++, cells++)
            if (letters[strata__freshness_action(expected[i].state, (enum situation)situation)] !=
                expected[i].actions[situation])
                fail_msg("state %d, situation %d is wrong", expected[i].state, situation);
    assert_int_equal(cells, 36);
}

static const strata_meta all_windows = {
    .born_ms = 1000, .fresh_ms = 100, .early_ms = 20, .stale_ms = 50, .error_ms = 200, .keep_ms = 500
};

static int state_at(const strata_meta *meta, int64_t now)
{
    struct deadlines d;
    strata__deadlines(meta, meta->born_ms, &d);
    int state = strata__freshness_state(&d, now);
    /* The short question has the same answer. */
    assert_int_equal(strata__is_fresh(meta, meta->born_ms, now),
                     state == STRATA_STATE_FRESH || state == STRATA_STATE_EARLY);
    return state;
}

static void test_a_moment_equal_to_a_deadline_is_past_it(void **state)
{
    (void)state;
    assert_int_equal(state_at(&all_windows, INT64_MIN), STRATA_STATE_FRESH);
    assert_int_equal(state_at(&all_windows, 1000), STRATA_STATE_FRESH);
    assert_int_equal(state_at(&all_windows, 1079), STRATA_STATE_FRESH);
    assert_int_equal(state_at(&all_windows, 1080), STRATA_STATE_EARLY);
    assert_int_equal(state_at(&all_windows, 1099), STRATA_STATE_EARLY);
    assert_int_equal(state_at(&all_windows, 1100), STRATA_STATE_STALE);
    assert_int_equal(state_at(&all_windows, 1149), STRATA_STATE_STALE);
    assert_int_equal(state_at(&all_windows, 1150), STRATA_STATE_ERROR_ONLY);
    assert_int_equal(state_at(&all_windows, 1299), STRATA_STATE_ERROR_ONLY);
    assert_int_equal(state_at(&all_windows, 1300), STRATA_STATE_KEEP);
    assert_int_equal(state_at(&all_windows, 1599), STRATA_STATE_KEEP);
    assert_int_equal(state_at(&all_windows, 1600), STRATA_STATE_GONE);
    assert_int_equal(state_at(&all_windows, INT64_MAX), STRATA_STATE_GONE);
}

/* Each combination of windows, at every moment, against the definition: an entry is in the first state whose window
 * has not ended; all windows count from the end of freshness. */
static void test_windows_overlap_in_every_combination(void **state)
{
    (void)state;
    static const int64_t lengths[] = { 0, 1, 3, 5 };
    for (size_t a = 0; a < 256; a++) {
        strata_meta m = { .born_ms = 0,
                          .fresh_ms = 4,
                          .early_ms = lengths[a & 3],
                          .stale_ms = lengths[a >> 2 & 3],
                          .error_ms = lengths[a >> 4 & 3],
                          .keep_ms = lengths[a >> 6 & 3] };
        for (int64_t now = 0; now < 12; now++) {
            int64_t past = now - 4; /* since the end of freshness */
            int want = now < 4 - m.early_ms ? STRATA_STATE_FRESH
                       : past < 0           ? STRATA_STATE_EARLY
                       : past < m.stale_ms  ? STRATA_STATE_STALE
                       : past < m.error_ms  ? STRATA_STATE_ERROR_ONLY
                       : past < m.keep_ms   ? STRATA_STATE_KEEP
                                            : STRATA_STATE_GONE;
            if (state_at(&m, now) != want)
                fail_msg("windows %zu at %d: %d, not %d", a, (int)now, state_at(&m, now), want);
        }
    }
}

/* How far an entry has come. */
static int stage(int state)
{
    static const int order[] = { STRATA_STATE_FRESH,      STRATA_STATE_EARLY, STRATA_STATE_STALE,
                                 STRATA_STATE_ERROR_ONLY, STRATA_STATE_KEEP,  STRATA_STATE_GONE };
    for (size_t i = 0; i < COUNT(order); i++)
        if (order[i] == state)
            return (int)i;
    fail_msg("state %d", state);
    return -1;
}

/* The n-th of all combinations: born, freshness, margin, and the three windows. */
static strata_meta nth_meta(size_t n, const int64_t *lengths, size_t count)
{
    strata_meta m = { .born_ms = lengths[n % count] };
    int64_t *fields[] = { &m.fresh_ms, &m.early_ms, &m.stale_ms, &m.error_ms, &m.keep_ms };
    for (size_t i = 0; i < COUNT(fields); i++)
        *fields[i] = lengths[(n /= count) % count];
    return m;
}

static void deadlines_of(const strata_meta *m, struct deadlines *d) { strata__deadlines(m, m->born_ms, d); }

static int none_is_earlier(const struct deadlines *than, const struct deadlines *d)
{
    return d->fresh_until >= than->fresh_until && d->stale_until >= than->stale_until &&
           d->error_until >= than->error_until && d->keep_until >= than->keep_until && d->gone_at >= than->gone_at;
}

/* Time only takes an entry further; a longer duration, or a later birth, never brings one of its ends nearer. */
static void test_deadlines_are_monotonic(void **state)
{
    (void)state;
    static const int64_t lengths[] = { 0, 1, 4, 9, STRATA_FOREVER };
    enum { N = COUNT(lengths) };
    for (size_t n = 0; n < (size_t)N * N * N * N * N * N; n++) {
        strata_meta m = nth_meta(n, lengths, N), longer = m;
        struct deadlines d, after;
        deadlines_of(&m, &d);
        for (int64_t now = 0, before = 0; now < 30; now++) {
            int at = stage(strata__freshness_state(&d, now));
            assert_true(at >= before);
            before = at;
        }
        int64_t *fields[] = { &longer.born_ms, &longer.fresh_ms, &longer.stale_ms, &longer.error_ms, &longer.keep_ms };
        for (size_t i = 0; i < COUNT(fields); i++) {
            longer = m;
            if (*fields[i] == STRATA_FOREVER)
                continue;
            for (size_t k = 0; k < N; k++) {
                int64_t more = lengths[k];
                if (more <= *fields[i])
                    continue;
                *fields[i] = more;
                deadlines_of(&longer, &after);
                if (!none_is_earlier(&d, &after) || after.early_at < d.early_at)
                    fail_msg("combination %zu, field %zu of %lld", n, i, (long long)more);
            }
        }
        longer = m;
        if (m.early_ms != STRATA_FOREVER) { /* a wider margin comes sooner, and moves nothing else */
            longer.early_ms++;
            deadlines_of(&longer, &after);
            assert_true(after.early_at <= d.early_at && none_is_earlier(&d, &after) && none_is_earlier(&after, &d));
        }
    }
}

/* A cap makes all that lies behind it end there, and lengthens nothing; twice is once. */
static void test_a_cap_only_shortens(void **state)
{
    (void)state;
    static const int64_t lengths[] = { 0, 1, 4, 9, STRATA_FOREVER };
    enum { N = COUNT(lengths) };
    for (size_t n = 0; n < (size_t)N * N * N * N * N * N; n++) {
        strata_meta m = nth_meta(n, lengths, N);
        if (m.born_ms == STRATA_FOREVER)
            continue;
        struct deadlines d, capped, again;
        deadlines_of(&m, &d);
        for (int64_t until = m.born_ms; until < m.born_ms + 14; until++) {
            strata_meta c = m;
            strata__deadlines_cap(&c, c.born_ms, until);
            deadlines_of(&c, &capped);
            if (!none_is_earlier(&capped, &d) || capped.gone_at > (until > m.born_ms ? until : m.born_ms))
                fail_msg("combination %zu until %lld: gone at %lld", n, (long long)until, (long long)capped.gone_at);
            strata__deadlines_cap(&c, c.born_ms, until);
            deadlines_of(&c, &again);
            assert_memory_equal(&capped, &again, sizeof again);
        }
    }
}

static void test_gone_at_is_the_last_deadline(void **state)
{
    (void)state;
    struct deadlines d;
    strata__deadlines(&all_windows, 1000, &d);
    assert_int_equal(d.gone_at, 1600);
    strata_meta m = { .fresh_ms = 10, .stale_ms = 30, .error_ms = 20 };
    strata__deadlines(&m, 0, &d);
    assert_int_equal(d.gone_at, 40);
    m = (strata_meta){ .fresh_ms = 10 };
    strata__deadlines(&m, 0, &d);
    assert_int_equal(d.gone_at, 10);
    assert_int_equal(d.early_at, 10);
}

static void test_forever(void **state)
{
    (void)state;
    strata_meta m = { .fresh_ms = STRATA_FOREVER, .early_ms = 100, .stale_ms = 5 };
    assert_int_equal(state_at(&m, INT64_MAX), STRATA_STATE_FRESH);
    m = (strata_meta){ .fresh_ms = 10, .error_ms = STRATA_FOREVER };
    assert_int_equal(state_at(&m, 10), STRATA_STATE_ERROR_ONLY);
    assert_int_equal(state_at(&m, INT64_MAX), STRATA_STATE_ERROR_ONLY);
    struct deadlines d;
    strata__deadlines(&m, 0, &d);
    assert_int_equal(d.gone_at, INT64_MAX);
    m = (strata_meta){ .born_ms = 7, .fresh_ms = 10, .early_ms = STRATA_FOREVER };
    strata__deadlines(&m, 7, &d);
    assert_int_equal(d.early_at, 7);
}

/* Any number at all: no overflow (the sanitizer watches), and the order of the deadlines holds. */
static void test_no_input_overflows(void **state)
{
    (void)state;
    static const int64_t extremes[] = { INT64_MIN, INT64_MIN + 1, -1000,         -1,       0, 1,
                                        1000,      INT64_MAX / 2, INT64_MAX - 1, INT64_MAX };
    enum { N = COUNT(extremes) };
    for (size_t i = 0; i < (size_t)N * N * N * N; i++) {
        int64_t born = extremes[i % N], fresh = extremes[i / N % N], early = extremes[i / N / N % N];
        int64_t other = extremes[i / N / N / N];
        strata_meta m = { .born_ms = other,
                          .fresh_ms = fresh,
                          .early_ms = early,
                          .stale_ms = other,
                          .error_ms = fresh,
                          .keep_ms = early,
                          .retry_at_ms = early };
        struct deadlines d;
        strata__deadlines(&m, born, &d);
        assert_true(d.early_at <= d.fresh_until && d.fresh_until <= d.stale_until);
        assert_true(d.early_at >= born || born == INT64_MAX);
        assert_true(d.error_until >= d.fresh_until && d.keep_until >= d.fresh_until);
        assert_true(d.gone_at >= d.stale_until && d.gone_at >= d.error_until && d.gone_at >= d.keep_until);
        for (size_t k = 0; k < N; k++) {
            int s = strata__freshness_state(&d, extremes[k]);
            assert_true(s >= STRATA_STATE_GONE && s <= STRATA_STATE_KEEP);
        }
    }
}

static void test_retry_moves_with_the_clock(void **state)
{
    (void)state;
    struct deadlines d;
    strata_meta m = { .born_ms = 1000, .fresh_ms = 10 };
    strata__deadlines(&m, 1000, &d);
    assert_int_equal(d.retry_at, INT64_MIN);
    m.retry_at_ms = 1500;
    strata__deadlines(&m, 1000, &d);
    assert_int_equal(d.retry_at, 1500);
    strata__deadlines(&m, 200, &d); /* told on another life's clock */
    assert_int_equal(d.retry_at, 700);
}

static void test_defaults(void **state)
{
    (void)state;
    strata_policy p;
    strata__policy_defaults(&p);
    const strata_policy none = STRATA_POLICY_INIT;
    strata_policy r;
    strata__policy_resolve(&r, &none, &p);
    assert_int_equal(r.size, sizeof r);
    assert_int_equal(r.ttl_ms, 3600000);
    assert_int_equal(r.refresh_timeout_ms, 30000);
    assert_int_equal(r.retry_ms, 1000);
    assert_int_equal(r.single_flight, STRATA_ON);
    assert_int_equal(r.background_completion, STRATA_OFF);
    const int64_t off[] = { r.stale_while_revalidate_ms, r.stale_if_error_ms, r.keep_ms,        r.negative_ttl_ms,
                            r.refresh_ahead_ms,          r.soft_timeout_ms,   r.hard_timeout_ms };
    for (size_t i = 0; i < COUNT(off); i++)
        assert_int_equal(off[i], 0);
    strata_policy from_nothing;
    strata__policy_resolve(&from_nothing, NULL, NULL);
    assert_memory_equal(&from_nothing, &r, sizeof r);
}

static void test_levels(void **state)
{
    (void)state;
    strata_policy cache, space, call, final;
    const strata_policy user = { STRATA_SIZED(strata_policy), .ttl_ms = 5000, .stale_if_error_ms = 700,
                                 .single_flight = STRATA_OFF, .retry_ms = STRATA_OFF };
    const strata_policy of_space = { STRATA_SIZED(strata_policy), .stale_if_error_ms = STRATA_OFF, .keep_ms = 9,
                                     .single_flight = STRATA_ON };
    const strata_policy of_call = { STRATA_SIZED(strata_policy), .ttl_ms = STRATA_OFF,
                                    .hard_timeout_ms = STRATA_FOREVER };
    strata__policy_resolve(&cache, &user, NULL);
    assert_int_equal(cache.ttl_ms, 5000);
    assert_int_equal(cache.stale_if_error_ms, 700);
    assert_int_equal(cache.retry_ms, 0);
    assert_int_equal(cache.single_flight, STRATA_OFF);
    strata__policy_resolve(&space, &of_space, &cache);
    assert_int_equal(space.ttl_ms, 5000);
    assert_int_equal(space.stale_if_error_ms, 0);
    assert_int_equal(space.keep_ms, 9);
    assert_int_equal(space.retry_ms, 0); /* off stays off below, it does not become the default again */
    assert_int_equal(space.single_flight, STRATA_ON);
    strata__policy_resolve(&call, &of_call, &space);
    assert_int_equal(call.ttl_ms, STRATA_OFF); /* do not store */
    assert_int_equal(call.hard_timeout_ms, STRATA_FOREVER);
    assert_int_equal(call.keep_ms, 9);
    strata__policy_resolve(&final, NULL, &call);
    assert_memory_equal(&final, &call, sizeof call);
    strata__policy_resolve(&call, &of_call, &call); /* in place */
    assert_memory_equal(&final, &call, sizeof call);
}

static void test_shorter_policy_inherits_what_it_lacks(void **state)
{
    (void)state;
    strata_policy old = { .size = offsetof(strata_policy, keep_ms), .ttl_ms = 7, .keep_ms = 12345, .single_flight = 99 };
    strata_policy r;
    strata__policy_resolve(&r, &old, NULL);
    assert_int_equal(r.ttl_ms, 7);
    assert_int_equal(r.keep_ms, 0);
    assert_int_equal(r.single_flight, STRATA_ON);
    assert_int_equal(strata__policy_check(&old, NULL), STRATA_OK);
}

static void test_check_names_the_field(void **state)
{
    (void)state;
    strata_error err = STRATA_ERROR_INIT;
    strata_policy p = STRATA_POLICY_INIT;
    assert_int_equal(strata__policy_check(NULL, &err), STRATA_OK);
    assert_int_equal(strata__policy_check(&p, &err), STRATA_OK);
    p.stale_if_error_ms = -2;
    assert_int_equal(strata__policy_check(&p, &err), STRATA_EINVAL);
    assert_string_equal(err.where, "stale_if_error_ms");
    assert_non_null(strstr(err.message, "-2"));
    p.stale_if_error_ms = STRATA_FOREVER;
    p.single_flight = 2;
    assert_int_equal(strata__policy_check(&p, &err), STRATA_EINVAL);
    assert_string_equal(err.where, "single_flight");
    p.single_flight = STRATA_OFF;
    p.size = 0;
    assert_int_equal(strata__policy_check(&p, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "STRATA_POLICY_INIT"));
}

static void test_meta_of_positive_and_negative_entries(void **state)
{
    (void)state;
    strata_policy p = { STRATA_SIZED(strata_policy), .ttl_ms = 100, .stale_while_revalidate_ms = 1,
                        .stale_if_error_ms = 2,      .keep_ms = 3,  .refresh_ahead_ms = 4,
                        .negative_ttl_ms = 50 };
    strata_meta m = { .life = 77, .position = 8, .born_ms = 9 };
    strata__policy_to_meta(&p, 0, &m);
    assert_int_equal(m.fresh_ms, 100);
    assert_int_equal(m.stale_ms, 1);
    assert_int_equal(m.error_ms, 2);
    assert_int_equal(m.keep_ms, 3);
    assert_int_equal(m.early_ms, 4);
    assert_int_equal(m.negative, 0);
    strata__policy_to_meta(&p, 1, &m);
    assert_int_equal(m.fresh_ms, 50);
    assert_int_equal(m.stale_ms | m.error_ms | m.keep_ms | m.early_ms, 0);
    assert_int_equal(m.negative, 1);
    assert_int_equal(m.life, 77);
    assert_int_equal(m.position, 8);
    assert_int_equal(state_at(&m, 58), STRATA_STATE_FRESH);
    assert_int_equal(state_at(&m, 59), STRATA_STATE_GONE);
    p.ttl_ms = STRATA_OFF;
    strata__policy_to_meta(&p, 0, &m);
    assert_int_equal(m.fresh_ms, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_state_in_every_situation),
        cmocka_unit_test(test_a_moment_equal_to_a_deadline_is_past_it),
        cmocka_unit_test(test_windows_overlap_in_every_combination),
        cmocka_unit_test(test_deadlines_are_monotonic),
        cmocka_unit_test(test_a_cap_only_shortens),
        cmocka_unit_test(test_gone_at_is_the_last_deadline),
        cmocka_unit_test(test_forever),
        cmocka_unit_test(test_no_input_overflows),
        cmocka_unit_test(test_retry_moves_with_the_clock),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_shorter_policy_inherits_what_it_lacks),
        cmocka_unit_test(test_check_names_the_field),
        cmocka_unit_test(test_meta_of_positive_and_negative_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
