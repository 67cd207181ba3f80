/* test_demote.c - entries that go to the layer below when memory evicts them: src/core/demote.c, and what loads, sets, deletes,
 * expires and clears make of those on their way.  The memory layer has room for one entry: the next one drives it out. */
#include "src/core/demote.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/slow_layer.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core_fixture.h"

static void open_demoting(struct stack *st, const strata_policy *policy)
{
    open_stack(st, &(struct stack_options){
                       .with_slow = 1, .slow_flags = STRATA_LAYER_DEMOTED, .memory_entries = 1, .policy = policy });
}

static void set(struct stack *st, const char *key, const char *value)
{
    assert_int_equal(strata_set(st->cache, strata_str(key), strata_str(value), NULL, &st->err), STRATA_OK);
}

/* What is below: its bytes, or NULL. */
static const char *below(struct stack *st, const char *key)
{
    static char text[SCRIPT_BYTES + 1];
    const struct script_entry *e = script_find(st->slow, strata_str(key), 0);
    if (e == NULL)
        return NULL;
    snprintf(text, sizeof text, "%.*s", (int)e->size, e->bytes);
    return text;
}

static strata_layer_stats told(struct stack *st)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(st->cache, 1, &s), STRATA_OK);
    return s;
}

/* "k" has left memory, with `old`, and the worker has not run. */
static void open_on_its_way(struct stack *st, const strata_policy *policy)
{
    open_demoting(st, policy);
    set(st, "k", "old");
    set(st, "other", "1");
    assert_null(below(st, "k"));
}

static void what_is_evicted_goes_below(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "loaded" };
    open_on_its_way(&st, NULL);
    assert_int_equal(st.slow->puts, 0);
    run(&st);
    assert_string_equal(below(&st, "k"), "old");
    assert_int_equal(st.slow->puts, 1);
    assert_load(&st, "x", &o, NULL, STRATA_OK, "loaded"); /* a load, too, goes to memory alone */
    run(&st);
    assert_null(below(&st, "x"));
    assert_string_equal(below(&st, "other"), "1");
    assert_get(&st, "k", STRATA_OK, "old"); /* drives out x */
    run(&st);
    assert_string_equal(below(&st, "x"), "loaded");
    assert_int_equal(told(&st).demotions, 3);
    assert_int_equal(told(&st).demotions_dropped, 0);
    assert_int_equal(strata_stats_reset(st.cache), STRATA_OK);
    assert_int_equal(told(&st).demotions, 0);
    close_stack(&st);
}

static void what_came_from_below_is_not_written_again(void **state)
{
    (void)state;
    struct stack st;
    open_on_its_way(&st, NULL);
    run(&st);
    for (int i = 0; i < 3; i++) { /* the one drives out the other */
        assert_get(&st, "k", STRATA_OK, "old");
        run(&st);
        assert_get(&st, "other", STRATA_OK, "1");
        run(&st);
    }
    assert_int_equal(st.slow->puts, 2);
    set(&st, "k", "new"); /* until it is written anew */
    assert_null(below(&st, "k"));
    set(&st, "other", "2");
    run(&st);
    assert_string_equal(below(&st, "k"), "new");
    close_stack(&st);
}

static void a_delete_reaches_what_is_on_its_way(void **state)
{
    (void)state;
    struct stack st;
    open_on_its_way(&st, NULL);
    assert_int_equal(strata_delete(st.cache, strata_str("k"), NULL), STRATA_OK);
    run(&st);
    assert_null(below(&st, "k"));
    assert_get(&st, "k", STRATA_MISS, NULL);
    assert_int_equal(told(&st).demotions_dropped, 0);
    close_stack(&st);
}

static void a_set_reaches_what_is_on_its_way(void **state)
{
    (void)state;
    struct stack st;
    open_on_its_way(&st, NULL);
    set(&st, "k", "new");
    set(&st, "other", "2"); /* both are on their way now */
    run(&st);
    assert_string_equal(below(&st, "k"), "new");
    assert_get(&st, "k", STRATA_OK, "new");
    close_stack(&st);
}

