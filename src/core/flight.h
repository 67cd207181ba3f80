/* flight.h - the key-lock table, flights, and those who wait for them.
 *
 * A stripe is a mutex and a table of busy keys.  Busy is a flight (a read in progress, its loader's call included) or a
 * write.  Items of one key stand in order of arrival; an item may begin when nothing before it forbids it:
 *
 *   a flight waits for earlier writes of its key that are still at work in slower layers, and for one that is superseded;
 *   a write waits for earlier writes, and for earlier flights that are just storing into slower layers.
 *
 * One flight of a key at most is `joinable`.  A poisoned one is not, stores nothing, and stays in the table only until
 * it has ended.  After a ban nobody joins a flight of before it.  But where two of a key run already, the next one waits for the
 * younger of them, which is superseded: it stores what was not banned.  All who come meanwhile join the one that waits.  The phases:
 *
 *   WAITING -> READING -> LEASING -> LOADING -> STORING -> SETTLED      (each may be skipped; only forward)
 *
 * Who runs a flight's strand owns all fields that are not marked; what is marked "key lock" is shared with joiners,
 * writers and time-outs. */
#ifndef STRATA_CORE_FLIGHT_H
#define STRATA_CORE_FLIGHT_H
#include <limits.h>

#include "src/core/coherence.h"
#include "src/core/core_impl.h"
#include "src/core/strand.h"
#include "src/core/table.h"
#include "src/loop/queue_impl.h"

enum flight_phase { FLIGHT_WAITING, FLIGHT_READING, FLIGHT_LEASING, FLIGHT_LOADING, FLIGHT_STORING, FLIGHT_SETTLED };

/* Where a flight's strand goes on when it is run again. */
enum flight_step {
    STEP_READ,
    STEP_LEASE,
    STEP_ADMIT,
    STEP_UNLEASED,
    STEP_LOAD,
    STEP_LOAD_FIRST, /* it began with that: loads_at_once() */
    STEP_LOADED,
    STEP_STORE,
    STEP_STORED
};

/* Among detached loads a flight may find another one of its key at work in slower layers, and goes there after it (detach.c). */
enum behind_late {
    BEHIND_NONE,
    BEHIND_LATE,  /* it is to wait, and has something to do first */
    BEHIND_PARKED /* its strand is to be woken */
};

/* What a flight knows of the lease of its key (lease.c).  From LEASE_HELD on, what it loads is not put into the leasing layer
 * in its turn: it was put there first, with the lease, or it may not go there. */
enum lease_state {
    LEASE_UNASKED,
    LEASE_ASKED,
    LEASE_FREE,  /* the store can't give any: its loads are put there as into any other layer */
    LEASE_HELD,  /* it was got; by now it may have been given back */
    LEASE_NONE,  /* somebody else has it */
    LEASE_FAILED /* the store can't be asked: so many loads at once go without (unleased.h) */
};

/* A lease that was asked for, or is held.  Counted by nobody: it is its flight's (`asks`, `lease`), or its own task's. */
struct lease {
    struct flight *flight; /* one reference */
    uint64_t number;       /* the layer's; 0: not got */
    struct task task;      /* gives it back */
    strata_op op;
    strata_error err;
};

struct flight;

/* A caller that waits for a flight. */
struct waiter {
    struct list_node link; /* flight->waiters; key lock.  Once taken out, who answers it holds it in a list of its own */
    unsigned char taken;   /* alone, before the flight was delivered; key lock */
    struct flight *flight; /* one reference, from joining to the end */
    strata *handle;
    int64_t soft_at, hard_at; /* INT64_MAX: none */
    int64_t hard_ms;          /* what hard_at was made of */
    unsigned char wants_load; /* 0: a plain get, which does not wait for loaders */
    unsigned char joined;     /* it did not start the flight */
    unsigned char keep;       /* its policy: background_completion */
    unsigned char done;       /* blocking: the driver's lock */
    unsigned char noted;      /* a loader sleeps for it; graph lock */
    unsigned char was_hit;    /* a layer served it */
    unsigned char quiet;      /* an import's: no request of a user's, so its answer is not counted */
    unsigned char answered;   /* bulk: at once, which is to be told yet */
    int status;
    strata_value *value;                   /* one reference */
    strata_error *err;                     /* where words go; may be NULL */
    struct driver *driver;                 /* blocking: who sleeps; NULL: asynchronous */
    void (*finish)(struct waiter *waiter); /* asynchronous: status and value stand; last touch */
    struct strand *lead;                   /* the batch that reads for the flight when it was joined: one reference */
    struct flight *behind;                 /* what the flight waited for then: one reference */
};

