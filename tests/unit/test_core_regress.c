/* What core once did wrong: each test is a defect that was found, in the smallest form that shows it. */
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/core_fixture.h"
#include "tests/support/still_threads.h"

/* A namespace that outlives its cache: every way to write answers that it is closed. */
static void test_writes_after_close(void **state)
{
    (void)state;
    struct stack st;
    strata *ns;
    struct ended e = { 0 };
    strata_item item = { .key = strata_str("k"), .set = strata_str("v") };
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_namespace(st.cache, "a", NULL, &ns, NULL), STRATA_OK);
    close_stack(&st);
    assert_int_equal(strata_set_many(ns, &item, 1, NULL, NULL), STRATA_ECLOSED);
    assert_int_equal(strata_set_async(ns, strata_str("k"), strata_str("v"), NULL, NULL, on_done, &e, NULL),
                     STRATA_ECLOSED);
    assert_int_equal(e.count, 0);
    assert_int_equal(strata_close(ns), STRATA_OK);
}

/* A read that waits behind a delete does not put back what it saw before. */
static void test_nothing_resurrected(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .ttl_ms = 100, .stale_if_error_ms = 100000 };
    struct stack st;
    struct origin o = { .st = &st, .fail = STRATA_EIO };
    struct ended deleted = { 0 }, loaded = { 0 };
    strata_inspection in = { .size = sizeof in };
    open_stack(&st, &(struct stack_options){ .with_slow = 1, .policy = &p });
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("old"), NULL, NULL), STRATA_OK);
    pass(&st, 200);
    st.slow->hold = 1;
    assert_int_equal(strata_delete_async(st.cache, strata_str("k"), NULL, on_done, &deleted, NULL), STRATA_PENDING);
    run(&st);
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL, NULL, on_done, &loaded, NULL),
        STRATA_PENDING);
    run(&st);
    script_release(st.slow);
    run(&st);
    assert_int_equal(deleted.status, STRATA_OK);
    assert_int_equal(loaded.status, STRATA_EIO);
    assert_int_equal(strata_inspect(st.cache, strata_str("k"), &in, NULL), STRATA_MISS);
    close_stack(&st);
}

/* A read that waits behind a set is answered by what was set, wherever that could be stored. */
static void test_read_after_waiting(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "loaded" };
    struct ended deleted = { 0 }, set = { 0 }, loaded = { 0 };
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    st.slow->hold = 1;
    assert_int_equal(strata_delete_async(st.cache, strata_str("k"), NULL, on_done, &deleted, NULL), STRATA_PENDING);
    assert_int_equal(strata_set_async(st.cache, strata_str("k"), strata_str("set"), NULL, NULL, on_done, &set, NULL),
                     STRATA_PENDING);
    run(&st);
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL, NULL, on_done, &loaded, NULL),
        STRATA_PENDING);
    st.slow->fail_puts = 1;
    script_release(st.slow);
    run(&st);
    assert_int_equal(set.status, STRATA_ELAYER);
    assert_int_equal(loaded.status, STRATA_OK);
    assert_string_equal(loaded.text, "set");
    assert_int_equal(o.calls, 0);
    close_stack(&st);
}

/* A result whose slow layer hangs is given to nobody once its time is over. */
static int load_and_hold(strata_load *load, strata_slice key, void *ctx)
{
    struct origin *o = ctx;
    (void)key;
    o->st->slow->hold = ++o->calls == 1;
    return strata_load_copy(load, o->value, strlen(o->value));
}

static void test_outdated_result(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .ttl_ms = 100 };
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    struct ended first = { 0 }, second = { 0 };
    open_stack(&st, &(struct stack_options){ .with_slow = 1, .policy = &p });
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("k"), load_and_hold, &o, NULL, NULL, on_done, &first, NULL),
        STRATA_PENDING);
    run(&st);
    assert_string_equal(first.text, "one");
    assert_int_equal(st.slow->held_count, 1);
    pass(&st, 10000);
    st.slow->hold = 0; /* but for the put that it has */
    o.value = "two";
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("k"), load_and_hold, &o, NULL, NULL, on_done, &second, NULL),
        STRATA_PENDING);
    run(&st);
    assert_string_equal(second.text, "two");
    script_release(st.slow);
    run(&st);
    close_stack(&st);
}

