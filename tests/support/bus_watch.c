/* bus_watch.c - see bus_watch.h. */
#include "tests/support/bus_watch.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/support/cmocka_all.h"

static struct bus_watch *self(strata_bus_host *host) { return (struct bus_watch *)(void *)host; }

/* Locked from here to the unlock of each: a bus may tell from any thread. */
static struct bus_watch *told(strata_bus_host *host)
{
    struct bus_watch *w = self(host);
    pthread_mutex_lock(&w->mutex);
    w->told_late += w->stopped;
    return w;
}

static void on_delivered(strata_bus_host *host, strata_slice bytes, strata_slice cursor)
{
    (void)bytes;
    (void)cursor;
    pthread_mutex_unlock(&told(host)->mutex);
}

static void on_up(strata_bus_host *host)
{
    struct bus_watch *w = told(host);
    w->ups++;
    pthread_mutex_unlock(&w->mutex);
}

static void on_down(strata_bus_host *host, const strata_error *why)
{
    struct bus_watch *w = told(host);
    w->downs++;
    w->why = *why;
    pthread_mutex_unlock(&w->mutex);
}

static void on_lost(strata_bus_host *host, const char *why)
{
    struct bus_watch *w = told(host);
    (void)why;
    w->lost++;
    pthread_mutex_unlock(&w->mutex);
}

static void on_key(strata_bus_host *host, strata_slice key)
{
    struct bus_watch *w = told(host);
    char *at = w->keys[w->key_count % WATCHED_KEYS];
    if (key.size == 0) {
        w->all++;
    } else {
        size_t some = key.size < WATCHED_BYTES ? key.size : WATCHED_BYTES - 1;
        memset(at, 0, WATCHED_BYTES);
        for (size_t i = 0; i < some; i++)
            at[i] = ((const char *)key.data)[i] != '\0' ? ((const char *)key.data)[i] : '.';
        w->key_count++;
    }
    pthread_mutex_unlock(&w->mutex);
}

static void on_proven(strata_bus_host *host, int64_t sent_ms)
{
    struct bus_watch *w = told(host);
    w->proven = sent_ms;
    pthread_mutex_unlock(&w->mutex);
}

static int64_t now_ms(strata_bus_host *host) { return atomic_load(&self(host)->times.now_ms); }

static int after(strata_bus_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx)
{
    struct test_host *times = &self(host)->times;
    return times->host.after(&times->host, delay_ms, fn, ctx);
}

void bus_watch_start(struct bus_watch *w, strata_bus *bus)
{
    const strata_bus_start how = { .size = sizeof how, .node_id = strata_str("0123456789abcdef") };
    strata_error err = STRATA_ERROR_INIT;
    memset(w, 0, sizeof *w);
    pthread_mutex_init(&w->mutex, NULL);
    test_host_start(&w->times, NULL);
    test_host_keep_delays(&w->times);
    w->host = (strata_bus_host){ .mem = w->times.host.mem,
                                 .delivered = on_delivered,
                                 .up = on_up,
                                 .down = on_down,
                                 .lost = on_lost,
                                 .key_changed = on_key,
                                 .now_ms = now_ms,
                                 .proven = on_proven,
                                 .after = after };
    w->bus = bus;
    if (bus->failed.status < 0)
        fail_msg("%s: %s", bus->failed.where, bus->failed.message);
    if (bus->ops->start(bus, &w->host, &how, &err) != STRATA_OK)
        fail_msg("%s: %s", err.where, err.message);
}

void bus_watch_stop(struct bus_watch *w)
{
    w->bus->ops->stop(w->bus, 0);
    pthread_mutex_lock(&w->mutex);
    w->stopped = 1;
    pthread_mutex_unlock(&w->mutex);
    test_host_cut(&w->times);
    test_host_drain(&w->times);
    assert_int_equal(w->told_late, 0);
    w->bus->ops->close(w->bus);
    test_host_stop(&w->times);
    pthread_mutex_destroy(&w->mutex);
}

/* Waiting ---------------------------------------------------------------------------------------------------------- */

enum until { UP, DOWN, ALL, KEY, PROVEN };

static size_t seen_locked(const struct bus_watch *w, const char *key)
{
    size_t seen = 0, count = w->key_count < WATCHED_KEYS ? w->key_count : WATCHED_KEYS;
    for (size_t i = 0; i < count; i++)
        seen += strcmp(w->keys[i], key) == 0;
    return seen;
}

static int is_so(struct bus_watch *w, enum until until, int64_t number, const char *text)
{
    pthread_mutex_lock(&w->mutex);
    int so = until == UP     ? w->ups >= number
             : until == DOWN ? w->downs > 0 && strstr(w->why.message, text) != NULL
             : until == ALL  ? w->all >= number
             : until == KEY  ? seen_locked(w, text) > 0
                             : w->proven >= number;
    pthread_mutex_unlock(&w->mutex);
    return so;
}

static void wait_until(struct bus_watch *w, enum until until, int64_t number, const char *text, int64_t step_ms)
{
    for (int i = 0; i < 60000; i++) {
        if (is_so(w, until, number, text))
            return;
        if (step_ms > 0)
            test_host_advance(&w->times, step_ms);
        (void)nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    }
    fail_msg("never (%s, %lld); %d up, %d down (%s), %d all, %zu keys, the last \"%s\"", text, (long long)number,
             w->ups, w->downs, w->why.message, w->all, w->key_count,
             w->key_count > 0 ? w->keys[(w->key_count - 1) % WATCHED_KEYS] : "");
}

void bus_watch_until_up(struct bus_watch *w, int times) { wait_until(w, UP, times, "up", 0); }

void bus_watch_until_down(struct bus_watch *w, const char *words) { wait_until(w, DOWN, 0, words, 0); }

void bus_watch_until_all(struct bus_watch *w, int times) { wait_until(w, ALL, times, "all", 0); }

void bus_watch_until_key(struct bus_watch *w, const char *key) { wait_until(w, KEY, 0, key, 0); }

void bus_watch_until_proven(struct bus_watch *w, int64_t heartbeat_ms)
{
    wait_until(w, PROVEN, atomic_load(&w->times.now_ms) + 1, "proven", heartbeat_ms);
}

size_t bus_watch_seen(struct bus_watch *w, const char *key)
{
    pthread_mutex_lock(&w->mutex);
    size_t seen = seen_locked(w, key);
    pthread_mutex_unlock(&w->mutex);
    return seen;
}

struct bus_told bus_watch_told(struct bus_watch *w)
{
    pthread_mutex_lock(&w->mutex);
    struct bus_told told_so_far = { w->key_count, w->all, w->ups, w->downs, w->lost, w->proven, w->why };
    pthread_mutex_unlock(&w->mutex);
    return told_so_far;
}

void bus_watch_forget(struct bus_watch *w)
{
    pthread_mutex_lock(&w->mutex);
    w->key_count = 0;
    memset(w->keys, 0, sizeof w->keys);
    pthread_mutex_unlock(&w->mutex);
}
