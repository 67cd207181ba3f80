/* nats_link.h - connections to NATS servers, and what JetStream keeps there: nats.c behind calls that block for a bounded time.
 *
 * nats.c has threads of its own for each connection and for the whole process; nothing of ours runs on them.  No callback is
 * registered but one that swallows errors which would be printed otherwise: who wants to know something asks for it, and so nothing
 * of ours can be called when it is gone.  A connection that breaks is not repaired: it says that it is gone, and its owner
 * makes a new one.  nats.h is included by this folder alone.
 *
 * Threads: several may use one connection, one a subscription.  Nothing of nats.c may be called in a child after fork.  Its memory is its
 * own malloc's. */
#ifndef STRATA_LINK_NATS_LINK_H
#define STRATA_LINK_NATS_LINK_H
#include <stddef.h>
#include <stdint.h>

#include "strata/base.h"
#include "strata/error.h"
#include "strata/sys/allocator.h"

struct nats_link;
struct nats_inlet; /* a subscription */

/* Strings are borrowed for the call. */
struct nats_link_options {
    const char *name; /* of the bus: begins every error's words */
    const char *host;
    uint32_t port;
    const char *user; /* NULL, or with password */
    const char *password;
    const char *token;
    const char *credentials_file;
    int tls;
    int tls_verify;
    const char *tls_ca_file;
    const char *tls_cert_file;
    const char *tls_key_file;
    const char *tls_server_name;
    const char *client_name; /* what the server's lists show; NULL none */
    int64_t connect_timeout_ms;
    int64_t write_timeout_ms; /* a write that takes longer ends the connection */
    int64_t ping_ms;
    int send_at_once; /* each publish is written by itself; otherwise with the next flush, or soon */
    const strata_allocator *mem;
};

/* 1: nats.c is there; 0: nothing can be connected. */
int strata__nats_built_in(void);
/* In a child of a process in which nats.c was in use, it cannot be.  STRATA_OK, STRATA_EUNSUPPORTED. */
int strata__nats_usable(const char *name, strata_error *err);
/* Files that cannot be read, without connecting.  STRATA_OK, STRATA_EINVAL, STRATA_ENOMEM. */
int strata__nats_check(const struct nats_link_options *options, strata_error *err);
/* STRATA_OK, < 0 with words that name the server. */
int strata__nats_connect(struct nats_link **out, const struct nats_link_options *options, strata_error *err);
/* One that somebody else has made, and will close. */
int strata__nats_lend(struct nats_link **out, void *connection, const struct nats_link_options *options,
                      strata_error *err);
/* Its subscriptions are gone before.  NULL is a no-op. */
void strata__nats_close(struct nats_link *link);
/* Whoever waits for its server wakes, and it is gone; one that was lent is left alone.  From any thread. */
void strata__nats_break(struct nats_link *link);
/* Why it is gone, or what the server last complained of.  1: there is something. */
int strata__nats_complaint(struct nats_link *link, char *out, size_t size);
/* A complaint that it may not publish or subscribe. */
int strata__nats_forbidden(struct nats_link *link, strata_error *err);
/* 1: it is connected, and has been without a break since it was opened or lent. */
int strata__nats_is_whole(struct nats_link *link);
/* "host:port" of the server, for words; the host and port themselves, for a look at it. */
const char *strata__nats_where(const struct nats_link *link);
/* Servers of the same cluster that it has named, "host:port", at most `most` of them; how many.  Owned by the caller. */
size_t strata__nats_others(struct nats_link *link, char **out, size_t most, const strata_allocator *mem);

/* STRATA_OK: nats.c has it; STRATA_EVALUESIZE: the server takes none so large; STRATA_EIO. */
int strata__nats_publish(struct nats_link *link, const char *subject, const char *reply, strata_slice bytes,
                         strata_error *err);
/* The server has read everything that was published before.  STRATA_OK, STRATA_ETIMEDOUT, STRATA_EIO. */
int strata__nats_flush(struct nats_link *link, int64_t timeout_ms, strata_error *err);

