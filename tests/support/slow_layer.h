/* slow_layer.h - a custom layer that is deliberately slow: every operation is answered later, on another thread, and out
 * of order; and gets can be held until the test lets them go. */
#ifndef STRATA_TESTS_SLOW_LAYER_H
#define STRATA_TESTS_SLOW_LAYER_H
#include "strata/sys/layer.h"

/* Keeps operations up to `most_ms` (0: one hop to another thread). */
strata_layer *slow_layer_new(int64_t most_ms);
/* From now on gets are held, however long. */
void slow_layer_hold(strata_layer *layer);
/* Wait until `count` gets are held. */
void slow_layer_wait_held(strata_layer *layer, size_t count);
/* Answer those that are held, last first, and hold no more. */
void slow_layer_release(strata_layer *layer);
/* Submits so far, and operations in them. */
void slow_layer_counts(strata_layer *layer, size_t *out_submits, size_t *out_operations);

/* Entries of a space that were born at a lower position. */
size_t slow_layer_older(strata_layer *layer, uint32_t space, uint32_t position);

/* A copy of what it holds of a key: the size, at most `room` of it in `out`; SIZE_MAX where it holds nothing. */
size_t slow_layer_value(strata_layer *layer, uint32_t space, strata_slice key, void *out, size_t room,
                        strata_meta *meta);
/* Gets its entries from the memory layer above.  Before the cache is opened. */
void slow_layer_demoted(strata_layer *layer);

#endif /* STRATA_TESTS_SLOW_LAYER_H */
