/* test_resident.c - strata_policy.resident: what eviction does not choose, whoever asks, however it comes in, and how it ends. */
#include "strata/ban.h"
#include "tests/unit/core_fixture.h"

static const strata_policy resident = { STRATA_SIZED(strata_policy), .resident = STRATA_ON };
static const strata_policy evictable = { STRATA_SIZED(strata_policy), .resident = STRATA_OFF };

static strata_layer_stats memory_of(struct stack *st)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(st->cache, 0, &s), STRATA_OK);
    return s;
}

static void set(struct stack *st, const char *key, const char *text, const strata_policy *policy)
{
    assert_int_equal(strata_set(st->cache, strata_str(key), strata_str(text), policy, &st->err), STRATA_OK);
}

/* Far more than there is room for. */
static void flood(struct stack *st)
{
    for (int i = 0; i < 100; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "cold %d", i);
        set(st, key, "x", &evictable);
    }
}

static void open_small(struct stack *st, const strata_policy *policy)
{
    open_stack(st, &(struct stack_options){ .memory_entries = 16, .policy = policy });
}

static void test_a_set_stays(void **state)
{
    (void)state;
    struct stack st;
    open_small(&st, NULL);
    set(&st, "a", "1", &resident);
    set(&st, "b", "1", NULL);
    flood(&st);
    assert_get(&st, "a", STRATA_OK, "1");
    assert_get(&st, "b", STRATA_MISS, NULL);
    assert_int_equal(memory_of(&st).residents, 1);
    assert_true(memory_of(&st).resident_bytes >= 32);
    assert_int_equal(memory_of(&st).entries, 16); /* it counts */
    assert_int_equal(memory_of(&st).unkept, 0);
    close_stack(&st);
}

/* By the policy of the cache or of a namespace, without a word in the call: the short way of a set, too. */
static void test_levels(void **state)
{
    (void)state;
    struct stack st;
    strata *space;
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    options.policy = &resident;
    open_small(&st, NULL);
    assert_int_equal(strata_namespace(st.cache, "n", &options, &space, &st.err), STRATA_OK);
    assert_int_equal(strata_set(space, strata_str("a"), strata_str("1"), NULL, &st.err), STRATA_OK);
    assert_int_equal(strata_set(space, strata_str("b"), strata_str("1"), &evictable, &st.err), STRATA_OK);
    flood(&st);
    assert_int_equal(strata_has(space, strata_str("a"), &st.err), 1);
    assert_int_equal(strata_has(space, strata_str("b"), &st.err), 0);
    strata_close(space);
    close_stack(&st);
    open_small(&st, &resident);
    set(&st, "a", "1", NULL);
    flood(&st);
    assert_get(&st, "a", STRATA_OK, "1");
    close_stack(&st);
}

static void test_loads_and_the_loaders_word(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "1" };
    open_small(&st, NULL);
    assert_load(&st, "a", &o, &resident, STRATA_OK, "1");
    o.own = &resident;
    assert_load(&st, "b", &o, NULL, STRATA_OK, "1");
    o.own = &evictable;
    assert_load(&st, "c", &o, &resident, STRATA_OK, "1");
    flood(&st);
    assert_get(&st, "a", STRATA_OK, "1");
    assert_get(&st, "b", STRATA_OK, "1");
    assert_get(&st, "c", STRATA_MISS, NULL);
    close_stack(&st);
}

/* Slower layers know nothing of it: who reads decides. */
static void test_found_below(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "loaded" };
    open_stack(&st, &(struct stack_options){ .with_slow = 1, .memory_entries = 16 });
    set(&st, "a", "1", NULL);
    set(&st, "b", "1", NULL);
    flood(&st);
    assert_load(&st, "a", &o, &resident, STRATA_OK, "1");
    assert_load(&st, "b", &o, NULL, STRATA_OK, "1");
    run(&st);
    assert_int_equal(o.calls, 0);
    assert_int_equal(memory_of(&st).residents, 1);
    flood(&st);
    int gets = st.slow->gets;
    assert_get(&st, "a", STRATA_OK, "1");
    assert_int_equal(st.slow->gets, gets);
    assert_get(&st, "b", STRATA_OK, "1");
    assert_int_equal(st.slow->gets, gets + 1);
    close_stack(&st);
}

/* What replaces it by a policy without a word of that stays, too: a refresh, a set, what slides; one that says off ends it. */
static void test_what_replaces_it(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "3" };
    open_small(&st, NULL);
    set(&st, "a", "1", &resident);
    set(&st, "a", "2", NULL);
    flood(&st);
    assert_get(&st, "a", STRATA_OK, "2");
    assert_int_equal(strata_delete(st.cache, strata_str("a"), &st.err), STRATA_OK);
    strata_policy swr = resident;
    swr.ttl_ms = 10;
    swr.stale_while_revalidate_ms = 100000;
    assert_load(&st, "a", &o, &swr, STRATA_OK, "3");
    pass(&st, 20);
    o.value = "4";
    swr.resident = 0;
    assert_load(&st, "a", &o, &swr, STRATA_STALE, "3");
    run(&st);
    flood(&st);
    assert_get(&st, "a", STRATA_OK, "4");
    set(&st, "a", "5", &evictable);
    assert_int_equal(memory_of(&st).residents, 0);
    flood(&st);
    assert_get(&st, "a", STRATA_MISS, NULL);
    close_stack(&st);
}

