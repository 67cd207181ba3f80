/* test_set_if.c - compare and set without a shared store: this cache compares, among its own writes and loads.
 * What a store compares is in test_set_if_store.c, and in tests/contract/contract_lease.c. */
#include "tests/support/fail_alloc.h"
#include "tests/unit/core_fixture.h"

static int set_if(struct stack *st, const char *text, int32_t only, strata_entry_version seen, strata_entry_version *out)
{
    strata_condition c = STRATA_CONDITION_INIT;
    c.only = only;
    c.version = seen;
    return strata_set_if(st->cache, strata_str("k"), strata_str(text), &c, NULL, out, &st->err);
}

static const strata_entry_version none = { 0, 0 };

static strata_entry_version version_of(struct stack *st)
{
    strata_entry_version v = { 7, 7 };
    int rc = strata_get_version(st->cache, strata_str("k"), NULL, &v, &st->err);
    assert_true(rc == STRATA_OK || rc == STRATA_STALE);
    assert_int_not_equal(v.number, 0);
    return v;
}

static int equal(strata_entry_version a, strata_entry_version b) { return a.number == b.number && a.life == b.life; }

/* A stack without a shared store. */
static void open_local(struct stack *st, int with_memory, int with_slow)
{
    strata_options options = STRATA_OPTIONS_INIT;
    strata_layer *layers[2];
    size_t n = 0;
    memset(st, 0, sizeof *st);
    assert_int_equal(strata__executor_sim_new(&st->ex, NULL, 1, &st->err), STRATA_OK);
    if (with_memory)
        layers[n++] = strata_memory_layer(NULL);
    if (with_slow) {
        st->slow = script_new();
        st->slow->base.flags = STRATA_LAYER_LOCAL;
        layers[n++] = &st->slow->base;
    }
    options.layers = layers;
    options.layer_count = n;
    assert_int_equal(strata__open_with(&st->cache, &options, st->ex, &st->err), STRATA_OK);
}

/* With memory alone, with a slow layer of this node's below it, and with that alone. */
static void in_every_stack(void (*test)(struct stack *st))
{
    for (int i = 0; i < 3; i++) {
        struct stack st;
        open_local(&st, i<2, i> 0);
        if (st.slow != NULL)
            st.slow->delay_ms = 3;
        test(&st);
        close_stack(&st);
    }
}

static void versions(struct stack *st)
{
    strata_entry_version v1, v2, made, gone = { 7, 7 };
    assert_int_equal(strata_get_version(st->cache, strata_str("k"), NULL, &gone, &st->err), STRATA_MISS);
    assert_int_equal(gone.number, 0);
    assert_int_equal(strata_set(st->cache, strata_str("k"), strata_str("1"), NULL, &st->err), STRATA_OK);
    v1 = version_of(st);
    assert_true(equal(v1, version_of(st))); /* reading again does not change it */
    assert_int_equal(strata_set(st->cache, strata_str("k"), strata_str("1"), NULL, &st->err), STRATA_OK);
    v2 = version_of(st); /* the same bytes are another value */
    assert_false(equal(v1, v2));
    assert_int_equal(set_if(st, "lost", STRATA_IF_VERSION, v1, &made), STRATA_ECONFLICT);
    assert_get(st, "k", STRATA_OK, "1");
    assert_int_equal(set_if(st, "2", STRATA_IF_VERSION, v2, &made), STRATA_OK);
    assert_get(st, "k", STRATA_OK, "2");
    assert_true(equal(made, version_of(st)));
    assert_int_equal(set_if(st, "3", STRATA_IF_VERSION, v2, NULL), STRATA_ECONFLICT); /* twice is once */
    assert_int_equal(set_if(st, "3", STRATA_IF_VERSION, made, NULL), STRATA_OK);
    assert_get(st, "k", STRATA_OK, "3");
    strata_stats s = stats_of(st->cache);
    assert_int_equal(s.conflicts, 2);
    assert_int_equal(s.sets, 4);
}

