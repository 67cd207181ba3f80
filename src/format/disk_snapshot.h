/* disk_snapshot.h - index.snap, the disk layer's index as it was at a clean close.
 *
 *   head, 128 bytes | segment table, 40 bytes each | bans, 32 bytes and the prefix each, to 8 | cursor, to 8 |
 *   for each shard: 16 bytes {buckets, used}, its slots as they stand in memory | sum 8
 *
 * The front (head, table, bans, cursor) is encoded here, little-endian; the slots are written and read by their owner, in the
 * byte order of the host: the head says which (another host's file is FOREIGN).  The sum at the end is XXH3-64, seeded with
 * the directory's seed, of everything before it: run a struct hash_stream (src/base/hash.h) along.  Nothing that was read
 * counts until it agreed.  The head has a sum of its own, and its sizes are checked against the file's: what is allocated
 * after it is bounded by the file. */
#ifndef STRATA_FORMAT_DISK_SNAPSHOT_H
#define STRATA_FORMAT_DISK_SNAPSHOT_H
#include <stddef.h>
#include <stdint.h>

#include "src/format/disk_dir.h"
#include "src/format/disk_record.h"
#include "src/format/verdict.h"

enum {
    SNAPSHOT_HEAD = 128,
    SNAPSHOT_SEGMENT = 40,
    SNAPSHOT_BAN = 32, /* and its prefix */
    SNAPSHOT_SHARD = 16,
    SNAPSHOT_SUM = 8,
};

struct snapshot_head {
    uint64_t file_size;    /* of all of it, with the sum at the end */
    uint64_t bans_size;    /* bytes of the encoded bans: strata__snapshot_ban_size() of each */
    uint64_t next_segment; /* the number that the next segment gets */
    uint64_t entries;      /* used slots of all shards */
    uint64_t buckets;      /* of all shards */
    int64_t written_wall_ms;
    uint32_t shard_count;
    uint32_t bucket_slots; /* slots of one bucket */
    uint32_t slot_size;    /* bytes of one slot */
    uint32_t slot_layout;  /* the owner's version of what a slot holds */
    uint32_t segment_count;
    uint32_t ban_count;
    uint32_t cursor_size; /* 0 today */
};

struct snapshot_segment {
    uint64_t number;
    uint64_t size; /* of the file */
    uint64_t live_bytes;
    uint64_t superseded; /* as in struct segment_trailer */
    uint32_t live_count;
    uint32_t max_expires_s;
};

struct snapshot_shard {
    uint64_t buckets;
    uint64_t used; /* slots in use */
};

/* Bytes between the head and the first shard. */
uint64_t strata__snapshot_front_size(const struct snapshot_head *head);
/* Bytes of the whole file, from the counts: for head->file_size. */
uint64_t strata__snapshot_file_size(const struct snapshot_head *head);

void strata__snapshot_head_write(void *out, const struct snapshot_head *head, const struct disk_dir *dir);
/* SNAPSHOT_HEAD bytes of a file of file_size bytes.  @return FORMAT_OK, _SHORT, _FOREIGN, _NEWER, _CORRUPT. */
int strata__snapshot_head_read(struct snapshot_head *out, const void *bytes, size_t size, uint64_t file_size,
                               const struct disk_dir *dir);

void strata__snapshot_segment_write(void *out, const struct snapshot_segment *segment);
void strata__snapshot_segment_read(struct snapshot_segment *out, const void *bytes);

static inline size_t strata__snapshot_ban_size(size_t prefix_size) { return SNAPSHOT_BAN + (prefix_size + 7) / 8 * 8; }
/* Writes strata__snapshot_ban_size(ban->prefix.size) bytes; returns how many. */
size_t strata__snapshot_ban_write(void *out, const struct disk_ban *ban);
/* Reads one of the bans in [*at, end) and moves *at behind it; the prefix points into the bytes.
 * @return FORMAT_OK, FORMAT_CORRUPT. */
int strata__snapshot_ban_read(struct disk_ban *out, const uint8_t **at, const uint8_t *end);

void strata__snapshot_shard_write(void *out, const struct snapshot_shard *shard);
void strata__snapshot_shard_read(struct snapshot_shard *out, const void *bytes);

/* The eight bytes at the end. */
void strata__snapshot_sum_write(void *out, uint64_t sum);
uint64_t strata__snapshot_sum_read(const void *bytes);

#endif /* STRATA_FORMAT_DISK_SNAPSHOT_H */
