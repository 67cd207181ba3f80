/* test_disk_layer.c - the disk layer's options and limits: who may open it, what it keeps, what it lets pass. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "strata/strata.h"
#include "tests/support/disk_fixture.h"
#include "tests/support/fault_nth.h"
#include "tests/support/temp_dir.h"

static void make(struct disk_fixture *f, uint64_t max_bytes, uint64_t segment_bytes)
{
    disk_make(f);
    f->options.max_bytes = max_bytes;
    f->options.segment_bytes = segment_bytes;
}

static size_t count_there(struct disk_fixture *f, uint64_t from, uint64_t to)
{
    size_t there = 0;
    for (uint64_t k = from; k < to; k++)
        there += disk_status(f, k) == STRATA_OK;
    return there;
}

/* Opening ----------------------------------------------------------------------------------------------------- */

static void a_second_opener_is_told_who_the_first_is(void **state)
{
    struct disk_fixture f, g;
    char pid[32];
    (void)state;
    make(&f, 1 << 20, 0);
    assert_int_equal(disk_open(&f), STRATA_OK);
    g = f;
    assert_int_equal(disk_open(&g), STRATA_EBUSY);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    assert_non_null(strstr(g.err.message, pid));
    disk_close(&f);
    assert_int_equal(disk_open(&g), STRATA_OK);
    disk_unmake(&g);
}

static void a_child_gets_the_directory_when_its_parent_left_it(void **state)
{
    struct disk_fixture f;
    int status = -1;
    (void)state;
    make(&f, 1 << 20, 0);
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_put(&f, 1, 1, 100), STRATA_OK);
    int gate[2], tried[2];
    assert_int_equal(pipe(gate) | pipe(tried), 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        strata_error err = STRATA_ERROR_INIT;
        strata_layer *layer = f.layer;
        int busy = layer->ops->reopen(layer, &f.host.host, &err) == STRATA_EBUSY && disk_status(&f, 1) == STRATA_MISS &&
                   disk_put(&f, 1, 2, 100) == STRATA_AGAIN;
        close(gate[1]);
        close(tried[1]);
        if (read(gate[0], &byte, 1) != 0) /* the parent closed its end, and before that the layer */
            busy = 0;
        int mine = layer->ops->reopen(layer, &f.host.host, &err) == STRATA_OK && disk_status(&f, 1) == STRATA_OK;
        layer->ops->close(layer);
        _exit(busy && mine ? 0 : 1);
    }
    char byte;
    close(gate[0]);
    close(tried[1]);
    assert_int_equal(read(tried[0], &byte, 1), 0); /* the child has closed its end */
    disk_close(&f);
    close(gate[1]);
    close(tried[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    disk_unmake(&f);
}

static void paths_that_are_refused(void **state)
{
    struct disk_fixture f;
    char link_name[300], path[256];
    struct stat s;
    (void)state;
    make(&f, 1 << 20, 0);
    memcpy(path, f.path, sizeof path);
    snprintf(link_name, sizeof link_name, "%s-link", f.path);
    assert_int_equal(symlink(f.path, link_name), 0);
    snprintf(f.path, sizeof f.path, "%.250s", link_name);
    assert_int_equal(disk_open(&f), STRATA_EIO);
    assert_non_null(strstr(f.err.message, "symbolic link"));
    unlink(link_name);
    snprintf(f.path, sizeof f.path, "%.200s/a/b", path);
    assert_int_equal(disk_open(&f), STRATA_EIO);
    assert_int_equal(f.err.os_errno, ENOENT);
    memcpy(f.path, path, sizeof path);
    assert_int_equal(chmod(path, 0770), 0);
    assert_int_equal(disk_open(&f), STRATA_EINVAL);
    assert_non_null(strstr(f.err.message, "chmod 700"));
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(disk_open(&f), STRATA_OK); /* made where it is missing */
    assert_int_equal(stat(path, &s), 0);
    assert_int_equal(s.st_mode & 0777, 0700);
    disk_unmake(&f);
}

static void through_a_url(void **state)
{
    struct disk_fixture f;
    char url[400];
    strata *cache;
    strata_value *v = NULL;
    strata_error err;
    (void)state;
    disk_make(&f);
    snprintf(url, sizeof url, "memory:?max_bytes=1mb | disk:%s?max_bytes=2mb&sync=close&recovery=strict", f.path);
    for (int i = 0; i < 2; i++) {
        if (strata_open_url(&cache, url, NULL, &err) != STRATA_OK)
            fail_msg("%s", err.message);
        if (i == 0)
            assert_int_equal(strata_set(cache, strata_str("k"), strata_str("value"), NULL, &err), STRATA_OK);
        assert_int_equal(strata_get(cache, strata_str("k"), &v, &err), STRATA_OK);
        assert_int_equal(strata_value_size(v), 5);
        strata_value_unref(v);
        assert_int_equal(strata_close(cache), STRATA_OK);
    }
    disk_unmake(&f);
}

/* Room -------------------------------------------------------------------------------------------------------- */

static void what_is_read_stays(void **state)
{
    struct disk_fixture f;
    size_t again = 0;
    (void)state;
    make(&f, 2 << 20, 64 << 10);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 0; k < 12000; k++) {
        assert_true(disk_put(&f, k, 1, 1000) >= 0);
        for (uint64_t hot = 0; hot < 100 && k > 100 && k % 50 == 0; hot++)
            if (disk_status(&f, hot) != STRATA_OK) {
                again++;
                assert_true(disk_put(&f, hot, 1, 1000) >= 0);
            }
        assert_true(temp_dir_bytes(f.path) <= (2 << 20));
    }
    assert_true(again < 250); /* in order of their age alone, it would be 600 */
    assert_true(count_there(&f, 0, 100) > 90);
    assert_true(count_there(&f, 2000, 4000) < 200);
    assert_true(count_there(&f, 11500, 12000) > 450);
    assert_true(disk_stats_of(&f).evictions > 8000);
    assert_true(atomic_load(&f.host.evicted) > 8000);
    disk_unmake(&f);
}

