/* test_bulk_quick.c - many keys in memory, looked for a group at a time: nobody can tell that from a row of single gets, but by the
 * time it takes. */
#include <pthread.h>

#include "src/base/hash.h"
#include "src/core/bulk_quick.h"
#include "src/layer/value_impl.h"
#include "src/os/reclaim.h"
#include "tests/unit/core_fixture.h"

enum { POOL = 40, MOST = 1000, TEXT = 80 };

static strata_slice number_key(char room[TEXT], int number)
{
    return strata_bytes(room, (size_t)snprintf(room, TEXT, "a key of number %d", number));
}

static void fill(strata *cache, int count)
{
    char room[TEXT], value[TEXT];
    for (int i = 0; i < count; i++) {
        size_t size = (size_t)snprintf(value, sizeof value, "value %d", i);
        strata_slice key = number_key(room, i);
        assert_int_equal(strata_set(cache, key, strata_bytes(value, size), NULL, NULL), STRATA_OK);
    }
}

static uint64_t layer_hits(strata *cache)
{
    strata_layer_stats layer = { .size = sizeof layer };
    assert_int_equal(strata_stats_layer(cache, 0, &layer), STRATA_OK);
    return layer.hits;
}

static uint64_t layer_misses(strata *cache)
{
    strata_layer_stats layer = { .size = sizeof layer };
    assert_int_equal(strata_stats_layer(cache, 0, &layer), STRATA_OK);
    return layer.misses;
}

static void count_pin(uintptr_t address, void *ctx)
{
    (void)address;
    ++*(size_t *)ctx;
}

static size_t pins_out(void)
{
    size_t count = 0;
    strata__reclaim_each_pin(count_pin, &count);
    return count;
}

/* Beside single gets ---------------------------------------------------------------------------------------------- */

struct seen {
    uint64_t kinds[32];
    uint64_t keys; /* of hits and misses */
};

static void note_event(const strata_event *event, void *ctx)
{
    struct seen *seen = ctx;
    seen->kinds[__builtin_ctz(event->kind)]++;
    if (event->kind == STRATA_EVENT_HIT || event->kind == STRATA_EVENT_MISS)
        seen->keys += strata__hash(event->key.data, event->key.size, event->kind);
}

struct twins {
    struct stack one, many; /* asked one by one, and many at once */
    struct seen seen_one, seen_many;
    uint64_t id_one, id_many;
    uint64_t random;
    char keys[POOL][TEXT];
    size_t sizes[POOL];
    unsigned answers[8]; /* OK, MISS, STALE, ABSENT, errors */
};

static uint64_t draw(struct twins *t, uint64_t below)
{
    t->random += 0x9e3779b97f4a7c15u;
    return strata__mix64(t->random) % below;
}

static char far_too_long[1 << 20];

/* All lengths around those that are told apart. */
static void name_keys(struct twins *t)
{
    static const size_t sizes[] = { 1, 7, 8, 9, 15, 16, 17, 20, 24, 31, 32, 33, 48, 63, 64, 65, 79 };
    for (int i = 0; i < POOL; i++) {
        t->sizes[i] = sizes[(size_t)i % (sizeof sizes / sizeof sizes[0])];
        memset(t->keys[i], 'a' + i / 17, sizeof t->keys[i]);
        t->keys[i][t->sizes[i] / 2] = (char)('A' + i % 17);
    }
}

static strata_slice some_key(struct twins *t)
{
    uint64_t k = draw(t, POOL + (draw(t, 8) == 0 ? 3 : 0));
    if (k == POOL)
        return strata_bytes("", 0);
    if (k == POOL + 1)
        return strata_bytes(NULL, 20);
    if (k == POOL + 2)
        return strata_bytes(far_too_long, sizeof far_too_long);
    return strata_bytes(t->keys[k], t->sizes[k]);
}

#define BOTH(call_one, call_many) \
    do { \
        int rc_one_ = (call_one), rc_many_ = (call_many); \
        assert_int_equal(rc_one_, rc_many_); \
    } while (0)

