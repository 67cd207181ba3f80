/* bus_ear.c - see bus_ear.h. */
#include "tests/support/bus_ear.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/mem.h"
#include "src/os/os_clock.h"
#include "tests/support/cmocka_all.h"

static struct bus_ear *told(strata_bus_host *host)
{
    struct bus_ear *e = (struct bus_ear *)(void *)host;
    pthread_mutex_lock(&e->mutex);
    e->told_late += e->stopped;
    return e;
}

static void noted(struct bus_ear *e)
{
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->mutex);
}

static void on_delivered(strata_bus_host *host, strata_slice bytes, strata_slice cursor)
{
    struct bus_ear *e = told(host);
    size_t some = bytes.size < EAR_TEXT ? bytes.size : EAR_TEXT - 1;
    char *at = e->texts[e->count++ % EAR_MESSAGES];
    memset(at, 0, EAR_TEXT);
    if (some > 0)
        memcpy(at, bytes.data, some);
    e->bytes += bytes.size;
    e->cursor_size = cursor.size;
    if (cursor.size != 0 && cursor.size <= sizeof e->cursor)
        memcpy(e->cursor, cursor.data, cursor.size);
    noted(e);
}

static void on_up(strata_bus_host *host)
{
    struct bus_ear *e = told(host);
    e->ups++;
    noted(e);
}

static void on_down(strata_bus_host *host, const strata_error *why)
{
    struct bus_ear *e = told(host);
    e->downs++;
    e->down_why = *why;
    noted(e);
}

static void on_lost(strata_bus_host *host, const char *why)
{
    struct bus_ear *e = told(host);
    e->losses++;
    (void)snprintf(e->lost_why, sizeof e->lost_why, "%s", why);
    noted(e);
}

static void on_key(strata_bus_host *host, strata_slice key)
{
    (void)key;
    noted(told(host));
}

static void on_proven(strata_bus_host *host, int64_t sent_ms)
{
    (void)sent_ms;
    noted(told(host));
}

static int64_t now_ms(strata_bus_host *host)
{
    (void)host;
    return strata__os_now_ms();
}

static int after(strata_bus_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx)
{
    (void)host;
    (void)delay_ms;
    (void)fn;
    (void)ctx;
    return STRATA_ECLOSED; /* buses with threads of their own need none */
}

static const unsigned char node_id[16] = { 1, 2, 3 };

int bus_ear_start(struct bus_ear *e, strata_bus *bus, const struct bus_ear_how *how, strata_error *err)
{
    memset(e, 0, sizeof *e);
    e->host = (strata_bus_host){ .mem = &strata__malloc,
                                 .delivered = on_delivered,
                                 .up = on_up,
                                 .down = on_down,
                                 .lost = on_lost,
                                 .key_changed = on_key,
                                 .proven = on_proven,
                                 .now_ms = now_ms,
                                 .after = after };
    e->bus = bus;
    e->texts = calloc(EAR_MESSAGES, sizeof e->texts[0]);
    assert_non_null(e->texts);
    pthread_mutex_init(&e->mutex, NULL);
    pthread_cond_init(&e->changed, NULL);
    int rc = bus->failed.status;
    if (rc == STRATA_OK) {
        strata_bus_start start = { .size = sizeof start,
                                   .node_name = how != NULL ? how->node_name : NULL,
                                   .node_id = strata_bytes(node_id, sizeof node_id),
                                   .resume_from = how != NULL ? how->resume_from : strata_bytes(NULL, 0) };
        rc = bus->ops->start(bus, &e->host, &start, err);
    } else if (err != NULL) {
        *err = bus->failed;
    }
    if (rc == STRATA_OK)
        return rc;
    strata_bus_free(bus);
    free(e->texts);
    e->bus = NULL;
    return rc;
}

void bus_ear_open(struct bus_ear *e, strata_bus *bus, const char *node_name)
{
    strata_error err = STRATA_ERROR_INIT;
    struct bus_ear_how how = { node_name, { NULL, 0 } };
    int rc = bus_ear_start(e, bus, &how, &err);
    if (rc != STRATA_OK)
        fail_msg("the bus does not start: %s: %s", err.where, err.message);
    bus_ear_until_up(e, 1);
}

void bus_ear_close(struct bus_ear *e)
{
    e->bus->ops->stop(e->bus, 1000);
    pthread_mutex_lock(&e->mutex);
    e->stopped = 1;
    pthread_mutex_unlock(&e->mutex);
    strata_bus_free(e->bus);
    pthread_mutex_lock(&e->mutex);
    assert_int_equal(e->told_late, 0);
    pthread_mutex_unlock(&e->mutex);
    pthread_mutex_destroy(&e->mutex);
    pthread_cond_destroy(&e->changed);
    free(e->texts);
}

/* Publishing ------------------------------------------------------------------------------------------------------- */

struct said {
    strata_publish message;
    strata_error err;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int done;
};

static void on_done(strata_publish *message)
{
    struct said *s = message->owner;
    pthread_mutex_lock(&s->mutex);
    s->done++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->mutex);
}

