/* redis_cluster_impl.h - what the files of a cluster share: nodes, lanes, hops.
 *
 *   redis_cluster.c  opening, the way in, settling, closing      redis_hop.c   one request on its way
 *   redis_nodes.c    the nodes' links, and the thread that keeps the map      redis_lane.c  which requests wait for which
 *
 * A node is pinned by the hops that are on their way to it and by the slots that it owns: its link is closed once there are
 * neither.  Nodes themselves stay until the end: they are few, and their numbers are given away.
 *
 * Lock order: a lane's, the cluster's, then those of a link.  None is held while a request is submitted or answered. */
#ifndef STRATA_LINK_REDIS_CLUSTER_IMPL_H
#define STRATA_LINK_REDIS_CLUSTER_IMPL_H
#include <stdatomic.h>

#include "src/link/redis_cluster.h"
#include "src/link/redis_slots.h"
#include "src/os/os_lock.h"
#include "src/os/os_thread.h"

/* Some hundred thousand hops may be out, and each lane makes some slots wait for each other when one of them moves. */
enum { REDIS_LANES = 1024 };

/* So many redirections are followed at once, and so many after each pause: to the owner, and to whom it hands the slot. */
enum { REDIS_REDIRECTS_MOST = 8, REDIS_REDIRECTS_AGAIN = 3 };

struct redis_node {
    struct redis_place place;
    struct redis_link *link;       /* NULL: closed.  Changed under the cluster's lock, while nothing pins the node */
    _Atomic(uint32_t) hops, slots; /* what pins it */
};

/* One request on its way, perhaps not for the first time. */
struct redis_hop {
    struct redis_request request; /* first: a node's link gives it back */
    struct redis_request *outer;  /* whose it is */
    struct redis_cluster *cluster;
    struct redis_node *node; /* where it is, pinned; NULL: nowhere yet */
    struct redis_hop *next;  /* of those that are held */
    int64_t deadline_ms;
    uint32_t generation; /* of its lane, when it was sent */
    uint16_t slot;       /* 0 where has_slot is */
    uint8_t has_slot, redirects, epoch, probes;
    strata_slice args[]; /* a copy; their bytes follow */
};

struct redis_hops {
    struct redis_hop *first, *last;
};

struct redis_lane {
    struct os_lock lock;
    /* Under it. */
    uint32_t generation;    /* grows when one of its slots changes its owner */
    uint32_t now, old;      /* hops that are out: of this generation, and of earlier ones */
    int releasing;          /* somebody sends those that were held */
    struct redis_hops held; /* until nothing of an earlier generation is out */
    /* Slots whose nodes contradict each other, a bit for each of the lane's. */
    uint16_t disputed; /* until somebody serves it */
    uint16_t paused;   /* of those: its hops wait in `pausing`, */
    uint16_t probing;  /* but for one, which asks again */
    uint32_t pauses;   /* since nothing was disputed */
    int64_t disputed_ms, circled_ms, resume_ms;
    struct redis_hops pausing;
};

enum redis_cluster_state {
    REDIS_LOOKING, /* for the first map: what is asked waits */
    REDIS_MAPPED,
    REDIS_LOST, /* nobody told us; it is tried again in a moment: what is asked fails, with `reason` */
    REDIS_ENDED
};

struct redis_cluster {
    const struct redis_link_options *options; /* strings are the owner's */
    struct redis_link_options node_options;   /* what a node's link is opened with, but for host and port */
    const strata_allocator *mem;
    struct os_thread thread;
    _Atomic(uint32_t) wake;         /* what the thread sleeps on */
    _Atomic(int) wanted;            /* a new map, because somebody has doubts */
    _Atomic(int) demanded;          /* a new map, at once */
    _Atomic(int) map_good;          /* the last question was answered with one; else `reason` */
    _Atomic(uint32_t) begun, ended; /* questions, and those that were answered or not */
    _Atomic(int) closing;
    _Atomic(int) state;       /* enum redis_cluster_state; a lane that waits for it is told under its lock */
    _Atomic(uint32_t) inside; /* threads that are on the way in */
    _Atomic(size_t) held;     /* hops that wait in all lanes */
    _Atomic(uint32_t) epoch;  /* its last bit says where a new hop is counted */
    _Atomic(size_t) out[2];   /* hops, by that bit */
    struct os_mutex settling; /* one at a time: see strata__redis_cluster_settle() */