/* The layers' part of one or several flights (read.c). */
struct read {
    struct strand *strand; /* who drives: the flight's own, or the batch's */
    struct root *root;
    struct flight **flights; /* still without an answer are the first `count` */
    size_t count;
    size_t layer;                      /* the next one to ask */
    size_t asked;                      /* of how many flights it was asked */
    strata_op **ops;                   /* room for as many as there are flights */
    void (*over)(struct read *read);   /* every flight was answered; NULL: nobody needs to know, and read may be gone */
    void (*missed)(struct read *read); /* these were not: NULL asks the flight's own loader */
};

/* What a caller is told. */
struct answer {
    int status;
    strata_value *value;     /* borrowed */
    const strata_error *err; /* words where status < 0 */
    int is_hit;              /* a layer served it */
    uint32_t layer;          /* that layer; LAYERS_MAX: none */
    int state;               /* the entry's */
    strata_value **last; /* where the value's reference stands, for the last who is told to take over; NULL: for nobody */
};

struct strata_load {
    _Atomic(uint32_t) refs;    /* the loader's own; the last fails what was not completed */
    _Atomic(uint32_t) claimed; /* 1: somebody completes or has completed it */
    _Atomic(uint32_t) canceled;
    _Atomic(uint32_t) parts; /* the loader's return and the completion: the last one goes on */
    unsigned char has_policy;
    uint32_t tag_count, tag_room; /* what the loader has named; before it completes */
    uint64_t *tags;
    strata_value *notes; /* of entry_notes.h, without numbers: the validator that the loader has named; NULL: none, */
    unsigned char has_notes; /* which is its word where this is 1 */
    _Atomic(uint32_t) noted; /* 1: somebody writes `note`, 2: it stands */
    /* The completion; written by who claimed it. */
    int status; /* STRATA_OK, STRATA_ABSENT, < 0 */
    unsigned char declined, not_modified;
    strata_value *value;
    /* Most loads need none of what follows: it is not made zero for them. */
    strata_error err;     /* without words at first */
    strata_policy policy; /* the loader's own word, where it has one */
    char note[240];       /* a completion that was refused: why, for who waits if no other follows */
};

/* What is to be stored, where. */
struct plan {
    uint32_t kind;       /* STRATA_OP_PUT, _REMOVE; 0: nothing */
    uint32_t layer, end; /* the next one to store in, and the one not to */
    strata_value *value; /* borrowed from the flight */
    strata_value *tags;  /* the same */
    strata_meta meta;
    int is_backfill;
    int refused;   /* the layer that demotes did not take it: the one below gets it at once */
    int passes;    /* too much is on its way to slow layers: they only lose what they hold of the key */
    uint32_t from; /* backfill: the layer it came from; LAYERS_MAX: it is imported */
    /* STRATA_OP_PUT, _REMOVE: the leasing layer gets that first, and its turn comes before `layer`; 0: not, or no more. */
    uint32_t leased;
};

/* An entry that was served near the end of its freshness; fresh_until 0: it was not. */
struct early {
    int64_t fresh_until;
    uint32_t load_ms;
};

/* An entry of a snapshot, for the flight of its key: what the layers miss is taken from here (snapshot_import.c). */
struct imported;

