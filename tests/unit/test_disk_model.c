/* test_disk_model.c - the disk layer against a model of it: random operations, clean closes, and copies of its directory, which
 * are what a kill -9 leaves.  A miss is always right; an older version, or what was removed or cleared, never is. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "strata/version.h"
#include "tests/support/disk_fixture.h"
#include "tests/support/temp_dir.h"

enum { KEYS = 400 };

struct model {
    struct disk_fixture f;
    uint32_t version[KEYS]; /* 0: none */
    uint32_t next;
    uint64_t chance;
    size_t sizes;
    size_t hits, gets;
};

static uint64_t chance(struct model *m)
{
    m->chance = m->chance * 6364136223846793005u + 1442695040888963407u;
    return m->chance >> 33;
}

/* 1: it is there. */
static int check_key(struct disk_fixture *f, const struct model *m, uint64_t key, const char *when)
{
    uint32_t got = 0;
    int rc = disk_get(f, key, &got);
    if (rc != STRATA_OK && rc != STRATA_MISS)
        fail_msg("%s: key %llu answers %d: %s", when, (unsigned long long)key, rc, f->err.message);
    if (rc == STRATA_OK && got != m->version[key])
        fail_msg("%s: key %llu is back with version %u, and should have %u", when, (unsigned long long)key, got,
                 m->version[key]);
    return rc == STRATA_OK;
}

static size_t check_all(struct disk_fixture *f, const struct model *m, const char *when)
{
    size_t there = 0;
    for (uint64_t k = 0; k < KEYS; k++)
        there += (size_t)check_key(f, m, k, when);
    return there;
}

static void check_crash(struct model *m)
{
    struct disk_fixture copy;
    disk_crash_copy(&m->f, &copy);
    if (disk_open(&copy) != STRATA_OK)
        fail_msg("after a crash: %s", copy.err.message);
    (void)check_all(&copy, m, "after a crash");
    assert_int_equal(disk_stats_of(&copy).errors, 0);
    disk_close(&copy);
    assert_int_equal(disk_open(&copy), STRATA_OK); /* and once more, from its snapshot */
    (void)check_all(&copy, m, "after a crash and a close");
    disk_unmake(&copy);
}

static void clear_some(struct model *m)
{
    static const char *const prefixes[] = { "a:", "b:", "c:", "d:", NULL };
    uint64_t which = chance(m) % 5;
    assert_int_equal(disk_clear_keys(&m->f, prefixes[which]), STRATA_OK);
    for (uint64_t k = 0; k < KEYS; k++)
        if (which == 4 || k % 4 == which)
            m->version[k] = 0;
}

static void step(struct model *m)
{
    uint64_t key = chance(m) % KEYS, what = chance(m) % 1000;
    if (what < 450) {
        uint32_t version = ++m->next;
        int rc = disk_put(&m->f, key, version, 16 + chance(m) % m->sizes);
        if (rc == STRATA_OK) {
            m->version[key] = version;
        } else {
            assert_int_equal(rc, STRATA_AGAIN);
            assert_true(disk_remove(&m->f, key) >= 0);
            m->version[key] = 0;
        }
    } else if (what < 600) {
        assert_true(disk_remove(&m->f, key) >= 0);
        m->version[key] = 0;
    } else if (what < 980) {
        m->gets++;
        m->hits += (size_t)check_key(&m->f, m, key, "alive");
    } else if (what < 990) {
        m->f.layer->ops->maintain(m->f.layer, 0, 1000);
    } else if (what < 994) {
        clear_some(m);
    } else if (what < 998) {
        check_crash(m);
    } else {
        test_host_drain(&m->f.host); /* or something is evicted in between */
        size_t before = check_all(&m->f, m, "before a close");
        disk_close(&m->f);
        if (disk_open(&m->f) != STRATA_OK)
            fail_msg("after a close: %s", m->f.err.message);
        assert_int_equal(check_all(&m->f, m, "after a close"), before); /* a close loses nothing */
    }
    assert_true(temp_dir_bytes(m->f.path) <= m->f.options.max_bytes + 8192);
}

static void run(strata_disk_options options, size_t sizes, uint64_t seed, int steps)
{
    struct model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    disk_make(&m->f);
    options.size = sizeof options;
    options.max_bytes = 1u << 20;
    m->f.options = options;
    m->chance = seed;
    m->sizes = sizes;
    assert_int_equal(disk_open(&m->f), STRATA_OK);
    for (int i = 0; i < steps; i++)
        step(m);
    assert_true(m->hits > m->gets / 100);
    disk_unmake(&m->f);
    free(m);
}

static void what_fits(void **state)
{
    (void)state;
    run((strata_disk_options){ .segment_bytes = 64u << 10, .write_buffer_bytes = 8192 }, 600, 1, 6000);
}

static void what_does_not_fit(void **state)
{
    (void)state;
    run((strata_disk_options){ .segment_bytes = 64u << 10, .write_buffer_bytes = 8192 }, 9000, 2, 6000);
    run((strata_disk_options){ .segment_bytes = 64u << 10, .write_buffer_bytes = 32768 }, 30000, 3, 2000);
}

static void large_values(void **state)
{
    (void)state;
    run((strata_disk_options){ .segment_bytes = 64u << 10, .write_buffer_bytes = 4096 }, 100000, 4, 1500);
}

static void packed(void **state)
{
    (void)state;
    strata_disk_options options = { .segment_bytes = 64u << 10,
                                    .compression = STRATA_COMPRESS_LZ4,
                                    .compress_above_bytes = 64 };
    if (strstr(strata_features(), "lz4") != NULL)
        run(options, 5000, 5, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fits),
        cmocka_unit_test(what_does_not_fit),
        cmocka_unit_test(large_values),
        cmocka_unit_test(packed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
