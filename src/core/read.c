/* read.c - the layers' part of a read: one flight, or a batch of them, asked down the stack.
 *
 * Each layer gets one submit for all keys that are still without an answer.  What a layer gives is judged by the
 * freshness machine: served (and copied to the layers above), or remembered as the best that is held, for a loader that
 * fails or finds it unchanged.  A refresh asks only layers that others write to as well, and takes only what is newer
 * than what it refreshes: what this process holds itself is exactly what it is to replace. */
#include "src/core/flight.h"
#include "src/core/slide.h"
#include "src/core/plan.h"

#include <string.h>

static void op_answered(strata_op *op)
{
    struct read *read = op->owner;
    strand_arrived(read->strand);
}

static int skips_layer(const struct flight *f, const struct layer_slot *slot)
{
    if (f->refresh)
        return !(slot->flags & STRATA_LAYER_SHARED);
    /* The nearest was looked into when the flight was entered. */
    return slot->index == 0 && slot_instant(slot);
}

/* Move the flights that this layer is asked for to the front; how many. */
static size_t choose(struct read *read, const struct layer_slot *slot)
{
    size_t n = 0;
    for (size_t i = 0; i < read->count; i++) {
        struct flight *f = read->flights[i];
        if (skips_layer(f, slot))
            continue;
        read->flights[i] = read->flights[n];
        read->flights[n++] = f;
    }
    return n;
}

/* 1: all answers are there; 0: somebody else goes on. */
static int ask(struct read *read, struct layer_slot *slot, size_t n)
{
    int64_t now = ex_now_ms(read->root->ex), ns = ex_now_ns(read->root->ex);
    for (size_t i = 0; i < n; i++) {
        struct flight *f = read->flights[i];
        op_init(&f->op, f->handle, slot, &f->key, STRATA_OP_GET, now, &f->op_err);
        f->op.done = op_answered;
        f->op.owner = read;
        f->op_ns = ns;
        read->ops[i] = &f->op;
    }
    read->asked = n;
    return strata__strand_submit(read->strand, slot, read->ops, (uint32_t)n);
}

/* The entry that is to be refreshed, as another layer tells of it.  Births of one entry differ by a few milliseconds among
 * layers and nodes, so versions decide where there are any. */
static int is_seen(const struct flight *f, const struct held *held)
{
    const strata_meta *seen = &f->previous.meta;
    if (!f->refresh || !f->previous.there || f->previous.suspect != SUSPECT_NOT)
        return 0;
    if (seen->version != 0 && held->meta.version != 0)
        return seen->version == held->meta.version;
    return seen->born_wall_ms == held->meta.born_wall_ms;
}

/* Of two that can't be served now, the one that is worth more to a loader or a failed load. */
static void remember(struct flight *f, struct held *held, int64_t now)
{
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    struct held worse = *held;
    if (!held->meta.negative && !is_seen(f, held) && held_state(held, now) != STRATA_STATE_GONE &&
        (!f->previous.there || f->previous.meta.negative || held->d.fresh_until > f->previous.d.fresh_until)) {
        worse = f->previous;
        f->previous = *held;
    }
    stripe_unlock(s, &frame);
    strata__held_drop(&worse);
}

static int newer(const struct flight *f, const struct held *held, int64_t now)
{
    return held_state(held, now) == STRATA_STATE_FRESH && !is_seen(f, held) &&
           (!f->previous.there || f->previous.suspect != SUSPECT_NOT || held->d.fresh_until > f->previous.d.fresh_until);
}

/* The layer's entry answers the flight: result, and a plan to fill the layers above. */
static void take(struct flight *f, struct held *held, int stale, int64_t now)
{
    f->status = held->meta.negative ? STRATA_ABSENT : stale ? STRATA_STALE : STRATA_OK;
    f->value = held->value;
    f->tags = held->tags;
    f->is_hit = 1;
    f->hit_layer = held->layer;
    f->hit_state = held_state(held, now);
    if (held->layer > 0 && held->d.gone_at > now)
        f->plan = (struct plan){ .kind = STRATA_OP_PUT,
                                 .layer = 0,
                                 .end = held->layer,
                                 .value = f->value,
                                 .tags = f->tags,
                                 .meta = held->meta,
                                 .is_backfill = 1,
                                 .from = held->layer };
    /* A store that others write to, too, has confirmed it since the read began, and it was not banned. */
    if (f->root->coherence != NULL && (f->root->layers[held->layer].flags & STRATA_LAYER_SHARED))
        f->plan.meta.position = strata__suspect_cap(f->root, f->position, f->plan.meta.position);
}

int strata__read_judge(struct flight *f, struct layer_slot *slot, strata_op *op, int64_t now)
{
    struct held held = { 0 };
    if (!strata__held_init(f->handle, slot, op, &held))
        return 0;
    enum action a = ACTION_LOAD;
    if (!f->refresh)
        a = strata__held_action(&held, atomic_load(&f->wants_load) ? SITUATION_LOAD : SITUATION_READ, now);
    else if (newer(f, &held, now))
        a = ACTION_SERVE;
    if (a == ACTION_LOAD || a == ACTION_MISS) {
        remember(f, &held, now);
        return 0;
    }
    int stale = a == ACTION_STALE || a == ACTION_STALE_AND_REFRESH;
    strata__note_refresh(f, &held, a, now);
    f->slides = (unsigned char)(!stale && strata__slides(&held, now));
    take(f, &held, stale, now);
    return 1;
}

