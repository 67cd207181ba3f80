/* hit.c - reading one key.
 *
 * strata_get() and strata_get_or_load() begin with the same few steps, and end there for a fresh value in an instant
 * nearest layer: no allocation, no lock, no line written that threads share.  One word, the gate, stands for "open, not
 * forked, nobody listens to hits".  Everything else is behind a call: judge what was found, wait for a flight. */
#include <string.h>

#include "src/core/adaptive.h"
#include "src/core/flight.h"
#include "src/core/slide.h"

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* A look that began: what strata_get() and strata_get_or_load() hand on where it is no plain hit. */
struct look {
    uint64_t begun; /* looks before this one, of this thread; set where quick() was not called */
    uint64_t hash;
    int64_t now_ms;
    strata_value *said; /* by quick(); HIT_NOT_ASKED: it was not called, and hash and now_ms are not set */
};

static inline __attribute__((always_inline)) strata_value *ask_quick(strata *cache, strata_slice key, uint64_t *hash,
                                                                     int64_t *now)
{
    *hash = handle_hash(cache, key);
    const void *where = cache->hint(cache->layer, *hash); /* before the clock is read, so that both happen at once */
    *now = cache->now_ms(cache->ex);
    /* Acquire: who sees the moment sees the lines that were drawn before it. */
    if (UNLIKELY(*now >= atomic_load_explicit(&cache->trusted_until, memory_order_acquire)))
        return NULL;
    return cache->quick(where, key.data, key.size, *hash, &cache->lines, *now);
}

/* The cache hears of other nodes: is what is found trusted? */
static __attribute__((noinline)) int look_suspect(strata *cache, strata_op *op)
{
    struct layer_slot *slot = &cache->root->layers[0];
    if (!slot_instant(slot))
        return STRATA_MISS;
    if (op->now_ms < atomic_load_explicit(&cache->trusted_until, memory_order_acquire))
        return cache->lookup(cache->layer, op);
    return strata__look_whole(cache, slot, op);
}

/* What is left of a look after quick().  As lookup(); op is filled for all answers but STRATA_OK and errors. */
static inline __attribute__((always_inline)) int look_on(strata *cache, strata_op *op, strata_slice key,
                                                         const struct look *l)
{
    if (hit_found(l->said)) {
        op->found = l->said;
        counter_raise(cache->cells, counter_index(), HOT_FOUND);
        return STRATA_OK;
    }
    op->size = sizeof *op;
    op->kind = STRATA_OP_GET;
    op->space = cache->space;
    op->hash = l->hash;
    op->key = key;
    op->now_ms = l->now_ms;
    op->meta.position = atomic_load_explicit(&cache->min_position, memory_order_relaxed);
    op->tags = NULL;
    op->lines = &cache->lines;
    if (l->said == NULL)
        return UNLIKELY(cache->root->coherence != NULL) ? look_suspect(cache, op) : cache->lookup(cache->layer, op);
    counter_raise(cache->cells, counter_index(), HOT_MISSED);
    return STRATA_MISS;
}

static __attribute__((noinline)) int look_whole(strata *cache, strata_op *op, strata_slice key)
{
    struct look l;
    l.said = ask_quick(cache, key, &l.hash, &l.now_ms);
    return look_on(cache, op, key, &l);
}

static int look_sampled(strata *cache, strata_op *op, strata_slice key)
{
    struct root *root = cache->root;
    int64_t before = ex_now_ns(root->ex);
    int rc = look_whole(cache, op, key);
    if (rc == STRATA_OK && root->stats)
        strata__histogram_add(&root->layers[0].latency, (uint64_t)(ex_now_ns(root->ex) - before));
    return rc;
}

/* The gate does not match: closed, forked, or somebody listens. */
static int look_gated(strata *cache, strata_op *op, strata_slice key, strata_error *err)
{
    struct root *root = cache->root;
    int rc = root_enter(root, err);
    if (rc != STRATA_OK)
        return rc;
    rc = look_whole(cache, op, key);
    const char *layer = cache->layer->name;
    root_leave(root);
    if (rc == STRATA_OK)
        event_fire(cache, STRATA_EVENT_HIT, key, layer);
    return rc;
}

