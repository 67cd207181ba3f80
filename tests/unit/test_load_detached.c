/* test_load_detached.c - loads that take longer than load_limit_ms: who is answered how, and what becomes of what they bring. */
#include "tests/unit/core_fixture.h"

enum { LIMIT_MS = 100 };

static strata_policy limited(int late)
{
    strata_policy p = STRATA_POLICY_INIT;
    p.load_limit_ms = LIMIT_MS;
    p.late_result = late ? STRATA_ON : STRATA_OFF;
    return p;
}

static void ask(struct stack *st, const char *key, struct origin *o, const strata_policy *p, struct ended *end)
{
    *end = (struct ended){ 0 };
    o->pending = 1;
    assert_int_equal(strata_get_or_load_async(st->cache, strata_str(key), origin_loader, o, p, NULL, on_done, end, NULL),
                     STRATA_PENDING);
    run(st);
}

static void bring(struct stack *st, struct origin *o, const char *text)
{
    (void)strata_load_copy(o->kept, text, strlen(text));
    strata_load_unref(o->kept);
    o->kept = NULL;
    run(st);
}

/* Its callers are told, and others load the key at once; what comes late is nothing to anybody. */
static void test_the_key_is_free(void **state)
{
    (void)state;
    struct stack st;
    struct origin hangs = { .st = &st }, o = { .st = &st, .value = "v" };
    struct ended end, joined;
    strata_policy p = limited(0);
    open_policy(&st, &p);
    ask(&st, "k", &hangs, NULL, &end);
    ask(&st, "k", &hangs, NULL, &joined);
    pass(&st, LIMIT_MS - 1);
    assert_int_equal(end.count + joined.count, 0);
    assert_int_equal(strata_load_canceled(hangs.kept), 0);
    pass(&st, 1);
    assert_int_equal(end.status, STRATA_ETIMEDOUT);
    assert_int_equal(joined.status, STRATA_ETIMEDOUT);
    assert_string_equal(end.err.where, "load_limit_ms");
    assert_non_null(strstr(end.err.message, "load_limit_ms=100"));
    assert_int_equal(strata_load_canceled(hangs.kept), 1);
    assert_get(&st, "k", STRATA_MISS, NULL);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "v");
    bring(&st, &hangs, "late");
    assert_get(&st, "k", STRATA_OK, "v");
    assert_int_equal(hangs.calls, 1);
    assert_int_equal(stats_of(st.cache).loads_detached, 1);
    close_stack(&st);
}

/* A blocking caller, too: its loader is on a worker. */
static void test_blocking(void **state)
{
    (void)state;
    struct stack st;
    struct origin slow = { .st = &st, .value = "late", .takes_ms = 300 };
    for (int late = 0; late < 2; late++) {
        strata_policy p = limited(late);
        open_policy(&st, &p);
        int64_t before = ex_now_ms(st.ex);
        assert_load(&st, "k", &slow, NULL, STRATA_ETIMEDOUT, NULL);
        assert_int_equal(ex_now_ms(st.ex) - before, LIMIT_MS);
        pass(&st, 200);
        assert_get(&st, "k", late ? STRATA_OK : STRATA_MISS, late ? "late" : NULL);
        close_stack(&st);
    }
}

static void test_stale_instead(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "old" }, hangs = { .st = &st };
    struct ended end;
    strata_policy p = limited(0);
    p.ttl_ms = 10;
    p.stale_if_error_ms = 100000;
    open_policy(&st, &p);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "old");
    pass(&st, 10);
    ask(&st, "k", &hangs, NULL, &end);
    pass(&st, LIMIT_MS);
    assert_int_equal(end.status, STRATA_STALE);
    assert_string_equal(end.text, "old");
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "old"); /* the next try waits retry_ms */
    assert_int_equal(o.calls, 1);
    pass(&st, 1000);
    o.value = "new";
    assert_load(&st, "k", &o, NULL, STRATA_OK, "new");
    bring(&st, &hangs, "late");
    assert_get(&st, "k", STRATA_OK, "new");
    close_stack(&st);
}

enum { NOTHING, LOADED, SET, DELETED, BANNED, CLEARED, EXPIRED, KINDS };

