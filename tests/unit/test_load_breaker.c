/* test_load_breaker.c - breakers of loads: who shares one, when it opens and closes, and what its callers get meanwhile. */
#include "tests/unit/core_fixture.h"

enum { OPEN_MS = 1000 };

static strata_policy breaking(int32_t failures, int32_t scope)
{
    strata_policy p = STRATA_POLICY_INIT;
    p.breaker_failures = failures;
    p.breaker_scope = scope;
    p.breaker_open_ms = OPEN_MS;
    return p;
}

static void fail_times(struct stack *st, struct origin *o, const char *key, const strata_policy *p, int times)
{
    o->fail = STRATA_EIO;
    for (int i = 0; i < times; i++)
        assert_load(st, key, o, p, STRATA_EIO, NULL);
}

static void test_opens_and_names_itself(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "v" };
    strata_policy p = breaking(3, 0);
    open_policy(&st, &p);
    fail_times(&st, &o, "k", NULL, 2);
    o.fail = 0;
    assert_load(&st, "other", &o, NULL, STRATA_OK, "v"); /* a success between them */
    fail_times(&st, &o, "k", NULL, 3);
    pass(&st, 400);
    assert_load(&st, "k", &o, NULL, STRATA_EBREAKER, NULL);
    assert_int_equal(o.calls, 6);
    assert_string_equal(st.err.where, "breaker_failures");
    assert_non_null(strstr(st.err.message, "the breaker of the cache is open after 3 failed loads in a row"));
    assert_non_null(strstr(st.err.message, "tried in 600 ms"));
    strata_stats s = stats_of(st.cache);
    assert_int_equal(s.breaker_opened, 1);
    assert_int_equal(s.breaker_refused, 1);
    assert_int_equal(s.loads, 6);
    close_stack(&st);
}

static void test_one_probe_and_then_all(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "v" }, probe = { .st = &st, .value = "p", .pending = 1 };
    struct ended end = { 0 };
    strata_policy p = breaking(1, 0);
    open_policy(&st, &p);
    fail_times(&st, &o, "k", NULL, 1);
    pass(&st, OPEN_MS);
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("a"), origin_loader, &probe, NULL, NULL, on_done, &end, NULL),
        STRATA_PENDING);
    run(&st);
    o.fail = 0;
    assert_load(&st, "b", &o, NULL, STRATA_EBREAKER, NULL);
    assert_non_null(strstr(st.err.message, "one load of it tries now"));
    assert_int_equal(strata_load_copy(probe.kept, "p", 1), STRATA_OK);
    strata_load_unref(probe.kept);
    run(&st);
    assert_int_equal(end.status, STRATA_OK);
    assert_load(&st, "b", &o, NULL, STRATA_OK, "v");
    assert_int_equal(o.calls, 2);
    close_stack(&st);
}

static void test_a_probe_that_fails(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "v" };
    strata_policy p = breaking(2, 0);
    open_policy(&st, &p);
    fail_times(&st, &o, "k", NULL, 2);
    pass(&st, OPEN_MS);
    fail_times(&st, &o, "k", NULL, 1);
    pass(&st, OPEN_MS - 1);
    assert_load(&st, "k", &o, NULL, STRATA_EBREAKER, NULL);
    pass(&st, 1);
    o.fail = 0;
    assert_load(&st, "k", &o, NULL, STRATA_OK, "v");
    assert_int_equal(stats_of(st.cache).breaker_opened, 1);
    close_stack(&st);
}

/* Is the second load refused after the first has failed? */
static int share(const strata_policy *p, int other_key, int other_loader, int other_space)
{
    struct stack st;
    strata *space;
    strata_value *v;
    struct origin a = { .st = &st, .fail = STRATA_EIO }, b = { .st = &st, .value = "b" };
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_namespace(st.cache, "n", NULL, &space, NULL), STRATA_OK);
    assert_load(&st, "k", &a, p, STRATA_EIO, NULL);
    int rc = strata_get_or_load(other_space ? space : st.cache, strata_str(other_key ? "k2" : "k"), origin_loader,
                                other_loader ? &b : &a, p, &v, &st.err);
    strata_value_unref(v);
    if (rc == STRATA_EBREAKER && p->breaker_name != NULL)
        assert_non_null(strstr(st.err.message, "the breaker \"db\" is open"));
    else if (rc == STRATA_EBREAKER && p->breaker_scope == STRATA_SCOPE_KEY)
        assert_non_null(strstr(st.err.message, "the breaker of the key \"k\" is open"));
    assert_int_equal(strata_close(space), STRATA_OK);
    close_stack(&st);
    return rc == STRATA_EBREAKER;
}

