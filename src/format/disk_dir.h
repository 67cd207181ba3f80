/* disk_dir.h - strata.dir, the identity of a disk layer's directory.
 *
 *   0       8         12            16       32     40               48         48 + cursor_size, to 8
 *   | magic | version | cursor_size | id[16] | seed | created_wall_ms| cursor...| sum |
 *
 * Little-endian.  `sum` is XXH3-64, seed 0, of everything before it. */
#ifndef STRATA_FORMAT_DISK_DIR_H
#define STRATA_FORMAT_DISK_DIR_H
#include <stddef.h>
#include <stdint.h>

#include "src/format/verdict.h"
#include "strata/base.h"

enum {
    DISK_VERSION = 1, /* of all files in the directory */
    DISK_ID = 16,
    DIR_CURSOR_MAX = 4096,
    DIR_MAX = 48 + DIR_CURSOR_MAX + 8, /* the largest strata.dir: read so much and one byte more */
};

struct disk_dir {
    uint8_t id[DISK_ID]; /* random: segments and snapshot name it */
    uint64_t seed;       /* random: of the keys' hash and of sums */
    int64_t created_wall_ms;
    strata_slice cursor; /* of a bus; empty today.  Reading: into the bytes */
};

/* What a segment or a snapshot keeps of the seed, to be known as this directory's. */
uint64_t strata__dir_seed_check(const struct disk_dir *dir);

/* Bytes of the file. */
size_t strata__dir_size(const struct disk_dir *dir);
/* Write strata__dir_size() bytes.  cursor.size up to DIR_CURSOR_MAX. */
void strata__dir_write(void *out, const struct disk_dir *dir);
/* `size` is the file's.  @return FORMAT_OK, _FOREIGN, _NEWER, _CORRUPT. */
int strata__dir_read(struct disk_dir *out, const void *bytes, size_t size);

#endif /* STRATA_FORMAT_DISK_DIR_H */
