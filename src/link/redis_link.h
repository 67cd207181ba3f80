/* redis_link.h - connections to a Redis or Valkey server, or to the nodes of a Cluster: pipelined, reconnecting, bounded in time.
 *
 * A link has a few connections and one thread of its own that reads and writes them all.  Whoever submits requests at the same
 * time shares writes and reads with the others: nobody asks for a pipeline.  A connection that is lost fails what was on its way,
 * and is made again, with pauses that grow and are jittered; what is submitted meanwhile waits for it, as long as its own timeout
 * allows.
 *
 * Replies are hiredis' redisReply, seen through the functions below: hiredis.h is included by this folder alone.
 * Protocol: RESP2, and of RESP3 what is pushed.  Threads: every function may be called from any thread, but for open, close and reopen. */
#ifndef STRATA_LINK_REDIS_LINK_H
#define STRATA_LINK_REDIS_LINK_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "strata/base.h"
#include "strata/error.h"
#include "strata/sys/allocator.h"

struct redis_link;
struct redis_tls;
struct redisReply;

enum redis_topology {
    REDIS_ALONE,   /* one server: host and port, or socket_path */
    REDIS_CLUSTER, /* the map of slots is asked for at `hosts`; a link of its own for each master */
    REDIS_SENTINEL /* before each connection is made, the sentinels at `hosts` are asked where the master is */
};

struct redis_host {
    const char *host;
    uint32_t port;
};

/* What is noted of the server at the end of one connection: zero when it is made, and the link does not look at it.  greeted() gets
 * it first, then done() of everything that is answered there. */
struct redis_mark {
    _Atomic(uint64_t) life;
    _Atomic(int64_t) told_ms, asked_ms, offset_ms;
    _Atomic(uint64_t) seen,
        followed; /* of a listener, by its number: it is at this server; it is told of what is read here */
};

/* Strings are borrowed for strata__redis_open(), which copies them. */
struct redis_link_options {
    const char *name; /* of the layer: begins every error's words */
    enum redis_topology topology;
    const struct redis_host *hosts; /* but for REDIS_ALONE: at least one */
    size_t host_count;
    const char *master_name;       /* REDIS_SENTINEL: what they call the master */
    const char *sentinel_user;     /* NULL: AUTH with the password alone */
    const char *sentinel_password; /* NULL: no AUTH there */
    const char *host;              /* or NULL, and */
    const char *socket_path;
    uint32_t port;
    const char *user;            /* NULL: AUTH with the password alone */
    const char *password;        /* NULL: no AUTH */
    const struct redis_tls *tls; /* redis_tls.h; borrowed while the link is open.  NULL: none */
    uint32_t database;           /* SELECT, where it is not 0 */
    uint32_t connections;        /* at least 1 */
    int64_t connect_timeout_ms;  /* to be connected, authenticated, and in the database */
    int64_t backoff_min_ms, backoff_max_ms;
    const char *patience; /* static: which options say how long it waits, for words; NULL: those of a layer */
    size_t max_pending;   /* requests of all connections that are out; one more is answered STRATA_EBUSY */
    const strata_allocator *mem;
    /* What every new connection is asked behind AUTH and SELECT, and before anything else travels on it; NULL nothing.  Answers
     * how many args the nth command has, 0: there is no nth, yet: once all before it are answered, it is asked for the nth again, which
     * may say what an answer told.  All on the link's thread, without a lock. */
    size_t (*hello)(void *ctx, size_t nth, const strata_slice **out_args);
    /* Its answer, so long after the question.  0: hang up, for what *err says; it is tried again. */
    int (*greeted)(void *ctx, size_t nth, const struct redisReply *reply, int64_t elapsed_us, struct redis_mark *mark,
                   strata_error *err);
    /* What nobody asked for: a message of a channel.  NULL: there is none. */
    void (*pushed)(void *ctx, strata_slice message);
    /* The same, and whatever else comes that is no text alone, before anybody is looked for who asked for it.  1: it is taken; 0: it is
     * an answer.  NULL: there is none. */
    int (*caught)(void *ctx, const struct redisReply *reply);
    /* A connection was lost, or an attempt to make one has failed; it is tried again.  NULL: nobody wants to know. */
    void (*lost)(void *ctx, const strata_error *why);
    int resp3; /* hello() asks for RESP3: pushes may come.  Only where strata__redis_pushes() */
    void *ctx;
};

