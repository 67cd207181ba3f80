/* redis_link.c - a link: its thread, and the way in for requests.
 *
 * The thread sleeps in poll until a socket is ready, a moment has come or somebody left work.  Who leaves work wakes it only
 * where it sleeps: `work` is raised before `sleeping` is read here, `sleeping` before `work` there, both sequentially consistent,
 * so one of the two sees the other.  While the thread is busy, requests pile up, and leave in one write. */
#include "src/link/redis_link.h"

#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/link/redis_cluster.h"
#include "src/link/redis_link_impl.h"
#include "src/link/redis_sentinel.h"
#include "src/os/os_clock.h"
#include "src/os/os_futex.h"

void strata__redis_wake(struct redis_link *link)
{
    atomic_store(&link->work, 1);
    if (atomic_load(&link->sleeping) && atomic_exchange(&link->sleeping, 0))
        strata__os_wake_signal(&link->wake);
}

void strata__redis_fail(struct redis_request *request, const strata_error *reason)
{
    request->status = reason->status;
    request->reply = NULL;
    request->err = *reason;
    request->done(request); /* may free it */
}

void strata__redis_fail_all(struct redis_request *list, const strata_error *reason)
{
    while (list != NULL) {
        struct redis_request *next = list->next;
        strata__redis_fail(list, reason);
        list = next;
    }
}

void strata__redis_late(struct redis_conn *c, struct redis_request *list)
{
    if (list == NULL)
        return;
    static const char *const words[] = {
        [REDIS_AWAY] = "not connected in time: is the server there and not stopped?",
        [REDIS_CONNECTING] = "not connected in time: is the server there, and is the way to it open?",
        [REDIS_SECURING] = "no TLS in time: is it spoken at this port (rediss://), and is the server not stopped?",
        [REDIS_GREETING] = "not greeted in time: the server took the connection, and answers nothing: is it stopped?",
        [REDIS_UP] =
            ("no reply in time; whether the server carries it out is not known: look at its load (SLOWLOG GET), "
             "or allow more: "),
        [REDIS_CLOSED] = "no reply in time, and closed by now",
    };
    strata_error why = STRATA_ERROR_INIT;
    (void)strata__fail(&why, STRATA_ETIMEDOUT, c->link->options.name, "%s: %s%s", c->link->address, words[c->state],
                       c->state != REDIS_UP                ? ""
                       : c->link->options.patience != NULL ? c->link->options.patience
                                                           : "soft_timeout_ms of gets, timeout_ms");
    strata__redis_fail_all(list, &why);
}

/* The thread -------------------------------------------------------------------------------------------------------- */

/* What every connection can do now; when to look again. */
static int64_t service_all(struct redis_link *link, int64_t now)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < link->conn_count; i++) {
        int64_t moment = strata__redis_conn_service(&link->conns[i], now);
        next = moment < next ? moment : next;
    }
    return next;
}

static void sleep_until(struct redis_link *link, int64_t now, int64_t next)
{
    link->fds[0] = (struct pollfd){ link->wake.read_fd, POLLIN, 0 };
    for (size_t i = 0; i < link->conn_count; i++) {
        short events = strata__redis_conn_events(&link->conns[i], now, &next);
        link->fds[i + 1] = (struct pollfd){ events != 0 ? link->conns[i].fd : -1, events, 0 };
    }
    for (size_t i = 0; i < link->conn_count; i++)
        link->fds[link->conn_count + i + 1] = (struct pollfd){ link->conns[i].old_fd, POLLIN, 0 }; /* service looks */
    int64_t timeout = next == INT64_MAX ? -1 : next > now ? next - now : 0;
    atomic_store(&link->sleeping, 1);
    if (atomic_load(&link->work))
        timeout = 0; /* and still look at the sockets: whoever submits without end must not starve the replies */
    int ready = strata__os_poll(link->fds, 2 * link->conn_count + 1, timeout);
    atomic_store(&link->sleeping, 0);
    if (ready == 0)
        return;
    if (link->fds[0].revents != 0)
        strata__os_wake_clear(&link->wake);
    now = strata__os_now_ms();
    for (size_t i = 0; i < link->conn_count; i++)
        if (link->fds[i + 1].revents != 0)
            strata__redis_conn_ready(&link->conns[i], now);
}

