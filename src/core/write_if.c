/* write_if.c - a set that depends on what is there: absent, present, or of the version that its caller has read.
 *
 * Where there is a shared store, the furthest decides.  What it holds is read, and judged here, for it knows nothing of freshness and
 * bans; then it stores only if that is still what is there.  If not, it is all done again; but the version that a caller has read
 * does not come back.  Without a store this cache's own layers decide, while the key is this write's alone: whose entry has a
 * version only once somebody asked for it (strata_get_version), and that one is of this cache's own.
 *
 * Loads of the key go on while it looks, and are poisoned once it is to write.  One that is stored in between makes it look again; one
 * that slower layers are just taking is waited for first.  A version that is put back into a slow layer is such a write, too.
 *
 * Where the condition does not hold nothing is written, and loads stay what they are.  But a copy that this node holds, of what the store has no more, goes: who
 * reads again and tries again is not to be told the same. */
#include "src/core/flight.h"
#include "src/core/op_put.h"
#include "src/core/write.h"

enum { TRIES = 8, COMPARES_SHIFT = 7 };

static struct layer_slot *store_of(struct root *root)
{
    struct layer_slot *slot = &root->layers[root->set_order[0]];
    return slot->flags & STRATA_LAYER_SHARED ? slot : NULL;
}

int strata__write_decides(const struct write *w, const struct layer_slot *slot) { return store_of(w->root) == slot; }

uint32_t strata__stamp_life(const struct root *root)
{
    uint32_t folded = (uint32_t)(root->life ^ root->life >> 32);
    return folded != 0 ? folded : 1;
}

strata_entry_version strata__stamp_new(struct root *root)
{
    return (strata_entry_version){ atomic_fetch_add_explicit(&root->stamps, 1, memory_order_relaxed) + 1,
                                   strata__stamp_life(root) };
}

/* Deciding -------------------------------------------------------------------------------------------------------- */

static void stop(struct write *w, int status, enum write_stop stops)
{
    w->decided = 1;
    w->unchanged = 1;
    w->stops = (unsigned char)stops;
    if (status < 0 && w->status >= 0)
        w->status = strata__fail_plain(&w->err, status, "set");
}

static void conflict(struct write *w, int there)
{
    int stale = store_of(w->root) != NULL && w->when != STRATA_IF_ABSENT;
    strata__fail(&w->err, STRATA_ECONFLICT, "set",
                 w->when == STRATA_IF_ABSENT ? "there is a value already: get it"
                 : there ? "another value stands there than the one that was read: get it, and decide anew"
                         : "there is no value any more: load it, and decide anew");
    w->status = STRATA_ECONFLICT;
    stop(w, STRATA_ECONFLICT, stale ? STOP_FORGETS : STOP_HERE);
}

static void refuse(struct write *w, const struct layer_slot *slot, int status, const char *words)
{
    w->status = strata__fail(&w->err, status, slot->layer->name, "layer \"%s\" %s; nothing was changed",
                             slot->layer->name, words);
    stop(w, status, STOP_HERE);
}

/* It may be written.  `found` what the store holds, also where it is no answer to a reader: NULL nothing. */
static void allow(struct write *w, struct layer_slot *slot, const strata_entry_version *found)
{
    if (store_of(w->root) != NULL) {
        if (found != NULL && found->number == 0) {
            refuse(w, slot, STRATA_EUNSUPPORTED, "counts no versions: give its user the right to run scripts");
            return;
        }
        if (strata__write_bytes(w) == NULL) {
            stop(w, STRATA_ECODEC, STOP_HERE);
            return;
        }
        w->compares = (unsigned char)((found != NULL ? STRATA_OP_SAME : STRATA_OP_NONE) >> COMPARES_SHIFT);
        w->compared = found != NULL ? *found : (strata_entry_version){ 0, 0 };
    }
    w->decided = 1;
}

static int same(strata_entry_version a, strata_entry_version b) { return a.number == b.number && a.life == b.life; }

/* Nothing that a reader would get. */
static void decide_absent(struct write *w, struct layer_slot *slot, const strata_entry_version *found)
{
    if (w->when == STRATA_IF_ABSENT)
        allow(w, slot, found);
    else if (w->when == WHEN_STAMP)
        stop(w, STRATA_MISS, STOP_HERE);
    else
        conflict(w, 0);
}

/* 1: this entry decides; 0: a reader would ask the next layer. */
static int decide_by(struct write *w, struct layer_slot *slot, const struct held *held,
                     const strata_entry_version *found)
{
    enum action a = strata__held_action(held, SITUATION_READ, ex_now_ms(w->root->ex));
    int is_same = w->when == STRATA_IF_VERSION && same(w->expected, *found);
    if (!is_same && !action_serves(a))
        return 0;
    if (is_same)
        allow(w, slot, found);
    else if (held->meta.negative)
        decide_absent(w, slot, found);
    else if (w->when == STRATA_IF_PRESENT)
        allow(w, slot, found);
    else
        conflict(w, 1);
    return 1;
}

