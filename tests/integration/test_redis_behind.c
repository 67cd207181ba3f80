/* test_redis_behind.c - sets that are written behind, over a real server: what it has, what another node has, and what a node has that
 * hears of nothing, when the server is gone meanwhile, when the process is, and when the cache is closed. */
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/redis_cache.h"

#include "src/link/cipher.h"
#include "tests/support/delay_proxy.h"
#include "tests/support/redis_do.h"
#include "tests/support/temp_dir.h"

enum { SOON_MS = 20, NEVER_MS = 3600000, LOOKS = 12000, CROWD = 300 };

static const strata_policy soon = { STRATA_SIZED(strata_policy), .write_behind_ms = SOON_MS };
static const strata_policy never = { STRATA_SIZED(strata_policy), .write_behind_ms = NEVER_MS };

static struct redis_server server;
static strata *node[2], *outsider;
static strata_error err;

#define STORE "redis://127.0.0.1:%u?prefix=behind:&"
#define NODE "memory: | " STORE REDIS_PATIENT

/* Nodes ---------------------------------------------------------------------------------------------------------- */

static strata_stats stats_of(strata *cache)
{
    strata_stats s = { .size = sizeof s };
    assert_int_equal(strata_stats_get(cache, &s), STRATA_OK);
    return s;
}

static strata_health health_of(strata *cache)
{
    strata_health h = STRATA_HEALTH_INIT;
    assert_int_equal(strata_health_get(cache, &h, NULL), STRATA_OK);
    return h;
}

static strata *open_text(const char *url, const strata_options *options)
{
    strata *cache = NULL;
    if (strata_open_url(&cache, url, options, &err) != STRATA_OK)
        fail_msg("%s: %s", url, err.message);
    return cache;
}

/* The server has spoken to it: from then on sets may wait. */
static strata *greeted(strata *cache)
{
    for (int i = 0; strata_set(cache, strata_str("hello"), strata_str("x"), &soon, &err) != STRATA_PENDING; i++) {
        if (i == LOOKS)
            fail_msg("sets never wait: %s", err.message);
        redis_cache_nap(5);
    }
    return cache;
}

static strata *open_node(const char *format, uint16_t port)
{
    char url[512];
    (void)snprintf(url, sizeof url, format, (unsigned)port);
    strata *cache = open_text(url, NULL);
    for (int i = 0; !health_of(cache).trusted; i++) {
        if (i == LOOKS)
            fail_msg("%s: never trusted: %s", url, health_of(cache).words);
        redis_cache_nap(5);
    }
    return greeted(cache);
}

static strata *open_deaf(void) { return greeted(redis_cache_open(NODE, server.port)); }

static void until_written(strata *cache)
{
    for (int i = 0; stats_of(cache).behind_queued != 0; i++) {
        if (i == LOOKS)
            fail_msg("never written: %s", health_of(cache).words);
        redis_cache_nap(5);
    }
}

static void assert_sums(strata *cache)
{
    strata_stats s = stats_of(cache);
    assert_int_equal(s.sets_behind, s.behind_queued + s.behind_merged + s.behind_written + s.behind_dropped +
                                        s.behind_refused + s.behind_failed);
    assert_true(s.behind_queued != 0 || s.behind_bytes == 0);
}

static void set_later(strata *cache, const char *key, const char *text, const strata_policy *policy)
{
    int rc = strata_set(cache, strata_str(key), strata_str(text), policy, &err);
    if (rc != STRATA_PENDING)
        fail_msg("set %s: %d (%s)", key, rc, rc < 0 ? err.message : "it has not waited");
}

/* Who asks without a load waits for it. */
static void make_due(strata *cache, const char *key) { (void)strata_has(cache, strata_str(key), NULL); }

static void delete (strata *cache, const char *key)
{
    int rc = strata_delete(cache, strata_str(key), &err);
    if (rc != STRATA_OK)
        fail_msg("delete %s: %d (%s)", key, rc, rc < 0 ? err.message : "");
}

