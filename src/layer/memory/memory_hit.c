/* memory_hit.c - a plain hit, whole (hit_line.h): from the arguments of strata_get() to the value in its caller's hands.
 *
 * The processor looks ahead a hundred instructions or two, and holds some thirty stores that wait, and the more hits fit in there the
 * more of their waits for memory overlap.  So: no call; what the ways on need is put by where they begin, and no register is saved;
 * words are compared where they stand (compare.h); the clock is not read, but a bound of it (os_bound.h), which holds as long as the
 * thread has run without a break (os_watch.h).  docs/benchmarks.md counts what each part takes.  Only a policy that orders by use costs
 * a call: it is told of the hit (memory_touch.c).
 *
 * Where the kernel tells nothing of breaks, time(2) is asked whether the bound holds.  That is a call, and last: what a way on needs is
 * put by before it, and what was handed out is judged again, by the clock, where the bound does not hold.
 *
 * All of it is one section of the thread's (reclaim.h), the gate and the count as well: cache.c about closing. */
#include "src/layer/memory/memory_look.h"
#include "src/os/os_fork.h"

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))

static_assert(offsetof(struct strata_value, refs) == offsetof(struct reclaim_pin, handle[3]) &&
                  offsetof(struct strata_value, kind) == offsetof(struct strata_value, refs) + 4 &&
                  RECLAIM_ALONE == (VALUE_SLOT | 1) && STRATA__VALUE_PIN == 1,
              "what RECLAIM_HANDLE says");

/* The call, for the ways on. */
struct call {
    struct strata_hit *hit;
    strata_slice key;
    strata_value **out;
    struct reclaim_record *r; /* this thread's */
    struct hit_call rest;     /* loads is set by who goes on */
};

INLINE uint64_t hash_of(const struct call *c) { return strata__key_hash_with(&c->hit->secret, c->key); }

INLINE struct shard *shard_of(const struct strata_hit *hit, uint64_t hash)
{
    const struct memory *m = (const struct memory *)(const void *)hit->layer;
    return &m->shards[hash & m->shard_mask];
}

INLINE _Atomic(uint64_t) *words_of(struct strata_hit *hit, const struct reclaim_record *r)
{
    return ((struct counter_cell *)(void *)((char *)hit->cells + r->cell))->words;
}

/* A hit: counted, and then out of the section. */
INLINE int over(struct strata_hit *hit, struct reclaim_record *r)
{
    counter_step(&words_of(hit, r)[HIT_WORD_HITS]);
    reclaim_step(r);
    return STRATA_OK;
}

/* No plain hit: out of the section, but counted as begun before. */
INLINE void leave(const struct call *c)
{
    counter_step(&words_of(c->hit, c->r)[HIT_WORD_BEGUN]);
    reclaim_step(c->r);
}

static int ask_rest(struct call *c, int loads, strata_value *said, uint64_t number)
{
    struct strata_hit *hit = c->hit;
    *c->out = said;
    c->rest.loads = loads;
    return hit->rest(hit, c->key, c->out, &c->rest, number);
}

static int go_on(struct call *c, int loads, strata_value *said, uint64_t number)
{
    leave(c);
    return ask_rest(c, loads, said, number);
}

INLINE void count_use(uint8_t most, struct entry *e)
{
    uint8_t hits = atomic_load_explicit(&e->hits, memory_order_relaxed);
    if (hits < most)
        atomic_store_explicit(&e->hits, (uint8_t)(hits + 1), memory_order_relaxed);
}

INLINE struct memory *memory_of(const struct call *c) { return (struct memory *)(void *)c->hit->layer; }

/* Acquire: who sees the moment sees the lines that were drawn before it. */
static int holds_at(struct strata_hit *hit, const struct entry *e, int64_t now_ms)
{
    return now_ms < atomic_load_explicit(&hit->trusted_until, memory_order_acquire) && is_fresh(e, now_ms) &&
           (e->kind & KIND_NEGATIVE) == 0 && !strata__memory_below_line(e, &hit->lines);
}

/* Sections are counted to time one in 1,024: another number of them whenever the clock was read, for who asks in turns with others. */
INLINE void shift(struct reclaim_record *r)
{
    reclaim_step(r);
    reclaim_step(r);
}