struct flight {
    struct strand strand;
    _Atomic(uint32_t) refs;
    struct root *root;
    uint64_t life; /* root->life at birth: a flight of before a fork has no executor any more */
    strata *handle;
    const strata_allocator *mem;
    struct busy busy;                     /* key lock */
    struct list_node waiters;             /* key lock */
    unsigned char phase;                  /* enum flight_phase; key lock */
    unsigned char joinable;               /* key lock */
    unsigned char poisoned;               /* key lock */
    unsigned char superseded;             /* the next flight of its key waits for its end; key lock */
    unsigned char follows;                /* it is such a next one; key lock */
    unsigned char in_table;               /* key lock */
    unsigned char counted;                /* in root->flights; key lock */
    _Atomic(unsigned char) wants_load;    /* some waiter, or a refresh: there is a loader; key lock to write */
    _Atomic(unsigned char) background;    /* nobody needs to wait: a refresh; key lock */
    unsigned char keep;                   /* goes on without waiters; key lock */
    unsigned char refresh;                /* begun as one */
    unsigned char delivered;              /* the result stands for joiners; key lock */
    unsigned char timer_set;              /* a reference is with the refresh timer; key lock */
    unsigned char limit_set;              /* the same of the timer of load_limit_ms; key lock */
    unsigned char detached;               /* it took longer than that: detach.c; key lock */
    unsigned char outdated;               /* what it found is: only what it loads is stored; key lock */
    unsigned char behind_late;            /* enum behind_late; key lock to write */
    unsigned char late;                   /* and may be stored yet: counted in root->detached; key lock */
    _Atomic(unsigned char) loader_called; /* the load can be claimed */
    _Atomic(unsigned char) closed;        /* close was here; key lock */
    unsigned char refresh_after;          /* a stale value was served: refresh when this one has ended */
    unsigned char slides;                 /* the entry that answers it is to be extended, once it has ended */
    struct early early;                   /* that value */
    unsigned char step;                   /* where the strand goes on: enum flight_step */
    unsigned char from_batch;             /* a batch's strand asks the layers */
    unsigned char lease_state;            /* enum lease_state */
    unsigned char lease_tries;            /* how often it was asked, and answered with what can't be used */
    unsigned char replaces;               /* the leasing layer holds an entry that can't be served, */
    uint64_t replaced;                    /* of this version */
    int64_t leasing_ms;                   /* so much time has this read spent in the leasing layer, but for waits */
    struct lease *asks;                   /* while it is asked */
    struct lease *lease;                  /* held; key lock */
    struct unleased_place place;          /* where it loads, or a batch that begins with it, without a lease */
    struct way_in way_in;                 /* what protects its origin */
    struct imported *import;              /* counted; NULL: none */
    strata_loader loader;                 /* this or the next; key lock until LOADING */
    strata_bulk_loader bulk;
    void *loader_ctx;
    uint32_t position;       /* ban position at birth */
    uint64_t store_position; /* the same in the shared store's list */
    int64_t begun_ms;
    int64_t load_ms, load_ns, load_wall_ms; /* when the loader was called */
    struct held previous; /* the best that is held, to be served or validated; set under the key lock */
    int layer_failed;     /* a layer could not be asked: its error stands in `err` */
    uint32_t missed_in;   /* bit i: layer i was asked, and holds nothing of the key */
    size_t late_bytes;    /* what it counts for in root->late_bytes; 0: it is not counted */
    struct read solo;
    struct flight *self;
    strata_op *op_pointer;
    struct strand *lead; /* the batch that reads for it, while it does; key lock */
    strata_op op;
    int64_t op_ns;
    struct plan plan;
    strata_value *encoded; /* of an object, for layers that hold bytes */
    /* The result: set before `delivered`. */
    int status;
    strata_value *value;
    strata_value *tags; /* of the entry: one reference */
    int is_hit;         /* a layer served it: hit_layer; else a load, or nothing, or a stale entry of hit_layer */
    uint32_t hit_layer; /* LAYERS_MAX: none */
    int hit_state;
    struct flight *next_closed;
    struct timer refresh_timer;
    struct task refresh_task;
    struct timer limit_timer;
    struct task limit_task;
    const struct wait_note *waits; /* its loader sleeps for these; graph lock */
    uint64_t walked;               /* the last walk that came here; graph lock */
    struct flight *behind;         /* the superseded one that it waits for: one reference; graph lock */
    struct key_forms key;          /* point into bytes[] */
    /* Large, and not made zero as what stands above is: of the errors, words without content. */
    struct strata_load load;
    strata_policy policy; /* resolved: of the call that brought the loader; key lock until LOADING */
    strata_error op_err;
    strata_error err;      /* of the result */
    size_t room;           /* bytes of the block that it stands in; the next flight's, too */
    unsigned char bytes[]; /* storage prefix and key, or the key alone */
};

static inline struct flight *flight_of_busy(struct busy *b)
{
    return (struct flight *)(void *)((char *)b - offsetof(struct flight, busy));
}
static inline struct flight *flight_of_strand(struct strand *s)
{
    return (struct flight *)(void *)((char *)s - offsetof(struct flight, strand));
}
static inline struct flight *flight_of_load(const struct strata_load *l)
{
    return (struct flight *)(void *)((char *)(uintptr_t)l - offsetof(struct flight, load));
}

/* One flight ---------------------------------------------------------------------------------------------------- */

/* A flight that could not be started for want of a worker: goes on all the same where others have joined it.
 * 1: it goes on; 0: it has ended. */
int strata__flight_not_started(struct flight *f, int rc);

