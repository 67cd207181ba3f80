/* test_coherence_rows.c - what users of other caches complain of, and what caches before this one got wrong, between nodes that share a
 * server: each case is one such complaint, over the public API and a real server. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/regress/coherence_rows.h"

static int load_text(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    return strata_load_copy(load, ctx, strlen(ctx));
}

static int fail_load(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    (void)ctx;
    return strata_load_fail(load, STRATA_ELOADER, "the origin is down");
}

/* Loads and invalidations --------------------------------------------------------------------------------------------- */

/* A loader that is overtaken: another node deletes, or sets, while it runs. */
struct race {
    strata *other;
    const char *sets; /* NULL: it deletes */
};

static int load_while_it_is_written(strata_load *load, strata_slice key, void *ctx)
{
    const struct race *race = ctx;
    if (race->sets != NULL)
        assert_int_equal(strata_set(race->other, key, strata_str(race->sets), NULL, NULL), STRATA_OK);
    else
        assert_int_equal(strata_delete(race->other, key, NULL), STRATA_OK);
    return strata_load_copy(load, "old", 3);
}

/* survey 1; W2: the old value is stored after the delete, in the shared store, for its whole time. */
static void a_load_in_flight_and_a_delete_elsewhere(void **state)
{
    struct fleet_of_two f;
    strata_value *v = NULL;
    (void)state;
    open_fleet(&f);
    struct race race = { .other = f.node[1] };
    assert_int_equal(strata_get_or_load(f.node[0], strata_str("k"), load_while_it_is_written, &race, NULL, &v, NULL),
                     STRATA_OK);
    strata_value_unref(v);
    all_see(&f, "k", STRATA_MISS);
    for (int i = 0; i < 20; i++) { /* who joined that load had it; then it is nowhere, and at no later moment */
        redis_cache_expect(f.node[0], "k", STRATA_MISS, NULL);
        redis_cache_expect(f.node[1], "k", STRATA_MISS, NULL);
        redis_cache_nap(5);
    }
    race.sets = "new";
    assert_int_equal(strata_get_or_load(f.node[0], strata_str("k"), load_while_it_is_written, &race, NULL, &v, NULL),
                     STRATA_OK);
    strata_value_unref(v);
    all_see_text(&f, "k", "new");
    close_fleet(&f);
}

/* Calls get_or_load() by itself, with a loader that waits until it is let go. */
struct loading {
    strata *cache;
    pthread_t thread;
    _Atomic(int) begun, go;
};

static int load_when_told(strata_load *load, strata_slice key, void *ctx)
{
    struct loading *l = ctx;
    (void)key;
    atomic_store(&l->begun, 1);
    while (!atomic_load(&l->go))
        redis_cache_nap(1);
    return strata_load_copy(load, "before", 6);
}

static void *load_by_itself(void *ctx)
{
    struct loading *l = ctx;
    strata_value *v = NULL;
    (void)strata_get_or_load(l->cache, strata_str("k"), load_when_told, l, NULL, &v, NULL);
    strata_value_unref(v);
    return NULL;
}

static uint64_t applied(strata *cache)
{
    strata_health health = STRATA_HEALTH_INIT;
    assert_int_equal(strata_health_get(cache, &health, NULL), STRATA_OK);
    return health.applied;
}

/* W8: who asks after a delete gets what was loaded before it, on another node, too. */
static void who_asks_after_a_delete_joins_no_older_load(void **state)
{
    struct fleet_of_two f;
    struct loading l = { 0 };
    char got[32] = "";
    (void)state;
    open_fleet(&f);
    l.cache = f.node[0];
    assert_int_equal(pthread_create(&l.thread, NULL, load_by_itself, &l), 0);
    while (!atomic_load(&l.begun))
        redis_cache_nap(1);
    uint64_t before = applied(f.node[0]);
    assert_int_equal(strata_delete(f.node[1], strata_str("k"), NULL), STRATA_OK);
    while (applied(f.node[0]) == before) /* until the message of it is there */
        redis_cache_nap(1);
    redis_cache_nap(10);
    strata_value *v = NULL;
    assert_int_equal(
        strata_get_or_load(f.node[0], strata_str("k"), load_text, (void *)(uintptr_t) "after", NULL, &v, NULL),
        STRATA_OK);
    memcpy(got, strata_value_data(v), strata_value_size(v));
    strata_value_unref(v);
    assert_string_equal(got, "after");
    atomic_store(&l.go, 1);
    assert_int_equal(pthread_join(l.thread, NULL), 0);
    all_see_text(&f, "k", "after");
    close_fleet(&f);
}

