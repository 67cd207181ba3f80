/* test_options.c - options structs and their rows: none forgotten, none wrong, old and new callers, and text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "src/policy/options.h"
#include "strata/bus_redis.h"
#include "strata/bus_redis_tracking.h"
#include "strata/cache.h"
#include "strata/disk.h"
#include "strata/memory.h"
#include "strata/rabbitmq.h"
#include "strata/nats.h"
#include "strata/redis.h"
#include "strata/snapshot.h"
#include "strata/warm.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* The structs, with what the compiler pads them by.  A new field without a row makes the sums differ. */
static const struct {
    const struct option_rows *rows;
    size_t size;
    size_t padding;
} structs[] = {
    { &strata__disk_rows, sizeof(strata_disk_options), 0 },
    { &strata__memory_rows, sizeof(strata_memory_options), 4 },       /* after negative_percent */
    { &strata__cache_option_rows, sizeof(strata_options), 4 },        /* after write_policy */
    { &strata__coherence_rows, sizeof(strata_coherence_options), 4 }, /* after default_bus */
    { &strata__namespace_option_rows, sizeof(strata_namespace_options), 0 },
    { &strata__policy_rows, sizeof(strata_policy), 0 },
    { &strata__rabbitmq_rows, sizeof(strata_rabbitmq_options), 0 },
    { &strata__redis_rows, sizeof(strata_redis_options), 0 },
    { &strata__redis_bus_rows, sizeof(strata_redis_bus_options), 4 },
    { &strata__redis_tracking_rows, sizeof(strata_redis_tracking_options), 0 },
    { &strata__snapshot_rows, sizeof(strata_snapshot_options), 0 },
    { &strata__warm_rows, sizeof(strata_warm_options), 0 },
    { &strata__nats_rows, sizeof(strata_nats_options), 0 },
};

static void test_every_field_has_its_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(structs); i++) {
        const struct option_rows *rows = structs[i].rows;
        size_t covered = 0, end = 0;
        assert_int_equal(rows->size, structs[i].size);
        for (size_t k = 0; k < rows->count; k++) {
            size_t width = strata__option_width(rows->rows[k].type);
            assert_true(rows->rows[k].offset >= end); /* in order, and no two on one field */
            assert_int_equal(rows->rows[k].offset % width, 0);
            end = rows->rows[k].offset + width;
            covered += width;
            assert_non_null(rows->rows[k].help);
        }
        assert_int_equal(rows->rows[0].type, OPTION_SIZE_FIELD);
        assert_int_equal(rows->rows[0].offset, 0);
        if (covered + structs[i].padding != rows->size)
            fail_msg("%s: the rows cover %zu of %zu bytes", rows->what, covered, rows->size);
    }
}

static void test_presets_are_within_their_bounds(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(structs); i++) {
        union {
            size_t size;
            char bytes[512];
        } filled, known;
        memset(&filled, 0, sizeof filled);
        filled.size = structs[i].size;
        strata__options_fill(structs[i].rows, &filled);
        assert_int_equal(
            strata__options_check(structs[i].rows, &filled, structs[i].size, &known, structs[i].size, NULL), STRATA_OK);
    }
}

static int check_memory(const strata_memory_options *options, strata_memory_options *known, strata_error *err)
{
    return strata__options_check(&strata__memory_rows, options, options->size, known, sizeof *known, err);
}

static void test_good_options_are_copied(void **state)
{
    (void)state;
    strata_memory_options known, o = { STRATA_SIZED(strata_memory_options), .max_bytes = 1 << 20, .name = "hot" };
    assert_int_equal(check_memory(&o, &known, NULL), STRATA_OK);
    assert_int_equal(known.max_bytes, 1 << 20);
    assert_string_equal(known.name, "hot");
    assert_int_equal(known.negative_percent, 0);
    strata__options_fill(&strata__memory_rows, &known);
    assert_int_equal(known.max_bytes, 1 << 20);
    assert_int_equal(known.negative_percent, 5);
    assert_int_equal(known.policy, STRATA_EVICT_S3FIFO);
}

