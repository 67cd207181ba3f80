/* test_redis_layer.c - the Redis layer on a real server that others use, too: foreign values and types, refusals, times to
 * live, and what clear and keys leave alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/base/hash.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/value_impl.h"
#include "tests/contract/contract.h"
#include "tests/support/redis_do.h"

static struct redis_server server;
static struct redis_link *other; /* another program */
static struct contract c;        /* the layer */
static strata_redis_options options;

enum { LIFE_KEY = 1 }; /* beside the entries */

static strata_layer *make(void)
{
    char url[64];
    snprintf(url, sizeof url, "redis://127.0.0.1:%u", (unsigned)server.port);
    options.size = sizeof options;
    options.url = url;
    options.soft_timeout_ms = options.timeout_ms = options.connect_timeout_ms = 60000;
    return strata__redis_make(&options); /* no guard: what the layer itself answers */
}

static void open_with(const char *prefix)
{
    static const struct contract_subject subject = { "redis", make, 0, 0, 1, 1, 0 };
    options.prefix = prefix;
    assert_int_equal(contract_open(&c, &subject, NULL), STRATA_OK);
}

static int start(void **state)
{
    (void)state;
    memset(&options, 0, sizeof options);
    return redis_do(other, "FLUSHALL").status;
}

static int stop(void **state)
{
    (void)state;
    contract_close(&c);
    return 0;
}

/* One operation of the root's space; its words in *err. */
static int run(uint32_t kind, const char *key, const char *value, strata_error *err)
{
    struct contract_op o;
    contract_op_init(&c, &o, kind, 0, strata_str(key));
    o.op.value = value != NULL ? strata__value_copy(NULL, value, strlen(value)) : NULL;
    o.op.meta = contract_meta(&c, 3600000);
    contract_submit(&c, &o, 1);
    int status = o.op.status;
    *err = o.err;
    strata_value_unref(o.op.value);
    contract_op_deinit(&o);
    return status;
}

static void put(const char *key)
{
    strata_error err;
    assert_int_equal(run(STRATA_OP_PUT, key, "value", &err), STRATA_OK);
}

static int there(const char *key)
{
    strata_error err = STRATA_ERROR_INIT;
    int status = run(STRATA_OP_GET, key, NULL, &err);
    if (status < 0)
        fail_msg("%s: %s", key, err.message);
    return status == STRATA_OK;
}

/* The storage key of the root's space is four zeros and the key. */
static strata_slice stored_key(const char *key)
{
    static char room[64];
    size_t prefix = strlen(options.prefix), size = strlen(key);
    memcpy(room, options.prefix, prefix);
    memset(room + prefix, 0, 4);
    memcpy(room + prefix + 4, key, size);
    return strata_bytes(room, prefix + 4 + size);
}

/* "APPEND", key, text: behind the layer's back. */
static void act(const char *command, const char *key, const char *text)
{
    const strata_slice words[] = { strata_str(command), stored_key(key), strata_str(text) };
    struct redis_answer got = { 0 };
    struct redis_request request = {
        .args = words, .arg_count = 3, .timeout_ms = 60000, .done = redis_ask_done, .owner = &got
    };
    strata__redis_call(other, &request);
    assert_int_equal(got.status, STRATA_OK);
    assert_int_equal(got.kind, REDIS_IS_INTEGER);
}

static int64_t ask(const char *command, const char *key)
{
    const char *words[] = { command, NULL };
    return redis_do_slice(other, words, stored_key(key)).integer;
}

static uint64_t foreign_count(void)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    c.layer->ops->stats(c.layer, &s);
    return s.foreign;
}

static void test_what_stands_there_is_prefix_and_key(void **state)
{
    (void)state;
    open_with("app:");
    put("k");
    assert_int_equal(ask("EXISTS", "k"), 1);
    assert_int_equal(redis_do(other, "DBSIZE").integer, 1 + LIFE_KEY);
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(c.layer->ops->ping(c.layer, &err), STRATA_OK);
}

