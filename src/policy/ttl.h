/* ttl.h - what is decided for each entry anew: until when it is fresh, how much longer or shorter, and who refreshes it early.
 * Pure: chance is an argument, 64 random bits. */
#ifndef STRATA_POLICY_TTL_H
#define STRATA_POLICY_TTL_H
#include <stdint.h>

#include "strata/policy.h"
#include "strata/sys/layer.h" /* strata_meta */

/* Is anything drawn for entries of this policy?  If not, all of them have the same durations. */
int strata__ttl_is_drawn(const strata_policy *resolved);
/* Draw.  `meta` has its birth, what its load took where it was loaded, and what strata__policy_to_meta() says.  Asks the
 * application's own function, if the policy has one, with the key: no lock is held. */
void strata__ttl_draw(const strata_policy *resolved, strata_slice key, int loaded, uint64_t random, strata_meta *meta);

/* How long what is put into layer `index` may be held there: what the layer says, or the policy (`layer_ttls`, may be NULL), if that
 * is shorter; 0: as long as it is wanted.  Both are durations from the put. */
static inline int64_t strata__ttl_in_layer(int64_t max_ttl_ms, const int64_t *layer_ttls, uint32_t index)
{
    int64_t own = layer_ttls != NULL && layer_ttls[index] != STRATA_FOREVER ? layer_ttls[index] : 0;
    return own <= 0 || (max_ttl_ms > 0 && max_ttl_ms < own) ? max_ttl_ms : own;
}

/* The early margin of an entry that is fresh for meta->fresh_ms, and took meta->load_ms to load. */
int64_t strata__ttl_early(const strata_policy *resolved, const strata_meta *meta);
/* ttl_ms +- jitter_ms, every number of them with the same chance; at least 1.  STRATA_FOREVER, and what is not above 0, stay. */
int64_t strata__ttl_jitter(int64_t ttl_ms, int64_t jitter_ms, uint64_t random);
/* XFetch: does this read refresh what is fresh for left_ms yet, and took load_ms to load?  With the chance
 * exp(-left_ms / load_ms): 1 where nothing is left. */
int strata__xfetch_due(uint32_t load_ms, int64_t left_ms, uint64_t random);

#endif /* STRATA_POLICY_TTL_H */
