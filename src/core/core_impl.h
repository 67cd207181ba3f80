/* core_impl.h - a cache and its namespaces from inside.
 *
 * `struct strata` is what users hold: the root of a cache or a namespace.  It begins with the one line that a memory hit
 * reads.  `struct root` is everything a cache's namespaces share; it is counted, because loads, asynchronous calls
 * and namespaces may outlive strata_close(), which empties it. */
#ifndef STRATA_CORE_CORE_IMPL_H
#define STRATA_CORE_CORE_IMPL_H
#include <assert.h>
#include <stdatomic.h>
#include <string.h>

#include "src/base/counter.h"
#include "src/base/err.h"
#include "src/base/histogram.h"
#include "src/base/list.h"
#include "src/base/mem.h"
#include "src/core/admit.h"
#include "src/core/counts.h"
#include "src/core/locks.h"
#include "src/core/unleased.h"
#include "src/layer/hit_line.h"
#include "src/layer/key_hash.h"
#include "src/layer/layer_host.h"
#include "src/layer/value_impl.h"
#include "src/loop/executor.h"
#include "src/policy/freshness.h"
#include "strata/strata.h"

enum { LAYERS_MAX = 8, STRIPES = 64, SPACES_MAX = 65535 };

/* A gate that no fork generation matches: the hot path must think. */
#define GATE_SHUT UINT32_MAX

enum root_state { ROOT_OPEN, ROOT_CLOSING, ROOT_CLOSED };

struct root;
struct strand;

struct strata {
    /* What a hit reads, two lines, and counts in. */
    union {
        _Alignas(64) struct strata_hit hit;
        struct {
            STRATA_HIT_FIELDS;
        };
    };
    int (*lookup)(strata_layer *layer, strata_op *op); /* of the layer; one that misses where it is not instant */
    uint32_t space;
    uint32_t max_key;
    _Atomic(uint32_t) min_position; /* entries born below are banned; tree lock to write */
    const void *(*hint)(strata_layer *layer,
                        uint64_t hash); /* its hint() and quick(); where it has none, ones that lead to */
    strata_value *(*quick)(const void *where, const void *key, size_t key_size, uint64_t hash,
                           const strata_lines *lines, int64_t now_ms); /* lookup() */
    int direct;       /* 1: the one layer is asked on the caller's thread (get_direct.c) */
    int direct_async; /* 1: and never blocks it (async_direct.c) */

    _Atomic(uint64_t) counts[COUNT_END];
    uint64_t hot_base[HOT_END];               /* what a reset takes off; tree lock */
    _Atomic(struct histogram *) load_latency; /* nanoseconds; NULL before the first load */

    struct root *root;
    strata *parent;         /* NULL: this is the root */
    _Atomic(uint32_t) refs; /* the users', and one of the tree until the cache is closed */
    strata_policy policy;   /* all fields resolved */
    uint32_t adaptive_most; /* hits of a key are counted up to here; 0: not at all */
    int quick_set;          /* 1: a plain set may take the short way (set_quick.c) */
    strata_meta set_meta;   /* what such a set stores, but for its birth */
    int (*put_plain)(strata_layer *layer, const void *put); /* the layer's own way, where that is plain; NULL */
    /* Of the nearest layer, where that is instant and has one; nobody counts the hits of each key. */
    size_t (*quick_many)(strata_layer *layer, strata_item *items, const uint64_t *hashes, size_t count,
                         const strata_lines *lines, int64_t now_ms);
    int64_t set_span_ms;            /* from birth to when nobody needs it; STRATA_FOREVER */
    int64_t wall_offset_ms;         /* Unix time - clock, when the cache was opened */
    strata_loader loader;           /* resolved through the parents; may be NULL */
    strata_bulk_loader bulk_loader; /* beside it, or instead of it */
    void *loader_ctx;
    int get_loads;            /* 1: strata_get() is strata_get_or_load() */
    strata_policy own_policy; /* as given at creation, to tell whether a second call differs */
    strata_loader own_loader;
    strata_bulk_loader own_bulk_loader;
    void *own_loader_ctx;
    int32_t own_get_loads;
    int32_t own_share_percent;
    uint64_t own_share_bytes;
    uint32_t share_space;             /* the namespace, this one or above, whose share of memory it is in; 0: of none */
    struct generation *generation;    /* a tag of all its entries, from here or above: generation.h; NULL: none */
    uint64_t own_generation;          /* the tag of that in its own options; 0: none */
    uint64_t path_hash;               /* of the path in its storage keys: bans are known by it */
    _Atomic(uint32_t) min_shared;     /* as min_position, in layers that others write to: our own clears alone */
    _Atomic(int64_t) cleared_wall_ms; /* when clear was last called: for entries of other lives */
    struct list_node children;        /* tree lock */
    struct list_node sibling;         /* tree lock */
    strata *next_name;                /* in root->names; tree lock */
    void *block;                      /* what the allocator gave */
    size_t prefix_size;               /* of a storage key; root: 0 */
    unsigned char *prefix;            /* 0x00 path 0x00: see namespace.c */
    char name[256];
};