/* STRATA_OK: op->found is the caller's.  STRATA_MISS, STRATA_STALE: think.  < 0: an error. */
static inline __attribute__((always_inline)) int finish_look(strata *cache, const struct look *l, strata_op *op,
                                                             strata_slice key, strata_error *err)
{
    if (l->said != HIT_NOT_ASKED)
        return look_on(cache, op, key, l);
    if (!gate_open(cache))
        return look_gated(cache, op, key, err);
    if ((l->begun & HIT_SAMPLE_MASK) == HIT_SAMPLE_MASK)
        return look_sampled(cache, op, key);
    return look_whole(cache, op, key);
}

int strata__look(strata *cache, strata_op *op, strata_slice key, strata_error *err)
{
    uint32_t cell = counter_index();
    struct look l = { .begun = counter_raise(cache->cells, cell, HOT_BEGUN), .said = HIT_NOT_ASKED };
    int rc = finish_look(cache, &l, op, key, err);
    counter_raise(cache->cells, cell, HOT_SLOW);
    return rc;
}

/* Between look_general() and rest(): the number is where a struct look stands. */
#define HIT_LOOKED ((strata_value *)(uintptr_t)3)

static inline strata *handle_of_hit(struct strata_hit *hit)
{
    return (strata *)(void *)((char *)hit - offsetof(strata, hit));
}

/* The general way, but for the rest: 1: a hit, counted; 0: what rest() is told, with *number.  `l` lives as long as rest(). */
static inline __attribute__((always_inline)) int look_general(strata *cache, strata_slice key, strata_value **out,
                                                              struct look *l, uint64_t *number)
{
    *number = 0;
    if (UNLIKELY(out == NULL || !key_fits(cache, key)))
        return 0;
    *out = HIT_NOT_ASKED;
    _Atomic(uint64_t) *words = counter_own(cache->cells);
    if (UNLIKELY(words == NULL)) {
        *number = counter_raise(cache->cells, counter_index(), HOT_BEGUN);
        return 0;
    }
    *number = counter_raise_own(words, HOT_BEGUN);
    if (UNLIKELY(!gate_open(cache)) || UNLIKELY((*number & HIT_SAMPLE_MASK) == HIT_SAMPLE_MASK))
        return 0;
    l->said = ask_quick(cache, key, &l->hash, &l->now_ms);
    if (UNLIKELY(!hit_found(l->said))) {
        *out = HIT_LOOKED;
        *number = (uintptr_t)l;
        return 0;
    }
    *out = l->said;
    counter_raise_own(words, HOT_FOUND);
    counter_raise_own(words, HOT_LOOKED);
    return 1;
}

static int general_get(struct strata_hit *hit, strata_slice key, strata_value **out, strata_error *err)
{
    struct look l;
    uint64_t number;
    if (LIKELY(look_general(handle_of_hit(hit), key, out, &l, &number)))
        return STRATA_OK;
    const struct hit_call call = { .err = err };
    return strata__hit_rest(hit, key, out, &call, number);
}

static int general_load(struct strata_hit *hit, strata_slice key, strata_loader loader, void *loader_ctx,
                        const strata_policy *policy, strata_value **out, strata_error *err)
{
    struct look l;
    uint64_t number;
    if (LIKELY(look_general(handle_of_hit(hit), key, out, &l, &number)))
        return STRATA_OK;
    const struct hit_call call = { 1, loader, loader_ctx, policy, err };
    return strata__hit_rest(hit, key, out, &call, number);
}

const struct hit_ways strata__hit_general = { general_get, general_load };

/* What rest() was told. */
static inline struct look look_of(const strata *cache, const strata_value *said, uint64_t number)
{
    if (said == HIT_LOOKED)
        return *(const struct look *)(uintptr_t)number;
    if (said == HIT_NOT_ASKED)
        return (struct look){ .begun = number, .said = HIT_NOT_ASKED };
    return (struct look){ .hash = number, .now_ms = cache->now_ms(cache->ex), .said = (strata_value *)(uintptr_t)said };
}

