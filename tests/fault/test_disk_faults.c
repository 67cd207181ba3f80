/* test_disk_faults.c - the disk layer while the n-th system call fails, or is cut short, for every n; and while the disk is
 * full.
 *
 * Through a small workload with overwrites, removes, clears, reclaiming and a close: no crash, no wrong value while it runs, and
 * none after opening again: what was removed, overwritten or cleared, and said so, stays away. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/os/os_fault.h"
#include "tests/support/disk_fixture.h"

enum { KEYS = 60, CALLS_MOST = 20000 };

struct fault {
    struct os_fault_hook hook;
    const char *call; /* NULL: every one counts */
    int nth;          /* from 1 */
    int lasting;      /* all from the n-th on */
    int os_errno;     /* 0: cut short */
    _Atomic(int) seen;
};

static int is_hit(struct fault *f)
{
    int n = atomic_fetch_add(&f->seen, 1) + 1;
    return n == f->nth || (f->lasting && n > f->nth);
}

static int decide(const char *call, void *ctx)
{
    struct fault *f = ctx;
    if (f->os_errno == 0 || (f->call != NULL && strcmp(call, f->call) != 0))
        return 0;
    return is_hit(f) ? f->os_errno : 0;
}

static size_t cut(const char *call, size_t size, void *ctx)
{
    struct fault *f = ctx;
    if (f->os_errno != 0 || (f->call != NULL && strcmp(call, f->call) != 0))
        return size;
    return is_hit(f) ? (f->lasting ? (size + 2) / 3 : size / 2) : size;
}

/* What each key may hold: `version`, or one of those that a put which did not say STRATA_OK may have left... none. */
struct history {
    uint32_t version[KEYS]; /* 0: none */
};

static void check(struct disk_fixture *f, const struct history *h, const char *when)
{
    for (uint64_t k = 0; k < KEYS; k++) {
        uint32_t got = 0;
        int rc = disk_get(f, k, &got);
        if (rc == STRATA_OK && got != h->version[k])
            fail_msg("%s: key %llu has version %u, and should have %u", when, (unsigned long long)k, got, h->version[k]);
        if (rc != STRATA_OK && rc != STRATA_MISS && rc != STRATA_EIO)
            fail_msg("%s: a get answers %d", when, rc);
    }
}

/* 0: a remove failed, and said so: what it was about is no longer known. */
static void write_one(struct disk_fixture *f, struct history *h, uint64_t key, uint32_t version, size_t size)
{
    int rc = version != 0 ? disk_put(f, key, version, size) : STRATA_AGAIN;
    if (rc == STRATA_OK) {
        h->version[key] = version;
        return;
    }
    rc = disk_remove(f, key); /* as the cache does */
    if (rc < 0) {
        assert_true(f->err.message[0] != '\0');
        /* Then nothing is answered any more, here and after opening again; unless that the files could not be removed. */
        assert_int_equal(disk_status(f, key), STRATA_MISS);
        h->version[key] = UINT32_MAX;
    } else {
        h->version[key] = 0;
    }
}

static void work(struct disk_fixture *f, struct history *h, uint32_t first)
{
    for (uint32_t i = 0; i < 150; i++) {
        uint64_t key = (i * 7 + i / 13) % KEYS;
        write_one(f, h, key, i % 5 == 4 ? 0 : first + i, i % 11 == 3 ? 40000 : 500 + i * 17);
        if (i % 50 == 30)
            f->layer->ops->maintain(f->layer, 0, 1000);
        if (i == 100 && disk_clear_keys(f, "b:") == STRATA_OK)
            for (uint64_t k = 1; k < KEYS; k += 4)
                h->version[k] = 0;
    }
}

static void make(struct disk_fixture *f)
{
    disk_make(f);
    f->options.max_bytes = 1u << 20;
    f->options.segment_bytes = 64u << 10;
    f->options.write_buffer_bytes = 8192;
}

static int has_unknown(const struct history *h)
{
    for (uint64_t k = 0; k < KEYS; k++)
        if (h->version[k] == UINT32_MAX)
            return 1;
    return 0;
}

/* Had the process died instead of closing. */
static void crash(struct disk_fixture *f, const struct history *h)
{
    static struct disk_fixture copy; /* not on the stack: its thread outlives a case that fails */
    if (has_unknown(h))
        return;
    disk_crash_copy(f, &copy);
    if (disk_open(&copy) != STRATA_OK)
        fail_msg("not opened after a fault and a crash: %s", copy.err.message);
    check(&copy, h, "after a fault and a crash");
    disk_unmake(&copy);
}

/* One life with a fault in it, then one without.  1: the fault was met. */
static int live(struct fault *fault)
{
    static struct disk_fixture f;
    struct history h = { { 0 } };
    make(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    work(&f, &h, 1);
    disk_close(&f);
    atomic_store(&fault->seen, 0);
    strata__os_fault_set(&fault->hook);
    int rc = disk_open(&f);
    if (rc == STRATA_OK) {
        check(&f, &h, "opened with a fault");
        work(&f, &h, 1000);
        check(&f, &h, "with a fault");
        strata__os_fault_set(NULL);
        crash(&f, &h);
        strata__os_fault_set(&fault->hook);
        disk_close(&f);
    } else {
        assert_true(f.err.message[0] != '\0');
    }
    strata__os_fault_set(NULL);
    int met = atomic_load(&fault->seen) >= fault->nth;
    if (rc != STRATA_OK && !met)
        fail_msg("not opened: %s", f.err.message);
    rc = disk_open(&f);
    if (rc != STRATA_OK)
        fail_msg("not opened again: %s", f.err.message);
    if (!has_unknown(&h)) {
        check(&f, &h, "after a fault");
        work(&f, &h, 2000);
        check(&f, &h, "on after a fault");
    }
    disk_unmake(&f);
    return met;
}

static void each_call(const char *call, int os_errno, int lasting, int step)
{
    for (int n = 1; n < CALLS_MOST; n += step) {
        struct fault fault = { .call = call, .nth = n, .os_errno = os_errno, .lasting = lasting };
        fault.hook = (struct os_fault_hook){ decide, &fault, cut };
        if (!live(&fault))
            return;
    }
    fail_msg("more calls than can be");
}

static void one_call_fails(void **state)
{
    (void)state;
    each_call(NULL, EIO, 0, 1);
}

static void all_calls_fail_from_then_on(void **state)
{
    (void)state;
    each_call(NULL, EIO, 1, 7);
}

static void the_disk_is_full_from_then_on(void **state)
{
    (void)state;
    each_call("pwrite", ENOSPC, 1, 3);
    each_call("posix_fallocate", ENOSPC, 1, 1);
}

static void a_signal_comes(void **state)
{
    (void)state;
    each_call("pread", EINTR, 0, 9);
    each_call("pwrite", EINTR, 0, 3);
}

static void calls_are_cut_short(void **state)
{
    (void)state;
    each_call("pread", 0, 0, 9);
    each_call("pwrite", 0, 0, 2);
    each_call(NULL, 0, 1, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_call_fails),
        cmocka_unit_test(all_calls_fail_from_then_on),
        cmocka_unit_test(the_disk_is_full_from_then_on),
        cmocka_unit_test(a_signal_comes),
        cmocka_unit_test(calls_are_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
