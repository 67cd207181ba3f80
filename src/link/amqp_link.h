/* amqp_link.h - one connection to a RabbitMQ server, that publishes to an exchange and consumes a queue bound to it.
 *
 * rabbitmq-c blocks: the link has a thread of its own, which alone talks to the library (amqp_session.h), and makes the connection
 * again, with pauses that grow and are jittered, for as long as the link is open.  Messages wait in a ring, in the order in which
 * they were given, are sent within a window that the socket's buffer always has room for, and stay in the ring until the server
 * has confirmed them: the thread never blocks on a server that does not read.
 *
 * All callbacks but done() come from the link's thread; done() comes from the submitter's, too.  No lock is held in any. */
#ifndef STRATA_LINK_AMQP_LINK_H
#define STRATA_LINK_AMQP_LINK_H
#include <stddef.h>
#include <stdint.h>

#include "strata/base.h"
#include "strata/error.h"
#include "strata/stats.h"
#include "strata/sys/allocator.h"

struct amqp_link;

/* A message may have so many bytes: twice that is what the kernel takes from us without waiting, everywhere. */
enum { AMQP_MESSAGE_MAX = 128 << 10 };

/* All of it is borrowed while the link is open. */
struct amqp_link_options {
    const char *name; /* of the bus: where errors are from */
    const char *host;
    uint32_t port;
    const char *vhost, *user, *password;
    int tls, tls_verify; /* 1: TLS; 1: the server's certificate is checked */
    const char *ca_file; /* NULL: what OpenSSL trusts */
    const char *cert_file, *key_file;
    const char *exchange, *exchange_type, *routing_key;
    const char *queue; /* "": the server names it */
    int durable, persistent;
    int mandatory; /* 1: a message that no queue gets has failed */
    uint32_t prefetch;
    uint32_t max_pending;
    int64_t timeout_ms, connect_timeout_ms, heartbeat_ms;
    int64_t queue_expires_ms; /* 0: never */
    int64_t backoff_min_ms, backoff_max_ms;
    const strata_allocator *mem;
    void (*delivered)(void *ctx, strata_slice bytes);
    void (*up)(void *ctx);
    void (*down)(void *ctx, const strata_error *why);
    void (*lost)(void *ctx, const char *why);
    void (*done)(void *owner, int status, const strata_error *why); /* why: words where status < 0 */
    void *ctx;
};

/* 1: rabbitmq-c is there; 0: strata__amqp_open() is unsupported, and says how to change that. */
int strata__amqp_built_in(void);
/* The same for TLS. */
int strata__amqp_tls_built_in(void);
/* Starts the thread; does not wait for a connection.  STRATA_OK, < 0 with words. */
int strata__amqp_open(struct amqp_link **out, const struct amqp_link_options *options, strata_error *err);
/* Once; another time does nothing.  What was published before is sent and confirmed if that takes no longer than flush_ms; the rest is done with STRATA_ECLOSED.  No
 * callback comes after it has returned.  Waits for a host name that is just being looked up, and with TLS for the handshake. */
void strata__amqp_stop(struct amqp_link *link, int64_t flush_ms);
/* After stop.  NULL is a no-op. */
void strata__amqp_close(struct amqp_link *link);
/* In a child after fork: closes the descriptors, gives memory back, calls nobody. */
void strata__amqp_abandon(struct amqp_link *link);

/* `bytes` are borrowed until done(owner), which is called once, perhaps before this returns.  Never blocks. */
void strata__amqp_publish(struct amqp_link *link, strata_slice bytes, void *owner);

/* While it pauses between two attempts to connect: the next is made at once.  Never blocks. */
void strata__amqp_rouse(struct amqp_link *link);

void strata__amqp_stats(struct amqp_link *link, strata_bus_stats *out);

#endif /* STRATA_LINK_AMQP_LINK_H */
