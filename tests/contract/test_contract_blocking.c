/* test_contract_blocking.c - a user's blocking store behind the adapter, under contract. */
#include "tests/contract/contract.h"
#include "tests/support/map_store.h"

int main(void)
{
    static const struct contract_subject subject = { "blocking map", map_store_layer, 1, 3000, 0, 0, 1 };
    return contract_run_layer(&subject) + contract_run_cache(&subject);
}