static __attribute__((noinline)) int get_on(strata *cache, strata_slice key, const struct look *l, strata_value **out,
                                            strata_error *err)
{
    strata_op op;
    uint32_t cell = counter_index(), word = HOT_SLOW;
    *out = NULL;
    int rc = finish_look(cache, l, &op, key, err);
    if (rc == STRATA_OK) {
        *out = op.found;
        word = HOT_LOOKED;
    } else if (rc > 0) {
        rc = strata__get_slow(cache, &op, rc, out, err);
    }
    counter_raise(cache->cells, cell, word);
    return rc;
}

/* Where the only layer has said no to a get, and nobody listens: that is the answer. */
static inline int miss_is_final(const struct root *root)
{
    return root->layer_count == 1 && root->instant_count == 1 && !event_wanted(root, STRATA_EVENT_MISS);
}

/* Counted as begun: now as over. */
static int end_missed(strata *cache, strata_value **out)
{
    uint32_t cell = counter_index();
    *out = NULL;
    counter_raise(cache->cells, cell, HOT_MISSED);
    counter_raise(cache->cells, cell, HOT_SLOW);
    return STRATA_MISS;
}

/* The arguments of a call that are wrong, in words. */
static __attribute__((noinline)) int refuse_arguments(const strata *cache, strata_slice key, strata_value **out,
                                                      strata_error *err)
{
    if (out != NULL)
        *out = NULL;
    if (cache == NULL || out == NULL)
        return strata__no_argument(err, "a read needs a cache and where to put the value");
    return strata__bad_key(cache, key, err);
}

/* A direct get that has not looked yet: it is one in so many, or the gate is shut. */
static int get_gated(strata *cache, strata_slice key, strata_value **out, strata_error *err)
{
    struct root *root = cache->root;
    int shut = !gate_open(cache), rc = shut ? root_enter(root, err) : STRATA_OK;
    if (rc != STRATA_OK) {
        counter_raise(cache->cells, counter_index(), HOT_SLOW);
        return rc;
    }
    rc = strata__get_direct(cache, key, handle_hash(cache, key), cache->now_ms(cache->ex), out, err);
    if (shut)
        root_leave(root);
    return rc;
}

static int load_slow(strata *cache, strata_op *op, int looked, const struct hit_call *call, strata_value **out,
                     strata_error *err);

static __attribute__((noinline)) int load_on(strata *cache, strata_slice key, const struct look *l,
                                             const struct hit_call *call, strata_value **out, strata_error *err)
{
    strata_op op;
    uint32_t cell = counter_index(), word = HOT_SLOW;
    *out = NULL;
    int rc = finish_look(cache, l, &op, key, err);
    if (rc == STRATA_OK) {
        *out = op.found;
        word = HOT_LOOKED;
    } else if (rc > 0) {
        rc = load_slow(cache, &op, rc, call, out, err);
    }
    counter_raise(cache->cells, cell, word);
    return rc;
}

/* A get that is no plain hit. */
static int get_rest(strata *cache, strata_slice key, strata_value **out, const struct look *l, strata_error *err)
{
    if (cache->get_loads) {
        const struct hit_call own = { .loads = 1, .err = err };
        return load_on(cache, key, l, &own, out, err);
    }
    *out = NULL;
    if (cache->direct) {
        /* Through an open gate it needs no root_enter(): it is counted as begun, and close waits for that. */
        int rc = l->said == NULL ? strata__get_direct(cache, key, l->hash, l->now_ms, out, err)
                                 : get_gated(cache, key, out, err);
        if (rc != NOT_DIRECT)
            return rc;
    }
    return get_on(cache, key, l, out, err);
}

int strata__hit_rest(struct strata_hit *hit, strata_slice key, strata_value **out, const struct hit_call *call,
                     uint64_t number)
{
    strata *cache = handle_of_hit(hit);
    if (UNLIKELY(out == NULL || !key_fits(cache, key)))
        return refuse_arguments(cache, key, out, call->err);
    if (*out == STRATA_NOT_HERE && !call->loads && !cache->get_loads && miss_is_final(cache->root))
        return end_missed(cache, out); /* without a look at the clock */
    const struct look l = look_of(cache, *out, number);
    if (call->loads)
        return load_on(cache, key, &l, call, out, call->err);
    return get_rest(cache, key, out, &l, call->err);
}

