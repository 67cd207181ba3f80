/* test_log_rules.c - the words that choose what is logged, how often a line is told, and what does not stand in it. */
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/policy/log_rules.h"
#include "strata/log.h"

static int read_rules(const char *text, struct log_rules *out)
{
    *out = (struct log_rules){ { 0 }, 0 };
    return strata__log_rules_read(text, out, NULL);
}

static void test_words(void **state)
{
    (void)state;
    struct log_rules r;
    assert_int_equal(read_rules("", &r), STRATA_OK);
    assert_false(strata__log_rules_any(&r));
    assert_int_equal(read_rules("warn", &r), STRATA_OK);
    for (int i = 0; i < LOG_CATEGORIES; i++)
        assert_int_equal(r.level[i], STRATA_LOG_WARN);
    assert_false(r.keys);
    assert_int_equal(read_rules("warn,bus=debug, keys", &r), STRATA_OK);
    assert_int_equal(r.level[LOG_BUS], STRATA_LOG_DEBUG);
    assert_int_equal(r.level[LOG_LOAD], STRATA_LOG_WARN);
    assert_true(r.keys);
    assert_int_equal(read_rules("bus=debug,info", &r), STRATA_OK); /* later words count */
    assert_int_equal(r.level[LOG_BUS], STRATA_LOG_INFO);
    assert_int_equal(read_rules("memory=error,", &r), STRATA_OK);
    assert_int_equal(r.level[LOG_MEMORY], STRATA_LOG_ERROR);
    assert_int_equal(r.level[LOG_CACHE], 0);
    assert_int_equal(read_rules("debug,off", &r), STRATA_OK);
    assert_false(strata__log_rules_any(&r));
    assert_int_equal(read_rules("keys", &r), STRATA_OK);
    assert_false(strata__log_rules_any(&r));
}

static void test_wrong_words(void **state)
{
    (void)state;
    static const char *const wrong[] = { "loud",     "warn,bus",  "bus=",           "=warn",
                                         "bus=loud", "disk=warn", "warn;bus=debug", "WARN" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct log_rules r = { { 0 }, 0 };
        strata_error err = STRATA_ERROR_INIT;
        assert_int_equal(strata__log_rules_read(wrong[i], &r, &err), STRATA_EINVAL);
        assert_non_null(strstr(err.message, "write off, error, warn, info or debug"));
    }
    struct log_rules r;
    assert_int_equal(read_rules("info,loud", &r), STRATA_EINVAL);
    assert_int_equal(r.level[LOG_CACHE], STRATA_LOG_INFO); /* what stood before holds */
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(strata_log_level_name(STRATA_LOG_ERROR), "error");
    assert_string_equal(strata_log_level_name(STRATA_LOG_DEBUG), "debug");
    assert_string_equal(strata_log_level_name(0), "unknown");
    assert_string_equal(strata_log_level_name(5), "unknown");
    for (int i = 0; i < LOG_CATEGORIES; i++) {
        char text[32];
        struct log_rules r;
        snprintf(text, sizeof text, "%s=debug", strata__log_category_name((enum log_category)i));
        assert_int_equal(read_rules(text, &r), STRATA_OK);
        assert_int_equal(r.level[i], STRATA_LOG_DEBUG);
    }
}

static void test_rates(void **state)
{
    (void)state;
    struct log_rate rate = { 0 };
    uint64_t left_out = 77;
    for (int64_t start = 0; start < 3 * LOG_WINDOW_MS; start += LOG_WINDOW_MS) {
        for (int i = 0; i < LOG_BURST; i++) {
            assert_int_equal(strata__log_may(&rate, start + i, &left_out), 1);
            assert_int_equal(left_out, i == 0 && start != 0 ? 10 : 0);
        }
        for (int i = 0; i < 10; i++)
            assert_int_equal(strata__log_may(&rate, start + LOG_WINDOW_MS - 1, &left_out), 0);
    }
    assert_int_equal(rate.left_out, 10);
    assert_int_equal(strata__log_may(&rate, 0, &left_out), 1); /* a clock that goes back locks nobody out */
    assert_int_equal(left_out, 10);
}

static void expect_redacted(const char *text, const char *wanted)
{
    char room[256];
    snprintf(room, sizeof room, "%s", text);
    strata__log_redact(room);
    assert_string_equal(room, wanted);
}

static void test_secrets(void **state)
{
    (void)state;
    expect_redacted("redis://shop:hunter2@10.0.0.1:6379 is away", "redis://***@10.0.0.1:6379 is away");
    expect_redacted("redis://:p@ss/w:ord?x@h/0", "redis://***@h/0");
    expect_redacted("redis://:it's\"it@h/0", "redis://***@h/0");
    expect_redacted("a://x@b, c://y:z@d", "a://*@b, c://***@d");
    expect_redacted("nats://host:4222 is away; ask me@example.org", "nats://host:4222 is away; ask me@example.org");
    expect_redacted("password=hunter2&x=1", "password=***&x=1");
    expect_redacted("PASSWORD=h secret=, Token=abcd", "PASSWORD=* secret=, Token=***");
    expect_redacted("password=", "password=");
    expect_redacted("password=a", "password=*");
    expect_redacted("://@", "://@");
    expect_redacted("", "");
    expect_redacted("plain words", "plain words");
}

static void test_keys(void **state)
{
    (void)state;
    char out[72];
    strata__log_show_key("user:1", 6, out, sizeof out);
    assert_string_equal(out, "user:1");
    strata__log_show_key("a\0\n\"\\\xff", 6, out, sizeof out);
    assert_string_equal(out, "a\\x00\\x0a\\x22\\x5c\\xff");
    char long_key[1000];
    memset(long_key, '\xff', sizeof long_key);
    for (size_t room = 8; room <= sizeof out; room++)
        for (size_t size = 0; size < 40; size++) {
            memset(out, 'x', sizeof out);
            strata__log_show_key(long_key, size, out, room);
            assert_true(strlen(out) < room);
        }
    strata__log_show_key(long_key, sizeof long_key, out, sizeof out);
    assert_string_equal(out + strlen(out) - 3, "...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words), cmocka_unit_test(test_wrong_words), cmocka_unit_test(test_names),
        cmocka_unit_test(test_rates), cmocka_unit_test(test_secrets),     cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