static void test_versions(void **state)
{
    (void)state;
    in_every_stack(versions);
}

static void presence(struct stack *st)
{
    assert_int_equal(set_if(st, "1", STRATA_IF_PRESENT, none, NULL), STRATA_ECONFLICT);
    assert_get(st, "k", STRATA_MISS, NULL);
    assert_int_equal(set_if(st, "1", STRATA_IF_ABSENT, none, NULL), STRATA_OK);
    assert_int_equal(set_if(st, "2", STRATA_IF_ABSENT, none, NULL), STRATA_ECONFLICT);
    assert_get(st, "k", STRATA_OK, "1");
    assert_int_equal(set_if(st, "2", STRATA_IF_PRESENT, none, NULL), STRATA_OK);
    assert_get(st, "k", STRATA_OK, "2");
    strata_entry_version v = version_of(st);
    assert_int_equal(strata_delete(st->cache, strata_str("k"), &st->err), STRATA_OK);
    assert_int_equal(set_if(st, "3", STRATA_IF_VERSION, v, NULL), STRATA_ECONFLICT);
    assert_int_equal(set_if(st, "3", STRATA_IF_ABSENT, none, NULL), STRATA_OK);
    assert_int_equal(set_if(st, "4", STRATA_IF_VERSION, v, NULL),
                     STRATA_ECONFLICT); /* it is not the one that was deleted */
    assert_int_equal(strata_clear(st->cache, &st->err), STRATA_OK);
    assert_int_equal(set_if(st, "5", STRATA_IF_PRESENT, none, NULL), STRATA_ECONFLICT);
    assert_get(st, "k", STRATA_MISS, NULL);
}

static void test_presence(void **state)
{
    (void)state;
    in_every_stack(presence);
}

static void loads(struct stack *st)
{
    struct origin o = { .st = st, .value = "1" };
    assert_load(st, "k", &o, NULL, STRATA_OK, "1");
    strata_entry_version v = version_of(st);
    assert_int_equal(set_if(st, "2", STRATA_IF_VERSION, v, NULL), STRATA_OK);
    assert_int_equal(strata_delete(st->cache, strata_str("k"), &st->err), STRATA_OK);
    o.value = "2";
    assert_load(st, "k", &o, NULL, STRATA_OK, "2"); /* the same bytes, loaded again */
    assert_int_equal(set_if(st, "3", STRATA_IF_VERSION, v, NULL), STRATA_ECONFLICT);
    assert_get(st, "k", STRATA_OK, "2");
}

static void test_loads(void **state)
{
    (void)state;
    in_every_stack(loads);
}

static void begin_load(struct stack *st, struct origin *o, struct ended *end)
{
    *o = (struct origin){ .st = st, .pending = 1 };
    *end = (struct ended){ 0 };
    assert_int_equal(
        strata_get_or_load_async(st->cache, strata_str("k"), origin_loader, o, NULL, NULL, on_done, end, NULL),
        STRATA_PENDING);
    pass(st, 10);
    assert_non_null(o->kept);
}

static void end_load(struct stack *st, struct origin *o, const char *text)
{
    (void)strata_load_copy(o->kept, text, strlen(text));
    strata_load_unref(o->kept);
    o->kept = NULL;
    pass(st, 10);
}

/* Where nothing is written, a load that runs is stored: or who tries again and again would keep the key from ever being loaded. */
static void conflict_meanwhile(struct stack *st)
{
    struct origin o;
    struct ended end;
    begin_load(st, &o, &end);
    assert_int_equal(set_if(st, "mine", STRATA_IF_PRESENT, none, NULL), STRATA_ECONFLICT);
    assert_int_equal(set_if(st, "mine", STRATA_IF_VERSION, (strata_entry_version){ 1, 1 }, NULL), STRATA_ECONFLICT);
    end_load(st, &o, "loaded");
    assert_int_equal(end.status, STRATA_OK);
    assert_get(st, "k", STRATA_OK, "loaded");
    assert_int_equal(set_if(st, "mine", STRATA_IF_ABSENT, none, NULL), STRATA_ECONFLICT);
    assert_get(st, "k", STRATA_OK, "loaded");
    assert_int_equal(atomic_load(&st->cache->root->deciding), 0);
}

