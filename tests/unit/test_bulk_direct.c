/* test_bulk_direct.c - many gets at once of a stack whose one layer is asked on the caller's thread: answered at once or later,
 * each by itself. */
#include "tests/support/fail_alloc.h"
#include "tests/unit/core_fixture.h"

static void open_direct(struct stack *st, uint32_t flags, const strata_policy *policy, int64_t delay_ms)
{
    open_stack(st, &(struct stack_options){ .only_slow = 1, .slow_flags = flags, .policy = policy });
    st->slow->delay_ms = delay_ms;
}

static strata_item item(const char *key) { return (strata_item){ .key = strata_str(key) }; }

static void test_answers(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        strata_policy p = {
            .size = sizeof p, .ttl_ms = 1000, .stale_while_revalidate_ms = 1000, .negative_ttl_ms = 1000
        };
        struct stack st;
        struct origin absent = { .st = &st };
        strata_layer_stats layer = { .size = sizeof layer };
        open_direct(&st, i & 1 ? STRATA_LAYER_LENDS : STRATA_LAYER_BLOCKS, &p, i & 2 ? 5 : 0);
        assert_int_equal(strata_set(st.cache, strata_str("a"), strata_str("1"), NULL, NULL), STRATA_OK);
        assert_int_equal(strata_set(st.cache, strata_str("b"), strata_str("2"), NULL, NULL), STRATA_OK);
        assert_load(&st, "absent", &absent, NULL, STRATA_ABSENT, NULL);
        uint64_t before = stats_of(st.cache).requests;
        int submits = st.slow->submits;
        strata_item items[] = { item("a"), item("none"), item("b"), item("absent"), item("a") };
        assert_int_equal(strata_get_many(st.cache, items, 5, NULL), STRATA_OK);
        assert_int_equal(st.slow->submits, submits + 1);
        assert_int_equal(items[1].status, STRATA_MISS);
        assert_null(items[1].value);
        assert_int_equal(items[3].status, STRATA_ABSENT);
        assert_value(items[0].value, "1");
        assert_value(items[2].value, "2");
        assert_value(items[4].value, "1");
        strata_stats all = stats_of(st.cache);
        assert_int_equal(all.requests - before, 5);
        assert_int_equal(all.hits, 4);
        assert_int_equal(strata_stats_layer(st.cache, 0, &layer), STRATA_OK);
        assert_int_equal(layer.hits, 4);
        pass(&st, 1500);
        strata_item stale = item("a");
        assert_int_equal(strata_get_many(st.cache, &stale, 1, NULL), STRATA_OK);
        assert_int_equal(stale.status, STRATA_STALE);
        assert_value(stale.value, "1");
        assert_int_equal(strata_get_many(st.cache, NULL, 0, NULL), STRATA_OK);
        close_stack(&st);
    }
}

/* A key that does not fit, and a layer that fails: each item has its own status, the call that of the first. */
static void test_failures(void **state)
{
    (void)state;
    struct stack st;
    open_direct(&st, STRATA_LAYER_LENDS, NULL, 5);
    assert_int_equal(strata_set(st.cache, strata_str("a"), strata_str("1"), NULL, NULL), STRATA_OK);
    strata_item items[] = { item("a"), item(""), item("b") };
    assert_int_equal(strata_get_many(st.cache, items, 3, &st.err), STRATA_EKEYSIZE);
    assert_int_equal(st.err.status, STRATA_EKEYSIZE);
    assert_value(items[0].value, "1");
    assert_int_equal(items[1].status, STRATA_EKEYSIZE);
    assert_int_equal(items[2].status, STRATA_MISS);
    st.slow->fail_gets = 1;
    assert_int_equal(strata_get_many(st.cache, items, 1, &st.err), STRATA_ELAYER);
    assert_string_equal(st.err.message, "layer \"script\" failed: the script says so");
    assert_null(items[0].value);
    assert_int_equal(strata_get_many(st.cache, items + 1, 1, &st.err), STRATA_EKEYSIZE); /* nothing to ask */
    close_stack(&st);
}

/* While one of the keys is being written, all wait as any reader does. */
static void test_busy_key(void **state)
{
    (void)state;
    struct stack st;
    struct ended e = { 0 };
    open_direct(&st, STRATA_LAYER_LENDS, NULL, 5);
    assert_int_equal(strata_set_async(st.cache, strata_str("k"), strata_str("v"), NULL, NULL, on_done, &e, NULL),
                     STRATA_PENDING);
    strata_item items[] = { item("other"), item("k") };
    assert_int_equal(strata_get_many(st.cache, items, 2, NULL), STRATA_OK);
    assert_int_equal(items[0].status, STRATA_MISS);
    assert_value(items[1].value, "v");
    assert_int_equal(e.count, 1);
    close_stack(&st);
}

static void test_namespaces(void **state)
{
    (void)state;
    struct stack st;
    strata *users;
    open_direct(&st, STRATA_LAYER_LENDS, NULL, 0);
    assert_int_equal(strata_namespace(st.cache, "users", NULL, &users, NULL), STRATA_OK);
    assert_int_equal(strata_set(users, strata_str("a"), strata_str("1"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_set(users, strata_str("b"), strata_str("2"), NULL, NULL), STRATA_OK);
    strata_item items[] = { item("a"), item("b") };
    assert_int_equal(strata_get_many(users, items, 2, NULL), STRATA_OK);
    assert_value(items[0].value, "1");
    assert_value(items[1].value, "2");
    assert_int_equal(strata_get_many(st.cache, items, 2, NULL), STRATA_OK);
    assert_int_equal(items[0].status, STRATA_MISS);
    assert_int_equal(items[1].status, STRATA_MISS);
    strata_close(users);
    close_stack(&st);
}

static void count_event(const strata_event *event, void *ctx)
{
    (void)event;
    ++*(int *)ctx;
}

static void test_listeners_hear_once(void **state)
{
    (void)state;
    struct stack st;
    int heard = 0;
    uint64_t id;
    open_direct(&st, STRATA_LAYER_LENDS, NULL, 0);
    assert_int_equal(strata_set(st.cache, strata_str("a"), strata_str("1"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_on(st.cache, STRATA_EVENT_HIT | STRATA_EVENT_MISS, count_event, &heard, &id), STRATA_OK);
    strata_item items[] = { item("a"), item("b") };
    assert_int_equal(strata_get_many(st.cache, items, 2, NULL), STRATA_OK);
    assert_value(items[0].value, "1");
    assert_int_equal(heard, 2);
    assert_int_equal(stats_of(st.cache).requests, 2);
    close_stack(&st);
}

/* Without memory for all at once the general way is tried, and says what it says. */
static void test_no_memory(void **state)
{
    (void)state;
    struct fail_alloc a;
    struct stack st;
    fail_alloc_init(&a, 0);
    open_stack(&st, &(struct stack_options){ .only_slow = 1, .slow_flags = STRATA_LAYER_LENDS, .allocator = &a.mem });
    assert_int_equal(strata_set(st.cache, strata_str("a"), strata_str("1"), NULL, NULL), STRATA_OK);
    strata_item items[] = { item("a"), item("b") };
    a.fail_at = a.requests + 1;
    assert_int_equal(strata_get_many(st.cache, items, 2, &st.err), STRATA_OK);
    assert_value(items[0].value, "1");
    assert_true(a.failed);
    close_stack(&st);
    assert_int_equal(a.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_busy_key),
        cmocka_unit_test(test_namespaces),
        cmocka_unit_test(test_listeners_hear_once),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
