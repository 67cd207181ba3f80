/* test_breaker.c - the circuit breaker: each way it goes by hand, and every short history against a plain model. */
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/policy/breaker.h"

enum { FAILURES = 3, OPEN_MS = 100, PROBE_MS = 40 };

static struct breaker b;

static int fresh(void **state)
{
    (void)state;
    strata__breaker_init(&b, FAILURES, OPEN_MS, PROBE_MS);
    return 0;
}

static uint64_t ask(int64_t now, enum breaker_answer expected)
{
    uint64_t ticket = 0;
    assert_int_equal(strata__breaker_ask(&b, now, &ticket), expected);
    return ticket;
}

static void fail_one(int64_t now) { strata__breaker_tell(&b, ask(now, BREAKER_PASS), BREAKER_SICK, now); }

static void open_at(int64_t now)
{
    for (int i = 0; i < FAILURES; i++)
        fail_one(now);
    assert_int_equal(b.state, BREAKER_OPEN);
}

static void opens_after_failures_in_a_row(void **state)
{
    (void)state;
    fail_one(1);
    fail_one(2);
    strata__breaker_tell(&b, ask(3, BREAKER_PASS), BREAKER_WELL, 3); /* a success between them */
    fail_one(4);
    fail_one(5);
    strata__breaker_tell(&b, ask(6, BREAKER_PASS), BREAKER_UNSURE, 6); /* says nothing */
    assert_int_equal(b.state, BREAKER_CLOSED);
    fail_one(7);
    assert_int_equal(b.state, BREAKER_OPEN);
    assert_int_equal(b.since_ms, 7);
    assert_int_equal(b.until_ms, 7 + OPEN_MS);
    ask(7, BREAKER_REFUSE);
    ask(6 + OPEN_MS, BREAKER_REFUSE);
}

/* A hundred questions are out when the server stalls for a moment. */
static void a_hiccup_is_one_failure(void **state)
{
    uint64_t out[100];
    (void)state;
    for (int i = 0; i < 100; i++)
        out[i] = ask(1, BREAKER_PASS);
    for (int i = 0; i < 99; i++)
        strata__breaker_tell(&b, out[i], BREAKER_SICK, 50);
    assert_int_equal(b.state, BREAKER_CLOSED);
    assert_int_equal(b.in_a_row, 1);
    fail_one(51); /* asked after it: that is another one */
    assert_int_equal(b.in_a_row, 2);
    strata__breaker_tell(&b, out[99], BREAKER_WELL, 52); /* late, but it is well */
    assert_int_equal(b.in_a_row, 0);
}

static void one_probe_at_a_time(void **state)
{
    (void)state;
    open_at(10);
    uint64_t probe = ask(10 + OPEN_MS, BREAKER_PROBE);
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
    ask(10 + OPEN_MS, BREAKER_REFUSE);
    ask(10 + OPEN_MS + PROBE_MS - 1, BREAKER_REFUSE);
    strata__breaker_tell(&b, probe, BREAKER_WELL, 130);
    assert_int_equal(b.state, BREAKER_CLOSED);
    ask(130, BREAKER_PASS);
    fail_one(131); /* and it counts from nothing */
    fail_one(132);
    assert_int_equal(b.state, BREAKER_CLOSED);
    assert_int_equal(b.opened, 1);
}

static void a_probe_that_fails_opens_again(void **state)
{
    (void)state;
    open_at(10);
    uint64_t probe = ask(200, BREAKER_PROBE);
    strata__breaker_tell(&b, probe, BREAKER_SICK, 210);
    assert_int_equal(b.state, BREAKER_OPEN);
    ask(209 + OPEN_MS, BREAKER_REFUSE);
    ask(210 + OPEN_MS, BREAKER_PROBE);
    assert_int_equal(b.since_ms, 10); /* it has been away all the time */
    assert_int_equal(b.opened, 1);
}

