/* test_snapshot.c - export and import: what comes back, and what must not.  Two caches on simulated executors, whose clocks the
 * tests move; Unix time moves with them. */
#include "tests/unit/snapshot_fixture.h"

static void entries_come_back(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { .most = 7 };
    open_policy(&a, NULL);
    set_for(a.cache, "one", "1", 60000);
    set_for(a.cache, "two", "", 0);
    SAVE(&a, &t);
    assert_int_equal(report.entries, 2);
    assert_int_equal(report.bytes, 7);
    assert_int_equal(report.stream_bytes, t.size);
    close_stack(&a);
    open_other(&b, NULL);
    LOAD(&b, &t);
    assert_int_equal(report.entries, 2);
    assert_int_equal(report.bytes, 7);
    assert_int_equal(report.stream_bytes, t.size);
    assert_get(&b, "one", STRATA_OK, "1");
    assert_get(&b, "two", STRATA_OK, "");
    assert_int_equal(stats_of(b.cache).hits, 2);
    assert_int_equal(stats_of(b.cache).loads, 0);
    close_stack(&b);
    free(t.bytes);
}

/* The moment counts, wherever the entry lay meanwhile. */
static void time_goes_on_while_it_lies_there(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 1000;
    p.stale_while_revalidate_ms = 1000;
    open_policy(&a, NULL);
    open_other(&b, NULL);
    assert_int_equal(strata_set(a.cache, strata_str("k"), strata_str("v"), &p, NULL), STRATA_OK);
    set_for(a.cache, "short", "v", 500);
    SAVE(&a, &t);
    pass(&b, 600);
    LOAD(&b, &t);
    assert_int_equal(report.entries, 1);
    assert_int_equal(report.expired, 1);
    assert_get(&b, "k", STRATA_OK, "v");
    pass(&b, 500);
    assert_get(&b, "k", STRATA_STALE, "v");
    pass(&b, 1000);
    assert_get(&b, "k", STRATA_MISS, NULL);
    LOAD(&b, &t);
    assert_int_equal(report.entries, 0);
    assert_int_equal(report.expired, 2);
    pass(&a, 600);
    t.size = 0;
    SAVE(&a, &t);
    assert_int_equal(report.entries, 1);
    close_stack(&a);
    close_stack(&b);
    free(t.bytes);
}

static void absent_stays_absent(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    struct origin o = { .value = NULL };
    strata_policy p = STRATA_POLICY_INIT;
    p.negative_ttl_ms = 5000;
    open_policy(&a, &p);
    o.st = &a;
    assert_load(&a, "none", &o, NULL, STRATA_ABSENT, NULL);
    SAVE(&a, &t);
    close_stack(&a);
    open_other(&b, NULL);
    LOAD(&b, &t);
    assert_get(&b, "none", STRATA_ABSENT, NULL);
    pass(&b, 5000);
    assert_get(&b, "none", STRATA_MISS, NULL);
    close_stack(&b);
    free(t.bytes);
}

static void nothing_is_written_over(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    open_policy(&a, NULL);
    open_other(&b, NULL);
    set_for(a.cache, "k", "old", 0);
    set_for(a.cache, "other", "old", 0);
    SAVE(&a, &t);
    set_for(b.cache, "k", "new", 0);
    LOAD(&b, &t);
    assert_int_equal(report.entries, 1);
    assert_int_equal(report.kept, 1);
    assert_get(&b, "k", STRATA_OK, "new");
    assert_get(&b, "other", STRATA_OK, "old");
    LOAD(&a, &t); /* all of it is there */
    assert_int_equal(report.kept, 2);
    close_stack(&a);
    close_stack(&b);
    free(t.bytes);
}

/* What is there can't be served, but is younger than what the snapshot has. */
static void what_is_younger_stays_though_it_is_over(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 100;
    p.stale_if_error_ms = 10000;
    open_policy(&a, NULL);
    open_other(&b, NULL);
    set_for(a.cache, "k", "old", 0);
    set_for(a.cache, "older", "newer", 0);
    SAVE(&a, &t);
    assert_int_equal(strata_set(b.cache, strata_str("k"), strata_str("new"), &p, NULL), STRATA_OK);
    pass(&b, 200);
    LOAD(&b, &t);
    assert_int_equal(report.kept, 1);
    assert_int_equal(report.entries, 1);
    assert_get(&b, "k", STRATA_MISS, NULL);
    close_stack(&a);
    close_stack(&b);
    free(t.bytes);
}

