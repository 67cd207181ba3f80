/* snapshot_import.c - the stream of an import, block by block; what becomes of entries, snapshot_entries.c says. */
#include <string.h>

#include "src/base/hash.h"
#include "src/core/snapshot_import_impl.h"

#define WHERE "snapshot"

/* Reading the stream ------------------------------------------------------------------------------------------------ */

int strata__import_no_memory(struct import *m)
{
    return m->rc = strata__fail(m->call.err, STRATA_ENOMEM, WHERE, "no memory for the snapshot: free some");
}

int strata__import_damaged(struct import *m, const char *what)
{
    return m->rc = strata__fail(m->call.err, STRATA_EIO, WHERE,
                                "damaged in block %llu, before byte %llu: %s.  What stood before it was imported",
                                (unsigned long long)m->blocks, (unsigned long long)m->call.report.stream_bytes, what);
}

/* 1: all of it; 0: the stream has ended before, or failed. */
static int take(struct import *m, void *out, size_t size)
{
    size_t done = 0;
    while (done < size) {
        size_t got = 0;
        struct frame frame;
        frame_push(&frame, m->call.root, FRAME_CALLBACK);
        int rc = m->read((char *)out + done, size - done, &got, m->ctx);
        frame_pop(&frame);
        if (rc < 0) {
            m->rc = strata__fail_plain(m->call.err, rc, WHERE);
            return 0;
        }
        if (got == 0 || got > size - done)
            break;
        done += got;
        m->call.report.stream_bytes += got;
    }
    m->cut = done < size;
    return done == size ? 1 : (strata__import_damaged(m, "it has no end"), 0);
}

static uint8_t *room_for(struct import *m, uint8_t **place, size_t *room, size_t size)
{
    if (*room < size) {
        strata__free(m->call.root->mem, *place);
        *place = strata__alloc(m->call.root->mem, size);
        *room = *place != NULL ? size : 0;
        if (*place == NULL)
            strata__import_no_memory(m);
    }
    return *place;
}

static int begin_stream(struct import *m)
{
    uint8_t bytes[STREAM_HEAD];
    struct stream_head head = { 0 };
    if (!take(m, bytes, sizeof bytes) && !m->cut)
        return m->rc;
    int verdict = m->rc == STRATA_OK ? strata__stream_head_read(&head, bytes, sizeof bytes) : FORMAT_FOREIGN;
    m->sum = head.sum;
    switch (verdict) {
    case FORMAT_OK: return STRATA_OK;
    case FORMAT_NEWER:
        return m->rc = strata__fail(m->call.err, STRATA_EUNSUPPORTED, WHERE,
                                    "the snapshot is of a newer format than this version reads");
    case FORMAT_CORRUPT: return strata__import_damaged(m, "its head is another one than was written");
    default: return m->rc = strata__fail(m->call.err, STRATA_EINVAL, WHERE, "this is no snapshot of strata's");
    }
}

/* Blocks ------------------------------------------------------------------------------------------------------------ */

/* The block's entries, unpacked; NULL: m->rc. */
static const uint8_t *unpack(struct import *m, const struct stream_block *block)
{
    if (block->compression == COMPRESS_NONE)
        return m->stored;
    int rc = strata__decompress_check(&m->compressor, COMPRESS_ZSTD, 0, m->stored, block->stored_size, block->raw_size,
                                      STREAM_MOST);
    if (rc == STRATA_EUNSUPPORTED) {
        m->rc = strata__compress_check(COMPRESS_ZSTD, 0, m->call.err);
        return NULL;
    }
    if (rc == STRATA_OK && room_for(m, &m->raw, &m->raw_room, block->raw_size) == NULL)
        return NULL;
    if (rc == STRATA_OK)
        rc = strata__decompress(&m->compressor, COMPRESS_ZSTD, 0, m->stored, block->stored_size, m->raw,
                                block->raw_size);
    if (rc == STRATA_ENOMEM)
        strata__import_no_memory(m);
    else if (rc != STRATA_OK)
        strata__import_damaged(m, "it can't be unpacked");
    return rc == STRATA_OK ? m->raw : NULL;
}

