/* table.h - the key-lock table: which keys are busy, and what stands before what.
 *
 * What busy items are, and the order in which they begin, is told in flight.h. */
#ifndef STRATA_CORE_TABLE_H
#define STRATA_CORE_TABLE_H
#include "src/core/core_impl.h"

struct flight;
struct change;

struct busy {
    struct list_node chain; /* stripe's bucket; key lock */
    uint64_t hash;
    uint32_t space;
    unsigned char is_write;
    unsigned char waiting; /* it has not begun: an earlier item forbids it; key lock */
    unsigned char delayed; /* it has not begun: it is written behind (behind.h), and not due; key lock */
    strata_slice key;
};

struct stripe {
    _Alignas(64) struct key_mutex lock;
    struct list_node *buckets;
    uint32_t mask;
    uint32_t parked;         /* flights that wait for another one to be stored: detach.c; key lock */
    _Atomic(uint32_t) count; /* of busy keys; key lock to write */
    struct value_hold hold;  /* what layers give up while the lock is held */
};

int strata__stripes_new(struct root *root);
void strata__stripes_free(struct root *root);
static inline struct stripe *stripe_of(const struct root *root, uint64_t hash)
{
    return &root->stripes[(hash >> 48) % STRIPES];
}
/* Lock a stripe; evictions that puts cause meanwhile are kept in `frame`. */
static inline struct stripe *stripe_lock(struct root *root, uint64_t hash, struct frame *frame)
{
    struct stripe *s = stripe_of(root, hash);
    frame_push(frame, root, FRAME_LOCKED);
    key_mutex_lock(&s->lock);
    strata__value_hold = &s->hold;
    return s;
}
/* Unlock, then give up what was held back: that may call users' code. */
void strata__stripe_unlock_held(struct stripe *s, struct frame *frame);
static inline void stripe_unlock(struct stripe *s, struct frame *frame)
{
    strata__value_hold = NULL;
    if (__builtin_expect(s->hold.count != 0, 0)) {
        strata__stripe_unlock_held(s, frame);
        return;
    }
    key_mutex_unlock(&s->lock);
    frame_pop(frame);
    if (__builtin_expect(frame->notes != NULL, 0))
        strata__frame_tell(frame);
}
void strata__busy_enter_locked(struct root *root, struct stripe *s, struct busy *item);
/* Take an item out; those that it held back begin. */
void strata__busy_leave_locked(struct stripe *s, struct busy *item);
/* Does something before `item` forbid it to begin? */
int strata__busy_must_wait_locked(struct stripe *s, const struct busy *item);
int strata__key_busy_locked(struct stripe *s, uint64_t hash, uint32_t space, strata_slice key);
/* The next write of the key in the table; the first where `after` is NULL.  NULL: there is none. */
struct busy *strata__busy_write_locked(struct stripe *s, struct busy *after, uint64_t hash, uint32_t space,
                                       strata_slice key);
/* The flight that loads the key already, which others can join or which is a refresh; NULL. */
struct flight *strata__key_loads_locked(struct stripe *s, uint64_t hash, uint32_t space, strata_slice key);
struct flight *strata__flight_find_locked(struct stripe *s, uint64_t hash, uint32_t space, strata_slice key);
/* An invalidation of the key: no flight of it stores anything any more. */
void strata__poison_locked(struct root *root, struct stripe *s, uint64_t hash, uint32_t space, strata_slice key);
void strata__poison_one_locked(struct flight *f);
/* Those of this one's key that took too long, and began before it. */
void strata__poison_detached_locked(struct stripe *s, const struct flight *newer);
/* Is another flight of its key at work in slower layers, one that waits for nobody? */
int strata__another_stores_locked(struct stripe *s, const struct flight *f);
/* The first flight of this one's key that is BEHIND_PARKED; NULL. */
struct flight *strata__first_parked_locked(struct stripe *s, const struct flight *f);
void strata__flight_supersede_locked(struct flight *f);
void strata__give_up_superseded_locked(struct stripe *s, uint64_t hash, uint32_t space, strata_slice key, int64_t now);
/* The superseded flight that this one has to wait for; NULL: it waits for a write. */
struct flight *strata__flight_ahead_locked(struct stripe *s, const struct flight *f);
/* Is a loader of the key being called, or about to be, besides this flight's? */
int strata__another_loads_locked(struct stripe *s, const struct flight *f, int64_t now);
/* Another node wrote the key: writes of ours that are under way put nothing into layers of this node, unless they are that version. */
void strata__supersede_locked(struct stripe *s, uint64_t hash, uint32_t space, strata_slice key, uint64_t version);
/* A flight of the key stores: writes that are still looking what is there look again. */
void strata__disturb_locked(struct stripe *s, const struct flight *storing);
/* What flights of the key have found so far is out of date: nothing of it is put anywhere, but what they load is. */
void strata__outdate_locked(struct stripe *s, uint64_t hash, uint32_t space, strata_slice key);
/* That, poison, and what instant layers of this node hold of the key (coherence_apply.c). */
void strata__peer_drop_locked(strata *handle, struct stripe *s, const struct key_forms *key, const struct change *made);
void strata__flights_cancel_all(struct root *root); /* used by close */

#endif /* STRATA_CORE_TABLE_H */
