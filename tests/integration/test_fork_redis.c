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

#if !defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */
static const strata_policy much_later = { STRATA_SIZED(strata_policy), .write_behind_ms = 3600000 };

static uint64_t waiting(strata *cache)
{
    strata_stats s = { .size = sizeof s };
    return strata_stats_get(cache, &s) == STRATA_OK ? s.behind_queued : UINT64_MAX;
}

static int set_behind(strata *cache, const char *key, const char *text)
{
    for (int look = 0; look < FORK_LOOKS; look++) {
        if (strata_set(cache, strata_str(key), strata_str(text), &much_later, NULL) == STRATA_PENDING)
            return 1;
        fork_nap();
    }
    return 0;
}

/* What waits is the parent's; the child has a queue of its own. */
static int child_writes_its_own(strata *cache)
{
    return strata_reopen(cache, NULL) == STRATA_OK && fork_trusted(cache) && waiting(cache) == 0 &&
           set_behind(cache, "child's", "c") && waiting(cache) != 0 && strata_close(cache) == STRATA_OK;
}
#endif

static void with_sets_that_wait_to_be_written(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip();
#else
    char url[512], key[32];
    (void)snprintf(
        url, sizeof url,
        "memory: | redis://127.0.0.1:%u?prefix=behind:&soft_timeout_ms=60s&timeout_ms=60s&connect_timeout_ms=60s",
        (unsigned)server.port);
    strata *cache = fork_open(url), *other = fork_open(url);
    assert_true(fork_trusted(cache) && fork_trusted(other));
    assert_true(set_behind(cache, "hello", "x")); /* the first goes through at once */
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof key, "parent's %d", i);
        assert_true(set_behind(cache, key, "p"));
    }
    assert_true(fork_child(cache, fork_leaves_alone));
    assert_int_equal(fork_has(other, "parent's 0"), STRATA_MISS); /* the child has not written it */
    assert_true(fork_child(cache, child_writes_its_own));
    assert_int_equal(fork_has(other, "child's"), STRATA_OK);
    assert_int_equal(fork_has(other, "parent's 1"), STRATA_MISS);
    assert_int_equal(waiting(cache), 101);
    assert_int_equal(strata_close(cache), STRATA_OK);
    for (int i = 2; i < 100; i++) {
        (void)snprintf(key, sizeof key, "parent's %d", i);
        assert_int_equal(fork_has(other, key), STRATA_OK);
    }
    assert_int_equal(strata_close(other), STRATA_OK);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_streams),
        cmocka_unit_test(over_pubsub),
        cmocka_unit_test(over_tracking_beside_streams),
        cmocka_unit_test(with_sets_that_wait_to_be_written),
    };
    redis_server_start(&server, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    redis_server_stop(&server);
    return failed;
}
