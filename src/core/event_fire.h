/* event_fire.h - telling listeners (events.c): who fires looks at one word first.  Comes with core_impl.h. */
#ifndef STRATA_CORE_EVENT_FIRE_H
#define STRATA_CORE_EVENT_FIRE_H
#include "src/core/core_impl.h"

void strata__events_init(struct events *events);
void strata__events_deinit(struct root *root);
/* After what is wanted has changed.  Tree lock. */
void strata__events_mask_locked(struct root *root);
void strata__event_fire(strata *cache, const strata_event *event);
static inline int event_wanted(const struct root *root, uint32_t kind)
{
    return (atomic_load_explicit(&root->events.mask, memory_order_relaxed) & kind) != 0;
}
static inline void event_fire(strata *cache, uint32_t kind, strata_slice key, const char *layer)
{
    if (__builtin_expect(event_wanted(cache->root, kind), 0)) {
        strata_event e = { .size = sizeof e, .kind = kind, .cache = cache, .key = key, .layer = layer };
        strata__event_fire(cache, &e);
    }
}
/* Of a layer as such: STRATA_EVENT_PRESSURE... */
void strata__event_layer(struct root *root, uint32_t kind, const char *layer, int status, const char *message);
void strata__event_evicted(struct root *root, const char *layer, uint32_t space, strata_slice key);
void strata__event_error(strata *cache, strata_slice key, const char *layer, int status, const char *message);

#endif /* STRATA_CORE_EVENT_FIRE_H */