/* One command.  The caller's, from submit until its done() is called. */
struct redis_request {
    const strata_slice *args; /* in: borrowed until strata__redis_submit() returns */
    size_t arg_count;
    uint64_t affinity;  /* in: requests with the same one travel on one connection, in the order they were submitted */
    int64_t timeout_ms; /* in: from submit until done(), at most; its reply, should it come, is thrown away */
    void (*done)(
        struct redis_request *request); /* in: once, on the link's thread or on the submitter's; no lock is held */
    void *owner;                        /* in */
    /* in, where to, in a Cluster; nothing else looks at these: */
    uint32_t
        key_at; /* args[key_at] is the key that decides; all other keys of the command are in its slot.  0: it has none */
    uint32_t node; /* key_at is 0: one of strata__redis_nodes(), or 0: any node */
    /* out, until done() returns: */
    int status; /* STRATA_OK: there is a reply, which may be an error reply; STRATA_ETIMEDOUT; STRATA_EBUSY;
                                       STRATA_ECLOSED; STRATA_ENOMEM; STRATA_EIO: no connection, or lost while it was out, and
                                       nobody knows whether it was carried out */
    const struct redisReply *reply; /* STRATA_OK alone */
    struct redis_mark *mark;        /* STRATA_OK alone: of the connection that it came on */
    strata_error err;               /* words, with the server's address, where status < 0 */
    /* the link's: */
    struct redis_request *next;
    int64_t deadline_ms;
    int asking; /* a node has sent it where it is now: ASKING goes in front */
};

/* 1: hiredis is there; 0: strata__redis_open() is unsupported. */
int strata__redis_built_in(void);
/* 1: it is one that can read RESP3's pushes (1.0 or newer). */
int strata__redis_pushes(void);
/* Starts the thread; does not wait for a connection: a server that is away is no error.  STRATA_OK, < 0 with words. */
int strata__redis_open(struct redis_link **out, const struct redis_link_options *options, strata_error *err);
/* What is out is answered STRATA_ECLOSED before it returns.  Waits for a host name that is just being looked up.  NULL is a
 * no-op. */
void strata__redis_close(struct redis_link *link);
/* In a child after fork: the thread is not there, sockets are the parent's: closes the descriptors, gives memory back. */
void strata__redis_abandon(struct redis_link *link);

/* Somebody wants to know now whether the server is back: connections that pause between two attempts make the next one at once, and
 * what is asked from here on waits for how that goes. */
void strata__redis_rouse(struct redis_link *link);
/* Those with one affinity stay in order.  Never blocks on the network. */
void strata__redis_submit(struct redis_link *link, struct redis_request *const *requests, size_t count);
/* One, on the connection with this number, below strata__redis_connections(). */
void strata__redis_submit_at(struct redis_link *link, uint32_t nth, struct redis_request *request);
/* How many it has.  0: a Cluster, where that is the nodes' affair. */
uint32_t strata__redis_connections(const struct redis_link *link);
/* submit(), and sleep until done() was called (it is).  Where its connection is idle, this thread writes and reads for itself,
 * which saves two switches of threads.  Not from the link's own thread. */
void strata__redis_call(struct redis_link *link, struct redis_request *request);
/* The same for a request whose key_at is 0, on whatever connection is idle; affinity decides where none is. */
void strata__redis_call_anywhere(struct redis_link *link, struct redis_request *request);
/* 1: one command may name any keys, and key_at may be 0 for it.  0: a Cluster, where all of a command's are of one slot. */
int strata__redis_gathers(const struct redis_link *link);

/* Waits until the server is through with everything that was submitted before, on all connections, timed out or not; so much
 * time for each.  What is carried out after that was submitted after it.  STRATA_OK, < 0.  Not from the link's own thread. */
int strata__redis_settle(struct redis_link *link, int64_t timeout_ms, strata_error *err);

/* Those that share the keys among themselves as of now, asked for anew: numbers for redis_request.node, up to `room`, in *out_count.
 * One that leaves later answers STRATA_EIO.  Without a Cluster: one, 0.  STRATA_OK, < 0.  Not from the link's own thread. */
int strata__redis_nodes(struct redis_link *link, int64_t timeout_ms, uint32_t *out, size_t room, size_t *out_count,
                        strata_error *err);

/* Counters since open, for stats. */
struct redis_link_counts {
    uint64_t requests, timeouts, connects, disconnects, writes, reads; /* system calls, the last two */
    uint32_t connected;                                                /* connections that are up now */
};
void strata__redis_counts(const struct redis_link *link, struct redis_link_counts *out);

/* Replies --------------------------------------------------------------------------------------------------------- */

enum redis_reply_kind {
    REDIS_IS_TEXT,
    REDIS_IS_STATUS,
    REDIS_IS_ERROR,
    REDIS_IS_INTEGER,
    REDIS_IS_ARRAY,
    REDIS_IS_NIL
};

/* RESP3's maps and pushes are ARRAYs. */
enum redis_reply_kind strata__redis_kind(const struct redisReply *reply);
/* One of RESP3's, which nobody asked for, but for the confirmation of a SUBSCRIBE. */
int strata__redis_is_push(const struct redisReply *reply);
/* Of TEXT, STATUS, ERROR.  Without a NUL behind it: a TEXT may still stand in the connection's buffer. */
strata_slice strata__redis_text(const struct redisReply *reply);
int64_t strata__redis_integer(const struct redisReply *reply);
size_t strata__redis_count(const struct redisReply *reply); /* of ARRAY */
const struct redisReply *strata__redis_at(const struct redisReply *reply, size_t i);

#endif /* STRATA_LINK_REDIS_LINK_H */
