/* adaptive.c - see adaptive.h. */
#include "src/policy/adaptive.h"

enum { HITS = 3, STEPS = 4, HITS_MOST = 1 << 24 };
#define TTL_MOST (INT64_MAX / 2) /* STRATA_FOREVER is never what comes out */

static int64_t sum(int64_t a, int64_t b)
{
    int64_t both;
    return __builtin_add_overflow(a, b, &both) || both > TTL_MOST ? TTL_MOST : both;
}

static int64_t product(int64_t a, int64_t b)
{
    int64_t both;
    return __builtin_mul_overflow(a, b, &both) || both > TTL_MOST ? TTL_MOST : both;
}

static int64_t step_of(const strata_policy *p)
{
    return p->adaptive_step_ms > 0 ? p->adaptive_step_ms : p->ttl_ms / 2 + p->ttl_ms % 2;
}

static int64_t most_of(const strata_policy *p)
{
    if (p->adaptive_max_ms > 0)
        return p->adaptive_max_ms < TTL_MOST ? p->adaptive_max_ms : TTL_MOST;
    return sum(p->ttl_ms, product(step_of(p), STEPS));
}

static uint32_t hits_of(const strata_policy *p) { return p->adaptive_hits > 0 ? (uint32_t)p->adaptive_hits : HITS; }

static int is_on(const strata_policy *p) { return p->adaptive == STRATA_ON; }

int64_t strata__adaptive_ttl(const strata_policy *p, uint32_t hits)
{
    if (!is_on(p) || p->ttl_ms <= 0 || p->ttl_ms >= TTL_MOST)
        return p->ttl_ms;
    int64_t longer = sum(p->ttl_ms, product(step_of(p), hits / hits_of(p))), most = most_of(p);
    if (longer > most)
        longer = most;
    return longer > p->ttl_ms ? longer : p->ttl_ms;
}

uint32_t strata__adaptive_enough(const strata_policy *p)
{
    int64_t steps = STEPS;
    if (!is_on(p))
        return 0;
    if (p->ttl_ms > 0 && p->ttl_ms < TTL_MOST && most_of(p) > p->ttl_ms) {
        int64_t more = most_of(p) - p->ttl_ms, step = step_of(p);
        int64_t needed = more / step + (more % step != 0);
        steps = needed > steps ? needed : steps; /* a call may say less */
    }
    int64_t hits = product(steps, hits_of(p));
    return hits < HITS_MOST ? (uint32_t)hits : HITS_MOST;
}

/* Profiles ---------------------------------------------------------------------------------------------------------- */

static uint32_t sets_for(uint32_t count) { return count / PROFILE_WAYS + (count % PROFILE_WAYS != 0) + (count == 0); }

size_t strata__profiles_size(uint32_t count)
{
    return sizeof(struct profiles) + (size_t)sets_for(count) * PROFILE_WAYS * sizeof(uint64_t);
}

void strata__profiles_init(struct profiles *profiles, uint32_t count) { profiles->sets = sets_for(count); }

/* The set by the low half, the tag by the high one; a tag is never 0. */
static _Atomic(uint64_t) *set_of(struct profiles *p, uint64_t hash)
{
    return &p->slots[((hash & UINT32_MAX) * p->sets >> 32) * PROFILE_WAYS];
}

static uint64_t tag_of(uint64_t hash)
{
    uint64_t tag = hash & ~(uint64_t)UINT32_MAX;
    return tag != 0 ? tag : (uint64_t)1 << 32;
}

static uint32_t count_in(uint64_t slot) { return (uint32_t)slot; }

static int is_of(uint64_t slot, uint64_t tag) { return (slot & ~(uint64_t)UINT32_MAX) == tag && count_in(slot) != 0; }

static _Atomic(uint64_t) *find(struct profiles *p, uint64_t hash, uint64_t *out)
{
    _Atomic(uint64_t) *set = set_of(p, hash);
    for (int i = 0; i < PROFILE_WAYS; i++) {
        *out = atomic_load_explicit(&set[i], memory_order_relaxed);
        if (is_of(*out, tag_of(hash)))
            return &set[i];
    }
    return NULL;
}

/* Relaxed, all of it: a count is no more than a count.  An exchange that fails had another's hit come first: that may be lost. */
static int change(_Atomic(uint64_t) *slot, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(slot, &from, to, memory_order_relaxed, memory_order_relaxed);
}

static void make(struct profiles *p, uint64_t hash)
{
    _Atomic(uint64_t) *set = set_of(p, hash);
    uint64_t slot[PROFILE_WAYS];
    for (int i = 0; i < PROFILE_WAYS; i++) {
        slot[i] = atomic_load_explicit(&set[i], memory_order_relaxed);
        if (count_in(slot[i]) == 0 && change(&set[i], slot[i], tag_of(hash) | 1))
            return;
    }
    for (int i = 0; i < PROFILE_WAYS; i++)
        if (count_in(slot[i]) != 0)
            (void)change(&set[i], slot[i], slot[i] - 1);
}

void strata__profile_hit(struct profiles *p, uint64_t hash, uint32_t most)
{
    uint64_t slot;
    _Atomic(uint64_t) *at = find(p, hash, &slot);
    if (at == NULL)
        make(p, hash);
    else if (count_in(slot) < most)
        (void)change(at, slot, slot + 1);
}

uint32_t strata__profile_take(struct profiles *p, uint64_t hash)
{
    uint64_t slot;
    _Atomic(uint64_t) *at = find(p, hash, &slot);
    if (at == NULL)
        return 0;
    (void)change(at, slot, slot - count_in(slot) + count_in(slot) / 2);
    return count_in(slot);
}
