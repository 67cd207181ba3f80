/* disk_home.h - the directory that the disk targets' inputs claim to be from: the one of docs/formats.md. */
#ifndef STRATA_FUZZ_DISK_HOME_H
#define STRATA_FUZZ_DISK_HOME_H
#include <stdlib.h>

#include "src/format/disk_dir.h"

static const struct disk_dir home = { .id = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
                                      .seed = 0x0807060504030201,
                                      .created_wall_ms = 1767225600000 };

static inline void demand(int condition)
{
    if (!condition)
        abort();
}

#endif /* STRATA_FUZZ_DISK_HOME_H */
