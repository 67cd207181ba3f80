/* test_loader_each.c - strata_get_or_load_each(): many keys, each with its own loader. */
#include "tests/support/fail_alloc.h"
#include "tests/unit/core_fixture.h"

enum { KEYS = 4 };

struct call {
    struct origin origins[KEYS];
    strata_item items[KEYS];
    strata_item_loader loaders[KEYS];
};

/* Keys a, b, c, d; what is loaded says by which loader. */
static void prepare(struct call *c, struct stack *st)
{
    static const char *const keys[KEYS] = { "a", "b", "c", "d" };
    static const char *const values[KEYS] = { "0", "1", "2", "3" };
    memset(c, 0, sizeof *c);
    for (int i = 0; i < KEYS; i++) {
        c->origins[i] = (struct origin){ .st = st, .value = values[i] };
        c->items[i].key = strata_str(keys[i]);
        c->loaders[i] = (strata_item_loader){ origin_loader, &c->origins[i] };
    }
}

static int load_each(struct stack *st, struct call *c, const strata_policy *policy)
{
    return strata_get_or_load_each(st->cache, c->items, c->loaders, KEYS, policy, &st->err);
}

static void assert_calls(const struct call *c, int first, int second, int third, int fourth)
{
    const int want[KEYS] = { first, second, third, fourth };
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(c->origins[i].calls, want[i]);
}

#define assert_item(c, i, text) \
    do { \
        assert_int_equal((c)->items[i].status, STRATA_OK); \
        assert_value((c)->items[i].value, text); \
    } while (0)

static void each_by_its_own(void **state)
{
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        struct stack st;
        struct call c;
        open_stack(&st, &(struct stack_options){ .with_slow = slow });
        prepare(&c, &st);
        if (slow)
            st.slow->delay_ms = 2;
        assert_int_equal(strata_set(st.cache, strata_str("b"), strata_str("held"), NULL, NULL), STRATA_OK);
        int submits = slow ? st.slow->submits : 0, gets = slow ? st.slow->gets : 0;
        assert_int_equal(load_each(&st, &c, NULL), STRATA_OK);
        assert_calls(&c, 1, 0, 1, 1);
        assert_item(&c, 0, "0");
        assert_item(&c, 1, "held");
        assert_item(&c, 2, "2");
        assert_item(&c, 3, "3");
        if (slow) {
            assert_int_equal(st.slow->gets - gets, 3);
            assert_int_equal(st.slow->submits - submits, 1 + 3); /* one question, a put each */
        }
        strata_stats s = stats_of(st.cache);
        assert_int_equal(s.requests, KEYS);
        assert_int_equal(s.loads, 3);
        assert_int_equal(load_each(&st, &c, NULL), STRATA_OK);
        assert_calls(&c, 1, 0, 1, 1);
        for (int i = 0; i < KEYS; i++)
            strata_value_unref(c.items[i].value);
        close_stack(&st);
    }
}

static void each_has_its_own_end(void **state)
{
    struct stack st;
    struct call c;
    (void)state;
    open_policy(&st, NULL);
    prepare(&c, &st);
    c.origins[1].fail = STRATA_EIO;
    c.origins[2].value = NULL;
    assert_int_equal(load_each(&st, &c, NULL), STRATA_EIO);
    assert_string_equal(st.err.message, "the origin is down");
    assert_calls(&c, 1, 1, 1, 1);
    assert_item(&c, 0, "0");
    assert_int_equal(c.items[1].status, STRATA_EIO);
    assert_null(c.items[1].value);
    assert_int_equal(c.items[2].status, STRATA_ABSENT);
    assert_null(c.items[2].value);
    assert_item(&c, 3, "3");
    close_stack(&st);
}

static void the_first_of_equal_keys_loads(void **state)
{
    struct stack st;
    struct call c;
    (void)state;
    for (int timed = 0; timed < 2; timed++) {
        const strata_policy policy = { .size = sizeof policy, .hard_timeout_ms = timed ? 1000 : 0 };
        open_policy(&st, NULL);
        prepare(&c, &st);
        c.items[2].key = c.items[3].key = c.items[0].key;
        assert_int_equal(load_each(&st, &c, &policy), STRATA_OK);
        assert_calls(&c, 1, 1, 0, 0);
        assert_item(&c, 0, "0");
        assert_item(&c, 1, "1");
        assert_item(&c, 2, "0");
        assert_item(&c, 3, "0");
        close_stack(&st);
    }
}

