/* test_load_limits.c - limits of loads: how many at once and how often, who counts together, and what becomes of who must wait. */
#include "tests/unit/core_fixture.h"

enum { CALLERS = 6 };

/* Loads that are kept, and their callers. */
struct kept {
    struct stack *st;
    strata_load *loads[CALLERS];
    size_t count;
    int calls; /* of the loader, or of the bulk loader */
    struct ended ends[CALLERS];
};

static int keep_some(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    struct kept *k = ctx;
    (void)keys;
    k->calls++;
    for (size_t i = 0; i < count; i++)
        k->loads[k->count++] = strata_load_ref(loads[i]);
    return STRATA_PENDING;
}

static int keep(strata_load *load, strata_slice key, void *ctx) { return keep_some(&load, &key, 1, ctx); }

static void finish(struct kept *k, size_t i)
{
    strata_load_copy(k->loads[i], "v", 1);
    strata_load_unref(k->loads[i]);
    run(k->st);
}

/* Those, too, that begin as others end. */
static void finish_from(struct kept *k, size_t first)
{
    for (size_t i = first; i < k->count; i++)
        finish(k, i);
}

static strata_slice key_of(int i) { return strata_bytes(&"abcdef"[i], 1); }

static void ask(struct kept *k, int i, const strata_policy *p)
{
    assert_int_equal(strata_get_or_load_async(k->st->cache, key_of(i), keep, k, p, NULL, on_done, &k->ends[i], NULL),
                     STRATA_PENDING);
    run(k->st);
}

static void ask_all(struct kept *k)
{
    for (int i = 0; i < CALLERS; i++)
        ask(k, i, NULL);
}

static strata_policy at_once(int32_t most)
{
    strata_policy p = STRATA_POLICY_INIT;
    p.max_loads = most;
    return p;
}

static const struct warden *warden_of(const struct stack *st) { return &st->cache->root->warden; }

/* First come, first served; and nobody looks again and again, whether one has ended. */
static void test_so_many_at_once(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    strata_policy p = at_once(2);
    p.queue_ms = STRATA_FOREVER;
    open_policy(&st, &p);
    ask_all(&k);
    assert_int_equal(k.calls, 2);
    assert_int_equal(warden_of(&st)->armed, 0);
    pass(&st, 1000000);
    assert_int_equal(k.calls, 2);
    for (int i = 0; i < CALLERS; i++) {
        finish(&k, (size_t)i);
        assert_int_equal(k.ends[i].status, STRATA_OK);
        assert_int_equal(k.calls, i + 3 < CALLERS ? i + 3 : CALLERS);
    }
    assert_int_equal(stats_of(st.cache).limit_waits, CALLERS - 2);
    assert_int_equal(warden_of(&st)->buckets.count, 0); /* nothing to remember */
    close_stack(&st);
}

static void test_so_often(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    strata_policy p = STRATA_POLICY_INIT;
    p.rate_loads = 2;
    p.rate_ms = 160;
    open_policy(&st, &p);
    ask_all(&k);
    assert_int_equal(k.calls, 2);
    pass(&st, 159);
    assert_int_equal(k.calls, 2);
    pass(&st, 11);
    assert_int_equal(k.calls, 4); /* by the timer alone: none has ended */
    pass(&st, 170);
    assert_int_equal(k.calls, 6);
    finish_from(&k, 0);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(k.ends[i].status, STRATA_OK);
    close_stack(&st);
}

/* A blocking caller sleeps, and its loader runs on its thread when it may. */
static void test_blocking_callers_wait_too(void **state)
{
    (void)state;
    struct stack st;
    struct origin slow = { .st = &st, .value = "slow", .takes_ms = 300 }, o = { .st = &st, .value = "v" };
    struct ended end = { 0 };
    strata_policy p = at_once(1);
    open_policy(&st, &p);
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str("a"), origin_loader, &slow, NULL, NULL, on_done, &end, NULL),
        STRATA_PENDING);
    run(&st);
    int64_t before = ex_now_ms(st.ex);
    assert_load(&st, "b", &o, NULL, STRATA_OK, "v");
    assert_int_equal(ex_now_ms(st.ex) - before, 300);
    assert_int_equal(end.status, STRATA_OK);
    close_stack(&st);
}

