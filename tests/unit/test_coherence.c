/* test_coherence.c - what one node invalidates, the others do not serve; and who may have missed something knows. */
#include "tests/support/fail_alloc.h"
#include "tests/unit/coherence_fixture.h"

/* A delete reaches the memory of another node --------------------------------------------------------------------- */

static void delete_reaches(uint32_t flags, int no_store)
{
    struct nodes n;
    char text[64];
    nodes_open(&n, &(struct nodes_options){ .net.flags = flags, .no_store = no_store });
    for (int i = 0; i < 2; i++)
        assert_int_equal(strata_set(n.node[i], k("a"), k("1"), NULL, NULL), STRATA_OK);
    nodes_pass(&n, 5);
    assert_int_equal(strata_set(n.node[1], k("b"), k("2"), NULL, NULL), STRATA_OK);
    assert_int_equal(get_text(n.node[1], "b", text), STRATA_OK);
    assert_int_equal(strata_delete(n.node[0], k("b"), NULL), STRATA_OK);
    nodes_run(&n);
    assert_int_equal(get_text(n.node[1], "b", text), STRATA_MISS);
    assert_int_equal(health_of(n.node[1]).applied, 2); /* a set of "a", and this */
    nodes_close(&n);
}

static void test_a_delete_reaches_other_nodes(void **state)
{
    (void)state;
    delete_reaches(0, 0);
    delete_reaches(ORDERED, 0);
    delete_reaches(0, 1);
    delete_reaches(ORDERED, 1);
}

/* Trust ----------------------------------------------------------------------------------------------------------- */

static void lose_contact(struct nodes *n, int node) { sim_net_away(n->net, node, 0); /* and it is not told */ }

static void silence_ends_trust(uint32_t flags)
{
    struct nodes n;
    char text[64];
    nodes_open(&n, &(struct nodes_options){ .net.flags = flags });
    nodes_pass(&n, 3000);
    assert_true(health_of(n.node[1]).trusted);
    assert_int_equal(strata_set(n.node[1], k("a"), k("old"), NULL, NULL), STRATA_OK);
    nodes_pass(&n, 10);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_OK);
    lose_contact(&n, 1);
    assert_true(strata_set(n.node[0], k("a"), k("new"), NULL, NULL) >= 0);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_OK); /* it cannot know yet */
    assert_string_equal(text, "old");
    nodes_pass(&n, TRUST_MS + 10);
    assert_false(health_of(n.node[1]).trusted);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_STALE); /* now it does, serves it so, and asks the store */
    assert_string_equal(text, "old");
    nodes_run(&n);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_OK);
    assert_string_equal(text, "new");
    sim_net_back(n.net, 1);
    nodes_pass(&n, 3 * TRUST_MS);
    assert_true(health_of(n.node[1]).trusted);
    nodes_close(&n);
}

static void test_silence_ends_trust(void **state)
{
    (void)state;
    silence_ends_trust(0);
    silence_ends_trust(ORDERED);
}

/* A process that is stopped does not run timers; its clock has gone on all the same. */
static void test_a_stopped_process_trusts_nothing(void **state)
{
    (void)state;
    struct nodes n;
    char text[64];
    strata_coherence_options never = STRATA_COHERENCE_OPTIONS_INIT;
    never.heartbeat_ms = 3000000; /* nothing is due while it is away */
    never.trust_ms = 3600000;
    never.suspect_ms = STRATA_OFF;
    nodes_open(&n, &(struct nodes_options){ .count = 1, .no_store = 1, .net.flags = ORDERED, .coherence = never });
    assert_int_equal(strata_set(n.node[0], k("a"), k("1"), NULL, NULL), STRATA_OK);
    assert_int_equal(get_text(n.node[0], "a", text), STRATA_OK);
    lose_contact(&n, 0);
    nodes_pass(&n, 3600000 + 100);
    assert_int_equal(get_text(n.node[0], "a", text), STRATA_MISS);
    nodes_close(&n);
}

