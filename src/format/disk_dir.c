/* disk_dir.c - strata.dir: see the picture in disk_dir.h. */
#include "src/format/disk_dir.h"

#include "src/base/hash.h"
#include "src/format/le.h"

static const uint8_t magic[8] = { 'S', 't', 'r', 'a', 't', 'D', 'i', 'r' };

enum { VERSION_AT = 8, CURSOR_SIZE_AT = 12, ID_AT = 16, SEED_AT = 32, CREATED_AT = 40, CURSOR_AT = 48, SUM = 8 };

_Static_assert(DIR_CURSOR_MAX % 8 == 0, "DIR_MAX counts no padding");

static size_t padded(size_t size) { return (size + 7) / 8 * 8; }

uint64_t strata__dir_seed_check(const struct disk_dir *dir) { return strata__hash(dir->id, DISK_ID, dir->seed); }

size_t strata__dir_size(const struct disk_dir *dir) { return CURSOR_AT + padded(dir->cursor.size) + SUM; }

void strata__dir_write(void *out, const struct disk_dir *dir)
{
    uint8_t *at = out;
    size_t end = CURSOR_AT + padded(dir->cursor.size);
    memset(at, 0, end);
    memcpy(at, magic, sizeof magic);
    strata__le32_put(at + VERSION_AT, DISK_VERSION);
    strata__le32_put(at + CURSOR_SIZE_AT, (uint32_t)dir->cursor.size);
    memcpy(at + ID_AT, dir->id, DISK_ID);
    strata__le64_put(at + SEED_AT, dir->seed);
    strata__le64_put(at + CREATED_AT, (uint64_t)dir->created_wall_ms);
    if (dir->cursor.size != 0)
        memcpy(at + CURSOR_AT, dir->cursor.data, dir->cursor.size);
    strata__le64_put(at + end, strata__hash(at, end, 0));
}

int strata__dir_read(struct disk_dir *out, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    memset(out, 0, sizeof *out);
    if (size < sizeof magic || memcmp(at, magic, sizeof magic) != 0)
        return FORMAT_FOREIGN;
    /* The sum stands at the end in every version, so that a damaged version number is not taken for a newer one. */
    if (size < CURSOR_AT + SUM || strata__le64(at + size - SUM) != strata__hash(at, size - SUM, 0))
        return FORMAT_CORRUPT;
    if (strata__le32(at + VERSION_AT) != DISK_VERSION)
        return strata__le32(at + VERSION_AT) > DISK_VERSION ? FORMAT_NEWER : FORMAT_CORRUPT;
    out->cursor.size = strata__le32(at + CURSOR_SIZE_AT);
    if (out->cursor.size > DIR_CURSOR_MAX || strata__dir_size(out) != size) {
        out->cursor.size = 0;
        return FORMAT_CORRUPT;
    }
    memcpy(out->id, at + ID_AT, DISK_ID);
    out->seed = strata__le64(at + SEED_AT);
    out->created_wall_ms = (int64_t)strata__le64(at + CREATED_AT);
    out->cursor.data = at + CURSOR_AT;
    return FORMAT_OK;
}
