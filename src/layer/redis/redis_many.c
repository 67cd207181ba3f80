/* redis_many.c - many gets at once: one MGET, where one command may name keys of all places.
 *
 * MGET says nil of a key of another type, too: a miss in disguise.  So what it said nil of is asked again by GET, all of it in one more
 * trip, and so is everything where the server refuses an MGET.  Hits, which are the common case, cost the one.
 *
 * Order: a get may overtake what its key's connection still has to carry out.  Whoever waits for a write, and asks then, sees it. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/layer/redis/redis_layer_impl.h"

/* One command names so many keys at most: a server does nothing else meanwhile. */
enum { KEYS_MOST = 512 };

struct many {
    struct redis_request request; /* first: the link gives it back */
    struct redis_layer *r;
    size_t count;
    strata_op **ops;
    strata_slice args[]; /* MGET and the keys */
};

/* Plain gets for what is left of the time. */
static void ask_each(struct many *m, size_t count)
{
    if (count != 0)
        strata__redis_get_each(m->r, m->ops, count);
}

static void answer_all(struct many *m, const strata_error *why)
{
    for (size_t i = 0; i < m->count; i++) {
        *m->ops[i]->err = *why;
        strata_op_done(m->ops[i], why->status);
    }
}

static void answer_each(struct many *m, const struct redisReply *reply)
{
    size_t again = 0;
    for (size_t i = 0; i < m->count; i++) {
        const struct redisReply *one = strata__redis_at(reply, i);
        strata_op *op = m->ops[i];
        int rc = strata__redis_kind(one) == REDIS_IS_TEXT
                     ? strata__redis_value_decode(m->r, op, strata__redis_text(one), m->request.mark, 0)
                     : STRATA_AGAIN;
        if (rc == STRATA_AGAIN)
            m->ops[again++] = op; /* it says nil, or its life has to be looked after first */
        else
            strata_op_done(op, rc);
    }
    ask_each(m, again);
}

static void many_answered(struct redis_request *request)
{
    struct many *m = (struct many *)(void *)request;
    const struct redisReply *reply = request->reply;
    if (request->status != STRATA_OK)
        answer_all(m, &request->err);
    else if (strata__redis_kind(reply) == REDIS_IS_ARRAY && strata__redis_count(reply) == m->count)
        answer_each(m, reply);
    else
        ask_each(m, m->count); /* they tell why */
    strata__free(m->r->mem, m);
}

/* What is left to the one that has least. */
static int64_t soonest_ms(const struct redis_layer *r, strata_op *const *ops, size_t count)
{
    int64_t soonest = r->options.soft_timeout_ms;
    for (size_t i = 0; i < count; i++) {
        int64_t left_ms = redis_left_ms(r->options.soft_timeout_ms, ops[i]->asked_ms, ops[i]->now_ms);
        soonest = left_ms < soonest ? left_ms : soonest;
    }
    return soonest;
}

/* NULL: each is to be asked for by itself, for want of memory or time. */
static struct many *new_many(struct redis_layer *r, strata_op *const *ops, size_t count)
{
    int64_t left_ms = soonest_ms(r, ops, count);
    size_t bytes = sizeof(struct many) + (count + 1) * sizeof(strata_slice) + count * sizeof(strata_op *);
    for (size_t i = 0; i < count; i++)
        bytes += r->prefix.size + ops[i]->key.size;
    struct many *m = left_ms != 0 ? strata__alloc(r->mem, bytes) : NULL;
    if (m == NULL)
        return NULL;
    m->request = (struct redis_request){ .args = m->args,
                                         .arg_count = count + 1,
                                         .affinity = (uint64_t)(uintptr_t)m,
                                         .timeout_ms = left_ms,
                                         .done = many_answered };
    m->r = r;
    m->count = count;
    m->ops = (strata_op **)(void *)(m->args + count + 1);
    memcpy(m->ops, ops, count * sizeof *ops);
    m->args[0] = strata_str("MGET");
    char *at = (char *)(m->ops + count);
    for (size_t i = 0; i < count; i++) {
        redis_value_expect(r, ops[i]);
        m->args[i + 1] = strata_bytes(at, r->prefix.size + ops[i]->key.size);
        if (r->prefix.size != 0)
            memcpy(at, r->prefix.data, r->prefix.size);
        at += r->prefix.size;
        if (ops[i]->key.size != 0)
            memcpy(at, ops[i]->key.data, ops[i]->key.size);
        at += ops[i]->key.size;
    }
    return m;
}

int strata__redis_gets_many(const struct redis_layer *r, strata_op *const *ops, size_t count)
{
    if (count < 2 || !strata__redis_gathers(r->link))
        return 0;
    for (size_t i = 0; i < count; i++)
        if (ops[i]->kind != STRATA_OP_GET)
            return 0;
    return 1;
}

void strata__redis_get_many(struct redis_layer *r, strata_op *const *ops, size_t count)
{
    /* The list lives until its last operation is answered: what is needed of it later is looked at now. */
    const int alone = count <= KEYS_MOST && (ops[0]->flags & STRATA_OP_WAITED) != 0;
    for (size_t i = 0, n; i < count; i += n) {
        n = count - i < KEYS_MOST ? count - i : KEYS_MOST;
        struct many *m = new_many(r, ops + i, n);
        struct redis_request *request = m != NULL ? &m->request : NULL;
        if (m == NULL)
            strata__redis_get_each(r, ops + i, n); /* which may do with less */
        else if (alone)
            strata__redis_call_anywhere(r->link, request); /* its caller would sleep anyway */
        else
            strata__redis_submit(r->link, &request, 1);
    }
}
