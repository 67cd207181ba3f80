/* redis_again.c - a GET that found an entry of a life this node has not heard of: perhaps the store began a new one, and another
 * node knows already.  The life is looked after, and then the key is got once more, whose entry counts if it is of that life. */
#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/layer/redis/redis_call.h"
#include "src/layer/redis/redis_layer_impl.h"

struct again {
    struct redis_request request; /* first */
    struct redis_layer *r;
    strata_op *op;
    uint64_t looked_us; /* never 0 */
    strata_slice args[2];
    char key[];
};

static void finish(struct again *a, int status)
{
    strata_op *op = a->op;
    strata__free(a->r->mem, a);
    strata_op_done(op, status);
}

static void got(struct redis_request *request)
{
    struct again *a = (struct again *)(void *)request;
    if (request->status != STRATA_OK) {
        *a->op->err = request->err;
        finish(a, request->status);
        return;
    }
    const struct redisReply *reply = request->reply;
    enum redis_reply_kind kind = strata__redis_kind(reply);
    if (kind == REDIS_IS_NIL)
        finish(a, STRATA_MISS);
    else if (kind == REDIS_IS_TEXT)
        finish(a, strata__redis_value_decode(a->r, a->op, strata__redis_text(reply), request->mark, a->looked_us));
    else
        finish(a, strata__redis_no_answer(a->r, "GET", reply, a->op->err));
}

static int64_t left_ms(struct redis_layer *r, const strata_op *op)
{
    return redis_left_ms(r->options.soft_timeout_ms, op->asked_ms, strata_host_now_ms(r->host));
}

static void looked(struct redis_call *call, const struct redis_told *told)
{
    struct again *a = call->owner;
    struct redis_request *request = &a->request;
    if (told->status != STRATA_OK && told->status != STRATA_EUNSUPPORTED) {
        *a->op->err = *told->err;
        finish(a, told->status);
        return;
    }
    a->looked_us = told->store_us > 0 ? (uint64_t)told->store_us : 1;
    request->timeout_ms = left_ms(a->r, a->op);
    if (request->timeout_ms != 0)
        strata__redis_submit(a->r->link, &request, 1);
    else
        finish(a, strata__redis_too_late(a->r, a->op->err));
}

static struct again *new_again(struct redis_layer *r, strata_op *op)
{
    size_t size = r->prefix.size + op->key.size;
    struct again *a = strata__alloc_zero(r->mem, sizeof *a + size);
    if (a == NULL)
        return NULL;
    a->r = r;
    a->op = op;
    if (r->prefix.size != 0)
        memcpy(a->key, r->prefix.data, r->prefix.size);
    if (op->key.size != 0)
        memcpy(a->key + r->prefix.size, op->key.data, op->key.size);
    a->args[0] = strata_str("GET");
    a->args[1] = strata_bytes(a->key, size);
    a->request.args = a->args;
    a->request.arg_count = 2;
    a->request.key_at = 1;
    a->request.affinity = strata__hash(op->key.data, op->key.size, 0);
    a->request.done = got;
    return a;
}

void strata__redis_get_again(struct redis_layer *r, strata_op *op)
{
    int64_t left = left_ms(r, op);
    if (left == 0) {
        strata_op_done(op, strata__redis_too_late(r, op->err));
        return;
    }
    struct again *a = new_again(r, op);
    struct redis_call *call = a != NULL ? strata__redis_life_call(r, op->key, looked, a) : NULL;
    if (call == NULL) {
        strata__free(r->mem, a);
        strata_op_done(op, strata__fail_plain(op->err, STRATA_ENOMEM, r->base.name));
        return;
    }
    call->request.timeout_ms = left;
    call->until_ms = strata_host_now_ms(r->host) + left;
    strata__redis_call_send(call);
}
