/* snapshot_export.c - what layers hold, block by block, to a stream.
 *
 * A layer's keys are taken in batches, as it tells them, and each batch is read at once: the layer may be a server.  What is read is
 * judged as any read would judge it: what is banned, suspect or over is passed over.  The nearest layer comes first, and of a
 * key that several hold the first one found good is written: their hashes are remembered. */
#include <stdio.h>
#include <string.h>

#include "src/core/snapshot_export_impl.h"
#include "src/layer/entry_notes.h"

enum { SEEN_FIRST = 1024, FASTEST = 1 };

#define WHERE "snapshot"

int strata__export_no_memory(struct export *x)
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

int strata__export_note_seen(struct export *x, uint64_t hash)
{
    if (!x->remembers)
        return STRATA_OK;
    if (x->seen_count * 2 >= x->seen_room && !seen_grow(x))
        return strata__export_no_memory(x);
    *seen_place(x->seen, x->seen_room, hash) = hash;
    x->seen_count++;
    return STRATA_OK;
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
    if (strata__export_room(x, size) != STRATA_OK || strata__export_note_seen(x, a->seen_as) != STRATA_OK)
        return x->rc;
    struct export_block *b = &x->block;
    b->used += strata__stream_entry_write(b->bytes + STREAM_BLOCK + b->used, &entry);
    b->entries++;
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
            return strata__export_no_memory(x);
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
    strata_op *ops[EXPORT_BATCH];
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

void strata__export_take_answers(struct export *x)
{
    for (size_t i = 0; i < x->count; i++) {
        if (x->rc == STRATA_OK && !x->stop && !was_seen(x, x->asked[i].seen_as))
            take_answer(x, &x->asked[i]);
        op_drop(&x->asked[i].op);
    }
    x->count = 0;
    x->keys_used = 0;
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
    strata__export_take_answers(x);
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
struct asked *strata__export_asked(struct export *x, strata *handle, strata_slice plain)
{
    if (handle == NULL || plain.size == 0) {
        x->call.report.not_open++;
        return NULL;
    }
    if (!handle_within(handle, x->call.cache))
        return NULL;
    size_t size = strata__storage_size(handle, plain);
    if (!room_for_key(x, size)) {
        strata__export_no_memory(x);
        return NULL;
    }
    struct asked *a = &x->asked[x->count++];
    *a = (struct asked){ .handle = handle, .at = x->keys_used, .size = size, .plain_size = plain.size };
    strata__storage_write(handle, plain, x->keys + a->at);
    a->seen_as = strata__key_hash(x->call.root->seed, 0, strata_bytes(x->keys + a->at, size));
    a->seen_as += a->seen_as == 0;
    x->keys_used += size;
    return a;
}

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
    (void)strata__export_asked(x, handle, plain);
    return x->rc;
}

static int each_key(uint32_t space, strata_slice key, void *ctx)
{
    struct export *x = ctx;
    take_key(x, space, key);
    if (x->count == EXPORT_BATCH)
        flush_batch(x);
    return x->rc != STRATA_OK || x->stop;
}

static int export_layer(struct export *x, struct layer_slot *slot)
{
    strata_error words = STRATA_ERROR_INIT;
    x->slot = slot;
    if (strata__export_can_scan(slot))
        return strata__export_scan(x);
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
        if (slot->layer->ops->keys == NULL && !strata__export_can_scan(slot))
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
    x->asked = strata__alloc_array(x->call.root->mem, EXPORT_BATCH, sizeof *x->asked);
    if (x->asked == NULL)
        return strata__export_no_memory(x);
    return check_layers(x);
}

static void give_back(struct export *x)
{
    const strata_allocator *mem = x->call.root->mem;
    strata__compressor_deinit(&x->compressor);
    strata__free(mem, x->asked);
    strata__free(mem, x->keys);
    strata__export_blocks_free(x);
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
        strata__export_begin(&x);
    for (size_t i = 0; i < x.call.root->layer_count && x.rc == STRATA_OK && !x.stop; i++)
        if (is_wanted(&x, &x.call.root->layers[i]))
            export_layer(&x, &x.call.root->layers[i]);
    if (x.rc == STRATA_OK)
        strata__export_end(&x);
    give_back(&x);
    return strata__snapshot_end(&x.call, out_report, x.rc);
}
