/* sim_program.c - see sim_program.h. */
#include "tests/sim/sim_program.h"

#include <stdio.h>

#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_net.h"
#include "tests/sim/sim_server.h"
#include "tests/sim/sim_world.h"

/* Once all is well no call takes LOST_MS; ANY_MS is longer than a run. */
enum { NODES = 3, STEPS = 120, LOST_MS = 10000, ANY_MS = 60000, HEARTBEAT_MS = 40, TRUST_MS = 150 };

/* What may happen in this run. */
struct run {
    int cuts, server, processes, foreign, writes_sets, bans, bus, bus_breaks, batches;
    int watcher;
    int frozen; /* -1: nobody is */
    int crashes;
    int64_t behind_ms; /* of some sets: written behind; 0: none is */
    strata_policy policy;
};

static strata_policy draw_policy(void)
{
    strata_policy p = { STRATA_SIZED(strata_policy), .ttl_ms = 20 + (int64_t)sim_draw(400) };
    if (sim_draw(3) == 0)
        p.stale_while_revalidate_ms = 1 + (int64_t)sim_draw(100);
    if (sim_draw(4) == 0)
        p.hard_timeout_ms = 20 + (int64_t)sim_draw(100);
    if (sim_draw(6) == 0)
        p.refresh_ahead_ms = p.ttl_ms / 3 + 1;
    p.retry_ms = 5;
    return p;
}

static void draw_weather(struct run *run)
{
    struct sim_weather weather = { .most_ms = (int64_t)sim_draw(6) };
    int bad = sim_draw(2) == 0;
    for (int i = 0; i < SIM_NODES_MOST; i++) {
        if (bad) {
            weather.spike_in = 4 + (uint32_t)sim_draw(40);
            weather.spike_ms = 10 + (int64_t)sim_draw(150);
        }
        sim_net_weather(i, &weather);
    }
    run->cuts = sim_draw(2) == 0;
}

/* A log that everybody reads, which may be trimmed under who is away; or messages that are lost, doubled and overtaken.  All of them echo,
 * as every transport that is shipped does: without that nobody can tell to be alone from being deaf. */
static struct sim_net_options draw_bus(void)
{
    static const uint32_t kinds[] = { STRATA_BUS_ORDERED | STRATA_BUS_REPLAYS | STRATA_BUS_ECHOES,
                                      STRATA_BUS_ORDERED | STRATA_BUS_ECHOES, STRATA_BUS_ECHOES };
    struct sim_net_options o = { .seed = sim_draw(UINT64_MAX),
                                 .flags = kinds[sim_draw(3)],
                                 .delay_ms = 1 + (int64_t)sim_draw(15) };
    const int ordered = (o.flags & STRATA_BUS_ORDERED) != 0;
    if (ordered && sim_draw(2) == 0)
        o.log_most = 5 + (uint32_t)sim_draw(30);
    if (!ordered) {
        o.drop_per_mille = (uint32_t)sim_draw(2) * (uint32_t)sim_draw(80);
        o.double_per_mille = (uint32_t)sim_draw(80);
    }
    o.fail_per_mille = (uint32_t)sim_draw(2) * (uint32_t)sim_draw(100);
    return o;
}

static int64_t trusted_ms = TRUST_MS;

void sim_trust_blindly(int on) { trusted_ms = on ? INT64_C(3600000) : TRUST_MS; }

static void draw_coherence(struct cluster_options *o, struct history_bounds *bounds)
{
    o->coherence = (strata_coherence_options)STRATA_COHERENCE_OPTIONS_INIT;
    o->coherence.default_bus = STRATA_OFF;
    o->coherence.open_wait_ms = STRATA_OFF;
    o->coherence.heartbeat_ms = HEARTBEAT_MS;
    o->coherence.trust_ms = trusted_ms;
    o->coherence.suspect_ms = sim_draw(3) == 0 ? STRATA_OFF : 1 + (int64_t)sim_draw(300);
    o->coherence.priming = sim_draw(4) == 0 ? STRATA_OFF : STRATA_ON;
    o->coherence.spread_ms = sim_draw(3) == 0 ? STRATA_OFF : 1 + (int64_t)sim_draw(50);
    int64_t suspect_ms = o->coherence.suspect_ms == STRATA_OFF ? 0 : o->coherence.suspect_ms;
    /* Where a load has failed, anything may be served as stale. */
    int fails = o->fail_loads_in != 0 || o->policy.hard_timeout_ms != 0;
    *bounds = (struct history_bounds){ TRUST_MS, fails ? ANY_MS : TRUST_MS + suspect_ms };
}

