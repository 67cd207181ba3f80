/* nats_read.c - the thread that connects, delivers, and connects again, for as long as the bus is open. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/bus/nats/nats_bus_impl.h"
#include "src/os/os_clock.h"
#include "src/os/os_random.h"

enum { BACKOFF_MIN_MS = 50, BACKOFF_MAX_MS = 2000, LOOK_MS = 500, LENT_LOOK_MS = 100, GREETING_MS = 250 };

/* Where it delivers, how much may wait there: it is taken from there at once, so this is a second of the utmost. */
enum { MOST_WAITING = 262144 };

void strata__nats_say_lost(struct nats_bus *b, const char *why)
{
    nats_count(&b->counts.lost, 1);
    strata_bus_lost(b->host, why);
}

/* Connecting ------------------------------------------------------------------------------------------------------- */

/* The servers of the URL and those that they have named, in turn.  `room` holds the text. */
static struct nats_host choose(const struct nats_bus *b, char room[NATS_HOST_BYTES + 16])
{
    struct nats_host host = b->url.hosts[0];
    size_t i = b->attempts % (b->url.host_count + b->other_count);
    if (i < b->url.host_count)
        return b->url.hosts[i];
    snprintf(room, NATS_HOST_BYTES + 16, "%s", b->others[i - b->url.host_count]);
    struct nats_host named;
    return strata__nats_host_parse(room, &named, NULL) == STRATA_OK ? named : host;
}

static void keep_others(struct nats_bus *b, struct nats_link *link)
{
    char *named[NATS_OTHERS];
    size_t count = strata__nats_others(link, named, NATS_OTHERS, b->mem);
    if (count == 0)
        return;
    for (size_t i = 0; i < b->other_count; i++)
        strata__free(b->mem, b->others[i]);
    memcpy(b->others, named, count * sizeof named[0]);
    b->other_count = count;
}

static int connect_to_one(struct nats_bus *b, struct nats_link **out, strata_error *err)
{
    char room[NATS_HOST_BYTES + 16], server[40] = "";
    struct nats_link_options options = strata__nats_link_options(b);
    struct nats_host host = choose(b, room);
    options.host = host.host;
    options.port = host.port;
    int rc = b->options.connection != NULL ? strata__nats_lend(out, b->options.connection, &options, err)
                                           : strata__nats_connect(out, &options, err);
    if (rc < 0)
        return rc;
    if (b->options.connection != NULL) {
        snprintf(room, sizeof room, "%s", strata__nats_where(*out));
        if (strata__nats_host_parse(room, &host, NULL) != STRATA_OK)
            host.host = NULL;
    }
    if (host.host != NULL)
        strata__nats_greeting(host.host, host.port, GREETING_MS, server, sizeof server);
    keep_others(b, *out);
    os_mutex_lock(&b->lock);
    memcpy(b->server, server, sizeof server);
    os_mutex_unlock(&b->lock);
    return STRATA_OK;
}

/* One that is lent may have been opened so that it does not hear itself; what it hears comes before what answers a flush. */
static int check_echo(struct nats_bus *b, struct nats_link *link, strata_error *err)
{
    char subject[64];
    struct nats_inlet *inlet = NULL;
    struct nats_message message = { .native = NULL };
    int heard = 0, rc = strata__nats_inbox(link, subject, err);
    if (rc == STRATA_OK)
        rc = strata__nats_subscribe(link, subject, 1, &inlet, err);
    if (rc == STRATA_OK)
        rc = strata__nats_publish(link, subject, NULL, strata_str("echo"), err);
    if (rc == STRATA_OK)
        rc = strata__nats_flush(link, b->options.timeout_ms, err);
    if (rc == STRATA_OK)
        heard = strata__nats_next(inlet, 1, &message) == NATS_NEXT_MESSAGE;
    if (heard)
        strata__nats_release(&message);
    strata__nats_unsubscribe(inlet);
    if (rc < 0 || heard)
        return rc;
    return strata__fail(
        err, STRATA_EIO, b->base.name,
        "%s: the connection that the application lends does not echo, by which the bus knows that it is heard: open "
        "it without NoEcho (and with the right to use \"_INBOX.>\")",
        strata__nats_where(link));
}

