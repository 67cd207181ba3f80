/* coherence_impl.h - what makes this cache coherent with others: its buses, what goes out, what comes in, and whether what is held may
 * be trusted.  docs/decisions/0010 is the idea.
 *
 * Trust is judged by positions (the counter that clears use) and moments.  The positions are cut into epochs.  What was born, or
 * was found in a shared store, in an epoch was right when that began or later, so it is trusted until `until`, trust_ms after.  The
 * epochs from `lost` on have missed nothing since, as far as messages came: as long as proofs come in, all of them are trusted until
 * trust_ms after the moment that was last proven.  A loss begins a new `lost` epoch; so what was born before can't be proven any more.
 * Where proofs stay out, a new epoch begins with the next load or write whenever the last one is an eighth of trust_ms old: so what is
 * loaded meanwhile is trusted for about trust_ms, each from when it was, and the origin is not asked for everything at once.
 *
 * All of it is the coherence lock's (locks.h), if nothing else is said. */
#ifndef STRATA_CORE_COHERENCE_IMPL_H
#define STRATA_CORE_COHERENCE_IMPL_H
#include "src/bus/bus_host.h"
#include "src/core/flight.h"
#include "src/format/bus_message.h"
#include "src/format/bus_note.h"

enum { BUSES_MAX = OUTGOING_BUSES, EPOCHS = 40, PEERS_MAX = 1024, CHECK_BUCKETS = 256 };
#define NEVER INT64_MIN

struct epoch {
    uint32_t begin; /* the first position in it */
    int64_t until;
};

enum told { TOLD_NOTHING, TOLD_UP, TOLD_DOWN };

/* Somebody who was heard on a bus. */
struct peer {
    struct list_node link;
    uint8_t id[BUS_NODE_ID];
    uint64_t highest;    /* number up to which nothing is missing, */
    uint64_t seen;       /* and bit i: number highest - i was seen */
    int64_t heard_ms;    /* when it was last heard */
    int64_t sent_ms;     /* its clock, in its latest heartbeat */
    int64_t heard_us_ms; /* our clock, in our latest heartbeat that it had when it sent what is here; NEVER */
};

/* An invalidation that is to be published; a message is made of many. */
struct out_item {
    struct list_node link;    /* bus->queue or bus->sending */
    struct list_node chain;   /* bus->table */
    struct list_node waiters; /* struct outgoing_wait */
    struct bus_item item;     /* key and text point behind */
    uint64_t hash;
    unsigned char bytes[];
};

struct bus_slot {
    struct strata_bus_host host;
    struct coherence *c;
    strata_bus *bus;
    uint32_t flags;
    unsigned char index, started, up, was_up, publishes;
    unsigned char told;      /* enum told: what listeners heard of it last; the worker's */
    unsigned char proved;    /* something was proven since it began to listen */
    unsigned char lost_soon; /* told so, or no memory for what came */
    char lost_words[120];
    int64_t proven; /* everything published before this moment was carried out here; NEVER */
    /* What goes out: one message at a time, so that numbers come in order and none is missing. */
    struct list_node queue; /* items, oldest first */
    struct list_node *table;
    uint32_t queued, table_mask;
    struct list_node sending; /* of the message that is out, or that has failed and goes out again */
    unsigned char is_out, failed, hello_due, goodbye_due, said_goodbye, heartbeat_due, all_due, pumping, pump_again;
    uint32_t acks_at; /* the next peer to acknowledge; UINT32_MAX: all are */
    int64_t again_at, pause_ms;
    strata_publish message;
    strata_error message_err;
    unsigned char *bytes;   /* `room` of them */
    size_t room;            /* a message's most */
    uint64_t number;        /* of the message in `bytes` */
    int64_t heartbeat_sent; /* the heartbeat in it; NEVER */
    uint64_t number_lost;   /* the last number when something was lost: older ones prove nothing */
    int64_t lost_ms;        /* and when that was; NEVER */
    int64_t self_ms; /* when the latest heartbeat was sent that has come back, or, without echoes, was taken; NEVER */
    /* What came in, in order. */
    struct delivery *first, **last;
    size_t inbox_bytes;
    struct list_node peers;
    uint32_t peer_count;
    /* Where it stands: everything up to there was carried out.  `before`: who had been heard when this cache was opened. */
    unsigned char cursor[NOTE_CURSOR], cursor_size, resumes;
    struct heard_before *before; /* constant from its start on */
    uint32_t before_count;
    int mourns; /* it does not hear somebody any more who said no goodbye, nor anybody since */
    strata_bus_stats counted;
    _Atomic(uint64_t) applied, rejected, duplicates, overflows; /* relaxed */
    int64_t doubted_ms;                                         /* when a message was last rejected; NEVER */
    int doubts;                                                 /* 1: since the last heartbeat; the worker's */
    int64_t told_ms;                     /* when listeners were last told of a message that was rejected; 0 never */
    strata_error down;                   /* why it is, or was */
    int64_t since_ms, down_ms;           /* it has been up, or not, since; `down` came then */
    strata_follow follow, *asked_follow; /* one at a time: what the layer has, and whose it is */
};

