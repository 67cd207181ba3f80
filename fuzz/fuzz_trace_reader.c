/* fuzz_trace_reader.c - any bytes as a trace: plain, zstd, gzip, whole or broken.
 *
 * The decompressed size is capped, or a few bytes of zstd would be gigabytes of lines.  Every request must keep what
 * trace_reader.h promises, and survive being packed into a block. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/trace_block.h"
#include "cli/trace_reader.h"

enum { OUTPUT_CAP = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_packed(struct trace_block *block, const struct trace_line *line)
{
    struct trace_line again;
    uint32_t offset = 0;

    block->count = 0;
    block->used = 0;
    if (!trace_block_add(block, line) || !trace_block_next(block, &offset, &again))
        abort();
    if (again.key_size != line->key_size || memcmp(again.key, line->key, line->key_size) != 0 ||
        again.value_bytes != line->value_bytes || trace_block_next(block, &offset, &again))
        abort();
}

static void read_all(const uint8_t *data, size_t size, int no_sizes, struct trace_block *block)
{
    struct trace_options options = { no_sizes, OUTPUT_CAP };
    struct trace_reader *reader;
    struct trace_line line;
    strata_error err = STRATA_ERROR_INIT;
    int status = trace_reader_open_memory(&reader, data, size, &options, &err);

    while (status == STRATA_OK && (status = trace_reader_next(reader, &line, &err)) == STRATA_OK) {
        if (line.key_size == 0 || line.key_size > TRACE_KEY_MAX || line.value_bytes < -1 ||
            line.value_bytes > TRACE_VALUE_MAX)
            abort();
        check_packed(block, &line);
    }
    if (status < 0 && (err.status != status || err.message[0] == '\0'))
        abort(); /* an error without words */
    trace_reader_close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct trace_block *block = trace_block_new();

    if (block != NULL) {
        read_all(data, size, 0, block);
        read_all(data, size, 1, block);
    }
    free(block);
    return 0;
}
