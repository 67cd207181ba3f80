/* test_http_rules.c - what examples/http makes of the texts of requests and responses; its records and keys. */
#include "cache_middleware.h"
#include "http_record.h"
#include "http_rules.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

static void each(const struct http_request *request, http_visit visit, void *ctx)
{
    const char *const *fields = request->fields;
    for (; fields != NULL && *fields != NULL; fields += 2)
        if (visit(fields[0], fields[1], ctx) != 0)
            return;
}

/* Rules --------------------------------------------------------------------------------------------------------- */

static void cache_control_is_read(void **state)
{
    struct cache_control cc;
    (void)state;
    cache_control_parse(" Max-Age=60 ,s-maxage=\"10\", stale-while-revalidate=5, NO-TRANSFORM, x=\"a, no-store\"", &cc);
    assert_int_equal(cc.max_age, 60);
    assert_int_equal(cc.s_maxage, 10);
    assert_int_equal(cc.stale_while_revalidate, 5);
    assert_int_equal(cc.stale_if_error, -1);
    assert_false(cc.no_store); /* it is within quotes */
    cache_control_parse("private=\"Set-Cookie\", max-age=20, max-age=10, max-age=x", &cc);
    assert_true(cc.is_private);
    assert_int_equal(cc.max_age, 0); /* the strictest of several; what is no number is 0 */
    cache_control_parse("max-age=99999999999999999999", &cc);
    assert_true(cc.max_age > INT32_MAX);
    cache_control_parse("no-storex, nostore, =, ,,", &cc);
    assert_false(cc.no_store);
    cache_control_parse(NULL, &cc);
    assert_int_equal(cc.max_age, -1);
}

static void dates_are_read(void **state)
{
    (void)state;
    assert_int_equal(http_date_parse("Sun, 06 Nov 1994 08:49:37 GMT"), 784111777);
    assert_int_equal(http_date_parse("Thu, 01 Jan 1970 00:00:00 GMT"), 0);
    assert_int_equal(http_date_parse("Thu, 29 Feb 2024 23:59:59 GMT"), 1709251199);
    assert_int_equal(http_date_parse("0"), -1);
    assert_int_equal(http_date_parse("Sun, 06 Foo 1994 08:49:37 GMT"), -1);
    assert_int_equal(http_date_parse("Sun, 06 Nov 1994 25:49:37 GMT"), -1);
    assert_int_equal(http_date_parse("Sun, 06 Nov 1994 08:49:37 GMT and more"), -1);
    assert_int_equal(http_date_parse(NULL), -1);
}

static void sensitive_names_are_known(void **state)
{
    (void)state;
    assert_true(http_query_sensitive("/a?token=1"));
    assert_true(http_query_sensitive("/a?b=1&API_KEY=2"));
    assert_true(http_query_sensitive("/a?b=1;client_secret"));
    assert_true(http_query_sensitive("/a?%74oken=1")); /* token */
    assert_false(http_query_sensitive("/token?page=2"));
    assert_false(http_query_sensitive("/a?q=token&tokens=1"));
    assert_false(http_query_sensitive("/a?%"));
    assert_false(http_query_sensitive("/a"));
}

static void entity_tags_are_compared_weakly(void **state)
{
    (void)state;
    assert_true(http_etag_matches("\"a\", W/\"b\"", "\"b\""));
    assert_true(http_etag_matches("\"a=b,c\"", "W/\"a=b,c\""));
    assert_true(http_etag_matches("*", "\"x\""));
    assert_false(http_etag_matches("\"a\"", "\"ab\""));
    assert_false(http_etag_matches("\"a\"", NULL));
}

static void the_query_is_sorted_in_the_key(void **state)
{
    const char *host[] = { "Host", "Example.ORG", NULL };
    const struct http_request one = { "GET", "/p?b=2&a=1&b=1", NULL, 0, each, host };
    const struct http_request two = { "HEAD", "/p?a=1&b=2&b=1", NULL, 0, each, host };
    struct http_text x = { 0 }, y = { 0 };
    (void)state;
    http_key_default(&one, &x, NULL);
    http_key_default(&two, &y, NULL);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    assert_memory_equal(x.data, "GET example.org /p?a=1&b=2&b=1", x.size);
    http_text_free(&x);
    http_text_free(&y);
}

static void damaged_records_are_none(void **state)
{
    const struct http_record record = { .kind = HTTP_RECORD_RESPONSE,
                                        .status = 200,
                                        .fields = "A\0b",
                                        .fields_size = 4,
                                        .asked = "/",
                                        .asked_size = 2,
                                        .body = "body",
                                        .body_size = 4 };
    struct http_record back;
    void *data;
    size_t size;
    (void)state;
    assert_int_equal(http_record_write(&record, &data, &size), 0);
    assert_true(http_record_read(strata_bytes(data, size), &back));
    assert_string_equal(back.fields, "A");
    assert_memory_equal(back.body, "body", 4);
    for (size_t cut = 0; cut < size; cut++)
        assert_false(http_record_read(strata_bytes(data, cut), &back));
    for (size_t at = 0; at < size * 8; at++) { /* never past its end, whatever a bit says */
        ((unsigned char *)data)[at / 8] ^= (unsigned char)(1u << at % 8);
        (void)http_record_read(strata_bytes(data, size), &back);
        ((unsigned char *)data)[at / 8] ^= (unsigned char)(1u << at % 8);
    }
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cache_control_is_read),          cmocka_unit_test(dates_are_read),
        cmocka_unit_test(sensitive_names_are_known),      cmocka_unit_test(entity_tags_are_compared_weakly),
        cmocka_unit_test(the_query_is_sorted_in_the_key), cmocka_unit_test(damaged_records_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
