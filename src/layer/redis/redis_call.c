/* redis_call.c - see redis_call.h. */
#include "src/layer/redis/redis_call.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/format/le.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/redis/redis_words.h"

/* Which of the args that are added is ARGV[7] of a set: the version above which it replaces nothing. */
enum { FLOOR_AT = 3 };

static void came(struct redis_request *request);

static struct redis_call *new_call(struct redis_layer *r, const char *what, size_t room,
                                   void (*answered)(struct redis_call *, const struct redis_told *), void *owner)
{
    struct redis_call *call = strata__alloc(r->mem, sizeof *call + room);
    if (call == NULL)
        return NULL;
    memset(call, 0, sizeof *call);
    call->r = r;
    call->what = what;
    call->answered = answered;
    call->owner = owner;
    strata__redis_life_candidate(r, call->candidate);
    call->args[0] = strata_str("EVALSHA");
    call->args[1] = strata_bytes(r->sha, REDIS_SHA - 1);
    call->request.args = call->args;
    call->request.arg_count = 2;
    call->request.timeout_ms = r->options.timeout_ms;
    call->request.done = came;
    return call;
}

/* With the prefix; it decides where the call goes. */
static strata_slice put_key(struct redis_call *call, strata_slice key)
{
    const strata_slice prefix = call->r->prefix;
    if (prefix.size != 0)
        memcpy(call->key, prefix.data, prefix.size);
    if (key.size != 0)
        memcpy(call->key + prefix.size, key.data, key.size);
    call->request.key_at = 3;
    call->request.affinity = strata__hash(key.data, key.size, 0);
    return strata_bytes(call->key, prefix.size + key.size);
}

struct redis_call *strata__redis_call_new(struct redis_layer *r, const char *what, strata_slice key,
                                          void (*answered)(struct redis_call *, const struct redis_told *), void *owner)
{
    struct redis_call *call = new_call(r, what, r->prefix.size + key.size, answered, owner);
    if (call == NULL)
        return NULL;
    strata_slice full = put_key(call, key);
    strata__redis_call_add(call, strata_str(redis_is_cluster(r) ? "1" : "2"));
    strata__redis_call_add(call, full);
    if (!redis_is_cluster(r))
        strata__redis_call_add(call, r->life_key);
    strata__redis_call_add(call, strata_str(what));
    strata__redis_call_add(call, strata_bytes(call->candidate, REDIS_LIFE));
    strata__redis_call_add(call, r->channel);
    call->first = call->request.arg_count;
    return call;
}

struct redis_call *strata__redis_life_call(struct redis_layer *r, strata_slice key,
                                           void (*answered)(struct redis_call *, const struct redis_told *),
                                           void *owner)
{
    const char *what = redis_is_cluster(r) ? "reign" : "life";
    struct redis_call *call = new_call(r, what, r->prefix.size + key.size, answered, owner);
    if (call == NULL)
        return NULL;
    strata_slice full = put_key(call, key);
    strata__redis_call_add(call, strata_str(redis_is_cluster(r) ? "1" : "2"));
    strata__redis_call_add(call, redis_is_cluster(r) ? full : r->life_key);
    if (!redis_is_cluster(r))
        strata__redis_call_add(call, r->list_key);
    strata__redis_call_add(call, strata_str(what));
    strata__redis_call_add(call, strata_bytes(call->candidate, REDIS_LIFE));
    if (!redis_is_cluster(r))
        strata__redis_call_add(call, strata__redis_list_known(r, call->token));
    size_t over = redis_is_cluster(r) ? 0 : strata__redis_lives_over(r, call->over);
    for (size_t i = 0; i < over; i++)
        strata__redis_call_add(call, strata_bytes(call->over + i * REDIS_LIFE, REDIS_LIFE));
    return call;
}

