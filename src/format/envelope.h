/* envelope.h - what stands in front of a value wherever it leaves the process: how fresh it is, and what its bytes are.
 *
 *   | magic 1 | version 1 | flags 1 | header size, varint | fields present, varint | fields ... | checksum 4, if flagged | payload
 *
 * Fields stand in the order of their presence bits (docs/formats.md); a field that is 0 or empty is left out.  A newer writer
 * may add presence bits above ours: they are skipped, since the header says its size.  What must not be skipped gets a flag or
 * a version: FORMAT_NEWER here, which is not FORMAT_CORRUPT.  Pure: nothing is allocated, slices point into the bytes. */
#ifndef STRATA_FORMAT_ENVELOPE_H
#define STRATA_FORMAT_ENVELOPE_H
#include <stddef.h>
#include <stdint.h>

#include "src/format/verdict.h"
#include "strata/base.h"
#include "strata/sys/layer.h"

enum { ENVELOPE_MAGIC = 0xCA, ENVELOPE_VERSION = 1 };

enum {                        /* flags */
       ENVELOPE_NEGATIVE = 1, /* the origin has no such thing: there is no payload */
       ENVELOPE_CHECKSUM = 2, /* carries its own checksum, of header and payload */
       ENVELOPE_STAMPED =
           4, /* version, store life and store time are there, and as wide as they can get, whatever they are:
                                 ENVELOPE_STAMP bytes, which a script in the store fills.  The checksum takes them as zeros */
       ENVELOPE_PROTECTED = 8, /* the payload is sealed: `protection` says how.  A reader that can't open it has nothing */
};

enum { ENVELOPE_STAMP_VERSION = 8, ENVELOPE_STAMP_LIFE = 8, ENVELOPE_STAMP_TIME = 6, ENVELOPE_STAMP = 22 };

enum { /* how a payload is sealed: numbers of the format */
       PROTECT_NONE = 0,
       PROTECT_AES_GCM = 1,
       PROTECT_HMAC = 2,
};

enum { /* what the payload is compressed with: numbers of the format, and src/format/compress.h's `alg` */
       COMPRESS_NONE = 0,
       COMPRESS_ZSTD = 1,
       COMPRESS_LZ4 = 2,
       COMPRESS_GZIP = 3,
       COMPRESS_BROTLI = 4,
};

struct envelope {
    uint32_t flags;
    uint32_t compression;
    uint64_t raw_size;   /* of the payload once decompressed; only where compression is not 0 */
    uint64_t dictionary; /* id; 0 none */
    int64_t fresh_ms;    /* durations, as in strata_meta: at least 0, STRATA_FOREVER */
    int64_t stale_ms;
    int64_t error_ms;
    int64_t keep_ms;
    int64_t early_ms;
    int64_t slide_ms, slide_step_ms, slide_max_ms; /* all of them or none */
    uint64_t version;                              /* of the key in a shared store */
    uint64_t store_life;                           /* which life of the shared store counted that version */
    uint64_t store_time_ms;                        /* birth, by the store's clock */
    int64_t born_wall_ms;
    int64_t born_ms;     /* the clock of the life that wrote it; means nothing to another */
    int64_t retry_at_ms; /* the same clock; 0 none */
    uint64_t life;
    uint32_t position;
    uint32_t load_ms;
    uint32_t cost_us; /* where load_ms does not say it; 0: it does */
    uint32_t codec;
    uint64_t store_position; /* of the shared store's list of bans, at birth */
    uint32_t protection;     /* only where ENVELOPE_PROTECTED is flagged */
    uint64_t key_id;         /* which key it is sealed with */
    uint32_t tag_count;
    const strata_slice *tags;  /* writing: tag_count of them; NULL: tags_encoded is taken as it is */
    const uint64_t *tag_ids;   /* writing, where not NULL: numbers instead, each a tag of 8 bytes, the lowest first */
    strata_slice tags_encoded; /* reading: for strata__envelope_tag_next() */
    strata_slice content_type;
    strata_slice etag;
    strata_slice last_modified;
    strata_slice payload; /* reading: what follows the header.  Writing: needed for ENVELOPE_CHECKSUM alone */
};

/* Bytes of the header, without payload. */
size_t strata__envelope_size(const struct envelope *envelope);
/* Write strata__envelope_size() bytes; the payload goes behind them, copied by the caller.  Returns that size. */
size_t strata__envelope_write(const struct envelope *envelope, void *out);
/* Where the stamp of an envelope that is ENVELOPE_STAMPED stands, from its start. */
size_t strata__envelope_stamp_at(const struct envelope *envelope);
/* `size` is that of header and payload.  @return FORMAT_OK; _FOREIGN (no envelope of ours); _NEWER; _CORRUPT. */
int strata__envelope_read(struct envelope *out, const void *bytes, size_t size);

/* The life of a store as strata_meta has it; 0 stays 0. */
static inline uint32_t envelope_life(uint64_t life)
{
    uint32_t folded = (uint32_t)(life ^ life >> 32);
    return folded != 0 || life == 0 ? folded : 1;
}

/* Walks over tags: start with {0} in *cursor.  1: *out is the next tag; 0: there are no more. */
int strata__envelope_tag_next(const struct envelope *envelope, size_t *cursor, strata_slice *out);

/* The numbers of its tags, into room for tag_count.  1; 0: they are no numbers. */
int strata__envelope_tag_ids(const struct envelope *envelope, uint64_t *out);

/* Everything of `meta` but its tags; the rest zeroed.  Negative durations become 0. */
void strata__envelope_from_meta(struct envelope *out, const strata_meta *meta);
void strata__envelope_to_meta(strata_meta *out, const struct envelope *envelope);

#endif /* STRATA_FORMAT_ENVELOPE_H */
