/* redis_conn.c - the life of a connection, all of it on the link's thread: connect, greet, watch, lose, wait, connect again.
 *
 * Whoever waits in the queue of an attempt that fails is told at once, and so is who asks before the next one.  A connection that
 * had worked is made again without a pause; after that the pauses double, from backoff_min_ms to backoff_max_ms, and a random part
 * of them keeps the clients of a server that comes back from coming all at the same moment.
 *
 * What was on its way on a connection that is given up may still be carried out: it waits in the server's buffers, in a tunnel,
 * or is sent again by the kernel.  What is asked on the next connection must not overtake it: a delete, of a value that then
 * comes back.  So only our half is closed at first.  The server reads to its end, carries out what is there, and closes the
 * other half; that is awaited before the next connection is used.  A server that answers there, and has not closed the old one
 * within connect_timeout_ms, will hardly ever get what it has not got yet: the old one is reset. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/link/redis_link_impl.h"
#include "src/link/redis_sentinel.h"
#include "src/os/os_clock.h"
#include "src/os/os_random.h"

/* For how long a connection that callers read from is left to them without a look. */
enum { WATCH_AGAIN_MS = 100, MOST_DOUBLINGS = 30, WRITE_ROUNDS = 4 };

int strata__redis_conn_init(struct redis_conn *c, struct redis_link *link)
{
    c->link = link;
    c->fd = c->old_fd = -1;
    c->state = REDIS_CONNECTING;
    c->earliest_ms = INT64_MAX;
    c->replies.mem = link->mem;
    c->replies.ctx = c;
    atomic_init(&c->inside, 0);
    atomic_init(&c->heard_ms, 0);
    c->in = strata__alloc(link->mem, REDIS_IN_ROOM);
    return c->in != NULL;
}

void strata__redis_conn_deinit(struct redis_conn *c)
{
    const strata_allocator *mem = c->link->mem;
    strata__redis_reader_free(c->reader);
    strata__redis_buffer_free(mem, &c->pending);
    strata__redis_buffer_free(mem, &c->out);
    strata__free(mem, c->queue.slots);
    strata__free(mem, c->in);
}

static void set_state(struct redis_conn *c, enum redis_state state)
{
    os_lock_take(&c->lock);
    c->state = state;
    os_lock_give(&c->lock);
}

/* Losing it --------------------------------------------------------------------------------------------------------- */

/* How long to wait after so many attempts in a row. */
static int64_t pause_ms(const struct redis_link *link, uint32_t failures)
{
    int64_t least = link->options.backoff_min_ms > 0 ? link->options.backoff_min_ms : 1;
    int64_t most = link->options.backoff_max_ms > least ? link->options.backoff_max_ms : least;
    int64_t pause = least;
    for (uint32_t i = 0; i < failures && i < MOST_DOUBLINGS && pause < most; i++)
        pause = pause < most / 2 ? pause * 2 : most;
    return least + (int64_t)(strata__os_random() % (uint64_t)(pause - least + 1));
}

/* Nobody has a role any more: TLS says that nothing comes, where it is not in the middle of something, and is over. */
static void end_session(struct redis_conn *c)
{
    if (c->tls != NULL && c->out_at == c->out.size && c->fd >= 0)
        strata__redis_session_goodbye(c->tls, c->fd);
    strata__redis_session_free(c->tls);
    c->tls = NULL;
}

/* The socket and what stands half-way on it. */
static void drop_socket(struct redis_conn *c)
{
    strata__os_socket_close(c->fd);
    c->fd = -1;
    strata__redis_reader_free(c->reader);
    c->reader = NULL;
    strata__redis_buffer_reset(c->link->mem, &c->out);
    c->out_at = c->in_at = c->in_size = c->greetings = 0;
    c->sealed = c->more = 0;
}

/* What was on its way may be carried out yet: keep the socket until the server is through with it.  There is no other that is
 * kept: a connection is used only after its predecessor is over. */
static void keep_old(struct redis_conn *c)
{
    strata__os_socket_finish(c->fd);
    c->old_fd = c->fd;
    c->fd = -1;
}

static void forget_old(struct redis_conn *c)
{
    os_lock_take(&c->lock);
    c->old_fd = -1;
    os_lock_give(&c->lock);
}

/* Is the server through with what came before? */
static void watch_old(struct redis_conn *c)
{
    char thrown_away[4096];
    size_t got;
    while (c->old_fd >= 0) {
        int failed = strata__os_socket_read(c->old_fd, thrown_away, sizeof thrown_away, &got);
        if (failed == EAGAIN)
            return;
        if (failed == 0 && got > 0)
            continue;
        strata__os_socket_close(c->old_fd);
        forget_old(c);
    }
}

