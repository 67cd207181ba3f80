/* pressure.c - see pressure.h. */
#include "src/policy/pressure.h"

enum { SHORT_SOME = 100, SHORT_FULL = 20, CALM_SOME = 10, CALM_FULL = 2 };

void strata__pressure_init(struct pressure *p, uint32_t floor)
{
    *p = (struct pressure){ .share = PRESSURE_WHOLE, .floor = floor, .shrunk_ms = INT64_MIN };
}

uint64_t strata__pressure_part(uint64_t bytes, uint32_t share)
{
    return bytes / PRESSURE_WHOLE * share + bytes % PRESSURE_WHOLE * share / PRESSURE_WHOLE;
}

/* `us` of `ms`, in thousandths. */
static uint32_t share_of_time(uint64_t us, int64_t ms)
{
    uint64_t share = us / (uint64_t)ms;
    return share < PRESSURE_WHOLE ? (uint32_t)share : PRESSURE_WHOLE;
}

static void begin(struct pressure *p, const struct pressure_sample *s)
{
    p->started = 1;
    p->some_us = s->some_us;
    p->full_us = s->full_us;
    p->looked_ms = s->now_ms;
    p->calm_ms = p->grew_ms = s->now_ms;
    p->some = p->full = 0;
}

static enum pressure_move shrink(struct pressure *p, int64_t now_ms)
{
    if (p->shrunk_ms != INT64_MIN && now_ms - p->shrunk_ms < PRESSURE_SHRINK_EVERY_MS)
        return PRESSURE_HOLD;
    uint32_t by = p->share / 8 != 0 ? p->share / 8 : 1;
    uint32_t share = p->share > p->floor + by ? p->share - by : p->floor;
    if (share >= p->share)
        return PRESSURE_HOLD;
    p->share = share;
    p->shrunk_ms = now_ms;
    return PRESSURE_SHRINK;
}

static enum pressure_move grow(struct pressure *p, int64_t now_ms)
{
    if (p->share == PRESSURE_WHOLE || now_ms - p->calm_ms < PRESSURE_CALM_MS ||
        now_ms - p->grew_ms < PRESSURE_GROW_EVERY_MS)
        return PRESSURE_HOLD;
    p->share = p->share + PRESSURE_GROW_BY < PRESSURE_WHOLE ? p->share + PRESSURE_GROW_BY : PRESSURE_WHOLE;
    p->grew_ms = now_ms;
    return PRESSURE_GROW;
}

enum pressure_move strata__pressure_tell(struct pressure *p, const struct pressure_sample *s)
{
    /* A group that was made anew counts from 0 again. */
    if (!p->started || s->some_us < p->some_us || s->full_us < p->full_us) {
        begin(p, s);
        return PRESSURE_HOLD;
    }
    int64_t passed = s->now_ms - p->looked_ms;
    if (passed < PRESSURE_LOOK_MS)
        return PRESSURE_HOLD;
    p->some = share_of_time(s->some_us - p->some_us, passed);
    p->full = share_of_time(s->full_us - p->full_us, passed);
    p->over_high = s->high != UINT64_MAX && s->current >= s->high;
    p->some_us = s->some_us;
    p->full_us = s->full_us;
    p->looked_ms = s->now_ms;
    int near_high = s->high != UINT64_MAX && s->current >= s->high - s->high / 16;
    if (p->some > CALM_SOME || p->full > CALM_FULL || near_high)
        p->calm_ms = s->now_ms;
    if (p->some >= SHORT_SOME || p->full >= SHORT_FULL || p->over_high)
        return shrink(p, s->now_ms);
    return grow(p, s->now_ms);
}
