/* test_tracking_open.c - a bus that the server tells of keys is refused where these are not the keys of the cache. */
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "strata/strata.h"
#include "tests/support/redis_server.h"

static struct redis_server server;
static char url[64];

static int start(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    (void)snprintf(url, sizeof url, "redis://127.0.0.1:%u", (unsigned)server.port);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    redis_server_stop(&server);
    return 0;
}

static strata_layer *memory(void)
{
    const strata_memory_options memory = STRATA_MEMORY_OPTIONS_INIT;
    return strata_memory_layer(&memory);
}

static strata_layer *redis(const char *name, const char *prefix)
{
    strata_redis_options options = STRATA_REDIS_OPTIONS_INIT;
    options.url = url;
    options.name = name;
    options.prefix = prefix;
    return strata_redis_layer(&options);
}

static strata_bus *tracking(int per_key, const char *prefix)
{
    strata_redis_tracking_options options = STRATA_REDIS_TRACKING_OPTIONS_INIT;
    options.url = url;
    options.prefix = prefix;
    options.per_key = per_key ? STRATA_ON : STRATA_OFF;
    return strata_redis_tracking_bus(&options);
}

/* Layers and buses are taken over.  `words` NULL: it is opened. */
static void opens(strata_layer **layers, size_t layer_count, strata_bus **buses, size_t bus_count, int status,
                  const char *words)
{
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = layer_count;
    options.buses = buses;
    options.bus_count = bus_count;
    int rc = strata_open(&cache, &options, &err);
    if (rc != status || (words != NULL && strstr(err.message, words) == NULL))
        fail_msg("%d, not %d: \"%s\" does not say \"%s\"", rc, status, err.message, words != NULL ? words : "");
    strata_close(cache);
}

static void per_key_wants_one_layer_that_can(void **state)
{
    (void)state;
    strata_layer *none[] = { memory() };
    strata_bus *one[] = { tracking(1, "far:") };
    opens(none, 1, one, 1, STRATA_EUNSUPPORTED, "put a Redis layer into the stack");
    strata_layer *two[] = { memory(), redis("near", "near:"), redis("far", "far:") };
    strata_bus *again[] = { tracking(1, "far:") };
    opens(two, 3, again, 1, STRATA_EUNSUPPORTED, "several shared layers");
    strata_layer *far[] = { memory(), redis("far", "far:") };
    strata_bus *both[] = { tracking(1, "far:"), tracking(1, "far:") };
    opens(far, 2, both, 2, STRATA_EINVAL, "give it one with per_key");
}

/* It would hear of other keys than those that the cache holds, and call itself coherent. */
static void another_prefix_is_refused(void **state)
{
    (void)state;
    for (int per_key = 0; per_key < 2; per_key++) {
        strata_layer *layers[] = { memory(), redis("far", "app:") };
        strata_bus *wrong[] = { tracking(per_key, "wrong:") };
        opens(layers, 2, wrong, 1, STRATA_EINVAL, "give both the same prefix");
        strata_layer *fresh[] = { memory(), redis("far", "app:") };
        strata_bus *right[] = { tracking(per_key, "app:") };
        opens(fresh, 2, right, 1, STRATA_OK, NULL);
    }
    strata_layer *two[] = { memory(), redis("near", "near:"), redis("far", "far:") };
    strata_bus *of_one[] = { tracking(0, "near:") };
    opens(two, 3, of_one, 1, STRATA_OK, NULL);
    strata_layer *none[] = { memory() };
    strata_bus *of_none[] = { tracking(0, "any:") };
    opens(none, 1, of_none, 1, STRATA_OK, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(per_key_wants_one_layer_that_can, start, stop),
        cmocka_unit_test_setup_teardown(another_prefix_is_refused, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
