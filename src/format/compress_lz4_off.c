/* compress_lz4_off.c - built where lz4 is not: its name, and the cmake option that brings it. */
#include "src/format/compress_impl.h"

const struct compress_ops strata__compress_lz4 = { .name = "lz4", .option = "STRATA_WITH_LZ4" };
