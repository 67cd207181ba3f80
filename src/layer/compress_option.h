/* compress_option.h - the option `compression` of layers, as src/format counts. */
#ifndef STRATA_LAYER_COMPRESS_OPTION_H
#define STRATA_LAYER_COMPRESS_OPTION_H
#include "src/format/compress.h"
#include "strata/disk.h" /* STRATA_COMPRESS_... */

static inline uint32_t compress_option(int32_t compression)
{
    switch (compression) {
    case STRATA_COMPRESS_ZSTD: return COMPRESS_ZSTD;
    case STRATA_COMPRESS_LZ4: return COMPRESS_LZ4;
    default: return COMPRESS_NONE;
    }
}

#endif /* STRATA_LAYER_COMPRESS_OPTION_H */