static int close_all(struct redis_link *link)
{
    size_t closed = 0;
    for (size_t i = 0; i < link->conn_count; i++)
        closed += strata__redis_conn_close(&link->conns[i]) != 0;
    return closed == link->conn_count;
}

static void run(void *ctx)
{
    struct redis_link *link = ctx;
    for (;;) {
        atomic_store(&link->work, 0);
        if (atomic_load(&link->closing)) {
            if (close_all(link))
                return;
            (void)strata__os_poll(NULL, 0, 1); /* callers that have the roles are on their way out */
            continue;
        }
        int64_t now = strata__os_now_ms();
        sleep_until(link, now, service_all(link, now));
    }
}

/* Opening and closing ----------------------------------------------------------------------------------------------- */

static char *keep(char **at, const char *text)
{
    if (text == NULL)
        return NULL;
    size_t size = strlen(text) + 1;
    char *copy = memcpy(*at, text, size);
    *at += size;
    return copy;
}

static size_t size_of(const char *text) { return text != NULL ? strlen(text) + 1 : 0; }

/* Every string of the options: room for all, then each one kept. */
static size_t size_of_strings(const struct redis_link_options *o)
{
    size_t size = 1 + size_of(o->name) + size_of(o->host) + size_of(o->socket_path) + size_of(o->user) +
                  size_of(o->password) + size_of(o->master_name) + size_of(o->sentinel_user) +
                  size_of(o->sentinel_password);
    for (size_t i = 0; i < o->host_count; i++)
        size += size_of(o->hosts[i].host);
    return size;
}

static int keep_options(struct redis_link *link, const struct redis_link_options *options)
{
    struct redis_link_options *own = &link->options;
    *own = *options;
    char *at = link->strings = strata__alloc(link->mem, size_of_strings(options));
    link->hosts = strata__alloc_array(link->mem, options->host_count + 1, sizeof *link->hosts);
    if (at == NULL || link->hosts == NULL)
        return 0;
    own->name = keep(&at, options->name);
    own->host = keep(&at, options->host);
    own->socket_path = keep(&at, options->socket_path);
    own->user = keep(&at, options->user);
    own->password = keep(&at, options->password);
    own->master_name = keep(&at, options->master_name);
    own->sentinel_user = keep(&at, options->sentinel_user);
    own->sentinel_password = keep(&at, options->sentinel_password);
    own->hosts = link->hosts;
    for (size_t i = 0; i < options->host_count; i++)
        link->hosts[i] = (struct redis_host){ keep(&at, options->hosts[i].host), options->hosts[i].port };
    if (own->socket_path != NULL)
        (void)snprintf(link->address, sizeof link->address, "%s", own->socket_path);
    else if (own->master_name != NULL)
        (void)snprintf(link->address, sizeof link->address, "master \"%s\"", own->master_name);
    else if (own->host != NULL)
        (void)snprintf(link->address, sizeof link->address, strchr(own->host, ':') != NULL ? "[%s]:%u" : "%s:%u",
                       own->host, (unsigned)own->port);
    return 1;
}

/* Memory alone; what is not there is NULL. */
static void give_back(struct redis_link *link)
{
    for (size_t i = 0; i < link->conn_count; i++)
        strata__redis_conn_deinit(&link->conns[i]);
    const strata_allocator *mem = link->mem;
    strata__free(mem, link->conns);
    strata__free(mem, link->fds);
    strata__free(mem, link->strings);
    strata__free(mem, link->hosts);
    strata__free(mem, link);
}

static int make_parts(struct redis_link *link, const struct redis_link_options *options)
{
    link->fds = strata__alloc_array(link->mem, 2 * (size_t)options->connections + 1, sizeof *link->fds);
    link->conns = strata__alloc_array(link->mem, options->connections, sizeof *link->conns);
    if (link->fds == NULL || link->conns == NULL)
        return 0;
    for (; link->conn_count < options->connections; link->conn_count++)
        if (!strata__redis_conn_init(&link->conns[link->conn_count], link))
            return 0;
    return 1;
}

