/* behind.h - what write-behind decides: whether a set may wait, when those that wait are written, and what a store must not hold by then.
 *
 * Pure: numbers and moments are arguments. */
#ifndef STRATA_POLICY_BEHIND_H
#define STRATA_POLICY_BEHIND_H
#include <stdint.h>

/* What waits, or may. */
struct behind_load {
    uint64_t count, bytes;
};

/* May one more of that size wait? */
int strata__behind_fits(struct behind_load now, struct behind_load most, uint64_t bytes);
/* Are they so many that they are written now, however young?  Long before one would find no room. */
int strata__behind_presses(struct behind_load now, struct behind_load most);
/* Has one that came at `since` and must be written by `due` waited long enough to go with others that are due? */
int strata__behind_ripe(int64_t since_ms, int64_t due_ms, int64_t now_ms);

/* The store's clock, as this node knows it: when it said `store_us`, it was no later than `at_us` here. */
struct behind_clock {
    int64_t store_us, at_us; /* store_us 0: it never said */
};

/* A version that no write can have which comes after now: what is newer in the store by the time of the flush was not known here, nor
 * written before.  `seen` is the greatest version that this node was told of: it counts where it is not seconds ahead of the clock, as that of one key is
 * which another server has counted, whose clock was wrong.  0: nothing is known. */
uint64_t strata__behind_base(struct behind_clock clock, int64_t now_us, uint64_t seen);

#endif /* STRATA_POLICY_BEHIND_H */
