/* cache.c - opening a cache, closing it, and opening it again in a child after fork().
 *
 * Close, in order: nobody comes in any more; every flight is cancelled and its waiters are told; what is active ends (it
 * is counted; close looks again every few milliseconds, because a wake-up from the last one to leave would touch an
 * executor that may be gone); what memory alone holds goes to the disk, where that is wanted; layers close, furthest first;
 * threads end.  The hot path is not counted in `active`: its own counters show whether somebody is inside, and a few
 * milliseconds after the gate was shut, no store of such a counter can still be on its way out of a processor (Morrison and
 * Afek, "Temporally bounding TSO", 2014).  A plain hit in memory is not counted before it is over: it looks at the gate inside of its
 * thread's section (reclaim.h), and closing waits until each thread has been outside of one since the gate was shut. */
#include <stdio.h>
#include <string.h>

#include "src/core/adaptive.h"
#include "src/core/bans.h"
#include "src/core/behind.h"
#include "src/core/demote.h"
#include "src/core/flight.h"
#include "src/core/key_marks.h"
#include "src/core/log.h"
#include "src/policy/options.h"

enum { CLOSE_LOOKS_MS = 2, CLOSE_MOST_MS = 86400000 };

static const _Atomic(uint32_t) never_forked;

void *strata__alloc_lines(const strata_allocator *mem, size_t bytes, void **out_block)
{
    *out_block = strata__alloc_zero(mem, bytes + 64);
    if (*out_block == NULL)
        return NULL;
    return (void *)(((uintptr_t)*out_block + 63) & ~(uintptr_t)63);
}

void strata__root_ref(struct root *root) { atomic_fetch_add_explicit(&root->refs, 1, memory_order_relaxed); }

void strata__root_unref(struct root *root)
{
    if (atomic_fetch_sub_explicit(&root->refs, 1, memory_order_acq_rel) != 1)
        return;
    strata__spares_free(root);
    strata__events_deinit(root);
    strata__log_free(root);
    strata__bans_free(root);
    strata__coherence_free(root);
    strata__free(root->mem, root->demotions);
    strata__behind_free(root);
    strata__free(root->mem, root->spaces);
    strata__free(root->mem, root->names);
    strata__free(root->mem, root);
}

int strata__refuse(const struct root *root, strata_error *err)
{
    if (atomic_load_explicit(root->forks, memory_order_relaxed) !=
        atomic_load_explicit(&root->forked, memory_order_relaxed))
        return strata__fail(err, STRATA_EFORKED, "cache",
                            "the cache was opened before fork(): call strata_reopen() in the child first");
    return strata__fail(err, STRATA_ECLOSED, "cache", "the cache is closed: open a new one");
}

int strata__no_argument(strata_error *err, const char *what)
{
    return strata__fail(err, STRATA_EINVAL, "argument", "%s", what);
}

int strata__bad_key(const strata *cache, strata_slice key, strata_error *err)
{
    if (key.data == NULL || key.size == 0)
        return strata__fail(err, STRATA_EKEYSIZE, "key", "the key is empty: it must have 1 to %u bytes",
                            (unsigned)cache->max_key);
    return strata__fail(err, STRATA_EKEYSIZE, "key",
                        "the key has %zu bytes, the limit is %u: hash long keys, or raise "
                        "max_key_bytes",
                        key.size, (unsigned)cache->max_key);
}

/* Opening ----------------------------------------------------------------------------------------------------- */

