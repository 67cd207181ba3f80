/* test_behind.c - write-behind: who sees what, and when; what ends a set that waits; what becomes of it in the store. */
#include "src/layer/value_impl.h"
#include "tests/unit/behind_fixture.h"

static void memory_has_it_at_once_and_the_store_in_time(void **state)
{
    (void)state;
    struct nodes n;
    behind_open(&n, &(struct behind_options){ 0 });
    assert_int_equal(set_text(n.node[0], "k", "1"), STRATA_PENDING);
    assert_text(n.node[0], "k", "1");
    assert_stored(&n, "k", NULL);
    assert_int_equal(stats_of(n.node[0]).behind_queued, 1);
    assert_true(stats_of(n.node[0]).behind_bytes > 0);
    nodes_pass(&n, DELAY_MS / 2);
    assert_stored(&n, "k", NULL);
    pass_delay(&n);
    assert_stored(&n, "k", "1");
    assert_text(n.node[1], "k", "1");
    assert_int_equal(stats_of(n.node[0]).behind_written, 1);
    assert_int_equal(stats_of(n.node[0]).sets, 1);
    assert_sums(n.node[0]);
    nodes_close(&n);
}

static void the_last_set_of_a_key_is_the_one_that_is_written(void **state)
{
    (void)state;
    struct nodes n;
    behind_open(&n, &(struct behind_options){ 0 });
    for (int i = 0; i < 10; i++) {
        char text[24];
        (void)snprintf(text, sizeof text, "%d", i);
        assert_int_equal(set_text(n.node[0], "k", text), STRATA_PENDING);
        assert_text(n.node[0], "k", text);
        nodes_pass(&n, DELAY_MS / 20);
    }
    nodes_pass(&n, DELAY_MS / 2 + 1); /* the first one's time, not the last one's */
    assert_stored(&n, "k", "9");
    struct lease_store_counts c;
    lease_store_counts(n.store, &c);
    assert_int_equal(c.puts, 1);
    assert_int_equal(stats_of(n.node[0]).behind_merged, 9);
    assert_sums(n.node[0]);
    nodes_close(&n);
}

static void what_comes_after_it_is_what_is_there(void **state)
{
    (void)state;
    struct nodes n;
    strata_policy at_once = { STRATA_SIZED(strata_policy), .write_behind_ms = STRATA_OFF };
    behind_open(&n, &(struct behind_options){ 0 });
    assert_int_equal(set_text(n.node[0], "k", "1"), STRATA_PENDING);
    assert_int_equal(strata_delete(n.node[0], k("k"), NULL), STRATA_OK);
    assert_text(n.node[0], "k", NULL);
    pass_delay(&n);
    assert_stored(&n, "k", NULL);
    assert_text(n.node[0], "k", NULL);

    assert_int_equal(set_text(n.node[0], "k", "2"), STRATA_PENDING);
    assert_int_equal(strata_set(n.node[0], k("k"), k("3"), &at_once, NULL), STRATA_OK);
    assert_stored(&n, "k", "3");
    pass_delay(&n);
    assert_stored(&n, "k", "3");
    assert_text(n.node[0], "k", "3");

    /* And right behind a delete: the store's word of that is nothing newer. */
    assert_int_equal(strata_delete(n.node[0], k("k"), NULL), STRATA_OK);
    assert_int_equal(set_text(n.node[0], "k", "4"), STRATA_PENDING);
    pass_delay(&n);
    assert_stored(&n, "k", "4");
    assert_text(n.node[0], "k", "4");
    assert_int_equal(stats_of(n.node[0]).behind_dropped, 2);
    assert_int_equal(stats_of(n.node[0]).behind_refused, 0);
    assert_sums(n.node[0]);
    nodes_close(&n);
}

static void an_expire_follows_it(void **state)
{
    (void)state;
    struct nodes n;
    strata_policy stale = behind;
    stale.stale_if_error_ms = 60000;
    behind_open(&n, &(struct behind_options){ .policy = &stale });
    assert_int_equal(set_text(n.node[0], "k", "1"), STRATA_PENDING);
    assert_int_equal(strata_expire(n.node[0], k("k"), NULL), STRATA_OK);
    assert_stored(&n, "k", "1");
    strata_inspection i = { .size = sizeof i };
    assert_int_equal(strata_inspect(n.node[1], k("k"), &i, NULL), STRATA_OK);
    assert_int_equal(i.state, STRATA_STATE_ERROR_ONLY);
    nodes_close(&n);
}

