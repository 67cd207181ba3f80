/* events.c - listeners.
 *
 * Whoever fires looks at one word; where somebody listens, the listeners are called one by one, each found under the
 * lock and called without it.  A listener counts the calls that run, so that strata_off() can wait for those of other
 * threads; its own thread's calls further up the stack are told apart by their frames. */
#include <inttypes.h>

#include "src/core/coherence.h"
#include "src/core/core_impl.h"
#include "src/core/log.h"

void strata__events_init(struct events *events)
{
    if (events->next_id == 0) /* not after fork: ids stay */
        events->next_id = 1;
    key_mutex_init(&events->lock);
}

void strata__events_deinit(struct root *root)
{
    for (size_t i = 0; i < root->events.count; i++)
        strata__free(root->mem, root->events.list[i]);
    root->events.count = 0;
}

/* The mask of all, and what hangs on it: the hot path's gates, the layers' wish to tell of evictions. */
void strata__events_mask_locked(struct root *root)
{
    key_mutex_lock(&root->events.lock);
    uint32_t mask = strata__log_mask(root), evictions = 0;
    for (size_t i = 0; i < root->events.count; i++) {
        if (root->events.list[i]->removed)
            continue;
        mask |= root->events.list[i]->mask;
        evictions += (root->events.list[i]->mask & STRATA_EVENT_EVICT) != 0;
    }
    atomic_store_explicit(&root->events.mask, mask, memory_order_relaxed);
    atomic_store_explicit(&root->host.eviction_listeners, evictions, memory_order_relaxed);
    key_mutex_unlock(&root->events.lock);
    strata__gates_set_locked(root);
}

#define EVENT_BIT_(name, bit) | (UINT32_C(1) << (bit))
#define NAMED (UINT32_C(0) STRATA_EVENT_MAP(EVENT_BIT_))
#define TO_COME (STRATA_EVENT_ALL & ~NAMED)

/* Who wants all, or all but some, wants those of later versions, too.  Who sets but some of their bits has mistaken them. */
static int mask_is_known(uint32_t mask) { return (mask & ~NAMED) == 0 || (mask & TO_COME) == TO_COME; }

static int refuse_mask(struct root *root, uint32_t mask)
{
    if (root_enter(root, NULL) == STRATA_OK) {
        strata__log_say(root, STRATA_LOG_WARN,
                        "strata_on() refused the mask 0x%08" PRIx32 ": 0x%08" PRIx32
                        " names no event; the known ones are 0x%08" PRIx32 ", STRATA_EVENT_ALL is all of them",
                        mask, mask & ~NAMED, NAMED);
        root_leave(root);
    }
    return STRATA_EINVAL;
}

int strata_on(strata *cache, uint32_t mask, strata_listener listener, void *ctx, uint64_t *out_id)
{
    if (cache == NULL || listener == NULL || mask == 0)
        return STRATA_EINVAL;
    struct root *root = cache->root;
    if (!mask_is_known(mask))
        return refuse_mask(root, mask);
    int rc = root_enter(root, NULL);
    if (rc != STRATA_OK)
        return rc;
    struct listener *l = strata__alloc_zero(root->mem, sizeof *l);
    key_mutex_lock(&root->tree_lock);
    key_mutex_lock(&root->events.lock);
    if (l == NULL) {
        rc = STRATA_ENOMEM;
    } else if (root->events.count == LISTENERS_MAX) {
        rc = STRATA_EBUSY;
    } else {
        *l = (struct listener){
            .id = root->events.next_id++, .mask = mask, .call = listener, .ctx = ctx, .cache = cache
        };
        root->events.list[root->events.count++] = l;
        if (out_id != NULL)
            *out_id = l->id;
    }
    key_mutex_unlock(&root->events.lock);
    if (rc == STRATA_OK)
        strata__events_mask_locked(root);
    else
        strata__free(root->mem, l);
    key_mutex_unlock(&root->tree_lock);
    if (rc == STRATA_OK && (mask & STRATA_EVENT_SUSPECT))
        strata__coherence_warn(root);
    root_leave(root);
    return rc;
}

static void forget_locked(struct root *root, struct listener *l)
{
    struct events *e = &root->events;
    size_t i = 0;
    while (i < e->count && e->list[i] != l)
        i++;
    for (; i + 1 < e->count; i++)
        e->list[i] = e->list[i + 1];
    e->count--;
    strata__free(root->mem, l);
}

static uint32_t calls_on_this_thread(const struct listener *l)
{
    uint32_t n = 0;
    for (const struct frame *f = strata__frames; f != NULL; f = f->up)
        n += f->listener == l;
    return n;
}

static struct listener *find_locked(struct events *e, uint64_t id)
{
    for (size_t i = 0; i < e->count; i++)
        if (e->list[i]->id == id && !e->list[i]->removed)
            return e->list[i];
    return NULL;
}

