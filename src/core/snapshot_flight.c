/* snapshot_flight.c - what the flight of a key does with a snapshot's entry of it.
 *
 * Where no layer has an answer, the entry is judged as one that a layer below all others had found, and fills the layers as such a find
 * would, under the same fences: a write or an invalidation that comes meanwhile wins.  Nothing else is known of an entry of another
 * life than when it was born, and clocks differ: so it counts as older than any ban and clear of this life, as what a disk held
 * before it (STRATA__LAYER_ALONE). */
#include "src/core/bans.h"
#include "src/core/snapshot_impl.h"

/* The layer below all others, as far as judging goes. */
struct layer_slot strata__below_all = { .index = LAYERS_MAX, .flags = STRATA__LAYER_ALONE };

struct imported *strata__imported_ref(struct imported *im)
{
    atomic_fetch_add_explicit(&im->refs, 1, memory_order_relaxed);
    return im;
}

void strata__imported_unref(struct imported *im)
{
    if (im == NULL || atomic_fetch_sub_explicit(&im->refs, 1, memory_order_acq_rel) != 1)
        return;
    strata_value_unref(im->value);
    strata_value_unref(im->tags);
    strata__free(im->mem, im);
}

void strata__imported_stored(struct imported *im) { atomic_store(&im->became, IMPORTED_STORED); }
void strata__imported_fenced(struct imported *im) { atomic_store(&im->became, IMPORTED_KEPT); }

/* Its state, judged as what was found. */
static int judge(struct flight *f, struct imported *im, struct held *held)
{
    strata_op *op = &f->op;
    int64_t now = ex_now_ms(f->root->ex);
    op_init(op, f->handle, &strata__below_all, &f->key, STRATA_OP_GET, now, &f->op_err);
    op->found = im->value != NULL ? strata_value_ref(im->value) : NULL;
    op->tags = im->tags != NULL ? strata_value_ref(im->tags) : NULL;
    op->meta = im->meta;
    if (f->layer_failed)
        return op_drop(op), IMPORTED_FAILED;
    if (!strata__held_init(f->handle, &strata__below_all, op, held))
        return IMPORTED_BANNED;
    if (held->d.gone_at <= now)
        return IMPORTED_EXPIRED;
    if (f->previous.there && f->previous.meta.born_ms >= held->meta.born_ms)
        return IMPORTED_KEPT;
    return IMPORTED_JUDGED;
}

/* Where it goes: to the first layer that others use, too, and what lies below it, or to all. */
static uint32_t first_layer(const struct root *root)
{
    for (uint32_t i = 0; i < root->layer_count; i++)
        if (root->layers[i].flags & STRATA_LAYER_SHARED)
            return i;
    return 0;
}

/* What those are told who have joined.  0: the entry is none that a read would be given, and a loader waits for its call. */
static int answer(struct flight *f, const struct held *held)
{
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    int loads = atomic_load(&f->wants_load);
    enum action a = strata__held_action(held, loads ? SITUATION_LOAD : SITUATION_READ, ex_now_ms(f->root->ex));
    int serves = action_serves(a);
    if (serves || !loads)
        strata__flight_seal_locked(f); /* who comes now is not answered with this: it begins anew */
    stripe_unlock(s, &frame);
    f->status = !serves                                              ? STRATA_MISS
                : held->meta.negative                                ? STRATA_ABSENT
                : a == ACTION_STALE || a == ACTION_STALE_AND_REFRESH ? STRATA_STALE
                                                                     : STRATA_OK;
    return serves || !loads;
}

int strata__imported_take(struct flight *f)
{
    struct imported *im = f->import;
    struct held held = { 0 };
    int became = judge(f, im, &held);
    if (became == IMPORTED_JUDGED && !answer(f, &held))
        became = IMPORTED_KEPT; /* what is loaded is younger */
    atomic_store(&im->became, became);
    if (became != IMPORTED_JUDGED) {
        strata__held_drop(&held);
        return 0;
    }
    f->value = held.value;
    f->tags = held.tags;
    f->is_hit = f->status != STRATA_MISS;
    f->hit_state = held_state(&held, ex_now_ms(f->root->ex));
    f->plan = (struct plan){ .kind = STRATA_OP_PUT,
                             .layer = first_layer(f->root),
                             .end = (uint32_t)f->root->layer_count,
                             .value = f->value,
                             .tags = f->tags,
                             .meta = held.meta,
                             .is_backfill = 1,
                             .from = LAYERS_MAX };
    return 1;
}
