/* compress.c - finds the algorithm, and decides whether it was worth it. */
#include "src/format/compress.h"

#include "src/base/err.h"
#include "src/format/compress_impl.h"

enum { SAVES_AT_LEAST = 15 }; /* per cent; below, the time to unfold it on each read buys too little room */

static const struct compress_ops *ops_of(uint32_t alg)
{
    switch (alg) {
    case COMPRESS_ZSTD: return &strata__compress_zstd;
    case COMPRESS_LZ4: return &strata__compress_lz4;
    default: return NULL;
    }
}

static const struct compress_ops *built_in(uint32_t alg)
{
    const struct compress_ops *ops = ops_of(alg);
    return ops != NULL && ops->pack != NULL ? ops : NULL;
}

void strata__compressor_init(struct compressor *compressor, const strata_allocator *mem)
{
    compressor->mem = mem;
    for (size_t i = 0; i < COMPRESSOR_IDLE; i++) {
        atomic_init(&compressor->packers[i], NULL);
        atomic_init(&compressor->unpackers[i], NULL);
    }
}

void strata__compressor_deinit(struct compressor *compressor)
{
    if (strata__compress_zstd.deinit != NULL)
        strata__compress_zstd.deinit(compressor);
    if (strata__compress_lz4.deinit != NULL)
        strata__compress_lz4.deinit(compressor);
}

int strata__compress_check(uint32_t alg, strata_error *err)
{
    const struct compress_ops *ops = ops_of(alg);
    if (alg == COMPRESS_NONE || built_in(alg) != NULL)
        return STRATA_OK;
    if (ops == NULL)
        return strata__fail(err, STRATA_EINVAL, "compression", "there is no algorithm %u: take none, zstd or lz4", alg);
    return strata__fail(err, STRATA_EUNSUPPORTED, "compression",
                        "this build has no %s: configure with -D%s=ON, or choose another compression", ops->name,
                        ops->option);
}

const char *strata__compress_name(uint32_t alg)
{
    const struct compress_ops *ops = ops_of(alg);
    return alg == COMPRESS_NONE ? "none" : ops != NULL ? ops->name : NULL;
}

size_t strata__compress_bound(uint32_t alg, size_t size)
{
    const struct compress_ops *ops = built_in(alg);
    return ops != NULL ? ops->bound(size) : 0;
}

/* The most that `size` bytes may become and still be worth it: rounded down, and without overflow. */
static size_t worth(size_t size)
{
    return size / 100 * (100 - SAVES_AT_LEAST) + size % 100 * (100 - SAVES_AT_LEAST) / 100;
}

int strata__compress(struct compressor *compressor, uint32_t alg, int level, const void *in, size_t size, void *out,
                     size_t capacity, size_t *out_size)
{
    const struct compress_ops *ops = built_in(alg);
    if (ops == NULL)
        return STRATA_EUNSUPPORTED;
    size_t most = worth(size);
    if (most > capacity)
        most = capacity;
    if (most == 0 || ops->bound(size) == 0)
        return STRATA_AGAIN;
    /* With no more room than is worth it, the algorithm itself gives up early. */
    size_t packed = 0;
    int rc = ops->pack(compressor, level, in, size, out, most, &packed);
    if (rc == STRATA_OK)
        *out_size = packed;
    return rc;
}

int strata__decompress_check(uint32_t alg, const void *in, size_t size, uint64_t raw_size, uint64_t cap)
{
    const struct compress_ops *ops = built_in(alg);
    if (ops == NULL)
        return STRATA_EUNSUPPORTED;
    if (raw_size > cap || raw_size > SIZE_MAX)
        return STRATA_EVALUESIZE;
    return ops->plausible(in, size, raw_size) ? STRATA_OK : STRATA_EIO;
}

int strata__decompress(struct compressor *compressor, uint32_t alg, const void *in, size_t size, void *out,
                       size_t raw_size)
{
    const struct compress_ops *ops = built_in(alg);
    return ops != NULL ? ops->unpack(compressor, in, size, out, raw_size) : STRATA_EUNSUPPORTED;
}
