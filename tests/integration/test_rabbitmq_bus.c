/* test_rabbitmq_bus.c - the bus over a real RabbitMQ: what is published arrives, what may be lost is told, durable queues wait for their
 * node, and TLS hides it all.  One server for all tests; each has an exchange of its own. */
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "strata/policy.h"
#include "strata/version.h"
#include "tests/integration/rabbitmq_fixture.h"
#include "tests/support/delay_proxy.h"
#include "tests/support/tls_certs.h"

static struct tls_certs certs;

/* Traffic -------------------------------------------------------------------------------------------------------------- */

static void each_gets_all_in_the_order_of_its_sender(void **state)
{
    enum { NODES = 3, EACH = 400 };
    static struct out out[NODES][EACH];
    static const char *const formats[NODES] = { "0:%d", "1:%d", "2:%d" };
    struct node *nodes[NODES];
    (void)state;
    strata_rabbitmq_options o = options_of("all");
    for (int i = 0; i < NODES; i++)
        nodes[i] = open_up(&o, NULL);
    for (int k = 0; k < EACH; k++)
        for (int i = 0; i < NODES; i++)
            node_send(nodes[i], &out[i][k], formats[i], k);
    for (int i = 0; i < NODES; i++)
        for (int k = 0; k < EACH; k++)
            assert_int_equal(node_settled(&out[i][k]), STRATA_OK);
    for (int i = 0; i < NODES; i++) {
        struct node *n = nodes[i];
        int next[NODES] = { 0 };
        until(n, n->count == NODES * EACH);
        for (size_t k = 0; k < n->count; k++)
            assert_int_equal(atoi(n->texts[k] + 2), next[n->texts[k][0] - '0']++);
        assert_int_equal(n->lost, 0);
        assert_int_equal(n->downs, 0);
    }
    strata_bus_stats stats = STRATA_BUS_STATS_INIT;
    nodes[0]->bus->ops->stats(nodes[0]->bus, &stats);
    assert_int_equal(stats.up, 1);
    assert_int_equal(stats.published, EACH);
    assert_int_equal(stats.received, NODES * EACH);
    assert_memory_equal(stats.server, "RabbitMQ", 8);
    for (int i = 0; i < NODES; i++)
        node_close(nodes[i]);
}

static void exchanges_keep_apart(void **state)
{
    (void)state;
    strata_rabbitmq_options one = options_of("apart-1"), other = options_of("apart-2");
    struct node *a = open_up(&one, NULL), *b = open_up(&other, NULL);
    node_send_well(a, "for a");
    node_send_well(b, "for b");
    until(a, a->count == 1);
    until(b, b->count == 1);
    assert_string_equal(a->texts[0], "for a");
    assert_string_equal(b->texts[0], "for b");
    node_close(a);
    node_close(b);
}

static void topics_and_direct_ones_go_by_their_key(void **state)
{
    static const int32_t types[] = { STRATA_RABBITMQ_TOPIC, STRATA_RABBITMQ_DIRECT };
    static const char *const names[] = { "by-topic", "by-name" };
    (void)state;
    for (int i = 0; i < 2; i++) {
        strata_rabbitmq_options o = options_of(names[i]);
        o.exchange_type = types[i];
        o.routing_key = "app.users";
        o.prefetch = 1;
        o.queue = "by-key";
        struct node *a = open_up(&o, NULL);
        o.routing_key = "app.orders";
        o.queue = NULL;
        struct node *b = open_up(&o, NULL);
        node_send_well(a, "users");
        node_send_well(b, "orders");
        node_send_well(b, "orders");
        until(a, a->count == 1);
        until(b, b->count == 2);
        assert_string_equal(a->texts[0], "users");
        node_close(b);
        node_close(a);
    }
}

static void what_no_queue_gets_has_failed(void **state)
{
    struct out out[3];
    (void)state;
    strata_rabbitmq_options o = options_of("unbound");
    o.exchange_type = STRATA_RABBITMQ_DIRECT;
    o.routing_key = "key";
    o.durable = STRATA_ON;
    struct node *n = open_up(&o, "node");
    assert_true(rabbitmq_admin_unbind(&server, "unbound.node", "unbound", "key"));
    for (int i = 0; i < 3; i++)
        node_send(n, &out[i], "%d", i);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(node_settled(&out[i]), STRATA_EIO);
        assert_non_null(strstr(out[i].err.message, "no queue is bound"));
    }
    node_close(n);
    assert_true(rabbitmq_admin_delete_queue(&server, "unbound.node"));
}