static void change_something(struct twins *t)
{
    strata *a = t->one.cache, *b = t->many.cache;
    uint64_t k = draw(t, POOL);
    char value[TEXT];
    const strata_slice key = strata_bytes(t->keys[k], t->sizes[k]), tag = strata_str("tagged");
    const strata_slice text = strata_bytes(value, (size_t)snprintf(value, sizeof value, "%d", (int)draw(t, 1000000)));
    struct origin none = { .st = &t->one };
    strata_value *v, *w;
    switch (draw(t, 16)) {
    case 0: BOTH(strata_delete(a, key, NULL), strata_delete(b, key, NULL)); return;
    case 1: BOTH(strata_expire(a, key, NULL), strata_expire(b, key, NULL)); return;
    case 2:
        BOTH(strata_get_or_load(a, key, origin_loader, &none, NULL, &v, NULL),
             strata_get_or_load(b, key, origin_loader, &none, NULL, &w, NULL));
        strata_value_unref(v);
        strata_value_unref(w);
        return;
    case 3:
    case 4:
    case 5: {
        int64_t ms = (int64_t)draw(t, 400);
        pass(&t->one, ms);
        pass(&t->many, ms);
        return;
    }
    case 6: BOTH(strata_ban_tag(a, "tagged", 0, NULL), strata_ban_tag(b, "tagged", 0, NULL)); return;
    case 7:
        if (draw(t, 8) == 0)
            BOTH(strata_clear(a, NULL), strata_clear(b, NULL));
        return;
    case 8:
    case 9:
    case 10:
        BOTH(strata_set_tagged(a, key, text, &tag, 1, NULL, NULL), strata_set_tagged(b, key, text, &tag, 1, NULL, NULL));
        return;
    default: BOTH(strata_set(a, key, text, NULL, NULL), strata_set(b, key, text, NULL, NULL)); return;
    }
}

static void compare_value(const strata_value *a, const strata_value *b)
{
    assert_int_equal(a == NULL, b == NULL);
    assert_int_equal(strata_value_size(a), strata_value_size(b));
    if (a != NULL)
        assert_memory_equal(strata_value_data(a), strata_value_data(b), strata_value_size(a));
}

static void ask_both(struct twins *t)
{
    static const size_t counts[] = { 0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 65, 100, MOST };
    static strata_item items[MOST];
    size_t n = counts[draw(t, sizeof counts / sizeof counts[0] - (draw(t, 8) != 0))];
    int worst = STRATA_OK;
    strata_error err = STRATA_ERROR_INIT;
    for (size_t i = 0; i < n; i++) {
        items[i].key = some_key(t);
        items[i].value = (strata_value *)(uintptr_t)64; /* what stands there is nobody's */
        items[i].status = 77;
    }
    int rc = strata_get_many(t->many.cache, items, n, &err);
    for (size_t i = 0; i < n; i++) {
        strata_value *v;
        int status = strata_get(t->one.cache, items[i].key, &v, NULL);
        assert_int_equal(items[i].status, status);
        compare_value(v, items[i].value);
        strata_value_unref(v);
        worst = worst < 0 ? worst : status < 0 ? status : worst;
        t->answers[status < 0               ? 4
                   : status == STRATA_OK    ? 0
                   : status == STRATA_MISS  ? 1
                   : status == STRATA_STALE ? 2
                                            : 3]++;
    }
    for (size_t i = 0; i < n; i++)
        strata_value_unref(items[i].value);
    assert_int_equal(rc, worst);
    assert_int_equal(err.status, worst);
}

static void compare_counts(struct twins *t)
{
    strata_stats a = stats_of(t->one.cache), b = stats_of(t->many.cache);
    assert_int_equal(a.requests, b.requests);
    assert_int_equal(a.hits, b.hits);
    assert_int_equal(a.stale_serves, b.stale_serves);
    assert_int_equal(a.negative_hits, b.negative_hits);
    assert_int_equal(a.loads, b.loads);
    assert_int_equal(layer_hits(t->one.cache), layer_hits(t->many.cache));
    assert_int_equal(layer_misses(t->one.cache), layer_misses(t->many.cache));
    assert_memory_equal(&t->seen_one, &t->seen_many, sizeof t->seen_one);
}

static void listen(struct twins *t, int on)
{
    if (on && t->id_one == 0) {
        assert_int_equal(strata_on(t->one.cache, STRATA_EVENT_ALL, note_event, &t->seen_one, &t->id_one), STRATA_OK);
        assert_int_equal(strata_on(t->many.cache, STRATA_EVENT_ALL, note_event, &t->seen_many, &t->id_many), STRATA_OK);
    } else if (!on && t->id_one != 0) {
        strata_off(t->one.cache, t->id_one);
        strata_off(t->many.cache, t->id_many);
        t->id_one = t->id_many = 0;
    }
}

