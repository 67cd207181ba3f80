/* test_redis_ban.c - bans in a store that others read, too: who was away when one was issued, and who comes after it, never serves
 * what it took. */
#include "tests/support/redis_cache.h"

#include "src/base/hash.h"
#include "src/os/os_thread.h"
#include "tests/support/delay_proxy.h"
#include "tests/support/redis_do.h"
#include "tests/support/temp_dir.h"

static struct redis_server server;
static strata *one, *two;

#define URL "redis://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT
#define WITH_MEMORY "memory:?max_bytes=4mb | " URL

static int start(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    one = redis_cache_open(WITH_MEMORY, server.port);
    two = redis_cache_open(URL, server.port);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    strata_close(one);
    strata_close(two);
    redis_server_stop(&server);
    return 0;
}

static void set_tagged(strata *cache, const char *key, const char *tag)
{
    strata_slice tags[2] = { strata_str(tag), strata_str("all") };
    strata_error err = STRATA_ERROR_INIT;
    int rc = strata_set_tagged(cache, strata_str(key), strata_str("v"), tags, 2, NULL, &err);
    if (rc != STRATA_OK)
        fail_msg("%d: %s", rc, err.message);
}

static void ban_tag(strata *cache, const char *tag, int status)
{
    strata_error err = STRATA_ERROR_INIT;
    int rc = strata_ban_tag(cache, tag, 0, &err);
    if (rc != status)
        fail_msg("ban: %d: %s", rc, err.message);
}

static void others_hear_of_it(void **state)
{
    (void)state;
    strata_error err = STRATA_ERROR_INIT;
    set_tagged(one, "red", "red");
    set_tagged(one, "blue", "blue");
    set_tagged(one, "user:1", "u");
    redis_cache_expect(two, "red", STRATA_OK, "v");
    ban_tag(one, "red", STRATA_OK);
    assert_int_equal(strata_ban_pattern(one, strata_str("user:?"), 0, &err), STRATA_OK);
    redis_cache_expect(one, "red", STRATA_MISS, NULL);
    /* Who comes after it, before anything is answered. */
    strata *three = redis_cache_open(URL, server.port);
    redis_cache_expect(three, "red", STRATA_MISS, NULL);
    redis_cache_expect(three, "user:1", STRATA_MISS, NULL);
    redis_cache_expect(three, "blue", STRATA_OK, "v");
    /* Who was there asks from time to time. */
    redis_cache_await(two, "red", STRATA_MISS);
    redis_cache_await(two, "user:1", STRATA_MISS);
    redis_cache_expect(two, "blue", STRATA_OK, "v");
    /* What is set after the ban is served by all, once its node knows the list that far. */
    for (int i = 0; i < 400; i++) {
        set_tagged(one, "red", "red");
        strata_value *v = NULL;
        int rc = strata_get(three, strata_str("red"), &v, &err);
        strata_value_unref(v);
        if (rc == STRATA_OK)
            break;
        redis_cache_nap(5);
    }
    redis_cache_expect(three, "red", STRATA_OK, "v");
    redis_cache_await(two, "red", STRATA_OK);
    /* All of a namespace below another one, from a node that has no such namespace open. */
    strata *in = NULL;
    assert_int_equal(strata_namespace(one, "ns", NULL, &in, &err), STRATA_OK);
    set_tagged(in, "k", "n");
    ban_tag(two, "n", STRATA_OK);
    strata *four = redis_cache_open(URL, server.port), *below = NULL;
    assert_int_equal(strata_namespace(four, "ns", NULL, &below, &err), STRATA_OK);
    redis_cache_expect(below, "k", STRATA_MISS, NULL);
    strata_close(in), strata_close(below);
    strata_close(three), strata_close(four);
}