/* Without a store: what was suspect by silence alone is trusted again, once all that came meanwhile was carried out. */
static void test_replay_lifts_suspicion(void **state)
{
    (void)state;
    struct nodes n;
    char text[64];
    nodes_open(&n, &(struct nodes_options){ .no_store = 1, .net.flags = ORDERED });
    assert_int_equal(strata_set(n.node[1], k("a"), k("1"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_set(n.node[1], k("b"), k("2"), NULL, NULL), STRATA_OK);
    sim_net_away(n.net, 1, 1);
    nodes_pass(&n, 100);
    assert_int_equal(strata_delete(n.node[0], k("b"), NULL), STRATA_OK);
    nodes_pass(&n, 4 * TRUST_MS);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_STALE);
    assert_int_equal(get_text(n.node[1], "b", text), STRATA_STALE);
    sim_net_back(n.net, 1);
    nodes_pass(&n, 10);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_OK);
    assert_int_equal(get_text(n.node[1], "b", text), STRATA_MISS);
    assert_true(health_of(n.node[1]).trusted);
    nodes_close(&n);
}

/* ... and after a loss it is not. */
static void test_a_loss_is_for_good(void **state)
{
    (void)state;
    struct nodes n;
    char text[64];
    nodes_open(&n, &(struct nodes_options){ .no_store = 1, .net = { .flags = ORDERED, .log_most = 1 } });
    nodes_pass(&n, 2 * TRUST_MS);
    assert_int_equal(strata_set(n.node[1], k("a"), k("1"), NULL, NULL), STRATA_OK);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_OK);
    sim_net_away(n.net, 1, 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(strata_delete(n.node[0], k("x"), NULL), STRATA_OK);
    sim_net_back(n.net, 1);
    nodes_pass(&n, 2000);
    assert_true(health_of(n.node[1]).trusted);
    assert_true(health_of(n.node[1]).lost >= 2); /* the first is that it began to listen */
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_STALE);
    assert_int_equal(strata_set(n.node[1], k("b"), k("2"), NULL, NULL), STRATA_OK);
    assert_int_equal(get_text(n.node[1], "b", text), STRATA_OK); /* it came after */
    nodes_pass(&n, SUSPECT_MS);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_MISS);
    assert_int_equal(get_text(n.node[1], "b", text), STRATA_OK);
    nodes_close(&n);
}

static void test_a_gap_is_noticed(void **state)
{
    (void)state;
    struct nodes n;
    char text[64];
    nodes_open(&n, &(struct nodes_options){ .no_store = 1 });
    nodes_pass(&n, 2 * TRUST_MS);
    assert_true(health_of(n.node[1]).trusted);
    uint64_t lost = health_of(n.node[1]).lost;
    assert_int_equal(strata_set(n.node[1], k("a"), k("1"), NULL, NULL), STRATA_OK);
    nodes_run(&n);
    sim_net_drop(n.net, 1, 1);
    assert_int_equal(strata_delete(n.node[0], k("a"), NULL), STRATA_OK);
    nodes_run(&n);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_OK);
    assert_int_equal(strata_delete(n.node[0], k("b"), NULL), STRATA_OK);
    nodes_run(&n);
    assert_int_equal(health_of(n.node[1]).lost, lost + 1);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_STALE);
    nodes_pass(&n, 3000);
    assert_true(health_of(n.node[1]).trusted);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_STALE);
    nodes_close(&n);
}

static void test_strict_serves_nothing_suspect(void **state)
{
    (void)state;
    struct nodes n;
    char text[64];
    strata_coherence_options strict = STRATA_COHERENCE_OPTIONS_INIT;
    strict.suspect_ms = STRATA_OFF;
    nodes_open(&n, &(struct nodes_options){ .no_store = 1, .coherence = strict });
    nodes_pass(&n, 2000);
    assert_int_equal(strata_set(n.node[1], k("a"), k("1"), NULL, NULL), STRATA_OK);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_OK);
    lose_contact(&n, 1);
    nodes_pass(&n, TRUST_MS + 10);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_MISS);
    assert_int_equal(health_of(n.node[1]).bound_ms, TRUST_MS);
    nodes_close(&n);
}

/* A plain get has no loader: the store refutes what is suspect. */
static void test_the_store_refutes(void **state)
{
    (void)state;
    struct nodes n;
    char text[64];
    nodes_open(&n, &(struct nodes_options){ .net.flags = ORDERED });
    nodes_pass(&n, 1500);
    assert_int_equal(strata_set(n.node[1], k("a"), k("1"), NULL, NULL), STRATA_OK);
    lose_contact(&n, 1);
    assert_int_equal(strata_delete(n.node[0], k("a"), NULL), STRATA_OK);
    nodes_pass(&n, TRUST_MS + 10);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_STALE);
    nodes_run(&n);
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_MISS);
    nodes_close(&n);
}

