/* test_disk_words.c - what users and operators of a cache see of a disk layer's troubles: statuses, counters, events, words. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "src/layer/disk/disk_impl.h"
#include "src/core/core_impl.h"
#include "src/loop/executor_sim.h"
#include "src/os/os_fault.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/temp_dir.h"

enum { SETS = 100, SIZE = 3000 };

struct world {
    char path[256];
    struct executor *ex;
    strata *cache;
    strata_layer *disk;
    size_t disk_at; /* in the stack */
    int errors;     /* events */
    int last_status;
    char last[256];
    strata_error err;
};

static void on_error(const strata_event *event, void *ctx)
{
    struct world *w = ctx;
    w->errors++;
    w->last_status = event->status;
    assert_string_equal(event->layer, "disk");
    snprintf(w->last, sizeof w->last, "%s", event->message);
}

static void open_on(struct world *w, int with_memory)
{
    const strata_disk_options o = { STRATA_SIZED(strata_disk_options), .path = w->path, .max_bytes = 8u << 20 };
    strata_layer *layers[2];
    size_t n = 0;
    if (with_memory)
        layers[n++] = strata_memory_layer(NULL);
    w->disk_at = n;
    layers[n++] = w->disk = strata_disk_layer(&o);
    const strata_options options = { STRATA_SIZED(strata_options), .layers = layers, .layer_count = n };
    assert_int_equal(strata__executor_sim_new(&w->ex, NULL, 1, &w->err), STRATA_OK);
    assert_int_equal(strata__open_with(&w->cache, &options, w->ex, &w->err), STRATA_OK);
    assert_int_equal(strata_on(w->cache, STRATA_EVENT_ERROR, on_error, w, NULL), STRATA_OK);
}

static void make_world(struct world *w, int with_memory)
{
    memset(w, 0, sizeof *w);
    temp_dir_make(w->path, sizeof w->path);
    open_on(w, with_memory);
}

static void unmake_world(struct world *w)
{
    assert_int_equal(strata_close(w->cache), STRATA_OK);
    temp_dir_remove(w->path);
}

static int set(struct world *w, int key)
{
    static const char bytes[SIZE];
    return strata_set(w->cache, strata_bytes(&key, sizeof key), strata_bytes(bytes, sizeof bytes), NULL, &w->err);
}

static int get(struct world *w, int key)
{
    strata_value *v;
    int rc = strata_get(w->cache, strata_bytes(&key, sizeof key), &v, &w->err);
    strata_value_unref(v);
    return rc;
}

static strata_layer_stats disk_stats(struct world *w)
{
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(w->cache, w->disk_at, &s), STRATA_OK);
    return s;
}

static uint64_t errors_of(struct world *w)
{
    strata_stats s = { .size = sizeof s };
    assert_int_equal(strata_stats_get(w->cache, &s), STRATA_OK);
    return s.errors;
}

/* A bit that flipped: a miss, counted and told once; the key can be written and read again. */
static void a_damaged_record_is_a_miss(void **state)
{
    (void)state;
    for (int with_memory = 0; with_memory < 2; with_memory++) {
        struct world w;
        make_world(&w, with_memory);
        assert_int_equal(set(&w, 1), STRATA_OK);
        assert_int_equal(set(&w, 2), STRATA_OK);
        assert_int_equal(strata_close(w.cache), STRATA_OK);
        open_on(&w, with_memory);
        struct disk *d = (struct disk *)(void *)w.disk;
        assert_int_equal(pwrite(d->log.oldest->fd, "?", 1, SEGMENT_HEAD + RECORD_HEAD + SIZE / 2), 1);
        for (int i = 0; i < 3; i++)
            assert_int_equal(get(&w, 1), STRATA_MISS);
        assert_int_equal(get(&w, 2), STRATA_OK);
        assert_int_equal(w.errors, 1);
        assert_int_equal(w.last_status, STRATA_EIO);
        assert_non_null(strstr(w.last, "is damaged"));
        assert_int_equal(errors_of(&w), 1);
        assert_int_equal(disk_stats(&w).errors, 1);
        assert_int_equal(disk_stats(&w).misses, 3);
        assert_int_equal(set(&w, 1), STRATA_OK);
        assert_int_equal(get(&w, 1), STRATA_OK);
        unmake_world(&w);
    }
}

static int failing;

static int fails(const char *call, void *ctx)
{
    (void)ctx;
    return strcmp(call, "pwrite") == 0 || strcmp(call, "posix_fallocate") == 0 ? failing : 0;
}

static int fails_to_read(const char *call, void *ctx)
{
    (void)ctx;
    return strcmp(call, "pread") == 0 ? EIO : 0;
}

