/* test_hit_bound.c - plain hits by a bound of the clock, by real threads and clocks: what is fresh is served and counted once, what is
 * not is not, whichever way it was judged.  All of it four times: where the kernel tells of breaks, and where time(2)
 * is asked, by a policy that hears of hits and by one that doesn't. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "src/core/core_impl.h"
#include "src/loop/executor_sim.h"
#include "src/os/os_clock.h"
#include "src/os/os_fault.h"
#include "src/os/reclaim.h"
#include "tests/support/cmocka_all.h"

enum { FAR_MS = 3600000 };

static const char *const names[] = { "eight__8",
                                     "of-15-bytes-long",
                                     "sixteen-bytes-16",
                                     "a-key-of-21-bytes-here",
                                     "this-key-has-thirty-two-bytes-32",
                                     "short",
                                     "and-this-one-is-longer-than-that-by-far" };
enum { NAMES = sizeof names / sizeof names[0] };

static strata_slice key_of(size_t i) { return strata_bytes(names[i], strlen(names[i])); }

/* The policy of what follows: of hits in an order of use it wants to hear. */
static int32_t evict;

static strata *open_cache(void)
{
    strata_options options = STRATA_OPTIONS_INIT;
    strata_error err = STRATA_ERROR_INIT;
    strata *cache;
    strata_memory_options memory = { .size = sizeof memory, .max_bytes = 8 << 20, .policy = evict };
    strata_layer *layer = strata_memory_layer(&memory);
    options.layers = &layer;
    options.layer_count = 1;
    assert_int_equal(strata_open(&cache, &options, &err), STRATA_OK);
    return cache;
}

static void put(strata *cache, size_t i, int64_t ttl_ms)
{
    strata_policy policy = STRATA_POLICY_INIT;
    policy.ttl_ms = ttl_ms;
    assert_int_equal(strata_set(cache, key_of(i), strata_bytes(names[i], strlen(names[i])), &policy, NULL), STRATA_OK);
}

static int get(strata *cache, size_t i)
{
    strata_value *value;
    int rc = strata_get(cache, key_of(i), &value, NULL);
    if (rc == STRATA_OK) {
        assert_int_equal(strata_value_size(value), strlen(names[i]));
        assert_memory_equal(strata_value_data(value), names[i], strlen(names[i]));
        assert_null(strata_value_object(value));
    } else {
        assert_null(value);
    }
    strata_value_unref(value);
    return rc;
}

static void assert_counts(strata *cache, uint64_t requests, uint64_t hits)
{
    strata_stats stats = STRATA_STATS_INIT;
    assert_int_equal(strata_stats_get(cache, &stats), STRATA_OK);
    assert_int_equal(stats.requests, requests);
    assert_int_equal(stats.hits, hits);
    strata_layer_stats layer = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(cache, 0, &layer), STRATA_OK);
    assert_int_equal(layer.hits, hits);
    assert_int_equal(layer.misses, requests - hits);
}

/* This thread's; NULL where hits take the general way: under the thread sanitizer, and without membarrier(2). */
static struct os_bound *bound(void) { return strata__reclaim_own != NULL ? &strata__reclaim_own->bound : NULL; }

static int watched(void) { return strata__reclaim_mine->watched != &strata__reclaim_mine->watch.none; }

/* The thread slept, for so long that the second is another one. */
static void set_slept(int64_t second, int64_t now)
{
    os_watch_unmark(strata__reclaim_mine->watched);
    os_bound_set(bound(), second - 1, now);
}

/* How the next hit is judged. */
enum way { BY_BOUND, SECOND_CHANGED, PAST_BOUND, WAYS };

static void go(enum way way)
{
    struct os_bound *b = bound();
    if (b == NULL)
        return;
    int64_t second = os_bound_second(), now = strata__os_now_ms();
    if (way == SECOND_CHANGED) {
        set_slept(second, now);
        return;
    }
    os_bound_set(b, second, way == PAST_BOUND ? now + 2 * FAR_MS : now);
    os_watch_mark(strata__reclaim_mine->watched, &strata__reclaim_mine->watch);
}

static void whichever_way_it_is_a_hit(void **state)
{
    (void)state;
    strata *cache = open_cache();
    uint64_t asked = 0;
    for (size_t i = 0; i < NAMES; i++)
        put(cache, i, i % 2 ? FAR_MS : STRATA_FOREVER);
    for (int round = 0; round < 400; round++)
        for (size_t i = 0; i < NAMES; i++, asked++) {
            go((enum way)(round % WAYS));
            assert_int_equal(get(cache, i), STRATA_OK);
        }
    assert_counts(cache, asked, asked);
    strata_close(cache);
}