static void test_a_conflict_spoils_no_load(void **state)
{
    (void)state;
    in_every_stack(conflict_meanwhile);
}

/* ... and what writes after all does: it is younger than what is being loaded. */
static void set_meanwhile(struct stack *st)
{
    struct origin o;
    struct ended end;
    begin_load(st, &o, &end);
    assert_int_equal(set_if(st, "mine", STRATA_IF_ABSENT, none, NULL), STRATA_OK);
    end_load(st, &o, "loaded");
    assert_string_equal(end.text, "loaded");
    assert_get(st, "k", STRATA_OK, "mine");
    assert_int_equal(atomic_load(&st->cache->root->deciding), 0);
}

static void test_a_set_fences_loads(void **state)
{
    (void)state;
    in_every_stack(set_meanwhile);
}

/* What a load brings between the look and the write is not written over unseen. */
static void test_a_load_comes_while_it_looks(void **state)
{
    (void)state;
    static const int32_t only[] = { STRATA_IF_ABSENT, STRATA_IF_PRESENT };
    for (int with_memory = 0; with_memory < 2; with_memory++) {
        for (int i = 0; i < 2; i++) {
            struct stack st;
            struct origin o;
            struct ended load, set = { 0 };
            strata_condition c = STRATA_CONDITION_INIT;
            c.only = only[i];
            open_local(&st, with_memory, 1);
            begin_load(&st, &o, &load);
            st.slow->hold = 1;
            assert_int_equal(strata_set_if_async(st.cache, strata_str("k"), strata_str("mine"), &c, NULL, NULL, NULL,
                                                 on_done, &set, &st.err),
                             STRATA_PENDING);
            run(&st);
            assert_int_equal(st.slow->held_count, 1); /* it looks */
            end_load(&st, &o, "loaded");
            while (st.slow->held_count != 0) {
                script_release(st.slow);
                st.slow->hold = 1;
                run(&st);
            }
            st.slow->hold = 0;
            assert_int_equal(set.count, 1);
            assert_int_equal(set.status, STRATA_ECONFLICT);
            assert_get(&st, "k", STRATA_OK, "loaded");
            assert_int_equal(atomic_load(&st.cache->root->deciding), 0);
            close_stack(&st);
        }
    }
}

/* Reading a version gives one to what is there, and is no write to a refresh of it. */
static void test_a_version_spoils_no_refresh(void **state)
{
    (void)state;
    for (int with_slow = 0; with_slow < 2; with_slow++) {
        struct stack st;
        strata_policy policy = STRATA_POLICY_INIT;
        policy.ttl_ms = 100;
        policy.stale_while_revalidate_ms = 100000;
        struct origin o = { .st = &st, .value = "1" };
        open_local(&st, 1, with_slow);
        assert_load(&st, "k", &o, &policy, STRATA_OK, "1");
        pass(&st, 200);
        o.pending = 1;
        assert_load(&st, "k", &o, &policy, STRATA_STALE, "1");
        run(&st);
        assert_int_equal(o.calls, 2);
        assert_non_null(o.kept);
        (void)version_of(&st);
        end_load(&st, &o, "2");
        assert_get(&st, "k", STRATA_OK, "2");
        close_stack(&st);
    }
}

