/* load_cost.h - what loads of a simulated origin take: a time for each key, always the same, log-normally spread. */
#ifndef STRATA_CLI_LOAD_COST_H
#define STRATA_CLI_LOAD_COST_H
#include <stddef.h>
#include <stdint.h>

enum { LOAD_COST_DECADES = 6, LOAD_COST_MOST_US = 2000000000 };

/* Of half of all keys it is below median_us; from that of the cheapest hundredth to that of the dearest there are so many decades: 0,
 * all cost the same.  1 to LOAD_COST_MOST_US. */
uint32_t load_cost_us(const void *key, size_t size, uint64_t median_us, uint64_t decades);

#endif /* STRATA_CLI_LOAD_COST_H */
