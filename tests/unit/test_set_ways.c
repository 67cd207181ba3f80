/* test_set_ways.c - however a set goes, by the layer's own way, by an operation of its own or by the general way, it stores the
 * same: twins on one clock, of which one has a listener, so that nothing is short there. */
#include <stdio.h>

#include "tests/unit/core_fixture.h"

enum { TWINS = 2, KEYS = 40, STEPS = 1000, LARGEST = 200000, LONGEST = 16384 };

struct twin {
    struct stack st;
    strata *handle; /* of a namespace, or the cache */
};

struct kind {
    const char *what;
    strata_policy policy;
    strata_memory_options memory;
    int plain; /* the layer's own way is there */
    int in_namespace;
};

static void ignore(const strata_event *event, void *ctx) { (void)event, (void)ctx; }

static void open_twin(struct twin *t, const struct kind *k, int listens)
{
    memset(t, 0, sizeof *t);
    strata_layer *layers[1] = { strata_memory_layer(&k->memory) };
    strata_options options = STRATA_OPTIONS_INIT;
    assert_int_equal(strata__executor_sim_new(&t->st.ex, NULL, 1, &t->st.err), STRATA_OK);
    options.layers = layers;
    options.layer_count = 1;
    options.max_key_bytes = LONGEST;
    options.policy = k->in_namespace ? NULL : &k->policy;
    assert_int_equal(strata__open_with(&t->st.cache, &options, t->st.ex, &t->st.err), STRATA_OK);
    t->handle = t->st.cache;
    strata_namespace_options space = STRATA_NAMESPACE_OPTIONS_INIT;
    space.policy = &k->policy;
    if (k->in_namespace)
        assert_int_equal(strata_namespace(t->st.cache, "n", &space, &t->handle, &t->st.err), STRATA_OK);
    if (listens)
        assert_int_equal(strata_on(t->st.cache, STRATA_EVENT_SET, ignore, NULL, NULL), STRATA_OK);
}

static void close_twin(struct twin *t)
{
    if (t->handle != t->st.cache)
        strata_close(t->handle);
    close_stack(&t->st);
}

static strata_layer_stats layer_of(struct twin *t)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(t->st.cache, 0, &s), STRATA_OK);
    return s;
}

static void same_value(struct twin *t, strata_slice key, const char *what)
{
    strata_value *v[TWINS] = { NULL, NULL };
    int status[TWINS];
    for (int i = 0; i < TWINS; i++)
        status[i] = strata_get(t[i].handle, key, &v[i], NULL);
    if (status[0] != status[1])
        fail_msg("%s: %d and %d", what, status[0], status[1]);
    if (v[0] != NULL) {
        assert_int_equal(strata_value_size(v[0]), strata_value_size(v[1]));
        assert_memory_equal(strata_value_data(v[0]), strata_value_data(v[1]), strata_value_size(v[0]));
    }
    for (int i = 0; i < TWINS; i++)
        strata_value_unref(v[i]);
}

static void same_entry(struct twin *t, strata_slice key, const char *what)
{
    strata_inspection seen[TWINS] = { STRATA_INSPECTION_INIT, STRATA_INSPECTION_INIT };
    for (int i = 0; i < TWINS; i++)
        (void)strata_inspect(t[i].handle, key, &seen[i], &t[i].st.err);
    if (memcmp(&seen[0], &seen[1], sizeof seen[0]) != 0)
        fail_msg("%s: inspected differently: fresh %lld and %lld ms, %llu and %llu bytes", what,
                 (long long)seen[0].fresh_ms, (long long)seen[1].fresh_ms, (unsigned long long)seen[0].value_bytes,
                 (unsigned long long)seen[1].value_bytes);
    same_value(t, key, what);
}

static void same_stats(struct twin *t, const char *what)
{
    strata_layer_stats a = layer_of(&t[0]), b = layer_of(&t[1]);
    if (a.entries != b.entries || a.bytes != b.bytes || a.puts != b.puts || a.removes != b.removes ||
        a.residents != b.residents || a.resident_bytes != b.resident_bytes || a.rejections != b.rejections)
        fail_msg("%s: %llu and %llu entries, %llu and %llu bytes, %llu and %llu puts, %llu and %llu refused", what,
                 (unsigned long long)a.entries, (unsigned long long)b.entries, (unsigned long long)a.bytes,
                 (unsigned long long)b.bytes, (unsigned long long)a.puts, (unsigned long long)b.puts,
                 (unsigned long long)a.rejections, (unsigned long long)b.rejections);
}

static uint64_t next_random(uint64_t *x) { return *x = *x * 6364136223846793005u + 1442695040888963407u; }

/* Sets, among them of what is there, deletes, and time that passes. */
static void live_alike(struct twin *t, const char *what)
{
    static const size_t sizes[] = { 0, 1, 7, 8, 100, 1000, 5000, 70000, LARGEST };
    static char bytes[LARGEST];
    uint64_t x = 7;
    strata_policy resident = STRATA_POLICY_INIT;
    resident.resident = 1;
    for (int step = 0; step < STEPS; step++) {
        uint64_t r = next_random(&x) >> 20;
        static char text[LONGEST + 64];
        int digits = (int)(step % 37 == 5 ? LONGEST - 24 + r % 20 : r % 29 + 1);
        int n = snprintf(text, sizeof text, "key %0*u", digits, (unsigned)(r % KEYS));
        strata_slice key = strata_bytes(text, (size_t)n);
        strata_slice value = strata_bytes(bytes, sizes[r / KEYS % (sizeof sizes / sizeof sizes[0])]);
        memset(bytes, (int)step, value.size);
        for (int i = 0; i < TWINS; i++)
            if (step % 11 == 10)
                assert_true(strata_delete(t[i].handle, key, NULL) >= 0);
            else
                assert_int_equal(strata_set(t[i].handle, key, value, step % 13 == 12 ? &resident : NULL, &t[i].st.err),
                                 STRATA_OK);
        same_entry(t, key, what);
        for (int i = 0; i < TWINS && step % 5 == 4; i++)
            pass(&t[i].st, (int64_t)(r % 300));
        same_entry(t, key, what);
        same_stats(t, what);
    }
}

