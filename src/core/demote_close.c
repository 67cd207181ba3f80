/* demote_close.c - what memory still holds when the cache is closed goes to the layer below (STRATA_LAYER_DEMOTED): that one may
 * outlive the process, and the hottest entries are those that were never evicted.
 *
 * Nobody is in the cache any more: no write, flight or clear can come between, so there are no notes and no key locks here.
 * Memory lists its keys and is asked for each, which tells what a reader would be told: nothing that was cleared, deleted or
 * overwritten.  What is over, "absent", or was found below does not go, as when it is evicted; nor does an object, for no
 * code of the user's runs here.  What the layer below does not take is removed there, as after any put. */
#include <string.h>

#include "src/core/demote.h"
#include "src/core/op_put.h"

enum { PARCELS = 32 }; /* put at once: a slow layer is waited for once for all of them */

struct parcel {
    strata_op op;
    strata_error err;
    struct key_forms key;
    unsigned char *storage;
    strata *handle;
    strata_value *value; /* one reference */
    strata_value *tags;  /* one reference; may be NULL */
};

struct handover {
    struct root *root;
    struct demotions *demotions;
    struct layer_slot *above, *below;
    struct driver driver;
    uint32_t count;
    int hopeless; /* of a whole batch the layer below took nothing, and failed: the rest is not tried */
    struct parcel parcels[PARCELS];
};

static void nothing_more(void *ctx) { (void)ctx; }

static void answered(strata_op *op)
{
    strata__driver_done(&((struct handover *)op->owner)->driver, nothing_more, NULL);
}

/* Puts or removes, all at once; returns when all are done. */
static void submit_all(struct handover *h, strata_op *const *ops, uint32_t count)
{
    strata__driver_init(&h->driver, h->root->ex, 0);
    h->driver.left = count;
    h->below->layer->ops->submit(h->below->layer, ops, count);
    for (;;) {
        key_mutex_lock(&h->driver.lock);
        size_t left = h->driver.left;
        key_mutex_unlock(&h->driver.lock);
        if (left == 0)
            break;
        strata__driver_step(&h->driver, INT64_MAX);
    }
    strata__driver_deinit(&h->driver);
}

static void begin_op(struct handover *h, struct parcel *p, uint32_t kind)
{
    op_init(&p->op, p->handle, h->below, &p->key, kind, ex_now_ms(h->root->ex), &p->err);
    p->op.done = answered;
    p->op.owner = h;
}

static void note_errors(struct handover *h, strata_op *const *ops, uint32_t count)
{
    uint32_t failed = 0, told = 0;
    for (uint32_t i = 0; i < count; i++) {
        failed += ops[i]->status < 0;
        told += ops[i]->status < 0 || ops[i]->err->status < 0;
    }
    atomic_fetch_add_explicit(&h->below->errors, told, memory_order_relaxed);
    h->hopeless |= failed == PARCELS;
}

/* Those that were not taken. */
static void remove_refused(struct handover *h)
{
    strata_op *ops[PARCELS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        struct parcel *p = &h->parcels[i];
        if (p->op.status == STRATA_OK)
            continue;
        begin_op(h, p, STRATA_OP_REMOVE);
        ops[n++] = &p->op;
    }
    atomic_fetch_add_explicit(&h->demotions->done, h->count - n, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->demotions->dropped, n, memory_order_relaxed);
    if (n != 0) {
        submit_all(h, ops, n);
        note_errors(h, ops, n);
    }
}

static void put_all(struct handover *h)
{
    strata_op *ops[PARCELS];
    for (uint32_t i = 0; i < h->count; i++)
        ops[i] = &h->parcels[i].op;
    if (h->count != 0) {
        submit_all(h, ops, h->count);
        note_errors(h, ops, h->count);
        remove_refused(h);
    }
    for (uint32_t i = 0; i < h->count; i++) {
        strata_value_unref(h->parcels[i].value);
        strata_value_unref(h->parcels[i].tags);
        strata__free(h->root->mem, h->parcels[i].storage);
    }
    h->count = 0;
}

/* `key` is the walk's.  STRATA_OK, STRATA_ENOMEM. */
static int keep_key(struct handover *h, struct parcel *p, strata_slice key)
{
    int rc = strata__forms_make(p->handle, key, &p->key, &p->storage);
    if (rc != STRATA_OK || p->storage != NULL)
        return rc;
    p->storage = strata__alloc(h->root->mem, key.size);
    if (p->storage == NULL)
        return STRATA_ENOMEM;
    memcpy(p->storage, key.data, key.size);
    p->key.plain = strata_bytes(p->storage, key.size);
    return STRATA_OK;
}

/* What memory tells of the key is to be put: p->value and p->op's meta and expiry are set. */
static int is_wanted(struct handover *h, struct parcel *p)
{
    struct deadlines at;
    op_init(&p->op, p->handle, h->above, &p->key, STRATA_OP_GET, ex_now_ms(h->root->ex), &p->err);
    strata__instant_submit(h->above, &p->op);
    p->value = p->op.found;
    p->tags = p->op.tags;
    if (!strata__op_found(&p->op) || p->value == NULL || p->value->object != NULL || p->op.meta.negative ||
        (p->op.flags & STRATA_OP_BACKED) != 0)
        return 0;
    strata_meta meta = p->op.meta;
    strata__deadlines(&meta, meta.born_ms, &at);
    if (at.gone_at <= p->op.now_ms)
        return 0;
    begin_op(h, p, STRATA_OP_PUT);
    p->op.value = p->value;
    op_put(&p->op, h->below, NULL, &meta, p->tags);
    return 1;
}

static int hand_over(uint32_t space, strata_slice key, void *ctx)
{
    struct handover *h = ctx;
    struct parcel *p = &h->parcels[h->count];
    p->handle = h->root->spaces[space]; /* nobody opens one any more */
    p->storage = NULL;
    p->value = p->tags = NULL;
    if (keep_key(h, p, key) == STRATA_OK && is_wanted(h, p)) {
        h->count++;
    } else {
        strata_value_unref(p->value);
        strata_value_unref(p->tags);
        strata__free(h->root->mem, p->storage);
    }
    if (h->count == PARCELS)
        put_all(h);
    return h->hopeless;
}

int strata__demotions_close(struct root *root)
{
    struct demotions *d = root->demotions;
    strata_error unheard;
    if (d == NULL)
        return 0;
    struct handover *h = strata__alloc_zero(root->mem, sizeof *h);
    if (h == NULL)
        return 0;
    /* What leaves the layer below meanwhile is told to nobody. */
    atomic_store_explicit(&root->host.eviction_listeners, 0, memory_order_relaxed);
    h->root = root;
    h->demotions = d;
    h->above = &root->layers[d->layer - 1];
    h->below = &root->layers[d->layer];
    /* Out of memory in the middle: what was not listed is lost, as all of it would be in a process that is killed. */
    (void)h->above->layer->ops->keys(h->above->layer, hand_over, h, &unheard);
    put_all(h);
    strata__free(root->mem, h);
    return 1;
}