static void too_large_is_told(void **state)
{
    static char large[(128 << 10) + 1];
    (void)state;
    strata_rabbitmq_options o = options_of("large");
    struct node *n = open_up(&o, NULL);
    struct out out = { .text = "large" };
    node_send_bytes(n, &out, strata_bytes(large, sizeof large));
    assert_int_equal(node_settled(&out), STRATA_EVALUESIZE);
    node_send_bytes(n, &out, strata_bytes(large, sizeof large - 1));
    assert_int_equal(node_settled(&out), STRATA_OK);
    until(n, n->count == 1);
    assert_true(rabbitmq_admin_publish(&server, "large", "", 1 << 20)); /* a stranger's */
    until(n, n->lost == 1);
    assert_true(rabbitmq_admin_publish(&server, "large", "", 0));
    until(n, n->count == 2);
    node_close(n);
}

static void more_than_max_pending_is_busy(void **state)
{
    enum { MANY = 200 };
    static struct out out[MANY];
    int busy = 0;
    (void)state;
    strata_rabbitmq_options o = options_of("busy");
    o.max_pending = 2;
    struct node *n = open_up(&o, NULL);
    rabbitmq_server_pause(&server);
    for (int i = 0; i < MANY; i++)
        node_send(n, &out[i], "%d", i);
    rabbitmq_server_resume(&server);
    for (int i = 0; i < MANY; i++)
        busy += node_settled(&out[i]) == STRATA_EBUSY;
    assert_int_equal(busy, MANY - 2);
    assert_non_null(strstr(out[MANY - 1].err.message, "max_pending"));
    node_close(n);
}

/* Durable -------------------------------------------------------------------------------------------------------------- */

static void a_durable_queue_waits_for_its_node(void **state)
{
    (void)state;
    strata_rabbitmq_options o = options_of("waits");
    o.durable = STRATA_ON;
    struct node *a = open_up(&o, "a"), *b = open_up(&o, "b");
    node_close(b);
    for (int i = 0; i < 5; i++)
        node_send_well(a, "meanwhile");
    assert_int_equal(rabbitmq_admin_waiting(&server, "waits.b"), 5);
    b = open_up(&o, "b");
    until(b, b->count == 5);
    assert_int_equal(a->lost + b->lost, 0);
    node_close(b);
    assert_int_equal(rabbitmq_admin_waiting(&server, "waits.b"), 0); /* all is acknowledged */
    node_close(a);
    assert_true(rabbitmq_admin_delete_queue(&server, "waits.a"));
    assert_true(rabbitmq_admin_delete_queue(&server, "waits.b"));
}

static void a_queue_that_is_deleted_is_noticed(void **state)
{
    (void)state;
    struct delay_proxy *proxy = delay_proxy_start(server.port);
    strata_rabbitmq_options o = options_at(delay_proxy_port(proxy), "deleted");
    o.durable = STRATA_ON;
    struct node *n = open_up(&o, "node");
    assert_int_equal(n->lost, 0); /* that it was not there is no loss: nobody listened before */
    assert_true(rabbitmq_admin_delete_queue(&server, "deleted.node"));
    until(n, n->lost == 1 && n->ups == 2);
    node_send_in_the_end(n, "again");
    until(n, node_has(n, "again"));
    assert_int_equal(n->lost, 1); /* told once */
    delay_proxy_refuse(proxy, 1);
    delay_proxy_cut_all(proxy);
    until(n, n->downs > 1);
    assert_true(rabbitmq_admin_delete_queue(&server, "deleted.node")); /* while it is away */
    delay_proxy_refuse(proxy, 0);
    until(n, n->lost == 2 && n->ups == 3);
    int downs = n->downs;
    delay_proxy_refuse(proxy, 1);
    delay_proxy_cut_all(proxy);
    until(n, n->downs > downs);
    delay_proxy_refuse(proxy, 0);
    until(n, n->ups == 4);
    assert_int_equal(n->lost, 2); /* it was there this time */
    node_close(n);
    delay_proxy_stop(proxy);
    assert_true(rabbitmq_admin_delete_queue(&server, "deleted.node"));
}

