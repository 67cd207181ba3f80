/* lease_fixture.h - several caches on one simulated executor, over one store that gives leases. */
#ifndef STRATA_TESTS_LEASE_FIXTURE_H
#define STRATA_TESTS_LEASE_FIXTURE_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/core/flight.h"
#include "src/loop/executor_sim.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/lease_store.h"

#define UNUSED __attribute__((unused))

enum { NODES = 2 };

/* A cache's executor: the simulator, which outlives it. */
struct shared_ex {
    struct executor base;
    struct executor *sim;
};

static inline struct executor *sim_of(struct executor *ex) { return ((struct shared_ex *)(void *)ex)->sim; }
static int sx_post(struct executor *ex, struct task *t) { return ex_post(sim_of(ex), t); }
static void sx_post_always(struct executor *ex, struct task *t) { ex_post_always(sim_of(ex), t); }
static void sx_at(struct executor *ex, struct timer *t, int64_t due) { ex_at(sim_of(ex), t, due); }
static int sx_cancel(struct executor *ex, struct timer *t) { return ex_cancel(sim_of(ex), t); }
static int sx_park(struct executor *ex, struct parker *p, int64_t d) { return ex_park(sim_of(ex), p, d); }
static void sx_unpark(struct executor *ex, struct parker *p) { ex_unpark(sim_of(ex), p); }
static int64_t sx_now_ms(struct executor *ex) { return ex_now_ms(sim_of(ex)); }
static int64_t sx_now_ns(struct executor *ex) { return ex_now_ns(sim_of(ex)); }
static int64_t sx_wall_ms(struct executor *ex) { return ex_wall_ms(sim_of(ex)); }
static uint64_t sx_random(struct executor *ex) { return ex_random(sim_of(ex)); }
static int sx_on_worker(struct executor *ex) { return ex_on_worker(sim_of(ex)); }
static void **sx_local(struct executor *ex) { return ex_local(sim_of(ex)); }
static void sx_stop(struct executor *ex) { free(ex); }

static const struct executor_ops shared_ops = { .post = sx_post,
                                                .post_always = sx_post_always,
                                                .at = sx_at,
                                                .cancel = sx_cancel,
                                                .park = sx_park,
                                                .unpark = sx_unpark,
                                                .now_ms = sx_now_ms,
                                                .now_ns = sx_now_ns,
                                                .wall_ms = sx_wall_ms,
                                                .random = sx_random,
                                                .on_worker = sx_on_worker,
                                                .local = sx_local,
                                                .stop = sx_stop };

static struct executor *share_executor(struct executor *sim)
{
    struct shared_ex *x = calloc(1, sizeof *x);
    if (x == NULL)
        abort();
    x->base.ops = &shared_ops;
    x->base.mem = sim->mem;
    x->sim = sim;
    return &x->base;
}

struct fleet {
    struct executor *sim;
    struct lease_store *store;
    strata *node[NODES];
    strata_error err;
};

struct fleet_options {
    uint64_t seed;
    int64_t most_ms, wait_ms;
    const strata_policy *policy;
    const strata_allocator *allocator;
    const strata_codec *codec;
    uint32_t max_queued, max_unleased;
    int no_memory;
    int32_t memory_policy;
};

/* One more cache over the store. */
UNUSED static int fleet_join(struct fleet *fleet, const struct fleet_options *o, strata **out)
{
    strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 20, .policy = o->memory_policy };
    strata_layer *layers[2];
    size_t n = 0;
    if (!o->no_memory)
        layers[n++] = strata_memory_layer(&m);
    layers[n++] = lease_store_layer(fleet->store);
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = n;
    options.policy = o->policy;
    options.allocator = o->allocator;
    options.codec = o->codec;
    options.max_queued = o->max_queued;
    options.max_unleased_loads = o->max_unleased;
    return strata__open_with(out, &options, share_executor(fleet->sim), &fleet->err);
}

UNUSED static void fleet_begin(struct fleet *fleet, const struct fleet_options *o)
{
    memset(fleet, 0, sizeof *fleet);
    assert_int_equal(strata__executor_sim_new(&fleet->sim, NULL, o->seed != 0 ? o->seed : 1, &fleet->err), STRATA_OK);
    fleet->store = lease_store_new(o->most_ms, o->wait_ms != 0 ? o->wait_ms : 100);
}

UNUSED static void fleet_open(struct fleet *fleet, const struct fleet_options *o)
{
    fleet_begin(fleet, o);
    for (int i = 0; i < NODES; i++) {
        int rc = fleet_join(fleet, o, &fleet->node[i]);
        if (rc != STRATA_OK)
            print_error("open: %s: %s\n", fleet->err.where, fleet->err.message);
        assert_int_equal(rc, STRATA_OK);
    }
}

/* Every lease was ended. */
UNUSED static void fleet_close(struct fleet *fleet)
{
    for (int i = 0; i < NODES; i++)
        assert_int_equal(strata_close(fleet->node[i]), STRATA_OK);
    assert_int_equal(lease_store_free(fleet->store), 0);
    fleet->sim->ops->stop(fleet->sim);
}

UNUSED static void fleet_run(struct fleet *fleet) { strata__executor_sim_run(fleet->sim); }
UNUSED static void fleet_pass(struct fleet *fleet, int64_t ms) { strata__executor_sim_advance(fleet->sim, ms); }

UNUSED static struct lease_store_counts store_counts(struct fleet *fleet)
{
    struct lease_store_counts c;
    lease_store_counts(fleet->store, &c);
    return c;
}

UNUSED static strata_stats node_stats(struct fleet *fleet, int node)
{
    strata_stats s = { .size = sizeof s };
    assert_int_equal(strata_stats_get(fleet->node[node], &s), STRATA_OK);
    return s;
}

#endif /* STRATA_TESTS_LEASE_FIXTURE_H */
