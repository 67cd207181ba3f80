/* test_memory_resident.c - entries that eviction does not choose, in the memory layer itself: under each policy, whatever the room is
 * wanted for, while the budget shrinks, and without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/layer/memory/memory_aside.h"
#include "src/layer/memory/memory_impl.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/memory_fixture.h"

static char zeros[200000];

static struct memory *layer_of(struct memory_fixture *f) { return (struct memory *)(void *)f->layer; }

static void open_layer(struct memory_fixture *f, int policy, uint64_t max_bytes, uint64_t max_entries)
{
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = max_bytes, .max_entries = max_entries,
                                .shards = 1, .policy = policy };
    assert_int_equal(fixture_open(f, &o, NULL), STRATA_OK);
}

static int put(struct memory_fixture *f, uint64_t n, size_t size, uint32_t flags)
{
    char text[32];
    strata_op op = fixture_op(f, STRATA_OP_PUT, 0, fixture_key(text, n));
    memcpy(zeros, &n, sizeof n);
    op.value = strata__value_copy(&strata__malloc, zeros, size);
    op.meta = fixture_meta(f, 3600000);
    op.flags = flags;
    int rc = fixture_submit(f, &op);
    strata_value_unref(op.value);
    return rc;
}

static uint64_t held(struct memory_fixture *f, uint64_t from, uint64_t count)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < count; i++)
        n += (uint64_t)fixture_has_number(f, from + i);
    return n;
}

/* What others read, or don't, and how much of them comes, is no matter. */
static void test_stay_under_each_policy(void **state)
{
    (void)state;
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_COST; policy++)
        for (int counted = 0; counted < 2; counted++) {
            struct memory_fixture f;
            open_layer(&f, policy, 1 << 20, counted ? 2000 : 0);
            for (uint64_t n = 0; n < 500; n++)
                assert_int_equal(put(&f, n, 100, STRATA_OP_RESIDENT), STRATA_OK);
            for (uint64_t n = 0; n < 40000; n++) {
                assert_int_equal(put(&f, 1000 + n, 50 + n % 200, 0), STRATA_OK);
                (void)fixture_has_number(&f, 1000 + n / 2);
                (void)fixture_has_number(&f, n % 700);
            }
            assert_int_equal(held(&f, 0, 500), 500);
            strata_layer_stats s = fixture_stats(&f);
            assert_int_equal(s.residents, 500);
            assert_int_equal(s.unkept, 0);
            assert_true(s.bytes <= 1 << 20 && s.entries > (counted ? 1990 : 2500));
            fixture_close(&f);
        }
}

/* Residents stand everywhere between the others: room for a large block is made all the same, and costs little. */
static void test_large_blocks_among_residents(void **state)
{
    (void)state;
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_COST; policy++) {
        struct memory_fixture f;
        open_layer(&f, policy, 4 << 20, 0);
        uint64_t kept = 0;
        for (uint64_t n = 0; n < 60000; n++)
            if (n % 8 == 0 && kept < 3000)
                kept += put(&f, n, 100 + n % 64, STRATA_OP_RESIDENT) == STRATA_OK;
            else
                assert_int_equal(put(&f, n, 100 + n % 64, 0), STRATA_OK);
        uint64_t before = fixture_stats(&f).entries;
        for (uint64_t n = 0; n < 20; n++)
            assert_int_equal(put(&f, 100000 + n, 14000, 0), STRATA_OK);
        assert_true(fixture_stats(&f).entries > before - 20 * 400);
        assert_int_equal(put(&f, 200000, 150000, 0), STRATA_OK); /* on the heap: chunks are emptied for it */
        for (uint64_t n = 0; n < kept; n++)
            assert_true(fixture_has_number(&f, n * 8));
        assert_int_equal(fixture_stats(&f).residents, 3000);
        assert_true(fixture_stats(&f).bytes <= 4 << 20);
        fixture_close(&f);
    }
}

