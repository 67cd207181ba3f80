/* test_os_map.c - ranges: reserved, committed in parts, given back. */
#include "tests/support/cmocka_all.h"

#include <errno.h>
#include <string.h>

#include "src/os/os_map.h"
#include "tests/support/fault_nth.h"

static void reserved_range_is_aligned(void **state)
{
    (void)state;
    void *range;
    assert_int_equal(strata__os_map_reserve(&range, 5), 0);
    assert_int_equal((uintptr_t)range % OS_MAP_ALIGN, 0);
    assert_int_equal(strata__os_map_commit(range, strata__os_page_size(), 0), 0);
    strata__os_map_release(range, 5);
    strata__os_map_release(NULL, 5);
}

static void parts_grow_in_place(void **state)
{
    (void)state;
    const size_t page = strata__os_page_size();
    const size_t size = (size_t)1 << 36; /* far more than there is memory */
    void *range;
    assert_int_equal(strata__os_map_reserve(&range, size), 0);
    char *bytes = range;
    for (int huge = 0; huge < 2; huge++) {
        char *part = bytes + (size_t)huge * 8 * OS_MAP_ALIGN;
        assert_int_equal(strata__os_map_commit(part, 4 * page, huge), 0);
        memset(part, 7, 4 * page);
        assert_int_equal(strata__os_map_commit(part, 8 * page, huge), 0);
        assert_int_equal(part[4 * page - 1], 7);
        assert_int_equal(part[4 * page], 0);
    }
    strata__os_map_release(range, size);
}

static void decommitted_memory_comes_back_as_zeros(void **state)
{
    (void)state;
    const size_t page = strata__os_page_size();
    void *range;
    assert_int_equal(strata__os_map_reserve(&range, 16 * page), 0);
    char *bytes = range;
    assert_int_equal(strata__os_map_commit(bytes, 4 * page, 0), 0);
    memset(bytes, 9, 4 * page);
    strata__os_map_decommit(bytes + page, page);
    assert_int_equal(strata__os_map_commit(bytes + page, page, 0), 0);
    assert_int_equal(bytes[page - 1], 9);
    assert_int_equal(bytes[page], 0);
    assert_int_equal(bytes[2 * page], 9);
    strata__os_map_release(range, 16 * page);
}

static void huge_parts_come_back_as_zeros(void **state)
{
    (void)state;
    struct fault_nth fault;
    void *range;
    assert_int_equal(strata__os_map_reserve(&range, 3 * (size_t)OS_MAP_ALIGN), 0);
    char *part = (char *)range + OS_MAP_ALIGN;
    for (int fails = 0; fails < 2; fails++) {
        assert_int_equal(strata__os_map_commit(range, 3 * (size_t)OS_MAP_ALIGN, 1), 0);
        memset(range, 5, 3 * (size_t)OS_MAP_ALIGN);
        fault_nth_set(&fault, "mmap", fails, ENOMEM);
        strata__os_map_decommit_huge(part, OS_MAP_ALIGN);
        fault_nth_clear();
        assert_int_equal(strata__os_map_commit(part, OS_MAP_ALIGN, 1), 0);
        assert_int_equal(part[-1], 5);
        assert_int_equal(part[0], 0);
        assert_int_equal(part[OS_MAP_ALIGN - 1], 0);
        assert_int_equal(part[OS_MAP_ALIGN], 5);
    }
    strata__os_map_release(range, 3 * (size_t)OS_MAP_ALIGN);
}

static void failures_are_told(void **state)
{
    (void)state;
    struct fault_nth fault;
    void *range = &fault;
    assert_int_equal(strata__os_map_reserve(&range, 0), EINVAL);
    assert_null(range);
    assert_int_equal(strata__os_map_reserve(&range, SIZE_MAX), EINVAL);
    fault_nth_set(&fault, "mmap", 1, ENOMEM);
    assert_int_equal(strata__os_map_reserve(&range, 100), ENOMEM);
    assert_null(range);
    assert_int_equal(strata__os_map_reserve(&range, 100), 0);
    fault_nth_set(&fault, "mprotect", 2, ENOMEM);
    assert_int_equal(strata__os_map_commit(range, strata__os_page_size(), 0), 0);
    assert_int_equal(strata__os_map_commit(range, strata__os_page_size(), 0), ENOMEM);
    /* No huge pages is no failure. */
    fault_nth_set(&fault, "madvise", 1, EINVAL);
    assert_int_equal(strata__os_map_commit(range, strata__os_page_size(), 1), 0);
    assert_int_equal(fault.seen, 1);
    fault_nth_clear();
    strata__os_map_release(range, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reserved_range_is_aligned),
        cmocka_unit_test(parts_grow_in_place),
        cmocka_unit_test(decommitted_memory_comes_back_as_zeros),
        cmocka_unit_test(huge_parts_come_back_as_zeros),
        cmocka_unit_test(failures_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
