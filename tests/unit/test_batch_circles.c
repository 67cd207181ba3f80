/* test_batch_circles.c - reads of many keys whose loaders and listeners ask for keys of other reads: nobody waits for ever. */
#include "tests/support/cmocka_all.h"

#include <pthread.h>
#include <stdatomic.h>

#include "strata/strata.h"

static strata *cache;
static pthread_barrier_t both;

static int open_cache(void **state)
{
    (void)state;
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=4mb", NULL, NULL), STRATA_OK);
    return pthread_barrier_init(&both, NULL, 2);
}

static int close_cache(void **state)
{
    (void)state;
    pthread_barrier_destroy(&both);
    return strata_close(cache);
}

static int give(strata_load *load, strata_slice key, void *ctx)
{
    (void)key, (void)ctx;
    return strata_load_copy(load, "v", 1);
}

static int ask(const char *key)
{
    strata_value *value = NULL;
    int rc = strata_get_or_load(cache, strata_str(key), give, NULL, NULL, &value, NULL);
    strata_value_unref(value);
    return rc;
}

/* Two batches, of whose loaders each asks for what comes behind the other ------------------------------------------- */

struct half {
    const char *first, *second, *asks;
    int said;
};

/* Both batches have begun, and their second keys stand behind this one. */
static int ask_for_the_other(strata_load *load, strata_slice key, void *ctx)
{
    struct half *h = ctx;
    (void)key;
    pthread_barrier_wait(&both);
    h->said = ask(h->asks);
    return strata_load_copy(load, "v", 1);
}

static void *load_half(void *ctx)
{
    struct half *h = ctx;
    strata_item items[2] = { { .key = strata_str(h->first) }, { .key = strata_str(h->second) } };
    const strata_item_loader loaders[2] = { { ask_for_the_other, h }, { give, NULL } };
    int rc = strata_get_or_load_each(cache, items, loaders, 2, NULL, NULL);
    strata_value_unref(items[0].value);
    strata_value_unref(items[1].value);
    return rc == STRATA_OK ? ctx : NULL;
}

static void two_batches_that_ask_for_each_others_later_keys(void **state)
{
    (void)state;
    struct half left = { "a", "b", "d", 1 }, right = { "c", "d", "b", 1 };
    pthread_t other;
    void *came_back;
    assert_int_equal(pthread_create(&other, NULL, load_half, &right), 0);
    assert_ptr_equal(load_half(&left), &left);
    assert_int_equal(pthread_join(other, &came_back), 0);
    assert_ptr_equal(came_back, &right);
    /* One of them would have closed the circle, and is told; the other one waits for it. */
    assert_true((left.said == STRATA_EDEADLOCK) != (right.said == STRATA_EDEADLOCK));
    assert_true(left.said == STRATA_OK || right.said == STRATA_OK);
}

/* A listener to joins asks for a key of the very batch that joined ---------------------------------------------------- */

static _Atomic(int) heard, answer;

static int hold(strata_load *load, strata_slice key, void *ctx)
{
    (void)key, (void)ctx;
    pthread_barrier_wait(&both); /* it is being loaded */
    pthread_barrier_wait(&both); /* it was joined, and that was heard of */
    return strata_load_copy(load, "v", 1);
}

static void *load_held(void *ctx)
{
    strata_value *value = NULL;
    (void)strata_get_or_load(cache, strata_str("held"), hold, NULL, NULL, &value, NULL);
    strata_value_unref(value);
    return ctx;
}

static void on_join(const strata_event *event, void *ctx)
{
    (void)event, (void)ctx;
    atomic_store(&answer, ask("mine"));
    atomic_fetch_add(&heard, 1);
    pthread_barrier_wait(&both);
}

static void a_listener_to_joins_asks_for_a_key_of_the_batch(void **state)
{
    (void)state;
    uint64_t id;
    pthread_t other;
    assert_int_equal(strata_on(cache, STRATA_EVENT_JOIN, on_join, NULL, &id), STRATA_OK);
    assert_int_equal(pthread_create(&other, NULL, load_held, NULL), 0);
    pthread_barrier_wait(&both);
    strata_item items[2] = { { .key = strata_str("mine") }, { .key = strata_str("held") } };
    const strata_item_loader loaders[2] = { { give, NULL }, { give, NULL } };
    assert_int_equal(strata_get_or_load_each(cache, items, loaders, 2, NULL, NULL), STRATA_OK);
    assert_int_equal(pthread_join(other, NULL), 0);
    assert_int_equal(atomic_load(&heard), 1);
    assert_int_equal(atomic_load(&answer), STRATA_OK);
    strata_value_unref(items[0].value);
    strata_value_unref(items[1].value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_batches_that_ask_for_each_others_later_keys, open_cache, close_cache),
        cmocka_unit_test_setup_teardown(a_listener_to_joins_asks_for_a_key_of_the_batch, open_cache, close_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
