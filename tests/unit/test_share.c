/* test_share.c - strata_namespace_options.memory_share_percent and _bytes: a namespace, and those below it, keep their share of
 * memory while others fill it; what is refused, and that nothing is left of it. */
#include "tests/unit/core_fixture.h"

static int open_with(strata *parent, const char *name, int32_t percent, uint64_t bytes, strata **out, strata_error *err)
{
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    options.memory_share_percent = percent;
    options.memory_share_bytes = bytes;
    return strata_namespace(parent, name, &options, out, err);
}

static void fill(strata *cache, int count)
{
    strata_error err;
    for (int i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        assert_int_equal(strata_set(cache, strata_str(key), strata_str("value"), NULL, &err), STRATA_OK);
    }
}

static int held(strata *cache, int count)
{
    strata_error err;
    int n = 0;
    for (int i = 0; i < count; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        n += strata_has(cache, strata_str(key), &err) == 1;
    }
    return n;
}

static void test_a_namespace_and_those_below(void **state)
{
    (void)state;
    struct stack st;
    strata *ours, *below, *own, *other;
    open_stack(&st, &(struct stack_options){ .memory_entries = 200 });
    assert_int_equal(open_with(st.cache, "other", 0, 0, &other, &st.err), STRATA_OK);
    assert_int_equal(open_with(st.cache, "ours", 30, 0, &ours, &st.err), STRATA_OK);
    assert_int_equal(open_with(ours, "below", 0, 0, &below, &st.err), STRATA_OK);
    assert_int_equal(open_with(ours, "own", 10, 0, &own, &st.err), STRATA_OK);
    fill(ours, 30);
    fill(below, 30);
    fill(own, 20);
    fill(other, 1000);
    fill(st.cache, 1000);
    assert_int_equal(held(ours, 30) + held(below, 30), 60);
    assert_int_equal(held(own, 20), 20);
    fill(below, 100); /* of the same share: who came first leaves first, and from others no more than is lent */
    fill(other, 1000);
    assert_int_equal(held(ours, 30), 0);
    assert_int_equal(held(below, 100), 60);
    assert_int_equal(held(own, 20), 20);
    assert_int_equal(strata_clear(ours, &st.err), STRATA_OK);
    fill(other, 200);
    assert_int_equal(held(other, 200), 200); /* nobody has the share now */
    fill(below, 60);
    fill(other, 1000);
    assert_int_equal(held(below, 60), 60);
    strata_close(ours); /* a namespace is there until the cache is closed, whoever holds it */
    strata_close(below);
    fill(other, 1000);
    assert_int_equal(strata_namespace(st.cache, "ours", NULL, &ours, &st.err), STRATA_OK);
    assert_int_equal(strata_namespace(ours, "below", NULL, &below, &st.err), STRATA_OK);
    assert_int_equal(held(below, 60), 60);
    strata_close(below);
    strata_close(own);
    strata_close(ours);
    strata_close(other);
    close_stack(&st);
}

static void test_refusals(void **state)
{
    (void)state;
    struct stack st;
    strata *a, *b, *again;
    open_stack(&st, &(struct stack_options){ .memory_entries = 100 });
    assert_int_equal(open_with(st.cache, "a", 91, 0, &a, &st.err), STRATA_EINVAL);
    assert_int_equal(open_with(st.cache, "a", 60, 0, &a, &st.err), STRATA_OK);
    assert_int_equal(open_with(st.cache, "b", 31, 0, &b, &st.err), STRATA_EINVAL);
    assert_non_null(strstr(st.err.message, "60.0 % are given away already; lower memory_share_percent"));
    assert_string_equal(st.err.where, "memory");
    assert_int_equal(open_with(st.cache, "b", 0, 2 << 20, &b, &st.err), STRATA_EINVAL);
    assert_int_equal(open_with(st.cache, "b", 0, 0, &b, &st.err), STRATA_OK); /* it is not there with a share */
    fill(b, 100);
    fill(st.cache, 100);
    assert_int_equal(held(b, 100), 0);
    assert_int_equal(open_with(st.cache, "a", 60, 0, &again, &st.err), STRATA_OK);
    strata_close(again);
    assert_int_equal(open_with(st.cache, "a", 50, 0, &again, &st.err), STRATA_EEXIST);
    assert_int_equal(open_with(st.cache, "a", 60, 1, &again, &st.err), STRATA_EEXIST);
    strata_close(a);
    strata_close(b);
    close_stack(&st);
    open_stack(&st, &(struct stack_options){ .only_slow = 1 });
    assert_int_equal(open_with(st.cache, "a", 10, 0, &a, &st.err), STRATA_EUNSUPPORTED);
    assert_non_null(strstr(st.err.message, "a memory layer can"));
    assert_int_equal(open_with(st.cache, "a", 0, 0, &a, &st.err), STRATA_OK);
    strata_close(a);
    close_stack(&st);
}

/* Of two memory layers the second has no room for it: the first does not keep it either, nor for the next namespace. */
static void test_one_of_two_layers_refuses(void **state)
{
    (void)state;
    struct stack st;
    strata *a, *b, *c;
    memset(&st, 0, sizeof st);
    assert_int_equal(strata__executor_sim_new(&st.ex, NULL, 1, &st.err), STRATA_OK);
    strata_memory_options small = { STRATA_SIZED(strata_memory_options), .max_bytes = 1 << 20, .max_entries = 100,
                                    .shards = 1, .policy = STRATA_EVICT_FIFO },
                          smaller = small;
    smaller.max_bytes = 1 << 18;
    smaller.name = "second";
    strata_layer *layers[] = { strata_memory_layer(&small), strata_memory_layer(&smaller) };
    strata_options options = STRATA_OPTIONS_INIT;
    options.layers = layers;
    options.layer_count = 2;
    assert_int_equal(strata__open_with(&st.cache, &options, st.ex, &st.err), STRATA_OK);
    assert_int_equal(open_with(st.cache, "a", 0, 1 << 19, &a, &st.err), STRATA_EINVAL);
    assert_string_equal(st.err.where, "second");
    assert_int_equal(open_with(st.cache, "b", 0, 0, &b, &st.err), STRATA_OK);
    fill(b, 50);
    fill(st.cache, 200);
    assert_int_equal(held(b, 50), 0);
    assert_int_equal(open_with(st.cache, "c", 90, 0, &c, &st.err), STRATA_OK);
    strata_close(b);
    strata_close(c);
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_namespace_and_those_below),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_one_of_two_layers_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
