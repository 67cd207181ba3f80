/* test_schedules.c - the read path under the simulator: small random programs of calls, thousands of schedules.
 *
 * A seed gives a stack, policies, a program and the order in which everything runs.  Loaders complete now, later, twice,
 * never, fail, or have nothing; calls time out; callbacks call again; and in the end the cache is closed, sometimes over all
 * of it.  What must hold:
 *
 *   an accepted call completes exactly once, never before it returned, and a refused one not at all;
 *   when all loads are completed, every call is, without a close;
 *   a key has one load in progress, unless the one before was poisoned, cancelled, or has become too old;
 *   no read is given a value that was superseded, by an invalidation that had returned, before it began;
 *   once all is quiet, no layer holds one;
 *   after close nothing runs any more on its workers, and nothing leaks.
 *
 * STRATA_SEED=n runs that one seed; STRATA_SEEDS=n runs so many. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka_all.h"

#include "src/core/core_impl.h"
#include "src/loop/executor_sim.h"
#include "tests/support/slow_layer.h"
#include "tests/unit/schedule_world.h"

enum { STEPS = 40 };

/* Policies ---------------------------------------------------------------------------------------------------------- */

static strata_policy random_policy(void)
{
    strata_policy p = { STRATA_SIZED(strata_policy), .ttl_ms = 5 + (int64_t)draw(60), .refresh_timeout_ms = REFRESH_MS };
    if (draw(3) == 0)
        p.negative_ttl_ms = 10;
    if (draw(3) == 0)
        p.hard_timeout_ms = 1 + (int64_t)draw(10);
    if (p.hard_timeout_ms > 0 && draw(2) == 0)
        p.background_completion = STRATA_ON;
    if (draw(12) == 0)
        p.single_flight = STRATA_OFF;
    if (draw(12) == 0)
        p.ttl_ms = STRATA_OFF;
    if (!world.stale)
        return p;
    if (draw(2) == 0)
        p.stale_while_revalidate_ms = 20;
    if (draw(2) == 0)
        p.stale_if_error_ms = 30;
    if (draw(2) == 0)
        p.soft_timeout_ms = 1 + (int64_t)draw(
                                    p.hard_timeout_ms > 0 && p.hard_timeout_ms < 5 ? (uint64_t)p.hard_timeout_ms : 5);
    if (draw(3) == 0)
        p.keep_ms = 50;
    if (draw(3) == 0)
        p.refresh_ahead_ms = 4;
    if (draw(3) == 0)
        p.retry_ms = 5;
    return p;
}

/* Calls ------------------------------------------------------------------------------------------------------------- */

static void start_some_call(void);

static void on_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct call *c = ctx;
    CHECK(c->returned && c->accepted);
    CHECK(++c->done == 1);
    CHECK(!world.closed || c->queued);
    CHECK(status >= 0 || (err != NULL && err->status == status && err->message[0] != 0));
    judge(c, status, value);
    if (!world.handles_gone && draw(8) == 0)
        start_some_call();
}

static void note_write(struct call *c)
{
    c->version = ++world.origin[c->key];
    note_invalidated(c->key);
}

