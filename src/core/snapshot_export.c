/* snapshot_export.c - what layers hold, block by block, to a stream.
 *
 * A layer's keys are taken in batches, as it tells them, and each batch is read at once: the layer may be a server.  What is read is
 * judged as any read would judge it: what is banned, suspect or over is passed over.  The nearest layer comes first, and of a
 * key that several hold the first one found good is written: their hashes are remembered. */
#include <stdio.h>
#include <string.h>

#include "src/core/snapshot_impl.h"
#include "src/layer/entry_notes.h"

enum { BATCH = 128, SEEN_FIRST = 1024, FASTEST = 1 };

#define WHERE "snapshot"

/* A key that the layer has told, on its way to be read. */
struct asked {
    strata_op op;
    strata_error words;
    strata *handle;
    size_t at, size, plain_size; /* its storage key, in keys */
    uint64_t seen_as;
};

struct export
{
    struct snapshot_call call;
    strata_snapshot_write write;
    void *ctx;
    int rc; /* what ends it */
    int stop;
    struct layer_slot *slot; /* the layer that is told */
    /* The batch. */
    size_t count;
    struct asked *asked; /* BATCH of them */
    unsigned char *keys;
    size_t keys_used, keys_room;
    struct driver driver;
    /* The block. */
    uint8_t *raw, *packed; /* behind room for the block's head, each */
    size_t raw_used, raw_room, packed_room;
    uint32_t block_entries;
    uint64_t sum, raw_bytes;
    int packs;
    struct compressor compressor;
    /* Hashes of the keys that were written; NULL: nobody tells a key twice. */
    uint64_t *seen;
    size_t seen_count, seen_room;
    int remembers;
};

static int fail_memory(struct export *x)
{
    return x->rc = strata__fail(x->call.err, STRATA_ENOMEM, WHERE, "no memory for the snapshot: free some");
}

/* Written before ---------------------------------------------------------------------------------------------------- */

static uint64_t *seen_place(uint64_t *seen, size_t room, uint64_t hash)
{
    size_t at = (size_t)hash & (room - 1);
    while (seen[at] != 0 && seen[at] != hash)
        at = (at + 1) & (room - 1);
    return &seen[at];
}

static int seen_grow(struct export *x)
{
    size_t room = x->seen_room != 0 ? x->seen_room * 2 : SEEN_FIRST;
    uint64_t *more = strata__alloc_zero(x->call.root->mem, room * sizeof *more);
    if (more == NULL)
        return 0;
    for (size_t i = 0; i < x->seen_room; i++)
        if (x->seen[i] != 0)
            *seen_place(more, room, x->seen[i]) = x->seen[i];
    strata__free(x->call.root->mem, x->seen);
    x->seen = more;
    x->seen_room = room;
    return 1;
}

static int was_seen(const struct export *x, uint64_t hash)
{
    return x->seen_count != 0 && *seen_place(x->seen, x->seen_room, hash) != 0;
}

static int note_seen(struct export *x, uint64_t hash)
{
    if (!x->remembers)
        return STRATA_OK;
    if (x->seen_count * 2 >= x->seen_room && !seen_grow(x))
        return fail_memory(x);
    *seen_place(x->seen, x->seen_room, hash) = hash;
    x->seen_count++;
    return STRATA_OK;
}

/* Blocks ------------------------------------------------------------------------------------------------------------ */

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
    if (x->block_entries == 0)
        return STRATA_OK;
    struct stream_block block = { .kind = STREAM_ENTRIES,
                                  .raw_size = (uint32_t)x->raw_used,
                                  .stored_size = (uint32_t)x->raw_used,
                                  .entries = x->block_entries };
    uint8_t *out = x->raw;
    size_t worth = x->raw_used - x->raw_used * 15 / 100, packed = 0;
    if (x->packs) {
        if (!room_to_pack(x, worth))
            return fail_memory(x);
        int rc = strata__compress(&x->compressor, COMPRESS_ZSTD, (int)x->call.options.compression_level,
                                  x->raw + STREAM_BLOCK, x->raw_used, x->packed + STREAM_BLOCK, worth, &packed);
        if (rc == STRATA_OK) {
            out = x->packed;
            block.compression = COMPRESS_ZSTD;
            block.stored_size = (uint32_t)packed;
        } else if (rc < 0) {
            return fail_memory(x);
        }
    }
    strata__stream_block_write(out, &block, x->sum, out + STREAM_BLOCK);
    x->sum = block.sum;
    x->raw_bytes += x->raw_used;
    x->raw_used = 0;
    x->block_entries = 0;
    if (give(x, out, STREAM_BLOCK + block.stored_size) != STRATA_OK)
        return x->rc;
    return x->rc = strata__snapshot_progress(&x->call);
}

