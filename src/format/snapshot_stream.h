/* snapshot_stream.h - a snapshot of what a cache holds (docs/formats.md): not the index of a disk layer, which is disk_snapshot.h.
 *
 *   head, 48 bytes | blocks: 32 bytes, and entries, packed or not | a last block, which says how many there were
 *
 * Each block's sum is seeded with that of what stands before it, so that none can be left out, repeated or moved; without the
 * last one a snapshot is not whole.  Pure: bytes in and bytes out. */
#ifndef STRATA_FORMAT_SNAPSHOT_STREAM_H
#define STRATA_FORMAT_SNAPSHOT_STREAM_H
#include <stddef.h>
#include <stdint.h>

#include "src/format/envelope.h"
#include "src/format/verdict.h"

enum {
    STREAM_VERSION = 1,
    STREAM_HEAD = 48,
    STREAM_BLOCK = 32,
    STREAM_END = 16,              /* what the last block holds */
    STREAM_BLOCK_BYTES = 1 << 20, /* a block of several entries has no more, unpacked */
    STREAM_MOST = 1 << 30,        /* and one of a single entry no more than this */
    STREAM_PLAIN_MOST = 256       /* what an entry without tags, names and a checksum has beside key and payload */
};

enum stream_kind { STREAM_ENTRIES = 1, STREAM_LAST = 2 };

struct stream_head {
    uint64_t life; /* of the cache that wrote it */
    int64_t written_wall_ms;
    uint32_t position; /* its ban position then */
    uint64_t sum;      /* of the head: seeds that of the first block */
};

struct stream_block {
    uint32_t kind;
    uint32_t compression; /* COMPRESS_NONE, COMPRESS_ZSTD */
    uint32_t stored_size; /* bytes behind the block's head */
    uint32_t raw_size;    /* the same, unpacked */
    uint32_t entries;
    uint64_t sum;
};

struct stream_entry {
    strata_slice key; /* storage key: its namespace and the plain key */
    struct envelope envelope;
};

/* STREAM_HEAD bytes; sets head->sum. */
void strata__stream_head_write(void *out, struct stream_head *head);
/* @return FORMAT_OK, _SHORT, _FOREIGN, _NEWER, _CORRUPT. */
int strata__stream_head_read(struct stream_head *out, const void *bytes, size_t size);

/* STREAM_BLOCK bytes, to stand in front of `stored`; `before` is the sum of what stands before the block.  Sets block->sum. */
void strata__stream_block_write(void *out, struct stream_block *block, uint64_t before, const void *stored);
/* STREAM_BLOCK bytes; whether the sum is right, strata__stream_sum() tells.  @return FORMAT_OK, _NEWER, _CORRUPT. */
int strata__stream_block_read(struct stream_block *out, const void *bytes);
uint64_t strata__stream_sum(const void *block, uint64_t before, const void *stored, size_t stored_size);

/* What the last block holds. */
void strata__stream_end_write(void *out, uint64_t entries, uint64_t raw_bytes);
void strata__stream_end_read(const void *bytes, uint64_t *entries, uint64_t *raw_bytes);

/* Bytes of an entry; write them: the payload is copied from envelope.payload. */
size_t strata__stream_entry_size(const struct stream_entry *entry);
size_t strata__stream_entry_write(void *out, const struct stream_entry *entry);
/* The same of one without tags, content type, validators and checksum, in one go: into room for STREAM_PLAIN_MOST beside key and
 * payload. */
size_t strata__stream_plain_write(void *out, const struct stream_entry *entry);
/* One of the entries in [*at, end), which *at is moved behind; slices point into the bytes.
 * @return FORMAT_OK; FORMAT_NEWER: this one can't be read; FORMAT_CORRUPT: nor what follows. */
int strata__stream_entry_read(struct stream_entry *out, const uint8_t **at, const uint8_t *end);

/* Move *at behind an entry, without a look at what it is.  @return FORMAT_OK; FORMAT_CORRUPT. */
int strata__stream_entry_skip(const uint8_t **at, const uint8_t *end);

#endif /* STRATA_FORMAT_SNAPSHOT_STREAM_H */
