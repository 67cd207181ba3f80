/* test_disk_regress.c - what once went wrong in a running disk layer, each once more. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "src/layer/disk/disk_impl.h"
#include "src/os/os_fault.h"
#include "strata/strata.h"
#include "tests/support/disk_fixture.h"
#include "tests/support/temp_dir.h"

/* A record has its place, and no slot yet: its writer was held up.  Meanwhile its segment is sealed. */
static void append_and_seal(struct disk *d, struct append *a)
{
    assert_int_equal(strata__log_append(d, a), APPEND_OK);
    memset(a->bytes, 0, a->entry.size);
    strata__log_filled(d, a);
    assert_int_equal(strata__log_seal(d), 0);
}

static void test_segment_waits_for_slot(void **state)
{
    (void)state;
    struct disk_fixture f;
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    struct disk *d = disk_inside(&f);
    assert_int_equal(disk_put(&f, 1, 1, 100), STRATA_OK);
    assert_int_equal(disk_remove(&f, 1), STRATA_OK);
    struct append a = { .entry = { 77, 0, 128, RECORD_PUT, RECORD_NEVER }, .key = strata_str("held up"), .life = 7 };
    append_and_seal(d, &a);
    assert_int_equal(strata__disk_drop_dead(d), 0);
    assert_ptr_equal(d->log.oldest, a.segment);
    strata__segment_lost(a.segment, 128);
    assert_int_equal(strata__disk_drop_dead(d), 1);
    disk_unmake(&f);
}

/* What a record takes back is known to its segment as soon as that can be sealed: the trailer says it. */
static void test_segment_knows_what_it_outlives(void **state)
{
    (void)state;
    struct disk_fixture f;
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    struct disk *d = disk_inside(&f);
    assert_int_equal(disk_put(&f, 1, 1, 100), STRATA_OK);
    assert_int_equal(strata__log_seal(d), 0);
    assert_int_equal(disk_put(&f, 2, 1, 100), STRATA_OK);
    uint64_t old = d->log.oldest->number;
    struct append a = { .entry = { 77, 0, 64, RECORD_TOMBSTONE, RECORD_NEVER }, .supersedes = old };
    append_and_seal(d, &a);
    assert_true(atomic_load(&a.segment->superseded) >= old);
    disk_unmake(&f);
}

/* Descriptors ------------------------------------------------------------------------------------------------- */

static struct rlimit lower_limit(rlim_t most)
{
    struct rlimit before, less;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    less = before;
    less.rlim_cur = most;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &less), 0);
    return before;
}

static uint32_t segments_of(struct disk_fixture *f)
{
    struct disk_log *log = &disk_inside(f)->log;
    os_mutex_lock(&log->lock);
    uint32_t count = log->segment_count;
    os_mutex_unlock(&log->lock);
    return count;
}

/* Sixteen megabytes in segments of 64 KiB, or so they ask. */
static void test_files_leave_descriptors(void **state)
{
    (void)state;
    struct disk_fixture f;
    disk_make_small(&f);
    f.options.max_bytes = 16u << 20;
    struct rlimit before = lower_limit(64);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 0; k < 8000; k++) {
        int rc = disk_put(&f, k, 1, 3000);
        assert_true(rc == STRATA_OK || rc == STRATA_AGAIN);
        assert_in_range(segments_of(&f), 1, 16);
    }
    assert_int_equal(disk_status(&f, 7999), STRATA_OK);
    assert_true(disk_stats_of(&f).entries > 3000); /* five thousand would fill it */
    assert_int_equal(disk_stats_of(&f).errors, 0);
    disk_close(&f);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    disk_unmake(&f);
}

/* A program that is started and ended often makes many small segments: they become few, and nothing is lost. */
static void test_small_segments_are_merged(void **state)
{
    (void)state;
    struct disk_fixture f;
    disk_make_small(&f);
    struct rlimit before = lower_limit(64);
    for (uint64_t k = 0; k < 40; k++) {
        assert_int_equal(disk_open(&f), STRATA_OK);
        assert_int_equal(disk_put(&f, k, 1, 500), STRATA_OK);
        assert_in_range(segments_of(&f), 1, 16);
        disk_close(&f);
    }
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 0; k < 40; k++)
        assert_int_equal(disk_status(&f, k), STRATA_OK);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    disk_unmake(&f);
}

static int no_descriptor(const char *call, void *ctx)
{
    _Atomic(int) *left = ctx; /* asked from a worker, too */
    return strcmp(call, "openat") == 0 && atomic_load(left) > 0 && atomic_fetch_sub(left, 1) > 0 ? EMFILE : 0;
}

