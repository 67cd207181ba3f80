/* byte_stream.c - see byte_stream.h.
 *
 * `input` is a window of raw bytes: of the file's buffer, or of the caller's memory as a whole.  Each decoder eats from
 * the window and is refilled when the window is empty.  An end of input in the middle of a frame is an error: a trace
 * that was cut off must not look like a short one. */
#include "cli/byte_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "cli/cli_error.h"

enum { RAW_BYTES = 64 * 1024 };
enum kind { KIND_PLAIN, KIND_ZSTD, KIND_GZIP };

struct byte_stream {
    enum kind kind;
    int fd;                     /* -1: memory */
    int raw_end;                /* no raw bytes after the window */
    int in_frame;               /* a frame or member has begun and has not ended */
    const unsigned char *input; /* the window's unread part */
    size_t input_size;
    uint64_t consumed;
    uint64_t total;
    ZSTD_DStream *zstd;
    z_stream gzip;
    int gzip_ready;
    char name[40]; /* for errors: the path's tail */
    unsigned char raw[RAW_BYTES];
};

/* Read more raw bytes behind what is in the window (which moves to the buffer's begin). */
static int fill(struct byte_stream *s, strata_error *err)
{
    if (s->fd < 0 || s->raw_end) {
        s->raw_end = 1;
        return STRATA_OK;
    }
    if (s->input_size > 0)
        memmove(s->raw, s->input, s->input_size);
    s->input = s->raw;
    for (;;) {
        ssize_t got = read(s->fd, s->raw + s->input_size, RAW_BYTES - s->input_size);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return cli_fail(err, STRATA_EIO, s->name, "cannot be read: %s", strerror(errno));
        s->raw_end = got == 0;
        s->input_size += (size_t)got;
        s->consumed += (uint64_t)got;
        return STRATA_OK;
    }
}

static void eat(struct byte_stream *s, size_t size)
{
    s->input += size;
    s->input_size -= size;
}

static int is_zstd(const unsigned char *p, size_t size)
{
    if (size < 4)
        return 0;
    if (p[0] == 0x28 && p[1] == 0xb5 && p[2] == 0x2f && p[3] == 0xfd)
        return 1;
    /* a skippable frame, with which parallel compressors begin */
    return (p[0] & 0xf0) == 0x50 && p[1] == 0x2a && p[2] == 0x4d && p[3] == 0x18;
}

static int detect(struct byte_stream *s, strata_error *err)
{
    while (s->input_size < 4 && !s->raw_end) {
        int status = fill(s, err);

        if (status != STRATA_OK)
            return status;
    }
    s->kind = KIND_PLAIN;
    if (is_zstd(s->input, s->input_size)) {
        s->kind = KIND_ZSTD;
        s->zstd = ZSTD_createDStream();
        if (s->zstd == NULL)
            return cli_fail(err, STRATA_ENOMEM, s->name, "no memory for a zstd decoder");
    } else if (s->input_size >= 2 && s->input[0] == 0x1f && s->input[1] == 0x8b) {
        s->kind = KIND_GZIP;
        if (inflateInit2(&s->gzip, 15 + 16) != Z_OK)
            return cli_fail(err, STRATA_ENOMEM, s->name, "no memory for a gzip decoder");
        s->gzip_ready = 1;
    }
    return STRATA_OK;
}

static struct byte_stream *stream_new(const char *name)
{
    struct byte_stream *s = calloc(1, sizeof *s);
    size_t length = strlen(name);

    if (s == NULL)
        return NULL;
    if (length >= sizeof s->name)
        snprintf(s->name, sizeof s->name, "...%s", name + length - (sizeof s->name - 4));
    else
        snprintf(s->name, sizeof s->name, "%s", name);
    s->fd = -1;
    s->input = s->raw;
    return s;
}

int byte_stream_open(struct byte_stream **out, const char *path, strata_error *err)
{
    int is_stdin = strcmp(path, "-") == 0;
    struct byte_stream *s = stream_new(is_stdin ? "stdin" : path);
    struct stat info;
    int status;

    *out = NULL;
    if (s == NULL)
        return cli_fail(err, STRATA_ENOMEM, path, "out of memory");
    s->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) {
        status = cli_fail(err, STRATA_EIO, s->name, "cannot be opened: %s; give the path of a trace, or - for stdin",
                          strerror(errno));
    } else if (fstat(s->fd, &info) == 0 && S_ISDIR(info.st_mode)) {
        status = cli_fail(err, STRATA_EIO, s->name, "is a folder; give the path of one trace");
    } else {
        s->total = fstat(s->fd, &info) == 0 && S_ISREG(info.st_mode) ? (uint64_t)info.st_size : 0;
        status = detect(s, err);
    }
    if (status != STRATA_OK) {
        byte_stream_close(s);
        return status;
    }
    *out = s;
    return STRATA_OK;
}

