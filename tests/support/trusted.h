/* trusted.h - waiting until a cache trusts what it hears, or does no more.  Behind cmocka. */
#ifndef TESTS_SUPPORT_TRUSTED_H
#define TESTS_SUPPORT_TRUSTED_H
#include "tests/support/redis_cache.h"

static inline strata_health health_of(strata *cache)
{
    strata_health health = STRATA_HEALTH_INIT;
    strata_error err = STRATA_ERROR_INIT;
    assert_int_equal(strata_health_get(cache, &health, &err), STRATA_OK);
    return health;
}

static inline void until_trust_is(strata *cache, int wanted)
{
    enum { TRUST_LOOKS = 12000 };
    for (int i = 0; i < TRUST_LOOKS; i++) {
        if (!health_of(cache).trusted == !wanted)
            return;
        redis_cache_nap(5);
    }
    fail_msg("never %strusted: %s", wanted ? "" : "un", health_of(cache).words);
}

/* Until it is known that nothing is missing. */
static inline void until_trusted(strata *cache) { until_trust_is(cache, 1); }

#endif /* TESTS_SUPPORT_TRUSTED_H */
