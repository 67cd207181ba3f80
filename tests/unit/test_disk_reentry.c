/* test_disk_reentry.c - listeners that call the cache again while its disk layer makes room. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "strata/strata.h"
#include "tests/support/temp_dir.h"

static char value[3000];

struct echo {
    strata *cache;
    int clears;
    _Atomic(unsigned) heard, now; /* now: the key that is being set */
};

static _Thread_local int depth;

static strata *open_small(const char *path)
{
    strata *cache;
    strata_disk_options options = STRATA_DISK_OPTIONS_INIT;
    options.path = path;
    options.max_bytes = 1u << 20;
    options.segment_bytes = 64u << 10;
    options.write_buffer_bytes = 8192;
    strata_layer *layers[] = { strata_disk_layer(&options) };
    strata_options o = STRATA_OPTIONS_INIT;
    o.layers = layers;
    o.layer_count = 1;
    assert_int_equal(strata_open(&cache, &o, NULL), STRATA_OK);
    return cache;
}

static int set(strata *cache, const char *name, unsigned n)
{
    char key[32];
    snprintf(key, sizeof key, "%s:%u", name, n);
    return strata_set(cache, strata_str(key), strata_bytes(value, sizeof value), NULL, NULL);
}

/* Whoever had to leave is noted in the cache itself, which needs room, too. */
static void note_evicted(const strata_event *event, void *ctx)
{
    struct echo *echo = ctx;
    (void)event;
    if (depth > 0)
        return;
    depth++;
    for (int i = 0; i < 4; i++)
        (void)set(echo->cache, "left", echo->heard++);
    (void)set(echo->cache, "key", echo->now);
    if (echo->clears)
        (void)strata_clear(echo->cache, NULL);
    depth--;
}

static void fill_with_listener(int clears)
{
    char path[256];
    uint64_t id;
    temp_dir_make(path, sizeof path);
    struct echo echo = { .cache = open_small(path), .clears = clears };
    assert_int_equal(strata_on(echo.cache, STRATA_EVENT_EVICT, note_evicted, &echo, &id), STRATA_OK);
    for (; echo.now < 2000; echo.now++)
        (void)set(echo.cache, "key", echo.now);
    assert_true(echo.heard > 0);
    strata_close(echo.cache);
    temp_dir_remove(path);
}

static void test_a_listener_sets(void **state)
{
    (void)state;
    fill_with_listener(0);
}

static void test_a_listener_clears(void **state)
{
    (void)state;
    fill_with_listener(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_listener_sets),
        cmocka_unit_test(test_a_listener_clears),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
