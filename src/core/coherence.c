/* coherence.c - the buses of a cache: taken, started, stopped, closed, and opened again after fork(). */
#include <stdio.h>
#include <string.h>

#include "src/core/coherence_impl.h"
#include "src/policy/options.h"

enum { FLUSH_MS = 1000, ROUSE_MS = 50, LOOK_MS = 2, WINDOWS = 8 };

/* Life ------------------------------------------------------------------------------------------------------------ */

static int check_bus(const strata_options *options, size_t i, strata_error *err)
{
    const strata_bus *bus = options->buses[i];
    if (bus == NULL)
        return strata__fail(err, STRATA_EINVAL, "buses",
                            "bus %zu is NULL: constructors never return NULL, so this one was not filled in", i);
    for (size_t j = 0; j < i; j++)
        if (options->buses[j] == bus)
            return strata__fail(err, STRATA_EINVAL, "buses", "buses %zu and %zu are the same one", j, i);
    if (bus->failed.status < 0) {
        if (err != NULL)
            *err = bus->failed;
        return bus->failed.status;
    }
    const strata_bus_ops *ops = bus->ops;
    int publishes = !(bus->flags & STRATA_BUS_RECEIVES_ONLY);
    if (ops == NULL || ops->start == NULL || ops->stop == NULL || ops->close == NULL ||
        (publishes && (ops->publish == NULL || bus->max_message_bytes < 4096)))
        return strata__fail(
            err, STRATA_EINVAL, bus->name,
            "the bus lacks start, stop, close, publish or room for messages of 4,096 bytes: fill in its "
            "strata_bus_ops");
    return STRATA_OK;
}

static int check_options(const strata_coherence_options *given, strata_coherence_options *known, strata_error *err)
{
    static const strata_coherence_options init = STRATA_COHERENCE_OPTIONS_INIT;
    const strata_coherence_options *o = given != NULL ? given : &init;
    int rc = strata__options_check(&strata__coherence_rows, o, o->size, known, sizeof *known, err);
    if (rc != STRATA_OK)
        return rc;
    strata__options_fill(&strata__coherence_rows, known);
    if (known->trust_ms <= known->heartbeat_ms)
        return strata__fail(
            err, STRATA_EINVAL, "trust_ms",
            "trust_ms=%lld is not above heartbeat_ms=%lld: trust would end between two heartbeats; give at least "
            "two or three times as much",
            (long long)known->trust_ms, (long long)known->heartbeat_ms);
    return STRATA_OK;
}

