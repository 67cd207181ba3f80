/* tracking_impl.h - what the files of the bus share.
 *
 *   redis_tracking.c   the bus: options, heartbeats, what its host is told      tracking_words.c  what servers are asked, and say: pure
 *   tracking_server.c  one connection to one server                             tracking_cluster.c  which servers: those of a Cluster
 *   tracking_keys.c    per_key: what the layer's connections read is followed
 *
 * A heartbeat asks all connections at once, and is over when all have answered, or failed: one at a time.  What it shows is judged then, by one
 * thread. */
#ifndef STRATA_BUS_REDIS_TRACKING_IMPL_H
#define STRATA_BUS_REDIS_TRACKING_IMPL_H
#include <stdatomic.h>

#include "src/bus/bus_host.h"
#include "src/bus/redis_tracking/tracking_words.h"
#include "src/link/redis_slots.h"
#include "src/link/redis_target.h"
#include "src/os/os_lock.h"
#include "strata/bus_redis_tracking.h"

struct tracking;
struct tracking_cluster;

enum { TRACKERS_MOST = 512, MASTERS_MOST = 240 };

/* What a connection is for. */
enum tracker_kind {
    TRACKER_PREFIX, /* to be told of all keys with our prefix */
    TRACKER_KEYS,   /* to be told of keys that other connections have read */
    TRACKER_ASKER,  /* in RESP2, where who listens can't ask: to ask a master of a Cluster what it serves */
    TRACKER_SEED    /* the same of one that the URL names, until the masters are found */
};

/* One server, and what it tells. */
struct tracker {
    struct tracking *t;
    enum tracker_kind kind;
    struct redis_place place; /* of a Cluster's node; else host is "" */
    struct redis_link *link;
    _Atomic(int) up;
    _Atomic(uint64_t) ups; /* which connection it is, counted */

    /* The link's thread's. */
    strata_slice words[TRACKING_WORDS];
    char id[24];           /* CLIENT ID, in digits; "" not known yet */
    char run_id[RUN_ROOM]; /* the server's */

    /* The question of a heartbeat. */
    struct redis_request question;
    uint64_t asked_ups;

    /* Of who judges: it has been listened to, without a gap, since what is held counts as known; as that connection.  0: it was not. */
    uint64_t known_ups;
    int is_wanted;
};

struct tracking {
    strata_bus base;                       /* first */
    strata_redis_tracking_options options; /* texts are in target and prefix */
    struct redis_target target;
    char *prefix_text;
    strata_slice prefix;
    strata_bus_host *host;            /* NULL: not started */
    struct tracking_cluster *cluster; /* NULL: one server */
    _Atomic(int) inside;              /* threads that use trackers, and must be waited for */
    struct os_lock lock;
    /* Under it. */
    int stopping;
    int armed;      /* the next heartbeat is on its way, */
    int64_t due_ms; /* and is due then */
    int told_up;    /* as the host knows it */
    char server[40];
    /* per_key: the connection that is told, and which one that is; "" none. */
    char listener[24], listener_at[RUN_ROOM];
    uint64_t listener_number;

    /* Changed under the lock by start(), stop(), and who judges. */
    struct tracker *trackers[TRACKERS_MOST];
    size_t tracker_count;

    _Atomic(uint64_t) received, bytes, ups, lost; /* counts */

    /* The heartbeat that is out. */
    _Atomic(int) is_out;
    int64_t asked_ms;
    _Atomic(uint32_t) left;
    _Atomic(int) failed;
    strata_follow follow;
    uint64_t follow_number;
    int follow_status;
    strata_error follow_why;
};

static inline int tracking_is_resp3(const struct tracking *t) { return t->options.protocol == 3; }
static inline int tracker_listens(const struct tracker *tr) { return tr->kind < TRACKER_ASKER; }
static inline int tracking_per_key(const struct tracking *t) { return t->options.per_key == STRATA_ON; }

/* tracking_server.c */
/* Opens the link; NULL: that failed, says *err.  `place` NULL: what the target says. */
struct tracker *strata__tracker_open(struct tracking *t, enum tracker_kind kind, const struct redis_place *place,
                                     strata_error *err);
/* Neither on its own link's thread.  First it only tells no more, and stays. */
void strata__tracker_quiet(struct tracker *tr);
void strata__tracker_close(struct tracker *tr);
/* In a child after fork. */
void strata__tracker_abandon(struct tracker *tr);
int strata__tracker_asks_map(const struct tracker *tr);
/* strata__tracking_answered() follows. */
void strata__tracker_ask(struct tracker *tr);

/* redis_tracking.c: what a connection tells its bus, on the link's thread. */
void strata__tracking_came_up(struct tracker *tr);
void strata__tracking_went_down(struct tracker *tr, const strata_error *why);
void strata__tracking_answered(struct tracker *tr);
/* One part of a heartbeat is over. */
void strata__tracking_leave(struct tracking *t);
/* What the host is told, in the order in which things were found out. */
void strata__tracking_tell_up(struct tracking *t);
void strata__tracking_tell_down(struct tracking *t, const strata_error *why);
/* The next heartbeat is soon. */
void strata__tracking_soon(struct tracking *t);

/* tracking_keys.c */
/* Can it be done here?  STRATA_OK, < 0 with words. */
int strata__tracking_keys_check(struct tracking *t, strata_error *err);
/* The connection that is told is there. */
void strata__tracking_keys_listen(struct tracker *tr);
/* One part of a heartbeat, and what it has shown, once all are over. */
void strata__tracking_keys_ask(struct tracking *t);
void strata__tracking_keys_judge(struct tracking *t);

/* tracking_cluster.c */
int strata__tracking_cluster_start(struct tracking *t, strata_error *err);
void strata__tracking_cluster_free(struct tracking *t);
/* A heartbeat begins; a node has answered; all have, and what that shows is judged, on a worker. */
void strata__tracking_cluster_begin(struct tracking *t);
void strata__tracking_cluster_answer(struct tracker *tr);
void strata__tracking_cluster_judge(struct tracking *t);

#endif /* STRATA_BUS_REDIS_TRACKING_IMPL_H */