static void test_foreign_values_are_misses_and_stay(void **state)
{
    (void)state;
    open_with("app:");
    put("damaged");
    act("APPEND", "damaged", "x");
    assert_false(there("damaged")); /* the sum says so */
    act("APPEND", "theirs", "{\"json\": true}");
    assert_false(there("theirs"));
    assert_int_equal(foreign_count(), 2);
    assert_int_equal(ask("EXISTS", "damaged"), 1);
    assert_int_equal(ask("EXISTS", "theirs"), 1);
    put("theirs"); /* what this cache stores is stored */
    assert_true(there("theirs"));
}

/* `words` are the server's, `advice` ours. */
static void expect_refused(uint32_t kind, const char *key, int status, const char *words, const char *advice)
{
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(run(kind, key, kind == STRATA_OP_PUT ? "value" : NULL, &err), status);
    assert_int_equal(err.status, status);
    if (strstr(err.message, words) == NULL || strstr(err.message, advice) == NULL)
        fail_msg("\"%s\" does not say \"%s\" and \"%s\"", err.message, words, advice);
}

static void test_refusals_are_errors_never_misses(void **state)
{
    (void)state;
    open_with("app:");
    put("k");
    act("LPUSH", "list", "x");
    expect_refused(STRATA_OP_GET, "list", STRATA_ELAYER, "WRONGTYPE", "prefix");
    assert_int_equal(ask("DEL", "list"), 1); /* it stood there yet */

    assert_int_equal(redis_do(other, "CONFIG", "SET", "maxmemory", "1").kind, REDIS_IS_STATUS);
    expect_refused(STRATA_OP_PUT, "k", STRATA_ELAYER, "OOM", "maxmemory");
    assert_true(there("k"));
    assert_int_equal(redis_do(other, "CONFIG", "SET", "maxmemory", "0").kind, REDIS_IS_STATUS);

    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)redis_server_free_port());
    assert_int_equal(redis_do(other, "REPLICAOF", "127.0.0.1", port).kind, REDIS_IS_STATUS);
    expect_refused(STRATA_OP_PUT, "k", STRATA_ELAYER, "READONLY", "primary");
    expect_refused(STRATA_OP_REMOVE, "k", STRATA_ELAYER, "READONLY", "primary");
    strata_error err = STRATA_ERROR_INIT;
    const strata_clear_op what = { .size = sizeof what, .all = 1, .life = 1, .position = 1 };
    assert_int_equal(c.layer->ops->clear(c.layer, &what, &err), STRATA_ELAYER);
    assert_non_null(strstr(err.message, "UNLINK was refused: \"READONLY"));
    assert_int_equal(redis_do(other, "REPLICAOF", "NO", "ONE").kind, REDIS_IS_STATUS);
    put("k");
}

static void test_times_to_live_are_the_servers(void **state)
{
    (void)state;
    open_with("app:");
    int64_t now = atomic_load(&c.host.now_ms);
    strata_meta meta = contract_meta(&c, 60000);
    assert_int_equal(contract_put(&c, 0, strata_str("timed"), strata_str("v"), &meta, now + 600000), STRATA_OK);
    assert_in_range(ask("PTTL", "timed"), 1, 600000);
    assert_int_equal(contract_put(&c, 0, strata_str("timed"), strata_str("v"), &meta, STRATA_FOREVER), STRATA_OK);
    assert_int_equal(ask("PTTL", "timed"), -1);
    assert_int_equal(contract_put(&c, 0, strata_str("long"), strata_str("v"), &meta, INT64_MAX - 1), STRATA_OK);
    assert_int_equal(ask("PTTL", "long"), -1);
    assert_int_equal(contract_put(&c, 0, strata_str("timed"), strata_str("v"), &meta, now), STRATA_OK);
    assert_false(there("timed")); /* over already: what it replaces is gone */
}

static void test_too_large_passes_through(void **state)
{
    (void)state;
    strata_error err;
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    options.max_value_bytes = 5;
    open_with("app:");
    assert_int_equal(run(STRATA_OP_PUT, "k", "123456", &err), STRATA_AGAIN);
    assert_int_equal(run(STRATA_OP_PUT, "k", "12345", &err), STRATA_OK);
    c.layer->ops->stats(c.layer, &s);
    assert_int_equal(s.rejections, 1);
}

