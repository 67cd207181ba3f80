/* test_coherence_writes.c - what writes of two nodes must not do to each other, and what is kept where: each case is one complaint of
 * users of other caches, over the public API and a real server. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/regress/coherence_rows.h"
#include "tests/support/redis_nodes.h"

/* Two calls at one time ------------------------------------------------------------------------------------------------ */

enum { ROUNDS = 300 };

static const strata_policy patient = { STRATA_SIZED(strata_policy), .stale_while_revalidate_ms = 600000,
                                       .stale_if_error_ms = 600000 };

static int load_down(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    (void)ctx;
    return strata_load_fail(load, STRATA_ELOADER, "the origin is down");
}

static int load_none(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    (void)ctx;
    return strata_load_absent(load);
}

static void note_event(const strata_event *event, void *ctx)
{
    if (event->kind == STRATA_EVENT_SUSPECT)
        (void)snprintf(ctx, 256, "%s", event->message);
}

static int sees_new(struct fleet_of_two *f, const char *key)
{
    for (int i = 0; i < NODES; i++) {
        char got[32];
        strata_error err;
        int rc = redis_cache_get(f->node[i], key, got, sizeof got, &err);
        if (rc != STRATA_OK || strcmp(got, "new") != 0)
            return 0;
    }
    return 1;
}

/* One node expires the key again and again; what it finds is written back as expired. */
struct expirer {
    strata *cache;
    pthread_t thread;
    pthread_barrier_t *each_round;
};

static void *expire_again_and_again(void *ctx)
{
    struct expirer *e = ctx;
    for (int i = 0; i < ROUNDS; i++) {
        (void)pthread_barrier_wait(e->each_round);
        if (strata_expire(e->cache, strata_str("k"), NULL) < 0)
            abort();
        (void)pthread_barrier_wait(e->each_round);
    }
    return NULL;
}

/* W19, W20: a write that reads first, and is overtaken between both, puts the old value back. */
static void an_expire_undoes_neither_delete_nor_set_elsewhere(void **state)
{
    struct fleet_of_two f;
    pthread_barrier_t each_round;
    (void)state;
    open_fleet(&f);
    assert_int_equal(pthread_barrier_init(&each_round, NULL, 2), 0);
    struct expirer e = { .cache = f.node[0], .each_round = &each_round };
    assert_int_equal(pthread_create(&e.thread, NULL, expire_again_and_again, &e), 0);
    for (int i = 0; i < ROUNDS; i++) {
        char got[32];
        strata_error err;
        assert_int_equal(strata_set(f.node[1], strata_str("k"), strata_str("old"), &patient, NULL), STRATA_OK);
        (void)pthread_barrier_wait(&each_round);
        for (int spin = 0; spin < i * 37 % 4000; spin++)
            atomic_signal_fence(memory_order_seq_cst);
        if (i % 2 == 0)
            assert_int_equal(strata_delete(f.node[1], strata_str("k"), NULL), STRATA_OK);
        else
            assert_int_equal(strata_set(f.node[1], strata_str("k"), strata_str("new"), &patient, NULL), STRATA_OK);
        (void)pthread_barrier_wait(&each_round);
        int rc = redis_cache_get(f.node[1], "k", got, sizeof got, &err);
        if (i % 2 == 0 ? rc != STRATA_MISS : strcmp(got, "old") == 0)
            fail_msg("round %d: %d, \"%s\"", i, rc, got);
    }
    assert_int_equal(pthread_join(e.thread, NULL), 0);
    pthread_barrier_destroy(&each_round);
    close_fleet(&f);
}

/* W17: peers are told before the store has the value: they read the old one up again, and keep it. */
static void peers_are_told_after_the_store_has_it(void **state)
{
    struct fleet_of_two f;
    (void)state;
    open_fleet(&f);
    for (int i = 1; i <= 200; i++) {
        char text[16], got[32];
        strata_error err;
        (void)snprintf(text, sizeof text, "%d", i);
        redis_cache_set(f.node[0], "k", text);
        (void)redis_cache_get(f.node[1], "k", got, sizeof got, &err); /* the old one, or the new one */
        sees_text(f.node[1], "k", text); /* at last: what it has read up when it was told is the new one */
    }
    redis_cache_nap(50);
    all_see_text(&f, "k", "200");
    close_fleet(&f);
}

