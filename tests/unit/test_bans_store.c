/* test_bans_store.c - bans in the order of a shared store, which nodes hear of in another one. */
#include "src/core/bans.h"
#include "tests/unit/core_fixture.h"

/* What a shared store holds, as another node has stored it: by clocks it is younger than all bans. */
static enum ban_verdict judge_stored(struct stack *st, uint64_t store_position, uint64_t tag)
{
    struct layer_slot shared = { .flags = STRATA_LAYER_SHARED };
    strata_meta meta = { .life = 77, .born_wall_ms = INT64_MAX / 2, .store_position = store_position, .tag_count = 1 };
    strata_value *tags;
    void *ids;
    tags = strata__value_new(st->cache->root->mem, sizeof tag, &ids);
    memcpy(ids, &tag, sizeof tag);
    enum ban_verdict verdict = strata__bans_judge(st->cache, &shared, &meta, strata_str("user:1"), tags);
    strata_value_unref(tags);
    return verdict;
}

/* Nodes are told of bans in another order than the store took them, and some before the store has: what a ban took stays banned. */
static void test_order_of_the_store(void **state)
{
    (void)state;
    const uint64_t tag = strata__tag_id(strata_str("t")), other = strata__tag_id(strata_str("o"));
    const uint64_t both[2] = { tag, tag };
    const struct ban bans[] = {
        { .kind = BAN_TAGS_ANY, .tags = &tag, .tag_count = 1 },
        { .kind = BAN_PREFIX, .text = { "user:", 5 } },
        { .kind = BAN_PATTERN, .text = { "user:?", 6 } },
        { .kind = BAN_TAGS_ALL, .tags = both, .tag_count = 2 },
        { .kind = BAN_ALL },
    };
    for (size_t i = 0; i < sizeof bans / sizeof bans[0]; i++) {
        struct stack st;
        struct ban ban = bans[i];
        uint32_t position, second;
        open_policy(&st, NULL);
        ban.store_position = 2000;
        assert_int_equal(strata__ban_apply(st.cache->root, &ban), STRATA_OK);
        ban.store_position = 1500; /* slower on its way */
        assert_int_equal(strata__ban_apply(st.cache->root, &ban), STRATA_OK);
        assert_int_equal(judge_stored(&st, 1700, tag), BAN_HARD);
        assert_int_equal(judge_stored(&st, 2000, tag), BAN_NONE);
        ban.store_position = 0; /* not yet in the store */
        assert_int_equal(strata__ban_enter(st.cache->root, &ban, &position), STRATA_OK);
        assert_int_equal(judge_stored(&st, 1700, tag), BAN_HARD);
        assert_int_equal(strata__ban_enter(st.cache->root, &ban, &second), STRATA_OK);
        ban.life = st.cache->root->life;
        ban.position = second, ban.store_position = 2500;
        strata__ban_placed(st.cache->root, &ban);
        assert_int_equal(judge_stored(&st, 2400, tag), BAN_HARD);
        ban.position = position, ban.store_position = 3000; /* issued first, taken second */
        strata__ban_placed(st.cache->root, &ban);
        assert_int_equal(judge_stored(&st, 2900, tag), BAN_HARD);
        assert_int_equal(judge_stored(&st, 3000, tag), BAN_NONE);
        if (ban.kind == BAN_TAGS_ANY || ban.kind == BAN_TAGS_ALL)
            assert_int_equal(judge_stored(&st, 1700, other), BAN_NONE);
        close_stack(&st);
    }
}

/* One that the store is yet to hear of is not forgotten over one that it took before, which this node hears of later. */
static void test_pending_beside_placed(void **state)
{
    (void)state;
    const uint64_t tag = strata__tag_id(strata_str("t"));
    const struct ban tags = { .kind = BAN_TAGS_ANY, .tags = &tag, .tag_count = 1 };
    const struct ban prefix = { .kind = BAN_PREFIX, .text = { "user:", 5 } }, all = { .kind = BAN_ALL };
    const struct ban *const pairs[][2] = { { &tags, &tags }, { &prefix, &prefix }, { &prefix, &all } };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct stack st;
        struct layer_slot shared = { .flags = STRATA_LAYER_SHARED };
        struct ban older = *pairs[i][1];
        uint32_t position;
        open_policy(&st, NULL);
        struct root *root = st.cache->root;
        strata_meta meta = { .life = 77, .born_wall_ms = ex_wall_ms(root->ex), .store_position = 1700, .tag_count = 1 };
        assert_int_equal(strata__ban_enter(root, pairs[i][0], &position), STRATA_OK);
        older.store_position = 1500;
        assert_int_equal(strata__ban_apply(root, &older), STRATA_OK);
        assert_int_equal(strata__bans_judge_ids(st.cache, &shared, &meta, strata_str("user:1"), &tag), BAN_HARD);
        meta.born_wall_ms += 5000;
        assert_int_equal(strata__bans_judge_ids(st.cache, &shared, &meta, strata_str("user:1"), &tag), BAN_NONE);
        close_stack(&st);
    }
}

/* One that was stored a moment ago: clocks would call it banned. */
static enum ban_verdict judge_now(struct stack *st, uint64_t store_position, const char *key, uint64_t tag)
{
    struct root *root = st->cache->root;
    struct layer_slot shared = { .flags = STRATA_LAYER_SHARED };
    strata_meta meta = {
        .life = 77, .born_wall_ms = ex_wall_ms(root->ex), .store_position = store_position, .tag_count = 1
    };
    return strata__bans_judge_ids(st->cache, &shared, &meta, strata_str(key), &tag);
}