static int check_options(const strata_options *options, strata_options *known, strata_error *err)
{
    int rc = strata__options_check(&strata__cache_option_rows, options, options->size, known, sizeof *known, err);
    if (rc != STRATA_OK)
        return rc;
    strata__options_fill(&strata__cache_option_rows, known);
    if (known->layers == NULL || known->layer_count == 0 || known->layer_count > LAYERS_MAX)
        return strata__fail(err, STRATA_EINVAL, "layers",
                            "a cache has 1 to %d layers, these are %zu: start with "
                            "strata_memory_layer(NULL)",
                            (int)LAYERS_MAX, known->layers != NULL ? known->layer_count : 0);
    const strata_codec *c = known->codec;
    if (c != NULL && (c->id == 0 || c->encode == NULL || c->decode == NULL || c->free == NULL || c->cost == NULL))
        return strata__fail(err, STRATA_EINVAL, "codec",
                            "a codec needs an id other than 0, and encode, decode, free "
                            "and cost");
    const strata_allocator *a = known->allocator;
    if (a != NULL && (a->alloc == NULL || a->realloc == NULL || a->free == NULL))
        return strata__fail(err, STRATA_EINVAL, "allocator", "an allocator needs alloc, realloc and free");
    return strata__policy_check(known->policy, err);
}

static void init_locks(struct root *root)
{
    key_mutex_init(&root->tree_lock);
    key_mutex_init(&root->graph_lock);
    key_mutex_init(&root->delay_lock);
    strata__events_init(&root->events);
}

static struct root *new_root(const strata_options *known, struct executor *ex, strata_error *err)
{
    struct root *root = strata__alloc_zero(known->allocator, sizeof *root);
    if (root == NULL) {
        strata__fail_plain(err, STRATA_ENOMEM, "open");
        return NULL;
    }
    init_locks(root);
    atomic_init(&root->refs, 1);
    root->mem = known->allocator != NULL ? known->allocator : &strata__malloc;
    root->options = *known;
    root->options.layers = NULL;
    root->options.policy = NULL;
    root->codec = known->codec;
    root->stats = known->stats != STRATA_OFF;
    root->ex = ex;
    root->opened_ms = ex_now_ms(ex);
    root->trusted_until = INT64_MAX;
    root->bounds = ex->ops->bounds != NULL && ex->ops->bounds(ex);
    root->forks = ex->ops->forks != NULL ? ex->ops->forks(ex) : &never_forked;
    atomic_init(&root->forked, atomic_load_explicit(root->forks, memory_order_relaxed));
    root->life = ex_random(ex) | 1;
    root->seed = ex_random(ex);
    list_init(&root->delayed);
    strata__unleased_init(root);
    strata__warden_init(root);
    strata__host_init(root);
    return root;
}

static int open_handle(struct root *root, const strata_options *known, strata_error *err)
{
    strata_namespace_options options = STRATA_NAMESPACE_OPTIONS_INIT;
    options.policy = known->policy;
    options.generation = known->generation;
    key_mutex_lock(&root->tree_lock);
    int rc = strata__handle_new_locked(root, NULL, "", &options, &root->handle, err);
    if (rc == STRATA_OK)
        strata__events_mask_locked(root); /* what the log wants */
    key_mutex_unlock(&root->tree_lock);
    return rc == STRATA_OK ? strata__behind_check(root, &root->handle->policy, err) : rc;
}

static void drop_handles(struct root *root)
{
    key_mutex_lock(&root->tree_lock);
    uint32_t n = root->space_count;
    strata **spaces = root->spaces;
    root->spaces = NULL;
    root->space_count = root->space_room = 0;
    key_mutex_unlock(&root->tree_lock);
    for (uint32_t i = n; i-- > 0;) /* children before parents */
        strata__handle_unref(spaces[i]);
    strata__free(root->mem, spaces);
}

/* Everything but the layers, which the caller frees, and the executor. */
static int build(const strata_options *known, struct executor *ex, struct root **out, strata_error *err)
{
    struct root *root = new_root(known, ex, err);
    if (root == NULL)
        return STRATA_ENOMEM;
    *out = root;
    int rc = strata__log_new(root, known, err);
    if (rc == STRATA_OK)
        rc = strata__bans_new(root);
    if (rc == STRATA_OK)
        rc = strata__coherence_take(root, known, err);
    if (rc == STRATA_OK)
        rc = strata__layers_take(root, known, err);
    if (rc == STRATA_OK)
        rc = strata__stripes_new(root);
    if (rc == STRATA_OK)
        rc = strata__behind_new(root, err);
    if (rc == STRATA_OK)
        rc = open_handle(root, known, err);
    if (rc == STRATA_OK)
        rc = strata__layers_start(root, err);
    if (rc == STRATA_OK)
        rc = strata__coherence_start(root, err);
    return rc < 0 ? strata__fail_plain(err, rc, "open") : rc;
}

