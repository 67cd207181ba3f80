/* contract_cache.c - what a cache must do whatever its layers are: the same cases over the layer alone, and over the layer
 * with a small memory layer in front of it. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "tests/contract/contract.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/open_alone.h"

static const struct contract_subject *subject;
static int with_memory; /* in front of the subject */
static strata *cache;
static strata_error err;

static int open_with(const strata_allocator *mem)
{
    const strata_memory_options small = { STRATA_SIZED(strata_memory_options), .max_bytes = 8u << 20, .name = "front" };
    strata_layer *layers[2];
    size_t count = 0;
    if (with_memory)
        layers[count++] = strata_memory_layer(&small);
    layers[count++] = subject->make();
    const strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = count,
                                     .allocator = mem, .workers = 2 };
    return open_alone(&cache, &options, &err);
}

static int open_cache(void **state)
{
    (void)state;
    return open_with(NULL);
}

static int close_cache(void **state)
{
    (void)state;
    int rc = strata_close(cache);
    cache = NULL;
    return rc;
}

static strata_slice number_key(char room[32], size_t n)
{
    return strata_bytes(room, (size_t)snprintf(room, 32, "key:%zu", n));
}

/* What the key of `in` holds is `text`; NULL: it is a miss. */
static void expect_text(strata *in, const char *key, const char *text)
{
    strata_value *v = NULL;
    int status = strata_get(in, strata_str(key), &v, &err);
    assert_int_equal(status, text != NULL ? STRATA_OK : STRATA_MISS);
    if (text != NULL) {
        assert_int_equal(strata_value_size(v), strlen(text));
        assert_memory_equal(strata_value_data(v), text, strlen(text));
    }
    strata_value_unref(v);
}

static void set_text(strata *in, const char *key, const char *text)
{
    assert_int_equal(strata_set(in, strata_str(key), strata_str(text), NULL, &err), STRATA_OK);
}

static void case_set_get_delete(void **state)
{
    (void)state;
    expect_text(cache, "a", NULL);
    assert_int_equal(strata_has(cache, strata_str("a"), &err), 0);
    set_text(cache, "a", "one");
    expect_text(cache, "a", "one");
    assert_int_equal(strata_has(cache, strata_str("a"), &err), 1);
    set_text(cache, "a", "a longer one");
    expect_text(cache, "a", "a longer one");
    int64_t ttl_ms = -1;
    assert_int_equal(strata_ttl(cache, strata_str("a"), &ttl_ms, &err), STRATA_OK);
    assert_in_range(ttl_ms, 3500000, 3600000);
    strata_inspection seen = { .size = sizeof seen };
    assert_int_equal(strata_inspect(cache, strata_str("a"), &seen, &err), STRATA_OK);
    assert_int_equal(seen.state, STRATA_STATE_FRESH);
    assert_int_equal(seen.value_bytes, 12);
    assert_int_equal(seen.layers, with_memory ? 3 : 1);
    assert_int_equal(strata_delete(cache, strata_str("a"), &err), STRATA_OK);
    expect_text(cache, "a", NULL);
    assert_int_equal(strata_delete(cache, strata_str("a"), &err), STRATA_OK);
}

static int count_load(strata_load *load, strata_slice key, void *ctx)
{
    ++*(int *)ctx;
    return strata_load_copy(load, key.data, key.size);
}

static void case_load_once(void **state)
{
    (void)state;
    int loads = 0;
    for (int i = 0; i < 3; i++) {
        strata_value *v = NULL;
        assert_int_equal(strata_get_or_load(cache, strata_str("k"), count_load, &loads, NULL, &v, &err), STRATA_OK);
        assert_int_equal(strata_value_size(v), 1);
        assert_memory_equal(strata_value_data(v), "k", 1);
        strata_value_unref(v);
    }
    assert_int_equal(loads, 1);
    assert_int_equal(strata_delete(cache, strata_str("k"), &err), STRATA_OK);
    strata_value *v = NULL;
    assert_int_equal(strata_get_or_load(cache, strata_str("k"), count_load, &loads, NULL, &v, &err), STRATA_OK);
    strata_value_unref(v);
    assert_int_equal(loads, 2);
}

static int load_nothing(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    ++*(int *)ctx;
    return strata_load_absent(load);
}

