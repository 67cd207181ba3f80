/* test_redis_bus_url.c - two caches over one Redis, opened by URL, that hear of each other's deletes over a bus of that server. */
#include <stdio.h>
#include <string.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/redis_server.h"

static struct redis_server server;
static unsigned channel;
static char prefix[32];

static int next_channel(void **state)
{
    (void)state;
    snprintf(prefix, sizeof prefix, "b%u:", ++channel);
    return 0;
}

static strata *open_url(const char *format)
{
    char url[512];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    const unsigned port = server.port;
    snprintf(url, sizeof url, format, port, prefix, port, prefix);
    if (strata_open_url(&cache, url, NULL, &err) != STRATA_OK)
        fail_msg("%s: %s: %s", url, err.where, err.message);
    return cache;
}

static int look(strata *cache, const char *what, const char *expected)
{
    strata_value *v = NULL;
    int rc = strata_get(cache, strata_str(what), &v, NULL);
    int same = rc == STRATA_OK && strata_value_size(v) == strlen(expected) &&
               memcmp(strata_value_data(v), expected, strlen(expected)) == 0;
    strata_value_unref(v);
    return same ? 1 : rc == STRATA_MISS ? 0 : -1;
}

/* What one of them deletes, the other one does not have in its memory any more. */
static void caches_hear_each_other(const char *format)
{
    strata *one = open_url(format), *other_one = open_url(format);
    for (int round = 0; round < 20; round++) {
        char what[16];
        snprintf(what, sizeof what, "k%d", round);
        assert_int_equal(strata_set(one, strata_str(what), strata_str("v"), NULL, NULL), STRATA_OK);
        while (look(other_one, what, "v") != 1)
            ;
        assert_true(strata_delete(one, strata_str(what), NULL) >= 0);
        while (look(other_one, what, "v") != 0)
            ;
    }
    assert_int_equal(strata_close(one), STRATA_OK);
    assert_int_equal(strata_close(other_one), STRATA_OK);
}

static void streams_by_url(void **state)
{
    (void)state;
    caches_hear_each_other("memory: | redis://127.0.0.1:%u?prefix=%s | bus:redis-stream");
    caches_hear_each_other("memory: | redis://127.0.0.1:%u?prefix=%s | bus:redis-stream://127.0.0.1:%u");
    caches_hear_each_other(
        "memory: | redis://127.0.0.1:%u?prefix=%s | bus:redis-stream:redis://127.0.0.1:%u?prefix=%s");
}

static void pubsub_by_url(void **state)
{
    (void)state;
    caches_hear_each_other("memory: | redis://127.0.0.1:%u?prefix=%s | bus:redis-pubsub");
}

static int make_server(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    redis_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_setup(streams_by_url, next_channel),
                                        cmocka_unit_test_setup(pubsub_by_url, next_channel) };
    return cmocka_run_group_tests_name("buses by url", tests, make_server, stop_server);
}
