/* test_redis_set_if.c - compare and set over a real Redis, by caches that have memory and a bus: none of many writers' work is lost; a
 * server that was emptied; one that runs no scripts for its user. */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/redis_cache.h"
#include "tests/support/redis_do.h"
#include "tests/support/redis_server.h"

enum { NODES = 2, WRITERS = 4, EACH = 40 };

static struct redis_server server;
static struct redis_link *other;
static strata *node[NODES];
static strata_error err;

static const strata_entry_version none = { 0, 0 };

static int start_server(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    other = redis_do_open(&server);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    strata__redis_close(other);
    redis_server_stop(&server);
    return 0;
}

static int open_nodes(void **state)
{
    (void)state;
    redis_do(other, "FLUSHALL");
    for (int i = 0; i < NODES; i++) {
        char url[256];
        (void)snprintf(url, sizeof url, "memory: | redis://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT,
                       (unsigned)server.port);
        if (strata_open_url(&node[i], url, NULL, &err) != STRATA_OK)
            fail_msg("%s: %s", url, err.message);
    }
    return 0;
}

static int close_nodes(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++)
        (void)strata_close(node[i]);
    return 0;
}

static int set_if(strata *cache, const char *text, int32_t only, strata_entry_version seen, strata_error *words)
{
    strata_condition c = STRATA_CONDITION_INIT;
    c.only = only;
    c.version = seen;
    return strata_set_if(cache, strata_str("k"), strata_str(text), &c, NULL, NULL, words);
}

static strata_entry_version version_of(strata *cache)
{
    strata_entry_version v;
    int rc = strata_get_version(cache, strata_str("k"), NULL, &v, &err);
    assert_true(rc == STRATA_OK || rc == STRATA_STALE);
    assert_int_not_equal(v.number, 0);
    return v;
}

struct writer {
    pthread_t thread;
    strata *cache;
    int added, conflicts, failed; /* the last: a status that there should not be */
};

static int add_one(struct writer *w)
{
    strata_value *v = NULL;
    strata_entry_version seen;
    strata_error words;
    char text[24];
    int rc = strata_get_version(w->cache, strata_str("k"), &v, &seen, &words);
    if (rc != STRATA_OK && rc != STRATA_STALE)
        return rc != STRATA_MISS ? rc : STRATA_ELAYER;
    (void)snprintf(text, sizeof text, "%.*s", (int)strata_value_size(v), (const char *)strata_value_data(v));
    strata_value_unref(v);
    (void)snprintf(text, sizeof text, "%d", atoi(text) + 1);
    return set_if(w->cache, text, STRATA_IF_VERSION, seen, &words);
}

static void *write_some(void *ctx)
{
    struct writer *w = ctx;
    while (w->added < EACH && w->failed == 0) {
        int rc = add_one(w);
        if (rc == STRATA_ECONFLICT)
            w->conflicts++;
        else if (rc < 0)
            w->failed = rc;
        else
            w->added++;
    }
    return NULL;
}

/* What a cache that holds nothing itself finds. */
static void is_stored(const char *text)
{
    strata *fresh = redis_cache_open("redis://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT, server.port);
    redis_cache_expect(fresh, "k", STRATA_OK, text);
    (void)strata_close(fresh);
}

/* Or a bus is not up yet, or again. */
static void is_set(int rc)
{
    if (rc != STRATA_OK && rc != STRATA_PENDING)
        fail_msg("%d: %s", rc, err.message);
}

static void none_is_lost(void **state)
{
    (void)state;
    struct writer writers[WRITERS] = { 0 };
    char text[24];
    uint64_t conflicts = 0;
    is_set(set_if(node[0], "0", STRATA_IF_ABSENT, none, &err));
    for (int i = 0; i < WRITERS; i++) {
        writers[i].cache = node[i % NODES];
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_some, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        (void)pthread_join(writers[i].thread, NULL);
        conflicts += (uint64_t)writers[i].conflicts;
    }
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(writers[i].failed, 0);
    (void)snprintf(text, sizeof text, "%d", WRITERS * EACH);
    is_stored(text);
    for (int i = 0; i < NODES; i++) {
        strata_stats s = STRATA_STATS_INIT;
        assert_int_equal(strata_stats_get(node[i], &s), STRATA_OK);
        conflicts -= s.conflicts;
    }
    assert_int_equal(conflicts, 0);
}

/* What was read before the server lost everything is no more, whatever comes in its place. */
static void an_emptied_server(void **state)
{
    (void)state;
    is_set(set_if(node[0], "1", STRATA_IF_ABSENT, none, &err));
    strata_entry_version seen = version_of(node[1]);
    redis_do(other, "FLUSHALL");
    assert_int_equal(set_if(node[1], "x", STRATA_IF_VERSION, seen, &err), STRATA_ECONFLICT);
    assert_int_equal(set_if(node[1], "x", STRATA_IF_PRESENT, none, &err), STRATA_ECONFLICT);
    is_set(set_if(node[0], "2", STRATA_IF_ABSENT, none, &err));
    assert_int_equal(set_if(node[1], "x", STRATA_IF_VERSION, seen, &err), STRATA_ECONFLICT);
    is_set(set_if(node[1], "3", STRATA_IF_VERSION, version_of(node[0]), &err));
    is_stored("3");
}

static void without_scripts(void **state)
{
    (void)state;
    char url[256], got[16];
    strata *cache = NULL;
    assert_int_equal(redis_do(other, "ACL", "SETUSER", "plain", "reset", "on", ">pw", "~*").kind, REDIS_IS_STATUS);
    assert_int_equal(redis_do(other, "ACL", "SETUSER", "plain", "&*", "+@all", "-@scripting").kind, REDIS_IS_STATUS);
    (void)snprintf(url, sizeof url, "redis://plain:pw@127.0.0.1:%u?prefix=app:&" REDIS_PATIENT, (unsigned)server.port);
    assert_int_equal(open_url_alone(&cache, url, NULL, &err), STRATA_OK);
    assert_true(set_if(cache, "x", STRATA_IF_ABSENT, none, &err) < 0);
    assert_non_null(strstr(err.message, "nothing was changed"));
    assert_non_null(strstr(err.message, "scripts"));
    assert_int_equal(redis_cache_get(cache, "k", NULL, 0, &err), STRATA_MISS);
    assert_true(strata_set(cache, strata_str("k"), strata_str("1"), NULL, &err) >= 0);
    strata_entry_version v = { 7, 7 };
    assert_int_equal(strata_get_version(cache, strata_str("k"), NULL, &v, &err), STRATA_OK);
    assert_int_equal(v.number, 0);
    assert_int_equal(set_if(cache, "x", STRATA_IF_PRESENT, none, &err), STRATA_EUNSUPPORTED);
    assert_int_equal(redis_cache_get(cache, "k", got, sizeof got, &err), STRATA_OK);
    assert_string_equal(got, "1");
    (void)strata_close(cache);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, open_nodes, close_nodes)
    const struct CMUnitTest tests[] = {
        CASE(none_is_lost),
        CASE(an_emptied_server),
        CASE(without_scripts),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
