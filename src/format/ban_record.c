/* ban_record.c - see ban_record.h. */
#include "src/format/ban_record.h"

#include <string.h>

#include "src/base/hash.h"
#include "src/format/le.h"

enum { AT_SUM = 4, AT_KIND = 12, AT_POSITION = 16, AT_LIFE = 20, AT_WALL = 28, AT_STORE = 36, AT_SIZES = 44 };

size_t strata__ban_record_size(const strata_ban_op *ban)
{
    return BAN_RECORD_HEAD + ban->prefix.size + ban->text.size + (size_t)ban->tag_count * 8;
}

static uint8_t *append(uint8_t *at, strata_slice bytes)
{
    if (bytes.size != 0)
        memcpy(at, bytes.data, bytes.size);
    return at + bytes.size;
}

void strata__ban_record_write(void *out, const strata_ban_op *ban)
{
    uint8_t *at = out;
    size_t size = strata__ban_record_size(ban);
    memset(at, 0, BAN_RECORD_HEAD);
    strata__le32_put(at, (uint32_t)size);
    at[AT_KIND] = (uint8_t)ban->kind;
    at[AT_KIND + 1] = ban->soft != 0;
    strata__le32_put(at + AT_POSITION, ban->position);
    strata__le64_put(at + AT_LIFE, ban->life);
    strata__le64_put(at + AT_WALL, (uint64_t)ban->wall_ms);
    strata__le64_put(at + AT_STORE, ban->store_position);
    strata__le32_put(at + AT_SIZES, (uint32_t)ban->prefix.size);
    strata__le32_put(at + AT_SIZES + 4, (uint32_t)ban->text.size);
    strata__le32_put(at + AT_SIZES + 8, ban->tag_count);
    uint8_t *tags = append(append(at + BAN_RECORD_HEAD, ban->prefix), ban->text);
    for (uint32_t i = 0; i < ban->tag_count; i++)
        strata__le64_put(tags + (size_t)8 * i, ban->tags[i]);
    strata__le64_put(at + AT_SUM, strata__hash(at + AT_KIND, size - AT_KIND, 0));
}

int strata__ban_record_read(strata_ban_op *out, uint64_t *tags, const void *bytes, size_t size, size_t *out_used)
{
    const uint8_t *at = bytes;
    if (size < BAN_RECORD_HEAD)
        return FORMAT_END;
    uint64_t all = strata__le32(at), prefix = strata__le32(at + AT_SIZES), text = strata__le32(at + AT_SIZES + 4);
    uint64_t count = strata__le32(at + AT_SIZES + 8);
    if (all < BAN_RECORD_HEAD || all > BAN_RECORD_MOST || count > STRATA_TAGS_MAX ||
        all != BAN_RECORD_HEAD + prefix + text + count * 8)
        return FORMAT_CORRUPT;
    if (size < all)
        return FORMAT_END;
    if (strata__le64(at + AT_SUM) != strata__hash(at + AT_KIND, (size_t)all - AT_KIND, 0))
        return FORMAT_CORRUPT;
    *out = (strata_ban_op){ .size = sizeof *out,
                            .kind = at[AT_KIND],
                            .soft = at[AT_KIND + 1],
                            .position = strata__le32(at + AT_POSITION),
                            .life = strata__le64(at + AT_LIFE),
                            .wall_ms = (int64_t)strata__le64(at + AT_WALL),
                            .store_position = strata__le64(at + AT_STORE),
                            .prefix = strata_bytes(at + BAN_RECORD_HEAD, (size_t)prefix),
                            .text = strata_bytes(at + BAN_RECORD_HEAD + prefix, (size_t)text),
                            .tags = tags,
                            .tag_count = (uint32_t)count };
    const uint8_t *ids = at + BAN_RECORD_HEAD + prefix + text;
    for (uint64_t i = 0; i < count; i++)
        tags[i] = strata__le64(ids + 8 * i);
    *out_used = (size_t)all;
    return FORMAT_OK;
}
