/* test_layers_url.c - the command's wishes go into the first memory layer of a URL, and nowhere else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/layers_url.h"

static void expect(const char *url, const struct layers_wish *wish, const char *expected)
{
    char out[LAYERS_URL_BYTES];
    strata_error err = STRATA_ERROR_INIT;

    assert_int_equal(layers_url(out, url, wish, &err), STRATA_OK);
    assert_string_equal(out, expected);
}

static void expect_refusal(const char *url, const struct layers_wish *wish, const char *words)
{
    char out[LAYERS_URL_BYTES];
    strata_error err = STRATA_ERROR_INIT;

    assert_int_equal(layers_url(out, url, wish, &err), STRATA_EINVAL);
    assert_string_equal(err.where, "--layers");
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", words, err.message);
}

static void without_wishes_it_stays(void **state)
{
    const struct layers_wish none = { 0, 0, NULL, 0 };

    (void)state;
    expect("memory:", &none, "memory:");
    expect("anything|at all ? &", &none, "anything|at all ? &");
}

static void wishes_become_parameters(void **state)
{
    const struct layers_wish all = { 1376, 65u << 20, "lru", 1 };
    const struct layers_wish policy = { 0, 0, "s3-fifo", 0 };

    (void)state;
    expect("memory:", &all, "memory:?max_entries=1376&max_bytes=65mb&policy=lru&shards=1");
    expect("memory:?", &policy, "memory:?policy=s3-fifo");
    expect("memory:?name=near", &policy, "memory:?name=near&policy=s3-fifo");
}

static void the_first_memory_layer_gets_them(void **state)
{
    const struct layers_wish policy = { 0, 0, "fifo", 0 };

    (void)state;
    expect("memory:|disk:/x?a=1", &policy, "memory:?policy=fifo|disk:/x?a=1");
    expect("disk:/x?a=1 | memory:?name=m | memory:", &policy, "disk:/x?a=1 | memory:?name=m&policy=fifo | memory:");
}

static void what_stands_there_is_not_overruled(void **state)
{
    const struct layers_wish all = { 5, 64u << 20, "lru", 2 };
    const struct layers_wish size = { 5, 64u << 20, NULL, 0 };

    (void)state;
    expect("memory:?max_bytes=1mb", &size, "memory:?max_bytes=1mb&max_entries=5");
    expect_refusal("memory:?max_entries=9", &all, "max_entries already: leave --size out");
    expect_refusal("memory:?policy=lru", &all, "policy already: leave --policy out");
    expect_refusal("memory:?max_bytes=1mb&shards=4", &all, "shards already: leave --shards out");
    /* a parameter of another layer, or one whose name only begins so, is no obstacle */
    expect("memory:?policies=1|memory:?policy=lru", &(struct layers_wish){ 0, 0, "fifo", 0 },
           "memory:?policies=1&policy=fifo|memory:?policy=lru");
}

static void there_must_be_a_memory_layer(void **state)
{
    const struct layers_wish size = { 5, 0, NULL, 0 };

    (void)state;
    expect_refusal("disk:/x", &size, "there is no memory layer");
    expect_refusal("", &size, "there is no memory layer");
}

static void long_urls(void **state)
{
    const struct layers_wish size = { 5, 0, NULL, 0 };
    char url[LAYERS_URL_BYTES + 8];

    (void)state;
    memset(url, 'x', sizeof url);
    memcpy(url, "memory:?name=", 13);
    url[LAYERS_URL_BYTES - 5] = '\0';
    expect_refusal(url, &size, "longer than");
    url[LAYERS_URL_BYTES - 5] = 'x';
    url[sizeof url - 1] = '\0';
    expect_refusal(url, &(struct layers_wish){ 0, 0, NULL, 0 }, "longer than");
}

static void user_and_password_are_hidden(void **state)
{
    static const char *const urls[][2] = {
        { "memory:|redis://:s3cret@127.0.0.1:1?prefix=a@b", "memory:|redis://***@127.0.0.1:1?prefix=a@b" },
        { "redis://me:p@ss@h/1|memory:", "redis://***@h/1|memory:" },
        { "redis:?url=redis://:x%40y%40h&prefix=p:", "redis:?url=redis://***%40h&prefix=p:" },
        { "redis://:@h|redis://a@h", "redis://*@h|redis://*@h" },
        { "redis+sentinel://:s3cret@h/main?sentinel_password=s3c%26ret&prefix=a|memory:",
          "redis+sentinel://***@h/main?sentinel_password=***&prefix=a|memory:" },
        { "memory:?max_bytes=1mb|disk:/a//b", "memory:?max_bytes=1mb|disk:/a//b" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        char url[LAYERS_URL_BYTES];
        strcpy(url, urls[i][0]);
        layers_url_hide(url);
        assert_string_equal(url, urls[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_wishes_it_stays),          cmocka_unit_test(wishes_become_parameters),
        cmocka_unit_test(the_first_memory_layer_gets_them), cmocka_unit_test(what_stands_there_is_not_overruled),
        cmocka_unit_test(there_must_be_a_memory_layer),     cmocka_unit_test(long_urls),
        cmocka_unit_test(user_and_password_are_hidden),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
