/* test_tracking_cache.c - caches that listen to what a real server tells of its keys: what a stranger does behind their backs is
 * visible in all of them, and what they do themselves costs them nothing that they hold. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/redis_cache.h"
#include "tests/support/redis_do.h"
#include "tests/support/trusted.h"

enum { NODES = 2, LOOKS = 12000, SLOW_MS = 150, SHORT_MS = 800 };

struct fleet_of_two {
    struct redis_server server;
    struct redis_link *redis_cli;
    strata *node[NODES];
    strata *stranger; /* another program's cache: it writes entries, and tells nobody */
    uint32_t protocol;
    int per_key, hasty; /* hasty: it opens without waiting for trust */
};

struct way {
    uint32_t protocol;
    int per_key;
};

static strata *open_node(const struct fleet_of_two *f, int listens, int64_t trust_ms)
{
    char url[64];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    (void)snprintf(url, sizeof url, "redis://127.0.0.1:%u", (unsigned)f->server.port);
    strata_memory_options memory = STRATA_MEMORY_OPTIONS_INIT;
    strata_redis_options redis = STRATA_REDIS_OPTIONS_INIT;
    redis.url = url;
    redis.prefix = "app:";
    redis.soft_timeout_ms = redis.timeout_ms = redis.connect_timeout_ms = 60000;
    strata_redis_tracking_options tracking = STRATA_REDIS_TRACKING_OPTIONS_INIT;
    tracking.url = url;
    tracking.prefix = "app:";
    tracking.connect_timeout_ms = tracking.timeout_ms = 60000;
    tracking.heartbeat_ms = 100;
    tracking.protocol = f->protocol;
    tracking.per_key = f->per_key ? STRATA_ON : STRATA_OFF;
    strata_layer *layers[] = { strata_memory_layer(&memory), strata_redis_layer(&redis) };
    strata_bus *buses[] = { strata_redis_tracking_bus(&tracking) };
    strata_coherence_options coherence = STRATA_COHERENCE_OPTIONS_INIT;
    coherence.default_bus = STRATA_OFF;
    coherence.trust_ms = trust_ms;
    coherence.heartbeat_ms = trust_ms < 4000 ? trust_ms / 4 : 1000;
    coherence.open_wait_ms = f->hasty ? 1 : 60000;
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 2;
    options.buses = buses;
    options.bus_count = listens ? 1 : 0;
    options.coherence = &coherence;
    if (!listens)
        strata_bus_free(buses[0]);
    if (strata_open(&cache, &options, &err) != STRATA_OK)
        fail_msg("%s: %s", err.where, err.message);
    return cache;
}

static void start_server(struct fleet_of_two *f, void **state)
{
    memset(f, 0, sizeof *f);
    f->protocol = ((const struct way *)*state)->protocol;
    f->per_key = ((const struct way *)*state)->per_key;
    redis_server_start(&f->server, NULL);
    f->redis_cli = redis_do_open(&f->server);
}

static void open_nodes(struct fleet_of_two *f, int64_t trust_ms)
{
    for (int i = 0; i < NODES; i++)
        f->node[i] = open_node(f, 1, trust_ms);
    f->stranger = open_node(f, 0, trust_ms);
}

static void open_trusting(struct fleet_of_two *f, void **state, int64_t trust_ms)
{
    start_server(f, state);
    open_nodes(f, trust_ms);
    for (int i = 0; i < NODES; i++)
        until_trusted(f->node[i]);
}

/* No busy machine lets trust run out. */
static void open_fleet(struct fleet_of_two *f, void **state) { open_trusting(f, state, 60000); }

static void close_fleet(struct fleet_of_two *f)
{
    for (int i = 0; i < NODES; i++)
        assert_int_equal(strata_close(f->node[i]), STRATA_OK);
    assert_int_equal(strata_close(f->stranger), STRATA_OK);
    strata__redis_close(f->redis_cli);
    redis_server_stop(&f->server);
}

static void all_hold(struct fleet_of_two *f, const char *key, const char *text)
{
    for (int i = 0; i < NODES; i++)
        redis_cache_expect(f->node[i], key, STRATA_OK, text);
}

static void all_see(struct fleet_of_two *f, const char *key, int status)
{
    for (int i = 0; i < NODES; i++)
        redis_cache_await(f->node[i], key, status);
}

