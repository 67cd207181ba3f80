/* sim_reply.h - what the simulated server answers: the link's redisReply, made here in place of hiredis'. */
#ifndef STRATA_TESTS_SIM_REPLY_H
#define STRATA_TESTS_SIM_REPLY_H
#include "src/link/redis_link.h"

struct redisReply {
    enum redis_reply_kind kind;
    int64_t integer;
    size_t size; /* of text, or how many items */
    size_t room; /* for items */
    struct redisReply **items;
    char text[];
};

struct redisReply *sim_reply_text(enum redis_reply_kind kind, const void *bytes, size_t size);
struct redisReply *sim_reply_integer(int64_t integer);
struct redisReply *sim_reply_nil(void);
struct redisReply *sim_reply_array(void);
/* Takes the item over. */
void sim_reply_add(struct redisReply *array, struct redisReply *item);
struct redisReply *sim_reply_error(const char *words);
void sim_reply_free(struct redisReply *reply);

#endif /* STRATA_TESTS_SIM_REPLY_H */
