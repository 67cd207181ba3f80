/* coherence_take.c - what becomes of what instant layers of this node hold when another node has written the key.
 *
 * A delete takes it away.  After a set it is old, and every node would ask for the new value with its next read, all at once.  So a small
 * value travels in the message, and replaces an older version of it that is held here; it is judged as one that was found in the
 * shared store, and only while this node is trusted.  It is put nowhere else: who holds nothing, or something else than an older version in the same
 * life of the store, can't tell whether a delete came between.
 *
 * Where no value came, what is held turns stale for a moment, and is asked for anew once, after a random part of spread_ms.  Nothing of this
 * makes anything fresh for longer than it was. */
#include <string.h>

#include "src/core/coherence_impl.h"
#include "src/core/op_put.h"
#include "src/core/write.h"
#include "src/format/envelope.h"

enum { STALE_TIMES = 10 };

/* What a shared store may hold sealed alone does not lie open in messages, nor is it taken from there. */
static int is_sealed(const struct root *root)
{
    int sealed = 0;
    for (size_t i = 0; i < root->layer_count; i++)
        sealed |= (root->layers[i].flags & STRATA_LAYER_SHARED) && (root->layers[i].flags & STRATA__LAYER_SEALS);
    return sealed;
}

/* Sending ---------------------------------------------------------------------------------------------------------- */

unsigned char *strata__prime_write(const struct write *w, struct bus_item *item)
{
    const struct coherence *c = w->root->coherence;
    struct envelope e;
    if (item->kind != BUS_ITEM_SET || w->kind != STRATA_OP_PUT || w->status < 0 || w->value == NULL ||
        item->version == 0 || item->store_life == 0 || c->prime_most == 0 || is_sealed(w->root))
        return NULL;
    const strata_value *value = w->value->object == NULL ? w->value : w->encoded;
    if (value == NULL || value->size > c->prime_most || w->meta.tag_count > c->prime_most / sizeof(uint64_t))
        return NULL;
    strata__envelope_from_meta(&e, &w->meta);
    e.version = item->version;
    e.life = e.position = 0;
    e.retry_at_ms = 0;
    e.born_ms = ex_now_ms(w->root->ex) - w->meta.born_ms;
    e.tag_count = w->tags != NULL ? w->meta.tag_count : 0;
    e.tag_ids = w->tags != NULL ? w->tags->data : NULL;
    e.payload = strata_bytes(value->data, value->size);
    size_t head = strata__envelope_size(&e);
    unsigned char *bytes = strata__alloc(w->root->mem, head + value->size);
    if (bytes == NULL)
        return NULL;
    strata__envelope_write(&e, bytes);
    if (value->size != 0)
        memcpy(bytes + head, value->data, value->size);
    item->kind = BUS_ITEM_VALUE;
    item->envelope = strata_bytes(bytes, head + value->size);
    return bytes;
}

/* Taking --------------------------------------------------------------------------------------------------------- */

static int is_trusted(struct coherence *c, int64_t now)
{
    key_mutex_lock(&c->lock);
    int trusted = c->proven != NEVER && c->proven + c->trust_ms > now;
    key_mutex_unlock(&c->lock);
    return trusted;
}

/* Where it would be found if it was read. */
static struct layer_slot *shared_slot(struct root *root)
{
    for (size_t i = 0; i < root->layer_count; i++)
        if (root->layers[i].flags & STRATA_LAYER_SHARED)
            return &root->layers[i];
    return NULL;
}

/* 0: no memory, or they are no numbers. */
static int take_tags(strata_op *op, const struct envelope *e)
{
    void *room;
    if (e->tag_count == 0)
        return 1;
    if (e->tag_count > STRATA_TAGS_MAX)
        return 0;
    op->tags = strata__value_new(op->mem, (size_t)e->tag_count * sizeof(uint64_t), &room);
    return op->tags != NULL && strata__envelope_tag_ids(e, room);
}

int strata__prime_read(strata *handle, const struct key_forms *key, const struct bus_item *item, struct held *out)
{
    struct root *root = handle->root;
    struct coherence *c = root->coherence;
    struct layer_slot *slot = shared_slot(root);
    int64_t now = ex_now_ms(root->ex);
    strata_error words;
    struct envelope e;
    strata_op op;
    if (slot == NULL || c->prime_most == 0 || root->reads_back || is_sealed(root) || !is_trusted(c, now) ||
        item->version == 0 || item->store_life == 0 ||
        strata__envelope_read(&e, item->envelope.data, item->envelope.size) != FORMAT_OK ||
        e.compression != COMPRESS_NONE || (e.flags & ENVELOPE_NEGATIVE) || e.payload.size > c->prime_most ||
        e.born_ms < 0)
        return 0;
    op_init(&op, handle, slot, key, STRATA_OP_GET, now, &words);
    uint32_t position = op.meta.position;
    strata__envelope_to_meta(&op.meta, &e);
    op.meta.life = 0;
    op.meta.position = position;
    op.meta.retry_at_ms = 0;
    op.meta.version = item->version;
    op.meta.store_life = item->store_life;
    int64_t wall;
    if (__builtin_sub_overflow(now, e.born_ms, &op.meta.born_ms) ||
        __builtin_sub_overflow(ex_wall_ms(root->ex), e.born_ms, &wall))
        return 0;
    /* A message may have been under way for long: bans that have no place in the store's list are compared with the sender's word. */
    if (wall < op.meta.born_wall_ms)
        op.meta.born_wall_ms = wall;
    op.found = strata__value_copy(op.mem, e.payload.data, e.payload.size);
    op.status = STRATA_OK;
    if (op.found == NULL || !take_tags(&op, &e)) {
        op_drop(&op);
        return 0;
    }
    if (!strata__held_init(handle, slot, &op, out))
        return 0;
    if (strata__is_fresh(&out->meta, out->meta.born_ms, now))
        return 1;
    strata__held_drop(out);
    return 0;
}

