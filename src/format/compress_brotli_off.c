/* compress_brotli_off.c - built where brotli is not: its name, and the cmake option that brings it. */
#include "src/format/compress_impl.h"

const struct compress_ops strata__compress_brotli = { .name = "brotli", .option = "STRATA_WITH_BROTLI" };
