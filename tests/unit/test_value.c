/* test_value.c - values: counting, giving back exactly once, costs, and memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/layer/value_impl.h"
#include "src/os/reclaim.h"

struct counter {
    int live;
    int fail_next;
};

static void *counted_alloc(size_t bytes, void *ctx)
{
    struct counter *c = ctx;
    if (c->fail_next)
        return NULL;
    c->live++;
    return malloc(bytes);
}

static void *counted_realloc(void *old, size_t bytes, void *ctx)
{
    (void)ctx;
    return realloc(old, bytes);
}

static void counted_free(void *old, void *ctx)
{
    struct counter *c = ctx;
    if (old != NULL)
        c->live--;
    free(old);
}

static struct counter count;
static const strata_allocator counting = { sizeof counting, counted_alloc, counted_realloc, counted_free, &count };

static int reset(void **state)
{
    (void)state;
    count = (struct counter){ 0, 0 };
    return 0;
}

static void count_release(void *data, void *ctx)
{
    (void)data;
    ++*(int *)ctx;
}

static void test_copy_holds_its_own_bytes(void **state)
{
    (void)state;
    char text[] = "hello";
    strata_value *v = strata__value_copy(&counting, text, 5);
    assert_non_null(v);
    text[0] = 'j';
    assert_int_equal(strata_value_size(v), 5);
    assert_memory_equal(strata_value_data(v), "hello", 5);
    assert_null(strata_value_object(v));
    assert_true(strata__value_is_heap(v));
    assert_int_equal((uintptr_t)strata_value_data(v) % 8, 0);
    strata_value_unref(v);
    assert_int_equal(count.live, 0);
}

static void test_empty_copy(void **state)
{
    (void)state;
    strata_value *v = strata__value_copy(&counting, NULL, 0);
    assert_non_null(v);
    assert_non_null(strata_value_data(v));
    assert_int_equal(strata_value_size(v), 0);
    strata_value_unref(v);
    assert_int_equal(count.live, 0);
}

static void test_new_gives_room_to_write(void **state)
{
    (void)state;
    void *bytes;
    strata_value *v = strata__value_new(&counting, 1000, &bytes);
    assert_non_null(v);
    memset(bytes, 7, 1000);
    assert_ptr_equal(bytes, strata_value_data(v));
    strata_value_unref(v);
    assert_int_equal(count.live, 0);
}

static void test_references_are_counted(void **state)
{
    (void)state;
    int released = 0;
    char bytes[] = "borrowed";
    strata_value *v = strata__value_take(&counting, bytes, sizeof bytes, count_release, &released);
    assert_non_null(v);
    assert_ptr_equal(strata_value_data(v), bytes);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(strata_value_ref(v), v);
    for (int i = 0; i < 3; i++) {
        strata_value_unref(v);
        assert_int_equal(released, 0);
    }
    strata_value_unref(v);
    assert_int_equal(released, 1);
    assert_int_equal(count.live, 0);
}

static void test_take_without_release(void **state)
{
    (void)state;
    static char forever[] = "static";
    strata_value *v = strata__value_take(&counting, forever, 6, NULL, NULL);
    assert_non_null(v);
    strata_value_unref(v);
    assert_int_equal(count.live, 0);
}

static void free_object(void *object, void *ctx)
{
    (void)object;
    ++*(int *)ctx;
}

static size_t cost_of_object(const void *object, void *ctx)
{
    (void)ctx;
    return *(const size_t *)object;
}

static void test_object(void **state)
{
    (void)state;
    int freed = 0;
    size_t object = 4096;
    const strata_codec codec = {
        .size = sizeof codec, .id = 1, .name = "test", .free = free_object, .cost = cost_of_object, .ctx = &freed
    };
    strata_value *v = strata__value_object(&counting, &object, &codec);
    assert_non_null(v);
    assert_ptr_equal(strata_value_object(v), &object);
    assert_null(strata_value_data(v));
    assert_int_equal(strata_value_size(v), 0);
    assert_true(strata__value_cost(v) >= 4096 + sizeof *v);
    object = SIZE_MAX; /* a codec that lies does not wrap the sum round */
    assert_true(strata__value_cost(v) > 4096);
    strata_value_unref(v);
    assert_int_equal(freed, 1);
    assert_int_equal(count.live, 0);
}