static void test_how_it_ends(void **state)
{
    (void)state;
    struct stack st;
    strata_policy short_lived = resident;
    short_lived.ttl_ms = 10;
    open_small(&st, NULL);
    set(&st, "expires", "1", &short_lived);
    set(&st, "deleted", "1", &resident);
    set(&st, "banned", "1", &resident);
    set(&st, "cleared", "1", &resident);
    assert_int_equal(memory_of(&st).residents, 4);
    pass(&st, 20);
    assert_get(&st, "expires", STRATA_MISS, NULL);
    assert_int_equal(strata_delete(st.cache, strata_str("deleted"), &st.err), STRATA_OK);
    assert_get(&st, "deleted", STRATA_MISS, NULL);
    assert_int_equal(strata_ban_prefix(st.cache, strata_str("bann"), 0, &st.err), STRATA_OK);
    assert_get(&st, "banned", STRATA_MISS, NULL);
    assert_get(&st, "cleared", STRATA_OK, "1");
    assert_int_equal(strata_clear(st.cache, &st.err), STRATA_OK);
    assert_get(&st, "cleared", STRATA_MISS, NULL);
    pass(&st, 100000);
    assert_int_equal(memory_of(&st).residents, 0);
    assert_int_equal(memory_of(&st).resident_bytes, 0);
    close_stack(&st);
}

/* What is more than half is held as any entry is, and is no error. */
static void test_too_many(void **state)
{
    (void)state;
    struct stack st;
    open_small(&st, NULL);
    for (char key[] = "a"; key[0] < 'a' + 12; key[0]++)
        set(&st, key, "1", &resident);
    assert_int_equal(memory_of(&st).residents, 8);
    assert_int_equal(memory_of(&st).unkept, 4);
    assert_get(&st, "l", STRATA_OK, "1");
    flood(&st);
    assert_get(&st, "h", STRATA_OK, "1");
    assert_get(&st, "i", STRATA_MISS, NULL);
    set(&st, "a", "2", &resident); /* in its own place there is room */
    assert_int_equal(memory_of(&st).unkept, 4);
    assert_int_equal(strata_delete(st.cache, strata_str("a"), &st.err), STRATA_OK);
    set(&st, "i", "1", &resident);
    assert_int_equal(memory_of(&st).residents, 8);
    close_stack(&st);
}

/* "Absent" is soon found out again, and has a bound of its own. */
static void test_absent_is_not_resident(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = NULL };
    strata_policy p = resident;
    p.negative_ttl_ms = 100000;
    open_small(&st, NULL);
    set(&st, "a", "1", &resident);
    assert_load(&st, "b", &o, &p, STRATA_ABSENT, NULL);
    assert_int_equal(memory_of(&st).residents, 1);
    assert_int_equal(strata_delete(st.cache, strata_str("a"), &st.err), STRATA_OK);
    assert_load(&st, "a", &o, &p, STRATA_ABSENT, NULL);
    assert_int_equal(memory_of(&st).residents, 0);
    assert_int_equal(memory_of(&st).unkept, 0);
    o.value = "2";
    assert_int_equal(strata_delete(st.cache, strata_str("a"), &st.err), STRATA_OK);
    assert_load(&st, "a", &o, &p, STRATA_OK, "2");
    assert_int_equal(memory_of(&st).residents, 1);
    close_stack(&st);
}

static void test_many_and_later(void **state)
{
    (void)state;
    struct stack st;
    struct ended e = { 0 };
    open_small(&st, NULL);
    strata_item items[2] = { { .key = strata_str("k"), .set = strata_str("3") },
                             { .key = strata_str("l"), .set = strata_str("3") } };
    assert_int_equal(strata_set_many(st.cache, items, 2, &resident, &st.err), STRATA_OK);
    assert_int_equal(strata_set_async(st.cache, strata_str("m"), strata_str("4"), &resident, NULL, on_done, &e, &st.err),
                     STRATA_PENDING);
    run(&st);
    assert_int_equal(memory_of(&st).residents, 3);
    flood(&st);
    assert_get(&st, "k", STRATA_OK, "3");
    assert_get(&st, "l", STRATA_OK, "3");
    assert_get(&st, "m", STRATA_OK, "4");
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_set_stays),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_loads_and_the_loaders_word),
        cmocka_unit_test(test_found_below),
        cmocka_unit_test(test_what_replaces_it),
        cmocka_unit_test(test_how_it_ends),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_absent_is_not_resident),
        cmocka_unit_test(test_many_and_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
