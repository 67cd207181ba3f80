/* test_redis_outage.c - a real server that is killed, stopped and emptied under load, and what every caller gets meanwhile and
 * afterwards: loads are answered, memory hits go on, deletes that could not be told are told, and nothing that was deleted comes
 * back.  STRATA_TEST_LONG=1 makes the outages longer. */
#include "tests/support/open_alone.h"
#include "tests/support/redis_cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/redis_do.h"
#include "tests/support/still_threads.h"

static struct redis_server server;
static strata_error err;

/* Quick to notice, so that an outage is one, and quick to look again. */
#define IMPATIENT \
    "soft_timeout_ms=30ms&timeout_ms=100ms&connect_timeout_ms=200ms&breaker_failures=3&breaker_open_ms=40ms"
#define REDIS "redis://127.0.0.1:%u?prefix=app:&" IMPATIENT
#define MEMORY_REDIS "memory:?max_bytes=4mb | " REDIS

static long scaled_ms(long shorter, long longer)
{
    const char *text = getenv("STRATA_TEST_LONG");
    return text != NULL && text[0] == '1' ? longer : shorter;
}

static int empty(void **state)
{
    (void)state;
    struct redis_link *link = redis_do_open(&server);
    int status = redis_do(link, "FLUSHALL").status;
    strata__redis_close(link);
    return status;
}

/* A busy machine may make a well server look slow to these timeouts. */
static void set_at_last(strata *cache, const char *key, const char *text)
{
    while (strata_set(cache, strata_str(key), strata_str(text), NULL, &err) != STRATA_OK)
        redis_cache_nap(1);
}

/* Load ---------------------------------------------------------------------------------------------------------- */

enum { WORKERS = 4, KEYS = 64 };

static struct {
    strata *cache;
    _Atomic(int) over;
    _Atomic(uint64_t) calls, failed;
    char words[256]; /* of one that failed */
} load;

/* Get-or-loads, sets and deletes: a load never fails, whatever becomes of the server. */
static void *work(void *ctx)
{
    uint64_t random = (uintptr_t)ctx * 7919 + 1;
    while (!atomic_load(&load.over)) {
        char key[32];
        strata_value *v = NULL;
        strata_error why = STRATA_ERROR_INIT;
        random = random * 6364136223846793005u + 1442695040888963407u;
        (void)snprintf(key, sizeof key, "busy:%u", (unsigned)(random >> 33) % KEYS);
        unsigned what = (unsigned)(random >> 50) % 16;
        if (what == 0)
            (void)strata_delete(load.cache, strata_str(key), NULL);
        else if (what == 1)
            (void)strata_set(load.cache, strata_str(key), strata_str("set"), NULL, NULL);
        else if (strata_get_or_load(load.cache, strata_str(key), redis_cache_load, NULL, NULL, &v, &why) < 0 &&
                 atomic_fetch_add(&load.failed, 1) == 0)
            memcpy(load.words, why.message, sizeof load.words);
        strata_value_unref(v);
        atomic_fetch_add(&load.calls, 1);
    }
    return NULL;
}

static void start_load(pthread_t threads[WORKERS], strata *cache)
{
    load.cache = cache;
    atomic_store(&load.over, 0);
    atomic_store(&load.calls, 0);
    atomic_store(&load.failed, 0);
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i), 0);
}

/* So many calls more, at least: the load is on, whatever the machine is busy with. */
static void let_it_work(uint64_t calls)
{
    uint64_t until = atomic_load(&load.calls) + calls;
    while (atomic_load(&load.calls) < until)
        redis_cache_nap(1);
}

