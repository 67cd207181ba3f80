/* test_coherence.c - what one node invalidates, the others do not serve; and who may have missed something knows. */
#include "tests/unit/coherence_fixture.h"

/* A delete reaches the memory of another node --------------------------------------------------------------------- */

static void delete_reaches(uint32_t flags, int no_store)
{
    struct nodes n;
    char text[64];
    nodes_open(&n, &(struct nodes_options){ .net.flags = flags, .no_store = no_store });
    for (int i = 0; i < 2; i++)
        assert_int_equal(strata_set(n.node[i], k("a"), k("1"), NULL, NULL), STRATA_OK);
    nodes_pass(&n, 5);
    assert_int_equal(strata_set(n.node[1], k("b"), k("2"), NULL, NULL), STRATA_OK);
    assert_int_equal(get_text(n.node[1], "b", text), STRATA_OK);
    assert_int_equal(strata_delete(n.node[0], k("b"), NULL), STRATA_OK);
    nodes_run(&n);
    assert_int_equal(get_text(n.node[1], "b", text), STRATA_MISS);
    assert_int_equal(health_of(n.node[1]).applied, no_store ? 2 : 2);
    nodes_close(&n);
}

static void test_a_delete_reaches_other_nodes(void **state)
{
    (void)state;
    delete_reaches(0, 0);
    delete_reaches(ORDERED, 0);
    delete_reaches(0, 1);
    delete_reaches(ORDERED, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_delete_reaches_other_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
