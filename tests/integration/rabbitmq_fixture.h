/* rabbitmq_fixture.h - nodes on a RabbitMQ of the program's own. */
#ifndef STRATA_TESTS_RABBITMQ_FIXTURE_H
#define STRATA_TESTS_RABBITMQ_FIXTURE_H
#include <stdio.h>

#include "strata/rabbitmq.h"
#include "tests/support/bus_node.h"
#include "tests/support/rabbitmq_server.h"

static struct rabbitmq_server server;

static inline strata_rabbitmq_options options_at(uint16_t port, const char *exchange)
{
    static char url[64];
    strata_rabbitmq_options o = STRATA_RABBITMQ_OPTIONS_INIT;
    (void)snprintf(url, sizeof url, "amqp://guest:guest@127.0.0.1:%u", (unsigned)port);
    o.url = url;
    o.exchange = exchange;
    o.timeout_ms = o.connect_timeout_ms = NODE_MINUTE_MS;
    return o;
}

static inline strata_rabbitmq_options options_of(const char *exchange) { return options_at(server.port, exchange); }

static inline struct node *open_node(const strata_rabbitmq_options *o, const char *name)
{
    return node_open(strata_rabbitmq_bus(o), name);
}

static inline struct node *open_up(const strata_rabbitmq_options *o, const char *name)
{
    return node_open_up(strata_rabbitmq_bus(o), name);
}

/* Also after a test that has failed while it was stopped. */
static inline int go_on(void **state)
{
    (void)state;
    rabbitmq_server_resume(&server);
    return 0;
}

#endif /* STRATA_TESTS_RABBITMQ_FIXTURE_H */
