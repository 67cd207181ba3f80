/* test_contract_guard.c - what stands behind a guard is under the same contract: a store that blocks, and a layer that
 * answers later, elsewhere and out of order. */
#include "src/layer/guard.h"
#include "tests/contract/contract.h"
#include "tests/support/map_store.h"
#include "tests/support/slow_layer.h"

static strata_layer *guarded(strata_layer *inner)
{
    const struct guard_options options = { .breaker_failures = 5,
                                           .breaker_open_ms = 2000,
                                           .probe_ms = 5000,
                                           .max_queued_deletes = 1000,
                                           .max_queued_bytes = 1 << 20 };
    return strata__guard_layer(inner, &options);
}

static strata_layer *make_blocking(void) { return guarded(map_store_layer()); }
static strata_layer *make_slow(void) { return guarded(slow_layer_new(2)); }

int main(void)
{
    static const struct contract_subject blocking = { "guarded blocking map", make_blocking, 1, 3000, 0, 0, 1 };
    static const struct contract_subject slow = { "guarded slow", make_slow, 1, 400, 0, 0, 0 };
    return contract_run_layer(&blocking) + contract_run_cache(&blocking) + contract_run_layer(&slow) +
           contract_run_cache(&slow);
}
