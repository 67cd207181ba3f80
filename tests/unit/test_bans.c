/* test_bans.c - tags, prefixes, patterns: what goes, what stays, and when. */
#include "src/core/bans.h"
#include "tests/unit/core_fixture.h"

static void set_in(struct stack *st, strata *in, const char *key, const char *tag, const char *second)
{
    strata_slice tags[2] = { strata_str(tag), strata_str(second != NULL ? second : "") };
    int rc = strata_set_tagged(in, strata_str(key), strata_str("v"), tags, second != NULL ? 2 : 1, NULL, &st->err);
    assert_int_equal(rc, STRATA_OK);
}

static int status_in(struct stack *st, strata *in, const char *key)
{
    strata_value *v;
    int rc = strata_get(in, strata_str(key), &v, &st->err);
    strata_value_unref(v);
    return rc;
}

#define assert_status(st, key, status) assert_int_equal(status_in((st), (st)->cache, (key)), (status))

static void test_tags(void **state)
{
    (void)state;
    struct stack st;
    open_policy(&st, NULL);
    set_in(&st, st.cache, "one", "red", NULL);
    set_in(&st, st.cache, "two", "red", "blue");
    set_in(&st, st.cache, "three", "blue", NULL);
    assert_int_equal(strata_set(st.cache, strata_str("plain"), strata_str("v"), NULL, &st.err), STRATA_OK);
    assert_int_equal(strata_ban_tag(st.cache, "green", STRATA_BAN_HARD, &st.err), STRATA_OK);
    assert_status(&st, "one", STRATA_OK);
    assert_int_equal(strata_ban_tag(st.cache, "red", STRATA_BAN_HARD, &st.err), STRATA_OK);
    assert_status(&st, "one", STRATA_MISS);
    assert_status(&st, "two", STRATA_MISS);
    assert_status(&st, "three", STRATA_OK);
    assert_status(&st, "plain", STRATA_OK);
    set_in(&st, st.cache, "one", "red", NULL);
    assert_status(&st, "one", STRATA_OK);
    strata_slice both[2] = { strata_str("red"), strata_str("blue") };
    set_in(&st, st.cache, "two", "red", "blue");
    assert_int_equal(strata_ban_tags(st.cache, both, 2, STRATA_BAN_ALL_TAGS, &st.err), STRATA_OK);
    assert_status(&st, "two", STRATA_MISS);
    assert_status(&st, "one", STRATA_OK);
    assert_status(&st, "three", STRATA_OK);
    assert_int_equal(strata_ban_tags(st.cache, both, 2, STRATA_BAN_HARD, &st.err), STRATA_OK);
    assert_status(&st, "one", STRATA_MISS);
    assert_status(&st, "three", STRATA_MISS);
    assert_status(&st, "plain", STRATA_OK);
    close_stack(&st);
}

static void test_keys(void **state)
{
    (void)state;
    struct stack st;
    static const char *const keys[] = { "user:1", "user:2", "user:10:x", "group:1", "a*b" };
    open_policy(&st, NULL);
    for (int i = 0; i < 5; i++)
        assert_int_equal(strata_set(st.cache, strata_str(keys[i]), strata_str("v"), NULL, &st.err), STRATA_OK);
    assert_int_equal(strata_ban_pattern(st.cache, strata_str("user:?"), STRATA_BAN_HARD, &st.err), STRATA_OK);
    assert_status(&st, "user:1", STRATA_MISS);
    assert_status(&st, "user:2", STRATA_MISS);
    assert_status(&st, "user:10:x", STRATA_OK);
    assert_int_equal(strata_ban_pattern(st.cache, strata_str("a\\*b"), STRATA_BAN_HARD, &st.err), STRATA_OK);
    assert_status(&st, "a*b", STRATA_MISS);
    assert_int_equal(strata_ban_prefix(st.cache, strata_str("user:"), STRATA_BAN_HARD, &st.err), STRATA_OK);
    assert_status(&st, "user:10:x", STRATA_MISS);
    assert_status(&st, "group:1", STRATA_OK);
    assert_int_equal(strata_ban_prefix(st.cache, strata_str(""), STRATA_BAN_HARD, &st.err), STRATA_OK);
    assert_status(&st, "group:1", STRATA_MISS);
    close_stack(&st);
}

