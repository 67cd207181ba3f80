/* sim_reply.c - see sim_reply.h; and how the layer looks at replies. */
#include "tests/sim/sim_reply.h"

#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_world.h"

static struct redisReply *new_reply(enum redis_reply_kind kind, size_t size)
{
    struct redisReply *reply = calloc(1, sizeof *reply + size + 1);
    if (reply == NULL)
        sim_broken("no memory for a reply");
    reply->kind = kind;
    return reply;
}

struct redisReply *sim_reply_text(enum redis_reply_kind kind, const void *bytes, size_t size)
{
    struct redisReply *reply = new_reply(kind, size);
    if (size != 0)
        memcpy(reply->text, bytes, size);
    reply->size = size;
    return reply;
}

struct redisReply *sim_reply_error(const char *words) { return sim_reply_text(REDIS_IS_ERROR, words, strlen(words)); }

struct redisReply *sim_reply_integer(int64_t integer)
{
    struct redisReply *reply = new_reply(REDIS_IS_INTEGER, 0);
    reply->integer = integer;
    return reply;
}

struct redisReply *sim_reply_nil(void) { return new_reply(REDIS_IS_NIL, 0); }
struct redisReply *sim_reply_array(void) { return new_reply(REDIS_IS_ARRAY, 0); }

void sim_reply_add(struct redisReply *array, struct redisReply *item)
{
    if (array->size == array->room) {
        array->room = array->room != 0 ? 2 * array->room : 8;
        array->items = realloc(array->items, array->room * sizeof *array->items);
        if (array->items == NULL)
            sim_broken("no memory for a reply");
    }
    array->items[array->size++] = item;
}

void sim_reply_free(struct redisReply *reply)
{
    if (reply == NULL)
        return;
    for (size_t i = 0; reply->kind == REDIS_IS_ARRAY && i < reply->size; i++)
        sim_reply_free(reply->items[i]);
    free(reply->items);
    free(reply);
}

enum redis_reply_kind strata__redis_kind(const struct redisReply *reply) { return reply->kind; }
strata_slice strata__redis_text(const struct redisReply *reply) { return strata_bytes(reply->text, reply->size); }
int64_t strata__redis_integer(const struct redisReply *reply) { return reply->integer; }
size_t strata__redis_count(const struct redisReply *reply) { return reply->size; }
const struct redisReply *strata__redis_at(const struct redisReply *reply, size_t i) { return reply->items[i]; }
