/* pack.h - what layers share that keep values as bytes elsewhere: the options of compression, dictionaries from files, and
 * unpacking with words for what cannot be unpacked. */
#ifndef STRATA_LAYER_PACK_H
#define STRATA_LAYER_PACK_H
#include <stdint.h>

#include "src/format/compress.h"
#include "strata/disk.h" /* STRATA_COMPRESS_... */
#include "strata/sys/layer.h"

/* The fields of a layer's options, by the same names.  Paths may be NULL. */
struct pack_options {
    int32_t compression; /* STRATA_COMPRESS_... */
    uint32_t compression_level;
    uint64_t compress_above_bytes;
    const char *dictionary, *dictionaries;
};

/* As src/format counts. */
uint32_t strata__pack_algorithm(int32_t compression);
/* Fills in what is 0: `compression`, which without a dictionary is zstd if `zstd_preferred` and it is built in; and
 * compress_above_bytes, which is lower with a dictionary.  STRATA_OK; STRATA_EINVAL, STRATA_EUNSUPPORTED with words. */
int strata__pack_fill(struct pack_options *options, int zstd_preferred, strata_error *err);

/* strata__compressor_init(), and the dictionaries from their files.  `name` is the layer's.  STRATA_OK; STRATA_EINVAL, STRATA_EIO,
 * STRATA_ENOMEM with words, and nothing is held.  Blocks: reads files. */
int strata__pack_start(struct compressor *compressor, const struct pack_options *options, const char *name,
                       const strata_allocator *mem, strata_error *err);

/* The tags and the validator of an entry that is put, for its envelope; of one that was read, to op->tags.  Unknown ones are a tag without bytes, and what is
 * no number is unknown: such an entry counts as having any tag. */
void strata__pack_tags(const strata_op *op, struct envelope *envelope);
void strata__unpack_tags(strata_op *op, const struct envelope *envelope);

/* The payload of an envelope that is packed, as a value of op->mem.  STRATA_OK; STRATA_MISS with words in op->err: damaged, above
 * `most` bytes, or packed with what is not here; STRATA_ENOMEM with words. */
int strata__unpack(struct compressor *compressor, const struct envelope *envelope, uint64_t most, strata_op *op,
                   const char *name, strata_value **out);

#endif /* STRATA_LAYER_PACK_H */