static const uint64_t the_tag[2] = { 4711, 4711 };
static const struct ban each_kind[] = {
    { .kind = BAN_TAGS_ANY, .tags = the_tag, .tag_count = 1 },
    { .kind = BAN_PREFIX, .text = { "user:", 5 } },
    { .kind = BAN_PATTERN, .text = { "user:?", 6 } },
    { .kind = BAN_TAGS_ALL, .tags = the_tag, .tag_count = 2 },
    { .kind = BAN_ALL },
};
enum { KINDS = sizeof each_kind / sizeof each_kind[0] };

/* The same ban comes meanwhile: this node's own, read from the list before the store's answer is here, or another node's, which the store
 * took before it, or behind it.  Once there is an answer clocks have nothing to say. */
static void test_heard_of_before_it_is_placed(void **state)
{
    (void)state;
    static const uint64_t heard[] = { 2000, 1500, 2500 };
    for (size_t i = 0; i < KINDS * 3; i++) {
        struct stack st;
        struct ban own = each_kind[i / 3], other = own;
        open_policy(&st, NULL);
        struct root *root = st.cache->root;
        uint64_t last = heard[i % 3] > 2000 ? heard[i % 3] : 2000;
        assert_int_equal(strata__ban_enter(root, &own, &own.position), STRATA_OK);
        other.store_position = heard[i % 3];
        assert_int_equal(strata__ban_apply(root, &other), STRATA_OK);
        assert_int_equal(judge_now(&st, 3000, "user:1", the_tag[0]), BAN_HARD);
        own.life = root->life;
        own.store_position = 2000;
        strata__ban_placed(root, &own);
        assert_int_equal(judge_now(&st, last - 1, "user:1", the_tag[0]), BAN_HARD);
        assert_int_equal(judge_now(&st, last, "user:1", the_tag[0]), BAN_NONE);
        close_stack(&st);
    }
}

/* Another one of this node's, issued later, is open until it has an answer of its own; an earlier one is not, once that one has. */
static void test_two_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < KINDS * 2; i++) {
        struct stack st;
        struct ban first = each_kind[i / 2], second = first;
        open_policy(&st, NULL);
        struct root *root = st.cache->root;
        assert_int_equal(strata__ban_enter(root, &first, &first.position), STRATA_OK);
        assert_int_equal(strata__ban_enter(root, &second, &second.position), STRATA_OK);
        struct ban *placed = i % 2 ? &second : &first;
        placed->life = root->life;
        placed->store_position = 2000;
        strata__ban_placed(root, placed);
        assert_int_equal(judge_now(&st, 2000, "user:1", the_tag[0]), i % 2 ? BAN_NONE : BAN_HARD);
        assert_int_equal(judge_now(&st, 1999, "user:1", the_tag[0]), BAN_HARD);
        close_stack(&st);
    }
}

/* A place is that of the ban that it was given to, and of no other one of its kind. */
static void test_place_of_another(void **state)
{
    (void)state;
    struct stack st;
    struct ban group = { .kind = BAN_PREFIX, .text = { "group:", 6 }, .store_position = 1000 };
    struct ban own = { .kind = BAN_PREFIX, .text = { "user:", 5 } }, same = own;
    uint64_t other = 1;
    open_policy(&st, NULL);
    struct root *root = st.cache->root;
    assert_int_equal(strata__ban_apply(root, &group), STRATA_OK);
    assert_int_equal(strata__ban_enter(root, &own, &own.position), STRATA_OK);
    same.store_position = 2000;
    assert_int_equal(strata__ban_apply(root, &same), STRATA_OK);
    own.life = root->life;
    own.store_position = 2000;
    strata__ban_placed(root, &own);
    assert_int_equal(judge_now(&st, 1500, "group:1", other), BAN_NONE);
    assert_int_equal(judge_now(&st, 1500, "user:1", other), BAN_HARD);
    assert_int_equal(judge_now(&st, 2000, "user:1", other), BAN_NONE);
    close_stack(&st);
}

/* One that had to wait for the store counts from when it has arrived there, and then as any that has its place. */
static void test_owed_has_arrived(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        struct stack st;
        struct ban ban = each_kind[0];
        open_policy(&st, NULL);
        struct root *root = st.cache->root;
        assert_int_equal(strata__ban_enter(root, &ban, &ban.position), STRATA_OK);
        strata_ban_op op = {
            .size = sizeof op, .kind = ban.kind, .tags = ban.tags, .tag_count = 1, .store_position = 2000
        };
        op.life = own ? root->life : 0;
        op.position = own ? ban.position : 0;
        uint32_t before = atomic_load(&root->position);
        strata__host_ban(&root->host, &op);
        assert_int_equal(atomic_load(&root->position), before + 1);
        assert_int_equal(judge_now(&st, 2000, "user:1", the_tag[0]), own ? BAN_NONE : BAN_HARD);
        assert_int_equal(judge_now(&st, 1999, "user:1", the_tag[0]), BAN_HARD);
        close_stack(&st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_the_store),
        cmocka_unit_test(test_pending_beside_placed),
        cmocka_unit_test(test_heard_of_before_it_is_placed),
        cmocka_unit_test(test_two_of_its_own),
        cmocka_unit_test(test_place_of_another),
        cmocka_unit_test(test_owed_has_arrived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