static void end_load(pthread_t threads[WORKERS])
{
    atomic_store(&load.over, 1);
    for (size_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    if (atomic_load(&load.failed) != 0)
        fail_msg("%llu loads failed: %s", (unsigned long long)atomic_load(&load.failed), load.words);
}

/* The layer is used again: what one cache stores there the other finds, and nothing is left to be told. */
static void await_recovery(strata *cache, size_t layer)
{
    for (;;) {
        strata_layer_stats s = redis_cache_stats(cache, layer);
        if (s.breaker == STRATA_BREAKER_CLOSED && s.queued_deletes == 0 && strata_ping(cache, layer, NULL) == STRATA_OK)
            break;
        redis_cache_nap(5);
    }
    set_at_last(cache, "back", "again");
    strata *other = redis_cache_open("redis://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT, server.port);
    redis_cache_expect(other, "back", STRATA_OK, "again");
    strata_close(other);
}

/* Tests --------------------------------------------------------------------------------------------------------- */

static void killed_and_started_again_under_load(void **state)
{
    (void)state;
    pthread_t threads[WORKERS];
    strata *cache = redis_cache_open(REDIS, server.port);
    start_load(threads, cache);
    for (long i = 0; i < scaled_ms(3, 20); i++) {
        let_it_work(200);
        redis_server_kill(&server);
        let_it_work(200);
        redis_server_restart(&server);
    }
    end_load(threads);
    await_recovery(cache, 0);
    strata_close(cache);
}

static void emptied_under_load(void **state)
{
    (void)state;
    pthread_t threads[WORKERS];
    strata *cache = redis_cache_open(REDIS, server.port);
    struct redis_link *link = redis_do_open(&server);
    start_load(threads, cache);
    for (long i = 0; i < scaled_ms(20, 200); i++) {
        let_it_work(50);
        assert_int_equal(redis_do(link, "FLUSHALL").status, STRATA_OK);
    }
    end_load(threads);
    strata__redis_close(link);
    await_recovery(cache, 0);
    strata_close(cache);
}

static void stopped_for_a_while(void **state)
{
    (void)state;
    int loads = 0;
    pthread_t threads[WORKERS];
    strata *cache = redis_cache_open(MEMORY_REDIS, server.port);
    set_at_last(cache, "warm", "warm");
    set_at_last(cache, "gone", "gone");
    redis_server_pause(&server);
    start_load(threads, cache);
    /* Not an answer to be had, and this one is told later. */
    assert_int_equal(strata_delete(cache, strata_str("gone"), &err), STRATA_PENDING);
    redis_cache_loads(cache, "cold", &loads);
    assert_int_equal(loads, 1);
    let_it_work(500);
    redis_cache_nap(scaled_ms(1000, 5000));
    let_it_work(500);
    redis_cache_expect(cache, "warm", STRATA_OK, "warm");
    assert_true(redis_cache_stats(cache, 1).breaker_opened > 0);
    assert_true(redis_cache_get(cache, "gone", NULL, 0, &err) != STRATA_OK);
    end_load(threads);
    redis_server_resume(&server);
    await_recovery(cache, 1);
    strata *other = redis_cache_open("redis://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT, server.port);
    redis_cache_expect(other, "gone", STRATA_MISS, NULL);
    strata_close(other);
    strata_close(cache);
}

static void deletes_of_an_outage_are_told_afterwards(void **state)
{
    enum { GONE = 200 };
    (void)state;
    char key[32];
    strata *cache = redis_cache_open(REDIS, server.port);
    strata *other = redis_cache_open("redis://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT, server.port);
    for (int i = 0; i < 2 * GONE; i++)
        redis_cache_set(other, (snprintf(key, sizeof key, "key:%d", i), key), "v");
    redis_server_pause(&server);
    for (int i = 0; i < GONE; i++)
        assert_int_equal(strata_delete(cache, strata_str((snprintf(key, sizeof key, "key:%d", i), key)), &err),
                         STRATA_PENDING);
    assert_int_equal(redis_cache_stats(cache, 0).queued_deletes, GONE);
    redis_server_resume(&server);
    await_recovery(cache, 0);
    for (int i = 0; i < 2 * GONE; i++)
        redis_cache_expect(other, (snprintf(key, sizeof key, "key:%d", i), key), i < GONE ? STRATA_MISS : STRATA_OK,
                           i < GONE ? NULL : "v");
    strata_close(other);
    assert_int_equal(strata_close(cache), STRATA_OK);
}

/* What is closed before the server is back says that it had something to tell. */
static void deletes_that_are_lost_are_said_so(void **state)
{
    (void)state;
    strata *cache = redis_cache_open(REDIS, server.port);
    set_at_last(cache, "k", "v");
    redis_server_pause(&server);
    assert_int_equal(strata_delete(cache, strata_str("k"), &err), STRATA_PENDING);
    int rc = strata_close(cache);
    redis_server_resume(&server);
    assert_int_equal(rc, STRATA_PENDING);
}

/* A child that opens its copy anew owes nothing and is owed nothing: the parent tells its own deletes. */
static void reopened_in_a_child_during_an_outage(void **state)
{
    (void)state;
#if defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */
    skip();
#endif
    strata *cache = redis_cache_open(REDIS, server.port);
    set_at_last(cache, "gone", "v");
    set_at_last(cache, "stays", "w");
    redis_server_pause(&server);
    assert_int_equal(strata_delete(cache, strata_str("gone"), &err), STRATA_PENDING);
    for (int i = 0; i < 4; i++)
        assert_true(redis_cache_get(cache, "stays", NULL, 0, &err) < 0);
    assert_true(redis_cache_stats(cache, 0).breaker_opened > 0);
    wait_for_still_threads();
    pid_t child = fork();
    if (child == 0) {
        strata_layer_stats s = STRATA_LAYER_STATS_INIT;
        int bad = strata_reopen(cache, &err) != STRATA_OK || strata_stats_layer(cache, 0, &s) != STRATA_OK ||
                  s.queued_deletes != 0 || s.breaker != STRATA_BREAKER_CLOSED;
        redis_server_resume(&server);
        int rc = STRATA_EIO;
        for (int i = 0; i < 12000 && rc != STRATA_OK; i++, redis_cache_nap(5))
            rc = redis_cache_get(cache, "stays", NULL, 0, &err);
        bad |= rc != STRATA_OK ? 2 : 0;
        strata_close(cache);
        _exit(bad);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    await_recovery(cache, 0);
    redis_cache_await(cache, "gone", STRATA_MISS);
    redis_cache_await(cache, "stays", STRATA_OK);
    strata_close(cache);
}

/* Writes to memory and a server that is gone, as each policy calls them. */
static void writes_of_an_outage(int32_t policy)
{
    char url[256], got[64];
    strata *cache = NULL;
    strata_options options = STRATA_OPTIONS_INIT;
    options.write_policy = policy;
    (void)snprintf(url, sizeof url, MEMORY_REDIS, (unsigned)server.port);
    assert_int_equal(open_url_alone(&cache, url, &options, &err), STRATA_OK);
    set_at_last(cache, "k", "old");
    redis_server_pause(&server);
    for (int i = 0; i < 8; i++) { /* before the breaker opens, and after */
        int set = strata_set(cache, strata_str("k"), strata_str("new"), NULL, &err);
        int rc = redis_cache_get(cache, "k", got, sizeof got, &err);
        int deleted = strata_delete(cache, strata_str("other"), &err);
        if (policy == STRATA_WRITE_STRICT) {
            assert_int_equal(set, STRATA_ELAYER);
            assert_int_equal(deleted, STRATA_ELAYER);
            assert_non_null(strstr(err.message, "redis"));
            assert_true(rc == STRATA_MISS || rc == STRATA_ELAYER); /* neither the new value nor the old one */
            continue;
        }
        assert_true(set == STRATA_PENDING || (policy == STRATA_WRITE_DEFAULT ? set == STRATA_ELAYER : set == STRATA_OK));
        assert_true(deleted == STRATA_PENDING ||
                    (policy == STRATA_WRITE_DEFAULT ? deleted == STRATA_ELAYER : deleted == STRATA_OK));
        assert_int_equal(rc, STRATA_OK); /* memory has it */
        assert_string_equal(got, "new");
    }
    redis_server_resume(&server);
    set_at_last(cache, "k", "back");
    redis_cache_expect(cache, "k", STRATA_OK, "back");
    strata_close(cache);
}

static void each_policy_calls_writes_of_an_outage_so(void **state)
{
    (void)state;
    for (int32_t policy = STRATA_WRITE_DEFAULT; policy <= STRATA_WRITE_STRICT; policy++)
        writes_of_an_outage(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(killed_and_started_again_under_load, empty),
        cmocka_unit_test_setup(emptied_under_load, empty),
        cmocka_unit_test_setup(stopped_for_a_while, empty),
        cmocka_unit_test_setup(deletes_of_an_outage_are_told_afterwards, empty),
        cmocka_unit_test_setup(deletes_that_are_lost_are_said_so, empty),
        cmocka_unit_test_setup(each_policy_calls_writes_of_an_outage_so, empty),
        cmocka_unit_test_setup(reopened_in_a_child_during_an_outage, empty),
    };
    redis_server_start(&server, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    redis_server_stop(&server);
    return failed;
}