static void all_see_text(struct fleet_of_two *f, const char *key, const char *text)
{
    char got[64];
    strata_error err;
    for (int i = 0; i < NODES; i++) {
        int look = 0;
        while (redis_cache_get(f->node[i], key, got, sizeof got, &err) != STRATA_OK || strcmp(got, text) != 0) {
            if (++look == LOOKS)
                fail_msg("%s: still \"%s\", not \"%s\"", key, got, text);
            redis_cache_nap(5);
        }
    }
}

/* All that was told so far was dealt with: a key that was changed later is seen to have been. */
static void until_dealt_with(struct fleet_of_two *f)
{
    redis_cache_set(f->stranger, "mark", "0");
    all_see_text(f, "mark", "0");
    redis_cache_set(f->stranger, "mark", "1");
    all_see_text(f, "mark", "1");
    redis_cache_nap(50); /* a comparison may take its time: what it would wrongly drop is gone by then */
}

/* How often the server was asked for something that it has, or has not. */
static uint64_t asked(strata *cache)
{
    strata_layer_stats s = redis_cache_stats(cache, 1);
    return s.hits + s.misses;
}

/* What others do ------------------------------------------------------------------------------------------------------- */

static void a_stranger_is_seen(void **state)
{
    struct fleet_of_two f;
    open_fleet(&f, state);
    redis_cache_set(f.stranger, "k", "one");
    all_hold(&f, "k", "one");
    redis_cache_set(f.stranger, "k", "two");
    all_see_text(&f, "k", "two");
    assert_int_equal(redis_do(f.redis_cli, "DEL", "app:k").integer, 1);
    all_see(&f, "k", STRATA_MISS);
    redis_cache_set(f.stranger, "k", "three");
    all_see_text(&f, "k", "three");
    assert_int_equal(redis_do(f.redis_cli, "SET", "app:k", "no entry of a cache").status, STRATA_OK);
    all_see(&f, "k", STRATA_MISS);
    redis_cache_set(f.stranger, "k", "four");
    all_see_text(&f, "k", "four");
    assert_int_equal(redis_do(f.redis_cli, "PEXPIRE", "app:k", "30").integer, 1);
    all_see(&f, "k", STRATA_MISS);
    redis_cache_set(f.stranger, "k", "five");
    all_see_text(&f, "k", "five");
    assert_int_equal(redis_do(f.redis_cli, "FLUSHALL").status, STRATA_OK);
    all_see(&f, "k", STRATA_MISS);
    close_fleet(&f);
}

/* One node's set, delete and expire, on the other, without a bus that carries messages. */
static void each_other_is_seen(void **state)
{
    struct fleet_of_two f;
    strata_error err;
    open_fleet(&f, state);
    for (int i = 0; i < 5; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "%d", i);
        redis_cache_set(f.node[i % 2], "k", text);
        all_see_text(&f, "k", text);
    }
    assert_int_equal(strata_delete(f.node[0], strata_str("k"), &err), STRATA_OK);
    all_see(&f, "k", STRATA_MISS);
    close_fleet(&f);
}

static void keys_of_namespaces(void **state)
{
    struct fleet_of_two f;
    strata *space[NODES], *strange;
    open_fleet(&f, state);
    assert_int_equal(strata_namespace(f.stranger, "users", NULL, &strange, NULL), STRATA_OK);
    for (int i = 0; i < NODES; i++)
        assert_int_equal(strata_namespace(f.node[i], "users", NULL, &space[i], NULL), STRATA_OK);
    redis_cache_set(strange, "k", "one");
    redis_cache_set(f.stranger, "k", "outside");
    for (int i = 0; i < NODES; i++)
        redis_cache_expect(space[i], "k", STRATA_OK, "one");
    all_hold(&f, "k", "outside");
    assert_int_equal(strata_delete(strange, strata_str("k"), NULL), STRATA_OK);
    for (int i = 0; i < NODES; i++)
        redis_cache_await(space[i], "k", STRATA_MISS);
    all_hold(&f, "k", "outside");
    for (int i = 0; i < NODES; i++)
        strata_close(space[i]);
    strata_close(strange);
    close_fleet(&f);
}

/* What they do themselves ------------------------------------------------------------------------------------------------ */

static int load_slowly(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    ++*(int *)ctx;
    redis_cache_nap(SLOW_MS);
    return strata_load_copy(load, "loaded", 6);
}

