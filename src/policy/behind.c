/* behind.c - see behind.h. */
#include "src/policy/behind.h"

int strata__behind_fits(struct behind_load now, struct behind_load most, uint64_t bytes)
{
    return now.count < most.count && now.bytes <= most.bytes && bytes <= most.bytes - now.bytes;
}

int strata__behind_presses(struct behind_load now, struct behind_load most)
{
    return now.count >= most.count - most.count / 2 || now.bytes >= most.bytes - most.bytes / 2;
}

int strata__behind_ripe(int64_t since_ms, int64_t due_ms, int64_t now_ms)
{
    return now_ms >= due_ms || now_ms - since_ms >= (due_ms - since_ms) / 2;
}

uint64_t strata__behind_base(struct behind_clock clock, int64_t now_us, uint64_t seen)
{
    enum { DRIFT_US = 1000 };    /* two clocks run apart by less than that in a second */
    enum { AHEAD_US = 5000000 }; /* a version so far from the clock is of another one: it says nothing of when */
    int64_t passed_us = now_us - clock.at_us, base_us;
    if (clock.store_us <= 0)
        return seen;
    passed_us = passed_us > 0 ? passed_us : 0; /* it has said so by now, in any case */
    if (__builtin_add_overflow(clock.store_us, passed_us - passed_us / (1000000 / DRIFT_US), &base_us) || base_us < 0)
        return seen;
    return seen > (uint64_t)base_us && seen - (uint64_t)base_us < AHEAD_US + (uint64_t)passed_us / 500
               ? seen
               : (uint64_t)base_us;
}
