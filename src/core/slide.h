/* slide.h - hits that make an entry fresh for longer. */
#ifndef STRATA_CORE_SLIDE_H
#define STRATA_CORE_SLIDE_H
#include "src/core/core_impl.h"

/* Does a hit of what is held extend it? */
int strata__slides(const struct held *held, int64_t now);
/* One has happened: extend the entry, where that is so.  Does not block on anything remote. */
void strata__slide_hit(strata *handle, strata_slice key, const struct held *held);
/* Extend what layers hold of the key, each as far as its own entry says. */
void strata__slide_begin(strata *handle, const struct key_forms *key);

#endif /* STRATA_CORE_SLIDE_H */
