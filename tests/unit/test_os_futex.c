/* test_os_futex.c - sleeping on a word: the variant of this system, and the one for others. */
#include "tests/support/cmocka_all.h"

#include "src/os/os_clock.h"
#include "src/os/os_futex.h"
#include "src/os/os_thread.h"

/* The same file under other names, so that both can be in one program. */
#define strata__os_park posix_park
#define strata__os_unpark posix_unpark
int posix_park(_Atomic(uint32_t) *word, int64_t deadline_us);
void posix_unpark(_Atomic(uint32_t) *word);
#include "src/os/os_futex_posix.c"
#undef strata__os_park
#undef strata__os_unpark

struct variant {
    int (*park)(_Atomic(uint32_t) *word, int64_t deadline_us);
    void (*unpark)(_Atomic(uint32_t) *word);
};

static struct variant native = { strata__os_park, strata__os_unpark };
static struct variant portable = { posix_park, posix_unpark };

static void a_signal_that_came_first_is_kept(void **state)
{
    const struct variant *v = *state;
    _Atomic(uint32_t) word = 0;
    v->unpark(&word);
    v->unpark(&word);
    assert_int_equal(v->park(&word, INT64_MAX), 0);
    assert_int_equal(v->park(&word, 0), 1); /* two signals are one */
    v->unpark(&word);
    assert_int_equal(v->park(&word, -5), 0); /* a signal beats a deadline that passed */
}

static void a_deadline_wakes(void **state)
{
    const struct variant *v = *state;
    _Atomic(uint32_t) word = 0;
    int64_t deadline = strata__os_now_us() + 2000;
    assert_int_equal(v->park(&word, deadline), 1);
    assert_true(strata__os_now_us() >= deadline);
}

enum { ROUNDS = 2000 };

struct pair {
    const struct variant *v;
    _Atomic(uint32_t) ping, pong;
    int count; /* plain: only the signals order it */
};

static void answer(void *ctx)
{
    struct pair *pair = ctx;
    for (int i = 0; i < ROUNDS; i++) {
        (void)pair->v->park(&pair->ping, INT64_MAX);
        pair->count++;
        pair->v->unpark(&pair->pong);
    }
}

static void ping_pong(void **state)
{
    struct pair pair = { .v = *state };
    struct os_thread thread;
    assert_int_equal(strata__os_thread_start(&thread, "test-pong", answer, &pair), 0);
    for (int i = 0; i < ROUNDS; i++) {
        pair.count++;
        pair.v->unpark(&pair.ping);
        assert_int_equal(pair.v->park(&pair.pong, INT64_MAX), 0);
        assert_int_equal(pair.count, 2 * (i + 1));
    }
    strata__os_thread_join(&thread);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(a_signal_that_came_first_is_kept, &native),
        cmocka_unit_test_prestate(a_deadline_wakes, &native),
        cmocka_unit_test_prestate(ping_pong, &native),
        cmocka_unit_test_prestate(a_signal_that_came_first_is_kept, &portable),
        cmocka_unit_test_prestate(a_deadline_wakes, &portable),
        cmocka_unit_test_prestate(ping_pong, &portable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
