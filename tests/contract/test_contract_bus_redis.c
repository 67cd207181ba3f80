/* test_contract_bus_redis.c - the buses over Redis under contract, on a real server.  With STRATA_TEST_TLS in the environment over TLS. */
#include <stdio.h>

#include "strata/bus_redis.h"
#include "tests/contract/contract_bus.h"
#include "tests/support/redis_server.h"
#include "tests/support/tls_certs.h"

static struct redis_server server;

static strata_bus *make_with(strata_bus *(*make)(const strata_redis_bus_options *), unsigned channel, int over_socket)
{
    char url[384], prefix[64];
    strata_redis_bus_options options = STRATA_REDIS_BUS_OPTIONS_INIT;
    if (over_socket)
        snprintf(url, sizeof url, "unix://%s", server.socket_path);
    else
        snprintf(url, sizeof url, "redis%s://127.0.0.1:%u", tls_of_servers() != NULL ? "s" : "", (unsigned)server.port);
    if (tls_of_servers() != NULL && !over_socket)
        options.tls_ca_file = tls_certs_of_servers()->ca.cert;
    snprintf(prefix, sizeof prefix, "bus %u*[:", channel);
    options.url = url;
    options.prefix = prefix;
    options.timeout_ms = options.connect_timeout_ms = 20000; /* no busy machine passes them */
    return make(&options);
}

static strata_bus *make_stream(unsigned channel, unsigned node)
{
    (void)node;
    return make_with(strata_redis_stream_bus, channel, 0);
}

static strata_bus *make_stream_over_socket(unsigned channel, unsigned node)
{
    (void)node;
    return make_with(strata_redis_stream_bus, channel, 1);
}

static strata_bus *make_pubsub(unsigned channel, unsigned node)
{
    (void)node;
    return make_with(strata_redis_pubsub_bus, channel, 0);
}

static strata_bus *make_wrong(void)
{
    const strata_redis_bus_options options = { .size = sizeof options, .url = "http://127.0.0.1" };
    return strata_redis_stream_bus(&options);
}

static strata_bus *make_wrong_length(void)
{
    const strata_redis_bus_options options = { .size = sizeof options, .max_length = 1000 };
    return strata_redis_pubsub_bus(&options);
}

static void kill_server(void) { redis_server_kill(&server); }

static void restart_server(void) { redis_server_restart(&server); }

int main(void)
{
    static const struct contract_bus_subject subjects[] = {
        { .name = "redis_stream",
          .make = make_stream,
          .make_wrong = make_wrong,
          .kill = kill_server,
          .restart = restart_server,
          .allocations = 60 },
        { .name = "redis_stream, over a socket",
          .make = make_stream_over_socket,
          .make_wrong = make_wrong,
          .kill = kill_server,
          .restart = restart_server },
        { .name = "redis_pubsub",
          .make = make_pubsub,
          .make_wrong = make_wrong_length,
          .kill = kill_server,
          .restart = restart_server,
          .allocations = 60 },
    };
    int failed = 0;
    redis_server_start(&server, NULL);
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        failed += contract_run_bus(&subjects[i]);
    redis_server_stop(&server);
    return failed;
}
