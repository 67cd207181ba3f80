/* redis_call.h - one call of the script: its arguments, its answer, and what is done where the server does not know it.
 *
 * A call is one block, which frees itself behind answered().  A script that the server has forgotten (SCRIPT FLUSH) is
 * sent again with its text; a set only if nothing overtook it meanwhile. */
#ifndef STRATA_LAYER_REDIS_CALL_H
#define STRATA_LAYER_REDIS_CALL_H
#include "src/layer/redis/redis_script.h"
#include "src/link/redis_link.h"
#include "strata/sys/layer.h"

struct redis_layer;
struct redis_call;

/* What came of it.  Borrowed for answered(). */
struct redis_told {
    int status;   /* STRATA_OK: the script has run; STRATA_EUNSUPPORTED: scripts are forbidden; < 0 with words */
    int64_t code; /* enum redis_script_code */
    uint64_t life;
    int64_t store_us;
    uint64_t version;
    int64_t held_ms;         /* SCRIPT_HELD */
    struct redis_mark *mark; /* of the connection; NULL where status < 0 */
    strata_slice entry;      /* SCRIPT_ENTRY */
    int has_list;            /* of a look after the life: the list of bans came with it */
    strata_slice list;
    const strata_error *err;
};

enum { CALL_ARGS = 8 + 16, CALL_NUMBERS = 4, CALL_NUMBER_ROOM = 24 };

struct redis_call {
    struct redis_request request; /* first */
    struct redis_layer *r;
    void (*answered)(struct redis_call *call, const struct redis_told *told);
    void *owner;
    const char *what;
    int64_t sent_ms;  /* the host's clock */
    int64_t until_ms; /* of a read: when its time is over, also to be sent again; 0: request.timeout_ms each time */
    int resent;
    uint32_t stripe, seen;      /* of a set: r->writes[stripe] when it was submitted */
    uint64_t number;            /* of a renewal: its lease's */
    size_t number_count, first; /* args[first] is the first that was added */
    strata_slice args[CALL_ARGS];
    char numbers[CALL_NUMBERS][CALL_NUMBER_ROOM];
    char candidate[REDIS_LIFE], over[64];
    unsigned char token[REDIS_TOKEN], folded[4];
    void *bytes; /* given back with it */
    char key[];
};

/* "EVALSHA", digest, 2, key, life's key, `what`, candidate, channel; more is added.  In a Cluster without the life's key.  NULL: no
 * memory. */
struct redis_call *strata__redis_call_new(struct redis_layer *r, const char *what, strata_slice key,
                                          void (*answered)(struct redis_call *, const struct redis_told *),
                                          void *owner);
void strata__redis_call_add(struct redis_call *call, strata_slice arg);
void strata__redis_call_add_number(struct redis_call *call, int64_t number);
void strata__redis_call_send(struct redis_call *call);
/* One that was never sent. */
void strata__redis_call_free(struct redis_call *call);
/* Compare the life, or begin one; in a Cluster that of who has this key. */
struct redis_call *strata__redis_life_call(struct redis_layer *r, strata_slice key,
                                           void (*answered)(struct redis_call *, const struct redis_told *),
                                           void *owner);

/* "ban"; what is banned, and the list's bound, are added. */
struct redis_call *strata__redis_list_call(struct redis_layer *r,
                                           void (*answered)(struct redis_call *, const struct redis_told *),
                                           void *owner);

/* When it was, on the store's clock; never 0. */
static inline uint64_t redis_told_at(const struct redis_told *told)
{
    return told->store_us > 0 ? (uint64_t)told->store_us : 1;
}

/* Every script's answer: 1, and *out is filled. */
int strata__redis_told_read(const struct redisReply *reply, struct redis_told *out);

#endif /* STRATA_LAYER_REDIS_CALL_H */