/* One refresh runs, also where nobody can join it. */
static void test_one_refresh(void **state)
{
    (void)state;
    for (int full = 0; full < 2; full++) {
        strata_policy p = {
            .size = sizeof p, .ttl_ms = 100, .stale_while_revalidate_ms = 100000, .single_flight = full ? 0 : STRATA_OFF
        };
        struct stack st;
        struct origin o = { .st = &st, .value = "one", .takes_ms = 50 }, other = { .st = &st, .pending = 1 };
        struct ended e = { 0 };
        open_stack(&st, &(struct stack_options){ .policy = &p, .max_flights = full ? 1 : 0 });
        assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
        assert_int_equal(strata_get_or_load_async(st.cache, strata_str("other"), origin_loader, &other, NULL, NULL,
                                                  on_done, &e, NULL),
                         STRATA_PENDING);
        pass(&st, 200);
        for (int i = 0; i < 20; i++)
            assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
        pass(&st, 60);
        assert_int_equal(o.calls, 2);
        assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
        assert_int_equal(strata_load_copy(other.kept, "x", 1), STRATA_OK);
        strata_load_unref(other.kept);
        run(&st);
        close_stack(&st);
    }
}

/* A read that waits behind a write keeps its hard timeout. */
static void let_go_later(void *ctx) { script_release(ctx); }

static void test_timeout_behind_write(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .hard_timeout_ms = 50 };
    struct stack st;
    struct origin o = { .st = &st, .value = "one", .takes_ms = 500 };
    struct ended e = { 0 };
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    st.slow->hold = 1;
    assert_int_equal(strata_delete_async(st.cache, strata_str("k"), NULL, on_done, &e, NULL), STRATA_PENDING);
    run(&st);
    assert_int_equal(strata_host_after(st.slow->host, 10, let_go_later, st.slow), STRATA_OK);
    int64_t begun = ex_now_ms(st.ex);
    assert_load(&st, "k", &o, &p, STRATA_ETIMEDOUT, NULL);
    assert_int_equal(ex_now_ms(st.ex) - begun, 50);
    close_stack(&st);
}

/* A load that nobody waited for any more is not stored, but was not invalidated. */
static void test_timeout_is_not_fenced(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .hard_timeout_ms = 50 };
    struct stack st;
    struct origin o = { .st = &st, .value = "one", .takes_ms = 500 };
    open_policy(&st, &p);
    assert_load(&st, "k", &o, NULL, STRATA_ETIMEDOUT, NULL);
    pass(&st, 1000);
    assert_int_equal(stats_of(st.cache).fenced, 0);
    close_stack(&st);
}

/* A child's copy of a load that its parent has in progress can't be completed there. */
static int keep_loader(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    atomic_store((_Atomic(strata_load *) *)ctx, strata_load_ref(load));
    return STRATA_PENDING;
}