/* A subject that nobody else has; at most 63 bytes. */
int strata__nats_inbox(struct nats_link *link, char out[64], strata_error *err);
/* `most` messages may wait in it.  STRATA_OK, < 0. */
int strata__nats_subscribe(struct nats_link *link, const char *subject, int most, struct nats_inlet **out,
                           strata_error *err);
/* Whoever waits in it wakes, with NATS_GONE.  From any thread, while it is not given back. */
void strata__nats_interrupt(struct nats_inlet *inlet);
void strata__nats_unsubscribe(struct nats_inlet *inlet); /* NULL is a no-op */

enum nats_next {
    NATS_NEXT_MESSAGE,
    NATS_NEXT_NOTHING, /* in that time */
    NATS_NEXT_DROPPED, /* some were thrown away, for too many waited here */
    NATS_NEXT_NOBODY,  /* something that was published, with this as its reply, has found nobody who answers */
    NATS_NEXT_GONE     /* the connection, or the subscription */
};

/* Slices and texts until strata__nats_release(). */
struct nats_message {
    strata_slice bytes;
    const char *subject;
    const char *reply;      /* or NULL */
    const char *status;     /* of the server's own messages: "100" and others, or NULL */
    uint64_t last_consumer; /* of an idle heartbeat, status "100": the consumer's last number; else 0 */
    void *native;
};

enum nats_next strata__nats_next(struct nats_inlet *inlet, int64_t timeout_ms, struct nats_message *out);
void strata__nats_release(struct nats_message *message);
/* How many wait in it. */
size_t strata__nats_waiting(struct nats_inlet *inlet);

/* JetStream -------------------------------------------------------------------------------------------------------- */

struct nats_stream {
    uint64_t first, last; /* first > last: it is empty */
    int64_t created_ns;   /* two streams of one name, one after the other, are told apart by it */
    int holds_subject;    /* and nothing else */
};

struct nats_stream_options {
    const char *stream;
    const char *subject;
    int in_memory;
    int64_t max_age_ms;    /* 0 none */
    uint64_t max_messages; /* 0 none */
};

struct nats_consumer {
    char deliver_subject[128];
    int bound;            /* somebody listens there */
    uint64_t floor;       /* the last of the stream that was acknowledged, and all before it */
    uint64_t delivered;   /* the last of the stream that was sent */
    uint64_t last_number; /* the consumer's own, of that */
};

struct nats_consumer_options {
    const char *stream;
    const char *consumer;
    const char *subject;
    const char *deliver_subject;
    uint64_t from; /* the first of the stream to be sent */
    int64_t ack_wait_ms;
    uint32_t max_deliver;
    int64_t heartbeat_ms;
};

/* STRATA_OK; STRATA_MISS: there is none; < 0.  They ask the server, and wait for at most timeout_ms. */
int strata__nats_stream_look(struct nats_link *link, const char *stream, const char *subject, int64_t timeout_ms,
                             struct nats_stream *out, strata_error *err);
int strata__nats_stream_make(struct nats_link *link, const struct nats_stream_options *options, int64_t timeout_ms,
                             strata_error *err);
int strata__nats_consumer_look(struct nats_link *link, const char *stream, const char *consumer, int64_t timeout_ms,
                               struct nats_consumer *out, strata_error *err);
int strata__nats_consumer_make(struct nats_link *link, const struct nats_consumer_options *options, int64_t timeout_ms,
                               strata_error *err);
int strata__nats_consumer_drop(struct nats_link *link, const char *stream, const char *consumer, int64_t timeout_ms,
                               strata_error *err);

/* What a server says of itself to who connects: "NATS 2.9.10", or empty.  A connection of its own, without nats.c. */
void strata__nats_greeting(const char *host, uint32_t port, int64_t timeout_ms, char *out, size_t size);

#endif /* STRATA_LINK_NATS_LINK_H */
