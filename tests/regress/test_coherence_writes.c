/* test_coherence_writes.c - what writes of two nodes must not do to each other, and what is kept where: each case is one complaint of
 * users of other caches, over the public API and a real server. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/regress/coherence_rows.h"

/* Two calls at one time ------------------------------------------------------------------------------------------------ */

enum { ROUNDS = 300 };

static const strata_policy patient = { STRATA_SIZED(strata_policy), .stale_while_revalidate_ms = 600000,
                                       .stale_if_error_ms = 600000 };

/* One node expires the key again and again; what it finds is written back as expired. */
struct expirer {
    strata *cache;
    pthread_t thread;
    pthread_barrier_t *each_round;
};

static void *expire_again_and_again(void *ctx)
{
    struct expirer *e = ctx;
    for (int i = 0; i < ROUNDS; i++) {
        (void)pthread_barrier_wait(e->each_round);
        if (strata_expire(e->cache, strata_str("k"), NULL) < 0)
            abort();
        (void)pthread_barrier_wait(e->each_round);
    }
    return NULL;
}

/* W19, W20: a write that reads first, and is overtaken between both, puts the old value back. */
static void an_expire_undoes_neither_delete_nor_set_elsewhere(void **state)
{
    struct fleet_of_two f;
    pthread_barrier_t each_round;
    (void)state;
    open_fleet(&f);
    assert_int_equal(pthread_barrier_init(&each_round, NULL, 2), 0);
    struct expirer e = { .cache = f.node[0], .each_round = &each_round };
    assert_int_equal(pthread_create(&e.thread, NULL, expire_again_and_again, &e), 0);
    for (int i = 0; i < ROUNDS; i++) {
        char got[32];
        strata_error err;
        assert_int_equal(strata_set(f.node[1], strata_str("k"), strata_str("old"), &patient, NULL), STRATA_OK);
        (void)pthread_barrier_wait(&each_round);
        for (int spin = 0; spin < i * 37 % 4000; spin++)
            atomic_signal_fence(memory_order_seq_cst);
        if (i % 2 == 0)
            assert_int_equal(strata_delete(f.node[1], strata_str("k"), NULL), STRATA_OK);
        else
            assert_int_equal(strata_set(f.node[1], strata_str("k"), strata_str("new"), &patient, NULL), STRATA_OK);
        (void)pthread_barrier_wait(&each_round);
        int rc = redis_cache_get(f.node[1], "k", got, sizeof got, &err);
        if (i % 2 == 0 ? rc != STRATA_MISS : strcmp(got, "old") == 0)
            fail_msg("round %d: %d, \"%s\"", i, rc, got);
    }
    assert_int_equal(pthread_join(e.thread, NULL), 0);
    pthread_barrier_destroy(&each_round);
    close_fleet(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_expire_undoes_neither_delete_nor_set_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
