/* compress_gzip.c - gzip members, as gunzip and browsers read them: the one file of the library that includes zlib.
 *
 * A member ends with the size it unfolds to, so that a lie about that costs nothing.  A stream to pack with takes 256 KiB, one
 * to unpack with 40: a few idle ones are kept. */
#include <zlib.h>

#include "src/base/mem.h"
#include "src/format/compress_impl.h"
#include "src/format/le.h"

/* WINDOW + 16 is zlib's word for gzip; a byte unfolds to at most 1,032. */
enum { WINDOW = 15, MEMORY = 8, LEAST_MEMBER = 18, RATIO_MOST = 1032, DEFAULT_LEVEL = 6 };

static void *zlib_alloc(void *ctx, unsigned count, unsigned size)
{
    return strata__alloc_array(ctx, count, size); /* zeroed: deflate reads ahead of what it wrote, and means no harm */
}
static void zlib_free(void *ctx, void *old) { strata__free(ctx, old); }

static z_stream *stream_new(const struct compressor *compressor)
{
    z_stream *z = strata__alloc_zero(compressor->mem, sizeof *z);
    if (z == NULL)
        return NULL;
    z->zalloc = zlib_alloc;
    z->zfree = zlib_free;
    z->opaque = (void *)(uintptr_t)compressor->mem; /* strata__alloc takes it as const again */
    return z;
}

static z_stream *packer_new(const struct compressor *compressor)
{
    z_stream *z = stream_new(compressor);
    if (z != NULL && deflateInit2(z, DEFAULT_LEVEL, Z_DEFLATED, WINDOW + 16, MEMORY, Z_DEFAULT_STRATEGY) == Z_OK)
        return z;
    strata__free(compressor->mem, z);
    return NULL;
}

static z_stream *unpacker_new(const struct compressor *compressor)
{
    z_stream *z = stream_new(compressor);
    if (z != NULL && inflateInit2(z, WINDOW + 16) == Z_OK)
        return z;
    strata__free(compressor->mem, z);
    return NULL;
}

static void packer_free(const struct compressor *compressor, z_stream *z)
{
    if (z != NULL)
        (void)deflateEnd(z);
    strata__free(compressor->mem, z);
}

static void unpacker_free(const struct compressor *compressor, z_stream *z)
{
    if (z != NULL)
        (void)inflateEnd(z);
    strata__free(compressor->mem, z);
}

/* zlib counts in 32 bits. */
static size_t bound(size_t size)
{
    return size <= UINT32_MAX / 2 ? (size_t)compressBound((uLong)size) + LEAST_MEMBER : 0;
}

static void point(z_stream *z, const void *in, size_t size, void *out, size_t room)
{
    z->next_in = (Bytef *)(uintptr_t)in; /* zlib does not write to it */
    z->avail_in = (uInt)size;
    z->next_out = out;
    z->avail_out = (uInt)room;
}

static int pack(struct compressor *compressor, const struct compress_dictionary *dictionary, int level, const void *in,
                size_t size, void *out, size_t capacity, size_t *out_size)
{
    (void)dictionary;
    z_stream *z = strata__compress_take(compressor->gzip.packers);
    if (z == NULL && (z = packer_new(compressor)) == NULL)
        return STRATA_ENOMEM;
    (void)deflateReset(z);
    (void)deflateParams(z, level <= 0 ? DEFAULT_LEVEL : level > 9 ? 9 : level, Z_DEFAULT_STRATEGY);
    point(z, in, size, out, capacity > UINT32_MAX ? UINT32_MAX : capacity);
    int done = deflate(z, Z_FINISH) == Z_STREAM_END;
    size_t packed = (size_t)z->total_out;
    if (!strata__compress_keep(compressor->gzip.packers, z))
        packer_free(compressor, z);
    if (!done)
        return STRATA_AGAIN;
    *out_size = packed;
    return STRATA_OK;
}

/* The size at its end, of which a member has the lower 32 bits, and what no member can unfold to. */
static int plausible(const void *in, size_t size, uint64_t raw_size)
{
    const unsigned char *bytes = in;
    return size >= LEAST_MEMBER && size <= UINT32_MAX && raw_size <= UINT32_MAX && bytes[0] == 0x1f &&
           bytes[1] == 0x8b && strata__le32(bytes + size - 4) == raw_size && raw_size / RATIO_MOST <= size;
}

static int unpack(struct compressor *compressor, const struct compress_dictionary *dictionary, const void *in,
                  size_t size, void *out, size_t raw_size)
{
    (void)dictionary;
    if (!plausible(in, size, raw_size))
        return STRATA_EIO;
    z_stream *z = strata__compress_take(compressor->gzip.unpackers);
    if (z == NULL && (z = unpacker_new(compressor)) == NULL)
        return STRATA_ENOMEM;
    (void)inflateReset(z);
    point(z, in, size, out, raw_size);
    int rc = inflate(z, Z_FINISH);
    int whole = rc == Z_STREAM_END && z->avail_in == 0 && z->avail_out == 0; /* one member, and nothing behind it */
    if (!strata__compress_keep(compressor->gzip.unpackers, z))
        unpacker_free(compressor, z);
    return whole ? STRATA_OK : rc == Z_MEM_ERROR ? STRATA_ENOMEM : STRATA_EIO;
}

static void deinit(struct compressor *compressor)
{
    for (size_t i = 0; i < COMPRESSOR_IDLE; i++) {
        packer_free(compressor, atomic_exchange_explicit(&compressor->gzip.packers[i], NULL, memory_order_relaxed));
        unpacker_free(compressor, atomic_exchange_explicit(&compressor->gzip.unpackers[i], NULL, memory_order_relaxed));
    }
}

const struct compress_ops strata__compress_gzip = {
    .name = "gzip",
    .option = "STRATA_WITH_ZLIB",
    .most_level = 9,
    .bound = bound,
    .pack = pack,
    .plausible = plausible,
    .unpack = unpack,
    .deinit = deinit,
};
