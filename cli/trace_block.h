/* trace_block.h - a few hundred requests of a trace, packed side by side.
 *
 * The unit in which a trace is dealt to threads, and kept in memory where it is replayed more than once: 6 bytes a
 * request and its key, read front to back. */
#ifndef STRATA_CLI_TRACE_BLOCK_H
#define STRATA_CLI_TRACE_BLOCK_H
#include <stddef.h>
#include <stdint.h>

#include "cli/trace_reader.h"

enum { TRACE_BLOCK_BYTES = 16 * 1024, TRACE_BLOCK_REQUESTS = 256 };

struct trace_block {
    struct trace_block *next; /* the owner's list */
    uint32_t count;           /* requests */
    uint32_t used;            /* bytes of data */
    unsigned char data[];     /* TRACE_BLOCK_BYTES, or `used` once shrunk */
};

/* NULL: out of memory.  Freed with free(). */
struct trace_block *trace_block_new(void);
/* 1 added; 0 the block is full. */
int trace_block_add(struct trace_block *block, const struct trace_line *line);
/* Walk: *offset begins at 0.  1, or 0 at the end.  out->key is borrowed from the block. */
int trace_block_next(const struct trace_block *block, uint32_t *offset, struct trace_line *out);
/* Give the unused room back; the block may move. */
struct trace_block *trace_block_shrink(struct trace_block *block);

#endif /* STRATA_CLI_TRACE_BLOCK_H */
