/* test_alloc_faults.c - the n-th allocation fails, for every n, on every main path but opening (test_open_faults.c).
 *
 * A path is a short script of calls on an open cache, under the simulator, so that the n-th allocation is the same one in
 * every run.  It is run with the first allocation failing, then the second, until a run has none left that fails.  Each run: no
 * crash; each call succeeds or says STRATA_ENOMEM (of a stack: that a layer failed); the cache works afterwards; and after
 * close everything is given back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/core/core_impl.h"
#include "src/loop/executor_sim.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/memory_stacks.h"
#include "tests/support/slow_layer.h"

enum { RUNS_MOST = 500, PINS_MOST = 16 };

struct world {
    struct fail_alloc alloc;
    struct executor *ex;
    strata *cache;
    strata_queue *queue;
    strata_value *pins[PINS_MOST];
    size_t pin_count;
    int accepted, done;
    int finished; /* the script itself is over: from here on nothing fails */
};

/* Layers, and what must hold of an answer --------------------------------------------------------------------------- */

static size_t memory_and_slow(strata_layer **layers)
{
    layers[0] = memory_layer();
    layers[1] = slow_layer_new(3);
    return 2;
}

static void check_status(int status, const strata_error *err)
{
    if (status >= 0)
        return;
    if (status != STRATA_ENOMEM && status != STRATA_ELAYER)
        print_error("%s: %s\n", strata_status_name(status), err != NULL ? err->message : "");
    assert_true(status == STRATA_ENOMEM || status == STRATA_ELAYER);
    if (err != NULL) {
        assert_int_equal(err->status, status);
        assert_true(err->message[0] != 0);
    }
}

/* Half of the values are held until after close. */
static void keep(struct world *w, strata_value *v)
{
    if (v != NULL && w->pin_count < PINS_MOST)
        w->pins[w->pin_count++] = v;
    else
        strata_value_unref(v);
}

/* Loaders ----------------------------------------------------------------------------------------------------------- */

static int load_copy(strata_load *load, strata_slice key, void *ctx)
{
    (void)ctx;
    strata_load_copy(load, key.data, key.size);
    return STRATA_OK;
}

static void release_bytes(void *data, void *ctx)
{
    (void)ctx;
    free(data);
}

static int load_take(strata_load *load, strata_slice key, void *ctx)
{
    char *bytes = malloc(key.size);
    (void)ctx;
    assert_non_null(bytes);
    memcpy(bytes, key.data, key.size);
    strata_load_take(load, bytes, key.size, release_bytes, NULL);
    return STRATA_OK;
}

static int load_absent(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    (void)ctx;
    strata_load_absent(load);
    return STRATA_OK;
}

/* Failing in a way that a caller can tell from ours. */
static int load_fail(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    (void)ctx;
    strata_load_fail(load, STRATA_ECANCELED, "the origin said no");
    return STRATA_OK;
}

static int load_not_modified(strata_load *load, strata_slice key, void *ctx)
{
    if (strata_load_not_modified(load) == STRATA_OK)
        return STRATA_OK;
    return load_copy(load, key, ctx);
}

static int load_large(strata_load *load, strata_slice key, void *ctx)
{
    static const char large[40000];
    (void)key;
    (void)ctx;
    strata_load_copy(load, large, sizeof large);
    return STRATA_OK;
}

static int load_many(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    for (size_t i = 0; i < count; i++)
        load_copy(loads[i], keys[i], ctx);
    return STRATA_OK;
}

static int load_and_keep(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    *(strata_load **)ctx = strata_load_ref(load);
    return STRATA_PENDING;
}

/* Scripts ----------------------------------------------------------------------------------------------------------- */

static int get_or_load(struct world *w, strata *cache, const char *key, strata_loader loader,
                       const strata_policy *policy)
{
    strata_value *v = NULL;
    strata_error err = STRATA_ERROR_INIT;
    int status = strata_get_or_load(cache, strata_str(key), loader, NULL, policy, &v, &err);
    assert_int_equal(v != NULL, status == STRATA_OK || status == STRATA_STALE);
    keep(w, v);
    if (status != STRATA_ECANCELED)
        check_status(status, &err);
    return status;
}

static int get(struct world *w, strata *cache, const char *key)
{
    strata_value *v = NULL;
    strata_error err = STRATA_ERROR_INIT;
    int status = strata_get(cache, strata_str(key), &v, &err);
    keep(w, v);
    check_status(status, &err);
    return status;
}

