/* test_disk_ban_list.c - a ban that was issued before the process ended, however that was, holds after it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/temp_dir.h"

static strata *open_in(const char *path, int with_memory)
{
    char url[256];
    strata *cache;
    strata_error err = STRATA_ERROR_INIT;
    snprintf(url, sizeof url, "%sdisk:%s?max_bytes=16mb", with_memory ? "memory:?max_bytes=4mb | " : "", path);
    int rc = strata_open_url(&cache, url, NULL, &err);
    if (rc != STRATA_OK)
        print_error("%s\n", err.message);
    assert_int_equal(rc, STRATA_OK);
    return cache;
}

static int status_of(strata *cache, const char *key)
{
    strata_value *v;
    strata_error err;
    int rc = strata_get(cache, strata_str(key), &v, &err);
    strata_value_unref(v);
    return rc;
}

static void set_tagged(strata *cache, const char *key, const char *tag)
{
    strata_slice tags[2] = { strata_str(tag), strata_str("all") };
    assert_int_equal(strata_set_tagged(cache, strata_str(key), strata_str("v"), tags, 2, NULL, NULL), STRATA_OK);
}

static void fill_and_ban(strata *cache)
{
    strata *in;
    assert_int_equal(strata_namespace(cache, "ns", NULL, &in, NULL), STRATA_OK);
    set_tagged(cache, "red", "red");
    set_tagged(cache, "blue", "blue");
    set_tagged(cache, "user:1", "u");
    set_tagged(cache, "user:22", "u");
    set_tagged(cache, "soft", "s");
    set_tagged(in, "inside", "n");
    set_tagged(cache, "inside", "n");
    assert_int_equal(strata_ban_tag(cache, "red", 0, NULL), STRATA_OK);
    assert_int_equal(strata_ban_pattern(cache, strata_str("user:?"), 0, NULL), STRATA_OK);
    assert_int_equal(strata_ban_tag(cache, "s", STRATA_BAN_SOFT, NULL), STRATA_OK);
    assert_int_equal(strata_ban_prefix(in, strata_str("in"), 0, NULL), STRATA_OK);
    set_tagged(cache, "again", "red");
    /* A delete that has returned outlives the process, and so does what was written before it. */
    assert_int_equal(strata_set(cache, strata_str("gone"), strata_str("v"), NULL, NULL), STRATA_OK);
    assert_int_equal(strata_delete(cache, strata_str("gone"), NULL), STRATA_OK);
    assert_int_equal(strata_close(in), STRATA_OK);
}

static void check_after(strata *cache)
{
    strata *in;
    assert_int_equal(strata_namespace(cache, "ns", NULL, &in, NULL), STRATA_OK);
    assert_int_equal(status_of(cache, "red"), STRATA_MISS);
    assert_int_equal(status_of(cache, "user:1"), STRATA_MISS);
    assert_int_equal(status_of(cache, "soft"), STRATA_MISS);
    assert_int_equal(status_of(in, "inside"), STRATA_MISS);
    assert_int_equal(status_of(cache, "inside"), STRATA_OK);
    assert_int_equal(status_of(cache, "blue"), STRATA_OK);
    assert_int_equal(status_of(cache, "user:22"), STRATA_OK);
    assert_int_equal(status_of(cache, "again"), STRATA_OK); /* set after the ban, in the same life */
    assert_int_equal(strata_close(in), STRATA_OK);
}

/* Twice: bans of one life, entries of another. */
static void test_restart(void **state)
{
    (void)state;
    for (int with_memory = 0; with_memory < 2; with_memory++) {
        char dir[128];
        temp_dir_make(dir, sizeof dir);
        strata *cache = open_in(dir, with_memory);
        fill_and_ban(cache);
        assert_int_equal(strata_close(cache), STRATA_OK);
        for (int again = 0; again < 2; again++) {
            cache = open_in(dir, with_memory);
            check_after(cache);
            assert_int_equal(strata_close(cache), STRATA_OK);
        }
        cache = open_in(dir, with_memory);
        assert_int_equal(strata_ban_tag(cache, "all", 0, NULL), STRATA_OK); /* of entries of earlier lives */
        /* Of two moments in two lives that the clock does not tell apart, the ban's counts as the later one. */
        nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
        set_tagged(cache, "new", "red");
        assert_int_equal(strata_close(cache), STRATA_OK);
        cache = open_in(dir, with_memory);
        assert_int_equal(status_of(cache, "blue"), STRATA_MISS);
        assert_int_equal(status_of(cache, "again"), STRATA_MISS);
        assert_int_equal(status_of(cache, "new"), STRATA_OK);
        assert_int_equal(strata_close(cache), STRATA_OK);
        temp_dir_remove(dir);
    }
}