static int say(struct bus_ear *e, strata_slice bytes, strata_error *err)
{
    struct said s = { .done = 0 };
    memset(&s.err, 0, sizeof s.err);
    pthread_mutex_init(&s.mutex, NULL);
    pthread_cond_init(&s.changed, NULL);
    s.message = (strata_publish){
        .size = sizeof s.message, .bytes = bytes, .err = &s.err, .done = on_done, .owner = &s
    };
    e->bus->ops->publish(e->bus, &s.message);
    pthread_mutex_lock(&s.mutex);
    while (!s.done)
        pthread_cond_wait(&s.changed, &s.mutex);
    assert_int_equal(s.done, 1);
    pthread_mutex_unlock(&s.mutex);
    pthread_mutex_destroy(&s.mutex);
    pthread_cond_destroy(&s.changed);
    if (s.message.status < 0) {
        assert_int_equal(s.err.status, s.message.status);
        assert_true(s.err.message[0] != '\0');
    }
    if (err != NULL)
        *err = s.err;
    return s.message.status;
}

int bus_ear_say(struct bus_ear *e, const char *text, strata_error *err) { return say(e, strata_str(text), err); }

void bus_ear_say_surely(struct bus_ear *e, const char *text)
{
    while (bus_ear_say(e, text, NULL) != STRATA_OK)
        nanosleep(&(struct timespec){ 0, 10 * 1000 * 1000 }, NULL);
}

int bus_ear_say_bytes(struct bus_ear *e, size_t size, strata_error *err)
{
    char *bytes = calloc(1, size);
    assert_non_null(bytes);
    memset(bytes, 'x', size);
    int rc = say(e, strata_bytes(bytes, size), err);
    free(bytes);
    return rc;
}

/* Waiting ---------------------------------------------------------------------------------------------------------- */

/* The caller holds the mutex. */
static void wait_a_little(struct bus_ear *e, int64_t began_ms, const char *what)
{
    struct timespec until;
    if (strata__os_now_ms() - began_ms > 30000) {
        int ups = e->ups, downs = e->downs, losses = e->losses;
        size_t count = e->count;
        strata_error why = e->down_why;
        pthread_mutex_unlock(&e->mutex);
        fail_msg("waited in vain for \"%s\": %zu messages, %d times up, %d down, %d lost; last down: %s", what, count,
                 ups, downs, losses, why.message);
    }
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 100 * 1000 * 1000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&e->changed, &e->mutex, &until);
}

static size_t times_locked(struct bus_ear *e, const char *text)
{
    size_t found = 0, held = e->count < EAR_MESSAGES ? e->count : EAR_MESSAGES;
    for (size_t i = 0; i < held; i++)
        found += strcmp(e->texts[i], text) == 0;
    return found;
}

void bus_ear_until_heard(struct bus_ear *e, const char *text)
{
    int64_t began_ms = strata__os_now_ms();
    pthread_mutex_lock(&e->mutex);
    while (times_locked(e, text) == 0)
        wait_a_little(e, began_ms, text);
    pthread_mutex_unlock(&e->mutex);
}

void bus_ear_until_up(struct bus_ear *e, int times)
{
    int64_t began_ms = strata__os_now_ms();
    pthread_mutex_lock(&e->mutex);
    while (e->ups < times)
        wait_a_little(e, began_ms, "up");
    pthread_mutex_unlock(&e->mutex);
}

void bus_ear_until_down(struct bus_ear *e, const char *words)
{
    int64_t began_ms = strata__os_now_ms();
    pthread_mutex_lock(&e->mutex);
    while (e->downs == 0 || strstr(e->down_why.message, words) == NULL)
        wait_a_little(e, began_ms, words);
    pthread_mutex_unlock(&e->mutex);
}

void bus_ear_until_lost(struct bus_ear *e, int times)
{
    int64_t began_ms = strata__os_now_ms();
    pthread_mutex_lock(&e->mutex);
    while (e->losses < times)
        wait_a_little(e, began_ms, "lost");
    pthread_mutex_unlock(&e->mutex);
}

size_t bus_ear_times(struct bus_ear *e, const char *text)
{
    pthread_mutex_lock(&e->mutex);
    size_t found = times_locked(e, text);
    pthread_mutex_unlock(&e->mutex);
    return found;
}

int bus_ear_losses(struct bus_ear *e)
{
    pthread_mutex_lock(&e->mutex);
    int losses = e->losses;
    pthread_mutex_unlock(&e->mutex);
    return losses;
}

int bus_ear_ups(struct bus_ear *e)
{
    pthread_mutex_lock(&e->mutex);
    int ups = e->ups;
    pthread_mutex_unlock(&e->mutex);
    return ups;
}

void bus_ear_forget(struct bus_ear *e)
{
    pthread_mutex_lock(&e->mutex);
    e->count = 0;
    pthread_mutex_unlock(&e->mutex);
}

void bus_ear_stats(struct bus_ear *e, strata_bus_stats *out)
{
    *out = (strata_bus_stats)STRATA_BUS_STATS_INIT;
    e->bus->ops->stats(e->bus, out);
}
