/* test_async_direct.c - asynchronous gets of a stack whose one layer answers on a thread of its own: asked on the caller's
 * thread, without a flight; through a queue, without one, through one that is closed; counted once; while the key is busy. */
#include "tests/support/fail_alloc.h"
#include "tests/unit/core_fixture.h"

static void open_direct(struct stack *st, const strata_policy *policy, int64_t delay_ms)
{
    open_stack(st, &(struct stack_options){ .only_slow = 1, .slow_flags = STRATA_LAYER_LENDS, .policy = policy });
    st->slow->delay_ms = delay_ms;
}

/* To the end, through a queue or on a worker. */
static struct ended ask(struct stack *st, strata *cache, const char *key, int with_queue)
{
    struct ended e = { 0 };
    strata_queue *q = NULL;
    if (with_queue)
        assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
    assert_int_equal(strata_get_async(cache, strata_str(key), q, on_done, &e, &st->err), STRATA_PENDING);
    assert_int_equal(e.count, 0); /* never before the call returns */
    pass(st, 10);
    if (with_queue) {
        assert_int_equal(e.count, 0);
        assert_int_equal(strata_queue_run(q, 0), 1);
    }
    strata_queue_close(q);
    assert_int_equal(e.count, 1);
    return e;
}

#define assert_asked(st, cache, key, with_queue, wanted, words) \
    do { \
        struct ended e_ = ask((st), (cache), (key), (with_queue)); \
        assert_int_equal(e_.status, (wanted)); \
        assert_string_equal(e_.text, (words)); \
    } while (0)

static void test_answers(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        strata_policy p = {
            .size = sizeof p, .ttl_ms = 1000, .stale_while_revalidate_ms = 1000, .negative_ttl_ms = 1000
        };
        struct stack st;
        struct origin absent = { .st = &st };
        strata_layer_stats layer = { .size = sizeof layer };
        int with_queue = i & 1;
        open_direct(&st, &p, i & 2 ? 5 : 0);
        assert_asked(&st, st.cache, "k", with_queue, STRATA_MISS, "");
        assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
        assert_asked(&st, st.cache, "k", with_queue, STRATA_OK, "v");
        assert_load(&st, "none", &absent, NULL, STRATA_ABSENT, NULL);
        assert_asked(&st, st.cache, "none", with_queue, STRATA_ABSENT, "");
        assert_int_equal(strata_stats_layer(st.cache, 0, &layer), STRATA_OK);
        assert_int_equal(layer.hits, 2);
        assert_int_equal(layer.misses, 2);
        strata_stats all = stats_of(st.cache);
        assert_int_equal(all.hits, 2);
        assert_int_equal(all.negative_hits, 1);
        assert_int_equal(all.requests, 4);
        pass(&st, 1500);
        assert_asked(&st, st.cache, "k", with_queue, STRATA_STALE, "v");
        assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
        assert_asked(&st, st.cache, "k", with_queue, STRATA_MISS, "");
        close_stack(&st);
    }
}

static void test_failure(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct stack st;
        open_direct(&st, NULL, i & 2 ? 5 : 0);
        st.slow->fail_gets = 1;
        struct ended e = ask(&st, st.cache, "k", i & 1);
        assert_int_equal(e.status, STRATA_ELAYER);
        assert_string_equal(e.err.where, "script");
        assert_string_equal(e.err.message, "layer \"script\" failed: the script says so");
        assert_int_equal(stats_of(st.cache).errors, 1);
        close_stack(&st);
    }
}

/* Gets do not wait for each other, nor join. */
static void test_many_at_once(void **state)
{
    (void)state;
    enum { MANY = 100 };
    struct stack st;
    struct ended e[MANY] = { { 0 } };
    strata_queue *q;
    open_direct(&st, NULL, 5);
    assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(strata_get_async(st.cache, strata_str("k"), q, on_done, &e[i], NULL), STRATA_PENDING);
    assert_int_equal(st.slow->gets, MANY); /* before the call returned */
    pass(&st, 5);
    assert_int_equal(strata_queue_run(q, 0), MANY);
    for (int i = 0; i < MANY; i++)
        assert_string_equal(e[i].text, "v");
    strata_queue_close(q);
    close_stack(&st);
}

