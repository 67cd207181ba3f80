/* test_core_lease_ways.c - leases on other ways than a single key's first load: refreshes, closing, many keys, deeper stacks. */
#include "tests/support/fail_alloc.h"
#include "tests/support/map_store.h"
#include "tests/unit/lease_calls.h"

static const strata_policy stale_policy = { STRATA_SIZED(strata_policy), .ttl_ms = 100,
                                            .stale_while_revalidate_ms = 10000, .retry_ms = 50 };

/* Sets --------------------------------------------------------------------------------------------------------------- */

/* Of what this node's memory has of "k"; SIZE_MAX there is none. */
static uint64_t version_in_memory(strata *cache)
{
    struct key_forms forms = { .plain = strata_str("k"), .storage = strata_str("k") };
    strata_error words = STRATA_ERROR_INIT;
    strata_op op;
    forms.hash = handle_hash(cache, forms.plain);
    op_init(&op, cache, &cache->root->layers[0], &forms, STRATA_OP_GET, ex_now_ms(cache->root->ex), &words);
    strata__instant_submit(&cache->root->layers[0], &op);
    if (!strata__op_found(&op))
        return SIZE_MAX;
    strata_value_unref(op.found);
    return op.meta.version;
}

static uint64_t version_in_store(struct fleet *fleet)
{
    strata_meta meta;
    char text[32];
    assert_true(lease_store_value(fleet->store, strata_str("k"), text, sizeof text, &meta) != SIZE_MAX);
    return meta.version;
}

static void memory_has_none(void *ctx) { assert_int_equal(version_in_memory(ctx), SIZE_MAX); }

static void test_a_set_is_known_by_its_version(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "loaded" };
    fleet_open(&fleet, &(struct fleet_options){ .policy = &stale_policy });
    lease_store_before(fleet.store, STRATA_OP_PUT, memory_has_none, fleet.node[0]);
    assert_int_equal(strata_set(fleet.node[0], strata_str("k"), strata_str("set"), NULL, NULL), STRATA_OK);
    uint64_t first = version_in_store(&fleet);
    assert_int_not_equal(first, 0);
    assert_int_equal(version_in_memory(fleet.node[0]), first);
    assert_int_equal(strata_set(fleet.node[0], strata_str("k"), strata_str("again"), NULL, NULL), STRATA_OK);
    assert_true(version_in_store(&fleet) > first);
    assert_int_equal(version_in_memory(fleet.node[0]), version_in_store(&fleet));
    assert_int_equal(strata_expire(fleet.node[0], strata_str("k"), NULL), STRATA_OK); /* into its stale window */
    assert_int_equal(version_in_memory(fleet.node[0]), version_in_store(&fleet));
    assert_load(&fleet, 0, &o, STRATA_STALE, "again");
    fleet_run(&fleet);
    assert_load(&fleet, 0, &o, STRATA_OK, "loaded");
    fleet_close(&fleet);
}

/* A store that fails has no version to give; the value is held here all the same. */
static void test_a_set_that_the_store_refuses(void **state)
{
    (void)state;
    struct fleet fleet;
    fleet_open(&fleet, &(struct fleet_options){ 0 });
    lease_store_fail(fleet.store, STRATA_OP_PUT, STRATA_EIO);
    assert_int_equal(strata_set(fleet.node[0], strata_str("k"), strata_str("v"), NULL, NULL), STRATA_ELAYER);
    assert_int_equal(version_in_memory(fleet.node[0]), 0);
    fleet_close(&fleet);
}

/* A store between that keeps the version it is given, and counts none. */
static void test_the_version_comes_through_a_store_without(void **state)
{
    (void)state;
    struct fleet fleet;
    fleet_begin(&fleet, &(struct fleet_options){ 0 });
    struct map_store *map = map_store_new();
    strata_layer *layers[] = { strata_memory_layer(NULL),
                               strata_blocking_layer("map", STRATA_LAYER_SHARED, &map_store_ops, map),
                               lease_store_layer(fleet.store) };
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 3;
    options.policy = &stale_policy;
    assert_int_equal(strata__open_with(&fleet.node[0], &options, share_executor(fleet.sim), &fleet.err), STRATA_OK);
    strata *cache = fleet.node[0];
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("v"), NULL, &fleet.err), STRATA_OK);
    uint64_t first = version_in_store(&fleet);
    assert_int_equal(version_in_memory(cache), first);
    assert_int_equal(strata_expire(cache, strata_str("k"), &fleet.err), STRATA_OK);
    assert_true(version_in_store(&fleet) > first);
    assert_int_equal(version_in_memory(cache), version_in_store(&fleet));
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(lease_store_free(fleet.store), 0);
    fleet.sim->ops->stop(fleet.sim);
}