static void who_looks_past_memory_sees_it(void **state)
{
    (void)state;
    struct nodes n;
    int64_t ttl = 0;
    strata_entry_version seen;
    behind_open(&n, &(struct behind_options){ .memory_entries = 64 });
    assert_int_equal(set_text(n.node[0], "k", "1"), STRATA_PENDING);
    assert_int_equal(strata_has(n.node[0], k("k"), NULL), 1);
    assert_stored(&n, "k", "1");
    assert_int_equal(set_text(n.node[0], "k", "2"), STRATA_PENDING);
    assert_int_equal(strata_ttl(n.node[0], k("k"), &ttl, NULL), STRATA_OK);
    assert_stored(&n, "k", "2");
    assert_int_equal(set_text(n.node[0], "k", "3"), STRATA_PENDING);
    assert_int_equal(strata_get_version(n.node[0], k("k"), NULL, &seen, NULL), STRATA_OK);
    assert_stored(&n, "k", "3");
    strata_condition c = STRATA_CONDITION_INIT;
    c.only = STRATA_IF_VERSION;
    c.version = seen;
    assert_int_equal(set_text(n.node[0], "k", "4"), STRATA_PENDING);
    assert_int_equal(strata_set_if(n.node[0], k("k"), k("x"), &c, NULL, NULL, NULL), STRATA_ECONFLICT);
    assert_stored(&n, "k", "4");
    nodes_close(&n);
}

/* Memory has evicted it before the store has it: no reader here gets the one before. */
static void a_reader_without_memory_gets_no_older_one(void **state)
{
    (void)state;
    struct nodes n;
    behind_open(&n, &(struct behind_options){ .memory_entries = 64 });
    assert_int_equal(set_text(n.node[1], "k", "old"), STRATA_PENDING);
    pass_delay(&n);
    assert_text(n.node[0], "k", "old");
    assert_int_equal(set_text(n.node[0], "k", "new"), STRATA_PENDING);
    for (int i = 0; i < 1000; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "other%d", i);
        assert_int_equal(set_text(n.node[0], key, "x"), STRATA_PENDING);
    }
    assert_stored(&n, "k", "old");
    assert_text(n.node[0], "k", "new");
    assert_text(n.node[0], "k", "new");
    pass_delay(&n);
    assert_stored(&n, "k", "new");
    assert_text(n.node[0], "k", "new");
    nodes_pass(&n, 20);
    assert_text(n.node[1], "k", "new");
    assert_sums(n.node[0]);
    nodes_close(&n);
}

struct lost {
    int count, status;
};

static void note_lost(const strata_event *event, void *ctx)
{
    struct lost *lost = ctx;
    lost->count++;
    lost->status = event->status;
    assert_int_equal(event->key.size, 1);
    assert_non_null(event->message);
}

static void what_a_peer_does_to_the_key_ends_it(void **state)
{
    (void)state;
    struct nodes n;
    struct lost lost = { 0 };
    strata_policy at_once = { STRATA_SIZED(strata_policy), .write_behind_ms = STRATA_OFF };
    behind_open(&n, &(struct behind_options){ 0 });
    assert_int_equal(strata_on(n.node[0], STRATA_EVENT_BEHIND_LOST, note_lost, &lost, NULL), STRATA_OK);
    assert_int_equal(set_text(n.node[0], "k", "1"), STRATA_PENDING);
    nodes_pass(&n, 10);
    assert_int_equal(strata_delete(n.node[1], k("k"), NULL), STRATA_OK);
    nodes_pass(&n, 20); /* it is told */
    assert_int_equal(stats_of(n.node[0]).behind_dropped, 1);
    assert_int_equal(lost.count, 1);
    assert_int_equal(lost.status, STRATA_ECONFLICT);
    assert_text(n.node[0], "k", NULL);
    pass_delay(&n);
    assert_stored(&n, "k", NULL);

    assert_int_equal(set_text(n.node[0], "k", "2"), STRATA_PENDING);
    nodes_pass(&n, 10);
    assert_int_equal(strata_set(n.node[1], k("k"), k("3"), &at_once, NULL), STRATA_OK);
    nodes_pass(&n, 20);
    assert_text(n.node[0], "k", "3");
    pass_delay(&n);
    assert_stored(&n, "k", "3");
    assert_int_equal(lost.count, 2);
    assert_sums(n.node[0]);
    nodes_close(&n);
}

