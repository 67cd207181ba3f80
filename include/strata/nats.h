/* strata/nats.h - NATS as a bus: its core, or JetStream, which keeps what was published.  Part of the stable API. */
#ifndef STRATA_NATS_H
#define STRATA_NATS_H
#include "strata/base.h"
#include "strata/sys/bus.h"
STRATA_BEGIN_DECLS

/** strata_nats_options.storage. */
enum {
    STRATA_NATS_FILE = 1,  /**< a stream outlives a restart of its server */
    STRATA_NATS_MEMORY = 2 /**< and this one does not */
};

/**
 * A bus on NATS.  Start from STRATA_NATS_OPTIONS_INIT, change what differs.  Strings are copied.
 *
 * Core NATS forgets what it has passed on: who was not connected has missed it, and knows that.  Publishing answers once the
 * server has read the message.  The user needs to publish and to subscribe to `subject`.
 *
 * With `jetstream` messages are kept in a stream, in one order for everybody, and publishing answers once the stream has the message.
 * Who was away gets what came meanwhile, from where he was; if the stream does not have it any more, the cache is told.  The stream
 * holds `subject` and nothing else.  Each node has a durable consumer in it, by which the server knows how far it came; it is
 * made anew, at the right place, with each connection.  The user needs to publish to `subject`, "$JS.API.>" and "$JS.ACK.>", and to
 * subscribe to "_INBOX.>".
 */
typedef struct strata_nats_options {
    size_t size;                  /**< sizeof this struct; the INIT macro sets it */
    const char *url;              /**< "nats://[user:password@]host[:port][,host[:port]...]", or "nats://token@host"; "tls://"
                                       for TLS.  %40 is "@" in any part.  The hosts are servers of one cluster, tried in turn.
                                       Default "nats://127.0.0.1:4222" */
    const char *subject;          /**< what is published under; without wildcards.  Default "cache.invalidations" */
    int32_t jetstream;            /**< STRATA_ON: a stream keeps what was published; default off */
    int32_t storage;              /**< STRATA_NATS_...: of a stream that is made here; default file */
    const char *stream;           /**< its name; default "CACHE_INVALIDATIONS" */
    const char *consumer;         /**< this node's durable consumer; default its node_name, one of which must be there */
    int64_t max_age_ms;           /**< of a stream that is made here: messages leave it after so long; 0 never.  A node that was
                                       away for longer trusts nothing of what it held.  Without max_age_ms and max_messages
                                       the stream grows for ever: set one of them where many are published */
    uint64_t max_messages;        /**< of a stream that is made here: the oldest leave it beyond so many; 0 no limit */
    int64_t ack_wait_ms;          /**< of the consumer: what was not acknowledged after so long is sent again; default 30,000 */
    uint32_t max_deliver;         /**< of the consumer: at most so often; default 10 */
    int32_t ensure_stream;        /**< STRATA_OFF: the stream is not made where it is missing: it must be there.  One that is
                                       there is never changed.  Default on */
    int32_t ensure_consumer;      /**< STRATA_OFF: the consumer is neither made nor put to its place: it must be there, durable,
                                       with a deliver subject, acknowledging all; what it cannot repeat counts as lost.
                                       Default on */
    uint32_t max_message_bytes;   /**< what is larger is split; default 256 KiB; at least 4 KiB.  The server must take as much
                                       ("max_payload", usually 1 MiB) */
    const char *user;             /**< with: */
    const char *password;         /**< instead of those in url */
    const char *token;            /**< instead of a user */
    const char *credentials_file; /**< a user's JWT and seed, "user.creds", instead of both */
    const char *tls_ca_file;      /**< certificates in PEM, one of whom has signed the server's; default those that OpenSSL
                                       trusts on this machine.  This and the next ones with tls:// alone */
    const char *tls_cert_file;    /**< our certificate and its chain in PEM, for a server that wants one; with tls_key_file */
    const char *tls_key_file;     /**< its private key in PEM, without a password */
    const char *tls_server_name;  /**< the name that the server's certificate is for; default the host in url */
    int32_t tls_verify;           /**< STRATA_OFF: tls:// talks to whoever answers there; default on */
    uint32_t max_pending;         /**< messages that may wait to be published; more fail at once; default 10,000 */
    int64_t connect_timeout_ms;   /**< to be connected and authenticated; default 1,000; at most an hour.  Closing a cache
                                       may take as long, where a server does not answer at all */
    int64_t timeout_ms;           /**< a message that the server has not confirmed after that has failed; default 1,000; at most an
                                       hour */
    int64_t ping_ms;              /**< how often a silent server is asked; one that misses two answers is left; default 5,000 */
    void *connection;             /**< a natsConnection * of the application's, instead of url and all that belongs to it: it is used,
                                       never closed, and must live until the cache is closed.  It must echo (NoEcho off), and
                                       reconnect by itself.  Default NULL: one of our own */
    const char *name;             /**< shown in stats and events; default "nats", or "jetstream" */
} strata_nats_options;
#define STRATA_NATS_OPTIONS_INIT \
    { \
        sizeof(strata_nats_options), NULL, NULL, 0, 0, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, \
            NULL, NULL, 0, 0, 0, 0, 0, NULL, NULL \
    }

/**
 * A bus on NATS.  strata_open() waits for the server no longer than
 * strata_coherence_options.open_wait_ms, and does not fail: it is tried again for as long as the cache is open.
 *
 * After fork() a cache with this bus cannot be reopened in the child, for the NATS library has threads of its own for the whole
 * process, which are not there: open it after the fork, in each process.
 * @param options borrowed; NULL takes every default.
 * @return a bus; never NULL: one that could not be built remembers why, and strata_open() reports it: STRATA_EINVAL;
 *         STRATA_EUNSUPPORTED, a strata built without nats.c; STRATA_ENOMEM.
 * Ownership: strata_open() takes it over; otherwise strata_bus_free().
 */
STRATA_API strata_bus *strata_nats_bus(const strata_nats_options *options);

STRATA_END_DECLS
#endif /* STRATA_NATS_H */
