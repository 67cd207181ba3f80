/* test_coherence_trust.c - a node that no bus reaches: how often it loads, how long it trusts what it has loaded, and what it says. */
#include "strata/strata.h"
#include "src/base/err.h"
#include "tests/unit/coherence_fixture.h"

struct origin_state {
    int calls;
    int fails;
    int64_t takes_ms;
    struct executor *sim;
};

static int load_it(strata_load *load, strata_slice key, void *ctx)
{
    struct origin_state *o = ctx;
    (void)key;
    o->calls++;
    if (o->takes_ms != 0) {
        struct parker parker = { 0 };
        (void)ex_park(o->sim, &parker, ex_now_ms(o->sim) + o->takes_ms);
    }
    return o->fails ? strata_load_fail(load, STRATA_EIO, "the origin is away") : strata_load_copy(load, "v", 1);
}

static int load_of(strata *cache, const char *key, struct origin_state *o)
{
    strata_value *v;
    int rc = strata_get_or_load(cache, k(key), load_it, o, NULL, &v, NULL);
    strata_value_unref(v);
    return rc;
}

/* A hot key, hit every millisecond; the loader's calls meanwhile.  *out_stale: hits that were stale. */
static int calls_within(struct nodes *n, struct origin_state *o, int64_t ms, int *out_stale)
{
    int before = o->calls;
    *out_stale = 0;
    for (int64_t until = ex_now_ms(n->sim) + ms; ex_now_ms(n->sim) < until;) {
        int rc = load_of(n->node[0], "hot", o);
        assert_true(rc == STRATA_OK || rc == STRATA_STALE);
        *out_stale += rc == STRATA_STALE;
        nodes_pass(n, 1);
    }
    return o->calls - before;
}

/* At the end of trust, and of each window after it, a hot key is loaded once, however soon the load is over. */
static void once_a_window(uint32_t flags, int no_store, int64_t takes_ms)
{
    struct nodes n;
    struct origin_state o = { .takes_ms = takes_ms };
    int stale;
    strata_coherence_options odd = STRATA_COHERENCE_OPTIONS_INIT;
    odd.heartbeat_ms = 1100; /* so that trust does not end with a heartbeat */
    nodes_open(&n, &(struct nodes_options){ .count = 1, .no_store = no_store, .net.flags = flags, .coherence = odd });
    o.sim = n.sim;
    nodes_pass(&n, 2345);
    assert_int_equal(load_of(n.node[0], "hot", &o), STRATA_OK);
    sim_net_away(n.net, 0, 0);
    if (!no_store) { /* it is away with its bus */
        lease_store_fail(n.store, STRATA_OP_GET, STRATA_ELAYER);
        lease_store_fail(n.store, STRATA_OP_LEASE, STRATA_ELAYER);
        lease_store_fail(n.store, STRATA_OP_PUT, STRATA_ELAYER);
    }
    assert_int_equal(calls_within(&n, &o, TRUST_MS, &stale), 1);
    assert_true(stale <= 1 + takes_ms);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(calls_within(&n, &o, TRUST_MS, &stale), 1);
        assert_true(stale <= 1 + takes_ms);
    }
    nodes_close(&n);
}

static void test_one_load_a_window(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        once_a_window(i & 1 ? ORDERED : 0, i & 2, 0);
        once_a_window(i & 1 ? ORDERED : 0, i & 2, 20);
    }
}

