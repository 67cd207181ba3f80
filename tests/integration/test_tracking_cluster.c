/* test_tracking_cluster.c - a cache over a real Cluster that listens to each of its masters: what a stranger does to a key is seen wherever its
 * slot is, also once a master was killed, paused or added, or a slot has moved. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/link/redis_slots.h"
#include "strata/strata.h"
#include "tests/support/redis_cache.h"
#include "tests/support/redis_do.h"
#include "tests/support/redis_nodes.h"
#include "tests/support/trusted.h"

enum { LOOKS = 12000, KEYS = 24, TRUST_MS = 1500, LONG_MS = 600000 };

struct world {
    struct redis_nodes nodes;
    strata *node, *stranger;
    char url[256];
    int64_t trust_ms;
};

static strata *open_node(struct world *w, int listens)
{
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    strata_memory_options memory = STRATA_MEMORY_OPTIONS_INIT;
    strata_redis_options redis = STRATA_REDIS_OPTIONS_INIT;
    redis.url = w->url;
    redis.prefix = "app:";
    strata_redis_tracking_options tracking = STRATA_REDIS_TRACKING_OPTIONS_INIT;
    tracking.url = w->url;
    tracking.prefix = "app:";
    tracking.heartbeat_ms = 200;
    strata_layer *layers[] = { strata_memory_layer(&memory), strata_redis_layer(&redis) };
    strata_bus *buses[] = { strata_redis_tracking_bus(&tracking) };
    strata_coherence_options coherence = STRATA_COHERENCE_OPTIONS_INIT;
    coherence.default_bus = STRATA_OFF;
    coherence.trust_ms = w->trust_ms;
    coherence.heartbeat_ms = TRUST_MS / 4;
    coherence.open_wait_ms = 60000;
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = listens ? 2 : 1;
    if (!listens) { /* its memory would tell it what it has set itself */
        strata_layer_free(layers[0]);
        layers[0] = layers[1];
        strata_bus_free(buses[0]);
    }
    options.buses = buses;
    options.bus_count = listens ? 1 : 0;
    options.coherence = &coherence;
    if (strata_open(&cache, &options, &err) != STRATA_OK)
        fail_msg("%s: %s", err.where, err.message);
    return cache;
}

static void open_trusting(struct world *w, int replicas, int64_t trust_ms)
{
    memset(w, 0, sizeof *w);
    w->trust_ms = trust_ms;
    redis_nodes_cluster(&w->nodes, replicas);
    (void)snprintf(w->url, sizeof w->url, "redis+cluster://127.0.0.1:%u,127.0.0.1:%u",
                   (unsigned)w->nodes.servers[0].port, (unsigned)w->nodes.servers[1].port);
    w->node = open_node(w, 1);
    w->stranger = open_node(w, 0);
    until_trusted(w->node);
}

static void open_world(struct world *w, int replicas) { open_trusting(w, replicas, TRUST_MS); }

static void close_world(struct world *w)
{
    assert_int_equal(strata_close(w->node), STRATA_OK);
    assert_true(strata_close(w->stranger) >= 0);
    redis_nodes_stop(&w->nodes);
}

/* As often as it takes: nodes come and go. */
static void set(struct world *w, const char *key, const char *text)
{
    strata_error err = STRATA_ERROR_INIT;
    for (int look = 0; strata_set(w->stranger, strata_str(key), strata_str(text), NULL, &err) != STRATA_OK; look++) {
        if (look == LOOKS)
            fail_msg("set %s: %s", key, err.message);
        redis_cache_nap(5);
    }
}

static void sees(struct world *w, const char *key, const char *text)
{
    char got[64];
    strata_error err;
    for (int look = 0; redis_cache_get(w->node, key, got, sizeof got, &err) != STRATA_OK || strcmp(got, text) != 0;
         look++) {
        if (look == LOOKS)
            fail_msg("%s: still \"%s\", not \"%s\"", key, got, text);
        redis_cache_nap(5);
    }
}

/* On all masters. */
static void all_are_seen(struct world *w, const char *text)
{
    char key[16], last[48];
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        set(w, key, text);
        sees(w, key, text);
    }
    (void)snprintf(last, sizeof last, "%s, and later", text);
    for (int i = 0; i < KEYS; i++) { /* of what is held */
        (void)snprintf(key, sizeof key, "k%d", i);
        set(w, key, last);
        sees(w, key, last);
    }
}

static uint64_t losses(struct world *w) { return health_of(w->node).lost; }

/* What all of this is about, first: every key is told.  Trust does not run out, so what is not told is never seen. */
static void every_master_tells(void **state)
{
    struct world w;
    char key[16], full[24];
    (void)state;
    open_trusting(&w, 0, LONG_MS);
    uint64_t before = losses(&w);
    all_are_seen(&w, "one");
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)snprintf(full, sizeof full, "app:k%d", i);
        size_t at = 0;
        while (redis_do(w.nodes.links[at], "EXISTS", full).kind != REDIS_IS_INTEGER)
            assert_true(++at < CLUSTER_MASTERS);
        assert_int_equal(redis_do(w.nodes.links[at], "DEL", full).integer, 1);
        redis_cache_await(w.node, key, STRATA_MISS);
    }
    all_are_seen(&w, "two");
    assert_int_equal(redis_do(w.nodes.links[1], "FLUSHALL").status, STRATA_OK);
    all_are_seen(&w, "three");
    assert_int_equal(losses(&w), before);
    close_world(&w);
}

