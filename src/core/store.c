/* store.c - the end of a flight: the loader's result, the store under its fences, the answers, and settling.
 *
 * A value is installed only if its flight was not poisoned and was born at or after the position of the last clear; both
 * are looked at under the key lock, under which instant layers take it at once.  For slower layers the flight stays in the
 * table (STORING) and looks again before each of them; a write that comes meanwhile waits until it has settled.  A slow layer
 * that does not take the value is told to remove the key: what it may still hold is superseded.  So is one that was cleared
 * while the value was on its way: it may have been cleared first.
 *
 * The callers have their value before slower layers do, so they may load faster than those store.  What is on its way then has
 * a bound: past it slow layers are passed by.  One that said that it holds nothing of the key is left alone; another loses
 * what it holds, which is the affair of the thread that brings it, or its callers wait for it: so that neither piles up.
 *
 * With a lease (lease.c) the layer that gave it comes first: only what is stored there may be held anywhere, and with the
 * version that it got.  The callers do not wait for it (past the bound they do); who comes meanwhile finds the flight in the
 * table, and its value.  Where the lease was lost, the flight ends, nothing is held, and who comes then begins anew. */
#include <string.h>

#include "src/core/bans.h"
#include "src/core/behind.h"
#include "src/core/plan.h"
#include "src/core/op_put.h"
#include "src/core/slide.h"

/* What a load gave --------------------------------------------------------------------------------------------- */

/* Most namespaces of many never load, so that only the first load makes the histogram. */
static struct histogram *load_latency(strata *handle)
{
    const strata_allocator *mem = handle->root->mem;
    struct histogram *h = atomic_load_explicit(&handle->load_latency, memory_order_acquire), *none = NULL;
    if (h != NULL)
        return h;
    h = strata__alloc_zero(mem, sizeof *h);
    if (h == NULL || atomic_compare_exchange_strong(&handle->load_latency, &none, h))
        return h;
    strata__free(mem, h); /* another thread was faster */
    return none;
}

static void note_success(struct flight *f, int64_t elapsed_ns)
{
    struct histogram *h = load_latency(f->handle);
    if (h != NULL)
        strata__histogram_add(h, (uint64_t)elapsed_ns);
    if (!event_wanted(f->root, STRATA_EVENT_LOAD_SUCCESS))
        return;
    strata_event e = { .size = sizeof e,
                       .kind = STRATA_EVENT_LOAD_SUCCESS,
                       .cache = f->handle,
                       .key = f->key.plain,
                       .elapsed_us = elapsed_ns / 1000 };
    strata__event_fire(f->handle, &e);
}

static void note_failure(struct flight *f, int64_t elapsed_ns)
{
    const struct strata_load *load = &f->load;
    if (load->status == STRATA_ECLOSED && f->closed)
        return;
    count_up(f->handle, COUNT_LOAD_ERRORS);
    if (!event_wanted(f->root, STRATA_EVENT_LOAD_ERROR))
        return;
    strata_event e = { .size = sizeof e,
                       .kind = STRATA_EVENT_LOAD_ERROR,
                       .status = load->status,
                       .cache = f->handle,
                       .key = f->key.plain,
                       .elapsed_us = elapsed_ns / 1000,
                       .message = load->err.message };
    strata__event_fire(f->handle, &e);
}

/* What the load says of its origin.  Memory, limits of ours and the cache's end are not of its making. */
static enum breaker_verdict verdict_of(const struct flight *f)
{
    int status = f->load.status;
    if (status >= 0)
        return BREAKER_WELL;
    return status == STRATA_ENOMEM || status == STRATA_EVALUESIZE || status == STRATA_ECLOSED ? BREAKER_UNSURE
                                                                                              : BREAKER_SICK;
}

