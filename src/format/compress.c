/* compress.c - finds the algorithm, and decides whether it was worth it; keeps idle contexts, and dictionaries. */
#include "src/format/compress.h"

#include "src/base/err.h"
#include "src/base/hash.h"
#include "src/base/mem.h"
#include "src/format/compress_impl.h"
#include "src/format/le.h"

enum { SAVES_AT_LEAST = 15 }; /* per cent; below, the time to unfold it on each read buys too little room */

/* What zstd's trained dictionaries begin with: this, and their id. */
enum { DICTIONARY_HEAD = 8 };
#define DICTIONARY_MAGIC 0xEC30A437u

static const struct compress_ops *ops_of(uint32_t alg)
{
    switch (alg) {
    case COMPRESS_ZSTD: return &strata__compress_zstd;
    case COMPRESS_LZ4: return &strata__compress_lz4;
    case COMPRESS_GZIP: return &strata__compress_gzip;
    case COMPRESS_BROTLI: return &strata__compress_brotli;
    default: return NULL;
    }
}

static const struct compress_ops *built_in(uint32_t alg)
{
    const struct compress_ops *ops = ops_of(alg);
    return ops != NULL && ops->pack != NULL ? ops : NULL;
}

/* The compressor ------------------------------------------------------------------------------------------------- */

static void init_idle(struct compress_idle *idle)
{
    for (size_t i = 0; i < COMPRESSOR_IDLE; i++) {
        atomic_init(&idle->packers[i], NULL);
        atomic_init(&idle->unpackers[i], NULL);
    }
}

void strata__compressor_init(struct compressor *compressor, const strata_allocator *mem)
{
    compressor->mem = mem;
    init_idle(&compressor->zstd);
    init_idle(&compressor->gzip);
    compressor->dictionaries = NULL;
    compressor->writes = NULL;
}

void strata__compressor_deinit(struct compressor *compressor)
{
    for (uint32_t alg = COMPRESS_ZSTD; alg <= COMPRESS_BROTLI; alg++)
        if (ops_of(alg)->deinit != NULL)
            ops_of(alg)->deinit(compressor);
    while (compressor->dictionaries != NULL) {
        struct compress_dictionary *first = compressor->dictionaries;
        compressor->dictionaries = first->next;
        strata__compress_zstd.forget(compressor, first);
        strata__free(compressor->mem, first);
    }
    compressor->writes = NULL;
}

/* Acquire: what the thread that put it back wrote into the context is seen. */
void *strata__compress_take(_Atomic(void *) *idle)
{
    for (size_t i = 0; i < COMPRESSOR_IDLE; i++) {
        if (atomic_load_explicit(&idle[i], memory_order_relaxed) == NULL)
            continue;
        void *context = atomic_exchange_explicit(&idle[i], NULL, memory_order_acquire);
        if (context != NULL)
            return context;
    }
    return NULL;
}

/* Release: see strata__compress_take(). */
int strata__compress_keep(_Atomic(void *) *idle, void *context)
{
    for (size_t i = 0; i < COMPRESSOR_IDLE; i++) {
        void *empty = NULL;
        if (atomic_compare_exchange_strong_explicit(&idle[i], &empty, context, memory_order_release,
                                                    memory_order_relaxed))
            return 1;
    }
    return 0;
}

/* Dictionaries --------------------------------------------------------------------------------------------------- */

static struct compress_dictionary *find_dictionary(const struct compressor *compressor, uint64_t id)
{
    struct compress_dictionary *d = compressor->dictionaries;
    while (d != NULL && d->id != id)
        d = d->next;
    return d;
}

uint64_t strata__compress_dictionary_id(const void *bytes, size_t size)
{
    if (size <= DICTIONARY_HEAD || strata__le32(bytes) != DICTIONARY_MAGIC)
        return 0;
    return strata__le32((const unsigned char *)bytes + 4);
}

