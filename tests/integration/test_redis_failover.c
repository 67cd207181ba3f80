/* test_redis_failover.c - a replica is promoted that has not received the last deletes, and the nodes' address moves to it: no
 * node serves what was deleted as fresh, as long as the node that deleted it lives.  And a primary that comes back empty, and
 * one that comes back with what it had saved before.
 *
 * The address that moves is a proxy's, which both nodes reach the primary through, and from one moment on the replica. */
#include "tests/support/redis_cache.h"

#include "tests/support/delay_proxy.h"
#include "tests/support/redis_do.h"

enum { KEYS = 20 };

static struct redis_server primary, replica;
static struct delay_proxy *proxy;

#define NODE \
    "redis://" \
    "127.0.0.1:%u?prefix=f:&connections=1&soft_timeout_ms=2s&timeout_ms=5s&connect_timeout_ms=5s&breaker_open_ms=30ms" \
    "&breaker_failures=1000000"

static char *name(char room[32], const char *what, int i)
{
    (void)snprintf(room, 32, "%s:%d", what, i);
    return room;
}

static void replicate(void)
{
    char port[16];
    struct redis_link *r = redis_do_open(&replica);
    (void)snprintf(port, sizeof port, "%u", (unsigned)primary.port);
    assert_int_equal(redis_do(r, "REPLICAOF", "127.0.0.1", port).status, STRATA_OK);
    strata__redis_close(r);
}

/* Everything so far is on the replica: WAIT counts those that have acknowledged it. */
static void wait_for_the_replica(void)
{
    struct redis_link *p = redis_do_open(&primary);
    while (redis_do(p, "WAIT", "1", "1000").integer < 1) {}
    strata__redis_close(p);
}

/* It hears no more of the primary, and has its word for itself from now on. */
static void promote(void)
{
    struct redis_link *r = redis_do_open(&replica);
    assert_int_equal(redis_do(r, "REPLICAOF", "NO", "ONE").status, STRATA_OK);
    strata__redis_close(r);
}

static void move_the_address(void)
{
    delay_proxy_retarget(proxy, replica.port);
    redis_server_kill(&primary);
    delay_proxy_cut_all(proxy);
}

static int start(void **state)
{
    (void)state;
    redis_server_start(&primary, NULL);
    redis_server_start(&replica, NULL);
    struct redis_link *p = redis_do_open(&primary);
    assert_int_equal(redis_do(p, "CONFIG", "SET", "repl-diskless-sync-delay", "0").status, STRATA_OK);
    strata__redis_close(p);
    proxy = delay_proxy_start(primary.port);
    replicate();
    return 0;
}

static int stop(void **state)
{
    (void)state;
    delay_proxy_stop(proxy);
    redis_server_stop(&replica);
    redis_server_stop(&primary);
    return 0;
}

/* What the origin has now. */
static int load_new(strata_load *load, strata_slice key, void *ctx)
{
    (void)key, (void)ctx;
    return strata_load_copy(load, "new", 3);
}

static void never_fresh(strata *cache, const char *key, const char *old)
{
    char text[64];
    strata_error err;
    if (redis_cache_get(cache, key, text, sizeof text, &err) == STRATA_OK && strcmp(text, old) == 0)
        fail_msg("%s was deleted, and is served as fresh", key);
}

static void a_replica_without_the_last_deletes(void **state)
{
    (void)state;
    char key[32];
    strata *deleter = redis_cache_open(NODE, delay_proxy_port(proxy)),
           *reader = redis_cache_open(NODE, delay_proxy_port(proxy));
    strata_error err;
    for (int i = 0; i < KEYS; i++) {
        redis_cache_set(deleter, name(key, "gone", i), "old");
        redis_cache_set(deleter, name(key, "kept", i), "kept");
        redis_cache_expect(reader, name(key, "gone", i), STRATA_OK, "old");
    }
    wait_for_the_replica();
    promote();
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(strata_delete(deleter, strata_str(name(key, "gone", i)), &err), STRATA_OK);
    move_the_address();
    /* At once, and until the new primary has heard of the deletes. */
    for (int round = 0; round < 200; round++)
        for (int i = 0; i < KEYS; i++) {
            never_fresh(reader, name(key, "gone", i), "old");
            never_fresh(deleter, name(key, "gone", i), "old");
        }
    for (int i = 0; i < KEYS; i++) {
        strata_value *v = NULL;
        int rc = strata_get_or_load(reader, strata_str(name(key, "gone", i)), load_new, NULL, NULL, &v, &err);
        assert_true(rc == STRATA_OK);
        assert_int_equal(strata_value_size(v), 3);
        assert_memory_equal(strata_value_data(v), "new", 3);
        strata_value_unref(v);
    }
    strata_close(reader);
    strata_close(deleter);
}

/* Nodes that come later hear of it, too: the deletes are in the new primary, and not in somebody's memory alone. */
static void the_new_primary_is_told(void **state)
{
    (void)state;
    char key[32];
    strata *deleter = redis_cache_open(NODE, delay_proxy_port(proxy));
    strata_error err;
    for (int i = 0; i < KEYS; i++)
        redis_cache_set(deleter, name(key, "gone", i), "old");
    wait_for_the_replica();
    promote();
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(strata_delete(deleter, strata_str(name(key, "gone", i)), &err), STRATA_OK);
    move_the_address();
    redis_cache_await(deleter, "nothing", STRATA_MISS);
    strata *later = redis_cache_open(NODE, delay_proxy_port(proxy));
    for (int i = 0; i < KEYS; i++)
        redis_cache_await(later, name(key, "gone", i), STRATA_MISS);
    strata_close(later);
    strata_close(deleter);
}

/* What is stored after the failover is served as ever, on every node. */
static void it_goes_on_afterwards(void **state)
{
    (void)state;
    char key[32];
    strata *a = redis_cache_open(NODE, delay_proxy_port(proxy)), *b = redis_cache_open(NODE, delay_proxy_port(proxy));
    redis_cache_set(a, "k", "v");
    wait_for_the_replica();
    promote();
    move_the_address();
    redis_cache_await(a, "nothing", STRATA_MISS);
    redis_cache_await(b, "nothing", STRATA_MISS);
    for (int i = 0; i < KEYS; i++) {
        redis_cache_set(a, name(key, "after", i), "stored");
        redis_cache_expect(b, name(key, "after", i), STRATA_OK, "stored");
    }
    strata_close(b);
    strata_close(a);
}

/* Killed and empty: the loads that were under way store nothing under what they believed before. */
static void a_primary_that_comes_back_empty(void **state)
{
    (void)state;
    char key[32];
    strata *a = redis_cache_open(NODE, primary.port), *b = redis_cache_open(NODE, primary.port);
    for (int i = 0; i < KEYS; i++)
        redis_cache_set(a, name(key, "k", i), "old");
    redis_server_restart(&primary);
    redis_cache_await(a, "nothing", STRATA_MISS);
    for (int i = 0; i < KEYS; i++)
        redis_cache_await(b, name(key, "k", i), STRATA_MISS);
    for (int i = 0; i < KEYS; i++) {
        redis_cache_set(b, name(key, "k", i), "new");
        redis_cache_expect(a, name(key, "k", i), STRATA_OK, "new");
    }
    strata_close(b);
    strata_close(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_replica_without_the_last_deletes, start, stop),
        cmocka_unit_test_setup_teardown(the_new_primary_is_told, start, stop),
        cmocka_unit_test_setup_teardown(it_goes_on_afterwards, start, stop),
        cmocka_unit_test_setup_teardown(a_primary_that_comes_back_empty, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