static void test_wrong(void **state)
{
    (void)state;
    struct stack st;
    static strata_slice many[STRATA_TAGS_MAX + 1];
    static char names[STRATA_TAGS_MAX + 1][16];
    open_stack(&st, &(struct stack_options){ .memory_bytes = 64 << 20 });
    for (int i = 0; i <= STRATA_TAGS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i);
        many[i] = strata_str(names[i]);
    }
    strata_slice key = strata_str("k"), value = strata_str("v"), empty = { "", 0 };
    assert_int_equal(strata_set_tagged(st.cache, key, value, many, STRATA_TAGS_MAX + 1, NULL, &st.err), STRATA_EINVAL);
    assert_int_equal(strata_set_tagged(st.cache, key, value, &empty, 1, NULL, &st.err), STRATA_EINVAL);
    assert_int_equal(strata_ban_tags(st.cache, many, 0, 0, &st.err), STRATA_EINVAL);
    assert_int_equal(strata_ban_tags(st.cache, many, STRATA_TAGS_MAX + 1, 0, &st.err), STRATA_EINVAL);
    assert_int_equal(strata_ban_tags(st.cache, many, 65, STRATA_BAN_ALL_TAGS, &st.err), STRATA_EINVAL);
    assert_int_equal(strata_ban_tag(st.cache, "", 0, &st.err), STRATA_EINVAL);
    assert_int_equal(strata_ban_tag(st.cache, "t", 8, &st.err), STRATA_EINVAL);
    assert_non_null(strstr(st.err.message, "give STRATA_BAN_HARD or STRATA_BAN_SOFT"));
    assert_int_equal(strata_ban_pattern(st.cache, strata_str("a\\"), 0, &st.err), STRATA_EINVAL);
    /* As many as there may be: each of them finds it. */
    for (int i = 0; i < STRATA_TAGS_MAX; i += 3333) {
        assert_int_equal(strata_set_tagged(st.cache, key, value, many, STRATA_TAGS_MAX, NULL, &st.err), STRATA_OK);
        assert_status(&st, "k", STRATA_OK);
        assert_int_equal(strata_ban_tag(st.cache, "not there", 0, &st.err), STRATA_OK);
        assert_status(&st, "k", STRATA_OK);
        assert_int_equal(strata_ban_tag(st.cache, names[i], 0, &st.err), STRATA_OK);
        assert_status(&st, "k", STRATA_MISS);
    }
    close_stack(&st);
}

static void test_namespaces(void **state)
{
    (void)state;
    struct stack st;
    strata *above, *below, *beside;
    open_policy(&st, NULL);
    assert_int_equal(strata_namespace(st.cache, "a", NULL, &above, &st.err), STRATA_OK);
    assert_int_equal(strata_namespace(above, "b", NULL, &below, &st.err), STRATA_OK);
    assert_int_equal(strata_namespace(st.cache, "c", NULL, &beside, &st.err), STRATA_OK);
    strata *all[4] = { st.cache, above, below, beside };
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4; i++)
            set_in(&st, all[i], "k", "t", NULL);
        if (round == 0)
            assert_int_equal(strata_ban_tag(above, "t", 0, &st.err), STRATA_OK);
        else
            assert_int_equal(strata_ban_prefix(above, strata_str("k"), 0, &st.err), STRATA_OK);
        assert_int_equal(status_in(&st, st.cache, "k"), STRATA_OK);
        assert_int_equal(status_in(&st, above, "k"), STRATA_MISS);
        assert_int_equal(status_in(&st, below, "k"), STRATA_MISS);
        assert_int_equal(status_in(&st, beside, "k"), STRATA_OK);
    }
    set_in(&st, below, "k", "t", NULL);
    assert_int_equal(strata_ban_tag(st.cache, "t", 0, &st.err), STRATA_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(status_in(&st, all[i], "k"), STRATA_MISS);
    strata_close(above), strata_close(below), strata_close(beside);
    close_stack(&st);
}