/* More than the list holds: what is forgotten is precision. */
static void a_list_that_is_full(void **state)
{
    (void)state;
    char name[64];
    set_tagged(one, "first", "tag 0");
    set_tagged(one, "other", "none of them");
    for (int i = 0; i < 3000; i++) {
        (void)snprintf(name, sizeof name, "tag %d", i);
        ban_tag(two, name, STRATA_OK);
    }
    struct redis_link *link = redis_do_open(&server);
    struct redis_answer size = redis_do(link, "EVAL", "return redis.call('STRLEN', 'app:\\0\\255bans')", "0");
    assert_true(size.integer > 1000 && size.integer < 140 * 1024);
    strata__redis_close(link);
    strata *three = redis_cache_open(URL, server.port);
    redis_cache_expect(three, "first", STRATA_MISS, NULL);
    set_tagged(three, "late", "late");
    redis_cache_expect(three, "late", STRATA_OK, "v");
    strata *four = redis_cache_open(URL, server.port);
    redis_cache_expect(four, "late", STRATA_OK, "v");
    strata_close(three);
    strata_close(four);
}

static int64_t list_size(struct redis_link *link)
{
    return redis_do(link, "EVAL", "return redis.call('STRLEN', 'app:\\0\\255bans')", "0").integer;
}

static void lose_list(struct redis_link *link)
{
    assert_int_equal(redis_do(link, "EVAL", "return redis.call('DEL', 'app:\\0\\255bans')", "0").integer, 1);
}

/* What its caller sets behind a ban is not taken by it, whatever connection which of them went by. */
static void who_bans_may_set_at_once(void **state)
{
    (void)state;
    char key[16];
    strata *alone = redis_cache_open(URL "&connections=4", server.port);
    for (int i = 0; i < 300; i++) {
        (void)snprintf(key, sizeof key, "k%d", i);
        ban_tag(alone, "red", STRATA_OK);
        set_tagged(alone, key, "red");
        redis_cache_expect(alone, key, STRATA_OK, "v");
        redis_cache_expect(two, key, STRATA_OK, "v");
    }
    strata_close(alone);
}

/* Answers that overtake each other: connections are held by their number, and what goes by which of them is told by its key. */
enum { WAYS = 4 };
static struct delay_proxy *proxy;

static int start_behind_proxy(void **state)
{
    (void)start(state);
    proxy = delay_proxy_start(server.port);
    return 0;
}

static int stop_behind_proxy(void **state)
{
    delay_proxy_stop(proxy);
    return stop(state);
}

static uint32_t way_of(const char *key, size_t size)
{
    return (uint32_t)(((strata__mix64(strata__hash(key, size, 0)) >> 32) * WAYS) >> 32);
}

static uint32_t way_of_bans(void) { return way_of("app:\0\377bans", 10); }

/* A key that goes by another one. */
static void name_beside(uint32_t way, const char *first, char out[16])
{
    int i = 0;
    do
        (void)snprintf(out, 16, "%s%d", first, i++);
    while (way_of(out, strlen(out)) == way);
}

static void await_held(uint64_t bytes)
{
    for (int i = 0; i < 12000 && delay_proxy_held(proxy) < bytes; i++)
        redis_cache_nap(5);
    assert_true(delay_proxy_held(proxy) >= bytes);
}

/* A connection was greeted before there was a list, and its node hears that after it has banned something: nothing is lost. */
static void that_there_is_no_list_is_heard_late(void **state)
{
    (void)state;
    enum { KEPT = 32, ALL_OF_A_GREETING = 500 };
    char key[16], kept[KEPT][16];
    uint32_t held = 0;
    while (held == way_of_bans() || held == way_of("", 0)) /* the ban's, and that of the look behind it */
        held++;
    for (int i = 0; i < KEPT; i++) {
        (void)snprintf(kept[i], sizeof kept[i], "kept%d", i);
        redis_cache_set(two, kept[i], "v");
    }
    delay_proxy_hold(proxy, held);
    strata *late = redis_cache_open(URL "&connections=4", delay_proxy_port(proxy));
    await_held(ALL_OF_A_GREETING);
    ban_tag(late, "red", STRATA_OK);
    name_beside(held, "k", key);
    set_tagged(late, key, "red");
    redis_cache_expect(late, key, STRATA_OK, "v");
    delay_proxy_hold(proxy, -1);
    for (int i = 0; i < 2 * KEPT; i++) /* some of them wait for that greeting */
        redis_cache_expect(late, kept[i % KEPT], STRATA_OK, "v");
    redis_cache_expect(late, key, STRATA_OK, "v");
    /* A list that is lost is noticed all the same. */
    struct redis_link *link = redis_do_open(&server);
    lose_list(link);
    redis_cache_await(late, kept[0], STRATA_MISS);
    redis_cache_await(late, key, STRATA_MISS);
    assert_int_equal(list_size(link), 18);
    strata__redis_close(link);
    strata_close(late);
}