/* W18: a peer's write takes the value of a set that runs at the same time along: both are gone. */
struct setter {
    strata *cache;
    pthread_t thread;
    char who;
};

static void *set_again_and_again(void *ctx)
{
    struct setter *s = ctx;
    char text[16];
    for (int i = 0; i < 300; i++) {
        (void)snprintf(text, sizeof text, "%c%d", s->who, i);
        if (strata_set(s->cache, strata_str("k"), strata_str(text), NULL, NULL) < 0)
            abort();
    }
    return NULL;
}

static void sets_on_both_nodes_leave_one_of_them(void **state)
{
    struct fleet_of_two f;
    struct setter s[NODES];
    char one[32], other[32];
    strata_error err;
    (void)state;
    open_fleet(&f);
    for (int i = 0; i < NODES; i++) {
        s[i] = (struct setter){ .cache = f.node[i], .who = (char)('a' + i) };
        assert_int_equal(pthread_create(&s[i].thread, NULL, set_again_and_again, &s[i]), 0);
    }
    for (int i = 0; i < NODES; i++)
        assert_int_equal(pthread_join(s[i].thread, NULL), 0);
    int look = 0;
    do {
        if (++look == LOOKS)
            fail_msg("\"%s\" and \"%s\"", one, other);
        redis_cache_nap(2);
        for (int i = 0; i < NODES; i++) { /* never gone; perhaps stale for a moment */
            int rc = redis_cache_get(f.node[i], "k", i == 0 ? one : other, sizeof one, &err);
            assert_true(rc == STRATA_OK || rc == STRATA_STALE);
        }
    } while (strcmp(one, other) != 0);
    assert_string_equal(one + 1, "299");
    close_fleet(&f);
}

/* Messages that are lost ------------------------------------------------------------------------------------------------- */

/* survey 2: the server fails, what was published meanwhile is never heard, and nobody notices. */
static void a_server_that_failed_is_noticed(void **state)
{
    struct fleet_of_two f;
    struct shape shape = { .trust_ms = SHORT_MS };
    (void)state;
    open_shaped(&f, &shape);
    redis_cache_set(f.node[0], "k", "old");
    all_see_text(&f, "k", "old");
    redis_server_kill(&f.server);
    redis_server_restart(&f.server); /* without anything */
    strata__redis_close(f.redis_cli);
    f.redis_cli = redis_do_open(&f.server);
    /* Deletes that the outage has left are repeated into the new life, and may take a set along: then it is a miss, and never old. */
    for (int i = 0, seen = 0; seen < NODES; i++) {
        char got[32];
        strata_error err;
        if (i == LOOKS)
            fail_msg("\"%s\", not \"new\"", got);
        (void)strata_set(f.node[0], strata_str("k"), strata_str("new"), NULL, NULL);
        for (seen = 0; seen < NODES; seen++)
            if (redis_cache_get(f.node[seen], "k", got, sizeof got, &err) != STRATA_OK || strcmp(got, "new") != 0)
                break;
        redis_cache_nap(5);
    }
    for (int i = 0; i < NODES; i++) {
        char got[32];
        strata_error err;
        until_trusted(f.node[i]);
        (void)redis_cache_get(f.node[i], "k", got, sizeof got, &err);
        assert_string_not_equal(got, "old");
    }
    close_fleet(&f);
}

/* survey 3: after a reconnect reads come through before tracking is armed again: what they bring stays old for ever. */
static void tracking_is_armed_before_anything_is_trusted(void **state)
{
    struct fleet_of_two f;
    struct shape shape = { .tracks = 1, .trust_ms = SHORT_MS };
    char text[16];
    (void)state;
    open_shaped(&f, &shape);
    for (int i = 0; i < 6; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        if (i % 2 == 0)
            (void)redis_do(f.redis_cli, "CLIENT", "KILL", "TYPE", "pubsub");
        redis_cache_set(f.node[i / 2 % 2], "k", text);
        all_see_text(&f, "k", text);
    }
    close_fleet(&f);
}

static int sees_now(strata *cache, const char *key, const char *text)
{
    char got[64];
    strata_error err;
    return redis_cache_get(cache, key, got, sizeof got, &err) == STRATA_OK && strcmp(got, text) == 0;
}