/* The program has them all: a new segment is as one that there is no room for. */
static void test_no_descriptor_is_no_room(void **state)
{
    (void)state;
    struct disk_fixture f;
    _Atomic(int) left = 0;
    const struct os_fault_hook hook = { no_descriptor, &left, NULL };
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    strata__os_fault_set(&hook);
    uint64_t k = 0;
    for (; k < 100; k++)
        assert_int_equal(disk_put(&f, k, 1, 3000), STRATA_OK);
    atomic_store(&left, 1); /* the oldest one's is free then */
    for (; atomic_load(&left) > 0; k++)
        assert_int_equal(disk_put(&f, k, 1, 3000), STRATA_OK);
    assert_int_equal(disk_status(&f, k - 1), STRATA_OK);
    assert_int_equal(disk_status(&f, 0), STRATA_MISS);
    atomic_store(&left, 1000000); /* others take it */
    int passed = 0;
    for (int i = 0; i < 30; i++, k++) {
        int rc = disk_put(&f, k, 1, 3000);
        assert_true(rc == STRATA_OK || rc == STRATA_AGAIN);
        passed += rc == STRATA_AGAIN;
    }
    assert_true(passed > 0);
    atomic_store(&left, 0);
    assert_int_equal(disk_put(&f, k, 1, 3000), STRATA_OK);
    assert_int_equal(disk_status(&f, k), STRATA_OK);
    strata__os_fault_set(NULL);
    disk_unmake(&f);
}

/* Bans -------------------------------------------------------------------------------------------------------- */

/* No record has room for such a prefix, and no key begins with it. */
static void test_clear_of_a_prefix_that_no_key_has(void **state)
{
    (void)state;
    static char prefix[70001];
    struct disk_fixture f, after;
    disk_make_small(&f);
    f.options.segment_bytes = 1u << 20;
    f.options.max_bytes = 16u << 20;
    f.options.write_buffer_bytes = 256u << 10;
    memset(prefix, 'n', sizeof prefix - 1);
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_put(&f, 1, 1, 500), STRATA_OK);
    assert_int_equal(disk_clear_keys(&f, prefix), STRATA_OK);
    prefix[UINT16_MAX] = 0; /* the longest there can be */
    assert_int_equal(disk_clear_keys(&f, prefix), STRATA_OK);
    assert_int_equal(disk_status(&f, 1), STRATA_OK);
    assert_int_equal(disk_put(&f, 2, 1, 500), STRATA_OK);
    f.layer->ops->maintain(f.layer, 0, 1000);
    disk_crash_copy(&f, &after);
    disk_unmake(&f);
    after.options.recovery = STRATA_RECOVERY_STRICT;
    assert_int_equal(disk_open(&after), STRATA_OK);
    assert_int_equal(disk_status(&after, 1), STRATA_OK);
    assert_int_equal(disk_status(&after, 2), STRATA_OK);
    disk_unmake(&after);
}

/* Tags -------------------------------------------------------------------------------------------------------- */

struct hashed {
    uint64_t hash, key;
};

static int by_tag(const void *a, const void *b)
{
    uint32_t x = hash_tag(((const struct hashed *)a)->hash), y = hash_tag(((const struct hashed *)b)->hash);
    return x < y ? -1 : x > y;
}

/* Two keys of one tag that differ in the first eight bits, which say the shard. */
static void find_pair(struct disk *d, uint64_t *out_a, uint64_t *out_b)
{
    enum { KEYS = 600000 };
    struct hashed *all = calloc(KEYS, sizeof *all);
    assert_non_null(all);
    for (uint64_t k = 0; k < KEYS; k++) {
        char room[32];
        int size = snprintf(room, sizeof room, "%c:key:%llu", (char)('a' + k % 4), (unsigned long long)k);
        all[k] = (struct hashed){ strata__disk_hash(d, strata_bytes(room, (size_t)size)), k };
    }
    qsort(all, KEYS, sizeof *all, by_tag);
    size_t i = 1;
    while (i < KEYS &&
           (hash_tag(all[i].hash) != hash_tag(all[i - 1].hash) || all[i].hash >> 56 == all[i - 1].hash >> 56))
        i++;
    assert_true(i < KEYS); /* 40 of them are to be expected */
    *out_a = all[i - 1].key;
    *out_b = all[i].key;
    free(all);
}

