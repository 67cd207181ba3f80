/* test_bad_input.c - everything that a caller can get wrong: each has a status, and words that name the thing and say what to
 * do; nothing crashes, nothing is lost or leaked. */
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/fail_alloc.h"
#include "tests/unit/core_fixture.h"
#include "tests/support/still_threads.h"

static strata_error err;

/* The call answered `status`; the words have `word` in them, and are a sentence rather than a number. */
#define assert_refused(call, status_, word) \
    do { \
        memset(&err, 0, sizeof err); \
        int rc_ = (call); \
        if (rc_ != (status_) || strstr(err.message, (word)) == NULL) \
            print_error("%s: %s: %s\n", strata_status_name(rc_), err.where, err.message); \
        assert_int_equal(rc_, (status_)); \
        assert_int_equal(err.status, (status_)); \
        assert_true(strlen(err.message) > 15); \
        assert_true(err.where[0] != 0); \
        assert_non_null(strstr(err.message, (word))); \
    } while (0)

static int load_nothing(strata_load *load, strata_slice key, void *ctx)
{
    (void)load;
    (void)key;
    (void)ctx;
    return STRATA_OK;
}

static void no_call(int status, strata_value *value, const strata_error *words, void *ctx)
{
    (void)status;
    (void)words;
    strata_value_unref(value);
    ++*(int *)ctx;
}

/* Keys and values -------------------------------------------------------------------------------------------------- */

static void refuse_key(strata *cache, strata_slice key, const char *word)
{
    int called = 0;
    strata_value *v = (strata_value *)(uintptr_t)8;
    strata_inspection seen = { .size = sizeof seen };
    int64_t ttl_ms;
    strata_item item = { .key = key, .set = strata_str("v") };
    assert_refused(strata_get(cache, key, &v, &err), STRATA_EKEYSIZE, word);
    assert_null(v);
    assert_refused(strata_get_or_load(cache, key, load_nothing, NULL, NULL, &v, &err), STRATA_EKEYSIZE, word);
    assert_refused(strata_set(cache, key, strata_str("v"), NULL, &err), STRATA_EKEYSIZE, word);
    assert_refused(strata_delete(cache, key, &err), STRATA_EKEYSIZE, word);
    assert_refused(strata_expire(cache, key, &err), STRATA_EKEYSIZE, word);
    assert_refused(strata_has(cache, key, &err), STRATA_EKEYSIZE, word);
    assert_refused(strata_ttl(cache, key, &ttl_ms, &err), STRATA_EKEYSIZE, word);
    assert_refused(strata_inspect(cache, key, &seen, &err), STRATA_EKEYSIZE, word);
    assert_refused(strata_get_many(cache, &item, 1, &err), STRATA_EKEYSIZE, word);
    assert_int_equal(item.status, STRATA_EKEYSIZE);
    assert_refused(strata_set_many(cache, &item, 1, NULL, &err), STRATA_EKEYSIZE, word);
    assert_refused(strata_delete_many(cache, &item, 1, &err), STRATA_EKEYSIZE, word);
    assert_refused(strata_get_async(cache, key, NULL, no_call, &called, &err), STRATA_EKEYSIZE, word);
    assert_refused(strata_get_or_load_async(cache, key, load_nothing, NULL, NULL, NULL, no_call, &called, &err),
                   STRATA_EKEYSIZE, word);
    assert_refused(strata_set_async(cache, key, strata_str("v"), NULL, NULL, no_call, &called, &err), STRATA_EKEYSIZE,
                   word);
    assert_refused(strata_delete_async(cache, key, NULL, no_call, &called, &err), STRATA_EKEYSIZE, word);
    assert_refused(strata_expire_async(cache, key, NULL, no_call, &called, &err), STRATA_EKEYSIZE, word);
    assert_refused(strata_has_async(cache, key, NULL, no_call, &called, &err), STRATA_EKEYSIZE, word);
    assert_int_equal(called, 0);
}

