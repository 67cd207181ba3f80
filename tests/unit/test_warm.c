/* test_warm.c - warming up: order, bounds, what is passed over, failures, progress, batches. */
#include "strata/warm.h"

#include "tests/support/fail_alloc.h"
#include "tests/unit/core_fixture.h"

enum { KEYS = 12 };

/* Loads "k<i>" as "v<i>", each in some time; of those below `absent` there is nothing, and of number `fail` no answer. */
struct source {
    struct stack *st;
    int calls, at_once, most_at_once, bulk_calls, fail, absent;
    int64_t takes_ms;
    char order[64];
};

static int number_of(strata_slice key)
{
    int n = 0;
    for (size_t i = 1; i < key.size; i++)
        n = n * 10 + (((const char *)key.data)[i] - '0');
    return n;
}

static int give(strata_load *load, strata_slice key, struct source *s)
{
    char text[16];
    s->calls++;
    if (strlen(s->order) + 1 < sizeof s->order)
        s->order[strlen(s->order)] = (char)('a' + number_of(key));
    if (number_of(key) == s->fail)
        return strata_load_fail(load, STRATA_EIO, "no answer");
    if (number_of(key) < s->absent)
        return strata_load_absent(load);
    snprintf(text, sizeof text, "v%d", number_of(key));
    return strata_load_copy(load, text, strlen(text));
}

static void take_time(struct source *s)
{
    struct parker parker = { 0 };
    if (++s->at_once > s->most_at_once)
        s->most_at_once = s->at_once;
    if (s->takes_ms > 0)
        ex_park(s->st->ex, &parker, ex_now_ms(s->st->ex) + s->takes_ms);
    s->at_once--;
}

static int load_one(strata_load *load, strata_slice key, void *ctx)
{
    take_time(ctx);
    return give(load, key, ctx);
}

static int load_many(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    struct source *s = ctx;
    s->bulk_calls++;
    take_time(s);
    for (size_t i = 0; i < count; i++)
        (void)give(loads[i], keys[i], s);
    return STRATA_OK;
}

/* Keys "k0" on, each with its priority. */
struct list {
    char text[KEYS][16];
    strata_warm_key keys[KEYS];
};

static void make_list(struct list *l)
{
    memset(l, 0, sizeof *l);
    for (int i = 0; i < KEYS; i++) {
        snprintf(l->text[i], sizeof l->text[i], "k%d", i);
        l->keys[i].key = strata_str(l->text[i]);
    }
}

static strata_warm_options options_for(const struct list *l, struct source *s)
{
    strata_warm_options o = STRATA_WARM_OPTIONS_INIT;
    o.keys = l->keys;
    o.count = KEYS;
    o.loader = load_one;
    o.loader_ctx = s;
    return o;
}

struct world {
    struct stack st;
    struct source s;
    struct list l;
    strata_warm_report r;
};

static const strata_policy remembers = { STRATA_SIZED(strata_policy), .negative_ttl_ms = 1000 };

static void begin(struct world *w, const struct stack_options *o)
{
    memset(w, 0, sizeof *w);
    w->s = (struct source){ .st = &w->st, .fail = -1 };
    w->r.size = sizeof w->r;
    make_list(&w->l);
    open_stack(&w->st, o);
}

static void is_sum(const strata_warm_report *r)
{
    assert_int_equal(r->done, r->loaded + r->fresh + r->stale + r->absent + r->failed);
    assert_int_equal(r->done, r->taken);
}

static void test_all_are_loaded(void **state)
{
    (void)state;
    for (uint32_t at_once = 1; at_once <= 5; at_once++) {
        struct world w;
        begin(&w, &(struct stack_options){ 0 });
        strata_warm_options o = options_for(&w.l, &w.s);
        o.concurrency = at_once;
        w.s.takes_ms = 10;
        assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), STRATA_OK);
        assert_int_equal(w.r.loaded, KEYS);
        assert_int_equal(w.r.stopped, 0);
        is_sum(&w.r);
        assert_int_equal(w.s.most_at_once, at_once);
        assert_get(&w.st, "k7", STRATA_OK, "v7");
        /* What is fresh is passed over. */
        assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), STRATA_OK);
        assert_int_equal(w.r.fresh, KEYS);
        assert_int_equal(w.s.calls, KEYS);
        close_stack(&w.st);
    }
}

