/* test_nats_cache.c - two caches that share nothing but a bus on NATS: what one deletes is gone from the memory of the other, and a
 * server that stands still ends their trust. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/os/os_clock.h"
#include "strata/strata.h"
#include "tests/support/cmocka_all.h"
#include "tests/support/bad_messages.h"
#include "tests/support/fork_cache.h"
#include "tests/support/nats_server.h"

static _Atomic(int) origin;

static int load(strata_load *l, strata_slice key, void *ctx)
{
    char text[16];
    (void)key;
    (void)ctx;
    (void)snprintf(text, sizeof text, "%d", atomic_load(&origin));
    return strata_load_copy(l, text, strlen(text));
}

static void open_node(strata **out, const struct nats_server *s, const char *name, int jetstream)
{
    strata_error err = STRATA_ERROR_INIT;
    strata_nats_options nats = STRATA_NATS_OPTIONS_INIT;
    strata_coherence_options coherence = STRATA_COHERENCE_OPTIONS_INIT;
    strata_options options = STRATA_OPTIONS_INIT;
    strata_layer *layer = strata_memory_layer(NULL);
    nats.url = s->url;
    nats.jetstream = jetstream ? STRATA_ON : STRATA_OFF;
    nats.timeout_ms = 300;
    coherence.node_name = name;
    coherence.heartbeat_ms = 100;
    coherence.trust_ms = 1000;
    coherence.open_wait_ms = 10000;
    strata_bus *bus = strata_nats_bus(&nats);
    options.layers = &layer;
    options.layer_count = 1;
    options.buses = &bus;
    options.bus_count = 1;
    options.coherence = &coherence;
    if (strata_open(out, &options, &err) != STRATA_OK)
        fail_msg("%s: %s", err.where, err.message);
}

static int ask(strata *cache)
{
    strata_value *value = NULL;
    char text[16] = { 0 };
    int rc = strata_get_or_load(cache, strata_str("key"), load, NULL, NULL, &value, NULL);
    assert_true(rc == STRATA_OK || rc == STRATA_STALE);
    assert_true(strata_value_size(value) < sizeof text);
    memcpy(text, strata_value_data(value), strata_value_size(value));
    strata_value_unref(value);
    return (int)strtol(text, NULL, 10);
}

static void breathe(int64_t began_ms, const char *what)
{
    if (strata__os_now_ms() - began_ms > 60000)
        fail_msg("waited in vain: %s", what);
    nanosleep(&(struct timespec){ 0, 2 * 1000 * 1000 }, NULL);
}

static void until_it_says(strata *cache, int wanted)
{
    int64_t began_ms = strata__os_now_ms();
    while (ask(cache) != wanted)
        breathe(began_ms, "for the new value");
}

static void until_trusted(strata *cache, int wanted)
{
    int64_t began_ms = strata__os_now_ms();
    strata_health health = STRATA_HEALTH_INIT;
    for (;;) {
        assert_int_equal(strata_health_get(cache, &health, NULL), STRATA_OK);
        if (health.trusted == wanted)
            return;
        breathe(began_ms, health.words);
    }
}

static void two_nodes(int jetstream)
{
    struct nats_server s;
    strata *a, *b;
    strata_health health = STRATA_HEALTH_INIT;
    nats_server_start(&s, NULL);
    atomic_store(&origin, 1);
    open_node(&a, &s, "a", jetstream);
    open_node(&b, &s, "b", jetstream);
    until_trusted(a, 1);
    until_trusted(b, 1);
    assert_int_equal(ask(a), 1);
    assert_int_equal(ask(b), 1);
    atomic_store(&origin, 2);
    assert_int_equal(ask(b), 1); /* from its memory */
    assert_true(strata_delete(a, strata_str("key"), NULL) >= 0);
    until_it_says(a, 2);
    until_it_says(b, 2);

    /* It stands still: nobody trusts what he holds. */
    nats_server_pause(&s);
    until_trusted(a, 0);
    until_trusted(b, 0);
    nats_server_resume(&s);
    until_trusted(a, 1);
    until_trusted(b, 1);

    /* It dies; what is deleted meanwhile arrives when it is back. */
    nats_server_kill(&s);
    until_trusted(a, 0);
    atomic_store(&origin, 3);
    assert_int_equal(strata_delete(a, strata_str("key"), NULL), STRATA_PENDING);
    nats_server_restart(&s);
    until_it_says(b, 3);
    until_trusted(a, 1);
    until_trusted(b, 1);
    assert_int_equal(strata_health_get(b, &health, NULL), STRATA_OK);
    assert_int_equal(health.buses_up, 1);
    (void)strata_close(a);
    (void)strata_close(b);
    nats_server_stop(&s);
}

static void test_over_core_nats(void **state)
{
    (void)state;
    two_nodes(0);
}

static void test_over_jetstream(void **state)
{
    (void)state;
    two_nodes(1);
}

