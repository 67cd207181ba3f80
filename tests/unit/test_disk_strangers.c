/* test_disk_strangers.c - making a directory ours: what somebody else has there is refused before it is touched, what we left there
 * ourselves when we were killed is not. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "src/os/os_fault.h"
#include "tests/support/disk_fixture.h"
#include "tests/support/fault_nth.h"
#include "tests/support/temp_dir.h"

static void make(struct disk_fixture *f)
{
    disk_make(f);
    f->options.max_bytes = 1u << 20;
    f->options.segment_bytes = 64u << 10;
}

static void write_file(const struct disk_fixture *f, const char *name, const char *text)
{
    char file[512];
    snprintf(file, sizeof file, "%s/%s", f->path, name);
    int fd = open(file, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void expect_file(const struct disk_fixture *f, const char *name, const char *text)
{
    char file[512], bytes[256] = "";
    snprintf(file, sizeof file, "%s/%s", f->path, name);
    int fd = open(file, O_RDONLY);
    assert_true(fd >= 0);
    assert_true(read(fd, bytes, sizeof bytes - 1) >= 0);
    close(fd);
    assert_string_equal(bytes, text);
}

/* In both modes, with words, and before there is anything else in it. */
static void expect_refusal(struct disk_fixture *f, const char *name, size_t files)
{
    char names[64][64];
    for (int32_t mode = STRATA_RECOVERY_QUIET; mode <= STRATA_RECOVERY_STRICT; mode++) {
        f->options.recovery = mode;
        assert_int_equal(disk_open(f), STRATA_EINVAL);
        assert_string_equal(f->err.where, "path");
        assert_non_null(strstr(f->err.message, name));
        assert_non_null(strstr(f->err.message, "empty this one"));
        assert_int_equal(temp_dir_list(f->path, names, 64), files);
    }
}

static void what_is_somebody_else_s_is_refused(void **state)
{
    static const struct {
        const char *name, *text;
    } theirs[] = { { "lock", "held by the backup of the night" },
                   { "lock", "12 34\n" },
                   { "lock", "123456789012345678901234567890123456789\n" },
                   { "0000000000000001.seg", "a video" },
                   { "00000000deadbeef.seg", "" },
                   { "index.snap", "of a photo album" },
                   { "index.snap.new", "x" },
                   { "segment.new", "x" } };
    (void)state;
    for (size_t i = 0; i < sizeof theirs / sizeof theirs[0]; i++) {
        struct disk_fixture f;
        make(&f);
        write_file(&f, theirs[i].name, theirs[i].text);
        expect_refusal(&f, theirs[i].name, 1);
        expect_file(&f, theirs[i].name, theirs[i].text);
        disk_unmake(&f);
    }
}

static void a_lock_that_is_no_file_is_refused(void **state)
{
    struct disk_fixture f;
    char file[512];
    (void)state;
    make(&f);
    snprintf(file, sizeof file, "%s/lock", f.path);
    assert_int_equal(mkdir(file, 0700), 0);
    expect_refusal(&f, "lock", 1);
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(symlink("/etc/passwd", file), 0);
    expect_refusal(&f, "lock", 1);
    disk_unmake(&f);
}

static void what_is_in_nobody_s_way_stays(void **state)
{
    struct disk_fixture f;
    (void)state;
    make(&f);
    write_file(&f, "README", "mine");
    write_file(&f, "1.seg", "a segue");
    write_file(&f, "lock", "4711\n"); /* ours, of a process that ended before it had made strata.dir */
    write_file(&f, "strata.dir.new", "half of");
    f.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_put(&f, 1, 1, 100), STRATA_OK);
    disk_close(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_status(&f, 1), STRATA_OK);
    disk_close(&f);
    expect_file(&f, "README", "mine");
    expect_file(&f, "1.seg", "a segue");
    disk_unmake(&f);
}

