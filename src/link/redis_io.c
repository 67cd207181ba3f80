/* redis_io.c - bytes of a connection, by whoever has the role of the writer or the reader: see redis_link_impl.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/redis_link_impl.h"
#include "src/loop/queue_impl.h"
#include "src/os/os_clock.h"

/* The reader moves what is left of its buffer after each reply: little at a time keeps that cheap. */
enum { FEED_BYTES = 8 * 1024, READS_AT_ONCE = 16 };

void strata__redis_break_locked(struct redis_conn *c, int status, int os_errno, const char *format, ...)
{
    if (c->broken)
        return;
    char what[160];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    const char *at = c->place[0] != '\0' ? " at " : "";
    (void)strata__fail_os(&c->reason, status, os_errno, c->link->options.name, "%s%s%s: %s", c->link->address, at,
                          c->place, what);
    c->broken = 1;
}

/* Without the lock, with the role of the writer: 0 all of `out` is written, EAGAIN, or what went wrong. */
static int write_out(struct redis_conn *c)
{
    if (c->tls != NULL && !c->sealed) {
        int failed = strata__redis_session_seal(c->tls, &c->out);
        if (failed != 0)
            return failed;
        c->sealed = 1;
    }
    while (c->out_at < c->out.size) {
        size_t put;
        int failed = strata__os_socket_write(c->fd, c->out.data + c->out_at, c->out.size - c->out_at, &put);
        atomic_fetch_add_explicit(&c->writes, 1, memory_order_relaxed); /* a count */
        if (failed != 0)
            return failed;
        c->out_at += put;
    }
    return 0;
}

/* TLS has something to say for itself. */
static int owes(const struct redis_conn *c) { return c->tls != NULL && strata__redis_session_owes(c->tls); }

/* Under the lock: is there something to write? */
static int load(struct redis_conn *c)
{
    if (c->out_at < c->out.size)
        return 1;
    /* A greeting is alone on the wire: what is pending waits for its end. */
    int some = c->state == REDIS_UP && strata__redis_queue_load(c, strata__os_now_ms());
    if (!some && owes(c)) {
        c->out.size = c->out_at = 0;
        some = 1;
    }
    if (some)
        c->sealed = 0;
    return some;
}

/* A server that wants a certificate of ours says so behind the handshake, and hangs up: its words may be lost with the rest. */
static const char hung_up[] =
    "TLS: the server hung up right after the handshake: does it want another tls_cert_file of ours?";

static int hangs_up(const struct redis_conn *c) { return c->tls != NULL && c->greetings > 0; }

static void break_writing_locked(struct redis_conn *c, int failed)
{
    if (failed == EPROTO && c->tls != NULL)
        strata__redis_break_locked(c, STRATA_EIO, failed, "%s", strata__redis_session_why(c->tls));
    else if (failed != ENOMEM && hangs_up(c))
        strata__redis_break_locked(c, STRATA_EIO, failed, "%s", hung_up);
    else
        strata__redis_break_locked(c, failed == ENOMEM ? STRATA_ENOMEM : STRATA_EIO, failed,
                                   "the connection was lost (%s); whether the server carried it out is not known",
                                   strerror(failed));
}

void strata__redis_flush(struct redis_conn *c, int rounds)
{
    os_lock_take(&c->lock);
    /* What was read and not looked at yet may be a reply that nobody asked for: it must not meet a request that is written now. */
    int may = (c->state == REDIS_UP || c->state == REDIS_GREETING) && !c->broken && !c->writing && !c->unread;
    if (!may) {
        os_lock_give(&c->lock);
        return;
    }
    c->writing = 1;
    int failed = 0;
    /* What others leave while this writes is found in the next round: one writer, and few writes. */
    while (rounds-- > 0 && failed == 0 && load(c)) {
        os_lock_give(&c->lock);
        failed = write_out(c);
        os_lock_take(&c->lock);
    }
    c->blocked = failed == EAGAIN;
    if (failed != 0 && failed != EAGAIN)
        break_writing_locked(c, failed);
    c->writing = 0;
    int more = failed == 0 && ((c->state == REDIS_UP && c->pending.size > 0) || owes(c));
    os_lock_give(&c->lock);
    if (more)
        strata__redis_wake(c->link);
}