/* It is broken, and nobody has a role: close it, tell those who are out, and say when to try again. */
static void lose(struct redis_conn *c, int64_t now)
{
    end_session(c);
    os_lock_take(&c->lock);
    int was_up = c->state == REDIS_UP;
    if (was_up && now - c->up_ms >= c->link->options.backoff_max_ms)
        c->failures = 0; /* a server that closes idle connections is not sick */
    int at_once = was_up && c->failures == 0;
    c->failures++;
    strata_error why = c->reason;
    if (c->queue.sent > 0)
        keep_old(c);
    struct redis_request *list = strata__redis_queue_drop(c, at_once ? c->queue.sent : c->queue.count);
    c->disconnects += was_up != 0;
    c->state = at_once ? REDIS_CONNECTING : REDIS_AWAY;
    c->broken = c->blocked = c->unread = c->roused = 0;
    c->address_count = 0;
    c->retry_ms = now + pause_ms(c->link, c->failures);
    drop_socket(c);
    os_lock_give(&c->lock);
    strata__redis_fail_all(list, &why);
    if (c->link->options.lost != NULL)
        c->link->options.lost(c->link->options.ctx, &why);
}

static void fail_attempt(struct redis_conn *c, int64_t now, int os_errno, const char *what, const char *advice)
{
    os_lock_take(&c->lock);
    strata__redis_break_locked(c, os_errno == ENOMEM ? STRATA_ENOMEM : STRATA_EIO, os_errno, "%s: %s", what, advice);
    os_lock_give(&c->lock);
    lose(c, now);
}

/* Making it --------------------------------------------------------------------------------------------------------- */

static void greet(struct redis_conn *c, int64_t now)
{
    os_lock_take(&c->lock); /* nobody else looks at these yet; but see strata__redis_abandon() */
    c->replies.foreign = 0;
    c->replies.resp3 = c->link->options.resp3;
    atomic_store(&c->mark.life, 0);
    atomic_store(&c->mark.told_ms, 0);
    atomic_store(&c->mark.asked_ms, 0);
    atomic_store(&c->mark.offset_ms, 0);
    atomic_store(&c->mark.seen, 0);
    atomic_store(&c->mark.followed, 0);
    c->reader = strata__redis_reader_new(&c->replies);
    int good = c->reader != NULL && strata__redis_greeting(c);
    os_lock_give(&c->lock);
    if (!good) {
        fail_attempt(c, now, ENOMEM, "no memory for a connection", "free some; it is tried again");
        return;
    }
    set_state(c, REDIS_GREETING);
    strata__redis_flush(c, WRITE_ROUNDS);
}

static void shake(struct redis_conn *c, int64_t now)
{
    int failed = strata__redis_session_shake(c->tls, c->fd, &c->shake_events);
    if (failed == EAGAIN)
        return;
    if (failed == 0) {
        greet(c, now);
        return;
    }
    os_lock_take(&c->lock);
    strata__redis_break_locked(c, failed == ENOMEM ? STRATA_ENOMEM : STRATA_EIO, failed, "%s",
                               strata__redis_session_why(c->tls));
    os_lock_give(&c->lock);
    lose(c, now);
}

/* There is a socket: TLS first, where there is to be any. */
static void connected(struct redis_conn *c, int64_t now)
{
    const struct redis_link_options *o = &c->link->options;
    if (o->tls == NULL || o->socket_path != NULL) {
        greet(c, now);
        return;
    }
    c->tls = strata__redis_session_new(o->tls, c->link->mem, c->link->sentinel != NULL ? c->found_host : o->host);
    if (c->tls == NULL) {
        fail_attempt(c, now, ENOMEM, "no memory for TLS", "free some; it is tried again");
        return;
    }
    set_state(c, REDIS_SECURING);
    shake(c, now);
}

static void try_next(struct redis_conn *c, int64_t now, int os_errno)
{
    while (c->address_at < c->address_count) {
        os_errno = strata__os_socket_connect(&c->address[c->address_at++], &c->fd);
        if (os_errno == EINPROGRESS)
            return;
        if (os_errno == 0) {
            connected(c, now);
            return;
        }
    }
    fail_attempt(c, now, os_errno, strerror(os_errno), "is the server running, and is this its address?");
}

/* 1: where the Sentinels say that the master is; 0: they are being asked, or nobody says, and the attempt has failed. */
static int find_master(struct redis_conn *c, int64_t now, struct redis_place *out)
{
    struct redis_sentinel *s = c->link->sentinel;
    strata_error why = STRATA_ERROR_INIT;
    uint32_t generation;
    if (!c->asking) {
        c->ticket = strata__redis_sentinel_ask(s);
        c->asking = 1;
    }
    int found = strata__redis_sentinel_find(s, c->ticket, out, &generation, &why);
    if (found == 0)
        return 0;
    c->asking = 0;
    os_lock_take(&c->lock);
    c->found = generation;
    c->place[0] = '\0';
    if (found > 0)
        (void)snprintf(c->place, sizeof c->place, "%.60s:%u", out->host, (unsigned)out->port);
    os_lock_give(&c->lock);
    if (found < 0)
        fail_attempt(c, now, why.status == STRATA_ENOMEM ? ENOMEM : why.os_errno, "no Sentinel says where it is",
                     why.message);
    return found > 0;
}