/* Without it nothing can be read; but somebody may bring it back, so nothing goes. */
static void a_directory_without_its_identity_is_refused(void **state)
{
    struct disk_fixture f;
    char file[512], away[600], names[64][64];
    (void)state;
    make(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_put(&f, 1, 1, 100), STRATA_OK);
    disk_close(&f);
    snprintf(file, sizeof file, "%s/strata.dir", f.path);
    snprintf(away, sizeof away, "%s.kept", file);
    assert_int_equal(rename(file, away), 0);
    expect_refusal(&f, "has no strata.dir", temp_dir_list(f.path, names, 64));
    assert_int_equal(rename(away, file), 0);
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_status(&f, 1), STRATA_OK);
    disk_unmake(&f);
}

/* Killed before the n-th system call: a copy of the directory as it is then. */
struct killed {
    struct os_fault_hook hook;
    struct disk_fixture *life, *after;
    int nth, seen;
};

static int copy_at(const char *call, void *ctx)
{
    struct killed *k = ctx;
    (void)call;
    if (++k->seen == k->nth) {
        disk_make(k->after);
        k->after->options = k->life->options;
        temp_dir_copy(k->life->path, k->after->path);
    }
    return 0;
}

/* A file of 64 bytes that is damaged. */
static void damage_identity(const struct disk_fixture *f)
{
    write_file(f, "strata.dir", "STRATA, but not as we know it");
}

static void wherever_the_making_ends_the_next_one_goes_on(void **state)
{
    (void)state;
    for (int damaged = 0; damaged < 2; damaged++)
        for (int nth = 1, there = 1; there; nth++) {
            struct disk_fixture f, after = { .path = "" };
            struct killed k = { { copy_at, NULL, NULL }, &f, &after, nth, 0 };
            make(&f);
            if (damaged) {
                assert_int_equal(disk_open(&f), STRATA_OK);
                assert_int_equal(disk_put(&f, 1, 1, 100), STRATA_OK);
                disk_close(&f);
                damage_identity(&f);
            }
            k.hook.ctx = &k;
            strata__os_fault_set(&k.hook);
            assert_int_equal(disk_open(&f), STRATA_OK);
            assert_int_equal(disk_put(&f, 1, 2, 100), STRATA_OK);
            disk_close(&f);
            strata__os_fault_set(NULL);
            there = after.path[0] != '\0';
            assert_true(there || nth > 10);
            if (there && disk_open(&after) != STRATA_OK)
                fail_msg("before call %d: %s", nth, after.err.message);
            if (there) {
                assert_true(disk_put(&after, 1, 3, 100) == STRATA_OK);
                disk_unmake(&after);
            }
            disk_unmake(&f);
        }
}

static void no_right_to_make_it_is_said_of_the_one_above(void **state)
{
    struct disk_fixture f;
    struct fault_nth no_right;
    char path[256];
    (void)state;
    make(&f);
    memcpy(path, f.path, sizeof path);
    snprintf(f.path, sizeof f.path, "%.200s/new", path);
    fault_nth_set(&no_right, "mkdir", 1, EACCES);
    assert_int_equal(disk_open(&f), STRATA_EIO);
    assert_int_equal(f.err.os_errno, EACCES);
    assert_non_null(strstr(f.err.message, "making the directory"));
    assert_non_null(strstr(f.err.message, "the one above it"));
    memcpy(f.path, path, sizeof path); /* it is there: who may not make one may use it */
    fault_nth_set(&no_right, "mkdir", 1, EACCES);
    assert_int_equal(disk_open(&f), STRATA_OK);
    fault_nth_clear();
    disk_unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_somebody_else_s_is_refused),
        cmocka_unit_test(a_lock_that_is_no_file_is_refused),
        cmocka_unit_test(what_is_in_nobody_s_way_stays),
        cmocka_unit_test(a_directory_without_its_identity_is_refused),
        cmocka_unit_test(wherever_the_making_ends_the_next_one_goes_on),
        cmocka_unit_test(no_right_to_make_it_is_said_of_the_one_above),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