static void what_is_loaded_or_set_here_stays(void **state)
{
    struct fleet_of_two f;
    strata_value *v = NULL;
    strata_error err = STRATA_ERROR_INIT;
    int loads = 0;
    open_fleet(&f, state);
    assert_int_equal(strata_get_or_load(f.node[0], strata_str("slow"), load_slowly, &loads, NULL, &v, &err), STRATA_OK);
    strata_value_unref(v);
    redis_cache_loads(f.node[0], "quick", &loads);
    redis_cache_set(f.node[0], "set", "here");
    redis_cache_set(f.node[0], "set", "again");
    assert_int_equal(loads, 2);
    until_dealt_with(&f);
    uint64_t before;
    do { /* what the server says of our own writes may come late; ctest ends what never does */
        redis_cache_nap(1);
        before = asked(f.node[0]);
        redis_cache_expect(f.node[0], "slow", STRATA_OK, "loaded");
        redis_cache_expect(f.node[0], "quick", STRATA_OK, "loaded");
        redis_cache_expect(f.node[0], "set", STRATA_OK, "again");
    } while (asked(f.node[0]) != before); /* else all came from memory */
    close_fleet(&f);
}

/* A stranger writes while it is loaded here: the load stores nothing, and nobody holds it. */
static int load_and_be_overtaken(strata_load *load, strata_slice key, void *ctx)
{
    struct fleet_of_two *f = ctx;
    (void)key;
    redis_cache_set(f->stranger, "k", "newer");
    return strata_load_copy(load, "older", 5);
}

static void who_is_overtaken_holds_nothing(void **state)
{
    struct fleet_of_two f;
    strata_value *v = NULL;
    strata_error err = STRATA_ERROR_INIT;
    open_fleet(&f, state);
    assert_int_equal(strata_get_or_load(f.node[0], strata_str("k"), load_and_be_overtaken, &f, NULL, &v, &err),
                     STRATA_OK);
    assert_int_equal(strata_value_size(v), 5); /* its caller has it */
    strata_value_unref(v);
    all_see_text(&f, "k", "newer");
    close_fleet(&f);
}

/* Losses --------------------------------------------------------------------------------------------------------------- */

static void what_was_missed_is_asked_for(void **state)
{
    struct fleet_of_two f;
    open_trusting(&f, state, SHORT_MS);
    redis_cache_set(f.stranger, "k", "one");
    all_hold(&f, "k", "one");
    assert_int_not_equal(redis_do(f.redis_cli, "CLIENT", "KILL", "TYPE", "pubsub").integer, 0);
    redis_cache_set(f.stranger, "k", "two"); /* while nobody listens, perhaps */
    all_see_text(&f, "k", "two");
    for (int i = 0; i < NODES; i++)
        until_trusted(f.node[i]);
    all_see_text(&f, "k", "two");
    redis_cache_set(f.stranger, "k", "three");
    all_see_text(&f, "k", "three");
    close_fleet(&f);
}

static void allow_tracking(struct fleet_of_two *f, int may)
{
    struct redis_answer answer = redis_do(f->redis_cli, "ACL", "SETUSER", "default",
                                          may ? "+client|tracking" : "-client|tracking");
    if (answer.status != STRATA_OK || answer.kind == REDIS_IS_ERROR)
        fail_msg("ACL SETUSER: %s", answer.status == STRATA_OK ? answer.text : answer.err.message);
}

/* The connection that is told is killed, and none takes its place: the server refuses. */
static void nothing_is_trusted_until_it_is_told_again(void **state)
{
    struct fleet_of_two f;
    uint64_t lost[NODES];
    open_trusting(&f, state, SHORT_MS);
    redis_cache_set(f.stranger, "k", "one");
    all_hold(&f, "k", "one");
    for (int i = 0; i < NODES; i++)
        lost[i] = health_of(f.node[i]).lost;
    allow_tracking(&f, 0);
    assert_int_not_equal(redis_do(f.redis_cli, "CLIENT", "KILL", "TYPE", "pubsub").integer, 0);
    for (int i = 0; i < NODES; i++)
        until_trust_is(f.node[i], 0);
    redis_cache_set(f.stranger, "k", "two"); /* nobody is told */
    all_see_text(&f, "k", "two");
    for (int i = 0; i < NODES; i++)
        assert_int_equal(health_of(f.node[i]).trusted, 0); /* it was asked for */
    allow_tracking(&f, 1);
    for (int i = 0; i < NODES; i++) {
        until_trusted(f.node[i]);
        assert_true(health_of(f.node[i]).lost > lost[i]);
    }
    all_see_text(&f, "k", "two");
    assert_int_equal(redis_do(f.redis_cli, "DEL", "app:k").integer, 1);
    all_see(&f, "k", STRATA_MISS);
    close_fleet(&f);
}

