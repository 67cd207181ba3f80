/* redis_ops.c - operations: one request each, all of a batch handed to the link at once.
 *
 * Gets are made here, and puts and removes for a server that runs no scripts for us; with scripts, they are calls of their own.
 *
 * A batch is one block: the requests, their arguments and keys.  Whoever answers the last request frees it, so each is
 * answered as soon as its reply is there.  Order per key is the link's: requests of one key have one affinity. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/redis/redis_words.h"

enum { ARGS_MOST = 6, PX_ROOM = 24 };

/* One operation on its way. */
struct job {
    struct redis_request request; /* first: the link gives it back */
    strata_op *op;
    struct batch *batch;
    const char *command;
    strata_slice args[ARGS_MOST];
    char px[PX_ROOM];
};

struct batch {
    struct redis_layer *r;
    const strata_allocator *mem;
    _Atomic(size_t) left; /* jobs without an answer, and one while they are submitted */
    int64_t now_ms;       /* the host's clock */
    size_t count;         /* of list */
    size_t job_count;
    struct redis_request **list; /* of jobs, and of calls, which free themselves */
    char *keys;                  /* where the next one goes */
    struct job jobs[];
};

static void leave(struct batch *b)
{
    /* Release: what was read of the batch here comes before it is freed there. */
    if (atomic_fetch_sub_explicit(&b->left, 1, memory_order_acq_rel) == 1)
        strata__free(b->mem, b);
}

/* Answers ------------------------------------------------------------------------------------------------------ */

int strata__redis_no_answer(const struct redis_layer *r, const char *command, const struct redisReply *reply,
                            strata_error *err)
{
    if (strata__redis_kind(reply) == REDIS_IS_ERROR)
        return strata__redis_refused(r->base.name, command, strata__redis_text(reply), err);
    return strata__fail(err, STRATA_EIO, r->base.name,
                        "%s was answered with what it is never answered with: is there a Redis or Valkey server at the "
                        "address in url?",
                        command);
}

static int judge(struct redis_layer *r, const struct job *job)
{
    const struct redisReply *reply = job->request.reply;
    enum redis_reply_kind kind = strata__redis_kind(reply);
    switch (job->command[0]) {
    case 'G':
        if (kind == REDIS_IS_NIL || kind == REDIS_IS_TEXT)
            return strata__redis_value_decode(r, job->op,
                                              kind == REDIS_IS_TEXT ? strata__redis_text(reply) : strata_bytes("", 0),
                                              job->request.mark, 0);
        break;
    case 'S':
        if (kind == REDIS_IS_STATUS)
            return STRATA_OK;
        if (kind == REDIS_IS_NIL && job->op->flags & STRATA_OP_BACKFILL) /* NX */
            return STRATA_AGAIN;
        break;
    default: /* UNLINK, DEL */
        if (kind == REDIS_IS_INTEGER)
            return STRATA_OK;
    }
    return strata__redis_no_answer(r, job->command, reply, job->op->err);
}

static void answered(struct redis_request *request)
{
    struct job *job = (struct job *)(void *)request;
    struct batch *b = job->batch;
    strata_op *op = job->op;
    int rc = request->status;
    if (rc == STRATA_OK)
        rc = judge(b->r, job);
    else
        *op->err = request->err;
    if (rc == STRATA_AGAIN && op->kind == STRATA_OP_GET) {
        strata__redis_get_again(b->r, op);
    } else {
        if (rc >= 0)
            strata__redis_say(b->r, op);
        strata_op_done(op, rc);
    }
    leave(b);
}

/* Questions ---------------------------------------------------------------------------------------------------- */

static strata_slice full_key(struct batch *b, strata_slice key)
{
    const strata_slice prefix = b->r->prefix;
    char *at = b->keys;
    if (prefix.size != 0)
        memcpy(at, prefix.data, prefix.size);
    if (key.size != 0)
        memcpy(at + prefix.size, key.data, key.size);
    b->keys += prefix.size + key.size;
    return strata_bytes(at, prefix.size + key.size);
}

