/* test_os_lock.c - the one-word lock: one at a time, nobody forgotten. */
#include "tests/support/cmocka_all.h"

#include "src/os/os_lock.h"
#include "src/os/os_thread.h"

enum { THREADS = 4, ROUNDS = 50000 };

struct work {
    struct os_lock lock;
    uint64_t count; /* under the lock */
};

static void count_up(void *ctx)
{
    struct work *w = ctx;
    for (int i = 0; i < ROUNDS; i++) {
        os_lock_take(&w->lock);
        w->count++;
        os_lock_give(&w->lock);
    }
}

static void counts_are_exact(void **state)
{
    (void)state;
    struct work w = { .count = 0 };
    struct os_thread threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(strata__os_thread_start(&threads[i], "lock", count_up, &w), 0);
    for (int i = 0; i < THREADS; i++)
        strata__os_thread_join(&threads[i]);
    assert_int_equal(w.count, (uint64_t)THREADS * ROUNDS);
    assert_int_equal(atomic_load(&w.lock.word), OS_LOCK_FREE);
}

static void wait_and_count(void *ctx)
{
    struct work *w = ctx;
    os_lock_take(&w->lock);
    w->count++;
    os_lock_give(&w->lock);
}

/* Held until the others sleep: their word says so. */
static void sleepers_are_woken(void **state)
{
    (void)state;
    struct work w = { .count = 0 };
    struct os_thread threads[THREADS];
    os_lock_take(&w.lock);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(strata__os_thread_start(&threads[i], "lock", wait_and_count, &w), 0);
#if defined(__linux__)
    while (atomic_load(&w.lock.word) != OS_LOCK_WANTED)
        continue;
#endif
    assert_int_equal(w.count, 0);
    assert_false(os_lock_try(&w.lock));
    os_lock_give(&w.lock);
    for (int i = 0; i < THREADS; i++)
        strata__os_thread_join(&threads[i]);
    assert_int_equal(w.count, THREADS);
    assert_true(os_lock_try(&w.lock));
    os_lock_give(&w.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_exact),
        cmocka_unit_test(sleepers_are_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
