/* test_redis_refusals.c - servers that answer, and refuse: rights that are missing, no room, foreign values, a wrong password;
 * and one that is not there when the cache is opened.  What they say reaches the caller, and nothing becomes a miss. */
#include "tests/support/redis_cache.h"

#include <stdatomic.h>

#include "tests/support/redis_do.h"

static struct redis_server server;
static struct redis_link *other; /* another program */
static strata_error err;

#define AS(user) "redis://" user ":pw@127.0.0.1:%u?" REDIS_PATIENT "&prefix=app:"
#define AS_ALL "redis://127.0.0.1:%u?" REDIS_PATIENT "&prefix=app:"

static int empty(void **state)
{
    (void)state;
    return redis_do(other, "FLUSHALL").status;
}

static void allow(const char *user, const char *what, const char *keys)
{
    assert_int_equal(redis_do(other, "ACL", "SETUSER", user, "reset", "on", ">pw", keys).kind, REDIS_IS_STATUS);
    char words[256];
    (void)snprintf(words, sizeof words, "%s", what);
    for (char *from = words, *end; *from != '\0'; from = end) { /* a rule each */
        end = from + strcspn(from, " ");
        char *next = *end == '\0' ? end : end + 1;
        *end = '\0';
        if (redis_do(other, "ACL", "SETUSER", user, from).kind != REDIS_IS_STATUS)
            fail_msg("ACL SETUSER %s %s", user, from);
        end = next;
    }
}

static void only_reading_is_allowed(void **state)
{
    (void)state;
    int loads = 0;
    strata *all = redis_cache_open(AS_ALL, server.port);
    redis_cache_set(all, "k", "v");
    allow("reader", "+@read +@connection +info -@scripting -@write", "~app:*");
    strata *cache = redis_cache_open(AS("reader"), server.port);
    redis_cache_expect(cache, "k", STRATA_OK, "v");
    redis_cache_expect(cache, "none", STRATA_MISS, NULL);
    redis_cache_said(strata_set(cache, strata_str("k"), strata_str("w"), NULL, &err), STRATA_ELAYER, &err, "NOPERM");
    redis_cache_loads(cache, "cold", &loads); /* the loader's value is the caller's, whatever the layer says of it */
    assert_int_equal(loads, 1);
    strata_close(cache);
    redis_cache_expect(all, "k", STRATA_OK, "v");
    strata_close(all);
}

/* It will not succeed by itself, so it is not "pending".  This node no longer serves it all the same. */
static void a_delete_without_the_right_is_an_error(void **state)
{
    (void)state;
    strata *all = redis_cache_open(AS_ALL, server.port);
    redis_cache_set(all, "k", "v");
    allow("reader", "+@read +@connection +info -@scripting -@write", "~app:*");
    strata *cache = redis_cache_open(AS("reader"), server.port);
    redis_cache_expect(cache, "k", STRATA_OK, "v");
    redis_cache_said(strata_delete(cache, strata_str("k"), &err), STRATA_ELAYER, &err, "NOPERM");
    redis_cache_expect(cache, "k", STRATA_MISS, NULL);
    assert_int_equal(redis_cache_stats(cache, 0).breaker, STRATA_BREAKER_CLOSED); /* it is well */
    redis_cache_expect(all, "k", STRATA_OK, "v");
    /* Given the right, it is carried out. */
    allow("reader", "+@all", "~*");
    assert_int_equal(redis_do(other, "ACL", "SETUSER", "reader", "allchannels").kind, REDIS_IS_STATUS);
    redis_cache_await(all, "k", STRATA_MISS);
    strata_close(cache);
    strata_close(all);
}

struct heard {
    _Atomic(int) of_scripts;
    char words[256];
};

static void hear(const strata_event *event, void *ctx)
{
    struct heard *h = ctx;
    if (event->message == NULL || strstr(event->message, "scripts are refused") == NULL)
        return;
    if (atomic_fetch_add(&h->of_scripts, 1) == 0)
        (void)snprintf(h->words, sizeof h->words, "%s", event->message);
}