/* The thread's second is the present one, or another: what has expired since is no hit, and its pin is given back. */
static void what_has_expired_is_none(void **state)
{
    (void)state;
    strata *cache = open_cache();
    for (enum way way = SECOND_CHANGED; way < WAYS; way++)
        for (size_t i = 0; i < NAMES; i++) {
            put(cache, i, 1);
            int64_t put_at = strata__os_now_ms();
            while (strata__os_now_ms() <= put_at + 1)
                ;
            go(way);
            /* As of a thread that slept since: fresh by what it knew. */
            if (bound() != NULL && way == SECOND_CHANGED)
                set_slept(os_bound_second(), put_at - 2 * OS_BOUND_SPAN_MS);
            assert_int_equal(get(cache, i), STRATA_MISS);
        }
    strata_stats stats = STRATA_STATS_INIT;
    assert_int_equal(strata_stats_get(cache, &stats), STRATA_OK);
    assert_int_equal(stats.requests, 2 * NAMES);
    assert_int_equal(stats.hits, 0);
    if (strata__reclaim_mine != NULL)
        assert_int_equal(strata__reclaim_mine->hint->address, 0);
    strata_close(cache);
}

/* Another layer that closes: it waits for its last pin. */
struct closing {
    struct reclaim_waiter waiter;
    int over, inside;
};

static void note_where(struct reclaim_waiter *waiter)
{
    struct closing *c = (struct closing *)(void *)waiter;
    c->over++;
    c->inside = (int)(strata__reclaim_mine->section & 1);
}

/* Who gives a pin back may be the one to close another layer, which runs a codec, which may call a cache: no longer in the section. */
static void a_pin_is_given_back_outside_of_the_section(void **state)
{
    (void)state;
    strata *cache = open_cache();
    struct reclaim_pin *p = reclaim_slot(reclaim_self());
    struct closing closing = { .waiter = { .done = note_where } };
    closing.waiter.low = (uintptr_t)&closing;
    closing.waiter.high = closing.waiter.low + 1;
    reclaim_protect(p, &closing);
    strata__reclaim_when_unpinned(&closing.waiter);
    assert_int_equal(closing.over, 0);
    p->address = 0; /* by a thread that has not seen yet that somebody waits */
    put(cache, 3, 1);
    int64_t put_at = strata__os_now_ms();
    while (strata__os_now_ms() <= put_at + 1)
        ;
    if (bound() != NULL)
        set_slept(os_bound_second(), put_at - 2 * OS_BOUND_SPAN_MS);
    assert_int_equal(get(cache, 3), STRATA_MISS);
    if (bound() == NULL || watched()) /* nothing was handed out */
        strata__reclaim_pin_dropped();
    assert_int_equal(closing.over, 1);
    assert_int_equal(closing.inside, 0);
    strata_close(cache);
}

static void an_expired_key_is_stale_at_once(void **state)
{
    (void)state;
    strata *cache = open_cache();
    put(cache, 3, FAR_MS);
    for (int round = 0; round < 20; round++) {
        go(BY_BOUND);
        assert_int_equal(get(cache, 3), STRATA_OK);
        assert_int_equal(strata_expire(cache, key_of(3), NULL), STRATA_OK);
        assert_int_equal(get(cache, 3), STRATA_MISS);
        put(cache, 3, FAR_MS);
        assert_int_equal(get(cache, 3), STRATA_OK);
        assert_int_equal(strata_delete(cache, key_of(3), NULL), STRATA_OK);
        assert_int_equal(get(cache, 3), STRATA_MISS);
        put(cache, 3, FAR_MS);
    }
    strata_close(cache);
}

/* A handle that has many holders leaves its slot as it was found. */
static void a_pin_shared_and_back_is_as_new(void **state)
{
    (void)state;
    strata *cache = open_cache();
    put(cache, 3, FAR_MS);
    for (int round = 0; round < 100; round++) {
        strata_value *v;
        assert_int_equal(strata_get(cache, key_of(3), &v, NULL), STRATA_OK);
        assert_ptr_equal(strata_value_ref(v), v);
        strata_value_unref(v);
        assert_memory_equal(strata_value_data(v), names[3], strlen(names[3]));
        strata_value_unref(v);
    }
    assert_counts(cache, 100, 100);
    strata_close(cache);
}

