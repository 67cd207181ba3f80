/* envelope.c - writes and reads what stands in front of a value: see envelope.h and docs/formats.md.
 *
 * One walk over the fields counts or writes (struct writer), one reads (struct reader); both go by the presence bits, in
 * their order.  The reader notes the first thing that is wrong and from then on hands out zeros. */
#include "src/format/envelope.h"

#include "src/base/hash.h"
#include "src/format/le.h"

enum { /* presence bits: the order of the fields; the frequent ones first, so that two bytes hold them */
       HAS_FRESH = 1 << 0,
       HAS_STALE = 1 << 1,
       HAS_ERROR = 1 << 2,
       HAS_KEEP = 1 << 3,
       HAS_EARLY = 1 << 4,
       HAS_VERSION = 1 << 5,
       HAS_STORE_LIFE = 1 << 6,
       HAS_STORE_TIME = 1 << 7,
       HAS_BORN_WALL = 1 << 8,
       HAS_BORN = 1 << 9,
       HAS_LIFE = 1 << 10,
       HAS_POSITION = 1 << 11,
       HAS_LOAD = 1 << 12,
       HAS_CODEC = 1 << 13,
       HAS_RETRY = 1 << 14,
       HAS_COMPRESSION = 1 << 15,
       HAS_DICTIONARY = 1 << 16,
       HAS_TAGS = 1 << 17,
       HAS_CONTENT_TYPE = 1 << 18,
       HAS_ETAG = 1 << 19,
       HAS_LAST_MODIFIED = 1 << 20,
       HAS_STORE_POSITION = 1 << 21,
       HAS_PROTECTION = 1 << 22,
       HAS_SLIDING = 1 << 23,
       HAS_COST = 1 << 24,
       HAS_KNOWN = (1 << 25) - 1,
};

enum { FIXED = 3, CHECKSUM = 4, VARINT_MAX = 10, HEADER_COPIED = 256 };

enum { FLAGS_KNOWN = ENVELOPE_NEGATIVE | ENVELOPE_CHECKSUM | ENVELOPE_STAMPED | ENVELOPE_PROTECTED };
enum { HAS_STAMP = HAS_VERSION | HAS_STORE_LIFE | HAS_STORE_TIME };

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

static size_t varint_bytes(uint64_t n) { return (size_t)(63 - __builtin_clzll(n | 1)) / 7 + 1; }

static inline void put_varint(struct writer *w, uint64_t n)
{
    if (w->out == NULL) {
        w->used += varint_bytes(n);
        return;
    }
    uint8_t *at = w->out + w->used;
    for (; n >= 0x80; n >>= 7)
        *at++ = (uint8_t)(n | 0x80);
    *at++ = (uint8_t)n;
    w->used = (size_t)(at - w->out);
}

/* As wide as that, whatever it is: what is above is cut. */
static void put_wide(struct writer *w, uint64_t n, size_t size)
{
    uint8_t bytes[VARINT_MAX];
    for (size_t i = 0; i < size; i++, n >>= 7)
        bytes[i] = (uint8_t)((n & 0x7f) | (i + 1 < size ? 0x80 : 0));
    put_bytes(w, bytes, size);
}

static void put_le64(struct writer *w, uint64_t n)
{
    if (w->out != NULL)
        strata__le64_put(w->out + w->used, n);
    w->used += 8;
}

/* Whole seconds take two to three bytes less; 0 is left out, so its code is free for "for ever". */
static void put_duration(struct writer *w, int64_t ms)
{
    uint64_t n = (uint64_t)ms;
    put_varint(w, ms == STRATA_FOREVER ? 0 : n % 1000 == 0 ? n / 1000 << 1 : n << 1 | 1);
}

/* Small for small numbers of either sign. */
static void put_signed(struct writer *w, int64_t n) { put_varint(w, (uint64_t)n << 1 ^ (n < 0 ? UINT64_MAX : 0)); }

static void put_slice(struct writer *w, strata_slice slice)
{
    put_varint(w, slice.size);
    put_bytes(w, slice.data, slice.size);
}

