/* test_core_late.c - values that their callers have and slower layers do not have yet: how many there may be, what becomes of
 * those past it, and that no read waits for them. */
#include <pthread.h>

#include "tests/unit/core_fixture.h"

enum { MOST = 4, KEYS = 20 };

static const strata_policy windows = {
    .size = sizeof windows, .ttl_ms = 1000, .stale_while_revalidate_ms = 20000, .stale_if_error_ms = 20000
};
static const strata_policy keeping = { .size = sizeof keeping,
                                       .ttl_ms = 1000,
                                       .keep_ms = 20000 }; /* its loads stay on the thread */

static strata_layer_stats layer_stats(strata *cache, size_t i)
{
    strata_layer_stats s = { .size = sizeof s };
    assert_int_equal(strata_stats_layer(cache, i, &s), STRATA_OK);
    return s;
}

static uint32_t late_of(strata *cache) { return atomic_load(&cache->root->late); }

static int script_has(struct script *s, const char *key, const char *value)
{
    const struct script_entry *e = script_find(s, strata_str(key), 0);
    return e != NULL && e->size == strlen(value) && memcmp(e->bytes, value, e->size) == 0;
}

static void open_slow(struct stack *st, uint32_t flags, const strata_policy *policy, uint64_t seed)
{
    open_stack(st, &(struct stack_options){
                       .with_slow = 1, .slow_flags = flags, .policy = policy, .max_queued = MOST, .seed = seed });
}

static void load_many(struct stack *st, struct origin *o, const char *prefix)
{
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "%s%d", prefix, i);
        assert_load(st, key, o, NULL, STRATA_OK, o->value);
        assert_get(st, key, STRATA_OK, o->value);
    }
}

/* Puts stay with the layer: past the bound nothing more goes there, and nobody waits. */
static void a_layer_that_answers_later(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_slow(&st, 0, NULL, 1);
    st.slow->hold_puts = 1;
    load_many(&st, &o, "a");
    assert_int_equal(st.slow->held_count, MOST);
    assert_int_equal(late_of(st.cache), MOST);
    assert_int_equal(layer_stats(st.cache, 1).rejections, KEYS - MOST);
    assert_int_equal(st.slow->removes, 0); /* it had said that it holds nothing of these */
    script_release(st.slow);
    run(&st);
    assert_int_equal(late_of(st.cache), 0);
    assert_int_equal(atomic_load(&st.cache->root->late_bytes), 0);
    load_many(&st, &o, "b");
    run(&st);
    assert_int_equal(st.slow->puts, MOST + KEYS);
    close_stack(&st);
}

/* Stores wait for a worker: the same bound, and close brings what is in it to the layer. */
static void a_layer_that_blocks(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    int closed_with = -1;
    for (int at_close = 0; at_close < 2; at_close++) {
        open_slow(&st, STRATA_LAYER_BLOCKS, NULL, 1);
        load_many(&st, &o, "a");
        assert_int_equal(st.slow->puts, 0);
        assert_int_equal(late_of(st.cache), MOST);
        assert_int_equal(layer_stats(st.cache, 1).rejections, KEYS - MOST);
        assert_int_equal(st.slow->removes, 0);
        if (!at_close) {
            run(&st);
            assert_int_equal(st.slow->puts, MOST);
            assert_int_equal(late_of(st.cache), 0);
        } else {
            st.slow->last_puts = &closed_with;
        }
        close_stack(&st);
    }
    assert_int_equal(closed_with, MOST);
}

/* Sets have a caller who waits for them: they are no part of it. */
static void sets_go_through(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_slow(&st, STRATA_LAYER_BLOCKS, NULL, 1);
    load_many(&st, &o, "a");
    assert_int_equal(strata_set(st.cache, strata_str("s"), strata_str("set"), NULL, &st.err), STRATA_OK);
    assert_true(script_has(st.slow, "s", "set"));
    close_stack(&st);
}

/* What is passed by loses what the value supersedes: at once where the layer blocks, and before the caller has its answer
 * where it does not, so that neither of the two can pile up. */
static void what_is_superseded_goes(void **state)
{
    (void)state;
    static const uint32_t flags[] = { 0, STRATA_LAYER_BLOCKS };
    for (int i = 0; i < 2; i++) {
        struct stack st;
        struct origin o = { .st = &st, .value = "one" };
        open_slow(&st, flags[i], &keeping, 1);
        assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
        run(&st);
        assert_true(script_has(st.slow, "k", "one"));
        pass(&st, 1500); /* over, and kept for its loader */
        st.slow->hold_puts = 1;
        load_many(&st, &o, "a");
        o.value = "two";
        if (!flags[i])
            st.slow->delay_ms = 50;
        assert_load(&st, "k", &o, NULL, STRATA_OK, "two");
        assert_null(script_find(st.slow, strata_str("k"), 0));
        assert_int_equal(st.slow->removes, 1);
        assert_int_equal(late_of(st.cache), MOST);
        assert_get(&st, "k", STRATA_OK, "two");
        run(&st);
        script_release(st.slow);
        run(&st);
        assert_int_equal(late_of(st.cache), 0);
        close_stack(&st);
    }
}

