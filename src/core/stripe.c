/* stripe.c - what is left to do when a key lock goes. */
#include "src/core/flight.h"

void strata__stripe_unlock_held(struct stripe *s, struct frame *frame)
{
    struct value_hold hold;
    hold.count = s->hold.count;
    for (uint32_t i = 0; i < hold.count; i++)
        hold.values[i] = s->hold.values[i];
    s->hold.count = 0;
    key_mutex_unlock(&s->lock);
    frame_pop(frame);
    for (uint32_t i = 0; i < hold.count; i++)
        strata_value_unref(hold.values[i]);
    if (frame->notes != NULL)
        strata__frame_tell(frame);
}
