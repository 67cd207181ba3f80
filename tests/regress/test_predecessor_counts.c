/* test_predecessor_counts.c - more traps that caches before this one fell into: what is counted, kept, told apart and found.  Each case says
 * what must hold instead. */
#include "tests/unit/core_fixture.h"

static struct stack st;

/* A stale copy's end moves with every hit: it can be served for ever, whatever its window says. */
static void hits_do_not_lengthen_stale_windows(void **state)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 1000, .stale_if_error_ms = 5000,
                                   .retry_ms = 1 };
    struct origin o = { .st = &st, .value = "v" };
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        open_stack(&st, &(struct stack_options){ .policy = &policy, .with_slow = slow });
        o.fail = 0;
        assert_load(&st, "k", &o, NULL, STRATA_OK, "v");
        o.fail = STRATA_EIO;
        for (int ms = 0; ms < 5900; ms += 100) {
            assert_load(&st, "k", &o, NULL, ms < 1000 ? STRATA_OK : STRATA_STALE, "v");
            pass(&st, 100);
        }
        pass(&st, 100);
        assert_load(&st, "k", &o, NULL, STRATA_EIO, NULL);
        close_stack(&st);
    }
}

/* A hit below counts as a hit and a miss, and a miss of all layers twice: the rate says neither what users nor what layers see. */
static void a_request_is_counted_once(void **state)
{
    struct origin o = { .st = &st, .value = "v" };
    strata_stats s = STRATA_STATS_INIT;
    (void)state;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    assert_load(&st, "k", &o, NULL, STRATA_OK, "v"); /* a miss */
    run(&st);
    assert_get(&st, "k", STRATA_OK, "v");       /* a hit in memory */
    assert_get(&st, "none", STRATA_MISS, NULL); /* a miss */
    struct script_entry *e = script_find(st.slow, strata_str("below"), 1);
    memcpy(e->bytes, "w", e->size = 1);
    e->meta = (strata_meta){ .born_ms = ex_now_ms(st.ex), .fresh_ms = 1000 };
    assert_get(&st, "below", STRATA_OK, "w"); /* a hit below */
    assert_int_equal(strata_stats_get(st.cache, &s), STRATA_OK);
    assert_int_equal(s.requests, 4);
    assert_int_equal(s.hits, 2);
    assert_int_equal(s.misses, 2);
    assert_true(s.hit_rate > 0.499 && s.hit_rate < 0.501);
    assert_int_equal(s.backfills, 1);
    for (size_t i = 0; i < 2; i++) {
        strata_layer_stats layer = STRATA_LAYER_STATS_INIT;
        assert_int_equal(strata_stats_layer(st.cache, i, &layer), STRATA_OK);
        assert_int_equal(layer.hits, 1);
        assert_int_equal(layer.misses, i == 0 ? 3 : 2);
    }
    close_stack(&st);
}

/* A write is counted in the namespace that it was made on, once for each key, whatever the number of layers; and in the cache. */
static void a_write_is_counted_once(void **state)
{
    strata *space = NULL;
    strata_stats s = STRATA_STATS_INIT, all = STRATA_STATS_INIT;
    strata_item items[2] = { { .key = strata_str("a"), .set = strata_str("1") },
                             { .key = strata_str("b"), .set = strata_str("2") } };
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        open_stack(&st, &(struct stack_options){ .with_slow = slow });
        assert_int_equal(strata_namespace(st.cache, "n", NULL, &space, &st.err), STRATA_OK);
        assert_int_equal(strata_set(space, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
        assert_int_equal(strata_set_many(space, items, 2, NULL, NULL), STRATA_OK);
        assert_int_equal(strata_expire(space, strata_str("a"), NULL), STRATA_OK);
        assert_int_equal(strata_delete(space, strata_str("k"), NULL), STRATA_OK);
        assert_int_equal(strata_delete_many(space, items, 2, NULL), STRATA_OK);
        assert_int_equal(strata_clear(space, NULL), STRATA_OK);
        assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
        assert_int_equal(strata_stats_get(space, &s), STRATA_OK);
        assert_int_equal(strata_stats_get(st.cache, &all), STRATA_OK);
        assert_int_equal(s.sets, 3);
        assert_int_equal(s.expires, 1);
        assert_int_equal(s.deletes, 3);
        assert_int_equal(s.clears, 1);
        assert_int_equal(all.sets, 4);
        assert_int_equal(all.deletes, 3);
        assert_int_equal(strata_close(space), STRATA_OK);
        close_stack(&st);
    }
}

/* A switch for counting that nothing looks at. */
static void what_is_not_to_be_counted_is_not(void **state)
{
    strata *cache = NULL;
    strata_value *v = NULL;
    strata_stats s = STRATA_STATS_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    (void)state;
    options.stats = STRATA_OFF;
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=1mb", &options, NULL), STRATA_OK);
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(strata_get(cache, strata_str("k"), &v, NULL), STRATA_OK);
        strata_value_unref(v);
        assert_int_equal(strata_get(cache, strata_str("none"), &v, NULL), STRATA_MISS);
    }
    assert_int_equal(strata_delete(cache, strata_str("k"), NULL), STRATA_OK);
    assert_int_equal(strata_stats_get(cache, &s), STRATA_OK);
    assert_int_equal(s.requests + s.hits + s.misses + s.sets + s.deletes, 0);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

/* "There is none", a value without bytes, and nothing known at all are one and the same. */
static void absent_empty_and_unknown_are_three_answers(void **state)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy), .negative_ttl_ms = 1000 };
    struct origin none = { .st = &st };
    strata_value *v = NULL;
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        open_stack(&st, &(struct stack_options){ .policy = &policy, .with_slow = slow });
        assert_int_equal(strata_set(st.cache, strata_str("empty"), strata_bytes("", 0), NULL, NULL), STRATA_OK);
        assert_load(&st, "absent", &none, NULL, STRATA_ABSENT, NULL);
        assert_int_equal(strata_get(st.cache, strata_str("empty"), &v, NULL), STRATA_OK);
        assert_non_null(v);
        assert_int_equal(strata_value_size(v), 0);
        strata_value_unref(v);
        assert_get(&st, "absent", STRATA_ABSENT, NULL);
        assert_get(&st, "unknown", STRATA_MISS, NULL);
        assert_int_equal(strata_has(st.cache, strata_str("empty"), NULL), 1);
        assert_int_equal(strata_has(st.cache, strata_str("absent"), NULL), 0);
        close_stack(&st);
    }
}

