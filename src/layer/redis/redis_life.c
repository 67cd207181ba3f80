/* redis_life.c - see redis_life.h. */
#include "src/layer/redis/redis_life.h"

#include <string.h>

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/format/le.h"
#include "src/layer/redis/redis_call.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/redis/redis_words.h"
#include "src/os/os_random.h"

static const char reserved[] = { '\0', '\377' };

int strata__redis_life_names(struct redis_layer *r)
{
    static const char life[] = "\0\377life", channel[] = "\0\377wake", bans[] = "\0\377bans";
    size_t prefix = r->prefix.size, more = sizeof life - 1;
    r->names = strata__alloc(NULL, 3 * (prefix + more) + 1);
    if (r->names == NULL)
        return 0;
    char *second = r->names + prefix + more, *third = second + prefix + more;
    if (prefix != 0) {
        memcpy(r->names, r->prefix.data, prefix);
        memcpy(second, r->prefix.data, prefix);
        memcpy(third, r->prefix.data, prefix);
    }
    memcpy(r->names + prefix, life, more);
    memcpy(second + prefix, channel, more);
    memcpy(third + prefix, bans, more);
    r->list_key = strata_bytes(third, prefix + more);
    r->life_key = strata_bytes(r->names, prefix + more);
    r->channel = strata_bytes(second, prefix + more);
    strata__redis_script_sha(r->sha);
    return 1;
}

void strata__redis_life_init(struct redis_layer *r)
{
    memset(&r->life, 0, sizeof r->life);
    r->life.seed = strata__os_random();
    r->life.words[0] = strata_str("EVAL");
    r->life.words[1] = strata__redis_script();
    r->life.words[2] = strata_str("0");
    r->life.words[3] = strata_str("reign");
    r->life.words[4] = strata_str("TIME");
    r->life.words[5] = strata_str("INFO");
    r->life.words[6] = strata_str("server");
}

int strata__redis_is_life_key(const struct redis_layer *r, strata_slice key)
{
    return key.size >= r->prefix.size + sizeof reserved && key.size < r->prefix.size + UINT8_MAX &&
           memcmp((const char *)key.data + r->prefix.size, reserved, sizeof reserved) == 0;
}

void strata__redis_life_candidate(struct redis_layer *r, char out[REDIS_LIFE])
{
    uint64_t n = atomic_fetch_add_explicit(&r->life.candidates, 1, memory_order_relaxed);
    uint64_t life = strata__mix64(r->life.seed + n * 0x9e3779b97f4a7c15u);
    strata__le64_put((uint8_t *)out, life != 0 ? life : 1);
}

size_t strata__redis_lives_over(struct redis_layer *r, char out[LIVES_OVER * REDIS_LIFE])
{
    struct redis_life *l = &r->life;
    os_lock_take(&l->lock);
    size_t count = l->over_count < LIVES_OVER ? l->over_count : LIVES_OVER;
    for (size_t i = 0; i < count; i++)
        strata__le64_put((uint8_t *)out + i * REDIS_LIFE, l->over[i]);
    os_lock_give(&l->lock);
    return count;
}

/* Notices ------------------------------------------------------------------------------------------------------ */

void strata__redis_notice(struct redis_layer *r, enum redis_notice notice, const strata_error *why)
{
    struct redis_life *l = &r->life;
    os_lock_take(&l->lock);
    int is_new = (l->noticed & (uint32_t)notice) == 0;
    l->noticed |= (uint32_t)notice;
    if (is_new)
        l->why[notice >> 1] = *why;
    os_lock_give(&l->lock);
    if (is_new)
        atomic_fetch_or(&l->notices, (uint32_t)notice);
}

void strata__redis_no_scripts(struct redis_layer *r, strata_slice text)
{
    strata_error why = STRATA_ERROR_INIT;
    (void)strata__fail(&why, STRATA_ELAYER, r->base.name,
                       "no leases, no versions: scripts are refused (\"%.*s\"): let the user run EVAL and EVALSHA "
                       "(ACL SETUSER), or switch leases off",
                       (int)(text.size < 70 ? text.size : 70), (const char *)text.data);
    atomic_store(&r->life.scripts, SCRIPTS_OFF);
    strata__redis_notice(r, NOTICE_NO_SCRIPTS, &why);
}

