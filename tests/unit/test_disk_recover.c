/* test_disk_recover.c - opening again, where something happens meanwhile: what was removed, overwritten or cleared once never
 * comes back, whatever fails, and wherever the process ends. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/disk/disk_impl.h"
#include "src/layer/value_impl.h"
#include "src/os/os_fault.h"
#include "tests/support/disk_fixture.h"
#include "tests/support/temp_dir.h"

/* A clear's segment stays as long as what it cleared, also where the clear was found by a scan. */
static void a_scanned_clear_outlives_what_it_clears(void **state)
{
    (void)state;
    struct disk_fixture f;
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_put(&f, 1, 1, 500), STRATA_OK); /* "b:key:1" */
    uint64_t key = disk_fill_up_to(&f, 2);
    assert_int_equal(disk_remove(&f, key), STRATA_OK); /* nothing alive beside the clear */
    assert_int_equal(disk_clear_keys(&f, "b:"), STRATA_OK);
    disk_kill_and_open(&f);
    assert_int_equal(disk_status(&f, 1), STRATA_MISS);
    assert_int_equal(disk_put(&f, 500, 1, 500), STRATA_OK);
    f.layer->ops->maintain(f.layer, 0, 1000);
    disk_kill_and_open(&f);
    assert_int_equal(disk_status(&f, 1), STRATA_MISS);
    disk_unmake(&f);
}

/* Faults ------------------------------------------------------------------------------------------------------- */

static struct {
    const char *call;
    int nth, seen, code;        /* code 0: none is failing */
    struct disk_fixture *life;  /* code KILLED: whose directory is copied, and where to */
    struct disk_fixture *after; /* a call that never happens leaves it without a path */
} fault;

enum { KILLED = -1 };

static int decide(const char *call, void *ctx)
{
    (void)ctx;
    if (fault.code == 0 || strcmp(call, fault.call) != 0 || ++fault.seen != fault.nth)
        return 0;
    if (fault.code != KILLED)
        return fault.code;
    disk_make(fault.after);
    fault.after->options = fault.life->options;
    temp_dir_copy(fault.life->path, fault.after->path);
    return 0;
}
static const struct os_fault_hook hook = { .decide = decide };

/* disk_open(), in which one call fails once. */
static int open_with(struct disk_fixture *f, const char *call, int nth, int code)
{
    fault.call = call;
    fault.nth = nth;
    fault.seen = 0;
    fault.code = code;
    strata__os_fault_set(&hook);
    int rc = disk_open(f);
    strata__os_fault_set(NULL);
    fault.code = 0;
    return rc;
}

/* Whatever one opening did not read: what is removed in it does not come back in the next one. */
static void fails_once(const char *call, int nth, int code)
{
    struct disk_fixture live, f;
    disk_make_small(&live);
    assert_int_equal(disk_open(&live), STRATA_OK);
    assert_int_equal(disk_put(&live, 1, 1, 500), STRATA_OK);
    assert_int_equal(disk_put(&live, 2, 1, 500), STRATA_OK);
    (void)disk_fill_up_to(&live, 2);
    disk_crash_copy(&live, &f);
    disk_unmake(&live);
    int rc = open_with(&f, call, nth, code);
    if (rc != STRATA_OK) {
        assert_true(f.err.message[0] != '\0');
        assert_int_equal(disk_open(&f), STRATA_OK); /* it was for a moment */
    }
    if (rc != STRATA_OK && code == EMFILE) { /* and nothing was lost for it */
        assert_int_equal(disk_stats_of(&f).errors, 0);
        assert_int_equal(disk_status(&f, 1), STRATA_OK);
    }
    assert_true(disk_remove(&f, 1) >= 0);
    assert_int_equal(disk_put(&f, 2, 2, 500), STRATA_OK);
    assert_true(disk_remove(&f, 2) >= 0);
    disk_close(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    if (disk_status(&f, 1) != STRATA_MISS || disk_status(&f, 2) != STRATA_MISS)
        fail_msg("%s %d fails once with %d: what was removed came back", call, nth, code);
    disk_unmake(&f);
}

static void what_fails_for_a_moment_brings_nothing_back(void **state)
{
    static const int codes[] = { EMFILE, EIO, ENOMEM };
    (void)state;
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        for (int nth = 1; nth <= 8; nth++) {
            fails_once("openat", nth, codes[i]);
            fails_once("pread", nth, codes[i]);
        }
        for (int nth = 1; nth <= 4; nth++)
            fails_once("fstat", nth, codes[i]);
    }
}

