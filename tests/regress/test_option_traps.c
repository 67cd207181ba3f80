/* test_option_traps.c - what other caches have got wrong with what a call may ask for: lives that slide (W19), breakers (W24), places to wait
 * for (W25). */
#include "tests/unit/core_fixture.h"

static struct stack st;

/* A memory layer, and below it, if wanted, a slower one of this node's own. */
static void open_with(const strata_policy *p, int with_slow)
{
    strata_options options = STRATA_OPTIONS_INIT;
    memset(&st, 0, sizeof st);
    st.slow = with_slow ? script_new() : NULL;
    if (with_slow)
        st.slow->base.flags = STRATA_LAYER_LOCAL;
    strata_layer *layers[] = { strata_memory_layer(NULL), with_slow ? &st.slow->base : NULL };
    options.layers = layers;
    options.layer_count = with_slow ? 2 : 1;
    options.policy = p;
    assert_int_equal(strata__executor_sim_new(&st.ex, NULL, 1, &st.err), STRATA_OK);
    assert_int_equal(strata__open_with(&st.cache, &options, st.ex, &st.err), STRATA_OK);
}

static void ask(const char *key, struct origin *o, struct ended *end)
{
    *end = (struct ended){ 0 };
    o->pending = 1;
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str(key), origin_loader, o, NULL, NULL, on_done, end, NULL),
        STRATA_PENDING);
    run(&st);
}

static void bring(struct origin *o, const char *text)
{
    if (text != NULL)
        (void)strata_load_copy(o->kept, text, strlen(text));
    else
        (void)strata_load_fail(o->kept, STRATA_ELOADER, "down");
    strata_load_unref(o->kept);
    o->kept = NULL;
    run(&st);
}

/* W19 -------------------------------------------------------------------------------------------------------------- */

static strata_policy sliding(void)
{
    strata_policy p = STRATA_POLICY_INIT;
    p.ttl_ms = 1000;
    p.sliding = STRATA_ON;
    return p;
}

static void set_text(const char *text)
{
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_str(text), NULL, &st.err), STRATA_OK);
}

/* The hit, and what it writes, on either side of a delete or a set, with each of the layer's operations in between. */
static void a_hit_that_slides_undoes_no_write(void **state)
{
    (void)state;
    const strata_policy p = sliding();
    for (int deletes = 0; deletes < 2; deletes++) {
        for (int after_ms = 0; after_ms < 12; after_ms++) {
            open_with(&p, 1);
            set_text("old");
            run(&st);
            pass(&st, 500);
            st.slow->delay_ms = 5;
            assert_get(&st, "k", STRATA_OK, "old"); /* memory has it, and the layer below is told behind it */
            pass(&st, after_ms);
            if (deletes)
                assert_int_equal(strata_delete(st.cache, strata_str("k"), &st.err), STRATA_OK);
            else
                set_text("new");
            pass(&st, 100);
            assert_get(&st, "k", deletes ? STRATA_MISS : STRATA_OK, deletes ? NULL : "new");
            for (int i = 0; i < SCRIPT_ROOM; i++)
                assert_true(!st.slow->entries[i].used || (!deletes && memcmp(st.slow->entries[i].bytes, "new", 3) == 0));
            close_stack(&st);
        }
    }
}

/* The layer below does not run out under an entry that is read in memory all the time. */
static void a_hit_that_slides_extends_every_layer(void **state)
{
    (void)state;
    const strata_policy p = sliding();
    open_with(&p, 1);
    set_text("v");
    for (int i = 0; i < 10; i++) {
        pass(&st, 600);
        assert_get(&st, "k", STRATA_OK, "v");
        run(&st);
    }
    int found = 0;
    for (int i = 0; i < SCRIPT_ROOM; i++) {
        const struct script_entry *e = &st.slow->entries[i];
        if (!e->used)
            continue;
        struct deadlines d;
        strata__deadlines(&e->meta, e->meta.born_ms, &d);
        assert_true(d.fresh_until > ex_now_ms(st.ex));
        found++;
    }
    assert_int_equal(found, 1);
    close_stack(&st);
}

/* W24 -------------------------------------------------------------------------------------------------------------- */

static strata_policy with_breaker(void)
{
    strata_policy p = STRATA_POLICY_INIT;
    p.breaker_failures = 2;
    p.breaker_open_ms = 1000;
    p.retry_ms = STRATA_OFF;
    return p;
}

