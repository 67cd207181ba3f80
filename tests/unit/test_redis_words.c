/* test_redis_words.c - words for refusals, patterns of SCAN, times of PX. */
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/redis/redis_words.h"

static void test_refusals_keep_the_servers_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
        int status;
    } told[] = {
        { "WRONGTYPE Operation against a key holding the wrong kind of value", "a prefix of its own", STRATA_ELAYER },
        { "OOM command not allowed when used memory > 'maxmemory'.", "maxmemory-policy", STRATA_ELAYER },
        { "READONLY You can't write against a read only replica.", "primary", STRATA_ELAYER },
        { "LOADING Redis is loading the dataset in memory", "wait", STRATA_EIO },
        { "NOAUTH Authentication required.", "password", STRATA_ELAYER },
        { "NOPERM this user has no permissions to run the 'get' command", "ACL", STRATA_ELAYER },
        { "MOVED 866 127.0.0.1:7001", "cluster", STRATA_ELAYER },
        { "ERR unknown command 'UNLINK', with args beginning with:", "use_del", STRATA_ELAYER },
        { "BUSY Redis is busy running a script.", "script", STRATA_EIO },
        { "ERR something new", "look at the server", STRATA_ELAYER },
        { "OOMPH", "look at the server", STRATA_ELAYER },
        { "ASK", "cluster", STRATA_ELAYER },
        { "", "look at the server", STRATA_ELAYER },
    };
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        strata_error err = STRATA_ERROR_INIT;
        assert_int_equal(strata__redis_refused("front", "GET", strata_str(told[i].text), &err), told[i].status);
        assert_int_equal(err.status, told[i].status);
        assert_string_equal(err.where, "front");
        assert_non_null(strstr(err.message, "GET was refused: \""));
        assert_non_null(strstr(err.message, told[i].text));
        assert_non_null(strstr(err.message, told[i].words));
    }
    /* However much the server says, the advice has room. */
    char endless[1000] = "LOADING ";
    strata_error err = STRATA_ERROR_INIT;
    memset(endless + 8, 'x', sizeof endless - 8);
    assert_int_equal(strata__redis_refused("front", "GET", strata_bytes(endless, sizeof endless), &err), STRATA_EIO);
    assert_non_null(strstr(err.message, "wait"));
}

/* As Redis 6.2 says it; newer ones have the command's own words in front. */
static void test_refusals_in_scripts(void **state)
{
    (void)state;
#define BEFORE "ERR Error running script (call to f_ec4532bf63db0e71d097902ac7c3): @user_script:27: "
    static const struct {
        const char *text, *is;
    } told[] = {
        { BEFORE "@user_script: 27: -READONLY You can't write against a read only replica. ",
          "READONLY You can't write against a read only replica. " },
        { BEFORE "@user_script: 9: The user executing the script can't run this command or subcommand ",
          "The user executing the script can't run this command or subcommand " },
        { "OOM command not allowed script: @user_script: 27: -LOADING",
          "OOM command not allowed script: @user_script: 27: -LOADING" },
        { BEFORE "attempt to index a nil value", BEFORE "attempt to index a nil value" },
        { BEFORE "@user_script: ", BEFORE "@user_script: " },
        { BEFORE "@user_script: 27: ", BEFORE "@user_script: 27: " },
        { "", "" },
    };
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
        strata_slice got = strata__redis_of_script(strata_str(told[i].text));
        assert_int_equal(got.size, strlen(told[i].is));
        assert_memory_equal(got.data, told[i].is, got.size);
    }
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata__redis_refused("front", "life", strata_str(BEFORE "@user_script: 3: -LOADING x"), &err),
                     STRATA_EIO);
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
        cmocka_unit_test(test_refusals_in_scripts),
        cmocka_unit_test(test_patterns_match_what_stands_there_alone),
        cmocka_unit_test(test_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
