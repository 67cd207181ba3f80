/* test_core_adaptive.c - keys that are read more are fresh for longer, through a cache. */
#include "tests/support/fail_alloc.h"
#include "tests/unit/coherence_fixture.h"
#include "tests/unit/core_fixture.h"

static strata_policy adaptive_policy(void)
{
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 1000;
    p.adaptive = STRATA_ON;
    return p;
}

static int64_t ttl_of(struct stack *st, const char *key)
{
    int64_t ms = -1;
    return strata_ttl(st->cache, strata_str(key), &ms, NULL) == STRATA_OK ? ms : -1;
}

static void load(struct stack *st, const char *key, const strata_policy *policy)
{
    struct origin o = { .st = st, .value = "v" };
    assert_load(st, key, &o, policy, STRATA_OK, "v");
    run(st);
}

static void read_often(struct stack *st, const char *key, int hits)
{
    for (int i = 0; i < hits; i++)
        if (i % 2)
            load(st, key, NULL);
        else
            assert_get(st, key, STRATA_OK, "v");
}

/* The ttl that a load gives after so many hits, of a key that nobody has read before. */
static int64_t after_hits(struct stack *st, const char *key, int hits)
{
    strata_policy off = STRATA_POLICY_INIT;
    off.adaptive = STRATA_OFF;
    load(st, key, &off);
    read_often(st, key, hits);
    pass(st, 5000);
    load(st, key, NULL);
    return ttl_of(st, key);
}

/* Memory alone, over a slower layer, and a slower layer alone, for which hits run other ways. */
static void test_hits_make_it_longer(void **state)
{
    (void)state;
    strata_policy p = adaptive_policy();
    for (int stack = 0; stack < 3; stack++) {
        struct stack st;
        open_stack(&st, &(struct stack_options){ .policy = &p, .with_slow = stack == 1, .only_slow = stack == 2 });
        assert_int_equal(after_hits(&st, "a", 0), 1000);
        assert_int_equal(after_hits(&st, "b", 2), 1000);
        assert_int_equal(after_hits(&st, "c", 3), 1500);
        assert_int_equal(after_hits(&st, "d", 6), 2000);
        assert_int_equal(after_hits(&st, "e", 12), 3000);
        assert_int_equal(after_hits(&st, "k", 500), 3000);
        close_stack(&st);
    }
}

/* What is not read any more is fresh for ttl_ms again, step by step. */
static void test_it_cools(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = adaptive_policy();
    open_policy(&st, &p);
    assert_int_equal(after_hits(&st, "k", 500), 3000);
    int64_t before = 3000;
    for (int i = 0; i < 6; i++) {
        pass(&st, 5000);
        load(&st, "k", NULL);
        assert_true(ttl_of(&st, "k") <= before);
        before = ttl_of(&st, "k");
    }
    assert_int_equal(before, 1000);
    close_stack(&st);
}

enum { DELETED, DELETED_WITH_OTHERS, SET, EXPIRED, CLEARED, BANNED_BY_PREFIX, BANNED_BY_TAG, WAYS };

static void invalidate(strata *cache, int way)
{
    strata_slice key = strata_str("k");
    int rc = STRATA_OK;
    switch (way) {
    case DELETED: rc = strata_delete(cache, key, NULL); break;
    case DELETED_WITH_OTHERS: rc = strata_delete_many(cache, &(strata_item){ .key = key }, 1, NULL); break;
    case SET: rc = strata_set(cache, key, strata_str("v"), NULL, NULL); break;
    case EXPIRED: rc = strata_expire(cache, key, NULL); break;
    case CLEARED: rc = strata_clear(cache, NULL); break;
    case BANNED_BY_PREFIX: rc = strata_ban_prefix(cache, key, STRATA_BAN_HARD, NULL); break;
    default: rc = strata_ban_tag(cache, "t", STRATA_BAN_HARD, NULL); break;
    }
    assert_true(rc >= 0);
}

/* How often a key is read has nothing to do with what is held of it: however that was invalidated, what is loaded next is fresh for as long. */
static void test_hits_are_the_keys(void **state)
{
    (void)state;
    const strata_policy p = adaptive_policy();
    for (int way = 0; way < WAYS; way++) {
        struct stack st;
        open_policy(&st, &p);
        load(&st, "k", NULL);
        read_often(&st, "k", 20);
        invalidate(st.cache, way);
        pass(&st, 5000);
        load(&st, "k", NULL);
        assert_int_equal(ttl_of(&st, "k"), 3000);
        close_stack(&st);
    }
}

