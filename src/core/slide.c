/* slide.c - a hit extends what layers hold of its key (policy/sliding.h).
 *
 * Instant layers at once, under the key lock: so nothing of this process comes between the look and the put.  Slower ones in the
 * background, as a write that stands in the table, so that writes of the key, of callers or of peers, wait for it, and begin only when
 * the key is not busy: else somebody is at work on what would be extended, and a later hit comes again.  It poisons no flight and
 * is told to nobody, for it changes no value.
 *
 * Only deadlines change.  Birth and ban position stay what they were, so what was banned stays banned; a layer that was cleared
 * meanwhile is told to forget the key.  A shared store is written to only if it compares versions (STRATA_OP_SAME): a node can't see
 * what others do to the key there. */
#include "src/core/slide.h"

#include <string.h>

#include "src/core/op_put.h"
#include "src/core/write.h"
#include "src/policy/sliding.h"

enum { SLIDES_MOST = 1024 }; /* in the background at once; a hit beyond that extends near layers alone */

struct slide {
    struct write
        write; /* its place in the table, its strand and its operation; nothing else of it is used but superseded */
    _Atomic(uint32_t) refs;
    uint32_t layer, position;
    uint64_t before; /* the version in a shared store that it has replaced; as w->meta.version says now */
    const strata_allocator *mem;
    unsigned char bytes[]; /* as in struct flight */
};

int strata__slides(const struct held *held, int64_t now)
{
    return held->meta.slide_ms > 0 && held->suspect == SUSPECT_NOT &&
           now >= strata__slide_due(&held->meta, held->meta.born_ms) &&
           strata__is_fresh(&held->meta, held->meta.born_ms, now);
}

/* Instant layers ------------------------------------------------------------------------------------------------ */

/* Put back what stands there, with other deadlines, or, where `before` is not 0 and it is a copy of that version, another one. */
static void touch_locked(strata *handle, struct layer_slot *slot, const struct key_forms *key, const struct slide *of)
{
    strata_op op;
    strata_error words;
    int64_t now = ex_now_ms(handle->root->ex);
    op_init(&op, handle, slot, key, STRATA_OP_GET, now, &words);
    strata__instant_submit(slot, &op);
    if (!strata__op_found(&op) || op.found == NULL || op.meta.life != handle->root->life) {
        op_drop(&op);
        return;
    }
    strata_value *value = op.found, *tags = op.tags;
    strata_meta meta = op.meta;
    uint32_t flags = op.flags & STRATA_OP_BACKED;
    int changes = 0;
    if (of == NULL) {
        changes = strata__slide(&meta, meta.born_ms, now);
    } else if (meta.version == of->before) {
        meta.version = of->write.meta.version;
        meta.store_life = of->write.meta.store_life;
        changes = 1;
    }
    if (changes) {
        op_init(&op, handle, slot, key, STRATA_OP_PUT, now, &words);
        op.value = value;
        op.flags = flags;
        op_put(&op, slot, NULL, &meta, tags);
        strata__instant_submit(slot, &op);
    }
    strata_value_unref(value);
    strata_value_unref(tags);
}

static void touch_all_locked(strata *handle, const struct key_forms *key, const struct slide *of)
{
    struct root *root = handle->root;
    for (size_t i = 0; i < root->layer_count; i++)
        if (slot_instant(&root->layers[i]))
            touch_locked(handle, &root->layers[i], key, of);
}

/* Slower layers -------------------------------------------------------------------------------------------------- */

/* Can what stands there be extended without undoing what others do? */
static int is_for(const struct layer_slot *slot)
{
    return !slot_instant(slot) && (!(slot->flags & STRATA_LAYER_SHARED) || (slot->flags & STRATA_LAYER_LEASES));
}

static int has_slow(const struct root *root)
{
    for (size_t i = 0; i < root->layer_count; i++)
        if (is_for(&root->layers[i]))
            return 1;
    return 0;
}