struct redis_call *strata__redis_list_call(struct redis_layer *r,
                                           void (*answered)(struct redis_call *, const struct redis_told *),
                                           void *owner)
{
    struct redis_call *call = new_call(r, "ban", 0, answered, owner);
    if (call == NULL)
        return NULL;
    call->request.key_at = 3;
    call->request.affinity = strata__hash(r->list_key.data, r->list_key.size, 0);
    strata__redis_call_add(call, strata_str("2"));
    strata__redis_call_add(call, r->list_key);
    strata__redis_call_add(call, r->life_key);
    strata__redis_call_add(call, strata_str("ban"));
    strata__redis_call_add(call, strata_bytes(call->candidate, REDIS_LIFE));
    call->first = call->request.arg_count;
    return call;
}

void strata__redis_call_add(struct redis_call *call, strata_slice arg)
{
    if (call->request.arg_count == CALL_ARGS)
        STRATA_BUG("a script has more arguments than a call has room");
    call->args[call->request.arg_count++] = arg;
}

void strata__redis_call_add_number(struct redis_call *call, int64_t number)
{
    char *room = call->numbers[call->number_count++];
    int digits = snprintf(room, CALL_NUMBER_ROOM, "%" PRId64, number);
    strata__redis_call_add(call, strata_bytes(room, (size_t)digits));
}

void strata__redis_call_send(struct redis_call *call)
{
    struct redis_request *request = &call->request;
    call->sent_ms = strata_host_now_ms(call->r->host);
    strata__redis_submit(call->r->link, &request, 1);
}

void strata__redis_call_free(struct redis_call *call)
{
    strata__free(call->r->mem, call->bytes);
    strata__free(call->r->mem, call);
}

/* Answers ------------------------------------------------------------------------------------------------------ */

static void tell(struct redis_call *call, const struct redis_told *told)
{
    call->answered(call, told);
    strata__redis_call_free(call);
}

int strata__redis_told_read(const struct redisReply *reply, struct redis_told *out)
{
    if (strata__redis_kind(reply) != REDIS_IS_ARRAY || strata__redis_count(reply) < 4 ||
        strata__redis_kind(strata__redis_at(reply, 0)) != REDIS_IS_INTEGER ||
        strata__redis_kind(strata__redis_at(reply, 1)) != REDIS_IS_TEXT ||
        strata__redis_kind(strata__redis_at(reply, 2)) != REDIS_IS_INTEGER ||
        strata__redis_kind(strata__redis_at(reply, 3)) != REDIS_IS_INTEGER)
        return 0;
    strata_slice life = strata__redis_text(strata__redis_at(reply, 1));
    out->status = STRATA_OK;
    out->code = strata__redis_integer(strata__redis_at(reply, 0));
    out->life = life.size == REDIS_LIFE ? strata__le64(life.data) : 0;
    out->store_us = strata__redis_integer(strata__redis_at(reply, 2));
    out->version = (uint64_t)strata__redis_integer(strata__redis_at(reply, 3));
    const struct redisReply *more = strata__redis_count(reply) > 4 ? strata__redis_at(reply, 4) : NULL;
    if (out->code == SCRIPT_ENTRY && (more == NULL || strata__redis_kind(more) != REDIS_IS_TEXT))
        return 0;
    if (out->code == SCRIPT_HELD && (more == NULL || strata__redis_kind(more) != REDIS_IS_INTEGER))
        return 0;
    if (out->code == SCRIPT_ENTRY)
        out->entry = strata__redis_text(more);
    out->has_list = out->code == SCRIPT_DONE && more != NULL && strata__redis_kind(more) == REDIS_IS_TEXT;
    if (out->has_list)
        out->list = strata__redis_text(more);
    if (out->code == SCRIPT_HELD)
        out->held_ms = strata__redis_integer(more);
    return 1;
}

static void fail_call(struct redis_call *call, int status, const strata_error *err)
{
    const struct redis_told told = { .status = status, .err = err };
    tell(call, &told);
}

/* The server knows the script again, and the time: what has a later version came behind the set that it forgot. */
static void floor_came(struct redis_call *life, const struct redis_told *told)
{
    struct redis_call *call = life->owner;
    if (told->status != STRATA_OK) {
        fail_call(call, told->status, told->err);
        return;
    }
    if (atomic_load(&call->r->writes[call->stripe]) != call->seen) {
        const struct redis_told refused = { .status = STRATA_OK, .code = SCRIPT_REFUSED, .life = told->life };
        tell(call, &refused);
        return;
    }
    char *room = call->numbers[call->number_count++];
    int digits = snprintf(room, CALL_NUMBER_ROOM, "%" PRId64, told->store_us);
    call->args[call->first + FLOOR_AT] = strata_bytes(room, (size_t)digits);
    strata__redis_call_send(call);
}

