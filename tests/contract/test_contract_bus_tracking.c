/* test_contract_bus_tracking.c - the bus that listens to a real server's keys, under the contract of those that publish nothing. */
#include <stdio.h>

#include "src/link/redis_link.h"
#include "strata/bus_redis_tracking.h"
#include "tests/contract/contract_bus.h"
#include "tests/support/redis_server.h"
#include "tests/support/tls_certs.h"

static struct redis_server server;

static strata_bus *make_with(unsigned channel, uint32_t protocol)
{
    char url[64], prefix[32];
    strata_redis_tracking_options options = STRATA_REDIS_TRACKING_OPTIONS_INIT;
    const struct tls_certs *certs = tls_certs_of_servers();
    snprintf(url, sizeof url, "redis%s://127.0.0.1:%u", certs != NULL ? "s" : "", (unsigned)server.port);
    snprintf(prefix, sizeof prefix, "track %u*[:", channel);
    options.url = url;
    options.prefix = prefix;
    options.protocol = protocol;
    options.tls_ca_file = certs != NULL ? certs->ca.cert : NULL;
    options.timeout_ms = options.connect_timeout_ms = 20000; /* no busy machine passes them */
    return strata_redis_tracking_bus(&options);
}

static strata_bus *make_resp2(unsigned channel, unsigned node)
{
    (void)node;
    return make_with(channel, 2);
}

static strata_bus *make_resp3(unsigned channel, unsigned node)
{
    (void)node;
    return make_with(channel, 3);
}

static strata_bus *make_wrong(void)
{
    strata_redis_tracking_options options = STRATA_REDIS_TRACKING_OPTIONS_INIT;
    options.url = "http://127.0.0.1";
    return strata_redis_tracking_bus(&options);
}

static void kill_server(void) { redis_server_kill(&server); }

static void restart_server(void) { redis_server_restart(&server); }

int main(void)
{
    static const struct contract_bus_subject subjects[] = {
        { .name = "redis_tracking, RESP2",
          .make = make_resp2,
          .make_wrong = make_wrong,
          .kill = kill_server,
          .restart = restart_server,
          .allocations = 40 },
        { .name = "redis_tracking, RESP3",
          .make = make_resp3,
          .make_wrong = make_wrong,
          .kill = kill_server,
          .restart = restart_server,
          .allocations = 40 },
    };
    redis_server_start(&server, NULL);
    int failed = contract_run_listening_bus(&subjects[0]);
    if (strata__redis_pushes())
        failed += contract_run_listening_bus(&subjects[1]);
    redis_server_stop(&server);
    return failed;
}
