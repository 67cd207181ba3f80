/* test_core_write.c - set, delete, expire, clear, and what they do to loads that run. */
#include "tests/unit/core_fixture.h"

/* Poison --------------------------------------------------------------------------------------------------------- */

static void do_delete(struct origin *o) { o->meanwhile_rc = strata_delete(o->st->cache, strata_str("k"), NULL); }
static void do_set(struct origin *o)
{
    o->meanwhile_rc = strata_set(o->st->cache, strata_str("k"), strata_str("set"), NULL, NULL);
}
static void do_expire(struct origin *o) { o->meanwhile_rc = strata_expire(o->st->cache, strata_str("k"), NULL); }
static void do_clear(struct origin *o) { o->meanwhile_rc = strata_clear(o->st->cache, NULL); }

static void poison_case(void (*meanwhile)(struct origin *), int with_slow, int then, const char *text)
{
    struct stack st;
    struct origin o = { .st = &st, .value = "loaded before", .meanwhile = meanwhile };
    open_stack(&st, &(struct stack_options){ .with_slow = with_slow });
    assert_load(&st, "k", &o, NULL, STRATA_OK, "loaded before");
    run(&st);
    assert_get(&st, "k", then, text);
    strata_stats s = stats_of(st.cache);
    assert_int_equal(s.fenced, 1);
    assert_true(o.meanwhile_rc >= 0);
    close_stack(&st);
}

static void test_poisoned_by_each(void **state)
{
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        poison_case(do_delete, slow, STRATA_MISS, NULL);
        poison_case(do_set, slow, STRATA_OK, "set");
        poison_case(do_expire, slow, STRATA_MISS, NULL);
        poison_case(do_clear, slow, STRATA_MISS, NULL);
    }
}

static void get_async(struct stack *st, struct origin *o, struct ended *e)
{
    assert_int_equal(
        strata_get_or_load_async(st->cache, strata_str("k"), origin_loader, o, NULL, NULL, on_done, e, NULL),
        STRATA_PENDING);
}

/* A read that starts after a delete returned does not join an older load. */
static void test_no_join_after_delete(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct stack st;
        struct origin old = { .st = &st, .pending = 1 }, young = { .st = &st, .value = "new" };
        struct ended e = { 0 };
        open_stack(&st, &(struct stack_options){ .seed = seed });
        get_async(&st, &old, &e);
        run(&st);
        assert_int_equal(strata_delete(st.cache, strata_str("k"), NULL), STRATA_OK);
        assert_load(&st, "k", &young, NULL, STRATA_OK, "new");
        assert_int_equal(strata_load_copy(old.kept, "old", 3), STRATA_OK);
        strata_load_unref(old.kept);
        run(&st);
        assert_int_equal(e.count, 1);
        assert_string_equal(e.text, "old");
        assert_get(&st, "k", STRATA_OK, "new");
        close_stack(&st);
    }
}

static void test_no_join_after_clear(void **state)
{
    (void)state;
    struct stack st;
    struct origin old = { .st = &st, .pending = 1 }, young = { .st = &st, .value = "new" };
    struct ended e = { 0 };
    open_policy(&st, NULL);
    get_async(&st, &old, &e);
    run(&st);
    assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
    assert_load(&st, "k", &young, NULL, STRATA_OK, "new");
    assert_int_equal(strata_load_copy(old.kept, "old", 3), STRATA_OK);
    strata_load_unref(old.kept);
    run(&st);
    assert_get(&st, "k", STRATA_OK, "new");
    close_stack(&st);
}

/* A delete waits for a load that is just storing into a slower layer. */
static void test_delete_waits_for_store(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "old" };
    struct ended e = { 0 }, d = { 0 };
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    get_async(&st, &o, &e);
    st.slow->hold = 1;
    run(&st);
    script_release(st.slow); /* the get */
    st.slow->hold = 1;
    run(&st);
    assert_int_equal(e.count, 1);             /* the nearest layer has it */
    assert_int_equal(st.slow->held_count, 1); /* the put */
    assert_int_equal(strata_delete_async(st.cache, strata_str("k"), NULL, on_done, &d, NULL), STRATA_PENDING);
    run(&st);
    assert_int_equal(d.count, 0);
    assert_int_equal(st.slow->removes, 0);
    script_release(st.slow);
    run(&st);
    assert_int_equal(d.count, 1);
    assert_int_equal(d.status, STRATA_OK);
    assert_null(script_find(st.slow, strata_str("k"), 0));
    assert_get(&st, "k", STRATA_MISS, NULL);
    close_stack(&st);
}