/* "Absent" is nothing that a reader gets; a value in its windows for failed loads isn't, either, but it is of its version. */
static void test_what_is_there(void **state)
{
    (void)state;
    struct stack st;
    strata_policy policy = STRATA_POLICY_INIT;
    policy.ttl_ms = 100;
    policy.negative_ttl_ms = 1000;
    policy.stale_if_error_ms = 1000;
    struct origin o = { .st = &st };
    open_policy(&st, &policy);
    assert_load(&st, "k", &o, NULL, STRATA_ABSENT, NULL);
    assert_int_equal(set_if(&st, "1", STRATA_IF_PRESENT, none, NULL), STRATA_ECONFLICT);
    assert_int_equal(set_if(&st, "1", STRATA_IF_ABSENT, none, NULL), STRATA_OK);
    strata_entry_version v = version_of(&st);
    pass(&st, 200);
    assert_get(&st, "k", STRATA_MISS, NULL);
    assert_int_equal(set_if(&st, "2", STRATA_IF_PRESENT, none, NULL), STRATA_ECONFLICT);
    assert_int_equal(set_if(&st, "2", STRATA_IF_VERSION, v, NULL), STRATA_OK);
    pass(&st, 200);
    assert_int_equal(set_if(&st, "3", STRATA_IF_ABSENT, none, NULL), STRATA_OK);
    v = version_of(&st);
    pass(&st, 5000); /* gone */
    assert_int_equal(set_if(&st, "4", STRATA_IF_VERSION, v, NULL), STRATA_ECONFLICT);
    close_stack(&st);
}

static void test_a_ban_takes_what_was_read(void **state)
{
    (void)state;
    struct stack st;
    open_stack(&st, &(struct stack_options){ 0 });
    strata_slice tag = strata_str("t");
    strata_condition c = STRATA_CONDITION_INIT;
    c.only = STRATA_IF_ABSENT;
    c.tags = &tag;
    c.tag_count = 1;
    strata_entry_version v;
    assert_int_equal(strata_set_if(st.cache, strata_str("k"), strata_str("1"), &c, NULL, &v, &st.err), STRATA_OK);
    assert_int_equal(strata_ban_tag(st.cache, "t", 0, &st.err), STRATA_OK);
    assert_int_equal(set_if(&st, "2", STRATA_IF_VERSION, v, NULL), STRATA_ECONFLICT);
    assert_int_equal(set_if(&st, "2", STRATA_IF_ABSENT, none, NULL), STRATA_OK);
    close_stack(&st);
}

static void test_wrong_arguments(void **state)
{
    (void)state;
    struct stack st;
    strata_policy off = STRATA_POLICY_INIT;
    strata_condition c = STRATA_CONDITION_INIT;
    strata_slice k = strata_str("k"), v = strata_str("v");
    off.ttl_ms = STRATA_OFF;
    open_stack(&st, &(struct stack_options){ .with_slow = 1 }); /* shared, and compares nothing */
    assert_int_equal(strata_set_if(st.cache, k, v, NULL, NULL, NULL, &st.err), STRATA_EINVAL);
    assert_int_equal(strata_set_if(NULL, k, v, &c, NULL, NULL, &st.err), STRATA_EINVAL);
    assert_int_equal(strata_set_if(st.cache, k, v, &c, NULL, NULL, &st.err), STRATA_EINVAL); /* says nothing */
    assert_int_equal(set_if(&st, "v", STRATA_IF_VERSION, none, NULL), STRATA_EINVAL);
    c.only = STRATA_IF_ABSENT;
    assert_int_equal(strata_set_if(st.cache, k, v, &c, &off, NULL, &st.err), STRATA_EINVAL);
    assert_int_equal(strata_set_if(st.cache, k, v, &c, NULL, NULL, &st.err), STRATA_EUNSUPPORTED);
    assert_non_null(strstr(st.err.message, "script"));
    assert_int_equal(st.slow->puts + st.slow->removes + st.slow->gets, 0);
    struct {
        strata_condition c;
        uint64_t more;
    } longer = { c, 1 };
    longer.c.size = sizeof longer;
    assert_int_equal(strata_set_if(st.cache, k, v, &longer.c, NULL, NULL, &st.err), STRATA_EINVAL);
    assert_int_equal(strata_get_version(st.cache, k, NULL, NULL, &st.err), STRATA_EINVAL);
    close_stack(&st);
}