int strata_off(strata *cache, uint64_t id)
{
    if (cache == NULL)
        return STRATA_EINVAL;
    struct root *root = cache->root;
    /* While the cache is being closed, too: then close waits for this call, as it does for the listener's. */
    root_hold(root);
    if (atomic_load(&root->state) == ROOT_CLOSED || atomic_load_explicit(root->forks, memory_order_relaxed) !=
                                                        atomic_load_explicit(&root->forked, memory_order_relaxed)) {
        root_leave(root);
        return STRATA_MISS;
    }
    struct events *e = &root->events;
    key_mutex_lock(&root->tree_lock);
    key_mutex_lock(&e->lock);
    struct listener *l = find_locked(e, id);
    uint32_t own = l != NULL ? calls_on_this_thread(l) : 0;
    struct parker parker = { 0 };
    if (l != NULL) {
        l->removed = 1;
        if (own == 0) /* from now on: the last of its calls would forget it, and so would we */
            l->leaver = &parker;
    }
    key_mutex_unlock(&e->lock);
    if (l != NULL)
        strata__events_mask_locked(root);
    key_mutex_unlock(&root->tree_lock);
    if (l == NULL) {
        root_leave(root);
        return STRATA_MISS;
    }
    key_mutex_lock(&e->lock);
    while (l->running > own) {
        l->leaver = &parker;
        key_mutex_unlock(&e->lock);
        ex_park(root->ex, &parker, INT64_MAX);
        key_mutex_lock(&e->lock);
    }
    l->leaver = NULL;
    if (own == 0)
        forget_locked(root, l); /* else its last call does, on the way out */
    key_mutex_unlock(&e->lock);
    root_leave(root);
    return STRATA_OK;
}

/* The next listener after number `after` that wants it, counted as running. */
static struct listener *next_listener(struct root *root, uint64_t after, uint32_t kind, const strata *cache)
{
    struct listener *found = NULL;
    key_mutex_lock(&root->events.lock);
    for (size_t i = 0; i < root->events.count && found == NULL; i++) {
        struct listener *l = root->events.list[i];
        if (l->id > after && !l->removed && (l->mask & kind) && handle_within(cache, l->cache)) {
            l->running++;
            found = l;
        }
    }
    key_mutex_unlock(&root->events.lock);
    return found;
}

static void call_over(struct root *root, struct listener *l, uint32_t own)
{
    key_mutex_lock(&root->events.lock);
    l->running--;
    if (l->leaver != NULL)
        ex_unpark(root->ex, l->leaver);
    else if (l->removed && l->running == 0 && own == 0)
        forget_locked(root, l);
    key_mutex_unlock(&root->events.lock);
}

static void tell(strata *where, const strata_event *event)
{
    struct root *root = where->root;
    uint64_t after = 0;
    struct listener *l;
    if (strata__log_mask(root) & event->kind)
        strata__log_event(root, event);
    while ((l = next_listener(root, after, event->kind, where)) != NULL) {
        struct frame f;
        frame_push(&f, root, FRAME_CALLBACK);
        f.listener = l;
        after = l->id;
        l->call(event, l->ctx);
        frame_pop(&f);
        call_over(root, l, calls_on_this_thread(l));
    }
}

void strata__event_fire(strata *cache, const strata_event *event) { tell(cache, event); }

void strata__event_evicted(struct root *root, const char *layer, uint32_t space, strata_slice key)
{
    if (!event_wanted(root, STRATA_EVENT_EVICT))
        return;
    key_mutex_lock(&root->tree_lock);
    strata *where = space < root->space_count ? root->spaces[space] : root->handle;
    key_mutex_unlock(&root->tree_lock);
    strata_event e = { .size = sizeof e, .kind = STRATA_EVENT_EVICT, .key = key, .layer = layer };
    tell(where, &e);
}

void strata__event_layer(struct root *root, uint32_t kind, const char *layer, int status, const char *message)
{
    if (!event_wanted(root, kind))
        return;
    strata_event e = {
        .size = sizeof e, .kind = kind, .status = status, .cache = root->handle, .layer = layer, .message = message
    };
    tell(root->handle, &e);
}

void strata__event_error(strata *cache, strata_slice key, const char *layer, int status, const char *message)
{
    if (!event_wanted(cache->root, STRATA_EVENT_ERROR))
        return;
    strata_event e = { .size = sizeof e,
                       .kind = STRATA_EVENT_ERROR,
                       .status = status,
                       .cache = cache,
                       .key = key,
                       .layer = layer,
                       .message = message };
    tell(cache, &e);
}

const char *strata_event_name(uint32_t kind)
{
    static const struct {
        uint32_t kind;
        const char *name;
    } names[] = {
        { STRATA_EVENT_HIT, "hit" },
        { STRATA_EVENT_MISS, "miss" },
        { STRATA_EVENT_SET, "set" },
        { STRATA_EVENT_DELETE, "delete" },
        { STRATA_EVENT_EXPIRE, "expire" },
        { STRATA_EVENT_CLEAR, "clear" },
        { STRATA_EVENT_LOAD_START, "load_start" },
        { STRATA_EVENT_LOAD_SUCCESS, "load_success" },
        { STRATA_EVENT_LOAD_ERROR, "load_error" },
        { STRATA_EVENT_LOAD_TIMEOUT, "load_timeout" },
        { STRATA_EVENT_JOIN, "join" },
        { STRATA_EVENT_STALE_SERVE, "stale_serve" },
        { STRATA_EVENT_NEGATIVE_SET, "negative_set" },
        { STRATA_EVENT_BACKFILL, "backfill" },
        { STRATA_EVENT_EVICT, "evict" },
        { STRATA_EVENT_ERROR, "error" },
        { STRATA_EVENT_SUSPECT, "suspect" },
        { STRATA_EVENT_TRUSTED, "trusted" },
        { STRATA_EVENT_BUS_DOWN, "bus_down" },
        { STRATA_EVENT_BUS_UP, "bus_up" },
        { STRATA_EVENT_LOAD_REFUSED, "load_refused" },
        { STRATA_EVENT_BREAKER_OPEN, "breaker_open" },
        { STRATA_EVENT_BREAKER_CLOSED, "breaker_closed" },
        { STRATA_EVENT_LOAD_DETACHED, "load_detached" },
        { STRATA_EVENT_BEHIND_LOST, "behind_lost" },
        { STRATA_EVENT_PRESSURE, "pressure" },
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].kind == kind)
            return names[i].name;
    return "unknown";
}