struct origin_state {
    const char *value;
    int calls;
};

static int load_value(strata_load *load, strata_slice key, void *ctx)
{
    struct origin_state *o = ctx;
    (void)key;
    o->calls++;
    if (o->value == NULL)
        return strata_load_fail(load, STRATA_EIO, "the origin is away");
    return strata_load_copy(load, o->value, strlen(o->value));
}

static int load_text(strata *cache, const char *key, struct origin_state *o, char text[64])
{
    strata_value *v;
    int rc = strata_get_or_load(cache, k(key), load_value, o, NULL, &v, NULL);
    text[0] = 0;
    if (v != NULL)
        snprintf(text, 64, "%.*s", (int)strata_value_size(v), (const char *)strata_value_data(v));
    strata_value_unref(v);
    return rc;
}

/* While no bus can be heard, what is loaded is trusted for a while: each key is loaded once in trust_ms, not with every hit. */
static void test_one_refresh_a_key(void **state)
{
    (void)state;
    struct nodes n;
    char text[64];
    struct origin_state o = { .value = "v" };
    nodes_open(&n, &(struct nodes_options){ .no_store = 1 });
    nodes_pass(&n, 2000);
    assert_int_equal(load_text(n.node[1], "a", &o, text), STRATA_OK);
    lose_contact(&n, 1);
    nodes_pass(&n, TRUST_MS + 1000);
    for (int i = 0; i < 10; i++)
        assert_int_equal(load_text(n.node[1], "a", &o, text), STRATA_STALE);
    nodes_run(&n);
    assert_int_equal(o.calls, 2);
    for (int i = 0; i < 20; i++) {
        assert_true(load_text(n.node[1], "a", &o, text) >= 0);
        nodes_pass(&n, 100);
    }
    assert_true(o.calls <= 3);
    o.value = NULL; /* and where that fails, it is served */
    nodes_pass(&n, SUSPECT_MS + 4 * TRUST_MS);
    assert_int_equal(load_text(n.node[1], "a", &o, text), STRATA_STALE);
    assert_string_equal(text, "v");
    nodes_close(&n);
}

/* Going out -------------------------------------------------------------------------------------------------------- */

static void test_pending_until_the_bus_has_it(void **state)
{
    (void)state;
    struct nodes n;
    char text[64];
    nodes_open(&n, &(struct nodes_options){ .no_store = 1, .net.flags = ORDERED });
    assert_int_equal(strata_set(n.node[1], k("a"), k("1"), NULL, NULL), STRATA_OK);
    nodes_run(&n);
    sim_net_fail(n.net, 0, 2);
    assert_int_equal(strata_delete(n.node[0], k("a"), NULL), STRATA_PENDING);
    nodes_pass(&n, 500); /* it was told again */
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_MISS);
    assert_int_equal(health_of(n.node[0]).queued, 0);
    assert_int_equal(strata_delete(n.node[0], k("a"), NULL), STRATA_OK);
    nodes_close(&n);
}

static void test_strict_write_fails(void **state)
{
    (void)state;
    struct nodes n;
    nodes_open(&n, &(struct nodes_options){ .no_store = 1, .write_policy = STRATA_WRITE_STRICT });
    sim_net_away(n.net, 0, 1);
    assert_int_equal(strata_delete(n.node[0], k("a"), &n.err), STRATA_ELAYER);
    assert_int_equal(strata_set(n.node[0], k("a"), k("1"), NULL, &n.err), STRATA_ELAYER);
    assert_int_equal(strata_clear(n.node[0], &n.err), STRATA_ELAYER);
    nodes_close(&n);
}

static void many(strata *cache, int begin, int end, int rc)
{
    char key[32];
    for (int i = begin; i < end; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(strata_delete(cache, k(key), NULL), rc);
    }
}

static void test_the_last_word_on_a_key_wins(void **state)
{
    (void)state;
    struct nodes n;
    nodes_open(&n, &(struct nodes_options){ .no_store = 1, .net.flags = ORDERED });
    sim_net_away(n.net, 0, 1);
    for (int i = 0; i < 100; i++)
        many(n.node[0], 0, 3, STRATA_PENDING);
    assert_int_equal(health_of(n.node[0]).queued, 3);
    sim_net_back(n.net, 0);
    nodes_pass(&n, 2000);
    assert_int_equal(health_of(n.node[0]).queued, 0);
    assert_int_equal(health_of(n.node[1]).applied, 3);
    nodes_close(&n);
}