/* It was handed out, but the bound under which it was is not known to hold. */
APART int judge_again(struct call *c, struct reclaim_record *r, int loads)
{
    strata_value *v = *c->out;
    struct reclaim_pin *p = (struct reclaim_pin *)(void *)v;
    const struct entry *e = (const struct entry *)atomic_load_explicit(&p->address, memory_order_relaxed);
    c->key.size = e->key_size;
    c->r = r;
    if (holds_at(c->hit, e, reclaim_renew_bound(r))) {
        int status = over(c->hit, r);
        shift(r);
        return status;
    }
    leave(c);
    /* Not before: who gives a pin back may be the one to close another layer, which runs a codec. */
    strata_value_unref(v);
    return ask_rest(c, loads, NULL, hash_of(c));
}

/* The moment, and a bound from there where bounds mean something and this thread knows none. */
static int64_t moment(struct strata_hit *hit, struct reclaim_record *r, int known)
{
    int none = atomic_load_explicit(&hit->trusted_bound, memory_order_relaxed) == INT64_MIN;
    return known || none ? hit->now_ms(hit->ex) : reclaim_renew_bound(r);
}

/* By the bound, where there is one that holds and says so; else by the clock. */
static int holds_now(struct strata_hit *hit, struct reclaim_record *r, const struct entry *e)
{
    int64_t until = os_bound_until(&r->bound);
    int known = until != OS_BOUND_UNKNOWN && reclaim_bound_holds(r);
    return (known && until < atomic_load_explicit(&hit->trusted_bound, memory_order_acquire) &&
            holds_at(hit, e, until)) ||
           holds_at(hit, e, moment(hit, r, known));
}

/* What was found is not fresh for as long as the bound looks ahead, is born before some ban, has its value elsewhere, or finds the
 * pin taken; or nothing is known of the clock, or there was a break since.  In the section. */
APART int judge(struct call *c, int loads, struct entry *e)
{
    struct reclaim_record *r = c->r;
    struct reclaim_pin *p = r->hint;
    int64_t second = atomic_load_explicit(&r->bound.second, memory_order_relaxed);
    if (atomic_load_explicit(&p->address, memory_order_acquire) != 0 || !holds_now(c->hit, r, e))
        return go_on(c, loads, NULL, hash_of(c));
    point_at((struct strata_value *)(void *)p, e);
    reclaim_protect(p, e);
    count_use(memory_of(c)->max_hits, e);
    if (memory_of(c)->wants_touches)
        strata__memory_touched(memory_of(c), r, hash_of(c));
    *c->out = (struct strata_value *)(void *)p;
    int status = over(c->hit, r);
    if (!word64_is(&r->bound.second, second)) /* a timed look went before, or another second has begun */
        shift(r);
    return status;
}

/* The first look did not find it: not there, past its home, or beside another one of its tag. */
APART int search(struct call *c, int loads)
{
    strata_value *said;
    uint64_t hash = hash_of(c);
    struct entry *e = look_past(shard_of(c->hit, hash), c->key.data, c->key.size, hash, c->hit->lines.space, &said);
    return e != NULL ? judge(c, loads, e) : go_on(c, loads, said, hash);
}

/* This look is to be timed.  The clock is read for it anyway: who runs on without a break is not left to the loop alone. */
APART int time_it(struct call *c, int loads)
{
    os_bound_forget(&c->r->bound);
    return go_on(c, loads, HIT_NOT_ASKED, HIT_SAMPLE_MASK);
}

/* Not the way of this file. */
static int ask_general(struct call *c, int loads)
{
    struct strata_hit *hit = c->hit;
    if (!loads)
        return hit->general->get(hit, c->key, c->out, c->rest.err);
    return hit->general->load(hit, c->key, c->rest.loader, c->rest.loader_ctx, c->rest.policy, c->out, c->rest.err);
}

/* The gate is shut: as if nobody had begun. */
APART int turn_away(struct call *c, int loads)
{
    reclaim_step(c->r);
    return ask_general(c, loads);
}

/* In a section: open, and nobody listens to hits? */
INLINE int is_open(const struct strata_hit *hit)
{
    uint32_t gate = atomic_load_explicit(&((struct strata_hit *)(uintptr_t)hit)->gate, memory_order_acquire);
    return word32_is(&strata__os_forks, gate);
}