/* Keys with a generation in them are not found by a pattern that users write, and old ones come under two prefixes. */
static void rules_find_what_a_generation_marks(void **state)
{
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    strata *space = NULL;
    (void)state;
    open_stack(&st, &(struct stack_options){ 0 });
    options.generation = "schema";
    assert_int_equal(strata_namespace(st.cache, "users", &options, &space, &st.err), STRATA_OK);
    strata *root = st.cache;
    st.cache = space;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(strata_set(space, strata_str("user:1"), strata_str("a"), NULL, NULL), STRATA_OK);
        assert_int_equal(strata_set(space, strata_str("user:2"), strata_str("b"), NULL, NULL), STRATA_OK);
        assert_int_equal(strata_set(space, strata_str("team:1"), strata_str("c"), NULL, NULL), STRATA_OK);
        assert_int_equal(round ? strata_ban_prefix(space, strata_str("user:"), STRATA_BAN_HARD, NULL)
                               : strata_ban_pattern(space, strata_str("user:?"), STRATA_BAN_HARD, NULL),
                         STRATA_OK);
        assert_get(&st, "user:1", STRATA_MISS, NULL);
        assert_get(&st, "user:2", STRATA_MISS, NULL);
        assert_get(&st, "team:1", STRATA_OK, "c");
        assert_int_equal(strata_generation_bump(space, STRATA_BAN_HARD, NULL, NULL), STRATA_OK);
        assert_get(&st, "team:1", STRATA_MISS, NULL);
    }
    assert_int_equal(strata_close(space), STRATA_OK);
    st.cache = root;
    close_stack(&st);
}

/* A key with a letter beyond the first plane of Unicode, a NUL or a brace is refused, or is another key somewhere below. */
static void keys_are_bytes(void **state)
{
    static const char *const keys[] = { "\xf0\x9f\x8d\x95", "a\nb", "{a}", "a%3Ab", "*", "\xff\xfe" };
    char long_key[1025];
    (void)state;
    memset(long_key, 'k', sizeof long_key);
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        assert_int_equal(strata_set(st.cache, strata_str(keys[i]), strata_str(keys[i]), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_set(st.cache, strata_bytes("a\0b", 3), strata_str("nul"), NULL, NULL), STRATA_OK);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        assert_get(&st, keys[i], STRATA_OK, keys[i]);
    strata_value *v = NULL;
    assert_int_equal(strata_get(st.cache, strata_bytes("a\0b", 3), &v, NULL), STRATA_OK);
    strata_value_unref(v);
    assert_get(&st, "a", STRATA_MISS, NULL);
    assert_int_equal(strata_has(st.cache, strata_bytes(long_key, 1024), NULL), 0);
    assert_int_equal(strata_has(st.cache, strata_bytes(long_key, 1025), NULL), STRATA_EKEYSIZE);
    close_stack(&st);
}

/* Nobody can see that a key is being loaded, or that a refresh runs, but by the event that began it. */
static void a_key_tells_that_it_is_loaded(void **state)
{
    struct origin o = { .st = &st, .pending = 1 };
    strata_inspection seen = STRATA_INSPECTION_INIT;
    struct ended end = { 0 };
    (void)state;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    assert_int_equal(strata_inspect(st.cache, strata_str("k"), &seen, NULL), STRATA_MISS);
    assert_int_equal(seen.loading, 0);
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL, NULL, on_done, &end, NULL),
        STRATA_PENDING);
    run(&st);
    (void)strata_inspect(st.cache, strata_str("k"), &seen, NULL);
    assert_int_equal(seen.loading, 1);
    assert_int_equal(seen.layers, 0);
    assert_int_equal(strata_load_copy(o.kept, "v", 1), STRATA_OK);
    strata_load_unref(o.kept);
    run(&st);
    assert_int_equal(strata_inspect(st.cache, strata_str("k"), &seen, NULL), STRATA_OK);
    assert_int_equal(seen.loading, 0);
    assert_int_equal(seen.layers, 3);
    assert_int_equal(seen.value_bytes, 1);
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hits_do_not_lengthen_stale_windows),
        cmocka_unit_test(a_request_is_counted_once),
        cmocka_unit_test(a_write_is_counted_once),
        cmocka_unit_test(what_is_not_to_be_counted_is_not),
        cmocka_unit_test(absent_empty_and_unknown_are_three_answers),
        cmocka_unit_test(rules_find_what_a_generation_marks),
        cmocka_unit_test(keys_are_bytes),
        cmocka_unit_test(a_key_tells_that_it_is_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
