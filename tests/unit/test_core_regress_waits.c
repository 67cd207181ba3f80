/* What core once did wrong about waiting: for workers, for itself, for what ends later.  Each test is a defect that was
 * found, in the smallest form that shows it. */
#include <sys/wait.h>
#include <unistd.h>

#include "src/os/os_futex.h"
#include "tests/support/slow_layer.h"
#include "tests/unit/core_fixture.h"
#include "tests/support/still_threads.h"

/* Timeouts on workers ------------------------------------------------------------------------------------------- */

static int slow_bulk(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    struct stack *st = ctx;
    struct parker parker = { 0 };
    (void)keys;
    ex_park(st->ex, &parker, ex_now_ms(st->ex) + 500);
    for (size_t i = 0; i < count; i++)
        (void)strata_load_copy(loads[i], "late", 4);
    return STRATA_OK;
}

static void test_bulk_async_times_out(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .hard_timeout_ms = 50 };
    strata_item items[2] = { { .key = strata_str("k") }, { .key = strata_str("l") } };
    struct stack st;
    struct ended e = { 0 };
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_get_or_load_many_async(st.cache, items, 2, slow_bulk, &st, &p, NULL, on_done, &e, NULL),
                     STRATA_PENDING);
    pass(&st, 60);
    assert_int_equal(e.count, 1);
    assert_int_equal(e.status, STRATA_ETIMEDOUT);
    assert_int_equal(items[0].status, STRATA_ETIMEDOUT);
    assert_int_equal(items[1].status, STRATA_ETIMEDOUT);
    pass(&st, 1000);
    assert_int_equal(e.count, 1);
    close_stack(&st);
}

/* A loader, on a worker, that asks for another key with a timeout: begun by itself, or joined. */
static void ask_with_timeout(struct origin *o)
{
    strata_policy p = { .size = sizeof p, .hard_timeout_ms = 50 };
    struct origin slow = { .st = o->st, .value = "late", .takes_ms = 500 };
    strata_value *value;
    int64_t began = ex_now_ms(o->st->ex);
    o->meanwhile_rc = strata_get_or_load(o->st->cache, strata_str("other"), origin_loader, &slow, &p, &value, NULL);
    assert_null(value);
    assert_int_equal(ex_now_ms(o->st->ex) - began, 50);
    struct parker parker = { 0 };
    ex_park(o->st->ex, &parker, began + 1000); /* `slow` is in use until then */
}

static void test_worker_times_out(void **state)
{
    (void)state;
    for (int joins = 0; joins < 2; joins++) {
        struct stack st;
        struct origin o = { .st = &st, .value = "v", .meanwhile = ask_with_timeout };
        struct origin first = { .st = &st, .value = "late", .takes_ms = 300 };
        struct ended e = { 0 }, other = { 0 };
        open_stack(&st, &(struct stack_options){ 0 });
        if (joins)
            assert_int_equal(strata_get_or_load_async(st.cache, strata_str("other"), origin_loader, &first, NULL, NULL,
                                                      on_done, &other, NULL),
                             STRATA_PENDING);
        assert_int_equal(
            strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL, NULL, on_done, &e, NULL),
            STRATA_PENDING);
        pass(&st, 2000);
        assert_int_equal(o.meanwhile_rc, STRATA_ETIMEDOUT);
        assert_int_equal(e.status, STRATA_OK);
        assert_int_equal(other.count, joins);
        close_stack(&st);
    }
}

/* No task can wait for a worker: the caller loads by itself. */
static void test_no_room_for_a_task(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .hard_timeout_ms = 50 };
    struct stack st;
    struct origin o = { .st = &st, .value = "v", .takes_ms = 500 };
    strata_item item = { .key = strata_str("l") };
    open_stack(&st, &(struct stack_options){ 0 });
    strata__executor_sim_limit(st.ex, 0);
    assert_load(&st, "k", &o, &p, STRATA_OK, "v");
    assert_int_equal(strata_get_or_load_many(st.cache, &item, 1, slow_bulk, &st, &p, NULL), STRATA_OK);
    assert_value(item.value, "late");
    close_stack(&st);
}

