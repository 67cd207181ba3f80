/* test_core_life.c - opening, closing, namespaces, listeners, forks, and running out of memory anywhere. */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/fail_alloc.h"
#include "tests/unit/core_fixture.h"
#include "tests/support/still_threads.h"

static void load_async(struct stack *st, const char *key, struct origin *o, struct ended *e)
{
    assert_int_equal(
        strata_get_or_load_async(st->cache, strata_str(key), origin_loader, o, NULL, NULL, on_done, e, NULL),
        STRATA_PENDING);
}

/* Opening --------------------------------------------------------------------------------------------------------- */

static void test_bad_options(void **state)
{
    (void)state;
    strata_error err;
    strata *cache = (strata *)(uintptr_t)1;
    assert_int_equal(strata_open(&cache, NULL, &err), STRATA_EINVAL);
    assert_null(cache);
    strata_options options = STRATA_OPTIONS_INIT;
    assert_int_equal(strata_open(&cache, &options, &err), STRATA_EINVAL);
    strata_memory_options tiny = { .size = sizeof tiny, .max_bytes = 5 };
    strata_layer *layers[2] = { strata_memory_layer(&tiny), NULL };
    options.layers = layers;
    options.layer_count = 1;
    assert_int_equal(strata_open(&cache, &options, &err), STRATA_EINVAL);
    layers[0] = strata_memory_layer(NULL);
    options.layer_count = 2;
    assert_int_equal(strata_open(&cache, &options, &err), STRATA_EINVAL);
    layers[0] = strata_memory_layer(NULL);
    options.layer_count = 1;
    strata_policy wrong = { .size = sizeof wrong, .keep_ms = -5 };
    options.policy = &wrong;
    assert_int_equal(strata_open(&cache, &options, &err), STRATA_EINVAL);
    assert_null(cache);
}

/* Closing --------------------------------------------------------------------------------------------------------- */

static void close_in_callback(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct stack *st = ctx;
    (void)status;
    (void)err;
    strata_value_unref(value);
    assert_int_equal(strata_close(st->cache), STRATA_AGAIN);
    assert_int_equal(strata_close(st->cache), STRATA_AGAIN);
    assert_int_equal(strata_get(st->cache, strata_str("k"), &value, NULL), STRATA_ECLOSED);
}

static void test_close_in_callback(void **state)
{
    (void)state;
    for (int queued = 0; queued < 2; queued++) {
        struct stack st;
        strata_queue *q = NULL;
        struct origin o = { .st = &st, .value = "one" };
        open_policy(&st, NULL);
        if (queued)
            assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
        assert_int_equal(strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL, q,
                                                  close_in_callback, &st, NULL),
                         STRATA_PENDING);
        run(&st);
        if (queued)
            assert_int_equal(strata_queue_run(q, 0), 1);
        close_stack(&st);
        strata_queue_close(q);
    }
}

static int came_again;

static void comes_again(void *ctx)
{
    strata_layer_host *host = ctx;
    if (++came_again < 1000 && !atomic_load(&host->closing))
        assert_int_equal(strata_host_after(host, 10000, comes_again, host), STRATA_OK);
}

/* Closing has begun, and takes its time: delays are cut short from then on, and layers know, or who asks again each time would come again
 * and again without a pause. */
static void test_delays_while_it_closes(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    assert_int_equal(strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL, NULL,
                                              close_in_callback, &st, NULL),
                     STRATA_PENDING);
    run(&st);
    came_again = 0;
    assert_int_equal(strata_host_after(st.slow->host, 10000, comes_again, st.slow->host), STRATA_OK);
    run(&st);
    assert_int_equal(came_again, 1);
    close_stack(&st);
    assert_int_equal(came_again, 1);
}

static int closes(strata_load *load, strata_slice key, void *ctx)
{
    struct stack *st = ctx;
    (void)key;
    assert_int_equal(strata_load_canceled(load), 0);
    assert_int_equal(strata_close(st->cache), STRATA_AGAIN);
    assert_int_equal(strata_load_canceled(load), 1);
    return strata_load_copy(load, "x", 1);
}