/* An entry that is only good where a load fails: it comes back as that. */
static void the_error_window_comes_back(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    struct origin o = { .value = "new", .fail = STRATA_EIO };
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 100;
    p.stale_if_error_ms = 10000;
    open_policy(&a, &p);
    set_for(a.cache, "k", "old", 0);
    pass(&a, 200);
    SAVE(&a, &t);
    assert_int_equal(report.entries, 1);
    close_stack(&a);
    open_other(&b, &p);
    o.st = &b;
    pass(&b, 200);
    LOAD(&b, &t);
    assert_int_equal(report.entries, 1);
    assert_get(&b, "k", STRATA_MISS, NULL);
    assert_load(&b, "k", &o, NULL, STRATA_STALE, "old");
    close_stack(&b);
    free(t.bytes);
}

static strata *space_of(strata *parent, const char *name)
{
    strata *space;
    assert_int_equal(strata_namespace(parent, name, NULL, &space, NULL), STRATA_OK);
    return space;
}

static void namespaces_keep_their_entries(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    open_policy(&a, NULL);
    strata *users = space_of(a.cache, "users"), *deep = space_of(users, "deep");
    set_for(a.cache, "k", "root", 0);
    set_for(users, "k", "users", 0);
    set_for(deep, "k", "deep", 0);
    SAVE(&a, &t);
    assert_int_equal(report.entries, 3);

    open_other(&b, NULL);
    LOAD(&b, &t);
    assert_int_equal(report.entries, 1);
    assert_int_equal(report.not_open, 2);
    strata *in = space_of(b.cache, "users");
    assert_int_equal(load(in, &t, NULL, &b.err), STRATA_OK);
    assert_int_equal(report.entries, 1);
    assert_int_equal(report.outside, 1);
    assert_int_equal(report.not_open, 1);
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    o.open_namespaces = STRATA_ON;
    assert_int_equal(load(b.cache, &t, &o, &b.err), STRATA_OK);
    assert_int_equal(report.entries, 1);
    assert_int_equal(report.kept, 2);
    strata *there = space_of(in, "deep");
    strata_value *v;
    assert_int_equal(strata_get(there, strata_str("k"), &v, NULL), STRATA_OK);
    assert_value(v, "deep");

    t.size = 0; /* of a namespace alone */
    assert_int_equal(save(users, &t, NULL, &a.err), STRATA_OK);
    assert_int_equal(report.entries, 2);
    assert_int_equal(strata_close(users), STRATA_OK);
    assert_int_equal(strata_close(deep), STRATA_OK);
    assert_int_equal(strata_close(in), STRATA_OK);
    assert_int_equal(strata_close(there), STRATA_OK);
    close_stack(&a);
    close_stack(&b);
    free(t.bytes);
}

static void many(struct stack *st, int count)
{
    char key[16], value[200];
    memset(value, 'v', sizeof value);
    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "key%06d", i);
        assert_int_equal(strata_set(st->cache, strata_str(key), strata_bytes(value, sizeof value), NULL, NULL),
                         STRATA_OK);
    }
}

static void it_is_bounded(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    open_policy(&a, NULL);
    many(&a, 300);
    o.max_entries = 10;
    assert_int_equal(save(a.cache, &t, &o, &a.err), STRATA_OK);
    assert_int_equal(report.entries, 10);
    assert_int_equal(report.limited, 1);
    t.size = 0;
    o.max_entries = 0;
    o.max_bytes = 209 * 7 + 100;
    assert_int_equal(save(a.cache, &t, &o, &a.err), STRATA_OK);
    assert_int_equal(report.entries, 7);
    assert_int_equal(report.limited, 1);
    t.size = 0;
    SAVE(&a, &t);
    assert_int_equal(report.entries, 300);
    assert_int_equal(report.limited, 0);
    open_other(&b, NULL);
    assert_int_equal(load(b.cache, &t, &o, &b.err), STRATA_OK);
    assert_int_equal(report.entries, 7);
    assert_int_equal(report.limited, 1);
    o.max_bytes = 0;
    o.max_entries = 150;
    assert_int_equal(load(b.cache, &t, &o, &b.err), STRATA_OK);
    assert_int_equal(report.entries, 150);
    assert_int_equal(report.limited, 1);
    close_stack(&a);
    close_stack(&b);
    free(t.bytes);
}

static void what_is_too_old_is_passed_over(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    open_policy(&a, NULL);
    open_other(&b, NULL);
    set_for(a.cache, "old", "v", 0);
    pass(&a, 1000);
    pass(&b, 1000);
    set_for(a.cache, "new", "v", 0);
    SAVE(&a, &t);
    o.max_age_ms = 500;
    assert_int_equal(load(b.cache, &t, &o, &b.err), STRATA_OK);
    assert_int_equal(report.entries, 1);
    assert_int_equal(report.expired, 1);
    assert_get(&b, "new", STRATA_OK, "v");
    t.size = 0;
    assert_int_equal(save(a.cache, &t, &o, &a.err), STRATA_OK);
    assert_int_equal(report.entries, 1);
    assert_int_equal(report.expired, 1);
    close_stack(&a);
    close_stack(&b);
    free(t.bytes);
}

