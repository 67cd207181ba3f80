/* guard_impl.h - a guard's insides, shared by guard.c (operations) and guard_replay.c (what it does by itself). */
#ifndef STRATA_LAYER_GUARD_IMPL_H
#define STRATA_LAYER_GUARD_IMPL_H
#include <stdatomic.h>

#include "src/layer/guard.h"
#include "src/layer/guard_owed.h"
#include "src/os/os_lock.h"

enum { GUARD_BATCH = 64, GUARD_BACKOFF_MS = 50 };

struct guard;

/* One noted key on its way to the layer. */
struct replay_op {
    strata_op op;
    strata_error err;
    struct guard *guard;
    struct owed_key *note;
};

/* Telling the layer what is noted: one at a time.  But for `left`, of whoever does the replay. */
struct replay {
    uint64_t ticket; /* as the breaker's probe, or in passing */
    uint64_t limit;  /* notes up to this stamp */
    int first;       /* nothing was answered yet: one step alone, to see */
    int refused;     /* the layer is well, but would not do something */
    size_t count;
    _Atomic(size_t) left; /* operations that are out, and one for who sends them */
    strata_op *list[GUARD_BATCH];
    struct replay_op ops[GUARD_BATCH];
};

struct guard {
    strata_layer base;
    strata_layer_ops ops; /* with the slots that the inner layer has */
    strata_layer *inner;
    strata_layer_host *host; /* set by start() */
    struct guard_options options;
    /* The breaker's ticket while it is closed, nothing failed lately and nothing is noted; else 0.  Written under the lock;
     * relaxed is not enough: who reads it must see an operation's end behind which it was set. */
    _Atomic(uint64_t) quiet;
    /* Held for moments, above nothing, and never across a call of the layer or the host. */
    struct os_lock lock;
    struct breaker breaker;
    struct owed owed;
    strata_error why; /* what the last failure said */
    int armed;        /* a timer is out: tick() */
    int lingering;    /* a timer without end is out, that keeps the cache open while a replay is out: linger() */
    int working;      /* what a timer was for is being done: the next one is set at its end */
    int replaying;    /* ... a replay, and the guard may not be closed */
    int cut;          /* a delay was cut short: the cache closes, unless something is submitted again */
    int settled;      /* the cache closes, and what was noted was tried once more: nothing was submitted since */
    int there;        /* ... and the layer answered then */
    int64_t due_ms, delay_ms;      /* of the timer */
    int64_t backoff_ms;            /* between replays while the breaker is closed */
    uint64_t hidden;               /* failures that were answered as STRATA_PENDING */
    uint64_t refused;              /* operations that the layer was not asked */
    _Atomic(uint32_t) replay_over; /* for who waits for it, strata__os_park() */
    struct replay *replay;         /* made by start() */
};

/* What is to be done once the lock is given back. */
struct guard_todo {
    int64_t arm_ms; /* 0: nothing */
};

static inline enum breaker_verdict guard_judge(const struct guard *g, int status)
{
    return status >= 0 ? BREAKER_WELL : g->options.judge(status);
}

/* guard.c: a failure's words, for those who are not let through. */
void strata__guard_note_why_locked(struct guard *g, enum breaker_verdict verdict, int status, const strata_error *err);
/* The layer's settle(). */
int strata__guard_settle(struct guard *g);
/* guard_replay.c: after anything that may have changed what is to come.  Then, without the lock, what it says. */
struct guard_todo strata__guard_plan_locked(struct guard *g, int64_t now_ms);
void strata__guard_do(struct guard *g, struct guard_todo todo);

#endif /* STRATA_LAYER_GUARD_IMPL_H */
