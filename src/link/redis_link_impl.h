/* redis_link_impl.h - what the files of a link share: its connections, their queues and buffers.
 *
 * A connection's queue holds, in order, whose replies are awaited: first those whose commands were written (`sent`), then those
 * whose commands wait in `pending`.  Two roles are taken and given back under the lock, and held without it: who writes has `out`
 * and the right to write to the socket, who reads has `reader`, `in` and the right to read from it.  The link's thread takes them
 * when there is something to do; a blocking caller that finds the connection idle takes them for its own request, and saves
 * itself two switches of threads.  Everything else is the link's thread's: state, socket, time.
 *
 * Lock order: a connection's lock is the last one taken, and held alone; so is that of a TLS session (redis_tls.h). */
#ifndef STRATA_LINK_REDIS_LINK_IMPL_H
#define STRATA_LINK_REDIS_LINK_IMPL_H
#include <stdatomic.h>

#include "src/link/redis_link.h"
#include "src/link/redis_tls.h"
#include "src/os/os_lock.h"
#include "src/os/os_socket.h"
#include "src/os/os_thread.h"
#include "src/os/os_wake.h"

struct redisReader;

/* Bytes that grow; mem is the link's. */
struct redis_buffer {
    char *data;
    size_t size, room;
};

struct redis_slot {
    struct redis_request *request; /* NULL: timed out; its reply is thrown away */
    size_t bytes;                  /* of its command, and the ASKING before it */
    int asking;                    /* the next reply is that of ASKING, and is thrown away */
};

/* A ring; room is a power of two, or 0. */
struct redis_queue {
    struct redis_slot *slots;
    size_t room, head, count;
    size_t sent; /* the first so many are written, or being written */
    size_t dead; /* of those not sent, timed out */
};

enum redis_state {
    REDIS_AWAY,       /* the last attempt failed; the next one is at retry_ms */
    REDIS_CONNECTING, /* looking the name up, or waiting for the other side to accept */
    REDIS_SECURING,   /* TLS's handshake; the roles are the link's thread's */
    REDIS_GREETING,   /* authenticating, choosing the database */
    REDIS_UP,
    REDIS_CLOSED
};

/* What the reader's callbacks get. */
struct redis_replies {
    const strata_allocator *mem;
    int resp3;   /* pushes and maps may come */
    int foreign; /* a type that nobody asked for */
    /* A reply that is one text is handed out where it stands in the reader's buffer, which spares a copy and its memory, and
     * the reply is strata__redis_lent then.  NULL: it becomes a reply as any other. */
    void (*lend)(void *ctx, const struct redisReply *reply);
    void *ctx;
};

/* A reply that was handed out already. */
extern struct redisReply *const strata__redis_lent;

enum { REDIS_ADDRESSES = 8 };

struct redis_conn {
    struct redis_link *link;
    struct os_lock lock;
    _Atomic(uint32_t) inside; /* threads that have taken the lock and are not through with the link */

    /* Under the lock. */
    enum redis_state state; /* written by the link's thread alone */
    int reading, writing;   /* the role is taken */
    int unread;             /* a caller gave the role back, and left bytes that it had read */
    int blocked;            /* the socket took no more: who writes next waits until it is writable */
    int old_fd;          /* the socket before, where something was out, until the server closes it; else -1.  Written by
                               the link's thread alone */
    int roused;          /* AWAY: the next attempt is now, and who asks waits for it */
    int broken;          /* to be closed by the link's thread, which says why with: */
    strata_error reason; /* also why the last attempt failed */
    struct redis_queue queue;
    char place[80];              /* for words, of what Sentinels have found; "" where options.host says it */
    uint32_t found;              /* its generation there */
    struct redis_buffer pending; /* commands that nobody has begun to write */
    int64_t earliest_ms;         /* no deadline in the queue is earlier; INT64_MAX: none */
    int64_t longest_ms;          /* the longest timeout since the queue was empty */
    uint32_t failures;           /* attempts in a row that led to no reply */
    uint32_t borrowed;           /* how often a caller took the roles */
    uint64_t requests, timeouts, connects, disconnects;