/* Was there a clear since that position? */
static inline int cleared_since(const strata *handle, uint32_t position)
{
    return position < atomic_load(&handle->min_position);
}

struct bans; /* bans.h */
struct ban;

struct behind;    /* behind.h */
struct coherence; /* coherence_impl.h */
struct demotions; /* demote.h */

/* One layer of the stack, and what the cache counts for it. */
/* What has failed lately (health_parts.c). */
struct trouble {
    struct key_mutex lock;
    int64_t since_ms, last_ms; /* of failures without a pause of TROUBLE_PAUSE_MS; meaningful where err.status != 0 */
    strata_error err;          /* the last */
};
enum { TROUBLE_PAUSE_MS = 10000 };
struct layer_slot;
/* How one layer is: health_parts.c. */
void strata__health_layer_fill(struct root *root, struct layer_slot *slot, strata_part_health *h);
void strata__trouble_note(struct trouble *t, int64_t now_ms, int status, const strata_error *err);

struct layer_slot {
    strata_layer *layer;
    uint32_t index;
    uint32_t flags;
    int started;
    int64_t max_ttl_ms;          /* of what is put there; 0: as long as it says */
    struct demotions *demotions; /* what it evicts goes to the next layer through here; NULL: it is gone */
    _Atomic(uint64_t) hits, misses, puts, removes, errors;
    _Atomic(uint64_t) own_hits, own_misses; /* looks of our own that the layer counted and nobody asked for */
    _Atomic(uint64_t) refused;              /* finds that the layer counted as hits, and that could not be served */
    _Atomic(int64_t) told_ms[3];  /* when listeners were last told of a put, remove, get that failed; 0 never */
    _Atomic(uint64_t) unadmitted; /* values with admit off, whose keys it does not hold */
    _Atomic(uint64_t) passed;     /* values that were not put there: too many were on their way (late_most) */
    struct trouble trouble;
    strata_layer_stats base;  /* what a reset takes off; tree lock */
    struct histogram latency; /* nanoseconds */
};

struct listener {
    uint64_t id;
    uint32_t mask;
    strata_listener call;
    void *ctx;
    strata *cache;
    uint32_t running; /* calls in progress, of all threads */
    int removed;
    struct parker *leaver; /* a strata_off() that waits */
};

enum { LISTENERS_MAX = 64 };

struct events {
    struct key_mutex lock;
    _Atomic(uint32_t) mask; /* of all listeners */
    uint64_t next_id;
    size_t count;
    struct listener *list[LISTENERS_MAX]; /* in order of arrival */
};

struct stripe; /* flight.h */

struct root_log;

/* A block for a flight to come, on a line of its own (flight_new.c). */
enum { SPARE_FLIGHTS = 8 };
struct spare_flight {
    _Atomic(struct flight *) flight;
    char apart[64 - sizeof(void *)];
};