static void test_close_in_loader(void **state)
{
    (void)state;
    struct stack st;
    strata_value *v;
    open_policy(&st, NULL);
    assert_int_equal(strata_get_or_load(st.cache, strata_str("k"), closes, &st, NULL, &v, &st.err), STRATA_ECLOSED);
    assert_null(v);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_ECLOSED);
    close_stack(&st);
}

static void test_close_ends_all(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct stack st;
        strata *ns;
        struct origin slow = { .st = &st, .value = "late", .takes_ms = 100 }, never = { .st = &st, .pending = 1 };
        struct ended e[6] = { { 0 } };
        open_stack(&st, &(struct stack_options){ .seed = seed, .with_slow = 1 });
        st.slow->delay_ms = 20;
        assert_int_equal(strata_namespace(st.cache, "ns", NULL, &ns, NULL), STRATA_OK);
        load_async(&st, "slow", &slow, &e[0]);
        load_async(&st, "slow", &slow, &e[1]);
        load_async(&st, "never", &never, &e[2]);
        assert_int_equal(strata_set_async(ns, strata_str("k"), strata_str("v"), NULL, NULL, on_done, &e[3], NULL),
                         STRATA_PENDING);
        assert_int_equal(strata_delete_async(st.cache, strata_str("k"), NULL, on_done, &e[4], NULL), STRATA_PENDING);
        pass(&st, (int64_t)seed * 3);
        close_stack(&st);
        for (int i = 0; i < 5; i++)
            assert_int_equal(e[i].count, 1);
        assert_int_equal(e[0].status, STRATA_ECLOSED);
        assert_int_equal(e[2].status, STRATA_ECLOSED);
        assert_int_equal(e[3].status, STRATA_OK); /* it was accepted */
        strata_value *v;
        assert_int_equal(strata_get(ns, strata_str("k"), &v, NULL), STRATA_ECLOSED);
        assert_int_equal(strata_clear(ns, NULL), STRATA_ECLOSED);
        if (never.kept != NULL)
            assert_int_equal(strata_load_copy(never.kept, "x", 1), STRATA_ECLOSED);
        strata_load_unref(never.kept);
        strata_close(ns);
    }
}

static size_t entries_at_close;

static void counting_close(strata_layer *layer)
{
    const struct script *s = (struct script *)(void *)layer;
    entries_at_close = 0;
    for (int i = 0; i < SCRIPT_ROOM; i++)
        entries_at_close += s->entries[i].used != 0;
    script_close(layer);
}

/* A value that its caller has is on its way to the slow layer: a close does not drop it. */
static void test_close_stores_what_was_loaded(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct stack st;
        struct origin o = { .st = &st, .value = "loaded" };
        strata_layer_ops counting = script_ops;
        counting.close = counting_close;
        open_stack(&st, &(struct stack_options){ .seed = seed, .with_slow = 1, .slow_flags = STRATA_LAYER_BLOCKS });
        st.slow->base.ops = &counting;
        st.slow->delay_ms = (int64_t)(seed % 3) * 20;
        for (int i = 0; i < 50; i++) {
            char key[16];
            strata_value *v;
            snprintf(key, sizeof key, "k%d", i);
            assert_int_equal(strata_get_or_load(st.cache, strata_str(key), origin_loader, &o, NULL, &v, NULL),
                             STRATA_OK);
            strata_value_unref(v);
        }
        close_stack(&st);
        assert_int_equal(entries_at_close, 50);
    }
}

/* Namespaces ------------------------------------------------------------------------------------------------------ */