void strata__flight_loaded(struct flight *f)
{
    struct strata_load *load = &f->load;
    int64_t elapsed_ns = ex_now_ns(f->root->ex) - f->load_ns;
    if (policy_guards(&f->policy))
        strata__admission_over(f, verdict_of(f));
    if (load->status < 0) {
        note_failure(f, elapsed_ns);
        strata__plan_failure(f);
    } else {
        note_success(f, elapsed_ns);
        f->status = load->status;
        f->value = load->value;
        load->value = NULL;
        if (load->not_modified)
            f->value = strata_value_ref(f->previous.value);
        strata__plan_load(f, elapsed_ns);
    }
    if (f->lease_state != LEASE_UNASKED)
        strata__lease_plan(f);
    strata__flight_store(f);
}

/* Storing ----------------------------------------------------------------------------------------------------- */

static void fill_put(struct flight *f, const struct layer_slot *slot, strata_op *op)
{
    struct plan *p = &f->plan;
    op->meta = p->meta;
    if (p->kind != STRATA_OP_PUT)
        return;
    op->value = p->meta.negative ? NULL : p->value;
    op_put(op, slot, f->policy.layer_ttl_ms, &p->meta, p->tags);
    op_update_only(op, slot, f->policy.admit);
    op_resides(op, slot, f->policy.resident);
    if (!slot_instant(slot) && f->policy.cost_us <= 0 && op->meta.cost_us < 1000)
        op->meta.cost_us = 0; /* measured, and not worth the bytes */
}

/* 1: that was it, for all that is told of it. */
static int put_now_locked(struct flight *f)
{
    struct layer_slot *slot = &f->root->layers[f->plan.layer++];
    op_init(&f->op, f->handle, slot, &f->key, f->plan.kind, ex_now_ms(f->root->ex), &f->op_err);
    fill_put(f, slot, &f->op);
    if (f->plan.is_backfill && f->plan.from == slot->index + 1)
        f->op.flags |= STRATA_OP_BACKED;
    strata__instant_submit(slot, &f->op);
    if (plan_imports(&f->plan) && f->op.status == STRATA_OK)
        strata__imported_stored(f->import);
    if (slot->demotions != NULL)
        f->plan.refused = f->op.status != STRATA_OK;
    return !op_unadmitted(&f->op, slot);
}

static void late_leave(struct flight *f)
{
    if (f->late_bytes == 0)
        return;
    atomic_fetch_sub_explicit(&f->root->late_bytes, f->late_bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&f->root->late, 1, memory_order_relaxed);
    f->late_bytes = 0;
}

/* 1: its callers have their answer, or get it now, and this one may go on. */
static int late_enter(struct flight *f, int always)
{
    struct root *root = f->root;
    size_t bytes = sizeof *f + f->key.storage.size;
    bytes += f->plan.value != NULL ? strata__value_cost(f->plan.value) : 0;
    /* Relaxed: a bound, and no more.  Two that come to it at once may both be turned away. */
    uint32_t others = atomic_fetch_add_explicit(&root->late, 1, memory_order_relaxed);
    uint64_t their_bytes = atomic_fetch_add_explicit(&root->late_bytes, bytes, memory_order_relaxed);
    f->late_bytes = bytes;
    if (always || others == 0 || (others < root->options.max_queued && their_bytes + bytes <= LATE_BYTES_MOST))
        return 1;
    late_leave(f);
    return 0;
}

/* May it be put into this slow layer?  A worker does that itself, and takes nothing else meanwhile, where the layer blocks. */
static int may_go_on(struct flight *f, const struct layer_slot *slot)
{
    if (f->late_bytes != 0 || (f->plan.layer == 0 && !f->refresh) || plan_imports(&f->plan))
        return 1;
    if ((slot->flags & STRATA_LAYER_BLOCKS) && ex_on_worker(f->root->ex))
        return 1;
    return late_enter(f, 0);
}

/* Is the value put there?  If not, the layer gets what is evicted above it, and is only to forget. */
static int takes_puts(const struct flight *f, const struct layer_slot *slot)
{
    return f->plan.kind == STRATA_OP_PUT &&
           (!(slot->flags & STRATA_LAYER_DEMOTED) || f->plan.refused || plan_imports(&f->plan));
}