static void a_second_node_of_one_name_is_refused(void **state)
{
    (void)state;
    strata_rabbitmq_options o = options_of("twins");
    o.durable = STRATA_ON;
    struct node *a = open_up(&o, "twin"), *b = open_node(&o, "twin");
    until(b, b->downs > 0);
    assert_non_null(strstr(b->why.message, "node_name"));
    node_close(a);
    until(b, b->ups == 1);
    node_close(b);
    assert_true(rabbitmq_admin_delete_queue(&server, "twins.twin"));
}

static void a_durable_bus_needs_a_name(void **state)
{
    strata_error err = STRATA_ERROR_INIT;
    (void)state;
    strata_rabbitmq_options o = options_of("nameless");
    o.durable = STRATA_ON;
    struct node *n = node_make(strata_rabbitmq_bus(&o));
    assert_int_equal(node_start(n, NULL, &err), STRATA_EINVAL);
    assert_string_equal(err.where, "node_name");
    node_close(n);
}

/* TLS ------------------------------------------------------------------------------------------------------------------ */

static strata_rabbitmq_options tls_options(const char *host)
{
    static char url[64];
    strata_rabbitmq_options o = options_of("tls");
    (void)snprintf(url, sizeof url, "amqps://guest:guest@%s:%u", host, (unsigned)server.tls_port);
    o.url = url;
    return o;
}

/* Certificates are for names, to this library; a bare machine has no /etc/hosts, and knows no localhost. */
static int knows_localhost(void)
{
    struct addrinfo *found = NULL;
    int known = getaddrinfo("localhost", NULL, NULL, &found) == 0;
    if (known)
        freeaddrinfo(found);
    return known;
}

static void over_tls_by_name(void)
{
    strata_rabbitmq_options o = tls_options("localhost");
    o.tls_ca_file = certs.ca.cert;
    o.tls_cert_file = certs.client.cert;
    o.tls_key_file = certs.client.key;
    struct node *n = open_up(&o, NULL);
    for (int i = 0; i < 100; i++)
        node_send_well(n, "hidden");
    until(n, n->count == 100);
    node_close(n);
}

static void over_tls(void **state)
{
    (void)state;
    if (knows_localhost())
        over_tls_by_name();
    strata_rabbitmq_options o = tls_options("127.0.0.1");
    o.tls_verify = STRATA_OFF;
    struct node *n = open_up(&o, NULL);
    node_send_well(n, "hidden");
    node_close(n);
}

static void tls_trusts_nobody_unknown(void **state)
{
    (void)state;
    strata_rabbitmq_options o = tls_options("127.0.0.1");
    struct node *n = open_node(&o, NULL); /* whom this machine trusts is not who signed it */
    until(n, n->downs > 0);
    assert_non_null(strstr(n->why.message, "tls_ca_file"));
    node_close(n);
    o.tls_ca_file = "/nowhere/ca.pem";
    n = open_node(&o, NULL);
    until(n, n->downs > 0);
    assert_non_null(strstr(n->why.message, "/nowhere/ca.pem"));
    node_close(n);
}

static int start_server(void **state)
{
    (void)state;
    if (strstr(strata_features(), " tls") != NULL) {
        tls_certs_make(&certs);
        rabbitmq_server_start(&server, &certs);
    } else {
        rabbitmq_server_start(&server, NULL);
    }
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    rabbitmq_server_stop(&server);
    if (server.certs != NULL)
        tls_certs_remove(&certs);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(each_gets_all_in_the_order_of_its_sender, go_on),
        cmocka_unit_test_teardown(exchanges_keep_apart, go_on),
        cmocka_unit_test_teardown(topics_and_direct_ones_go_by_their_key, go_on),
        cmocka_unit_test_teardown(what_no_queue_gets_has_failed, go_on),
        cmocka_unit_test_teardown(too_large_is_told, go_on),
        cmocka_unit_test_teardown(more_than_max_pending_is_busy, go_on),
        cmocka_unit_test_teardown(a_durable_queue_waits_for_its_node, go_on),
        cmocka_unit_test_teardown(a_queue_that_is_deleted_is_noticed, go_on),
        cmocka_unit_test_teardown(a_second_node_of_one_name_is_refused, go_on),
        cmocka_unit_test_teardown(a_durable_bus_needs_a_name, go_on),
        cmocka_unit_test_teardown(over_tls, go_on),
        cmocka_unit_test_teardown(tls_trusts_nobody_unknown, go_on),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