static void test_waits_so_long(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    strata_policy p = at_once(1);
    p.queue_ms = 50;
    open_policy(&st, &p);
    ask(&k, 0, NULL);
    ask(&k, 1, NULL);
    pass(&st, 49);
    assert_int_equal(k.ends[1].count, 0);
    pass(&st, 1);
    assert_int_equal(k.ends[1].status, STRATA_ELIMIT);
    assert_string_equal(k.ends[1].err.where, "queue_ms");
    assert_non_null(strstr(k.ends[1].err.message,
                           "the limit of the cache (max_loads=1) did not let this load begin within "
                           "queue_ms=50"));
    p.queue_ms = STRATA_OFF;
    p.limit_name = "db";
    p.rate_loads = 7;
    ask(&k, 2, &p);
    ask(&k, 3, &p);
    assert_int_equal(k.ends[3].status, STRATA_ELIMIT);
    assert_non_null(
        strstr(k.ends[3].err.message, "the limit \"db\" (max_loads=1, rate_loads=7 in 1000 ms) is reached"));
    p.queue_ms = 50;
    p.max_waiting = 1;
    ask(&k, 3, &p);
    ask(&k, 4, &p);
    assert_int_equal(k.ends[4].status, STRATA_ELIMIT);
    p.limit_overflow = STRATA_OVERFLOW_BYPASS;
    ask(&k, 4, &p); /* at once, past the bound */
    assert_int_equal(k.calls, 3);
    pass(&st, 50);
    assert_int_equal(k.calls, 3);
    assert_int_equal(k.ends[3].count, 2);
    ask(&k, 5, &p); /* or when its time is over */
    assert_int_equal(k.calls, 3);
    pass(&st, 50);
    assert_int_equal(k.calls, 4);
    finish_from(&k, 0);
    assert_int_equal(k.ends[5].status, STRATA_OK);
    assert_int_equal(stats_of(st.cache).limit_refused, 4);
    close_stack(&st);
}

/* What was there before is served when a load is refused, and past the soft timeout while it waits. */
static void test_stale_instead_of_waiting(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    struct origin o = { .st = &st, .value = "old" };
    strata_policy p = at_once(1);
    p.ttl_ms = 10;
    p.stale_if_error_ms = 100000;
    p.retry_ms = STRATA_OFF;
    p.queue_ms = 1000;
    open_policy(&st, &p);
    assert_load(&st, "s", &o, NULL, STRATA_OK, "old");
    pass(&st, 10);
    ask(&k, 0, NULL);
    int64_t before = ex_now_ms(st.ex);
    assert_load(&st, "s", &o, NULL, STRATA_STALE, "old");
    assert_int_equal(ex_now_ms(st.ex) - before, 1000); /* queue_ms */
    p.soft_timeout_ms = 30;
    before = ex_now_ms(st.ex);
    o.value = "new";
    assert_load(&st, "s", &o, &p, STRATA_STALE, "old");
    assert_int_equal(ex_now_ms(st.ex) - before, 30);
    assert_int_equal(o.calls, 1);
    finish(&k, 0); /* and the load goes on */
    assert_get(&st, "s", STRATA_OK, "new");
    close_stack(&st);
}

/* A bucket that is forgotten for want of room is due nowhere: its last who waited went before its next was to be let in. */
static void test_a_forgotten_bucket_is_not_due(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    struct origin o = { .st = &st, .value = "v" };
    strata_policy p = STRATA_POLICY_INIT;
    char key[16];
    p.rate_loads = 1;
    p.rate_ms = 1000000;
    p.queue_ms = 50;
    p.limit_scope = STRATA_SCOPE_KEY;
    open_policy(&st, &p);
    ask(&k, 0, NULL);
    finish(&k, 0);
    assert_int_equal(strata_delete(st.cache, key_of(0), NULL), STRATA_OK);
    ask(&k, 0, NULL);
    pass(&st, 50);
    assert_int_equal(k.ends[0].status, STRATA_ELIMIT);
    assert_null(heap_peek(&warden_of(&st)->dues));
    for (int i = 0; i < WARDS_MOST; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_load(&st, key, &o, NULL, STRATA_OK, "v");
    }
    assert_int_equal(warden_of(&st)->buckets.count, WARDS_MOST);
    pass(&st, 2000000);
    close_stack(&st);
}

/* Who gives up leaves the queue at once: it takes no room there, and no beginning. */
static void test_who_gives_up_leaves(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    strata_policy p = at_once(1), hurried = at_once(1);
    p.queue_ms = hurried.queue_ms = 10000;
    p.max_waiting = hurried.max_waiting = 1;
    hurried.hard_timeout_ms = 20;
    open_policy(&st, &p);
    ask(&k, 0, NULL);
    ask(&k, 1, &hurried);
    ask(&k, 2, NULL);
    assert_int_equal(k.ends[2].status, STRATA_ELIMIT);
    pass(&st, 20);
    assert_int_equal(k.ends[1].status, STRATA_ETIMEDOUT);
    assert_non_null(strstr(k.ends[1].err.message, "as many loads run, or have begun, as max_loads"));
    ask(&k, 3, NULL);
    assert_int_equal(k.ends[3].count, 0); /* there is room again */
    finish(&k, 0);
    assert_int_equal(k.calls, 2);
    finish(&k, 1);
    assert_int_equal(k.ends[3].status, STRATA_OK);
    assert_int_equal(k.calls, 2);
    close_stack(&st);
}

