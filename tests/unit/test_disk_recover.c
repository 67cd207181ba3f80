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
#include "src/os/os_fault.h"
#include "tests/support/disk_fixture.h"
#include "tests/support/temp_dir.h"

static void make(struct disk_fixture *f)
{
    disk_make(f);
    f->options.max_bytes = 1u << 20;
    f->options.segment_bytes = 64u << 10;
    f->options.write_buffer_bytes = 8192;
}

static struct disk *inside(struct disk_fixture *f) { return (struct disk *)(void *)f->layer; }

/* Puts of keys from 100 on that "b:" does not begin, until this segment is the newest.  The last key. */
static uint64_t fill_up_to(struct disk_fixture *f, uint64_t segment)
{
    uint64_t key = 100;
    while (inside(f)->log.newest->number < segment)
        assert_int_equal(disk_put(f, key += 4, 1, 3000), STRATA_OK);
    return key;
}

/* As after a kill -9 now, opened. */
static void kill_and_open(struct disk_fixture *f)
{
    struct disk_fixture copy;
    disk_crash_copy(f, &copy);
    disk_unmake(f);
    *f = copy;
    if (disk_open(f) != STRATA_OK)
        fail_msg("%s", f->err.message);
}

/* A clear's segment stays as long as what it cleared, also where the clear was found by a scan. */
static void a_scanned_clear_outlives_what_it_clears(void **state)
{
    (void)state;
    struct disk_fixture f;
    make(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_put(&f, 1, 1, 500), STRATA_OK); /* "b:key:1" */
    uint64_t key = fill_up_to(&f, 2);
    assert_int_equal(disk_remove(&f, key), STRATA_OK); /* nothing alive beside the clear */
    assert_int_equal(disk_clear_keys(&f, "b:"), STRATA_OK);
    kill_and_open(&f);
    assert_int_equal(disk_status(&f, 1), STRATA_MISS);
    assert_int_equal(disk_put(&f, 500, 1, 500), STRATA_OK);
    f.layer->ops->maintain(f.layer, 0, 1000);
    kill_and_open(&f);
    assert_int_equal(disk_status(&f, 1), STRATA_MISS);
    disk_unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scanned_clear_outlives_what_it_clears),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