/* No leases and no versions then, but a cache all the same; and it is said, once. */
static void scripts_are_not_allowed(void **state)
{
    (void)state;
    int loads = 0;
    uint64_t id;
    struct heard heard = { 0 };
    allow("plain", "+@all -@scripting allchannels", "~app:*");
    strata *cache = redis_cache_open(AS("plain"), server.port), *all = redis_cache_open(AS_ALL, server.port);
    assert_int_equal(strata_on(cache, STRATA_EVENT_ERROR, hear, &heard, &id), STRATA_OK);
    do /* what is refused first is stored nowhere: as a plain SET it might land behind what came after it */
        redis_cache_set(cache, "k", "v");
    while (redis_cache_get(cache, "k", NULL, 0, &err) != STRATA_OK);
    for (int i = 0; i < 20; i++) {
        redis_cache_set(cache, "k", "v");
        redis_cache_expect(cache, "k", STRATA_OK, "v");
        redis_cache_expect(all, "k", STRATA_OK, "v");
        assert_int_equal(strata_delete(cache, strata_str("k"), &err), STRATA_OK);
        redis_cache_expect(cache, "k", STRATA_MISS, NULL);
    }
    redis_cache_loads(cache, "cold", &loads);
    redis_cache_await(all, "cold", STRATA_OK);
    redis_cache_loads(cache, "cold", &loads);
    assert_int_equal(loads, 1);
    assert_int_equal(atomic_load(&heard.of_scripts), 1);
    assert_non_null(strstr(heard.words, "EVAL")); /* what there is to do */
    assert_int_equal(redis_cache_stats(cache, 0).breaker, STRATA_BREAKER_CLOSED);
    strata_close(all);
    strata_close(cache);
}

/* One command less, and the script is no script: it is done without, and nobody else's life of the store ends by that. */
static void a_command_of_the_script_is_not_allowed(void **state)
{
    (void)state;
    static const char *const rules[] = { "+@all -getrange allchannels", "+@all -pttl allchannels" };
    strata *all = redis_cache_open(AS_ALL, server.port);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        int loads = 0;
        redis_cache_set(all, "k", "v");
        redis_cache_set(all, "deleted", "v");
        assert_int_equal(strata_delete(all, strata_str("deleted"), &err), STRATA_OK);
        allow("less", rules[i], "~app:*");
        strata *cache = redis_cache_open(AS("less"), server.port);
        redis_cache_expect(cache, "k", STRATA_OK, "v");
        redis_cache_loads(cache, "deleted", &loads);
        redis_cache_loads(cache, "deleted", &loads);
        assert_int_equal(loads, 1);
        assert_int_equal(redis_cache_stats(cache, 0).unleased, 1);
        strata_close(cache);
        redis_cache_expect(all, "k", STRATA_OK, "v");
        assert_int_equal(redis_cache_stats(all, 0).lives, 0);
    }
    strata_close(all);
}

static void keys_that_are_not_allowed(void **state)
{
    (void)state;
    int loads = 0;
    allow("stranger", "+@all", "~elsewhere:*");
    strata *cache = redis_cache_open(AS("stranger"), server.port);
    redis_cache_said(redis_cache_get(cache, "k", NULL, 0, &err), STRATA_ELAYER, &err, "NOPERM");
    redis_cache_said(strata_set(cache, strata_str("k"), strata_str("w"), NULL, &err), STRATA_ELAYER, &err, "NOPERM");
    redis_cache_loads(cache, "k", &loads);
    assert_int_equal(loads, 1);
    assert_true(redis_cache_stats(cache, 0).errors > 0);
    strata_close(cache);
}

static void a_wrong_password(void **state)
{
    (void)state;
    int loads = 0;
    strata *cache = redis_cache_open("redis://nobody:hunter2@127.0.0.1:%u?" REDIS_PATIENT, server.port);
    redis_cache_said(redis_cache_get(cache, "k", NULL, 0, &err), STRATA_ELAYER, &err, "WRONGPASS");
    assert_null(strstr(err.message, "hunter2"));
    err = (strata_error)STRATA_ERROR_INIT;
    assert_true(strata_ping(cache, 0, &err) < 0);
    assert_non_null(strstr(err.message, "WRONGPASS"));
    redis_cache_loads(cache, "k", &loads);
    assert_int_equal(loads, 1);
    strata_close(cache);
}

/* Sets fail with the server's word for it, gets of what is there go on, and deletes make room. */
static void a_server_without_room(void **state)
{
    (void)state;
    int loads = 0;
    strata *cache = redis_cache_open(AS_ALL, server.port);
    redis_cache_set(cache, "k", "v");
    redis_cache_set(cache, "other", "w");
    assert_int_equal(redis_do(other, "CONFIG", "SET", "maxmemory-policy", "noeviction").status, STRATA_OK);
    assert_int_equal(redis_do(other, "CONFIG", "SET", "maxmemory", "1mb").status, STRATA_OK);
    redis_cache_said(strata_set(cache, strata_str("new"), strata_str("x"), NULL, &err), STRATA_ELAYER, &err, "OOM");
    redis_cache_expect(cache, "k", STRATA_OK, "v");
    redis_cache_expect(cache, "none", STRATA_MISS, NULL);
    redis_cache_loads(cache, "cold", &loads);
    assert_int_equal(loads, 1);
    assert_int_equal(redis_cache_stats(cache, 0).breaker, STRATA_BREAKER_CLOSED);
    assert_int_equal(redis_do(other, "CONFIG", "SET", "maxmemory", "0").status, STRATA_OK);
    redis_cache_set(cache, "new", "x");
    redis_cache_expect(cache, "new", STRATA_OK, "x");
    strata_close(cache);
}