static void ban_red(void *cache) { ban_tag(cache, "red", STRATA_OK); }

/* Its own ban stands in the list that comes by another connection, before the ban is answered: it is one ban, not two. */
static void who_bans_reads_of_it_before_the_answer(void **state)
{
    (void)state;
    char key[16], blue[16];
    struct os_thread thread;
    name_beside(way_of_bans(), "k", key);
    name_beside(way_of_bans(), "b", blue);
    strata *late = redis_cache_open(URL "&connections=4", delay_proxy_port(proxy));
    ban_tag(late, "green", STRATA_OK); /* so it is connected there */
    set_tagged(two, blue, "blue");
    redis_cache_await(late, blue, STRATA_OK);
    delay_proxy_hold(proxy, way_of_bans());
    assert_int_equal(strata__os_thread_start(&thread, "bans", ban_red, late), 0);
    await_held(1);
    ban_tag(two, "blue", STRATA_OK);
    redis_cache_await(late, blue, STRATA_MISS); /* it has read the list so far */
    delay_proxy_hold(proxy, -1);
    strata__os_thread_join(&thread);
    set_tagged(late, key, "red");
    redis_cache_expect(late, key, STRATA_OK, "v");
    redis_cache_expect(two, key, STRATA_OK, "v");
    strata_close(late);
}

/* Another node's ban of the same, which is read behind one's own, takes nothing that was set after both. */
static void two_ban_the_same(void **state)
{
    (void)state;
    strata_error err = STRATA_ERROR_INIT;
    strata *alone = redis_cache_open(URL, server.port);
    for (int i = 0; i < 20; i++) {
        ban_tag(two, "red", STRATA_OK);
        assert_int_equal(strata_ban_prefix(two, strata_str("k"), 0, &err), STRATA_OK);
        ban_tag(alone, "red", STRATA_OK);
        assert_int_equal(strata_ban_prefix(alone, strata_str("k"), 0, &err), STRATA_OK);
        set_tagged(alone, "k", "red");
        redis_cache_expect(alone, "k", STRATA_OK, "v");
        redis_cache_expect(two, "k", STRATA_OK, "v");
    }
    strata_close(alone);
}

/* The server has thrown it away, and what it had banned with it: who knew it begins another one, which takes all that was stored. */
static void a_list_that_is_lost(void **state)
{
    (void)state;
    char got[64];
    strata_error err;
    struct redis_link *link = redis_do_open(&server);
    set_tagged(one, "red", "red");
    set_tagged(one, "blue", "blue");
    ban_tag(one, "red", STRATA_OK);
    redis_cache_expect(one, "blue", STRATA_OK, "v");
    strata *three = redis_cache_open(URL, server.port);
    redis_cache_expect(three, "red", STRATA_MISS, NULL);
    lose_list(link);
    for (int i = 0; i < 1000 && list_size(link) == 0; i++) {
        (void)redis_cache_get(three, "blue", got, sizeof got, &err);
        redis_cache_nap(20);
    }
    assert_int_equal(list_size(link), 18);
    redis_cache_await(three, "blue", STRATA_MISS);
    strata *late = redis_cache_open(URL, server.port);
    redis_cache_expect(late, "red", STRATA_MISS, NULL);
    redis_cache_expect(late, "blue", STRATA_MISS, NULL);
    strata_close(late);
    /* Once, not at each look. */
    set_tagged(three, "blue", "blue");
    for (int i = 0; i < 130; i++) {
        redis_cache_expect(three, "blue", STRATA_OK, "v");
        redis_cache_nap(20);
    }
    /* Who did not know of it bans something: who did notices all the same. */
    lose_list(link);
    strata *four = redis_cache_open(URL, server.port);
    ban_tag(four, "green", STRATA_OK);
    redis_cache_await(three, "blue", STRATA_MISS);
    redis_cache_await(four, "blue", STRATA_MISS);
    strata_close(four);
    strata_close(three);
    strata__redis_close(link);
}

