/* test_lurker.c - what bans took leaves memory though nobody reads it, and bans that have nothing left to take are forgotten; and what
 * comes too late for them is refused all the same. */
#include "src/core/bans.h"
#include "tests/unit/core_fixture.h"

enum { KEYS = 3000 };

static void set_with(strata *in, const char *key, const char *tag)
{
    strata_slice tags[1] = { strata_str(tag != NULL ? tag : "") };
    assert_int_equal(strata_set_tagged(in, strata_str(key), strata_str("v"), tags, tag != NULL, NULL, NULL), STRATA_OK);
}

static strata_layer_stats memory_of(struct stack *st)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(st->cache, 0, &s), STRATA_OK);
    return s;
}

static uint32_t bans_of(struct stack *st) { return strata__bans_count(st->cache->root); }

static void fill_tagged(struct stack *st)
{
    static const char value[1000];
    char key[32];
    for (int i = 0; i < KEYS; i++) {
        strata_slice tags[1] = { strata_str(i < KEYS / 2 ? "early" : "late") };
        snprintf(key, sizeof key, "key:%d", i);
        int rc = strata_set_tagged(st->cache, strata_str(key), strata_bytes(value, sizeof value), tags, 1, NULL, NULL);
        assert_int_equal(rc, STRATA_OK);
    }
}

static int count_kept(struct stack *st)
{
    char key[32];
    int kept = 0;
    for (int i = 0; i < KEYS; i++) {
        strata_value *v;
        snprintf(key, sizeof key, "key:%d", i);
        kept += strata_get(st->cache, strata_str(key), &v, NULL) == STRATA_OK;
        strata_value_unref(v);
    }
    return kept;
}

static void test_frees(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct stack st;
        open_stack(&st, &(struct stack_options){ .memory_bytes = 8 << 20 });
        fill_tagged(&st);
        pass(&st, 5000);
        assert_int_equal(memory_of(&st).entries, KEYS);
        uint64_t bytes = memory_of(&st).bytes;
        if (how == 0)
            assert_int_equal(strata_ban_tag(st.cache, "early", 0, NULL), STRATA_OK);
        else if (how == 1)
            assert_int_equal(strata_ban_pattern(st.cache, strata_str("*[02468]"), 0, NULL), STRATA_OK);
        else
            strata__clear_here(st.cache->root, strata_bytes(NULL, 0));
        assert_int_equal(bans_of(&st), how < 2);
        pass(&st, 5000);
        if (how == 2) /* noted by position alone: with the next ban */
            assert_int_equal(strata_ban_tag(st.cache, "early", 0, NULL), STRATA_OK);
        pass(&st, 5000);
        assert_int_equal(bans_of(&st), 0);
        assert_int_equal(memory_of(&st).entries, how == 0 ? KEYS / 2 : how == 1 ? KEYS : 0);
        assert_true(how == 1 || memory_of(&st).bytes < bytes);
        assert_int_equal(memory_of(&st).evictions, 0);
        assert_int_equal(count_kept(&st), how == 0 ? KEYS / 2 : how == 1 ? KEYS : 0);
        close_stack(&st);
    }
}

/* Of a cache that nobody uses, and of one whose entries none of them concerns. */
static void test_no_pile(void **state)
{
    (void)state;
    for (int filled = 0; filled < 2; filled++) {
        struct stack st;
        char name[32];
        open_stack(&st, &(struct stack_options){ .memory_bytes = 8 << 20 });
        if (filled)
            fill_tagged(&st);
        for (int i = 0; i < 5000; i++) {
            snprintf(name, sizeof name, "name:%d", i);
            assert_int_equal(strata_ban_tag(st.cache, name, i % 2 != 0 ? STRATA_BAN_SOFT : 0, NULL), STRATA_OK);
            if (i % 100 == 0)
                assert_int_equal(strata_ban_prefix(st.cache, strata_str(name), 0, NULL), STRATA_OK);
        }
        assert_true(bans_of(&st) > 5000);
        pass(&st, 10000);
        assert_int_equal(bans_of(&st), 0);
        assert_int_equal(st.cache->root->bans->tag_room, 0);
        assert_int_equal(st.cache->root->bans->rule_count, 0);
        if (filled)
            assert_int_equal(count_kept(&st), KEYS);
        close_stack(&st);
    }
}