/* A version of its own, for an entry that has none yet. */
static int needs_stamp(const struct write *w, const strata_meta *meta)
{
    return w->when == WHEN_STAMP && (meta->version == 0 || meta->store_life != strata__stamp_life(w->root));
}

static void take_stamped(struct write *w, struct held *held)
{
    w->value = held->value;
    w->tags = held->tags;
    w->meta = held->meta;
    held->value = held->tags = NULL;
}

static void stamp_it(struct write *w, struct held *held)
{
    if (needs_stamp(w, &held->meta)) {
        strata_entry_version stamp = strata__stamp_new(w->root);
        held->meta.version = stamp.number;
        held->meta.store_life = (uint32_t)stamp.life;
        w->decided = 2; /* and put it back */
    }
    w->compared = (strata_entry_version){ held->meta.version, held->meta.store_life };
    take_stamped(w, held);
}

/* What w->op found in this layer.  It is decided, or w->at is the next layer to ask. */
static void decide_here(struct write *w, struct layer_slot *slot)
{
    struct held held;
    const int was_there = strata__op_found(&w->op);
    const strata_entry_version found = { w->op.meta.version, w->op.meta.store_life };
    if (w->op.status < 0) {
        refuse(w, slot, STRATA_ELAYER, "could not be asked what it holds");
        return;
    }
    int lives = strata__write_take(w, slot, &held), over = 0;
    if (lives && w->when == WHEN_STAMP) {
        over = action_serves(strata__held_action(&held, SITUATION_READ, ex_now_ms(w->root->ex)));
        if (over && held.meta.negative)
            stop(w, STRATA_MISS, STOP_HERE);
        else if (over)
            stamp_it(w, &held);
    } else if (lives) {
        over = decide_by(w, slot, &held, &found);
    }
    if (lives)
        strata__held_drop(&held);
    if (!over && (store_of(w->root) != NULL || ++w->at == w->root->layer_count))
        decide_absent(w, slot, was_there ? &found : NULL);
}

static void put_back(struct write *w, const struct layer_slot *slot, strata_value *value)
{
    w->op.value = value;
    op_put(&w->op, slot, NULL, &w->meta, w->tags);
}

static void decide_now_locked(struct write *w, struct layer_slot *slot)
{
    strata__write_op(w, slot, STRATA_OP_GET);
    strata__instant_submit(slot, &w->op);
    decide_here(w, slot);
    if (w->decided != 2)
        return;
    strata__write_op(w, slot, STRATA_OP_PUT);
    put_back(w, slot, w->value);
    strata__instant_submit(slot, &w->op);
    if (w->op.status != STRATA_OK) /* there it is forgotten by that */
        w->compared = (strata_entry_version){ 0, 0 };
    stop(w, STRATA_OK, STOP_HERE);
}

void strata__write_decide_locked(struct write *w)
{
    while (!w->decided)
        decide_now_locked(w, &w->root->layers[w->at]);
    if (w->when == WHEN_STAMP)
        stop(w, STRATA_OK, STOP_HERE);
}

/* A slow layer has answered. */
static void decide_answered(struct write *w, struct layer_slot *slot)
{
    w->asked = 0;
    strata__op_counted(w->handle, slot, &w->op);
    w->told |= w->op.status < 0;
    if (w->op.kind == STRATA_OP_GET) {
        decide_here(w, slot);
        return;
    }
    if (w->op.status != STRATA_OK)
        w->compared = (strata_entry_version){ 0, 0 };
    w->decided = 1;
}

/* Looking, among loads of the key ---------------------------------------------------------------------------------- */

void strata__write_look_locked(struct write *w)
{
    w->deciding = 1;
    atomic_fetch_add(&w->root->deciding, 1);
}

void strata__write_looked_locked(struct write *w)
{
    if (w->deciding)
        atomic_fetch_sub(&w->root->deciding, 1);
    w->deciding = w->disturbed = 0;
}

/* It writes nothing: loads go on.  But what this node has found of what the store no longer has is put nowhere. */
static void leave_alone(struct write *w)
{
    struct frame frame;
    struct stripe *s = stripe_lock(w->root, w->key.hash, &frame);
    if (w->stops == STOP_FORGETS)
        strata__outdate_locked(s, w->key.hash, w->handle->space, w->key.plain);
    strata__write_looked_locked(w);
    stripe_unlock(s, &frame);
}

enum begun {
    BEGUN,       /* what was seen is still there, and nobody else stores */
    BEGUN_AGAIN, /* a load was stored meanwhile: look again */
    BEGUN_WAITS  /* the same, once that has come to its end: somebody else goes on */
};

