/* test_coherence_take.c - another node has set a key: a small value comes with the message and takes the place of an older version, and of no
 * other; where none comes, what is held is stale for a moment, and is asked for once a process, not by all at once. */
#include "src/core/bans.h"
#include "src/core/coherence_impl.h"
#include "src/format/envelope.h"
#include "tests/unit/coherence_fixture.h"

enum { SPREAD_MS = 100 };

static struct lease_store_counts counts(struct nodes *n)
{
    struct lease_store_counts c;
    lease_store_counts(n->store, &c);
    return c;
}

static void set(strata *cache, const char *key, const char *value)
{
    assert_int_equal(strata_set(cache, k(key), strata_str(value), NULL, NULL), STRATA_OK);
}

static void expect(strata *cache, const char *key, int rc, const char *value)
{
    char text[64];
    assert_int_equal(get_text(cache, key, text), rc);
    assert_string_equal(text, value);
}

static void open_trusted(struct nodes *n, struct nodes_options *o)
{
    o->net.flags = ORDERED;
    nodes_open(n, o);
    nodes_pass(n, 1500);
}

static void test_a_small_value_is_taken(void **state)
{
    struct nodes n;
    struct nodes_options o = { 0 };
    const strata_slice tags[] = { strata_str("tag") };
    (void)state;
    open_trusted(&n, &o);
    set(n.node[0], "key", "one");
    set(n.node[0], "cold", "one");
    expect(n.node[1], "key", STRATA_OK, "one");
    size_t gets = counts(&n).gets;
    assert_int_equal(strata_set_tagged(n.node[0], k("key"), strata_str("two"), tags, 1, NULL, NULL), STRATA_OK);
    set(n.node[0], "cold", "two");
    nodes_run(&n);
    expect(n.node[1], "key", STRATA_OK, "two");
    assert_int_equal(counts(&n).gets, gets);
    expect(n.node[1], "cold", STRATA_OK, "two"); /* who holds nothing takes nothing */
    assert_int_equal(counts(&n).gets, gets + 1);
    /* Its tags came along. */
    assert_int_equal(strata_ban_tag(n.node[1], "tag", 0, NULL), STRATA_OK);
    expect(n.node[1], "key", STRATA_MISS, "");
    expect(n.node[1], "cold", STRATA_OK, "two");
    /* After a delete nothing is served, and nothing is taken. */
    set(n.node[1], "key", "three");
    assert_int_equal(strata_delete(n.node[0], k("key"), NULL), STRATA_OK);
    nodes_run(&n);
    expect(n.node[1], "key", STRATA_MISS, "");
    nodes_close(&n);
}

/* Messages that come late, and in another order than versions. */
static void test_no_older_one_is_taken(void **state)
{
    struct nodes n;
    struct nodes_options o = { 0 };
    (void)state;
    open_trusted(&n, &o);
    set(n.node[0], "key", "one");
    expect(n.node[1], "key", STRATA_OK, "one");
    set(n.node[0], "key", "two");
    nodes_run(&n);
    assert_int_equal(strata_delete(n.node[0], k("key"), NULL), STRATA_OK);
    set(n.node[0], "key", "three");
    nodes_run(&n);
    expect(n.node[1], "key", STRATA_OK, "three");
    sim_net_hold(n.net, 1, 1);
    set(n.node[0], "key", "four"); /* it is under way while this node writes, too */
    set(n.node[1], "key", "five");
    sim_net_hold(n.net, 1, 0);
    nodes_run(&n);
    char text[64];
    (void)get_text(n.node[1], "key", text);
    assert_string_not_equal(text, "four");
    nodes_pass(&n, 20 * SPREAD_MS);
    expect(n.node[1], "key", STRATA_OK, "five");
    nodes_close(&n);
}

/* What another node may have said of "key": `value` NULL: that it was set, and no more. */
struct word {
    uint64_t number, version;
    const char *value, *tag;
    int64_t born_wall_ms;
};

static void hear(struct nodes *n, const struct word *word)
{
    unsigned char envelope[512], bytes[2048];
    const uint64_t tag = word->tag != NULL ? strata__tag_id(strata_str(word->tag)) : 0;
    const strata_meta meta = { .fresh_ms = 3600000, .born_wall_ms = word->born_wall_ms };
    struct bus_item item = { .kind = BUS_ITEM_SET, .version = word->version, .store_life = 1, .key = strata_str("key") };
    struct bus_message head = { .channel = n->node[1]->root->coherence->channel, .sender = { 7 } };
    struct bus_writer w;
    struct envelope e;
    if (word->value != NULL) {
        strata__envelope_from_meta(&e, &meta);
        e.tag_count = word->tag != NULL;
        e.tag_ids = &tag;
        e.payload = strata_str(word->value);
        size_t size = strata__envelope_size(&e);
        strata__envelope_write(&e, envelope);
        memcpy(envelope + size, word->value, strlen(word->value));
        item.kind = BUS_ITEM_VALUE;
        item.envelope = strata_bytes(envelope, size + strlen(word->value));
    }
    strata__bus_write_begin(&w, bytes, sizeof bytes, &head, strata_bytes(NULL, 0));
    assert_true(strata__bus_write_item(&w, &item));
    sim_net_inject(n->net, strata_bytes(bytes, strata__bus_write_end(&w, word->number)));
    nodes_run(n);
}