static void begin(struct run *run)
{
    struct history_bounds bounds;
    sim_server_open();
    sim_net_open();
    *run = (struct run){ .server = sim_draw(2) == 0,
                         .processes = sim_draw(3) == 0,
                         .foreign = sim_draw(4) == 0,
                         .writes_sets = sim_draw(3) != 0,
                         .bans = sim_draw(3) == 0,
                         .bus = sim_draw(3) != 0,
                         .bus_breaks = sim_draw(2) == 0,
                         .batches = sim_draw(4) != 0,
                         .frozen = -1 };
    draw_weather(run);
    run->policy = draw_policy();
    struct sim_net_options bus = draw_bus();
    struct cluster_options o = { .load_most_ms = 1 + (int64_t)sim_draw(sim_draw(4) == 0 ? 400 : 60),
                                 .tombstone_ms = 2000,
                                 .policy = run->policy,
                                 .fail_loads_in = (uint32_t)sim_draw(2) * 16,
                                 .short_keys = sim_draw(4) == 0,
                                 .bus = run->bus ? &bus : NULL };
    draw_coherence(&o, &bounds);
    if (run->bus)
        sim_trace("a bus of flags %u, delay %d, log %u, drops %u, doubles %u, fails %u", bus.flags, (int)bus.delay_ms,
                  bus.log_most, bus.drop_per_mille, bus.double_per_mille, bus.fail_per_mille);
    history_open(&bounds);
    cluster_open(&o);
    for (int i = 0; i < NODES; i++)
        cluster_join(1);
    /* Its clock is wrong, by up to an hour.  Not together with bans: what the store's list does not tell apart, clocks do. */
    if (sim_draw(4) == 0 && !run->bans)
        sim_set_wall_skew((int)sim_draw(NODES), (int64_t)sim_draw(7200000) - 3600000);
    run->watcher = cluster_join(0);
    if (sim_draw(3) == 0)
        run->behind_ms = 1 + (int64_t)sim_draw(80);
}

static int some_node(int watcher)
{
    int alive[SIM_NODES_MOST];
    size_t count = cluster_alive(alive);
    int node = alive[sim_draw(count)];
    return node == watcher ? alive[sim_draw(count)] : node; /* it is asked, too, but less often */
}

/* Some keys, of which some may be the same. */
static void some_batch(const struct run *run, int node, enum call_kind kind)
{
    size_t keys[CLUSTER_BATCH], count = 1 + sim_draw(CLUSTER_BATCH);
    for (size_t i = 0; i < count; i++)
        keys[i] = sim_draw(CLUSTER_KEYS);
    if (kind == CALL_LOAD)
        cluster_call_many(node, sim_draw(3) != 0 ? CALL_LOAD_MANY : CALL_LOAD_EACH, keys, count, &run->policy);
    else
        cluster_call_many(node, CALL_GET_MANY, keys, count, NULL);
}

static void some_call(const struct run *run)
{
    static const enum call_kind kinds[] = { CALL_LOAD, CALL_LOAD,   CALL_LOAD,   CALL_LOAD,
                                            CALL_GET,  CALL_DELETE, CALL_DELETE, CALL_SET };
    size_t key = sim_draw(CLUSTER_KEYS);
    int node = some_node(run->watcher);
    enum call_kind kind = kinds[sim_draw(8)];
    if (node == run->watcher) /* only what comes from the store itself */
        kind = CALL_GET;
    else if (kind == CALL_SET && !run->writes_sets)
        kind = CALL_DELETE;
    else if (sim_draw(60) == 0)
        kind = CALL_CLEAR;
    else if (run->bans && sim_draw(12) == 0)
        kind = (enum call_kind)(CALL_BAN_TAG + (int)sim_draw(3));
    if (run->batches && kind <= CALL_LOAD && sim_draw(3) == 0) {
        some_batch(run, node, kind);
        return;
    }
    if (kind == CALL_BAN_TAG && sim_draw(2) == 0)
        key = CLUSTER_KEYS;
    strata_policy policy = run->policy;
    if (kind == CALL_SET && run->behind_ms != 0 && sim_draw(3) != 0)
        policy.write_behind_ms = run->behind_ms;
    cluster_call(node, kind, key, kind == CALL_LOAD || kind == CALL_SET ? &policy : NULL);
}

static void befall_network(void)
{
    int node = (int)sim_draw(NODES + 1);
    switch (sim_draw(4)) {
    case 0: sim_net_cut(node, 1); break;
    case 1: sim_net_block(node, 1); break;
    case 2: sim_net_stall(node, 1 + (int64_t)sim_draw(200)); break;
    default: sim_net_cut(node, 0);
    }
}

static void befall_server(void)
{
    switch (sim_draw(6)) {
    case 0:
        sim_trace("the server fails over");
        sim_net_lose_server();
        sim_server_fail_over((int64_t)sim_draw(2) * ((int64_t)sim_draw(100) - 50));
        break;
    case 1: sim_server_flush(); break;
    case 2: sim_server_forget_scripts(); break;
    default: sim_server_replicate();
    }
}

