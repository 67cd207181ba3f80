/* lease.c - one load in the fleet: asking for the lease of a key before its loader is called, and giving it back.
 *
 * Once all layers have missed, the flight asks the farthest layer that gives leases.  What it answers is an entry, which is
 * a hit like any other; the lease; or nothing, and then the flight loads without, and what it loads is not put there.  The
 * flight waits as it waits for any slow layer: no thread does, but a caller that would sleep anyway.
 *
 * A lease that was got ends exactly once.  Until it does, it stands in f->lease, under the key lock; who takes it out of there
 * ends it: the PUT of what was loaded (store.c), or a RELEASE.  Poisoning a flight takes it, so that nobody waits for a load
 * that will store nothing, however long its loader goes on; and every flight is poisoned when it ends, so none can keep one. */
#include <string.h>

#include "src/core/flight.h"
#include "src/core/plan.h"

enum { TRIES_MOST = 4 };

static struct layer_slot *lease_slot(struct root *root) { return &root->layers[root->lease_layer]; }

/* Giving it back ------------------------------------------------------------------------------------------------ */

/* On a worker: the flight's last reference may run its users' code. */
static void free_lease(struct task *task)
{
    struct lease *l = (struct lease *)(void *)((char *)task - offsetof(struct lease, task));
    struct flight *f = l->flight;
    struct root *root = f->root;
    strata__op_counted(f->handle, lease_slot(root), &l->op);
    strata__free(f->mem, l);
    strata__flight_unref(f);
    root_leave(root);
}

static void released(strata_op *op)
{
    struct lease *l = op->owner;
    l->task.run = free_lease;
    ex_post_always(l->flight->root->ex, &l->task);
}

static void release(struct task *task)
{
    struct lease *l = (struct lease *)(void *)((char *)task - offsetof(struct lease, task));
    struct flight *f = l->flight;
    struct root *root = f->root;
    struct layer_slot *slot = lease_slot(root);
    strata_op *op = &l->op;
    op_init(op, f->handle, slot, &f->key, STRATA_OP_RELEASE, ex_now_ms(root->ex), &l->err);
    op->lease = l->number;
    op->done = released;
    op->owner = l;
    slot->layer->ops->submit(slot->layer, &op, 1);
}

void strata__lease_drop_locked(struct flight *f)
{
    struct lease *l = f->lease;
    f->lease = NULL;
    root_hold(f->root);
    l->task.run = release;
    ex_post_always(f->root->ex, &l->task);
}

void strata__lease_drop(struct flight *f)
{
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    struct lease *l = f->lease;
    f->lease = NULL;
    stripe_unlock(s, &frame);
    if (l == NULL)
        return;
    root_hold(f->root);
    release(&l->task);
}

/* It did not get one, or its PUT ends it. */
static void forget(struct lease *l)
{
    struct flight *f = l->flight;
    strata__free(f->mem, l);
    strata__flight_unref(f); /* never the last one: the strand has its own */
}

/* Asking -------------------------------------------------------------------------------------------------------- */

/* From here on plain gets are not kept waiting, and no loader is taken but the one that is there.  0: it is loaded without a
 * lease, or is over: strata__load_begin() tells. */
static int begin(struct flight *f)
{
    struct list_node gets;
    struct frame frame;
    list_init(&gets);
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    strata__waiters_take_locked(f, &gets, 0);
    int asks = (!list_empty(&f->waiters) || f->background || f->keep) && root_usable(f->root) && !f->closed &&
               !f->poisoned && !cleared_since(f->handle, f->position);
    if (asks)
        f->phase = FLIGHT_LEASING;
    stripe_unlock(s, &frame);
    struct answer miss = { .status = f->layer_failed ? STRATA_ELAYER : STRATA_MISS,
                           .err = &f->err,
                           .layer = LAYERS_MAX };
    strata__waiters_give(f, &gets, &miss);
    return asks;
}

static struct lease *new_lease(struct flight *f)
{
    struct lease *l = strata__alloc(f->mem, sizeof *l);
    if (l == NULL)
        return NULL;
    memset(l, 0, offsetof(struct lease, op));
    l->flight = flight_ref(f);
    return l;
}

static void answered(strata_op *op)
{
    struct strand *strand = op->owner;
    strand_arrived(strand);
}

strata_op *strata__lease_prepare(struct flight *f, struct strand *strand, uint32_t flags)
{
    struct root *root = f->root;
    if (f->lease_state > LEASE_ASKED) { /* its layer could not be asked a moment ago */
        (void)begin(f);
        return NULL;
    }
    struct lease *l = begin(f) ? f->asks : NULL;
    if (l == NULL && f->phase == FLIGHT_LEASING)
        l = new_lease(f);
    if (l == NULL) {
        f->lease_state = LEASE_NONE;
        return NULL;
    }
    f->asks = l;
    f->lease_state = LEASE_ASKED;
    op_init(&l->op, f->handle, lease_slot(root), &f->key, STRATA_OP_LEASE, ex_now_ms(root->ex), &l->err);
    l->op.asked_ms = l->op.now_ms - f->leasing_ms;
    l->op.lease = 0;
    l->op.flags = flags;
    if (f->replaces) {
        l->op.flags |= STRATA_OP_REFRESH;
        l->op.meta.version = f->replaced;
    }
    l->op.done = answered;
    l->op.owner = strand;
    return &l->op;
}

int strata__leases_submit(struct root *root, struct strand *strand, strata_op *const *ops, uint32_t count)
{
    strata_layer *layer = lease_slot(root)->layer;
    strand_expect(strand, count);
    layer->ops->submit(layer, ops, count);
    return strand_asked(strand);
}

/* What was answered ---------------------------------------------------------------------------------------------- */

