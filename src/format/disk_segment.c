/* disk_segment.c - head and footer of a segment file: see the pictures in disk_segment.h. */
#include "src/format/disk_segment.h"

#include "src/base/hash.h"
#include "src/format/le.h"

static const uint8_t head_magic[8] = { 'S', 't', 'r', 'a', 't', 'S', 'e', 'g' };
static const uint8_t end_magic[8] = { 'g', 'e', 'S', 't', 'a', 'r', 't', 'S' };

enum { VERSION_AT = 8, REACH_AT = 12, NUMBER_AT = 16, ID_AT = 24, CREATED_AT = 40, SEED_AT = 48, SUM_AT = 56 };
enum {
    END_NUMBER_AT = 0,
    END_FOOTER_AT = 8,
    END_BYTES_AT = 16,
    END_SUPERSEDED_AT = 24,
    END_COUNT_AT = 32,
    END_EXPIRES_AT = 36,
    END_VERSION_AT = 40,
    END_RESERVED_AT = 44,
    END_SUM_AT = 48,
    END_MAGIC_AT = 56,
};
enum { KIND_SHIFT = 30 };

/* Tells a directory whose id was copied and whose seed was not: its sums and hashes mean nothing here. */
void strata__segment_head_write(void *out, const struct segment_head *head, const struct disk_dir *dir)
{
    uint8_t *at = out;
    memset(at, 0, SEGMENT_HEAD);
    memcpy(at, head_magic, sizeof head_magic);
    strata__le32_put(at + VERSION_AT, DISK_VERSION);
    if (head->reach != 0 && head->number - head->reach <= UINT32_MAX)
        strata__le32_put(at + REACH_AT, (uint32_t)(head->number - head->reach));
    strata__le64_put(at + NUMBER_AT, head->number);
    memcpy(at + ID_AT, dir->id, DISK_ID);
    strata__le64_put(at + CREATED_AT, (uint64_t)head->created_wall_ms);
    strata__le64_put(at + SEED_AT, strata__dir_seed_check(dir));
    strata__le64_put(at + SUM_AT, strata__hash(at, SUM_AT, 0));
}

static int all_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return 0;
    return 1;
}

int strata__segment_head_read(struct segment_head *out, const void *bytes, size_t size, const struct disk_dir *dir)
{
    const uint8_t *at = bytes;
    memset(out, 0, sizeof *out);
    if (size < SEGMENT_HEAD)
        return FORMAT_SHORT;
    if (all_zero(at, SEGMENT_HEAD))
        return FORMAT_END;
    if (memcmp(at, head_magic, sizeof head_magic) != 0)
        return FORMAT_FOREIGN;
    if (strata__le64(at + SUM_AT) != strata__hash(at, SUM_AT, 0))
        return FORMAT_CORRUPT;
    uint32_t version = strata__le32(at + VERSION_AT);
    if (version != DISK_VERSION)
        return version > DISK_VERSION ? FORMAT_NEWER : FORMAT_CORRUPT;
    if (memcmp(at + ID_AT, dir->id, DISK_ID) != 0 || strata__le64(at + SEED_AT) != strata__dir_seed_check(dir))
        return FORMAT_FOREIGN;
    out->number = strata__le64(at + NUMBER_AT);
    out->created_wall_ms = (int64_t)strata__le64(at + CREATED_AT);
    uint32_t below = strata__le32(at + REACH_AT);
    if (out->number == 0 || out->number > PLACE_SEGMENT_MAX || below == 1 || (below != 0 && below >= out->number))
        return FORMAT_CORRUPT;
    out->reach = below != 0 ? out->number - below : 0;
    return FORMAT_OK;
}

void strata__segment_entry_write(void *out, const struct segment_entry *entry)
{
    uint8_t *at = out;
    strata__le64_put(at, entry->hash);
    strata__le32_put(at + 8, (uint32_t)(entry->offset / RECORD_ALIGN));
    strata__le32_put(at + 12, (uint32_t)(entry->size / RECORD_ALIGN) | entry->kind << KIND_SHIFT);
    strata__le32_put(at + 16, entry->expires_s);
    strata__le32_put(at + 20, 0);
}

