/* test_generation.c - a name that all entries of a namespace carry, and its ban. */
#include <stdio.h>
#include <string.h>

#include "src/core/generation.h"
#include "src/base/hash.h"
#include "src/core/bans.h"
#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/temp_dir.h"

static strata_error err;

static strata *open_cache(const char *url, const char *generation)
{
    strata *cache = NULL;
    strata_options options = STRATA_OPTIONS_INIT;
    options.generation = generation;
    if (strata_open_url(&cache, url, &options, &err) != STRATA_OK)
        fail_msg("%s", err.message);
    return cache;
}

#define MEMORY "memory:?max_bytes=4mb"

static strata *open_space(strata *parent, const char *name, const char *generation)
{
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    strata *out = NULL;
    options.generation = generation;
    if (strata_namespace(parent, name, &options, &out, &err) != STRATA_OK)
        fail_msg("%s", err.message);
    return out;
}

static void set(strata *cache, const char *key)
{
    assert_int_equal(strata_set(cache, strata_str(key), strata_str("v"), NULL, &err), STRATA_OK);
}

static int status_of(strata *cache, const char *key)
{
    strata_value *v = NULL;
    int rc = strata_get(cache, strata_str(key), &v, &err);
    strata_value_unref(v);
    return rc;
}

static uint64_t number(strata *cache)
{
    uint64_t n = 1;
    assert_int_equal(strata_generation_get(cache, &n, &err), STRATA_OK);
    return n;
}

static int load_tagged(strata_load *load, strata_slice key, void *ctx)
{
    (void)ctx;
    if (memcmp(key.data, "absent", 6) == 0)
        return strata_load_absent(load);
    if (memcmp(key.data, "tagged", 6) == 0)
        assert_int_equal(strata_load_tag(load, "a tag"), STRATA_OK);
    return strata_load_copy(load, "v", 1);
}

/* Everything that comes in, on every way. */
static void every_entry_has_it(void **state)
{
    (void)state;
    static const char *const keys[] = { "set", "set tagged", "many", "loaded", "tagged load", "absent" };
    const strata_slice tag = strata_str("a tag");
    strata_policy policy = STRATA_POLICY_INIT;
    policy.negative_ttl_ms = 60000;
    for (int way = 0; way < 2; way++) {
        strata *cache = open_cache(way == 0 ? MEMORY : MEMORY " | " MEMORY "&name=second", "v1");
        strata_item item = { .key = strata_str("many"), .set = strata_str("v") };
        strata_value *v = NULL;
        set(cache, "set");
        assert_int_equal(strata_set_tagged(cache, strata_str("set tagged"), strata_str("v"), &tag, 1, NULL, &err),
                         STRATA_OK);
        assert_int_equal(strata_set_many(cache, &item, 1, NULL, &err), STRATA_OK);
        for (int i = 3; i < 6; i++) {
            int rc = strata_get_or_load(cache, strata_str(keys[i]), load_tagged, NULL, &policy, &v, &err);
            assert_int_equal(rc, i == 5 ? STRATA_ABSENT : STRATA_OK);
            strata_value_unref(v);
        }
        for (int i = 0; i < 6; i++)
            assert_int_equal(status_of(cache, keys[i]), i == 5 ? STRATA_ABSENT : STRATA_OK);
        uint64_t first = 0;
        assert_int_equal(number(cache), 0);
        assert_int_equal(strata_generation_bump(cache, STRATA_BAN_HARD, &first, &err), STRATA_OK);
        for (int i = 0; i < 6; i++)
            assert_int_equal(status_of(cache, keys[i]), STRATA_MISS);
        assert_true(first > 0 && number(cache) == first);
        set(cache, "set");
        assert_int_equal(status_of(cache, "set"), STRATA_OK);
        assert_int_equal(strata_generation_bump(cache, STRATA_BAN_HARD, NULL, &err), STRATA_OK);
        assert_int_equal(status_of(cache, "set"), STRATA_MISS);
        assert_true(number(cache) > first);
        /* An application's tag of the same name is another one. */
        set(cache, "set");
        uint64_t before = number(cache);
        assert_int_equal(strata_ban_tag(cache, "v1", 0, &err), STRATA_OK);
        assert_int_equal(status_of(cache, "set"), STRATA_OK);
        assert_true(number(cache) == before);
        strata_close(cache);
    }
}

