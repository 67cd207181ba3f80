/* test_memory_room.c - what has to leave so that something comes in: as little as can be, whatever the sizes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "src/layer/memory/memory_impl.h"
#include "tests/support/memory_fixture.h"

static char zeros[2000000];

static struct shard *only_shard(struct memory_fixture *f) { return ((struct memory *)(void *)f->layer)->shards; }

static void open_one_shard(struct memory_fixture *f, uint64_t max_bytes, int policy)
{
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = max_bytes, .shards = 1,
                                .policy = policy };
    assert_int_equal(fixture_open(f, &o, NULL), STRATA_OK);
}

static int put_zeros(struct memory_fixture *f, uint64_t n, size_t size)
{
    char room[32];
    return fixture_put(f, fixture_key(room, n), zeros, size, 3600000);
}

/* A shard full of small values, in whatever order: a large one costs about its own size. */
static void test_large_value_among_small_ones(void **state)
{
    (void)state;
    for (int policy = STRATA_EVICT_S3FIFO; policy <= STRATA_EVICT_COST; policy++) {
        struct memory_fixture f;
        open_one_shard(&f, 4 << 20, policy);
        uint64_t x = 1;
        for (int i = 0; i < 150000; i++) {
            x = strata__mix64(x + 1);
            uint64_t n = x % 40000;
            if (!fixture_has_number(&f, n))
                assert_int_equal(fixture_put_number(&f, n, 20 + n % 300), STRATA_OK);
        }
        uint64_t before = fixture_stats(&f).entries;
        assert_int_equal(put_zeros(&f, 1000000, 15000), STRATA_OK); /* a block */
        assert_true(fixture_stats(&f).entries + 1000 > before);
        assert_int_equal(put_zeros(&f, 1000001, 600000), STRATA_OK); /* on the heap: three chunks of sixteen */
        assert_true(fixture_stats(&f).entries > before / 2);
        assert_true(fixture_stats(&f).bytes <= 4 << 20);
        fixture_close(&f);
    }
}

/* What large values took comes back for small ones. */
static void test_chunks_come_and_go(void **state)
{
    (void)state;
    struct memory_fixture f;
    open_one_shard(&f, 2 << 20, STRATA_EVICT_LRU);
    for (int round = 0; round < 5; round++) {
        for (uint64_t n = 0; n < 20000; n++)
            assert_int_equal(fixture_put_number(&f, n, 100), STRATA_OK);
        assert_true(only_shard(&f)->slab_bytes > 3 << 19);
        for (uint64_t n = 100000; n < 100100; n++)
            assert_int_equal(put_zeros(&f, n, 50000), STRATA_OK);
        assert_true(only_shard(&f)->heap_bytes > 5 << 18);
        assert_true(fixture_stats(&f).bytes <= 2 << 20);
    }
    fixture_close(&f);
}

/* More values must leave than are given back under one hold of the mutex. */
static void test_one_large_value_for_many(void **state)
{
    (void)state;
    struct memory_fixture f;
    open_one_shard(&f, 4 << 20, STRATA_EVICT_FIFO);
    for (uint64_t n = 0; n < 1000; n++)
        assert_int_equal(put_zeros(&f, n, 17000), STRATA_OK);
    assert_int_equal(put_zeros(&f, 1000, 1900000), STRATA_OK);
    assert_true(fixture_stats(&f).entries > 100);
    fixture_close(&f);
}

/* The slab may grow for an entry's head: what its value takes on the heap is counted before. */
static void test_heap_and_slab_share_the_budget(void **state)
{
    (void)state;
    for (uint64_t large = 40; large < 56; large++) {
        struct memory_fixture f;
        open_one_shard(&f, 1 << 20, STRATA_EVICT_FIFO);
        for (uint64_t n = 0; n < large; n++)
            assert_int_equal(put_zeros(&f, n, 17000), STRATA_OK);
        for (uint64_t n = 1000; n == 1000 || only_shard(&f)->free_units >= 10; n++)
            assert_int_equal(fixture_put_number(&f, n, 24), STRATA_OK);
        assert_int_equal(put_zeros(&f, 100000, 100000), STRATA_OK);
        assert_true(fixture_stats(&f).bytes <= 1 << 20);
        fixture_close(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_large_value_among_small_ones),
        cmocka_unit_test(test_chunks_come_and_go),
        cmocka_unit_test(test_one_large_value_for_many),
        cmocka_unit_test(test_heap_and_slab_share_the_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
