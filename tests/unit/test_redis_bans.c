/* test_redis_bans.c - what a clear leaves: which puts came too late, and what a full list forgets. */
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/redis/redis_bans.h"
#include "tests/support/fail_alloc.h"

static struct redis_bans bans;

static void clear(const strata_allocator *mem, const char *prefix, uint64_t life, uint32_t position)
{
    const strata_clear_op what = { .size = sizeof what,
                                   .all = prefix == NULL,
                                   .prefix = strata_str(prefix != NULL ? prefix : ""),
                                   .life = life,
                                   .position = position };
    strata__redis_ban(&bans, mem, &what);
}

static int banned(const char *key, uint64_t life, uint32_t position)
{
    return strata__redis_banned(&bans, strata_str(key), life, position);
}

static void test_only_what_was_cleared(void **state)
{
    (void)state;
    assert_false(banned("user:1", 1, 0));
    clear(NULL, "user:", 1, 5);
    assert_true(banned("user:1", 1, 4));
    assert_true(banned("user:", 1, 0));
    assert_false(banned("user:1", 1, 5));
    assert_false(banned("user", 1, 4));
    assert_false(banned("other:1", 1, 4));
    assert_false(banned("user:1", 2, 4));
    clear(NULL, "user:", 1, 9); /* one of the same prefix takes its place */
    clear(NULL, "user:1:", 1, 8);
    assert_int_equal(bans.count, 2);
    assert_true(banned("user:1:a", 1, 8));
    clear(NULL, NULL, 1, 10); /* and one of everything all of them */
    assert_int_equal(bans.count, 1);
    assert_true(banned("", 1, 9));
    strata__redis_bans_deinit(&bans, NULL);
    assert_false(banned("user:1", 1, 4));
}

static void test_a_full_list_forgets_precision_never_a_ban(void **state)
{
    (void)state;
    char prefix[32];
    for (uint32_t i = 0; i < REDIS_BANS_MOST; i++) {
        snprintf(prefix, sizeof prefix, "%u:", i);
        clear(NULL, prefix, 1, 100 - i);
    }
    assert_int_equal(bans.count, REDIS_BANS_MOST);
    assert_false(banned("0", 1, 50));
    clear(NULL, "more", 1, 3);
    assert_int_equal(bans.count, 1);
    assert_true(banned("0:x", 1, 99));
    assert_true(banned("0", 1, 99)); /* more than it must */
    assert_false(banned("0:x", 1, 100));
    strata__redis_bans_deinit(&bans, NULL);
}

static void test_without_memory_it_bans_everything(void **state)
{
    (void)state;
    struct fail_alloc a;
    fail_alloc_init(&a, 1);
    clear(&a.mem, "user:", 1, 5);
    assert_true(a.failed);
    assert_true(banned("user:1", 1, 4));
    assert_true(banned("other", 1, 4));
    strata__redis_bans_deinit(&bans, &a.mem);
    assert_int_equal(a.live, 0);
}

/* What is read while keys are still being removed may be what is to go. */
static void test_reads_count_as_later_once_every_clear_is_through(void **state)
{
    (void)state;
    clear(NULL, "user:", 1, 5);
    assert_int_equal(bans.swept, 0);
    clear(NULL, "other:", 1, 6);
    strata__redis_bans_swept(&bans, 6);
    assert_int_equal(bans.swept, 0); /* the first one is still at work */
    strata__redis_bans_swept(&bans, 5);
    assert_int_equal(bans.swept, 6);
    strata__redis_bans_raise(&bans, 7);
    assert_int_equal(bans.swept, 7);
    strata__redis_bans_deinit(&bans, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_was_cleared),
        cmocka_unit_test(test_a_full_list_forgets_precision_never_a_ban),
        cmocka_unit_test(test_without_memory_it_bans_everything),
        cmocka_unit_test(test_reads_count_as_later_once_every_clear_is_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
