/* test_disk_threads.c - four threads on a disk layer that is too small for them, one that maintains it, and clears in between.
 *
 * Each thread has keys of its own, so it knows what they may answer; reclaiming, the write buffers and the segments are
 * everybody's.  Afterwards the directory is opened again, and holds nothing else. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "tests/support/disk_fixture.h"

enum { THREADS = 4, KEYS = 100, STEPS = 20000 };

struct worker {
    struct disk_fixture f; /* a copy: the layer is shared, its words are not */
    pthread_t thread;
    uint64_t number, chance;
    uint32_t version[KEYS]; /* 0: none */
    size_t hits;
    const char *wrong;
};

static _Atomic(int) stop;

static uint64_t chance(struct worker *w)
{
    w->chance = w->chance * 6364136223846793005u + 1442695040888963407u;
    return w->chance >> 33;
}

static void look(struct worker *w, struct disk_fixture *f, uint64_t k)
{
    uint32_t got = 0;
    int rc = disk_get(f, k * THREADS + w->number, &got);
    if (rc != STRATA_OK && rc != STRATA_MISS)
        w->wrong = "a get failed";
    if (rc == STRATA_OK && got != w->version[k])
        w->wrong = "an older version came back";
    w->hits += rc == STRATA_OK;
}

static void *work(void *ctx)
{
    struct worker *w = ctx;
    for (uint32_t i = 1; i <= STEPS && w->wrong == NULL; i++) {
        uint64_t k = chance(w) % KEYS, what = chance(w) % 10;
        if (what < 4) {
            size_t size = chance(w) % 50 == 0 ? 30000 : chance(w) % 3000;
            int rc = disk_put(&w->f, k * THREADS + w->number, i, size);
            if (rc == STRATA_AGAIN)
                rc = disk_remove(&w->f, k * THREADS + w->number) < 0 ? -1 : 1;
            if (rc < 0)
                w->wrong = "a put failed";
            w->version[k] = rc == STRATA_OK ? i : 0;
        } else if (what < 5) {
            if (disk_remove(&w->f, k * THREADS + w->number) < 0)
                w->wrong = "a remove failed";
            w->version[k] = 0;
        } else if (what == 5 && chance(w) % 100 == 0) {
            /* Thread 0's keys alone begin with "a:". */
            if (w->number != 0)
                continue;
            if (disk_clear_keys(&w->f, "a:") != STRATA_OK)
                w->wrong = "a clear failed";
            memset(w->version, 0, sizeof w->version);
        } else {
            look(w, &w->f, k);
        }
    }
    return NULL;
}

static void *maintain(void *ctx)
{
    struct disk_fixture *f = ctx;
    while (!atomic_load(&stop))
        f->layer->ops->maintain(f->layer, 0, 100);
    return NULL;
}

static void run(strata_disk_options options)
{
    static struct disk_fixture f;
    static struct worker w[THREADS];
    pthread_t keeper;
    uint64_t hits = 0;
    disk_make(&f);
    options.size = sizeof options;
    f.options = options;
    assert_int_equal(disk_open(&f), STRATA_OK);
    atomic_store(&stop, 0);
    assert_int_equal(pthread_create(&keeper, NULL, maintain, &f), 0);
    for (uint64_t i = 0; i < THREADS; i++) {
        memset(&w[i], 0, sizeof w[i]);
        w[i].f.layer = f.layer;
        w[i].f.life = 7 + i;
        w[i].f.expires_ms = STRATA_FOREVER;
        w[i].number = i;
        w[i].chance = i + 3;
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(w[i].thread, NULL);
    atomic_store(&stop, 1);
    pthread_join(keeper, NULL);
    disk_close(&f);
    assert_int_equal(disk_open(&f), STRATA_OK);
    for (int i = 0; i < THREADS; i++) {
        for (uint64_t k = 0; k < KEYS; k++)
            look(&w[i], &f, k);
        if (w[i].wrong != NULL)
            fail_msg("thread %d: %s", i, w[i].wrong);
        hits += w[i].hits;
    }
    assert_true(hits > 100); /* of all: one thread's keys may have been pushed out again and again */
    assert_int_equal(disk_stats_of(&f).errors, 0);
    disk_unmake(&f);
}

static void too_small(void **state)
{
    (void)state;
    run((strata_disk_options){ .max_bytes = 1u << 20, .segment_bytes = 64u << 10, .write_buffer_bytes = 8192 });
}

static void large_enough(void **state)
{
    (void)state;
    run((strata_disk_options){ .max_bytes = 8u << 20, .segment_bytes = 128u << 10 });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_small),
        cmocka_unit_test(large_enough),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
