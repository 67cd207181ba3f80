/* test_predecessor_traps.c - traps that caches before this one fell into.  Each case says what must hold instead. */
#include "tests/support/fail_alloc.h"
#include "tests/unit/core_fixture.h"

static struct stack st;

static void open_two(void) { open_stack(&st, &(struct stack_options){ .with_slow = 1 }); }

/* An entry in the slow layer alone, as if another process had put it there `age_ms` ago. */
static struct script_entry *plant(const char *key, const char *text, int64_t age_ms, int64_t fresh_ms)
{
    struct script_entry *e = script_find(st.slow, strata_str(key), 1);
    e->size = strlen(text);
    memcpy(e->bytes, text, e->size);
    e->meta = (strata_meta){ .born_ms = ex_now_ms(st.ex) - age_ms, .fresh_ms = fresh_ms };
    return e;
}

static void set_text(const char *key, const char *text, const strata_policy *policy)
{
    assert_int_equal(strata_set(st.cache, strata_str(key), strata_str(text), policy, &st.err), STRATA_OK);
}

/* How long things stay fresh --------------------------------------------------------------------------------------- */

static void a_value_filled_up_keeps_no_more_than_its_remaining_time(void **state)
{
    int64_t ttl_ms = 0;
    (void)state;
    open_two();
    struct script_entry *e = plant("k", "old", 50000, 60000);
    assert_get(&st, "k", STRATA_OK, "old");
    e->used = 0;
    assert_get(&st, "k", STRATA_OK, "old"); /* from memory */
    assert_int_equal(strata_ttl(st.cache, strata_str("k"), &ttl_ms, &st.err), STRATA_OK);
    assert_in_range(ttl_ms, 1, 10000);
    pass(&st, 10000);
    assert_get(&st, "k", STRATA_MISS, NULL); /* memory's own default of an hour does not count */
    close_stack(&st);
}

/* The memory layer looks after itself four times a second, which would take a while over a century: so it sees one minute of
 * it, and a stack without it sees it all. */
static void a_ttl_of_centuries_is_a_ttl(void **state)
{
    const int64_t day_ms = 86400000, century_ms = 36525 * day_ms;
    const strata_policy century = { STRATA_SIZED(strata_policy), .ttl_ms = century_ms };
    const strata_policy forever = { STRATA_SIZED(strata_policy), .ttl_ms = STRATA_FOREVER };
    const strata_policy nearly = { STRATA_SIZED(strata_policy), .ttl_ms = STRATA_FOREVER - 1,
                                   .stale_if_error_ms = STRATA_FOREVER - 1 };
    (void)state;
    for (int only_slow = 0; only_slow < 2; only_slow++) {
        int64_t ttl_ms = 0, gone_by = only_slow ? 20 * 365 * day_ms : 60000;
        open_stack(&st, &(struct stack_options){ .only_slow = only_slow });
        set_text("century", "1", &century);
        set_text("forever", "2", &forever);
        set_text("nearly", "3", &nearly);
        pass(&st, gone_by);
        assert_get(&st, "century", STRATA_OK, "1");
        assert_get(&st, "forever", STRATA_OK, "2");
        assert_get(&st, "nearly", STRATA_OK, "3");
        assert_int_equal(strata_ttl(st.cache, strata_str("century"), &ttl_ms, &st.err), STRATA_OK);
        assert_true(ttl_ms == century_ms - gone_by);
        assert_int_equal(strata_ttl(st.cache, strata_str("forever"), &ttl_ms, &st.err), STRATA_OK);
        assert_true(ttl_ms == STRATA_FOREVER);
        if (only_slow) {
            pass(&st, century_ms - gone_by);
            assert_get(&st, "century", STRATA_MISS, NULL);
            assert_get(&st, "forever", STRATA_OK, "2");
        }
        close_stack(&st);
    }
}

