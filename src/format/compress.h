/* compress.h - payloads made smaller: zstd, lz4, gzip and brotli, each if it was there at configure time.
 *
 * `alg` is COMPRESS_ZSTD, COMPRESS_LZ4, COMPRESS_GZIP or COMPRESS_BROTLI (envelope.h).  Working memory comes from the
 * compressor, which keeps a few idle contexts of zstd and gzip, and the dictionaries of zstd; any number of threads may use
 * one at once.  Nothing here believes a size that came with the data: what is written is bounded by the caller's room. */
#ifndef STRATA_FORMAT_COMPRESS_H
#define STRATA_FORMAT_COMPRESS_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "src/format/envelope.h"
#include "strata/error.h"
#include "strata/sys/allocator.h"

enum { COMPRESSOR_IDLE = 4 };

/* Contexts that nobody uses at the moment. */
struct compress_idle {
    _Atomic(void *) packers[COMPRESSOR_IDLE];
    _Atomic(void *) unpackers[COMPRESSOR_IDLE];
};

struct compress_dictionary;

struct compressor {
    const strata_allocator *mem; /* borrowed; NULL is malloc */
    struct compress_idle zstd, gzip;
    /* Constant once the first value is packed or unpacked. */
    struct compress_dictionary *dictionaries; /* a list */
    const struct compress_dictionary *writes; /* the one of them that packs; or NULL */
};

/* Storage is the caller's.  Allocates nothing yet. */
void strata__compressor_init(struct compressor *compressor, const strata_allocator *mem);
/* No call may be under way.  Zeroed storage is fine. */
void strata__compressor_deinit(struct compressor *compressor);

/* A trained dictionary, as `strata dict train` or `zstd --train` writes it, before anything is packed: what was packed with it
 * can be unpacked; with `writes`, zstd packs with it from now on, at `level`.  Bytes are copied.
 * @return STRATA_OK, also if the same was there already; STRATA_EINVAL, no dictionary; STRATA_EEXIST, another one has its id;
 *         STRATA_EUNSUPPORTED (no zstd); STRATA_ENOMEM.  No words. */
int strata__compressor_learn(struct compressor *compressor, const void *bytes, size_t size, int level, int writes);
/* What strata__compress() packs with: the envelope's `dictionary`, 0 none. */
uint64_t strata__compressor_dictionary(const struct compressor *compressor, uint32_t alg);
/* The id of a trained dictionary, 0: it is none. */
uint64_t strata__compress_dictionary_id(const void *bytes, size_t size);

/* Is it built in, and the level one of its?  @return STRATA_OK; STRATA_EUNSUPPORTED, the words name the cmake option;
 * STRATA_EINVAL, no such thing.  COMPRESS_NONE is fine, with any level. */
int strata__compress_check(uint32_t alg, uint32_t level, strata_error *err);
/* "zstd"; NULL for numbers that mean nothing here. */
const char *strata__compress_name(uint32_t alg);

/* Room that is always enough for strata__compress() of `size` bytes; 0: too large, or not built in. */
size_t strata__compress_bound(uint32_t alg, size_t size);
/* `level` 0 is the default of the algorithm; what it does not know is brought to the nearest it knows.
 * A room of size - size * 15 / 100 bytes is enough, too: what needs more is not worth it.
 * @return STRATA_OK; STRATA_AGAIN (saves less than 15 %: store it plain); STRATA_EUNSUPPORTED, STRATA_ENOMEM. */
int strata__compress(struct compressor *compressor, uint32_t alg, int level, const void *in, size_t size, void *out,
                     size_t capacity, size_t *out_size);

/* Before room for raw_size bytes is allocated: may it be?  `dictionary` is the id in the envelope, 0 none.
 * @return STRATA_OK; STRATA_EVALUESIZE (above `cap`); STRATA_EUNSUPPORTED; STRATA_MISS (that dictionary is not here);
 *         STRATA_EIO (the data says another size, or cannot unfold to so much: corrupt). */
int strata__decompress_check(const struct compressor *compressor, uint32_t alg, uint64_t dictionary, const void *in,
                             size_t size, uint64_t raw_size, uint64_t cap);
/* Exactly raw_size bytes come out.  @return STRATA_OK; STRATA_EIO (corrupt, or packed with another dictionary of that id);
 * STRATA_MISS (the dictionary is not here); STRATA_EUNSUPPORTED, STRATA_ENOMEM. */
int strata__decompress(struct compressor *compressor, uint32_t alg, uint64_t dictionary, const void *in, size_t size,
                       void *out, size_t raw_size);

/* A dictionary from samples that lie one behind the other.  `out` has room for `room` bytes.  Uses malloc of the process: it is
 * the library's, which knows no other.  @return STRATA_OK; STRATA_EINVAL with words (too few samples, all alike);
 * STRATA_ENOMEM; STRATA_EUNSUPPORTED. */
int strata__compress_train(const void *samples, const size_t *sizes, size_t count, void *out, size_t room,
                           size_t *out_size, strata_error *err);

#endif /* STRATA_FORMAT_COMPRESS_H */
