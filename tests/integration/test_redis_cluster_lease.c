/* test_redis_cluster_lease.c - a fleet over a real Cluster: a cold key of any slot is loaded once, who was overtaken stores nothing,
 * and what a master knew and its successor does not is noticed before anything of it is served as fresh.
 *
 * Last come the tests whose nodes change places. */
#include "tests/support/redis_cache.h"

#include "src/link/redis_slots.h"
#include "tests/support/fleet.h"
#include "tests/support/redis_do.h"
#include "tests/support/redis_nodes.h"

enum { PROCESSES = 3, LOAD_MS = 50, KEYS = 60, LOOKS = 6000 };

static struct redis_nodes nodes;
static struct fleet fleet;

#define CLUSTER "redis+cluster://127.0.0.1:%u?prefix=fleet:&"
#define PATIENT CLUSTER REDIS_PATIENT
#define BRISK \
    CLUSTER "soft_timeout_ms=2s&timeout_ms=5s&connect_timeout_ms=5s&breaker_open_ms=30ms&breaker_failures=1000000"

static char *name(char room[32], const char *what, int i)
{
    (void)snprintf(room, 32, "%s:%d", what, i);
    return room;
}

/* The thread sanitizer allows a child of many threads no thread: the links to the nodes have some. */
#if defined(__SANITIZE_THREAD__)
#define FLEET_MAY_FORK 0
#else
#define FLEET_MAY_FORK 1
#endif

static int start_fleet(void **state)
{
    char url[256];
    (void)state;
    if (!FLEET_MAY_FORK)
        return 0;
    redis_nodes_flush(&nodes);
    (void)snprintf(url, sizeof url, PATIENT, (unsigned)nodes.servers[2].port);
    fleet_start(&fleet, PROCESSES, url);
    return 0;
}

static int stop_fleet(void **state)
{
    (void)state;
    return FLEET_MAY_FORK ? fleet_stop(&fleet) : 0;
}

static struct fleet_answer ask(int member, enum fleet_what what, const char *key, const char *text)
{
    struct fleet_order order = { .what = what };
    (void)snprintf(order.key, sizeof order.key, "%s", key);
    (void)snprintf(order.text, sizeof order.text, "%s", text);
    return fleet_ask(&fleet, member, &order);
}

/* Which node has the slot of this key of the caches'. */
static size_t owner_of(const char *key)
{
    char stored[64];
    (void)snprintf(stored, sizeof stored, "fleet:%s", key);
    return (size_t)strata__redis_slot(strata_str(stored)) * CLUSTER_MASTERS / REDIS_SLOTS;
}

static void one_load_in_the_whole_fleet(void **state)
{
    (void)state;
    if (!FLEET_MAY_FORK)
        skip();
    unsigned owners = 0;
    char key[32];
    for (int i = 0; i < 12; i++) {
        struct fleet_crowd crowd = fleet_stampede(&fleet, name(key, "cold", i), i % 2 ? 100 : 5, LOAD_MS);
        if (crowd.served != (i % 2 ? 100 : 5) * PROCESSES || crowd.loads != 1)
            fail_msg("%s: %llu loads, %llu served; %s", key, (unsigned long long)crowd.loads,
                     (unsigned long long)crowd.served, crowd.words);
        owners |= 1u << owner_of(key);
    }
    assert_int_equal(owners, 7); /* each of the nodes has had some of them */
}

/* By whichever node has the key: each of them is subscribed to. */
static void who_waits_is_woken(void **state)
{
    (void)state;
    if (!FLEET_MAY_FORK)
        skip();
    char key[32];
    for (int i = 0; i < 9; i++) {
        struct fleet_crowd crowd = fleet_stampede(&fleet, name(key, "woken", i), 3, LOAD_MS);
        assert_int_equal(crowd.loads, 1);
    }
    for (size_t i = 0; i < CLUSTER_MASTERS; i++) {
        struct redis_answer a = redis_do(nodes.links[i], "PUBSUB", "CHANNELS", "fleet:*");
        assert_int_equal(a.kind, REDIS_IS_ARRAY);
        assert_int_not_equal(a.size, 0);
    }
}