/* Nobody else is left, and the residents stand scattered over all the chunks: what is free between them is to be had as a whole. */
static void test_scattered_residents_alone(void **state)
{
    (void)state;
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_COST; policy++)
        for (int what = 0; what < 3; what++) {
            struct memory_fixture f;
            char text[32];
            open_layer(&f, policy, 4 << 20, 0);
            uint64_t n = 0, kept = 0;
            for (; fixture_stats(&f).evictions == 0; n++)
                kept += put(&f, n, 200, n % 4 == 0 ? STRATA_OP_RESIDENT : 0) == STRATA_OK && n % 4 == 0;
            for (uint64_t i = 0; i < n; i++)
                if (i % 4 != 0) {
                    strata_op op = fixture_op(&f, STRATA_OP_REMOVE, 0, fixture_key(text, i));
                    (void)fixture_submit(&f, &op);
                }
            f.layer->ops->maintain(f.layer, f.now_ms, 100000);
            assert_int_equal(fixture_stats(&f).entries, kept);
            if (what == 0)
                for (uint64_t i = 0; i < 20; i++)
                    assert_int_equal(put(&f, 100000 + i, 14000, 0), STRATA_OK);
            else if (what == 1)
                for (uint64_t i = 0; i < 5; i++)
                    assert_int_equal(put(&f, 200000 + i, 150000, 0), STRATA_OK);
            else
                for (int i = 0; i < 100; i++)
                    strata__memory_shrink(layer_of(&f), 5 << 19);
            if (what == 0) /* one may make way for another */
                assert_true(held(&f, 100000, 20) >= 16);
            if (what == 1)
                assert_int_equal(held(&f, 200000, 5), 5);
            assert_true(fixture_stats(&f).bytes <= (what == 2 ? 5 << 19 : 4 << 20));
            assert_int_equal(fixture_stats(&f).residents, kept);
            for (uint64_t i = 0; i < n; i += 4)
                assert_true(fixture_has_number(&f, i));
            fixture_close(&f);
        }
}

/* What is moved is as it was: on the heap, with tags, and pinned meanwhile. */
static void test_moved(void **state)
{
    (void)state;
    struct memory_fixture f;
    open_layer(&f, STRATA_EVICT_LRU, 4 << 20, 0);
    struct shard *s = layer_of(&f)->shards;
    char text[32];
    strata_value *pin;
    for (uint64_t n = 0; n < 1000; n++)
        assert_int_equal(put(&f, n, n == 7 ? 100000 : 100, n < 10 ? STRATA_OP_RESIDENT : 0), STRATA_OK);
    assert_int_equal(fixture_get(&f, fixture_key(text, 7), &pin), STRATA_OK);
    uint64_t bytes = s->bytes, heap = s->heap_bytes, resident = s->resident_bytes;
    for (uint64_t n = 0; n < 10; n++) {
        strata_slice key = fixture_key(text, n);
        uint64_t hash = strata__key_hash(f.host.hash_seed, 0, key);
        os_lock_take(&s->lock);
        struct entry *e = strata__index_find(s, hash, 0, key.data, key.size), *chunk = strata__slab_chunk_of(s, e);
        int grown = strata__slab_grow(s); /* so that there is room elsewhere */
        assert_int_equal(grown, 0);
        strata__slab_hide(s, chunk);
        assert_true(strata__memory_move(s, e));
        strata__slab_show(s, chunk);
        struct entry *moved = strata__index_find(s, hash, 0, key.data, key.size);
        assert_ptr_not_equal(moved, e);
        assert_ptr_not_equal(strata__slab_chunk_of(s, moved), chunk);
        shard_unlock(s);
        assert_true(fixture_has_number(&f, n));
        bytes += layer_of(&f)->chunk_bytes;
    }
    assert_int_equal(s->bytes, bytes);
    assert_int_equal(s->heap_bytes, heap);
    assert_int_equal(s->resident_bytes, resident);
    f.layer->ops->maintain(f.layer, f.now_ms, 100000);
    assert_int_equal(s->heap_bytes, heap);
    assert_int_equal(strata_value_size(pin), 100000);
    assert_int_equal(*(const uint64_t *)strata_value_data(pin), 7);
    strata_value_unref(pin);
    fixture_close(&f);
}