static void break_now(struct redis_conn *c, int status, int os_errno, const char *what, const char *more)
{
    os_lock_take(&c->lock);
    strata__redis_break_locked(c, status, os_errno, "%s%s", what, more);
    os_lock_give(&c->lock);
}

/* A master that was made a replica keeps its connections, where it was told so by hand: the new one is elsewhere. */
static void look_for_demotion_locked(struct redis_conn *c, const struct redisReply *reply)
{
    static const char word[] = "READONLY";
    if (strata__redis_kind(reply) != REDIS_IS_ERROR)
        return;
    strata_slice text = strata__redis_text(reply);
    if (text.size >= sizeof word - 1 && memcmp(text.data, word, sizeof word - 1) == 0)
        strata__redis_break_locked(c, STRATA_EIO, 0, "is a replica now; the Sentinels are asked for the master");
}

/* A reply for the first of the queue; c->told says how that went. */
static void hand_out(struct redis_conn *c, const struct redisReply *reply)
{
    struct redis_request *request = NULL;
    os_lock_take(&c->lock);
    int expected = strata__redis_queue_pop(c, &request);
    if (expected && c->link->sentinel != NULL)
        look_for_demotion_locked(c, reply);
    if (expected)
        c->failures = 0;
    else
        strata__redis_break_locked(
            c, STRATA_EIO, 0, "sent a reply that nobody asked for; the connection is made anew: is it a Redis server?");
    os_lock_give(&c->lock);
    c->told = !expected ? -1 : request != NULL && request == c->stop;
    if (request != NULL) {
        request->status = STRATA_OK;
        request->reply = reply;
        request->mark = &c->mark;
        request->done(request); /* may free it */
    }
}

static void lend(void *ctx, const struct redisReply *reply) { hand_out(ctx, reply); }

/* "message", its channel, and what it says. */
static int is_push(const struct redisReply *reply)
{
    const strata_slice kind = strata_str("message");
    if (strata__redis_kind(reply) != REDIS_IS_ARRAY || strata__redis_count(reply) != 3 ||
        strata__redis_kind(strata__redis_at(reply, 0)) != REDIS_IS_TEXT ||
        strata__redis_kind(strata__redis_at(reply, 2)) != REDIS_IS_TEXT)
        return 0;
    strata_slice first = strata__redis_text(strata__redis_at(reply, 0));
    return first.size == kind.size && memcmp(first.data, kind.data, kind.size) == 0;
}

/* One reply, for whom it is: as take_replies(). */
static int give(struct redis_conn *c, struct redisReply *reply)
{
    if (reply == strata__redis_lent)
        return c->told; /* while it was read */
    const struct redis_link_options *o = &c->link->options;
    if (o->caught != NULL && o->caught(o->ctx, reply)) {
        c->told = 0;
    } else if (o->pushed != NULL && is_push(reply)) {
        c->told = 0;
        o->pushed(o->ctx, strata__redis_text(strata__redis_at(reply, 2)));
    } else if (c->greetings > 0) {
        c->told = 0;
        strata__redis_greeted(c, reply);
    } else {
        hand_out(c, reply);
    }
    strata__redis_reply_free(reply);
    return c->told;
}

/* All replies in what was read: 1 when that of c->stop was among them, 0: none is left, -1: broken. */
static int take_replies(struct redis_conn *c)
{
    for (;;) {
        struct redisReply *reply;
        const char *why;
        c->replies.lend = c->greetings > 0 ? NULL : lend;
        int got = strata__redis_reader_next(c->reader, &reply, &why);
        if (got < 0) {
            break_now(c, got == -ENOMEM ? STRATA_ENOMEM : STRATA_EIO, -got,
                      "its reply could not be read; the connection is made anew: ", why);
            return -1;
        }
        if (got > 0) {
            int told = give(c, reply);
            if (told != 0)
                return told;
            continue;
        }
        if (c->in_at == c->in_size)
            return 0;
        size_t some = c->in_size - c->in_at;
        some = some < FEED_BYTES ? some : FEED_BYTES;
        if (!strata__redis_reader_feed(c->reader, c->in + c->in_at, some)) {
            break_now(c, STRATA_ENOMEM, ENOMEM, "no memory for a reply", "");
            return -1;
        }
        c->in_at += some;
    }
}