int strata__redis_built_in(void) { return 1; }

static int fail_thread(const struct redis_link *link, int failed, strata_error *err)
{
    return strata__fail_os(err, STRATA_EIO, failed, link->options.name,
                           "the thread for %s could not be started (%s): close descriptors or raise the limits "
                           "(ulimit -n, ulimit -u)",
                           link->address, strerror(failed));
}

static int open_alone(struct redis_link *link, const struct redis_link_options *options, strata_error *err)
{
    if (!make_parts(link, options))
        return strata__fail_plain(err, STRATA_ENOMEM, options->name);
    int failed = strata__os_wake_init(&link->wake);
    if (failed != 0)
        return fail_thread(link, failed, err);
    int rc = STRATA_OK;
    if (options->topology == REDIS_SENTINEL)
        rc = strata__redis_sentinel_open(&link->sentinel, link, &link->options, err);
    failed = rc == STRATA_OK ? strata__os_thread_start(&link->thread, "strata-redis", run, link) : 0;
    if (rc == STRATA_OK && failed == 0)
        return STRATA_OK;
    strata__redis_sentinel_close(link->sentinel);
    strata__os_wake_deinit(&link->wake);
    return failed != 0 ? fail_thread(link, failed, err) : rc;
}

int strata__redis_open(struct redis_link **out, const struct redis_link_options *options, strata_error *err)
{
    *out = NULL;
    struct redis_link *link = strata__alloc_zero(options->mem, sizeof *link);
    if (link == NULL)
        return strata__fail_plain(err, STRATA_ENOMEM, options->name);
    link->mem = options->mem;
    int rc;
    if (!keep_options(link, options))
        rc = strata__fail_plain(err, STRATA_ENOMEM, options->name);
    else if (options->topology == REDIS_CLUSTER)
        rc = strata__redis_cluster_open(&link->cluster, &link->options, err);
    else
        rc = open_alone(link, options, err);
    if (rc != STRATA_OK) {
        give_back(link);
        return rc;
    }
    *out = link;
    return STRATA_OK;
}

void strata__redis_hurry(struct redis_link *link)
{
    if (link == NULL)
        return;
    atomic_store(&link->closing, 1);
    strata__redis_wake(link);
}

void strata__redis_stop(struct redis_link *link)
{
    if (link == NULL)
        return;
    strata__redis_hurry(link);
    strata__os_thread_join(&link->thread);
}

/* Somebody may have been answered, and not be out yet. */
static int is_inside(const struct redis_link *link)
{
    for (size_t i = 0; i < link->conn_count; i++)
        if (atomic_load_explicit(&link->conns[i].inside, memory_order_acquire) != 0) /* as strata__redis_conn_close() */
            return 1;
    return 0;
}

void strata__redis_free(struct redis_link *link)
{
    if (link == NULL)
        return;
    while (is_inside(link))
        (void)strata__os_poll(NULL, 0, 1);
    strata__os_wake_deinit(&link->wake);
    give_back(link);
}

void strata__redis_close(struct redis_link *link)
{
    if (link == NULL)
        return;
    if (link->cluster != NULL) {
        strata__redis_cluster_close(link->cluster);
        give_back(link);
        return;
    }
    strata__redis_stop(link);
    strata__redis_sentinel_close(link->sentinel);
    strata__redis_free(link);
}

