/* op_put.h - a PUT as the layer gets it: with deadlines no later than the layer, or the policy for that layer, lets them be. */
#ifndef STRATA_CORE_OP_PUT_H
#define STRATA_CORE_OP_PUT_H
#include "src/core/core_impl.h"
#include "src/policy/sliding.h"
#include "src/policy/ttl.h"

/* op->meta and op->expires_ms of a PUT, so that the layer holds it no longer than it may. */
static inline void op_put(strata_op *op, const struct layer_slot *slot, const int64_t *layer_ttls,
                          const strata_meta *meta, strata_value *tags)
{
    const int64_t most = strata__ttl_in_layer(slot->max_ttl_ms, layer_ttls, slot->index);
    struct deadlines d;
    op->meta = *meta;
    op->tags = tags;
    if (most > 0) {
        strata__deadlines_cap(&op->meta, meta->born_ms, op->now_ms + most);
        strata__slide_cap(&op->meta, most);
    }
    strata__deadlines(&op->meta, meta->born_ms, &d);
    op->expires_ms = d.gone_at;
}

/* The same, by a policy with admit off. */
static inline void op_update_only(strata_op *op, const struct layer_slot *slot, int32_t admit)
{
    if (admit == STRATA_OFF && slot_instant(slot))
        op->flags |= STRATA_OP_UPDATE;
}

/* By a policy that says so, or not; 0: as what it replaces. */
static inline void op_resides(strata_op *op, const struct layer_slot *slot, int32_t resident)
{
    if (resident != 0 && slot_instant(slot))
        op->flags |= resident == STRATA_ON ? STRATA_OP_RESIDENT : STRATA_OP_EVICTABLE;
}

/* It was not admitted. */
static inline int op_unadmitted(const strata_op *op, struct layer_slot *slot)
{
    if (op->status != STRATA_MISS || op->kind != STRATA_OP_PUT)
        return 0;
    atomic_fetch_add_explicit(&slot->unadmitted, 1, memory_order_relaxed);
    return 1;
}

#endif /* STRATA_CORE_OP_PUT_H */
