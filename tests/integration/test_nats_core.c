/* test_nats_core.c - the bus on core NATS, with a real server of its own. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/link/nats_link.h"
#include "src/os/os_clock.h"
#include "strata/nats.h"
#include "tests/support/bus_ear.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/nats_server.h"
#include "tests/support/redis_server.h"
#include "tests/support/still_threads.h"
#include "tests/support/tls_certs.h"

static strata_bus *core(const struct nats_server *s)
{
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    options.url = s->url;
    return strata_nats_bus(&options);
}

static void test_what_one_says_all_hear(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a, b;
    strata_bus_stats stats;
    nats_server_start(&s, NULL);
    bus_ear_open(&a, core(&s), NULL);
    bus_ear_open(&b, core(&s), "b");
    assert_int_equal(a.bus->flags, STRATA_BUS_ECHOES);
    assert_int_equal(bus_ear_say(&a, "one", NULL), STRATA_OK);
    assert_int_equal(bus_ear_say(&b, "two", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "one");
    bus_ear_until_heard(&b, "one");
    bus_ear_until_heard(&a, "two");
    bus_ear_until_heard(&b, "two");
    bus_ear_stats(&a, &stats);
    assert_int_equal(stats.up, 1);
    assert_int_equal(stats.published, 1);
    assert_int_equal(stats.received, 2);
    assert_int_equal(stats.bytes_out, 3);
    assert_int_equal(stats.bytes_in, 6);
    assert_int_equal(stats.reconnects, 0);
    assert_memory_equal(stats.server, "NATS ", 5);
    assert_true(stats.server[5] >= '0' && stats.server[5] <= '9');
    bus_ear_close(&a);
    bus_ear_close(&b);
    nats_server_stop(&s);
}

static void test_a_server_that_is_killed_is_found_again(void **state)
{
    (void)state;
    enum { SAID = 300 };
    struct nats_server s;
    struct bus_ear a;
    strata_bus_stats stats;
    char text[16];
    nats_server_start(&s, NULL);
    bus_ear_open(&a, core(&s), NULL);
    for (int i = 0; i < SAID; i++) {
        (void)snprintf(text, sizeof text, "m%d", i);
        if (i == SAID / 3)
            nats_server_kill(&s);
        if (i == SAID / 3 + 1)
            nats_server_restart(&s);
        if (i != SAID / 3)
            bus_ear_say_surely(&a, text);
        else
            assert_true(bus_ear_say(&a, text, NULL) < 0);
    }
    bus_ear_until_heard(&a, text);
    bus_ear_until_up(&a, 2);
    bus_ear_stats(&a, &stats);
    assert_true(stats.reconnects >= 1);
    assert_true(stats.failed >= 1);
    bus_ear_close(&a);
    nats_server_stop(&s);
}

static void test_a_server_that_is_not_there_is_waited_for(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    strata_error err;
    nats_server_start(&s, NULL);
    nats_server_kill(&s);
    assert_int_equal(bus_ear_start(&a, core(&s), NULL, &err), STRATA_OK);
    bus_ear_until_down(&a, "127.0.0.1");
    assert_int_equal(bus_ear_say(&a, "lost", &err), STRATA_EIO);
    nats_server_restart(&s);
    bus_ear_until_up(&a, 1);
    assert_int_equal(bus_ear_say(&a, "said", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "said");
    nats_server_kill(&s);
    bus_ear_until_down(&a, "not connected");
    int64_t began_ms = strata__os_now_ms();
    bus_ear_close(&a);
    assert_true(strata__os_now_ms() - began_ms < 10000); /* and not for ever */
    nats_server_stop(&s);
}

static void test_a_paused_server_fails_messages_and_takes_them_again(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    strata_error err;
    nats_server_start(&s, NULL);
    options.url = s.url;
    options.timeout_ms = 200;
    bus_ear_open(&a, strata_nats_bus(&options), NULL);
    nats_server_pause(&s);
    assert_int_equal(bus_ear_say(&a, "slow", &err), STRATA_ETIMEDOUT);
    sleep(2);
    nats_server_resume(&s);
    bus_ear_say_surely(&a, "fast");
    bus_ear_until_heard(&a, "fast");
    bus_ear_close(&a);
    nats_server_stop(&s);
}