/* Listeners inside a bulk read ----------------------------------------------------------------------------------- */

struct asker {
    int asked, loads, rc[4];
    struct origin origin;
};

/* Asks for both keys, once, whatever the event is about. */
static void ask_for_both(const strata_event *event, void *ctx)
{
    struct asker *a = ctx;
    static const char *const keys[] = { "k", "l" };
    if (a->asked++ != 0)
        return;
    for (size_t i = 0; i < 2; i++) {
        strata_value *value;
        a->rc[i] = a->loads ? strata_get_or_load(event->cache, strata_str(keys[i]), origin_loader, &a->origin, NULL,
                                                 &value, NULL)
                            : strata_get(event->cache, strata_str(keys[i]), &value, NULL);
        strata_value_unref(value);
    }
}

static int copy_all(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    (void)keys;
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(strata_load_copy(loads[i], "v", 1), STRATA_OK);
    return STRATA_OK;
}

static void test_listener_in_bulk_read(void **state)
{
    (void)state;
    static const uint32_t kinds[] = { STRATA_EVENT_ERROR, STRATA_EVENT_MISS, STRATA_EVENT_LOAD_START };
    for (size_t i = 0; i < 12; i++) {
        int loads = i / 3 % 2 != 0, asynchronous = i >= 6;
        struct stack st;
        struct asker a = { .loads = loads, .origin = { .st = &st, .value = "v" } };
        struct ended e = { 0 };
        strata_item items[2] = { { .key = strata_str("k") }, { .key = strata_str("l") } };
        uint64_t id;
        if (!loads && kinds[i % 3] == STRATA_EVENT_LOAD_START)
            continue;
        open_stack(&st, &(struct stack_options){ .with_slow = 1, .seed = i + 1 });
        st.slow->fail_gets = kinds[i % 3] == STRATA_EVENT_ERROR;
        assert_int_equal(strata_on(st.cache, kinds[i % 3], ask_for_both, &a, &id), STRATA_OK);
        if (asynchronous) {
            int rc = loads ? strata_get_or_load_many_async(st.cache, items, 2, copy_all, NULL, NULL, NULL, on_done, &e,
                                                           NULL)
                           : strata_get_many_async(st.cache, items, 2, NULL, on_done, &e, NULL);
            assert_int_equal(rc, STRATA_PENDING);
            run(&st);
            assert_int_equal(e.count, 1);
        } else if (loads) {
            assert_int_equal(strata_get_or_load_many(st.cache, items, 2, copy_all, NULL, NULL, NULL), STRATA_OK);
        } else {
            (void)strata_get_many(st.cache, items, 2, NULL);
        }
        assert_true(a.asked != 0);
        /* A get's miss is told when its flight has ended: then it is a new read. */
        int first = !loads && kinds[i % 3] == STRATA_EVENT_MISS ? STRATA_MISS : STRATA_EDEADLOCK;
        assert_int_equal(a.rc[0], first);
        assert_int_equal(a.rc[1], STRATA_EDEADLOCK);
        strata_value_unref(items[0].value);
        strata_value_unref(items[1].value);
        close_stack(&st);
    }
}

/* The order of writes ------------------------------------------------------------------------------------------- */

static void test_later_set_wins(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct stack st;
        struct ended e[3] = { { 0 } };
        strata_queue *queue;
        open_stack(&st, &(struct stack_options){ .seed = seed });
        assert_int_equal(strata_queue_open(&queue, NULL), STRATA_OK);
        assert_int_equal(strata_set_async(st.cache, strata_str("k"), strata_str("1"), NULL, NULL, on_done, &e[0], NULL),
                         STRATA_PENDING);
        assert_int_equal(e[0].count, 0);
        assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("2"), NULL, NULL), STRATA_OK);
        assert_int_equal(strata_delete_async(st.cache, strata_str("l"), NULL, on_done, &e[1], NULL), STRATA_PENDING);
        assert_int_equal(strata_set_async(st.cache, strata_str("l"), strata_str("3"), NULL, queue, on_done, &e[2], NULL),
                         STRATA_PENDING);
        run(&st);
        strata_queue_run(queue, 0);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(e[i].count, 1);
            assert_int_equal(e[i].status, STRATA_OK);
        }
        assert_get(&st, "k", STRATA_OK, "2");
        assert_get(&st, "l", STRATA_OK, "3");
        strata__executor_sim_limit(st.ex, 0);
        assert_int_equal(strata_set_async(st.cache, strata_str("k"), strata_str("4"), NULL, NULL, on_done, &e[0], NULL),
                         STRATA_EBUSY);
        assert_get(&st, "k", STRATA_OK, "2"); /* what was refused was not done */
        assert_int_equal(e[0].count, 1);
        close_stack(&st);
        strata_queue_close(queue);
    }
}