/* Nobody tells: the store does not take what is older than what it holds, or than a delete. */
static void the_store_refuses_it_past_anything_newer(void **state)
{
    (void)state;
    struct nodes n;
    struct lost lost = { 0 };
    strata_policy at_once = { STRATA_SIZED(strata_policy), .write_behind_ms = STRATA_OFF };
    behind_open(&n, &(struct behind_options){ .no_bus = 1 });
    assert_int_equal(strata_on(n.node[0], STRATA_EVENT_BEHIND_LOST, note_lost, &lost, NULL), STRATA_OK);
    assert_int_equal(set_text(n.node[0], "k", "1"), STRATA_PENDING);
    nodes_pass(&n, 10);
    assert_int_equal(strata_set(n.node[1], k("k"), k("2"), &at_once, NULL), STRATA_OK);
    assert_text(n.node[0], "k", "1");
    pass_delay(&n);
    assert_stored(&n, "k", "2");
    assert_text(n.node[0], "k", "2"); /* what was set went from memory, too */
    assert_int_equal(lost.count, 1);
    assert_int_equal(lost.status, STRATA_ECONFLICT);

    assert_int_equal(set_text(n.node[0], "k", "3"), STRATA_PENDING);
    nodes_pass(&n, 10);
    assert_int_equal(strata_delete(n.node[1], k("k"), NULL), STRATA_OK);
    pass_delay(&n);
    assert_stored(&n, "k", NULL);
    assert_text(n.node[0], "k", NULL);
    assert_int_equal(stats_of(n.node[0]).behind_refused, 2);

    /* What was written before it was set is no reason, though this node has not heard of it. */
    assert_int_equal(strata_set(n.node[1], k("k"), k("4"), &at_once, NULL), STRATA_OK);
    nodes_pass(&n, 50);
    assert_int_equal(set_text(n.node[0], "k", "5"), STRATA_PENDING);
    pass_delay(&n);
    assert_stored(&n, "k", "5");
    assert_int_equal(stats_of(n.node[0]).behind_refused, 2);
    assert_sums(n.node[0]);
    nodes_close(&n);
}

static void clears_and_bans_end_it(void **state)
{
    (void)state;
    struct nodes n;
    strata_slice tag = strata_str("t");
    behind_open(&n, &(struct behind_options){ 0 });
    assert_int_equal(set_text(n.node[0], "k", "1"), STRATA_PENDING);
    assert_true(strata_clear(n.node[0], NULL) >= 0);
    assert_text(n.node[0], "k", NULL);
    pass_delay(&n);
    assert_stored(&n, "k", NULL);
    assert_int_equal(strata_set_tagged(n.node[0], k("k"), k("2"), &tag, 1, NULL, NULL), STRATA_PENDING);
    assert_true(strata_ban_tag(n.node[1], "t", 0, NULL) >= 0);
    nodes_pass(&n, 20);
    assert_text(n.node[0], "k", NULL);
    pass_delay(&n);
    assert_stored(&n, "k", NULL);
    assert_int_equal(stats_of(n.node[0]).behind_dropped, 2);
    /* One that comes after is not concerned. */
    assert_int_equal(strata_set_tagged(n.node[0], k("k"), k("3"), &tag, 1, NULL, NULL), STRATA_PENDING);
    pass_delay(&n);
    assert_stored(&n, "k", "3");
    assert_sums(n.node[0]);
    nodes_close(&n);
}

/* A ban of what was set takes the entry before it along, which has none of its tags: that one was replaced. */
static void what_a_banned_set_has_replaced_stays_gone(void **state)
{
    (void)state;
    struct nodes n;
    strata_slice tag = strata_str("t");
    strata_policy at_once = { STRATA_SIZED(strata_policy), .write_behind_ms = STRATA_OFF };
    for (int later = 0; later < 2; later++) {
        behind_open(&n, &(struct behind_options){ 0 });
        assert_int_equal(strata_set(n.node[0], k("k"), k("1"), &at_once, NULL), STRATA_OK);
        assert_int_equal(strata_set_tagged(n.node[0], k("k"), k("2"), &tag, 1, NULL, NULL), STRATA_PENDING);
        assert_true(strata_ban_tag(n.node[0], "t", 0, NULL) >= 0);
        if (later)
            pass_delay(&n);
        assert_text(n.node[0], "k", NULL);
        pass_delay(&n);
        assert_text(n.node[0], "k", NULL);
        assert_text(n.node[1], "k", NULL);
        assert_stored(&n, "k", NULL);
        assert_sums(n.node[0]);
        nodes_close(&n);
    }
}