static void test_a_wrong_password_is_told_and_not_shown(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    const struct nats_server_options with = { .user = "cache", .password = "s3same-open" };
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    char url[96];
    nats_server_start(&s, &with);
    (void)snprintf(url, sizeof url, "nats://cache:Sw0rdfish@127.0.0.1:%u", (unsigned)s.port);
    options.url = url;
    assert_int_equal(bus_ear_start(&a, strata_nats_bus(&options), NULL, NULL), STRATA_OK);
    bus_ear_until_down(&a, "password");
    assert_null(strstr(a.down_why.message, "Sw0rdfish"));
    bus_ear_until_down(&a, "uthorization");
    /* It goes on trying, and the day the server knows this password, it is up. */
    s.options.password = "Sw0rdfish";
    nats_server_restart(&s);
    bus_ear_until_up(&a, 1);
    bus_ear_close(&a);
    options.url = s.url;
    options.user = "cache";
    options.password = "Sw0rdfish";
    bus_ear_open(&a, strata_nats_bus(&options), NULL);
    bus_ear_close(&a);
    nats_server_stop(&s);
}

static void test_a_token_and_missing_rights(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    const struct nats_server_options with = { .token = "t0ken" };
    const struct nats_server_options rights = {
        .more = "authorization { users: [ { user: u, password: p, permissions: { publish: [\"other\"], subscribe: "
                "[\">\"] } },"
                " { user: deaf, password: p, permissions: { publish: [\">\"], subscribe: [\"other\"] } } ] }"
    };
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    strata_error err;
    char url[96];
    nats_server_start(&s, &with);
    (void)snprintf(url, sizeof url, "nats://t0ken@127.0.0.1:%u", (unsigned)s.port);
    options.url = url;
    bus_ear_open(&a, strata_nats_bus(&options), NULL);
    bus_ear_close(&a);
    nats_server_stop(&s);

    nats_server_start(&s, &rights);
    options.url = s.url;
    options.user = "u";
    options.password = "p";
    bus_ear_open(&a, strata_nats_bus(&options), NULL);
    assert_int_equal(bus_ear_say(&a, "x", &err), STRATA_EIO);
    assert_non_null(strstr(err.message, "ermissions"));
    bus_ear_close(&a);
    options.user = "deaf";
    assert_int_equal(bus_ear_start(&a, strata_nats_bus(&options), NULL, NULL), STRATA_OK);
    bus_ear_until_down(&a, "ermissions");
    assert_int_equal(bus_ear_ups(&a), 0);
    bus_ear_close(&a);
    nats_server_stop(&s);
}