static void begin(struct redis_conn *c, int64_t now)
{
    const struct redis_link_options *o = &c->link->options;
    const char *why = "";
    struct redis_place place;
    int failed;
    c->address_at = c->address_count = 0;
    if (c->link->sentinel != NULL && !find_master(c, now, &place))
        return;
    if (o->socket_path != NULL) {
        failed = strata__os_address_unix(o->socket_path, &c->address[0]);
        c->address_count = failed == 0;
    } else {
        int is_found = c->link->sentinel != NULL;
        (void)snprintf(c->found_host, sizeof c->found_host, "%s", is_found ? place.host : "");
        failed = strata__os_resolve(is_found ? place.host : o->host, is_found ? place.port : (uint16_t)o->port,
                                    c->address, REDIS_ADDRESSES, &c->address_count, &why);
    }
    now = strata__os_now_ms(); /* name servers took their time */
    c->connect_deadline_ms = now + o->connect_timeout_ms;
    if (failed != 0) {
        fail_attempt(c, now, failed, why[0] != '\0' ? why : strerror(failed),
                     "the address cannot be used: correct it, or look at the name servers");
        return;
    }
    try_next(c, now, 0);
}

/* Greeted: it is up once nothing can come behind what is asked on it.  When to look again. */
static int64_t pass_fence(struct redis_conn *c, int64_t now)
{
    if (c->old_fd >= 0 && now < c->fence_ms)
        return c->fence_ms;
    strata__os_socket_reset(c->old_fd);
    os_lock_take(&c->lock);
    c->old_fd = -1;
    if (c->link->sentinel != NULL && !strata__redis_sentinel_holds(c->link->sentinel, c->found))
        strata__redis_break_locked(c, STRATA_EIO, 0, "the Sentinels have made another server the master");
    if (!c->broken) {
        c->state = REDIS_UP;
        c->up_ms = now;
        c->connects++;
    }
    os_lock_give(&c->lock);
    strata__redis_flush(c, WRITE_ROUNDS);
    return INT64_MAX;
}

/* The thread's rounds ----------------------------------------------------------------------------------------------- */

/* only_unread: only where a caller left something. */
static void take_and_receive(struct redis_conn *c, int only_unread)
{
    os_lock_take(&c->lock);
    int may = (c->unread || !only_unread) && !c->reading && !c->broken &&
              (c->state == REDIS_UP || c->state == REDIS_GREETING);
    if (may) {
        c->reading = 1;
        c->unread = 0;
    }
    os_lock_give(&c->lock);
    if (!may)
        return;
    (void)strata__redis_receive(c, NULL);
    os_lock_take(&c->lock);
    c->reading = 0;
    os_lock_give(&c->lock);
}

/* Break it where nothing was heard for too long; those whose time is over are told. */
static int64_t watch_time(struct redis_conn *c, int64_t now)
{
    os_lock_take(&c->lock);
    struct redis_request *late = strata__redis_queue_expire(c, now);
    int64_t next = c->earliest_ms;
    if (c->state == REDIS_UP && c->queue.sent > 0) {
        int64_t heard = atomic_load_explicit(&c->heard_ms, memory_order_relaxed);
        int64_t silent = c->longest_ms < INT64_MAX / 4 ? 2 * c->longest_ms : INT64_MAX / 2;
        if (now - heard > silent)
            strata__redis_break_locked(c, STRATA_EIO, ETIMEDOUT,
                                       "silent for %lld ms; the connection is made anew: is the server stopped?",
                                       (long long)(now - heard));
        else if (heard + silent + 1 < next)
            next = heard + silent + 1;
    }
    os_lock_give(&c->lock);
    strata__redis_late(c, late);
    return next;
}

static int64_t service_connecting(struct redis_conn *c, int64_t now)
{
    if (c->fd < 0) {
        begin(c, now);
        if (c->asking)
            return INT64_MAX; /* woken */
        return c->state == REDIS_AWAY ? c->retry_ms : c->connect_deadline_ms;
    }
    if (c->state == REDIS_GREETING && c->greetings == 0)
        return pass_fence(c, now);
    if (c->state == REDIS_GREETING)
        strata__redis_flush(c, WRITE_ROUNDS); /* what an answer has led to */
    if (now < c->connect_deadline_ms)
        return c->connect_deadline_ms;
    if (c->state == REDIS_SECURING)
        fail_attempt(c, now, ETIMEDOUT, "TLS: no answer in the handshake",
                     "is TLS spoken at this port, and is the server not stopped?");
    else
        fail_attempt(c, now, ETIMEDOUT,
                     c->state == REDIS_GREETING ? "did not answer AUTH, SELECT or PING in time" : "no answer",
                     "is the server there and not stopped, and is the way to it open?");
    return c->retry_ms;
}

