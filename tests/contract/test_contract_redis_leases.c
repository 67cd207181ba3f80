/* test_contract_redis_leases.c - leases on a real server, and on a real Cluster: two Redis layers, guarded and not, and two caches
 * over them. */
#include <stdio.h>
#include <stdlib.h>

#include "src/layer/redis/redis_layer_impl.h"
#include "tests/contract/contract.h"
#include "tests/support/redis_do.h"
#include "tests/support/redis_nodes.h"

static struct redis_server server;
static struct redis_nodes nodes;
static int clustered;
static struct redis_link *other;
static int64_t wait_ms;

static strata_layer *make_with(strata_layer *(*make)(const strata_redis_options *), int connections)
{
    strata_redis_options options = STRATA_REDIS_OPTIONS_INIT;
    char url[64];
    const int tls = tls_of_servers() != NULL && !clustered;
    const struct redis_server *asked = clustered ? &nodes.servers[1] : &server;
    snprintf(url, sizeof url, "redis%s%s://127.0.0.1:%u", tls ? "s" : "", clustered ? "+cluster" : "",
             (unsigned)asked->port);
    if (tls)
        options.tls_ca_file = tls_certs_of_servers()->ca.cert;
    options.url = url;
    options.prefix = "leases:";
    options.connections = (uint32_t)connections;
    options.lease_wait_ms = wait_ms;
    options.soft_timeout_ms = options.timeout_ms = options.connect_timeout_ms = 60000;
    return make(&options);
}

static void empty_server(void)
{
    if (clustered)
        redis_nodes_flush(&nodes);
    else if (redis_do(other, "FLUSHALL").status != STRATA_OK)
        abort();
}

static strata_layer *next(void) { return make_with(strata_redis_layer, 0); }
static strata_layer *next_bare(void) { return make_with(strata__redis_make, 1); }

static strata_layer *first(void)
{
    empty_server();
    return next();
}

static strata_layer *first_bare(void)
{
    empty_server();
    return next_bare();
}

static int run(const char *where)
{
    char names[4][64];
    const char *const what[] = { "two nodes", "two nodes without guards, one connection each", "two caches",
                                 "two caches without guards, one connection each" };
    for (size_t i = 0; i < 4; i++)
        snprintf(names[i], sizeof names[i], "%s, %s", where, what[i]);
    const struct contract_lease_subject layers[] = { { names[0], { first, next } },
                                                     { names[1], { first_bare, next_bare } } };
    const struct contract_lease_subject caches[] = { { names[2], { next, next } },
                                                     { names[3], { next_bare, next_bare } } };
    int failed = 0;
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        wait_ms = 1000;
        failed += contract_run_leases(&layers[i]);
        wait_ms = 600000;
        empty_server();
        failed += contract_run_fleet(&caches[i]);
    }
    return failed;
}

int main(void)
{
    redis_server_start(&server, NULL);
    other = redis_do_open(&server);
    int failed = run("redis");
    strata__redis_close(other);
    redis_server_stop(&server);
    clustered = 1;
    redis_nodes_cluster(&nodes, 0);
    failed += run("redis cluster");
    redis_nodes_stop(&nodes);
    return failed;
}