/* Those who wait for a queue are woken once for all that was read. */
static int take_all_replies(struct redis_conn *c)
{
    strata__queue_hold();
    int told = take_replies(c);
    strata__queue_let_go();
    return told;
}

static void ended(struct redis_conn *c)
{
    const char *how = strata__redis_reader_inside(c->reader) ? "closed the connection in the middle of a reply"
                                                             : "closed the connection";
    break_now(c, STRATA_EIO, 0, how, "; whether it carried out what was on its way is not known");
}

/* As strata__os_socket_read(), into `in`. */
static int read_in(struct redis_conn *c, size_t *out_got)
{
    atomic_fetch_add_explicit(&c->reads, 1, memory_order_relaxed); /* a count */
    return c->tls == NULL ? strata__os_socket_read(c->fd, c->in, REDIS_IN_ROOM, out_got)
                          : strata__redis_session_read(c->tls, c->fd, c->in, REDIS_IN_ROOM, out_got, &c->more);
}

static void lost(struct redis_conn *c, int failed)
{
    if (failed == ENOMEM)
        break_now(c, STRATA_ENOMEM, failed, "no memory for what it sent", "");
    else if (failed != EPROTO && hangs_up(c))
        break_now(c, STRATA_EIO, failed, hung_up, "");
    else if (failed == 0)
        ended(c);
    else if (failed == EPROTO && c->tls != NULL)
        break_now(c, STRATA_EIO, failed, strata__redis_session_why(c->tls), "");
    else
        break_now(c, STRATA_EIO, failed, "the connection was lost: ", strerror(failed));
}

static int receive(struct redis_conn *c)
{
    for (int round = 0; round < READS_AT_ONCE || c->more; round++) {
        int told = take_all_replies(c); /* the last reader may have left some */
        if (told != 0)
            return told > 0;
        size_t got;
        int failed = read_in(c, &got);
        if (failed == EAGAIN)
            return 0;
        if (failed != 0 || got == 0) {
            lost(c, failed);
            return 0;
        }
        atomic_store_explicit(&c->heard_ms, strata__os_now_ms(), memory_order_relaxed);
        c->in_at = 0;
        c->in_size = got;
        if (got < REDIS_IN_ROOM && c->tls == NULL)
            break;
    }
    return take_all_replies(c) > 0; /* nothing may stay: the socket need not become readable again */
}

int strata__redis_receive(struct redis_conn *c, const struct redis_request *stop)
{
    c->stop = stop;
    int told = receive(c);
    if (owes(c))
        strata__redis_flush(c, 1);
    return told;
}

int strata__redis_idle_locked(const struct redis_conn *c)
{
    return c->state == REDIS_UP && c->queue.count == 0 && !c->broken && !c->reading && !c->writing && !c->unread &&
           c->in_at == c->in_size && !c->more;
}

int64_t strata__redis_deadline(int64_t timeout_ms)
{
    int64_t now = strata__os_now_ms();
    return timeout_ms < INT64_MAX - now ? now + timeout_ms : INT64_MAX;
}

int strata__redis_enqueue(struct redis_conn *c, struct redis_request *request, int may_read)
{
    strata_error why = STRATA_ERROR_INIT;
    request->status = STRATA_OK;
    request->reply = NULL;
    request->next = NULL;
    request->deadline_ms = strata__redis_deadline(request->timeout_ms);
    os_lock_take(&c->lock);
    /* Relaxed: counted under the lock, which whoever waits for zero has taken before. */
    atomic_fetch_add_explicit(&c->inside, 1, memory_order_relaxed);
    int status = STRATA_OK, borrow = 0;
    if (c->state == REDIS_CLOSED) {
        status = strata__fail_plain(&why, STRATA_ECLOSED, c->link->options.name);
    } else if (c->state == REDIS_AWAY && !c->roused) {
        why = c->reason;
        status = STRATA_EIO;
    } else {
        borrow = may_read && strata__redis_idle_locked(c);
        status = strata__redis_queue_push(c, request, &why);
    }
    borrow = borrow && status == STRATA_OK;
    if (borrow) {
        c->reading = 1;
        c->borrowed++;
    }
    os_lock_give(&c->lock);
    if (status != STRATA_OK)
        strata__redis_fail(request, &why);
    return borrow;
}
