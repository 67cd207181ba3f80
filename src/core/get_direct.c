/* get_direct.c - the short way of strata_get() where the stack is one layer that may be asked on the caller's thread.
 *
 * With nothing above to fill and no loader to call, a read needs no flight: nobody could store what it found.  It asks the
 * layer, judges the answer, and sleeps only where the layer answers later.  While its stripe of the key lock is busy it takes
 * the general way in hit.c, so that it joins who reads the key, and comes after the writes that began before it.
 *
 * Beside a small value out of the page cache every locked instruction and every reading of the clock shows.  So the usual
 * answer (found, of this life, fresh, given on the caller's thread) is judged by the clock that the call began with, as a
 * memory hit is, and counted in the thread's own cell. */
#include "src/core/direct.h"

enum { ASKED, ANSWERED, SLEEPS };

struct direct {
    strata_op op;
    strata_error words;
    struct driver driver; /* set where the layer answers later */
    const void *asker;    /* this_thread() of who asks */
    _Atomic(int) state;
};

/* An address that no other living thread has. */
static const void *this_thread(void) { return &strata__counter_slot; }

static void nothing_to_write(void *ctx) { (void)ctx; }

static void answered(strata_op *op)
{
    struct direct *g = op->owner;
    /* Only the asker makes ASKED into SLEEPS, so on its own thread nothing can come between. */
    if (g->asker == this_thread() && atomic_load_explicit(&g->state, memory_order_relaxed) == ASKED) {
        atomic_store_explicit(&g->state, ANSWERED, memory_order_relaxed);
        return;
    }
    /* Acquire: it sleeps; release: what the layer wrote is seen. */
    if (atomic_exchange_explicit(&g->state, ANSWERED, memory_order_acq_rel) == SLEEPS)
        strata__driver_done(&g->driver, nothing_to_write, NULL);
}

static size_t left_locked(struct driver *d)
{
    key_mutex_lock(&d->lock);
    size_t left = d->left;
    key_mutex_unlock(&d->lock);
    return left;
}

static void wait_for_answer(struct direct *g, struct executor *ex)
{
    int asked = ASKED;
    strata__driver_init(&g->driver, ex, 0);
    g->driver.left = 1;
    if (atomic_compare_exchange_strong(&g->state, &asked, SLEEPS))
        while (left_locked(&g->driver) != 0)
            strata__driver_step(&g->driver, INT64_MAX);
    strata__driver_deinit(&g->driver);
}

static void ask(struct root *root, struct direct *g)
{
    strata_layer *layer = root->layers[0].layer;
    strata_op *op = &g->op;
    layer->ops->submit(layer, &op, 1);
    int answered_here = atomic_load_explicit(&g->state, memory_order_acquire) == ANSWERED;
    if (answered_here && !(op->flags & STRATA_OP_WAITED))
        return;
    if (!answered_here)
        wait_for_answer(g, root->ex);
    op->now_ms = ex_now_ms(root->ex); /* that took a while */
}

static void ask_timed(struct root *root, struct direct *g)
{
    int64_t before = ex_now_ns(root->ex);
    ask(root, g);
    strata__histogram_add(&root->layers[0].latency, (uint64_t)(ex_now_ns(root->ex) - before));
}

static int failed(struct root *root, const strata_op *op, strata_error *err)
{
    const char *name = root->layers[0].layer->name;
    strata__fail(err, STRATA_ELAYER, name, "layer \"%s\" failed: %s", name,
                 op->err->message[0] != 0 ? op->err->message : strata_status_text(op->status));
    if (err != NULL)
        err->os_errno = op->err->os_errno;
    return STRATA_ELAYER;
}

__attribute__((noinline)) int strata__direct_judge(strata *cache, strata_slice key, strata_op *op, strata_value **out,
                                                   strata_error *err)
{
    struct root *root = cache->root;
    struct layer_slot *slot = &root->layers[0];
    struct held held = { 0 };
    if (op->status < 0)
        return failed(root, op, err);
    int rc = STRATA_MISS;
    if (strata__op_found(op) && strata__held_init(cache, slot, op, &held)) {
        enum action a = strata__held_action(&held, SITUATION_READ, ex_now_ms(root->ex));
        if (action_serves(a))
            rc = strata__held_serve(cache, key, &held, a, out);
        strata__held_drop(&held);
    }
    if (rc == STRATA_MISS)
        strata__answer_counted(cache, key, &(struct answer){ .status = STRATA_MISS });
    return rc;
}

/* The key as the layer wants it; a prefix before it is written to `room`. */
static int make_forms(strata *cache, strata_slice key, unsigned char room[KEY_ROOM], struct key_forms *forms)
{
    forms->plain = forms->storage = key;
    if (cache->root->plain_keys)
        return 1;
    size_t size = strata__storage_size(cache, key);
    if (size == key.size)
        return 1;
    if (size > KEY_ROOM)
        return 0;
    strata__storage_write(cache, key, room);
    forms->storage = strata_bytes(room, size);
    return 1;
}

int strata__get_direct(strata *cache, strata_slice key, uint64_t hash, int64_t now_ms, strata_value **out,
                       strata_error *err)
{
    struct root *root = cache->root;
    struct layer_slot *slot = &root->layers[0];
    unsigned char room[KEY_ROOM];
    struct direct g;
    struct key_forms forms = { .hash = hash };
    if (direct_is_busy(root, hash) || !make_forms(cache, key, room, &forms))
        return NOT_DIRECT;
    atomic_init(&g.state, ASKED);
    g.asker = this_thread();
    op_init(&g.op, cache, slot, &forms, STRATA_OP_GET, now_ms, &g.words);
    g.op.flags |= slot->flags & STRATA_LAYER_LENDS ? STRATA_OP_WAITED : 0;
    g.op.done = answered;
    g.op.owner = &g;
    if (direct_is_timed(cache))
        ask_timed(root, &g);
    else
        ask(root, &g);
    direct_count(cache, slot, &g.op);
    enum hot_word word = HOT_SLOW;
    int rc = STRATA_OK;
    if (__builtin_expect(direct_is_plain(cache, &g.op), 1)) {
        *out = g.op.found;
        word = HOT_LOOKED;
    } else {
        rc = strata__direct_judge(cache, key, &g.op, out, err);
    }
    counter_raise(cache->cells, counter_index(), word);
    return rc;
}