static void an_expire_reaches_what_is_on_its_way(void **state)
{
    (void)state;
    struct stack st;
    open_on_its_way(&st, NULL);
    assert_int_equal(strata_expire(st.cache, strata_str("k"), NULL), STRATA_MISS);
    run(&st);
    assert_get(&st, "k", STRATA_MISS, NULL);
    close_stack(&st);
}

static void a_load_reaches_what_is_on_its_way(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "loaded" };
    open_on_its_way(&st, NULL);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "loaded");
    run(&st);
    assert_null(below(&st, "k"));
    set(&st, "other", "2");
    run(&st);
    assert_string_equal(below(&st, "k"), "loaded");
    close_stack(&st);
}

static void a_clear_reaches_what_is_on_its_way(void **state)
{
    (void)state;
    struct stack st;
    open_on_its_way(&st, NULL);
    assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
    run(&st);
    assert_int_equal(st.slow->puts, 0);
    close_stack(&st);
}

static void what_is_over_does_not_go_below(void **state)
{
    (void)state;
    struct stack st;
    const strata_policy brief = { STRATA_SIZED(strata_policy), .ttl_ms = 100, .negative_ttl_ms = 1000 };
    struct origin o = { .st = &st, .value = NULL };
    open_demoting(&st, &brief);
    set(&st, "k", "1");
    pass(&st, 200);
    set(&st, "l", "1"); /* it was over when it was driven out */
    run(&st);
    assert_int_equal(st.slow->puts, 0);
    assert_load(&st, "none", &o, NULL, STRATA_ABSENT, NULL);
    set(&st, "m", "1"); /* nor does an absent one */
    run(&st);
    assert_int_equal(st.slow->puts, 1);
    assert_string_equal(below(&st, "l"), "1");
    close_stack(&st);
}

/* The put of "k" is out, and held. */
static void open_with_put_held(struct stack *st)
{
    open_on_its_way(st, NULL);
    st->slow->hold = 1;
    run(st);
    assert_int_equal(st->slow->held_count, 1);
    assert_int_equal(st->slow->held[0]->kind, STRATA_OP_PUT);
}

static void writes_and_reads_wait_for_the_put(void **state)
{
    (void)state;
    struct stack st;
    struct ended gone = { 0 }, got = { 0 };
    open_with_put_held(&st);
    assert_int_equal(strata_get_async(st.cache, strata_str("k"), NULL, on_done, &got, NULL), STRATA_PENDING);
    assert_int_equal(strata_delete_async(st.cache, strata_str("k"), NULL, on_done, &gone, NULL), STRATA_PENDING);
    run(&st);
    assert_int_equal(st.slow->held_count, 1);
    script_release(st.slow);
    run(&st);
    assert_int_equal(got.count, 1);
    assert_int_equal(gone.count, 1);
    assert_int_equal(gone.status, STRATA_OK);
    assert_null(below(&st, "k"));
    assert_get(&st, "k", STRATA_MISS, NULL);
    close_stack(&st);
}

static void a_clear_during_the_put_removes_it(void **state)
{
    (void)state;
    struct stack st;
    open_with_put_held(&st);
    assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
    script_release(st.slow);
    run(&st);
    assert_null(below(&st, "k"));
    assert_int_equal(told(&st).demotions, 0);
    close_stack(&st);
}

static void a_put_that_fails_is_followed_by_a_remove(void **state)
{
    (void)state;
    struct stack st;
    open_on_its_way(&st, NULL);
    st.slow->fail_puts = 1;
    int removes = st.slow->removes;
    run(&st);
    assert_int_equal(st.slow->removes, removes + 1);
    assert_int_equal(told(&st).errors, 1);
    assert_int_equal(told(&st).demotions, 0);
    st.slow->fail_puts = 0;
    set(&st, "k", "new"); /* drives out "other": the queue goes on */
    run(&st);
    assert_string_equal(below(&st, "other"), "1");
    close_stack(&st);
}

