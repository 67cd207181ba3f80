/* compress_lz4.c - lz4 blocks: the one file that includes lz4.  Its state (16 KiB) is on the stack. */
#include <lz4.h>

#include "src/format/compress_impl.h"

static size_t bound(size_t size) { return size <= LZ4_MAX_INPUT_SIZE ? (size_t)LZ4_compressBound((int)size) : 0; }

/* A level above 1 is lz4's "acceleration": faster, and larger. */
static int pack(struct compressor *compressor, const struct compress_dictionary *dictionary, int level, const void *in,
                size_t size, void *out, size_t capacity, size_t *out_size)
{
    (void)compressor;
    (void)dictionary;
    int room = capacity > LZ4_MAX_INPUT_SIZE ? LZ4_MAX_INPUT_SIZE : (int)capacity;
    int packed = LZ4_compress_fast(in, out, (int)size, room, level > 0 ? level : 1);
    if (packed <= 0)
        return STRATA_AGAIN;
    *out_size = (size_t)packed;
    return STRATA_OK;
}

/* A block holds no size of its own.  One byte of it stands for at most 255: anything above is a lie about raw_size. */
static int plausible(const void *in, size_t size, uint64_t raw_size)
{
    (void)in;
    return size != 0 && size <= LZ4_MAX_INPUT_SIZE && raw_size <= LZ4_MAX_INPUT_SIZE && raw_size / 255 <= size;
}

static int unpack(struct compressor *compressor, const struct compress_dictionary *dictionary, const void *in,
                  size_t size, void *out, size_t raw_size)
{
    (void)compressor;
    (void)dictionary;
    if (!plausible(in, size, raw_size))
        return STRATA_EIO;
    int unpacked = LZ4_decompress_safe(in, out, (int)size, (int)raw_size);
    return unpacked >= 0 && (size_t)unpacked == raw_size ? STRATA_OK : STRATA_EIO;
}

const struct compress_ops strata__compress_lz4 = {
    .name = "lz4",
    .option = "STRATA_WITH_LZ4",
    .most_level = 22, /* what the option can say; lz4 itself goes to 65,537 */
    .bound = bound,
    .pack = pack,
    .plausible = plausible,
    .unpack = unpack,
};