/* 33,000 tags and more: those that were put together go, too. */
static void test_folded(void **state)
{
    (void)state;
    struct stack st;
    char name[32];
    open_policy(&st, NULL);
    set_with(st.cache, "k", "kept");
    for (int i = 0; i < TAG_BANS + 1000; i++) {
        snprintf(name, sizeof name, "name:%d", i);
        assert_int_equal(strata_ban_tag(st.cache, name, 0, NULL), STRATA_OK);
    }
    assert_non_null(st.cache->root->bans->folded);
    pass(&st, 10000);
    assert_int_equal(bans_of(&st), 0);
    assert_null(st.cache->root->bans->folded);
    close_stack(&st);
}

/* With 100 bans a second for ten minutes the list holds what came since the last walk began, and no more. */
static void test_steady(void **state)
{
    (void)state;
    struct stack st;
    char name[32];
    uint32_t most = 0;
    open_stack(&st, &(struct stack_options){ .memory_bytes = 8 << 20 });
    fill_tagged(&st);
    for (int i = 0; i < 60000; i++) {
        snprintf(name, sizeof name, "name:%d", i);
        assert_int_equal(strata_ban_tag(st.cache, name, 0, NULL), STRATA_OK);
        pass(&st, 10);
        most = bans_of(&st) > most ? bans_of(&st) : most;
    }
    assert_true(most < 1000);
    assert_int_equal(count_kept(&st), KEYS);
    close_stack(&st);
}

/* Fills under way --------------------------------------------------------------------------------------------------- */

static int keeps(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    assert_int_equal(strata_load_tag(load, "t"), STRATA_OK);
    *(strata_load **)ctx = strata_load_ref(load);
    return STRATA_PENDING;
}

static void begin_load(struct stack *st, strata_load **load, struct ended *end)
{
    int rc = strata_get_or_load_async(st->cache, strata_str("key"), keeps, load, NULL, NULL, on_done, end, NULL);
    assert_int_equal(rc, STRATA_PENDING);
    run(st);
    assert_non_null(*load);
}

static void end_load(struct stack *st, strata_load *load)
{
    assert_int_equal(strata_load_copy(load, "old", 3), STRATA_OK);
    strata_load_unref(load);
    run(st);
}

/* The ban waits for the load that was born before it. */
static void test_a_load_holds_its_bans(void **state)
{
    (void)state;
    struct stack st;
    struct ended end = { 0 };
    strata_load *load = NULL;
    open_policy(&st, NULL);
    begin_load(&st, &load, &end);
    assert_int_equal(strata_ban_tag(st.cache, "t", 0, NULL), STRATA_OK);
    assert_int_equal(strata_ban_tag(st.cache, "u", 0, NULL), STRATA_OK);
    pass(&st, 10000);
    assert_int_equal(bans_of(&st), 2);
    end_load(&st, load);
    assert_string_equal(end.text, "old");
    assert_get(&st, "key", STRATA_MISS, NULL);
    pass(&st, 120000);
    assert_int_equal(bans_of(&st), 0);
    close_stack(&st);
}

/* One that takes longer than anybody waits does not: then it is refused though no ban is left that says so. */
static void test_a_load_of_before_the_floor(void **state)
{
    (void)state;
    for (int concerns = 0; concerns < 2; concerns++) {
        struct stack st;
        struct ended end = { 0 };
        strata_load *load = NULL;
        strata_policy policy = STRATA_POLICY_INIT;
        policy.refresh_timeout_ms = 5000;
        open_policy(&st, &policy);
        begin_load(&st, &load, &end);
        assert_int_equal(strata_ban_tag(st.cache, concerns ? "t" : "u", 0, NULL), STRATA_OK);
        pass(&st, 200000);
        assert_int_equal(bans_of(&st), 0);
        end_load(&st, load);
        assert_string_equal(end.text, "old");
        assert_get(&st, "key", concerns ? STRATA_MISS : STRATA_OK, concerns ? NULL : "old");
        set_with(st.cache, "key", "t");
        assert_get(&st, "key", STRATA_OK, "v");
        close_stack(&st);
    }
}

