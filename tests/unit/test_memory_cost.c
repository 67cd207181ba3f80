/* test_memory_cost.c - eviction by what a load costs: who stays and who leaves, and where the cost comes from. */
#include "src/layer/memory/memory_impl.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/memory_fixture.h"
#include "tests/unit/core_fixture.h"

enum { CHEAP_US = 1000, DEAR_US = 1000000 };

static void open_counted(struct memory_fixture *f, int32_t policy, uint64_t entries)
{
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_entries = entries, .shards = 1,
                                .policy = policy };
    assert_int_equal(fixture_open(f, &o, NULL), STRATA_OK);
}

static void put_cost(struct memory_fixture *f, uint64_t n, size_t size, uint32_t cost_us, int64_t ttl_ms)
{
    char text[32];
    uint64_t words[4096];
    for (size_t i = 0; i < (size + 7) / 8; i++)
        words[i] = n;
    strata_value *v = strata__value_copy(&strata__malloc, words, size);
    strata_meta meta = fixture_meta(f, ttl_ms);
    meta.cost_us = cost_us;
    assert_int_equal(fixture_put_meta(f, fixture_key(text, n), v, meta), STRATA_OK);
    strata_value_unref(v);
}

/* How many of [from, to) are held.  A look is a hit. */
static uint64_t held(struct memory_fixture *f, uint64_t from, uint64_t to)
{
    uint64_t n = 0;
    for (; from < to; from++)
        n += (uint64_t)fixture_has_number(f, from);
    return n;
}

/* A flood of cheap ones does not push out those that are dear; but nobody stays for ever unread, however dear. */
static void test_cost_counts(void **state)
{
    (void)state;
    struct memory_fixture f;
    static const int32_t policies[] = { STRATA_EVICT_COST, STRATA_EVICT_S3FIFO, STRATA_EVICT_LRU, STRATA_EVICT_LFU };
    for (int i = 0; i < 4; i++) {
        open_counted(&f, policies[i], 1000);
        for (uint64_t n = 0; n < 100; n++)
            put_cost(&f, n, 40, DEAR_US, 3600000);
        for (uint64_t n = 1000; n < 6000; n++)
            put_cost(&f, n, 40, CHEAP_US, 3600000);
        if (policies[i] == STRATA_EVICT_COST)
            assert_in_range(held(&f, 0, 100), 90, 100);
        else
            assert_int_equal(held(&f, 0, 100), 0);
        fixture_close(&f);
    }
    open_counted(&f, STRATA_EVICT_COST, 100);
    for (uint64_t n = 0; n < 10; n++)
        put_cost(&f, n, 40, UINT32_MAX, 3600000);
    for (uint64_t n = 1000; n < 1000 + 64 * 100 * 4; n++)
        put_cost(&f, n, 40, CHEAP_US, 3600000);
    assert_int_equal(held(&f, 0, 10), 0);
    fixture_close(&f);
}

/* Of what costs the same, the small ones stay, where room is what there is little of. */
static void test_size_counts(void **state)
{
    (void)state;
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 1 << 20, .shards = 1,
                                .policy = STRATA_EVICT_COST };
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    for (uint64_t n = 0; n < 200; n++)
        put_cost(&f, n, n % 2 != 0 ? 3000 : 40, CHEAP_US, 3600000);
    for (uint64_t n = 1000; n < 1800; n++)
        put_cost(&f, n, 3000, CHEAP_US, 3600000);
    uint64_t small = 0, large = 0;
    for (uint64_t n = 0; n < 200; n++)
        *(n % 2 != 0 ? &large : &small) += (uint64_t)fixture_has_number(&f, n);
    assert_in_range(small, 90, 100);
    assert_in_range(large, 0, 5);
    fixture_close(&f);
}

/* Hits of a skewed stream, everything at one price: not worse than least recently used. */
static uint64_t hits_of(int32_t policy, uint64_t entries)
{
    struct memory_fixture f;
    uint64_t x = 7, hits = 0;
    open_counted(&f, policy, entries);
    for (int i = 0; i < 60000; i++) {
        x = strata__mix64(x + 1);
        double u = (double)(x >> 11) / 9007199254740992.0;
        uint64_t n = (uint64_t)(20000 * u * u * u * u) + (i < 30000 ? 0 : 5000);
        if (fixture_has_number(&f, n))
            hits++;
        else
            put_cost(&f, n, 40, 20000, 3600000);
    }
    fixture_close(&f);
    return hits;
}

static void test_at_one_price(void **state)
{
    (void)state;
    static const uint64_t sizes[] = { 50, 500, 3000 };
    for (int i = 0; i < 3; i++)
        assert_true(hits_of(STRATA_EVICT_COST, sizes[i]) >= hits_of(STRATA_EVICT_LRU, sizes[i]));
}

