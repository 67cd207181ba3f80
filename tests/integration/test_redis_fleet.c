/* test_redis_fleet.c - processes that share a server: a cold key is loaded once in all of them, whoever asks how often; what one
 * has stored the others find; what one has deleted is loaded anew; and who dies while it loads holds nobody up for long. */
#include "tests/support/redis_cache.h"

#include "tests/support/fleet.h"
#include "tests/support/redis_do.h"

enum { PROCESSES = 4, LOAD_MS = 50 };

static struct redis_server server;
static struct fleet fleet;

static int start(const char *format)
{
    char url[512];
    redis_server_start(&server, NULL);
    (void)snprintf(url, sizeof url, format, (unsigned)server.port);
    fleet_start(&fleet, PROCESSES, url);
    return 0;
}

static int start_with_memory(void **state)
{
    (void)state;
    return start("memory:?max_bytes=16mb | redis://127.0.0.1:%u?prefix=fleet:&" REDIS_PATIENT);
}

static int start_without_memory(void **state)
{
    (void)state;
    return start("redis://127.0.0.1:%u?prefix=fleet:&" REDIS_PATIENT);
}

/* Nobody may subscribe: who waits asks in pauses. */
static int start_without_a_channel(void **state)
{
    char url[512];
    (void)state;
    redis_server_start(&server, NULL);
    struct redis_link *link = redis_do_open(&server);
    if (redis_do(link, "ACL", "SETUSER", "quiet", "on", ">pw", "~*").kind != REDIS_IS_STATUS ||
        redis_do(link, "ACL", "SETUSER", "quiet", "+@all", "-subscribe").kind != REDIS_IS_STATUS)
        return 1;
    strata__redis_close(link);
    (void)snprintf(url, sizeof url, "redis://quiet:pw@127.0.0.1:%u?prefix=fleet:&" REDIS_PATIENT, (unsigned)server.port);
    fleet_start(&fleet, PROCESSES, url);
    return 0;
}

static int start_with_short_leases(void **state)
{
    (void)state;
    return start("redis://127.0.0.1:%u?prefix=fleet:&lease_ms=400ms&lease_wait_ms=60s&" REDIS_PATIENT);
}

static int stop(void **state)
{
    (void)state;
    int failed = fleet_stop(&fleet);
    redis_server_stop(&server);
    return failed;
}

static void one_load_in_the_whole_fleet(void **state)
{
    static const uint32_t callers[] = { 1, 100, 1000 };
    (void)state;
    for (int round = 0; round < 4; round++)
        for (size_t i = 0; i < sizeof callers / sizeof callers[0]; i++) {
            char key[32];
            (void)snprintf(key, sizeof key, "cold:%d:%zu", round, i);
            struct fleet_crowd crowd = fleet_stampede(&fleet, key, callers[i], LOAD_MS);
            if (crowd.served != (uint64_t)PROCESSES * callers[i] || crowd.loads != 1)
                fail_msg("%u callers each: %llu loads, %llu served; %s", (unsigned)callers[i],
                         (unsigned long long)crowd.loads, (unsigned long long)crowd.served, crowd.words);
        }
}

/* kill -9 of the process that loads: the others go on waiting, and one of them loads instead. */
static void a_leader_that_dies_has_one_successor(void **state)
{
    (void)state;
    struct fleet_order endless = { .what = FLEET_LOAD, .load_ms = 600 * 1000, .key = "orphan" };
    struct fleet_order crowd = { .what = FLEET_STAMPEDE, .load_ms = LOAD_MS, .callers = 100, .key = "orphan" };
    uint64_t served = 0;
    fleet_tell(&fleet, 0, &endless);
    while (atomic_load(&fleet.shared->loads) == 0)
        redis_cache_nap(1);
    for (int i = 1; i < PROCESSES; i++)
        fleet_tell(&fleet, i, &crowd);
    redis_cache_nap(50); /* they wait for it, most likely */
    fleet_kill(&fleet, 0);
    for (int i = 1; i < PROCESSES; i++) {
        struct fleet_answer a;
        fleet_hear(&fleet, i, &a);
        served += a.served;
    }
    assert_int_equal(served, 100 * (PROCESSES - 1));
    assert_int_equal(atomic_load(&fleet.shared->loads), 2);
}

