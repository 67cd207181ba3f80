/* test_redis_entries.c - what goes with an entry through a Redis: how far hits extend it, and what the origin calls it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/support/cmocka_all.h"

#include "strata/strata.h"
#include "tests/support/open_alone.h"
#include "tests/support/redis_server.h"

enum { LOOKS = 12000, LOOK_NS = 5 * 1000 * 1000 };

static struct redis_server server;
static strata_error err;

#define PATIENT "soft_timeout_ms=60s&timeout_ms=60s&connect_timeout_ms=60s"
#define REDIS "redis://127.0.0.1:%u?" PATIENT "&prefix=app:"

static strata *open_stack(const char *format, const strata_policy *policy)
{
    char url[256];
    strata *cache = NULL;
    strata_options options = STRATA_OPTIONS_INIT;
    options.policy = policy;
    snprintf(url, sizeof url, format, (unsigned)server.port);
    if (open_url_alone(&cache, url, &options, &err) != STRATA_OK)
        fail_msg("%s: %s", url, err.message);
    return cache;
}

static int get(strata *cache)
{
    strata_value *v = NULL;
    int rc = strata_get(cache, strata_str("k"), &v, &err);
    strata_value_unref(v);
    return rc;
}

/* One node reads, from its memory; the other finds that the entry lives longer than it was given. */
static void test_hits_extend_it(void **state)
{
    (void)state;
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 100000; /* longer than this test may take */
    p.sliding = STRATA_ON;
    p.sliding_percent = 1;
    strata *reader = open_stack("memory:?max_bytes=1mb | " REDIS, &p), *other = open_stack(REDIS, NULL);
    strata_inspection seen = STRATA_INSPECTION_INIT;
    assert_int_equal(strata_set(reader, strata_str("k"), strata_str("v"), NULL, &err), STRATA_OK);
    for (int i = 0; i < LOOKS && seen.age_ms + seen.fresh_ms < p.ttl_ms + 500; i++) {
        assert_int_equal(get(reader), STRATA_OK);
        nanosleep(&(struct timespec){ .tv_nsec = LOOK_NS }, NULL);
        assert_int_equal(strata_inspect(other, strata_str("k"), &seen, &err), STRATA_OK);
    }
    assert_true(seen.age_ms + seen.fresh_ms >= p.ttl_ms + 500);
    assert_int_equal(strata_delete(other, strata_str("k"), &err), STRATA_OK);
    for (int i = 0; i < 3; i++) {
        (void)get(reader); /* from its memory, for nobody has told it */
        assert_int_equal(get(other), STRATA_MISS);
    }
    strata_close(reader);
    strata_close(other);
}

static int conditional(strata_load *load, strata_slice key, void *ctx)
{
    strata_slice etag, modified;
    (void)key;
    if (strata_load_validator(load, &etag, &modified) == STRATA_OK) {
        assert_int_equal(etag.size, 4);
        assert_memory_equal(etag.data, "\"v1\"", 4);
        assert_int_equal(modified.size, 0);
        ++*(int *)ctx;
        return strata_load_not_modified(load);
    }
    assert_int_equal(strata_load_set_validator(load, strata_str("\"v1\""), strata_str("")), STRATA_OK);
    return strata_load_copy(load, "v", 1);
}

/* Another node asks by what this one was told; it reads old entries of before, too, and those without. */
static void test_validators_of_other_nodes(void **state)
{
    (void)state;
    strata_policy p = STRATA_POLICY_INIT;
    p.keep_ms = 3600000;
    strata *one = open_stack("memory:?max_bytes=1mb | " REDIS, &p), *two = open_stack(REDIS, &p);
    strata_value *v = NULL;
    int asked = 0;
    for (int i = 0; i < 4; i++) {
        strata *cache = i % 2 ? two : one;
        assert_int_equal(strata_get_or_load(cache, strata_str("e"), conditional, &asked, NULL, &v, &err), STRATA_OK);
        strata_value_unref(v);
        assert_int_equal(asked, i);
        /* By who has loaded it: what is on its way to the server from another node is there later. */
        assert_int_equal(strata_expire(cache, strata_str("e"), &err), STRATA_OK);
    }
    strata_close(one);
    strata_close(two);
}

static int start_server(void **state)
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hits_extend_it),
        cmocka_unit_test(test_validators_of_other_nodes),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
