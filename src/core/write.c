/* write.c - set, delete, expire.
 *
 * A write poisons the flights of its key first (one that depends on what is there, once it knows that it writes), so that nothing
 * loaded before is stored after.  With instant layers alone
 * that, and the layers' operations, happen under one hold of the key lock.  Otherwise the write stands in the table while
 * it is at work in slower layers: later writes and flights of the key wait for it.  A set, and an expire, goes to shared stores
 * first, the furthest before the others, and then to this node's layers, nearest first, with the version that the store gave it: what
 * is held here is never newer than what the store has.  A delete empties layers furthest first, so that nobody reads up what is just
 * being removed.  A slow layer that does not take what is put is told to remove the key: what it may still hold is superseded.  So is
 * one that was cleared while the put was on its way: it may have been cleared first.
 *
 * What all of them answered together is for strata_options.write_policy to say.  A strict set that failed goes through the
 * layers once more, as a delete (write_outcome.c). */
#include <string.h>

#include "src/core/adaptive.h"
#include "src/core/bans.h"
#include "src/core/behind.h"
#include "src/core/flight.h"
#include "src/core/write.h"
#include "src/core/generation.h"
#include "src/core/op_put.h"
#include "src/policy/ttl.h"

/* What is written ---------------------------------------------------------------------------------------------- */

static void set_meta(strata *cache, const strata_policy *policy, strata_meta *meta)
{
    struct root *root = cache->root;
    strata__trust_window(root);
    *meta = (strata_meta){ .life = root->life,
                           .born_ms = ex_now_ms(root->ex),
                           .born_wall_ms = ex_wall_ms(root->ex),
                           .store_position = atomic_load(&root->host.store_position),
                           .position = atomic_load(&root->position) };
    strata__policy_to_meta(policy, 0, meta);
}

void strata__write_draw(struct write *w, const strata_policy *resolved, strata_slice key)
{
    if (strata__ttl_is_drawn(resolved))
        strata__ttl_draw(resolved, key, 0, ex_random(w->root->ex), &w->meta);
}

/* Instant layers ------------------------------------------------------------------------------------------------ */

void strata__write_op(struct write *w, struct layer_slot *slot, uint32_t kind)
{
    op_init(&w->op, w->handle, slot, &w->key, kind, ex_now_ms(w->root->ex), &w->op_err);
}

static void fill_put(struct write *w, const struct layer_slot *slot, strata_value *value)
{
    w->op.value = value;
    op_put(&w->op, slot, w->layer_ttls, &w->meta, w->tags);
    op_update_only(&w->op, slot, w->admit);
    op_resides(&w->op, slot, w->resident);
}

static void write_now_locked(struct write *w, struct layer_slot *slot)
{
    if (w->behind) {
        strata__behind_settle_locked(w, slot);
        return;
    }
    if (strata__write_superseded_locked(w, slot)) {
        strata__write_op(w, slot, STRATA_OP_REMOVE);
        strata__instant_submit(slot, &w->op);
    } else if (w->kind == WRITE_EXPIRE) {
        strata__expire_now_locked(w, slot);
    } else {
        strata__write_op(w, slot, w->kind);
        if (w->kind == STRATA_OP_PUT)
            fill_put(w, slot, w->value);
        strata__instant_submit(slot, &w->op);
        if (slot->demotions != NULL)
            w->refused = w->op.status != STRATA_OK;
    }
    if (w->op.status < 0)
        atomic_fetch_add_explicit(&slot->errors, 1, memory_order_relaxed);
    w->unadmitted |= (unsigned char)op_unadmitted(&w->op, slot);
    strata__write_note(w, slot);
    strata__write_layer_over(w);
}

static struct layer_slot *slot_at(struct write *w, uint32_t step)
{
    struct root *root = w->root;
    if (w->demotes)
        return &root->layers[step];
    return &root->layers[w->kind == STRATA_OP_REMOVE ? root->layer_count - 1 - step : root->set_order[step]];
}

/* Slower layers -------------------------------------------------------------------------------------------------- */

static void op_answered(strata_op *op)
{
    struct write *w = op->owner;
    strand_arrived(&w->strand);
}

int strata__write_submit(struct write *w, struct layer_slot *slot)
{
    w->op.lease = 0;
    w->op.done = op_answered;
    w->op.owner = w;
    w->asked = 1;
    strata_op *op = &w->op;
    return strata__strand_submit(&w->strand, slot, &op, 1);
}