static void free_buses(const strata_options *options)
{
    for (size_t i = 0; options->buses != NULL && i < options->bus_count; i++) {
        strata_bus *bus = options->buses[i];
        int again = 0;
        for (size_t j = 0; j < i; j++)
            again |= options->buses[j] == bus;
        if (bus != NULL && !again && bus->ops != NULL && bus->ops->close != NULL)
            strata_bus_free(bus);
    }
}

static void free_layers(const strata_options *options)
{
    if (options->size >= offsetof(strata_options, coherence))
        free_buses(options);
    for (size_t i = 0; options->layers != NULL && i < options->layer_count; i++) {
        strata_layer *layer = options->layers[i];
        int again = 0;
        for (size_t j = 0; j < i; j++)
            again |= options->layers[j] == layer;
        /* One that can't be closed was never built. */
        if (layer != NULL && !again && layer->ops != NULL && layer->ops->close != NULL)
            strata_layer_free(layer);
    }
}

static int open_checked(strata **out, const strata_options *known, struct executor *ex, strata_error *err)
{
    struct root *root = NULL;
    strata_error why = STRATA_ERROR_INIT;
    if (err == NULL)
        err = &why;
    int rc = build(known, ex, &root, err);
    if (rc == STRATA_OK) {
        *out = root->handle;
        strata__maintain_start(root);
        strata__coherence_settle(root);
        strata__log_opened(root);
        strata__root_unref(root); /* the handle holds it */
        return STRATA_OK;
    }
    if (root != NULL) {
        strata__log_say(root, STRATA_LOG_ERROR, "could not be opened: %s", err->message);
        atomic_store(&root->state, ROOT_CLOSED);
        (void)strata__coherence_stop(root);
        while (atomic_load(&root->active) != 0) { /* a layer that started may have posted something */
            struct parker parker = { 0 };
            strata__host_closing(root);
            ex_park(ex, &parker, ex_now_ms(ex) + CLOSE_LOOKS_MS);
        }
        strata__coherence_close(root, 0);
    }
    free_layers(known);
    ex->ops->stop(ex);
    if (root != NULL) {
        strata__stripes_free(root);
        strata__key_marks_free(root);
        strata__adaptive_free(root);
        if (root->handle != NULL)
            strata__handle_unref(root->handle);
        drop_handles(root);
        strata__root_unref(root);
    }
    return rc;
}

int strata__open_with(strata **out, const strata_options *options, struct executor *ex, strata_error *err)
{
    strata_options known;
    *out = NULL;
    int rc = check_options(options, &known, err);
    if (rc == STRATA_OK)
        return open_checked(out, &known, ex, err);
    free_layers(options);
    ex->ops->stop(ex);
    return rc;
}

int strata_open(strata **out, const strata_options *options, strata_error *err)
{
    if (out != NULL)
        *out = NULL;
    if (options == NULL || out == NULL) {
        if (options != NULL && options->size >= offsetof(strata_options, policy))
            free_layers(options);
        return strata__no_argument(err,
                                   "strata_open() needs options with at least one layer, and where to put the cache");
    }
    strata_options known;
    struct executor *ex = NULL;
    int rc = check_options(options, &known, err);
    if (rc == STRATA_OK)
        rc = strata__executor_threads_new(&ex, known.allocator, known.workers, known.max_queued, err);
    if (rc == STRATA_OK)
        return open_checked(out, &known, ex, err);
    if (options->size >= offsetof(strata_options, policy))
        free_layers(options);
    return rc;
}

/* Closing ----------------------------------------------------------------------------------------------------- */