enum { TAG_ID = 8 };

static void put_tag_ids(struct writer *w, const struct envelope *e)
{
    put_varint(w, (uint64_t)e->tag_count * (1 + TAG_ID));
    if (w->out == NULL) {
        w->used += (size_t)e->tag_count * (1 + TAG_ID);
        return;
    }
    for (uint32_t i = 0; i < e->tag_count; i++) {
        put_varint(w, TAG_ID);
        put_le64(w, e->tag_ids[i]);
    }
}

static void put_tags(struct writer *w, const struct envelope *e)
{
    struct writer counter = { NULL, 0 };
    put_varint(w, e->tag_count);
    if (e->tag_ids != NULL) {
        put_tag_ids(w, e);
        return;
    }
    if (e->tags == NULL) {
        put_slice(w, e->tags_encoded);
        return;
    }
    for (uint32_t i = 0; i < e->tag_count; i++)
        put_slice(&counter, e->tags[i]);
    put_varint(w, counter.used);
    for (uint32_t i = 0; i < e->tag_count; i++)
        put_slice(w, e->tags[i]);
}

static int slides(const struct envelope *e) { return e->slide_ms > 0 && e->slide_step_ms > 0 && e->slide_max_ms > 0; }

static uint32_t presence_of(const struct envelope *e)
{
    uint32_t has = 0;
    has |= e->fresh_ms > 0 ? HAS_FRESH : 0;
    has |= e->stale_ms > 0 ? HAS_STALE : 0;
    has |= e->error_ms > 0 ? HAS_ERROR : 0;
    has |= e->keep_ms > 0 ? HAS_KEEP : 0;
    has |= e->early_ms > 0 ? HAS_EARLY : 0;
    has |= e->version != 0 ? HAS_VERSION : 0;
    has |= e->store_life != 0 ? HAS_STORE_LIFE : 0;
    has |= e->store_time_ms != 0 ? HAS_STORE_TIME : 0;
    has |= e->born_wall_ms != 0 ? HAS_BORN_WALL : 0;
    has |= e->born_ms != 0 ? HAS_BORN : 0;
    has |= e->life != 0 ? HAS_LIFE : 0;
    has |= e->position != 0 ? HAS_POSITION : 0;
    has |= e->load_ms != 0 ? HAS_LOAD : 0;
    has |= e->codec != 0 ? HAS_CODEC : 0;
    has |= e->retry_at_ms != 0 ? HAS_RETRY : 0;
    has |= e->compression != COMPRESS_NONE ? HAS_COMPRESSION : 0;
    has |= e->dictionary != 0 ? HAS_DICTIONARY : 0;
    has |= e->tag_count != 0 ? HAS_TAGS : 0;
    has |= e->content_type.size != 0 ? HAS_CONTENT_TYPE : 0;
    has |= e->etag.size != 0 ? HAS_ETAG : 0;
    has |= e->last_modified.size != 0 ? HAS_LAST_MODIFIED : 0;
    has |= e->store_position != 0 ? HAS_STORE_POSITION : 0;
    has |= e->flags & ENVELOPE_PROTECTED ? HAS_PROTECTION : 0;
    has |= slides(e) ? HAS_SLIDING : 0;
    has |= e->cost_us != 0 ? HAS_COST : 0;
    has |= e->flags & ENVELOPE_STAMPED ? HAS_STAMP : 0;
    return has;
}

static void put_durations(struct writer *w, const struct envelope *e, uint32_t has)
{
    if (has & HAS_FRESH)
        put_duration(w, e->fresh_ms);
    if (has & HAS_STALE)
        put_duration(w, e->stale_ms);
    if (has & HAS_ERROR)
        put_duration(w, e->error_ms);
    if (has & HAS_KEEP)
        put_duration(w, e->keep_ms);
    if (has & HAS_EARLY)
        put_duration(w, e->early_ms);
}