void strata__redis_say(struct redis_layer *r, strata_op *op)
{
    struct redis_life *l = &r->life;
    /* Relaxed: said a little later is said, too. */
    if (atomic_load_explicit(&l->notices, memory_order_relaxed) == 0 || op->err == NULL || op->err->status < 0)
        return;
    os_lock_take(&l->lock);
    for (uint32_t notice = 1, i = 0; notice <= NOTICE_NO_CHANNEL; notice <<= 1, i++)
        if (atomic_load(&l->notices) & notice) {
            atomic_fetch_and(&l->notices, ~notice);
            *op->err = l->why[i];
            break;
        }
    os_lock_give(&l->lock);
}

/* Time --------------------------------------------------------------------------------------------------------- */

void strata__redis_clock_saw(struct redis_layer *r, struct redis_mark *mark, int64_t store_us, int64_t elapsed_ms)
{
    int64_t now = strata_host_now_ms(r->host);
    /* The server looked at its clock somewhere on the way: half of it is the best guess. */
    int64_t offset_ms = store_us / 1000 - (now - elapsed_ms / 2);
    if (mark != NULL)
        atomic_store_explicit(&mark->offset_ms, offset_ms, memory_order_relaxed);
    atomic_store_explicit(&r->life.offset_ms, offset_ms, memory_order_relaxed);
    atomic_store_explicit(&r->life.checked_ms, now, memory_order_relaxed);
    atomic_store_explicit(&r->life.clock, 1, memory_order_release);
}

void strata__redis_clock_told(struct redis_layer *r, int64_t store_us, uint64_t life)
{
    if (r->host->store_clock != NULL && !redis_is_cluster(r)) /* there, each key's master has a clock of its own */
        r->host->store_clock(r->host, store_us, envelope_life(life));
}

int64_t strata__redis_store_ms(struct redis_layer *r, const struct redis_mark *mark)
{
    if (!atomic_load_explicit(&r->life.clock, memory_order_acquire))
        return 0;
    const _Atomic(int64_t) *offset_ms = &r->life.offset_ms;
    if (redis_is_cluster(r) && mark != NULL && atomic_load_explicit(&mark->life, memory_order_relaxed) != 0)
        offset_ms = &mark->offset_ms;
    return strata_host_now_ms(r->host) + atomic_load_explicit(offset_ms, memory_order_relaxed);
}

static void looked(struct redis_call *call, const struct redis_told *told)
{
    struct redis_layer *r = call->r;
    int64_t now = strata_host_now_ms(r->host);
    if (told->status == STRATA_OK) {
        strata__redis_clock_saw(r, told->mark, told->store_us, now - call->sent_ms);
        strata__redis_clock_told(r, told->store_us, told->life);
        strata__redis_list_came(r, told);
    } else
        atomic_store_explicit(&r->life.checked_ms, now, memory_order_relaxed); /* what is wrong others will find out */
}

/* In a Cluster in time: what was told so long ago is not believed any more. */
void strata__redis_life_look(struct redis_layer *r, struct redis_mark *mark, strata_slice key)
{
    const int cluster = redis_is_cluster(r) && mark != NULL;
    const int64_t every_ms = cluster ? LIFE_CHECK_MS / 2 : LIST_CHECK_MS;
    _Atomic(int64_t) *checked_ms = cluster ? &mark->asked_ms : &r->life.checked_ms;
    int64_t now = strata_host_now_ms(r->host);
    int64_t checked = atomic_load_explicit(checked_ms, memory_order_relaxed);
    if (now - checked < every_ms || atomic_load(&r->life.scripts) != SCRIPTS_ON)
        return;
    /* Whoever moves the moment asks. */
    if (!atomic_compare_exchange_strong(checked_ms, &checked, now))
        return;
    struct redis_call *call = strata__redis_life_call(r, key, looked, NULL);
    if (call != NULL)
        strata__redis_call_send(call);
}

/* Lives -------------------------------------------------------------------------------------------------------- */

static int is_over_locked(const struct redis_life *l, uint64_t life)
{
    for (size_t i = 0; i < LIVES_OVER; i++)
        if (l->over[i] == life)
            return 1;
    return 0;
}

int strata__redis_life_is_over(struct redis_layer *r, uint64_t life)
{
    os_lock_take(&r->life.lock);
    int over = is_over_locked(&r->life, life);
    os_lock_give(&r->life.lock);
    return over;
}

void strata__redis_life_is_none(struct redis_layer *r, uint64_t life)
{
    struct redis_life *l = &r->life;
    os_lock_take(&l->lock);
    if (!is_over_locked(l, life) && life != atomic_load_explicit(&l->now, memory_order_relaxed))
        l->over[l->over_count++ % LIVES_OVER] = life;
    os_lock_give(&l->lock);
}