static int room_for_entry(struct export *x, size_t size)
{
    if (x->block_entries != 0 && x->raw_used + size > STREAM_BLOCK_BYTES && flush_block(x) != STRATA_OK)
        return x->rc;
    if (x->raw_used + size <= x->raw_room)
        return STRATA_OK;
    size_t room = size > STREAM_BLOCK_BYTES ? size : STREAM_BLOCK_BYTES;
    strata__free(x->call.root->mem, x->raw); /* it is empty */
    x->raw = strata__alloc(x->call.root->mem, STREAM_BLOCK + room);
    x->raw_room = x->raw != NULL ? room : 0;
    return x->raw != NULL ? STRATA_OK : fail_memory(x);
}

static int begin_stream(struct export *x)
{
    uint8_t bytes[STREAM_HEAD];
    struct stream_head head = { .life = x->call.root->life,
                                .written_wall_ms = x->call.begun_wall_ms,
                                .position = atomic_load(&x->call.root->position) };
    strata__stream_head_write(bytes, &head);
    x->sum = head.sum;
    return give(x, bytes, sizeof bytes);
}

static int end_stream(struct export *x)
{
    uint8_t bytes[STREAM_BLOCK + STREAM_END];
    struct stream_block block = { .kind = STREAM_LAST, .raw_size = STREAM_END, .stored_size = STREAM_END };
    if (flush_block(x) != STRATA_OK)
        return x->rc;
    strata__stream_end_write(bytes + STREAM_BLOCK, x->call.report.entries, x->raw_bytes);
    strata__stream_block_write(bytes, &block, x->sum, bytes + STREAM_BLOCK);
    return give(x, bytes, sizeof bytes);
}

/* Entries ----------------------------------------------------------------------------------------------------------- */

static void fill_envelope(struct export *x, struct envelope *e, const struct held *held, strata_value *bytes)
{
    struct root *root = x->call.root;
    strata_meta meta = held->meta;
    if (meta.born_wall_ms == 0)
        meta.born_wall_ms = ex_wall_ms(root->ex) - (ex_now_ms(root->ex) - meta.born_ms);
    meta.version = 0; /* of one store */
    meta.retry_at_ms = 0;
    strata__envelope_from_meta(e, &meta);
    strata__entry_notes_pack(held->tags, meta.tag_count, e);
    if (!meta.negative)
        e->payload = strata_bytes(strata_value_data(bytes), strata_value_size(bytes));
}

static int write_entry(struct export *x, const struct asked *a, const struct held *held, strata_value *bytes)
{
    struct stream_entry entry = { .key = strata_bytes(x->keys + a->at, a->size) };
    fill_envelope(x, &entry.envelope, held, bytes);
    uint64_t counts = a->size + entry.envelope.payload.size;
    if (!strata__snapshot_room(&x->call, counts)) {
        x->stop = 1;
        return STRATA_OK;
    }
    size_t size = strata__stream_entry_size(&entry);
    if (size > STREAM_MOST) {
        x->call.report.refused++;
        return STRATA_OK;
    }
    if (room_for_entry(x, size) != STRATA_OK || note_seen(x, a->seen_as) != STRATA_OK)
        return x->rc;
    x->raw_used += strata__stream_entry_write(x->raw + STREAM_BLOCK + x->raw_used, &entry);
    x->block_entries++;
    x->call.report.entries++;
    x->call.report.bytes += counts;
    return STRATA_OK;
}

/* Objects become bytes. */
static int write_held(struct export *x, const struct asked *a, const struct held *held)
{
    strata_value *encoded = NULL;
    if (held->value != NULL && held->value->object != NULL) {
        int rc = strata__encode(x->call.root, held->value, &encoded);
        if (rc == STRATA_ENOMEM)
            return fail_memory(x);
        if (rc != STRATA_OK) {
            x->call.report.failed++;
            return STRATA_OK;
        }
    }
    int rc = write_entry(x, a, held, encoded != NULL ? encoded : held->value);
    strata_value_unref(encoded);
    return rc;
}

static int is_too_old(const struct export *x, const struct held *held, int64_t now)
{
    const int64_t most = x->call.options.max_age_ms;
    return held->d.gone_at <= now || (most > 0 && now - held->meta.born_ms > most);
}

