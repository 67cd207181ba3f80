/* strata/value.h - a value in the caller's hands.  Part of the stable API. */
#ifndef STRATA_VALUE_H
#define STRATA_VALUE_H
#include "strata/base.h"
STRATA_BEGIN_DECLS

/**
 * A pin on immutable bytes (or on a decoded object, see strata/sys/codec.h).  The bytes stay where they are until the
 * last reference is given back, whatever is evicted, deleted or closed meanwhile.  A pin that is held counts against
 * its layer's budget.
 * Threads: one reference belongs to one thread at a time; it may be handed over, and given back by another thread.
 */
typedef struct strata_value strata_value;

/** The bytes; aligned to 8.  NULL for an object that was never encoded, and for NULL. */
STRATA_API const void *strata_value_data(const strata_value *value);

/** How many bytes; 0 for an object without bytes, and for NULL, which is what a miss or "absent" leaves. */
STRATA_API size_t strata_value_size(const strata_value *value);

/** The decoded object, where the cache has a codec; NULL otherwise, and for NULL.  Borrowed from the value. */
STRATA_API void *strata_value_object(const strata_value *value);

/** One more reference to the same value.  Returns `value`.  NULL is answered with NULL. */
STRATA_API strata_value *strata_value_ref(strata_value *value);

/** Give one reference back.  NULL is a no-op.  Threads: any.  Blocks: never. */
STRATA_API void strata_value_unref(strata_value *value);

STRATA_END_DECLS
#endif /* STRATA_VALUE_H */
