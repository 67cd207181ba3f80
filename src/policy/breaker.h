/* breaker.h - a circuit breaker: whether a server that failed is asked, or left alone for a while.
 *
 * Closed: everybody may ask.  `failures` failures in a row open it: nobody may.  What was asked before a failure that counted fails
 * with it, and counts no more: a hiccup that a hundred concurrent questions meet is one failure.  After open_ms it is half open: one may, as
 * a probe, whose success closes it and whose failure opens it again; a probe that does not answer within probe_ms frees its
 * place for the next.  Who may ask gets a ticket, and tells with it how it went: what was asked before the breaker
 * opened, or before a newer probe, comes too late to decide anything.
 *
 * Pure: time is an argument, and nobody is locked out; the owner's lock protects it. */
#ifndef STRATA_POLICY_BREAKER_H
#define STRATA_POLICY_BREAKER_H
#include <stdint.h>

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

/* What an answer says about the server.  The caller knows: one that refuses, and says so, is well; what never left this
 * process says nothing. */
enum breaker_verdict { BREAKER_WELL, BREAKER_SICK, BREAKER_UNSURE };

enum breaker_answer {
    BREAKER_PASS,
    BREAKER_PROBE, /* ask: the others wait for how it goes */
    BREAKER_REFUSE
};

struct breaker {
    uint32_t failures; /* at least 1 */
    int64_t open_ms, probe_ms;
    enum breaker_state state;
    uint32_t in_a_row; /* failures since the last success */
    uint32_t probing;  /* a probe is out */
    int64_t since_ms;  /* when it opened from being closed */
    int64_t until_ms;  /* not closed: the next probe may go then */
    uint64_t ticket;   /* the one that counts now; never 0 */
    uint64_t closed;   /* closed: the first ticket since it is */
    uint64_t opened;   /* how often it opened from being closed */
};

void strata__breaker_init(struct breaker *b, uint32_t failures, int64_t open_ms, int64_t probe_ms);
/* May the server be asked?  The ticket is set unless the answer is BREAKER_REFUSE. */
enum breaker_answer strata__breaker_ask(struct breaker *b, int64_t now_ms, uint64_t *out_ticket);
/* How it went.  A probe of which nothing can be said gives its place back. */
void strata__breaker_tell(struct breaker *b, uint64_t ticket, enum breaker_verdict verdict, int64_t now_ms);
/* A probe that takes several steps was answered, and goes on: its time begins again.  0: it is the probe no more. */
int strata__breaker_go_on(struct breaker *b, uint64_t ticket, int64_t now_ms);

#endif /* STRATA_POLICY_BREAKER_H */