static const struct os_fault_hook writes = { fails, NULL, NULL }, reads = { fails_to_read, NULL, NULL };

/* A disk that can't be read at all is none. */
static void a_disk_that_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    struct world w;
    make_world(&w, 0);
    assert_int_equal(set(&w, 1), STRATA_OK);
    assert_int_equal(strata__log_flush((struct disk *)(void *)w.disk), 0);
    strata__os_fault_set(&reads);
    assert_int_equal(get(&w, 1), STRATA_ELAYER);
    strata__os_fault_set(NULL);
    assert_non_null(strstr(w.err.message, strerror(EIO)));
    assert_int_equal(w.err.os_errno, EIO);
    assert_int_equal(get(&w, 1), STRATA_OK);
    unmake_world(&w);
}

static void set_many(struct world *w, int status)
{
    for (int key = 0; key < SETS; key++)
        assert_int_equal(set(w, key), status);
}

/* Each that fails is counted once; the first is told, and one a second of the others. */
static void writes_fail(struct world *w, int code, int status, const char *words)
{
    failing = code;
    strata__os_fault_set(&writes);
    set_many(w, status);
    assert_int_equal(disk_stats(w).errors, SETS);
    assert_int_equal(disk_stats(w).rejections, SETS);
    assert_int_equal(errors_of(w), SETS);
    assert_int_equal(w->errors, 1);
    assert_int_equal(w->last_status, STRATA_EIO);
    assert_non_null(strstr(w->last, words));
    assert_non_null(strstr(w->last, strerror(code)));
    for (int second = 2; second < 5; second++) {
        strata__executor_sim_advance(w->ex, 1000);
        set_many(w, status);
        assert_int_equal(w->errors, second);
    }
    strata__os_fault_set(NULL);
    assert_int_equal(set(w, 1), STRATA_OK);
    assert_int_equal(get(w, 1), STRATA_OK);
}

static void a_full_disk_is_told(void **state)
{
    (void)state;
    static const int codes[] = { ENOSPC, EDQUOT };
    for (int i = 0; i < 4; i++) {
        struct world w;
        make_world(&w, i / 2);
        writes_fail(&w, codes[i % 2], STRATA_OK, "no space left on \"");
        assert_non_null(strstr(w.last, "free some, or lower max_bytes"));
        unmake_world(&w);
    }
}

static void other_failures_are_told_as_often(void **state)
{
    (void)state;
    struct world w;
    make_world(&w, 1);
    writes_fail(&w, EIO, STRATA_ELAYER, "look at the disk");
    unmake_world(&w);
}

/* What is loaded fails behind its caller's back. */
static int load(strata_load *l, strata_slice key, void *ctx)
{
    (void)key, (void)ctx;
    return strata_load_copy(l, "value", 5);
}

static void loads_on_a_full_disk_are_told(void **state)
{
    (void)state;
    struct world w;
    make_world(&w, 1);
    failing = ENOSPC;
    strata__os_fault_set(&writes);
    for (int key = 0; key < SETS; key++) {
        strata_value *v;
        assert_int_equal(strata_get_or_load(w.cache, strata_bytes(&key, sizeof key), load, NULL, NULL, &v, &w.err),
                         STRATA_OK);
        strata_value_unref(v);
    }
    strata__executor_sim_run(w.ex);
    assert_int_equal(errors_of(&w), SETS);
    assert_int_equal(disk_stats(&w).errors, SETS);
    assert_int_equal(w.errors, 1);
    strata__os_fault_set(NULL);
    unmake_world(&w);
}

/* Opening on one says why it could not. */
static void a_new_cache_on_a_full_disk(void **state)
{
    (void)state;
    char path[256], url[300];
    strata *cache;
    strata_error err = STRATA_ERROR_INIT;
    temp_dir_make(path, sizeof path);
    snprintf(url, sizeof url, "disk:%s", path);
    failing = ENOSPC;
    strata__os_fault_set(&writes);
    assert_int_equal(strata_open_url(&cache, url, NULL, &err), STRATA_EIO);
    strata__os_fault_set(NULL);
    assert_int_equal(err.os_errno, ENOSPC);
    assert_non_null(strstr(err.message, strerror(ENOSPC)));
    assert_non_null(strstr(err.message, "free some space"));
    temp_dir_remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_record_is_a_miss),    cmocka_unit_test(a_disk_that_cannot_be_read_is_an_error),
        cmocka_unit_test(a_full_disk_is_told),           cmocka_unit_test(other_failures_are_told_as_often),
        cmocka_unit_test(loads_on_a_full_disk_are_told), cmocka_unit_test(a_new_cache_on_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
