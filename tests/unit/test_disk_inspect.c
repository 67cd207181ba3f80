/* test_disk_inspect.c - looking at a directory: whole ones have no damage and the entries an opening finds, every flipped bit is
 * found, nothing is changed, and what cannot be looked at is said. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "src/base/hash.h"
#include "strata/strata.h"
#include "tests/support/disk_fixture.h"
#include "tests/support/fault_nth.h"
#include "tests/support/temp_dir.h"

enum { KEYS = 300, NAMES_MOST = 256, TRIES = 40 };

static uint64_t chance_state = 5;

static uint64_t chance(void)
{
    chance_state = chance_state * 6364136223846793005u + 1442695040888963407u;
    return chance_state >> 33;
}

/* What was reported. */
struct found {
    strata_disk_report report;
    strata_error err;
    char first[400];
    char files[2048]; /* names, each between blanks */
    uint64_t progressed, stop_at;
};

static void note(const strata_disk_damage *damage, void *ctx)
{
    struct found *found = ctx;
    size_t used = strlen(found->files);
    assert_true(damage->size == sizeof *damage && damage->what[0] != '\0' && damage->advice[0] != '\0');
    if (found->first[0] == '\0')
        snprintf(found->first, sizeof found->first, "%s at %llu: %s", damage->file, (unsigned long long)damage->offset,
                 damage->what);
    if (used < sizeof found->files - 64)
        snprintf(found->files + used, sizeof found->files - used, " %s ", damage->file);
}

static int go_on(uint64_t done, uint64_t total, void *ctx)
{
    struct found *found = ctx;
    assert_true(done <= total);
    found->progressed++;
    return found->stop_at != 0 && done >= found->stop_at;
}

static int inspect(const char *path, uint32_t flags, struct found *found)
{
    strata_disk_inspect_options options = STRATA_DISK_INSPECT_OPTIONS_INIT;
    options.flags = flags;
    options.on_damage = note;
    options.on_progress = go_on;
    options.ctx = found;
    uint64_t stop_at = found->stop_at;
    memset(found, 0, sizeof *found);
    found->stop_at = stop_at;
    found->report.size = sizeof found->report;
    return strata_disk_inspect(path, &options, &found->report, &found->err);
}

/* Of all files, with names and times of writing. */
static uint64_t sum_of(const char *path)
{
    static char bytes[1 << 20];
    char names[NAMES_MOST][64], file[512];
    size_t count = temp_dir_list(path, names, NAMES_MOST);
    uint64_t sum = count;
    for (size_t i = 0; i < count; i++) {
        struct stat s;
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        int fd = open(file, O_RDONLY);
        assert_true(fd >= 0 && fstat(fd, &s) == 0);
        ssize_t got = read(fd, bytes, sizeof bytes);
        assert_true(got >= 0);
        (void)close(fd);
        sum += strata__hash(bytes, (size_t)got, strata__hash(names[i], strlen(names[i]), (uint64_t)s.st_mtim.tv_nsec));
    }
    return sum;
}

static void make(struct disk_fixture *f)
{
    disk_make(f);
    f->options.max_bytes = 8u << 20;
    f->options.segment_bytes = 64u << 10;
    f->options.write_buffer_bytes = 4096;
    f->options.dead_percent = 1000; /* tombstones shall stay */
    assert_int_equal(disk_open(f), STRATA_OK);
    for (uint32_t i = 1; i <= 900; i++) {
        uint64_t key = chance() % KEYS;
        if (i % 6 == 0)
            assert_true(disk_remove(f, key) >= 0);
        else
            assert_int_equal(disk_put(f, key, i, 100 + chance() % 700), STRATA_OK);
        if (i == 500)
            assert_int_equal(disk_clear_keys(f, "c:"), STRATA_OK);
    }
}

/* As after a close, or a kill -9, somewhere else. */
static void make_copy(struct disk_fixture *copy, int closed)
{
    struct disk_fixture f;
    make(&f);
    if (closed)
        disk_close(&f);
    disk_crash_copy(&f, copy);
    disk_unmake(&f);
}

/* Whole ones -------------------------------------------------------------------------------------------------- */

