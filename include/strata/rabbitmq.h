/* strata/rabbitmq.h - a RabbitMQ server as the bus between the nodes that share data.  Part of the stable API. */
#ifndef STRATA_RABBITMQ_H
#define STRATA_RABBITMQ_H
#include "strata/base.h"
#include "strata/sys/bus.h"
STRATA_BEGIN_DECLS

/** How the exchange hands messages on.  All nodes of a cache say the same. */
enum {
    STRATA_RABBITMQ_DEFAULT = 0,
    STRATA_RABBITMQ_FANOUT = 1, /**< to every queue that is bound */
    STRATA_RABBITMQ_TOPIC = 2,  /**< to those bound with routing_key, by the rules of topics */
    STRATA_RABBITMQ_DIRECT = 3  /**< to those bound with routing_key */
};

/**
 * A bus over RabbitMQ (AMQP 0-9-1).  Start from STRATA_RABBITMQ_OPTIONS_INIT, change what differs.  Strings are copied.
 *
 * Every node has a queue of its own, bound to one exchange; both are declared where they are not there.  A message is published once
 * the server has confirmed it, which is when every queue that is bound has it; what it has delivered is acknowledged after it was
 * handed over.  The user needs configure, write and read for the exchange and its queues.
 *
 * A durable bus keeps a queue for each node_name while its process is away: nothing is lost unless the queue is deleted, which is
 * noticed.  Two processes of one node_name: the second is refused, in words, for each would get half.
 */
typedef struct strata_rabbitmq_options {
    size_t size;                /**< sizeof this struct; the INIT macro sets it */
    const char *url;            /**< "amqp://[user:password@]host[:port][/vhost]"; "amqps://" is the same over TLS (1.2 or newer;
                                     port 5671): the server's certificate is checked, for its host too.  host may be
                                     "[::1]".  %40 is "@" in any part, %2F the vhost "/", which is the default.  Default
                                     "amqp://guest:guest@127.0.0.1:5672" */
    const char *exchange;       /**< the channel: nodes of one cache name the same; default "strata.invalidations".  One that is
                                     there already, of another type or durability, is an error that says so */
    int32_t exchange_type;      /**< STRATA_RABBITMQ_...; default fanout */
    int32_t durable;            /**< STRATA_ON: exchange and queue outlive the server's restart and this process, messages are written
                                     to its disk, the queue is called <exchange>.<node_name>; needs a node_name.  Default off:
                                     the queue is the connection's alone and goes with it */
    const char *routing_key;    /**< to publish and to bind with; default "" */
    const char *queue;          /**< the queue's name, one of its own for each node; default: durable, as said there; else the
                                     server makes one up */
    int32_t persistent;         /**< messages are written to the server's disk; default: as `durable` */
    uint32_t prefetch;          /**< deliveries that may be unacknowledged; at most 65,535; default: as the server has it */
    uint32_t max_pending;       /**< messages that may be under way at once; more fail at once, and are sent again later; default
                                     10,000 */
    int32_t tls_verify;         /**< STRATA_OFF: amqps:// talks to whoever answers there, which protects from nobody who can put
                                     himself between; default on */
    int64_t timeout_ms;         /**< a message that is not confirmed after that has failed; default 2,000; at most an hour */
    int64_t connect_timeout_ms; /**< to be connected, authenticated and subscribed; default 2,000; at most an hour */
    int64_t heartbeat_ms;       /**< a connection on which the server says nothing for twice as long is given up; in whole seconds;
                                     default 10,000; at most an hour */
    int64_t queue_expires_ms;   /**< durable: the server deletes the queue of a node that was away for so long, or the queues of
                                     nodes that never return would fill its disk; such a node is told that it lost messages.
                                     Default seven days; at least a second, at most 49 days; STRATA_OFF: never.  Of a queue
                                     that is there already it is not changed */
    const char *tls_ca_file;    /**< certificates in PEM, one of whom has signed the server's; default those that OpenSSL trusts
                                     on this machine.  This and the next ones with amqps:// alone */
    const char *tls_cert_file;  /**< our certificate and its chain in PEM, for a server that wants one; with tls_key_file */
    const char *tls_key_file;   /**< its private key in PEM, without a password */
    const char *name;           /**< shown in stats and events; default "rabbitmq" */
} strata_rabbitmq_options;
#define STRATA_RABBITMQ_OPTIONS_INIT \
    { sizeof(strata_rabbitmq_options), NULL, NULL, 0, 0, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL, NULL, NULL }

/**
 * A bus over RabbitMQ.  strata_open() waits for the server no longer than strata_coherence_options.open_wait_ms.
 * @param options borrowed; NULL takes every default.
 * @return a bus; never NULL: one that could not be built remembers why, and strata_open() reports it: STRATA_EINVAL;
 *         STRATA_EUNSUPPORTED, a strata built without rabbitmq-c or, for amqps://, without TLS in it; STRATA_ENOMEM.
 * Ownership: strata_open() takes it over; otherwise strata_bus_free().
 */
STRATA_API strata_bus *strata_rabbitmq_bus(const strata_rabbitmq_options *options);

STRATA_END_DECLS
#endif /* STRATA_RABBITMQ_H */
