/* coherence_apply.c - what others have invalidated: carried out in the layers of this node alone.
 *
 * Who wrote has told the shared stores before it published, so those are never touched here: a peer's message can't undo a newer write.
 * Under the key lock the flights of the key are poisoned, writes of our own that are under way are told, and instant layers lose the key;
 * slower layers of this node lose it by a write of its own (struct write, `peer`), which reads and writes of the key wait for.
 *
 * An entry stays that has the very version that the message is about: it is what was written.  A version that is merely higher may be
 * of another life of the store, whose clock stood elsewhere. */
#include <string.h>

#include "src/core/bans.h"
#include "src/core/behind.h"
#include "src/core/coherence_impl.h"
#include "src/core/write.h"

enum { AT_ONCE = 64 };

/* One key -------------------------------------------------------------------------------------------------------- */

void strata__peer_drop_locked(strata *handle, struct stripe *s, const struct key_forms *key, const struct change *change)
{
    struct root *root = handle->root;
    strata__poison_locked(root, s, key->hash, handle->space, key->plain);
    if (strata__behind_peer_locked(handle, s, key, change))
        return; /* this node has set it since */
    strata__supersede_locked(s, key->hash, handle->space, key->plain, change->version);
    for (size_t i = root->layer_count; i-- > 0;) {
        struct layer_slot *slot = &root->layers[i];
        if (slot_instant(slot) && !(slot->flags & STRATA_LAYER_SHARED))
            strata__change_instant_locked(handle, slot, key, change);
    }
}

static int has_slow_local(const struct root *root)
{
    for (size_t i = 0; i < root->layer_count; i++)
        if (!(root->layers[i].flags & (STRATA_LAYER_INSTANT | STRATA_LAYER_SHARED)))
            return 1;
    return 0;
}

/* A batch of keys, each with its write where there is a slow layer to be told. */
struct batch {
    struct bus_slot *b;
    struct write *writes; /* AT_ONCE of them; NULL: there is no slow layer, or no memory */
    size_t count;
    int failed;
    unsigned char unopened[AT_ONCE]; /* of a write: its namespace was not open when it began */
};

/* The same again, of what was opened meanwhile: it may have read the key before slow layers lost it. */
static void run_again(struct batch *batch, struct write *w)
{
    struct root *root = batch->b->c->root;
    struct write again;
    strata_slice plain;
    strata *handle = strata__handle_of_storage(root, w->key.storage, &plain);
    if (handle == NULL)
        return;
    strata__write_begin(&again, handle, STRATA_OP_REMOVE);
    again.peer = 1;
    again.change = w->change;
    again.key = w->key;
    again.key.plain = plain;
    again.key.hash = handle_hash(handle, plain);
    strata__writes_drive(root, &again, 1);
    batch->failed |= again.status < 0;
}

static void run_batch(struct batch *batch)
{
    struct root *root = batch->b->c->root;
    if (batch->count != 0)
        strata__writes_drive(root, batch->writes, batch->count);
    for (size_t i = 0; i < batch->count; i++) {
        batch->failed |= batch->writes[i].status < 0;
        if (batch->unopened[i])
            run_again(batch, &batch->writes[i]);
        strata__free(root->mem, batch->writes[i].storage);
    }
    batch->count = 0;
}

static void one_slow_key(struct batch *batch, strata *handle, const struct key_forms *key, const struct change *change,
                         int unopened)
{
    struct root *root = handle->root;
    strata_slice storage = key->storage;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->writes[i].key.hash == key->hash) { /* the same key twice would wait for itself */
            run_batch(batch);
            break;
        }
    struct write *w = &batch->writes[batch->count];
    strata__write_begin(w, handle, STRATA_OP_REMOVE);
    w->peer = 1;
    w->change = *change;
    w->key = *key;
    w->storage = strata__alloc(root->mem, storage.size);
    if (w->storage == NULL) {
        batch->failed = 1;
        return;
    }
    memcpy(w->storage, storage.data, storage.size);
    w->key.storage = strata_bytes(w->storage, storage.size);
    w->key.plain = strata_bytes(w->storage + (storage.size - key->plain.size), key->plain.size);
    batch->unopened[batch->count] = (unsigned char)unopened;
    batch->count++;
    if (batch->count == AT_ONCE)
        run_batch(batch);
}

