/* coherence.h - what the rest of core calls of the coherence with other nodes (coherence_impl.h is its inside). */
#ifndef STRATA_CORE_COHERENCE_H
#define STRATA_CORE_COHERENCE_H
#include "src/core/core_impl.h"

/* Buses, taken over; the default ones, too.  Then the calls of open, reopen and close, in this order. */
int strata__coherence_take(struct root *root, const strata_options *options, strata_error *err);
int strata__coherence_start(struct root *root, strata_error *err);
/* Wait for the buses to be up, as long as open_wait_ms says. */
void strata__coherence_settle(struct root *root);
int strata__coherence_reopen(struct root *root, strata_error *err);
/* Goodbye: nothing comes in, and nobody waits for what goes out.  1: all of it went out. */
int strata__coherence_stop(struct root *root);
/* Closing: buses that are down are to try at once.  Nothing else is done yet. */
void strata__coherence_rouse(struct root *root);
/* Has a store taken since then what others were to be told of once more? */
int strata__coherence_untold(struct root *root);
/* `with_buses` 0: open has failed, and they are the caller's yet. */
void strata__coherence_close(struct root *root, int with_buses);
void strata__coherence_free(struct root *root);
/* Somebody listens: is there anything shared that no bus tells of? */
void strata__coherence_warn(struct root *root);

/* What another node has done to a key. */
struct change {
    uint64_t version;    /* what it has now; 0 none, or unknown */
    uint32_t store_life; /* whose version that is; 0 unknown */
    int is_update;       /* there is a new value, and nobody need be sorry to see the old one for a moment */
    struct held *primed; /* that value, to be kept where an older one is held; NULL */
};
static inline int change_made(const struct change *change, uint64_t version, uint32_t store_life)
{
    return change->version != 0 && version == change->version &&
           (store_life == change->store_life || store_life == 0 || change->store_life == 0);
}
/* Instant layers of this node: what they hold is of that very version, becomes it, is stale for a moment, or goes (coherence_take.c). */
void strata__change_instant_locked(strata *handle, struct layer_slot *slot, const struct key_forms *key,
                                   const struct change *change);
/* Another node has replaced it, and it is time to ask for the new value. */
int strata__is_replaced(struct root *root, const struct held *held);
struct bus_item;
/* A value that came with a message, judged as if it was found in the shared store.  0: it may not be taken. */
int strata__prime_read(strata *handle, const struct key_forms *key, const struct bus_item *item, struct held *out);
/* The envelope of what was written, for a message; NULL: it travels without.  To be freed. */
struct write;
unsigned char *strata__prime_write(const struct write *w, struct bus_item *item);

/* enum suspicion of an entry of another life that a layer of this node's holds.  *out_position: where it counts as born; 0: it is not
 * known to have missed nothing. */
int strata__foreign_level(struct root *root, const struct layer_slot *slot, const strata_meta *meta, int64_t now,
                          uint32_t *out_position);
/* A key of a store is held, and was not read there: by its storage key.  Only where root->reads_back. */
void strata__read_back(struct root *root, strata_slice storage);

/* An invalidation, published. */
enum { OUTGOING_BUSES = 4 };
struct bus_item;
struct outgoing_wait {
    struct list_node link; /* of an item; coherence lock */
    struct outgoing *outgoing;
};
struct outgoing {
    struct outgoing_wait waits[OUTGOING_BUSES];
    struct list_node link; /* coherence->waits; coherence lock */
    uint32_t left;         /* buses that are yet to take it; coherence lock */
    int pending;           /* 1: some bus has not taken it, and is still being told */
    int64_t since_ms;
    void (*over)(struct outgoing *outgoing); /* the last touch; under no lock */
};
/* Where there are buses: tell them.  store_away: a shared layer did not answer, so its own bus is not waited for.  1: over() was or will be called; 0: nothing to wait for, `pending` stands. */
int strata__publish(struct root *root, const struct bus_item *item, int store_away, struct outgoing *outgoing);
/* The same, and nobody waits for it. */
void strata__publish_late(struct root *root, const struct bus_item *item);
/* What a strict write_policy makes of that, in words (write_outcome.c): STRATA_ELAYER. */
int strata__unpublished_fails(struct root *root, strata_error *err);
/* A peer has cleared a namespace, of which this is the prefix: here, and in no shared store.  < 0: some layer could not. */
int strata__clear_apply(struct root *root, strata_slice prefix);
/* The same, and wait. */
int strata__publish_blocking(struct root *root, const struct bus_item *item, int store_away);
/* What is about to be loaded or written has its time of trust from now on, where the buses are silent.  Under no lock. */
void strata__trust_window(struct root *root);
/* What was born here or later may be moved up as far as bans go: strata__suspect_cap() says nothing less. */
uint32_t strata__suspect_begin(struct root *root);

#endif /* STRATA_CORE_COHERENCE_H */
