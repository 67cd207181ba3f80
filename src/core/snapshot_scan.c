/* snapshot_scan.c - the short way of an export: a layer tells its entries itself, and the usual ones go straight into the block.
 *
 * While it tells, the layer's reclamation waits, and who holds a lock may wait for that: so no lock is taken then, no user called, and
 * nothing done that takes long.  What is large, or needs a
 * second thought (tags, bans, windows, a codec), is gathered and looked at after the piece, as an answer of the general way; and where
 * the block becomes full, the next one is begun. */
#include "src/core/snapshot_export_impl.h"

/* A piece fits the block that is begun, and the next. */
enum { PIECE = 64, SMALL = 4096 };
static_assert((int)PIECE <= (int)EXPORT_BATCH && PIECE * SMALL <= (int)STREAM_BLOCK_BYTES,
              "what a piece tells has room");

struct scan {
    strata_scan scan;
    struct export *x;
    int64_t now;
    uint32_t position; /* bans up to here are in the lines */
    strata **spaces;   /* root->spaces, as far as it went when the piece began */
    uint32_t known, room;
};

int strata__export_can_scan(const struct layer_slot *slot)
{
    const strata_layer_ops *ops = slot->layer->ops;
    return ops->size >= offsetof(strata_layer_ops, scan) + sizeof ops->scan && ops->scan != NULL &&
           slot_instant(slot) && (slot->flags & STRATA_LAYER_SPACES) != 0;
}

/* What an answer to a GET would be; it is the export's now. */
static void defer(struct scan *s, strata *handle, strata_op *op)
{
    struct export *x = s->x;
    struct asked *a = strata__export_asked(x, handle, op->key);
    strata_value *found = op->found;
    if (a != NULL && found != NULL && found->kind == STRATA__VALUE_LENT) {
        found = strata__value_copy(x->call.root->mem, found->data, found->size);
        if (found == NULL)
            strata__export_no_memory(x);
    }
    if (a == NULL) {
        op_drop(op);
        return;
    }
    a->op = *op;
    a->op.found = found;
    a->op.err = &a->words;
    a->op.now_ms = s->now;
}

/* Keys that came after them may have moved theirs. */
static void find_keys(struct export *x)
{
    for (size_t i = 0; i < x->count; i++) {
        struct asked *a = &x->asked[i];
        a->op.key = strata_bytes(x->keys + a->at + a->size - a->plain_size, a->plain_size);
    }
}

/* It is good as it stands, and small: 1 when it is written. */
static int write_now(struct scan *s, strata *handle, const strata_op *op)
{
    struct export *x = s->x;
    struct root *root = x->call.root;
    const int64_t most = x->call.options.max_age_ms;
    size_t key = strata__storage_size(handle, op->key), value = op->found != NULL ? op->found->size : 0;
    if (x->remembers || op->found == NULL || op->found->object != NULL || op->meta.life != root->life ||
        !strata__held_is_plain(handle, x->slot, op, s->now) || (most > 0 && s->now - op->meta.born_ms > most) ||
        key + value > SMALL - STREAM_PLAIN_MOST)
        return 0;
    if (!strata__snapshot_room(&x->call, key + value)) {
        x->stop = 1;
        return 1;
    }
    unsigned char name[SMALL];
    struct stream_entry entry = { .key = strata_bytes(name, key) };
    strata_meta meta = op->meta;
    strata__storage_write(handle, op->key, name);
    meta.version = 0;
    meta.retry_at_ms = 0;
    if (meta.position < s->position)
        meta.position = s->position;
    strata__envelope_from_meta(&entry.envelope, &meta);
    entry.envelope.payload = strata_bytes(op->found->data, value);
    struct export_block *b = x->next.entries != 0 || x->block.used + SMALL > STREAM_BLOCK_BYTES ? &x->next : &x->block;
    b->used += strata__stream_plain_write(b->bytes + STREAM_BLOCK + b->used, &entry);
    b->entries++;
    x->call.report.entries++;
    x->call.report.bytes += key + value;
    return 1;
}

static void each_entry(strata_scan *scan, strata_op *op)
{
    struct scan *s = (struct scan *)(void *)scan;
    struct export *x = s->x;
    strata *handle = op->space < s->known ? s->spaces[op->space] : NULL; /* one that is newer: it was written since */
    if (handle == NULL || x->rc != STRATA_OK || x->stop || !handle_within(handle, x->call.cache) ||
        write_now(s, handle, op))
        op_drop(op);
    else
        defer(s, handle, op);
}

/* Namespaces that are open now.  Their handles stay as long as the cache is. */
static int know_spaces(struct scan *s)
{
    struct root *root = s->x->call.root;
    for (;;) {
        key_mutex_lock(&root->tree_lock);
        uint32_t count = root->space_count;
        if (count <= s->room) {
            memcpy(s->spaces + s->known, root->spaces + s->known, (count - s->known) * sizeof *s->spaces);
            s->known = count;
        }
        key_mutex_unlock(&root->tree_lock);
        if (count <= s->room)
            return STRATA_OK;
        strata **more = strata__realloc_array(root->mem, s->spaces, (size_t)count * 2, sizeof *more);
        if (more == NULL)
            return strata__export_no_memory(s->x);
        s->spaces = more;
        s->room = count * 2;
    }
}

/* What may not be waited for in a piece is made ready before. */
static int get_ready(struct scan *s)
{
    struct export *x = s->x;
    s->position = atomic_load_explicit(&x->call.root->position, memory_order_acquire);
    s->now = ex_now_ms(x->call.root->ex);
    if (x->block.entries == 0 && strata__export_block_ready(x, &x->block) != STRATA_OK)
        return x->rc;
    return strata__export_block_ready(x, &x->next) == STRATA_OK ? know_spaces(s) : x->rc;
}

int strata__export_scan(struct export *x)
{
    struct scan s = { .scan = { .size = sizeof s.scan, .most = PIECE, .each = each_entry }, .x = x };
    strata_layer *layer = x->slot->layer;
    strata_error words = STRATA_ERROR_INIT;
    int rc = 0;
    while (rc == 0 && x->rc == STRATA_OK && !x->stop && get_ready(&s) == STRATA_OK) {
        rc = layer->ops->scan(layer, &s.scan, &words);
        if (x->rc == STRATA_OK)
            strata__export_turn(x);
        find_keys(x);
        strata__export_take_answers(x);
    }
    strata__free(x->call.root->mem, s.spaces);
    if (x->rc == STRATA_OK && rc < 0)
        x->rc = strata__fail(x->call.err, rc == STRATA_ENOMEM ? rc : STRATA_ELAYER, layer->name,
                             "layer \"%s\" could not tell its entries: %s", layer->name, strata_status_text(rc));
    return x->rc;
}