/* But what another node has set there since is not: without a bus only the store can tell. */
static void what_a_banned_set_has_not_seen_stays(void **state)
{
    (void)state;
    struct nodes n;
    strata_slice tag = strata_str("t");
    strata_policy at_once = { STRATA_SIZED(strata_policy), .write_behind_ms = STRATA_OFF };
    behind_open(&n, &(struct behind_options){ .no_bus = 1 });
    assert_int_equal(strata_set_tagged(n.node[0], k("k"), k("1"), &tag, 1, NULL, NULL), STRATA_PENDING);
    nodes_pass(&n, DELAY_MS / 2);
    assert_int_equal(strata_set(n.node[1], k("k"), k("2"), &at_once, NULL), STRATA_OK);
    assert_true(strata_ban_tag(n.node[0], "t", 0, NULL) >= 0);
    pass_delay(&n);
    assert_stored(&n, "k", "2");
    assert_text(n.node[0], "k", "2");
    assert_int_equal(stats_of(n.node[0]).behind_refused, 1);
    assert_sums(n.node[0]);
    nodes_close(&n);
}

/* It expires before it is due: what was there before it does not come back. */
static void what_an_expired_set_has_replaced_stays_gone(void **state)
{
    (void)state;
    struct nodes n;
    strata_policy at_once = { STRATA_SIZED(strata_policy), .write_behind_ms = STRATA_OFF };
    strata_policy brief = { STRATA_SIZED(strata_policy), .ttl_ms = DELAY_MS / 4 };
    for (int later = 0; later < 2; later++) {
        behind_open(&n, &(struct behind_options){ 0 });
        assert_int_equal(strata_set(n.node[0], k("k"), k("1"), &at_once, NULL), STRATA_OK);
        assert_int_equal(strata_set(n.node[0], k("k"), k("2"), &brief, NULL), STRATA_PENDING);
        nodes_pass(&n, DELAY_MS / 2);
        if (later)
            pass_delay(&n);
        assert_text(n.node[0], "k", NULL);
        pass_delay(&n);
        assert_text(n.node[0], "k", NULL);
        assert_text(n.node[1], "k", NULL);
        assert_sums(n.node[0]);
        nodes_close(&n);
    }
}

static int encode_digit(const void *object, void *out, size_t room, size_t *out_size, void *ctx)
{
    (void)ctx;
    *out_size = 1;
    if (room > 0)
        memcpy(out, object, 1);
    return room > 0 ? STRATA_OK : STRATA_AGAIN;
}

static int decode_none(const void *data, size_t size, void **out_object, void *ctx)
{
    (void)data, (void)size, (void)out_object, (void)ctx;
    return STRATA_ECODEC;
}

static int freed;

/* It may call the cache. */
static void free_digit(void *object, void *ctx)
{
    (void)object, (void)ctx;
    freed++;
    assert_null(strata__value_hold); /* it stands while a key lock is held */
}

static size_t cost_digit(const void *object, void *ctx)
{
    (void)object, (void)ctx;
    return 1;
}

static void an_object_that_was_ended_is_freed_under_no_lock(void **state)
{
    (void)state;
    struct nodes n;
    static const strata_codec codec = { .size = sizeof codec,
                                        .id = 3,
                                        .name = "digit",
                                        .encode = encode_digit,
                                        .decode = decode_none,
                                        .free = free_digit,
                                        .cost = cost_digit };
    strata_policy slow = behind;
    slow.write_behind_ms = 60000;
    behind_open(&n, &(struct behind_options){ .memory_entries = 4, .codec = &codec, .policy = &slow });
    freed = 0;
    char one = '1';
    assert_int_equal(strata_set_object(n.node[0], k("k"), &one, NULL, NULL), STRATA_PENDING);
    for (int i = 0; i < 50; i++) { /* memory has it no more */
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(set_text(n.node[0], key, "x"), STRATA_PENDING);
    }
    nodes_pass(&n, 10000); /* nor what it has evicted */
    assert_int_equal(freed, 0);
    assert_int_equal(strata_delete(n.node[0], k("k"), NULL), STRATA_OK);
    assert_int_equal(freed, 1);
    nodes_close(&n);
}

