/* coherence_fixture.h - several caches on one simulated executor, over one store or none, and one net that carries what they tell
 * each other. */
#ifndef STRATA_TESTS_COHERENCE_FIXTURE_H
#define STRATA_TESTS_COHERENCE_FIXTURE_H
#include "tests/support/sim_bus.h"
#include "tests/unit/lease_fixture.h"

enum { TRUST_MS = 3000, SUSPECT_MS = 30000, ORDERED = STRATA_BUS_ORDERED | STRATA_BUS_REPLAYS, MORE_NODES = 3 };

struct nodes {
    struct executor *sim;
    struct lease_store *store; /* NULL: they share nothing */
    struct sim_net *net;
    strata *node[MORE_NODES];
    int count;
    strata_error err;
};

struct nodes_options {
    int count; /* 0: 2 */
    int no_store;
    struct sim_net_options net;
    strata_coherence_options coherence; /* size 0: the defaults */
    const strata_policy *policy;
    const strata_allocator *allocator;
    uint64_t seed;
    int32_t write_policy;
    uint32_t max_unleased;
    uint32_t store_flags; /* more of them */
};

UNUSED static int nodes_join(struct nodes *n, const struct nodes_options *o, strata **out)
{
    strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 20 };
    strata_layer *layers[2] = { strata_memory_layer(&m), NULL };
    strata_bus *bus = sim_net_bus(n->net);
    strata_options options = STRATA_OPTIONS_INIT;
    if (n->store != NULL)
        layers[1] = lease_store_layer(n->store);
    if (layers[1] != NULL)
        layers[1]->flags |= o->store_flags;
    options.layers = layers;
    options.layer_count = n->store != NULL ? 2 : 1;
    options.buses = &bus;
    options.bus_count = 1;
    options.coherence = o->coherence.size != 0 ? &o->coherence : NULL;
    options.policy = o->policy;
    options.allocator = o->allocator;
    options.write_policy = o->write_policy;
    options.max_unleased_loads = o->max_unleased;
    return strata__open_with(out, &options, share_executor(n->sim), &n->err);
}

UNUSED static void nodes_begin(struct nodes *n, const struct nodes_options *o)
{
    memset(n, 0, sizeof *n);
    assert_int_equal(strata__executor_sim_new(&n->sim, NULL, o->seed != 0 ? o->seed : 1, &n->err), STRATA_OK);
    n->net = sim_net_new(&o->net);
    n->store = o->no_store ? NULL : lease_store_new(0, 100);
    n->count = o->count != 0 ? o->count : 2;
}

UNUSED static void nodes_open(struct nodes *n, const struct nodes_options *o)
{
    nodes_begin(n, o);
    for (int i = 0; i < n->count; i++) {
        int rc = nodes_join(n, o, &n->node[i]);
        if (rc != STRATA_OK)
            print_error("open: %s: %s\n", n->err.where, n->err.message);
        assert_int_equal(rc, STRATA_OK);
    }
    strata__executor_sim_advance(n->sim, 20);
}

UNUSED static void nodes_end(struct nodes *n)
{
    if (n->store != NULL)
        assert_int_equal(lease_store_free(n->store), 0);
    n->sim->ops->stop(n->sim);
    sim_net_free(n->net);
}

UNUSED static void nodes_close(struct nodes *n)
{
    for (int i = 0; i < n->count; i++)
        assert_true(strata_close(n->node[i]) >= 0);
    nodes_end(n);
}

UNUSED static void nodes_pass(struct nodes *n, int64_t ms) { strata__executor_sim_advance(n->sim, ms); }
UNUSED static void nodes_run(struct nodes *n) { strata__executor_sim_run(n->sim); }

UNUSED static strata_health health_of(strata *cache)
{
    strata_health h = STRATA_HEALTH_INIT;
    assert_int_equal(strata_health_get(cache, &h, NULL), STRATA_OK);
    return h;
}

UNUSED static strata_slice k(const char *key) { return strata_str(key); }

/* Status of a get; what it gave is copied to `room`. */
UNUSED static int get_text(strata *cache, const char *key, char room[64])
{
    strata_value *v;
    int rc = strata_get(cache, strata_str(key), &v, NULL);
    room[0] = 0;
    if (v != NULL)
        snprintf(room, 64, "%.*s", (int)strata_value_size(v), (const char *)strata_value_data(v));
    strata_value_unref(v);
    return rc;
}

#endif /* STRATA_TESTS_COHERENCE_FIXTURE_H */
