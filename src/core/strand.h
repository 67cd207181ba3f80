/* strand.h - a piece of work that goes on where it stopped, and the sleeping callers that run it.
 *
 * A strand (the layers' questions of one read, one flight, one write) runs until it must wait for something, counts what
 * it waits for in `pending`, and returns.  Whoever brings `pending` to 0 wakes it: it then runs on a thread that sleeps
 * for its result anyway (its driver), or on a worker where there is none.  So a blocking call drives its own work
 * without changing threads, and a caller that is itself on a worker can't wait for a pool that waits for it.
 *
 * A task that stands in the pool's queue can't be taken out of it; what can is the right to run (`queued`). */
#ifndef STRATA_CORE_STRAND_H
#define STRATA_CORE_STRAND_H
#include <stdatomic.h>
#include <stddef.h>

#include "src/core/locks.h"
#include "src/loop/executor.h"

struct strand;

/* One blocking call that sleeps.  On its stack. */
struct driver {
    struct key_mutex lock;
    struct executor *ex;
    struct parker parker;
    struct strand *ready; /* what it is to run; lock */
    size_t left;          /* waiters of its that have no result yet; lock */
    unsigned char poked;  /* something has happened since it last looked; lock */
    unsigned char asleep; /* it parks: poking must wake it; lock */
    unsigned char away;   /* its thread sleeps for a call that a loader or callback of this one made; lock */
    struct driver *up;    /* the call further up this thread's stack, or NULL */
    unsigned char alone;  /* one waiter has it, and no more */
    unsigned char served; /* by its own thread, and that one is */
    int runs_loaders;     /* 0: only the layers' part of a read may run on its thread */
};

struct strand {
    struct task task;
    struct key_mutex lock;
    struct executor *ex;
    struct driver *driver;     /* lock to write, but where nobody else has seen the strand: strand_drive() */
    struct strand *next;       /* in driver->ready */
    unsigned char handed;      /* it is in driver->ready; the driver's lock */
    unsigned char queued;      /* a worker is to run it; lock */
    unsigned char in_pool;     /* its task stands in the pool's queue, and holds a reference; lock */
    _Atomic(uint32_t) pending; /* what it waits for, and 1 while it is still asking */
    void (*run)(struct strand *strand);
    void (*ref)(struct strand *strand); /* of the struct around it */
    void (*unref)(struct strand *strand);
};

/* Atomic: whose it can't become reads without the lock that it is not theirs. */
static inline void strand_drive(struct strand *s, struct driver *d)
{
    __atomic_store_n(&s->driver, d, __ATOMIC_RELEASE);
}

void strata__strand_init(struct strand *s, struct executor *ex, void (*run)(struct strand *),
                         void (*ref)(struct strand *), void (*unref)(struct strand *));
/* Begin on a worker.  STRATA_OK, STRATA_EBUSY, STRATA_ECLOSED. */
int strata__strand_start(struct strand *s);
/* The same where this thread is to sleep until it has run.  A worker that does so is work that has begun: what it waits for may not
 * stand in line with work that has not, which begins only while few workers sleep. */
int strata__strand_start_awaited(struct strand *s);
/* Go on: on the driver, or on a worker. */
void strata__strand_wake(struct strand *s);
/* By who runs it: go on on a worker, whoever waits. */
void strata__strand_pass(struct strand *s);
/* One of the things it waits for has happened. */
static inline void strand_arrived(struct strand *s)
{
    if (atomic_fetch_sub_explicit(&s->pending, 1, memory_order_acq_rel) == 1)
        strata__strand_wake(s);
}
/* Ask for `count` things: set before asking; then strand_asked() tells whether all have come already. */
static inline void strand_expect(struct strand *s, uint32_t count)
{
    atomic_store_explicit(&s->pending, count + 1, memory_order_relaxed);
}
/* 1: go on at once.  0: return, and touch nothing: it may run elsewhere already. */
static inline int strand_asked(struct strand *s)
{
    return atomic_fetch_sub_explicit(&s->pending, 1, memory_order_acq_rel) == 1;
}
/* Become its driver where it has none; takes over what is queued in the pool. */
void strata__strand_help(struct strand *s, struct driver *d);
/* The calling thread is its driver's: it would sleep for what the strand asks now. */
int strata__strand_is_driven_here(struct strand *s);
/* Stop being its driver; what was handed over goes to a worker. */
void strata__strand_leave(struct strand *s, struct driver *d);
/* By who runs it: it has no driver any more. */
void strata__strand_detach(struct strand *s);

void strata__driver_init(struct driver *d, struct executor *ex, int runs_loaders);
void strata__driver_deinit(struct driver *d);
/* A waiter of this driver has its result; `write` stores it, under the driver's lock. */
void strata__driver_done(struct driver *d, void (*write)(void *ctx), void *ctx);
/* Run what is ready, sleep until `deadline_ms`.  1: the deadline has passed; 0: look again. */
int strata__driver_step(struct driver *d, int64_t deadline_ms);

#endif /* STRATA_CORE_STRAND_H */