void strata__redis_abandon(struct redis_link *link)
{
    if (link == NULL)
        return;
    if (link->cluster != NULL) {
        strata__redis_cluster_abandon(link->cluster);
        give_back(link);
        return;
    }
    strata__redis_sentinel_abandon(link->sentinel);
    for (size_t i = 0; i < link->conn_count; i++) {
        struct redis_conn *c = &link->conns[i];
        strata__os_socket_close(c->fd);
        strata__os_socket_close(c->old_fd);
        /* What somebody was just changing when the process forked stays as it is: it belongs to nobody any more. */
        int still = os_lock_try(&c->lock);
        if (!still || c->reading) {
            c->reader = NULL;
            c->in = NULL;
        }
        if (!still || c->writing)
            c->out = (struct redis_buffer){ 0 };
        if (c->tls != NULL && still && !c->reading && !c->writing && strata__redis_session_is_whole(c->tls))
            strata__redis_session_free(c->tls);
        c->tls = NULL;
        if (!still) {
            c->pending = (struct redis_buffer){ 0 };
            c->queue = (struct redis_queue){ 0 };
        }
    }
    strata__os_wake_deinit(&link->wake);
    give_back(link);
}

/* Requests ---------------------------------------------------------------------------------------------------------- */

static struct redis_conn *pick(struct redis_link *link, uint64_t affinity)
{
    return &link->conns[((strata__mix64(affinity) >> 32) * link->conn_count) >> 32];
}

void strata__redis_rouse(struct redis_link *link)
{
    if (link->cluster != NULL) {
        strata__redis_cluster_rouse(link->cluster);
        return;
    }
    for (size_t i = 0; i < link->conn_count; i++) {
        struct redis_conn *c = &link->conns[i];
        os_lock_take(&c->lock);
        c->roused = c->state == REDIS_AWAY;
        os_lock_give(&c->lock);
    }
    strata__redis_wake(link);
}

/* The last that a thread does with a link: it may be closed from here on. */
static void leave(struct redis_conn *c)
{
    /* Release: closing comes after all of what was done here. */
    atomic_fetch_sub_explicit(&c->inside, 1, memory_order_release);
}

void strata__redis_submit(struct redis_link *link, struct redis_request *const *requests, size_t count)
{
    if (link->cluster != NULL) {
        strata__redis_cluster_submit(link->cluster, requests, count);
        return;
    }
    struct redis_conn *last = NULL; /* the connection that keeps the link open for this thread */
    for (size_t i = 0; i < count; i++) {
        struct redis_conn *c = pick(link, requests[i]->affinity);
        (void)strata__redis_enqueue(c, requests[i], 0);
        if (last != NULL)
            leave(last);
        last = c;
    }
    if (last == NULL)
        return;
    strata__redis_wake(link);
    leave(last);
}

void strata__redis_submit_at(struct redis_link *link, uint32_t nth, struct redis_request *request)
{
    struct redis_conn *c = &link->conns[nth];
    (void)strata__redis_enqueue(c, request, 0);
    strata__redis_wake(link);
    leave(c);
}

uint32_t strata__redis_connections(const struct redis_link *link)
{
    return link->cluster == NULL ? (uint32_t)link->conn_count : 0;
}

struct waiter {
    _Atomic(uint32_t) word;
    void (*done)(struct redis_request *request);
    void *owner;
};

static void called(struct redis_request *request)
{
    struct waiter *waiter = request->owner;
    request->done = waiter->done;
    request->owner = waiter->owner;
    request->done(request);
    strata__os_unpark(&waiter->word);
}

/* This thread reads and writes until its own reply is there, and then gives the roles back.  It stops early where the
 * connection is broken or its time is over: the link's thread says so, here as everywhere. */
static void drive(struct redis_conn *c, const struct redis_request *request, int64_t deadline_ms,
                  const struct waiter *waiter)
{
    struct redis_link *link = c->link;
    for (;;) {
        strata__redis_flush(c, 1);
        os_lock_take(&c->lock);
        int broken = c->broken;
        short events = c->blocked ? POLLIN | POLLOUT : POLLIN;
        os_lock_give(&c->lock);
        int64_t now = strata__os_now_ms();
        /* Relaxed: os_park looks again. */
        if (broken || now >= deadline_ms || atomic_load_explicit(&waiter->word, memory_order_relaxed) != 0)
            break;
        struct pollfd fd = { c->fd, events, 0 };
        if (strata__os_poll(&fd, 1, deadline_ms == INT64_MAX ? -1 : deadline_ms - now) > 0 &&
            strata__redis_receive(c, request))
            break;
    }
    os_lock_take(&c->lock);
    c->reading = 0;
    c->unread = c->in_at < c->in_size || c->more || strata__redis_reader_inside(c->reader);
    int left = c->queue.count > 0 || c->broken || c->unread;
    os_lock_give(&c->lock);
    if (left)
        strata__redis_wake(link);
}

