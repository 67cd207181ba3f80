/* fuzz_snapshot_stream.c - a snapshot of anybody's, imported into a cache: it is input, and may say anything.  Each input is read as
 * it is, and once more with its sums put right, since no fuzzer guesses them.  What was imported must be found, and a snapshot of
 * it must be good. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/format/le.h"
#include "src/format/snapshot_stream.h"
#include "strata/strata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct tape {
    uint8_t *bytes;
    size_t size, at;
};

static int give(void *bytes, size_t room, size_t *out_size, void *ctx)
{
    struct tape *t = ctx;
    size_t size = t->size - t->at < room ? t->size - t->at : room;
    if (size != 0)
        memcpy(bytes, t->bytes + t->at, size);
    t->at += size;
    *out_size = size;
    return 0;
}

static int take(const void *bytes, size_t size, void *ctx)
{
    struct tape *t = ctx;
    uint8_t *more = realloc(t->bytes, t->size + size);
    if (more == NULL)
        return STRATA_ENOMEM;
    t->bytes = more;
    memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
    return 0;
}

static strata *open_cache(void)
{
    strata *cache = NULL;
    strata_options options = STRATA_OPTIONS_INIT;
    options.max_value_bytes = 1 << 16;
    options.workers = 1;
    if (strata_open_url(&cache, "memory:?max_bytes=8mb&shards=1", &options, NULL) != STRATA_OK)
        abort();
    return cache;
}

static void import(strata *cache, uint8_t *bytes, size_t size)
{
    struct tape in = { .bytes = bytes, .size = size }, out = { 0 };
    strata_snapshot_options o = STRATA_SNAPSHOT_OPTIONS_INIT;
    strata_snapshot_report got = STRATA_SNAPSHOT_REPORT_INIT, again = STRATA_SNAPSHOT_REPORT_INIT;
    o.open_namespaces = STRATA_ON;
    o.max_bytes = 4 << 20;
    (void)strata_snapshot_import(cache, &o, give, &in, &got, NULL);
    o.max_bytes = 0;
    if (strata_snapshot_export(cache, &o, take, &out, NULL, NULL) != STRATA_OK)
        abort();
    in = (struct tape){ .bytes = out.bytes, .size = out.size };
    if (strata_snapshot_import(cache, &o, give, &in, &again, NULL) != STRATA_OK || again.failed != 0)
        abort();
    free(out.bytes);
}

static void put_sums_right(uint8_t *bytes, size_t size)
{
    if (size < STREAM_HEAD)
        return;
    uint64_t sum = strata__hash(bytes, STREAM_HEAD - 8, 0);
    strata__le64_put(bytes + STREAM_HEAD - 8, sum);
    for (size_t at = STREAM_HEAD; size - at >= STREAM_BLOCK;) {
        uint8_t *block = bytes + at;
        size_t stored = strata__le32(block + 8);
        if (stored > size - at - STREAM_BLOCK)
            return;
        sum = strata__stream_sum(block, sum, block + STREAM_BLOCK, stored);
        strata__le64_put(block + 24, sum);
        at += STREAM_BLOCK + stored;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static strata *cache; /* one for all inputs: opening it takes longer than most of them */
    if (cache == NULL)
        cache = open_cache();
    uint8_t *copy = malloc(size != 0 ? size : 1);
    if (copy == NULL)
        return 0;
    if (size != 0)
        memcpy(copy, data, size);
    import(cache, copy, size);
    put_sums_right(copy, size);
    import(cache, copy, size);
    free(copy);
    if (strata_clear(cache, NULL) != STRATA_OK)
        abort();
    return 0;
}