struct root {
    _Atomic(uint32_t) refs;   /* handles, flights, asynchronous calls: they keep this memory */
    _Atomic(uint32_t) state;  /* ROOT_... */
    _Atomic(uint32_t) forked; /* the generation it was opened in */
    _Atomic(uint64_t) active; /* calls, flights, posted work: what close waits for */
    const strata_allocator *mem;
    struct executor *ex;
    const _Atomic(uint32_t) *forks;
    strata *handle;         /* the cache's own */
    strata_options options; /* defaults filled in */
    const strata_codec *codec;
    int64_t opened_ms;
    uint64_t life; /* of this open; never 0 */
    uint64_t seed;
    size_t layer_count;
    struct layer_slot layers[LAYERS_MAX];
    int bounds;           /* 1: the executor's clock is one that threads may keep bounds of (os_bound.h) */
    size_t instant_count; /* so many of the nearest layers are instant */
    int plain_keys;       /* every layer knows spaces: no storage keys are needed */
    unsigned char set_order[LAYERS_MAX]; /* of a set: shared stores, the furthest first; then the others, nearest first */
    uint32_t lease_layer;                /* the one that is asked for leases; LAYERS_MAX: none is */
    int stats, has_maintain, reads_back; /* the last: a bus is told only of what is read in the store */
    struct profiles *profiles; /* hits by key (adaptive_hits.c), and their memory; NULL: none yet.  Tree lock to write */
    void *profiles_block;
    _Atomic(struct key_notes *) uncacheable; /* key_marks.c; NULL: none yet */
    strata_layer_host host;
    struct spare_flight spares[SPARE_FLIGHTS];
    struct demotions *demotions; /* NULL: no layer is STRATA_LAYER_DEMOTED */
    struct behind *behind;       /* NULL: nothing can be written behind */
    struct coherence *coherence; /* NULL: it hears of no other node, and all that is held is trusted */
    _Atomic(int) warned;         /* 1: somebody was told that there is none, and should be */
    uint32_t suspect_line;       /* entries born below may be suspect; tree lock */
    int64_t trusted_until;       /* and all are from this moment on; tree lock */
    struct stripe *stripes;
    void *stripes_block;
    _Atomic(uint64_t) stamps;   /* versions given out to entries that no store counts: write_if.c */
    _Atomic(uint32_t) flights;  /* that can be joined */
    _Atomic(uint32_t) deciding; /* writes that look what is there before they write anything: write_if.c */
    _Atomic(uint32_t) detached; /* that took too long, and may store what they bring yet: detach.c */
    _Atomic(uint32_t) late; /* flights whose callers have their answer, and that are still storing in slower layers */
    _Atomic(uint64_t) late_bytes;     /* of these: what they and their values take */
    _Atomic(uint32_t) posted, slides; /* answers of async_direct.c that wait for a worker; what slide.c has under way */
    _Atomic(uint32_t) position;
    struct bans *bans;
    /* A ban of this node's callers is told to others: see bans.h; store_away as strata__publish().  NULL: there are none. */
    int (*publish_ban)(struct root *root, const struct ban *ban, int store_away, strata_error *err);
    struct key_mutex tree_lock;
    strata **spaces; /* by number; tree lock */
    uint32_t space_count, space_room;
    strata **names; /* space_room chains of namespaces, by parent and name; tree lock */
    struct events events;
    struct root_log *log; /* log.c; NULL: nobody asked for one */
    struct unleased unleased;
    struct warden warden;
    struct key_mutex graph_lock; /* who waits for whom (frames.c) */
    uint64_t graph_walks;        /* so far; graph lock */
    struct key_mutex delay_lock;
    struct list_node delayed; /* tasks of layers that wait for their moment */
    struct timer maintain_timer;
    struct task maintain_task;
    _Atomic(uint32_t) maintaining;
    const void *closer;   /* the thread that closes, by something of its own; NULL: none; tree lock */
    uint32_t closers;     /* threads in strata_close(), that one among them: they need the executor; tree lock */
    int closed, close_rc; /* 1: there is nothing left to close, and what came of it; tree lock */
    struct reclaim_walk close_walk; /* past who may be on a hit since the gates were shut; by who is at work */
    int close_begun,
        close_told; /* its first part is done, and all that buses were to be told has gone out; by who is at work */
};

/* Life ------------------------------------------------------------------------------------------------------- */

/* Open on a given executor (tests: the simulated one), which is taken over, also when it fails. */
int strata__open_with(strata **out, const strata_options *options, struct executor *ex, strata_error *err);

void strata__root_ref(struct root *root);
void strata__root_unref(struct root *root);
/* STRATA_ECLOSED or STRATA_EFORKED, in words. */
int strata__refuse(const struct root *root, strata_error *err);

