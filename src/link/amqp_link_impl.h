/* amqp_link_impl.h - a link's insides: the ring of messages (amqp_ring.c) and the thread (amqp_link.c). */
#ifndef STRATA_LINK_AMQP_LINK_IMPL_H
#define STRATA_LINK_AMQP_LINK_IMPL_H
#include <stdatomic.h>

#include "src/link/amqp_link.h"
#include "src/os/os_lock.h"
#include "src/os/os_thread.h"
#include "src/os/os_wake.h"

struct amqp_session;

/* One message.  It leaves the ring when it is neither waited for nor out. */
struct amqp_slot {
    strata_slice bytes; /* borrowed while it is waited for */
    void *owner;
    int64_t deadline_us;
    uint64_t tag;  /* it was sent, and is not confirmed; 0: it is not */
    uint32_t size; /* what it takes of the window */
    int waiting;   /* done() was not called */
    int returned;  /* no queue got it */
};

/* head <= sent <= tail count messages since open; those from head to sent are out.  Submitters move tail, the thread the others. */
struct amqp_ring {
    struct amqp_slot *slots; /* room is a power of two */
    size_t room, head, sent, tail;
    size_t waiting;
};

struct amqp_link {
    struct amqp_link_options o;
    struct os_thread thread;
    struct os_wake wake;
    struct os_lock lock; /* for what follows, up to fd */
    struct amqp_ring ring;
    int away;            /* an attempt has failed, and the next is not due: nothing is taken */
    strata_error reason; /* why */
    int stopping;
    int roused;      /* the pause before the next attempt is over */
    int64_t stop_us; /* until then it flushes */
    int fd;          /* a descriptor of our own of the connection's socket, or -1: to be shut down by who stops */
    /* The thread's alone. */
    struct amqp_session *session;
    int subscribed;
    size_t window;     /* bytes that are out */
    uint64_t next_tag; /* of this connection */
    uint32_t failures;
    int64_t retry_us, up_us;
    int more;                        /* there may be something to read that no descriptor tells */
    int knows;                       /* that the queue is gone was told, or does not matter */
    int joined;                      /* the thread is no more */
    _Atomic(uint32_t) ended, inside; /* inside: in a call of the library's */
    _Atomic(uint32_t) up;
    _Atomic(uint64_t) published, failed, received, bytes_out, bytes_in, connects, losses;
    char server[40]; /* under the lock */
};

/* amqp_ring.c; without the lock. */
int strata__amqp_ring_push(struct amqp_link *link, strata_slice bytes, void *owner, int *out_wake, strata_error *err);
/* Send what the window lets out.  STRATA_OK, or the connection is broken. */
int strata__amqp_ring_send(struct amqp_link *link, strata_error *err);
void strata__amqp_ring_confirm(struct amqp_link *link, uint64_t tag, int multiple, int taken);
void strata__amqp_ring_returned(struct amqp_link *link, uint64_t tag);
/* Those that have waited too long; when the next one will have, INT64_MAX none. */
int64_t strata__amqp_ring_expire(struct amqp_link *link, int64_t now_us);
/* The connection is gone: what was out has failed, and the rest too where `all`. */
void strata__amqp_ring_fail(struct amqp_link *link, int all, int status, const strata_error *why);

#endif /* STRATA_LINK_AMQP_LINK_IMPL_H */