static void shut(struct root *root)
{
    key_mutex_lock(&root->tree_lock);
    uint32_t open = ROOT_OPEN;
    /* First: from the state on delays are cut short, and who begins another one each time has to know. */
    atomic_store(&root->host.closing, 1);
    if (atomic_compare_exchange_strong(&root->state, &open, ROOT_CLOSING))
        strata__gates_set_locked(root);
    key_mutex_unlock(&root->tree_lock);
    strata__flights_cancel_all(root);
}

/* Is a thread on the hot path of some handle? */
static int busy_inside(struct root *root)
{
    uint64_t begun = 0, over = 0;
    if (!strata__hits_over(&root->close_walk)) /* first: what is none counts as begun before it leaves its section */
        return 1;
    key_mutex_lock(&root->tree_lock);
    for (uint32_t i = 0; i < root->space_count; i++) {
        const struct counter_cell *cells = root->spaces[i]->cells;
        over += strata__counter_sum(cells, HOT_LOOKED) + strata__counter_sum(cells, HOT_SLOW) +
                strata__counter_sum(cells, HOT_SETS);
        begun += strata__counter_sum(cells, HOT_BEGUN) + strata__counter_sum(cells, HOT_SETS_BEGUN);
    }
    key_mutex_unlock(&root->tree_lock);
    return begun != over;
}

/* Whoever is on the hot path may come to hold the root before it leaves there (async_direct.c), never the other way round: so
 * it is looked for there first.  0: the time is over. */
static int wait_until_idle(struct root *root, int64_t deadline_ms)
{
    struct parker parker = { 0 };
    for (;;) {
        strata__flights_cancel_all(root);
        strata__unleased_flush(root);
        strata__warden_flush(root);
        strata__host_closing(root);
        ex_park(root->ex, &parker, ex_now_ms(root->ex) + CLOSE_LOOKS_MS);
        if (!busy_inside(root) && atomic_load(&root->active) == 0)
            return 1;
        if (ex_now_ms(root->ex) >= deadline_ms)
            return 0;
    }
}

/* What stores are yet to be told, while others can still be told that they were. */
static void settle(struct root *root, int64_t deadline_ms)
{
    struct parker parker = { 0 };
    while (strata__layers_settle(root) && ex_now_ms(root->ex) < deadline_ms)
        ex_park(root->ex, &parker, ex_now_ms(root->ex) + CLOSE_LOOKS_MS);
}

/* What was set, and is yet to be written.  0: not all of it is by then. */
static int write_behind(struct root *root, int64_t deadline_ms)
{
    struct parker parker = { 0 };
    while (strata__behind_flush(root)) {
        if (ex_now_ms(root->ex) >= deadline_ms)
            return 0;
        ex_park(root->ex, &parker, ex_now_ms(root->ex) + CLOSE_LOOKS_MS);
    }
    return 1;
}

/* What is done once, however often closing takes up where it was. */
static void begin_close(struct root *root, int64_t deadline_ms)
{
    if (root->close_begun)
        return;
    root->close_begun = 1;
    strata__maintain_stop(root);
    strata__coherence_rouse(root); /* what is settled now is to be told, too */
    settle(root, deadline_ms);
    root->close_told = strata__coherence_stop(root);
    strata__layers_hurry(root);
}

/* Threads that close: one is at it at a time. */
static _Thread_local char this_thread;

/* Others that came to close meanwhile leave, and take what came of it along. */
static void close_over(struct root *root, int rc)
{
    struct parker parker = { 0 };
    key_mutex_lock(&root->tree_lock);
    root->closed = 1;
    root->close_rc = rc;
    while (root->closers > 1) {
        key_mutex_unlock(&root->tree_lock);
        ex_park(root->ex, &parker, ex_now_ms(root->ex) + CLOSE_LOOKS_MS);
        key_mutex_lock(&root->tree_lock);
    }
    key_mutex_unlock(&root->tree_lock);
}