struct coherence {
    struct root *root;
    struct key_mutex lock;
    struct bus_slot buses[BUSES_MAX];
    size_t count;
    strata_bus *own_bus; /* of these, one that a layer brought: its own even if open fails */
    int64_t heartbeat_ms, trust_ms, suspect_ms, open_wait_ms;
    uint32_t max_queued;
    int publish_only, follows; /* the latter: a bus is told of what this cache reads */
    uint32_t prime_most;       /* bytes; 0: none */
    int64_t spread_ms;         /* STRATA_OFF */
    char *node_name;
    char *secret;
    uint64_t channel;
    uint8_t id[BUS_NODE_ID];
    /* Trust */
    struct epoch epochs[EPOCHS];
    uint32_t epoch_count, lost;
    int64_t window_ms;           /* while no proof comes, what is born so far apart is of two epochs */
    _Atomic(int64_t) window_due; /* strata__trust_window() has something to do */
    int64_t proven;              /* the least of the buses' */
    _Atomic(int) was_trusted;    /* once, since it was opened */
    int said_trusted;            /* as listeners were last told */
    int64_t untrusted_since;     /* clock; meaningful where it is not trusted */
    uint64_t losses;
    /* What durable layers hold from before: coherence_note.c. */
    struct note_life lives[NOTE_LIVES]; /* whose entries have missed nothing up to the cursors; life_count of them */
    uint32_t life_count;
    int64_t note_at;               /* the worker's */
    unsigned char keeps, note_due; /* some layer keeps notes; the next one is, now: the worker's */
    /* Work */
    struct task work; /* what came in, and what the clock brings: one thread at a time */
    unsigned char work_posted, work_again, beat_due, beating, stopping;
    unsigned char waiting; /* a timer looks after `waits` */
    unsigned char untold;  /* what a store took after the buses' goodbye */
    struct timer beat;
    struct list_node waits; /* struct outgoing, all that wait */
    /* Keys that are compared with the store (coherence_echo.c). */
    struct list_node checks[CHECK_BUCKETS], first_checks;
    size_t check_count;
};

/* What buses say (coherence_bus.c) ------------------------------------------------------------------------------- */

/* Fill its host, and begin with nothing heard: as at open, or after a fork. */
void strata__bus_slot_begin(struct bus_slot *b);
/* What came and was not looked at is forgotten. */
void strata__inbox_forget(struct bus_slot *b);
/* The heartbeat, from now on. */
void strata__beat_begin(struct coherence *c);
/* There is something to do: once, on a worker. */
void strata__coherence_work(struct coherence *c);

/* Trust (coherence_trust.c) ------------------------------------------------------------------------------------- */