static int set(strata *cache, const char *key, const strata_policy *policy)
{
    strata_error err = STRATA_ERROR_INIT;
    int status = strata_set(cache, strata_str(key), strata_str("some value"), policy, &err);
    check_status(status, &err);
    return status;
}

static void script_miss_and_hit(struct world *w)
{
    get(w, w->cache, "a");
    get_or_load(w, w->cache, "a", load_copy, NULL);
    get_or_load(w, w->cache, "a", load_copy, NULL);
    get(w, w->cache, "a");
    get_or_load(w, w->cache, "large", load_large, NULL);
    get(w, w->cache, "large");
}

static void script_loaders(struct world *w)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 10, .negative_ttl_ms = 1000, .keep_ms = 1000,
                                   .stale_if_error_ms = 1000 };
    get_or_load(w, w->cache, "take", load_take, &policy);
    get_or_load(w, w->cache, "none", load_absent, &policy);
    get_or_load(w, w->cache, "none", load_absent, &policy);
    get_or_load(w, w->cache, "fail", load_fail, &policy);
    get_or_load(w, w->cache, "kept", load_copy, &policy);
    strata__executor_sim_advance(w->ex, 20);
    get_or_load(w, w->cache, "kept", load_not_modified, &policy);
    strata__executor_sim_advance(w->ex, 20);
    get_or_load(w, w->cache, "kept", load_fail, &policy); /* stale, and the next try is put off */
}

static void script_stale(struct world *w)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 10, .stale_while_revalidate_ms = 1000,
                                   .hard_timeout_ms = 500, .soft_timeout_ms = 100 };
    get_or_load(w, w->cache, "a", load_copy, &policy);
    strata__executor_sim_advance(w->ex, 20);
    get_or_load(w, w->cache, "a", load_copy, &policy); /* served stale, and refreshed */
    strata__executor_sim_advance(w->ex, 5);
    get_or_load(w, w->cache, "a", load_fail, &policy);
    strata__executor_sim_advance(w->ex, 20);
    get_or_load(w, w->cache, "a", load_fail, &policy);
    strata__executor_sim_advance(w->ex, 20);
}

static void script_writes(struct world *w)
{
    strata_error err = STRATA_ERROR_INIT;
    const strata_policy windows = { STRATA_SIZED(strata_policy), .stale_if_error_ms = 1000 };
    set(w->cache, "a", NULL);
    set(w->cache, "a", &windows);
    check_status(strata_expire(w->cache, strata_str("a"), &err), &err);
    check_status(strata_expire(w->cache, strata_str("nothing"), &err), &err);
    int deleted = strata_delete(w->cache, strata_str("a"), &err);
    check_status(deleted, &err);
    if (deleted == STRATA_OK)
        assert_int_not_equal(get(w, w->cache, "a"), STRATA_OK);
    set(w->cache, "b", NULL);
    int cleared = strata_clear(w->cache, &err);
    check_status(cleared, &err);
    assert_int_not_equal(get(w, w->cache, "b"), STRATA_OK); /* whatever clear answered */
}

static void script_looks(struct world *w)
{
    strata_error err = STRATA_ERROR_INIT;
    strata_inspection seen = { .size = sizeof seen };
    int64_t ttl_ms;
    uint64_t size;
    set(w->cache, "a", NULL);
    check_status(strata_has(w->cache, strata_str("a"), &err), &err);
    check_status(strata_ttl(w->cache, strata_str("a"), &ttl_ms, &err), &err);
    check_status(strata_inspect(w->cache, strata_str("a"), &seen, &err), &err);
    check_status(strata_size(w->cache, &size, &err), &err);
}

static void script_namespace(struct world *w)
{
    strata_error err = STRATA_ERROR_INIT;
    strata *outer = NULL, *inner = NULL;
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    options.memory_share_percent = 10;
    check_status(strata_namespace(w->cache, "outer", &options, &outer, &err), &err);
    if (outer != NULL)
        check_status(strata_namespace(outer, "inner", NULL, &inner, &err), &err);
    if (inner != NULL) {
        set(inner, "a", NULL);
        get_or_load(w, inner, "b", load_copy, NULL);
        get(w, inner, "b");
        check_status(strata_clear(outer, &err), &err);
        assert_int_not_equal(get(w, inner, "a"), STRATA_OK);
    }
    strata_close(inner);
    strata_close(outer);
}

enum { MANY = 7 };

static void name_items(strata_item *items)
{
    static const char *const names[MANY] = {
        "a", "b", "c", "a", "d", "of a usual size, twice", "of a usual size, twice"
    };
    memset(items, 0, MANY * sizeof *items);
    for (size_t i = 0; i < MANY; i++) {
        items[i].key = strata_str(names[i]);
        items[i].set = strata_str("some value");
    }
}

