/* trace_reader.h - the requests of a trace, one by one.
 *
 * A trace is text, one request a line: `key` or `key,size` (bytes), plain, zstd or gzip.  Lines end in LF or CRLF; the
 * last one may end without.  Empty lines are passed over and counted.  Memory is bounded whatever the input. */
#ifndef STRATA_CLI_TRACE_READER_H
#define STRATA_CLI_TRACE_READER_H
#include <stddef.h>
#include <stdint.h>

#include "strata/error.h"

enum {
    TRACE_KEY_MAX = 4096,     /* bytes of a key */
    TRACE_VALUE_MAX = 1 << 30 /* bytes of a value */
};

struct trace_reader;

struct trace_options {
    int no_sizes;       /* commas belong to the keys */
    uint64_t max_bytes; /* give up after so many decompressed bytes; 0: never */
};

struct trace_line {
    const char *key;     /* borrowed until the next call */
    size_t key_size;     /* 1 to TRACE_KEY_MAX */
    int64_t value_bytes; /* -1: the line gives none */
};

struct trace_position {
    uint64_t line;     /* of the last request, from 1 */
    uint64_t empty;    /* lines passed over */
    uint64_t consumed; /* bytes of the file read so far, and all of them; 0 unknown */
    uint64_t total;
};

/* "-" is stdin.  `options` may be NULL.  STRATA_OK, STRATA_EIO, STRATA_ENOMEM. */
int trace_reader_open(struct trace_reader **out, const char *path, const struct trace_options *options,
                      strata_error *err);
/* `data` stays until close. */
int trace_reader_open_memory(struct trace_reader **out, const void *data, size_t size,
                             const struct trace_options *options, strata_error *err);
/* STRATA_OK; STRATA_MISS at the end; STRATA_EIO with the line's number for a line or data that is wrong. */
int trace_reader_next(struct trace_reader *reader, struct trace_line *out, strata_error *err);
void trace_reader_position(const struct trace_reader *reader, struct trace_position *out);
/* NULL is a no-op. */
void trace_reader_close(struct trace_reader *reader);

#endif /* STRATA_CLI_TRACE_READER_H */