static void test_a_message_that_is_too_large_fails_alone(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    const struct nats_server_options with = { .more = "max_payload: 8192" };
    strata_error err;
    nats_server_start(&s, &with);
    bus_ear_open(&a, core(&s), NULL);
    assert_int_equal(bus_ear_say_bytes(&a, 8193, &err), STRATA_EVALUESIZE);
    assert_non_null(strstr(err.message, "max_payload"));
    assert_int_equal(bus_ear_say_bytes(&a, 8192, &err), STRATA_OK);
    assert_int_equal(bus_ear_say(&a, "small", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "small");
    assert_int_equal(bus_ear_ups(&a), 1);
    bus_ear_close(&a);
    nats_server_stop(&s);
}

static void test_several_servers_are_tried_in_turn(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    char url[96];
    nats_server_start(&s, NULL);
    (void)snprintf(url, sizeof url, "nats://127.0.0.1:1,127.0.0.1:2,127.0.0.1:%u", (unsigned)s.port);
    options.url = url;
    bus_ear_open(&a, strata_nats_bus(&options), NULL);
    bus_ear_close(&a);
    nats_server_stop(&s);
}

static void test_a_cluster_is_found_by_one_of_its_servers(void **state)
{
    (void)state;
    struct nats_server one, two;
    struct bus_ear a;
    char more[2][160];
    unsigned ports[2] = { redis_server_free_port(), redis_server_free_port() };
    struct nats_server_options with[2] = { { .more = more[0] }, { .more = more[1] } };
    (void)snprintf(more[0], sizeof more[0], "cluster { name: c, listen: \"127.0.0.1:%u\" }", ports[0]);
    (void)snprintf(more[1], sizeof more[1],
                   "cluster { name: c, listen: \"127.0.0.1:%u\", routes: [ \"nats://127.0.0.1:%u\" ] }", ports[1],
                   ports[0]);
    with[0].no_jetstream = with[1].no_jetstream = 1;
    nats_server_start(&one, &with[0]);
    bus_ear_open(&a, core(&one), NULL); /* before there is another one */
    nats_server_start(&two, &with[1]);
    struct bus_ear b;
    bus_ear_open(&b, core(&two), NULL);
    while (bus_ear_times(&b, "routed") == 0) /* until they know each other */
        bus_ear_say_surely(&a, "routed");
    sleep(2); /* and a has heard of it */
    nats_server_kill(&one);
    bus_ear_until_up(&a, 2);
    assert_int_equal(bus_ear_say(&a, "by the other", NULL), STRATA_OK);
    bus_ear_until_heard(&b, "by the other");
    bus_ear_close(&a);
    bus_ear_close(&b);
    nats_server_stop(&two);
    nats_server_stop(&one);
}

static void test_over_tls(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    struct tls_certs certs;
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    strata_bus_stats stats;
    tls_certs_make(&certs);
    const struct nats_server_options with = { .cert = certs.server.cert, .key = certs.server.key, .ca = certs.ca.cert };
    nats_server_start(&s, &with);
    options.url = s.url;
    options.tls_ca_file = certs.ca.cert;
    options.tls_cert_file = certs.client.cert;
    options.tls_key_file = certs.client.key;
    options.tls_server_name = "localhost";
    bus_ear_open(&a, strata_nats_bus(&options), NULL);
    assert_int_equal(bus_ear_say(&a, "sealed", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "sealed");
    bus_ear_stats(&a, &stats);
    assert_memory_equal(stats.server, "NATS ", 5);
    bus_ear_close(&a);
    options.tls_server_name = NULL; /* the address in url, which the certificate has, too */
    bus_ear_open(&a, strata_nats_bus(&options), NULL);
    bus_ear_close(&a);
    options.tls_server_name = "elsewhere.example";
    assert_int_equal(bus_ear_start(&a, strata_nats_bus(&options), NULL, NULL), STRATA_OK);
    bus_ear_until_down(&a, "tls_server_name");
    bus_ear_close(&a);
    options.tls_server_name = NULL;
    options.tls_ca_file = certs.other_ca.cert;
    assert_int_equal(bus_ear_start(&a, strata_nats_bus(&options), NULL, NULL), STRATA_OK);
    bus_ear_until_down(&a, "tls_ca_file");
    bus_ear_close(&a);
    options.tls_ca_file = "/nonexistent.pem";
    strata_error err;
    assert_int_equal(bus_ear_start(&a, strata_nats_bus(&options), NULL, &err), STRATA_EINVAL);
    assert_string_equal(err.where, "tls_ca_file");
    nats_server_stop(&s);
    tls_certs_remove(&certs);
}

static void test_a_child_is_told_to_open_after_the_fork(void **state)
{
    (void)state;
    struct nats_server s;
    struct bus_ear a;
    nats_server_start(&s, NULL);
    bus_ear_open(&a, core(&s), NULL);
    wait_for_still_threads();
    pid_t pid = fork();
    if (pid == 0) {
        strata_error err = STRATA_ERROR_INIT;
        int good = a.bus->ops->reopen == NULL;
        a.bus->ops->stop(a.bus, 1000); /* touches nothing of the parent's */
        struct nats_link_options options = { .name = "nats", .host = "127.0.0.1", .port = s.port };
        good = good && strata__nats_check(&options, &err) == STRATA_EUNSUPPORTED &&
               strstr(err.message, "after the fork") != NULL;
        _exit(good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(bus_ear_say(&a, "parent", NULL), STRATA_OK);
    bus_ear_until_heard(&a, "parent");
    bus_ear_close(&a);
    nats_server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_one_says_all_hear),
        cmocka_unit_test(test_a_server_that_is_killed_is_found_again),
        cmocka_unit_test(test_a_server_that_is_not_there_is_waited_for),
        cmocka_unit_test(test_a_paused_server_fails_messages_and_takes_them_again),
        cmocka_unit_test(test_a_wrong_password_is_told_and_not_shown),
        cmocka_unit_test(test_a_token_and_missing_rights),
        cmocka_unit_test(test_a_message_that_is_too_large_fails_alone),
        cmocka_unit_test(test_several_servers_are_tried_in_turn),
        cmocka_unit_test(test_a_cluster_is_found_by_one_of_its_servers),
        cmocka_unit_test(test_over_tls),
        cmocka_unit_test(test_a_child_is_told_to_open_after_the_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