/* While a delete is at work below, readers wait, and don't read up what it removes. */
static void test_readers_wait_for_delete(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 20; seed++) {
        struct stack st;
        struct origin o = { .st = &st, .value = "new" };
        struct ended e = { 0 }, d = { 0 };
        open_stack(&st, &(struct stack_options){ .with_slow = 1, .seed = seed });
        assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str("old"), NULL, NULL), STRATA_OK);
        strata_layer *memory = st.cache->root->layers[0].layer;
        clear_layer(memory, 0, strata_bytes("", 0), 1, NULL);
        st.slow->hold = 1;
        assert_int_equal(strata_delete_async(st.cache, strata_str("k"), NULL, on_done, &d, NULL), STRATA_PENDING);
        run(&st);
        get_async(&st, &o, &e);
        run(&st);
        assert_int_equal(st.slow->held_count, 1);
        assert_int_equal(e.count, 0);
        script_release(st.slow);
        run(&st);
        assert_int_equal(d.count, 1);
        assert_int_equal(e.count, 1);
        assert_string_equal(e.text, "new");
        assert_get(&st, "k", STRATA_OK, "new");
        close_stack(&st);
    }
}

/* Asynchronous writes of one key happen in the order of the calls. */
static void test_write_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 30; seed++) {
        struct stack st;
        struct ended e[3] = { { 0 }, { 0 }, { 0 } };
        open_stack(&st, &(struct stack_options){ .with_slow = (int)(seed % 2), .seed = seed });
        if (st.slow != NULL)
            st.slow->delay_ms = 3;
        strata_slice k = strata_str("k");
        assert_int_equal(strata_set_async(st.cache, k, strata_str("1"), NULL, NULL, on_done, &e[0], NULL),
                         STRATA_PENDING);
        assert_int_equal(strata_delete_async(st.cache, k, NULL, on_done, &e[1], NULL), STRATA_PENDING);
        assert_int_equal(strata_set_async(st.cache, k, strata_str("3"), NULL, NULL, on_done, &e[2], NULL),
                         STRATA_PENDING);
        pass(&st, 100);
        for (int i = 0; i < 3; i++)
            assert_int_equal(e[i].count, 1);
        assert_get(&st, "k", STRATA_OK, "3");
        if (st.slow != NULL)
            assert_memory_equal(script_find(st.slow, k, 0)->bytes, "3", 1);
        close_stack(&st);
    }
}

/* Set and delete ------------------------------------------------------------------------------------------------- */

static void test_set_and_limits(void **state)
{
    (void)state;
    struct stack st;
    open_stack(&st, &(struct stack_options){ .with_slow = 1, .max_value_bytes = 10 });
    strata_slice k = strata_str("k");
    assert_int_equal(strata_set(st.cache, k, strata_str("0123456789"), NULL, &st.err), STRATA_OK);
    assert_int_equal(strata_set(st.cache, k, strata_str("0123456789a"), NULL, &st.err), STRATA_EVALUESIZE);
    assert_non_null(strstr(st.err.message, "max_value_bytes"));
    assert_get(&st, "k", STRATA_OK, "0123456789");
    assert_memory_equal(script_find(st.slow, k, 0)->bytes, "0123456789", 10);
    assert_int_equal(strata_set(st.cache, k, strata_str(""), NULL, &st.err), STRATA_OK);
    assert_get(&st, "k", STRATA_OK, "");
    strata_policy off = { .size = sizeof off, .ttl_ms = STRATA_OFF };
    assert_int_equal(strata_set(st.cache, k, strata_str("gone"), &off, &st.err), STRATA_OK);
    assert_get(&st, "k", STRATA_MISS, NULL);
    assert_null(script_find(st.slow, k, 0));
    assert_int_equal(strata_set(st.cache, strata_str(""), k, NULL, &st.err), STRATA_EKEYSIZE);
    assert_int_equal(stats_of(st.cache).sets, 3);
    close_stack(&st);
}