/* Whatever is said to be older than what is forgotten. */
static void test_below_the_floor(void **state)
{
    (void)state;
    struct stack st;
    open_policy(&st, NULL);
    struct root *root = st.cache->root;
    uint64_t id = strata__tag_id(strata_str("t")), other = strata__tag_id(strata_str("o"));
    strata_meta meta = { .life = root->life, .position = atomic_load(&root->position), .tag_count = 1 };
    assert_int_equal(strata_ban_tag(st.cache, "t", STRATA_BAN_SOFT, NULL), STRATA_OK);
    pass(&st, 10000);
    assert_int_equal(bans_of(&st), 0);
    assert_int_equal(strata__bans_judge_ids(st.cache, NULL, &meta, strata_str("k"), &id), BAN_HARD);
    assert_int_equal(strata__bans_judge_ids(st.cache, NULL, &meta, strata_str("k"), NULL), BAN_HARD);
    assert_int_equal(strata__bans_judge_ids(st.cache, NULL, &meta, strata_str("k"), &other), BAN_NONE);
    meta.tag_count = 0;
    assert_int_equal(strata__bans_judge_ids(st.cache, NULL, &meta, strata_str("k"), NULL), BAN_NONE);
    assert_int_equal(strata_ban_prefix(st.cache, strata_str("other"), 0, NULL), STRATA_OK);
    pass(&st, 10000);
    assert_int_equal(strata__bans_judge_ids(st.cache, NULL, &meta, strata_str("k"), NULL), BAN_HARD);
    meta.position = atomic_load(&root->position);
    assert_int_equal(strata__bans_judge_ids(st.cache, NULL, &meta, strata_str("k"), NULL), BAN_NONE);
    close_stack(&st);
}

/* What stays ----------------------------------------------------------------------------------------------------------- */

static void test_soft(void **state)
{
    (void)state;
    struct stack st;
    strata_policy policy = STRATA_POLICY_INIT;
    policy.ttl_ms = 100000;
    policy.stale_while_revalidate_ms = 50000;
    open_policy(&st, &policy);
    set_with(st.cache, "stale", "t");
    set_with(st.cache, "fresh", "u");
    assert_int_equal(strata_ban_tag(st.cache, "t", STRATA_BAN_SOFT, NULL), STRATA_OK);
    pass(&st, 140000);
    assert_get(&st, "stale", STRATA_STALE, "v");
    assert_int_equal(bans_of(&st), 1);
    assert_get(&st, "fresh", STRATA_STALE, "v");
    pass(&st, 100000);
    assert_int_equal(memory_of(&st).entries, 0);
    assert_int_equal(bans_of(&st), 0);
    close_stack(&st);
}

/* Nothing is left of it but what a reader would be refused. */
static void test_soft_without_windows(void **state)
{
    (void)state;
    struct stack st;
    open_policy(&st, NULL);
    set_with(st.cache, "k", "t");
    assert_int_equal(strata_ban_tag(st.cache, "t", STRATA_BAN_SOFT, NULL), STRATA_OK);
    pass(&st, 5000);
    assert_int_equal(memory_of(&st).entries, 0);
    assert_int_equal(bans_of(&st), 0);
    close_stack(&st);
}

/* A hit needs no second look once the lurker was there. */
static void test_moves_up(void **state)
{
    (void)state;
    struct stack st;
    strata *in;
    strata_op op = { 0 };
    open_policy(&st, NULL);
    assert_int_equal(strata_namespace(st.cache, "n", NULL, &in, NULL), STRATA_OK);
    set_with(in, "k", NULL);
    assert_int_equal(strata_ban_prefix(st.cache, strata_str("other"), 0, NULL), STRATA_OK);
    assert_int_equal(strata__look(in, &op, strata_str("k"), NULL), STRATA_STALE);
    op_drop(&op);
    pass(&st, 5000);
    assert_int_equal(strata__look(in, &op, strata_str("k"), NULL), STRATA_OK);
    op_drop(&op);
    strata_close(in);
    close_stack(&st);
}

/* What others may still hold, and can't be walked, keeps every ban; memory is swept all the same. */
static void test_layers_below(void **state)
{
    (void)state;
    struct stack st;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    set_with(st.cache, "k", "t");
    set_with(st.cache, "l", "u");
    assert_int_equal(strata_ban_tag(st.cache, "t", 0, NULL), STRATA_OK);
    pass(&st, 100000);
    assert_int_equal(memory_of(&st).entries, 1);
    assert_int_equal(bans_of(&st), 1);
    assert_get(&st, "k", STRATA_MISS, NULL);
    assert_get(&st, "l", STRATA_OK, "v");
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frees),
        cmocka_unit_test(test_no_pile),
        cmocka_unit_test(test_folded),
        cmocka_unit_test(test_steady),
        cmocka_unit_test(test_a_load_holds_its_bans),
        cmocka_unit_test(test_a_load_of_before_the_floor),
        cmocka_unit_test(test_below_the_floor),
        cmocka_unit_test(test_soft),
        cmocka_unit_test(test_soft_without_windows),
        cmocka_unit_test(test_moves_up),
        cmocka_unit_test(test_layers_below),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
