/* test_redis_cache.c - caches that share one Redis: what one stores the other finds, how long it may keep that, what happens
 * without the server, and after fork(). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "strata/strata.h"
#include "tests/support/open_alone.h"
#include "tests/support/redis_do.h"

enum { LOOKS = 4000, LOOK_NS = 5 * 1000 * 1000 };

static struct redis_server server;
static strata_error err;

/* `format` has a %u for the port.  Timeouts that no busy machine passes: where the server is gone, that is known at once. */
static strata *open_stack(const char *format, const strata_options *options)
{
    char url[256];
    strata *cache = NULL;
    snprintf(url, sizeof url, format, (unsigned)server.port);
    if (open_url_alone(&cache, url, options, &err) != STRATA_OK)
        fail_msg("%s: %s", url, err.message);
    return cache;
}

#define PATIENT "soft_timeout_ms=60s&timeout_ms=60s&connect_timeout_ms=60s"
#define REDIS "redis://127.0.0.1:%u?" PATIENT "&prefix=app:"
#define MEMORY_REDIS "memory:?max_bytes=1mb | " REDIS

static void set(strata *cache, const char *key, const char *text, int64_t ttl_ms)
{
    const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = ttl_ms };
    if (strata_set(cache, strata_str(key), strata_str(text), &policy, &err) != STRATA_OK)
        fail_msg("set %s: %s", key, err.message);
}

static void expect(strata *cache, const char *key, int status, const char *text)
{
    strata_value *v = NULL;
    int rc = strata_get(cache, strata_str(key), &v, &err);
    if (rc != status)
        fail_msg("get %s: %d (%s)", key, rc, rc < 0 ? err.message : "");
    if (text != NULL) {
        assert_int_equal(strata_value_size(v), strlen(text));
        assert_memory_equal(strata_value_data(v), text, strlen(text));
    }
    strata_value_unref(v);
}

static int load_fresh(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    ++*(int *)ctx;
    return strata_load_copy(load, "loaded", 6);
}

static void get_or_load(strata *cache, const char *key, int *loads)
{
    strata_value *v = NULL;
    int rc = strata_get_or_load(cache, strata_str(key), load_fresh, loads, NULL, &v, &err);
    if (rc != STRATA_OK)
        fail_msg("get or load %s: %d (%s)", key, rc, err.message);
    assert_int_equal(strata_value_size(v), 6);
    strata_value_unref(v);
}

static int empty(void **state)
{
    (void)state;
    struct redis_link *link = redis_do_open(&server);
    int status = redis_do(link, "FLUSHALL").status;
    strata__redis_close(link);
    return status;
}

static void test_two_caches_share(void **state)
{
    (void)state;
    int loads = 0;
    /* b answers when Redis has what it loaded: with memory it would not wait for that. */
    strata *a = open_stack(MEMORY_REDIS, NULL), *b = open_stack(REDIS, NULL);
    set(a, "k", "of a", 60000);
    expect(b, "k", STRATA_OK, "of a");
    get_or_load(b, "cold", &loads);
    get_or_load(a, "cold", &loads);
    assert_int_equal(loads, 1);
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(a, 1, &s), STRATA_OK);
    assert_string_equal(s.name, "redis");
    assert_int_equal(s.hits, 1);
    assert_true(strncmp(s.server, "Redis ", 6) == 0 || strncmp(s.server, "Valkey ", 7) == 0);
    assert_int_equal(strata_delete(a, strata_str("k"), &err), STRATA_OK);
    strata *c = open_stack(REDIS, NULL);
    expect(c, "k", STRATA_MISS, NULL);
    strata_close(c);
    strata_close(b);
    strata_close(a);
}

/* A server's keys are counted where nothing nearer keeps count: those behind the prefix, without what was deleted. */
static void test_size_is_memorys_or_counted(void **state)
{
    (void)state;
    uint64_t size = 77;
    strata *alone = open_stack(REDIS, NULL), *both = open_stack(MEMORY_REDIS, NULL);
    set(alone, "k", "v", 60000);
    set(alone, "gone", "v", 60000);
    assert_int_equal(strata_delete(alone, strata_str("gone"), &err), STRATA_OK);
    assert_int_equal(strata_size(alone, &size, &err), STRATA_OK);
    assert_int_equal(size, 1);
    set(alone, "second", "v", 60000);
    assert_int_equal(strata_size(alone, &size, &err), STRATA_OK);
    assert_int_equal(size, 2);
    expect(both, "k", STRATA_OK, "v");
    assert_int_equal(strata_size(both, &size, &err), STRATA_OK);
    assert_int_equal(size, 1);
    strata_close(alone);
    strata_close(both);
}