/* The same, where no node knew the list: one has a ban of it from its disk.  What others store is served there, too. */
static void a_list_that_only_a_disk_knows(void **state)
{
    (void)state;
    char dir[256], format[400], got[64];
    strata_error err;
    struct redis_link *link = redis_do_open(&server);
    temp_dir_make(dir, sizeof dir);
    (void)snprintf(format, sizeof format, "memory:?max_bytes=4mb | disk:%s?max_bytes=16mb | %s", dir, URL);
    strata *kept = redis_cache_open(format, server.port);
    ban_tag(kept, "red", STRATA_OK);
    strata_close(kept);
    lose_list(link);
    kept = redis_cache_open(format, server.port);
    int rc = STRATA_MISS;
    for (int i = 0; i < 1000 && rc != STRATA_OK; i++) {
        set_tagged(two, "red", "red");
        rc = redis_cache_get(kept, "red", got, sizeof got, &err);
        redis_cache_nap(20);
    }
    assert_int_equal(rc, STRATA_OK);
    assert_int_equal(list_size(link), 18);
    strata_close(kept);
    temp_dir_remove(dir);
    strata__redis_close(link);
}

/* The store is down: it holds here, and gets there. */
static void a_ban_while_the_store_is_away(void **state)
{
    (void)state;
    strata *away = redis_cache_open("memory:?max_bytes=4mb | redis://127.0.0.1:%u?prefix=app:&timeout_ms=100ms&"
                                    "connect_timeout_ms=2s&soft_timeout_ms=100ms",
                                    server.port);
    set_tagged(away, "red", "red");
    redis_cache_expect(away, "red", STRATA_OK, "v");
    redis_server_pause(&server);
    ban_tag(away, "red", STRATA_PENDING);
    char got[64];
    strata_error err;
    assert_true(redis_cache_get(away, "red", got, sizeof got, &err) != STRATA_OK); /* a miss, or the server's silence */
    redis_server_resume(&server);
    redis_cache_await(away, "red", STRATA_MISS);
    strata *three = NULL;
    int rc = STRATA_OK;
    for (int i = 0; i < 1000 && rc == STRATA_OK;
         i++) { /* whoever comes once it has arrived, though nobody asks for anything */
        redis_cache_nap(20);
        three = redis_cache_open(URL, server.port);
        rc = redis_cache_get(three, "red", got, sizeof got, &err);
        strata_close(three);
    }
    assert_int_equal(rc, STRATA_MISS);
    strata_close(away);
}

/* Its bus carries nothing of it, and its memory has all that it is asked for: the heartbeat looks at the list. */
static void who_is_told_nothing(void **state)
{
    (void)state;
    char url[512];
    strata *apart = NULL;
    strata_error err = STRATA_ERROR_INIT;
    (void)snprintf(url, sizeof url, WITH_MEMORY " | bus:redis-stream?channel=apart", (unsigned)server.port);
    if (strata_open_url(&apart, url, NULL, &err) != STRATA_OK)
        fail_msg("%s: %s", url, err.message);
    set_tagged(two, "red", "red");
    set_tagged(two, "blue", "blue");
    redis_cache_await(apart, "red", STRATA_OK);
    redis_cache_await(apart, "blue", STRATA_OK); /* not the first answer: a busy machine may cost it its trust */
    ban_tag(two, "red", STRATA_OK);
    redis_cache_await(apart, "red", STRATA_MISS);
    redis_cache_await(apart, "blue", STRATA_OK);
    strata_close(apart);
}

