/* test_disk_full.c - kill -9 while the disk is full: never a wrong value, and what was deleted or overwritten stays away.
 *
 * Full by the fault hook, which fails every write from some moment on, and really: a file system in memory of three megabytes,
 * where mounting is permitted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__linux__)
#include <sched.h>
#include <sys/mount.h>
#endif

#include "src/layer/disk/disk_impl.h"
#include "tests/fault/kill_rounds.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/disk_fixture.h"
#include "tests/support/temp_dir.h"

enum { ROUNDS = 8, ROUNDS_LONG = 30, MORE = 8 };

static int has_refused(const struct history *h)
{
    for (uint32_t n = 1; n < HISTORY_WRITES; n++)
        if (atomic_load(&h->write[n].answer) == WRITE_REFUSED)
            return 1;
    return 0;
}

/* It was full when somebody wrote to it, and something was there after a death. */
static int was_met(const struct history *h, int kind) { return h->seen > 0 && (kind != STORE_LAYER || has_refused(h)); }

/* Who finds no room for a directory's first files cannot open it, and says so: not what is asked here. */
static void make_directory(const struct plan *plan, struct history *h)
{
    strata_error err = STRATA_ERROR_INIT;
    struct kill_store *s = kill_store_of(plan, h);
    if (kill_store_open(s, 1, &err) != STRATA_OK)
        fail_msg("not opened: %s", err.message);
    kill_store_close(s);
    free(s);
}

static void run(const char *path, int kind, int disk)
{
    uint64_t seed = kill_seed(), random = seed * 31 + 10 + (uint64_t)kind;
    struct history *h = history_new();
    struct plan plan = kill_some_plan(&random, kind, 0);
    plan.options.max_bytes = 64u << 20;
    plan.disk = disk;
    if (disk == DISK_FULL)
        plan.options.compression = STRATA_COMPRESS_NONE; /* packed, all that there is has room on it */
    snprintf(plan.path, sizeof plan.path, "%s", path);
    make_directory(&plan, h);
    /* Where all died young it was never full: some more, then. */
    int rounds = kill_is_long() ? ROUNDS_LONG : ROUNDS;
    for (int round = 0; round < rounds || (round < MORE * rounds && !was_met(h, kind)); round++)
        kill_one_round(&plan, h, seed, round);
    assert_true(was_met(h, kind));
    print_message("%s: %llu times a key was there\n", kill_kind_names[kind], (unsigned long long)h->seen);
    history_free(h);
}

static void the_disk_says_that_it_is_full(void **state)
{
    (void)state;
    for (int kind = 0; kind < STORE_KINDS; kind++) {
        char path[256];
        temp_dir_make(path, sizeof path);
        run(path, kind, DISK_SAYS_FULL);
        temp_dir_remove(path);
    }
}

static int says_full(const char *call, void *ctx)
{
    (void)ctx;
    return kill_disk_says_full(call);
}

/* What is written stays, though the segment it is in gets no footer. */
static void no_room_for_a_footer_costs_nothing(void **state)
{
    (void)state;
    static const struct os_fault_hook full = { says_full, NULL, NULL };
    struct disk_fixture f;
    disk_make(&f);
    f.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint32_t version = 1; version <= 2; version++)
        for (uint64_t k = 0; k < 20; k++)
            assert_int_equal(disk_put(&f, k, version, 2000), STRATA_OK);
    strata__os_fault_set(&full);
    disk_close(&f);
    strata__os_fault_set(NULL);
    if (disk_open(&f) != STRATA_OK)
        fail_msg("not opened: %s", f.err.message);
    for (uint64_t k = 0; k < 20; k++) {
        uint32_t version = 0;
        assert_int_equal(disk_get(&f, k, &version), STRATA_OK);
        assert_int_equal(version, 2);
    }
    assert_int_equal(disk_stats_of(&f).errors, 0);
    disk_unmake(&f);
}

/* A clear that finds no room: while it removes the files instead, the disk is well again, and somebody moves on what the
 * oldest segment holds. */
struct late_mover {
    struct os_fault_hook hook;
    struct disk_fixture *f;
    int full, clearing, unlinks;
};