static void end_items(struct world *w, strata_item *items, int status, const strata_error *err)
{
    int worst = STRATA_OK;
    for (size_t i = 0; i < MANY; i++) {
        check_status(items[i].status, NULL);
        assert_int_not_equal(items[i].status, STRATA_PENDING);
        worst = items[i].status < 0 ? items[i].status : worst;
        keep(w, items[i].value);
        items[i].value = NULL;
    }
    check_status(status, err);
    assert_int_equal(status < 0, worst < 0);
}

static void script_many(struct world *w)
{
    strata_item items[MANY];
    strata_error err = STRATA_ERROR_INIT;
    name_items(items);
    int status = strata_get_many(w->cache, items, MANY, &err);
    end_items(w, items, status, &err);
    name_items(items);
    status = strata_get_or_load_many(w->cache, items, MANY, load_many, NULL, NULL, &err);
    end_items(w, items, status, &err);
    name_items(items);
    status = strata_get_many(w->cache, items, MANY, &err);
    end_items(w, items, status, &err);
    strata_clear(w->cache, NULL);
    strata_item_loader each[MANY];
    for (size_t i = 0; i < MANY; i++)
        each[i] = (strata_item_loader){ load_copy, NULL };
    name_items(items);
    status = strata_get_or_load_each(w->cache, items, each, MANY, NULL, &err);
    end_items(w, items, status, &err);
    name_items(items);
    status = strata_set_many(w->cache, items, MANY, NULL, &err);
    end_items(w, items, status, &err);
    name_items(items);
    status = strata_delete_many(w->cache, items, MANY, &err);
    end_items(w, items, status, &err);
}

static void count_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct world *w = ctx;
    w->done++;
    if (status != STRATA_ECANCELED && status != STRATA_ELOADER && status != STRATA_ETIMEDOUT)
        check_status(status, err);
    strata_value_unref(value);
}

static void accept(struct world *w, int rc, const strata_error *err)
{
    if (rc == STRATA_PENDING)
        w->accepted++;
    else
        check_status(rc, err);
}

/* By a queue, or on a worker of the simulator: no cmocka assert fails there unless the test does. */
static void async_calls(struct world *w, strata_queue *queue)
{
    strata_error err = STRATA_ERROR_INIT;
    const strata_policy hasty = { STRATA_SIZED(strata_policy), .hard_timeout_ms = 20 };
    strata_load *load = NULL;
    strata_item items[MANY];
    int64_t ttl_ms;
    name_items(items);
    accept(w, strata_get_or_load_async(w->cache, strata_str("a"), load_copy, NULL, NULL, queue, count_done, w, &err),
           &err);
    accept(w, strata_get_or_load_async(w->cache, strata_str("a"), load_copy, NULL, NULL, queue, count_done, w, &err),
           &err);
    accept(w,
           strata_get_or_load_async(w->cache, strata_str("p"), load_and_keep, &load, &hasty, queue, count_done, w, &err),
           &err);
    accept(w, strata_get_async(w->cache, strata_str("c"), queue, count_done, w, &err), &err);
    strata__executor_sim_advance(w->ex, 5);
    accept(w, strata_get_async(w->cache, strata_str("a"), queue, count_done, w, &err), &err);
    accept(w, strata_set_async(w->cache, strata_str("a"), strata_str("x"), NULL, queue, count_done, w, &err), &err);
    accept(w, strata_expire_async(w->cache, strata_str("a"), queue, count_done, w, &err), &err);
    accept(w, strata_delete_async(w->cache, strata_str("a"), queue, count_done, w, &err), &err);
    accept(w, strata_has_async(w->cache, strata_str("a"), queue, count_done, w, &err), &err);
    accept(w, strata_ttl_async(w->cache, strata_str("a"), &ttl_ms, queue, count_done, w, &err), &err);
    accept(w, strata_clear_async(w->cache, queue, count_done, w, &err), &err);
    accept(w, strata_set_many_async(w->cache, items, MANY, NULL, queue, count_done, w, &err), &err);
    strata__executor_sim_advance(w->ex, 40);
    if (load != NULL) {
        strata_load_copy(load, "late", 4);
        strata_load_unref(load);
    }
    strata__executor_sim_advance(w->ex, 40);
    while (queue != NULL && strata_queue_run(queue, 0) != 0)
        ;
    assert_int_equal(w->done, w->accepted);
}

static void script_async_queue(struct world *w) { async_calls(w, w->queue); }