static void test_namespaces(void **state)
{
    (void)state;
    struct stack st;
    strata *a, *again, *b, *child;
    strata_policy brief = { .size = sizeof brief, .ttl_ms = 100 };
    struct origin o = { .st = &st, .value = "theirs" };
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    options.policy = &brief;
    options.loader = origin_loader;
    options.loader_ctx = &o;
    open_policy(&st, NULL);
    assert_int_equal(strata_namespace(st.cache, "a", &options, &a, &st.err), STRATA_OK);
    assert_int_equal(strata_namespace(st.cache, "a", NULL, &again, &st.err), STRATA_OK);
    assert_ptr_equal(a, again);
    assert_int_equal(strata_close(again), STRATA_OK);
    assert_int_equal(strata_namespace(st.cache, "a", &options, &again, &st.err), STRATA_OK);
    assert_int_equal(strata_close(again), STRATA_OK);
    options.loader_ctx = NULL;
    assert_int_equal(strata_namespace(st.cache, "a", &options, &again, &st.err), STRATA_EEXIST);
    assert_null(again);
    assert_int_equal(strata_namespace(st.cache, "", NULL, &b, &st.err), STRATA_EINVAL);
    assert_int_equal(strata_namespace(st.cache, "b", NULL, &b, &st.err), STRATA_OK);
    assert_int_equal(strata_namespace(a, "child", NULL, &child, &st.err), STRATA_OK);
    strata_value *v;
    assert_int_equal(strata_get_or_load(child, strata_str("k"), NULL, NULL, NULL, &v, &st.err), STRATA_OK);
    assert_value(v, "theirs"); /* inherits loader and policy */
    assert_int_equal(strata_has(a, strata_str("k"), NULL), 0);
    assert_int_equal(strata_has(b, strata_str("k"), NULL), 0);
    assert_int_equal(strata_get_or_load(b, strata_str("k"), NULL, NULL, NULL, &v, &st.err), STRATA_EINVAL);
    pass(&st, 150);
    assert_int_equal(strata_has(child, strata_str("k"), NULL), 0);
    assert_int_equal(stats_of(child).loads, 1);
    assert_int_equal(stats_of(b).loads, 0);
    assert_int_equal(stats_of(st.cache).loads, 1);
    strata_close(a);
    strata_close(b);
    strata_close(child);
    close_stack(&st);
}