    struct os_lock lock;
    /* Under it. */
    struct redis_node *nodes[REDIS_PLACES_MOST];
    _Atomic(size_t) node_count; /* grows; read without the lock, too */
    strata_error reason;        /* why there was no answer the last time */
    struct redis_link *asking;  /* opened by the thread for one question */

    struct redis_node *owner[REDIS_SLOTS]; /* under the lock of the slot's lane */
    struct redis_lane lanes[REDIS_LANES];

    /* The thread's. */
    struct redis_map *map, *next_map; /* the last one; the one that is being read */
    uint32_t failures;                /* searches in a row that found nothing */
};

static inline struct redis_lane *redis_lane_of(struct redis_cluster *cl, uint16_t slot)
{
    return &cl->lanes[slot % REDIS_LANES];
}

/* redis_hop.c */
/* Copies the request; NULL: no memory. */
struct redis_hop *strata__redis_hop_new(struct redis_cluster *cl, struct redis_request *outer);
/* Answers a request that came no further. */
void strata__redis_hop_fail(struct redis_hop *hop, const strata_error *why);
/* To hop->node, where it is counted; or answers it, where its time is over. */
void strata__redis_hop_send(struct redis_hop *hop);
/* There was no time for it. */
void strata__redis_hop_why_late(const struct redis_cluster *cl, strata_error *why);

/* redis_lane.c */
/* 1: it goes to hop->node now, and the caller sends it; 0: it waits; -1: it was answered, as one of *why. */
int strata__redis_hop_place(struct redis_hop *hop);
/* What becomes of one that a node has sent elsewhere. */
enum redis_sent_on {
    REDIS_GOES_ON,  /* to `target`: the caller sends it */
    REDIS_PAUSES,   /* it waits: nodes send it to each other; it is nowhere */
    REDIS_GIVEN_UP, /* they have done so for too long; it is still where it was */
};
/* `target`, pinned, may be the new owner of its slot; the caller unpins where it was. */
enum redis_sent_on strata__redis_lane_sent_on(struct redis_hop *hop, struct redis_node *target, int owns);
/* It is answered where it was; `served`: by a node that has its slot. */
void strata__redis_lane_leave(struct redis_hop *hop, int served);
/* Of each slot that has paused for long enough, one asks again. */
void strata__redis_lane_resume(struct redis_cluster *cl, struct redis_lane *lane, int64_t now_ms);
/* Sends what waits in a lane, where it need not wait any longer. */
void strata__redis_lane_release(struct redis_cluster *cl, struct redis_lane *lane);
/* Answers those that wait and whose time is over at now_ms, with *why, or with words of its own where that is NULL. */
void strata__redis_lane_expire(struct redis_cluster *cl, struct redis_lane *lane, int64_t now_ms,
                               const strata_error *why);
/* Under the lane's lock: from now on `slot` is served there (NULL: nobody). */
void strata__redis_lane_own_locked(struct redis_cluster *cl, uint16_t slot, struct redis_node *node);

/* redis_nodes.c */
/* The node at a place, pinned by one hop, with its link open; NULL: there are too many, or no link can be opened, says *err. */
struct redis_node *strata__redis_node_at(struct redis_cluster *cl, const struct redis_place *place, strata_error *err);
/* One of those that own slots, that with this number or any, pinned; NULL: there is none. */
struct redis_node *strata__redis_node_any(struct redis_cluster *cl, uint32_t number, uint64_t affinity);
void strata__redis_node_unpin(struct redis_node *node);
/* Soon, a new map. */
void strata__redis_cluster_want(struct redis_cluster *cl);
/* The thread. */
void strata__redis_cluster_run(void *ctx);

#endif /* STRATA_LINK_REDIS_CLUSTER_IMPL_H */
