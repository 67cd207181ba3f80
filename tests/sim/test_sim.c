/* test_sim.c - thousands of schedules, each from a seed: see sim_program.h.
 *
 *   test_sim SEED          that one; STRATA_SIM_TRACE=1 tells what happens
 *   test_sim PART OF       every OFth seed from PART on, of STRATA_SEEDS (10,000) */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim_cluster.h"
#include "tests/sim/sim_program.h"

static void print_seen(uint64_t seeds)
{
    const struct cluster_seen *s = &cluster_seen;
    printf("%" PRIu64 " seeds: %" PRIu64 " reads (%" PRIu64 " with a value, %" PRIu64 " stale; %" PRIu64
           " of them in %" PRIu64 " batches), %" PRIu64 " loads, %" PRIu64 " writes (%" PRIu64 " well, %" PRIu64
           " failed), %" PRIu64 " leases, %" PRIu64 " awaited, %" PRIu64 " lost, %" PRIu64
           " fills fenced; no violation\n",
           seeds, s->reads, s->values, s->stale, s->batched, s->batches, s->loads, s->writes, s->writes_ok,
           s->writes_failed, s->leases, s->lease_waits, s->leases_lost, s->fenced);
}

int main(int argc, char **argv)
{
    const char *most = getenv("STRATA_SEEDS");
    uint64_t seeds = most != NULL ? strtoull(most, NULL, 10) : 10000, done = 0;
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1, by = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    if (argc == 2)
        seeds = first;
    for (uint64_t seed = first; seed <= seeds; seed += by, done++)
        sim_run_seed(seed);
    print_seen(done);
    return 0;
}