static int load_badly(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    ++*(int *)ctx;
    return strata_load_fail(load, STRATA_EIO, "the origin is on fire");
}

static void case_absent_and_failed(void **state)
{
    (void)state;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .negative_ttl_ms = 3600000 };
    strata_value *v = NULL;
    int loads = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(strata_get_or_load(cache, strata_str("none"), load_nothing, &loads, &policy, &v, &err),
                         STRATA_ABSENT);
        assert_null(v);
    }
    assert_int_equal(loads, 1);
    assert_int_equal(strata_get(cache, strata_str("none"), &v, &err), STRATA_ABSENT);
    assert_int_equal(strata_has(cache, strata_str("none"), &err), 0);
    set_text(cache, "none", "some");
    expect_text(cache, "none", "some");
    loads = 0;
    assert_int_equal(strata_get_or_load(cache, strata_str("bad"), load_badly, &loads, NULL, &v, &err), STRATA_EIO);
    assert_null(v);
    assert_non_null(strstr(err.message, "on fire"));
    assert_int_equal(loads, 1);
    expect_text(cache, "bad", NULL);
}

static void case_expire(void **state)
{
    (void)state;
    const strata_policy policy = { STRATA_SIZED(strata_policy), .stale_if_error_ms = 3600000, .retry_ms = STRATA_OFF };
    strata_value *v = NULL;
    int loads = 0;
    assert_int_equal(strata_expire(cache, strata_str("k"), &err), STRATA_MISS);
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("old"), &policy, &err), STRATA_OK);
    assert_int_equal(strata_expire(cache, strata_str("k"), &err), STRATA_OK);
    expect_text(cache, "k", NULL);
    assert_int_equal(strata_get_or_load(cache, strata_str("k"), load_badly, &loads, &policy, &v, &err), STRATA_STALE);
    assert_memory_equal(strata_value_data(v), "old", 3);
    strata_value_unref(v);
    assert_int_equal(strata_get_or_load(cache, strata_str("k"), count_load, &loads, &policy, &v, &err), STRATA_OK);
    assert_memory_equal(strata_value_data(v), "k", 1);
    strata_value_unref(v);
    assert_int_equal(loads, 2);
    expect_text(cache, "k", "k");
}

static void case_values_of_every_size(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 7, 8, 100, 4096, 16384, 16385, 100001, 1u << 20 };
    enum { N = sizeof sizes / sizeof sizes[0] };
    unsigned char *bytes = malloc(1u << 20);
    char room[32];
    assert_non_null(bytes);
    for (size_t i = 0; i < N; i++) {
        contract_fill(bytes, sizes[i], i);
        assert_int_equal(strata_set(cache, number_key(room, i), strata_bytes(bytes, sizes[i]), NULL, &err), STRATA_OK);
    }
    free(bytes);
    for (size_t i = 0; i < N; i++) {
        strata_value *v = NULL;
        assert_int_equal(strata_get(cache, number_key(room, i), &v, &err), STRATA_OK);
        assert_int_equal(strata_value_size(v), sizes[i]);
        assert_true(contract_is_filled(strata_value_data(v), sizes[i], i));
        strata_value_unref(v);
    }
}

/* Keys of every length, of zeros but for the last byte: one is the beginning of the next. */
static void case_many_binary_keys(void **state)
{
    (void)state;
    enum { LONGEST = 1024, MANY = 200 };
    static unsigned char keys[MANY][LONGEST];
    static strata_item items[MANY];
    memset(keys, 0, sizeof keys);
    for (size_t i = 0; i < MANY; i++) {
        size_t size = i < 50 ? i + 1 : i * 5 + 29 - 5; /* the last has 1,019 bytes */
        keys[i][size - 1] = 1;
        items[i] = (strata_item){ .key = strata_bytes(keys[i], size), .set = strata_bytes(&keys[i][size - 1], 1) };
    }
    items[MANY - 1].key = strata_bytes(keys[MANY - 1], LONGEST);
    assert_int_equal(strata_get_many(cache, items, MANY, &err), STRATA_OK);
    for (size_t i = 0; i < MANY; i++)
        assert_int_equal(items[i].status, STRATA_MISS);
    assert_int_equal(strata_set_many(cache, items, MANY, NULL, &err), STRATA_OK);
    assert_int_equal(strata_get_many(cache, items, MANY, &err), STRATA_OK);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(items[i].status, STRATA_OK);
        assert_int_equal(strata_value_size(items[i].value), 1);
        strata_value_unref(items[i].value);
    }
    assert_int_equal(strata_delete_many(cache, items, MANY / 2, &err), STRATA_OK);
    assert_int_equal(strata_get_many(cache, items, MANY, &err), STRATA_OK);
    for (size_t i = 0; i < MANY; i++) {
        assert_int_equal(items[i].status, i < MANY / 2 ? STRATA_MISS : STRATA_OK);
        strata_value_unref(items[i].value);
    }
    assert_int_equal(strata_get(cache, strata_str(""), &items[0].value, &err), STRATA_EKEYSIZE);
}

