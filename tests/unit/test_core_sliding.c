/* test_core_sliding.c - hits extend what layers hold, and undo nothing. */
#include "tests/support/fail_alloc.h"
#include "tests/support/slow_layer.h"
#include "tests/unit/lease_fixture.h"

#include "tests/unit/core_fixture.h"

static strata_policy sliding_policy(void)
{
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 1000;
    p.sliding = STRATA_ON;
    return p;
}

static int64_t ttl_of(strata *cache)
{
    int64_t ms = -1;
    return strata_ttl(cache, strata_str("k"), &ms, NULL) == STRATA_OK ? ms : -1;
}

static void set(strata *cache, const char *text)
{
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str(text), NULL, NULL), STRATA_OK);
}

static void test_who_is_read_stays(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = sliding_policy();
    open_policy(&st, &p);
    set(st.cache, "v");
    pass(&st, 40);
    assert_get(&st, "k", STRATA_OK, "v");
    assert_int_equal(ttl_of(st.cache), 960); /* too soon */
    for (int i = 0; i < 20; i++) {
        pass(&st, 400);
        assert_get(&st, "k", STRATA_OK, "v");
        assert_int_equal(ttl_of(st.cache), 1000);
        assert_get(&st, "k", STRATA_OK, "v");
    }
    pass(&st, 1004);
    assert_get(&st, "k", STRATA_MISS, NULL);
    close_stack(&st);
}

static void test_no_longer_than(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = sliding_policy();
    p.sliding_max_ms = 2500;
    open_policy(&st, &p);
    set(st.cache, "v");
    for (int i = 1; i <= 6; i++) {
        pass(&st, 400);
        assert_get(&st, "k", STRATA_OK, "v");
        assert_true(ttl_of(st.cache) <= 2500 - 400 * i);
    }
    pass(&st, 104);
    assert_get(&st, "k", STRATA_MISS, NULL);
    close_stack(&st);
}

/* However many hits: one write in so much time. */
static void test_hits_do_not_write(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = sliding_policy();
    strata_layer_stats before = { .size = sizeof before }, after = { .size = sizeof after };
    p.sliding_percent = 50;
    open_policy(&st, &p);
    set(st.cache, "v");
    assert_int_equal(strata_stats_layer(st.cache, 0, &before), STRATA_OK);
    for (int i = 0; i < 1000; i++) {
        pass(&st, 10);
        assert_get(&st, "k", STRATA_OK, "v");
    }
    assert_int_equal(strata_stats_layer(st.cache, 0, &after), STRATA_OK);
    assert_in_range(after.puts - before.puts, 0, 21);
    close_stack(&st);
}

/* Windows, tags and the rest of an entry stay as they are; what is stale is not extended. */
static void test_only_what_is_fresh(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = sliding_policy();
    strata_slice tag = strata_str("red");
    p.stale_while_revalidate_ms = 5000;
    open_policy(&st, &p);
    assert_int_equal(strata_set_tagged(st.cache, strata_str("k"), strata_str("v"), &tag, 1, NULL, NULL), STRATA_OK);
    pass(&st, 900);
    assert_get(&st, "k", STRATA_OK, "v");
    pass(&st, 1100);
    for (int i = 0; i < 4; i++) {
        assert_get(&st, "k", STRATA_STALE, "v");
        pass(&st, 1000);
    }
    set(st.cache, "w");
    pass(&st, 900);
    assert_get(&st, "k", STRATA_OK, "w");
    assert_int_equal(strata_set_tagged(st.cache, strata_str("k"), strata_str("v"), &tag, 1, NULL, NULL), STRATA_OK);
    pass(&st, 500);
    assert_get(&st, "k", STRATA_OK, "v");
    assert_int_equal(strata_ban_tag(st.cache, "red", STRATA_BAN_HARD, NULL), STRATA_OK);
    assert_get(&st, "k", STRATA_MISS, NULL);
    close_stack(&st);
}

/* A slower layer of this node --------------------------------------------------------------------------------------- */

