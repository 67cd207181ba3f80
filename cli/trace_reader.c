/* trace_reader.c - see trace_reader.h.
 *
 * One buffer holds whole lines and the begin of one; a line that does not fit is too long by definition, so the buffer
 * never grows.  The size stands after the last comma, so that a key may contain commas as long as a size follows. */
#include "cli/trace_reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/byte_stream.h"
#include "cli/cli_error.h"

enum { BUFFER_BYTES = 64 * 1024, LINE_MAX_BYTES = TRACE_KEY_MAX + 24 /* a comma, 20 digits, CRLF */ };

struct trace_reader {
    struct byte_stream *stream;
    struct trace_options options;
    struct trace_position at;
    uint64_t decompressed;
    size_t begin; /* the unread part of buffer */
    size_t end;
    int ended; /* no bytes after the buffer */
    char buffer[BUFFER_BYTES];
};

static struct trace_reader *reader_new(const struct trace_options *options)
{
    struct trace_reader *r = calloc(1, sizeof *r);

    if (r != NULL && options != NULL)
        r->options = *options;
    return r;
}

int trace_reader_open(struct trace_reader **out, const char *path, const struct trace_options *options,
                      strata_error *err)
{
    struct trace_reader *r = reader_new(options);
    int status;

    *out = NULL;
    if (r == NULL)
        return cli_fail(err, STRATA_ENOMEM, path, "out of memory");
    status = byte_stream_open(&r->stream, path, err);
    if (status != STRATA_OK) {
        trace_reader_close(r);
        return status;
    }
    *out = r;
    return STRATA_OK;
}

int trace_reader_open_memory(struct trace_reader **out, const void *data, size_t size,
                             const struct trace_options *options, strata_error *err)
{
    struct trace_reader *r = reader_new(options);
    int status;

    *out = NULL;
    if (r == NULL)
        return cli_fail(err, STRATA_ENOMEM, "trace", "out of memory");
    status = byte_stream_open_memory(&r->stream, data, size, err);
    if (status != STRATA_OK) {
        trace_reader_close(r);
        return status;
    }
    *out = r;
    return STRATA_OK;
}

/* One more read behind the unread part. */
static int refill(struct trace_reader *r, strata_error *err)
{
    strata_error why = STRATA_ERROR_INIT;
    size_t got;
    int status;

    if (r->begin > 0) {
        memmove(r->buffer, r->buffer + r->begin, r->end - r->begin);
        r->end -= r->begin;
        r->begin = 0;
    }
    status = byte_stream_read(r->stream, r->buffer + r->end, BUFFER_BYTES - r->end, &got, &why);
    if (status != STRATA_OK)
        return cli_fail(err, status, why.where, "after line %" PRIu64 ": %s", r->at.line, why.message);
    r->end += got;
    r->decompressed += got;
    r->ended = got == 0;
    if (r->options.max_bytes != 0 && r->decompressed > r->options.max_bytes)
        return cli_fail(err, STRATA_EIO, "trace", "line %" PRIu64 ": larger than the %" PRIu64 " bytes allowed",
                        r->at.line, r->options.max_bytes);
    return STRATA_OK;
}

/* The next line without its end.  STRATA_OK, STRATA_MISS at the end, or an error. */
static int next_line(struct trace_reader *r, const char **out, size_t *out_size, strata_error *err)
{
    size_t looked = 0;

    for (;;) {
        const char *line = r->buffer + r->begin;
        size_t held = r->end - r->begin;
        const char *newline = held > looked ? memchr(line + looked, '\n', held - looked) : NULL;
        size_t size = newline != NULL ? (size_t)(newline - line) : held;
        int status;

        if (size > LINE_MAX_BYTES)
            return cli_fail(err, STRATA_EIO, "trace",
                            "line %" PRIu64 " is longer than %d bytes: a trace is text with one key a line",
                            r->at.line + 1, (int)LINE_MAX_BYTES);
        if (newline != NULL || (r->ended && held > 0)) {
            *out = line;
            *out_size = size;
            r->begin += newline != NULL ? size + 1 : size;
            r->at.line++;
            return STRATA_OK;
        }
        if (r->ended)
            return STRATA_MISS;
        looked = held;
        status = refill(r, err);
        if (status != STRATA_OK)
            return status;
    }
}

/* Digits alone, at most TRACE_VALUE_MAX; -1 not a number, -2 too large. */
static int64_t parse_size(const char *text, size_t size)
{
    int64_t value = 0;
    size_t i;

    if (size == 0)
        return -1;
    for (i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        if (value <= TRACE_VALUE_MAX)
            value = value * 10 + (text[i] - '0');
    }
    return value > TRACE_VALUE_MAX ? -2 : value;
}

static const char *last_comma(const char *text, size_t size)
{
    while (size > 0)
        if (text[--size] == ',')
            return text + size;
    return NULL;
}

static int split_size(struct trace_reader *r, struct trace_line *line, strata_error *err)
{
    const char *comma = r->options.no_sizes ? NULL : last_comma(line->key, line->key_size);
    size_t rest;

    line->value_bytes = -1;
    if (comma == NULL)
        return STRATA_OK;
    rest = line->key_size - (size_t)(comma - line->key) - 1;
    line->value_bytes = parse_size(comma + 1, rest);
    if (line->value_bytes == -1)
        return cli_fail(err, STRATA_EIO, "trace",
                        "line %" PRIu64 ": what follows the comma is no size in bytes (digits alone); where commas "
                        "belong to the keys, add --no-sizes",
                        r->at.line);
    if (line->value_bytes == -2)
        return cli_fail(err, STRATA_EIO, "trace",
                        "line %" PRIu64 ": the size is above 1 GiB, the largest value that can be replayed",
                        r->at.line);
    line->key_size = (size_t)(comma - line->key);
    return STRATA_OK;
}

int trace_reader_next(struct trace_reader *r, struct trace_line *out, strata_error *err)
{
    for (;;) {
        int status = next_line(r, &out->key, &out->key_size, err);

        if (status != STRATA_OK)
            return status;
        if (out->key_size > 0 && out->key[out->key_size - 1] == '\r')
            out->key_size--;
        if (out->key_size == 0) {
            r->at.empty++;
            continue;
        }
        status = split_size(r, out, err);
        if (status != STRATA_OK)
            return status;
        if (out->key_size == 0)
            return cli_fail(err, STRATA_EIO, "trace", "line %" PRIu64 ": no key before the comma", r->at.line);
        if (out->key_size > TRACE_KEY_MAX)
            return cli_fail(err, STRATA_EIO, "trace", "line %" PRIu64 ": the key is longer than %d bytes", r->at.line,
                            (int)TRACE_KEY_MAX);
        return STRATA_OK;
    }
}

void trace_reader_position(const struct trace_reader *r, struct trace_position *out)
{
    *out = r->at;
    out->consumed = byte_stream_consumed(r->stream);
    out->total = byte_stream_total(r->stream);
}

void trace_reader_close(struct trace_reader *r)
{
    if (r == NULL)
        return;
    byte_stream_close(r->stream);
    free(r);
}
