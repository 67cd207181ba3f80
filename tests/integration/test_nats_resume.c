/* test_nats_resume.c - a node with a disk is killed -9, another one deletes what it held, and it comes back: over a stream of a real
 * JetStream that goes on from where it was, whatever its durable consumer knows, or that has not kept what came. */
#include <stdlib.h>

#include "tests/integration/resume_fixture.h"
#include "tests/support/nats_server.h"

static struct nats_server server;
static char url[64];

static strata_bus *stream(void)
{
    strata_nats_options o = STRATA_NATS_OPTIONS_INIT;
    o.url = url;
    o.jetstream = STRATA_ON;
    o.max_messages = getenv("RESUME_MOST") != NULL ? 20 : 0;
    o.timeout_ms = o.connect_timeout_ms = 60000;
    return strata_nats_bus(&o);
}

static int start(void **state)
{
    (void)state;
    nats_server_start(&server, NULL);
    (void)snprintf(url, sizeof url, "%s", server.url);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    nats_server_stop(&server);
    return 0;
}

static void it_goes_on(void **state)
{
    (void)state;
    resume_round(stream, url, NULL, 1);
}

static void restart(strata *other)
{
    (void)other;
    nats_server_kill(&server);
    nats_server_restart(&server);
}

static void the_server_was_killed_too(void **state)
{
    (void)state;
    resume_round(stream, url, restart, 1);
}

static void write_much(strata *other)
{
    char key[16];
    for (int i = 0; i < 50; i++) {
        (void)snprintf(key, sizeof key, "%d", i);
        assert_int_equal(resume_set(other, key, "value"), STRATA_OK);
    }
}

static void it_kept_too_little(void **state)
{
    (void)state;
    assert_int_equal(setenv("RESUME_MOST", "1", 1), 0);
    resume_round(stream, url, write_much, 0);
}

int main(int argc, char **argv)
{
    if (argc == 5) {
        (void)snprintf(url, sizeof url, "%s", argv[4]);
        resume_live(stream, argv[2], atoi(argv[3]));
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_goes_on, start, stop),
        cmocka_unit_test_setup_teardown(the_server_was_killed_too, start, stop),
        cmocka_unit_test_setup_teardown(it_kept_too_little, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
