/* snapshot_stream.c - see snapshot_stream.h. */
#include "src/format/snapshot_stream.h"

#include <assert.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/format/le.h"

static const char magic[8] = { 'S', 't', 'r', 'a', 't', 'S', 'n', 'p' };

enum { HEAD_SUM_AT = STREAM_HEAD - 8, BLOCK_SUM_AT = STREAM_BLOCK - 8 };
static_assert(HEAD_SUM_AT == 40 && BLOCK_SUM_AT == 24, "as docs/formats.md says");

/* Head and blocks ------------------------------------------------------------------------------------------------- */

void strata__stream_head_write(void *out, struct stream_head *head)
{
    uint8_t *at = out;
    memset(at, 0, STREAM_HEAD);
    memcpy(at, magic, sizeof magic);
    strata__le32_put(at + 8, STREAM_VERSION);
    strata__le64_put(at + 16, head->life);
    strata__le64_put(at + 24, (uint64_t)head->written_wall_ms);
    strata__le32_put(at + 32, head->position);
    head->sum = strata__hash(at, HEAD_SUM_AT, 0);
    strata__le64_put(at + HEAD_SUM_AT, head->sum);
}

int strata__stream_head_read(struct stream_head *out, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    size_t known = size < sizeof magic ? size : sizeof magic;
    if (memcmp(at, magic, known) != 0 || size == 0)
        return FORMAT_FOREIGN;
    if (size < STREAM_HEAD)
        return FORMAT_SHORT;
    uint32_t version = strata__le32(at + 8);
    if (version > STREAM_VERSION)
        return FORMAT_NEWER;
    *out = (struct stream_head){ .life = strata__le64(at + 16),
                                 .written_wall_ms = (int64_t)strata__le64(at + 24),
                                 .position = strata__le32(at + 32),
                                 .sum = strata__le64(at + HEAD_SUM_AT) };
    if (version == 0 || out->sum != strata__hash(at, HEAD_SUM_AT, 0))
        return FORMAT_CORRUPT;
    return strata__le32(at + 12) == 0 && strata__le32(at + 36) == 0 ? FORMAT_OK : FORMAT_NEWER;
}

uint64_t strata__stream_sum(const void *block, uint64_t before, const void *stored, size_t stored_size)
{
    struct hash_stream sum;
    strata__hash_start(&sum, before);
    strata__hash_add(&sum, block, BLOCK_SUM_AT);
    strata__hash_add(&sum, stored, stored_size);
    return strata__hash_sum(&sum);
}

void strata__stream_block_write(void *out, struct stream_block *block, uint64_t before, const void *stored)
{
    uint8_t *at = out;
    strata__le32_put(at, block->kind);
    strata__le32_put(at + 4, block->compression);
    strata__le32_put(at + 8, block->stored_size);
    strata__le32_put(at + 12, block->raw_size);
    strata__le32_put(at + 16, block->entries);
    strata__le32_put(at + 20, 0);
    block->sum = strata__stream_sum(at, before, stored, block->stored_size);
    strata__le64_put(at + BLOCK_SUM_AT, block->sum);
}

/* What can't be, in a block of entries. */
static int is_odd(const struct stream_block *b)
{
    if (b->compression == COMPRESS_NONE ? b->stored_size != b->raw_size : b->stored_size >= b->raw_size)
        return 1;
    if (b->entries == 0 || b->raw_size > STREAM_MOST)
        return 1;
    return b->entries > 1 && b->raw_size > STREAM_BLOCK_BYTES;
}

int strata__stream_block_read(struct stream_block *out, const void *bytes)
{
    const uint8_t *at = bytes;
    *out = (struct stream_block){ .kind = strata__le32(at),
                                  .compression = strata__le32(at + 4),
                                  .stored_size = strata__le32(at + 8),
                                  .raw_size = strata__le32(at + 12),
                                  .entries = strata__le32(at + 16),
                                  .sum = strata__le64(at + BLOCK_SUM_AT) };
    if (out->kind == 0 || out->kind > 255 || strata__le32(at + 20) != 0)
        return FORMAT_CORRUPT;
    if (out->kind > STREAM_LAST || (out->compression != COMPRESS_NONE && out->compression != COMPRESS_ZSTD))
        return FORMAT_NEWER;
    if (out->kind == STREAM_LAST)
        return out->compression == COMPRESS_NONE && out->stored_size == STREAM_END && out->raw_size == STREAM_END &&
                       out->entries == 0
                   ? FORMAT_OK
                   : FORMAT_CORRUPT;
    return is_odd(out) ? FORMAT_CORRUPT : FORMAT_OK;
}