/* Is it open, and this the process that opened it? */
static inline int root_usable(const struct root *root)
{
    return atomic_load(&root->state) == ROOT_OPEN && atomic_load_explicit(root->forks, memory_order_relaxed) ==
                                                         atomic_load_explicit(&root->forked, memory_order_relaxed);
}

/* Between the two, close waits.  Sequentially consistent: either close sees us, or we see that it closes. */
static inline void root_hold(struct root *root) { atomic_fetch_add(&root->active, 1); }
static inline void root_leave(struct root *root) { atomic_fetch_sub(&root->active, 1); }

static inline int root_enter(struct root *root, strata_error *err)
{
    root_hold(root);
    if (__builtin_expect(root_usable(root), 1))
        return STRATA_OK;
    int rc = strata__refuse(root, err);
    root_leave(root);
    return rc;
}

/* Handles (namespace.c) -------------------------------------------------------------------------------------- */

/* A handle in the tree; parent NULL makes the root's.  Tree lock held, but for the root's. */
int strata__handle_new_locked(struct root *root, strata *parent, const char *name,
                              const strata_namespace_options *options, strata **out, strata_error *err);
void strata__handle_unref(strata *handle);
/* Let the hot path in or out, as state and listeners are now.  Tree lock held. */
void strata__gate_set_locked(strata *handle);
void strata__gates_set_locked(struct root *root);
/* Point a hot line at what root has now.  Tree lock held. */
void strata__handle_rewire_locked(strata *handle);
/* As strata_hit.get, for every layer, thread and key (hit.c). */
extern const struct hit_ways strata__hit_general;
strata_hit_rest strata__hit_rest;
/* `handle` is `above` or below it. */
static inline int handle_within(const strata *handle, const strata *above)
{
    while (handle != NULL && handle != above)
        handle = handle->parent;
    return handle != NULL;
}
/* Bytes of the storage key of `key`; write it to `out`. */
size_t strata__storage_size(const strata *handle, strata_slice key);
void strata__storage_write(const strata *handle, strata_slice key, unsigned char *out);

/* The namespace that a storage key is in, and what stands behind its prefix; NULL: it is not open here, or no such key. */
strata *strata__handle_of_storage(struct root *root, strata_slice key, strata_slice *plain);
strata *strata__handle_of_storage_locked(struct root *root, strata_slice key, strata_slice *plain);

/* Layers (layers.c) ------------------------------------------------------------------------------------------ */

/* A key in the forms that layers want: plain, and as storage key.  *storage is the latter's memory, to be freed after. */
struct key_forms {
    strata_slice plain;
    strata_slice storage; /* set where !root->plain_keys */
    uint64_t hash;
};

int strata__forms_make(strata *cache, strata_slice key, struct key_forms *forms, unsigned char **storage);
/* The same in the caller's room, if the storage key is no larger: *storage is NULL then. */
enum { KEY_ROOM = 512 };
int strata__forms_make_in(unsigned char room[KEY_ROOM], strata *cache, strata_slice key, struct key_forms *forms,
                          unsigned char **storage);

/* What a strict write_policy makes of STRATA_PENDING, in words (write_outcome.c): STRATA_ELAYER. */
int strata__pending_fails(const char *layer, strata_error *err);

int strata__layers_take(struct root *root, const strata_options *options, strata_error *err);
int strata__layers_start(struct root *root, strata_error *err);
int strata__layers_reopen(struct root *root, strata_error *err);
/* STRATA_OK; STRATA_PENDING: closed, and one had deletes yet that its store was not told of. */
int strata__layers_close(struct root *root);
/* No lease is waited for any more.  Once, when the cache closes. */
void strata__layers_hurry(struct root *root);
/* What is kept for stores that were away is tried once more.  1: it is under way. */
int strata__layers_settle(struct root *root);
void strata__layers_heard(struct root *root, uint64_t store_position); /* ops->heard() of each */
void strata__host_init(struct root *root);
void strata__host_closing(struct root *root); /* cut delays short */
void strata__maintain_start(struct root *root);
void strata__maintain_stop(struct root *root);

