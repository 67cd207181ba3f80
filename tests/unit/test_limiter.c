/* test_limiter.c - the limiter: each way it goes by hand, and long random histories against a slow model that remembers every
 * beginning and every one that waits. */
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/policy/limiter.h"

static struct limiter fresh(uint32_t running, uint32_t begun, int64_t interval, uint32_t waiting)
{
    struct limiter l = { 0 };
    struct limit limit = { running, begun, interval, waiting };
    strata__limiter_set(&l, &limit, 0);
    return l;
}

static void so_many_at_once(void **state)
{
    (void)state;
    int64_t at;
    struct limiter l = fresh(2, 0, 1000, 1);
    assert_int_equal(strata__limiter_ask(&l, 1), LIMITER_PASS);
    assert_int_equal(strata__limiter_ask(&l, 1), LIMITER_PASS);
    assert_int_equal(strata__limiter_ask(&l, 1), LIMITER_WAIT);
    assert_int_equal(strata__limiter_ask(&l, 1), LIMITER_FULL);
    assert_int_equal(strata__limiter_next(&l, 5000, &at), 0);
    assert_true(at == INT64_MAX); /* time alone changes nothing */
    strata__limiter_leave(&l);
    assert_int_equal(strata__limiter_ask(&l, 2), LIMITER_FULL); /* nobody passes who waits */
    assert_int_equal(strata__limiter_next(&l, 2, &at), 1);
    assert_int_equal(l.running, 2);
    assert_int_equal(l.waiting, 0);
    assert_int_equal(strata__limiter_ask(&l, 2), LIMITER_WAIT);
    strata__limiter_quit(&l);
    strata__limiter_leave(&l);
    assert_int_equal(strata__limiter_ask(&l, 2), LIMITER_PASS);
}

static void so_many_an_interval(void **state)
{
    (void)state;
    int64_t at;
    struct limiter l = fresh(0, 3, 1600, 10);
    for (int i = 0; i < 3; i++)
        assert_int_equal(strata__limiter_ask(&l, 10), LIMITER_PASS);
    assert_int_equal(strata__limiter_ask(&l, 20), LIMITER_WAIT);
    assert_int_equal(strata__limiter_next(&l, 20, &at), 0);
    assert_int_equal(at, 1700); /* the slot 0 to 99 leaves the interval */
    assert_int_equal(strata__limiter_next(&l, 1699, &at), 0);
    assert_int_equal(strata__limiter_next(&l, 1700, &at), 1);
    assert_int_equal(l.total, 1);
}

static void bounds_may_change(void **state)
{
    (void)state;
    int64_t at;
    struct limiter l = fresh(0, 2, 1600, 10);
    struct limit wider = { 0, 3, 1600, 10 }, other = { 0, 3, 160, 10 };
    assert_int_equal(strata__limiter_ask(&l, 10), LIMITER_PASS);
    assert_int_equal(strata__limiter_ask(&l, 10), LIMITER_PASS);
    assert_int_equal(strata__limiter_ask(&l, 10), LIMITER_WAIT);
    strata__limiter_set(&l, &wider, 10);
    assert_int_equal(strata__limiter_next(&l, 10, &at), 1);
    strata__limiter_set(&l, &other, 50);
    assert_int_equal(l.total, 3); /* they stay counted */
    assert_int_equal(strata__limiter_ask(&l, 60), LIMITER_WAIT);
    assert_int_equal(strata__limiter_next(&l, 60, &at), 0);
    assert_true(at > 60 && at <= 50 + 160 + 10);
    assert_int_equal(strata__limiter_next(&l, at, &at), 1);
}

static void forced_ones_count(void **state)
{
    (void)state;
    struct limiter l = fresh(1, 1, 1000, 10);
    assert_int_equal(strata__limiter_ask(&l, 1), LIMITER_PASS);
    strata__limiter_force(&l, 1);
    assert_int_equal(l.running, 2);
    strata__limiter_leave(&l);
    assert_int_equal(strata__limiter_ask(&l, 900), LIMITER_WAIT);
    strata__limiter_leave(&l);
    assert_int_equal(strata__limiter_idle(&l, 2000), 0);
    strata__limiter_quit(&l);
    assert_int_equal(strata__limiter_idle(&l, 1000), 0); /* what has begun is remembered */
    assert_int_equal(strata__limiter_idle(&l, 3000), 1);
}