static void befall_process(struct run *run)
{
    int node = (int)sim_draw(NODES);
    int alive[SIM_NODES_MOST];
    if (sim_draw(8) == 0 && !run->bans) { /* somebody sets its clock */
        sim_set_wall_skew(node, (int64_t)sim_draw(7200000) - 3600000);
        return;
    }
    if (run->frozen >= 0) {
        sim_trace("node %d goes on", run->frozen);
        sim_thaw(run->frozen);
        run->frozen = -1;
    } else if (sim_draw(4) != 0) {
        if (cluster_cache(node) == NULL || sim_frozen(node))
            return;
        sim_trace("node %d is stopped", node);
        run->frozen = node;
        sim_freeze(node);
    } else if (run->crashes < 2 && cluster_alive(alive) > 2 && !sim_frozen(node)) {
        sim_trace("node %d crashes", node);
        run->crashes++;
        cluster_crash(node);
        cluster_join(1);
    }
}

static void befall_bus(void)
{
    int member;
    struct sim_net *bus = cluster_bus((int)sim_draw(NODES), &member);
    if (bus == NULL)
        return;
    uint64_t what = sim_draw(6);
    sim_trace("member %d of the bus: %u", member, (unsigned)what);
    switch (what) {
    case 0: sim_net_away(bus, member, 1); break;
    case 1: sim_net_away(bus, member, 0); break;
    case 2: sim_net_hold(bus, member, 1); break;
    case 3: sim_net_hold(bus, member, 0); break;
    default: sim_net_back(bus, member);
    }
}

static void befall_key(void)
{
    char key[32];
    int size = snprintf(key, sizeof key, "strata:%s", cluster_key(sim_draw(CLUSTER_KEYS)));
    if (sim_draw(2) == 0)
        sim_server_foreign_set(strata_bytes(key, (size_t)size), strata_str("somebody else's"));
    else
        sim_server_foreign_delete(strata_bytes(key, (size_t)size));
}

static void one_step(struct run *run)
{
    uint64_t what = sim_draw(42);
    if (what < 22)
        some_call(run);
    else if (what < 26)
        for (uint64_t n = sim_draw(20); n > 0; n--)
            (void)sim_step();
    else if (what < 36)
        sim_pass((int64_t)sim_draw(sim_draw(4) == 0 ? 150 : 15));
    else if (what == 36 && run->cuts)
        befall_network();
    else if (what == 37 && run->server)
        befall_server();
    else if (what == 38 && run->processes)
        befall_process(run);
    else if (what == 39 && run->foreign)
        befall_key();
    else if (what >= 40 && run->bus && run->bus_breaks)
        befall_bus();
    else if (sim_draw(4) == 0)
        for (int i = 0; i < SIM_NODES_MOST; i++)
            if (!sim_frozen(i))
                sim_net_block(i, 0);
}

/* All is well from now on: every call is answered, and what is read then is judged, too. */
static void settle(struct run *run)
{
    static const struct sim_weather fine = { 1, 0, 0 };
    static const size_t all[CLUSTER_KEYS] = { 0, 1, 2 };
    if (run->frozen >= 0)
        sim_thaw(run->frozen);
    for (int i = 0; i < SIM_NODES_MOST; i++) {
        sim_net_weather(i, &fine);
        if (!sim_frozen(i))
            sim_net_block(i, 0);
    }
    int member;
    struct sim_net *bus = cluster_bus(run->bus ? 0 : run->watcher, &member);
    if (bus != NULL)
        sim_net_heal(bus);
    for (int64_t passed = 0; cluster_calls_open() != 0; passed += 50) {
        if (passed > LOST_MS)
            sim_broken("%zu calls are never answered", cluster_calls_open());
        sim_pass(50);
    }
    int alive[SIM_NODES_MOST];
    size_t count = cluster_alive(alive);
    for (size_t i = 0; i < count; i++)
        if (run->batches && sim_draw(2) == 0)
            cluster_call_many(alive[i], CALL_GET_MANY, all, CLUSTER_KEYS, NULL);
        else
            for (size_t k = 0; k < CLUSTER_KEYS; k++)
                cluster_call(alive[i], CALL_GET, k, NULL);
    sim_pass(1000);
    if (cluster_calls_open() != 0)
        sim_broken("%zu calls are never answered", cluster_calls_open());
}

void sim_run_seed(uint64_t seed)
{
    struct run run;
    sim_world_open(seed);
    begin(&run);
    for (int i = 0; i < STEPS; i++)
        one_step(&run);
    settle(&run);
    cluster_close();
    sim_world_close();
    sim_net_close();
    sim_server_close();
}