static void test_clear_leaves_strangers_alone(void **state)
{
    (void)state;
    static const char *const prefixes[] = { "*", "a?b", "[abc]", "[^a]", "\\", "a*b[?]-\\" };
    static const char *const strangers[] = { "a", "b", "abc", "axb", "axbxx-x", "a*b?-", "^", "]", "a*b[?]-" };
    enum { STRANGERS = sizeof strangers / sizeof strangers[0] };
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        assert_int_equal(redis_do(other, "FLUSHALL").status, STRATA_OK);
        for (size_t k = 0; k < STRANGERS; k++)
            redis_do(other, "SET", strangers[k], "theirs");
        open_with(prefixes[i]);
        put("one");
        put("two*");
        assert_int_equal(redis_do(other, "DBSIZE").integer, STRANGERS + 2 + LIFE_KEY);
        assert_int_equal(contract_clear(&c, 0, 1), STRATA_OK);
        assert_false(there("one"));
        assert_int_equal(redis_do(other, "DBSIZE").integer, STRANGERS + LIFE_KEY);
        if (i + 1 < sizeof prefixes / sizeof prefixes[0])
            contract_close(&c);
    }
}

static void nothing(struct redis_request *request) { (void)request; }

/* A key of the other connection of two than the one that clears. */
static const char *key_elsewhere(void)
{
    static char key[16];
    char stored[20] = { 0 };
    for (int i = 0;; i++) {
        size_t size = (size_t)snprintf(key, sizeof key, "key:%d", i);
        memcpy(stored + 4, key, size);
        if (strata__mix64(strata__hash(stored, 4 + size, 0)) >> 63 != strata__mix64(0) >> 63)
            return key;
    }
}

/* A put that timed out is still waiting to be carried out on a connection that something else keeps busy. */
static void test_clear_overtakes_no_put(void **state)
{
    (void)state;
    strata_error err = STRATA_ERROR_INIT;
    const strata_clear_op all = { .size = sizeof all, .all = 1, .life = 1, .position = 1 };
    const strata_slice block[] = { strata_str("BLPOP"), strata_str("gate"), strata_str("0") };
    options.connections = 2;
    open_with("app:");
    struct redis_layer *r = (struct redis_layer *)(void *)c.layer;
    r->options.timeout_ms = 50;
    const char *key = key_elsewhere();
    strata_slice stored = stored_key(key);
    struct redis_request gate = { .args = block, .arg_count = 3, .timeout_ms = 3600000, .done = nothing };
    gate.affinity = strata__hash((const char *)stored.data + 4, stored.size - 4, 0);
    struct redis_request *gates = &gate;
    strata__redis_submit(r->link, &gates, 1);
    assert_int_equal(run(STRATA_OP_PUT, key, "late", &err), STRATA_ETIMEDOUT);
    assert_int_equal(c.layer->ops->clear(c.layer, &all, &err), STRATA_ETIMEDOUT);
    redis_do(other, "LPUSH", "gate", "open");
    r->options.timeout_ms = 60000;
    assert_int_equal(c.layer->ops->clear(c.layer, &all, &err), STRATA_OK);
    assert_false(there(key));
}

static int count_key(uint32_t space, strata_slice key, void *ctx)
{
    assert_int_equal(space, 0);
    if (key.size == 4 + 8 && memcmp(key.data, "\0\0\0\0", 4) == 0)
        ++*(size_t *)ctx;
    return 0;
}

/* More than a page, so that cursors matter. */
static void test_many_keys(void **state)
{
    (void)state;
    enum { MANY = 3000 };
    size_t seen = 0;
    strata_error err = STRATA_ERROR_INIT;
    options.scan_count = 100;
    open_with("app:");
    redis_do(other, "SET", "stranger", "theirs");
    for (size_t i = 0; i < MANY; i++) {
        char key[16];
        snprintf(key, sizeof key, "key:%04zu", i);
        put(key);
    }
    assert_int_equal(c.layer->ops->keys(c.layer, count_key, &seen, &err), STRATA_OK);
    assert_in_range(seen, MANY, 2 * MANY); /* one may come twice */
    assert_int_equal(contract_clear(&c, 0, 1), STRATA_OK);
    assert_int_equal(redis_do(other, "DBSIZE").integer, 1 + LIFE_KEY);
}