static void times_without_end(void **state)
{
    (void)state;
    int64_t at;
    struct limiter l = fresh(0, 1, INT64_MAX, 1);
    assert_int_equal(strata__limiter_ask(&l, INT64_MAX - 1), LIMITER_PASS);
    assert_int_equal(strata__limiter_ask(&l, INT64_MAX - 1), LIMITER_WAIT);
    assert_int_equal(strata__limiter_next(&l, INT64_MAX - 1, &at), 0);
    l = fresh(0, 1, 1, 1);
    assert_int_equal(strata__limiter_ask(&l, -5), LIMITER_PASS);
    assert_int_equal(strata__limiter_ask(&l, -5), LIMITER_WAIT);
    assert_int_equal(strata__limiter_next(&l, -5, &at), 0);
    assert_true(at > -5 && at <= 12); /* a slot is a millisecond at least */
}

/* The model ------------------------------------------------------------------------------------------------------ */

enum { STEPS = 3000, HISTORIES = 60 };

struct model {
    int64_t begun[STEPS]; /* every moment at which one began */
    size_t count;
    uint32_t running, waiting;
};

static size_t begun_since(const struct model *m, int64_t from)
{
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++)
        n += m->begun[i] > from;
    return n;
}

/* The strict bound; and none is kept back past a slot more. */
static void check_began(struct model *m, const struct limit *limit, int64_t now)
{
    m->begun[m->count++] = now;
    m->running++;
    if (limit->most_running != 0)
        assert_in_range(m->running, 1, limit->most_running);
    if (limit->most_begun != 0)
        assert_in_range(begun_since(m, now - limit->interval_ms), 1, limit->most_begun);
}

static void check_kept_back(const struct model *m, const struct limit *limit, int64_t now)
{
    int64_t slack = limit->interval_ms / 16 + 1;
    int full = limit->most_running != 0 && m->running >= limit->most_running;
    int fast = limit->most_begun != 0 && begun_since(m, now - limit->interval_ms - 2 * slack) >= limit->most_begun;
    assert_true(full || fast || m->waiting != 0);
}

static void pump(struct limiter *l, struct model *m, const struct limit *limit, int64_t now, int64_t *at)
{
    while (strata__limiter_next(l, now, at)) {
        m->waiting--;
        check_began(m, limit, now);
    }
    if (m->waiting == 0)
        return;
    m->waiting--; /* the first that waits stands behind nobody */
    check_kept_back(m, limit, now);
    m->waiting++;
    assert_true(*at > now);
}

static void step(struct limiter *l, struct model *m, const struct limit *limit, int64_t *now, int64_t *at)
{
    switch (rand() % 5) {
    case 0:
    case 1: {
        enum limiter_answer a = strata__limiter_ask(l, *now);
        if (a == LIMITER_PASS) {
            assert_int_equal(m->waiting, 0);
            check_began(m, limit, *now);
        } else {
            check_kept_back(m, limit, *now);
            assert_int_equal(a, m->waiting < limit->most_waiting ? LIMITER_WAIT : LIMITER_FULL);
            m->waiting += a == LIMITER_WAIT;
        }
        break;
    }
    case 2:
        if (m->running == 0)
            return;
        m->running--;
        strata__limiter_leave(l);
        break;
    case 3:
        if (m->waiting == 0)
            return;
        m->waiting--;
        strata__limiter_quit(l);
        break;
    default: *now = *at != INT64_MAX && rand() % 2 ? *at : *now + rand() % (limit->interval_ms / 3 + 2); break;
    }
    pump(l, m, limit, *now, at);
}

static void against_the_model(void **state)
{
    (void)state;
    static struct model m;
    srand(7);
    for (int h = 0; h < HISTORIES; h++) {
        struct limit limit = { .most_running = (uint32_t)(rand() % 4),
                               .most_begun = (uint32_t)(rand() % 5),
                               .interval_ms = 1 + rand() % (h % 2 ? 2000 : 40),
                               .most_waiting = (uint32_t)(rand() % 6) };
        struct limiter l = { 0 };
        int64_t now = rand() % 10000, at = INT64_MAX;
        memset(&m, 0, sizeof m);
        strata__limiter_set(&l, &limit, now);
        for (int i = 0; i < STEPS && m.count < STEPS - 8; i++) {
            step(&l, &m, &limit, &now, &at);
            assert_int_equal(l.running, m.running);
            assert_int_equal(l.waiting, m.waiting);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_at_once),   cmocka_unit_test(so_many_an_interval), cmocka_unit_test(bounds_may_change),
        cmocka_unit_test(forced_ones_count), cmocka_unit_test(times_without_end),   cmocka_unit_test(against_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
