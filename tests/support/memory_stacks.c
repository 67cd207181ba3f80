/* memory_stacks.c - see memory_stacks.h. */
#include "tests/support/memory_stacks.h"

#include "tests/support/map_store.h"

strata_layer *memory_layer(void)
{
    static const strata_memory_options small = { STRATA_SIZED(strata_memory_options), .max_bytes = 1u << 20 };
    return strata_memory_layer(&small);
}

size_t memory_alone(strata_layer **layers)
{
    layers[0] = memory_layer();
    return 1;
}

size_t memory_and_map(strata_layer **layers)
{
    layers[0] = memory_layer();
    layers[1] = map_store_layer();
    return 2;
}