int strata_get(strata *cache, strata_slice key, strata_value **out, strata_error *err)
{
    if (UNLIKELY(cache == NULL))
        return refuse_arguments(cache, key, out, err);
    return cache->get(&cache->hit, key, out, err);
}

int strata_get_or_load(strata *cache, strata_slice key, strata_loader loader, void *loader_ctx,
                       const strata_policy *policy, strata_value **out, strata_error *err)
{
    if (UNLIKELY(cache == NULL))
        return refuse_arguments(cache, key, out, err);
    return cache->load(&cache->hit, key, loader, loader_ctx, policy, out, err);
}

/* When the nearest layer does not answer at once ---------------------------------------------------------------- */

/* What the nearest layer gave to a lookup that found something to think about. */
void strata__hold_lookup(strata *cache, strata_op *op, int looked, struct held *held)
{
    held->there = 0;
    held->value = held->tags = NULL;
    if (looked == STRATA_STALE)
        strata__held_init(cache, &cache->root->layers[0], op, held);
}

/* What the nearest layer found could not be served: for the user that is a miss. */
static void count_refused(strata *cache, int looked)
{
    if (looked == STRATA_STALE)
        atomic_fetch_add_explicit(&cache->root->layers[0].refused, 1, memory_order_relaxed);
}

/* Serve what is held, as `action` says. */
int strata__held_serve(strata *cache, strata_slice key, struct held *held, enum action action, strata_value **out)
{
    int stale = action == ACTION_STALE || action == ACTION_STALE_AND_REFRESH;
    struct answer a = { .is_hit = 1, .layer = held->layer };
    a.status = held->meta.negative ? STRATA_ABSENT : stale ? STRATA_STALE : STRATA_OK;
    if (stale)
        a.state = held_state(held, ex_now_ms(cache->root->ex));
    strata__answer_counted(cache, key, &a);
    if (a.status == STRATA_OK && held->meta.slide_ms > 0)
        strata__slide_hit(cache, key, held);
    *out = held->value;
    held->value = NULL;
    return a.status;
}

/* A plain get has no loader; but what other nodes write to knows better. */
static void confirm(strata *cache, strata_slice key, uint64_t hash, const struct held *held)
{
    struct root *root = cache->root;
    int shared = 0;
    for (size_t i = 0; i < root->layer_count; i++)
        shared |= (root->layers[i].flags & STRATA_LAYER_SHARED) != 0;
    if (!shared || (held->suspect == SUSPECT_NOT && !strata__is_replaced(root, held)))
        return;
    struct want want = { .handle = cache, .policy = &cache->policy };
    strata__refresh_start(&want, key, hash, held);
}

int strata__get_slow(strata *cache, strata_op *op, int looked, strata_value **out, strata_error *err)
{
    struct root *root = cache->root;
    struct held held;
    if (looked == STRATA_MISS && miss_is_final(root))
        return STRATA_MISS;
    int rc = root_enter(root, err);
    if (rc != STRATA_OK) {
        if (looked == STRATA_STALE)
            op_drop(op);
        return rc;
    }
    strata__hold_lookup(cache, op, looked, &held);
    enum action a = strata__held_action(&held, SITUATION_READ, op->now_ms);
    if (held.there && action_serves(a)) {
        confirm(cache, op->key, op->hash, &held);
        rc = strata__held_serve(cache, op->key, &held, a, out);
    } else if (root->layer_count == 1 && root->instant_count == 1) {
        struct answer miss = { .status = STRATA_MISS };
        count_refused(cache, looked);
        strata__answer_counted(cache, op->key, &miss);
        rc = STRATA_MISS;
    } else {
        count_refused(cache, looked);
        struct want want = { .handle = cache, .policy = &cache->policy };
        rc = strata__read_blocking(&want, op->key, op->hash, out, err);
    }
    strata__held_drop(&held);
    root_leave(root);
    return rc;
}

int strata__no_loader(strata_error *err)
{
    return strata__fail(err, STRATA_EINVAL, "loader",
                        "no loader was given, and the namespace has none: pass one, or "
                        "set it in strata_namespace_options");
}

