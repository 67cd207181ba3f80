/* test_contract_bus_nats.c - the bus on NATS under contract, its core and JetStream, on a real server. */
#include <stdio.h>

#include "strata/nats.h"
#include "tests/contract/contract_bus.h"
#include "tests/support/nats_server.h"

static struct nats_server server;

static strata_bus *make_with(unsigned channel, unsigned node, int jetstream, int storage)
{
    char subject[64], stream[64], consumer[64];
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    snprintf(subject, sizeof subject, "contract.%d.%u", jetstream + storage, channel);
    snprintf(stream, sizeof stream, "CONTRACT_%d_%u", storage, channel);
    snprintf(consumer, sizeof consumer, "node %u", node);
    options.url = server.url;
    options.subject = subject;
    options.timeout_ms = options.connect_timeout_ms = 20000; /* no busy machine passes them */
    if (jetstream) {
        options.jetstream = STRATA_ON;
        options.storage = storage;
        options.stream = stream;
        options.consumer = consumer;
    }
    return strata_nats_bus(&options);
}

static strata_bus *make_core(unsigned channel, unsigned node) { return make_with(channel, node, 0, 0); }

static strata_bus *make_file(unsigned channel, unsigned node) { return make_with(channel, node, 1, STRATA_NATS_FILE); }

static strata_bus *make_memory(unsigned channel, unsigned node)
{
    return make_with(channel, node, 1, STRATA_NATS_MEMORY);
}

static strata_bus *make_wrong(void)
{
    const strata_nats_options options = { .size = sizeof options, .url = "http://127.0.0.1" };
    return strata_nats_bus(&options);
}

static strata_bus *make_wrong_stream(void)
{
    const strata_nats_options options = { .size = sizeof options, .jetstream = STRATA_ON, .stream = "A.B" };
    return strata_nats_bus(&options);
}

static void kill_server(void) { nats_server_kill(&server); }

static void restart_server(void) { nats_server_restart(&server); }

int main(void)
{
    static const struct contract_bus_subject subjects[] = {
        { .name = "nats",
          .make = make_core,
          .make_wrong = make_wrong,
          .kill = kill_server,
          .restart = restart_server,
          .allocations = 12,
          .one_process = 1 },
        { .name = "jetstream",
          .make = make_file,
          .make_wrong = make_wrong_stream,
          .kill = kill_server,
          .restart = restart_server,
          .keeps = 1,
          .allocations = 16,
          .one_process = 1 },
        { .name = "jetstream, in memory",
          .make = make_memory,
          .make_wrong = make_wrong,
          .kill = kill_server,
          .restart = restart_server,
          .one_process = 1 },
    };
    int failed = 0;
    nats_server_start(&server, NULL);
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        failed += contract_run_bus(&subjects[i]);
    nats_server_stop(&server);
    return failed;
}