static void of_namespaces(void **state)
{
    (void)state;
    strata *cache = open_cache(MEMORY, NULL);
    strata *a = open_space(cache, "a", "models"), *below = open_space(a, "below", "prices");
    strata *beside = open_space(cache, "b", "models"), *plain = open_space(cache, "c", NULL);
    strata *all[] = { cache, a, below, beside, plain };
    uint64_t n;
    for (int i = 0; i < 5; i++)
        set(all[i], "k");
    assert_int_equal(strata_generation_bump(below, 0, &n, &err), STRATA_OK); /* its own alone */
    assert_int_equal(status_of(below, "k"), STRATA_MISS);
    assert_int_equal(status_of(a, "k"), STRATA_OK);
    assert_true(number(below) == n && number(a) == 0);
    set(below, "k");
    assert_int_equal(strata_generation_bump(beside, 0, &n, &err), STRATA_OK); /* all of that name, and what is below */
    assert_int_equal(status_of(a, "k"), STRATA_MISS);
    assert_int_equal(status_of(below, "k"), STRATA_MISS);
    assert_int_equal(status_of(beside, "k"), STRATA_MISS);
    assert_int_equal(status_of(plain, "k"), STRATA_OK);
    assert_int_equal(status_of(cache, "k"), STRATA_OK);
    assert_true(number(a) == n && number(beside) == n);
    /* Who comes later knows it, too, and inherits it. */
    strata *later = open_space(plain, "later", "models"), *inside = open_space(later, "in", NULL),
           *same = open_space(later, "same", "models");
    assert_true(number(later) == n && number(inside) == n && number(same) == n);
    set(inside, "k");
    assert_int_equal(strata_generation_bump(same, STRATA_BAN_SOFT, NULL, &err), STRATA_OK);
    assert_int_equal(status_of(inside, "k"), STRATA_MISS); /* without a stale window */
    assert_true(number(a) > n);
    /* Nobody else's. */
    assert_int_equal(strata_generation_get(plain, &n, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "generation"));
    assert_int_equal(strata_generation_bump(cache, 0, &n, &err), STRATA_EINVAL);
    assert_int_equal(strata_generation_bump(a, 8, &n, &err), STRATA_EINVAL);
    assert_int_equal(strata_generation_bump(NULL, 0, &n, &err), STRATA_EINVAL);
    assert_int_equal(strata_generation_get(a, NULL, &err), STRATA_EINVAL);
    strata *all_of_them[] = { later, inside, same, a, below, beside, plain };
    for (int i = 0; i < 7; i++)
        strata_close(all_of_them[i]);
    strata_close(cache);
}

static void wrong_names(void **state)
{
    (void)state;
    char name[300];
    strata *cache = open_cache(MEMORY, NULL), *a = open_space(cache, "a", "one"), *again = NULL;
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    options.generation = "two";
    assert_int_equal(strata_namespace(cache, "a", &options, &again, &err), STRATA_EEXIST);
    options.generation = NULL;
    assert_int_equal(strata_namespace(cache, "a", &options, &again, &err), STRATA_EEXIST);
    assert_int_equal(strata_namespace(cache, "a", NULL, &again, &err), STRATA_OK);
    strata_close(again);
    memset(name, 'x', sizeof name);
    name[299] = 0;
    options.generation = name;
    assert_int_equal(strata_namespace(cache, "b", &options, &again, &err), STRATA_EINVAL);
    options.generation = "";
    assert_int_equal(strata_namespace(cache, "b", &options, &again, &err), STRATA_EINVAL);
    strata *in = a;
    for (int i = 0; i < 64; i++) {
        (void)snprintf(name, sizeof name, "g%d", i);
        options.generation = name;
        int rc = strata_namespace(in, "n", &options, &again, &err);
        assert_int_equal(rc, i < 63 ? STRATA_OK : STRATA_EINVAL);
        strata_close(in);
        in = again;
    }
    strata_close(cache);
}

