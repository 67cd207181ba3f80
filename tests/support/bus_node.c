/* bus_node.c - see bus_node.h. */
#include "tests/support/bus_node.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/base/mem.h"
#include "src/os/os_clock.h"

static struct node *told(strata_bus_host *host)
{
    struct node *n = (struct node *)(void *)host;
    pthread_mutex_lock(&n->mutex);
    n->told_late += n->stopped;
    return n;
}

static void on_delivered(strata_bus_host *host, strata_slice bytes, strata_slice cursor)
{
    struct node *n = told(host);
    assert_int_equal(cursor.size, 0);
    if (n->count < NODE_TEXTS)
        (void)snprintf(n->texts[n->count], NODE_TEXT_BYTES, "%.*s", (int)bytes.size, (const char *)bytes.data);
    n->count++;
    pthread_mutex_unlock(&n->mutex);
}

static void on_up(strata_bus_host *host)
{
    struct node *n = told(host);
    n->ups++;
    pthread_mutex_unlock(&n->mutex);
}

static void on_down(strata_bus_host *host, const strata_error *why)
{
    struct node *n = told(host);
    n->downs++;
    n->why = *why;
    pthread_mutex_unlock(&n->mutex);
}

static void on_lost(strata_bus_host *host, const char *why)
{
    struct node *n = told(host);
    assert_non_null(why);
    n->lost++;
    pthread_mutex_unlock(&n->mutex);
}

static int64_t now_ms(strata_bus_host *host)
{
    (void)host;
    return strata__os_now_ms();
}

int node_start(struct node *n, const char *name, strata_error *err)
{
    const strata_bus_start how = { .size = sizeof how, .node_name = name, .node_id = strata_str("0123456789abcdef") };
    return n->bus->ops->start(n->bus, &n->host, &how, err);
}

struct node *node_make(strata_bus *bus)
{
    struct node *n = calloc(1, sizeof *n);
    assert_non_null(n);
    pthread_mutex_init(&n->mutex, NULL);
    n->host = (strata_bus_host){
        .mem = &strata__malloc, .delivered = on_delivered, .up = on_up, .down = on_down, .lost = on_lost, .now_ms = now_ms
    };
    n->bus = bus;
    if (n->bus->failed.status < 0)
        fail_msg("%s: %s", n->bus->failed.where, n->bus->failed.message);
    return n;
}

struct node *node_open(strata_bus *bus, const char *name)
{
    struct node *n = node_make(bus);
    strata_error err = STRATA_ERROR_INIT;
    if (node_start(n, name, &err) != STRATA_OK)
        fail_msg("%s: %s", err.where, err.message);
    return n;
}

void node_stop(struct node *n, int64_t flush_ms)
{
    if (n->stopped)
        return;
    n->bus->ops->stop(n->bus, flush_ms);
    pthread_mutex_lock(&n->mutex);
    n->stopped = 1;
    pthread_mutex_unlock(&n->mutex);
}

void node_close(struct node *n)
{
    node_stop(n, NODE_FLUSH_MS);
    assert_int_equal(n->told_late, 0);
    n->bus->ops->close(n->bus);
    pthread_mutex_destroy(&n->mutex);
    free(n);
}

struct node *node_open_up(strata_bus *bus, const char *name)
{
    struct node *n = node_open(bus, name);
    until(n, n->ups == 1);
    return n;
}

int node_has(const struct node *n, const char *text)
{
    for (size_t i = 0; i < n->count && i < NODE_TEXTS; i++)
        if (strcmp(n->texts[i], text) == 0)
            return 1;
    return 0;
}

static void on_done(strata_publish *message)
{
    struct out *out = message->owner;
    atomic_store(&out->done, 1);
}

void node_send_bytes(struct node *n, struct out *out, strata_slice bytes)
{
    memset(&out->message, 0, sizeof out->message);
    out->message = (strata_publish){
        .size = sizeof out->message, .bytes = bytes, .err = &out->err, .done = on_done, .owner = out
    };
    atomic_store(&out->done, 0);
    n->bus->ops->publish(n->bus, &out->message);
}

void node_send(struct node *n, struct out *out, const char *format, int number)
{
    memset(out, 0, sizeof *out);
    (void)snprintf(out->text, sizeof out->text, format, number);
    node_send_bytes(n, out, strata_str(out->text));
}

int node_settled(struct out *out)
{
    for (int i = 0; i < NODE_MINUTE_MS && !atomic_load(&out->done); i++)
        (void)nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    if (!atomic_load(&out->done))
        fail_msg("\"%s\" is never done", out->text);
    return out->message.status;
}

void node_send_well(struct node *n, const char *text)
{
    struct out out;
    node_send(n, &out, text, 0);
    if (node_settled(&out) != STRATA_OK)
        fail_msg("%s: %s", text, out.err.message);
}

/* Until one that fails does not. */
void node_send_in_the_end(struct node *n, const char *text)
{
    struct out out;
    for (int i = 0; i < NODE_MINUTE_MS; i++) {
        node_send(n, &out, text, 0);
        if (node_settled(&out) == STRATA_OK)
            return;
        (void)nanosleep(&(struct timespec){ 0, 10000000 }, NULL);
    }
    fail_msg("%s: %s", text, out.err.message);
}
