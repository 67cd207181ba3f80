/* delay_proxy.c - see delay_proxy.h.
 *
 * A connection is two streams.  A stream is what was read from one side and waits for its time to be written to the other: a
 * list of chunks, each with the moment it came in plus the delay of then.  A side that ends is told to the other one in the same
 * order, behind the last byte.  The thread sleeps in poll until a descriptor is ready, a chunk is due or a setting has changed. */
#if !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* ppoll: delays are exact to less than a millisecond */
#endif
#include "tests/support/delay_proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* READ_MOST is what one chunk holds, HELD_MOST what a stream keeps before its side is read no further. */
enum { PAIRS_MOST = 512, READ_MOST = 64 * 1024, HELD_MOST = 8 * 1024 * 1024 };

struct chunk {
    struct chunk *next;
    int64_t due_us;
    size_t size, sent;
    char bytes[];
};

struct stream {
    struct chunk *first, **last;
    size_t held;
    int64_t next_us;  /* trickling: not before */
    int64_t ended_us; /* the side that is read from has ended: told to the other one then; 0 not yet */
    int over;         /* told */
    int full;         /* the other side took no more: wait for POLLOUT */
};

struct pair {
    int client_fd, server_fd; /* -1: free */
    int64_t number;
    struct stream up, down; /* to the server, to the client */
};

struct settings {
    int64_t up_us, down_us, trickle_us;
    int64_t cut_at;  /* reply bytes still to go; < 0: none */
    int64_t holding; /* a pair's number; < 0: none */
    int stalled, refusing;
    uint16_t to_port;
};

struct delay_proxy {
    pthread_t thread;
    int listen_fd, wake_fds[2];
    uint16_t port;
    pthread_mutex_t lock; /* of what stands below, up to the line */
    struct settings now;
    struct delay_proxy_counts counts;
    uint64_t held; /* in the pair that is held */
    int stopping, cut_all;
    /* ---- the thread's own */
    struct settings s; /* of this turn */
    int64_t made;      /* pairs */
    struct pair pairs[PAIRS_MOST];
    struct pollfd fds[2 + 2 * PAIRS_MOST];
    char room[READ_MOST];
};

static _Noreturn void give_up(const char *what)
{
    (void)fprintf(stderr, "delay_proxy: %s: %s\n", what, strerror(errno));
    abort();
}

static int64_t now_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static struct sockaddr_in at_port(uint16_t port)
{
    struct sockaddr_in name = { .sin_family = AF_INET, .sin_port = htons(port) };
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return name;
}

/* Streams --------------------------------------------------------------------------------------------------------- */

static void stream_init(struct stream *s)
{
    memset(s, 0, sizeof *s);
    s->last = &s->first;
}

static void stream_push(struct stream *s, const char *bytes, size_t size, int64_t due_us)
{
    struct chunk *c = malloc(sizeof *c + size);
    if (c == NULL)
        give_up("no memory");
    c->next = NULL;
    c->due_us = due_us;
    c->size = size;
    c->sent = 0;
    memcpy(c->bytes, bytes, size);
    *s->last = c;
    s->last = &c->next;
    s->held += size;
}

static void stream_shift(struct stream *s)
{
    struct chunk *c = s->first;
    s->first = c->next;
    if (s->first == NULL)
        s->last = &s->first;
    free(c);
}

static void stream_empty(struct stream *s)
{
    while (s->first != NULL)
        stream_shift(s);
    stream_init(s);
}

/* Pairs ----------------------------------------------------------------------------------------------------------- */

/* A reset, so that nobody takes it for an orderly end. */
static void reset_fd(int fd)
{
    const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    (void)close(fd);
}

static void drop(struct pair *p)
{
    (void)close(p->client_fd);
    (void)close(p->server_fd);
    p->client_fd = p->server_fd = -1;
    stream_empty(&p->up);
    stream_empty(&p->down);
}

static void cut(struct delay_proxy *proxy, struct pair *p)
{
    reset_fd(p->client_fd);
    reset_fd(p->server_fd);
    p->client_fd = p->server_fd = -1;
    stream_empty(&p->up);
    stream_empty(&p->down);
    (void)pthread_mutex_lock(&proxy->lock);
    proxy->counts.cut++;
    (void)pthread_mutex_unlock(&proxy->lock);
}

