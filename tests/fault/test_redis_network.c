/* test_redis_network.c - a cache over a real server, and a network between them that delays, trickles, stalls, refuses, and cuts
 * each reply at each of its bytes.  What is answered is the value that was stored, or an error that says so; never another
 * value, and never a miss. */
#include "tests/support/cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/os/os_clock.h"
#include "strata/strata.h"
#include "tests/support/delay_proxy.h"
#include "tests/support/open_alone.h"
#include "tests/support/redis_do.h"

static struct redis_server server;
static struct delay_proxy *proxy;
static strata_error err;

#define PATIENT "soft_timeout_ms=60s&timeout_ms=60s&connect_timeout_ms=60s"
#define TEXT "a value of some length, so that there is something to cut"

static strata *open_through(const char *options)
{
    char url[256];
    strata *cache = NULL;
    snprintf(url, sizeof url, "redis://127.0.0.1:%u?%s", (unsigned)delay_proxy_port(proxy), options);
    if (open_url_alone(&cache, url, NULL, &err) != STRATA_OK)
        fail_msg("%s: %s", url, err.message);
    return cache;
}

static int get(strata *cache, const char *key)
{
    strata_value *v = NULL;
    err = (strata_error)STRATA_ERROR_INIT;
    int rc = strata_get(cache, strata_str(key), &v, &err);
    if (rc == STRATA_OK) {
        assert_int_equal(strata_value_size(v), strlen(TEXT));
        assert_memory_equal(strata_value_data(v), TEXT, strlen(TEXT));
    }
    strata_value_unref(v);
    return rc;
}

/* Until it is answered: what was lost on the way is asked again. */
static int get_at_last(strata *cache, const char *key)
{
    int rc;
    do {
        rc = get(cache, key);
        if (rc < 0)
            nanosleep(&(struct timespec){ 0, 1000 * 1000 }, NULL);
    } while (rc < 0);
    return rc;
}

static void set(strata *cache, const char *key)
{
    if (strata_set(cache, strata_str(key), strata_str(TEXT), NULL, &err) != STRATA_OK)
        fail_msg("set %s: %s", key, err.message);
}

static int load_text(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    ++*(int *)ctx;
    return strata_load_copy(load, TEXT, strlen(TEXT));
}

static int calm(void **state)
{
    (void)state;
    delay_proxy_delay(proxy, 0, 0);
    delay_proxy_trickle(proxy, 0);
    delay_proxy_cut_at(proxy, -1);
    delay_proxy_refuse(proxy, 0);
    delay_proxy_stall(proxy, 0);
    return 0;
}

static void a_delay_costs_a_round_trip_that_much(void **state)
{
    (void)state;
    struct redis_link_options options = redis_ask_options(delay_proxy_port(proxy));
    struct redis_link *link = NULL;
    assert_int_equal(strata__redis_open(&link, &options, NULL), STRATA_OK);
    assert_int_equal(redis_ask(link, 60000, "PING", NULL, NULL).status, STRATA_OK);
    delay_proxy_delay(proxy, 20, 10);
    int64_t began = strata__os_now_us();
    assert_int_equal(redis_ask(link, 60000, "PING", NULL, NULL).status, STRATA_OK);
    assert_true(strata__os_now_us() - began >= 30000); /* at least: the machine may be busy */
    strata__redis_close(link);
}

static void values_that_come_byte_by_byte(void **state)
{
    (void)state;
    strata *cache = open_through(PATIENT);
    set(cache, "k");
    delay_proxy_trickle(proxy, 20);
    for (int i = 0; i < 5; i++)
        assert_int_equal(get(cache, "k"), STRATA_OK);
    strata_close(cache);
}

