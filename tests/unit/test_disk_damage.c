/* test_disk_damage.c - opening a directory whose files were damaged: a bit is flipped, an end is cut off, a file is gone or is
 * something else.  Quiet, it opens and never answers a wrong version; strict, it opens or says which file. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "tests/support/disk_fixture.h"
#include "tests/support/temp_dir.h"

enum { KEYS = 300, NAMES_MOST = 256, TRIES = 25 };

static uint32_t versions[KEYS]; /* 0: removed, or never there */
static uint64_t chance_state = 11;

static uint64_t chance(void)
{
    chance_state = chance_state * 6364136223846793005u + 1442695040888963407u;
    return chance_state >> 33;
}

/* Overwrites, removes and a clear in several segments, all of them written. */
static void write_all(struct disk_fixture *f)
{
    memset(versions, 0, sizeof versions);
    for (uint32_t i = 1; i <= 900; i++) {
        uint64_t key = chance() % KEYS;
        if (i % 6 == 0) {
            assert_true(disk_remove(f, key) >= 0);
            versions[key] = 0;
        } else {
            assert_int_equal(disk_put(f, key, i, 100 + chance() % 700), STRATA_OK);
            versions[key] = i;
        }
        if (i == 500) {
            assert_int_equal(disk_clear_keys(f, "c:"), STRATA_OK);
            for (uint64_t k = 2; k < KEYS; k += 4)
                versions[k] = 0;
        }
    }
    f->layer->ops->maintain(f->layer, 0, 1000);
}

static void make(struct disk_fixture *f, int closed)
{
    struct disk_fixture live;
    disk_make(&live);
    live.options.max_bytes = 8u << 20;
    live.options.segment_bytes = 64u << 10;
    live.options.dead_percent = 1000; /* what was taken back shall stand there yet */
    assert_int_equal(disk_open(&live), STRATA_OK);
    write_all(&live);
    if (closed)
        disk_close(&live);
    disk_crash_copy(&live, f);
    disk_unmake(&live);
}

static size_t check(struct disk_fixture *f, const char *when)
{
    size_t there = 0;
    for (uint64_t k = 0; k < KEYS; k++) {
        uint32_t got = 0;
        int rc = disk_get(f, k, &got);
        if (rc == STRATA_OK && got != versions[k])
            fail_msg("%s: key %llu has version %u, and should have %u", when, (unsigned long long)k, got, versions[k]);
        if (rc != STRATA_OK && rc != STRATA_MISS && rc != STRATA_EIO)
            fail_msg("%s: %d: %s", when, rc, f->err.message);
        there += rc == STRATA_OK;
    }
    return there;
}

static void open_and_check(struct disk_fixture *f, const char *when)
{
    f->options.recovery = STRATA_RECOVERY_STRICT;
    int rc = disk_open(f);
    if (rc == STRATA_OK) {
        (void)check(f, when);
        disk_close(f);
    } else {
        if (rc != STRATA_EIO && rc != STRATA_EUNSUPPORTED)
            fail_msg("%s: strict answers %d: %s", when, rc, f->err.message);
        assert_true(f->err.message[0] != '\0');
    }
    f->options.recovery = STRATA_RECOVERY_QUIET;
    rc = disk_open(f);
    if (rc == STRATA_EUNSUPPORTED)
        return; /* it looks like a newer version's: left as it is */
    if (rc != STRATA_OK)
        fail_msg("%s: quiet answers %d: %s", when, rc, f->err.message);
    (void)check(f, when);
    assert_int_equal(disk_put(f, 1, 12345, 100), STRATA_OK); /* it goes on */
    assert_int_equal(disk_status(f, 1), STRATA_OK);
    uint32_t before = versions[1];
    versions[1] = 12345;
    disk_close(f);
    assert_int_equal(disk_open(f), STRATA_OK);
    (void)check(f, when);
    disk_close(f);
    versions[1] = before;
}

static void damage(const char *path, const char *name, int cut, char *words, size_t size)
{
    char file[512];
    struct stat s;
    unsigned char byte;
    snprintf(file, sizeof file, "%s/%s", path, name);
    int fd = open(file, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &s) == 0);
    off_t at = s.st_size != 0 ? (off_t)(chance() % (uint64_t)s.st_size) : 0;
    int bit = (int)(chance() % 8);
    snprintf(words, size, "%s, %s %lld of %lld, bit %d", name, cut ? "cut at" : "flipped at", (long long)at,
             (long long)s.st_size, bit);
    if (cut) {
        assert_int_equal(ftruncate(fd, at), 0);
    } else if (s.st_size != 0) {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte = (unsigned char)(byte ^ 1u << bit);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
}