static void look_at_whole(int closed)
{
    struct disk_fixture f;
    struct found quick = { .stop_at = 0 }, all = quick;
    make_copy(&f, closed);
    uint64_t before = sum_of(f.path);
    assert_int_equal(inspect(f.path, 0, &quick), STRATA_OK);
    assert_int_equal(inspect(f.path, STRATA_DISK_INSPECT_RECORDS, &all), STRATA_OK);
    if (quick.report.damages + all.report.damages != 0)
        fail_msg("%s%s", quick.first, all.first);
    assert_int_equal(sum_of(f.path), before);
    assert_int_equal(all.report.closed_cleanly, closed);
    assert_int_equal(all.report.in_use, 0);
    assert_int_equal(all.report.format_version, 1);
    assert_int_equal(strlen(all.report.id), 32);
    assert_int_equal(all.report.bans, 1);
    assert_true(all.report.segments > 3 && all.report.sealed >= all.report.segments - 1);
    assert_true(all.report.created_wall_ms != 0 && all.report.oldest_wall_ms >= all.report.created_wall_ms &&
                all.report.newest_wall_ms >= all.report.oldest_wall_ms);
    assert_true(all.report.tombstones > 50 && all.report.records > 500);
    assert_true(all.report.dead_bytes > 0 && all.report.live_bytes > 0);
    assert_true(all.report.measured > 500 && all.report.measured_bytes == all.report.measured_raw_bytes);
    assert_true(quick.report.measured > 0 && quick.report.measured <= 16 * quick.report.segments);
    assert_true(all.report.bytes <= temp_dir_bytes(f.path) && all.report.bytes * 100 > temp_dir_bytes(f.path) * 99);
    assert_true(all.progressed > 0 && all.report.checked_bytes > all.report.live_bytes + all.report.dead_bytes);
    assert_int_equal(quick.report.entries, all.report.entries);
    assert_int_equal(quick.report.live_bytes, all.report.live_bytes);

    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_stats_of(&f).entries, all.report.entries);
    disk_unmake(&f);
}

static void a_closed_one_is_whole_and_unchanged(void **state)
{
    (void)state;
    look_at_whole(1);
}

static void one_after_a_crash_is_whole_and_unchanged(void **state)
{
    (void)state;
    look_at_whole(0);
}

static void expired_and_packed_values_are_counted(void **state)
{
    struct disk_fixture f;
    struct found found = { .stop_at = 0 };
    (void)state;
    disk_make(&f);
    f.options.max_bytes = 8u << 20;
    f.options.compression = STRATA_COMPRESS_ZSTD;
    int rc = disk_open(&f);
    if (rc == STRATA_EINVAL || rc == STRATA_EUNSUPPORTED) { /* built without */
        disk_unmake(&f);
        return;
    }
    assert_int_equal(rc, STRATA_OK);
    for (uint64_t k = 0; k < 20; k++)
        assert_int_equal(disk_put(&f, k, 1, 4000), STRATA_OK);
    disk_close(&f);
    assert_int_equal(inspect(f.path, STRATA_DISK_INSPECT_RECORDS, &found), STRATA_OK);
    assert_int_equal(found.report.damages, 0);
    assert_int_equal(found.report.entries, 20);
    assert_int_equal(found.report.expired, 0);
    assert_int_equal(found.report.measured_raw_bytes, 20 * 4000);
    assert_true(found.report.measured_bytes <= found.report.measured_raw_bytes);
    disk_unmake(&f);
}

