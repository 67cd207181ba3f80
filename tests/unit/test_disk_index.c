/* test_disk_index.c - the disk layer's index against an array: sorted, found, erased, and no larger than it may be. */
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/base/hash.h"
#include "src/layer/disk/disk_impl.h"
#include "tests/support/fail_alloc.h"

static struct slot slot_of(uint32_t tag, uint32_t n) { return (struct slot){ tag, n, slot_where(n % 4096, 64, 32) }; }

static void expect(const struct disk_shard *shard, uint32_t tag, uint32_t n)
{
    const struct slot *slot = strata__disk_index_find(shard, tag);
    if (n == 0) {
        assert_null(slot);
        return;
    }
    assert_non_null(slot);
    assert_int_equal(slot->expires_s, n);
}

static void places_come_apart_again(void **state)
{
    (void)state;
    uint64_t where = slot_where(4095, PLACE_OFFSET_MAX, SLOT_SIZE_MAX);
    assert_int_equal(where_segment(where), 4095);
    assert_int_equal(where_offset(where), PLACE_OFFSET_MAX);
    assert_int_equal(where_size(where), SLOT_SIZE_MAX);
    assert_int_equal(where_use(where), 0);
    assert_true(where_same(where, where + 3));
    assert_false(where_same(where, slot_where(4095, PLACE_OFFSET_MAX, SLOT_SIZE_MAX - 16)));
}

/* Tags from a small range, all over, and all at one end: the worst for a table whose homes follow the tags. */
static void against_an_array(uint32_t range, uint32_t first)
{
    enum { STEPS = 60000, TAGS = 3000 };
    static uint32_t want[TAGS];
    struct disk_shard shard = { 0 };
    uint64_t chance = 5;
    memset(want, 0, sizeof want);
    assert_int_equal(strata__disk_index_init(&shard, NULL, 0), STRATA_OK);
    for (uint32_t i = 1; i <= STEPS; i++) {
        chance = strata__mix64(chance + i);
        uint32_t k = (uint32_t)(chance % TAGS), tag = first + (uint32_t)((uint64_t)k * range / TAGS);
        struct slot old, *there = strata__disk_index_find(&shard, tag);
        expect(&shard, tag, want[k]);
        if (chance >> 40 & 1) {
            assert_int_equal(strata__disk_index_set(&shard, NULL, slot_of(tag, i), &old), STRATA_OK);
            assert_int_equal(old.where != 0, want[k] != 0);
            want[k] = i;
        } else if (there != NULL) {
            strata__disk_index_erase(&shard, there);
            want[k] = 0;
        }
    }
    uint64_t used = 0;
    for (uint32_t k = 0; k < TAGS; k++) {
        expect(&shard, first + (uint32_t)((uint64_t)k * range / TAGS), want[k]);
        used += want[k] != 0;
    }
    assert_int_equal(shard.used, used);
    strata__disk_index_deinit(&shard, NULL);
}

static void it_finds_what_an_array_has(void **state)
{
    (void)state;
    against_an_array(UINT32_MAX, 0);
    against_an_array(1u << 20, 77);
    against_an_array(3000, 5);
}

/* No hash does that; but then puts fail, and memory does not. */
static void tags_that_crowd_at_the_end_are_refused(void **state)
{
    struct disk_shard shard = { 0 };
    struct slot old;
    uint32_t n = 0;
    (void)state;
    assert_int_equal(strata__disk_index_init(&shard, NULL, 0), STRATA_OK);
    while (n < 5000 && strata__disk_index_set(&shard, NULL, slot_of(UINT32_MAX - n, n + 1), &old) == STRATA_OK)
        n++;
    assert_in_range(n, 20, 4999);
    assert_true(shard.room < 5000 * 16);
    for (uint32_t i = 0; i < n; i++)
        expect(&shard, UINT32_MAX - i, i + 1);
    strata__disk_index_deinit(&shard, NULL);
}

static void it_takes_at_most_32_bytes_an_entry(void **state)
{
    struct disk_shard shard = { 0 };
    struct slot old;
    (void)state;
    assert_int_equal(strata__disk_index_init(&shard, NULL, 0), STRATA_OK);
    for (uint32_t i = 1; i < 300000; i++) {
        assert_int_equal(strata__disk_index_set(&shard, NULL, slot_of((uint32_t)strata__mix64(i), i), &old), STRATA_OK);
        if (shard.used > 2000)
            assert_true(shard.room * sizeof(struct slot) <= 32 * shard.used);
    }
    strata__disk_index_deinit(&shard, NULL);
}

static void out_of_memory_changes_nothing(void **state)
{
    struct fail_alloc a;
    struct disk_shard shard = { 0 };
    struct slot old;
    uint32_t n = 1;
    (void)state;
    fail_alloc_init(&a, 4);
    assert_int_equal(strata__disk_index_init(&shard, &a.mem, 0), STRATA_OK);
    while (strata__disk_index_set(&shard, &a.mem, slot_of(n * 40000000u, n), &old) == STRATA_OK)
        n++;
    assert_true(n > 15);
    for (uint32_t i = 1; i < n; i++)
        expect(&shard, i * 40000000u, i);
    assert_int_equal(shard.used, n - 1);
    strata__disk_index_deinit(&shard, &a.mem);
    assert_int_equal(a.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_come_apart_again),
        cmocka_unit_test(it_finds_what_an_array_has),
        cmocka_unit_test(tags_that_crowd_at_the_end_are_refused),
        cmocka_unit_test(it_takes_at_most_32_bytes_an_entry),
        cmocka_unit_test(out_of_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
