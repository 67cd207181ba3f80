/* test_memory_edges.c - where the memory layer's parts meet at their edges: budgets, clocks, several layers at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/layer/memory/memory_impl.h"
#include "tests/support/memory_fixture.h"

static struct shard *first_shard(struct memory_fixture *f) { return ((struct memory *)(void *)f->layer)->shards; }

/* References count in steps there: sizes are told to the byte all the same. */
static void test_largest_budget(void **state)
{
    (void)state;
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = (uint64_t)255 << 30 };
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    char room[32], bytes[600];
    for (uint64_t n = 0; n < sizeof bytes; n++) {
        memset(bytes, (int)n, n);
        assert_int_equal(fixture_put(&f, fixture_key(room, n), bytes, n, 1000), STRATA_OK);
    }
    for (uint64_t n = 0; n < sizeof bytes; n++) {
        strata_value *v;
        assert_int_equal(fixture_get(&f, fixture_key(room, n), &v), STRATA_OK);
        assert_int_equal(strata_value_size(v), n);
        strata_value_unref(v);
    }
    fixture_close(&f);
    o.max_bytes++;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_EINVAL);
}

static void test_more_shards_than_the_budget_can_feed(void **state)
{
    (void)state;
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 64 << 10, .shards = 1024 };
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    for (uint64_t n = 0; n < 500; n++)
        assert_int_equal(fixture_put_number(&f, n, 20), STRATA_OK);
    fixture_close(&f);
    o = (strata_memory_options){ STRATA_SIZED(strata_memory_options), .max_entries = 3, .shards = 4 };
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    for (uint64_t n = 0; n < 500; n++)
        assert_int_equal(fixture_put_number(&f, n, 20), STRATA_OK);
    fixture_close(&f);
}

static size_t shards_of(const strata_memory_options *o)
{
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, o, NULL), STRATA_OK);
    size_t count = ((struct memory *)(void *)f.layer)->shard_count;
    fixture_close(&f);
    return count;
}

/* One below 1,024 entries, so that the policy's order is exact there; else at least 256 entries each, of every policy. */
static void test_shards_are_few_and_large(void **state)
{
    (void)state;
    static const uint64_t entries[] = { 1, 50, 511, 512, 1000, 1023, 1024, 1025, 2047, 2048, 5000, 20000, 1000000 };
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_COST; policy++)
        for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
            strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = (uint64_t)1 << 30,
                                        .policy = policy, .max_entries = entries[i] };
            size_t count = shards_of(&o);
            if (entries[i] < 1024)
                assert_int_equal(count, 1);
            else
                assert_true(entries[i] / count >= 256);
            if (entries[i] == 1000000)
                assert_true(count > 1);
            o.shards = 1;
            assert_int_equal(shards_of(&o), 1);
        }
}

/* Both budgets given, and the bytes run out first: the count must not spoil the policy's shares. */
static void test_count_that_never_fills(void **state)
{
    (void)state;
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_COST; policy++) {
        uint64_t hits[2] = { 0, 0 };
        for (int counted = 0; counted < 2; counted++) {
            strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 2 << 20, .shards = 1,
                                        .policy = policy, .max_entries = counted ? 100000 : 0 };
            struct memory_fixture f;
            assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
            uint64_t x = 1;
            for (int i = 0; i < 60000; i++) {
                x = strata__mix64(x + 1);
                double u = (double)(x >> 11) / 9007199254740992.0;
                uint64_t n = (uint64_t)(30000 * u * u * u) + (i < 30000 ? 0 : 1000000);
                if (fixture_has_number(&f, n))
                    hits[counted]++;
                else
                    fixture_put_number(&f, n, 100);
            }
            fixture_close(&f);
        }
        assert_true(hits[1] > hits[0] - hits[0] / 20);
    }
}