/* How a call wants its key read. */
struct want {
    strata *handle;
    strata_loader loader; /* both NULL: a plain get */
    strata_bulk_loader bulk;
    void *loader_ctx;
    const strata_policy *policy; /* resolved */
    struct strand *lead;         /* the batch that will read for it; NULL: it reads for itself */
    struct imported *import;     /* NULL: none */
};
/* The namespace's loader, for one key or for many. */
static inline void want_own_loader(struct want *want, int many)
{
    const strata *cache = want->handle;
    int bulk = cache->bulk_loader != NULL && (many || cache->loader == NULL);
    want->loader = bulk ? NULL : cache->loader;
    want->bulk = bulk ? cache->bulk_loader : NULL;
    want->loader_ctx = cache->loader_ctx;
}

static inline int want_loads(const struct want *want) { return want->loader != NULL || want->bulk != NULL; }

/* Nobody answers the waiter yet.  Key lock held.  A flight that is delivered has taken all out. */
static inline int waiter_stands_locked(const struct waiter *w)
{
    return !w->flight->delivered && !w->taken && list_linked(&w->link);
}

/* It began so long ago that nobody waits for it. */
int strata__flight_too_old(const struct flight *f, int64_t now);
/* The least position that a flight was born at which may store something yet; `most` where there is none below. */
uint32_t strata__flights_oldest(struct root *root, uint32_t most);
struct flight *strata__flight_new(const struct want *want, strata_slice key, uint64_t hash, strata_error *err);
static inline struct flight *flight_ref(struct flight *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}
void strata__flight_unref(struct flight *f);
/* The blocks that are kept for flights to come.  By the last who holds the root. */
void strata__spares_free(struct root *root);

enum entered {
    ENTERED_ANSWERED, /* status and value stand in the waiter: nothing to wait for */
    ENTERED_JOINED,   /* the waiter stands in another's flight */
    ENTERED_STARTED,  /* the waiter stands in a flight of its own, to be run by the caller */
    ENTERED_QUEUED,   /* the same, but a write comes first, which will wake it */
    ENTERED_FAILED    /* out of memory, closed...: the waiter's status, and err */
};

/* Find or begin a flight for w (flight.c).  `fresh_only`: nothing here.  *out is the flight where one was begun. */
enum entered strata__flight_enter(const struct want *want, strata_slice key, uint64_t hash, struct waiter *w,
                                  struct flight **out, strata_error *err);
/* A caller on a worker must not wait for a free worker: it runs what it waits for, if nobody else does. */
void strata__waiter_help(struct waiter *w, struct driver *d);
/* A loader that waits for a load holds a place, and is not to wait until it is free. */
void strata__waiter_hurry(const struct want *want, struct waiter *w);
/* A caller whose flight waits behind a write, or another flight, drives it, unless its policy keeps loaders off its thread. */
void strata__queued_help(const struct want *want, struct waiter *w, struct driver *d);
/* Before the waiter goes: give back what it held of its flight. */
void strata__waiter_leave(struct waiter *w, struct driver *d);
void strata__join_counted(strata *cache, strata_slice key);
/* The nearest layer's word, for callers that wait otherwise than by blocking.  1: *status (and *out) answer, counted; 0: it
 * takes a flight. */
int strata__read_first(const struct want *want, strata_slice key, uint64_t *hash, strata_value **out, int *status,
                       strata_error *err);
/* The same of a look that is counted as begun already, and that quick() answered with `said`: NULL or STRATA_NOT_HERE. */
int strata__read_said(const struct want *want, strata_slice key, uint64_t hash, int64_t now_ms, strata_value *said,
                      strata_value **out, int *status);
/* A blocking read through a flight: after the nearest layer, if it is instant, did not answer. */
int strata__read_blocking(const struct want *want, strata_slice key, uint64_t hash, strata_value **out,
                          strata_error *err);
/* A plain get where cache->direct (get_direct.c): its status, with the call's end counted (HOT_LOOKED, HOT_SLOW); or NOT_DIRECT,
 * and nothing was done: it takes a flight.  `now_ms` is when the call began. */
#define NOT_DIRECT INT_MIN
int strata__get_direct(strata *cache, strata_slice key, uint64_t hash, int64_t now_ms, strata_value **out,
                       strata_error *err);