/* What can't be asked what it holds decides nothing, and nothing is written. */
static void test_a_layer_that_cannot_be_read(void **state)
{
    (void)state;
    struct stack st;
    open_local(&st, 1, 1);
    st.slow->fail_gets = 1;
    assert_int_equal(set_if(&st, "1", STRATA_IF_ABSENT, none, NULL), STRATA_ELAYER);
    assert_non_null(strstr(st.err.message, "nothing was changed"));
    assert_int_equal(st.slow->puts + st.slow->removes, 0);
    st.slow->fail_gets = 0;
    assert_get(&st, "k", STRATA_MISS, NULL);
    close_stack(&st);
}

static void test_asynchronous(void **state)
{
    (void)state;
    struct stack st;
    struct ended e = { 0 };
    strata_condition c = STRATA_CONDITION_INIT;
    strata_entry_version v, made = none;
    open_stack(&st, &(struct stack_options){ 0 });
    c.only = STRATA_IF_ABSENT;
    for (int i = 0; i < 2; i++)
        assert_int_equal(strata_set_if_async(st.cache, strata_str("k"), strata_str(i == 0 ? "1" : "2"), &c, NULL, &made,
                                             NULL, on_done, &e, &st.err),
                         STRATA_PENDING);
    run(&st);
    assert_int_equal(e.count, 2);
    assert_get(&st, "k", STRATA_OK, "1");
    assert_int_equal(stats_of(st.cache).conflicts, 1);
    assert_int_equal(strata_get_version_async(st.cache, strata_str("k"), &v, NULL, on_done, &e, &st.err),
                     STRATA_PENDING);
    run(&st);
    assert_int_equal(e.status, STRATA_OK);
    assert_string_equal(e.text, "1");
    assert_true(equal(v, made));
    close_stack(&st);
}

/* The n-th request for memory fails: either it was set, or nothing was. */
static void test_without_memory(void **state)
{
    (void)state;
    for (long n = 1, failed = 1; failed; n++) {
        struct fail_alloc alloc;
        struct stack st;
        strata_entry_version v = none;
        strata_value *value = NULL;
        fail_alloc_init(&alloc, 0);
        open_stack(&st, &(struct stack_options){ .allocator = &alloc.mem });
        char large[9000];
        memset(large, 'x', sizeof large);
        assert_int_equal(strata_set(st.cache, strata_str("k"), strata_bytes(large, sizeof large), NULL, NULL),
                         STRATA_OK);
        atomic_store(&alloc.fail_at, atomic_load(&alloc.requests) + n);
        int rc = strata_get_version(st.cache, strata_str("k"), &value, &v, &st.err);
        assert_true(rc == STRATA_OK || rc == STRATA_ENOMEM || rc == STRATA_MISS);
        if (rc == STRATA_OK && v.number != 0) {
            rc = set_if(&st, "new", STRATA_IF_VERSION, v, &v);
            assert_true(rc == STRATA_OK || rc == STRATA_ENOMEM || rc == STRATA_ELAYER);
        }
        strata_value_unref(value);
        failed = atomic_load(&alloc.failed);
        atomic_store(&alloc.fail_at, 0);
        close_stack(&st);
        assert_int_equal(atomic_load(&alloc.live), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_presence),
        cmocka_unit_test(test_loads),
        cmocka_unit_test(test_a_conflict_spoils_no_load),
        cmocka_unit_test(test_a_set_fences_loads),
        cmocka_unit_test(test_a_load_comes_while_it_looks),
        cmocka_unit_test(test_a_version_spoils_no_refresh),
        cmocka_unit_test(test_what_is_there),
        cmocka_unit_test(test_a_ban_takes_what_was_read),
        cmocka_unit_test(test_wrong_arguments),
        cmocka_unit_test(test_a_layer_that_cannot_be_read),
        cmocka_unit_test(test_asynchronous),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
