/* tracking_words.h - what the server is asked for, and what it says: pure, without a connection.
 *
 * One connection is both: it has tracking switched on, and it is told.  With RESP3 that is how it is meant; with RESP2 it redirects to itself,
 * and subscribes to the channel of invalidations afterwards.  So the two live and die together, and a heartbeat on it comes behind
 * every invalidation that was sent before. */
#ifndef STRATA_BUS_REDIS_TRACKING_WORDS_H
#define STRATA_BUS_REDIS_TRACKING_WORDS_H
#include <stddef.h>
#include <stdint.h>

#include "strata/base.h"
#include "strata/error.h"

struct redisReply;

enum { TRACKING_WORDS = 8, RUN_ROOM = 64 };

/* What is asked before the server tells anything, in this order. */
enum tracking_step {
    TRACKING_HELLO, /* HELLO: which protocol; and is it a node of a Cluster? */
    TRACKING_ID,    /* RESP2 alone: CLIENT ID, for */
    TRACKING_ON,    /* CLIENT TRACKING ON */
    TRACKING_RUN,   /* per_key alone: INFO, for which server it is */
    TRACKING_LISTEN, /* SUBSCRIBE: in RESP2 to be told; in RESP3 so that the server bounds what it keeps for a client that does not read */
    TRACKING_END
};

enum tracking_news {
    TRACKING_ANSWER, /* nothing of that: somebody asked for it */
    TRACKING_KEYS,   /* *out_keys: an array of keys that were changed */
    TRACKING_ALL,    /* every key */
    TRACKING_NOISE,  /* not for us */
    TRACKING_GARBLED /* it should be one of those, and can't be read */
};

enum tracking_news tracking_read(const struct redisReply *reply, const struct redisReply **out_keys);

/* HELLO's answer: what the server calls itself, "Redis 7.0.15"; "" where it does not say.  0: it is a node of a Cluster. */
int tracking_hello(const struct redisReply *reply, char out_server[40]);

/* INFO's answer: the server's run_id; "" where it does not say. */
void tracking_run_id(const struct redisReply *reply, char out[RUN_ROOM]);

/* The key of the cache that it is: of the server's key without the prefix; 0: it is none: of another prefix, or one of our reserved ones
 * (a life, a list of bans, a stream), that begin with a byte 0 and a byte 255. */
int tracking_key(strata_slice prefix, strata_slice key, strata_slice *out);

/* Words for an error reply: what does the user lack, or is the server too old? */
void tracking_refused(const char *name, enum tracking_step step, strata_slice text, strata_error *err);

#endif /* STRATA_BUS_REDIS_TRACKING_WORDS_H */