/* What the server has; NULL: nothing. */
static void assert_stored(const char *key, const char *text)
{
    redis_cache_expect(outsider, key, text != NULL ? STRATA_OK : STRATA_MISS, text);
}

static void await_text(strata *cache, const char *key, const char *text)
{
    char got[64] = "";
    for (int i = 0; i < LOOKS; i++) {
        if (redis_cache_get(cache, key, got, sizeof got, &err) == STRATA_OK && strcmp(got, text) == 0)
            return;
        redis_cache_nap(5);
    }
    fail_msg("%s: \"%s\", never \"%s\"", key, got, text);
}

/* Another server listens there: an outsider that never spoke to the one before. */
static void outsider_anew(void)
{
    (void)strata_close(outsider);
    outsider = redis_cache_open(STORE REDIS_PATIENT, server.port);
}

static int start(void **state)
{
    (void)state;
    redis_server_start(&server, NULL);
    for (int i = 0; i < 2; i++)
        node[i] = open_node(NODE, server.port);
    outsider = redis_cache_open(STORE REDIS_PATIENT, server.port);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(strata_close(node[i]), STRATA_OK);
    assert_int_equal(strata_close(outsider), STRATA_OK);
    redis_server_stop(&server);
    return 0;
}

/* One node and its server ------------------------------------------------------------------------------------------ */

static void it_is_here_at_once_and_there_within_its_delay(void **state)
{
    (void)state;
    set_later(node[0], "first", "1", &never);
    redis_cache_expect(node[0], "first", STRATA_OK, "1");
    assert_stored("first", NULL);
    redis_cache_expect(node[1], "first", STRATA_MISS, NULL);
    set_later(node[0], "first", "2", &soon); /* it does not wait for as long as the one before */
    redis_cache_expect(node[0], "first", STRATA_OK, "2");
    await_text(outsider, "first", "2");
    await_text(node[1], "first", "2");
    until_written(node[0]);
    assert_sums(node[0]);
}

static void the_last_of_many_is_written_alone(void **state)
{
    (void)state;
    strata_stats before = stats_of(node[0]);
    char text[16];
    for (int i = 0; i <= 100; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        set_later(node[0], "many", text, &never);
    }
    set_later(node[0], "many", "last", &soon);
    until_written(node[0]);
    strata_stats after = stats_of(node[0]);
    assert_int_equal(after.behind_merged - before.behind_merged, 101);
    assert_int_equal(after.behind_written - before.behind_written, 1);
    assert_stored("many", "last");
    assert_sums(node[0]);
}

/* One key set again and again: the first set's time counts. */
static void a_key_that_is_always_set_is_written_all_the_same(void **state)
{
    char got[32] = "", text[32];
    (void)state;
    delete (node[0], "hot");
    for (int i = 0; got[0] == '\0'; i++) {
        assert_int_not_equal(i, 1000 * LOOKS); /* never written */
        (void)snprintf(text, sizeof text, "%d", i);
        int rc = strata_set(node[0], strata_str("hot"), strata_str(text), &soon, &err);
        assert_true(rc == STRATA_PENDING || rc == STRATA_OK); /* at once, as beside another write of the key */
        if (i % 16 == 0)
            (void)redis_cache_get(outsider, "hot", got, sizeof got, &err);
    }
    until_written(node[0]);
    assert_stored("hot", text);
    assert_sums(node[0]);
}

static void a_delete_drops_it(void **state)
{
    (void)state;
    redis_cache_set(node[0], "dropped", "0");
    set_later(node[0], "dropped", "1", &never);
    delete (node[0], "dropped");
    assert_stored("dropped", NULL);
    redis_cache_expect(node[0], "dropped", STRATA_MISS, NULL);
    set_later(node[0], "dropped", "2", &never);
    redis_cache_set(node[0], "dropped", "3");
    assert_int_equal(stats_of(node[0]).behind_queued, 0);
    assert_stored("dropped", "3");
    redis_cache_expect(node[0], "dropped", STRATA_OK, "3");
    assert_sums(node[0]);
}