/* Nobody is inside any more. */
static int end_close(strata *cache)
{
    struct root *root = cache->root;
    if (strata__demotions_close(root))
        (void)wait_until_idle(root, INT64_MAX);
    int told = root->close_told & !strata__coherence_untold(root);
    strata__coherence_close(root, 1);
    int rc = strata__layers_close(root);
    if (!told)
        rc = STRATA_PENDING;
    strata__log_closed(root, rc);
    close_over(root, rc);
    atomic_store(&root->state, ROOT_CLOSED);
    root->ex->ops->stop(root->ex);
    root->ex = NULL;
    strata__stripes_free(root);
    strata__key_marks_free(root);
    strata__adaptive_free(root);
    strata__warden_free(root);
    drop_handles(root);
    strata__handle_unref(cache);
    return rc;
}

/* 1: the root's memory and executor stay until this thread leaves; 0: it is closed already. */
static int come_to_close(struct root *root)
{
    key_mutex_lock(&root->tree_lock);
    int open = !root->closed;
    root->closers += (uint32_t)open;
    if (open)
        strata__root_ref(root);
    key_mutex_unlock(&root->tree_lock);
    return open;
}

/* `closer` is this thread's, or NULL where it was never its turn.  The root may be gone after this. */
static int leave_close(struct root *root, const void *closer, int rc)
{
    key_mutex_lock(&root->tree_lock);
    root->closers--;
    if (root->closer == closer)
        root->closer = NULL;
    key_mutex_unlock(&root->tree_lock);
    strata__root_unref(root);
    return rc;
}

static int closes_itself(struct root *root)
{
    key_mutex_lock(&root->tree_lock);
    int itself = root->closer == &this_thread;
    key_mutex_unlock(&root->tree_lock);
    return itself;
}

/* Wait for whoever is at it.  1: it is this thread's turn now; 0: *rc says what came of it. */
static int wait_for_turn(struct root *root, int64_t deadline_ms, int *rc)
{
    struct parker parker = { 0 };
    for (;;) {
        key_mutex_lock(&root->tree_lock);
        int closed = root->closed, mine = !closed && root->closer == NULL;
        if (mine)
            root->closer = &this_thread;
        *rc = closed ? root->close_rc : STRATA_ETIMEDOUT;
        key_mutex_unlock(&root->tree_lock);
        if (closed || mine || ex_now_ms(root->ex) >= deadline_ms)
            return mine;
        ex_park(root->ex, &parker, ex_now_ms(root->ex) + CLOSE_LOOKS_MS);
    }
}

static int close_root(strata *cache, int64_t timeout_ms)
{
    struct root *root = cache->root;
    int rc;
    if (atomic_load_explicit(root->forks, memory_order_relaxed) !=
        atomic_load_explicit(&root->forked, memory_order_relaxed)) {
        /* The child's copy: nothing of the parent's threads, locks and layers may be touched; it is left as it is. */
        return STRATA_OK;
    }
    if (!come_to_close(root))
        return STRATA_OK;
    shut(root);
    /* Called from a loader, a callback, or a layer's own code, which the close would wait for. */
    if (strata__inside(root) || ex_on_worker(root->ex) || closes_itself(root))
        return leave_close(root, NULL, STRATA_AGAIN);
    int64_t deadline = timeout_ms < 0 ? INT64_MAX : ex_now_ms(root->ex) + timeout_ms;
    if (!wait_for_turn(root, deadline, &rc))
        return leave_close(root, NULL, rc);
    int written = write_behind(root, deadline); /* while others can be told */
    if (written)
        begin_close(root, deadline);
    if (!written || !wait_until_idle(root, deadline))
        return leave_close(root, &this_thread, STRATA_ETIMEDOUT);
    rc = end_close(cache);
    return leave_close(root, &this_thread, rc);
}

int strata_close(strata *cache)
{
    if (cache == NULL)
        return STRATA_OK;
    if (cache->parent == NULL)
        return close_root(cache, -1);
    strata__handle_unref(cache);
    return STRATA_OK;
}

int strata_close_within(strata *cache, int64_t timeout_ms)
{
    if (cache == NULL || cache->parent != NULL)
        return strata_close(cache);
    if (timeout_ms < 0 || timeout_ms > CLOSE_MOST_MS)
        return STRATA_EINVAL;
    return close_root(cache, timeout_ms);
}