static void test_load_after_fork(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* the sanitizer starts no threads after a fork */
#endif
    static _Atomic(strata_load *) kept;
    strata_queue *queue;
    strata_layer *layers[] = { strata_memory_layer(NULL) };
    strata_options options = STRATA_OPTIONS_INIT;
    strata *cache;
    struct ended e = { 0 };
    int status = -1;
    options.layers = layers;
    options.layer_count = 1;
    assert_int_equal(strata_open(&cache, &options, NULL), STRATA_OK);
    assert_int_equal(strata_queue_open(&queue, NULL), STRATA_OK);
    assert_int_equal(
        strata_get_or_load_async(cache, strata_str("k"), keep_loader, &kept, NULL, queue, on_done, &e, NULL),
        STRATA_PENDING);
    while (atomic_load(&kept) == NULL || atomic_load(&kept->parts) != 1) /* its loader has returned */
        (void)sched_yield();
    wait_for_still_threads();
    pid_t child = fork();
    if (child == 0) {
        int good = strata_reopen(cache, NULL) == STRATA_OK && strata_load_canceled(kept) &&
                   strata_load_copy(kept, "one", 3) == STRATA_ECLOSED;
        strata_load_unref(kept);
        good = good && strata_set(cache, strata_str("k"), strata_str("two"), NULL, NULL) == STRATA_OK &&
               strata_close(cache) == STRATA_OK;
        _exit(good ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(strata_load_copy(kept, "one", 3), STRATA_OK);
    strata_load_unref(kept);
    assert_int_equal(strata_queue_wait(queue, 10000), STRATA_OK);
    assert_int_equal(strata_queue_run(queue, 0), 1);
    strata_queue_close(queue);
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_string_equal(e.text, "one");
}

/* A layer may look at deadlines itself, and say STRATA_STALE for what it found. */
static void stale_submit(strata_layer *layer, strata_op *const *ops, size_t count)
{
    (void)layer;
    for (size_t i = 0; i < count; i++) {
        strata_meta meta = { .born_ms = ops[i]->now_ms - 500, .fresh_ms = 100, .stale_ms = 100000 };
        int rc = ops[i]->kind == STRATA_OP_GET ? strata_op_found(ops[i], "one", 3, &meta) : STRATA_OK;
        strata_op_done(ops[i], rc == STRATA_OK && ops[i]->kind == STRATA_OP_GET ? STRATA_STALE : rc);
    }
}

static void close_nothing(strata_layer *layer) { (void)layer; }

static void test_layer_says_stale(void **state)
{
    (void)state;
    static const strata_layer_ops ops = {
        .size = sizeof ops, .kind = "judge", .submit = stale_submit, .close = close_nothing
    };
    strata_layer judge = { .size = sizeof judge, .ops = &ops, .flags = STRATA_LAYER_LOCAL, .name = "judge" };
    strata_layer *layers[] = { &judge };
    strata_options options = STRATA_OPTIONS_INIT;
    strata *cache;
    strata_value *value;
    strata_layer_stats stats = { .size = sizeof stats };
    options.layers = layers;
    options.layer_count = 1;
    assert_int_equal(strata_open(&cache, &options, NULL), STRATA_OK);
    assert_int_equal(strata_get(cache, strata_str("k"), &value, NULL), STRATA_STALE);
    assert_value(value, "one");
    assert_int_equal(strata_has(cache, strata_str("k"), NULL), 1);
    assert_int_equal(strata_expire(cache, strata_str("k"), NULL), STRATA_OK);
    assert_int_equal(strata_stats_layer(cache, 0, &stats), STRATA_OK);
    assert_int_equal(stats.misses, 0);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

/* Windows without end, several of them. */
static void test_expire_for_ever(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p,
                        .ttl_ms = 100,
                        .stale_while_revalidate_ms = STRATA_FOREVER,
                        .stale_if_error_ms = STRATA_FOREVER };
    struct stack st;
    open_policy(&st, &p);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("one"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_expire(st.cache, strata_str("k"), NULL), STRATA_OK);
    assert_get(&st, "k", STRATA_STALE, "one");
    close_stack(&st);
}

/* Layers that can't be: refused, and not closed through what they lack, nor twice. */
static void test_impossible_layers(void **state)
{
    (void)state;
    static strata_layer bare = { .size = sizeof bare, .name = "bare" };
    strata_layer *twice = strata_memory_layer(NULL);
    strata_layer *one[] = { &bare }, *two[] = { twice, twice };
    strata_options options = STRATA_OPTIONS_INIT;
    strata *cache;
    options.layers = one;
    options.layer_count = 1;
    assert_int_equal(strata_open(&cache, &options, NULL), STRATA_EINVAL);
    options.layers = two;
    options.layer_count = 2;
    assert_int_equal(strata_open(&cache, &options, NULL), STRATA_EINVAL);
    assert_null(cache);
}

/* What a bulk loader says of its failure reaches the caller. */
static int bulk_fails(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    (void)keys;
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(strata_load_fail(loads[i], STRATA_EIO, "the origin is down"), STRATA_OK);
    return STRATA_OK;
}

static void test_bulk_words(void **state)
{
    (void)state;
    struct stack st;
    strata_item items[2] = { { .key = strata_str("a") }, { .key = strata_str("b") } };
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_get_or_load_many(st.cache, items, 2, bulk_fails, NULL, NULL, &st.err), STRATA_EIO);
    assert_string_equal(st.err.message, "the origin is down");
    close_stack(&st);
}

/* A listener that asks for the key that is just being loaded on its thread is refused instead of hanging. */
static void ask_for_it(const strata_event *event, void *ctx)
{
    struct origin *o = ctx;
    strata_value *value;
    if (o->meanwhile_rc == 0)
        o->meanwhile_rc = strata_get_or_load(event->cache, event->key, origin_loader, o, NULL, &value, NULL);
}

static int bulk_one(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    (void)keys;
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(strata_load_copy(loads[i], "one", 3), STRATA_OK);
    return STRATA_OK;
}

static void test_listener_asks(void **state)
{
    (void)state;
    static const uint32_t kinds[] = { STRATA_EVENT_MISS, STRATA_EVENT_LOAD_START, STRATA_EVENT_LOAD_SUCCESS };
    for (size_t i = 0; i < 2 * sizeof kinds / sizeof kinds[0]; i++) {
        struct stack st;
        struct origin o = { .st = &st, .value = "one" };
        strata_item items[2] = { { .key = strata_str("k") }, { .key = strata_str("l") } };
        uint64_t id;
        if (i >= 3 && kinds[i - 3] == STRATA_EVENT_MISS)
            continue;
        open_stack(&st, &(struct stack_options){ 0 });
        assert_int_equal(strata_on(st.cache, kinds[i % 3], ask_for_it, &o, &id), STRATA_OK);
        if (i < 3) {
            assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
        } else {
            assert_int_equal(strata_get_or_load_many(st.cache, items, 2, bulk_one, NULL, NULL, NULL), STRATA_OK);
            assert_value(items[0].value, "one");
            assert_value(items[1].value, "one");
        }
        assert_int_equal(o.meanwhile_rc, STRATA_EDEADLOCK);
        close_stack(&st);
    }
}

/* Circles through bulk loads: a waits for b and c, or loads b itself, and what it waits for asks for a. */
struct circle {
    strata *cache;
    _Atomic(int) stage;
    int through_own, first_rc, second_rc;
};

static int copy_loader(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    (void)ctx;
    return strata_load_copy(load, "x", 1);
}

static int ask_one(struct circle *c, const char *key)
{
    strata_value *value;
    int rc = strata_get_or_load(c->cache, strata_str(key), copy_loader, NULL, NULL, &value, NULL);
    strata_value_unref(value);
    return rc;
}

/* Until the loader of this key sleeps for another one. */
static void until_it_waits(struct circle *c, const char *key)
{
    struct root *root = c->cache->root;
    uint64_t hash = handle_hash(c->cache, strata_str(key));
    for (int waits = 0; !waits; (void)sched_yield()) {
        struct frame frame;
        struct stripe *s = stripe_lock(root, hash, &frame);
        const struct flight *f = strata__flight_find_locked(s, hash, c->cache->space, strata_str(key));
        key_mutex_lock(&root->graph_lock);
        waits = f != NULL && f->waits != NULL;
        key_mutex_unlock(&root->graph_lock);
        stripe_unlock(s, &frame);
    }
}

static int bulk_asks(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    struct circle *c = ctx;
    atomic_fetch_add(&c->stage, 1);
    while (atomic_load(&c->stage) < 2)
        (void)sched_yield();
    c->first_rc = ask_one(c, "b");
    return bulk_one(loads, keys, count, NULL);
}

static int a_loader(strata_load *load, strata_slice key, void *ctx)
{
    struct circle *c = ctx;
    strata_item items[2] = { { .key = strata_str(c->through_own ? "d" : "b") }, { .key = strata_str("c") } };
    if (c->through_own) {
        strata_get_or_load_many(c->cache, items, 1, bulk_asks, c, NULL, NULL);
    } else {
        atomic_fetch_add(&c->stage, 1);
        while (atomic_load(&c->stage) < 3)
            (void)sched_yield();
        c->first_rc = strata_get_or_load_many(c->cache, items, 2, bulk_one, NULL, NULL, NULL);
    }
    strata_value_unref(items[0].value);
    strata_value_unref(items[1].value);
    return copy_loader(load, key, NULL);
}

static int b_loader(strata_load *load, strata_slice key, void *ctx)
{
    struct circle *c = ctx;
    atomic_fetch_add(&c->stage, 1);
    while (atomic_load(&c->stage) < (c->through_own ? 2 : 3))
        (void)sched_yield();
    until_it_waits(c, c->through_own ? "d" : "a");
    c->second_rc = ask_one(c, "a");
    atomic_fetch_add(&c->stage, 1);
    return copy_loader(load, key, NULL);
}

static int c_loader(strata_load *load, strata_slice key, void *ctx)
{
    struct circle *c = ctx;
    atomic_fetch_add(&c->stage, 1);
    while (atomic_load(&c->stage) < 4) /* it is waited for last */
        (void)sched_yield();
    return copy_loader(load, key, NULL);
}

static void test_bulk_circles(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        strata_layer *layers[] = { strata_memory_layer(NULL) };
        strata_options options = STRATA_OPTIONS_INIT;
        struct circle c = { .through_own = own };
        struct ended ended[3] = { { 0 } };
        strata_queue *queue;
        options.layers = layers;
        options.layer_count = 1;
        assert_int_equal(strata_queue_open(&queue, NULL), STRATA_OK);
        assert_int_equal(strata_open(&c.cache, &options, NULL), STRATA_OK);
        assert_int_equal(
            strata_get_or_load_async(c.cache, strata_str("b"), b_loader, &c, NULL, queue, on_done, &ended[0], NULL),
            STRATA_PENDING);
        if (!own)
            assert_int_equal(
                strata_get_or_load_async(c.cache, strata_str("c"), c_loader, &c, NULL, queue, on_done, &ended[1], NULL),
                STRATA_PENDING);
        assert_int_equal(
            strata_get_or_load_async(c.cache, strata_str("a"), a_loader, &c, NULL, queue, on_done, &ended[2], NULL),
            STRATA_PENDING);
        for (size_t left = own ? 2 : 3; left != 0;) {
            assert_int_equal(strata_queue_wait(queue, 10000), STRATA_OK);
            left -= strata_queue_run(queue, 0);
        }
        assert_int_equal(c.first_rc, STRATA_OK);
        assert_int_equal(c.second_rc, STRATA_EDEADLOCK);
        assert_int_equal(strata_close(c.cache), STRATA_OK);
        strata_queue_close(queue);
    }
}