/* Refreshes ---------------------------------------------------------------------------------------------------------- */

static void test_one_refresh(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "1" };
    fleet_open(&fleet, &(struct fleet_options){ .policy = &stale_policy });
    for (int i = 0; i < NODES; i++)
        assert_load(&fleet, i, &o, STRATA_OK, "1");
    assert_int_equal(o.calls, 1);
    fleet_pass(&fleet, 150);
    o.value = "2";
    o.pending = 1;
    assert_load(&fleet, 0, &o, STRATA_STALE, "1"); /* and refreshes */
    assert_non_null(o.kept);
    assert_int_equal(store_counts(&fleet).refreshes, 1);
    assert_load(&fleet, 1, &o, STRATA_STALE, "1"); /* another one does that: given up */
    size_t asked = store_counts(&fleet).leases;
    assert_load(&fleet, 1, &o, STRATA_STALE, "1"); /* for a while nobody asks again */
    assert_int_equal(store_counts(&fleet).leases, asked);
    assert_int_equal(store_counts(&fleet).waiting, 0);
    assert_string_equal(in_store(&fleet), "1"); /* readable all the time */
    complete_kept(&o);
    fleet_run(&fleet);
    assert_int_equal(o.calls, 2);
    assert_load(&fleet, 0, &o, STRATA_OK, "2");
    fleet_pass(&fleet, 51);
    assert_load(&fleet, 1, &o, STRATA_STALE, "1"); /* finds it there, */
    assert_load(&fleet, 1, &o, STRATA_OK, "2");    /* and has it now */
    assert_int_equal(o.calls, 2);
    fleet_close(&fleet);
}

static void test_failed_refresh_keeps_what_is_there(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "1" };
    fleet_open(&fleet, &(struct fleet_options){ .policy = &stale_policy });
    assert_load(&fleet, 0, &o, STRATA_OK, "1");
    fleet_pass(&fleet, 150);
    o.fail = STRATA_EIO;
    assert_load(&fleet, 0, &o, STRATA_STALE, "1");
    assert_int_equal(o.calls, 2);
    assert_string_equal(in_store(&fleet), "1");
    assert_int_equal(store_counts(&fleet).released, 1);
    fleet_close(&fleet);
}

static void test_not_modified(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "1" };
    fleet_open(&fleet, &(struct fleet_options){ .policy = &stale_policy });
    assert_load(&fleet, 0, &o, STRATA_OK, "1");
    fleet_pass(&fleet, 150);
    o.not_modified = 1;
    assert_load(&fleet, 0, &o, STRATA_STALE, "1");
    assert_load(&fleet, 0, &o, STRATA_OK, "1");
    assert_load(&fleet, 1, &o, STRATA_OK, "1");
    assert_int_equal(o.calls, 2);
    fleet_close(&fleet);
}

/* What can't be served is replaced under a lease, and who waits gets what comes, not what is there. */
static void test_expired_entry_is_replaced(void **state)
{
    (void)state;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 100, .stale_if_error_ms = 10000 };
    struct fleet fleet;
    struct origin o = { .value = "1" };
    struct call a, b;
    fleet_open(&fleet, &(struct fleet_options){ .policy = &policy });
    assert_load(&fleet, 0, &o, STRATA_OK, "1");
    fleet_pass(&fleet, 150);
    o.value = "2";
    o.pending = 1;
    ask(&fleet, 0, &o, NULL, &a);
    fleet_run(&fleet);
    ask(&fleet, 1, &o, NULL, &b);
    fleet_run(&fleet);
    assert_int_equal(b.done, 0);
    complete_kept(&o);
    fleet_run(&fleet);
    assert_answer(&a, STRATA_OK, "2");
    assert_answer(&b, STRATA_OK, "2");
    assert_int_equal(o.calls, 2);
    fleet_close(&fleet);
}

