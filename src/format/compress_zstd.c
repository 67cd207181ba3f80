/* compress_zstd.c - zstd frames: the one file of the library that includes zstd.
 *
 * A context costs a few hundred microseconds to make and holds up to megabytes, so that a few idle ones are kept in the
 * compressor's places: taken out with an exchange, put back into a place that is empty, given back where none is. */
#define ZSTD_STATIC_LINKING_ONLY /* contexts that allocate through ours */
#include <zstd.h>
#include <zstd_errors.h>

#include "src/base/mem.h"
#include "src/format/compress_impl.h"

static void *zstd_alloc(void *ctx, size_t size) { return strata__alloc(ctx, size); }
static void zstd_free(void *ctx, void *old) { strata__free(ctx, old); }

static ZSTD_customMem memory_of(const struct compressor *compressor)
{
    /* zstd's ctx is not const; strata__alloc takes it as const again. */
    return (ZSTD_customMem){ zstd_alloc, zstd_free, (void *)(uintptr_t)compressor->mem };
}

/* Acquire: what the thread that put it back wrote into the context is seen. */
static void *take_idle(_Atomic(void *) *places)
{
    for (size_t i = 0; i < COMPRESSOR_IDLE; i++) {
        if (atomic_load_explicit(&places[i], memory_order_relaxed) == NULL)
            continue;
        void *context = atomic_exchange_explicit(&places[i], NULL, memory_order_acquire);
        if (context != NULL)
            return context;
    }
    return NULL;
}

/* Release: see take_idle().  1: kept; 0: every place is taken. */
static int keep_idle(_Atomic(void *) *places, void *context)
{
    for (size_t i = 0; i < COMPRESSOR_IDLE; i++) {
        void *empty = NULL;
        if (atomic_compare_exchange_strong_explicit(&places[i], &empty, context, memory_order_release,
                                                    memory_order_relaxed))
            return 1;
    }
    return 0;
}

static size_t bound(size_t size)
{
    size_t most = ZSTD_compressBound(size);
    return ZSTD_isError(most) || most < size ? 0 : most;
}

static int known_level(int level)
{
    if (level == 0)
        return ZSTD_CLEVEL_DEFAULT;
    return level > ZSTD_maxCLevel() ? ZSTD_maxCLevel() : level < ZSTD_minCLevel() ? ZSTD_minCLevel() : level;
}

static int pack(struct compressor *compressor, int level, const void *in, size_t size, void *out, size_t capacity,
                size_t *out_size)
{
    ZSTD_CCtx *context = take_idle(compressor->packers);
    if (context == NULL && (context = ZSTD_createCCtx_advanced(memory_of(compressor))) == NULL)
        return STRATA_ENOMEM;
    size_t packed = ZSTD_compressCCtx(context, out, capacity, in, size, known_level(level));
    if (!keep_idle(compressor->packers, context))
        ZSTD_freeCCtx(context);
    if (ZSTD_isError(packed)) /* too little room is what capacity is for; anything else is a want of memory */
        return ZSTD_getErrorCode(packed) == ZSTD_error_dstSize_tooSmall ? STRATA_AGAIN : STRATA_ENOMEM;
    *out_size = packed;
    return STRATA_OK;
}

/* Our frames name their size; it must be the one that the envelope names. */
static int plausible(const void *in, size_t size, uint64_t raw_size)
{
    return ZSTD_getFrameContentSize(in, size) == raw_size;
}

static int unpack(struct compressor *compressor, const void *in, size_t size, void *out, size_t raw_size)
{
    if (!plausible(in, size, raw_size))
        return STRATA_EIO;
    ZSTD_DCtx *context = take_idle(compressor->unpackers);
    if (context == NULL && (context = ZSTD_createDCtx_advanced(memory_of(compressor))) == NULL)
        return STRATA_ENOMEM;
    size_t unpacked = ZSTD_decompressDCtx(context, out, raw_size, in, size);
    if (!keep_idle(compressor->unpackers, context))
        ZSTD_freeDCtx(context);
    if (ZSTD_isError(unpacked) && ZSTD_getErrorCode(unpacked) == ZSTD_error_memory_allocation)
        return STRATA_ENOMEM;
    return unpacked == raw_size ? STRATA_OK : STRATA_EIO;
}

static void deinit(struct compressor *compressor)
{
    for (size_t i = 0; i < COMPRESSOR_IDLE; i++) {
        ZSTD_freeCCtx(atomic_exchange_explicit(&compressor->packers[i], NULL, memory_order_relaxed));
        ZSTD_freeDCtx(atomic_exchange_explicit(&compressor->unpackers[i], NULL, memory_order_relaxed));
    }
}

const struct compress_ops strata__compress_zstd = { .name = "zstd",
                                                    .option = "STRATA_WITH_ZSTD",
                                                    .bound = bound,
                                                    .pack = pack,
                                                    .plausible = plausible,
                                                    .unpack = unpack,
                                                    .deinit = deinit };