/* `item`: of a message, or NULL: perhaps with a value. */
static void one_key(struct batch *batch, strata_slice storage, struct change change, const struct bus_item *item)
{
    struct root *root = batch->b->c->root;
    struct key_forms key = { .storage = storage };
    strata *handle = strata__handle_of_storage(root, storage, &key.plain);
    struct held primed;
    int unopened = handle == NULL;
    atomic_fetch_add_explicit(&batch->b->applied, 1, memory_order_relaxed);
    strata__behind_saw_version(root, change.version, change.store_life);
    if (unopened) { /* a namespace that nothing was read from, in this life: a disk may have it from another one */
        if (batch->writes == NULL || storage.size == 0)
            return;
        handle = root->handle;
        key.plain = storage;
    }
    key.hash = handle_hash(handle, key.plain);
    if (!unopened && item != NULL && strata__prime_read(handle, &key, item, &primed))
        change.primed = &primed;
    if (batch->writes == NULL) {
        struct frame frame;
        struct stripe *s = stripe_lock(root, key.hash, &frame);
        strata__peer_drop_locked(handle, s, &key, &change);
        stripe_unlock(s, &frame);
    } else {
        one_slow_key(batch, handle, &key, &change, unopened);
        if (change.primed != NULL) /* it is here until then */
            run_batch(batch);
    }
    if (change.primed != NULL)
        strata__held_drop(&primed);
}

static int begin_batch(struct batch *batch, struct bus_slot *b)
{
    *batch = (struct batch){ .b = b };
    if (!has_slow_local(b->c->root))
        return 1;
    batch->writes = strata__alloc_array(b->c->root->mem, AT_ONCE, sizeof *batch->writes);
    return batch->writes != NULL;
}

/* What could not be carried out may still be here. */
static void end_batch(struct batch *batch)
{
    run_batch(batch);
    strata__free(batch->b->c->root->mem, batch->writes);
    if (batch->failed)
        strata__trust_lost(batch->b->c, batch->b, "an invalidation could not be carried out in a layer of this node");
}

/* A message ------------------------------------------------------------------------------------------------------ */

/* A ban of a peer's: as it says, or, where it can't be told, of its whole namespace. */
static void one_ban(struct batch *batch, const struct bus_item *item)
{
    struct root *root = batch->b->c->root;
    struct ban ban = { .kind = item->ban, .soft = item->soft, .path = item->key, .text = item->text };
    uint64_t *tags = NULL;
    run_batch(batch);
    atomic_fetch_add_explicit(&batch->b->applied, 1, memory_order_relaxed);
    if (item->tag_count != 0) {
        tags = strata__alloc_array(root->mem, item->tag_count, sizeof *tags);
        for (uint32_t i = 0; tags != NULL && i < item->tag_count; i++)
            tags[i] = strata__bus_item_tag(item, i);
        ban.tags = tags;
        ban.tag_count = tags != NULL ? item->tag_count : 0;
    }
    ban.store_position = item->version;
    if ((item->tag_count != 0 && tags == NULL) || strata__ban_apply(root, &ban) != STRATA_OK) {
        strata__clear_here(root, item->key);
        batch->failed = 1; /* what a disk holds may be served again after a restart */
    } else if (strata__ban_keep(root, &ban) < 0) {
        batch->failed = 1;
    }
    strata__free(root->mem, tags);
    if (ban.store_position != 0)
        strata__layers_heard(root, ban.store_position);
}

/* A whole namespace, open here or not. */
static void one_space(struct batch *batch, strata_slice prefix)
{
    run_batch(batch);
    atomic_fetch_add_explicit(&batch->b->applied, 1, memory_order_relaxed);
    batch->failed |= strata__clear_apply(batch->b->c->root, prefix) < 0;
}