/* Peers ------------------------------------------------------------------------------------------------------------ */

static void a_peer_that_was_there_in_between_wins(void **state)
{
    (void)state;
    for (int deletes = 0; deletes < 2; deletes++) {
        uint64_t dropped = stats_of(node[0]).behind_dropped;
        redis_cache_set(node[1], "ours", "0");
        await_text(node[0], "ours", "0");
        set_later(node[0], "ours", "old", &never);
        if (deletes)
            delete (node[1], "ours");
        else
            redis_cache_set(node[1], "ours", "new");
        for (int i = 0; stats_of(node[0]).behind_queued != 0; i++) {
            if (i == LOOKS)
                fail_msg("what the other node did was never heard of");
            redis_cache_nap(5);
        }
        assert_int_equal(stats_of(node[0]).behind_dropped - dropped, 1);
        assert_stored("ours", deletes ? NULL : "new");
        if (deletes)
            redis_cache_await(node[0], "ours", STRATA_MISS);
        else
            await_text(node[0], "ours", "new"); /* what a peer has replaced may be served as stale for a moment */
        assert_sums(node[0]);
    }
}

/* The same where this node does not hear of it, or only when it has written: the store refuses it. */
static void beats(strata *deaf, int deletes)
{
    uint64_t refused = stats_of(deaf).behind_refused;
    delete (node[1], "heard of late");
    set_later(deaf, "heard of late", "old", &never);
    redis_cache_nap(20); /* two sets within an answer's time may come in any order */
    redis_cache_set(node[1], "heard of late", "new");
    if (deletes)
        delete (node[1], "heard of late");
    make_due(deaf, "heard of late");
    until_written(deaf);
    assert_int_equal(stats_of(deaf).behind_refused - refused, 1);
    assert_stored("heard of late", deletes ? NULL : "new");
    redis_cache_expect(deaf, "heard of late", deletes ? STRATA_MISS : STRATA_OK, deletes ? NULL : "new");
    assert_sums(deaf);
}

static void a_peer_wins_against_a_node_without_a_bus(void **state)
{
    (void)state;
    strata *deaf = open_deaf();
    for (int deletes = 0; deletes < 2; deletes++)
        beats(deaf, deletes);
    assert_int_equal(strata_close(deaf), STRATA_OK);
    assert_stored("heard of late", NULL);
}

static void a_peer_wins_while_the_bus_is_slow(void **state)
{
    (void)state;
    char url[512];
    struct delay_proxy *wire = delay_proxy_start(server.port);
    (void)snprintf(url, sizeof url,
                   NODE " | bus:redis-stream:redis://127.0.0.1:%u?prefix=behind:", (unsigned)server.port,
                   (unsigned)delay_proxy_port(wire));
    strata *slow = open_node(url, server.port);
    for (int deletes = 0; deletes < 2; deletes++) {
        delay_proxy_stall(wire, 1);
        beats(slow, deletes);
        delay_proxy_stall(wire, 0);
    }
    (void)strata_close(slow);
    delay_proxy_stop(wire);
}

/* Clears and bans -------------------------------------------------------------------------------------------------- */

static void a_clear_of_its_namespace_takes_it(void **state)
{
    (void)state;
    for (int by = 0; by < 2; by++) {
        strata *space[2], *seen;
        for (int i = 0; i < 2; i++)
            assert_int_equal(strata_namespace(node[i], "space", NULL, &space[i], &err), STRATA_OK);
        assert_int_equal(strata_namespace(outsider, "space", NULL, &seen, &err), STRATA_OK);
        set_later(space[0], "in", "1", &never);
        set_later(node[0], "out", "1", &never);
        assert_int_equal(strata_clear(space[by], &err), STRATA_OK);
        if (by == 1) /* heard of */
            redis_cache_await(space[0], "in", STRATA_MISS);
        redis_cache_expect(space[0], "in", STRATA_MISS, NULL);
        redis_cache_expect(seen, "in", STRATA_MISS, NULL);
        redis_cache_expect(node[0], "out", STRATA_OK, "1");
        set_later(space[0], "in", "2", &soon);
        set_later(node[0], "out", "2", &soon);
        until_written(node[0]);
        redis_cache_expect(seen, "in", STRATA_OK, "2");
        assert_stored("out", "2");
        for (int i = 0; i < 2; i++)
            (void)strata_close(space[i]);
        (void)strata_close(seen);
        assert_sums(node[0]);
    }
}