static int call_async(struct call *c, strata_queue *queue, const strata_policy *policy)
{
    strata *cache = cache_of(c->key);
    strata_slice key = key_of(c->key);
    int off = policy != NULL && policy->single_flight == STRATA_OFF;
    void *loader_ctx = (void *)(uintptr_t)(c->key | (off ? 8u : 0));
    struct payload p = { c->key, c->version };
    switch (c->kind) {
    case KIND_GET: return strata_get_async(cache, key, queue, on_done, c, NULL);
    case KIND_LOAD: return strata_get_or_load_async(cache, key, load_one, loader_ctx, policy, queue, on_done, c, NULL);
    case KIND_SET: return strata_set_async(cache, key, strata_bytes(&p, sizeof p), policy, queue, on_done, c, NULL);
    case KIND_DELETE: return strata_delete_async(cache, key, queue, on_done, c, NULL);
    case KIND_EXPIRE: return strata_expire_async(cache, key, queue, on_done, c, NULL);
    case KIND_CLEAR: return strata_clear_async(world.cache, queue, on_done, c, NULL);
    case KIND_CLEAR_SPACE: return strata_clear_async(world.space, queue, on_done, c, NULL);
    case KIND_HAS: return strata_has_async(cache, key, queue, on_done, c, NULL);
    case KIND_GET_MANY: return strata_get_many_async(world.cache, c->items, 2, queue, on_done, c, NULL);
    default:
        return strata_get_or_load_many_async(world.cache, c->items, 2, load_some, off ? &world : NULL, policy, queue,
                                             on_done, c, NULL);
    }
}

static struct call *new_call(void)
{
    static const unsigned char weights[KIND_END] = { 4, 14, 4, 4, 3, 1, 1, 1, 2, 3 };
    if (world.call_count == CALLS_MOST)
        return NULL;
    struct call *c = &world.calls[world.call_count++];
    memset(c, 0, sizeof *c);
    unsigned at = (unsigned)draw(37);
    for (unsigned k = 0; k < KIND_END; k++) {
        c->kind = (enum kind)k;
        if (at < weights[k])
            break;
        at -= weights[k];
    }
    c->key = draw(KEYS);
    memcpy(c->floor, world.floor, sizeof c->floor);
    c->items[0].key = key_of(0);
    c->items[1].key = key_of(1);
    if (c->kind == KIND_SET || c->kind == KIND_DELETE || c->kind == KIND_EXPIRE)
        note_write(c);
    if (c->kind == KIND_CLEAR || c->kind == KIND_CLEAR_SPACE) {
        note_covered(c);
        for (size_t k = 0; k < KEYS; k++)
            note_invalidated(k);
    }
    return c;
}

static void start_some_call(void)
{
    struct call *c = new_call();
    if (c == NULL)
        return;
    c->queued = draw(2) == 0;
    int own = draw(2) == 0;
    c->policy = random_policy();
    int rc = call_async(c, c->queued ? world.queue : NULL, own ? &c->policy : NULL);
    c->returned = 1;
    c->accepted = rc == STRATA_PENDING;
    CHECK(c->accepted || rc == STRATA_EBUSY || (rc == STRATA_ECLOSED && world.closing));
}

/* Blocking, by the test's own thread.  A loader may never complete: so each load has a hard timeout. */
static void make_some_call(void)
{
    struct call *c = new_call();
    strata_value *v = NULL;
    struct payload p;
    int status;
    if (c == NULL)
        return;
    strata *cache = cache_of(c->key);
    strata_slice key = key_of(c->key);
    p = (struct payload){ c->key, c->version };
    c->policy = random_policy();
    c->policy.hard_timeout_ms = 5;
    switch (c->kind) {
    case KIND_GET: status = strata_get(cache, key, &v, NULL); break;
    case KIND_LOAD:
        status = strata_get_or_load(cache, key, load_one,
                                    (void *)(uintptr_t)(c->key | (c->policy.single_flight == STRATA_OFF ? 8u : 0)),
                                    &c->policy, &v, NULL);
        break;
    case KIND_SET: status = strata_set(cache, key, strata_bytes(&p, sizeof p), &c->policy, NULL); break;
    case KIND_DELETE: status = strata_delete(cache, key, NULL); break;
    case KIND_EXPIRE: status = strata_expire(cache, key, NULL); break;
    case KIND_CLEAR: status = strata_clear(world.cache, NULL); break;
    case KIND_CLEAR_SPACE: status = strata_clear(world.space, NULL); break;
    case KIND_HAS: status = strata_has(cache, key, NULL); break;
    case KIND_GET_MANY: status = strata_get_many(world.cache, c->items, 2, NULL); break;
    default:
        status = strata_get_or_load_many(world.cache, c->items, 2, load_some,
                                         c->policy.single_flight == STRATA_OFF ? &world : NULL, &c->policy, NULL);
        break;
    }
    judge(c, status, v);
}