static void keys_of_no_bytes_or_too_many(void **state)
{
    struct stack st;
    char key[1025];
    (void)state;
    memset(key, 'k', sizeof key);
    for (int slow = 0; slow < 2; slow++) {
        open_stack(&st, &(struct stack_options){ .with_slow = slow });
        refuse_key(st.cache, strata_str(""), "empty");
        refuse_key(st.cache, strata_bytes(NULL, 0), "empty");
        refuse_key(st.cache, strata_bytes(NULL, 3), "empty");
        refuse_key(st.cache, strata_bytes(key, 1025), "max_key_bytes");
        refuse_key(st.cache, strata_bytes(key, SIZE_MAX), "max_key_bytes");
        run(&st);
        close_stack(&st);
    }
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_set(st.cache, strata_bytes(key, 1024), strata_str("v"), NULL, &err), STRATA_OK);
    close_stack(&st);
}

static void released(void *data, void *ctx)
{
    (void)data;
    ++*(int *)ctx;
}

static int take_too_much(strata_load *load, strata_slice key, void *ctx)
{
    static char large[200];
    (void)key;
    assert_int_equal(strata_load_take(load, large, sizeof large, released, ctx), STRATA_EVALUESIZE);
    return STRATA_OK;
}

static void values_that_are_too_large(void **state)
{
    struct stack st;
    char large[101] = { 0 };
    strata_item items[2] = { { .key = strata_str("a"), .set = strata_str("v") },
                             { .key = strata_str("b"), .set = strata_bytes(large, sizeof large) } };
    strata_value *v;
    int called = 0;
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        open_stack(&st, &(struct stack_options){ .max_value_bytes = 100, .with_slow = slow });
        strata_slice value = strata_bytes(large, sizeof large);
        assert_refused(strata_set(st.cache, strata_str("k"), value, NULL, &err), STRATA_EVALUESIZE, "max_value_bytes");
        assert_refused(strata_set_async(st.cache, strata_str("k"), value, NULL, NULL, no_call, &called, &err),
                       STRATA_EVALUESIZE, "max_value_bytes");
        assert_refused(strata_set_many(st.cache, items, 2, NULL, &err), STRATA_EVALUESIZE, "max_value_bytes");
        assert_int_equal(items[0].status, STRATA_OK);
        assert_int_equal(items[1].status, STRATA_EVALUESIZE);
        assert_get(&st, "a", STRATA_OK, "v");
        int gone = 0;
        assert_refused(strata_get_or_load(st.cache, strata_str("k"), take_too_much, &gone, NULL, &v, &err),
                       STRATA_EVALUESIZE, "max_value_bytes");
        assert_int_equal(gone, 1);
        assert_refused(strata_set(st.cache, strata_str("k"), strata_bytes(NULL, 3), NULL, &err), STRATA_EINVAL, "value");
        assert_int_equal(strata_set(st.cache, strata_str("k"), strata_bytes(NULL, 0), NULL, &err), STRATA_OK);
        assert_int_equal(strata_get(st.cache, strata_str("k"), &v, &err), STRATA_OK);
        assert_int_equal(strata_value_size(v), 0);
        strata_value_unref(v);
        close_stack(&st);
    }
    assert_int_equal(called, 0);
}

/* Opening ---------------------------------------------------------------------------------------------------------- */

static void refuse_url(const char *url, const char *word)
{
    strata *cache = (strata *)(uintptr_t)8;
    assert_refused(strata_open_url(&cache, url, NULL, &err), STRATA_EINVAL, word);
    assert_null(cache);
}

static void urls_with_unknown_parts(void **state)
{
    (void)state;
    refuse_url("nosuch:", "nosuch");
    refuse_url("memory:?nosuch=1", "nosuch");
    refuse_url("memory:?max_bytes=64", "64"); /* a size without a unit */
    refuse_url("memory:?max_bytes=64xb", "64xb");
    refuse_url("memory:?max_bytes=", "max_bytes");
    refuse_url("memory:?max_bytes=99999999999tb", "max_bytes");
    refuse_url("memory:?policy=random", "random");
    refuse_url("memory:?shards=-1", "shards");
    refuse_url("memory:?max_bytes=64mb&max_bytes=64mb", "max_bytes");
    refuse_url("memory:/path", "path");
    refuse_url("memory:||memory:", "layer");
    refuse_url("", "memory");
    refuse_url(NULL, "memory");
    refuse_url("memory:?max_bytes=1kb", "max_bytes"); /* below the least */
    strata_memory_options options = { STRATA_SIZED(strata_memory_options) };
    strata_layer *layer = strata_memory_layer(&options);
    strata *cache;
    const strata_options both = { STRATA_SIZED(strata_options), .layers = &layer, .layer_count = 1 };
    assert_refused(strata_open_url(&cache, "memory:", &both, &err), STRATA_EINVAL, "layers");
    strata_layer_free(layer);
}