/* What the layer has answered. */
static int take_answer(struct export *x, struct asked *a)
{
    struct held held = { 0 };
    strata_op *op = &a->op;
    if (op->status < 0) {
        const char *why = a->words.message[0] != 0 ? a->words.message : strata_status_text(op->status);
        x->call.report.failed++;
        return x->rc = strata__fail(x->call.err, STRATA_ELAYER, x->slot->layer->name, "layer \"%s\" failed: %s",
                                    x->slot->layer->name, why);
    }
    if (!strata__op_found(op))
        return STRATA_OK; /* gone, or damaged, meanwhile */
    uint32_t codec = op->meta.codec;
    if (!strata__held_init(a->handle, x->slot, op, &held)) {
        int other = codec != 0 && (x->call.root->codec == NULL || x->call.root->codec->id != codec);
        *(other ? &x->call.report.failed : &x->call.report.banned) += 1;
        return STRATA_OK;
    }
    int rc = STRATA_OK;
    if (held.suspect != SUSPECT_NOT)
        x->call.report.suspect++;
    else if (is_too_old(x, &held, ex_now_ms(x->call.root->ex)))
        x->call.report.expired++;
    else
        rc = write_held(x, a, &held);
    strata__held_drop(&held);
    return rc;
}

/* Batches ----------------------------------------------------------------------------------------------------------- */

static void nothing(void *ctx) { (void)ctx; }

static void asked_done(strata_op *op)
{
    struct export *x = op->owner;
    strata__driver_done(&x->driver, nothing, NULL);
}

static void ask_slow(struct export *x)
{
    strata_op *ops[BATCH];
    strata__driver_init(&x->driver, x->call.root->ex, 0);
    x->driver.left = x->count;
    for (size_t i = 0; i < x->count; i++) {
        ops[i] = &x->asked[i].op;
        ops[i]->done = asked_done;
        ops[i]->owner = x;
    }
    x->slot->layer->ops->submit(x->slot->layer, ops, x->count);
    for (;;) {
        key_mutex_lock(&x->driver.lock);
        size_t left = x->driver.left;
        key_mutex_unlock(&x->driver.lock);
        if (left == 0)
            break;
        strata__driver_step(&x->driver, INT64_MAX);
    }
    strata__driver_deinit(&x->driver);
}

/* Read the batch, and write what of it is good. */
static void flush_batch(struct export *x)
{
    int64_t now = ex_now_ms(x->call.root->ex);
    for (size_t i = 0; i < x->count; i++) {
        struct asked *a = &x->asked[i];
        strata_slice storage = strata_bytes(x->keys + a->at, a->size);
        struct key_forms key = { .storage = storage,
                                 .plain = strata_bytes(x->keys + a->at + a->size - a->plain_size, a->plain_size) };
        key.hash = handle_hash(a->handle, key.plain);
        op_init(&a->op, a->handle, x->slot, &key, STRATA_OP_GET, now, &a->words);
        if (slot_instant(x->slot))
            strata__instant_submit(x->slot, &a->op);
    }
    if (!slot_instant(x->slot) && x->count != 0)
        ask_slow(x);
    for (size_t i = 0; i < x->count; i++) {
        if (x->rc == STRATA_OK && !x->stop && !was_seen(x, x->asked[i].seen_as))
            take_answer(x, &x->asked[i]);
        op_drop(&x->asked[i].op);
    }
    x->count = 0;
    x->keys_used = 0;
}

static int room_for_key(struct export *x, size_t size)
{
    if (x->keys_used + size <= x->keys_room)
        return 1;
    size_t room = (x->keys_used + size) * 2;
    unsigned char *more = strata__realloc_array(x->call.root->mem, x->keys, room, 1);
    if (more == NULL)
        return 0;
    x->keys = more;
    x->keys_room = room;
    return 1;
}

/* The layer's key in full, behind the others: where its namespace is part of what is exported. */
static int take_key(struct export *x, uint32_t space, strata_slice key)
{
    strata *handle;
    strata_slice plain = key;
    int rc = STRATA_OK;
    if (x->slot->flags & STRATA_LAYER_SPACES) {
        key_mutex_lock(&x->call.root->tree_lock);
        handle = space < x->call.root->space_count ? x->call.root->spaces[space] : NULL;
        key_mutex_unlock(&x->call.root->tree_lock);
    } else {
        rc = strata__snapshot_space(&x->call, key, &handle, &plain);
    }
    if (rc < 0)
        return x->rc = rc;
    if (handle == NULL || plain.size == 0) {
        x->call.report.not_open++;
        return STRATA_OK;
    }
    if (!handle_within(handle, x->call.cache))
        return STRATA_OK;
    size_t size = strata__storage_size(handle, plain);
    if (!room_for_key(x, size))
        return fail_memory(x);
    struct asked *a = &x->asked[x->count++];
    *a = (struct asked){ .handle = handle, .at = x->keys_used, .size = size, .plain_size = plain.size };
    strata__storage_write(handle, plain, x->keys + a->at);
    a->seen_as = strata__key_hash(x->call.root->seed, 0, strata_bytes(x->keys + a->at, size));
    a->seen_as += a->seen_as == 0;
    x->keys_used += size;
    return STRATA_OK;
}