static strata_slice call_key(const struct redis_call *call)
{
    size_t prefix = call->r->prefix.size;
    return strata_bytes(call->key + prefix, call->args[3].size - prefix);
}

/* SCRIPT FLUSH, or a server that never heard of it.  A set must not land behind what was asked after it and is through
 * already; everything else compares by itself, as a set does that names what it is based on, or can only remove. */
static void send_again(struct redis_call *call)
{
    call->resent = 1;
    if (call->until_ms != 0) {
        int64_t now = strata_host_now_ms(call->r->host);
        strata_error err = STRATA_ERROR_INIT;
        if (now >= call->until_ms) {
            fail_call(call, strata__redis_too_late(call->r, &err), &err);
            return;
        }
        call->request.timeout_ms = call->until_ms - now;
    }
    if (strcmp(call->what, "set") == 0 && call->args[call->first + FLOOR_AT].size == 0) {
        struct redis_call *life = strata__redis_life_call(call->r, call_key(call), floor_came, call);
        if (life == NULL) {
            strata_error err = STRATA_ERROR_INIT;
            fail_call(call, strata__fail_plain(&err, STRATA_ENOMEM, call->r->base.name), &err);
            return;
        }
        life->resent = 1;
        life->args[0] = strata_str("EVAL");
        life->args[1] = strata__redis_script();
        strata__redis_call_send(life);
        return;
    }
    call->args[0] = strata_str("EVAL");
    call->args[1] = strata__redis_script();
    strata__redis_call_send(call);
}

static int begins(strata_slice text, const char *word)
{
    return text.size >= strlen(word) && memcmp(text.data, word, strlen(word)) == 0;
}

static int contains(strata_slice text, const char *word)
{
    size_t size = strlen(word);
    const char *bytes = text.data;
    for (size_t i = 0; i + size <= text.size; i++)
        if (memcmp(bytes + i, word, size) == 0)
            return 1;
    return 0;
}

/* Of a command, not of a key: "NOPERM ... 'evalsha' ..."; or of one that the script needs, in the words of servers of all ages:
 * "ERR The user executing the script can't run...", "NOPERM ACL failure in script: ... to run the 'pttl' command". */
static int forbids_scripts(strata_slice text)
{
    if (begins(text, "ERR unknown command"))
        return 1;
    if (!begins(text, "NOPERM") && !begins(text, "The user executing") && !begins(text, "ERR The user executing") &&
        !begins(text, "ERR ACL failure"))
        return 0;
    return contains(text, "eval") || (contains(text, "script") && contains(text, " run "));
}

static void came(struct redis_request *request)
{
    struct redis_call *call = (struct redis_call *)(void *)request;
    struct redis_layer *r = call->r;
    struct redis_told told = { .status = request->status, .err = &request->err };
    strata_error err = STRATA_ERROR_INIT;
    if (request->status != STRATA_OK) {
        tell(call, &told);
        return;
    }
    if (strata__redis_told_read(request->reply, &told)) {
        told.mark = request->mark;
        strata__redis_life_saw(r, told.mark, told.life);
        tell(call, &told);
        return;
    }
    strata_slice text = { "", 0 };
    if (strata__redis_kind(request->reply) == REDIS_IS_ERROR)
        text = strata__redis_of_script(strata__redis_text(request->reply));
    if (begins(text, "NOSCRIPT") && !call->resent) {
        send_again(call);
        return;
    }
    if (forbids_scripts(text)) {
        strata__redis_no_scripts(r, text);
        fail_call(call, STRATA_EUNSUPPORTED, &err);
        return;
    }
    int status = strata__redis_no_answer(r, call->what, request->reply, &err);
    fail_call(call, status, &err);
}
