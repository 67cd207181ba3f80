/* test_demote_close.c - what memory holds when the cache is closed goes to the layer below that takes what is evicted:
 * src/core/demote_close.c.  Here it is asked for it while the cache is open and nobody is in it, so that what came below can be
 * looked at; and over a real disk, closed and opened again. */
#include "src/core/demote.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core_fixture.h"

static void set(strata *cache, const char *key, const char *value)
{
    assert_int_equal(strata_set(cache, strata_str(key), strata_str(value), NULL, NULL), STRATA_OK);
}

static void open_demoting(struct stack *st, const struct stack_options *more)
{
    struct stack_options o = *more;
    o.with_slow = 1;
    o.slow_flags = STRATA_LAYER_DEMOTED;
    open_stack(st, &o);
}

static const struct script_entry *below(struct stack *st, const char *key)
{
    return script_find(st->slow, strata_str(key), 0);
}

static void hand_over(struct stack *st) { assert_int_equal(strata__demotions_close(st->cache->root), 1); }

static void what_memory_holds_goes_below(void **state)
{
    (void)state;
    struct stack st;
    char key[16];
    struct origin o = { .st = &st, .value = "loaded" };
    open_demoting(&st, &(struct stack_options){ 0 });
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "%d", i);
        set(st.cache, key, key);
    }
    assert_load(&st, "x", &o, NULL, STRATA_OK, "loaded");
    assert_int_equal(st.slow->puts, 0);
    hand_over(&st);
    assert_int_equal(st.slow->puts, 101);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "%d", i);
        assert_non_null(below(&st, key));
        assert_memory_equal(below(&st, key)->bytes, key, strlen(key));
    }
    assert_memory_equal(below(&st, "x")->bytes, "loaded", 6);
    close_stack(&st);
}

static void a_layer_that_answers_later_is_waited_for(void **state)
{
    (void)state;
    struct stack st;
    char key[16];
    open_demoting(&st, &(struct stack_options){ 0 });
    for (int i = 0; i < 70; i++) {
        snprintf(key, sizeof key, "%d", i);
        set(st.cache, key, key);
    }
    st.slow->delay_ms = 10;
    int submits = st.slow->submits;
    hand_over(&st);
    assert_int_equal(st.slow->puts, 70);
    assert_int_equal(st.slow->submits, submits + 3); /* many at once */
    for (int i = 0; i < 70; i++) {
        snprintf(key, sizeof key, "%d", i);
        assert_non_null(below(&st, key));
    }
    close_stack(&st);
}

static void what_is_gone_does_not_come_back(void **state)
{
    (void)state;
    struct stack st;
    strata *space, *other;
    open_demoting(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_namespace(st.cache, "space", NULL, &space, NULL), STRATA_OK);
    assert_int_equal(strata_namespace(st.cache, "other", NULL, &other, NULL), STRATA_OK);
    set(space, "k", "1");
    set(other, "k", "2");
    set(st.cache, "deleted", "1");
    set(st.cache, "expired", "1");
    set(st.cache, "kept", "old");
    set(st.cache, "kept", "new");
    assert_int_equal(strata_delete(st.cache, strata_str("deleted"), NULL), STRATA_OK);
    assert_int_equal(strata_expire(st.cache, strata_str("expired"), NULL), STRATA_OK);
    assert_int_equal(strata_clear(space, NULL), STRATA_OK);
    hand_over(&st);
    assert_int_equal(st.slow->puts, 2);
    assert_memory_equal(below(&st, "kept")->bytes, "new", 3);
    /* The other one is the namespace's. */
    strata_close(space);
    strata_close(other);
    close_stack(&st);
}

static void a_clear_that_memory_did_not_carry_out_counts(void **state)
{
    (void)state;
    struct stack st;
    open_demoting(&st, &(struct stack_options){ 0 });
    set(st.cache, "k", "1");
    atomic_store(&st.cache->min_position, atomic_fetch_add(&st.cache->root->position, 1) + 1);
    hand_over(&st);
    assert_int_equal(st.slow->puts, 0);
    close_stack(&st);
}