static void test_without_a_prefix_clear_asks_for_permission(void **state)
{
    (void)state;
    strata_error err = STRATA_ERROR_INIT;
    const strata_clear_op all = { .size = sizeof all, .all = 1, .life = 1, .position = 1 };
    open_with("");
    put("k");
    redis_do(other, "SET", "stranger", "theirs");
    assert_int_equal(c.layer->ops->clear(c.layer, &all, &err), STRATA_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "allow_clear_all"));
    assert_int_equal(ask("EXISTS", "k"), 1);
    assert_false(there("k")); /* not for this cache */
    put("k");
    assert_true(there("k"));
    assert_int_equal(contract_clear(&c, 0, 0), STRATA_OK); /* a namespace has a prefix of its own */
    assert_false(there("k"));
    assert_int_equal(redis_do(other, "DBSIZE").integer, 1 + LIFE_KEY);
    contract_close(&c);
    options.allow_clear_all = STRATA_ON;
    open_with("");
    assert_int_equal(c.layer->ops->clear(c.layer, &all, &err), STRATA_OK);
    assert_int_equal(redis_do(other, "DBSIZE").integer, LIFE_KEY);
}

static void test_what_is_left_of_a_reads_time(void **state)
{
    static const struct {
        int64_t soft_ms, asked_ms, now_ms, left_ms;
    } cases[] = {
        { 250, 1000, 1000, 250 }, { 250, 1000, 1001, 249 }, { 250, 1000, 1249, 1 },   { 250, 1000, 1250, 0 },
        { 250, 1000, 99999, 0 },  { 250, 0, 99999, 250 },   { 250, 1001, 1000, 250 }, { 1, 5, 5, 1 },
        { 1, 5, 6, 0 },           { 250, -100, 149, 1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (redis_left_ms(cases[i].soft_ms, cases[i].asked_ms, cases[i].now_ms) != cases[i].left_ms)
            fail_msg("case %zu", i);
}

/* Operations of reads that have used up their time on this layer: no question goes out, and each is answered so. */
static void test_reads_that_are_late_ask_nothing(void **state)
{
    (void)state;
    static const uint32_t kinds[][2] = { { STRATA_OP_GET, 0 },
                                         { STRATA_OP_LEASE, 0 },
                                         { STRATA_OP_GET, STRATA_OP_GET },
                                         { STRATA_OP_LEASE, STRATA_OP_LEASE } };
    open_with("app:");
    put("k");
    struct redis_layer *r = (struct redis_layer *)(void *)c.layer;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct contract_op o[2];
        struct redis_link_counts before, after;
        size_t count = kinds[i][1] != 0 ? 2 : 1;
        for (size_t j = 0; j < count; j++) {
            contract_op_init(&c, &o[j], kinds[i][j], 0, strata_str("k"));
            o[j].op.now_ms = strata_host_now_ms(r->host);
            o[j].op.asked_ms = o[j].op.now_ms - r->options.soft_timeout_ms;
        }
        strata__redis_counts(r->link, &before);
        contract_submit(&c, o, count);
        strata__redis_counts(r->link, &after);
        assert_int_equal(after.requests, before.requests);
        for (size_t j = 0; j < count; j++) {
            assert_int_equal(o[j].op.status, STRATA_ETIMEDOUT);
            assert_non_null(strstr(o[j].err.message, "soft_timeout_ms=60000"));
            contract_op_deinit(&o[j]);
        }
    }
    assert_true(there("k"));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(test_what_stands_there_is_prefix_and_key),
        CASE(test_foreign_values_are_misses_and_stay),
        CASE(test_refusals_are_errors_never_misses),
        CASE(test_times_to_live_are_the_servers),
        CASE(test_too_large_passes_through),
        CASE(test_clear_leaves_strangers_alone),
        CASE(test_clear_overtakes_no_put),
        CASE(test_many_keys),
        CASE(test_what_is_left_of_a_reads_time),
        CASE(test_reads_that_are_late_ask_nothing),
        CASE(test_without_a_prefix_clear_asks_for_permission),
    };
    redis_server_start(&server, NULL);
    other = redis_do_open(&server);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    strata__redis_close(other);
    redis_server_stop(&server);
    return failed;
}
