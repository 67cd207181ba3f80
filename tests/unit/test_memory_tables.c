/* test_memory_tables.c - memory for tables: zeros, nobody else's, and the same again when the range is full or the system refuses. */
#include <errno.h>
#include <stdlib.h>

#include "src/base/hash.h"
#include "src/layer/memory/memory_impl.h"
#include "src/os/os_map.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/fault_nth.h"

enum { KIB = 1 << 10, MIB = 1 << 20, TABLES = 64 };

static struct memory *open_layer(uint64_t max_bytes)
{
    void *room = NULL;
    assert_int_equal(posix_memalign(&room, 64, sizeof(struct memory)), 0);
    struct memory *m = memset(room, 0, sizeof *m);
    m->max_bytes = max_bytes;
    strata__tables_init(m);
    return m;
}

static void close_layer(struct memory *m)
{
    strata__tables_deinit(m);
    free(m);
}

static void is_given(const struct memory *m)
{
    for (size_t page = 0; page < m->tables.range_bytes / OS_MAP_ALIGN; page++)
        assert_int_equal(m->tables.out[page], 0);
    for (size_t i = 0; i < TABLE_CLASSES; i++)
        assert_int_equal(m->tables.runs[i].end, 0);
}

static void check_fresh(const struct table_room *room, size_t bytes)
{
    const unsigned char *at = room->at;
    assert_int_equal((uintptr_t)at % 128, 0);
    assert_int_equal(room->bytes, strata__table_counts(bytes));
    for (size_t i = 0; i < bytes; i++)
        if (at[i] != 0)
            fail_msg("byte %zu of %zu is not 0", i, bytes);
}

static void check_mark(const struct table_room *room, size_t bytes, int mark)
{
    const unsigned char *at = room->at;
    for (size_t i = 0; i < bytes; i += 509)
        assert_int_equal(at[i], mark);
}

static void small_layers_and_small_tables_use_the_allocator(void **state)
{
    (void)state;
    static const uint64_t budgets[] = { 32 * MIB, 256 * MIB };
    for (size_t i = 0; i < 2; i++) {
        struct memory *m = open_layer(budgets[i]);
        struct fail_alloc alloc;
        fail_alloc_init(&alloc, 0);
        m->mem = &alloc.mem;
        struct table_room small, large;
        assert_int_equal(strata__table_take(m, 1000, &small), 0);
        check_fresh(&small, 1000);
        assert_int_equal(alloc.live, 1);
        assert_int_equal(strata__table_take(m, 100 * KIB, &large), 0);
        check_fresh(&large, 100 * KIB);
        assert_int_equal(large.shared, (int)i);
        assert_int_equal(alloc.live, i == 0 ? 2 : 1);
        strata__table_give(m, &small);
        strata__table_give(m, &large);
        assert_int_equal(alloc.live, 0);
        m->mem = NULL;
        close_layer(m);
    }
}

/* As shards do: all of one size, then all of the next, and the old ones go. */
static void tables_of_a_size_stand_together(void **state)
{
    (void)state;
    struct memory *m = open_layer(256 * MIB);
    struct table_room old[16] = { { 0 } }, now[16];
    for (size_t bytes = 20 * KIB; bytes < 3 * MIB; bytes += bytes / 2) {
        for (size_t i = 0; i < 16; i++) {
            assert_int_equal(strata__table_take(m, bytes, &now[i]), 0);
            check_fresh(&now[i], bytes);
            assert_true(now[i].shared);
            memset(now[i].at, 7, bytes);
            if (i > 0 && bytes * 16 < MIB)
                assert_ptr_equal(now[i].at, (char *)now[i - 1].at + now[i - 1].bytes);
            strata__table_give(m, &old[i]);
            old[i] = now[i];
        }
    }
    for (size_t i = 0; i < 16; i++)
        strata__table_give(m, &old[i]);
    is_given(m);
    close_layer(m);
}

/* At random, of all sizes, in a range that is soon full. */
static void nobody_has_what_another_one_has(void **state)
{
    (void)state;
    uint64_t random_state = 11;
    struct memory *m = open_layer(64 * MIB);
    struct table_room room[TABLES];
    size_t bytes[TABLES] = { 0 }, alone = 0;
    for (int step = 0; step < 3000; step++) {
        size_t i = strata__mix64(random_state++) % TABLES;
        if (bytes[i] != 0) {
            check_mark(&room[i], bytes[i], (int)i + 1);
            strata__table_give(m, &room[i]);
            bytes[i] = 0;
            continue;
        }
        bytes[i] = (size_t)(10 * KIB) << strata__mix64(random_state++) % 9;
        bytes[i] += strata__mix64(random_state++) % bytes[i];
        assert_int_equal(strata__table_take(m, bytes[i], &room[i]), 0);
        check_fresh(&room[i], bytes[i]);
        memset(room[i].at, (int)i + 1, bytes[i]);
        alone += room[i].block == NULL && !room[i].shared;
    }
    assert_true(alone > 0);
    for (size_t i = 0; i < TABLES; i++)
        if (bytes[i] != 0)
            strata__table_give(m, &room[i]);
    is_given(m);
    close_layer(m);
}

static void what_the_system_refuses_is_had_elsewhere(void **state)
{
    (void)state;
    struct fault_nth fault;
    struct table_room room;
    fault_nth_set(&fault, "mmap", 1, ENOMEM); /* no range at all */
    struct memory *m = open_layer(64 * MIB);
    assert_null(m->tables.range);
    assert_int_equal(strata__table_take(m, 300 * KIB, &room), 0);
    assert_false(room.shared);
    check_fresh(&room, 300 * KIB);
    strata__table_give(m, &room);
    fault_nth_set(&fault, "mmap", 1, ENOMEM);
    assert_int_equal(strata__table_take(m, 300 * KIB, &room), -1);
    fault_nth_clear();
    close_layer(m);

    m = open_layer(64 * MIB);
    fault_nth_set(&fault, "mprotect", 1, ENOMEM);
    assert_int_equal(strata__table_take(m, 30 * KIB, &room), 0);
    assert_non_null(room.block);
    strata__table_give(m, &room);
    assert_int_equal(strata__table_take(m, 30 * KIB, &room), 0);
    assert_true(room.shared);
    fault_nth_set(&fault, "mmap", 1, ENOMEM); /* its huge page can't be made anew: given back as it is */
    strata__table_give(m, &room);
    assert_int_equal(fault.seen, 1);
    fault_nth_clear();
    assert_int_equal(strata__table_take(m, 30 * KIB, &room), 0);
    check_fresh(&room, 30 * KIB);
    strata__table_give(m, &room);
    is_given(m);
    close_layer(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_layers_and_small_tables_use_the_allocator),
        cmocka_unit_test(tables_of_a_size_stand_together),
        cmocka_unit_test(nobody_has_what_another_one_has),
        cmocka_unit_test(what_the_system_refuses_is_had_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