static void test_overflow_becomes_a_clear(void **state)
{
    (void)state;
    struct nodes n;
    char text[64];
    strata *users[2];
    strata_coherence_options few = STRATA_COHERENCE_OPTIONS_INIT;
    few.max_queued = 10;
    nodes_open(&n, &(struct nodes_options){ .no_store = 1, .net.flags = ORDERED, .coherence = few });
    for (int i = 0; i < 2; i++)
        assert_int_equal(strata_namespace(n.node[i], "users", NULL, &users[i], NULL), STRATA_OK);
    assert_int_equal(strata_set(n.node[1], k("a"), k("1"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_set(users[1], k("key-5"), k("1"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_set(users[1], k("other"), k("1"), NULL, NULL), STRATA_OK);
    nodes_pass(&n, 100);
    sim_net_away(n.net, 0, 1);
    many(users[0], 0, 50, STRATA_PENDING);
    assert_true(health_of(n.node[0]).overflows > 0);
    assert_true(health_of(n.node[0]).queued <= 11);
    sim_net_back(n.net, 0);
    nodes_pass(&n, 1000);
    assert_int_equal(get_text(users[1], "key-5", text), STRATA_MISS);
    assert_int_equal(get_text(users[1], "other", text), STRATA_MISS); /* too much is gone, never too little */
    assert_int_equal(get_text(n.node[1], "a", text), STRATA_OK);      /* but not what is elsewhere */
    for (int i = 0; i < 2; i++)
        strata_close(users[i]);
    nodes_close(&n);
}

static void test_many_keys_are_split(void **state)
{
    (void)state;
    struct nodes n;
    char text[64], keys[300][40];
    strata_item items[300];
    nodes_open(&n, &(struct nodes_options){ .no_store = 1, .net.flags = ORDERED });
    memset(items, 0, sizeof items);
    for (int i = 0; i < 300; i++) {
        snprintf(keys[i], sizeof keys[i], "a-rather-long-key-%d", i);
        items[i].key = k(keys[i]);
        assert_int_equal(strata_set(n.node[1], items[i].key, k("1"), NULL, NULL), STRATA_OK);
    }
    nodes_pass(&n, 100);
    assert_int_equal(strata_delete_many(n.node[0], items, 300, NULL), STRATA_OK);
    nodes_run(&n);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(items[i].status, STRATA_OK);
        assert_int_equal(get_text(n.node[1], keys[i], text), STRATA_MISS);
    }
    nodes_close(&n);
}

static void test_a_clear_and_a_ban_reach(void **state)
{
    (void)state;
    struct nodes n;
    char text[64];
    strata *users[2];
    nodes_open(&n, &(struct nodes_options){ .no_store = 1, .net.flags = ORDERED });
    for (int i = 0; i < 2; i++)
        assert_int_equal(strata_namespace(n.node[i], "users", NULL, &users[i], NULL), STRATA_OK);
    assert_int_equal(strata_set(n.node[1], k("a:1"), k("1"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_set(n.node[1], k("b:1"), k("1"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_set(users[1], k("a:1"), k("1"), NULL, NULL), STRATA_OK);
    nodes_pass(&n, 10);
    assert_int_equal(strata_clear(users[0], NULL), STRATA_OK);
    nodes_run(&n);
    assert_int_equal(get_text(users[1], "a:1", text), STRATA_MISS);
    assert_int_equal(get_text(n.node[1], "a:1", text), STRATA_OK);
    assert_int_equal(strata_ban_prefix(n.node[0], k("a:"), 0, NULL), STRATA_OK);
    nodes_run(&n);
    assert_int_equal(get_text(n.node[1], "a:1", text), STRATA_MISS);
    assert_int_equal(get_text(n.node[1], "b:1", text), STRATA_OK);
    assert_int_equal(strata_clear(n.node[0], NULL), STRATA_OK);
    nodes_run(&n);
    assert_int_equal(get_text(n.node[1], "b:1", text), STRATA_MISS);
    for (int i = 0; i < 2; i++)
        strata_close(users[i]);
    nodes_close(&n);
}

/* Coming in -------------------------------------------------------------------------------------------------------- */

static void test_garbage_and_strangers(void **state)
{
    (void)state;
    struct nodes n;
    struct nodes_options o = { .no_store = 1, .net.flags = ORDERED, .coherence = STRATA_COHERENCE_OPTIONS_INIT };
    strata *other = NULL;
    o.coherence.secret = "of these two";
    nodes_open(&n, &o);
    sim_net_inject(n.net, strata_str("garbage"));
    sim_net_inject(n.net, strata_str(""));
    nodes_run(&n);
    assert_int_equal(health_of(n.node[1]).rejected, 2);
    o.coherence.secret = "of another";
    assert_int_equal(nodes_join(&n, &o, &other), STRATA_OK);
    nodes_pass(&n, 10);
    uint64_t applied = health_of(n.node[1]).applied;
    assert_int_equal(strata_delete(other, k("a"), NULL), STRATA_OK);
    nodes_pass(&n, 10);
    assert_int_equal(health_of(n.node[1]).applied, applied);
    assert_true(health_of(n.node[1]).rejected > 2);
    nodes_pass(&n, 1100);
    assert_non_null(strstr(health_of(n.node[1]).words, "give all nodes the same secret"));
    assert_int_equal(strata_delete(n.node[0], k("a"), NULL), STRATA_OK);
    nodes_pass(&n, 10);
    assert_int_equal(health_of(n.node[1]).applied, applied + 1);
    /* What is refused may be an invalidation: while it comes, what is held is not trusted for long, and then it is again. */
    assert_int_equal(strata_set(n.node[1], k("b"), k("1"), NULL, NULL), STRATA_OK);
    for (int i = 0; i < 3; i++) {
        nodes_pass(&n, TRUST_MS);
        assert_int_equal(health_of(n.node[1]).trusted, 0);
    }
    char text[64];
    assert_int_equal(get_text(n.node[1], "b", text), STRATA_STALE);
    assert_true(strata_close(other) >= 0);
    nodes_pass(&n, TRUST_MS + 2000);
    assert_int_equal(health_of(n.node[1]).trusted, 1);
    assert_int_equal(strata_set(n.node[1], k("b"), k("2"), NULL, NULL), STRATA_OK);
    nodes_pass(&n, 2 * TRUST_MS);
    assert_int_equal(get_text(n.node[1], "b", text), STRATA_OK);
    nodes_close(&n);
}

static void test_twice_is_noticed(void **state)
{
    (void)state;
    struct nodes n;
    nodes_open(&n, &(struct nodes_options){ .no_store = 1, .net.flags = ORDERED });
    assert_int_equal(strata_delete(n.node[0], k("a"), NULL), STRATA_OK);
    nodes_run(&n);
    uint64_t applied = health_of(n.node[1]).applied;
    strata_slice last = sim_net_last(n.net);
    sim_net_inject(n.net, last);
    nodes_run(&n);
    assert_int_equal(health_of(n.node[1]).applied, applied);
    assert_int_equal(health_of(n.node[1]).duplicates, 1);
    nodes_close(&n);
}

static void test_closing_while_messages_are_out(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 30; seed++) {
        struct nodes n;
        nodes_open(&n, &(struct nodes_options){ .seed = seed,
                                                .net = { .seed = seed, .delay_ms = 50, .fail_per_mille = 300 } });
        for (int i = 0; i < 5; i++) {
            char key[16];
            snprintf(key, sizeof key, "%d", i);
            assert_true(strata_delete_async(n.node[0], k(key), NULL, NULL, NULL, NULL) <= STRATA_PENDING);
            assert_true(strata_delete(n.node[1], k(key), NULL) >= 0);
        }
        nodes_close(&n);
    }
}

static void test_a_cache_that_shares_and_has_no_bus(void **state)
{
    (void)state;
    struct fleet fleet;
    fleet_open(&fleet, &(struct fleet_options){ .seed = 1 });
    strata_health h = health_of(fleet.node[0]);
    assert_int_equal(h.coherent, 0);
    assert_true(h.bound_ms == STRATA_FOREVER);
    assert_non_null(strstr(h.words, "no bus"));
    fleet_close(&fleet);
}

/* Whatever request for memory fails: no deleted value is served as fresh once trust has had its time, and nothing leaks. */
static void test_without_memory(void **state)
{
    (void)state;
    int failed = 1;
    for (long n = 1; failed && n < 400; n++) {
        struct fail_alloc mem;
        struct nodes net;
        struct nodes_options o = { .no_store = 1, .net.flags = ORDERED, .allocator = &mem.mem };
        strata *a = NULL, *b = NULL;
        char text[64];
        fail_alloc_init(&mem, 0);
        nodes_begin(&net, &o);
        atomic_store(&mem.fail_at, n);
        if (nodes_join(&net, &o, &a) == STRATA_OK && nodes_join(&net, &o, &b) == STRATA_OK) {
            nodes_pass(&net, 20);
            (void)strata_set(b, k("a"), k("1"), NULL, NULL);
            nodes_pass(&net, 20);
            int rc = strata_delete(a, k("a"), NULL);
            nodes_pass(&net, TRUST_MS + 1100);
            if (rc == STRATA_OK)
                assert_int_not_equal(get_text(b, "a", text), STRATA_OK);
            (void)strata_clear(a, NULL);
            nodes_pass(&net, 1100);
        }
        failed = atomic_load(&mem.failed);
        if (a != NULL)
            assert_true(strata_close(a) >= 0);
        if (b != NULL)
            assert_true(strata_close(b) >= 0);
        assert_int_equal(atomic_load(&mem.live), 0);
        nodes_end(&net);
    }
    assert_false(failed);
}

static void test_wrong_options(void **state)
{
    (void)state;
    struct nodes n;
    strata *cache;
    struct nodes_options o = { .no_store = 1, .coherence = STRATA_COHERENCE_OPTIONS_INIT };
    nodes_begin(&n, &o);
    o.coherence.trust_ms = 500;
    assert_int_equal(nodes_join(&n, &o, &cache), STRATA_EINVAL);
    assert_string_equal(n.err.where, "trust_ms");
    o.coherence.trust_ms = 0;
    o.coherence.suspect_ms = STRATA_FOREVER;
    assert_int_equal(nodes_join(&n, &o, &cache), STRATA_EINVAL);
    assert_non_null(strstr(n.err.message, "1 to 86400000 milliseconds"));
    nodes_end(&n);
    strata_options none = STRATA_OPTIONS_INIT;
    none.bus_count = 1;
    assert_int_equal(strata_open_url(&cache, "memory:", &none, &n.err), STRATA_EINVAL);
    assert_string_equal(n.err.where, "buses");
}

/* What the words of the health say is what readers get. */
static void test_words(void **state)
{
    (void)state;
    static const struct {
        int64_t suspect_ms;
        const char *trusted, *soon, *later;
    } rows[] = {
        { 5000, "more than 8000 ms ago", "served as stale", "only if a load fails" },
        { STRATA_OFF, "more than 3000 ms ago", "is not served", "is not served" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct nodes n;
        struct nodes_options o = { .no_store = 1, .net.flags = ORDERED, .coherence = STRATA_COHERENCE_OPTIONS_INIT };
        o.coherence.suspect_ms = rows[i].suspect_ms;
        nodes_open(&n, &o);
        nodes_pass(&n, 1100);
        assert_non_null(strstr(health_of(n.node[1]).words, rows[i].trusted));
        lose_contact(&n, 1);
        nodes_pass(&n, TRUST_MS + 2000);
        assert_non_null(strstr(health_of(n.node[1]).words, rows[i].soon));
        nodes_pass(&n, 10000);
        assert_non_null(strstr(health_of(n.node[1]).words, rows[i].later));
        nodes_close(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_delete_reaches_other_nodes),
        cmocka_unit_test(test_silence_ends_trust),
        cmocka_unit_test(test_a_stopped_process_trusts_nothing),
        cmocka_unit_test(test_replay_lifts_suspicion),
        cmocka_unit_test(test_a_loss_is_for_good),
        cmocka_unit_test(test_a_gap_is_noticed),
        cmocka_unit_test(test_strict_serves_nothing_suspect),
        cmocka_unit_test(test_the_store_refutes),
        cmocka_unit_test(test_one_refresh_a_key),
        cmocka_unit_test(test_pending_until_the_bus_has_it),
        cmocka_unit_test(test_strict_write_fails),
        cmocka_unit_test(test_the_last_word_on_a_key_wins),
        cmocka_unit_test(test_overflow_becomes_a_clear),
        cmocka_unit_test(test_many_keys_are_split),
        cmocka_unit_test(test_a_clear_and_a_ban_reach),
        cmocka_unit_test(test_garbage_and_strangers),
        cmocka_unit_test(test_twice_is_noticed),
        cmocka_unit_test(test_closing_while_messages_are_out),
        cmocka_unit_test(test_a_cache_that_shares_and_has_no_bus),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_wrong_options),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