/* When its time is over one load goes, not the whole herd; and it decides. */
static void an_open_breaker_lets_one_go_first(void **state)
{
    (void)state;
    const strata_policy p = with_breaker();
    struct origin down = { .st = &st, .fail = STRATA_ELOADER }, probe = { .st = &st },
                  herd = { .st = &st, .value = "v" };
    struct ended end, waiting[5];
    open_with(&p, 0);
    for (int i = 0; i < 2; i++)
        assert_load(&st, "a", &down, NULL, STRATA_ELOADER, NULL);
    assert_load(&st, "b", &down, NULL, STRATA_EBREAKER, NULL);
    assert_int_equal(down.calls, 2);
    pass(&st, 1000);
    ask("probe", &probe, &end);
    assert_int_equal(probe.calls, 1);
    for (int i = 0; i < 5; i++) {
        waiting[i] = (struct ended){ 0 };
        assert_int_equal(strata_get_or_load_async(st.cache, strata_bytes(&"12345"[i], 1), origin_loader, &herd, NULL,
                                                  NULL, on_done, &waiting[i], NULL),
                         STRATA_PENDING);
        run(&st);
    }
    assert_int_equal(herd.calls, 0);
    bring(&probe, "v");
    pass(&st, 10);
    assert_int_equal(end.status, STRATA_OK);
    for (int i = 0; i < 5; i++)
        assert_true(waiting[i].count == 1 && (waiting[i].status == STRATA_OK || waiting[i].status == STRATA_EBREAKER));
    assert_load(&st, "b", &herd, NULL, STRATA_OK, "v");
    close_stack(&st);
}

/* What was asked before it opened says nothing of now; nor does a delete, a ban or a clear. */
static void neither_a_late_success_nor_a_delete_closes_a_breaker(void **state)
{
    (void)state;
    const strata_policy p = with_breaker();
    struct origin late = { .st = &st }, down = { .st = &st, .fail = STRATA_ELOADER };
    struct ended end;
    open_with(&p, 0);
    ask("late", &late, &end);
    for (int i = 0; i < 2; i++)
        assert_load(&st, "a", &down, NULL, STRATA_ELOADER, NULL);
    assert_load(&st, "a", &down, NULL, STRATA_EBREAKER, NULL);
    bring(&late, "v");
    assert_int_equal(end.status, STRATA_OK);
    assert_load(&st, "a", &down, NULL, STRATA_EBREAKER, NULL);
    assert_int_equal(strata_delete(st.cache, strata_str("a"), &st.err), STRATA_OK);
    assert_int_equal(strata_ban_prefix(st.cache, strata_str("a"), STRATA_BAN_HARD, &st.err), STRATA_OK);
    assert_int_equal(strata_clear(st.cache, &st.err), STRATA_OK);
    assert_load(&st, "a", &down, NULL, STRATA_EBREAKER, NULL);
    assert_int_equal(down.calls, 2);
    assert_int_equal(stats_of(st.cache).breaker_opened, 1); /* refusals are no trips */
    close_stack(&st);
}

/* W25 -------------------------------------------------------------------------------------------------------------- */

/* The end of a load wakes the next one: no clock has to move for that. */
static void who_waits_for_a_place_is_woken(void **state)
{
    (void)state;
    strata_policy p = STRATA_POLICY_INIT;
    p.max_loads = 1;
    p.queue_ms = STRATA_FOREVER;
    struct origin first = { .st = &st }, others = { .st = &st };
    struct ended end, waiting[3];
    open_with(&p, 0);
    ask("first", &first, &end);
    for (int i = 0; i < 3; i++)
        ask(&"abc"[i], &others, &waiting[i]);
    pass(&st, 3600000);
    assert_int_equal(others.calls, 0);
    const int64_t now = ex_now_ms(st.ex);
    bring(&first, "v");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(others.calls, i + 1);
        bring(&others, "v");
        assert_int_equal(waiting[i].status, STRATA_OK);
    }
    assert_int_equal(ex_now_ms(st.ex), now);
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_that_slides_undoes_no_write),
        cmocka_unit_test(a_hit_that_slides_extends_every_layer),
        cmocka_unit_test(an_open_breaker_lets_one_go_first),
        cmocka_unit_test(neither_a_late_success_nor_a_delete_closes_a_breaker),
        cmocka_unit_test(who_waits_for_a_place_is_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