static void a_full_queue_is_passed_by(void **state)
{
    (void)state;
    struct nodes n;
    behind_open(&n, &(struct behind_options){ .max_entries = 8 });
    int pending = 0;
    for (int i = 0; i < 20; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i);
        int rc = set_text(n.node[0], key, "x");
        assert_true(rc == STRATA_PENDING || rc == STRATA_OK);
        pending += rc == STRATA_PENDING;
        if (rc == STRATA_OK)
            assert_stored(&n, key, "x");
    }
    assert_int_equal(stats_of(n.node[0]).behind_passed, 20 - pending);
    nodes_run(&n); /* half full is enough: nobody waits for the time */
    for (int i = 0; i < 20; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i);
        assert_stored(&n, key, "x");
    }
    assert_sums(n.node[0]);
    nodes_close(&n);
    behind_open(&n, &(struct behind_options){ .max_bytes = 8192 });
    char big[16384];
    memset(big, 'b', sizeof big);
    assert_int_equal(strata_set(n.node[0], k("k"), strata_bytes(big, sizeof big), NULL, NULL), STRATA_OK);
    assert_int_equal(set_text(n.node[0], "k", "small"), STRATA_PENDING);
    assert_int_equal(strata_set(n.node[0], k("k"), strata_bytes(big, 9000), NULL, NULL), STRATA_OK);
    pass_delay(&n);
    strata_value *v;
    assert_int_equal(strata_get(n.node[1], k("k"), &v, NULL), STRATA_OK);
    assert_int_equal(strata_value_size(v), 9000);
    strata_value_unref(v);
    assert_sums(n.node[0]);
    nodes_close(&n);
}

static void closing_writes_what_waits(void **state)
{
    (void)state;
    struct nodes n;
    behind_open(&n, &(struct behind_options){ 0 });
    for (int i = 0; i < 2000; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i);
        assert_int_equal(set_text(n.node[0], key, "x"), STRATA_PENDING);
    }
    strata *first = n.node[0];
    assert_int_equal(strata_close(first), STRATA_OK);
    for (int i = 0; i < 2000; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i);
        assert_text(n.node[1], key, "x");
    }
    assert_int_equal(strata_close(n.node[1]), STRATA_OK);
    nodes_end(&n);
}

static void a_store_that_fails_it_is_counted_and_told(void **state)
{
    (void)state;
    struct nodes n;
    struct lost lost = { 0 };
    behind_open(&n, &(struct behind_options){ 0 });
    assert_int_equal(strata_on(n.node[0], STRATA_EVENT_BEHIND_LOST, note_lost, &lost, NULL), STRATA_OK);
    assert_int_equal(set_text(n.node[0], "k", "1"), STRATA_PENDING);
    pass_delay(&n);
    assert_int_equal(set_text(n.node[0], "k", "2"), STRATA_PENDING);
    lease_store_fail(n.store, STRATA_OP_PUT, STRATA_EIO);
    pass_delay(&n);
    assert_int_equal(stats_of(n.node[0]).behind_failed, 1);
    assert_int_equal(lost.count, 1);
    assert_int_equal(lost.status, STRATA_ELAYER);
    assert_stored(&n, "k", NULL); /* nothing older is served from there */
    assert_text(n.node[0], "k", "2");
    lease_store_fail(n.store, STRATA_OP_PUT, STRATA_OK);
    assert_int_equal(set_text(n.node[0], "k", "3"), STRATA_PENDING);
    pass_delay(&n);
    assert_stored(&n, "k", "3");
    assert_sums(n.node[0]);
    nodes_close(&n);
}

