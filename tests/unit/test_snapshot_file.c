/* test_snapshot_file.c - src/snapshot/snapshot_file.c: where a snapshot may lie, and what a save leaves behind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/temp_dir.h"

static strata *open_cache(void)
{
    strata *cache;
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=1mb", NULL, NULL), STRATA_OK);
    return cache;
}

static strata *open_with_one(void)
{
    strata *cache = open_cache();
    assert_int_equal(strata_set(cache, strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
    return cache;
}

static void join(char out[512], const char *dir, const char *name) { snprintf(out, 512, "%s/%s", dir, name); }

static int save_in(strata *cache, const char *base, const char *path, strata_error *err)
{
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    o.base_dir = base;
    return strata_snapshot_save(cache, path, &o, NULL, err);
}

static int load_in(strata *cache, const char *base, const char *path, strata_error *err)
{
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    o.base_dir = base;
    return strata_snapshot_load(cache, path, &o, NULL, err);
}

static void a_file_goes_and_comes(void **state)
{
    (void)state;
    char dir[256], path[512], names[4][64];
    struct stat st;
    strata_snapshot_report r = STRATA_SNAPSHOT_REPORT_INIT;
    temp_dir_make(dir, sizeof dir);
    join(path, dir, "shop.snap");
    strata *cache = open_with_one(), *other = open_cache();
    for (int i = 0; i < 2; i++) { /* the second one takes the first one's place */
        assert_int_equal(strata_snapshot_save(cache, path, NULL, &r, NULL), STRATA_OK);
        assert_int_equal(r.entries, 1);
    }
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal((uint64_t)st.st_size, r.stream_bytes);
    assert_int_equal(temp_dir_list(dir, names, 4), 1);
    assert_int_equal(strata_snapshot_load(other, path, NULL, &r, NULL), STRATA_OK);
    assert_int_equal(r.entries, 1);
    assert_int_equal(strata_has(other, strata_str("k"), NULL), 1);
    strata_close(cache);
    strata_close(other);
    temp_dir_remove(dir);
}

static void a_base_directory_is_not_left(void **state)
{
    (void)state;
    static const char *const out[] = { "/etc/s", "../s", "a/../../s", "a/..", ".", "a/.", "", "a//s", "a/" };
    char dir[256], sub[512], link[512];
    strata_error err;
    strata *cache = open_with_one();
    temp_dir_make(dir, sizeof dir);
    join(sub, dir, "a");
    join(link, dir, "link");
    assert_int_equal(mkdir(sub, 0700), 0);
    assert_int_equal(symlink(sub, link), 0);
    for (size_t i = 0; i < sizeof out / sizeof *out; i++) {
        assert_int_equal(save_in(cache, dir, out[i], &err), STRATA_EINVAL);
        assert_int_equal(load_in(cache, dir, out[i], &err), STRATA_EINVAL);
    }
    assert_int_equal(save_in(cache, dir, "link/s", &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "link"));
    assert_int_equal(save_in(cache, dir, "none/s", &err), STRATA_EIO);
    assert_int_equal(save_in(cache, dir, "a/s", &err), STRATA_OK);
    assert_int_equal(load_in(cache, dir, "link/s", &err), STRATA_EINVAL);
    assert_int_equal(load_in(cache, dir, "a/s", &err), STRATA_OK);
    assert_int_equal(unlink(link), 0);
    char file[600];
    snprintf(file, sizeof file, "%s/s", sub);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(rmdir(sub), 0);
    strata_close(cache);
    temp_dir_remove(dir);
}

/* What stands there as a link is replaced, and not followed. */
static void a_link_is_not_followed(void **state)
{
    (void)state;
    char dir[256], path[512], target[512];
    struct stat st;
    strata_error err;
    strata *cache = open_with_one();
    temp_dir_make(dir, sizeof dir);
    join(path, dir, "s");
    join(target, dir, "target");
    FILE *f = fopen(target, "w");
    assert_non_null(f);
    fputs("precious", f);
    fclose(f);
    assert_int_equal(symlink(target, path), 0);
    assert_int_equal(strata_snapshot_load(cache, path, NULL, NULL, &err), STRATA_EINVAL);
    assert_int_equal(strata_snapshot_save(cache, path, NULL, NULL, &err), STRATA_OK);
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISREG(st.st_mode));
    assert_int_equal(stat(target, &st), 0);
    assert_int_equal(st.st_size, 8);
    strata_close(cache);
    temp_dir_remove(dir);
}

