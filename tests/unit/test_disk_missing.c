/* test_disk_missing.c - a segment file that somebody deleted: missed where what it superseded is still there, and nowhere else. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/layer/disk/disk_impl.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/disk_fixture.h"

static void delete_segment(struct disk_fixture *f, uint64_t number)
{
    char name[24], file[300];
    strata__segment_name(name, number);
    snprintf(file, sizeof file, "%s/%s", f->path, name);
    assert_int_equal(unlink(file), 0);
}

static uint64_t damages_of(struct disk_fixture *f)
{
    strata_disk_report report = STRATA_DISK_REPORT_INIT;
    assert_int_equal(strata_disk_inspect(f->path, NULL, &report, &f->err), STRATA_OK);
    return report.damages;
}

/* Key 1 is put into the first segment and, if wanted, superseded in the second; there are four.  As after a kill -9. */
static void make_four(struct disk_fixture *f, int superseded, uint64_t *last)
{
    struct disk_fixture live;
    disk_make_small(&live);
    assert_int_equal(disk_open(&live), STRATA_OK);
    assert_int_equal(disk_put(&live, 1, 1, 500), STRATA_OK);
    (void)disk_fill_up_to(&live, 2);
    if (superseded)
        assert_int_equal(disk_remove(&live, 1), STRATA_OK);
    assert_int_equal(disk_put(&live, 2, 1, 500), STRATA_OK);
    *last = 100;
    while (disk_inside(&live)->log.newest->number < 4) /* none of them is overwritten */
        assert_int_equal(disk_put(&live, *last += 4 + 4 * 1000, 1, 3000), STRATA_OK);
    assert_int_equal(disk_put(&live, *last, 2, 3000), STRATA_OK); /* written, with all before it */
    disk_crash_copy(&live, f);
    disk_unmake(&live);
}

static void a_deleted_segment_is_missed(void **state)
{
    (void)state;
    struct disk_fixture f;
    uint64_t last;
    make_four(&f, 1, &last);
    assert_int_equal(damages_of(&f), 0);
    delete_segment(&f, 2);
    assert_int_equal(damages_of(&f), 1);
    f.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&f), STRATA_EIO);
    assert_non_null(strstr(f.err.message, "0000000000000002.seg"));
    assert_non_null(strstr(f.err.message, "is missing"));
    disk_close(&f);
    f.options.recovery = STRATA_RECOVERY_QUIET;
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_stats_of(&f).errors, 1);
    assert_int_equal(disk_status(&f, 1), STRATA_MISS);
    assert_int_equal(disk_status(&f, last), STRATA_OK);
    disk_close(&f);
    assert_int_equal(damages_of(&f), 0);
    f.options.recovery = STRATA_RECOVERY_STRICT; /* it is over */
    assert_int_equal(disk_open(&f), STRATA_OK);
    disk_kill_and_open(&f);
    assert_int_equal(disk_status(&f, 1), STRATA_MISS);
    assert_int_equal(disk_status(&f, last), STRATA_OK);
    disk_unmake(&f);
}

/* What took nothing away is no loss but its own. */
static void a_deleted_segment_that_superseded_nothing_is_not(void **state)
{
    (void)state;
    struct disk_fixture f;
    uint64_t last;
    make_four(&f, 0, &last);
    delete_segment(&f, 2);
    assert_int_equal(damages_of(&f), 0);
    f.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_status(&f, 1), STRATA_OK);
    assert_int_equal(disk_status(&f, 2), STRATA_MISS);
    assert_int_equal(disk_status(&f, last), STRATA_OK);
    disk_unmake(&f);
}

/* The oldest ones are missed by nobody: nothing is there that they had superseded. */
static void deleted_from_the_old_end_is_not_missed(void **state)
{
    (void)state;
    struct disk_fixture f;
    uint64_t last;
    make_four(&f, 1, &last);
    delete_segment(&f, 1);
    delete_segment(&f, 2);
    assert_int_equal(damages_of(&f), 0);
    f.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_status(&f, last), STRATA_OK);
    disk_unmake(&f);
}

/* What leaves out of turn, because all is gone that it had superseded, is not missed. */
static void a_segment_that_left_out_of_turn_is_not_missed(void **state)
{
    (void)state;
    struct disk_fixture f;
    disk_make_small(&f);
    f.options.recovery = STRATA_RECOVERY_STRICT;
    f.options.dead_percent = 1000; /* nothing is tidied but here */
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_put(&f, 1, 1, 500), STRATA_OK);
    uint64_t second = disk_fill_up_to(&f, 2), key = 100000, first = key;
    while (disk_inside(&f)->log.newest->number < 3)
        assert_int_equal(disk_put(&f, key += 4, 1, 3000), STRATA_OK);
    assert_int_equal(disk_remove(&f, 1), STRATA_OK); /* in the third, of the first */
    while (disk_inside(&f)->log.newest->number < 4)
        assert_int_equal(disk_put(&f, key += 4, 1, 3000), STRATA_OK);
    for (uint64_t k = first + 4; k <= key; k += 4)
        if (k % 8 == 0 || k > first + 80) /* all of the third, some of the second */
            assert_int_equal(disk_remove(&f, k), STRATA_OK);
    test_host_drain(&f.host);
    assert_int_equal(strata__disk_reclaim(disk_inside(&f), 0), STRATA_OK);
    (void)strata__disk_drop_dead(disk_inside(&f));
    assert_int_equal(disk_inside(&f)->log.oldest->number, 2);
    assert_int_equal(disk_inside(&f)->log.oldest->newer->number, 4);
    disk_kill_and_open(&f);
    assert_int_equal(disk_stats_of(&f).errors, 0);
    assert_int_equal(disk_status(&f, second), STRATA_OK);
    assert_int_equal(disk_status(&f, 1), STRATA_MISS);
    disk_unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deleted_segment_is_missed),
        cmocka_unit_test(a_deleted_segment_that_superseded_nothing_is_not),
        cmocka_unit_test(deleted_from_the_old_end_is_not_missed),
        cmocka_unit_test(a_segment_that_left_out_of_turn_is_not_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