static void a_key_in_use_is_left_alone(void **state)
{
    (void)state;
    struct stack st;
    struct ended e = { 0 };
    struct origin o = { .st = &st, .pending = 1 };
    open_on_its_way(&st, NULL);
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL, NULL, on_done, &e, NULL),
        STRATA_PENDING);
    run(&st);
    assert_int_equal(told(&st).demotions_dropped, 1);
    assert_null(below(&st, "k"));
    assert_int_equal(strata_load_copy(o.kept, "v", 1), STRATA_OK);
    strata_load_unref(o.kept);
    run(&st);
    assert_string_equal(e.text, "v");
    close_stack(&st);
}

static void closing_finishes_the_queue(void **state)
{
    (void)state;
    char path[256], key[16];
    temp_dir_make(path, sizeof path);
    const strata_memory_options one = { STRATA_SIZED(strata_memory_options), .max_entries = 1, .shards = 1 };
    const strata_disk_options disk = { STRATA_SIZED(strata_disk_options), .path = path,
                                       .admit_on = STRATA_ADMIT_ON_EVICTION };
    for (int round = 0; round < 2; round++) {
        strata_layer *layers[] = { strata_memory_layer(&one), strata_disk_layer(&disk) };
        strata_options options = STRATA_OPTIONS_INIT;
        strata *cache;
        strata_value *v;
        options.layers = layers;
        options.layer_count = 2;
        assert_int_equal(strata_open(&cache, &options, NULL), STRATA_OK);
        for (int i = 0; i < 500; i++) {
            snprintf(key, sizeof key, "%d", i);
            if (round == 0)
                assert_int_equal(strata_set(cache, strata_str(key), strata_str(key), NULL, NULL), STRATA_OK);
            else
                assert_int_equal(strata_get(cache, strata_str(key), &v, NULL), STRATA_OK);
            if (round == 1)
                assert_value(v, key);
        }
        assert_int_equal(strata_close(cache), STRATA_OK);
    }
    temp_dir_remove(path);
}

/* Memory over a layer that takes values of any size. ------------------------------------------------------------------- */

struct wide {
    struct executor *ex;
    strata *cache;
    strata_layer *slow;
};

static void open_wide(struct wide *w, const strata_allocator *mem)
{
    const strata_memory_options one = { STRATA_SIZED(strata_memory_options), .max_bytes = 1 << 20, .max_entries = 1,
                                        .shards = 1 };
    w->slow = slow_layer_new(0);
    slow_layer_demoted(w->slow);
    strata_layer *layers[] = { strata_memory_layer(&one), w->slow };
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 2;
    options.allocator = mem;
    assert_int_equal(strata__executor_sim_new(&w->ex, NULL, 1, NULL), STRATA_OK);
    assert_int_equal(strata__open_with(&w->cache, &options, w->ex, NULL), STRATA_OK);
}

static size_t wide_below(struct wide *w, const char *key)
{
    char first;
    strata_meta meta;
    return slow_layer_value(w->slow, 0, strata_str(key), &first, 1, &meta);
}