static void what_is_over_absent_or_below_stays_out(void **state)
{
    (void)state;
    struct stack st;
    const strata_policy brief = { STRATA_SIZED(strata_policy), .ttl_ms = 100, .negative_ttl_ms = 1000 };
    struct origin none = { .st = &st, .value = NULL };
    open_demoting(&st, &(struct stack_options){ .policy = &brief, .memory_entries = 2 });
    set(st.cache, "below", "1");
    set(st.cache, "a", "1");
    set(st.cache, "b", "1"); /* drives it out */
    run(&st);
    assert_non_null(below(&st, "below"));
    assert_get(&st, "below", STRATA_OK, "1"); /* drives out "a" */
    run(&st);
    assert_int_equal(st.slow->puts, 2);
    hand_over(&st);
    assert_int_equal(st.slow->puts, 3); /* "b" */
    pass(&st, 200);
    assert_load(&st, "none", &none, NULL, STRATA_ABSENT, NULL);
    hand_over(&st);
    assert_int_equal(st.slow->puts, 3);
    close_stack(&st);
}

static void what_is_stale_but_of_use_goes(void **state)
{
    (void)state;
    struct stack st;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 100, .stale_while_revalidate_ms = 1000 };
    open_demoting(&st, &(struct stack_options){ .policy = &policy });
    set(st.cache, "k", "1");
    pass(&st, 200);
    hand_over(&st);
    assert_non_null(below(&st, "k"));
    assert_int_equal(below(&st, "k")->meta.fresh_ms, 100);
    assert_int_equal(below(&st, "k")->meta.stale_ms, 1000);
    close_stack(&st);
}

static void what_is_refused_is_removed(void **state)
{
    (void)state;
    struct stack st;
    open_demoting(&st, &(struct stack_options){ 0 });
    set(st.cache, "k", "1");
    int removes = st.slow->removes;
    st.slow->no_room = 1;
    hand_over(&st);
    assert_int_equal(st.slow->puts, 1);
    assert_int_equal(st.slow->removes, removes + 1);
    close_stack(&st);
}

static void heard(const strata_event *event, void *ctx)
{
    (void)event;
    ++*(int *)ctx;
}

static void a_layer_that_fails_fails_no_close(void **state)
{
    (void)state;
    struct stack st;
    char key[16];
    int events = 0;
    uint64_t listener;
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    open_demoting(&st, &(struct stack_options){ 0 });
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "%d", i);
        set(st.cache, key, key);
    }
    assert_int_equal(strata_on(st.cache, STRATA_EVENT_ERROR | STRATA_EVENT_EVICT, heard, &events, &listener), STRATA_OK);
    st.slow->fail_puts = st.slow->fail_removes = 1;
    hand_over(&st);
    assert_true(st.slow->puts < 100); /* when it takes none of many, it gets no more */
    assert_int_equal(strata_stats_layer(st.cache, 1, &s), STRATA_OK);
    assert_true(s.errors >= 32);
    close_stack(&st);
    assert_int_equal(events, 0);
}

/* Objects ---------------------------------------------------------------------------------------------------------- */

static int codec_calls;

static int encode(const void *object, void *out, size_t room, size_t *size, void *ctx)
{
    (void)object, (void)out, (void)room, (void)ctx;
    codec_calls++;
    *size = 0;
    return STRATA_OK;
}

static int decode(const void *data, size_t size, void **object, void *ctx)
{
    (void)data, (void)size, (void)object, (void)ctx;
    return STRATA_ECODEC;
}

static void free_object(void *object, void *ctx)
{
    (void)ctx;
    free(object);
}

static size_t cost(const void *object, void *ctx)
{
    (void)object, (void)ctx;
    return 1;
}