static void test_from_a_url(void **state)
{
    (void)state;
    struct nats_server s;
    strata *a = NULL, *b = NULL;
    strata_error err = STRATA_ERROR_INIT;
    char url[256];
    nats_server_start(&s, NULL);
    for (int node = 0; node < 2; node++) {
        (void)snprintf(
            url, sizeof url,
            "memory:?max_bytes=1mb | bus:%s?jetstream=on&storage=memory&stream=URL&subject=from.url&consumer=n%d&"
            "max_age_ms=1h&max_messages=1000&timeout_ms=5s",
            s.url, node);
        if (strata_open_url(node == 0 ? &a : &b, url, NULL, &err) != STRATA_OK)
            fail_msg("%s: %s", err.where, err.message);
    }
    until_trusted(a, 1);
    until_trusted(b, 1);
    atomic_store(&origin, 4);
    assert_int_equal(ask(b), 4);
    atomic_store(&origin, 5);
    assert_true(strata_delete(a, strata_str("key"), NULL) >= 0);
    until_it_says(b, 5);
    (void)strata_close(a);
    (void)strata_close(b);
    /* What is wrong in one is said, and no password is. */
    assert_int_equal(strata_open_url(&a, "memory: | bus:nats://u:s3cret@h?subject=a.*", NULL, &err), STRATA_EINVAL);
    assert_null(strstr(err.message, "s3cret"));
    assert_int_equal(strata_open_url(&a, "memory: | bus:nats://u:s3cret@h?streem=a", NULL, &err), STRATA_EINVAL);
    assert_null(strstr(err.message, "s3cret"));
    nats_server_stop(&s);
}

static void test_a_cache_without_a_name_is_not_opened_over_jetstream(void **state)
{
    (void)state;
    strata *cache = NULL;
    strata_error err = STRATA_ERROR_INIT;
    strata_nats_options nats = { STRATA_SIZED(strata_nats_options), .jetstream = STRATA_ON };
    strata_options options = STRATA_OPTIONS_INIT;
    strata_layer *layer = strata_memory_layer(NULL);
    strata_bus *bus = strata_nats_bus(&nats);
    options.layers = &layer;
    options.layer_count = 1;
    options.buses = &bus;
    options.bus_count = 1;
    assert_int_equal(strata_open(&cache, &options, &err), STRATA_EINVAL);
    assert_null(cache);
    assert_non_null(strstr(err.message, "node_name"));
}

static void test_strangers_on_the_subject(void **state)
{
    (void)state;
    struct nats_server s;
    char url[256];
    strata_nats_options options = STRATA_NATS_OPTIONS_INIT;
    nats_server_start(&s, NULL);
    options.url = s.url;
    options.subject = "bad.messages";
    options.timeout_ms = 60000;
    (void)snprintf(url, sizeof url, "memory: | bus:%s?subject=bad.messages&timeout_ms=60s", s.url);
    bad_messages_case(url, strata_nats_bus(&options));
    nats_server_stop(&s);
}

/* nats.c can't be used in a child of a process that uses it: whoever forks is told, and hangs nowhere. */
static void test_a_child_is_told_to_open_its_own(void **state)
{
    (void)state;
    struct nats_server s;
    char url[256];
    nats_server_start(&s, NULL);
    (void)snprintf(url, sizeof url, "memory: | bus:%s?timeout_ms=60s", s.url);
    fork_case_refused(url);
    (void)snprintf(url, sizeof url, "memory: | bus:%s?jetstream=on&timeout_ms=60s", s.url);
    fork_case_refused(url);
    nats_server_stop(&s);
}

/* The later one takes the consumer; the earlier one is told whose name is to be changed. */
static void two_of_one_name(void **state)
{
    struct nats_server s;
    strata *a, *b;
    strata_health health = STRATA_HEALTH_INIT;
    int64_t began_ms = strata__os_now_ms();
    (void)state;
    nats_server_start(&s, NULL);
    open_node(&a, &s, "same", 1);
    until_trusted(a, 1);
    open_node(&b, &s, "same", 1);
    do {
        breathe(began_ms, health.words);
        assert_int_equal(strata_health_get(a, &health, NULL), STRATA_OK);
        if (strstr(health.words, "node_name") == NULL)
            assert_int_equal(strata_health_get(b, &health, NULL), STRATA_OK);
    } while (strstr(health.words, "node_name") == NULL);
    assert_int_equal(health.trusted, 0);
    assert_non_null(strstr(health.last.message, "node_name"));
    assert_true(strata_close(a) >= 0);
    assert_true(strata_close(b) >= 0);
    nats_server_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_over_core_nats),
        cmocka_unit_test(test_over_jetstream),
        cmocka_unit_test(test_strangers_on_the_subject),
        cmocka_unit_test(test_a_child_is_told_to_open_its_own),
        cmocka_unit_test(test_from_a_url),
        cmocka_unit_test(test_a_cache_without_a_name_is_not_opened_over_jetstream),
        cmocka_unit_test(two_of_one_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