static char *copy_text(struct root *root, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = strata__alloc(root->mem, size);
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

static void new_id(struct coherence *c)
{
    for (size_t i = 0; i < BUS_NODE_ID; i += 8) {
        uint64_t r = ex_random(c->root->ex);
        memcpy(c->id + i, &r, 8);
    }
}

static int take_bus(struct coherence *c, strata_bus *bus, strata_error *err)
{
    struct bus_slot *b = &c->buses[c->count];
    b->c = c;
    b->bus = bus;
    b->flags = bus->flags & STRATA_BUS_RECEIVES_ONLY ? bus->flags & ~(uint32_t)STRATA_BUS_ORDERED : bus->flags;
    const int follows = (b->flags & STRATA_BUS_FOLLOWS) != 0;
    if (follows && c->follows) /* a connection of the store has one listener */
        return strata__fail(err, STRATA_EINVAL, bus->name,
                            "two buses can't both be told of what this cache reads: give it one with per_key");
    c->follows |= follows;
    c->root->reads_back |= follows && !c->publish_only;
    b->index = (unsigned char)c->count;
    b->counted.size = sizeof b->counted;
    strata__bus_slot_begin(b);
    int rc = strata__out_init(b, err);
    if (rc == STRATA_OK)
        c->count++;
    else
        strata__out_deinit(b);
    return rc;
}

/* A cache over a server that can carry messages has a bus by itself: that of its farthest layer which brings one. */
static strata_bus *default_bus(const strata_options *options, const strata_coherence_options *known)
{
    if (options->bus_count != 0 || known->default_bus == STRATA_OFF)
        return NULL;
    for (size_t i = options->layer_count; i-- > 0;) {
        strata_layer *layer = options->layers[i];
        strata_bus *bus = layer != NULL && layer->failed.status >= 0 ? strata__layer_take_bus(layer) : NULL;
        if (bus != NULL)
            return bus;
    }
    return NULL;
}

static int take_all(struct coherence *c, const strata_options *options, strata_bus *own, strata_error *err)
{
    int rc = STRATA_OK;
    for (size_t i = 0; rc == STRATA_OK && i < options->bus_count; i++)
        rc = take_bus(c, options->buses[i], err);
    if (own != NULL) {
        rc = take_bus(c, own, err);
        c->own_bus = rc == STRATA_OK ? own : NULL;
    }
    return rc;
}

static int copy_texts(struct coherence *c, const strata_coherence_options *known, strata_error *err)
{
    c->node_name = known->node_name != NULL ? copy_text(c->root, known->node_name) : NULL;
    c->secret = known->secret != NULL ? copy_text(c->root, known->secret) : NULL;
    int lacks = (known->node_name != NULL && c->node_name == NULL) || (known->secret != NULL && c->secret == NULL);
    return lacks ? strata__fail_plain(err, STRATA_ENOMEM, "coherence") : STRATA_OK;
}

int strata__coherence_take(struct root *root, const strata_options *options, strata_error *err)
{
    strata_coherence_options known;
    int rc = check_options(options->coherence, &known, err);
    if (rc == STRATA_OK && options->bus_count != 0 && options->buses == NULL)
        rc = strata__fail(err, STRATA_EINVAL, "buses", "bus_count is %zu, and buses is NULL: give as many, or 0",
                          options->bus_count);
    for (size_t i = 0; rc == STRATA_OK && i < options->bus_count; i++)
        rc = check_bus(options, i, err);
    strata_bus *own = rc == STRATA_OK ? default_bus(options, &known) : NULL;
    if (rc != STRATA_OK || (options->bus_count == 0 && own == NULL))
        return rc;
    struct coherence *c = root->coherence = strata__alloc_zero(root->mem, sizeof *c);
    if (c == NULL) {
        strata_bus_free(own);
        return strata__fail_plain(err, STRATA_ENOMEM, "coherence");
    }
    c->root = root;
    root->publish_ban = strata__publish_ban;
    c->heartbeat_ms = known.heartbeat_ms;
    c->trust_ms = known.trust_ms;
    c->window_ms = known.trust_ms / WINDOWS + 1;
    c->suspect_ms = known.suspect_ms;
    c->open_wait_ms = known.open_wait_ms;
    c->max_queued = known.max_queued;
    c->prime_most = known.priming == STRATA_ON ? known.prime_max_bytes : 0;
    c->spread_ms = known.suspect_ms == STRATA_OFF ? STRATA_OFF : known.spread_ms;
    c->publish_only = known.publish_only == STRATA_ON;
    list_init(&c->waits);
    strata__checks_init(c);
    rc = copy_texts(c, &known, err);
    if (rc == STRATA_OK)
        rc = take_all(c, options, own, err);
    if (c->own_bus == NULL)
        strata_bus_free(own);
    return rc;
}

static uint64_t channel_of(const struct root *root)
{
    uint64_t identity = 0;
    for (size_t i = 0; i < root->layer_count; i++) {
        const strata_layer *layer = root->layers[i].layer;
        if (layer->size >= offsetof(strata_layer, identity) + sizeof layer->identity && layer->identity != 0)
            identity = layer->identity;
    }
    return identity;
}

static int start_buses(struct coherence *c, strata_error *err)
{
    new_id(c);
    c->channel = channel_of(c->root);
    strata__note_load(c);
    strata__trust_begin(c);
    for (size_t i = 0; i < c->count; i++) {
        struct bus_slot *b = &c->buses[i];
        unsigned char cursor[NOTE_CURSOR]; /* its own moves on as soon as it speaks */
        size_t cursor_size = b->cursor_size;
        memcpy(cursor, b->cursor, sizeof cursor);
        strata_bus_start how = { .size = sizeof how,
                                 .resume_from = strata_bytes(cursor, cursor_size),
                                 .node_name = c->node_name,
                                 .node_id = strata_bytes(c->id, BUS_NODE_ID) };
        b->started = 1; /* it may speak before start() has returned */
        int rc = b->bus->ops->start(b->bus, &b->host, &how, err);
        if (rc < 0) {
            key_mutex_lock(&c->lock);
            b->started = 0;
            key_mutex_unlock(&c->lock);
            return strata__fail_plain(err, rc, b->bus->name);
        }
    }
    strata__beat_begin(c);
    return STRATA_OK;
}

int strata__coherence_start(struct root *root, strata_error *err)
{
    return root->coherence != NULL ? start_buses(root->coherence, err) : STRATA_OK;
}

void strata__coherence_settle(struct root *root)
{
    struct coherence *c = root->coherence;
    if (c == NULL || c->open_wait_ms == STRATA_OFF || ex_on_worker(root->ex))
        return;
    int64_t until = ex_now_ms(root->ex) + c->open_wait_ms;
    for (;;) {
        int up = 1;
        key_mutex_lock(&c->lock);
        for (size_t i = 0; i < c->count; i++)
            up &= c->buses[i].was_up;
        key_mutex_unlock(&c->lock);
        if (up || ex_now_ms(root->ex) >= until)
            return;
        struct parker parker = { 0 };
        ex_park(root->ex, &parker, ex_now_ms(root->ex) + LOOK_MS);
    }
}

static int can_rouse(const strata_bus *bus)
{
    return bus->ops->size >= offsetof(strata_bus_ops, rouse) + sizeof bus->ops->rouse && bus->ops->rouse != NULL;
}

static int owes(const struct bus_slot *b) { return !list_empty(&b->queue) || !list_empty(&b->sending) || b->all_due; }

/* A bus that is down is waited for only as long as it has something to tell: its goodbye is not worth that. */
static int all_said(struct coherence *c)
{
    int all = 1;
    key_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->count; i++) {
        const struct bus_slot *b = &c->buses[i];
        if (!b->publishes || !b->started)
            continue;
        if (b->up)
            all &= b->said_goodbye && !b->is_out && !b->failed;
        else
            all &= !owes(b) || !can_rouse(b->bus);
    }
    key_mutex_unlock(&c->lock);
    return all;
}