    _Atomic(int64_t) heard_ms; /* when bytes came last, or were awaited first; relaxed: a moment, nothing hangs on it */
    _Atomic(uint64_t) writes, reads;

    /* Of who writes. */
    struct redis_buffer out;
    size_t out_at; /* written so far */
    int sealed;    /* `out` is encrypted */
    /* Of who reads. */
    struct redisReader *reader;
    struct redis_replies replies;
    const struct redis_request *stop; /* whose reply the reader waits for; NULL: all that come */
    int told;                         /* of the last that was handed out: 1 it was that one, -1 nobody's, 0 */
    char *in;                         /* REDIS_IN_ROOM bytes */
    size_t in_at, in_size;
    int more; /* the session has more than `in` had room for */

    /* The link's thread's; the socket is read by who has a role. */
    int fd;
    struct redis_session *tls; /* NULL: the bytes are what they are.  Used by who has a role */
    short shake_events;        /* what the handshake waits for */
    char found_host[256];      /* whom Sentinels name, and TLS has to find there */
    int64_t fence_ms;          /* greeted, and waiting for the end of old_fd: no longer than until here */
    struct os_address address[REDIS_ADDRESSES];
    size_t address_count, address_at;
    int64_t retry_ms, connect_deadline_ms, up_ms;
    int asking; /* Sentinels are asked where to connect; the ticket is: */
    uint32_t ticket;
    int role_at;      /* before the PING, and what hello() asks, stands ROLE */
    size_t greetings; /* replies that are still to come before it is up */
    struct redis_mark mark;
    size_t hellos;    /* the last so many of them are options.hello's */
    int64_t greet_us; /* when they were asked */
    uint32_t seen_borrowed;
    int64_t seen_ms;
};

enum { REDIS_IN_ROOM = 64 * 1024, REDIS_KEEP_ROOM = 64 * 1024 };

struct redis_cluster;
struct redis_sentinel;

struct redis_link {
    struct redis_link_options options; /* strings are the link's */
    struct redis_sentinel *sentinel;   /* says where to connect; NULL: host and port do */
    struct redis_cluster *cluster;     /* NULL: one server.  Else nothing below `strings` is used */
    const strata_allocator *mem;
    char *strings;
    struct redis_host *hosts; /* options.hosts */
    char address[128];        /* for words */
    struct redis_conn *conns;
    size_t conn_count;
    struct pollfd *fds; /* the wake-up, one for each connection, and one for the one before it */
    struct os_thread thread;
    struct os_wake wake;
    _Atomic(int) sleeping; /* the thread is in poll, or about to be */
    _Atomic(int) work;     /* somebody left something to do */
    _Atomic(int) closing;
    _Atomic(size_t) out; /* slots in all queues */
};

/* redis_link.c */
/* strata__redis_close() in its parts: let its thread end, soon; wait for that, which answers what is out; the rest, once nobody
 * is inside.  NULL is a no-op. */
void strata__redis_hurry(struct redis_link *link);
void strata__redis_stop(struct redis_link *link);
void strata__redis_free(struct redis_link *link);
void strata__redis_wake(struct redis_link *link);
/* status, err -> request, and done(). */
void strata__redis_fail(struct redis_request *request, const strata_error *reason);
/* The time of these was over: a list, linked by next. */
void strata__redis_late(struct redis_conn *c, struct redis_request *list);
/* All of a list. */
void strata__redis_fail_all(struct redis_request *list, const strata_error *reason);