static void test_soft(void **state)
{
    (void)state;
    struct stack st;
    strata_policy policy = STRATA_POLICY_INIT;
    policy.ttl_ms = 10000;
    policy.stale_while_revalidate_ms = 5000;
    open_policy(&st, &policy);
    set_in(&st, st.cache, "k", "t", NULL);
    set_in(&st, st.cache, "hard", "u", NULL);
    assert_int_equal(strata_ban_tag(st.cache, "t", STRATA_BAN_SOFT, &st.err), STRATA_OK);
    for (int i = 0; i < 3; i++)
        assert_status(&st, "k", STRATA_STALE);
    pass(&st, 14000); /* its window ends when it would have ended */
    assert_status(&st, "k", STRATA_STALE);
    assert_status(&st, "hard", STRATA_STALE);
    assert_int_equal(strata_ban_tag(st.cache, "u", STRATA_BAN_HARD, &st.err), STRATA_OK);
    assert_status(&st, "hard", STRATA_MISS); /* whatever windows it has */
    pass(&st, 2000);
    assert_status(&st, "k", STRATA_MISS);
    set_in(&st, st.cache, "k", "t", NULL);
    assert_status(&st, "k", STRATA_OK);
    assert_int_equal(strata_ban_prefix(st.cache, strata_str("k"), STRATA_BAN_SOFT, &st.err), STRATA_OK);
    assert_status(&st, "k", STRATA_STALE);
    struct origin o = { .st = &st, .value = "new" };
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "v");
    run(&st);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "new");
    assert_int_equal(o.calls, 1);
    close_stack(&st);
}

/* A soft ban of what has no window left is as good as a hard one. */
static void test_soft_without_windows(void **state)
{
    (void)state;
    struct stack st;
    open_policy(&st, NULL);
    set_in(&st, st.cache, "k", "t", NULL);
    assert_int_equal(strata_ban_tag(st.cache, "t", STRATA_BAN_SOFT, &st.err), STRATA_OK);
    assert_status(&st, "k", STRATA_MISS);
    close_stack(&st);
}

/* Fills under way --------------------------------------------------------------------------------------------------- */

static int tags_and_keeps(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    assert_int_equal(strata_load_tag(load, "t"), STRATA_OK);
    *(strata_load **)ctx = strata_load_ref(load);
    return STRATA_PENDING;
}

static void test_fills(void **state)
{
    (void)state;
    for (int with_slow = 0; with_slow < 2; with_slow++)
        for (int how = 0; how < 4; how++) {
            struct stack st;
            struct ended end = { 0 };
            strata_load *load = NULL;
            open_stack(&st, &(struct stack_options){ .with_slow = with_slow });
            int rc = strata_get_or_load_async(st.cache, strata_str("key"), tags_and_keeps, &load, NULL, NULL, on_done,
                                              &end, &st.err);
            assert_int_equal(rc, STRATA_PENDING);
            run(&st);
            assert_non_null(load);
            if (how == 1)
                assert_int_equal(strata_ban_tag(st.cache, "t", 0, &st.err), STRATA_OK);
            if (how == 2)
                assert_int_equal(strata_ban_pattern(st.cache, strata_str("k*"), 0, &st.err), STRATA_OK);
            if (how == 3)
                assert_int_equal(strata_ban_tag(st.cache, "other", 0, &st.err), STRATA_OK);
            assert_int_equal(strata_load_copy(load, "old", 3), STRATA_OK);
            assert_int_equal(strata_load_tag(load, "late"), STRATA_EALREADY);
            strata_load_unref(load);
            run(&st);
            assert_int_equal(end.status, STRATA_OK);
            assert_string_equal(end.text, "old"); /* its caller has it, the cache has not */
            assert_status(&st, "key", how == 1 || how == 2 ? STRATA_MISS : STRATA_OK);
            assert_int_equal(strata_ban_tag(st.cache, "t", 0, &st.err), STRATA_OK);
            assert_status(&st, "key", STRATA_MISS);
            close_stack(&st);
        }
}