/* What a layer below a memory layer holds may also have come from there since it was asked. */
static int may_hold(const struct flight *f, const struct layer_slot *slot)
{
    return !(f->missed_in & 1u << slot->index) || (slot->flags & STRATA_LAYER_DEMOTED);
}

/* Store at once what can be, up to the next layer that takes its time.  Bit i: layer i has it. */
static uint32_t advance_locked(struct flight *f)
{
    struct plan *p = &f->plan;
    uint32_t stored = 0;
    while (p->kind != 0 && p->layer < p->end && p->leased == 0) {
        struct layer_slot *slot = &f->root->layers[p->layer];
        if (slot_instant(slot)) {
            uint32_t layer = p->layer;
            stored |= (uint32_t)put_now_locked(f) << layer;
            continue;
        }
        if (lease_skips(f, p->layer)) {
            p->layer++;
            continue;
        }
        if (!p->passes && !may_go_on(f, slot)) {
            p->passes = 1;
            if (f->refresh)
                (void)late_enter(f, 1); /* it may have to forget; no more begin */
        }
        if (!p->passes)
            break;
        if (takes_puts(f, slot))
            atomic_fetch_add_explicit(&slot->passed, 1, memory_order_relaxed);
        if (may_hold(f, slot))
            break;
        p->layer++;
    }
    return stored;
}

/* Do the callers wait until the layers that are passed by have forgotten the key?  Theirs is then the bound.  Where the layer
 * blocks, it is done by this thread in any case. */
static int forgets_first(const struct flight *f)
{
    const struct plan *p = &f->plan;
    for (uint32_t i = p->layer; p->passes && !f->refresh && i < p->end; i++) {
        const struct layer_slot *slot = &f->root->layers[i];
        if (!(slot->flags & (STRATA_LAYER_INSTANT | STRATA_LAYER_BLOCKS)) && may_hold(f, slot) && !lease_skips(f, i))
            return 1;
    }
    return 0;
}

/* What is put back after a failed load, and what is filled from below, was compared with bans up to its own position. */
static int may_store_locked(const struct flight *f)
{
    const struct plan *p = &f->plan;
    if (f->poisoned || cleared_since(f->handle, f->position))
        return 0;
    if (f->outdated && (p->is_backfill || f->load.status < 0))
        return 0; /* it was found, not loaded */
    return p->kind != STRATA_OP_PUT ||
           !strata__banned_since(f->handle, f->key.plain, p->meta.position, p->meta.tag_count, p->tags);
}

static void op_stored(strata_op *op)
{
    struct flight *f = op->owner;
    strand_arrived(&f->strand);
}

/* Does what is stored replace something else?  What a failed load puts back is what was there. */
static int supersedes(const struct flight *f)
{
    return f->plan.kind == STRATA_OP_PUT && f->load.status >= 0 && !plan_imports(&f->plan);
}

/* Bytes for a layer that holds no objects.  0: they can't be made. */
static int encoded(struct flight *f, struct layer_slot *slot)
{
    strata_value *v = f->plan.value;
    if (f->plan.kind != STRATA_OP_PUT || v == NULL || v->object == NULL)
        return 1;
    int rc = f->encoded != NULL ? STRATA_OK : strata__encode(f->root, v, &f->encoded);
    if (rc == STRATA_OK) {
        f->op.value = f->encoded;
        return 1;
    }
    atomic_fetch_add_explicit(&slot->errors, 1, memory_order_relaxed);
    count_up(f->handle, COUNT_ERRORS);
    strata__event_error(f->handle, f->key.plain, slot->layer->name, rc, strata_status_text(rc));
    return 0;
}

static void begin_op(struct flight *f, struct layer_slot *slot, uint32_t kind)
{
    op_init(&f->op, f->handle, slot, &f->key, kind, ex_now_ms(f->root->ex), &f->op_err);
    f->op.lease = 0;
    f->op.done = op_stored;
    f->op.owner = f;
}

/* 1: answered at once; 0: somebody else goes on. */
static int submit_slow(struct flight *f, struct layer_slot *slot)
{
    f->step = STEP_STORED;
    strata_op *op = &f->op;
    return strata__strand_submit(&f->strand, slot, &op, 1);
}

