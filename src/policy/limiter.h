/* limiter.h - how many may run at once, and how many may begin in a stretch of time.
 *
 * First come, first served: who can't begin waits, and while anybody waits, who comes stands behind.  The limiter counts; the queue
 * itself is the caller's, who asks strata__limiter_next() for its first whenever one has left, or the moment has come that it was told.
 *
 * Beginnings are counted in slots of a sixteenth of the interval, of which as many are looked back on as cover all of it, and a
 * part of one more: in no interval do more begin than may, and none waits for longer than two slots more than it must.  So a limiter is of
 * one size, however many may begin.
 *
 * Pure: time is an argument; the owner's lock protects it. */
#ifndef STRATA_POLICY_LIMITER_H
#define STRATA_POLICY_LIMITER_H
#include <stdint.h>

enum { LIMITER_SLOTS = 17 };

/* 0: no bound. */
struct limit {
    uint32_t most_running;
    uint32_t most_begun; /* in interval_ms */
    int64_t interval_ms; /* at least 1 */
    uint32_t most_waiting;
};

enum limiter_answer { LIMITER_PASS, LIMITER_WAIT, LIMITER_FULL };

/* All zero is new. */
struct limiter {
    struct limit limit;
    uint32_t running, waiting;
    int64_t slot; /* the newest one's number */
    uint32_t begun[LIMITER_SLOTS];
    uint64_t total; /* of these */
};

/* Its bounds, which may change: what has begun stays counted. */
void strata__limiter_set(struct limiter *l, const struct limit *limit, int64_t now_ms);
/* PASS: it runs, until it leaves.  WAIT: it is counted as waiting. */
enum limiter_answer strata__limiter_ask(struct limiter *l, int64_t now_ms);
/* It runs, whatever the bounds. */
void strata__limiter_force(struct limiter *l, int64_t now_ms);
/* 1: the first that waits runs now.  0: not before *out_at, or, where that is INT64_MAX, before one leaves. */
int strata__limiter_next(struct limiter *l, int64_t now_ms, int64_t *out_at);
void strata__limiter_leave(struct limiter *l);
/* One that waited does so no more. */
void strata__limiter_quit(struct limiter *l);
/* 1: nobody runs or waits, and no beginning has to be remembered. */
int strata__limiter_idle(const struct limiter *l, int64_t now_ms);

#endif /* STRATA_POLICY_LIMITER_H */
