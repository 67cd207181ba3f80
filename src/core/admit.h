/* admit.h - what stands between a flight that all layers have missed and its loader: breakers, and limits (admit.c).
 *
 * The order: who is refused by an open breaker does not queue; then the queue of a limit; then the bound on loads without a lease
 * (unleased.h); and the breaker once more, which gives its probe to nobody who would sit on it in a queue.  A policy that
 * has none of them passes by all of it.  No lock of these is held while a loader runs. */
#ifndef STRATA_CORE_ADMIT_H
#define STRATA_CORE_ADMIT_H
#include "src/core/locks.h"
#include "src/core/wards.h"
#include "src/policy/breaker.h"
#include "strata/policy.h"

struct flight;
struct root;

/* What watches over the loads of a cache. */
struct warden {
    struct key_mutex lock;
    struct wards breakers;
};

/* What a flight holds of it.  The lock's. */
struct way_in {
    struct ward *breaker; /* it is to be told how the load went */
    uint64_t ticket;
};

static inline int policy_guards(const strata_policy *p) { return p->breaker_failures > 0; }

void strata__warden_init(struct root *root);
void strata__warden_free(struct root *root);

/* The layers, and the lease, are done with: on to the loader, as far as this flight may go now. */
void strata__admit(struct flight *f);
/* On the brink of its loader.  0: it was refused, and has ended.  `first` is NULL, or a flight for which the same call of a bulk
 * loader is made, and which was let through. */
int strata__admit_last(struct flight *f, const struct flight *first);
/* The load is over, or counts no longer: the breaker hears how it went, if it has not yet.  Under no lock. */
void strata__admission_over(struct flight *f, enum breaker_verdict verdict);

/* Breakers (breakers.c). ---------------------------------------------------------------------------------------- */

/* Would it be refused?  1: the flight's load has failed with the words for it. */
int strata__breaker_refuses(struct flight *f);
/* The same for the last time: 0 counts, and the flight is to tell. */
int strata__breaker_stops(struct flight *f, const struct flight *first);
void strata__breaker_hears(struct flight *f, enum breaker_verdict verdict);
/* What a policy's scope and name make of a flight: the same for flights that share it. */
uint64_t strata__scope_id(const struct flight *f, int32_t scope, const char *name);
/* In words: "of the key user:1". */
const char *strata__scope_words(const struct flight *f, int32_t scope, const char *name, char *out, size_t room);

#endif /* STRATA_CORE_ADMIT_H */