static int load_many(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    *(size_t *)ctx += count;
    for (size_t i = count; i-- > 0;)
        strata_load_copy(loads[i], keys[i].data, keys[i].size);
    return STRATA_OK;
}

static void case_load_many(void **state)
{
    (void)state;
    enum { MANY = 60 };
    char rooms[MANY][32];
    strata_item items[MANY];
    size_t loaded = 0;
    set_text(cache, "key:7", "seven");
    memset(items, 0, sizeof items);
    for (size_t i = 0; i < MANY; i++)
        items[i].key = number_key(rooms[i], i % 50); /* ten stand there twice */
    for (int round = 0; round < 2; round++) {
        assert_int_equal(strata_get_or_load_many(cache, items, MANY, load_many, &loaded, NULL, &err), STRATA_OK);
        for (size_t i = 0; i < MANY; i++) {
            assert_int_equal(items[i].status, STRATA_OK);
            if (i % 50 == 7)
                assert_memory_equal(strata_value_data(items[i].value), "seven", 5);
            else
                assert_memory_equal(strata_value_data(items[i].value), items[i].key.data, items[i].key.size);
            strata_value_unref(items[i].value);
        }
        assert_int_equal(loaded, 49);
    }
}

static void case_namespaces_and_clear(void **state)
{
    (void)state;
    strata *one = NULL, *two = NULL, *inner = NULL;
    assert_int_equal(strata_namespace(cache, "one", NULL, &one, &err), STRATA_OK);
    assert_int_equal(strata_namespace(cache, "two", NULL, &two, &err), STRATA_OK);
    assert_int_equal(strata_namespace(one, "inner", NULL, &inner, &err), STRATA_OK);
    set_text(cache, "k", "root");
    set_text(one, "k", "one");
    set_text(two, "k", "two");
    set_text(inner, "k", "inner");
    expect_text(cache, "k", "root");
    expect_text(one, "k", "one");
    expect_text(two, "k", "two");
    expect_text(inner, "k", "inner");
    assert_int_equal(strata_delete(one, strata_str("k"), &err), STRATA_OK);
    expect_text(one, "k", NULL);
    expect_text(inner, "k", "inner");
    set_text(one, "k", "again");
    assert_int_equal(strata_clear(one, &err), STRATA_OK); /* and those below it */
    expect_text(one, "k", NULL);
    expect_text(inner, "k", NULL);
    expect_text(two, "k", "two");
    expect_text(cache, "k", "root");
    set_text(one, "k", "new");
    expect_text(one, "k", "new");
    assert_int_equal(strata_clear(cache, &err), STRATA_OK);
    expect_text(cache, "k", NULL);
    expect_text(one, "k", NULL);
    expect_text(two, "k", NULL);
    strata_close(inner);
    strata_close(two);
    strata_close(one);
}

struct finished {
    int status;
    int calls;
    strata_value *value;
};

static void finish(int status, strata_value *value, const strata_error *error, void *ctx)
{
    struct finished *f = ctx;
    (void)error;
    f->status = status;
    f->value = value;
    f->calls++;
}

static int wait_for(strata_queue *queue, struct finished *f)
{
    while (f->calls == 0) {
        strata_queue_wait(queue, -1);
        strata_queue_run(queue, 0);
    }
    return f->status;
}