/* A program --------------------------------------------------------------------------------------------------------- */

static void open_world(uint64_t seed)
{
    memset(&world, 0, sizeof world);
    world.seed = world.random = seed;
    fail_alloc_init(&world.alloc, 0);
    world.stale = draw(2) == 0;
    strata_policy policy = random_policy();
    policy.single_flight = 0;
    if (policy.ttl_ms == STRATA_OFF)
        policy.ttl_ms = 0;
    strata_memory_options small = { STRATA_SIZED(strata_memory_options), .max_bytes = 64u << 10 };
    strata_layer *layers[3];
    size_t count = 0;
    uint64_t stack = draw(8);
    int demotes = stack > 1 && draw(3) != 0;
    if (demotes) { /* somebody must leave */
        small.max_entries = 1 + draw(2);
        small.shards = 1;
    }
    /* A full pool fails a slow layer's operations, too: that is another test's story. */
    int limited = stack == 1 && draw(2) == 0;
    world.nesting = !limited;
    if (stack != 0)
        layers[count++] = strata_memory_layer(&small);
    if (stack != 1)
        layers[count++] = slow_layer_new(stack & 1 ? SLOW_MOST_MS : 0);
    if (demotes)
        slow_layer_demoted(layers[1]);
    if (stack == 7)
        layers[count++] = slow_layer_new(1);
    strata_options options = { STRATA_SIZED(strata_options),  .layers = layers,
                               .layer_count = count,          .policy = &policy,
                               .allocator = &world.alloc.mem, .max_flights = draw(10) == 0 ? 1 : 0 };
    if (draw(3) == 0) /* so many may be on their way to slow layers; the simulated pool has its own bound */
        options.max_queued = 1;
    CHECK(strata__executor_sim_new(&world.ex, &world.alloc.mem, seed, NULL) == STRATA_OK);
    CHECK(strata__open_with(&world.cache, &options, world.ex, NULL) == STRATA_OK);
    CHECK(strata_namespace(world.cache, "space", NULL, &world.space, NULL) == STRATA_OK);
    CHECK(strata_queue_open(&world.queue, NULL) == STRATA_OK);
    if (limited)
        strata__executor_sim_limit(world.ex, 1 + draw(4));
    world.few_flights = options.max_flights != 0;
}

static void run_program(void)
{
    for (int i = 0; i < STEPS; i++) {
        uint64_t what = draw(20);
        if (what < 9)
            start_some_call();
        else if (what < 12)
            make_some_call();
        else if (what < 15)
            for (uint64_t n = draw(6); n > 0; n--)
                strata__executor_sim_step(world.ex);
        else if (what < 17)
            strata__executor_sim_advance(world.ex, (int64_t)draw(12));
        else if (what < 19)
            complete_some_load();
        else
            strata_queue_run(world.queue, draw(4));
    }
}

static size_t count_open(void)
{
    size_t open = 0;
    for (size_t i = 0; i < world.call_count; i++)
        open += (size_t)(world.calls[i].accepted && !world.calls[i].done);
    return open;
}

/* Every load is completed: then every call is. */
static void settle(void)
{
    strata__executor_sim_limit(world.ex, SIZE_MAX);
    for (int round = 0; round < 2000; round++) {
        complete_some_load();
        strata__executor_sim_advance(world.ex, 5);
        if (strata_queue_run(world.queue, 0) == 0 && count_open() == 0 && draw(4) == 0)
            break;
    }
    if (count_open() != 0)
        for (size_t i = 0; i < world.call_count; i++)
            if (world.calls[i].accepted && !world.calls[i].done)
                fprintf(stderr, "call %zu, of kind %d, key %zu, never ends\n", i, (int)world.calls[i].kind,
                        world.calls[i].key);
    CHECK(count_open() == 0);
}