static void test_expired_go_first(void **state)
{
    (void)state;
    struct memory_fixture f;
    open_counted(&f, STRATA_EVICT_COST, 1000);
    for (uint64_t n = 0; n < 500; n++)
        put_cost(&f, n, 40, DEAR_US, 1000);
    for (uint64_t n = 1000; n < 1500; n++)
        put_cost(&f, n, 40, CHEAP_US, 3600000);
    f.now_ms += 2000;
    for (uint64_t n = 2000; n < 2500; n++)
        put_cost(&f, n, 40, CHEAP_US, 3600000);
    assert_int_equal(held(&f, 1000, 1500), 500);
    assert_int_equal(held(&f, 2000, 2500), 500);
    fixture_close(&f);
}

static unsigned class_now(struct memory_fixture *f, uint64_t n)
{
    char text[32];
    struct shard *s = &((struct memory *)(void *)f->layer)->shards[0];
    strata_slice key = fixture_key(text, n);
    const struct entry *e = strata__index_find(s, strata__key_hash(f->host.hash_seed, 0, key), 0, key.data, key.size);
    assert_non_null(e);
    unsigned queue = queue_number(e);
    return queue < QUEUE_COUNT ? queue - QUEUE_FIRST : queue - QUEUE_COUNT + QUEUE_OWN_END - QUEUE_FIRST;
}

/* What takes an entry's place: one of unknown cost changes nothing, another one half of it; through "absent", all of it. */
static void test_replaced(void **state)
{
    (void)state;
    char text[32];
    struct memory_fixture f;
    open_counted(&f, STRATA_EVICT_COST, 1000);
    unsigned cheap = strata__weigh_class(CHEAP_US, 512), dear = strata__weigh_class(DEAR_US, 512);
    put_cost(&f, 1, 40, DEAR_US, 3600000);
    assert_int_equal(class_now(&f, 1), dear);
    put_cost(&f, 1, 400, 0, 3600000);
    assert_int_equal(class_now(&f, 1), dear);
    put_cost(&f, 1, 40, CHEAP_US, 3600000);
    assert_int_equal(class_now(&f, 1), strata__weigh_again(dear, cheap));
    put_cost(&f, 1, 40, CHEAP_US, 3600000);
    put_cost(&f, 1, 40, CHEAP_US, 3600000);
    put_cost(&f, 1, 40, CHEAP_US, 3600000);
    assert_in_range(class_now(&f, 1), cheap, cheap + 1);
    strata_meta meta = fixture_meta(&f, 3600000);
    meta.negative = 1;
    assert_int_equal(fixture_put_meta(&f, fixture_key(text, 1), NULL, meta), STRATA_OK);
    put_cost(&f, 1, 40, DEAR_US, 3600000);
    assert_int_equal(class_now(&f, 1), dear);
    put_cost(&f, 2, 40, 0, 3600000);
    assert_int_equal(class_now(&f, 2), strata__weigh_class(WEIGH_DEFAULT_US, 512));
    fixture_close(&f);
}

/* Every allocation fails once: the layer opens or says so, and then holds what it answered OK for. */
static void test_without_memory(void **state)
{
    (void)state;
    int whole = 0;
    for (long n = 1; !whole; n++) {
        struct fail_alloc a;
        struct memory_fixture f;
        strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_entries = 60, .shards = 1,
                                    .policy = STRATA_EVICT_COST };
        fail_alloc_init(&a, n);
        int rc = fixture_open(&f, &o, &a.mem);
        if (rc == STRATA_OK) {
            for (uint64_t k = 0; k < 400; k++) {
                char text[32];
                strata_meta meta = fixture_meta(&f, 3600000);
                meta.cost_us = (uint32_t)(k % 7 * 100000);
                strata_value *v = strata__value_copy(&strata__malloc, &k, sizeof k);
                rc = fixture_put_meta(&f, fixture_key(text, k), v, meta);
                strata_value_unref(v);
                assert_true(rc == STRATA_OK || rc == STRATA_AGAIN || rc == STRATA_ENOMEM);
                assert_int_equal(fixture_has_number(&f, k), rc == STRATA_OK);
            }
            fixture_close(&f);
        } else {
            assert_int_equal(rc, STRATA_ENOMEM);
        }
        whole = a.requests < n;
    }
}

/* In core ------------------------------------------------------------------------------------------------------- */

static uint32_t cost_in_slow(struct stack *st, const char *key)
{
    struct script_entry *e = script_find(st->slow, strata_str(key), 0);
    assert_non_null(e);
    return e->meta.cost_us;
}