/* What is asked for again and again outlives what is not, where the policy orders by use. */
static void policies_hear_of_hits(void **state)
{
    static const int32_t policies[] = { STRATA_EVICT_LRU, STRATA_EVICT_LFU, STRATA_EVICT_WTINYLFU, STRATA_EVICT_S3FIFO,
                                        STRATA_EVICT_SIEVE };
    (void)state;
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++) {
        strata_options options = STRATA_OPTIONS_INIT;
        strata_memory_options memory = { .size = sizeof memory, .max_entries = 200, .shards = 1, .policy = policies[i] };
        strata_layer *layer = strata_memory_layer(&memory);
        strata *cache;
        options.layers = &layer;
        options.layer_count = 1;
        assert_int_equal(strata_open(&cache, &options, NULL), STRATA_OK);
        put(cache, 3, FAR_MS);
        for (int n = 0; n < 3000; n++) {
            char name[24];
            snprintf(name, sizeof name, "another-key-%d", n);
            assert_int_equal(get(cache, 3), STRATA_OK);
            assert_int_equal(strata_set(cache, strata_bytes(name, strlen(name)), key_of(0), NULL, NULL), STRATA_OK);
        }
        assert_counts(cache, 3000, 3000);
        strata_close(cache);
    }
}

enum { ORDER_KEYS = 60, ORDER_FIT = 40, ORDER_STEPS = 20000 };

static strata_slice order_key(int i, char *room, size_t size)
{
    int n = snprintf(room, size, "key-%0*d", i % 5 == 0 ? 3 : 5 + i % 23, i); /* of all lengths */
    return strata_bytes(room, (size_t)n);
}

static uint64_t order_random(uint64_t *x) { return (*x = *x * 6364136223846793005u + 1442695040888963407u) >> 40; }

/* Against a list of who was used when: runs of up to `most` hits, and a set of a key that is not there. */
static void use_in_order(strata *cache, uint64_t most)
{
    int used[ORDER_KEYS] = { 0 }, held = 0; /* when; 0: it is not held */
    uint64_t x = 5, left = 0;
    char room[40];
    for (int now = 1; now < ORDER_STEPS; now++) {
        int i = (int)(order_random(&x) % ORDER_KEYS), least = -1;
        if (left > 0)
            while (used[i] == 0)
                i = (i + 1) % ORDER_KEYS;
        left = left > 0 ? left - 1 : held > 0 ? order_random(&x) % (most + 1) : 0;
        strata_value *v;
        int status = strata_get(cache, order_key(i, room, sizeof room), &v, NULL);
        strata_value_unref(v);
        assert_int_equal(status, used[i] != 0 ? STRATA_OK : STRATA_MISS);
        for (int k = 0; k < ORDER_KEYS; k++)
            if (used[k] != 0 && (least < 0 || used[k] < used[least]))
                least = k;
        if (status != STRATA_OK) {
            assert_int_equal(strata_set(cache, order_key(i, room, sizeof room), key_of(0), NULL, NULL), STRATA_OK);
            if (held == ORDER_FIT)
                used[least] = 0;
            held += held < ORDER_FIT;
        }
        used[i] = now;
    }
}

/* A thread's hits are told before it puts anything; in the middle of many hits those in shards that are locked are not, and the
 * loop looks after shards now and then: that part goes by a loop that stands still. */
static void the_order_of_use_is_exact(void **state)
{
    (void)state;
    for (int still = 0; still < 2; still++) {
        strata_options options = STRATA_OPTIONS_INIT;
        strata_memory_options memory = {
            .size = sizeof memory, .max_entries = ORDER_FIT, .shards = 1, .policy = STRATA_EVICT_LRU
        };
        strata_layer *layer = strata_memory_layer(&memory);
        struct executor *ex = NULL;
        strata *cache;
        options.layers = &layer;
        options.layer_count = 1;
        if (still)
            assert_int_equal(strata__executor_sim_new(&ex, NULL, 1, NULL), STRATA_OK);
        assert_int_equal(still ? strata__open_with(&cache, &options, ex, NULL) : strata_open(&cache, &options, NULL),
                         STRATA_OK);
        use_in_order(cache, still ? 300 : 20);
        strata_close(cache);
    }
}

static void wrong_arguments_are_told_and_not_counted(void **state)
{
    (void)state;
    strata *cache = open_cache();
    strata_value *v = (strata_value *)(uintptr_t)8;
    strata_error err = STRATA_ERROR_INIT;
    put(cache, 3, FAR_MS);
    assert_int_equal(get(cache, 3), STRATA_OK);
    assert_true(strata_get(NULL, key_of(3), &v, &err) < 0);
    assert_null(v);
    assert_true(strata_get(cache, strata_bytes(NULL, 20), &v, &err) < 0);
    assert_true(strata_get(cache, strata_bytes("", 0), &v, &err) < 0);
    assert_true(strata_get(cache, key_of(3), NULL, &err) < 0);
    assert_true(err.message[0] != 0);
    assert_true(strata_get_or_load(cache, strata_bytes(NULL, 20), NULL, NULL, NULL, &v, &err) < 0);
    assert_true(strata_get_or_load(cache, key_of(3), NULL, NULL, NULL, NULL, &err) < 0);
    assert_counts(cache, 1, 1);
    strata_close(cache);
}