/* Who asks after a ban never joins a load that began before: not where its key is banned, and not where a tag is, for nobody knows
 * yet which tags it brings. */
static void test_no_join(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct stack st;
        struct ended first = { 0 }, second = { 0 };
        strata_load *one = NULL, *two = NULL;
        strata_slice key = strata_str("key");
        open_policy(&st, NULL);
        strata_get_or_load_async(st.cache, key, tags_and_keeps, &one, NULL, NULL, on_done, &first, &st.err);
        run(&st);
        if (how == 0)
            assert_int_equal(strata_ban_prefix(st.cache, strata_str("ke"), 0, &st.err), STRATA_OK);
        else
            assert_int_equal(strata_ban_tag(st.cache, "t", how == 1 ? 0 : STRATA_BAN_SOFT, &st.err), STRATA_OK);
        strata_get_or_load_async(st.cache, key, tags_and_keeps, &two, NULL, NULL, on_done, &second, &st.err);
        run(&st);
        assert_non_null(two);
        assert_int_equal(strata_load_copy(one, "old", 3), STRATA_OK);
        assert_int_equal(strata_load_copy(two, "new", 3), STRATA_OK);
        strata_load_unref(one);
        strata_load_unref(two);
        run(&st);
        assert_string_equal(first.text, "old");
        assert_string_equal(second.text, "new");
        assert_get(&st, "key", STRATA_OK, "new");
        close_stack(&st);
    }
}

/* Bounds ------------------------------------------------------------------------------------------------------------ */

static void test_overflow_forgets_no_ban(void **state)
{
    (void)state;
    struct stack st;
    char name[32];
    open_policy(&st, NULL);
    set_in(&st, st.cache, "first", "t0", NULL);
    assert_int_equal(strata_set(st.cache, strata_str("p0:x"), strata_str("v"), NULL, &st.err), STRATA_OK);
    for (int i = 0; i < TAG_BANS * 2 + 100; i++) {
        snprintf(name, sizeof name, "t%d", i);
        assert_int_equal(strata_ban_tag(st.cache, name, 0, &st.err), STRATA_OK);
    }
    assert_true(st.cache->root->bans->tag_count <= TAG_BANS);
    assert_status(&st, "first", STRATA_MISS);
    set_in(&st, st.cache, "first", "t0", NULL);
    assert_status(&st, "first", STRATA_OK);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "p%d:", i);
        assert_int_equal(strata_ban_prefix(st.cache, strata_str(name), 0, &st.err), STRATA_OK);
    }
    assert_true(st.cache->root->bans->rule_count <= RULES_A_NAMESPACE + 1);
    assert_status(&st, "p0:x", STRATA_MISS);
    set_in(&st, st.cache, "late", "t0", NULL);
    assert_status(&st, "late", STRATA_OK);
    close_stack(&st);
}

static void test_overflow_of_namespaces(void **state)
{
    (void)state;
    struct stack st;
    char name[32];
    open_policy(&st, NULL);
    for (int n = 0; n < 40; n++) {
        strata *in;
        snprintf(name, sizeof name, "n%d", n);
        assert_int_equal(strata_namespace(st.cache, name, NULL, &in, &st.err), STRATA_OK);
        set_in(&st, in, "k0", "t", "u");
        for (int i = 0; i < 60; i++) {
            strata_slice tags[2] = { strata_str("t"), strata_str(name) };
            snprintf(name, sizeof name, "k%d", i);
            if (i % 4 == 3)
                assert_int_equal(strata_ban_tags(in, tags, 2, STRATA_BAN_ALL_TAGS, &st.err), STRATA_OK);
            else
                assert_int_equal(strata_ban_prefix(in, strata_str(name), i % 4 == 2, &st.err), STRATA_OK);
            assert_true(st.cache->root->bans->rule_count <= RULES);
        }
        strata_close(in);
    }
    for (int n = 0; n < 40; n++) {
        strata *in;
        snprintf(name, sizeof name, "n%d", n);
        assert_int_equal(strata_namespace(st.cache, name, NULL, &in, &st.err), STRATA_OK);
        assert_int_equal(status_in(&st, in, "k0"), STRATA_MISS);
        set_in(&st, in, "k0", "t", NULL);
        assert_int_equal(status_in(&st, in, "k0"), STRATA_OK);
        strata_close(in);
    }
    close_stack(&st);
}

