/* strata/sys/bus.h - the contract of a bus: what carries invalidations between the nodes that share data.
 *
 * A bus moves opaque messages to every node of a channel, and says when some may have been lost.  What is in them, who sent them,
 * whether one is missing, and what follows from that, is the cache's affair (docs/decisions/0010): a bus counts nothing, remembers
 * nothing of a message, and trusts nobody.  tests/contract runs one suite against every bus.  Extenders' API: may change in a
 * minor version. */
#ifndef STRATA_SYS_BUS_H
#define STRATA_SYS_BUS_H
#include "strata/base.h"
#include "strata/error.h"
#include "strata/stats.h"
#include "strata/sys/allocator.h"
STRATA_BEGIN_DECLS

typedef struct strata_bus strata_bus;
typedef struct strata_bus_host strata_bus_host; /* opaque: what the cache offers its buses */
typedef struct strata_publish strata_publish;
typedef struct strata_follow strata_follow;

/** What a bus is. */
enum {
    /** One total order: each node gets what was published, its own messages too, in the order in which they were taken.  So a
     *  message of one's own that comes back proves that nothing before it is missing. */
    STRATA_BUS_ORDERED = 1,
    /** After a reconnect what came meanwhile is delivered, or strata_bus_lost() called: a connection that was away loses nothing. */
    STRATA_BUS_REPLAYS = 2,
    /** The server keeps messages for this node while its process is away; needs a stable node_name. */
    STRATA_BUS_DURABLE = 4,
    /** Publishes nothing: it tells what other clients of a store did to keys, by strata_bus_key_changed(). */
    STRATA_BUS_RECEIVES_ONLY = 8,
    /** One's own messages are delivered, too.  ORDERED implies it. */
    STRATA_BUS_ECHOES = 16,
    /** With RECEIVES_ONLY: it is told of those keys alone that this cache has read in its store, and of each once, until it is read there
     *  again: strata_bus_follow().  So what the cache holds of a key without having read it there, it reads. */
    STRATA_BUS_FOLLOWS = 32
};

/** One message on its way out.  Belongs to the cache; the bus has it from publish() until it calls strata_publish_done(). */
struct strata_publish {
    size_t size;        /**< sizeof this struct */
    strata_slice bytes; /**< at most max_message_bytes; borrowed until it is done */
    int status;         /**< out */
    strata_error *err;  /**< out: words for a status < 0; never NULL */
    void (*done)(strata_publish *message); /**< the cache's; call it through strata_publish_done() */
    void *owner;                           /**< the cache's */
    void *bus_data;                        /**< the bus' own use while it has the message */
};

/** What a bus is told when it starts. */
typedef struct strata_bus_start {
    size_t size;              /**< sizeof this struct */
    const char *node_name;    /**< stable, of this node; NULL: it has none.  Outlives the bus */
    strata_slice node_id;     /**< 16 random bytes, new with each open */
    strata_slice resume_from; /**< a cursor that this bus once gave with a message: deliver what came behind it, or call
                                   strata_bus_lost().  Empty: begin with what comes now.  Borrowed for the call */
} strata_bus_start;

/** Have the store remember what this cache reads there, and tell a listener of changes.  One at a time; the bus', until it is done. */
struct strata_follow {
    size_t size;           /**< sizeof this struct */
    const char *kind;      /**< of the layer that can: "redis" */
    strata_slice server;   /**< the server where the listener is, as it calls itself: Redis' run_id.  Empty: only asks whether it can */
    strata_slice listener; /**< the connection there that is to be told: Redis' CLIENT ID, in digits */
    uint64_t number;       /**< of this listener: another one has another; never 0 */
    int64_t timeout_ms;    /**< until it is done, about */
    /** STRATA_OK: what was read since the last call for this listener that was good is followed, and was; STRATA_AGAIN: from now on; what
     *  was read before may not be.  < 0, with words: nothing is known.  Once, from any thread. */
    void (*done)(strata_follow *how, int status, const strata_error *why);
    void *owner;         /**< the bus' */
    strata_slice prefix; /**< which of the server's keys are told of: they begin with this.  A layer with another prefix refuses it */
    int32_t all;         /**< 1: those are told of, read or not.  Only asks, of a cache that has such a layer, whether it is that layer's prefix */
};