static void a_probe_that_never_answers_frees_its_place(void **state)
{
    (void)state;
    open_at(0);
    uint64_t lost = ask(OPEN_MS, BREAKER_PROBE);
    ask(OPEN_MS + PROBE_MS - 1, BREAKER_REFUSE);
    uint64_t second = ask(OPEN_MS + PROBE_MS, BREAKER_PROBE);
    strata__breaker_tell(&b, lost, BREAKER_SICK, OPEN_MS + PROBE_MS + 1); /* too late to matter */
    strata__breaker_tell(&b, lost, BREAKER_WELL, OPEN_MS + PROBE_MS + 1);
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
    strata__breaker_tell(&b, second, BREAKER_WELL, OPEN_MS + PROBE_MS + 2);
    assert_int_equal(b.state, BREAKER_CLOSED);
}

static void a_probe_that_says_nothing_gives_its_place_back(void **state)
{
    (void)state;
    open_at(0);
    uint64_t probe = ask(OPEN_MS, BREAKER_PROBE);
    strata__breaker_tell(&b, probe, BREAKER_UNSURE, OPEN_MS + 1);
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
    uint64_t second = ask(OPEN_MS + 1, BREAKER_PROBE);
    strata__breaker_tell(&b, probe, BREAKER_WELL, OPEN_MS + 2); /* twice: the second is nobody's */
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
    strata__breaker_tell(&b, second, BREAKER_SICK, OPEN_MS + 3);
    assert_int_equal(b.state, BREAKER_OPEN);
}

static void what_was_asked_before_it_opened_decides_nothing(void **state)
{
    (void)state;
    uint64_t slow = ask(0, BREAKER_PASS);
    open_at(1);
    strata__breaker_tell(&b, slow, BREAKER_WELL, 2); /* a late success does not close it */
    ask(2, BREAKER_REFUSE);
    strata__breaker_tell(&b, slow, BREAKER_SICK, 50); /* nor does a late failure keep it open for longer */
    uint64_t probe = ask(1 + OPEN_MS, BREAKER_PROBE);
    strata__breaker_tell(&b, slow, BREAKER_WELL, 110);
    assert_int_equal(b.state, BREAKER_HALF_OPEN);
    strata__breaker_tell(&b, probe, BREAKER_WELL, 120);
    for (int i = 0; i < FAILURES; i++)
        strata__breaker_tell(&b, slow, BREAKER_SICK, 121); /* an outage that is over counts no more */
    assert_int_equal(b.state, BREAKER_CLOSED);
}

static void a_probe_of_several_steps_goes_on(void **state)
{
    (void)state;
    open_at(0);
    uint64_t probe = ask(OPEN_MS, BREAKER_PROBE);
    assert_int_equal(strata__breaker_go_on(&b, probe, OPEN_MS + PROBE_MS - 1), 1);
    ask(OPEN_MS + PROBE_MS, BREAKER_REFUSE);
    uint64_t second = ask(OPEN_MS + 2 * PROBE_MS, BREAKER_PROBE);
    assert_int_equal(strata__breaker_go_on(&b, probe, 200), 0); /* its place was taken */
    strata__breaker_tell(&b, second, BREAKER_SICK, 200);
    assert_int_equal(strata__breaker_go_on(&b, second, 200), 0);
}

static void times_without_end(void **state)
{
    (void)state;
    strata__breaker_init(&b, 1, INT64_MAX, INT64_MAX);
    fail_one(INT64_MAX - 5);
    ask(INT64_MAX - 1, BREAKER_REFUSE);
    strata__breaker_init(&b, 1, 0, 0);
    fail_one(1);
    ask(1, BREAKER_PROBE); /* open for no time at all */
}

/* Every history of STEPS steps, out of the things that can happen, against a model that keeps them apart. */
enum { STEPS = 8, CHOICES = 6 };