/* Whatever another program has put there is no value of ours: a string is a miss, other types an error; a load answers. */
static void foreign_values(void **state)
{
    (void)state;
    int loads = 0;
    strata *cache = redis_cache_open(AS_ALL, server.port);
    assert_int_equal(redis_do(other, "SET", "app:string", "not ours").status, STRATA_OK);
    assert_int_equal(redis_do(other, "LPUSH", "app:list", "not ours").status, STRATA_OK);
    redis_cache_expect(cache, "string", STRATA_MISS, NULL);
    assert_true(redis_cache_stats(cache, 0).foreign > 0);
    redis_cache_said(redis_cache_get(cache, "list", NULL, 0, &err), STRATA_ELAYER, &err, "WRONGTYPE");
    redis_cache_loads(cache, "list", &loads);
    assert_int_equal(loads, 1);
    redis_cache_loads(cache, "string", &loads);
    assert_int_equal(loads, 2);
    assert_int_equal(redis_do(other, "GET", "app:string").size, strlen("not ours"));
    assert_int_equal(strata_delete(cache, strata_str("string"), &err), STRATA_OK);
    redis_cache_set(cache, "string", "ours");
    redis_cache_expect(cache, "string", STRATA_OK, "ours");
    strata_close(cache);
}

/* strata_open() does not wait for it; ping and stats tell; when it comes, it is used. */
static void nobody_there_when_it_is_opened(void **state)
{
    (void)state;
    int loads = 0;
    struct redis_server late;
    redis_server_start(&late, NULL);
    redis_server_kill(&late);
    strata *cache = redis_cache_open("memory: | redis://127.0.0.1:%u?" REDIS_PATIENT "&breaker_open_ms=50ms", late.port);
    assert_int_equal(strata_ping(cache, 0, &err), STRATA_OK);
    err = (strata_error)STRATA_ERROR_INIT;
    assert_true(strata_ping(cache, 1, &err) < 0);
    assert_non_null(strstr(err.message, "refused"));
    assert_string_equal(err.where, "redis");
    redis_cache_loads(cache, "k", &loads);
    redis_cache_loads(cache, "k", &loads);
    assert_int_equal(loads, 1); /* memory has it */
    assert_true(redis_cache_get(cache, "none", NULL, 0, &err) < 0);
    assert_true(redis_cache_stats(cache, 1).errors > 0);
    redis_server_restart(&late);
    redis_cache_await(cache, "none", STRATA_MISS);
    while (strata_ping(cache, 1, &err) != STRATA_OK) /* it may travel on a connection that is not back yet */
        redis_cache_nap(5);
    strata_close(cache);
    redis_server_stop(&late);
}

static void pings_that_make_no_sense(void **state)
{
    (void)state;
    strata *cache = redis_cache_open("memory:?max_bytes=%umb", 1);
    assert_int_equal(strata_ping(NULL, 0, &err), STRATA_EINVAL);
    assert_int_equal(strata_ping(cache, 1, &err), STRATA_EINVAL);
    assert_int_equal(strata_ping(cache, 0, NULL), STRATA_OK);
    strata_close(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(only_reading_is_allowed, empty),
        cmocka_unit_test_setup(a_delete_without_the_right_is_an_error, empty),
        cmocka_unit_test_setup(scripts_are_not_allowed, empty),
        cmocka_unit_test_setup(a_command_of_the_script_is_not_allowed, empty),
        cmocka_unit_test_setup(keys_that_are_not_allowed, empty),
        cmocka_unit_test(a_wrong_password),
        cmocka_unit_test_setup(a_server_without_room, empty),
        cmocka_unit_test_setup(foreign_values, empty),
        cmocka_unit_test(nobody_there_when_it_is_opened),
        cmocka_unit_test(pings_that_make_no_sense),
    };
    redis_server_start(&server, NULL);
    other = redis_do_open(&server);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    strata__redis_close(other);
    redis_server_stop(&server);
    return failed;
}