struct deep {
    struct executor *ex;
    strata *cache;
    strata_layer *slow;
};

static void open_deep(struct deep *d, const strata_policy *p, uint64_t seed, const strata_allocator *mem, int alone)
{
    strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 20 };
    strata_layer *layers[2];
    size_t n = 0;
    strata_error err;
    assert_int_equal(strata__executor_sim_new(&d->ex, mem, seed, &err), STRATA_OK);
    if (!alone)
        layers[n++] = strata_memory_layer(&m);
    layers[n++] = d->slow = slow_layer_new(5);
    const strata_options o = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = n, .policy = p,
                               .allocator = mem };
    assert_int_equal(strata__open_with(&d->cache, &o, d->ex, &err), STRATA_OK);
}

static strata_meta slow_meta(const struct deep *d)
{
    strata_meta meta;
    char bytes[8];
    memset(&meta, 0, sizeof meta);
    if (slow_layer_value(d->slow, 0, strata_str("k"), bytes, sizeof bytes, &meta) == SIZE_MAX)
        meta.fresh_ms = -1;
    return meta;
}

static int reads(strata *cache)
{
    strata_value *v = NULL;
    int rc = strata_get(cache, strata_str("k"), &v, NULL);
    strata_value_unref(v);
    return rc;
}

static void test_every_layer(void **state)
{
    (void)state;
    strata_policy p = sliding_policy();
    for (int alone = 0; alone < 2; alone++) {
        struct deep d;
        open_deep(&d, &p, 1, NULL, alone);
        set(d.cache, "v");
        strata_meta first = slow_meta(&d);
        for (int i = 1; i < 10; i++) {
            strata__executor_sim_advance(d.ex, 500);
            assert_int_equal(reads(d.cache), STRATA_OK);
            strata__executor_sim_advance(d.ex, 50);
            strata_meta now = slow_meta(&d);
            assert_in_range(now.fresh_ms, 550 * i, 550 * i + 1100);
            assert_int_equal(now.born_ms, first.born_ms);
            assert_int_equal(now.position, first.position);
        }
        assert_int_equal(strata_close(d.cache), STRATA_OK);
    }
}

/* Whatever comes while an extension is under way counts, whenever it comes: with any timing, what was deleted is gone, and what was set
 * is what is read. */
static void test_undoes_nothing(void **state)
{
    (void)state;
    strata_policy p = sliding_policy();
    for (uint64_t seed = 1; seed <= 240; seed++) {
        struct deep d;
        open_deep(&d, &p, seed, NULL, seed / 12 % 2);
        set(d.cache, "v");
        strata__executor_sim_advance(d.ex, 500);
        assert_int_equal(reads(d.cache), STRATA_OK);
        strata__executor_sim_advance(d.ex, (int64_t)(seed % 12));
        int what = (int)(seed / 24 % 5);
        if (what == 0)
            assert_int_equal(strata_delete(d.cache, strata_str("k"), NULL), STRATA_OK);
        else if (what == 1)
            assert_int_equal(strata_clear(d.cache, NULL), STRATA_OK);
        else if (what == 2)
            assert_int_equal(strata_ban_prefix(d.cache, strata_str("k"), STRATA_BAN_HARD, NULL), STRATA_OK);
        else if (what == 3)
            assert_true(strata_expire(d.cache, strata_str("k"), NULL) >= 0);
        else
            set(d.cache, "w");
        for (int i = 0; i < 3; i++) {
            if (what == 4) {
                strata_value *v = NULL;
                assert_int_equal(strata_get(d.cache, strata_str("k"), &v, NULL), STRATA_OK);
                assert_value(v, "w");
            } else {
                assert_int_equal(reads(d.cache), STRATA_MISS);
            }
            strata__executor_sim_advance(d.ex, 20);
        }
        assert_int_equal(strata_close(d.cache), STRATA_OK);
    }
}