static void test_close_lets_all_go(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    strata_policy p = at_once(1);
    p.queue_ms = STRATA_FOREVER;
    open_policy(&st, &p);
    ask_all(&k);
    close_stack(&st);
    assert_int_equal(k.calls, 1);
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(k.ends[i].status, STRATA_ECLOSED);
    strata_load_unref(k.loads[0]);
}

/* Does the second load wait for the first? */
static int share(const strata_policy *p, int other_key, int other_loader, int other_space)
{
    struct stack st;
    strata *space;
    struct kept k = { .st = &st }, other = { .st = &st };
    strata_policy alone = *p;
    alone.single_flight = STRATA_OFF;
    open_stack(&st, &(struct stack_options){ 0 });
    assert_int_equal(strata_namespace(st.cache, "n", NULL, &space, NULL), STRATA_OK);
    ask(&k, 0, &alone);
    assert_int_equal(strata_get_or_load_async(other_space ? space : st.cache, key_of(other_key), keep,
                                              other_loader ? &other : &k, &alone, NULL, on_done, &k.ends[1], NULL),
                     STRATA_PENDING);
    run(&st);
    int waits = k.calls + other.calls == 1;
    finish_from(&k, 0);
    finish_from(&other, 0);
    assert_int_equal(k.ends[1].status, STRATA_OK);
    assert_int_equal(strata_close(space), STRATA_OK);
    close_stack(&st);
    return waits;
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
        { STRATA_SCOPE_KEY, "db", 1, 1, 1 },    { 0, NULL, 1, 1, 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        strata_policy p = at_once(1);
        p.limit_scope = rows[i].scope;
        p.limit_name = rows[i].name;
        assert_int_equal(share(&p, 0, 0, 0), 1);
        assert_int_equal(share(&p, 1, 0, 0), rows[i].other_key);
        assert_int_equal(share(&p, 0, 1, 0), rows[i].other_loader);
        assert_int_equal(share(&p, 0, 0, 1), rows[i].other_space);
    }
}

/* The timer of one bucket keeps no other waiting. */
static void test_buckets_have_their_own_times(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    strata_policy slow = STRATA_POLICY_INIT, fast = STRATA_POLICY_INIT;
    slow.rate_loads = fast.rate_loads = 1;
    slow.queue_ms = fast.queue_ms = STRATA_FOREVER;
    slow.limit_name = "slow";
    fast.limit_name = "fast";
    slow.rate_ms = 16000;
    fast.rate_ms = 160;
    open_stack(&st, &(struct stack_options){ 0 });
    ask(&k, 0, &slow);
    ask(&k, 1, &slow);
    ask(&k, 2, &fast);
    ask(&k, 3, &fast);
    assert_int_equal(k.calls, 2);
    pass(&st, 170);
    assert_int_equal(k.calls, 3);
    pass(&st, 17000);
    assert_int_equal(k.calls, 4);
    finish_from(&k, 0);
    close_stack(&st);
}

static int load_nested(strata_load *load, strata_slice key, void *ctx)
{
    struct kept *k = ctx;
    strata_value *v = NULL;
    (void)key;
    if (k->calls++ == 0) {
        assert_int_equal(strata_get_or_load(k->st->cache, strata_str("inner"), load_nested, k, NULL, &v, NULL),
                         STRATA_OK);
        strata_value_unref(v);
    }
    return strata_load_copy(load, "v", 1);
}

static void test_a_loader_may_load(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    strata_value *v;
    strata_policy p = at_once(1);
    open_policy(&st, &p);
    int64_t before = ex_now_ms(st.ex);
    assert_int_equal(strata_get_or_load(st.cache, strata_str("outer"), load_nested, &k, NULL, &v, NULL), STRATA_OK);
    strata_value_unref(v);
    assert_int_equal(k.calls, 2);
    assert_int_equal(ex_now_ms(st.ex), before);
    close_stack(&st);
}

/* Who waited asks the breaker, too: it may have opened meanwhile. */
static void test_a_breaker_opens_over_a_queue(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    strata_policy p = at_once(1);
    p.breaker_failures = 1;
    open_policy(&st, &p);
    ask_all(&k);
    assert_int_equal(strata_load_fail(k.loads[0], STRATA_EIO, NULL), STRATA_OK);
    strata_load_unref(k.loads[0]);
    run(&st);
    assert_int_equal(k.calls, 1);
    assert_int_equal(k.ends[0].status, STRATA_EIO);
    for (int i = 1; i < CALLERS; i++)
        assert_int_equal(k.ends[i].status, STRATA_EBREAKER);
    close_stack(&st);
}