void strata__coherence_rouse(struct root *root)
{
    struct coherence *c = root->coherence;
    for (size_t i = 0; c != NULL && i < c->count; i++) {
        struct bus_slot *b = &c->buses[i];
        key_mutex_lock(&c->lock);
        int rouse = b->started && b->publishes && !b->up && can_rouse(b->bus);
        if (b->failed)
            b->again_at = ex_now_ms(root->ex); /* nor does it pause between two attempts to publish */
        key_mutex_unlock(&c->lock);
        if (rouse)
            b->bus->ops->rouse(b->bus);
    }
}

static void flush(struct coherence *c)
{
    struct root *root = c->root;
    int64_t now = ex_now_ms(root->ex), until = now + FLUSH_MS, rouse_at = now;
    for (;; now = ex_now_ms(root->ex)) {
        if (now >= rouse_at) {
            strata__coherence_rouse(root);
            rouse_at = now + ROUSE_MS;
        }
        strata__host_closing(root); /* pauses of buses are over */
        for (size_t i = 0; i < c->count; i++)
            strata__out_pump(&c->buses[i]);
        if (all_said(c) || now >= until)
            return;
        struct parker parker = { 0 };
        ex_park(root->ex, &parker, ex_now_ms(root->ex) + LOOK_MS);
    }
}