static void flip(struct disk_fixture *f, const char *name, off_t at)
{
    char file[512];
    unsigned char byte = 0;
    snprintf(file, sizeof file, "%s/%s", f->path, name);
    int fd = open(file, O_RDWR);
    assert_true(fd >= 0 && pread(fd, &byte, 1, at) == 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* Key 1 was put into the segment 1, and removed in segment 3, which is damaged. */
static void make_damaged(struct disk_fixture *f)
{
    struct disk_fixture live;
    disk_make_small(&live);
    assert_int_equal(disk_open(&live), STRATA_OK);
    assert_int_equal(disk_put(&live, 1, 1, 500), STRATA_OK);
    (void)disk_fill_up_to(&live, 3);
    assert_int_equal(disk_remove(&live, 1), STRATA_OK);
    disk_crash_copy(&live, f);
    disk_unmake(&live);
    flip(f, "0000000000000003.seg", SEGMENT_HEAD + 40);
}

/* Wherever the dropping of what cannot be trusted ends, the rest is not trusted later. */
static void damage_goes_last(void **state)
{
    (void)state;
    for (int nth = 1; nth <= 4; nth++) {
        struct disk_fixture f, after = { .path = "" };
        make_damaged(&f);
        int rc = open_with(&f, "unlinkat", nth, EIO);
        assert_int_equal(rc, nth <= 3 ? STRATA_EIO : STRATA_OK);
        disk_close(&f);
        assert_int_equal(disk_open(&f), STRATA_OK);
        assert_int_equal(disk_status(&f, 1), STRATA_MISS);
        disk_unmake(&f);

        make_damaged(&f);
        fault.life = &f;
        fault.after = &after;
        assert_int_equal(open_with(&f, "unlinkat", nth, KILLED), STRATA_OK);
        disk_unmake(&f);
        assert_int_equal(after.path[0] != '\0', nth <= 3);
        if (after.path[0] == '\0')
            continue;
        assert_int_equal(disk_open(&after), STRATA_OK);
        assert_int_equal(disk_status(&after, 1), STRATA_MISS);
        disk_unmake(&after);
    }
}

/* Names nobody's segment is left with: what cannot be trusted takes no room beside the budget. */
static void no_room_for_strangers(const char *name, off_t at, int all)
{
    struct disk_fixture f;
    disk_make_small(&f);
    for (int life = 0; life < 3; life++) {
        assert_int_equal(disk_open(&f), STRATA_OK);
        assert_int_equal(disk_stats_of(&f).errors != 0, life != 0);
        for (uint64_t k = 0; k < 600; k++)
            assert_true(disk_put(&f, k, 1, 3000) >= 0);
        char newest[24];
        strata__segment_name(newest, disk_inside(&f)->log.newest->number);
        disk_close(&f);
        if (temp_dir_bytes(f.path) > f.options.max_bytes)
            fail_msg("%llu bytes", temp_dir_bytes(f.path));
        flip(&f, all ? name : newest, at);
        if (!all)
            flip(&f, "index.snap", 100);
    }
    f.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&f), STRATA_EIO);
    assert_non_null(strstr(f.err.message, all ? name : "index.snap"));
    assert_non_null(strstr(f.err.message, all ? "which begins anew" : "delete this one file"));
    disk_unmake(&f);
}

static void what_is_not_trusted_takes_no_room(void **state)
{
    (void)state;
    no_room_for_strangers("strata.dir", 33, 1); /* all segments are of another directory now */
    no_room_for_strangers("a segment", 50, 0);  /* a head is damaged */
}

/* Delete index.snap, and nothing is lost: as the advice has it. */
static void a_damaged_snapshot_may_be_deleted(void **state)
{
    (void)state;
    struct disk_fixture f;
    char file[512];
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 0; k < 100; k++)
        assert_int_equal(disk_put(&f, k, 1, 1000), STRATA_OK);
    for (uint64_t k = 0; k < 100; k += 2)
        assert_int_equal(disk_remove(&f, k), STRATA_OK);
    disk_close(&f);
    flip(&f, "index.snap", 200);
    f.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&f), STRATA_EIO);
    assert_non_null(strstr(f.err.message, "index.snap"));
    assert_non_null(strstr(f.err.message, "nothing is lost"));
    snprintf(file, sizeof file, "%s/index.snap", f.path);
    assert_int_equal(unlink(file), 0);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 0; k < 100; k++)
        assert_int_equal(disk_status(&f, k), k % 2 != 0 ? STRATA_OK : STRATA_MISS);
    disk_unmake(&f);
}