/* What is loaded while the bus is away has its time of trust from when it was loaded: not all of it ends at once. */
static void test_each_load_has_its_time(void **state)
{
    (void)state;
    struct nodes n;
    struct origin_state o = { 0 };
    char key[16];
    nodes_open(&n, &(struct nodes_options){ .count = 1, .no_store = 1, .net.flags = ORDERED });
    nodes_pass(&n, 2000);
    sim_net_away(n.net, 0, 0);
    nodes_pass(&n, 2 * TRUST_MS);
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof key, "%d", i);
        assert_int_equal(load_of(n.node[0], key, &o), STRATA_OK);
        nodes_pass(&n, TRUST_MS / 10);
    }
    int64_t least = TRUST_MS - TRUST_MS / 8 - 2, first = ex_now_ms(n.sim) - TRUST_MS;
    int before = o.calls;
    for (int64_t now; (now = ex_now_ms(n.sim)) < first + 2 * TRUST_MS - TRUST_MS / 10; nodes_pass(&n, 10)) {
        strata_value *v;
        for (int i = 0; i < 10; i++) {
            snprintf(key, sizeof key, "%d", i);
            int64_t age = now - first - i * TRUST_MS / 10;
            int rc = strata_get(n.node[0], k(key), &v, NULL);
            strata_value_unref(v);
            if (age < least)
                assert_int_equal(rc, STRATA_OK);
            if (age > TRUST_MS) /* never longer */
                assert_int_equal(rc, STRATA_STALE);
        }
    }
    assert_int_equal(o.calls, before);
    nodes_close(&n);
}

/* What is set meanwhile, the same. */
static void test_each_set_has_its_time(void **state)
{
    (void)state;
    struct nodes n;
    char text[64];
    nodes_open(&n, &(struct nodes_options){ .count = 1, .no_store = 1, .net.flags = ORDERED });
    nodes_pass(&n, 2000);
    sim_net_away(n.net, 0, 1); /* told: so that the set does not wait for it */
    nodes_pass(&n, 2 * TRUST_MS + 777);
    assert_true(strata_set(n.node[0], k("a"), k("1"), NULL, NULL) >= 0);
    nodes_pass(&n, TRUST_MS - TRUST_MS / 8 - 2);
    assert_int_equal(get_text(n.node[0], "a", text), STRATA_OK);
    nodes_pass(&n, TRUST_MS / 8 + 4);
    assert_int_equal(get_text(n.node[0], "a", text), STRATA_STALE);
    nodes_close(&n);
}

/* Many windows are told apart no longer than that matters: what is in them is served as stale for suspect_ms, and not much less. */
static void test_a_long_outage(void **state)
{
    (void)state;
    struct nodes n;
    struct origin_state o = { 0 };
    char text[64], key[16];
    nodes_open(&n, &(struct nodes_options){ .count = 1, .no_store = 1, .net.flags = ORDERED });
    nodes_pass(&n, 2000);
    sim_net_away(n.net, 0, 0);
    nodes_pass(&n, TRUST_MS);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(load_of(n.node[0], round == 0 ? "a" : round == 1 ? "b" : "c", &o), STRATA_OK);
        for (int i = 0; i < SUSPECT_MS / 100; i++) {
            snprintf(key, sizeof key, "%d", round * 1000 + i);
            assert_int_equal(load_of(n.node[0], key, &o), STRATA_OK);
            nodes_pass(&n, 100);
        }
        /* as old as suspect_ms, of which trust_ms it was trusted */
        assert_int_equal(get_text(n.node[0], round == 0 ? "a" : round == 1 ? "b" : "c", text), STRATA_STALE);
    }
    nodes_pass(&n, TRUST_MS);
    assert_int_equal(get_text(n.node[0], "c", text), STRATA_MISS);
    sim_net_back(n.net, 0);
    nodes_pass(&n, 2000);
    assert_int_equal(get_text(n.node[0], "a", text), STRATA_OK); /* nothing was lost */
    nodes_close(&n);
}