static void run_twins(uint64_t seed, const strata_policy *policy, int32_t eviction)
{
    struct twins t = { .random = seed };
    const struct stack_options o = { .policy = policy,
                                     .memory_entries = eviction != 0 ? 1000 : 0,
                                     .memory_policy = eviction };
    open_stack(&t.one, &o);
    open_stack(&t.many, &o);
    name_keys(&t);
    for (int step = 0; step < 400; step++) {
        if (draw(&t, 40) == 0)
            listen(&t, t.id_one == 0);
        for (uint64_t changes = draw(&t, 12); changes > 0; changes--)
            change_something(&t);
        ask_both(&t);
        compare_counts(&t);
    }
    for (size_t i = 0; i < 5; i++) /* it met all of them */
        assert_true(t.answers[i] > 0);
    assert_true(t.seen_many.keys != 0);
    close_stack(&t.one);
    close_stack(&t.many);
    assert_int_equal(pins_out(), 0);
}

static void test_like_single_gets(void **state)
{
    (void)state;
    const strata_policy p = {
        .size = sizeof p, .ttl_ms = 1000, .stale_while_revalidate_ms = 1000, .negative_ttl_ms = 1000
    };
    for (uint64_t seed = 1; seed <= 20; seed++)
        run_twins(seed, &p, 0);
}

/* Policies that hear of each hit, and namespaces that count the hits of each key, are asked key by key. */
static void test_like_single_gets_where_hits_are_heard_of(void **state)
{
    (void)state;
    strata_policy p = { .size = sizeof p, .ttl_ms = 1000, .stale_while_revalidate_ms = 1000, .negative_ttl_ms = 1000 };
    run_twins(21, &p, STRATA_EVICT_LRU);
    run_twins(22, &p, STRATA_EVICT_LFU);
    p.adaptive = STRATA_ON;
    run_twins(23, &p, 0);
}

/* Counts ------------------------------------------------------------------------------------------------------------ */

static void test_counts_are_exact(void **state)
{
    (void)state;
    static const int counts[] = { 0, 1, 15, 16, 17, 1000 };
    static char rooms[MOST][TEXT];
    static strata_item items[MOST];
    struct stack st;
    char text[TEXT];
    open_stack(&st, &(struct stack_options){ 0 });
    fill(st.cache, MOST);
    uint64_t asked = 0, found = 0;
    for (int round = 0; round < 200; round++) {
        int n = counts[round % 6], missing = 0;
        for (int i = 0; i < n; i++) {
            int absent = round % 5 == 4 && i % 3 == 1;
            items[i].key = number_key(rooms[i], (i + round) % MOST + (absent ? MOST : 0));
            missing += absent;
        }
        assert_int_equal(strata_get_many(st.cache, items, (size_t)n, NULL), STRATA_OK);
        asked += (uint64_t)n;
        found += (uint64_t)(n - missing);
        strata_stats s = stats_of(st.cache);
        assert_int_equal(s.requests, asked);
        assert_int_equal(s.hits, found);
        assert_int_equal(layer_hits(st.cache), found);
        assert_int_equal(layer_misses(st.cache), asked - found);
        assert_int_equal(pins_out(), (size_t)(n - missing)); /* all of them at once */
        for (int i = 0; i < n; i++) {
            snprintf(text, sizeof text, "value %d", (i + round) % MOST);
            if (items[i].status == STRATA_OK)
                assert_value(items[i].value, text);
            else
                assert_null(items[i].value);
        }
    }
    strata_layer_stats layer = { .size = sizeof layer };
    assert_int_equal(strata_stats_layer(st.cache, 0, &layer), STRATA_OK);
    /* Of each thousand one is timed, where it is found. */
    assert_in_range(layer.latency.count, asked / (HIT_SAMPLE_MASK + 1) / 2, asked / (HIT_SAMPLE_MASK + 1) + 1);
    close_stack(&st);
    assert_int_equal(pins_out(), 0);
}

/* The same key many times is as many references. */
static void test_the_same_key(void **state)
{
    (void)state;
    strata_item items[100];
    struct stack st;
    char room[TEXT];
    open_stack(&st, &(struct stack_options){ 0 });
    fill(st.cache, 3);
    for (int i = 0; i < 100; i++)
        items[i] = (strata_item){ .key = number_key(room, 2) };
    assert_int_equal(strata_get_many(st.cache, items, 100, NULL), STRATA_OK);
    assert_int_equal(strata_delete(st.cache, items[0].key, NULL), STRATA_OK);
    fill(st.cache, 3);
    for (int i = 0; i < 100; i++)
        assert_value(items[i].value, "value 2");
    close_stack(&st);
}

/* Loading ----------------------------------------------------------------------------------------------------------- */

struct bulk_origin {
    size_t calls, keys;
};