/* Fill an operation; done and owner are the caller's to set.  `mem` and err are set. */
static inline void op_init(strata_op *op, const strata *handle, const struct layer_slot *slot,
                           const struct key_forms *key, uint32_t kind, int64_t now_ms, strata_error *err)
{
    op->size = sizeof *op;
    op->kind = kind;
    op->space = handle->space;
    op->hash = key->hash;
    op->key = slot->flags & STRATA_LAYER_SPACES ? key->plain : key->storage;
    op->value = NULL;
    op->found = NULL;
    memset(&op->meta, 0, sizeof op->meta);
    op->meta.position = atomic_load_explicit(&handle->min_position, memory_order_acquire);
    op->now_ms = now_ms;
    op->expires_ms = STRATA_FOREVER;
    op->status = STRATA_OK;
    op->tags = NULL;
    op->lines = NULL;
    op->err = err;
    op->mem = handle->root->mem;
    op->layer_data = NULL;
    op->flags = 0;
    op->reserved = 0;
    op->asked_ms = now_ms;
    err->status = STRATA_OK;
    err->message[0] = 0;
}
/* Did a GET find something?  Layers that look at deadlines themselves say STRATA_STALE. */
int strata__op_found(const strata_op *op);
/* Count what came of an operation, and tell listeners of failures.  Under no lock. */
void strata__op_counted(strata *handle, struct layer_slot *slot, const strata_op *op);
/* One look into an instant layer, which is no request of a user's.  As lookup(). */
int strata__layer_peek(strata *handle, struct layer_slot *slot, strata_op *op);
/* The same, with the whole of what is found: STRATA_OK only where that is trusted, and STRATA_STALE with its meta elsewhere. */
int strata__look_whole(strata *handle, struct layer_slot *slot, strata_op *op);
/* Submit what a strand waits for.  1: all of it is answered; 0: somebody else goes on, touch nothing. */
int strata__strand_submit(struct strand *strand, const struct layer_slot *slot, strata_op *const *ops, uint32_t count);
/* Submit one operation of an instant layer; it is done on return.  Under the key lock, but for a GET. */
void strata__instant_submit(struct layer_slot *slot, strata_op *op);
/* Bytes for layers that hold no objects: one reference.  STRATA_ECODEC, STRATA_ENOMEM. */
int strata__encode(struct root *root, strata_value *value, strata_value **out);

/* A put copies what it keeps, so that a value that is only lent will do. */
static inline int slot_instant(const struct layer_slot *slot) { return (slot->flags & STRATA_LAYER_INSTANT) != 0; }

/* What a layer was found to hold (held.c) -------------------------------------------------------------------- */

struct held {
    int there;
    uint32_t layer;
    strata_value *value; /* one reference; NULL where negative */
    strata_value *tags;  /* one reference; NULL where there are none, or unknown ones */
    strata_meta meta;
    struct deadlines d;
    unsigned char suspect; /* enum suspicion */
    unsigned char foreign; /* of another life, where no node tells us what came since */
};

/* An invalidation of what a node holds itself may have been missed. */
enum suspicion {
    SUSPECT_NOT,
    SUSPECT_STALE, /* served as stale, and asked for anew */
    SUSPECT_OLD,   /* for longer than suspect_ms: served where a load has failed */
    SUSPECT_NEVER  /* not served */
};

/* Freshness ends now: the kind of operation that says so to a layer.  expire.c */
uint32_t strata__meta_expire(strata_meta *meta, int64_t now);
/* Judge an operation that found something: takes op->found and op->tags.  1: it holds; 0: banned, of another codec, undecodable
 * (then *out is untouched and the value given back). */
int strata__held_init(strata *handle, struct layer_slot *slot, strata_op *op, struct held *out);
int64_t strata__born_here(struct root *root, const strata_meta *meta); /* by our own clock */
/* What the state of an entry is that is as suspect as that. */
int strata__suspect_state(int state, int suspect);
/* 1: it holds whole bytes that are fresh, and to be served as they are: strata__held_init() and what follows it could only say
 * so, too.  Calls nobody. */
int strata__held_is_plain(strata *handle, const struct layer_slot *slot, const strata_op *op, int64_t now);
void strata__held_drop(struct held *held);
/* The same once more, with references of its own. */
struct held strata__held_copy(const struct held *held);
/* The nearest entry that a reader would get and that has a version; else the nearest that he would get (inspect.c).  As strata_get()
 * answers.  out->there: it is the caller's to drop. */