/* The slow layer whose turn it is. */
static struct layer_slot *slot_now(const struct flight *f)
{
    return &f->root->layers[f->plan.leased != 0 ? f->root->lease_layer : f->plan.layer];
}

static void next_slot(struct flight *f)
{
    if (f->plan.leased != 0)
        f->plan.leased = 0;
    else
        f->plan.layer++;
    f->step = STEP_STORE;
}

/* A put as the layer wants it told apart.  0: its lease was lost before it was used, and nothing is stored. */
static int mark_put(struct flight *f, const struct layer_slot *slot)
{
    struct plan *p = &f->plan;
    if (p->is_backfill && (slot->flags & STRATA_LAYER_LEASES))
        f->op.flags |= STRATA_OP_BACKFILL;
    if (p->leased == STRATA_OP_PUT)
        f->op.lease = strata__lease_take(f);
    if (p->leased == STRATA_OP_PUT && f->op.lease == 0)
        p->kind = 0;
    return p->kind != 0;
}

/* 1: done at once (or passed by); 0: somebody else goes on. */
static int put_slow(struct flight *f)
{
    struct layer_slot *slot = slot_now(f);
    if (f->plan.passes || (f->plan.kind == STRATA_OP_PUT && !takes_puts(f, slot))) {
        begin_op(f, slot, STRATA_OP_REMOVE); /* it comes when it is evicted above; what it supersedes goes now */
        return submit_slow(f, slot);
    }
    begin_op(f, slot, f->plan.kind);
    fill_put(f, slot, &f->op);
    if (encoded(f, slot)) {
        if (mark_put(f, slot))
            return submit_slow(f, slot);
    } else if (supersedes(f)) {
        begin_op(f, slot, STRATA_OP_REMOVE);
        return submit_slow(f, slot);
    }
    next_slot(f);
    return 1;
}

static void tell_stored(struct flight *f, uint32_t layer)
{
    struct plan *p = &f->plan;
    struct root *root = f->root;
    if (plan_imports(p)) {
        if (!slot_instant(&root->layers[layer])) /* others have said so */
            strata__imported_stored(f->import);
    } else if (p->is_backfill) {
        count_up(f->handle, COUNT_BACKFILLS);
        if (!event_wanted(root, STRATA_EVENT_BACKFILL))
            return;
        strata_event e = { .size = sizeof e,
                           .kind = STRATA_EVENT_BACKFILL,
                           .cache = f->handle,
                           .key = f->key.plain,
                           .layer = root->layers[layer].layer->name,
                           .from_layer = root->layers[p->from].layer->name };
        strata__event_fire(f->handle, &e);
    } else if (p->kind == STRATA_OP_PUT && p->meta.negative && layer == 0) {
        event_fire(f->handle, STRATA_EVENT_NEGATIVE_SET, f->key.plain, root->layers[layer].layer->name);
    }
}

/* The last words: nothing of the flight may be touched after. */
static void settle(struct flight *f)
{
    struct root *root = f->root;
    strata__refresh_after(f);
    if (f->slides)
        strata__slide_begin(f->handle, &f->key);
    strata_value_unref(f->value);
    strata_value_unref(f->tags);
    strata_value_unref(f->encoded);
    f->value = f->tags = f->encoded = NULL;
    late_leave(f);
    if (policy_guards(&f->policy))
        strata__admission_over(f, BREAKER_UNSURE); /* it ended before its loader was called */
    if (f->lease_state == LEASE_FAILED)
        strata__unleased_leave(root, &f->place); /* it ended before its loader was called */
    strata__strand_detach(&f->strand);
    strata__flight_unref(f);
    root_leave(root);
}

/* Timers that are set still. */
enum { TIMER_REFRESH = 1, TIMER_LIMIT = 2 };

