/* test_heap.c - the heap against a plain array that is searched. */
#include "tests/support/cmocka_all.h"

#include "src/base/hash.h"
#include "src/base/heap.h"

enum { ITEMS = 300 };

struct item {
    int key;
    struct heap_node node;
};

static struct item items[ITEMS];

static struct item *item_of(const struct heap_node *node)
{
    return (struct item *)(void *)((char *)(uintptr_t)node - offsetof(struct item, node));
}

static int less(const struct heap_node *a, const struct heap_node *b) { return item_of(a)->key < item_of(b)->key; }

static void fill(struct heap *heap, uint64_t seed)
{
    strata__heap_init(heap, less);
    for (int i = 0; i < ITEMS; i++) {
        items[i] = (struct item){ .key = (int)(strata__mix64(seed + (uint64_t)i) % 100) };
        strata__heap_insert(heap, &items[i].node);
    }
}

static void pops_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct heap heap;
        fill(&heap, seed * 1000);
        assert_int_equal(heap.count, ITEMS);
        int last = -1;
        for (int i = 0; i < ITEMS; i++) {
            struct heap_node *node = strata__heap_pop(&heap);
            assert_non_null(node);
            assert_false(heap_holds(node));
            assert_true(item_of(node)->key >= last);
            last = item_of(node)->key;
        }
        assert_null(strata__heap_pop(&heap));
        assert_int_equal(heap.count, 0);
    }
}

static int least_held(void)
{
    int least = INT32_MAX;
    for (int i = 0; i < ITEMS; i++)
        if (heap_holds(&items[i].node) && items[i].key < least)
            least = items[i].key;
    return least;
}

static void random_inserts_and_removes(void **state)
{
    (void)state;
    struct heap heap;
    fill(&heap, 7);
    size_t count = ITEMS;
    for (uint64_t i = 0; i < 20000; i++) {
        uint64_t r = strata__mix64(i + 99);
        struct item *item = &items[r % ITEMS];
        if (heap_holds(&item->node)) {
            strata__heap_remove(&heap, &item->node);
            assert_false(heap_holds(&item->node));
            count--;
        } else {
            item->key = (int)((r >> 32) % 1000);
            strata__heap_insert(&heap, &item->node);
            count++;
        }
        assert_int_equal(heap.count, count);
        const struct heap_node *first = heap_peek(&heap);
        assert_int_equal(first != NULL ? item_of(first)->key : INT32_MAX, least_held());
    }
}

/* Sorted input makes the longest lists of siblings: no recursion may follow them. */
static void many_in_a_row(void **state)
{
    (void)state;
    enum { MANY = 200000 };
    struct item *many = test_calloc(MANY, sizeof *many);
    struct heap heap;
    strata__heap_init(&heap, less);
    for (int i = 0; i < MANY; i++) {
        many[i].key = i;
        strata__heap_insert(&heap, &many[i].node);
    }
    for (int i = 0; i < MANY; i++)
        assert_int_equal(item_of(strata__heap_pop(&heap))->key, i);
    test_free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pops_in_order),
        cmocka_unit_test(random_inserts_and_removes),
        cmocka_unit_test(many_in_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
