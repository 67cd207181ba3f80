/* lease_calls.h - an origin that all nodes of a fleet load from, calls of theirs, and what they and the store hold then. */
#ifndef STRATA_TESTS_LEASE_CALLS_H
#define STRATA_TESTS_LEASE_CALLS_H
#include "tests/unit/lease_fixture.h"

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

#endif /* STRATA_TESTS_LEASE_CALLS_H */