static void test_keys_stay_the_same_with_another_budget(void **state)
{
    (void)state;
    static const uint64_t budgets[] = { 1u << 20, 64u << 20, 4u << 20 };
    struct disk_fixture f;
    uint64_t a = 0, b = 0;
    disk_make_small(&f);
    for (int i = 0; i < 3; i++) {
        f.options.max_bytes = budgets[i];
        assert_int_equal(disk_open(&f), STRATA_OK);
        if (i == 0) {
            find_pair(disk_inside(&f), &a, &b);
            assert_int_equal(disk_put(&f, a, 1, 500), STRATA_OK);
            assert_int_equal(disk_put(&f, 900001, 1, 500), STRATA_OK);
            assert_int_equal(disk_put(&f, b, 1, 500), STRATA_OK);
            assert_int_equal(disk_status(&f, a), STRATA_OK);
            assert_true(disk_remove(&f, b) >= 0);
            assert_true(disk_remove(&f, a) >= 0);
        }
        assert_int_equal(disk_status(&f, a), STRATA_MISS);
        assert_int_equal(disk_status(&f, b), STRATA_MISS);
        assert_int_equal(disk_status(&f, 900001), STRATA_OK);
        disk_close(&f);
    }
    disk_unmake(&f);
}

/* How often something was read is in the snapshot alone: it was good, with all its small shards. */
static void test_snapshot_is_loaded(void **state)
{
    (void)state;
    struct disk_fixture f;
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (uint64_t k = 0; k < 20; k++) {
        assert_int_equal(disk_put(&f, k, 1, 500), STRATA_OK);
        assert_int_equal(disk_status(&f, k), STRATA_OK);
    }
    disk_close(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    struct disk *d = disk_inside(&f);
    size_t found = 0;
    for (uint32_t i = 0; i < d->shard_count; i++)
        for (uint64_t k = 0; k < d->shards[i].room; k++)
            found += where_use(d->shards[i].slots[k].where) != 0;
    assert_int_equal(found, 20);
    disk_unmake(&f);
}

/* Namespaces -------------------------------------------------------------------------------------------------- */

static strata *open_cache(const char *path)
{
    strata *cache;
    strata_disk_options options = STRATA_DISK_OPTIONS_INIT;
    options.path = path;
    options.max_bytes = 8u << 20;
    strata_layer *layers[] = { strata_disk_layer(&options) };
    strata_options o = STRATA_OPTIONS_INIT;
    o.layers = layers;
    o.layer_count = 1;
    assert_int_equal(strata_open(&cache, &o, NULL), STRATA_OK);
    return cache;
}

static strata *space(strata *above, const char *name)
{
    strata *h;
    assert_int_equal(strata_namespace(above, name, NULL, &h, NULL), STRATA_OK);
    return h;
}

static void test_clear_reaches_unopened_namespaces(void **state)
{
    (void)state;
    static const int left[] = { 0, 0, 0, 1, 1, 1 };
    char path[256];
    temp_dir_make(path, sizeof path);
    for (int life = 0; life < 3; life++) {
        strata *cache = open_cache(path), *a = space(cache, "a");
        if (life == 1) {
            assert_int_equal(strata_clear(a, NULL), STRATA_OK);
        } else {
            strata *b = space(a, "b"), *c = space(b, "c"), *ab = space(cache, "ab"), *other = space(cache, "b");
            strata *all[] = { a, b, c, ab, other, cache };
            for (size_t i = 0; i < 6; i++)
                if (life == 0)
                    assert_int_equal(strata_set(all[i], strata_str("k"), strata_str("v"), NULL, NULL), STRATA_OK);
                else
                    assert_int_equal(strata_has(all[i], strata_str("k"), NULL), left[i]);
            for (size_t i = 1; i < 5; i++)
                strata_close(all[i]);
        }
        strata_close(a);
        strata_close(cache);
    }
    temp_dir_remove(path);
}

/* Gets and evictions --------------------------------------------------------------------------------------------- */

/* A get has found its record, and asks for memory to read it to: what `meanwhile` does, comes between. */
struct interrupt {
    strata_allocator mem;
    struct disk_fixture *f;
    void (*meanwhile)(struct disk_fixture *f);
};

static void *interrupted_alloc(size_t size, void *ctx)
{
    struct interrupt *i = ctx;
    void (*meanwhile)(struct disk_fixture *) = i->meanwhile;
    i->meanwhile = NULL;
    if (meanwhile != NULL)
        meanwhile(i->f);
    return malloc(size);
}

static void *plain_realloc(void *block, size_t size, void *ctx)
{
    (void)ctx;
    return realloc(block, size);
}

static void plain_free(void *block, void *ctx)
{
    (void)ctx;
    free(block);
}

static void count_done(strata_op *op) { *(int *)op->owner += 1; }

/* Of a key that is 1 modulo 4: the fixture calls it so. */
static int interrupted_get(struct disk_fixture *f, uint64_t key, void (*meanwhile)(struct disk_fixture *f))
{
    struct interrupt i = { { sizeof i.mem, interrupted_alloc, plain_realloc, plain_free, NULL }, f, meanwhile };
    strata_error err = STRATA_ERROR_INIT;
    int finished = 0;
    char room[32];
    strata_op op = { .size = sizeof op, .kind = STRATA_OP_GET, .err = &err, .done = count_done, .owner = &finished };
    i.mem.ctx = &i;
    op.key = strata_bytes(room, (size_t)snprintf(room, sizeof room, "b:key:%llu", (unsigned long long)key));
    op.now_ms = atomic_load(&f->host.now_ms);
    op.mem = &i.mem;
    strata_op *ops = &op;
    f->layer->ops->submit(f->layer, &ops, 1);
    assert_int_equal(finished, 1);
    assert_null(i.meanwhile);
    strata_value_unref(op.found);
    return op.status;
}

static uint64_t oldest_number(struct disk *d)
{
    os_mutex_lock(&d->log.lock);
    uint64_t number = d->log.oldest->number;
    os_mutex_unlock(&d->log.lock);
    return number;
}

static uint32_t ban_count(struct disk *d)
{
    os_mutex_lock(&d->log.lock);
    uint32_t count = d->bans.count;
    os_mutex_unlock(&d->log.lock);
    return count;
}

/* Until the oldest segment is another one, and the bans that had nothing but it are gone. */
static void overwrite_oldest(struct disk_fixture *f)
{
    uint64_t oldest = oldest_number(disk_inside(f));
    for (uint64_t key = 1000; oldest_number(disk_inside(f)) <= oldest + 2 && key < 100000; key++)
        (void)disk_put(f, key, 1, 1000);
    assert_true(oldest_number(disk_inside(f)) > oldest + 2);
}

/* The ban went with the segment, while a get still had what it bans. */
static void test_a_get_outlives_no_ban(void **state)
{
    (void)state;
    struct disk_fixture f;
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_put(&f, 1, 1, 100), STRATA_OK);
    assert_int_equal(disk_clear_keys(&f, "b:key:1"), STRATA_OK);
    disk_close(&f);
    f.life++;
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(ban_count(disk_inside(&f)), 1);
    assert_int_equal(interrupted_get(&f, 1, overwrite_oldest), STRATA_MISS);
    assert_int_equal(ban_count(disk_inside(&f)), 0);
    disk_unmake(&f);
}

