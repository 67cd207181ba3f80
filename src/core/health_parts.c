/* health_parts.c - how each layer and each bus is, since when, and why.
 *
 * Of a layer the cache knows what its stats say and what failed; what only the layer knows, it adds (strata_layer_ops.health).
 * A part is well, less, or down: words say which it is, and what to look at. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/core/coherence_impl.h"

void strata__trouble_note(struct trouble *t, int64_t now_ms, int status, const strata_error *err)
{
    key_mutex_lock(&t->lock);
    if (t->err.status == 0 || now_ms - t->last_ms >= TROUBLE_PAUSE_MS)
        t->since_ms = now_ms;
    t->last_ms = now_ms;
    t->err = *err;
    t->err.status = status;
    if (t->err.message[0] == '\0')
        snprintf(t->err.message, sizeof t->err.message, "%s", strata_status_text(status));
    key_mutex_unlock(&t->lock);
}

static void worse(strata_part_health *h, int32_t state)
{
    if (h->state < state)
        h->state = state;
}

/* Layers -------------------------------------------------------------------------------------------------------- */

static void add_trouble(struct trouble *t, int64_t now, strata_part_health *h)
{
    key_mutex_lock(&t->lock);
    if (t->err.status != 0) {
        h->last = t->err;
        h->failed_ms = now - t->last_ms;
        h->since_ms = h->failed_ms;
        if (h->failed_ms < TROUBLE_PAUSE_MS) {
            h->state = STRATA_HEALTH_LESS;
            h->since_ms = now - t->since_ms;
        }
    }
    key_mutex_unlock(&t->lock);
}

/* What is wrong, as "; ..." behind the state. */
static void put_layer_words(strata_part_health *h, const strata_layer_stats *s)
{
    char *out = h->words;
    size_t room = sizeof h->words;
    int n;
    if (h->state == STRATA_HEALTH_DOWN)
        n = snprintf(out, room, "down for %" PRId64 " ms, and asked again in %" PRId64 " ms", h->since_ms, h->retry_ms);
    else
        n = snprintf(out, room, h->state == STRATA_HEALTH_LESS ? "not as it should be" : "well");
#define ADD(...) n += n >= 0 && (size_t)n < room ? snprintf(out + n, room - (size_t)n, __VA_ARGS__) : 0
    if (h->waiting != 0)
        ADD("; it is yet to be told of %" PRIu64 " deletes, clears and bans", h->waiting);
    if (s->unleased)
        ADD("; the store gives neither leases nor versions, for want of rights");
    if (h->state != STRATA_HEALTH_WELL && h->last.status != 0) {
        ADD("; ");
        if (n >= 0 && (size_t)n < room)
            strata__words_fit(out + n, room - (size_t)n, h->last.message);
    }
#undef ADD
}

void strata__health_layer_fill(struct root *root, struct layer_slot *slot, strata_part_health *h)
{
    strata_layer *layer = slot->layer;
    const strata_layer_ops *ops = layer->ops;
    strata_layer_stats s = STRATA_LAYER_STATS_INIT;
    int64_t now = ex_now_ms(root->ex);
    snprintf(h->name, sizeof h->name, "%s", layer->name);
    snprintf(h->kind, sizeof h->kind, "%s", ops->kind != NULL ? ops->kind : "");
    if (ops->stats != NULL)
        ops->stats(layer, &s);
    h->failed_ms = -1;
    h->since_ms = now - root->opened_ms;
    h->breaker = s.breaker;
    h->waiting = s.queued_deletes;
    h->bytes = s.bytes;
    h->max_bytes = s.max_bytes;
    h->budget_bytes = s.budget_bytes;
    add_trouble(&slot->trouble, now, h);
    if (h->waiting != 0 || s.unleased)
        worse(h, STRATA_HEALTH_LESS);
    if (s.breaker != STRATA_BREAKER_CLOSED)
        worse(h, STRATA_HEALTH_DOWN);
    if (ops->size >= offsetof(strata_layer_ops, health) + sizeof ops->health && ops->health != NULL)
        ops->health(layer, h);
    if (h->words[0] == '\0')
        put_layer_words(h, &s);
}