/* Another node's word, too. */
static void test_a_peer_s_delete_leaves_hits(void **state)
{
    (void)state;
    const strata_policy p = adaptive_policy();
    for (int way = 0; way < 3; way++) {
        struct nodes n;
        nodes_open(&n, &(struct nodes_options){ .policy = &p });
        struct stack st = { .ex = n.sim, .cache = n.node[0] };
        load(&st, "k", NULL);
        read_often(&st, "k", 20);
        invalidate(n.node[1], way == 0 ? DELETED : way == 1 ? CLEARED : BANNED_BY_PREFIX);
        nodes_pass(&n, 10);
        load(&st, "k", NULL);
        assert_int_equal(ttl_of(&st, "k"), 3000);
        nodes_close(&n);
    }
}

/* A namespace counts for itself; who calls may say by how much, or switch it off, but not on. */
static void test_levels(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = adaptive_policy(), call = STRATA_POLICY_INIT, plain = STRATA_POLICY_INIT;
    struct origin o = { .st = &st, .value = "v" };
    strata_value *v;
    plain.ttl_ms = 1000;
    open_policy(&st, &plain);
    strata *root = st.cache;
    strata_namespace_options n = STRATA_NAMESPACE_OPTIONS_INIT;
    n.policy = &p;
    call.adaptive = STRATA_ON;
    assert_int_equal(strata_get_or_load(root, strata_str("k"), origin_loader, &o, &call, &v, &st.err), STRATA_EINVAL);
    assert_non_null(strstr(st.err.message, "namespace"));
    assert_int_equal(strata_set(root, strata_str("k"), strata_str("v"), &call, &st.err), STRATA_EINVAL);
    assert_int_equal(strata_namespace(root, "hot", &n, &st.cache, &st.err), STRATA_OK);
    load(&st, "k", &call);
    for (int i = 0; i < 40; i++)
        assert_get(&st, "k", STRATA_OK, "v");
    call.adaptive = 0;
    call.adaptive_step_ms = 10;
    pass(&st, 5000);
    load(&st, "k", &call);
    assert_int_equal(ttl_of(&st, "k"), 1040);
    call.adaptive = STRATA_OFF;
    pass(&st, 5000);
    load(&st, "k", &call);
    assert_int_equal(ttl_of(&st, "k"), 1000);
    assert_int_equal(strata_close(st.cache), STRATA_OK);
    st.cache = root;
    for (int i = 0; i < 40; i++) { /* the same key of another namespace */
        load(&st, "k", NULL);
        pass(&st, 10);
    }
    pass(&st, 5000);
    load(&st, "k", NULL);
    assert_int_equal(ttl_of(&st, "k"), 1000);
    close_stack(&st);
}

static void test_with_jitter_and_sliding(void **state)
{
    (void)state;
    struct stack st;
    strata_policy p = adaptive_policy();
    p.jitter_ms = 100;
    p.sliding = STRATA_ON;
    open_policy(&st, &p);
    int64_t ttl = after_hits(&st, "k", 100);
    assert_in_range(ttl, 2900, 3100);
    pass(&st, 2000);
    assert_get(&st, "k", STRATA_OK, "v");
    assert_int_equal(ttl_of(&st, "k"), ttl);
    close_stack(&st);
}

/* The table of counts is the only memory it takes; a cache without it is refused in words. */
static void test_without_memory(void **state)
{
    (void)state;
    strata_policy p = adaptive_policy();
    for (long nth = 1, over = 0; !over; nth++) {
        struct fail_alloc alloc;
        struct stack st;
        fail_alloc_init(&alloc, nth);
        strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 20 };
        memset(&st, 0, sizeof st);
        assert_int_equal(strata__executor_sim_new(&st.ex, NULL, 1, &st.err), STRATA_OK);
        strata_layer *layer = strata_memory_layer(&m);
        const strata_options o = { STRATA_SIZED(strata_options), .layers = &layer, .layer_count = 1, .policy = &p,
                                   .allocator = &alloc.mem };
        int rc = strata__open_with(&st.cache, &o, st.ex, &st.err);
        over = !atomic_load(&alloc.failed);
        assert_true(rc == STRATA_ENOMEM || rc == STRATA_OK);
        if (rc == STRATA_OK) {
            atomic_store(&alloc.fail_at, 0);
            load(&st, "k", NULL);
            close_stack(&st);
        }
        assert_int_equal(atomic_load(&alloc.live), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hits_make_it_longer),
        cmocka_unit_test(test_it_cools),
        cmocka_unit_test(test_hits_are_the_keys),
        cmocka_unit_test(test_a_peer_s_delete_leaves_hits),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_with_jitter_and_sliding),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests_name("adaptive, through a cache", tests, NULL, NULL);
}