static int count_close;

static void store_closed(void *ctx)
{
    (void)ctx;
    count_close++;
}

static int store_get(void *ctx, strata_slice key, strata_op *op)
{
    (void)ctx;
    (void)key;
    (void)op;
    return STRATA_MISS;
}

static int store_put(void *ctx, strata_slice key, strata_slice data, const strata_meta *meta, int64_t ttl_ms)
{
    (void)ctx;
    (void)key;
    (void)data;
    (void)meta;
    (void)ttl_ms;
    return STRATA_OK;
}

static int store_remove(void *ctx, strata_slice key)
{
    (void)ctx;
    (void)key;
    return STRATA_OK;
}

static void layers_that_could_not_be_made(void **state)
{
    static const strata_blocking_ops good = { STRATA_SIZED(strata_blocking_ops), .get = store_get, .put = store_put,
                                              .remove = store_remove, .close = store_closed };
    static const strata_blocking_ops lacking = { STRATA_SIZED(strata_blocking_ops), .get = store_get };
    const strata_memory_options unknown = { STRATA_SIZED(strata_memory_options), .policy = 99 };
    struct fail_alloc alloc;
    strata *cache;
    (void)state;
    fail_alloc_init(&alloc, 0);
    /* The good ones are taken over and closed, too. */
    strata_layer *layers[3] = { strata_memory_layer(NULL), strata_blocking_layer("good", 0, &good, NULL),
                                strata_memory_layer(&unknown) };
    strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = 3,
                               .allocator = &alloc.mem };
    count_close = 0;
    assert_refused(strata_open(&cache, &options, &err), STRATA_EINVAL, "policy");
    assert_null(cache);
    assert_int_equal(count_close, 1);
    layers[0] = strata_blocking_layer("lacking", 0, &lacking, NULL);
    options.layer_count = 1;
    assert_refused(strata_open(&cache, &options, &err), STRATA_EINVAL, "NULL");
    layers[0] = strata_blocking_layer("", 0, &good, NULL);
    assert_refused(strata_open(&cache, &options, &err), STRATA_EINVAL, "name");
    layers[0] = strata_blocking_layer("flags", STRATA_LAYER_INSTANT, &good, NULL);
    assert_refused(strata_open(&cache, &options, &err), STRATA_EINVAL, "STRATA_LAYER_LOCAL");
    assert_int_equal(alloc.live, 0);
}

static void options_out_of_bounds(void **state)
{
    strata *cache;
    strata_layer *layer;
    (void)state;
#define OPEN_WITH(...) \
    (layer = strata_memory_layer(NULL), \
     strata_open(&cache, \
                 &(strata_options){ STRATA_SIZED(strata_options), .layers = &layer, .layer_count = 1, __VA_ARGS__ }, \
                 &err))
    assert_refused(OPEN_WITH(.workers = 100000), STRATA_EINVAL, "workers");
    assert_refused(OPEN_WITH(.max_key_bytes = 1u << 30), STRATA_EINVAL, "max_key_bytes");
    assert_refused(OPEN_WITH(.max_value_bytes = UINT64_MAX), STRATA_EINVAL, "max_value_bytes");
    assert_refused(OPEN_WITH(.stats = 7), STRATA_EINVAL, "stats");
    const strata_policy wrong = { STRATA_SIZED(strata_policy), .ttl_ms = -5 };
    assert_refused(OPEN_WITH(.policy = &wrong), STRATA_EINVAL, "ttl_ms");
    const strata_policy unsized = { .ttl_ms = 5 };
    assert_refused(OPEN_WITH(.policy = &unsized), STRATA_EINVAL, "STRATA_POLICY_INIT");
    const strata_codec codec = { STRATA_SIZED(strata_codec), .id = 0 };
    assert_refused(OPEN_WITH(.codec = &codec), STRATA_EINVAL, "codec");
    const strata_allocator lacking = { STRATA_SIZED(strata_allocator), .alloc = NULL };
    assert_refused(OPEN_WITH(.allocator = &lacking), STRATA_EINVAL, "alloc");
#undef OPEN_WITH
    assert_refused(strata_open(&cache, NULL, &err), STRATA_EINVAL, "options");
    assert_refused(strata_open(NULL, &(strata_options)STRATA_OPTIONS_INIT, &err), STRATA_EINVAL, "where");
    assert_refused(strata_open(&cache, &(strata_options)STRATA_OPTIONS_INIT, &err), STRATA_EINVAL, "layer");
    const struct {
        strata_options known;
        uint64_t newer;
    } newer = { { .size = sizeof newer }, 1 };
    assert_refused(strata_open(&cache, &newer.known, &err), STRATA_EINVAL, "newer");
}