static struct fleet_answer ask(int member, enum fleet_what what, const char *key, const char *text)
{
    struct fleet_order order = { .what = what };
    (void)snprintf(order.key, sizeof order.key, "%s", key);
    (void)snprintf(order.text, sizeof order.text, "%s", text);
    return fleet_ask(&fleet, member, &order);
}

/* Who loads has its value before the server has it: the others find it a moment later. */
static void expect_at_last(int member, const char *key, const char *text)
{
    struct fleet_answer a;
    do
        a = ask(member, FLEET_GET, key, "");
    while (a.status == STRATA_MISS);
    assert_int_equal(a.status, STRATA_OK);
    assert_string_equal(a.text, text);
}

static void what_one_stores_the_others_find(void **state)
{
    (void)state;
    atomic_store(&fleet.shared->origin, 1);
    assert_string_equal(ask(0, FLEET_LOAD, "k", "").text, "origin 1");
    for (int i = 1; i < PROCESSES; i++)
        expect_at_last(i, "k", "origin 1");
    assert_int_equal(atomic_load(&fleet.shared->loads), 1);
    assert_int_equal(ask(1, FLEET_SET, "k", "set by another").status, STRATA_OK);
    assert_string_equal(ask(2, FLEET_GET, "k", "").text, "set by another");
    atomic_store(&fleet.shared->origin, 2);
    assert_int_equal(ask(3, FLEET_DELETE, "k", "").status, STRATA_OK);
    assert_int_equal(ask(2, FLEET_GET, "k", "").status, STRATA_MISS);
    assert_string_equal(ask(1, FLEET_LOAD, "k", "").text, "origin 2");
    assert_int_equal(atomic_load(&fleet.shared->loads), 2);
    expect_at_last(3, "k", "origin 2");
}

/* The stale store: A loads, B deletes, A stores late, and the store refuses. */
static void a_load_that_was_overtaken_by_a_delete_elsewhere_is_not_stored(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct fleet_answer a;
        struct fleet_order slow = { .what = FLEET_LOAD, .load_ms = LOAD_MS };
        uint64_t loads = atomic_load(&fleet.shared->loads);
        (void)snprintf(slow.key, sizeof slow.key, "stale:%d", i);
        atomic_store(&fleet.shared->origin, 1);
        fleet_tell(&fleet, 0, &slow);
        while (atomic_load(&fleet.shared->loads) == loads) /* until it has read the origin */
            redis_cache_nap(1);
        atomic_store(&fleet.shared->origin, 2);
        assert_int_equal(ask(1, FLEET_DELETE, slow.key, "").status, STRATA_OK);
        fleet_hear(&fleet, 0, &a);
        assert_int_equal(a.status, STRATA_OK); /* its caller has what it read */
        assert_int_equal(ask(2, FLEET_GET, slow.key, "").status, STRATA_MISS);
        assert_string_equal(ask(3, FLEET_LOAD, slow.key, "").text, "origin 2");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_load_in_the_whole_fleet, start_with_memory, stop),
        cmocka_unit_test_setup_teardown(one_load_in_the_whole_fleet, start_without_memory, stop),
        cmocka_unit_test_setup_teardown(one_load_in_the_whole_fleet, start_without_a_channel, stop),
        cmocka_unit_test_setup_teardown(a_leader_that_dies_has_one_successor, start_with_short_leases, stop),
        cmocka_unit_test_setup_teardown(what_one_stores_the_others_find, start_without_memory, stop),
        cmocka_unit_test_setup_teardown(a_load_that_was_overtaken_by_a_delete_elsewhere_is_not_stored,
                                        start_without_memory, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