static void test_memory_keeps_it_no_longer_than_redis(void **state)
{
    (void)state;
    strata *a = open_stack(REDIS, NULL);
    set(a, "k", "v", 60000);
    strata_close(a);
    strata *b = open_stack(MEMORY_REDIS, NULL); /* whose own ttl is an hour */
    expect(b, "k", STRATA_OK, "v");
    strata_inspection seen = { .size = sizeof seen };
    assert_int_equal(strata_inspect(b, strata_str("k"), &seen, &err), STRATA_OK);
    assert_int_equal(seen.layers & 1, 1); /* memory has it now */
    int64_t ttl_ms = 0;
    assert_int_equal(strata_ttl(b, strata_str("k"), &ttl_ms, &err), STRATA_OK);
    assert_in_range(ttl_ms, 0, 60000);
    strata_close(b);
}

/* "Five seconds in memory, a minute in Redis", of what lives for an hour: the server says so, too. */
static void test_each_layer_keeps_it_for_its_own_time(void **state)
{
    (void)state;
    strata *a = open_stack("memory:?max_bytes=1mb&max_ttl_ms=5s | " REDIS "&max_ttl_ms=60s", NULL);
    strata *b = open_stack(REDIS, NULL);
    set(a, "k", "v", 3600000);
    int64_t ttl_ms = 0;
    assert_int_equal(strata_ttl(a, strata_str("k"), &ttl_ms, &err), STRATA_OK);
    assert_in_range(ttl_ms, 0, 5000);
    assert_int_equal(strata_ttl(b, strata_str("k"), &ttl_ms, &err), STRATA_OK);
    assert_in_range(ttl_ms, 0, 60000);
    struct redis_link *link = redis_do_open(&server);
    struct redis_answer got = redis_do(link, "EVAL", "return redis.call('PTTL', ARGV[1])", "0", "app:k");
    assert_int_equal(got.status, STRATA_OK);
    assert_in_range(got.integer, 0, 60000);
    strata__redis_close(link);
    expect(b, "k", STRATA_OK, "v");
    strata_close(a);
    strata_close(b);
}

static void test_namespaces_and_clear(void **state)
{
    (void)state;
    strata *a = open_stack(REDIS, NULL), *b = open_stack(REDIS, NULL), *users = NULL, *users_b = NULL;
    assert_int_equal(strata_namespace(a, "users", NULL, &users, &err), STRATA_OK);
    assert_int_equal(strata_namespace(b, "users", NULL, &users_b, &err), STRATA_OK);
    set(a, "k", "root", 60000);
    set(users, "k", "user", 60000);
    expect(users_b, "k", STRATA_OK, "user");
    assert_int_equal(strata_clear(users, &err), STRATA_OK);
    expect(users_b, "k", STRATA_MISS, NULL);
    expect(b, "k", STRATA_OK, "root");
    assert_int_equal(strata_clear(a, &err), STRATA_OK);
    expect(b, "k", STRATA_MISS, NULL);
    strata_close(users);
    strata_close(users_b);
    strata_close(b);
    strata_close(a);
}

/* It is refused in words, and the layer goes on. */
static void test_a_clear_of_a_whole_database_is_refused(void **state)
{
    (void)state;
    char url[64];
    snprintf(url, sizeof url, "redis://127.0.0.1:%u", (unsigned)server.port);
    const strata_redis_options redis = { STRATA_SIZED(strata_redis_options), .url = url, .prefix = "",
                                         .soft_timeout_ms = 60000, .timeout_ms = 60000 };
    strata_layer *layers[] = { strata_redis_layer(&redis) };
    const strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = 1 };
    strata *cache = NULL, *users = NULL;
    assert_int_equal(open_alone(&cache, &options, &err), STRATA_OK);
    assert_int_equal(strata_namespace(cache, "users", NULL, &users, &err), STRATA_OK);
    set(users, "k", "v", 60000);
    assert_int_equal(strata_clear(users, &err), STRATA_OK);
    expect(users, "k", STRATA_MISS, NULL);
    assert_int_equal(strata_clear(cache, &err), STRATA_ELAYER);
    if (strstr(err.message, "allow_clear_all") == NULL)
        fail_msg("%s", err.message);
    set(cache, "k", "v", 60000);
    expect(cache, "k", STRATA_OK, "v");
    strata_close(users);
    strata_close(cache);
}

static void test_by_socket_database_and_password(void **state)
{
    (void)state;
    struct redis_server locked;
    char url[512];
    strata *a = NULL, *b = NULL;
    redis_server_start(&locked, "p@ss/w?rd|%");
    snprintf(url, sizeof url, "redis://:p%%40ss%%2Fw%%3Frd%%7C%%25@127.0.0.1:%u/3?" PATIENT, (unsigned)locked.port);
    assert_int_equal(open_url_alone(&a, url, NULL, &err), STRATA_OK);
    set(a, "k", "v", 60000);
    expect(a, "k", STRATA_OK, "v");
    snprintf(url, sizeof url, "unix://:p%%40ss%%2Fw%%3Frd%%7C%%25@%s?" PATIENT, locked.socket_path);
    assert_int_equal(open_url_alone(&b, url, NULL, &err), STRATA_OK);
    expect(b, "k", STRATA_MISS, NULL); /* another database */
    set(b, "k", "w", 60000);
    expect(a, "k", STRATA_OK, "v");
    strata_close(b);
    strata_close(a);
    static const char *const wrong[] = { "", ":hunter2@" };
    for (size_t i = 0; i < 2; i++) {
        snprintf(url, sizeof url, "redis://%s127.0.0.1:%u?" PATIENT, wrong[i], (unsigned)locked.port);
        assert_int_equal(open_url_alone(&a, url, NULL, &err), STRATA_OK);
        expect(a, "k", STRATA_ELAYER, NULL);
        if (strstr(err.message, i == 0 ? "NOAUTH" : "WRONGPASS") == NULL)
            fail_msg("%s", err.message);
        assert_null(strstr(err.message, "hunter2"));
        strata_close(a);
    }
    redis_server_stop(&locked);
}