static void what_others_may_write_is_not_believed(void **state)
{
    (void)state;
    char dir[256], path[512], pipe[512];
    strata_error err;
    strata *cache = open_with_one();
    temp_dir_make(dir, sizeof dir);
    join(path, dir, "s");
    join(pipe, dir, "pipe");
    assert_int_equal(strata_snapshot_save(cache, path, NULL, NULL, NULL), STRATA_OK);
    assert_int_equal(chmod(path, 0620), 0);
    assert_int_equal(strata_snapshot_load(cache, path, NULL, NULL, &err), STRATA_EINVAL);
    assert_non_null(strstr(err.message, "chmod"));
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(strata_snapshot_load(cache, pipe, NULL, NULL, &err), STRATA_EINVAL);
    assert_int_equal(strata_snapshot_load(cache, dir, NULL, NULL, &err), STRATA_EINVAL);
    assert_int_equal(strata_snapshot_load(cache, "", NULL, NULL, &err), STRATA_EINVAL);
    assert_int_equal(strata_snapshot_save(cache, NULL, NULL, NULL, &err), STRATA_EINVAL);
    strata_close(cache);
    temp_dir_remove(dir);
}

/* A process that was killed leaves a part: the next save takes it away, and nothing that only looks like one. */
static void what_was_left_is_swept(void **state)
{
    (void)state;
    static const char *const left[] = { ".s.0123456789abcdef.part", ".s.fedcba9876543210.part" };
    static const char *const kept[] = { ".s.x.part", ".other.0123456789abcdef.part", "s.part" };
    char dir[256], path[512], names[8][64];
    strata *cache = open_with_one();
    temp_dir_make(dir, sizeof dir);
    for (int i = 0; i < 5; i++) {
        join(path, dir, i < 2 ? left[i] : kept[i - 2]);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fclose(f);
    }
    join(path, dir, "s");
    assert_int_equal(strata_snapshot_save(cache, path, NULL, NULL, NULL), STRATA_OK);
    assert_int_equal(temp_dir_list(dir, names, 8), 4);
    for (int i = 0; i < 2; i++) {
        join(path, dir, left[i]);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    strata_close(cache);
    temp_dir_remove(dir);
}

static int stop(const strata_snapshot_report *so_far, void *ctx)
{
    (void)so_far;
    (void)ctx;
    return 1;
}

static void a_save_that_ends_early_leaves_the_old_one(void **state)
{
    (void)state;
    char dir[256], path[512], names[4][64];
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    strata_snapshot_report r = STRATA_SNAPSHOT_REPORT_INIT;
    temp_dir_make(dir, sizeof dir);
    join(path, dir, "s");
    strata *cache = open_with_one(), *other = open_cache();
    assert_int_equal(strata_snapshot_save(cache, path, NULL, NULL, NULL), STRATA_OK);
    assert_int_equal(strata_set(cache, strata_str("more"), strata_str("v"), NULL, NULL), STRATA_OK);
    o.progress = stop;
    assert_int_equal(strata_snapshot_save(cache, path, &o, NULL, NULL), STRATA_ECANCELED);
    assert_int_equal(temp_dir_list(dir, names, 4), 1);
    assert_int_equal(strata_snapshot_load(other, path, NULL, &r, NULL), STRATA_OK);
    assert_int_equal(r.entries, 1);
    strata_close(cache);
    strata_close(other);
    temp_dir_remove(dir);
}

/* Memory over disk: each key once, into both; and with what memory evicts alone going below, both have it, too. */
static void a_stack_gives_each_key_once(void **state)
{
    (void)state;
    char dir[256], path[512], url[600], key[16];
    strata_snapshot_report r = STRATA_SNAPSHOT_REPORT_INIT;
    strata *cache, *other;
    for (int demotes = 0; demotes < 2; demotes++) {
        temp_dir_make(dir, sizeof dir);
        snprintf(url, sizeof url, "memory:?max_bytes=1mb|disk:%s/d?max_bytes=64mb%s", dir,
                 demotes ? "&admit_on=eviction" : "");
        join(path, dir, "s");
        assert_int_equal(strata_open_url(&cache, url, NULL, NULL), STRATA_OK);
        for (int i = 0; i < 1000; i++) {
            snprintf(key, sizeof key, "%d", i);
            assert_int_equal(strata_set(cache, strata_str(key), strata_str(key), NULL, NULL), STRATA_OK);
        }
        assert_int_equal(strata_snapshot_save(cache, path, NULL, &r, NULL), STRATA_OK);
        assert_int_equal(r.entries, 1000);
        assert_int_equal(strata_clear(cache, NULL), STRATA_OK);
        assert_int_equal(strata_snapshot_load(cache, path, NULL, &r, NULL), STRATA_OK);
        assert_int_equal(r.banned, 1000); /* it knows of its clear */
        assert_int_equal(strata_close(cache), STRATA_OK);
        assert_int_equal(strata_open_url(&other, url, NULL, NULL), STRATA_OK);
        assert_int_equal(strata_snapshot_load(other, path, NULL, &r, NULL), STRATA_OK);
        assert_int_equal(r.entries, 1000); /* this life does not: max_age_ms is for that */
        assert_int_equal(strata_snapshot_load(other, path, NULL, &r, NULL), STRATA_OK);
        assert_int_equal(r.kept, 1000);
        strata_layer_stats below = STRATA_LAYER_STATS_INIT;
        assert_int_equal(strata_stats_layer(other, 1, &below), STRATA_OK);
        assert_int_equal(below.entries, 1000);
        assert_int_equal(strata_close(other), STRATA_OK);
        assert_int_equal(unlink(path), 0);
        snprintf(url, sizeof url, "%s/d", dir);
        temp_dir_remove(url);
        temp_dir_remove(dir);
    }
}

/* Bans are kept by a disk layer, and hold for what is imported after the next opening. */
static void a_ban_holds_after_a_restart(void **state)
{
    (void)state;
    char dir[256], path[512], url[600];
    strata_snapshot_report r = STRATA_SNAPSHOT_REPORT_INIT;
    strata_slice tag[] = { strata_str("red") };
    strata *cache;
    temp_dir_make(dir, sizeof dir);
    snprintf(url, sizeof url, "memory:?max_bytes=1mb|disk:%s/d?max_bytes=64mb", dir);
    join(path, dir, "s");
    assert_int_equal(strata_open_url(&cache, url, NULL, NULL), STRATA_OK);
    assert_int_equal(strata_set_tagged(cache, strata_str("k"), strata_str("v"), tag, 1, NULL, NULL), STRATA_OK);
    assert_int_equal(strata_set(cache, strata_str("other"), strata_str("v"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_snapshot_save(cache, path, NULL, &r, NULL), STRATA_OK);
    assert_int_equal(strata_ban_tag(cache, "red", STRATA_BAN_HARD, NULL), STRATA_OK);
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(strata_open_url(&cache, url, NULL, NULL), STRATA_OK);
    assert_int_equal(strata_delete(cache, strata_str("other"), NULL), STRATA_OK);
    assert_int_equal(strata_snapshot_load(cache, path, NULL, &r, NULL), STRATA_OK);
    assert_int_equal(r.banned, 1);
    assert_int_equal(r.entries, 1);
    assert_int_equal(strata_has(cache, strata_str("k"), NULL), 0);
    assert_int_equal(strata_close(cache), STRATA_OK);
    assert_int_equal(unlink(path), 0);
    snprintf(url, sizeof url, "%s/d", dir);
    temp_dir_remove(url);
    temp_dir_remove(dir);
}

static void what_is_no_file_is_left_alone(void **state)
{
    (void)state;
    char dir[256], path[512], link[512], names[4][64];
    struct stat st;
    strata_error err = STRATA_ERROR_INIT;
    temp_dir_make(dir, sizeof dir);
    strata *cache = open_with_one();
    join(path, dir, "taken");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(i == 0 ? mkfifo(path, 0600) : mkdir(path, 0700), 0);
        assert_int_equal(strata_snapshot_save(cache, path, NULL, NULL, &err), STRATA_EINVAL);
        assert_non_null(strstr(err.message, "no plain file"));
        assert_int_equal(save_in(cache, dir, "taken", &err), STRATA_EINVAL);
        assert_int_equal(stat(path, &st), 0);
        assert_true(i == 0 ? S_ISFIFO(st.st_mode) : S_ISDIR(st.st_mode));
        assert_int_equal(temp_dir_list(dir, names, 4), 1);
        join(link, dir, "link"); /* as /dev/stdout is */
        assert_int_equal(symlink("taken", link), 0);
        assert_int_equal(save_in(cache, dir, "link", &err), STRATA_EINVAL);
        assert_non_null(strstr(err.message, "no plain file"));
        assert_int_equal(lstat(link, &st), 0);
        assert_true(S_ISLNK(st.st_mode));
        assert_int_equal(remove(path), 0);
        assert_int_equal(strata_snapshot_save(cache, link, NULL, NULL, &err), STRATA_OK); /* it leads to nothing */
        assert_int_equal(remove(link), 0);
    }
    strata_close(cache);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_goes_and_comes),         cmocka_unit_test(a_base_directory_is_not_left),
        cmocka_unit_test(a_link_is_not_followed),        cmocka_unit_test(what_others_may_write_is_not_believed),
        cmocka_unit_test(what_was_left_is_swept),        cmocka_unit_test(a_save_that_ends_early_leaves_the_old_one),
        cmocka_unit_test(a_stack_gives_each_key_once),   cmocka_unit_test(a_ban_holds_after_a_restart),
        cmocka_unit_test(what_is_no_file_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