/* Such a block has one entry, which no layer would take: it is read to know what follows. */
static int is_too_large(const struct import *m, const struct stream_block *block)
{
    return block->raw_size > STREAM_BLOCK_BYTES &&
           block->raw_size - STREAM_BLOCK_BYTES > m->call.root->options.max_value_bytes;
}

static int skip_block(struct import *m, const uint8_t *head, const struct stream_block *block)
{
    uint8_t bytes[4096];
    struct hash_stream sum;
    strata__hash_start(&sum, m->sum);
    strata__hash_add(&sum, head, STREAM_BLOCK - sizeof block->sum);
    for (size_t left = block->stored_size; left != 0;) {
        size_t part = left < sizeof bytes ? left : sizeof bytes;
        if (!take(m, bytes, part))
            return m->rc;
        strata__hash_add(&sum, bytes, part);
        left -= part;
    }
    if (strata__hash_sum(&sum) != block->sum)
        return strata__import_damaged(m, "its sum is another one");
    m->call.report.refused++;
    return STRATA_OK;
}

static int take_block(struct import *m, const uint8_t *head, const struct stream_block *block)
{
    if (is_too_large(m, block))
        return skip_block(m, head, block);
    if (room_for(m, &m->stored, &m->stored_room, block->stored_size) == NULL || !take(m, m->stored, block->stored_size))
        return m->rc;
    if (strata__stream_sum(head, m->sum, m->stored, block->stored_size) != block->sum)
        return strata__import_damaged(m, "its sum is another one");
    if (block->kind == STREAM_LAST)
        return STRATA_OK;
    const uint8_t *raw = unpack(m, block);
    return raw != NULL ? strata__import_entries(m, block, raw) : m->rc;
}

static int check_end(struct import *m)
{
    uint64_t entries, raw_bytes;
    strata__stream_end_read(m->stored, &entries, &raw_bytes);
    return entries == m->entries && raw_bytes == m->raw_bytes
               ? STRATA_OK
               : strata__import_damaged(m, "it counts its entries otherwise");
}

static int take_blocks(struct import *m)
{
    uint8_t head[STREAM_BLOCK];
    struct stream_block block = { 0 };
    while (m->rc == STRATA_OK && !m->stop) {
        m->blocks++;
        if (!take(m, head, sizeof head))
            return m->rc;
        int verdict = strata__stream_block_read(&block, head);
        if (verdict == FORMAT_NEWER)
            return m->rc = strata__fail(m->call.err, STRATA_EUNSUPPORTED, WHERE,
                                        "block %llu is of a newer format than this version reads",
                                        (unsigned long long)m->blocks);
        if (verdict != FORMAT_OK)
            return strata__import_damaged(m, "no block stands there");
        if (take_block(m, head, &block) != STRATA_OK || m->stop)
            return m->rc;
        if (block.kind == STREAM_LAST)
            return check_end(m);
        m->sum = block.sum;
        m->entries += block.entries;
        m->raw_bytes += block.raw_size;
        m->rc = strata__snapshot_progress(&m->call);
    }
    return m->rc;
}

int strata_snapshot_import(strata *cache, const strata_snapshot_options *options, strata_snapshot_read read, void *ctx,
                           strata_snapshot_report *out_report, strata_error *err)
{
    if (cache == NULL || read == NULL)
        return strata__no_argument(err, "strata_snapshot_import() needs a cache and a function that gives the bytes");
    struct import m = { .read = read, .ctx = ctx };
    int rc = strata__snapshot_begin(&m.call, cache, options, out_report, err);
    if (rc != STRATA_OK)
        return rc;
    const strata_allocator *mem = m.call.root->mem;
    strata__compressor_init(&m.compressor, mem);
    strata__driver_init(&m.driver, m.call.root->ex, 0);
    m.entering = strata__alloc_array(mem, IMPORT_BATCH, sizeof *m.entering);
    strata__half_new(&m);
    if (m.entering == NULL)
        strata__import_no_memory(&m);
    else if (begin_stream(&m) == STRATA_OK)
        take_blocks(&m);
    strata__half_free(&m);
    strata__driver_deinit(&m.driver);
    strata__compressor_deinit(&m.compressor);
    strata__free(mem, m.entering);
    strata__free(mem, m.stored);
    strata__free(mem, m.raw);
    return strata__snapshot_end(&m.call, out_report, m.rc != STRATA_OK ? m.rc : m.worst);
}
