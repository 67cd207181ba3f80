/* inspect.c - looking without touching: has, ttl, inspect, size.
 *
 * Layers are asked one after the other, and nothing is copied up, joined or counted.  Slow layers are waited for on the
 * caller's thread. */
#include <string.h>

#include "src/core/behind.h"
#include "src/core/flight.h"

/* One question to one layer, waited for. */
struct probe {
    strata_op op;
    strata_error err;
    struct driver driver;
    int answered; /* the driver's lock */
};

static void set_answered(void *ctx) { ((struct probe *)ctx)->answered = 1; }

static void probe_done(strata_op *op)
{
    struct probe *p = op->owner;
    strata__driver_done(&p->driver, set_answered, p);
}

static int ask_slow(struct root *root, struct layer_slot *slot, struct probe *p)
{
    strata__driver_init(&p->driver, root->ex, 0);
    p->driver.left = 1;
    p->answered = 0;
    p->op.done = probe_done;
    p->op.owner = p;
    strata_op *op = &p->op;
    slot->layer->ops->submit(slot->layer, &op, 1);
    for (;;) {
        key_mutex_lock(&p->driver.lock);
        int answered = p->answered;
        key_mutex_unlock(&p->driver.lock);
        if (answered)
            break;
        strata__driver_step(&p->driver, INT64_MAX);
    }
    strata__driver_deinit(&p->driver);
    return p->op.status;
}

/* What a layer holds of a key.  STRATA_OK (held), STRATA_MISS, an error. */
static int probe(strata *cache, struct layer_slot *slot, const struct key_forms *key, struct probe *p, struct held *held)
{
    struct root *root = cache->root;
    memset(held, 0, sizeof *held);
    op_init(&p->op, cache, slot, key, STRATA_OP_GET, ex_now_ms(root->ex), &p->err);
    int rc;
    if (slot_instant(slot)) {
        strata__instant_submit(slot, &p->op);
        rc = p->op.status;
    } else {
        rc = ask_slow(root, slot, p);
    }
    if (rc == STRATA_STALE)
        rc = STRATA_OK;
    if (rc == STRATA_OK && !strata__held_init(cache, slot, &p->op, held))
        return STRATA_MISS;
    return rc;
}

/* What is served of it now: STRATA_OK, _STALE, _ABSENT; STRATA_MISS. */
static int served_as(const struct held *held, int64_t now)
{
    switch (strata__held_action(held, SITUATION_READ, now)) {
    case ACTION_SERVE:
    case ACTION_SERVE_AND_REFRESH: return held->meta.negative ? STRATA_ABSENT : STRATA_OK;
    case ACTION_STALE:
    case ACTION_STALE_AND_REFRESH: return STRATA_STALE;
    default: return STRATA_MISS;
    }
}

static int64_t until(int64_t moment, int64_t now)
{
    return moment == INT64_MAX ? STRATA_FOREVER : moment > now ? moment - now : 0;
}

static void describe(strata_inspection *out, const struct held *held, int64_t now)
{
    out->state = strata__freshness_state(&held->d, now);
    out->negative = held->meta.negative != 0;
    out->fresh_ms = until(held->d.fresh_until, now);
    out->stale_ms = held->meta.stale_ms > 0 ? until(held->d.stale_until, now) : 0;
    out->error_ms = held->meta.error_ms > 0 ? until(held->d.error_until, now) : 0;
    out->age_ms = now > held->meta.born_ms ? now - held->meta.born_ms : 0;
    out->value_bytes = strata_value_size(held->value);
}

/* The first layer with a servable entry answers; its held entry's time to live goes to *fresh_ms.  With `all`, every
 * layer is asked, and the first that holds anything is described. */
static int walk(strata *cache, const struct key_forms *key, int64_t *fresh_ms, strata_inspection *all, strata_error *err)
{
    struct root *root = cache->root;
    struct probe p;
    struct held held;
    int rc = STRATA_MISS, failed = 0;
    for (size_t i = 0; i < root->layer_count; i++) {
        int found = probe(cache, &root->layers[i], key, &p, &held);
        int64_t now = ex_now_ms(root->ex); /* that took a while */
        if (found < 0 && !failed) {
            failed = 1;
            strata__fail(err, STRATA_ELAYER, root->layers[i].layer->name, "layer \"%s\" failed: %s",
                         root->layers[i].layer->name,
                         p.err.message[0] != 0 ? p.err.message : strata_status_text(found));
        }
        if (found != STRATA_OK)
            continue;
        int served = served_as(&held, now), gone = held_state(&held, now) == STRATA_STATE_GONE;
        if (all != NULL && !gone) {
            if (all->layers == 0)
                describe(all, &held, now);
            all->layers |= 1u << i;
            rc = STRATA_OK;
        } else if (all == NULL && served != STRATA_MISS) {
            *fresh_ms = served == STRATA_STALE ? 0 : until(held.d.fresh_until, now);
            rc = served;
        }
        strata__held_drop(&held);
        if (all == NULL && rc != STRATA_MISS)
            return rc;
    }
    return rc == STRATA_MISS && failed ? STRATA_ELAYER : rc;
}