/* The server has read the subscription when it has answered what was asked behind it. */
static int subscribe_core(struct nats_bus *b, struct nats_link *link, struct nats_inlet **out, strata_error *err)
{
    int rc = b->options.connection != NULL ? check_echo(b, link, err) : STRATA_OK;
    if (rc == STRATA_OK)
        rc = strata__nats_subscribe(link, b->options.subject, MOST_WAITING, out, err);
    if (rc == STRATA_OK)
        rc = strata__nats_flush(link, b->options.timeout_ms, err);
    return rc == STRATA_OK ? strata__nats_forbidden(link, err) : rc;
}

/* Where a stream's answers to what is published arrive. */
static int subscribe_acks(struct nats_link *link, struct nats_inlet **out, char subject[80], strata_error *err)
{
    char inbox[64];
    int rc = strata__nats_inbox(link, inbox, err);
    if (rc < 0)
        return rc;
    snprintf(subject, 80, "%s.*", inbox);
    rc = strata__nats_subscribe(link, subject, 2 * NATS_BATCH, out, err);
    snprintf(subject, 80, "%s.", inbox);
    return rc;
}

/* All that belongs to one connection. */
struct session {
    struct nats_link *link;
    struct nats_inlet *inlet, *acks;
    char ack_subject[80];
};

static void end_session(struct nats_bus *b, struct session *s)
{
    os_mutex_lock(&b->lock);
    b->link = NULL;
    while (b->uses)
        (void)strata__os_cond_wait(&b->changed, &b->lock, INT64_MAX);
    b->inlet = b->acks = NULL;
    os_mutex_unlock(&b->lock);
    strata__nats_unsubscribe(s->inlet);
    strata__nats_unsubscribe(s->acks);
    strata__nats_close(s->link);
    memset(s, 0, sizeof *s);
}

static int begin_session(struct nats_bus *b, struct session *s, strata_error *err)
{
    memset(s, 0, sizeof *s);
    int rc = connect_to_one(b, &s->link, err);
    if (rc < 0)
        return rc;
    os_mutex_lock(&b->lock);
    b->link = s->link; /* for stop(), which need not wait for a server that does not answer */
    os_mutex_unlock(&b->lock);
    if (b->options.jetstream == STRATA_ON) {
        rc = subscribe_acks(s->link, &s->acks, s->ack_subject, err);
        if (rc == STRATA_OK)
            rc = strata__nats_jet_attach(b, s->link, &s->inlet, err);
    } else {
        rc = subscribe_core(b, s->link, &s->inlet, err);
    }
    if (rc < 0)
        end_session(b, s);
    return rc;
}

/* States ----------------------------------------------------------------------------------------------------------- */

static int is_stopping(struct nats_bus *b)
{
    os_mutex_lock(&b->lock);
    int stopping = b->stopping;
    os_mutex_unlock(&b->lock);
    return stopping;
}

/* 0: it stops meanwhile. */
static int go_up(struct nats_bus *b, const struct session *s)
{
    os_mutex_lock(&b->lock);
    int go = !b->stopping;
    if (go) {
        b->inlet = s->inlet;
        b->acks = s->acks;
        memcpy(b->ack_subject, s->ack_subject, sizeof b->ack_subject);
        b->look_again = 0;
        b->state = NATS_STATE_UP;
        strata__os_cond_broadcast(&b->changed);
    }
    os_mutex_unlock(&b->lock);
    if (!go)
        return 0;
    nats_count(&b->counts.connects, 1);
    b->attempts = 0;
    strata_bus_up(b->host);
    return 1;
}

static void go_down(struct nats_bus *b, const strata_error *why)
{
    os_mutex_lock(&b->lock);
    int tell = !b->stopping;
    b->state = NATS_STATE_DOWN;
    b->why = *why;
    strata__os_cond_broadcast(&b->changed);
    os_mutex_unlock(&b->lock);
    if (tell)
        strata_bus_down(b->host, why);
}