/* Trust that nobody ever had is not had for what was read then: it was changed before anybody was told of anything. */
static void what_was_read_before_it_is_told_is_not_believed(void **state)
{
    struct fleet_of_two f;
    start_server(&f, state);
    allow_tracking(&f, 0);
    f.hasty = 1;
    open_nodes(&f, 1000); /* what is read while nobody tells is believed for so long */
    redis_cache_set(f.stranger, "k", "one");
    for (int i = 0; i < NODES; i++) {
        assert_int_equal(health_of(f.node[i]).trusted, 0);
        redis_cache_await(f.node[i], "k", STRATA_OK);
    }
    redis_cache_set(f.stranger, "k", "two");
    allow_tracking(&f, 1);
    for (int i = 0; i < NODES; i++)
        until_trusted(f.node[i]);
    all_see_text(&f, "k", "two");
    redis_cache_set(f.stranger, "k", "three");
    all_see_text(&f, "k", "three");
    close_fleet(&f);
}

/* What the server remembers of reads ------------------------------------------------------------------------------------ */

static void sees(strata *cache, const char *key, const char *text)
{
    char got[64];
    strata_error err;
    for (int look = 0; redis_cache_get(cache, key, got, sizeof got, &err) != STRATA_OK || strcmp(got, text) != 0;
         look++) {
        if (look == LOOKS)
            fail_msg("%s: still \"%s\", not \"%s\"", key, got, text);
        redis_cache_nap(5);
    }
}

/* Nobody has read the key on a connection that is followed before it is held. */
static void what_was_never_read_is_told_of(void **state)
{
    struct fleet_of_two f;
    char key[32];
    int loads = 0;
    open_fleet(&f, state);
    for (int i = 0; i < 20; i++) { /* while the node looks at it, and later */
        (void)snprintf(key, sizeof key, "set%d", i);
        redis_cache_set(f.node[0], key, "here");
        redis_cache_set(f.stranger, key, "there");
        sees(f.node[0], key, "there");
        (void)snprintf(key, sizeof key, "load%d", i);
        redis_cache_loads(f.node[0], key, &loads);
        redis_cache_set(f.stranger, key, "there");
        sees(f.node[0], key, "there");
    }
    redis_cache_set(f.node[0], "late", "here");
    redis_cache_expect(f.node[0], "late", STRATA_OK, "here");
    until_dealt_with(&f);
    redis_cache_set(f.stranger, "late", "there");
    sees(f.node[0], "late", "there");
    close_fleet(&f);
}

static void many_are_read_at_once(void **state)
{
    enum { KEYS = 50 };
    struct fleet_of_two f;
    char names[KEYS][16];
    strata_item items[KEYS];
    open_fleet(&f, state);
    memset(items, 0, sizeof items);
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(names[i], sizeof names[i], "k%d", i);
        items[i].key = strata_str(names[i]);
        redis_cache_set(f.stranger, names[i], "one");
    }
    assert_int_equal(strata_get_many(f.node[0], items, KEYS, NULL), STRATA_OK);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(items[i].status, STRATA_OK);
        strata_value_unref(items[i].value);
    }
    for (int i = 0; i < KEYS; i++)
        redis_cache_set(f.stranger, names[i], "two");
    for (int i = 0; i < KEYS; i++)
        sees(f.node[0], names[i], "two");
    close_fleet(&f);
}