static void expect_refusal(const strata_memory_options *o, const char *field, const char *words)
{
    strata_memory_options known;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(check_memory(o, &known, &err), STRATA_EINVAL);
    assert_int_equal(err.status, STRATA_EINVAL);
    assert_string_equal(err.where, field);
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.message, words);
}

static void test_refusals_name_field_bounds_and_what_was_given(void **state)
{
    (void)state;
    strata_memory_options o = { STRATA_SIZED(strata_memory_options), .max_bytes = 1000 };
    expect_refusal(&o, "max_bytes", "max_bytes is 1000: give 65536 to");
    o.max_bytes = UINT64_MAX;
    expect_refusal(&o, "max_bytes", "18446744073709551615");
    o = (strata_memory_options){ STRATA_SIZED(strata_memory_options), .policy = 8 };
    expect_refusal(&o, "policy", "from 1 to 7");
    o.policy = -1;
    expect_refusal(&o, "policy", "-1");
    o = (strata_memory_options){ STRATA_SIZED(strata_memory_options), .negative_percent = 51 };
    expect_refusal(&o, "negative_percent", "1 to 50");
    o = (strata_memory_options){ STRATA_SIZED(strata_memory_options), .name = "" };
    expect_refusal(&o, "name", "empty");
    o.name = "a name that is much longer than thirty-one bytes";
    expect_refusal(&o, "name", "31 bytes");
    o.name = "exactly 31 bytes, and no more..";
    strata_memory_options known;
    assert_int_equal(check_memory(&o, &known, NULL), STRATA_OK);
}

static void test_sizes_of_structs(void **state)
{
    (void)state;
    struct {
        strata_memory_options known;
        uint64_t added;
    } newer = { { .size = sizeof newer, .max_entries = 5 }, 0 };
    strata_memory_options out;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(check_memory(&newer.known, &out, &err), STRATA_OK);
    assert_int_equal(out.max_entries, 5);
    assert_int_equal(out.size, sizeof out);
    newer.added = 1;
    expect_refusal(&newer.known, "size", "newer strata");
    strata_memory_options o = { .size = offsetof(strata_memory_options, policy), .max_entries = 6, .policy = 99 };
    assert_int_equal(check_memory(&o, &out, &err), STRATA_OK); /* an older caller has no policy field */
    assert_int_equal(out.max_entries, 6);
    assert_int_equal(out.policy, 0);
    o.size = 0;
    expect_refusal(&o, "size", "STRATA_MEMORY_OPTIONS_INIT");
    o.size = SIZE_MAX; /* garbage: nothing may be read by it */
    expect_refusal(&o, "size", "start the struct from");
}

static int set(const char *name, const char *value, strata_memory_options *o, strata_error *err)
{
    memset(o, 0, sizeof *o);
    return strata__option_set(&strata__memory_rows, o, "memory", name, value, err);
}

static void test_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes;
    } sizes[] = { { "65536b", 65536 },     { "64kb", 65536 },     { "64mb", 64u << 20 },
                  { "0064mb", 64u << 20 }, { "3gb", 3ull << 30 }, { "200gb", 200ull << 30 } };
    strata_memory_options o;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        assert_int_equal(set("max_bytes", sizes[i].text, &o, NULL), STRATA_OK);
        assert_int_equal(o.max_bytes, sizes[i].bytes);
    }
    strata_options cache;
    memset(&cache, 0, sizeof cache);
    assert_int_equal(strata__option_set(&strata__cache_option_rows, &cache, "cache", "max_value_bytes", "2tb", NULL),
                     STRATA_OK);
    assert_int_equal(cache.max_value_bytes, 2ull << 40);
    assert_int_equal(set("max_bytes", "25%", &o, NULL), STRATA_OK);
    assert_int_equal(o.max_bytes, 0);
    assert_int_equal(o.max_percent, 25);
    assert_int_equal(set("max_entries", "1000", &o, NULL), STRATA_OK);
    assert_int_equal(o.max_entries, 1000);
    assert_int_equal(set("max_entries", "0", &o, NULL), STRATA_OK); /* 0 is none, and says so in the header */
    assert_int_equal(set("policy", "w-tinylfu", &o, NULL), STRATA_OK);
    assert_int_equal(o.policy, STRATA_EVICT_WTINYLFU);
    assert_int_equal(set("shards", "1", &o, NULL), STRATA_OK);
    assert_int_equal(o.shards, 1);
    assert_int_equal(o.negative_percent, 0); /* its neighbours stay as they are */
    assert_int_equal(o.policy, 0);
    assert_int_equal(set("name", "hot", &o, NULL), STRATA_OK);
    assert_string_equal(o.name, "hot");
}

