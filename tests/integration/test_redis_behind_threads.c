/* test_redis_behind_threads.c - threads that write behind, at once, conditionally, delete and load their own keys over a real server, from two
 * nodes: nobody else writes these, so each sees what it did last, nothing is ever refused as older, and the server has it in the end. */
#include <pthread.h>

#include "tests/support/redis_cache.h"

#include "tests/support/redis_server.h"

enum { THREADS = 4, OWN = 6, ROUNDS = 800, SOON_MS = 3, LOOKS = 12000 };

static const strata_policy soon = { STRATA_SIZED(strata_policy), .write_behind_ms = SOON_MS };
static const strata_policy at_once = { STRATA_SIZED(strata_policy), .write_behind_ms = STRATA_OFF };

struct worker {
    pthread_t thread;
    strata *cache;
    int number;
    int last[OWN]; /* 0: nothing */
    char words[160];
};

static strata_slice own_key(const struct worker *w, int i, char room[32])
{
    (void)snprintf(room, 32, "own %d %d", w->number, i);
    return strata_str(room);
}

static int load_text(strata_load *load, strata_slice key, void *ctx)
{
    (void)key;
    return strata_load_copy(load, ctx, strlen(ctx));
}

/* 1: it was as it has to be. */
static int act(struct worker *w, int i, uint32_t what, int round)
{
    char room[32], text[32];
    strata_slice key = own_key(w, i, room);
    strata_value *v = NULL;
    strata_condition absent = STRATA_CONDITION_INIT;
    absent.only = STRATA_IF_ABSENT;
    (void)snprintf(text, sizeof text, "%d", round);
    int rc = STRATA_OK, before = w->last[i];
    if (what < 8) {
        rc = strata_set(w->cache, key, strata_str(text), &soon, NULL);
        w->last[i] = round;
    } else if (what < 10) {
        rc = strata_set(w->cache, key, strata_str(text), &at_once, NULL);
        w->last[i] = round;
    } else if (what < 12) {
        rc = strata_delete(w->cache, key, NULL);
        w->last[i] = 0;
    } else if (what < 14) {
        rc = strata_get_or_load(w->cache, key, load_text, text, NULL, &v, NULL);
        w->last[i] = before == 0 ? round : before;
        strata_value_unref(v);
    } else if (what < 15) {
        rc = strata_set_if(w->cache, key, strata_str(text), &absent, &at_once, NULL, NULL);
        w->last[i] = before == 0 ? round : before;
        if (before != 0)
            return rc == STRATA_ECONFLICT;
    } else {
        rc = strata_has(w->cache, key, NULL);
        return rc == (before != 0);
    }
    return rc >= 0;
}

static int sees(strata *cache, const struct worker *w, int i, char got[32])
{
    char room[32], text[32];
    strata_error err;
    (void)own_key(w, i, room);
    (void)snprintf(text, sizeof text, "%d", w->last[i]);
    int rc = redis_cache_get(cache, room, got, 32, &err);
    return w->last[i] == 0 ? rc == STRATA_MISS : rc == STRATA_OK && strcmp(got, text) == 0;
}

static void *work(void *ctx)
{
    struct worker *w = ctx;
    uint64_t chance = (uint64_t)w->number + 1;
    for (int round = 1; round <= ROUNDS && w->words[0] == '\0'; round++) {
        char got[32] = "";
        chance = chance * 6364136223846793005u + 1442695040888963407u;
        uint32_t what = (uint32_t)(chance >> 33) % 16;
        int i = (int)((chance >> 40) % OWN), before = w->last[i];
        if (!act(w, i, what, round) || ((chance >> 50) % 2 != 0 && !sees(w->cache, w, i, got)))
            (void)snprintf(w->words, sizeof w->words, "thread %d, key %d, round %d, %u, before it %d: \"%s\"",
                           w->number, i, round, (unsigned)what, before, got);
    }
    return NULL;
}

static strata_stats stats_of(strata *cache)
{
    strata_stats s = { .size = sizeof s };
    assert_int_equal(strata_stats_get(cache, &s), STRATA_OK);
    return s;
}

static void settle(strata *cache)
{
    for (int i = 0; stats_of(cache).behind_queued != 0; i++) {
        if (i == LOOKS)
            fail_msg("never written");
        redis_cache_nap(5);
    }
    strata_stats s = stats_of(cache);
    assert_int_equal(s.behind_refused, 0);
    assert_int_equal(s.behind_failed, 0);
    assert_int_equal(s.behind_bytes, 0);
    assert_int_equal(s.sets_behind, s.behind_merged + s.behind_written + s.behind_dropped);
}

static strata *open_small(uint16_t port, uint32_t most, int alone)
{
    char url[256];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    options.write_behind_max_entries = most;
    (void)snprintf(url, sizeof url, "memory:?max_entries=%d | redis://127.0.0.1:%u?prefix=t:&" REDIS_PATIENT,
                   most != 0 ? 8 : 1000, (unsigned)port);
    int rc = alone ? open_url_alone(&cache, url, &options, &err) : strata_open_url(&cache, url, &options, &err);
    if (rc != STRATA_OK)
        fail_msg("%s: %s", url, err.message);
    redis_cache_set(cache, "hello", "x");
    return cache;
}

static void threads(uint32_t most, int alone)
{
    struct redis_server server;
    struct worker workers[THREADS] = { { .number = 0 } };
    strata *node[2];
    char got[32];
    redis_server_start(&server, NULL);
    for (int i = 0; i < 2; i++)
        node[i] = open_small(server.port, most, alone);
    for (int i = 0; i < THREADS; i++) {
        workers[i].number = i;
        workers[i].cache = node[i % 2];
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        if (workers[i].words[0] != '\0')
            fail_msg("%s", workers[i].words);
    for (int i = 0; i < 2; i++)
        settle(node[i]);
    strata *outsider = redis_cache_open("redis://127.0.0.1:%u?prefix=t:&" REDIS_PATIENT, server.port);
    for (int i = 0; i < THREADS * OWN; i++)
        if (!sees(outsider, &workers[i / OWN], i % OWN, got))
            fail_msg("thread %d, key %d: \"%s\", not %d", i / OWN, i % OWN, got, workers[i / OWN].last[i % OWN]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(strata_close(node[i]), STRATA_OK);
    assert_int_equal(strata_close(outsider), STRATA_OK);
    redis_server_stop(&server);
}

static void with_a_bus(void **state)
{
    (void)state;
    threads(0, 0);
}

static void without_one(void **state)
{
    (void)state;
    threads(0, 1);
}

/* Memory evicts, and the queue is always full. */
static void with_little_room(void **state)
{
    (void)state;
    threads(3, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_a_bus),
        cmocka_unit_test(without_one),
        cmocka_unit_test(with_little_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
