/* bus_message.c - writes and reads what nodes tell each other: see the picture in bus_message.h, and docs/formats.md.
 *
 * One walk over an item's fields counts or writes (struct writer), one reads (struct reader).  The reader notes the first thing that
 * is wrong and from then on hands out zeros. */
#include "src/format/bus_message.h"

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/sha256.h"

enum {
    VERSION_AT = 1,
    FLAGS_AT = 2,
    HEADER_AT = 3,
    CHANNEL_AT = 4,
    SENDER_AT = 12,
    SEQUENCE_AT = 28,
    LIFE_AT = 36,
    HEADER = 36, /* without a life */
    LIFE = 8,
    CHECKSUM = 4,
    VARINT_MAX = 10,
};

enum { HAS_LIFE = 1, HAS_HMAC = 2, FLAGS_KNOWN = HAS_LIFE | HAS_HMAC };
enum { ITEM_SOFT = 1, ITEM_ALL = 1 };

_Static_assert(BUS_MESSAGE_FRAME == HEADER + LIFE + CHECKSUM + SHA256_BYTES, "what no message is without");

/* Of this format alone: the identity is no hash that anything else has. */
static const uint64_t channel_seed = 0x6c656e6e61686373u;

uint64_t strata__bus_channel(strata_slice prefix) { return strata__hash(prefix.data, prefix.size, channel_seed); }

/* Writing ------------------------------------------------------------------------------------------------------ */

struct writer {
    uint8_t *out; /* NULL: only counts */
    size_t used;
};

static void put_bytes(struct writer *w, const void *data, size_t size)
{
    if (w->out != NULL && size != 0)
        memcpy(w->out + w->used, data, size);
    w->used += size;
}

static void put_byte(struct writer *w, uint8_t byte) { put_bytes(w, &byte, 1); }

static void put_varint(struct writer *w, uint64_t n)
{
    uint8_t bytes[VARINT_MAX];
    size_t size = 0;
    for (; n >= 0x80; n >>= 7)
        bytes[size++] = (uint8_t)(n | 0x80);
    bytes[size++] = (uint8_t)n;
    put_bytes(w, bytes, size);
}

/* Small for small numbers of either sign. */
static void put_signed(struct writer *w, int64_t n) { put_varint(w, (uint64_t)n << 1 ^ (n < 0 ? UINT64_MAX : 0)); }

static void put_text(struct writer *w, strata_slice text)
{
    put_varint(w, text.size);
    put_bytes(w, text.data, text.size);
}

static void put_tags(struct writer *w, const struct bus_item *item)
{
    uint8_t bytes[8];
    put_varint(w, item->tag_count);
    for (uint32_t i = 0; i < item->tag_count; i++) {
        strata__le64_put(bytes, item->tags[i]);
        put_bytes(w, bytes, sizeof bytes);
    }
}

static void put_ban(struct writer *w, const struct bus_item *item)
{
    put_byte(w, item->ban);
    put_byte(w, item->soft ? ITEM_SOFT : 0);
    put_varint(w, item->version);
    put_text(w, item->key);
    if (item->ban == BUS_BAN_TAGS_ANY || item->ban == BUS_BAN_TAGS_ALL)
        put_tags(w, item);
    else
        put_text(w, item->text);
}

static void put_body(struct writer *w, const struct bus_item *item)
{
    switch (item->kind) {
    case BUS_ITEM_HELLO:
    case BUS_ITEM_GOODBYE: return;
    case BUS_ITEM_HEARTBEAT: put_signed(w, item->sent_ms); return;
    case BUS_ITEM_ACK:
        put_bytes(w, item->peer, sizeof item->peer);
        put_signed(w, item->sent_ms);
        put_varint(w, item->number);
        return;
    case BUS_ITEM_DELETE:
    case BUS_ITEM_EXPIRE:
    case BUS_ITEM_SET:
    case BUS_ITEM_VALUE:
        put_varint(w, item->version);
        put_text(w, item->key);
        if (item->kind == BUS_ITEM_VALUE)
            put_text(w, item->envelope);
        if (item->store_life != 0)
            put_varint(w, item->store_life);
        return;
    case BUS_ITEM_CLEAR:
        put_byte(w, item->all ? ITEM_ALL : 0);
        put_varint(w, item->version);
        put_text(w, item->key);
        return;
    case BUS_ITEM_BAN: put_ban(w, item); return;
    default: STRATA_BUG("a kind of item that nobody can read");
    }
}

static size_t body_size(const struct bus_item *item)
{
    struct writer counter = { NULL, 0 };
    put_body(&counter, item);
    return counter.used;
}

static size_t item_size(size_t body)
{
    struct writer counter = { NULL, 1 + body };
    put_varint(&counter, body);
    return counter.used;
}