void strata__stream_end_write(void *out, uint64_t entries, uint64_t raw_bytes)
{
    strata__le64_put(out, entries);
    strata__le64_put((uint8_t *)out + 8, raw_bytes);
}

void strata__stream_end_read(const void *bytes, uint64_t *entries, uint64_t *raw_bytes)
{
    *entries = strata__le64(bytes);
    *raw_bytes = strata__le64((const uint8_t *)bytes + 8);
}

/* Entries --------------------------------------------------------------------------------------------------------- */

static size_t size_width(size_t n) { return n < 0x80 ? 1 : n < 0x4000 ? 2 : n < 0x200000 ? 3 : n < 0x10000000 ? 4 : 5; }

static uint8_t *put_size(uint8_t *at, size_t n)
{
    for (; n >= 0x80; n >>= 7)
        *at++ = (uint8_t)(n | 0x80);
    *at++ = (uint8_t)n;
    return at;
}

/* 0: it is none, or more than stands there. */
static int take_size(const uint8_t **at, const uint8_t *end, size_t *out)
{
    size_t n = 0;
    for (unsigned shift = 0; shift < 35 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        n |= (size_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *out = n;
            return n <= (size_t)(end - *at);
        }
    }
    return 0;
}

size_t strata__stream_entry_size(const struct stream_entry *e)
{
    size_t body = strata__envelope_size(&e->envelope) + e->envelope.payload.size;
    return size_width(e->key.size) + e->key.size + size_width(body) + body;
}

size_t strata__stream_entry_write(void *out, const struct stream_entry *e)
{
    uint8_t *at = put_size(out, e->key.size);
    memcpy(at, e->key.data, e->key.size);
    at = put_size(at + e->key.size, strata__envelope_size(&e->envelope) + e->envelope.payload.size);
    at += strata__envelope_write(&e->envelope, at);
    if (e->envelope.payload.size != 0)
        memcpy(at, e->envelope.payload.data, e->envelope.payload.size);
    return (size_t)(at - (uint8_t *)out) + e->envelope.payload.size;
}

size_t strata__stream_plain_write(void *out, const struct stream_entry *e)
{
    uint8_t *at = put_size(out, e->key.size);
    memcpy(at, e->key.data, e->key.size);
    at += e->key.size;
    /* As if the size took two bytes, as it mostly does; otherwise what follows moves. */
    size_t header = strata__envelope_write(&e->envelope, at + 2), body = header + e->envelope.payload.size;
    size_t width = size_width(body);
    if (width != 2)
        memmove(at + width, at + 2, header);
    at = put_size(at, body) + header;
    if (e->envelope.payload.size != 0)
        memcpy(at, e->envelope.payload.data, e->envelope.payload.size);
    return (size_t)(at - (uint8_t *)out) + e->envelope.payload.size;
}

int strata__stream_entry_read(struct stream_entry *out, const uint8_t **at, const uint8_t *end)
{
    size_t size;
    if (!take_size(at, end, &size) || size == 0)
        return FORMAT_CORRUPT;
    out->key = strata_bytes(*at, size);
    *at += size;
    if (!take_size(at, end, &size))
        return FORMAT_CORRUPT;
    int verdict = strata__envelope_read(&out->envelope, *at, size);
    *at += size;
    return verdict == FORMAT_OK || verdict == FORMAT_NEWER ? verdict : FORMAT_CORRUPT;
}

int strata__stream_entry_skip(const uint8_t **at, const uint8_t *end)
{
    size_t size;
    for (int i = 0; i < 2; i++) {
        if (!take_size(at, end, &size))
            return FORMAT_CORRUPT;
        *at += size;
    }
    return FORMAT_OK;
}