static struct slide *slide_of(struct strand *strand)
{
    return (struct slide *)(void *)((char *)strand - offsetof(struct slide, write.strand));
}

static void ref_slide(struct strand *strand)
{
    atomic_fetch_add_explicit(&slide_of(strand)->refs, 1, memory_order_relaxed);
}

static void unref_slide(struct strand *strand)
{
    struct slide *s = slide_of(strand);
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    struct root *root = s->write.root;
    strata__free(s->mem, s);
    strata__root_unref(root);
}

static void answered(strata_op *op) { strand_arrived(&((struct slide *)op->owner)->write.strand); }

static void op_begin(struct slide *s, struct layer_slot *slot, uint32_t kind)
{
    struct write *w = &s->write;
    op_init(&w->op, w->handle, slot, &w->key, kind, ex_now_ms(w->root->ex), &w->op_err);
    w->op.lease = 0;
    w->op.done = answered;
    w->op.owner = s;
    w->asked = 1;
}

/* What was found, as it is to be put back; it stays where it is in time, whosever life it is of.  0: it is not extended. */
static int extend(struct slide *s, struct layer_slot *slot)
{
    struct write *w = &s->write;
    strata_meta meta = w->op.meta;
    int64_t born = strata__born_here(w->root, &meta);
    if (w->op.found == NULL || !strata__slide(&meta, born, ex_now_ms(w->root->ex)))
        return 0;
    w->value = w->op.found;
    w->tags = w->op.tags;
    op_begin(s, slot, STRATA_OP_PUT);
    struct deadlines d;
    if (slot->max_ttl_ms > 0) {
        strata__deadlines_cap(&meta, born, w->op.now_ms + slot->max_ttl_ms);
        strata__slide_cap(&meta, slot->max_ttl_ms);
    }
    strata__deadlines(&meta, born, &d);
    w->op.meta = meta;
    w->op.value = w->value;
    w->op.tags = w->tags;
    w->op.expires_ms = d.gone_at;
    if (slot->flags & STRATA_LAYER_LEASES) {
        w->op.flags |= STRATA_OP_SAME;
        s->before = meta.version;
    }
    return 1;
}

/* The layer whose turn it is has answered.  1: it is asked something more. */
static int goes_on(struct slide *s, struct layer_slot *slot)
{
    struct write *w = &s->write;
    uint32_t kind = w->op.kind;
    w->asked = 0;
    strata__op_counted(w->handle, slot, &w->op);
    if (kind == STRATA_OP_GET) {
        if (strata__op_found(&w->op) && extend(s, slot))
            return 1;
        op_drop(&w->op);
        return 0;
    }
    strata_value_unref(w->value);
    strata_value_unref(w->tags);
    w->value = w->tags = NULL;
    if (kind == STRATA_OP_PUT && (slot->flags & STRATA_LAYER_SHARED)) {
        if (w->op.status == STRATA_OK && w->op.meta.version != s->before) {
            w->meta.version = w->op.meta.version;
            w->meta.store_life = w->op.meta.store_life;
        }
        return 0;
    }
    /* A clear may have come between the look and the put. */
    if (kind == STRATA_OP_PUT && cleared_since(w->handle, s->position)) {
        op_begin(s, slot, STRATA_OP_REMOVE);
        return 1;
    }
    return 0;
}

static void over(struct slide *s)
{
    struct write *w = &s->write;
    struct root *root = w->root;
    struct frame frame;
    struct stripe *stripe = stripe_lock(root, w->key.hash, &frame);
    if (w->meta.version != 0 && s->before != 0)
        touch_all_locked(w->handle, &w->key, s); /* copies are known by the version that the store has now */
    strata__busy_leave_locked(stripe, &w->busy);
    stripe_unlock(stripe, &frame);
    atomic_fetch_sub(&root->slides, 1);
    unref_slide(&w->strand);
    root_leave(root);
}