static void happen(struct stack *st, int kind, struct origin *o)
{
    switch (kind) {
    case LOADED: assert_load(st, "k", o, NULL, STRATA_OK, "newer"); break;
    case SET:
        assert_int_equal(strata_set(st->cache, strata_str("k"), strata_str("newer"), NULL, NULL), STRATA_OK);
        break;
    case DELETED: assert_int_equal(strata_delete(st->cache, strata_str("k"), NULL), STRATA_OK); break;
    case BANNED: assert_int_equal(strata_ban_prefix(st->cache, strata_str("k"), 0, NULL), STRATA_OK); break;
    case CLEARED: assert_int_equal(strata_clear(st->cache, NULL), STRATA_OK); break;
    case EXPIRED: (void)strata_expire(st->cache, strata_str("k"), NULL); break;
    default: break;
    }
}

/* With late_result it is stored, if nothing newer has come. */
static void test_late_results_are_fenced(void **state)
{
    (void)state;
    struct stack st;
    for (int kind = NOTHING; kind < KINDS; kind++) {
        for (int with_slow = 0; with_slow < 2; with_slow++) {
            struct origin hangs = { .st = &st }, o = { .st = &st, .value = "newer" };
            struct ended end;
            strata_policy p = limited(1);
            open_stack(&st, &(struct stack_options){ .policy = &p, .with_slow = with_slow });
            ask(&st, "k", &hangs, NULL, &end);
            pass(&st, LIMIT_MS);
            assert_int_equal(end.status, STRATA_ETIMEDOUT);
            assert_int_equal(strata_load_canceled(hangs.kept), 0); /* what it brings is wanted */
            happen(&st, kind, &o);
            run(&st);
            bring(&st, &hangs, "late");
            int there = kind <= SET;
            assert_get(&st, "k", there ? STRATA_OK : STRATA_MISS, kind == NOTHING ? "late" : there ? "newer" : NULL);
            assert_int_equal(atomic_load(&st.cache->root->detached), 0);
            close_stack(&st);
        }
    }
}

/* Two that hang: the younger's result stays, in whatever order they come. */
static void test_the_younger_one_stays(void **state)
{
    (void)state;
    struct stack st;
    for (int first = 0; first < 2; first++) {
        struct origin hangs[2] = { { .st = &st }, { .st = &st } };
        struct ended end;
        strata_policy p = limited(1);
        open_policy(&st, &p);
        for (int i = 0; i < 2; i++) {
            ask(&st, "k", &hangs[i], NULL, &end);
            pass(&st, LIMIT_MS);
        }
        bring(&st, &hangs[first], first == 0 ? "older" : "younger");
        assert_get(&st, "k", STRATA_OK, first == 0 ? "older" : "younger");
        bring(&st, &hangs[!first], first == 0 ? "younger" : "older");
        assert_get(&st, "k", STRATA_OK, "younger");
        close_stack(&st);
    }
}

/* It comes while another load runs: that one is newer, and is stored over it. */
static void test_a_load_that_runs_is_newer(void **state)
{
    (void)state;
    struct stack st;
    struct origin hangs = { .st = &st }, o = { .st = &st };
    struct ended end, second;
    strata_policy p = limited(1);
    open_policy(&st, &p);
    ask(&st, "k", &hangs, NULL, &end);
    pass(&st, LIMIT_MS);
    ask(&st, "k", &o, NULL, &second);
    bring(&st, &hangs, "late");
    assert_get(&st, "k", STRATA_OK, "late");
    bring(&st, &o, "newer");
    assert_string_equal(second.text, "newer");
    assert_get(&st, "k", STRATA_OK, "newer");
    close_stack(&st);
}

static void answer_last_first(struct stack *st)
{
    while (st->slow->held_count != 0) {
        struct script *s = st->slow;
        script_do(s->held[--s->held_count]);
        run(st);
    }
}

static void assert_slow_holds(struct stack *st, const char *text)
{
    size_t found = 0;
    for (int i = 0; i < SCRIPT_ROOM; i++) {
        const struct script_entry *entry = &st->slow->entries[i];
        if (!entry->used)
            continue;
        found++;
        assert_int_equal(entry->size, strlen(text));
        assert_memory_equal(entry->bytes, text, entry->size);
    }
    assert_int_equal(found, 1);
}

