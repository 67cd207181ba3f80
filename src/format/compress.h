/* compress.h - payloads made smaller: zstd and lz4, each if it was there at configure time.
 *
 * `alg` is COMPRESS_ZSTD or COMPRESS_LZ4 (envelope.h).  Working memory comes from the compressor, which keeps a few idle zstd
 * contexts; any number of threads may use one at once.  lz4 needs none.  Nothing here believes a size that came with the data:
 * what is written is bounded by the caller's room. */
#ifndef STRATA_FORMAT_COMPRESS_H
#define STRATA_FORMAT_COMPRESS_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "src/format/envelope.h"
#include "strata/error.h"
#include "strata/sys/allocator.h"

enum { COMPRESSOR_IDLE = 4 };

struct compressor {
    const strata_allocator *mem;              /* borrowed; NULL is malloc */
    _Atomic(void *) packers[COMPRESSOR_IDLE]; /* idle contexts of zstd */
    _Atomic(void *) unpackers[COMPRESSOR_IDLE];
};

/* Storage is the caller's.  Allocates nothing yet. */
void strata__compressor_init(struct compressor *compressor, const strata_allocator *mem);
/* No call may be under way.  Zeroed storage is fine. */
void strata__compressor_deinit(struct compressor *compressor);

/* Is it built in?  @return STRATA_OK; STRATA_EUNSUPPORTED, the words name the cmake option; STRATA_EINVAL, no such thing.
 * COMPRESS_NONE is fine. */
int strata__compress_check(uint32_t alg, strata_error *err);
/* "zstd"; NULL for numbers that mean nothing here. */
const char *strata__compress_name(uint32_t alg);

/* Room that is always enough for strata__compress() of `size` bytes; 0: too large, or not built in. */
size_t strata__compress_bound(uint32_t alg, size_t size);
/* `level` 0 is the default of the algorithm; what it does not know is brought to the nearest it knows.
 * A room of size - size * 15 / 100 bytes is enough, too: what needs more is not worth it.
 * @return STRATA_OK; STRATA_AGAIN (saves less than 15 %: store it plain); STRATA_EUNSUPPORTED, STRATA_ENOMEM. */
int strata__compress(struct compressor *compressor, uint32_t alg, int level, const void *in, size_t size, void *out,
                     size_t capacity, size_t *out_size);

/* Before room for raw_size bytes is allocated: may it be?  @return STRATA_OK; STRATA_EVALUESIZE (above `cap`);
 * STRATA_EUNSUPPORTED; STRATA_EIO (the data says another size, or cannot unfold to so much: corrupt). */
int strata__decompress_check(uint32_t alg, const void *in, size_t size, uint64_t raw_size, uint64_t cap);
/* Exactly raw_size bytes come out.  @return STRATA_OK; STRATA_EIO (corrupt); STRATA_EUNSUPPORTED, STRATA_ENOMEM. */
int strata__decompress(struct compressor *compressor, uint32_t alg, const void *in, size_t size, void *out,
                       size_t raw_size);

#endif /* STRATA_FORMAT_COMPRESS_H */