static void put_times(struct writer *w, const struct envelope *e, uint32_t has)
{
    int wide = (e->flags & ENVELOPE_STAMPED) != 0;
    if (has & HAS_VERSION)
        put_wide(w, e->version, wide ? ENVELOPE_STAMP_VERSION : varint_bytes(e->version));
    if (has & HAS_STORE_LIFE)
        put_le64(w, e->store_life);
    if (has & HAS_STORE_TIME)
        put_wide(w, e->store_time_ms, wide ? ENVELOPE_STAMP_TIME : varint_bytes(e->store_time_ms));
    if (has & HAS_BORN_WALL)
        put_signed(w, e->born_wall_ms);
    if (has & HAS_BORN)
        put_signed(w, e->born_ms);
    if (has & HAS_LIFE)
        put_le64(w, e->life);
    if (has & HAS_POSITION)
        put_varint(w, e->position);
    if (has & HAS_LOAD)
        put_varint(w, e->load_ms);
}

static void put_what(struct writer *w, const struct envelope *e, uint32_t has)
{
    if (has & HAS_CODEC)
        put_varint(w, e->codec);
    if (has & HAS_RETRY)
        put_signed(w, e->retry_at_ms);
    if (has & HAS_COMPRESSION) {
        put_varint(w, e->compression);
        put_varint(w, e->raw_size);
    }
    if (has & HAS_DICTIONARY)
        put_varint(w, e->dictionary);
    if (has & HAS_TAGS)
        put_tags(w, e);
    if (has & HAS_CONTENT_TYPE)
        put_slice(w, e->content_type);
    if (has & HAS_ETAG)
        put_slice(w, e->etag);
    if (has & HAS_LAST_MODIFIED)
        put_slice(w, e->last_modified);
    if (has & HAS_STORE_POSITION)
        put_varint(w, e->store_position);
    if (has & HAS_PROTECTION) {
        put_varint(w, e->protection);
        put_le64(w, e->key_id);
    }
    if (has & HAS_SLIDING) {
        put_duration(w, e->slide_ms);
        put_duration(w, e->slide_step_ms);
        put_duration(w, e->slide_max_ms);
    }
    if (has & HAS_COST)
        put_varint(w, e->cost_us);
}

/* What follows the header's size; the checksum, which needs that size, is left as a hole. */
static void put_fields(struct writer *w, const struct envelope *e)
{
    uint32_t has = presence_of(e);
    put_varint(w, has);
    put_durations(w, e, has);
    put_times(w, e, has);
    put_what(w, e, has);
    if (e->flags & ENVELOPE_CHECKSUM)
        w->used += CHECKSUM;
}

/* Bytes of a varint that says how long a header is that contains it. */
static size_t size_bytes(size_t others)
{
    size_t bytes = 1;
    while (bytes < VARINT_MAX && others + bytes >= (size_t)1 << 7 * bytes)
        bytes++;
    return bytes;
}

/* With zeros for the stamp: what the store will write there, who makes the sum cannot know. */
static uint64_t stamped_hash(const uint8_t *header, size_t size, size_t stamp_at)
{
    static const uint8_t nothing[ENVELOPE_STAMP];
    uint8_t copy[HEADER_COPIED];
    if (size <= sizeof copy) {
        memcpy(copy, header, size);
        memset(copy + stamp_at, 0, ENVELOPE_STAMP);
        return strata__hash(copy, size, 0);
    }
    struct hash_stream stream;
    strata__hash_start(&stream, 0);
    strata__hash_add(&stream, header, stamp_at);
    strata__hash_add(&stream, nothing, sizeof nothing);
    strata__hash_add(&stream, header + stamp_at + ENVELOPE_STAMP, size - stamp_at - ENVELOPE_STAMP);
    return strata__hash_sum(&stream);
}

/* The payload's hash is seeded with the header's: neither needs the other beside it.  stamp_at 0: there is none. */
static uint32_t checksum(const uint8_t *header, size_t header_size, size_t stamp_at, strata_slice payload)
{
    uint64_t seed = stamp_at != 0 ? stamped_hash(header, header_size, stamp_at) : strata__hash(header, header_size, 0);
    uint64_t sum = strata__hash(payload.data, payload.size, seed);
    return (uint32_t)(sum ^ sum >> 32);
}