/* A layer that could not be asked may hold anything. */
static void so_it_does_where_nobody_knows(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_slow(&st, STRATA_LAYER_BLOCKS, NULL, 1);
    load_many(&st, &o, "a");
    st.slow->fail_gets = 1;
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    assert_int_equal(st.slow->removes, 1);
    st.slow->fail_gets = 0;
    close_stack(&st);
}

/* A refresh on a layer that answers later does not begin past the bound: the stale value is served as before. */
static void refreshes_wait_for_their_turn(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_slow(&st, 0, &windows, 1);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    run(&st);
    pass(&st, 1500);
    st.slow->hold_puts = 1;
    load_many(&st, &o, "a");
    int calls = o.calls;
    o.value = "two";
    for (int i = 0; i < 100; i++) {
        assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
        run(&st);
    }
    assert_int_equal(o.calls, calls);
    assert_int_equal(st.slow->held_count, MOST);
    script_release(st.slow);
    run(&st);
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    run(&st);
    assert_int_equal(o.calls, calls + 1);
    assert_true(script_has(st.slow, "k", "two"));
    close_stack(&st);
}

/* One that had begun before is past the bound with what it has to remove, and no more. */
static void a_refresh_that_comes_too_late_forgets(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" }, slow = { .st = &st, .value = "two", .pending = 1 };
    open_slow(&st, 0, &windows, 1);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    run(&st);
    pass(&st, 1500);
    assert_load(&st, "k", &slow, NULL, STRATA_STALE, "one");
    run(&st);
    st.slow->hold_puts = 1;
    load_many(&st, &o, "a");
    assert_int_equal(strata_load_copy(slow.kept, "two", 3), STRATA_OK);
    strata_load_unref(slow.kept);
    run(&st);
    assert_get(&st, "k", STRATA_OK, "two");
    assert_null(script_find(st.slow, strata_str("k"), 0));
    script_release(st.slow);
    run(&st);
    assert_int_equal(late_of(st.cache), 0);
    close_stack(&st);
}

/* A worker that refreshes stores by itself: the bound is none for it. */
static void workers_store_what_they_refresh(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct stack st;
        struct origin o = { .st = &st, .value = "one" };
        open_slow(&st, STRATA_LAYER_BLOCKS, &windows, seed);
        assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
        run(&st);
        pass(&st, 1500);
        load_many(&st, &o, "a");
        o.value = "two";
        assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
        run(&st);
        assert_get(&st, "k", STRATA_OK, "two");
        assert_true(script_has(st.slow, "k", "two"));
        close_stack(&st);
    }
}

/* A layer that gets what is evicted above it is told to forget, on the loading thread where too many wait. */
static void a_layer_of_evicted_entries_forgets(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_slow(&st, STRATA_LAYER_BLOCKS | STRATA_LAYER_DEMOTED, NULL, 1);
    load_many(&st, &o, "a");
    assert_int_equal(late_of(st.cache), MOST);
    assert_int_equal(st.slow->removes, KEYS - MOST);
    run(&st);
    assert_int_equal(st.slow->removes, KEYS);
    assert_int_equal(layer_stats(st.cache, 1).rejections, 0);
    close_stack(&st);
}

static void set_many(struct stack *st, int count)
{
    for (int i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "a%d", i);
        assert_int_equal(strata_set(st->cache, strata_str(key), strata_str("one"), NULL, &st->err), STRATA_OK);
    }
}

/* What was found in a third layer, on its way to the second. */
static void backfills_count_too(void **state)
{
    (void)state;
    struct stack st = { 0 };
    struct script *near = script_new(), *far = script_new();
    strata_memory_options m = {
        .size = sizeof m, .max_bytes = 1 << 20, .max_entries = 1, .shards = 1, .policy = STRATA_EVICT_FIFO
    };
    strata_layer *layers[] = { strata_memory_layer(&m), &near->base, &far->base };
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 3;
    options.max_queued = MOST;
    assert_int_equal(strata__executor_sim_new(&st.ex, NULL, 1, &st.err), STRATA_OK);
    assert_int_equal(strata__open_with(&st.cache, &options, st.ex, &st.err), STRATA_OK);
    set_many(&st, KEYS + 1);
    memset(near->entries, 0, sizeof near->entries);
    near->hold_puts = 1;
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "a%d", i);
        assert_get(&st, key, STRATA_OK, "one");
    }
    assert_int_equal(near->held_count, MOST);
    assert_int_equal(near->removes, 0);
    assert_int_equal(stats_of(st.cache).backfills, KEYS);
    assert_int_equal(layer_stats(st.cache, 1).rejections, KEYS - MOST);
    script_release(near);
    run(&st);
    assert_int_equal(stats_of(st.cache).backfills, KEYS + MOST);
    assert_int_equal(late_of(st.cache), 0);
    close_stack(&st);
}