uint64_t strata__redis_life_of(struct redis_layer *r, const struct redis_mark *mark)
{
    if (!redis_is_cluster(r))
        return atomic_load_explicit(&r->life.now, memory_order_acquire);
    if (mark == NULL)
        return 0;
    uint64_t life = atomic_load_explicit(&mark->life, memory_order_acquire);
    int64_t told_ms = atomic_load_explicit(&mark->told_ms, memory_order_relaxed);
    return strata_host_now_ms(r->host) - told_ms < LIFE_CHECK_MS ? life : 0;
}

static int has_met_locked(struct redis_life *l, uint64_t life)
{
    uint32_t count = l->met_count < LIVES_MET ? l->met_count : LIVES_MET;
    for (uint32_t i = 0; i < count; i++)
        if (l->met[i] == life)
            return 1;
    l->met[l->met_count++ % LIVES_MET] = life;
    return 0;
}

/* A master of a Cluster reigns, at this connection; 0: a replica does not. */
static void saw_reign(struct redis_layer *r, struct redis_mark *mark, uint64_t life)
{
    struct redis_life *l = &r->life;
    int64_t now = strata_host_now_ms(r->host);
    uint64_t before = atomic_load_explicit(&mark->life, memory_order_relaxed);
    atomic_store_explicit(&mark->told_ms, now, memory_order_relaxed);
    atomic_store_explicit(&mark->asked_ms, now, memory_order_relaxed);
    if (life == before)
        return;
    atomic_store_explicit(&mark->life, life, memory_order_release);
    if (life == 0)
        return;
    os_lock_take(&l->lock);
    int is_new = !has_met_locked(l, life), is_first = l->met_count == 1;
    os_lock_give(&l->lock);
    if (!is_new || is_first)
        return;
    redis_count(&l->lives);
    strata__redis_deletes_repeat(r);
}

void strata__redis_life_saw(struct redis_layer *r, struct redis_mark *mark, uint64_t life)
{
    struct redis_life *l = &r->life;
    if (redis_is_cluster(r)) {
        if (mark != NULL)
            saw_reign(r, mark, life);
        return;
    }
    /* Relaxed: looked at again under the lock. */
    if (life == 0 || life == atomic_load_explicit(&l->now, memory_order_relaxed))
        return;
    os_lock_take(&l->lock);
    uint64_t before = atomic_load_explicit(&l->now, memory_order_relaxed);
    int late = life == before || is_over_locked(l, life);
    if (!late) {
        if (before != 0)
            l->over[l->over_count++ % LIVES_OVER] = before;
        atomic_store_explicit(&l->now, life, memory_order_release);
    }
    os_lock_give(&l->lock);
    if (late || before == 0)
        return;
    redis_count(&l->lives);
    strata__redis_deletes_repeat(r);
}

/* The greeting ------------------------------------------------------------------------------------------------- */

enum { HELLO_LIFE, HELLO_TIME, HELLO_SERVER, HELLOS };

size_t strata__redis_hello(void *ctx, size_t nth, const strata_slice **out_args)
{
    struct redis_layer *r = ctx;
    struct redis_life *l = &r->life;
    if (nth >= HELLOS)
        return 0;
    if (nth == HELLO_SERVER) {
        *out_args = l->words + 5;
        return 2;
    }
    if (nth == HELLO_TIME || redis_is_cluster(r)) {
        *out_args = nth == HELLO_TIME ? l->words + 4 : l->words;
        return nth == HELLO_TIME ? 1 : 4;
    }
    *out_args = l->args;
    size_t over = strata__redis_lives_over(r, l->over_bytes);
    strata__redis_life_candidate(r, l->candidate);
    l->args[0] = strata_str("EVAL");
    l->args[1] = strata__redis_script();
    l->args[2] = strata_str("2");
    l->args[3] = r->life_key;
    l->args[4] = r->list_key;
    l->args[5] = strata_str("life");
    l->args[6] = strata_bytes(l->candidate, REDIS_LIFE);
    l->args[7] = strata__redis_list_known(r, l->known);
    for (size_t i = 0; i < over; i++)
        l->args[8 + i] = strata_bytes(l->over_bytes + i * REDIS_LIFE, REDIS_LIFE);
    return 8 + over;
}

static int begins(strata_slice text, const char *word)
{
    return text.size >= strlen(word) && memcmp(text.data, word, strlen(word)) == 0;
}