size_t strata__envelope_stamp_at(const struct envelope *envelope)
{
    struct writer w = { NULL, 0 }, all = { NULL, 0 };
    uint32_t has = presence_of(envelope);
    put_varint(&w, has);
    put_durations(&w, envelope, has);
    put_fields(&all, envelope);
    return FIXED + size_bytes(FIXED + all.used) + w.used;
}

size_t strata__envelope_size(const struct envelope *envelope)
{
    struct writer w = { NULL, 0 };
    put_fields(&w, envelope);
    return FIXED + size_bytes(FIXED + w.used) + w.used;
}

size_t strata__envelope_write(const struct envelope *envelope, void *out)
{
    uint8_t *at = out;
    /* As if the size took one byte, as it nearly always does; otherwise what follows moves up. */
    struct writer w = { at + FIXED + 1, 0 };
    put_fields(&w, envelope);
    size_t bytes = size_bytes(FIXED + w.used);
    size_t size = FIXED + bytes + w.used;
    if (bytes > 1)
        memmove(at + FIXED + bytes, at + FIXED + 1, w.used);
    at[0] = ENVELOPE_MAGIC;
    at[1] = ENVELOPE_VERSION;
    at[2] = (uint8_t)(envelope->flags & FLAGS_KNOWN);
    put_varint(&(struct writer){ at + FIXED, 0 }, size);
    if (envelope->flags & ENVELOPE_CHECKSUM)
        strata__le32_put(at + size - CHECKSUM,
                         checksum(at, size - CHECKSUM,
                                  envelope->flags & ENVELOPE_STAMPED ? strata__envelope_stamp_at(envelope) : 0,
                                  envelope->payload));
    return size;
}

/* Reading ------------------------------------------------------------------------------------------------------ */

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    int verdict; /* the first thing that was wrong */
};

static int spoil(struct reader *r, int verdict)
{
    if (r->verdict == FORMAT_OK)
        r->verdict = verdict;
    r->at = r->end; /* nothing more is read */
    return 0;
}

static inline uint64_t take_varint(struct reader *r)
{
    uint64_t n = 0;
    if (r->at < r->end && *r->at < 0x80)
        return *r->at++;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        if (shift == 63 && byte > 1)
            break;
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return n;
    }
    spoil(r, FORMAT_CORRUPT);
    return 0;
}

static uint32_t take_u32(struct reader *r)
{
    uint64_t n = take_varint(r);
    if (n > UINT32_MAX)
        return (uint32_t)spoil(r, FORMAT_CORRUPT);
    return (uint32_t)n;
}

static uint64_t take_le64(struct reader *r)
{
    if (r->end - r->at < 8)
        return (uint64_t)spoil(r, FORMAT_CORRUPT);
    r->at += 8;
    return strata__le64(r->at - 8);
}

static int64_t take_duration(struct reader *r)
{
    uint64_t n = take_varint(r);
    if (r->verdict != FORMAT_OK)
        return 0;
    if (n == 0)
        return STRATA_FOREVER;
    if (n & 1)
        return (int64_t)(n >> 1);
    if (n >> 1 > (uint64_t)INT64_MAX / 1000)
        return spoil(r, FORMAT_CORRUPT);
    return (int64_t)((n >> 1) * 1000);
}

static int64_t take_signed(struct reader *r)
{
    uint64_t n = take_varint(r);
    return (int64_t)(n >> 1 ^ (n & 1 ? UINT64_MAX : 0));
}

static strata_slice take_slice(struct reader *r)
{
    uint64_t size = take_varint(r);
    strata_slice slice = { r->at, 0 };
    if (size > (uint64_t)(r->end - r->at)) {
        spoil(r, FORMAT_CORRUPT);
        return slice;
    }
    slice.size = (size_t)size;
    r->at += slice.size;
    return slice;
}