int strata__look_version(strata *cache, const struct key_forms *key, struct held *out, strata_error *err);
/* What was found is not looked at. */
static inline void op_drop(strata_op *op)
{
    strata_value_unref(op->found);
    strata_value_unref(op->tags);
    op->found = op->tags = NULL;
}
static inline int held_state(const struct held *held, int64_t now)
{
    if (!held->there)
        return STRATA_STATE_GONE;
    int state = strata__freshness_state(&held->d, now);
    return __builtin_expect(held->suspect == SUSPECT_NOT, 1) ? state : strata__suspect_state(state, held->suspect);
}
/* What to do about it; a throttled load is told apart here. */
enum action strata__held_action(const struct held *held, enum situation situation, int64_t now);

static inline int action_serves(enum action a)
{
    return a == ACTION_SERVE || a == ACTION_SERVE_AND_REFRESH || a == ACTION_STALE || a == ACTION_STALE_AND_REFRESH;
}
static inline int action_refreshes(enum action a)
{
    return a == ACTION_SERVE_AND_REFRESH || a == ACTION_STALE_AND_REFRESH;
}
/* Serve what is held as `action` says: the status; moves the value to *out, counts, tells. */
int strata__held_serve(strata *cache, strata_slice key, struct held *held, enum action action, strata_value **out);

/* Coherence (coherence.c) ------------------------------------------------------------------------------------- */

/* enum suspicion of an entry of this life that a layer of this node's holds. */
int strata__suspect_level(struct root *root, uint32_t position, int64_t now);
/* What is at `position` may be moved up to `now`, as far as bans go: as far as it stays as suspect as it is. */
uint32_t strata__suspect_cap(struct root *root, uint32_t position, uint32_t now);
/* Raise the lines of a handle to root's, and let it know up to when what it holds is trusted.  Tree lock. */
static inline void trust_set_locked(strata *handle)
{
    const struct root *root = handle->root;
    if (handle->lines.tagged < root->suspect_line)
        __atomic_store_n(&handle->lines.tagged, root->suspect_line, __ATOMIC_RELEASE);
    if (handle->lines.plain < root->suspect_line)
        __atomic_store_n(&handle->lines.plain, root->suspect_line, __ATOMIC_RELEASE);
    /* The lines first: who sees the moment also sees them (hit.c). */
    atomic_store_explicit(&handle->trusted_until, root->trusted_until, memory_order_release);
    atomic_store_explicit(&handle->trusted_bound, root->bounds ? root->trusted_until : INT64_MIN, memory_order_release);
}

/* The thread's stack of what core runs on it (frames.c) ------------------------------------------------------- */

struct flight;

struct evicted_note {
    struct evicted_note *next;
    const char *layer;
    uint32_t space;
    size_t key_size;
    char key[];
};

/* FRAME_STRAND: a flight goes on on this thread, and listeners that it calls keep it from doing so.  FRAME_WRITE: so does a write
 * in slower layers. */
enum frame_kind { FRAME_LOADER, FRAME_CALLBACK, FRAME_LOCKED, FRAME_STRAND, FRAME_WRITE };

struct frame {
    struct frame *up;
    struct root *root;
    enum frame_kind kind;
    struct flight *const *flights; /* FRAME_LOADER, FRAME_STRAND: what it loads */
    size_t flight_count;
    const struct listener *listener; /* FRAME_CALLBACK of an event */
    /* _LOCKED, _STRAND, _WRITE: evictions to tell once no lock is held, and no key busy: who hears of them may write it.
     * The latter two hold the root for them. */
    struct evicted_note *notes;
};

extern _Thread_local struct frame *strata__frames;

static inline void frame_push(struct frame *f, struct root *root, enum frame_kind kind)
{
    *f = (struct frame){ .up = strata__frames, .root = root, .kind = kind };
    strata__frames = f;
}
static inline void frame_pop(struct frame *f) { strata__frames = f->up; }
/* Has the namespace a loader of its own, or one from above? */
static inline int namespace_has_loader(const strata *cache)
{
    return cache->loader != NULL || cache->bulk_loader != NULL;
}