static int put_locked(strata *handle, struct layer_slot *slot, const struct key_forms *key, const int64_t *layer_ttls,
                      const strata_meta *meta, strata_value *value, strata_value *tags)
{
    strata_error words;
    strata_op op;
    op_init(&op, handle, slot, key, STRATA_OP_PUT, ex_now_ms(handle->root->ex), &words);
    op.value = value;
    op_put(&op, slot, layer_ttls, meta, tags);
    op_resides(&op, slot, handle->policy.resident);
    strata__instant_submit(slot, &op);
    return op.status == STRATA_OK;
}

static int takes(const struct held *held, const struct change *change)
{
    return change->primed != NULL && held->suspect == SUSPECT_NOT && held->meta.version != 0 &&
           held->meta.version < change->version && held->meta.store_life == change->store_life;
}

/* Stale from now on, and not for long; what was stale already stays so for no longer than that.  It has no version any more: of what
 * comes late nobody may say that it is newer than this, for it may be older than what has replaced this.  0: it goes. */
static int soften_locked(strata *handle, struct layer_slot *slot, const struct key_forms *key, const struct held *held)
{
    struct root *root = handle->root;
    const struct coherence *c = root->coherence;
    int64_t now = ex_now_ms(root->ex);
    if (c->spread_ms <= 0 || held->meta.negative || held->suspect != SUSPECT_NOT)
        return 0;
    int64_t most = STALE_TIMES * c->spread_ms < c->suspect_ms ? STALE_TIMES * c->spread_ms : c->suspect_ms;
    int state = strata__freshness_state(&held->d, now);
    strata_meta meta = held->meta;
    if (held->d.gone_at < INT64_MAX && held->d.gone_at - now < most)
        most = held->d.gone_at - now; /* nothing is held for longer than it was */
    meta.version = 0;
    meta.store_life = 0;
    if (state == STRATA_STATE_FRESH || state == STRATA_STATE_EARLY) {
        strata__deadlines_cap(&meta, meta.born_ms, now);
        meta.stale_ms = most;
        meta.early_ms = meta.error_ms = meta.keep_ms = 0;
        meta.retry_at_ms = now + 1 + (int64_t)(ex_random(root->ex) % (uint64_t)c->spread_ms);
    } else if (state == STRATA_STATE_STALE) {
        strata__deadlines_cap(&meta, meta.born_ms, now + most);
    } else {
        return 0;
    }
    return put_locked(handle, slot, key, NULL, &meta, held->value, held->tags);
}

int strata__is_replaced(struct root *root, const struct held *held)
{
    const struct coherence *c = root->coherence;
    const strata_meta *meta = &held->meta;
    return c != NULL && c->spread_ms > 0 && meta->retry_at_ms != 0 && held->d.retry_at <= ex_now_ms(root->ex) &&
           meta->error_ms == 0 && meta->keep_ms == 0 && meta->stale_ms <= STALE_TIMES * c->spread_ms;
}

static int update_locked(strata *handle, struct layer_slot *slot, const struct key_forms *key, strata_op *found,
                         const struct change *change)
{
    struct held held;
    if (!strata__held_init(handle, slot, found, &held))
        return 0;
    const struct held *new = change->primed;
    int done = takes(&held, change)
                   ? put_locked(handle, slot, key, handle->policy.layer_ttl_ms, &new->meta, new->value, new->tags)
                   : soften_locked(handle, slot, key, &held);
    strata__held_drop(&held);
    return done;
}

void strata__change_instant_locked(strata *handle, struct layer_slot *slot, const struct key_forms *key,
                                   const struct change *change)
{
    strata_error words;
    strata_op op;
    if (change->version != 0 || change->is_update) {
        op_init(&op, handle, slot, key, STRATA_OP_GET, ex_now_ms(handle->root->ex), &words);
        strata__instant_submit(slot, &op);
        int found = strata__op_found(&op);
        if (found && change_made(change, op.meta.version, op.meta.store_life)) {
            op_drop(&op);
            return;
        }
        if (!found || !change->is_update)
            op_drop(&op);
        else if (update_locked(handle, slot, key, &op, change))
            return;
    }
    op_init(&op, handle, slot, key, STRATA_OP_REMOVE, ex_now_ms(handle->root->ex), &words);
    strata__instant_submit(slot, &op);
}