static void delete_elsewhere(void *ctx)
{
    struct fleet *fleet = ctx;
    assert_int_equal(strata_delete(fleet->node[1], strata_str("k"), &fleet->err), STRATA_OK);
}

/* With the store as the nearest layer a failed load would put the old value back there, with word to wait a while. */
static void test_failed_load_brings_nothing_back(void **state)
{
    (void)state;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 100, .stale_if_error_ms = 10000 };
    struct fleet fleet;
    struct origin o = { .value = "1" };
    fleet_open(&fleet, &(struct fleet_options){ .policy = &policy, .no_memory = 1 });
    assert_load(&fleet, 0, &o, STRATA_OK, "1");
    fleet_pass(&fleet, 150);
    o.fail = STRATA_EIO;
    lease_store_before(fleet.store, STRATA_OP_LEASE, delete_elsewhere, &fleet); /* it was found just before */
    assert_load(&fleet, 0, &o, STRATA_STALE, "1");
    assert_string_equal(in_store(&fleet), "nothing");
    fleet_close(&fleet);
}

static void test_absence_takes_out_what_was_there(void **state)
{
    (void)state;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 100, .keep_ms = 10000 };
    struct fleet fleet;
    struct origin o = { .value = "1" };
    fleet_open(&fleet, &(struct fleet_options){ .policy = &policy });
    assert_load(&fleet, 0, &o, STRATA_OK, "1");
    fleet_pass(&fleet, 150);
    o.value = NULL;
    assert_load(&fleet, 0, &o, STRATA_ABSENT, "");
    assert_string_equal(in_store(&fleet), "nothing");
    assert_false(in_memory(&fleet, 0, NULL));
    fleet_close(&fleet);
}

/* Closing ------------------------------------------------------------------------------------------------------------ */

static void test_close_hurries(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "1", .pending = 1 };
    struct call a, b;
    fleet_open(&fleet, &(struct fleet_options){ .wait_ms = 1000000000 });
    ask(&fleet, 0, &o, NULL, &a);
    fleet_run(&fleet);
    ask(&fleet, 1, &o, NULL, &b);
    fleet_run(&fleet);
    assert_int_equal(store_counts(&fleet).waiting, 1);
    int64_t before = ex_now_ms(fleet.sim);
    assert_int_equal(strata_close(fleet.node[1]), STRATA_OK);
    assert_true(ex_now_ms(fleet.sim) - before < 1000);
    assert_int_equal(store_counts(&fleet).hurries, 1);
    assert_answer(&b, STRATA_ECLOSED, "");
    assert_int_equal(fleet_join(&fleet, &(struct fleet_options){ 0 }, &fleet.node[1]), STRATA_OK);
    complete_kept(&o);
    fleet_run(&fleet);
    assert_answer(&a, STRATA_OK, "1");
    fleet_close(&fleet);
}

static void test_leader_closes(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "1", .pending = 1 };
    struct call a, b;
    fleet_open(&fleet, &(struct fleet_options){ .wait_ms = 1000000000 });
    ask(&fleet, 0, &o, NULL, &a);
    fleet_run(&fleet);
    ask(&fleet, 1, &o, NULL, &b);
    fleet_run(&fleet);
    assert_int_equal(strata_close(fleet.node[0]), STRATA_OK);
    fleet_run(&fleet);
    assert_answer(&a, STRATA_ECLOSED, "");
    assert_answer(&b, STRATA_OK, "1"); /* it has the lease now, and loads */
    assert_int_equal(o.calls, 2);
    strata_load_unref(o.kept);
    assert_int_equal(fleet_join(&fleet, &(struct fleet_options){ 0 }, &fleet.node[0]), STRATA_OK);
    fleet_close(&fleet);
}

/* Bulk ---------------------------------------------------------------------------------------------------------------- */

