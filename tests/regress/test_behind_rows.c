/* test_behind_rows.c - write-behind as others have it, and what it must not do: over the public API, two nodes and a real server. */
#include <stdio.h>
#include <string.h>

#include "tests/regress/coherence_rows.h"

enum { ROUNDS = 60 };

static const strata_policy later = { STRATA_SIZED(strata_policy), .write_behind_ms = 30 };
static const strata_policy much_later = { STRATA_SIZED(strata_policy), .write_behind_ms = 600000 };

static uint64_t queued(strata *cache)
{
    strata_stats s = { .size = sizeof s };
    assert_int_equal(strata_stats_get(cache, &s), STRATA_OK);
    return s.behind_queued;
}

static strata_stats stats_of(strata *cache)
{
    strata_stats s = { .size = sizeof s };
    assert_int_equal(strata_stats_get(cache, &s), STRATA_OK);
    return s;
}

static void until_written(strata *cache)
{
    for (int i = 0; queued(cache) != 0; i++) {
        if (i == LOOKS)
            fail_msg("never written");
        redis_cache_nap(5);
    }
}

/* The server has spoken to each node: from then on sets may wait. */
static void greet(struct fleet_of_two *f)
{
    for (int i = 0; i < NODES; i++)
        redis_cache_set(f->node[i], "hello", "x");
}

static void set_later(strata *cache, const char *key, const char *text, const strata_policy *policy)
{
    strata_error err = STRATA_ERROR_INIT;
    int rc = strata_set(cache, strata_str(key), strata_str(text), policy, &err);
    if (rc != STRATA_PENDING)
        fail_msg("set: %d %s", rc, err.message);
}

/* W17: peers are told to forget the key before the queued write has landed, read the old value up again, and keep it for a whole ttl. */
static void peers_hear_of_a_queued_write_once_it_is_in_the_store(void **state)
{
    struct fleet_of_two f;
    (void)state;
    open_fleet(&f);
    greet(&f);
    redis_cache_set(f.node[0], "k", "0");
    all_see_text(&f, "k", "0");
    for (int i = 1; i <= ROUNDS; i++) {
        char text[16], got[32];
        strata_error err;
        (void)snprintf(text, sizeof text, "%d", i);
        set_later(f.node[0], "k", text, &later);
        assert_int_equal(redis_cache_get(f.node[0], "k", got, sizeof got, &err), STRATA_OK);
        assert_string_equal(got, text);
        (void)redis_cache_get(f.node[1], "k", got, sizeof got,
                              &err); /* the old one, or the new one: it is in memory then */
        sees_text(f.node[1], "k", text);
        until_written(f.node[0]);
        all_see_text(&f, "k", text);
    }
    assert_int_equal(stats_of(f.node[0]).behind_written, ROUNDS);
    close_fleet(&f);
}

/* W18: a peer's write cancels a local one that is on its way, and both are gone. */
static void of_two_that_meet_one_is_there(void **state)
{
    struct fleet_of_two f;
    (void)state;
    open_fleet(&f);
    greet(&f);
    for (int i = 0; i < ROUNDS; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i);
        set_later(f.node[0], key, "queued", &later);
        redis_cache_set(f.node[1], key, "direct");
        until_written(f.node[0]);
        all_see_text(&f, key, "direct");
    }
    strata_stats s = stats_of(f.node[0]);
    assert_int_equal(s.sets_behind, s.behind_written + s.behind_dropped + s.behind_refused);
    close_fleet(&f);
}

/* W2, and the queue of W17: what was deleted meanwhile is back once the queue is written; with a bus, and with none. */
static void a_delete_elsewhere_is_not_undone_by_the_queue(void **state)
{
    (void)state;
    for (int without_bus = 0; without_bus < 2; without_bus++) {
        struct fleet_of_two f;
        struct shape shape = { .without_bus = without_bus, .trust_ms = without_bus ? SHORT_MS : 0 };
        if (without_bus) { /* there is no trust to wait for */
            memset(&f, 0, sizeof f);
            redis_server_start(&f.server, NULL);
            f.redis_cli = redis_do_open(&f.server);
            for (int i = 0; i < NODES; i++)
                f.node[i] = open_node(&f, &shape);
        } else {
            open_shaped(&f, &shape);
        }
        greet(&f);
        for (int i = 0; i < ROUNDS; i++) {
            char key[24];
            (void)snprintf(key, sizeof key, "k%d", i);
            redis_cache_set(f.node[1], key, "before");
            redis_cache_nap(2);
            set_later(f.node[0], key, "queued", &later);
            redis_cache_nap(i % 5 == 0 ? 3 : 0);
            assert_int_equal(strata_delete(f.node[1], strata_str(key), NULL), STRATA_OK);
        }
        until_written(f.node[0]);
        for (int i = 0; i < ROUNDS; i++) {
            char key[24];
            (void)snprintf(key, sizeof key, "k%d", i);
            redis_cache_await(f.node[1], key, STRATA_MISS);
            if (!without_bus ||
                stats_of(f.node[0]).behind_written == 0) /* else it was in time, and nobody tells this node */
                redis_cache_await(f.node[0], key, STRATA_MISS);
        }
        close_fleet(&f);
    }
}