static int leave_table_locked(struct flight *f, struct stripe *s)
{
    f->phase = FLIGHT_SETTLED;
    f->in_table = 0;
    strata__poison_one_locked(f);
    strata__busy_leave_locked(s, &f->busy);
    if (s->parked != 0)
        strata__late_leave_locked(s, f);
    int timers = (f->timer_set ? TIMER_REFRESH : 0) | (f->limit_set ? TIMER_LIMIT : 0);
    f->timer_set = f->limit_set = 0;
    if (f->late)
        atomic_fetch_sub(&f->root->detached, 1);
    return timers;
}

/* What a round has to say, under no lock. */
static void tell_round(struct flight *f, uint32_t stored, int fenced, int ends, struct list_node *taken)
{
    for (uint32_t i = 0; stored >> i != 0; i++)
        if (stored >> i & 1)
            tell_stored(f, i);
    if (fenced && f->plan.value != NULL && !f->plan.is_backfill && f->load.status >= 0 &&
        !atomic_load(&f->load.canceled))
        count_up(f->handle, COUNT_FENCED);
    struct answer a = { .status = f->status,
                        .value = f->value,
                        .err = &f->err,
                        .is_hit = f->is_hit,
                        .layer = f->hit_layer,
                        .state = f->hit_state,
                        .last = ends ? &f->value : NULL };
    strata__waiters_give(f, taken, &a);
}

/* The next slow layer.  1: another round now. */
static int go_on_slow(struct flight *f, int delivered)
{
    struct root *root = f->root;
    const struct plan *p = &f->plan;
    int blocks = (slot_now(f)->flags & STRATA_LAYER_BLOCKS) != 0;
    if (delivered && blocks && !p->passes && !ex_on_worker(root->ex)) {
        f->step = STEP_STORE;
        strata__strand_pass(&f->strand); /* its caller has an answer, and shall not wait for this */
        return 0;
    }
    if (delivered)
        strata__strand_detach(&f->strand);
    if (f->behind_late != BEHIND_NONE && strata__late_waits(f))
        return 0;
    return put_slow(f);
}

/* Have the callers their answer before the next slow layer is done with the value? */
static int gives_early(struct flight *f)
{
    const struct plan *p = &f->plan;
    if (plan_imports(p))
        return 0;
    return p->leased != 0 ? late_enter(f, f->refresh) : p->layer > 0 && !forgets_first(f);
}

/* One round: what can be stored at once, answers, and the next slow layer.  1: another round now. */
static int store_round(struct flight *f)
{
    struct root *root = f->root;
    struct plan *p = &f->plan;
    struct list_node taken;
    struct frame frame;
    list_init(&taken);
    struct stripe *s = stripe_lock(root, f->key.hash, &frame);
    int fenced = p->kind != 0 && p->layer < p->end && !may_store_locked(f);
    if (fenced && plan_imports(p))
        strata__imported_fenced(f->import);
    if (fenced)
        p->kind = 0;
    if (p->kind != 0 && p->layer < p->end && atomic_load(&root->deciding) != 0)
        strata__disturb_locked(s, f);
    const int late = p->kind != 0 && p->layer < p->end && atomic_load(&root->detached) != 0;
    uint32_t stored = advance_locked(f);
    int slow = p->kind != 0 && p->layer < p->end;
    if (late)
        strata__late_store_locked(s, f, slow);
    int give = !f->delivered && (!slow || gives_early(f));
    if (give) {
        f->delivered = 1;
        strata__waiters_take_locked(f, &taken, 1);
        if (f->status < 0 || f->status == STRATA_MISS)
            strata__poison_one_locked(f); /* those who come now try for themselves */
    }
    int delivered = f->delivered, timers = 0;
    if (slow)
        f->phase = FLIGHT_STORING;
    else
        timers = leave_table_locked(f, s);
    stripe_unlock(s, &frame);

    tell_round(f, stored, fenced, !slow, &taken);
    if (timers & TIMER_REFRESH && ex_cancel(root->ex, &f->refresh_timer)) {
        strata__flight_unref(f);
        root_leave(root);
    }
    if (timers & TIMER_LIMIT)
        strata__load_limit_stop(f);
    if (slow)
        return go_on_slow(f, delivered);
    if (root->reads_back && p->kind == STRATA_OP_PUT && !p->is_backfill)
        strata__read_back(root, f->key.storage);
    settle(f);
    return 0;
}

