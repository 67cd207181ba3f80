/* compress_zstd_off.c - built where zstd is not: its name, and the cmake option that brings it. */
#include "src/format/compress_impl.h"

const struct compress_ops strata__compress_zstd = { .name = "zstd", .option = "STRATA_WITH_ZSTD" };
