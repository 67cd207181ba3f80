/* test_coherence_leases.c - one load for all nodes: what goes wrong elsewhere when its node dies, is slow, fails, or has no server.  Each
 * case is one complaint of users of other caches, over the public API and a real server. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

#include "tests/regress/coherence_rows.h"

enum { READERS = 10, HOUR_MS = 3600000 };

/* An origin that is asked by many: it counts, and may hold who asks. */
struct origin {
    _Atomic(int) calls, inside, most_inside, held;
    int end; /* 0: a value; else as below */
};
enum { ENDS_DECLINED = 1, ENDS_ABSENT, ENDS_FAILED };

static int ask_origin(strata_load *load, strata_slice key, void *ctx)
{
    struct origin *o = ctx;
    char text[16];
    (void)key;
    int call = atomic_fetch_add(&o->calls, 1) + 1;
    int inside = atomic_fetch_add(&o->inside, 1) + 1, most = atomic_load(&o->most_inside);
    while (inside > most && !atomic_compare_exchange_weak(&o->most_inside, &most, inside))
        ;
    do
        redis_cache_nap(1);
    while (atomic_load(&o->held));
    atomic_fetch_sub(&o->inside, 1);
    (void)snprintf(text, sizeof text, "%d", call);
    switch (o->end) {
    case ENDS_DECLINED: return strata_load_decline(load, text, strlen(text));
    case ENDS_ABSENT: return strata_load_absent(load);
    case ENDS_FAILED: return strata_load_fail(load, STRATA_ELOADER, "the origin is down");
    default: return strata_load_copy(load, text, strlen(text));
    }
}

struct reader {
    strata *cache;
    struct origin *origin;
    const strata_policy *policy;
    char key[16], got[32];
    int status;
    pthread_t thread;
};

static void *get_or_load(void *ctx)
{
    struct reader *r = ctx;
    strata_value *v = NULL;
    r->status = strata_get_or_load(r->cache, strata_str(r->key), ask_origin, r->origin, r->policy, &v, NULL);
    if (v != NULL && strata_value_size(v) < sizeof r->got)
        memcpy(r->got, strata_value_data(v), strata_value_size(v));
    strata_value_unref(v);
    return NULL;
}

static void start(struct reader *r, strata *cache, struct origin *origin, const char *key)
{
    *r = (struct reader){ .cache = cache, .origin = origin };
    (void)snprintf(r->key, sizeof r->key, "%s", key);
    assert_int_equal(pthread_create(&r->thread, NULL, get_or_load, r), 0);
}

static void join(struct reader *r) { assert_int_equal(pthread_join(r->thread, NULL), 0); }

static void until(_Atomic(int) *number, int is)
{
    while (atomic_load(number) < is)
        redis_cache_nap(1);
}

/* One load for all -------------------------------------------------------------------------------------------------------- */

static uint64_t joins_of(strata *cache)
{
    strata_stats s = STRATA_STATS_INIT;
    assert_int_equal(strata_stats_get(cache, &s), STRATA_OK);
    return s.joins;
}

/* survey 7, 8: every node loads a key that is missing, or each of its threads asks the server again and again whether the load is
 * over. */
static void one_load_for_all_threads_of_all_nodes(void **state)
{
    struct fleet_of_two f;
    struct origin o = { .held = 1 };
    struct reader r[NODES][READERS];
    (void)state;
    open_shaped(&f, &(struct shape){ .lease_wait_ms = HOUR_MS, .lease_ms = HOUR_MS });
    uint64_t asked_before = asked(f.node[1]);
    start(&r[0][0], f.node[0], &o, "k");
    until(&o.calls, 1);
    for (int n = 0; n < NODES; n++)
        for (int i = n == 0; i < READERS; i++)
            start(&r[n][i], f.node[n], &o, "k");
    while (joins_of(f.node[0]) < READERS - 1 || joins_of(f.node[1]) < READERS - 1)
        redis_cache_nap(1);
    redis_cache_nap(100);                              /* time to ask in, for who would */
    assert_true(asked(f.node[1]) - asked_before <= 3); /* one for all its threads: a look, and its lease */
    atomic_store(&o.held, 0);
    for (int n = 0; n < NODES; n++)
        for (int i = 0; i < READERS; i++) {
            join(&r[n][i]);
            assert_int_equal(r[n][i].status, STRATA_OK);
            assert_string_equal(r[n][i].got, "1");
        }
    assert_int_equal(atomic_load(&o.calls), 1);
    assert_true(redis_cache_stats(f.node[1], 1).leases_awaited <= 1);
    close_fleet(&f);
}