static void a_ban_of_its_tag_takes_it(void **state)
{
    (void)state;
    strata_slice tag = strata_str("t");
    for (int by = 0; by < 2; by++) {
        redis_cache_set(node[0], "tagged", "0");
        assert_int_equal(strata_set_tagged(node[0], strata_str("tagged"), strata_str("1"), &tag, 1, &never, &err),
                         STRATA_PENDING);
        set_later(node[0], "not", "1", &never);
        assert_int_equal(strata_ban_tag(node[by], "t", STRATA_BAN_HARD, &err), STRATA_OK);
        redis_cache_await(node[0], "tagged", STRATA_MISS);
        redis_cache_expect(node[0], "tagged", STRATA_MISS, NULL);
        set_later(node[0], "not", "2", &soon);
        until_written(node[0]);
        assert_stored("tagged", NULL);
        assert_stored("not", "2");
        assert_sums(node[0]);
    }
}

/* Ends ------------------------------------------------------------------------------------------------------------- */

static void set_crowd(strata *cache, const char *text, const strata_policy *policy)
{
    char key[32];
    for (int i = 0; i < CROWD; i++) {
        (void)snprintf(key, sizeof key, "crowd:%d", i);
        set_later(cache, key, text, policy);
    }
}

static void assert_crowd(strata *cache, const char *text)
{
    char key[32];
    for (int i = 0; i < CROWD; i++) {
        (void)snprintf(key, sizeof key, "crowd:%d", i);
        redis_cache_expect(cache, key, text != NULL ? STRATA_OK : STRATA_MISS, text);
    }
}

static void closing_writes_it(void **state)
{
    (void)state;
    strata *one = open_node(NODE, server.port);
    set_crowd(one, "closed", &never);
    assert_int_equal(strata_close(one), STRATA_OK);
    assert_crowd(outsider, "closed");
}

/* The process that is killed: this program, started with the port and where to say that it is ready. */
static int wait_to_be_killed(const char *port, const char *fd)
{
    server.port = (uint16_t)strtoul(port, NULL, 10);
    strata *one = open_deaf();
    set_crowd(one, "killed", &soon);
    until_written(one);
    set_crowd(one, "never", &never);
    set_later(one, "lost", "1", &never);
    if (write((int)strtol(fd, NULL, 10), "x", 1) != 1)
        return 1;
    for (;;)
        (void)pause();
}

/* What waited is lost, and nothing else. */
static void a_kill_takes_what_waits(void **state)
{
    (void)state;
    int through[2], status;
    char byte, port[16], fd[16];
    assert_int_equal(pipe(through), 0);
    (void)snprintf(port, sizeof port, "%u", (unsigned)server.port);
    (void)snprintf(fd, sizeof fd, "%d", through[1]);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)execl("/proc/self/exe", "killed", port, fd, (char *)NULL);
        _exit(1);
    }
    assert_true(pid > 0);
    close(through[1]);
    ssize_t got = read(through[0], &byte, 1); /* nothing, where it has failed */
    close(through[0]);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(got, 1);
    assert_crowd(outsider, "killed");
    assert_stored("lost", NULL);
}

