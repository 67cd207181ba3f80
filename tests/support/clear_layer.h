/* clear_layer.h - a layer's clear() in one call, for tests to which life and position say nothing. */
#ifndef STRATA_TESTS_CLEAR_LAYER_H
#define STRATA_TESTS_CLEAR_LAYER_H
#include "strata/sys/layer.h"

static inline int clear_layer(strata_layer *layer, uint32_t space, strata_slice prefix, int all, strata_error *err)
{
    const strata_clear_op what = { .size = sizeof what, .space = space, .all = (uint32_t)all, .prefix = prefix };
    return layer->ops->clear(layer, &what, err);
}

#endif /* STRATA_TESTS_CLEAR_LAYER_H */
