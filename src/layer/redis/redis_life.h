/* redis_life.h - which life of the store this node believes in, what its clock says, and what it may be asked.
 *
 * The life is a random number under a reserved key (docs/decisions/0007).  It is compared or begun as the first thing on every new
 * connection, by every script, and every LIFE_CHECK_MS while the layer is in use.  What was counted in an earlier life is
 * not trusted.  Lives that are over are remembered, the last few: the store never goes back to one of them, and a late answer
 * is not taken for a new one.
 *
 * In a Cluster every master has a life of its own, its reign, which needs no key: what one connection is told of it is noted in its
 * mark, believed there for LIFE_CHECK_MS, and nothing but that decides whether what comes on it is trusted.
 *
 * The key of a life lies under the layer's prefix, behind a byte 0 and a byte 255: no name of a namespace that long fits into so
 * short a key, so it is nobody's. */
#ifndef STRATA_LAYER_REDIS_LIFE_H
#define STRATA_LAYER_REDIS_LIFE_H
#include <stdatomic.h>
#include <stdint.h>

#include "src/layer/redis/redis_script.h"
#include "src/layer/redis/redis_list.h"
#include "src/os/os_lock.h"
#include "strata/error.h"
#include "strata/sys/layer.h"

struct redis_layer;
struct redis_mark;
struct redisReply;

enum { LIVES_OVER = 8, DELETES_KEPT = 1024, DELETES_KEPT_BYTES = 256 * 1024, DELETES_KEPT_MS = 10000 };
enum { LIFE_CHECK_MS = 10000, LIST_CHECK_MS = 1000, LIVES_MET = 1024, REPEAT_PAUSE_MS = 100 };

enum redis_scripts { SCRIPTS_UNKNOWN, SCRIPTS_ON, SCRIPTS_OFF };

/* What is said once. */
enum redis_notice { NOTICE_NO_SCRIPTS = 1, NOTICE_NO_INFO = 2, NOTICE_NO_CHANNEL = 4 };

struct redis_deleted {
    char *key; /* without the prefix; NULL: the place is free */
    size_t size;
    int64_t at_ms;   /* when it was answered; until then, when it began */
    uint64_t serial; /* its place is serial % DELETES_KEPT */
    uint64_t life;   /* in which it was carried out last; 0: not known */
    int owed;        /* its repetition failed */
    int open;        /* it is not answered yet, or being sent again just now, */
    int again;       /* and is to be repeated then */
};

struct redis_life {
    _Atomic(uint64_t) now;        /* 0: unknown yet.  Written under the lock */
    _Atomic(int64_t) offset_ms;   /* the store's clock, less the host's; relaxed: any recent one will do */
    _Atomic(int64_t) checked_ms;  /* the host's clock */
    _Atomic(int) clock;           /* offset_ms was measured */
    _Atomic(int) scripts;         /* enum redis_scripts */
    _Atomic(uint32_t) candidates; /* how many were made */
    _Atomic(uint32_t) notices;    /* still to be said */
    _Atomic(uint64_t) lives;      /* how often a new one was noticed: for stats */
    uint64_t seed;                /* of candidates; constant */
    struct os_lock lock;
    uint64_t over[LIVES_OVER]; /* a ring */
    uint32_t over_count;
    uint32_t noticed;                           /* every notice there was */
    strata_error why[3];                        /* of each notice */
    struct redis_deleted deleted[DELETES_KEPT]; /* a ring, the last ones */
    uint64_t met[LIVES_MET];                    /* of a Cluster's masters: a ring */
    uint32_t met_count;
    int64_t repeat_ms; /* when what is owed is repeated; 0: nothing is */
    uint64_t delete_count;
    size_t deleted_bytes;
    strata_slice words[7]; /* of a greeting, where it is always the same: many threads greet the nodes of a Cluster */
    char server[40];       /* what it calls itself; under the lock */
    /* The link's thread's, while it greets. */
    strata_slice args[8 + LIVES_OVER];
    unsigned char known[LIST_KNOWN];
    char candidate[REDIS_LIFE], over_bytes[LIVES_OVER * REDIS_LIFE];
};

/* The names of the life's key and of the wake channel, under the prefix, so that whoever may use its keys may use these; and the
 * script's.  0: no memory. */
int strata__redis_life_names(struct redis_layer *r);
void strata__redis_life_init(struct redis_layer *r);
void strata__redis_life_deinit(struct redis_layer *r);

/* Is it a life's key?  `key` with the prefix. */
int strata__redis_is_life_key(const struct redis_layer *r, strata_slice key);
/* A life that nobody has had. */
void strata__redis_life_candidate(struct redis_layer *r, char out[REDIS_LIFE]);
/* Lives that are over, as bytes behind each other; how many. */
size_t strata__redis_lives_over(struct redis_layer *r, char out[LIVES_OVER * REDIS_LIFE]);

/* The one that is believed in, where that connection leads to; 0: unknown. */
uint64_t strata__redis_life_of(struct redis_layer *r, const struct redis_mark *mark);
/* Is it known to be over? */
int strata__redis_life_is_over(struct redis_layer *r, uint64_t life);
/* An entry's life that was looked after, and is not the store's. */
void strata__redis_life_is_none(struct redis_layer *r, uint64_t life);

/* redis_link_options.hello and .greeted; ctx is the layer. */
size_t strata__redis_hello(void *ctx, size_t nth, const strata_slice **out_args);
int strata__redis_hello_answered(void *ctx, size_t nth, const struct redisReply *reply, int64_t elapsed_us,
                                 struct redis_mark *mark, strata_error *err);

/* A script has answered so: a life that is new to us is believed in, and told of our last deletes. */
void strata__redis_life_saw(struct redis_layer *r, struct redis_mark *mark, uint64_t life);
/* The store's clock, from an answer that took so long. */
void strata__redis_clock_saw(struct redis_layer *r, struct redis_mark *mark, int64_t store_us, int64_t elapsed_ms);
/* TIME's answer in microseconds: 1; 0: it is none. */
int strata__redis_time(const struct redisReply *reply, int64_t *out_us);
/* The host wants to hear of it as soon as it was said. */
void strata__redis_clock_told(struct redis_layer *r, int64_t store_us, uint64_t life);
/* What the store's clock says now, in a Cluster that of the node at the connection; 0: unknown. */
int64_t strata__redis_store_ms(struct redis_layer *r, const struct redis_mark *mark);
/* Look after the life, where that was long ago; in a Cluster that of who has this key. */
void strata__redis_life_look(struct redis_layer *r, struct redis_mark *mark, strata_slice key);
/* This node deletes a key; for a new life to come.  Its number; 0: it is not kept. */
uint64_t strata__redis_life_deleted(struct redis_layer *r, strata_slice key);
/* It is answered: it was carried out in this life; 0: it failed. */
void strata__redis_life_deleted_in(struct redis_layer *r, uint64_t serial, uint64_t life);
/* Whoever answers now may not have heard of our last deletes: once more. */
void strata__redis_deletes_repeat(struct redis_layer *r);

/* Scripts are forbidden here, for this reason. */
void strata__redis_no_scripts(struct redis_layer *r, strata_slice text);
void strata__redis_notice(struct redis_layer *r, enum redis_notice notice, const strata_error *why);
/* If there is something to be said, it is said with this operation, which went well. */
void strata__redis_say(struct redis_layer *r, strata_op *op);

#endif /* STRATA_LAYER_REDIS_LIFE_H */