/* Breakers, a load that hangs and is detached, others that wait for its place, and its late result. */
static void script_guarded(struct world *w)
{
    const strata_policy policy = {
        STRATA_SIZED(strata_policy), .breaker_failures = 1000, .breaker_scope = STRATA_SCOPE_KEY, .max_loads = 1,
        .rate_loads = 1000,          .load_limit_ms = 50,      .late_result = STRATA_ON
    };
    strata_error err = STRATA_ERROR_INIT;
    strata_load *kept = NULL;
    strata_item items[MANY];
    get_or_load(w, w->cache, "a", load_copy, &policy);
    get_or_load(w, w->cache, "b", load_fail, &policy);
    accept(w,
           strata_get_or_load_async(w->cache, strata_str("hangs"), load_and_keep, &kept, &policy, NULL, count_done, w,
                                    &err),
           &err);
    accept(w,
           strata_get_or_load_async(w->cache, strata_str("waits"), load_copy, NULL, &policy, NULL, count_done, w, &err),
           &err);
    strata__executor_sim_advance(w->ex, 20);
    name_items(items);
    int status = strata_get_or_load_many(w->cache, items, MANY, load_many, NULL, &policy, &err);
    end_items(w, items, status, &err);
    strata__executor_sim_advance(w->ex, 100);
    if (kept != NULL) {
        int rc = strata_load_copy(kept, "late", 4);
        assert_true(rc == STRATA_OK || rc == STRATA_ENOMEM || rc == STRATA_EALREADY);
        strata_load_unref(kept);
    }
    strata__executor_sim_advance(w->ex, 20);
}

static void script_async_workers(struct world *w) { async_calls(w, NULL); }

static void on_event(const strata_event *event, void *ctx)
{
    ++*(int *)ctx;
    assert_int_not_equal(event->kind, 0);
}

static void script_events(struct world *w)
{
    static int seen;
    uint64_t first = 0, second = 0;
    int rc = strata_on(w->cache, STRATA_EVENT_ALL, on_event, &seen, &first);
    check_status(rc, NULL);
    int rc2 = strata_on(w->cache, STRATA_EVENT_EVICT | STRATA_EVENT_SET, on_event, &seen, &second);
    check_status(rc2, NULL);
    get_or_load(w, w->cache, "a", load_copy, NULL);
    for (int i = 0; i < 60; i++) { /* more than there is room for: evictions are told */
        char key[24];
        snprintf(key, sizeof key, "large:%d", i);
        get_or_load(w, w->cache, key, load_large, NULL);
        if (w->pin_count == PINS_MOST)
            strata_value_unref(w->pins[--w->pin_count]);
    }
    assert_int_equal(strata_off(w->cache, first), rc == STRATA_OK ? STRATA_OK : STRATA_MISS);
    if (rc2 == STRATA_OK)
        strata_off(w->cache, second);
}

static int load_tagged(strata_load *load, strata_slice key, void *ctx)
{
    (void)ctx;
    int rc = strata_load_tag(load, "t");
    return rc == STRATA_OK ? load_copy(load, key, NULL) : strata_load_fail(load, rc, NULL);
}

/* A ban that was answered holds, whatever failed before and after it. */
static void script_bans(struct world *w)
{
    static const strata_slice tags[] = { { "t", 1 }, { "u", 1 } };
    strata_value *v = NULL;
    strata_error err = STRATA_ERROR_INIT;
    get_or_load(w, w->cache, "a", load_tagged, NULL);
    check_status(strata_set_tagged(w->cache, strata_str("b"), strata_str("v"), tags, 2, NULL, &err), &err);
    int rc = strata_ban_tag(w->cache, "t", 0, &err);
    check_status(rc, &err);
    for (int i = 0; i < 2 && rc == STRATA_OK; i++) {
        int got = strata_get(w->cache, strata_str(i ? "a" : "b"), &v, &err);
        strata_value_unref(v);
        assert_true(got == STRATA_MISS || got < 0);
    }
    check_status(strata_set_tagged(w->cache, strata_str("b"), strata_str("v"), tags, 2, NULL, &err), &err);
    check_status(strata_ban_tags(w->cache, tags, 2, STRATA_BAN_ALL_TAGS | STRATA_BAN_SOFT, &err), &err);
    check_status(strata_ban_pattern(w->cache, strata_str("b*"), 0, &err), &err);
    accept(w, strata_ban_prefix_async(w->cache, strata_str("a"), 0, w->queue, count_done, w, &err), &err);
    accept(w,
           strata_set_tagged_async(w->cache, strata_str("c"), strata_str("v"), tags, 2, NULL, w->queue, count_done, w,
                                   &err),
           &err);
    strata__executor_sim_advance(w->ex, 40);
    while (strata_queue_run(w->queue, 0) != 0)
        ;
    get_or_load(w, w->cache, "b", load_tagged, NULL);
}