static void dead_bytes_are_given_back(void **state)
{
    struct disk_fixture f;
    (void)state;
    make(&f, 32 << 20, 256 << 10);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint32_t version = 1; version <= 10; version++)
        for (uint64_t k = 0; k < 1000; k++)
            if (version == 1 || (k + version) % 3 == 0)
                assert_int_equal(disk_put(&f, k, version, 2000), STRATA_OK);
    disk_settle(&f);
    assert_true(temp_dir_bytes(f.path) < 1000 * 2000 * 12 / 10 + (256 << 10)); /* one has its whole room ahead */
    assert_int_equal(count_there(&f, 0, 1000), 1000);
    disk_close(&f);
    assert_true(temp_dir_bytes(f.path) < 1000 * 2000 * 12 / 10 + (64 << 10)); /* and may hold what is dead yet */
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(count_there(&f, 0, 1000), 1000);
    disk_unmake(&f);
}

/* Who overwrites without a pause tidies as well: nothing else does before the rest. */
static void dead_bytes_are_bounded_under_load(void **state)
{
    struct disk_fixture f;
    (void)state;
    make(&f, 32 << 20, 256 << 10);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint32_t version = 1; version <= 20; version++) {
        for (uint64_t k = 0; k < 1000; k++)
            assert_int_equal(disk_put(&f, k, version, 2000), STRATA_OK);
        assert_true(temp_dir_bytes(f.path) < 1000 * 2000 * 13 / 10 + 3 * (256 << 10));
    }
    assert_int_equal(count_there(&f, 0, 1000), 1000);
    disk_unmake(&f);
}

static void fill_segment(struct disk_fixture *f, uint64_t from)
{
    for (uint64_t k = from; k < from + 50; k++)
        assert_int_equal(disk_put(f, k, 1, 1000), STRATA_OK);
}

/* Nothing in it is alive, but it has tombstones for what an older one still holds. */
static void tombstones_stay_as_long_as_what_they_are_about(void **state)
{
    struct disk_fixture f, copy;
    (void)state;
    make(&f, 8 << 20, 64 << 10);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t from = 0; from < 1000; from += 50)
        fill_segment(&f, from);
    for (uint64_t k = 0; k < 5; k++)
        assert_int_equal(disk_remove(&f, k), STRATA_OK);
    fill_segment(&f, 2000);
    for (uint64_t from = 3000; from < 3200; from += 50)
        fill_segment(&f, from);
    for (uint64_t k = 2000; k < 2050; k++)
        assert_int_equal(disk_remove(&f, k), STRATA_OK);
    fill_segment(&f, 950); /* what else is in there, again */
    fill_segment(&f, 3000);
    disk_settle(&f);
    disk_crash_copy(&f, &copy);
    assert_int_equal(disk_open(&copy), STRATA_OK);
    for (uint64_t k = 0; k < 5; k++)
        assert_int_equal(disk_status(&copy, k), STRATA_MISS);
    assert_int_equal(count_there(&copy, 5, 1000), 995);
    disk_unmake(&copy);
    disk_unmake(&f);
}