static int load_number(strata_load *load, strata_slice key, void *ctx)
{
    char text[TEXT];
    size_t skip = strlen("a key of number ");
    *(size_t *)ctx += 1;
    int size = snprintf(text, sizeof text, "loaded %.*s", (int)(key.size - skip), (const char *)key.data + skip);
    return strata_load_copy(load, text, (size_t)size);
}

static int load_numbers(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    struct bulk_origin *o = ctx;
    o->calls++;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(load_number(loads[i], keys[i], &o->keys), STRATA_OK);
    return STRATA_OK;
}

/* Every third is missing, wherever it stands in its group: those alone are loaded, in one call, and each by its own loader. */
static void test_loads_what_is_missing(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    static char rooms[COUNT][TEXT];
    for (int each = 0; each < 2; each++) {
        strata_item items[COUNT];
        strata_item_loader loaders[COUNT];
        size_t own[COUNT] = { 0 };
        struct bulk_origin o = { 0, 0 };
        struct stack st;
        char text[TEXT];
        open_stack(&st, &(struct stack_options){ 0 });
        fill(st.cache, COUNT);
        for (int i = 0; i < COUNT; i++) {
            items[i] = (strata_item){ .key = number_key(rooms[i], i) };
            loaders[i] = (strata_item_loader){ load_number, &own[i] };
            if (i % 3 == 0)
                assert_int_equal(strata_delete(st.cache, items[i].key, NULL), STRATA_OK);
        }
        int rc = each ? strata_get_or_load_each(st.cache, items, loaders, COUNT, NULL, NULL)
                      : strata_get_or_load_many(st.cache, items, COUNT, load_numbers, &o, NULL, NULL);
        assert_int_equal(rc, STRATA_OK);
        for (int i = 0; i < COUNT; i++) {
            snprintf(text, sizeof text, "%s %d", i % 3 == 0 ? "loaded" : "value", i);
            assert_value(items[i].value, text);
            assert_int_equal(own[i], each && i % 3 == 0);
        }
        assert_int_equal(o.calls, each ? 0 : 1);
        assert_int_equal(o.keys, each ? 0 : (COUNT + 2) / 3);
        strata_stats s = stats_of(st.cache);
        assert_int_equal(s.requests, COUNT);
        assert_int_equal(s.hits, COUNT - (COUNT + 2) / 3);
        assert_int_equal(s.loads, (COUNT + 2) / 3);
        close_stack(&st);
    }
}

/* Closing ----------------------------------------------------------------------------------------------------------- */

static void test_a_closed_cache(void **state)
{
    (void)state;
    static char rooms[40][TEXT];
    static const size_t counts[] = { 0, 1, 16, 40 };
    strata_item items[40];
    strata *space;
    struct stack st;
    strata_error err;
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_namespace(st.cache, "space", NULL, &space, NULL), STRATA_OK);
    fill(space, 40);
    for (int i = 0; i < 40; i++)
        items[i] = (strata_item){ .key = number_key(rooms[i], i) };
    assert_int_equal(strata_get_many(space, items, 40, NULL), STRATA_OK);
    for (int i = 0; i < 40; i++)
        strata_value_unref(items[i].value);
    close_stack(&st);
    for (size_t c = 0; c < 4; c++) {
        assert_int_equal(strata_get_many(space, items, counts[c], &err), STRATA_ECLOSED);
        assert_int_equal(err.status, STRATA_ECLOSED);
        for (size_t i = 0; i < counts[c]; i++) {
            assert_null(items[i].value);
            assert_int_equal(items[i].status, STRATA_ECLOSED);
        }
    }
    strata_close(space);
}

static size_t (*real_quick_many)(strata_layer *layer, strata_item *items, const uint64_t *hashes, size_t count,
                                 const strata_lines *lines, int64_t now_ms);
static struct root *closing;

/* Somebody closes the cache while the layer is looked into. */
static size_t quick_many_then_closing(strata_layer *layer, strata_item *items, const uint64_t *hashes, size_t count,
                                      const strata_lines *lines, int64_t now_ms)
{
    size_t found = real_quick_many(layer, items, hashes, count, lines, now_ms);
    if (found != count)
        atomic_store(&closing->state, ROOT_CLOSING);
    return found;
}