static void case_asynchronous(void **state)
{
    (void)state;
    strata_queue *queue = NULL;
    int loads = 0;
    assert_int_equal(strata_queue_open(&queue, &err), STRATA_OK);
    struct finished f = { 0 };
    assert_int_equal(strata_set_async(cache, strata_str("k"), strata_str("v"), NULL, queue, finish, &f, &err),
                     STRATA_PENDING);
    assert_int_equal(wait_for(queue, &f), STRATA_OK);
    f = (struct finished){ 0 };
    assert_int_equal(strata_get_async(cache, strata_str("k"), queue, finish, &f, &err), STRATA_PENDING);
    assert_int_equal(f.calls, 0); /* never before it is asked for */
    assert_int_equal(wait_for(queue, &f), STRATA_OK);
    assert_memory_equal(strata_value_data(f.value), "v", 1);
    strata_value_unref(f.value);
    f = (struct finished){ 0 };
    assert_int_equal(strata_delete_async(cache, strata_str("k"), queue, finish, &f, &err), STRATA_PENDING);
    assert_int_equal(wait_for(queue, &f), STRATA_OK);
    expect_text(cache, "k", NULL);
    struct finished many[20] = { { 0 } };
    for (int i = 0; i < 20; i++)
        assert_int_equal(strata_get_or_load_async(cache, strata_str("cold"), count_load, &loads, NULL, queue, finish,
                                                  &many[i], &err),
                         STRATA_PENDING);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(wait_for(queue, &many[i]), STRATA_OK);
        assert_int_equal(many[i].calls, 1);
        assert_memory_equal(strata_value_data(many[i].value), "cold", 4);
        strata_value_unref(many[i].value);
    }
    assert_int_equal(loads, 1);
    strata_queue_close(queue);
}

static void case_values_outlive_the_cache(void **state)
{
    (void)state;
    strata_value *v[40];
    char room[32];
    for (size_t i = 0; i < 40; i++) {
        unsigned char bytes[1000];
        contract_fill(bytes, sizeof bytes, i);
        assert_int_equal(strata_set(cache, number_key(room, i), strata_bytes(bytes, sizeof bytes), NULL, &err),
                         STRATA_OK);
        assert_int_equal(strata_get(cache, number_key(room, i), &v[i], &err), STRATA_OK);
    }
    assert_int_equal(strata_clear(cache, &err), STRATA_OK);
    assert_int_equal(strata_close(cache), STRATA_OK);
    cache = NULL;
    for (size_t i = 0; i < 40; i++) {
        assert_true(contract_is_filled(strata_value_data(v[i]), 1000, i));
        strata_value_unref(v[i]);
    }
}

struct worker {
    pthread_t thread;
    uint64_t chance;
    const char *wrong;
};

/* The bytes of a value come from the number of its key. */
static int load_described(strata_load *load, strata_slice key, void *ctx)
{
    unsigned char bytes[500];
    size_t number = 0;
    (void)ctx;
    char text[32]; /* a key is bytes without an end mark */
    snprintf(text, sizeof text, "%.*s", (int)key.size, (const char *)key.data);
    sscanf(text, "key:%zu", &number);
    contract_fill(bytes, sizeof bytes, number);
    return strata_load_copy(load, bytes, sizeof bytes);
}

static void *work(void *ctx)
{
    struct worker *w = ctx;
    for (size_t i = 0; i < subject->rounds / 4 && w->wrong == NULL; i++) {
        char room[32];
        unsigned char bytes[500];
        strata_value *v = NULL;
        strata_error e;
        w->chance = w->chance * 6364136223846793005u + 1442695040888963407u;
        uint64_t r = w->chance >> 20;
        strata_slice key = number_key(room, r % 30);
        int status = STRATA_OK;
        contract_fill(bytes, sizeof bytes, r % 30);
        switch (r / 64 % 8) {
        case 0: status = strata_set(cache, key, strata_bytes(bytes, sizeof bytes), NULL, &e); break;
        case 1: status = strata_delete(cache, key, &e); break;
        case 2: status = strata_get(cache, key, &v, &e); break;
        case 3: status = r % 17 == 0 ? strata_clear(cache, &e) : strata_expire(cache, key, &e); break;
        default:
            status = strata_get_or_load(cache, key, load_described, NULL, NULL, &v, &e);
            if (status != STRATA_OK)
                w->wrong = "get_or_load did not give a value";
        }
        if (status < 0)
            w->wrong = "a call failed";
        if (v != NULL && (strata_value_size(v) != 500 || !contract_is_filled(strata_value_data(v), 500, r % 30)))
            w->wrong = "a value is torn, or another key's";
        strata_value_unref(v);
    }
    return NULL;
}