static struct job *add_job(struct batch *b, strata_op *op, const char *command)
{
    struct job *job = &b->jobs[b->job_count++];
    struct redis_request *q = &job->request;
    job->op = op;
    job->batch = b;
    job->command = command;
    job->args[0] = strata_str(command);
    job->args[1] = full_key(b, op->key);
    memset(q, 0, sizeof *q);
    q->args = job->args;
    q->arg_count = 2;
    q->key_at = 1;
    q->affinity = strata__hash(op->key.data, op->key.size, 0);
    q->timeout_ms = b->r->options.timeout_ms;
    q->done = answered;
    b->list[b->count++] = q;
    return job;
}

int strata__redis_too_late(const struct redis_layer *r, strata_error *err)
{
    return strata__fail(err, STRATA_ETIMEDOUT, r->base.name,
                        "the server was not asked once more: this read has spent its soft_timeout_ms=%" PRId64
                        " on it already; raise it where the server is far away",
                        r->options.soft_timeout_ms);
}

/* STRATA_OK: on its way; else the answer. */
static int add_get(struct batch *b, strata_op *op)
{
    struct redis_layer *r = b->r;
    int64_t left_ms = redis_left_ms(r->options.soft_timeout_ms, op->asked_ms, b->now_ms);
    if (left_ms == 0)
        return strata__redis_too_late(r, op->err);
    redis_value_expect(r, op);
    add_job(b, op, "GET")->request.timeout_ms = left_ms;
    return STRATA_OK;
}

static const char *remove_command(const struct redis_layer *r)
{
    return r->options.use_del == STRATA_ON ? "DEL" : "UNLINK";
}

/* STRATA_OK: on its way; else the answer. */
static int add_put(struct batch *b, strata_op *op)
{
    struct redis_layer *r = b->r;
    struct redis_bytes value;
    unsigned char token[REDIS_TOKEN];
    int64_t ttl_ms = strata__redis_ttl_ms(op->expires_ms, op->now_ms);
    if (strata_value_size(op->value) > r->options.max_value_bytes ||
        strata__redis_banned(&r->bans, op->key, op->meta.life, op->meta.position)) {
        redis_count(&r->rejections);
        return STRATA_AGAIN;
    }
    if (op->lease != 0) { /* of when there were scripts: nobody can tell whether it stands */
        (void)strata__redis_lease_take(r, op->lease, token);
        op->flags |= STRATA_OP_LOST;
        return STRATA_AGAIN;
    }
    if ((op->flags & STRATA_OP_NONE) != 0 || ((op->flags & STRATA_OP_SAME) && op->meta.version != 0))
        return STRATA_AGAIN; /* nobody can compare */
    if (ttl_ms == 0) {       /* nobody needs it, but what it replaces must go */
        (void)add_job(b, op, remove_command(r));
        return STRATA_OK;
    }
    if (strata__redis_value_encode(r, op, 0, &value) != STRATA_OK)
        return strata__fail(op->err, STRATA_ENOMEM, r->base.name,
                            "no memory to send a value of %zu bytes: free some, or lower max_value_bytes",
                            strata_value_size(op->value));
    struct job *job = add_job(b, op, "SET");
    job->args[2] = strata_bytes(value.data, value.size);
    job->request.arg_count = 3;
    if (op->flags & STRATA_OP_BACKFILL)
        job->args[job->request.arg_count++] = strata_str("NX");
    if (ttl_ms != STRATA_FOREVER) {
        int digits = snprintf(job->px, sizeof job->px, "%" PRId64, ttl_ms);
        job->args[job->request.arg_count++] = strata_str("PX");
        job->args[job->request.arg_count++] = strata_bytes(job->px, (size_t)digits);
    }
    return STRATA_OK;
}

static void add_call(struct batch *b, struct redis_request *call)
{
    if (call != NULL)
        b->list[b->count++] = call;
}

