/* disk_segment.h - what stands around the records of a segment file: a head, and when it is sealed a footer.
 *
 *   head, 64 bytes:   | magic 8 | version 4 | reach 4 | number 8 | directory id 16 | created_wall_ms 8 | seed check 8 | sum 8 |
 *   records ...
 *   footer:           count entries of 24 bytes, in the order of the records:
 *                     | hash 8 | offset / 16 4 | kind << 30 + size / 16 4 | expires_s 4 | reserved 4 |
 *                     and the trailer, 64 bytes, the last of the file:
 *                     | number 8 | footer_offset 8 | bytes 8 | superseded 8 | count 4 | max_expires_s 4 | version 4 | reserved 4 |
 *                     | sum 8 | magic 8 |
 *
 * The head's sum has seed 0, so that a file of another directory is told from a damaged one; the footer's has the directory's
 * seed and covers the entries and the trailer up to itself. */
#ifndef STRATA_FORMAT_DISK_SEGMENT_H
#define STRATA_FORMAT_DISK_SEGMENT_H
#include <stddef.h>
#include <stdint.h>

#include "src/format/disk_dir.h"
#include "src/format/disk_record.h"
#include "src/format/verdict.h"

enum {
    SEGMENT_HEAD = 64, /* the first record's offset */
    SEGMENT_ENTRY = 24,
    SEGMENT_TRAILER = 64,
};

struct segment_head {
    uint64_t number; /* 1 and up */
    int64_t created_wall_ms;
    /* The youngest segment in which segment number - 1, when it was full, had superseded something; 0: in none, or that one was
     * not there any more.  Where this one is there, and that one is not, what it superseded would be back. */
    uint64_t reach;
};

void strata__segment_head_write(void *out, const struct segment_head *head, const struct disk_dir *dir);
/* @return FORMAT_OK; _END (zeros); _SHORT; _FOREIGN (another magic, id or seed); _NEWER; _CORRUPT. */
int strata__segment_head_read(struct segment_head *out, const void *bytes, size_t size, const struct disk_dir *dir);

struct segment_entry {
    uint64_t hash;   /* of the key, seeded with the directory's seed */
    uint64_t offset; /* of the record in the file */
    uint64_t size;   /* of the record, with padding */
    uint32_t kind;   /* RECORD_PUT, _TOMBSTONE, _BAN */
    uint32_t expires_s;
};

struct segment_trailer {
    uint64_t number;        /* as in the head: compare */
    uint64_t footer_offset; /* where the entries begin, which is the end of the records */
    uint64_t bytes;         /* of the records of kind put, with padding */
    uint64_t superseded;    /* youngest segment in which a record of this one superseded something; 0 none */
    uint32_t count;         /* entries */
    uint32_t max_expires_s; /* of the puts; 0 where there are none */
};

void strata__segment_entry_write(void *out, const struct segment_entry *entry);
/* Read SEGMENT_ENTRY bytes.  @return FORMAT_OK, or FORMAT_CORRUPT where it points out of the records. */
int strata__segment_entry_read(struct segment_entry *out, const void *bytes, const struct segment_trailer *trailer);

/* Bytes of a footer: entries and trailer. */
static inline size_t strata__segment_footer_size(uint32_t count)
{
    return (size_t)count * SEGMENT_ENTRY + SEGMENT_TRAILER;
}
/* Finish the footer at `footer`, where trailer->count entries were written: writes the trailer behind them. */
void strata__segment_footer_seal(void *footer, const struct segment_trailer *trailer, uint64_t seed);
/* Read the last SEGMENT_TRAILER bytes of a file of file_size bytes; the sum is not checked, the sizes are.
 * The head was read before, and is of this version.
 * @return FORMAT_OK; _END (not sealed); _CORRUPT (a sealed file that was cut, extended or damaged). */
int strata__segment_trailer_read(struct segment_trailer *out, const void *bytes, uint64_t file_size);
/* The whole footer, strata__segment_footer_size(trailer->count) bytes from footer_offset on: is its sum right?
 * @return FORMAT_OK, FORMAT_CORRUPT. */
int strata__segment_footer_check(const void *footer, const struct segment_trailer *trailer, uint64_t seed);

#endif /* STRATA_FORMAT_DISK_SEGMENT_H */
