/* test_disk_cut.c - first-time puts alone, which nobody waits for, so that buffers are cut where the file is at a multiple of their unit,
 * and the record that lies across is written twice.
 *
 * The log is in the order of the puts: so what a kill leaves is the first of them, all of them up to some one, and no damage. */
#include <errno.h>
#include <stdio.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/disk/disk_impl.h"
#include "tests/support/disk_fixture.h"
#include "tests/support/fault_nth.h"

enum { PUTS = 500, PAGE = 4096 };

static void make(struct disk_fixture *f, uint64_t buffer)
{
    disk_make(f);
    f->options.max_bytes = 8u << 20;
    f->options.segment_bytes = 256u << 10;
    f->options.write_buffer_bytes = buffer;
    f->options.recovery = STRATA_RECOVERY_STRICT;
    f->options.compression = STRATA_COMPRESS_NONE;
}

static size_t size_of(uint64_t n, uint64_t salt) { return 16 + (size_t)((n * 2654435761u + salt * 40503u) >> 7) % 900; }

static int has(struct disk_fixture *f, uint64_t key)
{
    uint32_t version = 0;
    int rc = disk_get(f, key, &version); /* aborts where the value is another one */
    assert_true(rc == STRATA_MISS || (rc == STRATA_OK && version == 1));
    return rc == STRATA_OK;
}

/* How many of the first `count` a kill now would leave: no later one without all before it. */
static uint64_t left_by_a_kill(struct disk_fixture *f, uint64_t count)
{
    static struct disk_fixture copy;
    uint64_t left = 0;
    disk_crash_copy(f, &copy);
    int rc = disk_open(&copy);
    if (rc != STRATA_OK)
        fail_msg("%llu puts, then a kill: %s", (unsigned long long)count, copy.err.message);
    while (left < count && has(&copy, left))
        left++;
    for (uint64_t k = left; k < count; k++)
        assert_false(has(&copy, k));
    assert_int_equal(disk_stats_of(&copy).entries, left);
    disk_unmake(&copy);
    return left;
}

static void is_cut_anywhere(uint64_t buffer, uint64_t salt)
{
    struct disk_fixture f;
    uint64_t left = 0, cut_heads = 0;
    make(&f, buffer);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t n = 0; n < PUTS; n++) {
        struct segment *before = disk_inside(&f)->log.active;
        uint64_t start = before != NULL ? before->end : SEGMENT_HEAD;
        assert_int_equal(disk_put(&f, n, 1, size_of(n, salt)), STRATA_OK);
        cut_heads += disk_inside(&f)->log.active == before && start % PAGE > PAGE - RECORD_HEAD;
        /* Nothing that a reader believes to be in the file is in part there. */
        for (uint64_t k = n < 20 ? 0 : n - 20; k <= n; k++)
            assert_true(has(&f, k));
        if (n % 5 != 0)
            continue;
        uint64_t more = left_by_a_kill(&f, n + 1);
        assert_true(more >= left);
        left = more;
        uint64_t lost_bytes = 0;
        for (; more <= n; more++)
            lost_bytes += size_of(more, salt);
        assert_true(lost_bytes <= 2 * buffer);
    }
    assert_true(cut_heads > 0); /* those whose head lies across two pages: torn, they tell least of themselves */
    disk_close(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t n = 0; n < PUTS; n++)
        assert_true(has(&f, n));
    disk_unmake(&f);
}

static void test_a_kill_leaves_the_first_ones(void **state)
{
    static const uint64_t buffers[] = { 4096, 6160, 8192, 20000, 50000 };
    (void)state;
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        is_cut_anywhere(buffers[i], i + 1);
}

/* The n-th write fails: what it held is gone, the record across its end, too; what came before and after is there, and stays. */
static void test_a_write_in_part_fails(void **state)
{
    (void)state;
    for (int nth = 1; nth < 40; nth++) {
        struct disk_fixture f;
        struct fault_nth fault;
        char there[PUTS] = { 0 };
        make(&f, 8192);
        assert_int_equal(disk_open(&f), STRATA_OK);
        fault_nth_set(&fault, "pwrite", nth, EIO);
        for (uint64_t n = 0; n < PUTS / 4; n++)
            there[n] = disk_put(&f, n, 1, size_of(n, 3)) == STRATA_OK;
        fault_nth_clear();
        for (uint64_t n = 0; n < PUTS / 4; n++) {
            int is = has(&f, n);
            assert_true(!is || there[n]);
            there[n] = (char)is;
        }
        disk_close(&f);
        assert_int_equal(disk_open(&f), STRATA_OK);
        for (uint64_t n = 0; n < PUTS / 4; n++)
            assert_int_equal(has(&f, n), there[n]);
        disk_unmake(&f);
    }
}

/* The place of the last record that is in the file as a whole; 0: there is none. */
static uint64_t last_written(const struct disk *d, const struct segment *s)
{
    uint64_t written = atomic_load(&s->written);
    for (uint32_t i = 0; i < d->shard_count; i++)
        for (uint64_t k = 0; k < d->shards[i].room; k++) {
            uint64_t where = d->shards[i].slots[k].where;
            if (where != 0 && where_segment(where) == s->index && where_offset(where) + where_size(where) == written)
                return where | 3;
        }
    return 0;
}

/* Taken back in the file right in front of a cut, and not put back by what is written behind it. */
static void test_what_is_marked_stays_marked(void **state)
{
    (void)state;
    struct disk_fixture f;
    uint64_t marked = 0, gone = 0, before = 0;
    make(&f, 8192);
    assert_int_equal(disk_open(&f), STRATA_OK);
    struct disk *d = disk_inside(&f);
    for (uint64_t n = 0; n < PUTS; n++) {
        assert_int_equal(disk_put(&f, n, 1, size_of(n, 7)), STRATA_OK);
        uint64_t where = last_written(d, d->log.active);
        if (where == 0 || where == before)
            continue;
        assert_int_equal(strata__disk_invalidate(d, d->log.active, where), 0);
        before = where;
        marked++;
    }
    assert_true(marked > 10);
    assert_int_equal(strata__log_flush(d), 0);
    disk_kill_and_open(&f);
    for (uint64_t n = 0; n < PUTS; n++)
        gone += (uint64_t)!has(&f, n);
    assert_int_equal(gone, marked);
    disk_unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_kill_leaves_the_first_ones),
        cmocka_unit_test(test_a_write_in_part_fails),
        cmocka_unit_test(test_what_is_marked_stays_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