/* Each write is synced before it counts, or each segment, or all at the end. */
static void syncs_when_it_was_asked_to(void **state)
{
    static const int32_t policies[] = { STRATA_SYNC_NONE, STRATA_SYNC_CLOSE, STRATA_SYNC_SEGMENT, STRATA_SYNC_WRITE };
    int before[4], after[4];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct disk_fixture f;
        struct fault_nth count;
        make(&f, 8 << 20, 64 << 10);
        f.options.sync = policies[i];
        f.options.dead_percent = 1000; /* no rewriting besides */
        assert_int_equal(disk_open(&f), STRATA_OK);
        fault_nth_set(&count, "fdatasync", 0, EIO);
        fill_segment(&f, 0);
        fill_segment(&f, 50);
        fill_segment(&f, 0);
        before[i] = atomic_load(&count.seen);
        disk_close(&f);
        after[i] = atomic_load(&count.seen) - before[i];
        fault_nth_clear();
        disk_unmake(&f);
    }
    assert_int_equal(before[0] + before[1] + after[0], 0);
    assert_true(after[1] > 2);
    assert_in_range(before[2], 2, 4);
    assert_true(before[3] > 50);
}

static void what_has_expired_is_dropped(void **state)
{
    struct disk_fixture f;
    (void)state;
    make(&f, 8 << 20, 64 << 10);
    assert_int_equal(disk_open(&f), STRATA_OK);
    f.expires_ms = atomic_load(&f.host.now_ms) + 5000;
    for (uint64_t k = 0; k < 1000; k++)
        assert_int_equal(disk_put(&f, k, 1, 1000), STRATA_OK);
    assert_int_equal(count_there(&f, 0, 1000), 1000);
    atomic_fetch_add(&f.host.now_ms, 7000);
    assert_int_equal(count_there(&f, 0, 1000), 0);
    disk_settle(&f);
    assert_true(disk_stats_of(&f).expirations > 900);
    assert_true(disk_stats_of(&f).entries < 100);
    assert_true(temp_dir_bytes(f.path) < (256 << 10));
    disk_close(&f);
    atomic_store(&f.host.now_ms, 0);
    disk_unmake(&f);
}

static void entries_are_bounded(void **state)
{
    struct disk_fixture f;
    (void)state;
    make(&f, 32 << 20, 0);
    f.options.max_entries = 1600;
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 0; k < 8000; k++) {
        assert_true(disk_put(&f, k, 1, 100) >= 0);
        assert_true(disk_stats_of(&f).entries <= 1600);
    }
    assert_true(count_there(&f, 0, 8000) > 1200);
    disk_unmake(&f);
}

static void too_large_passes_through(void **state)
{
    struct disk_fixture f;
    (void)state;
    make(&f, 8 << 20, 64 << 10);
    f.options.max_value_bytes = 700000;
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_put(&f, 1, 1, 700001), STRATA_AGAIN);
    assert_int_equal(disk_put(&f, 1, 1, 700000), STRATA_OK); /* in a segment of its own */
    assert_int_equal(disk_status(&f, 1), STRATA_OK);
    assert_int_equal(disk_stats_of(&f).rejections, 1);
    disk_close(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_status(&f, 1), STRATA_OK);
    disk_unmake(&f);
}

/* An eighth of the budget less 4 KiB, with key and head. */
static void what_takes_too_much_of_a_small_disk_passes_through(void **state)
{
    struct disk_fixture f;
    (void)state;
    make(&f, 1 << 20, 0);
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_put(&f, 1, 1, (124 << 10) - 300), STRATA_OK);
    assert_int_equal(disk_put(&f, 2, 1, 124 << 10), STRATA_AGAIN);
    assert_int_equal(disk_stats_of(&f).rejections, 1);
    disk_unmake(&f);
}

static void a_full_disk_lets_puts_pass_and_removes_work(void **state)
{
    struct disk_fixture f;
    struct fault_nth full;
    (void)state;
    make(&f, 8 << 20, 64 << 10);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 0; k < 40; k++)
        assert_int_equal(disk_put(&f, k, 1, 1000), STRATA_OK);
    fault_nth_set(&full, "posix_fallocate", 1, ENOSPC);
    uint64_t k = 40;
    while (disk_put(&f, k, 1, 1000) == STRATA_OK)
        k++;
    assert_in_range(k, 45, 100);
    fault_nth_set(&full, "posix_fallocate", 1, ENOSPC);
    assert_int_equal(disk_put(&f, 3, 2, 1000), STRATA_AGAIN);
    fault_nth_clear();
    assert_int_equal(disk_remove(&f, 3), STRATA_OK);
    assert_int_equal(disk_status(&f, 3), STRATA_MISS);
    assert_int_equal(disk_put(&f, k, 1, 1000), STRATA_OK); /* there is room again */
    disk_unmake(&f);
}