/* At every byte of a get's reply, and of what a new connection is greeted with. */
static void a_reply_that_is_cut_is_an_error_and_no_miss(void **state)
{
    enum { OFFSETS = 160 };
    (void)state;
    strata *cache = open_through(PATIENT "&connections=1&breaker_failures=1000000");
    struct delay_proxy_counts before, after;
    set(cache, "k");
    delay_proxy_counts_get(proxy, &before);
    for (int offset = 0; offset < OFFSETS; offset++) {
        assert_int_equal(get_at_last(cache, "k"), STRATA_OK); /* connected, and nothing is on its way */
        delay_proxy_cut_at(proxy, offset);
        int rc = get(cache, "k"), failed = rc < 0;
        if (failed && (rc != STRATA_ELAYER || err.message[0] == '\0'))
            fail_msg("offset %d: %d, \"%s\"", offset, rc, err.message);
        assert_true(failed || rc == STRATA_OK);
    }
    delay_proxy_cut_at(proxy, -1);
    assert_int_equal(get_at_last(cache, "k"), STRATA_OK);
    delay_proxy_counts_get(proxy, &after);
    assert_true(after.cut - before.cut > OFFSETS / 4);
    strata_close(cache);
}

/* The loader answers, and the call ends well, however the connection does. */
static void loads_outlive_any_cut(void **state)
{
    enum { OFFSETS = 200 };
    (void)state;
    strata *cache = open_through(PATIENT "&connections=1&breaker_failures=1000000");
    for (int offset = 0; offset < OFFSETS; offset++) {
        char key[32];
        int loads = 0;
        strata_value *v = NULL;
        snprintf(key, sizeof key, "cold:%d", offset);
        delay_proxy_cut_at(proxy, offset);
        int rc = strata_get_or_load(cache, strata_str(key), load_text, &loads, NULL, &v, &err);
        if (rc != STRATA_OK)
            fail_msg("offset %d: %d, %s", offset, rc, err.message);
        assert_int_equal(loads, 1);
        strata_value_unref(v);
    }
    strata_close(cache);
}

/* What is deleted stays deleted, whether the server has heard of it or not. */
static void a_delete_that_is_cut_hides_the_value(void **state)
{
    enum { OFFSETS = 40 };
    (void)state;
    strata *cache = open_through(PATIENT "&connections=1&breaker_failures=1000000");
    for (int offset = 0; offset < OFFSETS; offset++) {
        char key[32];
        snprintf(key, sizeof key, "gone:%d", offset);
        delay_proxy_cut_at(proxy, -1);
        assert_int_equal(get_at_last(cache, key), STRATA_MISS);
        set(cache, key);
        delay_proxy_cut_at(proxy, offset);
        int rc = strata_delete(cache, strata_str(key), &err);
        if (rc != STRATA_OK && rc != STRATA_PENDING)
            fail_msg("offset %d: %d, %s", offset, rc, err.message);
        rc = get(cache, key);
        assert_true(rc == STRATA_MISS || rc < 0);
        assert_int_equal(get_at_last(cache, key), STRATA_MISS);
    }
    strata_close(cache);
}

static void connections_that_are_refused(void **state)
{
    (void)state;
    int loads = 0;
    strata_value *v = NULL;
    delay_proxy_refuse(proxy, 1);
    strata *cache = open_through("soft_timeout_ms=60s&timeout_ms=60s&connect_timeout_ms=60s&breaker_failures=2");
    assert_int_equal(strata_get_or_load(cache, strata_str("refused"), load_text, &loads, NULL, &v, &err), STRATA_OK);
    assert_int_equal(loads, 1);
    strata_value_unref(v);
    assert_int_equal(get(cache, "other"), STRATA_ELAYER);
    assert_true(err.message[0] != '\0');
    delay_proxy_refuse(proxy, 0);
    assert_int_equal(get_at_last(cache, "other"), STRATA_MISS);
    strata_close(cache);
}

/* Gets go on without a network that stands still; when it moves again, everything is as it was. */
static void a_network_that_stands_still(void **state)
{
    (void)state;
    int loads = 0;
    strata_value *v = NULL;
    strata *cache = open_through("soft_timeout_ms=20ms&timeout_ms=40ms&connect_timeout_ms=40ms&breaker_failures=3"
                                 "&breaker_open_ms=50ms");
    assert_int_equal(get_at_last(cache, "none"), STRATA_MISS);
    delay_proxy_stall(proxy, 1);
    assert_int_equal(strata_get_or_load(cache, strata_str("stalled"), load_text, &loads, NULL, &v, &err), STRATA_OK);
    strata_value_unref(v);
    for (int i = 0; i < 5; i++)
        assert_true(get(cache, "none") < 0);
    delay_proxy_stall(proxy, 0);
    assert_int_equal(get_at_last(cache, "none"), STRATA_MISS);
    strata_close(cache);
}