/* Can it be handed out by the thread's bound, if that holds? */
INLINE int holds(struct strata_hit *hit, const struct reclaim_record *r, const struct entry *e)
{
    int64_t until = os_bound_until(&r->bound);
    /* Who sees the moment sees the lines that were drawn before it. */
    return LIKELY(word64_above(&hit->trusted_bound, until)) && LIKELY((e->kind & (KIND_NEGATIVE | KIND_HEAP)) == 0) &&
           LIKELY(word32_least(&e->position, line(&hit->lines.tagged))) && LIKELY(is_fresh(e, until));
}

/* A slot that is free stands as it is set here: see RECLAIM_HANDLE. */
INLINE void hand_out(struct reclaim_pin *p, const struct entry *e)
{
    struct strata_value *v = (struct strata_value *)(void *)p;
    uint32_t block = atomic_load_explicit(&e->block, memory_order_relaxed);
    size_t offset = e->extra & VALUE_OFFSET;
    v->data = (const char *)e + offset * UNIT;
    v->size = ((block & BLOCK_UNITS) - offset) * UNIT - ((block & BLOCK_SLACK) >> BLOCK_SLACK_SHIFT);
    reclaim_protect(p, e);
}

/* Where the way of a hit ends early. */
enum turn { TURN_SHUT, TURN_TIMED, TURN_SEARCH, TURN_JUDGE };

APART int turn_off(struct call *c, int loads, enum turn where, struct entry *e)
{
    switch (where) {
    case TURN_SHUT: return turn_away(c, loads);
    case TURN_TIMED: return time_it(c, loads);
    case TURN_SEARCH: return search(c, loads);
    default: return judge(c, loads, e);
    }
}

/* A key's size, 16 to 32, or 8 to 15.  Compilers think that it is another one each time, and so keep no address that they made of it
 * for later: as part of an instruction it costs nothing, and registers are few. */
INLINE size_t usual_size(size_t n, int is_short)
{
#if defined(__GNUC__)
    __asm__("" : "+r"(n));
#endif
    if (is_short ? n - 8 > 7 : n - 16 > 16)
        __builtin_unreachable();
    return n;
}

/* How it is known that the bound holds; and whether the policy wants to hear of each hit. */
enum { BY_TIME = 0, BY_WATCH = 1, TOUCHES = 2 };

INLINE void put_by(struct call *c, const struct call *from, int loads)
{
    c->hit = from->hit;
    c->key.data = from->key.data;
    c->out = from->out;
    c->rest.err = from->rest.err;
    if (loads) {
        c->rest.loader = from->rest.loader;
        c->rest.loader_ctx = from->rest.loader_ctx;
        c->rest.policy = from->rest.policy;
    }
}

/* Handed out, and the bound holds if its second is still that of time(). */
INLINE int end_by_time(struct call *last, int loads)
{
    int64_t second = os_bound_second();
    struct reclaim_record *r = strata__reclaim_own;
    if (UNLIKELY(!word64_is(&r->bound.second, second)))
        return judge_again(last, r, loads);
    return over(last->hit, r);
}