/* The tags are walked once here, so that walking them later cannot fail. */
static void take_tags(struct reader *r, struct envelope *e)
{
    e->tag_count = take_u32(r);
    e->tags_encoded = take_slice(r);
    if (r->verdict != FORMAT_OK)
        return;
    const uint8_t *tags = e->tags_encoded.data;
    struct reader inner = { tags, tags + e->tags_encoded.size, FORMAT_OK };
    uint32_t count = 0;
    for (; inner.at < inner.end && inner.verdict == FORMAT_OK; count++)
        take_slice(&inner);
    if (inner.verdict != FORMAT_OK || count != e->tag_count)
        spoil(r, FORMAT_CORRUPT);
}

/* A stamped envelope's are as wide as that: its checksum passes over so many bytes, and not over others. */
static uint64_t take_stamped(struct reader *r, const struct envelope *e, ptrdiff_t size)
{
    const uint8_t *before = r->at;
    uint64_t n = take_varint(r);
    if (r->verdict == FORMAT_OK && e->flags & ENVELOPE_STAMPED && r->at - before != size)
        return (uint64_t)spoil(r, FORMAT_CORRUPT);
    return n;
}

static void take_times(struct reader *r, struct envelope *e, uint64_t has)
{
    e->fresh_ms = has & HAS_FRESH ? take_duration(r) : 0;
    e->stale_ms = has & HAS_STALE ? take_duration(r) : 0;
    e->error_ms = has & HAS_ERROR ? take_duration(r) : 0;
    e->keep_ms = has & HAS_KEEP ? take_duration(r) : 0;
    e->early_ms = has & HAS_EARLY ? take_duration(r) : 0;
    e->version = has & HAS_VERSION ? take_stamped(r, e, ENVELOPE_STAMP_VERSION) : 0;
    e->store_life = has & HAS_STORE_LIFE ? take_le64(r) : 0;
    e->store_time_ms = has & HAS_STORE_TIME ? take_stamped(r, e, ENVELOPE_STAMP_TIME) : 0;
    e->born_wall_ms = has & HAS_BORN_WALL ? take_signed(r) : 0;
    e->born_ms = has & HAS_BORN ? take_signed(r) : 0;
    e->life = has & HAS_LIFE ? take_le64(r) : 0;
    e->position = has & HAS_POSITION ? take_u32(r) : 0;
    e->load_ms = has & HAS_LOAD ? take_u32(r) : 0;
}

static void take_what(struct reader *r, struct envelope *e, uint64_t has)
{
    e->codec = has & HAS_CODEC ? take_u32(r) : 0;
    e->retry_at_ms = has & HAS_RETRY ? take_signed(r) : 0;
    if (has & HAS_COMPRESSION) {
        e->compression = take_u32(r);
        e->raw_size = take_varint(r);
        if (e->compression == COMPRESS_NONE)
            spoil(r, FORMAT_CORRUPT);
        else if (e->compression > COMPRESS_BROTLI)
            spoil(r, FORMAT_NEWER); /* whole, and nobody here can unfold it */
    }
    e->dictionary = has & HAS_DICTIONARY ? take_varint(r) : 0;
    if (e->dictionary != 0 && e->compression == COMPRESS_NONE)
        spoil(r, FORMAT_CORRUPT);
    if (has & HAS_TAGS)
        take_tags(r, e);
    if (has & HAS_CONTENT_TYPE)
        e->content_type = take_slice(r);
    if (has & HAS_ETAG)
        e->etag = take_slice(r);
    if (has & HAS_LAST_MODIFIED)
        e->last_modified = take_slice(r);
    e->store_position = has & HAS_STORE_POSITION ? take_varint(r) : 0;
    e->protection = has & HAS_PROTECTION ? take_u32(r) : PROTECT_NONE;
    e->key_id = has & HAS_PROTECTION ? take_le64(r) : 0;
    e->slide_ms = has & HAS_SLIDING ? take_duration(r) : 0;
    e->slide_step_ms = has & HAS_SLIDING ? take_duration(r) : 0;
    e->slide_max_ms = has & HAS_SLIDING ? take_duration(r) : 0;
    if (has & HAS_SLIDING && !slides(e))
        spoil(r, FORMAT_CORRUPT);
    e->cost_us = has & HAS_COST ? take_u32(r) : 0;
    if ((e->protection != PROTECT_NONE) != ((e->flags & ENVELOPE_PROTECTED) != 0))
        spoil(r, FORMAT_CORRUPT);
    else if (e->protection > PROTECT_HMAC)
        spoil(r, FORMAT_NEWER); /* nobody here can open it */
}

