/* test_contract_memory.c - the memory layer under contract, with each eviction policy. */
#include "tests/contract/contract.h"

static strata_layer *make(int policy)
{
    const strata_memory_options options = { STRATA_SIZED(strata_memory_options), .max_bytes = 64u << 20,
                                            .policy = policy };
    return strata_memory_layer(&options);
}

static strata_layer *make_s3fifo(void) { return make(STRATA_EVICT_S3FIFO); }
static strata_layer *make_wtinylfu(void) { return make(STRATA_EVICT_WTINYLFU); }
static strata_layer *make_lru(void) { return make(STRATA_EVICT_LRU); }
static strata_layer *make_lfu(void) { return make(STRATA_EVICT_LFU); }
static strata_layer *make_fifo(void) { return make(STRATA_EVICT_FIFO); }
static strata_layer *make_sieve(void) { return make(STRATA_EVICT_SIEVE); }
static strata_layer *make_cost(void) { return make(STRATA_EVICT_COST); }

int main(void)
{
    static const struct contract_subject subjects[] = {
        { "memory s3-fifo", make_s3fifo, 0, 3000, 0, 0, 0 }, { "memory w-tinylfu", make_wtinylfu, 0, 3000, 0, 0, 0 },
        { "memory lru", make_lru, 0, 3000, 0, 0, 0 },        { "memory lfu", make_lfu, 0, 3000, 0, 0, 0 },
        { "memory fifo", make_fifo, 0, 3000, 0, 0, 0 },      { "memory sieve", make_sieve, 0, 3000, 0, 0, 0 },
        { "memory cost", make_cost, 0, 3000, 0, 0, 0 },
    };
    int failed = 0;
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
        failed += contract_run_layer(&subjects[i]);
    failed += contract_run_cache(&subjects[0]);
    return failed;
}