struct bulk_call {
    strata_item items[3];
    struct origin origin;
    strata_load *kept[3];
    size_t kept_count;
    int done;
};

static int load_some(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    struct bulk_call *b = ctx;
    (void)keys;
    b->origin.calls += (int)count;
    for (size_t i = 0; i < count; i++)
        if (b->origin.pending)
            b->kept[b->kept_count++] = strata_load_ref(loads[i]);
        else
            complete(&b->origin, loads[i]);
    return b->origin.pending ? STRATA_PENDING : STRATA_OK;
}

static void on_bulk(int status, strata_value *value, const strata_error *err, void *ctx)
{
    (void)status;
    (void)value;
    (void)err;
    ((struct bulk_call *)ctx)->done++;
}

static void ask_many(struct fleet *fleet, int node, struct bulk_call *b, const char *x, const char *y)
{
    b->items[0].key = strata_str(x);
    b->items[1].key = strata_str(y);
    int rc = strata_get_or_load_many_async(fleet->node[node], b->items, 2, load_some, b, NULL, NULL, on_bulk, b,
                                           &fleet->err);
    assert_int_equal(rc, STRATA_PENDING);
}

static void end_bulk(struct bulk_call *b)
{
    assert_int_equal(b->done, 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(b->items[i].status, STRATA_OK);
        strata_value_unref(b->items[i].value);
    }
}

static void test_bulk_loads_before_it_waits(void **state)
{
    (void)state;
    struct fleet fleet;
    struct bulk_call a = { .origin = { .value = "v", .pending = 1 } }, b = { .origin = { .value = "v" } };
    struct origin o = { .value = "v", .pending = 1 };
    struct call single;
    fleet_open(&fleet, &(struct fleet_options){ .wait_ms = 1000000000 });
    ask(&fleet, 0, &o, NULL, &single); /* k is leased by node 0 */
    fleet_run(&fleet);
    ask_many(&fleet, 1, &b, "k", "x");
    fleet_run(&fleet);
    assert_int_equal(b.origin.calls, 1); /* x: while k is waited for */
    assert_int_equal(b.done, 0);
    ask_many(&fleet, 0, &a, "x", "y"); /* x is there by now */
    fleet_run(&fleet);
    assert_int_equal(a.origin.calls, 1);
    complete_kept(&o);
    strata_load_copy(a.kept[0], "v", 1);
    strata_load_unref(a.kept[0]);
    fleet_run(&fleet);
    assert_answer(&single, STRATA_OK, "v");
    end_bulk(&a);
    end_bulk(&b);
    assert_int_equal(b.origin.calls, 1);
    fleet_close(&fleet);
}

static void test_bulk_in_opposite_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct fleet fleet;
        struct bulk_call a = { .origin = { .value = "v" } }, b = { .origin = { .value = "v" } };
        fleet_open(&fleet, &(struct fleet_options){ .seed = seed, .most_ms = 3, .wait_ms = 1000000000 });
        ask_many(&fleet, 0, &a, "x", "y");
        ask_many(&fleet, 1, &b, "y", "x");
        fleet_pass(&fleet, 200);
        end_bulk(&a);
        end_bulk(&b);
        assert_int_equal(a.origin.calls + b.origin.calls, 2);
        fleet_close(&fleet);
    }
}

/* A stack that has something below ------------------------------------------------------------------------------------ */