/* The link that listens is cut, at one master. */
static void a_connection_that_is_killed_is_noticed(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, 0);
    all_are_seen(&w, "one");
    for (size_t i = 0; i < CLUSTER_MASTERS; i++) {
        uint64_t before = losses(&w);
        assert_int_equal(redis_do(w.nodes.links[i], "CLIENT", "KILL", "TYPE", "pubsub").integer, 1);
        for (int look = 0; losses(&w) == before; look++) {
            assert_true(look < LOOKS);
            redis_cache_nap(5);
        }
        until_trusted(w.node);
    }
    all_are_seen(&w, "two");
    close_world(&w);
}

static void a_promoted_replica_is_listened_to(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, 1);
    all_are_seen(&w, "one");
    redis_nodes_kill(&w.nodes, 0);
    redis_nodes_wait(&w.nodes);
    all_are_seen(&w, "two");
    until_trusted(w.node);
    all_are_seen(&w, "three");
    close_world(&w);
}

static void demand(struct redis_answer answer)
{
    if (answer.status != STRATA_OK || answer.kind == REDIS_IS_ERROR)
        fail_msg("%s", answer.status == STRATA_OK ? answer.text : answer.err.message);
}

/* The slot of this key, with its keys. */
static void move_slot(struct world *w, const char *key, size_t to)
{
    char slot[8], ids[2][64], port[8];
    size_t from = 0;
    while (redis_do(w->nodes.links[from], "EXISTS", key).kind != REDIS_IS_INTEGER)
        assert_true(++from < CLUSTER_MASTERS);
    (void)snprintf(slot, sizeof slot, "%u", (unsigned)strata__redis_slot(strata_str(key)));
    (void)snprintf(port, sizeof port, "%u", (unsigned)w->nodes.servers[to].port);
    if (from == to)
        return;
    redis_nodes_id(&w->nodes, from, ids[0]);
    redis_nodes_id(&w->nodes, to, ids[1]);
    demand(redis_do(w->nodes.links[to], "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0]));
    demand(redis_do(w->nodes.links[from], "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1]));
    for (;;) {
        struct redis_answer found = redis_do(w->nodes.links[from], "CLUSTER", "GETKEYSINSLOT", slot, "1");
        demand(found);
        if (found.size == 0)
            break;
        demand(redis_do(w->nodes.links[from], "MIGRATE", "127.0.0.1", port, found.text, "0", "60000"));
    }
    redis_nodes_end_move(&w->nodes, slot, to);
}

static void a_slot_that_moves_is_followed(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, 0);
    all_are_seen(&w, "one");
    for (size_t i = 0; i < 2 * CLUSTER_MASTERS; i++) {
        move_slot(&w, "app:k0", i % CLUSTER_MASTERS);
        set(&w, "k0", i % 2 ? "odd" : "even");
        sees(&w, "k0", i % 2 ? "odd" : "even");
    }
    close_world(&w);
}

static void a_master_that_is_added_is_listened_to(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, 0);
    all_are_seen(&w, "one");
    uint64_t before = losses(&w);
    size_t added = redis_nodes_add(&w.nodes);
    redis_nodes_meet(&w.nodes, added);
    redis_nodes_wait(&w.nodes);
    redis_nodes_agree(&w.nodes);
    move_slot(&w, "app:k0", added);
    for (int look = 0; losses(&w) == before; look++) {
        assert_true(look < LOOKS);
        redis_cache_nap(5);
    }
    all_are_seen(&w, "two");
    until_trusted(w.node);
    all_are_seen(&w, "three");
    close_world(&w);
}

/* One of three is stopped: nothing is proven, and trust runs out; when it is back, so is trust. */
static void a_master_that_is_paused_is_noticed(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, 0);
    all_are_seen(&w, "one");
    redis_server_pause(&w.nodes.servers[2]);
    until_trust_is(w.node, 0);
    redis_server_resume(&w.nodes.servers[2]);
    redis_nodes_wait(&w.nodes);
    until_trusted(w.node);
    all_are_seen(&w, "two");
    close_world(&w);
}

/* One of three is gone, and nobody takes its slots: there is no trust until it is back, and what it told before counts as missed. */
static void a_master_that_was_killed_is_noticed(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, 0);
    all_are_seen(&w, "one");
    uint64_t before = losses(&w);
    redis_server_kill(&w.nodes.servers[0]);
    until_trust_is(w.node, 0);
    redis_server_restart(&w.nodes.servers[0]);
    redis_nodes_wait(&w.nodes);
    until_trusted(w.node);
    assert_true(losses(&w) > before);
    all_are_seen(&w, "two");
    close_world(&w);
}

/* Nodes answer what a heartbeat has asked while the connections to others are closed already. */
static void closing_does_not_mind_who_answers(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, 0);
    for (int round = 0; round < 150; round++) {
        strata *node = open_node(&w, 1);
        if (round % 2 != 0)
            redis_cache_nap(round % 10);
        assert_int_equal(strata_close(node), STRATA_OK);
    }
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_master_that_was_killed_is_noticed),
        cmocka_unit_test(every_master_tells),
        cmocka_unit_test(a_connection_that_is_killed_is_noticed),
        cmocka_unit_test(a_promoted_replica_is_listened_to),
        cmocka_unit_test(a_slot_that_moves_is_followed),
        cmocka_unit_test(a_master_that_is_added_is_listened_to),
        cmocka_unit_test(a_master_that_is_paused_is_noticed),
        cmocka_unit_test(closing_does_not_mind_who_answers),
    };
    return cmocka_run_group_tests_name("tracking_cluster", tests, NULL, NULL);
}
