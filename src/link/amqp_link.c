/* amqp_link.c - see amqp_link.h: the thread, and the life of its connection.
 *
 * A connection that had worked for a while is made again without a pause; after that the pauses double, and a random part of them
 * keeps the clients of a server that comes back from coming all at the same moment.  While an attempt is under way messages wait for
 * it; once one has failed they fail at once, until another one has not. */
#include "src/link/amqp_link_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/amqp_session.h"
#include "src/os/os_clock.h"
#include "src/os/os_futex.h"
#include "src/os/os_random.h"
#include "src/os/os_socket.h"

enum { ADDRESSES = 8, AT_ONCE = 256, MOST_DOUBLINGS = 30, GOODBYE_MS = 200, GRACE_US = 300 * 1000 };

int strata__amqp_built_in(void) { return 1; }

static void count(_Atomic(uint64_t) *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Is there nothing left to do? */
static int is_over(struct amqp_link *link, int64_t now_us)
{
    os_lock_take(&link->lock);
    int over = link->stopping && (link->ring.waiting == 0 || link->away || now_us >= link->stop_us);
    os_lock_give(&link->lock);
    return over;
}

/* Is the pause before the next attempt over? */
static int may_attempt(struct amqp_link *link)
{
    os_lock_take(&link->lock);
    int roused = link->roused;
    link->roused = 0;
    os_lock_give(&link->lock);
    return roused || strata__os_now_us() >= link->retry_us;
}

void strata__amqp_rouse(struct amqp_link *link)
{
    os_lock_take(&link->lock);
    link->roused = link->away;
    os_lock_give(&link->lock);
    strata__os_wake_signal(&link->wake);
}

static int64_t stops_at(struct amqp_link *link)
{
    os_lock_take(&link->lock);
    int64_t at_us = link->stopping ? link->stop_us : INT64_MAX;
    os_lock_give(&link->lock);
    return at_us;
}

/* Sleep until `until_us`, or somebody wants something, or `fd` (-1: none) is ready. */
static void sleep_for(struct amqp_link *link, int fd, short events, int64_t until_us)
{
    struct pollfd fds[2] = { { .fd = link->wake.read_fd, .events = POLLIN }, { .fd = fd, .events = events } };
    int64_t now_us = strata__os_now_us();
    int64_t left_ms = until_us > now_us ? (until_us - now_us + 999) / 1000 : 0;
    (void)strata__os_poll(fds, 2, left_ms);
    strata__os_wake_clear(&link->wake);
}

/* Losing it --------------------------------------------------------------------------------------------------------- */

static int64_t pause_ms(const struct amqp_link *link)
{
    int64_t least = link->o.backoff_min_ms, most = link->o.backoff_max_ms, pause = least;
    for (uint32_t i = 1; i < link->failures && i < MOST_DOUBLINGS && pause < most; i++)
        pause = pause < most / 2 ? pause * 2 : most;
    return least + (int64_t)(strata__os_random() % (uint64_t)(pause - least + 1));
}

/* Nothing of it waits: TLS would say goodbye to a server that perhaps does not read. */
static void drop_connection(struct amqp_link *link)
{
    os_lock_take(&link->lock);
    int fd = link->fd;
    link->fd = -1;
    os_lock_give(&link->lock);
    if (fd >= 0)
        strata__os_socket_shutdown(fd);
    strata__amqp_session_free(link->session);
    link->session = NULL;
    link->subscribed = 0;
    strata__os_socket_close(fd);
}

/* It is broken, or was not made. */
static void lose(struct amqp_link *link, const strata_error *why)
{
    int was_up = link->subscribed;
    int64_t now_us = strata__os_now_us();
    if (was_up && now_us - link->up_us >= link->o.backoff_max_ms * 1000)
        link->failures = 0;
    int at_once = was_up && link->failures == 0;
    link->failures++;
    atomic_store_explicit(&link->up, 0, memory_order_relaxed);
    drop_connection(link);
    link->retry_us = at_once ? now_us : now_us + pause_ms(link) * 1000;
    os_lock_take(&link->lock);
    int stopping = link->stopping;
    link->away = !at_once || stopping;
    link->reason = *why;
    os_lock_give(&link->lock);
    if (stopping)
        return; /* who stops has perhaps cut it off; the end answers for what is left */
    strata__amqp_ring_fail(link, !at_once, why->status, why);
    link->o.down(link->o.ctx, why);
}

/* Making it --------------------------------------------------------------------------------------------------------- */

/* A connected socket in *out_fd, or -1 and *err. */
static int try_address(struct amqp_link *link, const struct os_address *address, int64_t deadline_us, int *out_fd)
{
    int failed = strata__os_socket_connect(address, out_fd);
    while (failed == EINPROGRESS) {
        struct pollfd one = { .fd = *out_fd, .events = POLLOUT };
        int64_t now_us = strata__os_now_us();
        if (strata__os_poll(&one, 1, 0) > 0)
            failed = strata__os_socket_connected(*out_fd);
        else if (now_us >= deadline_us)
            failed = ETIMEDOUT;
        else if (is_over(link, now_us))
            failed = ECANCELED;
        else
            sleep_for(link, *out_fd, POLLOUT, deadline_us);
    }
    if (failed != 0) {
        strata__os_socket_close(*out_fd);
        *out_fd = -1;
    }
    return failed;
}

static int connect_tcp(struct amqp_link *link, int64_t deadline_us, int *out_fd, strata_error *err)
{
    struct os_address addresses[ADDRESSES];
    size_t found = 0;
    const char *why;
    const struct amqp_link_options *o = &link->o;
    int failed = strata__os_resolve(o->host, (uint16_t)o->port, addresses, ADDRESSES, &found, &why);
    if (failed != 0)
        return strata__fail_os(err, STRATA_EIO, failed, o->name, "no address of %.120s: %.60s: check the host in url",
                               o->host, why);
    for (size_t i = 0; i < found; i++) {
        failed = try_address(link, &addresses[i], deadline_us, out_fd);
        if (failed == 0)
            return STRATA_OK;
    }
    return strata__fail_os(err, failed == ETIMEDOUT ? STRATA_ETIMEDOUT : STRATA_EIO, failed, o->name,
                           "no connection to %.120s:%u: is a RabbitMQ running there?", o->host, (unsigned)o->port);
}

static int make_connection(struct amqp_link *link, int *out_made, strata_error *err)
{
    int64_t deadline_us = strata__os_now_us() + link->o.connect_timeout_ms * 1000;
    int fd = -1, rc = STRATA_OK;
    if (!link->o.tls)
        rc = connect_tcp(link, deadline_us, &fd, err);
    if (rc == STRATA_OK)
        rc = strata__amqp_session_connect(&link->session, &link->o, &fd, deadline_us, err);
    strata__os_socket_close(fd);
    if (rc != STRATA_OK)
        return rc;
    int again = strata__os_socket_again(strata__amqp_session_fd(link->session));
    if (again < 0)
        return strata__fail(err, STRATA_EIO, link->o.name, "no descriptor is left: raise the limit (ulimit -n)");
    os_lock_take(&link->lock);
    link->fd = again;
    os_lock_give(&link->lock);
    if (is_over(link, strata__os_now_us())) /* who stops may have looked for it in vain */
        return strata__fail_plain(err, STRATA_ECLOSED, link->o.name);
    return strata__amqp_session_login(link->session, deadline_us, out_made, err);
}

static void note_up(struct amqp_link *link)
{
    link->subscribed = 1;
    link->up_us = strata__os_now_us();
    link->more = 1;
    link->next_tag = 1;
    count(&link->connects, 1);
    atomic_store_explicit(&link->up, 1, memory_order_relaxed);
    os_lock_take(&link->lock);
    link->away = 0;
    (void)snprintf(link->server, sizeof link->server, "%s", strata__amqp_session_server(link->session));
    os_lock_give(&link->lock);
}

static void tell_lost(struct amqp_link *link, const char *why)
{
    count(&link->losses, 1);
    link->o.lost(link->o.ctx, why);
}

static void attempt(struct amqp_link *link)
{
    strata_error why = STRATA_ERROR_INIT;
    int made = 0;
    atomic_store_explicit(&link->inside, 1, memory_order_release);
    int rc = make_connection(link, &made, &why);
    atomic_store_explicit(&link->inside, 0, memory_order_release);
    if (rc != STRATA_OK) {
        lose(link, &why);
        return;
    }
    note_up(link);
    if (made && !link->knows)
        tell_lost(link,
                  "the durable queue was not there, and has been declared anew: what was published meanwhile is lost");
    link->knows = 0;
    link->o.up(link->o.ctx);
}

/* Using it ---------------------------------------------------------------------------------------------------------- */

static void on_event(struct amqp_link *link, const struct amqp_event *event)
{
    switch (event->kind) {
    case AMQP_DELIVERED:
        count(&link->received, 1);
        count(&link->bytes_in, event->bytes.size);
        link->o.delivered(link->o.ctx, event->bytes);
        break;
    case AMQP_TOO_LARGE:
        tell_lost(link, "a message larger than 128 KiB was skipped: no node of this version sends such");
        break;
    case AMQP_CONFIRMED: strata__amqp_ring_confirm(link, event->tag, event->multiple, 1); break;
    case AMQP_REFUSED: strata__amqp_ring_confirm(link, event->tag, event->multiple, 0); break;
    case AMQP_RETURNED: strata__amqp_ring_returned(link, event->tag); break;
    default: break;
    }
}

/* What is there to read, up to a bound; and then the acknowledgement of what was handed over. */
static int receive(struct amqp_link *link, strata_error *err)
{
    struct amqp_event event = { .kind = AMQP_CONFIRMED };
    uint64_t delivered = 0;
    int rc = STRATA_OK;
    link->more = 1;
    for (int i = 0; i < AT_ONCE && rc == STRATA_OK && link->more; i++) {
        rc = strata__amqp_session_next(link->session, &event, err);
        if (rc != STRATA_OK)
            break;
        if (event.kind == AMQP_DELETED) {
            link->knows = 1;
            tell_lost(link, "the server has deleted this node's queue: it is declared anew");
            return strata__fail(err, STRATA_EIO, link->o.name, "the server has deleted this node's queue");
        }
        if (event.kind == AMQP_DELIVERED || event.kind == AMQP_TOO_LARGE)
            delivered = event.tag;
        link->more = event.kind != AMQP_NOTHING;
        on_event(link, &event);
    }
    return rc == STRATA_OK && delivered != 0 ? strata__amqp_session_ack(link->session, delivered, err) : rc;
}

static void serve(struct amqp_link *link)
{
    strata_error why = STRATA_ERROR_INIT;
    atomic_store_explicit(&link->inside, 1, memory_order_release);
    int rc = strata__amqp_ring_send(link, &why);
    if (rc == STRATA_OK)
        rc = receive(link, &why);
    if (rc == STRATA_OK)
        rc = strata__amqp_ring_send(link, &why); /* what was confirmed has made room */
    atomic_store_explicit(&link->inside, 0, memory_order_release);
    if (rc != STRATA_OK) {
        lose(link, &why);
        return;
    }
    int64_t now_us = strata__os_now_us();
    int64_t until_us = strata__amqp_ring_expire(link, now_us);
    int64_t beat_us = now_us + link->o.heartbeat_ms * 1000 / 4, stop_us = stops_at(link);
    until_us = until_us < beat_us ? until_us : beat_us;
    until_us = until_us < stop_us ? until_us : stop_us;
    if (!link->more && !is_over(link, now_us))
        sleep_for(link, link->fd, POLLIN, until_us);
}

/* The thread -------------------------------------------------------------------------------------------------------- */

static void run(void *ctx)
{
    struct amqp_link *link = ctx;
    strata_error closed;
    while (!is_over(link, strata__os_now_us())) {
        if (link->session != NULL)
            serve(link);
        else if (may_attempt(link))
            attempt(link);
        else
            sleep_for(link, -1, 0, link->retry_us);
    }
    if (link->subscribed)
        strata__amqp_session_goodbye(link->session, GOODBYE_MS);
    atomic_store_explicit(&link->up, 0, memory_order_relaxed);
    drop_connection(link);
    (void)strata__fail_plain(&closed, STRATA_ECLOSED, link->o.name);
    strata__amqp_ring_fail(link, 1, STRATA_ECLOSED, &closed);
    strata__os_unpark(&link->ended);
}

int strata__amqp_open(struct amqp_link **out, const struct amqp_link_options *options, strata_error *err)
{
    *out = NULL;
    struct amqp_link *link = strata__alloc_zero(options->mem, sizeof *link);
    if (link == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, options->name);
    link->o = *options;
    link->fd = -1;
    link->next_tag = 1;
    link->knows = 1; /* nothing is promised before the first time */
    int failed = strata__os_wake_init(&link->wake);
    if (failed == 0) {
        failed = strata__os_thread_start(&link->thread, "strata-amqp", run, link);
        if (failed != 0)
            strata__os_wake_deinit(&link->wake);
    }
    if (failed != 0) {
        strata__free(options->mem, link);
        return strata__fail_os(err, failed == ENOMEM ? STRATA_ENOMEM : STRATA_EIO, failed, options->name,
                               "no thread or descriptor for it: raise the limits of the process");
    }
    *out = link;
    return STRATA_OK;
}

void strata__amqp_stop(struct amqp_link *link, int64_t flush_ms)
{
    if (link->joined)
        return;
    int64_t now_us = strata__os_now_us();
    os_lock_take(&link->lock);
    link->stopping = 1;
    link->stop_us = now_us + (flush_ms > 0 ? flush_ms : 0) * 1000;
    int64_t patience_us = (link->ring.waiting > 0 ? link->stop_us : now_us) + GRACE_US;
    os_lock_give(&link->lock);
    strata__os_wake_signal(&link->wake);
    if (strata__os_park(&link->ended, patience_us) != 0) { /* it waits for a server that does not answer */
        os_lock_take(&link->lock);
        if (link->fd >= 0)
            strata__os_socket_shutdown(link->fd);
        os_lock_give(&link->lock);
    }
    strata__os_thread_join(&link->thread);
    link->joined = 1;
}

static void give_back(struct amqp_link *link)
{
    const strata_allocator *mem = link->o.mem;
    strata__os_wake_deinit(&link->wake);
    strata__free(mem, link->ring.slots);
    strata__free(mem, link);
}

void strata__amqp_close(struct amqp_link *link)
{
    if (link != NULL)
        give_back(link);
}

void strata__amqp_abandon(struct amqp_link *link)
{
    if (link == NULL)
        return;
    /* Closed before the library hears of it, so that TLS says nothing to the parent's server.  Where the thread was just inside the
     * library its structs may be half changed: then they are left alone. */
    strata__os_socket_close(link->fd);
    if (link->session != NULL && atomic_load_explicit(&link->inside, memory_order_acquire) == 0) {
        strata__os_socket_close(strata__amqp_session_fd(link->session));
        strata__amqp_session_free(link->session);
    }
    give_back(link);
}

void strata__amqp_stats(struct amqp_link *link, strata_bus_stats *out)
{
    uint64_t connects = atomic_load_explicit(&link->connects, memory_order_relaxed);
    out->up = atomic_load_explicit(&link->up, memory_order_relaxed);
    out->published = atomic_load_explicit(&link->published, memory_order_relaxed);
    out->failed = atomic_load_explicit(&link->failed, memory_order_relaxed);
    out->received = atomic_load_explicit(&link->received, memory_order_relaxed);
    out->bytes_out = atomic_load_explicit(&link->bytes_out, memory_order_relaxed);
    out->bytes_in = atomic_load_explicit(&link->bytes_in, memory_order_relaxed);
    out->reconnects = connects > 0 ? connects - 1 : 0;
    out->lost = atomic_load_explicit(&link->losses, memory_order_relaxed);
    os_lock_take(&link->lock);
    (void)snprintf(out->server, sizeof out->server, "%s", link->server);
    os_lock_give(&link->lock);
}

void strata__amqp_publish(struct amqp_link *link, strata_slice bytes, void *owner)
{
    strata_error why = STRATA_ERROR_INIT;
    int wake = 0;
    int rc = strata__amqp_ring_push(link, bytes, owner, &wake, &why);
    if (rc != STRATA_OK) {
        count(&link->failed, 1);
        link->o.done(owner, rc, &why);
    } else if (wake) {
        strata__os_wake_signal(&link->wake);
    }
}