static void loads_are_joined_both_ways(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct stack st;
        struct call c;
        struct origin single = { .st = &st, .value = "single", .takes_ms = 30 };
        struct ended e[3] = { { 0 } };
        open_stack(&st, &(struct stack_options){ .seed = seed, .with_slow = (int)(seed % 2) });
        prepare(&c, &st);
        c.origins[0].takes_ms = 50;
        assert_int_equal(strata_get_or_load_async(st.cache, strata_str("b"), origin_loader, &single, NULL, NULL,
                                                  on_done, &e[0], NULL),
                         STRATA_PENDING);
        run(&st);
        assert_int_equal(
            strata_get_or_load_each_async(st.cache, c.items, c.loaders, KEYS, NULL, NULL, on_done, &e[1], &st.err),
            STRATA_PENDING);
        pass(&st, 5);
        assert_int_equal(strata_get_or_load_async(st.cache, strata_str("a"), origin_loader, &single, NULL, NULL,
                                                  on_done, &e[2], NULL),
                         STRATA_PENDING);
        pass(&st, 100);
        assert_int_equal(single.calls, 1);
        assert_calls(&c, 1, 0, 1, 1);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(e[i].count, 1);
            assert_int_equal(e[i].status, STRATA_OK);
        }
        assert_string_equal(e[2].text, "0");
        assert_item(&c, 0, "0");
        assert_item(&c, 1, "single");
        assert_item(&c, 2, "2");
        assert_item(&c, 3, "3");
        close_stack(&st);
    }
}

/* With a timeout they run on workers, side by side, and one that hangs takes no other's time. */
static void side_by_side_on_workers(void **state)
{
    const strata_policy timed = { .size = sizeof timed, .hard_timeout_ms = 50 };
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct stack st;
        struct call c;
        open_stack(&st, &(struct stack_options){ .seed = seed, .with_slow = (int)(seed % 2) });
        prepare(&c, &st);
        for (int i = 0; i < KEYS; i++)
            c.origins[i].takes_ms = i == (int)(seed % KEYS) ? 500 : 30;
        int64_t began = ex_now_ms(st.ex);
        assert_int_equal(load_each(&st, &c, &timed), STRATA_ETIMEDOUT);
        assert_int_equal(ex_now_ms(st.ex) - began, 50);
        for (int i = 0; i < KEYS; i++) {
            if (i != (int)(seed % KEYS))
                assert_item(&c, i, c.origins[i].value);
            else
                assert_int_equal(c.items[i].status, STRATA_ETIMEDOUT);
        }
        assert_calls(&c, 1, 1, 1, 1);
        pass(&st, 1000);
        close_stack(&st);
    }
}

static int begin_only(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    *(strata_load **)ctx = strata_load_ref(load);
    return STRATA_PENDING;
}

/* Without: what its loaders begin goes on side by side. */
static void pending_loads_are_all_begun(void **state)
{
    struct stack st;
    struct call c;
    struct ended e = { 0 };
    strata_load *loads[KEYS] = { NULL };
    (void)state;
    open_policy(&st, NULL);
    prepare(&c, &st);
    for (int i = 0; i < KEYS; i++)
        c.loaders[i] = (strata_item_loader){ begin_only, &loads[i] };
    assert_int_equal(strata_get_or_load_each_async(st.cache, c.items, c.loaders, KEYS, NULL, NULL, on_done, &e, &st.err),
                     STRATA_PENDING);
    run(&st);
    for (int i = KEYS; i-- > 0;) {
        assert_non_null(loads[i]);
        assert_int_equal(e.count, 0);
        assert_int_equal(strata_load_copy(loads[i], c.origins[i].value, 1), STRATA_OK);
        strata_load_unref(loads[i]);
    }
    run(&st);
    assert_int_equal(e.status, STRATA_OK);
    for (int i = 0; i < KEYS; i++)
        assert_item(&c, i, c.origins[i].value);
    close_stack(&st);
}

