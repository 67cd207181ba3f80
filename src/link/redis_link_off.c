/* redis_link_off.c - built where hiredis is not: no link can be opened, and the words say which cmake option brings it.
 *
 * There is no link to hand to the other functions, nor a reply: calling them is a mistake of ours. */
#include <string.h>

#include "src/base/err.h"
#include "src/link/redis_link.h"
#include "src/link/redis_slots.h"

int strata__redis_built_in(void) { return 0; }

int strata__redis_pushes(void) { return 0; }

int strata__redis_open(struct redis_link **out, const struct redis_link_options *options, strata_error *err)
{
    *out = NULL;
    return strata__fail(err, STRATA_EUNSUPPORTED, options->name,
                        "this build of strata has no hiredis: build it with -DSTRATA_WITH_REDIS=ON");
}

static void never(const void *link)
{
    if (link != NULL)
        STRATA_BUG("a link to a server in a build without hiredis");
}

void strata__redis_close(struct redis_link *link) { never(link); }

void strata__redis_abandon(struct redis_link *link) { never(link); }

void strata__redis_rouse(struct redis_link *link) { never(link); }

void strata__redis_submit(struct redis_link *link, struct redis_request *const *requests, size_t count)
{
    (void)requests;
    (void)count;
    never(link);
}

void strata__redis_call(struct redis_link *link, struct redis_request *request)
{
    (void)request;
    never(link);
}

void strata__redis_call_anywhere(struct redis_link *link, struct redis_request *request)
{
    (void)request;
    never(link);
}

void strata__redis_submit_at(struct redis_link *link, uint32_t nth, struct redis_request *request)
{
    (void)nth;
    (void)request;
    never(link);
}

uint32_t strata__redis_connections(const struct redis_link *link)
{
    never(link);
    return 0;
}

int strata__redis_gathers(const struct redis_link *link)
{
    never(link);
    return 0;
}

int strata__redis_settle(struct redis_link *link, int64_t timeout_ms, strata_error *err)
{
    (void)timeout_ms;
    (void)err;
    never(link);
    return STRATA_EUNSUPPORTED;
}

int strata__redis_nodes(struct redis_link *link, int64_t timeout_ms, uint32_t *out, size_t room, size_t *out_count,
                        strata_error *err)
{
    (void)timeout_ms;
    (void)out;
    (void)room;
    (void)out_count;
    (void)err;
    never(link);
    return STRATA_EUNSUPPORTED;
}

void strata__redis_counts(const struct redis_link *link, struct redis_link_counts *out)
{
    *out = (struct redis_link_counts){ 0 };
    never(link);
}

enum redis_reply_kind strata__redis_kind(const struct redisReply *reply)
{
    never(reply);
    return REDIS_IS_NIL;
}

strata_slice strata__redis_text(const struct redisReply *reply)
{
    never(reply);
    return strata_bytes(NULL, 0);
}

int64_t strata__redis_integer(const struct redisReply *reply)
{
    never(reply);
    return 0;
}

size_t strata__redis_count(const struct redisReply *reply)
{
    never(reply);
    return 0;
}

const struct redisReply *strata__redis_at(const struct redisReply *reply, size_t i)
{
    (void)i;
    never(reply);
    return NULL;
}

int strata__redis_map_read(const struct redisReply *reply, const char *asked, struct redis_map *out)
{
    (void)asked;
    (void)out;
    never(reply);
    return 0;
}

int strata__redis_same_place(const struct redis_place *a, const struct redis_place *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

int strata__redis_is_push(const struct redisReply *reply)
{
    never(reply);
    return 0;
}