static void sealed_values_arrive_sealed(void **state)
{
    (void)state;
    char dir[256], path[300], url[1024];
    unsigned char bytes[32];
    const char *how = strata__cipher_is_there() ? "aes-256-gcm" : "hmac-sha256";
    temp_dir_make(dir, sizeof dir);
    (void)snprintf(path, sizeof path, "%s/key", dir);
    memset(bytes, 7, sizeof bytes);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, sizeof bytes, f), sizeof bytes);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0600), 0);
    (void)snprintf(url, sizeof url,
                   "memory: | redis://127.0.0.1:%u?prefix=sealed:&" REDIS_PATIENT "&protection=%s&key_file=%s",
                   (unsigned)server.port, how, path);
    strata *one = greeted(open_text(url, NULL)), *other = open_text(url, NULL);
    set_later(one, "secret", "plain words", &soon);
    until_written(one);
    assert_int_equal(stats_of(one).behind_written, stats_of(one).sets_behind - stats_of(one).behind_merged);
    redis_cache_expect(other, "secret", STRATA_OK, "plain words");
    assert_int_equal(strata_close(one), STRATA_OK);
    assert_int_equal(strata_close(other), STRATA_OK);
    temp_dir_remove(dir);
}

/* A server that goes ----------------------------------------------------------------------------------------------- */

#define IMPATIENT "soft_timeout_ms=30ms&timeout_ms=200ms&connect_timeout_ms=1s&breaker_failures=3&breaker_open_ms=40ms"

/* A busy machine may make a well server look slow to these timeouts. */
static strata *open_impatient(void)
{
    strata *cache = open_node("memory: | " STORE IMPATIENT, server.port);
    until_written(cache);
    return cache;
}

/* It is stopped while they wait, and keeps what it has: what another node writes before they come stays. */
static void a_server_that_stops_has_nothing_older_afterwards(void **state)
{
    (void)state;
    strata *cache = open_impatient();
    char key[32];
    while (strata_set(cache, strata_str("newer"), strata_str("0"), NULL, &err) != STRATA_OK)
        redis_cache_nap(1);
    set_crowd(cache, "waits", &never);
    set_later(cache, "newer", "old", &never);
    redis_server_pause(&server);
    for (int i = 0; i < CROWD; i += 50) { /* makes them due */
        (void)snprintf(key, sizeof key, "crowd:%d", i);
        make_due(cache, key);
    }
    make_due(cache, "newer");
    redis_server_resume(&server);
    redis_cache_set(node[1], "newer", "new");
    assert_true(strata_close(cache) >= 0);
    char got[32];
    int rc = redis_cache_get(outsider, "newer", got, sizeof got, &err);
    if (rc != STRATA_MISS && (rc != STRATA_OK || strcmp(got, "new") != 0)) /* what is told late may take it along */
        fail_msg("%d \"%s\"", rc, got);
    for (int i = 0; i < CROWD; i++) {
        (void)snprintf(key, sizeof key, "crowd:%d", i);
        rc = redis_cache_get(outsider, key, got, sizeof got, &err);
        if (rc != STRATA_MISS && (rc != STRATA_OK || strcmp(got, "waits") != 0))
            fail_msg("%s: %d \"%s\"", key, rc, got);
    }
}

/* A delete that the server could not be told is told before the set that came after it is written, and may take along what another node has
 * written since: nobody knows, so that set is refused, and says so; nobody has it then. */
static void a_delete_that_is_told_late_ends_it(void **state)
{
    (void)state;
    strata *cache = open_impatient();
    while (strata_set(cache, strata_str("owed"), strata_str("0"), NULL, &err) != STRATA_OK)
        redis_cache_nap(1);
    redis_server_pause(&server);
    assert_int_equal(strata_delete(cache, strata_str("owed"), &err), STRATA_PENDING);
    set_later(cache, "owed", "since", &never);
    redis_server_resume(&server);
    for (int i = 0; health_of(cache).owed != 0; i++) {
        if (i == LOOKS)
            fail_msg("never told: %s", health_of(cache).words);
        (void)strata_ping(cache, 1, NULL);
        redis_cache_nap(5);
    }
    assert_stored("owed", NULL);
    redis_cache_expect(cache, "owed", STRATA_OK, "since");
    strata_stats before = stats_of(cache);
    make_due(cache, "owed");
    until_written(cache);
    strata_stats after = stats_of(cache);
    if (after.behind_failed == before.behind_failed) { /* in time, that is */
        assert_int_equal(after.behind_refused, before.behind_refused + 1);
        redis_cache_expect(cache, "owed", STRATA_MISS, NULL);
    }
    assert_stored("owed", NULL);
    assert_sums(cache);
    assert_true(strata_close(cache) >= 0);
}