/* The stale store: A loads, B deletes, A stores late, and the node that has the key refuses. */
static void a_load_that_was_overtaken_is_not_stored(void **state)
{
    (void)state;
    if (!FLEET_MAY_FORK)
        skip();
    unsigned owners = 0;
    for (int i = 0; i < 12; i++) {
        struct fleet_answer a;
        struct fleet_order slow = { .what = FLEET_LOAD, .load_ms = LOAD_MS };
        uint64_t loads = atomic_load(&fleet.shared->loads);
        (void)name(slow.key, "stale", i);
        owners |= 1u << owner_of(slow.key);
        atomic_store(&fleet.shared->origin, 1);
        fleet_tell(&fleet, 0, &slow);
        while (atomic_load(&fleet.shared->loads) == loads) /* until it has read the origin */
            redis_cache_nap(1);
        atomic_store(&fleet.shared->origin, 2);
        assert_int_equal(ask(1, FLEET_DELETE, slow.key, "").status, STRATA_OK);
        fleet_hear(&fleet, 0, &a);
        assert_int_equal(a.status, STRATA_OK); /* its caller has what it read */
        assert_int_equal(ask(2, FLEET_GET, slow.key, "").status, STRATA_MISS);
        assert_string_equal(ask(1, FLEET_LOAD, slow.key, "").text, "origin 2");
    }
    assert_int_equal(owners, 7);
}

/* A master is emptied while somebody loads: the lease is gone with everything else, and what was loaded is not stored. */
static void a_master_that_is_emptied(void **state)
{
    (void)state;
    if (!FLEET_MAY_FORK)
        skip();
    struct fleet_answer a;
    struct fleet_order slow = { .what = FLEET_LOAD, .load_ms = LOAD_MS, .key = "emptied" };
    uint64_t loads = atomic_load(&fleet.shared->loads);
    atomic_store(&fleet.shared->origin, 1);
    fleet_tell(&fleet, 0, &slow);
    while (atomic_load(&fleet.shared->loads) == loads)
        redis_cache_nap(1);
    redis_nodes_flush(&nodes);
    atomic_store(&fleet.shared->origin, 2);
    fleet_hear(&fleet, 0, &a);
    assert_int_equal(a.status, STRATA_OK);
    assert_int_equal(ask(2, FLEET_GET, slow.key, "").status, STRATA_MISS);
    assert_string_equal(ask(1, FLEET_LOAD, slow.key, "").text, "origin 2");
}

/* Lives ------------------------------------------------------------------------------------------------------------- */

static strata *open_cache(void) { return redis_cache_open(BRISK, nodes.servers[2].port); }

static void never_fresh(strata *cache, const char *key, const char *old)
{
    char text[64];
    strata_error err;
    if (redis_cache_get(cache, key, text, sizeof text, &err) == STRATA_OK && strcmp(text, old) == 0)
        fail_msg("%s was deleted, and is served as fresh", key);
}

static void wait_until_master(size_t node)
{
    for (int i = 0; !redis_nodes_is_master(&nodes, node); i++) {
        if (i == LOOKS)
            fail_msg("node %zu was never promoted", node);
        redis_cache_nap(10);
    }
    redis_nodes_wait(&nodes);
}

/* The replica of node 0 is deaf from here on: its master's writes do not arrive any more. */
static void block_replication(size_t master)
{
    while (redis_do(nodes.links[master], "WAIT", "1", "1000").integer < 1) {}
    redis_server_pause(&nodes.servers[master + CLUSTER_MASTERS]);
}

