/* tracking_words.c - see tracking_words.h. */
#include "src/bus/redis_tracking/tracking_words.h"

#include <stdio.h>
#include <string.h>

#include "src/base/err.h"
#include "src/link/redis_link.h"

static int is_text(const struct redisReply *reply, const char *word)
{
    if (strata__redis_kind(reply) != REDIS_IS_TEXT)
        return 0;
    strata_slice text = strata__redis_text(reply);
    return text.size == strlen(word) && memcmp(text.data, word, text.size) == 0;
}

/* What an invalidation is about. */
static enum tracking_news read_keys(const struct redisReply *keys, const struct redisReply **out_keys)
{
    enum redis_reply_kind kind = strata__redis_kind(keys);
    if (kind == REDIS_IS_NIL)
        return TRACKING_ALL;
    if (kind != REDIS_IS_ARRAY)
        return TRACKING_GARBLED;
    for (size_t i = 0; i < strata__redis_count(keys); i++)
        if (strata__redis_kind(strata__redis_at(keys, i)) != REDIS_IS_TEXT)
            return TRACKING_GARBLED;
    *out_keys = keys;
    return TRACKING_KEYS;
}

static enum tracking_news read_push(const struct redisReply *reply, const struct redisReply **out_keys)
{
    size_t count = strata__redis_count(reply);
    if (count > 0 && is_text(strata__redis_at(reply, 0), "subscribe"))
        return TRACKING_ANSWER;
    if (count == 0 || !is_text(strata__redis_at(reply, 0), "invalidate"))
        return TRACKING_NOISE;
    return count == 2 ? read_keys(strata__redis_at(reply, 1), out_keys) : TRACKING_GARBLED;
}

enum tracking_news tracking_read(const struct redisReply *reply, const struct redisReply **out_keys)
{
    if (strata__redis_is_push(reply))
        return read_push(reply, out_keys);
    if (strata__redis_kind(reply) != REDIS_IS_ARRAY || strata__redis_count(reply) != 3 ||
        !is_text(strata__redis_at(reply, 0), "message"))
        return TRACKING_ANSWER;
    /* Whoever may PUBLISH there can say anything: a text.  The server itself never does. */
    if (!is_text(strata__redis_at(reply, 1), "__redis__:invalidate") ||
        strata__redis_kind(strata__redis_at(reply, 2)) == REDIS_IS_TEXT)
        return TRACKING_NOISE;
    return read_keys(strata__redis_at(reply, 2), out_keys);
}

/* Of pairs, as an array or a map. */
static strata_slice value_of(const struct redisReply *pairs, const char *name)
{
    for (size_t i = 0; i + 1 < strata__redis_count(pairs); i += 2)
        if (is_text(strata__redis_at(pairs, i), name) &&
            strata__redis_kind(strata__redis_at(pairs, i + 1)) == REDIS_IS_TEXT)
            return strata__redis_text(strata__redis_at(pairs, i + 1));
    return strata_bytes("", 0);
}

int tracking_hello(const struct redisReply *reply, char out_server[40])
{
    enum { ROOM = 40, SHOWN = 18 };
    out_server[0] = '\0';
    if (strata__redis_kind(reply) != REDIS_IS_ARRAY)
        return 1;
    strata_slice name = value_of(reply, "server"), version = value_of(reply, "version"), mode = value_of(reply, "mode");
    (void)snprintf(out_server, ROOM, "%.*s %.*s", (int)(name.size < SHOWN ? name.size : SHOWN), (const char *)name.data,
                   (int)(version.size < SHOWN ? version.size : SHOWN), (const char *)version.data);
    if (out_server[0] >= 'a' && out_server[0] <= 'z')
        out_server[0] = (char)(out_server[0] - 'a' + 'A');
    return !(mode.size == 7 && memcmp(mode.data, "cluster", 7) == 0);
}

void tracking_run_id(const struct redisReply *reply, char out[RUN_ROOM])
{
    static const char field[] = "run_id:";
    size_t size = 0, from = sizeof field - 1;
    strata_slice text = strata_bytes(NULL, 0);
    if (strata__redis_kind(reply) == REDIS_IS_TEXT)
        text = strata__redis_text(reply);
    for (size_t i = 0; i + from < text.size; i++) {
        const char *at = (const char *)text.data + i;
        if (memcmp(at, field, from) != 0)
            continue;
        while (size + 1 < RUN_ROOM && i + from + size < text.size && at[from + size] > ' ')
            size++;
        memcpy(out, at + from, size);
        break;
    }
    out[size] = '\0';
}

int tracking_key(strata_slice prefix, strata_slice key, strata_slice *out)
{
    const char *bytes = key.data;
    if (key.size <= prefix.size || (prefix.size > 0 && memcmp(bytes, prefix.data, prefix.size) != 0))
        return 0;
    *out = strata_bytes(bytes + prefix.size, key.size - prefix.size);
    const unsigned char *own = out->data;
    return !(out->size >= 2 && out->size < UINT8_MAX && own[0] == 0 && own[1] == 255);
}

static int begins(strata_slice text, const char *word)
{
    return text.size >= strlen(word) && memcmp(text.data, word, strlen(word)) == 0;
}

static int has(strata_slice text, const char *word)
{
    size_t size = strlen(word);
    for (size_t i = 0; i + size <= text.size; i++)
        if (memcmp((const char *)text.data + i, word, size) == 0)
            return 1;
    return 0;
}

/* Short: a link has room for 160 bytes of words. */
static const char *advice(enum tracking_step step, strata_slice text)
{
    if (begins(text, "NOPERM") && step == TRACKING_LISTEN)
        return "ACL SETUSER ... +subscribe &__redis__:invalidate, or set protocol to 3";
    if (begins(text, "NOPERM") && step == TRACKING_RUN)
        return "ACL SETUSER ... +info, or leave per_key out";
    if (begins(text, "NOPERM"))
        return "ACL SETUSER ... +client|id +client|tracking +hello";
    if (begins(text, "NOPROTO"))
        return "it has no RESP3: set protocol to 2";
    if (has(text, "nknown") || has(text, "yntax error"))
        return "tracking needs Redis 6.0 or newer, or Valkey: leave this bus out";
    return "look at the server";
}

void tracking_refused(const char *name, enum tracking_step step, strata_slice text, strata_error *err)
{
    static const char *const asked[] = { "HELLO", "CLIENT ID", "CLIENT TRACKING", "INFO", "SUBSCRIBE" };
    enum { SHOWN = 50 };
    (void)strata__fail(err, STRATA_EIO, name, "%s was refused: \"%.*s\": %s", asked[step],
                       (int)(text.size < SHOWN ? text.size : SHOWN), (const char *)text.data, advice(step, text));
}