static void a_ttl_of_zero_inherits_and_off_does_not_store(void **state)
{
    const strata_policy brief = { STRATA_SIZED(strata_policy), .ttl_ms = 100 };
    const strata_policy zero = STRATA_POLICY_INIT;
    const strata_policy off = { STRATA_SIZED(strata_policy), .ttl_ms = STRATA_OFF };
    (void)state;
    open_policy(&st, &brief);
    set_text("k", "v", &zero);
    assert_get(&st, "k", STRATA_OK, "v");
    pass(&st, 100);
    assert_get(&st, "k", STRATA_MISS, NULL); /* neither for ever, nor not at all */
    set_text("k", "v", &zero);
    set_text("k", "w", &off);
    assert_get(&st, "k", STRATA_MISS, NULL); /* and what was there is superseded */
    close_stack(&st);
}

static void has_and_ttl_tell_what_get_serves_fresh(void **state)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 1000, .negative_ttl_ms = 1000,
                                   .stale_while_revalidate_ms = 5000, .stale_if_error_ms = 9000 };
    struct origin nothing = { .st = &st };
    int64_t ttl_ms = -1;
    (void)state;
    open_policy(&st, &policy);
    assert_load(&st, "none", &nothing, NULL, STRATA_ABSENT, NULL);
    assert_int_equal(strata_has(st.cache, strata_str("none"), &st.err), 0);
    set_text("k", "v", NULL);
    assert_int_equal(strata_ttl(st.cache, strata_str("k"), &ttl_ms, &st.err), STRATA_OK);
    assert_int_equal(ttl_ms, 1000); /* without the windows */
    pass(&st, 1000);
    assert_int_equal(strata_ttl(st.cache, strata_str("k"), &ttl_ms, &st.err), STRATA_STALE);
    assert_int_equal(ttl_ms, 0);
    assert_int_equal(strata_has(st.cache, strata_str("k"), &st.err), 1); /* it is served, if stale */
    pass(&st, 5000);
    assert_int_equal(strata_has(st.cache, strata_str("k"), &st.err), 0); /* after an error only */
    close_stack(&st);
}

/* Refreshing ------------------------------------------------------------------------------------------------------- */

static void refresh_ahead_calls_the_loader_and_stores_what_it_gives(void **state)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 1000, .refresh_ahead_ms = 200 };
    struct origin o = { .st = &st, .value = "one" };
    int64_t ttl_ms = 0;
    (void)state;
    open_policy(&st, &policy);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    o.value = "two";
    pass(&st, 500);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    run(&st);
    assert_int_equal(o.calls, 1); /* too early */
    pass(&st, 350);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    run(&st);
    assert_int_equal(o.calls, 2);
    assert_get(&st, "k", STRATA_OK, "two");
    assert_int_equal(strata_ttl(st.cache, strata_str("k"), &ttl_ms, &st.err), STRATA_OK);
    assert_int_equal(ttl_ms, 1000);
    assert_int_equal(stats_of(st.cache).refreshes, 1);
    close_stack(&st);
}

static void a_refresh_that_hangs_does_not_block_its_key(void **state)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 100, .stale_while_revalidate_ms = 100000,
                                   .refresh_timeout_ms = 500, .retry_ms = 50 };
    struct origin o = { .st = &st, .value = "one" };
    (void)state;
    open_policy(&st, &policy);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 200);
    o.pending = 1;
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    run(&st);
    assert_int_equal(o.calls, 2);
    strata_load *hung = o.kept;
    pass(&st, 600);
    assert_true(strata_load_canceled(hung));
    o.pending = 0;
    o.value = "two";
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    run(&st);
    assert_int_equal(o.calls, 3);
    assert_get(&st, "k", STRATA_OK, "two");
    strata_load_copy(hung, "ancient", 7); /* it comes back after all */
    strata_load_unref(hung);
    run(&st);
    assert_get(&st, "k", STRATA_OK, "two");
    close_stack(&st);
}

static void a_failed_refresh_is_not_retried_by_each_hit(void **state)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 100, .stale_while_revalidate_ms = 100000,
                                   .retry_ms = 1000 };
    struct origin o = { .st = &st, .value = "one" };
    (void)state;
    open_policy(&st, &policy);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "one");
    pass(&st, 200);
    o.fail = STRATA_EIO;
    for (int i = 0; i < 20; i++) {
        assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
        run(&st);
    }
    assert_int_equal(o.calls, 2);
    pass(&st, 1000);
    assert_load(&st, "k", &o, NULL, STRATA_STALE, "one");
    run(&st);
    assert_int_equal(o.calls, 3);
    close_stack(&st);
}