size_t strata__bus_item_size(const struct bus_item *item) { return item_size(body_size(item)); }

void strata__bus_write_begin(struct bus_writer *w, void *out, size_t room, const struct bus_message *message,
                             strata_slice secret)
{
    uint8_t *at = out;
    size_t header = HEADER + (message->store_life != 0 ? LIFE : 0);
    if (room < BUS_MESSAGE_FRAME)
        STRATA_BUG("a message without room for its own frame");
    memset(at, 0, header);
    at[0] = BUS_MESSAGE_MAGIC;
    at[VERSION_AT] = BUS_MESSAGE_VERSION;
    at[FLAGS_AT] = (uint8_t)((message->store_life != 0 ? HAS_LIFE : 0) | (secret.size != 0 ? HAS_HMAC : 0));
    at[HEADER_AT] = (uint8_t)header;
    strata__le64_put(at + CHANNEL_AT, message->channel);
    memcpy(at + SENDER_AT, message->sender, BUS_NODE_ID);
    if (message->store_life != 0)
        strata__le64_put(at + LIFE_AT, message->store_life);
    *w = (struct bus_writer){ at, header, room - CHECKSUM - (secret.size != 0 ? SHA256_BYTES : 0), 0, secret };
}

int strata__bus_write_item(struct bus_writer *w, const struct bus_item *item)
{
    struct writer writer = { w->out, w->used };
    size_t body = body_size(item);
    if (item_size(body) > w->room - w->used)
        return 0;
    put_byte(&writer, item->kind);
    put_varint(&writer, body);
    put_body(&writer, item);
    w->used = writer.used;
    w->count++;
    return 1;
}

size_t strata__bus_write_end(const struct bus_writer *w, uint64_t sequence)
{
    size_t used = w->used;
    strata__le64_put(w->out + SEQUENCE_AT, sequence);
    strata__le32_put(w->out + used, (uint32_t)strata__hash(w->out, used, 0));
    used += CHECKSUM;
    if (w->secret.size != 0) {
        strata__hmac_sha256(w->secret.data, w->secret.size, w->out, used, w->out + used);
        used += SHA256_BYTES;
    }
    return used;
}

/* Reading ------------------------------------------------------------------------------------------------------ */

struct reader {
    const uint8_t *at, *end;
    int bad;
};

static const uint8_t *take(struct reader *r, uint64_t size)
{
    static const uint8_t zeros[BUS_NODE_ID];
    const uint8_t *at = r->at;
    if (r->bad || size > (uint64_t)(r->end - r->at)) {
        r->bad = 1;
        return zeros;
    }
    r->at += size;
    return at;
}

static uint8_t take_byte(struct reader *r) { return *take(r, 1); }

static uint64_t take_varint(struct reader *r)
{
    uint64_t n = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = take_byte(r);
        if (shift == 63 && byte > 1)
            break;
        n |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return n;
    }
    r->bad = 1;
    return 0;
}

static int64_t take_signed(struct reader *r)
{
    uint64_t n = take_varint(r);
    return (int64_t)(n >> 1 ^ (0 - (n & 1)));
}

static strata_slice take_text(struct reader *r)
{
    uint64_t size = take_varint(r);
    const uint8_t *at = take(r, size);
    return r->bad ? (strata_slice){ NULL, 0 } : (strata_slice){ at, (size_t)size };
}

static void take_tags(struct reader *r, struct bus_item *out)
{
    uint64_t count = take_varint(r);
    if (count > (uint64_t)(r->end - r->at) / 8)
        r->bad = 1;
    out->tags_encoded = take(r, r->bad ? 0 : count * 8);
    out->tag_count = r->bad ? 0 : (uint32_t)count;
}

/* 1: known; 0: a ban of a kind that this reader does not know. */
static int take_ban(struct reader *r, struct bus_item *out)
{
    out->ban = take_byte(r);
    out->soft = (take_byte(r) & ITEM_SOFT) != 0;
    out->version = take_varint(r);
    out->key = take_text(r);
    if (out->ban == BUS_BAN_TAGS_ANY || out->ban == BUS_BAN_TAGS_ALL)
        take_tags(r, out);
    else if (out->ban == BUS_BAN_PREFIX || out->ban == BUS_BAN_PATTERN)
        out->text = take_text(r);
    else
        return 0;
    return 1;
}