/* They are never more than their share of the budget that is in force; the oldest become as others are. */
static void test_a_budget_that_shrinks(void **state)
{
    (void)state;
    struct memory_fixture f;
    open_layer(&f, STRATA_EVICT_S3FIFO, 4 << 20, 0);
    for (uint64_t n = 0; n < 8000; n++)
        assert_int_equal(put(&f, n, 200, STRATA_OP_RESIDENT), STRATA_OK);
    for (uint64_t n = 0; n < 20000; n++)
        assert_int_equal(put(&f, 10000 + n, 200, 0), STRATA_OK);
    uint64_t before = fixture_stats(&f).residents;
    assert_int_equal(before + fixture_stats(&f).unkept, 8000);
    for (int i = 0; i < 100; i++)
        strata__memory_shrink(layer_of(&f), 3 << 20);
    strata_layer_stats s = fixture_stats(&f);
    assert_true(s.bytes <= 3 << 20);
    assert_true(s.resident_bytes <= 3 << 19 && s.resident_bytes > (3 << 19) - 1000);
    assert_int_equal(s.residents + s.unkept, 8000);
    assert_int_equal(held(&f, before - s.residents, s.residents), s.residents); /* the youngest of those that were */
    for (int i = 0; i < 100; i++)
        strata__memory_shrink(layer_of(&f), 4 << 20);
    for (uint64_t n = 0; n < 20000; n++)
        assert_int_equal(put(&f, 50000 + n, 200, 0), STRATA_OK);
    assert_int_equal(held(&f, before - s.residents, s.residents), s.residents);
    assert_int_equal(fixture_stats(&f).residents, s.residents);
    fixture_close(&f);
}

/* One byte more than the share is not kept; what is cleared gives its part back. */
static void test_the_bound_is_exact(void **state)
{
    (void)state;
    struct memory_fixture f;
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 1 << 20, .shards = 1,
                                .resident_percent = 10 };
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_OK);
    uint64_t n = 0;
    strata_error err;
    while (fixture_stats(&f).unkept == 0)
        assert_int_equal(put(&f, n++, 100, STRATA_OP_RESIDENT), STRATA_OK);
    strata_layer_stats s = fixture_stats(&f);
    assert_int_equal(s.residents, n - 1);
    assert_true(s.resident_bytes <= (1 << 20) / 10 && s.resident_bytes + s.resident_bytes / (n - 1) > (1 << 20) / 10);
    assert_int_equal(clear_layer(f.layer, 0, strata_str(""), 1, &err), STRATA_OK);
    assert_int_equal(fixture_stats(&f).resident_bytes, 0);
    for (uint64_t i = 0; i < n - 1; i++)
        assert_int_equal(put(&f, i, 100, STRATA_OP_RESIDENT), STRATA_OK);
    assert_int_equal(fixture_stats(&f).residents, n - 1);
    assert_int_equal(fixture_stats(&f).unkept, 1);
    fixture_close(&f);
    o.resident_percent = 91;
    assert_int_equal(fixture_open(&f, &o, NULL), STRATA_EINVAL);
}

/* No allocation that fails takes one of them, or anything else that it should not. */
static void test_without_memory(void **state)
{
    (void)state;
    for (long n = 1, failed = 1; failed; n++) {
        struct fail_alloc a;
        struct memory_fixture f;
        strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 256 << 10, .shards = 1 };
        fail_alloc_init(&a, 0);
        assert_int_equal(fixture_open(&f, &o, &a.mem), STRATA_OK);
        atomic_store(&a.fail_at, atomic_load(&a.requests) + n);
        int kept[100];
        for (uint64_t i = 0; i < 1500; i++) {
            int rc = put(&f, i, i % 50 == 3 ? 9000 : 60, i < 100 ? STRATA_OP_RESIDENT : 0);
            assert_true(rc == STRATA_OK || rc == STRATA_AGAIN || rc == STRATA_ENOMEM);
            if (i < 100)
                kept[i] = rc == STRATA_OK;
        }
        for (uint64_t i = 0; i < 100; i++)
            assert_int_equal(fixture_has_number(&f, i), kept[i]);
        failed = atomic_load(&a.failed);
        atomic_store(&a.fail_at, 0);
        fixture_close(&f);
        assert_int_equal(atomic_load(&a.live), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stay_under_each_policy),
        cmocka_unit_test(test_large_blocks_among_residents),
        cmocka_unit_test(test_scattered_residents_alone),
        cmocka_unit_test(test_moved),
        cmocka_unit_test(test_a_budget_that_shrinks),
        cmocka_unit_test(test_the_bound_is_exact),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
