/* compress_brotli.c - brotli streams, as browsers read them: the one file that includes brotli.
 *
 * A stream says nothing of its size: the envelope's bounds what is unfolded.  Nothing is kept: brotli knows no reset.  What it
 * takes by default, 11, is for files that are packed once; a cache's default is 5, some thirty times as fast.
 *
 * Its encoder, as distributions build it, calls exit() where an allocation fails.  So a failed allocation does not return to
 * it, but jumps out to who called the encoder, who frees all that it had: each block stands in a list. */
#include <assert.h>
#include <brotli/decode.h>
#include <brotli/encode.h>
#include <setjmp.h>

#include "src/base/mem.h"
#include "src/format/compress_impl.h"

enum { DEFAULT_LEVEL = 5, MOST_LEVEL = 11 };

static void *brotli_alloc(void *ctx, size_t size) { return strata__alloc(ctx, size); }
static void brotli_free(void *ctx, void *old) { strata__free(ctx, old); }

/* strata__alloc takes it as const again. */
static void *memory_of(const struct compressor *compressor) { return (void *)(uintptr_t)compressor->mem; }

static size_t bound(size_t size)
{
    size_t most = size < SIZE_MAX / 2 ? BrotliEncoderMaxCompressedSize(size) : 0;
    return most < size ? 0 : most;
}

/* The smallest window that holds all of it: who unpacks makes room for one. */
static uint32_t window_bits(size_t size)
{
    uint32_t bits = BROTLI_MIN_WINDOW_BITS;
    while (bits < BROTLI_DEFAULT_WINDOW && ((size_t)1 << bits) - 16 < size)
        bits++;
    return bits;
}

/* Packing -------------------------------------------------------------------------------------------------------- */

struct block {
    struct block *next, *before;
};
static_assert(sizeof(struct block) % 16 == 0, "what follows a block's head is aligned as malloc's");

struct packing {
    const strata_allocator *mem;
    struct block *blocks;
    jmp_buf out_of_memory;
    size_t packed;
    int finished;
};

static void *packing_alloc(void *ctx, size_t size)
{
    struct packing *p = ctx;
    struct block *block = size <= SIZE_MAX - sizeof *block ? strata__alloc(p->mem, sizeof *block + size) : NULL;
    if (block == NULL)
        longjmp(p->out_of_memory, 1);
    *block = (struct block){ p->blocks, NULL };
    if (p->blocks != NULL)
        p->blocks->before = block;
    p->blocks = block;
    return block + 1;
}

static void packing_free(void *ctx, void *old)
{
    struct packing *p = ctx;
    if (old == NULL)
        return;
    struct block *block = (struct block *)old - 1;
    if (block->next != NULL)
        block->next->before = block->before;
    if (block->before != NULL)
        block->before->next = block->next;
    else
        p->blocks = block->next;
    strata__free(p->mem, block);
}

static void encode(struct packing *p, int level, const void *in, size_t size, void *out, size_t capacity)
{
    BrotliEncoderState *b = BrotliEncoderCreateInstance(packing_alloc, packing_free, p);
    if (b == NULL)
        return;
    uint32_t quality = level <= 0 ? DEFAULT_LEVEL : level > MOST_LEVEL ? MOST_LEVEL : (uint32_t)level;
    BrotliEncoderSetParameter(b, BROTLI_PARAM_QUALITY, quality);
    BrotliEncoderSetParameter(b, BROTLI_PARAM_LGWIN, window_bits(size));
    BrotliEncoderSetParameter(b, BROTLI_PARAM_SIZE_HINT, size <= UINT32_MAX ? (uint32_t)size : UINT32_MAX);
    const uint8_t *next_in = in;
    uint8_t *next_out = out;
    size_t left = size, room = capacity;
    p->finished = BrotliEncoderCompressStream(b, BROTLI_OPERATION_FINISH, &left, &next_in, &room, &next_out,
                                              &p->packed) &&
                  BrotliEncoderIsFinished(b);
    BrotliEncoderDestroyInstance(b);
}

static int pack(struct compressor *compressor, const struct compress_dictionary *dictionary, int level, const void *in,
                size_t size, void *out, size_t capacity, size_t *out_size)
{
    struct packing p = { .mem = compressor->mem };
    (void)dictionary;
    if (setjmp(p.out_of_memory) != 0) {
        while (p.blocks != NULL)
            packing_free(&p, p.blocks + 1);
        return STRATA_ENOMEM;
    }
    encode(&p, level, in, size, out, capacity);
    if (!p.finished)
        return STRATA_AGAIN;
    *out_size = p.packed;
    return STRATA_OK;
}

/* Unpacking ------------------------------------------------------------------------------------------------------ */

/* A block of up to 16 MiB may take a few bytes, and takes more than one. */
static int plausible(const void *in, size_t size, uint64_t raw_size)
{
    (void)in;
    return size != 0 && raw_size != 0 && raw_size >> 24 <= size;
}

static int is_memory(BrotliDecoderErrorCode code)
{
    return code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES && code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;
}

static int unpack(struct compressor *compressor, const struct compress_dictionary *dictionary, const void *in,
                  size_t size, void *out, size_t raw_size)
{
    (void)dictionary;
    if (!plausible(in, size, raw_size))
        return STRATA_EIO;
    BrotliDecoderState *b = BrotliDecoderCreateInstance(brotli_alloc, brotli_free, memory_of(compressor));
    if (b == NULL)
        return STRATA_ENOMEM;
    const uint8_t *next_in = in;
    uint8_t *next_out = out;
    size_t left = size, room = raw_size;
    BrotliDecoderResult result = BrotliDecoderDecompressStream(b, &left, &next_in, &room, &next_out, NULL);
    int no_memory = result == BROTLI_DECODER_RESULT_ERROR && is_memory(BrotliDecoderGetErrorCode(b));
    BrotliDecoderDestroyInstance(b);
    if (no_memory)
        return STRATA_ENOMEM;
    return result == BROTLI_DECODER_RESULT_SUCCESS && left == 0 && room == 0 ? STRATA_OK : STRATA_EIO;
}

const struct compress_ops strata__compress_brotli = {
    .name = "brotli",
    .option = "STRATA_WITH_BROTLI",
    .most_level = MOST_LEVEL,
    .bound = bound,
    .pack = pack,
    .plausible = plausible,
    .unpack = unpack,
};
