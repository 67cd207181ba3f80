/* test_redis_sweep.c - what a ban took is removed from a real server, in the background: all of it that is provably older, and nothing
 * else. */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/redis_cache.h"

#include "tests/support/redis_do.h"
#include "tests/support/redis_nodes.h"

enum { MANY = 50000, A_CALL = 1000, LOOKS = 6000 };

static struct redis_server server;
static struct redis_link *link;
static strata_error err;

#define URL "redis://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT

static int start(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    link = redis_do_open(&server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    strata__redis_close(link);
    redis_server_stop(&server);
    return 0;
}

static uint64_t swept(strata *cache) { return redis_cache_stats(cache, strata_layer_count(cache) - 1).swept; }

static void await_swept(strata *cache, uint64_t count)
{
    for (int i = 0; i < LOOKS && swept(cache) < count; i++)
        redis_cache_nap(10);
    assert_int_equal(swept(cache), count);
}

static int exists(const char *key) { return redis_do(link, "EXISTS", key).integer == 1; }

static int64_t keys_like(const char *pattern)
{
    return redis_do(link, "EVAL", "return #redis.call('KEYS', ARGV[1])", "0", pattern).integer;
}

/* prefix:0 and on, with these tags. */
static void set_numbered(strata *cache, const char *prefix, int count, const strata_slice *tags, size_t tag_count)
{
    static char names[A_CALL][64];
    static strata_item items[A_CALL];
    for (int done = 0; done < count; done += A_CALL) {
        int n = count - done < A_CALL ? count - done : A_CALL;
        memset(items, 0, sizeof items);
        for (int i = 0; i < n; i++) {
            (void)snprintf(names[i], sizeof names[i], "%s%d", prefix, done + i);
            items[i].key = strata_str(names[i]);
            items[i].set = strata_str("value");
            items[i].tags = tags;
            items[i].tag_count = tag_count;
        }
        assert_int_equal(strata_set_many(cache, items, (size_t)n, NULL, &err), STRATA_OK);
    }
}

static void ban_prefix(strata *cache, const char *prefix, uint32_t how)
{
    int rc = strata_ban_prefix(cache, strata_str(prefix), how, &err);
    if (rc != STRATA_OK)
        fail_msg("%d: %s", rc, err.message);
}

/* Walks come one after the other, and the second of these begins when all before it is counted: two more keys are. */
static void await_walks(strata *cache, const char *key, const char *stored)
{
    for (int round = 0; round < 2; round++) {
        redis_cache_set(cache, key, "v");
        ban_prefix(cache, key, 0);
        for (int i = 0; i < LOOKS && exists(stored); i++)
            redis_cache_nap(10);
        assert_false(exists(stored));
    }
}
#define AWAIT_WALKS(cache) await_walks(cache, "\001last", "app:\001last")

static void *write_on(void *ctx)
{
    char key[32];
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(key, sizeof key, "user:late%d", i);
        redis_cache_set(ctx, key, "late");
    }
    return NULL;
}

static void fifty_thousand(void **state)
{
    (void)state;
    char key[32];
    pthread_t writer;
    strata *one = redis_cache_open(URL "&sweep_pause_ms=1ms", server.port);
    strata *two = redis_cache_open(URL, server.port);
    set_numbered(one, "user:", MANY, NULL, 0);
    set_numbered(one, "other:", 100, NULL, 0);
    (void)redis_do(link, "SET", "app:user:foreign", "not ours");
    (void)redis_do(link, "HSET", "app:user:hash", "a", "b");
    (void)redis_do(link, "SET", "user:1", "of nobody");
    assert_int_equal(strata_delete(one, strata_str("user:7"), &err), STRATA_OK);
    ban_prefix(one, "user:", 0);
    /* Others go on writing while it walks: what was surely born after the ban, by clocks that are some milliseconds behind. */
    redis_cache_nap(100);
    assert_int_equal(pthread_create(&writer, NULL, write_on, two), 0);
    await_swept(one, MANY - 1);
    assert_int_equal(pthread_join(writer, NULL), 0);
    AWAIT_WALKS(one);
    await_swept(one, MANY - 1 + 2);
    assert_int_equal(swept(two), 0);
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(key, sizeof key, "app:user:late%d", i);
        assert_true(exists(key));
    }
    assert_true(exists("app:user:foreign") && exists("app:user:hash") && exists("user:1"));
    assert_true(exists("app:user:7")); /* the delete's tombstone */
    redis_cache_expect(one, "other:99", STRATA_OK, "value");
    redis_cache_expect(one, "user:8", STRATA_MISS, NULL);
    strata_close(one);
    strata_close(two);
}