static _Atomic(int) told;

static void count_told(int status, strata_value *value, const strata_error *err, void *ctx)
{
    (void)err;
    (void)ctx;
    strata_value_unref(value);
    atomic_fetch_add(&told, status == STRATA_OK);
}

static strata *open_threads(strata_layer *below, uint32_t workers)
{
    strata_layer *layers[] = { strata_memory_layer(NULL), below };
    strata_options options = STRATA_OPTIONS_INIT;
    strata *cache;
    options.layers = layers;
    options.layer_count = below != NULL ? 2 : 1;
    options.workers = workers;
    assert_int_equal(strata_open(&cache, &options, NULL), STRATA_OK);
    return cache;
}

/* The same with workers that are ready before the write is done, and after. */
static void test_later_set_wins_with_threads(void **state)
{
    (void)state;
    strata *cache = open_threads(NULL, 2);
    int accepted = 0;
    atomic_store(&told, 0);
    for (int i = 0; i < 2000; i++) {
        strata_value *value;
        accepted += strata_set_async(cache, strata_str("k"), strata_str("1"), NULL, NULL, count_told, NULL, NULL) ==
                    STRATA_PENDING;
        assert_int_equal(strata_set(cache, strata_str("k"), strata_str("2"), NULL, NULL), STRATA_OK);
        assert_int_equal(strata_get(cache, strata_str("k"), &value, NULL), STRATA_OK);
        assert_value(value, "2");
    }
    assert_int_equal(strata_close(cache), STRATA_OK); /* waits for all callbacks */
    assert_true(accepted > 0);
    assert_int_equal(told, accepted);
}

/* Workers that wait for workers --------------------------------------------------------------------------------- */

static void finish_all(strata_queue *queue, size_t left)
{
    while (left != 0) {
        assert_int_equal(strata_queue_wait(queue, 20000), STRATA_OK);
        left -= strata_queue_run(queue, 0);
    }
}

static void test_all_workers_wait(void **state)
{
    (void)state;
    enum { MANY = 200 };
    static const uint32_t workers[] = { 1, 4 };
    for (size_t i = 0; i < 2; i++) {
        static struct ended ended[MANY];
        strata *cache = open_threads(slow_layer_new(2), workers[i]);
        strata_queue *queue;
        memset(ended, 0, sizeof ended);
        assert_int_equal(strata_queue_open(&queue, NULL), STRATA_OK);
        for (int k = 0; k < MANY; k++) {
            char key[16];
            snprintf(key, sizeof key, "key %d", k);
            assert_int_equal(strata_has_async(cache, strata_str(key), queue, on_done, &ended[k], NULL), STRATA_PENDING);
        }
        finish_all(queue, MANY);
        for (int k = 0; k < MANY; k++) {
            assert_int_equal(ended[k].count, 1);
            assert_int_equal(ended[k].status, 0);
        }
        assert_int_equal(strata_close(cache), STRATA_OK);
        strata_queue_close(queue);
    }
}

struct nested {
    strata *cache;
    int get_rc, set_rc;
};

static int nested_loader(strata_load *load, strata_slice key, void *ctx)
{
    struct nested *n = ctx;
    strata_value *value;
    (void)key;
    n->get_rc = strata_get(n->cache, strata_str("other"), &value, NULL);
    n->set_rc = strata_set(n->cache, strata_str("x"), strata_str("2"), NULL, NULL);
    return strata_load_copy(load, "v", 1);
}