static void obey(struct batch *batch, const struct bus_message *m, const struct bus_item *item)
{
    switch (item->kind) {
    case BUS_ITEM_DELETE:
    case BUS_ITEM_EXPIRE:
    case BUS_ITEM_SET:
    case BUS_ITEM_VALUE:
        one_key(batch, item->key,
                (struct change){ .version = item->version,
                                 .store_life = item->store_life,
                                 .is_update = item->kind == BUS_ITEM_SET || item->kind == BUS_ITEM_VALUE },
                item->kind == BUS_ITEM_VALUE ? item : NULL);
        return;
    case BUS_ITEM_CLEAR: one_space(batch, item->key); return;
    case BUS_ITEM_BAN: one_ban(batch, item); return;
    default: run_batch(batch); strata__peer_item(batch->b, m, item);
    }
}

/* It has come back.  Where all have one order, nothing before it is missing; elsewhere it shows that we can hear. */
static void own(struct bus_slot *b, const struct bus_message *m)
{
    struct bus_item item;
    size_t cursor = 0;
    key_mutex_lock(&b->c->lock);
    int proves = m->sequence > b->number_lost && m->sequence <= b->number;
    key_mutex_unlock(&b->c->lock);
    if (!proves)
        return;
    while (strata__bus_item_next(m, &cursor, &item)) {
        if (item.kind != BUS_ITEM_HEARTBEAT)
            continue;
        if (b->flags & STRATA_BUS_ORDERED)
            strata__trust_proven(b->c, b, item.sent_ms);
        else
            strata__peer_self(b, item.sent_ms);
    }
}

/* What it said, if it was of a node of ours, was not carried out: what is held is no better than with the bus away (on_beat(),
 * strata__trust_proven()).  What is no message at all, or is for others, changes nothing. */
static void reject(struct bus_slot *b, int verdict, const struct bus_message *m)
{
    if (verdict == BUS_MESSAGE_FORGED && m->channel != b->c->channel)
        return;
    if (verdict != FORMAT_FOREIGN) {
        key_mutex_lock(&b->c->lock);
        b->doubted_ms = ex_now_ms(b->c->root->ex);
        key_mutex_unlock(&b->c->lock);
        b->doubts = 1;
    }
    const char *why = verdict == BUS_MESSAGE_FORGED
                          ? "a message was not signed with our secret: give all nodes the same one"
                          : "a message was not understood, and not carried out";
    int64_t now = ex_now_ms(b->c->root->ex);
    atomic_fetch_add_explicit(&b->rejected, 1, memory_order_relaxed);
    if (b->told_ms != 0 && now + 1 - b->told_ms < 1000)
        return;
    b->told_ms = now + 1;
    strata__event_error(b->c->root->handle, strata_bytes(NULL, 0), b->bus->name, STRATA_EIO, why);
}

void strata__apply_message(struct bus_slot *b, strata_slice bytes)
{
    struct coherence *c = b->c;
    struct bus_message m;
    struct bus_item item;
    struct batch batch;
    size_t cursor = 0;
    b->counted.received++;
    b->counted.bytes_in += bytes.size;
    int verdict = strata__bus_message_read(&m, bytes,
                                           strata_bytes(c->secret, c->secret != NULL ? strlen(c->secret) : 0));
    if (verdict != FORMAT_OK) {
        reject(b, verdict, &m);
        return;
    }
    if (m.channel != c->channel)
        return;
    if (memcmp(m.sender, c->id, BUS_NODE_ID) == 0) {
        own(b, &m);
        return;
    }
    if (strata__peer_heard(b, &m) == HEARD_BEFORE) {
        atomic_fetch_add_explicit(&b->duplicates, 1, memory_order_relaxed);
        return;
    }
    if (m.unknown != 0)
        strata__trust_lost(c, b, "a newer node said something that this version does not know");
    if (!begin_batch(&batch, b)) {
        strata__trust_lost(c, b, "no memory to carry out an invalidation");
        return;
    }
    while (strata__bus_item_next(&m, &cursor, &item))
        obey(&batch, &m, &item);
    end_batch(&batch);
}

void strata__apply_change(struct bus_slot *b, strata_slice key, uint64_t version)
{
    struct batch batch;
    if (!begin_batch(&batch, b)) {
        strata__trust_lost(b->c, b, "no memory to carry out an invalidation");
        return;
    }
    if (key.size == 0)
        one_space(&batch, key);
    else
        one_key(&batch, key, (struct change){ .version = version }, NULL);
    end_batch(&batch);
}