static void quick(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static struct pair *free_pair(struct delay_proxy *proxy)
{
    for (size_t i = 0; i < PAIRS_MOST; i++)
        if (proxy->pairs[i].client_fd < 0)
            return &proxy->pairs[i];
    return NULL;
}

static void count_new(struct delay_proxy *proxy, int handed_on)
{
    (void)pthread_mutex_lock(&proxy->lock);
    proxy->counts.connections += handed_on != 0;
    proxy->counts.refused += handed_on == 0;
    (void)pthread_mutex_unlock(&proxy->lock);
}

static void accept_one(struct delay_proxy *proxy)
{
    int fd = accept(proxy->listen_fd, NULL, NULL);
    struct pair *p = free_pair(proxy);
    struct sockaddr_in to = at_port(proxy->s.to_port);
    if (fd < 0)
        return;
    int server_fd = proxy->s.refusing || p == NULL ? -1 : socket(AF_INET, SOCK_STREAM, 0);
    /* On this machine: it takes no time, or nobody listens there. */
    if (server_fd < 0 || connect(server_fd, (struct sockaddr *)(void *)&to, sizeof to) != 0) {
        if (server_fd >= 0)
            (void)close(server_fd);
        reset_fd(fd);
        count_new(proxy, 0);
        return;
    }
    quick(fd);
    quick(server_fd);
    p->client_fd = fd;
    p->server_fd = server_fd;
    stream_init(&p->up);
    stream_init(&p->down);
    p->number = proxy->made++;
    count_new(proxy, 1);
}

/* 0: the pair is gone. */
static int take_in(struct delay_proxy *proxy, struct pair *p, struct stream *s, int fd, int64_t delay_us)
{
    ssize_t got = recv(fd, proxy->room, sizeof proxy->room, 0);
    if (got > 0) {
        stream_push(s, proxy->room, (size_t)got, now_us() + delay_us);
    } else if (got == 0) {
        s->ended_us = now_us() + delay_us;
    } else if (errno != EAGAIN && errno != EINTR) {
        cut(proxy, p);
        return 0;
    }
    return 1;
}

/* How much of this chunk may go now: 0 where it is to be cut before its next byte. */
static size_t may_go(const struct delay_proxy *proxy, const struct stream *s, int is_reply)
{
    size_t left = s->first->size - s->first->sent;
    if (!is_reply)
        return left;
    if (proxy->s.trickle_us > 0)
        left = 1;
    if (proxy->s.cut_at >= 0 && (int64_t)left > proxy->s.cut_at)
        left = (size_t)proxy->s.cut_at;
    return left;
}

static void count_bytes(struct delay_proxy *proxy, int is_reply, size_t bytes)
{
    (void)pthread_mutex_lock(&proxy->lock);
    if (is_reply)
        proxy->counts.to_client_bytes += bytes;
    else
        proxy->counts.to_server_bytes += bytes;
    if (is_reply && proxy->s.cut_at >= 0 && proxy->now.cut_at == proxy->s.cut_at)
        proxy->now.cut_at = proxy->s.cut_at -= (int64_t)bytes;
    else
        proxy->s.cut_at = proxy->now.cut_at; /* it was set anew meanwhile */
    (void)pthread_mutex_unlock(&proxy->lock);
}

static void cut_is_done(struct delay_proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->lock);
    if (proxy->now.cut_at == 0)
        proxy->now.cut_at = -1;
    proxy->s.cut_at = proxy->now.cut_at;
    (void)pthread_mutex_unlock(&proxy->lock);
}

/* Writes what is due.  0: the pair is gone. */
static int hand_on(struct delay_proxy *proxy, struct pair *p, struct stream *s, int fd, int is_reply)
{
    int64_t now = now_us();
    s->full = 0;
    while (s->first != NULL && s->first->due_us <= now && s->next_us <= now) {
        struct chunk *c = s->first;
        size_t some = may_go(proxy, s, is_reply);
        if (some == 0) {
            cut_is_done(proxy);
            cut(proxy, p);
            return 0;
        }
        ssize_t sent = send(fd, c->bytes + c->sent, some, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            s->full = 1;
            return 1;
        }
        if (sent < 0) {
            cut(proxy, p);
            return 0;
        }
        count_bytes(proxy, is_reply, (size_t)sent);
        c->sent += (size_t)sent;
        s->held -= (size_t)sent;
        if (is_reply && proxy->s.trickle_us > 0)
            s->next_us = now + proxy->s.trickle_us;
        if (c->sent == c->size)
            stream_shift(s);
    }
    if (s->first == NULL && s->ended_us != 0 && s->ended_us <= now && !s->over) {
        s->over = 1;
        (void)shutdown(fd, SHUT_WR);
    }
    return 1;
}

/* The thread ------------------------------------------------------------------------------------------------------ */