static void test_loader_on_the_only_worker(void **state)
{
    (void)state;
    struct nested n = { .cache = open_threads(slow_layer_new(0), 1) };
    struct ended loaded = { 0 }, set = { 0 };
    strata_queue *queue;
    assert_int_equal(strata_queue_open(&queue, NULL), STRATA_OK);
    assert_int_equal(
        strata_get_or_load_async(n.cache, strata_str("k"), nested_loader, &n, NULL, queue, on_done, &loaded, NULL),
        STRATA_PENDING);
    assert_int_equal(strata_set_async(n.cache, strata_str("x"), strata_str("1"), NULL, queue, on_done, &set, NULL),
                     STRATA_PENDING);
    finish_all(queue, 2);
    assert_int_equal(n.get_rc, STRATA_MISS);
    assert_int_equal(n.set_rc, STRATA_OK);
    assert_string_equal(loaded.text, "v");
    assert_int_equal(strata_close(n.cache), STRATA_OK);
    strata_queue_close(queue);
}

static int gated_loader(strata_load *load, strata_slice key, void *ctx)
{
    _Atomic(uint32_t) *gate = ctx;
    (void)key;
    strata__os_park(gate, INT64_MAX);
    return strata_load_copy(load, "v", 1);
}

/* Calls whose loaders may be left run on workers, and sleep there while their loads run on workers, too: those stand in no line with
 * calls that have not begun, which begin only while few workers sleep. */
static void test_what_workers_wait_for_begins(void **state)
{
    (void)state;
    enum { MANY = 24 };
    static const strata_policy timed = { STRATA_SIZED(strata_policy), .hard_timeout_ms = 60000 };
    static struct ended ended[MANY + 1];
    static strata_item items[MANY];
    static char keys[MANY][24];
    _Atomic(uint32_t) gate = 0;
    strata *cache = open_threads(slow_layer_new(0), 1);
    strata_queue *queue;
    memset(ended, 0, sizeof ended);
    memset(items, 0, sizeof items);
    assert_int_equal(strata_queue_open(&queue, NULL), STRATA_OK);
    assert_int_equal(strata_get_or_load_async(cache, strata_str("gate"), gated_loader, &gate, NULL, queue, on_done,
                                              &ended[MANY], NULL),
                     STRATA_PENDING);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "key %d", i);
        items[i].key = strata_str(keys[i]);
        assert_int_equal(
            strata_get_or_load_many_async(cache, &items[i], 1, copy_all, NULL, &timed, queue, on_done, &ended[i], NULL),
            STRATA_PENDING);
    }
    strata__os_unpark(&gate); /* all of them stand in line by now */
    finish_all(queue, MANY + 1);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(items[i].status, STRATA_OK);
        strata_value_unref(items[i].value);
    }
    assert_int_equal(strata_close(cache), STRATA_OK);
    strata_queue_close(queue);
}

/* Closing and forking ------------------------------------------------------------------------------------------- */

struct leaving {
    struct stack *st;
    uint64_t id;
    int over, rc, over_when_off;
};

static void nap(struct stack *st, int64_t ms)
{
    struct parker parker = { 0 };
    ex_park(st->ex, &parker, ex_now_ms(st->ex) + ms);
}

static void slow_listener(const strata_event *event, void *ctx)
{
    struct leaving *l = ctx;
    if (memcmp(event->key.data, "k", 1) != 0)
        return;
    nap(l->st, 100);
    l->over = 1;
}

static int leaving_loader(strata_load *load, strata_slice key, void *ctx)
{
    struct leaving *l = ctx;
    (void)key;
    nap(l->st, 50);
    assert_true(strata_load_canceled(load)); /* the cache is being closed */
    l->rc = strata_off(l->st->cache, l->id);
    l->over_when_off = l->over;
    return STRATA_OK;
}

static void test_off_while_closing(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "v" };
    struct leaving l = { .st = &st };
    struct ended e[2] = { { 0 } };
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_on(st.cache, STRATA_EVENT_LOAD_START, slow_listener, &l, &l.id), STRATA_OK);
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL, NULL, on_done, &e[0], NULL),
        STRATA_PENDING);
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("l"), leaving_loader, &l, NULL, NULL, on_done, &e[1], NULL),
        STRATA_PENDING);
    run(&st);
    close_stack(&st);
    assert_int_equal(l.rc, STRATA_OK);
    assert_int_equal(l.over_when_off, 1);
}