/* A ban from elsewhere, of a namespace that nobody has opened here. */
static void test_applied(void **state)
{
    (void)state;
    struct stack st;
    strata *in;
    open_policy(&st, NULL);
    set_in(&st, st.cache, "k", "t", NULL);
    uint64_t tag = strata__tag_id(strata_str("t"));
    struct ban ban = { .kind = BAN_TAGS_ANY, .path = { "\0\1n", 3 }, .tags = &tag, .tag_count = 1 };
    assert_int_equal(strata__ban_apply(st.cache->root, &ban), STRATA_OK);
    assert_int_equal(strata_namespace(st.cache, "n", NULL, &in, &st.err), STRATA_OK);
    set_in(&st, in, "k", "t", NULL);
    assert_int_equal(status_in(&st, in, "k"), STRATA_OK);
    assert_int_equal(strata__ban_apply(st.cache->root, &ban), STRATA_OK);
    assert_int_equal(status_in(&st, in, "k"), STRATA_MISS);
    assert_status(&st, "k", STRATA_OK);
    ban.path.size = 0;
    assert_int_equal(strata__ban_apply(st.cache->root, &ban), STRATA_OK);
    assert_status(&st, "k", STRATA_MISS);
    ban.kind = 77;
    assert_int_equal(strata__ban_apply(st.cache->root, &ban), STRATA_EINVAL);
    strata_close(in);
    close_stack(&st);
}

/* Without memory, and of a kind that only a newer release knows, it takes more than it says, never less. */
static void test_more_than_it_says(void **state)
{
    (void)state;
    struct stack st;
    strata *in;
    struct layer_slot alone = { .flags = STRATA__LAYER_ALONE };
    strata_meta meta = { .life = 77, .born_wall_ms = 1 };
    open_policy(&st, NULL);
    assert_int_equal(strata_namespace(st.cache, "n", NULL, &in, &st.err), STRATA_OK);
    set_in(&st, st.cache, "k", "t", NULL);
    set_in(&st, in, "k", "t", NULL);
    strata_ban_op op = { .size = sizeof op, .kind = 99, .prefix = { "\0\1n", 3 } };
    strata__host_ban(&st.cache->root->host, &op);
    assert_status(&st, "k", STRATA_OK);
    assert_int_equal(status_in(&st, in, "k"), STRATA_MISS);
    assert_int_equal(strata__bans_judge(in, &alone, &meta, strata_str("k"), NULL), BAN_HARD);
    strata__clear_here(st.cache->root, (strata_slice){ "\0\6closed", 8 });
    strata *late;
    assert_int_equal(strata_namespace(st.cache, "closed", NULL, &late, &st.err), STRATA_OK);
    assert_int_equal(atomic_load(&late->min_position), atomic_load(&st.cache->root->position));
    assert_status(&st, "k", STRATA_MISS);
    strata_close(in);
    strata_close(late);
    close_stack(&st);
}