strata_value *strata__write_bytes(struct write *w)
{
    if (w->value == NULL || w->value->object == NULL)
        return w->value;
    if (w->encoded == NULL) {
        int rc = strata__encode(w->root, w->value, &w->encoded);
        w->fails |= rc < 0;
        if (rc < 0 && w->status >= 0)
            w->status = strata__fail(&w->err, rc, "codec", "the object could not be encoded: %s",
                                     strata_status_text(rc));
    }
    return w->encoded;
}

/* A set, as a slow layer sees it: one that takes what the layer above evicts just forgets what it has of the key. */
static uint32_t kind_for(const struct write *w, const struct layer_slot *slot)
{
    int later = (slot->flags & STRATA_LAYER_DEMOTED) != 0 && w->kind == STRATA_OP_PUT && !w->refused && !w->demotes;
    return later ? STRATA_OP_REMOVE : w->kind;
}

/* What can't be encoded can't be put; but what it replaces must go. */
int strata__write_put(struct write *w, struct layer_slot *slot, uint32_t kind)
{
    strata_value *bytes = kind == STRATA_OP_PUT && !strata__write_superseded(w, slot) ? strata__write_bytes(w) : NULL;
    strata__write_op(w, slot, bytes != NULL ? STRATA_OP_PUT : STRATA_OP_REMOVE);
    if (bytes != NULL)
        fill_put(w, slot, bytes);
    else if (w->told_as == STRATA_OP_PUT && w->pending) /* taken back, where some layer could not be told already */
        w->op.flags |= STRATA_OP_UNDO;
    if (w->kind == WRITE_EXPIRE && (slot->flags & STRATA_LAYER_LEASES)) {
        w->op.flags |= STRATA_OP_SAME;
        w->op.meta.version = w->meta.version;
        w->op.meta.store_life = w->meta.store_life;
    }
    if (w->compares != 0 && bytes != NULL && strata__write_decides(w, slot))
        strata__write_compare(w);
    if (bytes != NULL || w->kind == STRATA_OP_REMOVE)
        strata__behind_mark(w, slot);
    return strata__write_submit(w, slot);
}

/* Ask the next slow layer.  1: answered at once; 0: somebody else goes on. */
static int ask_slow(struct write *w, struct layer_slot *slot)
{
    if (w->kind == WRITE_EXPIRE) {
        strata__write_op(w, slot, STRATA_OP_GET);
        return strata__write_submit(w, slot);
    }
    return strata__write_put(w, slot, kind_for(w, slot));
}

/* A store has taken it, and counts versions: what this node's layers get after is known by that one. */
static void note_version(struct write *w, const struct layer_slot *slot)
{
    if (w->op.status != STRATA_OK || !(slot->flags & STRATA_LAYER_SHARED))
        return;
    if (w->op.kind == STRATA_OP_PUT || w->op.kind == STRATA_OP_REMOVE)
        w->told_version = w->op.meta.version, w->told_life = w->op.meta.store_life;
    if (w->op.kind != STRATA_OP_PUT ||
        w->op.meta.version == w->meta.version) /* it counts none, and keeps what it is given */
        return;
    w->version_before = w->meta.version;
    w->version = w->meta.version = w->op.meta.version;
    w->meta.store_life = w->op.meta.store_life;
}

/* Was what was put cleared while it was on its way?  A peer's clear has emptied shared stores before it is told: a set that is there
 * came after. */
static int cleared_meanwhile(const struct write *w, const struct layer_slot *slot)
{
    if (w->kind == STRATA_OP_PUT && (slot->flags & STRATA_LAYER_SHARED))
        return w->op.meta.position < atomic_load(&w->handle->min_shared);
    return cleared_since(w->handle, w->op.meta.position);
}

/* A slow layer has answered.  1: it is done; 0: it is asked again and has not answered; 2: ... and has. */
static int slow_answered(struct write *w, struct layer_slot *slot)
{
    w->asked = 0;
    strata__op_counted(w->handle, slot, &w->op);
    w->told |= w->op.status < 0;
    if (strata__behind_refused(w, slot))
        return 1;
    if (w->kind == WRITE_EXPIRE && (w->op.flags & STRATA_OP_LOST))
        return strata__expire_again(w, slot);
    if (w->compares != 0 && strata__write_decides(w, slot) && !strata__write_compared(w))
        return 2;
    strata__write_note(w, slot);
    note_version(w, slot);
    if (w->op.kind == STRATA_OP_PUT && (w->op.status != STRATA_OK || cleared_meanwhile(w, slot))) {
        int timed_out = w->op.status == STRATA_ETIMEDOUT;
        strata__write_op(w, slot, STRATA_OP_REMOVE);
        w->op.flags |= timed_out ? STRATA_OP_UNDO
                                 : 0; /* else it may well be there again: who sets next is not to find a note */
        return strata__write_submit(w, slot) ? 2 : 0;
    }
    return w->kind == WRITE_EXPIRE ? strata__expire_answered(w, slot) : 1;
}

