/* trace_block.c - see trace_block.h.  A request is packed as value size (4 bytes), key size (2), key. */
#include "cli/trace_block.h"

#include <stdlib.h>
#include <string.h>

enum { HEAD_BYTES = 6 };
_Static_assert(TRACE_KEY_MAX <= UINT16_MAX, "key sizes are packed in 16 bits");
_Static_assert(TRACE_KEY_MAX + HEAD_BYTES <= TRACE_BLOCK_BYTES, "an empty block takes any request");

struct trace_block *trace_block_new(void)
{
    struct trace_block *block = malloc(sizeof *block + TRACE_BLOCK_BYTES);

    if (block != NULL) {
        block->next = NULL;
        block->count = 0;
        block->used = 0;
    }
    return block;
}

int trace_block_add(struct trace_block *block, const struct trace_line *line)
{
    int32_t value_bytes = (int32_t)line->value_bytes;
    uint16_t key_size = (uint16_t)line->key_size;
    unsigned char *to = block->data + block->used;

    if (block->count == TRACE_BLOCK_REQUESTS || block->used + HEAD_BYTES + key_size > TRACE_BLOCK_BYTES)
        return 0;
    memcpy(to, &value_bytes, 4);
    memcpy(to + 4, &key_size, 2);
    memcpy(to + HEAD_BYTES, line->key, key_size);
    block->used += (uint32_t)HEAD_BYTES + key_size;
    block->count++;
    return 1;
}

int trace_block_next(const struct trace_block *block, uint32_t *offset, struct trace_line *out)
{
    const unsigned char *from = block->data + *offset;
    int32_t value_bytes;
    uint16_t key_size;

    if (*offset >= block->used)
        return 0;
    memcpy(&value_bytes, from, 4);
    memcpy(&key_size, from + 4, 2);
    out->value_bytes = value_bytes;
    out->key_size = key_size;
    out->key = (const char *)(from + HEAD_BYTES);
    *offset += (uint32_t)HEAD_BYTES + key_size;
    return 1;
}

struct trace_block *trace_block_shrink(struct trace_block *block)
{
    struct trace_block *smaller = realloc(block, sizeof *block + block->used);

    return smaller != NULL ? smaller : block;
}
