/* test_redis_origin.c - what protects an origin, over a real Redis that two nodes share: whom a breaker, a limit or load_limit_ms turns away
 * holds no lease, so that the other node loads and stores; and all of it goes on while the server is gone, and when it is back. */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/redis_cache.h"
#include "tests/support/redis_server.h"

enum { NODES = 2 };

static struct redis_server server;
static strata *node[NODES];
static strata_error err;

/* An origin that fails, hangs, or gives `text`. */
struct origin {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int hangs, entered; /* entered: loaders that hang, or have hung */
    _Atomic(int) calls, fails;
    const char *text;
};

static void origin_init(struct origin *o, const char *text)
{
    memset(o, 0, sizeof *o);
    pthread_mutex_init(&o->mutex, NULL);
    pthread_cond_init(&o->changed, NULL);
    o->text = text;
}

static int load(strata_load *load, strata_slice key, void *ctx)
{
    struct origin *o = ctx;
    (void)key;
    atomic_fetch_add(&o->calls, 1);
    pthread_mutex_lock(&o->mutex);
    o->entered += o->hangs;
    pthread_cond_broadcast(&o->changed);
    while (o->hangs)
        pthread_cond_wait(&o->changed, &o->mutex);
    pthread_mutex_unlock(&o->mutex);
    if (atomic_load(&o->fails))
        return strata_load_fail(load, STRATA_ELOADER, "the origin is down");
    return strata_load_copy(load, o->text, strlen(o->text));
}

static void origin_hangs(struct origin *o, int hangs)
{
    pthread_mutex_lock(&o->mutex);
    o->hangs = hangs;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->mutex);
}

static void await_entered(struct origin *o, int count)
{
    pthread_mutex_lock(&o->mutex);
    while (o->entered < count)
        pthread_cond_wait(&o->changed, &o->mutex);
    pthread_mutex_unlock(&o->mutex);
}

/* Calls ------------------------------------------------------------------------------------------------------------ */

static int ask(int n, const char *key, struct origin *o, const strata_policy *p)
{
    strata_value *v = NULL;
    err = (strata_error)STRATA_ERROR_INIT;
    int rc = strata_get_or_load(node[n], strata_str(key), load, o, p, &v, &err);
    strata_value_unref(v);
    return rc;
}

static void assert_asked(int n, const char *key, struct origin *o, const strata_policy *p, int status)
{
    int rc = ask(n, key, o, p);
    if (rc != status)
        fail_msg("node %d, get or load %s: %d, not %d (%s)", n, key, rc, status, err.message);
}

struct call {
    _Atomic(int) done, status;
};

static void on_done(int status, strata_value *value, const strata_error *why, void *ctx)
{
    struct call *c = ctx;
    (void)why;
    strata_value_unref(value);
    atomic_store(&c->status, status);
    atomic_store(&c->done, 1);
}

static void ask_later(int n, const char *key, struct origin *o, const strata_policy *p, struct call *c)
{
    memset(c, 0, sizeof *c);
    assert_int_equal(strata_get_or_load_async(node[n], strata_str(key), load, o, p, NULL, on_done, c, &err),
                     STRATA_PENDING);
}

static void assert_done(struct call *c, int status)
{
    while (!atomic_load(&c->done))
        redis_cache_nap(1);
    assert_int_equal(atomic_load(&c->status), status);
}

static strata_policy protected_by(int32_t failures, int64_t open_ms)
{
    strata_policy p = STRATA_POLICY_INIT;
    p.breaker_failures = failures;
    p.breaker_open_ms = open_ms;
    p.retry_ms = STRATA_OFF;
    return p;
}

/* Leases last long, and who waits for one waits long: what is not given back is missed. */
static int open_nodes(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++)
        node[i] = redis_cache_open("memory: | redis://127.0.0.1:%u?prefix=origin:&lease_ms=60s&breaker_failures=1&"
                                   "breaker_open_ms=10ms&" REDIS_PATIENT,
                                   server.port);
    return 0;
}

