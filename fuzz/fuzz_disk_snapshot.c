/* fuzz_disk_snapshot.c - a snapshot of the index, or a directory file: what its head promises is inside of it.  Each input is
 * read as it is, and once more with the head's sum put right, since no fuzzer guesses it. */
#include <stdint.h>
#include <string.h>

#include "fuzz/disk_home.h"
#include "src/base/hash.h"
#include "src/format/disk_snapshot.h"
#include "src/format/le.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_front(const struct snapshot_head *head, const uint8_t *data, const uint8_t *end)
{
    struct snapshot_segment segment;
    struct disk_ban ban;
    const uint8_t *at = data + SNAPSHOT_HEAD;
    for (uint32_t i = 0; i < head->segment_count; i++, at += SNAPSHOT_SEGMENT) {
        demand(at + SNAPSHOT_SEGMENT <= end);
        strata__snapshot_segment_read(&segment, at);
    }
    const uint8_t *bans_end = at + head->bans_size;
    demand(bans_end <= end);
    for (uint32_t i = 0; i < head->ban_count; i++) {
        if (strata__snapshot_ban_read(&ban, &at, bans_end) != FORMAT_OK)
            return;
        demand(at <= bans_end && (const uint8_t *)ban.prefix.data + ban.prefix.size <= bans_end);
    }
}

static void read_shards(const struct snapshot_head *head, const uint8_t *at, const uint8_t *end)
{
    struct snapshot_shard shard;
    uint64_t bucket = (uint64_t)head->bucket_slots * head->slot_size;
    for (uint32_t i = 0; i < head->shard_count; i++) {
        if (end - at < SNAPSHOT_SHARD) /* shards before it had more than their part */
            return;
        strata__snapshot_shard_read(&shard, at);
        at += SNAPSHOT_SHARD;
        if (shard.buckets > (uint64_t)(end - at) / bucket)
            return;
        at += shard.buckets * bucket;
    }
}

static void read_snapshot(const uint8_t *data, size_t size)
{
    struct snapshot_head head;
    if (strata__snapshot_head_read(&head, data, size, size, &home) != FORMAT_OK)
        return;
    demand(head.file_size == size && strata__snapshot_file_size(&head) == size);
    uint64_t front = strata__snapshot_front_size(&head);
    demand(front <= size - SNAPSHOT_HEAD - SNAPSHOT_SUM);
    read_front(&head, data, data + SNAPSHOT_HEAD + front);
    read_shards(&head, data + SNAPSHOT_HEAD + front, data + size - SNAPSHOT_SUM);
}

static void read_dir(const uint8_t *data, size_t size)
{
    struct disk_dir dir;
    if (strata__dir_read(&dir, data, size) != FORMAT_OK)
        return;
    demand(strata__dir_size(&dir) == size && dir.cursor.size <= DIR_CURSOR_MAX);
    demand((const uint8_t *)dir.cursor.data + dir.cursor.size <= data + size);
}

static void put_sum_right(uint8_t *data, size_t before)
{
    strata__le64_put(data + before, strata__hash(data, before, 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_snapshot(data, size);
    read_dir(data, size);
    uint8_t *copy = malloc(size != 0 ? size : 1);
    if (copy == NULL)
        return 0;
    if (size != 0)
        memcpy(copy, data, size);
    if (size >= SNAPSHOT_HEAD) {
        put_sum_right(copy, SNAPSHOT_HEAD - 8);
        read_snapshot(copy, size);
    }
    if (size >= 8) {
        put_sum_right(copy, size - 8);
        read_dir(copy, size);
    }
    free(copy);
    return 0;
}