static void case_four_threads(void **state)
{
    (void)state;
    struct worker w[4];
    for (uint64_t i = 0; i < 4; i++) {
        w[i] = (struct worker){ .chance = i + 1 };
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(w[i].thread, NULL);
    for (int i = 0; i < 4; i++)
        if (w[i].wrong != NULL)
            fail_msg("thread %d: %s", i, w[i].wrong);
}

/* One life of a cache whose n-th allocation fails: each call does it or says ENOMEM, and nothing is lost.  A layer below
 * that could not store or find for want of memory is a layer's failure, in the words of the caller's status. */
static int allowed(int status) { return status >= 0 || status == STRATA_ENOMEM || status == STRATA_ELAYER; }

static void live_with(struct fail_alloc *a)
{
    int loads = 0;
    strata *space = NULL;
    strata_value *v = NULL;
    if (open_with(&a->mem) != STRATA_OK) {
        assert_null(cache);
        assert_int_equal(err.status, STRATA_ENOMEM);
        return;
    }
    assert_true(allowed(strata_set(cache, strata_str("a"), strata_str("1"), NULL, &err)));
    int status = strata_get(cache, strata_str("a"), &v, &err);
    assert_true(allowed(status));
    if (status == STRATA_OK)
        assert_memory_equal(strata_value_data(v), "1", 1);
    strata_value_unref(v);
    status = strata_get_or_load(cache, strata_str("b"), count_load, &loads, NULL, &v, &err);
    assert_true(allowed(status));
    if (status == STRATA_OK)
        assert_memory_equal(strata_value_data(v), "b", 1);
    else
        assert_null(v);
    strata_value_unref(v);
    strata_item items[3] = { { .key = strata_str("a") }, { .key = strata_str("c") }, { .key = strata_str("d") } };
    size_t loaded = 0;
    assert_true(allowed(strata_get_or_load_many(cache, items, 3, load_many, &loaded, NULL, &err)));
    for (int i = 0; i < 3; i++) {
        assert_true(allowed(items[i].status));
        strata_value_unref(items[i].value);
    }
    status = strata_namespace(cache, "space", NULL, &space, &err);
    assert_true(allowed(status));
    if (status == STRATA_OK) {
        assert_true(allowed(strata_set(space, strata_str("a"), strata_str("1"), NULL, &err)));
        assert_true(allowed(strata_clear(space, &err)));
        strata_close(space);
    }
    assert_true(allowed(strata_expire(cache, strata_str("a"), &err)));
    assert_true(allowed(strata_delete(cache, strata_str("a"), &err)));
    status = strata_close(cache); /* pending: a server was to be told of a delete, and there was no memory to do so */
    assert_true(status == STRATA_OK || status == STRATA_PENDING);
    cache = NULL;
}

static void case_the_nth_allocation_fails(void **state)
{
    (void)state;
    struct fail_alloc a;
    long n = 0;
    do {
        fail_alloc_init(&a, ++n);
        live_with(&a);
        if (a.live != 0)
            fail_msg("allocation %ld failed, and then %ld blocks were lost", n, (long)a.live);
    } while (a.failed);
}

#define CASE(name) \
    { \
#name, case_##name, open_cache, close_cache, NULL \
    }

int contract_run_cache(const struct contract_subject *s)
{
    const struct CMUnitTest tests[] = {
        CASE(set_get_delete),
        CASE(load_once),
        CASE(absent_and_failed),
        CASE(expire),
        CASE(values_of_every_size),
        CASE(many_binary_keys),
        CASE(load_many),
        CASE(namespaces_and_clear),
        CASE(asynchronous),
        CASE(values_outlive_the_cache),
        CASE(four_threads),
        { "the_nth_allocation_fails", case_the_nth_allocation_fails, NULL, NULL, NULL },
    };
    char name[64];
    int failed = 0;
    subject = s;
    for (with_memory = 0; with_memory < 2; with_memory++) {
        snprintf(name, sizeof name, "a cache of %s%s", with_memory ? "memory | " : "", s->name);
        failed += cmocka_run_group_tests_name(name, tests, NULL, NULL) + contract_run_tagged_cache(s, with_memory) +
                  contract_run_admit(s, with_memory);
    }
    return failed;
}