/* What goes when a segment is damaged, and what the strict error says about it: it and what is older, not what is younger. */
static void damage_takes_what_is_older(void **state)
{
    (void)state;
    struct disk_fixture f, live;
    disk_make_small(&live);
    live.options.dead_percent = 1000; /* nothing is written again, and younger by that */
    assert_int_equal(disk_open(&live), STRATA_OK);
    assert_int_equal(disk_put(&live, 1, 1, 500), STRATA_OK);
    (void)disk_fill_up_to(&live, 2);
    assert_int_equal(disk_put(&live, 2, 1, 500), STRATA_OK);
    (void)disk_fill_up_to(&live, 3);
    assert_int_equal(disk_put(&live, 3, 1, 500), STRATA_OK);
    assert_int_equal(disk_put(&live, 3, 2, 500), STRATA_OK); /* written, with all before it */
    disk_crash_copy(&live, &f);
    disk_unmake(&live);
    flip(&f, "0000000000000002.seg", SEGMENT_HEAD - 40);
    f.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&f), STRATA_EIO);
    assert_non_null(strstr(f.err.message, "0000000000000002.seg"));
    assert_non_null(strstr(f.err.message, "deletes it and all that is older"));
    assert_non_null(strstr(f.err.message, "what is younger stays"));
    f.options.recovery = STRATA_RECOVERY_QUIET;
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_status(&f, 1), STRATA_MISS);
    assert_int_equal(disk_status(&f, 2), STRATA_MISS);
    assert_int_equal(disk_status(&f, 3), STRATA_OK);
    disk_unmake(&f);
}

/* A flipped bit in a value is none of opening's business, also not of a strict one's: it is found when the value is read. */
static void strict_does_not_read_values(void **state)
{
    (void)state;
    struct disk_fixture f;
    strata_disk_inspect_options look = STRATA_DISK_INSPECT_OPTIONS_INIT;
    strata_disk_report report = STRATA_DISK_REPORT_INIT;
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_put(&f, 1, 1, 1000), STRATA_OK);
    disk_close(&f);
    flip(&f, "0000000000000001.seg", SEGMENT_HEAD + 700);
    look.flags = STRATA_DISK_INSPECT_RECORDS;
    assert_int_equal(strata_disk_inspect(f.path, &look, &report, &f.err), STRATA_OK);
    assert_int_equal(report.damages, 1);
    f.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_not_equal(disk_status(&f, 1), STRATA_OK);
    disk_unmake(&f);
}

/* Segments of another directory: strict names the first of them, and touches none. */
static void strict_names_what_is_not_ours(void **state)
{
    (void)state;
    struct disk_fixture f, other;
    char file[512], theirs[512];
    disk_make_small(&other);
    assert_int_equal(disk_open(&other), STRATA_OK);
    disk_close(&other);
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    (void)disk_fill_up_to(&f, 3);
    disk_close(&f);
    snprintf(file, sizeof file, "%s/strata.dir", f.path);
    snprintf(theirs, sizeof theirs, "%s/strata.dir", other.path);
    assert_int_equal(rename(theirs, file), 0);
    disk_unmake(&other);
    f.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&f), STRATA_EIO);
    assert_non_null(strstr(f.err.message, "0000000000000001.seg"));
    snprintf(file, sizeof file, "%s/0000000000000001.seg", f.path);
    assert_int_equal(access(file, F_OK), 0);
    f.options.recovery = STRATA_RECOVERY_QUIET;
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_stats_of(&f).errors, 3);
    assert_int_equal(disk_stats_of(&f).bytes, 0);
    assert_int_equal(access(file, F_OK), -1);
    disk_unmake(&f);
}

/* Torn, or damaged ----------------------------------------------------------------------------------------------- */

static void done(strata_op *op) { (void)op; }