/* What the loader took; unless it, or the policy it was called with, says otherwise.  A set says what its policy says. */
static void test_where_it_comes_from(void **state)
{
    (void)state;
    struct stack st;
    strata_policy wide = STRATA_POLICY_INIT, own = STRATA_POLICY_INIT, off = STRATA_POLICY_INIT;
    open_stack(&st, &(struct stack_options){ .only_slow = 1 });
    struct origin o = { .st = &st, .value = "v", .takes_ms = 250 };
    assert_load(&st, "measured", &o, NULL, STRATA_OK, "v");
    assert_int_equal(cost_in_slow(&st, "measured"), 250000);
    wide.cost_us = 7000;
    assert_load(&st, "called", &o, &wide, STRATA_OK, "v");
    assert_int_equal(cost_in_slow(&st, "called"), 7000);
    own.cost_us = 90;
    o.own = &own;
    assert_load(&st, "said", &o, &wide, STRATA_OK, "v");
    assert_int_equal(cost_in_slow(&st, "said"), 90);
    off.cost_us = STRATA_OFF;
    o.own = &off;
    assert_load(&st, "off", &o, &wide, STRATA_OK, "v");
    assert_int_equal(cost_in_slow(&st, "off"), 250000);
    assert_int_equal(strata_set(st.cache, strata_str("set"), strata_str("v"), &wide, NULL), STRATA_OK);
    assert_int_equal(cost_in_slow(&st, "set"), 7000);
    assert_int_equal(strata_set(st.cache, strata_str("plain"), strata_str("v"), NULL, NULL), STRATA_OK);
    assert_int_equal(cost_in_slow(&st, "plain"), 0);
    close_stack(&st);
}

static unsigned class_in_memory(struct stack *st, unsigned at)
{
    struct memory *m = (struct memory *)(void *)st->cache->root->layers[0].layer;
    unsigned n = 0;
    for (unsigned class = 0; class < WEIGH_CLASSES; class ++)
        for (unsigned i = 0; i < m->shards[0].weighing->weigh.count[class]; i++)
            if (n++ == at)
                return class;
    fail_msg("there are no so many entries");
    return 0;
}

/* An entry of a slower layer brings its cost; one that has none, what it took to read. */
static void test_backfilled(void **state)
{
    (void)state;
    static const uint32_t costs[] = { 4000000, 0 };
    for (int i = 0; i < 2; i++) {
        struct stack st;
        struct stack_options options = { .with_slow = 1, .memory_entries = 100, .memory_policy = STRATA_EVICT_COST };
        open_stack(&st, &options);
        st.slow->delay_ms = 30;
        struct script_entry *e = script_find(st.slow, strata_str("k"), 1);
        e->size = 1;
        e->bytes[0] = 'v';
        e->meta = (strata_meta){ .life = st.cache->root->life,
                                 .born_ms = ex_now_ms(st.ex),
                                 .born_wall_ms = ex_wall_ms(st.ex),
                                 .fresh_ms = 3600000,
                                 .cost_us = costs[i] };
        assert_get(&st, "k", STRATA_OK, "v");
        run(&st);
        assert_int_equal(class_in_memory(&st, 0), strata__weigh_class(costs[i] != 0 ? costs[i] : 30000, 512));
        close_stack(&st);
    }
}

/* The short way of a set has its namespace's word, too; a load that found nothing new leaves the cost as it was. */
static void test_quick_set_and_not_modified(void **state)
{
    (void)state;
    struct stack st;
    strata_policy policy = STRATA_POLICY_INIT;
    struct stack_options options = { .memory_entries = 100, .memory_policy = STRATA_EVICT_COST, .policy = &policy };
    policy.cost_us = 3000000;
    open_stack(&st, &options);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    assert_int_equal(class_in_memory(&st, 0), strata__weigh_class(3000000, 512));
    close_stack(&st);
    policy = (strata_policy)STRATA_POLICY_INIT;
    policy.ttl_ms = 1000;
    policy.keep_ms = 100000;
    open_stack(&st, &options);
    struct origin o = { .st = &st, .value = "v", .takes_ms = 900 };
    assert_load(&st, "k", &o, NULL, STRATA_OK, "v");
    unsigned before = class_in_memory(&st, 0);
    assert_int_equal(before, strata__weigh_class(900000, 512));
    pass(&st, 2000);
    o.not_modified = 1;
    o.takes_ms = 1;
    assert_load(&st, "k", &o, NULL, STRATA_OK, "v");
    assert_int_equal(o.calls, 2);
    assert_int_equal(class_in_memory(&st, 0), before);
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cost_counts),
        cmocka_unit_test(test_size_counts),
        cmocka_unit_test(test_at_one_price),
        cmocka_unit_test(test_expired_go_first),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_where_it_comes_from),
        cmocka_unit_test(test_backfilled),
        cmocka_unit_test(test_quick_set_and_not_modified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
