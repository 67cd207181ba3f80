/* test_contract_bus_rabbitmq.c - the bus over RabbitMQ under contract, on a real server.
 *
 * Killing that one takes seconds to undo, and is done by tests/integration/test_rabbitmq_bus.c: here it is the network before it that
 * goes, and comes back. */
#include <stdio.h>

#include "strata/policy.h"
#include "strata/rabbitmq.h"
#include "tests/contract/contract_bus.h"
#include "tests/support/delay_proxy.h"
#include "tests/support/rabbitmq_server.h"

static struct rabbitmq_server server;
static struct delay_proxy *network;

static strata_bus *make(unsigned channel, unsigned node, int32_t type, int32_t durable)
{
    char url[64], exchange[32], queue[48];
    strata_rabbitmq_options options = STRATA_RABBITMQ_OPTIONS_INIT;
    (void)snprintf(url, sizeof url, "amqp://guest:guest@127.0.0.1:%u", (unsigned)delay_proxy_port(network));
    (void)snprintf(exchange, sizeof exchange, "bus %u", channel);
    (void)snprintf(queue, sizeof queue, "bus %u.%u", channel, node);
    options.url = url;
    options.exchange = exchange;
    options.exchange_type = type;
    options.routing_key = type != STRATA_RABBITMQ_FANOUT ? "the key" : NULL;
    options.durable = durable;
    options.queue = durable == STRATA_ON ? queue : NULL;
    options.timeout_ms = options.connect_timeout_ms = 60000; /* no busy machine passes them */
    return strata_rabbitmq_bus(&options);
}

static strata_bus *make_fanout(unsigned channel, unsigned node)
{
    return make(channel, node, STRATA_RABBITMQ_FANOUT, STRATA_OFF);
}

static strata_bus *make_direct(unsigned channel, unsigned node)
{
    return make(channel, node, STRATA_RABBITMQ_DIRECT, STRATA_OFF);
}

static strata_bus *make_durable(unsigned channel, unsigned node)
{
    return make(channel, node, STRATA_RABBITMQ_FANOUT, STRATA_ON);
}

static strata_bus *make_wrong(void)
{
    const strata_rabbitmq_options options = { .size = sizeof options, .url = "http://127.0.0.1" };
    return strata_rabbitmq_bus(&options);
}

static void part(void)
{
    delay_proxy_refuse(network, 1);
    delay_proxy_cut_all(network);
}

static void join(void) { delay_proxy_refuse(network, 0); }

int main(void)
{
    static const struct contract_bus_subject subjects[] = {
        { "rabbitmq", make_fanout, make_wrong, part, join, 0, 8, 0, 0 },
        { "rabbitmq, direct", make_direct, NULL, NULL, NULL, 0, 0, 2000, 0 },
        { "rabbitmq, durable", make_durable, NULL, part, join, 1, 0, 2000, 1 },
    };
    int failed = 0;
    rabbitmq_server_start(&server, NULL);
    network = delay_proxy_start(server.port);
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        failed += contract_run_bus(&subjects[i]);
    delay_proxy_stop(network);
    rabbitmq_server_stop(&server);
    return failed;
}