/* Arguments -------------------------------------------------------------------------------------------------------- */

static void arguments_that_are_null(void **state)
{
    struct stack st;
    strata_value *v;
    strata *ns;
    strata_slice k = strata_str("k");
    strata_inspection unsized = { 0 };
    strata_stats unsized_stats = { 0 };
    int64_t ttl_ms;
    uint64_t number;
    int called = 0;
    (void)state;
    open_stack(&st, &(struct stack_options){ 0 });
    strata *c = st.cache;
    assert_refused(strata_get(NULL, k, &v, &err), STRATA_EINVAL, "cache");
    assert_refused(strata_get(c, k, NULL, &err), STRATA_EINVAL, "where");
    assert_refused(strata_get_or_load(NULL, k, load_nothing, NULL, NULL, &v, &err), STRATA_EINVAL, "cache");
    assert_refused(strata_get_or_load(c, k, NULL, NULL, NULL, &v, &err), STRATA_EINVAL, "loader");
    assert_refused(strata_set(NULL, k, k, NULL, &err), STRATA_EINVAL, "cache");
    assert_refused(strata_delete(NULL, k, &err), STRATA_EINVAL, "cache");
    assert_refused(strata_expire(NULL, k, &err), STRATA_EINVAL, "cache");
    assert_refused(strata_clear(NULL, &err), STRATA_EINVAL, "cache");
    assert_refused(strata_has(NULL, k, &err), STRATA_EINVAL, "cache");
    assert_refused(strata_ttl(c, k, NULL, &err), STRATA_EINVAL, "where");
    assert_refused(strata_ttl(NULL, k, &ttl_ms, &err), STRATA_EINVAL, "cache");
    assert_refused(strata_inspect(c, k, &unsized, &err), STRATA_EINVAL, "size");
    assert_refused(strata_size(c, NULL, &err), STRATA_EINVAL, "where");
    assert_refused(strata_namespace(c, NULL, NULL, &ns, &err), STRATA_EINVAL, "name");
    assert_refused(strata_namespace(c, "", NULL, &ns, &err), STRATA_EINVAL, "name");
    assert_refused(strata_namespace(NULL, "a", NULL, &ns, &err), STRATA_EINVAL, "parent");
    assert_refused(strata_get_many(c, NULL, 3, &err), STRATA_EINVAL, "items");
    assert_refused(strata_set_many(c, NULL, 3, NULL, &err), STRATA_EINVAL, "items");
    assert_refused(strata_delete_many(c, NULL, 3, &err), STRATA_EINVAL, "items");
    assert_refused(strata_get_or_load_many(c, NULL, 0, NULL, NULL, NULL, &err), STRATA_EINVAL, "loader");
    assert_refused(strata_get_async(NULL, k, NULL, no_call, &called, &err), STRATA_EINVAL, "cache");
    assert_refused(strata_get_async(c, k, NULL, NULL, NULL, &err), STRATA_EINVAL, "function");
    assert_refused(strata_set_async(NULL, k, k, NULL, NULL, no_call, &called, &err), STRATA_EINVAL, "cache");
    assert_refused(strata_delete_async(NULL, k, NULL, no_call, &called, &err), STRATA_EINVAL, "cache");
    assert_refused(strata_get_many_async(c, NULL, 3, NULL, no_call, &called, &err), STRATA_EINVAL, "items");
    assert_refused(strata_set_object(c, k, NULL, NULL, &err), STRATA_EINVAL, "codec");
    assert_refused(strata_reopen(NULL, &err), STRATA_EINVAL, "cache");
    assert_int_equal(strata_stats_get(c, &unsized_stats), STRATA_EINVAL);
    assert_int_equal(strata_stats_get(c, NULL), STRATA_EINVAL);
    assert_int_equal(strata_stats_layer(c, 7, &(strata_layer_stats){ .size = sizeof(strata_layer_stats) }),
                     STRATA_EINVAL);
    assert_int_equal(strata_on(c, STRATA_EVENT_ALL, NULL, NULL, &number), STRATA_EINVAL);
    assert_int_equal(strata_off(c, 12345), STRATA_MISS);
    assert_int_equal(strata_close(NULL), STRATA_OK);
    strata_value_unref(NULL);
    strata_load_unref(NULL);
    strata_queue_close(NULL);
    strata_layer_free(NULL);
    assert_int_equal(strata_get(c, k, &v, NULL), STRATA_MISS); /* no words wanted */
    assert_int_equal(strata_get(c, strata_str(""), &v, NULL), STRATA_EKEYSIZE);
    const strata_policy wrong = { STRATA_SIZED(strata_policy), .hard_timeout_ms = -3 };
    assert_refused(strata_get_or_load(c, k, load_nothing, NULL, &wrong, &v, &err), STRATA_EINVAL, "hard_timeout_ms");
    assert_refused(strata_set(c, k, k, &wrong, &err), STRATA_EINVAL, "hard_timeout_ms");
    assert_refused(strata_set_async(c, k, k, &wrong, NULL, no_call, &called, &err), STRATA_EINVAL, "hard_timeout_ms");
    run(&st);
    assert_int_equal(called, 0);
    close_stack(&st);
}