static void where_it_cannot_be_it_is_refused(void **state)
{
    (void)state;
    struct nodes n;
    struct behind_options o = { .nodes = { .write_policy = STRATA_WRITE_STRICT } };
    nodes_begin(&n, &o.nodes);
    assert_int_equal(behind_join(&n, &o, &n.node[0]), STRATA_EINVAL);
    assert_non_null(strstr(n.err.message, "strict"));
    strata_policy plain = { STRATA_SIZED(strata_policy), .ttl_ms = 1000 };
    o.policy = &plain;
    assert_int_equal(behind_join(&n, &o, &n.node[0]), STRATA_OK);
    assert_int_equal(strata_set(n.node[0], k("k"), k("1"), &behind, &n.err), STRATA_EINVAL);
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    strata *space;
    options.policy = &behind;
    assert_int_equal(strata_namespace(n.node[0], "s", &options, &space, &n.err), STRATA_EINVAL);
    assert_int_equal(strata_close(n.node[0]), STRATA_OK);

    strata_layer *layers[1] = { lease_store_layer(n.store) };
    strata_options cache = STRATA_OPTIONS_INIT;
    cache.layers = layers;
    cache.layer_count = 1;
    cache.policy = &behind;
    assert_int_equal(strata__open_with(&n.node[0], &cache, share_executor(n.sim), &n.err), STRATA_EINVAL);
    assert_non_null(strstr(n.err.message, "memory"));
    nodes_end(&n);
}

static void many_at_once_and_later(void **state)
{
    (void)state;
    struct nodes n;
    strata_item items[4] = { { .key = strata_str("a"), .set = strata_str("1") },
                             { .key = strata_str("b"), .set = strata_str("2") },
                             { .key = strata_str("a"), .set = strata_str("3") },
                             { .key = strata_str(""), .set = strata_str("4") } };
    behind_open(&n, &(struct behind_options){ 0 });
    assert_int_equal(strata_set_many(n.node[0], items, 4, NULL, NULL), STRATA_EKEYSIZE);
    for (int i = 0; i < 3; i++)
        assert_int_equal(items[i].status, STRATA_PENDING);
    assert_text(n.node[0], "a", "3");
    assert_stored(&n, "a", NULL);
    pass_delay(&n);
    assert_stored(&n, "a", "3");
    assert_stored(&n, "b", "2");
    assert_sums(n.node[0]);
    nodes_close(&n);
}

static void asynchronous_sets_too(void **state)
{
    (void)state;
    struct nodes n;
    struct done d = { 0 };
    behind_open(&n, &(struct behind_options){ 0 });
    assert_int_equal(strata_set_async(n.node[0], k("k"), k("1"), NULL, NULL, note_done, &d, NULL), STRATA_PENDING);
    assert_text(n.node[0], "k", "1");
    assert_stored(&n, "k", NULL);
    nodes_run(&n);
    assert_int_equal(d.count, 1);
    assert_int_equal(d.status, STRATA_PENDING);
    /* In the order of the calls, whichever they are. */
    assert_int_equal(strata_delete_async(n.node[0], k("k"), NULL, note_done, &d, NULL), STRATA_PENDING);
    assert_int_equal(strata_set_async(n.node[0], k("k"), k("2"), NULL, NULL, note_done, &d, NULL), STRATA_PENDING);
    nodes_run(&n);
    assert_int_equal(d.count, 3);
    pass_delay(&n);
    assert_text(n.node[0], "k", "2");
    assert_stored(&n, "k", "2");
    assert_sums(n.node[0]);
    nodes_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_has_it_at_once_and_the_store_in_time),
        cmocka_unit_test(the_last_set_of_a_key_is_the_one_that_is_written),
        cmocka_unit_test(what_comes_after_it_is_what_is_there),
        cmocka_unit_test(an_expire_follows_it),
        cmocka_unit_test(who_looks_past_memory_sees_it),
        cmocka_unit_test(a_reader_without_memory_gets_no_older_one),
        cmocka_unit_test(what_a_peer_does_to_the_key_ends_it),
        cmocka_unit_test(the_store_refuses_it_past_anything_newer),
        cmocka_unit_test(clears_and_bans_end_it),
        cmocka_unit_test(what_a_banned_set_has_replaced_stays_gone),
        cmocka_unit_test(what_a_banned_set_has_not_seen_stays),
        cmocka_unit_test(an_object_that_was_ended_is_freed_under_no_lock),
        cmocka_unit_test(what_an_expired_set_has_replaced_stays_gone),
        cmocka_unit_test(a_full_queue_is_passed_by),
        cmocka_unit_test(closing_writes_what_waits),
        cmocka_unit_test(a_store_that_fails_it_is_counted_and_told),
        cmocka_unit_test(where_it_cannot_be_it_is_refused),
        cmocka_unit_test(many_at_once_and_later),
        cmocka_unit_test(asynchronous_sets_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
