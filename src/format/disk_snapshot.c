/* disk_snapshot.c - the snapshot of the index: see the picture in disk_snapshot.h. */
#include "src/format/disk_snapshot.h"

#include "src/base/hash.h"
#include "src/format/le.h"

static const uint8_t magic[8] = { 'S', 't', 'r', 'a', 't', 'I', 'd', 'x' };
static const uint32_t order_mark = 0x01020304;

enum {
    VERSION_AT = 8,
    ORDER_AT = 12,
    ID_AT = 16,
    FILE_SIZE_AT = 32,
    BANS_SIZE_AT = 40,
    NEXT_AT = 48,
    ENTRIES_AT = 56,
    BUCKETS_AT = 64,
    WRITTEN_AT = 72,
    SHARDS_AT = 80,
    BUCKET_SLOTS_AT = 84,
    SLOT_SIZE_AT = 88,
    LAYOUT_AT = 92,
    SEGMENTS_AT = 96,
    BANS_AT = 100,
    CURSOR_AT = 104,
    SEED_AT = 112,
    SUM_AT = 120,
};

static uint64_t padded(uint64_t size) { return (size + 7) / 8 * 8; }

uint64_t strata__snapshot_front_size(const struct snapshot_head *head)
{
    return (uint64_t)head->segment_count * SNAPSHOT_SEGMENT + head->bans_size + padded(head->cursor_size);
}

uint64_t strata__snapshot_file_size(const struct snapshot_head *head)
{
    return SNAPSHOT_HEAD + strata__snapshot_front_size(head) + (uint64_t)head->shard_count * SNAPSHOT_SHARD +
           head->buckets * head->bucket_slots * head->slot_size + SNAPSHOT_SUM;
}

void strata__snapshot_head_write(void *out, const struct snapshot_head *head, const struct disk_dir *dir)
{
    uint8_t *at = out;
    memset(at, 0, SNAPSHOT_HEAD);
    memcpy(at, magic, sizeof magic);
    strata__le32_put(at + VERSION_AT, DISK_VERSION);
    memcpy(at + ORDER_AT, &order_mark, sizeof order_mark); /* as the host has it: that is the point */
    memcpy(at + ID_AT, dir->id, DISK_ID);
    strata__le64_put(at + FILE_SIZE_AT, head->file_size);
    strata__le64_put(at + BANS_SIZE_AT, head->bans_size);
    strata__le64_put(at + NEXT_AT, head->next_segment);
    strata__le64_put(at + ENTRIES_AT, head->entries);
    strata__le64_put(at + BUCKETS_AT, head->buckets);
    strata__le64_put(at + WRITTEN_AT, (uint64_t)head->written_wall_ms);
    strata__le32_put(at + SHARDS_AT, head->shard_count);
    strata__le32_put(at + BUCKET_SLOTS_AT, head->bucket_slots);
    strata__le32_put(at + SLOT_SIZE_AT, head->slot_size);
    strata__le32_put(at + LAYOUT_AT, head->slot_layout);
    strata__le32_put(at + SEGMENTS_AT, head->segment_count);
    strata__le32_put(at + BANS_AT, head->ban_count);
    strata__le32_put(at + CURSOR_AT, head->cursor_size);
    strata__le64_put(at + SEED_AT, strata__dir_seed_check(dir));
    strata__le64_put(at + SUM_AT, strata__hash(at, SUM_AT, 0));
}

static void take_fields(struct snapshot_head *out, const uint8_t *at)
{
    out->file_size = strata__le64(at + FILE_SIZE_AT);
    out->bans_size = strata__le64(at + BANS_SIZE_AT);
    out->next_segment = strata__le64(at + NEXT_AT);
    out->entries = strata__le64(at + ENTRIES_AT);
    out->buckets = strata__le64(at + BUCKETS_AT);
    out->written_wall_ms = (int64_t)strata__le64(at + WRITTEN_AT);
    out->shard_count = strata__le32(at + SHARDS_AT);
    out->bucket_slots = strata__le32(at + BUCKET_SLOTS_AT);
    out->slot_size = strata__le32(at + SLOT_SIZE_AT);
    out->slot_layout = strata__le32(at + LAYOUT_AT);
    out->segment_count = strata__le32(at + SEGMENTS_AT);
    out->ban_count = strata__le32(at + BANS_AT);
    out->cursor_size = strata__le32(at + CURSOR_AT);
}