/* A value of zeros: what a torn record's last pages look like. */
static void put_zeros(struct disk_fixture *f, const char *key, const char *first, size_t size)
{
    strata_op op = { .size = sizeof op, .kind = STRATA_OP_PUT, .key = strata_str(key), .err = &f->err, .done = done };
    strata_op *one = &op;
    void *bytes;
    op.value = strata__value_new(NULL, size, &bytes);
    assert_non_null(op.value);
    memset(bytes, 0, size);
    memcpy(bytes, first, strlen(first));
    op.expires_ms = STRATA_FOREVER;
    op.meta.life = f->life;
    op.meta.position = f->position;
    op.meta.fresh_ms = 3600000;
    f->layer->ops->submit(f->layer, &one, 1);
    strata_value_unref(op.value);
    assert_int_equal(op.status, STRATA_OK);
}

enum { FIRST = 600, LAST = 12000 };

/* "A", an old version that is replaced by a last record of three pages, all but its beginning zeros. */
static void make_zeros(struct disk_fixture *f)
{
    struct disk_fixture live;
    disk_make_small(&live);
    assert_int_equal(disk_open(&live), STRATA_OK);
    put_zeros(&live, "A", "old", FIRST);
    put_zeros(&live, "A", "new", LAST);
    disk_crash_copy(&live, f);
    disk_unmake(&live);
    f->options.recovery = STRATA_RECOVERY_STRICT;
}

static int get_a(struct disk_fixture *f)
{
    strata_op op = { .size = sizeof op, .kind = STRATA_OP_GET, .key = strata_str("A"), .err = &f->err, .done = done };
    strata_op *one = &op;
    f->layer->ops->submit(f->layer, &one, 1);
    int version = op.found == NULL ? 0 : *(const char *)strata_value_data(op.found);
    strata_value_unref(op.found);
    return version;
}

static off_t where_last(struct disk_fixture *f)
{
    static char all[64 << 10];
    char file[512];
    snprintf(file, sizeof file, "%s/0000000000000001.seg", f->path);
    int fd = open(file, O_RDONLY);
    assert_true(fd >= 0 && pread(fd, all, sizeof all, 0) == sizeof all);
    close(fd);
    for (size_t at = SEGMENT_HEAD + RECORD_ALIGN; at + RECORD_HEAD < sizeof all; at += RECORD_ALIGN)
        if (all[at + RECORD_KIND_AT] == RECORD_PUT && memcmp(all + at + RECORD_HEAD, "A", 1) == 0)
            return (off_t)at;
    fail();
    return 0;
}

/* A bit of a whole record, wherever it is, makes no torn one of it. */
static void damage_is_not_torn(void **state)
{
    (void)state;
    for (off_t at = 0; at < LAST; at = at < 80 ? at + 1 : at + 997) {
        struct disk_fixture f;
        make_zeros(&f);
        off_t last = where_last(&f);
        flip(&f, "0000000000000001.seg", last + at);
        if (disk_open(&f) != STRATA_EIO)
            fail_msg("byte %lld of the last record was damaged, and nobody saw it", (long long)at);
        f.options.recovery = STRATA_RECOVERY_QUIET;
        assert_int_equal(disk_open(&f), STRATA_OK);
        assert_int_equal(get_a(&f), 0); /* no older one */
        disk_unmake(&f);
    }
}

/* The file from page `page` on as it was before the last records were written. */
static void tear(struct disk_fixture *f, off_t page)
{
    static const char zeros[4096];
    char file[512];
    struct stat s;
    snprintf(file, sizeof file, "%s/0000000000000001.seg", f->path);
    int fd = open(file, O_WRONLY);
    assert_true(fd >= 0 && fstat(fd, &s) == 0);
    for (off_t at = page * 4096; at < s.st_size; at += 4096)
        assert_int_equal(pwrite(fd, zeros, sizeof zeros, at), sizeof zeros);
    close(fd);
}

/* Records that begin anywhere in a page, torn where it ends: also in the middle of their heads. */
static void torn_anywhere_is_no_damage(void **state)
{
    (void)state;
    for (size_t size = 3200; size < 3600; size += 16) {
        struct disk_fixture live, f;
        disk_make_small(&live);
        assert_int_equal(disk_open(&live), STRATA_OK);
        assert_int_equal(disk_put(&live, 1, 1, size), STRATA_OK);
        assert_int_equal(disk_put(&live, 2, 1, 400), STRATA_OK);
        assert_int_equal(disk_put(&live, 3, 1, 5000), STRATA_OK);
        live.layer->ops->maintain(live.layer, 0, 1000);
        disk_crash_copy(&live, &f);
        disk_unmake(&live);
        tear(&f, 1);
        f.options.recovery = STRATA_RECOVERY_STRICT;
        if (disk_open(&f) != STRATA_OK)
            fail_msg("%zu: %s", size, f.err.message);
        assert_int_equal(disk_status(&f, 1), STRATA_OK);
        assert_int_equal(disk_status(&f, 3), STRATA_MISS);
        disk_unmake(&f);
    }
}