static void test_wrong_text_is_refused_with_words(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *words;
    } wrong[] = {
        { "max_bytes", "64", "write max_bytes=64mb" },
        { "max_bytes", "mb", "no whole number" },
        { "max_bytes", "-64mb", "no whole number" },
        { "max_bytes", "1.5gb", "no such unit" },
        { "max_bytes", "64 mb", "no such unit" },
        { "max_bytes", "64mbx", "no such unit as \"mbx\"" },
        { "max_bytes", "64mib", "b, kb, mb, gb, tb" },
        { "max_bytes", "1kb", "write 64kb to 255gb" },
        { "max_bytes", "18446744073709551616b", "no whole number" },
        { "max_bytes", "18446744073709551615tb", "too large" },
        { "max_bytes", "96%", "write max_percent=20%" },
        { "max_bytes", "1.5%", "write max_percent=20%" },
        { "max_bytes", "%", "no share" },
        { "max_entries", "10%", "no whole number" },
        { "max_entries", "10k", "no whole number" },
        { "max_entries", "99999999999999", "out of bounds" },
        { "max_entries", "", "no whole number" },
        { "negative_percent", "51", "write 1 to 50" },
        { "policy", "lrux", "s3-fifo, w-tinylfu, lru, lfu, fifo, sieve, cost" },
        { "name", "", "write 1 to 31" },
        { "name", "a name that is much longer than thirty-one bytes", "write 1 to 31" },
        { "bytes", "1mb",
          "max_bytes,max_entries,policy,shards,negative_percent,max_ttl_ms,name,max_percent,pressure,pressure_floor_"
          "percent,resident_percent,pressure_file" },
        { "size", "48", "no such parameter" },
    };
    for (size_t i = 0; i < COUNT(wrong); i++) {
        strata_error err = STRATA_ERROR_INIT;
        strata_memory_options o;
        const strata_memory_options zero = { 0 };
        assert_int_equal(set(wrong[i].name, wrong[i].value, &o, &err), STRATA_EINVAL);
        assert_string_equal(err.where, "memory");
        if (strstr(err.message, wrong[i].words) == NULL)
            fail_msg("%s=%s: \"%s\" does not say \"%s\"", wrong[i].name, wrong[i].value, err.message, wrong[i].words);
        assert_memory_equal(&o, &zero, sizeof o);
    }
}

/* Whatever name was given, all that there are stand in the message, where they fit. */
static void test_an_unknown_name_is_told_all_known_ones(void **state)
{
    (void)state;
    static const struct option_rows *const tables[] = { &strata__memory_rows };
    for (size_t t = 0; t < COUNT(tables); t++) {
        strata_error err = STRATA_ERROR_INIT;
        uint64_t room[64] = { 0 };
        assert_int_equal(
            strata__option_set(tables[t], room, "layer", "a_name_that_is_longer_than_any_option_has", "1", &err),
            STRATA_EINVAL);
        for (size_t i = 0; i < tables[t]->count; i++) {
            const struct option_row *row = &tables[t]->rows[i];
            int listed = strstr(err.message, row->name) != NULL;
            if (row->type != OPTION_SIZE_FIELD && strcmp(row->name, "reserved") != 0 && !listed)
                fail_msg("%s is not in \"%s\"", row->name, err.message);
        }
        assert_true(strlen(err.message) < sizeof err.message - 1);
        assert_int_equal(strata__option_set(tables[t], room, "layer", "reserved", "0", &err), STRATA_EINVAL);
    }
}