struct model {
    int state, in_a_row, probe; /* probe: the number of the one that is out; 0 none */
    int64_t until;
    uint64_t tickets[STEPS]; /* as the breaker gave them, -- */
    int eras[STEPS];         /* -- and when: the era, or minus the probe's number, -- */
    int counted[STEPS];      /* -- and after how many failures that counted */
    int failures;
    size_t asked;
    int era, probes;
};

static void model_ask(struct model *m, int64_t now)
{
    uint64_t ticket = 0;
    enum breaker_answer expected = m->state == BREAKER_CLOSED ? BREAKER_PASS
                                   : now >= m->until          ? BREAKER_PROBE
                                                              : BREAKER_REFUSE;
    assert_int_equal(strata__breaker_ask(&b, now, &ticket), expected);
    if (expected == BREAKER_REFUSE)
        return;
    if (expected == BREAKER_PROBE) {
        m->state = BREAKER_HALF_OPEN;
        m->probe = ++m->probes;
        m->until = now + PROBE_MS;
    }
    m->tickets[m->asked] = ticket;
    m->counted[m->asked] = m->failures;
    m->eras[m->asked++] = expected == BREAKER_PROBE ? -m->probe : m->era;
}

static void model_open(struct model *m, int64_t now)
{
    m->state = BREAKER_OPEN;
    m->probe = 0;
    m->until = now + OPEN_MS;
}

/* The oldest or the newest that was asked is answered (and may be again, which means nothing for a probe). */
static void model_tell(struct model *m, int newest, enum breaker_verdict v, int64_t now)
{
    if (m->asked == 0)
        return;
    size_t i = newest ? m->asked - 1 : 0;
    strata__breaker_tell(&b, m->tickets[i], v, now);
    if (m->eras[i] < 0) {
        if (m->state != BREAKER_HALF_OPEN || m->probe != -m->eras[i])
            return;
        m->probe = 0;
        if (v == BREAKER_SICK) {
            model_open(m, now);
        } else {
            m->until = now;
            if (v == BREAKER_WELL) {
                m->state = BREAKER_CLOSED;
                m->in_a_row = 0;
                m->era++;
            }
        }
    } else if (m->state == BREAKER_CLOSED && m->eras[i] == m->era) {
        if (v == BREAKER_WELL)
            m->in_a_row = 0;
        if (v != BREAKER_SICK || m->counted[i] != m->failures)
            return;
        m->failures++;
        if (++m->in_a_row == 2)
            model_open(m, now);
    }
}

static void every_short_history(void **state)
{
    (void)state;
    long histories = 1;
    for (int i = 0; i < STEPS; i++)
        histories *= CHOICES;
    for (long h = 0; h < histories; h++) {
        struct model m = { .state = BREAKER_CLOSED };
        int64_t now = 1000;
        long left = h;
        strata__breaker_init(&b, 2, OPEN_MS, PROBE_MS);
        for (int i = 0; i < STEPS; i++, left /= CHOICES) {
            switch (left % CHOICES) {
            case 0: model_ask(&m, now); break;
            case 1: model_tell(&m, 1, BREAKER_SICK, now); break;
            case 2: model_tell(&m, 1, BREAKER_WELL, now); break;
            case 3: model_tell(&m, 0, BREAKER_SICK, now); break;
            case 4: model_tell(&m, 0, BREAKER_WELL, now); break;
            default: now += PROBE_MS; break;
            }
            assert_int_equal(b.state, m.state);
            assert_int_equal(b.probing, m.probe != 0);
        }
    }
}

#define CASE(name) cmocka_unit_test_setup(name, fresh)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(opens_after_failures_in_a_row),
        CASE(a_hiccup_is_one_failure),
        CASE(one_probe_at_a_time),
        CASE(a_probe_that_fails_opens_again),
        CASE(a_probe_that_never_answers_frees_its_place),
        CASE(a_probe_that_says_nothing_gives_its_place_back),
        CASE(what_was_asked_before_it_opened_decides_nothing),
        CASE(a_probe_of_several_steps_goes_on),
        CASE(times_without_end),
        CASE(every_short_history),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