/* A plain get asks the store, which is slow; a loader that comes meanwhile is called as soon as it has not answered. */
static void test_a_get_keeps_no_loader_from_running(void **state)
{
    (void)state;
    struct nodes n;
    struct origin_state o = { 0 };
    char text[64];
    nodes_begin(&n, &(struct nodes_options){ .count = 1, .net.flags = ORDERED });
    assert_int_equal(lease_store_free(n.store), 0);
    n.store = lease_store_new(200, 100);
    assert_int_equal(nodes_join(&n, &(struct nodes_options){ .net.flags = ORDERED }, &n.node[0]), STRATA_OK);
    nodes_pass(&n, 2000);
    assert_int_equal(strata_set(n.node[0], k("a"), k("old"), NULL, NULL), STRATA_OK);
    sim_net_away(n.net, 0, 0);
    lease_store_fail(n.store, STRATA_OP_GET, STRATA_ELAYER);
    lease_store_fail(n.store, STRATA_OP_LEASE, STRATA_ELAYER);
    lease_store_fail(n.store, STRATA_OP_PUT, STRATA_ELAYER);
    nodes_pass(&n, TRUST_MS + 1000);
    assert_int_equal(get_text(n.node[0], "a", text), STRATA_STALE);
    assert_int_equal(load_of(n.node[0], "a", &o), STRATA_STALE);
    nodes_pass(&n, 1000);
    assert_int_equal(o.calls, 1);
    assert_int_equal(get_text(n.node[0], "a", text), STRATA_OK);
    assert_string_equal(text, "v");
    nodes_close(&n);
}

/* What it says ------------------------------------------------------------------------------------------------------ */

struct heard {
    int suspect, trusted, up, down, errors;
    char trusted_words[256];
};

static void hear(const strata_event *e, void *ctx)
{
    struct heard *h = ctx;
    h->suspect += e->kind == STRATA_EVENT_SUSPECT;
    h->trusted += e->kind == STRATA_EVENT_TRUSTED;
    h->up += e->kind == STRATA_EVENT_BUS_UP;
    h->down += e->kind == STRATA_EVENT_BUS_DOWN;
    h->errors += e->kind == STRATA_EVENT_ERROR;
    if (e->kind == STRATA_EVENT_TRUSTED)
        snprintf(h->trusted_words, sizeof h->trusted_words, "%s", e->message);
}

/* A bus is tried again and again, and each try says why it failed: listeners hear of changes. */
static void test_changes_are_told_once(void **state)
{
    (void)state;
    struct nodes n;
    struct heard h = { 0 };
    uint64_t id;
    nodes_open(&n, &(struct nodes_options){ .no_store = 1 });
    assert_int_equal(strata_on(n.node[0], STRATA_EVENT_ALL, hear, &h, &id), STRATA_OK);
    nodes_pass(&n, 5000);
    assert_int_equal(h.trusted, 1);
    assert_string_equal(h.trusted_words, "the first heartbeats have come back: what is held from now on is trusted");
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < 4; i++) {
            sim_net_away(n.net, 0, 1);
            nodes_pass(&n, TRUST_MS);
        }
        assert_int_equal(h.down, round);
        assert_int_equal(h.suspect, round);
        sim_net_back(n.net, 0);
        nodes_pass(&n, 5000);
        assert_int_equal(h.up, round);
        assert_int_equal(h.trusted, 1 + round);
        assert_non_null(strstr(h.trusted_words, "every message is here again"));
    }
    nodes_close(&n);
}

/* A store that can't be asked: the first read that fails is told, and then one a second. */
static void test_failing_reads_are_told_now_and_then(void **state)
{
    (void)state;
    struct nodes n;
    struct heard h = { 0 };
    uint64_t id;
    char key[16], text[64];
    nodes_open(&n, &(struct nodes_options){ .count = 1 });
    assert_int_equal(strata_on(n.node[0], STRATA_EVENT_ERROR, hear, &h, &id), STRATA_OK);
    lease_store_fail(n.store, STRATA_OP_GET, STRATA_ELAYER);
    for (int second = 1; second <= 3; second++) {
        for (int i = 0; i < 100; i++) {
            snprintf(key, sizeof key, "%d", i);
            assert_int_equal(get_text(n.node[0], key, text), STRATA_ELAYER);
        }
        assert_int_equal(h.errors, second);
        nodes_pass(&n, 1000);
    }
    nodes_close(&n);
}