/* STRATA_OK: on its way, or answered already; else the answer. */
static int add(struct batch *b, strata_op *op)
{
    struct redis_layer *r = b->r;
    /* Until the first greeting is answered, we are hopeful. */
    int scripts = atomic_load_explicit(&r->life.scripts, memory_order_acquire) != SCRIPTS_OFF;
    switch (op->kind) {
    case STRATA_OP_GET: return add_get(b, op);
    case STRATA_OP_PUT:
        if (!scripts)
            return add_put(b, op);
        add_call(b, strata__redis_write_put(r, op));
        return STRATA_OK;
    case STRATA_OP_REMOVE:
        if (scripts)
            add_call(b, strata__redis_write_remove(r, op));
        else
            (void)add_job(b, op, remove_command(r));
        return STRATA_OK;
    case STRATA_OP_LEASE: add_call(b, strata__redis_lease_ask(r, op)); return STRATA_OK;
    case STRATA_OP_RELEASE: add_call(b, strata__redis_lease_release(r, op)); return STRATA_OK;
    default:
        return strata__fail(op->err, STRATA_EUNSUPPORTED, r->base.name,
                            "a Redis layer knows get, put, remove, lease and release alone");
    }
}

static struct batch *new_batch(struct redis_layer *r, strata_op *const *ops, size_t count)
{
    size_t keys = 0, each = sizeof(struct job) + sizeof(struct redis_request *);
    for (size_t i = 0; i < count; i++)
        keys += r->prefix.size + ops[i]->key.size;
    if (count > (SIZE_MAX / 2 - keys) / each)
        return NULL;
    struct batch *b = strata__alloc(r->mem, sizeof *b + count * each + keys);
    if (b == NULL)
        return NULL;
    b->r = r;
    b->mem = r->mem;
    b->count = b->job_count = 0;
    b->list = (struct redis_request **)(void *)(b->jobs + count);
    b->keys = (char *)(b->list + count);
    return b;
}

static void answer_all(struct redis_layer *r, strata_op *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        strata_op_done(ops[i],
                       strata__fail(ops[i]->err, STRATA_ENOMEM, r->base.name, "no memory for a request: free some"));
}

/* A reopening that failed: there is nothing. */
static void answer_nothing(strata_op *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++)
        strata_op_done(ops[i], ops[i]->kind == STRATA_OP_PUT ? STRATA_AGAIN : STRATA_MISS);
}

/* One request each.  `lend`: the caller's thread may be used, where there is one that waits. */
static void submit_each(struct redis_layer *r, strata_op *const *ops, size_t count, int64_t now_ms, int lend)
{
    struct batch *b = new_batch(r, ops, count);
    if (b == NULL) {
        answer_all(r, ops, count);
        return;
    }
    b->now_ms = now_ms;
    lend = lend && count == 1 && (ops[0]->flags & STRATA_OP_WAITED) != 0;
    for (size_t i = 0; i < count; i++) {
        int rc = add(b, ops[i]);
        if (rc != STRATA_OK)
            strata_op_done(ops[i], rc);
    }
    atomic_init(&b->left, b->job_count + 1);
    if (lend && b->count == 1)
        strata__redis_call(r->link, b->list[0]); /* its caller would sleep anyway */
    else
        strata__redis_submit(r->link, b->list, b->count);
    /* Arguments were borrowed until now.  The jobs are there yet: we have not left. */
    for (size_t i = 0; i < b->job_count; i++)
        if (b->jobs[i].request.arg_count > 2)
            strata__free(b->mem, (void *)(uintptr_t)b->jobs[i].args[2].data);
    leave(b);
}

void strata__redis_get_each(struct redis_layer *r, strata_op *const *ops, size_t count)
{
    submit_each(r, ops, count, strata_host_now_ms(r->host), 0);
}

void strata__redis_layer_submit(strata_layer *layer, strata_op *const *ops, size_t count)
{
    struct redis_layer *r = (struct redis_layer *)(void *)layer;
    if (r->host == NULL || count == 0)
        answer_nothing(ops, count);
    else if (strata__redis_gets_many(r, ops, count))
        strata__redis_get_many(r, ops, count);
    else
        submit_each(r, ops, count, ops[0]->now_ms, 1);
}
