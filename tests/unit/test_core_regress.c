/* What core once did wrong: each test is a defect that was found, in the smallest form that shows it. */
#include "tests/unit/core_fixture.h"

/* A namespace that outlives its cache: every way to write answers that it is closed. */
static void test_writes_after_close(void **state)
{
    (void)state;
    struct stack st;
    strata *ns;
    struct ended e = { 0 };
    strata_item item = { .key = strata_str("k"), .set = strata_str("v") };
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_namespace(st.cache, "a", NULL, &ns, NULL), STRATA_OK);
    close_stack(&st);
    assert_int_equal(strata_set_many(ns, &item, 1, NULL, NULL), STRATA_ECLOSED);
    assert_int_equal(strata_set_async(ns, strata_str("k"), strata_str("v"), NULL, NULL, on_done, &e, NULL), STRATA_ECLOSED);
    assert_int_equal(e.count, 0);
    assert_int_equal(strata_close(ns), STRATA_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writes_after_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
