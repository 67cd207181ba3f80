/* byte_stream.h - the bytes of a file, of stdin or of a buffer, decompressed where they are zstd or gzip.
 *
 * The first bytes decide what it is, never the name.  Several zstd frames or gzip members one after the other are one
 * stream.  Memory is bounded: one buffer of compressed bytes and the decoder's window. */
#ifndef STRATA_CLI_BYTE_STREAM_H
#define STRATA_CLI_BYTE_STREAM_H
#include <stddef.h>
#include <stdint.h>

#include "strata/error.h"

struct byte_stream;

/* "-" is stdin.  STRATA_OK, STRATA_EIO, STRATA_ENOMEM. */
int byte_stream_open(struct byte_stream **out, const char *path, strata_error *err);
/* `data` stays until close. */
int byte_stream_open_memory(struct byte_stream **out, const void *data, size_t size, strata_error *err);
/* Fill up to `room` bytes; *out_size 0 is the end.  STRATA_OK; STRATA_EIO for unreadable, damaged or cut-off data. */
int byte_stream_read(struct byte_stream *stream, void *buffer, size_t room, size_t *out_size, strata_error *err);
/* Bytes taken from the file so far (compressed ones), and how many there are; 0 unknown. */
uint64_t byte_stream_consumed(const struct byte_stream *stream);
uint64_t byte_stream_total(const struct byte_stream *stream);
/* NULL is a no-op. */
void byte_stream_close(struct byte_stream *stream);

#endif /* STRATA_CLI_BYTE_STREAM_H */
