/* write_publish.c - a write among others' writes: telling other nodes of it, and hearing of theirs while it is under way. */
#include "src/core/flight.h"
#include "src/core/write.h"
#include "src/format/bus_message.h"

/* Another node wrote the key since this one began: what it wrote is in the store, or will be, and ours may not be. */
int strata__write_superseded_locked(const struct write *w, const struct layer_slot *slot)
{
    if (w->stops == STOP_FORGETS && !(slot->flags & STRATA_LAYER_SHARED))
        return 1;
    return w->superseded && !w->peer && !(slot->flags & STRATA_LAYER_SHARED) &&
           (w->superseded_by == 0 || w->superseded_by != w->meta.version);
}

/* As strata__write_superseded_locked(), of a slow layer: what comes after this look finds its own write behind ours. */
int strata__write_superseded(struct write *w, const struct layer_slot *slot)
{
    struct frame frame;
    if (w->root->coherence == NULL)
        return w->stops == STOP_FORGETS && !(slot->flags & STRATA_LAYER_SHARED);
    struct stripe *s = stripe_lock(w->root, w->key.hash, &frame);
    int is = strata__write_superseded_locked(w, slot);
    stripe_unlock(s, &frame);
    return is;
}

static void published(struct outgoing *outgoing)
{
    struct write *w = (struct write *)(void *)((char *)outgoing - offsetof(struct write, outgoing));
    strand_arrived(&w->strand);
}

/* The stores have it; now others are told.  1: nothing to wait for; 0: the strand goes on when buses have answered. */
int strata__write_publish(struct write *w)
{
    struct bus_item item = { .kind = w->told_as == STRATA_OP_PUT      ? BUS_ITEM_SET
                                     : w->told_as == STRATA_OP_REMOVE ? BUS_ITEM_DELETE
                                                                      : BUS_ITEM_EXPIRE,
                             .version = w->told_version,
                             .store_life = w->told_life,
                             .key = w->key.storage };
    if (w->root->coherence == NULL || w->peer || w->demotes || w->unchanged)
        return 1;
    w->publishes = 1;
    w->outgoing.over = published;
    strand_expect(&w->strand, 1);
    unsigned char *envelope = strata__prime_write(w, &item);
    const strata_allocator *mem = w->root->mem;
    int over = !strata__publish(w->root, &item, w->pending,
                                &w->outgoing); /* 0: somebody else may have gone on with it by now */
    strata__free(mem, envelope);
    return over || strand_asked(&w->strand);
}