/* How long things live ----------------------------------------------------------------------------------------------------- */

/* W5: memory is to hold a value for a minute, reads it up from the store, and holds it for the hour that it lives there. */
static void memory_keeps_what_it_reads_up_for_its_own_time(void **state)
{
    struct fleet_of_two f;
    int64_t ttl_ms = 0;
    (void)state;
    open_shaped(&f, &(struct shape){ .memory_ttl_ms = 60000 });
    redis_cache_set(f.node[0], "k", "v"); /* for an hour */
    all_see_text(&f, "k", "v");
    for (int i = 0; i < NODES; i++) {
        for (int tries = 0; tries < 3; tries++) { /* the set's message may come late, and take along what was read up */
            redis_cache_expect(f.node[i], "k", STRATA_OK, "v");
            assert_int_equal(strata_ttl(f.node[i], strata_str("k"), &ttl_ms, NULL), STRATA_OK);
            if (ttl_ms <= 60000)
                break;
            redis_cache_nap(100);
        }
        assert_in_range(ttl_ms, 1, 60000);
    }
    close_fleet(&f);
}

/* W7: what is set for all calls is read, checked, and forgotten: only what a call gives counts. */
static void what_a_cache_is_opened_with_holds_for_its_calls(void **state)
{
    static const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = 600000, .stale_if_error_ms = 300000,
                                          .negative_ttl_ms = 120000 };
    struct fleet_of_two f;
    strata_value *v = NULL;
    int64_t ttl_ms = 0;
    (void)state;
    open_shaped(&f, &(struct shape){ .policy = &policy });
    redis_cache_set(f.node[0], "k", "v");
    for (int i = 0; i < NODES; i++) {
        sees_text(f.node[i], "k", "v");
        assert_int_equal(strata_ttl(f.node[i], strata_str("k"), &ttl_ms, NULL), STRATA_OK);
        assert_in_range(ttl_ms, 1, 600000);
    }
    assert_int_equal(strata_expire(f.node[0], strata_str("k"), NULL), STRATA_OK);
    assert_int_equal(strata_get_or_load(f.node[0], strata_str("k"), load_down, NULL, NULL, &v, NULL), STRATA_STALE);
    assert_int_equal(strata_value_size(v), 1);
    strata_value_unref(v);
    assert_int_equal(strata_get_or_load(f.node[0], strata_str("none"), load_none, NULL, NULL, &v, NULL), STRATA_ABSENT);
    assert_int_equal(strata_get_or_load(f.node[1], strata_str("none"), load_down, NULL, NULL, &v, NULL), STRATA_ABSENT);
    close_fleet(&f);
}

/* W12: an index of tags grows with every key that ever was. */
static void tags_leave_nothing_behind(void **state)
{
    enum { KEYS = 500, FEW = 12 };
    static const strata_policy brief = { STRATA_SIZED(strata_policy), .ttl_ms = 50 };
    struct fleet_of_two f;
    (void)state;
    open_fleet(&f);
    for (int i = 0; i < KEYS; i++) {
        char key[16], name[16];
        (void)snprintf(key, sizeof key, "k%d", i);
        (void)snprintf(name, sizeof name, "tag%d", i);
        const strata_slice tag = strata_str(name);
        assert_int_equal(strata_set_tagged(f.node[0], strata_str(key), strata_str("v"), &tag, 1, &brief, NULL),
                         STRATA_OK);
        if (i % 5 == 0)
            assert_int_equal(strata_ban_tag(f.node[1], name, STRATA_BAN_HARD, NULL), STRATA_OK);
    }
    for (int look = 0; redis_do(f.redis_cli, "DBSIZE").integer > FEW;
         look++) { /* the stream, the life, the list of bans */
        if (look == LOOKS)
            fail_msg("%d keys are left", (int)redis_do(f.redis_cli, "DBSIZE").integer);
        redis_cache_nap(5);
    }
    close_fleet(&f);
}

/* Clears, tags and many keys ------------------------------------------------------------------------------------------------- */

/* W9, W10: an outage stops a clear half way, or a delete; peers are told before the server is, read the old value up again, and
 * keep it. */
