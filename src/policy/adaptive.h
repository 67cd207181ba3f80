/* adaptive.h - keys that are read often are fresh for longer: by how much, and how often they were read.
 *
 * Profiles are counts of hits by key, of a fixed number: sets of 8, as in "Misra-Gries".  A key that is new where its set is full takes
 * one from each count there, and has a place once one of them is 0.  So a count is never above the hits that there were, and below them by
 * at most a 9th of all hits of the set's keys: who is read more than that has a profile, and who is not read any more loses it.
 * Pure; any thread may count, none waits, and two at once in a set may lose a hit. */
#ifndef STRATA_POLICY_ADAPTIVE_H
#define STRATA_POLICY_ADAPTIVE_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "strata/policy.h"

/* The ttl of a key with so many hits, of a resolved policy: never below its ttl_ms. */
int64_t strata__adaptive_ttl(const strata_policy *resolved, uint32_t hits);
/* So many hits, and more make no difference; 0: it is off. */
uint32_t strata__adaptive_enough(const strata_policy *resolved);

enum { PROFILE_WAYS = 8 };

struct profiles {
    uint32_t sets;
    _Alignas(64) _Atomic(uint64_t) slots[]; /* tag << 32 | count; 0: free */
};

/* Bytes for at least `count` profiles, of zeroed memory that begins a line. */
size_t strata__profiles_size(uint32_t count);
void strata__profiles_init(struct profiles *profiles, uint32_t count);
/* One more, up to `most`: at that it is only read. */
void strata__profile_hit(struct profiles *profiles, uint64_t hash, uint32_t most);
/* How many there were; half of them stay, so that who is read less often in the time to come is fresh for less. */
uint32_t strata__profile_take(struct profiles *profiles, uint64_t hash);

#endif /* STRATA_POLICY_ADAPTIVE_H */