/* As many as numbers allow, and no more. */
static void test_many_namespaces(void **state)
{
    (void)state;
    struct stack st;
    strata *last = NULL, *ns;
    char name[16];
    open_policy(&st, NULL);
    int made = 0, rc;
    for (;; made++) {
        snprintf(name, sizeof name, "%d", made);
        rc = strata_namespace(st.cache, name, NULL, &ns, &st.err);
        if (rc != STRATA_OK)
            break;
        strata_close(last);
        last = ns;
    }
    assert_int_equal(rc, STRATA_EBUSY);
    assert_int_equal(made, 65535);
    assert_int_equal(strata_namespace(st.cache, "77", NULL, &ns, &st.err), STRATA_OK);
    assert_int_equal(ns->space, 78);
    assert_int_equal(strata_set(last, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_has(last, strata_str("k"), NULL), 1);
    assert_int_equal(strata_has(ns, strata_str("k"), NULL), 0);
    strata_close(ns);
    strata_close(last);
    close_stack(&st);
}

/* Events ---------------------------------------------------------------------------------------------------------- */

struct log {
    char text[1024];
    strata *cache;
    uint64_t id;
    int off_rc;
};

static void note(const strata_event *e, void *ctx)
{
    struct log *l = ctx;
    size_t n = strlen(l->text);
    snprintf(l->text + n, sizeof l->text - n, "%s%s%s%s ", strata_event_name(e->kind), e->layer != NULL ? ":" : "",
             e->layer != NULL ? e->layer : "", e->from_layer != NULL ? "<" : "");
}

static void leaves(const strata_event *e, void *ctx)
{
    struct log *l = ctx;
    note(e, ctx);
    l->off_rc = strata_off(l->cache, l->id); /* in its own call */
    strata_value *v;
    assert_int_equal(strata_get(l->cache, strata_str("other"), &v, NULL), STRATA_MISS);
}

static void expect(struct log *l, const char *text)
{
    assert_string_equal(l->text, text);
    l->text[0] = 0;
}

static void test_events(void **state)
{
    (void)state;
    struct stack st;
    strata *ns;
    struct log all = { .text = "" }, some = { .text = "" }, leaving = { .text = "" };
    uint64_t all_id, some_id;
    strata_policy p = { .size = sizeof p, .ttl_ms = 1000, .stale_while_revalidate_ms = 1000, .negative_ttl_ms = 1000 };
    open_stack(&st, &(struct stack_options){ .with_slow = 1, .policy = &p });
    struct origin o = { .st = &st, .value = "one" };
    assert_int_equal(strata_namespace(st.cache, "ns", NULL, &ns, NULL), STRATA_OK);
    assert_int_equal(strata_on(st.cache, STRATA_EVENT_ALL & ~STRATA_EVENT_SUSPECT, note, &all, &all_id), STRATA_OK);
    assert_int_equal(strata_on(ns, STRATA_EVENT_HIT | STRATA_EVENT_SET, note, &some, &some_id), STRATA_OK);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    run(&st);
    expect(&all, "miss load_start load_success ");
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    expect(&all, "hit:memory ");
    pass(&st, 1100);
    assert_get(&st, "k", STRATA_STALE, "one");
    expect(&all, "hit:memory stale_serve:memory ");
    assert_int_equal(strata_delete(st.cache, strata_str("k"), NULL), STRATA_OK);
    assert_get(&st, "k", STRATA_MISS, NULL);
    expect(&all, "delete miss ");
    o.value = NULL;
    assert_load(&st, "k", &o, NULL, STRATA_ABSENT, NULL);
    run(&st);
    expect(&all, "miss load_start load_success negative_set:memory ");
    o.fail = STRATA_EIO;
    assert_load(&st, "f", &o, NULL, STRATA_EIO, NULL);
    expect(&all, "miss load_start load_error ");
    st.slow->fail_puts = 1;
    assert_int_equal(strata_set(ns, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_ELAYER);
    expect(&all, "error:script set ");
    expect(&some, "set ");
    st.slow->fail_puts = 0;
    assert_int_equal(strata_clear(ns, NULL), STRATA_OK);
    expect(&all, "clear ");
    assert_int_equal(strata_off(st.cache, all_id), STRATA_OK);
    assert_int_equal(strata_off(st.cache, all_id), STRATA_MISS);
    leaving.cache = st.cache;
    assert_int_equal(strata_on(st.cache, STRATA_EVENT_MISS, leaves, &leaving, &leaving.id), STRATA_OK);
    assert_get(&st, "z", STRATA_MISS, NULL);
    assert_get(&st, "z", STRATA_MISS, NULL);
    expect(&leaving, "miss ");
    assert_int_equal(leaving.off_rc, STRATA_OK);
    expect(&all, "");
    assert_int_equal(strata_off(st.cache, some_id), STRATA_OK);
    assert_int_equal(st.cache->root->events.count, 0);
    strata_close(ns);
    close_stack(&st);
}

static void test_eviction_events(void **state)
{
    (void)state;
    struct stack st;
    struct log all = { .text = "" };
    uint64_t id;
    char value[4096], key[32];
    memset(value, 'v', sizeof value);
    open_policy(&st, NULL); /* 1 MiB */
    assert_int_equal(strata_on(st.cache, STRATA_EVENT_EVICT, note, &all, &id), STRATA_OK);
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "key %d", i);
        assert_int_equal(strata_set(st.cache, strata_str(key), strata_bytes(value, sizeof value), NULL, NULL),
                         STRATA_OK);
        assert_null(strata__frames);
    }
    assert_memory_equal(all.text, "evict:memory ", 13);
    close_stack(&st);
}

/* Stats ----------------------------------------------------------------------------------------------------------- */

static void test_reset(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" };
    open_policy(&st, NULL);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    assert_int_equal(strata_has(st.cache, strata_str("k"), NULL), 1); /* counts nothing */
    assert_int_equal(strata_stats_reset(st.cache), STRATA_OK);
    strata_stats s = stats_of(st.cache);
    assert_int_equal(s.requests + s.hits + s.loads + s.load_latency.count, 0);
    strata_layer_stats l = { .size = sizeof l };
    assert_int_equal(strata_stats_layer(st.cache, 0, &l), STRATA_OK);
    assert_int_equal(l.hits + l.misses + l.puts, 0);
    assert_int_equal(l.entries, 1);
    assert_get(&st, "k", STRATA_OK, "one");
    s = stats_of(st.cache);
    assert_int_equal(s.requests, 1);
    assert_int_equal(s.hits, 1);
    assert_true(s.hit_rate > 0.99);
    close_stack(&st);
}

