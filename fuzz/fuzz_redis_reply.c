/* fuzz_redis_reply.c - what a server sends, or what poses as one: cut anywhere, it is read as the same replies; each is judged as
 * the Redis layer judges it - values, refusals, redirects, the map of a Cluster - and as a bus does that hears of changed keys.
 *
 *   | how the bytes are cut 1 | bytes */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/packed_home.h"
#include "src/base/hash.h"
#include "src/bus/redis_tracking/tracking_words.h"
#include "src/layer/redis/redis_layer_impl.h"
#include "src/layer/redis/redis_words.h"
#include "src/link/redis_link_impl.h"
#include "src/link/redis_slots.h"

enum { VALUE_MOST = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int condition)
{
    if (!condition)
        abort();
}

static struct redis_layer *layer;

static int64_t some_time(struct strata_layer_host *host)
{
    (void)host;
    return 1767225600000;
}

/* What was seen, for comparing. */
struct seen {
    uint64_t hash;
    size_t count;
};

static void start(void)
{
    const strata_redis_options options = { .size = sizeof options, .max_value_bytes = VALUE_MOST };
    layer = (struct redis_layer *)(void *)strata__redis_make(&options);
    demand(layer->base.failed.status == STRATA_OK);
    packed_home_start(&layer->compressor);
    static struct strata_layer_host host = { .now_ms = some_time, .wall_ms = some_time };
    host.mem = NULL;
    layer->host = &host;
    atomic_store(&layer->life.now, 1);
}

static int decode(strata_slice text)
{
    strata_error err = STRATA_ERROR_INIT;
    strata_op op = { .kind = STRATA_OP_GET, .err = &err };
    int rc = strata__redis_value_decode(layer, &op, text, NULL, 1);
    demand(rc == STRATA_OK || rc == STRATA_MISS);
    demand(rc == STRATA_OK || op.found == NULL);
    if (op.found != NULL)
        demand(strata_value_size(op.found) <= VALUE_MOST || strata_value_size(op.found) <= text.size);
    strata_value_unref(op.found);
    strata_value_unref(op.tags);
    return rc;
}

/* A guessed checksum is never right: what has none is given one, and looked at again. */
static void judge_value(strata_slice text)
{
    struct envelope e;
    (void)decode(text);
    if (strata__envelope_read(&e, text.data, text.size) != FORMAT_OK || e.flags & ENVELOPE_CHECKSUM)
        return;
    e.flags |= ENVELOPE_CHECKSUM;
    size_t header = strata__envelope_size(&e);
    char *bytes = malloc(header + e.payload.size);
    demand(bytes != NULL);
    strata__envelope_write(&e, bytes);
    if (e.payload.size != 0)
        memcpy(bytes + header, e.payload.data, e.payload.size);
    (void)decode(strata_bytes(bytes, header + e.payload.size));
    free(bytes);
}

static void judge_error(strata_slice text)
{
    strata_error err = STRATA_ERROR_INIT;
    static struct redis_place place;
    uint16_t slot = 0;
    demand(strata__redis_refused("redis", "GET", text, &err) < 0);
    demand(err.message[0] != '\0' && memchr(err.message, '\0', sizeof err.message) != NULL);
    tracking_refused("bus", TRACKING_ON, text, &err);
    demand(memchr(err.message, '\0', 160) != NULL);
    if (strata__redis_redirect(text, "10.0.0.1", &slot, &place) != REDIS_STAYS)
        demand(slot < REDIS_SLOTS && place.port != 0 && memchr(place.host, '\0', sizeof place.host) != NULL);
}

static void judge_map(const struct redisReply *reply)
{
    static struct redis_map map;
    if (!strata__redis_map_read(reply, "10.0.0.1", &map))
        return;
    demand(map.place_count <= REDIS_PLACES_MOST && map.served <= REDIS_SLOTS);
    for (size_t i = 0; i < REDIS_SLOTS; i++)
        demand(map.owner[i] == REDIS_NOBODY || map.owner[i] < map.place_count);
}

/* The keys of which it tells are texts, and what is ours of them lies within them. */
static void judge_news(const struct redisReply *reply, struct seen *seen)
{
    const struct redisReply *keys = NULL;
    enum tracking_news news = tracking_read(reply, &keys);
    seen->hash += (uint64_t)news;
    for (size_t i = 0; news == TRACKING_KEYS && i < strata__redis_count(keys); i++) {
        strata_slice key = strata__redis_text(strata__redis_at(keys, i)), own;
        demand(strata__redis_kind(strata__redis_at(keys, i)) == REDIS_IS_TEXT);
        if (tracking_key(strata_str("app:"), key, &own))
            demand(own.size > 0 && own.size + 4 == key.size);
    }
}

static void judge(const struct redisReply *reply, struct seen *seen)
{
    enum redis_reply_kind kind = strata__redis_kind(reply);
    strata_slice text = { NULL, 0 };
    int64_t number = 0;
    switch (kind) {
    case REDIS_IS_TEXT: judge_value(text = strata__redis_text(reply)); break;
    case REDIS_IS_STATUS: text = strata__redis_text(reply); break;
    case REDIS_IS_ERROR: judge_error(text = strata__redis_text(reply)); break;
    case REDIS_IS_INTEGER: number = strata__redis_integer(reply); break;
    case REDIS_IS_ARRAY:
        number = (int64_t)strata__redis_count(reply);
        judge_map(reply);
        judge_news(reply, seen);
        for (size_t i = 0; i < strata__redis_count(reply); i++)
            judge(strata__redis_at(reply, i), seen);
        break;
    default: break;
    }
    seen->hash = strata__hash(text.data, text.size, seen->hash + (uint64_t)kind + strata__mix64((uint64_t)number));
    seen->count++;
}

static void lend(void *ctx, const struct redisReply *reply) { judge(reply, ctx); }

/* All replies in the bytes, fed in pieces of `step`. */
static struct seen read_all(const uint8_t *bytes, size_t size, size_t step, int lends)
{
    struct seen seen = { 0, 0 };
    struct redis_replies replies = { .mem = NULL, .resp3 = strata__redis_pushes() };
    if (lends) {
        replies.lend = lend;
        replies.ctx = &seen;
    }
    struct redisReader *reader = strata__redis_reader_new(&replies);
    demand(reader != NULL);
    int rc = 0;
    for (size_t at = 0; at < size && rc >= 0; at += step) {
        size_t some = size - at < step ? size - at : step;
        struct redisReply *reply;
        const char *why = NULL;
        demand(strata__redis_reader_feed(reader, (const char *)bytes + at, some));
        while ((rc = strata__redis_reader_next(reader, &reply, &why)) > 0) {
            if (reply != strata__redis_lent)
                judge(reply, &seen);
            strata__redis_reply_free(reply);
        }
        demand(rc == 0 || (why != NULL && why[0] != '\0'));
    }
    strata__redis_reader_free(reader);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (layer == NULL)
        start();
    if (size < 2)
        return 0;
    struct seen whole = read_all(data + 1, size - 1, size, 0);
    struct seen cut = read_all(data + 1, size - 1, data[0] == 0 ? 1 : data[0], 1);
    demand(whole.count == cut.count && whole.hash == cut.hash);
    return 0;
}
