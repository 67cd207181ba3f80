/* test_zone_open.c - zones by name: those of this machine against the C library, files that lie, and a cache that uses one. */
#include <time.h>

#include "src/format/tzif.h"
#include "src/policy/zone.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/core_fixture.h"

static void expect_none(const char *name, const char *words)
{
    strata_zone *zone = (strata_zone *)(uintptr_t)1;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata_zone_new(&zone, name, &err), STRATA_EINVAL);
    assert_null(zone);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", words, err.message);
}

/* Changes before the rule alone (Casablanca's are listed to 2087), at midnight, of half an hour, and none. */
static void test_named_zones(void **state)
{
    (void)state;
    static const char *const names[] = { "Europe/Berlin",
                                         "America/New_York",
                                         "Africa/Casablanca",
                                         "America/Havana",
                                         "Australia/Lord_Howe",
                                         "Asia/Kolkata",
                                         "UTC",
                                         "Pacific/Apia" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        strata_zone *zone = NULL;
        strata_error err = STRATA_ERROR_INIT;
        if (strata_zone_new(&zone, names[i], &err) != STRATA_OK)
            fail_msg("%s", err.message);
        setenv("TZ", names[i], 1);
        tzset();
        for (int64_t at = 0; at < INT64_C(4102444800); at += 7 * 3600 + 777) { /* 1970 to 2100 */
            time_t t = (time_t)at;
            struct tm tm;
            assert_non_null(localtime_r(&t, &tm));
            if (strata__zone_offset(zone, at) != tm.tm_gmtoff)
                fail_msg("%s at %lld: %lld, not %ld", names[i], (long long)at, (long long)strata__zone_offset(zone, at),
                         tm.tm_gmtoff);
        }
        strata_zone_free(zone);
    }
    unsetenv("TZ");
    tzset();
}

static void test_wrong_names(void **state)
{
    (void)state;
    expect_none("Mars/Olympus", "install tzdata");
    expect_none("../../etc/passwd", "no zone");
    expect_none("/etc/passwd", "is no zoneinfo file");
    expect_none("/nowhere/at/all", "no zone");
    expect_none("Europe/../../../../etc/passwd", "no zone");
    expect_none("Europe", "no zone"); /* a directory */
    expect_none("", "1 to 255 bytes");
    assert_int_equal(strata_zone_new(NULL, "UTC", NULL), STRATA_EINVAL);
    strata_zone_free(NULL);
}

static void put(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* The smallest file: one kind, two changes. */
static size_t small_file(unsigned char out[200])
{
    static const unsigned char body[] = { 0,    0,   0,    0,    0,   0,   0,   100, 0,    0,    0, 0,
                                          0,    0,   0,    200,                                        /* moments */
                                          1,    0,                                                     /* kinds */
                                          0,    0,   0x0e, 0x10, 0,   0,   0,   0,   0x1c, 0x20, 1, 0, /* offsets */
                                          'A',  'B', 'C',  0,                                          /* names */
                                          '\n', 'A', 'B',  'C',  '-', '1', '\n' };
    memset(out, 0, 200);
    memcpy(out, "TZif2", 5);
    memcpy(out + 44, "TZif2", 5);
    out[44 + 35] = 2; /* timecnt */
    out[44 + 39] = 2; /* typecnt */
    out[44 + 43] = 4; /* charcnt */
    memcpy(out + 88, body, sizeof body);
    return 88 + sizeof body;
}

static void test_files_that_lie(void **state)
{
    (void)state;
    char dir[256], path[400];
    unsigned char good[200], bad[200];
    struct tzif t;
    size_t size = small_file(good);
    temp_dir_make(dir, sizeof dir);
    (void)snprintf(path, sizeof path, "%s/file", dir);
    put(path, good, size);
    strata_zone *zone = NULL;
    assert_int_equal(strata_zone_new(&zone, path, NULL), STRATA_OK);
    assert_int_equal(strata__zone_offset(zone, 99), 3600);
    assert_int_equal(strata__zone_offset(zone, 100), 7200);
    assert_int_equal(strata__zone_offset(zone, 200), 3600);
    strata_zone_free(zone);
    for (size_t cut = 0; cut < size; cut++) /* however much of it is missing */
        assert_int_equal(strata__tzif_read(good, cut, &t), 0);
    static const struct {
        size_t at;
        unsigned char byte;
    } lies[] = { { 0, 't' },      { 4, '1' },     { 44, 'x' },    { 44 + 32, 1 },
                 { 44 + 35, 3 },  { 44 + 39, 1 }, { 44 + 39, 0 }, { 88 + 7, 200 }, /* moments that stand still */
                 { 88 + 16, 2 },                                                   /* a kind that is not there */
                 { 88 + 19, 7 },                                                   /* days ahead of UTC */
                 { 88 + 34, ' ' } };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        memcpy(bad, good, sizeof bad);
        bad[lies[i].at] = lies[i].byte;
        if (strata__tzif_read(bad, size, &t))
            fail_msg("lie %zu is believed", i);
    }
    good[88 + 36] = '-'; /* of its rule */
    put(path, good, size);
    expect_none(path, "install tzdata anew");
    temp_dir_remove(dir);
}