/* A slow layer may carry out the later of two puts first: so it has one at a time, whether it takes the older one well or not. */
static void test_regress_a_slow_layer_keeps_the_newer_one(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        struct stack st;
        struct origin hangs = { .st = &st }, o = { .st = &st };
        struct ended end, second;
        strata_policy p = limited(1);
        open_stack(&st, &(struct stack_options){ .policy = &p, .with_slow = 1, .only_slow = variant % 2 });
        ask(&st, "k", &hangs, NULL, &end);
        pass(&st, LIMIT_MS);
        ask(&st, "k", &o, NULL, &second);
        st.slow->hold_puts = 1;
        bring(&st, &hangs, "late");
        assert_int_equal(st.slow->held_count, 1);
        if (variant >= 2)
            st.slow->no_room = 1; /* then it is told to forget the key */
        bring(&st, &o, "newer");
        assert_int_equal(st.slow->held_count, 1); /* that comes after */
        if (variant % 2 == 0)
            assert_string_equal(second.text, "newer"); /* its caller waits for no slow layer */
        answer_last_first(&st);
        st.slow->no_room = 0;
        answer_last_first(&st);
        assert_string_equal(second.text, "newer");
        if (variant < 2)
            assert_slow_holds(&st, "newer");
        if (variant != 3)
            assert_get(&st, "k", STRATA_OK, "newer");
        assert_int_equal(atomic_load(&st.cache->root->detached), 0);
        close_stack(&st);
    }
}

/* A write waits for both, and comes last; and closing does. */
static void test_a_write_behind_both(void **state)
{
    (void)state;
    for (int closes = 0; closes < 2; closes++) {
        struct stack st;
        struct origin hangs = { .st = &st }, o = { .st = &st };
        struct ended end, second, set = { 0 };
        strata_policy p = limited(1);
        open_stack(&st, &(struct stack_options){ .policy = &p, .with_slow = 1 });
        ask(&st, "k", &hangs, NULL, &end);
        pass(&st, LIMIT_MS);
        ask(&st, "k", &o, NULL, &second);
        st.slow->hold_puts = 1;
        bring(&st, &hangs, "late");
        bring(&st, &o, "newer");
        if (closes) {
            assert_int_equal(strata_close_within(st.cache, 50), STRATA_ETIMEDOUT);
            script_release(st.slow);
            close_stack(&st);
            continue;
        }
        assert_int_equal(strata_set_async(st.cache, strata_str("k"), strata_str("set"), NULL, NULL, on_done, &set, NULL),
                         STRATA_PENDING);
        run(&st);
        assert_int_equal(st.slow->held_count, 1);
        answer_last_first(&st);
        assert_int_equal(set.status, STRATA_OK);
        assert_slow_holds(&st, "set");
        assert_get(&st, "k", STRATA_OK, "set");
        close_stack(&st);
    }
}

/* A younger load that fails puts back what was there when it began; but not over what came late. */
static void test_regress_a_failed_load_undoes_no_late_one(void **state)
{
    (void)state;
    for (int only_slow = 0; only_slow < 2; only_slow++) {
        struct stack st;
        struct origin old = { .st = &st, .value = "old" }, hangs = { .st = &st }, fails = { .st = &st };
        struct ended end, second;
        strata_policy p = limited(1);
        p.ttl_ms = 2000;
        p.stale_if_error_ms = 1000000;
        p.retry_ms = 10;
        open_stack(&st, &(struct stack_options){ .policy = &p, .only_slow = only_slow });
        assert_load(&st, "k", &old, NULL, STRATA_OK, "old");
        pass(&st, 2000);
        ask(&st, "k", &hangs, NULL, &end);
        pass(&st, LIMIT_MS + 10);
        ask(&st, "k", &fails, NULL, &second);
        assert_int_equal(fails.calls, 1);
        bring(&st, &hangs, "late");
        (void)strata_load_fail(fails.kept, STRATA_ELOADER, "down");
        strata_load_unref(fails.kept);
        run(&st);
        assert_int_equal(second.status, STRATA_STALE);
        assert_get(&st, "k", STRATA_OK, "late");
        close_stack(&st);
    }
}

/* It gives back its place in max_loads, and a breaker hears of it. */
static void test_places_and_breakers(void **state)
{
    (void)state;
    struct stack st;
    struct origin hangs = { .st = &st }, o = { .st = &st };
    struct ended end, waits;
    strata_policy p = limited(1);
    p.max_loads = 1;
    p.queue_ms = STRATA_FOREVER;
    open_policy(&st, &p);
    ask(&st, "a", &hangs, NULL, &end);
    ask(&st, "b", &o, NULL, &waits);
    assert_int_equal(o.calls, 0);
    pass(&st, LIMIT_MS);
    assert_int_equal(o.calls, 1);
    bring(&st, &o, "b");
    assert_string_equal(waits.text, "b");
    bring(&st, &hangs, "a");
    p.breaker_failures = 1;
    ask(&st, "c", &hangs, &p, &end);
    pass(&st, LIMIT_MS);
    o.pending = 0;
    assert_load(&st, "d", &o, &p, STRATA_EBREAKER, NULL);
    bring(&st, &hangs, "c"); /* too late to be a success */
    assert_load(&st, "d", &o, &p, STRATA_EBREAKER, NULL);
    close_stack(&st);
}