/* A write that began before comes first. */
static void test_busy_key(void **state)
{
    (void)state;
    struct stack st;
    struct ended set = { 0 }, get = { 0 };
    open_direct(&st, NULL, 5);
    assert_int_equal(strata_set_async(st.cache, strata_str("k"), strata_str("v"), NULL, NULL, on_done, &set, NULL),
                     STRATA_PENDING);
    assert_int_equal(strata_get_async(st.cache, strata_str("k"), NULL, on_done, &get, NULL), STRATA_PENDING);
    pass(&st, 30);
    assert_int_equal(set.status, STRATA_OK);
    assert_string_equal(get.text, "v");
    close_stack(&st);
}

/* Storage keys of namespaces, which may go away meanwhile. */
static void test_keys(void **state)
{
    (void)state;
    struct stack st;
    struct ended e = { 0 };
    strata *users;
    open_direct(&st, NULL, 5);
    assert_int_equal(strata_namespace(st.cache, "users", NULL, &users, NULL), STRATA_OK);
    assert_int_equal(strata_set(users, strata_str("k"), strata_str("in users"), NULL, NULL), STRATA_OK);
    assert_asked(&st, st.cache, "k", 1, STRATA_MISS, "");
    assert_asked(&st, users, "k", 1, STRATA_OK, "in users");
    assert_int_equal(strata_get_async(users, strata_str("k"), NULL, on_done, &e, NULL), STRATA_PENDING);
    strata_close(users);
    pass(&st, 10);
    assert_string_equal(e.text, "in users");
    assert_int_equal(strata_get_async(st.cache, strata_str(""), NULL, on_done, &e, NULL), STRATA_EKEYSIZE);
    assert_int_equal(strata_get_async(st.cache, strata_str("k"), NULL, NULL, NULL, NULL), STRATA_EINVAL);
    close_stack(&st);
}

static void count_event(const strata_event *event, void *ctx)
{
    (void)event;
    ++*(int *)ctx;
}

static void test_listeners_hear(void **state)
{
    (void)state;
    struct stack st;
    struct ended e = { 0 };
    int heard = 0;
    uint64_t id = 0;
    open_direct(&st, NULL, 5);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    /* One that is under way when the listener comes. */
    assert_int_equal(strata_get_async(st.cache, strata_str("k"), NULL, on_done, &e, NULL), STRATA_PENDING);
    assert_int_equal(strata_on(st.cache, STRATA_EVENT_HIT | STRATA_EVENT_MISS, count_event, &heard, &id), STRATA_OK);
    pass(&st, 10);
    assert_int_equal(heard, 1);
    assert_asked(&st, st.cache, "k", 1, STRATA_OK, "v");
    assert_asked(&st, st.cache, "none", 1, STRATA_MISS, "");
    assert_int_equal(heard, 3);
    assert_int_equal(stats_of(st.cache).requests, 3);
    assert_int_equal(stats_of(st.cache).hits, 2);
    close_stack(&st);
}

/* What another process has stored, or this one before a restart: by its age; a clear of ours bans it. */
static void test_another_life(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .ttl_ms = 1000 };
    struct stack st;
    open_direct(&st, &p, 5);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    st.slow->entries[0].meta.life ^= 1;
    assert_asked(&st, st.cache, "k", 1, STRATA_OK, "v");
    assert_int_equal(stats_of(st.cache).hits, 1);
    struct script_entry kept = st.slow->entries[0];
    assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
    st.slow->entries[0] = kept; /* by another one, who wrote it before that */
    assert_asked(&st, st.cache, "k", 1, STRATA_MISS, "");
    pass(&st, 100);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    st.slow->entries[0].meta.life ^= 1;
    assert_asked(&st, st.cache, "k", 1, STRATA_OK, "v");
    pass(&st, 1500);
    assert_asked(&st, st.cache, "k", 1, STRATA_MISS, "");
    close_stack(&st);
}

