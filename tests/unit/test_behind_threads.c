/* test_behind_threads.c - write-behind on real threads, over a disk: what each thread did last to its own keys is there after the cache was
 * opened again, whatever the others did to keys that all share. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/temp_dir.h"

enum { THREADS = 4, OWN = 8, SHARED = 4, ROUNDS = 2000 };

struct worker {
    pthread_t thread;
    strata *cache;
    int number;
    int last[OWN]; /* 0: deleted */
};

static const strata_policy soon = { STRATA_SIZED(strata_policy), .write_behind_ms = 2 };
static const strata_policy at_once = { STRATA_SIZED(strata_policy), .write_behind_ms = STRATA_OFF };

static strata *open_cache(const char *path, uint32_t most)
{
    strata_memory_options memory = STRATA_MEMORY_OPTIONS_INIT;
    strata_disk_options disk = STRATA_DISK_OPTIONS_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    strata_error err = STRATA_ERROR_INIT;
    strata *cache;
    memory.max_bytes = 1 << 20;
    memory.max_entries = 16; /* so that it evicts */
    disk.path = path;
    disk.max_bytes = 16 << 20;
    strata_layer *layers[] = { strata_memory_layer(&memory), strata_disk_layer(&disk) };
    options.layers = layers;
    options.layer_count = 2;
    options.write_behind_max_entries = most;
    if (strata_open(&cache, &options, &err) != STRATA_OK)
        fail_msg("%s: %s", err.where, err.message);
    return cache;
}

static strata_slice own_key(const struct worker *w, int i, char room[32])
{
    (void)snprintf(room, 32, "own %d %d", w->number, i);
    return strata_str(room);
}

static void expect(const struct worker *w, int i)
{
    char key[32], text[32];
    strata_value *v;
    (void)snprintf(text, sizeof text, "%d", w->last[i]);
    int rc = strata_get(w->cache, own_key(w, i, key), &v, NULL);
    int same = w->last[i] == 0 ? rc == STRATA_MISS
                               : rc == STRATA_OK && strata_value_size(v) == strlen(text) &&
                                     memcmp(strata_value_data(v), text, strlen(text)) == 0;
    if (!same)
        fail_msg("%s: %d, \"%.*s\", not %s", key, rc, v != NULL ? (int)strata_value_size(v) : 0,
                 v != NULL ? (const char *)strata_value_data(v) : "", text);
    strata_value_unref(v);
}

static int load_round(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    return strata_load_copy(load, ctx, strlen(ctx));
}

/* What was set is not loaded over; what is loaded can be written behind over. */
static void load_own(struct worker *w, int i, int round)
{
    char key[32], text[32];
    strata_value *v = NULL;
    (void)snprintf(text, sizeof text, "%d", round);
    if (strata_get_or_load(w->cache, own_key(w, i, key), load_round, text, NULL, &v, NULL) != STRATA_OK)
        abort();
    strata_value_unref(v);
    if (w->last[i] == 0)
        w->last[i] = round;
}

static void set_own_if(struct worker *w, int i, int round)
{
    char key[32], text[32];
    strata_condition absent = STRATA_CONDITION_INIT;
    absent.only = STRATA_IF_ABSENT;
    (void)snprintf(text, sizeof text, "%d", round);
    int rc = strata_set_if(w->cache, own_key(w, i, key), strata_str(text), &absent, &at_once, NULL, NULL);
    if (rc != (w->last[i] == 0 ? STRATA_OK : STRATA_ECONFLICT))
        fail_msg("%s: %d after %d", key, rc, w->last[i]);
    if (rc == STRATA_OK)
        w->last[i] = round;
}

static void *work(void *ctx)
{
    struct worker *w = ctx;
    uint64_t chance = (uint64_t)w->number + 1;
    for (int round = 1; round <= ROUNDS; round++) {
        char key[32], text[32];
        chance = chance * 6364136223846793005u + 1442695040888963407u;
        uint32_t what = (uint32_t)(chance >> 33) % 16;
        int i = (int)((chance >> 40) % OWN);
        strata_slice shared = strata_bytes(&"abcd"[i % SHARED], 1);
        (void)snprintf(text, sizeof text, "%d", round);
        int rc = STRATA_OK;
        if (what < 8)
            rc = strata_set(w->cache, own_key(w, i, key), strata_str(text), &soon, NULL);
        else if (what < 9)
            rc = strata_set(w->cache, own_key(w, i, key), strata_str(text), &at_once, NULL);
        else if (what < 11)
            rc = strata_delete(w->cache, own_key(w, i, key), NULL);
        else if (what < 13)
            rc = strata_set(w->cache, shared, strata_str(text), &soon, NULL);
        else if (what < 14)
            rc = strata_delete(w->cache, shared, NULL);
        else if (what < 15)
            load_own(w, i, round);
        else
            set_own_if(w, i, round);
        if (rc < 0)
            abort();
        if (what < 11)
            w->last[i] = what < 9 ? round : 0;
        expect(w, i);
    }
    return NULL;
}

static void threads_and_a_disk(uint32_t most)
{
    struct worker workers[THREADS] = { { .number = 0 } };
    char path[256];
    temp_dir_make(path, sizeof path);
    strata *cache = open_cache(path, most);
    for (int i = 0; i < THREADS; i++) {
        workers[i].number = i;
        workers[i].cache = cache;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    assert_int_equal(strata_close(cache), STRATA_OK);
    cache = open_cache(path, most);
    for (int i = 0; i < THREADS; i++) {
        workers[i].cache = cache;
        for (int k = 0; k < OWN; k++)
            expect(&workers[i], k);
    }
    assert_int_equal(strata_close(cache), STRATA_OK);
    temp_dir_remove(path);
}

static void with_room(void **state)
{
    (void)state;
    threads_and_a_disk(0);
}

static void without(void **state)
{
    (void)state;
    threads_and_a_disk(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_room),
        cmocka_unit_test(without),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