static void what_looks_like_a_pattern(void **state)
{
    (void)state;
    strata *plain = redis_cache_open("redis://127.0.0.1:%u?prefix=a*%%5Bb%%5D:&" REDIS_PATIENT, server.port),
           *in = NULL, *below = NULL, *beside = NULL;
    strata *nearly = redis_cache_open("redis://127.0.0.1:%u?prefix=axxb:&" REDIS_PATIENT, server.port);
    redis_cache_set(plain, "k?[1]*\\x", "v");
    redis_cache_set(plain, "kq1yyx", "v");
    redis_cache_set(nearly, "k?[1]*\\x", "v");
    ban_prefix(plain, "k?[1]*\\", 0);
    await_swept(plain, 1);
    redis_cache_expect(plain, "kq1yyx", STRATA_OK, "v");
    redis_cache_expect(nearly, "k?[1]*\\x", STRATA_OK, "v");
    /* Namespaces, too: of this one and of those below, keys that begin so. */
    assert_int_equal(strata_namespace(plain, "n*[s]", NULL, &in, &err), STRATA_OK);
    assert_int_equal(strata_namespace(in, "deep", NULL, &below, &err), STRATA_OK);
    assert_int_equal(strata_namespace(plain, "nxs", NULL, &beside, &err), STRATA_OK);
    redis_cache_set(in, "p:1", "v");
    redis_cache_set(in, "x:p:1", "v");
    redis_cache_set(below, "p:2", "v");
    redis_cache_set(beside, "p:3", "v");
    redis_cache_set(plain, "p:4", "v");
    ban_prefix(in, "p:", 0);
    await_swept(plain, 3);
    await_walks(plain, "last", "a*[b]:last");
    redis_cache_expect(in, "x:p:1", STRATA_OK, "v");
    redis_cache_expect(beside, "p:3", STRATA_OK, "v");
    redis_cache_expect(plain, "p:4", STRATA_OK, "v");
    /* And of all namespaces, from the root. */
    ban_prefix(plain, "p:", 0);
    await_swept(plain, 3 + 2 + 2);
    strata_close(in), strata_close(below), strata_close(beside);
    strata_close(plain);
    strata_close(nearly);
}

static void patterns(void **state)
{
    (void)state;
    strata *one = redis_cache_open(URL "&sweep_count=10&use_del=on", server.port);
    strata *off = redis_cache_open(URL "&sweep=off", server.port);
    set_numbered(one, "a:", 300, NULL, 0);
    set_numbered(one, "b:", 300, NULL, 0);
    assert_int_equal(strata_ban_pattern(one, strata_str("a:?"), 0, &err), STRATA_OK);
    await_swept(one, 10);
    assert_int_equal(strata_ban_pattern(one, strata_str("*:1*2"), 0, &err), STRATA_OK);
    AWAIT_WALKS(one);
    await_swept(one, 10 + 2 * 11 + 2); /* x:12 and x:102 to x:192 */
    redis_cache_expect(one, "b:120", STRATA_OK, "value");
    /* Who only expired them, and who is not to sweep, leaves them there. */
    ban_prefix(one, "b:", STRATA_BAN_SOFT);
    ban_prefix(off, "b:", 0);
    AWAIT_WALKS(one);
    await_swept(one, 10 + 2 * 11 + 4);
    assert_int_equal(swept(off), 0);
    assert_true(exists("app:b:120"));
    strata_close(one);
    strata_close(off);
}

static void tags(void **state)
{
    (void)state;
    const strata_slice red[] = { strata_str("red"), strata_str("big") },
                       blue[] = { strata_str("blue"), strata_str("big") };
    static strata_slice many[400];
    static char names[400][16];
    strata *one = redis_cache_open(URL "&sweep_tags=on", server.port), *in = NULL;
    strata *plain = redis_cache_open(URL, server.port);
    for (int i = 0; i < 400; i++) { /* a header that is longer than what is read at first */
        (void)snprintf(names[i], sizeof names[i], "tag %d", i);
        many[i] = i == 399 ? red[0] : strata_str(names[i]);
    }
    set_numbered(one, "red:", 50, red, 2);
    set_numbered(one, "blue:", 50, blue, 2);
    set_numbered(one, "many:", 5, many, 400);
    set_numbered(one, "none:", 50, NULL, 0);
    assert_int_equal(strata_namespace(one, "ns", NULL, &in, &err), STRATA_OK);
    set_numbered(in, "red:", 5, red, 2);
    assert_int_equal(strata_ban_tag(plain, "none of these", 0, &err), STRATA_OK);
    assert_int_equal(strata_ban_tags(one, blue, 2, STRATA_BAN_ALL_TAGS, &err), STRATA_OK);
    await_swept(one, 50);
    assert_int_equal(strata_ban_tag(one, "red", 0, &err), STRATA_OK);
    AWAIT_WALKS(one);
    await_swept(one, 50 + 50 + 5 + 5 + 2);
    redis_cache_expect(one, "none:1", STRATA_OK, "value");
    set_numbered(plain, "red:", 5, red, 2);
    assert_int_equal(strata_ban_tag(plain, "red", 0, &err), STRATA_OK);
    AWAIT_WALKS(plain);
    await_swept(plain, 2); /* not without being told to */
    strata_close(in);
    strata_close(one);
    strata_close(plain);
}