/* A process of its own that begins to load, and never ends.  Forked before this one has any thread. */
static pid_t fork_a_loader(const struct fleet_of_two *f, const struct shape *shape, int *out_says, int *out_go)
{
    int says[2], go[2];
    char byte;
    assert_true(pipe(says) == 0 && pipe(go) == 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
#if defined(__linux__)
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
        struct origin o = { .held = 1 };
        struct reader r;
        (void)!read(go[0], &byte, 1);
        start(&r, open_node(f, shape), &o, "k");
        until(&o.calls, 1);
        (void)!write(says[1], "l", 1);
        for (;;)
            pause();
    }
    close(says[1]);
    close(go[0]);
    *out_says = says[0];
    *out_go = go[1];
    return pid;
}

/* survey 6: the node that loads dies, and all that waited for it load. */
static void who_dies_loading_has_one_successor(void **state)
{
    struct fleet_of_two f;
    struct origin o = { 0 };
    struct reader r[NODES][READERS];
    struct shape shape = { .lease_ms = 5000, .lease_wait_ms = HOUR_MS };
    int says, go;
    char byte;
    (void)state;
    memset(&f, 0, sizeof f);
    redis_server_start(&f.server, NULL);
    pid_t pid = fork_a_loader(&f, &shape, &says, &go);
    assert_int_equal(write(go, "g", 1), 1);
    assert_int_equal(read(says, &byte, 1), 1);
    f.redis_cli = redis_do_open(&f.server);
    for (int n = 0; n < NODES; n++)
        f.node[n] = open_node(&f, &shape);
    for (int n = 0; n < NODES; n++)
        for (int i = 0; i < READERS; i++)
            start(&r[n][i], f.node[n], &o, "k");
    while (joins_of(f.node[0]) < READERS - 1 || joins_of(f.node[1]) < READERS - 1)
        redis_cache_nap(1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    for (int n = 0; n < NODES; n++)
        for (int i = 0; i < READERS; i++) {
            join(&r[n][i]);
            assert_int_equal(r[n][i].status, STRATA_OK);
            assert_string_equal(r[n][i].got, "1");
        }
    assert_int_equal(atomic_load(&o.calls), 1);
    close(says);
    close(go);
    close_fleet(&f);
}

/* Loads that bring nothing, are slow, or lose their server ------------------------------------------------------------------ */

/* survey 9, W14: what was loaded is not cached, or was not to be had, and whoever waits for it goes on waiting for its whole time, or
 * for that of the lease. */
static void a_load_that_stores_nothing_keeps_nobody_waiting(void **state)
{
    static const int ends[] = { ENDS_DECLINED, ENDS_ABSENT, ENDS_FAILED };
    struct fleet_of_two f;
    (void)state;
    open_shaped(&f, &(struct shape){ .lease_wait_ms = HOUR_MS, .lease_ms = HOUR_MS }); /* longer than any test */
    for (int i = 0; i < 3; i++) {
        struct origin first = { .held = 1, .end = ends[i] }, second = { 0 };
        struct reader r[2];
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i);
        start(&r[0], f.node[0], &first, key);
        until(&first.calls, 1);
        start(&r[1], f.node[1], &second, key);
        redis_cache_nap(20); /* so that it waits, as a rule */
        atomic_store(&first.held, 0);
        for (int n = 0; n < 2; n++)
            join(&r[n]);
        assert_int_equal(r[0].status, ends[i] == ENDS_ABSENT   ? STRATA_ABSENT
                                      : ends[i] == ENDS_FAILED ? STRATA_ELOADER
                                                               : STRATA_OK);
        assert_int_equal(atomic_load(&first.calls), 1); /* nobody takes a loader's failure for the store's */
        assert_int_equal(r[1].status, STRATA_OK);
        assert_string_equal(r[1].got, "1");
        assert_int_equal(atomic_load(&second.calls), 1);
    }
    close_fleet(&f);
}

/* W14: a load that is slower than the wait fails those who waited. */
static void a_load_slower_than_the_wait_fails_nobody(void **state)
{
    struct fleet_of_two f;
    struct origin slow = { .held = 1 }, other = { 0 };
    struct reader r[2];
    (void)state;
    open_shaped(&f, &(struct shape){ .lease_wait_ms = 50, .lease_ms = HOUR_MS });
    start(&r[0], f.node[0], &slow, "k");
    until(&slow.calls, 1);
    start(&r[1], f.node[1], &other, "k");
    join(&r[1]);
    assert_int_equal(r[1].status, STRATA_OK);
    assert_int_equal(atomic_load(&other.calls), 1);
    atomic_store(&slow.held, 0);
    join(&r[0]);
    assert_int_equal(r[0].status, STRATA_OK);
    redis_cache_expect(f.node[0], "k", STRATA_OK, "1");
    close_fleet(&f);
}

