/* memory_stacks.h - small stacks of layers, for tests that open many caches. */
#ifndef STRATA_TESTS_MEMORY_STACKS_H
#define STRATA_TESTS_MEMORY_STACKS_H
#include <stddef.h>

#include "strata/strata.h"

/* New layers into `layers`; how many. */
typedef size_t make_layers(strata_layer **layers);

/* Of 1 MiB. */
strata_layer *memory_layer(void);
size_t memory_alone(strata_layer **layers);
/* Over a map_store. */
size_t memory_and_map(strata_layer **layers);

#endif /* STRATA_TESTS_MEMORY_STACKS_H */
