/* test_rabbitmq_url.c - the URL of a RabbitMQ and the options of its bus: parts, defaults, and words for what is wrong that give no
 * password away. */
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/bus/rabbitmq/rabbitmq_url.h"
#include "src/link/amqp_link.h"
#include "strata/policy.h"
#include "strata/rabbitmq.h"

static void test_parts(void **state)
{
    static const struct {
        const char *url;
        struct rabbitmq_url want;
    } good[] = {
        { "amqp://", { 0, "127.0.0.1", "/", "guest", "guest", 5672 } },
        { "amqps://", { 1, "127.0.0.1", "/", "guest", "guest", 5671 } },
        { "amqp://mq.example", { 0, "mq.example", "/", "guest", "guest", 5672 } },
        { "amqp://mq.example/", { 0, "mq.example", "/", "guest", "guest", 5672 } },
        { "amqp://mq.example/%2F", { 0, "mq.example", "/", "guest", "guest", 5672 } },
        { "amqp://mq.example:1/a%2fb", { 0, "mq.example", "a/b", "guest", "guest", 1 } },
        { "amqp://ann:secret@[::1]:65535/app", { 0, "::1", "app", "ann", "secret", 65535 } },
        { "amqps://ann:secret@[::1]", { 1, "::1", "/", "ann", "secret", 5671 } },
        { "amqp://a%3Ab:p%40%2f%3F%25@h", { 0, "h", "/", "a:b", "p@/?%", 5672 } },
        { "amqp://ann:a@b:c@h", { 0, "h", "/", "ann", "a@b:c", 5672 } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char text[128];
        struct rabbitmq_url u;
        const struct rabbitmq_url *want = &good[i].want;
        strata_error err = STRATA_ERROR_INIT;
        (void)snprintf(text, sizeof text, "%s", good[i].url);
        if (strata__rabbitmq_url_parse(text, &u, &err) != STRATA_OK)
            fail_msg("%s: %s", good[i].url, err.message);
        if (u.tls != want->tls || u.port != want->port || strcmp(u.host, want->host) != 0 ||
            strcmp(u.vhost, want->vhost) != 0 || strcmp(u.user, want->user) != 0 ||
            strcmp(u.password, want->password) != 0)
            fail_msg("%s: %d %s:%u \"%s\" %s %s", good[i].url, u.tls, u.host, (unsigned)u.port, u.vhost, u.user,
                     u.password);
    }
}

static void test_what_is_wrong_has_words_and_no_password(void **state)
{
    static const struct {
        const char *url, *words;
    } bad[] = {
        { "", "begins with amqp://" },
        { "rabbitmq://hunter2@h", "begins with amqp://" },
        { "amqp:hunter2", "begins with amqp://" },
        { "amqp://hunter2@h", "a user, ':' and a password" },
        { "amqp://:hunter2@h", "a user, ':' and a password" },
        { "amqp://ann:@h", "a user, ':' and a password" },
        { "amqp://ann:hunter2%@h", "%25" },
        { "amqp://ann:hunter2%00@h", "%25" },
        { "amqp://ann:hunt/er2@h", "%2F" },
        { "amqp://ann:hunter2@h:0", "1 to 65535" },
        { "amqp://ann:hunter2@h:65536", "1 to 65535" },
        { "amqp://ann:hunter2@h:99999999999999999999", "1 to 65535" },
        { "amqp://ann:hunter2@h:", "1 to 65535" },
        { "amqp://ann:hunter2@::1", "in brackets" },
        { "amqp://ann:hunter2@[::1", "in brackets" },
        { "amqp://ann:hunter2@[::1]x", "in brackets" },
        { "amqp://ann:hunter2@a,b", "one host" },
        { "amqp://ann:hunter2@h/a/b", "%2F" },
        { "amqp://ann:hunter2@h/%zz", "%25" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[128];
        struct rabbitmq_url u;
        strata_error err = STRATA_ERROR_INIT;
        (void)snprintf(text, sizeof text, "%s", bad[i].url);
        assert_int_equal(strata__rabbitmq_url_parse(text, &u, &err), STRATA_EINVAL);
        assert_string_equal(err.where, "url");
        if (strstr(err.message, bad[i].words) == NULL || strstr(err.message, "hunter2") != NULL ||
            strstr(err.message, "er2") != NULL)
            fail_msg("%s: %s", bad[i].url, err.message);
    }
}

static void refused(const strata_rabbitmq_options *o, int status, const char *where, const char *words)
{
    strata_bus *bus = strata_rabbitmq_bus(o);
    if (bus->failed.status != status || strcmp(bus->failed.where, where) != 0 ||
        strstr(bus->failed.message, words) == NULL)
        fail_msg("not %s, \"%s\": %d, %s: %s", where, words, bus->failed.status, bus->failed.where, bus->failed.message);
    strata_bus_free(bus);
}

static void test_options_that_are_wrong(void **state)
{
    const strata_rabbitmq_options init = STRATA_RABBITMQ_OPTIONS_INIT;
    strata_rabbitmq_options o = init;
    (void)state;
    if (!strata__amqp_built_in()) {
        refused(NULL, STRATA_EUNSUPPORTED, "rabbitmq", "-DSTRATA_WITH_RABBITMQ=ON");
        return;
    }
    o.url = "amqp://ann@h";
    refused(&o, STRATA_EINVAL, "url", "a user");
    o = init;
    o.exchange = "amq.fanout";
    refused(&o, STRATA_EINVAL, "exchange", "amq.");
    o = init;
    o.queue = "amq.gen";
    refused(&o, STRATA_EINVAL, "queue", "amq.");
    o = init;
    o.exchange_type = 4;
    refused(&o, STRATA_EINVAL, "exchange_type", "1 to 3");
    o = init;
    o.prefetch = 65536;
    refused(&o, STRATA_EINVAL, "prefetch", "65535");
    o = init;
    o.queue_expires_ms = 999;
    refused(&o, STRATA_EINVAL, "queue_expires_ms", "a second");
    o = init;
    o.tls_ca_file = "ca.pem";
    refused(&o, STRATA_EINVAL, "url", "amqps://");
    o.url = "amqps://h";
    o.tls_cert_file = "cert.pem";
    refused(&o, STRATA_EINVAL, "tls_cert_file", "give both");
    if (!strata__amqp_tls_built_in()) {
        o.tls_key_file = "key.pem";
        refused(&o, STRATA_EUNSUPPORTED, "url", "no TLS");
    }
}

static void test_what_a_bus_says_of_itself(void **state)
{
    strata_rabbitmq_options o = STRATA_RABBITMQ_OPTIONS_INIT;
    (void)state;
    if (!strata__amqp_built_in())
        return;
    strata_bus *bus = strata_rabbitmq_bus(NULL);
    assert_int_equal(bus->failed.status, STRATA_OK);
    assert_string_equal(bus->name, "rabbitmq");
    assert_int_equal(bus->flags, STRATA_BUS_ECHOES);
    assert_true(bus->max_message_bytes >= 4096);
    strata_bus_free(bus);
    o.durable = STRATA_ON;
    o.name = "orders";
    bus = strata_rabbitmq_bus(&o);
    assert_string_equal(bus->name, "orders");
    assert_int_equal(bus->flags, STRATA_BUS_ECHOES | STRATA_BUS_REPLAYS | STRATA_BUS_DURABLE);
    strata_bus_free(bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_what_is_wrong_has_words_and_no_password),
        cmocka_unit_test(test_options_that_are_wrong),
        cmocka_unit_test(test_what_a_bus_says_of_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