static uint64_t questions(struct redis_link *link, const char *command)
{
    struct redis_answer got = redis_do(link, "EVAL",
                                       "local n = 0 for w in string.gmatch(redis.call('INFO', 'commandstats'), "
                                       "'cmdstat_' .. ARGV[1] .. ':calls=(%d+)') do n = n + tonumber(w) end return n",
                                       "0", command);
    assert_int_equal(got.status, STRATA_OK);
    assert_int_equal(got.kind, REDIS_IS_INTEGER);
    return (uint64_t)got.integer;
}

/* Until this many leases were given in all: a machine that stands still costs one its time. */
static void load_leased(strata *cache, const char *key, uint64_t leases)
{
    strata_stats stats = STRATA_STATS_INIT;
    for (int i = 0; i < 100 && stats.leases < leases; i++) {
        int loads = 0;
        strata_value *v = NULL;
        assert_int_equal(strata_get_or_load(cache, strata_str(key), load_text, &loads, NULL, &v, &err), STRATA_OK);
        strata_value_unref(v);
        assert_int_equal(strata_stats_get(cache, &stats), STRATA_OK);
    }
    assert_int_equal(stats.leases, leases);
}

/* A GET takes most of soft_timeout_ms, or all of it: what is left is too little for the lease, which is asked for no longer than
 * that, or not at all, whatever timeout_ms says; the loader is called without. */
static void one_read_has_one_soft_timeout(void **state)
{
    (void)state;
    int loads = 0;
    strata_value *v = NULL;
    strata_stats stats = STRATA_STATS_INIT;
    struct redis_link *link = redis_do_open(&server);
    strata *cache = open_through("soft_timeout_ms=400ms&timeout_ms=60s&connect_timeout_ms=60s&connections=1"
                                 "&breaker_failures=1000000");
    load_leased(cache, "near", 1);
    uint64_t gets = questions(link, "get"), scripts = questions(link, "evalsha");
    delay_proxy_delay(proxy, 0, 300);
    assert_int_equal(strata_get_or_load(cache, strata_str("far"), load_text, &loads, NULL, &v, &err), STRATA_OK);
    strata_value_unref(v);
    delay_proxy_delay(proxy, 0, 0);
    assert_int_equal(loads, 1);
    assert_int_equal(strata_stats_get(cache, &stats), STRATA_OK);
    assert_int_equal(stats.leases, 1); /* with timeout_ms to ask in, there would be another */
    assert_int_equal(get_at_last(cache, "far"), STRATA_MISS);
    assert_true(questions(link, "get") >= gets + 1);
    assert_true(questions(link, "evalsha") <=
                scripts + 3);     /* the lease, its release, and the load's forgetting at most */
    load_leased(cache, "far", 2); /* nobody was left with a lease that stands in the way */
    strata_close(cache);
    strata__redis_close(link);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_delay_costs_a_round_trip_that_much, calm),
        cmocka_unit_test_setup(values_that_come_byte_by_byte, calm),
        cmocka_unit_test_setup(a_reply_that_is_cut_is_an_error_and_no_miss, calm),
        cmocka_unit_test_setup(loads_outlive_any_cut, calm),
        cmocka_unit_test_setup(a_delete_that_is_cut_hides_the_value, calm),
        cmocka_unit_test_setup(connections_that_are_refused, calm),
        cmocka_unit_test_setup(a_network_that_stands_still, calm),
        cmocka_unit_test_setup(one_read_has_one_soft_timeout, calm),
    };
    redis_server_start(&server, NULL);
    proxy = delay_proxy_start(server.port);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    delay_proxy_stop(proxy);
    redis_server_stop(&server);
    return failed;
}