/* Removals move entries back past the place where a sweep goes on. */
static void test_sweep_misses_none_that_moves(void **state)
{
    (void)state;
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .shards = 1 };
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    char room[64];
    for (uint64_t n = 0; n < 20000; n++)
        assert_int_equal(fixture_put(&f, fixture_key(room, n), "v", 1, n % 2 != 0 ? 1000 : 6000), STRATA_OK);
    struct shard *s = first_shard(&f);
    /* As full as it gets: only full buckets have anything behind them. */
    for (uint64_t n = 20000; (s->entries + 1) * 7 <= atomic_load(&s->table)->slot_count * 5; n++)
        assert_int_equal(fixture_put(&f, fixture_key(room, n), "v", 1, n % 2 != 0 ? 1000 : 6000), STRATA_OK);
    f.now_ms += 1000;
    do {
        f.layer->ops->maintain(f.layer, f.now_ms, 0);
        struct index_table *t = atomic_load(&s->table);
        uint64_t at = s->sweep_at;
        if (at != 0 && t->slots[at - 1] != 0) {
            struct entry *e = entry_at(s, (uint32_t)t->slots[at - 1]);
            size_t size = e->key_size;
            memcpy(room, entry_key(e), size);
            strata_op op = fixture_op(&f, STRATA_OP_REMOVE, 0, strata_bytes(room, size));
            assert_int_equal(fixture_submit(&f, &op), STRATA_OK);
        }
    } while (s->sweep_at != 0);
    for (int i = 0; i < 5; i++)
        f.layer->ops->maintain(f.layer, f.now_ms, 1000000);
    for (unsigned q = 1; q < QUEUE_COUNT; q++)
        for (uint32_t ref = s->queues[q].head; ref != 0; ref = entry_at(s, ref)->next)
            assert_true(entry_at(s, ref)->deadline > f.now_ms);
    fixture_close(&f);
}

/* One thread, two layers in turn: neither makes it forget what it read in the other. */
static void test_recency_in_two_layers(void **state)
{
    (void)state;
    struct memory_fixture f[2];
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_entries = 100, .shards = 1,
                                .policy = STRATA_EVICT_LRU };
    for (int i = 0; i < 2; i++)
        assert_int_equal(fixture_open(&f[i], &o, NULL), STRATA_OK);
    for (uint64_t n = 0; n < 200; n++)
        assert_int_equal(fixture_put_number(&f[n % 2], n / 2, 8), STRATA_OK);
    for (uint64_t n = 0; n < 100; n++)
        assert_true(fixture_has_number(&f[n % 2], n / 2));
    for (uint64_t n = 200; n < 300; n++)
        assert_int_equal(fixture_put_number(&f[n % 2], n / 2, 8), STRATA_OK);
    for (uint64_t n = 0; n < 100; n++)
        assert_true(fixture_has_number(&f[n % 2], n / 2));
    for (int i = 0; i < 2; i++)
        fixture_close(&f[i]);
}

static int freed, freed_inside;

static void free_object(void *object, void *ctx)
{
    (void)object;
    (void)ctx;
    freed++;
    freed_inside += (int)(atomic_load(&reclaim_self()->section) & 1);
}

/* A lookup that finds an expired entry gives its pin back; if that ends another layer, a user's code runs. */
static void test_no_users_code_inside_a_section(void **state)
{
    (void)state;
    static const strata_codec codec = { .size = sizeof codec, .free = free_object };
    struct memory_fixture ends, lives;
    assert_int_equal(fixture_open(&ends, NULL, NULL), STRATA_OK);
    assert_int_equal(fixture_open(&lives, NULL, NULL), STRATA_OK);
    strata_value *value = strata__value_object(&strata__malloc, &freed, &codec), *pin, *none;
    assert_int_equal(fixture_put_meta(&ends, strata_str("object"), value, fixture_meta(&ends, 1000)), STRATA_OK);
    strata_value_unref(value);
    assert_int_equal(fixture_get(&ends, strata_str("object"), &pin), STRATA_OK);
    assert_int_equal(fixture_put(&lives, strata_str("old"), "v", 1, 10), STRATA_OK);
    lives.now_ms += 10;
    fixture_close(&ends);
    /* Its holder gives it back, and sleeps before it looks whether anybody waits for that. */
    atomic_store(&((struct reclaim_pin *)(void *)pin)->address, 0);
    assert_int_equal(fixture_get(&lives, strata_str("old"), &none), STRATA_MISS);
    assert_int_equal(freed, 1);
    assert_int_equal(freed_inside, 0);
    fixture_close(&lives);
}

