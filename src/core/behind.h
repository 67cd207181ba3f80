/* behind.h - write-behind: sets whose callers have their answer before the layers below memory have the value.
 *
 * Such a set is put into the memory layers of this node at once.  For what is below, a note of it (struct write, with what it
 * needs) stands in the key-lock table in place of a write at work, but does nothing until it is due: so all that waits for
 * writes of its key waits for this one, too, and whoever comes and has to wait makes it due at once.  While it is `delayed`
 *
 *   a set that is written behind, too, takes its place;
 *   a set that is not, a delete, and what a peer tells of the key end it;
 *   a clear ends it when it is due, and a ban makes a delete of it: what it was to replace may not be banned;
 *   a read that memory does not answer puts its value back into memory.
 *
 * Once it is due it is a write like any other, but that it is refused by a store that holds something newer than what was known
 * when the set was made; and that a set which came meanwhile is what memory keeps.
 *
 * The queue keeps them by age: when the oldest is due, or they are too many, the ripe ones go together. */
#ifndef STRATA_CORE_BEHIND_H
#define STRATA_CORE_BEHIND_H
#include "src/core/write.h"
#include "src/policy/behind.h"

struct behind_note {
    struct write write;
    _Atomic(uint32_t) refs;
    struct list_node link; /* queue, ready or lost; lock */
    size_t cost;           /* what it counts for; key lock */
    int64_t since_ms;      /* of the first set that it stands for; lock */
    int64_t due_ms;        /* lock */
    const char *why;       /* of a lost one: static */
    unsigned char bytes[]; /* its key */
};

enum { BEHIND_AT_ONCE = 512 }; /* more go in several trips: each has an operation out */

struct behind {
    struct key_mutex lock;
    struct root *root;
    struct list_node queue;  /* delayed, oldest first; lock */
    struct list_node ready;  /* delayed, and to be written now; lock */
    struct list_node lost;   /* over, and listeners are to hear of it; lock */
    struct behind_load load; /* delayed, or being written; lock */
    uint32_t running;        /* of these, being written; lock */
    int all;                 /* whatever waits is to be written now; lock */
    struct timer timer;
    int64_t timer_ms; /* when it fires; INT64_MAX: it is not set; lock */
    struct task task;
    int posted;                   /* lock */
    _Atomic(uint32_t) count;      /* load.count: to look without the lock */
    _Atomic(uint64_t) seen;       /* the greatest version that a shared store, or a peer, has told us of */
    _Atomic(uint32_t) clock_turn; /* odd: the clock is being written */
    _Atomic(int64_t) clock_store_us, clock_at_us;
    _Atomic(uint32_t) life; /* of the store, when that was told; 0 unknown */
};

static inline struct behind_note *note_of(struct write *w) { return (struct behind_note *)(void *)w; }

/* Where the stack has layers below memory, and write_policy is not strict.  STRATA_OK, STRATA_ENOMEM. */
int strata__behind_new(struct root *root, strata_error *err);
void strata__behind_free(struct root *root);
/* In a child after fork: what waits is the parent's. */
void strata__behind_forget(struct root *root);
/* May a policy ask for it here?  STRATA_OK, STRATA_EINVAL. */
int strata__behind_check(const struct root *root, const strata_policy *resolved, strata_error *err);

/* A set that was prepared, with its value, tags and layer_ttls.  1: it is in memory, and the rest follows; nothing is to be run, and
 * strata__write_result() has the answer.  0: nothing was done, and it is a set like any other.  Under no lock. */
int strata__behind_set(struct write *w, strata_slice key);

/* Under the key lock -- of what is delayed of the key.
 * A write of it enters the table. */
void strata__behind_meet_locked(struct write *w, struct stripe *s);
/* A flight has to wait: it is due. */
void strata__behind_hurry_locked(struct root *root, struct stripe *s, const struct busy *item);
/* A read did not find the key in memory.  1: it is there now. */
int strata__behind_restore_locked(strata *handle, struct stripe *s, const struct key_forms *key);
/* A peer wrote the key.  1: before what waits here was set, which stays as it is. */
int strata__behind_peer_locked(strata *handle, struct stripe *s, const struct key_forms *key,
                               const struct change *change);
/* Memory's turn in the write of a note. */
void strata__behind_settle_locked(struct write *w, struct layer_slot *slot);

/* Of a note's write: mark what a store is to compare; was it refused? */
void strata__behind_mark(struct write *w, const struct layer_slot *slot);
int strata__behind_refused(struct write *w, const struct layer_slot *slot);
/* This node itself has written the key, or deleted it, in a store: that is nothing newer to a set of its own that came after. */
void strata__behind_told(strata *handle, const struct key_forms *key, uint64_t version, uint32_t life);

/* Is anything of the key on its way?  Then wait until it is not: for who asks layers without a flight. */
void strata__behind_wait(strata *handle, const struct key_forms *key);
/* All that waits is written now, on workers.  1: something is on its way yet. */
int strata__behind_flush(struct root *root);
/* How much is on its way; the oldest that still waits was set so long ago. */
void strata__behind_look(struct root *root, uint64_t *out_count, uint64_t *out_bytes, int64_t *out_since_ms);

/* A version that a shared store, or a peer, has told us of; what the store's clock says (layer_host.h). */
void strata__behind_saw_version(struct root *root, uint64_t version, uint32_t life);
void strata__behind_host_clock(strata_layer_host *host, int64_t store_us, uint32_t life);
static inline void behind_saw(struct root *root, const struct layer_slot *slot, const strata_op *op)
{
    if (root->behind != NULL && (slot->flags & STRATA_LAYER_SHARED) && op->meta.version != 0)
        strata__behind_saw_version(root, op->meta.version, op->meta.store_life);
}

/* The queue (behind.c), for behind_set.c ------------------------------------------------------------------------------- */

/* NULL: no memory. */
struct behind_note *strata__behind_note_new(const struct write *from, strata_slice key);
void strata__behind_note_unref(struct behind_note *n);
/* What a set that is made now is based on: 0: nothing is known; *out_life 0: nor of which life. */
uint64_t strata__behind_base_now(struct root *root, uint32_t *out_life);
/* Room for one more: 1: it is counted. */
int strata__behind_reserve(struct behind *b, const struct behind_note *n);
void strata__behind_unreserve(struct behind *b, const struct behind_note *n);
/* These under the key lock.  It stands in the table; another set has taken its place; it was cleared or banned. */
void strata__behind_enqueue(struct behind *b, struct behind_note *n, int64_t delay_ms);
void strata__behind_replaced(struct behind *b, struct behind_note *n, size_t cost, int64_t delay_ms);
int strata__behind_banned(const struct write *w);
/* It leaves the table, and is not written.  `why` for listeners, static; NULL: they know. */
void strata__behind_end_locked(struct behind_note *n, struct stripe *s, int status, const char *why);
/* It waits no longer.  1: it is to be run; 0: that is somebody else's affair, or it has ended. */
int strata__behind_begin_locked(struct behind_note *n, struct stripe *s);

#endif /* STRATA_CORE_BEHIND_H */