static void test_scopes(void **state)
{
    (void)state;
    static const struct {
        int32_t scope;
        const char *name;
        int other_key, other_loader, other_space;
    } rows[] = {
        { STRATA_SCOPE_CACHE, NULL, 1, 1, 1 },  { STRATA_SCOPE_NAMESPACE, NULL, 1, 1, 0 },
        { STRATA_SCOPE_LOADER, NULL, 1, 0, 1 }, { STRATA_SCOPE_KEY, NULL, 0, 1, 0 },
        { STRATA_SCOPE_KEY, "db", 1, 1, 1 },    { 0, NULL, 1, 1, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        strata_policy p = breaking(1, rows[i].scope);
        p.breaker_name = rows[i].name;
        assert_int_equal(share(&p, 0, 0, 0), 1);
        assert_int_equal(share(&p, 1, 0, 0), rows[i].other_key);
        assert_int_equal(share(&p, 0, 1, 0), rows[i].other_loader);
        assert_int_equal(share(&p, 0, 0, 1), rows[i].other_space);
    }
}

/* Open: what stale-if-error allows is served, and no loader is called for it; nor by the refreshes of stale values. */
static void test_stale_instead(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "v" };
    strata_policy p = breaking(1, 0);
    p.ttl_ms = 100;
    p.stale_if_error_ms = 100000;
    p.retry_ms = STRATA_OFF;
    p.breaker_open_ms = 50000;
    open_policy(&st, &p);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "v");
    pass(&st, 100);
    o.fail = STRATA_EIO;
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "v"); /* this one opens it */
    for (int i = 0; i < 10; i++) {
        pass(&st, 10);
        assert_load(&st, "k", &o, NULL, STRATA_STALE, "v");
    }
    assert_int_equal(o.calls, 2);
    p.stale_while_revalidate_ms = 100000;
    p.ttl_ms = 10;
    p.breaker_failures = STRATA_OFF;
    o.fail = 0;
    assert_load(&st, "k2", &o, &p, STRATA_OK, "v");
    p.breaker_failures = 1;
    pass(&st, 10);
    assert_load(&st, "k2", &o, &p, STRATA_STALE, "v");
    run(&st);
    assert_int_equal(o.calls, 3);
    assert_int_equal(stats_of(st.cache).breaker_refused, 11);
    close_stack(&st);
}

static void test_invalidations_leave_it_open(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "v" };
    strata_policy p = breaking(1, STRATA_SCOPE_KEY);
    open_policy(&st, &p);
    fail_times(&st, &o, "k", NULL, 1);
    assert_int_equal(strata_delete(st.cache, strata_str("k"), NULL), STRATA_OK);
    assert_load(&st, "k", &o, NULL, STRATA_EBREAKER, NULL);
    assert_int_equal(strata_clear(st.cache, NULL), STRATA_OK);
    assert_load(&st, "k", &o, NULL, STRATA_EBREAKER, NULL);
    assert_int_equal(strata_ban_prefix(st.cache, strata_str("k"), 0, NULL), STRATA_OK);
    assert_load(&st, "k", &o, NULL, STRATA_EBREAKER, NULL);
    assert_int_equal(o.calls, 1);
    close_stack(&st);
}