static void what_is_damaged_is_said(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    open_policy(&a, NULL);
    many(&a, 20);
    SAVE(&a, &t);
    open_other(&b, NULL);
    for (size_t cut = 0; cut < t.size; cut++) {
        struct tape shorter = { .bytes = t.bytes, .size = cut };
        int rc = load(b.cache, &shorter, NULL, &b.err);
        assert_int_equal(rc, cut < 48 ? STRATA_EINVAL : STRATA_EIO);
        assert_true(strstr(b.err.message, cut < 48 ? "no snapshot" : "no end") != NULL);
    }
    assert_int_equal(strata_clear(b.cache, NULL), STRATA_OK);
    for (size_t i = 0; i < t.size; i++) {
        t.bytes[i] ^= 0x20;
        assert_true(load(b.cache, &t, NULL, &b.err) < 0);
        t.bytes[i] ^= 0x20;
    }
    close_stack(&a);
    close_stack(&b);
    free(t.bytes);
}

static int stop_at(const strata_snapshot_report *so_far, void *ctx)
{
    int *calls = ctx;
    assert_true(so_far->size == sizeof *so_far && so_far->stream_bytes != 0);
    return --*calls == 0;
}

static void it_tells_of_progress_and_can_be_ended(void **state)
{
    (void)state;
    struct stack a;
    struct tape t = { 0 };
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    int calls = 1;
    o.progress = stop_at;
    o.progress_ctx = &calls;
    open_policy(&a, NULL);
    many(&a, 20);
    assert_int_equal(save(a.cache, &t, &o, &a.err), STRATA_ECANCELED);
    t.size = 0;
    calls = 100;
    assert_int_equal(save(a.cache, &t, &o, &a.err), STRATA_OK);
    assert_true(calls < 100);
    calls = 1;
    assert_int_equal(load(a.cache, &t, &o, &a.err), STRATA_ECANCELED);
    close_stack(&a);
    free(t.bytes);
}

static void a_stream_that_fails_is_told(void **state)
{
    (void)state;
    struct stack a;
    open_policy(&a, NULL);
    many(&a, 20);
    for (int n = 1; n <= 3; n++) {
        struct tape t = { .fail_after = n };
        assert_int_equal(save(a.cache, &t, NULL, &a.err), STRATA_EIO);
        free(t.bytes);
    }
    struct tape t = { 0 };
    SAVE(&a, &t);
    for (int n = 1; n <= 5; n++) {
        t.fail_after = n;
        assert_int_equal(load(a.cache, &t, NULL, &a.err), STRATA_EIO);
    }
    close_stack(&a);
    free(t.bytes);
}

static void wrong_arguments_are_refused(void **state)
{
    (void)state;
    struct stack a;
    struct tape t = { 0 };
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    open_policy(&a, NULL);
    assert_int_equal(strata_snapshot_export(NULL, NULL, tape_write, &t, NULL, NULL), STRATA_EINVAL);
    assert_int_equal(strata_snapshot_export(a.cache, NULL, NULL, &t, NULL, NULL), STRATA_EINVAL);
    assert_int_equal(strata_snapshot_import(a.cache, NULL, NULL, &t, NULL, NULL), STRATA_EINVAL);
    o.layer = "no such";
    assert_int_equal(save(a.cache, &t, &o, &a.err), STRATA_EINVAL);
    assert_non_null(strstr(a.err.message, "no such"));
    o.layer = NULL;
    o.reserved = 1;
    assert_int_equal(save(a.cache, &t, &o, &a.err), STRATA_EINVAL);
    strata_snapshot_report none = { 0 };
    assert_int_equal(strata_snapshot_export(a.cache, NULL, tape_write, &t, &none, &a.err), STRATA_EINVAL);
    assert_int_equal(t.size, 0);
    t.bytes = (unsigned char *)(uintptr_t) "{\"version\": 1, \"entries\": [ and so on, as others have it ]}";
    t.size = strlen((const char *)t.bytes);
    assert_int_equal(load(a.cache, &t, NULL, &a.err), STRATA_EINVAL);
    close_stack(&a);
}

static int saves_itself(strata_load *l, strata_slice key, void *ctx)
{
    struct stack *st = ctx;
    struct tape t = { 0 };
    (void)key;
    assert_int_equal(save(st->cache, &t, NULL, &st->err), STRATA_EDEADLOCK);
    return strata_load_copy(l, "v", 1);
}

