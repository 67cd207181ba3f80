/* fuzz_envelope.c - whatever stands in front of a value is read or refused within its bounds, and what was read is written
 * again as something that reads the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/format/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int condition)
{
    if (!condition)
        abort();
}

static void inside(strata_slice slice, const uint8_t *data, size_t size)
{
    const uint8_t *at = slice.data;
    demand(slice.size == 0 || (at >= data && slice.size <= size && at + slice.size <= data + size));
}

static int same(strata_slice a, strata_slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static void walk_tags(const struct envelope *e, const uint8_t *data, size_t size)
{
    size_t cursor = 0;
    uint32_t count = 0;
    strata_slice tag;
    for (; strata__envelope_tag_next(e, &cursor, &tag); count++)
        inside(tag, data, size);
    demand(count == e->tag_count);
}

static void write_again(const struct envelope *e)
{
    struct envelope again;
    strata_meta meta, meta_again;
    size_t header = strata__envelope_size(e), size = header + e->payload.size;
    uint8_t *bytes = malloc(size);
    if (bytes == NULL)
        return;
    demand(strata__envelope_write(e, bytes) == header);
    if (e->payload.size != 0)
        memcpy(bytes + header, e->payload.data, e->payload.size);
    demand(strata__envelope_read(&again, bytes, size) == FORMAT_OK);
    strata__envelope_to_meta(&meta, e);
    strata__envelope_to_meta(&meta_again, &again);
    demand(memcmp(&meta, &meta_again, sizeof meta) == 0);
    demand(again.flags == e->flags && again.compression == e->compression && again.raw_size == e->raw_size);
    demand(again.store_life == e->store_life && again.store_time_ms == e->store_time_ms);
    demand(again.dictionary == e->dictionary && again.tag_count == e->tag_count);
    demand(same(again.content_type, e->content_type) && same(again.etag, e->etag));
    demand(same(again.last_modified, e->last_modified) && same(again.payload, e->payload));
    free(bytes);
}

static void read_one(const uint8_t *data, size_t size)
{
    struct envelope e;
    int verdict = strata__envelope_read(&e, data, size);
    demand(verdict == FORMAT_OK || verdict == FORMAT_FOREIGN || verdict == FORMAT_NEWER || verdict == FORMAT_CORRUPT);
    if (verdict != FORMAT_OK)
        return;
    inside(e.payload, data, size);
    inside(e.content_type, data, size);
    inside(e.etag, data, size);
    inside(e.last_modified, data, size);
    walk_tags(&e, data, size);
    demand(e.fresh_ms >= 0 && e.stale_ms >= 0 && e.error_ms >= 0 && e.keep_ms >= 0 && e.early_ms >= 0);
    write_again(&e);
    e.flags |= ENVELOPE_CHECKSUM;
    write_again(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_one(data, size);
    /* A guessed checksum is never right: what lies behind it is looked at without. */
    if (size >= 3 && (data[2] & ENVELOPE_CHECKSUM) != 0) {
        uint8_t *copy = malloc(size);
        if (copy == NULL)
            return 0;
        memcpy(copy, data, size);
        copy[2] &= (uint8_t)~ENVELOPE_CHECKSUM;
        read_one(copy, size);
        free(copy);
    }
    return 0;
}