/* W14: the server goes away while a value is loaded, and what was loaded is thrown away, or loaded once more. */
static void a_server_that_dies_meanwhile_costs_no_value(void **state)
{
    struct fleet_of_two f;
    struct origin o = { .held = 1 };
    struct reader r;
    (void)state;
    open_shaped(&f, &(struct shape){ .timeout_ms = 300 });
    start(&r, f.node[0], &o, "k");
    until(&o.calls, 1);
    redis_server_kill(&f.server);
    atomic_store(&o.held, 0);
    join(&r);
    assert_int_equal(r.status, STRATA_OK);
    assert_string_equal(r.got, "1");
    assert_int_equal(atomic_load(&o.calls), 1);
    redis_server_restart(&f.server);
    for (int n = 0; n < NODES; n++)
        assert_true(strata_close(f.node[n]) >= 0);
    strata__redis_close(f.redis_cli);
    redis_server_stop(&f.server);
}

/* survey 10: the server stalls, nobody gets a lease, and every caller asks the origin at once. */
static void a_server_that_stalls_sends_no_herd_to_the_origin(void **state)
{
    enum { HERD = 24 };
    struct fleet_of_two f;
    struct origin o = { 0 };
    struct reader r[HERD];
    (void)state;
    open_shaped(&f, &(struct shape){ .timeout_ms = 100, .unleased = 2 });
    redis_server_pause(&f.server);
    for (int i = 0; i < HERD; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i);
        start(&r[i], f.node[0], &o, key);
    }
    for (int i = 0; i < HERD; i++) {
        join(&r[i]);
        assert_int_equal(r[i].status, STRATA_OK);
    }
    redis_server_resume(&f.server);
    /* One more is let in where nothing has moved for a second, as on a machine that has stood still. */
    assert_in_range(atomic_load(&o.most_inside), 1, HERD / 3);
    assert_int_equal(atomic_load(&o.calls), HERD);
    for (int n = 0; n < NODES; n++)
        assert_true(strata_close(f.node[n]) >= 0);
    strata__redis_close(f.redis_cli);
    redis_server_stop(&f.server);
}

/* survey 9: whoever waits for a lock has a connection of his own. */
static void threads_of_a_node_share_its_connections(void **state)
{
    enum { MANY_READERS = 40 };
    static struct reader r[MANY_READERS];
    struct fleet_of_two f;
    struct origin o = { .held = 1 };
    (void)state;
    open_fleet(&f);
    for (int i = 0; i < MANY_READERS; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i);
        start(&r[i], f.node[i % 2], &o, key);
    }
    until(&o.calls, MANY_READERS);
    struct redis_answer info = redis_do(f.redis_cli, "INFO", "clients");
    const char *at = strstr(info.text, "connected_clients:");
    assert_non_null(at);
    assert_in_range(strtol(at + strlen("connected_clients:"), NULL, 10), 3, MANY_READERS / 2);
    atomic_store(&o.held, 0);
    for (int i = 0; i < MANY_READERS; i++)
        join(&r[i]);
    close_fleet(&f);
}

/* W6: a refresh ahead of expiry finds the value in the store, still fresh, and never asks the origin. */
static void a_refresh_ahead_asks_the_origin(void **state)
{
    static const strata_policy policy = { STRATA_SIZED(strata_policy), .ttl_ms = HOUR_MS,
                                          .refresh_ahead_ms = HOUR_MS - 1 };
    struct fleet_of_two f;
    struct origin o = { 0 };
    struct reader r = { .origin = &o, .policy = &policy, .key = "k" };
    (void)state;
    open_fleet(&f);
    r.cache = f.node[0];
    (void)get_or_load(&r);
    assert_string_equal(r.got, "1");
    for (int look = 0; strcmp(r.got, "1") == 0; look++) {
        if (look == LOOKS)
            fail_msg("it was never refreshed");
        redis_cache_nap(5);
        (void)get_or_load(&r);
        assert_true(r.status >= 0);
    }
    assert_true(atomic_load(&o.calls) > 1);
    char got[32] = "1";
    strata_error err;
    for (int look = 0; strcmp(got, "1") == 0 || got[0] == '\0';
         look++) { /* nor does the other node keep the first one */
        if (look == LOOKS)
            fail_msg("the other node has \"%s\"", got);
        (void)redis_cache_get(f.node[1], "k", got, sizeof got, &err);
        redis_cache_nap(2);
    }
    close_fleet(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_dies_loading_has_one_successor), /* first: it forks */
        cmocka_unit_test(one_load_for_all_threads_of_all_nodes),
        cmocka_unit_test(a_load_that_stores_nothing_keeps_nobody_waiting),
        cmocka_unit_test(a_load_slower_than_the_wait_fails_nobody),
        cmocka_unit_test(a_server_that_dies_meanwhile_costs_no_value),
        cmocka_unit_test(a_server_that_stalls_sends_no_herd_to_the_origin),
        cmocka_unit_test(threads_of_a_node_share_its_connections),
        cmocka_unit_test(a_refresh_ahead_asks_the_origin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
