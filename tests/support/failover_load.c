/* failover_load.c - see failover_load.h. */
#include "tests/support/failover_load.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "strata/strata.h"
#include "tests/support/open_alone.h"

enum { THREADS = 3, KEYS = 32, ROUNDS = 3, PATIENCE = 9000, NAP_MS = 10 };

struct worker {
    pthread_t thread;
    struct failover_load *load;
    int number;
    unsigned long last[KEYS];      /* set, with or without success */
    _Atomic(unsigned long) rounds; /* in which all went well for each key */
    _Atomic(unsigned long) failures;
    char words[160]; /* of the last failure */
};

struct failover_load {
    strata *cache;
    _Atomic(int) stopping;
    /* Odd: servers are changing.  What was begun under another number than it ended may be anything that was ever set. */
    _Atomic(unsigned) phase;
    struct worker workers[THREADS];
};

static _Noreturn void wrong(const char *key, const char *what, unsigned long got, unsigned long want)
{
    (void)fprintf(stderr, "failover_load: %s: %s: %lu, not %lu\n", key, what, got, want);
    abort();
}

static int fails(struct worker *w, const strata_error *err)
{
    atomic_fetch_add(&w->failures, 1);
    if (err->message[0] != '\0')
        (void)snprintf(w->words, sizeof w->words, "%.159s", err->message);
    return 0;
}

/* 1 found, 0 not, -1 an error. */
static int get(struct worker *w, const char *key, unsigned long *out, strata_error *err)
{
    strata_value *v = NULL;
    char text[64] = { 0 }, expected[64];
    int rc = strata_get(w->load->cache, strata_str(key), &v, err);
    if (rc < 0)
        return -1;
    if (rc != STRATA_OK)
        return 0;
    size_t size = strata_value_size(v);
    memcpy(text, strata_value_data(v), size < sizeof text - 1 ? size : sizeof text - 1);
    strata_value_unref(v);
    const char *at = strrchr(text, ' ');
    *out = at != NULL ? strtoul(at, NULL, 10) : 0;
    (void)snprintf(expected, sizeof expected, "%s %lu", key, *out);
    if (strcmp(text, expected) != 0)
        wrong(text, "a value of another key", *out, 0);
    return 1;
}

/* 1: all of it went well. */
static int set_get_delete(struct worker *w, int k)
{
    char key[32], text[64];
    unsigned long n = ++w->last[k], got = 0;
    strata_error err = STRATA_ERROR_INIT;
    unsigned phase = atomic_load(&w->load->phase);
    (void)snprintf(key, sizeof key, "%d:%d", w->number, k);
    (void)snprintf(text, sizeof text, "%s %lu", key, n);
    int set = strata_set(w->load->cache, strata_str(key), strata_str(text), NULL, &err);
    if (set != STRATA_OK)
        return fails(w, &err);
    int there = get(w, key, &got, &err);
    if (there < 0)
        return fails(w, &err);
    int quiet = (phase & 1) == 0 && atomic_load(&w->load->phase) == phase;
    if (there && (got > n || (quiet && got != n)))
        wrong(key, "an old value", got, n);
    if (strata_delete(w->load->cache, strata_str(key), &err) != STRATA_OK)
        return fails(w, &err);
    int back = get(w, key, &got, &err);
    if (back < 0)
        return fails(w, &err);
    quiet = (phase & 1) == 0 && atomic_load(&w->load->phase) == phase;
    if (back && (got > n || quiet))
        wrong(key, "a deleted value", got, 0);
    return there;
}

static void *work(void *ctx)
{
    struct worker *w = ctx;
    while (!atomic_load(&w->load->stopping)) {
        int good = 1;
        for (int k = 0; k < KEYS; k++)
            good &= set_get_delete(w, k);
        if (good)
            atomic_fetch_add(&w->rounds, 1);
        else
            (void)poll(NULL, 0, NAP_MS);
    }
    return NULL;
}

struct failover_load *failover_load_start(const char *url)
{
    struct failover_load *load = calloc(1, sizeof *load);
    strata_error err = STRATA_ERROR_INIT;
    if (load == NULL || open_url_alone(&load->cache, url, NULL, &err) != STRATA_OK) {
        (void)fprintf(stderr, "failover_load: %s: %s\n", url, err.message);
        abort();
    }
    for (int i = 0; i < THREADS; i++) {
        load->workers[i].load = load;
        load->workers[i].number = i;
        if (pthread_create(&load->workers[i].thread, NULL, work, &load->workers[i]) != 0)
            abort();
    }
    return load;
}

void failover_load_expect_work(struct failover_load *load)
{
    unsigned long from[THREADS];
    for (int i = 0; i < THREADS; i++)
        from[i] = atomic_load(&load->workers[i].rounds);
    for (int i = 0, naps = 0; i < THREADS; naps++) {
        struct worker *w = &load->workers[i];
        if (atomic_load(&w->rounds) >= from[i] + ROUNDS) {
            i++;
            continue;
        }
        if (naps > PATIENCE) {
            (void)fprintf(stderr, "failover_load: nothing goes well any more: %s\n", w->words);
            abort();
        }
        (void)poll(NULL, 0, NAP_MS);
    }
}

void failover_load_begin_change(struct failover_load *load) { atomic_fetch_add(&load->phase, 1); }

void failover_load_end_change(struct failover_load *load)
{
    failover_load_expect_work(load);
    atomic_fetch_add(&load->phase, 1);
}

void failover_load_stop(struct failover_load *load)
{
    unsigned long failures = 0, rounds = 0;
    atomic_store(&load->stopping, 1);
    for (int i = 0; i < THREADS; i++) {
        (void)pthread_join(load->workers[i].thread, NULL);
        failures += atomic_load(&load->workers[i].failures);
        rounds += atomic_load(&load->workers[i].rounds);
    }
    strata_close(load->cache);
    (void)printf("failover_load: %lu good rounds of %d keys in %d threads, %lu failures, the last: %s\n", rounds, KEYS,
                 THREADS, failures, load->workers[0].words);
    free(load);
}
