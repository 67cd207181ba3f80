/* test_disk_kill.c - kill -9 at random moments of a mixed workload, reopen, and compare with the workload's own history.
 *
 * A *directory* has some rounds.  In each a child opens it and works on it with several threads: first puts, overwrites, removes,
 * clears, gets, of 0 to 64 KiB.  It is killed after a random number of steps, while it opens, before its n-th system call, just when
 * it writes, or while it closes.  Another child opens what is left and looks at every key: never what was superseded, never what was
 * not written, nothing damaged.  Where there is room for all, what may be missing besides is what was put last and replaced
 * nothing, no more than the buffers hold.  Then the next round goes on from there.
 *
 * 50 rounds; 500 where STRATA_TEST_LONG is set.  STRATA_SEED says which choices are made; the moment of a death is the
 * machine's own, so a seed makes a failure likely again, not certain. */
#include "tests/fault/kill_rounds.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/temp_dir.h"

enum { ROUNDS = 50, ROUNDS_LONG = 500, ROUNDS_OF_ONE = 6 };

static void run(int kind, uint64_t salt)
{
    uint64_t seed = kill_seed(), random = seed * 31 + salt;
    int rounds = (kill_is_long() ? ROUNDS_LONG : ROUNDS) / STORE_KINDS + 1, round = 0;
    struct history *h = history_new();
    for (int directory = 0; round < rounds; directory++) {
        struct plan plan = kill_some_plan(&random, kind, directory % 2);
        temp_dir_make(plan.path, sizeof plan.path);
        history_reset(h);
        for (int i = 0; i < ROUNDS_OF_ONE && round < rounds; i++, round++)
            kill_one_round(&plan, h, seed, round);
        temp_dir_remove(plan.path);
    }
    print_message("%s: %d rounds, %llu times a key was there, %llu puts lost (%llu bytes)\n", kill_kind_names[kind],
                  round, (unsigned long long)h->seen, (unsigned long long)h->lost, (unsigned long long)h->lost_bytes);
    assert_true(h->seen > 0);
    history_free(h);
}

static void the_layer_is_killed(void **state)
{
    (void)state;
    run(STORE_LAYER, 1);
}

static void a_cache_of_disk_is_killed(void **state)
{
    (void)state;
    run(STORE_DISK, 2);
}

static void a_cache_of_memory_and_disk_is_killed(void **state)
{
    (void)state;
    run(STORE_BOTH, 3);
}

static void a_cache_of_memory_and_a_disk_of_what_it_evicts_is_killed(void **state)
{
    (void)state;
    run(STORE_DEMOTED, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_layer_is_killed),
        cmocka_unit_test(a_cache_of_disk_is_killed),
        cmocka_unit_test(a_cache_of_memory_and_disk_is_killed),
        cmocka_unit_test(a_cache_of_memory_and_a_disk_of_what_it_evicts_is_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