/* Closing while some are under way. */
static void test_close(void **state)
{
    (void)state;
    strata_policy p = sliding_policy();
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct deep d;
        open_deep(&d, &p, seed, NULL, 0);
        set(d.cache, "v");
        strata__executor_sim_advance(d.ex, 500);
        assert_int_equal(reads(d.cache), STRATA_OK);
        strata__executor_sim_advance(d.ex, (int64_t)(seed % 10));
        assert_int_equal(strata_close(d.cache), STRATA_OK);
    }
}

/* The n-th allocation fails: an extension less, and nothing else. */
static void test_without_memory(void **state)
{
    (void)state;
    strata_policy p = sliding_policy();
    for (long nth = 1, over = 0; !over; nth++) {
        struct fail_alloc alloc;
        struct deep d;
        fail_alloc_init(&alloc, 0);
        open_deep(&d, &p, 1, &alloc.mem, (int)(nth % 2));
        set(d.cache, "v");
        strata__executor_sim_advance(d.ex, 500);
        atomic_store(&alloc.fail_at, atomic_load(&alloc.requests) + (nth + 1) / 2);
        int rc = reads(d.cache);
        assert_true(rc == STRATA_OK || rc == STRATA_ENOMEM || rc == STRATA_ELAYER || (nth % 2 && rc == STRATA_MISS));
        strata__executor_sim_advance(d.ex, 50);
        over = !atomic_load(&alloc.failed) && nth > 2;
        atomic_store(&alloc.fail_at, 0);
        set(d.cache, "w");
        assert_int_equal(reads(d.cache), STRATA_OK);
        assert_int_equal(strata_close(d.cache), STRATA_OK);
        assert_int_equal(atomic_load(&alloc.live), 0);
    }
}

/* A store that several nodes share ------------------------------------------------------------------------------------ */

static void test_in_a_shared_store(void **state)
{
    (void)state;
    strata_policy p = sliding_policy();
    struct fleet fleet;
    struct fleet_options o = { .most_ms = 3, .policy = &p };
    fleet_open(&fleet, &o);
    set(fleet.node[0], "v");
    for (int i = 0; i < 10; i++) { /* its memory answers, and the store's copy lives on */
        strata__executor_sim_advance(fleet.sim, 600);
        assert_int_equal(reads(fleet.node[0]), STRATA_OK);
    }
    strata__executor_sim_advance(fleet.sim, 20);
    assert_int_equal(reads(fleet.node[1]), STRATA_OK);
    fleet_close(&fleet);
}

/* Another node deletes or sets while one extends: it stays so in the store. */
static void test_other_nodes_count(void **state)
{
    (void)state;
    strata_policy p = sliding_policy();
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct fleet fleet;
        struct fleet_options o = { .most_ms = 5, .policy = &p, .seed = seed, .no_memory = 1 };
        fleet_open(&fleet, &o);
        set(fleet.node[0], "v");
        strata__executor_sim_advance(fleet.sim, 500);
        assert_int_equal(reads(fleet.node[0]), STRATA_OK);
        strata__executor_sim_advance(fleet.sim, (int64_t)(seed % 20));
        if (seed % 2)
            assert_int_equal(strata_delete(fleet.node[1], strata_str("k"), NULL), STRATA_OK);
        else
            set(fleet.node[1], "w");
        strata__executor_sim_advance(fleet.sim, 100);
        for (int i = 0; i < NODES; i++) {
            strata_value *v = NULL;
            assert_int_equal(strata_get(fleet.node[i], strata_str("k"), &v, NULL), seed % 2 ? STRATA_MISS : STRATA_OK);
            if (v != NULL)
                assert_value(v, "w");
        }
        fleet_close(&fleet);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_read_stays),
        cmocka_unit_test(test_no_longer_than),
        cmocka_unit_test(test_hits_do_not_write),
        cmocka_unit_test(test_only_what_is_fresh),
        cmocka_unit_test(test_every_layer),
        cmocka_unit_test(test_undoes_nothing),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_in_a_shared_store),
        cmocka_unit_test(test_other_nodes_count),
    };
    return cmocka_run_group_tests_name("sliding in a cache", tests, NULL, NULL);
}
