/* test_fork_redis.c - processes that fork while they have caches with buses over Redis. */
#include "tests/support/fork_cache.h"
#include "tests/support/redis_server.h"

static struct redis_server server;

static void with(const char *more)
{
    char url[512];
    unsigned port = (unsigned)server.port;
    (void)snprintf(
        url, sizeof url,
        "memory: | redis://127.0.0.1:%u?prefix=app:&soft_timeout_ms=60s&timeout_ms=60s&connect_timeout_ms=60s%s", port,
        more);
    fork_case(url);
}

static void over_streams(void **state)
{
    (void)state;
    with(""); /* the default */
}

static void over_pubsub(void **state)
{
    (void)state;
    with(" | bus:redis-pubsub");
}

static void over_tracking_beside_streams(void **state)
{
    (void)state;
    with(" | bus:redis-stream | bus:redis-tracking");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_streams),
        cmocka_unit_test(over_pubsub),
        cmocka_unit_test(over_tracking_beside_streams),
    };
    redis_server_start(&server, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    redis_server_stop(&server);
    return failed;
}
