/* test_rabbitmq_cache.c - caches that share nothing but a RabbitMQ: what one deletes is gone at the other, and while the server stands
 * still, or is dead, nobody trusts what he holds for long. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "tests/support/cmocka_all.h"
#include "tests/support/bad_messages.h"
#include "tests/support/fork_cache.h"

#include "strata/strata.h"
#include "tests/support/rabbitmq_server.h"

enum { MINUTE_MS = 60000 };

static struct rabbitmq_server server;

static strata_coherence_options coherence(const char *node_name)
{
    strata_coherence_options c = STRATA_COHERENCE_OPTIONS_INIT;
    c.heartbeat_ms = 100;
    c.trust_ms = 1000;
    c.suspect_ms = MINUTE_MS;
    c.node_name = node_name;
    return c;
}

/* From one line. */
static strata *open_line(const char *format)
{
    char line[256];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    const strata_coherence_options c = coherence(NULL);
    const strata_options o = { .size = sizeof o, .coherence = &c };
    (void)snprintf(line, sizeof line, format, (unsigned)server.port);
    if (strata_open_url(&cache, line, &o, &err) != STRATA_OK)
        fail_msg("%s: %s", err.where, err.message);
    return cache;
}

/* Durable. */
static strata *open_cache(const char *exchange, const char *node_name)
{
    char url[64];
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    strata_rabbitmq_options r = STRATA_RABBITMQ_OPTIONS_INIT;
    const strata_coherence_options c = coherence(node_name);
    (void)snprintf(url, sizeof url, "amqp://guest:guest@127.0.0.1:%u", (unsigned)server.port);
    r.url = url;
    r.exchange = exchange;
    r.durable = STRATA_ON;
    r.timeout_ms = r.connect_timeout_ms = MINUTE_MS;
    strata_layer *layers[] = { strata_memory_layer(NULL) };
    strata_bus *buses[] = { strata_rabbitmq_bus(&r) };
    const strata_options o = {
        .size = sizeof o, .layers = layers, .layer_count = 1, .buses = buses, .bus_count = 1, .coherence = &c
    };
    if (strata_open(&cache, &o, &err) != STRATA_OK)
        fail_msg("%s: %s", err.where, err.message);
    return cache;
}

static void a_moment(void) { (void)nanosleep(&(struct timespec){ 0, 1000000 }, NULL); }

static void until_trusted(strata *cache, int trusted, uint32_t peers)
{
    strata_health h = STRATA_HEALTH_INIT;
    for (int i = 0; i < MINUTE_MS; i++) {
        assert_int_equal(strata_health_get(cache, &h, NULL), STRATA_OK);
        if (h.trusted == trusted && (!trusted || h.peers == peers))
            return;
        a_moment();
    }
    fail_msg("trusted is not %d with %u peers: %s", trusted, (unsigned)peers, h.words);
}

static int look(strata *cache, const char *key)
{
    strata_value *v = NULL;
    int rc = strata_get(cache, strata_str(key), &v, NULL);
    strata_value_unref(v);
    return rc;
}

static void until_answer(strata *cache, const char *key, int answer)
{
    int rc = STRATA_OK;
    for (int i = 0; i < MINUTE_MS; i++) {
        rc = look(cache, key);
        if (rc == answer)
            return;
        a_moment();
    }
    fail_msg("\"%s\" answers %s, not %s", key, strata_status_name(rc), strata_status_name(answer));
}

static int load(strata_load *loading, strata_slice key, void *ctx)
{
    (void)ctx;
    return strata_load_copy(loading, key.data, key.size);
}

static void fill(strata *cache, const char *key)
{
    strata_value *v = NULL;
    strata_error err = STRATA_ERROR_INIT;
    int rc = strata_get_or_load(cache, strata_str(key), load, NULL, NULL, &v, &err);
    if (rc < 0)
        fail_msg("%s: %s", err.where, err.message);
    strata_value_unref(v);
}

static void what_one_deletes_is_gone_at_the_other(void **state)
{
    (void)state;
    const char *line =
        "memory: | bus:rabbitmq://guest:guest@127.0.0.1:%u?exchange=deletes&exchange_type=topic&routing_key=a.b";
    strata *a = open_line(line), *b = open_line(line);
    until_trusted(a, 1, 1);
    until_trusted(b, 1, 1);
    fill(a, "key");
    fill(b, "key");
    fill(b, "kept");
    assert_int_equal(look(b, "key"), STRATA_OK);
    assert_int_equal(strata_delete(a, strata_str("key"), NULL), STRATA_OK); /* the server has confirmed it */
    until_answer(b, "key", STRATA_MISS);
    assert_true(look(b, "kept") >= STRATA_OK && look(b, "kept") != STRATA_MISS);
    assert_int_equal(strata_clear(a, NULL), STRATA_OK);
    until_answer(b, "kept", STRATA_MISS);
    assert_int_equal(strata_close(a), STRATA_OK);
    assert_int_equal(strata_close(b), STRATA_OK);
}

static void strangers_on_the_exchange(void **state)
{
    char url[256], line[128];
    strata_rabbitmq_options options = STRATA_RABBITMQ_OPTIONS_INIT;
    (void)state;
    (void)snprintf(line, sizeof line, "amqp://guest:guest@127.0.0.1:%u", (unsigned)server.port);
    options.url = line;
    options.exchange = "bad";
    options.timeout_ms = 60000;
    (void)snprintf(url, sizeof url, "memory: | bus:rabbitmq://guest:guest@127.0.0.1:%u?exchange=bad&timeout_ms=60s",
                   (unsigned)server.port);
    bad_messages_case(url, strata_rabbitmq_bus(&options));
}

static void a_child_begins_anew(void **state)
{
    char url[256];
    (void)state;
    (void)snprintf(url, sizeof url, "memory: | bus:rabbitmq://guest:guest@127.0.0.1:%u?exchange=forks&timeout_ms=60s",
                   (unsigned)server.port);
    fork_case(url);
}

static void nobody_trusts_a_server_that_stands_still(void **state)
{
    (void)state;
    strata *a = open_cache("stands-still", "a"), *b = open_cache("stands-still", "b");
    until_trusted(a, 1, 1);
    until_trusted(b, 1, 1);
    fill(b, "key");
    fill(b, "other");
    assert_int_equal(look(b, "key"), STRATA_OK);
    rabbitmq_server_pause(&server);
    until_trusted(b, 0, 0);
    until_answer(b, "key", STRATA_STALE);
    rabbitmq_server_resume(&server);
    assert_true(strata_delete(a, strata_str("key"), NULL) >= STRATA_OK);
    until_trusted(b, 1, 1);
    until_answer(b, "key", STRATA_MISS);
    rabbitmq_server_kill(&server);
    until_trusted(b, 0, 0);
    assert_int_equal(strata_delete(a, strata_str("other"), NULL),
                     STRATA_PENDING); /* it is said when there is somebody to tell */
    rabbitmq_server_restart(&server);
    until_answer(b, "other", STRATA_MISS);
    until_trusted(b, 1, 1);
    assert_true(strata_close(a) >= STRATA_OK);
    assert_true(strata_close(b) >= STRATA_OK);
}

static int start_server(void **state)
{
    (void)state;
    rabbitmq_server_start(&server, NULL);
    return 0;
}

static int stop_server(void **state)
{
    (void)state;
    rabbitmq_server_stop(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_deletes_is_gone_at_the_other),
        cmocka_unit_test(strangers_on_the_exchange),
        cmocka_unit_test(a_child_begins_anew),
        cmocka_unit_test(nobody_trusts_a_server_that_stands_still),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