static int close_nodes(void **state)
{
    (void)state;
    for (int i = 0; i < NODES; i++)
        (void)strata_close(node[i]);
    return 0;
}

/* The store holds it: the other node, which has not loaded it, reads it there. */
static void assert_stored(int reader, const char *key, const char *text)
{
    redis_cache_await(node[reader], key, STRATA_OK);
    redis_cache_expect(node[reader], key, STRATA_OK, text);
}

/* The node trusts it again, and has told it all. */
static void await_store(int n)
{
    strata_layer_stats s;
    while (strata_ping(node[n], 1, &err) != STRATA_OK ||
           (s = redis_cache_stats(node[n], 1), s.breaker != STRATA_BREAKER_CLOSED || s.queued_deletes != 0))
        redis_cache_nap(1);
}

/* Cases ------------------------------------------------------------------------------------------------------------ */

/* Each failed load gives its lease back, and a load that the breaker refuses takes none. */
static void a_breaker_holds_no_lease(void **state)
{
    (void)state;
    struct origin down, up;
    origin_init(&down, "");
    origin_init(&up, "v");
    atomic_store(&down.fails, 1);
    const strata_policy p = protected_by(2, 3600000);
    for (int i = 0; i < 2; i++)
        assert_asked(0, "breaker1", &down, &p, STRATA_ELOADER);
    assert_asked(0, "breaker1", &down, &p, STRATA_EBREAKER);
    assert_asked(0, "breaker2", &down, &p, STRATA_EBREAKER);
    assert_int_equal(atomic_load(&down.calls), 2);
    assert_asked(1, "breaker1", &up, &p, STRATA_OK); /* its breaker is another one */
    assert_asked(1, "breaker2", &up, &p, STRATA_OK);
    assert_int_equal(atomic_load(&up.calls), 2);
    assert_stored(0, "breaker1", "v");
    assert_stored(0, "breaker2", "v");
    assert_asked(0, "breaker1", &down, &p, STRATA_OK); /* what others have loaded needs no origin */
}

/* A load that hangs is detached, and another node loads and stores; what comes late is stored by nobody over that. */
static void a_detached_load_gives_up_its_lease(void **state)
{
    (void)state;
    struct origin slow, well;
    origin_init(&slow, "late");
    origin_init(&well, "newer");
    strata_policy limited = STRATA_POLICY_INIT;
    limited.load_limit_ms = 50;
    limited.late_result = STRATA_ON;
    origin_hangs(&slow, 1);
    assert_asked(0, "hangs", &slow, &limited, STRATA_ETIMEDOUT);
    await_entered(&slow, 1);
    assert_asked(1, "hangs", &well, NULL, STRATA_OK);
    assert_int_equal(atomic_load(&well.calls), 1);
    assert_stored(0, "hangs", "newer");
    origin_hangs(&slow, 0);
    assert_int_equal(strata_delete(node[1], strata_str("other"), &err), STRATA_OK); /* a round trip, at least */
    redis_cache_expect(node[1], "hangs", STRATA_OK, "newer");
    strata *third = redis_cache_open("redis://127.0.0.1:%u?prefix=origin:&" REDIS_PATIENT, server.port);
    redis_cache_expect(third, "hangs", STRATA_OK, "newer");
    (void)strata_close(third);
}