/* A lease around an old entry stays, and so does one around nothing: whoever has it goes on. */
static void leases_stay(void **state)
{
    (void)state;
    static const char lease[] = "\313\1\0"
                                "0123456789abcdef"
                                "\1\0\0\0\0\0\0\0"
                                "lifelife"
                                "\377\377\377\377\377\377\1\0";
    static const char *const words[] = { "SET", "app:user:leased", NULL };
    strata *one = redis_cache_open(URL, server.port);
    assert_int_equal(redis_do_slice(link, words, strata_bytes(lease, sizeof lease - 1)).kind, REDIS_IS_STATUS);
    set_numbered(one, "user:", 10, NULL, 0);
    ban_prefix(one, "user:", 0);
    await_swept(one, 10);
    AWAIT_WALKS(one);
    assert_int_equal(redis_do(link, "STRLEN", "app:user:leased").integer, 43);
    strata_close(one);
}

/* Its connections are cut again and again, and its server forgets the script: it goes on where it was. */
static void goes_on(void **state)
{
    (void)state;
    strata *one = redis_cache_open(URL "&sweep_count=20&sweep_pause_ms=5ms", server.port);
    set_numbered(one, "user:", 3000, NULL, 0);
    ban_prefix(one, "user:", 0);
    for (int i = 0; i < 10 && swept(one) < 3000; i++) {
        (void)redis_do(link, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
        (void)redis_do(link, "SCRIPT", "FLUSH");
        redis_cache_nap(50);
    }
    for (int i = 0; i < LOOKS && keys_like("app:user:*") != 0; i++)
        redis_cache_nap(10);
    assert_int_equal(keys_like("app:user:*"), 0);
    strata_close(one);
}

/* Closing waits for no walk: what is left is banned all the same. */
static void stops_at_close(void **state)
{
    (void)state;
    strata *one = redis_cache_open(URL "&sweep_count=1&sweep_pause_ms=1h", server.port);
    set_numbered(one, "user:", 100, NULL, 0);
    ban_prefix(one, "user:", 0);
    ban_prefix(one, "more:", 0);
    strata_close(one);
    assert_int_equal(keys_like("app:user:*"), 100);
    strata *two = redis_cache_open(URL, server.port);
    redis_cache_expect(two, "user:5", STRATA_MISS, NULL);
    strata_close(two);
}

static void in_a_cluster(void **state)
{
    (void)state;
    static struct redis_nodes nodes;
    char url[256];
    strata *one = NULL, *bare = NULL;
    redis_nodes_cluster(&nodes, 0);
    (void)snprintf(url, sizeof url, "redis+cluster://127.0.0.1:%u?prefix=app:&sweep_count=50&" REDIS_PATIENT,
                   (unsigned)nodes.servers[0].port);
    if (open_url_alone(&one, url, NULL, &err) != STRATA_OK)
        fail_msg("%s", err.message);
    set_numbered(one, "user:", 3000, NULL, 0);
    set_numbered(one, "other:", 300, NULL, 0);
    redis_cache_nap(1500); /* clocks decide: what is told apart by them */
    ban_prefix(one, "user:", 0);
    redis_cache_nap(1500);
    set_numbered(one, "user:", 10, NULL, 0);
    for (int i = 0; i < LOOKS && swept(one) < 2990; i++)
        redis_cache_nap(10);
    assert_in_range(swept(one), 2990, 3000);
    redis_cache_expect(one, "user:5", STRATA_OK, "value");
    redis_cache_expect(one, "other:299", STRATA_OK, "value");
    /* Without a prefix nothing tells them from another cache's. */
    strata_redis_options redis = STRATA_REDIS_OPTIONS_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    (void)snprintf(url, sizeof url, "redis+cluster://127.0.0.1:%u", (unsigned)nodes.servers[0].port);
    redis.url = url;
    redis.prefix = "";
    strata_layer *layer = strata_redis_layer(&redis);
    options.layers = &layer;
    options.layer_count = 1;
    if (open_alone(&bare, &options, &err) != STRATA_OK)
        fail_msg("%s", err.message);
    ban_prefix(bare, "app:", 0);
    redis_cache_nap(500);
    assert_int_equal(swept(bare), 0);
    strata_close(bare);
    redis_cache_expect(one, "other:299", STRATA_OK, "value");
    strata_close(one);
    redis_nodes_stop(&nodes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fifty_thousand, start, stop),
        cmocka_unit_test_setup_teardown(what_looks_like_a_pattern, start, stop),
        cmocka_unit_test_setup_teardown(patterns, start, stop),
        cmocka_unit_test_setup_teardown(tags, start, stop),
        cmocka_unit_test_setup_teardown(leases_stay, start, stop),
        cmocka_unit_test_setup_teardown(goes_on, start, stop),
        cmocka_unit_test_setup_teardown(stops_at_close, start, stop),
        cmocka_unit_test(in_a_cluster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