static void write_over(struct write *w)
{
    strata__write_withdraw(w);
    if (w->root->reads_back && w->told_as != STRATA_OP_REMOVE && !w->peer && !w->demotes && !w->unchanged)
        strata__read_back(w->root, w->key.storage);
    if (!strata__write_publish(w))
        return;
    w->unpublished = w->publishes && w->outgoing.pending;
    w->over(w);
}

static int passed_by(const struct write *w, const struct layer_slot *slot)
{
    if (w->peer)
        return (slot->flags & (STRATA_LAYER_SHARED | STRATA_LAYER_INSTANT)) != 0;
    return w->stops == STOP_FORGETS && (slot->flags & STRATA_LAYER_SHARED) != 0;
}

static void go_on(struct write *w)
{
    struct root *root = w->root;
    if (w->publishes) {
        w->unpublished = w->outgoing.pending != 0;
        w->over(w);
        return;
    }
    for (;;) {
        if (w->when != 0 && !w->decided && !strata__write_decide(w))
            return;
        while (w->asked) {
            int rc = slow_answered(w, slot_at(w, w->done_layers));
            if (rc == 0)
                return;
            if (rc == 1) {
                strata__write_layer_over(w);
                w->done_layers++;
            }
        }
        if (w->when != 0 && !w->decided)
            continue;
        /* Once it is known to fail, nobody here is to see what will be taken back. */
        if (!strata__write_takes_back(w) && (w->done_layers == w->end || w->stops == STOP_HERE))
            break;
        struct layer_slot *slot = slot_at(w, w->done_layers);
        if (passed_by(w, slot)) {
            w->done_layers++;
            continue;
        }
        if (slot_instant(slot)) {
            struct frame frame;
            struct stripe *s = stripe_lock(root, w->key.hash, &frame);
            write_now_locked(w, slot);
            stripe_unlock(s, &frame);
            w->done_layers++;
            continue;
        }
        if (!ask_slow(w, slot))
            return;
    }
    write_over(w);
}

void strata__write_run(struct strand *strand)
{
    struct write *w = (struct write *)(void *)((char *)strand - offsetof(struct write, strand));
    struct frame frame;
    frame_push(&frame, w->root, FRAME_WRITE);
    go_on(w);
    frame_end(&frame);
}

/* One write ------------------------------------------------------------------------------------------------------ */

void strata__write_instant(struct write *w)
{
    struct root *root = w->root;
    struct frame frame;
    struct stripe *s = stripe_lock(root, w->key.hash, &frame);
    if (w->when != 0)
        strata__write_decide_locked(w);
    if (!w->unchanged) /* what runs may be stored where nothing is written */
        strata__poison_locked(root, s, w->key.hash, w->handle->space, w->key.plain);
    if (w->stops == STOP_NOT)
        do
            for (uint32_t i = 0; i < root->layer_count; i++)
                write_now_locked(w, slot_at(w, i));
        while (strata__write_takes_back(w));
    stripe_unlock(s, &frame);
}

int strata__write_enter(struct write *w)
{
    struct root *root = w->root;
    struct frame frame;
    w->busy = (struct busy){ .hash = w->key.hash, .space = w->handle->space, .is_write = 1, .key = w->key.plain };
    struct stripe *s = stripe_lock(root, w->key.hash, &frame);
    if (w->peer)
        strata__peer_drop_locked(w->handle, s, &w->key, &w->change);
    else if (w->when != 0)
        strata__write_look_locked(w); /* it may not write at all */
    else if (w->stops != STOP_HERE)   /* else it only waits for those before it */
        strata__poison_locked(root, s, w->key.hash, w->handle->space, w->key.plain);
    strata__behind_meet_locked(w, s);
    strata__busy_enter_locked(root, s, &w->busy);
    int waits = w->busy.waiting;
    stripe_unlock(s, &frame);
    return !waits;
}

void strata__write_withdraw(struct write *w)
{
    struct frame frame;
    struct stripe *s = stripe_lock(w->root, w->key.hash, &frame);
    strata__write_looked_locked(w);
    strata__busy_leave_locked(s, &w->busy);
    stripe_unlock(s, &frame);
}