/* Loaders ---------------------------------------------------------------------------------------------------------- */

static int load_twice(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    (void)ctx;
    assert_int_equal(strata_load_copy(load, "first", 5), STRATA_OK);
    assert_int_equal(strata_load_copy(load, "second", 6), STRATA_EALREADY);
    assert_int_equal(strata_load_fail(load, STRATA_EIO, NULL), STRATA_EALREADY);
    assert_int_equal(strata_load_absent(load), STRATA_EALREADY);
    return STRATA_OK;
}

static int load_succeeds_and_fails(strata_load *load, strata_slice key, void *ctx)
{
    load_twice(load, key, ctx);
    return STRATA_EIO;
}

static int load_own_key(strata_load *load, strata_slice key, void *ctx)
{
    struct stack *st = ctx;
    strata_value *v = NULL;
    assert_refused(strata_get_or_load(st->cache, key, load_own_key, ctx, NULL, &v, &err), STRATA_EDEADLOCK, "own key");
    assert_null(v);
    return strata_load_copy(load, "all the same", 12);
}

static void loaders_that_do_it_wrong(void **state)
{
    struct stack st;
    strata_value *v;
    struct fail_alloc alloc;
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        fail_alloc_init(&alloc, 0);
        open_stack(&st, &(struct stack_options){ .with_slow = slow, .allocator = &alloc.mem });
        assert_int_equal(strata_get_or_load(st.cache, strata_str("twice"), load_twice, NULL, NULL, &v, &err), STRATA_OK);
        assert_value(v, "first");
        assert_int_equal(
            strata_get_or_load(st.cache, strata_str("both"), load_succeeds_and_fails, NULL, NULL, &v, &err), STRATA_OK);
        assert_value(v, "first");
        assert_refused(strata_get_or_load(st.cache, strata_str("never"), load_nothing, NULL, NULL, &v, &err),
                       STRATA_ELOADER, "complete");
        assert_null(v);
        close_stack(&st);
        assert_int_equal(alloc.live, 0);
    }
}