static void each_file(int closed)
{
    static char names[NAMES_MOST][64];
    struct disk_fixture origin;
    make(&origin, closed);
    size_t count = temp_dir_list(origin.path, names, NAMES_MOST);
    assert_in_range(count, 5, NAMES_MOST - 1);
    for (size_t i = 0; i < count; i++)
        for (int t = 0; t < TRIES; t++) {
            struct disk_fixture f;
            char words[200];
            disk_crash_copy(&origin, &f);
            damage(f.path, names[i], t % 2, words, sizeof words);
            open_and_check(&f, words);
            disk_unmake(&f);
        }
    disk_unmake(&origin);
}

static void after_a_close(void **state)
{
    (void)state;
    each_file(1);
}

static void after_a_crash(void **state)
{
    (void)state;
    each_file(0);
}

static void undamaged_is_strict(void **state)
{
    (void)state;
    for (int closed = 0; closed < 2; closed++) {
        struct disk_fixture f;
        make(&f, closed);
        f.options.recovery = STRATA_RECOVERY_STRICT;
        assert_int_equal(disk_open(&f), STRATA_OK);
        size_t want = 0;
        for (uint64_t k = 0; k < KEYS; k++)
            want += versions[k] != 0;
        assert_int_equal(check(&f, "undamaged"), want);
        assert_int_equal(disk_stats_of(&f).errors, 0);
        disk_unmake(&f);
    }
}

/* A put that the kernel got the first pages of. */
static void a_torn_end_is_no_damage(void **state)
{
    struct disk_fixture live, f;
    static char names[NAMES_MOST][64];
    (void)state;
    disk_make(&live);
    live.options.max_bytes = 1u << 20;
    live.options.segment_bytes = 128u << 10;
    live.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&live), STRATA_OK);
    for (uint32_t k = 0; k < 10; k++)
        assert_int_equal(disk_put(&live, k, 1, 9000), STRATA_OK);
    live.layer->ops->maintain(live.layer, 0, 1000);
    disk_crash_copy(&live, &f);
    disk_unmake(&live);
    size_t count = temp_dir_list(f.path, names, NAMES_MOST);
    for (size_t i = 0; i < count; i++)
        if (strstr(names[i], ".seg") != NULL) {
            char file[512];
            static const char zeros[128 << 10];
            snprintf(file, sizeof file, "%s/%s", f.path, names[i]);
            int fd = open(file, O_WRONLY);
            enum { FROM = 4096 * 17 };
            assert_int_equal(pwrite(fd, zeros, sizeof zeros - FROM, FROM), sizeof zeros - FROM);
            close(fd);
        }
    if (disk_open(&f) != STRATA_OK)
        fail_msg("%s", f.err.message);
    size_t there = 0;
    for (uint64_t k = 0; k < 10; k++)
        there += disk_status(&f, k) == STRATA_OK;
    assert_int_equal(there, 7);
    assert_int_equal(disk_stats_of(&f).errors, 0);
    disk_unmake(&f);
}

static void strangers_are_left_alone(void **state)
{
    struct disk_fixture f;
    char file[512], link_name[512];
    struct stat s;
    (void)state;
    make(&f, 1);
    snprintf(file, sizeof file, "%s/README", f.path);
    int fd = open(file, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    snprintf(link_name, sizeof link_name, "%s/00000000000000ff.seg", f.path);
    assert_int_equal(symlink("/etc/passwd", link_name), 0);
    f.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&f), STRATA_EIO);
    assert_non_null(strstr(f.err.message, "00000000000000ff.seg"));
    f.options.recovery = STRATA_RECOVERY_QUIET;
    assert_int_equal(disk_open(&f), STRATA_OK);
    (void)check(&f, "with strangers");
    assert_int_equal(disk_put(&f, 1, 77, 100), STRATA_OK);
    disk_close(&f);
    assert_int_equal(stat(file, &s), 0);
    assert_int_equal(lstat(link_name, &s), 0);
    assert_true(S_ISLNK(s.st_mode));
    disk_unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(undamaged_is_strict),
        cmocka_unit_test(a_torn_end_is_no_damage),
        cmocka_unit_test(strangers_are_left_alone),
        cmocka_unit_test(after_a_close),
        cmocka_unit_test(after_a_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