/* Admission --------------------------------------------------------------------------------------------------- */

static void new_keys_come_in_the_second_time(void **state)
{
    struct disk_fixture f;
    size_t first = 0;
    (void)state;
    make(&f, 8 << 20, 64 << 10);
    f.options.admission = STRATA_ADMIT_SECOND;
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 0; k < 500; k++)
        first += disk_put(&f, k, 1, 100) == STRATA_OK;
    assert_true(first < 25); /* filters err on that side */
    for (uint64_t k = 0; k < 500; k++)
        assert_int_equal(disk_put(&f, k, 2, 100), STRATA_OK);
    for (uint64_t k = 0; k < 500; k++)
        assert_int_equal(disk_put(&f, k, 3, 100), STRATA_OK);
    /* Long ago is not seen. */
    for (uint64_t k = 1000000; k < 1040000; k++)
        (void)disk_put(&f, k, 1, 16);
    size_t again = 0;
    for (uint64_t k = 5000; k < 5500; k++)
        again += disk_put(&f, k, 1, 100) == STRATA_OK;
    assert_true(again < 100);
    disk_unmake(&f);
}

static void writes_keep_to_their_budget(void **state)
{
    struct disk_fixture f;
    size_t in = 0;
    (void)state;
    make(&f, 8 << 20, 64 << 10);
    f.options.write_bytes_per_day = 24u << 20; /* a mebibyte an hour */
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 0; k < 2000; k++)
        in += disk_put(&f, k, 1, 1000) == STRATA_OK;
    assert_in_range(in, 800, 1048);
    assert_int_equal(disk_put(&f, 0, 2, 1000), STRATA_AGAIN);
    atomic_fetch_add(&f.host.now_ms, 1800 * 1000);
    in = 0;
    for (uint64_t k = 0; k < 2000; k++)
        in += disk_put(&f, k, 1, 1000) == STRATA_OK;
    assert_in_range(in, 400, 524);
    disk_unmake(&f);
}

/* As disk.h has it: what was overwritten by a value that may not come in is out of date, and gone; a start brings a new burst. */
static void over_the_budget_an_overwrite_takes_the_older_one_away(void **state)
{
    struct disk_fixture f;
    char url[400], value[1000] = "";
    strata *cache;
    strata_value *v = NULL;
    strata_error err;
    (void)state;
    disk_make(&f);
    snprintf(url, sizeof url, "disk:%s?max_bytes=8mb&segment_bytes=64kb&write_bytes_per_day=1mb", f.path);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(strata_open_url(&cache, url, NULL, &err), STRATA_OK);
        for (int k = 0; k < 100; k++) {
            char key[16];
            snprintf(key, sizeof key, "%d", k);
            assert_int_equal(strata_set(cache, strata_str(key), strata_bytes(value, sizeof value), NULL, &err),
                             STRATA_OK);
            if (k == 0) {
                assert_int_equal(strata_get(cache, strata_str("0"), &v, &err), STRATA_OK);
                strata_value_unref(v);
            }
        }
        assert_int_equal(strata_get(cache, strata_str("99"), &v, &err), STRATA_MISS);
        assert_int_equal(strata_set(cache, strata_str("0"), strata_str("new"), NULL, &err), STRATA_OK);
        for (int k = 0; k < 10; k++) /* the last that would fit: */
            assert_int_equal(strata_set(cache, strata_str("0"), strata_bytes(value, sizeof value), NULL, &err),
                             STRATA_OK);
        assert_int_equal(strata_get(cache, strata_str("0"), &v, &err), STRATA_MISS);
        assert_int_equal(strata_close(cache), STRATA_OK);
    }
    disk_unmake(&f);
}

/* Packing ----------------------------------------------------------------------------------------------------- */