/* What was replaced by a value that did not come along is not replaced by one of before that, however late it comes. */
static void test_none_is_taken_that_was_replaced(void **state)
{
    (void)state;
    for (int large = 0; large < 2; large++) {
        struct nodes n;
        struct nodes_options o = { 0 };
        open_trusted(&n, &o);
        int64_t wall = ex_wall_ms(n.sim);
        set(n.node[0], "key", "one");
        expect(n.node[1], "key", STRATA_OK, "one");
        hear(&n, &(struct word){ .number = 1, .version = 900, .value = "two", .born_wall_ms = wall });
        expect(n.node[1], "key", STRATA_OK, "two");
        hear(&n, &(struct word){ .number = 2, .version = 1000, .value = large ? NULL : "three", .born_wall_ms = wall });
        expect(n.node[1], "key", large ? STRATA_STALE : STRATA_OK, large ? "two" : "three");
        hear(&n, &(struct word){ .number = 3, .version = 950, .value = "late", .born_wall_ms = wall });
        expect(n.node[1], "key", STRATA_STALE, large ? "two" : "three");
        nodes_close(&n);
    }
}

/* A ban that has no place in the store's list, of a tag that only the new value has, while the message was under way. */
static void test_none_is_taken_that_was_banned(void **state)
{
    (void)state;
    for (int soft = 0; soft < 2; soft++) {
        struct nodes n;
        struct nodes_options o = { 0 };
        char text[64];
        open_trusted(&n, &o);
        int64_t wall = ex_wall_ms(n.sim);
        set(n.node[0], "key", "one");
        expect(n.node[1], "key", STRATA_OK, "one");
        assert_true(strata_ban_tag(n.node[1], "tag", soft ? STRATA_BAN_SOFT : 0, NULL) >= 0);
        nodes_pass(&n, 1500);
        hear(&n, &(struct word){ 1, 1000, "late", "tag", wall });
        (void)get_text(n.node[1], "key", text);
        assert_string_not_equal(text, "late");
        /* One that is born later is taken. */
        nodes_pass(&n, 20 * SPREAD_MS);
        expect(n.node[1], "key", STRATA_OK, "one");
        hear(&n, &(struct word){ 2, 1001, "new", "tag", ex_wall_ms(n.sim) });
        expect(n.node[1], "key", STRATA_OK, "new");
        nodes_close(&n);
    }
}

/* Values of a store that seals them are neither told nor believed. */
static void test_sealed_values_stay_there(void **state)
{
    struct nodes n;
    struct nodes_options o = { .store_flags = STRATA__LAYER_SEALS };
    (void)state;
    o.coherence = (strata_coherence_options)STRATA_COHERENCE_OPTIONS_INIT;
    o.coherence.spread_ms = STRATA_OFF;
    open_trusted(&n, &o);
    set(n.node[0], "key", "one");
    expect(n.node[1], "key", STRATA_OK, "one");
    set(n.node[0], "key", "secret");
    strata_slice last = sim_net_last(n.net);
    for (size_t i = 0; i + 6 <= last.size; i++)
        assert_int_not_equal(memcmp((const char *)last.data + i, "secret", 6), 0);
    nodes_run(&n);
    expect(n.node[1], "key", STRATA_OK, "secret");
    hear(&n, &(struct word){ .number = 1, .version = 1000, .value = "forged", .born_wall_ms = ex_wall_ms(n.sim) });
    expect(n.node[1], "key", STRATA_OK, "secret");
    nodes_close(&n);
}