void strata__trust_begin(struct coherence *c);
/* Something is missing: nothing that was born before is proven any more. */
void strata__trust_lost(struct coherence *c, struct bus_slot *b, const char *why);
/* Nothing can be proven yet, or from now on differently; nothing is missing. */
void strata__trust_restart(struct coherence *c, struct bus_slot *b, const char *why);
/* Everything before `moment` was carried out here. */
void strata__trust_proven(struct coherence *c, struct bus_slot *b, int64_t moment);
/* The clock has gone on. */
void strata__trust_tick(struct coherence *c);
/* 0: it is not suspect.  1: for less than suspect_ms; 2: for longer; 3: it may not be served at all. */
int strata__trust_level_locked(struct coherence *c, uint32_t position, int64_t now);

/* Notes (coherence_note.c) --------------------------------------------------------------------------------------- */

/* What layers have kept becomes where buses go on from.  Once layers are started. */
void strata__note_load(struct coherence *c);
/* The highest number that had been heard of this node when the cache was opened; 0 none. */
uint64_t strata__note_heard(const struct bus_slot *b, const uint8_t id[BUS_NODE_ID]);
void strata__note_forget(struct bus_slot *b);
/* Everything up to there was carried out. */
void strata__note_moved(struct bus_slot *b, strata_slice cursor);
/* By who carries messages out, or where nobody does any more. */
void strata__note_save(struct coherence *c);
void strata__note_tick(struct coherence *c);

/* Peers (coherence_peers.c) -------------------------------------------------------------------------------------- */

enum heard { HEARD_NEW, HEARD_BEFORE };
enum heard strata__peer_heard(struct bus_slot *b, const struct bus_message *m);
void strata__peer_item(struct bus_slot *b, const struct bus_message *m, const struct bus_item *item);
void strata__peers_tick(struct bus_slot *b);
void strata__peers_forget(struct bus_slot *b);
/* An own heartbeat has come back, on a bus without an order. */
void strata__peer_self(struct bus_slot *b, int64_t sent_ms);
/* An unordered bus: up to when did everybody hear us? */
void strata__peers_prove(struct bus_slot *b);

/* Going out (coherence_out.c) ------------------------------------------------------------------------------------ */

int strata__publish_ban(struct root *root, const struct ban *ban, int store_away, strata_error *err);
/* Send what is due, unless a message is out.  Under no lock. */
void strata__out_pump(struct bus_slot *b);
int strata__out_init(struct bus_slot *b, strata_error *err);
void strata__out_deinit(struct bus_slot *b);
/* Nobody waits any more (older than `since`). */
void strata__out_release(struct coherence *c, int64_t since);
/* The bus is down: nobody waits for it any more. */
void strata__out_gone(struct bus_slot *b);
/* Look then whether somebody has waited for too long; c->waiting is set. */
void strata__out_wait(struct coherence *c, int64_t delay_ms);

/* Coming in (coherence_apply.c) ---------------------------------------------------------------------------------- */

void strata__apply_message(struct bus_slot *b, strata_slice bytes);
/* What this node holds of the key goes, unless it is of that version; empty: of all keys. */
void strata__apply_change(struct bus_slot *b, strata_slice key, uint64_t version);
/* The same in its turn, from any thread (coherence.c). */
void strata__say_change(struct bus_slot *b, strata_slice key, uint64_t version);

/* What a store says (coherence_echo.c) ----------------------------------------------------------------------------- */

void strata__checks_init(struct coherence *c);
/* The shared layer that is believed; NULL: there is none. */
struct layer_slot *strata__store_of(struct root *root);
/* Somebody, perhaps this node, did something to that key of the store; empty: to all of them. */
void strata__apply_key(struct bus_slot *b, strata_slice key);
/* Everything before `moment` was told: before which moment was it carried out? */
int64_t strata__checks_bound(struct coherence *c, int64_t moment);
/* The same in its turn, from any thread (coherence_bus.c). */
void strata__say_key(struct bus_slot *b, strata_slice key);
int strata__bus_follow(struct bus_slot *b, strata_follow *how, strata_error *err);

#endif /* STRATA_CORE_COHERENCE_IMPL_H */