/* 1: it is broken, and may be lost now. */
static int may_lose(struct redis_conn *c)
{
    os_lock_take(&c->lock);
    int broken = c->broken, free = !c->reading && !c->writing;
    os_lock_give(&c->lock);
    if (broken && !free)
        strata__os_socket_shutdown(c->fd); /* a caller waits for it: it comes back, and wakes us */
    return broken && free;
}

static void end_pause(struct redis_conn *c, int64_t now)
{
    os_lock_take(&c->lock);
    if (c->roused || now >= c->retry_ms) {
        c->state = REDIS_CONNECTING;
        c->roused = 0;
    }
    os_lock_give(&c->lock);
}

int64_t strata__redis_conn_service(struct redis_conn *c, int64_t now)
{
    int64_t next = watch_time(c, now), moment = INT64_MAX;
    take_and_receive(c, 1);
    watch_old(c);
    if (may_lose(c))
        lose(c, now);
    if (c->state == REDIS_AWAY)
        end_pause(c, now);
    if (c->state == REDIS_CONNECTING || c->state == REDIS_SECURING || c->state == REDIS_GREETING)
        moment = service_connecting(c, now);
    else if (c->state == REDIS_AWAY)
        moment = c->retry_ms;
    else
        strata__redis_flush(c, WRITE_ROUNDS);
    return moment < next ? moment : next;
}

/* Callers read by themselves, and would wake this thread for nothing: it looks away as long as they keep coming. */
static int looks_away(struct redis_conn *c, int64_t now, int64_t *next)
{
    if (c->state != REDIS_UP || c->queue.count > 0 || c->borrowed == c->seen_borrowed)
        return 0;
    if (now - c->seen_ms >= WATCH_AGAIN_MS) {
        c->seen_borrowed = c->borrowed;
        c->seen_ms = now;
    }
    *next = now + WATCH_AGAIN_MS < *next ? now + WATCH_AGAIN_MS : *next;
    return 1;
}

short strata__redis_conn_events(struct redis_conn *c, int64_t now, int64_t *next)
{
    short events = 0;
    os_lock_take(&c->lock);
    if (c->broken && !c->reading && !c->writing)
        *next = now;
    else if (c->state == REDIS_CONNECTING && c->fd >= 0)
        events = POLLOUT;
    else if (c->state == REDIS_SECURING)
        events = c->shake_events;
    else if (!c->broken && (c->state == REDIS_UP || c->state == REDIS_GREETING)) {
        if (!c->reading && !looks_away(c, now, next))
            events |= POLLIN;
        if (c->blocked && !c->writing)
            events |= POLLOUT;
    }
    os_lock_give(&c->lock);
    return events;
}

void strata__redis_conn_ready(struct redis_conn *c, int64_t now)
{
    if (c->state == REDIS_CONNECTING) {
        int failed = strata__os_socket_connected(c->fd);
        if (failed == 0) {
            connected(c, now);
            return;
        }
        strata__os_socket_close(c->fd);
        c->fd = -1;
        try_next(c, now, failed);
        return;
    }
    if (c->state == REDIS_SECURING) {
        shake(c, now);
        return;
    }
    strata__redis_flush(c, WRITE_ROUNDS);
    take_and_receive(c, 0);
}

int strata__redis_conn_close(struct redis_conn *c)
{
    struct redis_request *list = NULL;
    os_lock_take(&c->lock);
    if (!c->broken) /* those with a role give up */
        strata__redis_break_locked(c, STRATA_ECLOSED, 0, "the cache is closed");
    int free = !c->reading && !c->writing; /* and will be: it is broken */
    if (c->fd >= 0 && !free)
        strata__os_socket_shutdown(c->fd);
    os_lock_give(&c->lock);
    strata_error why = STRATA_ERROR_INIT;
    if (free)
        end_session(c);
    os_lock_take(&c->lock);
    if (free) {
        list = strata__redis_queue_drop(c, c->queue.count);
        c->state = REDIS_CLOSED;
        drop_socket(c);
        strata__os_socket_close(c->old_fd);
        c->old_fd = -1;
    }
    os_lock_give(&c->lock);
    (void)strata__fail_plain(&why, STRATA_ECLOSED, c->link->options.name);
    strata__redis_fail_all(list, &why);
    /* Acquire: pairs with the release of who left last. */
    return free && atomic_load_explicit(&c->inside, memory_order_acquire) == 0;
}