/* Close with a load that never completes. */
static void script_close(struct world *w)
{
    strata_load *load = NULL;
    strata_error err = STRATA_ERROR_INIT;
    accept(
        w,
        strata_get_or_load_async(w->cache, strata_str("p"), load_and_keep, &load, NULL, w->queue, count_done, w, &err),
        &err);
    strata__executor_sim_advance(w->ex, 10);
    if (load != NULL) {
        strata_load_unref(load);
        strata__executor_sim_advance(w->ex, 10);
    }
    strata_queue_run(w->queue, 0);
    assert_int_equal(w->done, w->accepted);
}

/* Running them ------------------------------------------------------------------------------------------------------ */

static void open_world(struct world *w, make_layers *make)
{
    strata_layer *layers[2];
    strata_error err = STRATA_ERROR_INIT;
    memset(w, 0, sizeof *w);
    fail_alloc_init(&w->alloc, 0);
    const strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = make(layers),
                                     .allocator = &w->alloc.mem };
    assert_int_equal(strata__executor_sim_new(&w->ex, &w->alloc.mem, 7, &err), STRATA_OK);
    assert_int_equal(strata__open_with(&w->cache, &options, w->ex, &err), STRATA_OK);
    assert_int_equal(strata_queue_open(&w->queue, &err), STRATA_OK);
}

static void check_works(struct world *w)
{
    strata_value *v = NULL;
    strata_error err = STRATA_ERROR_INIT;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(strata_get_or_load(w->cache, strata_str("after all"), load_copy, NULL, NULL, &v, &err),
                         STRATA_OK);
        assert_int_equal(strata_value_size(v), 9);
        strata_value_unref(v);
    }
    assert_int_equal(strata_delete(w->cache, strata_str("after all"), &err), STRATA_OK);
}

static void close_world(struct world *w)
{
    assert_int_equal(strata_close(w->cache), STRATA_OK);
    strata_queue_close(w->queue);
    assert_int_equal(w->done, w->accepted);
    while (w->pin_count > 0)
        strata_value_unref(w->pins[--w->pin_count]);
    assert_int_equal(w->alloc.live, 0);
}

static void run_script(void (*script)(struct world *), make_layers *make)
{
    for (long n = 1; n < RUNS_MOST; n++) {
        struct world w;
        open_world(&w, make);
        atomic_store(&w.alloc.fail_at, atomic_load(&w.alloc.requests) + n);
        script(&w);
        atomic_store(&w.alloc.fail_at, 0);
        check_works(&w);
        close_world(&w);
        if (!w.alloc.failed) {
            assert_true(n > 1 || make == memory_alone);
            return;
        }
    }
    fail_msg("the script takes more than %d allocations: is there a loop?", RUNS_MOST);
}

#define ON_EACH_STACK(name) \
    static void name##_on_each_stack(void **state) \
    { \
        (void)state; \
        run_script(script_##name, memory_alone); \
        run_script(script_##name, memory_and_map); \
        run_script(script_##name, memory_and_slow); \
    }
ON_EACH_STACK(miss_and_hit)
ON_EACH_STACK(loaders)
ON_EACH_STACK(stale)
ON_EACH_STACK(guarded)
ON_EACH_STACK(writes)
ON_EACH_STACK(bans)
ON_EACH_STACK(looks)
ON_EACH_STACK(namespace)
ON_EACH_STACK(many)
ON_EACH_STACK(async_queue)
ON_EACH_STACK(async_workers)
ON_EACH_STACK(close)

static void events_are_told_or_not(void **state)
{
    (void)state;
    run_script(script_events, memory_alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(miss_and_hit_on_each_stack),  cmocka_unit_test(loaders_on_each_stack),
        cmocka_unit_test(guarded_on_each_stack),       cmocka_unit_test(stale_on_each_stack),
        cmocka_unit_test(writes_on_each_stack),        cmocka_unit_test(bans_on_each_stack),
        cmocka_unit_test(looks_on_each_stack),         cmocka_unit_test(namespace_on_each_stack),
        cmocka_unit_test(many_on_each_stack),          cmocka_unit_test(async_queue_on_each_stack),
        cmocka_unit_test(async_workers_on_each_stack), cmocka_unit_test(close_on_each_stack),
        cmocka_unit_test(events_are_told_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
