/* redis_lease.h - the leases that this node holds in the store, asks for, and waits for.
 *
 * A lease is asked for, held until a put or a release, and renewed meanwhile, every third of lease_ms; or it is awaited: whoever
 * waits asks again when the wake channel names its key, when the holder's lease is over, and at the latest every
 * SAFETY_MS; without a channel in pauses from 5 to 100 ms.  No thread waits: there is one timer of the host, or several,
 * where an earlier one was needed.
 *
 * A lease's number says its place in a table, and which lease of that place it is. */
#ifndef STRATA_LAYER_REDIS_LEASE_H
#define STRATA_LAYER_REDIS_LEASE_H
#include <stdatomic.h>
#include <stdint.h>

#include "src/base/heap.h"
#include "src/base/list.h"
#include "src/layer/redis/redis_script.h"
#include "src/os/os_lock.h"
#include "strata/sys/layer.h"

struct redis_layer;
struct redis_link;

enum redis_lease_state { LEASE_ASKED, LEASE_AWAITED, LEASE_HELD };
enum redis_channel { CHANNEL_NONE, CHANNEL_OPENING, CHANNEL_UP, CHANNEL_FORBIDDEN };
enum { LEASE_BUCKETS = 256, SAFETY_MS = 1000, POLL_LEAST_MS = 5, POLL_MOST_MS = 100 };

struct redis_lease {
    struct list_node link;  /* asked or awaited: in its bucket; held: in `held`, soonest renewal first */
    struct heap_node timed; /* awaited: by due_ms */
    enum redis_lease_state state;
    int woken;                  /* asked: there is news already, so ask again */
    int announced;              /* asked: a waiter's flag was left with the holder */
    uint32_t index, generation; /* held: its place in the table */
    strata_op *op;              /* asked, awaited */
    int64_t refresh;            /* the version that a newer one is an answer beside; -1: any is */
    int64_t due_ms;             /* awaited: ask again; held: renew */
    int64_t deadline_ms;        /* awaited no longer */
    int64_t until_ms;           /* asked, and never awaited yet: when its read's soft_timeout_ms is used up; else 0 */
    int64_t pause_ms;           /* polling: the last one */
    uint64_t hash;
    unsigned char token[REDIS_TOKEN];
    size_t key_size;
    char key[]; /* without the prefix */
};

struct redis_leases {
    struct os_lock lock;
    struct list_node buckets[LEASE_BUCKETS];
    struct list_node held;
    struct heap awaited;
    struct redis_lease **table; /* by index; NULL: free */
    uint32_t room, count, generation;
    int hurried;      /* nobody waits any more */
    int64_t armed_ms; /* the soonest timer that is out; INT64_MAX: none */
    enum redis_channel channel;
    struct redis_link *subscriber;           /* written once, by whoever moved channel from NONE to OPENING */
    _Atomic(uint64_t) granted, waited, lost; /* relaxed: counters */
    strata_slice words[2];                   /* SUBSCRIBE and the channel */
};

void strata__redis_leases_init(struct redis_layer *r);
/* No operation is out, and the links are closed. */
void strata__redis_leases_deinit(struct redis_layer *r);
/* strata_layer_ops.hurry */
void strata__redis_leases_hurry(strata_layer *layer);

/* Take a lease that is held out of the table: 1, and its token; 0: there is no such lease. */
int strata__redis_lease_take(struct redis_layer *r, uint64_t number, unsigned char token[REDIS_TOKEN]);
/* Release it in the background; 0 is none. */
void strata__redis_lease_give_up(struct redis_layer *r, uint64_t number);

/* The same of one that is out of the table already. */
void strata__redis_lease_release_token(struct redis_layer *r, strata_slice key, const unsigned char token[REDIS_TOKEN]);

/* What has waited so long may ask now: used by redis_wake.c. */
void strata__redis_lease_ask_again(struct redis_layer *r, struct redis_lease *lease);
/* Awaited leases of this key are taken out of the heap and asked again; with key.data NULL, all of them. */
void strata__redis_leases_wake(struct redis_layer *r, strata_slice key);

/* All who wait are answered STRATA_PENDING. */
void strata__redis_leases_give_up(struct redis_layer *r);

/* redis_wake.c */
/* Somebody will wait: open the subscriber, if there is none yet.  1: it is subscribed. */
int strata__redis_channel_open(struct redis_layer *r);
void strata__redis_channel_close(struct redis_layer *r);

#endif /* STRATA_LAYER_REDIS_LEASE_H */
