/* test_lease_schedules.c - several caches over one store that gives leases: small random programs, thousands of schedules.
 *
 * A seed gives policies, a program and the order in which everything runs; half of the seeds have a store that fails, loses its
 * leases, or forgets all.  What must hold:
 *
 *   an accepted call completes exactly once, and when all loads are completed, every call is: nothing waits for ever;
 *   a key has one load in progress in the whole fleet, unless the one before was given up, or its key was written since;
 *   a node reads nothing older than what it has deleted or set itself;
 *   once all is quiet, the store holds nothing that was superseded, and every lease has ended;
 *   nothing leaks.
 *
 * STRATA_SEED=n runs that one seed; STRATA_SEEDS=n runs so many. */
#include "tests/support/fail_alloc.h"
#include "tests/unit/lease_fixture.h"

#include "src/base/hash.h"

enum { KEYS = 3, STEPS = 50, CALLS_MOST = 200, LOADS_MOST = 600, WAIT_LONG = 100000, REFRESH_MS = 60 };

enum kind { KIND_LOAD, KIND_GET, KIND_LOAD_MANY, KIND_DELETE, KIND_SET, KIND_CLEAR, KIND_END };

struct payload {
    uint64_t key, version;
};

struct call {
    enum kind kind;
    int node, accepted, done, off;
    size_t key;
    uint64_t version[KEYS]; /* a read's: what must not be older; a write's: what it makes true */
    strata_item items[2];
    strata_item_loader each[2]; /* of every second call for many; else one loader for both */
};

struct load {
    strata_load *load;
    size_t key;
    int node, completed, off, returned;
    uint64_t version;
};

static struct {
    uint64_t seed, random;
    struct fleet fleet;
    struct fail_alloc alloc;
    int faulty, short_waits, closing, depth, no_memory_left;
    struct call calls[CALLS_MOST];
    size_t call_count;
    struct load loads[LOADS_MOST];
    size_t load_count;
    uint64_t origin[KEYS];
    int64_t written_ms[KEYS]; /* when a write of it last began or ended: leases that were got before are lost */
    int writing[KEYS];        /* of them at work */
    int taken_out[KEYS];      /* by a load that found it absent: that may come when the next one has begun */
    uint64_t node_floor[NODES][KEYS], store_floor[KEYS];
} w;

