/* test_guard_cache.c - a cache over a memory layer and a guarded one that fails: what its calls answer. */
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/guard.h"
#include "strata/strata.h"
#include "tests/support/sick_layer.h"

static struct sick_layer sick;
static strata *cache;
static strata_error err;

static int open_cache(void **state)
{
    (void)state;
    const struct guard_options options = { .breaker_failures = 2,
                                           .breaker_open_ms = 3600000,
                                           .probe_ms = 3600000,
                                           .max_queued_deletes = 100,
                                           .max_queued_bytes = 1 << 20 };
    strata_layer *layers[] = { strata_memory_layer(NULL), strata__guard_layer(sick_layer_init(&sick), &options) };
    const strata_options open = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = 2 };
    return strata_open(&cache, &open, &err);
}

static int close_cache(void **state)
{
    (void)state;
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    if (strata_stats_layer(cache, 1, &s) != STRATA_OK)
        return -1;
    /* What could not be told by then never will be, and close says so. */
    int rc = strata_close(cache);
    return s.queued_deletes == 0 || rc == STRATA_OK ? rc : rc - STRATA_PENDING;
}

static int set(const char *key) { return strata_set(cache, strata_str(key), strata_str("value"), NULL, &err); }

static int get(const char *key)
{
    strata_value *v = NULL;
    int rc = strata_get(cache, strata_str(key), &v, &err);
    strata_value_unref(v);
    return rc;
}

/* Two failures: it is left alone for longer than any test takes. */
static void break_it(void)
{
    sick_layer_fail(&sick, STRATA_EIO, 0);
    assert_int_equal(get("x"), STRATA_ELAYER);
    assert_int_equal(get("y"), STRATA_ELAYER);
}

static void writes_are_pending(void **state)
{
    (void)state;
    assert_int_equal(set("a"), STRATA_OK);
    break_it();
    assert_int_equal(set("a"), STRATA_PENDING);
    assert_int_equal(get("a"), STRATA_OK); /* from memory */
    assert_int_equal(strata_delete(cache, strata_str("a"), &err), STRATA_PENDING);
    assert_int_equal(get("a"), STRATA_ELAYER); /* no layer has it, and one could not be asked */
    assert_int_equal(strata_clear(cache, &err), STRATA_PENDING);
    strata_item items[2] = { { .key = strata_str("b") }, { .key = strata_str("c") } };
    assert_int_equal(strata_delete_many(cache, items, 2, &err), STRATA_OK);
    assert_int_equal(items[0].status, STRATA_PENDING);
    assert_int_equal(items[1].status, STRATA_PENDING);
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(cache, 1, &s), STRATA_OK);
    assert_int_equal(s.breaker, STRATA_BREAKER_OPEN);
    assert_int_equal(s.breaker_opened, 1);
    assert_true(s.breaker_refused > 0 && s.queued_deletes > 0);
}

static int load(strata_load *pending, strata_slice key, void *ctx)
{
    (void)key;
    ++*(int *)ctx;
    return strata_load_copy(pending, "loaded", 6);
}

/* The layer that is away costs a load, not an error; and what nobody deleted need not be pending. */
static void loads_go_on_without_it(void **state)
{
    (void)state;
    int loads = 0;
    strata_value *v = NULL;
    break_it();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(strata_get_or_load(cache, strata_str("k"), load, &loads, NULL, &v, &err), STRATA_OK);
        assert_int_equal(strata_value_size(v), 6);
        strata_value_unref(v);
    }
    assert_int_equal(loads, 1);
}

static void a_delete_told_later(int status, strata_value *value, const strata_error *error, void *ctx)
{
    (void)value, (void)error;
    *(int *)ctx = status;
}

static void the_asynchronous_twin_says_so_too(void **state)
{
    (void)state;
    strata_queue *queue = NULL;
    int status = 99;
    break_it();
    assert_int_equal(strata_queue_open(&queue, &err), STRATA_OK);
    assert_int_equal(strata_delete_async(cache, strata_str("a"), queue, a_delete_told_later, &status, &err),
                     STRATA_PENDING);
    while (status == 99) {
        strata_queue_wait(queue, -1);
        strata_queue_run(queue, 0);
    }
    assert_int_equal(status, STRATA_PENDING);
    strata_queue_close(queue);
}

/* By the guard, which answers that it is pending, and not by the cache as well. */
static void a_failed_delete_is_counted_once(void **state)
{
    (void)state;
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    sick_layer_fail(&sick, STRATA_EIO, 0);
    assert_int_equal(strata_delete(cache, strata_str("a"), &err), STRATA_PENDING);
    assert_int_equal(strata_stats_layer(cache, 1, &s), STRATA_OK);
    assert_int_equal(s.errors, 1);
}

#define CASE(name) \
    { \
#name, name, open_cache, close_cache, NULL \
    }

/* It is asked once, whatever its breaker says, and told all that was kept, if it answers. */
static void closing_tells_what_was_kept(void **state)
{
    (void)state;
    break_it();
    assert_int_equal(strata_delete(cache, strata_str("a"), &err), STRATA_PENDING);
    sick_layer_fail(&sick, 0, 0);
    sick.log[0] = 0;
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_true(sick_layer_did(&sick, "ping, remove a, "));
}

static void closing_in_vain_asks_once(void **state)
{
    (void)state;
    break_it();
    assert_int_equal(strata_delete(cache, strata_str("a"), &err), STRATA_PENDING);
    sick.log[0] = 0;
    assert_int_equal(strata_close(cache), STRATA_PENDING);
    assert_true(sick_layer_did(&sick, "ping, "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(writes_are_pending),
        CASE(loads_go_on_without_it),
        CASE(the_asynchronous_twin_says_so_too),
        CASE(a_failed_delete_is_counted_once),
        cmocka_unit_test_setup(closing_tells_what_was_kept, open_cache),
        cmocka_unit_test_setup(closing_in_vain_asks_once, open_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