static void test_cost_covers_the_bytes(void **state)
{
    (void)state;
    char bytes[300] = { 0 };
    strata_value *copied = strata__value_copy(&counting, bytes, sizeof bytes);
    strata_value *taken = strata__value_take(&counting, bytes, sizeof bytes, NULL, NULL);
    assert_true(strata__value_cost(copied) >= 300 + sizeof *copied);
    assert_true(strata__value_cost(taken) >= 300 + sizeof *taken);
    strata_value_unref(copied);
    strata_value_unref(taken);
}

/* A pin is a slot of a reader's record: the last reference frees the slot. */
static void test_pins_free_their_slot(void **state)
{
    (void)state;
    struct reclaim_pin slot;
    memset(&slot, 0, sizeof slot);
    struct strata_value *pin = (struct strata_value *)(void *)&slot;
    pin->data = "x";
    pin->size = 1;
    pin->refs = 1;
    pin->kind = STRATA__VALUE_PIN;
    reclaim_protect(&slot, pin->data);
    assert_false(strata__value_is_heap(pin));
    assert_int_equal(strata__value_cost(pin), sizeof *pin + 1);
    strata_value_ref(pin);
    strata_value_unref(pin);
    assert_int_equal(slot.address, (uintptr_t)pin->data);
    strata_value_unref(pin);
    assert_int_equal(slot.address, 0);
}

/* As its slot is while that is free, or a value with an object, which has to leave the slot again. */
static void test_a_pin_leaves_its_slot_as_new(void **state)
{
    (void)state;
    for (int holders = 1; holders <= 3; holders++)
        for (int with_object = 0; with_object <= 1; with_object++) {
            struct reclaim_pin slot;
            memset(&slot, 0, sizeof slot);
            slot.handle[3] = RECLAIM_HANDLE;
            struct strata_value *pin = (struct strata_value *)(void *)&slot;
            assert_int_equal(pin->kind, STRATA__VALUE_PIN);
            assert_int_equal(pin->refs, RECLAIM_ALONE);
            if (with_object) {
                pin->object = &slot;
                pin->refs = 1;
            }
            reclaim_protect(&slot, "x");
            for (int i = 1; i < holders; i++)
                strata_value_ref(pin);
            for (int i = 1; i < holders; i++)
                strata_value_unref(pin);
            assert_true(slot.address != 0);
            strata_value_unref(pin);
            assert_int_equal(slot.address, 0);
            assert_int_equal(slot.handle[2], 0);
            assert_int_equal(slot.handle[3], RECLAIM_HANDLE);
        }
}

static void test_null_is_harmless(void **state)
{
    (void)state;
    strata_value_unref(NULL);
    assert_null(strata_value_ref(NULL));
    assert_null(strata_value_data(NULL));
    assert_null(strata_value_object(NULL));
    assert_int_equal(strata_value_size(NULL), 0);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    int released = 0;
    const strata_codec codec = { .size = sizeof codec, .id = 1, .name = "test", .free = free_object, .ctx = &released };
    void *bytes = &bytes;
    count.fail_next = 1;
    assert_null(strata__value_new(&counting, 10, &bytes));
    assert_null(bytes);
    assert_null(strata__value_copy(&counting, "x", 1));
    assert_null(strata__value_take(&counting, &released, 1, count_release, &released));
    assert_null(strata__value_object(&counting, &released, &codec));
    assert_int_equal(released, 0); /* the caller still owns what was not taken */
    count.fail_next = 0;
    assert_null(strata__value_new(&counting, SIZE_MAX, &bytes));
    assert_null(strata__value_new(&counting, SIZE_MAX - 16, &bytes));
    assert_int_equal(count.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_copy_holds_its_own_bytes, reset),
        cmocka_unit_test_setup(test_empty_copy, reset),
        cmocka_unit_test_setup(test_new_gives_room_to_write, reset),
        cmocka_unit_test_setup(test_references_are_counted, reset),
        cmocka_unit_test_setup(test_take_without_release, reset),
        cmocka_unit_test_setup(test_object, reset),
        cmocka_unit_test_setup(test_cost_covers_the_bytes, reset),
        cmocka_unit_test_setup(test_pins_free_their_slot, reset),
        cmocka_unit_test_setup(test_a_pin_leaves_its_slot_as_new, reset),
        cmocka_unit_test_setup(test_null_is_harmless, reset),
        cmocka_unit_test_setup(test_out_of_memory, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