static void test_twins(void **state)
{
    (void)state;
    struct kind kinds[] = {
        { .what = "defaults", .plain = 1 },
        { .what = "for ever", .policy.ttl_ms = STRATA_FOREVER, .plain = 1 },
        { .what = "short", .policy.ttl_ms = 700, .plain = 1 },
        { .what = "very long", .policy.ttl_ms = INT64_C(1) << 40 },
        { .what = "a namespace", .policy.ttl_ms = 900, .plain = 1, .in_namespace = 1 },
        { .what = "windows", .policy.ttl_ms = 300, .policy.stale_while_revalidate_ms = 300 },
        { .what = "sliding", .policy.ttl_ms = 300, .policy.sliding = STRATA_ON },
        { .what = "capped", .policy.ttl_ms = STRATA_FOREVER, .memory.max_ttl_ms = 500, .plain = 1 },
        { .what = "lru", .memory.policy = STRATA_EVICT_LRU, .plain = 1 },
        { .what = "cost", .memory.policy = STRATA_EVICT_COST, .plain = 1 },
        { .what = "resident", .policy.resident = 1 },
        { .what = "a layer's ttl", .policy.ttl_ms = 5000, .policy.layer_ttl_ms = { 200 }, .plain = 1 },
        { .what = "few", .memory.max_entries = 20, .memory.shards = 1, .plain = 1 },
        { .what = "few, lru",
          .memory.max_entries = 20,
          .memory.shards = 1,
          .memory.policy = STRATA_EVICT_LRU,
          .plain = 1 },
        { .what = "few, lfu",
          .memory.max_entries = 20,
          .memory.shards = 1,
          .memory.policy = STRATA_EVICT_LFU,
          .plain = 1 },
        { .what = "few, sieve",
          .memory.max_entries = 20,
          .memory.shards = 1,
          .memory.policy = STRATA_EVICT_SIEVE,
          .plain = 1 },
        { .what = "few, cost",
          .memory.max_entries = 20,
          .memory.shards = 1,
          .memory.policy = STRATA_EVICT_COST,
          .plain = 1 },
        { .what = "little", .memory.max_bytes = 300000, .memory.shards = 1, .plain = 1 },
        { .what = "very little, lru",
          .memory.max_bytes = 100000,
          .memory.shards = 1,
          .memory.policy = STRATA_EVICT_LRU,
          .plain = 1 },
        { .what = "little, a namespace",
          .memory.max_bytes = 100000,
          .memory.shards = 1,
          .policy.ttl_ms = 400,
          .in_namespace = 1,
          .plain = 1 },
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct twin t[TWINS];
        kinds[i].policy.size = sizeof kinds[i].policy;
        kinds[i].memory.size = sizeof kinds[i].memory;
        if (kinds[i].memory.max_bytes == 0)
            kinds[i].memory.max_bytes = 64 << 20;
        for (int n = 0; n < TWINS; n++)
            open_twin(&t[n], &kinds[i], n == 1);
        if ((t[0].handle->put_plain != NULL) != kinds[i].plain)
            fail_msg("%s: the layer's own way is %s", kinds[i].what, kinds[i].plain ? "missing" : "there");
        live_alike(t, kinds[i].what);
        for (int n = 0; n < TWINS; n++)
            close_twin(&t[n]);
    }
}

/* The layer's own way is taken by entries of this cache's life and of one of its few times to live; others find theirs. */
static void test_more_lives_than_classes(void **state)
{
    (void)state;
    struct kind k = { .what = "many" };
    struct twin t;
    strata *spaces[40];
    k.policy.size = sizeof k.policy;
    k.memory.size = sizeof k.memory;
    open_twin(&t, &k, 0);
    for (int i = 0; i < 40; i++) {
        char name[16];
        strata_policy p = STRATA_POLICY_INIT;
        strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
        p.ttl_ms = 1000 + 1000 * i;
        options.policy = &p;
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(strata_namespace(t.st.cache, name, &options, &spaces[i], &t.st.err), STRATA_OK);
        assert_int_equal(strata_set(spaces[i], strata_str("k"), strata_str(name), NULL, &t.st.err), STRATA_OK);
    }
    pass(&t.st, 500);
    for (int i = 0; i < 40; i++) {
        strata_inspection seen = STRATA_INSPECTION_INIT;
        assert_int_equal(strata_inspect(spaces[i], strata_str("k"), &seen, &t.st.err), STRATA_OK);
        assert_int_equal(seen.fresh_ms, 500 + 1000 * i);
        assert_int_equal(seen.age_ms, 500);
        strata_close(spaces[i]);
    }
    close_twin(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_twins),
        cmocka_unit_test(test_more_lives_than_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