static void limits_and_breakers_count_each(void **state)
{
    const strata_policy one = { .size = sizeof one, .max_loads = 1, .limit_scope = STRATA_SCOPE_CACHE };
    const strata_policy breaks = {
        .size = sizeof breaks, .breaker_failures = 1, .breaker_open_ms = 1000, .breaker_scope = STRATA_SCOPE_KEY
    };
    struct stack st;
    struct call c;
    (void)state;
    open_policy(&st, NULL);
    prepare(&c, &st);
    for (int i = 0; i < KEYS; i++)
        c.origins[i].takes_ms = 5;
    assert_int_equal(load_each(&st, &c, &one), STRATA_OK); /* each waits for its place */
    for (int i = 0; i < KEYS; i++)
        assert_item(&c, i, c.origins[i].value);
    assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
    prepare(&c, &st);
    c.origins[2].fail = STRATA_EIO;
    assert_int_equal(load_each(&st, &c, &breaks), STRATA_EIO);
    for (int i = 0; i < KEYS; i++)
        strata_value_unref(c.items[i].value);
    assert_int_equal(load_each(&st, &c, &breaks), STRATA_EBREAKER);
    assert_int_equal(c.items[2].status, STRATA_EBREAKER);
    assert_calls(&c, 1, 1, 1, 1);
    for (int i = 0; i < KEYS; i++)
        strata_value_unref(c.items[i].value);
    close_stack(&st);
}

/* What is old is refreshed by the item's own loader, not by the last one's. */
static void a_refresh_has_the_items_loader(void **state)
{
    const strata_policy stale = { .size = sizeof stale, .ttl_ms = 10, .stale_while_revalidate_ms = 1000 };
    struct stack st;
    struct call c;
    (void)state;
    open_policy(&st, NULL);
    prepare(&c, &st);
    assert_int_equal(strata_set(st.cache, strata_str("b"), strata_str("old"), &stale, NULL), STRATA_OK);
    pass(&st, 20);
    assert_int_equal(load_each(&st, &c, &stale), STRATA_OK);
    assert_int_equal(c.items[1].status, STRATA_STALE);
    assert_value(c.items[1].value, "old");
    run(&st);
    assert_calls(&c, 1, 1, 1, 1);
    assert_get(&st, "b", STRATA_OK, "1");
    for (int i = 0; i < KEYS; i++)
        if (i != 1)
            strata_value_unref(c.items[i].value);
    close_stack(&st);
}

static int never(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    (void)loads;
    (void)keys;
    (void)count;
    (void)ctx;
    fail_msg("no bulk loader is to be called");
    return STRATA_EINVAL;
}

static void without_one_the_namespaces_own(void **state)
{
    struct stack st;
    struct call c;
    struct origin own = { .st = &st, .value = "own" };
    strata_namespace_options n = STRATA_NAMESPACE_OPTIONS_INIT;
    strata *users;
    (void)state;
    open_policy(&st, NULL);
    prepare(&c, &st);
    c.loaders[2] = (strata_item_loader){ NULL, NULL };
    assert_int_equal(load_each(&st, &c, NULL), STRATA_EINVAL);
    assert_int_equal(strata_get_or_load_each_async(st.cache, c.items, c.loaders, KEYS, NULL, NULL, on_done, NULL, NULL),
                     STRATA_EINVAL);
    assert_int_equal(strata_get_or_load_each(st.cache, c.items, NULL, KEYS, NULL, NULL), STRATA_EINVAL);
    assert_int_equal(strata_get_or_load_each(NULL, c.items, c.loaders, KEYS, NULL, NULL), STRATA_EINVAL);
    assert_int_equal(strata_get_or_load_each(st.cache, NULL, NULL, 0, NULL, NULL), STRATA_OK);
    assert_calls(&c, 0, 0, 0, 0);
    n.loader = origin_loader;
    n.bulk_loader = never;
    n.loader_ctx = &own;
    assert_int_equal(strata_namespace(st.cache, "users", &n, &users, &st.err), STRATA_OK);
    assert_int_equal(strata_get_or_load_each(users, c.items, c.loaders, KEYS, NULL, &st.err), STRATA_OK);
    assert_calls(&c, 1, 1, 0, 1);
    assert_int_equal(own.calls, 1);
    assert_item(&c, 0, "0");
    assert_item(&c, 1, "1");
    assert_item(&c, 2, "own");
    assert_item(&c, 3, "3");
    strata_close(users);
    close_stack(&st);
}

