/* test_counter.c - sums are exact, whatever the number of threads, and cells are passed on. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/counter.h"
#include "tests/support/cmocka_all.h"

enum { THREADS = 40, ROUNDS = 20000 };

static struct counter_cell cells[COUNTER_CELLS];
static pthread_barrier_t all_there;

static void *raise_many(void *ctx)
{
    uint32_t index = counter_index();
    (void)ctx;
    pthread_barrier_wait(&all_there); /* more threads at once than there are cells to own */
    for (int i = 0; i < ROUNDS; i++)
        counter_raise(cells, index, 1);
    return NULL;
}

static void test_exact(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    memset(cells, 0, sizeof cells);
    pthread_barrier_init(&all_there, NULL, THREADS);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, raise_many, NULL), 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(strata__counter_sum(cells, 1), (uint64_t)(round + 1) * THREADS * ROUNDS);
    }
    assert_int_equal(strata__counter_sum(cells, 0), 0);
    pthread_barrier_destroy(&all_there);
}

static void *take_index(void *ctx)
{
    *(uint32_t *)ctx = counter_index();
    return NULL;
}

static void test_cells_are_passed_on(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        uint32_t index = COUNTER_CELLS;
        assert_int_equal(pthread_create(&thread, NULL, take_index, &index), 0);
        pthread_join(thread, NULL);
        assert_true(index < COUNTER_OWNED); /* those before have given theirs back */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_cells_are_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