/* A version of another life of the store says nothing, be it higher or the same. */
static void test_lives_are_told_apart(void **state)
{
    struct nodes n;
    struct nodes_options o = { 0 };
    (void)state;
    o.coherence = (strata_coherence_options)STRATA_COHERENCE_OPTIONS_INIT;
    o.coherence.spread_ms = STRATA_OFF;
    open_trusted(&n, &o);
    set(n.node[0], "key", "one");
    expect(n.node[1], "key", STRATA_OK, "one");
    size_t gets = counts(&n).gets;
    lease_store_new_life(n.store, 0); /* the next version is the same number again */
    set(n.node[0], "key", "two");
    nodes_run(&n);
    expect(n.node[1], "key", STRATA_OK, "two");
    assert_int_equal(counts(&n).gets, gets + 1);
    lease_store_new_life(n.store, 1000);
    set(n.node[0], "key", "three");
    nodes_run(&n);
    expect(n.node[1], "key", STRATA_OK, "three");
    assert_int_equal(counts(&n).gets, gets + 2);
    set(n.node[0], "key", "four");
    nodes_run(&n);
    expect(n.node[1], "key", STRATA_OK, "four");
    assert_int_equal(counts(&n).gets, gets + 2);
    nodes_close(&n);
}

/* What is too large, or comes while this node is not trusted, travels or is taken without its value. */
static void test_what_is_not_taken(void **state)
{
    struct nodes n;
    struct nodes_options o = { 0 };
    (void)state;
    o.coherence = (strata_coherence_options)STRATA_COHERENCE_OPTIONS_INIT;
    o.coherence.spread_ms = STRATA_OFF;
    o.coherence.prime_max_bytes = 3;
    open_trusted(&n, &o);
    set(n.node[0], "key", "one");
    expect(n.node[1], "key", STRATA_OK, "one");
    size_t gets = counts(&n).gets;
    set(n.node[0], "key", "four");
    nodes_run(&n);
    expect(n.node[1], "key", STRATA_OK, "four");
    assert_int_equal(counts(&n).gets, gets + 1);
    /* Not trusted: a silence, and then all of it at once. */
    sim_net_away(n.net, 1, 0);
    nodes_pass(&n, TRUST_MS + 100);
    set(n.node[0], "key", "six");
    sim_net_back(n.net, 1);
    nodes_pass(&n, 2000);
    gets = counts(&n).gets;
    expect(n.node[1], "key", STRATA_OK, "six");
    assert_int_equal(counts(&n).gets, gets + 1);
    /* A bus is told of changes of what was read in the store alone: what comes otherwise must be read there. */
    n.node[1]->root->reads_back = 1;
    set(n.node[0], "key", "ten");
    nodes_run(&n);
    expect(n.node[1], "key", STRATA_OK, "ten");
    assert_int_equal(counts(&n).gets, gets + 2);
    nodes_close(&n);
}

static void test_one_asks_and_later(void **state)
{
    struct nodes n;
    struct nodes_options o = { 0 };
    (void)state;
    o.coherence = (strata_coherence_options)STRATA_COHERENCE_OPTIONS_INIT;
    o.coherence.priming = STRATA_OFF;
    open_trusted(&n, &o);
    set(n.node[0], "key", "one");
    expect(n.node[1], "key", STRATA_OK, "one");
    size_t gets = counts(&n).gets;
    set(n.node[0], "key", "two");
    nodes_run(&n);
    for (int i = 0; i < 10; i++)
        expect(n.node[1], "key", STRATA_STALE, "one"); /* it is not asked for yet */
    assert_int_equal(counts(&n).gets, gets);
    /* Again and again: that makes it stale no longer. */
    for (int i = 0; i < 4; i++) {
        set(n.node[0], "key", "more");
        nodes_pass(&n, SPREAD_MS / 4);
    }
    nodes_pass(&n, SPREAD_MS);
    for (int i = 0; i < 10; i++)
        expect(n.node[1], "key", STRATA_STALE, "one");
    nodes_run(&n);
    expect(n.node[1], "key", STRATA_OK, "more");
    assert_int_equal(counts(&n).gets, gets + 1);
    /* Where nobody asks, it is gone some time later. */
    set(n.node[0], "key", "last");
    nodes_pass(&n, 11 * SPREAD_MS);
    expect(n.node[1], "key", STRATA_OK, "last");
    /* And a delete ends it at once. */
    set(n.node[0], "key", "new");
    nodes_run(&n);
    expect(n.node[1], "key", STRATA_STALE, "last");
    assert_int_equal(strata_delete(n.node[0], k("key"), NULL), STRATA_OK);
    nodes_run(&n);
    expect(n.node[1], "key", STRATA_MISS, "");
    nodes_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_small_value_is_taken),
        cmocka_unit_test(test_no_older_one_is_taken),
        cmocka_unit_test(test_none_is_taken_that_was_replaced),
        cmocka_unit_test(test_none_is_taken_that_was_banned),
        cmocka_unit_test(test_sealed_values_stay_there),
        cmocka_unit_test(test_lives_are_told_apart),
        cmocka_unit_test(test_what_is_not_taken),
        cmocka_unit_test(test_one_asks_and_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