static void no_code_of_the_user_runs(void **state)
{
    (void)state;
    static const strata_codec codec = { .size = sizeof codec,
                                        .id = 9,
                                        .name = "any",
                                        .encode = encode,
                                        .decode = decode,
                                        .free = free_object,
                                        .cost = cost };
    struct stack st;
    open_demoting(&st, &(struct stack_options){ .codec = &codec });
    assert_int_equal(strata_set_object(st.cache, strata_str("k"), malloc(1), NULL, NULL), STRATA_OK);
    set(st.cache, "bytes", "1");
    hand_over(&st);
    assert_int_equal(st.slow->puts, 1);
    assert_int_equal(codec_calls, 0);
    close_stack(&st);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    struct fail_alloc alloc;
    char key[16];
    int done = 0;
    fail_alloc_init(&alloc, 0);
    for (long n = 1; !done; n++) {
        struct stack st;
        open_demoting(&st, &(struct stack_options){ .allocator = &alloc.mem });
        for (int i = 0; i < 5; i++) {
            snprintf(key, sizeof key, "%d", i);
            set(st.cache, key, key);
        }
        alloc.requests = 0;
        alloc.failed = 0;
        alloc.fail_at = n;
        (void)strata__demotions_close(st.cache->root);
        done = !alloc.failed;
        alloc.fail_at = 0;
        assert_true(!done || st.slow->puts == 5);
        close_stack(&st);
        assert_int_equal(alloc.live, 0);
    }
}

/* Over a disk ------------------------------------------------------------------------------------------------------- */

static strata *open_over_disk(const char *path, uint64_t disk_bytes)
{
    const strata_memory_options memory = { STRATA_SIZED(strata_memory_options), .max_bytes = 8u << 20 };
    const strata_disk_options disk = { STRATA_SIZED(strata_disk_options), .path = path, .max_bytes = disk_bytes,
                                       .admit_on = STRATA_ADMIT_ON_EVICTION };
    strata_layer *layers[] = { strata_memory_layer(&memory), strata_disk_layer(&disk) };
    strata_options options = STRATA_OPTIONS_INIT;
    strata *cache;
    options.layers = layers;
    options.layer_count = 2;
    assert_int_equal(strata_open(&cache, &options, NULL), STRATA_OK);
    return cache;
}

static void a_restart_finds_it(void **state)
{
    (void)state;
    char path[256], key[16];
    strata *space;
    strata_value *v;
    temp_dir_make(path, sizeof path);
    for (int round = 0; round < 3; round++) { /* the third finds what the second one only read */
        strata *cache = open_over_disk(path, 64u << 20);
        assert_int_equal(strata_namespace(cache, "space", NULL, &space, NULL), STRATA_OK);
        for (int i = 0; i < 500; i++) {
            snprintf(key, sizeof key, "%d", i);
            strata *where = i % 2 ? space : cache;
            if (round == 0) {
                set(where, key, key);
            } else if (i % 5 == 0) {
                assert_int_equal(strata_get(where, strata_str(key), &v, NULL), STRATA_MISS);
            } else {
                assert_int_equal(strata_get(where, strata_str(key), &v, NULL), STRATA_OK);
                assert_value(v, key);
            }
            if (round == 0 && i % 5 == 0)
                assert_int_equal(strata_delete(where, strata_str(key), NULL), STRATA_OK);
        }
        strata_close(space);
        assert_int_equal(strata_close(cache), STRATA_OK);
    }
    temp_dir_remove(path);
}

static void the_disk_keeps_its_bounds(void **state)
{
    (void)state;
    char path[256], key[16];
    static char bytes[1000];
    temp_dir_make(path, sizeof path);
    strata *cache = open_over_disk(path, 1u << 20);
    for (int i = 0; i < 4000; i++) {
        snprintf(key, sizeof key, "%d", i);
        assert_int_equal(strata_set(cache, strata_str(key), strata_bytes(bytes, sizeof bytes), NULL, NULL), STRATA_OK);
    }
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_true(temp_dir_bytes(path) <= (1u << 20) + 8192);
    assert_true(temp_dir_bytes(path) >= 1u << 19);
    temp_dir_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_memory_holds_goes_below),
        cmocka_unit_test(a_layer_that_answers_later_is_waited_for),
        cmocka_unit_test(what_is_gone_does_not_come_back),
        cmocka_unit_test(a_clear_that_memory_did_not_carry_out_counts),
        cmocka_unit_test(what_is_over_absent_or_below_stays_out),
        cmocka_unit_test(what_is_stale_but_of_use_goes),
        cmocka_unit_test(what_is_refused_is_removed),
        cmocka_unit_test(a_layer_that_fails_fails_no_close),
        cmocka_unit_test(no_code_of_the_user_runs),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(a_restart_finds_it),
        cmocka_unit_test(the_disk_keeps_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
