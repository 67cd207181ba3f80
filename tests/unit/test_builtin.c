/* test_builtin.c - opening a stack by its URL: what reaches the layers, and words for what does not. */
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "strata/strata.h"
#include "tests/support/fail_alloc.h"

static void test_parameters_reach_the_layers(void **state)
{
    (void)state;
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata_open_url(&cache,
                                     "memory:?max_bytes=1mb&max_entries=1000&policy=lru&name=front | "
                                     "memory:?max_bytes=2mb&shards=1",
                                     NULL, &err),
                     STRATA_OK);
    assert_int_equal(strata_layer_count(cache), 2);
    strata_layer_stats s = { .size = sizeof s };
    assert_int_equal(strata_stats_layer(cache, 0, &s), STRATA_OK);
    assert_string_equal(s.name, "front");
    assert_int_equal(s.max_bytes, 1 << 20);
    s = (strata_layer_stats){ .size = sizeof s };
    assert_int_equal(strata_stats_layer(cache, 1, &s), STRATA_OK);
    assert_string_equal(s.name, "memory");
    assert_int_equal(s.max_bytes, 2 << 20);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

static void test_layers_have_names(void **state)
{
    (void)state;
    strata *cache = NULL;
    size_t at = 7;
    assert_int_equal(
        strata_open_url(&cache, "memory:?name=front | memory: | memory:?name=back | memory:?name=back", NULL, NULL),
        STRATA_OK);
    assert_int_equal(strata_layer_index(cache, "front", &at), STRATA_OK);
    assert_int_equal(at, 0);
    assert_int_equal(strata_layer_index(cache, "back", &at), STRATA_OK);
    assert_int_equal(at, 2);
    assert_int_equal(strata_layer_index(cache, "memory", &at), STRATA_OK);
    assert_int_equal(at, 1);
    assert_int_equal(strata_layer_index(cache, "redis", &at), STRATA_MISS);
    assert_int_equal(at, 1);
    assert_int_equal(strata_layer_index(cache, NULL, &at), STRATA_EINVAL);
    assert_int_equal(strata_layer_index(NULL, "front", &at), STRATA_EINVAL);
    assert_int_equal(strata_layer_index(cache, "front", NULL), STRATA_EINVAL);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

static void test_options_go_along(void **state)
{
    (void)state;
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    options.max_key_bytes = 3;
    assert_int_equal(strata_open_url(&cache, "memory", &options, &err), STRATA_OK);
    assert_int_equal(strata_set(cache, strata_str("long"), strata_str("v"), NULL, &err), STRATA_EKEYSIZE);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *url, *where, *words;
    } wrong[] = {
        { NULL, "url", "NULL" },
        { "", "url", "a layer is missing" },
        { "memry:", "url", "no such kind of layer as \"memry\"; known: memory" },
        { "memory:x", "url", "memory takes nothing between ':' and '?', but there is \"x\"" },
        { "memory:?max_bytes=64", "memory", "write max_bytes=64mb" },
        { "memory:?max_byte=64mb", "memory", "no such parameter as \"max_byte\": is it max_bytes?; known: max_bytes," },
        { "memory:?policy=mru", "memory", "s3-fifo" },
        { "memory:?max_bytes=1mb | memory:?shards=0x1", "memory", "whole number" },
        { "memory:?max_bytes=1mb | memory:?shards=2&shards=2", "url", "twice" },
        { "memory:?max_bytes=1mb | disc:/tmp", "url", "\"disc\"" },
        { "disk:", "path", "needs a directory" },
        { "disk:/a?path=/b", "url", "path stands there twice, \"/a\" and \"/b\"" },
        { "disk:/tmp/x?segment_bytes=1kb", "disk", "segment_bytes" },
        { "memory: | nats://h", "url", "as \"bus:nats://host\"" },
        { "memory: | bus:", "url", "no such kind of bus; known: redis-stream, redis-pubsub" },
        { "memory: | bus:redis_stream", "url", "no such kind of bus: redis_stream; known: redis-stream" },
        { "memory: | bus:amqp://h", "url", "no such kind of bus: amqp; known: redis-stream" },
        { "memory: | bus:redis-streams://h", "url", "no such kind of bus" },
        { "bus:redis-stream://h", "layers", "" },
        { "memory: | bus:redis-stream://h?max_lenght=5", "redis-stream", "is it max_length?" },
        { "memory: | bus:redis-stream://h?url=redis://i", "url", "twice" },
        { "memory: | bus:redis-stream:http://h", "url", "redis://" },
        { "memory: | bus:redis-pubsub://h?max_length=1000", "max_length", "Pub/Sub keeps no messages" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        strata *cache = (strata *)&cache;
        strata_error err = STRATA_ERROR_INIT;
        assert_int_equal(strata_open_url(&cache, wrong[i].url, NULL, &err), STRATA_EINVAL);
        assert_null(cache);
        assert_string_equal(err.where, wrong[i].where);
        if (strstr(err.message, wrong[i].words) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", err.message, wrong[i].words);
        assert_int_equal(strata_open_url(&cache, wrong[i].url, NULL, NULL), STRATA_EINVAL);
    }
}

/* Layers with something else than '|' between them: the words say what separates them, with the URL as it was meant. */
static void test_wrong_separators_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *url, *words;
    } wrong[] = {
        { "memory:?max_bytes=64mb,disk:/var/cache/shop?max_bytes=4gb",
          "separated by '|', and none stands before \"disk:\": write "
          "\"memory:?max_bytes=64mb | disk:/var/cache/shop?max_bytes=4gb\"" },
        { "memory:?max_bytes=64mb,redis://127.0.0.1:6379?prefix=app:",
          "\"memory:?max_bytes=64mb | redis://127.0.0.1:6379?prefix=app:\"" },
        { "memory:?max_bytes=64mb;disk:/x , bus:nats://h", "\"memory:?max_bytes=64mb | disk:/x | bus:nats://h\"" },
        { "memory:,disk:/x", "\"memory: | disk:/x\"" },
        { "memory: disk:/x", "\"memory: | disk:/x\"" },
        { "memory: -> disk:/x", "\"memory: | disk:/x\"" },
        { "memory:?max_bytes=64mb&redis+cluster://a:1,b:2", "\"memory:?max_bytes=64mb | redis+cluster://a:1,b:2\"" },
        { "memory:?max_bytes=64mb+unix:///s", "\"memory:?max_bytes=64mb | unix:///s\"" },
        { "memory:?max_bytes=64mb\ndisk:/x", "\"memory:?max_bytes=64mb | disk:/x\"" },
        { "disk:/tmp/strata-none,redis://127.0.0.1", "\"disk:/tmp/strata-none | redis://127.0.0.1\"" },
        { "memory:?max_bytes=64mb,redis://:hunter2@h", "write, for example, \"memory:?max_bytes=64mb | disk:/" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        strata *cache = NULL;
        strata_error err = STRATA_ERROR_INIT;
        assert_int_equal(strata_open_url(&cache, wrong[i].url, NULL, &err), STRATA_EINVAL);
        assert_string_equal(err.where, "url");
        if (strstr(err.message, wrong[i].words) == NULL || strstr(err.message, "hunter2") != NULL)
            fail_msg("\"%s\" does not say \"%s\"", err.message, wrong[i].words);
        assert_int_equal(strata_open_url(&cache, wrong[i].url, NULL, NULL), STRATA_EINVAL);
    }
}

/* An error of another kind keeps its words, whatever names and colons stand around; and what is right stays so. */
static void test_other_errors_are_no_separators(void **state)
{
    (void)state;
    static const struct {
        const char *url, *words;
    } wrong[] = {
        { "memory:?max_bytes=64 | disk:/x", "write max_bytes=64mb" },
        { "memory: | redis+cluster://redis:6379,redis:6380/1", "database" },
        { "memory:?name=a,disk&max_byte=1mb", "is it max_bytes?" },
        { "memory:?max_bytes=64mb,disc:/x", "no such unit as" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        strata *cache = NULL;
        strata_error err = STRATA_ERROR_INIT;
        assert_int_equal(strata_open_url(&cache, wrong[i].url, NULL, &err), STRATA_EINVAL);
        if (strstr(err.message, wrong[i].words) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", err.message, wrong[i].words);
    }
    strata *cache = NULL;
    assert_int_equal(strata_open_url(&cache, "memory:?name=a,disk:/x", NULL, NULL), STRATA_OK);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

/* A long one is cut, within the room of a message. */
static void test_a_long_url_without_bars(void **state)
{
    (void)state;
    char url[4096] = "memory:?max_bytes=64mb";
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    while (strlen(url) + 10 < sizeof url)
        strcat(url, ",disk:/x");
    assert_int_equal(strata_open_url(&cache, url, NULL, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "write \"memory:?max_bytes=64mb | disk:/x | disk:/x"));
    assert_string_equal(err.message + strlen(err.message) - 4, "...\"");
    strcpy(url, "memory:,disk:");
    memset(url + 13, 'x', 1000);
    url[1013] = '\0';
    assert_int_equal(strata_open_url(&cache, url, NULL, &err), STRATA_EINVAL);
    assert_string_equal(err.message + strlen(err.message) - 4, "...\"");
}

/* Whatever is wrong around a password, and however it was not encoded: no error quotes it. */
static void test_no_error_shows_a_password(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        int status;
        const char *words;
    } wrong[] = {
        { "rediss://:hunter2", STRATA_EINVAL, "the port" },
        { "memory: | redis+sentinel://:hunter2@h:26379", STRATA_EINVAL, "master" },
        { "redis+cluster://:hunter2@h,i/1", STRATA_EINVAL, "database" },
        { "redis://hunter2@h", STRATA_EINVAL, "':'" },
        { "redis://:x|hunter2@h", STRATA_EINVAL, "%7C" },
        { "redis://:x|hunter2|y@h", STRATA_EINVAL, "%7C" },
        { "redis://:x|hunter2:y@h", STRATA_EINVAL, "%7C" },
        { "redis://:x|hunter2:|y@h", STRATA_EINVAL, "%7C" },
        { "redis://:x|memory:hunter2@h", STRATA_EINVAL, "memory takes nothing" },
        { "redis://:x?hunter2@h", STRATA_EINVAL, "%3F" },
        { "redis://:x?hunter2=y@h", STRATA_EINVAL, "%3F" },
        { "redis://:x?prefix=a&hunter2=y@h", STRATA_EINVAL, "%3F" },
        { "redis://:x hunter2@h", STRATA_EINVAL, "%20" },
        { "redis://:x%hunter2@h", STRATA_EINVAL, "%25" },
        { "redis://h?url=redis://:hunter2@h", STRATA_EINVAL, "twice" },
        { "redis://h?url=redis%3A//:hunter2%40h", STRATA_EINVAL, "twice" },
        { "unix:///s?url=redis://:hunter2@h", STRATA_EINVAL, "twice" },
        { "redis://:hunter2@h?prefix", STRATA_EINVAL, "has no value" },
        { "redis://:hunter2@h:x", STRATA_EINVAL, "port" },
        { "redis://:hunter2@h?prefx=a", STRATA_EINVAL, "no such parameter as \"prefx\": is it prefix?" },
        { "redis://:hunter2@h?tombstones_ms=9s", STRATA_EINVAL, "is it tombstone_ms?; known: url,prefix," },
        { "redis://:hunter2@h?wait=9s", STRATA_EINVAL, "no such parameter as \"wait\"; known: url,prefix," },
        { "redis://:hunter2@h?timeout_ms=2h", STRATA_EINVAL, "1 to 3600000 milliseconds" },
        { "unix://:hunter2@run/sock", STRATA_EINVAL, "begins with '/'" },
        { "memory: | bus:redis-stream://:hunter2@h:x", STRATA_EINVAL, "port" },
        { "memory: | bus:redis-stream://:x?hunter2=y@h", STRATA_EINVAL, "%3F" },
        { "memory: | bus:redis-stream://:x?prefix=a&hunter2=y@h", STRATA_EINVAL, "%3F" },
        { "memory: | bus:redis-strm://:hunter2@h", STRATA_EINVAL, "no such kind of bus" },
        { "memory: | bus:hunter2@h", STRATA_EINVAL, "no such kind of bus" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        strata *cache = NULL;
        strata_error err = STRATA_ERROR_INIT;
        int rc = strata_open_url(&cache, wrong[i].url, NULL, &err);
        if (rc != wrong[i].status || strstr(err.message, wrong[i].words) == NULL)
            fail_msg("%s: %d, \"%s\" does not say \"%s\"", wrong[i].url, rc, err.message, wrong[i].words);
        assert_null(strstr(err.message, "hunter"));
        assert_null(strstr(err.message, "y@"));
    }
}

static void test_layers_come_from_one_place(void **state)
{
    (void)state;
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    options.layer_count = 1;
    assert_int_equal(strata_open_url(&cache, "memory:", &options, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "strata_open()"));
    options = (strata_options)STRATA_OPTIONS_INIT;
    options.workers = 257;
    assert_int_equal(strata_open_url(&cache, "memory:", &options, &err), STRATA_EINVAL);
    assert_string_equal(err.where, "workers");
    assert_int_equal(strata_open_url(NULL, "memory:", NULL, &err), STRATA_EINVAL);
}

static void test_the_nth_allocation_fails(void **state)
{
    (void)state;
    struct fail_alloc a;
    long n = 0;
    do {
        strata *cache = NULL;
        strata_error err = STRATA_ERROR_INIT;
        strata_options options = STRATA_OPTIONS_INIT;
        fail_alloc_init(&a, ++n);
        options.allocator = &a.mem;
        int rc = strata_open_url(&cache, "memory:?max_bytes=1mb | memory:?max_bytes=2mb", &options, &err);
        assert_true(rc == STRATA_OK || (rc == STRATA_ENOMEM && cache == NULL));
        strata_close(cache);
        assert_int_equal(a.live, 0);
    } while (a.failed);
}

static void test_version_and_features(void **state)
{
    (void)state;
    int major = -1, minor = -1, patch = -1;
    assert_int_equal(sscanf(strata_version(), "%d.%d.%d", &major, &minor, &patch), 3);
    assert_int_equal(major, STRATA_VERSION_MAJOR);
    assert_int_equal(minor, STRATA_VERSION_MINOR);
    assert_int_equal(patch, STRATA_VERSION_PATCH);
    assert_non_null(strstr(strata_features(), "memory"));
    /* What it says it has can be opened; what not says what would bring it. */
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    int rc = strata_open_url(&cache, "redis:", NULL, &err);
    strata_close(cache);
    assert_int_equal(rc, strstr(strata_features(), " redis") != NULL ? STRATA_OK : STRATA_EUNSUPPORTED);
    assert_true(rc == STRATA_OK || strstr(err.message, "STRATA_WITH_REDIS") != NULL);
}

static int buses_closed;

static void close_bus(strata_bus *bus)
{
    (void)bus;
    buses_closed++;
}

/* Open takes buses over, also when it refuses what else it was given. */
static void refused_options_take_their_buses_along(void **state)
{
    static const strata_bus_ops ops = { .size = sizeof ops, .kind = "counted", .close = close_bus };
    strata_bus one = { .size = sizeof one, .ops = &ops };
    strata_bus *buses[] = { &one };
    strata *cache;
    strata_error words;
    (void)state;
    const strata_options options = { STRATA_SIZED(strata_options), .layer_count = 1, .buses = buses, .bus_count = 1 };
    assert_int_equal(strata_open_url(&cache, "memory:", &options, &words), STRATA_EINVAL);
    assert_string_equal(words.where, "layers");
    assert_int_equal(buses_closed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters_reach_the_layers),
        cmocka_unit_test(test_layers_have_names),
        cmocka_unit_test(refused_options_take_their_buses_along),
        cmocka_unit_test(test_options_go_along),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_wrong_separators_are_told_apart),
        cmocka_unit_test(test_other_errors_are_no_separators),
        cmocka_unit_test(test_a_long_url_without_bars),
        cmocka_unit_test(test_no_error_shows_a_password),
        cmocka_unit_test(test_layers_come_from_one_place),
        cmocka_unit_test(test_the_nth_allocation_fails),
        cmocka_unit_test(test_version_and_features),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
