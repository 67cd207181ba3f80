/* test_redis_reply.c - words for refusals, patterns of SCAN, times of PX. */
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/redis/redis_reply.h"

static void test_refusals_keep_the_servers_words(void **state)
{
    (void)state;
    static const char *const told[][2] = {
        { "WRONGTYPE Operation against a key holding the wrong kind of value", "a prefix of its own" },
        { "OOM command not allowed when used memory > 'maxmemory'.", "maxmemory-policy" },
        { "READONLY You can't write against a read only replica.", "primary" },
        { "LOADING Redis is loading the dataset in memory", "wait" },
        { "NOAUTH Authentication required.", "password" },
        { "NOPERM this user has no permissions to run the 'get' command", "ACL" },
        { "MOVED 866 127.0.0.1:7001", "cluster" },
        { "ERR unknown command 'UNLINK', with args beginning with:", "use_del" },
        { "BUSY Redis is busy running a script.", "script" },
        { "ERR something new", "look at the server" },
        { "OOMPH", "look at the server" },
        { "ASK", "cluster" },
        { "", "look at the server" },
    };
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        strata_error err = STRATA_ERROR_INIT;
        int away = strncmp(told[i][0], "LOADING", 7) == 0 || strncmp(told[i][0], "BUSY", 4) == 0;
        assert_int_equal(strata__redis_refused("front", "GET", strata_str(told[i][0]), &err),
                         away ? STRATA_EIO : STRATA_ELAYER);
        assert_string_equal(err.where, "front");
        assert_non_null(strstr(err.message, "GET was refused: \""));
        assert_non_null(strstr(err.message, told[i][0]));
        assert_non_null(strstr(err.message, told[i][1]));
    }
    /* However much the server says, the advice has room. */
    char endless[1000] = "LOADING ";
    strata_error err = STRATA_ERROR_INIT;
    memset(endless + 8, 'x', sizeof endless - 8);
    assert_int_equal(strata__redis_refused("front", "GET", strata_bytes(endless, sizeof endless), &err), STRATA_EIO);
    assert_non_null(strstr(err.message, "wait"));
}

static void expect_pattern(const char *prefix, size_t size, const char *want, size_t want_size)
{
    char out[64];
    assert_int_equal(strata__redis_glob_prefix(strata_bytes(prefix, size), out), want_size);
    assert_memory_equal(out, want, want_size);
}

static void test_patterns_match_what_stands_there_alone(void **state)
{
    (void)state;
    expect_pattern("", 0, "*", 1);
    expect_pattern("app:", 4, "app:*", 5);
    expect_pattern("*?[]^-\\", 7, "\\*\\?\\[\\]\\^\\-\\\\*", 15);
    expect_pattern("a\0b*", 4, "a\0b\\**", 6);
}

static void test_times(void **state)
{
    (void)state;
    assert_int_equal(strata__redis_ttl_ms(STRATA_FOREVER, 5), STRATA_FOREVER);
    assert_int_equal(strata__redis_ttl_ms(1500, 500), 1000);
    assert_int_equal(strata__redis_ttl_ms(501, 500), 1);
    assert_int_equal(strata__redis_ttl_ms(500, 500), 0);
    assert_int_equal(strata__redis_ttl_ms(499, 500), 0);
    assert_int_equal(strata__redis_ttl_ms(INT64_MIN, 500), 0);
    assert_int_equal(strata__redis_ttl_ms(INT64_MAX - 1, -500), STRATA_FOREVER);
    assert_int_equal(strata__redis_ttl_ms(INT64_MAX - 1, 0), STRATA_FOREVER); /* the server would refuse it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals_keep_the_servers_words),
        cmocka_unit_test(test_patterns_match_what_stands_there_alone),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
