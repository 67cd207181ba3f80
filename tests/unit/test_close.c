/* test_close.c - closing: that it ends in time, may be asked for twice, and leaves no thread behind.  What it flushes and cancels is
 * in test_core_life.c and test_demote_close.c. */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "strata/strata.h"
#include "tests/unit/core_fixture.h"

/* A loader that looks at nothing, until the test lets it go. */
struct door {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int entered, open;
    _Atomic(int) canceled; /* what it saw at its end */
    _Atomic(int) status, ended;
};

static void door_init(struct door *g)
{
    memset(g, 0, sizeof *g);
    pthread_mutex_init(&g->mutex, NULL);
    pthread_cond_init(&g->changed, NULL);
}

static int stubborn(strata_load *load, strata_slice key, void *ctx)
{
    struct door *g = ctx;
    (void)key;
    pthread_mutex_lock(&g->mutex);
    g->entered = 1;
    pthread_cond_broadcast(&g->changed);
    while (!g->open)
        pthread_cond_wait(&g->changed, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
    atomic_store(&g->canceled, strata_load_canceled(load));
    return strata_load_copy(load, "late", 4);
}

static void door_wait_entered(struct door *g)
{
    pthread_mutex_lock(&g->mutex);
    while (!g->entered)
        pthread_cond_wait(&g->changed, &g->mutex);
    pthread_mutex_unlock(&g->mutex);
}

static void door_open(struct door *g)
{
    pthread_mutex_lock(&g->mutex);
    g->open = 1;
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->mutex);
}

static void done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct door *g = ctx;
    (void)err;
    strata_value_unref(value);
    atomic_store(&g->status, status);
    atomic_fetch_add(&g->ended, 1);
}

static strata *open_memory(void)
{
    strata *cache;
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=1mb", NULL, NULL), STRATA_OK);
    return cache;
}

static void test_within_a_time(void **state)
{
    (void)state;
    struct door g;
    strata_value *v;
    strata *cache = open_memory();
    door_init(&g);
    assert_int_equal(strata_close_within(cache, -1), STRATA_EINVAL);
    assert_int_equal(strata_set(cache, strata_str("a"), strata_str("b"), NULL, NULL), STRATA_OK); /* it was not closed */
    assert_int_equal(strata_get_or_load_async(cache, strata_str("k"), stubborn, &g, NULL, NULL, done, &g, NULL),
                     STRATA_PENDING);
    door_wait_entered(&g);
    assert_int_equal(strata_close_within(cache, 5), STRATA_ETIMEDOUT);
    assert_int_equal(strata_get(cache, strata_str("k"), &v, NULL), STRATA_ECLOSED);
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_ECLOSED);
    assert_int_equal(strata_close_within(cache, 0), STRATA_ETIMEDOUT);
    door_open(&g);
    assert_int_equal(strata_close_within(cache, 86400000), STRATA_OK);
    assert_int_equal(atomic_load(&g.canceled), 1);
    assert_int_equal(atomic_load(&g.ended), 1);
    assert_int_equal(atomic_load(&g.status), STRATA_ECLOSED);
    assert_int_equal(strata_close_within(NULL, 5), STRATA_OK);
}

/* A plain close takes up where one with a bound was, too. */
static void test_a_plain_close_after_one_in_time(void **state)
{
    (void)state;
    struct door g;
    strata *cache = open_memory();
    door_init(&g);
    assert_int_equal(strata_get_or_load_async(cache, strata_str("k"), stubborn, &g, NULL, NULL, done, &g, NULL),
                     STRATA_PENDING);
    door_wait_entered(&g);
    assert_int_equal(strata_close_within(cache, 1), STRATA_ETIMEDOUT);
    door_open(&g);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

static void test_twice(void **state)
{
    (void)state;
    strata *ns, *cache = open_memory();
    strata_value *v;
    assert_int_equal(strata_namespace(cache, "ns", NULL, &ns, NULL), STRATA_OK);
    assert_int_equal(strata_close(cache), STRATA_OK);
    /* The namespace keeps its memory, and nothing else. */
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(strata_close_within(cache, 10), STRATA_OK);
    assert_int_equal(strata_get(cache, strata_str("k"), &v, NULL), STRATA_ECLOSED);
    assert_int_equal(strata_get(ns, strata_str("k"), &v, NULL), STRATA_ECLOSED);
    assert_int_equal(strata_close_within(ns, 10), STRATA_OK);
}

struct closer {
    strata *cache;
    _Atomic(int) rc;
};

struct bounded {
    strata *cache;
    int64_t ms;
    int rc;
};

static void *close_in_time(void *ctx)
{
    struct bounded *b = ctx;
    b->rc = strata_close_within(b->cache, b->ms);
    return NULL;
}

static void *close_until_closed(void *ctx)
{
    struct bounded *b = ctx;
    do
        b->rc = strata_close_within(b->cache, b->ms);
    while (b->rc == STRATA_ETIMEDOUT);
    return NULL;
}

static void *close_it(void *ctx)
{
    struct closer *c = ctx;
    atomic_store(&c->rc, strata_close(c->cache));
    return NULL;
}

static void test_from_several_threads(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        strata *ns, *cache = open_memory();
        pthread_t threads[4];
        struct closer c[4];
        assert_int_equal(strata_namespace(cache, "ns", NULL, &ns, NULL), STRATA_OK); /* keeps its memory */
        for (int i = 0; i < 4; i++) {
            c[i].cache = cache;
            atomic_init(&c[i].rc, 1);
            assert_int_equal(pthread_create(&threads[i], NULL, close_it, &c[i]), 0);
        }
        for (int i = 0; i < 4; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(atomic_load(&c[i].rc), STRATA_OK);
        }
        assert_int_equal(strata_close(ns), STRATA_OK);
    }
}

