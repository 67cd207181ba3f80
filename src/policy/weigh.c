/* weigh.c - see weigh.h. */
#include "src/policy/weigh.h"

enum {
    STEP = 10,          /* eighths of an octave: one class */
    CHEAPEST = -15 * 8, /* microseconds a byte, as 8 * log2: what is cheaper is in class 0, too */
    PROMOTE_AT = 2      /* hits, for the next class; fewer keep their own */
};

unsigned strata__weigh_log(uint64_t n)
{
    /* 256 * 2^(i/8) */
    static const uint16_t eighths[8] = { 256, 280, 305, 332, 363, 395, 431, 470 };
    if (n <= 1)
        return 0;
    unsigned octave = 63u - (unsigned)__builtin_clzll(n), i = 7;
    uint64_t mantissa = octave >= 8 ? n >> (octave - 8) : n << (8 - octave); /* 256 to 511 */
    while (mantissa < eighths[i])
        i--;
    return octave * 8 + i;
}

unsigned strata__weigh_class(uint32_t cost_us, uint64_t bytes)
{
    uint32_t cost = cost_us != 0 ? cost_us : WEIGH_DEFAULT_US;
    int worth = (int)strata__weigh_log(cost) - (int)strata__weigh_log(bytes) - CHEAPEST;
    if (worth < 0)
        return 0;
    unsigned class = (unsigned)worth / STEP;
    return class < WEIGH_CLASSES ? class : WEIGH_CLASSES - 1;
}

unsigned strata__weigh_again(unsigned old, unsigned fresh) { return (old + fresh + 1) / 2; }

int strata__weigh_keep(unsigned class, unsigned hits)
{
    if (hits == 0)
        return -1;
    if (hits < PROMOTE_AT || class + 1 == WEIGH_CLASSES)
        return (int)class;
    return (int)class + 1;
}

/* 1 / worth of each class: 2^-1.25 times that of the one before. */
static const double share[WEIGH_CLASSES] = {
    1.0,         0.420448,    0.176777,    0.0743254,   0.03125,     0.013139,    0.00552427,
    0.00232267,  0.000976562, 0.000410594, 0.000172633, 7.25834e-05, 3.05176e-05, 1.28311e-05,
    5.3948e-06,  2.26823e-06, 9.53674e-07, 4.00971e-07, 1.68587e-07, 7.08823e-08, 2.98023e-08,
    1.25303e-08, 5.26836e-09, 2.21507e-09, 9.31323e-10, 3.91573e-10, 1.64636e-10, 6.9221e-11,
};

/* Each class is owed its share of each departure; who is owed most pays the whole of it.  So each loses at its rate, whatever the
 * others do. */
unsigned strata__weigh_choose(struct weigh *w)
{
    double sum = 0, all = 0, most = 0;
    unsigned chosen = WEIGH_CLASSES;
    for (unsigned i = 0; i < WEIGH_CLASSES; i++)
        sum += w->count[i] * share[i];
    if (w->all == 0)
        return 0;
    const double one = 1 / sum, least = 1.0 / w->all / WEIGH_TURNS;
    for (unsigned i = 0; i < WEIGH_CLASSES; i++) {
        if (w->count[i] == 0)
            continue;
        const double rate = share[i] * one, part = w->count[i] * (rate > least ? rate : least);
        all += part; /* 1, and a little for those who would stay too long */
        w->due[i] += part;
        if (chosen == WEIGH_CLASSES || w->due[i] > most) {
            most = w->due[i];
            chosen = i;
        }
    }
    w->due[chosen] -= all;
    return chosen;
}