static void an_invalidation_during_an_outage_holds(int (*invalidate)(strata *cache))
{
    struct fleet_of_two f;
    open_shaped(&f, &(struct shape){ .timeout_ms = 300 });
    redis_cache_set(f.node[0], "k", "old");
    all_see_text(&f, "k", "old");
    redis_server_pause(&f.server);
    int rc = invalidate(f.node[0]);
    assert_true(rc == STRATA_PENDING || rc == STRATA_ELAYER);
    char got[32];
    strata_error err;
    if (rc == STRATA_PENDING)
        assert_int_not_equal(redis_cache_get(f.node[0], "k", got, sizeof got, &err), STRATA_OK);
    redis_server_resume(&f.server);
    while (rc == STRATA_ELAYER && invalidate(f.node[0]) != STRATA_OK)
        redis_cache_nap(5);
    redis_cache_await(f.node[1], "k",
                      STRATA_MISS); /* who asks all the time, and finds it in the server for a moment yet */
    all_see(&f, "k", STRATA_MISS);
    redis_cache_nap(300);
    redis_cache_expect(f.node[0], "k", STRATA_MISS, NULL);
    redis_cache_expect(f.node[1], "k", STRATA_MISS, NULL);
    close_fleet(&f);
}

static int clear_all(strata *cache) { return strata_clear(cache, NULL); }
static int delete_key(strata *cache) { return strata_delete(cache, strata_str("k"), NULL); }

static void a_clear_during_an_outage_holds(void **state)
{
    (void)state;
    an_invalidation_during_an_outage_holds(clear_all);
}

static void a_delete_during_an_outage_holds_for_all(void **state)
{
    (void)state;
    an_invalidation_during_an_outage_holds(delete_key);
}

/* survey 12: a hit asks for its tags. */
static void a_hit_with_tags_needs_no_server(void **state)
{
    const strata_slice tags[] = { strata_str("red"), strata_str("blue"), strata_str("green") };
    struct fleet_of_two f;
    (void)state;
    open_fleet(&f);
    assert_int_equal(strata_set_tagged(f.node[0], strata_str("k"), strata_str("v"), tags, 3, NULL, NULL), STRATA_OK);
    all_see_text(&f, "k", "v");
    assert_int_equal(strata_ban_tag(f.node[0], "yellow", STRATA_BAN_HARD, NULL), STRATA_OK);
    uint64_t before = asked(f.node[0]);
    redis_server_pause(&f.server); /* whatever asks it now waits for a minute */
    for (int i = 0; i < 1000; i++)
        redis_cache_expect(f.node[0], "k", STRATA_OK, "v");
    redis_server_resume(&f.server);
    assert_int_equal(asked(f.node[0]), before);
    close_fleet(&f);
}

/* survey 11: the marks of tags are evicted, and what they had banned is served again; or everything is gone for ever. */
static void bans_that_a_server_has_lost_are_not_forgotten(void **state)
{
    const strata_slice red = strata_str("red");
    struct fleet_of_two f;
    (void)state;
    open_fleet(&f);
    assert_int_equal(strata_set_tagged(f.node[0], strata_str("k"), strata_str("old"), &red, 1, NULL, NULL), STRATA_OK);
    assert_int_equal(strata_ban_tag(f.node[0], "red", STRATA_BAN_HARD, NULL), STRATA_OK);
    assert_int_equal(redis_do(f.redis_cli, "EVAL", "return redis.call('DEL', 'app:\\0\\255bans')", "0").integer, 1);
    for (int look = 0; look < 20;
         look++) { /* in the store it stands as it was: who bans knows, whatever the server does */
        redis_cache_expect(f.node[0], "k", STRATA_MISS, NULL);
        redis_cache_nap(5);
    }
    for (int look = 0; !sees_new(&f, "k"); look++) { /* and what comes later is served, once both know of the new list */
        if (look == LOOKS)
            fail_msg("what was set after the list was lost is never served");
        (void)strata_set_tagged(f.node[0], strata_str("k"), strata_str("new"), &red, 1, NULL, NULL);
        redis_cache_nap(5);
    }
    close_fleet(&f);
}