static void test_without_the_server_the_loader_answers(void **state)
{
    (void)state;
    int loads = 0;
    strata *cache = open_stack(MEMORY_REDIS, NULL);
    set(cache, "warm", "warm", 60000);
    redis_server_kill(&server);
    expect(cache, "warm", STRATA_OK, "warm"); /* from memory */
    get_or_load(cache, "cold", &loads);
    get_or_load(cache, "cold", &loads);
    assert_int_equal(loads, 1); /* memory has it though the server could not take it */
    expect(cache, "unknown", STRATA_ELAYER, NULL);
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(cache, 1, &s), STRATA_OK);
    assert_true(s.errors > 0);
    redis_server_restart(&server);
    int rc = STRATA_EIO;
    for (int i = 0; i < LOOKS && rc < 0; i++) {
        strata_value *v = NULL;
        nanosleep(&(struct timespec){ 0, LOOK_NS }, NULL);
        rc = strata_get(cache, strata_str("unknown"), &v, &err);
        strata_value_unref(v);
    }
    assert_int_equal(rc, STRATA_MISS); /* it is back, and empty */
    strata_close(cache);
}

static void test_a_server_that_stands_still_is_left_out(void **state)
{
    (void)state;
    int loads = 0;
    strata *cache = open_stack("redis://127.0.0.1:%u?soft_timeout_ms=20ms&timeout_ms=40ms", NULL);
    redis_server_pause(&server);
    for (int i = 1; i <= 8; i++) { /* more than open the breaker */
        get_or_load(cache, "k", &loads);
        assert_int_equal(loads, i);
    }
    redis_server_resume(&server);
    strata_close(cache);
}

/* In a child: 0 if `key` is `text` there. */
static int look(strata *cache, const char *key, const char *text)
{
    strata_value *v = NULL;
    int rc = strata_get(cache, strata_str(key), &v, &err);
    int good = rc == STRATA_OK && strata_value_size(v) == strlen(text) &&
               memcmp(strata_value_data(v), text, strlen(text)) == 0;
    strata_value_unref(v);
    return good ? 0 : 1;
}

static void expect_child(pid_t child)
{
    int status = -1;
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_two_processes_share(void **state)
{
    (void)state;
    strata *cache = open_stack(REDIS, NULL);
    set(cache, "k", "of the parent", 60000);
    strata_close(cache);
    pid_t child = fork();
    if (child == 0) {
        cache = open_stack(MEMORY_REDIS, NULL);
        int failed = look(cache, "k", "of the parent");
        set(cache, "k", "of the child", 60000);
        strata_close(cache);
        _exit(failed);
    }
    expect_child(child);
    cache = open_stack(REDIS, NULL);
    expect(cache, "k", STRATA_OK, "of the child");
    strata_close(cache);
}

static void test_reopened_after_fork(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */
    skip();
#endif
    strata *cache = open_stack(MEMORY_REDIS, NULL);
    set(cache, "k", "v", 60000);
    pid_t child = fork();
    if (child == 0) {
        int failed = strata_reopen(cache, &err) != STRATA_OK || look(cache, "k", "v") != 0;
        failed = failed || strata_set(cache, strata_str("new"), strata_str("w"), NULL, &err) != STRATA_OK;
        strata_close(cache);
        _exit(failed);
    }
    expect_child(child);
    expect(cache, "new", STRATA_OK, "w"); /* the parent's connections are its own yet */
    strata_close(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_two_caches_share, empty),
        cmocka_unit_test_setup(test_memory_keeps_it_no_longer_than_redis, empty),
        cmocka_unit_test_setup(test_size_is_memorys_or_counted, empty),
        cmocka_unit_test_setup(test_each_layer_keeps_it_for_its_own_time, empty),
        cmocka_unit_test_setup(test_namespaces_and_clear, empty),
        cmocka_unit_test_setup(test_a_clear_of_a_whole_database_is_refused, empty),
        cmocka_unit_test(test_by_socket_database_and_password),
        cmocka_unit_test(test_without_the_server_the_loader_answers),
        cmocka_unit_test_setup(test_a_server_that_stands_still_is_left_out, empty),
        cmocka_unit_test_setup(test_two_processes_share, empty),
        cmocka_unit_test_setup(test_reopened_after_fork, empty),
    };
    redis_server_start(&server, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    redis_server_stop(&server);
    return failed;
}