/* More than a message holds: whole names, and a sign that there are others. */
static void test_a_long_list_of_names_is_cut_between_them(void **state)
{
    (void)state;
    strata_error err = STRATA_ERROR_INIT;
    uint64_t room[64] = { 0 };
    assert_int_equal(strata__option_set(&strata__redis_rows, room, "redis", "prefx", "a", &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "\"prefx\": is it prefix?; known: url,prefix,"));
    assert_string_equal(err.message + strlen(err.message) - 4, ",...");
    const char *last = err.message + strlen(err.message) - 4;
    while (last[-1] != ',')
        last--;
    int whole = 0;
    for (size_t i = 0; i < strata__redis_rows.count; i++) {
        const char *name = strata__redis_rows.rows[i].name;
        whole |= strlen(name) == strlen(last) - 4 && strncmp(name, last, strlen(name)) == 0;
    }
    assert_true(whole);
}

/* In text as in the struct. */
static void test_zero_takes_the_default_everywhere(void **state)
{
    (void)state;
    strata_memory_options o;
    strata_disk_options disk = STRATA_DISK_OPTIONS_INIT;
    assert_int_equal(set("max_bytes", "0b", &o, NULL), STRATA_OK);
    assert_int_equal(o.max_bytes, 0);
    assert_int_equal(set("negative_percent", "0", &o, NULL), STRATA_OK);
    assert_int_equal(strata__option_set(&strata__disk_rows, &disk, "disk", "dead_percent", "0", NULL), STRATA_OK);
    assert_int_equal(strata__option_set(&strata__disk_rows, &disk, "disk", "max_entries", "0", NULL), STRATA_OK);
    strata__options_fill(&strata__disk_rows, &disk);
    assert_int_equal(disk.dead_percent, 20);
}

static int set_policy(const char *name, const char *value, strata_policy *p, strata_error *err)
{
    memset(p, 0, sizeof *p);
    return strata__option_set(&strata__policy_rows, p, "policy", name, value, err);
}

static void test_durations_and_switches(void **state)
{
    (void)state;
    strata_policy p;
    strata_error err = STRATA_ERROR_INIT;
    static const struct {
        const char *text;
        int64_t ms;
    } durations[] = { { "250ms", 250 },
                      { "10s", 10000 },
                      { "5m", 300000 },
                      { "2h", 7200000 },
                      { "7d", 604800000 },
                      { "off", STRATA_OFF },
                      { "forever", STRATA_FOREVER } };
    for (size_t i = 0; i < COUNT(durations); i++) {
        assert_int_equal(set_policy("ttl_ms", durations[i].text, &p, &err), STRATA_OK);
        assert_int_equal(p.ttl_ms, durations[i].ms);
    }
    assert_int_equal(set_policy("ttl_ms", "10", &p, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "write ttl_ms=10ms (units: ms, s, m, h, d"));
    assert_int_equal(set_policy("ttl_ms", "9223372036854775807ms", &p, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "forever"));
    assert_int_equal(set_policy("single_flight", "off", &p, &err), STRATA_OK);
    assert_int_equal(p.single_flight, STRATA_OFF);
    assert_int_equal(set_policy("single_flight", "on", &p, &err), STRATA_OK);
    assert_int_equal(p.single_flight, STRATA_ON);
    assert_int_equal(set_policy("single_flight", "yes", &p, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "single_flight=on"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_has_its_row),
        cmocka_unit_test(test_presets_are_within_their_bounds),
        cmocka_unit_test(test_good_options_are_copied),
        cmocka_unit_test(test_refusals_name_field_bounds_and_what_was_given),
        cmocka_unit_test(test_sizes_of_structs),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_wrong_text_is_refused_with_words),
        cmocka_unit_test(test_an_unknown_name_is_told_all_known_ones),
        cmocka_unit_test(test_a_long_list_of_names_is_cut_between_them),
        cmocka_unit_test(test_zero_takes_the_default_everywhere),
        cmocka_unit_test(test_durations_and_switches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