/* After fork -------------------------------------------------------------------------------------------------- */

/* The parent's locks may be held for ever, its flights and their callers do not exist here: all of it is forgotten, not
 * freed. */
static int forget_parent(struct root *root)
{
    init_locks(root);
    strata__log_reopen(root);
    atomic_store(&root->active, 0);
    atomic_store(&root->flights, 0);
    atomic_store(&root->detached, 0);
    atomic_store(&root->late, 0);
    atomic_store(&root->late_bytes, 0);
    atomic_store(&root->posted, 0);
    list_init(&root->delayed);
    strata__unleased_init(root);
    strata__warden_init(root);
    strata__demotions_forget(root);
    strata__behind_forget(root);
    strata__bans_reopen(root);
    root->closer = NULL;
    root->closers = 0;
    root->close_begun = root->close_walk.begun = 0;
    memset(&root->maintain_timer, 0, sizeof root->maintain_timer);
    for (size_t i = 0; i < root->events.count; i++)
        root->events.list[i]->running = 0;
    strata__key_marks_free(root);
    return strata__stripes_new(root);
}

static void level_counters(strata *h)
{
    /* Calls that other threads had begun at the fork will never end here. */
    for (uint32_t i = 0; i < COUNTER_CELLS; i++) {
        uint64_t over = atomic_load(&h->cells[i].words[HOT_LOOKED]) + atomic_load(&h->cells[i].words[HOT_SLOW]);
        atomic_store(&h->cells[i].words[HOT_BEGUN], over);
        atomic_store(&h->cells[i].words[HOT_SETS_BEGUN], atomic_load(&h->cells[i].words[HOT_SETS]));
    }
}

int strata_reopen(strata *cache, strata_error *err)
{
    if (cache == NULL)
        return strata__no_argument(err, "strata_reopen() needs a cache");
    struct root *root = cache->root;
    uint32_t now = atomic_load_explicit(root->forks, memory_order_relaxed);
    if (now == atomic_load_explicit(&root->forked, memory_order_relaxed))
        return root_usable(root) ? STRATA_OK : strata__refuse(root, err);
    struct executor *ex, *old = root->ex;
    if (strata__inside(root))
        return strata__fail(err, STRATA_AGAIN, "reopen",
                            "a loader or callback of this cache that forked still runs, and "
                            "goes on with the parent's: reopen after it has returned, or open another cache");
    if (atomic_load(&root->state) == ROOT_CLOSED)
        return strata__fail(err, STRATA_ECLOSED, "cache", "the cache was closed before fork(): open a new one");
    int rc = strata__executor_threads_new(&ex, root->options.allocator, root->options.workers, root->options.max_queued,
                                          err);
    if (rc != STRATA_OK)
        return rc;
    rc = forget_parent(root);
    root->ex = ex;
    root->opened_ms = ex_now_ms(ex);
    root->life = ex_random(ex) | 1;
    atomic_store(&root->host.closing, 0); /* the parent may have been at it */
    if (rc == STRATA_OK)
        rc = strata__layers_reopen(root, err);
    if (rc == STRATA_OK)
        rc = strata__coherence_reopen(root, err);
    if (rc != STRATA_OK) {
        root->ex = old;
        ex->ops->stop(ex);
        return strata__fail_plain(err, rc, "reopen");
    }
    old->ops->abandon(old);
    key_mutex_lock(&root->tree_lock);
    for (uint32_t i = 0; i < root->space_count; i++) {
        level_counters(root->spaces[i]);
        strata__handle_rewire_locked(root->spaces[i]);
    }
    atomic_store(&root->state, ROOT_OPEN);
    atomic_store(&root->forked, now);
    strata__gates_set_locked(root);
    key_mutex_unlock(&root->tree_lock);
    /* The child counts anew: what its layers counted is forgotten with their entries. */
    (void)strata_stats_reset(root->handle);
    strata__maintain_start(root);
    return STRATA_OK;
}
