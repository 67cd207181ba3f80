/* snapshot_blocks.c - entries of an export become blocks: packed, summed, given to who takes them. */
#include "src/core/snapshot_export_impl.h"

#define WHERE "snapshot"

static int give(struct export *x, const void *bytes, size_t size)
{
    struct frame frame;
    frame_push(&frame, x->call.root, FRAME_CALLBACK);
    int rc = x->write(bytes, size, x->ctx);
    frame_pop(&frame);
    if (rc < 0)
        return x->rc = strata__fail_plain(x->call.err, rc, WHERE);
    x->call.report.stream_bytes += size;
    return STRATA_OK;
}

static int room_to_pack(struct export *x, size_t size)
{
    if (x->packed_room >= size)
        return 1;
    strata__free(x->call.root->mem, x->packed);
    x->packed = strata__alloc(x->call.root->mem, STREAM_BLOCK + size);
    x->packed_room = x->packed != NULL ? size : 0;
    return x->packed != NULL;
}

/* The entries so far. */
static int flush_block(struct export *x)
{
    struct export_block *b = &x->block;
    if (b->entries == 0)
        return STRATA_OK;
    struct stream_block block = {
        .kind = STREAM_ENTRIES, .raw_size = (uint32_t)b->used, .stored_size = (uint32_t)b->used, .entries = b->entries
    };
    uint8_t *out = b->bytes;
    size_t worth = b->used - b->used * 15 / 100, packed = 0;
    if (x->packs) {
        if (!room_to_pack(x, worth))
            return strata__export_no_memory(x);
        int rc = strata__compress(&x->compressor, COMPRESS_ZSTD, (int)x->call.options.compression_level,
                                  b->bytes + STREAM_BLOCK, b->used, x->packed + STREAM_BLOCK, worth, &packed);
        if (rc == STRATA_OK) {
            out = x->packed;
            block.compression = COMPRESS_ZSTD;
            block.stored_size = (uint32_t)packed;
        } else if (rc < 0) {
            return strata__export_no_memory(x);
        }
    }
    strata__stream_block_write(out, &block, x->sum, out + STREAM_BLOCK);
    x->sum = block.sum;
    x->raw_bytes += b->used;
    b->used = 0;
    b->entries = 0;
    if (give(x, out, STREAM_BLOCK + block.stored_size) != STRATA_OK)
        return x->rc;
    return x->rc = strata__snapshot_progress(&x->call);
}

static int make_room(struct export *x, struct export_block *b, size_t room)
{
    strata__free(x->call.root->mem, b->bytes);
    b->bytes = strata__alloc(x->call.root->mem, STREAM_BLOCK + room);
    b->room = b->bytes != NULL ? room : 0;
    return b->bytes != NULL ? STRATA_OK : strata__export_no_memory(x);
}

int strata__export_block_ready(struct export *x, struct export_block *b)
{
    return b->room >= STREAM_BLOCK_BYTES ? STRATA_OK : make_room(x, b, STREAM_BLOCK_BYTES);
}

int strata__export_room(struct export *x, size_t size)
{
    struct export_block *b = &x->block;
    if (b->entries != 0 && b->used + size > STREAM_BLOCK_BYTES && flush_block(x) != STRATA_OK)
        return x->rc;
    if (b->used + size <= b->room)
        return STRATA_OK;
    return make_room(x, b, size > STREAM_BLOCK_BYTES ? size : STREAM_BLOCK_BYTES); /* it is empty */
}

int strata__export_turn(struct export *x)
{
    if (x->next.entries == 0)
        return STRATA_OK;
    int rc = flush_block(x);
    struct export_block full = x->block;
    x->block = x->next;
    x->next = full;
    return rc;
}

void strata__export_blocks_free(struct export *x)
{
    const strata_allocator *mem = x->call.root->mem;
    strata__free(mem, x->block.bytes);
    strata__free(mem, x->next.bytes);
    strata__free(mem, x->packed);
}

int strata__export_begin(struct export *x)
{
    uint8_t bytes[STREAM_HEAD];
    struct stream_head head = { .life = x->call.root->life,
                                .written_wall_ms = x->call.begun_wall_ms,
                                .position = atomic_load(&x->call.root->position) };
    strata__stream_head_write(bytes, &head);
    x->sum = head.sum;
    return give(x, bytes, sizeof bytes);
}

int strata__export_end(struct export *x)
{
    uint8_t bytes[STREAM_BLOCK + STREAM_END];
    struct stream_block block = { .kind = STREAM_LAST, .raw_size = STREAM_END, .stored_size = STREAM_END };
    if (flush_block(x) != STRATA_OK)
        return x->rc;
    strata__stream_end_write(bytes + STREAM_BLOCK, x->call.report.entries, x->raw_bytes);
    strata__stream_block_write(bytes, &block, x->sum, bytes + STREAM_BLOCK);
    return give(x, bytes, sizeof bytes);
}