/* A set that failed is a delete that the store is yet to hear of, which may take the next one along: a cache may always forget. */
static void set_until_all_see(struct fleet_of_two *f, const char *key, const char *text)
{
    for (int look = 0; !sees_now(f->node[0], key, text) || !sees_now(f->node[1], key, text); look++) {
        if (look == LOOKS)
            fail_msg("%s: still not \"%s\" everywhere", key, text);
        if (look % 20 == 0)
            (void)strata_set(f->node[0], strata_str(key), strata_str(text), NULL, NULL);
        redis_cache_nap(5);
    }
}

/* W15: a bus that can't subscribe when the cache is opened makes every call fail, for ever. */
static void a_bus_that_is_away_at_first_comes_later(void **state)
{
    struct fleet_of_two f = { 0 };
    struct shape shape = { .open_wait = STRATA_OFF, .timeout_ms = 300 };
    strata_value *v = NULL;
    (void)state;
    redis_server_start(&f.server, NULL);
    redis_server_kill(&f.server);
    for (int i = 0; i < NODES; i++)
        f.node[i] = open_node(&f, &shape);
    assert_int_equal(
        strata_get_or_load(f.node[0], strata_str("k"), load_text, (void *)(uintptr_t) "loaded", NULL, &v, NULL),
        STRATA_OK);
    strata_value_unref(v);
    redis_server_restart(&f.server);
    f.redis_cli = redis_do_open(&f.server);
    for (int i = 0; i < NODES; i++)
        until_trusted(f.node[i]);
    set_until_all_see(&f, "later", "set");
    assert_int_equal(strata_delete(f.node[1], strata_str("later"), NULL), STRATA_OK);
    all_see(&f, "later", STRATA_MISS);
    close_fleet(&f);
}

/* survey 4: copies in memory, nothing that keeps them right, and not a word about it. */
static void note_words(const strata_event *event, void *ctx)
{
    if (event->kind == STRATA_EVENT_SUSPECT)
        (void)snprintf(ctx, 256, "%s", event->message);
}

static void who_has_no_bus_is_told(void **state)
{
    struct redis_server server;
    char words[256] = "", second[256] = "";
    strata_health health = STRATA_HEALTH_INIT;
    (void)state;
    redis_server_start(&server, NULL);
    /* One that has a bus by itself is told nothing of the kind. */
    char url[256];
    strata *cache = NULL;
    (void)snprintf(url, sizeof url, "memory: | redis://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT, (unsigned)server.port);
    assert_int_equal(strata_open_url(&cache, url, NULL, NULL), STRATA_OK);
    assert_int_equal(strata_health_get(cache, &health, NULL), STRATA_OK);
    assert_int_equal(health.coherent, 1);
    assert_int_equal(health.buses, 1);
    assert_null(strstr(health.words, "no bus"));
    strata_close(cache);

    cache = redis_cache_open("memory: | redis://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT, server.port);
    assert_int_equal(strata_health_get(cache, &health, NULL), STRATA_OK);
    assert_int_equal(health.coherent, 0);
    assert_true(health.bound_ms == STRATA_FOREVER);
    assert_non_null(strstr(health.words, "no bus"));
    assert_non_null(strstr(health.words, "strata_options.buses"));
    /* Once, and to who listens first. */
    assert_int_equal(strata_on(cache, STRATA_EVENT_SUSPECT, note_words, words, NULL), STRATA_OK);
    assert_non_null(strstr(words, "no bus tells of that"));
    assert_non_null(strstr(words, "strata_options.buses"));
    assert_int_equal(strata_on(cache, STRATA_EVENT_SUSPECT, note_words, second, NULL), STRATA_OK);
    redis_cache_set(cache, "k", "v");
    redis_cache_expect(cache, "k", STRATA_OK, "v");
    assert_string_equal(second, "");
    strata_close(cache);
    redis_server_stop(&server);
}

/* W9: a delete skips a server that is away; when it is back, the old value is served again. */
static void a_delete_during_an_outage_holds(void **state)
{
    struct fleet_of_two f;
    struct shape shape = { .timeout_ms = 300 };
    (void)state;
    open_shaped(&f, &shape);
    redis_cache_set(f.node[0], "k", "old");
    all_see_text(&f, "k", "old");
    redis_server_pause(&f.server);
    int rc = strata_delete(f.node[0], strata_str("k"), NULL);
    assert_true(rc == STRATA_PENDING || rc == STRATA_ELAYER);
    char got[32];
    strata_error err;
    if (rc == STRATA_PENDING)
        assert_int_not_equal(redis_cache_get(f.node[0], "k", got, sizeof got, &err), STRATA_OK);
    redis_server_resume(&f.server);
    if (rc != STRATA_PENDING)
        while (strata_delete(f.node[0], strata_str("k"), NULL) != STRATA_OK)
            redis_cache_nap(5);
    all_see(&f, "k", STRATA_MISS);
    redis_cache_nap(300);
    redis_cache_expect(f.node[0], "k", STRATA_MISS, NULL);
    redis_cache_expect(f.node[1], "k", STRATA_MISS, NULL);
    close_fleet(&f);
}

/* W1: a hit in memory waits for the server. */
static void a_hit_needs_no_server(void **state)
{
    struct fleet_of_two f;
    (void)state;
    open_fleet(&f);
    redis_cache_set(f.node[0], "k", "v");
    redis_cache_expect(f.node[0], "k", STRATA_OK, "v");
    redis_server_pause(&f.server); /* whatever asks it now waits for a minute */
    for (int i = 0; i < 1000; i++)
        redis_cache_expect(f.node[0], "k", STRATA_OK, "v");
    redis_server_resume(&f.server);
    close_fleet(&f);
}

/* Many keys ---------------------------------------------------------------------------------------------------------------- */

/* W11: a bulk invalidation is larger than peers accept, and they drop it. */
static void a_bulk_delete_of_any_size_reaches_peers(void **state)
{
    static strata_item items[MANY];
    static char keys[MANY][16];
    struct fleet_of_two f;
    (void)state;
    open_fleet(&f);
    for (int i = 0; i < MANY; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "key%d", i);
        items[i] = (strata_item){ .key = strata_str(keys[i]), .set = strata_str("v") };
    }
    assert_int_equal(strata_set_many(f.node[0], items, MANY, NULL, NULL), STRATA_OK);
    assert_int_equal(strata_get_many(f.node[1], items, MANY, NULL), STRATA_OK);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(items[i].status, STRATA_OK);
        strata_value_unref(items[i].value);
    }
    assert_int_equal(strata_delete_many(f.node[0], items, MANY, NULL), STRATA_OK);
    for (int i = 0; i < MANY; i++)
        redis_cache_await(f.node[1], keys[i], STRATA_MISS);
    close_fleet(&f);
}