/* What a loader was called with. */
struct loads {
    int calls;
    size_t of; /* whose key it is */
};

static int load(strata_load *l, strata_slice key, void *ctx)
{
    struct loads *loads = ctx;
    loads->calls++;
    assert_int_equal(key.size, strlen(names[loads->of]));
    assert_memory_equal(key.data, names[loads->of], key.size);
    return strata_load_copy(l, key.data, key.size);
}

/* Through all ways of a hit: the loader is not asked for what is there, and with everything that was given for what is not. */
static void loads_go_the_same_ways(void **state)
{
    (void)state;
    strata *cache = open_cache();
    strata_policy brief = STRATA_POLICY_INIT;
    strata_error err = STRATA_ERROR_INIT;
    brief.ttl_ms = 1;
    for (size_t i = 0; i < NAMES; i++)
        for (enum way way = BY_BOUND; way < WAYS; way++) {
            struct loads loads = { 0, i };
            strata_value *v;
            put(cache, i, FAR_MS);
            go(way);
            assert_int_equal(strata_get_or_load(cache, key_of(i), load, &loads, &brief, &v, &err), STRATA_OK);
            strata_value_unref(v);
            assert_int_equal(loads.calls, 0);
            assert_int_equal(strata_delete(cache, key_of(i), NULL), STRATA_OK);
            go(way);
            for (int n = 1; n <= 2; n++) {
                assert_int_equal(strata_get_or_load(cache, key_of(i), load, &loads, &brief, &v, &err), STRATA_OK);
                assert_int_equal(strata_value_size(v), strlen(names[i]));
                strata_value_unref(v);
                assert_int_equal(loads.calls, n);
                int64_t loaded_at = strata__os_now_ms();
                while (strata__os_now_ms() <= loaded_at + 1) /* its ttl is that of the call's policy */
                    ;
                go(way);
            }
        }
    strata_close(cache);
}

/* One look of a thread in 1,024 is timed, and none of them is counted twice. */
static void some_looks_are_timed(void **state)
{
    (void)state;
    enum { LOOKS = 8 * (HIT_SAMPLE_MASK + 1) };
    strata *cache = open_cache();
    put(cache, 3, FAR_MS);
    for (int n = 0; n < LOOKS; n++)
        assert_int_equal(get(cache, 3), STRATA_OK);
    assert_counts(cache, LOOKS, LOOKS);
    strata_layer_stats layer = STRATA_LAYER_STATS_INIT;
    assert_int_equal(strata_stats_layer(cache, 0, &layer), STRATA_OK);
    assert_in_range(layer.latency.count, 7, 9);
    strata_close(cache);
}

/* A thread in the middle of a hit, which nobody has counted yet. */
struct reader {
    strata *cache;
    _Atomic(int) inside, may_go;
};

/* Each second the turn comes to others, where a thread asks in the same order for ever. */
static void who_asks_two_in_turns_times_both(void **state)
{
    (void)state;
    strata *cache = open_cache(), *other = open_cache();
    strata_layer_stats layer = { .size = sizeof layer };
    put(cache, 2, FAR_MS);
    put(other, NAMES - 1, FAR_MS);
    for (int second = 0; second < 8; second++) {
        for (int i = 0; i < 3000; i++) {
            assert_int_equal(get(cache, 2), STRATA_OK);
            assert_int_equal(get(other, NAMES - 1), STRATA_OK);
        }
        go(SECOND_CHANGED);
    }
    assert_int_equal(strata_stats_layer(cache, 0, &layer), STRATA_OK);
    assert_true(layer.latency.count > 0);
    strata_close(other);
    strata_close(cache);
}

static void *be_inside(void *ctx)
{
    struct reader *reader = ctx;
    assert_int_equal(get(reader->cache, 3), STRATA_OK);
    struct reclaim_record *r = reclaim_self();
    reclaim_enter(r);
    atomic_store(&reader->inside, 1);
    while (!atomic_load(&reader->may_go))
        sched_yield();
    reclaim_leave(r);
    return NULL;
}