static void no_ref(struct strand *strand) { (void)strand; }

static void set_finished(void *ctx) { ((struct write *)ctx)->finished = 1; }

static void blocking_over(struct write *w) { strata__driver_done(w->driver, set_finished, w); }

static void begin_driven(struct write *w, struct driver *d)
{
    strata__strand_init(&w->strand, w->root->ex, strata__write_run, no_ref, no_ref);
    w->driver = d;
    w->over = blocking_over;
    strata__strand_help(&w->strand, d);
}

void strata__writes_drive(struct root *root, struct write *writes, size_t count)
{
    struct driver d;
    struct frame frame; /* of all that this thread is to go on with */
    frame_push(&frame, root, FRAME_WRITE);
    strata__driver_init(&d, root->ex, 0);
    d.left = count;
    for (size_t i = 0; i < count; i++) {
        struct write *w = &writes[i];
        if (w->status >= 0 && !w->queued) {
            begin_driven(w, &d);
            if (strata__write_enter(w))
                strata__write_run(&w->strand);
        } else {
            key_mutex_lock(&d.lock);
            d.left--;
            key_mutex_unlock(&d.lock);
        }
    }
    for (;;) {
        key_mutex_lock(&d.lock);
        size_t left = d.left;
        key_mutex_unlock(&d.lock);
        if (left == 0)
            break;
        strata__driver_step(&d, INT64_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        if (writes[i].driver == NULL)
            continue;
        strata__strand_leave(&writes[i].strand, &d);
    }
    strata__driver_deinit(&d);
    frame_end(&frame);
}

int strata__write_blocking(struct write *w, strata_slice key, strata_error *err)
{
    struct root *root = w->root;
    unsigned char room[KEY_ROOM];
    if (strata__forms_make_in(room, w->handle, key, &w->key, &w->storage) != STRATA_OK)
        return strata__fail_plain(err, STRATA_ENOMEM, "key");
    if (all_layers_instant(root))
        strata__write_instant(w);
    else if (!strata__behind_set(w, key))
        strata__writes_drive(root, w, 1);
    int rc = strata__write_result(w);
    strata_value_unref(w->encoded);
    strata__free(root->mem, w->storage);
    if (rc < 0 && err != NULL)
        *err = w->err;
    return rc;
}

void strata__write_begin(struct write *w, strata *cache, uint32_t kind)
{
    memset(w, 0, offsetof(struct write, op));
    w->root = cache->root;
    w->end = (uint32_t)cache->root->layer_count;
    w->handle = cache;
    w->kind = kind;
    w->told_as = kind;
    w->finished = 0;
    w->driver = NULL;
    w->storage = NULL;
}

/* What set and its twins prepare.  `value` NULL: nothing may be stored, the key is emptied. */
int strata__write_prepare_sets(struct write *w, strata *cache, const strata_policy *policy, strata_policy *resolved,
                               strata_error *err)
{
    int rc = strata__call_policy_check(cache, policy, err);
    if (rc != STRATA_OK)
        return rc;
    strata__policy_resolve(resolved, policy, &cache->policy);
    rc = policy != NULL ? strata__behind_check(cache->root, resolved, err) : STRATA_OK;
    if (rc != STRATA_OK)
        return rc;
    strata__write_begin(w, cache, STRATA_OP_PUT);
    set_meta(cache, resolved, &w->meta);
    memcpy(w->layer_ttls, resolved->layer_ttl_ms, sizeof w->layer_ttls);
    w->admit = resolved->admit;
    w->resident = resolved->resident;
    w->behind_ms = resolved->write_behind_ms;
    if (resolved->ttl_ms == STRATA_OFF)
        w->kind = STRATA_OP_REMOVE; /* what was there is superseded all the same */
    return STRATA_OK;
}

int strata__write_prepare_set(struct write *w, strata *cache, strata_slice key, const strata_policy *policy,
                              strata_error *err)
{
    strata_policy resolved;
    int rc = strata__write_prepare_sets(w, cache, policy, &resolved, err);
    if (rc == STRATA_OK)
        strata__write_draw(w, &resolved, key);
    return rc;
}

int strata__write_tag(struct write *w, const struct strata_tags *tags, strata_error *err)
{
    int rc = STRATA_OK;
    if (tags != NULL && tags->count != 0) {
        rc = strata__tags_value(w->root->mem, tags->list, tags->count, &w->tags, err);
        w->meta.tag_count = rc == STRATA_OK ? (uint32_t)tags->count : 0;
    }
    if (rc == STRATA_OK && w->told_as == STRATA_OP_PUT)
        strata__generation_tag(w->handle, &w->tags, &w->meta.tag_count);
    return rc;
}

int strata__value_fits(const struct root *root, size_t size, strata_error *err)
{
    if (size <= root->options.max_value_bytes)
        return STRATA_OK;
    return strata__fail(err, STRATA_EVALUESIZE, "value",
                        "the value has %zu bytes, the limit is %llu: raise "
                        "max_value_bytes",
                        size, (unsigned long long)root->options.max_value_bytes);
}

static int layers_copy(const struct root *root)
{
    for (size_t i = 0; i < root->layer_count; i++)
        if (!(root->layers[i].flags & STRATA__LAYER_COPIES))
            return 0;
    return 1;
}

int strata__set_entered(strata *cache, strata_slice key, strata_slice value, const strata_policy *policy,
                        const struct strata_tags *tags, const struct set_only *only, strata_error *err)
{
    struct root *root = cache->root;
    struct write w;
    struct lent_value lent;
    int rc = strata__write_prepare_set(&w, cache, key, policy, err);
    if (rc == STRATA_OK)
        rc = strata__value_fits(root, value.size, err);
    if (rc == STRATA_OK && only != NULL)
        rc = strata__write_when(&w, only->condition, only->out_version, err);
    if (rc != STRATA_OK)
        return rc;
    int lend = layers_copy(root);
    if (lend) {
        memset(&lent, 0, sizeof lent);
        lent.base.data = value.data;
        lent.base.size = value.size;
        atomic_init(&lent.base.refs, 1);
        lent.base.kind = STRATA__VALUE_LENT;
        lent.base.release = strata__keep_nothing;
        w.value = &lent.base;
    } else {
        w.value = strata__value_copy(root->mem, value.data, value.size);
        if (w.value == NULL)
            return strata__fail(err, STRATA_ENOMEM, "value", "no memory for a value of %zu bytes", value.size);
    }
    rc = strata__write_tag(&w, tags, err);
    if (rc == STRATA_OK)
        rc = strata__write_blocking(&w, key, err);
    strata_value_unref(w.tags);
    if (!lend)
        strata_value_unref(w.value);
    return rc;
}

static __attribute__((noinline)) int set_slowly(strata *cache, strata_slice key, strata_slice value,
                                                const strata_policy *policy, strata_error *err)
{
    if (cache == NULL || (value.data == NULL && value.size != 0))
        return strata__no_argument(err, "strata_set() needs a cache and a value");
    int rc = check_key(cache, key, err);
    if (rc == STRATA_OK)
        rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    rc = strata__set_entered(cache, key, value, policy, NULL, NULL, err);
    root_leave(cache->root);
    return rc;
}

int strata_set(strata *cache, strata_slice key, strata_slice value, const strata_policy *policy, strata_error *err)
{
    if (__builtin_expect(cache != NULL && policy == NULL && cache->quick_set, 1) && key_fits(cache, key) &&
        (value.data != NULL || value.size == 0) && strata__set_quick(cache, key, value))
        return STRATA_OK;
    return set_slowly(cache, key, value, policy, err);
}

int strata_set_tagged(strata *cache, strata_slice key, strata_slice value, const strata_slice *tags, size_t tag_count,
                      const strata_policy *policy, strata_error *err)
{
    struct strata_tags given = { tags, tag_count };
    if (cache == NULL || (value.data == NULL && value.size != 0))
        return strata__no_argument(err, "strata_set_tagged() needs a cache and a value");
    int rc = check_key(cache, key, err);
    if (rc == STRATA_OK)
        rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    rc = strata__set_entered(cache, key, value, policy, &given, NULL, err);
    root_leave(cache->root);
    return rc;
}

static int simple_write(strata *cache, strata_slice key, uint32_t kind, strata_error *err)
{
    struct write w;
    if (cache == NULL)
        return strata__no_argument(err, "no cache was given");
    int rc = check_key(cache, key, err);
    if (rc == STRATA_OK)
        rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    strata__write_begin(&w, cache, kind);
    rc = strata__write_blocking(&w, key, err);
    root_leave(cache->root);
    return rc;
}

int strata_delete(strata *cache, strata_slice key, strata_error *err)
{
    return simple_write(cache, key, STRATA_OP_REMOVE, err);
}

int strata_expire(strata *cache, strata_slice key, strata_error *err)
{
    return simple_write(cache, key, WRITE_EXPIRE, err);
}
