/* admit.h - what stands between a flight that all layers have missed and its loader: breakers, and limits (admit.c).
 *
 * The order: who is refused by an open breaker does not queue; then the queue of a limit; then the bound on loads without a lease
 * (unleased.h); and the breaker once more, which gives its probe to nobody who would sit on it in a queue.  A policy that
 * has none of them passes by all of it.  No lock of these is held while a loader runs, and no thread waits: a flight that does
 * is its strand, which is woken. */
#ifndef STRATA_CORE_ADMIT_H
#define STRATA_CORE_ADMIT_H
#include "src/base/heap.h"
#include "src/core/locks.h"
#include "src/core/wards.h"
#include "src/loop/executor.h"
#include "src/policy/breaker.h"
#include "strata/policy.h"

struct flight;
struct root;
struct strand;

/* Something to happen at a moment. */
struct due {
    struct heap_node node; /* in warden.dues */
    int64_t at_ms;
    int is_bucket; /* else a way_in's deadline */
};

/* What watches over the loads of a cache. */
struct warden {
    struct key_mutex lock;
    struct wards breakers, buckets;
    struct heap dues;
    struct timer timer; /* for the first of these */
    struct task task;
    struct list_node gone; /* who waited, and whom nobody wants any more: to be woken */
    struct task gone_task;
    int armed, gone_posted;
};

enum admitted {
    ADMIT_OUT,
    ADMIT_WAITS, /* in a queue: its strand will be woken with one of the following */
    ADMIT_IN,    /* it counts, and leaves when its load is over */
    ADMIT_LATE,  /* its time in the queue is over */
    ADMIT_BARE,  /* there is no memory for a bucket, or all are in use */
    ADMIT_GONE   /* nobody waits for it any more, or the cache closes */
};

/* What a flight holds of it.  The lock's. */
struct way_in {
    struct ward *breaker; /* it is to be told how the load went */
    uint64_t ticket;
    struct ward *bucket; /* where it waits or counts, for all that pass with it where `batched` */
    struct flight *lead; /* whose place it shares: one reference; NULL: it has its own, or none */
    uint32_t riders;     /* so many share this one's, itself included */
    struct flight *with; /* the one that stands in the queue for it and others of its batch; NULL: none does */
    struct list_node link;
    struct due due;
    struct strand *strand;
    unsigned char batched;
    unsigned char hurries;        /* a loader waits for it */
    _Atomic(unsigned char) state; /* enum admitted */
};

static inline int policy_limits(const strata_policy *p) { return p->max_loads > 0 || p->rate_loads > 0; }
static inline int policy_guards(const strata_policy *p) { return p->breaker_failures > 0 || policy_limits(p); }

void strata__warden_init(struct root *root);
void strata__warden_free(struct root *root);
/* The cache closes: nobody waits any more. */
void strata__warden_flush(struct root *root);

/* The layers, and the lease, are done with: on to the loader, as far as this flight may go now. */
void strata__admit(struct flight *f);
/* It waited, and was woken: STEP_ADMIT. */
void strata__admit_go_on(struct flight *f);
/* The flights of a batch: those that pass by themselves go on so, or are refused, and are taken out.  How many are left. */
size_t strata__admit_singly(struct root *root, struct flight **flights, size_t count);
/* Then the others, whose bulk loader's call passes as one.  1: go on with *count of them; 0: the strand is woken when they may, and
 * may run already; then strata__admitted_many(). */
int strata__admit_together(struct flight **flights, size_t *count, struct strand *strand);
void strata__admitted_many(struct flight **flights, size_t *count);
/* On the brink of its loader.  0: it was refused, and has ended.  `first` is NULL, or a flight for which the same call of a bulk
 * loader is made, and which was let through. */
int strata__admit_last(struct flight *f, const struct flight *first);
/* The load is over: its place is another's, and the breaker hears how it went, if it has not yet.  Under no lock. */
void strata__admission_over(struct flight *f, enum breaker_verdict verdict);

/* Breakers (breakers.c). ---------------------------------------------------------------------------------------- */

/* Would it be refused?  Nothing is said, and it may yet be loaded. */
int strata__breaker_is_open(const struct flight *f);
/* The same.  1: the flight's load has failed with the words for it. */
int strata__breaker_refuses(struct flight *f);
/* The same for the last time: 0 counts, and the flight is to tell. */
int strata__breaker_stops(struct flight *f, const struct flight *first);
/* Once; nothing where it is not to tell.  Under no lock. */
void strata__breaker_hears(struct flight *f, enum breaker_verdict verdict);
/* What a policy's scope and name make of a flight: the same for flights that share it. */
uint64_t strata__scope_id(const struct flight *f, int32_t scope, const char *name);
/* In words: "of the key user:1". */
const char *strata__scope_words(const struct flight *f, int32_t scope, const char *name, char *out, size_t room);

/* Limits (limits.c). --------------------------------------------------------------------------------------------- */

enum limit_answer { LIMIT_GO, LIMIT_WAITS, LIMIT_REFUSES };
/* With WAITS, nothing of the flight may be touched any more: the strand may run already. */
enum limit_answer strata__limit_enter(struct flight *f, struct strand *strand, int batched);
/* Words for who was refused, or waited too long: its load has failed with them. */
void strata__limit_refused(struct flight *f);
void strata__limit_leave(struct flight *f);
/* From now on `f` shares the place of `lead`, which is left when the last of those that do is over. */
void strata__limit_ride(struct flight *f, struct flight *lead);
/* `lead` is about to stand in the queue for it; NULL: does so no more. */
void strata__limit_with(struct flight *f, struct flight *lead);
/* A loader waits for it, and may hold the place that it waits for: it waits no more.  Under no lock. */
void strata__limit_hurry(struct flight *f);
/* Nobody wants what it waits to load.  Key lock. */
void strata__limit_quit_locked(struct flight *f);

#endif /* STRATA_CORE_ADMIT_H */
