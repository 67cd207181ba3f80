/* set_quick.c - the short way of strata_set().
 *
 * Where the stack is one layer that answers at once and copies what it is given, a set without a policy of its own, with
 * nobody listening, needs no more than: poison the key's flights and put, under one hold of the key lock.  It does
 * what the general way in write.c does, without its state machine; whatever is unusual goes there.  Nothing here is
 * written that threads share but the lock's stripe and the layer. */
#include "src/policy/sliding.h"
#include "src/core/flight.h"
#include "src/core/write.h"
#include "src/layer/plain_put.h"
#include "src/policy/ttl.h"

enum { MOST_PLAIN_MS = 1 << 30 }; /* so that no sum overflows; longer lives go the other way */

void strata__keep_nothing(struct strata_value *value) { (void)value; }

static void nothing_done(strata_op *op) { (void)op; }

static int is_plain(const strata_meta *meta)
{
    return meta_is_plain(meta) && meta->negative == 0 && meta->tag_count == 0 &&
           (meta->fresh_ms == STRATA_FOREVER || meta->fresh_ms < MOST_PLAIN_MS);
}

/* The layer's own way for what has a time to live and nothing else. */
static void wire_plain(strata *handle, const strata_layer *layer)
{
    const strata_layer_ops *ops = layer->ops;
    int has = ops->size >= offsetof(strata_layer_ops, put_plain) + sizeof ops->put_plain;
    handle->put_plain = handle->quick_set && has && is_plain(&handle->set_meta) ? ops->put_plain : NULL;
}

void strata__set_quick_init(strata *handle)
{
    struct root *root = handle->root;
    const struct layer_slot *slot = &root->layers[0];
    struct deadlines d;
    handle->quick_set = root->layer_count == 1 && slot_instant(slot) && (slot->flags & STRATA__LAYER_COPIES) != 0 &&
                        (slot->flags & STRATA_LAYER_SPACES) != 0 && root->codec == NULL && root->stats &&
                        root->coherence == NULL && handle->generation == NULL && handle->policy.ttl_ms != STRATA_OFF &&
                        handle->policy.admit != STRATA_OFF && handle->policy.resident == 0 &&
                        !strata__ttl_is_drawn(&handle->policy);
    handle->set_meta = (strata_meta){ .life = root->life };
    strata__policy_to_meta(&handle->policy, 0, &handle->set_meta);
    const int64_t most = strata__ttl_in_layer(slot->max_ttl_ms, handle->policy.layer_ttl_ms, 0);
    if (most > 0) {
        strata__deadlines_cap(&handle->set_meta, 0, most);
        strata__slide_cap(&handle->set_meta, most);
    }
    strata__deadlines(&handle->set_meta, 0, &d);
    handle->set_span_ms = d.gone_at;
    handle->wall_offset_ms = ex_wall_ms(root->ex) - ex_now_ms(root->ex);
    wire_plain(handle, slot->layer);
}

/* As an operation, where it is more than the layer's own way takes. */
static __attribute__((noinline)) int submit(strata *cache, const struct plain_put *put)
{
    strata_error words;
    struct lent_value lent = { .base = { .data = put->value.data,
                                         .size = put->value.size,
                                         .kind = STRATA__VALUE_LENT,
                                         .release = strata__keep_nothing } };
    atomic_init(&lent.base.refs, 1);
    words.status = STRATA_OK;
    words.message[0] = 0;
    strata_op op;
    op.size = sizeof op;
    op.kind = STRATA_OP_PUT;
    op.space = put->space;
    op.hash = put->hash;
    op.key = put->key;
    op.value = &lent.base;
    op.found = op.tags = NULL;
    op.meta = cache->set_meta;
    op.now_ms = op.meta.born_ms = put->born_ms;
    op.meta.born_wall_ms = put->born_ms + cache->wall_offset_ms;
    op.meta.position = put->position;
    op.expires_ms = cache->set_span_ms == STRATA_FOREVER ? STRATA_FOREVER : op.now_ms + cache->set_span_ms;
    op.status = STRATA_OK;
    op.err = &words;
    op.mem = cache->root->mem;
    op.done = nothing_done;
    op.owner = NULL;
    op.layer_data = NULL;
    op.flags = 0;

    strata_op *ops = &op;
    cache->layer->ops->submit(cache->layer, &ops, 1);
    return op.status;
}

static int put(strata *cache, strata_slice key, strata_slice value)
{
    struct root *root = cache->root;
    struct plain_put what;
    what.hash = handle_hash(cache, key);
    what.key = key;
    what.value = value;
    what.life = cache->set_meta.life;
    what.born_ms = cache->now_ms(cache->ex);
    what.ttl_ms = cache->set_meta.fresh_ms;
    what.space = cache->space;
    what.position = atomic_load(&root->position);

    struct frame frame;
    struct stripe *s = stripe_lock(root, what.hash, &frame);
    if (s->count != 0)
        strata__poison_locked(root, s, what.hash, cache->space, key);
    int status = cache->put_plain != NULL ? cache->put_plain(cache->layer, &what) : STRATA_EUNSUPPORTED;
    if (__builtin_expect(status == STRATA_EUNSUPPORTED, 0))
        status = submit(cache, &what);
    stripe_unlock(s, &frame);
    return status >= 0; /* a failure is told by the general way, which fails again */
}

int strata__set_quick(strata *cache, strata_slice key, strata_slice value)
{
    if (value.size > cache->root->options.max_value_bytes)
        return 0;
    uint32_t cell = counter_index();
    counter_raise(cache->cells, cell, HOT_SETS_BEGUN);
    /* The count must be on its way before the gate is read: see cache.c about closing. */
    atomic_signal_fence(memory_order_seq_cst);
    uint32_t gate = atomic_load_explicit(&cache->gate, memory_order_acquire);
    int done = gate == atomic_load_explicit(cache->forks, memory_order_relaxed) &&
               !event_wanted(cache->root, STRATA_EVENT_SET | STRATA_EVENT_EVICT | STRATA_EVENT_ERROR) &&
               put(cache, key, value);
    counter_raise(cache->cells, cell, HOT_SETS);
    if (!done)
        count_n(cache, COUNT_SETS, UINT64_MAX); /* the general way counts it again */
    return done;
}