static void what_memory_refuses_goes_below_at_once(void **state)
{
    (void)state;
    struct wide w;
    static char large[700 << 10];
    open_wide(&w, NULL);
    assert_int_equal(strata_set(w.cache, strata_str("k"), strata_str("small"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_set(w.cache, strata_str("k"), strata_bytes(large, sizeof large), NULL, NULL), STRATA_OK);
    assert_int_equal(wide_below(&w, "k"), sizeof large);
    assert_int_equal(strata_set(w.cache, strata_str("k"), strata_str("small"), NULL, NULL), STRATA_OK);
    assert_int_equal(wide_below(&w, "k"), SIZE_MAX);
    assert_int_equal(strata_close(w.cache), STRATA_OK);
}

static void the_queue_is_bounded(void **state)
{
    (void)state;
    struct wide w;
    char key[16];
    strata_meta meta = { .life = 1, .fresh_ms = STRATA_FOREVER };
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    open_wide(&w, NULL);
    struct root *root = w.cache->root;
    strata_value *large = strata__value_new(NULL, 2 * DEMOTION_BYTES_MOST, &(void *){ NULL });
    struct demotion entry = { .key = strata_str("large"), .value = large, .meta = meta };
    root->host.demote(&root->host, &entry); /* of any size, where nothing else waits */
    root->host.demote(&root->host, &entry);
    assert_int_equal(root->demotions->count, 1);
    strata__executor_sim_run(w.ex);
    assert_int_equal(wide_below(&w, "large"), 2 * DEMOTION_BYTES_MOST);
    entry.value = NULL;
    entry.bytes = strata_str("v");
    for (int i = 0; i < DEMOTIONS_MOST + 10; i++) {
        snprintf(key, sizeof key, "%d", i);
        entry.key = strata_str(key);
        entry.hash = strata__key_hash(root->host.hash_seed, 0, entry.key);
        root->host.demote(&root->host, &entry);
    }
    assert_int_equal(root->demotions->count, DEMOTIONS_MOST);
    strata__executor_sim_run(w.ex);
    assert_int_equal(root->demotions->count, 0);
    assert_int_equal(root->demotions->bytes, 0);
    assert_int_equal(strata_stats_layer(w.cache, 1, &s), STRATA_OK);
    assert_int_equal(s.demotions, DEMOTIONS_MOST + 1);
    assert_int_equal(s.demotions_dropped, 11);
    strata_value_unref(large);
    assert_int_equal(strata_close(w.cache), STRATA_OK);
}

static void a_forked_child_forgets_the_queue(void **state)
{
    (void)state;
    struct stack st;
    open_on_its_way(&st, NULL);
    strata__demotions_forget(st.cache->root);
    run(&st); /* the parent's task, which would not be here */
    assert_int_equal(st.slow->puts, 0);
    set(&st, "k", "new"); /* drives out "other" */
    run(&st);
    assert_string_equal(below(&st, "other"), "1");
    close_stack(&st);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    static const char *const names[] = { "a", "b", "c" };
    struct fail_alloc alloc;
    int done = 0;
    fail_alloc_init(&alloc, 0);
    for (long n = 1; !done; n++) {
        struct wide w;
        char newest[3] = { 0 }, text[2] = { 0 };
        open_wide(&w, &alloc.mem);
        alloc.requests = 0;
        alloc.failed = 0;
        alloc.fail_at = n;
        for (int i = 0; i < 12; i++) {
            strata_value *v = NULL;
            int k = i * 2 % 3;
            text[0] = (char)('0' + i);
            int rc = i % 4 == 3 ? strata_delete(w.cache, strata_str(names[k]), NULL)
                                : strata_set(w.cache, strata_str(names[k]), strata_str(text), NULL, NULL);
            assert_true(rc == STRATA_OK || rc == STRATA_ENOMEM || rc == STRATA_ELAYER);
            if (rc == STRATA_OK)
                newest[k] = i % 4 == 3 ? 0 : text[0];
            strata__executor_sim_run(w.ex);
            k = (k + 1) % 3;
            if (strata_get(w.cache, strata_str(names[k]), &v, NULL) == STRATA_OK)
                assert_true(alloc.failed || *(const char *)strata_value_data(v) == newest[k]);
            if (v != NULL &&
                newest[k] != 0) /* a write that failed may have been done or not, but nothing older is here */
                assert_true(*(const char *)strata_value_data(v) >= newest[k]);
            strata_value_unref(v);
        }
        done = !alloc.failed;
        alloc.fail_at = 0;
        assert_int_equal(strata_close(w.cache), STRATA_OK);
        assert_int_equal(alloc.live, 0);
    }
}

/* Objects, and wrong stacks. -------------------------------------------------------------------------------------------- */

static int live_objects, encode_fails;

static int encode(const void *object, void *out, size_t room, size_t *size, void *ctx)
{
    (void)ctx;
    *size = sizeof(int);
    if (encode_fails)
        return STRATA_ECODEC;
    if (room < sizeof(int))
        return STRATA_AGAIN;
    memcpy(out, object, sizeof(int));
    return STRATA_OK;
}

static int decode(const void *data, size_t size, void **object, void *ctx)
{
    (void)ctx;
    assert_int_equal(size, sizeof(int));
    *object = malloc(size);
    memcpy(*object, data, size);
    live_objects++;
    return STRATA_OK;
}

static void free_object(void *object, void *ctx)
{
    (void)ctx;
    free(object);
    live_objects--;
}

static size_t cost(const void *object, void *ctx)
{
    (void)object, (void)ctx;
    return sizeof(int);
}

static const strata_codec codec = {
    .size = sizeof codec, .id = 9, .name = "int", .encode = encode, .decode = decode, .free = free_object, .cost = cost
};

static void set_number(struct stack *st, const char *key, int number)
{
    int *object = malloc(sizeof *object);
    *object = number;
    live_objects++;
    assert_int_equal(strata_set_object(st->cache, strata_str(key), object, NULL, NULL), STRATA_OK);
}

static void objects_are_encoded_on_their_way(void **state)
{
    (void)state;
    struct stack st;
    strata_value *v;
    open_stack(&st, &(struct stack_options){
                        .with_slow = 1, .slow_flags = STRATA_LAYER_DEMOTED, .memory_entries = 1, .codec = &codec });
    set_number(&st, "k", 41);
    set_number(&st, "l", 42);
    run(&st);
    assert_int_equal(script_find(st.slow, strata_str("k"), 0)->size, sizeof(int));
    assert_int_equal(script_find(st.slow, strata_str("k"), 0)->meta.codec, 9);
    encode_fails = 1;
    assert_int_equal(strata_get(st.cache, strata_str("k"), &v, NULL), STRATA_OK); /* drives out "l" */
    assert_int_equal(*(int *)strata_value_object(v), 41);
    strata_value_unref(v);
    run(&st);
    encode_fails = 0;
    assert_null(script_find(st.slow, strata_str("l"), 0));
    assert_int_equal(told(&st).errors, 1);
    close_stack(&st);
    assert_int_equal(live_objects, 0);
}

static void it_stands_below_memory_alone(void **state)
{
    (void)state;
    struct stack st;
    int rc = try_open(&st, &(struct stack_options){ .only_slow = 1, .slow_flags = STRATA_LAYER_DEMOTED });
    assert_int_equal(rc, STRATA_EINVAL);
    assert_non_null(strstr(st.err.message, "below a memory layer"));
}

/* The first of two would get nothing. */
static void it_stands_there_once(void **state)
{
    (void)state;
    const strata_memory_options small = { STRATA_SIZED(strata_memory_options), .max_bytes = 1 << 20 };
    strata_layer *layers[] = { strata_memory_layer(&small), slow_layer_new(0), strata_memory_layer(&small),
                               slow_layer_new(0) };
    strata_options options = STRATA_OPTIONS_INIT;
    strata_error err = STRATA_ERROR_INIT;
    strata *cache;
    slow_layer_demoted(layers[1]);
    slow_layer_demoted(layers[3]);
    options.layers = layers;
    options.layer_count = 4;
    assert_int_equal(strata_open(&cache, &options, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "only one of a stack"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_evicted_goes_below),
        cmocka_unit_test(what_came_from_below_is_not_written_again),
        cmocka_unit_test(a_delete_reaches_what_is_on_its_way),
        cmocka_unit_test(a_set_reaches_what_is_on_its_way),
        cmocka_unit_test(an_expire_reaches_what_is_on_its_way),
        cmocka_unit_test(a_load_reaches_what_is_on_its_way),
        cmocka_unit_test(a_clear_reaches_what_is_on_its_way),
        cmocka_unit_test(what_is_over_does_not_go_below),
        cmocka_unit_test(writes_and_reads_wait_for_the_put),
        cmocka_unit_test(a_clear_during_the_put_removes_it),
        cmocka_unit_test(a_put_that_fails_is_followed_by_a_remove),
        cmocka_unit_test(a_key_in_use_is_left_alone),
        cmocka_unit_test(closing_finishes_the_queue),
        cmocka_unit_test(what_memory_refuses_goes_below_at_once),
        cmocka_unit_test(the_queue_is_bounded),
        cmocka_unit_test(a_forked_child_forgets_the_queue),
        cmocka_unit_test(each_allocation_may_fail),
        cmocka_unit_test(objects_are_encoded_on_their_way),
        cmocka_unit_test(it_stands_below_memory_alone),
        cmocka_unit_test(it_stands_there_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
