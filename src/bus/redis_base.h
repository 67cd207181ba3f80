/* redis_base.h - what the buses over Redis share: options, links, publishing, the end; and what they tell the cache of being connected.
 *
 * Two links, each with one connection and a thread: one writes, and nothing that it asks takes long; the other one reads, and waits in
 * the server for what comes.  So messages leave in the order in which they were submitted, and a reader that waits holds nobody up.
 * How messages are read is the kind's own: see redis_stream.c, redis_pubsub.c. */
#ifndef STRATA_BUS_REDIS_BASE_H
#define STRATA_BUS_REDIS_BASE_H
#include <stdatomic.h>

#include "src/link/redis_link.h"
#include "src/link/redis_target.h"
#include "src/os/os_lock.h"
#include "strata/bus_redis.h"

enum { REDIS_BUS_WORDS = 8, REDIS_BUS_MESSAGE = 256 * 1024 };

struct redis_bus;

struct redis_bus_kind {
    const char *name;
    uint32_t flags;
    size_t bytes;   /* of its struct, which begins with a struct redis_bus */
    int has_length; /* it knows max_length */
    /* The command that publishes: how many words.  Its key is the word 1. */
    size_t (*command)(struct redis_bus *b, strata_slice message, strata_slice words[REDIS_BUS_WORDS]);
    /* 1: the reply that such a command has. */
    enum redis_reply_kind taken;
    /* Begin to read; resume_from is borrowed.  STRATA_OK, < 0. */
    int (*read)(struct redis_bus *b, strata_slice resume_from, strata_error *err);
    /* What read() has made is void: nobody is inside any more, and the links are closed.  NULL: there is nothing. */
    void (*end)(struct redis_bus *b);
};

struct redis_bus {
    strata_bus base;
    strata_bus_ops ops;
    const struct redis_bus_kind *kind;
    const char *verb;                 /* the command that publishes */
    strata_redis_bus_options options; /* presets filled in; no text of the caller's is kept */
    struct redis_target target;
    strata_slice key; /* the stream, the channel */
    char *key_bytes;
    char length[24];       /* max_length as text */
    strata_bus_host *host; /* NULL: not started */
    const strata_allocator *mem;
    struct redis_link *writer, *reader;

    _Atomic(int) stopping;
    _Atomic(int) stopped;     /* nothing may be told to the host any more but that messages are done */
    _Atomic(uint32_t) inside; /* threads and timers that may touch the links */
    _Atomic(uint32_t) out;    /* messages that are not done */
    _Atomic(int) stalled;     /* no memory for a timer: who publishes next goes on reading */
    void (*go_on)(struct redis_bus *b);

    struct os_lock lock; /* of what follows; held while up and down are told, so that they are told in their order */
    int reads, refused;  /* it is subscribed; the server does not let us publish */
    int told;            /* 1 up, -1 down, 0 nothing yet */
    strata_error why;    /* why it does not read, or may not publish */
    strata_error told_why;

    _Atomic(uint64_t) published, failed, received, bytes_out, bytes_in, ups, lost; /* relaxed: counters */
};

strata_bus *strata__redis_bus_new(const struct redis_bus_kind *kind, const strata_redis_bus_options *options);

/* What both links are opened with, and the bus as the callbacks' ctx. */
struct redis_link_options strata__redis_bus_link(struct redis_bus *b);

/* It is subscribed; it is not, or no more, for this reason. */
void strata__redis_bus_reads(struct redis_bus *b);
void strata__redis_bus_away(struct redis_bus *b, const strata_error *why);
void strata__redis_bus_lost(struct redis_bus *b, const char *why);
void strata__redis_bus_deliver(struct redis_bus *b, strata_slice message, strata_slice cursor);
/* b->go_on() after so long, on a worker, unless it is stopped by then. */
void strata__redis_bus_later(struct redis_bus *b, int64_t pause_ms);

/* Between the two, a thread that is none of a link's may touch the links.  0: it may not, the bus is being stopped. */
int strata__redis_bus_enter(struct redis_bus *b);
void strata__redis_bus_leave(struct redis_bus *b);

/* A reply that is an error or of the wrong kind, in words that say what to do.  STRATA_EIO. */
int strata__redis_bus_refused(const struct redis_bus *b, const char *command, const struct redisReply *reply,
                              strata_error *err);

#endif /* STRATA_BUS_REDIS_BASE_H */