static strata *open_generation(const char *url, const char *name, const strata_coherence_options *coherence)
{
    char text[512];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    (void)snprintf(text, sizeof text, url, (unsigned)server.port);
    options.generation = name;
    options.coherence = coherence;
    if (strata_open_url(&cache, text, &options, &err) != STRATA_OK)
        fail_msg("%s: %s", text, err.message);
    return cache;
}

static uint64_t number_of(strata *cache)
{
    uint64_t number = 0;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata_generation_get(cache, &number, &err), STRATA_OK);
    return number;
}

static void await_number(strata *cache, uint64_t number)
{
    for (int i = 0; i < 12000 && number_of(cache) != number; i++)
        redis_cache_nap(5);
    assert_true(number_of(cache) == number);
}

/* A bump is heard of by all, whether they are told of it or look by themselves, and has one number for all of them. */
static void generations(void **state)
{
    (void)state;
    strata_error err = STRATA_ERROR_INIT;
    for (int bus = 0; bus < 2; bus++) {
        const strata_coherence_options *coherence = bus ? NULL : &open_alone_coherence;
        strata *a = open_generation(WITH_MEMORY, "v1", coherence), *b = open_generation(WITH_MEMORY, "v1", coherence);
        strata *other = open_generation(WITH_MEMORY, "v2", coherence);
        uint64_t first = 0, second = 0;
        redis_cache_set(a, "k", "v");
        redis_cache_set(other, "kept", "v");
        redis_cache_await(b, "k", STRATA_OK);
        assert_int_equal(strata_generation_bump(a, 0, &first, &err), STRATA_OK);
        redis_cache_expect(a, "k", STRATA_MISS, NULL);
        redis_cache_await(b, "absent", STRATA_MISS); /* asks the server, and so looks at its list */
        for (int i = 0; i < 12000 && number_of(b) != first; i++) {
            (void)redis_cache_get(b, "other", NULL, 0, &err);
            redis_cache_set(b, "something", "v");
            redis_cache_get(b, "something", NULL, 0, &err);
            redis_cache_nap(5);
        }
        await_number(b, first);
        redis_cache_await(b, "k", STRATA_MISS);
        redis_cache_await(other, "kept", STRATA_OK);
        assert_true(number_of(other) == 0 || number_of(other) < first);
        /* Who comes after it. */
        strata *late = open_generation(URL, "v1", coherence);
        redis_cache_expect(late, "k", STRATA_MISS, NULL);
        await_number(late, first);
        assert_int_equal(strata_generation_bump(late, 0, &second, &err), STRATA_OK);
        assert_true(second > first);
        strata_close(a), strata_close(b), strata_close(other), strata_close(late);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(others_hear_of_it, start, stop),
        cmocka_unit_test_setup_teardown(a_list_that_is_full, start, stop),
        cmocka_unit_test_setup_teardown(who_bans_may_set_at_once, start, stop),
        cmocka_unit_test_setup_teardown(that_there_is_no_list_is_heard_late, start_behind_proxy, stop_behind_proxy),
        cmocka_unit_test_setup_teardown(who_bans_reads_of_it_before_the_answer, start_behind_proxy, stop_behind_proxy),
        cmocka_unit_test_setup_teardown(two_ban_the_same, start, stop),
        cmocka_unit_test_setup_teardown(a_list_that_is_lost, start, stop),
        cmocka_unit_test_setup_teardown(a_list_that_only_a_disk_knows, start, stop),
        cmocka_unit_test_setup_teardown(a_ban_while_the_store_is_away, start, stop),
        cmocka_unit_test_setup_teardown(who_is_told_nothing, start, stop),
        cmocka_unit_test_setup_teardown(generations, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
