/* bus_member.c - see bus_member.h. */
#include "tests/support/bus_member.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/base/mem.h"
#include "tests/support/cmocka_all.h"

struct bus_timer {
    struct bus_timer *next;
    int64_t due_ms;
    void (*fn)(void *ctx);
    void *ctx;
};

struct bus_sent {
    strata_publish publish;
    strata_error err;
    char bytes[];
};

enum { PATIENCE_S = 120 };

static struct bus_member *self(strata_bus_host *host) { return (struct bus_member *)(void *)host; }

static int64_t real_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What it is told --------------------------------------------------------------------------------------------------- */

static struct bus_member *told(strata_bus_host *host)
{
    struct bus_member *n = self(host);
    pthread_mutex_lock(&n->mutex);
    n->told_late += n->is_stopped;
    return n;
}

static void noted(struct bus_member *n)
{
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->mutex);
}

static void delivered(strata_bus_host *host, strata_slice bytes, strata_slice cursor)
{
    struct bus_member *n = told(host);
    if (n->came_count == n->came_room) {
        n->came_room = n->came_room == 0 ? 64 : 2 * n->came_room;
        n->came = realloc(n->came, n->came_room * sizeof *n->came);
        if (n->came == NULL)
            abort();
    }
    struct bus_came *m = &n->came[n->came_count++];
    m->bytes = malloc(bytes.size + 1);
    if (m->bytes == NULL || cursor.size > 255)
        abort();
    memcpy(m->bytes, bytes.data, bytes.size);
    m->bytes[bytes.size] = '\0';
    m->size = bytes.size;
    m->cursor_size = cursor.size;
    if (cursor.size != 0)
        memcpy(m->cursor, cursor.data, cursor.size);
    noted(n);
}

static void up(strata_bus_host *host)
{
    struct bus_member *n = told(host);
    n->ups++;
    n->is_up = 1;
    noted(n);
}

static void down(strata_bus_host *host, const strata_error *why)
{
    struct bus_member *n = told(host);
    n->downs++;
    n->is_up = 0;
    n->why = *why;
    noted(n);
}

static void lost(strata_bus_host *host, const char *why)
{
    struct bus_member *n = told(host);
    n->losts++;
    (void)snprintf(n->lost_why, sizeof n->lost_why, "%s", why);
    noted(n);
}

static void key_changed(strata_bus_host *host, strata_slice key)
{
    (void)key;
    noted(told(host));
}

static void proven(strata_bus_host *host, int64_t sent_ms)
{
    (void)sent_ms;
    noted(told(host));
}

static int64_t now_ms(strata_bus_host *host)
{
    (void)host;
    return real_ms();
}

static int after(strata_bus_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx)
{
    struct bus_member *n = self(host);
    struct bus_timer *timer = strata__alloc(host->mem, sizeof *timer);
    if (timer == NULL)
        return STRATA_ENOMEM;
    *timer = (struct bus_timer){ NULL, real_ms() + delay_ms, fn, ctx };
    pthread_mutex_lock(&n->mutex);
    struct bus_timer **at = &n->timers;
    while (*at != NULL && (*at)->due_ms <= timer->due_ms)
        at = &(*at)->next;
    timer->next = *at;
    *at = timer;
    noted(n);
    return STRATA_OK;
}

static void wait_a_while(struct bus_member *n, int64_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    (void)pthread_cond_timedwait(&n->changed, &n->mutex, &until);
}

static void *run(void *ctx)
{
    struct bus_member *n = ctx;
    pthread_mutex_lock(&n->mutex);
    while (!n->stopping || n->timers != NULL) {
        struct bus_timer *first = n->timers;
        int64_t left = first != NULL && !n->stopping ? first->due_ms - real_ms() : 0;
        if (first == NULL) {
            pthread_cond_wait(&n->changed, &n->mutex);
        } else if (left > 0) {
            wait_a_while(n, left);
        } else {
            n->timers = first->next;
            n->running = 1;
            pthread_mutex_unlock(&n->mutex);
            first->fn(first->ctx);
            strata__free(n->host.mem, first);
            pthread_mutex_lock(&n->mutex);
            n->running = 0;
            pthread_cond_broadcast(&n->changed);
        }
    }
    pthread_mutex_unlock(&n->mutex);
    return NULL;
}