static void test_failing_layer(void **state)
{
    (void)state;
    struct stack st;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    strata_slice k = strata_str("k");
    st.slow->fail_puts = st.slow->fail_removes = 1;
    assert_int_equal(strata_set(st.cache, k, strata_str("v"), NULL, &st.err), STRATA_ELAYER);
    assert_string_equal(st.err.where, "script");
    assert_get(&st, "k", STRATA_OK, "v"); /* the others have it */
    assert_int_equal(strata_delete(st.cache, k, &st.err), STRATA_ELAYER);
    assert_string_equal(st.err.where, "script");
    assert_get(&st, "k", STRATA_MISS, NULL);
    st.slow->fail_clear = 1;
    assert_int_equal(strata_clear(st.cache, &st.err), STRATA_ELAYER);
    close_stack(&st);
}

/* Expire --------------------------------------------------------------------------------------------------------- */

static void expire_case(int with_slow)
{
    struct stack st;
    strata_policy p = { .size = sizeof p, .ttl_ms = 10000, .stale_while_revalidate_ms = 5000 };
    open_stack(&st, &(struct stack_options){ .with_slow = with_slow, .policy = &p });
    strata_slice k = strata_str("k");
    assert_int_equal(strata_expire(st.cache, k, NULL), STRATA_MISS);
    assert_int_equal(strata_set(st.cache, k, strata_str("v"), NULL, NULL), STRATA_OK);
    pass(&st, 1000);
    assert_int_equal(strata_expire(st.cache, k, NULL), STRATA_OK);
    assert_get(&st, "k", STRATA_STALE, "v");
    strata_inspection in = { .size = sizeof in };
    assert_int_equal(strata_inspect(st.cache, k, &in, NULL), STRATA_OK);
    assert_int_equal(in.state, STRATA_STATE_STALE);
    assert_int_equal(in.fresh_ms, 0);
    assert_int_equal(in.stale_ms, 14000); /* its end did not move */
    assert_int_equal(in.age_ms, 1000);
    assert_int_equal(in.layers, with_slow ? 3 : 1);
    pass(&st, 13900);
    assert_get(&st, "k", STRATA_STALE, "v");
    pass(&st, 200);
    assert_get(&st, "k", STRATA_MISS, NULL);
    assert_int_equal(strata_expire(st.cache, k, NULL), STRATA_MISS);
    strata_policy plain = { .size = sizeof plain, .stale_while_revalidate_ms = STRATA_OFF };
    assert_int_equal(strata_set(st.cache, k, strata_str("v"), &plain, NULL), STRATA_OK);
    assert_int_equal(strata_expire(st.cache, k, NULL), STRATA_OK);
    assert_get(&st, "k", STRATA_MISS, NULL);
    strata_policy ever = { .size = sizeof ever, .ttl_ms = STRATA_FOREVER };
    assert_int_equal(strata_set(st.cache, k, strata_str("v"), &ever, NULL), STRATA_OK);
    pass(&st, 100);
    assert_int_equal(strata_expire(st.cache, k, NULL), STRATA_OK);
    assert_get(&st, "k", STRATA_STALE, "v");
    close_stack(&st);
}

static void test_expire(void **state)
{
    (void)state;
    expire_case(0);
    expire_case(1);
}

/* Clear and namespaces ---------------------------------------------------------------------------------------------- */

