/* test_redis_url.c - the URL of a server: its parts, its defaults, and words for what is wrong that give no password away. */
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/link/redis_url.h"

static void expect_text(const char *url, const char *what, const char *got, const char *want)
{
    if ((got == NULL) != (want == NULL) || (got != NULL && strcmp(got, want) != 0))
        fail_msg("%s: %s is \"%s\", not \"%s\"", url, what, got != NULL ? got : "(none)",
                 want != NULL ? want : "(none)");
}

static void test_parts(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        struct redis_url want;
    } good[] = {
        { "redis://127.0.0.1:6379", { .host = "127.0.0.1", .port = 6379 } },
        { "redis:", { .host = "127.0.0.1", .port = 6379 } },
        { "redis://", { .host = "127.0.0.1", .port = 6379 } },
        { "redis:///3", { .host = "127.0.0.1", .port = 6379, .database = 3 } },
        { "redis://cache.example/", { .host = "cache.example", .port = 6379 } },
        { "redis://cache.example:1/2147483647", { .host = "cache.example", .port = 1, .database = 2147483647 } },
        { "redis://[::1]", { .host = "::1", .port = 6379 } },
        { "redis://[fe80::1]:65535/1", { .host = "fe80::1", .port = 65535, .database = 1 } },
        { "redis://:secret@h", { .host = "h", .port = 6379, .password = "secret" } },
        { "redis://ann:secret@h:7/2", { .host = "h", .port = 7, .user = "ann", .password = "secret", .database = 2 } },
        { "redis://a%3Ab:p%40%2f%3F%25%7c@h", { .host = "h", .port = 6379, .user = "a:b", .password = "p@/?%|" } },
        { "redis://:a@b@c@h", { .host = "h", .port = 6379, .password = "a@b@c" } },
        { "redis://:a:b:c@h", { .host = "h", .port = 6379, .password = "a:b:c" } },
        { "unix:///run/redis.sock", { .socket_path = "/run/redis.sock", .port = 6379 } },
        { "unix:/run/redis.sock", { .socket_path = "/run/redis.sock", .port = 6379 } },
        { "unix:///a%20b:c", { .socket_path = "/a b:c", .port = 6379 } },
        { "redis+cluster://", { .host_count = 1, .hosts = { { "127.0.0.1", 6379 } }, .topology = REDIS_CLUSTER } },
        { "redis-cluster://ann:p%2c@[::1]:7,b,c.d:9/0",
          { .host_count = 3,
            .hosts = { { "::1", 7 }, { "b", 6379 }, { "c.d", 9 } },
            .user = "ann",
            .password = "p,",
            .topology = REDIS_CLUSTER } },
        { "redis+sentinel://h/main",
          { .host_count = 1, .hosts = { { "h", 26379 } }, .master_name = "main", .topology = REDIS_SENTINEL } },
        { "redis-sentinel://:secret@a:1,[::2]/my%20own/3",
          { .host_count = 2,
            .hosts = { { "a", 1 }, { "::2", 26379 } },
            .password = "secret",
            .master_name = "my own",
            .database = 3,
            .topology = REDIS_SENTINEL } },
        { "unix://ann:secret@/s", { .socket_path = "/s", .port = 6379, .user = "ann", .password = "secret" } },
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char text[256];
        struct redis_url u;
        strata_error err = STRATA_ERROR_INIT;
        snprintf(text, sizeof text, "%s", good[i].url);
        if (strata__redis_url_parse(text, &u, &err) != STRATA_OK)
            fail_msg("%s: %s", good[i].url, err.message);
        expect_text(good[i].url, "the host", u.host, good[i].want.host);
        expect_text(good[i].url, "the path", u.socket_path, good[i].want.socket_path);
        expect_text(good[i].url, "the user", u.user, good[i].want.user);
        expect_text(good[i].url, "the password", u.password, good[i].want.password);
        assert_int_equal(u.topology, good[i].want.topology);
        assert_int_equal(u.host_count, good[i].want.host_count);
        for (size_t k = 0; k < u.host_count; k++) {
            expect_text(good[i].url, "a host", u.hosts[k].host, good[i].want.hosts[k].host);
            assert_int_equal(u.hosts[k].port, good[i].want.hosts[k].port);
        }
        expect_text(good[i].url, "the master's name", u.master_name, good[i].want.master_name);
        if (u.topology == REDIS_ALONE)
            assert_int_equal(u.port, good[i].want.port);
        assert_int_equal(u.database, good[i].want.database);
    }
}