static void a_loader_that_fails_is_called_once(void **state)
{
    struct origin o = { .st = &st, .fail = STRATA_EIO };
    (void)state;
    open_two();
    assert_load(&st, "k", &o, NULL, STRATA_EIO, NULL);
    run(&st);
    assert_int_equal(o.calls, 1);
    close_stack(&st);
}

/* Invalidation ----------------------------------------------------------------------------------------------------- */

static void start_load(const char *key, struct origin *o, struct ended *end)
{
    memset(end, 0, sizeof *end);
    assert_int_equal(
        strata_get_or_load_async(st.cache, strata_str(key), origin_loader, o, NULL, NULL, on_done, end, &st.err),
        STRATA_PENDING);
}

static void a_get_after_a_delete_joins_no_older_load(void **state)
{
    struct origin old = { .st = &st, .pending = 1 }, new = { .st = &st, .value = "new" };
    struct ended end;
    (void)state;
    open_two();
    start_load("k", &old, &end);
    run(&st);
    assert_non_null(old.kept);
    assert_int_equal(strata_delete(st.cache, strata_str("k"), &st.err), STRATA_OK);
    assert_load(&st, "k", &new, NULL, STRATA_OK, "new");
    assert_int_equal(strata_load_copy(old.kept, "old", 3), STRATA_OK);
    strata_load_unref(old.kept);
    run(&st);
    assert_int_equal(end.count, 1);
    assert_string_equal(end.text, "old"); /* who came before the delete may have it */
    assert_get(&st, "k", STRATA_OK, "new");
    assert_int_equal(stats_of(st.cache).fenced, 1);
    close_stack(&st);
}

/* What was read as outdated may have been replaced since: nothing is removed on that account. */
static void an_expired_entry_seen_by_a_reader_costs_no_newer_value(void **state)
{
    struct ended read, write;
    (void)state;
    open_two();
    plant("k", "expired", 50, 10);
    st.slow->hold = 1;
    memset(&read, 0, sizeof read);
    memset(&write, 0, sizeof write);
    assert_int_equal(strata_get_async(st.cache, strata_str("k"), NULL, on_done, &read, &st.err), STRATA_PENDING);
    run(&st);
    assert_int_equal(
        strata_set_async(st.cache, strata_str("k"), strata_str("newer"), NULL, NULL, on_done, &write, &st.err),
        STRATA_PENDING);
    run(&st);
    script_release(st.slow);
    run(&st);
    assert_int_equal(read.count, 1);
    assert_int_equal(write.count, 1);
    assert_int_equal(st.slow->removes, 0);
    assert_get(&st, "k", STRATA_OK, "newer");
    assert_non_null(script_find(st.slow, strata_str("k"), 0));
    close_stack(&st);
}

static void an_expire_on_its_way_puts_no_older_value_back(void **state)
{
    const strata_policy windows = { STRATA_SIZED(strata_policy), .ttl_ms = 10000, .stale_if_error_ms = 10000 };
    struct ended expire, write;
    (void)state;
    open_stack(&st, &(struct stack_options){ .with_slow = 1, .policy = &windows });
    set_text("k", "older", NULL);
    st.slow->hold = 1;
    memset(&expire, 0, sizeof expire);
    memset(&write, 0, sizeof write);
    assert_int_equal(strata_expire_async(st.cache, strata_str("k"), NULL, on_done, &expire, &st.err), STRATA_PENDING);
    run(&st);
    assert_int_equal(
        strata_set_async(st.cache, strata_str("k"), strata_str("newer"), NULL, NULL, on_done, &write, &st.err),
        STRATA_PENDING);
    run(&st);
    script_release(st.slow);
    run(&st);
    assert_int_equal(expire.count + write.count, 2);
    assert_get(&st, "k", STRATA_OK, "newer");
    assert_memory_equal(script_find(st.slow, strata_str("k"), 0)->bytes, "newer", 5);
    close_stack(&st);
}