/* STRATA_EINVAL: there is no loader. */
int strata__no_loader(strata_error *err);
/* Which loader, which policy; `resolved` is room for the latter.  STRATA_OK, STRATA_EINVAL. */
int strata__want_init(struct want *want, strata *cache, strata_loader loader, void *loader_ctx,
                      const strata_policy *policy, strata_policy *resolved, strata_error *err);
static inline int load_is_limited(const strata_policy *p)
{
    return p->load_limit_ms > 0 && p->load_limit_ms != STRATA_FOREVER;
}
/* Does a policy keep loaders off their callers' threads? */
static inline int wants_worker(const struct want *want)
{
    const strata_policy *p = want->policy;
    return want_loads(want) && (p->soft_timeout_ms > 0 || p->hard_timeout_ms > 0 || p->stale_while_revalidate_ms > 0 ||
                                p->stale_if_error_ms > 0 || load_is_limited(p));
}
/* Is the call's loader to be called on another thread?  A worker calls it itself, unless it must be able to leave. */
static inline int want_posts(const struct want *want)
{
    int times_out = want->policy->soft_timeout_ms > 0 || want->policy->hard_timeout_ms > 0 ||
                    load_is_limited(want->policy);
    return wants_worker(want) && (times_out || !ex_on_worker(want->handle->root->ex));
}
/* Of values that are on their way to slower layers while their callers have them; but one of any size may be. */
#define LATE_BYTES_MOST ((uint64_t)16 << 20)
/* Begin a refresh in the background, unless the key is busy.  `seen`: what was found. */
void strata__refresh_start(const struct want *want, strata_slice key, uint64_t hash, const struct held *seen);
/* The flight is answered with what is held, which `action` may want refreshed: that begins when it has ended. */
void strata__note_refresh(struct flight *f, const struct held *held, enum action action, int64_t now);
void strata__refresh_after(struct flight *f);

/* The strand of a flight, from its first step. */
void strata__flight_run(struct strand *strand);
/* The same, by who holds a reference until it has come back. */
void strata__flight_run_held(struct flight *f);
void strata__read_run(
    struct read *read); /* the layers' part, on the strand's thread; goes on with the flights by itself */
/* All layers were asked, and this flight has no answer: its loader, or a miss.  On its strand's thread. */
void strata__flight_after_layers(struct flight *f);
/* The loader was called or failed before it: its result stands in f->load. */
void strata__flight_loaded(struct flight *f);
void strata__flight_store(struct flight *f); /* plan and result; gives it to the waiters */
/* Prepare to load: 0 where the flight has ended instead (closing, nobody wants it). */
int strata__load_begin(struct flight *f);
/* What is noted and counted before a loader is called. */
void strata__load_note_start(struct flight *f);
/* It is detached after load_limit_ms (detach.c).  Under no lock; where it has one. */
void strata__load_limit_start(struct flight *f);
/* It stores something, and some load is detached: what those of its key bring is older, or, of such a one itself, what others have found is.
 * `slow`: a slower layer comes next.  Key lock. */
void strata__late_store_locked(struct stripe *s, struct flight *f, int slow);
/* Before it asks the first slower layer.  1: it is woken when it may; 0: it may. */
int strata__late_waits(struct flight *f);
/* It has left: the next one of its key goes on.  Key lock. */
void strata__late_leave_locked(struct stripe *s, const struct flight *f);
/* Where limit_set was taken back.  Under no lock, before the flight's last reference goes. */
void strata__load_limit_stop(struct flight *f);
/* Let it be cancelled after refresh_timeout_ms.  Key lock. */
void strata__refresh_timer_locked(struct flight *f);
/* The layers have no answer, and the flight is no batch's any more: 1: its loader is to be called; 0: it has ended, or
 * goes on elsewhere.  `first`: as in strata__admit_last(). */
int strata__flight_needs_load(struct flight *f, const struct flight *first);
/* No waiter wants a loader called: it ends here, with a plain get's answer.  1: it has. */
int strata__flight_ends_unloaded(struct flight *f);
/* The batch that read for it does so no more. */
void strata__flight_let_go(struct flight *f);
/* What a layer found, in `op`: does it answer the flight?  1: yes; 0: it is remembered for its loader. */
int strata__read_judge(struct flight *f, struct layer_slot *slot, strata_op *op, int64_t now);
void strata__load_run(struct flight *f); /* calls the loader for one flight, on this thread */
/* The loader function came back for this flight. 1: go on with it now; 0: its completion will. */
int strata__load_returned(struct flight *f, int rc);
/* Claim the load and fail it; nothing where it was completed.  Under no lock. */
void strata__load_abort(struct flight *f, int status, const char *message);
/* Nobody wants it: cancel, poison, take out.  Key lock. */
void strata__flight_abandon_locked(struct flight *f);
/* No load before now + retry_ms: put what is held back with that note, in the nearest layer. Key lock not held. */
void strata__throttle(strata *handle, const struct key_forms *key, const struct held *held, int64_t retry_ms);

