/* test_redis_tracking.c - the bus that listens to what real servers tell of their keys: whatever a stranger does there is heard of, and
 * a connection that is lost, stopped or refused is told of.  Each with RESP2, and with RESP3 where hiredis can. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka_all.h"

#include "strata/bus_redis_tracking.h"
#include "tests/support/bus_watch.h"
#include "tests/support/fake_server.h"
#include "tests/support/redis_do.h"
#include "tests/support/still_threads.h"

enum { LONG_MS = 60000, SHORT_MS = 100, BEAT_MS = 1000 };

struct world {
    struct redis_server server;
    struct redis_link *stranger;
    struct bus_watch watch;
    char url[160];
    uint32_t protocol;
};

/* The options of a bus at the test's server, over TLS where that speaks it. */
static strata_redis_tracking_options options_of(struct world *w, const char *user)
{
    strata_redis_tracking_options o = STRATA_REDIS_TRACKING_OPTIONS_INIT;
    const struct tls_certs *certs = tls_certs_of_servers();
    (void)snprintf(w->url, sizeof w->url, "%s://%s127.0.0.1:%u", certs != NULL ? "rediss" : "redis", user,
                   (unsigned)w->server.port);
    o.url = w->url;
    o.prefix = "app:";
    o.connect_timeout_ms = o.timeout_ms = LONG_MS;
    o.heartbeat_ms = BEAT_MS;
    o.protocol = w->protocol;
    o.tls_ca_file = certs != NULL ? certs->ca.cert : NULL;
    return o;
}

static void open_world(struct world *w, void **state)
{
    memset(w, 0, sizeof *w);
    w->protocol = *(const uint32_t *)*state;
    redis_server_start(&w->server, NULL);
    w->stranger = redis_do_open(&w->server);
}

static void listen_in(struct world *w)
{
    strata_redis_tracking_options o = options_of(w, "");
    bus_watch_start(&w->watch, strata_redis_tracking_bus(&o));
    bus_watch_until_up(&w->watch, 1);
}

static void close_world(struct world *w)
{
    strata__redis_close(w->stranger);
    redis_server_stop(&w->server);
}

/* All that was done before has been told once this one is. */
static void until_told(struct world *w)
{
    static int number;
    char name[32], key[36];
    (void)snprintf(name, sizeof name, "mark%d", ++number);
    (void)snprintf(key, sizeof key, "app:%s", name);
    assert_int_equal(redis_do(w->stranger, "SET", key, "1").status, STRATA_OK);
    bus_watch_until_key(&w->watch, name);
}

#define good(...) assert_true(good_answer(redis_do(__VA_ARGS__)))
static int good_answer(struct redis_answer answer)
{
    if (answer.status != STRATA_OK || answer.kind == REDIS_IS_ERROR)
        print_error("%d: %s%s\n", answer.status, answer.text, answer.err.message);
    return answer.status == STRATA_OK && answer.kind != REDIS_IS_ERROR;
}

/* What is seen --------------------------------------------------------------------------------------------------------- */

static void whatever_a_stranger_does_is_seen(void **state)
{
    struct world w;
    open_world(&w, state);
    listen_in(&w);
    good(w.stranger, "SET", "app:set", "1");
    bus_watch_until_key(&w.watch, "set");
    bus_watch_forget(&w.watch);
    good(w.stranger, "DEL", "app:set");
    bus_watch_until_key(&w.watch, "set");
    good(w.stranger, "SET", "app:short", "1");
    bus_watch_until_key(&w.watch, "short");
    bus_watch_forget(&w.watch);
    good(w.stranger, "PEXPIRE", "app:short", "40");
    bus_watch_until_key(&w.watch, "short"); /* the change of its time; and the end of it: */
    bus_watch_forget(&w.watch);
    bus_watch_until_key(&w.watch, "short");
    good(w.stranger, "MSET", "app:a", "1", "app:b", "2", "app:c", "3");
    bus_watch_until_key(&w.watch, "c");
    assert_int_equal(bus_watch_seen(&w.watch, "a"), 1);
    good(w.stranger, "EVAL", "redis.call('HSET', KEYS[1], 'f', 'v')", "1", "app:hash");
    bus_watch_until_key(&w.watch, "hash");
    good(w.stranger, "RENAME", "app:a", "app:d");
    bus_watch_until_key(&w.watch, "d");
    assert_int_equal(bus_watch_seen(&w.watch, "a"), 2);
    good(w.stranger, "FLUSHALL");
    bus_watch_until_all(&w.watch, 1);
    good(w.stranger, "FLUSHDB");
    bus_watch_until_all(&w.watch, 2);
    bus_watch_stop(&w.watch);
    close_world(&w);
}