#if !defined(__SANITIZE_THREAD__)
struct forker {
    strata *cache;
    pid_t child;
    int reopen_rc;
};

static int forking_loader(strata_load *load, strata_slice key, void *ctx)
{
    struct forker *f = ctx;
    (void)key;
    wait_for_still_threads();
    f->child = fork();
    if (f->child == 0)
        f->reopen_rc = strata_reopen(f->cache, NULL);
    return strata_load_copy(load, "v", 1);
}

static int child_goes_on(struct forker *f)
{
    strata_value *value;
    if (f->reopen_rc != STRATA_AGAIN)
        return 1;
    if (strata_reopen(f->cache, NULL) != STRATA_OK)
        return 2;
    if (strata_set(f->cache, strata_str("x"), strata_str("1"), NULL, NULL) != STRATA_OK ||
        strata_get(f->cache, strata_str("x"), &value, NULL) != STRATA_OK)
        return 3;
    strata_value_unref(value);
    return strata_close(f->cache) == STRATA_OK ? 0 : 4;
}
#endif

static void test_fork_in_a_loader(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__)
    skip(); /* TSan cannot start threads in the child of a process that has some */
#else
    struct forker f = { .cache = open_threads(NULL, 2) };
    strata_value *value;
    int rc = strata_get_or_load(f.cache, strata_str("k"), forking_loader, &f, NULL, &value, NULL);
    if (f.child == 0)
        _exit(child_goes_on(&f));
    int status = -1;
    assert_int_equal(rc, STRATA_OK);
    assert_value(value, "v");
    assert_int_equal(waitpid(f.child, &status, 0), f.child);
    assert_int_equal(status, 0);
    assert_int_equal(strata_close(f.cache), STRATA_OK);
#endif
}

/* Listeners ------------------------------------------------------------------------------------------------------- */

struct echo {
    struct stack *st;
    int heard;
};

/* Writes the key that this thread is just at work on. */
static void set_k(const strata_event *event, void *ctx)
{
    struct echo *echo = ctx;
    (void)event;
    if (echo->heard++ == 0)
        assert_int_equal(strata_set(echo->st->cache, strata_str("k"), strata_str("two"), NULL, NULL), STRATA_OK);
}

/* "a" leaves the memory while "k" is put there, and the layer below has its part still to come. */
static void test_eviction_listener_writes_the_same_key(void **state)
{
    (void)state;
    for (int loads = 0; loads < 2; loads++) {
        struct stack st;
        struct echo echo = { .st = &st };
        struct origin o = { .st = &st, .value = "one" };
        uint64_t id;
        open_stack(&st, &(struct stack_options){ .with_slow = 1, .memory_entries = 1 });
        assert_int_equal(strata_on(st.cache, STRATA_EVENT_EVICT, set_k, &echo, &id), STRATA_OK);
        assert_int_equal(strata_set(st.cache, strata_str("a"), strata_str("one"), NULL, NULL), STRATA_OK);
        if (loads)
            assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
        else
            assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("one"), NULL, NULL), STRATA_OK);
        run(&st);
        assert_int_equal(echo.heard, 1);
        assert_get(&st, "k", STRATA_OK, "two");
        assert_memory_equal(script_find(st.slow, strata_str("k"), 0)->bytes, "two", 3);
        close_stack(&st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_eviction_listener_writes_the_same_key),
        cmocka_unit_test(test_bulk_async_times_out),
        cmocka_unit_test(test_worker_times_out),
        cmocka_unit_test(test_no_room_for_a_task),
        cmocka_unit_test(test_listener_in_bulk_read),
        cmocka_unit_test(test_later_set_wins),
        cmocka_unit_test(test_later_set_wins_with_threads),
        cmocka_unit_test(test_all_workers_wait),
        cmocka_unit_test(test_loader_on_the_only_worker),
        cmocka_unit_test(test_what_workers_wait_for_begins),
        cmocka_unit_test(test_off_while_closing),
        cmocka_unit_test(test_fork_in_a_loader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