static void every_allocation_fails(void **state)
{
    const strata_policy timed = { .size = sizeof timed, .hard_timeout_ms = 1000 };
    int failed = 1;
    (void)state;
    for (long n = 1; failed; n++) {
        struct fail_alloc a;
        struct stack st;
        struct call c;
        fail_alloc_init(&a, n);
        int rc = try_open(&st, &(struct stack_options){ .with_slow = 1, .allocator = &a.mem });
        if (rc == STRATA_OK) {
            for (int round = 0; round < 2; round++) {
                prepare(&c, &st);
                c.items[3].key = c.items[0].key;
                rc = load_each(&st, &c, round == 0 ? NULL : &timed);
                assert_true(rc == STRATA_OK || rc == STRATA_ENOMEM);
                for (int i = 0; i < KEYS; i++) {
                    assert_true(c.items[i].status == STRATA_OK || c.items[i].status == STRATA_ENOMEM);
                    assert_int_equal(c.items[i].value != NULL, c.items[i].status == STRATA_OK);
                    strata_value_unref(c.items[i].value);
                }
                run(&st);
                strata_clear(st.cache, NULL);
            }
            close_stack(&st);
        } else {
            assert_int_equal(rc, STRATA_ENOMEM);
        }
        failed = atomic_load(&a.failed);
        assert_int_equal(atomic_load(&a.live), 0);
        assert_true(n < 10000);
    }
}

/* On real threads: many callers, few workers, the same keys in another order. */
static void on_real_workers(void **state)
{
    const strata_policy timed = { .size = sizeof timed, .hard_timeout_ms = 60000 };
    (void)state;
    for (int round = 0; round < 20; round++) {
        enum {
            CALLS = 24
        }; /* more than 4 times `workers`: all that may begin sleep, and what they wait for begins all the same */
        strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 20 };
        strata_layer *layers[1] = { strata_memory_layer(&m) };
        strata_options options = STRATA_OPTIONS_INIT;
        struct stack st = { .ex = NULL };
        static struct call c[CALLS];
        struct ended e[CALLS];
        strata_queue *q;
        size_t n = 0;
        memset(e, 0, sizeof e);
        options.layers = layers;
        options.layer_count = 1;
        options.workers = 2 + (uint32_t)(round % 2);
        assert_int_equal(strata_open(&st.cache, &options, &st.err), STRATA_OK);
        assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
        for (int i = 0; i < CALLS; i++) {
            prepare(&c[i], &st);
            for (int j = 0; j < KEYS; j++) {
                c[i].items[j].key = c[0].items[(i + j) % KEYS].key;
                c[i].origins[j].value = c[0].origins[(i + j) % KEYS].value;
            }
            assert_int_equal(strata_get_or_load_each_async(st.cache, c[i].items, c[i].loaders, KEYS,
                                                           i % 2 == 0 ? &timed : NULL, q, on_done, &e[i], &st.err),
                             STRATA_PENDING);
        }
        while (n < CALLS) {
            assert_int_equal(strata_queue_wait(q, 60000), STRATA_OK);
            n += strata_queue_run(q, 0);
        }
        for (int i = 0; i < CALLS; i++)
            for (int j = 0; j < KEYS; j++)
                assert_item(&c[i], j, c[i].origins[j].value);
        assert_int_equal(stats_of(st.cache).loads, KEYS);
        strata_queue_close(q);
        close_stack(&st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_by_its_own),
        cmocka_unit_test(each_has_its_own_end),
        cmocka_unit_test(the_first_of_equal_keys_loads),
        cmocka_unit_test(loads_are_joined_both_ways),
        cmocka_unit_test(side_by_side_on_workers),
        cmocka_unit_test(pending_loads_are_all_begun),
        cmocka_unit_test(limits_and_breakers_count_each),
        cmocka_unit_test(a_refresh_has_the_items_loader),
        cmocka_unit_test(without_one_the_namespaces_own),
        cmocka_unit_test(every_allocation_fails),
        cmocka_unit_test(on_real_workers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