static void test_wrong_ones_say_what_to_do(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        int status;
        const char *words;
    } wrong[] = {
        { "", STRATA_EINVAL, "begins with redis://" },
        { "hunter2", STRATA_EINVAL, "begins with redis://" },
        { "redis:hunter2", STRATA_EINVAL, "begins with redis://" },
        { "http://:hunter2@h", STRATA_EINVAL, "begins with redis://" },
        { "rediss://:hunter2", STRATA_EINVAL, "the port" },
        { "rediss:hunter2", STRATA_EINVAL, "rediss://" },
        { "redis+sentinel://:hunter2@h", STRATA_EINVAL, "no name of a master" },
        { "redis+sentinel://:hunter2@h/", STRATA_EINVAL, "no name of a master" },
        { "redis+sentinel://:hunter2@h//1", STRATA_EINVAL, "no name of a master" },
        { "redis+sentinel://:hunter2@h/main/x", STRATA_EINVAL, "number of a database" },
        { "redis+sentinel://:hunter2@h/main%", STRATA_EINVAL, "the master's name" },
        { "redis+sentinel://:hunter2@h,/main", STRATA_EINVAL, "side of a ','" },
        { "redis+cluster://:hunter2@h/1", STRATA_EINVAL, "no database but 0" },
        { "redis+cluster://:hunter2@h/x", STRATA_EINVAL, "number of a database" },
        { "redis+cluster://:hunter2@a,,b", STRATA_EINVAL, "side of a ','" },
        { "redis+cluster://:hunter2@a,", STRATA_EINVAL, "side of a ','" },
        { "redis+cluster://:hunter2@,a", STRATA_EINVAL, "side of a ','" },
        { "redis+cluster://:hunter2@a:1,b:x", STRATA_EINVAL, "the port" },
        { "redis+cluster://hunter2@a", STRATA_EINVAL, "there is no ':'" },
        { "redis+cluster://:hunter2", STRATA_EINVAL, "the port" },
        { "redis+cluster:hunter2", STRATA_EINVAL, "begins with redis://" },
        { "redis://:hunter2@a,b", STRATA_EINVAL, "belong to a Cluster" },
        { "redis://hunter2@h", STRATA_EINVAL, "there is no ':'" },
        { "redis://ann:@h", STRATA_EINVAL, "the password is empty" },
        { "redis://:hunter2/@h", STRATA_EINVAL, "'/' before the '@'" },
        { "redis://:hunter2%@h", STRATA_EINVAL, "the password has a percent sign" },
        { "redis://:hunter2%0@h", STRATA_EINVAL, "the password has a percent sign" },
        { "redis://:hunter2%00@h", STRATA_EINVAL, "the password has a percent sign" },
        { "redis://%zz:hunter2@h", STRATA_EINVAL, "the user has a percent sign" },
        { "redis://:hunter2@h?prefix=a", STRATA_EINVAL, "there is a '?'" },
        { "redis://:hunter2", STRATA_EINVAL, "the port" },
        { "redis://:hunter2@h:0", STRATA_EINVAL, "the port" },
        { "redis://:hunter2@h:65536", STRATA_EINVAL, "the port" },
        { "redis://:hunter2@h:", STRATA_EINVAL, "the port" },
        { "redis://:hunter2@::1", STRATA_EINVAL, "in brackets" },
        { "redis://:hunter2@[::1", STRATA_EINVAL, "brackets" },
        { "redis://:hunter2@[::1]7", STRATA_EINVAL, "brackets" },
        { "redis://:hunter2@h/x", STRATA_EINVAL, "number of a database" },
        { "redis://:hunter2@h/99999999999999999999", STRATA_EINVAL, "number of a database" },
        { "unix://ann:hunter2@run/s", STRATA_EINVAL, "begins with '/'" },
        { "unix:", STRATA_EINVAL, "begins with '/'" },
        { "unix:///s%", STRATA_EINVAL, "the path" },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char text[256];
        struct redis_url u;
        strata_error err = STRATA_ERROR_INIT;
        snprintf(text, sizeof text, "%s", wrong[i].url);
        assert_int_equal(strata__redis_url_parse(text, &u, &err), wrong[i].status);
        assert_string_equal(err.where, "url");
        if (strstr(err.message, wrong[i].words) == NULL)
            fail_msg("%s: \"%s\" does not say \"%s\"", wrong[i].url, err.message, wrong[i].words);
        assert_null(strstr(err.message, "hunter"));
        assert_in_range(strlen(err.message), 1, sizeof err.message - 2); /* not cut */
    }
}

static void test_a_cluster_by_option(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        int status;
    } given[] = { { "redis://h:7", STRATA_OK },
                  { "redis+cluster://h:7", STRATA_OK },
                  { "redis://h:7/1", STRATA_EINVAL },
                  { "unix:///s", STRATA_EINVAL } };
    for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
        char text[256];
        struct redis_url u;
        strata_error err = STRATA_ERROR_INIT;
        snprintf(text, sizeof text, "%s", given[i].url);
        assert_int_equal(strata__redis_url_parse(text, &u, &err), STRATA_OK);
        assert_int_equal(strata__redis_url_cluster(&u, &err), given[i].status);
        if (given[i].status != STRATA_OK)
            continue;
        assert_int_equal(u.topology, REDIS_CLUSTER);
        assert_int_equal(u.host_count, 1);
        expect_text(given[i].url, "the host", u.hosts[0].host, "h");
        assert_int_equal(u.hosts[0].port, 7);
    }
}

static void test_too_many_hosts(void **state)
{
    (void)state;
    char text[512] = "redis+cluster://h";
    struct redis_url u;
    strata_error err = STRATA_ERROR_INIT;
    for (int i = 0; i < REDIS_URL_HOSTS; i++)
        strcat(text, ",h");
    assert_int_equal(strata__redis_url_parse(text, &u, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "more than 32 hosts"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_wrong_ones_say_what_to_do),
        cmocka_unit_test(test_a_cluster_by_option),
        cmocka_unit_test(test_too_many_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