/* survey 5: each set makes every node read the server at once. */
static void a_set_makes_nobody_read_at_once(void **state)
{
    struct fleet_of_two f;
    char text[16];
    (void)state;
    open_fleet(&f);
    redis_cache_set(f.node[0], "k", "v");
    sees_text(f.node[1], "k", "v");
    redis_cache_set(f.node[0], "mark", "0");
    sees_text(f.node[1], "mark", "0");
    uint64_t before = asked(f.node[1]);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        redis_cache_set(f.node[0], "k", text);
    }
    assert_int_equal(asked(f.node[1]), before);
    sees_text(f.node[1], "k", "99");
    close_fleet(&f);
}

/* Namespaces and prefixes ------------------------------------------------------------------------------------------------ */

/* survey 26: a clear of "users" takes "usersAbc" along. */
static void a_clear_of_a_namespace_leaves_its_neighbours(void **state)
{
    static const char *const names[] = { "users", "usersAbc", "user" };
    struct fleet_of_two f;
    strata *space[NODES][3];
    (void)state;
    open_fleet(&f);
    for (int i = 0; i < NODES; i++)
        for (int n = 0; n < 3; n++)
            assert_int_equal(strata_namespace(f.node[i], names[n], NULL, &space[i][n], NULL), STRATA_OK);
    for (int n = 0; n < 3; n++)
        redis_cache_set(space[0][n], "k", names[n]);
    for (int n = 0; n < 3; n++)
        sees_text(space[1][n], "k", names[n]);
    assert_int_equal(strata_clear(space[0][0], NULL), STRATA_OK);
    redis_cache_await(space[1][0], "k", STRATA_MISS);
    for (int i = 0; i < NODES; i++)
        for (int n = 1; n < 3; n++)
            redis_cache_expect(space[i][n], "k", STRATA_OK, names[n]);
    for (int i = 0; i < NODES; i++)
        for (int n = 0; n < 3; n++)
            strata_close(space[i][n]);
    close_fleet(&f);
}

/* W16: two programs on one server clear each other's memory. */
static void programs_on_one_server_leave_each_other_alone(void **state)
{
    struct fleet_of_two f;
    struct shape shape = { .prefix = "other:" };
    (void)state;
    open_fleet(&f);
    strata *other = open_node(&f, &shape);
    until_trusted(other);
    redis_cache_set(other, "k", "theirs");
    redis_cache_set(f.node[0], "k", "ours");
    assert_int_equal(strata_clear(f.node[0], NULL), STRATA_OK);
    all_see(&f, "k", STRATA_MISS);
    uint64_t before = asked(other);
    redis_cache_expect(other, "k", STRATA_OK, "theirs");
    assert_int_equal(asked(other), before); /* from memory */
    assert_true(strata_close(other) >= 0);
    close_fleet(&f);
}