int strata__want_init(struct want *want, strata *cache, strata_loader loader, void *loader_ctx,
                      const strata_policy *policy, strata_policy *resolved, strata_error *err)
{
    *want = (struct want){ .handle = cache, .loader = loader, .loader_ctx = loader_ctx, .policy = &cache->policy };
    if (loader == NULL)
        want_own_loader(want, 0);
    if (!want_loads(want))
        return strata__no_loader(err);
    if (policy == NULL)
        return STRATA_OK;
    int rc = strata__call_policy_check(cache, policy, err);
    if (rc == STRATA_OK) {
        strata__policy_resolve(resolved, policy, &cache->policy);
        want->policy = resolved;
    }
    return rc;
}

static int load_entered(strata *cache, strata_op *op, int looked, struct held *held, const struct want *want,
                        strata_value **out, strata_error *err)
{
    enum action a = strata__held_action(held, SITUATION_LOAD, op->now_ms);
    if (!held->there || !action_serves(a)) {
        count_refused(cache, looked);
        return strata__read_blocking(want, op->key, op->hash, out, err);
    }
    if (a == ACTION_SERVE_AND_REFRESH || a == ACTION_STALE_AND_REFRESH)
        strata__refresh_start(want, op->key, op->hash, held);
    return strata__held_serve(cache, op->key, held, a, out);
}

static int load_slow(strata *cache, strata_op *op, int looked, const struct hit_call *call, strata_value **out,
                     strata_error *err)
{
    struct root *root = cache->root;
    struct held held;
    struct want want;
    strata_policy resolved;
    int rc = root_enter(root, err);
    if (rc != STRATA_OK) {
        if (looked == STRATA_STALE)
            op_drop(op);
        return rc;
    }
    strata__hold_lookup(cache, op, looked, &held);
    rc = strata__want_init(&want, cache, call->loader, call->loader_ctx, call->policy, &resolved, err);
    if (rc == STRATA_OK)
        rc = load_entered(cache, op, looked, &held, &want, out, err);
    strata__held_drop(&held);
    root_leave(root);
    return rc;
}

/* What a look found, by what it returned. */
static int judge_first(const struct want *want, strata_op *op, int rc, strata_value **out, int *status)
{
    strata *cache = want->handle;
    struct root *root = cache->root;
    struct held held;
    if (rc <= 0) {
        if (rc == STRATA_OK) {
            *out = op->found;
            count_up(cache, COUNT_HITS);
        }
        *status = rc;
        return 1;
    }
    strata_slice key = op->key;
    strata__hold_lookup(cache, op, rc, &held);
    enum action a = strata__held_action(&held, want_loads(want) ? SITUATION_LOAD : SITUATION_READ, op->now_ms);
    int answered = held.there && action_serves(a);
    if (answered) {
        if (action_refreshes(a))
            strata__refresh_start(want, key, op->hash, &held);
        else
            confirm(cache, key, op->hash, &held);
        *status = strata__held_serve(cache, key, &held, a, out);
    } else {
        count_refused(cache, rc);
    }
    if (!answered && !want_loads(want) && root->layer_count == 1 && root->instant_count == 1) {
        struct answer miss = { .status = STRATA_MISS };
        strata__answer_counted(cache, key, &miss);
        *status = STRATA_MISS;
        answered = 1;
    }
    strata__held_drop(&held);
    return answered;
}

int strata__read_first(const struct want *want, strata_slice key, uint64_t *hash, strata_value **out, int *status,
                       strata_error *err)
{
    strata_op op;
    int rc = strata__look(want->handle, &op, key, err);
    *hash = rc > 0 ? op.hash : 0;
    return judge_first(want, &op, rc, out, status);
}

int strata__read_said(const struct want *want, strata_slice key, uint64_t hash, int64_t now_ms, strata_value *said,
                      strata_value **out, int *status)
{
    strata_op op;
    const struct look l = { .hash = hash, .now_ms = now_ms, .said = said };
    int rc = look_on(want->handle, &op, key, &l);
    counter_raise(want->handle->cells, counter_index(), HOT_SLOW);
    return judge_first(want, &op, rc, out, status);
}