int strata__segment_entry_read(struct segment_entry *out, const void *bytes, const struct segment_trailer *trailer)
{
    const uint8_t *at = bytes;
    uint32_t size = strata__le32(at + 12);
    out->hash = strata__le64(at);
    out->offset = (uint64_t)strata__le32(at + 8) * RECORD_ALIGN;
    out->size = (uint64_t)(size & ((1u << KIND_SHIFT) - 1)) * RECORD_ALIGN;
    out->kind = size >> KIND_SHIFT;
    out->expires_s = strata__le32(at + 16);
    int inside = out->offset >= SEGMENT_HEAD && out->offset + out->size <= trailer->footer_offset;
    return inside && out->kind >= RECORD_PUT && out->size > RECORD_HEAD ? FORMAT_OK : FORMAT_CORRUPT;
}

static uint64_t footer_sum(const void *footer, uint32_t count, uint64_t seed)
{
    return strata__hash(footer, (size_t)count * SEGMENT_ENTRY + END_SUM_AT, seed);
}

void strata__segment_footer_seal(void *footer, const struct segment_trailer *trailer, uint64_t seed)
{
    uint8_t *at = (uint8_t *)footer + (size_t)trailer->count * SEGMENT_ENTRY;
    strata__le64_put(at + END_NUMBER_AT, trailer->number);
    strata__le64_put(at + END_FOOTER_AT, trailer->footer_offset);
    strata__le64_put(at + END_BYTES_AT, trailer->bytes);
    strata__le64_put(at + END_SUPERSEDED_AT, trailer->superseded);
    strata__le32_put(at + END_COUNT_AT, trailer->count);
    strata__le32_put(at + END_EXPIRES_AT, trailer->max_expires_s);
    strata__le32_put(at + END_VERSION_AT, DISK_VERSION);
    strata__le32_put(at + END_RESERVED_AT, 0);
    strata__le64_put(at + END_SUM_AT, footer_sum(footer, trailer->count, seed));
    memcpy(at + END_MAGIC_AT, end_magic, sizeof end_magic);
}

int strata__segment_trailer_read(struct segment_trailer *out, const void *bytes, uint64_t file_size)
{
    const uint8_t *at = bytes;
    memset(out, 0, sizeof *out);
    if (file_size < SEGMENT_HEAD + SEGMENT_TRAILER || memcmp(at + END_MAGIC_AT, end_magic, sizeof end_magic) != 0)
        return FORMAT_END;
    out->number = strata__le64(at + END_NUMBER_AT);
    out->footer_offset = strata__le64(at + END_FOOTER_AT);
    out->bytes = strata__le64(at + END_BYTES_AT);
    out->superseded = strata__le64(at + END_SUPERSEDED_AT);
    out->count = strata__le32(at + END_COUNT_AT);
    out->max_expires_s = strata__le32(at + END_EXPIRES_AT);
    /* The head, which has a sum of its own, has said that the file is of our version. */
    if (strata__le32(at + END_VERSION_AT) != DISK_VERSION)
        return FORMAT_CORRUPT;
    int placed = out->footer_offset >= SEGMENT_HEAD && out->footer_offset <= SEGMENT_MAX &&
                 out->footer_offset % RECORD_ALIGN == 0 &&
                 out->footer_offset + strata__segment_footer_size(out->count) == file_size;
    return placed && out->bytes <= out->footer_offset ? FORMAT_OK : FORMAT_CORRUPT;
}

int strata__segment_footer_check(const void *footer, const struct segment_trailer *trailer, uint64_t seed)
{
    const uint8_t *at = (const uint8_t *)footer + (size_t)trailer->count * SEGMENT_ENTRY;
    return strata__le64(at + END_SUM_AT) == footer_sum(footer, trailer->count, seed) ? FORMAT_OK : FORMAT_CORRUPT;
}