/* What is set and loaded is fresh until the hour, in all layers, and then no more. */
static void test_a_cache_until_the_hour(void **state)
{
    (void)state;
    struct stack st;
    strata_zone *zone = NULL;
    strata_policy p = STRATA_POLICY_INIT;
    struct origin o = { .st = &st, .value = "v" };
    assert_int_equal(strata_zone_new(&zone, "<+0545>-5:45", NULL), STRATA_OK);
    p.align_ms = 3600000;
    p.align_zone = zone;
    open_stack(&st, &(struct stack_options){ .policy = &p, .with_slow = 1 });
    pass(&st, 12345);
    int64_t wall = ex_wall_ms(st.ex), want = 3600000 - (wall + 2700000) % 3600000, left = 0;
    assert_int_equal(strata_set(st.cache, strata_str("s"), strata_str("v"), NULL, NULL), STRATA_OK);
    assert_load(&st, "l", &o, NULL, STRATA_OK, "v");
    run(&st);
    assert_int_equal(strata_ttl(st.cache, strata_str("s"), &left, NULL), STRATA_OK);
    assert_int_equal(left, want);
    assert_int_equal(script_find(st.slow, strata_str("l"), 0)->meta.fresh_ms, want);
    pass(&st, want - 1);
    assert_get(&st, "s", STRATA_OK, "v");
    assert_get(&st, "l", STRATA_OK, "v");
    pass(&st, 1);
    assert_get(&st, "s", STRATA_MISS, NULL);
    assert_load(&st, "l", &o, NULL, STRATA_OK, "v");
    assert_int_equal(o.calls, 2);
    assert_int_equal(strata_ttl(st.cache, strata_str("l"), &left, NULL), STRATA_OK);
    assert_int_equal(left, 3600000);
    close_stack(&st);
    strata_zone_free(zone);
}

/* A shop's day ends at 17:30 in its zone: a key each, one of them without an end. */
struct closing {
    const strata_zone *zone;
    int asked;
};

static int64_t at_closing(int64_t now_ms, strata_slice key, void *ctx)
{
    struct closing *c = ctx;
    c->asked++;
    if (key.size == 4 && memcmp(key.data, "open", 4) == 0)
        return 0;
    int64_t offset = strata_zone_offset_ms(c->zone, now_ms), day = 86400000, local = now_ms + offset;
    int64_t end = local / day * day + INT64_C(63000000);
    return (end > local ? end : end + day) - offset;
}

static void note_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    (void)ctx, (void)err;
    assert_int_equal(status, STRATA_OK);
    strata_value_unref(value);
}

static int64_t left_of(struct stack *st, const char *key)
{
    int64_t left = -1;
    assert_int_equal(strata_ttl(st->cache, strata_str(key), &left, NULL), STRATA_OK);
    return left;
}

/* Set, set with others, set later and loaded: the function is asked once for each, and never for what is read. */
static void test_a_cache_until_closing(void **state)
{
    (void)state;
    struct stack st;
    strata_zone *zone = NULL;
    assert_int_equal(strata_zone_new(&zone, "<+0545>-5:45", NULL), STRATA_OK);
    assert_int_equal(strata_zone_offset_ms(zone, -1), 20700000);
    assert_int_equal(strata_zone_offset_ms(NULL, 5), 0);
    struct closing c = { .zone = zone };
    strata_policy p = STRATA_POLICY_INIT;
    p.align = at_closing;
    p.align_ctx = &c;
    for (int slow = 0; slow < 2; slow++) {
        struct origin o = { .st = &st, .value = "v" };
        open_stack(&st, &(struct stack_options){ .policy = &p, .with_slow = slow });
        int64_t want = at_closing(ex_wall_ms(st.ex), strata_str("k"), &c) - ex_wall_ms(st.ex);
        c.asked = 0;
        strata_item items[2] = { { .key = strata_str("m"), .set = strata_str("v") },
                                 { .key = strata_str("open"), .set = strata_str("v") } };
        assert_int_equal(strata_set(st.cache, strata_str("s"), strata_str("v"), NULL, NULL), STRATA_OK);
        assert_int_equal(strata_set_many(st.cache, items, 2, NULL, NULL), STRATA_OK);
        assert_int_equal(strata_set_async(st.cache, strata_str("a"), strata_str("v"), NULL, NULL, note_done, &st, NULL),
                         STRATA_PENDING);
        assert_load(&st, "l", &o, NULL, STRATA_OK, "v");
        run(&st);
        assert_int_equal(c.asked, 5);
        for (const char *const *key = (const char *const[]){ "s", "m", "a", "l", NULL }; *key != NULL; key++)
            assert_int_equal(left_of(&st, *key), want);
        assert_int_equal(left_of(&st, "open"), 3600000);
        pass(&st, want - 1);
        assert_get(&st, "l", STRATA_OK, "v");
        pass(&st, 1);
        assert_get(&st, "l", STRATA_MISS, NULL);
        assert_int_equal(c.asked, 5);
        assert_load(&st, "l", &o, NULL, STRATA_OK, "v");
        assert_int_equal(left_of(&st, "l"), 86400000);
        strata_policy own = STRATA_POLICY_INIT; /* a call's ttl_ms is nearer */
        own.ttl_ms = 50;
        assert_int_equal(strata_set(st.cache, strata_str("s"), strata_str("v"), &own, NULL), STRATA_OK);
        assert_int_equal(left_of(&st, "s"), 50);
        close_stack(&st);
    }
    strata_zone_free(zone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_named_zones),           cmocka_unit_test(test_wrong_names),
        cmocka_unit_test(test_files_that_lie),        cmocka_unit_test(test_a_cache_until_the_hour),
        cmocka_unit_test(test_a_cache_until_closing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