/* What was found before goes back, and all is counted as over: close waits for that. */
static void test_closed_in_the_middle(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    static char rooms[COUNT][TEXT];
    strata_item items[COUNT];
    strata_error err;
    struct stack st;
    open_stack(&st, &(struct stack_options){ 0 });
    fill(st.cache, COUNT);
    for (int i = 0; i < COUNT; i++)
        items[i] = (strata_item){ .key = number_key(rooms[i], i < 70 ? i : i + COUNT) };
    real_quick_many = st.cache->quick_many;
    closing = st.cache->root;
    st.cache->quick_many = quick_many_then_closing;
    const uint64_t inside = atomic_load(&closing->active);
    assert_int_equal(strata_get_many(st.cache, items, COUNT, &err), STRATA_ECLOSED);
    assert_int_equal(err.status, STRATA_ECLOSED);
    for (int i = 0; i < COUNT; i++) {
        assert_null(items[i].value);
        assert_int_equal(items[i].status, STRATA_ECLOSED);
    }
    assert_int_equal(pins_out(), 0);
    atomic_store(&closing->state, ROOT_OPEN);
    assert_int_equal(strata__counter_sum(st.cache->cells, HOT_BEGUN),
                     strata__counter_sum(st.cache->cells, HOT_LOOKED) + strata__counter_sum(st.cache->cells, HOT_SLOW));
    assert_int_equal(atomic_load(&closing->active), inside);
    st.cache->quick_many = real_quick_many;
    close_stack(&st);
}

/* Threads ----------------------------------------------------------------------------------------------------------- */

enum { READERS = 3, CALLS = 3000, A_CALL = 40, HELD_KEYS = 64 };

struct reader {
    pthread_t thread;
    strata *cache;
    uint64_t random;
};

static void *read_and_check(void *ctx)
{
    struct reader *r = ctx;
    static _Thread_local char rooms[A_CALL][TEXT];
    strata_item items[A_CALL];
    int numbers[A_CALL];
    char text[TEXT];
    for (int call = 0; call < CALLS; call++) {
        for (int i = 0; i < A_CALL; i++) {
            r->random = strata__mix64(r->random + 1);
            numbers[i] = (int)(r->random % HELD_KEYS);
            items[i] = (strata_item){ .key = number_key(rooms[i], numbers[i]) };
        }
        if (strata_get_many(r->cache, items, A_CALL, NULL) != STRATA_OK)
            abort();
        for (int i = 0; i < A_CALL; i++) {
            size_t size = (size_t)snprintf(text, sizeof text, "value %d", numbers[i]);
            if (items[i].status != STRATA_OK || strata_value_size(items[i].value) != size ||
                memcmp(strata_value_data(items[i].value), text, size) != 0)
                abort();
            strata_value_unref(items[i].value);
        }
    }
    return NULL;
}

static void count_hits(const strata_event *event, void *ctx)
{
    (void)event;
    atomic_fetch_add((_Atomic(uint64_t) *)ctx, 1);
}

/* Listeners come and go, and values are replaced and moved, while threads read: nothing is counted twice, or not at all. */
static void test_counts_are_exact_while_listeners_come_and_go(void **state)
{
    (void)state;
    struct reader readers[READERS];
    _Atomic(uint64_t) told = 0;
    strata_memory_options memory = { .size = sizeof memory, .max_bytes = 4 << 20, .shards = 1 };
    strata_layer *layer = strata_memory_layer(&memory);
    strata_options options = STRATA_OPTIONS_INIT;
    strata *cache;
    options.layers = &layer;
    options.layer_count = 1;
    assert_int_equal(strata_open(&cache, &options, NULL), STRATA_OK);
    fill(cache, HELD_KEYS);
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader){ .cache = cache, .random = (uint64_t)i };
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_and_check, &readers[i]), 0);
    }
    for (int round = 0; round < 100; round++) {
        uint64_t id;
        assert_int_equal(strata_on(cache, STRATA_EVENT_HIT, count_hits, &told, &id), STRATA_OK);
        fill(cache, HELD_KEYS);
        strata_off(cache, id);
        fill(cache, HELD_KEYS * 2); /* and the index grows, the first time */
    }
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i].thread, NULL);
    strata_stats s = stats_of(cache);
    assert_int_equal(s.requests, READERS * CALLS * A_CALL);
    assert_int_equal(s.hits, s.requests);
    assert_int_equal(layer_hits(cache), s.requests);
    assert_true(told <= s.requests);
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(pins_out(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_single_gets),
        cmocka_unit_test(test_like_single_gets_where_hits_are_heard_of),
        cmocka_unit_test(test_counts_are_exact),
        cmocka_unit_test(test_the_same_key),
        cmocka_unit_test(test_loads_what_is_missing),
        cmocka_unit_test(test_a_closed_cache),
        cmocka_unit_test(test_closed_in_the_middle),
        cmocka_unit_test(test_counts_are_exact_while_listeners_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
