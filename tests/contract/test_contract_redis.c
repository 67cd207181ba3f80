/* test_contract_redis.c - the Redis layer under contract, on a real server: as it is, packed, and below memory.
 *
 * With STRATA_TEST_TLS in the environment over TLS.  One layer is open at a time, and begins with an empty server and timeouts that no busy machine passes. */
#include <stdio.h>
#include <stdlib.h>

#include "src/layer/redis/redis_layer_impl.h"
#include "tests/contract/contract.h"
#include "tests/support/redis_do.h"

static struct redis_server server;
static struct redis_link *other;

static strata_layer *make_with(strata_redis_options options, strata_layer *(*make)(const strata_redis_options *))
{
    static unsigned layers;
    char url[64], prefix[64];
    if (redis_do(other, "FLUSHALL").status != STRATA_OK)
        abort();
    snprintf(url, sizeof url, "redis%s://127.0.0.1:%u", tls_of_servers() != NULL ? "s" : "", (unsigned)server.port);
    if (tls_of_servers() != NULL)
        options.tls_ca_file = tls_certs_of_servers()->ca.cert;
    snprintf(prefix, sizeof prefix, "layer %u*[:", layers++);
    options.size = sizeof options;
    options.url = url;
    options.prefix = prefix;
    options.soft_timeout_ms = options.timeout_ms = options.connect_timeout_ms = 60000;
    return make(&options);
}

static strata_layer *make_plain(void) { return make_with((strata_redis_options){ 0 }, strata_redis_layer); }

static strata_layer *make_bare(void) { return make_with((strata_redis_options){ 0 }, strata__redis_make); }

static strata_layer *make_one_connection(void)
{
    return make_with((strata_redis_options){ .connections = 1, .scan_count = 7, .use_del = STRATA_ON },
                     strata_redis_layer);
}

static strata_layer *make_zstd(void)
{
    return make_with((strata_redis_options){ .compression = STRATA_COMPRESS_ZSTD, .compress_above_bytes = 1 },
                     strata_redis_layer);
}

int main(void)
{
    static const struct contract_subject subjects[] = {
        { "redis", make_plain, 0, 300, 1, 1, 0 },
        { "redis, without its guard", make_bare, 0, 300, 1, 1, 0 },
        { "redis, one connection", make_one_connection, 0, 100, 1, 1, 0 },
        { "redis, zstd", make_zstd, 0, 100, 1, 1, 0 },
    };
    int failed = 0;
    redis_server_start(&server, NULL);
    other = redis_do_open(&server);
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
        strata_layer *probe = subjects[i].make();
        int built = probe->failed.status != STRATA_EUNSUPPORTED;
        strata_layer_free(probe);
        if (built)
            failed += contract_run_layer(&subjects[i]);
    }
    failed += contract_run_cache(&subjects[0]);
    strata__redis_close(other);
    redis_server_stop(&server);
    return failed;
}