static void ask_three(struct kept *k, strata_item *items, const strata_policy *p, struct ended *end)
{
    for (int i = 0; i < 3; i++)
        items[i] = (strata_item){ .key = key_of(i + 1) };
    assert_int_equal(strata_get_or_load_many_async(k->st->cache, items, 3, keep_some, k, p, NULL, on_done, end, NULL),
                     STRATA_PENDING);
    run(k->st);
}

static void check_three(strata_item *items, int status)
{
    for (int i = 0; i < 3; i++) {
        assert_int_equal(items[i].status, status);
        strata_value_unref(items[i].value);
    }
}

static void test_a_bulk_call_is_one(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    struct ended end = { 0 };
    strata_item items[3];
    strata_policy p = at_once(1);
    open_policy(&st, &p);
    ask(&k, 0, NULL);
    ask_three(&k, items, NULL, &end);
    assert_int_equal(k.calls, 1);
    finish(&k, 0);
    assert_int_equal(k.calls, 2);
    assert_int_equal(k.count, 4);
    ask(&k, 5, NULL);
    finish(&k, 1);
    finish(&k, 2);
    assert_int_equal(k.calls, 2); /* until its last key is through */
    finish(&k, 3);
    assert_int_equal(k.calls, 3);
    finish(&k, 4);
    assert_int_equal(end.count, 1);
    check_three(items, STRATA_OK);
    close_stack(&st);
}

static void test_a_bulk_call_is_refused(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    struct ended end[2] = { 0 };
    strata_item items[3];
    strata_policy p = at_once(1), off = at_once(1);
    p.queue_ms = 1000;
    off.queue_ms = STRATA_OFF;
    open_policy(&st, &p);
    ask(&k, 0, NULL);
    ask_three(&k, items, NULL, &end[0]);
    pass(&st, 1000);
    assert_int_equal(end[0].count, 1);
    check_three(items, STRATA_ELIMIT);
    ask_three(&k, items, &off, &end[1]);
    assert_int_equal(end[1].count, 1);
    check_three(items, STRATA_ELIMIT);
    assert_int_equal(k.calls, 1);
    finish(&k, 0);
    close_stack(&st);
}

/* By key: the key that must wait is loaded by a call of its own. */
static void test_a_bulk_call_by_key(void **state)
{
    (void)state;
    struct stack st;
    struct kept k = { .st = &st };
    struct ended end = { 0 };
    strata_item items[3];
    strata_policy p = STRATA_POLICY_INIT;
    p.rate_loads = 1;
    p.limit_scope = STRATA_SCOPE_KEY;
    p.ttl_ms = 1;
    p.queue_ms = 2000;
    open_policy(&st, &p);
    ask(&k, 2, NULL);
    finish(&k, 0);
    pass(&st, 1);
    ask_three(&k, items, NULL, &end);
    assert_int_equal(k.calls, 2);
    assert_int_equal(k.count, 3);
    pass(&st, 1071);
    assert_int_equal(k.calls, 3);
    assert_int_equal(k.count, 4);
    finish_from(&k, 1);
    assert_int_equal(end.count, 1);
    check_three(items, STRATA_OK);
    close_stack(&st);
}

static void test_memory_is_bounded(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "v" };
    char key[32];
    strata_policy p = STRATA_POLICY_INIT;
    p.rate_loads = 1;
    p.rate_ms = 100000;
    p.queue_ms = STRATA_OFF;
    p.ttl_ms = STRATA_OFF;
    p.limit_scope = STRATA_SCOPE_KEY;
    open_policy(&st, &p);
    for (int i = 0; i < WARDS_MOST + 5; i++) {
        snprintf(key, sizeof key, "k%d", i);
        assert_load(&st, key, &o, NULL, STRATA_OK, "v");
    }
    assert_int_equal(warden_of(&st)->buckets.count, WARDS_MOST);
    assert_load(&st, key, &o, NULL, STRATA_ELIMIT, NULL);
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_so_many_at_once),
        cmocka_unit_test(test_so_often),
        cmocka_unit_test(test_blocking_callers_wait_too),
        cmocka_unit_test(test_waits_so_long),
        cmocka_unit_test(test_stale_instead_of_waiting),
        cmocka_unit_test(test_a_forgotten_bucket_is_not_due),
        cmocka_unit_test(test_who_gives_up_leaves),
        cmocka_unit_test(test_close_lets_all_go),
        cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_buckets_have_their_own_times),
        cmocka_unit_test(test_a_loader_may_load),
        cmocka_unit_test(test_a_breaker_opens_over_a_queue),
        cmocka_unit_test(test_a_bulk_call_is_one),
        cmocka_unit_test(test_a_bulk_call_is_refused),
        cmocka_unit_test(test_a_bulk_call_by_key),
        cmocka_unit_test(test_memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