static strata *asked;

static void ask_back(strata_layer *layer, strata_layer_stats *out)
{
    strata_stats s = { .size = sizeof s };
    (void)layer;
    out->entries = strata_stats_get(asked, &s) == STRATA_OK;
}

static void nothing(strata_layer *layer, strata_op *const *ops, size_t count)
{
    (void)layer;
    for (size_t i = 0; i < count; i++)
        strata_op_done(ops[i], ops[i]->kind == STRATA_OP_GET ? STRATA_MISS : STRATA_OK);
}

static void stay(strata_layer *layer) { (void)layer; }

/* A layer's own code runs under no lock of ours: it may take its own, under which it calls us. */
static void test_layer_stats_under_no_lock(void **state)
{
    (void)state;
    static const strata_layer_ops ops = {
        .size = sizeof ops, .kind = "own", .submit = nothing, .stats = ask_back, .close = stay
    };
    static strata_layer layer = { .size = sizeof layer, .ops = &ops, .name = "own" };
    strata_layer *layers[] = { &layer };
    strata_options options = STRATA_OPTIONS_INIT;
    strata_layer_stats s = { .size = sizeof s };
    options.layers = layers;
    options.layer_count = 1;
    assert_int_equal(strata_open(&asked, &options, NULL), STRATA_OK);
    assert_int_equal(strata_stats_layer(asked, 0, &s), STRATA_OK);
    assert_int_equal(s.entries, 1);
    assert_int_equal(strata_stats_reset(asked), STRATA_OK);
    assert_int_equal(strata_close(asked), STRATA_OK);
}