static void eviction_is_seen(void **state)
{
    struct world w;
    static char large[100001];
    char key[32];
    open_world(&w, state);
    memset(large, 'x', sizeof large - 1);
    good(w.stranger, "SET", "app:victim", large);
    listen_in(&w);
    good(w.stranger, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    good(w.stranger, "CONFIG", "SET", "maxmemory", "8mb");
    for (int i = 0; bus_watch_seen(&w.watch, "victim") == 0 && i < 2000; i++) {
        (void)snprintf(key, sizeof key, "else:%d", i); /* not ours: nothing but the victim's eviction is told */
        (void)redis_do(w.stranger, "SET", key, large);
    }
    bus_watch_until_key(&w.watch, "victim");
    bus_watch_stop(&w.watch);
    close_world(&w);
}

static void prefixes_keep_apart(void **state)
{
    struct world w;
    static struct bus_watch other, whole;
    open_world(&w, state);
    listen_in(&w);
    strata_redis_tracking_options o = options_of(&w, "");
    o.prefix = "other:";
    bus_watch_start(&other, strata_redis_tracking_bus(&o));
    o.prefix = "";
    bus_watch_start(&whole, strata_redis_tracking_bus(&o));
    bus_watch_until_up(&other, 1);
    bus_watch_until_up(&whole, 1);
    good(w.stranger, "SET", "app:1", "1");
    good(w.stranger, "SET", "other:2", "1");
    good(w.stranger, "SET", "application:3", "1");
    good(w.stranger, "SET", "app:", "no key of a cache is empty");
    until_told(&w);
    bus_watch_until_key(&other, "2");
    bus_watch_until_key(&whole, "application:3");
    assert_int_equal(bus_watch_told(&w.watch).keys, 2); /* and the mark */
    assert_int_equal(bus_watch_told(&w.watch).all, 0);
    assert_int_equal(bus_watch_told(&other).keys, 1);
    bus_watch_stop(&other);
    bus_watch_stop(&whole);
    bus_watch_stop(&w.watch);
    close_world(&w);
}

static void what_is_reserved_is_left_out(void **state)
{
    struct world w;
    char key[] = "app:..life";
    open_world(&w, state);
    listen_in(&w);
    key[4] = '\0';
    key[5] = '\377';
    const char *const eval[] = { "EVAL", "return redis.call('SET', KEYS[1], 'x')", "1", NULL };
    assert_true(good_answer(redis_do_slice(w.stranger, eval, strata_bytes(key, sizeof key - 1))));
    key[5] = 'x'; /* any other name that begins with a NUL is an entry's */
    assert_true(good_answer(redis_do_slice(w.stranger, eval, strata_bytes(key, sizeof key - 1))));
    until_told(&w);
    assert_int_equal(bus_watch_seen(&w.watch, ".xlife"), 1);
    assert_int_equal(bus_watch_told(&w.watch).keys, 2);
    bus_watch_stop(&w.watch);
    close_world(&w);
}

static void a_published_text_is_no_invalidation(void **state)
{
    struct world w;
    open_world(&w, state);
    listen_in(&w);
    good(w.stranger, "PUBLISH", "__redis__:invalidate", "app:k");
    good(w.stranger, "PUBLISH", "app:", "noise");
    until_told(&w);
    assert_int_equal(bus_watch_told(&w.watch).keys, 1);
    struct bus_told told = bus_watch_told(&w.watch);
    assert_int_equal(told.all + told.lost + told.downs, 0);
    bus_watch_stop(&w.watch);
    close_world(&w);
}

static void many_keys_in_one_message(void **state)
{
    struct world w;
    open_world(&w, state);
    listen_in(&w);
    good(w.stranger, "EVAL", "for i = 1, 20000 do redis.call('SET', KEYS[1] .. i, 'x') end", "1", "app:");
    until_told(&w);
    assert_int_equal(bus_watch_told(&w.watch).keys, 20001);
    strata_bus_stats stats = STRATA_BUS_STATS_INIT;
    w.watch.bus->ops->stats(w.watch.bus, &stats);
    assert_int_equal(stats.up, 1);
    assert_true(stats.received >= 2);
    assert_true(strncmp(stats.server, "Redis ", 6) == 0 || strncmp(stats.server, "Valkey ", 7) == 0);
    assert_int_equal(stats.reconnects + stats.lost, 0);
    bus_watch_stop(&w.watch);
    close_world(&w);
}

/* What is lost --------------------------------------------------------------------------------------------------------- */

static void a_server_that_was_killed_is_listened_to_again(void **state)
{
    struct world w;
    open_world(&w, state);
    listen_in(&w);
    until_told(&w);
    redis_server_kill(&w.server);
    bus_watch_until_down(&w.watch, "is the server running");
    redis_server_restart(&w.server);
    bus_watch_until_up(&w.watch, 2);
    strata__redis_close(w.stranger);
    w.stranger = redis_do_open(&w.server);
    until_told(&w);
    strata_bus_stats stats = STRATA_BUS_STATS_INIT;
    w.watch.bus->ops->stats(w.watch.bus, &stats);
    assert_int_equal(stats.reconnects, 1);
    assert_int_equal(stats.lost, 1);
    bus_watch_stop(&w.watch);
    close_world(&w);
}

static void a_server_that_is_away_is_waited_for(void **state)
{
    struct world w;
    open_world(&w, state);
    redis_server_kill(&w.server);
    strata_redis_tracking_options o = options_of(&w, "");
    bus_watch_start(&w.watch, strata_redis_tracking_bus(&o));
    bus_watch_until_down(&w.watch, "is the server running");
    redis_server_restart(&w.server);
    bus_watch_until_up(&w.watch, 1);
    bus_watch_until_proven(&w.watch, BEAT_MS);
    bus_watch_stop(&w.watch);
    close_world(&w);
}

static void a_stopped_server_is_noticed(void **state)
{
    struct world w;
    open_world(&w, state);
    strata_redis_tracking_options o = options_of(&w, "");
    o.timeout_ms = o.connect_timeout_ms = SHORT_MS;
    bus_watch_start(&w.watch, strata_redis_tracking_bus(&o));
    bus_watch_until_up(&w.watch, 1);
    bus_watch_until_proven(&w.watch, BEAT_MS);
    redis_server_pause(&w.server);
    int64_t paused_ms = atomic_load(&w.watch.times.now_ms);
    int downs = bus_watch_told(&w.watch).downs;
    for (int i = 0; i < 60000 && bus_watch_told(&w.watch).downs == downs; i++) {
        test_host_advance(&w.watch.times, BEAT_MS);
        usleep(1000);
    }
    assert_true(bus_watch_told(&w.watch).downs > downs);
    assert_true(bus_watch_told(&w.watch).proven <= paused_ms); /* what was asked after that is not answered */
    int ups = bus_watch_told(&w.watch).ups;
    redis_server_resume(&w.server);
    bus_watch_until_up(&w.watch, ups + 1);
    bus_watch_until_proven(&w.watch, BEAT_MS);
    bus_watch_stop(&w.watch);
    close_world(&w);
}

static void a_connection_that_is_killed_is_made_again(void **state)
{
    struct world w;
    open_world(&w, state);
    listen_in(&w);
    until_told(&w);
    good(w.stranger, "CLIENT", "KILL", "TYPE", "pubsub"); /* with both protocols it is of that kind */
    bus_watch_until_up(&w.watch, 2);
    assert_int_equal(bus_watch_told(&w.watch).downs, 1);
    until_told(&w);
    bus_watch_stop(&w.watch);
    close_world(&w);
}

/* It does not read fast enough: the server drops it, with all that it kept for it. */
static void a_server_that_gives_up_on_us_is_noticed(void **state)
{
    struct world w;
    open_world(&w, state);
    listen_in(&w);
    until_told(&w);
    good(w.stranger, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 4096 4096 1");
    good(w.stranger, "EVAL", "for i = 1, 200000 do redis.call('SET', KEYS[1] .. i, 'x') end", "1", "app:");
    bus_watch_until_up(&w.watch, 2);
    assert_true(bus_watch_told(&w.watch).downs >= 1);
    until_told(&w);
    bus_watch_stop(&w.watch);
    close_world(&w);
}

/* Sentinels ------------------------------------------------------------------------------------------------------------ */

static void serve_sentinel(struct fake_server *f, int fd, int nth)
{
    char name[32], key[32], answer[96], port[8];
    (void)nth;
    while (fake_read_command(fd, name, key)) {
        const _Atomic(uint32_t) *master = f->ctx;
        (void)snprintf(port, sizeof port, "%u", atomic_load(master));
        (void)snprintf(answer, sizeof answer, "*2\r\n$9\r\n127.0.0.1\r\n$%zu\r\n%s\r\n", strlen(port), port);
        if (!fake_send(fd, strcmp(name, "PING") == 0 ? "+PONG\r\n" : answer))
            return;
    }
}

static void the_master_is_followed(void **state)
{
    struct world w;
    struct redis_server second;
    struct fake_server sentinel;
    _Atomic(uint32_t) master;
    char url[96];
    if (tls_certs_of_servers() != NULL)
        return; /* the Sentinel that this test plays speaks none */
    open_world(&w, state);
    redis_server_start(&second, NULL);
    atomic_init(&master, w.server.port);
    fake_server_start(&sentinel, serve_sentinel, &master);
    strata_redis_tracking_options o = options_of(&w, "");
    (void)snprintf(url, sizeof url, "redis+sentinel://127.0.0.1:%u/main", (unsigned)sentinel.port);
    o.url = url;
    bus_watch_start(&w.watch, strata_redis_tracking_bus(&o));
    bus_watch_until_up(&w.watch, 1);
    until_told(&w);
    atomic_store(&master, second.port);
    bus_watch_until_down(&w.watch, "another server the master");
    bus_watch_until_up(&w.watch, 2);
    strata__redis_close(w.stranger);
    w.stranger = redis_do_open(&second);
    until_told(&w);
    bus_watch_stop(&w.watch);
    fake_server_stop(&sentinel);
    redis_server_stop(&second);
    close_world(&w);
}

/* What is refused ------------------------------------------------------------------------------------------------------ */

static void expect_down(struct world *w, const char *user, const char *words)
{
    strata_redis_tracking_options o = options_of(w, user);
    bus_watch_start(&w->watch, strata_redis_tracking_bus(&o));
    bus_watch_until_down(&w->watch, words);
    assert_null(strstr(bus_watch_told(&w->watch).why.message, "secret"));
    assert_int_equal(bus_watch_told(&w->watch).ups, 0);
    bus_watch_stop(&w->watch);
}

static void what_a_user_lacks_is_said(void **state)
{
    struct world w;
    open_world(&w, state);
    good(w.stranger, "ACL", "SETUSER", "none", "on", ">secret", "~*", "&*");
    good(w.stranger, "ACL", "SETUSER", "none", "+@all", "-client|tracking");
    good(w.stranger, "ACL", "SETUSER", "mute", "on", ">secret", "~app:*", "resetchannels");
    good(w.stranger, "ACL", "SETUSER", "mute", "+@all");
    expect_down(&w, "none:secret@", "+client|tracking");
    expect_down(&w, "none:wrong@", "correct user, password");
    if (w.protocol == 2) {
        expect_down(&w, "mute:secret@", "&__redis__:invalidate");
    } else {
        strata_redis_tracking_options o = options_of(&w, "mute:secret@");
        bus_watch_start(&w.watch, strata_redis_tracking_bus(&o));
        bus_watch_until_up(&w.watch, 1);
        until_told(&w);
        bus_watch_stop(&w.watch);
    }
    close_world(&w);
}

/* As Redis 5 answers. */
static void serve_old(struct fake_server *f, int fd, int nth)
{
    char name[32], key[32];
    (void)f;
    (void)nth;
    while (fake_read_command(fd, name, key)) {
        const char *answer = strcmp(name, "PING") == 0                               ? "+PONG\r\n"
                             : strcmp(name, "CLIENT") == 0 && strcmp(key, "ID") == 0 ? ":7\r\n"
                             : strcmp(name, "CLIENT") == 0 ? "-ERR Unknown subcommand or wrong number of arguments for "
                                                             "'TRACKING'. Try CLIENT HELP\r\n"
                                                           : "-ERR unknown command `HELLO`, with args beginning with: "
                                                             "`3`, \r\n";
        if (!fake_send(fd, answer))
            return;
    }
}

static void an_old_server_is_said_to_be_one(void **state)
{
    struct fake_server old;
    static struct bus_watch watch;
    char url[64];
    fake_server_start(&old, serve_old, NULL);
    (void)snprintf(url, sizeof url, "redis://127.0.0.1:%u", (unsigned)old.port);
    strata_redis_tracking_options o = STRATA_REDIS_TRACKING_OPTIONS_INIT;
    o.url = url;
    o.protocol = *(const uint32_t *)*state;
    bus_watch_start(&watch, strata_redis_tracking_bus(&o));
    bus_watch_until_down(&watch, "6.0 or newer");
    bus_watch_stop(&watch);
    fake_server_stop(&old);
}

static void expect_refusal(const strata_redis_tracking_options *o, int status, const char *words)
{
    strata_bus *bus = strata_redis_tracking_bus(o);
    if (bus->failed.status != status || strstr(bus->failed.message, words) == NULL)
        fail_msg("%d: %s", bus->failed.status, bus->failed.message);
    assert_null(strstr(bus->failed.message, "secret"));
    strata_bus_free(bus);
}

static void a_node_of_a_cluster_is_refused(void **state)
{
    struct world w;
    if (tls_certs_of_servers() != NULL)
        return; /* nodes of a Cluster speak none in these tests */
    memset(&w, 0, sizeof w);
    w.protocol = *(const uint32_t *)*state;
    redis_server_start_node(&w.server, NULL);
    expect_down(&w, "", "a node of a Cluster");
    redis_server_stop(&w.server);
}

static void options_that_are_wrong(void **state)
{
    strata_redis_tracking_options o = STRATA_REDIS_TRACKING_OPTIONS_INIT;
    (void)state;
    o.url = "redis+cluster://:secret@127.0.0.1:1";
    o.per_key = STRATA_ON;
    expect_refusal(&o, STRATA_EUNSUPPORTED, "per_key out there");
    o.per_key = STRATA_OFF;
    o.url = "redis://:secret@127.0.0.1:x";
    expect_refusal(&o, STRATA_EINVAL, "port");
    o.url = NULL;
    o.tls_ca_file = "/nowhere";
    expect_refusal(&o, STRATA_EINVAL, "rediss://");
    o.tls_ca_file = NULL;
    o.protocol = 4;
    expect_refusal(&o, STRATA_EINVAL, "protocol");
    o.protocol = 3;
    if (!strata__redis_pushes())
        expect_refusal(&o, STRATA_EUNSUPPORTED, "hiredis");
    strata_bus_free(strata_redis_tracking_bus(NULL));
}

/* In a child ----------------------------------------------------------------------------------------------------------- */

static void a_child_begins_anew(void **state)
{
    struct world w;
#if defined(__SANITIZE_THREAD__) /* which allows a child of many threads no thread */
    (void)w;
    (void)state;
    skip();
#endif
    open_world(&w, state);
    listen_in(&w);
    until_told(&w);
    wait_for_still_threads();
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        static struct bus_watch anew;
        strata_error err = STRATA_ERROR_INIT;
        int good = w.watch.bus->ops->reopen(w.watch.bus, &err) == STRATA_OK;
        bus_watch_start(&anew, w.watch.bus);
        bus_watch_until_up(&anew, 1);
        bus_watch_until_proven(&anew, BEAT_MS);
        bus_watch_stop(&anew);
        _exit(good ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    until_told(&w);
    assert_int_equal(bus_watch_told(&w.watch).ups, 1);
    bus_watch_stop(&w.watch);
    close_world(&w);
}

#define TWICE(test) \
    { #test " (RESP2)", test, NULL, NULL, &two }, { #test " (RESP3)", test, NULL, NULL, &three }

int main(void)
{
    static uint32_t two = 2, three = 3;
    const struct CMUnitTest all[] = {
        TWICE(whatever_a_stranger_does_is_seen),
        TWICE(eviction_is_seen),
        TWICE(prefixes_keep_apart),
        TWICE(what_is_reserved_is_left_out),
        TWICE(a_published_text_is_no_invalidation),
        TWICE(many_keys_in_one_message),
        TWICE(a_server_that_was_killed_is_listened_to_again),
        TWICE(a_server_that_is_away_is_waited_for),
        TWICE(a_stopped_server_is_noticed),
        TWICE(a_connection_that_is_killed_is_made_again),
        TWICE(a_server_that_gives_up_on_us_is_noticed),
        TWICE(the_master_is_followed),
        TWICE(what_a_user_lacks_is_said),
        TWICE(an_old_server_is_said_to_be_one),
        TWICE(a_node_of_a_cluster_is_refused),
        TWICE(a_child_begins_anew),
        TWICE(options_that_are_wrong),
    };
    struct CMUnitTest tests[sizeof all / sizeof all[0]];
    size_t count = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strata__redis_pushes() || all[i].initial_state == &two)
            tests[count++] = all[i];
    return _cmocka_run_group_tests("redis_tracking", tests, count, NULL, NULL);
}
