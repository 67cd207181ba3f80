/* test_redis_coherence.c - caches over one server, opened by URL alone: they have a bus without being asked, and what one invalidates the
 * others do not serve. */
#include "tests/support/redis_cache.h"

#include "tests/support/redis_server.h"

enum { NODES = 2 };

static struct redis_server server;
static strata *node[NODES];

static strata *open_one(const char *prefix)
{
    char url[256];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    (void)snprintf(url, sizeof url, "memory: | redis://127.0.0.1:%u?prefix=%s&" REDIS_PATIENT, (unsigned)server.port,
                   prefix);
    if (strata_open_url(&cache, url, NULL, &err) != STRATA_OK)
        fail_msg("%s: %s", url, err.message);
    return cache;
}

static int start(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    for (int i = 0; i < NODES; i++)
        node[i] = open_one("coherent:");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++)
        (void)strata_close(node[i]);
    redis_server_stop(&server);
    return 0;
}

static strata_health health_of(strata *cache)
{
    strata_health h = STRATA_HEALTH_INIT;
    assert_int_equal(strata_health_get(cache, &h, NULL), STRATA_OK);
    return h;
}

static void they_have_a_bus(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++) {
        while (!health_of(node[i]).trusted)
            redis_cache_nap(5);
        assert_int_equal(health_of(node[i]).buses, 1);
        assert_int_equal(health_of(node[i]).bound_ms, 33000);
    }
}

static void a_delete_reaches(void **state)
{
    char got[64];
    strata_error err;
    (void)state;
    for (int round = 0; round < 200; round++) {
        redis_cache_set(node[0], "key", "one");
        redis_cache_await(node[1], "key", STRATA_OK);
        assert_int_equal(strata_delete(node[0], strata_str("key"), &err), STRATA_OK);
        redis_cache_await(node[1], "key", STRATA_MISS);
        redis_cache_set(node[1], "key", "two");
        while (redis_cache_get(node[0], "key", got, sizeof got, &err) != STRATA_OK || strcmp(got, "two") != 0)
            redis_cache_nap(1);
        assert_int_equal(strata_clear(node[1], &err), STRATA_OK);
        redis_cache_await(node[0], "key", STRATA_MISS);
    }
}

/* Another prefix, the same server: nothing of each other's. */
static void prefixes_are_told_apart(void **state)
{
    (void)state;
    strata *other = open_one("other:");
    uint64_t applied = health_of(node[1]).applied;
    redis_cache_set(node[1], "key", "mine");
    assert_int_equal(strata_delete(other, strata_str("key"), NULL), STRATA_OK);
    assert_int_equal(strata_delete(node[0], strata_str("else"), NULL), STRATA_OK);
    while (health_of(node[1]).applied == applied)
        redis_cache_nap(1);
    assert_int_equal(health_of(node[1]).applied, applied + 1);
    redis_cache_expect(node[1], "key", STRATA_OK, "mine");
    (void)strata_close(other);
}

/* The server is away: what is held is served all the same, as what it is. */
static void an_outage_ends_trust(void **state)
{
    (void)state;
    redis_cache_set(node[1], "held", "yes");
    redis_cache_expect(node[1], "held", STRATA_OK, "yes");
    redis_server_stop(&server);
    redis_cache_await(node[1], "held", STRATA_STALE);
    assert_false(health_of(node[1]).trusted);
    assert_int_equal(health_of(node[1]).buses_up, 0);
    assert_true(strata_delete(node[1], strata_str("held"), NULL) != STRATA_OK);
    redis_cache_expect(node[1], "held", STRATA_MISS, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_have_a_bus),
        cmocka_unit_test(a_delete_reaches),
        cmocka_unit_test(prefixes_are_told_apart),
        cmocka_unit_test(an_outage_ends_trust),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
