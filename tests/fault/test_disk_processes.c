/* test_disk_processes.c - what other processes do to a directory: die while they open it, have it open, cut its files. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "src/os/os_fault.h"
#include "tests/fault/kill_store.h"
#include "tests/support/disk_fixture.h"
#include "tests/support/temp_dir.h"

/* Dying while it opens ------------------------------------------------------------------------------------------ */

struct nth_call {
    struct os_fault_hook hook;
    int nth, seen;
};

static int die_at(const char *call, void *ctx)
{
    struct nth_call *at = ctx;
    (void)call;
    if (++at->seen == at->nth) {
        kill(getpid(), SIGKILL);
        for (;;)
            pause();
    }
    return 0;
}

static void wait_for(pid_t child, int *status)
{
    while (waitpid(child, status, 0) < 0)
        assert_int_equal(errno, EINTR);
}

/* 1: it was killed; 0: it had opened before. */
static int open_and_die(struct disk_fixture *f, int nth)
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct nth_call at = { .nth = nth };
        at.hook = (struct os_fault_hook){ die_at, &at, NULL };
        strata__os_fault_set(&at.hook);
        _exit(disk_open(f) == STRATA_OK ? 0 : 1);
    }
    wait_for(child, &status);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

/* What a process leaves that is killed: values in sealed segments, and a segment with `last` records. */
static void leave(struct disk_fixture *f, int last)
{
    struct disk_fixture other;
    disk_make(&other);
    other.options.max_bytes = 1u << 20;
    other.options.segment_bytes = 64u << 10;
    assert_int_equal(disk_open(&other), STRATA_OK);
    for (uint32_t k = 0; k < 30; k++)
        assert_int_equal(disk_put(&other, k, 1, 3000), STRATA_OK);
    assert_int_equal(disk_put(&other, 3, 2, 100), STRATA_OK);
    assert_int_equal(disk_remove(&other, 4), STRATA_OK);
    disk_close(&other);
    assert_int_equal(disk_open(&other), STRATA_OK);
    assert_int_equal(disk_put(&other, 100, 1, 100), STRATA_OK); /* in a buffer, of a segment that is empty */
    for (uint32_t k = 0; k < (uint32_t)last; k++)
        assert_int_equal(disk_put(&other, 5, 2 + k, 100), STRATA_OK); /* overwrites: they wait */
    disk_crash_copy(&other, f);
    disk_unmake(&other);
}

static void check_left(struct disk_fixture *f, int last, const char *when, int nth)
{
    if (disk_open(f) != STRATA_OK)
        fail_msg("%s %d: not opened: %s", when, nth, f->err.message);
    if (disk_stats_of(f).errors != 0)
        fail_msg("%s %d, after %d records: errors were counted", when, nth, last);
    for (uint32_t k = 0; k < 30; k++) {
        uint32_t version = 0;
        int rc = disk_get(f, k, &version);
        uint32_t want = k == 3 ? 2 : k == 5 && last != 0 ? (uint32_t)last + 1 : 1;
        if (k == 4 ? rc != STRATA_MISS : rc != STRATA_OK || version != want)
            fail_msg("%s %d, after %d records: key %u answers %d, version %u", when, nth, last, k, rc, version);
    }
}

static void dies_at_each_call_of_an_opening(void **state)
{
    (void)state;
    for (int last = 0; last < 3; last++)
        for (int nth = 1, met = 1; met; nth++) {
            struct disk_fixture f;
            leave(&f, last);
            met = open_and_die(&f, nth);
            check_left(&f, last, "killed before call", nth);
            disk_unmake(&f);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dies_at_each_call_of_an_opening),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
