/* limiter.c - see limiter.h. */
#include "src/policy/limiter.h"

#include <string.h>

/* As many slots but one cover the interval. */
static int64_t width(const struct limit *limit)
{
    const int64_t parts = LIMITER_SLOTS - 1;
    return limit->interval_ms / parts + (limit->interval_ms % parts != 0);
}

/* As many as cover the interval wherever in its slot a beginning stands. */
static int64_t slots(const struct limit *limit)
{
    int64_t w = width(limit);
    return limit->interval_ms / w + (limit->interval_ms % w != 0) + 1;
}

static int64_t slot_at(const struct limiter *l, int64_t now_ms)
{
    int64_t w = width(&l->limit);
    return now_ms / w - (now_ms % w < 0);
}

static uint32_t *slot_of(struct limiter *l, int64_t slot)
{
    int64_t i = slot % LIMITER_SLOTS;
    return &l->begun[i < 0 ? i + LIMITER_SLOTS : i];
}

/* Forget what is too long ago.  A clock that goes back stands still. */
static void look_at(struct limiter *l, int64_t now_ms)
{
    int64_t now = slot_at(l, now_ms), looks_back = slots(&l->limit);
    if (l->total == 0 || now - looks_back >= l->slot) {
        memset(l->begun, 0, sizeof l->begun);
        l->total = 0;
        l->slot = now;
    }
    while (l->slot < now) {
        uint32_t *oldest = slot_of(l, ++l->slot - looks_back);
        l->total -= *oldest;
        *oldest = 0;
    }
}

void strata__limiter_set(struct limiter *l, const struct limit *limit, int64_t now_ms)
{
    uint64_t total = 0;
    if (l->limit.interval_ms > 0 && l->limit.interval_ms != limit->interval_ms) {
        look_at(l, now_ms);
        total = l->total;
        memset(l->begun, 0, sizeof l->begun);
        l->total = 0;
    } else if (l->limit.interval_ms > 0) {
        l->limit = *limit;
        return;
    }
    l->limit = *limit;
    l->slot = slot_at(l, now_ms);
    /* In slots of another width they all begin now: too late rather than too early. */
    *slot_of(l, l->slot) = total < UINT32_MAX ? (uint32_t)total : UINT32_MAX;
    l->total = *slot_of(l, l->slot);
}

/* Another one begins. */
static void begin(struct limiter *l)
{
    l->running++;
    if (l->limit.most_begun == 0 || *slot_of(l, l->slot) == UINT32_MAX)
        return;
    ++*slot_of(l, l->slot);
    l->total++;
}

static int64_t start_of(const struct limiter *l, int64_t slot)
{
    int64_t at;
    return __builtin_mul_overflow(slot, width(&l->limit), &at) ? INT64_MAX : at;
}

/* When so few have begun that one more may.  After look_at(). */
static int64_t room_at(struct limiter *l, int64_t now_ms)
{
    uint64_t total = l->total;
    int64_t looks_back = slots(&l->limit);
    if (l->limit.most_begun == 0 || total < l->limit.most_begun)
        return now_ms;
    for (int64_t slot = l->slot - looks_back + 1; slot <= l->slot; slot++) {
        total -= *slot_of(l, slot);
        if (total < l->limit.most_begun)
            return start_of(l, slot + looks_back);
    }
    return start_of(l, l->slot + looks_back);
}

static int is_full(const struct limiter *l)
{
    return l->limit.most_running != 0 && l->running >= l->limit.most_running;
}

enum limiter_answer strata__limiter_ask(struct limiter *l, int64_t now_ms)
{
    look_at(l, now_ms);
    if (l->waiting == 0 && !is_full(l) && room_at(l, now_ms) <= now_ms) {
        begin(l);
        return LIMITER_PASS;
    }
    if (l->waiting >= l->limit.most_waiting)
        return LIMITER_FULL;
    l->waiting++;
    return LIMITER_WAIT;
}

void strata__limiter_force(struct limiter *l, int64_t now_ms)
{
    look_at(l, now_ms);
    begin(l);
}

int strata__limiter_next(struct limiter *l, int64_t now_ms, int64_t *out_at)
{
    look_at(l, now_ms);
    *out_at = INT64_MAX;
    if (l->waiting == 0 || is_full(l))
        return 0;
    *out_at = room_at(l, now_ms);
    if (*out_at > now_ms)
        return 0;
    l->waiting--;
    begin(l);
    return 1;
}

void strata__limiter_leave(struct limiter *l) { l->running--; }

void strata__limiter_quit(struct limiter *l) { l->waiting--; }

int strata__limiter_idle(const struct limiter *l, int64_t now_ms)
{
    return l->running == 0 && l->waiting == 0 && (l->total == 0 || slot_at(l, now_ms) - slots(&l->limit) >= l->slot);
}
