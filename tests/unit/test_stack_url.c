/* test_stack_url.c - a stack's URL: its parts, its escapes, its bounds, and words for everything that is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/policy/stack_url.h"

static struct stack_url url;

static void parse(const char *text)
{
    strata_error err = STRATA_ERROR_INIT;
    if (strata__stack_url_parse(text, &url, &err) != STRATA_OK)
        fail_msg("%s: %s", text, err.message);
}

static void test_one_layer(void **state)
{
    (void)state;
    parse("memory:?max_bytes=64mb&max_entries=1000&policy=lru");
    assert_int_equal(url.layer_count, 1);
    assert_string_equal(url.layers[0].scheme, "memory");
    assert_string_equal(url.layers[0].rest, "");
    assert_int_equal(url.layers[0].param_count, 3);
    assert_string_equal(url.layers[0].params[0].name, "max_bytes");
    assert_string_equal(url.layers[0].params[0].value, "64mb");
    assert_string_equal(url.layers[0].params[2].name, "policy");
    assert_string_equal(url.layers[0].params[2].value, "lru");
    parse("memory:");
    assert_int_equal(url.layers[0].param_count, 0);
    parse("memory");
    assert_string_equal(url.layers[0].scheme, "memory");
    assert_string_equal(url.layers[0].rest, "");
    parse("memory?shards=1");
    assert_string_equal(url.layers[0].params[0].name, "shards");
}

static void test_several_layers(void **state)
{
    (void)state;
    parse("  memory:?max_bytes=256mb |disk:/var/cache/app?max_bytes=4gb|\tredis://localhost:6379/0?prefix=app: ");
    assert_int_equal(url.layer_count, 3);
    assert_string_equal(url.layers[1].scheme, "disk");
    assert_string_equal(url.layers[1].rest, "/var/cache/app");
    assert_string_equal(url.layers[1].params[0].value, "4gb");
    assert_string_equal(url.layers[2].scheme, "redis");
    assert_string_equal(url.layers[2].rest, "//localhost:6379/0");
    assert_string_equal(url.layers[2].raw_rest, "//localhost:6379/0");
    assert_string_equal(url.layers[0].raw_rest, "");
    assert_string_equal(url.layers[2].params[0].value, "app:");
    parse("redis+sentinel");
    assert_string_equal(url.layers[0].scheme, "redis+sentinel");
    assert_string_equal(url.layers[0].raw_rest, "");
}

static void test_percent(void **state)
{
    (void)state;
    parse("disk:/a%20b%7Cc?name=%41%25%26%3d&x=1=2?3");
    assert_string_equal(url.layers[0].rest, "/a b|c");
    assert_string_equal(url.layers[0].raw_rest, "/a%20b%7Cc");
    assert_string_equal(url.layers[0].params[0].value, "A%&=");
    assert_string_equal(url.layers[0].params[1].value, "1=2?3");
    parse("memory:?max_bytes=25%&max_percent=30%25"); /* a share needs no code for its sign */
    assert_string_equal(url.layers[0].params[0].value, "25%");
    assert_string_equal(url.layers[0].params[1].value, "30%");
}

static void test_wrong_ones_say_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } wrong[] = {
        { NULL, "NULL" },
        { "", "a layer is missing" },
        { "   ", "a layer is missing" },
        { "memory:|", "a layer is missing" },
        { "|memory:", "a layer is missing" },
        { "memory:||disk:", "a layer is missing" },
        { ":?a=1", "does not begin with the kind" },
        { "/var/cache", "does not begin with the kind" },
        { "Memory:", "does not begin with the kind" },
        { "memory :", "does not begin with the kind" },
        { "memory:?", "a parameter is missing" },
        { "memory:?a=1&", "a parameter is missing" },
        { "memory:?&a=1", "a parameter is missing" },
        { "memory:?shards", "shards has no value" },
        { "memory:?shards=", "shards has no value" },
        { "memory:?=1", "is no parameter name" },
        { "memory:?sh ards=1", "is no parameter name" },
        { "memory:?Shards=1", "\"Shards\" is no parameter name" },
        { "memory:?shards=1&policy=lru&shards=2", "shards stands there twice" },
        { "memory:?name=a b", "%20" },
        { "memory: x", "%20" },
        { "memory:?name=%4", "%25" },
        { "memory:?name=%zz", "%25" },
        { "memory:?name=x100%", "%25" },
        { "memory:?name=10%0", "%25" },
        { "memory:?name=%00", "take it out" },
        { "memory:\n", "control character at byte 8" },
        { "memory:?name=\x7f", "control character" },
        { "a:|b:|c:|d:|e:|f:|g:|h:|i:", "more than 8 layers" },
        { "m:?a=1&b=1&c=1&d=1&e=1&f=1&g=1&h=1&i=1&j=1&k=1&l=1&m=1&n=1&o=1&p=1&q=1", "more than 16 parameters" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        strata_error err = STRATA_ERROR_INIT;
        assert_int_equal(strata__stack_url_parse(wrong[i].text, &url, &err), STRATA_EINVAL);
        assert_string_equal(err.where, "url");
        if (strstr(err.message, wrong[i].words) == NULL)
            fail_msg("%s: \"%s\" does not say \"%s\"", wrong[i].text, err.message, wrong[i].words);
        assert_int_equal(strata__stack_url_parse(wrong[i].text, &url, NULL), STRATA_EINVAL);
    }
}

static void test_length(void **state)
{
    (void)state;
    char text[STACK_URL_BYTES + 2];
    strata_error err = STRATA_ERROR_INIT;
    memset(text, 'x', sizeof text);
    memcpy(text, "disk:/", 6);
    text[STACK_URL_BYTES] = '\0';
    parse(text);
    assert_int_equal(strlen(url.layers[0].rest), STACK_URL_BYTES - 5);
    text[STACK_URL_BYTES] = 'x';
    text[STACK_URL_BYTES + 1] = '\0';
    assert_int_equal(strata__stack_url_parse(text, &url, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "longer than 4096"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_layer), cmocka_unit_test(test_several_layers),
        cmocka_unit_test(test_percent),   cmocka_unit_test(test_wrong_ones_say_what_to_do),
        cmocka_unit_test(test_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