/* Does a loader or callback of this cache run on this thread? */
int strata__inside(const struct root *root);
/* Tell what was evicted while the frame was on; after the lock is gone and the frame popped.  Within a flight or a write that
 * is left to these. */
void strata__frame_tell(struct frame *f);
static inline void frame_end(struct frame *f)
{
    frame_pop(f);
    if (__builtin_expect(f->notes != NULL, 0))
        strata__frame_tell(f);
}
/* A note of the frame's, which is on. */
void strata__frame_note(struct frame *f, struct evicted_note *first, struct evicted_note *last);
static inline int frame_notes(const struct frame *f)
{
    return f->kind == FRAME_LOCKED || f->kind == FRAME_STRAND || f->kind == FRAME_WRITE;
}

/* What a thread that loads something sleeps for: those of its waiters that are `noted`. */
struct waiter;
struct wait_note {
    struct waiter *waiters;
    size_t count;
    const struct wait_note *outer; /* a call further up the stack sleeps, too: a listener of its makes this one */
};
/* This thread is going to wait for the flight of `w`, one of the note's.  STRATA_OK, or STRATA_EDEADLOCK where that could
 * never end.  With STRATA_OK, strata__wait_left() takes that one back, and strata__wait_over() the note. */
int strata__wait_begin(struct root *root, struct wait_note *note, struct waiter *w, strata_slice key, strata_error *err);
void strata__wait_left(struct root *root, struct waiter *w);
void strata__wait_over(struct root *root, const struct wait_note *note);

/* Counting --------------------------------------------------------------------------------------------------- */

static inline void count_n(strata *handle, enum count what, uint64_t n)
{
    atomic_fetch_add_explicit(&handle->counts[what], n, memory_order_relaxed);
}
static inline void count_up(strata *handle, enum count what) { count_n(handle, what, 1); }

/* Keys and other arguments ------------------------------------------------------------------------------------ */

static inline int key_fits(const strata *cache, strata_slice key)
{
    return key.size - 1 < cache->max_key && key.data != NULL;
}
int strata__bad_key(const strata *cache, strata_slice key, strata_error *err);
static inline int check_key(const strata *cache, strata_slice key, strata_error *err)
{
    return __builtin_expect(key_fits(cache, key), 1) ? STRATA_OK : strata__bad_key(cache, key, err);
}
int strata__no_argument(strata_error *err, const char *what);
/* "user:1" in messages: printable, cut. */
const char *strata__key_text(strata_slice key, char *out, size_t room);

/* A block aligned to a cache line, zeroed; *out_block is what to free. */
void *strata__alloc_lines(const strata_allocator *mem, size_t bytes, void **out_block);

static inline uint64_t handle_hash(const strata *cache, strata_slice key)
{
    return strata__key_hash_with(&cache->secret, key);
}

/* For who has counted itself as begun: nobody listens to hits, and the cache is open until that is counted as over. */
static inline int gate_open(const strata *cache)
{
    /* The count must be on its way before the gate is read: see cache.c about closing. */
    atomic_signal_fence(memory_order_seq_cst);
    return atomic_load_explicit(&cache->gate, memory_order_acquire) ==
           atomic_load_explicit(cache->forks, memory_order_relaxed);
}

/* The short way of a set (set_quick.c) -------------------------------------------------------------------------- */

/* May plain sets through this handle take it?  Called once its policy is resolved and the layers are known. */
void strata__set_quick_init(strata *handle);
/* 1: done, STRATA_OK; 0: nothing is done, take the general way. */
int strata__set_quick(strata *cache, strata_slice key, strata_slice value);

/* The general read behind the hot path (hit.c) ----------------------------------------------------------------- */

/* The hot path's look, for callers that are entered (root_enter) and count the answer themselves.  STRATA_OK (op->found is
 * theirs), STRATA_STALE (see strata__hold_lookup), STRATA_MISS, < 0. */
int strata__look(strata *cache, strata_op *op, strata_slice key, strata_error *err);
/* What a look that answered `looked` gave to think about; held->there is 0 where that is nothing. */
void strata__hold_lookup(strata *cache, strata_op *op, int looked, struct held *held);
int strata__get_slow(strata *cache, strata_op *op, int looked, strata_value **out, strata_error *err);

#include "src/core/event_fire.h"

#endif /* STRATA_CORE_CORE_IMPL_H */