/* Who waits for a place holds no lease yet, or gives it back: the other node has places of its own. */
static void who_waits_for_a_place_keeps_nobody_waiting(void **state)
{
    (void)state;
    struct origin slow, well;
    struct call first, second;
    origin_init(&slow, "slow");
    origin_init(&well, "v");
    strata_policy one = STRATA_POLICY_INIT;
    one.max_loads = 1;
    one.limit_name = "origin";
    one.queue_ms = STRATA_FOREVER;
    origin_hangs(&slow, 1);
    ask_later(0, "place1", &slow, &one, &first);
    await_entered(&slow, 1);
    ask_later(0, "place2", &slow, &one, &second);
    assert_asked(1, "place3", &well, &one, STRATA_OK);
    assert_int_equal(atomic_load(&slow.calls), 1);
    origin_hangs(&slow, 0);
    assert_done(&first, STRATA_OK);
    assert_done(&second, STRATA_OK);
    assert_int_equal(atomic_load(&slow.calls), 2);
    assert_stored(1, "place1", "slow");
    assert_stored(1, "place2", "slow");
    assert_stored(0, "place3", "v");
}

/* The server goes while loads run and wait; breaker and limit go on as before, and when it is back all is as it was. */
static void the_server_goes_in_between(void **state)
{
    (void)state;
    struct origin slow, down;
    struct call first, second;
    origin_init(&slow, "v");
    origin_init(&down, "w");
    strata_policy one = protected_by(2, 3600000);
    one.max_loads = 1;
    one.limit_name = "outage";
    one.queue_ms = STRATA_FOREVER;
    origin_hangs(&slow, 1);
    ask_later(0, "between1", &slow, &one, &first);
    await_entered(&slow, 1); /* with a lease */
    ask_later(0, "between2", &slow, &one, &second);
    redis_server_kill(&server);
    origin_hangs(&slow, 0);
    assert_done(&first, STRATA_OK); /* it has its value, whatever became of the store */
    assert_done(&second, STRATA_OK);
    assert_int_equal(atomic_load(&slow.calls), 2);

    atomic_store(&down.fails, 1);
    strata_policy p = protected_by(2, 3600000);
    p.breaker_name = "down";
    for (int i = 0; i < 2; i++)
        assert_asked(0, "between3", &down, &p, STRATA_ELOADER);
    assert_asked(0, "between3", &down, &p, STRATA_EBREAKER);
    assert_int_equal(atomic_load(&down.calls), 2);

    redis_server_restart(&server);
    assert_asked(0, "between3", &down, &p, STRATA_EBREAKER); /* the breaker is the origin's, not the store's */
    atomic_store(&down.fails, 0);
    await_store(1);
    assert_asked(1, "between3", &down, &p, STRATA_OK);
    assert_int_equal(atomic_load(&down.calls), 3);
    assert_asked(1, "between4", &slow, &one, STRATA_OK);
    await_store(0);
    redis_cache_await(node[0], "between3", STRATA_OK);
    redis_cache_await(node[0], "between4", STRATA_OK);
}

/* It opens while the server is away, and is tried again while it is there: one load probes, and closes it. */
static void a_breaker_closes_again(void **state)
{
    (void)state;
    struct origin o;
    origin_init(&o, "back");
    const strata_policy p = protected_by(1, 20);
    redis_server_kill(&server);
    atomic_store(&o.fails, 1);
    assert_asked(0, "again", &o, &p, STRATA_ELOADER);
    redis_server_restart(&server);
    atomic_store(&o.fails, 0);
    while (ask(0, "again", &o, &p) == STRATA_EBREAKER)
        redis_cache_nap(5);
    assert_asked(0, "again", &o, &p, STRATA_OK);
    assert_int_equal(atomic_load(&o.calls), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_breaker_holds_no_lease, open_nodes, close_nodes),
        cmocka_unit_test_setup_teardown(a_detached_load_gives_up_its_lease, open_nodes, close_nodes),
        cmocka_unit_test_setup_teardown(who_waits_for_a_place_keeps_nobody_waiting, open_nodes, close_nodes),
        cmocka_unit_test_setup_teardown(the_server_goes_in_between, open_nodes, close_nodes),
        cmocka_unit_test_setup_teardown(a_breaker_closes_again, open_nodes, close_nodes),
    };
    redis_server_start(&server, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    redis_server_stop(&server);
    return failed;
}