/* The fields, from r->at to r->end, where the header ends (or its checksum begins). */
static int take_fields(struct reader *r, struct envelope *e)
{
    uint64_t has = take_varint(r);
    take_times(r, e, has);
    take_what(r, e, has);
    /* Bytes behind the last field belong to presence bits that we do not know; without such bits to nobody. */
    if (r->at != r->end && (has & ~(uint64_t)HAS_KNOWN) == 0)
        spoil(r, FORMAT_CORRUPT);
    return r->verdict;
}

/* Where the stamp is, from `start`, for a reader that stands before the fields; 0: there is no room for one. */
static size_t find_stamp(const uint8_t *start, struct reader r)
{
    uint64_t has = take_varint(&r);
    for (uint64_t bit = HAS_FRESH; bit <= HAS_EARLY; bit <<= 1)
        if (has & bit)
            (void)take_varint(&r);
    int there = r.verdict == FORMAT_OK && (has & HAS_STAMP) == HAS_STAMP && r.end - r.at >= ENVELOPE_STAMP;
    return there ? (size_t)(r.at - start) : 0;
}

int strata__envelope_read(struct envelope *out, const void *bytes, size_t size)
{
    const uint8_t *start = bytes;
    memset(out, 0, sizeof *out);
    if (size < 2 || start[0] != ENVELOPE_MAGIC)
        return FORMAT_FOREIGN;
    if (start[1] != ENVELOPE_VERSION)
        return start[1] > ENVELOPE_VERSION ? FORMAT_NEWER : FORMAT_FOREIGN;
    if (size < FIXED + 1)
        return FORMAT_CORRUPT;
    out->flags = start[2];
    if (out->flags & ~(uint32_t)FLAGS_KNOWN)
        return FORMAT_NEWER;
    struct reader r = { start + FIXED, start + size, FORMAT_OK };
    uint64_t header = take_varint(&r);
    size_t tail = out->flags & ENVELOPE_CHECKSUM ? CHECKSUM : 0;
    if (r.verdict != FORMAT_OK || header > size || header < (uint64_t)(r.at - start) + tail)
        return FORMAT_CORRUPT;
    r.end = start + header - tail;
    out->payload = (strata_slice){ start + header, size - (size_t)header };
    int stamped = (out->flags & ENVELOPE_STAMPED) != 0;
    size_t stamp_at = stamped ? find_stamp(start, r) : 0;
    if (stamped && stamp_at == 0)
        return FORMAT_CORRUPT;
    if (tail != 0 && strata__le32(r.end) != checksum(start, (size_t)header - tail, stamp_at, out->payload))
        return FORMAT_CORRUPT;
    if (out->flags & ENVELOPE_NEGATIVE && !(out->flags & ENVELOPE_PROTECTED) && out->payload.size != 0)
        return FORMAT_CORRUPT;
    return take_fields(&r, out);
}

int strata__envelope_tag_next(const struct envelope *envelope, size_t *cursor, strata_slice *out)
{
    const uint8_t *tags = envelope->tags_encoded.data;
    if (*cursor >= envelope->tags_encoded.size)
        return 0;
    struct reader r = { tags + *cursor, tags + envelope->tags_encoded.size, FORMAT_OK };
    *out = take_slice(&r);
    *cursor = (size_t)(r.at - tags);
    return r.verdict == FORMAT_OK;
}

int strata__envelope_tag_ids(const struct envelope *envelope, uint64_t *out)
{
    strata_slice tag;
    size_t cursor = 0, n = 0;
    while (strata__envelope_tag_next(envelope, &cursor, &tag)) {
        if (tag.size != TAG_ID)
            return 0;
        out[n++] = strata__le64(tag.data);
    }
    return 1;
}