/* What one memory layer holds as an object is one in the next, too. */
static void test_object_from_another_layer(void **state)
{
    (void)state;
    static const strata_codec codec = { .size = sizeof codec, .free = free_object };
    struct memory_fixture near, far;
    assert_int_equal(fixture_open(&near, NULL, NULL), STRATA_OK);
    assert_int_equal(fixture_open(&far, NULL, NULL), STRATA_OK);
    strata_value *value = strata__value_object(&strata__malloc, &freed, &codec), *pin, *again;
    assert_int_equal(fixture_put_meta(&far, strata_str("object"), value, fixture_meta(&far, 1000)), STRATA_OK);
    strata_value_unref(value);
    assert_int_equal(fixture_get(&far, strata_str("object"), &pin), STRATA_OK);
    assert_int_equal(fixture_put_meta(&near, strata_str("object"), pin, fixture_meta(&near, 1000)), STRATA_OK);
    strata_value_unref(pin);
    freed = 0;
    fixture_close(&far);
    assert_int_equal(freed, 0);
    assert_int_equal(fixture_get(&near, strata_str("object"), &again), STRATA_OK);
    assert_ptr_equal(strata_value_object(again), &freed);
    strata_value_unref(again);
    fixture_close(&near);
    assert_int_equal(freed, 1);
}

/* Each look at all pins is shared by a batch of puts, also where it frees little; a look at few is not enough here. */
static void test_many_pins_on_what_left(void **state)
{
    (void)state;
    enum { PINS = 2000 };
    static strata_value *pins[PINS];
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 4 << 20, .shards = 1 };
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    char room[32];
    for (uint64_t n = 0; n < PINS; n++) {
        assert_int_equal(fixture_put_number(&f, n, 100), STRATA_OK);
        assert_int_equal(fixture_get(&f, fixture_key(room, n), &pins[n]), STRATA_OK);
    }
    for (uint64_t n = PINS; n < 100000; n++) /* takes minutes where each of them looks */
        assert_int_equal(fixture_put_number(&f, n, 100), STRATA_OK);
    assert_true(first_shard(&f)->retired_count >= PINS / 2);
    for (uint64_t n = 0; n < PINS; n++) {
        uint64_t first;
        memcpy(&first, strata_value_data(pins[n]), sizeof first);
        assert_int_equal(first, n);
        strata_value_unref(pins[n]);
    }
    f.layer->ops->maintain(f.layer, f.now_ms, 1000);
    assert_int_equal(first_shard(&f)->retired_count, 0);
    fixture_close(&f);
}

/* What one shard waited out, the others need not: a quiesce() interrupts every thread. */
static void test_shards_share_their_waits(void **state)
{
    (void)state;
    enum { SHARDS = 16, FITS = SHARDS * 1024, PUTS = 4 * FITS, BATCH = 1024 / 8 };
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_entries = FITS, .shards = SHARDS };
    struct memory_fixture f;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    for (uint64_t n = 0; n < FITS * 2; n++)
        assert_int_equal(fixture_put_number(&f, n, 100), STRATA_OK);
    uint64_t before = strata__reclaim_stamp();
    for (uint64_t n = FITS * 2; n < FITS * 2 + PUTS; n++)
        assert_int_equal(fixture_put_number(&f, n, 100), STRATA_OK);
    assert_in_range(strata__reclaim_stamp() - before, 1, PUTS / BATCH / 4);
    fixture_close(&f);
}

/* An empty slot is no slot of tag 0: before the first put nothing stands where its reference would lead. */
static void test_tag_zero_in_an_empty_layer(void **state)
{
    (void)state;
    struct memory_fixture f;
    const char key[] = "a key of 18 bytes.";
    assert_int_equal(fixture_open(&f, NULL, NULL), STRATA_OK);
    for (uint64_t low = 0; low < 64; low++) {
        const void *where = f.layer->ops->hint(f.layer, low);
        strata_value *said = f.layer->ops->quick(where, key, sizeof key - 1, low, &(strata_lines){ 0 }, f.now_ms);
        assert_true(said == STRATA_NOT_HERE || said == NULL); /* with fenced readers there is no short way */
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_largest_budget),
        cmocka_unit_test(test_tag_zero_in_an_empty_layer),
        cmocka_unit_test(test_more_shards_than_the_budget_can_feed),
        cmocka_unit_test(test_shards_are_few_and_large),
        cmocka_unit_test(test_count_that_never_fills),
        cmocka_unit_test(test_sweep_misses_none_that_moves),
        cmocka_unit_test(test_recency_in_two_layers),
        cmocka_unit_test(test_no_users_code_inside_a_section),
        cmocka_unit_test(test_object_from_another_layer),
        cmocka_unit_test(test_many_pins_on_what_left),
        cmocka_unit_test(test_shards_share_their_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