static void test_priorities(void **state)
{
    (void)state;
    struct world w;
    begin(&w, &(struct stack_options){ 0 });
    strata_warm_options o = options_for(&w.l, &w.s);
    o.concurrency = 1;
    w.l.keys[7].priority = 5;
    w.l.keys[2].priority = 9;
    w.l.keys[9].priority = 5;
    w.l.keys[0].priority = -1;
    assert_int_equal(strata_warm(w.st.cache, &o, NULL, &w.st.err), STRATA_OK);
    assert_string_equal(w.s.order, "chjbdefgikla");
    close_stack(&w.st);
}

static void test_what_is_below_comes_up(void **state)
{
    (void)state;
    struct world w;
    begin(&w, &(struct stack_options){ .with_slow = 1, .policy = &remembers });
    w.st.slow->delay_ms = 4;
    strata_warm_options o = options_for(&w.l, &w.s);
    assert_int_equal(strata_set(w.st.cache, strata_str("k3"), strata_str("below"), NULL, NULL), STRATA_OK);
    w.s.absent = 2;
    assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), STRATA_OK);
    assert_int_equal(w.r.fresh, 1);
    assert_int_equal(w.r.absent, 2);
    assert_int_equal(w.r.loaded, KEYS - 3);
    run(&w.st);
    close_stack(&w.st);
}

static void test_failures(void **state)
{
    (void)state;
    for (int going = 0; going < 2; going++) {
        struct world w;
        begin(&w, &(struct stack_options){ 0 });
        strata_warm_options o = options_for(&w.l, &w.s);
        o.concurrency = 1;
        o.keep_going = going ? STRATA_ON : 0;
        w.s.fail = 4;
        assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), going ? STRATA_OK : STRATA_EIO);
        if (!going)
            assert_string_equal(w.st.err.message, "no answer");
        assert_int_equal(w.r.failed, 1);
        assert_int_equal(w.r.status, STRATA_EIO);
        assert_int_equal(w.r.loaded, going ? KEYS - 1 : 4);
        assert_int_equal(w.r.stopped, !going);
        is_sum(&w.r);
        close_stack(&w.st);
    }
}

struct told {
    int count, stop_at, statuses;
    uint64_t last;
};

static int on_progress(const strata_warm_report *r, strata_slice key, int status, void *ctx)
{
    struct told *t = ctx;
    assert_int_equal(((const char *)key.data)[0], 'k');
    assert_int_equal(r->done, t->last + 1);
    t->last = r->done;
    t->statuses += status;
    return ++t->count == t->stop_at;
}

static void test_progress_and_cancel(void **state)
{
    (void)state;
    for (int stop_at = 0; stop_at < 8; stop_at += 7) {
        struct world w;
        struct told t = { .stop_at = stop_at };
        begin(&w, &(struct stack_options){ 0 });
        strata_warm_options o = options_for(&w.l, &w.s);
        o.progress = on_progress;
        o.progress_ctx = &t;
        w.s.takes_ms = 3;
        assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), stop_at != 0 ? STRATA_ECANCELED : STRATA_OK);
        assert_int_equal(t.count, w.r.done);
        assert_true(stop_at == 0 ? w.r.done == KEYS : w.r.done >= 7 && w.r.done < 7 + 4);
        assert_int_equal(w.r.stopped, stop_at != 0);
        assert_int_equal(t.statuses, 0);
        is_sum(&w.r);
        close_stack(&w.st);
    }
}

struct iterator {
    int at, end, fail;
    char text[16];
};

static int next(strata_slice *out, void *ctx)
{
    struct iterator *i = ctx;
    if (i->at == i->end)
        return i->fail;
    memset(i->text, 0, sizeof i->text); /* what was given before is gone */
    snprintf(i->text, sizeof i->text, "k%d", i->at++);
    *out = strata_str(i->text);
    return 1;
}

