/* amqp_session.h - one connection of rabbitmq-c, from the socket to the consumer: what amqp_link.c does with amqp.h.
 *
 * One channel for all: confirms, deliveries and what is returned come on it, in the order in which the server sent them.  Every function
 * belongs to the link's thread.  Nothing here waits but connect and login, which have a deadline (os_clock.h, exact).
 * Any error is the connection's end: free it and make another. */
#ifndef STRATA_LINK_AMQP_SESSION_H
#define STRATA_LINK_AMQP_SESSION_H
#include "src/link/amqp_link.h"

struct amqp_session;

enum amqp_event_kind {
    AMQP_NOTHING,   /* there is nothing more, now */
    AMQP_DELIVERED, /* tag, bytes: valid until the next call */
    AMQP_CONFIRMED, /* tag, multiple: of ours */
    AMQP_REFUSED,   /* the same; the server has not taken them */
    AMQP_RETURNED,  /* tag: of ours, no queue got it; its confirmation follows */
    AMQP_TOO_LARGE, /* tag: a delivery that was skipped */
    AMQP_DELETED    /* the queue is not there any more */
};

struct amqp_event {
    enum amqp_event_kind kind;
    uint64_t tag;
    int multiple;
    strata_slice bytes;
};

/* With *fd, a connected socket, which it takes (and sets to -1); with TLS it connects by itself.  STRATA_OK, < 0. */
int strata__amqp_session_connect(struct amqp_session **out, const struct amqp_link_options *options, int *fd,
                                 int64_t deadline_us, strata_error *err);
int strata__amqp_session_fd(const struct amqp_session *session);
/* Authenticate, declare, bind and consume.  *out_made 1: a durable queue was not there.  STRATA_OK, < 0. */
int strata__amqp_session_login(struct amqp_session *session, int64_t deadline_us, int *out_made, strata_error *err);
/* What the server calls itself. */
const char *strata__amqp_session_server(const struct amqp_session *session);
/* Words for the server not taking messages now, or NULL. */
const char *strata__amqp_session_blocked(const struct amqp_session *session);
/* The tag of the first is 1, and each has the next one. */
int strata__amqp_session_publish(struct amqp_session *session, strata_slice bytes, strata_error *err);
/* Looks, and keeps the heartbeats going: to be called at least every quarter of heartbeat_ms. */
int strata__amqp_session_next(struct amqp_session *session, struct amqp_event *out, strata_error *err);
/* Everything up to this tag. */
int strata__amqp_session_ack(struct amqp_session *session, uint64_t tag, strata_error *err);
/* Tell the server, for at most so long.  Only free() follows. */
void strata__amqp_session_goodbye(struct amqp_session *session, int64_t most_ms);
/* Does not wait.  NULL is a no-op. */
void strata__amqp_session_free(struct amqp_session *session);

/* TLS, amqp_tls.c: of rabbitmq-c's, where it was built with it. */
struct amqp_connection_state_t_;
struct amqp_socket_t_;
/* NULL with words.  It is the connection's. */
struct amqp_socket_t_ *strata__amqp_tls_socket(struct amqp_connection_state_t_ *connection,
                                               const struct amqp_link_options *options, strata_error *err);
/* amqp_trust.c: whom OpenSSL trusts on this machine, for an SSL_CTX.  0, or -1. */
int strata__amqp_trust_default(void *ssl_ctx);

#endif /* STRATA_LINK_AMQP_SESSION_H */
