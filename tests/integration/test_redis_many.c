/* test_redis_many.c - many keys at once from a real Redis: one MGET where all are there, one more trip where it said nil; what is no
 * string, a server that refuses MGET, more keys than one command names; alone, and below a memory layer. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "strata/strata.h"
#include "tests/support/fake_server.h"
#include "tests/support/open_alone.h"
#include "tests/support/redis_do.h"

enum { MANY = 1300 };

static struct redis_server server;
static struct redis_link *other;
static strata *cache;
static strata_error err;

static strata *open_stack(int with_memory, unsigned port, const char *more)
{
    char url[256];
    strata *opened = NULL;
    snprintf(url, sizeof url, "%sredis://127.0.0.1:%u?prefix=app:&connect_timeout_ms=60s%s",
             with_memory ? "memory:?max_bytes=8mb | " : "", port, more);
    if (open_url_alone(&opened, url, NULL, &err) != STRATA_OK)
        fail_msg("%s: %s", url, err.message);
    return opened;
}

#define PATIENT "&soft_timeout_ms=60s&timeout_ms=60s"

static int start(void **state)
{
    (void)state;
    redis_do(other, "FLUSHALL");
    redis_do(other, "CONFIG", "RESETSTAT");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    strata_close(cache);
    cache = NULL;
    return 0;
}

static void set(const char *key, const char *text)
{
    if (strata_set(cache, strata_str(key), strata_str(text), NULL, &err) != STRATA_OK)
        fail_msg("set %s: %s", key, err.message);
}

static strata_item item(const char *key) { return (strata_item){ .key = strata_str(key) }; }

static void expect(strata_item *it, int status, const char *text)
{
    if (it->status != status)
        fail_msg("%.*s: %d", (int)it->key.size, (const char *)it->key.data, it->status);
    assert_int_equal(strata_value_size(it->value), text != NULL ? strlen(text) : 0);
    if (text != NULL)
        assert_memory_equal(strata_value_data(it->value), text, strlen(text));
    strata_value_unref(it->value);
}

/* How often the server carried it out since the test began. */
static int calls_of(const char *command)
{
    char name[128];
    struct redis_answer answer;
    snprintf(name, sizeof name, "return (redis.call('INFO', 'commandstats'):match('cmdstat_%s:calls=(%%d+)') or '0')",
             command);
    answer = redis_do(other, "EVAL", name, "0");
    assert_int_equal(answer.status, STRATA_OK);
    return atoi(answer.text);
}

static void test_hits_take_one_trip(void **state)
{
    (void)state;
    cache = open_stack(0, server.port, PATIENT);
    set("a", "1");
    set("b", "2");
    int gets = calls_of("get");
    for (int i = 0; i < 10; i++) {
        strata_item items[] = { item("a"), item("b"), item("a") };
        assert_int_equal(strata_get_many(cache, items, 3, &err), STRATA_OK);
        expect(&items[0], STRATA_OK, "1");
        expect(&items[1], STRATA_OK, "2");
        expect(&items[2], STRATA_OK, "1");
    }
    assert_int_equal(calls_of("mget"), 10);
    assert_int_equal(calls_of("get"), gets);
}

/* What MGET calls nil is a miss, an error, or somebody else's. */
static void test_nil_is_asked_again(void **state)
{
    (void)state;
    for (int with_memory = 0; with_memory < 2; with_memory++) {
        start(NULL);
        cache = open_stack(with_memory, server.port, PATIENT);
        set("a", "1");
        set("z", "26");
        redis_do(other, "RPUSH", "app:list", "x");
        redis_do(other, "SET", "app:text", "theirs");
        if (with_memory) { /* so that it is asked below */
            strata_close(cache);
            cache = open_stack(1, server.port, PATIENT);
        }
        int gets = calls_of("get"), mgets = calls_of("mget");
        strata_item items[] = { item("a"), item("none"), item("list"), item("text"), item("z") };
        assert_int_equal(strata_get_many(cache, items, 5, &err), STRATA_ELAYER);
        assert_non_null(strstr(err.message, "WRONGTYPE"));
        expect(&items[0], STRATA_OK, "1");
        expect(&items[1], STRATA_MISS, NULL);
        expect(&items[2], STRATA_ELAYER, NULL);
        expect(&items[3], STRATA_MISS, NULL);
        expect(&items[4], STRATA_OK, "26");
        assert_int_equal(calls_of("mget"), mgets + 1);
        assert_int_equal(calls_of("get"), gets + 2); /* none, list */
        stop(NULL);
    }
}