/* kill -9 of a master whose replica has not received the last deletes. */
static void a_replica_without_the_last_deletes(void **state)
{
    (void)state;
    char key[32];
    strata_error err;
    int of_the_dead = 0;
    strata *deleter = open_cache(), *reader = open_cache();
    for (int i = 0; i < KEYS; i++) {
        redis_cache_set(deleter, name(key, "gone", i), "old");
        redis_cache_expect(reader, key, STRATA_OK, "old");
        redis_cache_set(deleter, name(key, "kept", i), "kept");
        of_the_dead += owner_of(name(key, "gone", i)) == 0;
    }
    assert_int_not_equal(of_the_dead, 0);
    uint64_t lives = redis_cache_stats(reader, 0).lives;
    block_replication(0);
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(strata_delete(deleter, strata_str(name(key, "gone", i)), &err), STRATA_OK);
    redis_nodes_kill(&nodes, 0);
    redis_server_resume(&nodes.servers[CLUSTER_MASTERS]);
    /* All the time, until its successor has taken over, and for a while after. */
    for (int looks = 0, after = 0; after < 50; looks++) {
        for (int i = 0; i < KEYS; i++) {
            if (owner_of(name(key, "gone", i)) != 0)
                continue;
            never_fresh(reader, key, "old");
            never_fresh(deleter, key, "old");
        }
        after += redis_nodes_is_master(&nodes, CLUSTER_MASTERS);
        if (looks == LOOKS)
            fail_msg("nobody was promoted");
        redis_cache_nap(after == 0 ? 5 : 1);
    }
    redis_nodes_wait(&nodes);
    /* It has really not heard of them, or has been told since. */
    for (int i = 0; i < KEYS; i++) {
        redis_cache_await(reader, name(key, "gone", i), STRATA_MISS);
        const int of_the_dead_one = owner_of(name(key, "kept", i)) == 0;
        redis_cache_expect(reader, key, of_the_dead_one ? STRATA_MISS : STRATA_OK, NULL);
    }
    assert_true(redis_cache_stats(reader, 0).lives > lives);
    for (int i = 0; i < KEYS; i++) { /* and it goes on */
        redis_cache_await(deleter, name(key, "gone", i), STRATA_MISS);
        redis_cache_set(deleter, key, "new");
        redis_cache_expect(reader, key, STRATA_OK, "new");
    }
    strata_close(reader);
    strata_close(deleter);
}

/* The deletes are in the successor, and not in somebody's memory alone: a tombstone stands where the old value stood. */
static void the_successor_is_told(void **state)
{
    (void)state;
    char key[32];
    strata_error err;
    strata *deleter = open_cache();
    const size_t successor = 1 + CLUSTER_MASTERS;
    for (int i = 0; i < KEYS; i++)
        redis_cache_set(deleter, name(key, "told", i), "old");
    block_replication(1);
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(strata_delete(deleter, strata_str(name(key, "told", i)), &err), STRATA_OK);
    redis_nodes_kill(&nodes, 1);
    redis_server_resume(&nodes.servers[successor]);
    wait_until_master(successor);
    for (int i = 0; i < KEYS; i++) {
        char stored[64];
        if (owner_of(name(key, "told", i)) != 1)
            continue;
        (void)snprintf(stored, sizeof stored, "fleet:%s", key);
        for (int looks = 0;; looks++) {
            struct redis_answer got = redis_do(nodes.links[successor], "GET", stored);
            if (got.size >= 2 && memcmp(got.text, "\xcc\1", 2) == 0)
                break;
            if (looks == LOOKS)
                fail_msg("%s: no tombstone", key);
            (void)redis_cache_get(deleter, key, NULL, 0, &err);
            redis_cache_nap(5);
        }
    }
    strata_close(deleter);
}

static int start(void **state)
{
    (void)state;
    redis_nodes_cluster(&nodes, 1);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_nodes_stop(&nodes);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_load_in_the_whole_fleet, start_fleet, stop_fleet),
        cmocka_unit_test_setup_teardown(who_waits_is_woken, start_fleet, stop_fleet),
        cmocka_unit_test_setup_teardown(a_load_that_was_overtaken_is_not_stored, start_fleet, stop_fleet),
        cmocka_unit_test_setup_teardown(a_master_that_is_emptied, start_fleet, stop_fleet),
        cmocka_unit_test(a_replica_without_the_last_deletes),
        cmocka_unit_test(the_successor_is_told), /* last: its nodes have changed places */
    };
    return cmocka_run_group_tests(tests, start, stop);
}