static void test_backfill_is_told(void **state)
{
    (void)state;
    struct fleet fleet;
    struct lease_store *below = lease_store_new(0, 100);
    strata *cache;
    strata_value *v = NULL;
    fleet_begin(&fleet, &(struct fleet_options){ 0 });
    strata_layer *far = lease_store_layer(below);
    far->flags = STRATA_LAYER_SHARED; /* the nearer one is the farthest that gives leases */
    strata_layer *layers[] = { strata_memory_layer(NULL), lease_store_layer(fleet.store), far };
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 3;
    assert_int_equal(strata__open_with(&cache, &options, share_executor(fleet.sim), &fleet.err), STRATA_OK);
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("v"), NULL, &fleet.err), STRATA_OK);
    lease_store_flush(fleet.store);
    struct key_forms forms = { .plain = strata_str("k"),
                               .storage = strata_str("k"),
                               .hash = handle_hash(cache, strata_str("k")) };
    strata_op op;
    strata_error words;
    op_init(&op, cache, &cache->root->layers[0], &forms, STRATA_OP_REMOVE, ex_now_ms(cache->root->ex), &words);
    strata__instant_submit(&cache->root->layers[0], &op); /* memory forgets it */
    assert_int_equal(strata_get(cache, strata_str("k"), &v, &fleet.err), STRATA_OK);
    strata_value_unref(v);
    fleet_run(&fleet);
    assert_int_equal(store_counts(&fleet).backfills, 1);
    assert_string_equal(in_store(&fleet), "v");
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(lease_store_free(fleet.store), 0);
    assert_int_equal(lease_store_free(below), 0);
    fleet.sim->ops->stop(fleet.sim);
}

/* What one read may cost ---------------------------------------------------------------------------------------------- */

static void test_a_lease_is_told_when_its_read_began(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "v" };
    struct call c;
    fleet_open(&fleet, &(struct fleet_options){ .most_ms = 1000 });
    fleet_pass(&fleet, 5000);
    int64_t began = ex_now_ms(fleet.sim);
    ask(&fleet, 0, &o, NULL, &c);
    fleet_pass(&fleet, 10000);
    assert_answer(&c, STRATA_OK, "v");
    assert_int_equal(store_counts(&fleet).asked_ms, began);
    assert_true(store_counts(&fleet).used_ms > 0); /* its GET took some of it */
    fleet_close(&fleet);
}

static void test_what_one_read_waited_for_was_asked_in_its_time(void **state)
{
    (void)state;
    struct fleet fleet;
    struct origin o = { .value = "v", .pending = 1 };
    struct bulk_call b = { .origin = { .value = "v" } };
    struct call c;
    fleet_open(&fleet, &(struct fleet_options){ .most_ms = 1000, .wait_ms = 1000000000 });
    ask(&fleet, 0, &o, NULL, &c);
    fleet_pass(&fleet, 10000);
    int64_t began = ex_now_ms(fleet.sim);
    ask_many(&fleet, 1, &b, "k", "k2"); /* asks without waiting, loads what it may, and then asks again and waits */
    fleet_pass(&fleet, 20000);
    assert_int_equal(store_counts(&fleet).waiting, 1);
    assert_true(store_counts(&fleet).asked_ms >= began);
    assert_true(store_counts(&fleet).used_ms > 0);
    complete_kept(&o);
    fleet_pass(&fleet, 10000);
    assert_answer(&c, STRATA_OK, "v");
    end_bulk(&b);
    fleet_close(&fleet);
}

/* The time that others take is not the leasing layer's. */
static void test_a_layer_below_uses_up_nothing(void **state)
{
    (void)state;
    struct fleet fleet;
    struct lease_store *below = lease_store_new(1000, 100);
    struct origin o = { .value = "v" };
    struct call c;
    fleet_begin(&fleet, &(struct fleet_options){ 0 });
    strata_layer *far = lease_store_layer(below);
    far->flags = STRATA_LAYER_SHARED;
    strata_layer *layers[] = { lease_store_layer(fleet.store), far };
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 2;
    assert_int_equal(strata__open_with(&fleet.node[0], &options, share_executor(fleet.sim), &fleet.err), STRATA_OK);
    int64_t began = ex_now_ms(fleet.sim);
    ask(&fleet, 0, &o, NULL, &c);
    fleet_pass(&fleet, 10000);
    assert_answer(&c, STRATA_OK, "v");
    assert_int_equal(store_counts(&fleet).leases, 1);
    assert_true(store_counts(&fleet).asked_ms > began);
    assert_int_equal(store_counts(&fleet).used_ms, 0);
    assert_int_equal(strata_close(fleet.node[0]), STRATA_OK);
    assert_int_equal(lease_store_free(fleet.store), 0);
    assert_int_equal(lease_store_free(below), 0);
    fleet.sim->ops->stop(fleet.sim);
}