static void packed_values_take_less(void **state)
{
    static const char *const kinds[] = { "none", "zstd", "lz4" };
    unsigned long long bytes[3] = { 0 };
    static char text[20000];
    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = "all work and no play "[i % 21];
    for (size_t i = 0; i < 3; i++) {
        struct disk_fixture f;
        char url[400];
        strata *cache;
        strata_value *v = NULL;
        strata_error err;
        disk_make(&f);
        snprintf(url, sizeof url, "disk:%s?max_bytes=8mb&segment_bytes=64kb&compression=%s", f.path, kinds[i]);
        if (i != 0 && strstr(strata_features(), kinds[i]) == NULL) {
            assert_int_equal(strata_open_url(&cache, url, NULL, &err), STRATA_EUNSUPPORTED);
            disk_unmake(&f);
            bytes[i] = 0;
            continue;
        }
        if (strata_open_url(&cache, url, NULL, &err) != STRATA_OK)
            fail_msg("%s", err.message);
        for (int k = 0; k < 30; k++) {
            text[0] = (char)('A' + k);
            assert_int_equal(strata_set(cache, strata_bytes(text, 1), strata_bytes(text, sizeof text), NULL, &err),
                             STRATA_OK);
        }
        for (int k = 0; k < 30; k++) {
            text[0] = (char)('A' + k);
            assert_int_equal(strata_get(cache, strata_bytes(text, 1), &v, &err), STRATA_OK);
            assert_int_equal(strata_value_size(v), sizeof text);
            assert_memory_equal(strata_value_data(v), text, sizeof text);
            strata_value_unref(v);
        }
        assert_int_equal(strata_close(cache), STRATA_OK);
        bytes[i] = temp_dir_bytes(f.path);
        disk_unmake(&f);
    }
    assert_true(bytes[1] < bytes[0] / 10);
    assert_true(bytes[2] < bytes[0] / 10);
}

/* Clears ------------------------------------------------------------------------------------------------------ */

static void clears_survive_even_too_many_of_them(void **state)
{
    struct disk_fixture f, copy;
    (void)state;
    make(&f, 8 << 20, 64 << 10);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 0; k < 2000; k++)
        assert_int_equal(disk_put(&f, k, 1, 100), STRATA_OK);
    for (int i = 0; i < 200; i++) { /* each another prefix: the keys of fours, hundreds first */
        char prefix[32];
        snprintf(prefix, sizeof prefix, "a:key:%d", 1000 + 4 * i);
        assert_int_equal(disk_clear_keys(&f, prefix), STRATA_OK);
    }
    for (int round = 0; round < 3; round++) {
        struct disk_fixture *g = round == 1 ? &copy : &f;
        if (round == 1) {
            disk_crash_copy(&f, &copy);
            assert_int_equal(disk_open(&copy), STRATA_OK);
        }
        if (round == 2) {
            disk_close(&f);
            assert_int_equal(disk_open(&f), STRATA_OK);
        }
        for (uint64_t k = 1000; k < 1800; k += 4)
            assert_int_equal(disk_status(g, k), STRATA_MISS);
        for (uint64_t k = 1; k < 2000; k += 4)
            (void)disk_status(g, k); /* may be gone, as the list forgot precision */
        assert_int_equal(disk_put(g, 4, 2, 100), STRATA_OK);
        assert_int_equal(disk_status(g, 4), STRATA_OK);
    }
    disk_unmake(&copy);
    disk_unmake(&f);
}

static void clearing_all_empties_the_disk(void **state)
{
    struct disk_fixture f;
    (void)state;
    make(&f, 8 << 20, 64 << 10);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 0; k < 2000; k++)
        assert_int_equal(disk_put(&f, k, 1, 1000), STRATA_OK);
    assert_int_equal(disk_clear_keys(&f, NULL), STRATA_OK);
    assert_int_equal(disk_stats_of(&f).entries, 0);
    assert_true(temp_dir_bytes(f.path) < (256 << 10));
    assert_int_equal(f.layer->ops->ping(f.layer, &f.err), STRATA_OK);
    disk_unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_opener_is_told_who_the_first_is),
        cmocka_unit_test(a_child_gets_the_directory_when_its_parent_left_it),
        cmocka_unit_test(paths_that_are_refused),
        cmocka_unit_test(through_a_url),
        cmocka_unit_test(what_is_read_stays),
        cmocka_unit_test(dead_bytes_are_given_back),
        cmocka_unit_test(dead_bytes_are_bounded_under_load),
        cmocka_unit_test(tombstones_stay_as_long_as_what_they_are_about),
        cmocka_unit_test(syncs_when_it_was_asked_to),
        cmocka_unit_test(what_has_expired_is_dropped),
        cmocka_unit_test(entries_are_bounded),
        cmocka_unit_test(too_large_passes_through),
        cmocka_unit_test(what_takes_too_much_of_a_small_disk_passes_through),
        cmocka_unit_test(a_full_disk_lets_puts_pass_and_removes_work),
        cmocka_unit_test(new_keys_come_in_the_second_time),
        cmocka_unit_test(writes_keep_to_their_budget),
        cmocka_unit_test(over_the_budget_an_overwrite_takes_the_older_one_away),
        cmocka_unit_test(packed_values_take_less),
        cmocka_unit_test(clears_survive_even_too_many_of_them),
        cmocka_unit_test(clearing_all_empties_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