static int each_key(uint32_t space, strata_slice key, void *ctx)
{
    struct export *x = ctx;
    take_key(x, space, key);
    if (x->count == BATCH)
        flush_batch(x);
    return x->rc != STRATA_OK || x->stop;
}

static int export_layer(struct export *x, struct layer_slot *slot)
{
    strata_error words = STRATA_ERROR_INIT;
    x->slot = slot;
    int rc = slot->layer->ops->keys(slot->layer, each_key, x, &words);
    if (x->rc == STRATA_OK && rc < 0)
        x->rc = strata__fail(x->call.err, rc == STRATA_ENOMEM ? rc : STRATA_ELAYER, slot->layer->name,
                             "layer \"%s\" could not list its keys: %s", slot->layer->name,
                             words.message[0] != 0 ? words.message : strata_status_text(rc));
    if (x->rc == STRATA_OK && !x->stop)
        flush_batch(x);
    x->count = 0;
    return x->rc;
}

/* The whole --------------------------------------------------------------------------------------------------------- */

static int is_wanted(const struct export *x, const struct layer_slot *slot)
{
    return x->call.options.layer == NULL || strcmp(x->call.options.layer, slot->layer->name) == 0;
}

static int check_layers(struct export *x)
{
    struct root *root = x->call.root;
    size_t wanted = 0;
    for (size_t i = 0; i < root->layer_count; i++) {
        struct layer_slot *slot = &root->layers[i];
        if (!is_wanted(x, slot))
            continue;
        if (slot->layer->ops->keys == NULL)
            return x->rc = strata__fail(x->call.err, STRATA_EUNSUPPORTED, slot->layer->name,
                                        "layer \"%s\" can't list its keys: name one that can in `layer`",
                                        slot->layer->name);
        x->remembers |= wanted != 0 || (slot->flags & STRATA_LAYER_SHARED) != 0; /* a server may tell a key twice */
        wanted++;
    }
    if (wanted == 0)
        return x->rc = strata__fail(x->call.err, STRATA_EINVAL, "layer", "no layer of this cache is called \"%.64s\"",
                                    x->call.options.layer);
    x->remembers |= wanted > 1;
    return STRATA_OK;
}

static int prepare(struct export *x)
{
    strata_snapshot_options *o = &x->call.options;
    strata__compressor_init(&x->compressor, x->call.root->mem);
    x->packs = o->compression != STRATA_OFF && strata__compress_check(COMPRESS_ZSTD, 0, NULL) == STRATA_OK;
    if (o->compression == STRATA_ON && !x->packs)
        return x->rc = strata__compress_check(COMPRESS_ZSTD, 0, x->call.err);
    if (o->compression_level == 0)
        o->compression_level = FASTEST;
    x->asked = strata__alloc_array(x->call.root->mem, BATCH, sizeof *x->asked);
    if (x->asked == NULL)
        return fail_memory(x);
    return check_layers(x);
}

static void give_back(struct export *x)
{
    const strata_allocator *mem = x->call.root->mem;
    strata__compressor_deinit(&x->compressor);
    strata__free(mem, x->asked);
    strata__free(mem, x->keys);
    strata__free(mem, x->raw);
    strata__free(mem, x->packed);
    strata__free(mem, x->seen);
}

int strata_snapshot_export(strata *cache, const strata_snapshot_options *options, strata_snapshot_write write,
                           void *ctx, strata_snapshot_report *out_report, strata_error *err)
{
    if (cache == NULL || write == NULL)
        return strata__no_argument(err, "strata_snapshot_export() needs a cache and a function that takes the bytes");
    struct export x = { .write = write, .ctx = ctx };
    int rc = strata__snapshot_begin(&x.call, cache, options, out_report, err);
    if (rc != STRATA_OK)
        return rc;
    if (prepare(&x) == STRATA_OK)
        begin_stream(&x);
    for (size_t i = 0; i < x.call.root->layer_count && x.rc == STRATA_OK && !x.stop; i++)
        if (is_wanted(&x, &x.call.root->layers[i]))
            export_layer(&x, &x.call.root->layers[i]);
    if (x.rc == STRATA_OK)
        end_stream(&x);
    give_back(&x);
    return strata__snapshot_end(&x.call, out_report, x.rc);
}
