/* test_pack.c - options of compression that depend on each other, dictionaries from files, and a disk cache over them: written
 * with one, opened with another. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/pack.h"
#include "strata/strata.h"
#include "tests/support/dictionaries.h"
#include "tests/support/fail_alloc.h"
#include "tests/support/fault_nth.h"
#include "tests/support/temp_dir.h"

static char dir[128], cache_dir[160], file_a[160], file_b[160];
static uint64_t id_a, id_b;

static int set_up(void **state)
{
    (void)state;
    temp_dir_make(dir, sizeof dir);
    temp_dir_make(cache_dir, sizeof cache_dir);
    snprintf(file_a, sizeof file_a, "%s/a.dict", dir);
    snprintf(file_b, sizeof file_b, "%s/b.dict", dir);
    id_a = dictionary_file(0, file_a);
    id_b = dictionary_file(1, file_b);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    temp_dir_remove(cache_dir);
    temp_dir_remove(dir);
    return 0;
}

/* Options -------------------------------------------------------------------------------------------------------- */

static void test_defaults(void **state)
{
    (void)state;
    struct pack_options o = { 0 };
    assert_int_equal(strata__pack_fill(&o, 0, NULL), STRATA_OK);
    assert_int_equal(o.compression, STRATA_COMPRESS_NONE);
    assert_int_equal(o.compress_above_bytes, 1024);
    o = (struct pack_options){ 0 };
    assert_int_equal(strata__pack_fill(&o, 1, NULL), STRATA_OK);
    assert_int_equal(o.compression, STRATA_COMPRESS_ZSTD);
    assert_int_equal(o.compress_above_bytes, 1024);
    o = (struct pack_options){ .compression = STRATA_COMPRESS_NONE };
    assert_int_equal(strata__pack_fill(&o, 1, NULL), STRATA_OK);
    assert_int_equal(o.compression, STRATA_COMPRESS_NONE);
    o = (struct pack_options){ .dictionary = "f" };
    assert_int_equal(strata__pack_fill(&o, 0, NULL), STRATA_OK);
    assert_int_equal(o.compression, STRATA_COMPRESS_ZSTD);
    assert_int_equal(o.compress_above_bytes, 64);
    o = (struct pack_options){ .dictionary = "f", .compress_above_bytes = 200 };
    assert_int_equal(strata__pack_fill(&o, 0, NULL), STRATA_OK);
    assert_int_equal(o.compress_above_bytes, 200);
}

static void test_what_does_not_go_together(void **state)
{
    (void)state;
    strata_error err = STRATA_ERROR_INIT;
    struct pack_options o = { .dictionary = "f", .compression = STRATA_COMPRESS_LZ4 };
    assert_int_equal(strata__pack_fill(&o, 0, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "zstd alone"));
    o = (struct pack_options){ .compression = STRATA_COMPRESS_GZIP, .compression_level = 10 };
    assert_int_equal(strata__pack_fill(&o, 0, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "gzip knows 1 to 9"));
    o = (struct pack_options){ .compression = STRATA_COMPRESS_BROTLI, .compression_level = 12 };
    assert_int_equal(strata__pack_fill(&o, 0, &err), STRATA_EINVAL);
    /* To read with, whatever it writes. */
    o = (struct pack_options){ .dictionaries = "d", .compression = STRATA_COMPRESS_LZ4 };
    assert_int_equal(strata__pack_fill(&o, 0, &err), STRATA_OK);
}

/* Files ---------------------------------------------------------------------------------------------------------- */

/* Starts, and says how it went; what it packs with is *out_id. */
static int start(const char *dictionary, const char *dictionaries, uint64_t *out_id, strata_error *err)
{
    struct compressor c;
    const struct pack_options o = { .compression = STRATA_COMPRESS_ZSTD,
                                    .dictionary = dictionary,
                                    .dictionaries = dictionaries };
    int rc = strata__pack_start(&c, &o, "shop", NULL, err);
    *out_id = rc == STRATA_OK ? strata__compressor_dictionary(&c, COMPRESS_ZSTD) : 0;
    if (rc == STRATA_OK)
        strata__compressor_deinit(&c);
    return rc;
}