int byte_stream_open_memory(struct byte_stream **out, const void *data, size_t size, strata_error *err)
{
    struct byte_stream *s = stream_new("memory");
    int status;

    *out = NULL;
    if (s == NULL)
        return cli_fail(err, STRATA_ENOMEM, "memory", "out of memory");
    if (size > 0)
        s->input = data;
    s->input_size = size;
    s->total = s->consumed = size;
    status = detect(s, err);
    if (status != STRATA_OK) {
        byte_stream_close(s);
        return status;
    }
    *out = s;
    return STRATA_OK;
}

static int read_plain(struct byte_stream *s, void *buffer, size_t room, size_t *out_size, strata_error *err)
{
    int status = STRATA_OK;

    if (s->input_size == 0)
        status = fill(s, err);
    if (status == STRATA_OK) {
        *out_size = s->input_size < room ? s->input_size : room;
        if (*out_size > 0)
            memcpy(buffer, s->input, *out_size);
        eat(s, *out_size);
    }
    return status;
}

static int cut_off(struct byte_stream *s, const char *kind, strata_error *err)
{
    return cli_fail(err, STRATA_EIO, s->name,
                    "the %s data ends too early: the file was cut off; get it again, or unpack what is there yourself "
                    "and replay that",
                    kind);
}

static int read_zstd(struct byte_stream *s, void *buffer, size_t room, size_t *out_size, strata_error *err)
{
    ZSTD_outBuffer out = { buffer, room, 0 };

    while (out.pos == 0) {
        ZSTD_inBuffer in;
        size_t left;

        if (s->input_size == 0 && !s->raw_end) {
            int status = fill(s, err);

            if (status != STRATA_OK)
                return status;
            continue;
        }
        /* At the end the decoder is still asked once with nothing: it may hold decompressed bytes back. */
        if (s->input_size == 0 && !s->in_frame)
            break;
        in.src = s->input;
        in.size = s->input_size;
        in.pos = 0;
        left = ZSTD_decompressStream(s->zstd, &out, &in);
        if (ZSTD_isError(left))
            return cli_fail(err, STRATA_EIO, s->name, "the zstd data is damaged (%s): get the file again",
                            ZSTD_getErrorName(left));
        s->in_frame = left != 0;
        if (s->in_frame && s->input_size == 0 && out.pos == 0)
            return cut_off(s, "zstd", err);
        eat(s, in.pos);
    }
    *out_size = out.pos;
    return STRATA_OK;
}

/* Between gzip members: 1 where the next one begins; zero bytes that pad a tape block are passed over. */
static int next_member(struct byte_stream *s)
{
    while (s->input_size > 0 && s->input[0] == 0)
        eat(s, 1);
    return s->input_size > 0;
}

static int read_gzip(struct byte_stream *s, void *buffer, size_t room, size_t *out_size, strata_error *err)
{
    unsigned chunk = room > (1u << 30) ? (1u << 30) : (unsigned)room;

    s->gzip.next_out = buffer;
    s->gzip.avail_out = chunk;
    while (s->gzip.avail_out == chunk) {
        unsigned before;
        int rc;

        if (s->input_size == 0 && !s->raw_end) {
            int status = fill(s, err);

            if (status != STRATA_OK)
                return status;
            continue;
        }
        if (!s->in_frame && !next_member(s)) {
            if (s->raw_end)
                break;
            continue;
        }
        before = s->input_size > (1u << 30) ? (1u << 30) : (unsigned)s->input_size;
        s->gzip.next_in = (unsigned char *)(uintptr_t)s->input; /* zlib reads only */
        s->gzip.avail_in = before;
        rc = inflate(&s->gzip, Z_NO_FLUSH);
        s->in_frame = rc != Z_STREAM_END;
        if (rc == Z_STREAM_END)
            rc = inflateReset(&s->gzip);
        else if (rc == Z_BUF_ERROR && before == 0)
            return cut_off(s, "gzip", err);
        if (rc != Z_OK && rc != Z_BUF_ERROR)
            return cli_fail(err, STRATA_EIO, s->name, "the gzip data is damaged (%s): get the file again",
                            s->gzip.msg != NULL ? s->gzip.msg : "unknown block");
        eat(s, before - s->gzip.avail_in);
    }
    *out_size = chunk - s->gzip.avail_out;
    return STRATA_OK;
}

int byte_stream_read(struct byte_stream *s, void *buffer, size_t room, size_t *out_size, strata_error *err)
{
    *out_size = 0;
    if (s->kind == KIND_ZSTD)
        return read_zstd(s, buffer, room, out_size, err);
    if (s->kind == KIND_GZIP)
        return read_gzip(s, buffer, room, out_size, err);
    return read_plain(s, buffer, room, out_size, err);
}

uint64_t byte_stream_consumed(const struct byte_stream *s) { return s->consumed - s->input_size; }

uint64_t byte_stream_total(const struct byte_stream *s) { return s->total; }

void byte_stream_close(struct byte_stream *s)
{
    if (s == NULL)
        return;
    if (s->gzip_ready)
        inflateEnd(&s->gzip);
    ZSTD_freeDStream(s->zstd);
    if (s->fd > STDERR_FILENO)
        close(s->fd);
    free(s);
}