static void a_clear_that_a_layer_fails_leaves_nothing_to_serve(void **state)
{
    struct origin o = { .st = &st, .value = "new" };
    (void)state;
    open_two();
    set_text("k", "old", NULL);
    st.slow->fail_clear = 1;
    assert_int_equal(strata_clear(st.cache, &st.err), STRATA_ELAYER);
    assert_non_null(strstr(st.err.message, "script"));
    assert_get(&st, "k", STRATA_MISS, NULL);
    assert_load(&st, "k", &o, NULL, STRATA_OK, "new");
    close_stack(&st);
}

/* A listener on deletes that fails, or a layer that is down, must not bring a deleted value back from the nearest. */
static void a_delete_that_a_layer_fails_says_so(void **state)
{
    (void)state;
    open_two();
    set_text("k", "old", NULL);
    st.slow->fail_removes = 1;
    assert_int_equal(strata_delete(st.cache, strata_str("k"), &st.err), STRATA_ELAYER);
    assert_string_equal(st.err.where, "script");
    close_stack(&st);
}

/* What comes in ---------------------------------------------------------------------------------------------------- */

static void what_a_write_accepts_can_be_read(void **state)
{
    static char bytes[101];
    char key[1025];
    struct origin o = { .st = &st, .value = bytes };
    (void)state;
    memset(bytes, 'x', sizeof bytes);
    memset(key, 'k', sizeof key);
    open_stack(&st, &(struct stack_options){ .with_slow = 1, .max_value_bytes = 100 });
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_bytes(bytes, 101), NULL, &st.err), STRATA_EVALUESIZE);
    assert_get(&st, "k", STRATA_MISS, NULL);
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_bytes(bytes, 100), NULL, &st.err), STRATA_OK);
    strata_value *v = NULL;
    assert_int_equal(strata_get(st.cache, strata_str("k"), &v, &st.err), STRATA_OK);
    assert_int_equal(strata_value_size(v), 100);
    strata_value_unref(v);
    char too_long[102];
    memset(too_long, 'y', 101);
    too_long[101] = 0;
    o.value = too_long;
    assert_load(&st, "loaded", &o, NULL, STRATA_EVALUESIZE, NULL);
    assert_get(&st, "loaded", STRATA_MISS, NULL);
    assert_int_equal(strata_set(st.cache, strata_bytes(key, 1025), strata_str("v"), NULL, &st.err), STRATA_EKEYSIZE);
    assert_int_equal(strata_get(st.cache, strata_bytes(key, 1025), &v, &st.err), STRATA_EKEYSIZE);
    close_stack(&st);
}

struct meddler {
    strata *cache;
    uint64_t id;
    int calls, rc;
};

/* A listener that does what it should not need to: writes, removes what it is told of, and leaves. */
static void meddle(const strata_event *event, void *ctx)
{
    struct meddler *m = ctx;
    strata_value *v = NULL;
    if (++m->calls > 20)
        return;
    strata_delete(m->cache, event->key, NULL);
    strata_set(m->cache, strata_str("by the listener"), strata_str("x"), NULL, NULL);
    strata_get(m->cache, strata_str("k"), &v, NULL);
    strata_value_unref(v);
    m->rc = strata_off(m->cache, m->id);
}

static void a_listener_can_not_break_the_call_that_it_hears_of(void **state)
{
    struct origin o = { .st = &st, .value = "loaded" };
    struct fail_alloc alloc;
    (void)state;
    fail_alloc_init(&alloc, 0);
    open_stack(&st, &(struct stack_options){ .allocator = &alloc.mem });
    static const uint32_t kinds[] = { STRATA_EVENT_MISS, STRATA_EVENT_LOAD_START, STRATA_EVENT_LOAD_SUCCESS,
                                      STRATA_EVENT_SET, STRATA_EVENT_HIT };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct meddler m = { .cache = st.cache };
        assert_int_equal(strata_on(st.cache, kinds[i], meddle, &m, &m.id), STRATA_OK);
        assert_load(&st, "k", &o, NULL, STRATA_OK, "loaded");
        set_text("k", "set", NULL);
        strata_value *v = NULL;
        strata_get(st.cache, strata_str("k"), &v, &st.err);
        strata_value_unref(v);
        assert_true(m.calls >= 1);
        strata_off(st.cache, m.id);
        assert_int_equal(strata_delete(st.cache, strata_str("k"), &st.err), STRATA_OK);
    }
    close_stack(&st);
    assert_int_equal(alloc.live, 0);
}