static void call_on(struct redis_conn *c, struct redis_request *request)
{
    struct redis_link *link = c->link;
    struct waiter waiter = { .done = request->done, .owner = request->owner };
    atomic_init(&waiter.word, 0);
    request->done = called;
    request->owner = &waiter;
    const int64_t deadline_ms = strata__redis_deadline(request->timeout_ms);
    if (strata__redis_enqueue(c, request, 1))
        drive(c, request, deadline_ms, &waiter);
    else
        strata__redis_wake(link);
    leave(c);
    (void)strata__os_park(&waiter.word, INT64_MAX);
}

void strata__redis_call(struct redis_link *link, struct redis_request *request)
{
    if (link->cluster != NULL)
        strata__redis_cluster_call(link->cluster, request);
    else
        call_on(pick(link, request->affinity), request);
}

static int is_idle(struct redis_conn *c)
{
    os_lock_take(&c->lock);
    int idle = strata__redis_idle_locked(c);
    os_lock_give(&c->lock);
    return idle;
}

void strata__redis_call_anywhere(struct redis_link *link, struct redis_request *request)
{
    if (link->cluster != NULL) {
        strata__redis_cluster_call(link->cluster, request);
        return;
    }
    /* It may have been taken by the time it is asked; nothing is lost then but a change of threads. */
    struct redis_conn *first = pick(link, request->affinity), *c = first;
    for (size_t i = 0; i < link->conn_count && !is_idle(c); i++)
        c = c + 1 < link->conns + link->conn_count ? c + 1 : link->conns;
    call_on(c, request);
}

int strata__redis_gathers(const struct redis_link *link) { return link->cluster == NULL; }

static void settled(struct redis_request *request) { (void)request; }

int strata__redis_settle(struct redis_link *link, int64_t timeout_ms, strata_error *err)
{
    const strata_slice word = strata_str("PING");
    if (link->cluster != NULL)
        return strata__redis_cluster_settle(link->cluster, timeout_ms, err);
    for (size_t i = 0; i < link->conn_count; i++) {
        struct redis_conn *c = &link->conns[i];
        struct redis_request ping = { .args = &word, .arg_count = 1, .timeout_ms = timeout_ms, .done = settled };
        os_lock_take(&c->lock);
        int out = c->queue.count > 0 || c->old_fd >= 0;
        os_lock_give(&c->lock);
        if (!out)
            continue;
        call_on(c, &ping); /* replies come in order: any that comes will do */
        if (ping.status == STRATA_OK)
            continue;
        if (err != NULL)
            *err = ping.err;
        return ping.status;
    }
    return STRATA_OK;
}

int strata__redis_nodes(struct redis_link *link, int64_t timeout_ms, uint32_t *out, size_t room, size_t *out_count,
                        strata_error *err)
{
    if (link->cluster != NULL)
        return strata__redis_cluster_nodes(link->cluster, timeout_ms, out, room, out_count, err);
    *out_count = 1;
    if (room > 0)
        out[0] = 0;
    return STRATA_OK;
}

void strata__redis_counts(const struct redis_link *link, struct redis_link_counts *out)
{
    *out = (struct redis_link_counts){ 0 };
    if (link->cluster != NULL)
        strata__redis_cluster_counts(link->cluster, out);
    for (size_t i = 0; i < link->conn_count; i++) {
        struct redis_conn *c = &link->conns[i];
        os_lock_take(&c->lock);
        out->requests += c->requests;
        out->timeouts += c->timeouts;
        out->connects += c->connects;
        out->disconnects += c->disconnects;
        out->connected += c->state == REDIS_UP;
        os_lock_give(&c->lock);
        out->writes += atomic_load_explicit(&c->writes, memory_order_relaxed); /* counts */
        out->reads += atomic_load_explicit(&c->reads, memory_order_relaxed);
    }
}