/* Buses --------------------------------------------------------------------------------------------------------- */

static void put_bus_words(const struct bus_slot *b, strata_part_health *h)
{
    char *out = h->words;
    size_t room = sizeof h->words;
    int n;
    if (h->state == STRATA_HEALTH_DOWN)
        n = snprintf(out, room, "down for %" PRId64 " ms: %" PRIu64 " messages wait; ", h->since_ms, h->waiting);
    else if (h->state == STRATA_HEALTH_WELL)
        n = snprintf(out, room, "up for %" PRId64 " ms, and nothing is missing", h->since_ms);
    else
        n = snprintf(out, room, "up for %" PRId64 " ms, and not trusted: %s", h->since_ms,
                     b->c->publish_only ? "it only publishes (publish_only)"
                     : b->rejected != 0 ? "messages were refused: give all nodes the same secret and version"
                                        : "it waits for proof that nothing is missing");
    if (h->state == STRATA_HEALTH_DOWN && n >= 0)
        strata__words_fit(out + n, room - (size_t)n, h->last.status != 0 ? h->last.message : "it has not been up yet");
}

static void fill_bus(struct bus_slot *b, strata_part_health *h)
{
    struct coherence *c = b->c;
    snprintf(h->name, sizeof h->name, "%s", b->bus->name);
    snprintf(h->kind, sizeof h->kind, "%s", b->bus->ops->kind != NULL ? b->bus->ops->kind : "");
    key_mutex_lock(&c->lock);
    int64_t now = ex_now_ms(c->root->ex);
    h->since_ms = now - b->since_ms;
    h->waiting = b->queued + (b->all_due != 0);
    LIST_EACH(node, &b->sending)
    h->waiting += node != NULL;
    h->trusted = b->proven != NEVER && b->proven + c->trust_ms > now;
    h->last = b->down;
    h->failed_ms = b->down.status != 0 ? now - b->down_ms : -1;
    h->state = !b->up ? STRATA_HEALTH_DOWN : h->trusted ? STRATA_HEALTH_WELL : STRATA_HEALTH_LESS;
    put_bus_words(b, h);
    key_mutex_unlock(&c->lock);
}

/* The calls ----------------------------------------------------------------------------------------------------- */

static int is_sized(const strata_part_health *out) { return out != NULL && out->size >= sizeof out->size; }

static void put_out(strata_part_health *out, const strata_part_health *h)
{
    size_t first = sizeof out->size, known = out->size < sizeof *h ? out->size : sizeof *h;
    memset((char *)out + first, 0, out->size - first);
    memcpy((char *)out + first, (const char *)h + first, known - first);
}

int strata_health_layer(strata *cache, size_t layer, strata_part_health *out, strata_error *err)
{
    strata_part_health h = STRATA_PART_HEALTH_INIT;
    if (cache == NULL || !is_sized(out))
        return strata__no_argument(err, "strata_health_layer() needs a cache and a struct with its size set");
    if (layer >= cache->root->layer_count)
        return strata__no_argument(err, "there is no such layer: strata_layer_count() tells how many there are");
    int rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    strata__health_layer_fill(cache->root, &cache->root->layers[layer], &h);
    put_out(out, &h);
    root_leave(cache->root);
    return STRATA_OK;
}

int strata_health_bus(strata *cache, size_t bus, strata_part_health *out, strata_error *err)
{
    strata_part_health h = STRATA_PART_HEALTH_INIT;
    if (cache == NULL || !is_sized(out))
        return strata__no_argument(err, "strata_health_bus() needs a cache and a struct with its size set");
    int rc = root_enter(cache->root, err);
    if (rc != STRATA_OK)
        return rc;
    struct coherence *c = cache->root->coherence;
    if (c != NULL && bus < c->count) {
        fill_bus(&c->buses[bus], &h);
        put_out(out, &h);
    } else {
        rc = strata__no_argument(err, "there is no such bus: strata_health_get() tells how many there are");
    }
    root_leave(cache->root);
    return rc;
}