static void neither_caller_nor_holder_can_change_what_is_cached(void **state)
{
    char bytes[] = "right";
    strata_value *held = NULL, *again = NULL;
    (void)state;
    open_two();
    assert_int_equal(strata_set(st.cache, strata_str("k"), strata_bytes(bytes, 5), NULL, &st.err), STRATA_OK);
    memcpy(bytes, "wrong", 5);
    assert_int_equal(strata_get(st.cache, strata_str("k"), &held, &st.err), STRATA_OK);
    assert_memory_equal(strata_value_data(held), "right", 5);
    set_text("k", "other", NULL);
    assert_get(&st, "k", STRATA_OK, "other");
    assert_memory_equal(strata_value_data(held), "right", 5);
    assert_int_equal(strata_delete(st.cache, strata_str("k"), &st.err), STRATA_OK);
    assert_int_equal(strata_clear(st.cache, &st.err), STRATA_OK);
    for (int i = 0; i < 2000; i++) {
        char key[16], value[1000];
        memset(value, 'z', sizeof value);
        snprintf(key, sizeof key, "fill:%d", i % 200);
        assert_int_equal(strata_set(st.cache, strata_str(key), strata_bytes(value, 100), NULL, &st.err), STRATA_OK);
    }
    again = strata_value_ref(held);
    strata_value_unref(held);
    assert_memory_equal(strata_value_data(again), "right", 5);
    close_stack(&st);
    assert_memory_equal(strata_value_data(again), "right", 5); /* whatever becomes of the cache */
    strata_value_unref(again);
}

static int load_each(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    *(size_t *)ctx += count;
    for (size_t i = 0; i < count; i++)
        strata_load_copy(loads[i], keys[i].data, keys[i].size);
    return STRATA_OK;
}

static void a_bulk_load_takes_the_same_key_twice(void **state)
{
    size_t loaded = 0;
    strata_item items[3] = { { .key = strata_str("a") }, { .key = strata_str("b") }, { .key = strata_str("a") } };
    (void)state;
    open_two();
    assert_int_equal(strata_get_or_load_many(st.cache, items, 3, load_each, &loaded, NULL, &st.err), STRATA_OK);
    assert_int_equal(loaded, 2);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(items[i].status, STRATA_OK);
        assert_memory_equal(strata_value_data(items[i].value), items[i].key.data, 1);
        strata_value_unref(items[i].value);
    }
    close_stack(&st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_filled_up_keeps_no_more_than_its_remaining_time),
        cmocka_unit_test(a_ttl_of_centuries_is_a_ttl),
        cmocka_unit_test(a_ttl_of_zero_inherits_and_off_does_not_store),
        cmocka_unit_test(has_and_ttl_tell_what_get_serves_fresh),
        cmocka_unit_test(refresh_ahead_calls_the_loader_and_stores_what_it_gives),
        cmocka_unit_test(a_refresh_that_hangs_does_not_block_its_key),
        cmocka_unit_test(a_failed_refresh_is_not_retried_by_each_hit),
        cmocka_unit_test(a_loader_that_fails_is_called_once),
        cmocka_unit_test(a_get_after_a_delete_joins_no_older_load),
        cmocka_unit_test(an_expired_entry_seen_by_a_reader_costs_no_newer_value),
        cmocka_unit_test(an_expire_on_its_way_puts_no_older_value_back),
        cmocka_unit_test(a_clear_that_a_layer_fails_leaves_nothing_to_serve),
        cmocka_unit_test(a_delete_that_a_layer_fails_says_so),
        cmocka_unit_test(what_a_write_accepts_can_be_read),
        cmocka_unit_test(a_listener_can_not_break_the_call_that_it_hears_of),
        cmocka_unit_test(neither_caller_nor_holder_can_change_what_is_cached),
        cmocka_unit_test(a_bulk_load_takes_the_same_key_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