/* redis_queue.c - all under the connection's lock. */
/* Puts the command into `pending` and the request into the queue, or fills *why.  STRATA_OK, < 0. */
int strata__redis_queue_push(struct redis_conn *c, struct redis_request *request, strata_error *why);
/* Takes out the first one, which was sent; 0 where there is none. */
int strata__redis_queue_pop(struct redis_conn *c, struct redis_request **out);
/* Those whose time is over, as a list; placeholders stay behind. */
struct redis_request *strata__redis_queue_expire(struct redis_conn *c, int64_t now_ms);
/* The first `count` of the queue, as a list.  Where that is not all of it, the rest stays with its commands. */
struct redis_request *strata__redis_queue_drop(struct redis_conn *c, size_t count);
/* `out` is written: makes it what is pending.  0 where nothing is. */
int strata__redis_queue_load(struct redis_conn *c, int64_t now_ms);

/* redis_wire.c */
/* Room for `more` bytes; 0 where memory is out. */
int strata__redis_buffer_reserve(const strata_allocator *mem, struct redis_buffer *buffer, size_t more);
/* Empty it, and give back what a large one took. */
void strata__redis_buffer_reset(const strata_allocator *mem, struct redis_buffer *buffer);
void strata__redis_buffer_free(const strata_allocator *mem, struct redis_buffer *buffer);
/* A command as RESP; how many bytes, 0 where memory is out. */
size_t strata__redis_command(const strata_allocator *mem, struct redis_buffer *buffer, const strata_slice *args,
                             size_t count);

/* redis_object.c */
/* NULL: no memory.  `replies` is what its callbacks get, and stays where it is. */
struct redisReader *strata__redis_reader_new(struct redis_replies *replies);
void strata__redis_reader_free(struct redisReader *reader);
/* 1: *out is a reply; 0: more bytes are wanted; < 0 with *out_why: the bytes are no replies, or memory is out. */
int strata__redis_reader_next(struct redisReader *reader, struct redisReply **out, const char **out_why);
int strata__redis_reader_feed(struct redisReader *reader, const char *bytes, size_t size);
/* Has a reply begun that is not complete? */
int strata__redis_reader_inside(const struct redisReader *reader);
void strata__redis_reply_free(struct redisReply *reply);

/* redis_io.c - writing and reading, by whoever has the role. */
/* Marks it broken, under the lock; the first reason counts. */
void strata__redis_break_locked(struct redis_conn *c, int status, int os_errno, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Writes what is pending, unless somebody does; after so many rounds the link's thread goes on. */
void strata__redis_flush(struct redis_conn *c, int rounds);
/* The role of the reader is the caller's: reads and hands out what there is, up to the reply of `stop`.  1: that was it. */
int strata__redis_receive(struct redis_conn *c, const struct redis_request *stop);
/* Is there nothing that a reader other than the caller of this moment would have to wait for? */
int strata__redis_idle_locked(const struct redis_conn *c);
/* The moment at which so much time, from now, is over. */
int64_t strata__redis_deadline(int64_t timeout_ms);
/* submit for one; the words of those that fail are theirs.  1: queued, and the caller has become the reader (may_read). */
int strata__redis_enqueue(struct redis_conn *c, struct redis_request *request, int may_read);

/* redis_conn.c - the link's thread's. */
int strata__redis_conn_init(struct redis_conn *c, struct redis_link *link);
void strata__redis_conn_deinit(struct redis_conn *c);
/* What time and roles allow; when to look again (INT64_MAX: when something happens). */
int64_t strata__redis_conn_service(struct redis_conn *c, int64_t now_ms);
/* What to wait for, 0: nothing. */
short strata__redis_conn_events(struct redis_conn *c, int64_t now_ms, int64_t *next_ms);
void strata__redis_conn_ready(struct redis_conn *c, int64_t now_ms);
/* 1: it is closed, and nobody is inside. */
int strata__redis_conn_close(struct redis_conn *c);

/* redis_greet.c - the link's thread's. */
/* The commands of a greeting into `out`; 0: no memory. */
int strata__redis_greeting(struct redis_conn *c);
/* One of its replies. */
void strata__redis_greeted(struct redis_conn *c, const struct redisReply *reply);

#endif /* STRATA_LINK_REDIS_LINK_IMPL_H */
