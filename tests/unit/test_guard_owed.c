/* test_guard_owed.c - what a layer has yet to be told: folding, bounds, fences, and notes that are renewed on their way. */
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/guard_owed.h"
#include "tests/support/fail_alloc.h"

static struct owed o;
static struct fail_alloc memory;

static void begin(size_t max_keys, size_t max_bytes, int by_space)
{
    fail_alloc_init(&memory, 0);
    strata__owed_init(&o, &memory.mem, max_keys, max_bytes, by_space);
}

static void end(void)
{
    strata__owed_deinit(&o);
    assert_int_equal(memory.live, 0);
}

static strata_op op_of(uint32_t space, const char *key)
{
    return (strata_op){ .size = sizeof(strata_op), .space = space, .hash = 9, .key = strata_str(key) };
}

static void owe(uint32_t space, const char *key)
{
    strata_op op = op_of(space, key);
    assert_int_equal(strata__owed_key(&o, &op), 1);
}

static int fenced(uint32_t space, const char *key) { return strata__owed_fences(&o, space, strata_str(key)); }

static void keys_are_folded_and_come_in_order(void **state)
{
    (void)state;
    begin(10, 10000, 0);
    owe(0, "a");
    owe(3, "b");
    owe(0, "a");
    assert_int_equal(o.key_count, 2);
    assert_true(fenced(0, "a") && fenced(77, "b")); /* the bytes say which space it is in */
    assert_false(fenced(0, "c"));
    struct owed_key *b = strata__owed_take_key(&o, o.stamp), *a = strata__owed_take_key(&o, o.stamp);
    assert_memory_equal(b->bytes, "b", 1);
    assert_int_equal(b->op_space, 3);
    assert_memory_equal(a->bytes, "a", 1);
    assert_null(strata__owed_take_key(&o, o.stamp));
    assert_true(fenced(0, "a")); /* until it is over */
    strata__owed_key_over(&o, a, 1);
    assert_false(fenced(0, "a"));
    strata__owed_key_over(&o, b, 0);
    assert_true(fenced(0, "b"));
    assert_null(strata__owed_take_key(&o, b->stamp - 1)); /* the newest again */
    end();
}

static void what_is_renewed_on_its_way_stays(void **state)
{
    (void)state;
    begin(10, 10000, 0);
    owe(0, "a");
    struct owed_key *a = strata__owed_take_key(&o, o.stamp);
    owe(0, "a");
    strata__owed_key_over(&o, a, 1);
    assert_true(fenced(0, "a"));
    strata_op op = op_of(0, "a");
    strata__owed_removed(&o, &op, o.stamp - 1); /* one that was sent before */
    assert_true(fenced(0, "a"));
    strata__owed_removed(&o, &op, o.stamp);
    assert_false(fenced(0, "a"));
    assert_true(owed_empty(&o));
    end();
}

static void spaces_by_number(void **state)
{
    (void)state;
    begin(10, 10000, 1);
    owe(1, "a");
    assert_true(fenced(1, "a"));
    assert_false(fenced(2, "a"));
    const strata_clear_op what = { .size = sizeof what, .space = 2, .prefix = strata_bytes("", 0) };
    strata__owed_clear(&o, &what);
    assert_true(fenced(2, "a"));
    assert_false(fenced(3, "a"));
    end();
}

static void too_much_is_one_clear(void **state)
{
    (void)state;
    for (int by_bytes = 0; by_bytes < 2; by_bytes++) {
        char key[16];
        strata_clear_op out;
        begin(by_bytes ? 1000 : 4, by_bytes ? 4 * (sizeof(struct owed_key) + 2) : 10000, 0);
        for (int i = 0; i < 4; i++)
            owe(0, (snprintf(key, sizeof key, "k%d", i), key));
        assert_int_equal(o.key_count, 4);
        struct owed_key *sent = strata__owed_take_key(&o, o.stamp);
        owe(0, "k5");
        assert_int_equal(o.key_count, 1); /* that one is out */
        assert_true(fenced(0, "anything"));
        strata__owed_key_over(&o, sent, 1);
        struct owed_clear *all = strata__owed_take_clear(&o, o.stamp, &out);
        assert_int_equal(out.all, 1);
        owe(0, "later"); /* is not part of the clear that is on its way */
        strata__owed_clear_over(&o, all, 1);
        assert_false(fenced(0, "anything"));
        assert_true(fenced(0, "later"));
        end();
    }
}

static void a_clear_that_is_renewed_is_done_again(void **state)
{
    (void)state;
    begin(10, 10000, 0);
    strata_clear_op what = { .size = sizeof what, .prefix = strata_str("p"), .life = 1, .position = 1 }, out;
    strata__owed_clear(&o, &what);
    struct owed_clear *note = strata__owed_take_clear(&o, o.stamp, &out);
    what.position = 2;
    strata__owed_clear(&o, &what);
    assert_int_equal(o.clear_count, 1);
    assert_int_equal(out.position, 1);
    strata__owed_clear_over(&o, note, 1);
    assert_true(fenced(0, "pq"));
    note = strata__owed_take_clear(&o, o.stamp, &out);
    assert_int_equal(out.position, 2);
    what.all = 1;
    strata__owed_clear(&o, &what); /* leaves what is out alone */
    strata__owed_clear_over(&o, note, 1);
    assert_int_equal(o.clear_count, 0);
    note = strata__owed_take_clear(&o, o.stamp, &out);
    strata__owed_clear(&o, &what);
    strata__owed_clear_over(&o, note, 1);
    assert_false(owed_empty(&o));
    note = strata__owed_take_clear(&o, o.stamp, &out);
    strata__owed_clear_over(&o, note, 0);
    assert_false(owed_empty(&o));
    note = strata__owed_take_clear(&o, o.stamp, &out);
    strata__owed_clear_over(&o, note, 1);
    assert_true(owed_empty(&o));
    end();
}

static void many_prefixes_are_all(void **state)
{
    (void)state;
    char key[16];
    begin(1000, 100000, 0);
    for (int i = 0; i < 65; i++) {
        strata_clear_op what = { .size = sizeof what };
        what.prefix = strata_str((snprintf(key, sizeof key, "p%02d", i), key));
        strata__owed_clear(&o, &what);
    }
    assert_int_equal(o.clear_count, 0);
    assert_true(fenced(0, "anything"));
    end();
}

static void without_memory_it_is_all(void **state)
{
    (void)state;
    for (long n = 1; n <= 3; n++) {
        begin(10, 10000, 0);
        atomic_store(&memory.fail_at, n);
        owe(0, "a");
        strata_clear_op what = { .size = sizeof what, .prefix = strata_str("p") };
        strata__owed_clear(&o, &what);
        assert_true(memory.failed && fenced(0, "a") && fenced(0, "pq") && fenced(0, "x"));
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_folded_and_come_in_order),
        cmocka_unit_test(what_is_renewed_on_its_way_stays),
        cmocka_unit_test(spaces_by_number),
        cmocka_unit_test(too_much_is_one_clear),
        cmocka_unit_test(a_clear_that_is_renewed_is_done_again),
        cmocka_unit_test(many_prefixes_are_all),
        cmocka_unit_test(without_memory_it_is_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
