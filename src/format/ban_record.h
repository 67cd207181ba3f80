/* ban_record.h - a ban as a durable layer keeps it, for the cache that opens it next.
 *
 *   | size 4 | sum 8 | kind 1 | soft 1 | 0 0 | position 4 | life 8 | wall 8 | store position 8 | prefix 4, text 4, tags 4 | them |
 *
 * Little-endian; `sum` is XXH3-64, seed 0, of what follows it, and `size` is that of all.  Pure: slices point into the bytes. */
#ifndef STRATA_FORMAT_BAN_RECORD_H
#define STRATA_FORMAT_BAN_RECORD_H
#include "src/format/verdict.h"
#include "strata/sys/layer.h"

enum { BAN_RECORD_HEAD = 56, BAN_RECORD_MOST = BAN_RECORD_HEAD + 8 * STRATA_TAGS_MAX + (1 << 20) };

size_t strata__ban_record_size(const strata_ban_op *ban);
/* Write strata__ban_record_size() bytes. */
void strata__ban_record_write(void *out, const strata_ban_op *ban);
/* The first of `size` bytes; *out_used is its size.  Tags go to `tags`, which has room for STRATA_TAGS_MAX.  @return FORMAT_OK;
 * FORMAT_END: the bytes end before it does; FORMAT_CORRUPT. */
int strata__ban_record_read(strata_ban_op *out, uint64_t *tags, const void *bytes, size_t size, size_t *out_used);

#endif /* STRATA_FORMAT_BAN_RECORD_H */