/* NULL in place of a load: refused, nobody wants it, and there is nothing of before. */
static void test_no_load(void **state)
{
    (void)state;
    assert_int_equal(strata_load_copy(NULL, "v", 1), STRATA_EINVAL);
    assert_int_equal(strata_load_absent(NULL), STRATA_EINVAL);
    assert_int_equal(strata_load_not_modified(NULL), STRATA_EINVAL);
    assert_int_equal(strata_load_fail(NULL, STRATA_EIO, NULL), STRATA_EINVAL);
    assert_int_equal(strata_load_canceled(NULL), 1);
    assert_null(strata_load_previous(NULL));
    assert_int_equal(strata_load_validator(NULL, NULL, NULL), STRATA_MISS);
    assert_null(strata_load_ref(NULL));
    strata_load_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_after_close),
        cmocka_unit_test(test_nothing_resurrected),
        cmocka_unit_test(test_read_after_waiting),
        cmocka_unit_test(test_outdated_result),
        cmocka_unit_test(test_one_refresh),
        cmocka_unit_test(test_timeout_behind_write),
        cmocka_unit_test(test_timeout_is_not_fenced),
        cmocka_unit_test(test_load_after_fork),
        cmocka_unit_test(test_layer_says_stale),
        cmocka_unit_test(test_expire_for_ever),
        cmocka_unit_test(test_impossible_layers),
        cmocka_unit_test(test_bulk_words),
        cmocka_unit_test(test_listener_asks),
        cmocka_unit_test(test_bulk_circles),
        cmocka_unit_test(test_layer_stats_under_no_lock),
        cmocka_unit_test(test_no_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
