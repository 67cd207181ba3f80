/* get_direct.c - the short way of strata_get() where the stack is one layer that may be asked on the caller's thread.
 *
 * With nothing above to fill and no loader to call, a read needs no flight: nobody could store what it found.  It asks the
 * layer, judges the answer, and sleeps only where the layer answers later.  While its stripe of the key lock is busy it takes
 * the general way in hit.c, so that it joins who reads the key, and comes after the writes that began before it. */
#include "src/core/flight.h"

enum { ASKED, ANSWERED, SLEEPS, KEY_ROOM = 512 };

struct direct {
    strata_op op;
    strata_error words;
    struct driver driver; /* sleeps where the layer answers later */
    _Atomic(int) state;
};

static void nothing_to_write(void *ctx) { (void)ctx; }

static void answered(strata_op *op)
{
    struct direct *g = op->owner;
    /* Acquire: it sleeps; release: what the layer wrote is seen. */
    if (atomic_exchange_explicit(&g->state, ANSWERED, memory_order_acq_rel) == SLEEPS)
        strata__driver_done(&g->driver, nothing_to_write, NULL);
}

static void wait_for_answer(struct direct *g)
{
    int asked = ASKED;
    g->driver.left = 1;
    if (!atomic_compare_exchange_strong(&g->state, &asked, SLEEPS))
        return;
    for (;;) {
        key_mutex_lock(&g->driver.lock);
        size_t left = g->driver.left;
        key_mutex_unlock(&g->driver.lock);
        if (left == 0)
            return;
        strata__driver_step(&g->driver, INT64_MAX);
    }
}

static int is_busy(struct root *root, uint64_t hash)
{
    struct frame frame;
    struct stripe *s = stripe_lock(root, hash, &frame);
    int busy = s->count != 0;
    stripe_unlock(s, &frame);
    return busy;
}

static int failed(struct root *root, const struct direct *g, strata_error *err)
{
    const char *name = root->layers[0].layer->name;
    strata__fail(err, STRATA_ELAYER, name, "layer \"%s\" failed: %s", name,
                 g->words.message[0] != 0 ? g->words.message : strata_status_text(g->op.status));
    if (err != NULL)
        err->os_errno = g->words.os_errno;
    return STRATA_ELAYER;
}

static int judge(strata *cache, strata_slice key, struct direct *g, strata_value **out, strata_error *err)
{
    struct root *root = cache->root;
    struct layer_slot *slot = &root->layers[0];
    struct held held = { 0 };
    strata__op_counted(cache, slot, &g->op);
    if (g->op.status < 0)
        return failed(root, g, err);
    int rc = STRATA_MISS;
    if (strata__op_found(&g->op) && strata__held_init(cache, slot, &g->op, &held)) {
        enum action a = strata__held_action(&held, SITUATION_READ, ex_now_ms(root->ex));
        if (action_serves(a))
            rc = strata__held_serve(cache, key, &held, a, out);
        strata__held_drop(&held);
    }
    if (rc == STRATA_MISS)
        strata__answer_counted(cache, key, &(struct answer){ .status = STRATA_MISS });
    return rc;
}

int strata__get_direct(strata *cache, strata_slice key, uint64_t hash, strata_value **out, int *status,
                       strata_error *err)
{
    struct root *root = cache->root;
    struct layer_slot *slot = &root->layers[0];
    unsigned char room[KEY_ROOM];
    size_t size = root->plain_keys ? 0 : strata__storage_size(cache, key);
    if (root->layer_count != 1 || !(slot->flags & STRATA_LAYER_BLOCKS) || size > sizeof room || is_busy(root, hash))
        return 0;
    struct direct g;
    strata__driver_init(&g.driver, root->ex, 0);
    struct key_forms forms = { .plain = key, .storage = strata_bytes(room, size), .hash = hash };
    if (size != 0)
        strata__storage_write(cache, key, room);
    atomic_init(&g.state, ASKED);
    strata__op_init(&g.op, cache, slot, &forms, STRATA_OP_GET, ex_now_ms(root->ex), &g.words);
    g.op.done = answered;
    g.op.owner = &g;
    int64_t before = ex_now_ns(root->ex);
    strata_op *op = &g.op;
    slot->layer->ops->submit(slot->layer, &op, 1);
    if (atomic_load_explicit(&g.state, memory_order_acquire) != ANSWERED)
        wait_for_answer(&g);
    strata__histogram_add(&slot->latency, (uint64_t)(ex_now_ns(root->ex) - before));
    strata__driver_deinit(&g.driver);
    *status = judge(cache, key, &g, out, err);
    return 1;
}