/* Entries that came to a lower layer when the memory layer evicted them. */
static uint64_t demotions;

static uint64_t told_demotions(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < strata_layer_count(world.cache); i++) {
        strata_layer_stats s = STRATA_LAYER_STATS_INIT;
        CHECK(strata_stats_layer(world.cache, i, &s) == STRATA_OK);
        sum += s.demotions;
    }
    return sum;
}

static void check_held(strata_layer *layer)
{
    for (size_t k = 0; k < KEYS; k++) {
        struct payload p;
        strata_meta meta;
        struct deadlines d;
        if (slow_layer_value(layer, cache_of(k)->space, key_of(k), &p, sizeof p, &meta) == SIZE_MAX)
            continue;
        CHECK(p.key == k);
        strata__deadlines(&meta, meta.born_ms, &d);
        CHECK(p.version >= world.floor[k] || d.gone_at <= ex_now_ms(world.ex)); /* expire leaves what is gone */
    }
}

/* Once what is on its way has arrived, no layer holds what was superseded, nor what was cleared: another life would find
 * it. */
static void check_layers(void)
{
    const struct root *root = world.cache->root;
    strata__executor_sim_advance(world.ex, 10 * SLOW_MOST_MS);
    for (uint32_t i = 0; i < root->layer_count; i++) {
        strata_layer *layer = root->layers[i].layer;
        if (slot_instant(&root->layers[i]))
            continue;
        CHECK(slow_layer_older(layer, world.cache->space, atomic_load(&world.cache->min_position)) == 0);
        CHECK(slow_layer_older(layer, world.space->space, atomic_load(&world.space->min_position)) == 0);
        check_held(layer);
    }
    demotions += told_demotions();
}

static void close_world(void)
{
    int space_first = draw(2) == 0;
    world.closing = 1;
    if (space_first) {
        world.handles_gone = 1;
        strata_close(world.space);
    }
    CHECK(strata_close(world.cache) == STRATA_OK);
    world.closed = 1;
    world.handles_gone = 1;
    strata_queue_run(world.queue, 0);
    for (size_t i = 0; i < world.load_count; i++) {
        struct load *l = &world.loads[i];
        if (l->load == NULL)
            continue;
        int rc = finish_load(l, (int)draw(10));
        CHECK(rc == STRATA_ECLOSED || rc == STRATA_EALREADY);
        CHECK(strata_load_canceled(l->load));
        give_back(l);
    }
    if (!space_first) {
        CHECK(strata_delete(world.space, key_of(2), NULL) == STRATA_ECLOSED);
        strata_close(world.space);
    }
    CHECK(strata_queue_run(world.queue, 0) == 0);
    CHECK(count_open() == 0);
    for (size_t i = 0; i < world.call_count; i++)
        CHECK(world.calls[i].accepted == world.calls[i].done);
    strata_queue_close(world.queue);
    for (size_t i = 0; i < world.pin_count; i++) {
        CHECK(payload_version(world.pins[i], world.pin_key[i]) == world.pin_version[i]);
        strata_value_unref(world.pins[i]);
    }
    CHECK(world.alloc.live == 0);
}

static void run_seed(uint64_t seed)
{
    open_world(seed);
    run_program();
    if (draw(2) == 0) {
        settle();
        check_layers();
    }
    close_world();
}

static void every_seed_keeps_the_promises(void **state)
{
    (void)state;
    const char *one = getenv("STRATA_SEED"), *many = getenv("STRATA_SEEDS");
    uint64_t count = many != NULL ? strtoull(many, NULL, 10) : 2000;
    if (one != NULL) {
        run_seed(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= count; seed++)
        run_seed(seed);
    assert_int_equal(world.alloc.live, 0);
    assert_true(demotions > count / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_seed_keeps_the_promises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