static void closing_waits_for_who_is_inside(void **state)
{
    (void)state;
    struct reader reader = { .cache = open_cache() };
    pthread_t thread;
    put(reader.cache, 3, FAR_MS);
    assert_int_equal(pthread_create(&thread, NULL, be_inside, &reader), 0);
    while (!atomic_load(&reader.inside))
        sched_yield();
    assert_int_equal(strata_close_within(reader.cache, 20), STRATA_ETIMEDOUT);
    atomic_store(&reader.may_go, 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(strata_close_within(reader.cache, 60000), STRATA_OK);
}

/* Closing goes on where it was: who is inside again came after the gate was shut, and others are looked at no more. */
static void who_is_inside_again_is_not_waited_for(void **state)
{
    (void)state;
    struct reader readers[2] = { { .cache = open_cache() }, { .cache = NULL } };
    struct reclaim_walk walk = { 0 };
    pthread_t threads[2];
    put(readers[0].cache, 3, FAR_MS);
    readers[1].cache = readers[0].cache;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, be_inside, &readers[i]), 0);
        while (!atomic_load(&readers[i].inside))
            sched_yield();
    }
    assert_int_equal(strata__hits_over(&walk), 0);
    for (int i = 0; i < 2; i++) {
        struct reclaim_record *r = walk.at;
        assert_int_equal(walk.section & 1, 1);
        reclaim_leave(r);
        reclaim_enter(r);
        assert_int_equal(strata__reclaim_quiesce(0), 0);
        assert_int_equal(strata__hits_over(&walk), i);
    }
    assert_int_equal(strata__hits_over(&walk), 1);
    for (int i = 0; i < 2; i++) {
        atomic_store(&readers[i].may_go, 1);
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    strata_close(readers[0].cache);
}

/* In a section when the cache is shut: refused, and counted as one that was. */
static void who_comes_too_late_is_refused(void **state)
{
    (void)state;
    strata *cache = open_cache();
    put(cache, 3, FAR_MS);
    assert_int_equal(get(cache, 3), STRATA_OK);
    uint32_t gate = atomic_load(&cache->gate);
    atomic_store(&cache->gate, GATE_SHUT);
    atomic_store(&cache->root->state, ROOT_CLOSING);
    strata_value *v = (strata_value *)(uintptr_t)8;
    assert_int_equal(strata_get(cache, key_of(3), &v, NULL), STRATA_ECLOSED);
    assert_null(v);
    if (strata__reclaim_mine != NULL)
        assert_int_equal(strata__reclaim_mine->section & 1, 0);
    atomic_store(&cache->root->state, ROOT_OPEN);
    atomic_store(&cache->gate, gate);
    assert_int_equal(get(cache, 3), STRATA_OK);
    strata_close(cache);
}

static int no_rseq(const char *call, void *ctx)
{
    (void)ctx;
    return strcmp(call, "rseq") == 0 ? ENOSYS : 0;
}

/* What this thread goes by, and the caches that it opens. */
static int go_by(const struct os_fault_hook *hook)
{
    struct reclaim_record *r = reclaim_self();
    strata__os_fault_set(hook);
    r->watched = strata__os_watch_word(&r->watch);
    os_bound_forget(&r->bound);
    return 0;
}

static int by_watch(void **state)
{
    (void)state;
    return go_by(NULL);
}

static int by_time(void **state)
{
    static const struct os_fault_hook without = { .decide = no_rseq };
    (void)state;
    return go_by(&without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whichever_way_it_is_a_hit),
        cmocka_unit_test(what_has_expired_is_none),
        cmocka_unit_test(a_pin_is_given_back_outside_of_the_section),
        cmocka_unit_test(an_expired_key_is_stale_at_once),
        cmocka_unit_test(a_pin_shared_and_back_is_as_new),
        cmocka_unit_test(policies_hear_of_hits),
        cmocka_unit_test(the_order_of_use_is_exact),
        cmocka_unit_test(wrong_arguments_are_told_and_not_counted),
        cmocka_unit_test(loads_go_the_same_ways),
        cmocka_unit_test(some_looks_are_timed),
        cmocka_unit_test(who_asks_two_in_turns_times_both),
        cmocka_unit_test(closing_waits_for_who_is_inside),
        cmocka_unit_test(who_is_inside_again_is_not_waited_for),
        cmocka_unit_test(who_comes_too_late_is_refused),
    };
    int failed = cmocka_run_group_tests_name("hits by watch", tests, by_watch, NULL);
    failed += cmocka_run_group_tests_name("hits by time", tests, by_time, by_watch);
    evict = STRATA_EVICT_LRU;
    failed += cmocka_run_group_tests_name("hits by watch, told to the policy", tests, by_watch, NULL);
    return failed + cmocka_run_group_tests_name("hits by time, told to the policy", tests, by_time, by_watch);
}