static void a_key_loaded_from_its_own_loader(void **state)
{
    struct stack st;
    strata_value *v;
    (void)state;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    memset(&err, 0, sizeof err);
    strata_error outer = STRATA_ERROR_INIT;
    assert_int_equal(strata_get_or_load(st.cache, strata_str("own key"), load_own_key, &st, NULL, &v, &outer),
                     STRATA_OK);
    assert_value(v, "all the same");
    close_stack(&st);
}

static void loads_completed_after_close(void **state)
{
    struct fail_alloc alloc;
    struct stack st;
    struct origin o = { .st = &st, .pending = 1 };
    struct ended end = { 0 };
    char bytes[] = "bytes";
    int gone = 0;
    (void)state;
    fail_alloc_init(&alloc, 0);
    open_stack(&st, &(struct stack_options){ .allocator = &alloc.mem });
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL, NULL, on_done, &end, &err),
        STRATA_PENDING);
    run(&st);
    assert_non_null(o.kept);
    close_stack(&st);
    assert_int_equal(end.count, 1);
    assert_int_equal(end.status, STRATA_ECLOSED);
    assert_non_null(strstr(end.err.message, "closed"));
    assert_true(alloc.live > 0); /* for the load that is still held */
    assert_int_equal(strata_load_canceled(o.kept), 1);
    assert_int_equal(strata_load_take(o.kept, bytes, 5, released, &gone), STRATA_ECLOSED);
    assert_int_equal(gone, 1);
    assert_int_equal(strata_load_copy(o.kept, "x", 1), STRATA_ECLOSED);
    assert_int_equal(strata_load_absent(o.kept), STRATA_ECLOSED);
    strata_load_unref(o.kept);
    assert_int_equal(end.count, 1);
    assert_int_equal(alloc.live, 0);
}

/* Closing ---------------------------------------------------------------------------------------------------------- */

struct closer {
    struct stack *st;
    int calls, status, rc;
};

static void close_when_done(int status, strata_value *value, const strata_error *words, void *ctx)
{
    struct closer *c = ctx;
    (void)words;
    c->calls++;
    c->status = status;
    c->rc = strata_close(c->st->cache);
    strata_value_unref(value);
}

static void close_on_event(const strata_event *event, void *ctx)
{
    struct closer *c = ctx;
    (void)event;
    c->calls++;
    c->rc = strata_close(c->st->cache);
}

static void close_from_a_callback(void **state)
{
    struct stack st;
    struct origin o = { .st = &st, .value = "v" };
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct closer c = { .st = &st, .rc = STRATA_OK };
        strata_queue *queue = NULL;
        uint64_t id;
        strata_value *v;
        open_stack(&st, &(struct stack_options){ .with_slow = 1 });
        assert_int_equal(strata_queue_open(&queue, &err), STRATA_OK);
        if (how == 2) {
            assert_int_equal(strata_on(st.cache, STRATA_EVENT_SET, close_on_event, &c, &id), STRATA_OK);
            strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, &err);
        } else {
            assert_int_equal(strata_get_or_load_async(st.cache, strata_str("k"), origin_loader, &o, NULL,
                                                      how == 0 ? queue : NULL, close_when_done, &c, &err),
                             STRATA_PENDING);
            run(&st);
            strata_queue_run(queue, 0);
            assert_int_equal(c.status, STRATA_OK);
        }
        assert_int_equal(c.calls, 1);
        assert_int_equal(c.rc, STRATA_AGAIN);
        assert_refused(strata_get(st.cache, strata_str("k"), &v, &err), STRATA_ECLOSED, "closed");
        close_stack(&st);
        strata_queue_close(queue);
    }
}