static void test_a_server_that_refuses_mget(void **state)
{
    (void)state;
    redis_do(other, "ACL", "SETUSER", "default", "-mget");
    cache = open_stack(0, server.port, PATIENT);
    set("a", "1");
    strata_item items[] = { item("a"), item("none") };
    assert_int_equal(strata_get_many(cache, items, 2, &err), STRATA_OK);
    expect(&items[0], STRATA_OK, "1");
    expect(&items[1], STRATA_MISS, NULL);
    redis_do(other, "ACL", "SETUSER", "default", "+mget");
}

struct ended {
    strata_queue *queue;
    int status;
};

static void on_done(int status, strata_value *value, const strata_error *words, void *ctx)
{
    (void)words;
    strata_value_unref(value);
    ((struct ended *)ctx)->status = status;
}

static void check_thousand(strata_item *items, char (*keys)[16])
{
    for (int i = 0; i < MANY; i++)
        expect(&items[i], i % 7 == 0 ? STRATA_MISS : STRATA_OK, i % 7 == 0 ? NULL : keys[i]);
}

static void test_more_than_one_command_names(void **state)
{
    (void)state;
    static char keys[MANY][16];
    static strata_item items[MANY];
    struct ended ended = { .status = STRATA_PENDING };
    cache = open_stack(0, server.port, PATIENT);
    for (int i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof keys[i], "key:%d", i);
        if (i % 7 != 0)
            set(keys[i], keys[i]);
    }
    for (int i = 0; i < MANY; i++)
        items[i] = item(keys[i]);
    assert_int_equal(strata_get_many(cache, items, MANY, &err), STRATA_OK);
    check_thousand(items, keys);
    assert_int_equal(calls_of("mget"), 3);
    assert_int_equal(strata_queue_open(&ended.queue, NULL), STRATA_OK);
    assert_int_equal(strata_get_many_async(cache, items, MANY, ended.queue, on_done, &ended, NULL), STRATA_PENDING);
    while (strata_queue_run(ended.queue, 0) == 0)
        assert_int_equal(strata_queue_wait(ended.queue, -1), STRATA_OK);
    assert_int_equal(ended.status, STRATA_OK);
    check_thousand(items, keys);
    strata_queue_close(ended.queue);
}

/* Written: one script a key, and nothing else. */
static void test_writes_take_a_command_each(void **state)
{
    (void)state;
    static char keys[MANY][16];
    static strata_item items[MANY];
    cache = open_stack(0, server.port, PATIENT);
    set("a", "1"); /* the script is known */
    redis_do(other, "CONFIG", "RESETSTAT");
    for (int i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof keys[i], "key:%d", i);
        items[i] = item(keys[i]);
        items[i].set = strata_str(keys[i]);
    }
    assert_int_equal(strata_set_many(cache, items, MANY, NULL, &err), STRATA_OK);
    int calls = calls_of("evalsha"); /* a few ask for the store's life, from time to time */
    assert_true(calls >= MANY && calls < MANY + MANY / 10);
    assert_int_equal(calls_of("set"), MANY); /* in it */
    assert_int_equal(strata_delete_many(cache, items, MANY, &err), STRATA_OK);
    calls = calls_of("evalsha");
    assert_true(calls >= 2 * MANY && calls < 2 * MANY + MANY / 10);
    assert_int_equal(calls_of("get"), 0);
}

/* Answers MGET with one element too few, GET with nil; or nothing at all. */
static void serve_oddly(struct fake_server *f, int fd, int nth)
{
    char name[32], key[32];
    (void)nth;
    if (!fake_greet(fd))
        return;
    while (fake_read_command(fd, name, key)) {
        if (f->ctx == NULL)
            fake_ignore(fd);
        else if (!fake_send(fd, strcmp(name, "MGET") == 0 ? "*1\r\n$-1\r\n" : "$-1\r\n"))
            return;
    }
}

static void test_odd_answers(void **state)
{
    (void)state;
    for (int answers = 0; answers < 2; answers++) {
        struct fake_server f;
        fake_server_start(&f, serve_oddly, answers ? "" : NULL);
        cache = open_stack(0, f.port, answers ? PATIENT "&connections=1" : "&soft_timeout_ms=20ms&connections=1");
        strata_item items[] = { item("a"), item("b") };
        assert_int_equal(strata_get_many(cache, items, 2, &err), answers ? STRATA_OK : STRATA_ELAYER);
        for (int i = 0; i < 2; i++)
            expect(&items[i], answers ? STRATA_MISS : STRATA_ELAYER, NULL);
        if (!answers)
            assert_non_null(strstr(err.message, "in time"));
        stop(NULL);
        fake_server_stop(&f);
    }
}

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

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(test_hits_take_one_trip),          CASE(test_nil_is_asked_again), CASE(test_a_server_that_refuses_mget),
        CASE(test_more_than_one_command_names), CASE(test_odd_answers),        CASE(test_writes_take_a_command_each),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