int strata__look_version(strata *cache, const struct key_forms *key, struct held *out, strata_error *err)
{
    struct root *root = cache->root;
    struct probe p;
    int rc = STRATA_MISS, failed = 0;
    out->there = 0;
    strata__behind_wait(cache, key);
    for (size_t i = 0; i < root->layer_count && (!out->there || out->meta.version == 0); i++) {
        struct held held;
        int found = probe(cache, &root->layers[i], key, &p, &held);
        if (found < 0 && !failed) {
            failed = 1;
            strata__fail(err, STRATA_ELAYER, root->layers[i].layer->name, "layer \"%s\" failed: %s",
                         root->layers[i].layer->name,
                         p.err.message[0] != 0 ? p.err.message : strata_status_text(found));
        }
        if (found != STRATA_OK)
            continue;
        int served = served_as(&held, ex_now_ms(root->ex));
        if (served == STRATA_MISS || (out->there && (held.meta.version == 0 || served == STRATA_ABSENT))) {
            strata__held_drop(&held);
            continue;
        }
        if (out->there)
            strata__held_drop(out);
        *out = held;
        rc = served;
    }
    return rc == STRATA_MISS && failed ? STRATA_ELAYER : rc;
}

static int is_loading(strata *cache, const struct key_forms *key)
{
    struct frame frame;
    struct stripe *s = stripe_lock(cache->root, key->hash, &frame);
    struct flight *f = strata__flight_find_locked(s, key->hash, cache->space, key->plain);
    int loading = f != NULL && (f->phase == FLIGHT_LEASING || f->phase == FLIGHT_LOADING) && !f->delivered;
    stripe_unlock(s, &frame);
    return loading;
}

static int look(strata *cache, strata_slice key, int64_t *fresh_ms, strata_inspection *all, strata_error *err)
{
    struct key_forms forms;
    unsigned char *storage;
    int rc = check_key(cache, key, err);
    if (rc == STRATA_OK)
        rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    if (strata__forms_make(cache, key, &forms, &storage) == STRATA_OK) {
        strata__behind_wait(cache, &forms);
        rc = walk(cache, &forms, fresh_ms, all, err);
        if (all != NULL && rc >= 0) {
            all->loading = is_loading(cache, &forms);
            if (all->loading)
                rc = STRATA_OK;
        }
    } else {
        rc = strata__fail_plain(err, STRATA_ENOMEM, "key");
    }
    strata__free(cache->root->mem, storage);
    root_leave(cache->root);
    return rc;
}

int strata_has(strata *cache, strata_slice key, strata_error *err)
{
    int64_t fresh_ms;
    if (cache == NULL)
        return strata__no_argument(err, "strata_has() needs a cache");
    int rc = look(cache, key, &fresh_ms, NULL, err);
    return rc < 0 ? rc : rc == STRATA_OK || rc == STRATA_STALE;
}

int strata_ttl(strata *cache, strata_slice key, int64_t *out_ms, strata_error *err)
{
    int64_t fresh_ms = 0;
    if (cache == NULL || out_ms == NULL)
        return strata__no_argument(err, "strata_ttl() needs a cache and where to put the result");
    int rc = look(cache, key, &fresh_ms, NULL, err);
    if (rc == STRATA_OK || rc == STRATA_STALE || rc == STRATA_ABSENT)
        *out_ms = fresh_ms;
    return rc;
}

int strata_inspect(strata *cache, strata_slice key, strata_inspection *out, strata_error *err)
{
    if (cache == NULL || out == NULL || out->size < sizeof(size_t))
        return strata__no_argument(err, "strata_inspect() needs a cache and a strata_inspection with its size set");
    strata_inspection found = { 0 };
    int rc = look(cache, key, NULL, &found, err);
    if (rc < 0)
        return rc;
    size_t size = out->size;
    if (size > sizeof found)
        memset((char *)out + sizeof found, 0, size - sizeof found);
    found.size = size;
    memcpy(out, &found, size < sizeof found ? size : sizeof found);
    return rc;
}

static int count_key(uint32_t space, strata_slice key, void *ctx)
{
    (void)space;
    (void)key;
    ++*(uint64_t *)ctx;
    return 0;
}

/* From what it keeps count of; 0 where it keeps none. */
static int told_by_stats(strata_layer *layer, uint64_t *out)
{
    if (layer->ops->stats == NULL || (layer->flags & STRATA__LAYER_UNCOUNTED) != 0)
        return 0;
    strata_layer_stats stats = { .size = sizeof stats };
    layer->ops->stats(layer, &stats);
    *out = stats.entries;
    return 1;
}

int strata_size(strata *cache, uint64_t *out, strata_error *err)
{
    if (cache == NULL || out == NULL)
        return strata__no_argument(err, "strata_size() needs a cache and where to put the result");
    struct root *root = cache->root;
    strata_layer *lists = NULL;
    int rc = root_enter(root, err);
    if (rc != STRATA_OK)
        return rc;
    int told = 0;
    for (size_t i = 0; i < root->layer_count && !told; i++) {
        strata_layer *layer = root->layers[i].layer;
        told = told_by_stats(layer, out);
        if (lists == NULL && layer->ops->keys != NULL)
            lists = layer;
    }
    if (!told && lists != NULL) {
        uint64_t count = 0;
        rc = lists->ops->keys(lists, count_key, &count, err);
        *out = count;
    } else if (!told) {
        rc = strata__fail(err, STRATA_EUNSUPPORTED, "layers", "no layer of this cache can tell how much it holds");
    }
    root_leave(root);
    return rc;
}