int strata__coherence_stop(struct root *root)
{
    struct coherence *c = root->coherence;
    int all = 1;
    if (c == NULL)
        return 1;
    key_mutex_lock(&c->lock);
    c->stopping = 1;
    for (size_t i = 0; i < c->count; i++)
        c->buses[i].goodbye_due = c->buses[i].publishes && c->buses[i].number > 0;
    for (size_t i = 0; i < c->count; i++)
        c->buses[i].said_goodbye = !c->buses[i].goodbye_due;
    int stopped = c->beating && ex_cancel(root->ex, &c->beat);
    if (stopped)
        c->beating = 0;
    key_mutex_unlock(&c->lock);
    if (stopped)
        root_leave(root);
    flush(c);
    for (size_t i = 0; i < c->count; i++) {
        struct bus_slot *b = &c->buses[i];
        if (b->started)
            b->bus->ops->stop(b->bus, 0);
        key_mutex_lock(&c->lock);
        b->started = 0;
        all &= list_empty(&b->queue) && list_empty(&b->sending) && !b->all_due;
        key_mutex_unlock(&c->lock);
    }
    strata__out_release(c, INT64_MAX);
    return all;
}

/* No work of ours is under way, and no bus calls any more. */
void strata__coherence_close(struct root *root, int with_buses)
{
    struct coherence *c = root->coherence;
    if (c == NULL)
        return;
    if (with_buses)
        strata__note_save(c);
    for (size_t i = 0; i < c->count; i++) {
        struct bus_slot *b = &c->buses[i];
        strata__inbox_forget(b);
        strata__note_forget(b);
        strata__peers_forget(b);
        strata__out_deinit(b);
        if (with_buses || b->bus == c->own_bus)
            b->bus->ops->close(b->bus);
        b->bus = NULL;
    }
    c->count = 0;
}

void strata__coherence_free(struct root *root)
{
    struct coherence *c = root->coherence;
    if (c == NULL)
        return;
    strata__free(root->mem, c->node_name);
    strata__free(root->mem, c->secret);
    strata__free(root->mem, c);
}

/* The parent's lock may be held for ever, and what it was about to say is said there. */
static int forget_parent(struct coherence *c, struct bus_slot *b, strata_error *err)
{
    struct bus_slot old = *b;
    memset(b, 0, sizeof *b);
    b->c = c;
    b->bus = old.bus;
    b->flags = old.flags;
    b->index = old.index;
    b->counted.size = sizeof b->counted;
    strata__bus_slot_begin(b);
    return strata__out_init(b, err);
}

int strata__coherence_reopen(struct root *root, strata_error *err)
{
    struct coherence *c = root->coherence;
    int rc = STRATA_OK;
    if (c == NULL)
        return STRATA_OK;
    key_mutex_init(&c->lock);
    list_init(&c->waits);
    strata__checks_init(c);
    c->work_posted = c->work_again = c->beat_due = c->beating = c->stopping = c->waiting = 0;
    for (size_t i = 0; i < c->count; i++)
        if (c->buses[i].bus->ops->reopen == NULL)
            return strata__fail(
                err, STRATA_EUNSUPPORTED, c->buses[i].bus->name,
                "bus \"%s\" can't be used in a child: its library's threads are the parent's; open caches "
                "with it after the fork, in each process",
                c->buses[i].bus->name);
    for (size_t i = 0; rc == STRATA_OK && i < c->count; i++)
        rc = forget_parent(c, &c->buses[i], err);
    for (size_t i = 0; rc >= 0 && i < c->count; i++)
        rc = c->buses[i].bus->ops->reopen(c->buses[i].bus, err);
    return rc >= 0 ? start_buses(c, err) : strata__fail_plain(err, rc, "reopen");
}