/* It is ours, unless the flight was poisoned meanwhile: then it goes back before the loader is called. */
static void hold(struct flight *f, struct lease *l)
{
    struct frame frame;
    l->number = l->op.lease;
    f->lease_state = LEASE_HELD;
    count_up(f->handle, COUNT_LEASES);
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    f->lease = l;
    if (f->poisoned || cleared_since(f->handle, f->position))
        strata__lease_drop_locked(f);
    stripe_unlock(s, &frame);
}

static enum lease_answer found(struct flight *f, struct lease *l)
{
    struct root *root = f->root;
    uint64_t version = l->op.meta.version;
    if (strata__read_judge(f, lease_slot(root), &l->op, ex_now_ms(root->ex))) {
        count_up(f->handle, COUNT_LEASE_WAITS);
        plan_found_in(f, (ex_now_ms(root->ex) - l->op.now_ms) * 1000); /* mostly, another node's load */
        return LEASE_HIT;
    }
    f->replaces = 1;
    f->replaced = version;
    if (++f->lease_tries < TRIES_MOST)
        return LEASE_RETRY;
    f->lease_state = LEASE_NONE;
    return LEASE_LOAD;
}

enum lease_answer strata__lease_judge(struct flight *f)
{
    struct lease *l = f->asks;
    enum lease_answer answer = LEASE_LOAD;
    f->asks = NULL;
    /* One that may have waited for another node was answered by a store that is there: its time begins anew. */
    int waited = !(l->op.flags & STRATA_OP_NOWAIT);
    f->leasing_ms = waited ? 0 : f->leasing_ms + ex_now_ms(f->root->ex) - l->op.now_ms;
    strata__op_counted(f->handle, lease_slot(f->root), &l->op);
    if (strata__op_found(&l->op)) {
        answer = found(f, l);
    } else if (l->op.status == STRATA_PENDING) {
        answer = LEASE_PENDING;
    } else if (l->op.status != STRATA_MISS) {
        f->lease_state = LEASE_FAILED;
    } else if (l->op.lease == 0) {
        f->lease_state = LEASE_FREE;
    } else {
        hold(f, l);
        return LEASE_LOAD;
    }
    forget(l);
    return answer;
}

void strata__lease_load(struct flight *f)
{
    if (strata__admit_last(f, NULL) && strata__load_begin(f))
        strata__load_run(f);
}

/* Another node loads it, and nobody here waits: it ends.  1: it has. */
static int gives_up(struct flight *f)
{
    struct held held = { 0 };
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    int unwanted = list_empty(&f->waiters);
    if (unwanted) {
        strata__poison_one_locked(f);
        held = f->previous;
    }
    stripe_unlock(s, &frame);
    if (!unwanted)
        return 0;
    if (held.there) /* what that node loads is found by the next one that looks */
        strata__throttle(f->handle, &f->key, &held, f->policy.retry_ms);
    f->status = STRATA_ECANCELED;
    strata__flight_store(f);
    return 1;
}

/* 1: ask again, and wait. */
static int pending(struct flight *f, int waited)
{
    if (waited)
        count_up(f->handle, COUNT_LEASE_TIMEOUTS);
    if (f->policy.single_flight != STRATA_OFF && gives_up(f))
        return 0;
    if (!waited && f->policy.single_flight != STRATA_OFF)
        return 1;
    f->lease_state = LEASE_NONE;
    strata__admit(f);
    return 0;
}

/* 1: ask again. */
static int go_on(struct flight *f)
{
    int waited = !(f->asks->op.flags & STRATA_OP_NOWAIT);
    switch (strata__lease_judge(f)) {
    case LEASE_HIT: strata__flight_store(f); return 0;
    case LEASE_RETRY: return 1;
    case LEASE_PENDING: return pending(f, waited);
    case LEASE_LOAD: strata__admit(f); return 0;
    }
    return 0;
}

/* Whom nobody waits for does not wait either, and whoever shares no load. */
static uint32_t how_to_ask(struct flight *f)
{
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    int waits = !list_empty(&f->waiters) && f->policy.single_flight != STRATA_OFF;
    stripe_unlock(s, &frame);
    return waits ? 0 : STRATA_OP_NOWAIT;
}

/* 1: answered already. */
static int ask(struct flight *f)
{
    strata_op *op = strata__lease_prepare(f, &f->strand, how_to_ask(f));
    if (op == NULL) {
        strata__admit(f);
        return 0;
    }
    f->step = STEP_LEASE;
    return strata__leases_submit(f->root, &f->strand, &op, 1);
}

void strata__lease_run(struct flight *f)
{
    while (ask(f) && go_on(f))
        ;
}

void strata__lease_answered(struct flight *f)
{
    if (go_on(f))
        strata__lease_run(f);
}

/* Where it goes -------------------------------------------------------------------------------------------------- */

void strata__lease_plan(struct flight *f)
{
    struct plan *p = &f->plan;
    if (f->lease_state == LEASE_FAILED)
        strata__unleased_leave(f->root, &f->place);
    /* What a failed load would put back may have been deleted before the lease was given: that is for the layer to say, which
     * has it back with the RELEASE, or has not. */
    int stores = f->lease_state == LEASE_HELD && f->load.status >= 0 && p->kind != 0 && p->end > f->root->lease_layer;
    p->leased = stores ? p->kind : 0;
    if (!stores)
        strata__lease_drop(f);
}

uint64_t strata__lease_take(struct flight *f)
{
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    struct lease *l = f->lease;
    f->lease = NULL;
    stripe_unlock(s, &frame);
    if (l == NULL)
        return 0;
    uint64_t number = l->number;
    forget(l);
    return number;
}