/* Row "Write-behind": a delete, or a set that does not wait, of a node's own is overtaken by its queue. */
static void the_queue_overtakes_nothing_of_its_own_node(void **state)
{
    struct fleet_of_two f;
    (void)state;
    open_fleet(&f);
    greet(&f);
    for (int i = 0; i < ROUNDS; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i);
        set_later(f.node[0], key, "queued", &later);
        if (i % 3 == 0)
            assert_int_equal(strata_delete(f.node[0], strata_str(key), NULL), STRATA_OK);
        else if (i % 3 == 1)
            redis_cache_set(f.node[0], key, "direct");
        else {
            assert_int_equal(strata_delete(f.node[0], strata_str(key), NULL), STRATA_OK);
            set_later(f.node[0], key, "again", &later);
        }
    }
    until_written(f.node[0]);
    for (int i = 0; i < ROUNDS; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i);
        if (i % 3 == 0)
            all_see(&f, key, STRATA_MISS);
        else
            all_see_text(&f, key, i % 3 == 1 ? "direct" : "again");
    }
    assert_int_equal(stats_of(f.node[0]).behind_refused, 0);
    close_fleet(&f);
}

/* Row "Write-behind": what disconnecting does not flush is lost; what was cleared is written all the same. */
static void closing_writes_all_but_what_was_cleared(void **state)
{
    struct fleet_of_two f;
    (void)state;
    open_fleet(&f);
    greet(&f);
    set_later(f.node[0], "before", "x", &much_later);
    assert_int_equal(strata_clear(f.node[0], NULL), STRATA_OK);
    for (int i = 0; i < 2000; i++) {
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i);
        set_later(f.node[0], key, "x", &much_later);
    }
    assert_int_equal(strata_close(f.node[0]), STRATA_OK);
    f.node[0] = open_node(&f, &(struct shape){ 0 });
    for (int i = 0; i < 2000; i += 7) {
        char key[24];
        (void)snprintf(key, sizeof key, "k%d", i);
        all_see_text(&f, key, "x");
    }
    all_see(&f, "before", STRATA_MISS);
    close_fleet(&f);
}

/* Row "Write-behind": a batch that fails is dropped, and nobody told; the old value is served again. */
static void an_outage_is_told_and_leaves_nothing_older(void **state)
{
    struct fleet_of_two f;
    char got[32];
    strata_error err;
    (void)state;
    open_shaped(&f, &(struct shape){ .timeout_ms = SHORT_MS });
    greet(&f);
    redis_cache_set(f.node[0], "k", "old");
    all_see_text(&f, "k", "old");
    redis_server_pause(&f.server);
    set_later(f.node[0], "k", "new", &later);
    until_written(f.node[0]);
    assert_int_equal(stats_of(f.node[0]).behind_failed, 1);
    assert_int_equal(redis_cache_get(f.node[0], "k", got, sizeof got, &err) >= 0, 1);
    assert_string_equal(got, "new");
    redis_server_resume(&f.server);
    /* The store is told to forget it; what this node set then goes through again. */
    for (int i = 0; i < LOOKS; i++) {
        int rc = strata_set(f.node[0], strata_str("k"), strata_str("newer"), NULL, NULL);
        assert_true(rc >= 0 || rc == STRATA_ELAYER);
        (void)redis_cache_get(f.node[1], "k", got, sizeof got, &err);
        if (strcmp(got, "newer") == 0)
            break;
        redis_cache_nap(5);
    }
    all_see_text(&f, "k", "newer");
    close_fleet(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peers_hear_of_a_queued_write_once_it_is_in_the_store),
        cmocka_unit_test(of_two_that_meet_one_is_there),
        cmocka_unit_test(a_delete_elsewhere_is_not_undone_by_the_queue),
        cmocka_unit_test(the_queue_overtakes_nothing_of_its_own_node),
        cmocka_unit_test(closing_writes_all_but_what_was_cleared),
        cmocka_unit_test(an_outage_is_told_and_leaves_nothing_older),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