/* A refresh that hangs is no reason for no other; whatever refresh_timeout_ms says. */
static void test_refreshes(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st, .value = "one" }, hangs = { .st = &st, .pending = 1 };
    strata_policy p = limited(1);
    p.ttl_ms = 10;
    p.stale_while_revalidate_ms = 1000000;
    p.refresh_timeout_ms = STRATA_FOREVER;
    p.retry_ms = 50;
    open_policy(&st, &p);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 10);
    assert_load(&st, "k", &hangs, NULL, STRATA_STALE, "one");
    run(&st);
    pass(&st, LIMIT_MS + 50);
    o.value = "two";
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    run(&st);
    assert_get(&st, "k", STRATA_OK, "two");
    bring(&st, &hangs, "late");
    assert_get(&st, "k", STRATA_OK, "two");
    close_stack(&st);
}

static int keep_the_second(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    struct origin *o = ctx;
    assert_int_equal(count, 3);
    for (size_t i = 0; i < count; i++) {
        if (((const char *)keys[i].data)[0] == 'b')
            o->kept = strata_load_ref(loads[i]);
        else
            assert_int_equal(strata_load_copy(loads[i], "v", 1), STRATA_OK);
    }
    return STRATA_PENDING;
}

static void test_one_key_of_many(void **state)
{
    (void)state;
    struct stack st;
    struct origin o = { .st = &st };
    strata_item items[3] = { { .key = strata_str("a") }, { .key = strata_str("b") }, { .key = strata_str("c") } };
    strata_policy p = limited(1);
    open_policy(&st, &p);
    assert_int_equal(strata_get_or_load_many(st.cache, items, 3, keep_the_second, &o, NULL, &st.err), STRATA_ETIMEDOUT);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(items[i].status, i == 1 ? STRATA_ETIMEDOUT : STRATA_OK);
        strata_value_unref(items[i].value);
    }
    bring(&st, &o, "late");
    assert_get(&st, "b", STRATA_OK, "late");
    close_stack(&st);
}

static void test_close(void **state)
{
    (void)state;
    struct stack st;
    for (int late = 0; late < 2; late++) {
        struct origin hangs = { .st = &st }, running = { .st = &st };
        struct ended end, other;
        strata_policy p = limited(late);
        open_policy(&st, &p);
        ask(&st, "a", &hangs, NULL, &end);
        pass(&st, LIMIT_MS);
        ask(&st, "b", &running, NULL, &other);
        close_stack(&st);
        assert_int_equal(other.status, STRATA_ECLOSED);
        assert_int_equal(strata_load_copy(hangs.kept, "late", 4), STRATA_ECLOSED);
        strata_load_unref(hangs.kept);
        strata_load_unref(running.kept);
    }
}

static void count_event(const strata_event *e, void *ctx)
{
    assert_int_equal(e->kind, STRATA_EVENT_LOAD_DETACHED);
    assert_int_equal(e->key.size, 1);
    ++*(int *)ctx;
}

static void test_event(void **state)
{
    (void)state;
    struct stack st;
    struct origin hangs = { .st = &st };
    struct ended end;
    int events = 0;
    strata_policy p = limited(0);
    open_policy(&st, &p);
    assert_int_equal(strata_on(st.cache, STRATA_EVENT_LOAD_DETACHED, count_event, &events, NULL), STRATA_OK);
    ask(&st, "a", &hangs, NULL, &end);
    pass(&st, 10 * LIMIT_MS);
    assert_int_equal(events, 1);
    assert_string_equal(strata_event_name(STRATA_EVENT_LOAD_DETACHED), "load_detached");
    close_stack(&st);
    strata_load_unref(hangs.kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_key_is_free),
        cmocka_unit_test(test_blocking),
        cmocka_unit_test(test_stale_instead),
        cmocka_unit_test(test_late_results_are_fenced),
        cmocka_unit_test(test_the_younger_one_stays),
        cmocka_unit_test(test_a_load_that_runs_is_newer),
        cmocka_unit_test(test_regress_a_slow_layer_keeps_the_newer_one),
        cmocka_unit_test(test_a_write_behind_both),
        cmocka_unit_test(test_regress_a_failed_load_undoes_no_late_one),
        cmocka_unit_test(test_places_and_breakers),
        cmocka_unit_test(test_refreshes),
        cmocka_unit_test(test_one_key_of_many),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
