/* test_snapshot_faults.c - the n-th system call of a save or a load fails, for every n: what stood there before stands there after,
 * or the new one does, and nothing is left beside it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/fault_nth.h"
#include "tests/support/temp_dir.h"

static const struct {
    const char *name;
    int os_errno;
} calls[] = { { "open", EACCES }, { "openat", EMFILE }, { "readdir", EIO },     { "pwrite", ENOSPC },
              { "pread", EIO },   { "fdatasync", EIO }, { "renameat", EACCES }, { "fsync", EIO },
              { "fstat", EIO },   { "fcntl", ENOLCK },  { "unlinkat", EACCES }, { "pwrite", EINTR },
              { "pread", EINTR } };

static strata *open_cache(int entries)
{
    strata *cache;
    char key[16];
    assert_int_equal(strata_open_url(&cache, "memory:?max_bytes=4mb", NULL, NULL), STRATA_OK);
    for (int i = 0; i < entries; i++) {
        snprintf(key, sizeof key, "%d", i);
        assert_int_equal(strata_set(cache, strata_str(key), strata_str("value"), NULL, NULL), STRATA_OK);
    }
    return cache;
}

static uint64_t entries_of(const char *path)
{
    strata_snapshot_report r = STRATA_SNAPSHOT_REPORT_INIT;
    strata *cache = open_cache(0);
    assert_int_equal(strata_snapshot_load(cache, path, NULL, &r, NULL), STRATA_OK);
    strata_close(cache);
    return r.entries;
}

static void a_save_happens_or_not(void **state)
{
    (void)state;
    char dir[256], path[512], names[8][64];
    temp_dir_make(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/s", dir);
    strata *before = open_cache(3), *after = open_cache(5);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        for (int nth = 1, seen = 1; seen >= nth && nth < 50; nth++) {
            struct fault_nth fault;
            strata_error err = STRATA_ERROR_INIT;
            assert_int_equal(strata_snapshot_save(before, path, NULL, NULL, NULL), STRATA_OK);
            fault_nth_set(&fault, calls[i].name, nth, calls[i].os_errno);
            int rc = strata_snapshot_save(after, path, NULL, NULL, &err);
            fault_nth_clear();
            seen = atomic_load(&fault.seen);
            uint64_t entries = entries_of(path);
            assert_true(rc == STRATA_OK ? entries == 5 : entries == 3 || strcmp(calls[i].name, "fsync") == 0);
            assert_true(rc == STRATA_OK || (rc == STRATA_EIO && err.os_errno == calls[i].os_errno));
            if (strcmp(calls[i].name, "unlinkat") != 0)
                assert_int_equal(temp_dir_list(dir, names, 8), 1);
        }
    }
    strata_close(before);
    strata_close(after);
    temp_dir_remove(dir);
}

static void a_load_says_what_failed(void **state)
{
    (void)state;
    char dir[256], path[512];
    temp_dir_make(dir, sizeof dir);
    snprintf(path, sizeof path, "%s/s", dir);
    strata *cache = open_cache(500);
    assert_int_equal(strata_snapshot_save(cache, path, NULL, NULL, NULL), STRATA_OK);
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        for (int nth = 1, seen = 1; seen >= nth && nth < 50; nth++) {
            struct fault_nth fault;
            strata_error err = STRATA_ERROR_INIT;
            strata *other = open_cache(0);
            fault_nth_set(&fault, calls[i].name, nth, calls[i].os_errno);
            int rc = strata_snapshot_load(other, path, NULL, NULL, &err);
            fault_nth_clear();
            seen = atomic_load(&fault.seen);
            assert_true(rc == STRATA_OK || (rc == STRATA_EIO && err.os_errno == calls[i].os_errno));
            strata_close(other);
        }
    }
    strata_close(cache);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_save_happens_or_not),
        cmocka_unit_test(a_load_says_what_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
