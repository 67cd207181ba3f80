/* test_snapshot_bans.c - what was exported before a ban and is imported after it. */
#include "tests/unit/snapshot_fixture.h"

enum { BANS = 6 };

static void ban(strata *cache, int how)
{
    strata_slice both[] = { strata_str("red"), strata_str("blue") };
    int rc = how == 0   ? strata_clear(cache, NULL)
             : how == 1 ? strata_ban_tag(cache, "red", STRATA_BAN_HARD, NULL)
             : how == 2 ? strata_ban_prefix(cache, strata_str("ba"), STRATA_BAN_HARD, NULL)
             : how == 3 ? strata_ban_pattern(cache, strata_str("b?nned"), STRATA_BAN_HARD, NULL)
             : how == 4 ? strata_ban_tags(cache, both, 2, STRATA_BAN_HARD, NULL)
                        : strata_ban_prefix(cache, strata_str(""), STRATA_BAN_HARD, NULL);
    assert_int_equal(rc, STRATA_OK);
}

/* The ban came after the export; the entry may not come back, neither here nor in a cache that knows of the ban. */
static void what_was_banned_does_not_come_back(void **state)
{
    (void)state;
    for (int how = 0; how < BANS; how++) {
        struct stack a, b;
        struct tape t = { 0 };
        int all = how == 0 || how == 5;
        open_policy(&a, NULL);
        open_other(&b, NULL);
        set_tagged(a.cache, "banned", "v", "red");
        set_tagged(a.cache, "other", "v", "green");
        SAVE(&a, &t);
        ban(a.cache, how);
        ban(b.cache, how); /* at the same moment of Unix time, or before */
        LOAD(&a, &t);
        assert_int_equal(report.banned, all ? 2 : 1);
        assert_get(&a, "banned", STRATA_MISS, NULL);
        LOAD(&b, &t);
        assert_int_equal(report.banned, all ? 2 : 1);
        assert_get(&b, "banned", STRATA_MISS, NULL);
        assert_get(&b, "other", all ? STRATA_MISS : STRATA_OK, all ? NULL : "v");
        close_stack(&a);
        close_stack(&b);
        free(t.bytes);
    }
}

/* In the life that exported it, an entry that is younger than the ban is known to be. */
static void what_is_younger_than_the_ban_comes_back(void **state)
{
    (void)state;
    for (int how = 0; how < BANS; how++) {
        struct stack a;
        struct tape t = { 0 };
        open_policy(&a, NULL);
        ban(a.cache, how);
        set_tagged(a.cache, "banned", "v", "red");
        SAVE(&a, &t);
        assert_int_equal(strata_delete(a.cache, strata_str("banned"), NULL), STRATA_OK);
        LOAD(&a, &t);
        assert_int_equal(report.entries, 1);
        assert_get(&a, "banned", STRATA_OK, "v");
        close_stack(&a);
        free(t.bytes);
    }
}

/* It is as young as it was: bans that come later take it, tags and all. */
static void what_came_back_can_be_banned(void **state)
{
    (void)state;
    for (int how = 0; how < BANS; how++) {
        struct stack a, b;
        struct tape t = { 0 };
        open_policy(&a, NULL);
        open_other(&b, NULL);
        set_tagged(a.cache, "banned", "v", "red");
        SAVE(&a, &t);
        LOAD(&b, &t);
        assert_get(&b, "banned", STRATA_OK, "v");
        ban(b.cache, how);
        assert_get(&b, "banned", STRATA_MISS, NULL);
        close_stack(&a);
        close_stack(&b);
        free(t.bytes);
    }
}

static void what_is_banned_is_not_written(void **state)
{
    (void)state;
    struct stack a;
    struct tape t = { 0 };
    open_policy(&a, NULL);
    set_tagged(a.cache, "banned", "v", "red");
    ban(a.cache, 1);
    SAVE(&a, &t);
    assert_int_equal(report.entries, 0);
    assert_int_equal(report.banned, 1);
    close_stack(&a);
    free(t.bytes);
}

static void a_soft_ban_ends_its_freshness(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 60000;
    p.stale_while_revalidate_ms = 60000;
    open_policy(&a, &p);
    open_other(&b, NULL);
    set_tagged(a.cache, "k", "v", "red");
    SAVE(&a, &t);
    assert_int_equal(strata_ban_tag(b.cache, "red", STRATA_BAN_SOFT, NULL), STRATA_OK);
    LOAD(&b, &t);
    assert_int_equal(report.entries, 1);
    assert_get(&b, "k", STRATA_STALE, "v");
    close_stack(&a);
    close_stack(&b);
    free(t.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_banned_does_not_come_back), cmocka_unit_test(what_is_younger_than_the_ban_comes_back),
        cmocka_unit_test(what_came_back_can_be_banned),       cmocka_unit_test(what_is_banned_is_not_written),
        cmocka_unit_test(a_soft_ban_ends_its_freshness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