/* What stands for a ban that found no memory holds for every way of reading. */
static void test_cleared_here(void **state)
{
    (void)state;
    struct stack st;
    strata *in;
    open_policy(&st, NULL);
    assert_int_equal(strata_namespace(st.cache, "n", NULL, &in, &st.err), STRATA_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(strata_set(in, strata_str("a plain key"), strata_str("v"), NULL, &st.err), STRATA_OK);
        set_in(&st, in, "a tagged key", "t", NULL);
        assert_int_equal(status_in(&st, in, "a plain key"), STRATA_OK);
        assert_int_equal(status_in(&st, in, "a tagged key"), STRATA_OK);
        strata__clear_here(st.cache->root, i == 0 ? ban_path(in) : ban_path(st.cache));
        assert_int_equal(status_in(&st, in, "a plain key"), STRATA_MISS);
        assert_int_equal(status_in(&st, in, "a tagged key"), STRATA_MISS);
    }
    strata_close(in);
    close_stack(&st);
}

/* After four thousand million bans: what is banned is gone for good, and nothing that is banned comes back. */
static void test_last_position(void **state)
{
    (void)state;
    struct stack st;
    strata *in;
    open_policy(&st, NULL);
    assert_int_equal(strata_namespace(st.cache, "n", NULL, &in, &st.err), STRATA_OK);
    atomic_store(&st.cache->root->position, UINT32_MAX - 2);
    for (int i = 0; i < 4; i++) {
        set_in(&st, st.cache, "a red one", "red", NULL);
        set_in(&st, st.cache, "a blue one", "blue", NULL);
        assert_int_equal(strata_set(in, strata_str("a plain one"), strata_str("v"), NULL, &st.err), STRATA_OK);
        assert_status(&st, "a red one", i < 2 ? STRATA_OK : STRATA_MISS);
        assert_status(&st, "a blue one", STRATA_OK);
        assert_int_equal(status_in(&st, in, "a plain one"), i < 3 ? STRATA_OK : STRATA_MISS);
        assert_int_equal(strata_ban_tag(st.cache, "red", 0, &st.err), STRATA_OK);
        assert_status(&st, "a red one", STRATA_MISS);
        assert_status(&st, "a blue one", STRATA_OK);
        if (i == 2)
            assert_int_equal(strata_clear(in, &st.err), STRATA_OK);
        assert_int_equal(status_in(&st, in, "a plain one"), i < 2 ? STRATA_OK : STRATA_MISS);
    }
    strata_close(in);
    close_stack(&st);
}

/* A layer that gives other tags than it says to have: it may have any. */
static void test_a_careless_layer(void **state)
{
    (void)state;
    struct stack st;
    open_policy(&st, NULL);
    assert_int_equal(strata_ban_tag(st.cache, "unlike", 0, &st.err), STRATA_OK);
    for (uint32_t count = 0; count < 10; count += 3) {
        struct root *root = st.cache->root;
        uint64_t id = 1;
        struct held held = { 0 };
        strata_op op = { .size = sizeof op, .key = strata_str("k"), .mem = root->mem };
        for (int before = 0; before < 2; before++) {
            op.meta = (strata_meta){ .life = root->life, .position = before ? 0 : atomic_load(&root->position) };
            op.meta.fresh_ms = 1000;
            op.found = strata__value_copy(root->mem, "v", 1);
            strata_op_tags(&op, &id, 1);
            op.meta.tag_count = count;
            assert_int_equal(strata__held_init(st.cache, &root->layers[0], &op, &held), !before);
            assert_null(op.tags);
            if (before)
                continue;
            assert_null(held.tags);
            assert_int_equal(held.meta.tag_count, count != 0 ? count : 1);
            strata__held_drop(&held);
        }
    }
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_wrong),
        cmocka_unit_test(test_namespaces),
        cmocka_unit_test(test_soft),
        cmocka_unit_test(test_soft_without_windows),
        cmocka_unit_test(test_fills),
        cmocka_unit_test(test_no_join),
        cmocka_unit_test(test_overflow_forgets_no_ban),
        cmocka_unit_test(test_overflow_of_namespaces),
        cmocka_unit_test(test_applied),
        cmocka_unit_test(test_more_than_it_says),
        cmocka_unit_test(test_a_careless_layer),
        cmocka_unit_test(test_cleared_here),
        cmocka_unit_test(test_last_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
