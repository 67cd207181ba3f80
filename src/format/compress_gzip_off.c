/* compress_gzip_off.c - built where zlib is not: its name, and the cmake option that brings it. */
#include "src/format/compress_impl.h"

const struct compress_ops strata__compress_gzip = { .name = "gzip", .option = "STRATA_WITH_ZLIB" };