static void test_flags_are_checked(void **state)
{
    (void)state;
    struct fleet fleet;
    strata *cache;
    fleet_begin(&fleet, &(struct fleet_options){ 0 });
    strata_layer *layer = lease_store_layer(fleet.store);
    layer->flags |= STRATA_LAYER_BLOCKS;
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = &layer;
    options.layer_count = 1;
    assert_int_equal(strata__open_with(&cache, &options, share_executor(fleet.sim), &fleet.err), STRATA_EINVAL);
    assert_non_null(strstr(fleet.err.message, "leases"));
    assert_int_equal(lease_store_free(fleet.store), 0);
    fleet.sim->ops->stop(fleet.sim);
}

/* Without memory -------------------------------------------------------------------------------------------------------- */

static void ask_for_all(struct fleet *fleet)
{
    struct origin o = { .value = "1" };
    struct bulk_call b[NODES] = { { .origin = { .value = "v" } }, { .origin = { .value = "v" } } };
    struct call c[NODES];
    int many[NODES];
    for (int i = 0; i < NODES; i++)
        if (strata_get_or_load_async(fleet->node[i], strata_str("k"), load_from, &o, NULL, NULL, on_call, &c[i], NULL) <
            0)
            c[i].done = 1;
    fleet_pass(fleet, 150); /* stale now */
    for (int i = 0; i < NODES; i++) {
        strata_value *v = NULL;
        (void)strata_get_or_load(fleet->node[i], strata_str("k"), load_from, &o, NULL, &v, NULL);
        strata_value_unref(v);
        b[i].items[0].key = strata_str(i == 0 ? "x" : "y");
        b[i].items[1].key = strata_str(i == 0 ? "y" : "x");
        many[i] = strata_get_or_load_many_async(fleet->node[i], b[i].items, 2, load_some, &b[i], NULL, NULL, on_bulk,
                                                &b[i], NULL);
    }
    fleet_pass(fleet, 300);
    for (int i = 0; i < NODES; i++) {
        assert_true(many[i] < 0 || b[i].done == 1);
        for (int n = 0; n < 2; n++)
            strata_value_unref(b[i].items[n].value);
    }
}

static void test_the_nth_allocation_fails(void **state)
{
    (void)state;
    int failed = 1;
    for (long n = 1; failed; n++) {
        struct fleet fleet;
        struct fail_alloc alloc;
        fail_alloc_init(&alloc, 0);
        const struct fleet_options o = { .most_ms = 2, .policy = &stale_policy, .allocator = &alloc.mem };
        fleet_open(&fleet, &o);
        atomic_store(&alloc.fail_at, atomic_load(&alloc.requests) + n);
        ask_for_all(&fleet);
        failed = atomic_load(&alloc.failed);
        atomic_store(&alloc.fail_at, 0);
        struct lease_store_counts counts = store_counts(&fleet);
        assert_int_equal(counts.granted, counts.ended);
        fleet_close(&fleet);
        assert_int_equal(atomic_load(&alloc.live), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_set_is_known_by_its_version),
        cmocka_unit_test(test_a_set_that_the_store_refuses),
        cmocka_unit_test(test_the_version_comes_through_a_store_without),
        cmocka_unit_test(test_one_refresh),
        cmocka_unit_test(test_failed_refresh_keeps_what_is_there),
        cmocka_unit_test(test_not_modified),
        cmocka_unit_test(test_expired_entry_is_replaced),
        cmocka_unit_test(test_failed_load_brings_nothing_back),
        cmocka_unit_test(test_absence_takes_out_what_was_there),
        cmocka_unit_test(test_close_hurries),
        cmocka_unit_test(test_leader_closes),
        cmocka_unit_test(test_bulk_loads_before_it_waits),
        cmocka_unit_test(test_bulk_in_opposite_order),
        cmocka_unit_test(test_backfill_is_told),
        cmocka_unit_test(test_a_lease_is_told_when_its_read_began),
        cmocka_unit_test(test_what_one_read_waited_for_was_asked_in_its_time),
        cmocka_unit_test(test_a_layer_below_uses_up_nothing),
        cmocka_unit_test(test_flags_are_checked),
        cmocka_unit_test(test_the_nth_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
