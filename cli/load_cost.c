/* load_cost.c - see load_cost.h. */
#include "cli/load_cost.h"

/* The sum of twelve dice is as good as normal here, and needs no function of the mathematical library. */
enum { DICE = 12, SQUARINGS = 20 };

static uint64_t mixed(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static double normal_of(const unsigned char *key, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;
    double sum = 0;
    size_t i;

    for (i = 0; i < size; i++)
        hash = (hash ^ key[i]) * 0x100000001b3u;
    for (i = 0; i < DICE; i++)
        sum += (double)(mixed(hash + i * 0x9e3779b97f4a7c15u) >> 11) / 9007199254740992.0;
    return sum - DICE / 2.0;
}

static double exponential(double x)
{
    double y = 1 + x / (1 << SQUARINGS);
    int i;

    for (i = 0; i < SQUARINGS; i++)
        y *= y;
    return y;
}

uint32_t load_cost_us(const void *key, size_t size, uint64_t median_us, uint64_t decades)
{
    /* 99 % lie below 2.326 standard deviations; a decade is ln 10. */
    double us = (double)median_us * exponential(normal_of(key, size) * (double)decades * 2.302585 / (2 * 2.326348));

    if (us < 1)
        return 1;
    return us < LOAD_COST_MOST_US ? (uint32_t)us : (uint32_t)LOAD_COST_MOST_US;
}
