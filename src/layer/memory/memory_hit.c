/* memory_hit.c - a plain hit, whole (hit_line.h): from the arguments of strata_get() to the value in its caller's hands.
 *
 * The processor looks ahead some hundreds of instructions, and the more hits fit in there the more of their waits for memory
 * overlap.  So: few calls, and nothing
 * that is needed after one is kept in a register, which would have to be saved; the clock is not read, but a bound of it
 * (os_bound.h).  docs/benchmarks.md counts what each part takes.
 *
 * What is found is judged by the bound before it is known whether that holds: it is asked last, when there is little left to be
 * kept meanwhile.  Where it does not, what was handed out is judged again, by the clock. */
#include "src/layer/memory/memory_look.h"

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))

static_assert(offsetof(struct strata_value, refs) == offsetof(struct reclaim_pin, handle[3]) &&
                  offsetof(struct strata_value, kind) == offsetof(struct strata_value, refs) + 4 &&
                  RECLAIM_ALONE == (VALUE_SLOT | 1) && STRATA__VALUE_PIN == 1,
              "what RECLAIM_HANDLE says");

/* The call. */
struct call {
    struct strata_hit *hit;
    strata_slice key;
    strata_value **out;
    void *ctx;
    strata_hit_rest *rest;
    struct reclaim_record *r; /* this thread's */
    int status;
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

INLINE int over(struct strata_hit *hit, const struct reclaim_record *r)
{
    counter_step(&words_of(hit, r)[HIT_WORD_HITS]);
    return STRATA_OK;
}

/* NULL: c->status is the answer. */
static strata_value *go_on(struct call *c, strata_value *said, uint64_t number)
{
    *c->out = said;
    c->status = c->rest(c->hit, c->key, c->out, c->ctx, number);
    return NULL;
}

INLINE void count_use(uint8_t most, struct entry *e)
{
    uint8_t hits = atomic_load_explicit(&e->hits, memory_order_relaxed);
    if (hits < most)
        atomic_store_explicit(&e->hits, (uint8_t)(hits + 1), memory_order_relaxed);
}

/* Acquire: who sees the moment sees the lines that were drawn before it. */
static int holds_at(struct strata_hit *hit, const struct entry *e, int64_t now_ms)
{
    return now_ms < atomic_load_explicit(&hit->trusted_until, memory_order_acquire) && is_fresh(e, now_ms) &&
           (e->kind & KIND_NEGATIVE) == 0 && !strata__memory_below_line(e, &hit->lines);
}

/* It was handed out, but the bound under which it was is not known to hold. */
APART int judge_again(struct call *c)
{
    strata_value *v = *c->out;
    struct reclaim_pin *p = (struct reclaim_pin *)(void *)v;
    const struct entry *e = (const struct entry *)atomic_load_explicit(&p->address, memory_order_relaxed);
    if (holds_at(c->hit, e, strata__os_bound_renew(&c->r->bound)))
        return over(c->hit, c->r);
    strata_value_unref(v);
    (void)go_on(c, NULL, hash_of(c));
    return c->status;
}

/* By the bound, where there is one that holds and says so; else by the clock. */
static int holds_now(struct strata_hit *hit, const struct reclaim_record *r, const struct entry *e)
{
    int64_t until = os_bound_until(&r->bound);
    return (until < atomic_load_explicit(&hit->trusted_bound, memory_order_acquire) && holds_at(hit, e, until) &&
            os_bound_is_of(&r->bound, os_bound_second())) ||
           holds_at(hit, e, hit->now_ms(hit->ex));
}

/* What was found is not fresh for as long as the bound looks ahead, is born before some ban, has its value elsewhere, or finds the
 * pin taken.  In the section. */
APART strata_value *judge(struct call *c, struct entry *e)
{
    struct reclaim_pin *p = c->r->hint;
    int good = atomic_load_explicit(&p->address, memory_order_acquire) == 0 && holds_now(c->hit, c->r, e);
    if (good) {
        point_at((struct strata_value *)(void *)p, e);
        reclaim_protect(p, e);
        count_use(((const struct memory *)(const void *)c->hit->layer)->max_hits, e);
        *c->out = (struct strata_value *)(void *)p;
    }
    reclaim_leave(c->r);
    if (!good)
        return go_on(c, NULL, hash_of(c));
    c->status = over(c->hit, c->r);
    return NULL;
}

/* The first look did not find it: not there, past its home, or beside another one of its tag.  In the section. */
APART strata_value *search(struct call *c)
{
    strata_value *said;
    uint64_t hash = hash_of(c);
    struct entry *e = look_past(shard_of(c->hit, hash), c->key.data, c->key.size, hash, c->hit->lines.space, &said);
    if (e != NULL)
        return judge(c, e);
    reclaim_leave(c->r);
    return go_on(c, said, hash);
}

/* The gate is shut, or this look is to be timed. */
APART strata_value *not_asked(struct call *c)
{
    uint64_t begun = atomic_load_explicit(&words_of(c->hit, c->r)[HIT_WORD_BEGUN], memory_order_relaxed);
    return go_on(c, HIT_NOT_ASKED, begun - 1);
}

/* Counted as begun; 0: it is no plain look. */
INLINE int begin(struct strata_hit *hit, const struct reclaim_record *r)
{
    _Atomic(uint64_t) *begun = &words_of(hit, r)[HIT_WORD_BEGUN];
    counter_step(begun);
    uint32_t count = (uint32_t)atomic_load_explicit(begun, memory_order_relaxed);
    /* The count must be on its way before the gate is read: see cache.c about closing. */
    atomic_signal_fence(memory_order_seq_cst);
    return LIKELY(atomic_load_explicit(&hit->gate, memory_order_acquire) ==
                  atomic_load_explicit(hit->forks, memory_order_relaxed)) &&
           LIKELY((count & HIT_SAMPLE_MASK) != 0);
}

/* Can it be handed out by the thread's bound, if that holds? */
INLINE int holds(struct strata_hit *hit, const struct reclaim_record *r, const struct entry *e)
{
    int64_t until = os_bound_until(&r->bound);
    /* Acquire: who sees the moment sees the lines that were drawn before it. */
    return LIKELY(until < atomic_load_explicit(&hit->trusted_bound, memory_order_acquire)) &&
           LIKELY((e->kind & (KIND_NEGATIVE | KIND_HEAP)) == 0) && LIKELY(position_of(e) >= line(&hit->lines.tagged)) &&
           LIKELY(is_fresh(e, until));
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

/* For keys of 8 to 15 bytes or of 16 to 32, which are hashed and compared without a loop: a value that the thread's bound lets out, and
 * that is not counted yet; or NULL, and c->status is the answer. */
INLINE strata_value *find_usual(struct strata_hit *hit, const char *key, size_t n, struct call *c,
                                struct reclaim_record *r, int is_short)
{
    if (is_short ? n - 8 > 7 : n - 16 > 16)
        __builtin_unreachable();
    if (UNLIKELY(!begin(hit, r)))
        return not_asked(c);
    uint64_t hash = strata__key_hash_usual(&hit->secret, key, n);
    struct shard *s = shard_of(hit, hash);
    reclaim_step(r);
    struct index_table *t = atomic_load_explicit(&s->table, memory_order_acquire);
    const _Atomic(uint64_t) *at = bucket_first(&t->slots[index_home(index_tag(hash), t->slot_count)], hash);
    if (UNLIKELY(at == NULL))
        return search(c);
    uint32_t ref = bucket_ref(at);
    if (UNLIKELY(ref == 0))
        return search(c);
    struct entry *e = (struct entry *)(void *)(s->base + ref * s->ref_bytes);
    __builtin_prefetch((const char *)e + 64); /* key and value begin on two lines, as often as not */
    if (UNLIKELY(!is_wanted(e, hit->lines.space, key, n)))
        return search(c);
    struct reclaim_pin *p = r->hint;
    if (UNLIKELY(atomic_load_explicit(&p->address, memory_order_acquire) != 0) || UNLIKELY(!holds(hit, r, e)))
        return judge(c, e);
    hand_out(p, e);
    count_use(s->quick_hits, e);
    reclaim_step(r);
    return (strata_value *)(void *)p;
}

APART strata_value *find_short(struct strata_hit *hit, const char *key, size_t n, struct call *c,
                               struct reclaim_record *r)
{
    return find_usual(hit, key, n, c, r, 1);
}

int strata__memory_get(struct strata_hit *hit, strata_slice key, strata_value **out, void *ctx, strata_hit_rest *rest)
{
    struct reclaim_record *r = strata__reclaim_own;
    if (UNLIKELY(r == NULL) || UNLIKELY(key.size - 8 > hit->usual_sizes) || UNLIKELY(key.data == NULL) ||
        UNLIKELY(out == NULL))
        return hit->general(hit, key, out, ctx, rest);
    struct call c;
    c.hit = hit;
    c.key = key;
    c.out = out;
    c.ctx = ctx;
    c.rest = rest;
    c.r = r;
    strata_value *v;
    if (LIKELY(key.size >= 16))
        v = find_usual(hit, key.data, key.size, &c, r, 0);
    else
        v = find_short(hit, key.data, key.size, &c, r);
    if (UNLIKELY(v == NULL))
        return c.status;
    *c.out = v;
    int64_t second = os_bound_second();
    if (UNLIKELY(!os_bound_is_of(&c.r->bound, second)))
        return judge_again(&c);
    return over(c.hit, c.r);
}