static void go_on(struct slide *s)
{
    struct write *w = &s->write;
    struct root *root = w->root;
    while (s->layer < root->layer_count) {
        struct layer_slot *slot = &root->layers[s->layer];
        int asks = w->asked ? goes_on(s, slot) : is_for(slot);
        if (!asks) {
            s->layer++;
            continue;
        }
        if (!w->asked)
            op_begin(s, slot, STRATA_OP_GET);
        strata_op *op = &w->op;
        if (!strata__strand_submit(&w->strand, slot, &op, 1))
            return;
    }
    over(s);
}

static void run(struct strand *strand)
{
    struct slide *s = slide_of(strand);
    struct root *root = s->write.root;
    struct frame frame;
    root_hold(root); /* for the frame: the slide may be over by its end */
    strata__root_ref(root);
    frame_push(&frame, root, FRAME_WRITE);
    go_on(s);
    frame_end(&frame);
    root_leave(root);
    strata__root_unref(root);
}

static struct slide *slide_new(strata *handle, const struct key_forms *key)
{
    struct root *root = handle->root;
    strata_slice longest = root->plain_keys ? key->plain : key->storage;
    struct slide *s = strata__alloc(root->mem, sizeof *s + longest.size);
    if (s == NULL)
        return NULL;
    memset(s, 0, sizeof *s);
    struct write *w = &s->write;
    strata__write_begin(w, handle, WRITE_SLIDE);
    strata__strand_init(&w->strand, root->ex, run, ref_slide, unref_slide);
    memcpy(s->bytes, longest.data, longest.size);
    w->key.storage = strata_bytes(s->bytes, longest.size);
    w->key.plain = strata_bytes(s->bytes + longest.size - key->plain.size, key->plain.size);
    w->key.hash = key->hash;
    w->busy = (struct busy){ .hash = key->hash, .space = handle->space, .is_write = 1, .key = w->key.plain };
    s->mem = root->mem;
    s->position = atomic_load(&root->position);
    atomic_init(&s->refs, 1);
    strata__root_ref(root);
    return s;
}

static struct slide *slide_for(strata *handle, const struct key_forms *key)
{
    struct root *root = handle->root;
    if (!has_slow(root))
        return NULL;
    uint32_t others = atomic_fetch_add(&root->slides, 1);
    struct slide *s = others < SLIDES_MOST ? slide_new(handle, key) : NULL;
    if (s == NULL)
        atomic_fetch_sub(&root->slides, 1);
    return s;
}

void strata__slide_begin(strata *handle, const struct key_forms *key)
{
    struct root *root = handle->root;
    struct frame frame;
    struct slide *s = slide_for(handle, key);
    struct stripe *stripe = stripe_lock(root, key->hash, &frame);
    touch_all_locked(handle, key, NULL);
    int begins = s != NULL && root_usable(root) &&
                 !strata__key_busy_locked(stripe, key->hash, handle->space, key->plain);
    if (begins) {
        strata__busy_enter_locked(root, stripe, &s->write.busy);
        root_hold(root);
    }
    stripe_unlock(stripe, &frame);
    if (begins && strata__strand_start(&s->write.strand) == STRATA_OK)
        return;
    if (begins) {
        s->layer = (uint32_t)root->layer_count; /* no worker was free: a later hit comes again */
        over(s);
    } else if (s != NULL) {
        atomic_fetch_sub(&root->slides, 1);
        unref_slide(&s->write.strand);
    }
}

void strata__slide_hit(strata *handle, strata_slice key, const struct held *held)
{
    unsigned char room[KEY_ROOM], *storage = NULL;
    struct key_forms forms;
    if (!strata__slides(held, ex_now_ms(handle->root->ex)) || root_usable(handle->root) == 0)
        return;
    if (strata__forms_make_in(room, handle, key, &forms, &storage) != STRATA_OK)
        return;
    strata__slide_begin(handle, &forms);
    strata__free(handle->root->mem, storage);
}