_Noreturn static void broken(const char *what, int line)
{
    fprintf(stderr, "%d: not so: %s; STRATA_SEED=%llu shows it again\n", line, what, (unsigned long long)w.seed);
    abort();
}
#define CHECK(what) \
    do { \
        if (!(what)) \
            broken(#what, __LINE__); \
    } while (0)

static uint64_t draw(uint64_t below)
{
    w.random += 0x9e3779b97f4a7c15u;
    return strata__mix64(w.random) % below;
}

static strata_slice key_of(size_t k) { return strata_bytes(&"abc"[k], 1); }
static size_t number_of(strata_slice key) { return (size_t)(*(const char *)key.data - 'a'); }

static uint64_t version_of(const strata_value *v, size_t k)
{
    struct payload p;
    CHECK(strata_value_size(v) == sizeof p);
    memcpy(&p, strata_value_data(v), sizeof p);
    CHECK(p.key == k);
    return p.version;
}

/* Loads --------------------------------------------------------------------------------------------------------------- */

/* It may store nothing, so it is no reason for others to wait. */
static int is_void(const strata_load *load)
{
    const struct flight *f = flight_of_load(load);
    return f->poisoned || cleared_since(f->handle, f->position) || strata_load_canceled(load);
}

static int given_up(const struct load *l)
{
    return l->completed || l->off || is_void(l->load) || flight_of_load(l->load)->begun_ms <= w.written_ms[l->key];
}

static struct load *note_load(strata_load *load, size_t k, int node, int off)
{
    CHECK(w.load_count < LOADS_MOST);
    struct load *mine = &w.loads[w.load_count++];
    *mine = (struct load){ .load = strata_load_ref(load), .key = k, .node = node, .off = off, .version = w.origin[k] };
    if (w.faulty || w.short_waits || w.closing || off || w.writing[k] || w.taken_out[k] || is_void(load))
        return mine;
    for (size_t i = 0; i < w.load_count; i++) {
        const struct load *l = &w.loads[i];
        CHECK(l == mine || l->key != k || l->load == NULL || given_up(l));
    }
    return mine;
}

static void give_back(struct load *l)
{
    strata_load *load = l->load;
    l->load = NULL;
    strata_load_unref(load);
}

static void finish(struct load *l)
{
    struct payload p = { l->key, l->version };
    strata_load *load = l->load;
    l->completed = 1;
    switch (draw(12)) {
    case 0: strata_load_fail(load, STRATA_EIO, NULL); break;
    case 1:
        w.taken_out[l->key] |= strata_load_previous(load) != NULL;
        strata_load_absent(load);
        break;
    case 2: strata_load_decline(load, &p, sizeof p); break;
    case 3:
        if (strata_load_previous(load) != NULL && version_of(strata_load_previous(load), l->key) == l->version) {
            strata_load_not_modified(load);
            break;
        } /* fall through */
    default: strata_load_copy(load, &p, sizeof p); break;
    }
}

static int load_one(strata_load *load, strata_slice key, void *ctx);

/* Asks its own node for another key: no circle among nodes, for it is a later one. */
static void load_another(int node, size_t k)
{
    strata_value *v = NULL;
    if (k + 1 >= KEYS || w.depth > 1 || w.closing)
        return;
    w.depth++;
    (void)strata_get_or_load(w.fleet.node[node], key_of(k + 1), load_one, (void *)(uintptr_t)(2 * node), NULL, &v, NULL);
    w.depth--;
    strata_value_unref(v);
}

static int begin_load(strata_load *load, size_t k, void *ctx)
{
    int node = (int)((uintptr_t)ctx / 2), off = (int)((uintptr_t)ctx % 2);
    struct load *l = note_load(load, k, node, off);
    struct parker parker = { 0 };
    switch (draw(6)) {
    case 0:
    case 1: l->returned = 1; return STRATA_PENDING;
    case 2: ex_park(w.fleet.sim, &parker, ex_now_ms(w.fleet.sim) + 1 + (int64_t)draw(8)); break;
    case 3: load_another(node, k); break;
    default: break;
    }
    finish(l);
    give_back(l);
    return STRATA_OK;
}

static int load_one(strata_load *load, strata_slice key, void *ctx) { return begin_load(load, number_of(key), ctx); }

static int load_some(strata_load *const *loads, const strata_slice *keys, size_t count, void *ctx)
{
    int pending = 0;
    for (size_t i = 0; i < count; i++)
        pending |= begin_load(loads[i], number_of(keys[i]), ctx) == STRATA_PENDING;
    return pending ? STRATA_PENDING : STRATA_OK;
}

static void complete_some_load(void)
{
    size_t from = w.load_count != 0 ? draw(w.load_count) : 0;
    for (size_t i = 0; i < w.load_count; i++) {
        struct load *l = &w.loads[(from + i) % w.load_count];
        if (l->load == NULL || !l->returned)
            continue;
        if (draw(8) != 0)
            finish(l);
        l->completed = 1;
        give_back(l);
        return;
    }
}

/* Calls ---------------------------------------------------------------------------------------------------------------- */

static void judge_read(const struct call *c, size_t k, int status, strata_value *v)
{
    if (status == STRATA_OK || status == STRATA_STALE) {
        uint64_t version = version_of(v, k);
        CHECK(version >= c->version[k]);
        CHECK(version <= w.origin[k]);
    }
    strata_value_unref(v);
}

static void raise_floor(uint64_t *floor, uint64_t version)
{
    if (*floor < version)
        *floor = version;
}

static int writes_key(const struct call *c, size_t k)
{
    return c->kind == KIND_CLEAR || ((c->kind == KIND_DELETE || c->kind == KIND_SET) && c->key == k);
}

static void judge(struct call *c, int status, strata_value *value)
{
    if (c->kind == KIND_LOAD_MANY)
        for (int i = 0; i < 2; i++) /* STRATA_ECLOSED: as a whole, and its items were not looked at */
            judge_read(c, number_of(c->items[i].key), status == STRATA_ECLOSED ? status : c->items[i].status,
                       c->items[i].value);
    else if (c->kind == KIND_LOAD || c->kind == KIND_GET)
        judge_read(c, c->key, status, value);
    for (size_t k = 0; k < KEYS; k++) {
        if (!writes_key(c, k))
            continue;
        w.writing[k]--;
        w.written_ms[k] = ex_now_ms(w.fleet.sim);
        if (status != STRATA_OK)
            continue;
        raise_floor(&w.node_floor[c->node][k], c->version[k]);
        raise_floor(&w.store_floor[k], c->version[k]);
    }
}

static void on_done(int status, strata_value *value, const strata_error *err, void *ctx)
{
    struct call *c = ctx;
    (void)err;
    CHECK(c->accepted && !c->done);
    c->done = 1;
    judge(c, status, value);
}

/* Two sets of a key at once have no order among nodes: so a write of a key is alone. */
static int may_write(const struct call *c)
{
    for (size_t k = 0; k < KEYS; k++)
        if (writes_key(c, k) && w.writing[k])
            return 0;
    return 1;
}

static struct call *new_call(void)
{
    static const unsigned char kinds[] = { 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 5 };
    CHECK(w.call_count < CALLS_MOST);
    struct call *c = &w.calls[w.call_count];
    memset(c, 0, sizeof *c);
    c->kind = (enum kind)kinds[draw(draw(20) == 0 ? 16 : 15)];
    c->node = (int)draw(NODES);
    c->key = draw(KEYS);
    memcpy(c->version, w.node_floor[c->node], sizeof c->version);
    size_t first = draw(KEYS);
    c->items[0].key = key_of(first);
    c->items[1].key = key_of((first + 1 + draw(KEYS - 1)) % KEYS);
    if (!may_write(c))
        return NULL;
    for (size_t k = 0; k < KEYS; k++) {
        if (!writes_key(c, k))
            continue;
        w.writing[k]++;
        w.written_ms[k] = ex_now_ms(w.fleet.sim);
        c->version[k] = ++w.origin[k];
    }
    w.call_count++;
    return c;
}

static void start_some_call(strata_policy policy)
{
    struct call *c = new_call();
    if (c == NULL)
        return;
    strata *node = w.fleet.node[c->node];
    strata_slice key = key_of(c->key);
    struct payload p = { c->key, c->version[c->key] };
    int off = policy.single_flight == STRATA_OFF, rc;
    void *ctx = (void *)(uintptr_t)(2 * c->node + off);
    c->accepted = 1;
    switch (c->kind) {
    case KIND_LOAD: rc = strata_get_or_load_async(node, key, load_one, ctx, &policy, NULL, on_done, c, NULL); break;
    case KIND_GET: rc = strata_get_async(node, key, NULL, on_done, c, NULL); break;
    case KIND_LOAD_MANY:
        c->each[0] = c->each[1] = (strata_item_loader){ load_one, ctx };
        rc = w.call_count % 2 != 0
                 ? strata_get_or_load_many_async(node, c->items, 2, load_some, ctx, &policy, NULL, on_done, c, NULL)
                 : strata_get_or_load_each_async(node, c->items, c->each, 2, &policy, NULL, on_done, c, NULL);
        break;
    case KIND_DELETE: rc = strata_delete_async(node, key, NULL, on_done, c, NULL); break;
    case KIND_SET: rc = strata_set_async(node, key, strata_bytes(&p, sizeof p), NULL, NULL, on_done, c, NULL); break;
    default: rc = strata_clear_async(node, NULL, on_done, c, NULL); break;
    }
    if (rc == STRATA_PENDING)
        return;
    CHECK(rc == STRATA_ENOMEM && w.no_memory_left);
    c->done = 1;
    judge(c, rc, NULL);
}

/* By the test's own thread; loads may never complete, so they have a hard timeout. */
static void make_some_call(strata_policy policy)
{
    struct call *c = new_call();
    if (c == NULL)
        return;
    strata *node = w.fleet.node[c->node];
    strata_slice key = key_of(c->key);
    struct payload p = { c->key, c->version[c->key] };
    strata_value *v = NULL;
    int status;
    policy.hard_timeout_ms = 10;
    void *ctx = (void *)(uintptr_t)(2 * c->node + (policy.single_flight == STRATA_OFF));
    c->accepted = 1;
    switch (c->kind) {
    case KIND_LOAD: status = strata_get_or_load(node, key, load_one, ctx, &policy, &v, NULL); break;
    case KIND_GET: status = strata_get(node, key, &v, NULL); break;
    case KIND_LOAD_MANY:
        c->each[0] = c->each[1] = (strata_item_loader){ load_one, ctx };
        status = w.call_count % 2 != 0 ? strata_get_or_load_many(node, c->items, 2, load_some, ctx, &policy, NULL)
                                       : strata_get_or_load_each(node, c->items, c->each, 2, &policy, NULL);
        break;
    case KIND_DELETE: status = strata_delete(node, key, NULL); break;
    case KIND_SET: status = strata_set(node, key, strata_bytes(&p, sizeof p), NULL, NULL); break;
    default: status = strata_clear(node, NULL); break;
    }
    c->done = 1;
    judge(c, status, v);
}

/* A program ------------------------------------------------------------------------------------------------------------ */

static strata_policy random_policy(void)
{
    strata_policy p = { STRATA_SIZED(strata_policy), .ttl_ms = 5 + (int64_t)draw(60), .refresh_timeout_ms = REFRESH_MS };
    if (draw(3) == 0)
        p.negative_ttl_ms = 10;
    if (draw(3) == 0)
        p.hard_timeout_ms = 1 + (int64_t)draw(30);
    if (p.hard_timeout_ms > 0 && draw(2) == 0)
        p.background_completion = STRATA_ON;
    if (draw(12) == 0)
        p.single_flight = STRATA_OFF;
    if (draw(12) == 0)
        p.ttl_ms = STRATA_OFF;
    if (draw(3) == 0)
        p.stale_while_revalidate_ms = 30;
    if (draw(4) == 0)
        p.stale_if_error_ms = 40;
    if (draw(4) == 0)
        p.keep_ms = 40;
    if (draw(4) == 0 && p.ttl_ms > 20)
        p.refresh_ahead_ms = 10;
    p.retry_ms = 5;
    return p;
}

static void trouble(void)
{
    static const int fails[] = { STRATA_OK, STRATA_OK, STRATA_EIO, STRATA_ETIMEDOUT };
    static const uint32_t kinds[] = { STRATA_OP_GET, STRATA_OP_PUT, STRATA_OP_LEASE };
    struct lease_store *s = w.fleet.store;
    switch (draw(4)) {
    case 0: lease_store_kill_leases(s); break;
    case 1: lease_store_flush(s); break;
    default: lease_store_fail(s, kinds[draw(3)], fails[draw(4)]); break;
    }
}

static void run_program(void)
{
    for (int i = 0; i < STEPS; i++) {
        uint64_t what = draw(20);
        if (what < 9)
            start_some_call(random_policy());
        else if (what < 12)
            make_some_call(random_policy());
        else if (what < 15)
            for (uint64_t n = draw(8); n > 0; n--)
                strata__executor_sim_step(w.fleet.sim);
        else if (what < 17)
            fleet_pass(&w.fleet, (int64_t)draw(12));
        else if (what < 19 || !w.faulty)
            complete_some_load();
        else
            trouble();
    }
}

static size_t count_open(void)
{
    size_t open = 0;
    for (size_t i = 0; i < w.call_count; i++)
        open += (size_t)!w.calls[i].done;
    return open;
}

/* Every load is completed: then every call is, long before any wait for a lease is over. */
static void settle(void)
{
    int64_t began = ex_now_ms(w.fleet.sim);
    for (int round = 0; round < 3000 && count_open() != 0; round++) {
        complete_some_load();
        fleet_pass(&w.fleet, 3);
    }
    CHECK(count_open() == 0);
    CHECK(ex_now_ms(w.fleet.sim) - began < WAIT_LONG / 2);
    for (int round = 0; round < 50; round++) {
        complete_some_load();
        fleet_pass(&w.fleet, 10);
    }
}

static void check_store(void)
{
    struct lease_store_counts counts = store_counts(&w.fleet);
    CHECK(counts.granted == counts.ended);
    CHECK(counts.waiting == 0);
    for (size_t k = 0; k < KEYS; k++) {
        struct payload p;
        strata_meta meta;
        if (lease_store_value(w.fleet.store, key_of(k), &p, sizeof p, &meta) != sizeof p)
            continue;
        CHECK(p.key == k && p.version >= w.store_floor[k]);
    }
}

static void open_world(uint64_t seed)
{
    memset(&w, 0, sizeof w);
    w.seed = w.random = seed;
    fail_alloc_init(&w.alloc, 0);
    w.faulty = draw(2) == 0;
    w.short_waits = draw(4) == 0;
    strata_policy policy = random_policy();
    policy.single_flight = 0;
    struct fleet_options o = { .seed = seed,
                               .most_ms = (int64_t)draw(4),
                               .wait_ms = w.short_waits ? 4 : WAIT_LONG,
                               .policy = &policy,
                               .allocator = &w.alloc.mem,
                               .max_queued = draw(3) == 0 ? 1 : 0,
                               .max_unleased = draw(3) == 0 ? 1 : 0,
                               .no_memory = draw(6) == 0 };
    fleet_open(&w.fleet, &o);
}

static void close_world(void)
{
    w.closing = 1;
    for (int i = 0; i < NODES; i++)
        CHECK(strata_close(w.fleet.node[i]) == STRATA_OK);
    CHECK(count_open() == 0);
    for (size_t i = 0; i < w.load_count; i++)
        if (w.loads[i].load != NULL)
            give_back(&w.loads[i]);
    CHECK(lease_store_free(w.fleet.store) == 0);
    w.fleet.sim->ops->stop(w.fleet.sim);
    CHECK(w.alloc.live == 0);
}

static struct {
    uint64_t leases, waits, lost, timeouts;
} seen;

static void count_seen(void)
{
    for (int i = 0; i < NODES; i++) {
        strata_stats s = node_stats(&w.fleet, i);
        seen.leases += s.leases;
        seen.waits += s.lease_waits;
        seen.lost += s.leases_lost;
        seen.timeouts += s.lease_timeouts;
    }
}

static void run_seed(uint64_t seed)
{
    open_world(seed);
    run_program();
    if (draw(2) == 0) {
        lease_store_fail(w.fleet.store, STRATA_OP_GET, STRATA_OK);
        lease_store_fail(w.fleet.store, STRATA_OP_LEASE, STRATA_OK);
        lease_store_fail(w.fleet.store, STRATA_OP_PUT, STRATA_OK);
        settle();
        check_store();
        count_seen();
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
    print_message("leases %llu, waits %llu, lost %llu, timeouts %llu\n", (unsigned long long)seen.leases,
                  (unsigned long long)seen.waits, (unsigned long long)seen.lost, (unsigned long long)seen.timeouts);
    assert_true(seen.leases > count && seen.waits > count / 20 && seen.lost > count / 50 && seen.timeouts > count / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_seed_keeps_the_promises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