/* It is to write: what is being loaded is older.  A load that is just being stored in slower layers comes first, and is looked at. */
static enum begun begin_writing(struct write *w)
{
    enum begun begun = BEGUN;
    strata_value *value = NULL, *tags = NULL, *encoded = NULL;
    struct frame frame;
    struct stripe *s = stripe_lock(w->root, w->key.hash, &frame);
    if (!w->disturbed) {
        strata__write_looked_locked(w);
        strata__poison_locked(w->root, s, w->key.hash, w->handle->space, w->key.plain);
    } else {
        w->disturbed = w->decided = w->at = 0;
        if (w->when == WHEN_STAMP) { /* what it has read; else they are its caller's */
            value = w->value, tags = w->tags, encoded = w->encoded;
            w->value = w->tags = w->encoded = NULL;
        }
        w->busy.waiting = (unsigned char)strata__busy_must_wait_locked(s, &w->busy);
        begun = w->busy.waiting ? BEGUN_WAITS : BEGUN_AGAIN;
    }
    stripe_unlock(s, &frame);
    strata_value_unref(value);
    strata_value_unref(tags);
    strata_value_unref(encoded);
    return begun;
}

/* 1: it is answered; 0: somebody else goes on. */
static int ask(struct write *w, struct layer_slot *slot)
{
    if (slot_instant(slot)) {
        struct frame frame;
        struct stripe *s = stripe_lock(w->root, w->key.hash, &frame);
        decide_now_locked(w, slot);
        stripe_unlock(s, &frame);
        return 1;
    }
    strata__write_op(w, slot, w->decided == 2 ? STRATA_OP_PUT : STRATA_OP_GET);
    if (w->decided == 2)
        put_back(w, slot, strata__write_bytes(w));
    w->decided = 0;
    return strata__write_submit(w, slot);
}

/* What is there is known.  1: go on with it; 0: somebody else does; 2: look again. */
static int conclude(struct write *w)
{
    enum begun begun = BEGUN;
    if (w->decided == 2 && strata__write_bytes(w) == NULL)
        w->compared = (strata_entry_version){ 0, 0 }, w->decided = 1;
    if (w->when == WHEN_STAMP && w->decided == 1)
        stop(w, STRATA_OK, STOP_HERE);
    if (w->stops != STOP_NOT)
        leave_alone(w);
    else if (w->deciding) /* else it has lost, and looks again */
        begun = begin_writing(w);
    if (begun == BEGUN_WAITS)
        return 0;
    return begun == BEGUN && w->decided == 1 ? 1 : 2;
}

int strata__write_decide(struct write *w)
{
    for (;;) {
        struct layer_slot *store = store_of(w->root), *slot = store != NULL ? store : &w->root->layers[w->at];
        if (!w->asked && !ask(w, slot))
            return 0;
        if (w->asked)
            decide_answered(w, slot);
        int rc = w->decided ? conclude(w) : 2;
        if (rc != 2)
            return rc;
    }
}

/* Comparing ------------------------------------------------------------------------------------------------------- */

void strata__write_compare(struct write *w)
{
    w->op.flags |= (uint32_t)w->compares << COMPARES_SHIFT;
    w->op.meta.version = w->compared.number;
    w->op.meta.store_life = (uint32_t)w->compared.life;
}

int strata__write_compared(struct write *w)
{
    struct layer_slot *slot = store_of(w->root);
    if (w->op.kind != STRATA_OP_PUT || w->op.status == STRATA_OK)
        return 1;
    if (w->op.flags & STRATA_OP_LOST) {
        if (w->when == STRATA_IF_VERSION || ++w->lost == TRIES)
            conflict(w, 1);
        else
            w->decided = 0;
        return 0;
    }
    if (w->op.status > 0) {
        refuse(w, slot, STRATA_ELAYER,
               "did not take the value: it has no room for it, or its user may not run scripts, which compare");
        return 0;
    }
    w->stops = STOP_FORGETS; /* nobody knows whether it has it, and so nobody here has it, either */
    return 1;
}

/* Preparing ------------------------------------------------------------------------------------------------------- */

int strata__write_when(struct write *w, const strata_condition *only, strata_entry_version *out_version,
                       strata_error *err)
{
    struct layer_slot *store = store_of(w->root);
    if (only->only < STRATA_IF_ABSENT || only->only > STRATA_IF_VERSION)
        return strata__fail(err, STRATA_EINVAL, "only",
                            "a strata_condition says STRATA_IF_ABSENT, _PRESENT or _VERSION");
    if (only->only == STRATA_IF_VERSION && only->version.number == 0)
        return strata__fail(err, STRATA_EINVAL, "version",
                            "version 0 is none: take the one that strata_get_version() or a set gave");
    if (w->kind != STRATA_OP_PUT)
        return strata__fail(err, STRATA_EINVAL, "ttl_ms",
                            "a set that depends on what is there stores something: ttl_ms is off");
    if (store != NULL && !(store->flags & STRATA_LAYER_LEASES))
        return strata__fail(err, STRATA_EUNSUPPORTED, store->layer->name,
                            "layer \"%s\" is shared and does not compare versions: use a Redis layer",
                            store->layer->name);
    w->when = (unsigned char)only->only;
    w->expected = only->version;
    w->out_version = out_version;
    if (store == NULL) {
        strata_entry_version stamp = strata__stamp_new(w->root);
        w->meta.version = stamp.number;
        w->meta.store_life = (uint32_t)stamp.life;
    }
    return STRATA_OK;
}
