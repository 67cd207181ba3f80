/* test_bad_messages.c - strangers on the channels of caches over Redis, and caches that share a channel and no key. */
#include "tests/support/bad_messages.h"
#include "tests/support/redis_server.h"

#define PATIENT "soft_timeout_ms=60s&timeout_ms=60s&connect_timeout_ms=60s"

static struct redis_server server;
static char address[64];

static void over_streams(void **state)
{
    char url[512];
    strata_redis_bus_options options = STRATA_REDIS_BUS_OPTIONS_INIT;
    (void)state;
    options.url = address;
    options.prefix = "bad:";
    (void)snprintf(url, sizeof url, "memory: | bus:redis-stream:%s?prefix=bad:", address);
    bad_messages_case(url, strata_redis_stream_bus(&options));
}

static void over_pubsub(void **state)
{
    char url[512];
    strata_redis_bus_options options = STRATA_REDIS_BUS_OPTIONS_INIT;
    (void)state;
    options.url = address;
    options.prefix = "bad:";
    (void)snprintf(url, sizeof url, "memory: | bus:redis-pubsub:%s?prefix=bad:", address);
    bad_messages_case(url, strata_redis_pubsub_bus(&options));
}

static strata *open_over(const char *prefix)
{
    char url[512];
    (void)snprintf(url, sizeof url, "memory: | %s?prefix=%s&" PATIENT " | bus:redis-stream:%s?prefix=one:", address,
                   prefix, address);
    return fork_open(url);
}

/* Each keeps its own, whatever the other deletes, bans and clears, in memory and in the server; and what it says is not its peers'. */
static void caches_with_one_channel_and_two_prefixes(void **state)
{
    const strata_slice tag = strata_str("t"), k = strata_str("k"), v = strata_str("v");
    strata *ours = open_over("ours:"), *theirs = open_over("theirs:"), *peer = open_over("ours:");
    (void)state;
    assert_true(fork_trusted(ours) && fork_trusted(theirs) && fork_trusted(peer));
    assert_int_equal(strata_set_tagged(theirs, k, v, &tag, 1, NULL, NULL), STRATA_OK);
    strata_layer_stats before = STRATA_LAYER_STATS_INIT, after = STRATA_LAYER_STATS_INIT;
    assert_int_equal(fork_has(theirs, "k"), STRATA_OK);
    assert_int_equal(strata_stats_layer(theirs, 1, &before), STRATA_OK);
    for (int way = 0; way < 4; way++) {
        assert_int_equal(strata_set_tagged(ours, k, v, &tag, 1, NULL, NULL), STRATA_OK);
        for (int look = 0; fork_has(peer, "k") != STRATA_OK && look < FORK_LOOKS; look++)
            fork_nap();
        assert_int_equal(fork_has(peer, "k"), STRATA_OK);
        int rc = way == 0   ? strata_delete(ours, k, NULL)
                 : way == 1 ? strata_ban_tag(ours, "t", STRATA_BAN_HARD, NULL)
                 : way == 2 ? strata_ban_prefix(ours, k, STRATA_BAN_HARD, NULL)
                            : strata_clear(ours, NULL);
        assert_int_equal(rc, STRATA_OK);
        assert_true(fork_misses(peer, "k")); /* so it was told, on that channel */
        assert_int_equal(fork_has(theirs, "k"), STRATA_OK);
    }
    assert_int_equal(strata_stats_layer(theirs, 1, &after), STRATA_OK);
    assert_int_equal(after.hits + after.misses, before.hits + before.misses); /* from memory, each time */
    strata_close(ours);
    strata_close(peer);
    strata_close(theirs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_streams),
        cmocka_unit_test(over_pubsub),
        cmocka_unit_test(caches_with_one_channel_and_two_prefixes),
    };
    redis_server_start(&server, NULL);
    (void)snprintf(address, sizeof address, "redis://127.0.0.1:%u", (unsigned)server.port);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    redis_server_stop(&server);
    return failed;
}
