/* test_contract_redis_cluster.c - the Redis layer under contract, on a real Cluster of three masters: the same promises as on one
 * server. */
#include <stdio.h>
#include <stdlib.h>

#include "src/layer/redis/redis_layer_impl.h"
#include "tests/contract/contract.h"
#include "tests/support/redis_nodes.h"

static struct redis_nodes nodes;

static strata_layer *make_with(strata_redis_options options, const char *scheme)
{
    static unsigned layers;
    char url[128], prefix[64];
    redis_nodes_flush(&nodes);
    snprintf(url, sizeof url, "%s://127.0.0.1:%u", scheme, (unsigned)nodes.servers[layers % CLUSTER_MASTERS].port);
    snprintf(prefix, sizeof prefix, "layer %u*[:", layers++);
    options.size = sizeof options;
    options.url = url;
    options.prefix = prefix;
    options.soft_timeout_ms = options.timeout_ms = options.connect_timeout_ms = 60000;
    return strata_redis_layer(&options);
}

static strata_layer *make_plain(void) { return make_with((strata_redis_options){ 0 }, "redis+cluster"); }

static strata_layer *make_one_connection(void)
{
    return make_with((strata_redis_options){ .connections = 1, .scan_count = 7, .cluster = STRATA_ON }, "redis");
}

int main(void)
{
    static const struct contract_subject subjects[] = {
        { "redis cluster", make_plain, 0, 100, 1, 2, 0 },
        { "redis cluster, one connection", make_one_connection, 0, 50, 1, 2, 0 },
    };
    int failed = 0;
    redis_nodes_cluster(&nodes, 0);
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        failed += contract_run_layer(&subjects[i]);
    failed += contract_run_cache(&subjects[0]);
    redis_nodes_stop(&nodes);
    return failed;
}
