/* redis_write.c - puts and removes as scripts: the store counts the version, and compares whose turn it is.
 *
 * A put with a lease stores if the lease stands; a backfill where nothing stands; what was read and is put back where that very entry
 * still stands; any other is a set, whatever stands there. */
#include <stdint.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/mem.h"
#include "src/format/envelope.h"
#include "src/format/le.h"
#include "src/layer/redis/redis_call.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/redis/redis_words.h"

static struct redis_request *fail_memory(struct redis_layer *r, strata_op *op)
{
    strata_op_done(op, strata__fail(op->err, STRATA_ENOMEM, r->base.name,
                                    "no memory to send a value of %zu bytes: free some, or lower max_value_bytes",
                                    op->kind == STRATA_OP_PUT ? strata_value_size(op->value) : 0));
    return NULL;
}

/* Scripts were refused: what cannot be asked without them. */
static void finish(struct redis_layer *r, strata_op *op, int status)
{
    if (status >= 0)
        strata__redis_say(r, op);
    strata_op_done(op, status);
}

static void put_answered(struct redis_call *call, const struct redis_told *told)
{
    strata_op *op = call->owner;
    if (told->status == STRATA_EUNSUPPORTED) {
        finish(call->r, op, STRATA_AGAIN); /* sent as a plain SET now, it might land behind what came after it */
        return;
    }
    if (told->status != STRATA_OK) {
        *op->err = *told->err;
        if (op->lease != 0) /* nobody is to wait for what will not come */
            strata__redis_lease_release_token(call->r, op->key, call->token);
        finish(call->r, op, told->status);
        return;
    }
    if (told->code != SCRIPT_DONE) {
        if (op->lease != 0)
            redis_count(&call->r->leases.lost);
        if (op->lease != 0 || (op->flags & (STRATA_OP_SAME | STRATA_OP_NONE | STRATA_OP_UNLESS_NEWER)))
            op->flags |= STRATA_OP_LOST;
        finish(call->r, op, STRATA_AGAIN);
        return;
    }
    op->meta.version = told->version;
    op->meta.store_life = envelope_life(told->life);
    strata__redis_clock_told(call->r, told->store_us, told->life);
    strata__redis_life_look(call->r, told->mark, op->key); /* who only writes has to know the list of bans, too */
    finish(call->r, op, STRATA_OK);
}

static void remove_answered(struct redis_call *call, const struct redis_told *told)
{
    strata_op *op = call->owner;
    strata__redis_life_deleted_in(call->r, call->number, told->status == STRATA_OK ? told->life : 0);
    if (told->status == STRATA_EUNSUPPORTED) {
        strata__redis_layer_submit(&call->r->base, &op, 1); /* without scripts now */
        return;
    }
    if (told->status == STRATA_OK && told->code == SCRIPT_REFUSED &&
        (op->flags & (STRATA_OP_SAME | STRATA_OP_NONE | STRATA_OP_UNLESS_NEWER)) != 0) {
        op->flags |= STRATA_OP_LOST;
        finish(call->r, op, STRATA_AGAIN);
        return;
    }
    op->meta.store_life = envelope_life(told->life);
    if (told->status == STRATA_OK)
        op->meta.version = told->version;
    else
        *op->err = *told->err;
    finish(call->r, op, told->status);
}

static void note_write(struct redis_call *call)
{
    call->stripe = (uint32_t)(call->request.affinity % REDIS_STRIPES);
    /* Before it is submitted: who looks and sees no more than its own comes before this one (redis_call.c). */
    call->seen = atomic_fetch_add(&call->r->writes[call->stripe], 1) + 1;
}

static void add_life(struct redis_call *call, const strata_op *op)
{
    strata__le32_put(call->folded, op->meta.store_life);
    strata__redis_call_add(call, strata_bytes(call->folded, op->meta.store_life != 0 ? sizeof call->folded : 0));
}

/* What has to stand there for it to be carried out, as the script's arguments. */
static void add_condition(struct redis_call *call, const strata_op *op)
{
    if (op->flags & STRATA_OP_NONE) {
        strata__redis_call_add(call, strata_str("absent"));
    } else if (op->flags & STRATA_OP_UNLESS_NEWER) {
        strata__redis_call_add(call, strata_bytes("", 0));
        add_life(call, op);
    } else if (op->flags & STRATA_OP_SAME) {
        strata__redis_call_add_number(call, (int64_t)op->meta.version);
        add_life(call, op);
    }
}