static void test_an_iterator(void **state)
{
    (void)state;
    for (int bulk = 0; bulk < 2; bulk++)
        for (int fail = 0; fail < 2; fail++) {
            struct world w;
            struct iterator i = { .end = 50, .fail = fail ? STRATA_EIO : 0 };
            begin(&w, &(struct stack_options){ 0 });
            strata_warm_options o = STRATA_WARM_OPTIONS_INIT;
            o.next = next;
            o.next_ctx = &i;
            o.loader = bulk ? NULL : load_one;
            o.bulk = bulk ? load_many : NULL;
            o.batch = 7;
            o.loader_ctx = &w.s;
            w.s.takes_ms = 2;
            assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), fail ? STRATA_EIO : STRATA_OK);
            assert_int_equal(w.s.bulk_calls, !bulk ? 0 : fail ? 7 : 8);
            assert_int_equal(w.r.loaded, fail && bulk ? 49 : 50);
            assert_get(&w.st, "k48", STRATA_OK, "v48");
            is_sum(&w.r);
            close_stack(&w.st);
        }
}

static void test_batches(void **state)
{
    (void)state;
    struct world w;
    begin(&w, &(struct stack_options){ .policy = &remembers });
    strata_warm_options o = options_for(&w.l, &w.s);
    o.loader = NULL;
    o.bulk = load_many;
    o.batch = 5;
    o.keep_going = STRATA_ON;
    w.s.fail = 6;
    w.s.absent = 1;
    assert_int_equal(strata_set(w.st.cache, strata_str("k3"), strata_str("here"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), STRATA_OK);
    assert_int_equal(w.s.bulk_calls, 3);
    assert_int_equal(w.r.fresh, 1);
    assert_int_equal(w.r.absent, 1);
    assert_int_equal(w.r.failed, 1);
    assert_int_equal(w.r.loaded, KEYS - 3);
    is_sum(&w.r);
    close_stack(&w.st);
}

static void test_stale_is_refreshed(void **state)
{
    (void)state;
    struct world w;
    strata_policy policy = STRATA_POLICY_INIT;
    policy.ttl_ms = 100;
    policy.stale_while_revalidate_ms = 10000;
    begin(&w, &(struct stack_options){ .policy = &policy });
    strata_warm_options o = options_for(&w.l, &w.s);
    assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), STRATA_OK);
    pass(&w.st, 200);
    assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), STRATA_OK);
    assert_int_equal(w.r.stale, KEYS);
    run(&w.st);
    assert_int_equal(w.s.calls, 2 * KEYS);
    assert_get(&w.st, "k1", STRATA_OK, "v1");
    close_stack(&w.st);
}

static void test_later(void **state)
{
    (void)state;
    struct world w;
    struct ended e = { 0 };
    begin(&w, &(struct stack_options){ 0 });
    strata_warm_options o = options_for(&w.l, &w.s);
    assert_int_equal(strata_warm_async(w.st.cache, &o, &w.r, NULL, on_done, &e, &w.st.err), STRATA_PENDING);
    assert_int_equal(e.count, 0);
    run(&w.st);
    assert_int_equal(e.count, 1);
    assert_int_equal(e.status, STRATA_OK);
    assert_int_equal(w.r.loaded, KEYS);
    close_stack(&w.st);
}

/* With hardly a place in the queue of tasks: it waits for one. */
static void test_a_full_queue(void **state)
{
    (void)state;
    for (int bulk = 0; bulk < 2; bulk++) {
        struct world w;
        begin(&w, &(struct stack_options){ .max_queued = 1 });
        strata_warm_options o = options_for(&w.l, &w.s);
        o.concurrency = 8;
        o.loader = bulk ? NULL : load_one;
        o.bulk = bulk ? load_many : NULL;
        o.batch = 2;
        w.s.takes_ms = 5;
        assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), STRATA_OK);
        assert_int_equal(w.r.loaded, KEYS);
        is_sum(&w.r);
        close_stack(&w.st);
    }
}