static void a_namespace_of_a_closed_cache(void **state)
{
    struct stack st;
    strata *ns;
    strata_value *v;
    int called = 0;
    int64_t ttl_ms;
    strata_slice k = strata_str("k");
    strata_item item = { .key = k, .set = k };
    (void)state;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    assert_int_equal(strata_namespace(st.cache, "ns", NULL, &ns, &err), STRATA_OK);
    close_stack(&st);
    assert_refused(strata_get(ns, k, &v, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_get_or_load(ns, k, load_nothing, NULL, NULL, &v, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_set(ns, k, k, NULL, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_delete(ns, k, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_expire(ns, k, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_clear(ns, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_has(ns, k, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_ttl(ns, k, &ttl_ms, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_get_many(ns, &item, 1, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_set_many(ns, &item, 1, NULL, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_delete_many(ns, &item, 1, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_get_async(ns, k, NULL, no_call, &called, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_set_async(ns, k, k, NULL, NULL, no_call, &called, &err), STRATA_ECLOSED, "closed");
    assert_refused(strata_clear_async(ns, NULL, no_call, &called, &err), STRATA_ECLOSED, "closed");
    assert_int_equal(called, 0);
    assert_int_equal(strata_close(ns), STRATA_OK);
}

/* Forking ---------------------------------------------------------------------------------------------------------- */

#if !defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */

#define CHILD_CHECK(what) \
    do { \
        if (!(what)) \
            return __LINE__ % 250 + 1; \
    } while (0)

static int child_loader(strata_load *load, strata_slice key, void *ctx)
{
    (void)key, (void)ctx;
    return strata_load_copy(load, "child", 5);
}

/* What the child finds; 0, or roughly the line of the check that failed. */
static int use_in_child(strata *cache, strata *ns)
{
    strata_value *v;
    strata_slice k = strata_str("k");
    CHILD_CHECK(strata_get(cache, k, &v, &err) == STRATA_EFORKED && strstr(err.message, "strata_reopen") != NULL);
    CHILD_CHECK(strata_get_or_load(ns, k, child_loader, NULL, NULL, &v, &err) == STRATA_EFORKED);
    CHILD_CHECK(strata_set(cache, k, k, NULL, &err) == STRATA_EFORKED);
    CHILD_CHECK(strata_clear(cache, &err) == STRATA_EFORKED);
    CHILD_CHECK(strata_delete_async(cache, k, NULL, no_call, NULL, &err) == STRATA_EFORKED);
    CHILD_CHECK(strata_reopen(cache, &err) == STRATA_OK);
    CHILD_CHECK(strata_get(cache, k, &v, &err) == STRATA_MISS);
    CHILD_CHECK(strata_get_or_load(ns, k, child_loader, NULL, NULL, &v, &err) == STRATA_OK);
    CHILD_CHECK(strata_value_size(v) == 5 && memcmp(strata_value_data(v), "child", 5) == 0);
    strata_value_unref(v);
    CHILD_CHECK(strata_close(ns) == STRATA_OK);
    CHILD_CHECK(strata_close(cache) == STRATA_OK);
    return 0;
}

static void use_after_fork(void **state)
{
    strata *cache, *ns;
    strata_value *v, *held;
    int status = -1;
    (void)state;
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=1mb", NULL, &err), STRATA_OK);
    assert_int_equal(strata_namespace(cache, "ns", NULL, &ns, &err), STRATA_OK);
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("parent"), NULL, &err), STRATA_OK);
    assert_int_equal(strata_get(cache, strata_str("k"), &held, &err), STRATA_OK);
    wait_for_still_threads();
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(use_in_child(cache, ns));
    assert_true(waitpid(pid, &status, 0) == pid && status == 0);
    assert_value(held, "parent");
    assert_int_equal(strata_get(cache, strata_str("k"), &v, &err), STRATA_OK); /* the parent has not felt it */
    assert_value(v, "parent");
    assert_int_equal(strata_get(ns, strata_str("k"), &v, &err), STRATA_MISS);
    assert_int_equal(strata_close(ns), STRATA_OK);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_of_no_bytes_or_too_many),
        cmocka_unit_test(values_that_are_too_large),
        cmocka_unit_test(urls_with_unknown_parts),
        cmocka_unit_test(layers_that_could_not_be_made),
        cmocka_unit_test(options_out_of_bounds),
        cmocka_unit_test(arguments_that_are_null),
        cmocka_unit_test(loaders_that_do_it_wrong),
        cmocka_unit_test(a_key_loaded_from_its_own_loader),
        cmocka_unit_test(loads_completed_after_close),
        cmocka_unit_test(close_from_a_callback),
        cmocka_unit_test(a_namespace_of_a_closed_cache),
#if !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(use_after_fork),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