/* Its life ---------------------------------------------------------------------------------------------------------- */

static void init(struct bus_member *n, const strata_allocator *mem)
{
    memset(n, 0, sizeof *n);
    n->host = (struct strata_bus_host){ .mem = mem != NULL ? mem : &strata__malloc,
                                        .delivered = delivered,
                                        .up = up,
                                        .down = down,
                                        .lost = lost,
                                        .key_changed = key_changed,
                                        .now_ms = now_ms,
                                        .proven = proven,
                                        .after = after };
    pthread_mutex_init(&n->mutex, NULL);
    pthread_cond_init(&n->changed, NULL);
    if (pthread_create(&n->thread, NULL, run, n) != 0)
        abort();
}

/* As a cache does: what was posted has run when close() is called. */
static void end_timers(struct bus_member *n)
{
    pthread_mutex_lock(&n->mutex);
    n->stopping = 1;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->mutex);
    pthread_join(n->thread, NULL);
}

int bus_member_try(struct bus_member *n, strata_bus *bus, const strata_allocator *mem, strata_slice resume,
                   strata_error *err)
{
    static _Atomic(unsigned) nodes;
    char id[16], name[32];
    (void)snprintf(id, sizeof id, "node %08x", atomic_fetch_add(&nodes, 1));
    (void)snprintf(name, sizeof name, "n%u", atomic_load(&nodes));
    const strata_bus_start how = {
        .size = sizeof how, .node_name = name, .node_id = strata_bytes(id, sizeof id), .resume_from = resume
    };
    init(n, mem);
    n->bus = bus;
    int rc = bus->failed.status;
    if (rc < 0)
        *err = bus->failed;
    else
        rc = bus->ops->start(bus, &n->host, &how, err);
    if (rc < 0) {
        end_timers(n);
        strata_bus_free(bus);
        n->bus = NULL;
        bus_member_free(n);
    }
    return rc;
}

void bus_member_start(struct bus_member *n, strata_bus *bus)
{
    strata_error err = STRATA_ERROR_INIT;
    if (bus_member_try(n, bus, NULL, strata_bytes(NULL, 0), &err) < 0)
        fail_msg("%s: %s", err.where, err.message);
}

void bus_member_close(struct bus_member *n, int64_t flush_ms)
{
    n->bus->ops->stop(n->bus, flush_ms);
    pthread_mutex_lock(&n->mutex);
    n->is_stopped = 1;
    assert_int_equal(n->out, 0);
    pthread_mutex_unlock(&n->mutex);
    end_timers(n);
    n->bus->ops->close(n->bus);
    n->bus = NULL;
    assert_int_equal(n->told_late, 0);
}

void bus_member_free(struct bus_member *n)
{
    for (size_t i = 0; i < n->came_count; i++)
        free(n->came[i].bytes);
    free(n->came);
    pthread_mutex_destroy(&n->mutex);
    pthread_cond_destroy(&n->changed);
}

void bus_member_stop(struct bus_member *n)
{
    bus_member_close(n, 1000);
    bus_member_free(n);
}

/* Publishing -------------------------------------------------------------------------------------------------------- */

static void done(strata_publish *publish)
{
    struct bus_sent *sent = (struct bus_sent *)(void *)publish;
    struct bus_member *n = publish->owner;
    pthread_mutex_lock(&n->mutex);
    n->out--;
    n->last_status = publish->status;
    if (publish->status == STRATA_OK) {
        n->good++;
    } else {
        n->bad++;
        n->last_err = sent->err;
    }
    noted(n);
    free(sent);
}

void bus_member_publish(struct bus_member *n, const void *bytes, size_t size)
{
    struct bus_sent *sent = calloc(1, sizeof *sent + size);
    if (sent == NULL)
        abort();
    memcpy(sent->bytes, bytes, size);
    sent->publish = (strata_publish){ .size = sizeof sent->publish,
                                      .bytes = strata_bytes(sent->bytes, size),
                                      .err = &sent->err,
                                      .done = done,
                                      .owner = n };
    pthread_mutex_lock(&n->mutex);
    n->out++;
    pthread_mutex_unlock(&n->mutex);
    n->bus->ops->publish(n->bus, &sent->publish);
}