/* Do the counts make up exactly this file?  Each part is held against the file's size first, so that no product overflows. */
static int fits(const struct snapshot_head *head, uint64_t file_size)
{
    uint64_t bucket = (uint64_t)head->bucket_slots * head->slot_size;
    if (head->file_size != file_size || file_size > INT64_MAX || head->bans_size > file_size)
        return 0;
    if (head->bans_size % 8 != 0 || head->bans_size / SNAPSHOT_BAN < head->ban_count)
        return 0;
    if (bucket == 0 || head->buckets > file_size / bucket || head->entries > head->buckets * head->bucket_slots)
        return 0;
    return strata__snapshot_file_size(head) == file_size;
}

int strata__snapshot_head_read(struct snapshot_head *out, const void *bytes, size_t size, uint64_t file_size,
                               const struct disk_dir *dir)
{
    const uint8_t *at = bytes;
    memset(out, 0, sizeof *out);
    if (size < SNAPSHOT_HEAD)
        return FORMAT_SHORT;
    if (memcmp(at, magic, sizeof magic) != 0)
        return FORMAT_FOREIGN;
    if (strata__le64(at + SUM_AT) != strata__hash(at, SUM_AT, 0))
        return FORMAT_CORRUPT;
    uint32_t version = strata__le32(at + VERSION_AT);
    if (version != DISK_VERSION)
        return version > DISK_VERSION ? FORMAT_NEWER : FORMAT_CORRUPT;
    if (memcmp(at + ORDER_AT, &order_mark, sizeof order_mark) != 0 || memcmp(at + ID_AT, dir->id, DISK_ID) != 0 ||
        strata__le64(at + SEED_AT) != strata__dir_seed_check(dir))
        return FORMAT_FOREIGN;
    take_fields(out, at);
    return fits(out, file_size) ? FORMAT_OK : FORMAT_CORRUPT;
}

void strata__snapshot_segment_write(void *out, const struct snapshot_segment *segment)
{
    uint8_t *at = out;
    strata__le64_put(at, segment->number);
    strata__le64_put(at + 8, segment->size);
    strata__le64_put(at + 16, segment->live_bytes);
    strata__le64_put(at + 24, segment->superseded);
    strata__le32_put(at + 32, segment->live_count);
    strata__le32_put(at + 36, segment->max_expires_s);
}

void strata__snapshot_segment_read(struct snapshot_segment *out, const void *bytes)
{
    const uint8_t *at = bytes;
    out->number = strata__le64(at);
    out->size = strata__le64(at + 8);
    out->live_bytes = strata__le64(at + 16);
    out->superseded = strata__le64(at + 24);
    out->live_count = strata__le32(at + 32);
    out->max_expires_s = strata__le32(at + 36);
}

size_t strata__snapshot_ban_write(void *out, const struct disk_ban *ban)
{
    uint8_t *at = out;
    size_t size = strata__snapshot_ban_size(ban->prefix.size);
    memset(at, 0, size);
    strata__le64_put(at, ban->place);
    strata__ban_write(at + 8, ban);
    strata__le32_put(at + 24, (uint32_t)ban->prefix.size);
    if (ban->prefix.size != 0)
        memcpy(at + SNAPSHOT_BAN, ban->prefix.data, ban->prefix.size);
    return size;
}

int strata__snapshot_ban_read(struct disk_ban *out, const uint8_t **at, const uint8_t *end)
{
    size_t room = (size_t)(end - *at);
    memset(out, 0, sizeof *out);
    if (room < SNAPSHOT_BAN)
        return FORMAT_CORRUPT;
    size_t prefix_size = strata__le32(*at + 24);
    if (prefix_size > RECORD_KEY_MAX || strata__snapshot_ban_size(prefix_size) > room)
        return FORMAT_CORRUPT;
    /* What a ban is, its record's reader knows. */
    struct disk_record record = { .kind = RECORD_BAN,
                                  .key = { *at + SNAPSHOT_BAN, prefix_size },
                                  .body = { *at + 8, RECORD_BAN_BODY } };
    int verdict = strata__ban_read(out, &record, strata__le64(*at));
    *at += strata__snapshot_ban_size(prefix_size);
    return verdict;
}

void strata__snapshot_shard_write(void *out, const struct snapshot_shard *shard)
{
    uint8_t *at = out;
    strata__le64_put(at, shard->buckets);
    strata__le64_put(at + 8, shard->used);
}

void strata__snapshot_shard_read(struct snapshot_shard *out, const void *bytes)
{
    const uint8_t *at = bytes;
    out->buckets = strata__le64(at);
    out->used = strata__le64(at + 8);
}

void strata__snapshot_sum_write(void *out, uint64_t sum) { strata__le64_put(out, sum); }

uint64_t strata__snapshot_sum_read(const void *bytes) { return strata__le64(bytes); }