static void test_clear_of_namespaces(void **state)
{
    (void)state;
    for (int slow = 0; slow < 2; slow++) {
        struct stack st;
        strata *a, *b, *aa;
        open_stack(&st, &(struct stack_options){ .with_slow = slow });
        assert_int_equal(strata_namespace(st.cache, "a", NULL, &a, NULL), STRATA_OK);
        assert_int_equal(strata_namespace(st.cache, "ab", NULL, &b, NULL), STRATA_OK);
        assert_int_equal(strata_namespace(a, "a", NULL, &aa, NULL), STRATA_OK);
        strata *all[4] = { st.cache, a, b, aa };
        for (int i = 0; i < 4; i++)
            assert_int_equal(strata_set(all[i], strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
        assert_int_equal(strata_clear(a, NULL), STRATA_OK);
        int there[4] = { 1, 0, 1, 0 };
        for (int i = 0; i < 4; i++)
            assert_int_equal(strata_has(all[i], strata_str("k"), NULL), there[i]);
        uint64_t size;
        assert_int_equal(strata_size(st.cache, &size, NULL), STRATA_OK);
        assert_int_equal(size, 2);
        assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
        for (int i = 0; i < 4; i++)
            assert_int_equal(strata_has(all[i], strata_str("k"), NULL), 0);
        assert_int_equal(strata_set(aa, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
        assert_int_equal(strata_has(aa, strata_str("k"), NULL), 1);
        strata_close(a);
        strata_close(b);
        strata_close(aa);
        close_stack(&st);
    }
}

static void test_storage_keys_differ(void **state)
{
    (void)state;
    struct stack st;
    strata *a, *ab, *a_b, *b;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    assert_int_equal(strata_namespace(st.cache, "a", NULL, &a, NULL), STRATA_OK);
    assert_int_equal(strata_namespace(st.cache, "ab", NULL, &ab, NULL), STRATA_OK);
    assert_int_equal(strata_namespace(a, "b", NULL, &a_b, NULL), STRATA_OK);
    assert_int_equal(strata_namespace(st.cache, "b", NULL, &b, NULL), STRATA_OK);
    strata *handles[] = { st.cache, a, ab, a_b, b };
    strata_slice keys[] = { strata_bytes("\0", 1),       strata_bytes("\0\0", 2),   strata_str("b"),  strata_str("\1b"),
                            strata_bytes("\0\2\1ab", 5), strata_bytes("\2\1ab", 4), strata_str("ab"), strata_str("bb") };
    enum { KEYS = sizeof keys / sizeof keys[0], ALL = 5 * KEYS };
    struct {
        unsigned char bytes[64];
        size_t size;
    } forms[ALL];
    size_t n = 0;
    for (int h = 0; h < 5; h++)
        for (int k = 0; k < KEYS; k++) {
            forms[n].size = strata__storage_size(handles[h], keys[k]);
            assert_true(forms[n].size <= sizeof forms[n].bytes);
            strata__storage_write(handles[h], keys[k], forms[n].bytes);
            n++;
        }
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++)
            assert_false(forms[i].size == forms[j].size && memcmp(forms[i].bytes, forms[j].bytes, forms[i].size) == 0);
    /* Clearing "a" names those of it and of what is below it, and no others. */
    assert_int_equal(strata_clear(a, NULL), STRATA_OK);
    assert_int_equal(st.slow->clears, 1);
    strata_slice prefix = st.slow->cleared.prefix;
    for (size_t i = 0; i < n; i++) {
        strata *h = handles[i / KEYS];
        int has = forms[i].size >= prefix.size && memcmp(forms[i].bytes, prefix.data, prefix.size) == 0;
        assert_int_equal(has, h == a || h == a_b);
    }
    /* An ordinary key of the root is stored as it is. */
    assert_int_equal(strata__storage_size(st.cache, strata_str("user:1")), 6);
    strata_close(a);
    strata_close(ab);
    strata_close(a_b);
    strata_close(b);
    close_stack(&st);
}

/* Many keys are set and deleted side by side: as long as one takes. */
static void test_many_take_one_trip(void **state)
{
    (void)state;
    enum { MANY = 200 };
    static char names[MANY][16];
    static strata_item items[MANY];
    struct stack st;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 });
    st.slow->delay_ms = 10;
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "k%d", i);
        items[i] = (strata_item){ .key = strata_str(names[i]), .set = strata_str("v") };
    }
    int64_t began = ex_now_ms(st.ex);
    assert_int_equal(strata_set_many(st.cache, items, MANY, NULL, &st.err), STRATA_OK);
    assert_int_equal(ex_now_ms(st.ex) - began, 10);
    assert_int_equal(st.slow->puts, MANY);
    assert_int_equal(strata_delete_many(st.cache, items, MANY, &st.err), STRATA_OK);
    assert_int_equal(ex_now_ms(st.ex) - began, 20);
    assert_int_equal(st.slow->removes, MANY);
    assert_int_equal(strata_get_many(st.cache, items, MANY, &st.err), STRATA_OK);
    assert_int_equal(ex_now_ms(st.ex) - began, 30);
    assert_int_equal(st.slow->submits, 2 * MANY + 1); /* one question for all */
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poisoned_by_each),
        cmocka_unit_test(test_no_join_after_delete),
        cmocka_unit_test(test_no_join_after_clear),
        cmocka_unit_test(test_delete_waits_for_store),
        cmocka_unit_test(test_readers_wait_for_delete),
        cmocka_unit_test(test_write_order),
        cmocka_unit_test(test_set_and_limits),
        cmocka_unit_test(test_failing_layer),
        cmocka_unit_test(test_expire),
        cmocka_unit_test(test_clear_of_namespaces),
        cmocka_unit_test(test_many_take_one_trip),
        cmocka_unit_test(test_storage_keys_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
