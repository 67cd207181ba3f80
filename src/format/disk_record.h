/* disk_record.h - one record of the disk layer's log: a value, a tombstone or a ban.
 *
 *   0        8     9      10        12         16      24         28         32
 *   | sum    | kind| flags| key_size| body_size| birth | expires_s| head_sum | key ... | body ... | zeros .. e5 |
 *
 * Little-endian.  `sum` is XXH3-64, seeded with the directory's seed, of bytes [8, 32 + key_size + body_size).  The body of a
 * put is an envelope and its payload; a tombstone has none; a ban's is in ban_write(), its key the prefix.  A put whose kind
 * was overwritten with RECORD_INVALID keeps its sums: so a scan can check its size and go on behind it.
 *
 * `head_sum` is the lower half of that of bytes [8, 28), and the last byte of a record, at a multiple of 16, is never 0: so a
 * record that was written to its end and damaged since is told from one whose writing ended early, behind which are zeros.
 * Pure: bytes in, bytes out; nothing is allocated, nothing past `size` is read. */
#ifndef STRATA_FORMAT_DISK_RECORD_H
#define STRATA_FORMAT_DISK_RECORD_H
#include <stddef.h>
#include <stdint.h>

#include "src/format/verdict.h"
#include "strata/base.h"

enum {
    RECORD_HEAD = 32,
    RECORD_ALIGN = 16,
    RECORD_KIND_AT = 8, /* where RECORD_INVALID is written to take a put back in place: one byte */
    RECORD_KEY_MAX = UINT16_MAX,
    RECORD_BAN_BODY = 16,
    RECORD_LAST_BYTE = 0xE5,
};

enum {
    RECORD_PUT = 1,
    RECORD_TOMBSTONE = 2,
    RECORD_BAN = 3,
    RECORD_INVALID = 0xDD,
};

#define RECORD_NEVER UINT32_MAX /* expires_s of what does not expire */

#define SEGMENT_MAX (UINT64_C(1) << 30) /* bytes of a segment up to its footer; no record reaches it */

/* A record's place: grows for ever along the log.  0 is no place (segments are numbered from 1). */
#define PLACE_SEGMENT_MAX ((UINT64_C(1) << 38) - 1)
#define PLACE_OFFSET_MAX (SEGMENT_MAX - RECORD_ALIGN)
static inline uint64_t strata__place(uint64_t segment, uint64_t offset)
{
    return segment << 26 | offset / RECORD_ALIGN;
}
static inline uint64_t strata__place_segment(uint64_t place) { return place >> 26; }
static inline uint64_t strata__place_offset(uint64_t place)
{
    return (place & ((UINT64_C(1) << 26) - 1)) * RECORD_ALIGN;
}

struct disk_record {
    uint8_t kind;       /* RECORD_... */
    uint8_t flags;      /* of a put: zeros in the body before the envelope, 0 to 15; else 0 */
    uint32_t expires_s; /* wall clock; RECORD_NEVER */
    uint64_t birth;     /* the place where it was first written; 0: here */
    strata_slice key;   /* reading: into the bytes.  Writing: only the size counts, the bytes stand in place already */
    strata_slice body;  /* the same */
    size_t size;        /* reading: with its padding, what lies between this record and the next */
};

/* Bytes of a record in the segment, with its padding.  key_size up to RECORD_KEY_MAX. */
static inline size_t strata__record_size(size_t key_size, size_t body_size)
{
    return (RECORD_HEAD + key_size + body_size + RECORD_ALIGN) / RECORD_ALIGN * RECORD_ALIGN; /* with its last byte */
}

/* Finish the record at `bytes`, which has room for strata__record_size(): the key stands at bytes + RECORD_HEAD and the body
 * right behind it; this writes the head, the padding and the sum. */
void strata__record_seal(void *bytes, const struct disk_record *record, uint64_t seed);

/* Read a head alone, without checking the sum: how long the record says it is (out->size; the slices have sizes, and data
 * NULL).  `size` at least RECORD_HEAD, or FORMAT_SHORT.  @return FORMAT_OK, FORMAT_END (zeros), _SHORT, _CORRUPT. */
int strata__record_head_read(struct disk_record *out, const void *bytes, size_t size);

/* A head that head_read() took: is what it says the length is what was written?  RECORD_HEAD bytes.  FORMAT_OK, FORMAT_CORRUPT. */
int strata__record_head_check(const void *bytes, uint64_t seed);

/* Read and verify a record.  @return FORMAT_OK, also for RECORD_INVALID; FORMAT_END (the head is zeros); FORMAT_SHORT
 * (out->size is what it says it needs); FORMAT_CORRUPT. */
int strata__record_read(struct disk_record *out, const void *bytes, size_t size, uint64_t seed);

/* A ban: what has `prefix` and is older in the log than `place`, or was born in `life` at a lower position, is gone. */
struct disk_ban {
    uint64_t place; /* of its record; not part of the record's body */
    uint64_t life;
    uint32_t position;
    uint32_t all;        /* 1: everything, prefix is empty */
    strata_slice prefix; /* the key of its record */
};

/* The body of a ban's record: RECORD_BAN_BODY bytes. */
void strata__ban_write(void *out, const struct disk_ban *ban);
/* From a record that was read and is a RECORD_BAN, at `place`.  @return FORMAT_OK, FORMAT_CORRUPT. */
int strata__ban_read(struct disk_ban *out, const struct disk_record *record, uint64_t place);

#endif /* STRATA_FORMAT_DISK_RECORD_H */