/* A queue that is closed while it waits: a worker tells. */
static void test_queue_closed(void **state)
{
    (void)state;
    for (int there = 0; there < 2; there++) {
        struct stack st;
        struct ended e = { 0 };
        strata_queue *q;
        open_direct(&st, NULL, 5);
        assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
        if (there)
            assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
        assert_int_equal(strata_get_async(st.cache, strata_str("k"), q, on_done, &e, NULL), STRATA_PENDING);
        strata_queue_close(q);
        pass(&st, 10);
        assert_int_equal(e.count, 1);
        assert_string_equal(e.text, there ? "v" : "");
        close_stack(&st);
    }
}

/* The cache waits for what is under way; its completion may be run, and its value be used, after that. */
static void test_close(void **state)
{
    (void)state;
    struct stack st;
    struct ended e = { 0 };
    strata_queue *q;
    open_direct(&st, NULL, 5);
    assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_get_async(st.cache, strata_str("k"), q, on_done, &e, NULL), STRATA_PENDING);
    close_stack(&st);
    assert_int_equal(e.count, 0);
    assert_int_equal(strata_queue_run(q, 0), 1);
    assert_string_equal(e.text, "v");
    strata_queue_close(q);
}

static void close_in_callback(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct stack *st = ctx;
    (void)err;
    assert_int_equal(status, STRATA_MISS);
    strata_value_unref(value);
    assert_int_equal(strata_close(st->cache), STRATA_AGAIN);
    strata_value *v;
    assert_int_equal(strata_get_async(st->cache, strata_str("k"), NULL, on_done, &v, NULL), STRATA_ECLOSED);
}

static void test_close_in_callback(void **state)
{
    (void)state;
    for (int with_queue = 0; with_queue < 2; with_queue++) {
        struct stack st;
        strata_queue *q = NULL;
        open_direct(&st, NULL, 0);
        if (with_queue)
            assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
        assert_int_equal(strata_get_async(st.cache, strata_str("k"), q, close_in_callback, &st, NULL), STRATA_PENDING);
        pass(&st, 1);
        if (with_queue)
            assert_int_equal(strata_queue_run(q, 0), 1);
        strata_queue_close(q);
        close_stack(&st);
    }
}

static uint64_t begun_and_not_over(strata *cache)
{
    return strata__counter_sum(cache->cells, HOT_BEGUN) - strata__counter_sum(cache->cells, HOT_LOOKED) -
           strata__counter_sum(cache->cells, HOT_SLOW);
}

static void still_inside(void *ctx)
{
    struct stack *st = ctx;
    assert_true(atomic_load(&st->cache->root->active) != 0 || begun_and_not_over(st->cache) != 0);
}

/* A layer may answer, on its own thread, before submit() returns: until it has returned nobody may close the layer, whoever
 * has had the completion by then. */
static void test_submit_keeps_it_open(void **state)
{
    (void)state;
    struct stack st;
    struct ended e = { 0 };
    strata_queue *q;
    open_direct(&st, NULL, 0);
    assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    st.slow->submitted = still_inside;
    st.slow->submitted_ctx = &st;
    assert_int_equal(strata_get_async(st.cache, strata_str("k"), q, on_done, &e, NULL), STRATA_PENDING);
    assert_int_equal(atomic_load(&st.cache->root->active), 0);
    assert_int_equal(begun_and_not_over(st.cache), 0);
    assert_int_equal(strata_queue_run(q, 0), 1);
    assert_string_equal(e.text, "v");
    strata_queue_close(q);
    close_stack(&st);
}

struct ear {
    struct stack *st;
    int heard;
};

static void hear_elsewhere(const strata_event *event, void *ctx)
{
    struct ear *ear = ctx;
    assert_int_equal(event->kind, STRATA_EVENT_ERROR);
    assert_int_equal(ear->st->slow->answering, 0);
    ear->heard++;
}