/* Stale and gone ----------------------------------------------------------------------------------------------------------- */

/* survey 28: what was cleared for good is served all the same, where the origin fails. */
static void what_was_cleared_is_not_served_when_the_origin_fails(void **state)
{
    struct fleet_of_two f;
    strata_value *v = NULL;
    const strata_policy patient = { STRATA_SIZED(strata_policy), .stale_if_error_ms = 600000 };
    (void)state;
    open_fleet(&f);
    assert_int_equal(strata_set(f.node[0], strata_str("k"), strata_str("old"), &patient, NULL), STRATA_OK);
    all_see_text(&f, "k", "old");
    assert_int_equal(strata_clear(f.node[0], NULL), STRATA_OK);
    all_see(&f, "k", STRATA_MISS);
    for (int i = 0; i < NODES; i++) {
        assert_int_equal(strata_get_or_load(f.node[i], strata_str("k"), fail_load, NULL, &patient, &v, NULL),
                         STRATA_ELOADER);
        assert_null(v);
    }
    close_fleet(&f);
}

/* Tags --------------------------------------------------------------------------------------------------------------------- */

static void set_tagged(strata *cache, const char *key, const char *text, const char *tag)
{
    const strata_slice tags[] = { strata_str(tag != NULL ? tag : "") };
    assert_int_equal(strata_set_tagged(cache, strata_str(key), strata_str(text), tags, tag != NULL, NULL, NULL),
                     STRATA_OK);
}

/* survey 11, W3, W4, W13: tags that are lost, late, or those of a value that is gone. */
static void a_tag_is_as_new_as_its_value(void **state)
{
    struct fleet_of_two f;
    (void)state;
    open_fleet(&f);
    set_tagged(f.node[0], "k", "one", "red");
    set_tagged(f.node[0], "other", "blue", "blue");
    all_see_text(&f, "k", "one");
    all_see_text(&f, "other", "blue");
    assert_int_equal(strata_ban_tag(f.node[1], "red", STRATA_BAN_HARD, NULL), STRATA_OK);
    redis_cache_expect(f.node[1], "k", STRATA_MISS, NULL); /* found in memory and in the store, banned in both */
    redis_cache_await(f.node[0], "k", STRATA_MISS);
    set_tagged(f.node[0], "k", "two", "red"); /* younger than the ban */
    redis_cache_expect(f.node[0], "k", STRATA_OK, "two");
    /* And for who banned it, as soon as this node has read the store's list as far. */
    for (int look = 0; !sees_now(f.node[1], "k", "two") && look < LOOKS; look++) {
        redis_cache_nap(5);
        set_tagged(f.node[0], "k", "two", "red");
    }
    redis_cache_expect(f.node[1], "k", STRATA_OK, "two");
    set_tagged(f.node[0], "k", "three", NULL); /* without tags now */
    assert_int_equal(strata_ban_tag(f.node[0], "red", STRATA_BAN_HARD, NULL), STRATA_OK);
    redis_cache_expect(f.node[0], "k", STRATA_OK, "three");
    for (int i = 0; i < NODES; i++)
        redis_cache_expect(f.node[i], "other", STRATA_OK, "blue");
    close_fleet(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_load_in_flight_and_a_delete_elsewhere),
        cmocka_unit_test(who_asks_after_a_delete_joins_no_older_load),
        cmocka_unit_test(sets_on_both_nodes_leave_one_of_them),
        cmocka_unit_test(a_server_that_failed_is_noticed),
        cmocka_unit_test(tracking_is_armed_before_anything_is_trusted),
        cmocka_unit_test(a_bus_that_is_away_at_first_comes_later),
        cmocka_unit_test(who_has_no_bus_is_told),
        cmocka_unit_test(a_delete_during_an_outage_holds),
        cmocka_unit_test(a_hit_needs_no_server),
        cmocka_unit_test(a_bulk_delete_of_any_size_reaches_peers),
        cmocka_unit_test(a_set_makes_nobody_read_at_once),
        cmocka_unit_test(a_clear_of_a_namespace_leaves_its_neighbours),
        cmocka_unit_test(programs_on_one_server_leave_each_other_alone),
        cmocka_unit_test(what_was_cleared_is_not_served_when_the_origin_fails),
        cmocka_unit_test(a_tag_is_as_new_as_its_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