static void note_no_info(struct redis_layer *r)
{
    strata_error why = STRATA_ERROR_INIT;
    (void)strata__fail(&why, STRATA_ELAYER, r->base.name,
                       "INFO is forbidden: a restart from a snapshot or a failover is not noticed: let the user run it "
                       "(ACL SETUSER user +info)");
    strata__redis_notice(r, NOTICE_NO_INFO, &why);
}

int strata__redis_time(const struct redisReply *reply, int64_t *out_us)
{
    int64_t parts[2] = { 0, 0 };
    if (strata__redis_kind(reply) != REDIS_IS_ARRAY || strata__redis_count(reply) != 2)
        return 0;
    for (size_t i = 0; i < 2; i++) {
        if (strata__redis_kind(strata__redis_at(reply, i)) != REDIS_IS_TEXT)
            return 0;
        strata_slice digits = strata__redis_text(strata__redis_at(reply, i));
        for (size_t k = 0; k < digits.size && k < 12; k++)
            parts[i] = parts[i] * 10 + (((const char *)digits.data)[k] - '0');
    }
    *out_us = parts[0] * 1000000 + parts[1];
    return 1;
}

/* It is all that a server without scripts tells us. */
static void time_came(struct redis_layer *r, struct redis_mark *mark, const struct redisReply *reply, int64_t elapsed_us)
{
    int64_t us;
    if (strata__redis_time(reply, &us))
        strata__redis_clock_saw(r, mark, us, elapsed_us / 1000);
}

/* "redis_version:7.0.15" is what Valkey says too, for the sake of older clients, and its own besides. */
static int copy_version(strata_slice info, const char *field, const char *name, char *out, size_t room)
{
    size_t size = strlen(field), used = strlen(name), i = 0;
    const char *text = info.data;
    while (i + size <= info.size && memcmp(text + i, field, size) != 0)
        i++;
    if (i + size > info.size || used >= room)
        return 0;
    memcpy(out, name, used);
    for (i += size; i < info.size && text[i] > ' ' && text[i] < 127 && used < room - 1; i++)
        out[used++] = text[i];
    out[used] = 0;
    return 1;
}

/* For people, in the stats: nothing depends on it.  Who may not ask does without. */
static void server_came(struct redis_layer *r, const struct redisReply *reply)
{
    char name[sizeof r->life.server] = "";
    if (strata__redis_kind(reply) != REDIS_IS_TEXT)
        return;
    strata_slice info = strata__redis_text(reply);
    if (!copy_version(info, "valkey_version:", "Valkey ", name, sizeof name) &&
        !copy_version(info, "redis_version:", "Redis ", name, sizeof name))
        return;
    os_lock_take(&r->life.lock);
    memcpy(r->life.server, name, sizeof name);
    os_lock_give(&r->life.lock);
}

int strata__redis_hello_answered(void *ctx, size_t nth, const struct redisReply *reply, int64_t elapsed_us,
                                 struct redis_mark *mark, strata_error *err)
{
    struct redis_layer *r = ctx;
    struct redis_told told = { 0 };
    if (nth == HELLO_TIME) {
        time_came(r, mark, reply, elapsed_us);
        return 1;
    }
    if (nth == HELLO_SERVER) {
        server_came(r, reply);
        return 1;
    }
    if (strata__redis_told_read(reply, &told)) {
        atomic_store(&r->life.scripts, SCRIPTS_ON);
        if (told.version == 0)
            note_no_info(r);
        strata__redis_life_saw(r, mark, told.life);
        strata__redis_list_came(r, &told);
        return 1;
    }
    strata_slice text = strata_bytes("", 0);
    if (strata__redis_kind(reply) == REDIS_IS_ERROR)
        text = strata__redis_of_script(strata__redis_text(reply));
    if (redis_is_cluster(r) && !begins(text, "NOPERM") && !begins(text, "ERR"))
        return 1; /* its mark says nothing: nothing of it is trusted, and whoever asks it is told what is wrong */
    /* Nothing may be asked of a server before its life is known: wait. */
    if (begins(text, "LOADING") || begins(text, "BUSY") || begins(text, "MASTERDOWN")) {
        (void)strata__redis_refused(r->base.name, "EVAL", text, err);
        return 0;
    }
    /* A replica, or one that is full: it will say so to whoever writes; what stands there is of a life that is not known. */
    if (begins(text, "READONLY") || begins(text, "OOM") || begins(text, "MISCONF") || begins(text, "NOREPLICAS"))
        return 1;
    strata__redis_no_scripts(r, text);
    return 1;
}
