/* weigh.h - what an entry is worth to a cache that weighs what it would cost to load again against the room it takes.  Pure.
 *
 * GreedyDual-Size-Frequency (Cherkasova 1998) keeps an entry for a time that grows with uses x cost / size.  Here entries stand in
 * classes: one class has about twice the worth of the one before (2^1.25 times), so that a byte is enough for any worth, and nothing
 * needs to be kept with an entry but the class.  Within a class the oldest leaves.  Of the classes those lose most, in number, that hold
 * most and are worth least: entries leave a class in proportion to how many stand there, divided by the class's worth, so that how
 * long an entry stays is proportional to what it is worth.  That is what the "inflation" L of GreedyDual comes to, without a number
 * for each entry or a queue in order of them (as CAMP, Ghandeharizadeh 2014, has one over its classes). */
#ifndef STRATA_POLICY_WEIGH_H
#define STRATA_POLICY_WEIGH_H
#include <stdint.h>

enum {
    WEIGH_CLASSES = 28,
    WEIGH_DEFAULT_US = 10000, /* what an entry counts as having cost that nobody has said anything of */
    WEIGH_TURNS = 64          /* the dearest class leaves 64 times slower than all together, no more */
};

/* How many stand in each class, and how near each is to losing one.  Zeroed is empty. */
struct weigh {
    double due[WEIGH_CLASSES];
    uint32_t count[WEIGH_CLASSES];
    uint32_t all;
};

/* Eighths of an octave: 8 * log2(n), rounded down to within one of them; 0 for 0 and 1. */
unsigned strata__weigh_log(uint64_t n);

/* The class of an entry that would take `cost_us` to load again (0: WEIGH_DEFAULT_US) and takes so many bytes. */
unsigned strata__weigh_class(uint32_t cost_us, uint64_t bytes);

/* It was in the class `old`, and is replaced by one that by cost and size alone would be in `fresh`: halfway, for one load that took
 * very long says little, and that it was read is not forgotten. */
unsigned strata__weigh_again(unsigned old, unsigned fresh);

/* The oldest of a class, with so many hits since it came or was looked at last: the class it goes to; -1: it leaves. */
int strata__weigh_keep(unsigned class, unsigned hits);

/* The class that loses one next: of those that hold any; there is one. */
unsigned strata__weigh_choose(struct weigh *w);

static inline void weigh_add(struct weigh *w, unsigned class)
{
    w->count[class]++;
    w->all++;
}

/* An empty class is owed nothing. */
static inline void weigh_drop(struct weigh *w, unsigned class)
{
    w->all--;
    if (--w->count[class] == 0)
        w->due[class] = 0;
}

#endif /* STRATA_POLICY_WEIGH_H */