/* A listener may ask the cache, and wait: never on the layer's thread, which would be the one to answer. */
static void test_errors_are_told_elsewhere(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct stack st;
        struct ear ear = { &st, 0 };
        uint64_t id = 0;
        open_direct(&st, NULL, i & 2 ? 5 : 0);
        st.slow->fail_gets = 1;
        assert_int_equal(strata_on(st.cache, STRATA_EVENT_ERROR, hear_elsewhere, &ear, &id), STRATA_OK);
        assert_int_equal(ask(&st, st.cache, "k", i & 1).status, STRATA_ELAYER);
        assert_int_equal(ear.heard, 1);
        assert_int_equal(stats_of(st.cache).errors, 1);
        close_stack(&st);
    }
}

/* What needs no judge needs no worker: an entry of this life, and one that its layer has placed in this life's time. */
static void test_plain_needs_no_worker(void **state)
{
    (void)state;
    for (int placed = 0; placed < 2; placed++) {
        struct stack st;
        struct ended e = { 0 };
        strata_queue *q;
        open_direct(&st, NULL, 0);
        assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
        assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
        if (placed)
            st.slow->entries[0].meta.life = 0;
        assert_int_equal(strata_get_async(st.cache, strata_str("k"), q, on_done, &e, NULL), STRATA_PENDING);
        assert_int_equal(strata_queue_run(q, 0), 1);
        assert_string_equal(e.text, "v");
        assert_int_equal(stats_of(st.cache).hits, 1);
        strata_queue_close(q);
        close_stack(&st);
    }
}

/* Answers that a worker has to judge or to tell: so many of them wait as tasks may.  A miss that a queue tells needs none. */
static void test_bound(void **state)
{
    (void)state;
    enum { MOST = 4, CALLS = 50 };
    for (int i = 0; i < 4; i++) {
        struct stack st;
        struct ended e = { 0 };
        strata_queue *q = NULL;
        const int most = i == 1 ? CALLS : MOST;
        int pending = 0, busy = 0;
        open_stack(&st, &(struct stack_options){ .only_slow = 1, .slow_flags = STRATA_LAYER_LENDS, .max_queued = MOST });
        strata__executor_sim_limit(st.ex, MOST);
        if (i & 1)
            assert_int_equal(strata_queue_open(&q, NULL), STRATA_OK);
        st.slow->fail_gets = i & 2;
        for (int call = 0; call < CALLS; call++) {
            int rc = strata_get_async(st.cache, strata_str("k"), q, on_done, &e, &st.err);
            pending += rc == STRATA_PENDING;
            busy += rc == STRATA_EBUSY;
        }
        assert_int_equal(pending, most);
        assert_int_equal(busy, CALLS - most);
        run(&st);
        strata_queue_run(q, 0);
        assert_int_equal(e.count, most);
        assert_int_equal(ask(&st, st.cache, "k", i & 1).count, 1); /* there is room again */
        strata_queue_close(q);
        close_stack(&st);
    }
}

static void test_no_memory(void **state)
{
    (void)state;
    struct fail_alloc a;
    struct stack st;
    struct ended e = { 0 };
    fail_alloc_init(&a, 0);
    open_stack(&st, &(struct stack_options){ .only_slow = 1, .slow_flags = STRATA_LAYER_LENDS, .allocator = &a.mem });
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    a.fail_at = a.requests + 1; /* the call */
    assert_int_equal(strata_get_async(st.cache, strata_str("k"), NULL, on_done, &e, &st.err), STRATA_ENOMEM);
    a.fail_at = a.requests + 2; /* the value */
    assert_int_equal(strata_get_async(st.cache, strata_str("k"), NULL, on_done, &e, &st.err), STRATA_PENDING);
    pass(&st, 1);
    assert_int_equal(e.count, 1);
    assert_int_equal(e.status, STRATA_ELAYER);
    close_stack(&st);
    assert_int_equal(a.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_busy_key),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_listeners_hear),
        cmocka_unit_test(test_another_life),
        cmocka_unit_test(test_queue_closed),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_close_in_callback),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_plain_needs_no_worker),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_submit_keeps_it_open),
        cmocka_unit_test(test_errors_are_told_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
