/* sim_program.h - what one seed makes of nodes, a store, a network and an origin.
 *
 * Real are the core, the memory layer, the Redis layer and its guard, and the scripts that are shipped, in a real Lua.  Simulated are
 * the executor, the connections and the server's keyspace.  A seed decides what is called where and when, what runs first, how long
 * packets and loads take, and what befalls whom: connections are cut before or after a command was carried out, nodes are partitioned,
 * stopped and resumed, and crash; the server fails over and loses what it had acknowledged, is emptied, forgets its scripts; other
 * clients write and delete.  sim_history.c judges what is read. */
#ifndef STRATA_TESTS_SIM_PROGRAM_H
#define STRATA_TESTS_SIM_PROGRAM_H
#include <stdint.h>

void sim_run_seed(uint64_t seed);
/* From now on nodes trust what they hold without proof, and are judged as if they did not: sabotage. */
void sim_trust_blindly(int on);

#endif /* STRATA_TESTS_SIM_PROGRAM_H */