/* Twice as long with each failure, and by chance between half of it and all, so that a fleet does not come back as one. */
static void pause_before_next(struct nats_bus *b)
{
    int64_t most = (int64_t)BACKOFF_MIN_MS << (b->attempts < 6 ? b->attempts : 6);
    most = most < BACKOFF_MAX_MS ? most : BACKOFF_MAX_MS;
    int64_t pause = most / 2 + (int64_t)(strata__os_random() % (uint64_t)(most / 2 + 1));
    int64_t until_us = strata__os_now_us() + pause * 1000;
    b->attempts++;
    os_mutex_lock(&b->lock);
    while (!b->stopping && !b->roused && strata__os_now_us() < until_us)
        (void)strata__os_cond_wait(&b->changed, &b->lock, until_us);
    b->roused = 0;
    os_mutex_unlock(&b->lock);
}

/* Delivering ------------------------------------------------------------------------------------------------------- */

static void explain_gone(struct nats_bus *b, struct nats_link *link, strata_error *err)
{
    char text[160];
    os_mutex_lock(&b->lock);
    int look_again = b->look_again;
    os_mutex_unlock(&b->lock);
    if (look_again)
        (void)strata__fail(err, STRATA_EIO, b->base.name, "%s: no stream takes \"%.60s\": it is looked for again",
                           strata__nats_where(link), b->options.subject);
    else if (strata__nats_complaint(link, text, sizeof text))
        (void)strata__fail(err, STRATA_EIO, b->base.name, "%s: the connection is lost: %s", strata__nats_where(link),
                           text);
    else
        (void)strata__fail(err, STRATA_EIO, b->base.name, "%s: the connection is lost: the server has closed it",
                           strata__nats_where(link));
}

static void deliver_core(struct nats_bus *b, const struct nats_message *message)
{
    nats_count(&b->counts.received, 1);
    nats_count(&b->counts.bytes_in, message->bytes.size);
    strata_bus_delivered(b->host, message->bytes, strata_bytes(NULL, 0));
}

/* Until it is over; *err says why. */
static void serve(struct nats_bus *b, struct session *s, strata_error *err)
{
    int jet = b->options.jetstream == STRATA_ON, go_on = 1;
    int64_t look_ms = b->options.connection != NULL ? LENT_LOOK_MS : LOOK_MS;
    while (go_on) {
        struct nats_message message;
        enum nats_next next = strata__nats_next(s->inlet, look_ms, &message);
        if (next == NATS_NEXT_GONE || !strata__nats_is_whole(s->link)) {
            explain_gone(b, s->link, err);
            go_on = 0;
        } else if (next == NATS_NEXT_NOTHING) {
            keep_others(b, s->link); /* a cluster may have grown */
            go_on = !jet || strata__nats_jet_idle(b, s->link, err);
        } else if (next == NATS_NEXT_DROPPED && !jet) {
            strata__nats_say_lost(b, "messages came faster than this process took them");
        } else if (next == NATS_NEXT_MESSAGE && jet) {
            go_on = strata__nats_jet_take(b, s->link, s->inlet, &message, err);
        } else if (next == NATS_NEXT_MESSAGE) {
            deliver_core(b, &message);
        }
        if (next == NATS_NEXT_MESSAGE)
            strata__nats_release(&message);
        go_on = go_on && !is_stopping(b);
    }
}

void strata__nats_reader(void *bus)
{
    struct nats_bus *b = bus;
    struct session session;
    strata_error err;
    while (!is_stopping(b)) {
        memset(&err, 0, sizeof err);
        int rc = begin_session(b, &session, &err);
        if (rc == STRATA_OK) {
            if (go_up(b, &session))
                serve(b, &session, &err);
            keep_others(b, session.link);
        }
        if (err.status == 0)
            (void)strata__fail(&err, STRATA_ECLOSED, b->base.name, "the bus is closed");
        go_down(b, &err);
        if (rc == STRATA_OK)
            end_session(b, &session);
        pause_before_next(b);
    }
    for (size_t i = 0; i < b->other_count; i++)
        strata__free(b->mem, b->others[i]);
    b->other_count = 0;
}