/* It never comes back: closing says that not all was told. */
static void closing_without_a_server_says_so(void **state)
{
    (void)state;
    strata *cache = open_impatient();
    set_crowd(cache, "x", &never);
    redis_server_kill(&server);
    assert_int_equal(strata_close(cache), STRATA_PENDING);
    redis_server_restart(&server);
    outsider_anew();
    assert_crowd(outsider, NULL);
}

/* Another one, empty: what waits was based on the life before, and is not written over what is there since. */
static void what_waits_for_another_life_of_the_server_is_refused(void **state)
{
    (void)state;
    strata *cache = open_impatient();
    set_later(cache, "life", "old", &never);
    redis_server_restart(&server);
    outsider_anew();
    for (int i = 0; strata_set(node[1], strata_str("life"), strata_str("new"), NULL, &err) != STRATA_OK; i++) {
        if (i == LOOKS)
            fail_msg("the server never came back: %s", err.message);
        redis_cache_nap(5);
    }
    int closed = strata_close(cache);
    if (closed < 0)
        fail_msg("close: %d", closed);
    char got[32];
    int rc = redis_cache_get(outsider, "life", got, sizeof got, &err);
    if (rc != STRATA_MISS && (rc != STRATA_OK || strcmp(got, "new") != 0))
        fail_msg("%d \"%s\"", rc, got);
}

/* Nobody knows what was deleted there before: what was set in the life before is not written in this one; but this one is soon known,
 * to who does nothing but set behind, too. */
static void a_node_that_only_writes_behind_goes_on_in_the_next_life(void **state)
{
    (void)state;
    strata *cache = open_node(NODE, server.port);
    redis_server_restart(&server);
    outsider_anew();
    char got[32] = "";
    for (int i = 0; redis_cache_get(outsider, "again", got, sizeof got, &err) != STRATA_OK; i++) {
        if (i == LOOKS / 20)
            fail_msg("never written: %s", health_of(cache).words);
        assert_true(strata_set(cache, strata_str("again"), strata_str("x"), &soon, &err) >= 0);
        until_written(cache);
    }
    assert_int_equal(strata_close(cache), STRATA_OK);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return wait_to_be_killed(argv[1], argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_here_at_once_and_there_within_its_delay),
        cmocka_unit_test(the_last_of_many_is_written_alone),
        cmocka_unit_test(a_key_that_is_always_set_is_written_all_the_same),
        cmocka_unit_test(a_delete_drops_it),
        cmocka_unit_test(a_peer_that_was_there_in_between_wins),
        cmocka_unit_test(a_peer_wins_against_a_node_without_a_bus),
        cmocka_unit_test(a_peer_wins_while_the_bus_is_slow),
        cmocka_unit_test(a_clear_of_its_namespace_takes_it),
        cmocka_unit_test(a_ban_of_its_tag_takes_it),
        cmocka_unit_test(closing_writes_it),
        cmocka_unit_test(a_kill_takes_what_waits),
        cmocka_unit_test(sealed_values_arrive_sealed),
        cmocka_unit_test(a_server_that_stops_has_nothing_older_afterwards),
        cmocka_unit_test(a_delete_that_is_told_late_ends_it),
        cmocka_unit_test(closing_without_a_server_says_so),
        cmocka_unit_test(what_waits_for_another_life_of_the_server_is_refused),
        cmocka_unit_test(a_node_that_only_writes_behind_goes_on_in_the_next_life),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