static void test_words_of_the_health(void **state)
{
    (void)state;
    struct nodes n;
    nodes_open(&n, &(struct nodes_options){ .no_store = 1 });
    strata_health h = health_of(n.node[0]);
    const char *words = h.words;
    assert_false(h.trusted);
    assert_non_null(strstr(words, "ms ago, and not trusted yet; 1 of 1 bus up, hears 1 other node; waiting for "
                                  "its first heartbeats to come back, a second or two"));
    nodes_pass(&n, 5000);
    h = health_of(n.node[0]);
    assert_string_equal(words, "trusted: nothing that was invalidated more than 33000 ms ago is served; 1 of 1 bus up, "
                               "hears 1 other node");
    sim_net_away(n.net, 0, 1);
    nodes_pass(&n, TRUST_MS + 2000);
    h = health_of(n.node[0]);
    assert_non_null(strstr(words, "what was held is served as stale"));
    assert_non_null(strstr(words, h.last.message));
    nodes_close(&n);
}

/* What has no room for all of it leaves out the middle. */
static void test_words_that_are_too_long(void **state)
{
    (void)state;
    static const char all[] =
        "127.0.0.1:6379: it did not answer a request in time: is it there, and the way to it open?";
    char out[sizeof all + 1];
    for (size_t room = 1; room <= sizeof out; room++) {
        memset(out, '#', sizeof out);
        strata__words_fit(out, room, all);
        assert_true(strlen(out) < room);
        if (room >= sizeof all)
            assert_string_equal(out, all);
        for (size_t i = room; i < sizeof out; i++)
            assert_int_equal(out[i], '#');
    }
    strata__words_fit(out, 60, all);
    assert_string_equal(out, "127.0.0.1:6379: it... is it there, and the way to it open?");
}

/* One that only publishes: the others hear it; it hears nothing, and trusts what came for trust_ms, no longer. */
static void test_who_only_publishes(void **state)
{
    (void)state;
    for (int ordered = 0; ordered < 2; ordered++) {
        struct nodes n;
        char text[64];
        struct nodes_options o = { .net.flags = ordered ? ORDERED : 0 };
        nodes_begin(&n, &o);
        o.coherence = (strata_coherence_options){ STRATA_SIZED(strata_coherence_options), .publish_only = STRATA_ON };
        assert_int_equal(nodes_join(&n, &o, &n.node[0]), STRATA_OK);
        o.coherence.publish_only = 0;
        assert_int_equal(nodes_join(&n, &o, &n.node[1]), STRATA_OK);
        nodes_pass(&n, 5000);
        assert_int_equal(strata_set(n.node[0], k("a"), k("1"), NULL, NULL), STRATA_OK);
        assert_int_equal(strata_set(n.node[1], k("b"), k("2"), NULL, NULL), STRATA_OK);
        assert_int_equal(get_text(n.node[0], "b", text), STRATA_OK);
        assert_int_equal(get_text(n.node[1], "a", text), STRATA_OK);
        assert_int_equal(strata_delete(n.node[0], k("a"), NULL), STRATA_OK);
        assert_int_equal(strata_delete(n.node[1], k("b"), NULL), STRATA_OK);
        nodes_run(&n);
        assert_int_equal(get_text(n.node[1], "a", text), STRATA_MISS);
        assert_int_equal(get_text(n.node[0], "b", text), STRATA_OK); /* it has not heard */
        assert_int_equal(health_of(n.node[0]).applied, 0);
        nodes_pass(&n, TRUST_MS + 10);
        assert_int_equal(get_text(n.node[0], "b", text), STRATA_STALE); /* and believes it no longer */
        nodes_run(&n);
        assert_int_equal(get_text(n.node[0], "b", text), STRATA_MISS);
        nodes_close(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_only_publishes),     cmocka_unit_test(test_one_load_a_window),
        cmocka_unit_test(test_each_load_has_its_time), cmocka_unit_test(test_each_set_has_its_time),
        cmocka_unit_test(test_a_long_outage),          cmocka_unit_test(test_a_get_keeps_no_loader_from_running),
        cmocka_unit_test(test_changes_are_told_once),  cmocka_unit_test(test_failing_reads_are_told_now_and_then),
        cmocka_unit_test(test_words_of_the_health),    cmocka_unit_test(test_words_that_are_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