/* As many tags as there may be, beside those of the generations: then it counts as having any. */
static void with_many_tags(void **state)
{
    (void)state;
    static strata_slice tags[STRATA_TAGS_MAX];
    static char names[STRATA_TAGS_MAX][16];
    strata *cache = open_cache(MEMORY, "v1"), *in = open_space(cache, "in", "v2");
    for (int i = 0; i < STRATA_TAGS_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "%d", i);
        tags[i] = strata_str(names[i]);
    }
    assert_int_equal(strata_set_tagged(in, strata_str("k"), strata_str("v"), tags, STRATA_TAGS_MAX - 2, NULL, &err),
                     STRATA_OK);
    assert_int_equal(strata_set_tagged(in, strata_str("full"), strata_str("v"), tags, STRATA_TAGS_MAX, NULL, &err),
                     STRATA_OK);
    assert_int_equal(strata_ban_tag(in, "none of these", 0, &err), STRATA_OK);
    assert_int_equal(status_of(in, "k"), STRATA_OK);
    assert_int_equal(status_of(in, "full"), STRATA_MISS);
    assert_int_equal(strata_generation_bump(cache, 0, NULL, &err), STRATA_OK);
    assert_int_equal(status_of(in, "k"), STRATA_MISS);
    strata_close(in);
    strata_close(cache);
}

struct bumped {
    int status, calls;
};

static void on_done(int status, strata_value *value, const strata_error *why, void *ctx)
{
    struct bumped *b = ctx;
    (void)why;
    strata_value_unref(value);
    b->status = status;
    b->calls++;
}

static void later(void **state)
{
    (void)state;
    struct bumped b = { -1, 0 };
    strata_queue *queue = NULL;
    strata *cache = open_cache(MEMORY, "v1");
    assert_int_equal(strata_queue_open(&queue, &err), STRATA_OK);
    set(cache, "k");
    assert_int_equal(strata_generation_bump_async(cache, 0, queue, on_done, &b, &err), STRATA_PENDING);
    while (b.calls == 0) {
        (void)strata_queue_wait(queue, -1);
        (void)strata_queue_run(queue, 0);
    }
    assert_int_equal(b.status, STRATA_OK);
    assert_int_equal(status_of(cache, "k"), STRATA_MISS);
    strata_queue_close(queue);
    strata_close(cache);
}

/* A disk keeps bumps: what it held is not there after a restart, and the number is the same. */
static void after_a_restart(void **state)
{
    (void)state;
    char dir[256], url[512];
    temp_dir_make(dir, sizeof dir);
    (void)snprintf(url, sizeof url, MEMORY " | disk:%s?max_bytes=16mb", dir);
    strata *cache = open_cache(url, "v1");
    set(cache, "old");
    uint64_t n;
    assert_int_equal(strata_generation_bump(cache, 0, &n, &err), STRATA_OK);
    set(cache, "new");
    strata_close(cache);
    cache = open_cache(url, "v1");
    assert_int_equal(status_of(cache, "old"), STRATA_MISS);
    assert_true(number(cache) != 0 && number(cache) <= n);
    strata_close(cache);
    temp_dir_remove(dir);
}

/* However many tags were banned since. */
static void that_was_folded(void **state)
{
    (void)state;
    strata *cache = open_cache(MEMORY, NULL);
    uint64_t id = strata__hash("g", 1, 0x6e67);
    struct ban ban = {
        .kind = BAN_TAGS_ANY, .tags = &id, .tag_count = 1, .path = strata_str(""), .store_position = 777
    };
    assert_int_equal(strata__ban_apply(cache->root, &ban), STRATA_OK);
    for (uint64_t i = 1; i <= TAG_BANS + 100; i++) {
        ban.tags = &i;
        ban.store_position = 1000 + i;
        assert_int_equal(strata__ban_apply(cache->root, &ban), STRATA_OK);
    }
    strata *space = open_space(cache, "s", "g");
    assert_true(number(space) >= 777);
    strata_close(space);
    strata_close(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(that_was_folded), cmocka_unit_test(every_entry_has_it), cmocka_unit_test(of_namespaces),
        cmocka_unit_test(wrong_names),     cmocka_unit_test(with_many_tags),     cmocka_unit_test(later),
        cmocka_unit_test(after_a_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
