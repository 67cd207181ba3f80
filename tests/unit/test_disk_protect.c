/* test_disk_protect.c - a disk layer that seals what it stores: nothing to be read in its files, and nothing to be had without its
 * key. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "src/link/cipher.h"
#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/temp_dir.h"

static char home[256], keys[3][512];
static strata_error err;

static int start(void **state)
{
    (void)state;
    temp_dir_make(home, sizeof home);
    for (int i = 0; i < 3; i++) {
        snprintf(keys[i], sizeof keys[i], "%s/key%d", home, i);
        FILE *f = fopen(keys[i], "wb");
        assert_non_null(f);
        for (int k = 0; k < 32; k++)
            fputc(i * 64 + k, f);
        fclose(f);
        assert_int_equal(chmod(keys[i], 0600), 0);
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    temp_dir_remove(home);
    return 0;
}

/* Over the directory `dir`; `how` NULL: without protection. */
static strata *open_cache(const char *dir, const char *how, const char *key, const char *old, const char *more)
{
    char url[2048];
    strata *cache = NULL;
    int size = snprintf(url, sizeof url, "disk:%s?max_bytes=16mb%s", dir, more);
    if (how != NULL)
        size += snprintf(url + size, sizeof url - (size_t)size, "&protection=%s&key_file=%s", how, key);
    if (old != NULL)
        snprintf(url + size, sizeof url - (size_t)size, "&old_key_file=%s", old);
    if (strata_open_url(&cache, url, NULL, &err) != STRATA_OK)
        fail_msg("%s", err.message);
    return cache;
}

static void set(strata *cache, const char *key, const char *value)
{
    assert_int_equal(strata_set(cache, strata_str(key), strata_str(value), NULL, NULL), STRATA_OK);
}

static void expect(strata *cache, const char *key, const char *value)
{
    strata_value *v = NULL;
    int rc = strata_get(cache, strata_str(key), &v, NULL);
    assert_int_equal(rc, value != NULL ? STRATA_OK : STRATA_MISS);
    if (value != NULL) {
        assert_int_equal(strata_value_size(v), strlen(value));
        if (value[0] != 0)
            assert_memory_equal(strata_value_data(v), value, strlen(value));
    }
    strata_value_unref(v);
}

static uint64_t errors_of(strata *cache)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(cache, 0, &s), STRATA_OK);
    return s.errors;
}

/* Does it stand in any of the directory's files? */
static int is_readable(const char *dir, const char *text)
{
    char names[16][64], path[1024];
    size_t count = temp_dir_list(dir, names, 16);
    int found = 0;
    for (size_t i = 0; i < count && i < 16; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        char *bytes = malloc(32 << 20);
        assert_non_null(bytes);
        size_t size = fread(bytes, 1, 32 << 20, f);
        found |= memmem(bytes, size, text, strlen(text)) != NULL;
        free(bytes);
        fclose(f);
    }
    return found;
}

#define SECRET "a secret that nobody is to read"

static void what_is_sealed_comes_back(void **state)
{
    (void)state;
    char dir[512], longer[4096];
    const char *const how[] = { "hmac-sha256", "aes-256-gcm" };
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    for (int i = 0; i < 1 + strata__cipher_is_there(); i++)
        for (int packs = 0; packs < 2; packs++) {
            const char *more = packs ? "&compression=zstd" : "";
            temp_dir_make(dir, sizeof dir);
            strata *cache = open_cache(dir, how[i], keys[0], NULL, more);
            set(cache, "k", SECRET);
            set(cache, "empty", "");
            set(cache, "longer", longer);
            for (int again = 0; again < 2; again++) {
                expect(cache, "k", SECRET);
                expect(cache, "empty", "");
                expect(cache, "longer", longer);
                assert_int_equal(errors_of(cache), 0);
                assert_int_equal(strata_close(cache), STRATA_OK);
                cache = open_cache(dir, how[i], keys[0], NULL, more);
            }
            assert_int_equal(strata_close(cache), STRATA_OK);
            assert_int_equal(is_readable(dir, SECRET), i == 0);
            strata_disk_report r = STRATA_DISK_REPORT_INIT;
            assert_int_equal(strata_disk_inspect(dir, NULL, &r, &err), STRATA_OK);
            assert_int_equal(r.damages, 0);
            temp_dir_remove(dir);
        }
}

static void without_the_key_it_is_a_miss(void **state)
{
    (void)state;
    char dir[512];
    temp_dir_make(dir, sizeof dir);
    strata *cache = open_cache(dir, "hmac-sha256", keys[0], NULL, "");
    set(cache, "k", SECRET);
    assert_int_equal(strata_close(cache), STRATA_OK);
    cache = open_cache(dir, "hmac-sha256", keys[1], NULL, "");
    expect(cache, "k", NULL);
    assert_int_equal(errors_of(cache), 1);
    assert_int_equal(strata_close(cache), STRATA_OK);
    cache = open_cache(dir, NULL, NULL, NULL, "");
    expect(cache, "k", NULL);
    assert_int_equal(errors_of(cache), 1);
    set(cache, "plain", "v");
    assert_int_equal(strata_close(cache), STRATA_OK);
    cache = open_cache(dir, "hmac-sha256", keys[0], NULL, "");
    expect(cache, "k", SECRET);
    expect(cache, "plain", NULL); /* anybody could have put it there */
    assert_int_equal(strata_close(cache), STRATA_OK);
    temp_dir_remove(dir);
}

static void keys_are_changed(void **state)
{
    (void)state;
    char dir[512];
    temp_dir_make(dir, sizeof dir);
    strata *cache = open_cache(dir, "hmac-sha256", keys[0], NULL, "");
    set(cache, "a", "1");
    set(cache, "b", "1");
    assert_int_equal(strata_close(cache), STRATA_OK);
    cache = open_cache(dir, "hmac-sha256", keys[1], keys[0], "");
    expect(cache, "a", "1");
    set(cache, "b", "2");
    assert_int_equal(strata_close(cache), STRATA_OK);
    cache = open_cache(dir, "hmac-sha256", keys[2], keys[1], "");
    expect(cache, "a", NULL);
    expect(cache, "b", "2");
    assert_int_equal(strata_close(cache), STRATA_OK);
    temp_dir_remove(dir);
}

static void wrong_options_are_said(void **state)
{
    (void)state;
    static const struct {
        const char *more, *words;
    } wrong[] = {
        { "protection=hmac-sha256", "key_file" },
        { "protection=rot13", "rot13" },
        { "protection=hmac-sha256&key_file=/no/such/key", "/no/such/key" },
        { "key_file=/no/such/key", "protection" },
    };
    char url[512];
    strata *cache;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(url, sizeof url, "disk:%s/d?%s", home, wrong[i].more);
        assert_true(strata_open_url(&cache, url, NULL, &err) < 0);
        assert_non_null(strstr(err.message, wrong[i].words));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sealed_comes_back),
        cmocka_unit_test(without_the_key_it_is_a_miss),
        cmocka_unit_test(keys_are_changed),
        cmocka_unit_test(wrong_options_are_said),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