/* survey 4: copies in memory that nothing keeps right, and two switches to find before anything does. */
static void copies_without_a_bus_are_spoken_of(void **state)
{
    struct fleet_of_two f;
    char words[256] = "";
    strata_health health = STRATA_HEALTH_INIT;
    (void)state;
    memset(&f, 0, sizeof f);
    redis_server_start(&f.server, NULL);
    strata *alone = open_node(&f, &(struct shape){ .without_bus = 1 });
    assert_int_equal(strata_health_get(alone, &health, NULL), STRATA_OK);
    assert_int_equal(health.coherent, 0);
    assert_true(health.words[0] != '\0' && health.bound_ms == STRATA_FOREVER);
    assert_int_equal(strata_on(alone, STRATA_EVENT_SUSPECT, note_event, words, NULL), STRATA_OK);
    redis_cache_set(alone, "k", "v");
    redis_cache_expect(alone, "k", STRATA_OK, "v");
    for (int look = 0; words[0] == '\0' && look < LOOKS; look++)
        redis_cache_nap(1);
    assert_true(words[0] != '\0');
    assert_true(strata_close(alone) >= 0);
    /* And whoever does nothing at all has one. */
    char url[128];
    strata *usual = NULL;
    (void)snprintf(url, sizeof url, "memory: | redis://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT,
                   (unsigned)f.server.port);
    assert_int_equal(strata_open_url(&usual, url, NULL, NULL), STRATA_OK);
    assert_int_equal(strata_health_get(usual, &health, NULL), STRATA_OK);
    assert_int_equal(health.coherent, 1);
    assert_true(strata_close(usual) >= 0);
    redis_server_stop(&f.server);
}

/* survey 27: keys of many slots in one command: CROSSSLOT, and nothing is deleted. */
static void a_bulk_delete_of_keys_in_many_slots(void **state)
{
    enum { KEYS = 300 };
    static struct redis_nodes cluster;
    static strata_item items[KEYS];
    static char keys[KEYS][16];
    strata *node[NODES];
    (void)state;
    redis_nodes_cluster(&cluster, 0);
    for (int n = 0; n < NODES; n++) {
        char url[160];
        (void)snprintf(url, sizeof url, "memory: | redis+cluster://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT,
                       (unsigned)cluster.servers[n].port);
        assert_int_equal(strata_open_url(&node[n], url, NULL, NULL), STRATA_OK);
    }
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "key%d", i);
        items[i] = (strata_item){ .key = strata_str(keys[i]), .set = strata_str("v") };
    }
    assert_int_equal(strata_set_many(node[0], items, KEYS, NULL, NULL), STRATA_OK);
    assert_int_equal(strata_get_many(node[1], items, KEYS, NULL), STRATA_OK);
    for (int i = 0; i < KEYS; i++) {
        assert_int_equal(items[i].status, STRATA_OK);
        strata_value_unref(items[i].value);
    }
    assert_int_equal(strata_delete_many(node[0], items, KEYS, NULL), STRATA_OK);
    for (int i = 0; i < KEYS; i++) {
        redis_cache_expect(node[0], keys[i], STRATA_MISS, NULL);
        redis_cache_await(node[1], keys[i], STRATA_MISS);
    }
    for (int n = 0; n < NODES; n++)
        assert_true(strata_close(node[n]) >= 0);
    redis_nodes_stop(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_expire_undoes_neither_delete_nor_set_elsewhere),
        cmocka_unit_test(peers_are_told_after_the_store_has_it),
        cmocka_unit_test(memory_keeps_what_it_reads_up_for_its_own_time),
        cmocka_unit_test(what_a_cache_is_opened_with_holds_for_its_calls),
        cmocka_unit_test(tags_leave_nothing_behind),
        cmocka_unit_test(a_clear_during_an_outage_holds),
        cmocka_unit_test(a_delete_during_an_outage_holds_for_all),
        cmocka_unit_test(a_hit_with_tags_needs_no_server),
        cmocka_unit_test(bans_that_a_server_has_lost_are_not_forgotten),
        cmocka_unit_test(copies_without_a_bus_are_spoken_of),
        cmocka_unit_test(a_bulk_delete_of_keys_in_many_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