static void test_kill(void **state)
{
    (void)state;
    char dir[128];
    temp_dir_make(dir, sizeof dir);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        fill_and_ban(open_in(dir, 0));
        kill(getpid(), SIGKILL);
    }
    int how;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    strata *cache = open_in(dir, 0);
    check_after(cache);
    assert_int_equal(strata_close(cache), STRATA_OK);
    temp_dir_remove(dir);
}

static uint64_t size_of_bans(const char *dir)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/bans", dir);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* The file is written anew when it has grown, and forgets no ban. */
static void test_growth(void **state)
{
    (void)state;
    char dir[128], name[64];
    temp_dir_make(dir, sizeof dir);
    strata *cache = open_in(dir, 0);
    set_tagged(cache, "first", "tag 0");
    set_tagged(cache, "other", "none of them");
    for (int i = 0; i < 60000; i++) {
        snprintf(name, sizeof name, "tag %d", i % 20000);
        assert_int_equal(strata_ban_tag(cache, name, 0, NULL), STRATA_OK);
    }
    assert_true(size_of_bans(dir) < (3 << 20));
    assert_int_equal(strata_close(cache), STRATA_OK);
    cache = open_in(dir, 0);
    assert_int_equal(status_of(cache, "first"), STRATA_MISS);
    assert_int_equal(status_of(cache, "other"), STRATA_OK);
    /* More than there is room for: what is forgotten is precision. */
    for (int i = 0; i < 140000; i++) {
        snprintf(name, sizeof name, "more %d", i);
        assert_int_equal(strata_ban_tag(cache, name, 0, NULL), STRATA_OK);
    }
    assert_true(size_of_bans(dir) < (8 << 20));
    set_tagged(cache, "late", "late");
    assert_int_equal(strata_close(cache), STRATA_OK);
    cache = open_in(dir, 0);
    assert_int_equal(status_of(cache, "first"), STRATA_MISS);
    assert_int_equal(status_of(cache, "late"), STRATA_OK);
    assert_int_equal(strata_close(cache), STRATA_OK);
    temp_dir_remove(dir);
}

/* A record that was cut off was never answered; one that is damaged might have been any ban. */
static void test_damage(void **state)
{
    (void)state;
    for (int cut = 0; cut < 2; cut++) {
        char dir[128], path[512];
        temp_dir_make(dir, sizeof dir);
        strata *cache = open_in(dir, 0);
        set_tagged(cache, "kept", "k");
        set_tagged(cache, "red", "red");
        assert_int_equal(strata_ban_tag(cache, "red", 0, NULL), STRATA_OK);
        assert_int_equal(strata_close(cache), STRATA_OK);
        snprintf(path, sizeof path, "%s/bans", dir);
        FILE *f = fopen(path, cut ? "ab" : "r+b");
        assert_non_null(f);
        if (cut) {
            assert_int_equal(fwrite("\x50\0\0\0half", 1, 8, f), 8);
        } else {
            assert_int_equal(fseek(f, 30, SEEK_SET), 0);
            int was = fgetc(f); /* it may have any value: part of it is drawn */
            assert_int_equal(fseek(f, 30, SEEK_SET), 0);
            assert_int_equal(fputc(was ^ 0x55, f), was ^ 0x55);
        }
        assert_int_equal(fclose(f), 0);
        for (int again = 0; again < 2; again++) {
            cache = open_in(dir, 0);
            assert_int_equal(status_of(cache, "red"), STRATA_MISS);
            assert_int_equal(status_of(cache, "kept"), cut ? STRATA_OK : STRATA_MISS);
            assert_int_equal(strata_close(cache), STRATA_OK);
        }
        temp_dir_remove(dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart),
        cmocka_unit_test(test_kill),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
