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
    uint32_t max_queued;
    int no_memory;
};

/* One more cache over the store. */
UNUSED static int fleet_join(struct fleet *fleet, const struct fleet_options *o, strata **out)
{
    strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 20 };
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

/* The origin of all nodes, and calls of theirs. */
struct origin {
    int calls;
    const char *value; /* NULL: absent */
    int fail, decline, not_modified;
    int pending; /* the next load is kept, and completed later */
    strata_load *kept;
    void (*meanwhile)(void *ctx);
    void *ctx;
};

UNUSED static int complete(struct origin *o, strata_load *load)
{
    if (o->fail < 0)
        return strata_load_fail(load, o->fail, "the origin is down");
    if (o->not_modified && strata_load_previous(load) != NULL)
        return strata_load_not_modified(load);
    if (o->value == NULL)
        return strata_load_absent(load);
    if (o->decline)
        return strata_load_decline(load, o->value, strlen(o->value));
    return strata_load_copy(load, o->value, strlen(o->value));
}

UNUSED static int load_from(strata_load *load, strata_slice key, void *ctx)
{
    struct origin *o = ctx;
    (void)key;
    o->calls++;
    if (o->meanwhile != NULL)
        o->meanwhile(o->ctx);
    if (!o->pending)
        return complete(o, load);
    o->pending = 0;
    o->kept = strata_load_ref(load);
    return STRATA_PENDING;
}

UNUSED static void complete_kept(struct origin *o)
{
    strata_load *load = o->kept;
    assert_non_null(load);
    o->kept = NULL;
    complete(o, load);
    strata_load_unref(load);
}

struct call {
    int done, status;
    char text[32];
};

UNUSED static void on_call(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct call *c = ctx;
    (void)err;
    c->done++;
    c->status = status;
    snprintf(c->text, sizeof c->text, "%.*s", (int)strata_value_size(value),
             value != NULL ? (const char *)strata_value_data(value) : "");
    strata_value_unref(value);
}

UNUSED static void ask(struct fleet *fleet, int node, struct origin *o, const strata_policy *policy, struct call *c)
{
    *c = (struct call){ 0 };
    int rc = strata_get_or_load_async(fleet->node[node], strata_str("k"), load_from, o, policy, NULL, on_call, c,
                                      &fleet->err);
    assert_int_equal(rc, STRATA_PENDING);
}

UNUSED static void assert_answer(const struct call *c, int status, const char *text)
{
    assert_int_equal(c->done, 1);
    assert_int_equal(c->status, status);
    assert_string_equal(c->text, text);
}

UNUSED static void assert_load(struct fleet *fleet, int node, struct origin *o, int status, const char *text)
{
    struct call c;
    ask(fleet, node, o, NULL, &c);
    fleet_run(fleet);
    assert_answer(&c, status, text);
}

/* What the store holds of "k". */
UNUSED static const char *in_store(struct fleet *fleet)
{
    static char text[32];
    strata_meta meta;
    size_t size = lease_store_value(fleet->store, strata_str("k"), text, sizeof text - 1, &meta);
    if (size == SIZE_MAX)
        return "nothing";
    text[size] = 0;
    return text;
}

/* What a node's memory holds of it; its version. */
UNUSED static int in_memory(struct fleet *fleet, int node, uint64_t *version)
{
    strata *h = fleet->node[node];
    struct layer_slot *slot = &h->root->layers[0];
    strata_slice k = strata_str("k");
    struct key_forms forms = { .plain = k, .storage = k, .hash = handle_hash(h, k) };
    strata_op op;
    strata_error words;
    op_init(&op, h, slot, &forms, STRATA_OP_GET, ex_now_ms(h->root->ex), &words);
    strata__instant_submit(slot, &op);
    strata_value_unref(op.found);
    if (version != NULL)
        *version = op.meta.version;
    return strata__op_found(&op);
}

#endif /* STRATA_TESTS_LEASE_FIXTURE_H */
