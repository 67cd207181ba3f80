/* compress_impl.h - what compress.c asks of an algorithm: one table each, in a file of its own; compress_<name>_off.c stands in
 * where it was not there at configure time, as an empty table. */
#ifndef STRATA_FORMAT_COMPRESS_IMPL_H
#define STRATA_FORMAT_COMPRESS_IMPL_H
#include "src/format/compress.h"

/* One dictionary, made ready.  Constant from then on: any number of threads use it at once. */
struct compress_dictionary {
    uint64_t id, hash; /* of its bytes */
    void *packer;      /* NULL: only read with */
    void *unpacker;
    struct compress_dictionary *next;
};

struct compress_ops {
    const char *name;
    const char *option; /* of cmake */
    /* The rest is NULL or 0 where it is not built in. */
    int most_level;               /* levels go from 1 to this; 0 is the default */
    size_t (*bound)(size_t size); /* 0: too large */
    /* `dictionary` may be NULL, and always is where `learn` is.
     * @return STRATA_OK; STRATA_AGAIN, more than capacity; STRATA_ENOMEM. */
    int (*pack)(struct compressor *compressor, const struct compress_dictionary *dictionary, int level, const void *in,
                size_t size, void *out, size_t capacity, size_t *out_size);
    /* Could `size` bytes unfold to raw_size?  A cheap look, before memory is spent. */
    int (*plausible)(const void *in, size_t size, uint64_t raw_size);
    /* @return STRATA_OK; STRATA_EIO, not exactly raw_size bytes; STRATA_ENOMEM. */
    int (*unpack)(struct compressor *compressor, const struct compress_dictionary *dictionary, const void *in,
                  size_t size, void *out, size_t raw_size);
    void (*deinit)(struct compressor *compressor); /* NULL: keeps nothing */
    /* NULL: knows no dictionaries.  Fills id, unpacker, and packer if `packs`.  STRATA_OK; STRATA_EINVAL, it is none;
     * STRATA_ENOMEM. */
    int (*learn)(struct compressor *compressor, struct compress_dictionary *dictionary, const void *bytes, size_t size,
                 int level, int packs);
    void (*forget)(struct compressor *compressor, struct compress_dictionary *dictionary);
};

extern const struct compress_ops strata__compress_zstd;
extern const struct compress_ops strata__compress_lz4;
extern const struct compress_ops strata__compress_gzip;
extern const struct compress_ops strata__compress_brotli;

/* A context that nobody uses, or NULL: the caller makes one. */
void *strata__compress_take(_Atomic(void *) *idle);
/* 1: kept; 0: every place is taken, and it is the caller's to free. */
int strata__compress_keep(_Atomic(void *) *idle, void *context);

#endif /* STRATA_FORMAT_COMPRESS_IMPL_H */