static int warm_inside(strata_load *load, strata_slice key, void *ctx)
{
    struct world *w = ctx;
    strata_warm_options o = options_for(&w->l, &w->s);
    (void)key;
    assert_int_equal(strata_warm(w->st.cache, &o, NULL, &w->st.err), STRATA_EDEADLOCK);
    return strata_load_copy(load, "v", 1);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    struct world w;
    strata_value *v = NULL;
    begin(&w, &(struct stack_options){ 0 });
    strata_warm_options o = options_for(&w.l, &w.s);
    assert_int_equal(strata_warm(NULL, &o, NULL, &w.st.err), STRATA_EINVAL);
    assert_int_equal(strata_warm(w.st.cache, NULL, NULL, &w.st.err), STRATA_EINVAL);
    o.bulk = load_many;
    assert_int_equal(strata_warm(w.st.cache, &o, NULL, &w.st.err), STRATA_EINVAL);
    o.bulk = NULL;
    o.loader = NULL;
    assert_int_equal(strata_warm(w.st.cache, &o, NULL, &w.st.err), STRATA_EINVAL);
    o.loader = load_one;
    o.concurrency = 5000;
    assert_int_equal(strata_warm(w.st.cache, &o, NULL, &w.st.err), STRATA_EINVAL);
    o.concurrency = 0;
    o.next = next;
    assert_int_equal(strata_warm(w.st.cache, &o, NULL, &w.st.err), STRATA_EINVAL);
    o.keys = NULL;
    o.next = NULL;
    assert_int_equal(strata_warm(w.st.cache, &o, NULL, &w.st.err), STRATA_EINVAL);
    assert_non_null(strstr(w.st.err.message, "keys is NULL"));
    o.count = 0; /* nothing is a list, too */
    w.r.size = 1;
    assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), STRATA_EINVAL);
    w.r.size = sizeof w.r;
    assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), STRATA_OK);
    assert_int_equal(w.r.done, 0);
    assert_int_equal(strata_get_or_load(w.st.cache, strata_str("k"), warm_inside, &w, NULL, &v, &w.st.err), STRATA_OK);
    strata_value_unref(v);
    w.l.keys[5].key.size = 0; /* no key */
    o = options_for(&w.l, &w.s);
    o.keep_going = STRATA_ON;
    assert_int_equal(strata_warm(w.st.cache, &o, &w.r, &w.st.err), STRATA_OK);
    assert_int_equal(w.r.failed, 1);
    assert_int_equal(w.r.status, STRATA_EKEYSIZE);
    assert_int_equal(w.r.loaded, KEYS - 1);
    close_stack(&w.st);
}

/* Whatever request for memory fails, each key is told of once, and nothing leaks. */
static void test_without_memory(void **state)
{
    (void)state;
    for (int bulk = 0; bulk < 2; bulk++)
        for (long n = 1, failed = 1; failed; n++) {
            struct fail_alloc alloc;
            struct world w;
            struct told t = { 0 };
            struct iterator i = { .end = 9 };
            fail_alloc_init(&alloc, 0);
            begin(&w, &(struct stack_options){ .allocator = &alloc.mem });
            strata_warm_options o = STRATA_WARM_OPTIONS_INIT;
            o.next = next;
            o.next_ctx = &i;
            o.loader = bulk ? NULL : load_one;
            o.bulk = bulk ? load_many : NULL;
            o.batch = 4;
            o.loader_ctx = &w.s;
            o.keep_going = n % 2 != 0 ? STRATA_ON : 0;
            o.progress = on_progress;
            o.progress_ctx = &t;
            atomic_store(&alloc.fail_at, atomic_load(&alloc.requests) + n);
            int rc = strata_warm(w.st.cache, &o, &w.r, &w.st.err);
            failed = atomic_load(&alloc.failed);
            assert_true(rc == STRATA_OK || rc == STRATA_ENOMEM || rc == STRATA_ELOADER);
            assert_true(failed || rc == STRATA_OK);
            assert_int_equal(t.count, w.r.done);
            is_sum(&w.r);
            atomic_store(&alloc.fail_at, 0);
            run(&w.st);
            close_stack(&w.st);
            assert_int_equal(atomic_load(&alloc.live), 0);
        }
}