/* What the leasing layer answered, as far as it matters to a lease. */
static void note_for_lease(struct flight *f, int64_t now)
{
    f->leasing_ms = now - f->op.now_ms;
    if (f->op.status < 0)
        f->lease_state = LEASE_FAILED; /* it costs its timeout once */
    f->replaces = (unsigned char)strata__op_found(&f->op);
    f->replaced = f->op.meta.version;
}

/* 1: it answers. */
static int judge(struct flight *f, struct layer_slot *slot, int64_t now)
{
    strata__op_counted(f->handle, slot, &f->op);
    if (slot->index == f->root->lease_layer)
        note_for_lease(f, now);
    if (f->op.status == STRATA_MISS && f->op_err.status >= 0)
        f->missed_in |= 1u << slot->index;
    if (f->op.status < 0 && !f->layer_failed) {
        f->layer_failed = 1;
        strata__fail(&f->err, STRATA_ELAYER, slot->layer->name, "layer \"%s\" failed: %s", slot->layer->name,
                     f->op_err.message[0] != 0 ? f->op_err.message : strata_status_text(f->op.status));
        f->err.os_errno = f->op_err.os_errno;
    }
    return strata__op_found(&f->op) && strata__read_judge(f, slot, &f->op, now);
}

/* It goes on by itself, on this thread as far as it goes. */
void strata__flight_let_go(struct flight *f)
{
    if (!f->from_batch)
        return;
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    f->lead = NULL;
    stripe_unlock(s, &frame);
}

/* Take the answered ones out, and let them go on.  1: the read has nothing left (and may be gone). */
static int collect(struct read *read, struct layer_slot *slot)
{
    int64_t now = ex_now_ms(read->root->ex), ns = ex_now_ns(read->root->ex);
    size_t n = read->asked, left = read->count;
    struct frame frame; /* listeners that are called here keep all that are left from ending */
    read->asked = 0;
    frame_push(&frame, read->root, FRAME_STRAND);
    frame.flights = read->flights;
    for (size_t i = n; i-- > 0;) {
        struct flight *f = read->flights[i];
        frame.flight_count = left;
        if (!slot_instant(slot))
            strata__histogram_add(&slot->latency, (uint64_t)(ns - f->op_ns));
        if (!judge(f, slot, now))
            continue;
        plan_found_in(f, (ns - f->op_ns) / 1000);
        read->flights[i] = read->flights[--left];
        read->flights[left] = flight_ref(f);
        read->count = left;
        strata__flight_let_go(f);
        strata__flight_store(f);
        strata__flight_unref(f);
    }
    frame_end(&frame);
    return left == 0;
}

void strata__read_run(struct read *read)
{
    struct root *root = read->root;
    void (*over)(struct read *) = read->over;
    for (;;) {
        if (read->asked != 0 && collect(read, &root->layers[read->layer - 1])) {
            if (over != NULL)
                over(read);
            return;
        }
        struct layer_slot *slot = NULL;
        size_t n = 0;
        while (n == 0 && read->layer < root->layer_count) {
            slot = &root->layers[read->layer++];
            n = choose(read, slot);
        }
        if (n == 0)
            break;
        if (!ask(read, slot, n))
            return;
    }
    if (read->missed != NULL)
        read->missed(read);
    else
        strata__flight_after_layers(read->flights[0]);
}

/* All layers were asked ---------------------------------------------------------------------------------------- */

/* What was suspect is in no store that others write to: it is gone.  1: the layers of this node are to forget it. */
static int is_refuted(const struct flight *f)
{
    uint32_t shared = 0;
    for (size_t i = 0; i < f->root->layer_count; i++)
        shared |= f->root->layers[i].flags & STRATA_LAYER_SHARED ? 1u << i : 0;
    return f->refresh && f->previous.there && f->previous.suspect != SUSPECT_NOT && shared != 0 &&
           (f->missed_in & shared) == shared;
}

static void plan_forget(struct flight *f)
{
    uint32_t end = 0;
    while (!(f->root->layers[end].flags & STRATA_LAYER_SHARED))
        end++;
    f->plan = (struct plan){ .kind = STRATA_OP_REMOVE, .end = end };
}

int strata__flight_ends_unloaded(struct flight *f)
{
    struct frame frame;
    struct stripe *s = stripe_lock(f->root, f->key.hash, &frame);
    int ends = !atomic_load(&f->wants_load);
    if (ends) {
        f->lead = NULL;
        if (is_refuted(f))
            plan_forget(f);
        else
            strata__poison_one_locked(f); /* nobody may join any more, and nothing is stored */
    }
    stripe_unlock(s, &frame);
    if (!ends)
        return 0;
    f->status = f->layer_failed ? STRATA_ELAYER : STRATA_MISS;
    strata__flight_store(f);
    return 1;
}

int strata__flight_needs_load(struct flight *f, const struct flight *first)
{
    strata__flight_let_go(f);
    return !strata__flight_ends_unloaded(f) && strata__admit_last(f, first) && strata__load_begin(f);
}

void strata__flight_after_layers(struct flight *f)
{
    int is_suspect = f->refresh && f->previous.suspect != SUSPECT_NOT;
    if (f->import != NULL && strata__imported_take(f)) {
        strata__flight_store(f);
        return;
    }
    if (is_suspect && !root_leases(f->root))
        f->lease_state = LEASE_FAILED; /* so many at once: the whole cache may be suspect */
    strata__flight_let_go(f);
    if (strata__flight_ends_unloaded(f))
        return;
    /* From here on it has its loader and its policy for good: whoever joins brings none. */
    if (root_leases(f->root) || is_suspect)
        strata__lease_run(f);
    else if (policy_guards(&f->policy))
        strata__admit(f);
    else if (strata__admit_last(f, NULL) && strata__load_begin(f))
        strata__load_run(f);
}