static void write_text(const char *name, const void *bytes, size_t size)
{
    char path[320];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void refused(const char *dictionary, const char *dictionaries, int status, const char *words)
{
    strata_error err = STRATA_ERROR_INIT;
    uint64_t id;
    assert_int_equal(start(dictionary, dictionaries, &id, &err), status);
    assert_string_equal(err.where, "shop");
    if (strstr(err.message, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.message, words);
}

static void test_files_are_read(void **state)
{
    (void)state;
    uint64_t id;
    char path[320];
    assert_int_equal(start(file_a, NULL, &id, NULL), STRATA_OK);
    assert_int_equal(id, id_a);
    assert_int_equal(start(file_b, dir, &id, NULL), STRATA_OK); /* b.dict is there, too */
    assert_int_equal(id, id_b);
    assert_int_equal(start(NULL, dir, &id, NULL), STRATA_OK);
    assert_int_equal(id, 0);
    /* Others' files in that directory are nobody's business. */
    write_text("README", "x", 1);
    write_text(".dict", "x", 1);
    write_text(".hidden.dict", "x", 1);
    assert_int_equal(start(NULL, dir, &id, NULL), STRATA_OK);
    snprintf(path, sizeof path, "%s/link", dir);
    assert_int_equal(symlink("a.dict", path), 0);
    assert_int_equal(start(path, NULL, &id, NULL), STRATA_OK);
    assert_int_equal(id, id_a);
}

static void test_files_that_are_not_right(void **state)
{
    (void)state;
    char path[320], bytes[DICTIONARY_BYTES];
    size_t size = dictionary_train(0, bytes);
    snprintf(path, sizeof path, "%s/none", dir);
    refused(path, NULL, STRATA_EIO, "No such file");
    refused(NULL, path, STRATA_EIO, "No such file");
    refused(NULL, file_a, STRATA_EIO, "Not a directory");
    refused(dir, NULL, STRATA_EINVAL, "is no trained dictionary");
    snprintf(path, sizeof path, "%s/pipe", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    refused(path, NULL, STRATA_EINVAL, "is no trained dictionary"); /* and nobody waits for who writes to it */
    write_text("empty.dict", "", 0);
    refused(NULL, dir, STRATA_EINVAL, "empty.dict\" is no trained dictionary");
    bytes[size - 1] ^= 1;
    write_text("empty.dict", bytes, size);
    refused(file_a, dir, STRATA_EINVAL, "are not the same");
}

static void test_the_nth_open_and_read_fail(void **state)
{
    (void)state;
    static const char *const calls[] = { "open", "readdir", "fstat", "pread" };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        for (int nth = 1, failed = 1; failed; nth++) {
            struct fault_nth fault;
            strata_error err = STRATA_ERROR_INIT;
            uint64_t id;
            fault_nth_set(&fault, calls[i], nth, EIO);
            int rc = start(file_b, dir, &id, &err);
            fault_nth_clear();
            failed = atomic_load(&fault.seen) >= nth;
            assert_int_equal(rc, failed ? STRATA_EIO : STRATA_OK);
            assert_true(!failed || err.os_errno == EIO);
            assert_true(failed || nth > 1); /* it is called at all */
        }
}

static void test_the_nth_allocation_fails(void **state)
{
    (void)state;
    const struct pack_options o = { .compression = STRATA_COMPRESS_ZSTD, .dictionary = file_a, .dictionaries = dir };
    struct fail_alloc mem;
    long n = 0;
    do {
        struct compressor c;
        fail_alloc_init(&mem, ++n);
        int rc = strata__pack_start(&c, &o, "shop", &mem.mem, NULL);
        assert_int_equal(rc, atomic_load(&mem.failed) ? STRATA_ENOMEM : STRATA_OK);
        if (rc == STRATA_OK)
            strata__compressor_deinit(&c);
        assert_int_equal(atomic_load(&mem.live), 0);
    } while (atomic_load(&mem.failed));
    assert_true(n > 4);
}

/* A cache on disk ------------------------------------------------------------------------------------------------ */

enum { VALUES = 200 };

static char last_words[256];
static int told;

static void on_error(const strata_event *event, void *ctx)
{
    (void)ctx;
    told++;
    snprintf(last_words, sizeof last_words, "%s", event->message);
}

static strata *open_disk(const char *dictionary, const char *dictionaries)
{
    const strata_disk_options disk = { STRATA_SIZED(strata_disk_options), .path = cache_dir, .max_bytes = 16 << 20,
                                       .dictionary = dictionary, .dictionaries = dictionaries };
    strata_layer *layers[] = { strata_disk_layer(&disk) };
    const strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = 1 };
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    uint64_t id;
    if (strata_open(&cache, &options, &err) != STRATA_OK)
        fail_msg("%s: %s", err.where, err.message);
    told = 0;
    assert_int_equal(strata_on(cache, STRATA_EVENT_ERROR, on_error, NULL, &id), STRATA_OK);
    return cache;
}

static void put_all(strata *cache)
{
    char key[16], value[DICTIONARY_VALUE];
    for (unsigned i = 0; i < VALUES; i++) {
        snprintf(key, sizeof key, "k%u", i);
        size_t size = dictionary_value(value, 0, 50000 + i);
        assert_int_equal(strata_set(cache, strata_str(key), strata_bytes(value, size), NULL, NULL), STRATA_OK);
    }
}

/* How many are there, and right. */
static unsigned found(strata *cache)
{
    char key[16], value[DICTIONARY_VALUE];
    unsigned count = 0;
    for (unsigned i = 0; i < VALUES; i++) {
        strata_value *v = NULL;
        snprintf(key, sizeof key, "k%u", i);
        int rc = strata_get(cache, strata_str(key), &v, NULL);
        assert_true(rc == STRATA_OK || rc == STRATA_MISS);
        if (rc == STRATA_OK) {
            assert_int_equal(strata_value_size(v), dictionary_value(value, 0, 50000 + i));
            assert_memory_equal(strata_value_data(v), value, strata_value_size(v));
            count++;
        }
        strata_value_unref(v);
    }
    return count;
}

static void test_a_disk_whose_dictionary_changes(void **state)
{
    (void)state;
    strata_layer_stats stats = STRATA_LAYER_STATS_INIT;
    strata_disk_report report = STRATA_DISK_REPORT_INIT;
    const strata_disk_inspect_options look = { STRATA_SIZED(strata_disk_inspect_options),
                                               .flags = STRATA_DISK_INSPECT_RECORDS };
    char digits[32];
    strata *cache = open_disk(file_a, NULL);
    put_all(cache);
    assert_int_equal(found(cache), VALUES);
    strata_close(cache);
    assert_int_equal(strata_disk_inspect(cache_dir, &look, &report, NULL), STRATA_OK);
    assert_true(report.measured_bytes * 2 < report.measured_raw_bytes);
    assert_int_equal(report.dictionaries[0], id_a);
    assert_int_equal(report.dictionaries[1], 0);
    /* With another one to write with, and this one among those to read with. */
    cache = open_disk(file_b, dir);
    assert_int_equal(found(cache), VALUES);
    assert_int_equal(told, 0);
    strata_close(cache);
    /* Without it each is a miss with words, and stays. */
    cache = open_disk(file_b, NULL);
    assert_int_equal(found(cache), 0);
    assert_in_range(told, 1, VALUES - 1); /* listeners hear of one a second */
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)id_a);
    assert_non_null(strstr(last_words, digits));
    assert_int_equal(strata_stats_layer(cache, 0, &stats), STRATA_OK);
    assert_int_equal(stats.misses, VALUES);
    assert_int_equal(stats.errors, VALUES);
    assert_int_equal(stats.entries, VALUES);
    strata_close(cache);
    /* So it comes back with its dictionary. */
    cache = open_disk(NULL, dir);
    assert_int_equal(found(cache), VALUES);
    strata_close(cache);
}

static void test_a_disk_that_cannot_read_its_dictionary(void **state)
{
    (void)state;
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    char url[512];
    snprintf(url, sizeof url, "disk:%s?max_bytes=16mb&dictionary=%s/none", cache_dir, dir);
    assert_int_equal(strata_open_url(&cache, url, NULL, &err), STRATA_EIO);
    assert_null(cache);
    assert_non_null(strstr(err.message, "cannot be read"));
    snprintf(url, sizeof url, "disk:%s?max_bytes=16mb&compression=gzip&compression_level=10", cache_dir);
    assert_int_equal(strata_open_url(&cache, url, NULL, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "gzip knows 1 to 9"));
}

#define EACH(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_what_does_not_go_together),
        EACH(test_files_are_read),
        EACH(test_files_that_are_not_right),
        EACH(test_the_nth_open_and_read_fail),
        EACH(test_the_nth_allocation_fails),
        EACH(test_a_disk_whose_dictionary_changes),
        EACH(test_a_disk_that_cannot_read_its_dictionary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
