/* test_nats_url.c - where NATS servers are, and what a bus' options refuse. */
#include <stdio.h>
#include <string.h>

#include "src/bus/nats/nats_url.h"
#include "src/link/nats_link.h"
#include "strata/nats.h"
#include "tests/support/cmocka_all.h"

static int parse(const char *text, char room[512], struct nats_url *out, strata_error *err)
{
    (void)snprintf(room, 512, "%s", text);
    return strata__nats_url_parse(room, out, err);
}

static void test_good_ones(void **state)
{
    (void)state;
    char room[512];
    struct nats_url u;
    assert_int_equal(parse("nats://h", room, &u, NULL), STRATA_OK);
    assert_int_equal(u.host_count, 1);
    assert_string_equal(u.hosts[0].host, "h");
    assert_int_equal(u.hosts[0].port, 4222);
    assert_int_equal(u.tls, 0);
    assert_null(u.user);
    assert_null(u.token);
    assert_int_equal(parse("tls://us%40er:p%3Aa@ss@h:1,[::1]:2,[::2],k/", room, &u, NULL), STRATA_OK);
    assert_int_equal(u.tls, 1);
    assert_string_equal(u.user, "us@er");
    assert_string_equal(u.password, "p:a@ss");
    assert_int_equal(u.host_count, 4);
    assert_string_equal(u.hosts[1].host, "::1");
    assert_int_equal(u.hosts[1].port, 2);
    assert_string_equal(u.hosts[2].host, "::2");
    assert_int_equal(u.hosts[2].port, 4222);
    assert_int_equal(parse("nats://tok%25en@", room, &u, NULL), STRATA_OK);
    assert_string_equal(u.token, "tok%en");
    assert_string_equal(u.hosts[0].host, "127.0.0.1");
}

static void test_bad_ones_and_no_password_in_words(void **state)
{
    (void)state;
    static const char *const bad[] = { "",
                                       "nats:",
                                       "http://h",
                                       "nats://h:0",
                                       "nats://h:65536",
                                       "nats://h:x",
                                       "nats://u:s3cret@h:x",
                                       "nats://u:s3cret%@h",
                                       "nats://u:s3cret%00@h",
                                       "nats://u:s3cret@h/subject",
                                       "nats://u:s3cret/x@h?a=b",
                                       "nats://:s3cret@h",
                                       "nats://@h",
                                       "nats://a,,b",
                                       "nats://,b",
                                       "nats://a:b:c",
                                       "nats://[::1",
                                       "nats://[::1]x" };
    char room[512];
    struct nats_url u;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        strata_error err = STRATA_ERROR_INIT;
        assert_int_equal(parse(bad[i], room, &u, &err), STRATA_EINVAL);
        assert_string_equal(err.where, "url");
        assert_true(err.message[0] != '\0');
        assert_null(strstr(err.message, "s3cret"));
    }
}

/* What the constructor says, which names the option. */
static void refused(strata_nats_options options, const char *where)
{
    strata_bus *bus = strata_nats_bus(&options);
    assert_true(bus->failed.status == STRATA_EINVAL ||
                (bus->failed.status == STRATA_EUNSUPPORTED && !strata__nats_built_in()));
    if (bus->failed.status == STRATA_EINVAL)
        assert_string_equal(bus->failed.where, where);
    else
        assert_non_null(strstr(bus->failed.message, "STRATA_WITH_NATS"));
    strata_bus_free(bus);
}

#define REFUSED(where_, ...) \
    do { \
        strata_nats_options o_ = { STRATA_SIZED(strata_nats_options), __VA_ARGS__ }; \
        refused(o_, where_); \
    } while (0)

static void test_options_that_do_not_go_together(void **state)
{
    (void)state;
    REFUSED("url", .url = "nats://h:x");
    REFUSED("url", .url = "nats://u:p@h", .user = "v");
    REFUSED("url", .tls_ca_file = "/x.pem");
    REFUSED("user", .user = "u", .token = "t");
    REFUSED("password", .password = "p");
    REFUSED("tls_key_file", .url = "tls://h", .tls_cert_file = "/x.pem");
    REFUSED("subject", .subject = "a.*");
    REFUSED("subject", .subject = ".a");
    REFUSED("subject", .subject = "a..b");
    REFUSED("stream", .jetstream = STRATA_ON, .stream = "A.B");
    REFUSED("stream", .stream = "A");
    REFUSED("max_age_ms", .max_age_ms = 60000);
    REFUSED("ensure_consumer", .ensure_consumer = STRATA_OFF);
    REFUSED("tls_verify", .tls_verify = STRATA_OFF);
    int there = 0; /* it is not looked at */
    REFUSED("connection", .connection = &there, .url = "nats://h");
    REFUSED("connection", .connection = &there, .token = "t");
    strata_nats_options late = STRATA_NATS_OPTIONS_INIT;
    late.max_message_bytes = 5;
    strata_bus *bus = strata_nats_bus(&late);
    assert_int_equal(bus->failed.status, STRATA_EINVAL);
    strata_bus_free(bus);
    strata_bus_free(strata_nats_bus(NULL));
    strata_bus_free(NULL);
}

static void test_what_it_is_called_and_what_it_can(void **state)
{
    (void)state;
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    strata_bus *bus = strata_nats_bus(&options);
    if (!strata__nats_built_in()) {
        assert_int_equal(bus->failed.status, STRATA_EUNSUPPORTED);
        strata_bus_free(bus);
        return;
    }
    assert_string_equal(bus->name, "nats");
    assert_int_equal(bus->flags, STRATA_BUS_ECHOES);
    assert_int_equal(bus->max_message_bytes, 256 << 10);
    strata_bus_free(bus);
    options.jetstream = STRATA_ON;
    bus = strata_nats_bus(&options);
    assert_string_equal(bus->name, "jetstream");
    strata_bus_free(bus);
    options.name = "mine";
    bus = strata_nats_bus(&options);
    assert_string_equal(bus->name, "mine");
    strata_bus_free(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_ones),
        cmocka_unit_test(test_bad_ones_and_no_password_in_words),
        cmocka_unit_test(test_options_that_do_not_go_together),
        cmocka_unit_test(test_what_it_is_called_and_what_it_can),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