/* Leases (lease.c) ---------------------------------------------------------------------------------------------- */

enum lease_answer {
    LEASE_LOAD,   /* load now, with the lease or without one */
    LEASE_HIT,    /* another was faster: the result and a plan stand; strata__flight_store() */
    LEASE_RETRY,  /* ask once more */
    LEASE_PENDING /* another one loads it */
};

/* Must the loads of this cache be leased? */
static inline int root_leases(const struct root *root) { return root->lease_layer < LAYERS_MAX; }
/* Not to be put into this layer in its turn. */
static inline int lease_skips(const struct flight *f, uint32_t layer)
{
    return f->lease_state >= LEASE_HELD && layer == f->root->lease_layer;
}
/* All layers were asked: an operation that asks for the lease, to be submitted for `strand`, which then hears of the answer.
 * NULL: it is loaded without one. */
strata_op *strata__lease_prepare(struct flight *f, struct strand *strand, uint32_t flags);
/* What was answered to it. */
enum lease_answer strata__lease_judge(struct flight *f);
/* Ask, wait, and go on to the loader: on the flight's strand, when no batch reads for it any more. */
void strata__lease_run(struct flight *f);
/* The answer has come: STEP_LEASE. */
void strata__lease_answered(struct flight *f);
/* It may load without one: STEP_UNLEASED. */
void strata__lease_load(struct flight *f);
/* A load has ended and its plan stands: where does its lease go?  Before strata__flight_store(). */
void strata__lease_plan(struct flight *f);
/* The number of the lease that is held, for a PUT, which ends it; 0: it is gone, and what was loaded is not stored. */
uint64_t strata__lease_take(struct flight *f);
/* Give back the lease that is held: there is one (locked); if there is one. */
void strata__lease_drop_locked(struct flight *f);
void strata__lease_drop(struct flight *f);
/* For a batch: submit `count` operations that lease_prepare() made.  As strata__strand_submit(). */
int strata__leases_submit(struct root *root, struct strand *strand, strata_op *const *ops, uint32_t count);

/* Imports (snapshot_import.c) ------------------------------------------------------------------------------------- */

/* Its callers wait until all layers have it, so that no layer is passed by. */
static inline int plan_imports(const struct plan *p) { return p->is_backfill && p->from == LAYERS_MAX; }
struct imported *strata__imported_ref(struct imported *import);
void strata__imported_unref(struct imported *import);
/* All layers were asked.  1: the snapshot's entry goes into them, and the flight to strata__flight_store(); 0: it goes on as any. */
int strata__imported_take(struct flight *f);
/* A layer has it now. */
void strata__imported_stored(struct imported *import);
/* Something younger has come: nothing of it is stored from now on. */
void strata__imported_fenced(struct imported *import);
/* Nobody may join the flight any more, but it stores what it brings.  Key lock. */
void strata__flight_seal_locked(struct flight *f);

/* Waiters (waiter.c) -------------------------------------------------------------------------------------------- */

void strata__waiter_times(struct waiter *w, const strata_policy *policy, int64_t now);
/* Take all waiters that may have the result (all != 0: every one; else plain gets only).  Key lock. */
void strata__waiters_take_locked(struct flight *f, struct list_node *out, int all);
void strata__waiters_give(struct flight *f, struct list_node *taken, const struct answer *answer);
/* Count an answer and tell listeners of it. */
void strata__answer_counted(strata *handle, strata_slice key, const struct answer *answer);
/* Give one its result.  Takes over `value`. */
void strata__waiter_finish(struct waiter *w, int status, strata_value *value, const strata_error *err);
/* A deadline of w has passed.  1: it has a result now, and was taken out; 0: go on waiting (see its deadlines). */
int strata__waiter_expired(struct waiter *w, int64_t now, int *status, strata_value **value, strata_error *err);
/* Take it out of its flight without an answer.  1: done; 0: somebody answers it just now. */
int strata__waiter_withdraw(struct waiter *w);
void strata__waiter_sleep(struct waiter *w,
                          struct driver *d); /* until w has its result, running what the driver is given */

#endif /* STRATA_CORE_FLIGHT_H */