/** A bus' functions.  Slots are only ever appended; optional ones are NULL. */
typedef struct strata_bus_ops {
    size_t size;      /**< sizeof this table */
    const char *kind; /**< "redis_stream", "nats": shown in errors */
    /** Begin to connect, and to deliver.  Called once by strata_open().  Options that are wrong are an error; a server that is
     *  away is none: it is tried again, and strata_bus_down() tells.  @return STRATA_OK or an error, which fails the open. */
    int (*start)(strata_bus *bus, strata_bus_host *host, const strata_bus_start *how, strata_error *err);
    /** Publish, and strata_publish_done(): STRATA_OK once the server has taken it (as far as its protocol tells), else < 0, now or
     *  later, from any thread.  May not block.  What was submitted by one thread after another is published in that order.  A
     *  message that has failed was perhaps published all the same: the cache sends it again, and who gets it twice notices.
     *  NULL with RECEIVES_ONLY. */
    void (*publish)(strata_bus *bus, strata_publish *message);
    /** No delivery, and no other call of the host's, begins after it has returned; every message that is out is done, if need be with
     *  STRATA_ECLOSED.  What was submitted before is published if that takes no longer than `flush_ms`.  Called once, before close(),
     *  while the host is still there.  Blocks. */
    void (*stop)(strata_bus *bus, int64_t flush_ms);
    /** Connections, reconnects, bytes... of now.  NULL: unknown. */
    void (*stats)(strata_bus *bus, strata_bus_stats *out);
    /** In a child after fork: forget everything, touch no descriptor, lock or thread of the parent; start() follows.  NULL: refused. */
    int (*reopen)(strata_bus *bus, strata_error *err);
    /** Give everything back.  A connection that the application has lent is left open. */
    void (*close)(strata_bus *bus);
    /** The cache is closing, and has something to tell yet: one that pauses between two attempts to connect makes the next at once.
     *  strata_bus_up() follows where that succeeds.  Perhaps again and again, between start() and stop(), from one thread; does not
     *  block.  NULL: it makes no pauses, or publishes nothing. */
    void (*rouse)(strata_bus *bus);
} strata_bus_ops;

/** The base of a bus: the first member of its own struct. */
struct strata_bus {
    size_t size;                /**< sizeof this struct */
    const strata_bus_ops *ops;  /**< static */
    uint32_t flags;             /**< STRATA_BUS_... */
    uint32_t max_message_bytes; /**< of one message; at least 4,096 */
    char name[32];              /**< shown in stats, health and events */
    strata_error failed;        /**< a constructor that failed sets status < 0 here; strata_open() reports it */
};

/** The message is published, or has failed; the bus must not touch it afterwards.  Threads: any. */
STRATA_API void strata_publish_done(strata_publish *message, int status);

/** Give a bus back that no strata_open() took over.  NULL is a no-op. */
STRATA_API void strata_bus_free(strata_bus *bus);

/* What the cache offers a bus that was started.  All of them may be called on any thread, copy what they are given, and only
 * enqueue: none waits for anything.  Deliveries of one bus are serialized by the bus. */

/** A message has come.  @param cursor where it stands, for resume_from: at most 255 bytes; empty where there is no such thing. */
STRATA_API void strata_bus_delivered(strata_bus_host *host, strata_slice bytes, strata_slice cursor);
/** It is subscribed: what is published from now on will be delivered.  After the first time, and without REPLAYS, the cache takes it
 *  that messages were lost while it was down. */
STRATA_API void strata_bus_up(strata_bus_host *host);
/** It is not connected, for this reason, and goes on trying. */
STRATA_API void strata_bus_down(strata_bus_host *host, const strata_error *why);
/** Messages were, or may have been, lost: trimmed, dropped by a server, not understood. */
STRATA_API void strata_bus_lost(strata_bus_host *host, const char *why);
/** RECEIVES_ONLY: everything that happened before `sent_ms` of the cache's clock has been told: when a question was sent whose answer
 *  has come, on the connection that tells, behind all that.  To be called at least as often as heartbeat_ms says (every second): without
 *  it the cache does not trust what it holds.  Other buses need not: the cache's own messages prove it. */
STRATA_API void strata_bus_proven(strata_bus_host *host, int64_t sent_ms);
/** RECEIVES_ONLY: somebody wrote, deleted or lost (expiry, eviction) this key of the store, `key` being the storage key without
 *  the layer's prefix.  An empty key: all of them. */
STRATA_API void strata_bus_key_changed(strata_bus_host *host, strata_slice key);
/** FOLLOWS: every connection of the cache's shared layer is to be followed, and is looked after.  To be called as often as heartbeats
 *  are: a STRATA_OK shows that no connection was lost since the last one.  @return STRATA_OK: how->done() is called, unless only asked; < 0: it
 *  is not: STRATA_EUNSUPPORTED: no shared layer of this cache can. */
STRATA_API int strata_bus_follow(strata_bus_host *host, strata_follow *how, strata_error *err);
/** The cache's clock in milliseconds; starts anywhere, never goes back. */
STRATA_API int64_t strata_bus_now_ms(strata_bus_host *host);
/** Run fn(ctx) on a worker, once `delay_ms` have passed.  @return STRATA_OK, STRATA_ECLOSED, STRATA_ENOMEM. */
STRATA_API int strata_bus_after(strata_bus_host *host, int64_t delay_ms, void (*fn)(void *ctx), void *ctx);
/** The cache's allocator. */
STRATA_API const strata_allocator *strata_bus_allocator(strata_bus_host *host);

STRATA_END_DECLS
#endif /* STRATA_SYS_BUS_H */
