/* test_contract_leases.c - the store that the tests of leases rely on keeps the contract itself: as a layer, and for leases. */
#include "tests/contract/contract.h"
#include "tests/support/lease_store.h"

enum { WAIT_MS = 1000 };

static strata_layer *make(void)
{
    strata_layer *layer = lease_store_layer(lease_store_new(2, WAIT_MS));
    lease_store_own(layer);
    return layer;
}

static struct lease_store *shared;

static strata_layer *make_first(void)
{
    shared = lease_store_new(0, WAIT_MS);
    strata_layer *layer = lease_store_layer(shared);
    lease_store_own(layer); /* it is closed last */
    return layer;
}

static strata_layer *make_second(void) { return lease_store_layer(shared); }

/* For caches: the store outlives them all. */
static strata_layer *make_member(void) { return lease_store_layer(shared); }

static int run_fleet(int64_t most_ms)
{
    static const struct contract_lease_subject fleet = { "leases, two caches", { make_member, make_member } };
    shared = lease_store_new(most_ms, 600000);
    int failed = contract_run_fleet(&fleet);
    return failed + (int)lease_store_free(shared);
}

int main(void)
{
    static const struct contract_subject subject = { "leases", make, 1, 300, 0, 0, 0 };
    static const struct contract_lease_subject leases = { "leases, two nodes", { make_first, make_second } };
    return contract_run_layer(&subject) + contract_run_cache(&subject) + contract_run_leases(&leases) + run_fleet(0) +
           run_fleet(2);
}