/* Writes that fail ------------------------------------------------------------------------------------------------ */

enum { STEPS_MOST = 24 };

static struct {
    struct disk_fixture *life, steps[STEPS_MOST];
    int count, writes;
    size_t cut; /* what the first write moves; the second one fails */
} failing;

/* Every call but reading may be the last one. */
static int step(const char *call, void *ctx)
{
    (void)ctx;
    if (strcmp(call, "pread") == 0 || failing.count == STEPS_MOST)
        return 0;
    struct disk_fixture *f = &failing.steps[failing.count++];
    disk_make(f);
    f->options = failing.life->options;
    temp_dir_copy(failing.life->path, f->path);
    return strcmp(call, "pwrite") == 0 && ++failing.writes == 2 ? EIO : 0;
}

static size_t cut(const char *call, size_t size, void *ctx)
{
    (void)ctx;
    return strcmp(call, "pwrite") == 0 && failing.writes == 1 ? failing.cut : size;
}
static const struct os_fault_hook failing_hook = { .decide = step, .cut = cut };

/* From now on: the first write ends at a page, two of them later. */
static void begin_failing(struct disk_fixture *f)
{
    memset(&failing, 0, sizeof failing);
    failing.life = f;
    failing.cut = 3 * 4096 - disk_inside(f)->log.active->end % 4096;
    strata__os_fault_set(&failing_hook);
}

static void each_step_is_no_damage(uint64_t keys)
{
    strata__os_fault_set(NULL);
    assert_in_range(failing.count, 4, STEPS_MOST);
    for (int i = 0; i < failing.count; i++) {
        struct disk_fixture *f = &failing.steps[i];
        f->options.recovery = STRATA_RECOVERY_STRICT;
        if (disk_open(f) != STRATA_OK)
            fail_msg("step %d of %d: %s", i, failing.count, f->err.message);
        for (uint64_t k = 1; k <= keys; k++)
            assert_int_equal(disk_status(f, k), STRATA_OK);
        disk_unmake(f);
    }
}

static void a_failed_write_is_no_damage_at_any_step(void **state)
{
    (void)state;
    struct disk_fixture f;
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 1; k < 10; k++)
        assert_int_equal(disk_put(&f, k, 1, 500), STRATA_OK);
    f.layer->ops->maintain(f.layer, 0, 1000);
    begin_failing(&f);
    (void)disk_put(&f, 50, 1, 20000);
    each_step_is_no_damage(9);
    disk_unmake(&f);
}

static void a_failed_footer_is_no_damage_at_any_step(void **state)
{
    (void)state;
    struct disk_fixture f;
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 1; k <= 400; k++)
        assert_int_equal(disk_put(&f, k, 1, 30), STRATA_OK);
    f.layer->ops->maintain(f.layer, 0, 1000);
    assert_int_equal(disk_inside(&f)->log.active->count, 400);
    begin_failing(&f);
    disk_close(&f);
    each_step_is_no_damage(400);
    disk_unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scanned_clear_outlives_what_it_clears),
        cmocka_unit_test(what_fails_for_a_moment_brings_nothing_back),
        cmocka_unit_test(damage_goes_last),
        cmocka_unit_test(what_is_not_trusted_takes_no_room),
        cmocka_unit_test(a_damaged_snapshot_may_be_deleted),
        cmocka_unit_test(damage_takes_what_is_older),
        cmocka_unit_test(strict_does_not_read_values),
        cmocka_unit_test(strict_names_what_is_not_ours),
        cmocka_unit_test(damage_is_not_torn),
        cmocka_unit_test(torn_anywhere_is_no_damage),
        cmocka_unit_test(a_failed_write_is_no_damage_at_any_step),
        cmocka_unit_test(a_failed_footer_is_no_damage_at_any_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