/* What began before it opened, and succeeds after, does not close it; nor does each further failure open it anew. */
static void test_late_answers_decide_nothing(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "v" }, slow[2] = { { .pending = 1 }, { .pending = 1 } };
    struct ended end[2] = { 0 };
    strata_policy p = breaking(1, 0);
    open_policy(&st, &p);
    for (int i = 0; i < 2; i++)
        assert_int_equal(strata_get_or_load_async(st.cache, strata_bytes(&"ab"[i], 1), origin_loader, &slow[i], NULL,
                                                  NULL, on_done, &end[i], NULL),
                         STRATA_PENDING);
    run(&st);
    fail_times(&st, &o, "k", NULL, 1);
    pass(&st, 500);
    assert_int_equal(strata_load_copy(slow[0].kept, "v", 1), STRATA_OK);
    assert_int_equal(strata_load_fail(slow[1].kept, STRATA_EIO, NULL), STRATA_OK);
    for (int i = 0; i < 2; i++)
        strata_load_unref(slow[i].kept);
    run(&st);
    assert_int_equal(end[0].status, STRATA_OK);
    assert_load(&st, "k", &o, NULL, STRATA_EBREAKER, NULL);
    pass(&st, 500);
    o.fail = 0;
    assert_load(&st, "k", &o, NULL, STRATA_OK, "v");
    assert_int_equal(stats_of(st.cache).breaker_opened, 1);
    close_stack(&st);
}

/* An origin that hangs is one that fails: the hard timeout says so. */
static void test_a_hanging_origin_opens_it(void **state)
{
    (void)state;
    struct stack st;
    struct origin slow = { .st = &st, .pending = 1 }, o = { .st = &st, .value = "v" };
    strata_policy p = breaking(1, 0);
    p.hard_timeout_ms = 50;
    open_policy(&st, &p);
    assert_load(&st, "k", &slow, NULL, STRATA_ETIMEDOUT, NULL);
    assert_load(&st, "k2", &o, NULL, STRATA_EBREAKER, NULL);
    assert_int_equal(strata_load_copy(slow.kept, "late", 4), STRATA_OK);
    strata_load_unref(slow.kept);
    run(&st);
    assert_load(&st, "k2", &o, NULL, STRATA_EBREAKER, NULL);
    close_stack(&st);
}

static void test_what_says_nothing(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st };
    strata_policy p = breaking(1, 0);
    strata_value *v;
    open_stack(&st, &(struct stack_options){ .policy = &p, .max_value_bytes = 4 });
    assert_load(&st, "k", &o, NULL, STRATA_ABSENT, NULL);
    o.value = "too long";
    assert_int_equal(strata_get_or_load(st.cache, strata_str("k"), origin_loader, &o, NULL, &v, NULL),
                     STRATA_EVALUESIZE);
    o.value = "v";
    assert_load(&st, "k", &o, NULL, STRATA_OK, "v");
    close_stack(&st);
}

static int load_bulk(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    struct origin *o = ctx;
    o->calls++;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(o->fail < 0 ? strata_load_fail(loads[i], o->fail, NULL)
                                     : strata_load_copy(loads[i], keys[i].data, keys[i].size),
                         STRATA_OK);
    return STRATA_OK;
}

static int ask_many(struct stack *st, struct origin *o, strata_item *items, const strata_policy *p)
{
    static const char *const names[] = { "a", "b", "c" };
    for (int i = 0; i < 3; i++)
        items[i] = (strata_item){ .key = strata_str(names[i]) };
    int rc = strata_get_or_load_many(st->cache, items, 3, load_bulk, o, p, &st->err);
    for (int i = 0; i < 3; i++)
        strata_value_unref(items[i].value);
    return rc;
}

/* One call of a bulk loader is one failure, and may be the probe, with all its keys. */
static void test_bulk(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .fail = STRATA_EIO };
    strata_item items[3];
    strata_policy p = breaking(2, 0);
    open_policy(&st, &p);
    assert_int_equal(ask_many(&st, &o, items, NULL), STRATA_EIO);
    assert_int_equal(ask_many(&st, &o, items, NULL), STRATA_EIO);
    assert_int_equal(ask_many(&st, &o, items, NULL), STRATA_EBREAKER);
    assert_int_equal(o.calls, 2);
    pass(&st, OPEN_MS);
    o.fail = 0;
    assert_int_equal(ask_many(&st, &o, items, NULL), STRATA_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(items[i].status, STRATA_OK);
    assert_int_equal(o.calls, 3);
    close_stack(&st);
}