static void an_empty_one_is_described(void **state)
{
    struct disk_fixture f;
    struct found found = { .stop_at = 0 };
    (void)state;
    disk_make(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    disk_close(&f);
    assert_int_equal(inspect(f.path, STRATA_DISK_INSPECT_RECORDS, &found), STRATA_OK);
    assert_int_equal(found.report.damages, 0);
    assert_int_equal(found.report.entries, 0);
    assert_int_equal(found.report.segments, 0);
    disk_unmake(&f);
}

/* Damage ------------------------------------------------------------------------------------------------------ */

static void damage(const char *path, const char *name, int cut, char *words, size_t size)
{
    char file[512];
    struct stat s;
    unsigned char byte;
    snprintf(file, sizeof file, "%s/%s", path, name);
    int fd = open(file, O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &s) == 0 && s.st_size > 0);
    off_t at = (off_t)(chance() % (uint64_t)s.st_size);
    int bit = (int)(chance() % 8);
    snprintf(words, size, "%s, %s %lld of %lld, bit %d", name, cut ? "cut at" : "flipped at", (long long)at,
             (long long)s.st_size, bit);
    if (cut) {
        assert_int_equal(ftruncate(fd, at), 0);
    } else {
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        byte = (unsigned char)(byte ^ 1u << bit);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    (void)close(fd);
}

/* Of every file in turn.  What an opening complains of is found, too. */
static void try_damages(int closed, int cut)
{
    struct disk_fixture f, copy;
    char names[NAMES_MOST][64], words[256], blanks[80];
    make_copy(&f, closed);
    size_t count = temp_dir_list(f.path, names, NAMES_MOST);
    for (int i = 0; i < TRIES; i++) {
        const char *name = names[(size_t)i % count];
        struct found found = { .stop_at = 0 };
        if (strcmp(name, "lock") == 0)
            continue; /* it holds nothing but a number for people */
        disk_crash_copy(&f, &copy);
        damage(copy.path, name, cut, words, sizeof words);
        int rc = inspect(copy.path, STRATA_DISK_INSPECT_RECORDS, &found);
        snprintf(blanks, sizeof blanks, " %s ", name);
        if (rc != STRATA_OK && rc != STRATA_EUNSUPPORTED)
            fail_msg("%s: %d: %s", words, rc, found.err.message);
        /* A segment that was cut within its footer has all its records; the snapshot knows another size. */
        int seen = strstr(found.files, blanks) != NULL || (cut && strstr(found.files, " index.snap ") != NULL);
        if (closed && rc == STRATA_OK && !seen)
            fail_msg("%s: not found, but \"%s\"", words, found.files);
        copy.options.recovery = STRATA_RECOVERY_STRICT;
        int opened = disk_open(&copy);
        if (opened != STRATA_OK && rc == STRATA_OK && found.report.damages == 0)
            fail_msg("%s: not found, and opening says \"%s\"", words, copy.err.message);
        disk_unmake(&copy);
    }
    disk_unmake(&f);
}

static void every_flipped_bit_is_found(void **state)
{
    (void)state;
    try_damages(1, 0);
}

static void every_cut_is_found(void **state)
{
    (void)state;
    try_damages(1, 1);
}

static void what_an_opening_refuses_after_a_crash_is_found(void **state)
{
    (void)state;
    try_damages(0, 0);
    try_damages(0, 1);
}

static void missing_files_are_found(void **state)
{
    struct disk_fixture f, copy;
    char names[NAMES_MOST][64], file[512];
    (void)state;
    make_copy(&f, 1);
    size_t count = temp_dir_list(f.path, names, NAMES_MOST);
    for (size_t i = 0; i < count; i++) {
        struct found found = { .stop_at = 0 };
        disk_crash_copy(&f, &copy);
        snprintf(file, sizeof file, "%s/%s", copy.path, names[i]);
        assert_int_equal(unlink(file), 0);
        assert_int_equal(inspect(copy.path, 0, &found), STRATA_OK);
        int harmless = strcmp(names[i], "lock") == 0 || strcmp(names[i], "index.snap") == 0;
        if ((found.report.damages == 0) != harmless)
            fail_msg("without %s: %llu damages", names[i], (unsigned long long)found.report.damages);
        disk_unmake(&copy);
    }
    disk_unmake(&f);
}

static void strangers_are_counted_or_named(void **state)
{
    struct disk_fixture f;
    struct found found = { .stop_at = 0 };
    char file[512], link_to[512];
    (void)state;
    make_copy(&f, 1);
    snprintf(file, sizeof file, "%s/README", f.path);
    int fd = open(file, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(inspect(f.path, 0, &found), STRATA_OK);
    assert_int_equal(found.report.other_files, 1);
    assert_int_equal(found.report.damages, 0);
    snprintf(link_to, sizeof link_to, "%s/00000000000fffff.seg", f.path);
    assert_int_equal(symlink(file, link_to), 0);
    assert_int_equal(inspect(f.path, 0, &found), STRATA_OK);
    assert_non_null(strstr(found.files, "00000000000fffff.seg"));
    assert_int_equal(unlink(link_to), 0);
    assert_int_equal(mkdir(link_to, 0700), 0);
    assert_int_equal(inspect(f.path, 0, &found), STRATA_OK);
    assert_non_null(strstr(found.files, "00000000000fffff.seg"));
    assert_int_equal(rmdir(link_to), 0);
    disk_unmake(&f);
}

/* In use ------------------------------------------------------------------------------------------------------ */

static void one_in_use_is_looked_at_if_asked_for(void **state)
{
    struct disk_fixture f;
    struct found found = { .stop_at = 0 };
    char pid[32];
    (void)state;
    make(&f);
    assert_int_equal(inspect(f.path, STRATA_DISK_INSPECT_RECORDS, &found), STRATA_EBUSY);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(found.err.message, pid));
    uint64_t before = sum_of(f.path);
    assert_int_equal(inspect(f.path, STRATA_DISK_INSPECT_RECORDS | STRATA_DISK_INSPECT_IN_USE, &found), STRATA_OK);
    assert_int_equal(sum_of(f.path), before);
    if (found.report.damages != 0)
        fail_msg("%s", found.first);
    assert_int_equal(found.report.in_use, 1);
    assert_int_equal(found.report.in_use_by, getpid());
    assert_int_equal(found.report.closed_cleanly, 0);
    assert_true(found.report.entries > 50);
    assert_int_equal(disk_put(&f, 1, 1000, 100), STRATA_OK); /* the lock is still the cache's */
    struct disk_fixture second = f;
    assert_int_equal(disk_open(&second), STRATA_EBUSY);
    disk_unmake(&f);
}

struct intruder {
    struct disk_fixture *f;
    int answer;
};

static int try_to_open(uint64_t done, uint64_t total, void *ctx)
{
    struct intruder *intruder = ctx;
    (void)done;
    (void)total;
    intruder->answer = disk_open(intruder->f);
    return 0;
}

static void no_cache_opens_it_meanwhile(void **state)
{
    struct disk_fixture f;
    (void)state;
    make_copy(&f, 1);
    struct intruder intruder = { &f, STRATA_OK };
    strata_disk_inspect_options options = { STRATA_SIZED(strata_disk_inspect_options), .on_progress = try_to_open,
                                            .ctx = &intruder };
    assert_int_equal(strata_disk_inspect(f.path, &options, NULL, NULL), STRATA_OK);
    assert_int_equal(intruder.answer, STRATA_EBUSY);
    assert_int_equal(disk_open(&f), STRATA_OK);
    disk_unmake(&f);
}

static void it_can_be_stopped(void **state)
{
    struct disk_fixture f;
    struct found found = { .stop_at = 1 };
    (void)state;
    make_copy(&f, 1);
    assert_int_equal(inspect(f.path, STRATA_DISK_INSPECT_RECORDS, &found), STRATA_ECANCELED);
    disk_unmake(&f);
}

/* Bad input --------------------------------------------------------------------------------------------------- */

static void what_is_no_directory_of_a_layer_is_said(void **state)
{
    struct found found = { .stop_at = 0 };
    char path[256], name[300];
    (void)state;
    temp_dir_make(path, sizeof path);
    assert_int_equal(inspect(path, 0, &found), STRATA_EINVAL);
    assert_non_null(strstr(found.err.message, "strata.dir"));
    snprintf(name, sizeof name, "%s/none", path);
    assert_int_equal(inspect(name, 0, &found), STRATA_EIO);
    assert_int_equal(found.err.os_errno, ENOENT);
    int fd = open(name, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(inspect(name, 0, &found), STRATA_EIO);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(symlink(path, name), 0);
    assert_int_equal(inspect(name, 0, &found), STRATA_EIO);
    assert_int_equal(inspect("", 0, &found), STRATA_EINVAL);
    assert_int_equal(strata_disk_inspect(NULL, NULL, NULL, NULL), STRATA_EINVAL);
    temp_dir_remove(path);
}

static void a_newer_strata_s_is_left_to_it(void **state)
{
    struct disk_fixture f;
    struct found found = { .stop_at = 0 };
    char name[300];
    unsigned char bytes[64];
    (void)state;
    make_copy(&f, 1);
    snprintf(name, sizeof name, "%s/strata.dir", f.path);
    int fd = open(name, O_RDWR);
    assert_int_equal(pread(fd, bytes, sizeof bytes, 0), 56);
    bytes[8] = 2; /* the version; then the sum */
    uint64_t sum = strata__hash(bytes, 48, 0);
    for (int i = 0; i < 8; i++)
        bytes[48 + i] = (unsigned char)(sum >> 8 * i);
    assert_int_equal(pwrite(fd, bytes, 56, 0), 56);
    (void)close(fd);
    assert_int_equal(inspect(f.path, 0, &found), STRATA_EUNSUPPORTED);
    disk_unmake(&f);
}

static void old_and_new_callers_are_served(void **state)
{
    struct disk_fixture f;
    struct {
        strata_disk_inspect_options known;
        uint64_t more;
    } newer = { STRATA_DISK_INSPECT_OPTIONS_INIT, 0 };
    strata_disk_inspect_options options = STRATA_DISK_INSPECT_OPTIONS_INIT;
    strata_disk_report old = STRATA_DISK_REPORT_INIT;
    (void)state;
    make_copy(&f, 1);
    newer.known.size = sizeof newer;
    assert_int_equal(strata_disk_inspect(f.path, &newer.known, NULL, NULL), STRATA_OK);
    newer.more = 1;
    assert_int_equal(strata_disk_inspect(f.path, &newer.known, NULL, NULL), STRATA_EINVAL);
    options.flags = 8;
    assert_int_equal(strata_disk_inspect(f.path, &options, NULL, NULL), STRATA_EINVAL);
    options.flags = 0;
    options.size = 1;
    assert_int_equal(strata_disk_inspect(f.path, &options, NULL, NULL), STRATA_EINVAL);
    old.size = offsetof(strata_disk_report, entries);
    old.entries = 77;
    assert_int_equal(strata_disk_inspect(f.path, NULL, &old, NULL), STRATA_OK);
    assert_true(old.segments != 0 && old.entries == 77);
    disk_unmake(&f);
}

static void a_failing_system_call_is_an_error_or_damage(void **state)
{
    static const char *const calls[] = { "open", "openat", "pread", "fstat", "readdir", "fcntl" };
    struct disk_fixture f;
    (void)state;
    make_copy(&f, 1);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        for (int n = 1; n < 200; n++) {
            struct fault_nth fault;
            struct found found = { .stop_at = 0 };
            fault_nth_set(&fault, calls[i], n, n % 2 ? EIO : EACCES);
            int rc = inspect(f.path, STRATA_DISK_INSPECT_RECORDS, &found);
            fault_nth_clear();
            if (atomic_load(&fault.seen) < n) {
                assert_true(rc == STRATA_OK && found.report.damages == 0);
                break;
            }
            if (rc == STRATA_OK && found.report.damages == 0 && strcmp(calls[i], "fstat") != 0 &&
                strcmp(calls[i], "openat") != 0) /* those that only ask how much there is to do */
                fail_msg("%s, call %d: nothing was said", calls[i], n);
            assert_true(rc == STRATA_OK || found.err.message[0] != '\0');
        }
    disk_unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_one_is_whole_and_unchanged),
        cmocka_unit_test(one_after_a_crash_is_whole_and_unchanged),
        cmocka_unit_test(expired_and_packed_values_are_counted),
        cmocka_unit_test(an_empty_one_is_described),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(every_cut_is_found),
        cmocka_unit_test(what_an_opening_refuses_after_a_crash_is_found),
        cmocka_unit_test(missing_files_are_found),
        cmocka_unit_test(strangers_are_counted_or_named),
        cmocka_unit_test(one_in_use_is_looked_at_if_asked_for),
        cmocka_unit_test(no_cache_opens_it_meanwhile),
        cmocka_unit_test(it_can_be_stopped),
        cmocka_unit_test(what_is_no_directory_of_a_layer_is_said),
        cmocka_unit_test(a_newer_strata_s_is_left_to_it),
        cmocka_unit_test(old_and_new_callers_are_served),
        cmocka_unit_test(a_failing_system_call_is_an_error_or_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