static int64_t sooner(int64_t a, int64_t b) { return a < b ? a : b; }

/* When there is something to write next. */
static int64_t next_due(const struct stream *s)
{
    if (s->first != NULL)
        return s->full ? INT64_MAX : s->first->due_us > s->next_us ? s->first->due_us : s->next_us;
    return s->ended_us != 0 && !s->over ? s->ended_us : INT64_MAX;
}

static short wanted(const struct stream *from_here, const struct stream *to_here, int stalled)
{
    if (stalled)
        return 0;
    return (short)((from_here->ended_us == 0 && from_here->held < HELD_MOST ? POLLIN : 0) |
                   (to_here->full ? POLLOUT : 0));
}

/* Fills fds, one place a descriptor; returns when to wake at the latest. */
static int64_t prepare(struct delay_proxy *proxy)
{
    int64_t due = INT64_MAX;
    proxy->fds[0] = (struct pollfd){ .fd = proxy->wake_fds[0], .events = POLLIN };
    proxy->fds[1] = (struct pollfd){ .fd = proxy->listen_fd, .events = POLLIN };
    for (size_t i = 0; i < PAIRS_MOST; i++) {
        struct pair *p = &proxy->pairs[i];
        struct pollfd *fds = &proxy->fds[2 + 2 * i];
        fds[0] = (struct pollfd){ .fd = -1 };
        fds[1] = fds[0];
        if (p->client_fd < 0 || proxy->s.stalled)
            continue;
        fds[0].events = wanted(&p->up, &p->down, 0);
        fds[1].events = wanted(&p->down, &p->up, 0);
        fds[0].fd = fds[0].events != 0 ? p->client_fd : -1; /* or a side that has ended would wake it for ever */
        fds[1].fd = fds[1].events != 0 ? p->server_fd : -1;
        due = sooner(due, next_due(&p->up));
        if (p->number != proxy->s.holding)
            due = sooner(due, next_due(&p->down));
    }
    return due;
}

static void note_held(struct delay_proxy *proxy, uint64_t bytes)
{
    (void)pthread_mutex_lock(&proxy->lock);
    if (proxy->now.holding == proxy->s.holding)
        proxy->held = bytes;
    (void)pthread_mutex_unlock(&proxy->lock);
}

static void turn_pair(struct delay_proxy *proxy, struct pair *p, const struct pollfd *fds)
{
    if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
        if (!take_in(proxy, p, &p->up, p->client_fd, proxy->s.up_us))
            return;
    if (fds[1].revents & (POLLIN | POLLHUP | POLLERR))
        if (!take_in(proxy, p, &p->down, p->server_fd, proxy->s.down_us))
            return;
    if (!hand_on(proxy, p, &p->up, p->server_fd, 0))
        return;
    if (p->number == proxy->s.holding)
        note_held(proxy, p->down.held);
    else if (!hand_on(proxy, p, &p->down, p->client_fd, 1))
        return;
    if (p->up.over && p->down.over)
        drop(p);
}

static int take_settings(struct delay_proxy *proxy, int *cuts_all)
{
    char bytes[64];
    while (read(proxy->wake_fds[0], bytes, sizeof bytes) > 0) {}
    (void)pthread_mutex_lock(&proxy->lock);
    int stops = proxy->stopping;
    *cuts_all = proxy->cut_all || stops;
    proxy->cut_all = 0;
    proxy->s = proxy->now;
    (void)pthread_mutex_unlock(&proxy->lock);
    return !stops;
}

static void *run(void *ctx)
{
    struct delay_proxy *proxy = ctx;
    int cuts_all = 0;
    for (;;) {
        int goes_on = take_settings(proxy, &cuts_all);
        for (size_t i = 0; cuts_all && i < PAIRS_MOST; i++)
            if (proxy->pairs[i].client_fd >= 0)
                cut(proxy, &proxy->pairs[i]);
        if (!goes_on)
            return NULL;
        int64_t due = prepare(proxy), wait_us = due == INT64_MAX ? 0 : due - now_us();
        struct timespec wait = { .tv_sec = wait_us > 0 ? wait_us / 1000000 : 0,
                                 .tv_nsec = wait_us > 0 ? wait_us % 1000000 * 1000 : 0 };
        if (ppoll(proxy->fds, 2 + 2 * PAIRS_MOST, due == INT64_MAX ? NULL : &wait, NULL) < 0 && errno != EINTR)
            give_up("poll");
        if (proxy->fds[0].revents != 0)
            continue; /* the settings first */
        for (size_t i = 0; i < PAIRS_MOST; i++)
            if (proxy->pairs[i].client_fd >= 0 && !proxy->s.stalled)
                turn_pair(proxy, &proxy->pairs[i], &proxy->fds[2 + 2 * i]);
        if (proxy->fds[1].revents != 0)
            accept_one(proxy);
    }
}