static void eviction_is_seen(void **state)
{
    struct fleet_of_two f;
    static char large[100001];
    char key[32];
    open_fleet(&f, state);
    memset(large, 'x', sizeof large - 1);
    redis_cache_set(f.stranger, "victim", "here");
    all_hold(&f, "victim", "here");
    assert_int_equal(redis_do(f.redis_cli, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru").status, STRATA_OK);
    assert_int_equal(redis_do(f.redis_cli, "CONFIG", "SET", "maxmemory", "8mb").status, STRATA_OK);
    for (int i = 0; redis_do(f.redis_cli, "EXISTS", "app:victim").integer == 1 && i < 4000; i++) {
        (void)snprintf(key, sizeof key, "else:%d", i);
        (void)redis_do(f.redis_cli, "SET", key, large);
    }
    all_see(&f, "victim", STRATA_MISS);
    close_fleet(&f);
}

/* The server remembers fewer keys than are held: it tells of those that it forgets, and they are read again, or dropped. */
static void a_small_table_loses_nothing(void **state)
{
    enum { KEYS = 200 };
    struct fleet_of_two f;
    char key[16];
    open_fleet(&f, state);
    assert_int_equal(redis_do(f.redis_cli, "CONFIG", "SET", "tracking-table-max-keys", "20").status, STRATA_OK);
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        redis_cache_set(f.stranger, key, "one");
        all_hold(&f, key, "one");
    }
    for (int i = 0; i < KEYS; i += 7) {
        (void)snprintf(key, sizeof key, "k%d", i);
        redis_cache_set(f.stranger, key, "two");
        all_see_text(&f, key, "two");
    }
    close_fleet(&f);
}

/* Its connections were cut, too. */
static void set_again(strata *cache, const char *key, const char *text)
{
    strata_error err = STRATA_ERROR_INIT;
    for (int look = 0; strata_set(cache, strata_str(key), strata_str(text), NULL, &err) != STRATA_OK; look++) {
        if (look == LOOKS)
            fail_msg("set %s: %s", key, err.message);
        redis_cache_nap(5);
    }
}

/* The connections that read are lost, the one that listens is not. */
static void readers_that_were_lost_are_noticed(void **state)
{
    struct fleet_of_two f;
    open_trusting(&f, state, SHORT_MS);
    for (int i = 0; i < 3; i++) {
        set_again(f.stranger, "k", "one");
        all_see_text(&f, "k", "one");
        assert_int_not_equal(redis_do(f.redis_cli, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").integer, 0);
        assert_int_equal(redis_do(f.redis_cli, "DEL", "app:k").integer, 1);
        all_see(&f, "k", STRATA_MISS);
        for (int j = 0; j < NODES; j++)
            until_trusted(f.node[j]);
    }
    close_fleet(&f);
}

static void a_server_that_was_restarted_is_another_one(void **state)
{
    struct fleet_of_two f;
    open_trusting(&f, state, SHORT_MS);
    redis_cache_set(f.stranger, "k", "one");
    all_see_text(&f, "k", "one");
    redis_server_restart(&f.server);
    all_see(&f, "k", STRATA_MISS);
    for (int j = 0; j < NODES; j++)
        until_trusted(f.node[j]);
    strata__redis_close(f.redis_cli);
    f.redis_cli = redis_do_open(&f.server);
    set_again(f.stranger, "k", "two");
    all_see_text(&f, "k", "two");
    assert_int_equal(redis_do(f.redis_cli, "DEL", "app:k").integer, 1);
    all_see(&f, "k", STRATA_MISS);
    close_fleet(&f);
}

#define TWICE(test) \
    { #test " (RESP2)", test, NULL, NULL, &two }, { #test " (RESP3)", test, NULL, NULL, &three }
#define KEYS(test) \
    { #test " (per key, RESP2)", test, NULL, NULL, &two_keys }, \
    { \
#test " (per key, RESP3)", test, NULL, NULL, &three_keys \
    }
#define ALL(test) TWICE(test), KEYS(test)

int main(void)
{
    static struct way two = { 2, 0 }, three = { 3, 0 }, two_keys = { 2, 1 }, three_keys = { 3, 1 };
    const struct CMUnitTest all[] = {
        ALL(a_stranger_is_seen),
        ALL(each_other_is_seen),
        ALL(keys_of_namespaces),
        ALL(what_is_loaded_or_set_here_stays),
        ALL(who_is_overtaken_holds_nothing),
        ALL(what_was_missed_is_asked_for),
        ALL(nothing_is_trusted_until_it_is_told_again),
        ALL(what_was_read_before_it_is_told_is_not_believed),
        ALL(what_was_never_read_is_told_of),
        ALL(many_are_read_at_once),
        ALL(eviction_is_seen),
        KEYS(a_small_table_loses_nothing),
        ALL(readers_that_were_lost_are_noticed),
        ALL(a_server_that_was_restarted_is_another_one),
    };
    struct CMUnitTest tests[sizeof all / sizeof all[0]];
    size_t count = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strata__redis_pushes() || ((const struct way *)all[i].initial_state)->protocol == 2)
            tests[count++] = all[i];
    return _cmocka_run_group_tests("tracking_cache", tests, count, NULL, NULL);
}