void bus_member_say(struct bus_member *n, const char *text) { bus_member_publish(n, text, strlen(text)); }

/* Waiting ----------------------------------------------------------------------------------------------------------- */

static long find_locked(const struct bus_member *n, const char *text)
{
    for (size_t i = 0; i < n->came_count; i++)
        if (n->came[i].size == strlen(text) && memcmp(n->came[i].bytes, text, n->came[i].size) == 0)
            return (long)i;
    return -1;
}

static int is_sent(const struct bus_member *n, size_t number, const char *text)
{
    (void)number;
    (void)text;
    return n->out == 0;
}

static int is_came(const struct bus_member *n, size_t number, const char *text)
{
    (void)text;
    return n->came_count >= number;
}

static int is_up(const struct bus_member *n, size_t number, const char *text)
{
    (void)text;
    return n->is_up && n->ups >= number;
}

static int is_down(const struct bus_member *n, size_t number, const char *text)
{
    (void)number;
    return n->downs > 0 && !n->is_up && strstr(n->why.message, text) != NULL;
}

static int is_lost(const struct bus_member *n, size_t number, const char *text)
{
    (void)text;
    return n->losts >= number;
}

static int is_there(const struct bus_member *n, size_t number, const char *text)
{
    (void)number;
    return find_locked(n, text) >= 0;
}

static void wait_for(struct bus_member *n, int (*is)(const struct bus_member *n, size_t number, const char *text),
                     size_t number, const char *text, const char *what)
{
    int64_t until = real_ms() + PATIENCE_S * 1000;
    pthread_mutex_lock(&n->mutex);
    while (!is(n, number, text)) {
        if (real_ms() >= until)
            fail_msg(
                "never %s (%zu, \"%s\"): %zu came, %u up, %u down (%s), %u lost (%s), %u out, %u good, %u bad (%s)",
                what, number, text, n->came_count, n->ups, n->downs, n->why.message, n->losts, n->lost_why, n->out,
                n->good, n->bad, n->last_err.message);
        wait_a_while(n, 1000);
    }
    pthread_mutex_unlock(&n->mutex);
}

void bus_member_wait_sent(struct bus_member *n) { wait_for(n, is_sent, 0, "", "sent"); }

void bus_member_wait_came(struct bus_member *n, size_t count) { wait_for(n, is_came, count, "", "came"); }

void bus_member_wait_up(struct bus_member *n, unsigned times) { wait_for(n, is_up, times, "", "up"); }

void bus_member_wait_down(struct bus_member *n, const char *words) { wait_for(n, is_down, 0, words, "down"); }

void bus_member_wait_lost(struct bus_member *n, unsigned times) { wait_for(n, is_lost, times, "", "lost"); }

void bus_member_wait_text(struct bus_member *n, const char *text) { wait_for(n, is_there, 0, text, "there"); }

long bus_member_find(struct bus_member *n, const char *text)
{
    pthread_mutex_lock(&n->mutex);
    long at = find_locked(n, text);
    pthread_mutex_unlock(&n->mutex);
    return at;
}

void bus_member_say_taken(struct bus_member *n, const char *text)
{
    int64_t until = real_ms() + PATIENCE_S * 1000;
    for (int taken = 0; !taken;) {
        bus_member_say(n, text);
        bus_member_wait_sent(n);
        pthread_mutex_lock(&n->mutex);
        taken = n->last_status == STRATA_OK;
        if (!taken && real_ms() >= until)
            fail_msg("\"%s\" was never taken: %s", text, n->last_err.message);
        if (!taken)
            wait_a_while(n, 20);
        pthread_mutex_unlock(&n->mutex);
    }
}

void bus_member_wait_echo(struct bus_member *n, const char *text)
{
    int64_t until = real_ms() + PATIENCE_S * 1000;
    while (bus_member_find(n, text) < 0) {
        if (real_ms() >= until)
            bus_member_wait_text(n, text); /* says why not */
        bus_member_say(n, text);
        bus_member_wait_sent(n);
        pthread_mutex_lock(&n->mutex);
        if (find_locked(n, text) < 0)
            wait_a_while(n, 20);
        pthread_mutex_unlock(&n->mutex);
    }
}
