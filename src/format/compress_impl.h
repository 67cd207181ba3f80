/* compress_impl.h - what compress.c asks of an algorithm: one table each, in a file of its own; compress_<name>_off.c stands in
 * where it was not there at configure time, as an empty table. */
#ifndef STRATA_FORMAT_COMPRESS_IMPL_H
#define STRATA_FORMAT_COMPRESS_IMPL_H
#include "src/format/compress.h"

struct compress_ops {
    const char *name;
    const char *option; /* of cmake */
    /* The rest is NULL where it is not built in. */
    size_t (*bound)(size_t size); /* 0: too large */
    /* @return STRATA_OK; STRATA_AGAIN, more than capacity; STRATA_ENOMEM. */
    int (*pack)(struct compressor *compressor, int level, const void *in, size_t size, void *out, size_t capacity,
                size_t *out_size);
    /* Could `size` bytes unfold to raw_size?  A cheap look, before memory is spent. */
    int (*plausible)(const void *in, size_t size, uint64_t raw_size);
    /* @return STRATA_OK; STRATA_EIO, not exactly raw_size bytes; STRATA_ENOMEM. */
    int (*unpack)(struct compressor *compressor, const void *in, size_t size, void *out, size_t raw_size);
    void (*deinit)(struct compressor *compressor); /* NULL: keeps nothing */
};

extern const struct compress_ops strata__compress_zstd;
extern const struct compress_ops strata__compress_lz4;

#endif /* STRATA_FORMAT_COMPRESS_IMPL_H */
