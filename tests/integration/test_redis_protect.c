/* test_redis_protect.c - sealed values in a real server: who can write to it can neither read, change nor swap them. */
#include "tests/support/redis_cache.h"
#include "tests/support/redis_do.h"
#include "tests/support/temp_dir.h"

#include <sys/stat.h>

#include "src/link/cipher.h"

static struct redis_server server;
static struct redis_link *link_to;
static char dir[256], url[2][2048];

static void make_key(const char *name, int from, char path[512])
{
    snprintf(path, 512, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int k = 0; k < 32; k++)
        fputc(from + k, f);
    fclose(f);
    assert_int_equal(chmod(path, 0600), 0);
}

static int start(void **state)
{
    (void)state;
    char one[512], two[512];
    redis_server_start(&server, NULL);
    temp_dir_make(dir, sizeof dir);
    make_key("one", 1, one);
    make_key("two", 100, two);
    const char *how = strata__cipher_is_there() ? "aes-256-gcm" : "hmac-sha256";
    snprintf(url[0], sizeof url[0], "redis://127.0.0.1:%%u?prefix=app:&" REDIS_PATIENT "&protection=%s&key_file=%s",
             how, one);
    snprintf(url[1], sizeof url[1],
             "redis://127.0.0.1:%%u?prefix=app:&" REDIS_PATIENT "&protection=%s&key_file=%s&old_key_file=%s", how, two,
             one);
    link_to = redis_do_open(&server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    strata__redis_close(link_to);
    temp_dir_remove(dir);
    redis_server_stop(&server);
    return 0;
}

static strata *open_with(int which, const char *above, int with_bus)
{
    char text[4096];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    const char *port = strstr(url[which], "%u");
    snprintf(text, sizeof text, "%s%.*s%u%s", above, (int)(port - url[which]), url[which], (unsigned)server.port,
             port + 2);
    int rc = with_bus ? strata_open_url(&cache, text, NULL, &err) : open_url_alone(&cache, text, NULL, &err);
    if (rc != STRATA_OK)
        fail_msg("%s", err.message);
    return cache;
}

static strata *open_protected(int which) { return open_with(which, "", 0); }

static void it_comes_back(void **state)
{
    (void)state;
    strata *one = open_protected(0), *two = open_protected(0);
    char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    redis_cache_set(one, "k", "a secret");
    redis_cache_set(one, "longer", longer); /* packed, then sealed */
    redis_cache_expect(two, "k", STRATA_OK, "a secret");
    strata_value *v = NULL;
    assert_int_equal(strata_get(two, strata_str("longer"), &v, NULL), STRATA_OK);
    assert_int_equal(strata_value_size(v), sizeof longer - 1);
    assert_memory_equal(strata_value_data(v), longer, sizeof longer - 1);
    strata_value_unref(v);
    int loads = 0;
    redis_cache_loads(one, "loaded", &loads); /* with a lease */
    redis_cache_loads(two, "loaded", &loads);
    assert_int_equal(loads, 1);
    assert_int_equal(strata_expire(one, strata_str("k"), NULL), STRATA_OK);
    strata_close(one);
    strata_close(two);
}

static void nobody_reads_or_swaps_it(void **state)
{
    (void)state;
    strata *cache = open_protected(0);
    redis_cache_set(cache, "mine", "secret of mine");
    redis_cache_set(cache, "yours", "secret of yours");
    struct redis_answer raw = redis_do(link_to, "GET", "app:mine");
    assert_int_equal(raw.status, STRATA_OK);
    if (strata__cipher_is_there())
        assert_null(memmem(raw.text, raw.size, "secret", 6));
    assert_int_equal(redis_do(link_to, "COPY", "app:mine", "app:yours", "REPLACE").status, STRATA_OK);
    uint64_t before = redis_cache_stats(cache, 0).foreign;
    redis_cache_expect(cache, "yours", STRATA_MISS, NULL);
    redis_cache_expect(cache, "mine", STRATA_OK, "secret of mine");
    assert_int_equal(redis_cache_stats(cache, 0).foreign, before + 1);
    strata_close(cache);
}

/* Nodes tell each other what was set, by a stream on the same server: small values elsewhere, not these. */
static void nothing_lies_open_on_the_bus(void **state)
{
    (void)state;
    const char *look =
        "local n = 0; for _, k in ipairs(redis.call('KEYS', '*')) do if redis.call('TYPE', k).ok == 'stream' then "
        "for _, e in ipairs(redis.call('XRANGE', k, '-', '+')) do for _, f in ipairs(e[2]) do "
        "n = n + (string.find(f, 'the key', 1, true) and 1 or 0) "
        "if string.find(f, 'a secret', 1, true) then return -1 end end end end end return n";
    strata *cache = open_with(0, "memory: | ", 1);
    redis_cache_set(cache, "the key", "a secret");
    struct redis_answer answer = redis_do(link_to, "EVAL", look, "0");
    assert_int_equal(answer.status, STRATA_OK);
    assert_true(answer.integer > 0);
    strata_close(cache);
}

static void keys_are_changed(void **state)
{
    (void)state;
    strata *before = open_protected(0), *after = open_protected(1);
    redis_cache_set(before, "old", "1");
    redis_cache_expect(after, "old", STRATA_OK, "1");
    redis_cache_set(after, "new", "2");
    redis_cache_expect(before, "new", STRATA_MISS, NULL); /* it has to be given the new key first */
    strata *none = redis_cache_open("redis://127.0.0.1:%u?prefix=app:&" REDIS_PATIENT, server.port);
    redis_cache_expect(none, "new", STRATA_MISS, NULL);
    redis_cache_set(none, "plain", "3");
    redis_cache_expect(after, "plain", STRATA_MISS, NULL);
    strata_close(before);
    strata_close(after);
    strata_close(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_back),
        cmocka_unit_test(nobody_reads_or_swaps_it),
        cmocka_unit_test(nothing_lies_open_on_the_bus),
        cmocka_unit_test(keys_are_changed),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
