/* adaptive.h - namespaces whose keys are fresh for longer where they are read often.
 *
 * Whose policy does not say so counts nothing: its hits run the layer's own functions.  Those of one that does run through a
 * pair that counts, and from enough hits on only reads.
 *
 * Hits are the key's, not the value's: no invalidation, of whatever kind and by whomever, takes any. */
#ifndef STRATA_CORE_ADAPTIVE_H
#define STRATA_CORE_ADAPTIVE_H
#include "src/core/core_impl.h"

/* Where a handle's hits are counted; its policy is resolved.  STRATA_OK; STRATA_ENOMEM with words.  Tree lock, but for the root's. */
int strata__adaptive_open_locked(strata *handle, strata_error *err);
/* The last of what strata__handle_rewire_locked() does. */
void strata__adaptive_wire(strata *handle);
void strata__adaptive_free(struct root *root);
/* A hit that was not counted on the hot path. */
void strata__adaptive_hit(strata *handle, uint64_t hash);
/* A load of the key has ended: how long what it brings is fresh, in `policy`, which is resolved. */
void strata__adaptive_load(strata *handle, uint64_t hash, strata_policy *policy);
/* strata__policy_check() of a call's, or a loader's own: nobody counts for a call alone. */
int strata__call_policy_check(const strata *cache, const strata_policy *policy, strata_error *err);

#endif /* STRATA_CORE_ADAPTIVE_H */
