/* breaker.c - see breaker.h. */
#include "src/policy/breaker.h"

static int64_t later(int64_t now_ms, int64_t delay_ms)
{
    int64_t at;
    return __builtin_add_overflow(now_ms, delay_ms, &at) ? INT64_MAX : at;
}

void strata__breaker_init(struct breaker *b, uint32_t failures, int64_t open_ms, int64_t probe_ms)
{
    *b = (struct breaker){
        .failures = failures, .open_ms = open_ms, .probe_ms = probe_ms, .state = BREAKER_CLOSED, .ticket = 1, .closed = 1
    };
}

enum breaker_answer strata__breaker_ask(struct breaker *b, int64_t now_ms, uint64_t *out_ticket)
{
    if (b->state == BREAKER_CLOSED) {
        *out_ticket = b->ticket;
        return BREAKER_PASS;
    }
    if (now_ms < b->until_ms)
        return BREAKER_REFUSE;
    b->state = BREAKER_HALF_OPEN;
    b->probing = 1;
    b->until_ms = later(now_ms, b->probe_ms);
    *out_ticket = ++b->ticket;
    return BREAKER_PROBE;
}

static void open_until(struct breaker *b, int64_t now_ms)
{
    b->state = BREAKER_OPEN;
    b->probing = 0;
    b->until_ms = later(now_ms, b->open_ms);
    b->ticket++; /* what is still out was asked before */
}

static void probe_over(struct breaker *b, enum breaker_verdict verdict, int64_t now_ms)
{
    if (verdict == BREAKER_SICK) {
        b->in_a_row += b->in_a_row < UINT32_MAX;
        open_until(b, now_ms);
        return;
    }
    b->probing = 0;
    b->until_ms = now_ms;
    if (verdict == BREAKER_WELL) {
        b->state = BREAKER_CLOSED;
        b->in_a_row = 0;
    }
    b->closed = ++b->ticket;
}

static void tell_closed(struct breaker *b, uint64_t ticket, enum breaker_verdict verdict, int64_t now_ms)
{
    if (verdict == BREAKER_WELL)
        b->in_a_row = 0;
    if (verdict != BREAKER_SICK || ticket != b->ticket)
        return;
    b->ticket++; /* what is out was asked before this failure */
    if (++b->in_a_row >= b->failures) {
        b->since_ms = now_ms;
        b->opened++;
        open_until(b, now_ms);
    }
}

void strata__breaker_tell(struct breaker *b, uint64_t ticket, enum breaker_verdict verdict, int64_t now_ms)
{
    if (b->state == BREAKER_CLOSED && ticket >= b->closed)
        tell_closed(b, ticket, verdict, now_ms);
    else if (b->state == BREAKER_HALF_OPEN && ticket == b->ticket && b->probing)
        probe_over(b, verdict, now_ms);
}

int strata__breaker_go_on(struct breaker *b, uint64_t ticket, int64_t now_ms)
{
    if (b->state == BREAKER_CLOSED)
        return ticket >= b->closed;
    if (ticket != b->ticket || b->state == BREAKER_OPEN)
        return 0;
    if (b->state == BREAKER_HALF_OPEN)
        b->until_ms = later(now_ms, b->probe_ms);
    return 1;
}