/* For its owner --------------------------------------------------------------------------------------------------- */

struct delay_proxy *delay_proxy_start(uint16_t to_port)
{
    struct delay_proxy *p = calloc(1, sizeof *p);
    struct sockaddr_in name = at_port(0);
    socklen_t size = sizeof name;
    sigset_t all, old;
    if (p == NULL)
        give_up("no memory");
    p->now.to_port = to_port;
    p->now.cut_at = p->now.holding = -1;
    for (size_t i = 0; i < PAIRS_MOST; i++)
        p->pairs[i].client_fd = p->pairs[i].server_fd = -1;
    p->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
    if (p->listen_fd < 0 || bind(p->listen_fd, (struct sockaddr *)(void *)&name, sizeof name) != 0 ||
        getsockname(p->listen_fd, (struct sockaddr *)(void *)&name, &size) != 0 || listen(p->listen_fd, 128) != 0 ||
        pipe(p->wake_fds) != 0 || pthread_mutex_init(&p->lock, NULL) != 0)
        give_up("it cannot listen");
    p->port = ntohs(name.sin_port);
    quick(p->listen_fd);
    quick(p->wake_fds[0]);
    quick(p->wake_fds[1]);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the program's */
    int rc = pthread_create(&p->thread, NULL, run, p);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        give_up("no thread");
    return p;
}

uint16_t delay_proxy_port(const struct delay_proxy *p) { return p->port; }

/* The lock is held; gives it back. */
static void changed(struct delay_proxy *p)
{
    (void)pthread_mutex_unlock(&p->lock);
    while (write(p->wake_fds[1], "", 1) < 0 && errno == EINTR) {} /* a full pipe wakes as well */
}

void delay_proxy_stop(struct delay_proxy *p)
{
    if (p == NULL)
        return;
    (void)pthread_mutex_lock(&p->lock);
    p->stopping = 1;
    changed(p);
    (void)pthread_join(p->thread, NULL);
    (void)close(p->listen_fd);
    (void)close(p->wake_fds[0]);
    (void)close(p->wake_fds[1]);
    (void)pthread_mutex_destroy(&p->lock);
    free(p);
}

void delay_proxy_delay(struct delay_proxy *p, int64_t to_server_ms, int64_t to_client_ms)
{
    (void)pthread_mutex_lock(&p->lock);
    p->now.up_us = to_server_ms * 1000;
    p->now.down_us = to_client_ms * 1000;
    changed(p);
}

void delay_proxy_stall(struct delay_proxy *p, int on)
{
    (void)pthread_mutex_lock(&p->lock);
    p->now.stalled = on;
    changed(p);
}

void delay_proxy_hold(struct delay_proxy *p, int64_t connection)
{
    (void)pthread_mutex_lock(&p->lock);
    p->now.holding = connection;
    p->held = 0;
    changed(p);
}

uint64_t delay_proxy_held(struct delay_proxy *p)
{
    (void)pthread_mutex_lock(&p->lock);
    uint64_t held = p->held;
    (void)pthread_mutex_unlock(&p->lock);
    return held;
}

void delay_proxy_trickle(struct delay_proxy *p, int64_t us_between_bytes)
{
    (void)pthread_mutex_lock(&p->lock);
    p->now.trickle_us = us_between_bytes;
    changed(p);
}

void delay_proxy_cut_at(struct delay_proxy *p, int64_t reply_bytes)
{
    (void)pthread_mutex_lock(&p->lock);
    p->now.cut_at = reply_bytes;
    changed(p);
}

void delay_proxy_cut_all(struct delay_proxy *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->cut_all = 1;
    changed(p);
}

void delay_proxy_refuse(struct delay_proxy *p, int on)
{
    (void)pthread_mutex_lock(&p->lock);
    p->now.refusing = on;
    changed(p);
}

void delay_proxy_retarget(struct delay_proxy *p, uint16_t to_port)
{
    (void)pthread_mutex_lock(&p->lock);
    p->now.to_port = to_port;
    changed(p);
}

void delay_proxy_counts_get(struct delay_proxy *p, struct delay_proxy_counts *out)
{
    (void)pthread_mutex_lock(&p->lock);
    *out = p->counts;
    (void)pthread_mutex_unlock(&p->lock);
}
