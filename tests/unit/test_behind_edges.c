/* test_behind_edges.c - write-behind where it meets what is rare: other lives of the store, loads that end just then, a close in the middle, no
 * memory. */
#include "tests/support/fail_alloc.h"
#include "tests/unit/behind_fixture.h"

static void health_says_how_much_waits(void **state)
{
    (void)state;
    struct nodes n;
    behind_open(&n, &(struct behind_options){ 0 });
    assert_int_equal(health_of(n.node[0]).behind, 0);
    assert_int_equal(set_text(n.node[0], "a", "1"), STRATA_PENDING);
    nodes_pass(&n, 40);
    assert_int_equal(set_text(n.node[0], "b", "1"), STRATA_PENDING);
    strata_health h = health_of(n.node[0]);
    assert_int_equal(h.behind, 2);
    assert_true(h.behind_ms >= 40);
    assert_non_null(strstr(h.words, "2 sets are yet to be written"));
    pass_delay(&n);
    nodes_pass(&n, DELAY_MS);
    h = health_of(n.node[0]);
    assert_int_equal(h.behind, 0);
    assert_int_equal(h.behind_ms, 0);
    assert_null(strstr(h.words, "yet to be written"));
    nodes_close(&n);
}

/* The store's data has begun a new life, say after a failover: what a set was based on says nothing any more. */
static void another_life_of_the_store_refuses_it(void **state)
{
    (void)state;
    struct nodes n;
    behind_open(&n, &(struct behind_options){ .no_bus = 1 });
    assert_int_equal(set_text(n.node[0], "k", "1"), STRATA_PENDING);
    lease_store_new_life(n.store, 1);
    pass_delay(&n);
    assert_stored(&n, "k", NULL);
    assert_text(n.node[0], "k", NULL);
    assert_int_equal(stats_of(n.node[0]).behind_refused, 1);
    assert_int_equal(set_text(n.node[0], "k", "2"), STRATA_PENDING); /* it was told by then */
    pass_delay(&n);
    assert_stored(&n, "k", "2");
    assert_sums(n.node[0]);
    nodes_close(&n);
}

/* A load of this node that is just being stored when the set is made is nothing newer to it. */
static int load_one(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    (void)ctx;
    return strata_load_copy(load, "loaded", 6);
}

static void own_loads_are_no_news(void **state)
{
    (void)state;
    for (int at = 0; at < 40; at++) {
        struct nodes n;
        struct done d = { 0 };
        behind_open_slow(&n, &(struct behind_options){ .nodes = { .count = 1, .seed = (uint64_t)at + 1 } }, 12);
        assert_int_equal(strata_get_or_load_async(n.node[0], k("k"), load_one, NULL, NULL, NULL, note_done, &d, NULL),
                         STRATA_PENDING);
        nodes_pass(&n, at);
        assert_int_equal(set_text(n.node[0], "k", "set"), STRATA_PENDING);
        nodes_pass(&n, 4 * DELAY_MS);
        assert_int_equal(d.count, 1);
        assert_stored(&n, "k", "set");
        assert_text(n.node[0], "k", "set");
        assert_int_equal(stats_of(n.node[0]).behind_refused, 0);
        nodes_close(&n);
    }
}

/* While one is on its way to a slow store the next ones wait behind it; each is seen as soon as it is made. */
static void sets_that_follow_each_other_keep_their_order(void **state)
{
    (void)state;
    struct nodes n;
    behind_open_slow(&n, &(struct behind_options){ .nodes = { .count = 1 } }, 400);
    for (int i = 0; i < 50; i++) {
        char text[24];
        (void)snprintf(text, sizeof text, "%d", i);
        assert_int_equal(set_text(n.node[0], "k", text), STRATA_PENDING);
        assert_text(n.node[0], "k", text);
        nodes_pass(&n, DELAY_MS / 3);
        assert_text(n.node[0], "k", text);
    }
    nodes_pass(&n, 5000);
    assert_stored(&n, "k", "49");
    assert_text(n.node[0], "k", "49");
    strata_stats s = stats_of(n.node[0]);
    assert_true(s.behind_written > 1);
    assert_int_equal(s.behind_passed + s.behind_refused + s.behind_failed + s.behind_dropped, 0);
    assert_sums(n.node[0]);
    nodes_close(&n);
}

static void closing_in_time_says_what_is_left(void **state)
{
    (void)state;
    struct nodes n;
    behind_open_slow(&n, &(struct behind_options){ .nodes = { .count = 1 } }, 3000);
    for (int i = 0; i < 100; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(set_text(n.node[0], key, "x"), STRATA_PENDING);
    }
    assert_int_equal(strata_close_within(n.node[0], 0), STRATA_ETIMEDOUT);
    assert_int_equal(strata_close(n.node[0]), STRATA_OK);
    for (int i = 0; i < 100; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i);
        n.count = 0;
        struct behind_options o = { .no_bus = 1 };
        if (i == 0)
            assert_int_equal(behind_join(&n, &o, &n.node[0]), STRATA_OK);
        assert_text(n.node[0], key, "x");
    }
    assert_int_equal(strata_close(n.node[0]), STRATA_OK);
    nodes_end(&n);
}

/* Without memory a set goes through at once, or fails; what was queued is not lost for it. */
static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    int failed = 1;
    for (long at = 1; failed; at++) {
        struct fail_alloc alloc;
        struct nodes n;
        fail_alloc_init(&alloc, 0);
        behind_open(&n, &(struct behind_options){ .nodes = { .count = 1, .allocator = &alloc.mem } });
        atomic_store(&alloc.fail_at, atomic_load(&alloc.requests) + at);
        int first = set_text(n.node[0], "a", "1"), second = set_text(n.node[0], "a", "2");
        int third = set_text(n.node[0], "b", "3");
        assert_true(first >= 0 || first == STRATA_ENOMEM || first == STRATA_ELAYER);
        pass_delay(&n);
        failed = atomic_load(&alloc.failed);
        atomic_store(&alloc.fail_at, 0);
        if (second >= 0)
            assert_stored(&n, "a", "2");
        else if (first >= 0)
            assert_text(n.node[0], "a", second == STRATA_ENOMEM ? "1" : NULL);
        if (third >= 0)
            assert_stored(&n, "b", "3");
        assert_sums(n.node[0]);
        nodes_close(&n);
        assert_int_equal(atomic_load(&alloc.live), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_says_how_much_waits),
        cmocka_unit_test(another_life_of_the_store_refuses_it),
        cmocka_unit_test(own_loads_are_no_news),
        cmocka_unit_test(sets_that_follow_each_other_keep_their_order),
        cmocka_unit_test(closing_in_time_says_what_is_left),
        cmocka_unit_test(without_memory_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
