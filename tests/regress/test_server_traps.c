/* test_server_traps.c - traps of caches before this one, between a node and its server: each case is one, over the public API and a real
 * server. */
#include "tests/regress/coherence_rows.h"

/* W23: what the server answers to each write of a batch is not looked at: a batch that it had no memory for has "succeeded". */
static void a_bulk_write_says_which_keys_failed(void **state)
{
    struct fleet_of_two f;
    strata_error err = STRATA_ERROR_INIT;
    (void)state;
    open_fleet(&f);
    redis_cache_set(f.node[0], "there", "old");
    assert_int_equal(redis_do(f.redis_cli, "CONFIG", "SET", "maxmemory-policy", "noeviction").status, STRATA_OK);
    assert_int_equal(redis_do(f.redis_cli, "CONFIG", "SET", "maxmemory", "1mb").status, STRATA_OK);
    strata_item items[] = { { .key = strata_str("there"), .set = strata_str("new") },
                            { .key = strata_str(""), .set = strata_str("x") },
                            { .key = strata_str("more"), .set = strata_str("y") } };
    assert_true(strata_set_many(f.node[0], items, 3, NULL, &err) < 0);
    assert_int_equal(items[0].status, STRATA_ELAYER);
    assert_int_equal(items[1].status, STRATA_EKEYSIZE); /* of no bytes: each item has its own */
    assert_int_equal(items[2].status, STRATA_ELAYER);
    assert_int_equal(redis_do(f.redis_cli, "CONFIG", "SET", "maxmemory", "0").status, STRATA_OK);
    items[1].key = strata_str("between");
    assert_int_equal(strata_set_many(f.node[0], items, 3, NULL, &err), STRATA_OK);
    for (int i = 0; i < NODES; i++) {
        sees_text(f.node[i], "there", "new");
        sees_text(f.node[i], "between", "x");
        sees_text(f.node[i], "more", "y");
    }
    close_fleet(&f);
}

static uint64_t store_writes(strata *cache)
{
    strata_layer_stats s = redis_cache_stats(cache, 1);
    return s.puts + s.removes;
}

/* Each node that hears of a delete carries it out in the shared store once more: work for as many as there are, and what was stored meanwhile
 * goes with it. */
static void peers_leave_the_store_alone(void **state)
{
    struct fleet_of_two f;
    char key[16];
    (void)state;
    open_fleet(&f);
    for (int i = 0; i < 50; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        redis_cache_set(f.node[0], key, "old");
        sees_text(f.node[1], key, "old");
    }
    uint64_t before = store_writes(f.node[1]);
    for (int i = 0; i < 50; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(strata_delete(f.node[0], strata_str(key), NULL), STRATA_OK);
        redis_cache_set(f.node[0], key, "newer");
    }
    assert_int_equal(strata_ban_prefix(f.node[0], strata_str("none:"), STRATA_BAN_HARD, NULL), STRATA_OK);
    redis_cache_set(f.node[0], "mark", "m");
    sees_text(f.node[1], "mark", "m");
    for (int i = 0; i < 50; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        sees_text(f.node[1], key, "newer");
        assert_int_equal(strata_has(f.node[0], strata_str(key), NULL), 1);
    }
    assert_int_equal(store_writes(f.node[1]), before);
    close_fleet(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bulk_write_says_which_keys_failed),
        cmocka_unit_test(peers_leave_the_store_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