static void a_loader_makes_none(void **state)
{
    (void)state;
    struct stack a;
    strata_value *v;
    open_policy(&a, NULL);
    assert_int_equal(strata_get_or_load(a.cache, strata_str("k"), saves_itself, &a, NULL, &v, NULL), STRATA_OK);
    strata_value_unref(v);
    close_stack(&a);
}

/* The layer below is one that others use, too: it goes there, and memory has it once it is read. */
static void a_shared_layer_gets_it_first(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    open_policy(&a, NULL);
    set_for(a.cache, "k", "v", 0);
    SAVE(&a, &t);
    close_stack(&a);
    open_stack(&b, &(struct stack_options){ .with_slow = 1, .seed = 2 });
    b.slow->delay_ms = 5;
    LOAD(&b, &t);
    assert_int_equal(report.entries, 1);
    assert_int_equal(b.slow->puts, 1);
    assert_int_equal(b.slow->removes, 0);
    assert_get(&b, "k", STRATA_OK, "v");
    LOAD(&b, &t);
    assert_int_equal(report.kept, 1);
    close_stack(&b);
    free(t.bytes);
}

static void a_layer_that_fails_is_told(void **state)
{
    (void)state;
    struct stack a, b;
    struct tape t = { 0 };
    open_policy(&a, NULL);
    many(&a, 3);
    SAVE(&a, &t);
    close_stack(&a);
    open_stack(&b, &(struct stack_options){ .with_slow = 1, .seed = 2 });
    b.slow->fail_gets = 1; /* it may hold a younger one */
    assert_int_equal(load(b.cache, &t, NULL, &b.err), STRATA_ELAYER);
    assert_int_equal(report.failed, 3);
    assert_int_equal(b.slow->puts, 0);
    b.slow->fail_gets = 0;
    b.slow->no_room = 1;
    LOAD(&b, &t);
    assert_int_equal(report.refused, 3);
    assert_int_equal(b.slow->removes, 0); /* nothing of it was there */
    close_stack(&b);
    free(t.bytes);
}

static void torture(long fail_at, struct fail_alloc *mem, int imports, struct tape *t)
{
    struct stack st;
    fail_alloc_init(mem, 0);
    if (try_open(&st, &(struct stack_options){ .allocator = &mem->mem, .seed = 3 }) != STRATA_OK)
        fail();
    if (!imports) {
        set_tagged(st.cache, "tagged", "v", "red");
        many(&st, 5);
    }
    atomic_store(&mem->requests, 0);
    atomic_store(&mem->fail_at, fail_at);
    struct tape own = { 0 };
    int rc = imports ? load(st.cache, t, NULL, &st.err) : save(st.cache, &own, NULL, &st.err);
    atomic_store(&mem->fail_at, 0);
    if (rc != STRATA_OK) {
        assert_int_equal(rc, STRATA_ENOMEM);
        assert_true(atomic_load(&mem->failed));
        assert_true(st.err.message[0] != 0);
    } else if (!imports) { /* what could not be read is missing, and nothing else */
        assert_true(report.entries <= 6);
    }
    free(own.bytes);
    close_stack(&st);
    assert_int_equal(atomic_load(&mem->live), 0);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    struct stack a;
    struct tape t = { 0 };
    struct fail_alloc mem;
    open_policy(&a, NULL);
    set_tagged(a.cache, "tagged", "v", "red");
    many(&a, 5);
    SAVE(&a, &t);
    close_stack(&a);
    for (int imports = 0; imports < 2; imports++) {
        long n = 0;
        do
            torture(++n, &mem, imports, &t);
        while (atomic_load(&mem.failed));
        assert_true(n > 5);
    }
    free(t.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_come_back),
        cmocka_unit_test(time_goes_on_while_it_lies_there),
        cmocka_unit_test(absent_stays_absent),
        cmocka_unit_test(nothing_is_written_over),
        cmocka_unit_test(what_is_younger_stays_though_it_is_over),
        cmocka_unit_test(the_error_window_comes_back),
        cmocka_unit_test(namespaces_keep_their_entries),
        cmocka_unit_test(it_is_bounded),
        cmocka_unit_test(what_is_too_old_is_passed_over),
        cmocka_unit_test(what_is_damaged_is_said),
        cmocka_unit_test(it_tells_of_progress_and_can_be_ended),
        cmocka_unit_test(a_stream_that_fails_is_told),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(a_loader_makes_none),
        cmocka_unit_test(a_shared_layer_gets_it_first),
        cmocka_unit_test(a_layer_that_fails_is_told),
        cmocka_unit_test(any_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
