/* test_list.c - the linked ring. */
#include "tests/support/cmocka_all.h"

#include "src/base/list.h"

struct item {
    int number;
    struct list_node link;
};

static int sum_in_order(struct list_node *list)
{
    int digits = 0;
    LIST_EACH(node, list)
    digits = digits * 10 + list_entry(node, struct item, link)->number;
    return digits;
}

static void push_remove_pop(void **state)
{
    (void)state;
    struct list_node list;
    struct item a = { 1, { 0 } }, b = { 2, { 0 } }, c = { 3, { 0 } };
    list_init(&list);
    assert_true(list_empty(&list));
    assert_null(list_pop_front(&list));
    assert_false(list_linked(&a.link));
    list_push_back(&list, &b.link);
    list_push_back(&list, &c.link);
    list_push_front(&list, &a.link);
    assert_int_equal(sum_in_order(&list), 123);
    list_remove(&b.link);
    assert_false(list_linked(&b.link));
    assert_int_equal(sum_in_order(&list), 13);
    list_insert_after(&a.link, &b.link);
    assert_int_equal(sum_in_order(&list), 123);
    assert_ptr_equal(list_pop_front(&list), &a.link);
    assert_int_equal(sum_in_order(&list), 23);
}

static void removing_while_walking(void **state)
{
    (void)state;
    struct list_node list;
    struct item items[5];
    list_init(&list);
    for (int i = 0; i < 5; i++) {
        items[i].number = i;
        list_push_back(&list, &items[i].link);
    }
    LIST_EACH(node, &list)
    if (list_entry(node, struct item, link)->number % 2 == 0)
        list_remove(node);
    assert_int_equal(sum_in_order(&list), 13);
}

static void moving_all(void **state)
{
    (void)state;
    struct list_node to, from;
    struct item a = { 1, { 0 } }, b = { 2, { 0 } }, c = { 3, { 0 } };
    list_init(&to);
    list_init(&from);
    list_move_all(&to, &from);
    assert_true(list_empty(&to));
    list_push_back(&to, &a.link);
    list_push_back(&from, &b.link);
    list_push_back(&from, &c.link);
    list_move_all(&to, &from);
    assert_int_equal(sum_in_order(&to), 123);
    assert_true(list_empty(&from));
    list_remove(&c.link);
    assert_int_equal(sum_in_order(&to), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(push_remove_pop),
        cmocka_unit_test(removing_while_walking),
        cmocka_unit_test(moving_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