/* One that gives up in between: who has no bound takes over, and is told nothing before the cache is closed. */
static void test_one_takes_over(void **state)
{
    (void)state;
    for (int round = 0; round < 4; round++) {
        struct door g;
        strata *ns, *cache = open_memory();
        strata_value *v;
        pthread_t thread;
        struct closer c = { cache, 1 };
        door_init(&g);
        assert_int_equal(strata_namespace(cache, "ns", NULL, &ns, NULL), STRATA_OK);
        assert_int_equal(strata_get_or_load_async(cache, strata_str("k"), stubborn, &g, NULL, NULL, done, &g, NULL),
                         STRATA_PENDING);
        door_wait_entered(&g);
        if (round % 2 != 0) {
            assert_int_equal(pthread_create(&thread, NULL, close_it, &c), 0);
            while (strata_get(cache, strata_str("k"), &v, NULL) != STRATA_ECLOSED)
                (void)sched_yield();
            assert_int_equal(strata_close_within(cache, 10), STRATA_ETIMEDOUT);
        } else {
            struct bounded b = { cache, 100, 1 };
            pthread_t first;
            assert_int_equal(pthread_create(&first, NULL, close_in_time, &b), 0);
            while (strata_get(cache, strata_str("k"), &v, NULL) != STRATA_ECLOSED)
                (void)sched_yield();
            assert_int_equal(pthread_create(&thread, NULL, close_it, &c), 0);
            assert_int_equal(pthread_join(first, NULL), 0);
            assert_int_equal(b.rc, STRATA_ETIMEDOUT);
        }
        assert_int_equal(atomic_load(&c.rc), 1); /* it waits */
        door_open(&g);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(atomic_load(&c.rc), STRATA_OK);
        assert_int_equal(atomic_load(&g.ended), 1); /* nothing of it runs any more */
        assert_int_equal(strata_close_within(cache, 10), STRATA_OK);
        assert_int_equal(strata_close(ns), STRATA_OK);
    }
}

/* All of them at once, each as patient as it likes: whoever is told that it is closed finds it closed. */
static void test_many_of_both_kinds(void **state)
{
    (void)state;
    enum { CLOSERS = 6 };
    for (int round = 0; round < 8; round++) {
        struct door g;
        strata *ns, *cache = open_memory();
        pthread_t threads[CLOSERS], plain;
        struct bounded b[CLOSERS];
        struct closer c = { cache, 1 };
        door_init(&g);
        assert_int_equal(strata_namespace(cache, "ns", NULL, &ns, NULL), STRATA_OK);
        assert_int_equal(strata_get_or_load_async(cache, strata_str("k"), stubborn, &g, NULL, NULL, done, &g, NULL),
                         STRATA_PENDING);
        door_wait_entered(&g);
        for (int i = 0; i < CLOSERS; i++) {
            b[i] = (struct bounded){ cache, i % 3, 1 };
            assert_int_equal(pthread_create(&threads[i], NULL, close_until_closed, &b[i]), 0);
        }
        assert_int_equal(pthread_create(&plain, NULL, close_it, &c), 0);
        door_open(&g);
        assert_int_equal(pthread_join(plain, NULL), 0);
        assert_int_equal(atomic_load(&c.rc), STRATA_OK);
        for (int i = 0; i < CLOSERS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(b[i].rc, STRATA_OK);
        }
        assert_int_equal(atomic_load(&g.ended), 1);
        assert_int_equal(strata_close(ns), STRATA_OK);
    }
}

static size_t count_threads(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/task");
    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static void test_threads_are_joined(void **state)
{
    (void)state;
    size_t before = count_threads();
    strata *cache = open_memory();
    assert_true(before == 0 || count_threads() > before);
    assert_int_equal(strata_close(cache), STRATA_OK);
    /* The kernel lists a thread for a moment after it was joined. */
    for (int i = 0; i < 1000000 && count_threads() != before; i++)
        ;
    assert_int_equal(count_threads(), before);
}

/* In virtual time: loads that never end are abandoned, and what a layer has is waited for. */
static void test_operations_of_layers(void **state)
{
    (void)state;
    struct stack st;
    struct door g;
    door_init(&g);
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    st.slow->hold_puts = 1;
    assert_int_equal(strata_set_async(st.cache, strata_str("k"), strata_str("v"), NULL, NULL, done, &g, NULL),
                     STRATA_PENDING);
    run(&st);
    assert_int_equal(strata_close_within(st.cache, 50), STRATA_ETIMEDOUT);
    script_release(st.slow);
    assert_int_equal(strata_close_within(st.cache, 50), STRATA_OK);
    assert_int_equal(atomic_load(&g.ended), 1);
    assert_int_equal(atomic_load(&g.status), STRATA_OK); /* it was accepted */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_within_a_time),
        cmocka_unit_test(test_a_plain_close_after_one_in_time),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_from_several_threads),
        cmocka_unit_test(test_one_takes_over),
        cmocka_unit_test(test_many_of_both_kinds),
        cmocka_unit_test(test_threads_are_joined),
        cmocka_unit_test(test_operations_of_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