/* What is read often moves to the new end of the log, and a get that had found it at the old one finds it there. */
static void test_a_get_follows_what_moves(void **state)
{
    (void)state;
    struct disk_fixture f;
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    assert_int_equal(disk_put(&f, 1, 1, 100), STRATA_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(disk_status(&f, 1), STRATA_OK);
    assert_int_equal(interrupted_get(&f, 1, overwrite_oldest), STRATA_OK);
    disk_unmake(&f);
}

/* The same place twice --------------------------------------------------------------------------------------------- */

/* Key 1 is removed, its segment leaves, and it is put again: in another file, at the same place to the bit, for the table has
 * the new segment where it had the old one. */
static void put_in_the_same_place(struct disk_fixture *f)
{
    struct disk *d = disk_inside(f);
    struct segment *old = d->log.oldest;
    assert_int_equal(disk_put(f, 2, 1, 100), STRATA_OK);
    assert_int_equal(disk_remove(f, 1), STRATA_OK);
    assert_int_equal(strata__log_seal(d), 0);
    assert_true(strata__disk_drop_dead(d) >= 1);
    assert_ptr_not_equal(d->log.table[0], old);
    assert_int_equal(disk_put(f, 1, 2, 100), STRATA_OK);
    assert_int_equal(strata__log_flush(d), 0);
    assert_int_equal(d->log.newest->index, 0);
}

static void open_with_key_1(struct disk_fixture *f)
{
    disk_make_small(f);
    assert_int_equal(disk_open(f), STRATA_OK);
    assert_int_equal(disk_put(f, 1, 1, 100), STRATA_OK);
    assert_int_equal(strata__log_seal(disk_inside(f)), 0);
}

/* What a get finds damaged is forgotten: that record, and no later one. */
static void test_a_damaged_record_takes_no_other_along(void **state)
{
    (void)state;
    struct disk_fixture f, after;
    open_with_key_1(&f);
    assert_int_equal(pwrite(disk_inside(&f)->log.oldest->fd, "?", 1, SEGMENT_HEAD + RECORD_HEAD + 60), 1);
    assert_int_equal(interrupted_get(&f, 1, put_in_the_same_place), STRATA_OK); /* the later one */
    assert_int_equal(disk_status(&f, 1), STRATA_OK);
    assert_int_equal(disk_remove(&f, 1), STRATA_OK);
    disk_crash_copy(&f, &after);
    disk_unmake(&f);
    assert_int_equal(disk_open(&after), STRATA_OK);
    assert_int_equal(disk_status(&after, 1), STRATA_MISS);
    disk_unmake(&after);
}

/* No segment can be opened for a tombstone; while the record is taken back in place, the key is written again. */
static int no_file_and_a_put(const char *call, void *ctx)
{
    if (strcmp(call, "openat") == 0)
        return EIO;
    if (strcmp(call, "pwrite") == 0) {
        strata__os_fault_set(NULL);
        put_in_the_same_place(ctx);
    }
    return 0;
}

static void test_a_remove_takes_back_what_it_erases(void **state)
{
    (void)state;
    struct disk_fixture f, after;
    open_with_key_1(&f);
    const struct os_fault_hook hook = { no_file_and_a_put, &f, NULL };
    strata__os_fault_set(&hook);
    assert_int_equal(disk_remove(&f, 1), STRATA_OK);
    assert_null(atomic_load(&strata__os_fault_hook));
    assert_int_equal(disk_status(&f, 1), STRATA_MISS);
    disk_crash_copy(&f, &after);
    disk_unmake(&f);
    assert_int_equal(disk_open(&after), STRATA_OK);
    assert_int_equal(disk_status(&after, 1), STRATA_MISS);
    disk_unmake(&after);
}

/* All keys ------------------------------------------------------------------------------------------------------- */

static uint32_t shard_of_key(struct disk_fixture *f, uint64_t key)
{
    char room[32];
    int size = snprintf(room, sizeof room, "b:key:%llu", (unsigned long long)key);
    return hash_shard(strata__disk_hash(disk_inside(f), strata_bytes(room, (size_t)size)), disk_inside(f)->shard_count);
}

struct walked {
    struct disk_fixture *f;
    uint64_t keys[2];
    int seen;
};

static int put_both(uint32_t space, strata_slice key, void *ctx)
{
    struct walked *w = ctx;
    (void)space;
    (void)key;
    w->seen++;
    for (int i = 0; i < 2; i++)
        assert_int_equal(disk_put(w->f, w->keys[i], 2, 100), STRATA_OK);
    return 0;
}

/* What is written again while all keys are listed is there before and after: it is listed. */
static void test_a_walk_leaves_out_no_key_that_moves(void **state)
{
    (void)state;
    struct disk_fixture f;
    disk_make_small(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    struct walked w = { &f, { 1, 5 }, 0 };
    while (shard_of_key(&f, w.keys[1]) != shard_of_key(&f, w.keys[0]))
        w.keys[1] += 4;
    for (int i = 0; i < 2; i++)
        assert_int_equal(disk_put(&f, w.keys[i], 1, 100), STRATA_OK);
    assert_int_equal(f.layer->ops->keys(f.layer, put_both, &w, &f.err), STRATA_OK);
    assert_int_equal(w.seen, 2);
    disk_unmake(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segment_waits_for_slot),
        cmocka_unit_test(test_segment_knows_what_it_outlives),
        cmocka_unit_test(test_files_leave_descriptors),
        cmocka_unit_test(test_small_segments_are_merged),
        cmocka_unit_test(test_no_descriptor_is_no_room),
        cmocka_unit_test(test_clear_of_a_prefix_that_no_key_has),
        cmocka_unit_test(test_keys_stay_the_same_with_another_budget),
        cmocka_unit_test(test_snapshot_is_loaded),
        cmocka_unit_test(test_clear_reaches_unopened_namespaces),
        cmocka_unit_test(test_a_get_outlives_no_ban),
        cmocka_unit_test(test_a_get_follows_what_moves),
        cmocka_unit_test(test_a_walk_leaves_out_no_key_that_moves),
        cmocka_unit_test(test_a_damaged_record_takes_no_other_along),
        cmocka_unit_test(test_a_remove_takes_back_what_it_erases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
