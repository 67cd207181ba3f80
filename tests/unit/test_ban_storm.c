/* test_ban_storm.c - bans that come faster than a key is loaded: how many loads there are, who gets which, and what is stored. */
#include "src/core/bans.h"
#include "tests/unit/core_fixture.h"

/* However many bans come while a key is loaded, and however many callers after each: two loads at once, and none for each ban. */
enum { STORM_BANS = 20, STORM_CALLERS = 5 };

struct storm {
    strata_load *loads[8];
    int count;
};

static int storm_loader(strata_load *load, strata_slice key, void *ctx)
{
    struct storm *s = ctx;
    (void)key;
    assert_in_range(s->count, 0, 7);
    assert_int_equal(strata_load_tag(load, "t"), STRATA_OK);
    s->loads[s->count++] = strata_load_ref(load);
    return STRATA_PENDING;
}

static void storm_ends(struct stack *st, struct storm *s, int i)
{
    char value[16];
    snprintf(value, sizeof value, "load %d", i);
    assert_int_equal(strata_load_copy(s->loads[i], value, strlen(value)), STRATA_OK);
    strata_load_unref(s->loads[i]);
    run(st);
}

static void test_storm(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) { /* others' tags, its own, softly, its key */
        struct stack st;
        struct storm s = { 0 };
        struct ended ends[STORM_BANS + 1][STORM_CALLERS] = { 0 };
        strata_slice key = strata_str("key");
        open_stack(&st, &(struct stack_options){ .with_slow = how % 2 });
        for (int i = 0; i <= STORM_BANS; i++) {
            for (int j = 0; j < STORM_CALLERS; j++)
                strata_get_or_load_async(st.cache, key, storm_loader, &s, NULL, NULL, on_done, &ends[i][j], NULL);
            run(&st);
            assert_int_equal(s.count, i == 0 ? 1 : 2);
            assert_get(&st, "key", STRATA_MISS,
                       NULL); /* who loads nothing waits for no load, and keeps none from being stored */
            if (how < 3)
                assert_int_equal(strata_ban_tag(st.cache, how == 0 ? "u" : "t", how == 2 ? STRATA_BAN_SOFT : 0, NULL),
                                 STRATA_OK);
            else
                assert_int_equal(strata_ban_prefix(st.cache, strata_str("k"), 0, NULL), STRATA_OK);
        }
        storm_ends(&st, &s, 0);
        storm_ends(&st, &s, 1);
        assert_int_equal(s.count, how == 0 ? 2 : 3);
        if (how != 0)
            storm_ends(&st, &s, 2);
        for (int i = 0; i <= STORM_BANS; i++)
            for (int j = 0; j < STORM_CALLERS; j++) {
                assert_int_equal(ends[i][j].count, 1);
                assert_string_equal(ends[i][j].text, i == 0 ? "load 0" : i == 1 || how == 0 ? "load 1" : "load 2");
            }
        /* The last ban came after the last caller. */
        assert_get(&st, "key", how == 0 ? STRATA_OK : STRATA_MISS, how == 0 ? "load 1" : NULL);
        assert_int_equal(stats_of(st.cache).joins,
                         STORM_CALLERS - 1 + STORM_CALLERS - 1 + STORM_CALLERS * (STORM_BANS - 1) - 1);
        close_stack(&st);
    }
}

struct asks_itself {
    struct storm s;
    strata *cache;
    int status;
};

static int asking_loader(strata_load *load, strata_slice key, void *ctx)
{
    struct asks_itself *a = ctx;
    strata_value *v;
    if (a->s.count == 0)
        return storm_loader(load, key, &a->s);
    assert_int_equal(strata_ban_tag(a->cache, "t", 0, NULL), STRATA_OK);
    a->status = strata_get_or_load(a->cache, key, asking_loader, a, NULL, &v, NULL);
    assert_null(v);
    return strata_load_copy(load, "mine", 4);
}

/* A loader that asks for its own key, after a ban, while an older load runs: it would wait for itself. */
static void test_storm_in_a_loader(void **state)
{
    (void)state;
    struct stack st;
    struct ended end = { 0 };
    struct asks_itself a = { 0 };
    open_policy(&st, NULL);
    a.cache = st.cache;
    strata_get_or_load_async(st.cache, strata_str("key"), asking_loader, &a, NULL, NULL, on_done, &end, NULL);
    run(&st);
    assert_int_equal(strata_ban_tag(st.cache, "t", 0, NULL), STRATA_OK);
    strata_value *v;
    assert_int_equal(strata_get_or_load(st.cache, strata_str("key"), asking_loader, &a, NULL, &v, &st.err), STRATA_OK);
    assert_value(v, "mine");
    assert_int_equal(a.status, STRATA_EDEADLOCK);
    storm_ends(&st, &a.s, 0);
    assert_string_equal(end.text, "load 0");
    close_stack(&st);
}

/* Loads that never end keep nobody waiting for longer than a refresh may take. */
static void test_loads_that_hang(void **state)
{
    (void)state;
    struct stack st;
    struct storm s = { 0 };
    struct ended ends[5] = { 0 };
    strata_slice key = strata_str("key");
    open_stack(&st, &(struct stack_options){ 0 });
    for (int i = 0; i < 3; i++) {
        strata_get_or_load_async(st.cache, key, storm_loader, &s, NULL, NULL, on_done, &ends[i], NULL);
        run(&st);
        assert_int_equal(strata_ban_tag(st.cache, "t", 0, NULL), STRATA_OK);
    }
    assert_int_equal(s.count, 2);
    pass(&st, 31000);
    strata_get_or_load_async(st.cache, key, storm_loader, &s, NULL, NULL, on_done, &ends[3], NULL);
    run(&st);
    assert_true(s.count > 2);
    for (int i = 0; i < s.count; i++)
        storm_ends(&st, &s, i);
    for (int i = 0; i < 4; i++)
        assert_int_equal(ends[i].count, 1);
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loads_that_hang),
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_storm_in_a_loader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