static void test_bulk_by_key(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .fail = STRATA_EIO };
    strata_item items[3];
    strata_policy p = breaking(1, STRATA_SCOPE_KEY);
    open_policy(&st, &p);
    fail_times(&st, &o, "b", NULL, 1);
    o.fail = 0;
    assert_int_equal(ask_many(&st, &o, items, NULL), STRATA_EBREAKER);
    assert_int_equal(items[0].status, STRATA_OK);
    assert_int_equal(items[1].status, STRATA_EBREAKER);
    assert_int_equal(items[2].status, STRATA_OK);
    assert_int_equal(o.calls, 2);
    close_stack(&st);
}

struct heard {
    int opened, closed, refused;
    char words[256];
};

static void hear(const strata_event *e, void *ctx)
{
    struct heard *h = ctx;
    h->opened += e->kind == STRATA_EVENT_BREAKER_OPEN;
    h->closed += e->kind == STRATA_EVENT_BREAKER_CLOSED;
    h->refused += e->kind == STRATA_EVENT_LOAD_REFUSED;
    if (e->kind == STRATA_EVENT_LOAD_REFUSED)
        assert_int_equal(e->status, STRATA_EBREAKER);
    snprintf(h->words, sizeof h->words, "%s", e->message);
}

static void test_events(void **state)
{
    (void)state;
    struct stack st;
    struct heard h = { 0 };
    struct origin o = { .st = &st, .value = "v" };
    strata_policy p = breaking(1, 0);
    p.breaker_name = "db";
    open_policy(&st, &p);
    assert_int_equal(strata_on(st.cache,
                               STRATA_EVENT_BREAKER_OPEN | STRATA_EVENT_BREAKER_CLOSED | STRATA_EVENT_LOAD_REFUSED,
                               hear, &h, NULL),
                     STRATA_OK);
    fail_times(&st, &o, "k", NULL, 1);
    assert_string_equal(h.words, "the breaker \"db\" opened after 1 failed loads in a row, for 1000 ms");
    assert_load(&st, "k", &o, NULL, STRATA_EBREAKER, NULL);
    assert_string_equal(h.words, st.err.message);
    pass(&st, OPEN_MS);
    o.fail = 0;
    assert_load(&st, "k", &o, NULL, STRATA_OK, "v");
    assert_string_equal(h.words, "the breaker \"db\" closed: a load succeeded");
    assert_int_equal(h.opened * 100 + h.closed * 10 + h.refused, 111);
    assert_string_equal(strata_event_name(STRATA_EVENT_BREAKER_OPEN), "breaker_open");
    assert_string_equal(strata_event_name(STRATA_EVENT_BREAKER_CLOSED), "breaker_closed");
    assert_string_equal(strata_event_name(STRATA_EVENT_LOAD_REFUSED), "load_refused");
    close_stack(&st);
}

/* Only keys that fail are remembered, and no more than there is room for. */
static void test_memory_is_bounded(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "v" };
    char key[32];
    strata_policy p = breaking(1, STRATA_SCOPE_KEY);
    p.breaker_open_ms = 1000000;
    open_stack(&st, &(struct stack_options){ .policy = &p, .memory_bytes = 1 << 20 });
    const struct wards *all = &st.cache->root->warden.breakers;
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "good%d", i);
        assert_load(&st, key, &o, NULL, STRATA_OK, "v");
    }
    assert_int_equal(all->count, 0);
    o.fail = STRATA_EIO;
    for (int i = 0; i < WARDS_MOST + 5; i++) {
        snprintf(key, sizeof key, "bad%d", i);
        assert_load(&st, key, &o, NULL, STRATA_EIO, NULL);
    }
    assert_int_equal(all->count, WARDS_MOST);
    assert_load(&st, key, &o, NULL, STRATA_EBREAKER, NULL);
    assert_load(&st, "bad0", &o, NULL, STRATA_EIO, NULL); /* forgotten */
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_and_names_itself),
        cmocka_unit_test(test_one_probe_and_then_all),
        cmocka_unit_test(test_a_probe_that_fails),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_stale_instead),
        cmocka_unit_test(test_invalidations_leave_it_open),
        cmocka_unit_test(test_late_answers_decide_nothing),
        cmocka_unit_test(test_a_hanging_origin_opens_it),
        cmocka_unit_test(test_what_says_nothing),
        cmocka_unit_test(test_bulk),
        cmocka_unit_test(test_bulk_by_key),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