/* 1: known; 0: not.  What follows in the body is a newer writer's. */
static int take_body(struct reader *r, struct bus_item *out)
{
    switch (out->kind) {
    case BUS_ITEM_HELLO:
    case BUS_ITEM_GOODBYE: return 1;
    case BUS_ITEM_HEARTBEAT: out->sent_ms = take_signed(r); return 1;
    case BUS_ITEM_ACK:
        memcpy(out->peer, take(r, BUS_NODE_ID), BUS_NODE_ID);
        out->sent_ms = take_signed(r);
        out->number = take_varint(r);
        return 1;
    case BUS_ITEM_DELETE:
    case BUS_ITEM_EXPIRE:
    case BUS_ITEM_SET:
    case BUS_ITEM_VALUE:
        out->version = take_varint(r);
        out->key = take_text(r);
        if (out->kind == BUS_ITEM_VALUE)
            out->envelope = take_text(r);
        if (r->at < r->end) {
            uint64_t life = take_varint(r);
            out->store_life = life <= UINT32_MAX ? (uint32_t)life : 0;
        }
        return 1;
    case BUS_ITEM_CLEAR:
        out->all = (take_byte(r) & ITEM_ALL) != 0;
        out->version = take_varint(r);
        out->key = take_text(r);
        return 1;
    case BUS_ITEM_BAN: return take_ban(r, out);
    default: return 0;
    }
}

/* 1: known; 0: not; `r` is bad: no item. */
static int take_item(struct reader *r, struct bus_item *out)
{
    memset(out, 0, sizeof *out);
    out->kind = take_byte(r);
    strata_slice body = take_text(r);
    if (r->bad)
        return 0;
    struct reader inner = { body.data, (const uint8_t *)body.data + body.size, 0 };
    int known = take_body(&inner, out);
    r->bad = inner.bad;
    return known && !inner.bad;
}

int strata__bus_item_next(const struct bus_message *message, size_t *cursor, struct bus_item *out)
{
    const uint8_t *items = message->items.data;
    struct reader r = { items + *cursor, items + message->items.size, 0 };
    while (r.at < r.end) {
        int known = take_item(&r, out);
        if (r.bad)
            break;
        *cursor = (size_t)(r.at - items);
        if (known)
            return 1;
    }
    return 0;
}

static int look_through(struct bus_message *out)
{
    const uint8_t *items = out->items.data;
    struct reader r = { items, items + out->items.size, 0 };
    struct bus_item item;
    while (r.at < r.end && !r.bad)
        if (!take_item(&r, &item) && item.kind < BUS_ITEM_SPARE)
            out->unknown++;
    return r.bad ? FORMAT_CORRUPT : FORMAT_OK;
}

/* What stands around the items is right; *size loses what stands behind them. */
static int check_frame(const uint8_t *at, size_t *size, strata_slice secret)
{
    size_t hmac = (at[FLAGS_AT] & HAS_HMAC) != 0 ? SHA256_BYTES : 0;
    uint8_t right[SHA256_BYTES];
    if (secret.size != 0 && (hmac == 0 || *size < (size_t)HEADER + CHECKSUM + hmac))
        return BUS_MESSAGE_FORGED;
    if (*size < (size_t)HEADER + CHECKSUM + hmac)
        return FORMAT_CORRUPT;
    *size -= hmac;
    if (secret.size != 0) {
        strata__hmac_sha256(secret.data, secret.size, at, *size, right);
        if (!strata__same_secret(right, at + *size, sizeof right))
            return BUS_MESSAGE_FORGED;
    }
    *size -= CHECKSUM;
    return strata__le32(at + *size) == (uint32_t)strata__hash(at, *size, 0) ? FORMAT_OK : FORMAT_CORRUPT;
}

int strata__bus_message_read(struct bus_message *out, strata_slice bytes, strata_slice secret)
{
    const uint8_t *at = bytes.data;
    size_t size = bytes.size;
    memset(out, 0, sizeof *out);
    if (size < HEADER_AT || at[0] != BUS_MESSAGE_MAGIC || at[VERSION_AT] == 0)
        return FORMAT_FOREIGN;
    if (at[VERSION_AT] > BUS_MESSAGE_VERSION || (at[FLAGS_AT] & ~FLAGS_KNOWN) != 0)
        return FORMAT_NEWER;
    int verdict = check_frame(at, &size, secret);
    if (size >= SENDER_AT) /* whoever has sent it says whom it is for */
        out->channel = strata__le64(at + CHANNEL_AT);
    if (verdict != FORMAT_OK)
        return verdict;
    size_t header = at[HEADER_AT], known = HEADER + ((at[FLAGS_AT] & HAS_LIFE) != 0 ? LIFE : 0);
    if (header < known || header > size)
        return FORMAT_CORRUPT;
    out->channel = strata__le64(at + CHANNEL_AT);
    memcpy(out->sender, at + SENDER_AT, BUS_NODE_ID);
    out->sequence = strata__le64(at + SEQUENCE_AT);
    out->store_life = (at[FLAGS_AT] & HAS_LIFE) != 0 ? strata__le64(at + LIFE_AT) : 0;
    out->items = (strata_slice){ at + header, size - header };
    return look_through(out);
}