static int move_late(const char *call, void *ctx)
{
    struct late_mover *late = ctx;
    if (late->full && strcmp(call, "posix_fallocate") == 0)
        return ENOSPC;
    /* The first is of the segment that could not be made. */
    if (late->clearing && strcmp(call, "unlinkat") == 0 && ++late->unlinks == 2) {
        late->full = 0;
        late->clearing = 0;
        assert_int_equal(strata__disk_reclaim((struct disk *)(void *)late->f->layer, 1), STRATA_OK);
    }
    return 0;
}

static void nothing_moves_past_a_clear_that_finds_no_room(void **state)
{
    (void)state;
    struct disk_fixture f;
    struct late_mover late = { .f = &f, .full = 1 };
    late.hook = (struct os_fault_hook){ move_late, &late, NULL };
    disk_make(&f);
    f.options.max_bytes = 1u << 20;
    f.options.segment_bytes = 64u << 10;
    assert_int_equal(disk_open(&f), STRATA_OK);
    uint64_t k = 0;
    for (; k < 100; k++)
        assert_int_equal(disk_put(&f, k, 1, 3000), STRATA_OK);
    test_host_drain(&f.host);
    strata__os_fault_set(&late.hook);
    int rc = STRATA_OK;
    for (k++; rc == STRATA_OK; k += 4) /* until there is no segment to write to */
        rc = disk_put(&f, k, 1, 3000);
    assert_int_equal(rc, STRATA_AGAIN);
    late.clearing = 1;
    assert_int_equal(disk_clear_keys(&f, "a:"), STRATA_OK);
    assert_int_equal(late.unlinks, 2);
    strata__os_fault_set(NULL);
    struct disk_fixture copy;
    disk_crash_copy(&f, &copy);
    assert_int_equal(disk_open(&copy), STRATA_OK);
    for (uint64_t a = 0; a < k; a += 4) {
        assert_int_equal(disk_status(&f, a), STRATA_MISS);
        assert_int_equal(disk_status(&copy, a), STRATA_MISS);
    }
    disk_unmake(&copy);
    disk_unmake(&f);
}

#if defined(__linux__)
static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    int done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return done;
}

/* A view of the file systems of our own, as root or as nobody in particular.  1: done. */
static int unshare_mounts(void)
{
    char uids[64], gids[64];
    snprintf(uids, sizeof uids, "0 %u 1", (unsigned)geteuid());
    snprintf(gids, sizeof gids, "0 %u 1", (unsigned)getegid());
    if (unshare(CLONE_NEWNS) != 0 &&
        (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 || !write_file("/proc/self/setgroups", "deny") ||
         !write_file("/proc/self/uid_map", uids) || !write_file("/proc/self/gid_map", gids)))
        return 0;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static int is_full(const char *path)
{
    char name[300];
    snprintf(name, sizeof name, "%s/filler", path);
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), full = 0;
    while (fd >= 0 && !full)
        full = write(fd, name, sizeof name) < 0;
    close(fd);
    unlink(name);
    return full && errno == ENOSPC;
}

static void a_small_disk_is_full(void **state)
{
    (void)state;
    if (!unshare_mounts()) {
        print_message("no file system may be mounted here: not tested\n");
        skip();
    }
    for (int kind = 0; kind < STORE_KINDS; kind++) {
        char path[256];
        temp_dir_make(path, sizeof path);
        if (mount("tmpfs", path, "tmpfs", 0, "size=3m,mode=0700") != 0) {
            temp_dir_remove(path);
            print_message("no file system may be mounted here: not tested\n");
            skip();
        }
        assert_true(is_full(path)); /* it can be */
        run(path, kind, DISK_FULL);
        assert_int_equal(umount(path), 0);
        temp_dir_remove(path);
    }
}
#else
static void a_small_disk_is_full(void **state)
{
    (void)state;
    print_message("no file system can be mounted here: not tested\n");
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_room_for_a_footer_costs_nothing),
        cmocka_unit_test(nothing_moves_past_a_clear_that_finds_no_room),
        cmocka_unit_test(the_disk_says_that_it_is_full),
        cmocka_unit_test(a_small_disk_is_full), /* the last one: it leaves the system's view */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