/* The one that writes comes before those that are only read: it is there already where the two are the same file. */
int strata__compressor_learn(struct compressor *compressor, const void *bytes, size_t size, int level, int writes)
{
    const struct compress_ops *zstd = built_in(COMPRESS_ZSTD);
    uint64_t id = strata__compress_dictionary_id(bytes, size);
    if (zstd == NULL)
        return STRATA_EUNSUPPORTED;
    if (id == 0)
        return STRATA_EINVAL;
    const struct compress_dictionary *there = find_dictionary(compressor, id);
    uint64_t hash = strata__hash(bytes, size, 0);
    if (there != NULL)
        return there->hash == hash && !writes ? STRATA_OK : STRATA_EEXIST;
    struct compress_dictionary *d = strata__alloc_zero(compressor->mem, sizeof *d);
    int rc = d != NULL ? zstd->learn(compressor, d, bytes, size, level, writes) : STRATA_ENOMEM;
    if (rc != STRATA_OK) {
        strata__free(compressor->mem, d);
        return rc;
    }
    d->id = id;
    d->hash = hash;
    d->next = compressor->dictionaries;
    compressor->dictionaries = d;
    if (writes)
        compressor->writes = d;
    return STRATA_OK;
}

uint64_t strata__compressor_dictionary(const struct compressor *compressor, uint32_t alg)
{
    return alg == COMPRESS_ZSTD && compressor->writes != NULL ? compressor->writes->id : 0;
}

/* Names ---------------------------------------------------------------------------------------------------------- */

int strata__compress_check(uint32_t alg, uint32_t level, strata_error *err)
{
    const struct compress_ops *ops = ops_of(alg);
    if (alg == COMPRESS_NONE)
        return STRATA_OK;
    if (ops == NULL)
        return strata__fail(err, STRATA_EINVAL, "compression",
                            "there is no algorithm %u: take none, zstd, lz4, gzip or brotli", alg);
    if (ops->pack == NULL)
        return strata__fail(err, STRATA_EUNSUPPORTED, "compression",
                            "this build has no %s: configure with -D%s=ON, or choose another compression", ops->name,
                            ops->option);
    if (level > (uint32_t)ops->most_level)
        return strata__fail(err, STRATA_EINVAL, "compression_level",
                            "compression_level is %u: %s knows 1 to %d, and 0 takes its default", level, ops->name,
                            ops->most_level);
    return STRATA_OK;
}

const char *strata__compress_name(uint32_t alg)
{
    const struct compress_ops *ops = ops_of(alg);
    return alg == COMPRESS_NONE ? "none" : ops != NULL ? ops->name : NULL;
}

/* Packing -------------------------------------------------------------------------------------------------------- */

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
    const struct compress_dictionary *with = ops->learn != NULL ? compressor->writes : NULL;
    int rc = ops->pack(compressor, with, level, in, size, out, most, &packed);
    if (rc == STRATA_OK)
        *out_size = packed;
    return rc;
}

/* STRATA_OK; STRATA_EUNSUPPORTED; STRATA_MISS. */
static int look_up(const struct compressor *compressor, uint32_t alg, uint64_t dictionary,
                   const struct compress_ops **out, const struct compress_dictionary **out_with)
{
    *out = built_in(alg);
    *out_with = NULL;
    if (*out == NULL || (dictionary != 0 && (*out)->learn == NULL))
        return STRATA_EUNSUPPORTED;
    if (dictionary == 0)
        return STRATA_OK;
    *out_with = find_dictionary(compressor, dictionary);
    return *out_with != NULL ? STRATA_OK : STRATA_MISS;
}

int strata__decompress_check(const struct compressor *compressor, uint32_t alg, uint64_t dictionary, const void *in,
                             size_t size, uint64_t raw_size, uint64_t cap)
{
    const struct compress_ops *ops;
    const struct compress_dictionary *with;
    int rc = look_up(compressor, alg, dictionary, &ops, &with);
    if (rc != STRATA_OK)
        return rc;
    if (raw_size > cap || raw_size > SIZE_MAX)
        return STRATA_EVALUESIZE;
    return ops->plausible(in, size, raw_size) ? STRATA_OK : STRATA_EIO;
}

int strata__decompress(struct compressor *compressor, uint32_t alg, uint64_t dictionary, const void *in, size_t size,
                       void *out, size_t raw_size)
{
    const struct compress_ops *ops;
    const struct compress_dictionary *with;
    int rc = look_up(compressor, alg, dictionary, &ops, &with);
    return rc == STRATA_OK ? ops->unpack(compressor, with, in, size, out, raw_size) : rc;
}