/* The key was written, deleted or leased by another meanwhile: what was loaded is held nowhere. */
static int lost(struct flight *f)
{
    if (f->plan.leased == 0 || f->op.kind != STRATA_OP_PUT || !(f->op.flags & STRATA_OP_LOST))
        return 0;
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    strata__poison_one_locked(f); /* who comes from now on begins anew */
    stripe_unlock(s, &frame);
    f->plan.kind = 0;
    count_up(f->handle, COUNT_LEASES_LOST);
    return 1;
}

/* A slow layer has answered.  1: go on; 0: it is asked again, and somebody else goes on. */
static int stored(struct flight *f)
{
    struct layer_slot *slot = slot_now(f);
    struct plan *p = &f->plan;
    strata__op_counted(f->handle, slot, &f->op);
    if (f->op.status == STRATA_OK && f->op.lease != 0 && (slot->flags & STRATA_LAYER_SHARED))
        strata__behind_told(f->handle, &f->key, f->op.meta.version, f->op.meta.store_life);
    int is_put = f->op.kind == STRATA_OP_PUT, too_late = is_put && cleared_since(f->handle, f->position);
    if (lost(f)) {
        /* Nothing here is to be taken out again. */
    } else if (f->op.kind == p->kind && f->op.status == STRATA_OK && !too_late) {
        tell_stored(f, slot->index);
        if (p->leased == STRATA_OP_PUT)
            p->meta.version = f->op.meta.version, p->meta.store_life = f->op.meta.store_life;
    } else if (too_late || (is_put && supersedes(f) && !(f->op.flags & STRATA_OP_BACKFILL))) {
        begin_op(f, slot, STRATA_OP_REMOVE);
        f->op.flags = too_late ? 0 : STRATA_OP_LOADED;
        return submit_slow(f, slot);
    } else if (plan_imports(p) && f->op.status == STRATA_AGAIN && (f->op.flags & STRATA_OP_BACKFILL)) {
        strata__imported_fenced(
            f->import); /* something stands there, word of a delete maybe: then others don't get it, either */
        p->kind = 0;
    }
    if (p->leased != 0)
        strata__lease_drop(f); /* a REMOVE does not end it */
    next_slot(f);
    return 1;
}

void strata__flight_store(struct flight *f)
{
    do {
        while (f->step == STEP_STORED)
            if (!stored(f))
                return;
    } while (store_round(f));
}

/* Throttling -------------------------------------------------------------------------------------------------- */

void strata__throttle(strata *handle, const struct key_forms *key, const struct held *held, int64_t retry_ms)
{
    struct root *root = handle->root;
    struct layer_slot *slot = &root->layers[0];
    int64_t now = ex_now_ms(root->ex);
    strata_op op;
    strata_error words;
    struct frame frame;
    if (!slot_instant(slot) || retry_ms <= 0 || now >= held->d.gone_at)
        return;
    struct stripe *s = stripe_lock(root, key->hash, &frame);
    op_init(&op, handle, slot, key, STRATA_OP_GET, now, &words);
    strata__instant_submit(slot, &op);
    /* Only if it is still the same entry: a newer one must not be replaced. */
    strata_value *value = op.found, *tags = op.tags;
    strata_meta meta = op.meta;
    if (op.status == STRATA_OK && value != NULL && meta.born_ms == held->meta.born_ms) {
        struct deadlines d;
        strata__deadlines(&meta, meta.born_ms, &d);
        op_init(&op, handle, slot, key, STRATA_OP_PUT, now, &words);
        op.meta = meta;
        op.meta.retry_at_ms = now + retry_ms;
        op.value = value;
        op.tags = tags;
        op.expires_ms = d.gone_at;
        strata__instant_submit(slot, &op);
    }
    stripe_unlock(s, &frame);
    strata_value_unref(value);
    strata_value_unref(tags);
}
