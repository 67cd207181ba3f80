/* nats_bus_impl.h - the bus on NATS inside.
 *
 * Two threads a bus.  The reader makes the connection, takes its place in a stream, delivers, and makes the connection anew when it
 * is gone; all calls of the host's come from it.  The writer publishes what was queued, as much as there is at once, and waits until
 * the server has confirmed it.  The connection is the reader's: before it closes one it waits until the writer does not use it. */
#ifndef STRATA_BUS_NATS_BUS_IMPL_H
#define STRATA_BUS_NATS_BUS_IMPL_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "src/bus/nats/nats_place.h"
#include "src/bus/nats/nats_url.h"
#include "src/link/nats_link.h"
#include "src/os/os_thread.h"
#include "strata/nats.h"
#include "strata/sys/bus.h"

enum {
    NATS_OTHERS = 32, /* servers that a cluster has named; more are not kept */
    NATS_BATCH = 256, /* messages that are published at once */
    NATS_CONSUMER_BYTES = 256,
    NATS_HEARTBEAT_MS = 1000 /* of a consumer that has nothing to send; after four of them it is looked at */
};

/* What the writer finds. */
enum nats_state {
    NATS_STATE_NEW, /* the first connection is being made: messages wait for it */
    NATS_STATE_UP,
    NATS_STATE_DOWN /* messages fail at once */
};

/* All relaxed: each is a number by itself. */
struct nats_counts {
    _Atomic(uint64_t) published, failed, received, bytes_out, bytes_in, connects, lost;
};

struct nats_bus {
    strata_bus base;
    strata_nats_options options; /* the bus' own copies of texts */
    char *url_text;              /* cut up by: */
    struct nats_url url;
    const strata_allocator *mem;        /* the host's, from start to close */
    strata_bus_host *host;              /* NULL: not started */
    uint64_t forks;                     /* the generation it was started in */
    char consumer[NATS_CONSUMER_BYTES]; /* jetstream: its name, as JetStream allows it */
    char client_name[64];
    struct nats_counts counts;
    struct os_thread reader, writer;

    int has_lock; /* from start to close: */
    struct os_mutex lock;
    struct os_cond changed; /* anything below */
    enum nats_state state;
    strata_error why;             /* lock: DOWN */
    struct nats_link *link;       /* lock: while there is one; the writer uses it when the state is UP */
    struct nats_inlet *inlet;     /* lock: what the reader waits in */
    struct nats_inlet *acks;      /* lock: jetstream: what the writer waits in */
    char ack_subject[80];         /* lock: jetstream: of these, up to the number */
    int uses;                     /* lock: the writer has link and acks */
    int look_again;               /* lock: the writer was told that the stream is not there */
    int stopping;                 /* lock */
    int roused;                   /* lock: the pause before the next attempt is over */
    strata_publish *first, *last; /* lock: a queue, by bus_data */
    uint32_t queued;              /* lock: how many are in it, and with the writer */
    char server[40];              /* lock */

    /* The reader's alone. */
    struct nats_place place;
    char deliver_subject[128]; /* where the consumer sends to, or was told to */
    char made_subject[128];    /* the last one that it was told to for sure; empty: none */
    char *others[NATS_OTHERS]; /* "host:port", with mem */
    size_t other_count;
    uint32_t attempts; /* since it was up; chooses the server and the pause */
    int64_t heard_ms;  /* jetstream: the last time that anything came */
    uint32_t unacknowledged;
    char ack_reply[256];
};

static inline void nats_count(_Atomic(uint64_t) *counter, uint64_t by)
{
    atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

struct nats_link_options strata__nats_link_options(const struct nats_bus *b);

/* nats_read.c */
void strata__nats_reader(void *bus);
void strata__nats_say_lost(struct nats_bus *b, const char *why);

/* nats_write.c */
void strata__nats_writer(void *bus);
void strata__nats_submit(strata_bus *bus, strata_publish *message);
/* The caller holds the lock: everything that waits fails with that. */
void strata__nats_fail_queued(struct nats_bus *b, int status);

/* nats_jet.c: the reader's way into a stream.  *out_inlet is where it delivers.  STRATA_OK, < 0. */
int strata__nats_jet_attach(struct nats_bus *b, struct nats_link *link, struct nats_inlet **out_inlet,
                            strata_error *err);
/* One message of it.  0: it is over, and *err says why. */
int strata__nats_jet_take(struct nats_bus *b, struct nats_link *link, struct nats_inlet *inlet,
                          const struct nats_message *message, strata_error *err);
/* Nothing came for a while.  0: it is over. */
int strata__nats_jet_idle(struct nats_bus *b, struct nats_link *link, strata_error *err);
/* A node's name as one of a consumer, which may have no dots, blanks, stars or slashes.  1: it fits. */
int strata__nats_consumer_name(const char *node, char *out, size_t size);

#endif /* STRATA_BUS_NATS_BUS_IMPL_H */