/* Out of memory ---------------------------------------------------------------------------------------------------- */

static int may_fail(int rc) { return rc >= 0 || rc == STRATA_ENOMEM; }

static int copies(strata_load *load, strata_slice key, void *ctx)
{
    (void)ctx;
    return strata_load_copy(load, key.data, key.size);
}

static int copies_all(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        strata_load_copy(loads[i], keys[i].data, keys[i].size);
    return STRATA_OK;
}

static void use_everything(struct stack *st)
{
    strata *c = st->cache, *ns = NULL;
    strata_value *v;
    struct ended e[4] = { { 0 } };
    uint64_t id = 0;
    strata_error err;
    assert_true(may_fail(strata_get_or_load(c, strata_str("a"), copies, NULL, NULL, &v, &err)));
    strata_value_unref(v);
    assert_true(may_fail(strata_get(c, strata_str("b"), &v, &err)));
    strata_value_unref(v);
    assert_true(may_fail(strata_set(c, strata_str("c"), strata_str("v"), NULL, &err)));
    assert_true(may_fail(strata_namespace(c, "ns", NULL, &ns, &err)));
    if (ns != NULL) {
        assert_true(may_fail(strata_set(ns, strata_str("c"), strata_str("v"), NULL, &err)));
        assert_true(may_fail(strata_expire(ns, strata_str("c"), &err)));
        assert_true(may_fail(strata_has(ns, strata_str("c"), &err)));
        assert_true(may_fail(strata_clear(ns, &err)));
    }
    strata_item items[3] = { { .key = strata_str("a") }, { .key = strata_str("x") }, { .key = strata_str("y") } };
    assert_true(may_fail(strata_get_or_load_many(c, items, 3, copies_all, NULL, NULL, &err)));
    for (int i = 0; i < 3; i++) {
        assert_true(may_fail(items[i].status));
        strata_value_unref(items[i].value);
        items[i].set = items[i].key;
    }
    assert_true(may_fail(strata_set_many(c, items, 3, NULL, &err)));
    int rc[4];
    rc[0] = strata_get_or_load_async(c, strata_str("q"), copies, NULL, NULL, NULL, on_done, &e[0], &err);
    rc[1] = strata_set_async(c, strata_str("q"), strata_str("v"), NULL, NULL, on_done, &e[1], &err);
    rc[2] = strata_delete_async(c, strata_str("q"), NULL, on_done, &e[2], &err);
    rc[3] = strata_has_async(c, strata_str("a"), NULL, on_done, &e[3], &err);
    pass(st, 100);
    for (int i = 0; i < 4; i++) {
        assert_true(rc[i] == STRATA_PENDING || rc[i] == STRATA_ENOMEM);
        assert_int_equal(e[i].count, rc[i] == STRATA_PENDING);
        assert_true(may_fail(e[i].status));
    }
    struct log l = { .text = "" };
    assert_true(may_fail(strata_on(c, STRATA_EVENT_ALL, note, &l, &id)));
    assert_true(may_fail(strata_delete(c, strata_str("a"), &err)));
    strata_stats s = { .size = sizeof s };
    assert_true(may_fail(strata_stats_get(c, &s)));
    pass(st, 2000);
    strata_close(ns);
}