static struct redis_request *removal(struct redis_layer *r, strata_op *op, uint64_t serial)
{
    struct redis_call *call = strata__redis_call_new(r, "delete", op->key, remove_answered, op);
    if (call == NULL) {
        strata__redis_life_deleted_in(r, serial, 0);
        return fail_memory(r, op);
    }
    call->number = serial;
    strata__redis_call_add_number(call, r->options.tombstone_ms);
    if (op->flags & (STRATA_OP_SAME | STRATA_OP_NONE)) {
        strata__redis_call_add(call, strata_bytes("", 0));
        add_condition(call, op);
    } else if (op->flags & STRATA_OP_UNLESS_NEWER) {
        strata__redis_call_add(call, strata_bytes("", 0));
        add_condition(call, op);
        strata__redis_call_add_number(call, (int64_t)op->meta.version);
    }
    note_write(call);
    return &call->request;
}

struct redis_request *strata__redis_write_remove(struct redis_layer *r, strata_op *op)
{
    const uint32_t no_delete = STRATA_OP_LOADED | STRATA_OP_SAME | STRATA_OP_NONE;
    return removal(r, op, op->flags & no_delete ? 0 : strata__redis_life_deleted(r, op->key));
}

/* How old it is already: what its load took, and what it lay below. */
static int64_t age_ms(const strata_op *op)
{
    int64_t age;
    if (__builtin_sub_overflow(op->now_ms, op->meta.born_ms, &age) || age < 0)
        return 0;
    return age < (int64_t)1 << 45 ? age : (int64_t)1 << 45; /* Lua counts in doubles */
}

static struct redis_request *put_call(struct redis_layer *r, strata_op *op, int64_t ttl_ms, const unsigned char *token)
{
    struct redis_bytes value;
    const char *what = token != NULL ? "store" : op->flags & STRATA_OP_BACKFILL ? "backfill" : "set";
    struct redis_call *call = strata__redis_call_new(r, what, op->key, put_answered, op);
    if (call == NULL)
        return fail_memory(r, op);
    if (strata__redis_value_encode(r, op, 1, &value) != STRATA_OK) {
        strata__redis_call_free(call);
        return fail_memory(r, op);
    }
    call->bytes = value.data;
    if (ttl_ms == STRATA_FOREVER)
        strata__redis_call_add(call, strata_bytes("", 0));
    else
        strata__redis_call_add_number(call, ttl_ms);
    if (token != NULL)
        memcpy(call->token, token, REDIS_TOKEN);
    strata__redis_call_add(call, strata_bytes(call->token, REDIS_TOKEN));
    strata__redis_call_add_number(call, age_ms(op));
    if (op->flags & STRATA_OP_UNLESS_NEWER)
        strata__redis_call_add_number(call, (int64_t)op->meta.version);
    else
        strata__redis_call_add(call, strata_bytes("", 0));
    strata__redis_call_add(call, strata_bytes(value.data, value.stamp_at));
    size_t behind = value.stamp_at + ENVELOPE_STAMP;
    strata__redis_call_add(call, strata_bytes(value.data + behind, value.size - behind));
    add_condition(call, op);
    note_write(call);
    return &call->request;
}

struct redis_request *strata__redis_write_put(struct redis_layer *r, strata_op *op)
{
    unsigned char token[REDIS_TOKEN];
    int64_t ttl_ms = strata__redis_ttl_ms(op->expires_ms, op->now_ms);
    if (strata_value_size(op->value) > r->options.max_value_bytes ||
        strata__redis_banned(&r->bans, op->key, op->meta.life, op->meta.position)) {
        strata__redis_lease_give_up(r, op->lease);
        redis_count(&r->rejections);
        strata_op_done(op, STRATA_AGAIN);
        return NULL;
    }
    if (op->lease != 0 && !strata__redis_lease_take(r, op->lease, token)) {
        op->flags |= STRATA_OP_LOST;
        strata_op_done(op, STRATA_AGAIN);
        return NULL;
    }
    if (ttl_ms == 0) /* nobody needs it, but what it replaces must go */
        return removal(r, op, 0);
    return put_call(r, op, ttl_ms, op->lease != 0 ? token : NULL);
}
