/* test_contract_slow.c - a layer that answers later, elsewhere and out of order: under contract, and as a witness that the
 * read path is asynchronous.  It holds gets for as long as the test wants, so nothing here depends on time. */
#include <pthread.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "tests/contract/contract.h"
#include "tests/support/open_alone.h"
#include "tests/support/slow_layer.h"

static strata_layer *make(void) { return slow_layer_new(2); }

static strata *cache;
static strata_layer *slow;
static strata_error err;

/* A memory layer over a slow one, and one worker. */
static int open_cache(void **state)
{
    (void)state;
    slow = slow_layer_new(0);
    strata_layer *layers[] = { strata_memory_layer(NULL), slow };
    const strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = 2, .workers = 1 };
    return open_alone(&cache, &options, &err);
}

static int close_cache(void **state)
{
    (void)state;
    return strata_close(cache);
}

struct reader {
    pthread_t thread;
    const char *key;
    int status;
};

static void *read_key(void *ctx)
{
    struct reader *r = ctx;
    strata_value *v = NULL;
    strata_error e;
    r->status = strata_get(cache, strata_str(r->key), &v, &e);
    strata_value_unref(v);
    return NULL;
}

static void start_reader(struct reader *r, const char *key)
{
    *r = (struct reader){ .key = key };
    assert_int_equal(pthread_create(&r->thread, NULL, read_key, r), 0);
}

static void two_gets_of_different_keys_overlap(void **state)
{
    (void)state;
    struct reader a, b;
    slow_layer_hold(slow);
    start_reader(&a, "a");
    start_reader(&b, "b");
    slow_layer_wait_held(slow, 2); /* would never come if one waited for the other */
    slow_layer_release(slow);
    pthread_join(a.thread, NULL);
    pthread_join(b.thread, NULL);
    assert_int_equal(a.status, STRATA_MISS);
    assert_int_equal(b.status, STRATA_MISS);
}

static void equal_gets_ask_once(void **state)
{
    (void)state;
    struct reader a, b;
    size_t submits, before, after;
    slow_layer_counts(slow, &submits, &before);
    slow_layer_hold(slow);
    start_reader(&a, "a");
    slow_layer_wait_held(slow, 1);
    start_reader(&b, "a");
    slow_layer_release(slow);
    pthread_join(a.thread, NULL);
    pthread_join(b.thread, NULL);
    slow_layer_counts(slow, &submits, &after);
    assert_in_range(after - before, 1, 2); /* one, unless b came when a was through */
}

static void a_memory_hit_does_not_wait(void **state)
{
    (void)state;
    struct reader a;
    assert_int_equal(strata_set(cache, strata_str("near"), strata_str("v"), NULL, &err), STRATA_OK);
    slow_layer_hold(slow);
    start_reader(&a, "far");
    slow_layer_wait_held(slow, 1);
    for (int i = 0; i < 1000; i++) { /* while "far" is held below */
        strata_value *v = NULL;
        assert_int_equal(strata_get(cache, strata_str("near"), &v, &err), STRATA_OK);
        strata_value_unref(v);
    }
    slow_layer_release(slow);
    pthread_join(a.thread, NULL);
}

static void count_done(int status, strata_value *value, const strata_error *error, void *ctx)
{
    (void)error;
    strata_value_unref(value);
    *(int *)ctx += status == STRATA_MISS;
}

static void one_worker_is_not_held_by_fifty_gets(void **state)
{
    (void)state;
    enum { GETS = 50 };
    static const char keys[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    strata_queue *queue = NULL;
    int done = 0, set = 0;
    assert_int_equal(strata_queue_open(&queue, &err), STRATA_OK);
    slow_layer_hold(slow);
    for (size_t i = 0; i < GETS; i++)
        assert_int_equal(strata_get_async(cache, strata_bytes(&keys[i], 1), queue, count_done, &done, &err),
                         STRATA_PENDING);
    slow_layer_wait_held(slow, GETS); /* all at once, with one worker: none of them keeps a thread */
    assert_int_equal(strata_get_async(cache, strata_str("x2"), queue, count_done, &set, &err), STRATA_PENDING);
    slow_layer_wait_held(slow, GETS + 1);
    assert_int_equal(strata_queue_run(queue, 0), 0);
    slow_layer_release(slow);
    while (done + set < GETS + 1) {
        strata_queue_wait(queue, -1);
        strata_queue_run(queue, 0);
    }
    strata_queue_close(queue);
}

static void many_keys_are_one_question(void **state)
{
    (void)state;
    strata_item items[30];
    static const char keys[] = "abcdefghijklmnopqrstuvwxyz0123";
    size_t submits_before, submits, operations;
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < 30; i++)
        items[i].key = strata_bytes(&keys[i], 1);
    slow_layer_counts(slow, &submits_before, &operations);
    assert_int_equal(strata_get_many(cache, items, 30, &err), STRATA_OK);
    slow_layer_counts(slow, &submits, &operations);
    assert_int_equal(submits - submits_before, 1);
    assert_int_equal(operations, 30);
}

#define CASE(name) \
    { \
#name, name, open_cache, close_cache, NULL \
    }

int main(void)
{
    static const struct contract_subject subject = { "slow", make, 1, 400, 0, 0, 0 };
    const struct CMUnitTest tests[] = {
        CASE(two_gets_of_different_keys_overlap),   CASE(equal_gets_ask_once),        CASE(a_memory_hit_does_not_wait),
        CASE(one_worker_is_not_held_by_fifty_gets), CASE(many_keys_are_one_question),
    };
    return contract_run_layer(&subject) + contract_run_cache(&subject) +
           cmocka_run_group_tests_name("the read path is asynchronous", tests, NULL, NULL);
}
