/* compress_zstd.c - zstd frames, with or without a dictionary: but for the training, the one file of the library that includes
 * zstd.
 *
 * A context costs a few hundred microseconds to make and holds up to megabytes, so that a few idle ones are kept in the
 * compressor's places.  A frame that was packed with a dictionary does not repeat the dictionary's id, which the envelope says,
 * but carries a checksum of what it unfolds to: a dictionary that is another one in spite of its id would make other bytes
 * of it, and nobody would notice. */
#define ZSTD_STATIC_LINKING_ONLY /* contexts that allocate through ours */
#include <zdict.h>
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

static size_t pack_with(ZSTD_CCtx *context, const struct compress_dictionary *dictionary, const void *in, size_t size,
                        void *out, size_t capacity)
{
    /* A context may have served without a dictionary in between, and then nothing of this is left in it. */
    ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters);
    ZSTD_CCtx_setParameter(context, ZSTD_c_dictIDFlag, 0);
    ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_refCDict(context, dictionary->packer); /* has the level */
    return ZSTD_compress2(context, out, capacity, in, size);
}

static int pack(struct compressor *compressor, const struct compress_dictionary *dictionary, int level, const void *in,
                size_t size, void *out, size_t capacity, size_t *out_size)
{
    ZSTD_CCtx *context = strata__compress_take(compressor->zstd.packers);
    if (context == NULL && (context = ZSTD_createCCtx_advanced(memory_of(compressor))) == NULL)
        return STRATA_ENOMEM;
    size_t packed = dictionary != NULL ? pack_with(context, dictionary, in, size, out, capacity)
                                       : ZSTD_compressCCtx(context, out, capacity, in, size, known_level(level));
    if (!strata__compress_keep(compressor->zstd.packers, context))
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

static int unpack(struct compressor *compressor, const struct compress_dictionary *dictionary, const void *in,
                  size_t size, void *out, size_t raw_size)
{
    if (!plausible(in, size, raw_size))
        return STRATA_EIO;
    ZSTD_DCtx *context = strata__compress_take(compressor->zstd.unpackers);
    if (context == NULL && (context = ZSTD_createDCtx_advanced(memory_of(compressor))) == NULL)
        return STRATA_ENOMEM;
    size_t unpacked = dictionary != NULL
                          ? ZSTD_decompress_usingDDict(context, out, raw_size, in, size, dictionary->unpacker)
                          : ZSTD_decompressDCtx(context, out, raw_size, in, size);
    if (!strata__compress_keep(compressor->zstd.unpackers, context))
        ZSTD_freeDCtx(context);
    if (ZSTD_isError(unpacked) && ZSTD_getErrorCode(unpacked) == ZSTD_error_memory_allocation)
        return STRATA_ENOMEM;
    return unpacked == raw_size ? STRATA_OK : STRATA_EIO;
}

static void deinit(struct compressor *compressor)
{
    for (size_t i = 0; i < COMPRESSOR_IDLE; i++) {
        ZSTD_freeCCtx(atomic_exchange_explicit(&compressor->zstd.packers[i], NULL, memory_order_relaxed));
        ZSTD_freeDCtx(atomic_exchange_explicit(&compressor->zstd.unpackers[i], NULL, memory_order_relaxed));
    }
}

static void forget(struct compressor *compressor, struct compress_dictionary *dictionary)
{
    strata__free(compressor->mem, dictionary->packer);
    ZSTD_freeDDict(dictionary->unpacker);
}

/* In memory of ours: ZSTD_createCDict_advanced() of 1.5.4 does not look whether it got any. */
static void *packer_new(struct compressor *compressor, const void *bytes, size_t size, int level)
{
    const ZSTD_compressionParameters params = ZSTD_getCParams(known_level(level), 0, size);
    size_t room = ZSTD_estimateCDictSize_advanced(size, params, ZSTD_dlm_byCopy);
    void *packer = strata__alloc(compressor->mem, room);
    if (packer != NULL &&
        ZSTD_initStaticCDict(packer, room, bytes, size, ZSTD_dlm_byCopy, ZSTD_dct_fullDict, params) == packer)
        return packer;
    strata__free(compressor->mem, packer);
    return NULL;
}

static int learn(struct compressor *compressor, struct compress_dictionary *dictionary, const void *bytes, size_t size,
                 int level, int packs)
{
    /* Looks at the tables in it; what can fail after that is memory. */
    size_t header = ZDICT_getDictHeaderSize(bytes, size);
    if (ZDICT_isError(header))
        return ZSTD_getErrorCode(header) == ZSTD_error_memory_allocation ? STRATA_ENOMEM : STRATA_EINVAL;
    ZSTD_customMem mem = memory_of(compressor);
    dictionary->unpacker = ZSTD_createDDict_advanced(bytes, size, ZSTD_dlm_byCopy, ZSTD_dct_fullDict, mem);
    if (packs)
        dictionary->packer = packer_new(compressor, bytes, size, level);
    if (dictionary->unpacker != NULL && (!packs || dictionary->packer != NULL))
        return STRATA_OK;
    forget(compressor, dictionary);
    return STRATA_ENOMEM;
}

const struct compress_ops strata__compress_zstd = { .name = "zstd",
                                                    .option = "STRATA_WITH_ZSTD",
                                                    .most_level = 22,
                                                    .bound = bound,
                                                    .pack = pack,
                                                    .plausible = plausible,
                                                    .unpack = unpack,
                                                    .deinit = deinit,
                                                    .learn = learn,
                                                    .forget = forget };
