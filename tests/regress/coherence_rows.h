/* coherence_rows.h - two nodes with memory over a real Redis, and a bus of Redis Streams or tracking; and how to wait for what both of
 * them see. */
#ifndef STRATA_TESTS_COHERENCE_ROWS_H
#define STRATA_TESTS_COHERENCE_ROWS_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "strata/strata.h"
#include "tests/support/redis_cache.h"
#include "tests/support/redis_do.h"

enum { NODES = 2, LOOKS = 12000, MANY = 12000, SHORT_MS = 800 };

struct fleet_of_two {
    struct redis_server server;
    struct redis_link *redis_cli;
    strata *node[NODES];
};

struct shape {
    const char *prefix;
    int tracks;                      /* CLIENT TRACKING instead of Streams */
    int64_t open_wait;               /* 0: until the bus is up */
    int64_t timeout_ms;              /* 0: as long as it takes */
    int64_t trust_ms;                /* what a loss leaves is believed for so long; 0: longer than any test */
    int64_t lease_ms, lease_wait_ms; /* 0: the defaults */
    int64_t memory_ttl_ms;           /* of the memory layers; 0: no limit */
    uint32_t unleased;               /* loads at once while the server is away; 0: the default */
    int without_bus;
    const strata_policy *policy; /* of the caches; NULL: the default */
};

static inline strata *open_node(const struct fleet_of_two *f, const struct shape *shape)
{
    char url[64];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    const char *prefix = shape->prefix != NULL ? shape->prefix : "app:";
    (void)snprintf(url, sizeof url, "redis://127.0.0.1:%u", (unsigned)f->server.port);
    strata_memory_options memory = STRATA_MEMORY_OPTIONS_INIT;
    strata_redis_options redis = STRATA_REDIS_OPTIONS_INIT;
    strata_redis_bus_options stream = STRATA_REDIS_BUS_OPTIONS_INIT;
    strata_redis_tracking_options tracking = STRATA_REDIS_TRACKING_OPTIONS_INIT;
    redis.url = stream.url = tracking.url = url;
    redis.prefix = stream.prefix = tracking.prefix = prefix;
    redis.soft_timeout_ms = redis.timeout_ms = shape->timeout_ms != 0 ? shape->timeout_ms : 60000;
    redis.connect_timeout_ms = stream.connect_timeout_ms = tracking.connect_timeout_ms = 60000;
    redis.breaker_open_ms = 100;
    redis.lease_ms = shape->lease_ms;
    redis.lease_wait_ms = shape->lease_wait_ms;
    memory.max_ttl_ms = shape->memory_ttl_ms;
    tracking.timeout_ms = 60000;
    tracking.heartbeat_ms = 100;
    strata_layer *layers[] = { strata_memory_layer(&memory), strata_redis_layer(&redis) };
    strata_bus *bus = shape->without_bus ? NULL
                      : shape->tracks    ? strata_redis_tracking_bus(&tracking)
                                         : strata_redis_stream_bus(&stream);
    strata_coherence_options coherence = STRATA_COHERENCE_OPTIONS_INIT;
    coherence.trust_ms = shape->trust_ms != 0 ? shape->trust_ms : 60000; /* which no busy machine lets run out */
    coherence.heartbeat_ms = shape->trust_ms != 0 ? shape->trust_ms / 4 : 1000;
    coherence.open_wait_ms = shape->open_wait != 0 ? shape->open_wait : 60000;
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 2;
    options.buses = &bus;
    options.bus_count = bus != NULL;
    options.coherence = &coherence;
    options.max_unleased_loads = shape->unleased;
    coherence.default_bus = shape->without_bus ? STRATA_OFF : 0;
    if (shape->policy != NULL)
        options.policy = shape->policy;
    if (strata_open(&cache, &options, &err) != STRATA_OK)
        fail_msg("%s: %s", err.where, err.message);
    return cache;
}

static inline void until_trusted(strata *cache)
{
    strata_health health = STRATA_HEALTH_INIT;
    for (int i = 0; i < LOOKS; i++) {
        assert_int_equal(strata_health_get(cache, &health, NULL), STRATA_OK);
        if (health.trusted)
            return;
        redis_cache_nap(5);
    }
    fail_msg("never trusted: %s", health.words);
}

static inline void open_shaped(struct fleet_of_two *f, const struct shape *shape)
{
    memset(f, 0, sizeof *f);
    redis_server_start(&f->server, NULL);
    f->redis_cli = redis_do_open(&f->server);
    for (int i = 0; i < NODES; i++)
        f->node[i] = open_node(f, shape);
    for (int i = 0; i < NODES; i++)
        until_trusted(f->node[i]);
}

static inline void open_fleet(struct fleet_of_two *f) { open_shaped(f, &(struct shape){ 0 }); }

static inline void close_fleet(struct fleet_of_two *f)
{
    for (int i = 0; i < NODES; i++)
        assert_true(strata_close(f->node[i]) >= 0);
    strata__redis_close(f->redis_cli);
    redis_server_stop(&f->server);
}

static inline void sees_text(strata *cache, const char *key, const char *text)
{
    char got[64];
    strata_error err;
    int look = 0;
    while (redis_cache_get(cache, key, got, sizeof got, &err) != STRATA_OK || strcmp(got, text) != 0) {
        if (++look == LOOKS)
            fail_msg("%s: still \"%s\", not \"%s\"", key, got, text);
        redis_cache_nap(5);
    }
}

static inline void all_see_text(struct fleet_of_two *f, const char *key, const char *text)
{
    for (int i = 0; i < NODES; i++)
        sees_text(f->node[i], key, text);
}

static inline void all_see(struct fleet_of_two *f, const char *key, int status)
{
    for (int i = 0; i < NODES; i++)
        redis_cache_await(f->node[i], key, status);
}

static inline uint64_t asked(strata *cache)
{
    strata_layer_stats s = redis_cache_stats(cache, 1);
    return s.hits + s.misses;
}

#endif /* STRATA_TESTS_COHERENCE_ROWS_H */