/* For keys of 8 to 15 bytes or of 16 to 32, which are hashed and compared without a loop.  `c` is in registers, `kept` in memory. */
INLINE int ask(struct call c, struct call *kept, unsigned proof, int is_short, int loads)
{
    struct strata_hit *hit = c.hit;
    struct reclaim_record *r = c.r;
    enum turn where = TURN_SHUT;
    struct entry *e = NULL;
    size_t n = usual_size(c.key.size, is_short);
    reclaim_step(r);
    if (UNLIKELY(!is_open(hit)))
        goto turn;
    where = TURN_TIMED;
    if (UNLIKELY(!word64_has(&r->section, HIT_SAMPLE_MASK << 1)))
        goto turn;
    where = TURN_SEARCH;
    uint64_t hash = strata__key_hash_usual(&hit->secret, c.key.data, n);
    struct shard *s = shard_of(hit, hash);
    struct index_table *t = atomic_load_explicit(&s->table, memory_order_acquire);
    const _Atomic(uint64_t) *at = bucket_first(&t->slots[index_home(index_tag(hash), t->slot_count)], hash);
    if (UNLIKELY(at == NULL))
        goto turn;
    uint32_t ref = bucket_ref(at);
    if (UNLIKELY(ref == 0))
        goto turn;
    e = (struct entry *)(void *)(s->base + ref * s->ref_bytes);
    __builtin_prefetch((const char *)e + 64); /* key and value begin on two lines, as often as not */
    n = usual_size(n, is_short);
    if (UNLIKELY(!is_wanted(e, hit->lines.space, c.key.data, n)))
        goto turn;
    where = TURN_JUDGE;
    if (UNLIKELY(!address_is_none(&r->hint->address)) || UNLIKELY(!holds(hit, r, e)) ||
        ((proof & BY_WATCH) && UNLIKELY(!os_watch_unbroken(r->watched, &r->watch))))
        goto turn;
    struct reclaim_pin *p = r->hint;
    hand_out(p, e);
    count_use(s->quick_hits, e);
    *c.out = (strata_value *)(void *)p;
    if (proof & TOUCHES)
        strata__memory_touched(memory_of(&c), r, hash);
    return (proof & BY_WATCH) ? over(hit, r) : end_by_time(kept, loads);
turn:
    put_by(kept, &c, loads);
    kept->key.size = n;
    kept->r = r;
    return turn_off(kept, loads, where, e);
}

/* No key of 16 to 32 bytes, or something else is not as usual. */
APART int ask_other(struct call *c, unsigned proof, int loads)
{
    if (c->r == NULL || c->key.size - 8 > 7 || c->key.data == NULL || c->out == NULL)
        return ask_general(c, loads);
    switch (proof) {
    case BY_TIME: return ask(*c, c, BY_TIME, 1, loads);
    case BY_WATCH: return ask(*c, c, BY_WATCH, 1, loads);
    case BY_TIME | TOUCHES: return ask(*c, c, BY_TIME | TOUCHES, 1, loads);
    default: return ask(*c, c, BY_WATCH | TOUCHES, 1, loads);
    }
}

INLINE int ask_first(struct call c, unsigned proof, int loads)
{
    struct call kept;
    c.r = strata__reclaim_own;
    if (!(proof & BY_WATCH))
        put_by(&kept, &c, loads);
    if (LIKELY(c.key.size - 16 <= 16) && LIKELY(c.r != NULL) && LIKELY(c.key.data != NULL) && LIKELY(c.out != NULL))
        return ask(c, &kept, proof, 0, loads);
    put_by(&kept, &c, loads);
    kept.key.size = c.key.size;
    kept.r = c.r;
    return ask_other(&kept, proof, loads);
}

#define HIT_WAYS(get, load, proof) \
    static int get(struct strata_hit *hit, strata_slice key, strata_value **out, strata_error *err) \
    { \
        return ask_first((struct call){ .hit = hit, .key = key, .out = out, .rest = { .err = err } }, proof, 0); \
    } \
    static int load(struct strata_hit *hit, strata_slice key, strata_loader loader, void *loader_ctx, \
                    const strata_policy *policy, strata_value **out, strata_error *err) \
    { \
        struct hit_call rest = { 1, loader, loader_ctx, policy, err }; \
        return ask_first((struct call){ .hit = hit, .key = key, .out = out, .rest = rest }, proof, 1); \
    }

HIT_WAYS(get_by_time, load_by_time, BY_TIME)
HIT_WAYS(get_by_watch, load_by_watch, BY_WATCH)
HIT_WAYS(touch_by_time, touch_load_by_time, BY_TIME | TOUCHES)
HIT_WAYS(touch_by_watch, touch_load_by_watch, BY_WATCH | TOUCHES)

const struct hit_ways *strata__memory_ways(int touches)
{
    static const struct hit_ways ways[] = {
        [BY_TIME] = { get_by_time, load_by_time },
        [BY_WATCH] = { get_by_watch, load_by_watch },
        [BY_TIME | TOUCHES] = { touch_by_time, touch_load_by_time },
        [BY_WATCH | TOUCHES] = { touch_by_watch, touch_load_by_watch },
    };
    return &ways[(strata__os_watch_works() ? BY_WATCH : BY_TIME) | (touches ? TOUCHES : 0)];
}