static void test_every_allocation_fails(void **state)
{
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        for (long n = 1;; n++) {
            struct fail_alloc a;
            struct stack st;
            fail_alloc_init(&a, n);
            strata_policy p = { .size = sizeof p, .ttl_ms = 1000, .stale_while_revalidate_ms = 1000 };
            int rc = try_open(&st, &(struct stack_options){ .with_slow = slow, .policy = &p, .allocator = &a.mem });
            assert_true(may_fail(rc));
            if (rc == STRATA_OK) {
                use_everything(&st);
                close_stack(&st);
            } else {
                assert_null(st.cache);
                assert_int_equal(st.err.status, STRATA_ENOMEM);
            }
            if (a.live != 0)
                print_error("allocation %ld failed: %ld blocks leaked\n", n, (long)a.live);
            assert_int_equal(a.live, 0);
            if (!a.failed)
                break;
        }
    }
}

/* Fork ------------------------------------------------------------------------------------------------------------- */

static int in_child(strata *cache)
{
    strata_value *v;
    strata_error err;
    if (strata_get(cache, strata_str("k"), &v, &err) != STRATA_EFORKED)
        return 1;
    if (strata_set(cache, strata_str("k"), strata_str("v"), NULL, &err) != STRATA_EFORKED)
        return 2;
    if (strata_reopen(cache, &err) != STRATA_OK)
        return 3;
    strata_stats all = { .size = sizeof all };
    strata_layer_stats one = { .size = sizeof one };
    if (strata_stats_get(cache, &all) != STRATA_OK || strata_stats_layer(cache, 0, &one) != STRATA_OK ||
        all.requests != 0 || all.hits != 0 || all.sets != 0 || one.hits != 0 || one.misses != 0)
        return 9;
    if (strata_get(cache, strata_str("k"), &v, &err) != STRATA_MISS)
        return 4;
    if (strata_stats_layer(cache, 0, &one) != STRATA_OK || one.hits != 0 || one.misses != 1)
        return 10;
    if (strata_set(cache, strata_str("k"), strata_str("child"), NULL, &err) != STRATA_OK)
        return 5;
    if (strata_get_or_load(cache, strata_str("l"), copies, NULL, NULL, &v, &err) != STRATA_OK)
        return 6;
    strata_value_unref(v);
    strata_policy timed = { .size = sizeof timed, .hard_timeout_ms = 10000 };
    if (strata_get_or_load(cache, strata_str("m"), copies, NULL, &timed, &v, &err) != STRATA_OK)
        return 7;
    strata_value_unref(v);
    return strata_close(cache) == STRATA_OK ? 0 : 8;
}

static void test_fork(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* TSan cannot start threads in the child of a process that has some */
#endif
#if defined(__SANITIZE_THREAD__)
    skip(); /* the sanitizer starts no threads after a fork */
#endif
    strata *cache;
    strata_value *v;
    strata_error err;
    strata_memory_options m = { .size = sizeof m, .max_bytes = 1 << 20 };
    strata_layer *layers[1] = { strata_memory_layer(&m) };
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 1;
    options.workers = 2;
    assert_int_equal(strata_open(&cache, &options, &err), STRATA_OK);
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("parent"), NULL, NULL), STRATA_OK);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(strata_get(cache, strata_str(i % 3 != 0 ? "k" : "none"), &v, NULL),
                         i % 3 != 0 ? 0 : STRATA_MISS);
        strata_value_unref(i % 3 != 0 ? v : NULL);
    }
    assert_int_equal(strata_stats_reset(cache), STRATA_OK);  /* so that it has something to take off */
    assert_int_equal(strata_reopen(cache, &err), STRATA_OK); /* there was no fork */
    wait_for_still_threads();
    pid_t pid = fork();
    if (pid == 0)
        _exit(in_child(cache));
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(strata_get(cache, strata_str("k"), &v, NULL), STRATA_OK);
    assert_value(v, "parent");
    assert_int_equal(strata_close(cache), STRATA_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_options),
        cmocka_unit_test(test_close_in_callback),
        cmocka_unit_test(test_delays_while_it_closes),
        cmocka_unit_test(test_close_in_loader),
        cmocka_unit_test(test_close_ends_all),
        cmocka_unit_test(test_close_stores_what_was_loaded),
        cmocka_unit_test(test_namespaces),
        cmocka_unit_test(test_many_namespaces),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_eviction_events),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_every_allocation_fails),
        cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