/* With real threads; and closed in the middle, which ends it. */
static int load_plain(strata_load *load, strata_slice key, void *ctx)
{
    atomic_fetch_add((_Atomic(int) *)ctx, 1);
    return strata_load_copy(load, key.data, key.size);
}

static int load_plain_many(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    for (size_t i = 0; i < count; i++)
        (void)load_plain(loads[i], keys[i], ctx);
    return STRATA_OK;
}

static int count_progress(const strata_warm_report *r, strata_slice key, int status, void *ctx)
{
    (void)key;
    (void)status;
    *(uint64_t *)ctx = r->done; /* one at a time: no atomic is needed */
    return 0;
}

static void test_threads(void **state)
{
    (void)state;
    for (int bulk = 0; bulk < 2; bulk++)
        for (int close_early = 0; close_early < 2; close_early++) {
            strata_layer *layers[] = { strata_memory_layer(NULL) };
            strata_options options = STRATA_OPTIONS_INIT;
            struct iterator i = { .end = 2000 };
            struct ended e = { 0 };
            _Atomic(int) calls = 0;
            uint64_t told = 0;
            strata_warm_report r = STRATA_WARM_REPORT_INIT;
            strata *cache;
            options.layers = layers;
            options.layer_count = 1;
            assert_int_equal(strata_open(&cache, &options, NULL), STRATA_OK);
            strata_warm_options o = STRATA_WARM_OPTIONS_INIT;
            o.next = next;
            o.next_ctx = &i;
            o.loader = bulk ? NULL : load_plain;
            o.bulk = bulk ? load_plain_many : NULL;
            o.loader_ctx = &calls;
            o.concurrency = 8;
            o.progress = count_progress;
            o.progress_ctx = &told;
            if (close_early)
                assert_int_equal(strata_warm_async(cache, &o, &r, NULL, on_done, &e, NULL), STRATA_PENDING);
            else
                assert_int_equal(strata_warm(cache, &o, &r, NULL), STRATA_OK);
            assert_int_equal(strata_close(cache), STRATA_OK); /* waits for it */
            assert_int_equal(e.count, close_early);
            assert_true(e.status == STRATA_OK || e.status == STRATA_ECLOSED);
            assert_int_equal(told, r.done);
            is_sum(&r);
            assert_true(close_early || (r.loaded == 2000 && calls == 2000));
        }
}

/* Who brings back a job may be overtaken by the end of all of it, and touches nothing then. */
static void test_the_last_come_together(void **state)
{
    (void)state;
    strata_layer *layers[] = { strata_memory_layer(NULL) };
    strata_options options = STRATA_OPTIONS_INIT;
    strata_policy on_workers = STRATA_POLICY_INIT;
    _Atomic(int) calls = 0;
    struct list l;
    strata *cache;
    options.layers = layers;
    options.layer_count = 1;
    options.workers = 4;
    on_workers.load_limit_ms = 60000;
    assert_int_equal(strata_open(&cache, &options, NULL), STRATA_OK);
    make_list(&l);
    for (int round = 1; round <= 300; round++) {
        strata_warm_options o = STRATA_WARM_OPTIONS_INIT;
        o.keys = l.keys;
        o.count = 4;
        o.concurrency = 4;
        o.loader = load_plain;
        o.loader_ctx = &calls;
        o.policy = &on_workers;
        assert_int_equal(strata_warm(cache, &o, NULL, NULL), STRATA_OK);
        assert_int_equal(calls, round * 4);
        assert_int_equal(strata_clear(cache, NULL), STRATA_OK);
    }
    assert_int_equal(strata_close(cache), STRATA_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_are_loaded),
        cmocka_unit_test(test_priorities),
        cmocka_unit_test(test_what_is_below_comes_up),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_progress_and_cancel),
        cmocka_unit_test(test_an_iterator),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_stale_is_refreshed),
        cmocka_unit_test(test_later),
        cmocka_unit_test(test_a_full_queue),
        cmocka_unit_test(test_wrong_arguments),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_the_last_come_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