/* With real threads, and bytes --------------------------------------------------------------------------------- */

enum { LOADS = 1000, VALUE = 100000 };

/* A store whose puts stand at a gate. */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    int open;
    _Atomic(int) puts, removes;
};

static int gate_get(void *ctx, strata_slice key, strata_op *op)
{
    (void)ctx, (void)key, (void)op;
    return STRATA_MISS;
}

static int gate_put(void *ctx, strata_slice key, strata_slice data, const strata_meta *meta, int64_t ttl_ms)
{
    struct gate *g = ctx;
    (void)key, (void)data, (void)meta, (void)ttl_ms;
    pthread_mutex_lock(&g->mutex);
    while (!g->open)
        pthread_cond_wait(&g->opened, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
    atomic_fetch_add(&g->puts, 1);
    return STRATA_OK;
}

static int gate_remove(void *ctx, strata_slice key)
{
    struct gate *g = ctx;
    (void)key;
    atomic_fetch_add(&g->removes, 1);
    return STRATA_OK;
}

static const strata_blocking_ops gate_ops = {
    .size = sizeof gate_ops, .get = gate_get, .put = gate_put, .remove = gate_remove
};

static char bytes[16 << 20];

static int load_bytes(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    return strata_load_copy(load, bytes, *(const size_t *)ctx);
}

static void load_one(strata *cache, uint64_t key, size_t size)
{
    strata_value *v;
    strata_error err;
    assert_int_equal(strata_get_or_load(cache, strata_bytes(&key, sizeof key), load_bytes, &size, NULL, &v, &err),
                     STRATA_OK);
    assert_int_equal(strata_value_size(v), size);
    strata_value_unref(v);
}

static void open_gate(struct gate *g)
{
    pthread_mutex_lock(&g->mutex);
    g->open = 1;
    pthread_cond_broadcast(&g->opened);
    pthread_mutex_unlock(&g->mutex);
}

/* Nothing of it waits for the gate: a read that did would never come back. */
static void a_loader_that_is_faster_than_the_store(void **state)
{
    (void)state;
    struct gate gate = { .mutex = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER };
    strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 20 };
    strata_layer *layers[] = { strata_memory_layer(&m), strata_blocking_layer("gate", 0, &gate_ops, &gate) };
    strata_options options = STRATA_OPTIONS_INIT;
    strata *cache;
    strata_error err;
    options.layers = layers;
    options.layer_count = 2;
    options.workers = 2;
    assert_int_equal(strata_open(&cache, &options, &err), STRATA_OK);
    for (uint64_t key = 0; key < LOADS; key++) {
        load_one(cache, key, VALUE);
        assert_true(atomic_load(&cache->root->late_bytes) <= LATE_BYTES_MOST);
    }
    uint32_t late = late_of(cache);
    assert_in_range(late, LATE_BYTES_MOST / (VALUE + 8192), LATE_BYTES_MOST / VALUE);
    assert_int_equal(layer_stats(cache, 1).rejections, LOADS - late);
    open_gate(&gate);
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(atomic_load(&gate.puts), late);
    assert_int_equal(atomic_load(&gate.removes), 0);
}

/* A value larger than the bound goes where nothing else is on its way. */
static void the_largest_value_is_stored(void **state)
{
    (void)state;
    struct gate gate = { .mutex = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER };
    strata_layer *layers[] = { strata_memory_layer(NULL), strata_blocking_layer("gate", 0, &gate_ops, &gate) };
    strata_options options = STRATA_OPTIONS_INIT;
    strata *cache;
    strata_error err;
    options.layers = layers;
    options.layer_count = 2;
    assert_int_equal(strata_open(&cache, &options, &err), STRATA_OK);
    load_one(cache, 1, sizeof bytes);
    load_one(cache, 2, 1);
    assert_int_equal(late_of(cache), 1);
    open_gate(&gate);
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(atomic_load(&gate.puts), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_layer_that_answers_later),
        cmocka_unit_test(a_layer_that_blocks),
        cmocka_unit_test(sets_go_through),
        cmocka_unit_test(what_is_superseded_goes),
        cmocka_unit_test(so_it_does_where_nobody_knows),
        cmocka_unit_test(refreshes_wait_for_their_turn),
        cmocka_unit_test(a_refresh_that_comes_too_late_forgets),
        cmocka_unit_test(workers_store_what_they_refresh),
        cmocka_unit_test(a_layer_of_evicted_entries_forgets),
        cmocka_unit_test(backfills_count_too),
        cmocka_unit_test(a_loader_that_is_faster_than_the_store),
        cmocka_unit_test(the_largest_value_is_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
